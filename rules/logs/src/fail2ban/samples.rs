//! Sample lines in Fail2ban's format (`testcases/files/logs`): above a line stands in JSON whether it must match, the
//! time, the host and other fields; options of the filter change in between.
//!
//! They are judged as Fail2ban's own tests do it: in the time zone of Zurich, on 14 August 2005 at noon, with every
//! failregex tried on every line.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use model::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::filter::Filter;
use super::limits::{MAX_OPTION_SETS, MAX_SAMPLES};
use super::matcher::{Failure, Judged, Matcher, Options, TUPLE};
use super::reader::Texts;

/// 14 August 2005, 12:00:00 in Zurich.
const NOW: Timestamp = Timestamp::from_seconds(1_124_013_600);

/// What came of samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Lines that were judged as they must be, with every set of options that is asked for.
    pub passed: usize,
    /// Expectations that were not met.
    pub failed: Vec<Failed>,
    /// What could not be tried.
    pub unsupported: Vec<Unsupported>,
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// File and line, with the options of the filter.
    pub test: String,
    /// What must be.
    pub assert: String,
    /// What is.
    pub got: String,
}

/// Samples that could not be tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unsupported {
    /// File, and line if it is one.
    pub test: String,
    /// Why not.
    pub why: String,
}

/// A filter with one set of options, and how it goes on from line to line.
struct Tried {
    /// Name that the options give it; a set of options that comes again goes on where it was.
    key: String,
    options: Map<String, Value>,
}

/// Runs the samples `logs/NAME` by the filter `filters/NAME`.
#[must_use]
pub fn run(filters: &Texts, folder: &str, name: &str, logs: &BTreeMap<String, Vec<u8>>) -> Report {
    let mut run = Run { filters, folder, name, matchers: BTreeMap::new(), report: Report::default() };
    let mut files = vec![name.to_owned()];
    let mut at = 0;
    let mut tried: Vec<Tried> = Vec::new();
    while let Some(file) = files.get(at).cloned() {
        at += 1;
        match logs.get(&file) {
            None => run.unsupported(file.clone(), "there are no samples of this name".into()),
            Some(bytes) if bytes.len() > MAX_SAMPLES => {
                run.unsupported(file.clone(), format!("longer than {MAX_SAMPLES} bytes"));
            }
            Some(bytes) => run.file(&file, bytes, &mut files, &mut tried),
        }
    }
    run.report
}

/// Names of the files that samples add (`# addFILE:`).
pub fn added(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let comments = text.lines().filter_map(|line| match Comment::read(line)? {
        (Comment::AddFile, Ok(Value::String(name))) => Some(name),
        _ => None,
    });
    comments.collect()
}

struct Run<'r> {
    filters: &'r Texts,
    folder: &'r str,
    name: &'r str,
    matchers: BTreeMap<String, Option<Matcher>>,
    report: Report,
}

