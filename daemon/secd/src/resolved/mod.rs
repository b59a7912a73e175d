//! What the resolver answered to zones that open flows only to that: the table that the packet path asks, its copy with
//! the names behind it, and how both outlive the daemon and the machine.
//!
//! An answer is written before it leaves, with one write to the kernel's table where it is new and none where it is not.
//! The lock is never held over a file: what is kept is copied a page at a time.

mod claims;
mod kept;
mod patterns;

use abi::{MAX_RESOLVED, ResolvedKey, ResolvedValue, resolver_zone};
use anyhow::Result;
use policy::{from_kernel, to_kernel};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    ops::Bound,
    time::Duration,
};

use claims::{Askers, Claims};
pub use kept::{KeptAnswer, KeptAnswers, read, write};
pub use patterns::Patterns;

/// How long flows may be opened to an address after its time to live: devices keep addresses for longer than they were
/// told, and begin again with old ones after a night's sleep.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);
/// An entry is not written anew for less than this: an answer that is given again and again costs one write an hour.
const LATE: Duration = Duration::from_secs(3600);
/// The longest time to live that counts.
pub const MAX_TTL: Duration = Duration::from_secs(7 * 86_400);
/// Addresses that are learned of an answer, the first. Answers that names get in earnest have a few; a packet with more
/// comes from somebody who wants the table full.
pub const MAX_LEARNED: usize = 64;
/// Who asked for what was known before the daemon started: that is not kept.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Names that are remembered of an address, the latest.
pub const MAX_NAMES: usize = 2;
/// Entries that are copied or taken out while answers wait.
const PAGE: usize = 512;

/// The table in the kernel.
pub trait Table: Send {
    /// Writes an entry.
    ///
    /// # Errors
    /// It is full, or refuses.
    fn set(&mut self, key: ResolvedKey, value: ResolvedValue) -> Result<()>;
    /// Removes an entry; absent is fine.
    ///
    /// # Errors
    /// It refuses.
    fn remove(&mut self, key: &ResolvedKey) -> Result<()>;
}

impl Table for enforce::xdp::Resolved {
    fn set(&mut self, key: ResolvedKey, value: ResolvedValue) -> Result<()> {
        Ok(Self::set(self, key, value)?)
    }

    fn remove(&mut self, key: &ResolvedKey) -> Result<()> {
        Ok(Self::remove(self, key)?)
    }
}

/// What was answered, by zone.
pub struct Answers<T> {
    zones: BTreeMap<u32, Zone>,
    patterns: Patterns,
    table: T,
    /// Something changed since it was last kept.
    changed: bool,
    /// What the kernel's table did not take, and the last reason.
    refused: (u64, Option<String>),
}

struct Zone {
    name: String,
    entries: BTreeMap<IpAddr, Entry>,
    /// The same by when they end, boot time in ns.
    ends: BTreeSet<(u64, IpAddr)>,
    claims: Claims,
    pushed_out: u64,
}

impl Zone {
    fn remove(&mut self, address: IpAddr) {
        if let Some(entry) = self.entries.remove(&address) {
            self.ends.remove(&(entry.until, address));
            self.claims.gone(entry.askers, address);
        }
    }

    /// The address that goes when there is no room: nobody has a claim to it any more.
    fn unclaimed(&mut self) -> Option<IpAddr> {
        while let Some((asker, address)) = self.claims.next_to_lose()
            && let Some(entry) = self.entries.get_mut(&address)
        {
            self.claims.lose(&mut entry.askers, address, asker);
            if entry.askers.is_empty() {
                return Some(address);
            }
        }
        None
    }
}

#[derive(Clone, Debug)]
struct Entry {
    /// Boot time in ns.
    until: u64,
    /// Bits of the patterns of all names it was answered for.
    patterns: u64,
    /// The latest first.
    names: Vec<Box<str>>,
    askers: Askers,
}

/// What a zone learns from an answer.
#[derive(Clone, Copy, Debug)]
pub struct Learned<'a> {
    /// The zone.
    pub zone: &'a str,
    /// Who asked.
    pub client: IpAddr,
    /// The name it asked for.
    pub name: &'a str,
    /// The name may be remembered.
    pub is_remembered: bool,
    /// Every address of the answer.
    pub addresses: &'a [IpAddr],
    /// Seconds it may keep them.
    pub ttl: u32,
}

