//! What is fetched: where from, how often, and with which credentials.

use lists::catalogue::{CatalogueKind, Entry};
use std::time::Duration;

use super::outputs;
use crate::{
    checked::Subscription,
    draft::Fetch,
    error::{Report, listed, nearest, quoted},
    located::Located,
};

/// How often something is fetched where nothing is said.
const DAILY: Duration = Duration::from_secs(24 * 3600);
/// The shortest and the longest time between two fetches.
const OFTEN: Duration = Duration::from_secs(5 * 60);
const SELDOM: Duration = Duration::from_secs(30 * 24 * 3600);
/// Header names that fetching itself writes (RFC 9110).
const OWN_HEADERS: [&str; 12] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept",
    "accept-encoding",
    "te",
    "user-agent",
    "if-none-match",
    "if-modified-since",
    "range",
];

/// The entry of the catalogue that a name means, if it is of one of these kinds.
pub(super) fn catalogue(
    name: &Located<String>,
    kinds: &[CatalogueKind],
    report: &mut Report<'_>,
) -> Option<Entry> {
    if let Some(entry) = lists::catalogue::find(name) {
        if kinds.contains(&entry.kind) {
            return Some(entry);
        }
        let place = match entry.kind {
            CatalogueKind::Addresses | CatalogueKind::Domains => "`[[lists]]`",
            CatalogueKind::Rules => "`[[signatures.sources]]`",
            CatalogueKind::GeoIp => "`[geoip]` or `[geoip.systems]`",
        };
        let message = format!("{} of the catalogue holds {}", quoted(name), entry.kind);
        report.add(name.at, message, format!("name it under {place}"));
        return None;
    }
    let names = lists::catalogue::entries().into_iter().filter(|entry| kinds.contains(&entry.kind));
    let names: Vec<String> = names.map(|entry| entry.name).collect();
    let help = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`secctl catalogue` lists what there is; anything else has a `url`".to_owned(),
    };
    report.add(name.at, format!("the catalogue has no {}", quoted(name)), help);
    None
}

/// Exactly one of `path`, `url` and `catalogue` is written. `at` is where the table stands.
pub(super) fn one_source(
    what: &str,
    at: usize,
    path: Option<Option<&Located<String>>>,
    fetch: &Fetch<'_>,
    misfit: impl Fn(&str) -> bool,
    report: &mut Report<'_>,
) -> bool {
    let keys: Vec<&str> = path.iter().map(|_| "path").chain(["url", "catalogue"]).collect();
    let places = [path.flatten(), fetch.url, fetch.catalogue];
    let mut written = places.into_iter().flatten();
    let (first, second) = (written.next(), written.next());
    match (first, second) {
        (Some(_), None) => true,
        (None, _) => {
            if !keys.iter().any(|key| misfit(key)) {
                report.add(
                    at,
                    format!("{what} comes from nowhere"),
                    format!("write one of {}", listed(&keys)),
                );
            }
            false
        }
        (Some(_), Some(second)) => {
            report.add(
                second.at,
                format!("{what} comes from two places"),
                format!("write one of {}", listed(&keys)),
            );
            false
        }
    }
}

/// The keys of fetching have no meaning for a file of one's own.
pub(super) fn none_for_a_file(fetch: &Fetch<'_>, report: &mut Report<'_>) {
    let mut told = |at: usize, key: &str| {
        report.add(
            at,
            format!("`{key}` is only for what is fetched"),
            "remove the line, or write `url` instead of `path`",
        );
    };
    if let Some(refresh) = fetch.refresh {
        told(refresh.at, "refresh");
    }
    for (key, flag) in [("insecure", fetch.insecure), ("private", fetch.private)] {
        if flag.value {
            told(flag.at, key);
        }
    }
    for (key, text) in Fetch::TEXTS.iter().zip(fetch.texts) {
        if !text.is_empty() {
            told(text.at, key);
        }
    }
}

/// The subscription that the keys say; `known` is what the catalogue says.
pub(super) fn subscription(
    fetch: &Fetch<'_>,
    known: Option<&Entry>,
    report: &mut Report<'_>,
) -> Option<Subscription> {
    let [user, password_file, header, header_file, ca_file, public_key, signature_url] = fetch.texts;
    let insecure = fetch.insecure.value;
    let url = match (fetch.url, known) {
        (Some(url), _) => address("url", url, insecure, report),
        (None, Some(known)) => Some(known.url.clone()),
        (None, None) => None,
    };
    let refresh = match fetch.refresh {
        Some(text) => refresh_of(text, report),
        None => known.map_or(DAILY, |known| known.refresh),
    };
    let basic = pair("user", user, "password_file", password_file, report);
    let header = pair("header", header, "header_file", header_file, report)
        .filter(|(name, _)| header_is_valid(header, name, report));
    if !public_key.is_empty() {
        key_is_valid(public_key, report);
    }
    let signature_url = match (signature_url.is_empty(), public_key.is_empty()) {
        (true, _) => None,
        (false, true) => {
            report.add(
                signature_url.at,
                "`signature_url` is only for what is signed",
                "add `public_key`, or remove the line",
            );
            None
        }
        (false, false) => address("signature_url", signature_url, insecure, report),
    };
    Some(Subscription {
        url: url?,
        refresh,
        insecure,
        private: fetch.private.value,
        basic,
        header,
        ca_file: outputs::path("ca_file", ca_file, report),
        public_key: super::optional(public_key),
        signature_url,
    })
}

