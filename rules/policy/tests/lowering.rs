//! Zones, networks and flags of a plan, and its limits.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{MAX_NETWORKS, MAX_PROTECTED, MAX_RULES, ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Mode, Protocol, Span};
use policy::{LowerError, Policy, Question, Rule, Service, ServiceMatch, Zone, ZoneSet};
use std::sync::Arc;

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
        (0..4100u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0a00_0000 + n).to_be_bytes()))).collect();
    assert_eq!(counted(&policy), (4100 + 5, MAX_NETWORKS as usize));

    policy.protected = std::mem::take(&mut policy.zones[1].networks);
    policy
        .protected
        .extend((0..4100u32).map(|n| IpNet::from(std::net::IpAddr::from((0x0b00_0000 + n).to_be_bytes()))));
    assert_eq!(counted(&policy), (8200, MAX_PROTECTED as usize));

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
