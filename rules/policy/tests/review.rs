//! Rules that decide nothing: against every flow of a small world, and what is said about them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Mac, Protocol, Span};
use policy::{
    AddressSet, DeviceGroup, FindingKind, Forward, Policy, Question, Review, Rule, Schedule, Service,
    ServiceMatch, SetKind, Side, Zone, ZoneSet, address_set,
};
use proptest::prelude::*;
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

const WAN: ZoneId = ZONE_FIRST;
const HOME: ZoneId = ZONE_FIRST + 1;
const LAB: ZoneId = ZONE_FIRST + 2;

fn nets(texts: &[&str]) -> Arc<[IpNet]> {
    address_set(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn ground() -> Policy {
    let zone = |place: u8, name: &str, networks: &[&str]| Zone {
        id: ZONE_FIRST + place,
        name: name.into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: networks.is_empty(),
        denial: Action::Drop,
        anti_spoof: true,
        ..Zone::default()
    };
    let set = |name: &str, kind, texts: &[&str]| AddressSet { name: name.into(), kind, nets: nets(texts) };
    let group = |name: &str, last: &[u8], addresses: &[&str]| DeviceGroup {
        name: name.into(),
        macs: last.iter().map(|last| mac(*last)).collect(),
        addresses: nets(addresses),
    };
    Policy {
        zones: vec![
            zone(0, "wan", &[]),
            zone(1, "home", &["10.1.0.0/24", "fd00:1::/64"]),
            zone(2, "lab", &["10.2.0.0/24"]),
        ],
        sets: vec![
            set("low", SetKind::Group, &["10.1.0.0/25", "10.2.0.0/25"]),
            set("high", SetKind::Group, &["10.1.0.128/25"]),
            set("six", SetKind::Group, &["fd00:1::/65"]),
            set("DE", SetKind::Country, &["198.51.100.0/24"]),
        ],
        devices: vec![group("tvs", &[1], &["10.1.0.20/32"]), group("all", &[1, 2], &[])],
        ..Policy::default()
    }
}

const ADDRESSES: [&str; 13] = [
    "10.1.0.20",
    "10.1.0.21",
    "10.1.0.200",
    "10.1.0.255",
    "10.2.0.20",
    "10.2.0.200",
    "198.51.100.9",
    "203.0.113.9",
    "239.1.1.1",
    "fd00:1::9",
    "fd00:1::8000:0:0:9",
    "2001:db8::9",
    "ff02::1",
];

fn any_rule() -> impl Strategy<Value = Rule> {
    let side = || {
        let zones = prop_oneof![
            1 => Just(ZoneSet::Any),
            6 => prop::collection::vec(ZONE_SELF..ZONE_FIRST + 3, 0..3).prop_map(ZoneSet::Of),
        ];
        let parts = (zones, prop::collection::vec(0u16..4, 0..2), prop::collection::vec(0u16..1, 0..2));
        parts.prop_map(|(zones, sets, devices)| match zones {
            ZoneSet::Any => ZoneSet::Any.into(),
            zones => Side { zones, sets, devices },
        })
    };
    let protocol =
        prop_oneof![2 => Just(Protocol::TCP), 1 => Just(Protocol::ICMPV6), 1 => Just(Protocol(50))];
    let matched = (protocol, 0u16..4, 0u16..4).prop_map(|(protocol, a, b)| {
        let whole = protocol != Protocol::TCP;
        ServiceMatch::new(protocol, if whole { 0 } else { a.min(b) }, if whole { u16::MAX } else { a.max(b) })
    });
    let what =
        prop_oneof![Just((Action::Pass, false)), Just((Action::Drop, false)), Just((Action::Pass, true))];
    (side(), side(), prop::collection::vec(matched, 0..3), what, prop::option::weighted(0.4, 0u16..2))
        .prop_map(|(from, to, matches, (action, goes_on), schedule)| Rule {
            from,
            to,
            services: if matches.is_empty() {
                vec![]
            } else {
                vec![Service { name: "some".into(), matches }]
            },
            action,
            goes_on,
            log: goes_on,
            schedule,
            ..Rule::default()
        })
}

fn numbered(mut policy: Policy, rules: Vec<Rule>) -> Policy {
    policy.rules = rules;
    for (rule, id) in policy.rules.iter_mut().zip(0u16..) {
        rule.id = id;
        rule.span = Span { file: "secd.toml".into(), line: 10 + u32::from(id) * 10, column: 1 };
    }
    let schedule =
        |name: &str| Schedule { name: name.into(), days: [true; 7], start: 0, end: 60, zone: None };
    policy.schedules = vec![schedule("a"), schedule("b")];
    policy
}

/// Every flow of the small world that can be, as far as the policy can tell flows apart.
fn every_flow(policy: &Policy) -> Vec<Question> {
    let own: IpAddr = "10.1.0.1".parse().unwrap();
    let addresses: Vec<IpAddr> = ADDRESSES.iter().map(|text| text.parse().unwrap()).collect();
    let broadcast = |address: &IpAddr| policy.multicast().iter().any(|net| net.contains(address));
    let home = |address: &IpAddr| match address {
        address if broadcast(address) => ZONE_MULTICAST,
        address => policy.zone_of(*address).unwrap().id,
    };
    let services: Vec<(Protocol, u16)> = (0..5)
        .map(|port| (Protocol::TCP, port))
        .chain([(Protocol::ICMP, 0), (Protocol::ICMPV6, 0), (Protocol(50), 0), (Protocol(200), 0)])
        .collect();
    let mut flows = Vec::new();
    let starts =
        addresses.iter().filter(|address| !broadcast(address)).map(|address| (home(address), *address));
    let link = [WAN, HOME, LAB].map(|zone| (zone, "fe80::9".parse().unwrap()));
    for (from, source) in
        starts.chain([(ZONE_SELF, own), (ZONE_SELF, "2001:db8:1::1".parse().unwrap())]).chain(link)
    {
        let router = if source.is_ipv4() { own } else { "2001:db8:1::1".parse().unwrap() };
        let targets = addresses.iter().map(|address| (home(address), *address)).chain([(ZONE_SELF, router)]);
        for (to, destination) in targets.filter(|(_, target)| target.is_ipv4() == source.is_ipv4()) {
            if (from, to) == (ZONE_SELF, ZONE_SELF) {
                continue;
            }
            let devices: &[Option<Mac>] = if from == ZONE_SELF { &[None] } else { &[None, Some(mac(1))] };
            for device in devices {
                for (protocol, port) in &services {
                    let other = if source.is_ipv4() { Protocol::ICMPV6 } else { Protocol::ICMP };
                    if *protocol != other {
                        let (device, protocol, port) = (*device, *protocol, *port);
                        flows.push(Question {
                            from,
                            to,
                            source,
                            destination,
                            device,
                            protocol,
                            port,
                            patterns: 0,
                        });
                    }
                }
            }
        }
    }
    flows
}

/// Rules that are reached by some flow at some time.
fn reached(policy: &Policy) -> BTreeSet<u16> {
    let flows = every_flow(policy);
    let mut reached = BTreeSet::new();
    let scheduled = policy.rules.iter().any(|rule| rule.schedule.is_some());
    let times = [[false, false], [true, false], [false, true], [true, true]];
    for active in times.into_iter().take(if scheduled { 4 } else { 1 }) {
        let policy = policy.with_schedules(&active);
        for flow in &flows {
            for rule in policy.rules.iter().filter(|rule| rule.matches(&policy, flow)) {
                reached.insert(rule.id);
                if !rule.goes_on {
                    break;
                }
            }
        }
    }
    reached
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_rules_that_no_flow_reaches_are_found(rules in prop::collection::vec(any_rule(), 1..9)) {
        let policy = numbered(ground(), rules);
        let review = policy.review(&[]);
        prop_assert_eq!(&review.unsettled, &[0u16; 0]);
        let found: BTreeSet<u16> = review.findings.iter().map(|finding| finding.rule.id).collect();
        let reached = reached(&policy);
        for rule in &policy.rules {
            // Of two equal rules that log, the second is told though flows reach it.
            let twice = review.findings.iter().any(|finding| {
                finding.rule.id == rule.id && rule.goes_on && finding.kind == FindingKind::Equal
            });
            if !twice {
                prop_assert_eq!(!found.contains(&rule.id), reached.contains(&rule.id), "rule {}: {:#?}", rule.id, review);
            }
        }
    }
}

fn side(zones: &[ZoneId], sets: &[u16]) -> Side {
    Side { zones: ZoneSet::Of(zones.to_vec()), sets: sets.to_vec(), devices: vec![] }
}

fn rule(from: Side, to: Side, ports: Option<(u16, u16)>, action: Action) -> Rule {
    let of = |(first, last)| vec![ServiceMatch::new(Protocol::TCP, first, last)];
    let services =
        ports.map(|ports| Service { name: "tcp".into(), matches: of(ports) }).into_iter().collect();
    Rule { from, to, services, action, ..Rule::default() }
}

fn messages(review: &Review) -> Vec<&str> {
    review.findings.iter().map(|finding| finding.message.as_str()).collect()
}

#[test]
fn what_is_said() {
    let (home, wan) = (|| side(&[HOME], &[]), || side(&[WAN], &[]));
    let policy = numbered(
        ground(),
        vec![
            rule(home(), wan(), Some((80, 90)), Action::Pass),
            rule(home(), wan(), Some((91, 100)), Action::Drop),
            rule(home(), wan(), Some((85, 95)), Action::Pass),
            rule(home(), wan(), Some((80, 90)), Action::Pass),
            rule(home(), wan(), Some((443, 443)), Action::Pass),
            rule(side(&[], &[2]), side(&[LAB], &[]), None, Action::Pass),
            rule(side(&[], &[0, 1]), wan(), Some((443, 443)), Action::Pass),
        ],
    );
    assert_eq!(
        messages(&policy.review(&[])),
        [
            "rule 2 at secd.toml:30 is never reached: rule 0 at secd.toml:10 and rule 1 at secd.toml:20 together decide \
             all of its flows, and not as it says",
            "rule 3 at secd.toml:40 says the same as rule 0 at secd.toml:10",
            "rule 5 at secd.toml:60 can never match: its sources are IPv6 and its destinations IPv4",
        ]
    );
    let json = serde_json::to_value(policy.review(&[])).unwrap();
    assert_eq!(json["findings"][1]["kind"], "equal");
    assert_eq!(json["findings"][0]["by"][1], serde_json::json!({ "id": 1, "file": "secd.toml", "line": 20 }));
}

#[test]
fn a_scheduled_rule_shadows_only_others_of_its_schedule() {
    let at = |schedule: Option<u16>| Rule {
        schedule,
        ..rule(side(&[HOME], &[]), side(&[WAN], &[]), None, Action::Drop)
    };
    let shadowed = |first, second| {
        let narrow = Rule {
            services: rule(side(&[], &[]), side(&[], &[]), Some((1, 2)), Action::Drop).services,
            ..at(second)
        };
        numbered(ground(), vec![at(first), narrow]).review(&[]).findings.len()
    };
    assert_eq!(shadowed(Some(0), Some(0)), 1);
    assert_eq!(shadowed(None, Some(0)), 1);
    assert_eq!(shadowed(Some(0), Some(1)), 0);
    assert_eq!(shadowed(Some(0), None), 0);
}

#[test]
fn isolation_takes_rules_within_the_zone() {
    let mut policy =
        numbered(ground(), vec![rule(side(&[HOME], &[]), side(&[HOME], &[]), None, Action::Pass)]);
    assert_eq!(policy.review(&[]), Review::default());
    policy.zones[1].isolate = true;
    assert_eq!(
        messages(&policy.review(&[])),
        [
            "rule 0 at secd.toml:10 can never match: hosts of `home` are kept apart before any rule is asked (`isolate`)"
        ]
    );
}

#[test]
fn a_list_that_is_not_read_yet_equals_only_itself() {
    let mut policy = ground();
    policy.sets[3].nets = Arc::default();
    let of_list = || side(&[], &[3]);
    let policy = numbered(
        policy,
        vec![
            rule(of_list(), side(&[HOME], &[]), None, Action::Pass),
            rule(of_list(), side(&[HOME], &[]), Some((1, 2)), Action::Pass),
            rule(side(&[], &[0]), side(&[HOME], &[]), None, Action::Pass),
        ],
    );
    let review = policy.review(&[]);
    assert_eq!(review.findings.len(), 1, "{review:#?}");
    assert_eq!((review.findings[0].rule.id, review.findings[0].kind), (1, FindingKind::Shadowed));
}

#[test]
fn a_forward_shadows_what_the_router_would_answer() {
    let mut policy = ground();
    policy.forwards = vec![Forward {
        name: "web".into(),
        from: WAN,
        services: vec![ServiceMatch::new(Protocol::TCP, 443, 443)],
        to: "10.2.0.5".parse().unwrap(),
        port: None,
        hairpin: false,
        sources: vec![],
        comment: None,
        span: Span { file: "secd.toml".into(), line: 5, column: 1 },
    }];
    policy.sets.push(AddressSet {
        name: "192.0.2.1".into(),
        kind: SetKind::Group,
        nets: nets(&["192.0.2.1/32"]),
    });
    let own = ["192.0.2.1".parse().unwrap(), "10.1.0.1".parse().unwrap()];
    let mut rules = vec![rule(side(&[WAN], &[]), side(&[], &[4]), Some((443, 443)), Action::Drop)];
    let policy = numbered(policy, rules.clone());
    assert_eq!(
        messages(&policy.review(&own)),
        [
            "rule 0 at secd.toml:10 is never reached: forward `web` at secd.toml:5 decides all of its flows, and not as it says"
        ]
    );
    // Without its addresses nothing is claimed; and the router has others, which the forward leaves alone.
    assert_eq!(policy.review(&[]), Review::default());
    rules[0].to = side(&[ZONE_SELF], &[]);
    assert_eq!(numbered(policy, rules).review(&own), Review::default());
}

#[test]
fn a_thousand_rules_by_address_are_settled() {
    let mut policy = ground();
    let mut rules = Vec::new();
    for place in 0..1000u16 {
        let address = format!("10.1.{}.{}/32", place / 250, place % 250);
        policy.sets.push(AddressSet { name: address.clone(), kind: SetKind::Group, nets: nets(&[&address]) });
        rules.push(rule(side(&[], &[4 + place]), side(&[WAN], &[]), Some((place, place + 10)), Action::Pass));
    }
    rules.push(rules[500].clone());
    let review = numbered(policy, rules).review(&[]);
    assert_eq!((review.findings.len(), review.unsettled.len()), (1, 0));
}
