//! What the network at home is told: names of devices, the log, services across zones.

use model::Name;
use policy::Zone;

use super::{at_most, inner_zone, own_name, twice};
use crate::{
    ConfigError,
    check::{outputs, warning},
    checked::{LeaseSource, LocalNames, QueryLog, Reflect},
    draft::{LocalDraft, QueryLogDraft, ReflectDraft},
    error::{Report, all, nearest, quoted},
    located::Located,
};

/// Files of leases; a config with more is refused.
const MOST_LEASES: usize = 16;
/// Reflections; a config with more is refused.
const MOST_REFLECTIONS: usize = 16;
/// Services of one reflection; a config with more is refused.
const MOST_SERVICES: usize = 64;
/// Least and most room for the log of questions.
const LEAST_LOG: u64 = 1_000_000;
const MOST_LOG: u64 = 1_000_000_000_000;

/// Sets of service types that make one thing in a person's eyes.
const SETS: [(&str, &[&str]); 5] = [
    ("cast", &["_googlecast._tcp", "_googlezone._tcp"]),
    (
        "airplay",
        &["_airplay._tcp", "_raop._tcp", "_appletv-v2._tcp", "_mediaremotetv._tcp", "_companion-link._tcp"],
    ),
    ("homekit", &["_hap._tcp", "_hap._udp", "_homekit._tcp"]),
    (
        "printers",
        &[
            "_ipp._tcp",
            "_ipps._tcp",
            "_printer._tcp",
            "_pdl-datastream._tcp",
            "_uscan._tcp",
            "_uscans._tcp",
            "_scanner._tcp",
        ],
    ),
    ("matter", &["_matter._tcp", "_matterc._udp", "_matterd._udp", "_meshcop._udp", "_meshcop-e._udp"]),
];

pub(super) fn names(
    draft: &LocalDraft,
    report: &mut Report<'_>,
    warnings: &mut Vec<ConfigError>,
) -> LocalNames {
    let domain = own_name("domain", &draft.domain, report);
    if domain.is_within("local") {
        warnings.push(warning(
            draft.domain.at,
            format!("`{domain}` is a domain of mDNS: devices ask each other for it and not the resolver"),
            "write another domain, for example `home.arpa`; some systems do not find names of this one",
            report,
        ));
    }
    at_most("leases", "sources", &draft.leases, MOST_LEASES, "", report);
    let mut leases = Vec::new();
    for text in draft.leases.iter().take(MOST_LEASES) {
        let Some(source) = lease_source(text, report) else { continue };
        if leases.contains(&source) {
            twice("leases", text, report);
        }
        leases.push(source);
    }
    LocalNames { domain, leases }
}

fn lease_source(text: &Located<String>, report: &mut Report<'_>) -> Option<LeaseSource> {
    let (kind, file) = match text.split_once(':') {
        Some((kind, file)) => (kind, Located { at: text.at, value: file.to_owned() }),
        None if text.value == "networkd" => return Some(LeaseSource::Networkd),
        None => (text.as_str(), Located { at: text.at, value: String::new() }),
    };
    let example = "write for example `kea:/var/lib/kea/kea-leases4.csv`, `dnsmasq:/var/lib/misc/dnsmasq.leases` or `networkd`";
    match (kind, file.is_empty()) {
        ("kea", false) => outputs::path("leases", &file, report).map(LeaseSource::Kea),
        ("dnsmasq", false) => outputs::path("leases", &file, report).map(LeaseSource::Dnsmasq),
        ("networkd", _) => {
            report.add(
                text.at,
                format!("{} in `leases` names a file", quoted(text)),
                "write `networkd` alone",
            );
            None
        }
        ("kea" | "dnsmasq", true) => {
            report.add(text.at, format!("{} in `leases` names no file", quoted(text)), example);
            None
        }
        (other, _) => {
            let help = match nearest(other, ["kea", "dnsmasq", "networkd"]) {
                Some(near) => format!("did you mean `{}`?", text.replacen(other, near, 1)),
                None => example.to_owned(),
            };
            report.add(text.at, format!("{} in `leases` is no source of leases", quoted(text)), help);
            None
        }
    }
}

