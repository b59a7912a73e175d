//! The lowered tables against the slow reading of the rules, and every limit of a plan.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{
    MAX_NETWORKS, MAX_PROTECTED, MAX_RULES, POLICY_LOG, PolicyValue, RULE_DEFAULT, ZONE_FIRST,
    ZONE_MULTICAST, ZONE_SELF, ZoneId,
};
use ipnet::IpNet;
use model::{Action, Mode, Protocol, Span};
use policy::{
    LOWERED, LowerError, Plan, Policy, PolicyPrefix, Question, Rule, Service, ServiceMatch, Zone, ZoneSet,
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};

const WAN: ZoneId = ZONE_FIRST;
const IOT: ZoneId = ZONE_FIRST + 1;

fn zone(place: u8, wan: bool) -> Zone {
    Zone {
        id: ZONE_FIRST + place,
        name: format!("zone{place}"),
        interface: "eth1".into(),
        vlan: (!wan).then_some(u16::from(place)),
        device: format!("eth1.{place}"),
        networks: if wan {
            vec![]
        } else {
            vec![format!("10.{place}.0.0/24").parse().unwrap(), format!("fd00:{place}::/64").parse().unwrap()]
        },
        wan,
        anti_spoof: true,
        inspect: false,
        masquerade: wan,
        mode: Mode::Enforce,
        denial: if wan { Action::Drop } else { Action::Reject },
        span: Span::default(),
        ..Zone::default()
    }
}

fn rule(from: ZoneSet, to: ZoneSet, matches: Vec<ServiceMatch>, action: Action) -> Rule {
    let services = if matches.is_empty() { vec![] } else { vec![Service { name: "some".into(), matches }] };
    Rule {
        id: 0,
        from: from.into(),
        to: to.into(),
        services,
        action,
        log: false,
        mode: Mode::Enforce,
        comment: None,
        span: Span::default(),
        ..Rule::default()
    }
}

fn policy_of(zones: u8, mut rules: Vec<Rule>) -> Policy {
    for (id, rule) in rules.iter_mut().enumerate() {
        rule.id = id as u16;
    }
    let zones = (0..zones).map(|place| zone(place, place == 0)).collect();
    Policy { zones, rules, ..Policy::default() }
}

/// What the kernel would find. Prefixes are disjoint ([`assert_minimal`]), so the longest that holds a port is the last
/// that starts at it or before.
fn look_up(
    plan: &BTreeMap<PolicyPrefix, PolicyValue>,
    from: ZoneId,
    to: ZoneId,
    protocol: u8,
    port: u16,
) -> Option<PolicyValue> {
    let last = PolicyPrefix { from, to, protocol, port, bits: 16 };
    let (prefix, value) = plan.range(..=last).next_back()?;
    let holds = (prefix.from, prefix.to, prefix.protocol) == (from, to, protocol)
        && u32::from(port) < u32::from(prefix.port) + (1 << (16 - u32::from(prefix.bits)));
    holds.then_some(*value)
}

fn assert_same(policy: &Policy, plan: &Plan, ports: impl Iterator<Item = u16> + Clone) {
    for from in policy.sources() {
        for to in policy.destinations() {
            for protocol in LOWERED {
                for port in ports.clone() {
                    let lowered = look_up(&plan.policy, from, to, protocol.0, port);
                    let judged = policy.judge(&[], &Question::between(from, to, protocol, port)).value();
                    assert_eq!(lowered, Some(judged), "{from} -> {to} {protocol}/{port}");
                }
            }
        }
    }
}

/// No prefix holds another, and no two halves of one prefix have one value where they could be merged.
fn assert_minimal(plan: &Plan) {
    let end = |prefix: &PolicyPrefix| u32::from(prefix.port) + (1 << (16 - u32::from(prefix.bits)));
    let mut before: Option<(&PolicyPrefix, &PolicyValue)> = None;
    for (prefix, value) in &plan.policy {
        let key = (prefix.from, prefix.to, prefix.protocol);
        match before.filter(|(other, _)| (other.from, other.to, other.protocol) == key) {
            Some((other, other_value)) => {
                assert_eq!(end(other), u32::from(prefix.port), "gap or overlap before {prefix:?}");
                let halves = other.bits == prefix.bits
                    && other.port & !(1 << (16 - u32::from(prefix.bits)).min(15)) == other.port
                    && prefix.bits > 0
                    && u32::from(other.port) % (1 << (17 - u32::from(prefix.bits))) == 0;
                assert!(!(halves && other_value == value), "{other:?} and {prefix:?} could be one");
            }
            None => assert_eq!(prefix.port, 0),
        }
        before = Some((prefix, value));
    }
}

fn lowered(policy: &Policy) -> Plan {
    policy.lower(&["192.0.2.1".parse().unwrap(), "10.1.0.1".parse().unwrap()], Arc::new([])).unwrap()
}

