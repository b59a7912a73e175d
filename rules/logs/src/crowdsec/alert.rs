//! How an overflow comes to be: what a bucket keeps of an event, who did it, and the alert that is made of it all.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use model::Timestamp;

use super::{
    bucket::{Bucket, Kept},
    event::{Event, Kind, Mode, Texts},
    overflow::{Alert, AlertEvent, Overflow, SCOPE_IP, SCOPE_RANGE, Source},
    scenario::Scenario,
};
use crate::expr::{Object, Problem, Scope, Time, Value};

/// Roughly the bytes that a kept event takes beside its texts.
const KEPT_OVERHEAD: usize = 512;
/// Roughly the bytes that a text takes beside itself, with its name.
const TEXT_OVERHEAD: usize = 64;

/// Depth of values that are counted; deeper ones are not read in the first place.
const MAX_VALUE_DEPTH: usize = 64;

/// What the buckets of a scenario keep of an event.
pub(super) fn kept(event: &Arc<Event>, scenario: &Scenario, scope: &mut dyn Scope) -> Kept {
    let whole = scenario.looks_at_queue();
    let texts: usize = event.meta.values().map(|text| text.len() + TEXT_OVERHEAD).sum();
    Kept {
        meta: event.meta.clone(),
        timestamp: timestamp(event),
        sources: sources(event, scenario, scope),
        event: whole.then(|| event.clone()),
        size: KEPT_OVERHEAD + texts + if whole { size_of(event) } else { 0 },
    }
}

/// When an event happened, in nanoseconds since 1970; `None` if no parser found out.
pub(super) fn happened(event: &Event) -> Option<i64> {
    let at: jiff::Timestamp = event.marshaled_time.parse().ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

/// An overflow as an event, to go through the postoverflows and maybe into the buckets again. It happens when it is
/// processed, as in CrowdSec.
pub(super) fn event_of(overflow: Overflow, at: i64) -> Event {
    let time = instant(at);
    let event = Event::overflow(Arc::new(overflow), Mode::Live, time);
    Event { marshaled_time: time.rfc3339().into(), ..event }
}

fn instant(at: i64) -> Time {
    Time::utc(jiff::Timestamp::from_nanosecond(i128::from(at)).unwrap_or_default())
}

fn timestamp(event: &Event) -> Arc<str> {
    if event.marshaled_time.is_empty() { event.time.rfc3339().into() } else { event.marshaled_time.clone() }
}

/// Roughly the bytes of an event.
fn size_of(event: &Event) -> usize {
    let texts = |texts: &Texts| -> usize { texts.values().map(|text| text.len() + TEXT_OVERHEAD).sum() };
    let read: usize = event.unmarshaled.values().map(|value| size_of_value(value, 0)).sum();
    event.line.raw.len() + texts(&event.parsed) + texts(&event.enriched) + read + KEPT_OVERHEAD
}

fn size_of_value(value: &Value, depth: usize) -> usize {
    if depth > MAX_VALUE_DEPTH {
        return 0;
    }
    let inner: usize = match value {
        Value::Text(text) => text.len(),
        Value::List(values) => values.iter().map(|value| size_of_value(value, depth + 1)).sum(),
        Value::Map(entries) => entries.values().map(|value| size_of_value(value, depth + 1)).sum(),
        Value::Texts(texts) => texts.values().map(|text| text.len() + TEXT_OVERHEAD).sum(),
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Object(_) => 0,
    };
    TEXT_OVERHEAD + inner
}

/// Who did it.
fn sources(event: &Event, scenario: &Scenario, scope: &mut dyn Scope) -> Result<Vec<Source>, String> {
    let name = &scenario.scope.name;
    let mut expressed = || -> Result<Option<Arc<str>>, String> {
        let Some(program) = &scenario.scope.expression else { return Ok(None) };
        match program.run(scope) {
            Ok(Value::Text(text)) => Ok(Some(text)),
            Ok(_) => Ok(Some(Arc::from(""))),
            Err(problem) => Err(format!("the expression of its scope: {problem}")),
        }
    };
    if let (Kind::Overflow, Some(overflow)) = (event.kind, &event.overflow) {
        return rescoped(overflow, name, &mut expressed);
    }
    if !matches!(&**name, SCOPE_IP | SCOPE_RANGE) {
        let value = expressed()?.unwrap_or_default();
        return Ok(vec![Source { scope: name.clone(), value, ..Source::default() }]);
    }
    let Some(ip) = event.meta.get("source_ip") else {
        return Err(format!("the scope is {name}, but there is no evt.Meta.source_ip"));
    };
    if ip.parse::<IpAddr>().is_err() {
        return Err(format!("the scope is {name}, but `{ip}` is no address"));
    }
    let enriched = |names: &[&str]| -> Arc<str> {
        names.iter().find_map(|name| event.enriched.get(*name)).cloned().unwrap_or_default()
    };
    let degrees = |name: &str| enriched(&[name]).parse().unwrap_or(0.0);
    let range: Arc<str> = match event.meta.get("SourceRange").filter(|range| !range.is_empty()) {
        None => Arc::from(""),
        Some(range) => match range.parse::<IpNet>() {
            Ok(network) => Arc::from(network.trunc().to_string()),
            Err(_) => return Err(format!("`{range}`, the range of {ip}, is none")),
        },
    };
    let value = if &**name == SCOPE_IP { ip.clone() } else { expressed()?.unwrap_or_else(|| range.clone()) };
    Ok(vec![Source {
        scope: name.clone(),
        value,
        ip: ip.clone(),
        range,
        as_number: enriched(&["ASNumber", "ASNNumber"]),
        as_name: enriched(&["ASNOrg"]),
        country: enriched(&["IsoCode"]),
        latitude: degrees("Latitude"),
        longitude: degrees("Longitude"),
    }])
}

/// The sources of an overflow that is poured again, as the scope wants them. Of addresses, ranges can be made where
/// they are known; everything else has to fit.
fn rescoped(
    overflow: &Overflow,
    scope: &Arc<str>,
    expressed: &mut dyn FnMut() -> Result<Option<Arc<str>>, String>,
) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for source in overflow.sources.values() {
        if source.scope == *scope {
            sources.push(source.clone());
        } else if &**scope == SCOPE_RANGE && &*source.scope == SCOPE_IP {
            let value = expressed()?.unwrap_or_else(|| source.range.clone());
            if !value.is_empty() {
                sources.push(Source { scope: scope.clone(), value, ip: Arc::from(""), ..source.clone() });
            }
        }
    }
    Ok(sources)
}

