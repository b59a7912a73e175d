//! Standing orders about names: they go before every list. One that is for a client alone goes before those for
//! everybody.

use model::{ClientName, Decision, DecisionKind, Mode, Timestamp};
use std::{collections::HashMap, net::IpAddr};

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

/// Who asks, as orders name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The name of the client in the config; empty for nobody it names.
    pub client: &'a str,
    /// The address.
    pub address: Option<IpAddr>,
}

/// Decisions about names, as a snapshot. An allow beats every ban; a ban covers everything below its name; what is
/// ordered for whoever asks alone goes before both.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    names: HashMap<Box<str>, Vec<(Override, Option<ClientName>)>>,
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
            let Some((name, client)) = decision.target.domain() else { continue };
            if overrides.held == MAX_OVERRIDES {
                overrides.beyond += 1;
                continue;
            }
            overrides.held += 1;
            let order = Override {
                kind: decision.kind,
                mode: decision.mode,
                until: decision.until,
                decision: decision.id,
            };
            overrides.names.entry(name.as_str().into()).or_default().push((order, client.cloned()));
        }
        overrides
    }

    /// What holds for `name` at `now` for everybody; see [`Overrides::decide_for`].
    #[must_use]
    pub fn decide<'name>(&self, name: &'name str, now: Timestamp) -> Option<(Override, &'name str)> {
        self.decide_for(name, Asker::default(), now)
    }

    /// What holds for `name` at `now` and whoever asks, and the name the decision is about. What is for this client alone
    /// goes first; then an allow, else an enforced ban, else an observed one. Of equal ones the most specific name, then
    /// the one that holds longest.
    #[must_use]
    pub fn decide_for<'name>(
        &self,
        name: &'name str,
        asker: Asker<'_>,
        now: Timestamp,
    ) -> Option<(Override, &'name str)> {
        if self.names.is_empty() {
            return None;
        }
        let strength = |order: &Override, client: &Option<ClientName>| {
            let strength = match (order.kind, order.mode) {
                (DecisionKind::Allow, _) => 2,
                (DecisionKind::Ban, Mode::Enforce) => 1,
                (DecisionKind::Ban, Mode::Observe) => 0,
            };
            (client.is_some(), strength)
        };
        let concerned = |client: &Option<ClientName>| {
            client.as_ref().is_none_or(|client| client.is(asker.client, asker.address))
        };
        let lasts = |order: &Override| order.until.map_or(i64::MAX, |until| until.0);
        let mut best: Option<(Override, &'name str, (bool, u8))> = None;
        for suffix in suffixes(name) {
            let Some(orders) = self.names.get(suffix) else { continue };
            let in_force = |order: &Override| order.until.is_none_or(|until| now < until);
            for (order, client) in
                orders.iter().filter(|(order, client)| in_force(order) && concerned(client))
            {
                let strength = strength(order, client);
                let better = best.is_none_or(|(known, at, held)| {
                    strength > held
                        || (strength == held && at.len() == suffix.len() && lasts(order) > lasts(&known))
                });
                if better {
                    best = Some((*order, suffix, strength));
                }
            }
        }
        best.map(|(order, at, _)| (order, at))
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
    fn what_is_for_one_client_goes_first_and_concerns_no_other() {
        let overrides = Overrides::new(&[
            decision(1, DecisionKind::Ban, "ads.example", None),
            decision(2, DecisionKind::Allow, "ads.example@kids-tablet", Some(100)),
            decision(3, DecisionKind::Allow, "games.example", None),
            decision(4, DecisionKind::Ban, "games.example@10.4.0.9", None),
        ]);
        let decided = |name: &str, client: &str, address: [u8; 4], now| {
            let asker = Asker { client, address: Some(address.into()) };
            overrides.decide_for(name, asker, Timestamp(now)).map(|(order, _)| order.decision)
        };
        assert_eq!(decided("x.ads.example", "kids-tablet", [10, 4, 0, 1], 99), Some(2));
        assert_eq!(decided("x.ads.example", "kids-tablet", [10, 4, 0, 1], 100), Some(1));
        assert_eq!(decided("x.ads.example", "phone", [10, 4, 0, 1], 99), Some(1));
        assert_eq!(decided("x.games.example", "", [10, 4, 0, 9], 0), Some(4));
        assert_eq!(decided("x.games.example", "phone", [10, 4, 0, 8], 0), Some(3));
        assert_eq!(overrides.decide("games.example", Timestamp(0)).map(|(order, _)| order.decision), Some(3));
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
