//! Who changed what, taking it back, and many decisions at once.

use model::{AuditRecord, Decision, Timestamp};
use serde::{Deserialize, Serialize};

/// `GET /v1/audit?…`: who changed what, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// From then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// At most this many, [`crate::DEFAULT_ROWS`] if left out, at most [`crate::MAX_ROWS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Reply to an [`AuditQuery`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// The newest that match.
    pub records: Vec<AuditRecord>,
}

/// `POST /v1/undo`: takes a change back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoOrder {
    /// The row of the audit log; left out = the last change that a person made and nobody took back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Who asks.
    pub user: String,
}

/// Reply to an [`UndoOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// What was taken back.
    pub record: AuditRecord,
    /// What was done for it, in words.
    pub done: Vec<String>,
    /// What the person should know besides.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `POST /v1/decisions/many`: many decisions at once, from a file of addresses or from another appliance. Their ids mean
/// nothing; where the origin has no name it is whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManyOrder {
    /// They, at most [`ManyOrder::MAX`].
    pub decisions: Vec<Decision>,
    /// Who asks.
    pub user: String,
}

impl ManyOrder {
    /// Decisions in one request.
    pub const MAX: usize = 10_000;
    /// Bytes of one request. A longer one is answered 413.
    pub const MAX_BYTES: usize = 2 * 1024 * 1024;
}

/// Reply to a [`ManyOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManyOrdered {
    /// How many are in force and stored.
    pub taken: u64,
    /// Why the others are not, by their place in the request; the first [`ManyOrdered::MAX_REFUSED`].
    pub refused: Vec<(u64, String)>,
    /// How many were refused in all.
    pub refused_count: u64,
    /// The row of the audit log, for `secctl undo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<u64>,
}

impl ManyOrdered {
    /// Refusals that are told one by one.
    pub const MAX_REFUSED: usize = 100;
}