/// What a bucket says that overflowed at an instant, in nanoseconds since 1970. Without alerts if nobody did it.
///
/// # Errors
/// Why it cannot be said who did it.
pub(super) fn overflow(bucket: &Bucket, scenario: &Scenario, at: i64) -> Result<Overflow, String> {
    let mut sources: BTreeMap<Arc<str>, Source> = BTreeMap::new();
    for kept in bucket.queue() {
        for source in kept.sources.as_ref().map_err(Clone::clone)? {
            sources.insert(source.value.clone(), source.clone());
        }
    }
    let first = bucket.first.unwrap_or(at);
    let who = match sources.len() {
        0 => "UNKNOWN".to_owned(),
        1 => sources.keys().next().map(ToString::to_string).unwrap_or_default(),
        many => format!("{many} sources"),
    };
    let message: Arc<str> = format!(
        "{} {who} performed '{}' ({} events over {}) at {}",
        sources.values().next().map_or("", |source| &source.scope),
        scenario.name,
        bucket.total,
        Value::Duration(at.saturating_sub(first)),
        Value::Time(instant(bucket.last)),
    )
    .into();
    let event = |kept: &Arc<Kept>| AlertEvent { meta: kept.meta.clone(), timestamp: kept.timestamp.clone() };
    let events: Arc<[AlertEvent]> = bucket.queue().iter().map(event).collect();
    let leakspeed: Arc<str> = Value::Duration(scenario.leak).to_string().into();
    let alert = |source: &Source| Alert {
        scenario: scenario.name.clone(),
        message: message.clone(),
        capacity: scenario.capacity,
        leakspeed: leakspeed.clone(),
        events_count: i64::try_from(bucket.total).unwrap_or(i64::MAX),
        start_at: Timestamp(first.div_euclid(1_000)),
        stop_at: Timestamp(at.div_euclid(1_000)),
        simulated: scenario.simulated,
        remediation: scenario.remediation,
        source: source.clone(),
        events: events.clone(),
    };
    Ok(Overflow {
        key: format!("{} {}", scenario.name, bucket.key).into(),
        whitelisted: false,
        reprocess: scenario.reprocess,
        alerts: sources.values().map(alert).collect(),
        sources,
    })
}

