//! The buckets of all scenarios: who is poured into which, when they overflow, and what they then say.
//!
//! Buckets live by the times of the events (CrowdSec's "time machine"), or by the time of processing where an event
//! says so, as overflows that are poured again do. Memory is bounded three times, by the number of buckets, of events
//! kept and of their bytes. When there are too many buckets, the one that was left alone longest goes, of the scenario
//! that has most. When too much is kept, the oldest events go: their buckets count on, and only the alert shows less;
//! buckets that remember more of their events than how many they were (`condition`, `distinct`) go with them. All of it
//! is counted.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    alert::{self, Surroundings},
    blackhole::Blackhole,
    bucket::{Bucket, Kept, NONE, bounded},
    event::{Event, Mode},
    scenario::{Flow, Kind, Scenario},
};
use crate::expr::{Program, Scope, Value};

/// Nanoseconds a bucket is kept after its time is over, for events that come late.
const GRACE: i64 = 600 * 1_000_000_000;

/// Buckets looked at to see whether their time is over, with each event and scenario.
const SWEEP: usize = 2;

/// Buckets looked at in one [`Buckets::tick`], per scenario.
const MAX_TICK: usize = 10_000;

/// Bounds of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketLimits {
    /// Buckets of all scenarios.
    pub buckets: usize,
    /// Events kept in all of them; an event kept in two counts twice.
    pub kept: usize,
    /// Bytes of these events, roughly.
    pub kept_bytes: usize,
}

impl Default for BucketLimits {
    fn default() -> Self {
        Self { buckets: 1 << 18, kept: 1 << 19, kept_bytes: 64 * 1024 * 1024 }
    }
}

/// What happened in the buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketStats {
    /// Buckets that there are.
    pub buckets: usize,
    /// Bytes of the events they keep.
    pub kept_bytes: usize,
    /// Events poured, one per bucket.
    pub poured: u64,
    /// Overflows that left.
    pub overflows: u64,
    /// Overflows that fell into a blackhole.
    pub blackholed: u64,
    /// Overflows that an `overflow_filter` refused.
    pub filtered: u64,
    /// Overflows that could not say who did it.
    pub sourceless: u64,
    /// Buckets let go because there were too many.
    pub evicted: u64,
    /// Events let go because too much was kept.
    pub forgotten: u64,
    /// Keys that a blackhole let go because there were too many.
    pub blackholes_evicted: u64,
    /// Events without a time, which no bucket takes.
    pub untimed: u64,
    /// Expressions that could not be computed; the event then goes past the scenario.
    pub problems: u64,
}

/// The buckets of a set of scenarios.
#[derive(Debug)]
pub struct Buckets {
    scenarios: Arc<[Scenario]>,
    /// For each scenario the first that has its name and filter: as in CrowdSec, these share their buckets. A bucket
    /// works as the scenario says that made it, and takes an event once for each.
    twins: Vec<usize>,
    states: Vec<State>,
    slots: Vec<Option<Bucket>>,
    free: Vec<u32>,
    generation: u32,
    /// Events kept, oldest first; those of buckets that are gone stand in it until they come to the front.
    ring: VecDeque<Place>,
    limits: BucketLimits,
    stats: BucketStats,
}

/// What a scenario has beside its buckets.
#[derive(Debug)]
struct State {
    /// The buckets of this scenario and its twins by key; empty in the twins.
    index: HashMap<Arc<str>, u32>,
    /// The chain of the buckets that this scenario made, as they were poured into.
    oldest: u32,
    newest: u32,
    length: usize,
    blackhole: Option<Blackhole>,
}

/// An event in a bucket.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    generation: u32,
    number: u64,
}

/// One event on its way into the buckets.
struct Pouring<'e> {
    event: &'e Arc<Event>,
    /// When it happened; nanoseconds since 1970.
    at: Option<i64>,
    /// When it is processed.
    now: i64,
    /// What buckets about addresses keep of it, once one has.
    kept: Option<Arc<Kept>>,
    out: Vec<Event>,
}

impl Buckets {
    /// Empty buckets.
    #[must_use]
    pub fn new(scenarios: Vec<Scenario>, limits: BucketLimits) -> Self {
        let state = |scenario: &Scenario| State {
            index: HashMap::new(),
            oldest: NONE,
            newest: NONE,
            length: 0,
            blackhole: scenario.blackhole.map(Blackhole::new),
        };
        let mut firsts: HashMap<(&str, &str), usize> = HashMap::new();
        let named = scenarios.iter().enumerate();
        let twins = named
            .map(|(number, scenario)| {
                *firsts.entry((&scenario.name, scenario.filter.text())).or_insert(number)
            })
            .collect();
        Self {
            twins,
            states: scenarios.iter().map(state).collect(),
            scenarios: scenarios.into(),
            slots: Vec::new(),
            free: Vec::new(),
            generation: 0,
            ring: VecDeque::new(),
            limits,
            stats: BucketStats::default(),
        }
    }

