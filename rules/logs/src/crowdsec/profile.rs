//! CrowdSec's profiles (`profiles.yaml`): which alerts lead to which decisions, and for how long.
//!
//! Notifications are not carried out here; that a profile asks for some is kept for the import's report.

use std::sync::Arc;

use yaml::Node;

use super::{
    duration,
    overflow::Alert,
    scenario::{Document, mistake_at},
};
use crate::{
    FilterError,
    expr::{Problem, Program, Scope, Time, Value},
};

/// Bounds of a profiles file.
pub const FILE_LIMITS: yaml::Limits =
    yaml::Limits { bytes: 256 * 1024, nodes: 20_000, repeated: 256 * 1024, depth: 32 };

/// How long a decision lasts where a profile does not say: four hours, in nanoseconds.
const DEFAULT_DURATION: i64 = 4 * 3_600 * 1_000_000_000;

/// Keys of a profile.
const KEYS: [&str; 10] = [
    "name",
    "debug",
    "filters",
    "decisions",
    "duration_expr",
    "on_success",
    "on_failure",
    "on_error",
    "notifications",
    "description",
];

/// Functions that profiles call, which the shell computes out of its decisions.
const FUNCTIONS: [&str; 4] =
    ["GetDecisionsCount", "GetDecisionsSinceCount", "GetActiveDecisionsCount", "GetActiveDecisionsTimeLeft"];

/// One profile.
#[derive(Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Names of the notifications it asks for.
    pub notifications: Vec<String>,
    filters: Vec<Program>,
    decisions: Vec<Template>,
    duration: Option<Program>,
    break_on_success: bool,
    on_error: OnError,
}

/// What to do about an expression that cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnError {
    /// The next profile is asked.
    Continue,
    /// No other profile is asked.
    Break,
}

/// A decision as a profile describes it.
#[derive(Debug)]
struct Template {
    kind: String,
    scope: Option<String>,
    duration: i64,
    simulated: bool,
}

/// A decision that a profile made of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileDecision {
    /// `ban`, `captcha`, `throttle`, or what the bouncers of this place know.
    pub kind: String,
    /// `Ip`, `Range` or the scenario's own.
    pub scope: String,
    /// The address, range or whatever the scope is about.
    pub value: Arc<str>,
    /// How long, in nanoseconds.
    pub duration: i64,
    /// The scenario.
    pub scenario: Arc<str>,
    /// It is only tried out.
    pub simulated: bool,
    /// The profile.
    pub profile: String,
}

impl Profile {
    /// Reads the profiles of a file, one per document.
    ///
    /// # Errors
    /// Every mistake, with its line.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Self>, Vec<FilterError>> {
        let documents = yaml::documents(bytes, &FILE_LIMITS).map_err(|mistake| {
            vec![mistake_at(
                file,
                mistake.line.unwrap_or(1),
                &mistake.message,
                "see that it is YAML of profiles",
            )]
        })?;
        let mut profiles = Vec::new();
        let mut mistakes = Vec::new();
        for node in documents.iter().filter(|node| !node.is_nothing()) {
            let mut document =
                Document { file, node, mistakes: Vec::new(), roots: &["Alert"], functions: &FUNCTIONS };
            profiles.extend(document.profile());
            mistakes.append(&mut document.mistakes);
        }
        if mistakes.is_empty() { Ok(profiles) } else { Err(mistakes) }
    }

    /// The decisions this profile makes of an alert; `None` if no filter holds.
    fn decide(&self, alert: &Alert, scope: &mut dyn Scope) -> Result<Option<Vec<ProfileDecision>>, Problem> {
        let mut scope = OfAlert { alert: Value::Object(Arc::new(alert.clone())), inner: scope };
        let mut decisions = None;
        for filter in &self.filters {
            if !filter.holds(&mut scope)? {
                continue;
            }
            // Each filter that holds makes the decisions, as in CrowdSec: filters are told apart by what they are about.
            let made: &mut Vec<ProfileDecision> = decisions.get_or_insert_default();
            for template in &self.decisions {
                let computed = self.duration.as_ref().and_then(|program| {
                    let value = program.run(&mut scope).ok()?;
                    duration::parse(&value.to_string()).filter(|duration| *duration > 0)
                });
                made.push(ProfileDecision {
                    kind: template.kind.clone(),
                    scope: template.scope.clone().unwrap_or_else(|| alert.source.scope.to_string()),
                    value: alert.source.value.clone(),
                    duration: computed.unwrap_or(template.duration),
                    scenario: alert.scenario.clone(),
                    simulated: template.simulated || alert.simulated,
                    profile: self.name.clone(),
                });
            }
        }
        Ok(decisions)
    }
}

