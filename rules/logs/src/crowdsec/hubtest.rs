//! CrowdSec's own tests of its hub: a log goes through the parsers and scenarios that a `config.yaml` names, and the
//! expressions of `parser.assert` and `scenario.assert` have to hold of what came of it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use model::Timestamp;
use yaml::Node;

use super::{
    DataFile, Event, Item, Items, Line, Lookups, Mode, Pipeline, assert,
    buckets::{BucketLimits, Buckets},
    overflow::Overflow,
    scenario::{FILE_LIMITS, Scenario},
};
use crate::{
    FilterError,
    expr::{Scope, Time, Value},
};

pub use crate::dialect::Files;

/// Bounds of a `config.yaml`.
const CONFIG_LIMITS: yaml::Limits =
    yaml::Limits { bytes: 64 * 1024, nodes: 5_000, repeated: 64 * 1024, depth: 32 };
/// Bytes of a line; the rest of a longer one is cut off.
const MAX_LINE: usize = 64 * 1024;
/// Overflows that are poured again because of one line, at most: scenarios that feed each other end here.
const MAX_REPROCESSED: usize = 256;
/// Years that are tried for dates without one.
const MAX_YEARS: usize = 8;

/// A hub: the files below `parsers`, `scenarios`, `postoverflows`, `patterns` and `data`.
#[derive(Debug)]
pub struct Hub {
    files: Files,
    /// Path of each item by `kind/author/name`.
    names: BTreeMap<String, String>,
    lookups: Option<Arc<dyn Lookups>>,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every assert holds.
    Passed,
    /// These do not, or it could not be run.
    Failed(Vec<FailedAssert>),
    /// It needs what is not there.
    Unsupported(String),
}

/// An assert that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAssert {
    /// The line of the assert file, or what went wrong before there was one.
    pub assert: String,
    /// What its left side is, or why it has no value.
    pub got: String,
}

impl FailedAssert {
    fn new(assert: impl Into<String>, got: impl ToString) -> Self {
        Self { assert: assert.into(), got: got.to_string() }
    }
}

/// A `config.yaml`.
#[derive(Debug, Default)]
struct Config {
    parsers: Vec<String>,
    scenarios: Vec<String>,
    postoverflows: Vec<String>,
    log_file: String,
    log_type: String,
    labels: Vec<(String, String)>,
    ignore_parsers: bool,
    /// As the text of a parser file.
    overrides: Option<String>,
    /// Tests of another kind.
    unsupported: Option<&'static str>,
}

impl Hub {
    /// A hub of these files.
    #[must_use]
    pub fn new(files: Files) -> Self {
        let mut names = BTreeMap::new();
        for path in files.keys() {
            let parts: Vec<&str> = path.split('/').collect();
            let name = match parts[..] {
                ["scenarios", author, file] => named("scenarios", author, file),
                [kind @ ("parsers" | "postoverflows"), _, author, file] => named(kind, author, file),
                _ => None,
            };
            if let Some(name) = name {
                names.insert(name, path.clone());
            }
        }
        Self { files, names, lookups: None }
    }

    /// Lets parsers look up more about addresses.
    #[must_use]
    pub fn with_lookups(mut self, lookups: Arc<dyn Lookups>) -> Self {
        self.lookups = Some(lookups);
        self
    }

