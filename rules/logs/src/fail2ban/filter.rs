//! A file of `filter.d`, read and compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::date::Detector;
use super::limits::{MAX_LINES, MAX_REGEXES};
use super::python::{Pattern, PatternSetIndex};
use super::reader::{Settings, Texts, mistake};
use super::tags::{expand, field, substitute};
use crate::error::FilterError;

/// Options that a filter itself has; others are only for being put into these.
const OPTIONS: [&str; 7] =
    ["usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"];

/// What a filter file says once everything has been put in.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// Its options by name; also those that it was given.
    pub options: BTreeMap<String, String>,
    places: BTreeMap<String, (Arc<str>, u32)>,
}

impl Definition {
    /// Reads `name.conf` and what goes with it. `options` are those behind the filter's name in a jail; they go before
    /// what the file says.
    ///
    /// # Errors
    /// All mistakes of the files.
    pub fn read(
        texts: &Texts,
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<FilterError>> {
        Self::of(&Settings::read(texts, name)?, options)
    }

    pub(super) fn of(
        settings: &Settings,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<FilterError>> {
        let mut errors = Vec::new();
        let mut places = BTreeMap::new();
        let mut combined: BTreeMap<String, String> = BTreeMap::new();
        let note = |section: &str, key: &str, message: String, errors: &mut Vec<FilterError>| {
            let (file, line) = settings.place(section, key);
            errors.push(mistake(&file, line, message, "correct the option, or set what it asks for"));
        };
        if !settings.has_section("Definition") {
            let (file, _) = settings.place("Definition", "");
            return Err(vec![mistake(&file, 1, "there is no [Definition]", "begin one, with a failregex")]);
        }
        for key in OPTIONS {
            places.insert(key.to_owned(), settings.place("Definition", key));
            if options.contains_key(key) {
                continue;
            }
            match settings.get("Definition", key, options) {
                Ok(Some(value)) => {
                    combined.insert(key.to_owned(), value);
                }
                Ok(None) => {}
                Err(message) => note("Definition", key, message, &mut errors),
            }
        }
        combined.extend(options.clone());
        for key in settings.own_keys("Init") {
            match settings.get("Init", key, &BTreeMap::new()) {
                Ok(Some(value)) => {
                    combined.insert(format!("known/{key}"), value.clone());
                    // With a condition (`key?family=inet6`), what the jail gives for the key counts.
                    let given = key.split_once('?').and_then(|(key, _)| options.get(key)).cloned();
                    if !options.contains_key(key) {
                        places.insert(key.to_owned(), settings.place("Init", key));
                        combined.insert(key.to_owned(), given.unwrap_or(value));
                    }
                }
                Ok(None) => {}
                Err(message) => note("Init", key, message, &mut errors),
            }
        }
        // An option that has conditions is for those who know which of them holds.
        let conditional: BTreeSet<String> =
            combined.keys().filter_map(|key| key.split_once('?')).map(|(key, _)| key.to_owned()).collect();
        let mut done = BTreeMap::new();
        for (key, value) in &combined {
            let mut look_up = |tag: &str| {
                if conditional.contains(tag) {
                    return None;
                }
                combined.get(tag).cloned().or_else(|| settings.get("Definition", tag, options).ok().flatten())
            };
            match substitute(key, value.clone(), &mut look_up) {
                Ok(value) => {
                    done.insert(key.clone(), value);
                }
                // What nothing uses may be wrong.
                Err(message) if OPTIONS.contains(&key.as_str()) => {
                    note("Definition", key, format!("`{key}`: {message}"), &mut errors);
                }
                Err(_) => {}
            }
        }
        if errors.is_empty() { Ok(Self { options: done, places }) } else { Err(errors) }
    }

    /// Sets an option over what the file says, as a jail may.
    pub fn set(&mut self, key: &str, value: &str, file: &str, line: u32) {
        self.options.insert(key.to_owned(), value.to_owned());
        self.places.insert(key.to_owned(), (file.into(), line));
    }

    fn place(&self, key: &str) -> (&str, u32) {
        self.places.get(key).map_or(("", 1), |(file, line)| (file, *line))
    }

    fn lines(&self, key: &str) -> impl Iterator<Item = &str> {
        self.options.get(key).into_iter().flat_map(|value| value.split('\n')).filter(|line| !line.is_empty())
    }
}

/// Whether a filter takes host names for hosts. Names are never looked up here: they are reported as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// `usedns = yes`, `warn` or `raw`: a name may stand where `<HOST>` does.
    #[default]
    Taken,
    /// `usedns = no`: only addresses.
    Refused,
}

/// A compiled filter.
#[derive(Debug)]
pub struct Filter {
    pub(super) prefix: Option<Regex>,
    pub(super) fails: Vec<Regex>,
    pub(super) index: PatternSetIndex,
    pub(super) ignores: Vec<Regex>,
    /// Lines that are looked at together.
    pub(super) lines: usize,
    pub(super) dates: Option<Arc<Detector>>,
    journal: Vec<String>,
}

/// A regex with what its groups mean.
#[derive(Debug)]
pub(super) struct Regex {
    /// As the file has it, with tags.
    pub(super) text: String,
    pub(super) pattern: Pattern,
    pub(super) fields: Vec<(Arc<str>, usize)>,
    /// `<F-ALT_USER>`: the group, and the field it stands in for where that is empty.
    pub(super) others: Vec<(Arc<str>, Arc<str>)>,
    /// `<F-TUPLE_ID>`: the group, and the field it is put behind.
    pub(super) tuples: Vec<(Arc<str>, Arc<str>)>,
    pub(super) skipped: Vec<usize>,
}

impl Regex {
    fn new(text: &str, names: Names, many_lines: bool) -> Result<Self, String> {
        let expanded = expand(text, names == Names::Taken);
        if expanded.trim().is_empty() {
            return Err("the regex is empty".into());
        }
        let pattern = Pattern::new(&expanded, many_lines)
            .map_err(|mistake| format!("{mistake}, in `{}`", shortened(&expanded)))?;
        let mut fields: Vec<(Arc<str>, usize)> =
            pattern.names().map(|(name, group)| (Arc::clone(name), group)).collect();
        let skipped =
            fields.iter().filter(|(name, _)| name.starts_with("skiplines")).map(|(_, g)| *g).collect();
        fields.sort();
        let complex = |start: &str| -> Vec<(Arc<str>, Arc<str>)> {
            let named = fields.iter().filter_map(|(name, _)| Some((name, name.strip_prefix(start)?)));
            named
                .map(|(name, rest)| {
                    let number = rest.rsplit_once('_').filter(|(rest, number)| {
                        !rest.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
                    });
                    (Arc::clone(name), field(number.map_or(rest, |(rest, _)| rest)).into())
                })
                .collect()
        };
        let (others, tuples) = (complex("alt_"), complex("tuple_"));
        Ok(Self { text: text.to_owned(), pattern, fields, others, tuples, skipped })
    }

