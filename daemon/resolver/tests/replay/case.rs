//! How cases are written.

use crate::common::Script;
use model::{DecisionKind, Mode, Name};
use serde::Deserialize;
use std::{collections::BTreeMap, net::IpAddr};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) case: Vec<Case>,
}

/// A resolver, and what is asked of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) set: Settings,
    #[serde(default)]
    pub(crate) group: Vec<Group>,
    /// Clients by name: `{ who = […], groups = […] }`.
    #[serde(default)]
    pub(crate) client: BTreeMap<String, Client>,
    #[serde(default)]
    pub(crate) list: Vec<List>,
    #[serde(default)]
    pub(crate) allow: Vec<Name>,
    /// `dns.deny`.
    #[serde(default)]
    pub(crate) deny: Vec<String>,
    #[serde(default)]
    pub(crate) order: Vec<Order>,
    /// Local names: `"nas.home.arpa" = ["A 10.2.0.5"]`.
    #[serde(default)]
    pub(crate) local: BTreeMap<String, Vec<String>>,
    /// Domains that are all ours.
    #[serde(default)]
    pub(crate) domains: Vec<String>,
    /// What the upstream answers; `NAME TYPE #2` from the second time on. Beside the words of
    /// `tests/common`: `unreachable`, `bogus`, `overload`, `slow SECONDS`, `secure`, `ede CODE TEXT`.
    #[serde(default)]
    pub(crate) upstream: Script,
    pub(crate) ask: Vec<Ask>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) cache_entries: Option<usize>,
    pub(crate) cache_bytes: Option<usize>,
    pub(crate) min_ttl: u32,
    pub(crate) max_ttl: Option<u32>,
    pub(crate) negative_ttl: Option<u32>,
    pub(crate) serve_stale: u32,
    pub(crate) prefetch: bool,
    pub(crate) block_ttl: Option<u32>,
    pub(crate) rebinding: Option<bool>,
    pub(crate) rebind_allow: Vec<String>,
    pub(crate) forwarded: Vec<String>,
    /// Seconds that a question costs, and questions at once.
    pub(crate) rate: Option<(f64, u32)>,
    /// The encrypted way to this resolver: name, address, ports of TLS and HTTPS.
    pub(crate) designated: Option<(String, IpAddr, u16, u16)>,
    /// Addresses that clients learn are told.
    pub(crate) resolved: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) blocking: Option<String>,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) services: Vec<String>,
    #[serde(default)]
    pub(crate) safe_search: bool,
    #[serde(default)]
    pub(crate) deny: Vec<String>,
    #[serde(default)]
    pub(crate) allow: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Client {
    pub(crate) who: Vec<String>,
    pub(crate) groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct List {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// Left out: found in the text.
    pub(crate) format: Option<String>,
    pub(crate) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) kind: DecisionKind,
    pub(crate) target: model::Target,
    /// Second at which it ends.
    pub(crate) until: Option<i64>,
}

/// A question, what changes before it, and what is expected of it. What is not written is not looked at, except for
/// answers, extended error and truncation: these are as written or not there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    // What changes before.
    /// The second of the case at which it is asked.
    pub(crate) at: Option<u64>,
    /// Other lists than before.
    pub(crate) lists: Option<Vec<List>>,
    /// Other orders than before.
    pub(crate) orders: Option<Vec<Order>>,
    /// Other local names than before.
    pub(crate) local: Option<BTreeMap<String, Vec<String>>>,
    /// Groups in force from now on.
    pub(crate) in_force: Option<Vec<String>>,
    /// The cache forgets this name and what is below it.
    pub(crate) flush: Option<Name>,

    // The question.
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) qtype: String,
    pub(crate) client: Option<IpAddr>,
    /// `udp`, `tcp` or `encrypted`.
    pub(crate) over: Option<String>,
    /// Left out: `IN`.
    pub(crate) class: Option<String>,
    /// Number of the operation; left out: a query.
    pub(crate) opcode: Option<u8>,
    /// The question stands so often in the message; left out: once.
    pub(crate) questions: Option<usize>,
    /// Without EDNS.
    #[serde(default)]
    pub(crate) plain: bool,
    /// Version of EDNS.
    #[serde(default)]
    pub(crate) edns_version: u8,
    pub(crate) payload: Option<u16>,
    #[serde(default)]
    pub(crate) dnssec: bool,
    #[serde(default)]
    pub(crate) checking_disabled: bool,
    #[serde(default)]
    pub(crate) authentic: bool,
    /// `client`, `kept` (what the answer before gave), `forged`, or bytes in hex.
    pub(crate) cookie: Option<String>,
    #[serde(default)]
    pub(crate) padded: bool,
    /// Asked so often before; those answers are not looked at.
    #[serde(default)]
    pub(crate) after: usize,

    // What is expected.
    /// There is no answer.
    #[serde(default)]
    pub(crate) silence: bool,
    pub(crate) rcode: Option<String>,
    #[serde(default)]
    pub(crate) answers: Vec<String>,
    /// Of the first answer, or of the SOA where there is none.
    pub(crate) ttl: Option<u32>,
    pub(crate) ede: Option<String>,
    /// `tc`, `ad`, `cd` in this order.
    #[serde(default)]
    pub(crate) flags: String,
    /// Bytes of the answer.
    pub(crate) size: Option<usize>,
    /// Whether it carries a cookie of this server.
    pub(crate) has_cookie: Option<bool>,
    /// `ACTION` or `ACTION REASON BY` of the event.
    pub(crate) event: Option<String>,
    pub(crate) from: Option<String>,
    /// Seconds of the case that have passed when it is answered.
    pub(crate) answered_at: Option<u64>,
    /// Questions the upstream was asked so far, when nothing is under way any more.
    pub(crate) asked: Option<usize>,
    /// Addresses that were told to be learned by this answer.
    pub(crate) learned: Option<Vec<IpAddr>>,
}
