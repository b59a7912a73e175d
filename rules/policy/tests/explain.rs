//! The words and the JSON of an explanation. What the verdicts are is in `tests/cases/policy`.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{DIRECTION_IN, ZONE_FIRST};
use datapath::{Input, Verdict, decide};
use model::{Action, Mode, Protocol, Reason, Span};
use policy::{
    ExplainError, Explanation, HostTables, Policy, Rule, Service, ServiceMatch, Zone, ZoneSet, opening_frame,
};
use std::sync::Arc;

fn zone(place: u8, name: &str, networks: &[&str]) -> Zone {
    Zone {
        id: ZONE_FIRST + place,
        name: name.into(),
        interface: format!("eth{place}"),
        vlan: (place > 1).then(|| u16::from(place) * 100),
        device: format!("eth{place}"),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: networks.is_empty(),
        anti_spoof: true,
        inspect: false,
        masquerade: false,
        mode: Mode::Enforce,
        denial: if networks.is_empty() { Action::Drop } else { Action::Reject },
        span: Span::default(),
        ..Zone::default()
    }
}

fn policy() -> Policy {
    let services =
        vec![Service { name: "smb".into(), matches: vec![ServiceMatch::new(Protocol::TCP, 445, 445)] }];
    Policy {
        mode: Mode::Enforce,
        zones: vec![
            zone(0, "outside", &[]),
            zone(1, "storage", &["10.3.0.0/24"]),
            zone(2, "iot", &["10.4.0.0/24", "fd00:4::/64"]),
        ],
        rules: vec![Rule {
            id: 0,
            from: ZoneSet::Of(vec![ZONE_FIRST + 2]).into(),
            to: ZoneSet::Any.into(),
            services,
            action: Action::Reject,
            log: false,
            mode: Mode::Enforce,
            comment: Some("no shares".into()),
            span: Span { file: "secd.toml".into(), line: 12, column: 1 },
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

fn explain(flow: &str) -> Result<Explanation, ExplainError> {
    policy().explain(&["10.4.0.1".parse().unwrap()], &flow.parse().unwrap())
}

#[test]
fn it_tells_how_it_came_to_its_verdict() {
    let said = explain("zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445").unwrap();
    let json = serde_json::to_value(&said).unwrap();
    let expected = serde_json::json!({
        "verdict": "reject",
        "reason": "rule_denied",
        "rule": { "id": 0, "file": "secd.toml", "line": 12 },
        "zone_in": "iot",
        "zone_out": "storage",
        "observed": false,
        "steps": [
            "it comes from zone `iot` (as the flow says), in at eth2 with VLAN tag 200",
            "10.3.0.2 is in 10.3.0.0/24, so it goes to `storage`",
            "from `iot` to `storage`, rule 0 at secd.toml:12 (no shares) matches first: it is rejected",
        ],
    });
    assert_eq!(json, expected);
    let said = explain("src=10.4.0.9 dst=198.51.100.4 proto=tcp dport=80").unwrap();
    let last = said.steps.last().unwrap();
    assert_eq!(
        last,
        "from `iot` to `outside`, the one rule for these zones names other services: by default it is rejected"
    );
    assert_eq!(serde_json::to_value(&said).unwrap()["rule"], serde_json::Value::Null);
}

#[test]
fn the_outside_answers_to_its_name_and_to_wan() {
    for name in ["outside", "wan"] {
        let said = explain(&format!("zone={name} src=198.51.100.4 dst=10.4.0.1 proto=udp dport=53")).unwrap();
        assert_eq!((said.zone_in.as_str(), said.action), ("outside", Action::Drop));
    }
}

#[test]
fn flows_that_cannot_be_are_refused() {
    let error = explain("zone=ito src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445").unwrap_err();
    assert_eq!(error.to_string(), "there is no zone `ito`; the zones are outside, storage, iot, self");
    let error = explain("src=224.0.0.1 dst=10.3.0.2 proto=tcp dport=445").unwrap_err();
    assert_eq!(error.to_string(), "no flow starts in `multicast`");
    let mixed = model::Flow { dst: "fd00:4::9".parse().unwrap(), ..flow("src=10.4.0.9 dst=10.3.0.2") };
    assert!(matches!(policy().explain(&[], &mixed), Err(ExplainError::Families { .. })));
}

fn flow(text: &str) -> model::Flow {
    text.parse().unwrap()
}

#[test]
fn bans_and_lists_hold_in_the_tables_but_not_against_what_is_protected() {
    let mut policy = policy();
    policy.protected = vec!["198.51.100.9/32".parse().unwrap()];
    policy.rules[0] =
        Rule { from: ZoneSet::Any.into(), action: Action::Pass, services: vec![], ..policy.rules[0].clone() };
    let value = abi::ListValue { list: 3, directions: DIRECTION_IN, observe: 0 };
    // Not in order, and one within another: the first list of the file names it.
    let lists = [
        ("198.51.100.0/24", value),
        ("198.51.100.64/26", abi::ListValue { list: 4, ..value }),
        ("2001:db8::/32", value),
    ];
    let lists = lists.iter().rev().map(|(net, value)| (net.parse().unwrap(), *value)).collect();
    let mut tables = HostTables::new(Arc::new(policy.lower(&[], lists).unwrap())).unwrap();
    tables.bans.insert(
        "203.0.113.0/24".parse().unwrap(),
        abi::BanValue { until: u64::MAX, decision: 7, directions: DIRECTION_IN, ..Default::default() },
    );
    let judged_with = |tables: &HostTables, source: &str, destination: &str, flags: u8| {
        let flow = flow(&format!("src={source} dst={destination} proto=tcp dport=80"));
        let mut frame = opening_frame(&flow, &policy.zones[0]);
        let place = if source.contains(':') { 14 + 40 + 13 } else { 14 + 20 + 13 };
        frame[place] = flags;
        let input = Input { ifindex: 1, now: 5, length: frame.len() as u32, ..Input::default() };
        let mut verdict = Verdict::EMPTY;
        decide(&frame.as_slice(), &input, tables, &mut verdict);
        (verdict.reason, verdict.rule)
    };
    // A SYN, and an ACK of the same flow.
    let judged =
        |tables: &HostTables, source: &str, destination: &str| judged_with(tables, source, destination, 2);
    let follows =
        |tables: &HostTables, source: &str, destination: &str| judged_with(tables, source, destination, 16);
    assert_eq!(judged(&tables, "198.51.100.7", "10.4.0.9"), (Reason::ListedSource, 3));
    assert_eq!(judged(&tables, "198.51.100.70", "10.4.0.9"), (Reason::ListedSource, 3));
    assert_eq!(judged(&tables, "198.51.100.9", "10.4.0.9"), (Reason::RuleAllowed, 0));
    assert_eq!(judged(&tables, "2001:db8::1", "fd00:4::9"), (Reason::ListedSource, 3));
    assert_eq!(judged(&tables, "203.0.113.80", "10.4.0.9"), (Reason::BannedSource, 7));
    assert_eq!(judged(&tables, "203.0.114.80", "10.4.0.9"), (Reason::RuleAllowed, 0));
    tables.allows.insert("203.0.113.80/32".parse().unwrap(), 6);
    assert_eq!(judged(&tables, "203.0.113.80", "10.4.0.9"), (Reason::RuleAllowed, 0));
    // Known now. When the allow is over nothing is opened any more, and what is open goes on until the epoch tells to look
    // again.
    assert_eq!(judged(&tables, "203.0.113.80", "10.4.0.9"), (Reason::Established, 0));
    tables.allows.clear();
    assert_eq!(judged(&tables, "203.0.113.80", "10.4.0.9"), (Reason::BannedSource, 7));
    assert_eq!(follows(&tables, "203.0.113.80", "10.4.0.9"), (Reason::HalfSeen, 0));
    tables.next_epoch();
    assert_eq!(follows(&tables, "203.0.113.80", "10.4.0.9"), (Reason::BannedSource, 7));
}

#[test]
fn what_ftp_announces_is_left_to_the_second_wall() {
    let mut policy = policy();
    let ftp = Service { name: "ftp".into(), matches: vec![ServiceMatch::new(Protocol::TCP, 21, 21)] };
    policy.rules[0] = Rule {
        from: ZoneSet::Of(vec![ZONE_FIRST + 2]).into(),
        to: ZoneSet::Of(vec![ZONE_FIRST]).into(),
        services: vec![ftp],
        action: Action::Pass,
        ..policy.rules[0].clone()
    };
    let tables = HostTables::new(Arc::new(policy.lower(&[], Arc::new([])).unwrap())).unwrap();
    let judged = |place: usize, text: &str| {
        let frame = opening_frame(&flow(text), &policy.zones[place]);
        let ifindex = tables.interface(&policy.zones[place].interface).unwrap();
        let input = Input { ifindex, now: 5, length: frame.len() as u32, ..Input::default() };
        let mut verdict = Verdict::EMPTY;
        decide(&frame.as_slice(), &input, &tables, &mut verdict);
        (verdict.action, verdict.reason)
    };
    let left = (Action::Pass, Reason::NoState);
    let denied = (Action::Reject, Reason::DefaultDenied);
    // Passive data from inside, active data from outside; nothing of another protocol or between other zones.
    assert_eq!(judged(2, "src=10.4.0.9 dst=198.51.100.7 proto=tcp dport=40000"), left);
    assert_eq!(judged(0, "src=198.51.100.7 dst=10.4.0.9 proto=tcp sport=20 dport=40000"), left);
    assert_eq!(judged(2, "src=10.4.0.9 dst=198.51.100.7 proto=udp dport=40000"), denied);
    assert_eq!(judged(1, "src=10.3.0.9 dst=198.51.100.7 proto=tcp dport=40000"), denied);
}