impl Run<'_> {
    fn unsupported(&mut self, test: String, why: String) {
        self.report.unsupported.push(Unsupported { test, why });
    }

    fn file(&mut self, file: &str, bytes: &[u8], files: &mut Vec<String>, tried: &mut Vec<Tried>) {
        let mut common = Map::new();
        let mut skip = false;
        let mut expected: Option<Map<String, Value>> = None;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let place = format!("{file}:{}", number + 1);
            if expected.is_none() {
                let text = String::from_utf8_lossy(line);
                match Comment::read(&text) {
                    Some((Comment::Expected, Ok(Value::Object(fields)))) => {
                        expected = Some(fields);
                        continue;
                    }
                    Some((Comment::FileOptions, Ok(Value::Object(options)))) => {
                        common = options;
                        continue;
                    }
                    Some((Comment::FilterOptions, Ok(options))) => {
                        skip = self.options(&place, options, &common, tried);
                        continue;
                    }
                    Some((Comment::AddFile, Ok(Value::String(more)))) => {
                        if !files.contains(&more) {
                            files.push(more);
                        }
                        continue;
                    }
                    Some((_, Ok(_))) => {
                        self.unsupported(place, "the JSON is of another kind".into());
                        continue;
                    }
                    Some((_, Err(error))) => {
                        self.unsupported(place, format!("the JSON is wrong: {error}"));
                        continue;
                    }
                    None if text.starts_with('#') || text.trim().is_empty() => continue,
                    None => {}
                }
            }
            let expected = expected.take().unwrap_or_default();
            if !skip {
                self.line(&place, line, &expected, tried);
            }
        }
    }

    /// Options of the filter from here on; whether what follows is left out.
    fn options(
        &mut self,
        place: &str,
        options: Value,
        common: &Map<String, Value>,
        tried: &mut Vec<Tried>,
    ) -> bool {
        let sets = match options {
            Value::Array(sets) => sets,
            one => vec![one],
        };
        tried.clear();
        let mut skip = false;
        if sets.len() > MAX_OPTION_SETS {
            self.unsupported(place.to_owned(), format!("more than {MAX_OPTION_SETS} sets of options"));
            return true;
        }
        for set in sets {
            let Value::Object(set) = set else {
                self.unsupported(place.to_owned(), "options that are no object".into());
                continue;
            };
            let mut options = common.clone();
            options.extend(set);
            if let Some(condition) = options.get("test.condition").and_then(Value::as_str) {
                match Condition::holds(condition, self.name, &options) {
                    Ok(holds) => skip = !holds,
                    Err(why) => self.unsupported(place.to_owned(), format!("`{condition}`: {why}")),
                }
            }
            if !skip {
                let key = self.matcher(place, &options);
                tried.push(Tried { key, options });
            }
        }
        skip
    }

    /// The matcher for a set of options, by name.
    fn matcher(&mut self, place: &str, options: &Map<String, Value>) -> String {
        let own: BTreeMap<String, String> = options
            .iter()
            .filter(|(key, _)| !key.starts_with("test."))
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect();
        let named = options.get("test.filter-name").and_then(Value::as_str);
        let key = named.map_or_else(|| format!("{own:?}"), str::to_owned);
        if !self.matchers.contains_key(&key) {
            let path = format!("{}{}", self.folder, self.name);
            let matcher = match Filter::read(self.filters, &path, &own) {
                Ok(filter) => Some(Matcher::new(
                    Arc::new(filter),
                    Options { zone: zurich(), offset: None, all: true, live: false },
                )),
                Err(errors) => {
                    let why: Vec<String> = errors.iter().map(ToString::to_string).collect();
                    self.unsupported(format!("{place} {}", shown(options)), why.join("; "));
                    None
                }
            };
            self.matchers.insert(key.clone(), matcher);
        }
        key
    }

    fn line(&mut self, place: &str, line: &[u8], expected: &Map<String, Value>, tried: &mut Vec<Tried>) {
        if tried.is_empty() {
            let options = Map::new();
            let key = self.matcher(place, &options);
            tried.push(Tried { key, options });
        }
        let mut passed = None;
        for Tried { key, options } in tried.iter() {
            let test = format!("{place} {}", shown(options));
            if let Some(condition) = expected.get("constraint").and_then(Value::as_str) {
                match Condition::holds(condition, self.name, options) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(why) => {
                        self.unsupported(test, format!("`{condition}`: {why}"));
                        continue;
                    }
                }
            }
            let Some(Some(matcher)) = self.matchers.get_mut(key) else { continue };
            let journal = options.get("logtype").and_then(Value::as_str) == Some("journal");
            let judged = match journal {
                true => {
                    let start = options.get("test.prefix-line").and_then(Value::as_str).unwrap_or("");
                    matcher.entry(NOW, NOW, &[start.as_bytes(), line].concat())
                }
                false => matcher.line(NOW, line),
            };
            let right = match compare(expected, &judged) {
                Ok(()) => true,
                Err((assert, got)) => {
                    self.report.failed.push(Failed { test, assert, got });
                    false
                }
            };
            passed = Some(passed.unwrap_or(true) && right);
        }
        self.report.passed += usize::from(passed == Some(true));
    }
}

#[derive(Clone, Copy, Debug)]
enum Comment {
    Expected,
    FileOptions,
    FilterOptions,
    AddFile,
}

impl Comment {
    /// `# failJSON: {…}`, `# filterOptions: […]`, `# fileOptions: {…}`, `# addFILE: "…"`.
    fn read(line: &str) -> Option<(Self, serde_json::Result<Value>)> {
        let rest = line.strip_prefix('#')?.trim_start_matches('#');
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (word, json) = rest.split_once(':')?;
        let kind = match word {
            "failJSON" => Self::Expected,
            "fileOptions" => Self::FileOptions,
            "filterOptions" => Self::FilterOptions,
            "addFILE" => Self::AddFile,
            _ => return None,
        };
        (!json.trim().is_empty()).then(|| (kind, serde_json::from_str(json)))
    }
}

fn zurich() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap_or(TimeZone::UTC)
}

