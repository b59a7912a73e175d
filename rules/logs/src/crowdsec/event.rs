//! What goes through the stages: a line or an overflow, and what parsers found out about it. Fields have the names that
//! expressions use (`evt.Parsed.program`), which are those of CrowdSec.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::limits::MAX_EVENT_FIELDS;
use super::overflow::Overflow;
use crate::expr::{Object, Time, Value};

/// Texts by name. Cheap to clone; who writes into one that others hold copies it first.
pub type Texts = Arc<BTreeMap<Arc<str>, Arc<str>>>;

/// A line or an overflow on its way through the stages.
#[derive(Clone, Debug)]
pub struct Event {
    /// `evt.Type`: what it is.
    pub kind: Kind,
    /// `evt.ExpectMode`: whose clock counts.
    pub mode: Mode,
    /// `evt.Stage`: where it stands. Empty = before the first stage.
    pub stage: Arc<str>,
    /// `evt.Line`: the line as it came.
    pub line: Line,
    /// `evt.Parsed`: what groks found.
    pub parsed: Texts,
    /// `evt.Meta`: what is known by names that all parsers share.
    pub meta: Texts,
    /// `evt.Enriched`: what methods found.
    pub enriched: Texts,
    /// `evt.Unmarshaled`: what was read out of JSON and the like.
    pub unmarshaled: Arc<BTreeMap<Arc<str>, Value>>,
    /// `evt.Overflow`, where it is one.
    pub overflow: Option<Arc<Overflow>>,
    /// `evt.Time`: when it happened, as far as is known.
    pub time: Time,
    /// `evt.StrTime`: when it happened, as the line says.
    pub str_time: Arc<str>,
    /// `evt.StrTimeFormat`: the layout of that, as Go writes layouts.
    pub str_time_format: Arc<str>,
    /// `evt.MarshaledTime`: when it happened, as RFC 3339.
    pub marshaled_time: Arc<str>,
    /// `evt.Process`: it passed all stages.
    pub process: bool,
    /// `evt.Whitelisted`: it is forgiven.
    pub whitelisted: bool,
    /// `evt.WhitelistReason`: why.
    pub whitelist_reason: Arc<str>,
}

/// What an event is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A line of a log.
    #[default]
    Log,
    /// A bucket that overflowed.
    Overflow,
}

/// Whose clock counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Now is when a line arrives.
    #[default]
    Live,
    /// A line happened when it says.
    Replay,
}

/// A line as it came.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// The line, without its end.
    pub raw: Arc<str>,
    /// The file or unit it stood in.
    pub source: Arc<str>,
    /// What carried it (`file`, `journalctl`, `syslog`).
    pub module: Arc<str>,
    /// What the source is labelled with; `type` says which parsers look at it.
    pub labels: Texts,
    /// When it was read.
    pub time: Option<Time>,
}

impl Event {
    /// A line that was read at `time`.
    #[must_use]
    pub fn line(line: Line, mode: Mode, time: Time) -> Self {
        Self { line: Line { time: Some(time), ..line }, ..Self::empty(Kind::Log, mode, time) }
    }

    /// A bucket that overflowed at `time`.
    #[must_use]
    pub fn overflow(overflow: Arc<Overflow>, mode: Mode, time: Time) -> Self {
        Self { overflow: Some(overflow), ..Self::empty(Kind::Overflow, mode, time) }
    }

    fn empty(kind: Kind, mode: Mode, time: Time) -> Self {
        Self {
            kind,
            mode,
            stage: Arc::default(),
            line: Line::default(),
            parsed: Texts::default(),
            meta: Texts::default(),
            enriched: Texts::default(),
            unmarshaled: Arc::default(),
            overflow: None,
            time,
            str_time: Arc::default(),
            str_time_format: Arc::default(),
            marshaled_time: Arc::default(),
            process: false,
            whitelisted: false,
            whitelist_reason: Arc::default(),
        }
    }

    /// `evt.Meta[name]`; nothing is the empty text.
    #[must_use]
    pub fn meta(&self, name: &str) -> &str {
        self.meta.get(name).map_or("", |value| value)
    }

    /// `evt.GetMeta(name)`: of an overflow the first that its events have.
    #[must_use]
    pub fn get_meta(&self, name: &str) -> Arc<str> {
        match &self.overflow {
            Some(overflow) => overflow.meta(name).cloned().unwrap_or_default(),
            None => self.meta.get(name).cloned().unwrap_or_default(),
        }
    }

    /// What differs from how it was before: names as expressions write them, without `evt.`, and what they are now.
    #[must_use]
    pub fn changes(&self, before: &Self) -> Vec<(String, String)> {
        let mut changes = Vec::new();
        let maps = [
            ("Parsed", &self.parsed, &before.parsed),
            ("Meta", &self.meta, &before.meta),
            ("Enriched", &self.enriched, &before.enriched),
        ];
        for (map, now, before) in maps {
            let new = now.iter().filter(|(name, value)| before.get(*name) != Some(*value));
            changes.extend(new.map(|(name, value)| (format!("{map}.{name}"), value.to_string())));
        }
        let new = self.unmarshaled.iter().filter(|(name, value)| before.unmarshaled.get(*name) != Some(*value));
        changes.extend(new.map(|(name, value)| (format!("Unmarshaled.{name}"), value.to_string())));
        for name in ["StrTime", "StrTimeFormat", "MarshaledTime", "Whitelisted", "WhitelistReason"] {
            let (now, before) = (self.own(name), before.own(name));
            if now != before {
                changes.extend(now.map(|value| (name.to_owned(), value.to_string())));
            }
        }
        changes
    }

