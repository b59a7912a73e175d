//! AdGuard Home: `AdGuardHome.yaml`, in the layouts of its schema versions up to 34. Settings that moved are looked for
//! in all their places; rules of one's own are in the language of our lists already.

mod clients;
mod services;
mod upstreams;
mod week;

use lists::{Blocking, DEFAULT_GROUP};
use model::Name;
use std::{collections::BTreeMap, net::IpAddr};

use crate::{
    Import, ImportError,
    limits::MAX_LISTS,
    names::{Names, comment, of_url, shown},
    own::Own,
    pihole::unfetchable,
    report::{Report, several},
    settings::{Settings, Subscription},
    yaml::{Node, Value},
};

/// The newest schema that is known.
const NEWEST: i64 = 34;
/// Bytes of the cache that one answer takes, more or less.
const BYTES_OF_AN_ANSWER: u64 = 200;
/// The group of clients for whom lists hold but not what `default` blocks besides.
const FILTERED: &str = "filtered";

/// Where a setting may stand, its values that say nothing, what it is, why it is left, and what to do.
type Unlike = (&'static [&'static str], &'static [&'static str], &'static str, &'static str, &'static str);

/// Settings that have no counterpart.
const LEFT: [Unlike; 14] = [
    (
        &["filtering.safebrowsing_enabled", "dns.safebrowsing_enabled"],
        &["false"],
        "safe browsing",
        "it asks a service of AdGuard about every name",
        "subscribe to a list of phishing and malware (`secctl catalogue`)",
    ),
    (
        &["filtering.parental_enabled", "dns.parental_enabled"],
        &["false"],
        "parental control",
        "it asks a service of AdGuard about every name",
        "subscribe to a list of such names for a group",
    ),
    (
        &["dns.allowed_clients"],
        &[],
        "allowed clients",
        "who may ask is said by zones and rules",
        "write rules with `services = [\"dns\"]` to `self`",
    ),
    (
        &["dns.disallowed_clients"],
        &[],
        "disallowed clients",
        "who may ask is said by zones and rules",
        "write rules with `services = [\"dns\"]` to `self`",
    ),
    (
        &["dns.bogus_nxdomain"],
        &[],
        "addresses that mean that a name is not there",
        "there is no such setting",
        "ask an upstream that does not do that",
    ),
    (
        &["dns.aaaa_disabled"],
        &["false"],
        "no IPv6 addresses",
        "there is no such setting",
        "nothing, unless the way out has no IPv6",
    ),
    (&["dns.use_dns64"], &["false"], "DNS64", "there is no such setting", "ask an upstream that does it"),
    (
        &["dns.edns_client_subnet.enabled", "dns.edns_client_subnet"],
        &["false"],
        "EDNS client subnet",
        "clients' networks are not told to upstreams",
        "nothing",
    ),
    (
        &["dns.ipset", "dns.ipset_file"],
        &[],
        "sets of addresses by name",
        "rules name domains themselves",
        "write rules with `to = [\"domain:…\"]`",
    ),
    (
        &["dns.fallback_dns"],
        &[],
        "fallback servers",
        "every upstream stands in for the others",
        "add them behind `dns.upstreams`, with `upstream_order = \"ordered\"`",
    ),
    (
        &["dns.upstream_dns_file"],
        &[],
        "upstreams in a file of their own",
        "the file is not part of AdGuardHome.yaml",
        "write them into `dns.upstreams`",
    ),
    (
        &["querylog.ignored", "statistics.ignored"],
        &[],
        "names that are not logged",
        "there is no such setting",
        "see `dns_privacy` of zones",
    ),
    (
        &["tls.enabled"],
        &["false"],
        "encrypted DNS for clients",
        "its certificate belongs to the old machine",
        "write `listen_tls`, `listen_https`, `certificate` and `key` under `[dns]`",
    ),
    (
        &["dhcp.enabled"],
        &["false"],
        "the DHCP server and its leases",
        "secd gives out no addresses",
        "set up Kea, dnsmasq or systemd-networkd; `[dns.local] leases` reads their leases",
    ),
];

/// What is being made.
#[derive(Debug)]
struct Making<'a> {
    root: &'a Node,
    settings: Settings,
    report: Report,
    /// The groups that lists hold for.
    filtered: Vec<String>,
}

