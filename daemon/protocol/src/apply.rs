//! A new config: put in force for good, or on trial until someone confirms it.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest body of a request that carries a config, in bytes: a config of the largest size, escaped as JSON.
pub const MAX_CONFIG_BYTES: usize = 4 * 1024 * 1024;

/// Shortest trial, in seconds: less is no time to find out whether one still gets in.
pub const MIN_TRIAL_SECONDS: u64 = 5;

/// Longest trial, in seconds. While it runs, nothing else changes the plan.
pub const MAX_TRIAL_SECONDS: u64 = 600;

/// `POST /v1/apply`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The config's text; left out, the daemon reads its own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where the text comes from, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Seconds of trial, [`MIN_TRIAL_SECONDS`] to [`MAX_TRIAL_SECONDS`]; left out, it is for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u64>,
    /// Who asks.
    pub user: String,
}

/// Reply to [`ApplyRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Generation now in force.
    pub generation: u64,
    /// What changed, a line each.
    pub changes: Vec<String>,
    /// What is odd, or needs a restart.
    pub notes: Vec<String>,
    /// The trial that runs now; null if it is for good.
    pub trial: Option<Trial>,
}

/// A config that goes back by itself unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it goes back.
    pub until: Timestamp,
    /// Milliseconds until then.
    pub left_ms: u64,
    /// Where the config comes from.
    pub file: String,
    /// Who put it on trial.
    pub user: String,
}

/// Reply to `GET /v1/apply`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialReply {
    /// The trial that runs; null if there is none.
    pub trial: Option<Trial>,
}

/// `POST /v1/apply/confirm` and `POST /v1/apply/revert`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// Who asks.
    pub user: String,
}

/// Reply to [`SettleRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Whether the new config stays; else the former one is in force again.
    pub confirmed: bool,
    /// Generation now in force.
    pub generation: u64,
    /// The file that holds the config in force.
    pub config: String,
    /// What is odd.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// `POST /v1/diff`: the running policy against this one. Nothing is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffRequest {
    /// The config's text; left out, the daemon reads its own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where the text comes from, for messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Reply to [`DiffRequest`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What changes, in the order of the config; empty = nothing.
    pub changes: Vec<PolicyChange>,
    /// Flows that are open now and would be judged otherwise, the largest first.
    pub flows: Vec<FlowChange>,
    /// Flows that were asked about: those with the most bytes, at most [`MAX_FLOWS_COMPARED`].
    pub compared: u64,
    /// Flows that are open.
    pub open: u64,
    /// What could not be compared.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One difference between two policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyChange {
    /// `added`, `removed`, `moved` or `changed`.
    pub kind: String,
    /// To what: `mode`, `zone`, `group`, `devices`, `schedule`, `forward`, `rule` or `allow`.
    pub subject: String,
    /// Its name; of a rule `rule 3`.
    pub name: String,
    /// What it said, a line for each thing that differs.
    pub before: Vec<String>,
    /// What it would say.
    pub after: Vec<String>,
    /// Where a rule or forward stood, as `secd.toml:41`.
    pub old_place: Option<String>,
    /// Where it stands.
    pub new_place: Option<String>,
}

/// Flows that are compared one by one. The rest is not asked about, and [`Difference`] says so.
pub const MAX_FLOWS_COMPARED: usize = 4096;

/// A flow that would be judged otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowChange {
    /// The flow, as `secctl explain` takes it.
    pub flow: String,
    /// What happens to it now: `pass`, `drop` or `reject`.
    pub before: String,
    /// The rule or default that says so.
    pub before_by: String,
    /// What would happen.
    pub after: String,
    /// The rule or default that would say so.
    pub after_by: String,
    /// Bytes it has carried.
    pub bytes: u64,
}
