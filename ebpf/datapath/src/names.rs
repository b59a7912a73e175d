//! Rules that name domains: where an address was answered for names of some patterns, each pattern is a destination of its
//! own, and the rule that comes first decides.
//!
//! The second wall cannot know what was answered, and lets such rules hold for every address outside. So nothing that is
//! denied here may be left to it, where rules of the zone name domains: a rejection becomes a drop.

use abi::{
    Action, ZONE_IS_WAN,
    image::{MAX_PATTERNS, RuleRow},
};

use crate::{Tables, Verdict, image::Question};

/// What the policy says to a flow towards the outside, given in `work.found` what it says to its address alone.
/// `is_reply`: the packet at hand answers the flow.
///
/// A known flow goes on under what was once answered; where that is forgotten, if it may for any pattern.
#[inline(always)]
pub(crate) fn by_names<T: Tables>(
    tables: &T,
    verdict: &mut Verdict,
    question: &mut Question,
    is_known: bool,
    is_reply: bool,
) {
    let slot = verdict.work.setting.slot;
    if tables.zone(slot, question.to).flags & ZONE_IS_WAN == 0 {
        return;
    }
    let destination = if is_reply { &verdict.flow.source } else { &verdict.flow.destination };
    let answered = tables.resolved(slot, question.from, destination);
    let is_forgotten = is_known && answered.is_none();
    let patterns = tables.patterns(slot)
        & match answered {
            Some(answered) if is_known || answered.until > verdict.work.setting.now => answered.patterns,
            None if is_known => u64::MAX,
            Some(_) | None => 0,
        };
    // By turns: a place that the verifier knows.
    let mut turn = 0;
    while turn < MAX_PATTERNS && patterns >> turn != 0 {
        let pattern = turn;
        turn += 1;
        if patterns >> pattern & 1 == 0 {
            continue;
        }
        question.destination = tables.pattern(slot, pattern);
        let other = tables.classify(slot, question);
        let found = verdict.work.found;
        verdict.work.found = match is_forgotten {
            false => first(found, other),
            true if found.action == Action::Pass as u8 => found,
            true => other,
        };
    }
    if verdict.work.found.action == Action::Reject as u8 {
        verdict.work.found.action = Action::Drop as u8;
    }
}

/// Of two rows the one whose rule comes first, with the first before it that only logs. Ids ascend in the order of rules,
/// and the default is the last.
#[inline(always)]
fn first(one: RuleRow, other: RuleRow) -> RuleRow {
    let mut found = if other.rule < one.rule { other } else { one };
    let logged = if other.logged < one.logged { other.logged } else { one.logged };
    found.logged = if logged < found.rule { logged } else { abi::image::NOTHING };
    found
}