    /// A pipeline of all its parsers, and what is wrong with those that are left out.
    #[must_use]
    pub fn parsers(&self) -> (Pipeline, Vec<FilterError>) {
        let below = |folder: &'static str| {
            self.files
                .iter()
                .filter_map(move |(path, bytes)| Some((path, path.strip_prefix(folder)?, bytes.as_slice())))
        };
        let is_yaml = |path: &str| path.ends_with(".yaml") || path.ends_with(".yml");
        let parsers =
            below("parsers/").filter(|(path, _, _)| is_yaml(path)).filter_map(|(path, inside, bytes)| {
                inside.split_once('/').map(|(stage, _)| Item { file: path, stage, bytes })
            });
        let patterns = below("patterns/")
            .filter_map(|(path, _, bytes)| Some((path.as_str(), std::str::from_utf8(bytes).ok()?)));
        let data = below("data/").map(|(_, name, bytes)| DataFile { name, bytes });
        let items = Items { patterns: patterns.collect(), parsers: parsers.collect(), data: data.collect() };
        Pipeline::new(&items)
    }

    /// The file of an item that a test names: `author/name`, or a path in the hub or in the test.
    fn find<'f>(
        &'f self,
        kind: &str,
        name: &str,
        test: &'f Files,
    ) -> Result<(&'f str, &'f [u8]), FailedAssert> {
        let path = name.strip_prefix("./").unwrap_or(name);
        let known = self.names.get(&format!("{kind}/{name}")).map_or(path, String::as_str);
        let found = self.files.get_key_value(known).or_else(|| test.get_key_value(path));
        let (path, bytes) = found.ok_or_else(|| {
            FailedAssert::new(format!("{kind}: {name}"), "is neither in the hub nor in the test")
        })?;
        Ok((path, bytes))
    }
}

/// `kind/author/name` of a YAML file.
fn named(kind: &str, author: &str, file: &str) -> Option<String> {
    let name = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml"))?;
    Some(format!("{kind}/{author}/{name}"))
}

