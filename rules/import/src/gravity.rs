//! What is in `gravity.db`: lists, entries, clients and groups, read from the database or from the JSON tables of a
//! Teleporter archive of Pi-hole 5.
//!
//! The schemas differ in columns that came later (`adlist.type` with version 19 for lists that allow); a Teleporter
//! archive of Pi-hole 6 holds the same tables without `info`, and so without a version. See `gravity.db.sql` and the
//! migrations beside it in the repository of Pi-hole.

use rusqlite::{Connection, MAIN_DB, limits::Limit, types::ValueRef};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use crate::{
    Files, ImportError,
    limits::{MAX_CELL_BYTES, MAX_DATABASE_BYTES, MAX_DATABASE_STEPS, MAX_ROWS, MAX_TABLE_BYTES},
};

/// The first version in which entries, clients and groups are as they are now (Pi-hole 5.0).
const OLDEST: i64 = 10;
/// The newest version that is known.
const NEWEST: i64 = 21;
/// Columns that are read where they are there.
const OPTIONAL: [&str; 3] = ["comment", "description", "type"];
/// Steps of SQLite's machine between two looks at how many there were.
const STEPS_AT_ONCE: i32 = 10_000;

/// What is in `gravity.db`.
#[derive(Clone, Debug, Default)]
pub struct Gravity {
    /// The version of its schema; an archive does not say it.
    pub(crate) version: Option<i64>,
    pub(crate) groups: Vec<Group>,
    pub(crate) lists: Vec<List>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) clients: Vec<Client>,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) enabled: bool,
    pub(crate) name: String,
    pub(crate) comment: String,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) address: String,
    pub(crate) enabled: bool,
    pub(crate) comment: String,
    pub(crate) allows: bool,
    pub(crate) groups: BTreeSet<i64>,
}

/// What an entry of one's own is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    AllowExact,
    DenyExact,
    AllowRegex,
    DenyRegex,
}

/// An entry of one's own.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) text: String,
    pub(crate) enabled: bool,
    pub(crate) comment: String,
    pub(crate) groups: BTreeSet<i64>,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) who: String,
    pub(crate) comment: String,
    pub(crate) groups: BTreeSet<i64>,
}

/// A row: text by column. Numbers are written out; NULL is not there.
type Row = BTreeMap<String, String>;

impl EntryKind {
    fn of_number(number: i64) -> Option<Self> {
        match number {
            0 => Some(Self::AllowExact),
            1 => Some(Self::DenyExact),
            2 => Some(Self::AllowRegex),
            3 => Some(Self::DenyRegex),
            _ => None,
        }
    }
}

impl Gravity {
    /// Reads the `bytes` bytes of a database.
    ///
    /// # Errors
    /// It is no SQLite database, damaged, larger or slower than the limits, lacks a table or a column, or is of a version
    /// that is not known.
    pub fn read(file: &str, mut database: impl Read, bytes: usize) -> Result<Self, ImportError> {
        if bytes > MAX_DATABASE_BYTES {
            return Err(ImportError::new(
                file,
                format!("has {bytes} bytes, more than {MAX_DATABASE_BYTES}"),
                "import the Teleporter archive instead: it has no names of lists in it",
            ));
        }
        let mut head = [0; 100];
        let read = database.read_exact(&mut head);
        if read.is_err() || !head.starts_with(b"SQLite format 3\0") {
            return Err(ImportError::new(
                file,
                "no SQLite database",
                "give gravity.db of Pi-hole 5 or 6 as it is, or a Teleporter archive",
            ));
        }
        // A database in memory has no journal beside it: as far as it was written into the file, it is whole.
        if head[18..20] == [2, 2] {
            head[18..20].copy_from_slice(&[1, 1]);
        }
        Self::query(file, head.chain(database), bytes)
    }

