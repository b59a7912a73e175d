//! Lists, the GeoIP database, sets of signatures, and logs.

use ::lists::{
    Format, GroupSet,
    catalogue::{CatalogueKind, Entry},
};
use ipnet::IpNet;
use std::collections::BTreeMap;

use super::{dns, fetch, net, outputs};
use crate::{
    checked::{Geoip, ListSource, LogInput, LogSource, RuleSource, Transport},
    draft::{Fetch, ListDraft, ListKind, LogDraft, RuleSourceDraft},
    error::{Report, all, listed, nearest, quoted},
    located::Located,
};

/// Sets of signatures that are fetched; a config with more is refused.
const MOST_RULE_SOURCES: usize = 64;
/// Logs of one appliance; a config with more is refused.
const MOST_LOGS: usize = 256;
/// Senders of one syslog listener; a config with more is refused.
const MOST_SENDERS: usize = 256;

pub(super) fn lists(
    drafts: &[Located<ListDraft>],
    groups: &[&str],
    report: &mut Report<'_>,
) -> Vec<ListSource> {
    let most = abi::MAX_LISTS as usize;
    if let Some(first_over) = drafts.get(most) {
        report.add(
            first_over.at,
            format!("the file has {} lists", drafts.len()),
            format!("write at most {most}; lists of one kind can be put into one file"),
        );
    }
    super::unique("list", drafts.iter().map(|draft| &draft.name), report);
    drafts.iter().take(most).map(|draft| list(draft, groups, report)).collect()
}

fn list(draft: &Located<ListDraft>, groups: &[&str], report: &mut Report<'_>) -> ListSource {
    let fetch = draft.fetch();
    let this = if draft.name.is_empty() {
        "this list".to_owned()
    } else {
        format!("the list {}", quoted(&draft.name))
    };
    const KINDS: [CatalogueKind; 2] = [CatalogueKind::Addresses, CatalogueKind::Domains];
    let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &KINDS, report));
    let told = |key: &str| report.is_misfit(&format!("lists.{key}"));
    let misfits: Vec<&str> = ["path", "url", "catalogue"].into_iter().filter(|key| told(key)).collect();
    let path = Some(draft.path.as_ref());
    fetch::one_source(&this, draft.at, path, &fetch, |key| misfits.contains(&key), report);
    let subscription = if draft.path.is_some() {
        fetch::none_for_a_file(&fetch, report);
        None
    } else {
        fetch::subscription(&fetch, known.as_ref(), report)
    };
    let known_kind = known.as_ref().map(|known| match known.kind {
        CatalogueKind::Domains => ListKind::Domains,
        CatalogueKind::Addresses | CatalogueKind::Rules | CatalogueKind::GeoIp => ListKind::Addresses,
    });
    if let (Some(written), Some(known)) = (&draft.kind, known_kind)
        && known != written.value
    {
        report.add(
            written.at,
            format!("{this} is of another kind in the catalogue"),
            "remove the line: the catalogue says what it lists",
        );
    }
    let kind = draft.kind.as_ref().map(|kind| kind.value).or(known_kind);
    if kind.is_none() && fetch.catalogue.is_none() && !report.is_misfit("lists.kind") {
        report.add(
            draft.at,
            format!("{this} does not say what it lists"),
            "add `kind = \"domains\"` or `kind = \"addresses\"`",
        );
    }
    let kind = kind.unwrap_or_default();
    if kind == ListKind::Domains && draft.min_score.value > 0 {
        report.add(
            draft.min_score.at,
            "`min_score` is for lists of addresses",
            "remove the line, or write `kind = \"addresses\"`",
        );
    }
    if let Some(direction) = &draft.direction
        && kind == ListKind::Domains
    {
        report.add(
            direction.at,
            "`direction` is for lists of addresses: names have none",
            "remove the line, or write `kind = \"addresses\"`",
        );
    }
    let block = draft.block.value.0;
    if kind == ListKind::Domains && !block {
        report.add(
            draft.block.at,
            "`block = false` is for lists of addresses, which rules can name",
            "remove the line, or the list",
        );
    }
    if kind == ListKind::Addresses && draft.allow.value {
        report.add(
            draft.allow.at,
            "`allow` is for lists of names",
            "write the addresses into `allow` at the top of the file, or `kind = \"domains\"`",
        );
    }
    if let Some([first, ..]) = draft.groups.as_deref()
        && kind == ListKind::Addresses
    {
        report.add(
            first.at,
            "`groups` is for lists of names: the packet path knows no groups",
            "remove the line, or write `kind = \"domains\"`",
        );
    }
    ListSource {
        name: draft.name.value.clone(),
        path: draft.path.as_ref().and_then(|path| outputs::path("path", path, report)).unwrap_or_default(),
        subscription,
        kind,
        format: format(draft, kind, known.as_ref(), report),
        block,
        allow: draft.allow.value,
        min_score: min_score(draft, known.as_ref()),
        direction: (draft.direction.as_ref().map(|direction| direction.value))
            .or(known.as_ref().and_then(|known| known.direction))
            .unwrap_or_default(),
        mode: draft.mode,
        groups: draft
            .groups
            .as_ref()
            .map_or(GroupSet::DEFAULT, |texts| dns::groups_of(texts, groups, report)),
        span: report.span(draft.at),
    }
}

