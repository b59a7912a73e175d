//! Forwards: which ports of the outside lead where inside.

use model::Protocol;
use policy::{Forward, Service, ServiceMatch, Zone};
use std::net::IpAddr;

use super::{
    names::{Named, Names},
    rules,
};
use crate::{
    checked::{Dns, Lapi, LogInput, LogSource, PiholeApi, Transport},
    draft::ForwardDraft,
    error::{Report, listed, nearest, quoted},
    located::Located,
};

/// Forwards; a config with more is refused.
const MOST_FORWARDS: usize = 1024;
/// Names in `sources` of one forward; a config with more is refused.
const MOST_SOURCES: usize = 64;

pub(super) fn check(
    drafts: &[Located<ForwardDraft>],
    zones: &[Zone],
    names: &mut Names<'_>,
    own: &[Service],
    report: &mut Report<'_>,
) -> Vec<Forward> {
    if let Some(first_over) = drafts.get(MOST_FORWARDS) {
        report.add(
            first_over.at,
            format!("the file has {} forwards", drafts.len()),
            format!("write at most {MOST_FORWARDS}; one can name several ports and ranges"),
        );
    }
    let drafts = &drafts[..drafts.len().min(MOST_FORWARDS)];
    super::unique("forward", drafts.iter().map(|draft| &draft.name), report);
    let mut forwards: Vec<Forward> = Vec::new();
    let mut kept: Vec<&Located<ForwardDraft>> = Vec::new();
    for draft in drafts {
        if let Some(forward) = forward(draft, zones, names, own, report) {
            forwards.push(forward);
            kept.push(draft);
        }
    }
    disjoint(&forwards, &kept, zones, report);
    forwards
}

fn forward(
    draft: &Located<ForwardDraft>,
    zones: &[Zone],
    names: &mut Names<'_>,
    own: &[Service],
    report: &mut Report<'_>,
) -> Option<Forward> {
    let from = zone_from(draft, zones, report);
    let services = services(draft, own, report);
    let to = host(draft, from, zones, report);
    let sources = sources(draft, names, report);
    port_fits(draft, &services, report);
    Some(Forward {
        name: draft.name.value.clone(),
        from: from?,
        services,
        to: to?,
        port: draft.port.as_ref().map(|port| port.value),
        hairpin: draft.hairpin.unwrap_or(draft.sources.is_empty()),
        sources,
        comment: super::optional(&draft.comment),
        span: report.span(draft.at),
    })
}

fn zone_from(draft: &ForwardDraft, zones: &[Zone], report: &mut Report<'_>) -> Option<u8> {
    let name = &draft.from;
    let found = zones.iter().find(|zone| zone.name == name.value);
    let found = found.or_else(|| zones.iter().find(|zone| zone.wan && name.value == "wan"));
    // Without a zone that is the outside, that has been told; and a forward that names none means it.
    if found.is_none() && !(name.at == 0 && name.value == "wan") {
        let known = || zones.iter().map(|zone| zone.name.as_str());
        let help = match nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if zones.is_empty() => "define the zone, or leave `from` out: it is the WAN then".to_owned(),
            None => format!("write one of {}", listed(known())),
        };
        report.add(name.at, format!("there is no zone {}", quoted(name)), help);
    }
    if found.is_none() && zones.is_empty() && name.at == 0 {
        report.add(
            draft.name.at,
            "the forward has no zone that it is reached from",
            "define the zones of the router",
        );
    }
    found.map(|zone| zone.id)
}

/// The ports of the outside; TCP and UDP only.
fn services(draft: &ForwardDraft, own: &[Service], report: &mut Report<'_>) -> Vec<ServiceMatch> {
    let mut matches = Vec::new();
    for text in draft.services.iter() {
        let one = std::slice::from_ref(text);
        for service in rules::named_services("the forward", one, own, report) {
            let portless =
                |matched: &&ServiceMatch| !matches!(matched.protocol, Protocol::TCP | Protocol::UDP);
            if let Some(other) = service.matches.iter().find(portless) {
                report.add(
                    text.at,
                    format!(
                        "{} has the protocol {}, which has no ports to forward",
                        quoted(text),
                        other.protocol
                    ),
                    "name TCP and UDP ports only",
                );
                continue;
            }
            if service.matches.iter().any(|matched| matched.ports.first == 0) {
                report.add(
                    text.at,
                    format!("{} would forward every port", quoted(text)),
                    "name the ports: what the router itself needs has to stay with it",
                );
                continue;
            }
            matches.extend(service.matches);
        }
    }
    for (place, text) in draft.services.iter().enumerate() {
        if draft.services[..place].iter().any(|before| before.value == text.value) {
            rules::twice(text, "services", report);
        }
    }
    matches.sort_unstable();
    matches.dedup();
    matches
}

