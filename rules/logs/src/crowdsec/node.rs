//! Nodes: what a parser is made of. A node filters, groks, keeps, asks its children and sets statics, in this order, and
//! says whether it was a success; the rules are those of CrowdSec's runtime.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::SignedDuration;

use super::data::Data;
use super::enrich::{Lookups, Method};
use super::event::{Event, Kind, put};
use super::grok::{Buffers, Grok};
use super::stash::Stashes;
use crate::expr::{Problem, Program, Scope, Time, Value};

/// A node, compiled.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) filter: Option<Program>,
    /// `onsuccess: next_stage`.
    pub(crate) next_stage: bool,
    pub(crate) whitelist: Option<Whitelist>,
    pub(crate) grok: Option<GrokNode>,
    pub(crate) stashes: Vec<Keep>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) statics: Vec<Static>,
}

/// Who and what is forgiven.
#[derive(Debug, Default)]
pub(crate) struct Whitelist {
    pub(crate) reason: Arc<str>,
    pub(crate) ranges: Vec<IpNet>,
    pub(crate) expressions: Vec<Program>,
}

/// A grok and what it is put to.
#[derive(Debug)]
pub(crate) struct GrokNode {
    /// Which of the pipeline's groks.
    pub(crate) grok: usize,
    pub(crate) source: Source,
    pub(crate) statics: Vec<Static>,
}

/// The text a grok looks at.
#[derive(Debug)]
pub(crate) enum Source {
    /// `apply_on: Line.Raw`
    Raw,
    /// `apply_on:` with a field of `evt.Parsed`.
    Parsed(Arc<str>),
    /// `expression:`
    Expression(Program),
}

/// Something that is set.
#[derive(Debug)]
pub(crate) struct Static {
    pub(crate) value: Given,
    pub(crate) target: Target,
}

/// Where the value of a static comes from.
#[derive(Debug)]
pub(crate) enum Given {
    Text(Arc<str>),
    Expression(Program),
}

/// What a static sets.
#[derive(Debug)]
pub(crate) enum Target {
    Method(Method),
    Parsed(Arc<str>),
    Meta(Arc<str>),
    Enriched(Arc<str>),
    /// A path of the event.
    Path(Arc<str>),
}

/// Something that is kept in a stash.
#[derive(Debug)]
pub(crate) struct Keep {
    pub(crate) stash: Arc<str>,
    pub(crate) key: Program,
    pub(crate) value: Program,
    pub(crate) age: SignedDuration,
}

/// What nodes need beside the event.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) stages: Vec<Arc<str>>,
    pub(crate) groks: Vec<(Grok, Option<Buffers>)>,
    pub(crate) stashes: Stashes,
    pub(crate) data: Data,
    pub(crate) lookups: Option<Arc<dyn Lookups>>,
}

/// Functions of expressions that ask the world.
const FUNCTIONS: [&str; 6] =
    ["GetFromStash", "SetInStash", "LookupHost", "GeoIPEnrich", "GeoIPASNEnrich", "GeoIPRangeEnrich"];

/// Whether expressions of nodes may call a function that the language itself does not have.
pub(crate) fn knows(function: &str) -> bool {
    FUNCTIONS.contains(&function) || super::data::FUNCTIONS.contains(&function)
}

impl Node {
    /// Puts an event through the node. True = success.
    ///
    /// # Errors
    /// The value of a static is neither text nor number; the event is given up then.
    pub(crate) fn process(&self, event: &mut Event, world: &mut World, now: Time) -> Result<bool, Problem> {
        if let Some(filter) = &self.filter
            && !filter.holds(&mut Surroundings { event, world, now }).unwrap_or(false)
        {
            return Ok(false);
        }
        let forgiven = self.whitelist.as_ref().is_some_and(|whitelist| whitelist.forgives(event, world, now));
        if forgiven && !event.whitelisted {
            event.whitelisted = true;
            event.whitelist_reason =
                self.whitelist.as_ref().map(|whitelist| whitelist.reason.clone()).unwrap_or_default();
            if let Some(overflow) = &mut event.overflow {
                Arc::make_mut(overflow).whitelisted = true;
            }
        }
        let mut success = true;
        let mut grokked = false;
        if let Some(grok) = &self.grok {
            grokked = grok.read(event, world, now);
            success = grokked;
            if grokked {
                set_all(&grok.statics, event, world, now)?;
            }
        }
        if success {
            for keep in &self.stashes {
                keep.keep(event, world, now);
            }
        }
        // Children are asked even where the grok failed, and one of them can still make a success of it.
        for node in &self.nodes {
            if node.process(event, world, now)? {
                success = true;
                if self.next_stage {
                    break;
                }
            } else if !grokked {
                success = false;
            }
        }
        if !success {
            return Ok(false);
        }
        if forgiven || self.whitelist.is_none() {
            set_all(&self.statics, event, world, now)?;
        }
        if self.next_stage {
            let at = world.stages.iter().position(|stage| *stage == event.stage);
            if let Some(next) = world.stages.get(at.map_or(0, |at| at + 1)) {
                event.stage = next.clone();
            }
        }
        Ok(true)
    }
}

