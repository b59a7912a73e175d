//! Everything the kernel should hold, compiled from policy and lists. Immutable and diffable.

use abi::{ListValue, PolicyValue, ZoneFlags, ZoneId};
use ipnet::IpNet;
use std::{collections::BTreeMap, sync::Arc};

use crate::{Mac, Rate, ServiceMatch};

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
    /// Rules in order, first match wins; the zones' defaults come last, so that every flow finds a row.
    pub rows: Vec<Row>,
    /// Address sets that rows name, by place: groups, countries, lists, addresses of device groups.
    pub sets: Vec<Arc<[IpNet]>>,
    /// Device groups that rows name, by place: their MAC addresses.
    pub devices: Vec<Vec<Mac>>,
    /// Rates that rows and zones name, by place.
    pub rates: Vec<Rate>,
    /// New flows a source may start in a zone: place in `rates`.
    pub zone_rates: BTreeMap<ZoneId, u16>,
}

/// One line of the policy as the classifier matches it: all of its parts must hold. A rule that names zones and
/// addresses side by side becomes several rows with one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Zones a flow starts in, a bit each.
    pub from: u64,
    /// Zones it goes to, a bit each.
    pub to: u64,
    /// Source address.
    pub source: Selector,
    /// Destination address.
    pub destination: Selector,
    /// Device group the sender belongs to; place in [`Plan::devices`].
    pub device: Option<u16>,
    /// Protocols and ports; any of them. Empty = every one.
    pub services: Vec<ServiceMatch>,
    /// What happens.
    pub value: PolicyValue,
    /// With `abi::POLICY_LIMIT`: place in [`Plan::rates`].
    pub rate: Option<u16>,
}

/// Which addresses a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Every one.
    #[default]
    Any,
    /// Those of a set; place in [`Plan::sets`].
    Set(u16),
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
