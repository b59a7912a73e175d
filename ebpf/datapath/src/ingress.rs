//! The verdict about a frame that comes in.

use abi::{
    Action, FLOW_REPLY, FLOW_TAUGHT, FORGOTTEN_NS, FlowKey, RULE_NONE, Reason, ZONE_IS_WAN, ZONE_LOOSE,
    ZONE_NAMES, ZONE_NONE, ZONE_OBSERVE, ZONE_RESOLVED, ZONE_SCAN, ZONE_SELF, ZONE_STRICT,
};

use crate::{
    Frame, Input, Step, Tables, Verdict,
    flow::{self, Found, Places, Watch, incoming, is_closed, is_inspected},
    opening::{found_rule, is_metered, rejudged, reverse},
    parse::{self, ACK, Ethertype, Kind, SYN, TCP, UDP},
    source::{Essential, essential},
    verdict::Quoted,
};

/// Judges a frame. `verdict` is overwritten; it is an argument because the kernel's stack is too small for it, and
/// holds what the steps hand on to each other, so that the verifier does not carry it through every path.
#[inline(always)]
pub fn decide<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, verdict: &mut Verdict) {
    let Some((ethertype, at, end)) = enter(frame, input, tables, verdict) else { return };
    let read = match ethertype {
        Ethertype::V4 => parse::v4(frame, end, at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::V6 => parse::v6(frame, end, at, &mut verdict.flow, &mut verdict.work.packet),
        Ethertype::Arp | Ethertype::Provider => return verdict.pass(Reason::LinkEssential, RULE_NONE),
        Ethertype::Neighbour | Ethertype::Other => return verdict.pass(Reason::NotIp, RULE_NONE),
    };
    if let Err(reason) = read {
        verdict.deny(Action::Drop, reason, RULE_NONE);
        return;
    }
    if verdict.work.packet.kind == Kind::Error {
        verdict.work.quoted = quoted(frame, verdict);
    }
    tables.step(Step::Judge, verdict);
}

/// Reads the link layer and finds the zone: what follows, where it begins, and where it ends at the latest. `None`: the
/// verdict is there.
#[inline(always)]
fn enter<T: Tables>(
    frame: &impl Frame,
    input: &Input,
    tables: &T,
    verdict: &mut Verdict,
) -> Option<(Ethertype, usize, u32)> {
    if !prepare(frame, input, tables, verdict) {
        return None;
    }
    // By way of the verdict's memory: a BPF function returns one word.
    let link = verdict.work.link;
    Some((link.ethertype, usize::from(link.at) & parse::FURTHEST, link.end))
}

/// The first half of [`enter`].
#[inline(never)]
fn prepare<T: Tables>(frame: &impl Frame, input: &Input, tables: &T, verdict: &mut Verdict) -> bool {
    verdict.begin();
    let active = tables.active();
    if active.generation == 0 {
        return false;
    }
    let (slot, epoch) = active.standing(input.now);
    let zone = tables.zone(slot, ZONE_NONE).flags & ZONE_OBSERVE;
    let setting = &mut verdict.work.setting;
    setting.now = input.now;
    setting.ticks = input.ticks;
    setting.epoch = epoch;
    setting.length = input.length;
    setting.slot = slot;
    setting.active = active.flags;
    setting.zone = zone;
    let link = match parse::link(frame, input) {
        Ok(link) => link,
        Err(reason) => {
            verdict.deny(Action::Drop, reason, RULE_NONE);
            return false;
        }
    };
    verdict.vlan = link.vlan;
    verdict.work.link = link;
    if link.ethertype == Ethertype::Neighbour && link.vlan == 0 {
        verdict.pass(Reason::LinkEssential, RULE_NONE);
        return false;
    }
    let zone = tables.port(slot, input.ifindex, link.vlan);
    let row = tables.zone(slot, zone);
    verdict.work.setting.zone |= row.flags;
    verdict.work.setting.rate = row.rate;
    verdict.zone_from = zone;
    verdict.flow.zone = zone;
    if zone == ZONE_NONE {
        verdict.deny(Action::Drop, Reason::WrongVlan, RULE_NONE);
        return false;
    }
    if !input.layer3
        && let Some(mac) = frame.read::<6>(6)
    {
        verdict.work.mac = mac;
    }
    true
}

/// What an ICMP error is about. Its tuple, as answers of it come in here, goes to `verdict.reverse`.
#[inline(never)]
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
    if !carries_tuple {
        return Quoted::Unreadable;
    }
    let left = verdict.reverse;
    reverse(&left, verdict.zone_from, &mut verdict.reverse);
    Quoted::Tuple
}

