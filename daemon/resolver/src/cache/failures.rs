//! Questions that nobody could answer lately (RFC 9520): who asks again soon gets the same failure, and upstreams that do
//! not help, or zones that are broken, are not asked for each client anew. The pause doubles with each failure in a row.

use foldhash::fast::RandomState;
use lru::LruCache;
use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::limits::{LONGEST_FAILURE, MAX_FAILURES, SHORTEST_FAILURE};

/// Failures by their questions; see [`Question::key`](crate::wire::question::Question::key). `T` is what was said.
pub(crate) struct Failures<T>(Mutex<LruCache<Box<[u8]>, Failure<T>, RandomState>>);

struct Failure<T> {
    until: Duration,
    pause: Duration,
    said: T,
}

impl<T: Clone> Failures<T> {
    pub(crate) fn new() -> Self {
        let most = NonZeroUsize::new(MAX_FAILURES).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(LruCache::with_hasher(most, RandomState::default())))
    }

    /// What was said, if it is too early to ask again.
    pub(crate) fn get(&self, key: &[u8], now: Duration) -> Option<T> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        known.get(key).filter(|failure| now < failure.until).map(|failure| failure.said.clone())
    }

    /// Remembers a failure.
    pub(crate) fn note(&self, key: &[u8], said: &T, now: Duration) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // In a row: the last one is not long over. Those who waited together for one answer saw one failure.
        let last = known.peek(key).filter(|last| now < last.until + LONGEST_FAILURE);
        let pause = match last {
            Some(last) if now < last.until => return,
            Some(last) => (last.pause * 2).min(LONGEST_FAILURE),
            None => SHORTEST_FAILURE,
        };
        known.put(key.into(), Failure { until: now + pause, pause, said: said.clone() });
    }

    /// It was answered.
    pub(crate) fn forget(&self, key: &[u8]) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.is_empty() {
            known.pop(key);
        }
    }

    /// Others are asked from now on, or a person wants to know.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_and_ends() {
        let failures = Failures::new();
        let mut now = Duration::from_secs(100);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            failures.note(b"x", &(), now);
            let start = now;
            while failures.get(b"x", now).is_some() {
                now += Duration::from_millis(500);
            }
            pauses.push((now - start).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        failures.note(b"y", &(), now);
        (0..100).for_each(|_| failures.note(b"y", &(), now));
        assert!(failures.get(b"y", now + Duration::from_secs(1)).is_none(), "a hundred saw one failure");
        failures.forget(b"x");
        failures.note(b"x", &(), now);
        assert!(failures.get(b"x", now + Duration::from_secs(1)).is_none(), "answered meanwhile");
        failures.note(b"x", &(), now + Duration::from_secs(500));
        assert!(failures.get(b"x", now + Duration::from_secs(501)).is_none(), "long ago");
    }

    #[test]
    fn they_are_bounded() {
        let (failures, now) = (Failures::new(), Duration::from_secs(1));
        for number in 0..=MAX_FAILURES {
            failures.note(&number.to_be_bytes(), &number, now);
        }
        assert_eq!(failures.get(&0_usize.to_be_bytes(), now), None, "the oldest is gone");
        assert_eq!(failures.get(&MAX_FAILURES.to_be_bytes(), now), Some(MAX_FAILURES));
        failures.clear();
        assert_eq!(failures.get(&MAX_FAILURES.to_be_bytes(), now), None);
    }
}
