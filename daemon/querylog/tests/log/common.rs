//! A log in a folder of its own, with a clock that stands until it is moved.

use model::{AnswerCode, AnswerFrom, EventAction, QueryType, Timestamp};
use querylog::{By, Entry, QueryLog, Settings};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

/// The beginning of a day and an hour.
pub(crate) const START: i64 = 20_700 * DAY;
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const HOUR: i64 = 3_600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) now: Arc<AtomicI64>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), now: Arc::new(AtomicI64::new(START)) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("queries.db")
    }

    pub(crate) fn open(&self, settings: Settings) -> QueryLog {
        let now = Arc::clone(&self.now);
        QueryLog::start(self.path(), settings, Arc::new(move || Timestamp(now.load(Relaxed)))).unwrap()
    }

    /// Moves the clock; the log looks at what is to be kept.
    pub(crate) fn at(&self, log: &QueryLog, now: i64) {
        self.now.store(now, Relaxed);
        log.flush();
    }
}

/// A log that keeps everything these tests write.
pub(crate) fn roomy() -> Settings {
    Settings { min_free: 0, ..Settings::new(91, 256_000_000) }
}

/// A question that was forwarded.
pub(crate) fn forwarded(at: i64, client: u8, name: &str) -> Entry<'_> {
    Entry {
        at: Timestamp(at),
        client: Some([10, 4, 0, client].into()),
        client_name: "",
        zone: "home",
        name: Some(name),
        alias: "",
        qtype: QueryType(1),
        code: AnswerCode(0),
        action: EventAction::Pass,
        from: AnswerFrom::Upstream,
        upstream: "9.9.9.9:53",
        by: None,
        secure: true,
        micros: 12_000,
    }
}

/// One that was blocked.
pub(crate) fn blocked(at: i64, client: u8, name: &str) -> Entry<'_> {
    Entry {
        action: EventAction::Sinkhole,
        from: AnswerFrom::Sinkhole,
        upstream: "",
        by: Some(By::List { list: "ads", line: 7, allow: false }),
        secure: false,
        micros: 0,
        ..forwarded(at, client, name)
    }
}
