//! Names, clients, upstreams and lists as numbers: each text stands in the file once.

use rusqlite::{Connection, OptionalExtension, params};
use std::{borrow::Borrow, collections::HashMap, hash::Hash, net::IpAddr};

use crate::{MAX_FOLDED_NAMES, MAX_WORDS, Settings};

/// Texts whose numbers are remembered, of each kind: so many of late, and so many of before.
const REMEMBERED: usize = 2_048;

/// The number of what is hidden, left out, or one too many.
pub(crate) const NONE: u32 = 0;
/// The number of the name `*`.
pub(crate) const ANY_NAME: u32 = 1;

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Numbers of texts. What it remembers is true as long as its transactions are committed: see [`Dictionary::forget`].
#[derive(Default)]
pub(crate) struct Dictionary {
    names: Remembered<Box<str>>,
    clients: Remembered<Box<[u8]>>,
    words: Remembered<Box<str>>,
    /// The bytes of a client that is looked for.
    key: Vec<u8>,
    /// Names in the file, and places of it that have none.
    count: u64,
    free: u64,
    clients_count: u64,
    words_count: u64,
    /// The day of the last new name, and how many it had.
    day: (i64, u64),
    /// Questions whose name was shortened.
    pub(crate) folded: u64,
}

impl Dictionary {
    /// Counts what is in the file, and remembers nothing.
    pub(crate) fn forget(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
        *self = Self {
            count: count("SELECT count(name) FROM names")?,
            free: count("SELECT count(*) FROM names WHERE name IS NULL")?,
            clients_count: count("SELECT count(*) FROM clients")?,
            words_count: count("SELECT count(*) FROM words")?,
            day: self.day,
            folded: self.folded,
            ..Self::default()
        };
        Ok(())
    }

    /// Whether one more name would be one too many.
    pub(crate) const fn names_full(&self, settings: &Settings) -> bool {
        self.count >= settings.max_names
    }

    /// Whether one more client would be one too many.
    pub(crate) const fn clients_full(&self, settings: &Settings) -> bool {
        self.clients_count >= settings.max_clients
    }

    /// The number of a name that was asked at `at`.
    pub(crate) fn name(
        &mut self,
        connection: &Connection,
        name: &str,
        at: i64,
        settings: &Settings,
    ) -> rusqlite::Result<u32> {
        if let Some(number) = self.known_name(connection, name)? {
            return Ok(number);
        }
        let day = at.div_euclid(MICROS_OF_DAY);
        if self.day.0 != day {
            self.day = (day, 0);
        }
        if self.day.1 < settings.max_new_names && !self.names_full(settings) {
            self.day.1 += 1;
            return self.new_name(connection, name);
        }
        self.folded += 1;
        let folded = folded(name);
        if let Some(number) = self.known_name(connection, &folded)? {
            return Ok(number);
        }
        if self.count < settings.max_names.saturating_add(MAX_FOLDED_NAMES) {
            return self.new_name(connection, &folded);
        }
        Ok(ANY_NAME)
    }

