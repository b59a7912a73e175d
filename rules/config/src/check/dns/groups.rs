//! Groups, clients, and names that people block and allow.

use lists::{
    Blocking, DEFAULT_GROUP, DomainKind, GroupSet, MAX_CLIENTS, MAX_GROUPS, MAX_WHO, Service, Who,
    check_written,
};
use model::{Mode, Name};
use policy::{Schedule, Zone};
use std::collections::HashMap;

use super::{MOST_NAMES, at_most, inner_zone, twice};
use crate::{
    check::{name_is_valid, optional, rules},
    checked::{DnsClient, DnsGroup, NameEntry},
    draft::{DnsClientDraft, DnsDraft, DnsGroupDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Services that one group blocks; a config with more is refused.
const MOST_SERVICES: usize = 512;

/// Names of groups by place: `default`, then as in the file.
pub(super) fn names<T>(drafts: &[(Located<String>, T)]) -> Vec<&str> {
    let own = drafts.iter().map(|(name, _)| name.as_str()).filter(|name| *name != DEFAULT_GROUP);
    std::iter::once(DEFAULT_GROUP).chain(own).take(MAX_GROUPS).collect()
}

/// All groups, `default` first.
pub(super) fn groups(draft: &DnsDraft, schedules: &[Schedule], report: &mut Report<'_>) -> Vec<DnsGroup> {
    let usual = blocking(&draft.blocking, report);
    let known = &lists::services();
    let mut default = DnsGroup {
        name: DEFAULT_GROUP.to_owned(),
        comment: None,
        deny: Vec::new(),
        allow: Vec::new(),
        services: services(&draft.services, known, report),
        safe_search: draft.safe_search,
        blocking: usual,
        schedule: None,
        mode: Mode::Enforce,
        span: report.span(0),
    };
    let mut groups = Vec::new();
    for (name, draft) in &draft.groups.0 {
        if groups.len() + 1 == MAX_GROUPS && name.value != DEFAULT_GROUP {
            let most = MAX_GROUPS - 1;
            report.add(
                name.at,
                format!("`dns.groups` has more than {most} groups beside `{DEFAULT_GROUP}`"),
                "a client can be in several: make groups of what is common",
            );
            break;
        }
        name_is_valid("group", name, name.at, report);
        let group = group(name, draft, usual, known, schedules, report);
        if name.value == DEFAULT_GROUP {
            // What `[dns]` says for it holds as well.
            let services = std::mem::take(&mut default.services).into_iter().chain(group.services).collect();
            default = DnsGroup { services, safe_search: default.safe_search || group.safe_search, ..group };
        } else {
            groups.push(group);
        }
    }
    groups.insert(0, default);
    groups
}

fn group(
    name: &Located<String>,
    draft: &DnsGroupDraft,
    usual: Blocking,
    known: &[Service],
    schedules: &[Schedule],
    report: &mut Report<'_>,
) -> DnsGroup {
    DnsGroup {
        name: name.value.clone(),
        comment: optional(&draft.comment),
        deny: entries("deny", &draft.deny, report),
        allow: entries("allow", &draft.allow, report),
        services: services(&draft.services, known, report),
        safe_search: draft.safe_search,
        blocking: draft.blocking.as_ref().map_or(usual, |text| blocking(text, report)),
        schedule: draft.schedule.as_ref().and_then(|name| rules::schedule(name, schedules, report)),
        mode: draft.mode,
        span: report.span(name.at),
    }
}

fn blocking(text: &Located<String>, report: &mut Report<'_>) -> Blocking {
    match text.parse() {
        Ok(blocking) => blocking,
        Err(why) => {
            const WORDS: [&str; 4] = ["null", "nxdomain", "nodata", "refused"];
            let help = match nearest(text, WORDS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "write `null`, `nxdomain`, `nodata`, `refused`, or addresses: `192.0.2.1,2001:db8::1`"
                        .to_owned()
                }
            };
            report.add(text.at, format!("{} in `blocking` cannot be: {why}", quoted(text)), help);
            Blocking::Null
        }
    }
}

fn services(texts: &[Located<String>], known: &[Service], report: &mut Report<'_>) -> Vec<String> {
    at_most("services", "services", texts, MOST_SERVICES, "", report);
    let mut services: Vec<String> = Vec::new();
    for text in texts.iter().take(MOST_SERVICES) {
        if services.contains(&text.value) {
            twice("services", text, report);
        } else if !known.iter().any(|service| service.name == text.value) {
            let help = match nearest(text, known.iter().map(|service| service.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`secctl dns services` shows all; `deny` takes names".to_owned(),
            };
            report.add(text.at, format!("there is no service {}", quoted(text)), help);
        }
        services.push(text.value.clone());
    }
    services
}

/// The groups that somebody names.
pub(super) fn named(
    key: &str,
    texts: &[Located<String>],
    names: &[&str],
    report: &mut Report<'_>,
) -> GroupSet {
    let mut set = GroupSet::NONE;
    for text in texts {
        match names.iter().position(|name| *name == text.as_str()) {
            Some(place) if set.contains(place) => twice(key, text, report),
            Some(place) => set.insert(place),
            None => {
                let help = match nearest(text, names.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("define it as `[dns.groups.{}]`", text.value),
                };
                report.add(text.at, format!("there is no group {}", quoted(text)), help);
            }
        }
    }
    set
}

pub(super) fn clients(
    drafts: &[(Located<String>, DnsClientDraft)],
    names: &[&str],
    zones: &[Zone],
    report: &mut Report<'_>,
) -> Vec<DnsClient> {
    if let Some((first_over, _)) = drafts.get(MAX_CLIENTS) {
        report.add(
            first_over.at,
            format!("`dns.clients` has {} clients", drafts.len()),
            format!("write at most {MAX_CLIENTS}; one client can be a network"),
        );
    }
    let mut clients = Vec::new();
    let mut taken: HashMap<Who, &str> = HashMap::new();
    for (name, draft) in drafts.iter().take(MAX_CLIENTS) {
        name_is_valid("client", name, name.at, report);
        at_most("who", "entries", &draft.who, MAX_WHO, "; a network covers many addresses", report);
        let mut all = Vec::new();
        for text in draft.who.iter().take(MAX_WHO) {
            let Some(who) = who(text, zones, report) else { continue };
            match taken.insert(who.clone(), name.as_str()) {
                None => all.push(who),
                Some(other) if other == name.as_str() => twice("who", text, report),
                Some(other) => report.add(
                    text.at,
                    format!("{} is the client `{other}` already", quoted(text)),
                    "each names one client: give that one both groups, or be more specific",
                ),
            }
        }
        clients.push(DnsClient {
            name: name.value.clone(),
            who: all,
            groups: named("groups", &draft.groups, names, report),
            comment: optional(&draft.comment),
            span: report.span(name.at),
        });
    }
    clients
}

fn who(text: &Located<String>, zones: &[Zone], report: &mut Report<'_>) -> Option<Who> {
    match text.parse::<Who>() {
        Ok(Who::Zone(name)) => inner_zone(text, &name, zones, report).map(|_| Who::Zone(name)),
        Ok(who @ (Who::Address(_) | Who::Mac(_) | Who::Host(_) | Who::Network(_))) => Some(who),
        Err(why) => {
            let help = match (text.parse::<Name>(), text.split_once('/')) {
                (_, Some((address, _))) if address.parse::<std::net::IpAddr>().is_ok() => {
                    "write a network, for example `10.5.0.0/24`".to_owned()
                }
                (Ok(name), _) if zones.iter().any(|zone| zone.name == name.as_str()) => {
                    format!("write `zone:{name}`")
                }
                (Ok(name), _) if !text.ends_with(|c: char| c.is_ascii_digit()) => format!("write `host:{name}`"),
                _ => "write for example `10.4.0.9`, `10.5.0.0/24`, `aa:bb:cc:dd:ee:01`, `host:tablet` or `zone:iot`"
                    .to_owned(),
            };
            report.add(text.at, format!("{} in `who` {why}", quoted(text)), help);
            None
        }
    }
}

/// What people block or allow by hand.
pub(super) fn entries(key: &str, texts: &[Located<String>], report: &mut Report<'_>) -> Vec<NameEntry> {
    at_most(key, "names", texts, MOST_NAMES, "; a list file can hold more", report);
    texts.iter().take(MOST_NAMES).filter_map(|text| entry(key, text, report)).collect()
}

fn entry(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<NameEntry> {
    let kind = if key == "allow" { DomainKind::Allow } else { DomainKind::Block };
    match check_written(text, kind) {
        Ok(()) => Some(NameEntry { rule: text.value.clone(), line: report.span(text.at).line }),
        Err(why) => {
            let (why, help) = match why.split_once(": write ") {
                Some((why, what)) => (why, format!("write {what}")),
                None => (why.as_str(), "write a name, for example `good.example`, or `/…/`".to_owned()),
            };
            report.add(text.at, format!("{} in `{key}` names nothing: {why}", quoted(text)), help);
            None
        }
    }
}
