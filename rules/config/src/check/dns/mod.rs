//! `[dns]`: where the resolver answers, whom it asks, and what it is bound to.

mod groups;
mod lapi;
mod local;
mod pihole;
mod records;
mod reflect;
mod relying;
mod upstreams;

pub(super) use lapi::lapi;
pub(super) use pihole::pihole_api;
pub(super) use relying::other_resolvers;

use lists::GroupSet;
use model::{Name, duration_text};
use policy::{Schedule, Zone};
use std::{net::SocketAddr, time::Duration};

use super::{net, outputs, times};
use crate::{
    ConfigError,
    checked::{Certificate, Dns, DnsZone},
    draft::{DnsDraft, ZoneDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Addresses to answer on, and upstreams; a config with more is refused.
const MOST_SOCKETS: usize = 64;
/// Names of a list of names; a config with more is refused.
const MOST_NAMES: usize = 10_000;
/// The port of DNS (RFC 1035 §4.2), of DNS over TLS (RFC 7858 §3.1) and of HTTPS.
const PORT: u16 = 53;
const PORT_TLS: u16 = 853;
const PORT_HTTPS: u16 = 443;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// What other sections say that the resolver's part names.
pub(super) struct Others<'a> {
    pub(super) zones: &'a [Zone],
    pub(super) zone_drafts: &'a [(Located<String>, ZoneDraft)],
    pub(super) schedules: &'a [Schedule],
}

pub(super) fn check(
    draft: &DnsDraft,
    others: &Others<'_>,
    report: &mut Report<'_>,
    warnings: &mut Vec<ConfigError>,
) -> Dns {
    let listen = sockets("listen", &draft.listen, PORT, report);
    let listen_tls = sockets("listen_tls", &draft.listen_tls, PORT_TLS, report);
    let listen_https = sockets("listen_https", &draft.listen_https, PORT_HTTPS, report);
    for door in [&listen, &listen_tls, &listen_https] {
        inside(door, "the resolver", others.zones, report);
    }
    let by_tls = listen_tls.iter().map(|door| (door, &listen[..0]));
    for ((text, socket), tls) in by_tls.chain(listen_https.iter().map(|door| (door, &listen_tls[..]))) {
        if tls.iter().chain(&listen).any(|(_, other)| other == socket) {
            report.add(
                text.at,
                format!("{} stands in another list of addresses already", quoted(text)),
                "give each way to ask a port of its own",
            );
        }
    }
    let [listen, listen_tls, listen_https] = [listen, listen_tls, listen_https]
        .map(|door| door.into_iter().map(|(_, socket)| socket).collect::<Vec<_>>());
    let upstreams = upstreams::list("upstreams", &draft.upstreams, &listen, report);
    let bootstrap = upstreams::plain("bootstrap", &draft.bootstrap, &listen, report);
    if let Some(first) = draft.listen.iter().chain(&draft.listen_tls).chain(&draft.listen_https).next()
        && draft.upstreams.is_empty()
        && !report.is_misfit("dns.upstreams")
    {
        report.add(
            first.at,
            "the resolver has nobody to ask",
            "add for example `upstreams = [\"9.9.9.9:53\"]`",
        );
    }
    let forwards = upstreams::forwards(&draft.forwards, &listen, report);
    let unaddressed = upstreams.iter().chain(forwards.iter().flat_map(|forward| &forward.to));
    if let Some(upstream) = unaddressed.into_iter().find(|upstream| upstream.address.is_none())
        && draft.bootstrap.is_empty()
        && !report.is_misfit("dns.bootstrap")
    {
        let texts =
            draft.upstreams.iter().chain(draft.forwards.iter().flat_map(|forward| &*forward.to.value));
        let at = texts.into_iter().find(|text| text.value == upstream.text).map_or(0, |text| text.at);
        report.add(
            at,
            format!("{} has no address, and there is nobody to ask for it", quoted(&upstream.text)),
            "add `bootstrap = [\"9.9.9.9\"]`, or write the address: `tls://9.9.9.9#dns.quad9.net`",
        );
    }
    relying::check(draft, others, report);
    let (min_ttl, max_ttl) = ttls(draft, report);
    let groups = groups::groups(draft, others.schedules, report);
    let names = group_names(&draft.groups.0);
    Dns {
        upstreams,
        bootstrap,
        forwards,
        name: own_name("name", &draft.name, report),
        certificate: certificate(draft, report),
        upstream_order: draft.upstream_order,
        dnssec: draft.dnssec,
        negative_trust_anchors: plain_names("negative_trust_anchors", &draft.negative_trust_anchors, report),
        case_randomisation: draft.case_randomisation,
        allow: groups::entries("allow", &draft.allow, report),
        deny: groups::entries("deny", &draft.deny, report),
        mode: draft.mode,
        block_ttl: duration("block_ttl", &draft.block_ttl, (Duration::ZERO, DAY), report),
        rebind_protection: draft.rebind_protection,
        rebind_allow: plain_names("rebind_allow", &draft.rebind_allow, report),
        rate: times::rate("rate", &draft.rate, report)
            .unwrap_or_else(|| policy::Rate::new(200, 1_000_000_000, 600)),
        cache_entries: draft.cache_entries as usize,
        min_ttl,
        max_ttl,
        negative_ttl: duration("negative_ttl", &draft.negative_ttl, (Duration::ZERO, DAY), report),
        serve_stale: duration("serve_stale", &draft.serve_stale, (Duration::ZERO, WEEK), report),
        prefetch: draft.prefetch,
        clients: groups::clients(&draft.clients.0, &names, others.zones, report),
        records: records::check(&draft.records.0, report, warnings),
        local: local::names(&draft.local, report, warnings),
        log: local::log(&draft.log, report),
        reflect: reflect::reflect(&draft.reflect, others.zones, report),
        zones: others
            .zone_drafts
            .iter()
            .zip(others.zones)
            .map(|((_, draft), zone)| dns_zone(draft, zone))
            .collect(),
        groups,
        listen,
        listen_tls,
        listen_https,
    }
}

pub(super) use reflect::rules as reflect_rules;

/// Names of groups by place: `default`, then as in the file.
pub(super) fn group_names<T>(drafts: &[(Located<String>, T)]) -> Vec<&str> {
    groups::names(drafts)
}

/// The groups that a list of names names.
pub(super) fn groups_of(texts: &[Located<String>], names: &[&str], report: &mut Report<'_>) -> GroupSet {
    groups::named("groups", texts, names, report)
}

fn dns_zone(draft: &ZoneDraft, zone: &Zone) -> DnsZone {
    DnsZone { id: zone.id, name: zone.name.clone(), privacy: draft.dns_privacy }
}

fn ttls(draft: &DnsDraft, report: &mut Report<'_>) -> (Duration, Duration) {
    let min = duration("min_ttl", &draft.min_ttl, (Duration::ZERO, HOUR), report);
    let max = duration("max_ttl", &draft.max_ttl, (MINUTE, WEEK), report);
    if min > max {
        report.add(
            draft.min_ttl.at.max(draft.max_ttl.at),
            format!("`min_ttl` is {}, more than `max_ttl`", duration_text(min)),
            "write a `max_ttl` that is longer",
        );
    }
    (min, max)
}

fn certificate(draft: &DnsDraft, report: &mut Report<'_>) -> Option<Certificate> {
    match (&draft.certificate, &draft.key) {
        (Some(chain), Some(key)) => {
            let chain = outputs::path("certificate", chain, report);
            let key = outputs::path("key", key, report);
            Some(Certificate { chain: chain?, key: key? })
        }
        (None, None) => None,
        (Some(alone), None) if !report.is_misfit("dns.key") => {
            report.add(alone.at, "`certificate` without `key`", "add `key = \"/etc/secd/dns.key\"`");
            None
        }
        (None, Some(alone)) if !report.is_misfit("dns.certificate") => {
            report.add(alone.at, "`key` without `certificate`", "add `certificate = \"/etc/secd/dns.pem\"`");
            None
        }
        (Some(_), None) | (None, Some(_)) => None,
    }
}

/// Who answers on an address outside of every zone answers the Internet.
fn inside(door: &[(&Located<String>, SocketAddr)], who: &str, zones: &[Zone], report: &mut Report<'_>) {
    for (text, own) in door {
        let outside = zones.iter().any(|zone| !zone.networks.is_empty())
            && !own.ip().is_loopback()
            && !own.ip().is_unspecified()
            && zones.iter().all(|zone| !zone.networks.iter().any(|net| net.contains(&own.ip())));
        if outside {
            report.add(
                text.at,
                format!("{} is in no network of a zone: {who} would answer the Internet", quoted(text)),
                "write an address that the router has in one of the zones",
            );
        }
    }
}

/// Addresses with ports, each with where it stands.
fn sockets<'t>(
    key: &str,
    texts: &'t [Located<String>],
    port: u16,
    report: &mut Report<'_>,
) -> Vec<(&'t Located<String>, SocketAddr)> {
    at_most(key, "addresses", texts, MOST_SOCKETS, "", report);
    let mut sockets: Vec<(&Located<String>, SocketAddr)> = Vec::new();
    for text in texts.iter().take(MOST_SOCKETS) {
        let Some(socket) = net::socket(key, text, Some(port), report) else { continue };
        if sockets.iter().any(|(_, other)| *other == socket) {
            twice(key, text, report);
        }
        sockets.push((text, socket));
    }
    sockets
}

