//! From decisions to what one longest-prefix lookup must say.
//!
//! The kernel asks its ban table once and gets the longest prefix that holds the address. A short ban of one address
//! inside a long ban of its range would hide the range, so every entry carries what its covering bans say too.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Decision, DecisionKind, Mode, Target, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::steps::moved;

/// What the kernel should hold for one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When the last ban that covers it ends; none = never.
    pub until: Option<Timestamp>,
    /// `abi::DIRECTION_*` bits of all of them.
    pub directions: u8,
    /// All of them only observe.
    pub observe: bool,
    /// The most specific, newest one.
    pub decision: u64,
}

/// Active decisions of one kind about addresses, by prefix.
#[derive(Debug, Default)]
pub struct Effective {
    by_net: BTreeMap<IpNet, Vec<u64>>,
    decisions: HashMap<u64, Decision>,
    /// How many prefixes there are of each length: only those that occur are looked for.
    v4_lengths: BTreeMap<u8, usize>,
    v6_lengths: BTreeMap<u8, usize>,
}

impl Effective {
    /// Takes a decision in; says which prefixes must be written again. Decisions about domains are ignored.
    pub fn insert(&mut self, decision: Decision) -> BTreeSet<IpNet> {
        let Target::Net(net) = decision.target else { return BTreeSet::new() };
        self.restore(decision);
        self.within(net)
    }

    /// The same where everything is written anyway.
    pub fn restore(&mut self, decision: Decision) {
        let Target::Net(net) = decision.target else { return };
        let id = decision.id;
        if self.decisions.insert(id, decision).is_none() {
            let at = self.by_net.entry(net).or_default();
            let is_new = at.is_empty();
            at.push(id);
            if is_new {
                *self.lengths_mut(net).entry(net.prefix_len()).or_default() += 1;
            }
        }
    }

    /// Takes out what the same origin ordered about the same target. What it leaves is written by the
    /// [`Effective::insert`] that must follow.
    pub fn replace(&mut self, by: &Decision) {
        let Target::Net(net) = by.target else { return };
        let older: Vec<u64> = self.by_net.get(&net).into_iter().flatten().copied().collect();
        for id in older {
            if self.decisions.get(&id).is_some_and(|d| d.origin == by.origin && d.kind == by.kind) {
                self.remove(id);
            }
        }
    }

