//! How many questions a client may ask in a time.

use foldhash::fast::RandomState;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{limits::MAX_RATED_CLIENTS, quota::share};

/// One question in so much time, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time that a question costs in the long run.
    pub interval: Duration,
    /// Questions at once after a silence; at least 1.
    pub burst: u32,
}

/// What becomes of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It is answered.
    Within,
    /// Too many, and nothing is answered.
    Over,
    /// Too many, and the client is told to come over TCP, so that one whose address others forge gets through.
    Slip,
}

/// What is known of a client: until when the questions it has asked are paid for, and how many were too many.
#[derive(Clone, Copy, Default)]
struct Account {
    paid_until: Duration,
    over: u32,
}

/// A token bucket for each client (an IPv6 client is its /64). When [`MAX_RATED_CLIENTS`] are known, those that could
/// ask a full burst are forgotten; if all are busy, newcomers share one bucket.
pub(crate) struct Rates {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clients: HashMap<IpAddr, Account, RandomState>,
    others: Account,
    swept: Duration,
}

/// How often those that are silent are looked for when the table is full.
const SWEEP: Duration = Duration::from_secs(1);

impl Rates {
    pub(crate) fn new() -> Self {
        Self { known: Mutex::default() }
    }

    /// Counts a question.
    pub(crate) fn take(&self, client: IpAddr, rate: Rate, now: Duration) -> Pace {
        let client = share(client);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        if known.clients.len() >= MAX_RATED_CLIENTS && now >= known.swept + SWEEP {
            known.clients.retain(|_, account| account.paid_until > now);
            known.swept = now;
        }
        let account = if known.clients.len() < MAX_RATED_CLIENTS {
            known.clients.entry(client).or_default()
        } else {
            known.clients.get_mut(&client).unwrap_or(&mut known.others)
        };
        account.take(rate, now)
    }

    /// Clients known.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clients.len()
    }
}

impl Account {
    /// Each question costs its interval, which may be owed up to the burst (the generic cell rate algorithm).
    fn take(&mut self, rate: Rate, now: Duration) -> Pace {
        let owed = self.paid_until.max(now);
        if owed > now.saturating_add(rate.interval.saturating_mul(rate.burst.max(1) - 1)) {
            self.over = self.over.wrapping_add(1);
            return if self.over.is_multiple_of(2) { Pace::Slip } else { Pace::Over };
        }
        self.paid_until = owed.saturating_add(rate.interval);
        Pace::Within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { interval: Duration::from_millis(100), burst: 3 };

    #[test]
    fn a_burst_then_the_rate_then_every_second_one_slips() {
        let rates = Rates::new();
        let client = IpAddr::from([10, 0, 0, 1]);
        let start = Duration::from_secs(100);
        let take = |millis| rates.take(client, RATE, start + Duration::from_millis(millis));
        assert_eq!([take(0), take(0), take(0)], [Pace::Within; 3]);
        assert_eq!([take(0), take(0), take(0), take(99)], [Pace::Over, Pace::Slip, Pace::Over, Pace::Slip]);
        assert_eq!([take(100), take(100)], [Pace::Within, Pace::Over]);
        assert_eq!(
            [take(500), take(500), take(500), take(500)],
            [Pace::Within, Pace::Within, Pace::Within, Pace::Slip]
        );
    }

    #[test]
    fn in_the_long_run_the_rate_holds() {
        let rates = Rates::new();
        let client = IpAddr::from([10, 0, 0, 1]);
        let within = (0..10_000_u64)
            .filter(|&millis| rates.take(client, RATE, Duration::from_millis(millis)) == Pace::Within)
            .count();
        assert_eq!(within, 102, "10 a second in 10 seconds, and the burst");
    }

    #[test]
    fn a_network_of_one_client_is_one_client_and_others_are_not_touched() {
        let rates = Rates::new();
        let take = |client: &str| rates.take(client.parse().unwrap(), RATE, Duration::from_secs(1));
        for host in 1..=3 {
            assert_eq!(take(&format!("2001:db8::{host}")), Pace::Within);
        }
        assert_eq!(take("2001:db8::4"), Pace::Over);
        assert_eq!(take("2001:db8:0:1::4"), Pace::Within);
        assert_eq!(take("::ffff:10.0.0.1"), Pace::Within);
    }

    #[test]
    fn the_table_is_bounded() {
        let rates = Rates::new();
        let client = |number: u32| IpAddr::from(number.to_be_bytes());
        let most = u32::try_from(MAX_RATED_CLIENTS).unwrap();
        let now = Duration::from_secs(10);
        for number in 0..most {
            assert_eq!(rates.take(client(number), RATE, now), Pace::Within);
        }
        assert_eq!(rates.len(), MAX_RATED_CLIENTS);
        let beyond: Vec<_> = (most..most + 4).map(|number| rates.take(client(number), RATE, now)).collect();
        assert_eq!(beyond, [Pace::Within, Pace::Within, Pace::Within, Pace::Over], "they share one bucket");
        assert_eq!(rates.take(client(0), RATE, now), Pace::Within, "those that are known keep their own");
        assert_eq!(
            rates.take(client(most), RATE, now + SWEEP),
            Pace::Within,
            "the silent ones are forgotten"
        );
        assert_eq!(rates.len(), 1);
    }
}
