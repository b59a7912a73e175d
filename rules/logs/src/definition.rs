//! Definition files: TOML text to checked filters and scenarios, all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aho_corasick::AhoCorasick;
use model::{Direction, Mode, Span};
use regex_automata::meta::Regex;
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::error::{FilterError, Reporter};
use crate::fields::{IP, Names};
use crate::filter::{
    Compiled, FieldPattern, FieldTest, Filter, HeaderUse, Json, Pattern, compile_any, compile_groups,
    group_names,
};
use crate::json::Tree;
use crate::scenario::{Condition, Scenario, Search, Test};
use crate::{expand, limits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftFile {
    filter: Option<DraftFilter>,
    #[serde(default)]
    parts: BTreeMap<String, String>,
    #[serde(default)]
    patterns: Vec<DraftPattern>,
    #[serde(default)]
    scenarios: Vec<DraftScenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftFilter {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    programs: Vec<String>,
    #[serde(default)]
    header: HeaderUse,
    cut_at: Option<usize>,
    #[serde(default)]
    json: bool,
    #[serde(default)]
    utc: bool,
    event: Option<Spanned<String>>,
    peer: Option<Spanned<String>>,
    #[serde(default)]
    parts: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    fields: BTreeMap<String, Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftPattern {
    event: Option<String>,
    #[serde(default)]
    ignore: bool,
    cut_at: Option<usize>,
    regex: Option<Spanned<String>>,
    #[serde(default, rename = "match")]
    fields: BTreeMap<String, Spanned<String>>,
}

impl DraftPattern {
    /// Where it stands, or at least near it.
    fn place(&self) -> usize {
        let texts = self.regex.iter().chain(self.fields.values());
        texts.map(|text| text.span().start).min().unwrap_or(0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftScenario {
    name: Spanned<String>,
    #[serde(default)]
    description: String,
    filters: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    events: Vec<Spanned<String>>,
    #[serde(default)]
    when: Vec<BTreeMap<String, Spanned<Value>>>,
    group_by: Option<Vec<Spanned<String>>>,
    ipv4_prefix: Option<Spanned<u8>>,
    ipv6_prefix: Option<Spanned<u8>>,
    distinct: Option<Spanned<String>>,
    capacity: Spanned<u32>,
    leak: Spanned<String>,
    ban: Spanned<String>,
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    mode: Mode,
}

/// What one file defines.
pub(crate) struct Definitions {
    pub(crate) filter: Option<Filter>,
    pub(crate) scenarios: Vec<Scenario>,
}

/// When the regexes of a filter are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compile {
    /// At once, so that every mistake is told.
    Now,
    /// When the filter is first used: for files whose regexes a test compiles.
    OnUse,
}

/// Reads one file. `known` finds filters of files read before.
pub(crate) fn read<'k>(
    file: &str,
    text: &str,
    compile: Compile,
    known: impl Fn(&str) -> Option<&'k Filter>,
) -> Result<Definitions, Vec<FilterError>> {
    let mut reporter = Reporter::new(file, text);
    if text.len() > limits::MAX_FILE {
        reporter.report(0, format!("the file is larger than {} bytes", limits::MAX_FILE), "split it");
        return Err(reporter.errors);
    }
    let draft: DraftFile = match toml::from_str(text) {
        Ok(draft) => draft,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let help = "see the reference of filter files for the keys and their types";
            reporter.report(offset, error.message().to_owned(), help);
            return Err(reporter.errors);
        }
    };
    let mut checker = Checker { file, reporter, compile };
    let filter = draft.filter.and_then(|filter| checker.filter(filter, &draft.patterns));
    if filter.is_none() && !draft.patterns.is_empty() && checker.reporter.errors.is_empty() {
        let at = draft.patterns[0].place();
        checker.reporter.report(at, "patterns without a filter", "add `[filter]` with a `name`");
    }
    let find = |name: &str| filter.as_ref().filter(|filter| filter.name == name).or_else(|| known(name));
    let mut scenarios = Vec::new();
    // A filter that did not pass would only make its scenarios fail as well.
    if checker.reporter.errors.is_empty() {
        for scenario in draft.scenarios {
            scenarios.extend(checker.scenario(scenario, &draft.parts, filter.as_ref(), &find));
        }
    }
    if checker.reporter.errors.is_empty() {
        Ok(Definitions { filter, scenarios })
    } else {
        Err(checker.reporter.errors)
    }
}

struct Checker<'t> {
    file: &'t str,
    reporter: Reporter<'t>,
    compile: Compile,
}

impl Checker<'_> {
    fn span(&self, offset: usize) -> Span {
        let (line, column) = self.reporter.place(offset);
        Span { file: self.file.to_owned(), line, column }
    }

    fn name(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        let fine = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !fine {
            let help = "use 1 to 64 lower-case letters, digits, `-` and `_`";
            self.reporter.report(name.span().start, format!("`{text}` is no name"), help);
        }
    }

    fn filter(&mut self, draft: DraftFilter, patterns: &[DraftPattern]) -> Option<Filter> {
        self.name(&draft.name);
        let start = draft.name.span().start;
        let before = self.reporter.errors.len();
        let mut names = Names::default();
        let mut events: Vec<Arc<str>> = Vec::new();
        let (texts, within): (Vec<_>, Vec<_>) =
            patterns.iter().partition(|pattern| pattern.fields.is_empty());
        self.pattern_count(&draft, patterns, start);
        let parts = self.parts(&draft);
        let json = draft.json.then(|| self.json(&draft, &within, &parts, start, &mut names, &mut events));
        if let (false, Some(first)) = (draft.json, within.first()) {
            let help = "add `json = true` and `[filter.fields]`, or write a `regex` for the message";
            self.reporter.report(first.place(), "`match` belongs to JSON filters", help);
        }
        let mut patterns = Vec::new();
        let mut regexes = Vec::new();
        for text in texts {
            if let Some((pattern, regex)) = self.pattern(&draft, text, &parts, &mut names, &mut events) {
                patterns.push(pattern);
                regexes.extend(regex);
            }
        }
        if names.len() > limits::MAX_FIELDS {
            let message = format!("{} fields; at most {} are possible", names.len(), limits::MAX_FIELDS);
            self.reporter.report(start, message, "leave out the ones no scenario uses");
        }
        let peer = draft.peer.as_ref().and_then(|peer| {
            let slot = names.slot(peer.get_ref());
            if slot.is_none() {
                let message = format!("no field is named `{}`", peer.get_ref());
                self.reporter.report(peer.span().start, message, "name a field of this filter");
            }
            slot
        });
        let compiled = match self.compile {
            Compile::OnUse => OnceLock::new(),
            Compile::Now => self.compiled(&patterns, regexes, json.as_ref(), start),
        };
        if self.reporter.errors.len() > before {
            return None;
        }
        Some(Filter {
            span: self.span(start),
            name: draft.name.into_inner(),
            description: draft.description,
            programs: draft.programs,
            header: draft.header,
            utc: draft.utc,
            peer,
            names,
            events,
            patterns,
            json: json.map(|(json, _)| json),
            compiled,
        })
    }

    fn pattern_count(&mut self, draft: &DraftFilter, patterns: &[DraftPattern], start: usize) {
        let least = usize::from(!draft.json);
        if !(least..=limits::MAX_PATTERNS).contains(&patterns.len()) {
            let message = format!("{} patterns; 1 to {} are possible", patterns.len(), limits::MAX_PATTERNS);
            let help = "add `[[patterns]]` with `event` and `regex`, or `json = true`";
            self.reporter.report(start, message, help);
        }
        if !draft.fields.is_empty() && !draft.json {
            let help = "name the groups of the patterns instead: `(?<user>…)`";
            self.reporter.report(start, "`[filter.fields]` belongs to JSON filters", help);
        }
    }

    fn parts(&mut self, draft: &DraftFilter) -> BTreeMap<String, String> {
        let mut parts = BTreeMap::new();
        for (name, part) in &draft.parts {
            match expand::expand(part.get_ref(), &BTreeMap::new()) {
                Ok(text) => drop(parts.insert(name.clone(), text)),
                Err(message) => {
                    let help = "a part may use `<ip>`, but no other part";
                    self.reporter.report(part.span().start, message, help);
                }
            }
        }
        parts
    }

    fn compiled(
        &mut self,
        patterns: &[Pattern],
        regexes: Vec<Regex>,
        json: Option<&(Json, Vec<Regex>)>,
        start: usize,
    ) -> OnceLock<Option<Compiled>> {
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.regex.as_str()).collect();
        let any = compile_any(&texts).unwrap_or_else(|message| {
            let help = "the patterns are too large together: shorten repetitions, or split the filter";
            self.reporter.report(start, message, help);
            None
        });
        let tests = json.map(|(_, tests)| tests.clone()).unwrap_or_default();
        OnceLock::from(Some(Compiled { any, patterns: regexes, tests }))
    }

    /// How JSON lines are read, and the regexes of the field tests if they are compiled now.
    fn json(
        &mut self,
        draft: &DraftFilter,
        patterns: &[&DraftPattern],
        parts: &BTreeMap<String, String>,
        start: usize,
        names: &mut Names,
        events: &mut Vec<Arc<str>>,
    ) -> (Json, Vec<Regex>) {
        let (mut tree, mut instead) = (Tree::default(), Vec::new());
        for (name, keys) in &draft.fields {
            let slot = names.slot_or_new(name);
            let keys_of: Vec<&str> = match keys.get_ref() {
                Value::String(key) => vec![key],
                Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
                Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_)
                | Value::Table(_) => Vec::new(),
            };
            if keys_of.is_empty() {
                let help =
                    "write a key (`\"ClientHost\"`), a path (`\"/request/remote_ip\"`), or a list of them";
                self.reporter.report(keys.span().start, format!("`{name}` names no key"), help);
            }
            for (number, key) in keys_of.into_iter().enumerate() {
                let path: Vec<String> = match key.strip_prefix('/') {
                    Some(path) => path.split('/').map(|k| k.replace("~1", "/").replace("~0", "~")).collect(),
                    None => vec![key.to_owned()],
                };
                let target = if number == 0 { slot } else { names.slot_or_new(&format!("{name}|{number}")) };
                tree.want(&path, target);
                if number > 0 {
                    instead.push((slot, target));
                }
            }
        }
        let (mut compiled, mut regexes) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let own = self.field_pattern(pattern, parts, names, &mut regexes);
            let has_ip = own.iter().flat_map(|test| &test.groups).any(|slot| *slot == Some(IP));
            let has_ip = has_ip || draft.fields.contains_key("ip");
            if let Some(event) = self.event_of(pattern, has_ip, pattern.place(), events) {
                compiled.push(FieldPattern { event, tests: own });
            }
        }
        let tests = compiled.iter_mut().flat_map(|pattern| &mut pattern.tests);
        tests.enumerate().for_each(|(number, test)| test.number = number);
        let event = patterns
            .is_empty()
            .then(|| event_number(draft.event.as_ref().map_or("line", |event| event.get_ref()), events));
        if let (Some(event), false) = (&draft.event, patterns.is_empty()) {
            let help = "leave it out: each pattern with `match` has its own";
            self.reporter.report(event.span().start, "the patterns say what the lines are", help);
        }
        if patterns.is_empty() && !draft.fields.contains_key("ip") {
            let help = "say in `[filter.fields]` which key holds the address";
            self.reporter.report(start, "no field `ip`", help);
        }
        (Json { tree, instead, event, patterns: compiled }, regexes)
    }

    fn field_pattern(
        &mut self,
        draft: &DraftPattern,
        parts: &BTreeMap<String, String>,
        names: &mut Names,
        regexes: &mut Vec<Regex>,
    ) -> Vec<FieldTest> {
        if let Some(regex) = &draft.regex {
            let help = "`regex` is for messages that are text; a JSON line has `match` alone";
            self.reporter.report(regex.span().start, "both `regex` and `match`", help);
        }
        let mut tests = Vec::new();
        for (field, regex) in &draft.fields {
            let Some(slot) = names.slot(field) else {
                let message = format!("no field is named `{field}`");
                self.reporter.report(regex.span().start, message, "name one of `[filter.fields]`");
                continue;
            };
            if let Some((text, group_names, compiled)) = self.regex(regex, parts) {
                regexes.extend(compiled);
                let groups = slots_of(&group_names, names);
                tests.push(FieldTest { slot, regex: text, groups, number: 0 });
            }
        }
        tests
    }

    fn pattern(
        &mut self,
        filter: &DraftFilter,
        draft: &DraftPattern,
        parts: &BTreeMap<String, String>,
        names: &mut Names,
        events: &mut Vec<Arc<str>>,
    ) -> Option<(Pattern, Option<Regex>)> {
        let Some(regex) = &draft.regex else {
            let help = "add `regex = '…'`, or for JSON lines `match = { field = '…' }`";
            self.reporter.report(filter.name.span().start, "a pattern without `regex`", help);
            return None;
        };
        let (text, group_names, compiled) = self.regex(regex, parts)?;
        let has_ip = group_names.iter().flatten().any(|name| name == "ip");
        let event = self.event_of(draft, has_ip, regex.span().start, events)?;
        let groups = slots_of(&group_names, names);
        let cut_at = draft.cut_at.or(filter.cut_at);
        Some((Pattern { event, regex: text, groups, cut_at }, compiled))
    }

    /// A regex with its parts put in, the names of its groups, and the regex itself if it is compiled now.
    fn regex(
        &mut self,
        draft: &Spanned<String>,
        parts: &BTreeMap<String, String>,
    ) -> Option<(String, Vec<Option<String>>, Option<Regex>)> {
        let at = draft.span().start;
        let text = match expand::expand(draft.get_ref(), parts) {
            Ok(text) => text,
            Err(message) => {
                let known: Vec<&str> = ["ip"].into_iter().chain(parts.keys().map(String::as_str)).collect();
                let help = format!("known parts: {}; a plain `<` is written `\\x3C`", known.join(", "));
                self.reporter.report(at, message, help);
                return None;
            }
        };
        let compiled = group_names(&text).and_then(|names| match self.compile {
            Compile::Now => Ok((names, Some(compile_groups(&text)?))),
            Compile::OnUse => Ok((names, None)),
        });
        match compiled {
            Ok((names, regex)) => Some((text, names, regex)),
            Err(message) => {
                let help = "patterns are regular expressions without look-around and back-references; \
                            keep counted repetitions small";
                self.reporter.report(at, message, help);
                None
            }
        }
    }

    /// The kind of event of a pattern, by number; `Some(None)` for lines that mean nothing.
    #[expect(clippy::option_option, reason = "the outer one is whether the pattern has no mistake")]
    fn event_of(
        &mut self,
        draft: &DraftPattern,
        has_ip: bool,
        at: usize,
        events: &mut Vec<Arc<str>>,
    ) -> Option<Option<usize>> {
        match (&draft.event, draft.ignore) {
            (Some(event), false) if has_ip => Some(Some(event_number(event, events))),
            (None, true) => Some(None),
            (Some(_), false) => {
                self.reporter.report(at, "the pattern has no address", "put `<ip>` where the address stands");
                None
            }
            (Some(_), true) | (None, false) => {
                let help = "give the pattern either an `event` or `ignore = true`";
                self.reporter.report(at, "the pattern does not say what a match means", help);
                None
            }
        }
    }

    fn scenario<'k>(
        &mut self,
        draft: DraftScenario,
        parts: &BTreeMap<String, String>,
        own: Option<&Filter>,
        find: &impl Fn(&str) -> Option<&'k Filter>,
    ) -> Option<Scenario>
    where
        Self: 'k,
    {
        let before = self.reporter.errors.len();
        let start = draft.name.span().start;
        self.name(&draft.name);
        let mut filters = Vec::new();
        match &draft.filters {
            Some(list) => {
                for name in list {
                    match find(name.get_ref()) {
                        Some(filter) => filters.push(filter),
                        None => {
                            let message = format!("there is no filter `{}`", name.get_ref());
                            let help = "name a built-in filter or one of a file read before";
                            self.reporter.report(name.span().start, message, help);
                        }
                    }
                }
            }
            None => match own.and_then(|own| find(&own.name)) {
                Some(own) => filters.push(own),
                None => {
                    let help = "add `filters = [\"nginx\"]`, or a `[filter]` to this file";
                    self.reporter.report(start, "the scenario has no filter", help);
                }
            },
        }
        let fields: BTreeSet<&str> = filters.iter().flat_map(|filter| filter.fields()).collect();
        let kinds: BTreeSet<&str> = filters.iter().flat_map(|filter| filter.events()).collect();
        let mut check = |name: &Spanned<String>, known: &BTreeSet<&str>, what: &str| {
            if !filters.is_empty() && !known.contains(name.get_ref().as_str()) {
                let known: Vec<&str> = known.iter().copied().filter(|name| !name.contains('|')).collect();
                let message = format!("no filter of this scenario has the {what} `{}`", name.get_ref());
                self.reporter.report(name.span().start, message, format!("known: {}", known.join(", ")));
            }
        };
        draft.events.iter().for_each(|event| check(event, &kinds, "event"));
        draft.distinct.iter().for_each(|field| check(field, &fields, "field"));
        draft.group_by.iter().flatten().for_each(|field| check(field, &fields, "field"));
        for (field, value) in draft.when.iter().flatten() {
            check(&Spanned::new(value.span(), field.clone()), &fields, "field");
        }
        let mut when = Vec::new();
        for table in &draft.when {
            let mut conditions = Vec::new();
            for (field, value) in table {
                match tests_of(field, value.get_ref(), parts, self.compile) {
                    Ok(tests) => conditions.extend(tests),
                    Err(message) => {
                        let help = "write a value, a list of values, or one of `{ not = […] }`, \
                                    `{ from = 400, to = 499 }`, `{ contains = […] }`, `{ regex = '…' }`, \
                                    `{ unlike = '…' }`; `contains` and `regex` also with `decoded = true`";
                        self.reporter.report(value.span().start, format!("`{field}`: {message}"), help);
                    }
                }
            }
            conditions.sort_by_key(|condition| condition.test.cost());
            when.push(conditions);
        }
        let group_by = self.group_by(&draft);
        let ipv4_prefix = self.prefix(draft.ipv4_prefix.as_ref(), 32, 16);
        let ipv6_prefix = self.prefix(draft.ipv6_prefix.as_ref(), 128, 32).min(128);
        let ipv6_prefix = if draft.ipv6_prefix.is_some() { ipv6_prefix } else { 64 };
        let capacity = *draft.capacity.get_ref();
        if capacity > limits::MAX_CAPACITY {
            let help = format!("write at most {}", limits::MAX_CAPACITY);
            self.reporter.report(draft.capacity.span().start, format!("a capacity of {capacity}"), help);
        }
        let (leak, ban) = (self.duration(&draft.leak), self.duration(&draft.ban));
        (self.reporter.errors.len() == before).then(|| Scenario {
            span: self.span(start),
            name: draft.name.into_inner(),
            description: draft.description,
            filters: filters.iter().map(|filter| filter.name.clone()).collect(),
            events: draft.events.into_iter().map(Spanned::into_inner).collect(),
            group_by,
            ipv4_prefix,
            ipv6_prefix,
            distinct: draft.distinct.map(Spanned::into_inner),
            capacity,
            leak,
            ban,
            direction: draft.direction,
            mode: draft.mode,
            when,
        })
    }

    fn group_by(&mut self, draft: &DraftScenario) -> Vec<String> {
        let Some(list) = &draft.group_by else { return Vec::new() };
        if !list.iter().any(|field| field.get_ref() == "ip") {
            let at = list.first().map_or(draft.name.span().start, |field| field.span().start);
            self.reporter.report(at, "`group_by` without `ip`", "a ban needs an address: add `\"ip\"`");
        }
        list.iter().map(|field| field.get_ref().clone()).filter(|field| field != "ip").collect()
    }

    fn prefix(&mut self, prefix: Option<&Spanned<u8>>, most: u8, least: u8) -> u8 {
        let Some(prefix) = prefix else { return most };
        if !(least..=most).contains(prefix.get_ref()) {
            let message = format!("a prefix of {} bits", prefix.get_ref());
            self.reporter.report(prefix.span().start, message, format!("write {least} to {most}"));
        }
        *prefix.get_ref()
    }

    fn duration(&mut self, text: &Spanned<String>) -> Duration {
        let longest = Duration::from_secs(10 * 366 * 86_400);
        match model::parse_duration(text.get_ref()) {
            Ok(duration) if duration.is_zero() || duration > longest => {
                let message = format!("`{}` is zero or longer than ten years", text.get_ref());
                self.reporter.report(text.span().start, message, "write for example `10m` or `4h`");
                longest
            }
            Ok(duration) => duration,
            Err(message) => {
                self.reporter.report(text.span().start, message, "at least one number with a unit");
                longest
            }
        }
    }
}

