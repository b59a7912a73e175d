//! Configuration files as Fail2ban reads them: Python's `configparser` with `before` and `after` includes, `.local`
//! files over `.conf` files, and `%(x)s` that may name another section (`%(section/x)s`) or what stood there before
//! (`%(known/x)s`).
//!
//! Sources: Python's documentation of `configparser`, and jail.conf(5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::limits::{MAX_DEPTH, MAX_FILE, MAX_FILES, MAX_INSERTIONS, MAX_VALUE};
use crate::error::FilterError;

/// Files by path, as a shell has read them. Paths are as they are named in includes, relative to the file that names
/// them, without `.` and `..`.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Texts {
    /// No file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn add(&mut self, path: &str, bytes: impl Into<Arc<[u8]>>) {
        self.files.insert(tidy(path), bytes.into());
    }

    /// The file is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.files.contains_key(&tidy(path))
    }

    /// Paths that begin so and end so, in order.
    pub fn within<'t>(&'t self, start: &'t str, end: &'t str) -> impl Iterator<Item = &'t str> {
        self.files
            .keys()
            .map(String::as_str)
            .filter(move |path| path.starts_with(start) && path.ends_with(end))
    }
}

impl Texts {
    /// Paths of files that files include and that are not there. Some need not be: `after = common.local`.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = BTreeSet::new();
        for (path, bytes) in &self.files {
            if let Ok(parsed) = parse(path, bytes) {
                let included = ["before", "after"].into_iter().flat_map(|key| included(path, &parsed, key));
                missing.extend(included.filter(|path| !self.has(path)));
            }
        }
        missing.into_iter().take(MAX_FILES).collect()
    }
}

/// What a file includes.
fn included(path: &str, parsed: &Parsed, key: &str) -> Vec<String> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let value = parsed.sections.get("INCLUDES").and_then(|section| section.get(key));
    let names = value.map(|value| value.text.lines()).into_iter().flatten();
    let names = names.map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| match name.starts_with('/') || folder.is_empty() {
            true => tidy(name),
            false => tidy(&format!("{folder}/{name}")),
        })
        .collect()
}

/// `a/./b/../c` as `a/c`.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) file: Arc<str>,
    pub(super) line: u32,
}

type Section = BTreeMap<String, Value>;

/// What stands in some files together.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    defaults: Section,
    sections: BTreeMap<String, Section>,
    /// What a section held before later files changed it.
    known: BTreeMap<String, Section>,
    first: Option<Arc<str>>,
}

impl Settings {
    /// Reads `name.conf`, `name.d/*.conf`, `name.local` and `name.d/*.local`, as far as they are there, with what they
    /// include.
    pub(super) fn read(texts: &Texts, name: &str) -> Result<Self, Vec<FilterError>> {
        let folder = format!("{name}.d/");
        let mut paths = Vec::new();
        for end in [".conf", ".local"] {
            paths.extend(Some(format!("{name}{end}")).filter(|path| texts.has(path)));
            let more = texts.within(&folder, end).filter(|path| !path[folder.len()..].contains('/'));
            paths.extend(more.map(str::to_owned));
        }
        if paths.is_empty() {
            return Err(vec![mistake(
                &format!("{name}.conf"),
                1,
                "there is no such file",
                "name a file of filter.d without its ending",
            )]);
        }
        Self::read_files(texts, &paths)
    }

    /// Reads these files with what they include.
    pub(super) fn read_files(texts: &Texts, paths: &[String]) -> Result<Self, Vec<FilterError>> {
        let mut settings = Self { first: paths.first().map(|path| path.as_str().into()), ..Self::default() };
        let mut reader = Reader { texts, parsed: BTreeMap::new(), order: Vec::new(), errors: Vec::new() };
        for path in paths {
            reader.include(&tidy(path), &mut Vec::new());
        }
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
        let order = std::mem::take(&mut reader.order);
        for path in order {
            if let Some(file) = reader.parsed.get(&path) {
                settings.merge(file);
            }
        }
        Ok(settings)
    }