fn format(draft: &ListDraft, kind: ListKind, known: Option<&Entry>, report: &mut Report<'_>) -> Format {
    let Some(text) = &draft.format else { return known.map_or(Format::Auto, |known| known.format.clone()) };
    match text.parse::<Format>() {
        Ok(format) => {
            if kind == ListKind::Domains && format.has_score() {
                report.add(
                    text.at,
                    format!("{} has scores, and names have none", quoted(text)),
                    "write the format without its score, or `kind = \"addresses\"`",
                );
            }
            if kind == ListKind::Addresses && format.is_of_names() {
                report.add(
                    text.at,
                    format!("{} is how names are written", quoted(text)),
                    "write how the addresses stand (`auto`, `csv:2`, `json:ip`), or `kind = \"domains\"`",
                );
            }
            format
        }
        Err(error) => {
            let words =
                ["auto", "plain", "hosts", "adblock", "dnsmasq", "rpz", "regex", "score", "csv", "json"];
            let first = text.split(':').next().unwrap_or_default();
            let help = match nearest(first, words) {
                Some(near) if near != first => format!("did you mean `{}`?", text.replacen(first, near, 1)),
                _ => "write `auto`, `plain`, `score`, `csv:2` or `json:ip`; the second may be followed by `:` and the score's"
                    .to_owned(),
            };
            let error = error.to_string();
            report.add(text.at, error.split_once("; ").map_or(error.as_str(), |(what, _)| what), help);
            Format::Auto
        }
    }
}

/// The least score: as written, else as the catalogue says.
fn min_score(draft: &ListDraft, known: Option<&Entry>) -> u32 {
    // What is written stands behind its key.
    let is_written = draft.min_score.at > 0;
    let usual = known.and_then(|known| known.min_score).filter(|_| !is_written);
    usual.unwrap_or(draft.min_score.value)
}

/// A database of countries or systems.
pub(super) fn geoip(
    path: Option<&Located<String>>,
    fetch: &Fetch<'_>,
    report: &mut Report<'_>,
) -> Option<Geoip> {
    if path.is_none() && fetch.url.is_none() && fetch.catalogue.is_none() {
        return None;
    }
    fetch::one_source("the database", 0, Some(path), fetch, |_| false, report);
    if let Some(path) = path {
        fetch::none_for_a_file(fetch, report);
        return outputs::path("path", path, report).map(Geoip::File);
    }
    let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &[CatalogueKind::GeoIp], report));
    fetch::subscription(fetch, known.as_ref(), report).map(Geoip::Subscription)
}

/// Sets of signatures that are fetched.
pub(super) fn rule_sources(drafts: &[Located<RuleSourceDraft>], report: &mut Report<'_>) -> Vec<RuleSource> {
    if let Some(first_over) = drafts.get(MOST_RULE_SOURCES) {
        report.add(
            first_over.at,
            format!("`signatures.sources` has {} entries", drafts.len()),
            format!("write at most {MOST_RULE_SOURCES}"),
        );
    }
    super::unique("source", drafts.iter().map(|draft| &draft.name), report);
    let mut sources = Vec::new();
    for draft in drafts.iter().take(MOST_RULE_SOURCES) {
        let fetch = draft.fetch();
        let this = format!("the source {}", quoted(&draft.name));
        let told = |key: &str| report.is_misfit(&format!("signatures.sources.{key}"));
        let misfits: Vec<&str> = ["url", "catalogue"].into_iter().filter(|key| told(key)).collect();
        fetch::one_source(&this, draft.at, None, &fetch, |key| misfits.contains(&key), report);
        let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &[CatalogueKind::Rules], report));
        if let Some(subscription) = fetch::subscription(&fetch, known.as_ref(), report) {
            let (name, mode, span) = (draft.name.value.clone(), draft.mode, report.span(draft.at));
            sources.push(RuleSource { name, subscription, mode, span });
        }
    }
    sources
}

pub(super) fn logs(
    drafts: &[Located<LogDraft>],
    own_filters: &[&str],
    filters_dir: &str,
    report: &mut Report<'_>,
) -> Vec<LogSource> {
    if let Some(first_over) = drafts.get(MOST_LOGS) {
        report.add(
            first_over.at,
            format!("the file has {} logs", drafts.len()),
            format!("write at most {MOST_LOGS}"),
        );
    }
    super::unique("log", drafts.iter().map(|draft| &draft.name), report);
    let mut sources = Vec::new();
    let mut listeners = BTreeMap::new();
    for draft in drafts.iter().take(MOST_LOGS) {
        filter_exists(&draft.filter, own_filters, filters_dir, report);
        let Some(source) = log(draft, report) else { continue };
        if let (LogInput::Syslog { transport, listen, .. }, Some(text)) = (&source.input, &draft.syslog)
            && let Some(other) = listeners.insert((*transport, *listen), &draft.name)
        {
            report.add(
                text.at,
                format!("the log {} listens on {} already", quoted(other), quoted(text)),
                "give each listener a port of its own",
            );
        }
        sources.push(source);
    }
    sources
}

