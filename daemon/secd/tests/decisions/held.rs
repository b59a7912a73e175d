//! What holds over time: clocks that are set, restarts, many at once, who comes back and who has logged in.

use super::{
    ban,
    common::{Tables, keeper, start, until},
    order,
};
use model::{Change, Decision, DecisionKind, EventAction, Mode, Origin, OriginKind, Timestamp};
use secd::{
    clock,
    decisions::{Decisions, Held, Tell},
    keeper::{Now, Refusal},
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use store::{Actor, AuditFilter, Store, StoreOptions};

const YEARS: i64 = 10 * 365 * 86_400 * 1_000_000;

/// Clocks that a test sets.
#[derive(Clone)]
struct Clocks(Arc<Mutex<Now>>);

impl Clocks {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Now { wall: Timestamp::from_seconds(1_790_000_000), boot: 1_000_000_000 })))
    }

    fn pass(&self, seconds: u64) {
        let mut now = self.0.lock().unwrap();
        now.wall = now.wall.plus(Duration::from_secs(seconds));
        now.boot += seconds * 1_000_000_000;
    }

    fn set(&self, by: i64) {
        self.0.lock().unwrap().wall.0 += by;
    }

    async fn start(&self, folder: &Path, tables: &Tables, boot: &str) -> (Arc<Decisions<Tables>>, Store) {
        let store = Store::open(&folder.join("secd.db")).await.unwrap();
        let tell: Tell = Arc::new(|_| {});
        let held = Held {
            bans: tables.bans.lock().unwrap().iter().map(|(net, ban)| (*net, *ban)).collect(),
            allows: Vec::new(),
        };
        let clocks = Arc::clone(&self.0);
        let read = move || *clocks.lock().unwrap();
        let decisions =
            Decisions::start_by(keeper(tables), held, store.clone(), tell, read, boot).await.unwrap();
        (decisions, store)
    }
}

#[tokio::test]
async fn a_clock_that_is_set_by_ten_years_ends_nothing_and_prolongs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (clocks, tables) = (Clocks::new(), Tables::default());
    let (decisions, store) = clocks.start(folder.path(), &tables, "a").await;
    for host in 1..=20 {
        let target = format!("198.51.100.{host}");
        decisions.order(order(DecisionKind::Ban, &target, Some(100))).await.unwrap();
    }
    for by in [YEARS, -2 * YEARS, YEARS + 5_000_000] {
        clocks.set(by);
        decisions.expire().await;
        assert_eq!(tables.banned().len(), 20, "set by {by}");
        assert_eq!(store.active(decisions.now().wall).await.unwrap().len(), 20);
    }
    // Set while the daemon is down, too.
    decisions.finish().await;
    store.close().await;
    clocks.set(-YEARS);
    clocks.pass(40);
    let (decisions, store) = clocks.start(folder.path(), &tables, "a").await;
    assert_eq!(tables.banned().len(), 20);
    assert_eq!(store.active(decisions.now().wall).await.unwrap().len(), 20);
    // An order after that has its own time, and the others end when theirs is over.
    decisions.order(order(DecisionKind::Ban, "198.51.100.99", Some(100))).await.unwrap();
    clocks.pass(60);
    decisions.expire().await;
    assert_eq!(tables.banned(), ["198.51.100.99/32"]);
    assert_eq!(store.active(decisions.now().wall).await.unwrap().len(), 1);
    clocks.set(YEARS);
    clocks.pass(40);
    decisions.expire().await;
    assert!(tables.banned().is_empty());
}

