//! What is kept: by time, by size, and of the texts that rows refer to.

use model::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::{
    KEEP_SUMS_DAYS, MAX_DAY_NAMES, Settings, days,
    dictionary::{ANY_NAME, Dictionary},
    open::{PAGE_BYTES, wal_bytes},
    read::Ids,
    writer::HOUR,
};

/// Rows that are removed in one transaction, for want of room and for their age.
const ROOM_STEP: i64 = 1_024;
const AGE_STEP: i64 = 8_192;
/// Transactions of one look; the rest is removed at the next ones.
const MOST_STEPS: usize = 128;
/// Least rows that are removed before it is looked which texts nothing refers to any more, and their share of all:
/// looking reads every row.
const SWEEP_ROWS: u64 = 2_048;
const SWEEP_SHARE: u64 = 8;
/// Bytes of a row, of a sum, and of a name of a day with its text, about: to judge how much there is.
const ROW_BYTES: u64 = 32;
const SUM_BYTES: u64 = 24;
const DAY_NAME_BYTES: u64 = 96;
/// Share of the room that sums of hours and names of days may take each.
const SUMS_SHARE: u64 = 4;
/// Pages that are given back to the disk at a look.
const VACUUM_PAGES: i64 = 1_024;
/// Texts that are removed in one transaction.
const SWEEP_STEP: usize = 4_096;

pub(crate) const DAY: i64 = 24 * HOUR;
/// The key of [`Kept::since`].
const KEPT_SINCE: &str = "kept_since";

/// What is kept now.
pub(crate) struct Kept {
    settings: Settings,
    /// Rows from here on are all there.
    since: i64,
    /// Rows removed since texts were looked at.
    removed: u64,
    /// The hour of the last look at texts and sums.
    swept: i64,
    /// Days whose names are kept, up to this one.
    days: Option<i64>,
}

/// From when on rows are all there.
pub(crate) fn kept_since(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare("SELECT value FROM state WHERE key = ?1")?;
    let mut rows = statement.query([KEPT_SINCE])?;
    rows.next()?.map_or(Ok(i64::MIN), |row| row.get(0))
}

impl Kept {
    pub(crate) fn new(connection: &Connection, settings: &Settings) -> rusqlite::Result<Self> {
        let days = connection.query_row("SELECT max(day) FROM days", [], |row| row.get(0))?;
        Ok(Self { settings: *settings, since: kept_since(connection)?, removed: 0, swept: i64::MIN, days })
    }

    /// Bytes that pages in use may take.
    fn room(&self) -> u64 {
        self.settings.bytes.saturating_sub(wal_bytes(self.settings.bytes))
    }