fn filter_exists(filter: &Located<String>, own: &[&str], filters_dir: &str, report: &mut Report<'_>) {
    let known = || crate::BUILT_IN_FILTERS.into_iter().chain(own.iter().copied());
    if filter.is_empty() || known().any(|name| name == filter.as_str()) {
        return;
    }
    let help = match nearest(filter, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let file = std::path::Path::new(filters_dir).join(format!("{}.toml", filter.value));
            format!("there are {}; a filter of your own stands in `{}`", all(known()), file.display())
        }
    };
    report.add(filter.at, format!("there is no filter {}", quoted(filter)), help);
}

fn log(draft: &Located<LogDraft>, report: &mut Report<'_>) -> Option<LogSource> {
    let this = if draft.name.is_empty() {
        "this log".to_owned()
    } else {
        format!("the log {}", quoted(&draft.name))
    };
    let input = match (&draft.path, &draft.syslog) {
        (Some(_), Some(syslog)) => {
            report.add(
                syslog.at,
                format!("{this} has both a `path` and a `syslog` listener"),
                "write one of the two; a second `[[logs]]` can have the other",
            );
            None
        }
        (None, None) if report.is_misfit("logs.path") || report.is_misfit("logs.syslog") => None,
        (None, None) => {
            report.add(
                draft.at,
                format!("{this} has neither a `path` nor a `syslog` listener"),
                "add for example `path = \"/var/log/auth.log\"` or `syslog = \"udp://10.1.0.1:5514\"`",
            );
            None
        }
        (Some(path), None) => {
            if let Some(senders) = &draft.senders {
                report.add(
                    senders.at,
                    "`senders` is for a `syslog` listener, this log is a file",
                    "remove the line",
                );
            }
            outputs::path("path", path, report).map(LogInput::File)
        }
        (None, Some(syslog)) => listener(syslog, draft, report),
    };
    Some(LogSource {
        name: draft.name.value.clone(),
        input: input?,
        filter: draft.filter.value.clone(),
        mode: draft.mode,
        span: report.span(draft.at),
    })
}

fn listener(
    syslog: &Located<String>,
    draft: &Located<LogDraft>,
    report: &mut Report<'_>,
) -> Option<LogInput> {
    let senders = senders(syslog, draft, report);
    let (transport, rest) = match syslog.split_once("://") {
        Some(("udp", rest)) => (Transport::Udp, rest),
        Some(("tcp", rest)) => (Transport::Tcp, rest),
        Some((other, rest)) => {
            let help = match nearest(other, ["udp", "tcp"]) {
                Some(near) => format!("did you mean `{near}://{rest}`?"),
                None => format!("write {}", listed([format!("udp://{rest}"), format!("tcp://{rest}")])),
            };
            report.add(syslog.at, format!("{} is no syslog listener", quoted(syslog)), help);
            return None;
        }
        None => {
            report.add(
                syslog.at,
                format!("{} is no syslog listener", quoted(syslog)),
                "write transport, address and port, for example `udp://10.1.0.1:5514`",
            );
            return None;
        }
    };
    let socket = Located { at: syslog.at, value: rest.to_owned() };
    let listen = net::socket("syslog", &socket, None, report)?;
    Some(LogInput::Syslog { transport, listen, senders })
}

/// Who may send. The widest networks are refused: anyone could have anyone banned.
fn senders(syslog: &Located<String>, draft: &Located<LogDraft>, report: &mut Report<'_>) -> Vec<IpNet> {
    let example = "add for example `senders = [\"10.2.0.0/24\"]`: only these may have addresses banned";
    let Some(texts) = &draft.senders else {
        if report.is_misfit("logs.senders") {
            return Vec::new();
        }
        report.add(syslog.at, format!("the log {} takes lines from anyone", quoted(&draft.name)), example);
        return Vec::new();
    };
    if texts.is_empty() {
        report.add(texts.at, "`senders` is empty: nobody may send", example);
    }
    if let Some(first_over) = texts.get(MOST_SENDERS) {
        report.add(
            first_over.at,
            format!("`senders` has {} entries", texts.len()),
            format!("write at most {MOST_SENDERS}; a network covers many hosts"),
        );
    }
    let mut nets = Vec::new();
    for text in texts.iter().take(MOST_SENDERS) {
        let Some(net) = net::network("senders", text, report) else { continue };
        let widest = if net.addr().is_ipv4() { 8 } else { 16 };
        if net.prefix_len() < widest {
            report.add(
                text.at,
                format!("{} in `senders` lets strangers have addresses banned", quoted(text)),
                format!("name the hosts that send; the widest network is a /{widest}"),
            );
            continue;
        }
        nets.push(net);
    }
    nets
}
