//! Orders of people and bans of engines, over a real store and a kernel that only remembers.
#![allow(clippy::unwrap_used, reason = "a test ends where its own world cannot be built")]

mod common;
#[path = "decisions/held.rs"]
mod held;

use common::{Tables, start, until};
use model::{
    Decision, DecisionKind, Direction, EventAction, Evidence, Mode, Origin, OriginKind, Target, Timestamp,
};
use protocol::{Lasting, Lift, Order};
use secd::{clock, keeper::Refusal};
use std::time::Duration;

fn order(kind: DecisionKind, target: &str, seconds: Option<u64>) -> Order {
    Order {
        kind,
        target: target.parse().unwrap(),
        lasting: seconds.map(|seconds| Lasting(Duration::from_secs(seconds))),
        direction: Direction::In,
        comment: Some("seen in the log".into()),
        user: "admin".into(),
    }
}

fn ban(target: &str) -> Decision {
    let now = clock::now().wall;
    Decision {
        id: 0,
        kind: DecisionKind::Ban,
        target: target.parse().unwrap(),
        direction: Direction::In,
        mode: Mode::Enforce,
        since: now,
        until: Some(now.plus(Duration::from_secs(3600))),
        origin: Origin { kind: OriginKind::Scenario, name: "sshd-bruteforce".into(), at: None },
        evidence: vec![Evidence::new(now, "auth.log", "Failed password")],
    }
}

fn lift(target: &str) -> Lift {
    Lift { target: target.parse().unwrap(), kind: None, user: "admin".into() }
}

#[tokio::test]
async fn an_order_is_in_force_stored_told_and_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start(folder.path(), Tables::default()).await;
    let ordered = run.decisions.order(order(DecisionKind::Ban, "198.51.100.0/24", Some(60))).await.unwrap();
    assert_eq!(run.tables.banned(), ["198.51.100.0/24"]);
    let stored = run.store.active(clock::now().wall).await.unwrap();
    assert_eq!(stored, std::slice::from_ref(&ordered.decision));
    assert_eq!(stored[0].evidence[0].text, "seen in the log");
    assert_eq!(run.events.recv().await.unwrap().action, EventAction::Ban);

    let lifted = run.decisions.lift(lift("198.51.100.0/24")).await.unwrap();
    assert_eq!(lifted.lifted, [ordered.decision]);
    assert!(run.tables.banned().is_empty());
    assert!(run.store.active(clock::now().wall).await.unwrap().is_empty());
    assert_eq!(run.events.recv().await.unwrap().action, EventAction::Lift);
    assert!(run.decisions.lift(lift("198.51.100.0/24")).await.unwrap().lifted.is_empty());
}

#[tokio::test]
async fn what_is_protected_is_refused_with_409_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    let (status, reply) =
        run.decisions.order(order(DecisionKind::Ban, "192.0.2.0/24", None)).await.unwrap_err();
    assert_eq!(status, 409);
    assert!(reply.error.message.contains("192.0.2.1/32 is the router's own address"), "{reply:?}");
    assert!(run.store.active(clock::now().wall).await.unwrap().is_empty());
    let (status, _) = run
        .decisions
        .order(Order { user: String::new(), ..order(DecisionKind::Ban, "198.51.100.7", None) })
        .await
        .unwrap_err();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn an_engines_ban_holds_at_once_and_is_stored_behind() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    run.decisions.ban(ban("198.51.100.7")).unwrap();
    assert_eq!(run.tables.banned(), ["198.51.100.7/32"], "before anything was stored");
    assert!(matches!(run.decisions.ban(ban("198.51.100.7")), Err(Refusal::Standing { .. })));
    until("the ban is stored under its number", async || {
        let stored = run.store.active(clock::now().wall).await.unwrap();
        stored.len() == 1 && run.decisions.keeper().get(stored[0].id).is_some()
    })
    .await;
    let id = run.store.active(clock::now().wall).await.unwrap()[0].id;
    let held = run.tables.bans.lock().unwrap()[&"198.51.100.7/32".parse().unwrap()];
    assert_eq!(u64::from(held.decision), id, "the kernel names the stored number");
}

