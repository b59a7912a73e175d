//! The engine's promises: time, bounds, evidence, and any bytes at all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, EngineError, Library, Limits, Outcome, Source, SourceIndex};
use model::{Direction, Mode, Timestamp};
use proptest::prelude::*;

const SIMPLE: &str = r#"
[filter]
name = "door"
[[patterns]]
event = "knock"
regex = 'knock of (?<who>\S*) from <ip>(?: at (?<time>\S+))?'

[[scenarios]]
name = "knocking"
capacity = 2
leak = "10s"
ban = "1h"

[[scenarios]]
name = "many-names"
distinct = "who"
capacity = 2
leak = "10s"
ban = "5s"
direction = "both"
mode = "observe"

[[scenarios]]
name = "name-and-net"
group_by = ["ip", "who"]
ipv4_prefix = 24
capacity = 3
leak = "10s"
ban = "1h"
when = [{ who = ["root", "admin"] }]
"#;

fn library() -> Library {
    let mut library = Library::empty();
    library.add("door.toml", SIMPLE).unwrap();
    library
}

fn engine(limits: Limits) -> Engine {
    let source = |name: &str, mode| Source { name: name.into(), filter: "door".into(), mode };
    let sources = vec![source("front", Mode::Enforce), source("back", Mode::Observe)];
    Engine::new(&library(), sources, limits, Clock::new(TimeZone::UTC)).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + second)
}

/// Names of the scenarios that overflow.
fn knock(engine: &mut Engine, second: i64, source: usize, line: &str) -> Vec<String> {
    let outputs = engine.line(at(second), SourceIndex(source), line.as_bytes());
    outputs.overflows.into_iter().map(|overflow| overflow.scenario).collect()
}

#[test]
fn an_overflow_says_everything() {
    let mut engine = engine(Limits::default());
    knock(&mut engine, 0, 0, "knock of bob from 192.0.2.7");
    knock(&mut engine, 1, 1, "knock of bob from 192.0.2.7");
    let outputs = engine.line(at(2), SourceIndex(0), b"knock of bob from 192.0.2.7\r\n");
    assert_eq!(outputs.outcome, Outcome::Poured);
    let [overflow] = &outputs.overflows[..] else { panic!("{outputs:?}") };
    assert_eq!(overflow.scenario, "knocking");
    assert_eq!(overflow.defined, "door.toml:9");
    assert_eq!(overflow.decision_target().to_string(), "192.0.2.7");
    assert_eq!((overflow.at, overflow.ban), (at(2), Duration::from_secs(3600)));
    assert_eq!((overflow.direction, overflow.mode), (Direction::In, Mode::Enforce));
    assert_eq!(overflow.sources, [SourceIndex(0), SourceIndex(1)]);
    let seen: Vec<_> = overflow.evidence.iter().map(|e| (e.at, e.source.as_str(), e.text.as_str())).collect();
    let text = "knock of bob from 192.0.2.7";
    assert_eq!(seen, [(at(0), "front", text), (at(1), "back", text), (at(2), "front", text)]);
}

#[test]
fn a_source_that_observes_does_not_ban() {
    let mut engine = engine(Limits::default());
    let mode = |engine: &mut Engine, second| {
        let outputs = engine.line(at(second), SourceIndex(1), b"knock of bob from 192.0.2.7");
        outputs.overflows.first().map(|overflow| overflow.mode)
    };
    assert_eq!((mode(&mut engine, 0), mode(&mut engine, 0)), (None, None));
    assert_eq!(mode(&mut engine, 0), Some(Mode::Observe));
}

#[test]
fn only_different_values_count_and_a_short_ban_ends_the_rest() {
    let mut engine = engine(Limits::default());
    for (second, name, expected) in
        [(0, "a", false), (0, "a", false), (0, "b", false), (1, "c", true), (2, "d", false)]
    {
        let line = format!("knock of {name} from 2001:db8::{second}");
        let over = knock(&mut engine, second, 0, &line).contains(&"many-names".to_owned());
        assert_eq!(over, expected, "{name} at {second}");
    }
    // The ban of five seconds is over, although a full bucket would drain for twenty.
    let again: Vec<bool> = ["e", "f", "g"]
        .iter()
        .map(|name| {
            knock(&mut engine, 7, 0, &format!("knock of {name} from 2001:db8::1"))
                .contains(&"many-names".to_owned())
        })
        .collect();
    assert_eq!(again, [false, false, true]);
}

