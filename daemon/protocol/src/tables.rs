//! Lists, rules and flows, row by row.

use ipnet::IpNet;
use model::{Direction, Mac, Mode, Protocol, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Reply to `GET /v1/lists`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lists {
    /// In the order of the config.
    pub lists: Vec<ListRow>,
}

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    /// Domain names.
    Domains,
    /// Addresses and ranges.
    Addresses,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListRow {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ListKind,
    /// The file.
    pub path: String,
    /// Whether it is carried out.
    pub mode: Mode,
    /// Which way it holds, for addresses.
    pub direction: Option<Direction>,
    /// Entries in force.
    pub entries: u64,
    /// Lines that could not be read.
    pub rejected: u64,
    /// Packets or questions it stopped, or would have.
    pub hits: u64,
    /// When what is in force was read.
    pub loaded: Option<Timestamp>,
    /// Why a newer version was not taken.
    pub error: Option<String>,
    /// How it is fetched; null for a list that is a file.
    #[serde(default)]
    pub fetched: Option<FetchedList>,
}

/// A list that is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedList {
    /// Where from, without what may be secret.
    pub from: String,
    /// When what is in force was fetched.
    pub at: Option<Timestamp>,
    /// When the server last said that it is still the newest.
    pub checked: Option<Timestamp>,
    /// When it is fetched next.
    pub next: Timestamp,
    /// Failures in a row.
    pub failures: u32,
    /// Why a newer file waits to be accepted.
    pub held: Option<String>,
}

/// `POST /v1/lists/refresh` and `POST /v1/lists/accept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListOrder {
    /// The list; left out, all (for `refresh` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who asks.
    pub user: String,
}

/// Reply to [`ListOrder`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOrdered {
    /// What came of each, a sentence.
    pub outcomes: Vec<String>,
    /// One of them could not be fetched, or is held.
    pub failed: bool,
}

/// Reply to `GET /v1/devices`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// By MAC address.
    pub devices: Vec<DeviceRow>,
}

/// A device of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its MAC address.
    pub mac: Mac,
    /// The device made that address up, and may have another one later.
    #[serde(default)]
    pub randomised: bool,
    /// The zone it was seen in; null if it was not.
    pub zone: Option<String>,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Its zone holds new devices back, and it is one.
    pub held: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its name by its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// When this daemon first saw it.
    pub first: Option<Timestamp>,
    /// When it was last seen.
    pub last: Option<Timestamp>,
    /// Who let it in by command.
    pub allowed_by: Option<String>,
}

/// `POST /v1/devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceOrder {
    /// The device.
    pub mac: Mac,
    /// Let it in; else take that back.
    pub allow: bool,
    /// The group of the config it is to belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Who asks.
    pub user: String,
}

/// Reply to [`DeviceOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOrdered {
    /// The device.
    pub mac: Mac,
    /// It is let in now.
    pub allowed: bool,
    /// That is new.
    pub changed: bool,
    /// The group.
    pub group: Option<String>,
    /// What is odd.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Reply to `GET /v1/rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// In the order of the config; the first that matches wins.
    pub rules: Vec<RuleRow>,
    /// Since when rules are counted; null if that is longer ago than this daemon runs.
    #[serde(default)]
    pub since: Option<Timestamp>,
}

/// One rule with its counters. A zone's default comes as a last row with `id` null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRow {
    /// Place in the file, from 0; null for a zone's default.
    pub id: Option<u16>,
    /// Zones a flow starts in.
    pub from: Vec<String>,
    /// Zones it goes to.
    pub to: Vec<String>,
    /// Services; empty = everything.
    pub services: Vec<String>,
    /// `allow`, `drop` or `reject`, as in the config.
    pub action: String,
    /// Whether it is carried out.
    pub mode: Mode,
    /// Each new flow makes an event.
    pub log: bool,
    /// The comment in the config.
    pub comment: Option<String>,
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Packets it decided.
    pub packets: u64,
    /// Bytes it decided.
    pub bytes: u64,
}

/// `GET /v1/flows?…`: flows the packet path knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsQuery {
    /// Flows that start in this zone or go to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Flows with an address of this network on either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpNet>,
    /// Flows with this port on either side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Flows of this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proto: Option<Protocol>,
    /// Which come first; [`FlowOrder::Bytes`] if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<FlowOrder>,
    /// At most this many, [`crate::DEFAULT_ROWS`] if left out, at most [`crate::MAX_ROWS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which flows come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlowOrder {
    /// Those that carried most.
    #[default]
    Bytes,
    /// Those with most packets.
    Packets,
    /// Those whose last packet came last.
    Recent,
}

/// Reply to a [`FlowsQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// Those that match, up to the limit.
    pub flows: Vec<FlowRow>,
    /// How many match.
    #[serde(default)]
    pub matching: u64,
    /// How many are known in all.
    pub total: u64,
    /// How many can be known.
    pub capacity: u64,
}

/// `GET /v1/top?…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopQuery {
    /// At most this many flows and rules, as of [`FlowsQuery::limit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Reply to a [`TopQuery`]. Counts only grow (but those of rules begin again when the rules change), so that two replies
/// make a rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// When.
    pub at: Timestamp,
    /// The flows that carried most.
    pub flows: Vec<FlowRow>,
    /// Flows that are open.
    pub open: u64,
    /// How many can be.
    pub capacity: u64,
    /// Traffic by the zone it comes from.
    pub zones: Vec<ZoneTraffic>,
    /// Rules and defaults with most packets.
    pub rules: Vec<RuleTraffic>,
    /// Packets that did not pass, or would not have, by reason word.
    pub reasons: BTreeMap<String, u64>,
}

/// Traffic that came from a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneTraffic {
    /// The zone.
    pub zone: String,
    /// Open flows that started there.
    pub flows: u64,
    /// Packets that passed.
    pub passed: u64,
    /// Packets that did not, or would not have.
    pub stopped: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What a rule decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTraffic {
    /// Its number, or `default` and the zone.
    pub rule: String,
    /// Its comment.
    pub comment: String,
    /// What it does.
    pub action: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One flow, in the direction it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRow {
    /// Zone it starts in.
    pub zone: String,
    /// Zone it goes to.
    pub zone_out: Option<String>,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol name or number.
    pub proto: String,
    /// Source port.
    pub sport: u16,
    /// Destination port; for ICMP type * 256 + code.
    pub dport: u16,
    /// `pass`, `drop` or `reject`.
    pub verdict: String,
    /// The reason word.
    pub reason: String,
    /// The rule, list or signature, in words.
    pub by: Option<String>,
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// Milliseconds since the last packet.
    pub idle_ms: u64,
}
