//! Standing orders about names: they go before every list.

use model::{Decision, DecisionKind, Mode, Target, Timestamp};
use std::collections::HashMap;

use crate::{limits::MAX_OVERRIDES, names::suffixes};

/// What a decision says about a name and everything below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Ban or allow.
    pub kind: DecisionKind,
    /// Whether it is carried out.
    pub mode: Mode,
    /// Until when; none = until it is lifted.
    pub until: Option<Timestamp>,
    /// Id of the decision.
    pub decision: u64,
}

/// Decisions about names, as a snapshot. An allow beats every ban; a ban covers everything below its name.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    names: HashMap<Box<str>, Vec<Override>>,
    held: usize,
    beyond: u64,
}

impl Overrides {
    /// Takes the decisions that are about domains. At most [`MAX_OVERRIDES`] are held, in the order given; see
    /// [`Overrides::beyond`].
    #[must_use]
    pub fn new<'a>(decisions: impl IntoIterator<Item = &'a Decision>) -> Self {
        let mut overrides = Self::default();
        for decision in decisions {
            let Target::Domain(name) = &decision.target else { continue };
            if overrides.held == MAX_OVERRIDES {
                overrides.beyond += 1;
                continue;
            }
            overrides.held += 1;
            overrides.names.entry(name.as_str().into()).or_default().push(Override {
                kind: decision.kind,
                mode: decision.mode,
                until: decision.until,
                decision: decision.id,
            });
        }
        overrides
    }

    /// What holds for `name` at `now`, and the name the decision is about: an allow, else an enforced ban, else an
    /// observed one. Of equal ones the most specific name, then the one that holds longest.
    #[must_use]
    pub fn decide<'name>(&self, name: &'name str, now: Timestamp) -> Option<(Override, &'name str)> {
        if self.names.is_empty() {
            return None;
        }
        let strength = |order: &Override| match (order.kind, order.mode) {
            (DecisionKind::Allow, _) => 2,
            (DecisionKind::Ban, Mode::Enforce) => 1,
            (DecisionKind::Ban, Mode::Observe) => 0,
        };
        let lasts = |order: &Override| order.until.map_or(i64::MAX, |until| until.0);
        let mut best: Option<(Override, &'name str)> = None;
        for suffix in suffixes(name) {
            let Some(orders) = self.names.get(suffix) else { continue };
            for order in orders.iter().filter(|order| order.until.is_none_or(|until| now < until)) {
                let better = best.is_none_or(|(known, at)| {
                    strength(order) > strength(&known)
                        || (strength(order) == strength(&known)
                            && at.len() == suffix.len()
                            && lasts(order) > lasts(&known))
                });
                if better {
                    best = Some((*order, suffix));
                }
            }
        }
        best
    }

    /// Decisions held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Decisions that are not in force because [`MAX_OVERRIDES`] are held already.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Direction, Origin, OriginKind};

    fn decision(id: u64, kind: DecisionKind, name: &str, until: Option<i64>) -> Decision {
        Decision {
            id,
            kind,
            target: name.parse().unwrap(),
            direction: Direction::Both,
            mode: Mode::Enforce,
            since: Timestamp(0),
            until: until.map(Timestamp),
            origin: Origin { kind: OriginKind::Person, name: "root".into(), at: None },
            evidence: Vec::new(),
        }
    }

    #[test]
    fn allows_beat_bans_while_they_last() {
        let overrides = Overrides::new(&[
            decision(1, DecisionKind::Ban, "ads.example", None),
            decision(2, DecisionKind::Allow, "good.ads.example", Some(100)),
            decision(3, DecisionKind::Ban, "192.0.2.1", None),
        ]);
        assert_eq!(overrides.len(), 2, "addresses are somebody else's");
        let decided = |name: &str, now| {
            overrides.decide(name, Timestamp(now)).map(|(order, at)| (order.decision, at.to_owned()))
        };
        assert_eq!(decided("x.good.ads.example", 99), Some((2, "good.ads.example".into())));
        assert_eq!(decided("x.good.ads.example", 100), Some((1, "ads.example".into())));
        assert_eq!(decided("ads.example", 0), Some((1, "ads.example".into())));
        assert_eq!(decided("b?d.ads.example", 0), Some((1, "ads.example".into())));
        assert_eq!(decided("bads.example", 0), None);
    }

    #[test]
    fn decisions_beyond_the_limit_are_counted() {
        let many: Vec<_> = (0..MAX_OVERRIDES as u64 + 3)
            .map(|id| decision(id, DecisionKind::Ban, "ads.example", None))
            .collect();
        let overrides = Overrides::new(&many);
        assert_eq!((overrides.len(), overrides.beyond()), (MAX_OVERRIDES, 3));
    }
}
