//! Checked policy. Made by `rules/config` from `secd.toml`; names are resolved, numbers are in range.

use abi::ZoneId;
use ipnet::IpNet;
use model::{Action, Mode, Protocol, Span};
use std::{net::IpAddr, sync::Arc};

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
    /// Address sets that rules name; [`Side::sets`] are places in it.
    pub sets: Vec<AddressSet>,
    /// Device groups that rules name; [`Side::devices`] are places in it.
    pub devices: Vec<DeviceGroup>,
    /// Schedules that rules name; [`Rule::schedule`] is a place in it.
    pub schedules: Vec<Schedule>,
    /// Ports of the outside that lead to hosts inside.
    pub forwards: Vec<Forward>,
}

/// A named set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// Its name: of a group, of a list, or a country's two letters.
    pub name: String,
    /// Where its addresses come from.
    pub kind: SetKind,
    /// The addresses, sorted, without duplicates. Those of countries and lists are empty in a config; the daemon
    /// fills them in before it lowers the policy.
    pub nets: Arc<[IpNet]>,
}

/// Where the addresses of a set come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `[addresses]` of the config, groups within groups resolved; or addresses written in a rule.
    Group,
    /// A country of the GeoIP database (ISO 3166-1 alpha-2).
    Country,
    /// An autonomous system of the GeoIP database.
    System,
    /// An address list of the config.
    List,
}

/// A MAC address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Devices by MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGroup {
    /// Its name.
    pub name: String,
    /// The devices.
    pub macs: Vec<Mac>,
    /// Addresses that the neighbour table says the devices have now, sorted; empty in a config.
    pub addresses: Arc<[IpNet]>,
}

/// When a rule holds: on these days of the week, from `start` until `end` by the wall clock of the router's time zone
/// (or `zone`). A window that ends before it starts reaches into the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Its name.
    pub name: String,
    /// Days on which the window starts, Monday first.
    pub days: [bool; 7],
    /// Minutes after midnight, 0–1439.
    pub start: u16,
    /// Minutes after midnight, 1–1440; equal to `start` = the whole day.
    pub end: u16,
    /// IANA time zone; none = the router's.
    pub zone: Option<String>,
}

/// So many per so long, with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate {
    /// Nanoseconds for one.
    pub interval: u64,
    /// How many may come at once, at least 1.
    pub burst: u32,
}

/// A port of the outside that leads to a host inside (destination NAT, with hairpin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Its name.
    pub name: String,
    /// The zone from which it is reached, as a rule the WAN.
    pub from: ZoneId,
    /// What comes in there: TCP or UDP ports.
    pub services: Vec<ServiceMatch>,
    /// The host inside.
    pub to: IpAddr,
    /// Its port; none = the one that was asked for. With a range of ports: the first of as many.
    pub port: Option<u16>,
    /// Zones inside that may use the router's outer address as well (hairpin).
    pub hairpin: bool,
    /// Who may use it; empty = everyone. Places in [`Policy::sets`].
    pub sources: Vec<u16>,
    /// Comment shown by `secctl`.
    pub comment: Option<String>,
    /// Where it stands.
    pub span: Span,
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
    /// Networks behind routers of this zone: sources of them are at home here, and flows to them go here.
    pub routes: Vec<IpNet>,
    /// Hosts of the zone may not reach each other through the router.
    pub isolate: bool,
    /// TCP of which only one way is seen passes (asymmetric paths, hosts with two ways out).
    pub loose: bool,
    /// What opens no flow and belongs to none is dropped in XDP.
    pub strict: bool,
    /// Sources that cannot exist in the Internet are refused (the outside only).
    pub bogons: bool,
    /// Devices in no device group reach only the router.
    pub quarantine: bool,
    /// Sources that try many ports or hosts are told of and slowed down.
    pub scan: bool,
    /// New flows that one source may start here.
    pub new_flows: Option<Rate>,
    /// TCP segments are kept to what the path of this zone carries (PPPoE, tunnels).
    pub clamp_mss: bool,
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

/// One side of a rule: a flow matches when any of what is named holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Zones.
    pub zones: ZoneSet,
    /// Addresses: places in [`Policy::sets`].
    pub sets: Vec<u16>,
    /// Device groups: places in [`Policy::devices`].
    pub devices: Vec<u16>,
}

impl From<ZoneSet> for Side {
    fn from(zones: ZoneSet) -> Self {
        Self { zones, sets: Vec::new(), devices: Vec::new() }
    }
}

impl Side {
    /// Whether a flow on this side of that zone can match, whatever its address and device.
    #[must_use]
    pub fn contains(&self, zone: ZoneId) -> bool {
        self.zones.contains(zone)
    }
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
    /// Where a flow starts.
    pub from: Side,
    /// Where it goes.
    pub to: Side,
    /// Services; empty = every protocol and port.
    pub services: Vec<Service>,
    /// What happens.
    pub action: Action,
    /// Each new flow makes an event.
    pub log: bool,
    /// The rule only logs: the next that matches decides.
    pub goes_on: bool,
    /// New flows of one source pass at this rate, more are dropped (`limit`; `action` is then [`Action::Pass`]).
    pub limit: Option<Rate>,
    /// The rule holds only then; place in [`Policy::schedules`].
    pub schedule: Option<u16>,
    /// Mode of this rule.
    pub mode: Mode,
    /// Comment shown by `secctl`.
    pub comment: Option<String>,
    /// Where it stands.
    pub span: Span,
}

impl Default for Zone {
    /// A zone without a place: what tests fill in.
    fn default() -> Self {
        Self {
            id: abi::ZONE_NONE,
            name: String::new(),
            interface: String::new(),
            vlan: None,
            device: String::new(),
            networks: Vec::new(),
            wan: false,
            anti_spoof: false,
            inspect: false,
            masquerade: false,
            mode: Mode::Enforce,
            denial: Action::Drop,
            routes: Vec::new(),
            isolate: false,
            loose: false,
            strict: false,
            bogons: false,
            quarantine: false,
            scan: false,
            new_flows: None,
            clamp_mss: false,
            span: Span::default(),
        }
    }
}

impl Default for Rule {
    /// A rule that passes everything.
    fn default() -> Self {
        Self {
            id: 0,
            from: ZoneSet::Any.into(),
            to: ZoneSet::Any.into(),
            services: Vec::new(),
            action: Action::Pass,
            log: false,
            goes_on: false,
            limit: None,
            schedule: None,
            mode: Mode::Enforce,
            comment: None,
            span: Span::default(),
        }
    }
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