    /// The scenarios.
    #[must_use]
    pub fn scenarios(&self) -> &[Scenario] {
        &self.scenarios
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> BucketStats {
        BucketStats { buckets: self.slots.len() - self.free.len(), ..self.stats }
    }

    /// Pours an event into the buckets of the scenarios whose filters hold, and returns the overflows as events, in the
    /// order of the scenarios. `scope` is what expressions see as `evt` and by functions; `now`, nanoseconds since
    /// 1970, is the time of processing.
    pub fn pour(&mut self, event: &Arc<Event>, scope: &mut dyn Scope, now: i64) -> Vec<Event> {
        let scenarios = self.scenarios.clone();
        let mut pouring = Pouring { event, at: alert::happened(event), now, kept: None, out: Vec::new() };
        for (number, scenario) in scenarios.iter().enumerate() {
            match scenario.filter.holds(scope) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(_) => {
                    self.stats.problems += 1;
                    continue;
                }
            }
            let key = match &scenario.group_by {
                None => Arc::from(""),
                Some(program) => match program.run(scope) {
                    Ok(Value::Text(key)) => bounded(key),
                    Ok(_) | Err(_) => {
                        self.stats.problems += 1;
                        continue;
                    }
                },
            };
            self.pour_into(number, &scenarios, &key, &mut pouring, scope);
        }
        pouring.out
    }

    /// Ends the buckets whose time is over at `now` (nanoseconds since 1970), and returns the overflows of those that
    /// overflow with their time. For live logs; a replay has no use for it.
    pub fn tick(&mut self, scope: &mut dyn Scope, now: i64) -> Vec<Event> {
        let scenarios = self.scenarios.clone();
        let mut out = Vec::new();
        for (number, scenario) in scenarios.iter().enumerate() {
            let mut slot = self.states[number].oldest;
            for _ in 0..MAX_TICK {
                let Some(bucket) = self.bucket(slot) else { break };
                let newer = bucket.newer;
                let grace = if bucket.live { 0 } else { GRACE };
                if bucket.is_over(scenario, now.saturating_sub(grace)) {
                    self.end(slot, scenario, now, scope, &mut out);
                } else if !scenario.timed {
                    break;
                }
                slot = newer;
            }
        }
        out
    }

    fn pour_into(
        &mut self,
        number: usize,
        scenarios: &[Scenario],
        key: &Arc<str>,
        pouring: &mut Pouring<'_>,
        scope: &mut dyn Scope,
    ) {
        let mut slot = self.states[self.twins[number]].index.get(key).copied();
        if let Some(found) = slot
            && let Some(bucket) = self.bucket(found)
            && let Some(scenario) = scenarios.get(bucket.scenario as usize)
            && pouring.time(bucket.live).is_some_and(|at| bucket.is_over(scenario, at))
        {
            self.end(found, scenario, pouring.now, scope, &mut pouring.out);
            slot = None;
        }
        let (number, live) = slot
            .and_then(|slot| self.bucket(slot))
            .map_or((number, pouring.event.mode == Mode::Live), |bucket| {
                (bucket.scenario as usize, bucket.live)
            });
        let scenario = &scenarios[number];
        let at = match (scenario.kind, pouring.time(live)) {
            (_, Some(at)) => at,
            (Kind::Trigger, None) => pouring.now,
            (Kind::Leaky | Kind::Conditional, None) => {
                self.stats.untimed += 1;
                return;
            }
        };
        let slot = slot.unwrap_or_else(|| self.create(number, key, live));
        if scenario.kind != Kind::Trigger && !self.lets_in(slot, scenario, scope) {
            return;
        }
        let kept = pouring.kept_for(scenario, scope);
        let Some(bucket) = self.bucket_mut(slot) else { return };
        bucket.note(at);
        let passes = match scenario.flow {
            Flow::Boundless => true,
            Flow::Shut => false,
            Flow::Leaking(rate) => bucket.limiter.take(rate, at),
        };
        let passes = passes || (live && scenario.kind == Kind::Conditional);
        self.stats.poured += 1;
        self.keep(slot, kept, scenario);
        if !passes || self.condition_holds(slot, scenario, scope) {
            self.overflow(slot, scenario, at, scope, &mut pouring.out);
        } else {
            self.unlink(slot);
            self.link(slot);
        }
        self.sweep(number, scenario, pouring);
    }

