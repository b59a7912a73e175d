//! `secd.toml` as it is written: every key, its doc comment and its default.
//!
//! The JSON schema, the commented reference file and the check for unknown keys all come from these types. A key
//! that must be written is marked `x-required`; the types have a value for it all the same, so that a file with an
//! error in one place can be checked in all others.

use model::{Direction, Mode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::located::{Entries, Located};

/// The configuration of secd, the network security appliance.
///
/// Every key has a default; only what differs has to be written. `secctl check` says what is wrong with a file,
/// `secctl reload` makes the daemon read it again.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Draft {
    /// Mode of the whole appliance: `observe` judges, counts and explains and drops nothing; `enforce` carries
    /// verdicts out. A part enforces only when the whole does.
    pub(crate) mode: Mode,
    /// Addresses and networks that no ban and no list may touch. The router's own addresses and the DNS upstreams
    /// need not be named.
    #[schemars(extend("examples" = [["192.0.2.10", "198.51.100.0/24"]]))]
    pub(crate) allow: Vec<Located<String>>,
    /// Folder of your own log filters, `NAME.toml` each. They stand beside the built-in ones.
    #[schemars(length(min = 1))]
    pub(crate) filters_dir: FiltersDir,
    /// Zones: parts of the network with one trust each. The name is yours; `self`, `any` and `multicast` are
    /// reserved. One zone is the outside: `wan = true`.
    pub(crate) zones: Entries<ZoneDraft>,
    /// Services of your own, beside the built-in ones (listed in `docs/reference/services.md`): protocols and
    /// destination ports, or names of built-in services.
    #[schemars(extend("examples" = [{ "jellyfin": ["tcp/8096", "udp/7359"] }]))]
    pub(crate) services: Entries<Vec<Located<String>>>,
    /// Firewall rules, in order: the first that matches a new flow decides. Replies to allowed flows pass.
    pub(crate) rules: Vec<Located<RuleDraft>>,
    /// The DNS resolver: a cache that answers names on a list with `0.0.0.0` and `::`.
    pub(crate) dns: DnsDraft,
    /// Lists of names or addresses that are blocked.
    pub(crate) lists: Vec<Located<ListDraft>>,
    /// Logs whose lines lead to bans.
    pub(crate) logs: Vec<Located<LogDraft>>,
    /// Signatures (Suricata rules) for the zones with `inspect = true`.
    pub(crate) signatures: SignaturesDraft,
    /// Events to Grafana Loki.
    pub(crate) loki: LokiDraft,
    /// Where decisions are kept.
    pub(crate) store: StoreDraft,
    /// Events to a file, one JSON object a line.
    pub(crate) events: EventsDraft,
    /// The control socket that `secctl` talks to.
    pub(crate) api: ApiDraft,
}

/// A folder with a default.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct FiltersDir(pub(crate) Located<String>);

impl Default for FiltersDir {
    fn default() -> Self {
        Self(Located::from(crate::DEFAULT_FILTERS_DIR.to_owned()))
    }
}

/// A part of the network with one trust: an interface, or a VLAN on it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ZoneDraft {
    /// The interface whose frames are judged; for a VLAN the trunk that carries it.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["eth0"]))]
    pub(crate) interface: Located<String>,
    /// VLAN tag on that interface, 1 to 4094. Left out: untagged frames.
    #[schemars(range(min = 1, max = 4094), extend("examples" = [400]))]
    pub(crate) vlan: Option<Located<u16>>,
    /// The device that holds the zone's addresses. Left out: the interface, or `INTERFACE.VLAN` for a VLAN.
    #[schemars(length(min = 1), extend("examples" = ["eth1.400"]))]
    pub(crate) device: Option<Located<String>>,
    /// The zone's networks. A flow goes to the zone whose network holds its destination; what is in no network is
    /// outside, so the WAN has none.
    #[schemars(extend("x-plain" = true, "examples" = [["10.4.0.0/24", "fd00:4::/64"]]))]
    pub(crate) networks: Vec<Located<String>>,
    /// The outside. Exactly one zone is; rules may call it `wan` whatever its name.
    #[schemars(extend("examples" = [true]))]
    pub(crate) wan: bool,
    /// Hide the inner IPv4 addresses behind the router's own for everything that leaves here (source NAT).
    #[schemars(extend("examples" = [true]))]
    pub(crate) masquerade: bool,
    /// Signatures look at the flows that start here.
    pub(crate) inspect: bool,
    /// Refuse sources that do not belong here: on an inner zone those outside of its networks, on the WAN those of
    /// the inner zones.
    pub(crate) anti_spoof: bool,
    /// Mode of this zone.
    pub(crate) mode: Mode,
    /// What becomes of a new flow from here that no rule names: `reject` answers, `drop` is silent. Left out: `drop`
    /// on the WAN, `reject` elsewhere.
    #[schemars(extend("examples" = ["drop"]))]
    pub(crate) default: Option<Denial>,
}

