//! Logs whose lines lead to bans.

use ipnet::IpNet;
use model::duration_text;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{net, outputs};
use crate::{
    checked::{Certificate, Crowdsec, Dns, Fail2ban, LogInput, LogSource, LogTls, Transport},
    draft::{CrowdsecDraft, Fail2banDraft, LogDraft, LogFormat},
    error::{Report, all, listed, nearest, quoted},
    located::Located,
};

/// Logs of one appliance; a config with more is refused.
const MOST_LOGS: usize = 256;
/// Senders of one listener; a config with more is refused.
const MOST_SENDERS: usize = 256;
/// Units, identifiers or conditions of a journal, and labels of streams; a config with more is refused.
const MOST_CONDITIONS: usize = 64;
/// Jails that can be named; a config with more is refused.
const MOST_JAILS: usize = 256;
/// Where Loki's pushes go when no port is written: beside Loki's own 3100.
const LOKI_PORT: u16 = 3101;
/// The shortest and longest silence that can be told.
const SILENCE: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(365 * 86_400)];

pub(super) fn check(
    drafts: &[Located<LogDraft>],
    (own_filters, filters_dir): (&[&str], &str),
    dns: &Dns,
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
    let mut listeners: BTreeMap<(bool, SocketAddr), (&str, bool)> = BTreeMap::new();
    for draft in drafts.iter().take(MOST_LOGS) {
        filter_exists(&draft.filter, own_filters, filters_dir, report);
        let Some(source) = log(draft, dns, report) else { continue };
        // Pushes go to the log whose labels they have, so several logs can listen on one address for them.
        let door = match &source.input {
            LogInput::Syslog { transport, listen, .. } => {
                Some((*transport == Transport::Udp, *listen, draft.syslog.as_ref()))
            }
            LogInput::Loki { listen, .. } => Some((false, *listen, draft.loki.as_ref())),
            LogInput::File { .. } | LogInput::Journal { .. } => None,
        };
        if let Some((is_udp, listen, Some(text))) = door {
            let is_loki = draft.loki.is_some();
            match listeners.get(&(is_udp, listen)) {
                Some((_, true)) if is_loki => same_streams(&source, &sources, text, report),
                Some((other, _)) => report.add(
                    text.at,
                    format!("the log {} listens on {} already", quoted(other), quoted(text)),
                    "give each listener a port of its own",
                ),
                None => {
                    listeners.insert((is_udp, listen), (draft.name.value.as_str(), is_loki));
                }
            }
        }
        sources.push(source);
    }
    sources
}

/// Fail2ban's jails, where a folder is named.
pub(super) fn fail2ban(draft: &Fail2banDraft, report: &mut Report<'_>) -> Option<Fail2ban> {
    let Some(folder) = &draft.folder else {
        if let Some(jails) = draft.jails.as_ref().filter(|_| !report.is_misfit("fail2ban.folder")) {
            report.add(
                jails.at,
                "`[fail2ban]` has no `folder`: no jail runs",
                "add for example `folder = \"/etc/secd/fail2ban\"`",
            );
        }
        return None;
    };
    if let Some(jails) = &draft.jails {
        if jails.is_empty() {
            let help = "name jails, or remove the line: those that are enabled run then";
            report.add(jails.at, "`jails` is empty: no jail runs", help);
        }
        if jails.len() > MOST_JAILS {
            let message = format!("`jails` has {} entries", jails.len());
            report.add(jails.at, message, format!("write at most {MOST_JAILS}, or remove the line"));
        }
        super::unique("jail", jails.iter(), report);
    }
    let jails = draft.jails.as_ref().map(|jails| jails.iter().map(|jail| jail.value.clone()).collect());
    Some(Fail2ban { folder: outputs::path("folder", folder, report)?, jails, mode: draft.mode })
}

/// CrowdSec's scenarios, where a folder is named.
pub(super) fn crowdsec(draft: &CrowdsecDraft, report: &mut Report<'_>) -> Option<Crowdsec> {
    let folder = outputs::path("folder", draft.folder.as_ref()?, report)?;
    Some(Crowdsec { folder, mode: draft.mode })
}

