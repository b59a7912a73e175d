//! A packet that opens a flow: what the zone and the policy say, and the two entries by which it is known afterwards.

use abi::{
    Action, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FORGOTTEN_NS, FlowKey, FlowValue, POLICY_LIMIT, RULE_NONE,
    Reason, STATE_NEW, ZONE_FIRST, ZONE_INSPECT, ZONE_ISOLATE, ZONE_LOOSE, ZONE_NONE, ZONE_QUARANTINE,
    ZONE_SCAN, ZONE_SELF, ZoneId,
    image::{DeviceRow, NOTHING, RuleRow},
};

use crate::{
    Tables, Verdict,
    flow::{self, idle_for, is_forgotten, may_be_fast},
    image::Question,
    meter,
    parse::{ICMP, ICMPV6, UDP},
    verdict::Work,
};

/// A new flow: what the policy says, and remembers what passes. Both addresses have been looked up.
#[inline(never)]
pub(crate) fn open<T: Tables>(tables: &T, verdict: &mut Verdict) {
    verdict.zone_to = verdict.work.destination.zone;
    if is_refused(tables, verdict) {
        denied(tables, verdict);
        return;
    }
    remember(tables, verdict);
}

/// Zone, policy and rates are against the new flow.
#[inline(always)]
fn is_refused<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let to = verdict.zone_to;
    let (zone, now, slot) = (verdict.work.setting.zone, verdict.work.setting.now, verdict.work.setting.slot);
    let who = meter::who(&verdict.flow.source, verdict.work.packet.v6);
    if zone & ZONE_SCAN != 0
        && meter::is_held(tables, &who, now)
        && verdict.deny(Action::Drop, Reason::PortScan, RULE_NONE)
    {
        return true;
    }
    let number = DeviceRow::number(&verdict.work.mac);
    let device = if number == 0 { 0 } else { tables.device(slot, &verdict.work.mac) };
    verdict.work.value.device = number;
    let port = asked_port(verdict, false);
    let (by, found) = judged(tables, verdict, verdict.zone_from, to, device, port, false);
    if by {
        return true;
    }
    if found.flags & POLICY_LIMIT != 0 {
        let rate = tables.rate(slot, found.rate);
        let rule = if found.rule == abi::RULE_DEFAULT { RULE_NONE } else { found.rule as u32 };
        if !meter::admits(tables, rate, found.rate, ZONE_NONE, who, now)
            && verdict.deny_if(Action::Drop, Reason::RateLimited, rule, found.flags & abi::POLICY_OBSERVE != 0)
        {
            return true;
        }
    }
    let number = verdict.work.setting.rate;
    if number != NOTHING {
        let rate = tables.rate(slot, number);
        if !meter::admits(tables, rate, number, verdict.zone_from, who, now)
            && verdict.deny(Action::Drop, Reason::RateLimited, RULE_NONE)
        {
            return true;
        }
    }
    false
}

/// Isolation, quarantine and policy over a flow that starts in `from`; `is_reply`: the packet at hand answers it.
/// `true`: they are against it.
#[inline(always)]
fn judged<T: Tables>(
    tables: &T,
    verdict: &mut Verdict,
    from: ZoneId,
    to: ZoneId,
    device: u16,
    port: u16,
    is_reply: bool,
) -> (bool, RuleRow) {
    let slot = verdict.work.setting.slot;
    let flags = if is_reply { tables.zone(slot, from).flags } else { verdict.work.setting.zone };
    if from == to
        && flags & ZONE_ISOLATE != 0
        && verdict.deny(Action::Drop, Reason::Isolated, RULE_NONE)
    {
        return (true, RuleRow::NONE);
    }
    // Where there are no MAC addresses there are no new devices.
    if flags & ZONE_QUARANTINE != 0
        && device == 0
        && verdict.work.value.device != 0
        && to != ZONE_SELF
        && verdict.deny(Action::Drop, Reason::NewDevice, RULE_NONE)
    {
        return (true, RuleRow::NONE);
    }
    let (source, destination) = if is_reply {
        (verdict.work.destination.source, verdict.work.source.destination)
    } else {
        (verdict.work.source.source, verdict.work.destination.destination)
    };
    let question = Question { from, to, device, protocol: verdict.flow.protocol, port, source, destination };
    let found = tables.classify(slot, &question);
    (verdict.by_policy(found), found)
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
    judged(tables, verdict, from, to, device, port, is_reply).0
}

