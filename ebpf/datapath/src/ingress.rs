//! The verdict about a frame that comes in.

use abi::{
    ACTIVE_OBSERVE, Action, Address, DIRECTION_IN, DIRECTION_OUT, FLOW_BYPASS, FLOW_REPLY, FLOW_TAUGHT,
    FlowKey, FlowValue, INSPECT_BUDGET, PolicyKey, PortKey, RULE_NONE, Reason, ZONE_ANTI_SPOOF, ZONE_FIRST,
    ZONE_INSPECT, ZONE_IS_WAN, ZONE_NONE, ZONE_OBSERVE, ZoneId,
};

use crate::{
    Flow, Frame, Input, Tables, Touch, Verdict, flow,
    parse::{self, Ethertype, ICMP, ICMPV6, IGMP, Kind, Packet, UDP},
};

/// What holds for the packet at hand.
#[derive(Clone, Copy)]
struct Setting {
    slot: u8,
    epoch: u32,
    now: u64,
    length: u32,
    /// `ZONE_*` bits of the zone it came from.
    zone: u32,
    /// The appliance or the zone only observes.
    watched: bool,
}

/// Judges a frame. `verdict` is overwritten; it is an argument because the kernel's stack is too small for it.
#[inline(always)]
pub fn decide<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, verdict: &mut Verdict) {
    *verdict = Verdict::EMPTY;
    let active = tables.active();
    if active.generation == 0 {
        return;
    }
    let mut setting = Setting {
        slot: (active.generation & 1) as u8,
        epoch: active.epoch,
        now: input.now,
        length: input.length,
        zone: 0,
        watched: active.flags & ACTIVE_OBSERVE != 0,
    };
    let link = match parse::link(frame, input) {
        Ok(link) => link,
        Err(reason) => {
            setting.watched |= tables.zone(setting.slot, ZONE_NONE) & ZONE_OBSERVE != 0;
            verdict.deny(Action::Drop, reason, RULE_NONE, setting.watched);
            return;
        }
    };
    verdict.vlan = link.vlan;
    if link.ethertype == Ethertype::Neighbour && link.vlan == 0 {
        return verdict.pass(Reason::LinkEssential, RULE_NONE);
    }
    let port = PortKey { ifindex: input.ifindex, vlan: link.vlan, slot: setting.slot, reserved: 0 };
    let zone = tables.port(&port).unwrap_or(ZONE_NONE);
    setting.zone = tables.zone(setting.slot, zone);
    setting.watched |= setting.zone & ZONE_OBSERVE != 0;
    verdict.zone_from = zone;
    verdict.flow.zone = zone;
    if zone == ZONE_NONE {
        verdict.deny(Action::Drop, Reason::WrongVlan, RULE_NONE, setting.watched);
        return;
    }
    let packet = match link.ethertype {
        Ethertype::V4 => parse::v4(frame, input, link.at, &mut verdict.flow),
        Ethertype::V6 => parse::v6(frame, input, link.at, &mut verdict.flow),
        Ethertype::Arp => return verdict.pass(Reason::LinkEssential, RULE_NONE),
        Ethertype::Neighbour | Ethertype::Other => return verdict.pass(Reason::NotIp, RULE_NONE),
    };
    match packet {
        Ok(packet) => judge(tables, &setting, &packet, verdict),
        Err(reason) => {
            verdict.deny(Action::Drop, reason, RULE_NONE, setting.watched);
        }
    }
}

/// Judges a packet whose headers are read.
#[inline(always)]
fn judge<T: Tables>(tables: &T, setting: &Setting, packet: &Packet, verdict: &mut Verdict) {
    let carries_tuple = match packet.kind {
        Kind::Opening => true,
        Kind::Following => verdict.flow.protocol == parse::TCP || parse::is_echo(packet),
        Kind::Error | Kind::Fragment | Kind::Portless => false,
    };
    if carries_tuple && known(tables, setting, packet, verdict) {
        return;
    }
    match essential(&verdict.flow, packet, setting.zone) {
        Essential::Yes => return verdict.pass(Reason::LinkEssential, RULE_NONE),
        Essential::Forged => {
            if verdict.deny(Action::Drop, Reason::Malformed, RULE_NONE, setting.watched) {
                return;
            }
        }
        Essential::No => {}
    }
    if is_spoofed(tables, setting, packet, verdict)
        && verdict.deny(Action::Drop, Reason::Spoofed, RULE_NONE, setting.watched)
    {
        return;
    }
    // Both are matched by what they belong to: the second wall reassembles and looks inside.
    match packet.kind {
        Kind::Fragment => return verdict.pass(Reason::Fragment, RULE_NONE),
        Kind::Error => return verdict.pass(Reason::IcmpError, RULE_NONE),
        Kind::Opening | Kind::Following | Kind::Portless => {}
    }
    let (source, destination) = (verdict.flow.source, verdict.flow.destination);
    if unwanted(tables, setting, &source, DIRECTION_IN, verdict)
        || unwanted(tables, setting, &destination, DIRECTION_OUT, verdict)
    {
        return;
    }
    match packet.kind {
        Kind::Opening => open(tables, setting, packet, verdict),
        Kind::Portless => verdict.pass(Reason::Portless, RULE_NONE),
        Kind::Following | Kind::Fragment | Kind::Error => verdict.pass(Reason::NoState, RULE_NONE),
    }
}