/// A log behind one that takes all of its streams would get none.
fn same_streams(source: &LogSource, before: &[LogSource], text: &Located<String>, report: &mut Report<'_>) {
    let LogInput::Loki { listen, senders, labels, token_file } = &source.input else { return };
    let taker = before.iter().find(|other| match &other.input {
        LogInput::Loki { listen: at, senders: from, labels: taken, token_file: token } => {
            at == listen
                && from == senders
                && token == token_file
                && taken.iter().all(|label| labels.contains(label))
        }
        LogInput::File { .. } | LogInput::Journal { .. } | LogInput::Syslog { .. } => false,
    });
    if let Some(taker) = taker {
        report.add(
            text.at,
            format!("the log {} takes all streams that the log {} wants", quoted(&taker.name), quoted(&source.name)),
            "give each `labels` of its own, for example `labels = [\"job=nginx\"]`, and write the log with more of them first",
        );
    }
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

fn log(draft: &Located<LogDraft>, dns: &Dns, report: &mut Report<'_>) -> Option<LogSource> {
    let this = if draft.name.is_empty() {
        "this log".to_owned()
    } else {
        format!("the log {}", quoted(&draft.name))
    };
    let silent_after = silent_after(&draft.silent_after, report);
    Some(LogSource {
        name: draft.name.value.clone(),
        input: input(&this, draft, dns, report)?,
        filter: draft.filter.value.clone(),
        mode: draft.mode,
        silent_after,
        span: report.span(draft.at),
    })
}

/// What a log has one of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Journal,
    Syslog,
    Loki,
}

fn input(this: &str, draft: &Located<LogDraft>, dns: &Dns, report: &mut Report<'_>) -> Option<LogInput> {
    let journal = draft.journal.value;
    let mut kinds = Vec::new();
    if let Some(path) = draft.path.as_ref().filter(|_| !journal) {
        kinds.push((Kind::File, "a `path`", path.at));
    }
    if journal {
        kinds.push((Kind::Journal, "`journal`", draft.journal.at));
    }
    if let Some(syslog) = &draft.syslog {
        kinds.push((Kind::Syslog, "a `syslog` listener", syslog.at));
    }
    if let Some(loki) = &draft.loki {
        kinds.push((Kind::Loki, "a `loki` listener", loki.at));
    }
    let kind = match kinds[..] {
        [(kind, ..)] => kind,
        [(_, first, _), (_, second, at), ..] => {
            report.add(
                at,
                format!("{this} has both {first} and {second}"),
                "write one of the two; a second `[[logs]]` can have the other",
            );
            return None;
        }
        [] => {
            let keys = ["path", "journal", "syslog", "loki"];
            if !keys.iter().any(|key| report.is_misfit(&format!("logs.{key}"))) {
                report.add(
                    draft.at,
                    format!("{this} does not say where its lines come from"),
                    "add for example `path = \"/var/log/auth.log\"`, `journal = true`, `syslog = \"udp://10.1.0.1:5514\"` or \
                     `loki = \"10.1.0.1:3101\"`",
                );
            }
            return None;
        }
    };
    misplaced(this, kind, draft, report);
    match kind {
        Kind::File => {
            let format = draft.format.as_ref().map_or(LogFormat::Plain, |format| format.value);
            let path = outputs::path_or_pattern("path", draft.path.as_ref()?, report)?;
            Some(LogInput::File { path, format })
        }
        Kind::Journal => self::journal(draft, report),
        Kind::Syslog => listener(draft.syslog.as_ref()?, draft, dns, report),
        Kind::Loki => pushes(draft.loki.as_ref()?, draft, report),
    }
}

