//! What an overflowed bucket says: `evt.Overflow` with its alerts, sources and the events that filled the bucket.
//!
//! Names and shapes are those that expressions of postoverflows, profiles and hub tests see (`evt.Overflow.Alert…`,
//! CrowdSec's runtime alert). An alert is made per source; `evt.Overflow.Alert` is the first of them.

use std::{collections::BTreeMap, sync::Arc};

use model::Timestamp;

use super::event::Texts;
use crate::expr::{Object, Problem, Value};

/// The scope of addresses.
pub const SCOPE_IP: &str = "Ip";
/// The scope of ranges.
pub const SCOPE_RANGE: &str = "Range";

/// A bucket that overflowed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overflow {
    /// Which bucket: the scenario and what `groupby` gave.
    pub key: Arc<str>,
    /// A postoverflow forgave it.
    pub whitelisted: bool,
    /// It is to be poured into the scenarios again.
    pub reprocess: bool,
    /// Who did it, by value of the scope.
    pub sources: BTreeMap<Arc<str>, Source>,
    /// An alert per source, in the order of `sources`. Never empty in an overflow that left its bucket.
    pub alerts: Vec<Alert>,
}

/// What is told about one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alert {
    /// Name of the scenario.
    pub scenario: Arc<str>,
    /// A sentence for people.
    pub message: Arc<str>,
    /// Capacity of the bucket; 0 for a trigger, -1 where it is boundless.
    pub capacity: i64,
    /// As Go writes durations.
    pub leakspeed: Arc<str>,
    /// How many events were poured, those that the bucket no longer holds included.
    pub events_count: i64,
    /// When the first was poured.
    pub start_at: Timestamp,
    /// When it overflowed.
    pub stop_at: Timestamp,
    /// The scenario is only tried out.
    pub simulated: bool,
    /// The scenario's `labels.remediation`.
    pub remediation: bool,
    /// Who did it.
    pub source: Source,
    /// The events the bucket held, oldest first; shared by the alerts of one overflow.
    pub events: Arc<[AlertEvent]>,
}

/// One event of an alert.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertEvent {
    /// `evt.Meta` of the event.
    pub meta: Texts,
    /// When it happened, as RFC 3339.
    pub timestamp: Arc<str>,
}

/// Who did it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source {
    /// `Ip`, `Range`, or the scenario's own (`user_account`, …).
    pub scope: Arc<str>,
    /// The address, range or whatever the scope is about.
    pub value: Arc<str>,
    /// The address, for the scopes `Ip` and `Range`.
    pub ip: Arc<str>,
    /// The range of the address, where it is known.
    pub range: Arc<str>,
    /// Number of the autonomous system, where it is known.
    pub as_number: Arc<str>,
    /// Its name.
    pub as_name: Arc<str>,
    /// Two letters of the country.
    pub country: Arc<str>,
    /// Degrees.
    pub latitude: f32,
    /// Degrees.
    pub longitude: f32,
}

impl Overflow {
    /// `evt.Overflow.Alert`.
    #[must_use]
    pub fn alert(&self) -> Option<&Alert> {
        self.alerts.first()
    }

    /// `evt.Overflow.GetSources()`.
    pub fn source_values(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sources.keys()
    }

    /// `evt.GetMeta(name)`: the first value that is not empty in its events.
    #[must_use]
    pub fn meta(&self, name: &str) -> Option<&Arc<str>> {
        let mut events = self.alerts.iter().flat_map(|alert| alert.events.iter());
        events.find_map(|event| event.meta.get(name).filter(|value| !value.is_empty()))
    }

    /// Sets what a static of a postoverflow names below `evt.Overflow` (`Alert.Source.Value`, …). False where there is
    /// no such text.
    pub fn set(&mut self, path: &[&str], value: &Arc<str>) -> bool {
        let Some(alert) = self.alerts.first_mut() else { return false };
        let place = match path {
            ["Alert", "Source", field] => match *field {
                "Scope" => &mut alert.source.scope,
                "Value" => &mut alert.source.value,
                "IP" => &mut alert.source.ip,
                "Range" => &mut alert.source.range,
                "AsNumber" => &mut alert.source.as_number,
                "AsName" => &mut alert.source.as_name,
                "Cn" => &mut alert.source.country,
                _ => return false,
            },
            ["Alert", "Message"] => &mut alert.message,
            ["Alert", "Scenario"] => &mut alert.scenario,
            _ => return false,
        };
        *place = value.clone();
        true
    }
}