impl Config {
    fn read(bytes: &[u8]) -> Result<Self, FailedAssert> {
        let failed = |got: &dyn ToString| FailedAssert::new("config.yaml", got.to_string());
        let node = yaml::read(bytes, &CONFIG_LIMITS).map_err(|mistake| failed(&mistake))?;
        let names = |key: &str| -> Vec<String> {
            node.at(key).texts().into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let text = |key: &str| node.at(key).text().unwrap_or_default().to_owned();
        let labels = node.at("labels").entries().iter();
        let overrides = node.at("override_statics");
        let unsupported =
            ["appsec-rules", "nuclei_template"].into_iter().find(|key| !node.at(key).is_nothing());
        Ok(Self {
            parsers: names("parsers"),
            scenarios: names("scenarios"),
            postoverflows: names("postoverflows"),
            log_file: text("log_file"),
            log_type: text("log_type"),
            labels: labels.map(|(name, node)| (name.clone(), node.text().unwrap_or("").to_owned())).collect(),
            ignore_parsers: node.at("ignore_parsers").flag().unwrap_or(false),
            overrides: (!overrides.list().is_empty()).then(|| {
                format!("{{\"name\": \"overrides\", \"filter\": \"1==1\", \"statics\": {}}}", json(overrides))
            }),
            unsupported,
        })
    }
}

/// What a test runs on.
struct Run {
    parsers: Pipeline,
    buckets: Buckets,
    postoverflows: Pipeline,
    now: Time,
}

/// What came of the lines.
struct Results {
    parsers: assert::Results,
    overflows: Vec<Arc<Event>>,
}

impl Run {
    /// Compiles what a test names. Also returns the data files that are missing.
    fn new(
        hub: &Hub,
        config: &Config,
        test: &Files,
        now: Time,
    ) -> Result<(Self, Vec<String>), Vec<FailedAssert>> {
        let mut missing = Vec::new();
        let mut failed = Vec::new();
        let mut parsers =
            hub.pipeline("parsers", &config.parsers, config.overrides.as_deref(), test, &mut missing)?;
        let postoverflows = hub.pipeline("postoverflows", &config.postoverflows, None, test, &mut missing)?;
        let mut scenarios = Vec::new();
        for name in &config.scenarios {
            let (path, bytes) = hub.find("scenarios", name, test).map_err(|failed| vec![failed])?;
            match Scenario::read(path, bytes) {
                Ok(read) => scenarios.extend(read),
                Err(mistakes) => failed.extend(mistakes.iter().map(of_mistake)),
            }
        }
        for file in scenarios.iter().flat_map(|scenario| &scenario.data) {
            match hub.data(&file.name, &file.url) {
                Some(bytes) => failed
                    .extend(parsers.add_data(&file.name, &file.kind, bytes).err().iter().map(of_mistake)),
                None => missing.push(file.name.clone()),
            }
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        let buckets = Buckets::new(scenarios, BucketLimits::default());
        Ok((Self { parsers, buckets, postoverflows, now }, missing))
    }

    /// Puts every line through.
    fn lines(&mut self, config: &Config, log: &[u8]) -> Results {
        let mut labels: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        labels
            .extend(config.labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())));
        labels.insert("type".into(), config.log_type.as_str().into());
        let (source, module, labels) =
            (Arc::from(config.log_file.as_str()), Arc::from("file"), Arc::new(labels));
        let mut results = Results { parsers: assert::Results::new(self.now), overflows: Vec::new() };
        for line in log.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            let raw = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]);
            let line = Line {
                raw: raw.as_ref().into(),
                source: Arc::clone(&source),
                module: Arc::clone(&module),
                labels: Arc::clone(&labels),
                time: None,
            };
            let parsed = self.parsers.parse_told(Event::line(line, Mode::Replay, self.now), self.now);
            results.parsers.add(parsed.steps);
            if parsed.event.process && !parsed.event.whitelisted {
                self.pour(parsed.event, &mut results.overflows);
            }
        }
        // As CrowdSec sorts them: the name of the scenario and the sources, backwards; then by their beginning.
        results.overflows.sort_by_cached_key(|event| {
            let overflow = event.overflow.as_deref();
            let key = overflow.map(|overflow| {
                let sources: Vec<&str> = overflow.source_values().map(AsRef::as_ref).collect();
                format!("{}{}", overflow.alert().map_or("", |alert| &alert.scenario), sources.join("@"))
            });
            let start = overflow.and_then(Overflow::alert).map(|alert| alert.start_at);
            (Reverse(key), start)
        });
        results
    }

    /// Pours an event, lets the overflows go through the postoverflows, and pours those again that want it.
    fn pour(&mut self, event: Event, overflows: &mut Vec<Arc<Event>>) {
        let now = i64::try_from(self.now.instant.as_nanosecond()).unwrap_or(i64::MAX);
        let mut waiting = VecDeque::from([event]);
        let mut rest = MAX_REPROCESSED;
        while let Some(event) = waiting.pop_front() {
            let mut seen = event.clone();
            let event = Arc::new(event);
            let poured = self.buckets.pour(&event, &mut self.parsers.scope(&mut seen, self.now), now);
            for overflow in poured {
                let overflow = self.postoverflows.parse(overflow, self.now);
                let wanted = overflow.overflow.as_ref().is_some_and(|it| it.reprocess && !it.whitelisted);
                if wanted && let Some(left) = rest.checked_sub(1) {
                    rest = left;
                    waiting.push_back(overflow.clone());
                }
                overflows.push(Arc::new(overflow));
            }
        }
    }
}

impl Hub {
    /// Runs a test. `now` is the time of dates without a year, where the asserts do not say another one.
    #[must_use]
    pub fn test(&self, test: &Files, now: Timestamp) -> Verdict {
        let config = match test.get("config.yaml").map_or(Ok(Config::default()), |bytes| Config::read(bytes))
        {
            Ok(config) => config,
            Err(failed) => return Verdict::Failed(vec![failed]),
        };
        if let Some(key) = config.unsupported {
            return Verdict::Unsupported(key.to_owned());
        }
        let text = |file: &str| {
            test.get(file).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
        };
        let (parser, scenario) = (text("parser.assert"), text("scenario.assert"));
        let now = jiff::Timestamp::from_microsecond(now.0).unwrap_or_default();
        let this_year = now.to_zoned(jiff::tz::TimeZone::UTC).year();
        let mut first = None;
        let mut unsupported = None;
        for year in years(&[&parser, &scenario], this_year) {
            let at = if year == this_year { Some(now) } else { last_of(year) };
            let Some(at) = at else { continue };
            let (failed, missing) = self.run(&config, test, [&parser, &scenario], Time::utc(at));
            if failed.is_empty() {
                return Verdict::Passed;
            }
            unsupported = missing.first().map(|file| format!("data file {file}"));
            first.get_or_insert(failed);
        }
        unsupported.map_or_else(|| Verdict::Failed(first.unwrap_or_default()), Verdict::Unsupported)
    }

