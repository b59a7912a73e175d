//! What is said to have changed between two policies, and for which live flows that matters.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{ZONE_FIRST, ZONE_SELF, ZoneId};
use model::{Action, Mode, Protocol, Span};
use policy::{
    AddressSet, Change, ChangeKind, Comparison, DeviceGroup, Forward, Mac, Policy, Rule, Schedule, Service,
    ServiceMatch, SetKind, Side, Zone, ZoneSet, address_set, diff,
};
use std::net::IpAddr;

const WAN: ZoneId = ZONE_FIRST;
const HOME: ZoneId = ZONE_FIRST + 1;

fn rule(from: &[ZoneId], to: &[ZoneId], port: u16, action: Action, comment: &str) -> Rule {
    let matches = vec![ServiceMatch::new(Protocol::TCP, port, port)];
    Rule {
        from: ZoneSet::Of(from.to_vec()).into(),
        to: ZoneSet::Of(to.to_vec()).into(),
        services: vec![Service { name: format!("tcp/{port}"), matches }],
        action,
        comment: (!comment.is_empty()).then(|| comment.to_owned()),
        ..Rule::default()
    }
}

fn policy(rules: Vec<Rule>) -> Policy {
    let zone = |id, name: &str, networks: &[&str]| Zone {
        id,
        name: name.into(),
        interface: format!("eth{id}"),
        device: format!("eth{id}"),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: networks.is_empty(),
        denial: if networks.is_empty() { Action::Drop } else { Action::Reject },
        ..Zone::default()
    };
    let mut policy = Policy {
        zones: vec![zone(WAN, "wan", &[]), zone(HOME, "home", &["10.1.0.0/24"])],
        rules,
        ..Policy::default()
    };
    for (rule, id) in policy.rules.iter_mut().zip(0u16..) {
        rule.id = id;
        rule.span = Span { file: "secd.toml".into(), line: u32::from(id) + 1, column: 1 };
    }
    policy
}

fn rules() -> Vec<Rule> {
    vec![
        rule(&[HOME], &[WAN], 80, Action::Pass, "web"),
        rule(&[HOME], &[WAN], 443, Action::Pass, ""),
        rule(&[HOME], &[ZONE_SELF], 22, Action::Pass, "administration"),
        rule(&[WAN], &[ZONE_SELF], 22, Action::Drop, ""),
    ]
}