fn any_match() -> impl Strategy<Value = ServiceMatch> {
    let port = prop_oneof![Just(0u16), Just(u16::MAX), 0u16..128, any::<u16>(), Just(0x0800), Just(0x08ff)];
    let protocol = prop_oneof![
        Just(Protocol::TCP),
        Just(Protocol::UDP),
        Just(Protocol::ICMP),
        Just(Protocol::ICMPV6),
        Just(Protocol(50))
    ];
    (protocol, port.clone(), port)
        .prop_map(|(protocol, a, b)| ServiceMatch::new(protocol, a.min(b), a.max(b)))
}

fn any_zones() -> impl Strategy<Value = ZoneSet> {
    prop_oneof![
        1 => Just(ZoneSet::Any),
        4 => prop::collection::vec(ZONE_SELF..ZONE_FIRST + 4, 1..4).prop_map(ZoneSet::Of),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let action = prop_oneof![Just(Action::Pass), Just(Action::Drop), Just(Action::Reject)];
    let matches = prop::collection::vec(any_match(), 0..4);
    (any_zones(), any_zones(), matches, action, any::<bool>(), any::<bool>()).prop_map(
        |(from, to, matches, action, log, observe)| Rule {
            log,
            mode: if observe { Mode::Observe } else { Mode::Enforce },
            ..rule(from, to, matches, action)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lowered_tables_say_what_the_rules_say(
        rules in prop::collection::vec(any_rule(), 0..12),
        sampled in prop::collection::vec(any::<u16>(), 24),
    ) {
        let policy = policy_of(4, rules);
        let plan = lowered(&policy);
        assert_minimal(&plan);
        // Every edge of every range and its neighbours, beside the sample.
        let edges = policy
            .rules
            .iter()
            .flat_map(|rule| &rule.services)
            .flat_map(|service| &service.matches)
            .flat_map(|matched| [matched.ports.first, matched.ports.last])
            .flat_map(|port| [port.saturating_sub(1), port, port.saturating_add(1)]);
        let ports: Vec<u16> = sampled.into_iter().chain(edges).chain([0, u16::MAX]).collect();
        assert_same(&policy, &plan, ports.iter().copied());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_port_of_some_policies(rules in prop::collection::vec(any_rule(), 3..8)) {
        let policy = policy_of(2, rules);
        let plan = lowered(&policy);
        for (from, to) in [(IOT, WAN), (WAN, ZONE_SELF)] {
            for protocol in LOWERED {
                let of_pair = plan.policy.iter().filter(|(prefix, _)| {
                    (prefix.from, prefix.to, prefix.protocol) == (from, to, protocol.0)
                });
                let mut expected_port = 0u32;
                for (prefix, value) in of_pair {
                    let last = u32::from(prefix.port) + (1 << (16 - prefix.bits)) - 1;
                    for port in u32::from(prefix.port)..=last {
                        prop_assert_eq!(port, expected_port);
                        expected_port += 1;
                        prop_assert_eq!(*value, policy.judge(&[], &Question::between(from, to, protocol, port as u16)).value());
                    }
                }
                prop_assert_eq!(expected_port, 65_536);
            }
        }
    }
}

#[test]
fn defaults_are_those_of_the_zones() {
    let policy = policy_of(3, vec![]);
    let judged = |from, to| policy.judge(&[], &Question::between(from, to, Protocol::TCP, 80)).action;
    assert_eq!(judged(ZONE_SELF, WAN), Action::Pass);
    assert_eq!(judged(IOT, IOT), Action::Pass);
    assert_eq!(judged(IOT, ZONE_MULTICAST), Action::Pass);
    assert_eq!(judged(IOT, ZONE_SELF), Action::Reject);
    assert_eq!(judged(IOT, WAN), Action::Reject);
    assert_eq!(judged(WAN, IOT), Action::Drop);
    assert_eq!(judged(WAN, WAN), Action::Drop);
    assert_eq!(judged(WAN, ZONE_SELF), Action::Drop);
    assert_eq!(judged(WAN, ZONE_MULTICAST), Action::Drop);
    // One prefix for each pair and protocol: 4 sources, 5 destinations, 4 protocols.
    assert_eq!(lowered(&policy).policy.len(), 4 * 5 * 4);
}

#[test]
fn multicast_is_never_answered() {
    let policy = policy_of(2, vec![rule(ZoneSet::Any, ZoneSet::Any, vec![], Action::Reject)]);
    assert_eq!(
        policy.judge(&[], &Question::between(IOT, ZONE_MULTICAST, Protocol::UDP, 5353)).action,
        Action::Drop
    );
    assert_eq!(policy.judge(&[], &Question::between(IOT, WAN, Protocol::UDP, 5353)).action, Action::Reject);
}

#[test]
fn a_small_policy_lowers_to_the_fewest_prefixes() {
    let mut ssh = rule(
        ZoneSet::Of(vec![IOT]),
        ZoneSet::Of(vec![WAN]),
        vec![ServiceMatch::new(Protocol::TCP, 22, 22)],
        Action::Pass,
    );
    ssh.log = true;
    let plan = lowered(&policy_of(2, vec![ssh]));
    let of_pair: Vec<_> = plan
        .policy
        .iter()
        .filter(|(prefix, _)| (prefix.from, prefix.to, prefix.protocol) == (IOT, WAN, 6))
        .collect();
    // A single port out of 65,536 leaves 16 prefixes around it.
    assert_eq!(of_pair.len(), 17);
    let hit = of_pair.iter().find(|(prefix, _)| prefix.bits == 16 && prefix.port == 22).unwrap();
    assert_eq!(*hit.1, PolicyValue { action: 0, flags: POLICY_LOG, rule: 0 });
    assert!(
        of_pair.iter().filter(|(prefix, _)| prefix.port != 22).all(|(_, value)| value.rule == RULE_DEFAULT)
    );
}

#[test]
fn networks_know_the_router_multicast_and_the_rest() {
    let mut policy = policy_of(2, vec![]);
    policy.protected = vec!["198.51.100.7/24".parse().unwrap()];
    let plan = policy
        .lower(&["10.1.0.1".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap()], Arc::new([]))
        .unwrap();
    let at = |net: &str| plan.networks.get(&net.parse::<IpNet>().unwrap()).copied();
    assert_eq!(at("10.1.0.1/32"), Some(ZONE_SELF));
    assert_eq!(at("192.0.2.1/32"), Some(ZONE_SELF));
    assert_eq!(at("10.1.0.255/32"), Some(ZONE_MULTICAST));
    assert_eq!(at("224.0.0.0/4"), Some(ZONE_MULTICAST));
    assert_eq!(at("ff00::/8"), Some(ZONE_MULTICAST));
    assert_eq!(at("10.1.0.0/24"), Some(IOT));
    assert_eq!(at("0.0.0.0/0"), Some(WAN));
    assert_eq!(at("::/0"), Some(WAN));
    let protected: Vec<IpNet> =
        ["10.1.0.1/32", "192.0.2.1/32", "198.51.100.0/24"].map(|net| net.parse().unwrap()).to_vec();
    assert_eq!(plan.protected, protected);
    assert_eq!(plan.zones[&WAN].flags, abi::ZONE_IS_WAN | abi::ZONE_ANTI_SPOOF);
    assert_eq!(plan.ports.len(), 2);
}

#[test]
fn what_does_not_fit_is_refused_with_numbers() {
    let refused = |policy: &Policy| policy.lower(&[], Arc::new([])).unwrap_err();
    let counted = |policy: &Policy| match refused(policy) {
        LowerError::TooMany { count, limit, .. } => (count, limit),
        other => panic!("{other}"),
    };
    assert_eq!(counted(&policy_of(62, vec![])), (65, 64));

    let many = vec![rule(ZoneSet::Any, ZoneSet::Any, vec![], Action::Pass); MAX_RULES as usize + 1];
    assert_eq!(counted(&policy_of(2, many)), (MAX_RULES as usize + 1, MAX_RULES as usize));

    let mut policy = policy_of(2, vec![]);
    policy.zones[1].networks =
        (0..2100u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()))).collect();
    assert_eq!(counted(&policy), (2100 + 5, MAX_NETWORKS as usize / 2));

    policy.protected = std::mem::take(&mut policy.zones[1].networks);
    policy
        .protected
        .extend((0..2100u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0b00_0000 + n).to_be_bytes()))));
    assert_eq!(counted(&policy), (4200, MAX_PROTECTED as usize / 2));

    // Every other port, between any zones: 65,536 prefixes for each of the pairs.
    let odd = (0..u16::MAX).step_by(2).map(|port| ServiceMatch::new(Protocol::TCP, port, port)).collect();
    let (count, limit) = counted(&policy_of(3, vec![rule(ZoneSet::Any, ZoneSet::Any, odd, Action::Drop)]));
    assert_eq!((count, limit), (4 * 5 * (65_536 + 3), 65_536));
    let text = refused(&policy_of(62, vec![])).to_string();
    assert!(text.contains("65 zones") && text.contains("64"), "{text}");
}

#[test]
fn what_two_zones_claim_is_refused() {
    let refused = |change: fn(&mut Policy)| {
        let mut policy = policy_of(3, vec![]);
        change(&mut policy);
        policy.lower(&[], Arc::new([])).unwrap_err()
    };
    let port = refused(|policy| policy.zones[2].vlan = Some(1));
    assert!(matches!(port, LowerError::PortTwice { vlan: 1, .. }), "{port}");
    let device = refused(|policy| policy.zones[2].device = "eth1.1".into());
    assert!(matches!(device, LowerError::DeviceTwice { .. }), "{device}");
    let network = refused(|policy| policy.zones[2].networks = vec!["10.1.0.9/24".parse().unwrap()]);
    assert!(matches!(network, LowerError::NetworkTwice { .. }), "{network}");
    assert!(matches!(refused(|policy| policy.zones[1].wan = true), LowerError::WanTwice { .. }));
    assert!(matches!(refused(|policy| policy.zones[1].id = 9), LowerError::ZoneId { expected: 4, .. }));
}