#[test]
fn buckets_by_net_and_field() {
    let mut engine = engine(Limits::default());
    let mut over = Vec::new();
    for host in 1..=8 {
        for name in ["root", "bob"] {
            let line = format!("knock of {name} from 192.0.2.{host}");
            let outputs = engine.line(at(0), SourceIndex(0), line.as_bytes());
            over.extend(outputs.overflows.into_iter().filter(|over| over.scenario == "name-and-net"));
        }
    }
    assert_eq!(over.len(), 1);
    assert_eq!(over[0].target.to_string(), "192.0.2.0/24");
    assert_eq!(over[0].ip.to_string(), "192.0.2.4");
}

#[test]
fn old_lines_never_ban_and_future_ones_count_as_now() {
    let mut engine = engine(Limits::default());
    let line = |second: i64| format!("knock of x from 192.0.2.7 at {}", at(second));
    for _ in 0..50 {
        let outputs = engine.line(at(1_000), SourceIndex(0), line(900).as_bytes());
        assert_eq!((outputs.outcome, outputs.overflows.len()), (Outcome::Stale, 0));
    }
    assert_eq!((engine.stats().stale, engine.buckets()), (50, 0));
    // Exactly as old as the window of twenty seconds still counts.
    assert_eq!(engine.line(at(1_000), SourceIndex(0), line(980).as_bytes()).outcome, Outcome::Poured);
    let outputs: Vec<_> =
        (0..3).map(|_| engine.line(at(2_000), SourceIndex(0), line(9_999_999).as_bytes())).collect();
    assert_eq!(outputs[2].overflows[0].at, at(2_000));
    assert_eq!(engine.stats().future, 3);
}

#[test]
fn a_replay_uses_the_times_of_the_file() {
    let mut engine = engine(Limits::default());
    let lines =
        [(0, "a"), (1, "b"), (2, "c")].map(|(s, who)| format!("knock of {who} from 192.0.2.7 at {}", at(s)));
    let overflows: Vec<_> = lines
        .iter()
        .flat_map(|line| engine.replay(at(90_000_000), SourceIndex(0), line.as_bytes()).overflows)
        .collect();
    assert_eq!(overflows.iter().map(|over| over.at).collect::<Vec<_>>(), [at(2), at(2)]);
}

#[test]
fn lines_of_one_time_may_come_in_any_order() {
    let lines = [
        "knock of a from 192.0.2.7",
        "knock of b from 192.0.2.7",
        "knock of root from 192.0.2.9",
        "knock of c from 192.0.2.7",
    ];
    let mut seen = Vec::new();
    for rotation in 0..lines.len() {
        let mut engine = engine(Limits::default());
        let mut order = lines.to_vec();
        order.rotate_left(rotation);
        let mut over: Vec<(String, String)> = order
            .iter()
            .flat_map(|line| engine.line(at(0), SourceIndex(0), line.as_bytes()).overflows)
            .map(|over| (over.scenario, over.target.to_string()))
            .collect();
        over.sort();
        seen.push(over);
    }
    assert_eq!(seen[0].len(), 2);
    assert!(seen.iter().all(|over| *over == seen[0]), "{seen:?}");
}

#[test]
fn a_full_table_forgets_the_emptiest_and_counts() {
    let limits = Limits { buckets: 64, evidence: 10_000 };
    let mut engine = engine(limits);
    // One who is about to overflow …
    for _ in 0..2 {
        assert!(knock(&mut engine, 0, 0, "knock of x from 192.0.2.7").is_empty());
    }
    // … and a flood of others.
    for number in 0..5_000 {
        knock(&mut engine, 0, 0, &format!("knock of y from 10.{}.{}.1", number / 200, number % 200));
        assert!(engine.buckets() <= 64);
    }
    assert!(engine.stats().evicted > 9_000, "{:?}", engine.stats());
    assert_eq!(knock(&mut engine, 0, 0, "knock of x from 192.0.2.7"), ["knocking"]);
    // Drained ones go without being counted.
    let before = engine.stats().evicted;
    for number in 0..5 {
        knock(&mut engine, 100_000, 0, &format!("knock of y from 10.0.0.{number}"));
    }
    assert_eq!(engine.stats().evicted, before);
}

