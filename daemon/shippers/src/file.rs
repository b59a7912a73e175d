//! Events as JSON lines in a file that is rotated by size.

use model::Event;
use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{Control, FileSettings, sender::Reporter};

/// Bytes that wait while the file cannot be written. When full the oldest are dropped and counted.
pub(crate) const MAX_UNWRITTEN: usize = 4 * 1024 * 1024;
/// Events that are written at once.
const AT_ONCE: usize = 512;
/// Least and longest pause before writing is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Writes until the senders are gone or the control says stop.
pub(crate) async fn run(
    settings: FileSettings,
    mut events: mpsc::Receiver<Arc<Event>>,
    mut reporter: Reporter,
    mut control: watch::Receiver<Control>,
) {
    let mut file = JsonLines::new(settings);
    let mut waiting = Waiting::default();
    let mut retry: Option<(Instant, Duration)> = None;
    let mut batch = Vec::with_capacity(AT_ONCE);
    let (mut is_open, mut is_controlled) = (true, true);
    loop {
        tokio::select! {
            count = events.recv_many(&mut batch, AT_ONCE), if is_open => is_open = count > 0,
            () = at(retry.map(|(at, _)| at)), if retry.is_some() => retry = retry.map(|(_, pause)| (Instant::now(), pause)),
            changed = control.changed(), if is_controlled => match changed {
                Ok(()) => {
                    let now = *control.borrow_and_update();
                    file.close();
                    retry = None;
                    if now.stop {
                        events.close();
                    }
                }
                // Whoever could say stop is gone; the queue ends by itself.
                Err(_) => is_controlled = false,
            },
        }
        let counters = Arc::clone(&reporter.counters);
        counters.undelivered.fetch_add(batch.len() as u64, std::sync::atomic::Ordering::Relaxed);
        let dropped = waiting.add(batch.drain(..));
        counters.settle(dropped, &counters.dropped);
        if !waiting.chunks.is_empty() && retry.is_none_or(|(at, _)| at <= Instant::now()) {
            let written = tokio::task::spawn_blocking(move || {
                let result = waiting.write(&mut file);
                (file, waiting, result)
            });
            let result;
            match written.await {
                Ok(state) => (file, waiting, result) = state,
                Err(error) => {
                    tracing::error!(%error, "the writer of events broke");
                    return;
                }
            }
            counters.settle(result.0, &counters.delivered);
            retry = match result.1 {
                Ok(()) => {
                    reporter.trouble(None);
                    None
                }
                Err(error) => {
                    counters.failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    reporter.trouble(Some(&format!(
                        "{} cannot be written: {error}",
                        file.settings.path.display()
                    )));
                    let pause = retry.map_or(BACKOFF.0, |(_, pause)| (pause * 2).min(BACKOFF.1));
                    Some((Instant::now() + pause, pause))
                }
            };
        }
        if events.len() <= events.max_capacity() / 2 {
            reporter.losses();
        }
        if !is_open && (waiting.chunks.is_empty() || control.borrow().stop) {
            return;
        }
    }
}

/// Sleeps until then; forever without a time.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Lines that are not written yet.
#[derive(Debug, Default)]
struct Waiting {
    /// Lines and how many events they are.
    chunks: VecDeque<(Vec<u8>, usize)>,
    bytes: usize,
}

impl Waiting {
    /// Adds events and returns how many older ones had to go for them.
    fn add(&mut self, events: impl Iterator<Item = Arc<Event>>) -> usize {
        let (mut chunk, mut count) = (Vec::new(), 0);
        for event in events {
            // An event is plain data: it always serialises.
            if serde_json::to_writer(&mut chunk, &*event).is_ok() {
                chunk.push(b'\n');
                count += 1;
            }
        }
        if count > 0 {
            self.bytes += chunk.len();
            self.chunks.push_back((chunk, count));
        }
        let mut dropped = 0;
        while self.bytes > MAX_UNWRITTEN && self.chunks.len() > 1 {
            if let Some((chunk, count)) = self.chunks.pop_front() {
                self.bytes -= chunk.len();
                dropped += count;
            }
        }
        dropped
    }

    /// Writes what it can and returns how many events that were.
    fn write(&mut self, file: &mut JsonLines) -> (usize, io::Result<()>) {
        let mut written = 0;
        while let Some((chunk, count)) = self.chunks.front() {
            if let Err(error) = file.write(chunk) {
                return (written, Err(error));
            }
            written += count;
            self.bytes -= chunk.len();
            self.chunks.pop_front();
        }
        (written, Ok(()))
    }
}