/// The number of a kind of event, new ones at the end.
fn event_number(event: &str, events: &mut Vec<Arc<str>>) -> usize {
    events.iter().position(|known| **known == *event).unwrap_or_else(|| {
        events.push(event.into());
        events.len() - 1
    })
}

fn slots_of(group_names: &[Option<String>], names: &mut Names) -> Vec<Option<usize>> {
    group_names.iter().map(|name| Some(names.slot_or_new(name.as_ref()?))).collect()
}

/// The tests of one field, all of which must hold.
fn tests_of(
    field: &str,
    value: &Value,
    parts: &BTreeMap<String, String>,
    compile: Compile,
) -> Result<Vec<Condition>, String> {
    let condition = |test, decoded| Condition { field: field.to_owned(), test, decoded };
    let table = match value {
        Value::Table(table) => table,
        Value::Array(_) | Value::String(_) | Value::Integer(_) | Value::Boolean(_) => {
            return Ok(vec![condition(Test::OneOf(values(value)?), false)]);
        }
        Value::Float(_) | Value::Datetime(_) => return Err("only text, whole numbers and lists".into()),
    };
    let decoded = table.get("decoded").is_some_and(|flag| flag.as_bool() == Some(true));
    let mut tests = Vec::new();
    for (key, value) in table {
        let search = || {
            let text = value.as_str().ok_or(format!("`{key}` must be text"))?;
            let text = expand::known(text, parts)?;
            match compile {
                Compile::Now => Search::compiled_now(text),
                Compile::OnUse => Ok(Search::new(text)),
            }
        };
        let test = match key.as_str() {
            "decoded" => continue,
            "not" => Test::NoneOf(values(value)?),
            "contains" => {
                let words = AhoCorasick::builder().ascii_case_insensitive(true).build(values(value)?);
                Test::Contains(words.map_err(|error| error.to_string())?)
            }
            "regex" => Test::Regex(search()?),
            "unlike" => Test::Unlike(search()?),
            "from" | "to" => {
                let bound = |key: &str| {
                    let number = table.get(key).and_then(Value::as_integer);
                    number
                        .and_then(|number| u64::try_from(number).ok())
                        .ok_or(format!("`{key}` must be a number"))
                };
                let (from, to) = (bound("from")?, bound("to")?);
                if from > to {
                    return Err("`from` is larger than `to`".into());
                }
                if key == "to" {
                    continue;
                }
                Test::Between(from, to)
            }
            other => return Err(format!("`{other}` is no test")),
        };
        let decoded = decoded && matches!(test, Test::Contains(_) | Test::Regex(_));
        tests.push(condition(test, decoded));
    }
    if tests.is_empty() {
        return Err("no test".into());
    }
    if decoded && !tests.iter().any(|test| test.decoded) {
        return Err("`decoded` goes with `contains` and `regex` only".into());
    }
    Ok(tests)
}

/// One value or a list of them, as the bytes they have in a line.
fn values(value: &Value) -> Result<Vec<Vec<u8>>, String> {
    match value {
        Value::String(text) => Ok(vec![text.as_bytes().to_vec()]),
        Value::Integer(number) => Ok(vec![number.to_string().into_bytes()]),
        Value::Boolean(flag) => Ok(vec![flag.to_string().into_bytes()]),
        Value::Array(list) if list.is_empty() => Err("the list is empty".into()),
        Value::Array(list) => {
            list.iter().map(values).collect::<Result<Vec<_>, _>>().map(|lists| lists.concat())
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => {
            Err("only text, whole numbers and lists of them".into())
        }
    }
}
