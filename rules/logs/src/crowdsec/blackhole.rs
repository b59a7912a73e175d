//! What swallows the overflows of a key for a time after one left (`blackhole`), so that one attack is one alert.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Keys of one scenario that are swallowed at once. When there are more, the oldest is let go.
pub(super) const MAX_BLACKHOLED: usize = 8_192;

/// The blackhole of a scenario. Times are nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct Blackhole {
    duration: i64,
    until: HashMap<Arc<str>, i64>,
    order: VecDeque<(i64, Arc<str>)>,
}

impl Blackhole {
    pub(super) fn new(duration: i64) -> Self {
        Self { duration, until: HashMap::new(), order: VecDeque::new() }
    }

    /// Whether an overflow of a key at an instant is swallowed.
    pub(super) fn swallows(&mut self, key: &str, at: i64) -> bool {
        while self.order.front().is_some_and(|(until, _)| *until <= at) {
            self.forget_oldest();
        }
        self.until.get(key).is_some_and(|until| *until > at)
    }

    /// Swallows a key from an instant on. True if another had to be let go for it.
    pub(super) fn open(&mut self, key: &Arc<str>, at: i64) -> bool {
        let until = at.saturating_add(self.duration);
        self.until.insert(key.clone(), until);
        self.order.push_back((until, key.clone()));
        let full = self.order.len() > MAX_BLACKHOLED;
        if full {
            self.forget_oldest();
        }
        full
    }

    fn forget_oldest(&mut self) {
        if let Some((until, key)) = self.order.pop_front()
            && self.until.get(&key) == Some(&until)
        {
            self.until.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swallows_a_key_for_its_time() {
        let mut blackhole = Blackhole::new(60);
        let key: Arc<str> = "192.0.2.1".into();
        assert!(!blackhole.swallows(&key, 100));
        assert!(!blackhole.open(&key, 100));
        assert!(blackhole.swallows(&key, 100));
        assert!(blackhole.swallows(&key, 159));
        assert!(!blackhole.swallows("192.0.2.2", 159), "others pass");
        assert!(!blackhole.swallows(&key, 160));
    }

    #[test]
    fn the_oldest_key_goes_when_it_is_full() {
        let mut blackhole = Blackhole::new(i64::MAX);
        let keys: Vec<Arc<str>> = (0..=MAX_BLACKHOLED).map(|key| key.to_string().into()).collect();
        let evicted = keys.iter().filter(|key| blackhole.open(key, 0)).count();
        assert_eq!(evicted, 1);
        assert!(!blackhole.swallows(&keys[0], 1));
        assert!(blackhole.swallows(&keys[1], 1));
        assert_eq!(blackhole.until.len(), MAX_BLACKHOLED);
    }
}
