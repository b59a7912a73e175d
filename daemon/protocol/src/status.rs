//! The state of the whole, its mode, and what changes it.

use model::{Mode, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::ListKind;

/// Reply to `GET /v1/status`. All counts are since the start of the counted thing, which outlives the daemon for
/// packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of `secd`.
    pub version: String,
    /// [`crate::API_VERSION`] of the daemon.
    pub api: u32,
    /// Mode of the whole.
    pub mode: Mode,
    /// The config file.
    pub config: String,
    /// Since when the daemon runs.
    pub started: Timestamp,
    /// For how long it has run, in seconds.
    pub uptime_seconds: u64,
    /// Generation of the plan in the kernel; 0 = none.
    pub generation: u64,
    /// Epoch of the plan.
    pub epoch: u64,
    /// When that plan was put in force.
    pub applied: Option<Timestamp>,
    /// The config that goes back by itself; null if none is on trial.
    #[serde(default)]
    pub trial: Option<crate::Trial>,
    /// What needs a person: a plan that could not be applied, a list that is stale. Each a sentence.
    #[serde(default)]
    pub troubles: Vec<String>,
    /// What is good to know and needs nothing done: what this kernel or a card lacks. Each a sentence.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Interfaces and how packets are judged there.
    pub interfaces: Vec<InterfaceStatus>,
    /// Packets.
    pub packets: PacketsStatus,
    /// DNS; null if it is off.
    pub dns: Option<DnsStatus>,
    /// Decisions in force.
    pub decisions: u64,
    /// Lists.
    pub lists: Vec<ListSummary>,
    /// Log sources.
    pub logs: Vec<LogStatus>,
    /// Fail2ban's jails and CrowdSec's scenarios.
    #[serde(default)]
    pub scenarios: Vec<ScenarioStatus>,
    /// Signatures.
    pub signatures: SignaturesStatus,
    /// Events and where they go.
    pub events: EventsStatus,
    /// Memory.
    pub memory: MemoryStatus,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// `driver` (native XDP), `generic`, `tc`, or `absent` if the interface is not there.
    pub attached: String,
    /// Its zones, with their VLANs as `iot (400)`.
    pub zones: Vec<String>,
}

/// Packets by what happened to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketsStatus {
    /// Let through.
    pub passed: u64,
    /// Dropped.
    pub dropped: u64,
    /// Refused with an answer.
    pub rejected: u64,
    /// Would have been dropped or refused, but only observed.
    pub observed: u64,
    /// Dropped, refused and observed ones by reason word.
    #[serde(default)]
    pub reasons: BTreeMap<String, u64>,
}

/// DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    /// Addresses it listens on.
    pub listen: Vec<String>,
    /// Questions.
    pub queries: u64,
    /// Answered by the sinkhole.
    pub blocked: u64,
    /// Answered from the cache.
    pub cached: u64,
    /// Answered SERVFAIL because no upstream did.
    pub failed: u64,
    /// Where nothing is blocked for a time.
    #[serde(default)]
    pub paused: Vec<crate::DnsPause>,
    /// The log of questions.
    #[serde(default)]
    pub log: DnsLogStatus,
}

/// The log of questions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsLogStatus {
    /// Bytes that it takes; 0 = there is none.
    pub bytes: u64,
    /// Questions written since the start of the daemon.
    pub written: u64,
    /// Questions since then that could not be kept: too many at once, or no room.
    pub lost: u64,
    /// Questions since then that were kept by the end of their name only: too many different names.
    pub folded: u64,
    /// Why nothing is written now.
    pub error: Option<String>,
}

/// A list in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSummary {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ListKind,
    /// Entries in force.
    pub entries: u64,
    /// Why a newer version was not taken.
    pub error: Option<String>,
}

/// A log source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its name.
    pub name: String,
    /// Lines read.
    pub lines: u64,
    /// Lines a filter understood.
    pub matched: u64,
    /// When the last line came.
    pub last: Option<Timestamp>,
    /// What is wrong with it: why it is not read, that it has gone silent, that nothing is understood any more.
    pub error: Option<String>,
    /// Where its lines come from: a path, `journal`, or a listener.
    #[serde(default)]
    pub from: String,
    /// The filter that reads them.
    #[serde(default)]
    pub filter: String,
    /// Lines in the last minute.
    #[serde(default)]
    pub per_minute: u64,
    /// When the last line came that a filter understood.
    #[serde(default)]
    pub last_match: Option<Timestamp>,
    /// Files being followed.
    #[serde(default)]
    pub files: u64,
    /// Connections open.
    #[serde(default)]
    pub connections: u64,
    /// Lines that found no room (UDP).
    #[serde(default)]
    pub lost: u64,
    /// Lines too long.
    #[serde(default)]
    pub oversized: u64,
    /// Messages, connections and pushes of senders that may not send.
    #[serde(default)]
    pub refused: u64,
}

/// A jail or a scenario of another program's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioStatus {
    /// Its name as decisions carry it: `fail2ban:sshd`, `crowdsecurity/ssh-bf`.
    pub name: String,
    /// Failures that a jail counted; nothing for a scenario.
    pub failures: Option<u64>,
    /// How often somebody did too much.
    pub overflows: u64,
}

/// Signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignaturesStatus {
    /// Rules in force.
    pub rules: u64,
    /// Rules that use what is not supported.
    pub refused: u64,
    /// Matches.
    pub hits: u64,
}

/// Events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsStatus {
    /// Stored by a receiver.
    pub sent: u64,
    /// Lost, for whatever reason.
    pub lost: u64,
    /// Waiting.
    pub queue: u64,
    /// Most that can wait.
    pub queue_limit: u64,
    /// Why nothing is sent now.
    pub error: Option<String>,
}

/// Memory in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Resident memory of the daemon.
    pub rss: u64,
    /// The most it ever was.
    pub rss_peak: u64,
    /// Memory of the kernel's tables.
    pub bpf: u64,
}

/// `POST /v1/mode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeRequest {
    /// The mode to change to. It is kept over restarts and wins over the config's.
    pub mode: Mode,
    /// Who asks.
    pub user: String,
}

/// Reply to `GET` and `POST /v1/mode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeReply {
    /// The mode in force.
    pub mode: Mode,
    /// What the config says.
    pub configured: Mode,
    /// Parts that only observe though the whole enforces: `zone iot`, `list phishing`, …
    #[serde(default)]
    pub observing: Vec<String>,
}

/// Reply to `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Generation now in force.
    pub generation: u64,
    /// What changed, a line each.
    #[serde(default)]
    pub changes: Vec<String>,
    /// What changed in the file but needs a restart, or is odd.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Reply to `POST /v1/detach`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// What was removed: links, pins, nftables tables.
    pub removed: Vec<String>,
}
