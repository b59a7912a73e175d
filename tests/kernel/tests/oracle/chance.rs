//! Random policies of the whole language, and packets that meet them. Seeded: a seed always makes the same.

use crate::router::{DEVICES, HOSTS, OWN, ZONES};
use abi::{ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Flow, Mac, Mode, Protocol};
use policy::{
    AddressSet, DeviceGroup, Forward, Policy, Rate, Rule, Service, ServiceMatch, SetKind, Side, Zone, ZoneSet,
};
use std::net::IpAddr;

/// A small generator (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

/// A packet: where it comes in and goes, and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: ZoneId,
    pub(crate) to: ZoneId,
    pub(crate) flow: Flow,
    /// TCP flags; a SYN opens a flow.
    pub(crate) flags: u8,
}

/// What a policy is made of.
pub(crate) const SYN: u8 = 2;
const NOT_OPENING: [u8; 5] = [0x10, 0x18, 0x12, 0x04, 0x11];
const PORTS: u64 = 24;

impl Chance {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    pub(crate) fn policy(&mut self) -> Policy {
        let mut policy = Policy { mode: Mode::Enforce, zones: self.zones(), ..Policy::default() };
        policy.sets = (0..self.below(5)).map(|number| self.set(number)).collect();
        policy.devices = (0..self.below(3)).map(|number| self.group(number)).collect();
        let rules = 2 + self.below(12) as u16;
        policy.rules = (0..rules).map(|id| self.rule(id, &policy)).collect();
        policy.forwards = (0..self.below(3)).map(|number| self.forward(number, &policy)).collect();
        policy.forward_base = rules;
        if self.one_in(12) {
            policy.mode = Mode::Observe;
        }
        policy
    }

    fn zones(&mut self) -> Vec<Zone> {
        let networks = [&[][..], &["10.1.0.0/24", "fd00:1::/64"], &["10.2.0.0/24", "fd00:2::/64"]];
        let zone = |place: usize, chance: &mut Self| Zone {
            id: ZONES[place],
            name: ["wan", "a", "b"][place].into(),
            interface: DEVICES[place].into(),
            device: DEVICES[place].into(),
            networks: networks[place].iter().map(|net| net.parse().unwrap()).collect(),
            wan: place == 0,
            anti_spoof: !chance.one_in(6),
            mode: if chance.one_in(6) { Mode::Observe } else { Mode::Enforce },
            denial: chance.of(&[Action::Drop, Action::Reject]),
            isolate: place > 0 && chance.one_in(5),
            loose: chance.one_in(5),
            quarantine: place > 0 && chance.one_in(5),
            ..Zone::default()
        };
        (0..3).map(|place| zone(place, self)).collect()
    }

    fn set(&mut self, number: u64) -> AddressSet {
        let mut nets: Vec<IpNet> = (0..self.below(6)).map(|_| self.net()).collect();
        nets.sort_unstable();
        nets.dedup();
        let kind = self.of(&[SetKind::Group, SetKind::Country, SetKind::List]);
        AddressSet { name: format!("set{number}"), kind, nets: nets.into() }
    }

    fn net(&mut self) -> IpNet {
        let host = 1 + self.below(9);
        let text = match self.below(14) {
            0 => format!("10.1.0.{host}/32"),
            1 => format!("10.2.0.{host}/32"),
            2 => "10.1.0.0/29".to_owned(),
            3 => "10.2.0.4/30".to_owned(),
            4 => "10.0.0.0/8".to_owned(),
            5 => format!("fd00:1::{host}/128"),
            6 => format!("fd00:2::{host}/128"),
            7 => "fd00::/16".to_owned(),
            8 => "198.51.100.0/29".to_owned(),
            9 => format!("198.51.100.{host}/32"),
            10 => format!("2001:db8:1::{host}/128"),
            11 => "2001:db8:1::/126".to_owned(),
            12 => self
                .of(&["224.0.0.0/24", "192.0.2.1/32", "10.1.0.255/32", "255.255.255.255/32", "ff02::/16"])
                .to_owned(),
            _ => self.of(&["0.0.0.0/0", "::/0", "198.51.100.4/30", "192.0.2.0/24"]).to_owned(),
        };
        text.parse().unwrap()
    }

    fn group(&mut self, number: u64) -> DeviceGroup {
        let macs = (0..self.below(3)).map(|_| self.mac()).collect();
        let mut addresses: Vec<IpNet> = (0..self.below(3)).map(|_| self.net()).collect();
        addresses.retain(|net| net.prefix_len() == net.max_prefix_len());
        addresses.sort_unstable();
        addresses.dedup();
        DeviceGroup { name: format!("group{number}"), macs, addresses: addresses.into() }
    }

    fn mac(&mut self) -> Mac {
        Mac([2, 0, 0, 0, 1, self.below(4) as u8])
    }

    fn rule(&mut self, id: u16, policy: &Policy) -> Rule {
        let matches: Vec<ServiceMatch> = (0..self.below(4)).map(|_| self.service()).collect();
        let services = match matches.is_empty() {
            true => vec![],
            false => vec![Service { name: "some".into(), matches }],
        };
        let goes_on = self.one_in(8);
        // So many at once that the packets of a test never meet the limit: what is compared is the way there.
        let limited = !goes_on && self.one_in(8);
        Rule {
            id,
            from: self.side(&[ZONE_SELF], policy),
            to: self.side(&[ZONE_SELF, ZONE_MULTICAST], policy),
            services,
            action: match goes_on || limited {
                true => Action::Pass,
                false => self.of(&[Action::Pass, Action::Pass, Action::Drop, Action::Reject]),
            },
            log: goes_on || self.one_in(8),
            goes_on,
            limit: limited.then_some(Rate { interval: 1_000_000, burst: 100_000 }),
            mode: if self.one_in(6) { Mode::Observe } else { Mode::Enforce },
            ..Rule::default()
        }
    }