/// Judges a packet whose headers are read.
#[inline(always)]
pub(crate) fn judge<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let packet = verdict.work.packet;
    let carries_tuple = match packet.kind {
        Kind::Opening => true,
        Kind::Following => verdict.flow.protocol == parse::TCP || parse::is_echo(&packet),
        Kind::Error | Kind::Fragment | Kind::Portless => false,
    };
    // What cannot be an answer has its addresses judged first.
    let starts = packet.kind == Kind::Opening && !may_answer(verdict);
    if carries_tuple && !starts && is_known(tables, verdict) {
        return;
    }
    match essential(verdict) {
        Essential::Yes => return verdict.pass(Reason::LinkEssential, RULE_NONE),
        Essential::IfNear => {
            tables.step(Step::LookUpDestination, verdict);
            let to = verdict.work.destination.zone;
            let stays = to == verdict.zone_from && verdict.work.setting.zone & ZONE_IS_WAN == 0;
            if to == ZONE_SELF || stays {
                return verdict.pass(Reason::LinkEssential, RULE_NONE);
            }
        }
        Essential::Forged => {
            if verdict.deny(Action::Drop, Reason::Malformed, RULE_NONE) {
                return;
            }
        }
        Essential::No => {}
    }
    if tables.step(Step::Source, verdict) {
        return;
    }
    match packet.kind {
        // The second wall reassembles.
        Kind::Fragment => return verdict.pass(Reason::Fragment, RULE_NONE),
        Kind::Error => return error(tables, verdict),
        Kind::Opening | Kind::Following | Kind::Portless => {}
    }
    // What is dropped for its source costs no second walk.
    if tables.step(Step::Destination, verdict) || (starts && is_known(tables, verdict)) {
        return;
    }
    let zone = verdict.work.setting.zone;
    match packet.kind {
        Kind::Opening => {
            // A zone that looks for scans slows their sources down; then policy, then rates.
            let is_scanned = zone & ZONE_SCAN != 0;
            if is_scanned && tables.step(Step::Held, verdict) {
                return;
            }
            if tables.step(Step::Open, verdict) {
                // Only what the policy denies can be left to nftables; what is too much stays refused.
                if !tables.step(Step::Forgotten, verdict) && is_scanned {
                    tables.step(Step::Scanned, verdict);
                }
                return;
            }
            if zone & ZONE_RESOLVED != 0 && tables.step(Step::Unresolved, verdict) {
                return;
            }
            if is_metered(verdict) && tables.step(Step::Metered, verdict) {
                return;
            }
            tables.step(Step::Enter, verdict);
        }
        Kind::Portless => {
            let depends = zone & (ZONE_RESOLVED | ZONE_NAMES) != 0;
            if !(depends && tables.step(Step::KeptIn, verdict)) {
                verdict.pass(Reason::Portless, RULE_NONE);
            }
        }
        Kind::Following | Kind::Fragment | Kind::Error => follow(tables, verdict),
    }
}

/// The packet may open a flow, and may be an answer as well: UDP. (A SYN or an echo request answers nothing.)
#[inline(always)]
pub(crate) fn may_answer(verdict: &Verdict) -> bool {
    verdict.work.packet.kind == Kind::Opening && verdict.flow.protocol == UDP
}

/// A packet of no known flow that opens none: conntrack knows, unless the zone takes none such.
#[inline(always)]
fn follow<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let zone = verdict.work.setting.zone;
    let tcp_flags = verdict.work.packet.tcp_flags;
    let is_tcp = verdict.flow.protocol == TCP;
    let is_loose = is_tcp && zone & ZONE_LOOSE != 0;
    // What was there before the attach is not known yet.
    let is_settled = verdict.work.setting.now.wrapping_sub(tables.active().attached) >= FORGOTTEN_NS;
    let depends = zone & (ZONE_RESOLVED | ZONE_NAMES) != 0;
    let is_strict = zone & ZONE_STRICT != 0 && !is_loose;
    // Nor is what the flow table had no room for.
    let is_unsolicited = (depends || is_strict) && is_settled && !tables.step(Step::WasForgotten, verdict);
    if is_unsolicited && depends && tables.step(Step::KeptIn, verdict) {
        return;
    }
    if is_loose {
        tables.step(Step::Loosen, verdict);
        return verdict.pass(Reason::HalfSeen, RULE_NONE);
    }
    if is_unsolicited && is_strict && verdict.deny(Action::Drop, Reason::Unsolicited, RULE_NONE) {
        return;
    }
    let half = is_tcp && tcp_flags & (SYN | ACK) == SYN | ACK;
    verdict.pass(if half { Reason::HalfSeen } else { Reason::NoState }, RULE_NONE);
}

/// An ICMP error: what holds for the flow that it is about holds for it.
#[inline(always)]
fn error<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let refused = match verdict.work.quoted {
        Quoted::Foreign => verdict.deny(Action::Drop, Reason::Malformed, RULE_NONE),
        Quoted::Unreadable => false,
        Quoted::Tuple => {
            // As an answer to what it is about; then back again.
            turn(verdict);
            let refused = tables.step(Step::About, verdict)
                || (verdict.work.is_stale && tables.step(Step::Review, verdict));
            turn(verdict);
            refused
        }
    };
    verdict.reverse = FlowKey::default();
    if !refused {
        verdict.pass(Reason::IcmpError, RULE_NONE);
    }
}

/// Exchanges the tuple of the packet and that of the answers to what it quotes.
#[inline(always)]
fn turn(verdict: &mut Verdict) {
    core::mem::swap(&mut verdict.flow, &mut verdict.reverse);
}