fn shown(options: &Map<String, Value>) -> String {
    Value::Object(options.clone()).to_string()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What must be and what is, where they differ.
fn compare(expected: &Map<String, Value>, judged: &Judged) -> Result<(), (String, String)> {
    let counted: Vec<&Failure> =
        judged.failures.iter().filter(|failure| failure.who.is_some() && !failure.no_failure).collect();
    let wanted = expected.get("match").and_then(Value::as_bool).unwrap_or(false);
    let seen = |failures: &[&Failure]| match failures {
        [] => "no match".to_owned(),
        failures => failures
            .iter()
            .map(|failure| {
                format!(
                    "match of failregex {} with {}",
                    failure.regex,
                    failure.who.as_deref().unwrap_or("nobody")
                )
            })
            .collect::<Vec<_>>()
            .join(", "),
    };
    let failure = match (wanted, counted.as_slice()) {
        (false, []) => return Ok(()),
        (true, [one]) => *one,
        (true, _) => return Err(("one match".into(), seen(&counted))),
        (false, _) => return Err(("no match".into(), seen(&counted))),
    };
    for (key, value) in expected {
        let (is, same) = match key.as_str() {
            "match" | "desc" | "constraint" => continue,
            "time" => {
                let is = failure.at;
                let wanted = value.as_str().and_then(moment);
                (is.map_or_else(|| "no time".into(), local), value.is_null() || is == wanted)
            }
            key => field(failure, key, value),
        };
        if !same {
            return Err((format!("{key} {value}"), is));
        }
    }
    Ok(())
}

/// What a field is, and whether it is that.
fn field(failure: &Failure, key: &str, wanted: &Value) -> (String, bool) {
    if key == "users" && !failure.users.is_empty() {
        let texts = wanted.as_array().map(|list| list.iter().map(plain).collect::<BTreeSet<_>>());
        return (format!("{:?}", failure.users), texts.as_ref() == Some(&failure.users));
    }
    let held = match key {
        "ip" if failure.part => failure.address.map(|address| address.to_string()),
        key => failure.fields.get(key).cloned(),
    };
    let held = held.or_else(|| match key {
        "host" => failure.who.clone(),
        "attempts" => Some(failure.attempts.to_string()),
        _ => None,
    });
    let Some(held) = held else { return ("nothing".into(), wanted.is_null()) };
    let same = match wanted {
        Value::Array(list) => list.iter().map(plain).eq(held.split(TUPLE).map(str::to_owned)),
        Value::Null => false,
        one => {
            let one = plain(one);
            let addresses = || Some((one.parse::<IpAddr>().ok()?, held.parse::<IpAddr>().ok()?));
            one == held
                || (matches!(key, "host" | "ip") && addresses().is_some_and(|(one, other)| one == other))
        }
    };
    (held.replace(TUPLE, ", "), same)
}

/// `2005-01-23T21:59:59.5`, where numbers may be short, as Python's `strptime` takes them.
fn moment(text: &str) -> Option<Timestamp> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut numbers = text.split(['-', 'T', ':']).map(str::parse::<i16>);
    let mut number = || numbers.next()?.ok();
    let year = number()?;
    let mut small = || number().and_then(|number| i8::try_from(number).ok());
    let civil = DateTime::new(year, small()?, small()?, small()?, small()?, small()?, 0).ok()?;
    let at = zurich().to_ambiguous_timestamp(civil).compatible().ok()?;
    let micros: i64 =
        if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").get(..6)?.parse().ok()? };
    Some(Timestamp(at.as_microsecond() + micros))
}

fn local(at: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(at) => at.to_zoned(zurich()).datetime().to_string(),
        Err(_) => at.to_string(),
    }
}

/// The conditions that samples have: `name == 'sshd'`, `opts.get('mode') != 'aggressive'`, with `and`, `or`, `not`, `in`
/// and brackets.
struct Condition<'c> {
    tokens: Vec<Token>,
    at: usize,
    name: &'c str,
    options: &'c Map<String, Value>,
    depth: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(&'static str),
}

