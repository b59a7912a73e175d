//! One policy, three judges: the slow reading of the rules, the packet path, and nftables in a real kernel. Every rule
//! must decide the same packets in all of them, and what the packet path drops nftables must not let through.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "oracle/router.rs"]
mod router;

use abi::{ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use datapath::{Input, Verdict, decide};
use enforce::nft::{Wall, WallState};
use model::{Action, Flow, Mode, Protocol, Span};
use policy::{HostTables, Policy, Rule, Service, ServiceMatch, Zone, ZoneSet, opening_frame};
use router::{DEVICES, OWN, Router, ZONES, finished, own};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

const POLICIES: u64 = 6;
const PACKETS: u16 = 400;
/// What was counted, by chain and rule, or by the devices between which a packet passed.
type Counted = BTreeMap<(String, String), u64>;

/// A small generator (splitmix64), so that every run judges the same packets.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn mode(&mut self) -> Mode {
        if self.below(5) == 0 { Mode::Observe } else { Mode::Enforce }
    }

    fn zones(&mut self, more: &[ZoneId]) -> ZoneSet {
        if self.below(5) == 0 {
            return ZoneSet::Any;
        }
        let choices: Vec<ZoneId> = ZONES.iter().chain(more).copied().collect();
        ZoneSet::Of((0..=self.below(3)).map(|_| self.of(&choices)).collect())
    }

    fn service(&mut self) -> ServiceMatch {
        let (first, more) = (1 + self.below(40) as u16, self.below(12) as u16);
        match self.below(5) {
            0 => ServiceMatch::new(Protocol::ICMP, 0x0800, 0x08ff),
            1 => ServiceMatch::new(Protocol::ICMPV6, 0x8000, 0x80ff),
            2 => ServiceMatch::new(Protocol::UDP, first, first + more),
            _ => ServiceMatch::new(Protocol::TCP, first, first + more),
        }
    }

    fn policy(&mut self) -> Policy {
        let rules = (0..4 + self.below(10) as u16).map(|id| {
            let matches = (0..self.below(5)).map(|_| self.service()).collect::<Vec<_>>();
            let services = Service { name: "some".into(), matches };
            Rule {
                id,
                from: self.zones(&[ZONE_SELF]).into(),
                to: self.zones(&[ZONE_SELF, ZONE_MULTICAST]).into(),
                services: if services.matches.is_empty() { vec![] } else { vec![services] },
                action: self.of(&[Action::Pass, Action::Drop, Action::Reject]),
                log: false,
                mode: self.mode(),
                comment: None,
                span: Span::default(),
                ..Rule::default()
            }
        });
        Policy { mode: Mode::Enforce, rules: rules.collect(), zones: zones(self.mode()), ..Policy::default() }
    }

    /// The opening packet of a flow from a zone to another, the router or a multicast group.
    fn flow(&mut self, sport: u16) -> (ZoneId, ZoneId, Flow) {
        let from = self.of(&ZONES);
        let to = self.of(&[ZONES[0], ZONES[1], ZONES[2], ZONE_SELF, ZONE_SELF, ZONE_MULTICAST]);
        let v6 = self.below(2) == 1;
        let host = |zone: ZoneId, number: u64| match (zone - ZONE_FIRST, v6) {
            (0, false) => format!("198.51.100.{number}"),
            (0, true) => format!("2001:db8:1::{number}"),
            (place, false) => format!("10.{place}.0.{number}"),
            (place, true) => format!("fd00:{place}::{number}"),
        };
        let own: Vec<&str> = OWN.into_iter().filter(|address| address.contains(':') == v6).collect();
        let groups: &[&str] = match (v6, from == ZONES[0]) {
            (true, _) => &["ff02::1"],
            (false, true) => &["224.0.0.1", "255.255.255.255"],
            (false, false) => &["224.0.0.1", "255.255.255.255", "broadcast"],
        };
        let destination = match to {
            ZONE_SELF => self.of(&own).to_owned(),
            ZONE_MULTICAST => match self.of(groups) {
                "broadcast" => format!("10.{}.0.255", from - ZONE_FIRST),
                group => group.to_owned(),
            },
            zone => host(zone, 6),
        };
        let proto = match self.below(5) {
            0 if v6 => Protocol::ICMPV6,
            0 => Protocol::ICMP,
            1 | 2 => Protocol::UDP,
            _ if to == ZONE_MULTICAST => Protocol::UDP,
            _ => Protocol::TCP,
        };
        let dport = match proto {
            Protocol::ICMP => 0x0800,
            Protocol::ICMPV6 => 0x8000,
            _ => 1 + self.below(48) as u16,
        };
        let (src, dst) = (host(from, 5).parse().unwrap(), destination.parse().unwrap());
        (from, to, Flow { zone: None, mac: None, src, dst, proto, sport, dport })
    }
}