/// Keys that mean nothing for this kind of log.
fn misplaced(this: &str, kind: Kind, draft: &LogDraft, report: &mut Report<'_>) {
    let list = |list: &Option<Located<Vec<Located<String>>>>| list.as_ref().map(|list| list.at);
    let text = |text: &Option<Located<String>>| text.as_ref().map(|text| text.at);
    let is_tls = draft.syslog.as_ref().is_some_and(|syslog| syslog.starts_with("tls://"));
    let tls = kind == Kind::Syslog && is_tls;
    let keys = [
        ("format", draft.format.as_ref().map(|format| format.at), kind == Kind::File, "files"),
        ("units", list(&draft.units), kind == Kind::Journal, "a `journal`"),
        ("identifiers", list(&draft.identifiers), kind == Kind::Journal, "a `journal`"),
        ("matches", list(&draft.matches), kind == Kind::Journal, "a `journal`"),
        ("certificate", text(&draft.certificate), tls, "a `tls://` listener of `syslog`"),
        ("key", text(&draft.key), tls, "a `tls://` listener of `syslog`"),
        ("client_ca", text(&draft.client_ca), tls, "a `tls://` listener of `syslog`"),
        ("labels", list(&draft.labels), kind == Kind::Loki, "a `loki` listener"),
        ("token_file", text(&draft.token_file), kind == Kind::Loki, "a `loki` listener"),
        (
            "senders",
            list(&draft.senders),
            matches!(kind, Kind::Syslog | Kind::Loki),
            "a `syslog` or `loki` listener",
        ),
    ];
    for (key, at, fits, what) in keys {
        if let Some(at) = at.filter(|_| !fits) {
            report.add(at, format!("`{key}` is for {what}, and {this} is none"), "remove the line");
        }
    }
}

fn journal(draft: &LogDraft, report: &mut Report<'_>) -> Option<LogInput> {
    let mut matches = Vec::new();
    let mut conditions = |key: &str, field: &str, texts: &Option<Located<Vec<Located<String>>>>| {
        let Some(texts) = texts else { return };
        most(key, texts, report);
        for text in texts.iter().take(MOST_CONDITIONS) {
            let condition = match field {
                "" => text.value.clone(),
                "_SYSTEMD_UNIT" if !text.contains('.') => format!("{field}={}.service", text.value),
                field => format!("{field}={}", text.value),
            };
            let is_name = |name: &str| {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            };
            let is_condition =
                condition.split_once('=').is_some_and(|(name, value)| is_name(name) && !value.is_empty());
            if is_condition && !text.is_empty() && !condition.contains(char::is_control) {
                matches.push(condition);
            } else {
                let help = match field {
                    "" => "write FIELD=value, for example `_TRANSPORT=syslog`",
                    "_SYSTEMD_UNIT" => "write the name of a unit, for example `ssh.service`",
                    _ => "write the name of a program, for example `sshd`",
                };
                report.add(text.at, format!("{} in `{key}` is no condition", quoted(text)), help);
            }
        }
    };
    conditions("units", "_SYSTEMD_UNIT", &draft.units);
    conditions("identifiers", "SYSLOG_IDENTIFIER", &draft.identifiers);
    conditions("matches", "", &draft.matches);
    let folder = match &draft.path {
        Some(path) => Some(outputs::path("path", path, report)?),
        None => None,
    };
    Some(LogInput::Journal { folder, matches })
}

fn pushes(loki: &Located<String>, draft: &Located<LogDraft>, report: &mut Report<'_>) -> Option<LogInput> {
    let senders = senders(loki, draft, report);
    let bare = match loki.split_once("://") {
        Some((_, rest)) => {
            let help = format!("write address and port alone, for example `{}`", rest.trim_end_matches('/'));
            report.add(loki.at, format!("{} in `loki` is no address to listen on", quoted(loki)), help);
            return None;
        }
        None => loki,
    };
    let labels = labels(draft, report);
    let token_file = match &draft.token_file {
        Some(path) => Some(outputs::path("token_file", path, report)?),
        None => None,
    };
    Some(LogInput::Loki {
        listen: net::socket("loki", bare, Some(LOKI_PORT), report)?,
        senders,
        labels,
        token_file,
    })
}

fn labels(draft: &LogDraft, report: &mut Report<'_>) -> Vec<(String, String)> {
    let Some(texts) = &draft.labels else { return Vec::new() };
    most("labels", texts, report);
    let mut labels = Vec::new();
    for text in texts.iter().take(MOST_CONDITIONS) {
        match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                labels.push((name.trim().to_owned(), value.trim().to_owned()));
            }
            Some(_) | None => report.add(
                text.at,
                format!("{} in `labels` is no label", quoted(text)),
                "write NAME=VALUE, for example `job=nginx`",
            ),
        }
    }
    labels
}

