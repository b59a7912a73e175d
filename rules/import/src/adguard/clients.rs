//! Clients of AdGuard Home, each with settings of its own, as groups.
//!
//! Everybody whom no client names is in `default`, which has the lists and what is blocked for all. A client that says
//! otherwise is in a group that has the lists alone, and in one with its services; equal ones share it.

use ipnet::IpNet;
use lists::DEFAULT_GROUP;
use model::Mac;
use std::{collections::BTreeMap, net::IpAddr};

use super::{
    FILTERED, Making,
    services::{Blocks, Known, ids, safe_search},
};
use crate::{
    limits::{MAX_CLIENTS, MAX_GROUPS},
    names::Names,
    report::several,
    settings::{Client, Group, Schedule},
    yaml::Node,
};

/// The group of clients that nothing is filtered for.
const UNFILTERED: &str = "unfiltered";
/// The client that stands for all whom no other names.
const EVERYONE: &str = "everyone";

impl Making<'_> {
    /// Takes over services and clients. Returns the names of clients that have another one now.
    pub(super) fn clients(&mut self) -> BTreeMap<String, String> {
        let root = self.root;
        let known = Known::new();
        let for_all = Blocks {
            safe_search: safe_search(self.first(&[
                "filtering.safe_search",
                "dns.safe_search",
                "dns.safesearch_enabled",
            ])),
            ..known.blocked(self.blocked_services(), "all")
        };
        let clients = match root.at("clients.persistent").list() {
            [] => root.at("clients").list(),
            clients => clients,
        };
        let (clients, over) = clients.split_at(clients.len().min(MAX_CLIENTS));
        if !over.is_empty() {
            let over: Vec<String> =
                over.iter().map(|client| client.at("name").text().unwrap_or_default().to_owned()).collect();
            let why = format!("there are at most {MAX_CLIENTS} clients");
            self.report.leave(several("clients", &over), why, "name networks instead of single clients");
        }
        let own = |client: &Node| blocks(client, &for_all, &known);
        let differs =
            clients.iter().any(|client| own(client) != for_all && filters(client)) || for_all.times.is_some();
        if differs {
            self.filtered.push(FILTERED.to_owned());
            self.settings.groups.push(Group {
                name: FILTERED.to_owned(),
                comment: "lists, without what is blocked for all".to_owned(),
                ..Group::default()
            });
        }
        let mut groups: Vec<(Blocks, Vec<String>)> = Vec::new();
        let mut group_names = Names::default();
        for taken in [DEFAULT_GROUP, FILTERED, UNFILTERED] {
            group_names.give(taken, "");
        }
        let mut names = Names::default();
        if for_all.times.is_some() {
            // `default` has no schedule, so who is in it has another group for the times.
            names.give(EVERYONE, "");
            let mut member = vec![DEFAULT_GROUP.to_owned()];
            member.extend(self.groups_for(&for_all, "services", &mut groups, &mut group_names));
            self.settings.clients.push(Client {
                name: EVERYONE.to_owned(),
                comment: "all whom no other client names".to_owned(),
                who: vec!["0.0.0.0/0".to_owned(), "::/0".to_owned()],
                groups: member,
            });
            self.report.translate(
                "services that are blocked at times",
                "groups with schedules, and a client for everyone",
            );
        } else {
            self.settings.services.clone_from(&for_all.services);
            self.settings.safe_search = for_all.safe_search;
        }
        self.report.take("blocked services", for_all.services.len());
        let for_clients = clients.iter().flat_map(|client| ids(client.at("blocked_services")));
        let unknown = known.unknown(ids(self.blocked_services()).into_iter().chain(for_clients));
        if !unknown.is_empty() {
            let help = "write its names into `dns.deny`, or into `deny` of a group";
            self.report.leave(several("blocked services", &unknown), "secd does not know them", help);
        }
        let mut renamed = BTreeMap::new();
        for client in clients {
            let said = client.at("name").text().unwrap_or_default().to_owned();
            let Some(who) = self.who(client, &said) else { continue };
            let name = names.give(&said, who.first().map_or("", String::as_str));
            if name != said && !said.is_empty() {
                renamed.entry(said.clone()).or_insert_with(|| name.clone());
            }
            let blocks = blocks(client, &for_all, &known);
            let mut member = Vec::new();
            if blocks == for_all && filters(client) && for_all.times.is_none() {
                member.push(DEFAULT_GROUP.to_owned());
            } else {
                if filters(client) {
                    member.push(FILTERED.to_owned());
                }
                member.extend(self.groups_for(&blocks, &name, &mut groups, &mut group_names));
            }
            if member.is_empty() {
                member.push(UNFILTERED.to_owned());
                if !self.settings.groups.iter().any(|group| group.name == UNFILTERED) {
                    self.settings.groups.push(Group {
                        name: UNFILTERED.to_owned(),
                        comment: "clients that nothing is filtered for".to_owned(),
                        ..Group::default()
                    });
                }
            }
            self.left_of(client, &said);
            let comment = if name == said { String::new() } else { crate::names::comment(&said) };
            self.settings.clients.push(Client { name, comment, who, groups: member });
        }
        self.report.take("groups", self.settings.groups.len());
        renamed
    }

    /// The groups that block this; they are made when nobody had them before.
    fn groups_for(
        &mut self,
        blocks: &Blocks,
        name: &str,
        groups: &mut Vec<(Blocks, Vec<String>)>,
        names: &mut Names,
    ) -> Vec<String> {
        if blocks.is_nothing() {
            return Vec::new();
        }
        if let Some((_, made)) = groups.iter().find(|(other, _)| other.is_like(blocks)) {
            return made.clone();
        }
        let times: Vec<Option<&Schedule>> = match &blocks.times {
            None => vec![None],
            Some(times) => times.iter().map(Some).collect(),
        };
        let searches_apart = blocks.safe_search && blocks.times.is_some();
        if self.settings.groups.len() + times.len() + 3 > MAX_GROUPS {
            let why = format!("there are at most {MAX_GROUPS} groups");
            self.report.leave(
                format!("services blocked for `{name}`"),
                why,
                "let clients have the same settings",
            );
            return Vec::new();
        }
        let mut made = Vec::new();
        for time in times {
            if blocks.services.is_empty() && blocks.times.is_some() {
                break;
            }
            let schedule = time.map(|time| {
                let schedule = Schedule { name: names.give(&format!("{name}-times"), ""), ..time.clone() };
                self.settings.schedules.push(schedule.clone());
                schedule.name
            });
            let group = names.give(name, "services");
            self.settings.groups.push(Group {
                name: group.clone(),
                services: blocks.services.clone(),
                safe_search: blocks.safe_search && !searches_apart,
                schedule,
                ..Group::default()
            });
            made.push(group);
        }
        if searches_apart {
            let group = names.give(&format!("{name}-search"), "search");
            self.settings.groups.push(Group { name: group.clone(), safe_search: true, ..Group::default() });
            made.push(group);
        }
        groups.push((blocks.clone(), made.clone()));
        made
    }

    /// How a client is known: addresses, networks, MAC addresses. None for one that is known in no such way.
    fn who(&mut self, client: &Node, name: &str) -> Option<Vec<String>> {
        let ids = client.at("ids").texts();
        let old = ["ip", "mac"].map(|key| client.at(key).text().unwrap_or_default());
        let (mut who, mut ids_of_encrypted) = (Vec::new(), Vec::new());
        for id in ids.into_iter().chain(old).filter(|id| !id.is_empty()) {
            let known = id
                .parse::<IpAddr>()
                .map(|address| address.to_string())
                .or_else(|_| id.parse::<IpNet>().map(|network| network.trunc().to_string()))
                .ok()
                .or_else(|| id.parse::<Mac>().ok().map(|mac| mac.to_string()));
            match known {
                Some(known) => who.push(known),
                None => ids_of_encrypted.push(id.to_owned()),
            }
        }
        if !ids_of_encrypted.is_empty() {
            self.report.leave(
                several(&format!("identifiers of the client `{name}`"), &ids_of_encrypted),
                "clients are known by address, network, MAC address or host name, not by what they say of themselves",
                "add its MAC address or `host:NAME` to `who`",
            );
        }
        if who.is_empty() {
            let why = "nothing is left by which it could be known";
            self.report.leave(format!("client `{name}`"), why, "add it as `[dns.clients.NAME]`");
            return None;
        }
        Some(who)
    }

    /// What a client says and secd does not.
    fn left_of(&mut self, client: &Node, name: &str) {
        let texts = |key: &str| client.at(key).texts().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let own = client.at("use_global_settings").flag() == Some(false);
        let upstreams = texts("upstreams");
        if !upstreams.is_empty() {
            self.report.leave(
                several(&format!("upstreams of the client `{name}`"), &upstreams),
                "all clients have the same upstreams",
                "write `[[dns.forwards]]` for names that another server knows",
            );
        }
        let tags = texts("tags");
        if !tags.is_empty() {
            let help = "name the client in rules by `$client`, or put it into a group";
            self.report.leave(
                several(&format!("tags of the client `{name}`"), &tags),
                "clients have no tags",
                help,
            );
        }
        for (key, what) in
            [("parental_enabled", "parental control"), ("safebrowsing_enabled", "safe browsing")]
        {
            if own && client.at(key).flag() == Some(true) {
                let why = "it asks a service of AdGuard about every name";
                self.report.leave(
                    format!("{what} of the client `{name}`"),
                    why,
                    "subscribe to a list for its group",
                );
            }
        }
        if client.at("ignore_querylog").flag() == Some(true) {
            let why = "what is told of questions is said for zones";
            self.report.leave(format!("no log of the client `{name}`"), why, "see `dns_privacy` of its zone");
        }
    }
}

