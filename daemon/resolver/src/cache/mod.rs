//! Answers of upstreams, kept as long as their TTL allows and, past their time, as long as they may stand in for
//! upstreams that do not answer; never beyond the limits of entries and bytes.
//!
//! What is kept is what upstreams said, before any list was asked: who asks decides about it each time it is given, so
//! nothing of one client's judgement reaches another. The question's DNSSEC and checking flags are part of the key.

mod answer;
mod failures;

pub(crate) use answer::{Answer, Lifetimes};
pub(crate) use failures::Failures;

use foldhash::fast::RandomState;
use lru::LruCache;
use std::{
    hash::BuildHasher,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    limits::MAX_CACHED_ANSWER,
    wire::{
        name,
        question::{KEY_TAIL, Question},
    },
};

/// The question as it is looked up; see [`Question::key`].
type Key = Box<[u8]>;

/// Parts of a large cache, so that readers do not wait for each other.
const SHARDS: usize = 8;
/// Below so many entries there is one part, so that the least recently used of all go first.
const SHARDED_FROM: usize = 1024;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Answers; 0 = none at all.
    pub(crate) entries: usize,
    /// Bytes of answers.
    pub(crate) bytes: usize,
    /// Seconds answers are kept past their time.
    pub(crate) stale: u32,
}

/// A bounded cache; when full the least recently used answer goes.
pub(crate) struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    entries: LruCache<Key, Arc<Answer>, RandomState>,
    bytes: usize,
    bounds: Bounds,
}

/// What the cache knows about a question.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// An answer.
    Fresh(Arc<Answer>),
    /// An answer past its time.
    Stale(Arc<Answer>),
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let count = if bounds.entries < SHARDED_FROM { 1 } else { SHARDS };
        let hasher = RandomState::default();
        let share = Bounds { entries: bounds.entries.div_ceil(count), bytes: bounds.bytes / count, ..bounds };
        let shard = || Shard {
            // Unbounded as far as the crate knows, so that memory grows with use.
            entries: LruCache::unbounded_with_hasher(hasher.clone()),
            bytes: 0,
            bounds: share,
        };
        Self { shards: (0..count).map(|_| Mutex::new(shard())).collect(), hasher }
    }

    /// A cache of other bounds that holds what this one holds, as far as it fits.
    pub(crate) fn resized(&self, bounds: Bounds) -> Self {
        let new = Self::new(bounds);
        for shard in &self.shards {
            let mut shard = lock(shard);
            while let Some((key, answer)) = shard.entries.pop_lru() {
                new.insert(key, answer);
            }
            shard.bytes = 0;
        }
        new
    }

    /// What is known about a question.
    pub(crate) fn get(&self, question: &Question, now: Duration) -> Found {
        let Some(mut shard) = self.shard(question.key()) else { return Found::Nothing };
        let stale = shard.bounds.stale;
        let Some(answer) = shard.entries.get(question.key()) else { return Found::Nothing };
        if answer.is_fresh(now) {
            return Found::Fresh(Arc::clone(answer));
        }
        if answer.is_gone(now, stale) {
            shard.remove(question.key());
            return Found::Nothing;
        }
        Found::Stale(Arc::clone(answer))
    }

    /// Keeps an answer if it may be kept.
    pub(crate) fn put(&self, question: &Question, answer: &Arc<Answer>) {
        if answer.ttl() > 0 && answer.wire_length() <= MAX_CACHED_ANSWER {
            self.insert(question.key().into(), Arc::clone(answer));
        }
    }

    /// Forgets a name (as lists know it) and everything below it, or all with none. Says how many answers went.
    pub(crate) fn flush(&self, parent: Option<&str>) -> usize {
        let mut wire = Vec::new();
        if let Some(parent) = parent
            && !name::push(&mut wire, parent)
        {
            return 0;
        }
        let mut count = 0;
        for shard in &self.shards {
            let mut shard = lock(shard);
            let gone: Vec<Key> = shard
                .entries
                .iter()
                .filter(|(key, _)| parent.is_none() || is_within(key, &wire))
                .map(|(key, _)| key.clone())
                .collect();
            count += gone.len();
            gone.iter().for_each(|key| shard.remove(key));
        }
        count
    }

    /// Answers held.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    /// Bytes of answers held.
    pub(crate) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    fn insert(&self, key: Key, answer: Arc<Answer>) {
        let Some(mut shard) = self.shard(&key) else { return };
        if shard.bounds.entries > 0 {
            shard.insert(key, answer);
        }
    }

    fn shard(&self, key: &[u8]) -> Option<std::sync::MutexGuard<'_, Shard>> {
        let at = match NonZeroUsize::new(self.shards.len()) {
            Some(count) if count.get() > 1 => {
                usize::try_from(self.hasher.hash_one(key) >> 48).unwrap_or_default() % count
            }
            Some(_) | None => 0,
        };
        self.shards.get(at).map(lock)
    }
}

fn lock(shard: &Mutex<Shard>) -> std::sync::MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn insert(&mut self, key: Key, answer: Arc<Answer>) {
        self.bytes += cost(&key, &answer);
        if let Some((key, old)) = self.entries.push(key, answer) {
            self.bytes = self.bytes.saturating_sub(cost(&key, &old));
        }
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            let Some((key, answer)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(cost(&key, &answer));
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((key, answer)) = self.entries.pop_entry(key) {
            self.bytes = self.bytes.saturating_sub(cost(&key, &answer));
        }
    }
}

/// Bytes of an entry, with what the map needs for it.
fn cost(key: &[u8], answer: &Answer) -> usize {
    key.len() + answer.bytes() + 96
}