    /// Runs a test at a time: what failed, and the data files that are missing.
    fn run(
        &self,
        config: &Config,
        test: &Files,
        [parser, scenario]: [&str; 2],
        now: Time,
    ) -> (Vec<FailedAssert>, Vec<String>) {
        let (mut run, missing) = match Run::new(self, config, test, now) {
            Ok(run) => run,
            Err(failed) => return (failed, Vec::new()),
        };
        let Some(log) = test.get(&config.log_file) else {
            return (
                vec![FailedAssert::new(format!("log_file: {}", config.log_file), "is not in the test")],
                missing,
            );
        };
        let mut results = run.lines(config, log);
        let mut failed = Vec::new();
        if !config.ignore_parsers {
            failed.extend(check("parser.assert", parser, &mut results.parsers));
        }
        if !config.scenarios.is_empty() {
            let overflows = results.overflows.iter().map(|event| Value::Object(event.clone())).collect();
            failed.extend(check("scenario.assert", scenario, &mut Overflows(overflows)));
        }
        (failed, missing)
    }

    /// The pipeline of the items that a test names. What its data files are is noted where they are missing.
    fn pipeline(
        &self,
        kind: &str,
        names: &[String],
        overrides: Option<&str>,
        test: &Files,
        missing: &mut Vec<String>,
    ) -> Result<Pipeline, Vec<FailedAssert>> {
        let mut files: BTreeMap<(&str, &str), (&str, &[u8])> = BTreeMap::new();
        let mut urls: Vec<(String, String)> = Vec::new();
        for name in names {
            let (path, bytes) = self.find(kind, name, test).map_err(|failed| vec![failed])?;
            let mut parts = path.rsplit('/');
            let (file, stage) = (parts.next().unwrap_or(""), parts.nth(1).unwrap_or(""));
            // The same file by two names stands once in the folder that CrowdSec makes.
            files.insert((stage, file), (path, bytes));
            for node in yaml::documents(bytes, &FILE_LIMITS).unwrap_or_default() {
                let text = |node: &Node, key: &str| node.at(key).text().unwrap_or("").to_owned();
                let named = |node: &Node| (text(node, "dest_file"), text(node, "source_url"));
                urls.extend(node.at("data").list().iter().map(named));
            }
        }
        let mut items = Items::default();
        if let Some(overrides) = overrides {
            items.parsers.push(Item {
                file: "00_overrides.yaml",
                stage: "s00-raw",
                bytes: overrides.as_bytes(),
            });
        }
        items.parsers.extend(files.iter().map(|((stage, _), (file, bytes))| Item { file, stage, bytes }));
        for (name, url) in &urls {
            match self.data(name, url) {
                Some(bytes) => items.data.push(DataFile { name, bytes }),
                None => missing.push(name.clone()),
            }
        }
        if !items.parsers.is_empty() {
            let patterns = self
                .files
                .range("patterns/".to_owned()..)
                .take_while(|(path, _)| path.starts_with("patterns/"));
            items.patterns = patterns
                .filter_map(|(path, bytes)| Some((path.as_str(), std::str::from_utf8(bytes).ok()?)))
                .collect();
        }
        let (pipeline, errors) = Pipeline::new(&items);
        let failed: Vec<FailedAssert> = errors.iter().map(of_mistake).collect();
        if !failed.is_empty() {
            return Err(failed);
        }
        Ok(match &self.lookups {
            Some(lookups) => pipeline.with_lookups(lookups.clone()),
            None => pipeline,
        })
    }

