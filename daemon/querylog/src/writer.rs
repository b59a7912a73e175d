//! The thread that writes: what waits, in groups, and what is to be kept of it.

use model::QueryTotals;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use std::{collections::HashMap, path::Path};

use crate::{
    LogError, Result, Settings, Shared,
    dictionary::{Dictionary, NONE},
    kind::Kind,
    open,
    retention::Kept,
    waiting::{LOOK, Row, Work},
};

/// Rows of one transaction: bounds how far the file grows before its size is looked at.
const GROUP: usize = 2_048;
/// Microseconds of an hour.
pub(crate) const HOUR: i64 = 3_600_000_000;
/// Questions may come so much out of order, in microseconds, and still stand one after the other.
const DISORDER: i64 = 1_000_000;
/// How often a free id is looked for, each time twice as far off up to a millisecond.
const TRIES: u32 = 64;

/// Writes until the log is closed.
pub(crate) fn run(shared: &Shared) {
    // The log may wait; answers may not.
    let _ = rustix::process::setpriority_process(None, 10);
    let mut open: Option<Open> = None;
    loop {
        let work = shared.waiting.next(LOOK);
        let (waited, mut written) = (work.batch.len() as u64, 0);
        let result = carry_out(shared, &mut open, &work, &mut written);
        {
            let mut status = shared.status();
            status.on = open.is_some();
            status.bytes = open::size(&shared.path);
            status.written += written;
            status.lost += waited.saturating_sub(written);
            status.folded += open.as_mut().map_or(0, |open| std::mem::take(&mut open.dictionary.folded));
            status.trouble = result.as_ref().err().map(ToString::to_string);
        }
        if matches!(result, Err(LogError::Damaged { .. })) {
            begin_anew(shared, &mut open);
        }
        shared.waiting.done(work.asked);
        if work.closed {
            return;
        }
    }
}

/// Writes what waits, and looks at what is to be kept. `written` counts the questions, also when something fails.
fn carry_out(shared: &Shared, open: &mut Option<Open>, work: &Work, written: &mut u64) -> Result<()> {
    let settings = &work.settings;
    if settings.days == 0 {
        *open = None;
        return open::remove(&shared.path);
    }
    // Unless it was set aside since: then the one that is in its place is another.
    if work.damaged.is_some() && work.damaged == open::identity(&shared.path) {
        begin_anew(shared, open);
    }
    if open.as_ref().is_some_and(|open| open.settings != *settings) {
        *open = None;
    }
    let opened = match open {
        Some(opened) => opened,
        None => open.insert(Open::new(&shared.path, settings)?),
    };
    let now = (shared.clock)();
    let room = has_room(&shared.path, settings);
    let mut rows = work.batch.rows().peekable();
    while room.is_ok() && rows.peek().is_some() {
        let group: Vec<Row<'_>> = rows.by_ref().take(GROUP).collect();
        opened.write(&group).map_err(|error| opened.failed(error))?;
        *written += group.len() as u64;
        let Open { connection, dictionary, kept, .. } = opened;
        kept.make_room(connection, dictionary).map_err(|error| opened.failed(error))?;
    }
    let Open { connection, dictionary, kept, .. } = opened;
    kept.look(connection, dictionary, now).map_err(|error| opened.failed(error))?;
    room
}

/// Sets a damaged file aside; the next one is begun when there is something to write.
fn begin_anew(shared: &Shared, open: &mut Option<Open>) {
    *open = None;
    match open::set_aside(&shared.path) {
        Ok(aside) => {
            shared.status().set_aside = Some(format!(
                "the log of questions was damaged: it is kept as {}, a new one begins",
                aside.display()
            ));
        }
        Err(error) => shared.status().trouble = Some(error.to_string()),
    }
}