    /// Removes the oldest rows until the rest has room, then the oldest sums.
    pub(crate) fn make_room(
        &mut self,
        connection: &mut Connection,
        dictionary: &mut Dictionary,
    ) -> rusqlite::Result<()> {
        for _ in 0..MOST_STEPS {
            let used = used_bytes(connection)?;
            if used <= self.room() {
                return Ok(());
            }
            let removed = self.remove(connection, ROOM_STEP, i64::MAX)?;
            if self.removed >= SWEEP_ROWS.max(used / ROW_BYTES / SWEEP_SHARE)
                || removed == 0 && self.removed > 0
            {
                self.sweep(connection, dictionary)?;
            } else if removed == 0 && !shorten(connection)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Removes what is too old, keeps the names of days that are over, and now and then looks at everything else.
    pub(crate) fn look(
        &mut self,
        connection: &mut Connection,
        dictionary: &mut Dictionary,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        // Before the rows of a day go.
        self.days = days::keep(connection, self.days, now)?;
        let oldest = now.0.saturating_sub(i64::from(self.settings.days).saturating_mul(DAY));
        for _ in 0..MOST_STEPS {
            if self.remove(connection, AGE_STEP, oldest)? == 0 {
                break;
            }
        }
        self.make_room(connection, dictionary)?;
        let hour = now.0.div_euclid(HOUR);
        let full = dictionary.names_full(&self.settings) || dictionary.clients_full(&self.settings);
        let every = if full { 1 } else { 24 };
        if self.swept > hour || hour.saturating_sub(self.swept) >= every {
            self.bound_sums(connection, hour)?;
            if dictionary.clients_full(&self.settings) {
                merge_clients(connection, hour)?;
                self.removed += 1;
            }
            if self.removed > 0 {
                self.sweep(connection, dictionary)?;
            }
            self.swept = hour;
        }
        self.shrink(connection)
    }

    /// Removes up to `step` rows, the oldest, that are older than `before`.
    fn remove(&mut self, connection: &mut Connection, step: i64, before: i64) -> rusqlite::Result<u64> {
        let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
        let last: Option<i64> = transaction
            .prepare_cached(
                "SELECT max(id) FROM (SELECT id FROM queries WHERE id < ?1 ORDER BY id LIMIT ?2)",
            )?
            .query_row([before, step], |row| row.get(0))?;
        let Some(last) = last else { return Ok(0) };
        let removed = transaction.prepare_cached("DELETE FROM queries WHERE id <= ?1")?.execute([last])?;
        let since = self.since.max(last.saturating_add(1));
        transaction
            .prepare_cached(
                "INSERT INTO state (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            )?
            .execute(params![KEPT_SINCE, since])?;
        transaction.commit()?;
        self.since = since;
        self.removed += removed as u64;
        Ok(removed as u64)
    }

    /// Holds sums to their time and their share of the room.
    fn bound_sums(&self, connection: &Connection, hour: i64) -> rusqlite::Result<()> {
        let oldest = hour - i64::from(KEEP_SUMS_DAYS) * 24;
        connection.execute("DELETE FROM hours WHERE hour < ?1", [oldest])?;
        connection.execute("DELETE FROM days WHERE day < ?1", [oldest / 24])?;
        let share = self.room() / SUMS_SHARE;
        let hours = share / SUM_BYTES;
        let days = (share / DAY_NAME_BYTES).min(MAX_DAY_NAMES);
        for (newest, sql) in [
            (
                hours,
                "DELETE FROM hours WHERE hour <= (SELECT hour FROM hours ORDER BY hour DESC LIMIT 1 OFFSET ?1)",
            ),
            (
                days,
                "DELETE FROM days WHERE day <= (SELECT day FROM days ORDER BY day DESC LIMIT 1 OFFSET ?1)",
            ),
        ] {
            connection.execute(sql, [newest.cast_signed()])?;
        }
        Ok(())
    }

    /// Removes texts that nothing refers to.
    fn sweep(&mut self, connection: &mut Connection, dictionary: &mut Dictionary) -> rusqlite::Result<()> {
        let (mut names, mut clients, mut words) = (Ids::default(), Ids::default(), Ids::default());
        names.insert(ANY_NAME);
        let mark = |sql: &str, sets: &mut [&mut Ids]| -> rusqlite::Result<()> {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for (column, set) in sets.iter_mut().enumerate() {
                    set.insert(row.get(column)?);
                }
            }
            Ok(())
        };
        let mut aliases = Ids::default();
        let mut lists = Ids::default();
        mark(
            "SELECT name, client, upstream, list, alias FROM queries",
            &mut [&mut names, &mut clients, &mut words, &mut lists, &mut aliases],
        )?;
        mark("SELECT name FROM days", &mut [&mut names])?;
        mark("SELECT client FROM hours", &mut [&mut clients])?;
        for (all, remove, live) in [
            (
                "SELECT id FROM names WHERE name IS NOT NULL",
                "UPDATE names SET name = NULL WHERE id = ?1",
                &[&names, &aliases][..],
            ),
            ("SELECT id FROM clients", "DELETE FROM clients WHERE id = ?1", &[&clients]),
            ("SELECT id FROM words", "DELETE FROM words WHERE id = ?1", &[&words, &lists]),
        ] {
            let dead: Vec<u32> = connection
                .prepare(all)?
                .query_map([], |row| row.get(0))?
                .filter(|id| !id.as_ref().is_ok_and(|id| live.iter().any(|live| live.contains(*id))))
                .collect::<rusqlite::Result<_>>()?;
            for dead in dead.chunks(SWEEP_STEP) {
                let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
                for id in dead {
                    transaction.prepare_cached(remove)?.execute([id])?;
                }
                transaction.commit()?;
            }
        }
        self.removed = 0;
        dictionary.forget(connection)
    }

    /// Gives pages back to the disk where the file is larger than it may be: the size was made less.
    fn shrink(&self, connection: &Connection) -> rusqlite::Result<()> {
        if pragma(connection, "page_count")? * PAGE_BYTES > self.room()
            && pragma(connection, "freelist_count")? > 0
        {
            let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }
}

/// Removes the oldest eighth of the sums; whether there was any.
fn shorten(connection: &Connection) -> rusqlite::Result<bool> {
    let mut removed = 0;
    for sql in [
        "DELETE FROM hours WHERE hour <=
             (SELECT hour FROM hours ORDER BY hour LIMIT 1 OFFSET (SELECT count(*) / 8 FROM hours))",
        "DELETE FROM days WHERE day <=
             (SELECT day FROM days ORDER BY day LIMIT 1 OFFSET (SELECT count(*) / 8 FROM days))",
    ] {
        removed += connection.execute(sql, [])?;
    }
    Ok(removed > 0)
}

/// Makes sums of all clients of the older half of the time that has sums by client, this hour left alone.
fn merge_clients(connection: &mut Connection, hour: i64) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    let oldest: Option<i64> =
        transaction.query_row("SELECT min(hour) FROM hours WHERE client <> 0", [], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(()) };
    let until = oldest.midpoint(hour).max(oldest + 1).min(hour);
    transaction.execute(
        "INSERT INTO hours (hour, client, total, blocked, cached, forwarded)
         SELECT hour, 0, sum(total), sum(blocked), sum(cached), sum(forwarded) FROM hours
         WHERE hour < ?1 AND client <> 0 GROUP BY hour
         ON CONFLICT (hour, client) DO UPDATE SET total = total + excluded.total,
             blocked = blocked + excluded.blocked, cached = cached + excluded.cached,
             forwarded = forwarded + excluded.forwarded",
        [until],
    )?;
    transaction.execute("DELETE FROM hours WHERE hour < ?1 AND client <> 0", [until])?;
    transaction.commit()
}

fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")?.saturating_sub(pragma(connection, "freelist_count")?);
    Ok(pages * PAGE_BYTES)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let value: i64 = connection.pragma_query_value(None, name, |row| row.get(0))?;
    Ok(value.cast_unsigned())
}