impl Default for ZoneDraft {
    fn default() -> Self {
        Self {
            interface: Located::default(),
            vlan: None,
            device: None,
            networks: Vec::new(),
            wan: false,
            masquerade: false,
            inspect: false,
            anti_spoof: true,
            mode: Mode::Enforce,
            default: None,
        }
    }
}

/// How a zone refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Denial {
    /// Refuse with an answer.
    Reject,
    /// Drop silently.
    Drop,
}

/// One firewall rule.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuleDraft {
    /// Where a flow starts: zone names, `self` (this router) or `any`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["wan"]]))]
    pub(crate) from: Located<Vec<Located<String>>>,
    /// Where it goes: zone names, `self`, `multicast` or `any`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["self"]]))]
    pub(crate) to: Located<Vec<Located<String>>>,
    /// Names of services, or protocol and destination port (`tcp/8080`). Empty: everything.
    #[schemars(extend("examples" = [["ssh", "https"]]))]
    pub(crate) services: Vec<Located<String>>,
    /// What happens: `allow`, `drop` (silently) or `reject` (with an answer).
    #[schemars(extend("x-required" = true, "examples" = ["drop"]))]
    pub(crate) action: RuleAction,
    /// Each new flow that this rule decides makes an event.
    pub(crate) log: bool,
    /// Mode of this rule.
    pub(crate) mode: Mode,
    /// For people; `secctl rules` shows it.
    #[schemars(length(max = 200))]
    pub(crate) comment: String,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RuleAction {
    /// Let it pass.
    Allow,
    /// Drop it silently.
    #[default]
    Drop,
    /// Refuse it with an answer.
    Reject,
}

/// The DNS resolver.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsDraft {
    /// Own addresses to answer on, UDP and TCP; port 53 where none is written. Empty: no resolver.
    #[schemars(extend("examples" = [["10.1.0.1:53", "[fd00:1::1]:53"]]))]
    pub(crate) listen: Vec<Located<String>>,
    /// Servers to ask, in this order of preference; port 53 where none is written.
    #[schemars(extend("examples" = [["9.9.9.9:53", "[2620:fe::fe]:53"]]))]
    pub(crate) upstreams: Vec<Located<String>>,
    /// Names that are never blocked, with everything below them, whatever the lists say.
    #[schemars(extend("examples" = [["good.example"]]))]
    pub(crate) allow: Vec<Located<String>>,
    /// Mode of the resolver: with `observe` a listed name is resolved all the same, and the event says so.
    pub(crate) mode: Mode,
    /// Answers kept in the cache, 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(crate) cache_entries: u32,
}

impl Default for DnsDraft {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            upstreams: ["9.9.9.9:53", "149.112.112.112:53"]
                .map(|upstream| Located::from(upstream.to_owned()))
                .into(),
            allow: Vec::new(),
            mode: Mode::Enforce,
            cache_entries: 20_000,
        }
    }
}