#[test]
fn evidence_keeps_within_its_budget() {
    let mut engine = engine(Limits { buckets: 64, evidence: 200 });
    knock(&mut engine, 0, 0, "knock of x from 192.0.2.7");
    for number in 0..50 {
        knock(&mut engine, 0, 0, &format!("knock of y from 10.0.0.{number}"));
    }
    knock(&mut engine, 0, 0, "knock of x from 192.0.2.7");
    let outputs = engine.line(at(0), SourceIndex(0), b"knock of x from 192.0.2.7");
    // The first line is forgotten, the ban stands.
    assert_eq!(outputs.overflows[0].evidence.len(), 2);
}

#[test]
fn a_reload_goes_on_with_the_buckets() {
    let mut old = engine(Limits::default());
    for _ in 0..2 {
        knock(&mut old, 0, 0, "knock of x from 192.0.2.7");
    }
    let mut new = engine(Limits::default());
    new.adopt(old);
    assert_eq!(knock(&mut new, 1, 0, "knock of x from 192.0.2.7"), ["knocking"]);
    assert_eq!(new.stats().lines, 3);
}

#[test]
fn long_lines() {
    let mut engine = engine(Limits::default());
    let megabyte = "x".repeat(1_000_000);
    let judge =
        |engine: &mut Engine, line: String| engine.line(at(0), SourceIndex(0), line.as_bytes()).outcome;
    assert_eq!(judge(&mut engine, megabyte.clone()), Outcome::Oversized);
    // Cut at the limit it would be about 10.0.100.1.
    let head = "knock of x from 10.0.100.1";
    let pad = " ".repeat(logs::limits::MAX_LINE - head.len());
    assert_eq!(judge(&mut engine, format!("{head}{pad} and much more {megabyte}")), Outcome::Oversized);
    assert_eq!(judge(&mut engine, format!("knock of {megabyte} from 10.0.100.1")), Outcome::Oversized);
    assert_eq!(engine.stats().oversized, 3);
    assert_eq!(engine.buckets(), 0);
}

#[test]
fn sources_must_make_sense() {
    let source =
        |name: &str, filter: &str| Source { name: name.into(), filter: filter.into(), mode: Mode::Enforce };
    let start =
        |sources| Engine::new(&library(), sources, Limits::default(), Clock::new(TimeZone::UTC)).unwrap_err();
    assert_eq!(
        start(vec![source("a", "door"), source("a", "door")]),
        EngineError::DuplicateSource("a".into())
    );
    let unknown = start(vec![source("a", "window")]).to_string();
    assert!(unknown.contains("`window`") && unknown.contains("there are: door"), "{unknown}");
    let many = (0..2_000).map(|number| source(&number.to_string(), "door")).collect();
    assert_eq!(start(many), EngineError::TooManySources(2_000));
    assert_eq!(engine(Limits::default()).line(at(0), SourceIndex(9), b"x").outcome, Outcome::Miss);
}

