//! Files that grow, are rotated, truncated, removed, and read on after a restart. Real files, and no sleeping: each
//! test waits for lines with a deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sources::{Format, Handle, Line, Notice, Position, SourceConfig, SourceKind, Sources, Start, Trust};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    folder: TempDir,
    handle: Handle,
    lines: Receiver<Line>,
    notices: Receiver<Notice>,
}

fn config(path: &Path, start: Start) -> SourceConfig {
    SourceConfig {
        name: "log".into(),
        kind: SourceKind::File { path: path.to_owned(), start, format: Format::Plain },
    }
}

impl Bench {
    fn start(folder: TempDir, start: Start, known: Option<Position>) -> Self {
        Self::with_room(folder, start, known, 4096)
    }

    fn with_room(folder: TempDir, start: Start, known: Option<Position>, room: usize) -> Self {
        let (sender, lines) = mpsc::channel(room);
        let (notice, notices) = mpsc::channel(64);
        let positions = known.map(|known| ("log".to_owned(), known)).into_iter().collect();
        let configs = vec![config(&folder.path().join("auth.log"), start)];
        let handle = Sources::start(configs, positions, sender, notice).unwrap();
        Self { folder, handle, lines, notices }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, text: &str) {
        append(&self.path("auth.log"), text);
    }

    async fn line(&mut self) -> Line {
        timeout(DEADLINE, self.lines.recv()).await.expect("no line came").expect("closed")
    }

    async fn expect(&mut self, expected: &[&str]) {
        for text in expected {
            let line = self.line().await;
            assert_eq!(String::from_utf8_lossy(&line.bytes), *text);
            assert_eq!((&*line.source, line.trust, line.sender), ("log", Trust::File, None));
        }
    }

    async fn notice(&mut self, part: &str) {
        loop {
            let notice = timeout(DEADLINE, self.notices.recv()).await.expect("no notice came").unwrap();
            if notice.message.contains(part) {
                return;
            }
        }
    }