/// Reads `AdGuardHome.yaml`; `file` is how errors call it.
///
/// # Errors
/// It is no YAML, no config of AdGuard Home, of a newer schema, or beyond the limits.
pub fn adguard(file: &str, bytes: &[u8]) -> Result<Import, ImportError> {
    let root = crate::yaml::read(file, bytes)?;
    let version = root.at("schema_version");
    if !matches!(root.at("dns").value, Value::Map(_)) {
        let help = "give AdGuardHome.yaml; it is in the folder that AdGuard Home runs in";
        return Err(ImportError::new(file, "no config of AdGuard Home: there is no `dns` in it", help));
    }
    if let Some(number) = version.number().filter(|number| *number > NEWEST) {
        return Err(ImportError::at(
            file,
            version.line,
            format!("schema_version {number}; up to {NEWEST} is known"),
            "update secd",
        ));
    }
    let mut making = Making {
        root: &root,
        settings: Settings { program: "adguard", ..Settings::default() },
        report: Report::new(match version.number() {
            Some(number) => format!("AdGuard Home, schema_version {number}"),
            None => "AdGuard Home".to_owned(),
        }),
        filtered: vec![DEFAULT_GROUP.to_owned()],
    };
    making.answers();
    making.upstreams();
    making.rewrites();
    let renamed = making.clients();
    let mut names = Names::default();
    making.own_rules(&renamed, &mut names);
    making.filters(&mut names);
    making.others();
    let Making { mut settings, mut report, .. } = making;
    crate::tidy::tidy(&mut settings, &mut report);
    report.leave(
        "the history of questions, users and the look of the web interface",
        "they are AdGuard Home's own",
        "keep the old machine for a while if you want to look something up",
    );
    Ok(Import { settings, report })
}