    /// The addresses it is about: `evt.Meta.source_ip` of a line, the sources of an overflow.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        match &self.overflow {
            Some(overflow) => overflow.source_values().filter_map(|source| source.parse().ok()).collect(),
            None => self.meta.get("source_ip").and_then(|ip| ip.parse().ok()).into_iter().collect(),
        }
    }

    /// Sets what a static's `target` names (`evt.Meta.source_ip`, `evt.StrTime`). False where there is no such text.
    pub(crate) fn set(&mut self, target: &str, value: Arc<str>) -> bool {
        let target = target.strip_prefix("evt.").unwrap_or(target);
        let path: Vec<&str> = target.split('.').collect();
        let place = match path[..] {
            ["Parsed", name, ..] => return put(&mut self.parsed, name, value),
            ["Meta", name, ..] => return put(&mut self.meta, name, value),
            ["Enriched", name, ..] => return put(&mut self.enriched, name, value),
            ["Line", "Labels", name, ..] => return put(&mut self.line.labels, name, value),
            ["Unmarshaled", name, ..] => {
                Arc::make_mut(&mut self.unmarshaled).insert(name.into(), Value::Text(value));
                return true;
            }
            ["Overflow", ref rest @ ..] => {
                let overflow = self.overflow.as_mut().map(Arc::make_mut);
                return overflow.is_some_and(|overflow| overflow.set(rest, &value));
            }
            ["Stage"] => &mut self.stage,
            ["StrTime"] => &mut self.str_time,
            ["StrTimeFormat"] => &mut self.str_time_format,
            ["MarshaledTime"] => &mut self.marshaled_time,
            ["WhitelistReason"] => &mut self.whitelist_reason,
            ["Line", "Raw"] => &mut self.line.raw,
            ["Line", "Src"] => &mut self.line.source,
            ["Line", "Module"] => &mut self.line.module,
            _ => return false,
        };
        *place = value;
        true
    }

    /// A field by its path behind `evt`, as far as it is known: the value and how many names it took.
    pub(crate) fn at(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        let (first, rest) = path.split_first()?;
        let texts = |texts: &Texts| match rest.first() {
            Some(name) => (text_of(texts, name), 2),
            None => (Value::Texts(texts.clone()), 1),
        };
        Some(match &**first {
            "Parsed" => texts(&self.parsed),
            "Meta" => texts(&self.meta),
            "Enriched" => texts(&self.enriched),
            "Line" => match rest.first() {
                Some(name) => (self.line.field(name)?, 2),
                None => (Value::Object(Arc::new(self.line.clone())), 1),
            },
            name => (self.own(name)?, 1),
        })
    }

    fn own(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Type" => Value::Int(match self.kind {
                Kind::Log => 0,
                Kind::Overflow => 1,
            }),
            "ExpectMode" => Value::Int(match self.mode {
                Mode::Live => 0,
                Mode::Replay => 1,
            }),
            "Whitelisted" => Value::Bool(self.whitelisted),
            "WhitelistReason" => Value::Text(self.whitelist_reason.clone()),
            "Stage" => Value::Text(self.stage.clone()),
            "Parsed" => Value::Texts(self.parsed.clone()),
            "Meta" => Value::Texts(self.meta.clone()),
            "Enriched" => Value::Texts(self.enriched.clone()),
            "Unmarshaled" => Value::Map(self.unmarshaled.clone()),
            "Line" => Value::Object(Arc::new(self.line.clone())),
            "Overflow" => self.overflow.clone().map_or(Value::Nil, |overflow| Value::Object(overflow)),
            "Time" => Value::Time(self.time),
            "StrTime" => Value::Text(self.str_time.clone()),
            "StrTimeFormat" => Value::Text(self.str_time_format.clone()),
            "MarshaledTime" => Value::Text(self.marshaled_time.clone()),
            "Process" => Value::Bool(self.process),
            "Appsec" => Value::Nil,
            _ => return None,
        })
    }
}

/// What `results[…].Evt` of a hub test is.
impl Object for Event {
    fn kind(&self) -> &'static str {
        "event"
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.own(name)
    }
}

impl Object for Line {
    fn kind(&self) -> &'static str {
        "line"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Raw" => Value::Text(self.raw.clone()),
            "Src" => Value::Text(self.source.clone()),
            "Module" => Value::Text(self.module.clone()),
            "Labels" => Value::Texts(self.labels.clone()),
            "Time" => self.time.map_or(Value::Nil, Value::Time),
            "Process" => Value::Bool(true),
            _ => return None,
        })
    }
}

/// A text of a map; what is missing is empty.
pub(crate) fn text_of(texts: &Texts, name: &str) -> Value {
    Value::Text(texts.get(name).cloned().unwrap_or_default())
}

/// Puts a text into a map. False if that is full.
pub(crate) fn put(texts: &mut Texts, name: impl AsRef<str> + Into<Arc<str>>, value: Arc<str>) -> bool {
    let texts = Arc::make_mut(texts);
    if let Some(known) = texts.get_mut(name.as_ref()) {
        *known = value;
        return true;
    }
    if texts.len() >= MAX_EVENT_FIELDS {
        return false;
    }
    texts.insert(name.into(), value);
    true
}
