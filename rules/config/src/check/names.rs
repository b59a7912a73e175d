//! What rules can name: zones, groups of addresses, groups of devices, countries, systems, lists, interfaces, addresses.

use ipnet::IpNet;
use model::{Mac, Name};
use policy::{AddressSet, DeviceGroup, SetKind, Zone, address_set};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{countries, name_is_valid, net, zones::RESERVED};
use crate::{
    draft::{Draft, ListKind},
    error::{Report, listed, nearest, quoted},
    located::Located,
};

/// Groups of addresses; a config with more is refused.
const MOST_GROUPS: usize = abi::MAX_SETS as usize;
/// Addresses and networks of all groups together, those of groups within groups counted each time; a config with more
/// is refused.
const MOST_GROUPED: usize = 1_000_000;
/// Countries, systems and lists that rules name; a config with more is refused.
const MOST_FOREIGN: usize = abi::MAX_SETS as usize;
/// Different domains that rules name: those of a config and of the next one are told apart by the same bits. A config with
/// more is refused.
const MOST_DOMAINS: usize = abi::image::MAX_PATTERNS as usize / 2;
/// Groups of devices; a config with more is refused.
const MOST_DEVICE_GROUPS: usize = abi::MAX_DEVICE_GROUPS as usize - 1;
/// Devices of all groups together; a config with more is refused.
const MOST_DEVICES: usize = abi::MAX_DEVICES as usize;
/// Address sets in all: their places are `u16`.
const MOST_SETS: usize = 60_000;

/// Words in front of a colon that say what kind of thing is named.
const KINDS: [&str; 5] = ["country", "asn", "list", "interface", "domain"];

/// Something that a side of a rule names.
#[derive(Clone, Debug)]
pub(super) enum Named {
    Any,
    Zones(Vec<u8>),
    Set(u16),
    Devices(u16),
}

#[derive(Clone, Copy)]
enum Item {
    Zone(u8),
    Group(usize),
    Devices(u16),
}

impl Item {
    fn kind(self) -> &'static str {
        match self {
            Self::Zone(_) => "a zone",
            Self::Group(_) => "a group of addresses",
            Self::Devices(_) => "a group of devices",
        }
    }
}

