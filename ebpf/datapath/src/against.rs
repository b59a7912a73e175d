//! What is against an address: bans and lists, by direction, and what holds against neither.

use abi::{
    ACTIVE_ALLOWS, ACTIVE_BANS, ACTIVE_RANGES, Action, Address, DIRECTION_IN, DIRECTION_OUT, RULE_NONE,
    Reason,
    image::{
        ADDRESS_IN_OBSERVED, ADDRESS_OUT_OBSERVED, ADDRESS_PROTECTED, ADDRESS_UPSTREAM, AddressClass, NOTHING,
    },
};

use crate::{
    Tables, Verdict, flow,
    ingress::may_answer,
    parse::Kind,
    source::{is_bogon, is_spoofed},
};

/// Which address of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    /// The address.
    #[inline(always)]
    pub(crate) fn of(self, verdict: &Verdict) -> &Address {
        match self {
            Self::Source => &verdict.flow.source,
            Self::Destination => &verdict.flow.destination,
        }
    }

    /// What is known of it, once it was looked up.
    #[inline(always)]
    pub(crate) fn known(self, verdict: &Verdict) -> &AddressClass {
        match self {
            Self::Source => &verdict.work.source,
            Self::Destination => &verdict.work.destination,
        }
    }
}

/// Looks up what is known of an address.
#[inline(always)]
pub(crate) fn look_up<T: Tables>(tables: &T, verdict: &mut Verdict, side: Side) {
    let known = tables.address(verdict.work.setting.slot, side.of(verdict));
    match side {
        Side::Source => verdict.work.source = known,
        Side::Destination => verdict.work.destination = known,
    }
}

/// Looks up what is known of the source. `true`: it cannot be where it is, or a ban or list is against what it starts, and
/// that ends the matter. Of later fragments and of ICMP errors it is not asked what is against them.
#[inline(always)]
pub(crate) fn source<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    if verdict.work.packet.kind == Kind::Opening && !may_answer(verdict) {
        // Needed later, and slow to come: meanwhile the source is looked up.
        flow::touch(tables, &verdict.flow);
    }
    look_up(tables, verdict, Side::Source);
    if is_spoofed(tables, verdict) && verdict.deny(Action::Drop, Reason::Spoofed, RULE_NONE) {
        return true;
    }
    if is_bogon(verdict) && verdict.deny(Action::Drop, Reason::Bogon, RULE_NONE) {
        return true;
    }
    if matches!(verdict.work.packet.kind, Kind::Fragment | Kind::Error) {
        return false;
    }
    unwanted(tables, verdict, Side::Source, DIRECTION_IN)
}

/// Looks up what is known of the destination. `true`: a ban or list is against what is started towards it, and that ends
/// the matter.
#[inline(always)]
pub(crate) fn destination<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    if may_answer(verdict) {
        // As above. The tuple itself was looked for already.
        flow::touch(tables, &verdict.flow);
    }
    look_up(tables, verdict, Side::Destination);
    unwanted(tables, verdict, Side::Destination, DIRECTION_OUT)
}

/// A ban or list is against the address in this direction, and it is not protected. `true` if that ends the matter.
#[inline(always)]
pub(crate) fn unwanted<T: Tables>(tables: &T, verdict: &mut Verdict, side: Side, direction: u8) -> bool {
    debug_assert!(direction == DIRECTION_IN || direction == DIRECTION_OUT);
    let starts = direction == DIRECTION_IN;
    let (now, active) = (verdict.work.setting.now, verdict.work.setting.active);
    if active & (ACTIVE_BANS | ACTIVE_RANGES) != 0
        && let Some(ban) = tables.ban(active, side.of(verdict))
        && ban.directions & direction != 0
        && ban.until > now
        && !is_protected(tables, verdict, side)
    {
        let reason = if starts { Reason::BannedSource } else { Reason::BannedDestination };
        if verdict.deny_if(Action::Drop, reason, ban.decision, ban.observe != 0) {
            return true;
        }
    }
    let known = side.known(verdict);
    let (list, observed) = if starts {
        (known.listed_in, known.flags & ADDRESS_IN_OBSERVED != 0)
    } else {
        (known.listed_out, known.flags & ADDRESS_OUT_OBSERVED != 0)
    };
    if list != NOTHING && !is_protected(tables, verdict, side) {
        let reason = if starts { Reason::ListedSource } else { Reason::ListedDestination };
        return verdict.deny_if(Action::Drop, reason, list as u32, observed);
    }
    false
}

#[inline(always)]
fn is_protected<T: Tables>(tables: &T, verdict: &Verdict, side: Side) -> bool {
    let (now, active) = (verdict.work.setting.now, verdict.work.setting.active);
    // Only the router's own questions to its upstreams are protected: of these the answers come by here.
    let protected = match side {
        Side::Source => ADDRESS_PROTECTED | ADDRESS_UPSTREAM,
        Side::Destination => ADDRESS_PROTECTED,
    };
    side.known(verdict).flags & protected != 0
        || (active & ACTIVE_ALLOWS != 0 && tables.allowed(side.of(verdict)).is_some_and(|until| until > now))
}
