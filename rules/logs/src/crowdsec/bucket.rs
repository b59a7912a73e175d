//! One bucket of a scenario: its tokens, the events it keeps for the alert, and the values it has seen.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
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

/// Bytes of a key. Of a longer one there is the beginning, and a hash.
const MAX_KEY: usize = 160;

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

/// Hashes of the values of `distinct`, in the order they came: values can be long, and there can be many.
#[derive(Debug, Default)]
struct Seen {
    values: HashSet<u64>,
    order: VecDeque<u64>,
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
    pub(super) fn is_new(&mut self, value: &str) -> bool {
        let seen = self.seen.get_or_insert_default();
        let value = hash(value, 0);
        if !seen.values.insert(value) {
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

/// A key as buckets have it: of a long one the beginning, and a hash of all of it.
pub(super) fn bounded(key: Arc<str>) -> Arc<str> {
    if key.len() <= MAX_KEY {
        return key;
    }
    let beginning = &key[..key.floor_char_boundary(MAX_KEY - 32)];
    format!("{beginning}{:016x}{:016x}", hash(&key, 1), hash(&key, 2)).into()
}

fn hash(text: &str, salt: u8) -> u64 {
    let mut hasher = DefaultHasher::new();
    (salt, text).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_are_shortened_and_stay_different() {
        let short: Arc<str> = "192.0.2.1/example.org".into();
        assert_eq!(bounded(short.clone()), short);
        let [one, other] = ["a", "b"].map(|end| bounded(format!("{}{end}", "é".repeat(5_000)).into()));
        assert!(one.len() <= MAX_KEY && one != other, "{one}");
    }

    #[test]
    fn the_oldest_value_is_forgotten_when_there_are_too_many() {
        let mut bucket = Bucket::new(0, "".into(), 0, false);
        assert!((0..=MAX_DISTINCT).all(|value| bucket.is_new(&value.to_string())));
        assert!(!bucket.is_new("1"));
        assert!(bucket.is_new("0"));
    }

    #[test]
    fn a_queue_holds_one_more_than_its_size() {
        let kept = |size| {
            Arc::new(Kept {
                meta: Texts::default(),
                timestamp: "".into(),
                sources: Ok(Vec::new()),
                event: None,
                size,
            })
        };
        let mut bucket = Bucket::new(0, "".into(), 0, false);
        assert_eq!(bucket.keep(kept(1), 1), (0, 0));
        assert_eq!(bucket.keep(kept(2), 1), (1, 0));
        assert_eq!(bucket.keep(kept(4), 1), (2, 1));
        assert_eq!(bucket.kept_bytes(), 6);
        assert_eq!(bucket.forget(0), 0, "it is gone already");
        assert_eq!(bucket.forget(1), 2);
        for _ in 0..2 * MAX_QUEUE {
            bucket.keep(kept(1), usize::MAX);
        }
        assert_eq!(bucket.queue().len(), MAX_QUEUE + 1);
    }
}
