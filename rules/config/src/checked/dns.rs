//! What a checked `[dns]` says.

use discovery::ServiceType;
use lists::{Blocking, Client, Clients, Group, GroupSet, Who};
use model::{Mode, Name, Span};
use policy::Rate;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::draft::{Privacy, UpstreamOrder};

/// The DNS resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Addresses to answer on, UDP and TCP; empty = no resolver.
    pub listen: Vec<SocketAddr>,
    /// Addresses to answer on by TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Addresses to answer on by HTTPS.
    pub listen_https: Vec<SocketAddr>,
    /// The resolver's own name.
    pub name: Name,
    /// Its certificate; none = one is made and kept in the state folder.
    pub certificate: Option<Certificate>,
    /// Servers to ask, in order of preference; not empty where something is listened on.
    pub upstreams: Vec<Upstream>,
    /// Which of them is asked.
    pub upstream_order: UpstreamOrder,
    /// Plain servers that are asked for the addresses of upstreams; not empty where an upstream has none.
    pub bootstrap: Vec<SocketAddr>,
    /// Answers are validated.
    pub dnssec: bool,
    /// Names below which answers are not validated.
    pub negative_trust_anchors: Vec<Name>,
    /// Questions to upstreams mix upper and lower case.
    pub case_randomisation: bool,
    /// What is never blocked, for anybody.
    pub allow: Vec<NameEntry>,
    /// What is blocked for everybody.
    pub deny: Vec<NameEntry>,
    /// Mode of the resolver.
    pub mode: Mode,
    /// How long a client may keep the answer that a name is blocked.
    pub block_ttl: Duration,
    /// Answers from outside that name private addresses are refused.
    pub rebind_protection: bool,
    /// Names that may have private addresses, with everything below them.
    pub rebind_allow: Vec<Name>,
    /// Questions of one client that are answered.
    pub rate: Rate,
    /// Answers kept in the cache.
    pub cache_entries: usize,
    /// Answers are kept at least so long; not above `max_ttl`.
    pub min_ttl: Duration,
    /// Answers are kept so long at most.
    pub max_ttl: Duration,
    /// Negative answers are kept so long at most.
    pub negative_ttl: Duration,
    /// Answers that expired so long ago stand in while no upstream answers; zero = never.
    pub serve_stale: Duration,
    /// Names that are asked often are asked for again before they expire.
    pub prefetch: bool,
    /// Names that other servers know.
    pub forwards: Vec<DnsForward>,
    /// Groups by place, which is their bit; the first is `default`, the others stand as in the file.
    pub groups: Vec<DnsGroup>,
    /// Clients with a name, as in the file.
    pub clients: Vec<DnsClient>,
    /// Names of one's own.
    pub records: Vec<Record>,
    /// Names of devices.
    pub local: LocalNames,
    /// The log of questions.
    pub log: QueryLog,
    /// Services that zones find in each other.
    pub reflect: Vec<Reflect>,
    /// What holds for each zone, as in the file.
    pub zones: Vec<DnsZone>,
}

/// Certificate and key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate and those above it.
    pub chain: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A server to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// As it is written.
    pub text: String,
    /// How it is asked.
    pub transport: UpstreamTransport,
    /// Its address; none = it is looked up by `name`.
    pub address: Option<IpAddr>,
    /// The name its certificate has; none = the address itself. A plain server has none.
    pub name: Option<Name>,
    /// Its port.
    pub port: u16,
}

/// How an upstream is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamTransport {
    /// UDP, and TCP where the answer is too long.
    Plain,
    /// TLS (RFC 7858).
    Tls,
    /// HTTPS (RFC 8484).
    Https {
        /// Path, from `/` on.
        path: String,
    },
}

/// Names that another server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsForward {
    /// The names, with everything below them; each stands in one forward only.
    pub names: Vec<Name>,
    /// The servers; never empty.
    pub to: Vec<Upstream>,
    /// Where it is configured.
    pub span: Span,
}

/// An entry of `allow` or `deny`, as [`lists::check_written`] has found it good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// As it is written: a bare name means everything below it as well.
    pub rule: String,
    /// Its line in the config.
    pub line: u32,
}

