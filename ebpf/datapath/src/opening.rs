//! A packet that opens a flow: what the zone and the policy say, and the two entries by which it is known afterwards.

use abi::{
    Action, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FORGOTTEN_NS, FlowKey, POLICY_LIMIT, POLICY_OBSERVE,
    RULE_DEFAULT, RULE_NONE, Reason, STATE_NEW, ZONE_FIRST, ZONE_INSPECT, ZONE_IS_WAN, ZONE_ISOLATE,
    ZONE_LOOSE, ZONE_MULTICAST, ZONE_NAMES, ZONE_NONE, ZONE_QUARANTINE, ZONE_REJECT, ZONE_SELF, ZoneId,
    image::{ADDRESS_PROTECTED, ADDRESS_UPSTREAM, DeviceRow, NOTHING},
};

use crate::{
    Step, Tables, Verdict,
    flow::{self, idle_for, is_forgotten, may_be_fast},
    image::Question,
    meter,
    names::by_names,
    parse::{ICMP, ICMPV6, UDP},
    resolvers,
    verdict::{Setting, Work},
};

/// A new flow: what the policy says. `true`: that is against it. Both addresses have been looked up.
#[inline(always)]
pub(crate) fn open<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let slot = verdict.work.setting.slot;
    verdict.zone_to = verdict.work.destination.zone;
    let number = DeviceRow::number(&verdict.work.mac);
    let device = if number == 0 { 0 } else { tables.device(slot, &verdict.work.mac) };
    verdict.work.value.device = number;
    let port = asked_port(verdict, false);
    let (from, to) = (verdict.zone_from, verdict.zone_to);
    judged(tables, verdict, from, to, device, port, [false, false])
}

/// The source scans and is slowed down: the new flow waits.
#[inline(always)]
pub(crate) fn held<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let who = meter::who(&verdict.flow.source, verdict.work.packet.v6);
    verdict.work.source.flags & (ADDRESS_PROTECTED | ADDRESS_UPSTREAM) == 0
        && meter::is_held(tables, &who, &verdict.work.setting)
        && verdict.deny(Action::Drop, Reason::PortScan, RULE_NONE)
}

/// Some rate, of the rule or the zone, is over a new flow.
#[inline(always)]
pub(crate) const fn is_metered(verdict: &Verdict) -> bool {
    verdict.work.found.flags & POLICY_LIMIT != 0 || verdict.work.setting.rate != NOTHING
}

/// The rates of the rule and the zone over a new flow. `true`: they are against it.
#[inline(always)]
pub(crate) fn metered<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let (now, slot) = (verdict.work.setting.now, verdict.work.setting.slot);
    let who = meter::who(&verdict.flow.source, verdict.work.packet.v6);
    // First the rule's, then the zone's.
    let mut turn = 0;
    while turn < 2 {
        let found = verdict.work.found;
        let (number, zone, rule, observed) = if turn == 0 {
            let rule = if found.rule == RULE_DEFAULT { RULE_NONE } else { found.rule as u32 };
            let number = if found.flags & POLICY_LIMIT != 0 { found.rate } else { NOTHING };
            (number, ZONE_NONE, rule, found.flags & POLICY_OBSERVE != 0)
        } else {
            (verdict.work.setting.rate, verdict.zone_from, RULE_NONE, false)
        };
        if number != NOTHING
            && !meter::admits(tables, tables.rate(slot, number), number, zone, &who, now)
            && verdict.deny_if(Action::Drop, Reason::RateLimited, rule, observed)
        {
            return true;
        }
        turn += 1;
    }
    false
}

