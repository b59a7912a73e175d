//! Bouncers, which are told of decisions, and machines, which order bans.

use model::{LastSeen, ProgramName, Timestamp};
use serde::{Deserialize, Serialize};

/// `GET /v1/bouncers`, `GET /v1/machines`: who is known, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs {
    /// One each.
    pub programs: Vec<Program>,
}

/// A bouncer or machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Name.
    pub name: ProgramName,
    /// Since when it is known.
    pub created: Timestamp,
    /// Last sign of it.
    pub last: LastSeen,
    /// When it was last told what begins and ends; none = never, or it asks for each address.
    pub pulled: Option<Timestamp>,
    /// It may do what it is for; a machine that registered itself waits for a person to say so.
    pub validated: bool,
}

/// What is to be done with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgramAction {
    /// Add it.
    Add,
    /// Let a machine order that registered itself.
    Validate,
    /// Remove it.
    Delete,
}

/// `POST /v1/bouncers/order`, `POST /v1/machines/order`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramOrder {
    /// Which.
    pub name: ProgramName,
    /// What is to be done.
    pub action: ProgramAction,
    /// The key or password of one that is added; left out = a new one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Who asks.
    pub user: String,
}

/// Reply to a [`ProgramOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramOrdered {
    /// Which.
    pub name: ProgramName,
    /// The key or password of one that was added; it is kept nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// What the person should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}
