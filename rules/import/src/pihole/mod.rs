//! Pi-hole 5 and 6: what is in its database, and the settings around it.
//!
//! Pi-hole asks in this order: entries that allow, exact entries that deny, lists that allow, lists that block, regular
//! expressions that deny. The files of own rules keep that: entries that allow and exact ones that deny are `$important`,
//! and exceptions go before blocks.

mod classic;
mod current;
mod lines;

pub(crate) use lines::local_to_the_old_machine;

use ipnet::IpNet;
use lists::DEFAULT_GROUP;
use model::{Mac, Name};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    Files, Gravity, Import, ImportError,
    gravity::EntryKind,
    limits::{MAX_CLIENTS, MAX_GROUPS, MAX_LISTS},
    names::{Names, comment, of_url, shown},
    own::Own,
    report::{Report, several},
    settings::{Client, Group, Settings, Subscription},
};

/// The group of clients that nothing is filtered for.
const UNFILTERED: &str = "unfiltered";

/// What is being made.
#[derive(Debug)]
struct Making {
    settings: Settings,
    report: Report,
    own: Own,
}

/// Reads a Pi-hole: its files, and its database where that is not among them.
///
/// # Errors
/// A file that is needed is missing, or one cannot be read. Nothing is taken over then.
pub fn pihole(files: &Files, database: Option<Gravity>) -> Result<Import, ImportError> {
    let (gravity, is_archive_of_5) = match (database, files.get("gravity.db")) {
        (Some(gravity), _) => (gravity, false),
        (None, Some(bytes)) => (Gravity::read(&files.place("gravity.db"), bytes, bytes.len())?, false),
        (None, None) if files.get("adlist.json").is_some() || files.get("group.json").is_some() => {
            (Gravity::of_json(files)?, true)
        }
        (None, None) => {
            return Err(ImportError::new(
                &files.name,
                "gravity.db is missing: that is half a backup",
                "give the Teleporter archive of Pi-hole 5 or 6, or the folder /etc/pihole",
            ));
        }
    };
    let mut making = Making {
        settings: Settings { program: "pihole", ..Settings::default() },
        report: Report::default(),
        own: Own::default(),
    };
    let source = if files.get("pihole.toml").is_some() {
        current::read(files, &mut making)?;
        "Pi-hole 6"
    } else if is_archive_of_5 || files.get("setupVars.conf").is_some() {
        classic::read(files, &mut making)?;
        "Pi-hole 5"
    } else {
        return Err(ImportError::new(
            &files.name,
            "neither pihole.toml nor setupVars.conf is there: that is half a backup",
            "give the Teleporter archive, or the whole folder /etc/pihole",
        ));
    };
    making.report.source = match gravity.version {
        Some(version) => format!("{source}, gravity.db version {version}"),
        None => source.to_owned(),
    };
    let mut names = Names::default();
    let groups = making.groups(&gravity);
    making.lists(&gravity, &groups, &mut names);
    making.entries(&gravity, &groups);
    making.clients(&gravity, &groups);
    making.settings.own = std::mem::take(&mut making.own).finish("pihole", &mut names, &mut making.report);
    let Making { mut settings, mut report, .. } = making;
    crate::tidy::tidy(&mut settings, &mut report);
    report.leave(
        "the history of questions, the password and the look of the web interface",
        "they are Pi-hole's own",
        "keep the old machine for a while if you want to look something up",
    );
    Ok(Import { settings, report })
}

impl Making {
    /// Names of the enabled groups by their ids.
    fn groups(&mut self, gravity: &Gravity) -> BTreeMap<i64, String> {
        let mut names = Names::default();
        names.give(DEFAULT_GROUP, "");
        names.give(UNFILTERED, "");
        let mut groups = BTreeMap::new();
        let (mut off, mut over) = (Vec::new(), Vec::new());
        for group in &gravity.groups {
            if !group.enabled {
                off.push(group.name.clone());
                continue;
            }
            if group.id == 0 {
                groups.insert(0, DEFAULT_GROUP.to_owned());
                continue;
            }
            // One is left for those that nothing is filtered for.
            if groups.len() + 2 >= MAX_GROUPS {
                over.push(group.name.clone());
                continue;
            }
            let name = names.give(&group.name, "group");
            if name != group.name {
                self.report.translate(format!("group `{}`", group.name), format!("group `{name}`"));
            }
            let said = comment(&group.comment);
            self.settings.groups.push(Group { name: name.clone(), comment: said, ..Group::default() });
            groups.insert(group.id, name);
        }
        if !gravity.groups.iter().any(|group| group.id == 0) {
            groups.insert(0, DEFAULT_GROUP.to_owned());
        }
        self.report.take("groups", self.settings.groups.len());
        if !off.is_empty() {
            let why = "switched off in Pi-hole: what is in no other group does nothing there either";
            self.report.leave(several("groups", &off), why, "switch them on in Pi-hole and import again");
        }
        if !over.is_empty() {
            let why = format!("there are at most {MAX_GROUPS} groups");
            self.report.leave(
                several("groups", &over),
                why,
                "put groups together in Pi-hole and import again",
            );
        }
        groups
    }

