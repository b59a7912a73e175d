//! What the API needs of whoever answers DNS: what is asked of it, and in which words.

use model::{Name, QueryFilter, QueryPage, QueryStats, QueryStatsFilter, Severity, Timestamp};
use std::{net::IpAddr, time::Duration};

/// The resolver behind the API.
pub trait Hole: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Tells the person who runs this of what happened.
    fn tell(&self, severity: Severity, message: String);

    /// Whether names are blocked, and until when that is so.
    fn blocking(&self) -> (Blocking, Option<Timestamp>);

    /// Blocks again, or nothing for a time; with no time for as long as can be. In force when it returns.
    fn set_blocking(
        &self,
        enabled: bool,
        lasting: Option<Duration>,
        who: &str,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Single names and expressions that are allowed or denied.
    fn domains(&self) -> Vec<Domain>;

    /// Allows or denies a name for everybody. In force and stored when it returns.
    fn add_domain(
        &self,
        verdict: Verdict,
        name: Name,
        comment: Option<String>,
        who: &str,
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Takes that back; whether there was something to take back.
    fn remove_domain(
        &self,
        verdict: Verdict,
        name: Name,
        who: &str,
    ) -> impl Future<Output = Result<bool, Refusal>> + Send;

    /// Groups.
    fn groups(&self) -> Vec<Group>;

    /// Lists of names.
    fn lists(&self) -> Vec<List>;

    /// Clients that are in groups.
    fn clients(&self) -> Vec<Client>;

    /// Devices that are seen.
    fn devices(&self) -> Vec<Device>;

    /// Questions of the log.
    fn queries(&self, filter: &QueryFilter) -> impl Future<Output = Result<QueryPage, Refusal>> + Send;

    /// The log, summed up.
    fn stats(&self, filter: &QueryStatsFilter) -> impl Future<Output = Result<QueryStats, Refusal>> + Send;

    /// What needs a person.
    fn messages(&self) -> Vec<Message>;

    /// What runs here.
    fn about(&self) -> About;
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Pi-hole's word for it, for machines.
    pub key: &'static str,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// It is for a person to do, at the machine.
    #[must_use]
    pub fn forbidden(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { status: 403, key: "forbidden", message: message.into(), hint: Some(hint.into()) }
    }
}

/// Whether names are blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// They are.
    Enabled,
    /// Nothing is.
    Disabled,
    /// There is no resolver.
    Failure,
}

/// What an entry says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It is never blocked.
    Allow,
    /// It is blocked.
    Deny,
}

/// How an entry is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A name.
    Exact,
    /// An expression.
    Regex,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Unique among entries.
    pub id: u64,
    /// The name or expression.
    pub text: String,
    /// What it says.
    pub verdict: Verdict,
    /// How it is written.
    pub kind: Kind,
    /// For people.
    pub comment: Option<String>,
    /// Ids of the groups it holds for.
    pub groups: Vec<u64>,
    /// Since when it stands.
    pub since: Timestamp,
    /// Where it stands in the config, which is the person's: it cannot be changed from here.
    pub fixed: Option<String>,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// 0 = the group of clients that are in no other.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// For people.
    pub comment: Option<String>,
    /// What holds for it is in force now.
    pub enabled: bool,
    /// Since when it stands so.
    pub since: Timestamp,
}

/// How a list was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListState {
    /// It is what the source says.
    Current,
    /// The source could not be had, an older copy stands in.
    OldCopy,
    /// There is nothing of it.
    Unavailable,
}

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Unique among lists.
    pub id: u64,
    /// Where it is read.
    pub address: String,
    /// Its name.
    pub name: String,
    /// Its entries are exceptions.
    pub allows: bool,
    /// Ids of the groups it holds for.
    pub groups: Vec<u64>,
    /// It is carried out.
    pub enabled: bool,
    /// Entries in force.
    pub entries: u64,
    /// Lines that could not be read.
    pub rejected: u64,
    /// How it was read last.
    pub state: ListState,
    /// When what is in force was read.
    pub loaded: Option<Timestamp>,
    /// Since when it stands so.
    pub since: Timestamp,
}

/// One way in which a client is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Unique among clients.
    pub id: u64,
    /// Address, network, MAC address or host name.
    pub text: String,
    /// Its name in the config.
    pub name: String,
    /// For people.
    pub comment: Option<String>,
    /// Ids of its groups.
    pub groups: Vec<u64>,
    /// Since when it stands so.
    pub since: Timestamp,
}

/// A device that is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its MAC address.
    pub mac: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// When it was seen last.
    pub seen: Option<Timestamp>,
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What.
    pub text: String,
    /// When it was last seen to be so.
    pub at: Timestamp,
}

/// What runs here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Version of secd.
    pub version: String,
    /// When it started.
    pub started: Timestamp,
    /// Number of its process.
    pub pid: u32,
    /// Bytes it holds in memory.
    pub resident: u64,
    /// Time it has had of the processors since it started.
    pub cpu: Duration,
    /// Questions answered from the cache.
    pub from_cache: u64,
    /// Of these, past their time.
    pub stale: u64,
    /// Questions that an upstream answered.
    pub forwarded: u64,
    /// Questions that nobody answered.
    pub failed: u64,
    /// Answers in the cache.
    pub cache_entries: u64,
}
