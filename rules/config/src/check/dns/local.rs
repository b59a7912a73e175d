//! What the network at home is told: names of devices, and the log.

use super::{at_most, own_name, twice};
use crate::{
    ConfigError,
    check::{outputs, warning},
    checked::{LeaseSource, LocalNames, QueryLog},
    draft::{LocalDraft, QueryLogDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Files of leases; a config with more is refused.
const MOST_LEASES: usize = 16;
/// Least and most room for the log of questions.
const LEAST_LOG: u64 = 1_000_000;
const MOST_LOG: u64 = 1_000_000_000_000;

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
