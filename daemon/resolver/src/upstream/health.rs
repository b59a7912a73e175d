//! What is remembered of an upstream: how fast it answers, whether it does, and when it is tried again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

use super::limits::{EXPLORE_ONE_IN, FAILURES_UNTIL_DOWN, LONGEST_DOWN, SHORTEST_DOWN};
use super::settings::Order;

/// The memory of one upstream.
#[derive(Default)]
pub(crate) struct Health(Mutex<State>);

#[derive(Clone, Copy, Default)]
struct State {
    /// Smoothed round trip (RFC 6298 §2, a weight of 1/8).
    round_trip: Option<Duration>,
    failures: u32,
    down: Option<Down>,
    asked: u64,
    answered: u64,
    failed: u64,
    wrong: u64,
}

#[derive(Clone, Copy)]
struct Down {
    until: Instant,
    /// Waited this long; the next time twice as long.
    pause: Duration,
    probed: bool,
}

/// What `secctl status` says of an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamStatus {
    /// As it stands in the config.
    pub server: String,
    /// The suffixes it is asked about; empty: everything that is not forwarded elsewhere.
    pub names: Vec<String>,
    /// It answers, or has not been tried yet.
    pub up: bool,
    /// Smoothed round trip; none before the first answer.
    pub round_trip: Option<Duration>,
    /// Questions it was asked.
    pub asked: u64,
    /// Of these answered.
    pub answered: u64,
    /// Of these without an answer.
    pub failed: u64,
    /// Answers that were not to our question, or unreadable.
    pub wrong: u64,
}

/// What is needed to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    pub(crate) up: bool,
    pub(crate) round_trip: Option<Duration>,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn asked(&self) {
        self.state().asked += 1;
    }

    pub(crate) fn answered(&self, after: Duration) {
        let mut state = self.state();
        state.answered += 1;
        state.failures = 0;
        state.down = None;
        state.round_trip = Some(match state.round_trip {
            Some(smoothed) => (smoothed * 7 + after) / 8,
            None => after,
        });
    }

    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failed += 1;
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_UNTIL_DOWN {
            let pause = state.down.map_or(SHORTEST_DOWN, |down| {
                // Those that were asked before it went down fail together: that is one failure.
                if down.probed { (down.pause * 2).min(LONGEST_DOWN) } else { down.pause }
            });
            state.down = Some(Down { until: now + pause, pause, probed: false });
        }
    }

    pub(crate) fn wrong(&self) {
        self.state().wrong += 1;
    }

    pub(crate) fn glance(&self) -> Glance {
        let state = self.state();
        Glance { up: state.down.is_none(), round_trip: state.round_trip }
    }

    /// Whether it is time to try a silent upstream again. Says so once; what came of it is told by `answered` or
    /// `failed`.
    pub(crate) fn wants_probe(&self, now: Instant) -> bool {
        match &mut self.state().down {
            Some(down) if !down.probed && now >= down.until => {
                down.probed = true;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn status(&self) -> UpstreamStatus {
        let state = *self.state();
        UpstreamStatus {
            up: state.down.is_none(),
            round_trip: state.round_trip,
            asked: state.asked,
            answered: state.answered,
            failed: state.failed,
            wrong: state.wrong,
            ..UpstreamStatus::default()
        }
    }
}

/// The order in which upstreams are asked. Those that do not answer come last. `coin` is random.
pub(crate) fn arrange(order: Order, glances: &[Glance], coin: u32) -> Vec<usize> {
    let mut places: Vec<usize> = (0..glances.len()).collect();
    let glance = |place: &usize| glances.get(*place).copied();
    match order {
        Order::Ordered | Order::Parallel => {
            places.sort_by_key(|place| !glance(place).is_some_and(|glance| glance.up))
        }
        Order::Fastest => {
            // One without a measure comes first, to get one.
            places.sort_by_key(|place| glance(place).map(|glance| (!glance.up, glance.round_trip)));
            let up = places.iter().filter(|place| glance(place).is_some_and(|glance| glance.up)).count();
            if up > 1 && coin.is_multiple_of(EXPLORE_ONE_IN) {
                let other = 1 + usize::try_from(coin / EXPLORE_ONE_IN).unwrap_or(0) % (up - 1);
                if let Some(places) = places.get_mut(..=other) {
                    places.rotate_right(1);
                }
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glance(up: bool, milliseconds: Option<u64>) -> Glance {
        Glance { up, round_trip: milliseconds.map(Duration::from_millis) }
    }

    #[test]
    fn the_configured_order_with_the_silent_last() {
        let glances = [glance(false, Some(1)), glance(true, Some(9)), glance(true, Some(3))];
        for order in [Order::Ordered, Order::Parallel] {
            assert_eq!(arrange(order, &glances, 0), [1, 2, 0]);
        }
        assert_eq!(arrange(Order::Ordered, &[], 0), [] as [usize; 0]);
    }

    #[test]
    fn the_fastest_first_and_each_of_the_others_now_and_then() {
        let glances =
            [glance(true, Some(20)), glance(true, Some(3)), glance(false, Some(1)), glance(true, Some(9))];
        assert_eq!(arrange(Order::Fastest, &glances, 1), [1, 3, 0, 2]);
        assert_eq!(arrange(Order::Fastest, &glances, 0), [3, 1, 0, 2], "explores the second");
        assert_eq!(arrange(Order::Fastest, &glances, EXPLORE_ONE_IN), [0, 1, 3, 2], "explores the third");
        let fresh = [glance(true, Some(1)), glance(true, None)];
        assert_eq!(arrange(Order::Fastest, &fresh, 1), [1, 0], "never measured");
        let first = (0..10_000).filter(|&coin| arrange(Order::Fastest, &glances, coin)[0] == 1).count();
        assert_eq!(first, 10_000 - 10_000_usize.div_ceil(EXPLORE_ONE_IN as usize));
    }

    #[test]
    fn silence_is_remembered_and_tried_again_ever_more_rarely() {
        let health = Health::default();
        let mut now = Instant::now();
        health.failed(now);
        assert!(health.glance().up, "once is bad luck");
        health.failed(now);
        assert!(!health.glance().up);
        health.failed(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let start = now;
            while !health.wants_probe(now) {
                now += Duration::from_millis(500);
            }
            assert!(!health.wants_probe(now), "one probe at a time");
            pauses.push((now - start).as_secs());
            health.failed(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60], "a burst of failures was one");
        health.answered(Duration::from_millis(80));
        assert_eq!(health.glance(), glance(true, Some(80)));
        health.answered(Duration::from_millis(160));
        assert_eq!(health.glance(), glance(true, Some(90)), "smoothed");
        let status = health.status();
        assert_eq!((status.answered, status.failed), (2, 11));
    }
}
