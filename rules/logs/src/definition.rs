//! Definition files: TOML text to checked filters and scenarios, all mistakes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use model::{Direction, Mode, Span};
use serde::Deserialize;
use toml::{Spanned, Value};

use crate::error::{FilterError, Reporter};
use crate::fields::Names;
use crate::filter::{Body, Filter, HeaderUse, Pattern, compile_any, compile_groups, compile_search};
use crate::json::Tree;
use crate::scenario::{Condition, Scenario, Test};
use crate::{expand, limits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DraftFile {
    filter: Option<DraftFilter>,
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
    event: Option<String>,
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
    regex: Spanned<String>,
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

/// Reads one file. `known` finds filters of files read before.
pub(crate) fn read<'k>(
    file: &str,
    text: &str,
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
    let mut checker = Checker { file, reporter };
    let filter = draft.filter.and_then(|filter| checker.filter(filter, &draft.patterns));
    if filter.is_none() && !draft.patterns.is_empty() && checker.reporter.errors.is_empty() {
        let at = draft.patterns[0].regex.span().start;
        checker.reporter.report(at, "patterns without a filter", "add `[filter]` with a `name`");
    }
    let find = |name: &str| filter.as_ref().filter(|filter| filter.name == name).or_else(|| known(name));
    let mut scenarios = Vec::new();
    // A filter that did not pass would only make its scenarios fail as well.
    if checker.reporter.errors.is_empty() {
        for scenario in draft.scenarios {
            scenarios.extend(checker.scenario(scenario, filter.as_ref(), &find));
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
        let body = if draft.json {
            if let Some(first) = patterns.first() {
                let help = "a JSON filter has `[filter.fields]` instead";
                self.reporter.report(first.regex.span().start, "a JSON filter has no patterns", help);
            }
            events.push(draft.event.as_deref().unwrap_or("line").into());
            self.json_body(&draft, start, &mut names)
        } else {
            self.pattern_body(&draft, patterns, start, &mut names, &mut events)
        };
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
        if self.reporter.errors.len() > before {
            return None;
        }
        Some(Filter {
            span: self.span(start),
            name: draft.name.into_inner(),
            description: draft.description,
            programs: draft.programs,
            header: draft.header,
            peer,
            names,
            events,
            body: body?,
        })
    }

    fn json_body(&mut self, draft: &DraftFilter, start: usize, names: &mut Names) -> Option<Body> {
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
        if !draft.fields.contains_key("ip") {
            self.reporter.report(
                start,
                "no field `ip`",
                "say in `[filter.fields]` which key holds the address",
            );
        }
        Some(Body::Json { tree, instead, event: 0 })
    }

    fn pattern_body(
        &mut self,
        draft: &DraftFilter,
        patterns: &[DraftPattern],
        start: usize,
        names: &mut Names,
        events: &mut Vec<Arc<str>>,
    ) -> Option<Body> {
        if patterns.is_empty() || patterns.len() > limits::MAX_PATTERNS {
            let message = format!("{} patterns; 1 to {} are possible", patterns.len(), limits::MAX_PATTERNS);
            self.reporter.report(
                start,
                message,
                "add `[[patterns]]` with `event` and `regex`, or `json = true`",
            );
            return None;
        }
        if !draft.fields.is_empty() {
            let help = "name the groups of the patterns instead: `(?<user>…)`";
            self.reporter.report(start, "`[filter.fields]` belongs to JSON filters", help);
        }
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
        let (mut texts, mut compiled) = (Vec::new(), Vec::new());
        for pattern in patterns {
            if let Some((text, pattern)) = self.pattern(draft, pattern, &parts, names, events) {
                texts.push(text);
                compiled.push(pattern);
            }
        }
        match compile_any(&texts) {
            Ok(any) => Some(Body::Patterns { any, patterns: compiled }),
            Err(message) => {
                let help = "the patterns are too large together: shorten repetitions, or split the filter";
                self.reporter.report(start, message, help);
                None
            }
        }
    }

    fn pattern(
        &mut self,
        filter: &DraftFilter,
        draft: &DraftPattern,
        parts: &BTreeMap<String, String>,
        names: &mut Names,
        events: &mut Vec<Arc<str>>,
    ) -> Option<(String, Pattern)> {
        let at = draft.regex.span().start;
        let text = match expand::expand(draft.regex.get_ref(), parts) {
            Ok(text) => text,
            Err(message) => {
                let known: Vec<&str> = ["ip"].into_iter().chain(parts.keys().map(String::as_str)).collect();
                let help = format!("known parts: {}; a plain `<` is written `\\x3C`", known.join(", "));
                self.reporter.report(at, message, help);
                return None;
            }
        };
        let regex = match compile_groups(&text) {
            Ok(regex) => regex,
            Err(message) => {
                let help = "patterns are regular expressions without look-around and back-references; \
                            keep counted repetitions small";
                self.reporter.report(at, message, help);
                return None;
            }
        };
        let group_names: Vec<Option<String>> = regex
            .group_info()
            .pattern_names(regex_automata::PatternID::ZERO)
            .map(|n| n.map(str::to_owned))
            .collect();
        let has_ip = group_names.iter().flatten().any(|name| name == "ip");
        let event = match (&draft.event, draft.ignore) {
            (Some(event), false) if has_ip => Some(event),
            (None, true) => None,
            (Some(_), false) => {
                self.reporter.report(at, "the pattern has no address", "put `<ip>` where the address stands");
                return None;
            }
            (Some(_), true) | (None, false) => {
                let help = "give the pattern either an `event` or `ignore = true`";
                self.reporter.report(at, "the pattern does not say what a match means", help);
                return None;
            }
        };
        let groups = group_names.iter().map(|name| Some(names.slot_or_new(name.as_ref()?))).collect();
        let event = event.map(|event| {
            events.iter().position(|known| **known == **event).unwrap_or_else(|| {
                events.push(event.as_str().into());
                events.len() - 1
            })
        });
        Some((text, Pattern { event, regex, groups, cut_at: draft.cut_at.or(filter.cut_at) }))
    }

    fn scenario<'k>(
        &mut self,
        draft: DraftScenario,
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
                match condition(field, value.get_ref()) {
                    Ok(condition) => conditions.push(condition),
                    Err(message) => {
                        let help = "write a value, a list of values, or one of `{ not = […] }`, \
                                    `{ from = 400, to = 499 }`, `{ contains = […] }`, `{ regex = '…' }`, \
                                    the last two also with `decoded = true`";
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

fn condition(field: &str, value: &Value) -> Result<Condition, String> {
    let condition = |test| Condition { field: field.to_owned(), test, decoded: false };
    let table = match value {
        Value::Table(table) => table,
        Value::Array(_) | Value::String(_) | Value::Integer(_) | Value::Boolean(_) => {
            return Ok(condition(Test::OneOf(values(value)?)));
        }
        Value::Float(_) | Value::Datetime(_) => return Err("only text, whole numbers and lists".into()),
    };
    let decoded = table.get("decoded").is_some_and(|flag| flag.as_bool() == Some(true));
    let keys: Vec<&str> = table.keys().map(String::as_str).filter(|key| *key != "decoded").collect();
    let test = match keys.as_slice() {
        ["not"] => Test::NoneOf(values(&table["not"])?),
        ["contains"] => {
            let words = values(&table["contains"])?;
            let words = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
            Test::Contains(words.map_err(|error| error.to_string())?)
        }
        ["regex"] => {
            let pattern = table["regex"].as_str().ok_or("`regex` must be text")?;
            Test::Regex(Box::new(compile_search(pattern)?))
        }
        ["from", "to"] | ["to", "from"] => {
            let bound = |key: &str| table[key].as_integer().and_then(|number| u64::try_from(number).ok());
            let (from, to) = (
                bound("from").ok_or("`from` must be a number")?,
                bound("to").ok_or("`to` must be a number")?,
            );
            if from > to {
                return Err("`from` is larger than `to`".into());
            }
            Test::Between(from, to)
        }
        _ => return Err(format!("`{}` is no test", keys.join(", "))),
    };
    if decoded && !matches!(test, Test::Contains(_) | Test::Regex(_)) {
        return Err("`decoded` goes with `contains` and `regex` only".into());
    }
    Ok(Condition { decoded, ..condition(test) })
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
