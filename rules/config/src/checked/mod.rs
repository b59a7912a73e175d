//! What a checked `secd.toml` says. Names are resolved, addresses and ports are parsed, numbers are in range.

mod dns;

pub use dns::{
    Certificate, Dns, DnsClient, DnsForward, DnsGroup, DnsZone, LeaseSource, LocalNames, NameEntry, QueryLog,
    Record, RecordValue, Reflect, Upstream, UpstreamTransport,
};

use ipnet::IpNet;
use lists::GroupSet;
use model::{Direction, Mode, Name, Span};
use policy::Policy;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::{
    ConfigError,
    draft::{ListKind, LogFormat},
};

/// The checked configuration of one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Mode of the whole appliance; a part enforces only when this does (see [`Mode::and`]).
    pub mode: Mode,
    /// Zones and rules. `policy.protected` holds `allow`.
    pub policy: Policy,
    /// Addresses and networks of the key `allow`, host bits zero.
    pub allow: Vec<IpNet>,
    /// Names of the key `allow`.
    pub allow_names: Vec<Name>,
    /// How long and how many bans of engines are.
    pub bans: Bans,
    /// Services of the user's own, in the order of the file.
    pub services: Vec<policy::Service>,
    /// Folder of the user's own log filters.
    pub filters_dir: PathBuf,
    /// The DNS resolver.
    pub dns: Dns,
    /// Lists in the order of the file; the place is the list's number in the kernel.
    pub lists: Vec<ListSource>,
    /// Logs in the order of the file.
    pub logs: Vec<LogSource>,
    /// Fail2ban's jails; none = off.
    pub fail2ban: Option<Fail2ban>,
    /// CrowdSec's scenarios; none = off.
    pub crowdsec: Option<Crowdsec>,
    /// Signatures.
    pub signatures: Signatures,
    /// Loki; none = off.
    pub loki: Option<Loki>,
    /// The store.
    pub store: Store,
    /// The file of events.
    pub events: Events,
    /// The control socket.
    pub api: Api,
    /// Pi-hole's REST API; none = off.
    pub pihole_api: Option<PiholeApi>,
    /// CrowdSec's local API; none = off.
    pub lapi: Option<Lapi>,
    /// The GeoIP database of countries, or of both; none = there is none.
    pub geoip: Option<Geoip>,
    /// The GeoIP database of autonomous systems, where it is another one.
    pub geoip_systems: Option<Geoip>,
    /// Sizes of tables in the kernel.
    pub limits: Limits,
    /// What is allowed but probably not meant.
    pub warnings: Vec<ConfigError>,
}

/// How long and how many bans of engines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bans {
    /// Most in an hour.
    pub per_hour: u32,
    /// Most of one scenario.
    pub per_scenario: u32,
    /// How many times longer each further one of the same target is; 1 = as long.
    pub growth: u32,
    /// What none grows beyond.
    pub longest: Duration,
    /// How long after its end one is remembered.
    pub remember: Duration,
    /// Where many people stand behind one address, besides 100.64.0.0/10.
    pub shared: Vec<IpNet>,
    /// Longest there.
    pub shared_longest: Duration,
    /// How long none follows a login.
    pub after_login: Duration,
}

impl Default for Bans {
    /// As a config that says nothing.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 86_400);
        Self {
            per_hour: 5_000,
            per_scenario: 1_000,
            growth: 2,
            longest: days(30),
            remember: days(30),
            shared: Vec::new(),
            shared_longest: Duration::from_secs(900),
            after_login: Duration::from_secs(3600),
        }
    }
}

/// Something that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `https://…`, `file:///…`, or `http://…` where `insecure` allows it.
    pub url: String,
    /// How often it is fetched.
    pub refresh: Duration,
    /// `http://` is allowed, redirects to it included.
    pub insecure: bool,
    /// The host may have a private, loopback or link-local address.
    pub private: bool,
    /// User and file with the password of basic authentication.
    pub basic: Option<(String, PathBuf)>,
    /// Name of a header and file with its value.
    pub header: Option<(String, PathBuf)>,
    /// File with a certificate authority besides those of the system.
    pub ca_file: Option<PathBuf>,
    /// minisign public key that must have signed it.
    pub public_key: Option<String>,
    /// Where the signature is; none = at `url` with `.minisig` behind it.
    pub signature_url: Option<String>,
}

/// The GeoIP database (MMDB).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Geoip {
    /// A file.
    File(PathBuf),
    /// Fetched.
    Subscription(Subscription),
}

/// Sizes of tables in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the flow table: a power of two from 4,096 to 4,194,304.
    pub flows: u32,
}

