//! The words every part of secd shares. Plain data, no behaviour beyond parsing, printing and comparing.

mod audit;
mod client;
mod decision;
mod event;
mod flow;
mod mac;
mod mode;
mod name;
mod query;
mod target;
mod time;

pub use abi::{Action, Reason};
pub use audit::{AuditRecord, Change};
pub use client::{Bouncer, LastSeen, OrderingMachine, ProgramName};
pub use decision::{Decision, DecisionKind, Direction, Evidence, Origin, OriginKind};
pub use event::{Body, Event, EventAction, Severity};
pub use flow::{Flow, FlowParseError, Protocol};
pub use mac::Mac;
pub use mode::Mode;
pub use name::{Name, NameError};
pub use query::{
    AnswerCode, AnswerFrom, ClientCount, ClientHistory, NameCount, QueryBucket, QueryClient, QueryDecider,
    QueryFilter, QueryPage, QueryRow, QueryStats, QueryStatsFilter, QueryTotals, QueryType, UpstreamCount,
};
pub use target::{ClientName, Target, TargetError};
pub use time::{Span, Timestamp, duration_text, parse_duration};
