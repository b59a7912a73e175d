//! What a checked `secd.toml` says. Names are resolved, addresses and ports are parsed, numbers are in range.

use ipnet::IpNet;
use model::{Direction, Mode, Name, Span};
use policy::Policy;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use crate::{ConfigError, draft::ListKind};

/// The checked configuration of one appliance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Mode of the whole appliance; a part enforces only when this does (see [`Mode::and`]).
    pub mode: Mode,
    /// Zones and rules. `policy.protected` holds `allow` and the addresses of the DNS upstreams.
    pub policy: Policy,
    /// Addresses and networks of the key `allow`, host bits zero.
    pub allow: Vec<IpNet>,
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
    /// What is allowed but probably not meant.
    pub warnings: Vec<ConfigError>,
}

/// The DNS resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Addresses to answer on, UDP and TCP; empty = no resolver.
    pub listen: Vec<SocketAddr>,
    /// Servers to ask, in order of preference; not empty where `listen` is not.
    pub upstreams: Vec<SocketAddr>,
    /// Names that are never blocked, with everything below them.
    pub allow: Vec<Name>,
    /// Mode of the resolver.
    pub mode: Mode,
    /// Answers kept in the cache.
    pub cache_entries: usize,
}

/// A list on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListSource {
    /// Its name, unique among lists.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Names or addresses.
    pub kind: ListKind,
    /// Least score of an entry; 0 = all.
    pub min_score: u32,
    /// Which way an address list holds.
    pub direction: Direction,
    /// Mode of this list.
    pub mode: Mode,
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
    /// Where it is configured.
    pub span: Span,
}

/// Where the lines of a log come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogInput {
    /// A file, followed over rotation and truncation.
    File(PathBuf),
    /// A syslog listener.
    Syslog {
        /// How lines are carried.
        transport: Transport,
        /// Address to listen on.
        listen: SocketAddr,
        /// Who may send; never empty.
        senders: Vec<IpNet>,
    },
}

/// How syslog is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// RFC 5426.
    Udp,
    /// RFC 6587.
    Tcp,
}

/// Signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Files of Suricata rules.
    pub files: Vec<PathBuf>,
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

impl Config {
    /// Upstreams of the resolver as addresses, for the protected set.
    pub fn upstream_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.dns.upstreams.iter().map(SocketAddr::ip)
    }
}