fn address(key: &str, text: &Located<String>, insecure: bool, report: &mut Report<'_>) -> Option<String> {
    let wrong = |report: &mut Report<'_>, what: &str, help: &str| {
        report.add(text.at, format!("{} in `{key}` {what}", quoted(text)), help);
        None
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong(report, "is no URL", "write for example `https://lists.example/phishing.txt`");
    };
    match scheme {
        "https" => {}
        "http" if insecure => {}
        "http" => {
            return wrong(
                report,
                "is not encrypted: anyone on the way can change it",
                "write `https://…`, or allow it with `insecure = true`",
            );
        }
        "file" => {
            return match rest.starts_with('/') {
                true => Some(text.value.clone()),
                false => wrong(report, "has no absolute path", "write `file:///` and the path from there"),
            };
        }
        _ => return wrong(report, "cannot be fetched", "write `https://…` or `file:///…`"),
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        // Not quoted: what is told ends up in logs.
        report.add(
            text.at,
            format!("`{key}` holds a user name or password"),
            "write `user` and `password_file`: this file is read by others as well",
        );
        return None;
    }
    if rest.contains('#') {
        return wrong(report, "has a fragment", "remove `#` and what stands behind it");
    }
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.parse::<u16>().is_ok_and(|port| port > 0) { name } else { host }
    });
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let is_host = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            !name.is_empty() && name.chars().all(usable)
        }
    };
    if !is_host || text.contains(char::is_whitespace) {
        return wrong(
            report,
            "has no host that can be asked",
            "write for example `https://lists.example/phishing.txt`",
        );
    }
    Some(text.value.clone())
}

fn refresh_of(text: &Located<String>, report: &mut Report<'_>) -> Duration {
    let (message, help) = match model::parse_duration(text) {
        Ok(duration) if (OFTEN..=SELDOM).contains(&duration) => return duration,
        Ok(_) => (
            format!("{} in `refresh` is too short or too long", quoted(text)),
            "write `5m` to `30d`".to_owned(),
        ),
        Err(_) => {
            (format!("{} in `refresh` is no duration", quoted(text)), "write for example `24h`".to_owned())
        }
    };
    report.add(text.at, message, help);
    DAILY
}

/// Two keys that stand together or not at all.
fn pair(
    key: &str,
    value: &Located<String>,
    file_key: &str,
    file: &Located<String>,
    report: &mut Report<'_>,
) -> Option<(String, std::path::PathBuf)> {
    match (value.is_empty(), file.is_empty()) {
        (true, true) => None,
        (false, false) => Some((value.value.clone(), outputs::path(file_key, file, report)?)),
        (false, true) => {
            report.add(
                value.at,
                format!("`{key}` without `{file_key}`"),
                format!("add `{file_key} = \"/etc/secd/…\"`"),
            );
            None
        }
        (true, false) => {
            report.add(file.at, format!("`{file_key}` without `{key}`"), format!("add `{key} = \"…\"`"));
            None
        }
    }
}

fn header_is_valid(text: &Located<String>, name: &str, report: &mut Report<'_>) -> bool {
    let usable = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let lower = name.to_ascii_lowercase();
    let (message, help) = if !name.chars().all(usable) || name.len() > 64 {
        (
            format!("{} cannot be the name of a header", quoted(name)),
            "write letters, digits and `-`: `X-Api-Key`",
        )
    } else if OWN_HEADERS.contains(&lower.as_str()) {
        (format!("the header {} is written already", quoted(name)), "name the header that carries the key")
    } else {
        return true;
    };
    report.add(text.at, message, help);
    false
}

/// minisign: base64 of 2 bytes algorithm (`Ed`), 8 bytes key id and 32 bytes key.
fn key_is_valid(text: &Located<String>, report: &mut Report<'_>) {
    const LENGTH: usize = 56;
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    if text.len() != LENGTH || !text.starts_with("RW") || !text.chars().all(usable) {
        report.add(
            text.at,
            format!("{} is no minisign public key", quoted(text)),
            "write the line of the `.pub` file that begins with `RW` and has 56 characters",
        );
    }
}
