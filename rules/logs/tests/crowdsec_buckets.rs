//! CrowdSec's buckets: `tests/cases/crowdsec/buckets.toml`, a slow model beside them, and what they do when they are full.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use logs::crowdsec::{
    Event, Kind, Line, Mode,
    buckets::{BucketLimits, Buckets},
    scenario::Scenario,
};
use logs::expr::{Problem, Scope, Time, Value};
use proptest::prelude::*;
use serde::Deserialize;

/// 2026-01-01T12:00:00Z.
const NOON: i64 = 1_767_268_800;

/// `evt`, and nothing else.
struct OfEvent(Arc<Event>);

impl Scope for OfEvent {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        (&*path[0] == "evt").then(|| (Value::Object(self.0.clone()), 1))
    }

    fn call_method(
        &mut self,
        path: &[Arc<str>],
        method: &str,
        _: &[Value],
    ) -> Option<Result<Value, Problem>> {
        let kind = match self.0.kind {
            Kind::Log => "log",
            Kind::Overflow => "overflow",
        };
        (path.len() == 1 && method == "GetType").then(|| Ok(Value::text(kind)))
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

fn at(second: i64) -> Time {
    Time::utc(jiff::Timestamp::from_second(NOON + second).unwrap())
}

fn event(second: i64, fields: &[(&str, &str)]) -> Arc<Event> {
    let mut event = Event::line(Line::default(), Mode::Replay, at(second));
    event.marshaled_time = at(second).rfc3339().into();
    for (name, value) in fields {
        let (map, name) = match name.split_once('.') {
            Some(("parsed", name)) => (&mut event.parsed, name),
            Some(("enriched", name)) => (&mut event.enriched, name),
            _ => (&mut event.meta, *name),
        };
        Arc::make_mut(map).insert(name.into(), (*value).into());
    }
    Arc::new(event)
}

fn scenarios(text: &str) -> Vec<Scenario> {
    Scenario::read("case.yaml", text.as_bytes()).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// Pours an event, and the overflows that want it again.
fn pour(buckets: &mut Buckets, event: Arc<Event>) -> Vec<Event> {
    let now = (NOON + 1_000_000) * 1_000_000_000;
    let mut waiting = VecDeque::from([event]);
    let mut out = Vec::new();
    while let Some(event) = waiting.pop_front() {
        for overflow in buckets.pour(&event, &mut OfEvent(event.clone()), now) {
            if overflow.overflow.as_ref().unwrap().reprocess {
                waiting.push_back(Arc::new(overflow.clone()));
            }
            out.push(overflow);
        }
    }
    out
}

fn line(event: &Event) -> String {
    let overflow = event.overflow.as_ref().unwrap();
    let alert = overflow.alert().unwrap();
    let sources: Vec<&str> = overflow.source_values().map(|value| &**value).collect();
    let (scenario, count, kept) = (&alert.scenario, alert.events_count, alert.events.len());
    format!("{} {scenario} {} {count} {kept}", alert.stop_at.seconds() - NOON, sources.join(","))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    scenario: String,
    events: Vec<String>,
    overflows: Vec<String>,
}

#[test]
fn cases() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/crowdsec/buckets.toml");
    let cases: Cases = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(cases.case.len() > 10);
    for case in cases.case {
        let mut buckets = Buckets::new(scenarios(&case.scenario), BucketLimits::default());
        let mut seen = Vec::new();
        for written in &case.events {
            let mut words = written.split(' ');
            let second = words.next().unwrap().parse().unwrap();
            let (fields, times): (Vec<&str>, Vec<&str>) = words.partition(|word| word.contains('='));
            let fields: Vec<_> = fields.into_iter().map(|field| field.split_once('=').unwrap()).collect();
            let times = times.first().map_or(1, |times| times.strip_prefix('*').unwrap().parse().unwrap());
            for _ in 0..times {
                seen.extend(pour(&mut buckets, event(second, &fields)).iter().map(line));
            }
        }
        // Overflows that are the consequence of others may have happened, by the clock, when these were processed.
        assert_eq!(expected(&seen), expected(&case.overflows), "{}: {seen:#?}", case.name);
        assert_eq!(buckets.stats().problems, 0, "{}", case.name);
    }
}

/// Overflows without the time of those that live by the clock.
fn expected(overflows: &[String]) -> Vec<String> {
    overflows
        .iter()
        .map(|line| match line.split_once(' ') {
            Some((_, rest)) if line.contains("test/range 192.0.2.0/24 3 3") => rest.to_owned(),
            _ => line.clone(),
        })
        .collect()
}

/// Buckets in the obvious way: for each key the times of the events that have not leaked yet.
#[derive(Default)]
struct Slow {
    buckets: BTreeMap<u8, SlowBucket>,
    blackholes: BTreeMap<u8, i64>,
}

struct SlowBucket {
    /// Seconds until it is empty, as of `last`.
    level: i64,
    last: i64,
    count: i64,
    values: Vec<u8>,
}

impl Slow {
    /// The number of events of the overflow, if there is one that leaves.
    fn pour(&mut self, shape: (i64, i64, i64), key: u8, value: u8, at: i64) -> Option<i64> {
        let (capacity, leak, blackhole) = shape;
        if self.buckets.get(&key).is_some_and(|bucket| at > bucket.last + (capacity + 1) * leak) {
            self.buckets.remove(&key);
        }
        let bucket = self.buckets.entry(key).or_insert_with(|| SlowBucket {
            level: 0,
            last: at,
            count: 0,
            values: Vec::new(),
        });
        if bucket.values.contains(&value) {
            return None;
        }
        bucket.values.push(value);
        bucket.count += 1;
        let level = (bucket.level - (at - bucket.last).max(0)).max(0) + leak;
        (bucket.level, bucket.last) = (level, at);
        if level <= capacity * leak {
            return None;
        }
        let count = bucket.count;
        self.buckets.remove(&key);
        self.blackholes.retain(|_, until| *until > at);
        if self.blackholes.contains_key(&key) {
            return None;
        }
        self.blackholes.insert(key, at + blackhole);
        Some(count)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn same_as_the_slow_one(
        capacity in 1_i64..6,
        leak in prop::sample::select(vec![1_i64, 2, 4, 8, 16]),
        blackhole in 1_i64..40,
        events in prop::collection::vec((0_i64..9, 0_u8..3, 0_u8..12), 0..150),
    ) {
        let text = format!(
            "type: leaky\nname: test/model\ndescription: model\nfilter: 'true'\ngroupby: evt.Meta.source_ip\n\
             distinct: evt.Meta.user\ncapacity: {capacity}\nleakspeed: {leak}s\nblackhole: {blackhole}s\n"
        );
        let mut buckets = Buckets::new(scenarios(&text), BucketLimits::default());
        let mut slow = Slow::default();
        let mut clock = 0;
        for (forward, key, value) in events {
            clock += forward;
            let ip = format!("192.0.2.{key}");
            let poured = pour(&mut buckets, event(clock, &[("source_ip", &ip), ("user", &value.to_string())]));
            let counts: Vec<i64> =
                poured.iter().map(|event| event.overflow.as_ref().unwrap().alert().unwrap().events_count).collect();
            let expected: Vec<i64> = slow.pour((capacity, leak, blackhole), key, value, clock).into_iter().collect();
            prop_assert_eq!(counts, expected, "at {}", clock);
        }
    }
}

const BRUTE_FORCE: &str = "type: leaky\nname: test/leaky\ndescription: leaky\nfilter: 'true'\n\
    groupby: evt.Meta.source_ip\ncapacity: 2\nleakspeed: 1h\n";
const CONDITION: &str = "type: conditional\nname: test/condition\ndescription: condition\nfilter: 'true'\n\
    groupby: evt.Meta.source_ip\ncapacity: -1\nleakspeed: 1h\ncondition: len(queue.Queue) == 3\n";

fn address(number: u32) -> String {
    std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string()
}

#[test]
fn when_there_are_too_many_the_one_left_alone_longest_goes() {
    let limits = BucketLimits { buckets: 10, ..BucketLimits::default() };
    let mut buckets = Buckets::new(scenarios(BRUTE_FORCE), limits);
    for number in 0..10 {
        pour(&mut buckets, event(0, &[("source_ip", &address(number))]));
    }
    pour(&mut buckets, event(1, &[("source_ip", &address(0))]));
    pour(&mut buckets, event(1, &[("source_ip", &address(10))]));
    let stats = buckets.stats();
    assert_eq!((stats.buckets, stats.evicted), (10, 1));
    let third =
        |buckets: &mut Buckets, number| pour(buckets, event(2, &[("source_ip", &address(number))])).len();
    assert_eq!(third(&mut buckets, 0), 1, "the first was poured into again");
    assert_eq!(third(&mut buckets, 1), 0, "the second is a new one");
}

#[test]
fn when_too_much_is_kept_buckets_count_on_with_less_to_show() {
    let limits = BucketLimits { kept: 4, ..BucketLimits::default() };
    let mut buckets = Buckets::new(scenarios(BRUTE_FORCE), limits);
    for number in [0, 0, 1, 2, 3, 4] {
        assert!(pour(&mut buckets, event(0, &[("source_ip", &address(number))])).is_empty());
    }
    assert_eq!(buckets.stats().forgotten, 2);
    let overflow = pour(&mut buckets, event(1, &[("source_ip", &address(0))]));
    assert_eq!(line(&overflow[0]), "1 test/leaky 10.0.0.0 3 1");
}

#[test]
fn a_bucket_whose_condition_looks_at_what_was_kept_goes_with_it() {
    let limits = BucketLimits { kept: 4, ..BucketLimits::default() };
    let mut buckets = Buckets::new(scenarios(CONDITION), limits);
    for number in [0, 0, 1, 2, 3] {
        assert!(pour(&mut buckets, event(0, &[("source_ip", &address(number))])).is_empty());
    }
    let stats = buckets.stats();
    assert_eq!((stats.buckets, stats.evicted), (3, 1));
    assert!(pour(&mut buckets, event(1, &[("source_ip", &address(0))])).is_empty());
}

#[test]
fn a_flood_of_sources_stays_within_the_memory() {
    let limits = BucketLimits { buckets: 5_000, kept: 4_000, kept_bytes: 1024 * 1024 };
    let mut buckets = Buckets::new(scenarios(BRUTE_FORCE), limits);
    let mut overflows = 0;
    for number in 0..100_000 {
        pour(&mut buckets, event(0, &[("source_ip", &address(number))]));
        if number % 100 == 0 {
            overflows += pour(&mut buckets, event(0, &[("source_ip", "192.0.2.1")])).len();
        }
    }
    let stats = buckets.stats();
    assert_eq!(overflows, 333, "the one that comes again and again is seen");
    assert_eq!(stats.buckets, 5_000);
    assert!(stats.kept_bytes <= limits.kept_bytes, "{stats:?}");
    assert!(stats.evicted >= 95_000 && stats.forgotten > 0, "{stats:?}");
}

#[test]
fn buckets_whose_time_is_over_go_by_themselves() {
    let mut buckets = Buckets::new(scenarios(BRUTE_FORCE), BucketLimits::default());
    for number in 0..100 {
        pour(&mut buckets, event(0, &[("source_ip", &address(number))]));
    }
    for number in 0..100 {
        pour(&mut buckets, event(5 * 3_600, &[("source_ip", &address(1_000 + number))]));
    }
    assert_eq!(buckets.stats().buckets, 100);
    let (event, late) = (event(0, &[]), (NOON + 24 * 3_600) * 1_000_000_000);
    assert!(buckets.tick(&mut OfEvent(event), late).is_empty());
    assert_eq!(buckets.stats().buckets, 0);
    assert_eq!(buckets.stats().kept_bytes, 0);
}

#[test]
fn live_buckets_overflow_when_their_duration_is_over() {
    let text = "type: leaky\nname: test/timed\ndescription: timed\nfilter: 'true'\ngroupby: evt.Meta.source_ip\n\
        capacity: 100\nleakspeed: 1h\nduration: 30s\n";
    let mut buckets = Buckets::new(scenarios(text), BucketLimits::default());
    let pour = |buckets: &mut Buckets, second: i64| {
        let event =
            Arc::new(Event { mode: Mode::Live, ..(*event(0, &[("source_ip", "192.0.2.1")])).clone() });
        let out = buckets.pour(&event, &mut OfEvent(event.clone()), (NOON + second) * 1_000_000_000);
        out.iter().map(line).collect::<Vec<_>>()
    };
    assert!(pour(&mut buckets, 0).is_empty());
    assert!(pour(&mut buckets, 20).is_empty());
    assert_eq!(pour(&mut buckets, 31), ["31 test/timed 192.0.2.1 2 2"]);
    let ticked = |buckets: &mut Buckets, second: i64| {
        let nobody = event(0, &[]);
        let out = buckets.tick(&mut OfEvent(nobody), (NOON + second) * 1_000_000_000);
        out.iter().map(line).collect::<Vec<_>>()
    };
    assert!(ticked(&mut buckets, 60).is_empty());
    assert_eq!(ticked(&mut buckets, 61), ["61 test/timed 192.0.2.1 1 1"]);
}
