//! Rules as prefixes of ports against the slow reading of the rules.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{POLICY_LOG, PolicyValue, RULE_DEFAULT, ZONE_FIRST, ZONE_SELF, ZoneId};
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
fn too_many_prefixes_are_refused_with_numbers() {
    let counted = |policy: &Policy| match policy.lower(&[], Arc::new([])).unwrap_err() {
        LowerError::TooMany { count, limit, .. } => (count, limit),
        other => panic!("{other}"),
    };
    // Every other port, between any zones: 65,536 prefixes for each of the pairs.
    let odd = (0..u16::MAX).step_by(2).map(|port| ServiceMatch::new(Protocol::TCP, port, port)).collect();
    let (count, limit) = counted(&policy_of(3, vec![rule(ZoneSet::Any, ZoneSet::Any, odd, Action::Drop)]));
    assert_eq!((count, limit), (4 * 5 * (65_536 + 3), 65_536));
}

#[test]
fn one_prefix_for_each_pair_and_protocol_without_rules() {
    // 4 sources, 5 destinations, 4 protocols.
    assert_eq!(lowered(&policy_of(3, vec![])).policy.len(), 4 * 5 * 4);
}

#[test]
fn what_prefixes_cannot_say_of_addresses_is_left_to_the_second_wall() {
    let nets = policy::address_set(vec!["10.1.0.9/32".parse().unwrap()]);
    let set = policy::AddressSet { name: "one".into(), kind: policy::SetKind::Group, nets };
    let addressed = |action| Rule {
        from: policy::Side { zones: ZoneSet::Of(vec![]), sets: vec![0], devices: vec![] },
        ..rule(ZoneSet::Any, ZoneSet::Any, vec![], action)
    };
    let value = |rules: Vec<Rule>| {
        let mut policy = policy_of(2, rules);
        policy.sets = vec![set.clone()];
        look_up(&lowered(&policy).policy, IOT, WAN, 6, 80).unwrap()
    };
    // Some pass: all go on. Some are denied: that is not said here.
    assert_eq!(
        (value(vec![addressed(Action::Pass)]).action, value(vec![addressed(Action::Pass)]).rule),
        (0, 0)
    );
    assert_eq!(value(vec![addressed(Action::Drop)]).rule, RULE_DEFAULT);
    // Too many prefixes, and addresses beside: everything goes on.
    let odd = (0..u16::MAX).step_by(2).map(|port| ServiceMatch::new(Protocol::TCP, port, port)).collect();
    let many = rule(ZoneSet::Any, ZoneSet::Any, odd, Action::Drop);
    assert_eq!(value(vec![many, addressed(Action::Pass)]).action, Action::Pass as u8);
}