/// What is known of an address that was answered to a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The zone.
    pub zone: String,
    /// The address.
    pub address: IpAddr,
    /// Until when flows may be opened there, boot time in ns.
    pub until: u64,
    /// Names it was answered for, the latest first, at most [`MAX_NAMES`].
    pub names: Vec<String>,
    /// Bits of the patterns of all of them.
    pub patterns: u64,
}

/// How full a zone's part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The zone.
    pub zone: String,
    /// Entries.
    pub entries: u64,
    /// Addresses that had to make way for others before their time, or were beyond [`MAX_LEARNED`] in their answer.
    pub pushed_out: u64,
}

impl<T: Table> Answers<T> {
    /// Nothing was answered to anyone.
    pub fn new(table: T) -> Self {
        Self {
            zones: BTreeMap::new(),
            patterns: Patterns::default(),
            table,
            changed: false,
            refused: (0, None),
        }
    }

    /// From now on answers to these zones count. Those of others go, unless `others_stay` since they may be needed again.
    pub fn configure<'z>(&mut self, zones: impl IntoIterator<Item = &'z str>, others_stay: bool) {
        let wanted: BTreeMap<u32, &str> = zones.into_iter().map(|name| (resolver_zone(name), name)).collect();
        if !others_stay {
            let gone: Vec<u32> =
                self.zones.keys().filter(|zone| !wanted.contains_key(zone)).copied().collect();
            for number in gone {
                let addresses = self.zones.remove(&number).map(|zone| zone.entries).unwrap_or_default();
                addresses.keys().for_each(|address| self.forget(number, *address));
                self.changed = true;
            }
        }
        for (number, name) in wanted {
            self.zones.entry(number).or_insert_with(|| Zone {
                name: name.to_owned(),
                entries: BTreeMap::new(),
                ends: BTreeSet::new(),
                claims: Claims::default(),
                pushed_out: 0,
            });
        }
        // More zones, smaller shares.
        let numbers: Vec<u32> = self.zones.keys().copied().collect();
        for number in numbers {
            self.make_room(number, self.share());
        }
    }

    /// Pushes out of a zone what those who asked for most asked for longest ago, until it has at most so many entries.
    fn make_room(&mut self, number: u32, most: usize) {
        while let Some(zone) = self.zones.get_mut(&number).filter(|zone| zone.entries.len() > most)
            && let Some(address) = zone.unclaimed()
        {
            zone.remove(address);
            zone.pushed_out += 1;
            self.changed = true;
            self.forget(number, address);
        }
    }

    /// A zone is about to learn addresses. `now`: boot time in ns. In the kernel when it returns.
    pub fn answered(&mut self, learned: &Learned<'_>, now: u64) {
        let number = resolver_zone(learned.zone);
        let Some(zone) = self.zones.get_mut(&number) else { return };
        zone.pushed_out += learned.addresses.len().saturating_sub(MAX_LEARNED) as u64;
        let ttl = Duration::from_secs(learned.ttl.into()).min(MAX_TTL);
        let name = if learned.is_remembered { learned.name } else { "" };
        let patterns = self.patterns.of(learned.name);
        let least = now.saturating_add(nanoseconds(ttl + GRACE));
        let until = (least, least.saturating_add(nanoseconds(LATE)));
        let asker = (learned.client.to_canonical(), now);
        let first = learned.addresses.iter().take(MAX_LEARNED).map(IpAddr::to_canonical);
        for address in first.filter(is_someones) {
            self.learn((number, address), asker, name, patterns, until);
        }
    }

    /// Writes an entry, unless it lasts at least until `least` already, for names of these patterns.
    fn learn(
        &mut self,
        (number, address): (u32, IpAddr),
        (asker, now): (IpAddr, u64),
        name: &str,
        mut patterns: u64,
        (least, mut until): (u64, u64),
    ) {
        let share = self.share();
        let Some(zone) = self.zones.get_mut(&number) else { return };
        if let Some(entry) = zone.entries.get_mut(&address) {
            let is_known = entry.names.iter().any(|known| **known == *name);
            if !is_known && !name.is_empty() {
                entry.names.truncate(MAX_NAMES - 1);
                entry.names.insert(0, name.into());
                self.changed = true;
            }
            zone.claims.asked(&mut entry.askers, address, asker, now);
            let lasts = entry.until >= least;
            patterns |= entry.patterns;
            if lasts && patterns == entry.patterns {
                return;
            }
            zone.ends.remove(&(entry.until, address));
            if lasts {
                until = entry.until;
            }
            (entry.until, entry.patterns) = (until, patterns);
        } else {
            // One of this zone goes, so that no zone takes another's part.
            self.make_room(number, share.saturating_sub(1));
            let Some(zone) = self.zones.get_mut(&number) else { return };
            let names = if name.is_empty() { Vec::new() } else { vec![name.into()] };
            let mut askers = Askers::new();
            zone.claims.asked(&mut askers, address, asker, now);
            zone.entries.insert(address, Entry { until, patterns, names, askers });
        }
        let Some(zone) = self.zones.get_mut(&number) else { return };
        zone.ends.insert((until, address));
        self.changed = true;
        self.write((number, address), ResolvedValue { until, patterns });
    }

    /// Writes to the kernel's table. What that does not take is in neither: the next answer tries again.
    fn write(&mut self, (number, address): (u32, IpAddr), value: ResolvedValue) {
        let key = ResolvedKey { address: to_kernel(address), zone: number };
        let Err(error) = self.table.set(key, value) else { return };
        self.refuse(&error);
        if let Some(zone) = self.zones.get_mut(&number) {
            zone.remove(address);
        }
        // It may hold what was there before, with bits that mean something else now.
        self.forget(number, address);
    }

    /// The patterns.
    pub fn patterns(&self) -> &Patterns {
        &self.patterns
    }

    /// Gives patterns of names bits, see [`Patterns::assign`]; [`Self::match_again`] has to follow with the bits that are
    /// returned, before any rule is asked by them.
    pub fn assign(&mut self, wanted: &[&str], in_force: &[&str]) -> Option<u64> {
        let changed = self.patterns.assign(wanted, in_force)?;
        self.changed |= changed != 0;
        Some(changed)
    }

    /// Only these patterns are in force: the others give their bits back.
    pub fn in_force(&mut self, patterns: &[&str]) {
        self.changed |= self.patterns.retain(patterns);
    }

    /// Finds out which entries were answered for patterns that got these bits, for a page of entries behind `after`; by the
    /// names that are remembered. Returns the last of the page; none = that was all.
    pub fn match_again(&mut self, bits: u64, after: Option<(u32, IpAddr)>) -> Option<(u32, IpAddr)> {
        let page: Vec<(u32, IpAddr)> = self.page(after).into_iter().map(|(place, _)| place).collect();
        for place in &page {
            let Some(entry) = self.zones.get_mut(&place.0).and_then(|zone| zone.entries.get_mut(&place.1))
            else {
                continue;
            };
            let found = entry.names.iter().fold(0, |found, name| found | self.patterns.of(name)) & bits;
            let patterns = entry.patterns & !bits | found;
            if patterns != entry.patterns {
                entry.patterns = patterns;
                let value = ResolvedValue { until: entry.until, patterns };
                self.write(*place, value);
            }
        }
        page.last().copied()
    }

    /// Entries that each zone may have.
    fn share(&self) -> usize {
        MAX_RESOLVED as usize / self.zones.len().max(1)
    }

    fn forget(&mut self, zone: u32, address: IpAddr) {
        let key = ResolvedKey { address: to_kernel(address), zone };
        if let Err(error) = self.table.remove(&key) {
            self.refuse(&error);
        }
    }

    fn refuse(&mut self, error: &anyhow::Error) {
        self.refused.0 += 1;
        self.refused.1 = Some(format!("{error:#}"));
    }

    /// Takes out what is over, a page of it; whether there is more.
    pub fn expire(&mut self, now: u64) -> bool {
        let over = self.zones.iter().flat_map(|(number, zone)| {
            zone.ends.iter().take_while(|(until, _)| *until <= now).map(|(_, address)| (*number, *address))
        });
        let over: Vec<(u32, IpAddr)> = over.take(PAGE).collect();
        for (number, address) in &over {
            if let Some(zone) = self.zones.get_mut(number) {
                zone.remove(*address);
            }
            self.forget(*number, *address);
        }
        over.len() == PAGE
    }

    /// What is known of an address, by zone.
    pub fn of_address(&self, address: IpAddr, now: u64) -> Vec<Known> {
        let address = address.to_canonical();
        let of = |zone: &Zone| Some(known(zone, address, zone.entries.get(&address)?));
        self.zones.values().filter_map(of).filter(|known| known.until > now).collect()
    }

    /// The addresses that were answered for a name, by zone: at most a page.
    pub fn of_name(&self, name: &str, now: u64) -> Vec<Known> {
        let all = self.zones.values().flat_map(|zone| zone.entries.iter().map(move |entry| (zone, entry)));
        let named = all.filter(|(_, (_, entry))| entry.names.iter().any(|known| **known == *name));
        named
            .filter(|(_, (_, entry))| entry.until > now)
            .map(|(zone, (address, entry))| known(zone, *address, entry))
            .take(PAGE)
            .collect()
    }

    /// How full it is.
    pub fn fill(&self) -> Vec<Fill> {
        let fill = |zone: &Zone| Fill {
            zone: zone.name.clone(),
            entries: zone.entries.len() as u64,
            pushed_out: zone.pushed_out,
        };
        self.zones.values().map(fill).collect()
    }

    /// How often the kernel's table did not take a change, and why the last time.
    pub fn refused(&self) -> (u64, Option<&str>) {
        (self.refused.0, self.refused.1.as_deref())
    }

    /// Whether something changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// It has to be kept, since it could not be before or the bits mean something else.
    pub fn keep_again(&mut self) {
        self.changed = true;
    }

    /// A page of entries behind `after`, in order.
    pub fn page(&self, after: Option<(u32, IpAddr)>) -> Vec<((u32, IpAddr), Known)> {
        let first = after.map_or(0, |(zone, _)| zone);
        let entries = self.zones.range(first..).flat_map(|(number, zone)| {
            let start = match after {
                Some((last, address)) if last == *number => Bound::Excluded(address),
                Some(_) | None => Bound::Unbounded,
            };
            let entries = zone.entries.range((start, Bound::Unbounded));
            entries.map(|(address, entry)| ((*number, *address), known(zone, *address, entry)))
        });
        entries.take(PAGE).collect()
    }

    /// Puts back what was kept, and takes over what an earlier run left in the kernel: a zone's answers last as long as
    /// either says. What belongs to no zone of now goes. `now`: boot time in ns.
    pub fn restore(&mut self, kept: KeptAnswers, in_kernel: Vec<(ResolvedKey, ResolvedValue)>, now: u64) {
        let most = now.saturating_add(nanoseconds(MAX_TTL + GRACE + LATE));
        let mut found: BTreeMap<(u32, IpAddr), Entry> = BTreeMap::new();
        self.patterns = Patterns::kept(kept.patterns);
        for answer in kept.answers {
            let place = (resolver_zone(&answer.zone), answer.address.to_canonical());
            let left = Duration::from_secs(answer.seconds);
            let until = now.saturating_add(nanoseconds(left)).min(most);
            let mut names: Vec<Box<str>> = answer.names.into_iter().map(Into::into).collect();
            names.truncate(MAX_NAMES);
            let patterns = names.iter().fold(0, |bits, name| bits | self.patterns.of(name)) | answer.patterns;
            let patterns = patterns & self.patterns.bits();
            found.insert(place, Entry { until, patterns, names, askers: Askers::new() });
        }
        for (key, value) in in_kernel {
            let (zone, address) = (key.zone, from_kernel(&key.address));
            if !self.zones.contains_key(&zone) {
                self.forget(zone, address);
                continue;
            }
            let unknown = || Entry { until: 0, patterns: 0, names: Vec::new(), askers: Askers::new() };
            let entry = found.entry((zone, address)).or_insert_with(unknown);
            entry.until = entry.until.max(value.until.min(most));
            // Without the file nobody knows what the bits mean.
            entry.patterns |= value.patterns & self.patterns.bits();
        }
        for ((zone, address), entry) in found {
            if self.zones.contains_key(&zone) && entry.until > now && is_someones(&address) {
                // What lasts longest was asked for last.
                let until = (entry.until, entry.until);
                self.learn((zone, address), (NOBODY, entry.until), "", entry.patterns, until);
                if let Some(place) = self.zones.get_mut(&zone).and_then(|zone| zone.entries.get_mut(&address))
                {
                    place.names = entry.names;
                }
            }
        }
        self.changed = false;
    }
}

fn known(zone: &Zone, address: IpAddr, entry: &Entry) -> Known {
    let names = entry.names.iter().map(ToString::to_string).collect();
    Known { zone: zone.name.clone(), address, until: entry.until, names, patterns: entry.patterns }
}

/// Whether flows go out to such an address at all.
fn is_someones(address: &IpAddr) -> bool {
    !address.is_unspecified() && !address.is_loopback() && !address.is_multicast()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
