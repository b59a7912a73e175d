//! The rows of a plan against the slow reading of the rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{POLICY_CONTINUE, POLICY_LIMIT, RULE_DEFAULT, ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Mac, Mode, Protocol, Reason};
use policy::{
    AddressSet, DeviceGroup, Forward, Plan, Policy, Question, Rate, Rule, Service, ServiceMatch, SetKind,
    Side, Zone, ZoneSet,
};
use proptest::prelude::*;
use std::{net::IpAddr, sync::Arc};

const WAN: ZoneId = ZONE_FIRST;
const IOT: ZoneId = ZONE_FIRST + 1;
const OWN: [&str; 4] = ["192.0.2.1", "10.1.0.1", "10.2.0.1", "2001:db8::1"];

fn own() -> Vec<IpAddr> {
    OWN.iter().map(|text| text.parse().unwrap()).collect()
}

fn nets(texts: &[&str]) -> Arc<[IpNet]> {
    let mut nets: Vec<IpNet> = texts.iter().map(|text| text.parse().unwrap()).collect();
    nets.sort();
    nets.into()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

/// Zones wan, 10.1/24 and 10.2/24, five sets (one empty, one with multicast), three device groups.
fn ground() -> Policy {
    let zone = |place: u8, wan: bool, denial| Zone {
        id: ZONE_FIRST + place,
        name: format!("zone{place}"),
        interface: "eth1".into(),
        vlan: (!wan).then_some(place.into()),
        device: format!("eth1.{place}"),
        networks: if wan {
            vec![]
        } else {
            vec![format!("10.{place}.0.0/24").parse().unwrap(), format!("fd00:{place}::/64").parse().unwrap()]
        },
        wan,
        denial,
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
            zone(0, true, Action::Drop),
            zone(1, false, Action::Reject),
            zone(2, false, Action::Drop),
        ],
        sets: vec![
            set("nas", SetKind::Group, &["10.1.0.2/32", "fd00:1::2/128"]),
            set(
                "DE",
                SetKind::Country,
                &["192.0.2.0/24", "198.51.100.0/24", "198.51.100.64/26", "2001:db8::/32"],
            ),
            set("empty", SetKind::List, &[]),
            set("streams", SetKind::Group, &["239.0.0.0/8", "10.2.0.0/28"]),
            set("half", SetKind::System, &["10.0.0.0/15", "198.51.100.0/25"]),
        ],
        devices: vec![
            group("tvs", &[1, 2], &["10.1.0.20/32"]),
            group("toys", &[2, 3], &["10.2.0.9/32"]),
            group("nobody", &[], &[]),
        ],
        ..Policy::default()
    }
}

fn any_side() -> impl Strategy<Value = Side> {
    let zones = prop_oneof![
        1 => Just(ZoneSet::Any),
        4 => prop::collection::vec(ZONE_SELF..ZONE_FIRST + 3, 0..3).prop_map(ZoneSet::Of),
    ];
    let places = |of: u16| prop::collection::vec(0..of, 0..3);
    (zones, places(5), places(3)).prop_map(|(zones, sets, devices)| match zones {
        ZoneSet::Any => ZoneSet::Any.into(),
        zones => Side { zones, sets, devices },
    })
}

fn any_match() -> impl Strategy<Value = ServiceMatch> {
    let protocol =
        prop_oneof![Just(Protocol::TCP), Just(Protocol::UDP), Just(Protocol::ICMP), Just(Protocol(50))];
    (protocol, 0u16..40, 0u16..40)
        .prop_map(|(protocol, a, b)| ServiceMatch::new(protocol, a.min(b), a.max(b)))
}

fn any_rate() -> impl Strategy<Value = Rate> {
    (1u64..4, 1u32..3).prop_map(|(count, burst)| Rate::new(count, 60_000_000_000, burst))
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let what = prop_oneof![
        3 => Just((Action::Pass, false)),
        2 => Just((Action::Drop, false)),
        2 => Just((Action::Reject, false)),
        2 => Just((Action::Pass, true)),
    ];
    let matches = prop::collection::vec(any_match(), 0..3);
    (any_side(), any_side(), matches, what, prop::option::of(any_rate()), any::<bool>()).prop_map(
        |(from, to, matches, (action, goes_on), limit, observe)| Rule {
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
            limit: limit.filter(|_| action == Action::Pass && !goes_on),
            mode: if observe { Mode::Observe } else { Mode::Enforce },
            ..Rule::default()
        },
    )
}

