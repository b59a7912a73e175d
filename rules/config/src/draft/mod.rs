//! `secd.toml` as it is written: every key, its doc comment and its default.
//!
//! The JSON schema, the commented reference file and the check for unknown keys all come from these types. A key
//! that must be written is marked `x-required`; the types have a value for it all the same, so that a file with an
//! error in one place can be checked in all others.

mod dns;
mod logs;

pub(crate) use dns::{
    DnsClientDraft, DnsDraft, DnsForwardDraft, DnsGroupDraft, LocalDraft, QueryLogDraft, ReflectDraft,
};
pub(crate) use dns::{DnsOthers, Egress};
pub use dns::{Privacy, UpstreamOrder};
pub use logs::LogFormat;
pub(crate) use logs::{BansDraft, CrowdsecDraft, Fail2banDraft, LogDraft};

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
    /// Addresses and networks that no ban and no list may touch, and names (`home.example.net`) whose addresses are
    /// looked up every minute and kept while nobody answers. The router's own addresses and the DNS upstreams need not be
    /// named.
    #[schemars(extend("examples" = [["192.0.2.10", "198.51.100.0/24", "home.example.net"]]))]
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
    /// Groups of addresses: addresses, networks, and names of other groups. Rules name them like zones.
    #[schemars(extend("examples" = [{ "nas": ["10.3.0.2", "fd00:3::2"], "media": ["nas", "10.2.0.8/31"] }]))]
    pub(crate) addresses: Entries<Vec<Located<String>>>,
    /// Groups of devices by MAC address. In `from` a rule means what these devices send, in `to` the addresses that
    /// the router sees them have.
    #[schemars(extend("examples" = [{ "tvs": ["aa:bb:cc:dd:ee:01", "aa:bb:cc:dd:ee:02"] }]))]
    pub(crate) devices: Entries<Vec<Located<String>>>,
    /// Times of the week at which rules hold.
    #[schemars(extend("x-entry" = "evenings"))]
    pub(crate) schedules: Entries<ScheduleDraft>,
    /// Firewall rules, in order: the first that matches a new flow decides. Replies to allowed flows pass.
    pub(crate) rules: Vec<Located<RuleDraft>>,
    /// Ports of the outside that lead to hosts inside (IPv4; to an IPv6 host a rule is enough). A forward lets its flows
    /// pass, no rule is asked.
    pub(crate) forwards: Vec<Located<ForwardDraft>>,
    /// The DNS resolver: a cache that answers names on a list with `0.0.0.0` and `::`.
    pub(crate) dns: DnsDraft,
    /// Lists of names or addresses that are blocked, or that rules name.
    pub(crate) lists: Vec<Located<ListDraft>>,
    /// The database that knows countries (`country:DE`) and networks of providers (`asn:3320`).
    pub(crate) geoip: GeoipDraft,
    /// Logs whose lines lead to bans.
    pub(crate) logs: Vec<Located<LogDraft>>,
    /// How long and how many the bans are that logs lead to.
    pub(crate) bans: BansDraft,
    /// Fail2ban's filters and jails, unmodified. They read what their `logpath` and `journalmatch` name.
    pub(crate) fail2ban: Fail2banDraft,
    /// CrowdSec's parsers and scenarios, unmodified. They read what `acquis.yaml` and `acquis.d` name.
    pub(crate) crowdsec: CrowdsecDraft,
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
    /// Pi-hole's REST API (version 6), for phone apps and dashboards that are made for a Pi-hole. It is HTTP without
    /// encryption: let it answer on inner addresses. A rule has to let its port in from these zones.
    pub(crate) pihole_api: PiholeApiDraft,
    /// CrowdSec's local API, for its bouncers and agents, and forward auth (`/v1/authz`) for reverse proxies. It is HTTP
    /// without encryption: let it answer on inner addresses. A rule has to let its port in from these zones.
    pub(crate) lapi: LapiDraft,
    /// Sizes of tables in the kernel.
    pub(crate) limits: LimitsDraft,
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
    /// Networks behind other routers of this zone: they belong to the zone like its own.
    #[schemars(extend("x-plain" = true, "examples" = [["10.99.0.0/16"]]))]
    pub(crate) routes: Vec<Located<String>>,
    /// Hosts of the zone do not reach each other through the router.
    pub(crate) isolate: bool,
    /// Devices in no group of `[devices]` reach only the router, until they are in one.
    pub(crate) quarantine: bool,
    /// TCP of which only one way comes by here passes: for hosts with two ways out.
    pub(crate) loose: bool,
    /// What opens no flow and belongs to none is dropped at once, and not left to nftables, which may still know it.
    pub(crate) strict: bool,
    /// Refuse sources that cannot exist in the Internet. For the outside only. Left out: `true`, unless the router's
    /// own address there is such a one.
    #[schemars(extend("examples" = [true]))]
    pub(crate) bogons: Option<Located<bool>>,
    /// Sources that try many ports or hosts are told of, and their new flows wait. Left out: `true` on the WAN.
    #[schemars(extend("examples" = [true]))]
    pub(crate) scan: Option<bool>,
    /// New flows that one source (of IPv6 one /64) may start: so many per `second`, `minute`, `hour` or `day`, and a
    /// burst. Left out: as many as it likes.
    #[schemars(length(min = 1), extend("examples" = ["200/second burst 400"]))]
    pub(crate) new_flows: Option<Located<String>>,
    /// Keep TCP segments to what the path carries that begins here (PPPoE, tunnels).
    pub(crate) clamp_mss: bool,
    /// What holds for packets from here before the daemon has put its policy in force: `open` lets them pass, `closed`
    /// only what the link and the router need. Left out: `closed` on the WAN, `open` elsewhere.
    #[schemars(extend("examples" = ["closed"]))]
    pub(crate) fail: Option<Fail>,
    /// What of its questions to the resolver is told and kept: everything (`full`), not for what (`no-names`), not by
    /// whom (`no-clients`), or neither (`none`).
    pub(crate) dns_privacy: Privacy,
    /// Where flows from here may go out to: wherever rules allow (`any`), or of that only to addresses that the resolver
    /// answered the zone, and to those that a rule names (`resolved`; `resolved-learn` tells what that would drop, and
    /// drops nothing).
    pub(crate) egress: Egress,
    /// What becomes of questions to resolvers outside: `allow` leaves them to the rules. Whatever rules say, `redirect`
    /// answers plain ones (port 53) here, and `drop` drops them and encrypted ones (port 853).
    pub(crate) dns_others: DnsOthers,
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
            routes: Vec::new(),
            isolate: false,
            quarantine: false,
            loose: false,
            strict: false,
            bogons: None,
            scan: None,
            new_flows: None,
            clamp_mss: false,
            fail: None,
            dns_privacy: Privacy::Full,
            egress: Egress::Any,
            dns_others: DnsOthers::Allow,
        }
    }
}