    fn side(&mut self, more: &[ZoneId], policy: &Policy) -> Side {
        let choices: Vec<ZoneId> = ZONES.iter().chain(more).copied().collect();
        let sets = policy.sets.len() as u64;
        let devices = policy.devices.len() as u64;
        let zones = match self.below(6) {
            0 => return ZoneSet::Any.into(),
            1 | 2 if sets + devices > 0 => ZoneSet::Of(vec![]),
            _ => ZoneSet::Of((0..=self.below(3)).map(|_| self.of(&choices)).collect()),
        };
        let mut side = Side::from(zones);
        if sets > 0 && self.one_in(2) {
            side.sets = (0..=self.below(2)).map(|_| self.below(sets) as u16).collect();
        }
        if devices > 0 && self.one_in(2) {
            side.devices = vec![self.below(devices) as u16];
        }
        if side.zones == ZoneSet::Of(vec![]) && side.sets.is_empty() && side.devices.is_empty() {
            return ZoneSet::Of(vec![self.of(&choices)]).into();
        }
        side
    }

    fn service(&mut self) -> ServiceMatch {
        let (first, more) = (1 + self.below(PORTS) as u16, self.below(8) as u16);
        match self.below(9) {
            0 => ServiceMatch::new(Protocol::ICMP, 0x0800, 0x08ff),
            1 => ServiceMatch::new(Protocol::ICMPV6, 0x8000, 0x80ff),
            2 => ServiceMatch::new(self.of(&[Protocol(50), Protocol(47), Protocol(132)]), 0, u16::MAX),
            3 => ServiceMatch::new(self.of(&[Protocol::TCP, Protocol::UDP]), 0, u16::MAX),
            4 | 5 => ServiceMatch::new(Protocol::UDP, first, first + more),
            _ => ServiceMatch::new(Protocol::TCP, first, first + more),
        }
    }

    fn forward(&mut self, number: u64, policy: &Policy) -> Forward {
        let zone = 1 + self.below(2);
        let host = HOSTS.start() + self.below(5);
        let protocol = self.of(&[Protocol::TCP, Protocol::UDP]);
        let (first, more) = (1 + self.below(PORTS) as u16, self.of(&[0, 0, 2]));
        let sources = match (policy.sets.len() as u64, self.one_in(2)) {
            (sets @ 1.., true) => vec![self.below(sets) as u16],
            _ => vec![],
        };
        Forward {
            name: format!("forward{number}"),
            from: if self.one_in(6) { ZONES[2] } else { ZONES[0] },
            services: vec![ServiceMatch::new(protocol, first, first + more)],
            to: format!("10.{zone}.0.{host}").parse().unwrap(),
            port: self.one_in(2).then(|| 100 + self.below(100) as u16),
            hairpin: self.one_in(2),
            sources,
            comment: None,
            span: model::Span::default(),
        }
    }

    /// A packet from a zone to another, the router or a multicast group.
    pub(crate) fn packet(&mut self, sport: u16) -> Packet {
        let from = self.of(&ZONES);
        let to = self.of(&[ZONES[0], ZONES[1], ZONES[2], ZONE_SELF, ZONE_SELF, ZONE_MULTICAST]);
        let v6 = self.one_in(2);
        let destination = match to {
            ZONE_SELF => {
                let own: Vec<&str> = OWN.into_iter().filter(|address| address.contains(':') == v6).collect();
                self.of(&own).parse().unwrap()
            }
            ZONE_MULTICAST => self.group_address(from, v6),
            zone => self.host(zone, v6),
        };
        let proto = match self.below(10) {
            0 | 1 if v6 => Protocol::ICMPV6,
            0 | 1 => Protocol::ICMP,
            2..=4 => Protocol::UDP,
            5 => self.of(&[Protocol(50), Protocol(47), Protocol(132)]),
            _ if to == ZONE_MULTICAST => Protocol::UDP,
            _ => Protocol::TCP,
        };
        let dport = match proto {
            Protocol::ICMP => 0x0800,
            Protocol::ICMPV6 => 0x8000,
            _ => 1 + self.below(PORTS + 8) as u16,
        };
        let flags = if proto == Protocol::TCP && self.one_in(8) { self.of(&NOT_OPENING) } else { SYN };
        let mac = Some(self.mac());
        let flow = Flow { zone: None, mac, src: self.host(from, v6), dst: destination, proto, sport, dport };
        Packet { from, to, flow, flags }
    }

    fn host(&mut self, zone: ZoneId, v6: bool) -> IpAddr {
        let number = HOSTS.start() + self.below(5);
        let text = match (zone - ZONE_FIRST, v6) {
            (0, false) => format!("198.51.100.{number}"),
            (0, true) => format!("2001:db8:1::{number}"),
            (place, false) => format!("10.{place}.0.{number}"),
            (place, true) => format!("fd00:{place}::{number}"),
        };
        text.parse().unwrap()
    }

    fn group_address(&mut self, from: ZoneId, v6: bool) -> IpAddr {
        let broadcast = format!("10.{}.0.255", from - ZONE_FIRST);
        let groups: &[&str] = match (v6, from == ZONES[0]) {
            (true, _) => &["ff02::1"],
            (false, true) => &["224.0.0.1", "255.255.255.255"],
            (false, false) => &["224.0.0.1", "255.255.255.255", &broadcast],
        };
        self.of(groups).parse().unwrap()
    }
}

impl Packet {
    /// Whether it opens a flow, so that verdicts must be equal.
    pub(crate) fn opens(&self) -> bool {
        policy::has_ports(self.flow.proto) && self.flags == SYN
    }
}
