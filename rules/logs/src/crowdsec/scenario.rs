//! CrowdSec's scenario files: one or more YAML documents, each a kind of bucket.
//!
//! `leaky`, `trigger` and `conditional` are carried out. `bayesian` and `counter`, which no scenario of the hub uses,
//! are refused by name.

use std::sync::Arc;

use yaml::Node;

use super::{
    duration,
    limiter::Rate,
    node::knows,
    overflow::{SCOPE_IP, SCOPE_RANGE},
};
use crate::{FilterError, expr::Program};

/// Bounds of a scenario file. Those of the hub have 30 kB at most.
pub const FILE_LIMITS: yaml::Limits =
    yaml::Limits { bytes: 256 * 1024, nodes: 20_000, repeated: 256 * 1024, depth: 32 };
/// Documents of one file.
pub const MAX_DOCUMENTS: usize = 64;
/// Largest capacity.
pub const MAX_CAPACITY: i64 = 1_000_000;

/// Events that a bucket with a condition keeps, whatever its capacity: each event makes it look at all of them.
pub const MAX_LOOKED_AT: usize = 256;

/// Keys of a scenario that are read, or that say nothing about what it does.
const KEYS: [&str; 28] = [
    "type",
    "name",
    "description",
    "author",
    "references",
    "format",
    "version",
    "debug",
    "profiling",
    "simulated",
    "filter",
    "groupby",
    "distinct",
    "capacity",
    "leakspeed",
    "duration",
    "blackhole",
    "reprocess",
    "cache_size",
    "cancel_on",
    "overflow_filter",
    "condition",
    "scope",
    "data",
    "labels",
    "bayesian_prior",
    "bayesian_threshold",
    "bayesian_conditions",
];

/// What expressions of scenarios begin with; the last three only where a bucket is looked at.
const ROOTS: [&str; 4] = ["evt", "queue", "leaky", "signal"];

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// `author/name`.
    pub name: Arc<str>,
    /// What it is about.
    pub description: String,
    /// The data files its expressions look into.
    pub data: Vec<DataSource>,
    /// Its labels, in the order of the file; lists joined by `, `.
    pub labels: Vec<(String, String)>,
    /// Whether an overflow asks for a decision (`labels.remediation`).
    pub remediation: bool,
    /// Whether an overflow is poured into the scenarios again.
    pub reprocess: bool,
    /// The scenario is tried out: its alerts are marked.
    pub simulated: bool,
    pub(super) kind: Kind,
    pub(super) filter: Program,
    pub(super) group_by: Option<Program>,
    pub(super) distinct: Option<Program>,
    pub(super) cancel_on: Option<Program>,
    pub(super) overflow_filter: Option<Program>,
    pub(super) condition: Option<Program>,
    pub(super) scope: Scope,
    /// As it is written: 0 for a trigger, -1 for boundless.
    pub(super) capacity: i64,
    /// Nanoseconds.
    pub(super) leak: i64,
    pub(super) flow: Flow,
    /// Nanoseconds after the last event (or the first, if `timed`) at which a bucket is over.
    pub(super) lifetime: i64,
    /// The bucket overflows when its time is over (`duration`); otherwise it just goes.
    pub(super) timed: bool,
    /// Nanoseconds.
    pub(super) blackhole: Option<i64>,
    /// Events a bucket keeps, without the one that overflows.
    pub(super) queue: usize,
}

/// What makes a bucket overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// More events than it leaks.
    Leaky,
    /// Every event.
    Trigger,
    /// Its condition.
    Conditional,
}

/// How events pass into a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flow {
    /// Without bounds (`capacity: -1`).
    Boundless,
    /// Not one (`capacity: 0`).
    Shut,
    /// As long as there are tokens.
    Leaking(Rate),
}

/// What a decision is to be about.
#[derive(Debug)]
pub(super) struct Scope {
    /// `Ip`, `Range` or the scenario's own.
    pub(super) name: Arc<str>,
    pub(super) expression: Option<Program>,
}

/// A file that expressions look into (`File`, `RegexpInFile`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource {
    /// The name expressions use.
    pub name: String,
    /// Where the hub has it.
    pub url: String,
    /// `string`, `regexp` or `map`.
    pub kind: String,
}

