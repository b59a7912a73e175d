//! Files of container runtimes and patterns of files, on a real file system.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{Bench, source};
use sources::{Format, Position, SourceKind, Start};

fn append(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn docker(text: &str) -> String {
    let log = serde_json::to_string(text).unwrap();
    format!("{{\"log\":{log},\"stream\":\"stdout\",\"time\":\"2026-11-23T18:00:00.5Z\"}}\n")
}

fn files(pattern: PathBuf, format: Format, known: HashMap<String, Position>) -> Bench {
    let kind = SourceKind::File { path: pattern, start: Start::End, format };
    Bench::start(vec![source("containers", kind)], 4096, known)
}

#[tokio::test]
async fn containers_that_come_are_read_ones_that_go_are_let_go_and_a_restart_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = folder.path().join("*/*-json.log");
    let log = |id: &str| folder.path().join(id).join(format!("{id}-json.log"));
    append(&log("a"), &docker("before\n"));
    let mut bench = files(pattern.clone(), Format::Docker, HashMap::new());
    bench.until(|status| status.files == 1).await;
    append(&log("a"), &docker("of a "));
    append(&log("a"), &docker("in two parts\n"));
    let line = bench.line().await;
    assert_eq!(line.bytes, b"of a in two parts");
    assert_eq!(line.written, Some(model::Timestamp(1_795_456_800_500_000)));
    assert!(line.kept_as.ends_with("a-json.log") && line.kept_as.starts_with("containers\n"));

    append(&log("b"), &docker("first of b\n"));
    assert_eq!(bench.text().await, "first of b");
    bench.until(|status| status.files == 2).await;
    // As Docker rotates: the name moves on, and a new file is begun.
    std::fs::rename(log("a"), folder.path().join("a/a-json.log.1")).unwrap();
    append(&log("a"), &docker("behind the rotation\n"));
    assert_eq!(bench.text().await, "behind the rotation");

    std::fs::remove_dir_all(folder.path().join("b")).unwrap();
    bench.until(|status| status.files == 1).await;
    assert_eq!(bench.handle.status()[0].error, None, "a container may go");
    let positions = bench.handle.stop().await;
    assert_eq!(positions.len(), 1);

    append(&log("a"), &docker("meanwhile\n"));
    let mut again = files(pattern, Format::Docker, positions);
    assert_eq!(again.text().await, "meanwhile");
    assert!(again.lines.try_recv().is_err());
    again.handle.stop().await;
}

#[tokio::test]
async fn a_rotated_file_that_still_fits_the_pattern_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    append(&log, "");
    let mut bench = files(folder.path().join("access.log*"), Format::Plain, HashMap::new());
    bench.until(|status| status.files == 1).await;
    append(&log, "one\n");
    assert_eq!(bench.text().await, "one");
    std::fs::rename(&log, folder.path().join("access.log.1")).unwrap();
    append(&log, "two\n");
    assert_eq!(bench.text().await, "two");
    // A file that is new is found by a look that has seen the rotated one, too.
    append(&folder.path().join("access.log-other"), "three\n");
    assert_eq!(bench.text().await, "three");
    assert_eq!(bench.handle.status()[0].files, 2);
    bench.handle.stop().await;
}

#[tokio::test]
async fn cri_lines_and_what_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("pods/x/0.log");
    append(&log, "");
    let mut bench = files(folder.path().join("pods/*/*.log"), Format::Cri, HashMap::new());
    bench.until(|status| status.files == 1).await;
    append(&log, "2026-11-23T18:00:00Z stderr P one \n2026-11-23T18:00:00Z stderr F line\nplain\n");
    assert_eq!(bench.text().await, "one line");
    bench.until(|status| status.error.as_ref().is_some_and(|error| error.contains("format"))).await;
    append(&log, "2026-11-23T18:00:00Z stdout F good again\n");
    assert_eq!(bench.text().await, "good again");
    bench.until(|status| status.error.is_none()).await;
    bench.handle.stop().await;
}

#[tokio::test]
async fn what_is_no_log_is_told_with_what_to_do_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert!(std::process::Command::new("mkfifo").arg(path("pipe.log")).status().unwrap().success());
    append(&path("good.log"), "");
    append(&path("binary.log"), "");
    append(&path("endless.log"), "");
    let mut bench = files(path("*.log"), Format::Plain, HashMap::new());
    bench.notice("it is a named pipe, not a file; give the path of a log file").await;
    append(&path("good.log"), "fine\n");
    assert_eq!(bench.text().await, "fine");
    append(&path("binary.log"), "a\0b\n");
    bench.notice("binary.log is no text").await;
    append(&path("endless.log"), &"x".repeat(2 << 20));
    bench.notice("endless.log has no end within").await;
    bench.until(|status| status.error.as_ref().is_some_and(|error| error.contains("more)"))).await;
    for name in ["binary.log", "endless.log"] {
        append(&path(name), "\nfine again\n");
    }
    bench.until(|status| status.error.as_ref().is_some_and(|error| error.contains("named pipe"))).await;
    bench.until(|status| status.error.as_ref().is_some_and(|error| !error.contains("more)"))).await;
    bench.handle.stop().await;

    let device = SourceKind::File { path: "/dev/zero".into(), start: Start::End, format: Format::Plain };
    let nothing = SourceKind::File { path: path("nothing"), start: Start::End, format: Format::Plain };
    let mut bench = Bench::start(vec![source("device", device), source("gone", nothing)], 16, HashMap::new());
    bench.notice("it is a device, not a file").await;
    bench.notice("it is read from its beginning as soon as it is there").await;
    append(&path("nothing"), "there\n");
    assert_eq!(bench.text().await, "there");
    bench.notice("reading again").await;
    bench.handle.stop().await;
}
