//! The verdict about a frame that comes in.

use abi::{
    ACTIVE_OBSERVE, Action, Address, DIRECTION_IN, DIRECTION_OUT, FLOW_BYPASS, FLOW_REPLY, FLOW_TAUGHT,
    FlowKey, FlowValue, INSPECT_BUDGET, PolicyKey, PortKey, RULE_NONE, Reason, ZONE_ANTI_SPOOF, ZONE_FIRST,
    ZONE_INSPECT, ZONE_IS_WAN, ZONE_NONE, ZONE_OBSERVE, ZoneId,
};

use crate::{
    Flow, Frame, Input, Tables, Touch, Verdict, flow,
    parse::{self, Ethertype, ICMP, ICMPV6, IGMP, Kind, UDP},
    verdict::{Setting, Work},
};

/// Judges a frame. `verdict` is overwritten; it is an argument because the kernel's stack is too small for it, and
/// holds what the steps hand on to each other, so that the verifier does not carry it through every path.
#[inline(always)]
pub fn decide<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, verdict: &mut Verdict) {
    *verdict = Verdict::EMPTY;
    let active = tables.active();
    if active.generation == 0 {
        return;
    }
    verdict.work.setting = Setting {
        now: input.now,
        epoch: active.epoch,
        length: input.length,
        zone: tables.zone((active.generation & 1) as u8, ZONE_NONE) & ZONE_OBSERVE,
        slot: (active.generation & 1) as u8,
        watched: active.flags & ACTIVE_OBSERVE != 0,
    };
    match enter(frame, input, tables, verdict) {
        Entered::Packet => judge(tables, verdict),
        Entered::Passed(reason) => verdict.pass(reason, RULE_NONE),
        Entered::Refused(reason) => {
            verdict.deny(Action::Drop, reason, RULE_NONE);
        }
    }
}

/// How far the headers of a frame lead.
enum Entered {
    /// A packet with a tuple, to be judged.
    Packet,
    /// Nothing to judge.
    Passed(Reason),
    /// Against the rules of its protocol or place.
    Refused(Reason),
}

/// Reads the headers, and finds the zone between the link's and the network's.
#[inline(always)]
fn enter<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, verdict: &mut Verdict) -> Entered {
    let link = match parse::link(frame, input) {
        Ok(link) => link,
        Err(reason) => return Entered::Refused(reason),
    };
    verdict.vlan = link.vlan;
    if link.ethertype == Ethertype::Neighbour && link.vlan == 0 {
        return Entered::Passed(Reason::LinkEssential);
    }
    let slot = verdict.work.setting.slot;
    let port = PortKey { ifindex: input.ifindex, vlan: link.vlan, slot, reserved: 0 };
    let zone = tables.port(&port).unwrap_or(ZONE_NONE);
    verdict.work.setting.zone = tables.zone(slot, zone);
    verdict.zone_from = zone;
    verdict.flow.zone = zone;
    if zone == ZONE_NONE {
        return Entered::Refused(Reason::WrongVlan);
    }
    let read = match link.ethertype {
        Ethertype::V4 => parse::v4(frame, input, link.at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::V6 => parse::v6(frame, input, link.at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::Arp => return Entered::Passed(Reason::LinkEssential),
        Ethertype::Neighbour | Ethertype::Other => return Entered::Passed(Reason::NotIp),
    };
    match read {
        Ok(()) => Entered::Packet,
        Err(reason) => Entered::Refused(reason),
    }
}

/// Judges a packet whose headers are read.
#[inline(never)]
fn judge<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let packet = verdict.work.packet;
    let carries_tuple = match packet.kind {
        Kind::Opening => true,
        Kind::Following => verdict.flow.protocol == parse::TCP || parse::is_echo(&packet),
        Kind::Error | Kind::Fragment | Kind::Portless => false,
    };
    if carries_tuple && known(tables, verdict) {
        return;
    }
    match essential(verdict) {
        Essential::Yes => return verdict.pass(Reason::LinkEssential, RULE_NONE),
        Essential::Forged => {
            if verdict.deny(Action::Drop, Reason::Malformed, RULE_NONE) {
                return;
            }
        }
        Essential::No => {}
    }
    if is_spoofed(tables, verdict) && verdict.deny(Action::Drop, Reason::Spoofed, RULE_NONE) {
        return;
    }
    // Both are matched by what they belong to: the second wall reassembles and looks inside.
    match packet.kind {
        Kind::Fragment => return verdict.pass(Reason::Fragment, RULE_NONE),
        Kind::Error => return verdict.pass(Reason::IcmpError, RULE_NONE),
        Kind::Opening | Kind::Following | Kind::Portless => {}
    }
    if unwanted(tables, verdict, Side::Source, DIRECTION_IN)
        || unwanted(tables, verdict, Side::Destination, DIRECTION_OUT)
    {
        return;
    }
    match packet.kind {
        Kind::Opening => open(tables, verdict),
        Kind::Portless => verdict.pass(Reason::Portless, RULE_NONE),
        Kind::Following | Kind::Fragment | Kind::Error => verdict.pass(Reason::NoState, RULE_NONE),
    }
}

/// Looks in the flow table. `true` if the verdict stands.
#[inline(never)]
fn known<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let Work { setting, packet } = verdict.work;
    let protocol = verdict.flow.protocol;
    let Some(entry) = tables.flow(&verdict.flow) else { return false };
    let value = entry.value();
    if !flow::stands(&value, protocol, setting.now) {
        return false;
    }
    let mut touch = Touch {
        now: setting.now,
        length: setting.length,
        epoch: setting.epoch,
        tcp_flags: packet.tcp_flags,
        rule: value.rule,
        copied: 0,
    };
    let is_cut = value.action == Action::Drop as u8 && value.reason == Reason::Signature as u8;
    if !is_cut && packet.kind == Kind::Opening && flow::is_closed(&value) {
        return false;
    }
    verdict.known = true;
    verdict.reply = value.flags & FLOW_REPLY != 0;
    verdict.zone_to = if verdict.reply { value.zone_from } else { value.zone_to };
    if is_cut {
        verdict.deny(Action::Drop, Reason::Signature, value.rule);
        entry.touch(&touch);
        return true;
    }
    if value.epoch == setting.epoch {
        verdict.pass(Reason::Established, value.rule);
    } else if review(tables, &value, verdict) {
        // The entry keeps its old epoch: when the ban or rule goes, the flow goes on.
        return true;
    } else {
        // A ban or list that only observes is the rule of this verdict, not of the flow.
        touch.rule = if value.flags & FLOW_TAUGHT == 0 { verdict.rule } else { RULE_NONE };
        verdict.pass(Reason::Established, verdict.rule);
    }
    let one_side = value.flags & (FLOW_REPLY | FLOW_TAUGHT | FLOW_BYPASS) == 0;
    if one_side && setting.zone & ZONE_INSPECT != 0 && value.copied < INSPECT_BUDGET {
        verdict.inspect = true;
        touch.copied = setting.length;
    }
    entry.touch(&touch);
    true
}