#[tokio::test]
async fn a_restart_takes_over_what_is_stored_and_clears_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path(), Tables::default()).await;
    first.decisions.order(order(DecisionKind::Ban, "2001:db8::/48", None)).await.unwrap();
    first.decisions.order(order(DecisionKind::Allow, "198.51.100.9", Some(60))).await.unwrap();
    first.decisions.order(order(DecisionKind::Ban, "ads.example", None)).await.unwrap();
    let tables = first.tables.clone();
    first.store.clone().close().await;
    drop(first);
    let stale = abi::BanValue { until: u64::MAX, decision: 9, ..Default::default() };
    tables.bans.lock().unwrap().insert("203.0.113.5/32".parse().unwrap(), stale);
    let second = start(folder.path(), tables).await;
    assert_eq!(second.tables.banned(), ["2001:db8::/48"], "a ban that nobody ordered any more is gone");
    assert_eq!(second.tables.allows.lock().unwrap().len(), 1);
    let overrides = second.decisions.overrides();
    assert_eq!(overrides.load().len(), 1);
}

#[tokio::test]
async fn what_is_over_ends_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    let mut short = ban("198.51.100.7");
    short.until = Some(clock::now().wall.plus(Duration::from_millis(1)));
    run.decisions.ban(short).unwrap();
    until("the ban has ended", async || {
        run.decisions.expire().await;
        run.tables.banned().is_empty() && run.decisions.keeper().is_empty()
    })
    .await;
    until("the store has nothing in force", async || {
        run.decisions.expire().await;
        run.store.active(Timestamp(0)).await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_wider_ban_that_still_holds_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    run.decisions.order(order(DecisionKind::Ban, "198.51.100.0/24", None)).await.unwrap();
    run.decisions.order(order(DecisionKind::Ban, "198.51.100.7", None)).await.unwrap();
    let lifted = run.decisions.lift(lift("198.51.100.7")).await.unwrap();
    assert_eq!(lifted.notes, ["the ban of 198.51.100.0/24 still holds it: secctl unban 198.51.100.0/24"]);
    let target: Target = "198.51.100.7".parse().unwrap();
    assert!(matches!(target, Target::Net(net) if run.decisions.keeper().about(net).len() == 1));
}

#[tokio::test]
async fn bans_that_were_not_stored_when_the_daemon_died_are_taken_over_from_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path(), Tables::default()).await;
    first.decisions.order(order(DecisionKind::Ban, "203.0.113.0/24", None)).await.unwrap();
    let tables = first.tables.clone();
    first.store.clone().close().await;
    drop(first);
    let until = clock::now().boot + 3_600_000_000_000;
    let unstored =
        abi::BanValue { until, decision: 1 << 31, directions: abi::DIRECTION_IN, ..Default::default() };
    tables.bans.lock().unwrap().insert("198.51.100.7/32".parse().unwrap(), unstored);
    let second = start(folder.path(), tables).await;
    assert_eq!(second.tables.banned(), ["198.51.100.7/32", "203.0.113.0/24"]);
    second.decisions.finish().await;
    let stored = second.store.active(clock::now().wall).await.unwrap();
    assert_eq!(stored.len(), 2, "{stored:?}");
    assert_eq!(stored[1].target.to_string(), "198.51.100.7");
    assert!(stored[1].until.unwrap() > clock::now().wall);
}

#[tokio::test]
async fn a_store_that_had_to_begin_anew_does_not_wipe_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let tables = Tables::default();
    let ban =
        abi::BanValue { until: u64::MAX, decision: 5, directions: abi::DIRECTION_IN, ..Default::default() };
    tables.bans.lock().unwrap().insert("198.51.100.7/32".parse().unwrap(), ban);
    let run = start(folder.path(), tables).await;
    assert_eq!(run.tables.banned(), ["198.51.100.7/32"]);
    run.decisions.finish().await;
    assert_eq!(run.store.active(clock::now().wall).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stop_stores_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    for host in 1..=200 {
        run.decisions.ban(ban(&format!("198.51.100.{host}"))).unwrap();
    }
    run.decisions.finish().await;
    assert_eq!(run.store.active(clock::now().wall).await.unwrap().len(), 200);
}
