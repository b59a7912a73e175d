//! Everything the kernel should hold, compiled from policy and lists. Immutable and diffable.

use abi::{ListValue, PolicyValue, ZoneFlags, ZoneId};
use ipnet::IpNet;
use std::{collections::BTreeMap, sync::Arc};

/// The desired state of the kernel tables of one generation. Bans and timed allows are not in it: they come and go
/// one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The whole appliance only observes.
    pub observe: bool,
    /// Which zone a frame comes from.
    pub ports: Vec<Port>,
    /// Flags by zone.
    pub zones: BTreeMap<ZoneId, ZoneFlags>,
    /// Zone by address, longest prefix first. Holds the router's own addresses as `ZONE_SELF`, multicast and
    /// broadcast, and `0.0.0.0/0` and `::/0` as the WAN.
    pub networks: BTreeMap<IpNet, ZoneId>,
    /// No ban or list holds against these.
    pub protected: Vec<IpNet>,
    /// Lowered rules.
    pub policy: BTreeMap<PolicyPrefix, PolicyValue>,
    /// Address lists, covering entries folded in.
    pub listed: Arc<[(IpNet, ListValue)]>,
}

/// An interface, a VLAN and their zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Interface name.
    pub interface: String,
    /// VLAN id, 0 = untagged.
    pub vlan: u16,
    /// Zone.
    pub zone: ZoneId,
}

/// A prefix of destination ports between two zones; see `abi::PolicyKey`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyPrefix {
    /// Zone the flow starts in.
    pub from: ZoneId,
    /// Zone it goes to.
    pub to: ZoneId,
    /// IP protocol.
    pub protocol: u8,
    /// First port of the prefix.
    pub port: u16,
    /// Significant bits of `port`, 0–16.
    pub bits: u8,
}
