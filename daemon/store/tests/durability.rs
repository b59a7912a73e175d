//! What was acknowledged is there, whatever happens to the process, the file or the disk.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod common;
#[path = "common/tmpfs.rs"]
mod tmpfs;

use common::{START, ban};
use model::{Decision, Timestamp};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use store::{Store, StoreError, StoreOptions};
use tmpfs::Tmpfs;

const CHILD_FILE: &str = "SECD_STORE_TEST_CHILD_FILE";
/// Names how often the writer is killed; left out = [`KILLS`].
const KILLS_ASKED: &str = "SECD_STORE_KILLS";
const KILLS: usize = 20;

/// Not a test by itself: the process that `a_killed_writer_loses_nothing` kills. Prints each number that is
/// acknowledged.
#[tokio::test]
#[ignore = "child process of a_killed_writer_loses_nothing"]
async fn writer_child() {
    let path = PathBuf::from(std::env::var_os(CHILD_FILE).expect("run by its parent only"));
    let store = Store::open(&path).await.unwrap();
    let mut out = std::io::stdout();
    for n in 0..u32::MAX {
        let address =
            std::net::Ipv4Addr::from(0x0a00_0000 | (std::process::id() << 12) & 0xff_f000 | n & 0xfff);
        let batch: Vec<Decision> = (0..=n % 3).map(|_| ban(&address.to_string())).collect();
        for number in store.add_many(&batch).await.unwrap() {
            writeln!(out, "acknowledged {number}").unwrap();
        }
        if n % 5 == 4 {
            store.lift(&batch[0].target, None, "ada", START).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secd.db");
    let kills = std::env::var(KILLS_ASKED).map_or(KILLS, |asked| asked.parse().expect("a number"));
    let mut acknowledged: Vec<u64> = Vec::new();
    for round in 0..kills {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writer_child", "--nocapture"])
            .env(CHILD_FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| Some(line.strip_prefix("acknowledged ")?.parse::<u64>().unwrap());
        // Killed at a different point of its work each time, also while it still opens the file.
        acknowledged.extend(lines.by_ref().map(Result::unwrap).filter_map(number).take(round * 7 % 23));
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line may be cut: then it was not acknowledged to anyone.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(|line| {
            line.strip_prefix("acknowledged ").and_then(|number| number.parse::<u64>().ok())
        }));

        let store = Store::open(&path).await.unwrap();
        let there = numbers(&path).await;
        let lost: Vec<_> = acknowledged.iter().filter(|id| there.binary_search(id).is_err()).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?} of {}", acknowledged.len());
        store.close().await;
        assert_eq!(integrity(&path).await, "ok");
    }
    println!("{} kills, {} acknowledged, 0 lost", kills, acknowledged.len());
    assert!(acknowledged.len() > kills, "the writers wrote: {acknowledged:?}");
}

#[tokio::test]
async fn a_full_file_is_an_error_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secd.db");
    let limits = StoreOptions { max_file_bytes: 128 * 1_024, ..StoreOptions::default() };
    let store = Store::open_with(&path, limits).await.unwrap();
    let acknowledged = fill(&store).await;
    assert!(acknowledged > 10, "{acknowledged}");
    assert_eq!(store.active(START).await.unwrap().len() as u64, acknowledged);
    store.close().await;
    assert_eq!(integrity(&path).await, "ok");
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.active(START).await.unwrap().len() as u64, acknowledged);
    store.add(&ban("2001:db8::1")).await.expect("with room again it goes on");
}

#[tokio::test]
async fn a_store_that_was_full_goes_on_by_itself_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secd.db");
    let limits = StoreOptions { max_file_bytes: 160 * 1_024, ..StoreOptions::default() };
    let store = Store::open_with(&path, limits).await.unwrap();
    for n in 0..40 {
        let ended = ban(&format!("192.0.2.{n}"));
        store.add(&ended).await.unwrap();
        store.lift(&ended.target, None, "ada", START).await.unwrap();
    }
    fill(&store).await;
    assert!(store.add(&ban("2001:db8::1")).await.unwrap_err().is_temporary(), "and again");
    let other = Store::open(&path).await.unwrap();
    assert_eq!(other.prune(Timestamp(i64::MAX)).await.unwrap(), 40);
    store.add(&ban("2001:db8::1")).await.expect("the same store goes on");
}

