//! Requests and replies of the control socket: HTTP/1.1 with JSON over a Unix socket. Shared by `secd`, which serves
//! them, and `secctl`, which asks; nobody else. What stands here is data, nothing opens a socket.
//!
//! | request | query or body | reply |
//! |---|---|---|
//! | `GET /v1/status` | | [`Status`] |
//! | `GET /v1/why` | [`WhyQuery`] | [`Why`] |
//! | `GET /v1/decisions` | [`DecisionsQuery`] | [`Decisions`] |
//! | `POST /v1/decisions` | [`Order`] | [`Ordered`] |
//! | `POST /v1/decisions/many` | [`ManyOrder`] | [`ManyOrdered`] |
//! | `POST /v1/lift` | [`Lift`] | [`Lifted`] |
//! | `GET /v1/bouncers`, `GET /v1/machines` | | [`Programs`] |
//! | `POST /v1/bouncers/order`, `POST /v1/machines/order` | [`ProgramOrder`] | [`ProgramOrdered`] |
//! | `GET /v1/audit` | [`AuditQuery`] | [`Audit`] |
//! | `POST /v1/undo` | [`UndoOrder`] | [`Undone`] |
//! | `GET /v1/lists` | | [`Lists`] |
//! | `POST /v1/lists/refresh` | [`ListOrder`] | [`ListOrdered`] |
//! | `POST /v1/lists/accept` | [`ListOrder`] | [`ListOrdered`] |
//! | `GET /v1/devices` | | [`Devices`] |
//! | `POST /v1/devices` | [`DeviceOrder`] | [`DeviceOrdered`] |
//! | `GET /v1/dns/groups` | | [`DnsGroups`] |
//! | `GET /v1/dns/clients` | | [`DnsClients`] |
//! | `GET /v1/dns/test` | [`DnsTestQuery`] | [`DnsTest`] |
//! | `POST /v1/dns/pause` | [`DnsPauseOrder`] | [`DnsPaused`] |
//! | `GET /v1/rules` | | [`Rules`] |
//! | `GET /v1/flows` | [`FlowsQuery`] | [`Flows`] |
//! | `GET /v1/top` | [`TopQuery`] | [`Top`] |
//! | `GET /v1/tail` | [`TailQuery`] | one [`model::Event`] as JSON per line, until either side ends it |
//! | `GET /v1/mode` | | [`ModeReply`] |
//! | `POST /v1/mode` | [`ModeRequest`] | [`ModeReply`] |
//! | `GET /v1/apply` | | [`TrialReply`] |
//! | `POST /v1/apply` | [`ApplyRequest`] | [`Applied`]; 422 with `problems` if the config is bad |
//! | `POST /v1/apply/confirm` | [`SettleRequest`] | [`Settled`]; 404 if nothing is on trial |
//! | `POST /v1/apply/revert` | [`SettleRequest`] | [`Settled`] |
//! | `POST /v1/diff` | [`DiffRequest`] | [`Difference`] |
//! | `POST /v1/reload` | | [`Reloaded`]; 422 with `problems` if the file is bad and the old one stays |
//! | `POST /v1/detach` | | [`Detached`] |
//! | `GET /v1/doctor` | | [`Diagnosis`] |
//! | `GET /v1/metrics` | | Prometheus text |
//!
//! Every failure is an [`ErrorReply`] with an HTTP status. Both sides put [`API_HEADER`] on everything they send; see
//! [`Peer::check`].

mod apply;
mod audit;
mod decisions;
mod dns;
mod doctor;
mod error;
mod programs;
mod status;
mod tables;
mod tail;
mod version;
mod why;

pub use apply::{
    Applied, ApplyRequest, DiffRequest, Difference, FlowChange, MAX_CONFIG_BYTES, MAX_FLOWS_COMPARED,
    MAX_TRIAL_SECONDS, MIN_TRIAL_SECONDS, PolicyChange, SettleRequest, Settled, Trial, TrialReply,
};
pub use audit::{Audit, AuditQuery, ManyOrder, ManyOrdered, UndoOrder, Undone};
pub use decisions::{Decisions, DecisionsQuery, Lasting, Lift, Lifted, Order, Ordered};
pub use dns::{
    DnsClientRow, DnsClients, DnsGroupRow, DnsGroups, DnsPause, DnsPauseOrder, DnsPaused, DnsTest,
    DnsTestQuery,
};
pub use doctor::{Diagnosis, Finding, Level};
pub use error::{ErrorBody, ErrorReply, Problem};
pub use programs::{Program, ProgramAction, ProgramOrder, ProgramOrdered, Programs};
pub use status::{
    Detached, DnsLogStatus, DnsStatus, EventsStatus, InterfaceStatus, ListSummary, LogStatus, MemoryStatus,
    ModeReply, ModeRequest, PacketsStatus, Reloaded, ScenarioStatus, SignaturesStatus, Status,
};
pub use tables::{
    DeviceOrder, DeviceOrdered, DeviceRow, Devices, FetchedList, FlowOrder, FlowRow, Flows, FlowsQuery,
    ListKind, ListOrder, ListOrdered, ListRow, Lists, RuleRow, RuleTraffic, Rules, Top, TopQuery,
    ZoneTraffic,
};
pub use tail::{EventFilter, TailQuery};
pub use version::{API_HEADER, API_VERSION, Peer, VersionMismatch};
pub use why::{By, ByKind, Subject, Why, WhyAnswered, WhyClient, WhyQuery};