fn told(old: &Policy, new: &Policy) -> Vec<String> {
    diff(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_changed() {
    let (old, mut new) = (policy(rules()), policy(rules()));
    // Where it stands in the file is no difference.
    new.rules[2].span.line = 99;
    new.zones[0].span.line = 98;
    assert_eq!(diff(&old, &new), []);
}

#[test]
fn rules_come_go_move_and_change() {
    let old = policy(rules());
    let mut changed = rules();
    changed.swap(0, 3);
    changed.remove(1);
    changed[1].action = Action::Reject;
    changed.push(rule(&[HOME], &[WAN], 8443, Action::Pass, "new"));
    // Now: wan-self drop, home-self reject (changed), home-wan 80, home-wan 8443.
    let new = policy(changed);
    assert_eq!(
        told(&old, &new),
        [
            "rule 0 moved from place 3 to 0\n    from wan to self: tcp/22; drop",
            "rule 1 changed (was rule 2)\n  - from home to self: tcp/22; allow (administration)\n  + from home to self: tcp/22; \
             reject (administration)",
            "rule 3 changed (was rule 1)\n  - from home to wan: tcp/443; allow\n  + from home to wan: tcp/8443; allow (new)",
        ]
    );
    let gone = policy(rules()[..2].to_vec());
    let kinds: Vec<(ChangeKind, String)> =
        diff(&old, &gone).into_iter().map(|Change { kind, name, .. }| (kind, name)).collect();
    assert_eq!(kinds, [(ChangeKind::Removed, "rule 2".into()), (ChangeKind::Removed, "rule 3".into())]);
    let json = serde_json::to_value(diff(&gone, &old)).unwrap();
    assert_eq!(
        json[0],
        serde_json::json!({
            "kind": "added", "subject": "rule", "name": "rule 2", "before": [],
            "after": ["from home to self: tcp/22; allow (administration)"],
            "old_place": null, "new_place": { "id": 2, "file": "secd.toml", "line": 3 },
        })
    );
}

#[test]
fn a_service_that_means_other_ports_changes_its_rules() {
    let (old, mut new) = (policy(rules()), policy(rules()));
    new.rules[0].services[0].matches.push(ServiceMatch::new(Protocol::UDP, 80, 80));
    assert_eq!(
        told(&old, &new),
        [
            "rule 0 changed\n  - from home to wan: tcp/80; allow (web)\n  - where its services mean tcp/80\n  + from home to wan: \
          tcp/80; allow (web)\n  + where its services mean tcp/80, udp/80"
        ]
    );
}

#[test]
fn zones_groups_schedules_and_forwards_by_name() {
    let (mut old, mut new) = (policy(vec![]), policy(vec![]));
    new.mode = Mode::Observe;
    new.protected = vec!["192.0.2.9/32".parse().unwrap()];
    new.zones[1].networks.push("10.9.0.0/24".parse().unwrap());
    new.zones[1].isolate = true;
    new.zones.push(Zone { id: HOME + 1, name: "lab".into(), interface: "eth7".into(), ..Zone::default() });
    let group = |nets: &[&str]| AddressSet {
        name: "nas".into(),
        kind: SetKind::Group,
        nets: address_set(nets.iter().map(|net| net.parse().unwrap()).collect()),
    };
    old.sets = vec![group(&["10.1.0.2/32", "10.1.0.3/32"])];
    new.sets = vec![group(&["10.1.0.2/32", "10.1.0.4/32"])];
    let tvs = |last: u8| DeviceGroup {
        name: "tvs".into(),
        macs: vec![Mac([2, 0, 0, 0, 0, last])],
        addresses: address_set(vec![]),
    };
    old.devices = vec![tvs(1)];
    let schedule = |end| Schedule { name: "nights".into(), days: [true; 7], start: 60, end, zone: None };
    old.schedules = vec![schedule(120)];
    new.schedules = vec![schedule(180)];
    new.forwards = vec![Forward {
        name: "web".into(),
        from: WAN,
        services: vec![ServiceMatch::new(Protocol::TCP, 443, 443)],
        to: "10.1.0.2".parse().unwrap(),
        port: Some(8443),
        hairpin: true,
        sources: vec![0],
        comment: None,
        span: Span { file: "secd.toml".into(), line: 7, column: 1 },
    }];
    assert_eq!(
        told(&old, &new),
        [
            "the mode changed\n  - enforce\n  + observe",
            "what is protected changed\n  + 192.0.2.9/32",
            "zone `home` changed\n  - isolate = false\n  + isolate = true\n  + network 10.9.0.0/24",
            "zone `lab` added\n  + interface = eth7",
            "group `nas` changed\n  - 10.1.0.3/32\n  + 10.1.0.4/32",
            "devices `tvs` removed\n  - 02:00:00:00:00:01",
            "schedule `nights` changed\n  - every day from 01:00 to 02:00\n  + every day from 01:00 to 03:00",
            "forward `web` added\n  + tcp/443 of wan to 10.1.0.2 port 8443; for nas; with hairpin",
        ]
    );
}

#[test]
fn live_flows_that_would_change() {
    let old = policy(rules());
    let mut changed = rules();
    changed.remove(0);
    // The ids of zones may change as well: names are what counts.
    let mut new = policy(changed);
    new.zones[1].name = "home".into();
    let own: Vec<IpAddr> = vec!["10.1.0.1".parse().unwrap()];
    let comparison = Comparison::new(&old, &new, &own);
    let change = |flow: &str| comparison.change(&flow.parse().unwrap()).unwrap();
    let (before, after) =
        change("zone=home src=10.1.0.9 dst=198.51.100.4 proto=tcp sport=50000 dport=80").unwrap();
    assert_eq!((before.action, before.rule.as_deref()), (Action::Pass, Some("rule 0")));
    assert_eq!((after.action, after.rule, after.observed), (Action::Reject, None, false));
    // By another number, but the same verdict.
    assert_eq!(change("zone=home src=10.1.0.9 dst=198.51.100.4 proto=tcp dport=443"), None);
    assert_eq!(change("src=10.1.0.9 dst=10.1.0.1 proto=tcp dport=22"), None);
    let error = comparison.change(&"zone=lab src=10.1.0.9 dst=10.1.0.1".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no zone `lab`"), "{error}");
    new.mode = Mode::Observe;
    let comparison = Comparison::new(&old, &new, &own);
    assert_eq!(
        comparison.change(&"src=10.1.0.9 dst=198.51.100.4 proto=tcp dport=80".parse().unwrap()).unwrap(),
        None
    );
}

#[test]
fn ten_thousand_rules_with_one_moved() {
    let many = |moved: bool| {
        let mut rules: Vec<Rule> =
            (1..10_000).map(|port| rule(&[HOME], &[WAN], port, Action::Pass, "")).collect();
        if moved {
            let last = rules.pop().unwrap();
            rules.insert(0, last);
        }
        policy(rules)
    };
    let changes = diff(&many(false), &many(true));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].kind, ChangeKind::Moved);
}

#[test]
fn rules_are_written_in_the_words_of_the_config() {
    let mut policy = policy(vec![rule(&[HOME], &[WAN], 80, Action::Pass, "")]);
    policy.sets = vec![
        AddressSet { name: "DE".into(), kind: SetKind::Country, nets: address_set(vec![]) },
        AddressSet { name: "10.1.0.9".into(), kind: SetKind::Group, nets: address_set(vec![]) },
    ];
    policy.schedules = vec![Schedule {
        name: "nights".into(),
        days: [true; 7],
        start: 0,
        end: 60,
        zone: Some("UTC".into()),
    }];
    let rule = Rule {
        from: Side { zones: ZoneSet::Of(vec![HOME]), sets: vec![0, 1], devices: vec![] },
        to: ZoneSet::Any.into(),
        limit: Some(policy::Rate::new(10, 60_000_000_000, 20)),
        schedule: Some(0),
        log: true,
        mode: Mode::Observe,
        ..Rule::default()
    };
    assert_eq!(
        policy.written(&rule),
        "from home, country:DE, 10.1.0.9 to any: everything; limit to 10/minute burst 20 and log; only nights; observed only"
    );
    assert_eq!(policy.schedules[0].to_string(), "every day from 00:00 to 01:00 in UTC");
}
