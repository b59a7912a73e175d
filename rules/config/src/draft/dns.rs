//! The keys of `[dns]`: the resolver, whom it serves and how, and what it knows by itself.

use lists::DEFAULT_GROUP;
use model::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::located::{Entries, Located};

/// Texts of a default.
fn texts<const N: usize>(texts: [&str; N]) -> Vec<Located<String>> {
    texts.map(text).into()
}

/// A text of a default.
fn text(text: &str) -> Located<String> {
    Located::from(text.to_owned())
}

/// The DNS resolver.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsDraft {
    /// Own addresses to answer on, UDP and TCP; port 53 where none is written. Empty: no resolver.
    #[schemars(extend("examples" = [["10.1.0.1:53", "[fd00:1::1]:53"]]))]
    pub(crate) listen: Vec<Located<String>>,
    /// Own addresses to answer on by TLS (RFC 7858); port 853 where none is written. A rule has to let devices reach
    /// them, as for `listen`: `services = ["dot"]`.
    #[schemars(extend("examples" = [["10.1.0.1:853"]]))]
    pub(crate) listen_tls: Vec<Located<String>>,
    /// Own addresses to answer on by HTTPS at `/dns-query` (RFC 8484); port 443 where none is written. A rule has to
    /// let devices reach them: `services = ["tcp/8443"]`.
    #[schemars(extend("examples" = [["10.1.0.1:8443"]]))]
    pub(crate) listen_https: Vec<Located<String>>,
    /// The resolver's own name, which its certificate has and which devices are told that look for encrypted DNS
    /// (RFC 9462).
    pub(crate) name: Located<String>,
    /// Certificate of the resolver, PEM, with those above it; read again when it changes. Left out: one that signs
    /// itself is made, kept in the state folder (`dns-certificate.pem`), and made anew before it ends.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/dns.pem"]))]
    pub(crate) certificate: Option<Located<String>>,
    /// Key of the certificate, PEM, readable by secd.
    #[schemars(length(min = 1), extend("examples" = ["/etc/secd/dns.key"]))]
    pub(crate) key: Option<Located<String>>,
    /// Servers to ask, in this order of preference: an address (port 53 where none is written),
    /// `tls://NAME`, `tls://ADDRESS#NAME`, `https://NAME/dns-query`.
    #[schemars(extend("examples" = [["tls://9.9.9.9#dns.quad9.net", "https://dns.quad9.net/dns-query", "9.9.9.9"]]))]
    pub(crate) upstreams: Vec<Located<String>>,
    /// Which upstream is asked: `ordered` the first that is well, `fastest` the one that answered soonest of late,
    /// `parallel` two at once.
    pub(crate) upstream_order: UpstreamOrder,
    /// Plain servers that are asked for the addresses of upstreams that are written by name alone.
    pub(crate) bootstrap: Vec<Located<String>>,
    /// Validate answers (DNSSEC): what does not prove to be true is refused, and the answer says why.
    pub(crate) dnssec: bool,
    /// Names below which answers are not validated, because their owner broke their signatures.
    #[schemars(extend("examples" = [["broken.example"]]))]
    pub(crate) negative_trust_anchors: Vec<Located<String>>,
    /// Mix upper and lower case in questions to upstreams, so that an answer is harder to forge. Some servers answer
    /// wrongly then.
    pub(crate) case_randomisation: bool,
    /// Names that are never blocked, for anybody, whatever lists, groups and bans say: a name means everything below
    /// it as well, `|name^` the name alone, `/…/` is a regular expression.
    #[schemars(extend("examples" = [["good.example"]]))]
    pub(crate) allow: Vec<Located<String>>,
    /// Names that are blocked for everybody, written as in `allow`.
    #[schemars(extend("examples" = [["ads.example", "||tracker.example^", "/^ad[0-9]+[.]/"]]))]
    pub(crate) deny: Vec<Located<String>>,
    /// Mode of the resolver: with `observe` a listed name is resolved all the same, and the event says so.
    pub(crate) mode: Mode,
    /// How a blocked name is answered: `null` (`0.0.0.0` and `::`), `nxdomain`, `nodata`, `refused`, or an address of
    /// your own for each family.
    #[schemars(length(min = 1), extend("examples" = ["192.0.2.1,2001:db8::1"]))]
    pub(crate) blocking: Located<String>,
    /// How long a client may keep the answer that a name is blocked, up to a day.
    pub(crate) block_ttl: Located<String>,
    /// Services that are blocked (`secctl dns services`), for whoever is in the group `default`.
    #[schemars(extend("examples" = [["tiktok"]]))]
    pub(crate) services: Vec<Located<String>>,
    /// Search engines and video sites are asked for their safe versions, for whoever is in the group `default`.
    pub(crate) safe_search: bool,
    /// Refuse answers from outside that name private addresses: a web page could reach devices by them.
    pub(crate) rebind_protection: bool,
    /// Names that may have private addresses, with everything below them.
    pub(crate) rebind_allow: Vec<Located<String>>,
    /// Questions of one client (of IPv6 one /64) that are answered.
    pub(crate) rate: Located<String>,
    /// Answers kept in the cache, 0 to 1000000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(crate) cache_entries: u32,
    /// Answers are kept at least so long, up to `1h`, whatever they say.
    pub(crate) min_ttl: Located<String>,
    /// Answers are kept so long at most, up to `7d`.
    pub(crate) max_ttl: Located<String>,
    /// That there is no such name, or no such data, is kept so long at most, up to `1d`.
    pub(crate) negative_ttl: Located<String>,
    /// Answers that have expired so long ago are given while no upstream answers (RFC 8767), up to `7d`. `0s`: never.
    pub(crate) serve_stale: Located<String>,
    /// Ask again for names that are asked often before they expire.
    pub(crate) prefetch: bool,
    /// Names that other servers know: those of a company, reverse names of a network.
    pub(crate) forwards: Vec<Located<DnsForwardDraft>>,
    /// Groups: lists, services and names that hold for some clients, or at some times. Everything and everyone is in
    /// `default` that names no group.
    #[schemars(extend("x-entry" = "kids"))]
    pub(crate) groups: Entries<DnsGroupDraft>,
    /// Clients with a name and groups of their own. Everybody else is in `default`.
    #[schemars(extend("x-entry" = "tablet"))]
    pub(crate) clients: Entries<DnsClientDraft>,
    /// Names of your own: addresses, or `A`, `AAAA`, `CNAME`, `PTR`, `SRV`, `TXT` and a value. `*.name` is every name
    /// below.
    #[schemars(extend("examples" = [{
        "jellyfin.home.arpa": ["10.2.0.5"],
        "*.apps.home.arpa": ["CNAME jellyfin.home.arpa"],
        "_http._tcp.home.arpa": ["SRV 0 5 8096 jellyfin.home.arpa"]
    }]))]
    pub(crate) records: Entries<Vec<Located<String>>>,
    /// Names of devices.
    pub(crate) local: LocalDraft,
    /// The log of questions, for `secctl dns queries`, `top` and `stats`.
    pub(crate) log: QueryLogDraft,
    /// Services that zones find in each other: mDNS is reflected. Using what was found is for rules to allow.
    pub(crate) reflect: Vec<Located<ReflectDraft>>,
}

