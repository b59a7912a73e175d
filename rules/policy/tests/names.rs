//! Rules that name domains: the packet path over the compiled image says what the slow reading of the rules says, for
//! every combination of what was answered.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{ResolvedValue, ZONE_FIRST, ZoneId};
use datapath::{Input, Verdict, decide};
use model::{Action, Flow, Protocol};
use policy::{
    AddressSet, Answered, HostTables, Policy, Question, Rule, Service, ServiceMatch, SetKind, Side, Zone,
    ZoneSet, opening_frame, to_kernel,
};
use std::sync::Arc;

const WAN: ZoneId = ZONE_FIRST;
const IOT: ZoneId = ZONE_FIRST + 1;
const HOME: ZoneId = ZONE_FIRST + 2;

fn zone(id: ZoneId, name: &str, networks: &[&str]) -> Zone {
    let wan = networks.is_empty();
    Zone {
        id,
        name: name.into(),
        interface: name.into(),
        device: name.into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan,
        anti_spoof: true,
        denial: if wan { Action::Drop } else { Action::Reject },
        ..Zone::default()
    }
}

fn rule(zones: &[ZoneId], sets: &[u16], port: u16, action: Action) -> Rule {
    let matches = vec![ServiceMatch::new(Protocol::TCP, port, port)];
    let services = if port == 0 { vec![] } else { vec![Service { name: "some".into(), matches }] };
    Rule {
        from: ZoneSet::Of(vec![IOT]).into(),
        to: Side { zones: ZoneSet::Of(zones.to_vec()), sets: sets.to_vec(), devices: vec![] },
        services,
        action,
        ..Rule::default()
    }
}

/// Three patterns with bits far apart, and a group that overlaps what was answered for them.
fn policy() -> Policy {
    let set = |name: &str, kind, nets: &[&str]| AddressSet {
        name: name.into(),
        kind,
        nets: nets.iter().map(|net| net.parse().unwrap()).collect(),
    };
    let mut rules = vec![
        Rule { goes_on: true, log: true, ..rule(&[], &[1], 443, Action::Pass) },
        rule(&[], &[2], 443, Action::Drop),
        rule(&[], &[0, 3], 443, Action::Pass),
        rule(&[], &[0], 80, Action::Reject),
        rule(&[], &[1], 0, Action::Pass),
        rule(&[WAN], &[], 22, Action::Pass),
        Rule { log: true, ..rule(&[], &[2, 1], 22, Action::Drop) },
    ];
    for (id, rule) in rules.iter_mut().enumerate() {
        rule.id = id as u16;
    }
    Policy {
        zones: vec![
            zone(WAN, "outside", &[]),
            zone(IOT, "iot", &["10.4.0.0/24", "fd00:4::/64"]),
            zone(HOME, "home", &["10.1.0.0/24", "fd00:1::/64"]),
        ],
        sets: vec![
            set("*.docker.io", SetKind::Names(0), &[]),
            set("acme.example", SetKind::Names(63), &[]),
            set("*.ads.example", SetKind::Names(17), &[]),
            set("office", SetKind::Group, &["9.9.9.8/30", "2620:fe::/48"]),
        ],
        rules,
        ..Policy::default()
    }
}

fn flow(destination: &str, port: u16) -> Flow {
    let source = if destination.contains(':') { "fd00:4::9" } else { "10.4.0.9" };
    format!("zone=iot src={source} dst={destination} proto=tcp dport={port}").parse().unwrap()
}

