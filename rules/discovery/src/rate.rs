//! How many packets somebody may send.

use foldhash::fast::RandomState;
use std::{collections::HashMap, hash::Hash, time::Duration};

/// A rate for each of those that are known.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    /// When all that was taken is given back.
    until: HashMap<K, Duration, RandomState>,
    each: Duration,
    burst: Duration,
    most: usize,
}

/// Why a packet is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TooMuch {
    /// Its sender sends too many.
    Often,
    /// Too many send.
    Crowded,
}

impl<K: Eq + Hash> Rates<K> {
    /// So many a second and at once, for so many senders.
    pub(crate) fn new((second, burst): (u32, u32), most: usize) -> Self {
        let each = Duration::from_secs(1) / second.max(1);
        Self { until: HashMap::default(), each, burst: each * burst, most }
    }

    pub(crate) fn take(&mut self, who: K, now: Duration) -> Result<(), TooMuch> {
        if self.until.len() >= self.most && !self.until.contains_key(&who) {
            self.until.retain(|_, until| *until > now);
            if self.until.len() >= self.most {
                return Err(TooMuch::Crowded);
            }
        }
        let until = self.until.entry(who).or_insert(now);
        let next = (*until).max(now) + self.each;
        if next > now + self.burst {
            return Err(TooMuch::Often);
        }
        *until = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_a_bounded_crowd() {
        let mut rates = Rates::new((10, 5), 3);
        let at = |millis| Duration::from_millis(millis);
        let passed = (0..20).filter(|_| rates.take("a", at(0)).is_ok()).count();
        assert_eq!(passed, 5);
        assert_eq!((rates.take("a", at(99)), rates.take("a", at(100))), (Err(TooMuch::Often), Ok(())));
        assert_eq!((rates.take("b", at(100)), rates.take("c", at(100))), (Ok(()), Ok(())));
        assert_eq!(rates.take("d", at(150)), Err(TooMuch::Crowded));
        assert_eq!(rates.take("d", at(5000)), Ok(()), "the others are quiet");
    }
}
