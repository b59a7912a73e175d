//! The life of decisions, offsets and settings, step by step and against a slow model.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;

use common::{START, ban};
use model::{Decision, DecisionKind, Direction, Evidence, Mode, Origin, OriginKind, Target, Timestamp};
use proptest::prelude::*;
use std::{path::Path, time::Duration};
use store::{EndedHow, Filter, LogOffset, MAX_BATCH, State, Store, StoreError, StoreOptions};
use tempfile::TempDir;

fn later(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn fresh() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    (folder, store)
}

#[tokio::test]
async fn what_is_added_is_there_after_reopening() {
    let (folder, store) = fresh().await;
    let mut decision = ban("2001:db8::/48");
    decision.until = Some(later(60));
    decision.id = store.add(&decision).await.unwrap();
    assert_eq!(decision.id, 1);
    store.close().await;
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    assert_eq!(store.active(START).await.unwrap(), [decision.clone()]);
    assert_eq!(store.active(later(60)).await.unwrap(), [], "past its time it does not hold, swept or not");
    assert_eq!(store.expire(later(59)).await.unwrap(), []);
    assert_eq!(store.expire(later(60)).await.unwrap(), [decision.clone()]);
    assert_eq!(store.expire(later(60)).await.unwrap(), [], "a decision ends once");
    let ended = store.find(&Filter { state: State::Ended, ..Filter::default() }, later(60)).await.unwrap();
    let end = ended[0].ended.clone().unwrap();
    assert_eq!((end.seq, end.at, end.how, end.by.as_str()), (2, later(60), EndedHow::Expired, ""));
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn the_same_order_again_replaces_and_another_origin_stands_beside() {
    let (_folder, store) = fresh().await;
    let first = store.add(&ban("192.0.2.7")).await.unwrap();
    let again = Decision { until: Some(later(600)), since: later(5), ..ban("192.0.2.7") };
    let second = store.add(&again).await.unwrap();
    let person = Decision {
        origin: Origin { kind: OriginKind::Person, name: "ada".into(), at: None },
        ..ban("192.0.2.7")
    };
    let third = store.add(&person).await.unwrap();
    let ids = |decisions: &[Decision]| decisions.iter().map(|decision| decision.id).collect::<Vec<_>>();
    assert_eq!(ids(&store.active(later(6)).await.unwrap()), [second, third]);
    let all = store.find(&Filter { state: State::All, ..Filter::default() }, later(6)).await.unwrap();
    let replaced = all.iter().find(|stored| stored.decision.id == first).unwrap().ended.clone().unwrap();
    assert_eq!((replaced.seq, replaced.how), (second, EndedHow::Replaced));
    let lifted = store.lift(&person.target, None, "root", later(7)).await.unwrap();
    assert_eq!(ids(&lifted), [second, third]);
    assert_eq!(store.lift(&person.target, None, "root", later(7)).await.unwrap(), []);
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn lifting_touches_exactly_the_target_and_kind() {
    let (_folder, store) = fresh().await;
    for target in ["192.0.2.7", "192.0.2.0/24", "ads.example"] {
        store.add(&ban(target)).await.unwrap();
    }
    let allow = Decision { kind: DecisionKind::Allow, ..ban("192.0.2.7") };
    store.add(&allow).await.unwrap();
    let lifted = store.lift(&allow.target, Some(DecisionKind::Ban), "root", later(1)).await.unwrap();
    assert_eq!(lifted.iter().map(|decision| decision.id).collect::<Vec<_>>(), [1]);
    assert_eq!(store.active(later(1)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn find_knows_what_covers_a_target() {
    let (_folder, store) = fresh().await;
    for target in
        ["192.0.2.7", "192.0.2.0/24", "192.0.3.0/24", "2001:db8::/32", "example.com", "ads.example.com"]
    {
        store.add(&ban(target)).await.unwrap();
    }
    for (target, found) in [
        ("192.0.2.7", vec!["192.0.2.0/24", "192.0.2.7"]),
        ("192.0.2.8", vec!["192.0.2.0/24"]),
        ("192.0.2.0/25", vec!["192.0.2.0/24"]),
        ("2001:db8:1::7", vec!["2001:db8::/32"]),
        ("x.ads.example.com", vec!["ads.example.com", "example.com"]),
        ("example.net", vec![]),
    ] {
        let filter = Filter { touching: Some(target.parse().unwrap()), ..Filter::default() };
        let shown: Vec<_> = store.find(&filter, START).await.unwrap();
        let shown: Vec<_> = shown.iter().map(|stored| stored.decision.target.to_string()).collect();
        assert_eq!(shown, found, "{target}");
    }
    let filter = Filter { limit: Some(2), origin: Some(OriginKind::Scenario), ..Filter::default() };
    assert_eq!(store.find(&filter, START).await.unwrap().len(), 2);
    let none = Filter { kind: Some(DecisionKind::Allow), ..Filter::default() };
    assert_eq!(store.find(&none, START).await.unwrap(), []);
}

#[tokio::test]
async fn evidence_is_cut_to_the_newest_that_fits() {
    let (_folder, store) = fresh().await;
    let mut decision = ban("192.0.2.7");
    decision.evidence =
        (0..20).map(|piece| Evidence::new(later(piece), "a".repeat(4_000), &"x".repeat(400))).collect();
    store.add(&decision).await.unwrap();
    let kept = store.active(START).await.unwrap().remove(0).evidence;
    assert_eq!(kept, decision.evidence[17..], "three pieces of 4.4 kB fit in 16 KiB");
}

#[tokio::test]
async fn limits_refuse_and_keep_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StoreOptions { max_decisions: 20, max_history: 3, ..StoreOptions::default() };
    let store = Store::open_with(&folder.path().join("secd.db"), limits).await.unwrap();
    let address = |n: usize| format!("192.0.2.{n}");
    for n in 0..18 {
        store.add(&ban(&address(n))).await.unwrap();
    }
    let full = store.add(&ban(&address(18))).await.unwrap_err();
    assert!(matches!(full, StoreError::TooManyDecisions { limit: 20 }), "{full}");
    store.add(&ban(&address(0))).await.expect("the same again takes no place");
    let person = |n: usize| Decision {
        origin: Origin { kind: OriginKind::Person, name: "ada".into(), at: None },
        ..ban(&address(n))
    };
    store.add_many(&[person(18), person(19)]).await.expect("the last places are for people");
    let full = store.add_many(&[person(18), person(20)]).await.unwrap_err();
    assert!(matches!(full, StoreError::TooManyDecisions { .. }), "{full}");
    assert_eq!(store.count().await.unwrap(), 20);
    assert_eq!(store.active(START).await.unwrap().len(), 20, "all of a batch or nothing");

    for n in 1..8 {
        store
            .lift(&Target::address(address(n).parse().unwrap()), None, "ada", later(n as u64))
            .await
            .unwrap();
    }
    assert_eq!(
        store.prune(later(2)).await.unwrap(),
        5,
        "one replaced and one lifted before, three above the limit"
    );
    let history = Filter { state: State::Ended, ..Filter::default() };
    let kept: Vec<_> = store.find(&history, later(9)).await.unwrap();
    assert_eq!(
        kept.iter().map(|stored| stored.decision.target.to_string()).collect::<Vec<_>>(),
        ["192.0.2.7", "192.0.2.6", "192.0.2.5"]
    );
    let long = Decision {
        origin: Origin { name: "n".repeat(1_025), ..ban("192.0.2.9").origin },
        ..ban("192.0.2.9")
    };
    assert!(matches!(store.add(&long).await.unwrap_err(), StoreError::TooLong { .. }));
    let many = vec![ban("192.0.2.9"); MAX_BATCH + 1];
    assert!(matches!(store.add_many(&many).await.unwrap_err(), StoreError::BatchTooLong { .. }));
}

#[tokio::test]
async fn offsets_and_settings_are_kept() {
    let (folder, store) = fresh().await;
    let offset = |source: &str, offset| LogOffset {
        source: source.into(),
        inode: u64::MAX,
        device: 8,
        head_length: u16::MAX,
        head: u64::MAX - 1,
        offset,
    };
    store.save_offsets(&[offset("sshd", 10), offset("nginx", 20)]).await.unwrap();
    store.save_offsets(&[offset("sshd", 30)]).await.unwrap();
    assert_eq!(store.mode().await.unwrap(), None);
    store.save_mode(Some(Mode::Observe)).await.unwrap();
    store.save_mode(Some(Mode::Enforce)).await.unwrap();
    store.close().await;
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    assert_eq!(store.offsets().await.unwrap(), [offset("nginx", 20), offset("sshd", 30)]);
    assert_eq!(store.mode().await.unwrap(), Some(Mode::Enforce));
    store.save_mode(None).await.unwrap();
    assert_eq!(store.mode().await.unwrap(), None);
    assert_eq!(store.forget_offsets(&["sshd"]).await.unwrap(), 1);
    let many: Vec<_> = (0..1_024).map(|n| offset(&n.to_string(), 0)).collect();
    assert!(matches!(store.save_offsets(&many).await.unwrap_err(), StoreError::TooManySources { .. }));
    assert_eq!(store.offsets().await.unwrap(), [offset("sshd", 30)], "all or none");
    let long = "v".repeat(1_025);
    assert!(matches!(store.save_setting("x", Some(&long)).await.unwrap_err(), StoreError::TooLong { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_each_get_their_own_number() {
    let (_folder, store) = fresh().await;
    let writers: Vec<_> = (0..8_u8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut numbers = Vec::new();
                for n in 0..20 {
                    numbers.push(store.add(&ban(&format!("10.0.{writer}.{n}"))).await.unwrap());
                    store.active(START).await.unwrap();
                }
                numbers
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for writer in writers {
        numbers.extend(writer.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=160).collect::<Vec<u64>>());
    assert_eq!(store.count().await.unwrap(), 160);
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_the_store_usable() {
    let (_folder, store) = fresh().await;
    let batch: Vec<_> = (0..200_u8).map(|n| ban(&format!("10.0.0.{n}"))).collect();
    let mut unfinished = 0;
    for polls in 0..30 {
        // Polled a few times, then dropped in the middle of its transaction.
        let mut given_up = Box::pin(store.add_many(&batch));
        let mut left = polls;
        let done = std::future::poll_fn(|context| {
            left -= 1;
            if left < 0 { std::task::Poll::Ready(None) } else { given_up.as_mut().poll(context).map(Some) }
        })
        .await;
        unfinished += u32::from(done.is_none());
    }
    assert!(unfinished > 0, "some were given up before they were done");
    store.add(&ban("192.0.2.7")).await.unwrap();
    let active = store.active(START).await.unwrap();
    assert!(active.iter().any(|decision| decision.target.to_string() == "192.0.2.7"));
    assert_eq!(store.count().await.unwrap(), active.len() as u64);
    assert!(matches!(active.len(), 1 | 201), "all of a batch or nothing: {}", active.len());
}

/// What a person or an engine does to the store.
#[derive(Clone, Debug)]
enum Step {
    Add { target: usize, allow: bool, out: bool, person: bool, lasting: Option<u64> },
    Lift { target: usize, bans_only: bool },
    Wait(u64),
    Expire,
    Prune { keep: u64 },
    Reopen,
}

const TARGETS: [&str; 5] = ["192.0.2.7", "192.0.2.0/24", "2001:db8::1", "example.com", "ads.example.com"];

fn step() -> impl Strategy<Value = Step> {
    let target = 0..TARGETS.len();
    prop_oneof![
        6 => (target.clone(), any::<bool>(), any::<bool>(), any::<bool>(), proptest::option::of(1..40_u64)).prop_map(
            |(target, allow, out, person, lasting)| Step::Add { target, allow, out, person, lasting }
        ),
        2 => (target, any::<bool>()).prop_map(|(target, bans_only)| Step::Lift { target, bans_only }),
        3 => (1..30_u64).prop_map(Step::Wait),
        2 => Just(Step::Expire),
        1 => (0..60_u64).prop_map(|keep| Step::Prune { keep }),
        1 => Just(Step::Reopen),
    ]
}

/// The slow, obvious store: everything in a vector.
#[derive(Default)]
struct Model {
    last: u64,
    rows: Vec<(Decision, Option<Timestamp>)>,
}

impl Model {
    fn add(&mut self, decision: Decision) {
        self.last += 1;
        for (old, ended) in &mut self.rows {
            let same = (&old.target, old.kind, old.direction, &old.origin)
                == (&decision.target, decision.kind, decision.direction, &decision.origin);
            if ended.is_none() && same {
                *ended = Some(decision.since);
            }
        }
        self.rows.push((Decision { id: self.last, ..decision }, None));
    }

    /// Ends what `ends` picks, under one number.
    fn end(&mut self, at: Option<Timestamp>, ends: impl Fn(&Decision) -> bool) -> Vec<Decision> {
        let mut over = Vec::new();
        for (decision, ended) in &mut self.rows {
            if ended.is_none() && ends(decision) {
                *ended = at.or(decision.until);
                over.push(decision.clone());
            }
        }
        self.last += u64::from(!over.is_empty());
        over
    }

    fn active(&self, now: Timestamp) -> Vec<Decision> {
        self.rows
            .iter()
            .filter(|(decision, ended)| ended.is_none() && decision.until.is_none_or(|until| until > now))
            .map(|(decision, _)| decision.clone())
            .collect()
    }
}

fn make(step: &Step, now: Timestamp) -> Option<Decision> {
    let Step::Add { target, allow, out, person, lasting } = *step else { return None };
    Some(Decision {
        kind: if allow { DecisionKind::Allow } else { DecisionKind::Ban },
        direction: if out { Direction::Out } else { Direction::In },
        since: now,
        until: lasting.map(|seconds| now.plus(Duration::from_secs(seconds))),
        origin: if person {
            Origin { kind: OriginKind::Person, name: "ada".into(), at: None }
        } else {
            ban("192.0.2.7").origin
        },
        ..ban(TARGETS[target])
    })
}

async fn follow(path: &Path, steps: Vec<Step>) {
    let mut store = Store::open(path).await.unwrap();
    let (mut model, mut now) = (Model::default(), START);
    for step in steps {
        match step {
            Step::Add { .. } => {
                let decision = make(&step, now).unwrap();
                let id = store.add(&decision).await.unwrap();
                model.add(decision);
                assert_eq!(id, model.last);
            }
            Step::Lift { target, bans_only } => {
                let target: Target = TARGETS[target].parse().unwrap();
                let kind = bans_only.then_some(DecisionKind::Ban);
                let lifted = store.lift(&target, kind, "ada", now).await.unwrap();
                let wanted = model.end(Some(now), |decision| {
                    decision.target == target
                        && kind.is_none_or(|kind| kind == decision.kind)
                        && decision.until.is_none_or(|until| until > now)
                });
                assert_eq!(lifted, wanted);
            }
            Step::Wait(seconds) => now = now.plus(Duration::from_secs(seconds)),
            Step::Expire => {
                let expired = store.expire(now).await.unwrap();
                assert_eq!(
                    expired,
                    model.end(None, |decision| decision.until.is_some_and(|until| until <= now))
                );
            }
            Step::Prune { keep } => {
                let before = Timestamp(now.0 - keep.cast_signed() * 1_000_000);
                let count = model.rows.len();
                model.rows.retain(|(_, ended)| ended.is_none_or(|at| at >= before));
                assert_eq!(store.prune(before).await.unwrap(), (count - model.rows.len()) as u64);
            }
            Step::Reopen => {
                store.close().await;
                store = Store::open(path).await.unwrap();
            }
        }
        assert_eq!(store.active(now).await.unwrap(), model.active(now));
        let in_force = model.rows.iter().filter(|(_, ended)| ended.is_none()).count();
        assert_eq!(store.count().await.unwrap(), in_force as u64);
    }
    let all = store.find(&Filter { state: State::All, ..Filter::default() }, now).await.unwrap();
    let all: Vec<_> =
        all.into_iter().rev().map(|stored| (stored.decision, stored.ended.map(|ended| ended.at))).collect();
    assert_eq!(all, model.rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_slow_model_does(steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(follow(&folder.path().join("secd.db"), steps));
    }
}