    /// Whether the event is new to the bucket and does not cancel it.
    fn lets_in(&mut self, slot: u32, scenario: &Scenario, scope: &mut dyn Scope) -> bool {
        if let Some(distinct) = &scenario.distinct {
            match distinct.run(scope) {
                Ok(value) => {
                    let value = value.as_text().unwrap_or("");
                    if !self.bucket_mut(slot).is_some_and(|bucket| bucket.is_new(value)) {
                        return false;
                    }
                }
                Err(_) => self.stats.problems += 1,
            }
        }
        if let Some(cancel_on) = &scenario.cancel_on
            && self.is_true(cancel_on, scope)
        {
            self.remove(slot);
            return false;
        }
        true
    }

    fn condition_holds(&mut self, slot: u32, scenario: &Scenario, scope: &mut dyn Scope) -> bool {
        let Some(condition) = &scenario.condition else { return false };
        let Some(bucket) = self.bucket(slot) else { return false };
        let mut scope = Surroundings::of(bucket, scenario, scope);
        self.is_true(condition, &mut scope)
    }

    fn is_true(&mut self, program: &Program, scope: &mut dyn Scope) -> bool {
        program.holds(scope).unwrap_or_else(|_| {
            self.stats.problems += 1;
            false
        })
    }

    /// Ends a bucket whose time is over: it overflows, if that is how the scenario counts, or just goes.
    fn end(&mut self, slot: u32, scenario: &Scenario, now: i64, scope: &mut dyn Scope, out: &mut Vec<Event>) {
        if scenario.timed && self.bucket(slot).is_some_and(|bucket| bucket.live) {
            self.overflow(slot, scenario, now, scope, out);
        } else {
            self.remove(slot);
        }
    }

    /// Takes a bucket away and lets it say what it has to, unless it is filtered or blackholed.
    fn overflow(
        &mut self,
        slot: u32,
        scenario: &Scenario,
        at: i64,
        scope: &mut dyn Scope,
        out: &mut Vec<Event>,
    ) {
        let Some(bucket) = self.remove(slot) else { return };
        let overflow = alert::overflow(&bucket, scenario, at);
        if let Some(filter) = &scenario.overflow_filter {
            let mut scope = Surroundings::of(&bucket, scenario, scope).with_signal(overflow.as_ref().ok());
            // As CrowdSec: a filter that cannot be computed lets pass.
            match filter.holds(&mut scope) {
                Ok(true) => {}
                Ok(false) => {
                    self.stats.filtered += 1;
                    return;
                }
                Err(_) => self.stats.problems += 1,
            }
        }
        if let Some(blackhole) =
            self.states.get_mut(bucket.scenario as usize).and_then(|state| state.blackhole.as_mut())
        {
            if blackhole.swallows(&bucket.key, at) {
                self.stats.blackholed += 1;
                return;
            }
            self.stats.blackholes_evicted += u64::from(blackhole.open(&bucket.key, at));
        }
        match overflow {
            Ok(overflow) if !overflow.alerts.is_empty() => {
                self.stats.overflows += 1;
                out.push(alert::event_of(overflow, at));
            }
            Ok(_) | Err(_) => self.stats.sourceless += 1,
        }
    }

    /// Keeps an event in a bucket, and lets the oldest of all go where that is too much.
    fn keep(&mut self, slot: u32, kept: Arc<Kept>, scenario: &Scenario) {
        let size = kept.size;
        let Some(bucket) = self.bucket_mut(slot) else { return };
        let (number, freed) = bucket.keep(kept, scenario.queue);
        let generation = bucket.generation;
        self.stats.kept_bytes = (self.stats.kept_bytes + size).saturating_sub(freed);
        self.ring.push_back(Place { slot, generation, number });
        while self.stats.kept_bytes > self.limits.kept_bytes || self.ring.len() > self.limits.kept {
            let Some(place) = self.ring.pop_front() else { break };
            let goes_along = self
                .bucket(place.slot)
                .filter(|bucket| bucket.generation == place.generation)
                .map(|bucket| self.scenarios[bucket.scenario as usize].remembers());
            match goes_along {
                None => {}
                Some(true) if place.slot != slot => {
                    self.remove(place.slot);
                    self.stats.evicted += 1;
                }
                Some(_) => {
                    let freed = self.bucket_mut(place.slot).map_or(0, |bucket| bucket.forget(place.number));
                    self.stats.forgotten += u64::from(freed > 0);
                    self.stats.kept_bytes = self.stats.kept_bytes.saturating_sub(freed);
                }
            }
        }
    }

