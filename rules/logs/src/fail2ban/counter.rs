//! Failures of a jail by address: who failed `maxretry` times within `findtime` is to be banned.
//!
//! Source: the behaviour of Fail2ban 1.0 and 1.1. When somebody's failures spread over more than `findtime`, their
//! number is brought down to what their rate makes of one `findtime`.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;

use super::limits::{MAX_ADDRESSES, MAX_EVIDENCE, MAX_MATCHES};
use super::matcher::{Failure, neighbourhood};

/// Who failed too often.
#[derive(Clone, Debug, PartialEq)]
pub struct Full {
    /// The address, or the id where a filter counts something else.
    pub who: String,
    /// The address, if it is one; of IPv6 the beginning of the network that was counted.
    pub address: Option<IpAddr>,
    /// Bits of the address that count.
    pub prefix: u8,
    /// Failures that were counted.
    pub failures: u32,
    /// When the last of them was.
    pub at: Timestamp,
    /// The last lines that say so.
    pub lines: Vec<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    Id(Arc<str>),
}

#[derive(Debug)]
struct Count {
    first: Timestamp,
    last: Timestamp,
    failures: u32,
    lines: VecDeque<Arc<str>>,
    turn: u64,
}

/// Counts the failures of one jail.
#[derive(Debug)]
pub struct Counter {
    max_retry: u32,
    find_time: Duration,
    max_lines: usize,
    prefix6: u8,
    most: usize,
    counts: HashMap<Key, Count>,
    /// Keys by their last failure; older turns of a key no longer count.
    order: VecDeque<(Key, u64)>,
    turn: u64,
    forgotten: u64,
    /// Bytes of the lines that are kept.
    evidence: usize,
}

impl Counter {
    /// Counts to `max_retry` within `find_time`. IPv6 addresses are counted together by their first `prefix6` bits:
    /// Fail2ban knows only 128, where one attacker has as many addresses as he likes.
    #[must_use]
    pub fn new(max_retry: u32, find_time: Duration, prefix6: u8) -> Self {
        Self {
            max_retry: max_retry.max(1),
            find_time,
            max_lines: MAX_MATCHES.min(max_retry as usize),
            prefix6: prefix6.min(128),
            most: MAX_ADDRESSES,
            counts: HashMap::new(),
            order: VecDeque::new(),
            turn: 0,
            forgotten: 0,
            evidence: 0,
        }
    }

    /// Counts at most so many addresses instead of [`MAX_ADDRESSES`].
    #[must_use]
    pub fn at_most(mut self, addresses: usize) -> Self {
        self.most = addresses.clamp(1, MAX_ADDRESSES);
        self
    }

    /// Addresses that are counted at the moment.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.counts.len()
    }

    /// Addresses that were forgotten for want of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Counts a failure. One that is older than `findtime` does not count; one of the future counts as of now.
    pub fn count(&mut self, now: Timestamp, failure: &Failure) -> Option<Full> {
        let who = failure.who.as_deref().filter(|_| !failure.no_failure)?;
        let at = failure.at.unwrap_or(now).min(now);
        if now.since(at) > self.find_time {
            return None;
        }
        let key = match failure.address {
            Some(address) if !failure.part => Key::Address(neighbourhood(address, self.prefix6)),
            Some(_) | None => Key::Id(who.into()),
        };
        self.turn += 1;
        let turn = self.turn;
        self.order.push_back((key.clone(), turn));
        let window = self.find_time;
        let count = self.counts.entry(key.clone()).or_insert_with(|| Count {
            first: at,
            last: at,
            failures: 0,
            lines: VecDeque::new(),
            turn,
        });
        count.adjust(at, window);
        count.failures = count.failures.saturating_add(1);
        count.turn = turn;
        for line in &failure.lines {
            if self.evidence + line.len() <= MAX_EVIDENCE {
                self.evidence += line.len();
                count.lines.push_back(Arc::clone(line));
            }
        }
        while count.lines.len() > self.max_lines {
            self.evidence -= count.lines.pop_front().map_or(0, |line| line.len());
        }
        if count.failures < self.max_retry {
            self.make_room();
            return None;
        }
        let count = self.counts.remove(&key)?;
        self.evidence -= count.bytes();
        let (who, address, prefix) = match key {
            Key::Address(address @ IpAddr::V4(_)) => (address.to_string(), Some(address), 32),
            Key::Address(address @ IpAddr::V6(_)) if self.prefix6 < 128 => {
                (format!("{address}/{}", self.prefix6), Some(address), self.prefix6)
            }
            Key::Address(address @ IpAddr::V6(_)) => (address.to_string(), Some(address), 128),
            Key::Id(id) => (id.to_string(), None, 0),
        };
        Some(Full {
            who,
            address,
            prefix,
            failures: count.failures,
            at: count.last,
            lines: count.lines.into(),
        })
    }

    /// Forgets those whose last failure is longer ago than `findtime`, and the oldest of those that are too many.
    fn make_room(&mut self) {
        while self.counts.len() > self.most || self.order.len() > 4 * self.most {
            let Some((key, turn)) = self.order.pop_front() else { break };
            if self.counts.get(&key).is_some_and(|count| count.turn == turn) {
                self.evidence -= self.counts.remove(&key).map_or(0, |count| count.bytes());
                self.forgotten += 1;
            }
        }
    }

    /// Forgets those whose last failure no longer matters; to be called from time to time.
    pub fn tidy(&mut self, now: Timestamp) {
        let window = self.find_time;
        let evidence = &mut self.evidence;
        self.counts.retain(|_, count| {
            let stays = now.since(count.last) < window;
            *evidence -= if stays { 0 } else { count.bytes() };
            stays
        });
        let counts = &self.counts;
        self.order.retain(|(key, turn)| counts.get(key).is_some_and(|count| count.turn == *turn));
    }
}

