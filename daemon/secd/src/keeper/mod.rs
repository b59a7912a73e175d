//! The keeper of decisions: checks them against what is protected, puts them in force, ends them.
//!
//! Pure but for the [`Kernel`] it writes to; time comes in as [`Now`]. The shell around it (`crate::decisions`) stores
//! and tells.

pub mod budget;
pub mod effective;
pub mod known;
pub mod repeats;
pub mod steps;

use abi::BanValue;
use budget::Budget;
use config::Bans;
use effective::{Effective, Entry};
use ipnet::{IpNet, Ipv4Net};
use known::{Known, Welcome};
use model::{Decision, DecisionKind, Mode, Name, OriginKind, Target, Timestamp};
use repeats::{Growth, Repeats};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr},
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
    /// Lists against what is started towards it hold all the same: the router asks it, and nobody else need.
    pub is_upstream: bool,
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
    /// It would stop somebody who is here now, or was let in a moment ago.
    #[error("{target} is refused: {who} {why}")]
    Welcome {
        /// What was asked for.
        target: Target,
        /// Whom it would touch.
        who: IpAddr,
        /// Why that is not to be.
        why: &'static str,
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
/// Active decisions, as many as the store keeps. More are refused with [`Refusal::Full`].
pub const MAX_DECISIONS: usize = store::MAX_DECISIONS as usize;
/// Of these, what only people may use: engines cannot lock an allow out.
pub const RESERVED_FOR_PEOPLE: usize = store::RESERVED_FOR_PEOPLE as usize;
/// Active allows of addresses: what the kernel holds. More are refused with [`Refusal::Full`].
pub const MAX_ALLOWS: usize = abi::MAX_PROTECTED as usize;

/// Where carriers put many customers behind one address (RFC 6598).
const CARRIER_NAT: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10));

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
    known: Known,
    repeats: Repeats,
    budget: Budget,
    settings: Bans,
    /// Prefixes the kernel has yet to be told of.
    unwritten: Unwritten,
}

/// What the kernel holds otherwise than it should, since it refused; tried again by [`Keeper::expire`].
#[derive(Debug, Default)]
struct Unwritten {
    bans: BTreeSet<IpNet>,
    allows: BTreeSet<IpNet>,
    flows: bool,
    error: Option<String>,
}

impl<K: Kernel> Keeper<K> {
    /// A keeper without decisions.
    pub fn new(kernel: K) -> Self {
        let settings = Bans::default();
        Self {
            known: Known::default(),
            repeats: Repeats::default(),
            budget: Budget::new(settings.per_hour, settings.per_scenario),
            settings,
            kernel,
            bans: Effective::default(),
            allows: Effective::default(),
            domains: HashMap::new(),
            protected: Vec::new(),
            unwritten: Unwritten::default(),
        }
    }

    /// Why the kernel does not hold everything it should; none if it does.
    pub fn behind(&self) -> Option<&str> {
        self.unwritten.error.as_deref()
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

    /// What the config says about bans.
    pub fn set_bans(&mut self, settings: Bans) {
        self.budget.limit(settings.per_hour, settings.per_scenario);
        self.settings = settings;
    }

    /// Somebody logged in from there: engines do not ban it for a while.
    pub fn logged_in(&mut self, from: IpAddr, now: Now) {
        self.known.login(from, now.boot);
    }

    /// The sessions that are open on this machine now: nobody bans them.
    pub fn set_sessions(&mut self, open: impl IntoIterator<Item = IpAddr>) {
        self.known.sessions(open);
    }

    /// What is wrong with how much engines ban; none if nothing is.
    pub fn over_budget(&mut self, now: Now) -> Option<String> {
        self.budget.trouble(now.boot)
    }

    /// How often an address or range was banned before this run.
    pub fn recall(&mut self, net: IpNet, times: u32, until: Option<Timestamp>) {
        self.repeats.recall(net, times, until.unwrap_or(Timestamp(i64::MAX)));
    }

    /// The clock was set by so many microseconds: what is left of every decision stays as it is.
    pub fn move_ends(&mut self, by: i64) {
        self.bans.move_ends(by);
        self.allows.move_ends(by);
        for decision in self.domains.values_mut().flatten() {
            decision.until = decision.until.map(|until| steps::moved(until, by));
        }
        self.repeats.shift(by);
    }

    /// Makes of what an engine asks for what is to be put in force: for how long, and whether it is carried out. One that
    /// does not grow lasts as it says.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn judge(&mut self, mut decision: Decision, grows: bool, now: Now) -> Result<Decision, Refusal> {
        if let (Target::Net(net), DecisionKind::Ban) = (&decision.target, decision.kind) {
            let usual = decision.until.map(|until| until.since(now.wall));
            let lasting = match usual {
                usual if self.is_shared(*net) => {
                    Some(usual.unwrap_or(Duration::MAX).min(self.settings.shared_longest))
                }
                Some(usual) if grows && decision.mode == Mode::Enforce => {
                    Some(self.repeats.lasting(*net, usual, self.growth(), now.wall))
                }
                usual => usual,
            };
            decision.until = lasting.map(|lasting| now.wall.plus(lasting));
        }
        self.check(&decision, now)?;
        if decision.mode == Mode::Enforce && !self.budget.spend(&decision.origin.name, now.boot) {
            decision.mode = Mode::Observe;
            self.check(&decision, now)?;
        }
        Ok(decision)
    }

