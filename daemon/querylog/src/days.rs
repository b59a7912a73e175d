//! The names that led each day, kept when the day is over and for longer than its questions.

use model::{AnswerFrom, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::BTreeSet;

use crate::{DAY_NAMES, dictionary::NONE, kind::Kind, retention::DAY};

/// Days that are looked at in one go.
const MOST_DAYS: i64 = 32;

/// How often each name was asked and blocked, by its number.
#[derive(Debug, Default)]
pub(crate) struct NameCounts {
    counts: Vec<[u32; 2]>,
}

impl NameCounts {
    /// Counts questions for a name. What is hidden is not counted.
    pub(crate) fn add(&mut self, name: u32, total: u32, blocked: u32) {
        if name == NONE {
            return;
        }
        let place = name as usize;
        if place >= self.counts.len() {
            self.counts.resize((place + 1).next_multiple_of(1_024), [0; 2]);
        }
        if let Some([of_total, of_blocked]) = self.counts.get_mut(place) {
            *of_total = of_total.saturating_add(total);
            *of_blocked = of_blocked.saturating_add(blocked);
        }
    }

    /// Counts one question.
    pub(crate) fn count(&mut self, name: u32, from: AnswerFrom) {
        self.add(name, 1, u32::from(from == AnswerFrom::Sinkhole));
    }

    /// Different names.
    pub(crate) fn different(&self) -> u64 {
        self.counts.iter().filter(|[total, _]| *total > 0).count() as u64
    }

    /// Total and blocked questions of a name.
    pub(crate) fn of(&self, name: u32) -> [u32; 2] {
        self.counts.get(name as usize).copied().unwrap_or_default()
    }

    /// The names with the most of what `value` says, the most first; of equals those with the lower number.
    pub(crate) fn top(&self, most: usize, value: impl Fn([u32; 2]) -> u32) -> Vec<u32> {
        let mut top: BTreeSet<(std::cmp::Reverse<u32>, u32)> = BTreeSet::new();
        for (name, counts) in (0_u32..).zip(&self.counts) {
            let value = value(*counts);
            if value == 0 || top.len() >= most && top.last().is_some_and(|(least, _)| least.0 >= value) {
                continue;
            }
            top.insert((std::cmp::Reverse(value), name));
            if top.len() > most {
                top.pop_last();
            }
        }
        top.into_iter().map(|(_, name)| name).collect()
    }
}

/// Keeps the names of days that are over and come after `done`; says up to which day they are kept then.
pub(crate) fn keep(
    connection: &mut Connection,
    done: Option<i64>,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let today = now.0.div_euclid(DAY);
    let first: Option<i64> = connection.query_row("SELECT min(id) FROM queries", [], |row| row.get(0))?;
    let Some(first) = first.map(|id| id.div_euclid(DAY)) else { return Ok(done) };
    let first = done.map_or(first, |done| first.max(done.saturating_add(1)));
    if first >= today {
        return Ok(done);
    }
    let end = today.min(first.saturating_add(MOST_DAYS));
    for day in first..end {
        keep_day(connection, day)?;
    }
    Ok(Some(end - 1))
}

fn keep_day(connection: &mut Connection, day: i64) -> rusqlite::Result<()> {
    let mut counts = NameCounts::default();
    {
        let mut statement =
            connection.prepare_cached("SELECT name, kind FROM queries WHERE id >= ?1 AND id < ?2")?;
        let mut rows = statement.query([day * DAY, (day + 1) * DAY])?;
        while let Some(row) = rows.next()? {
            counts.count(row.get(0)?, Kind::from(row.get(1)?));
        }
    }
    let names: BTreeSet<u32> = counts
        .top(DAY_NAMES, |[total, _]| total)
        .into_iter()
        .chain(counts.top(DAY_NAMES, |[_, blocked]| blocked))
        .collect();
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for name in names {
        let [total, blocked] = counts.of(name);
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO days (day, name, total, blocked) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![day, name, total, blocked])?;
    }
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_come_first_and_equals_by_number() {
        let mut counts = NameCounts::default();
        for (name, total, blocked) in [(5, 3, 0), (0, 9, 9), (2, 7, 7), (9, 3, 1), (4_000, 1, 1)] {
            counts.add(name, total, blocked);
        }
        assert_eq!(counts.different(), 4);
        assert_eq!(counts.top(3, |[total, _]| total), [2, 5, 9]);
        assert_eq!(counts.top(9, |[_, blocked]| blocked), [2, 9, 4_000]);
        assert_eq!(counts.top(9, |[total, blocked]| total - blocked), [5, 9]);
        assert!(counts.top(0, |[total, _]| total).is_empty());
    }
}