/// What conditions and overflow filters see beside the event: `queue`, `leaky` and `signal`.
pub(super) struct Surroundings<'s> {
    roots: [(&'static str, Value); 3],
    inner: &'s mut dyn Scope,
}

impl<'s> Surroundings<'s> {
    pub(super) fn of(bucket: &Bucket, scenario: &Scenario, inner: &'s mut dyn Scope) -> Self {
        let events = bucket.queue().iter().filter_map(|kept| kept.event.as_ref());
        let events: Value = events.map(|event| Value::Object(event.clone())).collect();
        let queue = Value::Object(Arc::new(Queue { events, size: scenario.queue }));
        let leaky = Value::Object(Arc::new(Leaky {
            name: scenario.name.clone(),
            key: bucket.key.clone(),
            total: i64::try_from(bucket.total).unwrap_or(i64::MAX),
            capacity: scenario.capacity,
            leak: scenario.leak,
            lifetime: scenario.lifetime,
            first: bucket.first.unwrap_or(bucket.last),
            last: bucket.last,
            queue: queue.clone(),
        }));
        Self { roots: [("queue", queue), ("leaky", leaky), ("signal", Value::Nil)], inner }
    }

    pub(super) fn with_signal(mut self, overflow: Option<&Overflow>) -> Self {
        if let Some(overflow) = overflow {
            self.roots[2].1 = Value::Object(Arc::new(overflow.clone()));
        }
        self
    }
}

impl Scope for Surroundings<'_> {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        let root = path.first()?;
        match self.roots.iter().find(|(name, _)| *name == &**root) {
            Some((_, value)) => Some((value.clone(), 1)),
            None => self.inner.path(path),
        }
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        self.inner.call(function, arguments)
    }

    fn call_method(
        &mut self,
        path: &[Arc<str>],
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, Problem>> {
        match path.first() {
            Some(root) if self.roots.iter().any(|(name, _)| *name == &**root) => None,
            _ => self.inner.call_method(path, method, arguments),
        }
    }

    fn store(&mut self, path: &[Arc<str>], key: &str, value: Value) -> Result<(), Problem> {
        self.inner.store(path, key, value)
    }

    fn now(&self) -> Time {
        self.inner.now()
    }
}

/// `queue`: the events a bucket keeps.
#[derive(Debug)]
struct Queue {
    events: Value,
    size: usize,
}

impl Object for Queue {
    fn kind(&self) -> &'static str {
        "queue"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Queue" => Some(self.events.clone()),
            "L" => Some(Value::Int(i64::try_from(self.size).unwrap_or(i64::MAX))),
            _ => None,
        }
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        (name == "GetQueue").then(|| Ok(self.events.clone()))
    }
}

/// `leaky`: the bucket. Times are nanoseconds since 1970, lengths nanoseconds.
#[derive(Debug)]
struct Leaky {
    name: Arc<str>,
    key: Arc<str>,
    total: i64,
    capacity: i64,
    leak: i64,
    lifetime: i64,
    first: i64,
    last: i64,
    queue: Value,
}

impl Object for Leaky {
    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Name" => Value::Text(self.name.clone()),
            "Mapkey" => Value::Text(self.key.clone()),
            "Total_count" => Value::Int(self.total),
            "Capacity" => Value::Int(self.capacity),
            "Leakspeed" => Value::Duration(self.leak),
            "Duration" => Value::Duration(self.lifetime),
            "First_ts" => Value::Time(instant(self.first)),
            "Last_ts" => Value::Time(instant(self.last)),
            "Queue" => self.queue.clone(),
            _ => return None,
        })
    }
}