    fn query(file: &str, database: impl Read, bytes: usize) -> Result<Self, ImportError> {
        let damaged = |error: rusqlite::Error| damaged(file, &error);
        let mut connection = Connection::open_in_memory().map_err(damaged)?;
        connection.deserialize_read_exact(MAIN_DB, database, bytes, true).map_err(damaged)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_CELL_BYTES).map_err(damaged)?;
        connection
            .execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
            .map_err(damaged)?;
        let mut left = MAX_DATABASE_STEPS;
        let give_up = move || {
            left = left.saturating_sub(STEPS_AT_ONCE.unsigned_abs().into());
            left == 0
        };
        connection.progress_handler(STEPS_AT_ONCE, Some(give_up)).map_err(damaged)?;
        let tables = Tables { file, connection: &connection };
        let version = tables.version()?;
        let table = |name: &str, columns: &[&str]| tables.rows(name, columns);
        let gravity = Self::assemble(file, version, table)?;
        Ok(gravity)
    }

    /// Reads the tables of a Teleporter archive of Pi-hole 5.
    ///
    /// # Errors
    /// A table is missing, is no JSON, or lacks a column.
    pub(crate) fn of_json(files: &Files) -> Result<Self, ImportError> {
        let table = |name: &str, columns: &[&str]| -> Result<Vec<Row>, ImportError> {
            if name != "domainlist" {
                return json_rows(files, &format!("{name}.json"), columns);
            }
            let mut rows = Vec::new();
            for (place, file) in [
                "whitelist.exact.json",
                "blacklist.exact.json",
                "whitelist.regex.json",
                "blacklist.regex.json",
            ]
            .into_iter()
            .enumerate()
            {
                let columns: Vec<&str> = columns.iter().copied().filter(|column| *column != "type").collect();
                let mut more = json_rows(files, file, &columns)?;
                for row in &mut more {
                    row.insert("type".to_owned(), place.to_string());
                }
                rows.append(&mut more);
            }
            Ok(rows)
        };
        Self::assemble(&files.name, None, table)
    }

    fn assemble(
        file: &str,
        version: Option<i64>,
        table: impl Fn(&str, &[&str]) -> Result<Vec<Row>, ImportError>,
    ) -> Result<Self, ImportError> {
        let members = |name: &str, column: &str| -> Result<BTreeMap<i64, BTreeSet<i64>>, ImportError> {
            let mut members: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
            for row in table(name, &[column, "group_id"])? {
                let of = number(file, name, &row, column)?;
                members.entry(of).or_default().insert(number(file, name, &row, "group_id")?);
            }
            Ok(members)
        };
        let mut gravity = Self { version, ..Self::default() };
        for row in table("group", &["id", "enabled", "name"])? {
            gravity.groups.push(Group {
                id: number(file, "group", &row, "id")?,
                enabled: number(file, "group", &row, "enabled")? != 0,
                name: text(&row, "name"),
                comment: text(&row, "description"),
            });
        }
        let mut groups = members("adlist_by_group", "adlist_id")?;
        for row in table("adlist", &["id", "address", "enabled"])? {
            let kind = if row.contains_key("type") { number(file, "adlist", &row, "type")? } else { 0 };
            gravity.lists.push(List {
                address: text(&row, "address").trim().to_owned(),
                enabled: number(file, "adlist", &row, "enabled")? != 0,
                comment: text(&row, "comment"),
                allows: kind == 1,
                groups: groups.remove(&number(file, "adlist", &row, "id")?).unwrap_or_default(),
            });
        }
        let mut groups = members("domainlist_by_group", "domainlist_id")?;
        for row in table("domainlist", &["id", "type", "domain", "enabled"])? {
            let kind = number(file, "domainlist", &row, "type")?;
            let kind = EntryKind::of_number(kind).ok_or_else(|| {
                let what = format!("an entry of `domainlist` is of type {kind}, which is not known");
                ImportError::new(file, what, "import a backup of Pi-hole 5 or 6")
            })?;
            gravity.entries.push(Entry {
                kind,
                text: text(&row, "domain").trim().to_owned(),
                enabled: number(file, "domainlist", &row, "enabled")? != 0,
                comment: text(&row, "comment"),
                groups: groups.remove(&number(file, "domainlist", &row, "id")?).unwrap_or_default(),
            });
        }
        let mut groups = members("client_by_group", "client_id")?;
        for row in table("client", &["id", "ip"])? {
            gravity.clients.push(Client {
                who: text(&row, "ip").trim().to_owned(),
                comment: text(&row, "comment"),
                groups: groups.remove(&number(file, "client", &row, "id")?).unwrap_or_default(),
            });
        }
        Ok(gravity)
    }
}

/// The tables of a database.
struct Tables<'a> {
    file: &'a str,
    connection: &'a Connection,
}

