//! Stashes: what nodes keep of a line for the lines that follow, by name and key, each with an age it reaches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::limits::{MAX_STASH, MAX_STASH_BYTES, MAX_STASHED, MAX_STASHES};

/// All stashes of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Stashes(BTreeMap<Arc<str>, Stash>);

/// What goes when a stash is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// What was longest not asked for.
    #[default]
    LeastRecent,
    /// What was least often asked for, and of these the one longest not asked for.
    LeastFrequent,
}

#[derive(Debug)]
struct Stash {
    size: usize,
    strategy: Strategy,
    kept: HashMap<Arc<str>, Kept>,
    /// Ranks of what is kept, the first to go first.
    order: BTreeSet<(u64, u64, Arc<str>)>,
    turns: u64,
    /// Bytes of keys and values.
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    value: Arc<str>,
    until: Timestamp,
    rank: (u64, u64),
}

impl Stashes {
    /// Makes a stash. The first of a name says how large it is. False if there are [`MAX_STASHES`] already.
    pub(crate) fn open(&mut self, name: &Arc<str>, size: usize, strategy: Strategy) -> bool {
        if self.0.len() >= MAX_STASHES && !self.0.contains_key(name) {
            return false;
        }
        self.0.entry(name.clone()).or_insert_with(|| Stash {
            size: size.clamp(1, MAX_STASH),
            strategy,
            kept: HashMap::new(),
            order: BTreeSet::new(),
            turns: 0,
            bytes: 0,
        });
        true
    }

    /// Keeps a value. False where there is no such stash, or key or value is too long to be kept.
    pub(crate) fn put(&mut self, name: &str, key: &Arc<str>, value: Arc<str>, until: Timestamp) -> bool {
        if key.len() > MAX_STASHED || value.len() > MAX_STASHED {
            return false;
        }
        self.0.get_mut(name).is_some_and(|stash| {
            stash.put(key, value, until);
            true
        })
    }

    /// A value that is kept and not too old.
    pub(crate) fn get(&mut self, name: &str, key: &str, now: Timestamp) -> Option<Arc<str>> {
        self.0.get_mut(name)?.get(key, now)
    }
}

impl Stash {
    fn put(&mut self, key: &Arc<str>, value: Arc<str>, until: Timestamp) {
        self.turns += 1;
        let uses = self.take(key).map_or(0, |(_, old)| old.rank.0);
        let size = key.len() + value.len();
        while self.kept.len() >= self.size || self.bytes + size > MAX_STASH_BYTES {
            let Some((_, _, first)) = self.order.first().cloned() else { break };
            self.take(&first);
        }
        self.keep(key.clone(), value, until, uses);
    }

    fn get(&mut self, key: &str, now: Timestamp) -> Option<Arc<str>> {
        let (key, kept) = self.take(key)?;
        if kept.until <= now {
            return None;
        }
        self.turns += 1;
        let uses = match self.strategy {
            Strategy::LeastRecent => 0,
            Strategy::LeastFrequent => kept.rank.0 + 1,
        };
        let value = kept.value.clone();
        self.keep(key, kept.value, kept.until, uses);
        Some(value)
    }

    fn take(&mut self, key: &str) -> Option<(Arc<str>, Kept)> {
        let (key, kept) = self.kept.remove_entry(key)?;
        self.order.remove(&(kept.rank.0, kept.rank.1, key.clone()));
        self.bytes -= key.len() + kept.value.len();
        Some((key, kept))
    }

    fn keep(&mut self, key: Arc<str>, value: Arc<str>, until: Timestamp, uses: u64) {
        let rank = (uses, self.turns);
        self.bytes += key.len() + value.len();
        self.order.insert((rank.0, rank.1, key.clone()));
        self.kept.insert(key, Kept { value, until, rank });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn stashes(size: usize, strategy: Strategy) -> Stashes {
        let mut stashes = Stashes::default();
        assert!(stashes.open(&"s".into(), size, strategy));
        stashes
    }

    #[test]
    fn values_age_and_are_replaced() {
        let mut stashes = stashes(2, Strategy::LeastRecent);
        assert!(stashes.put("s", &"a".into(), "1".into(), at(10)));
        assert_eq!(stashes.get("s", "a", at(9)).as_deref(), Some("1"));
        assert!(stashes.put("s", &"a".into(), "2".into(), at(20)));
        assert_eq!(stashes.get("s", "a", at(19)).as_deref(), Some("2"));
        assert_eq!(stashes.get("s", "a", at(20)), None);
        assert_eq!(stashes.get("s", "a", at(0)), None, "what was too old is gone");
        assert!(!stashes.put("t", &"a".into(), "1".into(), at(10)));
        assert!(!stashes.put("s", &"a".into(), "x".repeat(MAX_STASHED + 1).into(), at(10)));
    }

    #[test]
    fn a_full_stash_lets_go_by_its_strategy() {
        for (strategy, gone, left) in [(Strategy::LeastRecent, "a", "b"), (Strategy::LeastFrequent, "b", "a")]
        {
            let mut stashes = stashes(2, strategy);
            for key in ["a", "b"] {
                stashes.put("s", &key.into(), key.into(), at(10));
            }
            for key in ["a", "a", "b"] {
                stashes.get("s", key, at(0));
            }
            stashes.put("s", &"c".into(), "c".into(), at(10));
            assert_eq!(stashes.get("s", gone, at(0)), None, "{strategy:?}");
            assert_eq!(stashes.get("s", left, at(0)).as_deref(), Some(left), "{strategy:?}");
            assert_eq!(stashes.0["s"].kept.len(), stashes.0["s"].order.len());
            assert_eq!(stashes.0["s"].bytes, 4);
        }
    }

    #[test]
    fn long_values_go_earlier() {
        let mut stashes = stashes(MAX_STASH, Strategy::LeastRecent);
        let long: Arc<str> = "x".repeat(MAX_STASHED).into();
        for number in 0..1_000 {
            assert!(stashes.put("s", &number.to_string().into(), long.clone(), at(10)));
            assert!(stashes.0["s"].bytes <= MAX_STASH_BYTES);
        }
        assert!(stashes.0["s"].kept.len() > 400);
        assert_eq!(stashes.get("s", "0", at(0)), None);
        assert!(stashes.get("s", "999", at(0)).is_some());
    }

    #[test]
    fn there_are_so_many_stashes_and_no_more() {
        let mut stashes = Stashes::default();
        for number in 0..MAX_STASHES {
            assert!(stashes.open(&number.to_string().into(), 1, Strategy::LeastRecent));
        }
        assert!(!stashes.open(&"more".into(), 1, Strategy::LeastRecent));
        assert!(stashes.open(&"0".into(), 1, Strategy::LeastRecent));
    }
}