    fn merge(&mut self, file: &Parsed) {
        self.defaults.extend(file.defaults.clone());
        for (name, section) in &file.sections {
            // `[Init?family=inet6]`: its keys get the condition.
            let plain = name.find('?').filter(|at| {
                *at > 0 && name[..*at].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            });
            let (name, condition) = plain.map_or((name.as_str(), ""), |at| name.split_at(at));
            let section = section.iter().map(|(key, value)| (format!("{key}{condition}"), value.clone()));
            match self.sections.get_mut(name) {
                Some(there) => {
                    self.known.entry(name.to_owned()).or_default().extend(there.clone());
                    there.extend(section);
                }
                None => {
                    self.sections.insert(name.to_owned(), section.collect());
                }
            }
        }
    }

    /// Names of sections other than `[DEFAULT]`.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.keys().map(String::as_str)
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains_key(name)
    }

    /// Keys of a section itself, without those of `[DEFAULT]`.
    pub(super) fn own_keys(&self, section: &str) -> impl Iterator<Item = &str> {
        self.sections.get(section).into_iter().flat_map(|section| section.keys().map(String::as_str))
    }

    /// Where a key stands, for messages.
    pub(super) fn place(&self, section: &str, key: &str) -> (Arc<str>, u32) {
        let value =
            self.sections.get(section).and_then(|section| section.get(key)).or(self.defaults.get(key));
        let nowhere = || (self.first.clone().unwrap_or_else(|| "".into()), 1);
        value.map_or_else(nowhere, |value| (Arc::clone(&value.file), value.line))
    }

    /// What was set before under `known/`, for a section of another file (a jail knows its filter's options).
    pub(super) fn set_known(&mut self, section: &str, key: &str, text: &str) {
        let value = Value { text: text.to_owned(), file: "".into(), line: 1 };
        self.known.entry(section.to_owned()).or_default().insert(key.to_lowercase(), value);
    }

    /// A default that the program itself gives.
    pub(super) fn set_default(&mut self, key: &str, text: &str) {
        self.defaults.insert(key.to_owned(), Value { text: text.to_owned(), file: "".into(), line: 1 });
    }

    /// The value of a key with `%(x)s` put in; `variables` go before what the files say. A key may be `section/key`.
    pub(super) fn get(
        &self,
        section: &str,
        key: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<String>, String> {
        if let Some((other, key)) = split_section(key) {
            let sections = match other.to_lowercase().as_str() {
                "known" => {
                    let known = self.known.get(section).and_then(|known| known.get(&key.to_lowercase()));
                    if let Some(value) = known {
                        return self
                            .interpolate(section, key, &value.text, &BTreeMap::new(), (0, &mut 0))
                            .map(Some);
                    }
                    vec![section]
                }
                "default" => vec!["DEFAULT"],
                _ => vec![other],
            };
            for section in sections {
                if let Some(value) = self.plain(section, key, &BTreeMap::new())? {
                    return Ok(Some(value));
                }
            }
        }
        self.plain(section, key, variables)
    }

    fn plain(
        &self,
        section: &str,
        key: &str,
        variables: &BTreeMap<String, String>,
    ) -> Result<Option<String>, String> {
        let key = key.to_lowercase();
        match self.raw(section, &key, variables) {
            Some(text) => self.interpolate(section, &key, text, variables, (0, &mut 0)).map(Some),
            None => Ok(None),
        }
    }

    fn raw<'s>(
        &'s self,
        section: &str,
        key: &str,
        variables: &'s BTreeMap<String, String>,
    ) -> Option<&'s str> {
        if let Some((_, text)) = variables.iter().find(|(name, _)| name.to_lowercase() == key) {
            return Some(text);
        }
        let of_section = match self.sections.get(section) {
            Some(section) => section.get(key),
            None if section == "DEFAULT" => None,
            None => return None,
        };
        of_section.or_else(|| self.defaults.get(key)).map(|value| value.text.as_str())
    }

    fn interpolate(
        &self,
        section: &str,
        key: &str,
        text: &str,
        variables: &BTreeMap<String, String>,
        (depth, insertions): (usize, &mut usize),
    ) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err(format!("`{key}` puts itself in, or nests deeper than {MAX_DEPTH}"));
        }
        let mut done = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            done.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                done.push('%');
                rest = after;
                continue;
            }
            let inside = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
            let Some((name, after)) = inside.and_then(|(name, after)| Some((name, after.strip_prefix('s')?)))
            else {
                return Err(format!("`{key}` has a `%` that is neither `%%` nor `%(name)s`"));
            };
            rest = after;
            *insertions += 1;
            if *insertions > MAX_INSERTIONS {
                return Err(format!("`{key}` has more than {MAX_INSERTIONS} values put into it"));
            }
            let found = self.variable(section, name, variables);
            let Some(found) = found else {
                return Err(format!("`{key}` asks for `{name}`, which is not set"));
            };
            if found.contains('%') {
                done.push_str(&self.interpolate(
                    section,
                    name,
                    &found,
                    variables,
                    (depth + 1, insertions),
                )?);
            } else {
                done.push_str(&found);
            }
            if done.len() > MAX_VALUE {
                return Err(format!("`{key}` is longer than {MAX_VALUE} bytes"));
            }
        }
        done.push_str(rest);
        Ok(done)
    }

    /// What `%(name)s` stands for, before anything is put into it.
    fn variable(&self, section: &str, name: &str, variables: &BTreeMap<String, String>) -> Option<String> {
        let lower = name.to_lowercase();
        if lower == "__name__" {
            return Some(section.to_owned());
        }
        if let Some(text) = self.raw(section, &lower, variables) {
            return Some(text.to_owned());
        }
        let (other, key) = split_section(name)?;
        let key = key.to_lowercase();
        let found = match other.to_lowercase().as_str() {
            "default" => None,
            "known" => self.known.get(section).and_then(|known| known.get(&key)),
            _ => self.sections.get(other)?.get(&key),
        };
        found.or_else(|| self.defaults.get(&key)).map(|value| value.text.clone())
    }
}