/// A list of names or addresses.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListDraft {
    /// Its name in events and in `secctl why`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["phishing"]))]
    pub(crate) name: Located<String>,
    /// The file. The format is recognised: hosts, one name a line, `||name^`, one address or CIDR a line, address
    /// and score.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["/var/lib/secd/lists/phishing.txt"]))]
    pub(crate) path: Located<String>,
    /// What it lists: `domains` for the resolver, `addresses` for the packet path.
    #[schemars(extend("x-required" = true, "examples" = ["domains"]))]
    pub(crate) kind: ListKind,
    /// Of an address list with a score column: only entries with at least this score.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(crate) min_score: Located<u32>,
    /// Which way an address list holds: `in` stops what the addresses start, `out` what is started towards them,
    /// `both` both.
    pub(crate) direction: Direction,
    /// Mode of this list.
    pub(crate) mode: Mode,
}

/// What a list lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListKind {
    /// Names, for the resolver.
    #[default]
    Domains,
    /// Addresses and networks, for the packet path.
    Addresses,
}

/// A log whose lines lead to bans.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogDraft {
    /// Its name in events.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["sshd"]))]
    pub(crate) name: Located<String>,
    /// A file; rotation and truncation are followed. Either this or `syslog`.
    #[schemars(length(min = 1), extend("examples" = ["/var/log/auth.log"], "x-shown" = true))]
    pub(crate) path: Option<Located<String>>,
    /// A listener for syslog (RFC 5424 and RFC 3164): `udp://ADDRESS:PORT` or `tcp://ADDRESS:PORT`.
    #[schemars(length(min = 1), extend("examples" = ["udp://10.1.0.1:5514"]))]
    pub(crate) syslog: Option<Located<String>>,
    /// Who may send to the listener: addresses and networks. Required with `syslog`.
    #[schemars(extend("examples" = [["10.2.0.0/24"]]))]
    pub(crate) senders: Option<Located<Vec<Located<String>>>>,
    /// The filter that reads the lines: `sshd`, `nginx`, `traefik`, or one of `filters_dir`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["sshd"]))]
    pub(crate) filter: Located<String>,
    /// Mode of the bans from this log.
    pub(crate) mode: Mode,
}

/// Signatures.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SignaturesDraft {
    /// Files of Suricata rules. A rule that is not supported is skipped, counted and named by its sid.
    #[schemars(extend("examples" = [["/etc/secd/rules/local.rules"]]))]
    pub(crate) files: Vec<Located<String>>,
    /// Mode of the signatures: with `observe` a `drop` rule alerts only.
    pub(crate) mode: Mode,
    /// Variables of the rules, in their notation. `HOME_NET` left out: the networks of all inner zones;
    /// `EXTERNAL_NET` left out: `!$HOME_NET`.
    #[schemars(extend("examples" = [{ "HOME_NET": "[10.0.0.0/8]" }]))]
    pub(crate) variables: Entries<Located<String>>,
}

/// Loki.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LokiDraft {
    /// Address of Loki, without the path. Empty: events are not sent.
    #[schemars(extend("examples" = ["http://10.1.0.9:3100"]))]
    pub(crate) url: Located<String>,
    /// Tenant, for a Loki with several (`X-Scope-OrgID`). Empty: none.
    pub(crate) tenant: Located<String>,
    /// User name for basic authentication. Empty: none.
    pub(crate) user: Located<String>,
    /// File with the password for basic authentication, readable by secd. Empty: none.
    #[schemars(extend("examples" = ["/etc/secd/loki.password"]))]
    pub(crate) password_file: Located<String>,
}

/// The store.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreDraft {
    /// The SQLite file. Empty: `secd.db` in the state directory.
    pub(crate) path: Located<String>,
}

/// The file of events.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EventsDraft {
    /// The file. Empty: `events.jsonl` in the state directory.
    pub(crate) file: Located<String>,
    /// Megabytes after which the file is rotated, 1 to 10000.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) rotate_megabytes: u32,
    /// Rotated files that are kept (`events.jsonl.1`, …), 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub(crate) keep_files: u32,
}

impl Default for EventsDraft {
    fn default() -> Self {
        Self { file: Located::default(), rotate_megabytes: 64, keep_files: 4 }
    }
}

/// The control socket.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiDraft {
    /// Group whose members may use the socket besides root. Empty: root only.
    #[schemars(extend("examples" = ["secd"]))]
    pub(crate) group: Located<String>,
}
