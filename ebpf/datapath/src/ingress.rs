//! The verdict about a frame that comes in.

use abi::{
    Action, DIRECTION_IN, DIRECTION_OUT, FLOW_REPLY, FLOW_TAUGHT, FORGOTTEN_NS, FlowKey, RULE_NONE, Reason,
    ZONE_LOOSE, ZONE_NONE, ZONE_OBSERVE, ZONE_STRICT,
};

use crate::{
    Frame, Input, Tables, Verdict,
    against::{Side, look_up, unwanted},
    flow::{self, Watch, incoming, is_closed, is_inspected},
    opening::{loosen, open, rejudged, reverse},
    parse::{self, ACK, Ethertype, Kind, SYN, TCP, UDP},
    source::{Essential, essential, is_bogon, is_spoofed},
    verdict::{Quoted, Setting},
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
    let (slot, epoch) = active.standing(input.now);
    verdict.work.setting = Setting {
        now: input.now,
        ticks: input.ticks,
        epoch,
        length: input.length,
        slot,
        active: active.flags,
        zone: tables.zone(slot, ZONE_NONE).flags & ZONE_OBSERVE,
        rate: abi::image::NOTHING,
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
    let zone = tables.port(slot, input.ifindex, link.vlan);
    let row = tables.zone(slot, zone);
    verdict.work.setting.zone |= row.flags;
    verdict.work.setting.rate = row.rate;
    verdict.zone_from = zone;
    verdict.flow.zone = zone;
    if zone == ZONE_NONE {
        return Entered::Refused(Reason::WrongVlan);
    }
    if !input.layer3
        && let Some(mac) = frame.read::<6>(6)
    {
        verdict.work.mac = mac;
    }
    let read = match link.ethertype {
        Ethertype::V4 => parse::v4(frame, link.end, link.at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::V6 => parse::v6(frame, link.end, link.at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::Arp | Ethertype::Provider => return Entered::Passed(Reason::LinkEssential),
        Ethertype::Neighbour | Ethertype::Other => return Entered::Passed(Reason::NotIp),
    };
    if let Err(reason) = read {
        return Entered::Refused(reason);
    }
    if verdict.work.packet.kind == Kind::Error {
        verdict.work.quoted = quoted(frame, verdict);
    }
    Entered::Packet
}

/// What an ICMP error is about. Its tuple, as answers of it come in here, goes to `verdict.reverse`.
#[inline(always)]
fn quoted(frame: &impl Frame, verdict: &mut Verdict) -> Quoted {
    let mut packet = verdict.work.packet;
    if parse::quoted(frame, &mut verdict.reverse, &mut packet).is_err() {
        return Quoted::Unreadable;
    }
    // An error goes to whoever sent what it is about. Any other is forged, or made for another (CVE-2019-5598).
    if verdict.reverse.source != verdict.flow.destination {
        return Quoted::Foreign;
    }
    let carries_tuple = match packet.kind {
        Kind::Opening => true,
        Kind::Following => matches!(verdict.reverse.protocol, TCP | UDP) || parse::is_echo(&packet),
        Kind::Error | Kind::Fragment | Kind::Portless => false,
    };
    if carries_tuple { Quoted::Tuple } else { Quoted::Unreadable }
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
    look_up(tables, verdict);
    if is_spoofed(tables, verdict) && verdict.deny(Action::Drop, Reason::Spoofed, RULE_NONE) {
        return;
    }
    if is_bogon(verdict) && verdict.deny(Action::Drop, Reason::Bogon, RULE_NONE) {
        return;
    }
    match packet.kind {
        // The second wall reassembles.
        Kind::Fragment => return verdict.pass(Reason::Fragment, RULE_NONE),
        Kind::Error => return error(tables, verdict),
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
        Kind::Following | Kind::Fragment | Kind::Error => follow(tables, verdict),
    }
}

/// A packet of no known flow that opens none: conntrack knows, unless the zone takes none such.
#[inline(always)]
fn follow<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let zone = verdict.work.setting.zone;
    let tcp_flags = verdict.work.packet.tcp_flags;
    let is_tcp = verdict.flow.protocol == TCP;
    if is_tcp && zone & ZONE_LOOSE != 0 {
        loosen(tables, verdict);
        return verdict.pass(Reason::HalfSeen, RULE_NONE);
    }
    // What was there before the attach is not known yet.
    let is_settled = verdict.work.setting.now.wrapping_sub(tables.active().attached) >= FORGOTTEN_NS;
    if zone & ZONE_STRICT != 0
        && is_settled
        && verdict.deny(Action::Drop, Reason::Unsolicited, RULE_NONE)
    {
        return;
    }
    let half = is_tcp && tcp_flags & (SYN | ACK) == SYN | ACK;
    verdict.pass(if half { Reason::HalfSeen } else { Reason::NoState }, RULE_NONE);
}

/// An ICMP error: what holds for the flow that it is about holds for it.
#[inline(never)]
fn error<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let refused = match verdict.work.quoted {
        Quoted::Foreign => verdict.deny(Action::Drop, Reason::Malformed, RULE_NONE),
        Quoted::Tuple => is_about_refused(tables, verdict),
        Quoted::Unreadable => false,
    };
    if !refused {
        verdict.pass(Reason::IcmpError, RULE_NONE);
    }
}

/// The flow that an ICMP error is about is known here, and is cut or banned.
#[inline(always)]
fn is_about_refused<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let outer = verdict.flow;
    let inner = verdict.reverse;
    reverse(&inner, outer.zone, &mut verdict.flow);
    let refused = if flow::find(tables, &verdict.flow, verdict.work.setting.ticks, &mut verdict.work.value)
        .is_none()
    {
        false
    } else if is_cut(verdict) {
        let rule = verdict.work.value.rule;
        verdict.deny(Action::Drop, Reason::Signature, rule)
    } else {
        verdict.work.value.epoch != verdict.work.setting.epoch && review(tables, verdict)
    };
    verdict.flow = outer;
    verdict.reverse = FlowKey::default();
    refused
}