/// `section/key`
fn split_section(name: &str) -> Option<(&str, &str)> {
    let (section, key) = name.split_once('/')?;
    let right = !section.is_empty()
        && section.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        && !key.is_empty()
        && !key.contains(|c: char| c.is_whitespace() || c == '>');
    right.then_some((section, key))
}

pub(super) fn mistake(
    file: &str,
    line: u32,
    message: impl Into<String>,
    help: impl Into<String>,
) -> FilterError {
    FilterError { file: file.to_owned(), line, column: None, message: message.into(), help: help.into() }
}

/// One file.
#[derive(Debug, Default)]
struct Parsed {
    defaults: Section,
    sections: BTreeMap<String, Section>,
}

struct Reader<'t> {
    texts: &'t Texts,
    parsed: BTreeMap<String, Parsed>,
    order: Vec<String>,
    errors: Vec<FilterError>,
}

impl Reader<'_> {
    /// Puts a file into the order, behind what it wants `before` and in front of what it wants `after`.
    fn include(&mut self, path: &str, seen: &mut Vec<String>) {
        if seen.len() > MAX_DEPTH || self.order.len() >= MAX_FILES {
            self.errors.push(mistake(
                path,
                1,
                format!("includes nest deeper than {MAX_DEPTH}, or are more than {MAX_FILES}"),
                "include less",
            ));
            return;
        }
        // A file that is not there is passed over, as `after = common.local` wants it.
        let Some(bytes) = self.texts.files.get(path) else { return };
        if !self.parsed.contains_key(path) {
            match parse(path, bytes) {
                Ok(parsed) => {
                    self.parsed.insert(path.to_owned(), parsed);
                }
                Err(errors) => {
                    self.errors.extend(errors);
                    return;
                }
            }
        }
        let wanted =
            |key: &str| self.parsed.get(path).map(|parsed| included(path, parsed, key)).unwrap_or_default();
        let (before, after) = (wanted("before"), wanted("after"));
        seen.push(path.to_owned());
        self.include_all(before, seen);
        self.order.push(path.to_owned());
        self.include_all(after, seen);
        seen.pop();
    }
}

