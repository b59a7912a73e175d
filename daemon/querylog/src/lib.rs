//! The log of questions: one row for each question the resolver answered, kept for a time and in a room that the config
//! names, and what outlives the rows: sums of each hour by client, and the names that led each day.
//!
//! It is a SQLite file of its own, on this machine wherever the decisions are kept, and nothing else waits for it:
//! [`QueryLog::push`] copies a question into a bounded queue ([`MAX_WAITING`]), one thread writes what waits, in groups.
//! When the queue is full or the disk has no room, questions are not kept and counted, and that is told by
//! [`QueryLog::status`]. A reader has a connection of its own, a deadline, and first has written what waits.
//!
//! Names, clients, upstreams and lists are numbers in the rows (`dictionary.rs`), and the id of a row is its date: a
//! question takes about 30 bytes, without an index. Looking for one client or name reads the rows of the time asked for,
//! some million a second; that is rarer than writing.

mod days;
mod dictionary;
mod error;
mod kind;
mod open;
mod page;
mod pattern;
mod read;
mod retention;
mod stats;
mod waiting;
mod writer;

pub use error::LogError;
pub use waiting::{By, Entry};

use model::{QueryFilter, QueryPage, QueryStats, QueryStatsFilter, Timestamp};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use waiting::Waiting;

/// What the functions here return.
pub type Result<T> = std::result::Result<T, LogError>;

/// Most questions that wait to be written; further ones are not kept, and counted.
pub const MAX_WAITING: usize = 16_384;
/// Most bytes of their names and words.
pub const MAX_WAITING_TEXT: usize = 2 << 20;
/// How long questions are gathered before they are written together: each group costs some pages of flash. A daemon that
/// is killed loses so much of the log.
pub const GATHER: Duration = Duration::from_secs(30);
/// Most different names that are kept. Above it, a new one is kept as `*.` and its last two labels, and
/// [`MAX_FOLDED_NAMES`] above that as `*`.
pub const MAX_NAMES: u64 = 1 << 19;
/// Most new names in a day (UTC, or since the daemon started); further ones are kept as `*.` and their last two labels.
/// So questions for made-up names do not use up [`MAX_NAMES`] in a day.
pub const MAX_NEW_NAMES: u64 = 1 << 16;
/// Most shortened names above [`MAX_NAMES`].
pub const MAX_FOLDED_NAMES: u64 = 1 << 12;
/// Most different clients. Above it, the sums by client of the oldest days become sums of all; if that makes no room, new
/// clients are kept without their address.
pub const MAX_CLIENTS: u64 = 1 << 14;
/// Most different upstreams and lists; further ones are kept without their name.
pub const MAX_WORDS: u64 = 1 << 14;
/// Days that the sums of hours and the names of days are kept.
pub const KEEP_SUMS_DAYS: u32 = 3_650;
/// Names kept for each day: those asked most, and as many blocked most.
pub const DAY_NAMES: usize = 50;
/// Most names of days altogether; the oldest go first.
pub const MAX_DAY_NAMES: u64 = 100_000;
/// Bytes that are left free on the disk for what matters more: with less, nothing is written.
pub const MIN_FREE_BYTES: u64 = 64 << 20;
/// Most readers at once; further ones wait.
pub const MAX_READERS: usize = 2;
/// How long a reader may take.
pub const READ_BY: Duration = Duration::from_secs(10);

/// How the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Days that questions are kept; 0 = there is no log, and a file of an earlier one is removed.
    pub days: u32,
    /// Bytes that the file may take, with its write-ahead log: the oldest questions go first, then the oldest sums.
    pub bytes: u64,
    /// See [`MIN_FREE_BYTES`].
    pub min_free: u64,
    /// See [`MAX_NAMES`].
    pub max_names: u64,
    /// See [`MAX_NEW_NAMES`].
    pub max_new_names: u64,
    /// See [`MAX_CLIENTS`].
    pub max_clients: u64,
}

impl Settings {
    /// Settings with the limits of this crate.
    #[must_use]
    pub const fn new(days: u32, bytes: u64) -> Self {
        Self {
            days,
            bytes,
            min_free: MIN_FREE_BYTES,
            max_names: MAX_NAMES,
            max_new_names: MAX_NEW_NAMES,
            max_clients: MAX_CLIENTS,
        }
    }
}