/// Isolation, quarantine and policy over a flow that starts in `from`; `is_known`: the flow is, `is_reply`: the packet
/// at hand answers it.
/// `true`: they are against it.
#[inline(always)]
fn judged<T: Tables>(
    tables: &T,
    verdict: &mut Verdict,
    from: ZoneId,
    to: ZoneId,
    device: u16,
    port: u16,
    [is_known, is_reply]: [bool; 2],
) -> bool {
    let slot = verdict.work.setting.slot;
    let flags = if is_reply { tables.zone(slot, from).flags } else { verdict.work.setting.zone };
    let denial = if flags & ZONE_REJECT != 0 { Action::Reject } else { Action::Drop };
    if from == to && flags & ZONE_ISOLATE != 0 && verdict.deny(denial, Reason::Isolated, RULE_NONE) {
        return true;
    }
    // Where there are no MAC addresses there are no new devices.
    if flags & ZONE_QUARANTINE != 0
        && device == 0
        && verdict.work.value.device != 0
        && to != ZONE_SELF
        && to != ZONE_MULTICAST
        && verdict.deny(denial, Reason::NewDevice, RULE_NONE)
    {
        return true;
    }
    if let Some(denied) = resolvers::asks_others(tables, verdict, flags, to, port) {
        return denied;
    }
    let (source, destination) = if is_reply {
        (verdict.work.destination.source, verdict.work.source.destination)
    } else {
        (verdict.work.source.source, verdict.work.destination.destination)
    };
    let mut question =
        Question { from, to, device, protocol: verdict.flow.protocol, port, source, destination };
    verdict.work.found = tables.classify(slot, &question);
    if flags & ZONE_NAMES != 0 {
        by_names(tables, verdict, &mut question, is_known, is_reply);
    }
    verdict.by_policy(verdict.work.found)
}

/// The port of a question: the destination's, or type and code of ICMP.
#[inline(always)]
fn asked_port(verdict: &Verdict, is_reply: bool) -> u16 {
    match verdict.flow.protocol {
        ICMP | ICMPV6 => u16::from_be_bytes(verdict.work.packet.icmp),
        _ if is_reply => u16::from_be_bytes(verdict.flow.source_port),
        _ => u16::from_be_bytes(verdict.flow.destination_port),
    }
}

/// The policy of now over a known flow, whose entry is in `work.value`, as over its opening packet.
#[inline(always)]
pub(crate) fn rejudged<T: Tables>(tables: &T, verdict: &mut Verdict, is_reply: bool) -> bool {
    let slot = verdict.work.setting.slot;
    let (from, to) = if is_reply {
        (verdict.work.value.zone_from, verdict.work.source.zone)
    } else {
        (verdict.zone_from, verdict.work.destination.zone)
    };
    let number = verdict.work.value.device;
    let device = if number == 0 {
        0
    } else {
        let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
        tables.device(slot, &[a, b, c, d, e, f])
    };
    let port = match verdict.flow.protocol {
        ICMP => 8 << 8,
        ICMPV6 => 128 << 8,
        _ => asked_port(verdict, is_reply),
    };
    if !is_reply {
        verdict.zone_to = to;
    }
    judged(tables, verdict, from, to, device, port, [true, is_reply])
}

/// A new flow that may not be may be an old one whose entry is gone, or one that another has announced (FTP, SIP): then
/// nftables knows.
#[inline(always)]
pub(crate) fn forgotten<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let Setting { now, ticks, slot, .. } = verdict.work.setting;
    // What rules name by domains nftables does not tell apart.
    if verdict.work.setting.zone & ZONE_NAMES != 0
        && tables.zone(slot, verdict.zone_to).flags & ZONE_IS_WAN != 0
    {
        return false;
    }
    let helped = tables.helped(slot, verdict.zone_from, verdict.zone_to, verdict.flow.protocol);
    if !helped
        && (verdict.flow.protocol != UDP
            || (now.wrapping_sub(tables.active().attached) >= FORGOTTEN_NS
                && !is_forgotten(tables, &verdict.flow, ticks)))
    {
        return false;
    }
    verdict.action = Action::Pass;
    verdict.reason = Reason::NoState;
    verdict.rule = RULE_NONE;
    verdict.log = false;
    true
}

/// Notes a new flow that the policy denies: too many of a source are a scan.
#[inline(always)]
pub(crate) fn scanned<T: Tables>(tables: &T, verdict: &mut Verdict) {
    if !matches!(verdict.reason, Reason::RuleDenied | Reason::DefaultDenied)
        || verdict.work.source.flags & (ADDRESS_PROTECTED | ADDRESS_UPSTREAM) != 0
    {
        return;
    }
    let who = meter::who(&verdict.flow.source, verdict.work.packet.v6);
    if meter::is_scan(tables, &who, &verdict.flow, &verdict.work.setting) {
        verdict.reason = Reason::PortScan;
        verdict.rule = RULE_NONE;
        verdict.action = Action::Drop;
    }
}

