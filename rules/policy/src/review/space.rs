//! The flows a policy can tell apart, as classes: addresses that are in the same sets and zone, devices in the same
//! groups, ports between the same edges. A rule that takes one flow of a class takes all of them, so few samples stand
//! for everything.

use abi::{ZONE_MULTICAST, ZONE_NONE, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Mac, Protocol};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{Policy, ServiceMatch, has_ports};

/// Number of a set: places of [`Policy::sets`], then the addresses of device groups, then those of forwards.
pub(super) type SetId = u32;

/// Places as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn none(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    pub(super) fn of(length: usize, holds: impl Fn(usize) -> bool) -> Self {
        let mut bits = Self::none(length);
        (0..length).filter(|place| holds(*place)).for_each(|place| bits.set(place));
        bits
    }

    pub(super) fn set(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(&others.0).for_each(|(word, other)| *word |= other);
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    pub(super) fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(a, b)| a & !b).collect())
    }

    /// The first place that is in both.
    pub(super) fn first_in(&self, other: &Self) -> Option<usize> {
        let mut both = self.0.iter().zip(&other.0).map(|(a, b)| a & b).enumerate();
        both.find(|(_, word)| *word != 0).map(|(place, word)| place * 64 + word.trailing_zeros() as usize)
    }

    pub(super) fn first(&self) -> Option<usize> {
        self.first_in(self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

/// Addresses that nothing in the policy tells apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct AddressClass {
    /// The zone that they belong to.
    pub(super) home: ZoneId,
    /// On the link itself (link-local, unspecified): such a source comes from any zone.
    pub(super) link: bool,
    pub(super) v6: bool,
    /// Sets that hold them, in order.
    pub(super) sets: Vec<SetId>,
}

/// A set as far as it is known.
pub(super) enum Content<'a> {
    Known(&'a [IpNet]),
    /// A country or list whose addresses come at run time: it may hold anything.
    Unknown,
}

/// Which zone an address belongs to, and whether it is on the link.
pub(super) fn zones_of_addresses(policy: &Policy, own: &[IpAddr]) -> BTreeMap<IpNet, (ZoneId, bool)> {
    let mut map = BTreeMap::new();
    let wan = policy.zones.iter().find(|zone| zone.wan).map_or(ZONE_NONE, |zone| zone.id);
    for everything in ["0.0.0.0/0", "::/0"] {
        map.extend(everything.parse().map(|net| (net, (wan, false))));
    }
    for zone in &policy.zones {
        map.extend(zone.networks.iter().chain(&zone.routes).map(|net| (net.trunc(), (zone.id, false))));
    }
    map.extend(policy.multicast().into_iter().map(|net| (net, (ZONE_MULTICAST, false))));
    for link in ["0.0.0.0/32", "169.254.0.0/16", "::/128", "fe80::/10"] {
        map.extend(link.parse().map(|net| (net, (wan, true))));
    }
    map.extend(own.iter().map(|address| (IpNet::from(address.to_canonical()), (ZONE_SELF, false))));
    map
}

/// Every class of addresses. The router always has addresses, and a set that is not known may hold addresses of every
/// zone: classes stand for these though no network says so.
pub(super) fn address_classes(
    zones: &BTreeMap<IpNet, (ZoneId, bool)>,
    sets: &BTreeMap<SetId, Content<'_>>,
) -> Vec<AddressClass> {
    let mut classes = BTreeSet::new();
    for v6 in [false, true] {
        sweep(zones, sets, v6, &mut classes);
        let homes: BTreeSet<ZoneId> =
            zones.values().map(|(zone, _)| *zone).chain([ZONE_SELF, ZONE_MULTICAST]).collect();
        let unknown = sets.iter().filter(|(_, content)| matches!(content, Content::Unknown));
        for (set, _) in unknown {
            classes.extend(homes.iter().map(|home| AddressClass {
                home: *home,
                link: false,
                v6,
                sets: vec![*set],
            }));
        }
        classes.insert(AddressClass { home: ZONE_SELF, link: false, v6, sets: Vec::new() });
    }
    classes.into_iter().collect()
}

/// What begins or ends at an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    End(What),
    Start(What),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Zone(u8, ZoneId, bool),
    Set(SetId),
}

