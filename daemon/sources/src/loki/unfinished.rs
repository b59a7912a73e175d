//! Pushes that were taken in part. Their senders send them again as they were, and lines must not count twice.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use crate::limits::MAX_UNFINISHED;

/// What was taken of which.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// With a random key: nobody can make another push look like one of these.
    hasher: RandomState,
    pushes: VecDeque<(u64, usize)>,
}

impl Unfinished {
    /// What tells a push from others.
    pub(super) fn key(&self, from: IpAddr, body: &[u8]) -> u64 {
        self.hasher.hash_one((from, body))
    }

    /// How many lines of it were taken. It is forgotten until it is put back.
    pub(super) fn take(&mut self, key: u64) -> usize {
        let at = self.pushes.iter().position(|(known, _)| *known == key);
        at.and_then(|at| self.pushes.remove(at)).map_or(0, |(_, taken)| taken)
    }

    pub(super) fn put(&mut self, key: u64, taken: usize) {
        if self.pushes.len() >= MAX_UNFINISHED {
            self.pushes.pop_front();
        }
        self.pushes.push_back((key, taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_known_by_sender_and_content_until_there_are_too_many() {
        let mut unfinished = Unfinished::default();
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let key = unfinished.key(one, b"body");
        assert_ne!(key, unfinished.key(other, b"body"));
        assert_ne!(key, unfinished.key(one, b"other"));
        unfinished.put(key, 7);
        assert_eq!((unfinished.take(key), unfinished.take(key)), (7, 0));
        unfinished.put(key, 7);
        for number in 0..MAX_UNFINISHED as u64 {
            unfinished.put(key ^ (number + 1), 1);
        }
        assert_eq!((unfinished.take(key), unfinished.pushes.len()), (0, MAX_UNFINISHED));
    }
}