fn most(key: &str, texts: &Located<Vec<Located<String>>>, report: &mut Report<'_>) {
    if texts.len() > MOST_CONDITIONS {
        let message = format!("`{key}` has {} entries", texts.len());
        report.add(texts.at, message, format!("write at most {MOST_CONDITIONS}"));
    }
}

fn listener(
    syslog: &Located<String>,
    draft: &Located<LogDraft>,
    dns: &Dns,
    report: &mut Report<'_>,
) -> Option<LogInput> {
    let senders = senders(syslog, draft, report);
    let (transport, rest) = match syslog.split_once("://") {
        Some(("udp", rest)) => (Transport::Udp, rest),
        Some(("tcp", rest)) => (Transport::Tcp, rest),
        Some(("tls", rest)) => (Transport::Tls, rest),
        Some((other, rest)) => {
            let words = ["udp", "tcp", "tls"];
            let help = match nearest(other, words) {
                Some(near) => format!("did you mean `{near}://{rest}`?"),
                None => format!("write {}", listed(words.map(|word| format!("{word}://{rest}")))),
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
    let tls = match transport {
        Transport::Tls => Some(tls(syslog, draft, dns, report)?),
        Transport::Udp | Transport::Tcp => None,
    };
    Some(LogInput::Syslog { transport, listen, senders, tls })
}

fn tls(
    syslog: &Located<String>,
    draft: &Located<LogDraft>,
    dns: &Dns,
    report: &mut Report<'_>,
) -> Option<LogTls> {
    let certificate = match (&draft.certificate, &draft.key) {
        (Some(chain), Some(key)) => {
            let chain = outputs::path("certificate", chain, report);
            let key = outputs::path("key", key, report);
            Some(Certificate { chain: chain?, key: key? })
        }
        (Some(alone), None) => {
            report.add(alone.at, "`certificate` without `key`", "add `key = \"/etc/secd/logs.key\"`");
            None
        }
        (None, Some(alone)) => {
            report.add(alone.at, "`key` without `certificate`", "add `certificate = \"/etc/secd/logs.pem\"`");
            None
        }
        (None, None) => {
            if dns.certificate.is_none() {
                report.add(
                    syslog.at,
                    format!("the log {} listens by TLS and has no certificate", quoted(&draft.name)),
                    "add `certificate` and `key` here or in `[dns]`",
                );
            }
            dns.certificate.clone()
        }
    };
    let client_ca = match &draft.client_ca {
        Some(path) => Some(outputs::path("client_ca", path, report)?),
        None => None,
    };
    Some(LogTls { certificate: certificate?, client_ca })
}

fn silent_after(text: &Located<String>, report: &mut Report<'_>) -> Option<Duration> {
    if text.value == "never" {
        return None;
    }
    let [least, most] = SILENCE;
    match model::parse_duration(text) {
        Ok(duration) if (least..=most).contains(&duration) => return Some(duration),
        Ok(_) => report.add(
            text.at,
            format!("{} in `silent_after` is too short or too long", quoted(text)),
            format!("write `{}` to `{}`, or `never`", duration_text(least), duration_text(most)),
        ),
        Err(_) => report.add(
            text.at,
            format!("{} in `silent_after` is no duration", quoted(text)),
            "write for example `1h` or `1d`, or `never`",
        ),
    }
    None
}

/// Who may send. The widest networks are refused: anyone could have anyone banned.
fn senders(listener: &Located<String>, draft: &Located<LogDraft>, report: &mut Report<'_>) -> Vec<IpNet> {
    let example = "add for example `senders = [\"10.2.0.0/24\"]`: only these may have addresses banned";
    let Some(texts) = &draft.senders else {
        if report.is_misfit("logs.senders") || draft.client_ca.is_some() {
            return Vec::new();
        }
        report.add(listener.at, format!("the log {} takes lines from anyone", quoted(&draft.name)), example);
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