#[inline(always)]
fn is_cut(verdict: &Verdict) -> bool {
    let value = &verdict.work.value;
    value.action == Action::Drop as u8 && value.reason == Reason::Signature as u8
}

/// Looks in the flow table. `true` if the verdict stands.
#[inline(never)]
fn known<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let (ticks, length) = (verdict.work.setting.ticks, verdict.work.setting.length);
    let protocol = verdict.flow.protocol;
    let Some(entry) = flow::find(tables, &verdict.flow, ticks, &mut verdict.work.value) else { return false };
    let is_cut = is_cut(verdict);
    if !is_cut && verdict.work.packet.kind == Kind::Opening && is_closed(&verdict.work.value) {
        return false;
    }
    verdict.known = true;
    verdict.reply = verdict.work.value.flags & FLOW_REPLY != 0;
    verdict.zone_to =
        if verdict.reply { verdict.work.value.zone_from } else { verdict.work.value.zone_to };
    let rule = verdict.work.value.rule;
    if is_cut {
        verdict.deny(Action::Drop, Reason::Signature, rule);
        entry.count(&verdict.work.value, ticks, length);
        return true;
    }
    let before = verdict.work.value;
    if before.epoch == verdict.work.setting.epoch {
        verdict.pass(Reason::Established, rule);
    } else if review(tables, verdict) {
        // The entry keeps its old epoch: when the ban or rule goes, the flow goes on.
        return true;
    } else {
        // A ban or list that only observes is the rule of this verdict, not of the flow.
        verdict.work.value.rule = if before.flags & FLOW_TAUGHT == 0 { verdict.rule } else { RULE_NONE };
        verdict.work.value.epoch = verdict.work.setting.epoch;
        verdict.pass(Reason::Established, verdict.rule);
    }
    let zone = verdict.work.setting.zone;
    if is_inspected(&before, zone) {
        verdict.inspect = true;
        verdict.work.value.copied = before.copied.wrapping_add(length);
    }
    let packet = verdict.work.packet;
    if incoming(&mut verdict.work.value, protocol, &packet, zone) == Watch::HalfSeen {
        verdict.pass(Reason::HalfSeen, verdict.rule);
    }
    entry.count(&before, ticks, length);
    if flow::differs(&before, &verdict.work.value) {
        verdict.work.value.last_seen = ticks;
        entry.change(&verdict.work.value);
    }
    true
}

/// Judges a known flow again, as its opening packet would be now. `true` if it may not go on.
#[inline(never)]
fn review<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    look_up(tables, verdict);
    let flags = verdict.work.value.flags;
    if flags & FLOW_TAUGHT != 0 {
        verdict.rule = RULE_NONE;
        // We started it, or (seen in its middle) either end may have.
        return unwanted(tables, verdict, Side::Source, DIRECTION_OUT)
            || (flags & FLOW_REPLY == 0 && unwanted(tables, verdict, Side::Source, DIRECTION_IN));
    }
    let is_reply = flags & FLOW_REPLY != 0;
    let (starter, target) = if is_reply { (Side::Destination, Side::Source) } else { (Side::Source, Side::Destination) };
    if unwanted(tables, verdict, starter, DIRECTION_IN) || unwanted(tables, verdict, target, DIRECTION_OUT) {
        return true;
    }
    let is_denied = rejudged(tables, verdict, is_reply);
    // It is no new flow that a rule would log, and nftables would let it through as established.
    verdict.log = false;
    verdict.logged = RULE_NONE;
    if is_denied {
        verdict.action = Action::Drop;
    }
    is_denied
}