#[tokio::test]
async fn a_machine_that_starts_with_a_wrong_clock_keeps_its_bans() {
    for wrong in [YEARS, -YEARS] {
        let folder = tempfile::tempdir().unwrap();
        let clocks = Clocks::new();
        let (decisions, store) = clocks.start(folder.path(), &Tables::default(), "a").await;
        decisions.order(order(DecisionKind::Ban, "198.51.100.7", Some(1_000))).await.unwrap();
        decisions.finish().await;
        store.close().await;
        clocks.set(wrong);
        clocks.0.lock().unwrap().boot = 5_000_000_000;
        let tables = Tables::default();
        let (decisions, _store) = clocks.start(folder.path(), &tables, "b").await;
        assert_eq!(tables.banned(), ["198.51.100.7/32"], "wrong by {wrong}");
        // A time server puts it right, and the ban ends when it should.
        clocks.set(-wrong);
        clocks.pass(999);
        decisions.expire().await;
        assert_eq!(tables.banned().len(), 1);
        clocks.pass(1);
        decisions.expire().await;
        assert!(tables.banned().is_empty());
    }
}

#[tokio::test]
async fn a_ban_of_a_moment_in_which_the_clock_is_set_is_stored_with_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (clocks, tables) = (Clocks::new(), Tables::default());
    let (decisions, store) = clocks.start(folder.path(), &tables, "a").await;
    let now = decisions.now().wall;
    let engines =
        Decision { since: now, until: Some(now.plus(Duration::from_secs(600))), ..ban("198.51.100.7") };
    decisions.ban(engines).unwrap();
    clocks.set(YEARS);
    decisions.expire().await;
    until("it is stored", async || !store.active(Timestamp(0)).await.unwrap().is_empty()).await;
    decisions.expire().await;
    let stored = store.active(decisions.now().wall).await.unwrap();
    assert_eq!(stored[0].until, Some(decisions.now().wall.plus(Duration::from_secs(600))));
}

#[tokio::test]
async fn who_comes_back_after_a_restart_is_banned_for_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (clocks, tables) = (Clocks::new(), Tables::default());
    let mut lasted = Vec::new();
    for _ in 0..3 {
        let (decisions, store) = clocks.start(folder.path(), &tables, "a").await;
        let now = decisions.now().wall;
        let until = Some(now.plus(Duration::from_secs(600)));
        decisions.ban(Decision { since: now, until, ..ban("198.51.100.7") }).unwrap();
        let held = decisions.keeper().decisions()[0].clone();
        lasted.push(held.until.unwrap().since(now).as_secs());
        decisions.finish().await;
        clocks.pass(3_000);
        decisions.expire().await;
        store.close().await;
    }
    assert_eq!(lasted, [600, 1_200, 2_400]);
}

#[tokio::test]
async fn many_at_once_are_checked_one_by_one_and_taken_back_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = start(folder.path(), Tables::default()).await;
    let origin = Origin { kind: OriginKind::Person, name: "ada (uid 0)".into(), at: None };
    let mut all: Vec<Decision> = (0..1_000_u32)
        .map(|n| Decision {
            origin: origin.clone(),
            ..ban(&std::net::Ipv4Addr::from(0xc633_0000 + n).to_string())
        })
        .collect();
    all[7].target = "192.0.2.1".parse().unwrap();
    let actor = Actor::person("ada (uid 0)");
    let many = run.decisions.take_many(all, &actor).await.unwrap();
    assert_eq!((many.taken, run.tables.banned().len()), (999, 999));
    assert!(matches!(&many.refused[..], [(7, Refusal::Protected { .. })]), "{:?}", many.refused);
    assert_eq!(run.events.recv().await.unwrap().action, EventAction::Alert, "one event for all");
    let rows = run.store.audit(AuditFilter::default()).await.unwrap();
    assert_eq!((rows.len(), Some(rows[0].id)), (1, many.audit));
    let Change::OrderedMany { first, last, count: 999 } = rows[0].change else { panic!("{rows:?}") };
    let undo = Actor { undoes: many.audit, ..actor };
    assert_eq!(run.decisions.lift_numbers((first, last), &undo).await.unwrap().len(), 999);
    assert!(run.tables.banned().is_empty() && run.decisions.keeper().is_empty());
}