impl Scenario {
    /// Reads the scenarios of a file.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Self>, Vec<FilterError>> {
        let documents = yaml::documents(bytes, &FILE_LIMITS).map_err(|mistake| {
            vec![mistake_at(
                file,
                mistake.line.unwrap_or(1),
                &mistake.message,
                "see that it is YAML of a scenario",
            )]
        })?;
        let documents: Vec<&Node> = documents.iter().filter(|node| !node.is_nothing()).collect();
        if documents.is_empty() {
            return Err(vec![mistake_at(
                file,
                1,
                "there is no scenario in it",
                "write `type`, `name`, `filter`, …",
            )]);
        }
        if documents.len() > MAX_DOCUMENTS {
            let message = format!("has {} scenarios, more than {MAX_DOCUMENTS}", documents.len());
            return Err(vec![mistake_at(file, 1, &message, "spread them over several files")]);
        }
        let mut scenarios = Vec::new();
        let mut mistakes = Vec::new();
        for node in documents {
            let mut document = Document { file, node, mistakes: Vec::new(), roots: &ROOTS, functions: &[] };
            let scenario = document.scenario();
            match scenario {
                Some(scenario) if document.mistakes.is_empty() => scenarios.push(scenario),
                _ => mistakes.append(&mut document.mistakes),
            }
        }
        if mistakes.is_empty() { Ok(scenarios) } else { Err(mistakes) }
    }

    /// Whether its buckets remember more of their events than how many they were.
    pub(super) fn remembers(&self) -> bool {
        self.looks_at_queue() || self.distinct.is_some()
    }

    /// Whether its expressions look at the events a bucket keeps.
    pub(super) fn looks_at_queue(&self) -> bool {
        self.condition.is_some() || self.overflow_filter.is_some()
    }
}

impl Scope {
    /// Whether it is the address of the event, without more.
    pub(super) fn is_address(&self) -> bool {
        &*self.name == SCOPE_IP && self.expression.is_none()
    }
}

/// A mistake in a line.
pub(super) fn mistake_at(file: &str, line: usize, message: &str, help: &str) -> FilterError {
    FilterError {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: None,
        message: message.to_owned(),
        help: help.to_owned(),
    }
}

/// One YAML document, and what is wrong with it.
pub(super) struct Document<'t> {
    pub(super) file: &'t str,
    pub(super) node: &'t Node,
    pub(super) mistakes: Vec<FilterError>,
    /// What expressions begin with.
    pub(super) roots: &'static [&'static str],
    /// Functions they may call beside those that parsers may.
    pub(super) functions: &'static [&'static str],
}

