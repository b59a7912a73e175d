//! Wrong passwords by source. Pure: time is an input.

use model::Timestamp;
use std::{collections::HashMap, net::IpAddr, time::Duration};

use crate::source;

/// How often a source may be wrong.
#[derive(Clone, Copy, Debug)]
pub struct TryLimits {
    /// Wrong passwords in a row from one source; further tries from there are refused.
    pub in_a_row: u32,
    /// After so long a source has one more try.
    pub pause: Duration,
    /// Sources that are remembered. While there are so many, tries from others are refused.
    pub sources: usize,
}

/// Sources with wrong passwords: of IPv6 one /64 each.
#[derive(Debug)]
pub struct Tries {
    limits: TryLimits,
    wrong: HashMap<IpAddr, (u32, Timestamp)>,
}

impl Tries {
    /// None yet.
    #[must_use]
    pub fn new(limits: TryLimits) -> Self {
        Self { limits, wrong: HashMap::new() }
    }

    /// Whether this source may try.
    pub fn may(&mut self, from: IpAddr, now: Timestamp) -> bool {
        // One wrong password is forgotten after each pause; a clock that was set back begins anew.
        let pause = self.limits.pause;
        self.wrong.retain(|_, (wrong, at)| {
            if *at > now {
                *at = now;
            }
            let pauses = now.since(*at).as_secs() / pause.as_secs().max(1);
            *wrong = wrong.saturating_sub(u32::try_from(pauses).unwrap_or(u32::MAX));
            *at = at.plus(pause * u32::try_from(pauses).unwrap_or(0));
            *wrong > 0
        });
        match self.wrong.get(&source(from)) {
            Some((wrong, _)) => *wrong < self.limits.in_a_row,
            None => self.wrong.len() < self.limits.sources,
        }
    }

    /// Whether nobody is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wrong.is_empty()
    }

    /// It was wrong.
    pub fn wrong(&mut self, from: IpAddr, now: Timestamp) {
        let (wrong, _) = self.wrong.entry(source(from)).or_insert((0, now));
        *wrong += 1;
    }
}