#[tokio::test]
async fn who_has_logged_in_is_told_of_and_not_banned() {
    let folder = tempfile::tempdir().unwrap();
    let run = start(folder.path(), Tables::default()).await;
    run.decisions.logged_in("198.51.100.7".parse().unwrap());
    assert!(matches!(run.decisions.ban(ban("198.51.100.7")), Err(Refusal::Welcome { .. })));
    run.decisions.ban(ban("198.51.100.8")).unwrap();
    assert_eq!(run.tables.banned(), ["198.51.100.8/32"]);
}

/// Prints what a start costs with as many bans as there can be.
#[tokio::test]
async fn as_many_bans_as_there_can_be_are_in_force_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    let now = clock::now().wall;
    let until = Some(now.plus(Duration::from_secs(86_400)));
    for piece in 0..10_u32 {
        let bans: Vec<Decision> = (0..10_000_u32)
            .map(|n| {
                let address = std::net::Ipv4Addr::from(0x5000_0000 + (piece * 10_000 + n) * 7);
                Decision { until, mode: Mode::Enforce, ..ban(&address.to_string()) }
            })
            .map(|ban| Decision { origin: Actor::person("ada").by, ..ban })
            .collect();
        store.add_together(&bans, &Actor::person("ada"), now).await.unwrap();
    }
    store.close().await;
    let tables = Tables::default();
    let opened = Instant::now();
    let store = Store::open(&folder.path().join("secd.db")).await.unwrap();
    let began = Instant::now();
    let tell: Tell = Arc::new(|_| {});
    let decisions = Decisions::start(keeper(&tables), Held::default(), store, tell).await.unwrap();
    let (open, restored) = (began - opened, began.elapsed());
    println!("100,000 bans restored in {restored:?}, the store opened and checked in {open:?}");
    assert_eq!((tables.banned().len(), decisions.keeper().len()), (100_000, 100_000));
}

/// A store whose file is full, though of much that has ended, with a second hand on it that can make room.
async fn without_room(folder: &Path) -> (Store, Store) {
    let file = folder.join("secd.db");
    let full =
        Store::open_with(&file, StoreOptions { max_file_bytes: 160 * 1_024, ..StoreOptions::default() });
    let full = full.await.unwrap();
    let filler = |n: u32| Decision {
        origin: Actor::person("ada").by,
        ..ban(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string())
    };
    for n in 0..40 {
        full.add(&filler(n)).await.unwrap();
        full.lift(&filler(n).target, None, "ada", clock::now().wall).await.unwrap();
    }
    for n in 1_000.. {
        if full.add(&filler(n)).await.is_err() {
            break;
        }
    }
    (full, Store::open(&file).await.unwrap())
}

#[tokio::test]
async fn without_room_what_holds_holds_people_are_refused_and_engines_bans_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (full, other) = without_room(folder.path()).await;
    let tables = Tables::default();
    let tell: Tell = Arc::new(|_| {});
    let decisions = Decisions::start(keeper(&tables), Held::default(), full, tell).await.unwrap();
    let before = tables.banned().len();
    assert!(before > 5, "{before}");
    let (status, _) = decisions.order(order(DecisionKind::Ban, "198.51.100.7", Some(60))).await.unwrap_err();
    assert_eq!((status, tables.banned().len()), (503, before), "refused, and nothing was changed");
    decisions.ban(ban("198.51.100.8")).unwrap();
    assert!(tables.banned().contains(&"198.51.100.8/32".to_owned()), "enforced all the same");
    assert_eq!(tables.banned().len(), before + 1);
    // Room again: what waited is stored by itself.
    assert_eq!(other.prune(Timestamp(i64::MAX)).await.unwrap(), 40);
    until("the ban that waited is stored", async || {
        let stored = other.active(clock::now().wall).await.unwrap();
        stored.iter().any(|stored| stored.target.to_string() == "198.51.100.8")
    })
    .await;
    decisions.order(order(DecisionKind::Ban, "198.51.100.7", Some(60))).await.unwrap();
}
