//! Standing orders.

use serde::{Deserialize, Serialize};

use crate::{Mode, Target, Timestamp};

/// What a decision orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionKind {
    /// Stop it.
    Ban,
    /// Let it pass; wins over every ban and list.
    Allow,
}

/// Which way a ban or a list holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// What the address starts. Replies to our own connections pass.
    #[default]
    In,
    /// What we start towards the address.
    Out,
    /// Both.
    Both,
}

impl Direction {
    /// As `abi::DIRECTION_*` bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::In => abi::DIRECTION_IN,
            Self::Out => abi::DIRECTION_OUT,
            Self::Both => abi::DIRECTION_IN | abi::DIRECTION_OUT,
        }
    }
}

/// Who ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    /// A person, through the control socket.
    Person,
    /// A scenario over log lines.
    Scenario,
    /// A signature.
    Signature,
}

/// Who ordered, and by which version of which rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Kind.
    pub kind: OriginKind,
    /// Scenario name, `sid:2034647`, or the user who typed the command.
    pub name: String,
    /// Where the rule stands, `file:line`, if it stands in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// Where: a file, `syslog 10.2.0.5`, `flow …`.
    pub source: String,
    /// The line or bytes, at most [`Evidence::MAX_TEXT`] bytes, control characters escaped.
    pub text: String,
}

impl Evidence {
    /// Bytes of text that are kept.
    pub const MAX_TEXT: usize = 512;
    /// Pieces kept with a decision, the newest.
    pub const MAX_PIECES: usize = 8;

    /// Cuts and escapes `text` so that it can be stored and shown on a terminal.
    #[must_use]
    pub fn new(at: Timestamp, source: impl Into<String>, text: &str) -> Self {
        let mut kept = String::with_capacity(text.len().min(Self::MAX_TEXT));
        for c in text.chars() {
            let escaped = c.is_control();
            if kept.len() + if escaped { 10 } else { c.len_utf8() } > Self::MAX_TEXT {
                kept.push('…');
                break;
            }
            if escaped { kept.extend(c.escape_default()) } else { kept.push(c) }
        }
        Self { at, source: source.into(), text: kept }
    }
}

/// A standing order. Never about one packet; from it everything enforces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Number in the store's sequence; 0 = not stored yet.
    pub id: u64,
    /// What is ordered.
    pub kind: DecisionKind,
    /// About what.
    pub target: Target,
    /// Which way it holds.
    pub direction: Direction,
    /// Whether it is carried out.
    pub mode: Mode,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none = until it is lifted.
    pub until: Option<Timestamp>,
    /// Who ordered it.
    pub origin: Origin,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_bounded_and_escaped() {
        let evidence =
            Evidence::new(Timestamp(0), "auth.log", &format!("\u{1b}[31mred{}", "x".repeat(10_000)));
        assert!(evidence.text.starts_with("\\u{1b}[31mred"));
        assert!(evidence.text.len() <= Evidence::MAX_TEXT + '…'.len_utf8());
        assert!(evidence.text.ends_with('…'));
    }
}
