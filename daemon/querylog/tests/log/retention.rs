//! What is kept, for how long and in how much room.

use model::{QueryFilter, QueryStatsFilter, Timestamp};
use querylog::{QueryLog, Settings};
use std::fs;

use crate::common::{Bench, DAY, HOUR, SECOND, START, blocked, forwarded, roomy};

async fn all(log: &QueryLog) -> u64 {
    log.stats(&QueryStatsFilter::default()).await.unwrap().totals.total
}

async fn rows(log: &QueryLog) -> usize {
    log.queries(&QueryFilter { limit: Some(QueryFilter::MOST_ROWS), ..QueryFilter::default() })
        .await
        .unwrap()
        .rows
        .len()
}

#[tokio::test]
async fn questions_go_with_time_and_their_sums_stay() {
    let bench = Bench::new();
    let log = bench.open(Settings { days: 2, ..roomy() });
    for n in 0..100 {
        log.push(&forwarded(START + n * SECOND, 1, "often.example"));
        log.push(&blocked(START + n * SECOND, 2, &format!("ad{n}.example")));
    }
    log.push(&blocked(START + HOUR, 2, "ads.example"));
    log.push(&blocked(START + HOUR, 2, "ads.example"));
    bench.at(&log, START + DAY + HOUR);
    assert_eq!(rows(&log).await, 202);
    log.push(&forwarded(START + 2 * DAY, 1, "late.example"));
    bench.at(&log, START + 2 * DAY + HOUR);
    // The first hour is gone, the second stands on the edge and stays.
    assert_eq!(rows(&log).await, 3);
    let stats =
        log.stats(&QueryStatsFilter { bucket: Some(86_400), ..QueryStatsFilter::default() }).await.unwrap();
    assert_eq!((stats.totals.total, stats.totals.blocked, stats.totals.forwarded), (203, 102, 101));
    assert_eq!(stats.since, Timestamp(START));
    assert_eq!(stats.exact_since, Timestamp(START + HOUR));
    let days: Vec<_> = stats.history.iter().map(|piece| piece.totals.total).collect();
    assert_eq!(days, [202, 0, 1]);

    bench.at(&log, START + 9 * DAY);
    assert_eq!(rows(&log).await, 0);
    let stats = log.stats(&QueryStatsFilter::default()).await.unwrap();
    assert_eq!((stats.totals.total, stats.totals.blocked), (203, 102));
    let clients: Vec<_> = stats.clients.iter().map(|client| client.totals.total).collect();
    assert_eq!(clients, [102, 101]);
    assert_eq!(stats.clients[0].client.address, Some([10, 4, 0, 2].into()));
    let top: Vec<_> = stats.names[..2].iter().map(|name| (&*name.name, name.total)).collect();
    assert_eq!(top, [("often.example", 100), ("ads.example", 2)]);
    assert_eq!(stats.blocked_names[0].name, "ads.example");
    // A day keeps those that led it, by questions and by what was blocked, and the rest is forgotten.
    assert_eq!(stats.different_names, 51);
    log.close();
    let texts: i64 = rusqlite::Connection::open(bench.path())
        .unwrap()
        .query_row("SELECT count(name) FROM names", [], |row| row.get(0))
        .unwrap();
    assert!(texts <= 53, "{texts} names are kept");
}

#[tokio::test]
async fn questions_go_with_room_the_oldest_first() {
    let bench = Bench::new();
    let bytes = 1_000_000;
    let log = bench.open(Settings { bytes, ..roomy() });
    let total = 60_000;
    bench.at(&log, START + DAY);
    for n in 0..total {
        log.push(&forwarded(START + n * SECOND, (n % 30) as u8, &format!("n{}.example", n % 5_000)));
        if n % 1_000 == 999 {
            log.flush();
            assert!(log.status().bytes <= bytes + bytes / 4, "{}", log.status().bytes);
        }
    }
    assert_eq!(log.status().lost + log.status().dropped, 0);
    let stats = log.stats(&QueryStatsFilter::default()).await.unwrap();
    assert_eq!(stats.totals.total, total as u64, "the sums have them all");
    let page = log.queries(&QueryFilter { limit: Some(1), ..QueryFilter::default() }).await.unwrap();
    assert_eq!(page.rows[0].at, Timestamp(START + (total - 1) * SECOND), "the latest is there");
    let kept = total - (page.kept_since.unwrap().0 - START) / SECOND;
    assert!((5_000..total / 2).contains(&kept), "{kept} rows are kept");
    log.close();
    let length = fs::metadata(bench.path()).unwrap().len();
    assert!(length <= bytes, "{length}");
}

