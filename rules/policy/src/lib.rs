//! The firewall language: checked zones, services and rules; lowering to the kernel's tables; explaining.

mod plan;
mod types;

pub use plan::{Plan, PolicyPrefix, Port};
pub use types::{Policy, PortRange, Rule, Service, ServiceMatch, Zone, ZoneSet};
