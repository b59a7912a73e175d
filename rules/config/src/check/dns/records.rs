//! Records of one's own.

use model::Name;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{at_most, twice};
use crate::{
    ConfigError,
    check::warning,
    checked::{Record, RecordValue},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Names with records; a config with more is refused.
const MOST_NAMES: usize = 10_000;
/// Records of one name; a config with more is refused.
const MOST_VALUES: usize = 64;
/// Bytes of one string of a TXT record (RFC 1035 §3.3.14).
const MOST_STRING: usize = 255;

pub(super) fn check(
    drafts: &[(Located<String>, Vec<Located<String>>)],
    report: &mut Report<'_>,
    warnings: &mut Vec<ConfigError>,
) -> Vec<Record> {
    if let Some((first_over, _)) = drafts.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("`dns.records` has {} names", drafts.len()),
            format!("write at most {MOST_NAMES}"),
        );
    }
    let mut records = Vec::new();
    let mut seen = HashMap::new();
    for (text, values) in drafts.iter().take(MOST_NAMES) {
        let (wildcard, bare) = match text.strip_prefix("*.") {
            Some(bare) => (true, bare),
            None => (false, text.as_str()),
        };
        let bare = Located { at: text.at, value: bare.to_owned() };
        let Some(name) = super::name("dns.records", &bare, report) else { continue };
        if let Some(line) = seen.insert((wildcard, name.clone()), report.span(text.at).line) {
            report.add(
                text.at,
                format!("{} has records already, on line {line}", quoted(text)),
                "write all values of a name into one list",
            );
        }
        if name.is_within("local") {
            warnings.push(warning(
                text.at,
                format!(
                    "{} ends in `.local`, which devices ask each other by mDNS and not the resolver",
                    quoted(text)
                ),
                "write another domain, for example `home.arpa`; some systems do not find this one",
                report,
            ));
        }
        if values.is_empty() {
            report.add(
                text.at,
                format!("{} has no records", quoted(text)),
                "write for example `[\"10.2.0.5\"]`",
            );
        }
        records.extend(of_name(&name, wildcard, values, report));
    }
    records
}

fn of_name(name: &Name, wildcard: bool, values: &[Located<String>], report: &mut Report<'_>) -> Vec<Record> {
    at_most(name.as_str(), "records", values, MOST_VALUES, "", report);
    let mut records: Vec<Record> = Vec::new();
    let mut alias: Option<&Located<String>> = None;
    for text in values.iter().take(MOST_VALUES) {
        let Some(value) = value(text, report) else { continue };
        if records.iter().any(|record| record.value == value) {
            twice(name.as_str(), text, report);
            continue;
        }
        if let RecordValue::Cname(target) = &value {
            if !wildcard && target == name || wildcard && target.is_within(name.as_str()) && target != name {
                report.add(
                    text.at,
                    format!("{} leads back to the name itself", quoted(text)),
                    "write the name that has the addresses",
                );
                continue;
            }
            alias = Some(text);
        }
        records.push(Record { name: name.clone(), wildcard, value, line: report.span(text.at).line });
    }
    if let Some(alias) = alias
        && records.len() > 1
    {
        report.add(
            alias.at,
            format!("`{name}` has {} and other records", quoted(alias)),
            "a name with a CNAME has no other record: remove one of the two",
        );
    }
    records
}

fn value(text: &Located<String>, report: &mut Report<'_>) -> Option<RecordValue> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(RecordValue::Address(address.to_canonical()));
    }
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text.as_str(), ""));
    let rest = rest.trim();
    let result = match kind.to_ascii_uppercase().as_str() {
        "A" => rest
            .parse::<Ipv4Addr>()
            .map(|address| RecordValue::Address(address.into()))
            .map_err(|_| ("an A record has an IPv4 address".to_owned(), "write for example `A 10.2.0.5`")),
        "AAAA" => {
            rest.parse::<Ipv6Addr>().map(|address| RecordValue::Address(address.into())).map_err(|_| {
                ("an AAAA record has an IPv6 address".to_owned(), "write for example `AAAA fd00:2::5`")
            })
        }
        "CNAME" => target(rest, "write for example `CNAME jellyfin.home.arpa`").map(RecordValue::Cname),
        "PTR" => target(rest, "write for example `PTR nas.home.arpa`").map(RecordValue::Ptr),
        "SRV" => service(rest),
        "TXT" => txt(rest),
        other => Err((
            format!("{} is neither an address nor a type of record", quoted(kind)),
            match nearest(&other.to_lowercase(), ["a", "aaaa", "cname", "ptr", "srv", "txt"]) {
                Some("cname") => "did you mean `CNAME`?",
                Some("aaaa") => "did you mean `AAAA`?",
                Some("ptr") => "did you mean `PTR`?",
                Some("srv") => "did you mean `SRV`?",
                Some("txt") => "did you mean `TXT`?",
                _ if kind.parse::<Name>().is_ok()
                    && rest.is_empty()
                    && kind.contains('.')
                    && kind.contains(|c: char| c.is_ascii_alphabetic()) =>
                {
                    "write `CNAME` in front of a name"
                }
                _ => "write an address, or a type and its value: A, AAAA, CNAME, PTR, SRV, TXT",
            },
        )),
    };
    match result {
        Ok(value) => Some(value),
        Err((why, help)) => {
            report.add(text.at, format!("{} is no record: {why}", quoted(text)), help);
            None
        }
    }
}

/// What is wrong, and what to write.
type Refusal = (String, &'static str);

fn target(text: &str, help: &'static str) -> Result<Name, Refusal> {
    if text.is_empty() {
        return Err(("it names nothing".to_owned(), help));
    }
    text.parse().map_err(|error| (format!("{} is no name: {error}", quoted(text)), help))
}

/// `priority weight port target`.
fn service(text: &str) -> Result<RecordValue, Refusal> {
    const HELP: &str = "write priority, weight, port and host: `SRV 0 5 8096 jellyfin.home.arpa`";
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [priority, weight, port, host] = parts[..] else {
        return Err((format!("an SRV record has four parts, this has {}", parts.len()), HELP));
    };
    let number = |text: &str| {
        text.parse::<u16>().map_err(|_| (format!("{} is no number from 0 to 65535", quoted(text)), HELP))
    };
    Ok(RecordValue::Srv {
        priority: number(priority)?,
        weight: number(weight)?,
        port: number(port)?,
        target: target(host, HELP)?,
    })
}

/// One string, or several in quotes.
fn txt(text: &str) -> Result<RecordValue, Refusal> {
    const HELP: &str = "write `TXT v=spf1 -all`, or several strings in quotes: `TXT \"one\" \"two\"`";
    let strings: Vec<String> = if text.starts_with('"') {
        let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let inner = inner.ok_or(("the last quote is missing".to_owned(), HELP))?;
        inner.split("\" \"").map(str::to_owned).collect()
    } else {
        vec![text.to_owned()]
    };
    if strings.iter().all(String::is_empty) {
        return Err(("it is empty".to_owned(), HELP));
    }
    if let Some(long) = strings.iter().find(|string| string.len() > MOST_STRING) {
        return Err((format!("a string has {} bytes, {MOST_STRING} is the most", long.len()), HELP));
    }
    Ok(RecordValue::Txt(strings))
}