/// Looks in the flow table. `true` if the verdict stands.
#[inline(always)]
fn known<T: Tables>(tables: &T, setting: &Setting, packet: &Packet, verdict: &mut Verdict) -> bool {
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
        verdict.deny(Action::Drop, Reason::Signature, value.rule, setting.watched);
        entry.touch(&touch);
        return true;
    }
    if value.epoch == setting.epoch {
        verdict.pass(Reason::Established, value.rule);
    } else if review(tables, setting, &value, verdict) {
        // The entry keeps its old epoch: when the ban or rule goes, the flow goes on.
        return true;
    } else {
        touch.rule = verdict.rule;
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
fn review<T: Tables>(tables: &T, setting: &Setting, value: &FlowValue, verdict: &mut Verdict) -> bool {
    let (source, destination) = (verdict.flow.source, verdict.flow.destination);
    if value.flags & FLOW_TAUGHT != 0 {
        verdict.rule = RULE_NONE;
        // We started it, or (seen in its middle) either end may have.
        return unwanted(tables, setting, &source, DIRECTION_OUT, verdict)
            || (value.flags & FLOW_REPLY == 0 && unwanted(tables, setting, &source, DIRECTION_IN, verdict));
    }
    let is_reply = value.flags & FLOW_REPLY != 0;
    let (starter, target, port) = if is_reply {
        (destination, source, verdict.flow.source_port)
    } else {
        (source, destination, verdict.flow.destination_port)
    };
    if unwanted(tables, setting, &starter, DIRECTION_IN, verdict)
        || unwanted(tables, setting, &target, DIRECTION_OUT, verdict)
    {
        return true;
    }
    let to = tables.network(setting.slot, &target).unwrap_or(ZONE_NONE);
    let port = match verdict.flow.protocol {
        ICMP => [8, 0],
        ICMPV6 => [128, 0],
        _ => port,
    };
    let key = PolicyKey {
        slot: setting.slot,
        from: if is_reply { value.zone_from } else { verdict.zone_from },
        to,
        protocol: verdict.flow.protocol,
        port,
    };
    if !is_reply {
        verdict.zone_to = to;
    }
    let is_denied = verdict.by_policy(tables.policy(&key), setting.watched);
    // It is no new flow that a rule would log, and nftables would let it through as established.
    verdict.log = false;
    if is_denied {
        verdict.action = Action::Drop;
    }
    is_denied
}

/// A new flow: what the policy says, and remembers what passes.
#[inline(always)]
fn open<T: Tables>(tables: &T, setting: &Setting, packet: &Packet, verdict: &mut Verdict) {
    let to = tables.network(setting.slot, &verdict.flow.destination).unwrap_or(ZONE_NONE);
    verdict.zone_to = to;
    let protocol = verdict.flow.protocol;
    let port = if matches!(protocol, ICMP | ICMPV6) { packet.icmp } else { verdict.flow.destination_port };
    let key = PolicyKey { slot: setting.slot, from: verdict.zone_from, to, protocol, port };
    if verdict.by_policy(tables.policy(&key), setting.watched) {
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

/// A ban or list is against the address in this direction, and it is not protected. `true` if that ends the matter.
#[inline(always)]
fn unwanted<T: Tables>(
    tables: &T,
    setting: &Setting,
    address: &Address,
    direction: u8,
    verdict: &mut Verdict,
) -> bool {
    let starts = direction == DIRECTION_IN;
    if let Some(ban) = tables.ban(address)
        && ban.directions & direction != 0
        && ban.until > setting.now
        && !is_protected(tables, setting, address)
    {
        let reason = if starts { Reason::BannedSource } else { Reason::BannedDestination };
        if verdict.deny(Action::Drop, reason, ban.decision, setting.watched || ban.observe != 0) {
            return true;
        }
    }
    if let Some(listed) = tables.listed(setting.slot, address)
        && listed.directions & direction != 0
        && !is_protected(tables, setting, address)
    {
        let reason = if starts { Reason::ListedSource } else { Reason::ListedDestination };
        let observed = setting.watched || listed.observe != 0;
        return verdict.deny(Action::Drop, reason, u32::from(listed.list), observed);
    }
    false
}

#[inline(always)]
fn is_protected<T: Tables>(tables: &T, setting: &Setting, address: &Address) -> bool {
    tables.protected(setting.slot, address)
        || tables.allowed(address).is_some_and(|until| until > setting.now)
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
fn essential(flow: &FlowKey, packet: &Packet, zone: u32) -> Essential {
    const DHCP: [[u8; 2]; 2] = [[0, 67], [0, 68]];
    const DHCPV6: [[u8; 2]; 2] = [547_u16.to_be_bytes(), 546_u16.to_be_bytes()];
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
fn is_spoofed<T: Tables>(tables: &T, setting: &Setting, packet: &Packet, verdict: &Verdict) -> bool {
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