    /// Takes a decision out; says which prefixes must be written (or cleared) again.
    pub fn remove(&mut self, id: u64) -> (Option<Decision>, BTreeSet<IpNet>) {
        let Some(decision) = self.decisions.remove(&id) else { return (None, BTreeSet::new()) };
        let Target::Net(net) = decision.target else { return (Some(decision), BTreeSet::new()) };
        let mut touched = self.within(net);
        touched.insert(net);
        if let Some(ids) = self.by_net.get_mut(&net) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_net.remove(&net);
                let lengths = self.lengths_mut(net);
                if let Some(count) = lengths.get_mut(&net.prefix_len()) {
                    *count -= 1;
                    if *count == 0 {
                        lengths.remove(&net.prefix_len());
                    }
                }
            }
        }
        (Some(decision), touched)
    }

    /// What the kernel should hold for `net`; none if nothing stands at exactly this prefix. Where an enforced decision
    /// covers it, observed ones say nothing: observing never changes a verdict.
    pub fn entry(&self, net: IpNet) -> Option<Entry> {
        self.by_net.get(&net)?;
        let enforced = |decision: &&Decision| decision.mode == Mode::Enforce;
        let observe = !self.covering(net).any(|decision| enforced(&decision));
        let speaking = || self.covering(net).filter(|decision| observe || enforced(decision));
        let strongest = speaking().max_by_key(|decision| (prefix_length(decision), decision.since))?;
        Some(Entry {
            until: speaking().map(|d| d.until).max_by_key(|until| until.map_or(i64::MAX, |at| at.0))?,
            directions: speaking().fold(0, |bits, decision| bits | decision.direction.bits()),
            observe,
            decision: strongest.id,
        })
    }

    /// Active decisions whose prefix holds `net`, longest prefix first.
    pub fn covering(&self, net: IpNet) -> impl Iterator<Item = &Decision> {
        let lengths = if net.addr().is_ipv4() { &self.v4_lengths } else { &self.v6_lengths };
        lengths
            .range(..=net.prefix_len())
            .rev()
            .filter_map(move |(length, _)| self.by_net.get(&with_length(net, *length)))
            .flatten()
            .filter_map(|id| self.decisions.get(id))
    }

    /// Active decisions that stand at exactly this prefix.
    pub fn standing_at(&self, net: IpNet) -> impl Iterator<Item = &Decision> {
        self.by_net.get(&net).into_iter().flatten().filter_map(|id| self.decisions.get(id))
    }

    /// Prefixes that are inside `net`, itself included, and hold something.
    pub fn within(&self, net: IpNet) -> BTreeSet<IpNet> {
        let first = with_length(net, net.prefix_len());
        let last: IpNet = net.broadcast().into();
        // `IpNet` sorts by network address, then by prefix length; all that is inside lies between the two.
        self.by_net.range(first..=last).map(|(inner, _)| *inner).filter(|inner| net.contains(inner)).collect()
    }

    /// All active decisions.
    pub fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.values()
    }

    /// How many decisions are active.
    pub fn len(&self) -> usize {
        self.decisions.len()
    }

    /// Whether no decision is active.
    pub fn is_empty(&self) -> bool {
        self.decisions.is_empty()
    }

    /// How many prefixes hold something.
    pub fn prefixes(&self) -> usize {
        self.by_net.len()
    }

    /// All prefixes that hold something.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> {
        self.by_net.keys().copied()
    }

    /// The active decision with this id.
    pub fn get(&self, id: u64) -> Option<&Decision> {
        self.decisions.get(&id)
    }

    /// Ids of decisions that are over at `now`.
    pub fn expired(&self, now: Timestamp) -> Vec<u64> {
        self.decisions.values().filter(|d| d.until.is_some_and(|until| until <= now)).map(|d| d.id).collect()
    }

    /// Ids of the decisions that stand at exactly this target.
    pub fn at(&self, target: &Target, kind: DecisionKind) -> Vec<u64> {
        let Target::Net(net) = target else { return Vec::new() };
        self.standing_at(*net).filter(|d| d.kind == kind).map(|d| d.id).collect()
    }

    /// The clock was set: every end moves with it.
    pub fn move_ends(&mut self, by: i64) {
        for decision in self.decisions.values_mut() {
            decision.until = decision.until.map(|until| moved(until, by));
        }
    }

    fn lengths_mut(&mut self, net: IpNet) -> &mut BTreeMap<u8, usize> {
        match net {
            IpNet::V4(_) => &mut self.v4_lengths,
            IpNet::V6(_) => &mut self.v6_lengths,
        }
    }
}

fn prefix_length(decision: &Decision) -> u8 {
    match decision.target {
        Target::Net(net) => net.prefix_len(),
        Target::Domain(_) | Target::DomainFor { .. } => 0,
    }
}

/// `net` and every wider prefix that holds it.
#[cfg(test)]
fn supernets(net: IpNet) -> impl Iterator<Item = IpNet> {
    (0..=net.prefix_len()).rev().map(move |length| with_length(net, length))
}