impl Default for DnsDraft {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            listen_tls: Vec::new(),
            listen_https: Vec::new(),
            name: text("dns.home.arpa"),
            certificate: None,
            key: None,
            upstreams: texts(["9.9.9.9:53", "149.112.112.112:53"]),
            upstream_order: UpstreamOrder::Ordered,
            bootstrap: texts(["9.9.9.9", "149.112.112.112"]),
            dnssec: true,
            negative_trust_anchors: Vec::new(),
            case_randomisation: false,
            allow: Vec::new(),
            deny: Vec::new(),
            mode: Mode::Enforce,
            blocking: text("null"),
            block_ttl: text("10s"),
            services: Vec::new(),
            safe_search: false,
            rebind_protection: true,
            rebind_allow: texts(["plex.direct"]),
            rate: text("200/second burst 600"),
            cache_entries: 20_000,
            min_ttl: text("0s"),
            max_ttl: text("1d"),
            negative_ttl: text("1h"),
            serve_stale: text("1d"),
            prefetch: true,
            forwards: Vec::new(),
            groups: Entries::default(),
            clients: Entries::default(),
            records: Entries::default(),
            local: LocalDraft::default(),
            log: QueryLogDraft::default(),
            reflect: Vec::new(),
        }
    }
}

/// Which upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamOrder {
    /// The first that is well.
    #[default]
    Ordered,
    /// The one that answered soonest of late.
    Fastest,
    /// Two at once.
    Parallel,
}

/// Names that another server knows.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsForwardDraft {
    /// The names, with everything below them; of several that fit the longest holds.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["corp.example", "10.in-addr.arpa"]]))]
    pub(crate) names: Located<Vec<Located<String>>>,
    /// The servers that know them, in this order of preference, written as in `upstreams`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["10.1.0.5"]]))]
    pub(crate) to: Located<Vec<Located<String>>>,
}

