//! Settings of a DNS sinkhole in secd's words, wherever they came from.

use lists::Blocking;
use std::collections::BTreeMap;

use crate::limits::{MAX_FORWARDS, MAX_SERVERS, MAX_VALUES};

/// Settings of a DNS sinkhole, as far as the old program was told them. What is left out keeps secd's default.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The program they come from, as file names begin with it: `pihole`, `adguard`.
    pub(crate) program: &'static str,
    pub(crate) upstreams: Vec<String>,
    pub(crate) order: Option<&'static str>,
    pub(crate) bootstrap: Vec<String>,
    pub(crate) dnssec: Option<bool>,
    pub(crate) blocking: Option<Blocking>,
    pub(crate) block_ttl: Option<u64>,
    pub(crate) observe: bool,
    pub(crate) rate: Option<String>,
    pub(crate) cache_entries: Option<u64>,
    pub(crate) min_ttl: Option<u64>,
    pub(crate) max_ttl: Option<u64>,
    pub(crate) serve_stale: Option<u64>,
    pub(crate) safe_search: bool,
    pub(crate) services: Vec<String>,
    pub(crate) log_days: Option<u64>,
    pub(crate) domain: Option<String>,
    /// `dns_privacy` of every inner zone.
    pub(crate) privacy: Option<&'static str>,
    pub(crate) forwards: Vec<Forward>,
    pub(crate) records: BTreeMap<String, Vec<String>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) clients: Vec<Client>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) own: Vec<OwnList>,
}

/// Names that other servers are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) names: Vec<String>,
    pub(crate) to: Vec<String>,
}

/// A group besides `default`, or what is said of `default` itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) services: Vec<String>,
    pub(crate) safe_search: bool,
    pub(crate) schedule: Option<String>,
}

/// Times of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) name: String,
    pub(crate) days: Vec<&'static str>,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) zone: Option<String>,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) who: Vec<String>,
    pub(crate) groups: Vec<String>,
}

/// A list that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) url: String,
    pub(crate) allows: bool,
    pub(crate) groups: Vec<String>,
}

/// A file of own rules, to be written beside the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnList {
    /// Its name as a list; the file is called `NAME.txt`.
    pub name: String,
    /// What is in it.
    pub text: String,
    pub(crate) format: &'static str,
    pub(crate) groups: Vec<String>,
}

impl OwnList {
    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.txt", self.name)
    }
}

/// Adds a server, one more than there may be, so that it is told.
fn add_server(servers: &mut Vec<String>, server: String) {
    if servers.len() <= MAX_SERVERS && !servers.contains(&server) {
        servers.push(server);
    }
}

impl Settings {
    /// The files of own rules.
    #[must_use]
    pub fn own_lists(&self) -> &[OwnList] {
        &self.own
    }

    /// Adds a record; the same twice is one.
    pub(crate) fn record(&mut self, name: &str, value: String) {
        let values = self.records.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
        // One more than there may be, so that it is told.
        if values.len() <= MAX_VALUES && !values.contains(&value) {
            values.push(value);
        }
    }

    /// Adds a forward; the same servers twice are one.
    pub(crate) fn forward(&mut self, names: Vec<String>, to: Vec<String>) {
        let more = self.forwards.len() <= MAX_FORWARDS;
        match self.forwards.iter_mut().find(|forward| forward.to == to) {
            Some(forward) => forward.names.extend(names),
            // One more than there may be, so that it is told.
            None if more => self.forwards.push(Forward { names, to }),
            None => {}
        }
    }

    /// Adds an upstream; the same twice is one.
    pub(crate) fn upstream(&mut self, server: String) {
        add_server(&mut self.upstreams, server);
    }

    /// Adds a bootstrap server; the same twice is one.
    pub(crate) fn bootstrap(&mut self, server: String) {
        add_server(&mut self.bootstrap, server);
    }
}