/// The file, opened when it is written.
#[derive(Debug)]
struct JsonLines {
    settings: FileSettings,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    /// Device and inode, to notice when the file was moved away.
    identity: (u64, u64),
}

impl JsonLines {
    fn new(settings: FileSettings) -> Self {
        Self { settings, open: None }
    }

    fn close(&mut self) {
        self.open = None;
    }

    /// Appends whole lines, or nothing of them.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let path = &self.settings.path;
        let identity = std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        self.open = self.open.take().filter(|open| Some(open.identity) == identity);
        let is_full =
            |open: &Open| open.size > 0 && open.size + lines.len() as u64 > self.settings.rotate_bytes;
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Self::open(path)?,
        };
        if is_full(&open) {
            self.rotate()?;
            open = Self::open(&self.settings.path)?;
        }
        match open.file.write_all(lines) {
            Ok(()) => {
                open.size += lines.len() as u64;
                self.open = Some(open);
                Ok(())
            }
            Err(error) => {
                // Takes half a line back; where that is not possible, opening ends it with a newline.
                let _ = open.file.set_len(open.size);
                Err(error)
            }
        }
    }

    fn open(path: &std::path::Path) -> io::Result<Open> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).mode(0o640).open(path)?;
        let found = file.metadata()?;
        let mut size = found.len();
        if found.is_file() && size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                size += 1;
            }
        }
        Ok(Open { file, size, identity: (found.dev(), found.ino()) })
    }

    /// Moves `PATH` to `PATH.1`, that to `PATH.2`, and so on; the last goes.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.settings.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let missing_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        if self.settings.keep_files == 0 {
            return missing_is_fine(std::fs::remove_file(&self.settings.path));
        }
        for number in (1..self.settings.keep_files).rev() {
            missing_is_fine(std::fs::rename(numbered(number), numbered(number + 1)))?;
        }
        missing_is_fine(std::fs::rename(&self.settings.path, numbered(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &tempfile::TempDir, rotate_bytes: u64, keep_files: u32) -> JsonLines {
        JsonLines::new(FileSettings { path: folder.path().join("events.jsonl"), rotate_bytes, keep_files })
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> Option<String> {
        std::fs::read_to_string(folder.path().join(name)).ok()
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = lines(&folder, 6, 2);
        for line in ["aa\n", "bb\n", "cc\n", "dd\n", "ee\n", "ff\n", "gg\n", "a longer line\n", "hh\n"] {
            file.write(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&folder, "events.jsonl").unwrap(), "hh\n");
        assert_eq!(read(&folder, "events.jsonl.1").unwrap(), "a longer line\n");
        assert_eq!(read(&folder, "events.jsonl.2").unwrap(), "gg\n");
        assert_eq!(read(&folder, "events.jsonl.3"), None);
    }

    #[test]
    fn nothing_is_kept_where_nothing_should_be() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = lines(&folder, 3, 0);
        file.write(b"aa\n").unwrap();
        file.write(b"bb\n").unwrap();
        assert_eq!(read(&folder, "events.jsonl").unwrap(), "bb\n");
        assert_eq!(read(&folder, "events.jsonl.1"), None);
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = lines(&folder, 1000, 1);
        file.write(b"a\n").unwrap();
        std::fs::rename(folder.path().join("events.jsonl"), folder.path().join("moved")).unwrap();
        file.write(b"b\n").unwrap();
        assert_eq!(read(&folder, "moved").unwrap(), "a\n");
        assert_eq!(read(&folder, "events.jsonl").unwrap(), "b\n");
    }

    #[test]
    fn half_a_line_of_a_crash_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("events.jsonl"), "{\"half").unwrap();
        lines(&folder, 1000, 1).write(b"a\n").unwrap();
        assert_eq!(read(&folder, "events.jsonl").unwrap(), "{\"half\na\n");
    }

    #[test]
    fn what_cannot_be_written_is_bounded() {
        let event = Arc::new(crate::loki::tests_event("x".repeat(100_000)));
        let mut waiting = Waiting::default();
        let mut dropped = 0;
        for _ in 0..100 {
            dropped += waiting.add([Arc::clone(&event)].into_iter());
        }
        assert!(waiting.bytes <= MAX_UNWRITTEN, "{}", waiting.bytes);
        assert_eq!(dropped + waiting.chunks.len(), 100);
        assert!(dropped > 50);
    }
}