/// What is blocked for a client besides lists.
fn blocks(client: &Node, for_all: &Blocks, known: &Known) -> Blocks {
    let own = client.at("use_global_settings").flag() == Some(false);
    let own_services = client.at("use_global_blocked_services").flag() == Some(false);
    let name = client.at("name").text().unwrap_or("client");
    let safe = client.at("safe_search");
    let safe = if safe.is_nothing() { client.at("safesearch_enabled") } else { safe };
    Blocks {
        safe_search: if own { safe_search(safe) } else { for_all.safe_search },
        ..if own_services { known.blocked(client.at("blocked_services"), name) } else { for_all.clone() }
    }
}

/// Whether lists hold for a client.
fn filters(client: &Node) -> bool {
    client.at("use_global_settings").flag() != Some(false)
        || client.at("filtering_enabled").flag() != Some(false)
}

/// A rule with clients named as they are now.
pub(super) fn rename(rule: &str, renamed: &BTreeMap<String, String>) -> String {
    let Some((before, value)) = rule.rsplit_once("client=") else { return rule.to_owned() };
    if renamed.is_empty() || !before.ends_with(['$', ',']) {
        return rule.to_owned();
    }
    // The next option begins at a comma that is not escaped.
    let escaped = |at: usize| value[..at].ends_with('\\');
    let end = value.match_indices(',').map(|(at, _)| at).find(|at| !escaped(*at)).unwrap_or(value.len());
    let (clients, after) = value.split_at(end);
    let names = clients.split('|').map(|client| {
        let (not, quoted) = match client.strip_prefix('~') {
            Some(client) => ("~", client),
            None => ("", client),
        };
        let bare = quoted.trim_matches(['\'', '"']).replace('\\', "");
        let now = renamed.get(&bare).map_or(quoted, String::as_str);
        format!("{not}{now}")
    });
    format!("{before}client={}{after}", names.collect::<Vec<_>>().join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_clients_as_they_are_called_now() {
        let renamed = BTreeMap::from([
            ("Frank's laptop".to_owned(), "franks-laptop".to_owned()),
            ("TV".to_owned(), "tv".to_owned()),
        ]);
        for (rule, now) in [
            (r"||ads.example^$client='Frank\'s laptop'", "||ads.example^$client=franks-laptop"),
            ("||ads.example^$client=~TV|10.4.0.9,important", "||ads.example^$client=~tv|10.4.0.9,important"),
            ("||client=TV.example^", "||client=TV.example^"),
            ("||ads.example^", "||ads.example^"),
        ] {
            assert_eq!(rename(rule, &renamed), now);
        }
    }
}
