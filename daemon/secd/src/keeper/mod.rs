//! The keeper of decisions: checks them against what is protected, puts them in force, ends them.
//!
//! Pure but for the [`Kernel`] it writes to; time comes in as [`Now`]. The shell around it (`crate::decisions`) stores
//! and tells.

pub mod effective;

use abi::BanValue;
use effective::{Effective, Entry};
use ipnet::IpNet;
use model::{Decision, DecisionKind, Mode, Name, OriginKind, Target, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::Duration,
};

/// Where bans and timed allows are enforced.
pub trait Kernel: Send {
    /// Writes the ban of a prefix.
    ///
    /// # Errors
    /// The table is full or the kernel refused.
    fn set_ban(&mut self, net: IpNet, value: BanValue) -> anyhow::Result<()>;
    /// Removes the ban of a prefix; absent is fine.
    ///
    /// # Errors
    /// The kernel refused.
    fn clear_ban(&mut self, net: IpNet) -> anyhow::Result<()>;
    /// Writes an allow that ends at this boot time in ns (`u64::MAX` = never).
    ///
    /// # Errors
    /// The table is full or the kernel refused.
    fn set_allow(&mut self, net: IpNet, until: u64) -> anyhow::Result<()>;
    /// Removes an allow; absent is fine.
    ///
    /// # Errors
    /// The kernel refused.
    fn clear_allow(&mut self, net: IpNet) -> anyhow::Result<()>;
    /// Has every flow judged again at its next packet.
    ///
    /// # Errors
    /// The kernel refused.
    fn judge_flows_again(&mut self) -> anyhow::Result<()>;
}

/// The same moment on both clocks: people's decisions end by wall clock, the kernel counts from boot.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock.
    pub wall: Timestamp,
    /// Nanoseconds since boot.
    pub boot: u64,
}

impl Now {
    /// The boot time of `until`; what has passed is now.
    fn boot_time(self, until: Option<Timestamp>) -> u64 {
        match until {
            None => u64::MAX,
            Some(until) => {
                let left = u64::try_from(until.since(self.wall).as_nanos()).unwrap_or(u64::MAX);
                self.boot.saturating_add(left)
            }
        }
    }
}

/// An address or network that no ban may touch, and why, in words that complete "… is".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// What.
    pub net: IpNet,
    /// Why: `the router's own address`, `on the allow-list (secd.toml:3)`.
    pub why: String,
    /// Only bans of all of it are refused: hosts inside a zone's network may be banned, the network may not.
    pub as_a_whole: bool,
}

/// Why a decision was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would stop something that must never be stopped.
    #[error("{target} is refused: {net} is {why}")]
    Protected {
        /// What was asked for.
        target: Target,
        /// What it would touch.
        net: IpNet,
        /// Why that is protected.
        why: String,
    },
    /// So wide that it can only be a mistake.
    #[error("{target} is refused: wider than /{limit}; ban smaller ranges")]
    TooWide {
        /// What was asked for.
        target: Target,
        /// Shortest prefix that is accepted.
        limit: u8,
    },
    /// An allow or a longer ban stands already.
    #[error("{target} is already {what} until {until}")]
    Standing {
        /// What was asked for.
        target: Target,
        /// `banned` or `allowed`.
        what: &'static str,
        /// Until when.
        until: String,
    },
    /// The named limit of active decisions is reached.
    #[error("{limit} decisions are active, no more are taken; lift some with `secctl unban`")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// Shortest IPv4 prefix that can be banned.
pub const MIN_PREFIX_V4: u8 = 8;
/// Shortest IPv6 prefix that can be banned.
pub const MIN_PREFIX_V6: u8 = 16;
/// Active decisions. More are refused with [`Refusal::Full`].
pub const MAX_DECISIONS: usize = abi::MAX_BANS as usize;

/// A ban that would end less than this after one that holds already adds nothing: one attack trips several scenarios.
const MOMENT: Duration = Duration::from_secs(60);

/// All active decisions and what the kernel holds of them.
#[derive(Debug)]
pub struct Keeper<K> {
    kernel: K,
    bans: Effective,
    allows: Effective,
    domains: HashMap<Name, Vec<Decision>>,
    protected: Vec<Protected>,
}