    /// Stops; the folder and the position stay. Nothing more may have come.
    async fn stop(mut self) -> (TempDir, Option<Position>) {
        let mut positions = self.handle.stop().await;
        assert!(self.lines.try_recv().is_err(), "a line nobody expected");
        (self.folder, positions.remove("log"))
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    append(&folder.path().join("auth.log"), text);
    folder
}

#[tokio::test]
async fn new_lines_only_and_each_when_it_is_complete() {
    let mut bench = Bench::start(folder_with("old 1\nold 2\nunfin"), Start::End, None);
    bench.append("ished\nnew 1\nnew");
    bench.expect(&["unfinished", "new 1"]).await;
    bench.append(" 2\r\n\n");
    bench.expect(&["new 2\r"]).await;
    assert_eq!(bench.handle.status()[0].lines, 3);
    bench.stop().await;
}

#[tokio::test]
async fn a_file_that_appears_later_is_read_from_its_beginning() {
    let mut bench = Bench::start(tempfile::tempdir().unwrap(), Start::End, None);
    bench.append("first\nsecond\n");
    bench.expect(&["first", "second"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn rotation_by_rename_loses_nothing() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    bench.append("2\n");
    std::fs::rename(bench.path("auth.log"), bench.path("auth.log.1")).unwrap();
    // The writer has not been told yet.
    append(&bench.path("auth.log.1"), "3\n");
    bench.append("4\n");
    bench.expect(&["2", "3", "4"]).await;
    bench.notice("rotated").await;
    append(&bench.path("auth.log.1"), "late\n");
    bench.expect(&["late"]).await;
    bench.append("5\n");
    bench.expect(&["5"]).await;
    // A late line of the old file does not make the new one be read again.
    append(&bench.path("auth.log.1"), "later\n");
    bench.expect(&["later"]).await;
    let (folder, position) = bench.stop().await;
    let mut bench = Bench::start(folder, Start::End, position);
    bench.append("6\n");
    bench.expect(&["6"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn truncation_is_seen_even_if_the_file_has_grown_beyond_again() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("first 1\nfirst 2\n");
    bench.expect(&["first 1", "first 2"]).await;
    File::create(bench.path("auth.log")).unwrap();
    bench.notice("truncated").await;
    bench.append("second 1\n");
    bench.expect(&["second 1"]).await;
    // In one step: nobody sees the file empty.
    let mut file = OpenOptions::new().write(true).open(bench.path("auth.log")).unwrap();
    file.write_all(b"third 1 is longer\nthird 2\n").unwrap();
    bench.expect(&["third 1 is longer", "third 2"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats() {
    let mut bench = Bench::start(folder_with("old\n"), Start::End, None);
    bench.append("1\n2\nhalf");
    bench.expect(&["1", "2"]).await;
    let (folder, position) = bench.stop().await;
    append(&folder.path().join("auth.log"), " and half\n3\n");
    let mut bench = Bench::start(folder, Start::End, position);
    bench.expect(&["half and half", "3"]).await;
    let (folder, position) = bench.stop().await;
    // Without a line in between the place is kept as well.
    let (folder, again) = Bench::start(folder, Start::End, position).stop().await;
    assert_eq!(position, again);
    append(&folder.path().join("auth.log"), "4\n");
    let mut bench = Bench::start(folder, Start::End, again);
    bench.expect(&["4"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_was_not_taken_comes_again_after_a_restart() {
    let mut bench = Bench::with_room(folder_with(""), Start::Beginning, None, 1);
    bench.append("1\n2\n3\n4\n5\n");
    let first = bench.line().await;
    assert_eq!(first.bytes, b"1");
    let folder = bench.folder;
    // A crash: only the position of the line that was dealt with is known.
    drop(bench.lines);
    bench.handle.stop().await;
    let mut bench = Bench::start(folder, Start::End, first.position);
    bench.expect(&["2", "3", "4", "5"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn rotated_while_away() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    let (folder, position) = bench.stop().await;
    let path = folder.path().join("auth.log");
    append(&path, "2\n");
    std::fs::rename(&path, folder.path().join("auth.log.1")).unwrap();
    append(&path, "3\n");
    let mut bench = Bench::start(folder, Start::End, position);
    bench.expect(&["2", "3"]).await;
    bench.append("4\n");
    bench.expect(&["4"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn copied_and_truncated_while_away() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    let (folder, position) = bench.stop().await;
    let path = folder.path().join("auth.log");
    append(&path, "2\n");
    std::fs::copy(&path, folder.path().join("auth.log.1")).unwrap();
    std::fs::write(&path, "3\n").unwrap();
    let mut bench = Bench::start(folder, Start::End, position);
    bench.expect(&["2", "3"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn another_file_under_the_name_is_read_whole() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    let (folder, position) = bench.stop().await;
    std::fs::remove_file(folder.path().join("auth.log")).unwrap();
    append(&folder.path().join("auth.log"), "a\nb\n");
    let mut bench = Bench::start(folder, Start::End, position);
    bench.expect(&["a", "b"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn removed_and_made_again() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    std::fs::remove_file(bench.path("auth.log")).unwrap();
    bench.append("2\n");
    bench.expect(&["2"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn long_lines_and_any_bytes() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    let megabyte = "x".repeat(1_000_000);
    bench.append(&format!("{megabyte}\nafter\n"));
    assert_eq!(bench.line().await.bytes.len(), megabyte.len());
    bench.expect(&["after"]).await;
    bench.append(&format!("{megabyte}{megabyte}\nafter\n"));
    assert_eq!(bench.line().await.bytes.len(), sources::limits::MAX_LINE);
    bench.expect(&["after"]).await;
    assert_eq!(bench.handle.status()[0].oversized, 1);
    let mut file = OpenOptions::new().append(true).open(bench.path("auth.log")).unwrap();
    file.write_all(b"\xff\xfe\x00\x80\n").unwrap();
    assert_eq!(bench.line().await.bytes, b"\xff\xfe\x00\x80");
    bench.stop().await;
}

#[tokio::test]
async fn a_full_channel_makes_the_file_wait_and_loses_nothing() {
    let mut bench = Bench::with_room(folder_with(""), Start::Beginning, None, 2);
    let text: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    bench.append(&text);
    for number in 0..20_000 {
        assert_eq!(bench.line().await.bytes, format!("line {number}").as_bytes());
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_is_no_file_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("auth.log")).unwrap();
    let mut bench = Bench::start(folder, Start::End, None);
    bench.notice("it is a folder, not a file").await;
    assert!(bench.handle.status()[0].error.as_ref().unwrap().contains("auth.log"));
    std::fs::remove_dir(bench.path("auth.log")).unwrap();
    bench.notice("reading again").await;
    let made = std::process::Command::new("mkfifo").arg(bench.path("auth.log")).status();
    assert!(made.unwrap().success());
    bench.notice("it is a named pipe, not a file").await;
    bench.stop().await;
}

#[tokio::test]
async fn sources_change_while_others_run() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    bench.handle.update(vec![]).await.unwrap();
    assert!(bench.handle.status().is_empty());
    bench.append("2\n");
    let path = bench.path("auth.log");
    bench.handle.update(vec![config(&path, Start::End)]).await.unwrap();
    bench.expect(&["2"]).await;
    bench.append("3\n");
    bench.handle.update(vec![config(&path, Start::End)]).await.unwrap();
    bench.expect(&["3"]).await;
    let twice = bench.handle.update(vec![config(&path, Start::End), config(&path, Start::End)]).await;
    assert!(twice.unwrap_err().to_string().contains("two log sources"));
    bench.stop().await;
}

#[tokio::test]
async fn through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    append(&elsewhere.path().join("0.log"), "");
    std::os::unix::fs::symlink(elsewhere.path().join("0.log"), folder.path().join("auth.log")).unwrap();
    let mut bench = Bench::start(folder, Start::End, None);
    append(&elsewhere.path().join("0.log"), "1\n");
    bench.expect(&["1"]).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_position_survives_being_written_down() {
    let mut bench = Bench::start(folder_with(""), Start::End, None);
    bench.append("1\n");
    bench.expect(&["1"]).await;
    let positions: HashMap<String, Position> = bench.handle.positions();
    let (_folder, position) = bench.stop().await;
    assert_eq!(positions.get("log").copied(), position);
    assert_eq!(position.unwrap().offset, 2);
}