    /// A data file by its name, or by that of its address: the hub renames some on the way.
    fn data(&self, name: &str, url: &str) -> Option<&[u8]> {
        let of_url = url.rsplit('/').next().unwrap_or("");
        let found = [name, of_url].into_iter().find_map(|name| self.files.get(&format!("data/{name}")));
        found.map(Vec::as_slice)
    }
}

/// The lines of an assert file that do not hold.
fn check(file: &str, asserts: &str, results: &mut dyn Scope) -> Vec<FailedAssert> {
    if asserts.trim().is_empty() {
        return vec![FailedAssert::new(file, "there is nothing in it")];
    }
    let failed = assert::check(asserts, results).into_iter();
    failed.map(|failed| FailedAssert { assert: failed.assert, got: failed.got }).collect()
}

/// What the asserts of scenarios see: the overflows as events.
struct Overflows(Value);

impl Scope for Overflows {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        (&**path.first()? == "results").then(|| (self.0.clone(), 1))
    }

    fn now(&self) -> Time {
        Time::zero()
    }
}

/// The last second of a year.
fn last_of(year: i16) -> Option<jiff::Timestamp> {
    let last = jiff::civil::Date::new(year, 12, 31).ok()?.at(23, 59, 59, 0);
    last.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn of_mistake(mistake: &FilterError) -> FailedAssert {
    FailedAssert::new(
        format!("{}:{}", mistake.file, mistake.line),
        format!("{}; {}", mistake.message, mistake.help),
    )
}

/// A YAML value as JSON, which is YAML as well.
fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        yaml::Value::Null => serde_json::Value::Null,
        yaml::Value::Text(text) => text.as_str().into(),
        yaml::Value::List(nodes) => nodes.iter().map(json).collect(),
        yaml::Value::Map(entries) => entries.iter().map(|(key, node)| (key.clone(), json(node))).collect(),
    }
}

/// The years that times in asserts have, those that occur most often first: dates in logs without a year were read in
/// the year in which the asserts were written.
fn years(asserts: &[&str], now: i16) -> Vec<i16> {
    let mut counts: BTreeMap<i16, usize> = BTreeMap::new();
    for assert in asserts {
        for (at, _) in assert.match_indices("T") {
            // 2026-01-31T
            let Some(date) = at.checked_sub(10).and_then(|from| assert.get(from..at)) else { continue };
            if let Ok(date) = date.parse::<jiff::civil::Date>() {
                *counts.entry(date.year()).or_default() += 1;
            }
        }
    }
    let mut years: Vec<i16> = counts.keys().copied().collect();
    years.sort_by_key(|year| std::cmp::Reverse((counts[year], *year)));
    if !years.contains(&now) {
        years.push(now);
    }
    years.truncate(MAX_YEARS);
    years
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_asserts() {
        let assert = r#"a["timestamp"] == "2023-09-06T09:57:21Z" b == "2022-01-01T00:00:00Z" "2023-09-06T09:57:21Z" "99-01T""#;
        assert_eq!(years(&[assert], 2026), [2023, 2022, 2026]);
        assert_eq!(years(&["T", "0000-00-00T"], 2026), [2026]);
    }

    #[test]
    fn configs() {
        let config = Config::read(
            b"parsers:\n- crowdsecurity/a\n- \"\"\nscenarios: ['']\nlog_file: a.log\nlog_type: syslog\n\
              labels: {program: x}\nignore_parsers: true\noverride_statics:\n- target: evt.Line.Module\n  value: a\"b\n",
        )
        .unwrap();
        assert_eq!(config.parsers, ["crowdsecurity/a"]);
        assert!(config.scenarios.is_empty() && config.postoverflows.is_empty());
        assert!(config.ignore_parsers);
        assert_eq!(config.labels, [("program".to_owned(), "x".to_owned())]);
        let overrides = config.overrides.unwrap();
        let node = yaml::read(overrides.as_bytes(), &CONFIG_LIMITS).unwrap();
        assert_eq!(node.at("statics").list()[0].at("value").text(), Some("a\"b"));
        assert!(Config::read(b"a: [").is_err());
    }
}