    fn create(&mut self, number: usize, key: &Arc<str>, live: bool) -> u32 {
        if self.slots.len() - self.free.len() >= self.limits.buckets.max(1) {
            let fullest = self.states.iter().max_by_key(|state| state.length);
            if let Some(oldest) = fullest.map(|state| state.oldest) {
                self.remove(oldest);
                self.stats.evicted += 1;
            }
        }
        self.generation = self.generation.wrapping_add(1);
        let scenario = u32::try_from(number).unwrap_or(NONE);
        let bucket = Some(Bucket::new(scenario, key.clone(), self.generation, live));
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = bucket;
            slot
        } else {
            self.slots.push(bucket);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        };
        self.states[self.twins[number]].index.insert(key.clone(), slot);
        self.link(slot);
        slot
    }

    fn remove(&mut self, slot: u32) -> Option<Bucket> {
        self.bucket(slot)?;
        self.unlink(slot);
        let bucket = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.states[self.twins[bucket.scenario as usize]].index.remove(&bucket.key);
        self.stats.kept_bytes = self.stats.kept_bytes.saturating_sub(bucket.kept_bytes());
        Some(bucket)
    }

    /// Lets buckets of a scenario go whose time is over.
    fn sweep(&mut self, number: usize, scenario: &Scenario, pouring: &Pouring<'_>) {
        for _ in 0..SWEEP {
            let oldest = self.states[number].oldest;
            let Some(bucket) = self.bucket(oldest) else { return };
            let at = pouring.time(bucket.live).map(|at| at.saturating_sub(GRACE));
            if (bucket.live && scenario.timed) || !at.is_some_and(|at| bucket.is_over(scenario, at)) {
                return;
            }
            self.remove(oldest);
        }
    }

    fn bucket(&self, slot: u32) -> Option<&Bucket> {
        self.slots.get(slot as usize)?.as_ref()
    }

    fn bucket_mut(&mut self, slot: u32) -> Option<&mut Bucket> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Puts a bucket at the new end of its scenario's chain.
    fn link(&mut self, slot: u32) {
        let Some(scenario) = self.bucket(slot).map(|bucket| bucket.scenario as usize) else { return };
        self.states[scenario].length += 1;
        let before = std::mem::replace(&mut self.states[scenario].newest, slot);
        match self.bucket_mut(before) {
            Some(bucket) => bucket.newer = slot,
            None => self.states[scenario].oldest = slot,
        }
        if let Some(bucket) = self.bucket_mut(slot) {
            bucket.older = before;
            bucket.newer = NONE;
        }
    }

    /// Takes a bucket out of its scenario's chain.
    fn unlink(&mut self, slot: u32) {
        let Some(bucket) = self.bucket(slot) else { return };
        let (scenario, older, newer) = (bucket.scenario as usize, bucket.older, bucket.newer);
        self.states[scenario].length -= 1;
        match self.bucket_mut(older) {
            Some(bucket) => bucket.newer = newer,
            None => self.states[scenario].oldest = newer,
        }
        match self.bucket_mut(newer) {
            Some(bucket) => bucket.older = older,
            None => self.states[scenario].newest = older,
        }
    }
}

impl Bucket {
    /// Whether its time is over at an instant.
    fn is_over(&self, scenario: &Scenario, at: i64) -> bool {
        let Some(first) = self.first else { return false };
        if self.live {
            let since = if scenario.timed { first } else { self.last };
            at >= since.saturating_add(scenario.lifetime)
        } else {
            at > self.last.saturating_add(scenario.lifetime)
        }
    }
}

impl Pouring<'_> {
    /// The time that counts for a bucket.
    fn time(&self, live: bool) -> Option<i64> {
        if live { Some(self.now) } else { self.at }
    }

    /// What a bucket keeps of the event. What buckets about addresses keep is shared.
    fn kept_for(&mut self, scenario: &Scenario, scope: &mut dyn Scope) -> Arc<Kept> {
        let common = scenario.scope.is_address() && !scenario.looks_at_queue();
        if common && let Some(kept) = &self.kept {
            return kept.clone();
        }
        let kept = Arc::new(alert::kept(self.event, scenario, scope));
        if common {
            self.kept = Some(kept.clone());
        }
        kept
    }
}