fn host(draft: &ForwardDraft, from: Option<u8>, zones: &[Zone], report: &mut Report<'_>) -> Option<IpAddr> {
    let text = &draft.to;
    if text.is_empty() {
        return None;
    }
    let address = match text.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address @ IpAddr::V4(_)) => address,
        Ok(IpAddr::V6(_)) => {
            report.add(
                text.at,
                format!("{} is IPv6, which needs no forward", quoted(text)),
                format!("write a rule instead: `to = [\"{}\"]`, `action = \"allow\"`", text.value),
            );
            return None;
        }
        Err(_) => {
            let help = match text.split_once(':') {
                Some((address, port)) if address.parse::<IpAddr>().is_ok() => {
                    format!("write `to = \"{address}\"` and `port = {port}`")
                }
                _ => "write the IPv4 address of one host, for example `10.2.0.5`".to_owned(),
            };
            report.add(text.at, format!("{} in `to` is no address", quoted(text)), help);
            return None;
        }
    };
    let nets = |zone: &&Zone| zone.networks.iter().chain(&zone.routes).any(|net| net.contains(&address));
    let inner = zones.iter().any(|zone| !zone.networks.is_empty());
    match zones.iter().find(nets) {
        None if inner => {
            report.add(
                text.at,
                format!("{} is in no network of a zone", quoted(text)),
                "write the address of a host inside, or add its network to its zone",
            );
            None
        }
        Some(zone) if Some(zone.id) == from => {
            report.add(
                text.at,
                format!("{} is in the zone `{}`, from which the forward is reached", quoted(text), zone.name),
                "hosts of that zone reach it directly: write another `from` or another host",
            );
            None
        }
        _ => Some(address),
    }
}

fn sources(draft: &ForwardDraft, names: &mut Names<'_>, report: &mut Report<'_>) -> Vec<u16> {
    if let Some(first_over) = draft.sources.get(MOST_SOURCES) {
        report.add(
            first_over.at,
            format!("`sources` has {} entries", draft.sources.len()),
            format!("write at most {MOST_SOURCES}, or gather addresses in a group"),
        );
    }
    let mut places = Vec::new();
    for text in draft.sources.iter().take(MOST_SOURCES) {
        match names.resolve("sources", text, report) {
            Some(Named::Set(place)) if places.contains(&place) => rules::twice(text, "sources", report),
            Some(Named::Set(place)) => places.push(place),
            Some(Named::Any | Named::Zones(_) | Named::Devices(_)) => report.add(
                text.at,
                format!("{} in `sources` is no address", quoted(text)),
                "write addresses, groups of them, `country:DE`, `asn:3320` or `list:NAME`; `from` says the zone",
            ),
            None => {}
        }
    }
    places
}

/// One port of the host for one port of the outside.
fn port_fits(draft: &ForwardDraft, services: &[ServiceMatch], report: &mut Report<'_>) {
    let Some(port) = &draft.port else { return };
    let mut ranges: Vec<_> = services.iter().map(|matched| matched.ports).collect();
    ranges.sort_unstable();
    ranges.dedup();
    if let [first, second, ..] = ranges.as_slice() {
        let shown = |range: &policy::PortRange| {
            if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}-{}", range.first, range.last)
            }
        };
        report.add(
            port.at,
            format!("ports {} and {} would both lead to port {}", shown(first), shown(second), port.value),
            "write a forward for each, or leave `port` out",
        );
    }
    if let [range] = ranges.as_slice() {
        let length = range.last - range.first;
        if port.checked_add(length).is_none() {
            report.add(
                port.at,
                format!("{} ports from {} on end behind 65535", u32::from(length) + 1, port.value),
                format!("write a port up to {}", u16::MAX - length),
            );
        }
    }
}

