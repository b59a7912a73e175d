//! Settings put into the text of a config that is there: its comments, order and everything else stay.
//!
//! What has the same name is replaced, so that an import can be run again.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, TomlError};

use crate::Import;

/// Why settings cannot be put into a config.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The text is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// A table is written in a way that nothing can be put into.
    #[error("`{0}` is not written as a table of its own")]
    Shape(String),
}

/// Tables whose entries are replaced one by one.
const BY_NAME: [&[&str]; 4] = [&["dns", "groups"], &["dns", "clients"], &["dns", "records"], &["schedules"]];

impl Import {
    /// `text` with the settings in it, and what of it they replaced. `folder` is where the files of own rules are to be,
    /// an absolute path.
    ///
    /// # Errors
    /// The text is no TOML, or `dns` is written inline.
    pub fn merge(&self, text: &str, folder: &str) -> Result<(String, Vec<String>), MergeError> {
        let syntax = |error: TomlError| MergeError::Syntax(error.to_string());
        let mut config: DocumentMut = text.parse().map_err(syntax)?;
        let mut fragment: DocumentMut = self.fragment(folder).parse().map_err(syntax)?;
        let mut replaced = Vec::new();
        let privacy = self.settings.privacy;
        let names: Vec<String> = fragment.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let Some(item) = fragment.remove(&name) else { continue };
            put(config.as_table_mut(), &[&name], item, &mut replaced)?;
        }
        if let Some(privacy) = privacy {
            zones(&mut config, privacy, &mut replaced);
        }
        Ok((config.to_string(), replaced))
    }
}

/// Puts one thing where its path leads.
fn put(
    config: &mut dyn TableLike,
    path: &[&str],
    mut item: Item,
    replaced: &mut Vec<String>,
) -> Result<(), MergeError> {
    let Some(name) = path.last() else { return Ok(()) };
    forget_position(&mut item);
    let Some(there) = config.get_mut(name).filter(|there| !there.is_none()) else {
        config.insert(name, item);
        return Ok(());
    };
    let shape = || MergeError::Shape(path.join("."));
    // What stands one by one below this is replaced as a whole.
    let whole = BY_NAME.iter().any(|table| path.len() == table.len() + 1 && path.starts_with(table));
    match item {
        Item::Table(table) if !whole => {
            let there = there.as_table_like_mut().ok_or_else(shape)?;
            for (name, item) in table {
                let below: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                put(there, &below, item, replaced)?;
            }
        }
        Item::ArrayOfTables(tables) => {
            let there = there.as_array_of_tables_mut().ok_or_else(shape)?;
            let key = if *name == "lists" { "name" } else { "names" };
            push_all(there, tables, key, &path.join("."), replaced);
        }
        item => {
            if bare(there) != bare(&item) {
                replaced.push(path.join("."));
            }
            replace(there, item);
        }
    }
    Ok(())
}

/// A value or table as text, without the comments around it.
fn bare(item: &Item) -> String {
    match item.as_value() {
        Some(value) => value.clone().decorated("", "").to_string(),
        None => item.to_string().trim().to_owned(),
    }
}

/// Replaces a value or table; comments beside it stay.
fn replace(there: &mut Item, mut item: Item) {
    if let (Some(old), Some(new)) = (there.as_table(), item.as_table_mut()) {
        *new.decor_mut() = old.decor().clone();
        new.set_position(old.position());
    }
    if let (Some(old), Some(new)) = (there.as_value(), item.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    *there = item;
}

fn push_all(
    there: &mut ArrayOfTables,
    tables: ArrayOfTables,
    key: &str,
    path: &str,
    replaced: &mut Vec<String>,
) {
    let text = |table: &Table| table.get(key).map(|value| value.to_string().trim().to_owned());
    for table in tables {
        let same = there.iter().position(|other| text(other) == text(&table));
        match same.and_then(|place| there.get_mut(place)) {
            Some(other) => {
                if other.to_string().trim() != table.to_string().trim() {
                    replaced.push(format!("{path} {}", text(&table).unwrap_or_default()));
                }
                let (decor, position) = (other.decor().clone(), other.position());
                *other = table;
                *other.decor_mut() = decor;
                other.set_position(position);
            }
            None => there.push(table),
        }
    }
}

/// Says `dns_privacy` in every inner zone.
fn zones(config: &mut DocumentMut, privacy: &str, replaced: &mut Vec<String>) {
    let Some(zones) = config.get_mut("zones").and_then(Item::as_table_like_mut) else { return };
    for (name, zone) in zones.iter_mut() {
        let Some(zone) = zone.as_table_like_mut() else { continue };
        if zone.get("wan").and_then(Item::as_bool) == Some(true) {
            continue;
        }
        let before = zone.get("dns_privacy").and_then(Item::as_str).map(str::to_owned);
        if before.as_deref() != Some(privacy) {
            if before.is_some() {
                replaced.push(format!("zones.{}.dns_privacy", name.get()));
            }
            zone.insert("dns_privacy", toml_edit::value(privacy));
        }
    }
}

/// Tables stand where they are put, not where they stood in the text they come from.
fn forget_position(item: &mut Item) {
    match item {
        Item::Table(table) => forget(table),
        Item::ArrayOfTables(tables) => tables.iter_mut().for_each(forget),
        Item::None | Item::Value(_) => {}
    }
}

fn forget(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        forget_position(item);
    }
}
