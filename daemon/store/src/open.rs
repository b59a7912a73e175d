//! Opening the file: made if it is missing, migrated if it is old, refused if it is newer, moved aside if it is
//! damaged.

use sqlx::{
    Connection, SqliteConnection,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{MAX_AUDIT, MAX_DECISIONS, MAX_FILE_BYTES, MAX_HISTORY, Result, Store, StoreError};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Mode of the folder if it is made here.
const FOLDER_MODE: u32 = 0o750;
/// Mode of the file; SQLite gives the same to `-wal` and `-shm`.
const FILE_MODE: u32 = 0o640;
/// Bytes of a page.
const PAGE_BYTES: u32 = 4_096;
/// Memory of the page cache of one connection, in KiB.
const CACHE_KIB: u32 = 512;
/// The WAL is cut back to this many bytes after a checkpoint.
const WAL_BYTES: u32 = 4 << 20;
/// Prepared statements kept by a connection; there are fewer than this in the crate.
const STATEMENTS: usize = 48;
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(5);

/// Limits that tests make small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// See [`MAX_DECISIONS`].
    pub max_decisions: u64,
    /// See [`MAX_HISTORY`].
    pub max_history: u64,
    /// See [`MAX_AUDIT`].
    pub max_audit: u64,
    /// See [`MAX_FILE_BYTES`].
    pub max_file_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_decisions: MAX_DECISIONS,
            max_history: MAX_HISTORY,
            max_audit: MAX_AUDIT,
            max_file_bytes: MAX_FILE_BYTES,
        }
    }
}

impl Store {
    /// Opens the store, with everything made and migrated that is missing or old.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a later secd wrote it; [`StoreError::Corrupt`] if it is damaged, after it was
    /// moved aside, so that opening again gives an empty store; the others if the disk is full, read-only or away.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, StoreOptions::default()).await
    }

    /// [`Store::open`] with other limits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(path: &Path, limits: StoreOptions) -> Result<Self> {
        make(path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        match Self::connect(path, limits).await {
            Err(StoreError::Damaged { path, detail }) => {
                let moved_to =
                    move_aside(&path).map_err(|source| StoreError::Open { path: path.clone(), source })?;
                Err(StoreError::Corrupt { path, moved_to, detail })
            }
            other => other,
        }
    }

    async fn connect(path: &Path, limits: StoreOptions) -> Result<Self> {
        let failed = |doing| move |error| StoreError::from_sqlx(path, doing, error);
        let max_pages = (limits.max_file_bytes / u64::from(PAGE_BYTES)).max(16);
        let options = SqliteConnectOptions::new()
            .filename(path)
            .page_size(PAGE_BYTES)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .statement_cache_capacity(STATEMENTS)
            .pragma("cache_size", format!("-{CACHE_KIB}"))
            .pragma("journal_size_limit", WAL_BYTES.to_string())
            .pragma("max_page_count", max_pages.to_string())
            .pragma("temp_store", "MEMORY")
            .pragma("trusted_schema", "OFF");

        let mut first = SqliteConnection::connect_with(&options).await.map_err(failed("open the store"))?;
        // A file that is sound in itself may still hold pages that are not: better known at start than at night.
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut first)
            .await
            .map_err(failed("check the store"))?;
        if found != "ok" {
            return Err(StoreError::Damaged { path: path.to_owned(), detail: found });
        }
        migrate(path, &mut first).await?;
        sqlx::query(
            "UPDATE sequence SET in_force = (SELECT count(*) FROM decisions WHERE ended_seq IS NULL)
             WHERE in_force <> (SELECT count(*) FROM decisions WHERE ended_seq IS NULL)",
        )
        .execute(&mut first)
        .await
        .map_err(failed("count decisions"))?;
        first.close().await.map_err(failed("open the store"))?;

        let one =
            || SqlitePoolOptions::new().max_connections(1).min_connections(1).test_before_acquire(false);
        Ok(Self {
            path: path.to_owned(),
            durable: one().connect_with(options.clone()).await.map_err(failed("open the store"))?,
            relaxed: one()
                .connect_with(options.synchronous(SqliteSynchronous::Normal))
                .await
                .map_err(failed("open the store"))?,
            limits,
        })
    }
}

/// Brings the schema up to date.
async fn migrate(path: &Path, connection: &mut SqliteConnection) -> Result<()> {
    use sqlx::migrate::MigrateError;
    MIGRATIONS.run(connection).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known: MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0),
        },
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            StoreError::from_sqlx(path, "bring the schema up to date", error)
        }
        other => StoreError::from_sqlx(path, "bring the schema up to date", other.into()),
    })
}

/// Makes the folder and the file with their modes, durably: SQLite syncs what is in a file, not that it is there.
fn make(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        // The umask may have taken bits, never given any.
        fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?;
    }
    if !path.exists() {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE))?;
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Renames the file, its WAL and its index to the first free `.damaged-N`.
fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut number = 1_u32;
    let target = loop {
        let target = with(&format!(".damaged-{number}"));
        if !target.exists() {
            break target;
        }
        number += 1;
    };
    fs::rename(path, &target)?;
    for suffix in ["-wal", "-shm"] {
        match fs::rename(with(suffix), with(&format!(".damaged-{number}{suffix}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(target)
}