impl Document<'_> {
    fn scenario(&mut self) -> Option<Scenario> {
        self.known_keys(&KEYS);
        self.format();
        let name = self.required("name");
        let description = self.required("description");
        let kind = self.kind();
        let filter = self.required_program("filter");
        let capacity = self.number("capacity", 0);
        let leak = self.duration("leakspeed");
        let duration = self.duration("duration").filter(|duration| *duration != 0);
        let blackhole = self.duration("blackhole");
        let cache = self.number("cache_size", 0);
        let condition = self.program("condition");
        let (flow, lifetime) = self.flow(kind?, capacity, leak, duration, condition.is_some())?;
        let queue = match (capacity, cache) {
            (-1, cache) if cache > 0 => usize::try_from(cache).unwrap_or(usize::MAX),
            (-1, _) => usize::MAX,
            (capacity, cache) if cache > 0 && cache <= capacity => usize::try_from(cache).unwrap_or(0),
            (capacity, _) => usize::try_from(capacity).unwrap_or(0),
        };
        let queue = if condition.is_some() { queue.min(MAX_LOOKED_AT) } else { queue };
        let scope = self.scope();
        Some(Scenario {
            name: name?.into(),
            description: description?,
            data: self.data(),
            labels: self.labels(),
            remediation: self.node.at("labels.remediation").flag().unwrap_or(false),
            reprocess: self.flag("reprocess"),
            simulated: self.flag("simulated"),
            kind: kind?,
            filter: filter?,
            group_by: self.program("groupby"),
            distinct: self.program("distinct"),
            cancel_on: self.program("cancel_on"),
            overflow_filter: self.program("overflow_filter"),
            condition,
            scope,
            capacity,
            leak: leak.unwrap_or(0),
            flow,
            lifetime,
            timed: duration.is_some(),
            blackhole,
            queue,
        })
    }

    fn kind(&mut self) -> Option<Kind> {
        let node = self.node.at("type");
        match node.text() {
            Some("leaky") => Some(Kind::Leaky),
            Some("trigger") => Some(Kind::Trigger),
            Some("conditional") => Some(Kind::Conditional),
            Some(kind @ ("bayesian" | "counter")) => {
                let message = format!("buckets of type `{kind}` are not supported");
                self.wrong(node, &message, "write it as `leaky`, `trigger` or `conditional`");
                None
            }
            Some(kind) => {
                let message = format!("`{kind}` is no type of bucket");
                self.wrong(node, &message, "`leaky`, `trigger` and `conditional` are supported");
                None
            }
            None => {
                self.wrong(self.node, "`type` is missing", "write `type: leaky`, `trigger` or `conditional`");
                None
            }
        }
    }

    /// How events pass, and how long a bucket lives.
    fn flow(
        &mut self,
        kind: Kind,
        capacity: i64,
        leak: Option<i64>,
        duration: Option<i64>,
        condition: bool,
    ) -> Option<(Flow, i64)> {
        let node = self.node.at("capacity");
        let before = self.mistakes.len();
        match kind {
            Kind::Leaky => {
                if capacity <= 0 {
                    let message = format!("a leaky bucket cannot have capacity {capacity}");
                    self.wrong(node, &message, "write how many events it holds, 1 at least");
                }
            }
            Kind::Trigger => {
                if capacity != 0 {
                    let message = format!("a trigger cannot have capacity {capacity}");
                    self.wrong(node, &message, "leave `capacity` out");
                }
            }
            Kind::Conditional => {
                if capacity < -1 {
                    let message = format!("a bucket cannot have capacity {capacity}");
                    self.wrong(node, &message, "write `capacity: -1`");
                }
                if !condition {
                    self.wrong(self.node, "`condition` is missing", "say when the bucket overflows");
                }
            }
        }
        if capacity > MAX_CAPACITY {
            let message = format!("capacity {capacity} is more than {MAX_CAPACITY}");
            self.wrong(node, &message, "a bucket that large is never full");
        }
        let leaks = matches!(kind, Kind::Leaky | Kind::Conditional);
        match leak {
            None if leaks => self.wrong(
                self.node,
                "`leakspeed` is missing",
                "write the time in which one event leaks: `leakspeed: 10s`",
            ),
            Some(leak) if leaks && leak <= 0 => {
                let node = self.node.at("leakspeed");
                self.wrong(
                    node,
                    "`leakspeed` has to be more than nothing",
                    "write `leakspeed: 10s`, `500ms`, …",
                );
            }
            None | Some(_) => {}
        }
        if self.mistakes.len() > before {
            return None;
        }
        let leak = leak.unwrap_or(0);
        let flow = match capacity {
            -1 => Flow::Boundless,
            capacity if capacity > 0 && leak > 0 => {
                Flow::Leaking(Rate::new(leak, u32::try_from(capacity).ok()?))
            }
            _ => Flow::Shut,
        };
        let lifetime = match (kind, duration) {
            (Kind::Conditional, _) => leak,
            (Kind::Leaky | Kind::Trigger, Some(duration)) => duration,
            (Kind::Leaky | Kind::Trigger, None) => leak.saturating_mul(capacity.saturating_add(1)),
        };
        Some((flow, lifetime))
    }

    fn scope(&mut self) -> Scope {
        let node = self.node.at("scope");
        for (key, node) in node.entries() {
            if !matches!(key.as_str(), "type" | "expression") {
                let message = format!("`{key}` is not known in a scope");
                self.wrong(node, &message, "a scope has `type` and `expression`");
            }
        }
        let name = node.at("type").text().filter(|name| !name.is_empty()).unwrap_or(SCOPE_IP);
        // CrowdSec compares the two scopes it knows as they are written.
        let expression = self.program("scope.expression").filter(|_| name != SCOPE_IP);
        if expression.is_none() && !matches!(name, SCOPE_IP | SCOPE_RANGE) {
            let message = format!("the scope `{name}` has no `expression`");
            self.wrong(node, &message, "say what the decision is about: `expression: evt.Meta.user`");
        }
        Scope { name: name.into(), expression }
    }

    fn data(&mut self) -> Vec<DataSource> {
        let mut files = Vec::new();
        for node in self.node.at("data").list() {
            let text = |key: &str| node.at(key).text().unwrap_or("").to_owned();
            match text("dest_file") {
                name if name.is_empty() => {
                    self.wrong(
                        node,
                        "a data file without `dest_file`",
                        "say under which name expressions find it",
                    );
                }
                name => files.push(DataSource { name, url: text("source_url"), kind: text("type") }),
            }
        }
        files
    }

    fn labels(&self) -> Vec<(String, String)> {
        let entries = self.node.at("labels").entries().iter();
        entries.map(|(name, node)| (name.clone(), node.texts().join(", "))).collect()
    }

    pub(super) fn wrong(&mut self, node: &Node, message: &str, help: &str) {
        let line = if node.line == 0 { self.node.line } else { node.line };
        self.mistakes.push(mistake_at(self.file, line, message, help));
    }

    pub(super) fn known_keys(&mut self, known: &[&str]) {
        for (place, (key, node)) in self.node.entries().iter().enumerate() {
            if !known.contains(&key.as_str()) {
                self.wrong(
                    node,
                    &format!("`{key}` is not supported"),
                    "leave it out, or see how it is spelt",
                );
            } else if self.node.entries()[..place].iter().any(|(earlier, _)| earlier == key) {
                self.wrong(node, &format!("`{key}` stands here twice"), "leave one of them out");
            }
        }
    }

    fn format(&mut self) {
        let node = self.node.at("format");
        let Some(text) = node.text() else { return };
        let known = text.parse::<f64>().is_ok_and(|format| (1.0..4.0).contains(&format));
        if !known {
            let message = format!("format {text} of scenarios is not known");
            self.wrong(node, &message, "1.0 to 3.x are supported");
        }
    }

    pub(super) fn required(&mut self, key: &str) -> Option<String> {
        match self.node.at(key).text() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                self.wrong(self.node, &format!("`{key}` is missing"), &format!("write `{key}: …`"));
                None
            }
        }
    }

    fn required_program(&mut self, key: &str) -> Option<Program> {
        self.required(key)?;
        self.program(key)
    }

    /// The expression at a path of keys; nothing where there is none.
    pub(super) fn program(&mut self, path: &str) -> Option<Program> {
        let node = self.node.at(path);
        if node.is_nothing() {
            return None;
        }
        let Some(text) = node.text() else {
            self.wrong(node, &format!("`{path}` is no expression"), "write it as text");
            return None;
        };
        if text.is_empty() {
            return None;
        }
        self.compiled(node, text)
    }

    /// An expression that stands at a place.
    pub(super) fn compiled(&mut self, node: &Node, text: &str) -> Option<Program> {
        match Program::compile(text) {
            Ok(program) => {
                let unknown = program
                    .functions()
                    .find(|function| !knows(function) && !self.functions.contains(function));
                let unknown =
                    unknown.map(|function| format!("there is no function `{function}`")).or_else(|| {
                        let mut roots = program.paths().filter_map(<[_]>::first);
                        let root = roots.find(|root| !self.roots.contains(&&***root))?;
                        Some(format!("there is no `{root}` here"))
                    });
                if let Some(message) = unknown {
                    let help = format!(
                        "there are {}, and the functions of CrowdSec's documentation",
                        self.roots.join(", ")
                    );
                    self.wrong(node, &message, &help);
                    return None;
                }
                Some(program)
            }
            Err(mistake) => {
                let (_, column) = mistake.place(text);
                let message = format!("{} at column {column} of `{}`", mistake.message, text.trim());
                self.wrong(node, &message, &mistake.help);
                None
            }
        }
    }

    /// A duration in nanoseconds; nothing where there is none.
    pub(super) fn duration(&mut self, key: &str) -> Option<i64> {
        let node = self.node.at(key);
        let text = node.text().filter(|text| !text.is_empty())?;
        let parsed = duration::parse(text);
        if parsed.is_none() {
            let message = format!("`{key}: {text}` is no duration");
            self.wrong(node, &message, "write it as 500ms, 10s, 1m30s or 4h");
        }
        parsed
    }

    fn number(&mut self, key: &str, default: i64) -> i64 {
        let node = self.node.at(key);
        if node.is_nothing() {
            return default;
        }
        node.text().and_then(|text| text.parse().ok()).unwrap_or_else(|| {
            self.wrong(node, &format!("`{key}` is no whole number"), &format!("write `{key}: 5`"));
            default
        })
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        let node = self.node.at(key);
        if node.is_nothing() {
            return false;
        }
        node.flag().unwrap_or_else(|| {
            self.wrong(node, &format!("`{key}` is neither true nor false"), &format!("write `{key}: true`"));
            false
        })
    }
}
