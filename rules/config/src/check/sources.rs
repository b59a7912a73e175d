//! Lists and logs.

use ipnet::IpNet;
use std::collections::BTreeMap;

use super::{name_is_valid, net, outputs};
use crate::{
    checked::{ListSource, LogInput, LogSource, Transport},
    draft::{ListDraft, ListKind, LogDraft},
    error::{Report, all, listed, nearest, quoted},
    located::Located,
};

/// Logs of one appliance; a config with more is refused.
const MOST_LOGS: usize = 256;
/// Senders of one syslog listener; a config with more is refused.
const MOST_SENDERS: usize = 256;

pub(super) fn lists(drafts: &[Located<ListDraft>], report: &mut Report<'_>) -> Vec<ListSource> {
    let most = abi::MAX_LISTS as usize;
    if let Some(first_over) = drafts.get(most) {
        report.add(
            first_over.at,
            format!("the file has {} lists", drafts.len()),
            format!("write at most {most}; lists of one kind can be put into one file"),
        );
    }
    unique("list", drafts.iter().map(|draft| &draft.name), report);
    drafts.iter().take(most).map(|draft| list(draft, report)).collect()
}

fn list(draft: &Located<ListDraft>, report: &mut Report<'_>) -> ListSource {
    if draft.kind == ListKind::Domains && draft.min_score.value > 0 {
        report.add(
            draft.min_score.at,
            "`min_score` is for lists of addresses",
            "remove the line, or write `kind = \"addresses\"`",
        );
    }
    ListSource {
        name: draft.name.value.clone(),
        path: outputs::path("path", &draft.path, report).unwrap_or_default(),
        kind: draft.kind,
        min_score: draft.min_score.value,
        direction: draft.direction,
        mode: draft.mode,
        span: report.span(draft.at),
    }
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
    unique("log", drafts.iter().map(|draft| &draft.name), report);
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

/// Notes names of the wrong form and names that stand twice.
fn unique<'n>(kind: &str, names: impl Iterator<Item = &'n Located<String>>, report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        name_is_valid(kind, name, name.at, report);
        if let Some(first) = seen.get(name.as_str()) {
            let line = report.span(*first).line;
            report.add(
                name.at,
                format!("there is a {kind} {} already, on line {line}", quoted(name)),
                "give each a name of its own",
            );
        } else {
            seen.insert(name.as_str(), name.at);
        }
    }
}
