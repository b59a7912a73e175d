//! What goes over the wire is read back as it was, and looks as documented.

use model::{
    Body, Decision, DecisionKind, Direction, Event, EventAction, Evidence, Mode, Origin, OriginKind,
    Severity, Timestamp,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use crate::*;

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
    text
}

fn decision() -> Decision {
    Decision {
        id: 7,
        kind: DecisionKind::Ban,
        target: "192.0.2.7".parse().unwrap(),
        direction: Direction::In,
        mode: Mode::Enforce,
        since: Timestamp::from_seconds(1_790_000_000),
        until: None,
        origin: Origin { kind: OriginKind::Person, name: "root".into(), at: None },
        evidence: vec![Evidence::new(Timestamp::from_seconds(1_790_000_000), "comment", "noise")],
    }
}

#[test]
fn why_has_every_documented_field_and_null_for_what_is_not_known() {
    let why = Why {
        target: "192.0.2.7".into(),
        blocked: true,
        reason: "banned_source".into(),
        by: Some(By { kind: ByKind::Scenario, name: "sshd-bruteforce".into(), line: None, file: None }),
        since: Some(Timestamp::from_seconds(1_790_000_000)),
        until: None,
        evidence: decision().evidence,
        allow_command: Some("secctl unban 192.0.2.7".into()),
        observed: false,
        client: None,
        groups: Vec::new(),
        answered: Vec::new(),
        also: Vec::new(),
    };
    let value: serde_json::Value = serde_json::from_str(&round_trip(&why)).unwrap();
    for field in ["target", "blocked", "reason", "by", "since", "until", "evidence", "allow_command"] {
        assert!(value.get(field).is_some(), "{field} is missing in {value}");
    }
    for field in ["kind", "name", "line"] {
        assert!(value["by"].get(field).is_some(), "by.{field} is missing in {value}");
    }
    assert!(value["until"].is_null());
    for kind in [
        ByKind::List,
        ByKind::Rule,
        ByKind::ZoneDefault,
        ByKind::Scenario,
        ByKind::Signature,
        ByKind::Person,
        ByKind::Protected,
        ByKind::Check,
    ] {
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
    }
}