impl Condition<'_> {
    fn holds(text: &str, name: &str, options: &Map<String, Value>) -> Result<bool, String> {
        let mut condition = Condition { tokens: tokens(text)?, at: 0, name, options, depth: 0 };
        let value = condition.or()?;
        if condition.at < condition.tokens.len() {
            return Err("something is left over".into());
        }
        Ok(is_true(&value))
    }

    fn take(&mut self, token: &Token) -> bool {
        let there = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str) -> bool {
        self.take(&Token::Word(word.to_owned()))
    }

    fn or(&mut self) -> Result<Value, String> {
        let mut value = self.and()?;
        while self.word("or") {
            let other = self.and()?;
            value = if is_true(&value) { value } else { other };
        }
        Ok(value)
    }

    fn and(&mut self) -> Result<Value, String> {
        let mut value = self.not()?;
        while self.word("and") {
            let other = self.not()?;
            value = if is_true(&value) { other } else { value };
        }
        Ok(value)
    }

    fn not(&mut self) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("nested too deep".into());
        }
        let value = if self.word("not") { Value::Bool(!is_true(&self.not()?)) } else { self.comparison()? };
        self.depth -= 1;
        Ok(value)
    }

    fn comparison(&mut self) -> Result<Value, String> {
        let left = self.value()?;
        if self.take(&Token::Sign("==")) {
            return Ok(Value::Bool(left == self.value()?));
        }
        if self.take(&Token::Sign("!=")) {
            return Ok(Value::Bool(left != self.value()?));
        }
        let negative = self.tokens.get(self.at + 1) == Some(&Token::Word("in".into())) && self.word("not");
        if self.word("in") {
            let there = match self.value()? {
                Value::Array(list) => list.contains(&left),
                Value::Object(map) => left.as_str().is_some_and(|key| map.contains_key(key)),
                Value::String(text) => left.as_str().is_some_and(|part| text.contains(part)),
                Value::Null | Value::Bool(_) | Value::Number(_) => {
                    return Err("`in` something that has no parts".into());
                }
            };
            return Ok(Value::Bool(there != negative));
        }
        Ok(left)
    }

    fn value(&mut self) -> Result<Value, String> {
        let token = self.tokens.get(self.at).cloned().ok_or("it ends too early")?;
        self.at += 1;
        Ok(match token {
            Token::Text(text) => Value::String(text),
            Token::Sign(open @ ("(" | "[")) => {
                let close = if open == "(" { ")" } else { "]" };
                let mut list = vec![self.or()?];
                let mut several = open == "[";
                while self.take(&Token::Sign(",")) {
                    several = true;
                    if self.tokens.get(self.at) == Some(&Token::Sign(close)) {
                        break;
                    }
                    list.push(self.or()?);
                }
                if !self.take(&Token::Sign(close)) {
                    return Err(format!("a `{open}` without its `{close}`"));
                }
                if several { Value::Array(list) } else { list.remove(0) }
            }
            Token::Sign(sign) => return Err(format!("`{sign}` where a value should be")),
            Token::Word(word) => match word.as_str() {
                "name" => Value::String(self.name.to_owned()),
                "True" => Value::Bool(true),
                "False" => Value::Bool(false),
                "None" => Value::Null,
                "opts" => self.options()?,
                word => return Err(format!("`{word}` is not known here")),
            },
        })
    }

    /// `opts`, `opts.get('x')`, `opts.get('x', 'y')`, `opts['x']`.
    fn options(&mut self) -> Result<Value, String> {
        let close = if self.take(&Token::Sign("[")) {
            "]"
        } else if self.take(&Token::Sign(".")) {
            if !self.word("get") || !self.take(&Token::Sign("(")) {
                return Err("only `get` is known of `opts`".into());
            }
            ")"
        } else {
            return Ok(Value::Object(self.options.clone()));
        };
        let key = self.value()?;
        let other = if self.take(&Token::Sign(",")) { self.value()? } else { Value::Null };
        if !self.take(&Token::Sign(close)) {
            return Err(format!("`{close}` is missing"));
        }
        Ok(key.as_str().and_then(|key| self.options.get(key)).cloned().unwrap_or(other))
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    const SIGNS: [&str; 8] = ["==", "!=", "(", ")", "[", "]", ",", "."];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if c == '\'' || c == '"' {
            let (inside, after) = rest[1..].split_once(c).ok_or("a quote without its end")?;
            tokens.push(Token::Text(inside.to_owned()));
            rest = after;
        } else if c.is_alphanumeric() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            return Err(format!("`{c}` is not known here"));
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let options = serde_json::json!({"mode": "aggressive"});
        let options = options.as_object().unwrap();
        for (text, holds) in [
            ("name == 'sshd'", Ok(true)),
            ("name=='sshd' and opts.get('mode') != 'aggressive'", Ok(false)),
            ("not (name in ('a', 'sshd')) or opts['mode'] == \"aggressive\"", Ok(true)),
            ("opts.get('x', 'y') == 'y' and 'mode' in opts and opts.get('z') == None", Ok(true)),
            ("name not in ['sshd']", Ok(false)),
            ("__import__('os')", Err(())),
            ("name ==", Err(())),
            ("'x", Err(())),
        ] {
            assert_eq!(Condition::holds(text, "sshd", options).map_err(|_| ()), holds, "{text}");
        }
        assert!(Condition::holds(&"not ".repeat(100), "x", options).is_err());
        assert!(Condition::holds(&"(".repeat(100_000), "x", options).is_err());
    }
}