/// What holds before the daemon is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fail {
    /// Everything passes.
    Open,
    /// Only what the link and the router need.
    Closed,
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
    /// Where a flow starts; one of what is named is enough: zones, `self` (this router) or `any`, groups of addresses
    /// and of devices, addresses and networks, `country:DE`, `asn:3320`, `list:NAME`, `interface:eth2` (the zones on
    /// it).
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["wan"]]))]
    pub(crate) from: Located<Vec<Located<String>>>,
    /// Where it goes: the same, `multicast`, and `domain:acme.example` or `domain:*.docker.io`: addresses outside that the
    /// resolver answered the zone for this name, or for one below it.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["self"]]))]
    pub(crate) to: Located<Vec<Located<String>>>,
    /// Names of services, or protocol and destination port (`tcp/8080`). Empty: everything.
    #[schemars(extend("examples" = [["ssh", "https"]]))]
    pub(crate) services: Vec<Located<String>>,
    /// What happens: `allow`, `drop` (silently), `reject` (with an answer), `log` (an event, and the next rule that
    /// matches decides), or `limit` (as many new flows of one source pass as `limit` says, the others are dropped).
    #[schemars(extend("x-required" = true, "examples" = ["drop"]))]
    pub(crate) action: RuleAction,
    /// With `action = "limit"`: new flows of one source (of IPv6 one /64) per `second`, `minute`, `hour` or `day`, and
    /// how many may come at once. Left out, the burst is as many as the number in front.
    #[schemars(length(min = 1), extend("examples" = ["10/minute burst 20"]))]
    pub(crate) limit: Option<Located<String>>,
    /// The rule holds only then: the name of a schedule. Left out: always.
    #[schemars(length(min = 1), extend("examples" = ["evenings"]))]
    pub(crate) schedule: Option<Located<String>>,
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
    /// Tell of it and go on.
    Log,
    /// Let so many pass.
    Limit,
}