    fn lists(&mut self, gravity: &Gravity, groups: &BTreeMap<i64, String>, names: &mut Names) {
        let (mut off, mut nowhere, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for list in &gravity.lists {
            if !list.enabled {
                off.push(shown(&list.address));
                continue;
            }
            let groups = in_force(&list.groups, groups);
            if groups.is_empty() {
                nowhere.push(shown(&list.address));
                continue;
            }
            if let Some((why, help)) = unfetchable(&list.address) {
                self.report.leave(format!("list {}", shown(&list.address)), why, help);
                continue;
            }
            if self.settings.subscriptions.len() == MAX_LISTS {
                over.push(shown(&list.address));
                continue;
            }
            let said = comment(&list.comment);
            let name = names.give(if said.is_empty() { "" } else { &said }, &of_url(&list.address));
            self.settings.subscriptions.push(Subscription {
                name,
                comment: said,
                url: list.address.clone(),
                allows: list.allows,
                groups,
            });
        }
        self.leave_all("lists", &off, "switched off in Pi-hole", "add those that you want as `[[lists]]`");
        self.leave_all("lists", &nowhere, "in no group that is switched on", "nothing: they did nothing");
        let why = format!("there are at most {MAX_LISTS} lists");
        self.leave_all("lists", &over, &why, "many of them hold the same names: choose");
    }

    fn entries(&mut self, gravity: &Gravity, groups: &BTreeMap<i64, String>) {
        let (mut off, mut nowhere) = (Vec::new(), Vec::new());
        for entry in &gravity.entries {
            if !entry.enabled {
                off.push(entry.text.clone());
                continue;
            }
            let groups = in_force(&entry.groups, groups);
            if groups.is_empty() {
                nowhere.push(entry.text.clone());
                continue;
            }
            let written = match entry.kind {
                EntryKind::AllowExact => exact("@@|", &entry.text),
                EntryKind::DenyExact => exact("|", &entry.text),
                EntryKind::AllowRegex => allowing(&entry.text),
                EntryKind::DenyRegex => denying(&entry.text),
            };
            let (kind, what) = match entry.kind {
                EntryKind::AllowExact => ("allowed names", "allowed name"),
                EntryKind::DenyExact => ("denied names", "denied name"),
                EntryKind::AllowRegex => ("allowing regular expressions", "allowing regular expression"),
                EntryKind::DenyRegex => ("denying regular expressions", "denying regular expression"),
            };
            match written {
                Ok((format, rule)) => {
                    self.own.add(&groups, format, &rule, &entry.comment);
                    self.report.take(kind, 1);
                }
                Err((why, help)) => self.report.leave(format!("{what} `{}`", entry.text), why, help),
            }
        }
        self.leave_all(
            "entries",
            &off,
            "switched off in Pi-hole",
            "write those that you want into the list files",
        );
        self.leave_all("entries", &nowhere, "in no group that is switched on", "nothing: they did nothing");
    }

    fn clients(&mut self, gravity: &Gravity, groups: &BTreeMap<i64, String>) {
        let mut names = Names::default();
        let mut over = Vec::new();
        let mut unfiltered = false;
        for client in &gravity.clients {
            let who = match who(&client.who) {
                Ok(who) => who,
                Err((why, help)) => {
                    self.report.leave(format!("client `{}`", client.who), why, help);
                    continue;
                }
            };
            if self.settings.clients.len() == MAX_CLIENTS {
                over.push(client.who.clone());
                continue;
            }
            if who != client.who && who.starts_with("host:") {
                self.report.translate(
                    format!("client `{}`", client.who),
                    format!(
                        "`{who}`: the name of its DHCP lease; `[dns.local] leases` says where leases are read"
                    ),
                );
            }
            let mut member = in_force(&client.groups, groups);
            if member.is_empty() {
                unfiltered = true;
                member.push(UNFILTERED.to_owned());
                self.report.translate(
                    format!("client `{}`, which is in no group that is switched on", client.who),
                    format!("group `{UNFILTERED}`, for which there are no lists"),
                );
            }
            let said = comment(&client.comment);
            let name = names.give(&said, &client.who);
            self.settings.clients.push(Client { name, comment: said, who: vec![who], groups: member });
        }
        if unfiltered {
            self.settings.groups.push(Group {
                name: UNFILTERED.to_owned(),
                comment: "clients that nothing is filtered for".to_owned(),
                ..Group::default()
            });
        }
        let why = format!("there are at most {MAX_CLIENTS} clients");
        self.leave_all("clients", &over, &why, "name networks instead of single clients");
    }

    fn leave_all(&mut self, kind: &str, names: &[String], why: &str, help: &str) {
        if !names.is_empty() {
            self.report.leave(several(kind, names), why, help);
        }
    }
}

/// The names of those groups that are switched on.
fn in_force(ids: &BTreeSet<i64>, groups: &BTreeMap<i64, String>) -> Vec<String> {
    ids.iter().filter_map(|id| groups.get(id).cloned()).collect()
}

/// Why a list cannot be fetched from here, and what to do.
pub(crate) fn unfetchable(address: &str) -> Option<(&'static str, &'static str)> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Some(("no URL", "copy the file here and add it as `[[lists]]` with `path`"));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {}
        "file" => {
            return Some(("a file of the old machine", "copy it here and add it as `[[lists]]` with `path`"));
        }
        _ => return Some(("only https:// and http:// are fetched", "look for the list under https://")),
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if host.contains('@') {
        return Some((
            "user and password stand in the URL",
            "add it as `[[lists]]` with `user` and `password_file`",
        ));
    }
    if host.is_empty() || address.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some(("no URL", "correct it in the old program and import again"));
    }
    None
}