/// Whether the flow that an ICMP error is about is cut. If it is known and judged under another epoch it is stale.
#[inline(always)]
pub(crate) fn about<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    verdict.work.is_stale = false;
    let ticks = verdict.work.setting.ticks;
    if flow::find(tables, &verdict.flow, ticks, &mut verdict.work.value).is_none() {
        return false;
    }
    if is_cut(verdict) {
        let rule = verdict.work.value.rule;
        return verdict.deny(Action::Drop, Reason::Signature, rule);
    }
    verdict.work.is_stale = verdict.work.value.epoch != verdict.work.setting.epoch;
    false
}

/// Looks in the flow table. `true` if the verdict stands.
#[inline(always)]
fn is_known<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    if tables.step(Step::Known, verdict) {
        return true;
    }
    if !verdict.work.is_stale {
        return false;
    }
    verdict.work.is_stale = false;
    // If it may not go on, the entry keeps its old epoch: when the ban or rule goes, the flow goes on.
    if !tables.step(Step::Review, verdict) {
        tables.step(Step::Renew, verdict);
    }
    true
}

#[inline(always)]
fn is_cut(verdict: &Verdict) -> bool {
    let value = &verdict.work.value;
    value.action == Action::Drop as u8 && value.reason == Reason::Signature as u8
}

/// Finds the entry of the tuple. `true`: that is the verdict. Else either there is none, or it is stale.
#[inline(always)]
pub(crate) fn known<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let (ticks, length) = (verdict.work.setting.ticks, verdict.work.setting.length);
    let Some(entry) = flow::find(tables, &verdict.flow, ticks, &mut verdict.work.value) else { return false };
    let is_cut = is_cut(verdict);
    if !is_cut && verdict.work.packet.kind == Kind::Opening && is_closed(&verdict.work.value) {
        return false;
    }
    verdict.known = true;
    verdict.reply = verdict.work.value.flags & FLOW_REPLY != 0;
    verdict.zone_to = if verdict.reply { verdict.work.value.zone_from } else { verdict.work.value.zone_to };
    let rule = verdict.work.value.rule;
    if is_cut {
        verdict.deny(Action::Drop, Reason::Signature, rule);
        entry.count(ticks, length);
        return true;
    }
    if verdict.work.value.epoch != verdict.work.setting.epoch {
        verdict.work.is_stale = true;
        return false;
    }
    verdict.pass(Reason::Established, rule);
    goes_on(&entry, verdict);
    true
}

/// A stale entry was judged again and goes on.
#[inline(always)]
pub(crate) fn renew<T: Tables>(tables: &T, verdict: &mut Verdict) {
    let (ticks, epoch) = (verdict.work.setting.ticks, verdict.work.setting.epoch);
    let rule = verdict.rule;
    verdict.pass(Reason::Established, rule);
    let Some(entry) = flow::find(tables, &verdict.flow, ticks, &mut verdict.work.value) else { return };
    // A ban or list that only observes is the rule of this verdict, not of the flow.
    let of_flow = if verdict.work.value.flags & FLOW_TAUGHT == 0 { found_rule(verdict) } else { RULE_NONE };
    let value = &mut verdict.work.value;
    value.rule = of_flow;
    value.epoch = epoch;
    goes_on(&entry, verdict);
}

/// A packet of a known flow that passes: what it changes of the entry, in `work.value`.
#[inline(always)]
fn goes_on<S: Places>(entry: &Found<S>, verdict: &mut Verdict) {
    let (ticks, length) = (verdict.work.setting.ticks, verdict.work.setting.length);
    let zone = verdict.work.setting.zone;
    if is_inspected(&verdict.work.value, zone) {
        verdict.inspect = true;
        verdict.work.value.copied = verdict.work.value.copied.wrapping_add(length);
    }
    let packet = verdict.work.packet;
    let protocol = verdict.flow.protocol;
    if incoming(&mut verdict.work.value, protocol, &packet, zone) == Watch::HalfSeen {
        verdict.pass(Reason::HalfSeen, verdict.rule);
    }
    entry.count(ticks, length);
    if entry.differs(&verdict.work.value) {
        verdict.work.value.last_seen = ticks;
        entry.change(&verdict.work.value);
    }
}

/// Judges a known flow again, as its opening packet would be now. `true` if it may not go on.
#[inline(always)]
pub(crate) fn review<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    tables.step(Step::LookUpSource, verdict);
    tables.step(Step::LookUpDestination, verdict);
    let flags = verdict.work.value.flags;
    if flags & FLOW_TAUGHT != 0 {
        verdict.rule = RULE_NONE;
        // We started it, or (seen in its middle) either end may have.
        return tables.step(Step::SourceIsTarget, verdict)
            || (flags & FLOW_REPLY == 0 && tables.step(Step::SourceStarts, verdict));
    }
    let is_reply = flags & FLOW_REPLY != 0;
    let (starter, target) = if is_reply {
        (Step::DestinationStarts, Step::SourceIsTarget)
    } else {
        (Step::SourceStarts, Step::DestinationIsTarget)
    };
    if tables.step(starter, verdict) || tables.step(target, verdict) {
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