#[test]
fn the_packet_path_says_what_the_rules_say_whatever_was_answered() {
    let policy = policy();
    assert!(policy.names_domains(IOT) && !policy.names_domains(HOME) && !policy.names_domains(WAN));
    let plan = Arc::new(policy.lower(&[], Arc::new([])).unwrap());
    assert_eq!(plan.resolved.keys().collect::<Vec<_>>(), [&IOT]);
    let mut tables = HostTables::new(Arc::clone(&plan)).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut number = 0;
    for destination in ["9.9.9.9", "203.0.113.1", "2620:fe::fe", "2001:db8::1", "10.1.0.5", "fd00:1::5"] {
        for port in [22, 80, 443, 8443] {
            for patterns in 0..16_u64 {
                let bits = [0, 63, 17, 5].iter().enumerate();
                let patterns = bits.fold(0, |all, (place, bit)| all | (patterns >> place & 1) << bit);
                let mut flow = flow(destination, port);
                // Each its own flow.
                number += 1;
                flow.sport = 1024 + number;
                let question = Question {
                    to: if destination.starts_with("10.") || destination.starts_with("fd") {
                        HOME
                    } else {
                        WAN
                    },
                    source: flow.src,
                    destination: flow.dst,
                    patterns,
                    ..Question::between(IOT, WAN, Protocol::TCP, port)
                };
                let key = (IOT, to_kernel(flow.dst));
                for (until, patterns) in [(u64::MAX, patterns), (1, 0)] {
                    tables.resolved.insert(key, ResolvedValue { until, patterns: question.patterns });
                    let expected = policy.judge(&[], &Question { patterns, ..question });
                    let frame = opening_frame(&flow, &policy.zones[1]);
                    let ifindex = tables.interface("iot").unwrap();
                    let input = Input { ifindex, now: 1, length: frame.len() as u32, ..Input::default() };
                    let mut verdict = Verdict::EMPTY;
                    let flows = tables.flows.clone();
                    decide(&frame.as_slice(), &input, &tables, &mut verdict);
                    tables.flows = flows;
                    let rule = expected.rule.map_or(abi::RULE_NONE, u32::from);
                    let logged = expected.logged.map_or(abi::RULE_NONE, u32::from);
                    let place = format!("{flow} {patterns:#x}");
                    assert_eq!(
                        (verdict.action, verdict.reason),
                        (expected.action, expected.reason),
                        "{place}"
                    );
                    assert_eq!((verdict.rule, verdict.logged), (rule, logged), "{place}");
                    let found = plan.find(&Question { patterns, ..question }).unwrap();
                    assert_eq!(found.value.rule, expected.value().rule, "{place}");
                    seen.insert((expected.rule, expected.action as u8));
                }
            }
        }
    }
    let rules: std::collections::BTreeSet<_> = seen.iter().map(|(rule, _)| *rule).collect();
    let every = [None, Some(1), Some(2), Some(3), Some(4), Some(5)];
    assert_eq!(rules, every.into(), "each rule decided something but the one that never can");
    assert!(seen.contains(&(None, Action::Reject as u8)), "inside a rejection stays one");
    assert!(!seen.contains(&(Some(3), Action::Reject as u8)), "outside none is left to nftables");
}

#[test]
fn a_known_flow_goes_on_when_what_was_answered_is_over_or_forgotten() {
    let policy = policy();
    let mut tables = HostTables::new(Arc::new(policy.lower(&[], Arc::new([])).unwrap())).unwrap();
    let flow = flow("203.0.113.1", 443);
    let key = (IOT, to_kernel(flow.dst));
    let ask = |tables: &HostTables, now| {
        let frame = opening_frame(&flow, &policy.zones[1]);
        let ifindex = tables.interface("iot").unwrap();
        let mut verdict = Verdict::EMPTY;
        let input = Input { ifindex, now, length: frame.len() as u32, ..Input::default() };
        decide(&frame.as_slice(), &input, tables, &mut verdict);
        (verdict.action, verdict.known)
    };
    tables.resolved.insert(key, ResolvedValue { until: 10, patterns: 1 });
    assert_eq!(ask(&tables, 9), (Action::Pass, false));
    for forgotten in [false, true] {
        if forgotten {
            tables.resolved.clear();
        }
        tables.next_epoch();
        assert_eq!(ask(&tables, 11), (Action::Pass, true), "judged again");
    }
    let mut fresh = HostTables::new(Arc::new(policy.lower(&[], Arc::new([])).unwrap())).unwrap();
    fresh.resolved.insert(key, ResolvedValue { until: 10, patterns: 1 });
    assert_eq!(ask(&fresh, 11), (Action::Drop, false), "a new one does not begin");
}

#[test]
fn explain_tells_the_domain() {
    let said = policy().explain_answered(&[], &flow("203.0.113.1", 443), Answered::For(1)).unwrap();
    assert_eq!((said.action, said.rule.unwrap().id), (Action::Pass, 2));
    let text = said.steps.join("; ");
    assert!(text.contains("to 203.0.113.1 in `domain:*.docker.io`"), "{text}");
    let said = policy().explain_answered(&[], &flow("203.0.113.1", 443), Answered::Never).unwrap();
    assert_eq!(said.action, Action::Drop);
    let said = policy().explain(&[], &flow("203.0.113.1", 443)).unwrap();
    assert!(
        said.steps.join("; ").contains("which the running daemon knows"),
        "from the config alone nobody knows"
    );
}
