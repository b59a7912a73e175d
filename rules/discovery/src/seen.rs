//! What was reflected a moment ago, so that it is not reflected again.

use siphasher::sip::SipHasher13;
use std::{
    collections::{HashSet, VecDeque},
    hash::{Hash, Hasher},
    time::Duration,
};

use crate::limits::{MAX_REMEMBERED, REPEAT_WINDOW};

/// Digests of what was reflected. Whoever does not know the key cannot make two that are the same.
#[derive(Debug)]
pub(crate) struct Seen {
    key: (u64, u64),
    digests: HashSet<u64>,
    order: VecDeque<(Duration, u64)>,
}

impl Seen {
    pub(crate) fn new(key: (u64, u64)) -> Self {
        Self { key, digests: HashSet::new(), order: VecDeque::new() }
    }

    /// Whether this is new; remembers it.
    pub(crate) fn is_new(&mut self, what: &impl Hash, now: Duration) -> bool {
        while let Some((at, digest)) = self.order.front().copied()
            && (at + REPEAT_WINDOW <= now || self.order.len() >= MAX_REMEMBERED)
        {
            self.digests.remove(&digest);
            self.order.pop_front();
        }
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        what.hash(&mut hasher);
        let digest = hasher.finish();
        let new = self.digests.insert(digest);
        if new {
            self.order.push_back((now, digest));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_new_again_after_the_window_and_memory_is_bounded() {
        let mut seen = Seen::new((1, 2));
        let start = Duration::from_secs(9);
        assert!(seen.is_new(&"a", start) && seen.is_new(&"b", start));
        assert!(!seen.is_new(&"a", start + REPEAT_WINDOW / 2));
        assert!(seen.is_new(&"a", start + REPEAT_WINDOW));
        for number in 0..MAX_REMEMBERED * 2 {
            seen.is_new(&number, start + REPEAT_WINDOW);
        }
        assert!(seen.digests.len() <= MAX_REMEMBERED && seen.order.len() == seen.digests.len());
    }
}