/// Judges a known flow again, as its opening packet would be now. `true` if it may not go on.
#[inline(always)]
fn review<T: Tables>(tables: &T, value: &FlowValue, verdict: &mut Verdict) -> bool {
    if value.flags & FLOW_TAUGHT != 0 {
        verdict.rule = RULE_NONE;
        // We started it, or (seen in its middle) either end may have.
        return unwanted(tables, verdict, Side::Source, DIRECTION_OUT)
            || (value.flags & FLOW_REPLY == 0 && unwanted(tables, verdict, Side::Source, DIRECTION_IN));
    }
    let is_reply = value.flags & FLOW_REPLY != 0;
    let (starter, target, port) = if is_reply {
        (Side::Destination, Side::Source, verdict.flow.source_port)
    } else {
        (Side::Source, Side::Destination, verdict.flow.destination_port)
    };
    if unwanted(tables, verdict, starter, DIRECTION_IN) || unwanted(tables, verdict, target, DIRECTION_OUT) {
        return true;
    }
    let slot = verdict.work.setting.slot;
    let to = tables.network(slot, target.of(verdict)).unwrap_or(ZONE_NONE);
    let port = match verdict.flow.protocol {
        ICMP => [8, 0],
        ICMPV6 => [128, 0],
        _ => port,
    };
    let key = PolicyKey {
        slot,
        from: if is_reply { value.zone_from } else { verdict.zone_from },
        to,
        protocol: verdict.flow.protocol,
        port,
    };
    if !is_reply {
        verdict.zone_to = to;
    }
    let is_denied = verdict.by_policy(tables.policy(&key));
    // It is no new flow that a rule would log, and nftables would let it through as established.
    verdict.log = false;
    if is_denied {
        verdict.action = Action::Drop;
    }
    is_denied
}

/// A new flow: what the policy says, and remembers what passes.
#[inline(never)]
fn open<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let Work { setting, packet } = verdict.work;
    let to = tables.network(setting.slot, &verdict.flow.destination).unwrap_or(ZONE_NONE);
    verdict.zone_to = to;
    let protocol = verdict.flow.protocol;
    let port = if matches!(protocol, ICMP | ICMPV6) { packet.icmp } else { verdict.flow.destination_port };
    let key = PolicyKey { slot: setting.slot, from: verdict.zone_from, to, protocol, port };
    if verdict.by_policy(tables.policy(&key)) {
        return;
    }
    verdict.opened = true;
    verdict.inspect = setting.zone & ZONE_INSPECT != 0;
    let mut value = FlowValue {
        first_seen: setting.now,
        last_seen: setting.now,
        packets: 1,
        bytes: u64::from(setting.length),
        epoch: setting.epoch,
        rule: verdict.rule,
        copied: if verdict.inspect { setting.length } else { 0 },
        action: Action::Pass as u8,
        reason: verdict.reason as u8,
        flags: 0,
        tcp_flags: packet.tcp_flags,
        zone_from: verdict.zone_from,
        zone_to: to,
        reserved: [0; 2],
        copied_reply: 0,
    };
    tables.remember(&verdict.flow, &value);
    if to >= ZONE_FIRST {
        reverse(&verdict.flow, to, &mut verdict.reverse);
        value.flags = FLOW_REPLY;
        value.packets = 0;
        value.bytes = 0;
        value.tcp_flags = 0;
        value.copied = 0;
        tables.remember(&verdict.reverse, &value);
    }
}

