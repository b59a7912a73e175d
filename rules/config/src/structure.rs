//! The structural check: unknown keys, wrong types, values out of range. Whatever is wrong is told and taken out of
//! the tree, so that the rest can be checked for what it means.

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    error::{Report, all, listed, nearest, quoted},
    shape::{Key, Shape, toml_text},
};

/// Checks `table` against the keys of `root` and removes what does not fit.
pub(crate) fn check(root: &Key, table: &mut DeTable<'_>, report: &mut Report<'_>) {
    if let Shape::Table(keys) = &root.shape {
        Walk { report, top: keys }.table(keys, table, 0, "");
    }
}

struct Walk<'r, 'a, 'k> {
    report: &'r mut Report<'a>,
    top: &'k [Key],
}

impl Walk<'_, '_, '_> {
    /// `at` is where the table stands, `path` how a person calls it (empty at the top).
    fn table(&mut self, keys: &[Key], table: &mut DeTable<'_>, at: usize, path: &str) {
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name.as_str())) {
            self.report.add(
                at,
                format!("`{}` is missing in {path}", key.name),
                format!("add for example `{} = {}`", key.name, toml_text(key.sample())),
            );
        }
        let mut misfits = Vec::new();
        for (name, value) in table.iter_mut() {
            let fits = match keys.iter().find(|key| key.name == **name.get_ref()) {
                Some(key) => self.value(key, value, &join(path, &key.name)),
                None => {
                    self.unknown(keys, name.get_ref(), name.span().start, path);
                    false
                }
            };
            if !fits {
                self.report.note_misfit(&join(path, name.get_ref()));
                misfits.push(name.get_ref().to_string());
            }
        }
        for name in &misfits {
            table.remove(name.as_str());
        }
    }

    fn unknown(&mut self, keys: &[Key], name: &str, at: usize, path: &str) {
        let place = if path.is_empty() { "at the top level".to_owned() } else { format!("in {path}") };
        let known = keys.iter().map(|key| key.name.as_str());
        let help = if let Some(near) = nearest(name, known.clone()) {
            format!("did you mean `{near}`?")
        } else if !path.is_empty() && self.top.iter().any(|key| key.name == name) {
            format!("`{name}` belongs to the top level: write it above the first `[table]`, or as a table")
        } else {
            format!("known here are {}", all(known))
        };
        self.report.add(at, format!("unknown key {} {place}", quoted(name)), help);
    }

    /// Whether the value can stay.
    fn value(&mut self, key: &Key, value: &mut Spanned<DeValue<'_>>, path: &str) -> bool {
        let at = value.span().start;
        match (&key.shape, value.get_mut()) {
            (Shape::Table(keys), DeValue::Table(table)) => {
                self.table(keys, table, at, &bracketed(path));
                true
            }
            (Shape::Entries(entry), DeValue::Table(table)) => {
                let mut misfits = Vec::new();
                for (name, value) in table.iter_mut() {
                    if !self.value(entry, value, &join(path, name.get_ref())) {
                        misfits.push(name.get_ref().to_string());
                    }
                }
                for name in &misfits {
                    table.remove(name.as_str());
                }
                true
            }
            (Shape::Array(item), DeValue::Array(array)) => {
                if key.min_length.is_some_and(|least| (array.len() as u64) < least) {
                    self.report.add(
                        at,
                        format!("{} is empty", quoted(path)),
                        format!("write for example `{} = {}`", last(path), toml_text(key.sample())),
                    );
                    return false;
                }
                let mut kept = Vec::with_capacity(array.len());
                for value in array.iter_mut() {
                    let at = value.span().start;
                    kept.push(match (&item.shape, value.get_mut()) {
                        (Shape::Table(keys), DeValue::Table(table)) => {
                            self.table(keys, table, at, &format!("[[{path}]]"));
                            true
                        }
                        _ => self.value(item, value, path),
                    });
                }
                let mut kept = kept.into_iter();
                let all = std::mem::replace(array, std::iter::empty().collect());
                *array = all.into_iter().filter(|_| kept.next().unwrap_or(false)).collect();
                true
            }
            (Shape::Word(words), DeValue::String(text)) => {
                if words.iter().any(|word| *word == **text) {
                    return true;
                }
                let help = match nearest(text, words.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `\"{near}\"`?"),
                    None => format!("write {}", listed(words.iter().map(|word| format!("\"{word}\"")))),
                };
                self.report.add(at, format!("{} is not a value of {}", quoted(text), quoted(path)), help);
                false
            }
            (Shape::Text, DeValue::String(text)) => self.text(key, text, at, path),
            (Shape::Integer, DeValue::Integer(number)) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                self.integer(key, number, at, path)
            }
            (Shape::Boolean, DeValue::Boolean(_)) => true,
            (
                Shape::Table(_)
                | Shape::Entries(_)
                | Shape::Array(_)
                | Shape::Word(_)
                | Shape::Text
                | Shape::Integer
                | Shape::Boolean,
                found,
            ) => {
                let message =
                    format!("{} must be {}, this is {}", quoted(path), key.shape.describe(), describe(found));
                let help = suggestion(key, found, path);
                self.report.add(at, message, help);
                false
            }
        }
    }

    fn text(&mut self, key: &Key, text: &str, at: usize, path: &str) -> bool {
        let length = text.chars().count() as u64;
        let name = last(path);
        if key.min_length.is_some_and(|least| length < least) {
            let help = match key.sample() {
                Value::Null => "write something between the quotes, or remove the line".to_owned(),
                sample => format!("write for example `{name} = {}`", toml_text(sample)),
            };
            self.report.add(at, format!("{} is empty", quoted(path)), help);
            return false;
        }
        let most = key.max_length.unwrap_or(crate::MAX_TEXT_VALUE);
        if length > most {
            self.report.add(
                at,
                format!("{} is {length} characters long", quoted(path)),
                format!("write at most {most}"),
            );
            return false;
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            self.report.add(
                at,
                format!("{} holds the control character `{}`", quoted(path), control.escape_default()),
                "write printable text only; a backslash in double quotes must be doubled, or use single quotes",
            );
            return false;
        }
        true
    }

    fn integer(&mut self, key: &Key, number: Option<i64>, at: usize, path: &str) -> bool {
        let (minimum, maximum) = (key.minimum.unwrap_or(0), key.maximum.unwrap_or(i64::from(u32::MAX)));
        match number {
            Some(number) if (minimum..=maximum).contains(&number) => true,
            number => {
                let found = number.map_or_else(|| "too large".to_owned(), |number| number.to_string());
                self.report.add(
                    at,
                    format!("{} is {found}", quoted(path)),
                    format!("write a number from {minimum} to {maximum}"),
                );
                false
            }
        }
    }
}

