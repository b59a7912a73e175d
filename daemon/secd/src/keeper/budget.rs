//! How many bans engines may order in an hour: a bad rule must not ban the world.
//!
//! Beyond the budget bans are observed. It is over until a quarter of it is free again, so that it does not go on and
//! off with every ban.

use std::collections::HashMap;

/// Scenarios that are counted each for themselves; further ones are counted together.
pub const MAX_SCENARIOS: usize = 1_024;

/// Parts that an hour is counted in.
const PARTS: usize = 60;
const PART: u64 = 3_600_000_000_000 / PARTS as u64;

/// Bans of the last hour, and how many they may be.
#[derive(Debug)]
pub struct Budget {
    all: Hour,
    each: HashMap<String, Hour>,
    /// The most of all together and of each scenario.
    limits: (u32, u32),
}

/// What was ordered in the last sixty minutes, by minutes since boot.
#[derive(Clone, Debug)]
struct Hour {
    counts: [u32; PARTS],
    minute: u64,
    over: bool,
}

impl Budget {
    /// A budget of so many bans an hour for all scenarios together, and for each.
    #[must_use]
    pub fn new(all: u32, each: u32) -> Self {
        Self { all: Hour::new(), each: HashMap::new(), limits: (all, each) }
    }

    /// Other limits from now on; what was ordered counts on.
    pub fn limit(&mut self, all: u32, each: u32) {
        self.limits = (all, each);
    }

    /// Whether a scenario may have one more enforced, which is counted then. `boot` in nanoseconds.
    pub fn spend(&mut self, scenario: &str, boot: u64) -> bool {
        let known = self.each.contains_key(scenario);
        if !known && self.each.len() >= MAX_SCENARIOS {
            self.each.retain(|_, hour| hour.sum(boot) > 0);
        }
        let together = !known && self.each.len() >= MAX_SCENARIOS;
        let name = if together { "" } else { scenario };
        let (all, each) = self.limits;
        let one = self.each.entry(name.to_owned()).or_insert_with(Hour::new);
        let fits = [one.has_room(each, boot), self.all.has_room(all, boot)] == [true, true];
        if fits {
            one.add();
            self.all.add();
        }
        fits
    }

    /// What a person should know while it is over.
    pub fn trouble(&mut self, boot: u64) -> Option<String> {
        let (all, each) = self.limits;
        let mut over: Vec<String> = Vec::new();
        if !self.all.is_free(all, boot) {
            over.push(format!("all scenarios together have used up their {all} bans of an hour"));
        }
        let mut names: Vec<&str> = self
            .each
            .iter_mut()
            .filter_map(|(name, hour)| (!hour.is_free(each, boot)).then_some(name.as_str()))
            .collect();
        names.sort_unstable();
        over.extend(names.iter().map(|name| {
            let name = if name.is_empty() { "further scenarios" } else { name };
            format!("{name} has used up its {each} bans of an hour")
        }));
        (!over.is_empty()).then(|| {
            format!(
                "{}; further ones are only observed until there is room (`[bans]` in the config)",
                over.join(", ")
            )
        })
    }
}

impl Hour {
    fn new() -> Self {
        Self { counts: [0; PARTS], minute: 0, over: false }
    }

    /// Forgets what is older than an hour; how many are left.
    fn sum(&mut self, boot: u64) -> u32 {
        let minute = boot / PART;
        let passed = minute.saturating_sub(self.minute).min(PARTS as u64);
        for step in 1..=passed {
            self.counts[place(self.minute + step)] = 0;
        }
        if passed == PARTS as u64 {
            self.counts = [0; PARTS];
        }
        self.minute = self.minute.max(minute);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Whether one more fits; where it does not, it is over.
    fn has_room(&mut self, limit: u32, boot: u64) -> bool {
        let free = self.is_free(limit, boot);
        let fits = free && self.sum(boot) < limit;
        self.over |= !fits;
        fits
    }

    /// Whether it is not over (any more).
    fn is_free(&mut self, limit: u32, boot: u64) -> bool {
        let sum = u64::from(self.sum(boot));
        self.over &= sum * 4 > u64::from(limit) * 3;
        !self.over
    }

    fn add(&mut self) {
        let count = &mut self.counts[place(self.minute)];
        *count = count.saturating_add(1);
    }
}

fn place(minute: u64) -> usize {
    usize::try_from(minute % PARTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    #[test]
    fn beyond_the_budget_nothing_until_a_quarter_is_free() {
        let mut budget = Budget::new(100, 4);
        let spent = |budget: &mut Budget, at| budget.spend("ssh", at);
        // One a minute from minute 100 on.
        for minute in 100..104 {
            assert!(spent(&mut budget, minute * MINUTE));
            assert_eq!(budget.trouble(minute * MINUTE), None);
        }
        assert!(!spent(&mut budget, 104 * MINUTE));
        let told = budget.trouble(104 * MINUTE).unwrap();
        assert!(told.starts_with("ssh has used up its 4 bans of an hour"), "{told}");
        assert_eq!(budget.trouble(159 * MINUTE), Some(told), "the same words as long as it is over");
        assert!(!spent(&mut budget, 159 * MINUTE));
        assert!(budget.spend("http", 159 * MINUTE), "another scenario has its own");
        // Minute 100 is more than an hour ago: three of four are left.
        assert_eq!(budget.trouble(160 * MINUTE), None);
        assert!(spent(&mut budget, 160 * MINUTE));
        assert!(!spent(&mut budget, 160 * MINUTE), "and is over again");
    }

    #[test]
    fn all_together_have_one_too() {
        let mut budget = Budget::new(3, 100);
        let taken = (0..5).filter(|n| budget.spend(&format!("scenario-{n}"), 5)).count();
        assert_eq!(taken, 3);
        assert!(budget.trouble(5).unwrap().starts_with("all scenarios together"));
        assert_eq!(budget.trouble(u64::MAX), None);
    }

    #[test]
    fn names_beyond_the_limit_share_one() {
        let mut budget = Budget::new(u32::MAX, 1);
        for n in 0..MAX_SCENARIOS {
            assert!(budget.spend(&format!("s{n}"), 0));
        }
        assert!(budget.spend("one more", 0));
        assert!(!budget.spend("and another", 0), "what is beyond is counted together");
        assert!(budget.each.len() <= MAX_SCENARIOS + 1);
    }

    /// A window counted the slow way.
    #[test]
    fn an_hour_is_sixty_minutes() {
        let mut hour = Hour::new();
        let mut all: Vec<u64> = Vec::new();
        let mut seed = 7_u64;
        let mut at = 0;
        for _ in 0..2_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            at += (seed >> 33) % (5 * MINUTE);
            let now = at / MINUTE;
            all.retain(|minute| minute + 60 > now);
            assert_eq!(hour.sum(at) as usize, all.len());
            hour.add();
            all.push(now);
        }
    }
}
