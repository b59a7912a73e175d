//! The audit log: a row for each change, with it or not at all; never changed, and bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;

use common::{START, ban};
use model::{Change, Decision, Mode, Origin, OriginKind, Timestamp};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::time::Duration;
use store::{AUDIT_SLACK, Actor, AuditFilter, BY_ITSELF, Filter, State, Store, StoreOptions};
use tempfile::TempDir;

async fn fresh() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    (folder, store)
}

fn by_person(target: &str) -> Decision {
    Decision { origin: Actor::person("ada (uid 0)").by, ..ban(target) }
}

fn later(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

#[tokio::test]
async fn every_change_of_a_decision_has_its_row() {
    let (_folder, store) = fresh().await;
    let first = store.add(&ban("192.0.2.7")).await.unwrap();
    let second = store.add(&Decision { since: later(1), ..ban("192.0.2.7") }).await.unwrap();
    store.lift(&"192.0.2.7".parse().unwrap(), None, "ada (uid 0)", later(2)).await.unwrap();
    store.lift(&"192.0.2.7".parse().unwrap(), None, "ada (uid 0)", later(3)).await.unwrap();
    store
        .record(
            &Actor::person("ada (uid 0)"),
            &Change::Mode { before: Mode::Enforce, after: Mode::Observe },
            later(4),
        )
        .await
        .unwrap();
    let rows = store.audit(AuditFilter::default()).await.unwrap();
    let [mode, lifted, again, ordered] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!((ordered.by.name.as_str(), ordered.at), ("sshd-bruteforce", START));
    let Change::Ordered { decision, before } = &ordered.change else { panic!("{ordered:?}") };
    assert_eq!((decision.id, before.len(), decision.evidence.len()), (first, 0, 0));
    let Change::Ordered { decision, before } = &again.change else { panic!("{again:?}") };
    assert_eq!((decision.id, before.len(), before[0].id), (second, 1, first));
    let Change::Lifted { before } = &lifted.change else { panic!("{lifted:?}") };
    assert_eq!((before.len(), before[0].id, lifted.by.name.as_str()), (1, second, "ada (uid 0)"));
    assert_eq!(mode.change, Change::Mode { before: Mode::Enforce, after: Mode::Observe });
    let since = AuditFilter { since: Some(later(2)), limit: Some(1), ..AuditFilter::default() };
    assert_eq!(store.audit(since).await.unwrap(), std::slice::from_ref(mode));
}

#[tokio::test]
async fn many_at_once_are_one_row_and_end_together() {
    let (_folder, store) = fresh().await;
    let many: Vec<Decision> = (0..300).map(|n| by_person(&format!("10.0.{}.{}", n / 200, n % 200))).collect();
    let actor = Actor::person("ada (uid 0)");
    let (numbers, row_id) = store.add_together(&many, &actor, START).await.unwrap();
    let row = store.last_change().await.unwrap().unwrap();
    assert_eq!(row_id, Some(row.id));
    assert_eq!(row.change, Change::OrderedMany { count: 300, first: numbers[0], last: numbers[299] });
    store.lift(&many[5].target, None, "ada (uid 0)", later(1)).await.unwrap();
    let undo = Actor { undoes: Some(row.id), ..actor };
    let lifted = store.lift_numbers((numbers[0], numbers[299]), &undo, later(2)).await.unwrap();
    assert_eq!(lifted.len(), 299, "what was lifted before is not lifted again");
    assert_eq!(store.count().await.unwrap(), 0);
    let rows = store.audit(AuditFilter { id: Some(row.id), ..AuditFilter::default() }).await.unwrap();
    assert_eq!(rows[0].undone_by, Some(row.id + 2));
    let last = store.last_change().await.unwrap().unwrap();
    assert!(
        matches!(last.change, Change::Lifted { .. }),
        "neither what was undone nor the undoing: {last:?}"
    );
}

#[tokio::test]
async fn the_last_change_is_a_persons() {
    let (_folder, store) = fresh().await;
    assert_eq!(store.last_change().await.unwrap(), None);
    let id = store.add(&by_person("192.0.2.7")).await.unwrap();
    store.add(&ban("192.0.2.8")).await.unwrap();
    store.lift(&"192.0.2.8".parse().unwrap(), None, BY_ITSELF, later(1)).await.unwrap();
    let last = store.last_change().await.unwrap().unwrap();
    let Change::Ordered { decision, .. } = last.change else { panic!("{last:?}") };
    assert_eq!(decision.id, id);
}

#[tokio::test]
async fn a_flood_of_bans_does_not_push_out_what_people_did() {
    let folder = tempfile::tempdir().unwrap();
    let limits = StoreOptions { max_audit: 10, ..StoreOptions::default() };
    let store = Store::open_with(&folder.path().join("secd.db"), limits).await.unwrap();
    store.add(&by_person("192.0.2.7")).await.unwrap();
    for round in 0..3_u32 {
        let many: Vec<Decision> = (0..u32::try_from(AUDIT_SLACK).unwrap())
            .map(|n| ban(&std::net::Ipv4Addr::from(0x0a00_0000 + (round << 12) + n).to_string()))
            .collect();
        store.add_many(&many).await.unwrap();
    }
    let rows = store.audit(AuditFilter::default()).await.unwrap();
    let of = |kind: OriginKind| rows.iter().filter(|row| row.by.kind == kind).count() as u64;
    assert_eq!(of(OriginKind::Person), 1);
    assert!((10..=10 + AUDIT_SLACK).contains(&of(OriginKind::Scenario)), "{}", of(OriginKind::Scenario));
    assert_eq!(store.prune_audit(later(1)).await.unwrap(), rows.len() as u64);
    assert_eq!(store.audit(AuditFilter::default()).await.unwrap(), []);
}

#[tokio::test]
async fn a_row_is_never_changed() {
    let (folder, store) = fresh().await;
    store.add(&by_person("192.0.2.7")).await.unwrap();
    let options = SqliteConnectOptions::new().filename(folder.path().join("secd.db"));
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let error = sqlx::query("UPDATE audit SET by_name = 'eve'").execute(&mut other).await.unwrap_err();
    assert!(error.to_string().contains("not changed"), "{error}");
}

#[tokio::test]
async fn ends_move_with_the_clock_and_what_has_ended_does_not() {
    let (_folder, store) = fresh().await;
    let until = |target: &str, seconds| Decision { until: Some(later(seconds)), ..ban(target) };
    store.add(&until("192.0.2.1", 10)).await.unwrap();
    store.expire(later(10)).await.unwrap();
    store.add(&until("192.0.2.2", 60)).await.unwrap();
    store.add(&Decision { until: Some(Timestamp(i64::MAX)), ..ban("192.0.2.3") }).await.unwrap();
    store.add(&ban("192.0.2.4")).await.unwrap();
    let years = 10 * 365 * 86_400_u64;
    store.move_ends(i64::try_from(years).unwrap() * 1_000_000, "there").await.unwrap();
    assert_eq!(store.clock().await.unwrap().as_deref(), Some("there"));
    let all = store.find(&Filter { state: State::All, ..Filter::default() }, START).await.unwrap();
    let ends: Vec<_> = all.iter().rev().map(|stored| stored.decision.until).collect();
    assert_eq!((ends[0], ends[1], ends[3]), (Some(later(10)), Some(later(60 + years)), None));
    assert!(ends[2] > Some(later(years)));
    assert_eq!(store.active(later(years)).await.unwrap().len(), 3);
}

#[tokio::test]
async fn how_often_one_was_banned() {
    let (_folder, store) = fresh().await;
    let at = |target: &str, from: u64, to: u64| Decision {
        since: later(from),
        until: Some(later(to)),
        ..ban(target)
    };
    store.add(&at("192.0.2.1", 0, 10)).await.unwrap();
    store.expire(later(10)).await.unwrap();
    store.add(&at("192.0.2.1", 20, 40)).await.unwrap();
    store.add(&at("192.0.2.2", 20, 40)).await.unwrap();
    store.lift(&"192.0.2.2".parse().unwrap(), None, "ada", later(30)).await.unwrap();
    store.add(&Decision { mode: Mode::Observe, ..at("192.0.2.3", 20, 40) }).await.unwrap();
    store.add(&Decision { origin: person(), ..at("192.0.2.4", 20, 40) }).await.unwrap();
    let found = store.banned_since(START).await.unwrap();
    let [banned] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (banned.target.to_string().as_str(), banned.times, banned.last, banned.until),
        ("192.0.2.1", 2, later(20), Some(later(40)))
    );
    assert_eq!(store.banned_since(later(21)).await.unwrap(), []);
}

fn person() -> Origin {
    Actor::person("ada").by
}