/// A time of the week.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScheduleDraft {
    /// Days on which the time begins. Left out: every day.
    #[schemars(length(min = 1), extend("examples" = [["mon", "tue", "wed", "thu", "sun"]]))]
    pub(crate) days: Option<Vec<Located<Day>>>,
    /// When it begins, by the wall clock. Left out: `00:00`.
    #[schemars(length(min = 1), extend("examples" = ["18:00"]))]
    pub(crate) from: Option<Located<String>>,
    /// When it ends; earlier than `from` reaches into the next day. Left out: `24:00`.
    #[schemars(length(min = 1), extend("examples" = ["23:30"]))]
    pub(crate) to: Option<Located<String>>,
    /// Time zone (IANA). Left out: the router's.
    #[schemars(length(min = 1), extend("examples" = ["Europe/Berlin"]))]
    pub(crate) zone: Option<Located<String>>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A port of the outside that leads to a host inside.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ForwardDraft {
    /// Its name in events and counters.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["web"]))]
    pub(crate) name: Located<String>,
    /// TCP and UDP ports of the outside, or names of services: `tcp/443`, `tcp/8000-8100`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["tcp/443"]]))]
    pub(crate) services: Located<Vec<Located<String>>>,
    /// IPv4 address of the host inside, in a network of a zone.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["10.2.0.5"]))]
    pub(crate) to: Located<String>,
    /// Port of the host; with a range of ports the first of as many. Left out: the port that was asked for.
    #[schemars(range(min = 1, max = 65535), extend("examples" = [8443]))]
    pub(crate) port: Option<Located<u16>>,
    /// The zone that it is reached from, by the router's own addresses there.
    #[schemars(length(min = 1))]
    pub(crate) from: Located<String>,
    /// Who may use it from there: addresses and networks, groups of addresses, `country:DE`, `asn:3320`, `list:NAME`.
    /// Empty: everyone.
    #[schemars(extend("examples" = [["198.51.100.0/24"]]))]
    pub(crate) sources: Vec<Located<String>>,
    /// Every inner zone reaches it by the outer address as well, whatever rules and `sources` say: it is open like to
    /// the Internet. Zones with `quarantine` do not, nor the host's own zone if that has `isolate`. Left out: `true`,
    /// unless `sources` says who may use it.
    #[schemars(extend("examples" = [true]))]
    pub(crate) hairpin: Option<bool>,
    /// For people; `secctl rules` shows it.
    #[schemars(length(max = 200))]
    pub(crate) comment: String,
}

impl Default for ForwardDraft {
    fn default() -> Self {
        Self {
            name: Located::default(),
            services: Located::default(),
            to: Located::default(),
            port: None,
            from: Located::from("wan".to_owned()),
            sources: Vec::new(),
            hairpin: None,
            comment: String::new(),
        }
    }
}

/// Sizes of tables.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitsDraft {
    /// Entries of the flow table, 128 bytes each, a power of two; every connection needs two. When it is full, new
    /// flows are judged by every packet, which costs speed only.
    #[schemars(range(min = 4096, max = 4_194_304))]
    pub(crate) flows: Located<u32>,
}

impl Default for LimitsDraft {
    fn default() -> Self {
        Self { flows: Located::from(131_072) }
    }
}