/// One engine for all inputs: making it is the dear part.
fn judged<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, judge: impl Fn(&mut Engine, T)) {
    let library = Library::builtin();
    let source = |filter: &str| Source { name: filter.into(), filter: filter.into(), mode: Mode::Enforce };
    let sources = library.filters().map(|filter| source(&filter.name)).collect();
    let engine = Engine::new(&library, sources, Limits::default(), Clock::new(TimeZone::UTC)).unwrap();
    let engine = std::cell::RefCell::new(engine);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(2_000));
    runner
        .run(&strategy, |input| {
            judge(&mut engine.borrow_mut(), input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_bytes() {
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    judged((bytes, any::<i64>()), |engine, (bytes, now)| {
        for source in 0..Library::builtin_files().count() {
            engine.line(Timestamp(now), SourceIndex(source), &bytes);
        }
    });
}

#[test]
fn mutated_lines() {
    const LINES: [(&str, &str); 10] = [
        ("sshd", "Nov 23 02:45:00 gate sshd[12]: Failed password for root from 192.0.2.7 port 4711 ssh2"),
        (
            "sshd",
            "<38>1 2026-11-23T02:45:00Z gate sshd 12 - [a b=\"c\"] Invalid user bob from 192.0.2.7 port 4711",
        ),
        (
            "sshd",
            "Nov 23 02:45:00 g sshd[1]: message repeated 3 times: [ Failed none for x from ::1 port 1 ssh2]",
        ),
        (
            "nginx",
            "192.0.2.7 - - [23/Nov/2026:02:45:00 +0100] \"GET /%2e%2e/ HTTP/1.1\" 404 615 \"-\" \"curl\"",
        ),
        (
            "nginx",
            "2026/11/23 02:45:00 [error] 1#1: *5 user \"a\": password mismatch, client: 192.0.2.7, server: x, a",
        ),
        (
            "traefik",
            r#"{"ClientAddr":"::1:1","ClientHost":"::1","DownstreamStatus":404,"RequestPath":"/\u002eenv","time":"2026-11-23T02:45:00Z"}"#,
        ),
        (
            "authentik",
            r#"{"action": "login_failed", "client_ip": "192.0.2.7", "context": {"username": "b\u00e4r"}, "logger": "authentik.events.models"}"#,
        ),
        (
            "samba",
            r"  Auth: [SMB2,(null)] user [W]\[bob] at [Mon, 23 Nov 2026 02:45:00.1 UTC] with [NTLMv2] status [NT_STATUS_WRONG_PASSWORD] workstation [PC] remote host [ipv4:192.0.2.7:1] mapped to [W]\[bob]. local host [ipv4:192.0.2.1:445] ",
        ),
        (
            "dovecot",
            "Nov 23 02:45:00 mail dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<a>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, TLS, session=<b>",
        ),
        (
            "syncthing",
            r#"{"time":"2026-11-23T02:45:00.5+01:00","type":"LoginAttempt","data":{"remoteAddress":"[2001:db8::7]:1","success":false}}"#,
        ),
    ];
    let edits = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    let inputs = (prop::sample::select(&LINES[..]), edits, any::<prop::sample::Index>(), any::<i64>());
    judged(inputs, |engine, ((filter, line), edits, cut, now)| {
        let source = engine.source(filter).unwrap();
        let mut bytes = line.as_bytes().to_vec();
        for (place, byte) in edits {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        engine.line(Timestamp(now), source, &bytes);
        engine.replay(Timestamp(now), source, &bytes);
        engine.line(Timestamp(now), source, &bytes[..cut.index(bytes.len())]);
    });
}

#[test]
fn times_of_a_filter_in_utc_are_not_local() {
    let mut library = Library::empty();
    for (name, utc) in [("here", false), ("there", true)] {
        let text = format!(
            "[filter]\nname = \"{name}\"\nheader = \"none\"\nutc = {utc}\n[[patterns]]\nevent = \"a\"\nregex = '(?<time>\\S+) <ip>'\n\
             [[scenarios]]\nname = \"{name}\"\ncapacity = 0\nleak = \"1h\"\nban = \"1h\"\n"
        );
        library.add("own.toml", &text).unwrap();
    }
    let sources =
        ["here", "there"].map(|name| Source { name: name.into(), filter: name.into(), mode: Mode::Enforce });
    let zone = TimeZone::posix("CET-1").unwrap();
    let mut engine = Engine::new(&library, sources.to_vec(), Limits::default(), Clock::new(zone)).unwrap();
    let now: Timestamp = "2026-11-23T02:45:00Z".parse().unwrap();
    let times = [0, 1].map(|source| {
        let outputs = engine.line(now, SourceIndex(source), b"2026-11-23T02:30:00 192.0.2.7");
        outputs.overflows.first().map(|overflow| overflow.at.to_string()[..16].to_owned())
    });
    // Local time was an hour and a quarter ago: too old to count.
    assert_eq!(times, [None, Some("2026-11-23T02:30".to_owned())]);
}

#[test]
fn a_line_is_no_younger_than_its_source_says() {
    let mut engine = engine(Limits::default());
    let mut outcome = |written: i64| {
        let line = b"knock of bob from 192.0.2.7";
        engine.line_written(at(100_000), Some(at(written)), SourceIndex(0), line).outcome
    };
    assert_eq!(outcome(1), Outcome::Stale);
    assert_eq!(outcome(99_999), Outcome::Poured);
    assert_eq!(outcome(900_000), Outcome::Poured, "what comes from the future is of now");
}
