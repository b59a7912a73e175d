//! The journal, with real journal files: `systemd-journal-remote` writes them, `journalctl` reads them. Whether journald
//! itself runs on the machine does not matter.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use common::{Bench, program, source};
use sources::{SourceKind, Trust};

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// Children are counted, so one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// An entry in the form of export.
fn entry(number: u64, unit: &str, identifier: &str, message: &str) -> Vec<u8> {
    let time = 1_795_456_800_000_000 + number * 1_000_000;
    // From the hundredth on the machine runs anew.
    let boot =
        if number < 100 { "5b0c4b8d1f0a4d0e9f3c2b1a0d9e8f70" } else { "6b0c4b8d1f0a4d0e9f3c2b1a0d9e8f71" };
    let mut bytes = format!(
        "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={number}\n_BOOT_ID={boot}\n_HOSTNAME=gate\n_PID=12\n\
         _SYSTEMD_UNIT={unit}\nSYSLOG_IDENTIFIER={identifier}\nMESSAGE\n"
    )
    .into_bytes();
    bytes.extend_from_slice(&(message.len() as u64).to_le_bytes());
    bytes.extend_from_slice(message.as_bytes());
    bytes.extend_from_slice(b"\n\n");
    bytes
}

/// Adds entries to the journal of the folder.
fn write(folder: &Path, entries: &[Vec<u8>]) {
    let mut remote = std::process::Command::new(REMOTE);
    remote.arg(format!("--output={}", folder.join("test.journal").display())).arg("-");
    let mut child = remote.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&entries.concat()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn journal(folder: &Path, matches: &[&str]) -> Vec<sources::SourceConfig> {
    let matches = matches.iter().map(|text| (*text).to_owned()).collect();
    vec![source("journal", SourceKind::Journal { matches, folder: Some(folder.to_owned()) })]
}

fn is_ready(test: &str) -> bool {
    program(test, REMOTE).is_some() && program(test, "journalctl").is_some()
}

#[tokio::test]
async fn entries_become_lines_and_a_restart_goes_on_behind_the_last() {
    if !is_ready("entries_become_lines_and_a_restart_goes_on_behind_the_last") {
        return;
    }
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[entry(1, "ssh.service", "sshd", "before")]);
    let mut bench = Bench::start(journal(folder.path(), &["_SYSTEMD_UNIT=ssh.service"]), 16, HashMap::new());
    // It reads only what comes once it runs; entries are written until one has come.
    let mut number = 2;
    let first = loop {
        write(folder.path(), &[entry(number, "ssh.service", "sshd", "first")]);
        number += 1;
        let wait = tokio::time::timeout(std::time::Duration::from_millis(300), bench.lines.recv());
        if let Ok(line) = wait.await {
            break line.unwrap();
        }
    };
    let text = String::from_utf8(first.bytes.clone()).unwrap();
    assert!(text.ends_with(" gate sshd[12]: first") && text.starts_with("2026-11-23T18:00:"), "{text}");
    assert_eq!((first.trust, first.sender), (Trust::File, None));
    assert!(first.written.is_some() && first.position.is_some());
    write(
        folder.path(),
        &[
            entry(100, "other.service", "sshd", "of another unit"),
            entry(101, "ssh.service", "sshd", "two\nlines"),
            entry(102, "ssh.service", "x: y[", "\u{1b}[31mred"),
        ],
    );
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text: &String| !text.contains("red")) {
        texts.push(bench.text().await);
    }
    assert_eq!(texts.iter().filter(|text| text.contains("another")).count(), 0);
    let found = &texts[texts.len() - 2..];
    assert_eq!(found[0], "2026-11-23T18:01:41.000000Z gate sshd[12]: two#012lines");
    assert_eq!(found[1], "2026-11-23T18:01:42.000000Z gate x__y_[12]: #033[31mred");
    let positions = bench.handle.stop().await;
    assert_eq!(positions.len(), 1);

    write(folder.path(), &[entry(103, "ssh.service", "sshd", "meanwhile")]);
    let mut again =
        Bench::start(journal(folder.path(), &["_SYSTEMD_UNIT=ssh.service"]), 16, positions.clone());
    assert_eq!(
        again.text().await,
        "2026-11-23T18:01:43.000000Z gate sshd[12]: meanwhile",
        "nothing twice, nothing lost"
    );
    again.handle.stop().await;

    // Where the journal that the position is of is gone, the time says where to go on.
    std::fs::remove_file(folder.path().join("test.journal")).unwrap();
    let (old, new) = (entry(5, "ssh.service", "sshd", "old"), entry(200, "ssh.service", "sshd", "new"));
    write(folder.path(), &[old, new]);
    let mut other = Bench::start(journal(folder.path(), &[]), 16, positions);
    assert_eq!(other.text().await, "2026-11-23T18:03:20.000000Z gate sshd[12]: new");
    other.handle.stop().await;
}

#[tokio::test]
async fn a_reader_that_ends_is_told_and_started_again_and_leaves_no_zombie() {
    if !is_ready("a_reader_that_ends_is_told_and_started_again_and_leaves_no_zombie") {
        return;
    }
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[entry(0, "a.service", "a", "zero")]);
    let config = journal(folder.path(), &["no condition"]);
    let mut bench = Bench::start(config, 16, HashMap::new());
    let told = bench.notice("journalctl ended").await;
    assert!(told.contains("started again") && told.contains("condition"), "{told}");
    bench.until(|status| status.error.is_some()).await;

    // One that is killed under it goes on where it was.
    write(folder.path(), &[entry(1, "a.service", "a", "one")]);
    bench.handle.update(journal(folder.path(), &["SYSLOG_IDENTIFIER=a"])).await.unwrap();
    let mut number = 2;
    while tokio::time::timeout(std::time::Duration::from_millis(300), bench.lines.recv()).await.is_err() {
        write(folder.path(), &[entry(number, "a.service", "a", "again")]);
        number += 1;
    }
    while bench.lines.try_recv().is_ok() {}
    let ours = children();
    assert_eq!(ours.len(), 1, "one reader at a time: {ours:?}");
    nix_kill(ours[0]);
    bench.notice("journalctl ended").await;
    write(folder.path(), &[entry(500, "a.service", "a", "after")]);
    loop {
        if bench.text().await.ends_with("after") {
            break;
        }
    }
    bench.handle.stop().await;
    assert_eq!(children(), Vec::<u32>::new(), "none is left, not even as a zombie");
}

/// Children of this process that run `journalctl` or did.
fn children() -> Vec<u32> {
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let parent = rest.split_whitespace().nth(1).and_then(|text| text.parse::<u32>().ok());
        if parent == Some(own) && head.contains("(journalctl") {
            found.push(head.split(' ').next().unwrap().parse().unwrap());
        }
    }
    found
}

fn nix_kill(pid: u32) {
    assert!(std::process::Command::new("kill").arg("-9").arg(pid.to_string()).status().unwrap().success());
}
