//! Checked policy. Made by `rules/config` from `secd.toml`; names are resolved, numbers are in range.

use abi::ZoneId;
use ipnet::IpNet;
use model::{Action, Mode, Protocol, Span};
use std::net::IpAddr;

/// Zones, services and rules of one appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Mode of the whole.
    pub mode: Mode,
    /// Configured zones; the first has id `abi::ZONE_FIRST`, and so on.
    pub zones: Vec<Zone>,
    /// Rules in the order of the file; the first that matches wins.
    pub rules: Vec<Rule>,
    /// Addresses and networks that no ban or list may touch (allow-list, gateways, upstreams).
    pub protected: Vec<IpNet>,
}

/// A part of the network with one trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its number.
    pub id: ZoneId,
    /// Its name.
    pub name: String,
    /// The interface whose frames XDP sees (the trunk, for a VLAN).
    pub interface: String,
    /// VLAN tag on that interface; none = untagged.
    pub vlan: Option<u16>,
    /// The device that holds the addresses and that nftables sees: `interface`, or `interface.vlan`, or as configured.
    pub device: String,
    /// Networks of the zone. A WAN zone has none: it is everything else.
    pub networks: Vec<IpNet>,
    /// The outside.
    pub wan: bool,
    /// Sources must belong to `networks` (on the WAN: must not belong to an inner zone).
    pub anti_spoof: bool,
    /// Flows that start here are inspected.
    pub inspect: bool,
    /// Masquerade IPv4 of what leaves here.
    pub masquerade: bool,
    /// Mode of this zone.
    pub mode: Mode,
    /// What happens to flows from here that no rule names: LANs reject, WANs drop.
    pub denial: Action,
    /// Where it is defined.
    pub span: Span,
}

/// Which zones a rule's side names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneSet {
    /// Every zone, the router and multicast included.
    Any,
    /// These (reserved ones by their ids).
    Of(Vec<ZoneId>),
}

impl ZoneSet {
    /// Whether this zone is named.
    #[must_use]
    pub fn contains(&self, zone: ZoneId) -> bool {
        match self {
            Self::Any => true,
            Self::Of(zones) => zones.contains(&zone),
        }
    }
}

/// A named set of protocol and port matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it matches; any of them.
    pub matches: Vec<ServiceMatch>,
}

/// One protocol with destination ports (ICMP: type * 256 + code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceMatch {
    /// Protocol.
    pub protocol: Protocol,
    /// Ports.
    pub ports: PortRange,
}

impl ServiceMatch {
    /// Ports from `first` to `last` of a protocol.
    #[must_use]
    pub const fn new(protocol: Protocol, first: u16, last: u16) -> Self {
        Self { protocol, ports: PortRange { first, last } }
    }
}

/// Ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last.
    pub last: u16,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Place in the file, from 0.
    pub id: u16,
    /// Zones a flow starts in.
    pub from: ZoneSet,
    /// Zones it goes to.
    pub to: ZoneSet,
    /// Services; empty = every protocol and port.
    pub services: Vec<Service>,
    /// What happens.
    pub action: Action,
    /// Each new flow makes an event.
    pub log: bool,
    /// Mode of this rule.
    pub mode: Mode,
    /// Comment shown by `secctl`.
    pub comment: Option<String>,
    /// Where it stands.
    pub span: Span,
}

impl Policy {
    /// The configured zone with this id.
    #[must_use]
    pub fn zone(&self, id: ZoneId) -> Option<&Zone> {
        self.zones.get(usize::from(id.checked_sub(abi::ZONE_FIRST)?))
    }

    /// The zone's name, reserved ones included.
    #[must_use]
    pub fn zone_name(&self, id: ZoneId) -> &str {
        match id {
            abi::ZONE_SELF => "self",
            abi::ZONE_MULTICAST => "multicast",
            _ => self.zone(id).map_or("unknown", |zone| &zone.name),
        }
    }

    /// The zone whose network holds `address`, longest prefix first; the WAN where none does.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> Option<&Zone> {
        self.zones
            .iter()
            .flat_map(|zone| zone.networks.iter().map(move |net| (net, zone)))
            .filter(|(net, _)| net.contains(&address))
            .max_by_key(|(net, _)| net.prefix_len())
            .map(|(_, zone)| zone)
            .or_else(|| self.zones.iter().find(|zone| zone.wan))
    }
}
