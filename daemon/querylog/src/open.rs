//! The file: made if it is missing, brought up to date if it is old, left alone if it is newer, set aside if it is
//! damaged.

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{LogError, Result};

/// What brings the schema from each version to the next, as SQLite's `user_version` counts them.
const MIGRATIONS: [&str; 1] = [include_str!("../migrations/0001_queries_hours_days.sql")];

/// Mode of the folder if it is made here, and of the file; SQLite gives the latter to `-wal` and `-shm`.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// Bytes of a page.
pub(crate) const PAGE_BYTES: u64 = 4_096;
/// Memory of the page cache of a connection, in KiB.
const CACHE_KIB: u32 = 256;
/// How long a connection waits for another.
const BUSY: Duration = Duration::from_secs(2);
/// Prepared statements that the writer keeps; there are fewer than this in the crate.
const STATEMENTS: usize = 32;
/// Least and most bytes that the write-ahead log grows to before it is folded in.
const WAL_BYTES: (u64, u64) = (64 << 10, 4 << 20);

/// Bytes of the write-ahead log in a file of `bytes`.
pub(crate) fn wal_bytes(bytes: u64) -> u64 {
    (bytes / 16).clamp(WAL_BYTES.0, WAL_BYTES.1)
}

/// Opens the file to write.
pub(crate) fn writer(path: &Path, bytes: u64) -> Result<Connection> {
    make(path).map_err(|source| LogError::File { path: path.to_owned(), source })?;
    let failed = |error| LogError::of(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    set(&connection, "page_size", i64::try_from(PAGE_BYTES).unwrap_or_default()).map_err(failed)?;
    // Holds for a file that has no table yet.
    set(&connection, "auto_vacuum", 2).map_err(failed)?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).map_err(failed)?;
    common(&connection).map_err(failed)?;
    // After a power cut the last seconds may be missing: that is not worth waiting for the disk at each write.
    set(&connection, "synchronous", 1).map_err(failed)?;
    let wal = i64::try_from(wal_bytes(bytes)).unwrap_or_default();
    set(&connection, "wal_autocheckpoint", wal / i64::try_from(PAGE_BYTES).unwrap_or(1)).map_err(failed)?;
    set(&connection, "journal_size_limit", wal).map_err(failed)?;
    migrate(path, &mut connection)?;
    Ok(connection)
}

/// Opens the file to read.
pub(crate) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| LogError::of(path, error);
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    common(&connection).map_err(failed)?;
    let (found, known) = schema(&connection).map_err(failed)?;
    if found != known {
        return Err(LogError::Newer { path: path.to_owned(), found, known });
    }
    Ok(connection)
}

/// The schema of the file, and the newest that is known here.
fn schema(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((found, i64::try_from(MIGRATIONS.len()).unwrap_or_default()))
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    set(connection, "cache_size", -i64::from(CACHE_KIB))?;
    set(connection, "temp_store", 2)?;
    set(connection, "trusted_schema", 0)
}

fn set(connection: &Connection, pragma: &str, value: i64) -> rusqlite::Result<()> {
    connection.pragma_update(None, pragma, value)
}

fn migrate(path: &Path, connection: &mut Connection) -> Result<()> {
    let failed = |error| LogError::of(path, error);
    let (found, known) = schema(connection).map_err(failed)?;
    let Some(missing) = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..)) else {
        return Err(LogError::Newer { path: path.to_owned(), found, known });
    };
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate).map_err(failed)?;
    for migration in missing {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    set(&transaction, "user_version", known).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
    {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The file and what SQLite keeps beside it.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Which file this is now, if there is one: its number on the disk.
pub(crate) fn identity(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Bytes of the file and its write-ahead log.
pub(crate) fn size(path: &Path) -> u64 {
    let length = |file: &PathBuf| fs::metadata(file).map_or(0, |metadata| metadata.len());
    files(path)[..2].iter().map(length).sum()
}

/// Renames a damaged file. One is kept, so that they do not fill the disk: it takes the place of a former one.
pub(crate) fn set_aside(path: &Path) -> Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    let failed = |source| LogError::File { path: path.to_owned(), source };
    for (from, to) in files(path).iter().zip(files(&aside)) {
        match fs::rename(from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::remove_file(&to).or_else(missing).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(aside)
}

/// Removes the file, and a damaged one that was set aside.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    for file in files(path).into_iter().chain(files(Path::new(&aside))) {
        fs::remove_file(&file)
            .or_else(missing)
            .map_err(|source| LogError::File { path: file.clone(), source })?;
    }
    Ok(())
}

fn missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