fn any_forward() -> impl Strategy<Value = Forward> {
    let port = (0u16..38, prop::option::of(100u16..200), any::<bool>(), any::<bool>());
    (port, prop::collection::vec(0u16..5, 0..2)).prop_map(|((first, port, hairpin, wan), sources)| Forward {
        name: "f".into(),
        from: if wan { WAN } else { IOT },
        services: vec![ServiceMatch::new(Protocol::TCP, first / 2, 40)],
        to: "10.2.0.5".parse().unwrap(),
        port,
        hairpin,
        sources,
        comment: None,
        span: model::Span::default(),
    })
}

fn any_address() -> impl Strategy<Value = IpAddr> {
    let known = [
        "192.0.2.1",
        "10.1.0.1",
        "10.2.0.1",
        "10.1.0.2",
        "10.1.0.20",
        "10.2.0.9",
        "10.2.0.17",
        "198.51.100.70",
        "198.51.100.200",
        "203.0.113.9",
        "239.1.2.3",
        "10.2.0.255",
        "2001:db8::1",
        "2001:db8::5",
        "fd00:1::2",
        "fd00:2::7",
        "ff02::1",
    ];
    prop::sample::select(known.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn any_question() -> impl Strategy<Value = Question> {
    let protocol = prop_oneof![4 => Just(Protocol::TCP), 1 => Just(Protocol::UDP), 1 => Just(Protocol::ICMP), 1 => Just(Protocol(50))];
    (ZONE_SELF..ZONE_FIRST + 3, any_address(), any_address(), prop::option::of(1u8..5), protocol, 0u16..45)
        .prop_map(|(from, source, destination, device, protocol, port)| Question {
            from,
            to: abi::ZONE_NONE,
            source,
            destination,
            device: device.map(mac),
            protocol,
            port,
            patterns: 0,
        })
}

/// As the packet path asks: the destination zone is that of the destination address.
fn placed(plan: &Plan, question: Question) -> Question {
    let holds = |net: &&IpNet| net.contains(&question.destination);
    let net = plan.networks.keys().filter(holds).max_by_key(|net| net.prefix_len()).unwrap();
    Question { to: plan.networks[net], ..question }
}

fn numbered(mut policy: Policy, rules: Vec<Rule>) -> Policy {
    policy.rules = rules;
    for (rule, id) in policy.rules.iter_mut().zip(0..) {
        rule.id = id;
    }
    policy
}

fn assert_same(policy: &Policy, plan: &Plan, question: &Question) {
    let judged = policy.judge(&own(), question);
    if matches!(judged.reason, Reason::Isolated | Reason::NewDevice) {
        return;
    }
    let found = plan.find(question).unwrap();
    assert_eq!(
        (found.value, found.rate, found.logged),
        (judged.value(), judged.limit, judged.logged),
        "{question:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_say_what_the_rules_say(
        rules in prop::collection::vec(any_rule(), 0..10),
        forwards in prop::collection::vec(any_forward(), 0..3),
        questions in prop::collection::vec(any_question(), 40),
    ) {
        let mut policy = numbered(ground(), rules);
        policy.forwards = forwards;
        let plan = policy.lower(&own(), Arc::new([])).unwrap();
        for set in &plan.sets {
            prop_assert!(!set.is_empty() && set.windows(2).all(|pair| pair[0] < pair[1] && !pair[0].contains(&pair[1])));
        }
        for group in &plan.devices {
            prop_assert!(!group.is_empty() && group.is_sorted());
        }
        for row in &plan.rows {
            prop_assert_eq!(row.rate.is_some(), row.value.flags & POLICY_LIMIT != 0);
            prop_assert!(row.from != 0 && row.to != 0);
        }
        for question in questions {
            assert_same(&policy, &plan, &placed(&plan, question));
        }
    }
}

fn side(zones: &[ZoneId], sets: &[u16], devices: &[u16]) -> Side {
    Side { zones: ZoneSet::Of(zones.to_vec()), sets: sets.to_vec(), devices: devices.to_vec() }
}

#[test]
fn a_rule_that_names_much_stays_few_rows() {
    let rule =
        Rule { from: side(&[IOT], &[0, 1, 4], &[0, 1]), to: side(&[WAN], &[0, 3], &[0]), ..Rule::default() };
    let policy = numbered(ground(), vec![rule.clone(), Rule { action: Action::Reject, ..rule }]);
    let plan = policy.lower(&own(), Arc::new([])).unwrap();
    let of = |id: u16| plan.rows.iter().filter(|row| row.value.rule == id).count();
    assert_eq!(of(0), 6);
    // What is in `streams` may be multicast, which is dropped and not rejected.
    assert_eq!(of(1), 9);
    assert_eq!((plan.sets.len(), plan.devices.len()), (2, 1));
    assert_eq!(plan.devices[0], [mac(1), mac(2), mac(3)]);
}

#[test]
fn what_names_only_empty_sets_is_no_row() {
    let empty = side(&[], &[2], &[2]);
    let rules = vec![
        Rule { from: empty.clone(), ..Rule::default() },
        Rule { to: empty, ..Rule::default() },
        Rule { from: side(&[], &[], &[]), ..Rule::default() },
    ];
    let plan = numbered(ground(), rules).lower(&own(), Arc::new([])).unwrap();
    assert!(plan.rows.iter().all(|row| row.value.rule == RULE_DEFAULT), "{:?}", plan.rows);
}

#[test]
fn every_flow_finds_a_row() {
    for policy in [ground(), Policy::default()] {
        let plan = policy.lower(&[], Arc::new([])).unwrap();
        for from in 0..64 {
            for to in 0..64 {
                let question = Question::between(from, to, Protocol(200), 0);
                let found = plan.find(&question).unwrap();
                assert_eq!(found.value.action, policy.default_action(from, to) as u8, "{from} {to}");
            }
        }
    }
}

#[test]
fn forwards_come_first_and_only_for_the_outer_address() {
    let mut policy = numbered(ground(), vec![Rule { action: Action::Drop, ..Rule::default() }]);
    policy.forwards = vec![Forward {
        name: "web".into(),
        from: WAN,
        services: vec![ServiceMatch::new(Protocol::TCP, 443, 443)],
        to: "10.2.0.5".parse().unwrap(),
        port: Some(8443),
        hairpin: true,
        sources: vec![1],
        comment: None,
        span: model::Span::default(),
    }];
    let plan = policy.lower(&own(), Arc::new([])).unwrap();
    let ask = |from, source: &str, destination: &str, port| {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        let question = Question {
            from,
            to: ZONE_SELF,
            source,
            destination,
            device: None,
            protocol: Protocol::TCP,
            port,
            patterns: 0,
        };
        assert_same(&policy, &plan, &question);
        policy.judge(&own(), &question).rule
    };
    assert_eq!(ask(WAN, "198.51.100.9", "192.0.2.1", 443), Some(1));
    assert_eq!(ask(WAN, "203.0.113.9", "192.0.2.1", 443), Some(0), "not from one of its sources");
    assert_eq!(ask(IOT, "10.1.0.9", "192.0.2.1", 443), Some(1), "hairpin");
    assert_eq!(ask(IOT, "10.1.0.9", "10.1.0.1", 443), Some(0), "the router's own page");
    assert_eq!(ask(WAN, "198.51.100.9", "10.1.0.1", 443), Some(0));
    assert_eq!(ask(WAN, "198.51.100.9", "192.0.2.1", 8443), Some(0));
    assert_eq!(policy.rule_name(1).as_deref(), Some("forward `web`"));
    assert_eq!(policy.rule_name(0).as_deref(), Some("rule 0"));
    assert_eq!(policy.rule_name(2), None);
    // The numbers stay where a rule is taken out for the time being.
    policy.rules[0].schedule = Some(0);
    let now = policy.with_schedules(&[false]);
    assert!(now.rules.is_empty() && now.forward(1).is_some());
}

#[test]
fn quarantine_and_isolation_are_asked_before_the_rules() {
    let mut policy = numbered(ground(), vec![Rule::default()]);
    policy.zones[1].quarantine = true;
    policy.zones[2].isolate = true;
    let plan = policy.lower(&own(), Arc::new([])).unwrap();
    assert_eq!(plan.devices, [vec![mac(1), mac(2), mac(3)]], "every known device, though no rule names one");
    assert_eq!(plan.zones[&IOT].flags & abi::ZONE_QUARANTINE, abi::ZONE_QUARANTINE);
    let ask = |from, to, device: Option<u8>| {
        let question = Question { device: device.map(mac), ..Question::between(from, to, Protocol::TCP, 80) };
        let judged = policy.judge(&own(), &question);
        (judged.action, judged.reason)
    };
    assert_eq!(ask(IOT, WAN, Some(9)), (Action::Reject, Reason::NewDevice));
    assert_eq!(ask(IOT, ZONE_SELF, Some(9)), (Action::Pass, Reason::RuleAllowed));
    assert_eq!(ask(IOT, ZONE_MULTICAST, Some(9)), (Action::Pass, Reason::RuleAllowed));
    assert_eq!(ask(IOT, WAN, Some(1)), (Action::Pass, Reason::RuleAllowed));
    assert_eq!(ask(IOT, WAN, None), (Action::Pass, Reason::RuleAllowed));
    assert_eq!(ask(IOT + 1, IOT + 1, None), (Action::Drop, Reason::Isolated));
    assert_eq!(ask(IOT + 1, WAN, None), (Action::Pass, Reason::RuleAllowed));
}

#[test]
fn a_rule_that_only_logs_goes_on() {
    let rules = vec![
        Rule { goes_on: true, log: true, ..Rule::default() },
        Rule { action: Action::Drop, ..Rule::default() },
    ];
    let policy = numbered(ground(), rules);
    let plan = policy.lower(&own(), Arc::new([])).unwrap();
    assert_eq!(plan.rows[0].value.flags, POLICY_CONTINUE | abi::POLICY_LOG);
    let question = Question::between(IOT, WAN, Protocol::TCP, 1);
    let judged = policy.judge(&own(), &question);
    assert_eq!(
        (judged.action, judged.rule, judged.logged, judged.log),
        (Action::Drop, Some(1), Some(0), false)
    );
    assert_same(&policy, &plan, &question);
}

#[test]
fn bogons_are_not_refused_where_the_router_itself_is_one() {
    let mut policy = ground();
    policy.zones[0].bogons = true;
    let flags = |policy: &Policy, own: &str| {
        policy.lower(&[own.parse().unwrap()], Arc::new([])).unwrap().zones[&WAN].flags & abi::ZONE_BOGONS
    };
    assert_ne!(flags(&policy, "9.9.9.1"), 0);
    assert_eq!(flags(&policy, "192.0.2.1"), 0, "in a network made of addresses for documentation");
    assert_ne!(flags(&policy, "10.1.0.1"), 0, "an inner address");
    assert_eq!(flags(&policy, "192.168.1.7"), 0, "behind another router");
    assert_eq!(flags(&policy, "100.64.3.4"), 0, "with the carrier's NAT");
    policy.zones[0].bogons_asked = true;
    assert_ne!(flags(&policy, "192.168.1.7"), 0);
}

#[test]
fn routes_belong_to_their_zone() {
    let mut policy = ground();
    policy.zones[1].routes = vec!["10.99.0.0/16".parse().unwrap()];
    let plan = policy.lower(&[], Arc::new([])).unwrap();
    assert_eq!(plan.networks.get(&"10.99.0.0/16".parse::<IpNet>().unwrap()), Some(&IOT));
    assert_eq!(policy.zone_of("10.99.3.4".parse().unwrap()).unwrap().id, IOT);
}

#[test]
fn rates_read_as_they_are_written() {
    for (rate, text) in [
        (Rate::new(200, 1_000_000_000, 400), "200/second burst 400"),
        (Rate::new(7, 60_000_000_000, 1), "7/minute burst 1"),
        (Rate::new(1, 86_400_000_000_000, 3), "1/day burst 3"),
        (Rate::new(3, 1_000_000_000, 3), "3/second burst 3"),
    ] {
        assert_eq!(rate.to_string(), text);
    }
}

#[test]
fn where_helpers_know_more_the_second_wall_is_asked() {
    let named = |name: &str, action| Rule {
        from: side(&[IOT], &[], &[]),
        to: side(&[WAN], &[], &[]),
        services: vec![Service {
            name: name.into(),
            matches: vec![ServiceMatch::new(Protocol::TCP, 21, 21)],
        }],
        action,
        ..Rule::default()
    };
    let helped = |policy: &Policy| -> Vec<(ZoneId, ZoneId, Protocol)> {
        let plan = policy.lower(&own(), Arc::new([])).unwrap();
        plan.helped.iter().map(|helped| (helped.from, helped.to, helped.protocol)).collect()
    };
    let of = |rule| helped(&numbered(ground(), vec![rule]));
    assert_eq!(of(named("ftp", Action::Pass)), [(WAN, IOT, Protocol::TCP), (IOT, WAN, Protocol::TCP)]);
    assert_eq!(of(named("sip", Action::Pass)), [(WAN, IOT, Protocol::UDP), (IOT, WAN, Protocol::UDP)]);
    let mut over_udp = named("ftp", Action::Pass);
    over_udp.services[0].matches = vec![ServiceMatch::new(Protocol::UDP, 21, 21)];
    assert_eq!(of(over_udp), [], "FTP is asked over TCP");
    assert_eq!(of(named("ftp", Action::Drop)), []);
    assert_eq!(of(named("tcp/21", Action::Pass)), []);
    let mut policy = numbered(ground(), vec![named("ftp", Action::Pass)]);
    policy.zones[0].masquerade = true;
    assert_eq!(
        helped(&policy),
        [(WAN, ZONE_SELF, Protocol::TCP), (WAN, IOT, Protocol::TCP), (IOT, WAN, Protocol::TCP)],
        "answers to a masquerade come to the router's own address"
    );
    let mut policy = ground();
    policy.forwards = vec![Forward {
        name: "ftp".into(),
        from: WAN,
        services: vec![ServiceMatch::new(Protocol::TCP, 2121, 2121)],
        to: "10.1.0.5".parse().unwrap(),
        port: Some(21),
        hairpin: false,
        sources: vec![],
        comment: None,
        span: model::Span::default(),
    }];
    assert_eq!(
        helped(&policy),
        [(WAN, ZONE_SELF, Protocol::TCP), (WAN, IOT, Protocol::TCP), (IOT, WAN, Protocol::TCP)]
    );
    // Of ranges the one port that leads there, and by hairpin from the inner zones; both walls go by the same answer.
    for (first, last, inner, port) in [
        (2120, 2122, Some(20), Some(2121)),
        (2120, 2122, Some(21), Some(2120)),
        (2120, 2122, Some(19), Some(2122)),
        (2120, 2122, Some(18), None),
        (2120, 2122, Some(22), None),
        (20, 22, None, Some(21)),
        (22, 30, None, None),
        (65_535, 65_535, Some(21), Some(65_535)),
    ] {
        let forward = &mut policy.forwards[0];
        forward.services = vec![ServiceMatch::new(Protocol::TCP, first, last)];
        (forward.port, forward.hairpin) = (inner, true);
        let reached: Vec<_> = policy.reached_from(&policy.forwards[0]).collect();
        assert!(reached.contains(&WAN) && reached.len() > 1);
        let followed = policy.followed();
        assert_eq!(helped(&policy).is_empty(), port.is_none(), "{first}-{last} to {inner:?}");
        let wanted: Vec<_> =
            port.map(|port| ServiceMatch::new(Protocol::TCP, port, port)).into_iter().collect();
        assert_eq!(followed.iter().flat_map(|one| one.matches.clone()).collect::<Vec<_>>(), wanted);
        assert!(followed.iter().all(|one| one.from == reached && one.helper.name == "ftp"));
        for zone in followed.iter().flat_map(|one| &one.from) {
            assert!(helped(&policy).contains(&(*zone, ZONE_SELF, Protocol::TCP)), "{zone}");
        }
    }
}
