//! What was changed, and by whom.

use serde::{Deserialize, Serialize};

use crate::{Decision, DecisionKind, Mode, Origin, Timestamp};

/// A row of the audit log. Rows are added and, when they are old or too many, removed; they are never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Its number, which only grows.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who: the user of the control socket with their number, `pihole-api 10.1.0.9`, a scenario, a machine.
    pub by: Origin,
    /// What, before and after.
    pub change: Change,
    /// The row that this one took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<u64>,
    /// The row that took this one back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
}

/// What was changed, before and after. Decisions stand here without what was seen, which is kept with them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A decision came into force.
    Ordered {
        /// It.
        decision: Decision,
        /// What the same origin had ordered about the same target, and this replaced.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        before: Vec<Decision>,
    },
    /// Decisions were ended before their time.
    Lifted {
        /// They; at most [`Change::MAX_DECISIONS`].
        before: Vec<Decision>,
    },
    /// Many decisions came into force at once.
    OrderedMany {
        /// How many.
        count: u64,
        /// Number of the first.
        first: u64,
        /// Number of the last; the numbers between are theirs.
        last: u64,
    },
    /// Many that came together were ended together.
    LiftedMany {
        /// How many.
        count: u64,
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
    /// The mode of the whole.
    Mode {
        /// Before.
        before: Mode,
        /// After.
        after: Mode,
    },
    /// A pause of blocking names.
    Pause {
        /// The group; none = everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Until when there was one before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Timestamp>,
        /// Until when there is one now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Timestamp>,
    },
    /// The config.
    Config {
        /// `reload`, `apply`, `apply --confirm 60s`, `confirm`, `revert`.
        how: String,
        /// What it changed, a line each, at most [`Change::MAX_LINES`].
        changes: Vec<String>,
    },
    /// A device that was let in or was not any more.
    Device {
        /// Its MAC address.
        mac: String,
        /// What was ordered.
        after: String,
    },
}

impl Change {
    /// Decisions that one row holds.
    pub const MAX_DECISIONS: usize = 32;
    /// Lines about a config that one row holds.
    pub const MAX_LINES: usize = 32;

    /// In words: `ban 192.0.2.7 until 2026-11-23T17:36:50Z`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            Self::Ordered { decision, before } if before.is_empty() => ordered(decision),
            Self::Ordered { decision, .. } => format!("{}, which replaced another", ordered(decision)),
            Self::Lifted { before } => {
                let each: Vec<String> =
                    before.iter().map(|held| format!("{} {}", kind(held), held.target)).collect();
                format!("lifted {}", each.join(", "))
            }
            Self::OrderedMany { count, first, last } => format!("{count} decisions, {first} to {last}"),
            Self::LiftedMany { count, first, last } => {
                format!("lifted {count} decisions of {first} to {last}")
            }
            Self::Mode { before, after } => format!("mode {before} -> {after}"),
            Self::Pause { group, before, after } => {
                let what = group.as_deref().unwrap_or("all groups");
                let text = |at: &Option<Timestamp>| at.map_or("none".into(), |at| format!("until {at}"));
                format!("pause of {what}: {} -> {}", text(before), text(after))
            }
            Self::Config { how, changes } if changes.is_empty() => format!("config: {how}"),
            Self::Config { how, changes } => format!("config: {how}: {}", changes.join(", ")),
            Self::Device { mac, after } => format!("device {mac}: {after}"),
        }
    }
}

fn kind(decision: &Decision) -> &'static str {
    match decision.kind {
        DecisionKind::Ban => "ban",
        DecisionKind::Allow => "allow",
    }
}

fn ordered(decision: &Decision) -> String {
    let until = decision.until.map_or("until it is lifted".into(), |at| format!("until {at}"));
    let observed = if decision.mode == Mode::Observe { ", observed" } else { "" };
    format!("{} {} {until}{observed}", kind(decision), decision.target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Direction, OriginKind};

    #[test]
    fn rows_are_told_in_words_and_round_trip() {
        let decision = Decision {
            id: 7,
            kind: DecisionKind::Ban,
            target: "192.0.2.7".parse().unwrap(),
            direction: Direction::In,
            mode: Mode::Observe,
            since: Timestamp(0),
            until: Some(Timestamp::from_seconds(60)),
            origin: Origin { kind: OriginKind::Scenario, name: "ssh".into(), at: None },
            evidence: Vec::new(),
        };
        let change = Change::Ordered { decision, before: Vec::new() };
        assert_eq!(change.in_words(), "ban 192.0.2.7 until 1970-01-01T00:01:00.000000Z, observed");
        let text = serde_json::to_string(&change).unwrap();
        assert_eq!(serde_json::from_str::<Change>(&text).unwrap(), change);
        let pause = Change::Pause { group: None, before: None, after: Some(Timestamp(0)) };
        assert_eq!(pause.in_words(), "pause of all groups: none -> until 1970-01-01T00:00:00.000000Z");
    }
}