impl Tables<'_> {
    /// The version of the schema, where it is told.
    fn version(&self) -> Result<Option<i64>, ImportError> {
        if !self.has("info")? {
            return Ok(None);
        }
        let rows = self.rows("info", &["property", "value"])?;
        let Some(row) = rows.iter().find(|row| text(row, "property") == "version") else { return Ok(None) };
        let version = number(self.file, "info", row, "value")?;
        match version {
            OLDEST..=NEWEST => Ok(Some(version)),
            ..OLDEST => Err(ImportError::new(
                self.file,
                format!("a gravity.db of version {version}, from before Pi-hole 5.0"),
                "update that Pi-hole to version 5 or 6 and export again",
            )),
            _ => Err(ImportError::new(
                self.file,
                format!("a gravity.db of version {version}; up to {NEWEST} is known"),
                "update secd, or export a Teleporter archive, which says no version",
            )),
        }
    }

    fn has(&self, table: &str) -> Result<bool, ImportError> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let count: i64 = self
            .connection
            .query_row(sql, [table], |row| row.get(0))
            .map_err(|error| damaged(self.file, &error))?;
        Ok(count > 0)
    }

    /// The columns of a table. A damaged database may call them anything.
    fn columns(&self, table: &str) -> Result<Vec<String>, ImportError> {
        let damaged = |error: rusqlite::Error| damaged(self.file, &error);
        let mut statement =
            self.connection.prepare("SELECT name FROM pragma_table_info(?1)").map_err(damaged)?;
        let mut rows = statement.query([table]).map_err(damaged)?;
        let mut columns = Vec::new();
        while let Some(row) = rows.next().map_err(damaged)? {
            let name = row.get_ref(0).map_err(damaged)?;
            columns.extend(name.as_bytes().ok().map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        Ok(columns)
    }

    /// All rows of a table that has these columns.
    fn rows(&self, table: &str, columns: &[&str]) -> Result<Vec<Row>, ImportError> {
        let damaged = |error: rusqlite::Error| damaged(self.file, &error);
        if !self.has(table)? {
            return Err(ImportError::new(
                self.file,
                format!("the table `{table}` is missing"),
                "give gravity.db of Pi-hole 5 or 6, or a Teleporter archive",
            ));
        }
        let there = self.columns(table)?;
        if let Some(missing) = columns.iter().find(|column| !there.iter().any(|name| name == *column)) {
            return Err(no_column(self.file, table, missing));
        }
        let more = |name: &&&str| !columns.contains(name) && there.iter().any(|column| column == **name);
        let names: Vec<&str> = columns.iter().chain(OPTIONAL.iter().filter(more)).copied().collect();
        let sql = format!("SELECT \"{}\" FROM \"{table}\"", names.join("\", \""));
        let mut statement = self.connection.prepare(&sql).map_err(damaged)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut rows = statement.query([]).map_err(damaged)?;
        while let Some(row) = rows.next().map_err(damaged)? {
            if found.len() == MAX_ROWS {
                return Err(too_many_rows(self.file, table));
            }
            let mut cells = Row::new();
            for (place, name) in names.iter().enumerate() {
                let cell = match row.get_ref(place).map_err(damaged)? {
                    ValueRef::Null => continue,
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => match str::from_utf8(bytes) {
                        Ok(text) => text.to_owned(),
                        Err(_) => {
                            return Err(ImportError::new(
                                self.file,
                                format!(
                                    "`{name}` in row {} of the table `{table}` is not UTF-8 text",
                                    found.len() + 1
                                ),
                                "correct the entry in Pi-hole and export again",
                            ));
                        }
                    },
                };
                bytes += cell.len();
                if bytes > MAX_TABLE_BYTES {
                    return Err(ImportError::new(
                        self.file,
                        format!("the rows of the table `{table}` have more than {MAX_TABLE_BYTES} bytes"),
                        "that is no database of Pi-hole, or a damaged one: export a Teleporter archive again",
                    ));
                }
                cells.insert((*name).to_owned(), cell);
            }
            found.push(cells);
        }
        Ok(found)
    }
}

/// All rows of a JSON table that has these columns. A table without rows may be missing: Pi-hole 5 left those out.
fn json_rows(files: &Files, name: &str, columns: &[&str]) -> Result<Vec<Row>, ImportError> {
    let place = files.place(name);
    let Some(bytes) = files.get(name) else { return Ok(Vec::new()) };
    let text = crate::error::text(&place, bytes)?;
    let rows: Vec<serde_json::Map<String, Value>> = serde_json::from_str(text).map_err(|error| {
        let what = format!("not a table in JSON: {error}");
        ImportError::at(&place, error.line(), what, "export the Teleporter archive again")
    })?;
    if rows.len() > MAX_ROWS {
        return Err(too_many_rows(&place, name));
    }
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let cell = |value: Value| match value {
            Value::Null => None,
            Value::Bool(yes) => Some(i64::from(yes).to_string()),
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        };
        let row: Row = row.into_iter().filter_map(|(name, value)| Some((name, cell(value)?))).collect();
        if let Some(missing) = columns.iter().find(|column| !row.contains_key(**column)) {
            return Err(no_column(&place, name, missing));
        }
        found.push(row);
    }
    Ok(found)
}

fn text(row: &Row, column: &str) -> String {
    row.get(column).cloned().unwrap_or_default()
}

fn number(file: &str, table: &str, row: &Row, column: &str) -> Result<i64, ImportError> {
    let text = row.get(column).map_or("", String::as_str);
    text.parse().map_err(|_| {
        ImportError::new(
            file,
            format!("`{column}` of the table `{table}` is `{}`, not a number", text.escape_debug()),
            "the database is damaged: export a Teleporter archive again",
        )
    })
}

fn damaged(file: &str, error: &rusqlite::Error) -> ImportError {
    let what = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::OperationInterrupted) => "takes too long to read".to_owned(),
        _ => format!("a damaged SQLite database: {error}"),
    };
    ImportError::new(file, what, "stop Pi-hole and copy the file again, or export a Teleporter archive")
}

fn no_column(file: &str, table: &str, column: &str) -> ImportError {
    ImportError::new(
        file,
        format!("the table `{table}` has no `{column}`"),
        "give gravity.db of Pi-hole 5 or 6, or a Teleporter archive",
    )
}

fn too_many_rows(file: &str, table: &str) -> ImportError {
    ImportError::new(
        file,
        format!("the table `{table}` has more than {MAX_ROWS} rows"),
        "put long lists of names into a file of their own and subscribe to it",
    )
}
