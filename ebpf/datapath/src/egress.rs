//! Egress teaches ingress: a packet that leaves, after NAT, says under which tuple its answer will come in.

use abi::{
    Action, FLOW_ANSWERED, FLOW_BYPASS, FLOW_REPLY, FLOW_TAUGHT, FlowKey, FlowValue, INSPECT_BUDGET, PortKey,
    RULE_NONE, Reason, ZONE_INSPECT, ZONE_NONE, ZONE_OBSERVE, ZONE_SELF, ZoneId,
};

use crate::{
    Flow, Frame, Input, Tables, flow,
    ingress::reverse,
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
    let slot = (active.generation & 1) as u8;
    let Ok(link) = parse::link(frame, input) else { return };
    let port = PortKey { ifindex: input.ifindex, vlan: link.vlan, slot, reserved: 0 };
    let Some(zone) = tables.port(&port) else { return };
    let mut packet = Packet::EMPTY;
    let read = match link.ethertype {
        Ethertype::V4 => parse::v4(frame, input, link.at, &mut egress.flow, &mut packet),
        Ethertype::V6 => parse::v6(frame, input, link.at, &mut egress.flow, &mut packet),
        Ethertype::Arp | Ethertype::Neighbour | Ethertype::Other => return,
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
    let protocol = egress.flow.protocol;
    if let Some(entry) = tables.flow(&egress.answer) {
        let value = entry.value();
        let reopens = packet.kind == Kind::Opening && flow::is_closed(&value);
        if flow::stands(&value, protocol, input.now) && !reopens {
            let flags = tables.zone(slot, zone);
            let watched = active.flags & abi::ACTIVE_OBSERVE != 0
                || (flags | tables.zone(slot, ZONE_NONE)) & ZONE_OBSERVE != 0;
            egress.rule = value.rule;
            egress.zone_from = value.zone_from;
            egress.zone_to = value.zone_to;
            egress.flow.zone = value.zone_to;
            egress.cut =
                value.action == Action::Drop as u8 && value.reason == Reason::Signature as u8 && !watched;
            egress.inspect = !egress.cut
                && value.flags & (FLOW_REPLY | FLOW_TAUGHT | FLOW_BYPASS) == 0
                && flags & ZONE_INSPECT != 0
                && value.copied_reply < INSPECT_BUDGET;
            entry.answer(input.now, if egress.inspect { input.length } else { 0 });
            return;
        }
    }
    let flags = match packet.kind {
        _ if packet.tcp_flags & RST != 0 => return,
        Kind::Opening => FLOW_TAUGHT | FLOW_REPLY | FLOW_ANSWERED,
        Kind::Following if protocol == TCP => FLOW_TAUGHT | FLOW_ANSWERED,
        Kind::Following | Kind::Error | Kind::Fragment | Kind::Portless => return,
    };
    let value = FlowValue {
        first_seen: input.now,
        last_seen: input.now,
        // Nobody has asked the bans and lists yet: the first packet that comes in does.
        epoch: active.epoch.wrapping_sub(1),
        rule: RULE_NONE,
        action: Action::Pass as u8,
        reason: Reason::Established as u8,
        flags,
        // A connection seen in its middle stands as long as an established one.
        tcp_flags: if packet.tcp_flags & (SYN | ACK) == ACK { ACK } else { 0 },
        zone_from: ZONE_SELF,
        zone_to: zone,
        ..FlowValue::default()
    };
    tables.remember(&egress.answer, &value);
}