/// The rule that the policy found for the flow; [`RULE_NONE`] = the zone's default.
#[inline(always)]
pub(crate) const fn found_rule(verdict: &Verdict) -> u32 {
    let rule = verdict.work.found.rule;
    if rule == RULE_DEFAULT { RULE_NONE } else { rule as u32 }
}

/// The new flow passes: what is remembered of it, in `work.value`.
#[inline(always)]
fn admit(verdict: &mut Verdict) {
    let zone = verdict.work.setting.zone;
    verdict.opened = true;
    verdict.inspect = zone & ZONE_INSPECT != 0;
    let device = verdict.work.value.device;
    begin(verdict, 0);
    verdict.work.value.device = device;
    verdict.work.value.rule = found_rule(verdict);
    verdict.work.value.reason = Reason::RuleAllowed as u8;
    if verdict.inspect {
        verdict.work.value.copied = verdict.work.setting.length;
    }
    let protocol = verdict.flow.protocol;
    let value = &mut verdict.work.value;
    if may_be_fast(value, protocol, zone) {
        value.flags |= FLOW_FAST;
    }
    value.idle = idle_for(value, protocol);
}

/// A new entry. Field by field where it is: the kernel's stack is small.
#[inline(always)]
fn begin(verdict: &mut Verdict, flags: u8) {
    let (zone_from, zone_to) = (verdict.zone_from, verdict.zone_to);
    let Work { setting, packet, value, .. } = &mut verdict.work;
    value.epoch = setting.epoch;
    value.last_seen = setting.ticks;
    value.idle = 0;
    value.state = STATE_NEW;
    value.flags = flags;
    value.rule = RULE_NONE;
    value.action = Action::Pass as u8;
    value.reason = Reason::HalfSeen as u8;
    value.zone_from = zone_from;
    value.zone_to = zone_to;
    value.packets = 1;
    value.bytes = setting.length as u64;
    value.first_seen = setting.now;
    value.copied = 0;
    value.copied_reply = 0;
    value.isn = 0;
    value.tcp_flags = packet.tcp_flags;
    value.device = 0;
}

/// A TCP packet of no known flow in a zone that takes those whose other way is not seen.
#[inline(always)]
pub(crate) fn loosen<T: Tables>(tables: &T, verdict: &mut Verdict) {
    verdict.zone_to = verdict.work.destination.zone;
    // Bans and lists have been asked; the policy is not.
    begin(verdict, FLOW_TAUGHT);
    let (protocol, zone) = (verdict.flow.protocol, verdict.work.setting.zone | ZONE_LOOSE);
    let value = &mut verdict.work.value;
    if may_be_fast(value, protocol, zone) {
        value.flags |= FLOW_FAST;
    }
    value.idle = idle_for(value, protocol);
    tables.step(Step::EnterPacket, verdict);
}

/// Enters the tuple of the packet.
#[inline(always)]
pub(crate) fn enter_packet<T: Tables>(tables: &T, verdict: &Verdict) {
    flow::remember(tables, &verdict.flow, &verdict.work.value, verdict.work.setting.ticks);
}

/// The new flow passes: enters the tuple of the packet, and that of its answers where they come in at a zone.
#[inline(always)]
pub(crate) fn enter<T: Tables>(tables: &T, verdict: &mut Verdict) {
    admit(verdict);
    enter_packet(tables, verdict);
    if verdict.zone_to < ZONE_FIRST {
        return;
    }
    reverse(&verdict.flow, verdict.zone_to, &mut verdict.reverse);
    let protocol = verdict.flow.protocol;
    let value = &mut verdict.work.value;
    value.flags = FLOW_REPLY;
    value.packets = 0;
    value.bytes = 0;
    value.tcp_flags = 0;
    value.copied = 0;
    value.idle = idle_for(value, protocol);
    flow::remember(tables, &verdict.reverse, &verdict.work.value, verdict.work.setting.ticks);
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
