//! Clients of AdGuard Home, each with settings of its own, as groups.
//!
//! Everybody whom no client names is in `default`, which has the lists and what is blocked for all. A client that says
//! otherwise is in a group that has the lists alone, and in one with its services; equal ones share it.

use ipnet::IpNet;
use lists::DEFAULT_GROUP;
use model::Mac;
use std::net::IpAddr;

use super::{FILTERED, Making, week};
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

/// What is blocked besides lists.
#[derive(Clone, Debug, Default, PartialEq)]
struct Blocks {
    services: Vec<String>,
    times: Option<Vec<Schedule>>,
    safe_search: bool,
}

impl Blocks {
    fn is_nothing(&self) -> bool {
        self.services.is_empty() && !self.safe_search
    }
}

impl Making<'_> {
    /// Takes over services and clients. Returns the names of clients that have another one now.
    pub(super) fn clients(&mut self) -> Vec<(String, String)> {
        let root = self.root;
        let for_all = Blocks {
            safe_search: safe_search(self.first(&[
                "filtering.safe_search",
                "dns.safe_search",
                "dns.safesearch_enabled",
            ])),
            ..services(self.first(&["filtering.blocked_services", "dns.blocked_services"]), "all")
        };
        let clients = match root.at("clients.persistent").list() {
            [] => root.at("clients").list(),
            clients => clients,
        };
        let own = |client: &Node| self.blocks(client, &for_all);
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
        let known = ::lists::services();
        let mut unknown: Vec<&str> = Vec::new();
        for id in ids(self.first(&["filtering.blocked_services", "dns.blocked_services"]))
            .into_iter()
            .chain(clients.iter().flat_map(|client| ids(client.at("blocked_services"))))
        {
            if ours(id, &known).is_empty() && !unknown.contains(&id) {
                unknown.push(id);
            }
        }
        if !unknown.is_empty() {
            let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
            let help = "write its names into `dns.deny`, or into `deny` of a group";
            self.report.leave(several("blocked services", &unknown), "secd does not know them", help);
        }
        let mut renamed = Vec::new();
        for client in clients {
            let said = client.at("name").text().unwrap_or_default().to_owned();
            let Some(who) = self.who(client, &said) else { continue };
            if self.settings.clients.len() == MAX_CLIENTS {
                let why = format!("there are at most {MAX_CLIENTS} clients");
                self.report.leave(format!("client `{said}`"), why, "name networks instead of single clients");
                continue;
            }
            let name = names.give(&said, who.first().map_or("", String::as_str));
            if name != said && !said.is_empty() {
                renamed.push((said.clone(), name.clone()));
            }
            let blocks = self.blocks(client, &for_all);
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

    /// What is blocked for a client besides lists.
    fn blocks(&self, client: &Node, for_all: &Blocks) -> Blocks {
        let own = client.at("use_global_settings").flag() == Some(false);
        let own_services = client.at("use_global_blocked_services").flag() == Some(false);
        let name = client.at("name").text().unwrap_or("client");
        let safe = client.at("safe_search");
        let safe = if safe.is_nothing() { client.at("safesearch_enabled") } else { safe };
        Blocks {
            safe_search: if own { safe_search(safe) } else { for_all.safe_search },
            ..if own_services { services(client.at("blocked_services"), name) } else { for_all.clone() }
        }
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
        let key = |blocks: &Blocks| {
            let times = blocks.times.iter().flatten();
            let times: Vec<_> = times
                .map(|one| (one.days.clone(), one.from.clone(), one.to.clone(), one.zone.clone()))
                .collect();
            (blocks.services.clone(), blocks.safe_search, blocks.times.is_some(), times)
        };
        if let Some((_, made)) = groups.iter().find(|(other, _)| key(other) == key(blocks)) {
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

/// Whether lists hold for a client.
fn filters(client: &Node) -> bool {
    client.at("use_global_settings").flag() != Some(false)
        || client.at("filtering_enabled").flag() != Some(false)
}

/// Whether searches are safe; a flag at first, one for each site since schema 18.
fn safe_search(node: &Node) -> bool {
    node.flag().or_else(|| node.at("enabled").flag()).unwrap_or(false)
}

/// Services of AdGuard Home that have another name or are several here.
const ALSO: [(&str, &[&str]); 8] = [
    ("activision_blizzard", &["activision", "battle-net"]),
    ("amazon_streaming", &["prime-video"]),
    ("blizzard_entertainment", &["battle-net"]),
    ("copilot", &["microsoft-copilot"]),
    ("electronic_arts", &["ea"]),
    ("origin", &["ea"]),
    ("twitter", &["x"]),
    ("xboxlive", &["xbox"]),
];

/// Our names of a service of AdGuard Home.
fn ours(id: &str, known: &[::lists::Service]) -> Vec<String> {
    let bare = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let also = ALSO.iter().find(|(theirs, _)| *theirs == id).map_or(&[][..], |(_, ours)| ours);
    let is_it = |service: &&::lists::Service| {
        bare(&service.name) == bare(id) || also.contains(&service.name.as_str())
    };
    known.iter().filter(is_it).map(|service| service.name.clone()).collect()
}

/// The ids of services that are blocked.
fn ids(node: &Node) -> Vec<&str> {
    match node.at("ids").list() {
        [] => node.texts(),
        ids => ids.iter().filter_map(Node::text).collect(),
    }
}

/// Services that are blocked; a list at first, with times since schema 21.
fn services(node: &Node, name: &str) -> Blocks {
    let known = ::lists::services();
    let mut services: Vec<String> = ids(node).into_iter().flat_map(|id| ours(id, &known)).collect();
    services.sort();
    services.dedup();
    let times = week::blocked(node.at("schedule"), name).filter(|_| !services.is_empty());
    Blocks { services, times, safe_search: false }
}

/// A rule with clients named as they are now.
pub(super) fn rename(rule: &str, renamed: &[(String, String)]) -> String {
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
        let now = renamed.iter().find(|(old, _)| *old == bare).map_or(quoted, |(_, now)| now);
        format!("{not}{now}")
    });
    format!("{before}client={}{after}", names.collect::<Vec<_>>().join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_clients_as_they_are_called_now() {
        let renamed =
            [("Frank's laptop".to_owned(), "franks-laptop".to_owned()), ("TV".to_owned(), "tv".to_owned())];
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