#[test]
fn orders_read_as_people_write_them() {
    let order: Order =
        serde_json::from_str(r#"{"kind":"ban","target":"198.51.100.9/24","for":"1h30m","user":"ada"}"#)
            .unwrap();
    assert_eq!(order.lasting, Some(Lasting(Duration::from_secs(5400))));
    assert_eq!(order.target.to_string(), "198.51.100.0/24");
    assert_eq!(order.check(), Ok(()));
    assert!(round_trip(&order).contains(r#""for":"5400s""#));
    for (wrong, why) in [
        (Order { lasting: Some(Lasting(Duration::ZERO)), ..order.clone() }, "longer than nothing"),
        (Order { lasting: Some(Lasting(Duration::from_secs(u64::MAX))), ..order.clone() }, "ten years"),
        (Order { comment: Some("x".repeat(257)), ..order.clone() }, "comment"),
        (Order { user: String::new(), ..order.clone() }, "user name"),
    ] {
        assert!(wrong.check().unwrap_err().contains(why), "{wrong:?}");
    }
    for wrong in [
        r#"{"kind":"ban","target":"192.0.2","user":"ada"}"#,
        r#"{"kind":"ban","target":"192.0.2.1","for":"soon","user":"ada"}"#,
        r#"{"kind":"ban","target":"192.0.2.1","user":"ada","forever":true}"#,
    ] {
        assert!(serde_json::from_str::<Order>(wrong).is_err(), "{wrong}");
    }
    round_trip(&Ordered { decision: decision(), notes: vec!["only observed".into()] });
    round_trip(&Lift { target: "ads.example".parse().unwrap(), kind: None, user: "ada".into() });
    round_trip(&Decisions { decisions: vec![decision()], total: 1 });
}

#[test]
fn lasting_is_written_without_loss() {
    for seconds in [1, 59, 3_661, 93_784, 31_536_000] {
        let lasting = Lasting(Duration::from_secs(seconds));
        assert_eq!(String::from(lasting).parse(), Ok(lasting));
    }
    assert_eq!(String::from(Lasting(Duration::from_millis(1_001))), "2s");
}

#[test]
fn subjects_are_targets_or_flows() {
    for (text, shown) in [
        ("192.0.2.7", "192.0.2.7"),
        (" ads.example ", "ads.example"),
        ("2001:db8::/48", "2001:db8::/48"),
        ("dst=10.3.0.2 src=10.4.0.9 dport=445", "src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445"),
    ] {
        assert_eq!(text.parse::<Subject>().unwrap().to_string(), shown);
    }
    assert!("nonsense".parse::<Subject>().unwrap_err().contains("nor a flow"));
    assert!("src=10.4.0.9".parse::<Subject>().unwrap_err().contains("dst is missing"));
}

#[test]
fn versions_are_compared_in_words() {
    assert_eq!(Peer::Daemon.check(Some("1")), Ok(()));
    assert_eq!(Peer::Command.check(None), Ok(()));
    for (peer, header, message, help) in [
        (Peer::Daemon, Some("2"), "secd speaks API version 2, this secctl speaks version 1", "came with"),
        (Peer::Daemon, Some("0"), "secd speaks API version 0", "systemctl restart secd"),
        (Peer::Daemon, None, "not secd", "--socket"),
        (Peer::Daemon, Some("one"), "not secd", "--socket"),
        (Peer::Command, Some("2"), "the command speaks API version 2", "restart secd"),
        (Peer::Command, Some("one"), "no number", "came with"),
    ] {
        let mismatch = peer.check(header).unwrap_err();
        assert!(mismatch.to_string().contains(message), "{mismatch}");
        assert!(mismatch.help().contains(help), "{mismatch}");
    }
}

#[test]
fn tail_filters_by_kind_action_and_zone() {
    let event = |zone: Option<&str>, action, body| Event {
        ts: Timestamp(0),
        severity: Severity::Info,
        action,
        zone: zone.map(str::to_owned),
        reason: None,
        body,
    };
    let system = event(None, EventAction::Alert, Body::System { message: "start".into(), count: None });
    let decided = event(Some("wan"), EventAction::Ban, Body::Decision { decision: decision() });
    let query = |kind: Option<&str>, action: Option<&str>, zone: Option<&str>| TailQuery {
        kind: kind.map(str::to_owned),
        action: action.map(str::to_owned),
        zone: zone.map(str::to_owned),
    };
    for (query, wanted) in [
        (TailQuery::default(), [true, true]),
        (query(Some("system, packet"), None, None), [true, false]),
        (query(None, Some("ban,lift"), None), [false, true]),
        (query(None, None, Some("wan")), [false, true]),
        (query(Some("decision"), Some("alert"), None), [false, false]),
    ] {
        let filter = query.filter().unwrap();
        assert_eq!([filter.matches(&system), filter.matches(&decided)], wanted, "{query:?}");
    }
    assert!(query(Some("pakcet"), None, None).filter().unwrap_err().contains("packet, query"));
    assert!(query(None, Some("nuke"), None).filter().unwrap_err().contains("pass, drop"));
    assert!(query(None, None, Some(&"z,".repeat(65))).filter().unwrap_err().contains("64"));
    for body in [system.body.kind(), decided.body.kind()] {
        assert!(Body::KINDS.contains(&body));
    }
}

#[test]
fn replies_round_trip() {
    round_trip(&Status {
        version: "0.1.0".into(),
        api: API_VERSION,
        mode: Mode::Enforce,
        config: "secd.toml".into(),
        started: Timestamp::from_seconds(1_790_000_000),
        uptime_seconds: 5,
        generation: 1,
        epoch: 2,
        applied: None,
        trial: Some(Trial {
            until: Timestamp::from_seconds(1_790_000_060),
            left_ms: 60_000,
            file: "new.toml".into(),
            user: "ada".into(),
        }),
        troubles: Vec::new(),
        notes: vec!["this kernel has no SYN proxy".into()],
        interfaces: vec![InterfaceStatus {
            name: "eth1".into(),
            attached: "driver".into(),
            zones: vec!["iot (400)".into()],
        }],
        packets: PacketsStatus { reasons: BTreeMap::from([("spoofed".into(), 1)]), ..Default::default() },
        dns: Some(DnsStatus::default()),
        decisions: 1,
        lists: vec![ListSummary { name: "p".into(), kind: ListKind::Domains, entries: 1, error: None }],
        scenarios: vec![ScenarioStatus { name: "fail2ban:sshd".into(), failures: Some(7), overflows: 1 }],
        logs: vec![LogStatus { name: "sshd".into(), lines: 1, ..LogStatus::default() }],
        signatures: SignaturesStatus::default(),
        events: EventsStatus::default(),
        memory: MemoryStatus::default(),
    });
    let reply = ErrorReply::new("no", Some("try")).with_problems(vec![Problem {
        file: "secd.toml".into(),
        line: 1,
        column: 2,
        message: "wrong".into(),
        help: None,
    }]);
    round_trip(&reply);
    assert_eq!(
        serde_json::to_string(&ErrorReply::new("no", Some("try"))).unwrap(),
        r#"{"error":{"message":"no","help":"try"}}"#
    );
}

#[test]
fn a_config_of_the_largest_size_fits_into_a_request() {
    // Every byte of it escaped, at worst as \u0000.
    let text = "\u{1}".repeat(600_000);
    let request = ApplyRequest { text: Some(text), confirm: Some(60), user: "ada".into(), file: None };
    assert!(round_trip(&request).len() < MAX_CONFIG_BYTES);
    let request: ApplyRequest = serde_json::from_str(r#"{"user":"ada"}"#).unwrap();
    assert_eq!((request.text, request.confirm), (None, None));
    assert!(serde_json::from_str::<ApplyRequest>(r#"{"user":"ada","confirm_for":3}"#).is_err());
}