#[tokio::test]
async fn a_question_takes_less_than_a_hundred_bytes() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    let total = 50_000;
    // As at home: 30 clients, many names, a few of them most of the time, a fifth blocked, a week.
    for n in 0..total {
        let name = format!("cdn-{}.telemetry.example-{}.com", n * n % 4_003 * (n % 10) / 10, n % 7);
        let (at, client) = (START + n * 12 * SECOND, (n % 30) as u8);
        log.push(&if n % 5 == 0 { blocked(at, client, &name) } else { forwarded(at, client, &name) });
        if n % 4_000 == 0 {
            log.flush();
        }
    }
    log.flush();
    assert_eq!(log.status().written, total as u64);
    log.close();
    let length = fs::metadata(bench.path()).unwrap().len();
    assert!(length <= 100 * total as u64, "{} bytes a question", length / total as u64);
}

#[tokio::test]
async fn a_smaller_size_makes_the_file_smaller() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    for n in 0..100_000 {
        log.push(&forwarded(START + n * 1_000, 1, "a.example"));
        if n % 10_000 == 0 {
            log.flush();
        }
    }
    log.flush();
    assert!(log.status().bytes > 2_000_000);
    // What waits while settings change is not lost.
    log.push(&forwarded(START, 1, "a.example"));
    log.set(Settings { bytes: 1_000_000, ..roomy() });
    for _ in 0..20 {
        log.flush();
    }
    let status = log.status();
    assert_eq!((status.written, status.lost), (100_001, 0));
    log.close();
    assert!(fs::metadata(bench.path()).unwrap().len() <= 1_000_000);
}

#[tokio::test]
async fn no_days_is_no_file() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    log.push(&forwarded(START, 1, "a.example"));
    assert_eq!(all(&log).await, 1);
    log.set(Settings { days: 0, ..roomy() });
    log.flush();
    assert_eq!(fs::read_dir(bench.folder.path()).unwrap().count(), 0);
    assert!(!log.status().on);
    log.push(&forwarded(START, 1, "a.example"));
    log.set(roomy());
    assert_eq!(all(&log).await, 0);
    log.push(&forwarded(START, 1, "a.example"));
    assert_eq!(all(&log).await, 1);
}

#[tokio::test]
async fn names_that_are_too_many_are_shortened() {
    let bench = Bench::new();
    let log = bench.open(Settings { max_new_names: 50, ..roomy() });
    for n in 0..200 {
        log.push(&forwarded(START + n, 1, &format!("x{n}.attack.example")));
    }
    for n in 0..3 {
        log.push(&forwarded(START + 1_000 + n, 1, "x7.attack.example"));
    }
    let stats = log.stats(&QueryStatsFilter { limit: Some(2), ..QueryStatsFilter::default() }).await.unwrap();
    let top: Vec<_> = stats.names.iter().map(|name| (&*name.name, name.total)).collect();
    assert_eq!(top, [("*.attack.example", 150), ("x7.attack.example", 4)]);
    assert_eq!(log.status().folded, 150);
    // The next day has names of its own.
    log.push(&forwarded(START + DAY, 1, "new.example"));
    let page = log.queries(&QueryFilter { limit: Some(1), ..QueryFilter::default() }).await.unwrap();
    assert_eq!(page.rows[0].name.as_deref(), Some("new.example"));
    log.close();

    // A full dictionary shortens as well, until names are forgotten.
    let settings = Settings { max_names: 60, days: 1, ..roomy() };
    let log = bench.open(settings);
    for n in 0..20 {
        log.push(&forwarded(START + DAY + 1 + n, 1, &format!("y{n}.full.example")));
    }
    let page = log.queries(&QueryFilter { limit: Some(1), ..QueryFilter::default() }).await.unwrap();
    assert_eq!(page.rows[0].name.as_deref(), Some("*.full.example"));
    bench.at(&log, START + 9 * DAY);
    log.push(&forwarded(START + 9 * DAY, 1, "z.full.example"));
    let page = log.queries(&QueryFilter { limit: Some(1), ..QueryFilter::default() }).await.unwrap();
    assert_eq!(page.rows.len(), 1);
}

#[tokio::test]
async fn clients_that_are_too_many_become_one() {
    let bench = Bench::new();
    let log = bench.open(Settings { max_clients: 10, ..roomy() });
    for n in 0..40 {
        log.push(&forwarded(START + i64::from(n) * HOUR, n, "a.example"));
    }
    bench.at(&log, START + 40 * HOUR);
    log.push(&forwarded(START + 40 * HOUR, 200, "a.example"));
    let stats =
        log.stats(&QueryStatsFilter { limit: Some(100), ..QueryStatsFilter::default() }).await.unwrap();
    assert_eq!(stats.totals.total, 41);
    assert_eq!(stats.clients.iter().map(|client| client.totals.total).sum::<u64>(), 41);
    assert!(stats.clients.len() <= 11, "{:?}", stats.clients);
}