/// What to write, made from what was written where that can be guessed.
fn suggestion(key: &Key, found: &DeValue<'_>, path: &str) -> String {
    let name = last(path);
    let guess = match (&key.shape, found) {
        (Shape::Array(item), DeValue::String(text)) if matches!(item.shape, Shape::Text) => {
            Some(toml_text(&Value::from(vec![text.as_ref()])))
        }
        (Shape::Integer, DeValue::String(text)) => text.trim().parse::<i64>().ok().map(|n| n.to_string()),
        (Shape::Boolean, DeValue::String(text)) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("true".to_owned()),
            "false" | "no" | "off" | "0" => Some("false".to_owned()),
            _ => None,
        },
        (Shape::Boolean, DeValue::Integer(number)) => Some((number.as_str() != "0").to_string()),
        (Shape::Text, DeValue::Integer(number)) => Some(format!("\"{number}\"")),
        _ => None,
    };
    if let Some(guess) = guess {
        return format!("write `{name} = {guess}`");
    }
    if let (Shape::Array(_), DeValue::Table(table)) = (&key.shape, found)
        && path.starts_with("dns.records.")
    {
        let next = table.keys().next().map(|key| key.get_ref().to_string()).unwrap_or_default();
        return format!("a name with dots stands in quotes: `\"{name}.{next}\" = …`");
    }
    match (&key.shape, key.sample()) {
        (Shape::Array(item), _) if matches!(item.shape, Shape::Table(_)) => {
            format!("write each as a table of its own that begins with `[[{path}]]`")
        }
        (Shape::Table(_), _) => format!("write it as a table that begins with `[{path}]`"),
        (Shape::Entries(_), _) => format!("write a table that begins with `[{path}]` or `[{path}.NAME]`"),
        (Shape::Word(words), _) => {
            format!("write {}", listed(words.iter().map(|word| format!("\"{word}\""))))
        }
        (Shape::Boolean, _) => format!("write `{name} = true` or `{name} = false`"),
        (Shape::Array(_) | Shape::Text | Shape::Integer, Value::Null) => {
            format!("write {}", key.shape.describe())
        }
        (Shape::Array(_) | Shape::Text | Shape::Integer, sample) => {
            format!("write for example `{name} = {}`", toml_text(sample))
        }
    }
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn join(path: &str, name: &str) -> String {
    let path = path.trim_start_matches('[').trim_end_matches(']');
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn bracketed(path: &str) -> String {
    format!("[{path}]")
}