impl Whitelist {
    fn forgives(&self, event: &mut Event, world: &mut World, now: Time) -> bool {
        if !self.ranges.is_empty() {
            let inside = |address: &IpAddr| self.ranges.iter().any(|range| range.contains(address));
            if event.addresses().iter().any(inside) {
                return true;
            }
        }
        for expression in &self.expressions {
            match expression.run(&mut Surroundings { event, world, now }) {
                Ok(Value::Bool(true)) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

impl GrokNode {
    /// Reads the fields of the text into `evt.Parsed`. False if it does not match.
    fn read(&self, event: &mut Event, world: &mut World, now: Time) -> bool {
        let text: Arc<str> = match &self.source {
            Source::Raw => event.line.raw.clone(),
            Source::Parsed(field) => match event.parsed.get(field) {
                Some(text) => text.clone(),
                None => return false,
            },
            Source::Expression(program) => match program.run(&mut Surroundings { event, world, now }) {
                Ok(value) => written(&value).unwrap_or_default(),
                Err(_) => return false,
            },
        };
        let Some((grok, buffers)) = world.groks.get_mut(self.grok) else { return false };
        let buffers = buffers.get_or_insert_with(|| grok.buffers());
        let Some(fields) = grok.read(&text, buffers) else { return false };
        for (field, value) in fields {
            put(&mut event.parsed, field.clone(), value.into());
        }
        true
    }
}

impl Keep {
    fn keep(&self, event: &mut Event, world: &mut World, now: Time) {
        let mut text = |program: &Program| match program.run(&mut Surroundings { event, world, now }) {
            Ok(Value::Text(text)) => Some(text),
            Ok(_) | Err(_) => None,
        };
        if let (Some(value), Some(key)) = (text(&self.value), text(&self.key))
            && let Ok(until) = now.instant.checked_add(self.age)
        {
            world.stashes.put(&self.stash, &key, value, until);
        }
    }
}

fn set_all(statics: &[Static], event: &mut Event, world: &mut World, now: Time) -> Result<(), Problem> {
    for one in statics {
        one.set(event, world, now)?;
    }
    Ok(())
}

impl Static {
    fn set(&self, event: &mut Event, world: &mut World, now: Time) -> Result<(), Problem> {
        let value = match &self.value {
            Given::Text(text) => text.clone(),
            Given::Expression(program) => match program.run(&mut Surroundings { event, world, now }) {
                // Of what has no text of its own nothing is set, as upstream, which asks for `ToJsonString`.
                Ok(Value::Map(_) | Value::List(_) | Value::Nil) => Arc::default(),
                Ok(value) => match written(&value) {
                    Some(text) => text,
                    None => {
                        return Err(Problem::new(format!("a static cannot be set to a {}", value.kind())));
                    }
                },
                Err(_) => return Ok(()),
            },
        };
        if value.is_empty() && !matches!(self.target, Target::Method(Method::ParseDate)) {
            return Ok(());
        }
        match &self.target {
            Target::Method(method) => method.run(&value, event, world.lookups.as_deref(), now),
            Target::Parsed(name) => _ = put(&mut event.parsed, name.clone(), value),
            Target::Meta(name) => _ = put(&mut event.meta, name.clone(), value),
            Target::Enriched(name) => _ = put(&mut event.enriched, name.clone(), value),
            Target::Path(path) => _ = event.set(path, value),
        }
        Ok(())
    }
}

/// A text or number as text.
fn written(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Float(number) => Some(format!("{number:.6}").into()),
        Value::Nil
        | Value::Bool(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Texts(_)
        | Value::Time(_)
        | Value::Duration(_)
        | Value::Object(_) => None,
    }
}

/// What the expressions of nodes see: the event and the world.
pub(crate) struct Surroundings<'a> {
    pub(crate) event: &'a mut Event,
    pub(crate) world: &'a mut World,
    pub(crate) now: Time,
}

impl Scope for Surroundings<'_> {
    fn path(&self, path: &[Arc<str>]) -> Option<(Value, usize)> {
        let (root, rest) = path.split_first()?;
        if &**root != "evt" || rest.is_empty() {
            return None;
        }
        self.event.at(rest).map(|(value, names)| (value, names + 1))
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        if let Some(answer) = self.world.data.call(function, arguments) {
            return Some(answer);
        }
        if !FUNCTIONS.contains(&function) {
            return None;
        }
        let lookups = self.world.lookups.as_deref();
        let address = || arguments.first().and_then(Value::as_text)?.parse::<IpAddr>().ok();
        let value = match (function, arguments) {
            ("GetFromStash", [Value::Text(stash), Value::Text(key)]) => {
                Value::Text(self.world.stashes.get(stash, key, self.now.instant).unwrap_or_default())
            }
            (
                "SetInStash",
                [Value::Text(stash), Value::Text(key), Value::Text(value), Value::Duration(age)],
            ) => {
                let until = self.now.instant.checked_add(SignedDuration::from_nanos(*age)).ok();
                until.map(|until| self.world.stashes.put(stash, key, value.clone(), until));
                Value::Nil
            }
            ("LookupHost", [Value::Text(_)]) => Value::list(Vec::new()),
            ("GeoIPEnrich", [Value::Text(_)]) => {
                address().and_then(|address| lookups?.city(address)).map_or(Value::Nil, |city| {
                    let country = [("IsoCode".into(), Value::Text(city.country))];
                    let location = [
                        ("Latitude".into(), Value::Float(city.latitude)),
                        ("Longitude".into(), Value::Float(city.longitude)),
                    ];
                    let of =
                        |fields: &[(Arc<str>, Value)]| Value::Map(Arc::new(fields.iter().cloned().collect()));
                    of(&[("Country".into(), of(&country)), ("Location".into(), of(&location))])
                })
            }
            ("GeoIPASNEnrich", [Value::Text(_)]) => {
                address().and_then(|address| lookups?.system(address)).map_or(Value::Nil, |(number, name)| {
                    let fields = [
                        ("AutonomousSystemNumber".into(), Value::Int(number.into())),
                        ("AutonomousSystemOrganization".into(), Value::Text(name)),
                    ];
                    Value::Map(Arc::new(fields.into_iter().collect()))
                })
            }
            ("GeoIPRangeEnrich", [Value::Text(_)]) => {
                let range = address().and_then(|address| lookups?.range(address));
                range.map_or(Value::Nil, |range| Value::from(range.to_string()))
            }
            _ => return Some(Err(Problem::new(format!("`{function}` takes other arguments")))),
        };
        Some(Ok(value))
    }

    fn call_method(
        &mut self,
        path: &[Arc<str>],
        method: &str,
        arguments: &[Value],
    ) -> Option<Result<Value, Problem>> {
        if path.len() != 1 || &*path[0] != "evt" {
            return None;
        }
        let texts: Vec<Option<&Arc<str>>> = arguments
            .iter()
            .map(|value| match value {
                Value::Text(text) => Some(text),
                _ => None,
            })
            .collect();
        Some(match (method, &texts[..]) {
            ("SetMeta", [Some(name), Some(value)]) => {
                Ok(Value::Bool(put(&mut self.event.meta, (*name).clone(), (*value).clone())))
            }
            ("SetParsed", [Some(name), Some(value)]) => {
                Ok(Value::Bool(put(&mut self.event.parsed, (*name).clone(), (*value).clone())))
            }
            ("GetMeta", [Some(name)]) => Ok(Value::Text(self.event.get_meta(name))),
            ("GetType", []) => Ok(Value::text(match self.event.kind {
                Kind::Log => "log",
                Kind::Overflow => "overflow",
            })),
            ("ParseIPSources", []) => {
                Ok(self.event.addresses().iter().map(|address| Value::from(address.to_string())).collect())
            }
            _ => return None,
        })
    }

    fn store(&mut self, path: &[Arc<str>], key: &str, value: Value) -> Result<(), Problem> {
        let names: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
        if names != ["evt", "Unmarshaled"] {
            return Err(Problem::new(format!("nothing can be stored in `{}`", names.join("."))));
        }
        Arc::make_mut(&mut self.event.unmarshaled).insert(key.into(), value);
        Ok(())
    }

    fn now(&self) -> Time {
        self.now
    }
}