impl Count {
    fn bytes(&self) -> usize {
        self.lines.iter().map(|line| line.len()).sum()
    }

    fn adjust(&mut self, at: Timestamp, window: Duration) {
        if at <= self.last {
            return;
        }
        let spread = at.since(self.first);
        if spread > window {
            let rate = f64::from(self.failures) / spread.as_secs_f64() * window.as_secs_f64();
            // At most what it was.
            self.failures = rate.round_ties_even() as u32;
            let micros = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
            self.first = Timestamp(at.0.saturating_sub(micros));
        }
        self.last = at;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn failure(who: &str, at: i64) -> Failure {
        Failure {
            regex: 0,
            who: Some(who.into()),
            address: who.parse().ok(),
            part: false,
            at: Some(Timestamp::from_seconds(at)),
            fields: BTreeMap::new(),
            users: BTreeSet::new(),
            no_failure: false,
            lines: vec![format!("{who} at {at}").into()],
            attempts: 1,
        }
    }

    fn counter(prefix6: u8) -> Counter {
        Counter::new(3, Duration::from_secs(600), prefix6)
    }

    #[test]
    fn the_third_within_ten_minutes() {
        let mut counter = counter(128);
        let mut count = |who: &str, at: i64| counter.count(Timestamp::from_seconds(at), &failure(who, at));
        assert_eq!(count("192.0.2.1", 1_000), None);
        assert_eq!(count("192.0.2.2", 1_001), None);
        assert_eq!(count("192.0.2.1", 1_002), None);
        let full = count("192.0.2.1", 1_600).unwrap();
        assert_eq!((full.who.as_str(), full.prefix, full.failures), ("192.0.2.1", 32, 3));
        assert_eq!(full.lines.len(), 3);
        // Banned, and so forgotten.
        assert_eq!(count("192.0.2.1", 1_601), None);
    }

    #[test]
    fn a_slow_one_counts_by_its_rate() {
        let mut counter = counter(128);
        let mut count = |at: i64| counter.count(Timestamp::from_seconds(at), &failure("192.0.2.1", at));
        // One each 500 seconds: never more than two in 600.
        for round in 0..20 {
            assert_eq!(count(1_000 + 500 * round), None, "round {round}");
        }
        // One each 200 seconds are three.
        assert!((0..4).any(|round| count(20_000 + 200 * round).is_some()));
    }

    #[test]
    fn old_lines_never_ban_and_clocks_that_are_ahead_do_not_help() {
        let mut counter = counter(128);
        let now = Timestamp::from_seconds(10_000);
        for _ in 0..10 {
            assert_eq!(counter.count(now, &failure("192.0.2.1", 9_000)), None);
        }
        assert_eq!(counter.addresses(), 0);
        for _ in 0..2 {
            assert_eq!(counter.count(now, &failure("192.0.2.1", 99_000)), None);
        }
        assert_eq!(counter.count(now, &failure("192.0.2.1", 99_000)).unwrap().at, now);
    }

    #[test]
    fn ipv6_by_network_and_ids_by_themselves() {
        let mut counter = counter(64);
        let now = Timestamp::from_seconds(10_000);
        let mut count = |who: &str| counter.count(now, &failure(who, 10_000));
        assert_eq!(count("2001:db8::1"), None);
        assert_eq!(count("2001:db8::2"), None);
        assert_eq!(count("2001:db8:0:1::3"), None);
        let full = count("2001:db8::ffff:3").unwrap();
        assert_eq!((full.who.as_str(), full.prefix), ("2001:db8::/64", 64));
        assert_eq!(count("some-id"), None);
        assert_eq!(count("some-id"), None);
        assert_eq!(count("some-id").unwrap().address, None);
    }

    #[test]
    fn when_full_the_oldest_goes() {
        let mut counter = counter(128).at_most(2);
        let mut count = |who: &str, at: i64| counter.count(Timestamp::from_seconds(at), &failure(who, at));
        count("192.0.2.1", 1);
        count("192.0.2.2", 2);
        count("192.0.2.1", 3);
        count("192.0.2.3", 4);
        // 192.0.2.2 was the one not heard of for longest.
        assert!(count("192.0.2.1", 5).is_some());
        assert_eq!((counter.addresses(), counter.forgotten()), (1, 1));
        counter.tidy(Timestamp::from_seconds(1_000));
        assert_eq!((counter.addresses(), counter.evidence), (0, 0));
    }

    #[test]
    fn without_room_failures_count_without_their_lines() {
        let mut counter = counter(128);
        let mut count = |n: u32| {
            let mut failure = failure(&std::net::Ipv4Addr::from(n).to_string(), 1);
            failure.lines = vec!["x".repeat(1_000).into()];
            let full = counter.count(Timestamp::from_seconds(1), &failure);
            assert!(counter.evidence <= MAX_EVIDENCE);
            full
        };
        assert!((0..20_000).all(|n| count(n / 2).is_none()));
        let full = count(9_999).unwrap();
        assert_eq!((full.failures, full.lines.len()), (3, 0));
    }
}
