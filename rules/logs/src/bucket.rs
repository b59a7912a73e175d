//! Leaky buckets, exact in whole microseconds.
//!
//! Each event adds one token, and a token leaks away every `leak`. The level in microseconds of leaking is all there is
//! to keep, as the instant at which the bucket will be empty (the generic cell rate algorithm, ITU-T I.371).

use std::collections::VecDeque;
use std::time::Duration;

use model::Timestamp;

/// Numbers of the lines that are evidence, the newest.
pub(crate) const EVIDENCE: usize = model::Evidence::MAX_PIECES;

/// Size and speed of a scenario's buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Tokens it holds without overflowing.
    pub(crate) capacity: u32,
    /// Time in which one token leaks.
    pub(crate) leak: Duration,
    /// How long the bucket rests after an overflow, at most.
    pub(crate) ban: Duration,
}

impl Shape {
    fn leak_micros(self) -> i64 {
        i64::try_from(self.leak.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// Time a full bucket takes to drain. Lines older than this cannot fill it any more.
    pub(crate) fn window_micros(self) -> i64 {
        self.leak_micros().saturating_mul(i64::from(self.capacity.max(1)))
    }
}

/// One bucket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    empty_at: i64,
    newest: i64,
    /// After an overflow: takes nothing until then, so that one attack is one ban.
    resting_until: Option<i64>,
    /// Hashes of the values whose tokens are still in the bucket, oldest first.
    values: VecDeque<u64>,
    lines: [u64; EVIDENCE],
    line_count: usize,
    /// Sources that contributed since the bucket was empty, by bit.
    pub(crate) sources: u64,
}

/// What pouring did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poured {
    /// A token was added.
    Kept,
    /// The value is in the bucket already.
    Known,
    /// The bucket rests after an overflow.
    Resting,
    /// It is over.
    Overflow,
}

impl Bucket {
    /// Pours one event. Times that run backwards count as the newest seen.
    pub(crate) fn pour(
        &mut self,
        shape: Shape,
        at: Timestamp,
        value: Option<u64>,
        line: u64,
        source: u64,
    ) -> Poured {
        let now = at.0.max(self.newest);
        self.newest = now;
        if self.resting_until.is_some_and(|until| now < until) {
            return Poured::Resting;
        }
        if self.resting_until.is_some() || self.empty_at <= now {
            *self = Self { empty_at: now, newest: now, ..Self::default() };
        }
        let leak = shape.leak_micros();
        if let Some(value) = value {
            let level = self.empty_at.saturating_sub(now);
            let tokens = usize::try_from(level / leak + i64::from(level % leak != 0)).unwrap_or(usize::MAX);
            while self.values.len() > tokens {
                self.values.pop_front();
            }
            if self.values.contains(&value) {
                return Poured::Known;
            }
            self.values.push_back(value);
        }
        self.sources |= source;
        if self.line_count == 0 || self.lines[(self.line_count - 1) % EVIDENCE] != line {
            self.lines[self.line_count % EVIDENCE] = line;
            self.line_count += 1;
        }
        self.empty_at = self.empty_at.saturating_add(leak);
        if self.empty_at.saturating_sub(now) <= leak.saturating_mul(i64::from(shape.capacity)) {
            return Poured::Kept;
        }
        let ban = i64::try_from(shape.ban.as_micros()).unwrap_or(i64::MAX);
        let rest = now.saturating_add(shape.window_micros().min(ban));
        self.resting_until = Some(rest);
        self.empty_at = rest;
        self.values = VecDeque::new();
        Poured::Overflow
    }

    /// Numbers of the evidence lines, oldest first.
    pub(crate) fn evidence(&self) -> impl Iterator<Item = u64> {
        (self.line_count.saturating_sub(EVIDENCE)..self.line_count).map(|at| self.lines[at % EVIDENCE])
    }

    /// When it will be empty, and so can be forgotten without a difference.
    pub(crate) fn empty_at(&self) -> i64 {
        self.empty_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same in the obvious way: a level that is drained step by step.
    struct Slow {
        level: u128,
        at: i64,
        resting_until: i64,
        tokens: Vec<Option<u64>>,
    }

    impl Slow {
        fn pour(&mut self, shape: Shape, at: i64, value: Option<u64>) -> Poured {
            let at = at.max(self.at);
            let leak = shape.leak.as_micros();
            let passed = u128::try_from(at - self.at).unwrap();
            self.at = at;
            self.level = self.level.saturating_sub(passed);
            if at < self.resting_until {
                return Poured::Resting;
            }
            let left = usize::try_from(self.level.div_ceil(leak)).unwrap();
            self.tokens.drain(..self.tokens.len() - left.min(self.tokens.len()));
            if value.is_some() && self.tokens.contains(&value) {
                return Poured::Known;
            }
            self.tokens.push(value);
            self.level += leak;
            if self.level <= leak * u128::from(shape.capacity) {
                return Poured::Kept;
            }
            let window = leak * u128::from(shape.capacity.max(1));
            self.resting_until = at + i64::try_from(window.min(shape.ban.as_micros())).unwrap();
            self.level = 0;
            self.tokens.clear();
            Poured::Overflow
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn same_as_the_slow_one(
            capacity in 0_u32..6,
            leak in 1_u64..50,
            ban in 1_u64..400,
            distinct in any::<bool>(),
            events in proptest::collection::vec((0_i64..40, 0_i64..12, 0_u64..5), 0..120),
        ) {
            let shape = Shape { capacity, leak: Duration::from_micros(leak), ban: Duration::from_micros(ban) };
            let mut fast = Bucket::default();
            let mut slow = Slow { level: 0, at: 0, resting_until: i64::MIN, tokens: Vec::new() };
            let mut clock = 0;
            for (number, (forward, back, value)) in events.into_iter().enumerate() {
                clock += forward;
                let at = (clock - back).max(0);
                let value = distinct.then_some(value);
                let poured = fast.pour(shape, Timestamp(at), value, number as u64, 1);
                prop_assert_eq!(poured, slow.pour(shape, at, value), "event {} at {}", number, at);
            }
        }
    }

    #[test]
    fn the_sixth_of_five_overflows_and_one_attack_is_one() {
        let shape = Shape { capacity: 5, leak: Duration::from_secs(120), ban: Duration::from_secs(14_400) };
        let mut bucket = Bucket::default();
        let pour = |bucket: &mut Bucket, second: i64| {
            bucket.pour(shape, Timestamp::from_seconds(second), None, second as u64, 1)
        };
        for second in 0..5 {
            assert_eq!(pour(&mut bucket, second), Poured::Kept);
        }
        assert_eq!(pour(&mut bucket, 5), Poured::Overflow);
        assert_eq!(bucket.evidence().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(pour(&mut bucket, 6), Poured::Resting);
        assert_eq!(pour(&mut bucket, 604), Poured::Resting);
        assert_eq!(pour(&mut bucket, 605), Poured::Kept);
    }

    #[test]
    fn the_edge_is_exact() {
        let shape = Shape { capacity: 1, leak: Duration::from_micros(10), ban: Duration::from_secs(1) };
        let second_at = |at: i64| {
            let mut bucket = Bucket::default();
            bucket.pour(shape, Timestamp(100), None, 0, 1);
            bucket.pour(shape, Timestamp(100 + at), None, 1, 1)
        };
        assert_eq!(second_at(9), Poured::Overflow);
        assert_eq!(second_at(10), Poured::Kept);
    }
}