/// The decisions of the first profile that makes some. `scope` computes functions that profiles call beside those of the
/// language (`GetDecisionsCount(value)`, …); a duration whose expression cannot be computed is the one that is written.
///
/// # Errors
/// The expression of a profile that cannot be computed, after the profiles behind it were asked if it says so.
pub fn decide(
    profiles: &[Profile],
    alert: &Alert,
    scope: &mut dyn Scope,
) -> Result<Vec<ProfileDecision>, (String, Problem)> {
    let mut made = Vec::new();
    let mut problem = None;
    for profile in profiles {
        match profile.decide(alert, scope) {
            Ok(None) => {}
            Ok(Some(decisions)) => {
                // Later profiles that match only notify: an alert has the decisions of one.
                if made.is_empty() {
                    made = decisions;
                }
                if profile.break_on_success {
                    break;
                }
            }
            Err(error) => {
                problem.get_or_insert((profile.name.clone(), error));
                match profile.on_error {
                    OnError::Continue => {}
                    OnError::Break => break,
                }
            }
        }
    }
    match problem {
        Some(problem) if made.is_empty() => Err(problem),
        Some(_) | None => Ok(made),
    }
}

impl Document<'_> {
    fn profile(&mut self) -> Option<Profile> {
        self.known_keys(&KEYS);
        let name = self.required("name");
        let filters: Vec<Program> =
            self.node.at("filters").list().iter().filter_map(|node| self.one_of(node)).collect();
        if self.node.at("filters").list().is_empty() {
            self.wrong(self.node, "`filters` is missing", "write `filters: [Alert.Remediation == true]`");
        }
        let duration = self.program("duration_expr");
        let decisions =
            self.node.at("decisions").list().iter().filter_map(|node| self.template(node)).collect();
        let break_on_success = self.word("on_success", &["continue", "break", ""]) == "break";
        self.word("on_failure", &["continue", "break", "apply", ""]);
        let on_error = match self.word("on_error", &["continue", "break", "ignore", "apply", "report", ""]) {
            "break" => OnError::Break,
            _ => OnError::Continue,
        };
        Some(Profile {
            name: name?,
            notifications: self.node.at("notifications").texts().into_iter().map(str::to_owned).collect(),
            filters,
            decisions,
            duration,
            break_on_success,
            on_error,
        })
    }

    fn one_of(&mut self, node: &Node) -> Option<Program> {
        match node.text() {
            Some(text) => self.compiled(node, text),
            None => {
                self.wrong(node, "a filter is no text", "write an expression");
                None
            }
        }
    }

    fn template(&mut self, node: &Node) -> Option<Template> {
        let kind = node.at("type").text().unwrap_or("");
        if kind.is_empty() {
            self.wrong(node, "a decision without `type`", "write `type: ban`");
            return None;
        }
        let text = node.at("duration").text().filter(|text| !text.is_empty());
        let duration = text.map_or(Some(DEFAULT_DURATION), |text| {
            duration::parse(text).filter(|duration| *duration > 0).or_else(|| {
                let message = format!("`duration: {text}` is no duration");
                self.wrong(node, &message, "write it as 30m, 4h or 24h");
                None
            })
        })?;
        Some(Template {
            kind: kind.to_owned(),
            scope: node.at("scope").text().filter(|scope| !scope.is_empty()).map(str::to_owned),
            duration,
            simulated: node.at("simulated").flag().unwrap_or(false),
        })
    }

    fn word(&mut self, key: &str, known: &[&'static str]) -> &'static str {
        let node = self.node.at(key);
        let Some(text) = node.text() else { return "" };
        if let Some(word) = known.iter().find(|word| **word == text) {
            return word;
        }
        let message = format!("`{key}: {text}` is not known");
        self.wrong(node, &message, &format!("write one of {}", known.join(" ").trim_end()));
        ""
    }
}

/// What the expressions of a profile see: `Alert`, and functions.
struct OfAlert<'s> {
    alert: Value,
    inner: &'s mut dyn Scope,
}

impl Scope for OfAlert<'_> {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        (&**path.first()? == "Alert").then(|| (self.alert.clone(), 1))
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        self.inner.call(function, arguments)
    }

    fn now(&self) -> Time {
        self.inner.now()
    }
}
