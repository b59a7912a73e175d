//! Stages of nodes, and the way of an event through them.

use std::sync::Arc;

use super::enrich::Lookups;
use super::event::Event;
use super::limits::MAX_LINE;
use super::load::{Items, load};
use super::node::{Node, Surroundings, World};
use crate::FilterError;
use crate::expr::{Scope, Time};

/// Stages of nodes.
#[derive(Debug)]
pub struct Pipeline {
    world: World,
    /// The nodes of each stage, in their order.
    nodes: Vec<Vec<Node>>,
    missing: Vec<FilterError>,
}

/// One node that an event went through.
#[derive(Clone, Debug)]
pub struct Step {
    /// The stage it stood in.
    pub stage: Arc<str>,
    /// The name of the node.
    pub name: Arc<str>,
    /// Whether it was a success.
    pub success: bool,
    /// The event after it.
    pub event: Event,
}

/// What became of an event.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The event; [`Event::process`] says whether it passed.
    pub event: Event,
    /// The nodes it went through, where they were asked for.
    pub steps: Vec<Step>,
}

impl Pipeline {
    /// Compiles items. A file that has mistakes is left out and told; the rest goes on. Nodes of one stage stand in
    /// the order of their files' names.
    #[must_use]
    pub fn new(items: &Items<'_>) -> (Self, Vec<FilterError>) {
        let mut errors = Vec::new();
        let loaded = load(items, &mut errors);
        let world = World {
            stages: loaded.nodes.keys().cloned().collect(),
            groks: loaded.groks.into_iter().map(|grok| (grok, None)).collect(),
            stashes: loaded.stashes,
            data: loaded.data,
            lookups: None,
        };
        (Self { world, nodes: loaded.nodes.into_values().collect(), missing: loaded.missing }, errors)
    }

    /// Lets methods and functions look up more about addresses.
    #[must_use]
    pub fn with_lookups(mut self, lookups: Arc<dyn Lookups>) -> Self {
        self.world.lookups = Some(lookups);
        self
    }

    /// The names of the stages, in their order.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        self.world.stages.iter().map(AsRef::as_ref)
    }

    /// How many nodes stand at the top of the stages.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.iter().map(Vec::len).sum()
    }

    /// Loads a data file, as if an item had named it: those of scenarios, whose expressions see what parsers see.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn add_data(&mut self, name: &str, kind: &str, bytes: &[u8]) -> Result<(), FilterError> {
        self.world.data.add(name, kind, bytes)
    }

    /// What expressions see of an event here: it, the data files, the stashes and the look-ups.
    pub fn scope<'s>(&'s mut self, event: &'s mut Event, now: Time) -> impl Scope + 's {
        Surroundings { event, world: &mut self.world, now }
    }

    /// Data files that items name and that were not given. To expressions they are empty, as upstream; the items run.
    #[must_use]
    pub fn missing_data(&self) -> &[FilterError] {
        &self.missing
    }

    /// Puts an event through the stages. `now` is the time, and says in which year times without one are.
    pub fn parse(&mut self, event: Event, now: Time) -> Event {
        self.run(event, now, None)
    }

    /// As [`Pipeline::parse`], and tells each node it went through.
    pub fn parse_told(&mut self, event: Event, now: Time) -> Parsed {
        let mut steps = Vec::new();
        let event = self.run(event, now, Some(&mut steps));
        Parsed { event, steps }
    }

    fn run(&mut self, mut event: Event, now: Time, mut steps: Option<&mut Vec<Step>>) -> Event {
        event.process = false;
        if event.line.raw.len() > MAX_LINE {
            return event;
        }
        if event.stage.is_empty()
            && let Some(first) = self.world.stages.first()
        {
            event.stage = first.clone();
        }
        for (number, nodes) in self.nodes.iter().enumerate() {
            let stage = self.world.stages[number].clone();
            // An event may begin further on.
            if self.world.stages.iter().position(|known| *known == event.stage) > Some(number) {
                continue;
            }
            // The stage before was a success, but nothing moved the event on.
            if event.stage != stage {
                return event;
            }
            let mut success = false;
            for node in nodes {
                let Ok(passed) = node.process(&mut event, &mut self.world, now) else { return event };
                if let Some(steps) = &mut steps {
                    let step = Step {
                        stage: stage.clone(),
                        name: node.name.clone(),
                        success: passed,
                        event: event.clone(),
                    };
                    steps.push(step);
                }
                success |= passed;
                if (passed && node.next_stage) || event.stage != stage {
                    break;
                }
            }
            if !success {
                return event;
            }
        }
        event.process = true;
        event
    }
}
