//! Zones that open flows only to what their DNS answered: asked once a flow, of what the policy lets pass.

use abi::{Action, POLICY_ADDRESSED, RULE_NONE, Reason, ZONE_IS_WAN, ZONE_LEARN};

use crate::{Tables, Verdict, parse::Kind};

/// A packet of a zone with [`abi::ZONE_RESOLVED`], whose flow is not known, after the policy: `true` if it goes out to an address that the
/// zone's DNS did not answer, and may not.
///
/// What stays inside, goes to the router or is multicast is a matter of rules, and so is what a rule names by its address.
/// Of what opens no flow here no rule was asked: protocols without ports, each packet, and TCP that nobody saw begin.
#[inline(always)]
pub(crate) fn is_unresolved<T: Tables>(tables: &T, verdict: &mut Verdict) -> bool {
    let slot = verdict.work.setting.slot;
    if verdict.work.packet.kind != Kind::Opening {
        verdict.zone_to = verdict.work.destination.zone;
    } else if verdict.work.found.flags & POLICY_ADDRESSED != 0 {
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