    fn names_somebody(&self) -> bool {
        let known = ["fid", "ip4", "ip6", "dns", "mlfid"];
        self.fields.iter().any(|(name, _)| known.contains(&&**name))
    }
}

/// As much of a regex as a message should hold.
fn shortened(regex: &str) -> String {
    let short: String = regex.chars().take(200).collect();
    if short.len() < regex.len() { short + "…" } else { short }
}

impl Filter {
    /// Compiles a definition.
    ///
    /// # Errors
    /// All regexes and values that are wrong.
    pub fn new(definition: &Definition, names: Names) -> Result<Self, Vec<FilterError>> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, message: String| {
            let (file, line) = definition.place(key);
            errors.push(mistake(
                file,
                line,
                format!("{key}: {message}"),
                "correct it, as Fail2ban would refuse it too",
            ));
        };
        let names = match definition.options.get("usedns").map(String::as_str) {
            Some("no") => Names::Refused,
            _ => names,
        };
        let lines = match definition.options.get("maxlines").map(|lines| lines.trim().parse::<usize>()) {
            None => 1,
            Some(Ok(lines)) if (1..=MAX_LINES).contains(&lines) => lines,
            Some(_) => {
                wrong("maxlines", format!("not a number from 1 to {MAX_LINES}"));
                1
            }
        };
        let prefix = definition.options.get("prefregex").filter(|text| !text.is_empty());
        let prefix = prefix.and_then(|text| {
            Regex::new(text, names, false).map_err(|message| wrong("prefregex", message)).ok()
        });
        let mut compile = |key: &str, many_lines: bool| -> Vec<Regex> {
            let texts: Vec<&str> = definition.lines(key).collect();
            if texts.len() > MAX_REGEXES {
                wrong(key, format!("more than {MAX_REGEXES} regexes"));
                return Vec::new();
            }
            let compiled = texts.into_iter().map(|text| Regex::new(text, names, many_lines));
            compiled.filter_map(|regex| regex.map_err(|message| wrong(key, message)).ok()).collect()
        };
        let fails = compile("failregex", lines > 1);
        let ignores = compile("ignoreregex", false);
        let prefix_names = prefix.as_ref().is_some_and(Regex::names_somebody);
        for regex in &fails {
            if !prefix_names && !regex.names_somebody() {
                wrong(
                    "failregex",
                    format!("`{}` says of nobody who it was: it has no <HOST>", shortened(&regex.text)),
                );
            }
        }
        let dates = match definition.options.get("datepattern").map(|pattern| pattern.trim()) {
            Some("{NONE}") => None,
            given => match Detector::new(given.filter(|pattern| !pattern.is_empty())) {
                Ok(detector) => Some(Arc::new(detector)),
                Err(message) => {
                    wrong("datepattern", message);
                    None
                }
            },
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let index = PatternSetIndex::new(fails.iter().map(|regex| &regex.pattern));
        let journal = definition.lines("journalmatch").map(str::to_owned).collect();
        Ok(Self { prefix, fails, index, ignores, lines, dates, journal })
    }

    /// Reads and compiles a filter.
    ///
    /// # Errors
    /// All mistakes of the files.
    pub fn read(
        texts: &Texts,
        name: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<Self, Vec<FilterError>> {
        Self::new(&Definition::read(texts, name, options)?, Names::Taken)
    }

    /// Its failregexes, as the file has them.
    pub fn fail_regexes(&self) -> impl Iterator<Item = &str> {
        self.fails.iter().map(|regex| regex.text.as_str())
    }

    /// Its ignoreregexes, as the file has them.
    pub fn ignore_regexes(&self) -> impl Iterator<Item = &str> {
        self.ignores.iter().map(|regex| regex.text.as_str())
    }

    /// What it reads of the journal: `journalmatch`, one match a line.
    #[must_use]
    pub fn journal_matches(&self) -> &[String] {
        &self.journal
    }

    /// Names of date patterns in the order of [`super::Matcher::date_hits`].
    pub fn date_patterns(&self) -> impl Iterator<Item = &str> {
        self.dates.iter().flat_map(|dates| dates.names())
    }

    /// Regexes that need backtracking, of all it has.
    #[must_use]
    pub fn backtracking(&self) -> (usize, usize) {
        let all = self.prefix.iter().chain(&self.fails).chain(&self.ignores);
        let (mut slow, mut count) = (0, 0);
        for regex in all {
            slow += usize::from(!regex.pattern.is_linear());
            count += 1;
        }
        (slow, count)
    }
}