/// What becomes of a new flow that may not be.
#[inline(always)]
fn denied<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let setting = &verdict.work.setting;
    let (now, ticks, zone) = (setting.now, setting.ticks, setting.zone);
    // It may be an old one whose entry is gone: nftables knows.
    if verdict.flow.protocol == UDP
        && (now.wrapping_sub(tables.active().attached) < FORGOTTEN_NS
            || is_forgotten(tables, &verdict.flow, ticks))
    {
        verdict.action = Action::Pass;
        verdict.reason = Reason::NoState;
        verdict.rule = RULE_NONE;
        verdict.log = false;
        return;
    }
    if zone & ZONE_SCAN != 0
        && matches!(verdict.reason, Reason::RuleDenied | Reason::DefaultDenied)
        && verdict.work.source.flags & abi::image::ADDRESS_PROTECTED == 0
    {
        let who = meter::who(&verdict.flow.source, verdict.work.packet.v6);
        if meter::is_scan(tables, &who, &verdict.flow, now) {
            verdict.reason = Reason::PortScan;
            verdict.rule = RULE_NONE;
            verdict.action = Action::Drop;
        }
    }
}

/// Enters the tuple of the new flow and that of its answers.
#[inline(always)]
fn remember<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let zone = verdict.work.setting.zone;
    let (ticks, length) = (verdict.work.setting.ticks, verdict.work.setting.length);
    verdict.opened = true;
    verdict.inspect = zone & ZONE_INSPECT != 0;
    let device = verdict.work.value.device;
    let mut value = FlowValue {
        epoch: verdict.work.setting.epoch,
        last_seen: ticks,
        state: STATE_NEW,
        rule: verdict.rule,
        action: Action::Pass as u8,
        reason: verdict.reason as u8,
        zone_from: verdict.zone_from,
        zone_to: verdict.zone_to,
        packets: 1,
        bytes: length as u64,
        first_seen: verdict.work.setting.now,
        copied: if verdict.inspect { length } else { 0 },
        tcp_flags: verdict.work.packet.tcp_flags,
        device,
        ..FlowValue::default()
    };
    let protocol = verdict.flow.protocol;
    value.idle = idle_for(&value, protocol);
    if may_be_fast(&value, protocol, zone) {
        value.flags |= FLOW_FAST;
    }
    verdict.work.value = value;
    enter(tables, verdict, Which::Packet);
    if verdict.zone_to >= ZONE_FIRST {
        let to = verdict.zone_to;
        reverse(&verdict.flow, to, &mut verdict.reverse);
        let value = &mut verdict.work.value;
        value.flags = FLOW_REPLY;
        value.packets = 0;
        value.bytes = 0;
        value.tcp_flags = 0;
        value.copied = 0;
        value.idle = idle_for(value, protocol);
        enter(tables, verdict, Which::Answer);
    }
}

/// A TCP packet of no known flow in a zone that takes those whose other way is not seen.
#[inline(always)]
pub(crate) fn loosen<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let Work { setting, packet, .. } = &verdict.work;
    let mut value = FlowValue {
        // Bans and lists have been asked; the policy is not.
        epoch: setting.epoch,
        last_seen: setting.ticks,
        state: STATE_NEW,
        flags: FLOW_TAUGHT,
        rule: RULE_NONE,
        action: Action::Pass as u8,
        reason: Reason::HalfSeen as u8,
        zone_from: verdict.zone_from,
        zone_to: verdict.work.destination.zone,
        packets: 1,
        bytes: setting.length as u64,
        first_seen: setting.now,
        tcp_flags: packet.tcp_flags,
        device: 0,
        ..FlowValue::default()
    };
    if may_be_fast(&value, verdict.flow.protocol, setting.zone | ZONE_LOOSE) {
        value.flags |= FLOW_FAST;
    }
    value.idle = idle_for(&value, verdict.flow.protocol);
    verdict.zone_to = value.zone_to;
    verdict.work.value = value;
    enter(tables, verdict, Which::Packet);
}

/// Which tuple of a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Packet,
    Answer,
}

#[inline(never)]
fn enter<T: Tables>(tables: &T, verdict: &Verdict, which: Which) {
    let key = match which {
        Which::Packet => &verdict.flow,
        Which::Answer => &verdict.reverse,
    };
    flow::remember(tables, key, &verdict.work.value, verdict.work.setting.ticks);
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