impl Reader<'_> {
    /// Each with its `.local` file behind it.
    fn include_all(&mut self, paths: Vec<String>, seen: &mut Vec<String>) {
        for path in paths {
            if seen.contains(&path) {
                continue;
            }
            let local = path.rsplit_once('.').map(|(name, _)| format!("{name}.local"));
            self.include(&path, seen);
            if let Some(local) = local.filter(|local| *local != path && !seen.contains(local)) {
                self.include(&local, seen);
            }
        }
    }
}

/// Reads one file as Python's `configparser` does, with `;` as the beginning of a comment in a line.
fn parse(path: &str, bytes: &[u8]) -> Result<Parsed, Vec<FilterError>> {
    if bytes.len() > MAX_FILE {
        return Err(vec![mistake(path, 1, format!("longer than {MAX_FILE} bytes"), "make it shorter")]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        vec![mistake(path, line, "not UTF-8 text", "save it as UTF-8")]
    })?;
    let file: Arc<str> = path.into();
    let mut parsed = Parsed::default();
    let mut errors = Vec::new();
    let mut titles = BTreeSet::new();
    let mut section: Option<String> = None;
    // The key whose value may go on, and how far it is indented.
    let mut open: Option<String> = None;
    let mut indent = 0;
    for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
        let (value, commented) = without_comment(line);
        if value.is_empty() {
            // An empty line belongs to the value it stands in.
            if !commented && let (Some(name), Some(key)) = (&section, &open) {
                append(&mut parsed, name, key, "");
            }
            continue;
        }
        let depth = line.len() - line.trim_start().len();
        if let (Some(name), Some(key)) = (&section, &open)
            && depth > indent
        {
            append(&mut parsed, name, key, value);
            continue;
        }
        indent = depth;
        if let Some(title) =
            value.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).map(|(title, _)| title)
            && !title.is_empty()
        {
            if title != "DEFAULT" {
                if !titles.insert(title.to_owned()) {
                    errors.push(mistake(path, number, format!("a second [{title}]"), "put both into one"));
                }
                parsed.sections.entry(title.to_owned()).or_default();
            }
            section = Some(title.to_owned());
            open = None;
            continue;
        }
        let Some(name) = &section else {
            errors.push(mistake(path, number, "stands before any [section]", "begin with `[Definition]`"));
            continue;
        };
        let Some(at) = value.find(['=', ':']).filter(|at| *at > 0) else {
            errors.push(mistake(
                path,
                number,
                "neither a section, nor `key = value`, nor indented as more of a value",
                "indent it, or begin it with `#`",
            ));
            continue;
        };
        let key = value[..at].trim().to_lowercase();
        let text = value[at + 1..].trim().to_owned();
        let there = match name.as_str() {
            "DEFAULT" => &mut parsed.defaults,
            name => parsed.sections.entry(name.to_owned()).or_default(),
        };
        if there.insert(key.clone(), Value { text, file: Arc::clone(&file), line: number }).is_some() {
            errors.push(mistake(path, number, format!("a second `{key}` in [{name}]"), "remove one"));
        }
        open = Some(key);
    }
    for section in parsed.sections.values_mut().chain(std::iter::once(&mut parsed.defaults)) {
        for value in section.values_mut() {
            value.text.truncate(value.text.trim_end().len());
        }
    }
    if errors.is_empty() { Ok(parsed) } else { Err(errors) }
}

fn append(parsed: &mut Parsed, section: &str, key: &str, line: &str) {
    let section = match section {
        "DEFAULT" => Some(&mut parsed.defaults),
        name => parsed.sections.get_mut(name),
    };
    if let Some(value) = section.and_then(|section| section.get_mut(key)) {
        value.text.push('\n');
        value.text.push_str(line);
    }
}

/// The line without spaces around it and without a comment, and whether there was one.
fn without_comment(line: &str) -> (&str, bool) {
    if line.trim_start().starts_with(['#', ';']) {
        return ("", true);
    }
    let comment = line.match_indices(';').find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
    match comment {
        Some((at, _)) => (line[..at].trim(), true),
        None => (line.trim(), false),
    }
}