type Refused = (String, &'static str);

/// A rule for exactly one name.
fn exact(before: &str, name: &str) -> Result<(&'static str, String), Refused> {
    match name.parse::<Name>() {
        Ok(name) => Ok(("adblock", format!("{before}{name}^$important"))),
        Err(error) => Err((format!("no domain name: {error}"), "nothing: no question ever asks for it")),
    }
}

/// A regular expression that denies: its language is read as it is.
fn denying(regex: &str) -> Result<(&'static str, String), Refused> {
    one_line(regex)?;
    Ok(("regex", regex.to_owned()))
}

/// A regular expression that allows. As an adblock rule it goes before exact names that deny, as in Pi-hole.
fn allowing(regex: &str) -> Result<(&'static str, String), Refused> {
    one_line(regex)?;
    let mut parts = regex.split(';');
    let pattern = parts.next().unwrap_or_default();
    let mut options = vec!["important".to_owned()];
    for part in parts {
        match part.split_once('=') {
            Some(("querytype", types)) => {
                let (not, types) = match types.strip_prefix('!') {
                    Some(types) => ("~", types),
                    None => ("", types),
                };
                let types: Vec<String> = types.split(',').map(|kind| format!("{not}{kind}")).collect();
                options.push(format!("dnstype={}", types.join("|")));
            }
            // Only the language of Pi-hole itself says these.
            _ => return Ok(("regex", format!("@@{regex}"))),
        }
    }
    // Adblock rules have another syntax than Pi-hole has.
    let pattern = lists::pihole_expression(pattern).map_err(|why| {
        (why, "write it as a list with `format = \"regex\"`, or allow the names one by one")
    })?;
    Ok(("adblock", format!("@@/{}/${}", pattern.replace('/', r"\/"), options.join(","))))
}

fn one_line(regex: &str) -> Result<(), Refused> {
    match regex.contains(['\n', '\r']) {
        true => Err(("it has several lines".into(), "write it on one line")),
        false => Ok(()),
    }
}

/// A client as the config names it.
fn who(text: &str) -> Result<String, Refused> {
    if let Some(interface) = text.strip_prefix(':') {
        return Err((
            format!("`{interface}` is an interface of the old machine"),
            "add a client with `who = [\"zone:NAME\"]` for the zone that it led to",
        ));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network.trunc().to_string());
    }
    if let Ok(mac) = text.parse::<Mac>() {
        return Ok(mac.to_string());
    }
    let host = text.split('.').next().unwrap_or_default();
    match host.parse::<Name>() {
        Ok(host) => Ok(format!("host:{host}")),
        Err(_) => Err((
            "neither an address, a network, a MAC address nor a host name".into(),
            "add it as `[dns.clients.NAME]` with a `who` that fits",
        )),
    }
}