/// What holds for some clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsGroup {
    /// Its name.
    pub name: String,
    /// Comment.
    pub comment: Option<String>,
    /// What is blocked.
    pub deny: Vec<NameEntry>,
    /// What no list or group blocks.
    pub allow: Vec<NameEntry>,
    /// Services that are blocked.
    pub services: Vec<String>,
    /// Safe versions of search engines.
    pub safe_search: bool,
    /// How a blocked name is answered.
    pub blocking: Blocking,
    /// When it holds; none = always. Place in [`policy::Policy::schedules`].
    pub schedule: Option<u16>,
    /// Mode of the group.
    pub mode: Mode,
    /// Where it is configured; the first line for a `default` that is not.
    pub span: Span,
}

/// A client with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsClient {
    /// Its name.
    pub name: String,
    /// What names it; never empty, and each names one client only.
    pub who: Vec<Who>,
    /// Its groups.
    pub groups: GroupSet,
    /// Comment.
    pub comment: Option<String>,
    /// Where it is configured.
    pub span: Span,
}

/// One record of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name; for a wildcard the name behind `*.`.
    pub name: Name,
    /// Every name below `name`, and not `name` itself.
    pub wildcard: bool,
    /// What it says.
    pub value: RecordValue,
    /// Its line in the config.
    pub line: u32,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordValue {
    /// A or AAAA.
    Address(IpAddr),
    /// CNAME; the only record of its name.
    Cname(Name),
    /// PTR.
    Ptr(Name),
    /// SRV (RFC 2782).
    Srv {
        /// Lower is asked first.
        priority: u16,
        /// Share among equal ones.
        weight: u16,
        /// Port.
        port: u16,
        /// Host.
        target: Name,
    },
    /// TXT; at most 255 bytes a string.
    Txt(Vec<String>),
}

/// Names of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNames {
    /// The domain of the network.
    pub domain: Name,
    /// Where leases are read.
    pub leases: Vec<LeaseSource>,
}

/// Where leases are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseSource {
    /// Kea's lease file (`kea-leases4.csv`, `kea-leases6.csv`).
    Kea(PathBuf),
    /// dnsmasq's lease file.
    Dnsmasq(PathBuf),
    /// The DHCP server of systemd-networkd.
    Networkd,
}

/// The log of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLog {
    /// Days that questions are kept; 0 = they are not.
    pub days: u32,
    /// Bytes that they may take.
    pub bytes: u64,
}

/// Services that zones find in each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflect {
    /// Names of the zones; two or more where the file has as many.
    pub zones: Vec<String>,
    /// Service types, sets taken apart, each once.
    pub services: Vec<ServiceType>,
    /// SSDP as well.
    pub ssdp: bool,
    /// Where it is configured.
    pub span: Span,
}

/// What holds for a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsZone {
    /// Its number.
    pub id: abi::ZoneId,
    /// Its name.
    pub name: String,
    /// What of its questions is told and kept.
    pub privacy: Privacy,
}

impl Dns {
    /// Whether there is an address to answer on.
    #[must_use]
    pub fn answers(&self) -> bool {
        !(self.listen.is_empty() && self.listen_tls.is_empty() && self.listen_https.is_empty())
    }

    /// The plain upstreams.
    #[must_use]
    pub fn plain_upstreams(&self) -> Vec<SocketAddr> {
        let plain = self.upstreams.iter().filter(|upstream| upstream.transport == UpstreamTransport::Plain);
        plain.filter_map(|upstream| Some(SocketAddr::new(upstream.address?, upstream.port))).collect()
    }

    /// Every address that is asked: upstreams, those of forwards, and where one of them has no address, the bootstrap
    /// servers.
    pub fn asked(&self) -> impl Iterator<Item = IpAddr> {
        let servers = || self.upstreams.iter().chain(self.forwards.iter().flat_map(|forward| &forward.to));
        let by_name = servers().any(|upstream| upstream.address.is_none());
        let bootstrap = self.bootstrap.iter().map(SocketAddr::ip).filter(move |_| by_name);
        servers().filter_map(|upstream| upstream.address).chain(bootstrap)
    }

    /// What is decided once for each group, by place.
    #[must_use]
    pub fn list_groups(&self) -> Vec<Group> {
        let group = |group: &DnsGroup| Group {
            name: group.name.as_str().into(),
            blocking: group.blocking,
            mode: group.mode,
            services: group.services.iter().map(|name| name.as_str().into()).collect(),
            safe_search: group.safe_search,
        };
        self.groups.iter().map(group).collect()
    }

    /// Clients to be found.
    #[must_use]
    pub fn list_clients(&self) -> Clients {
        Clients::new(self.clients.iter().map(|client| {
            (Client { name: client.name.as_str().into(), groups: client.groups }, client.who.clone())
        }))
    }
}