#[tokio::test]
async fn a_full_or_read_only_disk_is_an_error_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Tmpfs::mount(folder.path(), "512k") else {
        eprintln!("SKIP: a_full_or_read_only_disk_is_an_error_and_nothing_is_lost: cannot mount a tmpfs");
        return;
    };
    let path = folder.path().join("secd.db");
    let store = Store::open(&path).await.unwrap();
    let acknowledged = fill(&store).await;
    assert_eq!(store.active(START).await.unwrap().len() as u64, acknowledged);
    store.close().await;

    assert!(Tmpfs::run(&["-o", "remount,ro"], folder.path()));
    let refused = match Store::open(&path).await {
        Ok(store) => store.add(&ban("192.0.2.1")).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused:?}");
    assert!(refused.is_temporary() && refused.to_string().contains("read-only"), "{refused}");

    assert!(Tmpfs::run(&["-o", "remount,rw,size=8m"], folder.path()));
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.active(START).await.unwrap().len() as u64, acknowledged);
    store.add(&ban("192.0.2.1")).await.expect("with room again it goes on");
    store.close().await;
    assert_eq!(integrity(&path).await, "ok");
}

#[tokio::test]
async fn a_damaged_file_is_moved_aside_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secd.db");
    for (number, damage) in [damage_header as fn(&Path), damage_page].into_iter().enumerate() {
        let store = Store::open(&path).await.unwrap();
        for n in 0..200 {
            store.add(&ban(&format!("192.0.2.{n}"))).await.unwrap();
        }
        store.close().await;
        damage(&path);
        let bytes = fs::read(&path).unwrap();
        let error = Store::open(&path).await.unwrap_err();
        let StoreError::Corrupt { moved_to, .. } = &error else { panic!("{error:?}") };
        assert_eq!(moved_to, &folder.path().join(format!("secd.db.damaged-{}", number + 1)));
        assert_eq!(fs::read(moved_to).unwrap(), bytes, "kept as it was");
        assert!(error.to_string().contains("damaged"), "{error}");
        let store = Store::open(&path).await.expect("the next start is an empty one");
        assert_eq!(store.active(START).await.unwrap(), []);
        store.close().await;
    }
}

fn damage_header(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[..16].copy_from_slice(b"<!DOCTYPE html>\n");
    fs::write(path, bytes).unwrap();
}

fn damage_page(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 4_096 / 2 * 4_096;
    bytes[middle..middle + 4_096].fill(0x5a);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_in_words_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secd.db");
    let store = Store::open(&path).await.unwrap();
    store.add(&ban("192.0.2.7")).await.unwrap();
    store.close().await;
    let mut later =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&mut later)
    .await
    .unwrap();
    later.close().await.unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 9999, known: 1.., .. }), "{error:?}");
    assert!(error.to_string().contains("newer secd"), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn modes_of_folder_and_files_keep_others_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/deep/secd.db");
    let store = Store::open(&path).await.unwrap();
    store.add(&ban("192.0.2.7")).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o750);
    assert_eq!(mode(&path), 0o640);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o640);
    let error = Store::open(Path::new("/proc/no/such/secd.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
}

/// Adds until the store says there is no room; returns how many were acknowledged.
async fn fill(store: &Store) -> u64 {
    for n in 0_u32.. {
        match store.add(&ban(&std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string())).await {
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
                assert!(error.is_temporary() && error.to_string().contains("no room"), "{error}");
                return n.into();
            }
        }
    }
    unreachable!("a bounded file takes no 2^32 decisions")
}

/// The numbers of all decisions, ended or not.
async fn numbers(path: &Path) -> Vec<u64> {
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    let rows: Vec<i64> = sqlx::query_scalar("SELECT seq FROM decisions ORDER BY seq")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    rows.into_iter().map(i64::cast_unsigned).collect()
}

async fn integrity(path: &Path) -> String {
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.unwrap();
    let found = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found
}
