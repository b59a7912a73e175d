//! What can go wrong, sorted by what is done about it.

use rusqlite::ErrorCode;
use std::path::{Path, PathBuf};

/// Why the log could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is none.
    #[error("questions are not kept: `dns.log.days` is 0, or there is no resolver")]
    Off,
    /// What is asked for makes no sense.
    #[error("{0}")]
    Asked(String),
    /// It takes longer than [`crate::READ_BY`].
    #[error("that is too much to sum up at once; ask for a shorter time")]
    TooLong,
    /// No room on the disk.
    #[error("the log of questions is not written: there is no room for {path}; it goes on when there is")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The room that is kept free for other things would be taken.
    #[error(
        "the log of questions is not written: less than {least} bytes are free on the disk of {path}; it goes on when \
         there is room, and `dns.log.size` can be less"
    )]
    Reserved {
        /// The file.
        path: PathBuf,
        /// What is kept free.
        least: u64,
    },
    /// The file is damaged.
    #[error("{path} is damaged ({detail}); it is set aside, and a new log begun")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        detail: String,
    },
    /// Written by a later version.
    #[error(
        "the log of questions is not written: {path} is of a newer secd (its schema is {found}, this secd knows up to \
         {known}); install that version again, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema known here.
        known: i64,
    },
    /// Anything else SQLite says.
    #[error("the log of questions {path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The file or its folder cannot be made, moved or removed.
    #[error(
        "the log of questions {path}: {source}; check that the folder exists and that secd may write there"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The reader ended early.
    #[error("reading the log of questions ended early: {0}")]
    Ended(String),
}

impl LogError {
    /// Sorts what SQLite says.
    pub(crate) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged { path, detail: source.to_string() }
            }
            Some(ErrorCode::OperationInterrupted) => Self::TooLong,
            _ => Self::Database { path, source },
        }
    }
}