impl AlertEvent {
    /// `GetMeta(name)`; nothing is the empty text.
    #[must_use]
    pub fn meta(&self, name: &str) -> &str {
        self.meta.get(name).map_or("", |value| value)
    }
}

impl Object for Overflow {
    fn kind(&self) -> &'static str {
        "overflow"
    }

    fn field(&self, name: &str) -> Option<Value> {
        let object = |alert: &Alert| Value::Object(Arc::new(alert.clone()));
        Some(match name {
            "Mapkey" => Value::Text(self.key.clone()),
            "BucketId" => Value::text(""),
            "Whitelisted" => Value::Bool(self.whitelisted),
            "Reprocess" => Value::Bool(self.reprocess),
            "Sources" => Value::Map(Arc::new(
                self.sources
                    .iter()
                    .map(|(key, source)| (key.clone(), Value::Object(Arc::new(source.clone()))))
                    .collect(),
            )),
            "Alert" => self.alert().map_or(Value::Nil, object),
            "APIAlerts" => self.alerts.iter().map(object).collect(),
            _ => return None,
        })
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        (name == "GetSources").then(|| Ok(self.source_values().cloned().map(Value::Text).collect()))
    }
}

impl Object for Alert {
    fn kind(&self) -> &'static str {
        "alert"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Scenario" => Value::Text(self.scenario.clone()),
            "ScenarioHash" | "ScenarioVersion" => Value::text(""),
            "Message" => Value::Text(self.message.clone()),
            "Capacity" => Value::Int(self.capacity),
            "Leakspeed" => Value::Text(self.leakspeed.clone()),
            "EventsCount" => Value::Int(self.events_count),
            "StartAt" => Value::text(&self.start_at.to_string()),
            "StopAt" => Value::text(&self.stop_at.to_string()),
            "Simulated" => Value::Bool(self.simulated),
            "Remediation" => Value::Bool(self.remediation),
            "Source" => Value::Object(Arc::new(self.source.clone())),
            "Events" => self.events.iter().map(|event| Value::Object(Arc::new(event.clone()))).collect(),
            "Meta" | "Decisions" | "Labels" => Value::list(Vec::new()),
            _ => return None,
        })
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        Some(Ok(match name {
            "GetScenario" => Value::Text(self.scenario.clone()),
            "GetScope" => Value::Text(self.source.scope.clone()),
            "GetValue" => Value::Text(self.source.value.clone()),
            "GetEventsCount" => Value::Int(self.events_count),
            "HasRemediation" => Value::Bool(self.remediation),
            // The context of an alert, of which there is none here.
            "GetMeta" => Value::text(""),
            _ => return None,
        }))
    }
}

impl Object for AlertEvent {
    fn kind(&self) -> &'static str {
        "alert event"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Timestamp" => Some(Value::Text(self.timestamp.clone())),
            "Meta" => {
                let item = |(key, value): (&Arc<str>, &Arc<str>)| {
                    let entries = [("Key", key), ("Value", value)];
                    Value::Map(Arc::new(
                        entries.map(|(name, text)| (Arc::from(name), Value::Text(text.clone()))).into(),
                    ))
                };
                Some(self.meta.iter().map(item).collect())
            }
            _ => None,
        }
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        (name == "GetMeta").then(|| match arguments {
            [Value::Text(key)] => {
                Ok(self.meta.get(key).map_or_else(|| Value::text(""), |text| Value::Text(text.clone())))
            }
            _ => Err(Problem::fixed("GetMeta takes the name of a field")),
        })
    }
}

impl Object for Source {
    fn kind(&self) -> &'static str {
        "source"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Scope" => Value::Text(self.scope.clone()),
            "Value" => Value::Text(self.value.clone()),
            "IP" => Value::Text(self.ip.clone()),
            "Range" => Value::Text(self.range.clone()),
            "AsNumber" => Value::Text(self.as_number.clone()),
            "AsName" => Value::Text(self.as_name.clone()),
            "Cn" => Value::Text(self.country.clone()),
            "Latitude" => Value::Float(f64::from(self.latitude)),
            "Longitude" => Value::Float(f64::from(self.longitude)),
            _ => return None,
        })
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        Some(Ok(match name {
            "GetScope" => Value::Text(self.scope.clone()),
            "GetValue" => Value::Text(self.value.clone()),
            "GetAsNumberName" => {
                let number = if &*self.as_number == "0" { "" } else { &*self.as_number };
                let name = if self.as_name.is_empty() { String::new() } else { format!(" {}", self.as_name) };
                Value::from(format!("{number}{name}"))
            }
            _ => return None,
        }))
    }
}
