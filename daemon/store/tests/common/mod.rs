//! Decisions to store.

use model::{Decision, DecisionKind, Direction, Evidence, Mode, Origin, OriginKind, Timestamp};

/// A moment to start from.
pub(crate) const START: Timestamp = Timestamp::from_seconds(1_790_000_000);

/// A ban by a scenario, until it is lifted.
pub(crate) fn ban(target: &str) -> Decision {
    Decision {
        id: 0,
        kind: DecisionKind::Ban,
        target: target.parse().unwrap(),
        direction: Direction::In,
        mode: Mode::Enforce,
        since: START,
        until: None,
        origin: Origin {
            kind: OriginKind::Scenario,
            name: "sshd-bruteforce".into(),
            at: Some("sshd.toml:3".into()),
        },
        evidence: vec![Evidence::new(START, "auth.log", "Failed password for root from 192.0.2.7")],
    }
}