/// The tuple of the answers, as they come in at `zone`.
#[inline(always)]
pub(crate) fn reverse(flow: &FlowKey, zone: ZoneId, into: &mut FlowKey) {
    into.source = flow.destination;
    into.destination = flow.source;
    into.source_port = flow.destination_port;
    into.destination_port = flow.source_port;
    into.protocol = flow.protocol;
    into.zone = zone;
    into.reserved = [0; 2];
}

/// Which address of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

impl Side {
    #[inline(always)]
    fn of(self, verdict: &Verdict) -> &Address {
        match self {
            Self::Source => &verdict.flow.source,
            Self::Destination => &verdict.flow.destination,
        }
    }
}

/// A ban or list is against the address in this direction, and it is not protected. `true` if that ends the matter.
#[inline(never)]
fn unwanted<T: Tables>(tables: &T, verdict: &mut Verdict, side: Side, direction: u8) -> bool {
    let starts = direction == DIRECTION_IN;
    let Setting { slot, now, .. } = verdict.work.setting;
    if let Some(ban) = tables.ban(side.of(verdict))
        && ban.directions & direction != 0
        && ban.until > now
        && !is_protected(tables, verdict, side)
    {
        let reason = if starts { Reason::BannedSource } else { Reason::BannedDestination };
        if verdict.deny_if(Action::Drop, reason, ban.decision, ban.observe != 0) {
            return true;
        }
    }
    if let Some(listed) = tables.listed(slot, side.of(verdict))
        && listed.directions & direction != 0
        && !is_protected(tables, verdict, side)
    {
        let reason = if starts { Reason::ListedSource } else { Reason::ListedDestination };
        return verdict.deny_if(Action::Drop, reason, u32::from(listed.list), listed.observe != 0);
    }
    false
}

#[inline(always)]
fn is_protected<T: Tables>(tables: &T, verdict: &Verdict, side: Side) -> bool {
    let Setting { slot, now, .. } = verdict.work.setting;
    let address = side.of(verdict);
    tables.protected(slot, address) || tables.allowed(address).is_some_and(|until| until > now)
}

/// Whether the link itself needs a packet.
enum Essential {
    No,
    Yes,
    /// It claims to be, from further away than the link.
    Forged,
}

/// DHCP (RFC 2131, 8415), neighbour discovery (RFC 4861), MLD (RFC 3810) and IGMP (RFC 3376), where they belong.
#[inline(always)]
fn essential(verdict: &Verdict) -> Essential {
    const DHCP: [[u8; 2]; 2] = [[0, 67], [0, 68]];
    const DHCPV6: [[u8; 2]; 2] = [547_u16.to_be_bytes(), 546_u16.to_be_bytes()];
    let (flow, packet, zone) = (&verdict.flow, &verdict.work.packet, verdict.work.setting.zone);
    let is_essential = match flow.protocol {
        UDP if packet.kind == Kind::Opening => {
            let [server, client] = if packet.v6 { DHCPV6 } else { DHCP };
            let ports = [flow.source_port, flow.destination_port];
            let near = !packet.v6 || parse::is_link_local(&flow.source);
            // Inside we are the server, outside the client.
            near && ports == if zone & ZONE_IS_WAN == 0 { [client, server] } else { [server, client] }
        }
        ICMPV6 if packet.v6 => match packet.icmp[0] {
            133..=137 if packet.hop_limit != 255 => return Essential::Forged,
            133..=137 => true,
            130..=132 | 143 => {
                packet.hop_limit == 1
                    && (parse::is_link_local(&flow.source) || parse::is_unspecified(&flow.source))
            }
            _ => false,
        },
        IGMP => !packet.v6 && packet.hop_limit == 1 && parse::is_multicast(&flow.destination, false),
        _ => false,
    };
    if is_essential { Essential::Yes } else { Essential::No }
}

/// The source cannot be where the packet came from.
#[inline(always)]
fn is_spoofed<T: Tables>(tables: &T, verdict: &Verdict) -> bool {
    let Work { setting, packet } = &verdict.work;
    let source = &verdict.flow.source;
    if parse::is_loopback(source, packet.v6)
        || parse::is_multicast(source, packet.v6)
        || (packet.v6 && parse::is_mapped(source))
    {
        return true;
    }
    // A v6 host speaks on its link before it has an address of the zone.
    if setting.zone & ZONE_ANTI_SPOOF == 0 || (packet.v6 && parse::is_link_local(source)) {
        return false;
    }
    tables.network(setting.slot, source) != Some(verdict.zone_from)
}
