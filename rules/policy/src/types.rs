//! Checked policy. Made by `rules/config` from `secd.toml`; names are resolved, numbers are in range.

use abi::ZoneId;
use ipnet::IpNet;
use model::{Action, Mac, Mode, Protocol, Span};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Zones, services and rules of one appliance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Mode of the whole.
    pub mode: Mode,
    /// Configured zones; the first has id `abi::ZONE_FIRST`, and so on.
    pub zones: Vec<Zone>,
    /// Rules in the order of the file; the first that matches wins.
    pub rules: Vec<Rule>,
    /// Addresses and networks that no ban or list may touch (allow-list, gateways).
    pub protected: Vec<IpNet>,
    /// DNS servers that the router asks: no ban or list may touch what they send.
    pub upstreams: Vec<IpNet>,
    /// Address sets that rules name; [`Side::sets`] are places in it.
    pub sets: Vec<AddressSet>,
    /// Every device group; [`Side::devices`] are places in it. A device in none of them is a new one.
    pub devices: Vec<DeviceGroup>,
    /// Schedules that rules name; [`Rule::schedule`] is a place in it.
    pub schedules: Vec<Schedule>,
    /// Ports of the outside that lead to hosts inside.
    pub forwards: Vec<Forward>,
    /// Least id of a forward, so that ids stay where scheduled rules are taken out; see [`Policy::forward_id`].
    pub forward_base: u16,
}

/// A named set of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSet {
    /// Its name: of a group, of a list, or a country's two letters.
    pub name: String,
    /// Where its addresses come from.
    pub kind: SetKind,
    /// The addresses, sorted, without duplicates and without host bits. Those of countries and lists are empty in a config; the daemon
    /// fills them in before it lowers the policy.
    pub nets: Arc<[IpNet]>,
}

/// Where the addresses of a set come from. Two sets of one kind have different names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SetKind {
    /// `[addresses]` of the config, groups within groups resolved; or addresses written in a rule.
    Group,
    /// A country of the GeoIP database (ISO 3166-1 alpha-2).
    Country,
    /// An autonomous system of the GeoIP database; its number without `AS` is the name.
    System,
    /// An address list of the config.
    List,
    /// Addresses outside that the resolver answered the zone for names of this pattern (`*.docker.io`, or one name), with
    /// the number of its bit among patterns. It has no addresses of its own.
    Names(u8),
}

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
    /// Minutes after midnight, 1–1440; equal to `start` = until that time of the next day.
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
    /// The zone from which it is reached, as a rule the WAN: by those of the router's own addresses that
    /// [`Policy::outer_addresses`] says.
    pub from: ZoneId,
    /// What comes in there: TCP or UDP ports.
    pub services: Vec<ServiceMatch>,
    /// The host inside; IPv4, since IPv6 needs no translation.
    pub to: IpAddr,
    /// Its port; none = the one that was asked for. With a range of ports: the first of as many.
    pub port: Option<u16>,
    /// The inner zones may use the outer address as well (hairpin), whatever `sources` says.
    pub hairpin: bool,
    /// Who may use it from the zone `from`; empty = everyone. Places in [`Policy::sets`].
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
    /// Sources that cannot exist in the Internet are refused (the outside only); see [`Policy::refuses_bogons`].
    pub bogons: bool,
    /// `bogons` was asked for, and is not only the default of the outside.
    pub bogons_asked: bool,
    /// Devices in no device group reach only the router.
    pub quarantine: bool,
    /// Sources that try many ports or hosts are told of and slowed down.
    pub scan: bool,
    /// New flows that one source may start here.
    pub new_flows: Option<Rate>,
    /// TCP segments are kept to what the path of this zone carries (PPPoE, tunnels).
    pub clamp_mss: bool,
    /// What becomes of questions to resolvers outside.
    pub resolvers: OtherResolvers,
    /// Where flows from here may go out to, by what the resolver answered the zone.
    pub egress: Egress,
    /// Before the daemon is up, packets from here pass; else nothing but what the link and the router need does.
    pub fail_open: bool,
    /// Where it is defined.
    pub span: Span,
}