/// Tells of the first of too many.
fn at_most(
    key: &str,
    what: &str,
    texts: &[Located<String>],
    most: usize,
    instead: &str,
    report: &mut Report<'_>,
) {
    if let Some(first_over) = texts.get(most) {
        report.add(
            first_over.at,
            format!("`{key}` has {} {what}", texts.len()),
            format!("write at most {most}{instead}"),
        );
    }
}

fn twice(key: &str, text: &Located<String>, report: &mut Report<'_>) {
    report.add(text.at, format!("{} stands twice in `{key}`", quoted(text)), "remove one of the two");
}

/// Names each of which means everything below it as well.
fn plain_names(key: &str, texts: &[Located<String>], report: &mut Report<'_>) -> Vec<Name> {
    at_most(key, "names", texts, MOST_NAMES, "", report);
    let mut names = Vec::new();
    for text in texts.iter().take(MOST_NAMES) {
        let Some(name) = name(key, text, report) else { continue };
        if names.contains(&name) {
            twice(key, text, report);
        }
        names.push(name);
    }
    names
}

/// A name that the resolver cannot do without.
fn own_name(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Name {
    let stand_in = || match "home.arpa".parse() {
        Ok(name) => name,
        Err(_) => unreachable!("home.arpa is a name"),
    };
    name(key, text, report).unwrap_or_else(stand_in)
}

fn name(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<Name> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let bare = text
                .trim_start_matches("@@")
                .trim_start_matches("||")
                .trim_start_matches("*.")
                .trim_end_matches('^');
            let help = match bare.parse::<Name>() {
                Ok(name) if bare != text.as_str() => {
                    format!("write `{name}`: everything below it is meant as well")
                }
                _ => match text.parse::<ipnet::IpNet>().ok().and_then(reverse) {
                    Some(reverse) => format!("write the reverse name of the network: `{reverse}`"),
                    None => "write a name, for example `good.example`".to_owned(),
                },
            };
            report.add(text.at, format!("{} in `{key}` is no domain name: {error}", quoted(text)), help);
            None
        }
    }
}