/// Goes over the edges of all networks of one family and notes what holds between them.
fn sweep(
    zones: &BTreeMap<IpNet, (ZoneId, bool)>,
    sets: &BTreeMap<SetId, Content<'_>>,
    v6: bool,
    classes: &mut BTreeSet<AddressClass>,
) {
    let of_family = |net: &&IpNet| net.addr().is_ipv6() == v6;
    let mut edges = Vec::new();
    let mut note = |net: &IpNet, what: What| {
        let (first, last) = (number(net.network()), number(net.broadcast()));
        edges.push((first, Edge::Start(what)));
        // Nothing is behind the last address.
        if let Some(behind) = last.checked_add(1) {
            edges.push((behind, Edge::End(what)));
        }
    };
    for (net, (zone, link)) in zones.iter().filter(|(net, _)| of_family(net)) {
        note(net, What::Zone(net.prefix_len(), *zone, *link));
    }
    for (set, content) in sets {
        if let Content::Known(nets) = content {
            nets.iter().filter(of_family).for_each(|net| note(net, What::Set(*set)));
        }
    }
    edges.sort_unstable();
    let (mut open_zones, mut open_sets) = (BTreeSet::new(), BTreeMap::<SetId, u32>::new());
    let most = if v6 { u128::MAX } else { u128::from(u32::MAX) };
    for (place, (at, edge)) in edges.iter().enumerate() {
        match edge {
            Edge::Start(What::Zone(bits, zone, link)) => {
                open_zones.insert((*bits, *zone, *link));
            }
            Edge::End(What::Zone(bits, zone, link)) => {
                open_zones.remove(&(*bits, *zone, *link));
            }
            Edge::Start(What::Set(set)) => *open_sets.entry(*set).or_default() += 1,
            Edge::End(What::Set(set)) => {
                if let Some(count) = open_sets.get_mut(set) {
                    *count -= 1;
                    if *count == 0 {
                        open_sets.remove(set);
                    }
                }
            }
        }
        let is_last_here = edges.get(place + 1).is_none_or(|(next, _)| next > at);
        if is_last_here && *at <= most {
            let (home, link) = open_zones.last().map_or((ZONE_NONE, false), |(_, zone, link)| (*zone, *link));
            classes.insert(AddressClass { home, link, v6, sets: open_sets.keys().copied().collect() });
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

/// The groups of every device, in order; the first class is of devices in none.
pub(super) fn device_classes(policy: &Policy) -> Vec<Vec<u16>> {
    let mut groups: BTreeMap<Mac, Vec<u16>> = BTreeMap::new();
    for (place, group) in (0u16..).zip(&policy.devices) {
        for mac in &group.macs {
            let groups = groups.entry(*mac).or_default();
            if groups.last() != Some(&place) {
                groups.push(place);
            }
        }
    }
    let distinct: BTreeSet<Vec<u16>> = groups.into_values().chain([Vec::new()]).collect();
    distinct.into_iter().collect()
}

/// Protocols and ports between the edges that rules name.
pub(super) struct Services {
    /// First port of each class, by protocol; a class ends before the next. Protocols that no rule names are one.
    starts: BTreeMap<u8, Vec<u16>>,
    /// Number of the first class of each protocol.
    base: BTreeMap<u8, usize>,
    pub(super) count: usize,
}

impl Services {
    pub(super) fn new<'m>(matches: impl Iterator<Item = &'m ServiceMatch>) -> Self {
        let mut starts: BTreeMap<u8, BTreeSet<u16>> = BTreeMap::new();
        for protocol in crate::LOWERED {
            starts.entry(protocol.0).or_default().insert(0);
        }
        for matched in matches {
            let edges = starts.entry(matched.protocol.0).or_default();
            edges.insert(0);
            if has_ports(matched.protocol) {
                edges.insert(matched.ports.first);
                edges.extend(matched.ports.last.checked_add(1));
            }
        }
        let mut base = BTreeMap::new();
        // Class 0: every other protocol.
        let mut count = 1;
        for (protocol, edges) in &starts {
            base.insert(*protocol, count);
            count += edges.len();
        }
        let starts =
            starts.into_iter().map(|(protocol, edges)| (protocol, edges.into_iter().collect())).collect();
        Self { starts, base, count }
    }

    /// The classes of a match, first and last.
    pub(super) fn classes(&self, matched: &ServiceMatch) -> (usize, usize) {
        let protocol = matched.protocol.0;
        let (base, starts) = (self.base.get(&protocol).copied().unwrap_or(0), &self.starts[&protocol]);
        if !has_ports(matched.protocol) {
            return (base, base + starts.len() - 1);
        }
        let place = |port: u16| starts.partition_point(|start| *start <= port).saturating_sub(1);
        (base + place(matched.ports.first), base + place(matched.ports.last))
    }

    /// Classes that packets of a family can have.
    pub(super) fn of_family(&self, v6: bool) -> Bits {
        let other = if v6 { Protocol::ICMP } else { Protocol::ICMPV6 };
        let first = self.base.get(&other.0).copied().unwrap_or(0);
        let last = first + self.starts.get(&other.0).map_or(0, Vec::len);
        Bits::of(self.count, |class| !(first..last).contains(&class))
    }
}

/// Sets by their numbers in the classes that hold them.
pub(super) fn by_set(classes: &[AddressClass]) -> HashMap<SetId, Vec<u32>> {
    let mut places: HashMap<SetId, Vec<u32>> = HashMap::new();
    for (place, class) in (0u32..).zip(classes) {
        for set in &class.sets {
            places.entry(*set).or_default().push(place);
        }
    }
    places
}
