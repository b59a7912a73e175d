//! A full disk, a damaged file, a queue that is full: the log stops, says so, and goes on.

use model::{QueryFilter, QueryStatsFilter};
use querylog::{LogError, MAX_WAITING, QueryLog, Settings};
use std::{fs, path::Path};

use crate::{
    common::{Bench, DAY, SECOND, START, forwarded, roomy},
    tmpfs::Tmpfs,
};

async fn count(log: &QueryLog) -> u64 {
    log.stats(&QueryStatsFilter::default()).await.unwrap().totals.total
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    bench.at(&log, START + DAY);
    let (before, name) = (log.status(), "a.example".repeat(20));
    // More than a queue, pushed faster than they are written: what is not in the log is counted.
    let pushed = 40 * MAX_WAITING as u64;
    for n in 0..pushed {
        log.push(&forwarded(START + n.cast_signed(), 1, &name));
    }
    let written = count(&log).await;
    let status = log.status();
    assert_eq!(before.dropped, 0);
    assert!(status.dropped > 0, "{status:?}");
    assert_eq!((written + status.dropped, status.lost), (pushed, 0));
    log.push(&forwarded(START + SECOND, 1, "room.again.example"));
    assert_eq!(count(&log).await, written + 1);
}

#[tokio::test]
async fn a_full_disk_stops_the_log_until_there_is_room() {
    let bench = Bench::new();
    let Some(_mount) = Tmpfs::mount(bench.folder.path(), "1m") else {
        eprintln!("SKIP: a_full_disk_stops_the_log_until_there_is_room: cannot mount a tmpfs");
        return;
    };
    let log = bench.open(roomy());
    bench.at(&log, START + DAY);
    let mut pushed = 0;
    while log.status().trouble.is_none() {
        assert!(pushed < 1_000_000, "a full disk was not noticed");
        for _ in 0..1_000 {
            log.push(&forwarded(START + pushed, 1, &format!("n{pushed}.example")));
            pushed += 1;
        }
        log.flush();
    }
    let status = log.status();
    assert!(status.trouble.as_ref().unwrap().contains("no room"), "{status:?}");
    assert!(status.lost > 0 && status.written > 0, "{status:?}");
    assert_eq!(status.lost + status.written + status.dropped, pushed.cast_unsigned());
    assert_eq!(count(&log).await, status.written, "what was written can be read");

    assert!(Tmpfs::run(&["-o", "remount,size=32m"], bench.folder.path()));
    log.push(&forwarded(START + pushed, 1, "room.again.example"));
    assert_eq!(count(&log).await, status.written + 1);
    assert_eq!(log.status().trouble, None);
    log.close();
    assert_eq!(integrity(&bench.path()), "ok");
}

#[tokio::test]
async fn room_for_others_is_left() {
    let bench = Bench::new();
    let log = bench.open(Settings { min_free: u64::MAX, ..roomy() });
    log.push(&forwarded(START, 1, "a.example"));
    log.flush();
    let status = log.status();
    assert!(status.trouble.as_ref().unwrap().contains("bytes are free"), "{status:?}");
    assert_eq!(status.lost, 1);
    log.set(roomy());
    log.push(&forwarded(START, 1, "a.example"));
    assert_eq!(count(&log).await, 1);
    assert_eq!(log.status().trouble, None);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    let bench = Bench::new();
    for damage in [damage_header as fn(&Path), damage_pages] {
        let log = bench.open(roomy());
        for n in 0..3_000 {
            log.push(&forwarded(START + n, 1, &format!("n{n}.example")));
        }
        log.close();
        damage(&bench.path());
        let bytes = fs::read(bench.path()).unwrap();
        let log = bench.open(roomy());
        let mut attempts = 0;
        // Found by the writer or by a reader, whoever comes upon it.
        while log.status().set_aside.is_none() {
            attempts += 1;
            assert!(attempts < 10, "the damage was not noticed");
            log.push(&forwarded(START + 10_000, 1, "n0.example"));
            let _ = log.queries(&QueryFilter { limit: Some(5_000), ..QueryFilter::default() }).await;
            log.flush();
        }
        let aside = bench.path().with_extension("db.damaged");
        assert!(log.status().set_aside.unwrap().contains(aside.to_str().unwrap()));
        assert_eq!(fs::read(&aside).unwrap().len(), bytes.len(), "it is kept");
        log.push(&forwarded(START, 1, "anew.example"));
        let page = log.queries(&QueryFilter::default()).await.unwrap();
        assert_eq!(page.rows.last().unwrap().name.as_deref(), Some("anew.example"));
        assert_eq!(log.status().trouble, None);
        log.close();
        fs::remove_file(bench.path()).unwrap();
    }
}

fn damage_header(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[..16].copy_from_slice(b"<!DOCTYPE html>\n");
    fs::write(path, bytes).unwrap();
}

/// Everything but the first page, which has the schema.
fn damage_pages(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[4_096..].fill(0x5a);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let bench = Bench::new();
    let log = bench.open(roomy());
    log.push(&forwarded(START, 1, "a.example"));
    log.close();
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    connection.pragma_update(None, "user_version", 9_999).unwrap();
    drop(connection);
    let log = bench.open(roomy());
    log.push(&forwarded(START, 1, "a.example"));
    log.flush();
    let status = log.status();
    assert!(status.trouble.as_ref().unwrap().contains("newer secd"), "{status:?}");
    assert_eq!((status.lost, status.on), (1, false));
    assert!(matches!(log.queries(&QueryFilter::default()).await, Err(LogError::Newer { found: 9_999, .. })));
    log.close();
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM queries", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_log_without_a_folder_says_so() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("file"), "").unwrap();
    let path = bench.folder.path().join("file/queries.db");
    let log = QueryLog::start(path, roomy(), std::sync::Arc::new(|| model::Timestamp(START))).unwrap();
    log.push(&forwarded(START, 1, "a.example"));
    log.flush();
    assert!(log.status().trouble.unwrap().contains("check that the folder exists"));
    assert!(!matches!(log.queries(&QueryFilter::default()).await, Ok(_) | Err(LogError::Off)));
}

fn integrity(path: &Path) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}
