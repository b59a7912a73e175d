//! What must outlive the daemon: decisions with their evidence, who is told of them, who changed what, how far logs were
//! read, the mode a person chose. One SQLite file; the only crate that knows SQL.
//!
//! Two connections, since two promises are kept. Decisions go through one with `synchronous = FULL`: when a call
//! returns, what it wrote survives a power cut. So do settings. Offsets and all reading go through one with `NORMAL`:
//! offsets survive a crash of the daemon, and after a power cut some lines of a log may be read twice, which at worst
//! repeats a ban.
//!
//! Nothing here reads a clock; `now` comes in.

mod audit;
mod changes;
mod clients;
mod clock;
mod decisions;
mod error;
mod offsets;
mod open;
mod row;
mod settings;

pub use audit::{AUDIT_SLACK, Actor, AuditFilter, BY_ITSELF, MAX_AUDIT, MAX_AUDIT_ROWS};
pub use changes::MAX_PAGE;
pub use clients::MAX_CLIENTS;
pub use decisions::{Banned, Ended, EndedHow, Filter, RESERVED_FOR_PEOPLE, State, Stored};
pub use error::StoreError;
pub use offsets::LogOffset;
pub use open::StoreOptions;

use sqlx::{Sqlite, SqlitePool, Transaction};
use std::path::{Path, PathBuf};

/// What the functions here return.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Most decisions in force. When they are reached, further bans are refused with [`StoreError::TooManyDecisions`];
/// what is in force stays.
pub const MAX_DECISIONS: u64 = 100_000;

/// Most decisions that have ended and are kept to look back at. [`Store::prune`] removes the oldest above it.
pub const MAX_HISTORY: u64 = 50_000;

/// Most decisions in one [`Store::add_many`] and one [`Store::expire`]: bounds the time the file is locked.
pub const MAX_BATCH: usize = 10_000;

/// Most log sources whose offset is kept. More are refused with [`StoreError::TooManySources`].
pub const MAX_SOURCES: u64 = 1_024;

/// Longest name of an origin, source or setting, and longest value of a setting, in bytes.
pub const MAX_NAME: usize = 1_024;

/// Most bytes of evidence kept with a decision, as JSON. The oldest pieces go first.
pub const MAX_EVIDENCE_BYTES: usize = 16 * 1_024;

/// Most bytes of the file. Reached (by evidence, not by number), writing fails with [`StoreError::Full`].
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// The store. Cheap to clone; every clone is the same file.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// Synchronous = FULL, one connection: writers queue here instead of failing on a lock.
    durable: SqlitePool,
    /// Synchronous = NORMAL, one connection.
    relaxed: SqlitePool,
    limits: StoreOptions,
}

impl Store {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Finishes what runs and closes the file. Without it nothing that was acknowledged is lost, but the WAL stays
    /// and is folded in at the next start.
    pub async fn close(self) {
        self.relaxed.close().await;
        self.durable.close().await;
    }

    /// Begins to write. After some errors, a full disk among them, SQLite has ended the transaction by itself, which the
    /// connection does not know and would never begin another: such a one is closed, and a new one goes on.
    async fn begin(&self) -> sqlx::Result<Transaction<'static, Sqlite>> {
        Self::begin_on(&self.durable).await
    }

    async fn begin_on(pool: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
        const BEGIN: &str = "BEGIN IMMEDIATE";
        match pool.begin_with(BEGIN).await {
            Err(sqlx::Error::InvalidSavePointStatement) => {
                // What it says to its end is of no use any more.
                pool.acquire().await?.close().await.ok();
                pool.begin_with(BEGIN).await
            }
            begun => begun,
        }
    }

    /// Turns an error of a statement into one that says which file and what to do.
    fn failed(&self, doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError + '_ {
        move |error| StoreError::from_sqlx(&self.path, doing, error)
    }
}