/// What holds for some clients.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsGroupDraft {
    /// For people.
    #[schemars(length(max = 200))]
    pub(crate) comment: String,
    /// Names that are blocked, written as in `dns.allow`.
    #[schemars(extend("examples" = [["games.example"]]))]
    pub(crate) deny: Vec<Located<String>>,
    /// Names that are not blocked by any list or group.
    #[schemars(extend("examples" = [["school.example"]]))]
    pub(crate) allow: Vec<Located<String>>,
    /// Services that are blocked (`secctl dns services`).
    #[schemars(extend("examples" = [["youtube", "tiktok"]]))]
    pub(crate) services: Vec<Located<String>>,
    /// Search engines and video sites are asked for their safe versions.
    pub(crate) safe_search: bool,
    /// How a blocked name is answered. Left out: as `dns.blocking` says. Of several groups that block, the last in the
    /// file decides.
    #[schemars(length(min = 1), extend("examples" = ["nxdomain"]))]
    pub(crate) blocking: Option<Located<String>>,
    /// The group holds only then: the name of a schedule. Left out: always.
    #[schemars(length(min = 1), extend("examples" = ["evenings"]))]
    pub(crate) schedule: Option<Located<String>>,
    /// Mode of the group.
    pub(crate) mode: Mode,
}

/// A client with groups of its own.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DnsClientDraft {
    /// Who it is: addresses, networks, MAC addresses, `host:NAME` by its lease, `zone:NAME`. What is most specific
    /// holds: address, MAC address, host name, network, zone.
    #[schemars(
        length(min = 1),
        extend("x-required" = true, "examples" = [["10.4.0.9", "aa:bb:cc:dd:ee:01"]])
    )]
    pub(crate) who: Located<Vec<Located<String>>>,
    /// Its groups, and no others.
    #[schemars(length(min = 1), extend("examples" = [["default", "kids"]]))]
    pub(crate) groups: Vec<Located<String>>,
    /// For people.
    #[schemars(length(max = 200))]
    pub(crate) comment: String,
}

impl Default for DnsClientDraft {
    fn default() -> Self {
        Self { who: Located::default(), groups: texts([DEFAULT_GROUP]), comment: String::new() }
    }
}

/// Names of devices.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LocalDraft {
    /// The domain of your network: a device `nas` is `nas.DOMAIN`, and nothing below it is asked outside.
    #[schemars(length(min = 1))]
    pub(crate) domain: Located<String>,
    /// Where leases are read: `kea:FILE`, `dnsmasq:FILE`, `networkd` (of version 256 on). A device then has its name below
    /// `domain` and alone, and its address has it in reverse.
    #[schemars(extend("examples" = [[
        "kea:/var/lib/kea/kea-leases4.csv", "dnsmasq:/var/lib/misc/dnsmasq.leases", "networkd"
    ]]))]
    pub(crate) leases: Vec<Located<String>>,
}

impl Default for LocalDraft {
    fn default() -> Self {
        Self { domain: text("home.arpa"), leases: Vec::new() }
    }
}

/// The log of questions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QueryLogDraft {
    /// Days that questions are kept, 0 to 3650; their sums by hour and client, and the names that led each day, stay
    /// for ten years. `0`: nothing is kept, and what was kept is removed.
    #[schemars(range(min = 0, max = 3650))]
    pub(crate) days: Located<u32>,
    /// Room that they may take, `1MB` to `1TB`; the oldest go first. A million questions take about 35 MB.
    #[schemars(length(min = 1))]
    pub(crate) size: Located<String>,
}

impl Default for QueryLogDraft {
    fn default() -> Self {
        Self { days: Located::from(91), size: text("256MB") }
    }
}

/// Services that zones find in each other.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ReflectDraft {
    /// The zones, two or more. Empty: all inner zones.
    #[schemars(extend("x-plain" = true, "examples" = [["management", "iot"]]))]
    pub(crate) zones: Vec<Located<String>>,
    /// The services, by type (`_googlecast._tcp`) or by set: `cast`, `airplay`, `homekit`, `printers`, `matter`.
    #[schemars(length(min = 1), extend("x-required" = true, "examples" = [["cast", "airplay", "_ssh._tcp"]]))]
    pub(crate) services: Located<Vec<Located<String>>>,
    /// SSDP (UPnP) as well: devices found by it are not told apart by service. Answers come back to UDP port 61900 of the
    /// router.
    pub(crate) ssdp: bool,
}

/// What of the questions of a zone is told and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Everything.
    #[default]
    Full,
    /// Who asked, and not for what.
    NoNames,
    /// What was asked, and not by whom.
    NoClients,
    /// Only that something was asked.
    None,
}

/// Where a zone may open connections to, by what the resolver answered it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Egress {
    /// Wherever rules allow.
    #[default]
    Any,
    /// Only to addresses that the resolver answered the zone, and to those that a rule names.
    Resolved,
    /// As `resolved`, told and not dropped.
    ResolvedLearn,
}

/// What becomes of questions to other resolvers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DnsOthers {
    /// As rules say.
    #[default]
    Allow,
    /// Plain DNS is answered by this resolver instead.
    Redirect,
    /// Dropped, plain or encrypted.
    Drop,
}
