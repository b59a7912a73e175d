//! The firewall language: checked zones, services and rules; lowering to the kernel's tables; explaining.
//!
//! `Policy` is checked (made by `rules/config`), `Plan` is what the kernel should hold. [`Policy::judge`] is the slow
//! reference of the lowered rules.

mod diff;
mod explain;
mod helped;
mod host;
pub mod image;
mod judge;
mod lower;
mod plan;
mod review;
mod rows;
mod schedule;
pub mod services;
mod types;
mod written;

pub use model::Mac;

pub use diff::{Change, ChangeKind, Comparison, Standing, Subject, diff};
pub use explain::{Answered, ExplainError, Explanation, RulePlace, opening_frame};
pub use helped::{Followed, HELPERS, Helper};
pub use host::{HostTables, from_kernel, to_kernel};
pub use judge::{Judgement, LOWERED, Question, has_ports};
pub use lower::LowerError;
pub use plan::{Found, Helped, Plan, Port, Row, Selector};
pub use review::{Finding, FindingKind, Review};
pub use rows::address_set;
pub use schedule::{DAYS, TimeZones};
pub use types::{
    AddressSet, DeviceGroup, Egress, Forward, OtherResolvers, Policy, PortRange, Rate, Rule, Schedule,
    Service, ServiceMatch, SetKind, Side, Zone, ZoneSet,
};
