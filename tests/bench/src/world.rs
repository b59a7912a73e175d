//! The world that is measured in: address lists, rules and the plan made of them. Seeded, the same in every run.
//!
//! Lists are the shape of the public ones: addresses cluster in some thousand /16s, most entries are single
//! addresses, some are networks. A shorter list is the beginning of the longer one, so what is not on the longest is
//! on none.

use abi::{
    Action, DIRECTION_IN, ListValue, PolicyValue, RULE_DEFAULT, ZONE_ANTI_SPOOF, ZONE_BOGONS, ZONE_FIRST,
    ZONE_IS_WAN, ZONE_SCAN, ZONE_SELF, ZoneFlags, ZoneId,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{Plan, Port};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::{chance::Chance, rules};

/// The outside, untagged.
pub(crate) const WAN: ZoneId = ZONE_FIRST;
/// The inside, behind [`LAN_VLAN`].
pub(crate) const LAN: ZoneId = ZONE_FIRST + 1;
/// Servers.
pub(crate) const DMZ: ZoneId = ZONE_FIRST + 2;
/// VLAN of the inside.
pub(crate) const LAN_VLAN: u16 = 100;
/// VLAN of the servers.
pub(crate) const DMZ_VLAN: u16 = 200;

/// /16s of IPv4 and /32s of IPv6 in which listed addresses are.
const CLUSTERS: usize = 4096;
/// First octets that hold no reserved network (RFC 6890), so that no source is a bogon.
const ORDINARY: [u8; 16] = [5, 8, 23, 31, 45, 62, 77, 89, 91, 103, 109, 141, 178, 185, 194, 212];
/// One IPv6 network for so many of IPv4.
const V4_PER_V6: usize = 10;

/// Listed networks, in the order in which shorter lists are cut off.
pub(crate) struct Listed {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
    spans4: BTreeMap<u32, u32>,
    spans6: BTreeMap<u128, u128>,
    clusters4: Vec<u32>,
    clusters6: Vec<u128>,
}

impl Listed {
    /// Makes a list of `size` IPv4 entries, and a tenth as many of IPv6, of which none overlap.
    pub(crate) fn new(size: usize, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let clusters4 = (0..CLUSTERS)
            .map(|_| u32::from(*chance.of(&ORDINARY)) << 24 | (chance.below(256) << 16))
            .collect();
        let clusters6 = (0..CLUSTERS)
            .map(|_| {
                let high = *chance.of(&[0x2400_u16, 0x2600, 0x2804, 0x2a00, 0x2a02, 0x2c0f]);
                u128::from(high) << 112 | u128::from(chance.below(1 << 16)) << 96
            })
            .collect();
        let mut listed = Self {
            v4: Vec::with_capacity(size),
            v6: Vec::with_capacity(size / V4_PER_V6),
            spans4: BTreeMap::new(),
            spans6: BTreeMap::new(),
            clusters4,
            clusters6,
        };
        while listed.v4.len() < size {
            listed.add4(&mut chance);
        }
        while listed.v6.len() < size / V4_PER_V6 {
            listed.add6(&mut chance);
        }
        listed
    }

    fn add4(&mut self, chance: &mut Chance) {
        let bits = match chance.below(100) {
            0..=1 => 20 + chance.below(4),
            2..=9 => 24,
            10..=13 => 25 + chance.below(7),
            _ => 32,
        };
        let address = *chance.of(&self.clusters4) | (chance.word() & 0xffff);
        let span = (1_u64 << (32 - bits)) as u32;
        let first = address & !(span - 1);
        let last = first | (span - 1);
        let overlaps = self.spans4.range(..=last).next_back().is_some_and(|(_, end)| *end >= first);
        if let (false, Ok(net)) = (overlaps, Ipv4Net::new(first.into(), bits as u8)) {
            self.spans4.insert(first, last);
            self.v4.push(net);
        }
    }

    fn add6(&mut self, chance: &mut Chance) {
        let bits = *chance.of(&[48_u8, 48, 56, 64, 64, 64, 64, 128]);
        let low = u128::from(chance.next()) << 32 & ((1 << 96) - 1) | u128::from(chance.word());
        let span = 1_u128 << (128 - bits);
        let first = (*chance.of(&self.clusters6) | low) & !(span - 1);
        let last = first | (span - 1);
        let overlaps = self.spans6.range(..=last).next_back().is_some_and(|(_, end)| *end >= first);
        if let (false, Ok(net)) = (overlaps, Ipv6Net::new(first.into(), bits)) {
            self.spans6.insert(first, last);
            self.v6.push(net);
        }
    }

    /// The first `size` IPv4 entries.
    pub(crate) fn v4(&self, size: usize) -> &[Ipv4Net] {
        &self.v4[..size.min(self.v4.len())]
    }

    /// The entries of a list of that size, in the order a plan has them.
    fn values(&self, size: usize, list: u16) -> Arc<[(IpNet, ListValue)]> {
        let value = ListValue { list, directions: DIRECTION_IN, observe: 0 };
        let v6 = &self.v6[..(size / V4_PER_V6).min(self.v6.len())];
        let mut all: Vec<(IpNet, ListValue)> = (self.v4(size).iter().map(|net| IpNet::V4(*net)))
            .chain(v6.iter().map(|net| IpNet::V6(*net)))
            .map(|net| (net, value))
            .collect();
        all.sort_unstable_by_key(|(net, _)| *net);
        all.into()
    }

    /// An address on a list of that size.
    pub(crate) fn listed4(&self, size: usize, chance: &mut Chance) -> [u8; 4] {
        let net = chance.of(self.v4(size));
        let host = chance.word() & u32::from(net.hostmask());
        Ipv4Addr::from(u32::from(net.network()) | host).octets()
    }

    /// An address on a list of that size.
    pub(crate) fn listed6(&self, size: usize, chance: &mut Chance) -> [u8; 16] {
        let net = chance.of(&self.v6[..(size / V4_PER_V6).clamp(1, self.v6.len())]);
        let host = u128::from(chance.next()) & u128::from(net.hostmask());
        Ipv6Addr::from(u128::from(net.network()) | host).octets()
    }

    /// An address beside listed ones, itself on none.
    pub(crate) fn unlisted4(&self, chance: &mut Chance) -> [u8; 4] {
        loop {
            let address = *chance.of(&self.clusters4) | (chance.word() & 0xffff);
            if !self.holds4(address.into()) {
                return address.to_be_bytes();
            }
        }
    }

    /// An address beside listed ones, itself on none.
    pub(crate) fn unlisted6(&self, chance: &mut Chance) -> [u8; 16] {
        loop {
            let low = u128::from(chance.next()) << 32 & ((1 << 96) - 1) | u128::from(chance.word());
            let address = *chance.of(&self.clusters6) | low;
            if !self.holds6(address.into()) {
                return address.to_be_bytes();
            }
        }
    }

    /// Whether an address is on the longest list.
    pub(crate) fn holds4(&self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        self.spans4.range(..=address).next_back().is_some_and(|(_, end)| *end >= address)
    }

    /// Whether an address is on the longest list.
    pub(crate) fn holds6(&self, address: Ipv6Addr) -> bool {
        let address = u128::from(address);
        self.spans6.range(..=address).next_back().is_some_and(|(_, end)| *end >= address)
    }
}

/// Where frames come in, and how much there is to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size<'a> {
    pub(crate) interface: &'a str,
    pub(crate) list: usize,
    pub(crate) rules: usize,
    /// Number of the list: another number is another plan.
    pub(crate) number: u16,
}