pub(super) fn log(draft: &QueryLogDraft, report: &mut Report<'_>) -> QueryLog {
    let bytes = match size(&draft.size) {
        Some(bytes @ LEAST_LOG..=MOST_LOG) => bytes,
        Some(_) => {
            report.add(
                draft.size.at,
                format!("{} in `size` is too little or too much", quoted(&draft.size)),
                "write `1MB` to `1TB`",
            );
            LEAST_LOG
        }
        None => {
            report.add(
                draft.size.at,
                format!("{} in `size` is no size", quoted(&draft.size)),
                "write a number and `MB`, `GB` or `TB`, for example `256MB`",
            );
            LEAST_LOG
        }
    };
    QueryLog { days: draft.days.value, bytes }
}

/// A size in decimal units.
fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn reflect(
    drafts: &[Located<ReflectDraft>],
    zones: &[Zone],
    report: &mut Report<'_>,
) -> Vec<Reflect> {
    if let Some(first_over) = drafts.get(MOST_REFLECTIONS) {
        report.add(
            first_over.at,
            format!("the file has {} reflections", drafts.len()),
            format!("write at most {MOST_REFLECTIONS}; one can have several zones and services"),
        );
    }
    drafts.iter().take(MOST_REFLECTIONS).map(|draft| reflection(draft, zones, report)).collect()
}

fn reflection(draft: &Located<ReflectDraft>, zones: &[Zone], report: &mut Report<'_>) -> Reflect {
    let mut names: Vec<String> = Vec::new();
    for text in &draft.zones {
        let Some(zone) = inner_zone(text, text, zones, report) else { continue };
        if names.contains(&zone.name) {
            twice("zones", text, report);
            continue;
        }
        names.push(zone.name.clone());
    }
    if let [only] = draft.zones.as_slice() {
        report.add(
            only.at,
            "one zone alone has nobody to find its services",
            "write two zones or more, or leave `zones` out for all inner ones",
        );
    }
    if draft.zones.is_empty() {
        names.extend(zones.iter().filter(|zone| !zone.wan).map(|zone| zone.name.clone()));
    }
    at_most("services", "services", &draft.services, MOST_SERVICES, "", report);
    let mut services: Vec<String> = Vec::new();
    for text in draft.services.iter().take(MOST_SERVICES) {
        for service in service_types(text, report) {
            if services.contains(&service) && !SETS.iter().any(|(name, _)| *name == text.value) {
                twice("services", text, report);
            } else if !services.contains(&service) {
                services.push(service);
            }
        }
    }
    Reflect { zones: names, services, ssdp: draft.ssdp, span: report.span(draft.at) }
}

/// The types of a set, or the one that is written (RFC 6763 §4.1.2: `_name._tcp` or `_name._udp`).
fn service_types(text: &Located<String>, report: &mut Report<'_>) -> Vec<String> {
    if let Some((_, types)) = SETS.iter().find(|(name, _)| *name == text.value) {
        return types.iter().map(|service| (*service).to_owned()).collect();
    }
    let is_type = |name: &Name| {
        let mut labels = name.as_str().split('.');
        let service =
            labels.next().and_then(|label| label.strip_prefix('_')).is_some_and(|rest| !rest.is_empty());
        service && matches!(labels.next(), Some("_tcp" | "_udp")) && labels.next().is_none()
    };
    match text.parse::<Name>() {
        Ok(name) if is_type(&name) => vec![name.as_str().to_owned()],
        _ => {
            let names = || SETS.iter().map(|(name, _)| *name);
            let help = match nearest(text, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write a type, for example `_ssh._tcp`, or one of {}", all(names())),
            };
            report.add(text.at, format!("{} in `services` is no type of service", quoted(text)), help);
            Vec::new()
        }
    }
}
