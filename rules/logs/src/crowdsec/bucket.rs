//! One bucket of a scenario: its tokens, the events it keeps for the alert, and the values it has seen.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use super::{
    event::{Event, Texts},
    limiter::Limiter,
    overflow::Source,
};

/// Values of `distinct` that a bucket remembers. When there are more, the oldest is forgotten, and counts again.
pub(super) const MAX_DISTINCT: usize = 10_000;
/// Events a bucket keeps, whatever its capacity. When there are more, the oldest goes; they count all the same.
pub(super) const MAX_QUEUE: usize = 1_024;

/// No other bucket, in the chains of buckets.
pub(super) const NONE: u32 = u32::MAX;

/// What a bucket keeps of an event.
#[derive(Debug)]
pub(super) struct Kept {
    /// `evt.Meta`.
    pub(super) meta: Texts,
    /// When it happened, for the alert.
    pub(super) timestamp: Arc<str>,
    /// Who did it, or why that cannot be said.
    pub(super) sources: Result<Vec<Source>, String>,
    /// All of it, for scenarios whose conditions look at the queue.
    pub(super) event: Option<Arc<Event>>,
    /// Roughly, in bytes.
    pub(super) size: usize,
}

/// One bucket.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Number of the scenario.
    pub(super) scenario: u32,
    /// What `groupby` gave.
    pub(super) key: Arc<str>,
    /// Told apart from buckets that stood in this place before.
    pub(super) generation: u32,
    /// Its time is that of processing, not that of the events.
    pub(super) live: bool,
    pub(super) limiter: Limiter,
    /// When the first event was poured, in nanoseconds since 1970.
    pub(super) first: Option<i64>,
    /// When the last was.
    pub(super) last: i64,
    /// Events poured, also those it no longer keeps.
    pub(super) total: u64,
    queue: VecDeque<Arc<Kept>>,
    /// Number of the event at the front of the queue, counted from 0 in each bucket.
    front: u64,
    seen: Option<Box<Seen>>,
    /// The bucket of the same scenario that was poured into before this one; [`NONE`] at the end.
    pub(super) older: u32,
    /// The one that was poured into next.
    pub(super) newer: u32,
}

/// Values of `distinct`, in the order they came.
#[derive(Debug, Default)]
struct Seen {
    values: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Bucket {
    pub(super) fn new(scenario: u32, key: Arc<str>, generation: u32, live: bool) -> Self {
        Self {
            scenario,
            key,
            generation,
            live,
            limiter: Limiter::default(),
            first: None,
            last: 0,
            total: 0,
            queue: VecDeque::new(),
            front: 0,
            seen: None,
            older: NONE,
            newer: NONE,
        }
    }

    /// Notes an event of an instant.
    pub(super) fn note(&mut self, at: i64) {
        self.first.get_or_insert(at);
        self.last = at;
        self.total += 1;
    }

    /// Whether the value is new. When there are too many, the oldest is forgotten.
    pub(super) fn is_new(&mut self, value: Arc<str>) -> bool {
        let seen = self.seen.get_or_insert_default();
        if !seen.values.insert(value.clone()) {
            return false;
        }
        if seen.order.len() == MAX_DISTINCT
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.values.remove(&oldest);
        }
        seen.order.push_back(value);
        true
    }

    /// Keeps an event and returns its number in this bucket and the bytes that were let go. The queue holds one more
    /// than `size`: the event that overflows.
    pub(super) fn keep(&mut self, kept: Arc<Kept>, size: usize) -> (u64, usize) {
        let mut freed = 0;
        while self.queue.len() > size.min(MAX_QUEUE) {
            freed += self.forget_front();
        }
        self.queue.push_back(kept);
        (self.front + self.queue.len() as u64 - 1, freed)
    }

    /// Lets the event of a number go if it is at the front; returns its bytes.
    pub(super) fn forget(&mut self, number: u64) -> usize {
        if number == self.front { self.forget_front() } else { 0 }
    }

    fn forget_front(&mut self) -> usize {
        let Some(kept) = self.queue.pop_front() else { return 0 };
        self.front += 1;
        kept.size
    }

    /// What it keeps, oldest first.
    pub(super) fn queue(&self) -> &VecDeque<Arc<Kept>> {
        &self.queue
    }

    /// Bytes of all it keeps.
    pub(super) fn kept_bytes(&self) -> usize {
        self.queue.iter().map(|kept| kept.size).sum()
    }
}