/// Signatures that are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// Its name, unique among them.
    pub name: String,
    /// Where they come from.
    pub subscription: Subscription,
    /// Mode of its signatures.
    pub mode: Mode,
    /// Where it is configured.
    pub span: Span,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// Its name, unique among lists.
    pub name: String,
    /// The file; empty for a list that is fetched.
    pub path: PathBuf,
    /// How it is fetched; none for a file.
    pub subscription: Option<Subscription>,
    /// Names or addresses.
    pub kind: ListKind,
    /// How it is written.
    pub format: lists::Format,
    /// It blocks by itself; else only rules that name it look at it.
    pub block: bool,
    /// The names of it are exceptions.
    pub allow: bool,
    /// Least score of an entry; 0 = all.
    pub min_score: u32,
    /// Which way an address list holds.
    pub direction: Direction,
    /// Mode of this list.
    pub mode: Mode,
    /// Groups that a list of names holds for.
    pub groups: GroupSet,
    /// Where it is configured.
    pub span: Span,
}

/// A log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// Its name, unique among logs.
    pub name: String,
    /// Where its lines come from.
    pub input: LogInput,
    /// Name of the filter that reads the lines.
    pub filter: String,
    /// Mode of its bans.
    pub mode: Mode,
    /// After how long a log that has spoken is told to be silent; none = never.
    pub silent_after: Option<Duration>,
    /// Where it is configured.
    pub span: Span,
}

/// Fail2ban's filters and jails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail2ban {
    /// The folder with `jail.conf` and `filter.d`.
    pub folder: PathBuf,
    /// These jails alone; none = those that are enabled.
    pub jails: Option<Vec<String>>,
    /// Mode of their bans.
    pub mode: Mode,
}

/// CrowdSec's parsers and scenarios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowdsec {
    /// The folder with `parsers`, `scenarios`, `acquis.yaml` and so on.
    pub folder: PathBuf,
    /// Mode of their bans.
    pub mode: Mode,
}

/// Where the lines of a log come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogInput {
    /// A file, followed over rotation and truncation, or all files of a pattern.
    File {
        /// The file, or the pattern.
        path: PathBuf,
        /// What stands around its lines.
        format: LogFormat,
    },
    /// The journal of systemd.
    Journal {
        /// The folder of its files; none = the one of this machine.
        folder: Option<PathBuf>,
        /// Conditions on entries, `FIELD=value`.
        matches: Vec<String>,
    },
    /// A listener for pushes as Loki takes them.
    Loki {
        /// Address to listen on; logs with the same share it.
        listen: SocketAddr,
        /// Who may send; never empty.
        senders: Vec<IpNet>,
        /// Labels that a stream has to have.
        labels: Vec<(String, String)>,
        /// File with the token that senders have to show.
        token_file: Option<PathBuf>,
    },
    /// A syslog listener.
    Syslog {
        /// How lines are carried.
        transport: Transport,
        /// Address to listen on.
        listen: SocketAddr,
        /// Who may send; empty only where senders show a certificate.
        senders: Vec<IpNet>,
        /// What TLS needs; there with it alone.
        tls: Option<LogTls>,
    },
}

/// What a listener of TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTls {
    /// Its certificate.
    pub certificate: Certificate,
    /// Certificate authorities of senders, PEM; none = senders need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// How syslog is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// RFC 5426.
    Udp,
    /// RFC 6587.
    Tcp,
    /// RFC 5425.
    Tls,
}

/// Signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Files of Suricata rules.
    pub files: Vec<PathBuf>,
    /// Sets of rules that are fetched.
    pub sources: Vec<RuleSource>,
    /// Mode of the signatures.
    pub mode: Mode,
    /// Variables as written, by name, `HOME_NET` and `EXTERNAL_NET` filled in.
    pub variables: BTreeMap<String, String>,
}

/// Loki.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loki {
    /// `http://HOST[:PORT]` or `https://…`, without a trailing slash.
    pub url: String,
    /// Tenant (`X-Scope-OrgID`).
    pub tenant: Option<String>,
    /// User of basic authentication.
    pub user: Option<String>,
    /// File with the password of basic authentication; present exactly where `user` is.
    pub password_file: Option<PathBuf>,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The SQLite file; none = `secd.db` in the state directory.
    pub path: Option<PathBuf>,
}

/// The file of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Events {
    /// The file; none = `events.jsonl` in the state directory.
    pub file: Option<PathBuf>,
    /// Bytes after which the file is rotated.
    pub rotate_bytes: u64,
    /// Rotated files that are kept.
    pub keep_files: u32,
}

/// The control socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// Group whose members may use it besides root.
    pub group: Option<String>,
}

/// Pi-hole's REST API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PiholeApi {
    /// Addresses to answer on; never empty.
    pub listen: Vec<SocketAddr>,
    /// File with the passwords, one a line.
    pub password_file: PathBuf,
    /// Names of the zones whose hosts may connect; never empty.
    pub zones: Vec<String>,
}

/// CrowdSec's local API, and forward auth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lapi {
    /// Addresses to answer on; never empty.
    pub listen: Vec<SocketAddr>,
    /// Names of the zones whose hosts may connect; never empty.
    pub zones: Vec<String>,
    /// Reverse proxies whose word on their clients is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a ban lasts that an alert leads to without naming one.
    pub ban: Duration,
}

impl Config {
    /// Addresses that the resolver asks, for the protected set.
    pub fn upstream_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.dns.asked()
    }
}