/// There is more room on the disk than what is kept free.
fn has_room(path: &Path, settings: &Settings) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Where it cannot be told, writing says it.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    if disk.f_bavail.saturating_mul(disk.f_frsize) < settings.min_free {
        return Err(LogError::Reserved { path: path.to_owned(), least: settings.min_free });
    }
    Ok(())
}

/// The open file.
struct Open {
    path: std::path::PathBuf,
    settings: Settings,
    connection: Connection,
    dictionary: Dictionary,
    kept: Kept,
    /// The id of the last row.
    last: i64,
}

impl Open {
    fn new(path: &Path, settings: &Settings) -> Result<Self> {
        let connection = open::writer(path, settings.bytes)?;
        let failed = |error| LogError::of(path, error);
        let mut dictionary = Dictionary::default();
        dictionary.forget(&connection).map_err(failed)?;
        let last = connection
            .query_row("SELECT max(id) FROM queries", [], |row| row.get::<_, Option<i64>>(0))
            .map_err(failed)?;
        let kept = Kept::new(&connection, settings).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            settings: *settings,
            connection,
            dictionary,
            kept,
            last: last.unwrap_or(i64::MIN),
        })
    }

    /// Says what went wrong; what was remembered of a transaction that is undone is forgotten.
    fn failed(&mut self, error: rusqlite::Error) -> LogError {
        let _ = self.dictionary.forget(&self.connection);
        LogError::of(&self.path, error)
    }

    /// Writes some rows and their sums, all or none.
    fn write(&mut self, rows: &[Row<'_>]) -> rusqlite::Result<()> {
        let (settings, mut last) = (self.settings, self.last);
        let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate)?;
        let mut sums: HashMap<(i64, u32), QueryTotals> = HashMap::new();
        let mut insert = transaction.prepare_cached(
            "INSERT INTO queries (id, client, name, kind, qtype, micros, upstream, list, number, alias)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        for row in rows {
            // There are no questions from before 1970, but clocks that say so.
            let at = row.at.max(0);
            let dictionary = &mut self.dictionary;
            let client =
                dictionary.client(&transaction, (row.client, row.client_name, row.zone), &settings)?;
            let name = match row.name {
                Some("") => dictionary.name(&transaction, ".", at, &settings)?,
                Some(name) => dictionary.name(&transaction, name, at, &settings)?,
                None => NONE,
            };
            let alias = match row.alias {
                "" => NONE,
                alias => dictionary.name(&transaction, alias, at, &settings)?,
            };
            let upstream = dictionary.word(&transaction, row.upstream)?;
            let list = dictionary.word(&transaction, row.list)?;
            let mut id = if (at..=at.saturating_add(DISORDER)).contains(&last) { last + 1 } else { at };
            for attempt in 0.. {
                let inserted = insert.execute(params![
                    id,
                    client,
                    name,
                    row.kind,
                    row.qtype,
                    row.micros,
                    upstream,
                    list,
                    row.number.cast_signed(),
                    alias
                ]);
                match inserted {
                    Ok(_) => break,
                    // The clock went back, and there is a row already.
                    Err(error)
                        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
                            && attempt < TRIES =>
                    {
                        id += 1 << attempt.min(10);
                    }
                    Err(error) => return Err(error),
                }
            }
            last = id;
            sums.entry((id.div_euclid(HOUR), client)).or_default().count(Kind::from(row.kind));
        }
        drop(insert);
        for ((hour, client), totals) in sums {
            transaction
                .prepare_cached(
                    "INSERT INTO hours (hour, client, total, blocked, cached, forwarded)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (hour, client) DO UPDATE SET total = total + ?3, blocked = blocked + ?4,
                         cached = cached + ?5, forwarded = forwarded + ?6",
                )?
                .execute(params![
                    hour,
                    client,
                    totals.total.cast_signed(),
                    totals.blocked.cast_signed(),
                    totals.cached.cast_signed(),
                    totals.forwarded.cast_signed()
                ])?;
        }
        transaction.commit()?;
        self.last = last;
        Ok(())
    }
}