/// Keys of what can be fetched, behind those of its own.
macro_rules! fetched {
    (url_is_shown = $shown:literal; $(#[$meta:meta])* pub(crate) struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        pub(crate) struct $name {
            $($own)*
            /// Where it is fetched: `https://…`, or `file:///…` for a file that is read again like one.
            #[schemars(
                length(min = 1, max = 2048),
                extend("x-shown" = $shown, "examples" = ["https://lists.example/phishing.txt"])
            )]
            pub(crate) url: Option<Located<String>>,
            /// The name of a well-known source (`secctl catalogue`), which says the rest.
            #[schemars(length(min = 1), extend("examples" = ["spamhaus-drop-v4"]))]
            pub(crate) catalogue: Option<Located<String>>,
            /// How often it is fetched, `5m` to `30d`. Left out: `24h`, or what the catalogue says.
            #[schemars(length(min = 1), extend("examples" = ["24h"]))]
            pub(crate) refresh: Option<Located<String>>,
            /// Fetch by `http://` too: anyone on the way can change it.
            pub(crate) insecure: Located<bool>,
            /// The host may be in a private network.
            pub(crate) private: Located<bool>,
            /// User name for basic authentication. Empty: none.
            pub(crate) user: Located<String>,
            /// File with the password for basic authentication, readable by secd. Empty: none.
            pub(crate) password_file: Located<String>,
            /// A header that carries a key, for example `X-Api-Key`. Empty: none.
            pub(crate) header: Located<String>,
            /// File with the value of the header, readable by secd. Empty: none.
            pub(crate) header_file: Located<String>,
            /// File with a certificate authority of your own, PEM. Empty: those of the system.
            pub(crate) ca_file: Located<String>,
            /// A minisign public key: only what is signed by it is taken. Empty: none.
            pub(crate) public_key: Located<String>,
            /// Where the signature is. Empty: at `url` with `.minisig` behind it.
            pub(crate) signature_url: Located<String>,
        }

        impl $name {
            /// The keys of fetching alone.
            pub(crate) fn fetch(&self) -> Fetch<'_> {
                let Self {
                    url, catalogue, refresh, insecure, private, user, password_file, header, header_file, ca_file,
                    public_key, signature_url, ..
                } = self;
                Fetch {
                    url: url.as_ref(),
                    catalogue: catalogue.as_ref(),
                    refresh: refresh.as_ref(),
                    insecure,
                    private,
                    texts: [user, password_file, header, header_file, ca_file, public_key, signature_url],
                }
            }
        }
    };
}

/// The keys of what is fetched.
pub(crate) struct Fetch<'a> {
    pub(crate) url: Option<&'a Located<String>>,
    pub(crate) catalogue: Option<&'a Located<String>>,
    pub(crate) refresh: Option<&'a Located<String>>,
    pub(crate) insecure: &'a Located<bool>,
    pub(crate) private: &'a Located<bool>,
    /// In the order of [`Fetch::TEXTS`].
    pub(crate) texts: [&'a Located<String>; 7],
}

impl Fetch<'_> {
    /// Keys that are text, by place.
    pub(crate) const TEXTS: [&'static str; 7] =
        ["user", "password_file", "header", "header_file", "ca_file", "public_key", "signature_url"];
}

fetched! { url_is_shown = false;
/// A list of names or addresses: a file, or fetched from a `url`, or one of the `catalogue`.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListDraft {
    /// Its name in events, in `secctl why`, and in rules (`list:NAME`).
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["phishing"]))]
    pub(crate) name: Located<String>,
    /// A file of your own. Either this or `url` or `catalogue`.
    #[schemars(length(min = 1), extend("x-shown" = true, "examples" = ["/var/lib/secd/lists/phishing.txt"]))]
    pub(crate) path: Option<Located<String>>,
    /// What it lists: `domains` for the resolver, `addresses` for the packet path. A list of the catalogue knows.
    #[schemars(extend("x-shown" = true, "examples" = ["domains"]))]
    pub(crate) kind: Option<Located<ListKind>>,
    /// How it is written: `auto` (hosts, one name a line, `||name^`, one address or CIDR a line, address and score),
    /// `plain`, `score`, `csv:COLUMN`, `csv:COLUMN:SCORE` (by number from 1 or by name), `json:FIELD`,
    /// `json:FIELD:SCORE`. Left out: `auto`, or what the catalogue says.
    #[schemars(length(min = 1), extend("examples" = ["csv:2"]))]
    pub(crate) format: Option<Located<String>>,
    /// Of an address list with a score column: only entries with at least this score.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(crate) min_score: Located<u32>,
    /// Which way an address list holds: `in` stops what the addresses start, `out` what is started towards them,
    /// `both` both. Left out: `in`, or what the catalogue says.
    #[schemars(extend("examples" = ["both"]))]
    pub(crate) direction: Option<Located<Direction>>,
    /// The list blocks. With `false` only rules that say `list:NAME` look at it.
    pub(crate) block: Located<Blocks>,
    /// A list of names whose entries are exceptions: what it names is not blocked by other lists. `dns.deny` and the
    /// `deny` of groups go before it.
    pub(crate) allow: Located<bool>,
    /// Mode of this list.
    pub(crate) mode: Mode,
    /// Groups that a list of names holds for (`[dns.groups]`). Left out: `default`.
    #[schemars(length(min = 1), extend("examples" = [["default", "kids"]]))]
    pub(crate) groups: Option<Vec<Located<String>>>,
}
}

