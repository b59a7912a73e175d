//! Bans that grow: whoever comes back is banned for longer.
//!
//! A time of being banned counts once, whatever scenarios had a part in it. What only observed does not count, and what a
//! person lifted was none.

use ipnet::IpNet;
use model::Timestamp;
use std::{collections::HashMap, time::Duration};

/// Addresses and ranges whose bans are remembered. When full, those that are over for longest go first.
pub const MAX_REMEMBERED: usize = 50_000;

/// How bans grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Each further ban is so many times longer than the one before; 1 = they do not grow.
    pub factor: u32,
    /// What no ban grows beyond.
    pub longest: Duration,
    /// For how long after its end a ban is remembered.
    pub remember: Duration,
}

/// Who was banned how often.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    by_net: HashMap<IpNet, Past>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past {
    times: u32,
    until: Timestamp,
}

impl Repeats {
    /// How long a ban of `net` is to be that would last for `usual` the first time.
    #[must_use]
    pub fn lasting(&self, net: IpNet, usual: Duration, growth: Growth, now: Timestamp) -> Duration {
        let before = self.times_before(net, growth, now);
        let mut lasting = usual;
        for _ in 0..before {
            if lasting >= growth.longest || growth.factor < 2 {
                break;
            }
            lasting = lasting.saturating_mul(growth.factor);
        }
        // Growing never makes it shorter, nor longer than the longest.
        lasting.min(growth.longest.max(usual))
    }

    /// Notes that `net` is banned from `now` until then.
    pub fn note(&mut self, net: IpNet, until: Timestamp, growth: Growth, now: Timestamp) {
        let times = self.times_before(net, growth, now).saturating_add(1);
        let until = self.by_net.get(&net).map_or(until, |past| past.until.max(until));
        self.remember(net, Past { times, until });
    }

    /// Takes over what is known from before.
    pub fn recall(&mut self, net: IpNet, times: u32, until: Timestamp) {
        self.remember(net, Past { times, until });
    }

    /// A ban that was a mistake is none.
    pub fn forget(&mut self, net: IpNet) {
        self.by_net.remove(&net);
    }

    /// The clock was set.
    pub fn shift(&mut self, by: i64) {
        for past in self.by_net.values_mut() {
            past.until = Timestamp(past.until.0.saturating_add(by));
        }
    }

    /// Times of being banned that are over and not forgotten.
    fn times_before(&self, net: IpNet, growth: Growth, now: Timestamp) -> u32 {
        match self.by_net.get(&net) {
            Some(past) if past.until > now => past.times.saturating_sub(1),
            Some(past) if past.until.plus(growth.remember) > now => past.times,
            Some(_) | None => 0,
        }
    }

    fn remember(&mut self, net: IpNet, past: Past) {
        if self.by_net.len() >= MAX_REMEMBERED && !self.by_net.contains_key(&net) {
            // An eighth at once, so that a flood costs no sorting each time.
            let mut ends: Vec<i64> = self.by_net.values().map(|past| past.until.0).collect();
            let (_, limit, _) = ends.select_nth_unstable(MAX_REMEMBERED / 8);
            let limit = *limit;
            let mut most = MAX_REMEMBERED / 8;
            self.by_net.retain(|_, past| {
                let goes = past.until.0 <= limit && most > 0;
                most -= usize::from(goes);
                !goes
            });
        }
        self.by_net.insert(net, past);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const GROWTH: Growth = Growth { factor: 2, longest: Duration::from_secs(5 * 3600), remember: HOUR };

    fn at(hours: u64) -> Timestamp {
        Timestamp(0).plus(HOUR * u32::try_from(hours).unwrap())
    }

    #[test]
    fn each_further_ban_is_longer_up_to_the_longest() {
        let net: IpNet = "192.0.2.7/32".parse().unwrap();
        let (mut repeats, mut now, mut seen) = (Repeats::default(), 0, Vec::new());
        for _ in 0..5 {
            let lasting = repeats.lasting(net, HOUR, GROWTH, at(now));
            repeats.note(net, at(now).plus(lasting), GROWTH, at(now));
            seen.push(lasting.as_secs() / 3600);
            now += lasting.as_secs() / 3600;
        }
        assert_eq!(seen, [1, 2, 4, 5, 5]);
        assert_eq!(repeats.lasting(net, HOUR * 9, GROWTH, at(now)), HOUR * 9, "never shorter");
        assert_eq!(repeats.lasting(net, HOUR, GROWTH, at(now + 1)), HOUR, "forgotten an hour after");
        let none = Growth { factor: 1, ..GROWTH };
        assert_eq!(repeats.lasting(net, HOUR, none, at(now)), HOUR);
        repeats.forget(net);
        assert_eq!(repeats.lasting(net, HOUR, GROWTH, at(now)), HOUR);
    }

    #[test]
    fn a_second_ban_during_the_first_is_the_same_time() {
        let net: IpNet = "192.0.2.7/32".parse().unwrap();
        let mut repeats = Repeats::default();
        repeats.note(net, at(1), GROWTH, at(0));
        repeats.note(net, at(4), GROWTH, at(0));
        assert_eq!(repeats.lasting(net, HOUR, GROWTH, at(0)), HOUR);
        assert_eq!(repeats.lasting(net, HOUR, GROWTH, at(4)), HOUR * 2);
    }

    #[test]
    fn a_full_memory_forgets_who_is_over_for_longest() {
        let mut repeats = Repeats::default();
        let net = |n: u32| IpNet::from(std::net::IpAddr::from(std::net::Ipv4Addr::from(n)));
        let most = u32::try_from(MAX_REMEMBERED).unwrap();
        for n in 0..=most {
            repeats.recall(net(n), 1, Timestamp(i64::from(n)));
        }
        assert!(repeats.by_net.len() <= MAX_REMEMBERED && repeats.by_net.len() > MAX_REMEMBERED / 2);
        assert!(!repeats.by_net.contains_key(&net(0)) && repeats.by_net.contains_key(&net(most)));
    }
}