    /// Many people stand behind one address there.
    fn is_shared(&self, net: IpNet) -> bool {
        let overlaps = |shared: &IpNet| shared.contains(&net) || net.contains(shared);
        self.settings.shared.iter().chain([&CARRIER_NAT]).any(overlaps)
    }

    fn growth(&self) -> Growth {
        let Bans { growth, longest, remember, .. } = self.settings;
        Growth { factor: growth, longest, remember }
    }

    /// Whom a ban would stop who is welcome.
    fn touches_welcome(&self, net: IpNet, by: OriginKind, now: Now) -> Option<Welcome> {
        let login = || self.known.login_in(net, self.settings.after_login, now.boot);
        self.known.session_in(net).or_else(|| if by == OriginKind::Person { None } else { login() })
    }

    /// Whether a decision may be taken.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, decision: &Decision, now: Now) -> Result<(), Refusal> {
        let reserved = if decision.origin.kind == OriginKind::Person { 0 } else { RESERVED_FOR_PEOPLE };
        if self.len() >= MAX_DECISIONS - reserved {
            return Err(Refusal::Full { limit: MAX_DECISIONS });
        }
        let Target::Net(net) = decision.target else { return Ok(()) };
        let target = decision.target.clone();
        if decision.kind == DecisionKind::Allow {
            let full = self.allows.prefixes() >= MAX_ALLOWS;
            return if full { Err(Refusal::Full { limit: MAX_ALLOWS }) } else { Ok(()) };
        }
        let limit = if net.addr().is_ipv4() { MIN_PREFIX_V4 } else { MIN_PREFIX_V6 };
        if net.prefix_len() < limit {
            return Err(Refusal::TooWide { target, limit });
        }
        if let Some(protected) = self.touches_protected(&decision.target) {
            return Err(Refusal::Protected { target, net: protected.net, why: protected.why.clone() });
        }
        if let Some(welcome) = self.touches_welcome(net, decision.origin.kind, now) {
            let (who, why) = match welcome {
                Welcome::Session(who) => (who, "has a session open on this machine"),
                Welcome::Login(who) => (who, "has logged in a short while ago"),
            };
            return Err(Refusal::Welcome { target, who, why });
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

    /// Puts a checked decision in force; it replaces what the same origin ordered about the same target. What the kernel
    /// refuses is tried again; see [`Self::behind`].
    pub fn admit(&mut self, decision: Decision, now: Now) {
        self.take_in(decision, now);
        self.write(now);
    }

    /// The same of many.
    pub fn admit_many(&mut self, decisions: impl IntoIterator<Item = Decision>, now: Now) {
        for decision in decisions {
            self.take_in(decision, now);
        }
        self.write(now);
    }

    fn take_in(&mut self, decision: Decision, now: Now) {
        match (&decision.target, decision.kind) {
            (Target::Domain(name) | Target::DomainFor { name, .. }, _) => {
                let at = self.domains.entry(name.clone()).or_default();
                let same = |other: &Decision| {
                    (&other.origin, other.kind, &other.target)
                        == (&decision.origin, decision.kind, &decision.target)
                };
                at.retain(|other| !same(other));
                at.push(decision);
            }
            (Target::Net(net), DecisionKind::Ban) => {
                if decision.mode == Mode::Enforce && decision.origin.kind != OriginKind::Person {
                    let until = decision.until.unwrap_or(Timestamp(i64::MAX));
                    self.repeats.note(*net, until, self.growth(), now.wall);
                }
                self.bans.replace(&decision);
                let touched = self.bans.insert(decision);
                self.unwritten.bans.extend(touched);
            }
            (Target::Net(_), DecisionKind::Allow) => {
                self.allows.replace(&decision);
                let touched = self.allows.insert(decision);
                self.unwritten.allows.extend(touched);
            }
        }
    }

    /// Ends the decisions of a kind at exactly this target. A ban that a person lifts was a mistake: the next one is not
    /// longer for it.
    pub fn lift(&mut self, target: &Target, kind: DecisionKind, now: Now) -> Vec<Decision> {
        let ids = match (target, kind) {
            (Target::Domain(name) | Target::DomainFor { name, .. }, _) => {
                let stands = |d: &&Decision| d.kind == kind && d.target == *target;
                self.domains.get(name).into_iter().flatten().filter(stands).map(|d| d.id).collect()
            }
            (Target::Net(_), DecisionKind::Ban) => self.bans.at(target, kind),
            (Target::Net(_), DecisionKind::Allow) => self.allows.at(target, kind),
        };
        if let (Target::Net(net), DecisionKind::Ban) = (target, kind) {
            self.repeats.forget(*net);
        }
        self.end(&ids, now)
    }

    /// Ends the decisions with these ids.
    pub fn end(&mut self, ids: &[u64], now: Now) -> Vec<Decision> {
        let mut ended = Vec::new();
        for id in ids {
            let (ban, touched) = self.bans.remove(*id);
            self.unwritten.bans.extend(touched);
            let (allow, touched) = self.allows.remove(*id);
            self.unwritten.allows.extend(touched);
            ended.extend(ban.into_iter().chain(allow));
        }
        if ended.len() < ids.len() {
            let ids: HashSet<u64> = ids.iter().copied().collect();
            self.domains.retain(|_, at| {
                ended.extend(at.extract_if(.., |d| ids.contains(&d.id)));
                !at.is_empty()
            });
        }
        self.write(now);
        ended
    }

    /// The same; they were mistakes, and the next ban is not longer for them.
    pub fn end_as_mistakes(&mut self, ids: &[u64], now: Now) {
        for decision in self.end(ids, now) {
            if let Target::Net(net) = decision.target {
                self.repeats.forget(net);
            }
        }
    }

    /// How many more decisions of people have room, and how many more allows of addresses.
    pub fn room(&self) -> (usize, usize) {
        (MAX_DECISIONS.saturating_sub(self.len()), MAX_ALLOWS.saturating_sub(self.allows.prefixes()))
    }

    /// From when on bans are remembered.
    pub fn remembers_since(&self, now: Timestamp) -> Timestamp {
        let back = self.settings.remember.saturating_add(self.settings.longest);
        Timestamp(now.0.saturating_sub(i64::try_from(back.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Ends what is over, and tells the kernel again what it refused.
    pub fn expire(&mut self, now: Now) -> Vec<Decision> {
        let mut ids = self.bans.expired(now.wall);
        ids.extend(self.allows.expired(now.wall));
        let over = |d: &&Decision| d.until.is_some_and(|until| until <= now.wall);
        ids.extend(self.domains.values().flatten().filter(over).map(|d| d.id));
        self.end(&ids, now)
    }

    /// Takes over stored decisions at start: writes what the kernel lacks, clears what it holds too much.
    pub fn restore(
        &mut self,
        decisions: Vec<Decision>,
        held_bans: impl IntoIterator<Item = IpNet>,
        held_allows: impl IntoIterator<Item = IpNet>,
        now: Now,
    ) {
        for decision in decisions {
            match (&decision.target, decision.kind) {
                (Target::Domain(name) | Target::DomainFor { name, .. }, _) => {
                    self.domains.entry(name.clone()).or_default().push(decision);
                }
                (Target::Net(_), DecisionKind::Ban) => {
                    self.bans.restore(decision);
                }
                (Target::Net(_), DecisionKind::Allow) => {
                    self.allows.restore(decision);
                }
            }
        }
        self.unwritten.bans = self.bans.nets().chain(held_bans).collect();
        self.unwritten.allows = self.allows.nets().chain(held_allows).collect();
        self.write(now);
    }

    /// Active decisions that hold all of this, longest prefix first, allows before bans.
    pub fn about(&self, net: IpNet) -> Vec<&Decision> {
        self.allows.covering(net).chain(self.bans.covering(net)).collect()
    }

    /// Active decisions that touch this: [`Self::about`] it, then those inside it.
    pub fn touching(&self, net: IpNet) -> Vec<&Decision> {
        let within = |held: &'_ Effective| {
            held.within(net).into_iter().filter(|inner| *inner != net).collect::<Vec<_>>()
        };
        let inside = |held| within(held).into_iter().flat_map(move |inner| held.standing_at(inner));
        let mut touching = self.about(net);
        touching.extend(inside(&self.allows).chain(inside(&self.bans)));
        touching
    }

    /// Active decisions about this name or a parent of it, closest first, those for one client alone included.
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
    pub fn domains(&self) -> impl Iterator<Item = &Decision> {
        self.domains.values().flatten()
    }

    /// The active decision with this id.
    pub fn get(&self, id: u64) -> Option<&Decision> {
        let named = || self.domains.values().flatten().find(|decision| decision.id == id);
        self.bans.get(id).or_else(|| self.allows.get(id)).or_else(named)
    }

    /// Gives a decision its stored number, if it is active still.
    pub fn renumber(&mut self, from: u64, to: u64, now: Now) {
        if let Some(decision) = self.domains.values_mut().flatten().find(|decision| decision.id == from) {
            decision.id = to;
        }
        let (ban, touched) = self.bans.remove(from);
        if let Some(ban) = ban {
            self.bans.insert(Decision { id: to, ..ban });
            self.unwritten.bans.extend(touched);
            self.write(now);
        }
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

    /// Tells the kernel what it has yet to be told. It goes on after an error, and what is refused stays to be tried.
    fn write(&mut self, now: Now) {
        let waiting = &mut self.unwritten;
        if waiting.bans.is_empty() && waiting.allows.is_empty() && !waiting.flows {
            return;
        }
        waiting.flows = true;
        let mut error = None;
        let (bans, allows, kernel) = (&self.bans, &self.allows, &mut self.kernel);
        // Room first: entries that go, then entries that come.
        for entering in [false, true] {
            waiting.bans.retain(|net| {
                let done = match bans.entry(*net) {
                    Some(entry) if entering => kernel.set_ban(*net, ban_value(entry, now)),
                    None if !entering => kernel.clear_ban(*net),
                    Some(_) | None => return true,
                };
                done.map_err(|refused| error = Some(format!("{net}: {refused:#}"))).is_err()
            });
            waiting.allows.retain(|net| {
                let done = match allows.entry(*net) {
                    Some(entry) if entering => kernel.set_allow(*net, now.boot_time(entry.until)),
                    None if !entering => kernel.clear_allow(*net),
                    Some(_) | None => return true,
                };
                done.map_err(|refused| error = Some(format!("{net}: {refused:#}"))).is_err()
            });
        }
        match kernel.judge_flows_again() {
            Ok(()) => waiting.flows = false,
            Err(refused) => error = Some(format!("{refused:#}")),
        }
        waiting.error = error;
    }
}

fn ban_value(entry: Entry, now: Now) -> BanValue {
    BanValue {
        until: now.boot_time(entry.until),
        #[expect(clippy::cast_possible_truncation, reason = "the kernel keeps the low bits of the id")]
        decision: entry.decision as u32,
        directions: entry.directions,
        observe: u8::from(entry.observe),
        bits: 0,
        reserved: 0,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time_tests;
