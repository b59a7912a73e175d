//! What goes out of zones whose flows depend on what DNS answered: asked once a flow, of what the policy lets pass.

use abi::{Action, POLICY_ADDRESSED, RULE_NONE, Reason, ZONE_IS_WAN, ZONE_LEARN, ZONE_NAMES, ZONE_RESOLVED};

use crate::{Step, Tables, Verdict, parse::Kind};

/// A packet that opens no flow that is remembered, of a zone whose flows depend on DNS: `true` if it goes out and may not.
/// nftables, to which it would be left, knows nothing of answers, and takes the middle of a connection for its beginning.
/// So it is judged as if it opened a flow; of protocols without ports each packet is.
#[inline(always)]
pub(crate) fn is_kept_in<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let setting = verdict.work.setting;
    let to = verdict.work.destination.zone;
    if tables.zone(setting.slot, to).flags & ZONE_IS_WAN == 0 {
        return false;
    }
    verdict.zone_to = to;
    let is_denied = is_ruled(verdict) && tables.step(Step::Open, verdict);
    // It is no new flow that a rule would log.
    verdict.log = false;
    verdict.logged = RULE_NONE;
    is_denied || (setting.zone & ZONE_RESOLVED != 0 && tables.step(Step::Unresolved, verdict))
}

/// Whether the policy is asked about the packet here.
#[inline(always)]
fn is_ruled(verdict: &Verdict) -> bool {
    verdict.work.packet.kind != Kind::Following || verdict.work.setting.zone & ZONE_NAMES != 0
}

/// A packet of a zone with [`ZONE_RESOLVED`] whose flow is not known, after the policy: `true` if it goes out to an address
/// that the zone's DNS did not answer, and may not.
///
/// What stays inside, goes to the router or is multicast is a matter of rules, and so is what a rule names by its address.
#[inline(always)]
pub(crate) fn is_unresolved<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let slot = verdict.work.setting.slot;
    if is_ruled(verdict) && verdict.work.found.flags & POLICY_ADDRESSED != 0 {
        return false;
    }
    if tables.zone(slot, verdict.zone_to).flags & ZONE_IS_WAN == 0 {
        return false;
    }
    let answered = tables.resolved(slot, verdict.zone_from, &verdict.flow.destination);
    if answered.is_some_and(|answered| answered.until > verdict.work.setting.now) {
        return false;
    }
    let learns = verdict.work.setting.zone & ZONE_LEARN != 0;
    verdict.deny_if(Action::Drop, Reason::Unresolved, RULE_NONE, learns)
}