    fn known_name(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<Option<u32>> {
        if let Some(number) = self.names.get(name) {
            return Ok(Some(number));
        }
        let number = connection
            .prepare_cached("SELECT id FROM names WHERE name = ?1")?
            .query_row([name], |row| row.get(0))
            .optional()?;
        if let Some(number) = number {
            self.names.insert(name.into(), number);
        }
        Ok(number)
    }

    fn new_name(&mut self, connection: &Connection, name: &str) -> rusqlite::Result<u32> {
        let number = if self.free > 0 {
            let number: u32 = connection
                .prepare_cached("SELECT id FROM names WHERE name IS NULL LIMIT 1")?
                .query_row([], |row| row.get(0))?;
            connection
                .prepare_cached("UPDATE names SET name = ?2 WHERE id = ?1")?
                .execute(params![number, name])?;
            self.free -= 1;
            number
        } else {
            connection.prepare_cached("INSERT INTO names (name) VALUES (?1)")?.execute([name])?;
            number_of(connection)
        };
        self.count += 1;
        self.names.insert(name.into(), number);
        Ok(number)
    }

    /// The number of a client.
    pub(crate) fn client(
        &mut self,
        connection: &Connection,
        (address, name, zone): (Option<IpAddr>, &str, &str),
        settings: &Settings,
    ) -> rusqlite::Result<u32> {
        self.key.clear();
        match address {
            None => self.key.push(0),
            Some(IpAddr::V4(address)) => {
                self.key.push(4);
                self.key.extend(address.octets());
            }
            Some(IpAddr::V6(address)) => {
                self.key.push(16);
                self.key.extend(address.octets());
            }
        }
        for text in [name, "\0", zone] {
            self.key.extend(text.as_bytes());
        }
        if let Some(number) = self.clients.get(self.key.as_slice()) {
            return Ok(number);
        }
        let bytes = address_bytes(address);
        let known = connection
            .prepare_cached("SELECT id FROM clients WHERE address = ?1 AND name = ?2 AND zone = ?3")?
            .query_row(params![bytes, name, zone], |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(number) => number,
            None if self.clients_full(settings) => return Ok(NONE),
            None => {
                connection
                    .prepare_cached("INSERT INTO clients (address, name, zone) VALUES (?1, ?2, ?3)")?
                    .execute(params![bytes, name, zone])?;
                self.clients_count += 1;
                number_of(connection)
            }
        };
        self.clients.insert(self.key.as_slice().into(), number);
        Ok(number)
    }

    /// The number of an upstream or a list; [`NONE`] for the empty word.
    pub(crate) fn word(&mut self, connection: &Connection, word: &str) -> rusqlite::Result<u32> {
        if word.is_empty() {
            return Ok(NONE);
        }
        if let Some(number) = self.words.get(word) {
            return Ok(number);
        }
        let known = connection
            .prepare_cached("SELECT id FROM words WHERE word = ?1")?
            .query_row([word], |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(number) => number,
            None if self.words_count >= MAX_WORDS => return Ok(NONE),
            None => {
                connection.prepare_cached("INSERT INTO words (word) VALUES (?1)")?.execute([word])?;
                self.words_count += 1;
                number_of(connection)
            }
        };
        self.words.insert(word.into(), number);
        Ok(number)
    }
}

/// Numbers of texts that were used of late. When there are too many, those that were not used since the last time are
/// forgotten.
struct Remembered<K> {
    newer: HashMap<K, u32>,
    older: HashMap<K, u32>,
}

impl<K> Default for Remembered<K> {
    fn default() -> Self {
        Self { newer: HashMap::new(), older: HashMap::new() }
    }
}

impl<K: Hash + Eq> Remembered<K> {
    fn get<Q: Hash + Eq + ?Sized>(&mut self, text: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        if let Some(number) = self.newer.get(text) {
            return Some(*number);
        }
        let (text, number) = self.older.remove_entry(text)?;
        self.insert(text, number);
        Some(number)
    }

    fn insert(&mut self, text: K, number: u32) {
        if self.newer.len() >= REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(text, number);
    }
}

/// The number of the row that was just made: the limits of the tables are far below its range.
fn number_of(connection: &Connection) -> u32 {
    u32::try_from(connection.last_insert_rowid()).unwrap_or(NONE)
}

/// `*.` and the last two labels of a name; `*` of one that has fewer.
fn folded(name: &str) -> String {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    match dots.nth(1) {
        Some(second) => format!("*{}", &name[second..]),
        None => "*".into(),
    }
}

/// An address as its row has it.
pub(crate) fn address_bytes(address: Option<IpAddr>) -> Vec<u8> {
    match address {
        None => Vec::new(),
        Some(IpAddr::V4(address)) => address.octets().into(),
        Some(IpAddr::V6(address)) => address.octets().into(),
    }
}

/// An address of a row.
pub(crate) fn address_of(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::{REMEMBERED, Remembered, folded};

    #[test]
    fn what_is_used_is_remembered_and_the_rest_is_bounded() {
        let mut remembered: Remembered<Box<str>> = Remembered::default();
        for number in 0..10 * REMEMBERED as u32 {
            remembered.insert(number.to_string().into(), number);
            assert_eq!(remembered.get("0"), Some(0));
        }
        assert_eq!(remembered.get("1"), None);
        assert!(remembered.newer.len() <= REMEMBERED && remembered.older.len() <= REMEMBERED);
    }

    #[test]
    fn names_are_folded_to_their_last_two_labels() {
        for (name, expected) in [
            ("x1.attack.example", "*.attack.example"),
            ("a.b.c.attack.example", "*.attack.example"),
            ("attack.example", "*"),
            ("localhost", "*"),
            ("", "*"),
        ] {
            assert_eq!(folded(name), expected);
        }
    }
}