/// The reverse name of a network that ends at a label (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(net: ipnet::IpNet) -> Option<String> {
    let (labels, bits, suffix): (Vec<String>, u8, &str) = match net {
        ipnet::IpNet::V4(net) => {
            (net.network().octets().map(|byte| byte.to_string()).into(), 8, "in-addr.arpa")
        }
        ipnet::IpNet::V6(net) => {
            let digits = net.network().octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            (digits.map(|digit| format!("{digit:x}")).collect(), 4, "ip6.arpa")
        }
    };
    let count = usize::from(net.prefix_len() / bits);
    (net.prefix_len().is_multiple_of(bits) && count > 0).then(|| {
        let mut name: Vec<&str> = labels.iter().take(count).rev().map(String::as_str).collect();
        name.push(suffix);
        name.join(".")
    })
}

/// A duration from `least` to `most`.
pub(in crate::check) fn duration(
    key: &str,
    text: &Located<String>,
    (least, most): (Duration, Duration),
    report: &mut Report<'_>,
) -> Duration {
    let shown = |duration: Duration| {
        if duration.is_zero() { "0s".to_owned() } else { duration_text(duration) }
    };
    match model::parse_duration(text) {
        Ok(duration) if (least..=most).contains(&duration) => return duration,
        Ok(_) => report.add(
            text.at,
            format!("{} in `{key}` is too short or too long", quoted(text)),
            format!("write `{}` to `{}`", shown(least), shown(most)),
        ),
        Err(_) => report.add(
            text.at,
            format!("{} in `{key}` is no duration", quoted(text)),
            "write for example `10s`, `30m` or `1d`",
        ),
    }
    least
}

/// The number of a zone inside that answers may go to.
fn inner_zone<'z>(
    text: &Located<String>,
    name: &str,
    zones: &'z [Zone],
    report: &mut Report<'_>,
) -> Option<&'z Zone> {
    match zones.iter().find(|zone| zone.name == name) {
        Some(zone) if zone.wan => {
            report.add(
                text.at,
                format!("{} is the outside, which the resolver does not serve", quoted(text)),
                "write an inner zone",
            );
            None
        }
        Some(zone) => Some(zone),
        None => {
            let known = || zones.iter().filter(|zone| !zone.wan).map(|zone| zone.name.as_str());
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean `{}`?", text.replace(name, near)),
                None => "define it as `[zones.NAME]`".to_owned(),
            };
            report.add(text.at, format!("there is no zone {}", quoted(name)), help);
            None
        }
    }
}
