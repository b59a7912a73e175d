//! Egress teaches ingress: a packet that leaves, after NAT, says under which tuple its answer will come in.

use abi::{
    Action, FLOW_ANSWERED, FLOW_BYPASS, FLOW_REPLY, FLOW_TAUGHT, FlowKey, FlowValue, INSPECT_BUDGET,
    RULE_NONE, Reason, STATE_ANSWERED, STATE_NEW, ZONE_INSPECT, ZONE_NONE, ZONE_OBSERVE, ZONE_SELF, ZoneId,
};

use crate::{
    Frame, Input, Tables,
    flow::{self, idle_for, is_closed, outgoing},
    opening::reverse,
    parse::{self, ACK, Ethertype, Kind, Packet, RST, SYN, TCP},
};

/// What was seen of a frame that leaves.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// The tuple as it leaves, in the zone in which packets of this way come in.
    pub flow: FlowKey,
    /// The tuple under which answers come in.
    pub answer: FlowKey,
    /// Signature that cut the flow.
    pub rule: u32,
    /// Zone in which the flow started.
    pub zone_from: ZoneId,
    /// Zone to which it goes.
    pub zone_to: ZoneId,
    /// A signature cut the flow: the frame does not leave.
    pub cut: bool,
    /// The frame answers a flow under inspection and is to be copied.
    pub inspect: bool,
    /// The entry of the answer.
    pub(crate) value: FlowValue,
}

/// Enters the tuple of the answer, or marks the flow that this frame answers. RSTs, ICMP errors, later fragments and
/// multicast teach nothing. `egress` is overwritten.
#[inline(always)]
pub fn teach<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, egress: &mut Egress) {
    *egress = Egress::default();
    let active = tables.active();
    if active.generation == 0 {
        return;
    }
    let (slot, epoch) = active.standing(input.now);
    let Ok(link) = parse::link(frame, input) else { return };
    let zone = tables.port(slot, input.ifindex, link.vlan);
    if zone == ZONE_NONE {
        return;
    }
    let mut packet = Packet::EMPTY;
    let read = match link.ethertype {
        Ethertype::V4 => parse::v4(frame, link.end, usize::from(link.at), &mut egress.flow, &mut packet),
        Ethertype::V6 => parse::v6(frame, link.end, usize::from(link.at), &mut egress.flow, &mut packet),
        Ethertype::Arp | Ethertype::Neighbour | Ethertype::Provider | Ethertype::Other => return,
    };
    if read.is_err() {
        return;
    }
    let carries_tuple = match packet.kind {
        Kind::Opening => true,
        Kind::Following => egress.flow.protocol == TCP || parse::is_echo(&packet),
        Kind::Error | Kind::Fragment | Kind::Portless => false,
    };
    if !carries_tuple || parse::is_multicast(&egress.flow.destination, packet.v6) {
        return;
    }
    reverse(&egress.flow, zone, &mut egress.answer);
    let flags = tables.zone(slot, zone).flags | tables.zone(slot, ZONE_NONE).flags & ZONE_OBSERVE;
    if answers(tables, &packet, flags, input, egress) {
        return;
    }
    let protocol = egress.flow.protocol;
    let flags = match packet.kind {
        _ if packet.tcp_flags & RST != 0 => return,
        Kind::Opening => FLOW_TAUGHT | FLOW_REPLY | FLOW_ANSWERED,
        Kind::Following if protocol == TCP => FLOW_TAUGHT | FLOW_ANSWERED,
        Kind::Following | Kind::Error | Kind::Fragment | Kind::Portless => return,
    };
    let accepts = packet.tcp_flags & (SYN | ACK) == SYN | ACK;
    egress.value = FlowValue {
        first_seen: input.now,
        last_seen: input.ticks,
        // Nobody has asked the bans and lists yet: the first packet that comes in does.
        epoch: epoch.wrapping_sub(1),
        rule: RULE_NONE,
        action: Action::Pass as u8,
        reason: Reason::Established as u8,
        flags,
        state: if accepts { STATE_ANSWERED } else { STATE_NEW },
        isn: packet.sequence,
        zone_from: ZONE_SELF,
        zone_to: zone,
        ..FlowValue::default()
    };
    egress.value.idle = idle_for(&egress.value, protocol);
    enter(tables, egress, input.ticks);
}

/// The frame answers a known flow, or goes on with one that we started.
#[inline(never)]
fn answers<T: Tables>(tables: &T, packet: &Packet, zone: u32, input: &Input, egress: &mut Egress) -> bool {
    let Some(entry) = flow::find(tables, &egress.answer, input.ticks, &mut egress.value) else {
        return false;
    };
    let value = egress.value;
    if packet.kind == Kind::Opening && is_closed(&value) {
        return false;
    }
    egress.rule = value.rule;
    egress.zone_from = value.zone_from;
    egress.zone_to = value.zone_to;
    egress.flow.zone = value.zone_to;
    egress.cut = value.action == Action::Drop as u8
        && value.reason == Reason::Signature as u8
        && zone & ZONE_OBSERVE == 0;
    egress.inspect = !egress.cut
        && value.flags & (FLOW_REPLY | FLOW_TAUGHT | FLOW_BYPASS) == 0
        && zone & ZONE_INSPECT != 0
        && value.copied_reply < INSPECT_BUDGET;
    if egress.inspect {
        egress.value.copied_reply = value.copied_reply.wrapping_add(input.length);
    }
    outgoing(&mut egress.value, egress.flow.protocol, packet, zone);
    if entry.differs(&egress.value) {
        egress.value.last_seen = input.ticks;
        entry.change(&egress.value);
    } else if value.last_seen != input.ticks {
        entry.mark(input.ticks);
    }
    true
}

#[inline(never)]
fn enter<T: Tables>(tables: &T, egress: &Egress, ticks: u32) {
    flow::remember(tables, &egress.answer, &egress.value, ticks);
}