fn zones(mode_of_b: Mode) -> Vec<Zone> {
    let zone = |place: usize, networks: &[&str], mode| Zone {
        id: ZONES[place],
        name: ["wan", "a", "b"][place].into(),
        interface: DEVICES[place].into(),
        vlan: None,
        device: DEVICES[place].into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: place == 0,
        anti_spoof: true,
        inspect: false,
        masquerade: false,
        mode,
        denial: if place == 0 { Action::Drop } else { Action::Reject },
        span: Span::default(),
        ..Zone::default()
    };
    vec![
        zone(0, &[], Mode::Enforce),
        zone(1, &["10.1.0.0/24", "fd00:1::/64"], Mode::Enforce),
        zone(2, &["10.2.0.0/24", "fd00:2::/64"], mode_of_b),
    ]
}

/// The router, and what its kernel counts.
struct Bench {
    router: Router,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        Some(Self { router: Router::new(test, &format!("{test:.12}"))? })
    }

    /// Counts, behind the wall, what passed: forwarded between two devices, or in at one.
    fn watch(&self) {
        let mut script =
            String::from("add table inet oracle; delete table inet oracle; add table inet oracle; ");
        script += "add chain inet oracle post { type filter hook postrouting priority 300; }; ";
        script += "add chain inet oracle in { type filter hook input priority 300; }; ";
        for from in DEVICES {
            let new = "ct state new counter comment";
            script += &format!("add rule inet oracle in iifname {from} {new} \"{from} self\"; ");
            for to in DEVICES {
                script +=
                    &format!("add rule inet oracle post iifname {from} oifname {to} {new} \"{from} {to}\"; ");
            }
        }
        self.router.feed(&["nft", "-f", "-"], &script.replace("; ", "\n"));
    }

    fn passed(&self) -> Counted {
        let listed = self.router.inside.run("nft -j list table inet oracle").unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let rules = listed["nftables"].as_array().unwrap().iter().map(|object| &object["rule"]);
        let count = |rule: &serde_json::Value| {
            let counter = rule["expr"].as_array()?.iter().find_map(|statement| statement.get("counter"))?;
            Some((rule["comment"].as_str()?.to_owned(), counter["packets"].as_u64()?))
        };
        rules.filter_map(count).map(|(comment, packets)| (("passed".to_owned(), comment), packets)).collect()
    }

    fn counted(&self, wall: &Wall) -> Counted {
        let counters = self.router.inside.inside(|| Ok(wall.counters()?)).unwrap();
        let mut counted = self.passed();
        for counter in counters {
            *counted.entry((counter.chain, counter.comment)).or_default() += counter.packets;
        }
        // What the router sends itself, such as its answer to a ping of a group, nobody here asked for.
        counted.retain(|(chain, _), packets| *packets > 0 && !chain.starts_with("output."));
        counted
    }
}

