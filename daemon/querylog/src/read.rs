//! What readers share: a connection with a deadline, and numbers made texts again.

use model::QueryClient;
use rusqlite::{Connection, OptionalExtension, Row};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    LogError, Result,
    dictionary::{NONE, address_of},
    open,
    pattern::Pattern,
};

/// Rows between two looks at the deadline.
const LOOK_EVERY: usize = 4_096;

/// A connection that sees the log as it was when it was first read.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    path: PathBuf,
    deadline: Instant,
}

/// Numbers.
#[derive(Debug, Default)]
pub(crate) struct Ids(Vec<u64>);

impl Ids {
    pub(crate) fn insert(&mut self, id: u32) {
        let word = (id / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (id % 64);
        }
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.0.get((id / 64) as usize).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }
}

/// Whether a walk over rows goes on.
pub(crate) enum Walk {
    On,
    End,
}

impl Reader {
    pub(crate) fn open(path: &Path, by: Duration) -> Result<Self> {
        let connection = open::reader(path)?;
        connection.execute_batch("BEGIN").map_err(|error| LogError::of(path, error))?;
        Ok(Self { connection, path: path.to_owned(), deadline: Instant::now() + by })
    }

    /// Turns what SQLite says into an error of the log.
    pub(crate) fn failed(&self) -> impl Fn(rusqlite::Error) -> LogError + '_ {
        |error| LogError::of(&self.path, error)
    }

    /// Hands each row on until `each` ends it; false if the deadline did.
    pub(crate) fn walk(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<Walk>,
    ) -> Result<bool> {
        let mut statement = self.connection.prepare(sql).map_err(self.failed())?;
        let mut rows = statement.query(parameters).map_err(self.failed())?;
        let mut seen = 0;
        while let Some(row) = rows.next().map_err(self.failed())? {
            seen += 1;
            if seen % LOOK_EVERY == 0 && Instant::now() >= self.deadline {
                return Ok(false);
            }
            if matches!(each(row).map_err(self.failed())?, Walk::End) {
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// The same, to the end.
    pub(crate) fn walk_all(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<()> {
        if self.walk(sql, parameters, |row| each(row).map(|()| Walk::On))? {
            Ok(())
        } else {
            Err(LogError::TooLong)
        }
    }

    /// Names that a pattern means.
    pub(crate) fn names_like(&self, pattern: &str) -> Result<Ids> {
        let (pattern, mut ids) = (Pattern::new(pattern)?, Ids::default());
        self.walk_all("SELECT id, name FROM names WHERE name IS NOT NULL", [], |row| {
            if row.get_ref(1)?.as_str().is_ok_and(|name| pattern.name(name)) {
                ids.insert(row.get(0)?);
            }
            Ok(())
        })?;
        Ok(ids)
    }

    /// Clients that a pattern means.
    pub(crate) fn clients_like(&self, pattern: &str) -> Result<Ids> {
        let (pattern, mut ids) = (Pattern::new(pattern)?, Ids::default());
        self.walk_all("SELECT id, address, name FROM clients", [], |row| {
            let address = address_of(row.get_ref(1)?.as_blob().unwrap_or_default());
            if row.get_ref(2)?.as_str().is_ok_and(|name| pattern.client(name, address)) {
                ids.insert(row.get(0)?);
            }
            Ok(())
        })?;
        Ok(ids)
    }

    /// The text of a name; none if it is hidden.
    pub(crate) fn name(&self, id: u32) -> Result<Option<String>> {
        self.text("SELECT name FROM names WHERE id = ?1", id)
    }

    /// An upstream or a list.
    pub(crate) fn word(&self, id: u32) -> Result<Option<String>> {
        self.text("SELECT word FROM words WHERE id = ?1", id)
    }

    fn text(&self, sql: &str, id: u32) -> Result<Option<String>> {
        if id == NONE {
            return Ok(None);
        }
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_row([id], |row| row.get::<_, Option<String>>(0)).optional()
        };
        Ok(read().map_err(self.failed())?.flatten())
    }

    /// A client.
    pub(crate) fn client(&self, id: u32) -> Result<QueryClient> {
        let read = || {
            let mut statement =
                self.connection.prepare_cached("SELECT address, name, zone FROM clients WHERE id = ?1")?;
            let client = |row: &Row<'_>| {
                let name: String = row.get(1)?;
                Ok(QueryClient {
                    address: address_of(row.get_ref(0)?.as_blob().unwrap_or_default()),
                    name: (!name.is_empty()).then_some(name),
                    zone: row.get(2)?,
                })
            };
            statement.query_row([id], client).optional()
        };
        Ok(read().map_err(self.failed())?.unwrap_or_default())
    }

    /// The number of an upstream or a list that is in the log.
    pub(crate) fn word_id(&self, word: &str) -> Result<Option<u32>> {
        let read = || {
            let mut statement = self.connection.prepare_cached("SELECT id FROM words WHERE word = ?1")?;
            statement.query_row([word], |row| row.get(0)).optional()
        };
        read().map_err(self.failed())
    }
}