/// The plan of a household with an outside, an inside and servers.
pub(crate) fn plan(listed: &Listed, size: Size<'_>) -> Plan {
    let port = |vlan, zone| Port { interface: size.interface.into(), vlan, zone };
    let networks = [
        ("0.0.0.0/0", WAN),
        ("::/0", WAN),
        ("10.1.0.0/16", LAN),
        ("2a10:1::/32", LAN),
        ("10.5.0.0/16", DMZ),
        ("2a10:5::/32", DMZ),
        ("10.1.0.1/32", ZONE_SELF),
        ("10.5.0.1/32", ZONE_SELF),
    ];
    let mut plan = Plan {
        ports: vec![port(0, WAN), port(LAN_VLAN, LAN), port(DMZ_VLAN, DMZ)],
        zones: [
            (WAN, ZONE_IS_WAN | ZONE_ANTI_SPOOF | ZONE_BOGONS | ZONE_SCAN),
            (LAN, ZONE_ANTI_SPOOF),
            (DMZ, ZONE_ANTI_SPOOF),
        ]
        .map(|(zone, flags)| (zone, ZoneFlags { flags }))
        .into(),
        networks: networks.into_iter().filter_map(|(text, zone)| Some((text.parse().ok()?, zone))).collect(),
        protected: ["10.1.0.1/32", "10.5.0.1/32"].iter().filter_map(|text| text.parse().ok()).collect(),
        listed: listed.values(size.list, size.number),
        ..Plan::default()
    };
    rules::add(&mut plan, size.rules);
    plan
}

/// What no rule names.
pub(crate) const DEFAULT: PolicyValue =
    PolicyValue { action: Action::Drop as u8, flags: 0, rule: RULE_DEFAULT };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_lists_begin_longer_ones_and_none_overlap() {
        let listed = Listed::new(5000, 1);
        let mut chance = Chance::new(2);
        assert_eq!((listed.v4.len(), listed.v6.len()), (5000, 500));
        let mut spans: Vec<_> = listed.v4.iter().map(|net| (net.network(), net.broadcast())).collect();
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
        for _ in 0..1000 {
            let address = std::net::Ipv4Addr::from(listed.listed4(100, &mut chance));
            assert!(listed.v4(100).iter().any(|net| net.contains(&address)));
            assert!(!listed.holds4(listed.unlisted4(&mut chance).into()));
            assert!(listed.holds6(listed.listed6(1000, &mut chance).into()));
            assert!(!listed.holds6(listed.unlisted6(&mut chance).into()));
        }
    }
}
