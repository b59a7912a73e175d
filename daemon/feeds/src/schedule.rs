//! When a subscription is due: with jitter, so that not all appliances come at once; with back-off, so that a server in
//! trouble is left alone. Pure: time and randomness are inputs.

use model::Timestamp;
use std::time::Duration;

use crate::limits::{FIRST_RETRY, MAX_RETRY_AFTER};

/// After a success: the interval, give or take a tenth.
pub(crate) fn after_success(now: Timestamp, interval: Duration, roll: u64) -> Timestamp {
    now.plus(jittered(interval, roll))
}

/// After so many failures in a row, the last one included: a minute, two, four … up to the interval; later if the
/// server asked for it.
pub(crate) fn after_failure(
    now: Timestamp,
    interval: Duration,
    failures: u32,
    retry_after: Option<Duration>,
    roll: u64,
) -> Timestamp {
    let doubled =
        FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let wait = jittered(doubled.min(interval), roll);
    now.plus(wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER)))
}

/// At a start, for a file that was checked at `checked` and may come from a time when the clock was wrong.
pub(crate) fn at_start(
    now: Timestamp,
    checked: Option<Timestamp>,
    interval: Duration,
    roll: u64,
) -> Timestamp {
    match checked {
        None => now,
        Some(checked) => after_success(checked, interval, roll).clamp(now, now.plus(interval)),
    }
}

/// Between 90 and 110 hundredths.
fn jittered(duration: Duration, roll: u64) -> Duration {
    let hundredths = u32::try_from(900 + roll % 201).unwrap_or(1000);
    duration.saturating_mul(hundredths) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn refreshes_are_spread_and_failures_back_off() {
        let now = Timestamp::from_seconds(1_000_000);
        for roll in 0..1000 {
            let next = after_success(now, HOUR, roll).since(now);
            assert!(next >= HOUR * 9 / 10 && next <= HOUR * 11 / 10, "{next:?}");
        }
        assert_ne!(after_success(now, HOUR, 1), after_success(now, HOUR, 2));
        let waits: Vec<u64> = (1..10)
            .map(|failures| after_failure(now, HOUR, failures, None, 100).since(now).as_secs())
            .collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
        assert_eq!(after_failure(now, HOUR, u32::MAX, None, 100).since(now), HOUR);
        let asked = |seconds| after_failure(now, HOUR, 1, Some(Duration::from_secs(seconds)), 100).since(now);
        assert_eq!(asked(7200), HOUR * 2);
        assert_eq!(asked(u64::MAX), MAX_RETRY_AFTER, "nobody makes us wait for ever");
    }

    #[test]
    fn a_start_looks_at_the_age_of_the_file() {
        let now = Timestamp::from_seconds(1_000_000);
        let at = |checked: Option<i64>| {
            at_start(now, checked.map(Timestamp::from_seconds), HOUR, 100).seconds() - 1_000_000
        };
        assert_eq!(at(None), 0);
        assert_eq!(at(Some(0)), 0);
        assert_eq!(at(Some(1_000_000 - 600)), 3000);
        assert_eq!(at(Some(9_000_000)), 3600, "from the future");
    }
}