/// Where `secd` listens unless it is told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/secd/secd.sock";

/// Longest request body the daemon reads, in bytes. A longer one is answered 413.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// Longest reply `secctl` reads, in bytes. A longer one is an error.
pub const MAX_REPLY_BYTES: usize = 64 * 1024 * 1024;

/// Longest line of the event stream, in bytes. A longer one is an error.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Rows returned where a query names no limit.
pub const DEFAULT_ROWS: u32 = 100;

/// Most rows a query may ask for; more is cut down to this.
pub const MAX_ROWS: u32 = 10_000;

/// The paths, for both sides.
pub mod path {
    /// `GET`: [`Status`](crate::Status).
    pub const STATUS: &str = "/v1/status";
    /// `GET`: [`Why`](crate::Why).
    pub const WHY: &str = "/v1/why";
    /// `GET`: [`Decisions`](crate::Decisions); `POST`: [`Order`](crate::Order).
    pub const DECISIONS: &str = "/v1/decisions";
    /// `POST`: [`ManyOrder`](crate::ManyOrder).
    pub const DECISIONS_MANY: &str = "/v1/decisions/many";
    /// `GET`: [`Audit`](crate::Audit).
    pub const AUDIT: &str = "/v1/audit";
    /// `POST`: [`UndoOrder`](crate::UndoOrder).
    pub const UNDO: &str = "/v1/undo";
    /// `POST`: [`Lift`](crate::Lift).
    pub const LIFT: &str = "/v1/lift";
    /// `GET`: [`Programs`](crate::Programs).
    pub const BOUNCERS: &str = "/v1/bouncers";
    /// `POST`: [`ProgramOrdered`](crate::ProgramOrdered).
    pub const ORDER_BOUNCER: &str = "/v1/bouncers/order";
    /// `GET`: [`Programs`](crate::Programs).
    pub const MACHINES: &str = "/v1/machines";
    /// `POST`: [`ProgramOrdered`](crate::ProgramOrdered).
    pub const ORDER_MACHINE: &str = "/v1/machines/order";
    /// `GET`: [`Lists`](crate::Lists).
    pub const LISTS: &str = "/v1/lists";
    /// `POST`: [`ListOrdered`](crate::ListOrdered).
    pub const REFRESH: &str = "/v1/lists/refresh";
    /// `POST`: [`ListOrdered`](crate::ListOrdered).
    pub const ACCEPT: &str = "/v1/lists/accept";
    /// `GET`: [`Devices`](crate::Devices); `POST`: [`DeviceOrdered`](crate::DeviceOrdered).
    pub const DEVICES: &str = "/v1/devices";
    /// `GET`: [`DnsGroups`](crate::DnsGroups).
    pub const DNS_GROUPS: &str = "/v1/dns/groups";
    /// `GET`: [`DnsClients`](crate::DnsClients).
    pub const DNS_CLIENTS: &str = "/v1/dns/clients";
    /// `GET`: [`DnsTest`](crate::DnsTest).
    pub const DNS_TEST: &str = "/v1/dns/test";
    /// `POST`: [`DnsPaused`](crate::DnsPaused).
    pub const DNS_PAUSE: &str = "/v1/dns/pause";
    /// `GET` with [`model::QueryFilter`]: [`model::QueryPage`].
    pub const DNS_QUERIES: &str = "/v1/dns/queries";
    /// `GET` with [`model::QueryStatsFilter`]: [`model::QueryStats`].
    pub const DNS_STATS: &str = "/v1/dns/stats";
    /// `GET`: [`Rules`](crate::Rules).
    pub const RULES: &str = "/v1/rules";
    /// `GET`: [`Flows`](crate::Flows).
    pub const FLOWS: &str = "/v1/flows";
    /// `GET`: [`Top`](crate::Top).
    pub const TOP: &str = "/v1/top";
    /// `GET`: a stream of [`model::Event`].
    pub const TAIL: &str = "/v1/tail";
    /// `GET`, `POST`: [`ModeReply`](crate::ModeReply).
    pub const MODE: &str = "/v1/mode";
    /// `POST`: [`Reloaded`](crate::Reloaded).
    pub const RELOAD: &str = "/v1/reload";
    /// `GET`: [`TrialReply`](crate::TrialReply); `POST`: [`Applied`](crate::Applied).
    pub const APPLY: &str = "/v1/apply";
    /// `POST`: [`Settled`](crate::Settled).
    pub const CONFIRM: &str = "/v1/apply/confirm";
    /// `POST`: [`Settled`](crate::Settled).
    pub const REVERT: &str = "/v1/apply/revert";
    /// `POST`: [`Difference`](crate::Difference).
    pub const DIFF: &str = "/v1/diff";
    /// `POST`: [`Detached`](crate::Detached).
    pub const DETACH: &str = "/v1/detach";
    /// `GET`: [`Diagnosis`](crate::Diagnosis).
    pub const DOCTOR: &str = "/v1/doctor";
    /// `GET`: Prometheus text.
    pub const METRICS: &str = "/v1/metrics";
}

#[cfg(test)]
mod tests;