/// Whether a key's name is `parent` (wire form, lower case) or below it.
fn is_within(key: &[u8], parent: &[u8]) -> bool {
    let mut name = &key[..key.len().saturating_sub(KEY_TAIL)];
    loop {
        if name == parent {
            return true;
        }
        match name.split_first() {
            Some((&length, rest)) if length > 0 => match rest.get(usize::from(length)..) {
                Some(rest) => name = rest,
                None => return false,
            },
            Some(_) | None => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::{Message, OpCode},
        rr::{RData, Record, rdata::A},
    };
    use proptest::prelude::*;
    use std::collections::VecDeque;

    const LIFE: Lifetimes = Lifetimes { least: 0, most: 86_400, negative: 3600 };
    const BOUNDS: Bounds = Bounds { entries: 10, bytes: 1 << 20, stale: 0 };

    fn question(name: &str, dnssec_ok: bool) -> Question {
        Question::about(name, 1, dnssec_ok, false).unwrap()
    }

    fn answer(question: &Question, ttl: u32, count: u8, now: Duration) -> Arc<Answer> {
        let mut message = Message::response(1, OpCode::Query);
        for host in 0..count {
            message.add_answer(Record::from_rdata(question.name(), ttl, RData::A(A::new(192, 0, 2, host))));
        }
        Arc::new(Answer::new(question, message, false, LIFE, now).unwrap())
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn put(cache: &Cache, name: &str, ttl: u32, now: Duration) {
        let question = question(name, false);
        cache.put(&question, &answer(&question, ttl, 1, now));
    }

    fn is_fresh(cache: &Cache, name: &str, now: Duration) -> bool {
        matches!(cache.get(&question(name, false), now), Found::Fresh(_))
    }

    #[test]
    fn answers_end_and_stand_in_while_they_may() {
        let cache = Cache::new(Bounds { stale: 100, ..BOUNDS });
        put(&cache, "www.example", 60, at(0));
        assert!(is_fresh(&cache, "WWW.example", at(59)));
        assert!(matches!(cache.get(&question("www.example", false), at(60)), Found::Stale(_)));
        assert!(matches!(cache.get(&question("www.example", false), at(159)), Found::Stale(_)));
        assert!(matches!(cache.get(&question("www.example", false), at(160)), Found::Nothing));
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn questions_with_other_flags_have_other_answers() {
        let cache = Cache::new(BOUNDS);
        put(&cache, "www.example", 60, at(0));
        assert!(matches!(cache.get(&question("www.example", true), at(0)), Found::Nothing));
        let unchecked = Question::about("www.example", 1, false, true).unwrap();
        assert!(matches!(cache.get(&unchecked, at(0)), Found::Nothing));
        let other = Question::about("www.example", 28, false, false).unwrap();
        assert!(matches!(cache.get(&other, at(0)), Found::Nothing));
    }

    #[test]
    fn flushing_takes_a_name_and_what_is_below_it() {
        let cache = Cache::new(BOUNDS);
        for name in ["example", "a.example", "notexample", "b.a.example"] {
            put(&cache, name, 60, at(0));
        }
        assert_eq!(cache.flush(Some("a.example")), 2);
        assert!(is_fresh(&cache, "notexample", at(0)) && is_fresh(&cache, "example", at(0)));
        assert_eq!(cache.flush(None), 2);
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    }

    #[test]
    fn bytes_are_bounded() {
        let cache = Cache::new(Bounds { entries: 1000, bytes: 20_000, ..BOUNDS });
        for number in 0..200 {
            put(&cache, &format!("n{number}.example"), 60, at(0));
        }
        assert!(cache.bytes() <= 20_000 && cache.len() > 20, "{} in {}", cache.len(), cache.bytes());
        assert!(is_fresh(&cache, "n199.example", at(0)) && !is_fresh(&cache, "n0.example", at(0)));
        let large = question("large.example", false);
        let answer = answer(&large, 60, 100, at(0));
        assert!(answer.wire_length() <= MAX_CACHED_ANSWER);
        cache.put(&large, &answer);
        assert!(cache.bytes() <= 20_000);
    }

    #[test]
    fn none_are_kept_where_none_may_and_a_smaller_cache_keeps_the_newest() {
        let none = Cache::new(Bounds { entries: 0, ..BOUNDS });
        put(&none, "www.example", 60, at(0));
        assert_eq!(none.len(), 0);
        let cache = Cache::new(Bounds { entries: 4000, ..BOUNDS });
        for number in 0..100 {
            put(&cache, &format!("n{number}.example"), 60, at(0));
        }
        assert_eq!(cache.len(), 100);
        assert_eq!(cache.resized(BOUNDS).len(), 10);
        assert_eq!(cache.len(), 0, "they have moved");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Against a list in the order of use.
        #[test]
        fn the_least_recently_used_go(uses in prop::collection::vec((0..20_u8, any::<bool>()), 1..80)) {
            let cache = Cache::new(Bounds { entries: 5, ..BOUNDS });
            let mut model: VecDeque<u8> = VecDeque::new();
            for (number, is_put) in uses {
                let name = format!("n{number}.example");
                let known = model.contains(&number);
                if is_put {
                    put(&cache, &name, 60, at(0));
                } else {
                    prop_assert_eq!(is_fresh(&cache, &name, at(0)), known);
                }
                if is_put || known {
                    model.retain(|&other| other != number);
                    model.push_back(number);
                    if model.len() > 5 {
                        model.pop_front();
                    }
                }
                prop_assert_eq!(cache.len(), model.len());
            }
        }
    }
}