#[test]
fn rules_packet_path_and_nftables_judge_alike() {
    let Some(bench) = Bench::new("rules_packet_path_and_nftables_judge_alike") else { return };
    let mut denied = 0;
    for seed in 0..POLICIES {
        let mut chance = Chance(seed);
        let policy = chance.policy();
        let tables = HostTables::new(Arc::new(policy.lower(&own(), Arc::new([])).unwrap())).unwrap();
        let mut wall = Wall::default();
        bench.watch();
        bench.router.inside.inside(|| Ok(wall.apply(&policy)?)).unwrap();
        let mut expected = Counted::new();
        let mut frames = Vec::new();
        for number in 0..PACKETS {
            // Every packet opens a flow of its own, also over policies.
            let (from, to, flow) = chance.flow(2000 + PACKETS * seed as u16 + number);
            let place = usize::from(from - ZONE_FIRST);
            let frame = finished(opening_frame(&flow, &policy.zones[place]), &flow, number);
            let says = expect(&policy, from, to, &flow, &mut expected);
            denied += u32::from(!says.passes);
            let packet_path = judged(&tables, place, &frame);
            let same = (packet_path.action, packet_path.observed, packet_path.drops());
            let drops = says.action == Action::Drop && !says.passes;
            assert_eq!(same, (says.action, says.observed, drops), "seed {seed}: {flow}: {packet_path:?}");
            frames.push((place, frame));
        }
        bench.router.send(&frames);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut counted = bench.counted(&wall);
        while counted != expected && Instant::now() < deadline {
            counted = bench.counted(&wall);
        }
        let differ = |map: &Counted, other: &Counted| {
            map.iter()
                .filter(|(key, count)| other.get(*key) != Some(count))
                .map(|(k, c)| (k.clone(), *c))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            differ(&counted, &expected),
            differ(&expected, &counted),
            "seed {seed}: counted, expected"
        );
    }
    assert!(denied > 500, "only {denied} packets were denied");
}

#[test]
fn the_shipped_example_and_the_widest_policy_are_taken() {
    let Some(bench) = Bench::new("the_shipped_example_and_the_widest_policy_are_taken") else { return };
    let text = include_str!("../../../image/secd.toml");
    let mut shipped = config::parse("secd.toml", text).unwrap().policy;
    let mut widest = shipped.clone();
    widest.zones = (0..61)
        .map(|place| Zone {
            id: ZONE_FIRST + place,
            name: format!("zone-{place}"),
            device: format!("eth1.{place}"),
            ..shipped.zones[1].clone()
        })
        .collect();
    let mut wall = Wall::default();
    for mode in [Mode::Observe, Mode::Enforce] {
        for policy in [&mut shipped, &mut widest] {
            policy.mode = mode;
            bench.router.inside.inside(|| Ok(wall.apply(policy)?)).unwrap();
            assert_eq!(bench.router.inside.inside(|| Ok(wall.check()?)).unwrap(), WallState::Same);
        }
    }
}

struct Says {
    action: Action,
    observed: bool,
    passes: bool,
}

/// What the slow reading of the rules says, and what nftables should count for it.
fn expect(policy: &Policy, from: ZoneId, to: ZoneId, flow: &Flow, expected: &mut Counted) -> Says {
    let says = policy.judge(&[], &policy::Question::between(from, to, flow.proto, flow.dport));
    let zone = policy.zone(from).unwrap();
    let observed = says.action != Action::Pass && (says.observe || zone.mode == Mode::Observe);
    let passes = says.action == Action::Pass || observed;
    let hook = if matches!(to, ZONE_SELF | ZONE_MULTICAST) { "input" } else { "forward" };
    let chain = format!("{hook}.{}.{}", zone.name, policy.zone_name(to));
    let comment = says.rule.map_or_else(|| "default".to_owned(), |id| format!("rule {id}"));
    let has_chain = policy.rules.iter().any(|rule| rule.covers(from, to)) || says.action != Action::Pass;
    if has_chain {
        let comment = if observed { comment + " observed" } else { comment };
        *expected.entry((chain, comment)).or_default() += 1;
    }
    if passes {
        let out = policy.zone(to).map_or("self", |zone| &zone.device);
        *expected.entry(("passed".into(), format!("{} {out}", zone.device))).or_default() += 1;
    }
    Says { action: says.action, observed, passes }
}

fn judged(tables: &HostTables, place: usize, frame: &[u8]) -> Verdict {
    let input = Input {
        ifindex: tables.interface(DEVICES[place]).unwrap(),
        now: 1_000_000_000,
        length: frame.len() as u32,
        ..Input::default()
    };
    let mut verdict = Verdict::EMPTY;
    decide(&frame, &input, tables, &mut verdict);
    verdict
}