fn with_length(net: IpNet, length: u8) -> IpNet {
    match net {
        IpNet::V4(v4) => Ipv4Net::new(v4.addr(), length).map(|n| n.trunc().into()).unwrap_or(net),
        IpNet::V6(v6) => Ipv6Net::new(v6.addr(), length).map(|n| n.trunc().into()).unwrap_or(net),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Direction, Origin, OriginKind};
    use proptest::prelude::*;

    fn ban(id: u64, target: &str, until: Option<i64>, direction: Direction, mode: Mode) -> Decision {
        Decision {
            id,
            kind: DecisionKind::Ban,
            target: target.parse().unwrap(),
            direction,
            mode,
            since: Timestamp(i64::try_from(id).unwrap()),
            until: until.map(Timestamp),
            origin: Origin { kind: OriginKind::Person, name: "test".into(), at: None },
            evidence: Vec::new(),
        }
    }

    #[test]
    fn a_short_ban_inside_a_long_one_does_not_shorten_it() {
        let mut bans = Effective::default();
        bans.insert(ban(1, "198.51.100.0/24", Some(1000), Direction::In, Mode::Enforce));
        bans.insert(ban(2, "198.51.100.7", Some(10), Direction::Out, Mode::Enforce));
        let inner = bans.entry("198.51.100.7/32".parse().unwrap()).unwrap();
        assert_eq!(inner, Entry { until: Some(Timestamp(1000)), directions: 3, observe: false, decision: 2 });
        let (_, touched) = bans.remove(1);
        assert_eq!(touched.len(), 2);
        assert_eq!(bans.entry("198.51.100.0/24".parse().unwrap()), None);
        assert_eq!(bans.entry("198.51.100.7/32".parse().unwrap()).unwrap().directions, 2);
    }

    #[test]
    fn an_observed_ban_does_not_soften_an_enforced_one() {
        let mut bans = Effective::default();
        bans.insert(ban(1, "2001:db8::/32", None, Direction::In, Mode::Enforce));
        bans.insert(ban(2, "2001:db8::1", Some(10), Direction::In, Mode::Observe));
        let inner = bans.entry("2001:db8::1/128".parse().unwrap()).unwrap();
        assert_eq!(inner, Entry { until: None, directions: 1, observe: false, decision: 1 });
    }

    /// For every address: the longest prefix says what all active bans that hold the address say together, the enforced
    /// ones if there is one.
    fn says_the_same(bans: &Effective, active: &[Decision], address: std::net::IpAddr) {
        let net = IpNet::from(address);
        let longest = supernets(net).find_map(|wider| bans.entry(wider));
        let covering: Vec<_> =
            active.iter().filter(|d| matches!(d.target, Target::Net(n) if n.contains(&net))).collect();
        assert_eq!(longest.is_some(), !covering.is_empty());
        let Some(entry) = longest else { return };
        assert_eq!(entry.observe, covering.iter().all(|d| d.mode == Mode::Observe));
        let speaking: Vec<_> = covering.iter().filter(|d| entry.observe || d.mode == Mode::Enforce).collect();
        assert_eq!(entry.directions, speaking.iter().fold(0, |bits, d| bits | d.direction.bits()));
        let until = speaking.iter().map(|d| d.until.map_or(i64::MAX, |t| t.0)).max();
        assert_eq!(Some(entry.until.map_or(i64::MAX, |t| t.0)), until);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_longest_prefix_says_it_all(
            steps in prop::collection::vec((any::<u8>(), 20u8..=32, 1i64..50, 0u8..3, any::<bool>(), any::<bool>()), 1..40)
        ) {
            let mut bans = Effective::default();
            let mut active: Vec<Decision> = Vec::new();
            let mut written: BTreeMap<IpNet, Entry> = BTreeMap::new();
            for (id, (host, length, until, direction, observe, remove)) in (1u64..).zip(steps) {
                let touched = if remove && !active.is_empty() {
                    let gone = active.remove(usize::from(host) % active.len());
                    bans.remove(gone.id).1
                } else {
                    let direction = [Direction::In, Direction::Out, Direction::Both][usize::from(direction)];
                    let mode = if observe { Mode::Observe } else { Mode::Enforce };
                    let target = format!("10.0.{}.{host}/{length}", host & 3);
                    let decision = ban(id, &target, (until < 45).then_some(until), direction, mode);
                    active.push(decision.clone());
                    bans.insert(decision)
                };
                // Only the touched prefixes are written, as to the kernel; the whole must still be right.
                for net in touched {
                    match bans.entry(net) {
                        Some(entry) => { written.insert(net, entry); }
                        None => { written.remove(&net); }
                    }
                }
                let all: BTreeMap<IpNet, Entry> =
                    bans.nets().filter_map(|net| bans.entry(net).map(|entry| (net, entry))).collect();
                prop_assert_eq!(&written, &all);
                says_the_same(&bans, &active, std::net::Ipv4Addr::new(10, 0, host & 3, host).into());
            }
        }
    }
}