/// Whether a list blocks by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Blocks(pub(crate) bool);

impl Default for Blocks {
    fn default() -> Self {
        Self(true)
    }
}

fetched! { url_is_shown = false;
/// The GeoIP database (MMDB) of countries, or of both.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GeoipDraft {
    /// The file. Either this or `url` or `catalogue`; with none of them rules cannot name countries.
    #[schemars(length(min = 1), extend("examples" = ["/var/lib/secd/geoip.mmdb"]))]
    pub(crate) path: Option<Located<String>>,
    /// The database of autonomous systems, where it is another one.
    pub(crate) systems: GeoipSystemsDraft,
}
}

fetched! { url_is_shown = false;
/// The GeoIP database (MMDB) of autonomous systems.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GeoipSystemsDraft {
    /// The file. Either this or `url` or `catalogue`.
    #[schemars(length(min = 1), extend("examples" = ["/var/lib/secd/geoip-asn.mmdb"]))]
    pub(crate) path: Option<Located<String>>,
}
}

fetched! { url_is_shown = true;
/// A set of signatures that is fetched.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RuleSourceDraft {
    /// Its name in events.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = ["etopen"]))]
    pub(crate) name: Located<String>,
    /// Mode of its signatures.
    pub(crate) mode: Mode,
}
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

/// Signatures.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SignaturesDraft {
    /// Files of Suricata rules. A rule that is not supported is skipped, counted and named by its sid.
    #[schemars(extend("examples" = [["/etc/secd/rules/local.rules"]]))]
    pub(crate) files: Vec<Located<String>>,
    /// Sets of rules that are fetched.
    pub(crate) sources: Vec<Located<RuleSourceDraft>>,
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

/// Pi-hole's REST API.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PiholeApiDraft {
    /// Addresses and ports to answer on; without a port on 8080. Empty: nowhere.
    #[schemars(extend("examples" = [["10.1.0.1:8080"]]))]
    pub(crate) listen: Vec<Located<String>>,
    /// File with the passwords, readable by secd, one a line: the first is one's own, the others are of apps, so that
    /// each can be taken back alone. Needed where it answers.
    #[schemars(extend("examples" = ["/etc/secd/pihole.password"]))]
    pub(crate) password_file: Located<String>,
    /// Zones whose hosts may connect. Left out: `management`.
    #[schemars(length(min = 1), extend("examples" = [["management", "home"]]))]
    pub(crate) zones: Option<Located<Vec<Located<String>>>>,
}

/// CrowdSec's local API.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LapiDraft {
    /// Addresses and ports to answer on; without a port on 8080. Empty: nowhere.
    #[schemars(extend("examples" = [["10.1.0.1:8080"]]))]
    pub(crate) listen: Vec<Located<String>>,
    /// Zones whose hosts may connect. Left out: `management`.
    #[schemars(length(min = 1), extend("examples" = [["management", "dmz"]]))]
    pub(crate) zones: Option<Located<Vec<Located<String>>>>,
    /// Reverse proxies that ask `/v1/authz`: what these say of their clients (`X-Forwarded-For`, `X-Real-Ip`) is
    /// believed, and they cannot be banned themselves.
    #[schemars(extend("examples" = [["10.2.0.5"]]))]
    pub(crate) trusted_proxies: Vec<Located<String>>,
    /// How long a ban lasts that an agent's alert leads to without naming one.
    #[schemars(extend("examples" = ["4h"]))]
    pub(crate) ban: Located<String>,
}

impl Default for LapiDraft {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            zones: None,
            trusted_proxies: Vec::new(),
            ban: Located::from("4h".to_owned()),
        }
    }
}
