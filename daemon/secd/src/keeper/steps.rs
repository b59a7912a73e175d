//! When the clock is set: decisions have so much time left, whatever it says.
//!
//! Ends are kept by the wall clock, since people read them and they outlive the machine's restart. A clock that is set
//! (by hand, by a time server after a start without one, or wrongly by ten years) moves every end with it.

use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::Now;

/// What is less is drift, which time services correct all the time.
pub const LEAST_STEP: Duration = Duration::from_secs(2);
/// Longest that a machine is believed to have been off. A clock that says more is not believed.
pub const LONGEST_OFF: Duration = Duration::from_secs(366 * 86_400);

/// Where both clocks were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which start of the machine it was, as `/proc/sys/kernel/random/boot_id` says.
    pub boot_id: String,
    /// Nanoseconds since that.
    pub boot: u64,
    /// The wall clock then, microseconds since 1970.
    pub wall: i64,
}

impl Mark {
    /// Where they are.
    #[must_use]
    pub fn new(now: Now, boot_id: &str) -> Self {
        Self { boot_id: boot_id.to_owned(), boot: now.boot, wall: now.wall.0 }
    }

    /// By how much ends must be moved, in microseconds. While the machine runs, by what the clock was set since. Over a
    /// restart nobody knows how long it was off: a clock that went back, or forward by more than [`LONGEST_OFF`], was set,
    /// and then no time has passed.
    #[must_use]
    pub fn step(&self, now: Now, boot_id: &str) -> i64 {
        let least = i64::try_from(LEAST_STEP.as_micros()).unwrap_or(i64::MAX);
        let went_on = now.wall.0.saturating_sub(self.wall);
        if self.boot_id == boot_id {
            let passed = i64::try_from(now.boot.saturating_sub(self.boot) / 1_000).unwrap_or(i64::MAX);
            let step = went_on.saturating_sub(passed);
            return if step.abs() < least { 0 } else { step };
        }
        let longest = i64::try_from(LONGEST_OFF.as_micros()).unwrap_or(i64::MAX);
        if (-least..=longest).contains(&went_on) { 0 } else { went_on }
    }
}

/// A moment that moves with the clock.
#[must_use]
pub fn moved(at: Timestamp, by: i64) -> Timestamp {
    Timestamp(at.0.saturating_add(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEARS: i64 = 10 * 365 * 86_400 * 1_000_000;

    fn now(wall: i64, boot_seconds: u64) -> Now {
        Now { wall: Timestamp(wall), boot: boot_seconds * 1_000_000_000 }
    }

    #[test]
    fn the_same_boot_knows_what_passed() {
        let mark = Mark::new(now(YEARS, 100), "a");
        assert_eq!(mark.step(now(YEARS + 60_000_000, 160), "a"), 0);
        assert_eq!(mark.step(now(YEARS + 61_000_000, 160), "a"), 0, "drift");
        assert_eq!(mark.step(now(2 * YEARS, 100), "a"), YEARS);
        assert_eq!(mark.step(now(0, 100), "a"), -YEARS);
    }

    #[test]
    fn another_boot_believes_a_clock_that_went_on_for_less_than_a_year() {
        let mark = Mark::new(now(YEARS, 100), "a");
        let day = 86_400 * 1_000_000;
        assert_eq!(mark.step(now(YEARS + 30 * day, 5), "b"), 0);
        assert_eq!(mark.step(now(YEARS - day, 5), "b"), -day);
        assert_eq!(mark.step(now(2 * YEARS, 5), "b"), YEARS);
        assert_eq!(mark.step(now(i64::MIN, 5), "b"), i64::MIN);
    }
}