impl<K: Kernel> Keeper<K> {
    /// A keeper without decisions.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            bans: Effective::default(),
            allows: Effective::default(),
            domains: HashMap::new(),
            protected: Vec::new(),
        }
    }

    /// What is enforced on.
    pub fn kernel(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// What no ban may touch.
    pub fn protected(&self) -> &[Protected] {
        &self.protected
    }

    /// Sets what no ban may touch; returns the active bans that now touch it, for the caller to lift.
    pub fn protect(&mut self, protected: Vec<Protected>) -> Vec<u64> {
        self.protected = protected;
        self.bans
            .iter()
            .filter(|ban| self.touches_protected(&ban.target).is_some())
            .map(|ban| ban.id)
            .collect()
    }

    /// Whether a decision may be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, decision: &Decision, now: Now) -> Result<(), Refusal> {
        if self.len() >= MAX_DECISIONS {
            return Err(Refusal::Full { limit: MAX_DECISIONS });
        }
        let Target::Net(net) = decision.target else { return Ok(()) };
        let target = decision.target.clone();
        if decision.kind == DecisionKind::Allow {
            return Ok(());
        }
        let limit = if net.addr().is_ipv4() { MIN_PREFIX_V4 } else { MIN_PREFIX_V6 };
        if net.prefix_len() < limit {
            return Err(Refusal::TooWide { target, limit });
        }
        if let Some(protected) = self.touches_protected(&decision.target) {
            return Err(Refusal::Protected { target, net: protected.net, why: protected.why.clone() });
        }
        let live = |d: &&Decision| d.until.is_none_or(|until| until > now.wall);
        let text =
            |until: Option<Timestamp>| until.map_or_else(|| "it is lifted".into(), |at| at.to_string());
        if decision.origin.kind != OriginKind::Person {
            if let Some(allow) = self.allows.covering(net).find(live) {
                return Err(Refusal::Standing { target, what: "allowed", until: text(allow.until) });
            }
            // The same attacker seen by many lines gives one ban, not a thousand.
            let as_good = |d: &&Decision| {
                d.direction.bits() & decision.direction.bits() == decision.direction.bits()
                    && d.mode.and(decision.mode) == decision.mode
                    && d.until
                        .is_none_or(|held| decision.until.is_some_and(|until| held.plus(MOMENT) >= until))
            };
            if let Some(ban) = self.bans.covering(net).filter(live).find(as_good) {
                return Err(Refusal::Standing { target, what: "banned", until: text(ban.until) });
            }
        }
        Ok(())
    }

    /// Puts a checked decision in force; it replaces what the same origin ordered about the same target.
    ///
    /// # Errors
    /// The kernel table is full or refused; the decision is kept and counts, but is not enforced there.
    pub fn admit(&mut self, decision: Decision, now: Now) -> anyhow::Result<()> {
        match (&decision.target, decision.kind) {
            (Target::Domain(name), _) => {
                let at = self.domains.entry(name.clone()).or_default();
                at.retain(|other| other.origin != decision.origin || other.kind != decision.kind);
                at.push(decision);
                Ok(())
            }
            (Target::Net(_), DecisionKind::Ban) => {
                self.bans.replace(&decision);
                let touched = self.bans.insert(decision);
                self.write_bans(touched, now)?;
                self.kernel.judge_flows_again()
            }
            (Target::Net(_), DecisionKind::Allow) => {
                self.allows.replace(&decision);
                let touched = self.allows.insert(decision);
                self.write_allows(touched, now)?;
                self.kernel.judge_flows_again()
            }
        }
    }

    /// Ends the decisions of a kind at exactly this target.
    ///
    /// # Errors
    /// The kernel refused; they are ended here all the same.
    pub fn lift(&mut self, target: &Target, kind: DecisionKind, now: Now) -> anyhow::Result<Vec<Decision>> {
        let ids = match (target, kind) {
            (Target::Domain(name), _) => self
                .domains
                .get(name)
                .map(|at| at.iter().filter(|d| d.kind == kind).map(|d| d.id).collect())
                .unwrap_or_default(),
            (Target::Net(_), DecisionKind::Ban) => self.bans.at(target, kind),
            (Target::Net(_), DecisionKind::Allow) => self.allows.at(target, kind),
        };
        self.end(&ids, now)
    }

    /// Ends the decisions with these ids.
    ///
    /// # Errors
    /// The kernel refused; they are ended here all the same.
    pub fn end(&mut self, ids: &[u64], now: Now) -> anyhow::Result<Vec<Decision>> {
        let mut ended = Vec::new();
        let (mut bans, mut allows) = (BTreeSet::new(), BTreeSet::new());
        for id in ids {
            let (ban, touched) = self.bans.remove(*id);
            bans.extend(touched);
            let (allow, touched) = self.allows.remove(*id);
            allows.extend(touched);
            ended.extend(ban.into_iter().chain(allow));
        }
        self.domains.retain(|_, at| {
            ended.extend(at.extract_if(.., |d| ids.contains(&d.id)));
            !at.is_empty()
        });
        if !ended.is_empty() {
            self.write_bans(bans, now)?;
            self.write_allows(allows, now)?;
            self.kernel.judge_flows_again()?;
        }
        Ok(ended)
    }

    /// Ends what is over.
    ///
    /// # Errors
    /// The kernel refused; they are ended here all the same.
    pub fn expire(&mut self, now: Now) -> anyhow::Result<Vec<Decision>> {
        let mut ids = self.bans.expired(now.wall);
        ids.extend(self.allows.expired(now.wall));
        let over = |d: &&Decision| d.until.is_some_and(|until| until <= now.wall);
        ids.extend(self.domains.values().flatten().filter(over).map(|d| d.id));
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.end(&ids, now)
    }

    /// Takes over stored decisions at start: writes what the kernel lacks, clears what it holds too much.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn restore(
        &mut self,
        decisions: Vec<Decision>,
        held_bans: &[IpNet],
        held_allows: &[IpNet],
        now: Now,
    ) -> anyhow::Result<()> {
        for decision in decisions {
            match (&decision.target, decision.kind) {
                (Target::Domain(name), _) => self.domains.entry(name.clone()).or_default().push(decision),
                (Target::Net(_), DecisionKind::Ban) => {
                    self.bans.insert(decision);
                }
                (Target::Net(_), DecisionKind::Allow) => {
                    self.allows.insert(decision);
                }
            }
        }
        let bans: BTreeSet<_> = self.bans.nets().chain(held_bans.iter().copied()).collect();
        let allows: BTreeSet<_> = self.allows.nets().chain(held_allows.iter().copied()).collect();
        self.write_bans(bans, now)?;
        self.write_allows(allows, now)
    }

    /// Active decisions that hold this address, longest prefix first, allows before bans.
    pub fn about(&self, address: IpAddr) -> Vec<&Decision> {
        let net = IpNet::from(address.to_canonical());
        self.allows.covering(net).chain(self.bans.covering(net)).collect()
    }

    /// Active decisions about this name or a parent of it, closest first.
    pub fn about_name(&self, name: &Name) -> Vec<&Decision> {
        name.suffixes().filter_map(|suffix| self.domains.get(suffix)).flatten().collect()
    }

    /// All active decisions, by id.
    pub fn decisions(&self) -> Vec<&Decision> {
        let mut all: Vec<_> =
            self.bans.iter().chain(self.allows.iter()).chain(self.domains.values().flatten()).collect();
        all.sort_by_key(|decision| decision.id);
        all
    }

    /// Decisions about names, for the resolver.
    pub fn domains(&self) -> BTreeMap<Name, Vec<Decision>> {
        self.domains.iter().map(|(name, at)| (name.clone(), at.clone())).collect()
    }

    /// The active decision with this id.
    pub fn get(&self, id: u64) -> Option<&Decision> {
        let named = || self.domains.values().flatten().find(|decision| decision.id == id);
        self.bans.get(id).or_else(|| self.allows.get(id)).or_else(named)
    }

    /// Gives a decision its stored number; false if it is not active any more.
    ///
    /// # Errors
    /// The kernel refused and still holds the former number.
    pub fn renumber(&mut self, from: u64, to: u64, now: Now) -> anyhow::Result<bool> {
        for at in self.domains.values_mut() {
            if let Some(decision) = at.iter_mut().find(|decision| decision.id == from) {
                decision.id = to;
                return Ok(true);
            }
        }
        let (decision, touched) = self.bans.remove(from);
        let Some(decision) = decision else { return Ok(self.allows.get(from).is_some()) };
        self.bans.insert(Decision { id: to, ..decision });
        self.write_bans(touched, now)?;
        Ok(true)
    }

    /// How many decisions are active.
    pub fn len(&self) -> usize {
        self.bans.len() + self.allows.len() + self.domains.len()
    }

    /// Whether none is active.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many prefixes are banned in the kernel.
    pub fn banned_prefixes(&self) -> usize {
        self.bans.prefixes()
    }

    fn touches_protected(&self, target: &Target) -> Option<&Protected> {
        let Target::Net(net) = target else { return None };
        self.protected.iter().find(|protected| {
            net.contains(&protected.net) || (!protected.as_a_whole && protected.net.contains(net))
        })
    }

    fn write_bans(&mut self, touched: BTreeSet<IpNet>, now: Now) -> anyhow::Result<()> {
        for net in touched {
            match self.bans.entry(net) {
                Some(entry) => self.kernel.set_ban(net, ban_value(entry, now))?,
                None => self.kernel.clear_ban(net)?,
            }
        }
        Ok(())
    }

    fn write_allows(&mut self, touched: BTreeSet<IpNet>, now: Now) -> anyhow::Result<()> {
        for net in touched {
            match self.allows.entry(net) {
                Some(entry) => self.kernel.set_allow(net, now.boot_time(entry.until))?,
                None => self.kernel.clear_allow(net)?,
            }
        }
        Ok(())
    }
}

fn ban_value(entry: Entry, now: Now) -> BanValue {
    BanValue {
        until: now.boot_time(entry.until),
        #[expect(clippy::cast_possible_truncation, reason = "the kernel keeps the low bits of the id")]
        decision: entry.decision as u32,
        directions: entry.directions,
        observe: u8::from(entry.observe),
        reserved: [0; 2],
    }
}

/// The mode a new decision gets: the whole appliance's and the part's.
#[must_use]
pub fn effective_mode(whole: Mode, part: Mode) -> Mode {
    whole.and(part)
}

#[cfg(test)]
mod tests;