/// Every name, and the sets that were named so far.
pub(super) struct Names<'a> {
    items: BTreeMap<&'a str, Item>,
    zones: &'a [Zone],
    draft: &'a Draft,
    groups: Vec<Arc<[IpNet]>>,
    pub(super) devices: Vec<DeviceGroup>,
    pub(super) sets: Vec<AddressSet>,
    places: BTreeMap<(SetKind, String), u16>,
    foreign: usize,
    told: BTreeSet<&'static str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(draft: &'a Draft, zones: &'a [Zone], report: &mut Report<'_>) -> Self {
        let mut names = Self {
            items: BTreeMap::new(),
            zones,
            draft,
            groups: Vec::new(),
            devices: Vec::new(),
            sets: Vec::new(),
            places: BTreeMap::new(),
            foreign: 0,
            told: BTreeSet::new(),
        };
        let mut places = BTreeMap::new();
        for ((name, _), zone) in draft.zones.0.iter().zip(zones) {
            names.items.insert(&name.value, Item::Zone(zone.id));
            places.insert(name.as_str(), name.at);
        }
        if let Some((first_over, _)) = draft.addresses.0.get(MOST_GROUPS) {
            let count = draft.addresses.0.len();
            report.add(
                first_over.at,
                format!("`addresses` has {count} groups"),
                format!("write at most {MOST_GROUPS}"),
            );
        }
        let groups = draft.addresses.0.iter().take(MOST_GROUPS).enumerate();
        for (place, (name, _)) in groups {
            names.enter(name, Item::Group(place), &mut places, report);
        }
        if let Some((first_over, _)) = draft.devices.0.get(MOST_DEVICE_GROUPS) {
            report.add(
                first_over.at,
                format!("`devices` has {} groups", draft.devices.0.len()),
                format!("write at most {MOST_DEVICE_GROUPS}"),
            );
        }
        for (place, (name, _)) in (0u16..).zip(draft.devices.0.iter().take(MOST_DEVICE_GROUPS)) {
            names.enter(name, Item::Devices(place), &mut places, report);
        }
        names.resolve_groups(report);
        names.read_devices(report);
        names
    }

    fn enter(
        &mut self,
        name: &'a Located<String>,
        item: Item,
        places: &mut BTreeMap<&'a str, usize>,
        report: &mut Report<'_>,
    ) {
        let kind = match item {
            Item::Zone(_) => "zone",
            Item::Group(_) | Item::Devices(_) => "group",
        };
        if RESERVED.contains(&name.as_str()) || name.value == "wan" {
            report.add(
                name.at,
                format!("`{}` is reserved and cannot be the name of a group", name.value),
                "choose another name; rules use this one for something else",
            );
            return;
        }
        name_is_valid(kind, name, name.at, report);
        match self.items.get(name.as_str()) {
            Some(other) => {
                let line = report.span(places.get(name.as_str()).copied().unwrap_or(0)).line;
                report.add(
                    name.at,
                    format!("{} is {} already, on line {line}", quoted(name), other.kind()),
                    "give each zone and group a name of its own: rules could not tell them apart",
                );
            }
            None => {
                self.items.insert(&name.value, item);
                places.insert(&name.value, name.at);
            }
        }
    }

    /// What a side of a rule names; whatever is wrong with it is told here. `key` is `from`, `to` or `sources`.
    pub(super) fn resolve(
        &mut self,
        key: &str,
        text: &Located<String>,
        report: &mut Report<'_>,
    ) -> Option<Named> {
        match text.as_str() {
            "any" => return Some(Named::Any),
            "self" => return Some(Named::Zones(vec![abi::ZONE_SELF])),
            "multicast" => return Some(Named::Zones(vec![abi::ZONE_MULTICAST])),
            name => match self.items.get(name) {
                Some(Item::Zone(id)) => return Some(Named::Zones(vec![*id])),
                Some(Item::Devices(place)) => return Some(Named::Devices(*place)),
                Some(Item::Group(place)) => {
                    let nets = self.groups.get(*place).cloned().unwrap_or_default();
                    return self.set(SetKind::Group, name, nets, text.at, report).map(Named::Set);
                }
                None => {}
            },
        }
        if text.value == "wan"
            && let Some(zone) = self.zones.iter().find(|zone| zone.wan)
        {
            return Some(Named::Zones(vec![zone.id]));
        }
        if text.parse::<std::net::IpAddr>().is_ok() || text.parse::<IpNet>().is_ok() {
            let net = net::network(key, text, report)?;
            let name = if net.prefix_len() == net.max_prefix_len() {
                net.addr().to_string()
            } else {
                net.to_string()
            };
            return self.set(SetKind::Group, &name, address_set(vec![net]), text.at, report).map(Named::Set);
        }
        match text.split_once(':') {
            Some(("country", code)) => self.country(text, code, report).map(Named::Set),
            Some(("asn", number)) => self.system(text, number, report).map(Named::Set),
            Some(("list", name)) => self.list(text, name, report).map(Named::Set),
            Some(("domain", name)) => self.domain(key, text, name, report).map(Named::Set),
            Some(("interface", name)) => self.interface(text, name, report).map(Named::Zones),
            Some((kind, rest)) if nearest(kind, KINDS).is_some() => {
                let near = nearest(kind, KINDS).unwrap_or_default();
                report.add(
                    text.at,
                    format!("{} names nothing", quoted(text)),
                    format!("did you mean `{near}:{rest}`?"),
                );
                None
            }
            _ if key == "to" && looks_like_domain(text) => {
                report.add(
                    text.at,
                    format!("{} names nothing", quoted(text)),
                    format!("did you mean the domain? write `domain:{}`", text.value),
                );
                None
            }
            _ if text.contains(['.', ':', '/']) => {
                net::network(key, text, report);
                None
            }
            _ => {
                self.unknown(text, report);
                None
            }
        }
    }

    fn set(
        &mut self,
        kind: SetKind,
        name: &str,
        nets: Arc<[IpNet]>,
        at: usize,
        report: &mut Report<'_>,
    ) -> Option<u16> {
        let key = (kind, name.to_owned());
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let is_foreign = kind != SetKind::Group;
        if self.sets.len() >= MOST_SETS || is_foreign && self.foreign >= MOST_FOREIGN {
            if self.told.insert(if is_foreign { "foreign" } else { "sets" }) {
                let (what, most) = if is_foreign {
                    ("countries, systems, lists and domains", MOST_FOREIGN)
                } else {
                    ("addresses and groups", MOST_SETS)
                };
                report.add(
                    at,
                    format!("the rules name more than {most} different {what}"),
                    "gather addresses in groups that several rules name",
                );
            }
            return None;
        }
        self.foreign += usize::from(is_foreign);
        let place = u16::try_from(self.sets.len()).ok()?;
        self.sets.push(AddressSet { name: key.1.clone(), kind, nets });
        self.places.insert(key, place);
        Some(place)
    }

    fn country(&mut self, text: &Located<String>, code: &str, report: &mut Report<'_>) -> Option<u16> {
        let code = code.to_ascii_uppercase();
        if !countries::CODES.contains(&code.as_str()) {
            let help = match countries::meant(&code) {
                Some(meant) => format!("did you mean `country:{meant}`?"),
                None => "write the two letters of ISO 3166-1, for example `country:DE`".to_owned(),
            };
            report.add(text.at, format!("there is no country {}", quoted(&code)), help);
            return None;
        }
        self.needs_database(false, text, report);
        self.set(SetKind::Country, &code, Arc::default(), text.at, report)
    }

    fn system(&mut self, text: &Located<String>, number: &str, report: &mut Report<'_>) -> Option<u16> {
        let digits = number.trim_start_matches(['A', 'a']).trim_start_matches(['S', 's']);
        match number.parse::<u32>() {
            Ok(number) if number > 0 => {
                self.needs_database(true, text, report);
                self.set(SetKind::System, &number.to_string(), Arc::default(), text.at, report)
            }
            _ => {
                let help = match digits.parse::<u32>() {
                    Ok(number) if number > 0 => format!("write the number alone: `asn:{number}`"),
                    _ => "write a number from 1 to 4294967295, for example `asn:3320`".to_owned(),
                };
                report.add(text.at, format!("{} is no autonomous system", quoted(text)), help);
                None
            }
        }
    }

    /// One name, or all below one: destinations outside, by what the resolver answered.
    fn domain(
        &mut self,
        key: &str,
        text: &Located<String>,
        pattern: &str,
        report: &mut Report<'_>,
    ) -> Option<u16> {
        if key != "to" {
            report.add(
                text.at,
                format!("{} in `{key}`: domains are where flows go to", quoted(text)),
                "name zones, addresses or devices here",
            );
            return None;
        }
        let (wild, name) = pattern.strip_prefix("*.").map_or(("", pattern), |name| ("*.", name));
        let name = match name.parse::<Name>() {
            Ok(name) if !name.as_str().is_empty() && !name.as_str().contains('*') => name,
            Ok(_) | Err(_) => {
                report.add(
                    text.at,
                    format!("{} is no domain", quoted(text)),
                    "write a name, or `*.` and a name for all below it: `domain:*.docker.io`",
                );
                return None;
            }
        };
        if self.draft.dns.listen.is_empty() && !report.is_misfit("dns.listen") && self.told.insert("resolver")
        {
            report.add(
                text.at,
                format!("{} depends on the resolver, which answers nobody", quoted(text)),
                "add an address of the router to `[dns] listen`",
            );
        }
        let name = format!("{wild}{name}");
        let mut known = self.sets.iter().zip(0..).filter(|(set, _)| matches!(set.kind, SetKind::Names(_)));
        if let Some((_, place)) = known.clone().find(|(set, _)| set.name == name) {
            return Some(place);
        }
        let number = known.by_ref().count();
        if number >= MOST_DOMAINS {
            if self.told.insert("domains") {
                report.add(
                    text.at,
                    format!("the rules name more than {MOST_DOMAINS} different domains"),
                    "name a domain with all below it (`domain:*.example.com`) in place of each name",
                );
            }
            return None;
        }
        self.set(SetKind::Names(u8::try_from(number).ok()?), &name, Arc::default(), text.at, report)
    }

    fn needs_database(&mut self, is_system: bool, text: &Located<String>, report: &mut Report<'_>) {
        let geoip = &self.draft.geoip;
        let databases = [(&geoip.path, geoip.fetch()), (&geoip.systems.path, geoip.systems.fetch())];
        let wanted = if is_system { &databases[..] } else { &databases[..1] };
        let is_there = wanted
            .iter()
            .any(|(path, fetch)| path.is_some() || fetch.url.is_some() || fetch.catalogue.is_some());
        let keys = ["geoip", "geoip.path", "geoip.url", "geoip.catalogue", "geoip.systems"];
        let is_misfit = keys.iter().any(|key| report.is_misfit(key));
        if !is_there && !is_misfit && self.told.insert("database") {
            report.add(
                text.at,
                format!("{} needs a GeoIP database, and there is none", quoted(text)),
                if is_system {
                    "add for example `[geoip.systems]` with `catalogue = \"geoip-asn\"`"
                } else {
                    "add for example `[geoip]` with `catalogue = \"geoip-country\"`"
                },
            );
        }
    }

    fn list(&mut self, text: &Located<String>, name: &str, report: &mut Report<'_>) -> Option<u16> {
        let lists = &self.draft.lists;
        let Some(list) = lists.iter().find(|list| list.name.value == name) else {
            let help = match nearest(name, lists.iter().map(|list| list.name.as_str())) {
                Some(near) => format!("did you mean `list:{near}`?"),
                None => "define it as `[[lists]]` with this name".to_owned(),
            };
            report.add(text.at, format!("there is no list {}", quoted(name)), help);
            return None;
        };
        if list.kind.as_ref().is_some_and(|kind| kind.value == ListKind::Domains) {
            report.add(
                text.at,
                format!("the list {} lists names, not addresses", quoted(name)),
                "name a list with `kind = \"addresses\"`",
            );
            return None;
        }
        self.set(SetKind::List, name, Arc::default(), text.at, report)
    }

    fn interface(&self, text: &Located<String>, name: &str, report: &mut Report<'_>) -> Option<Vec<u8>> {
        let of = |zone: &&Zone| zone.interface == name || zone.device == name;
        let ids: Vec<u8> = self.zones.iter().filter(of).map(|zone| zone.id).collect();
        if ids.is_empty() {
            let known = || self.zones.iter().flat_map(|zone| [zone.interface.as_str(), zone.device.as_str()]);
            let known: BTreeSet<&str> = known().filter(|name| !name.is_empty()).collect();
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `interface:{near}`?"),
                None if known.is_empty() => "write the `interface` of a zone".to_owned(),
                None => format!("write one of {}", listed(known)),
            };
            report.add(text.at, format!("no zone has the interface {}", quoted(name)), help);
            return None;
        }
        Some(ids)
    }

    fn unknown(&self, text: &Located<String>, report: &mut Report<'_>) {
        /// Names that a message lists.
        const MOST_LISTED: usize = 30;
        if report.is_full() {
            return report.add(text.at, "", "");
        }
        let known = || self.items.keys().copied().chain(RESERVED);
        let help = match nearest(text, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if self.items.is_empty() => {
                format!("define it as `[zones.{}]`, or use {}", text.value, listed(RESERVED))
            }
            None if self.items.len() <= MOST_LISTED => {
                let in_order = self.zones.iter().map(|zone| zone.name.as_str());
                let groups = self.items.iter().filter(|(_, item)| !matches!(item, Item::Zone(_)));
                format!(
                    "write one of {}",
                    listed(in_order.chain(groups.map(|(name, _)| *name)).chain(RESERVED))
                )
            }
            None => "write the name of a zone or group as it is defined in this file".to_owned(),
        };
        let what = if self.draft.addresses.0.is_empty() && self.draft.devices.0.is_empty() {
            "zone"
        } else {
            "zone or group"
        };
        report.add(text.at, format!("there is no {what} {}", quoted(text)), help);
    }

    /// Groups within groups; a group that names itself is told with the way round.
    fn resolve_groups(&mut self, report: &mut Report<'_>) {
        let drafts = &self.draft.addresses.0;
        let count = drafts.len().min(MOST_GROUPS);
        let mut walk = Groups { state: vec![State::New; count], done: vec![Arc::default(); count], total: 0 };
        for (place, (name, members)) in drafts.iter().take(count).enumerate() {
            if members.is_empty() {
                report.add(
                    name.at,
                    format!("the group {} is empty", quoted(name)),
                    format!("write for example `{} = [\"10.3.0.2\"]`", name.value),
                );
            }
            walk.group(place, self, report);
        }
        self.groups = walk.done;
    }

    fn read_devices(&mut self, report: &mut Report<'_>) {
        let mut total = 0;
        for (name, members) in self.draft.devices.0.iter().take(MOST_DEVICE_GROUPS) {
            if members.is_empty() {
                report.add(
                    name.at,
                    format!("the group {} is empty", quoted(name)),
                    format!("write for example `{} = [\"aa:bb:cc:dd:ee:01\"]`", name.value),
                );
            }
            let mut macs = Vec::new();
            for text in members {
                total += 1;
                if total == MOST_DEVICES + 1 {
                    let all: usize = self.draft.devices.0.iter().map(|(_, members)| members.len()).sum();
                    report.add(
                        text.at,
                        format!("the groups of `devices` have {all} devices"),
                        format!("write at most {MOST_DEVICES}"),
                    );
                }
                if total <= MOST_DEVICES
                    && let Some(mac) = self.device(name, text, report)
                {
                    macs.push((mac, text));
                }
            }
            macs.sort_by_key(|(mac, text)| (*mac, text.at));
            for pair in macs.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
                let text = pair[1].1;
                report.add(
                    text.at,
                    format!("{} stands twice in the group {}", quoted(text), quoted(name)),
                    "remove one of the two",
                );
            }
            let mut macs: Vec<Mac> = macs.into_iter().map(|(mac, _)| mac).collect();
            macs.dedup();
            self.devices.push(DeviceGroup { name: name.value.clone(), macs, addresses: Arc::default() });
        }
    }

    fn device(&self, group: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<Mac> {
        let (message, help) = match text.parse::<Mac>() {
            Ok(mac) if !mac.is_group() && mac != Mac::default() => return Some(mac),
            Ok(_) => (
                format!("{} in the group {} is no device's address", quoted(text), quoted(group)),
                "write the address of one device; broadcast and multicast are none",
            ),
            Err(_) if matches!(self.items.get(text.as_str()), Some(Item::Devices(_) | Item::Group(_))) => (
                format!("{} in the group {} is a group", quoted(text), quoted(group)),
                "write the addresses of its devices; groups of devices hold no groups",
            ),
            Err(_) => (
                format!("{} in the group {} is no MAC address", quoted(text), quoted(group)),
                "write it as `aa:bb:cc:dd:ee:01`; `ip neigh` shows those of your devices",
            ),
        };
        report.add(text.at, message, help);
        None
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

/// The walk over groups within groups, as deep as there are groups.
struct Groups {
    state: Vec<State>,
    done: Vec<Arc<[IpNet]>>,
    /// Addresses of all that are done.
    total: usize,
}

/// A group that is being walked: its place, the next member, what it holds so far.
struct Open {
    place: usize,
    next: usize,
    nets: Vec<IpNet>,
}

impl Groups {
    fn group(&mut self, place: usize, names: &Names<'_>, report: &mut Report<'_>) {
        if self.state[place] != State::New {
            return;
        }
        let drafts = &names.draft.addresses.0;
        let mut open = vec![Open { place, next: 0, nets: Vec::new() }];
        self.state[place] = State::Open;
        while let Some(top) = open.last_mut() {
            let (name, members) = &drafts[top.place];
            let Some(text) = members.get(top.next) else {
                let Some(top) = open.pop() else { break };
                self.finish(top, name, report);
                continue;
            };
            let inner = match names.items.get(text.as_str()) {
                Some(Item::Group(inner)) => *inner,
                Some(Item::Zone(_) | Item::Devices(_)) => {
                    top.next += 1;
                    report.add(
                        text.at,
                        format!("{} in the group {} is no group of addresses", quoted(text), quoted(name)),
                        "write addresses, networks and names of `[addresses]`; rules can name zones and devices beside",
                    );
                    continue;
                }
                None => {
                    top.next += 1;
                    top.nets.extend(member(text, names, report));
                    continue;
                }
            };
            match self.state[inner] {
                State::Done => {
                    top.next += 1;
                    if self.total + top.nets.len() <= MOST_GROUPED {
                        top.nets.extend(self.done[inner].iter().copied());
                    }
                }
                State::New => {
                    self.state[inner] = State::Open;
                    open.push(Open { place: inner, next: 0, nets: Vec::new() });
                }
                State::Open => {
                    top.next += 1;
                    let from = open.iter().position(|group| group.place == inner).unwrap_or(0);
                    let mut way: Vec<&str> =
                        open[from..].iter().map(|group| drafts[group.place].0.as_str()).collect();
                    /// Groups of the way that a message tells.
                    const MOST_TOLD: usize = 8;
                    if way.len() > MOST_TOLD {
                        way.truncate(MOST_TOLD);
                        way.push("…");
                    }
                    report.add(
                        text.at,
                        format!(
                            "the group {} holds itself: {} → {}",
                            quoted(text),
                            way.join(" → "),
                            text.value
                        ),
                        "take one of these names out of the other group",
                    );
                }
            }
        }
    }

    fn finish(&mut self, group: Open, name: &Located<String>, report: &mut Report<'_>) {
        self.state[group.place] = State::Done;
        let nets = address_set(group.nets);
        let before = self.total;
        self.total += nets.len();
        if self.total <= MOST_GROUPED {
            self.done[group.place] = nets;
        } else if before <= MOST_GROUPED {
            report.add(
                name.at,
                format!("with the group {} the groups hold more than {MOST_GROUPED} addresses", quoted(name)),
                "put long lists into files of their own (`[[lists]]` with `block = false`) and name them `list:NAME`",
            );
        }
    }
}

/// An address or network in a group.
fn member(text: &Located<String>, names: &Names<'_>, report: &mut Report<'_>) -> Option<IpNet> {
    let is_name = !text.contains(['.', ':', '/']);
    if !is_name {
        return net::network("addresses", text, report);
    }
    if report.is_full() {
        report.add(text.at, "", "");
        return None;
    }
    let groups = names.items.iter().filter(|(_, item)| matches!(item, Item::Group(_))).map(|(name, _)| *name);
    let help = match nearest(text, groups) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write addresses, networks, or names of other groups of `[addresses]`".to_owned(),
    };
    report.add(text.at, format!("there is no group {}", quoted(text)), help);
    None
}

/// Whether someone may have meant a domain: labels with dots, the last one of letters.
fn looks_like_domain(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let last = name.rsplit_once('.').map(|(_, last)| last);
    name.parse::<Name>().is_ok()
        && last.is_some_and(|last| last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_alphabetic()))
}