/// How the log does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// There is a log.
    pub on: bool,
    /// Bytes of the file, with its write-ahead log, when it was last written.
    pub bytes: u64,
    /// Questions written since the start.
    pub written: u64,
    /// Questions not kept since the start because too many waited.
    pub dropped: u64,
    /// Questions not kept since the start because they could not be written.
    pub lost: u64,
    /// Questions since the start whose name was shortened ([`MAX_NAMES`], [`MAX_NEW_NAMES`]).
    pub folded: u64,
    /// Why nothing is written now, and what to do.
    pub trouble: Option<String>,
    /// A damaged file was set aside since the start: where it is, and what SQLite said.
    pub set_aside: Option<String>,
}

/// The clock of the log. Only its retention asks it: rows have the dates of questions.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The log. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct QueryLog {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    clock: Clock,
    waiting: Waiting,
    status: Mutex<LogStatus>,
    readers: Arc<tokio::sync::Semaphore>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl QueryLog {
    /// Starts the log, to be opened by its own thread: what is wrong with the file or the disk is told by
    /// [`QueryLog::status`].
    ///
    /// # Errors
    /// There can be no thread.
    pub fn start(path: PathBuf, settings: Settings, clock: Clock) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            path,
            clock,
            waiting: Waiting::new(settings),
            status: Mutex::default(),
            readers: Arc::new(tokio::sync::Semaphore::new(MAX_READERS)),
            writer: Mutex::default(),
        });
        let of_writer = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("dns-log".into()).spawn(move || writer::run(&of_writer))?;
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(Self { shared })
    }

    /// Takes other settings.
    pub fn set(&self, settings: Settings) {
        self.shared.waiting.set(settings);
    }

    /// Keeps a question. Never waits: it is counted where there is no room.
    pub fn push(&self, entry: &Entry<'_>) {
        self.shared.waiting.push(entry);
    }

    /// How it does.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        let mut status = self.shared.status().clone();
        status.dropped = self.shared.waiting.dropped();
        status
    }

    /// Writes what waits; returns when it is written or cannot be, or when nobody wrote it within [`READ_BY`].
    pub fn flush(&self) {
        self.shared.waiting.flush(READ_BY);
    }

    /// A page of the log, with everything that was pushed before.
    ///
    /// # Errors
    /// There is no log, the filter makes no sense, or the file cannot be read.
    pub async fn queries(&self, filter: &QueryFilter) -> Result<QueryPage> {
        let filter = filter.clone();
        self.read(move |reader| page::page(reader, &filter)).await
    }

    /// The log summed up, with everything that was pushed before.
    ///
    /// # Errors
    /// There is no log, the filter makes no sense, it takes longer than [`READ_BY`], or the file cannot be read.
    pub async fn stats(&self, filter: &QueryStatsFilter) -> Result<QueryStats> {
        let (filter, now) = (filter.clone(), (self.shared.clock)());
        self.read(move |reader| stats::stats(reader, &filter, now)).await
    }

    /// Writes what waits and ends the thread. Waits for it.
    pub fn close(&self) {
        self.shared.waiting.close();
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && writer.join().is_err()
        {
            self.shared.status().trouble =
                Some("the thread that writes the log of questions has ended".into());
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&read::Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let readers = Arc::clone(&self.shared.readers);
        let permit = readers.acquire_owned().await.map_err(|_| LogError::Off)?;
        let log = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Until the reading ends, also when nobody waits for it any more.
            let _permit = permit;
            if log.shared.waiting.settings().days == 0 {
                return Err(LogError::Off);
            }
            log.flush();
            let file = open::identity(&log.shared.path);
            let result = read::Reader::open(&log.shared.path, READ_BY).and_then(|reader| read(&reader));
            if matches!(result, Err(LogError::Damaged { .. })) {
                log.shared.waiting.damaged(file);
            }
            result
        });
        done.await.unwrap_or_else(|error| Err(LogError::Ended(error.to_string())))
    }
}

impl Shared {
    fn status(&self) -> std::sync::MutexGuard<'_, LogStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two readers come upon the same damage, one of them when the file has been set aside already.
    #[test]
    fn a_damaged_file_is_set_aside_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queries.db");
        let settings = Settings { min_free: 0, ..Settings::new(1, 1_000_000) };
        let log = QueryLog::start(path.clone(), settings, Arc::new(|| Timestamp(0))).unwrap();
        log.flush();
        let damaged = open::identity(&path);
        assert!(damaged.is_some());
        for _ in 0..2 {
            log.shared.waiting.damaged(damaged);
            log.flush();
            assert_eq!(open::identity(&path.with_extension("db.damaged")), damaged);
        }
        log.close();
    }
}
