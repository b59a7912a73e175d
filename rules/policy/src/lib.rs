//! The firewall language: checked zones, services and rules; lowering to the kernel's tables; explaining.
//!
//! `Policy` is checked (made by `rules/config`), `Plan` is what the kernel should hold. [`Policy::judge`] is the slow
//! reference of the lowered rules.

mod explain;
mod host;
pub mod image;
mod judge;
mod lower;
mod plan;
pub mod services;
mod types;

pub use explain::{ExplainError, Explanation, RulePlace, opening_frame};
pub use host::{HostTables, from_kernel, to_kernel};
pub use judge::{Judgement, LOWERED, has_ports};
pub use lower::LowerError;
pub use plan::{Plan, PolicyPrefix, Port, Row, Selector};
pub use types::{
    AddressSet, DeviceGroup, Forward, Mac, Policy, PortRange, Rate, Rule, Schedule, Service, ServiceMatch,
    SetKind, Side, Zone, ZoneSet,
};
