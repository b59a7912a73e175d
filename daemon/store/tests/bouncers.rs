//! What bouncers are told, against a bouncer that keeps a set; who is known.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;

use common::{START, ban};
use model::{
    Bouncer, Decision, DecisionKind, Direction, LastSeen, Mode, OrderingMachine, Origin, OriginKind,
    Timestamp,
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use store::{MAX_CLIENTS, MAX_PAGE, Store, StoreError};
use tempfile::TempDir;

fn later(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

async fn fresh() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    (folder, store)
}

fn by(name: &str, decision: Decision) -> Decision {
    Decision { origin: Origin { kind: OriginKind::Scenario, name: name.into(), at: None }, ..decision }
}

/// Every page.
async fn pull(store: &Store, told: u64, now: Timestamp) -> (u64, Vec<Decision>, Vec<Decision>) {
    let mark = store.mark().await.unwrap();
    let (mut ended, mut after) = (Vec::new(), (told, i64::MAX as u64));
    loop {
        let page = store.ended(after, now).await.unwrap();
        assert!(page.len() <= MAX_PAGE);
        let Some(last) = page.last() else { break };
        after = (last.ended.as_ref().unwrap().seq, last.decision.id);
        ended.extend(page.into_iter().map(|stored| stored.decision));
    }
    let (mut begun, mut after) = (Vec::new(), told);
    loop {
        let page = store.begun(after, false, now).await.unwrap();
        assert!(page.len() <= MAX_PAGE);
        let Some(last) = page.last() else { break };
        after = last.id;
        begun.extend(page);
    }
    (mark, begun, ended)
}

#[tokio::test]
async fn a_mass_of_changes_comes_in_pages_and_nothing_is_left_out() {
    let (_folder, store) = fresh().await;
    let most = MAX_PAGE * 2 + 10;
    let bans: Vec<Decision> = (0..most)
        .map(|n| Decision { until: Some(later(60)), ..ban(&format!("198.{}.{}.7", 18 + n / 256, n % 256)) })
        .collect();
    store.add_many(&bans).await.unwrap();
    let (mark, begun, ended) = pull(&store, 0, START).await;
    assert_eq!((begun.len(), ended.len(), mark), (most, 0, most as u64));
    assert!(begun.iter().all(|ban| ban.evidence.is_empty()), "nobody asks for it here");
    // All end under one number.
    assert_eq!(store.expire(later(61)).await.unwrap().len(), most);
    let (mark, begun, ended) = pull(&store, mark, later(61)).await;
    assert_eq!((begun.len(), ended.len(), mark), (0, most, most as u64 + 1));
    assert_eq!(store.mark_before_ends(later(60)).await.unwrap(), Some(most as u64));
    assert_eq!(store.mark_before_ends(later(61)).await.unwrap(), None);
}

#[tokio::test]
async fn of_several_bans_of_a_target_the_longest_counts() {
    let (_folder, store) = fresh().await;
    let lasting = |name, seconds| Decision { until: Some(later(seconds)), ..by(name, ban("192.0.2.7")) };
    store.add(&lasting("short", 100)).await.unwrap();
    let long = store.add(&lasting("long", 200)).await.unwrap();
    let ids = |decisions: &[Decision]| decisions.iter().map(|decision| decision.id).collect::<Vec<_>>();
    let (mark, begun, _) = pull(&store, 0, START).await;
    assert_eq!(ids(&begun), [long]);
    assert_eq!(ids(&store.begun(0, true, START).await.unwrap()), [1, long]);
    store.expire(later(100)).await.unwrap();
    let (mark, begun, ended) = pull(&store, mark, later(100)).await;
    assert_eq!((begun, ended), (vec![], vec![]), "the longer one holds");
    store.expire(later(200)).await.unwrap();
    let (_, begun, ended) = pull(&store, mark, later(200)).await;
    assert_eq!((begun, ids(&ended)), (vec![], vec![long]));
    // One that is only observed, or concerns what we start, holds nothing.
    let observed = Decision { mode: Mode::Observe, ..ban("192.0.2.8") };
    let outward = Decision { direction: Direction::Out, ..ban("192.0.2.9") };
    let allow = Decision { kind: DecisionKind::Allow, ..ban("192.0.3.0/24") };
    let before = store.mark().await.unwrap();
    store.add_many(&[observed, outward, allow.clone()]).await.unwrap();
    assert_eq!(pull(&store, before, later(200)).await.1, []);
    assert_eq!(store.allows_changed(before).await.unwrap(), std::slice::from_ref(&allow.target));
    let before = store.mark().await.unwrap();
    assert_eq!(store.allows_changed(before).await.unwrap(), []);
    store.lift(&allow.target, None, "root", later(201)).await.unwrap();
    assert_eq!(store.allows_changed(before).await.unwrap(), [allow.target]);
}

#[tokio::test]
async fn bouncers_and_machines_are_kept_with_how_far_they_came() {
    let (folder, store) = fresh().await;
    let bouncer = |name: &str, key: u8| Bouncer {
        name: name.parse().unwrap(),
        key_hash: vec![key; 64],
        created: START,
        pulled: None,
        withheld: false,
        last: LastSeen::default(),
    };
    assert!(store.add_bouncer(&bouncer("wall", 1)).await.unwrap());
    assert!(!store.add_bouncer(&bouncer("wall", 2)).await.unwrap(), "one of each name");
    assert!(!store.add_bouncer(&bouncer("door", 1)).await.unwrap(), "one of each key");
    let last = LastSeen { at: Some(later(5)), address: "10.1.0.9".into(), agent: "wall/v1".into() };
    let told =
        Bouncer { pulled: Some((7, later(5))), withheld: true, last: last.clone(), ..bouncer("wall", 1) };
    store.keep_bouncer(&told).await.unwrap();
    let machine = OrderingMachine {
        name: "agent".parse().unwrap(),
        salt: vec![1; 16],
        password: vec![2; 32],
        validated: false,
        created: START,
        last: LastSeen::default(),
    };
    assert!(store.add_machine(&machine).await.unwrap());
    assert!(!store.add_machine(&machine).await.unwrap());
    let machine = OrderingMachine { validated: true, last, ..machine };
    store.keep_machine(&machine).await.unwrap();
    store.close().await;
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    assert_eq!(store.bouncers().await.unwrap(), std::slice::from_ref(&told));
    assert_eq!(store.machines().await.unwrap(), std::slice::from_ref(&machine));
    assert!(
        store.remove_bouncer(&told.name).await.unwrap() && !store.remove_bouncer(&told.name).await.unwrap()
    );
    assert!(store.remove_machine(&machine.name).await.unwrap());
    for number in 0..MAX_CLIENTS {
        let mut bouncer = bouncer(&format!("b{number}"), 0);
        bouncer.key_hash = number.to_be_bytes().to_vec();
        assert!(store.add_bouncer(&bouncer).await.unwrap());
    }
    let over = store.add_bouncer(&bouncer("over", 9)).await.unwrap_err();
    assert!(matches!(over, StoreError::TooManyClients { limit: MAX_CLIENTS }), "{over}");
}

#[derive(Clone, Debug)]
enum Step {
    Ban { target: u8, by: u8, lasting: Option<u64>, observed: bool },
    Lift(u8),
    Pass(u64),
    Pull,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ban = (0..4_u8, 0..3_u8, proptest::option::of(1..50_u64), proptest::bool::weighted(0.2))
        .prop_map(|(target, by, lasting, observed)| Step::Ban { target, by, lasting, observed });
    let step = prop_oneof![4 => ban, 1 => (0..4_u8).prop_map(Step::Lift), 2 => (1..30_u64).prop_map(Step::Pass), 2 => Just(Step::Pull)];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A bouncer that only follows the difference holds what is banned, no target less and none more.
    #[test]
    fn who_follows_the_difference_holds_what_is_banned(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_folder, store) = fresh().await;
            let (mut now, mut told) = (0, 0);
            let mut held: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
            for step in steps.into_iter().chain([Step::Pull]) {
                match step {
                    Step::Ban { target, by: origin, lasting, observed } => {
                        let decision = Decision {
                            since: later(now),
                            until: lasting.map(|lasting| later(now + lasting)),
                            mode: if observed { Mode::Observe } else { Mode::Enforce },
                            ..by(&format!("scenario-{origin}"), ban(&format!("192.0.2.{target}")))
                        };
                        store.add(&decision).await.unwrap();
                    }
                    Step::Lift(target) => {
                        let target = format!("192.0.2.{target}").parse().unwrap();
                        store.lift(&target, None, "root", later(now)).await.unwrap();
                    }
                    Step::Pass(seconds) => {
                        now += seconds;
                        store.expire(later(now)).await.unwrap();
                    }
                    Step::Pull => {
                        let (mark, begun, ended) = pull(&store, told, later(now)).await;
                        told = mark;
                        for ban in ended {
                            held.remove(&ban.target.to_string());
                        }
                        for ban in begun {
                            held.insert(ban.target.to_string(), ban.until);
                        }
                        let banned: BTreeSet<String> = store
                            .active(later(now))
                            .await
                            .unwrap()
                            .into_iter()
                            .filter(|ban| ban.mode == Mode::Enforce)
                            .map(|ban| ban.target.to_string())
                            .collect();
                        let held: BTreeSet<String> = held.keys().cloned().collect();
                        assert_eq!(held, banned, "at {now}");
                    }
                }
            }
        });
    }
}
