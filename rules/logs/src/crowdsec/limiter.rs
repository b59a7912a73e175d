//! The rate limiter of CrowdSec's buckets: tokens that come back one per `leakspeed`, up to the capacity; an event
//! takes one. It computes in floating point, in the same steps as Go's `golang.org/x/time/rate` (as CrowdSec carries
//! it), so that an event at the very edge falls on the same side.

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// How fast tokens come back, and how many there are at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    per_second: f64,
    most: f64,
}

/// The tokens of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limiter {
    tokens: f64,
    /// Nanoseconds since 1970; `None` before the first event.
    last: Option<i64>,
}

impl Rate {
    /// One token per `leak` nanoseconds (more than 0), at most `capacity` (more than 0).
    pub(crate) fn new(leak: i64, capacity: u32) -> Self {
        Self { per_second: 1.0 / seconds(leak), most: f64::from(capacity) }
    }

    /// Nanoseconds in which so many tokens come back, cut to whole ones.
    fn time_for(self, tokens: f64) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "cut, and the largest where it does not fit")]
        let time = (1e9 * (tokens / self.per_second)) as i64;
        time
    }

    /// Tokens that come back in so many nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "as the original computes")]
    fn tokens_in(self, time: i64) -> f64 {
        let whole = (time / SECOND) as f64 * self.per_second;
        let rest = (time % SECOND) as f64 * self.per_second;
        whole + rest / 1e9
    }
}

impl Limiter {
    /// Takes a token at an instant, in nanoseconds since 1970; false if there is none. A time before that of the last
    /// event brings no token back, and is where counting goes on from.
    pub(crate) fn take(&mut self, rate: Rate, at: i64) -> bool {
        let passed = self.last.map_or(i64::MAX, |last| at.saturating_sub(last.min(at)));
        let passed = passed.min(rate.time_for(rate.most - self.tokens));
        let tokens = (self.tokens + rate.tokens_in(passed)).min(rate.most) - 1.0;
        let taken = tokens >= 0.0 || rate.time_for(-tokens) <= 0;
        if taken {
            *self = Self { tokens, last: Some(at) };
        } else {
            self.last = self.last.map(|last| last.min(at));
        }
        taken
    }
}

/// Go's `Duration.Seconds()`.
#[expect(clippy::cast_precision_loss, reason = "as the original computes")]
fn seconds(time: i64) -> f64 {
    (time / SECOND) as f64 + (time % SECOND) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same in whole numbers: the level is the time until every token is back.
    struct Exact {
        level: i128,
        last: Option<i64>,
    }

    impl Exact {
        /// Whether a token is taken, and how many nanoseconds it is from the edge.
        fn take(&mut self, leak: i64, capacity: u32, at: i64) -> (bool, i128) {
            let passed = self.last.map_or(0, |last| i128::from(at - last.min(at)));
            let level = (self.level - passed).max(0) + i128::from(leak);
            let edge = i128::from(leak) * i128::from(capacity) - level;
            if edge >= 0 {
                self.level = level;
                self.last = Some(at);
            }
            (edge >= 0, edge.abs())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// Away from the edge by more than a microsecond, rounding decides nothing; and exactly on it neither, as long
        /// as everything is whole seconds.
        #[test]
        fn same_as_whole_numbers(
            capacity in 1_u32..60,
            leak in 1_i64..100_000_000_000,
            steps in proptest::collection::vec((0_i64..40_000_000_000, 0_i64..3_000_000_000), 1..150),
        ) {
            let rate = Rate::new(leak, capacity);
            let (mut limiter, mut exact) = (Limiter::default(), Exact { level: 0, last: None });
            let mut clock = 1_700_000_000_000_000_000_i64;
            for (forward, back) in steps {
                clock += forward;
                let at = clock - back;
                let (expected, edge) = exact.take(leak, capacity, at);
                let taken = limiter.take(rate, at);
                if edge > 1_000 {
                    prop_assert_eq!(taken, expected, "at {}", at);
                }
                if taken != expected || !taken {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_sixth_of_five_is_too_much_unless_one_came_back() {
        let rate = Rate::new(10 * SECOND, 5);
        let full = |sixth: i64| {
            let mut limiter = Limiter::default();
            assert!((0..5).all(|_| limiter.take(rate, 0)));
            limiter.take(rate, sixth)
        };
        assert!(!full(0));
        assert!(!full(9 * SECOND));
        assert!(full(10 * SECOND));
        assert!(!full(-5 * SECOND), "time that runs backwards brings nothing back");
    }
}