impl Making<'_> {
    /// The first of several places where a setting may stand.
    fn first(&self, places: &[&str]) -> &Node {
        places
            .iter()
            .map(|place| self.root.at(place))
            .find(|node| !node.is_nothing())
            .unwrap_or(&crate::yaml::NOTHING)
    }

    /// What is blocked by name for all.
    fn blocked_services(&self) -> &Node {
        self.first(&["filtering.blocked_services", "dns.blocked_services"])
    }

    /// How names are answered.
    fn answers(&mut self) {
        let off = |places: &[&str]| self.first(places).flag() == Some(false);
        if off(&["filtering.protection_enabled", "dns.protection_enabled"])
            || off(&["filtering.filtering_enabled", "dns.filtering_enabled"])
        {
            self.settings.observe = true;
            self.report.translate("filtering is switched off", "`mode = \"observe\"` under `[dns]`");
        }
        self.blocking();
        let number = |places: &[&str], default: u64| {
            self.first(places)
                .number()
                .and_then(|value| u64::try_from(value).ok())
                .filter(|value| *value != default)
        };
        let block_ttl = number(&["filtering.blocked_response_ttl", "dns.blocked_response_ttl"], 10);
        let min_ttl = number(&["dns.cache_ttl_min"], 0);
        let max_ttl = number(&["dns.cache_ttl_max"], 0);
        let cache = number(&["dns.cache_size"], 4 << 20);
        let rate = number(&["dns.ratelimit"], 20);
        let no_cache = self.root.at("dns.cache_enabled").flag() == Some(false);
        self.settings.block_ttl = block_ttl.map(|seconds| seconds.min(86_400));
        self.settings.min_ttl = min_ttl.map(|seconds| seconds.min(3600));
        self.settings.max_ttl = max_ttl.map(|seconds| seconds.clamp(60, 604_800));
        if no_cache {
            self.settings.cache_entries = Some(0);
        } else if let Some(bytes) = cache {
            let entries = (bytes / BYTES_OF_AN_ANSWER).min(1_000_000);
            self.report
                .translate(format!("a cache of {bytes} bytes"), format!("`cache_entries = {entries}`"));
            self.settings.cache_entries = Some(entries);
        }
        match rate {
            Some(0) => {
                self.report.translate("no rate limit", "a limit that nobody reaches");
                self.settings.rate = Some("1000000/second".to_owned());
            }
            Some(rate) => {
                let rate = rate.min(1_000_000);
                self.report.translate(
                    format!("rate limit of {rate} a second for a network"),
                    format!("`rate = \"{rate}/second burst {rate}\"` for each client"),
                );
                self.settings.rate = Some(format!("{rate}/second burst {rate}"));
            }
            None => {}
        }
        self.settings.dnssec = self.root.at("dns.enable_dnssec").flag().filter(|dnssec| *dnssec);
        self.log();
    }

    fn blocking(&mut self) {
        let mode = self
            .first(&["filtering.blocking_mode", "dns.blocking_mode"])
            .text()
            .unwrap_or("default")
            .to_owned();
        let address = |family: &str| {
            let places = [format!("filtering.blocking_{family}"), format!("dns.blocking_{family}")];
            self.first(&[&places[0], &places[1]]).text().unwrap_or_default().to_owned()
        };
        let blocking = match mode.as_str() {
            "default" | "null_ip" => return,
            "nxdomain" => Some(Blocking::NxDomain),
            "refused" => Some(Blocking::Refused),
            "custom_ip" => {
                let (v4, v6) = (address("ipv4").parse().ok(), address("ipv6").parse().ok());
                (v4.is_some() || v6.is_some()).then_some(Blocking::Address { v4, v6 })
            }
            _ => None,
        };
        match blocking {
            Some(blocking) => {
                self.report
                    .translate(format!("blocking mode {mode}"), format!("`blocking = \"{blocking}\"`"));
                self.settings.blocking = Some(blocking);
            }
            None => {
                self.report.leave(format!("blocking mode {mode}"), "it is not known", "see `dns.blocking`")
            }
        }
    }

    /// What is kept of questions.
    fn log(&mut self) {
        if self.first(&["querylog.enabled", "dns.querylog_enabled"]).flag() == Some(false) {
            self.settings.log_days = Some(0);
        } else if let Some(interval) = self.first(&["querylog.interval", "dns.querylog_interval"]).text() {
            // Days at first, a duration since schema 12.
            let hours = match interval.parse::<u64>() {
                Ok(days) => Some(days.saturating_mul(24)),
                Err(_) => week::seconds(interval).map(|seconds| seconds.div_ceil(3600)),
            };
            self.settings.log_days =
                hours.map(|hours| hours.div_ceil(24).min(3650)).filter(|days| *days != 90);
        }
        if self.first(&["dns.anonymize_client_ip"]).flag() == Some(true) {
            self.settings.privacy = Some("no-clients");
            self.report
                .translate("clients are anonymous", "`dns_privacy = \"no-clients\"` in each inner zone");
        }
    }

    /// Names with answers of one's own.
    fn rewrites(&mut self) {
        let root = self.root;
        let rewrites = [root.at("filtering.rewrites"), root.at("dns.rewrites")];
        for rewrite in rewrites.into_iter().flat_map(Node::list) {
            let (Some(domain), Some(answer)) = (rewrite.at("domain").text(), rewrite.at("answer").text())
            else {
                continue;
            };
            let what = format!("rewrite of `{domain}` to `{answer}`, line {}", rewrite.line);
            if rewrite.at("enabled").flag() == Some(false)
                || self.root.at("filtering.rewrites_enabled").flag() == Some(false)
            {
                self.report.leave(
                    what,
                    "switched off in AdGuard Home",
                    "write it under `[dns.records]` if you want it",
                );
                continue;
            }
            let bare = domain.strip_prefix("*.").unwrap_or(domain);
            if let Err(error) = bare.parse::<Name>() {
                self.report.leave(what, format!("no domain name: {error}"), "write it under `[dns.records]`");
                continue;
            }
            let answer = answer.trim_end_matches('.');
            if matches!(answer, "A" | "AAAA") || answer.eq_ignore_ascii_case(domain) {
                let why = "a name that is answered here has all of its records here";
                self.report.leave(what, why, "write its other addresses under `[dns.records]` as well");
                continue;
            }
            match (answer.parse::<IpAddr>(), answer.parse::<Name>()) {
                (Ok(address), _) => self.settings.record(domain, address.to_string()),
                (Err(_), Ok(target)) => self.settings.record(domain, format!("CNAME {target}")),
                (Err(_), Err(error)) => {
                    let why = format!("the answer is neither an address nor a name: {error}");
                    self.report.leave(what, why, "write it under `[dns.records]`");
                }
            }
        }
    }

    /// Rules of one's own, as they are; clients that have another name now are named by it.
    fn own_rules(&mut self, renamed: &BTreeMap<String, String>, names: &mut Names) {
        let mut own = Own::default();
        let mut taken = 0;
        for rule in self.root.at("user_rules").texts() {
            if rule.trim().is_empty() {
                continue;
            }
            let written = clients::rename(rule, renamed);
            if written != *rule {
                self.report.translate(format!("rule `{rule}`"), format!("`{written}`"));
            }
            // A text of YAML may have several lines.
            for line in written.lines() {
                if let Some(rules) = hosts_line(line) {
                    self.report.translate(format!("rule `{line}`"), format!("`{}`", rules.join(" ")));
                    taken += rules.len();
                    rules.iter().for_each(|rule| own.add(&self.filtered, "adblock", rule, ""));
                    continue;
                }
                own.add(&self.filtered, "adblock", line, "");
                taken += usize::from(!line.starts_with(['!', '#']));
            }
        }
        self.report.take("own rules", taken);
        self.settings.own = own.finish("adguard", names, &mut self.report);
    }

    /// Lists that are fetched.
    fn filters(&mut self, names: &mut Names) {
        let (mut off, mut over) = (Vec::new(), Vec::new());
        for (key, allows) in [("filters", false), ("whitelist_filters", true)] {
            for filter in self.root.at(key).list() {
                let Some(url) = filter.at("url").text() else { continue };
                if filter.at("enabled").flag() == Some(false) {
                    off.push(shown(url));
                    continue;
                }
                if let Some((why, help)) = unfetchable(url) {
                    self.report.leave(format!("list {}", shown(url)), why, help);
                    continue;
                }
                if self.settings.subscriptions.len() == MAX_LISTS {
                    over.push(shown(url));
                    continue;
                }
                let said = comment(filter.at("name").text().unwrap_or_default());
                let name = names.give(&said, &of_url(url));
                self.settings.subscriptions.push(Subscription {
                    name,
                    comment: said,
                    url: url.to_owned(),
                    allows,
                    groups: self.filtered.clone(),
                });
            }
        }
        if !off.is_empty() {
            self.report.leave(
                several("lists", &off),
                "switched off in AdGuard Home",
                "add those that you want as `[[lists]]`",
            );
        }
        if !over.is_empty() {
            let why = format!("there are at most {MAX_LISTS} lists");
            self.report.leave(several("lists", &over), why, "many of them hold the same names: choose");
        }
        if let Some(hours) =
            self.first(&["filtering.filters_update_interval", "dns.filters_update_interval"]).number()
            && !matches!(hours, 24)
        {
            let why = "each list is fetched once a day, or as its own `refresh` says";
            self.report.leave(
                format!("lists are fetched every {hours} hours"),
                why,
                "write `refresh` where it matters",
            );
        }
    }

    /// What has no counterpart.
    fn others(&mut self) {
        for (places, usual, what, why, help) in LEFT {
            let node = self.first(places);
            let said = match &node.value {
                Value::Null | Value::Map(_) => continue,
                Value::Text(text) if text.is_empty() || usual.contains(&text.as_str()) => continue,
                Value::List(nodes) if nodes.is_empty() => continue,
                Value::Text(_) | Value::List(_) => {
                    node.texts().iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()
                }
            };
            let what = if said == ["true"] { what.to_owned() } else { several(what, &said) };
            self.report.leave(what, why, help);
        }
        const USUAL: [&str; 3] = ["version.bind", "id.server", "hostname.bind"];
        let hosts = self.root.at("dns.blocked_hosts").texts();
        let hosts: Vec<String> =
            hosts.into_iter().filter(|host| !USUAL.contains(host)).map(str::to_owned).collect();
        if !hosts.is_empty() {
            let why = "names that nobody may ask for are rules of their own";
            self.report.leave(several("blocked hosts", &hosts), why, "write them into `dns.deny`");
        }
    }
}

/// Rules for the names of a line as in a hosts file, each for the name alone; none for a line of another kind.
fn hosts_line(line: &str) -> Option<Vec<String>> {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let rewrite = match address.is_unspecified() || address.is_loopback() {
        true => String::new(),
        false => format!("$dnsrewrite={address}"),
    };
    let rules = words
        .filter(|name| !lists::is_of_the_machine(name))
        .map(|name| Some(format!("|{}^{rewrite}", name.parse::<Name>().ok()?)));
    rules.collect::<Option<Vec<_>>>().filter(|rules| !rules.is_empty())
}