/// What becomes of a zone's questions to resolvers outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OtherResolvers {
    /// As rules say.
    #[default]
    Allow,
    /// Plain ones are answered by the router's own, whatever rules say.
    Redirect {
        /// Where it answers IPv4; an unspecified address is the one of the interface. None: the zone has no IPv4.
        v4: Option<SocketAddr>,
        /// Where it answers IPv6.
        v6: Option<SocketAddr>,
    },
    /// Dropped, plain or encrypted, whatever rules say.
    Drop,
}

impl OtherResolvers {
    /// Its word in a config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Redirect { .. } => "redirect",
            Self::Drop => "drop",
        }
    }

    /// Ports of questions, by protocol, that are not a matter of rules.
    #[must_use]
    pub const fn ports(self) -> &'static [u16] {
        match self {
            Self::Allow => &[],
            Self::Redirect { .. } => &[53],
            Self::Drop => &[53, 853],
        }
    }
}

/// Where a zone may open flows to, by what the resolver answered it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Egress {
    /// Wherever rules allow.
    #[default]
    Any,
    /// Out only to addresses that the resolver answered the zone, and to those that a rule names.
    Resolved,
    /// The same is judged, counted and told, and nothing is dropped for it.
    Learn,
}

impl Egress {
    /// Its word in a config.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Resolved => "resolved",
            Self::Learn => "resolved-learn",
        }
    }
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
    /// Whether a flow on this side of that zone matches, whatever its address and device.
    #[must_use]
    pub fn contains(&self, zone: ZoneId) -> bool {
        self.zones.contains(zone)
    }

    /// Whether a flow on this side of that zone can match, with the right address or device.
    #[must_use]
    pub fn can_match(&self, zone: ZoneId) -> bool {
        self.contains(zone) || !self.sets.is_empty() || !self.devices.is_empty()
    }

    /// Whether every flow matches.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.zones == ZoneSet::Any
    }
}

impl Rate {
    /// So many (at least 1) per that many nanoseconds.
    #[must_use]
    pub const fn new(count: u64, nanoseconds: u64, burst: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self { interval: nanoseconds / count, burst }
    }
}

impl std::fmt::Display for Rate {
    /// As it is written in a config: `10/minute burst 20`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The shortest unit in which it is a whole number, to the rounding of `interval`.
        let whole = |unit: u64| {
            let count = (unit + self.interval / 2).checked_div(self.interval).filter(|count| *count > 0)?;
            (unit / count == self.interval).then_some(count)
        };
        let found = Self::UNITS.iter().find_map(|(name, unit)| Some((whole(*unit)?, name)));
        match found {
            Some((count, name)) => write!(f, "{count}/{name} burst {}", self.burst),
            None => write!(f, "1 per {} ns burst {}", self.interval, self.burst),
        }
    }
}

impl Rate {
    /// The units of a rate and their nanoseconds.
    pub const UNITS: [(&str, u64); 4] = [
        ("second", 1_000_000_000),
        ("minute", 60_000_000_000),
        ("hour", 3_600_000_000_000),
        ("day", 86_400_000_000_000),
    ];
}

impl Forward {
    /// The port of the host inside to which a port of the outside leads; none if the forward does not take it.
    #[must_use]
    pub fn port_for(&self, protocol: Protocol, port: u16) -> Option<u16> {
        let matched = self.services.iter().find(|matched| matched.holds(protocol, port))?;
        match self.port {
            Some(first) => first.checked_add(port - matched.ports.first),
            None => Some(port),
        }
    }
}

impl AddressSet {
    /// Whether it holds the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        holds(&self.nets, address)
    }

    /// As it is written in a rule: `nas`, `country:DE`, `asn:3320`, `list:office`.
    #[must_use]
    pub fn written(&self) -> String {
        match self.kind {
            SetKind::Group => self.name.clone(),
            SetKind::Country => format!("country:{}", self.name),
            SetKind::System => format!("asn:{}", self.name),
            SetKind::List => format!("list:{}", self.name),
            SetKind::Names(_) => format!("domain:{}", self.name),
        }
    }
}

impl DeviceGroup {
    /// Whether the device is in it.
    #[must_use]
    pub fn contains(&self, device: Mac) -> bool {
        self.macs.contains(&device)
    }
}

