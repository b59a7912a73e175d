//! What a look at the whole machine found.

use serde::{Deserialize, Serialize};

/// Reply to `GET /v1/doctor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What was found, by topic.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `kernel`, `interface eth1`, `clock`, …
    pub topic: String,
    /// What was found, a sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub help: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work, or is open that should not be.
    Wrong,
    /// Works, and is worth knowing.
    Note,
    /// As it should be.
    Good,
}

impl Diagnosis {
    /// Whether anything is wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.level == Level::Wrong)
    }
}
