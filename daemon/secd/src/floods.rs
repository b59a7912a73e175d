//! SYN floods: when a zone is under one, and when it is over. Pure: counts and the time in, changes out.
//!
//! What tells a flood from a busy server is that nobody completes what is opened. While a zone is flooded its TCP openings
//! are answered by a SYN proxy in nftables, which remembers nothing until a source has proven itself; connections that are
//! there go on.

use enforce::xdp::Openings;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Openings a second that nobody completes, from which on a zone is under a flood: half of that for a minute, which is
/// how long conntrack waits for a handshake, fills a quarter of a table of 65,536.
pub const BEGINS_AT: u64 = 500;
/// Openings a second that nobody completes, below which a flood may be over.
pub const ENDS_BELOW: u64 = 100;
/// A flood is over when there were fewer than [`ENDS_BELOW`] for so long.
pub const CALM: Duration = Duration::from_secs(30);
/// How long a handshake may take: younger ones are not unfinished.
pub const GRACE: Duration = Duration::from_secs(1);
/// How far back openings are looked at.
pub const WINDOW: Duration = Duration::from_secs(5);

/// Every zone that is watched, by name: numbers change with the config.
#[derive(Clone, Debug, Default)]
pub struct Floods {
    zones: BTreeMap<String, Watch>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Watch {
    /// New flows counted at the last look, and when that was.
    counted: Option<(u64, u64)>,
    /// The last look at which there were [`ENDS_BELOW`] or more.
    busy_at: u64,
    flooded: bool,
}

/// What a zone did at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// New flows that its rules let through, since anyone counts.
    pub new_flows: u64,
    /// What became of those that were opened in the window before [`GRACE`].
    pub openings: Openings,
}

/// A flood began or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The zone.
    pub zone: String,
    /// Openings a second that nobody completes.
    pub rate: u64,
    /// It began.
    pub began: bool,
}

impl Floods {
    /// Whether the flow table has to be looked through for what was opened: not where there is too little for a flood.
    #[must_use]
    pub fn suspects(&self, counts: &BTreeMap<String, u64>, now: u64) -> bool {
        counts.iter().any(|(zone, count)| {
            let watch = self.zones.get(zone).copied().unwrap_or_default();
            let least = if watch.flooded { ENDS_BELOW } else { BEGINS_AT };
            watch.rate(*count, now).is_some_and(|rate| rate >= least)
        })
    }

    /// Takes in a look at every zone that enforces; `now` is a boot time in ns. What is no zone any more is forgotten.
    pub fn look(&mut self, zones: &BTreeMap<String, Seen>, now: u64) -> Vec<Change> {
        self.zones.retain(|zone, _| zones.contains_key(zone));
        let mut changes = Vec::new();
        for (zone, seen) in zones {
            let watch = self.zones.entry(zone.clone()).or_default();
            let Openings { opened, unfinished } = seen.openings;
            // The table keeps few of a flood's openings; of those it has, the share is that of all.
            let all = watch.rate(seen.new_flows, now).unwrap_or(0);
            let share = u128::from(all) * u128::from(unfinished.min(opened)) / u128::from(opened.max(1));
            let rate = u64::try_from(share).unwrap_or(u64::MAX);
            watch.counted = Some((seen.new_flows, now));
            let began = !watch.flooded && rate >= BEGINS_AT;
            if began {
                watch.flooded = true;
            }
            if rate >= ENDS_BELOW {
                watch.busy_at = now;
            }
            let calm = Duration::from_nanos(now.saturating_sub(watch.busy_at));
            let ended = watch.flooded && calm >= CALM;
            if ended {
                watch.flooded = false;
            }
            if began || ended {
                changes.push(Change { zone: zone.clone(), rate, began });
            }
        }
        changes
    }

    /// Zones that are under a flood.
    #[must_use]
    pub fn flooded(&self) -> BTreeSet<&str> {
        self.zones.iter().filter(|(_, watch)| watch.flooded).map(|(zone, _)| zone.as_str()).collect()
    }
}

impl Watch {
    /// New flows a second since the last look; none before there was one, or where the count began anew.
    fn rate(&self, count: u64, now: u64) -> Option<u64> {
        let (before, at) = self.counted?;
        let new = u128::from(count.checked_sub(before)?);
        let time = u128::from(now.checked_sub(at).filter(|time| *time > 0)?);
        Some(u64::try_from(new * 1_000_000_000 / time).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    struct World {
        floods: Floods,
        now: u64,
        count: u64,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self { floods: Floods::default(), now: 40 * SECOND, count: 1_000_000 };
            assert_eq!(world.look(0, 0), [], "what was counted before the first look says nothing");
            world
        }

        /// Two seconds with so many openings a second, of which so many in a hundred stay unfinished.
        fn look(&mut self, rate: u64, unfinished: u64) -> Vec<(bool, u64)> {
            self.now += 2 * SECOND;
            self.count += 2 * rate;
            let counts = BTreeMap::from([("wan".to_owned(), self.count)]);
            let openings = if self.floods.suspects(&counts, self.now) {
                Openings { opened: 1000, unfinished: 10 * unfinished }
            } else {
                Openings::default()
            };
            let seen = Seen { new_flows: self.count, openings };
            let changes = self.floods.look(&BTreeMap::from([("wan".to_owned(), seen)]), self.now);
            changes.into_iter().map(|change| (change.began, change.rate)).collect()
        }

        fn is_flooded(&self) -> bool {
            !self.floods.flooded().is_empty()
        }
    }

    #[test]
    fn a_flood_is_what_nobody_completes() {
        let mut world = World::new();
        for (rate, unfinished) in [(400, 100), (50_000, 0), (10_000, 4), (499, 100)] {
            assert_eq!(world.look(rate, unfinished), [], "{rate} {unfinished}");
        }
        assert_eq!(world.look(1000, 50), [(true, 500)]);
        assert_eq!(world.look(90_000, 100), [], "told once");
        assert!(world.is_flooded());
    }

    #[test]
    fn a_flood_is_over_after_a_calm_time_and_not_before() {
        let mut world = World::new();
        assert_eq!(world.look(5000, 100), [(true, 5000)]);
        // Between the two bounds it goes on.
        for _ in 0..40 {
            assert_eq!(world.look(200, 100), []);
        }
        // A pause is no end.
        for _ in 0..14 {
            assert_eq!(world.look(0, 0), []);
        }
        assert_eq!(world.look(300, 90), []);
        // Legitimate openings are no flood, however many.
        for _ in 0..14 {
            assert_eq!(world.look(2000, 1), []);
        }
        assert_eq!(world.look(2000, 1), [(false, 20)]);
        assert!(!world.is_flooded());
        assert_eq!(world.look(600, 100), [(true, 600)], "and again");
    }

    #[test]
    fn counts_that_begin_anew_and_zones_that_go_are_no_flood() {
        let mut world = World::new();
        world.count = 0;
        assert_eq!(world.look(5000, 100), [], "maps of another layout");
        assert_eq!(world.look(5000, 100), [(true, 5000)]);
        assert_eq!(world.floods.look(&BTreeMap::new(), world.now), []);
        assert!(!world.is_flooded());
    }
}
