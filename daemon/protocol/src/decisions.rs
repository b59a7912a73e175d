//! Ordering, lifting and listing decisions.

use model::{Decision, DecisionKind, Direction, OriginKind, Target};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `POST /v1/decisions`: a person orders something. It is acknowledged when it is stored and in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What.
    pub kind: DecisionKind,
    /// About what.
    pub target: Target,
    /// For how long; left out = until it is lifted.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Lasting>,
    /// Which way it holds.
    #[serde(default)]
    pub direction: Direction,
    /// Why, in the person's words, at most [`Order::MAX_COMMENT`] bytes. Kept as evidence with source `comment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who asks. A name for the record, not a credential: who may connect is a matter of the socket's file mode.
    pub user: String,
}

impl Order {
    /// Bytes of a comment.
    pub const MAX_COMMENT: usize = 256;
    /// Bytes of a user name.
    pub const MAX_USER: usize = 64;
    /// Longest time that can be asked for, ten years; for longer, leave `for` out.
    pub const MAX_LASTING: Duration = Duration::from_secs(3650 * 86_400);

    /// Checks what the types do not.
    ///
    /// # Errors
    /// Says what is too long or too short.
    pub fn check(&self) -> Result<(), String> {
        if self.comment.as_ref().is_some_and(|comment| comment.len() > Self::MAX_COMMENT) {
            return Err(format!("the comment is longer than {} bytes", Self::MAX_COMMENT));
        }
        if self.user.is_empty() || self.user.len() > Self::MAX_USER {
            return Err(format!("the user name must have 1 to {} bytes", Self::MAX_USER));
        }
        match self.lasting {
            Some(Lasting(lasting)) if lasting.is_zero() => Err("`for` must be longer than nothing".into()),
            Some(Lasting(lasting)) if lasting > Self::MAX_LASTING => {
                Err("`for` is longer than ten years; leave it out to order until it is lifted".into())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A duration as people write it: `90s`, `10m`, `1h30m`, `7d`. Written back in whole seconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lasting(pub Duration);

impl std::str::FromStr for Lasting {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        model::parse_duration(text).map(Self)
    }
}

impl TryFrom<String> for Lasting {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Lasting> for String {
    fn from(Lasting(duration): Lasting) -> Self {
        format!("{}s", duration.as_secs() + u64::from(duration.subsec_nanos() > 0))
    }
}

/// Reply to an [`Order`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ordered {
    /// The decision as it is stored, with its number.
    pub decision: Decision,
    /// What the person should know besides: it is only observed, it repeats another, connections that are open stay.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `POST /v1/lift`: ends every decision about exactly this target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// About what.
    pub target: Target,
    /// Only decisions of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DecisionKind>,
    /// Who asks.
    pub user: String,
}

/// Reply to a [`Lift`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// What was lifted; empty if nothing was in force for exactly this target.
    pub lifted: Vec<Decision>,
    /// What the person should know besides: a wider ban or a list still holds.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `GET /v1/decisions?…`: the decisions in force, newest first. Filters that are left out let everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsQuery {
    /// Those that touch this target: it, what covers it, and of a range what lies inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Those of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DecisionKind>,
    /// Those ordered by this kind of origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<OriginKind>,
    /// At most this many, [`crate::DEFAULT_ROWS`] if left out, at most [`crate::MAX_ROWS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Those with smaller numbers, by falling number: for reading all of them by pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// Reply to a [`DecisionsQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decisions {
    /// The newest that match.
    pub decisions: Vec<Decision>,
    /// How many are in force in all, matching or not.
    pub total: u64,
}