/// No two forwards take one port.
fn disjoint(
    forwards: &[Forward],
    drafts: &[&Located<ForwardDraft>],
    zones: &[Zone],
    report: &mut Report<'_>,
) {
    let mut claims: Vec<(u8, ServiceMatch, usize)> = Vec::new();
    for (place, forward) in forwards.iter().enumerate() {
        claims.extend(forward.services.iter().map(|matched| (forward.from, *matched, place)));
    }
    claims.sort_unstable();
    let mut widest: Option<(u8, ServiceMatch, usize)> = None;
    let mut told = std::collections::BTreeSet::new();
    for (from, matched, place) in claims {
        let clash = widest.filter(|(other_from, other, other_place)| {
            (*other_from, other.protocol) == (from, matched.protocol)
                && other.ports.last >= matched.ports.first
                && *other_place != place
        });
        if let Some((_, _, other)) = clash {
            // The later one of the two in the file is the mistake.
            let (first, second) = (place.min(other), place.max(other));
            if told.insert((first, second)) {
                let zone = zones.iter().find(|zone| zone.id == from).map_or("wan", |zone| &zone.name);
                report.add(
                    drafts[second].services.at,
                    format!(
                        "{} {} of `{zone}` is taken by the forward `{}` already",
                        matched.protocol, matched.ports.first, forwards[first].name
                    ),
                    "give each forward ports of its own",
                );
            }
        }
        if widest.is_none_or(|(other_from, other, _)| {
            (other_from, other.protocol) != (from, matched.protocol) || other.ports.last < matched.ports.last
        }) {
            widest = Some((from, matched, place));
        }
    }
}

/// What listens on the router itself.
pub(super) struct Doors<'c> {
    pub(super) dns: &'c Dns,
    pub(super) logs: &'c [LogSource],
    pub(super) pihole_api: Option<&'c PiholeApi>,
    pub(super) lapi: Option<&'c Lapi>,
}

/// No forward takes a port on which the router itself listens there.
pub(super) fn listeners(
    forwards: &[Forward],
    drafts: &[Located<ForwardDraft>],
    zones: &[Zone],
    doors: &Doors<'_>,
    report: &mut Report<'_>,
) {
    let Doors { dns, logs, pihole_api, lapi } = doors;
    let tcp = dns.listen.iter().chain(&dns.listen_tls).chain(&dns.listen_https);
    let udp = dns.listen.iter().map(|socket| (Protocol::UDP, *socket, "the resolver"));
    let dns = udp.chain(tcp.map(|socket| (Protocol::TCP, *socket, "the resolver")));
    let syslog = logs.iter().filter_map(|log| match &log.input {
        LogInput::Syslog { transport, listen, .. } => {
            let protocol = match transport {
                Transport::Udp => Protocol::UDP,
                Transport::Tcp | Transport::Tls => Protocol::TCP,
            };
            Some((protocol, *listen, log.name.as_str()))
        }
        LogInput::Loki { listen, .. } => Some((Protocol::TCP, *listen, log.name.as_str())),
        LogInput::File { .. } | LogInput::Journal { .. } => None,
    });
    let api = pihole_api.iter().flat_map(|api| &api.listen);
    let api = api.map(|socket| (Protocol::TCP, *socket, "Pi-hole's API"));
    let lapi = lapi.iter().flat_map(|api| &api.listen);
    let api = api.chain(lapi.map(|socket| (Protocol::TCP, *socket, "CrowdSec's API")));
    let mut told = std::collections::BTreeSet::new();
    for (protocol, socket, who) in dns.chain(api).chain(syslog) {
        let belongs = zones.iter().find(|zone| zone.networks.iter().any(|net| net.contains(&socket.ip())));
        let outside = zones.iter().find(|zone| zone.wan);
        let zone = belongs.or(outside).map(|zone| zone.id);
        let reached = |forward: &&Forward| {
            socket.is_ipv4()
                && (socket.ip().is_unspecified() || zone == Some(forward.from))
                && !socket.ip().is_loopback()
        };
        let takes = |forward: &&Forward| {
            forward.services.iter().any(|matched| matched.holds(protocol, socket.port()))
        };
        for forward in forwards.iter().filter(reached).filter(takes) {
            let Some(draft) = drafts.iter().find(|draft| draft.name.value == forward.name) else { continue };
            if !told.insert((draft.at, who)) {
                continue;
            }
            let who = if matches!(who, "the resolver" | "Pi-hole's API" | "CrowdSec's API") {
                who.to_owned()
            } else {
                format!("the log {}", quoted(who))
            };
            report.add(
                draft.services.at,
                format!("{who} listens on {socket}, and the forward would take its packets"),
                "give one of them another port, or let the listener answer on inner addresses only",
            );
        }
    }
}
