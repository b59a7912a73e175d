//! What a hub test says about its parsers (`parser.assert`): expressions over `results`, the events after each node by
//! stage and name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pipeline::Step;
use crate::expr::{Object, Program, Scope, Time, Value};

/// The events after each node, by stage and name of the node.
#[derive(Clone, Debug)]
pub struct Results {
    stages: Arc<Stages>,
    now: Time,
}

/// An assertion that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its line, from 1.
    pub line: usize,
    /// What is asserted.
    pub assert: String,
    /// What is the case instead, or why that cannot be told.
    pub got: String,
}

#[derive(Clone, Debug, Default)]
struct Stages(BTreeMap<Arc<str>, Arc<Nodes>>);

#[derive(Clone, Debug, Default)]
struct Nodes(BTreeMap<Arc<str>, Vec<Value>>);

/// What one node made of one event.
#[derive(Debug)]
struct Outcome {
    success: bool,
    event: Value,
}

impl Results {
    /// No results yet. Besides the stages there is always one called `success`, as upstream.
    #[must_use]
    pub fn new(now: Time) -> Self {
        let mut nodes = Nodes::default();
        nodes.0.insert(Arc::default(), Vec::new());
        let mut stages = Stages::default();
        stages.0.insert("success".into(), Arc::new(nodes));
        Self { stages: Arc::new(stages), now }
    }

    /// Adds the steps of an event.
    pub fn add(&mut self, steps: Vec<Step>) {
        let stages = Arc::make_mut(&mut self.stages);
        for step in steps {
            let nodes = Arc::make_mut(stages.0.entry(step.stage).or_default());
            let outcome = Outcome { success: step.success, event: Value::Object(Arc::new(step.event)) };
            nodes.0.entry(step.name).or_default().push(Value::Object(Arc::new(outcome)));
        }
    }

    /// Checks the assertions of a file, one a line.
    #[must_use]
    pub fn check(&self, asserts: &str) -> Vec<Failed> {
        check(asserts, &mut self.clone())
    }
}

/// Checks the assertions of a file, one a line, about what `scope` knows.
pub(super) fn check(asserts: &str, scope: &mut dyn Scope) -> Vec<Failed> {
    let lines = asserts.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.filter_map(|(at, line)| check_line(at + 1, line, scope)).collect()
}

fn check_line(line: usize, assert: &str, scope: &mut dyn Scope) -> Option<Failed> {
    let got = match value(assert, scope) {
        Ok(Value::Bool(true)) => return None,
        Ok(Value::Bool(false)) => match assert.rsplit_once(" == ") {
            Some((left, _)) => value(left, scope).map_or_else(|error| error, |value| value.to_string()),
            None => "false".to_owned(),
        },
        Ok(other) => format!("{other}, which is neither true nor false"),
        Err(error) => error,
    };
    Some(Failed { line, assert: assert.to_owned(), got })
}

fn value(expression: &str, scope: &mut dyn Scope) -> Result<Value, String> {
    let program = Program::compile(expression).map_err(|mistake| mistake.to_string())?;
    program.run(scope).map_err(|problem| problem.to_string())
}

/// The year in which a test was written, as its assertions tell: that of `MarshaledTime` in those that fail. Lines
/// whose times have no year were read in that year then.
#[must_use]
pub fn year_of(failed: &[Failed]) -> Option<i16> {
    failed.iter().find_map(|failed| {
        let (left, right) = failed.assert.rsplit_once(" == ")?;
        let is_time = left.contains("MarshaledTime") || left.ends_with("Evt.Meta[\"timestamp\"]");
        let (wanted, got) = (right.trim_start_matches(['"', '\'']), failed.got.as_str());
        let same =
            wanted.get(4..10).is_some_and(|date| got.get(4..10) == Some(date) || date.starts_with("-02-29"));
        (is_time && same && wanted.get(..4) != got.get(..4)).then(|| wanted.get(..4)?.parse().ok())?
    })
}

impl Scope for Results {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        (path.first().map(AsRef::as_ref) == Some("results")).then(|| (Value::Object(self.stages.clone()), 1))
    }

    fn now(&self) -> Time {
        self.now
    }
}

impl Object for Stages {
    fn kind(&self) -> &'static str {
        "map"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(Value::Object(self.0.get(name).cloned().unwrap_or_default()))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

impl Object for Nodes {
    fn kind(&self) -> &'static str {
        "map"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(Value::list(self.0.get(name).cloned().unwrap_or_default()))
    }

    fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

impl Object for Outcome {
    fn kind(&self) -> &'static str {
        "result"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Success" => Some(Value::Bool(self.success)),
            "Evt" => Some(self.event.clone()),
            _ => None,
        }
    }
}
