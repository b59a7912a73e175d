//! What can go wrong with a file, sorted by what a person or the daemon does about it.

use std::path::{Path, PathBuf};

/// Why the store did not do what was asked. Nothing that was acknowledged before is lost by any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder or file cannot be made or reached.
    #[error("cannot open {path}: {source}; check that the folder exists and that secd may write there")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Written by a later version.
    #[error(
        "{path} was written by a newer secd (its schema is {found}, this secd knows up to {known}); install that \
         version again, or move the file away to start with no decisions"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Schema in the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// The file is damaged. It has been moved aside, never deleted; opening again starts an empty one.
    #[error(
        "{path} is damaged ({detail}); it was kept as {moved_to}, and the next start begins with no decisions"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        moved_to: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// Damage found while running. The file stays where it is; the next [`crate::Store::open`] moves it aside.
    #[error("{path} is damaged ({detail}); restart secd: it will keep the file aside and begin an empty one")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        detail: String,
    },
    /// No room on the disk, or [`crate::MAX_FILE_BYTES`] reached.
    #[error("cannot {doing}: no room for {path}; free space on that disk, what is stored and in force stays")]
    Full {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// The file or its disk cannot be written.
    #[error(
        "cannot {doing}: {path} cannot be written; check its permissions and whether the disk is mounted read-only"
    )]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// Another process holds the file.
    #[error("cannot {doing}: {path} is locked by another process; is a second secd running?")]
    Locked {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
    },
    /// [`crate::MAX_DECISIONS`].
    #[error("there are {limit} decisions in force, the most that are kept; lift some or use a list")]
    TooManyDecisions {
        /// The limit.
        limit: u64,
    },
    /// [`crate::MAX_SOURCES`].
    #[error("there are {limit} log sources, the most whose place is kept")]
    TooManySources {
        /// The limit.
        limit: u64,
    },
    /// [`crate::MAX_CLIENTS`].
    #[error("there are {limit} already, the most that are kept; delete those that are not used any more")]
    TooManyClients {
        /// The limit.
        limit: u64,
    },
    /// [`crate::MAX_BATCH`].
    #[error("{given} decisions at once are too many, {limit} are taken")]
    BatchTooLong {
        /// How many there were.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// A text is longer than is kept.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A row that this version cannot read.
    #[error("row {seq} of {path} cannot be read: {detail}")]
    Row {
        /// The file.
        path: PathBuf,
        /// Its number.
        seq: i64,
        /// What is wrong with it.
        detail: String,
    },
    /// Anything else SQLite says.
    #[error("cannot {doing} in {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite says.
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts by SQLite's primary result code <https://www.sqlite.org/rescode.html>.
    pub(crate) fn from_sqlx(path: &Path, doing: &'static str, source: sqlx::Error) -> Self {
        let path = path.to_owned();
        match primary_code(&source) {
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Self::Locked { path, doing },
            Some(SQLITE_READONLY | SQLITE_PERM | SQLITE_CANTOPEN) => Self::ReadOnly { path, doing },
            Some(SQLITE_FULL) => Self::Full { path, doing },
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Damaged { path, detail: source.to_string() },
            Some(_) | None => Self::Database { path, doing, source },
        }
    }

    /// Whether trying again later may help without anyone doing something about it.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::ReadOnly { .. } | Self::Locked { .. } | Self::Database { .. }
        )
    }
}

const SQLITE_PERM: i32 = 3;
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;
const SQLITE_READONLY: i32 = 8;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// The low byte of SQLite's extended result code, where there is one.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    Some(error.as_database_error()?.code()?.parse::<i32>().ok()? & 0xff)
}