/// Whether one of the sorted networks holds the address.
pub(crate) fn holds(nets: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    // What begins behind the address cannot hold it; of the others any may, since they can lie within each other.
    let end = nets.partition_point(|net| *net <= IpNet::from(address));
    let most = if address.is_ipv4() { 32 } else { 128 };
    (0..=most).any(|bits| {
        let wanted = IpNet::new(address, bits).map(|net| net.trunc());
        wanted.is_ok_and(|wanted| nets[..end].binary_search(&wanted).is_ok())
    })
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
            bogons_asked: false,
            quarantine: false,
            scan: false,
            new_flows: None,
            clamp_mss: false,
            resolvers: OtherResolvers::Allow,
            egress: Egress::Any,
            fail_open: false,
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

    /// Whether the zone refuses sources that cannot exist in the Internet, on a router with these addresses: where
    /// that is only the default, not if the router's own address out there is such a one (behind another router, or
    /// with the carrier's NAT).
    #[must_use]
    pub fn refuses_bogons(&self, zone: &Zone, own: &[IpAddr]) -> bool {
        zone.bogons
            && (zone.bogons_asked
                || !self.outer_addresses(zone.id, own).iter().any(|address| is_private(*address)))
    }

    /// Those of the router's own addresses by which a zone reaches it: of an inner zone those in its networks, of the
    /// outside those in no inner zone's.
    #[must_use]
    pub fn outer_addresses(&self, zone: ZoneId, own: &[IpAddr]) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = own
            .iter()
            .map(IpAddr::to_canonical)
            .filter(|address| !address.is_loopback() && !is_link_local(*address))
            .filter(|address| self.zone_of(*address).is_some_and(|found| found.id == zone))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The inner zones from which a forward is reached by hairpin, beside its own zone. It leads around neither
    /// quarantine nor the isolation of the host's own zone.
    pub fn hairpin_zones<'a>(&'a self, forward: &'a Forward) -> impl Iterator<Item = &'a Zone> {
        let home = self.zone_of(forward.to).map(|zone| zone.id);
        let apart = move |zone: &Zone| zone.quarantine || (zone.isolate && home == Some(zone.id));
        let inner = |zone: &&Zone| forward.hairpin && !zone.wan && zone.id != forward.from;
        self.zones.iter().filter(inner).filter(move |zone| !apart(zone))
    }

    /// The id under which a forward stands in verdicts and counters: behind those of the rules.
    #[must_use]
    pub fn forward_id(&self, place: usize) -> u16 {
        let behind =
            self.rules.last().map_or(0, |rule| usize::from(rule.id) + 1).max(self.forward_base.into());
        u16::try_from(behind + place).unwrap_or(abi::RULE_DEFAULT - 1)
    }

    /// The forward with this id.
    #[must_use]
    pub fn forward(&self, id: u16) -> Option<&Forward> {
        self.forwards.get(usize::from(id.checked_sub(self.forward_id(0))?))
    }

    /// What stands behind an id of verdicts and counters, as people call it: `rule 3`, ``forward `web` ``.
    #[must_use]
    pub fn rule_name(&self, id: u16) -> Option<String> {
        match (self.rule(id), self.forward(id)) {
            (Some(rule), _) => Some(format!("rule {}", rule.id)),
            (None, Some(forward)) => Some(format!("forward `{}`", forward.name)),
            (None, None) => None,
        }
    }

    /// The zone whose network or route holds `address`, longest prefix first; the WAN where none does.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> Option<&Zone> {
        self.zones
            .iter()
            .flat_map(|zone| zone.networks.iter().chain(&zone.routes).map(move |net| (net, zone)))
            .filter(|(net, _)| net.contains(&address))
            .max_by_key(|(net, _)| net.prefix_len())
            .map(|(_, zone)| zone)
            .or_else(|| self.zones.iter().find(|zone| zone.wan))
    }
}

/// Addresses that are not routed in the Internet and that a router can have all the same: private ones (RFC 1918),
/// the carrier's (RFC 6598), unique local ones (RFC 4193), and those of documentation in a network made of them
/// (RFC 5737, RFC 3849).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_documentation() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.segments()[..2] == [0x2001, 0xdb8],
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
