//! The flow table, read and cut from userspace in its own memory.
//!
//! A place is read between two looks at its version and written by whoever made that odd, as [`abi::FlowPlace`] says.
//! The packet programs never wait: a place that is being written is one that they do not know.

use abi::{
    Action, FLOW_BYPASS, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FLOW_WAYS as WAYS, FlowKey, FlowPlace, FlowSet,
    FlowValue, LINE_WORDS, MAX_ZONES, PLACE_WORDS, Reason, STATE_ANSWERED, STATE_ASSURED, STATE_EMPTY,
    STATE_NEW, Strength, TICK_SHIFT, ZONE_FIRST, ZoneId, idle_units, nth_way,
};
use aya::maps::Map;
use std::{
    collections::BTreeMap,
    hint::spin_loop,
    os::fd::AsFd as _,
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use super::{
    Error,
    active::ActiveWord,
    boot_now,
    clock::ticks_now,
    map_data,
    mapping::{Mapping, page_bytes},
    pinned,
};

/// Looks at a place that others write to, before it is taken as not there.
const PATIENCE: u32 = 10_000;
/// Seconds without packets for which an unknown flow that was cut stays so: as long as UDP with answers.
const CUT_IDLE: u64 = 180;

/// TCP's number (RFC 9293).
const TCP: u8 = 6;

/// Places of words in a place of the table.
const STANDING: usize = 6;
const VERDICT: usize = 7;

/// One way of a flow, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFlow {
    /// The tuple as it comes in at its zone.
    pub key: FlowKey,
    /// What is known of it.
    pub value: FlowValue,
}

impl KnownFlow {
    /// Boot time in ns of the last packet, to some 17 ms.
    #[must_use]
    pub fn last_seen(&self) -> u64 {
        let gone = ticks_now().wrapping_sub(self.value.last_seen);
        let gone = if gone < 1 << 31 { u64::from(gone) << TICK_SHIFT } else { 0 };
        boot_now().saturating_sub(gone)
    }
}

/// What the places of the table hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Places in all.
    pub places: usize,
    /// Held by flows that no newcomer displaces. Every flow has one for each way.
    pub assured: usize,
    /// Held by what was not answered or is no connection yet: a newcomer may take the oldest of them.
    pub half_open: usize,
    /// Held by what had no packets for too long: as good as free.
    pub idle: usize,
}

/// Flows that were opened from one zone, as far as the table still has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// Opened, of all protocols.
    pub opened: u64,
    /// Of these, TCP whose handshake nobody completed.
    pub unfinished: u64,
}

impl FlowCounts {
    fn add(&mut self, window: &Window, now: u32) {
        for place in (window.first..window.first + window.sets).flat_map(|set| window.ways(set)) {
            self.places += 1;
            let mut words = [0; PLACE_WORDS];
            words[STANDING] = place.near[STANDING].load(Ordering::Relaxed);
            let value = FlowPlace { words }.value();
            match value.strength(now) {
                Strength::Assured => self.assured += 1,
                Strength::HalfOpen => self.half_open += 1,
                Strength::Free => self.idle += usize::from(value.state != STATE_EMPTY),
            }
        }
    }
}

/// Sets that one window shows at most: a megabyte. The table is the kernel's memory, and what a process has mapped of it
/// counts as the process's own.
const WINDOW: u32 = 2048;
/// A handle on the flow table.
pub struct Flows {
    table: Map,
    /// Sets in a page of this machine: where a window may begin.
    page: u32,
    mask: u32,
    seed: [u64; 4],
}

/// A part of the table.
struct Window {
    memory: Mapping,
    first: u32,
    sets: u32,
}

impl Window {
    fn place(&self, set: u32, way: usize) -> Place<'_> {
        let at = (set - self.first) as usize * WAYS * PLACE_WORDS + way * LINE_WORDS;
        let words = self.memory.words();
        let far = at + WAYS * LINE_WORDS;
        Place {
            near: &words[at..at + LINE_WORDS],
            far: &words[far..far + LINE_WORDS],
            version: &self.memory.halves()[2 * at],
        }
    }

    /// The places of a set.
    fn ways(&self, set: u32) -> impl Iterator<Item = Place<'_>> {
        (0..WAYS).map(move |way| self.place(set, way))
    }

    /// Places of a set that hold a tuple: one, but for the moment in which two CPUs enter it.
    fn of_key(&self, set: u32, key: FlowKey) -> impl Iterator<Item = (Place<'_>, FlowValue)> {
        self.ways(set).filter_map(move |place| {
            let read = place.read()?;
            (read.key() == key && read.value().state != STATE_EMPTY).then(|| (place, read.value()))
        })
    }
}

impl Flows {
    pub(super) fn open(pins: &Path, active: &ActiveWord) -> Result<Self, Error> {
        let doing = "map the memory of FLOWS";
        let map = pinned(&pins.join("FLOWS"))?;
        let data = map_data(&map).ok_or_else(|| Error::kernel(doing)("not an array"))?;
        let word = active.lock().get();
        // What cannot be mapped now never can.
        Mapping::of(data.fd().as_fd(), page_bytes()).map_err(Error::kernel(doing))?;
        let page = u32::try_from(page_bytes() / size_of::<FlowSet>()).unwrap_or(1).max(1);
        Ok(Self { table: map, page, mask: word.flow_mask, seed: word.seed })
    }

    /// `sets` sets from `first` on, which begins a page.
    fn window(&self, first: u32, sets: u32) -> Result<Window, Error> {
        let doing = "map the memory of FLOWS";
        let data = map_data(&self.table).ok_or_else(|| Error::kernel(doing)("not an array"))?;
        let bytes = |sets: u32| sets as usize * size_of::<FlowSet>();
        let memory =
            Mapping::part_of(data.fd().as_fd(), bytes(first), bytes(sets)).map_err(Error::kernel(doing))?;
        Ok(Window { memory, first, sets })
    }

    /// The whole table, part by part.
    fn windows(&self) -> impl Iterator<Item = Result<Window, Error>> {
        let sets = WINDOW.min(self.mask + 1);
        (0..=self.mask).step_by(sets as usize).map(move |first| self.window(first, sets))
    }

    /// The page with the set of a tuple, and that set.
    fn page_of(&self, key: &FlowKey) -> Result<(Window, u32), Error> {
        let set = abi::spot(&key.words(), &self.seed, self.mask).set;
        Ok((self.window(set & !(self.page - 1), self.page)?, set))
    }

    /// The entry of a tuple, idle or not.
    ///
    /// # Errors
    /// The table cannot be mapped.
    pub fn get(&self, key: &FlowKey) -> Result<Option<FlowValue>, Error> {
        let (page, set) = self.page_of(key)?;
        let found = page.of_key(set, *key).next().map(|(_, value)| value);
        Ok(found)
    }

    /// Entries that are not idle, at most `limit`, in no order, each once. Every flow has one for each way.
    ///
    /// # Errors
    /// The table cannot be mapped.
    pub fn list(&self, limit: usize) -> Result<Vec<KnownFlow>, Error> {
        let now = ticks_now();
        let mut found: Vec<KnownFlow> = Vec::new();
        for window in self.windows() {
            let window = window?;
            for set in window.first..window.first + window.sets {
                // Two CPUs may enter the same tuple at once: it meets itself in its set only.
                let begun = found.len();
                for place in window.ways(set) {
                    if found.len() >= limit {
                        return Ok(found);
                    }
                    let Some(place) = place.read() else { continue };
                    let known = KnownFlow { key: place.key(), value: place.value() };
                    let is_new = found.iter().skip(begun).all(|other| other.key != known.key);
                    if known.value.stands(now) && is_new {
                        found.push(known);
                    }
                }
            }
        }
        Ok(found)
    }

    /// How full the table is, as far as it can be mapped.
    #[must_use]
    pub fn counts(&self) -> FlowCounts {
        let now = ticks_now();
        let mut counts = FlowCounts::default();
        for window in self.windows().map_while(Result::ok) {
            counts.add(&window, now);
        }
        counts
    }

    /// What was opened from each zone between two boot times in ns.
    ///
    /// # Errors
    /// The table cannot be mapped.
    pub fn openings(&self, from: u64, to: u64) -> Result<BTreeMap<ZoneId, Openings>, Error> {
        let mut zones: BTreeMap<ZoneId, Openings> = BTreeMap::new();
        for window in self.windows() {
            let window = window?;
            for set in window.first..window.first + window.sets {
                for place in window.ways(set).filter_map(|place| place.read()) {
                    let (key, value) = (place.key(), place.value());
                    let begun = value.state != STATE_EMPTY && (from..to).contains(&value.first_seen);
                    if !begun || value.flags & (FLOW_REPLY | FLOW_TAUGHT) != 0 {
                        continue;
                    }
                    let zone = zones.entry(key.zone).or_default();
                    zone.opened += 1;
                    let half_open = matches!(value.state, STATE_NEW | STATE_ANSWERED);
                    zone.unfinished += u64::from(half_open && key.protocol == TCP);
                }
            }
        }
        Ok(zones)
    }

    /// Cuts a flow both ways: nothing of it passes any more until it is idle, whatever the policy says. The tuple may
    /// be that of either way. Returns how many entries were cut; an unknown flow is entered as cut, so that its next
    /// packet finds it.
    ///
    /// # Errors
    /// The flow is unknown, and every place for it is held by flows that none displaces ([`Error::Full`]).
    pub fn cut_flow(&mut self, key: FlowKey, signature: u32) -> Result<usize, Error> {
        let entries = self.both_ways(&key)?;
        if entries.is_empty() {
            let value = FlowValue {
                first_seen: boot_now(),
                last_seen: ticks_now(),
                idle: idle_units(CUT_IDLE),
                state: STATE_ASSURED,
                zone_from: key.zone,
                ..FlowValue::default()
            };
            self.enter(&key, &cut(value, signature))?;
            return Ok(1);
        }
        for known in &entries {
            self.change(&known.key, |place| {
                let value = cut(place.value(), signature);
                place.stand(&value);
                place.near[VERDICT].store(value.verdict_word(), Ordering::Relaxed);
            })?;
        }
        Ok(entries.len())
    }

    /// Ends the inspection of a flow, both ways: nothing more of it is copied. An unknown flow is fine.
    ///
    /// # Errors
    /// The table cannot be mapped.
    pub fn bypass_flow(&mut self, key: FlowKey) -> Result<usize, Error> {
        let entries = self.both_ways(&key)?;
        for known in &entries {
            self.change(&known.key, |place| {
                let value = place.value();
                place.stand(&FlowValue { flags: value.flags | FLOW_BYPASS, ..value });
            })?;
        }
        Ok(entries.len())
    }

    /// Takes one entry out; absent is fine.
    ///
    /// # Errors
    /// The table cannot be mapped.
    pub fn forget(&mut self, key: &FlowKey) -> Result<(), Error> {
        self.change(key, |place| place.near[STANDING].store(0, Ordering::Relaxed))
    }

    /// Frees places that a process held when it was killed: their versions are odd and stay the same. Call it before
    /// anyone else writes.
    pub(super) fn free_abandoned(&self) -> Result<(), Error> {
        let mut odd: Vec<(u32, usize, u32)> = Vec::new();
        for window in self.windows() {
            let window = window?;
            for set in window.first..window.first + window.sets {
                let versions = window.ways(set).map(|place| place.version().load(Ordering::Acquire));
                let taken = versions.enumerate().filter(|(_, version)| !version.is_multiple_of(2));
                odd.extend(taken.map(|(way, version)| (set, way, version)));
            }
        }
        // A program that writes is done long before all of this was read.
        for (set, way, version) in odd {
            let page = self.window(set & !(self.page - 1), self.page)?;
            let place = page.place(set, way);
            if place.version().load(Ordering::Acquire) == version {
                place.near[STANDING].store(0, Ordering::Relaxed);
                place.version().store(version.wrapping_add(1), Ordering::Release);
            }
        }
        Ok(())
    }

    /// The entries of a tuple and of its answers. Answers of a translated flow come in under another tuple: what
    /// leaves towards the starter is stopped by the egress program, which looks at the starter's entry.
    fn both_ways(&self, key: &FlowKey) -> Result<Vec<KnownFlow>, Error> {
        let one = |key: FlowKey| Ok::<_, Error>(self.get(&key)?.map(|value| KnownFlow { key, value }));
        let mut entries: Vec<KnownFlow> = one(*key)?.into_iter().collect();
        for zone in zones_of_answers(entries.first()) {
            entries.extend(one(FlowKey {
                source: key.destination,
                destination: key.source,
                source_port: key.destination_port,
                destination_port: key.source_port,
                protocol: key.protocol,
                zone,
                reserved: [0; 2],
            })?);
        }
        Ok(entries)
    }

    /// Changes the entries of a tuple, each while it is held.
    fn change(&self, key: &FlowKey, change: impl Fn(&Held<'_>)) -> Result<(), Error> {
        let (page, set) = self.page_of(key)?;
        for (place, _) in page.of_key(set, *key) {
            if let Some(held) = place.take().filter(|held| held.key() == *key) {
                change(&held);
            }
        }
        Ok(())
    }

    /// Enters a tuple where a newcomer may.
    fn enter(&self, key: &FlowKey, value: &FlowValue) -> Result<(), Error> {
        let now = ticks_now();
        let first = abi::spot(&key.words(), &self.seed, self.mask).way;
        let (page, set) = self.page_of(key)?;
        let mut choices: Vec<(Strength, u32, usize)> = (0..WAYS as u32)
            .filter_map(|nth| {
                let way = nth_way(first, nth) as usize;
                let held = page.place(set, way).read()?.value();
                let age = now.wrapping_sub(held.last_seen);
                (held.strength(now) != Strength::Assured).then_some((held.strength(now), !age, way))
            })
            .collect();
        choices.sort_by_key(|(strength, youth, _)| (*strength, *youth));
        for (.., way) in choices {
            let Some(held) = page.place(set, way).take() else { continue };
            if held.value().strength(now) != Strength::Assured {
                held.write(key, value);
                return Ok(());
            }
        }
        let limit = (self.mask + 1).saturating_mul(WAYS as u32);
        Err(Error::Full { table: "the flow table (where this flow belongs)", limit })
    }
}

/// A place of the table.
#[derive(Clone, Copy)]
struct Place<'a> {
    near: &'a [AtomicU64],
    far: &'a [AtomicU64],
    version: &'a AtomicU32,
}

impl<'a> Place<'a> {
    const fn version(&self) -> &'a AtomicU32 {
        self.version
    }

    /// What lies here; none if others write all the time.
    fn read(&self) -> Option<FlowPlace> {
        for _ in 0..PATIENCE {
            let before = self.version.load(Ordering::Acquire);
            if before.is_multiple_of(2) {
                let place = self.copy();
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return Some(place);
                }
            }
            spin_loop();
        }
        None
    }

    fn copy(&self) -> FlowPlace {
        let mut words = [0; PLACE_WORDS];
        for (word, place) in words.iter_mut().zip(self.near.iter().chain(self.far)) {
            *word = place.load(Ordering::Relaxed);
        }
        FlowPlace { words }
    }

    /// Takes the place for writing; none if others have it all the time.
    fn take(self) -> Option<Held<'a>> {
        for _ in 0..PATIENCE {
            let version = self.version.load(Ordering::Relaxed);
            if version.is_multiple_of(2) {
                let odd = version.wrapping_add(1);
                let taken = self.version.compare_exchange(version, odd, Ordering::AcqRel, Ordering::Relaxed);
                if taken.is_ok() {
                    fence(Ordering::Release);
                    return Some(Held { place: self, version: odd });
                }
            }
            spin_loop();
        }
        None
    }
}

/// A place that nobody else writes; given back on drop.
struct Held<'a> {
    place: Place<'a>,
    version: u32,
}

impl Held<'_> {
    fn key(&self) -> FlowKey {
        self.place.copy().key()
    }

    fn value(&self) -> FlowValue {
        self.place.copy().value()
    }

    /// Writes all but the first word's lower half, the version.
    fn write(&self, key: &FlowKey, value: &FlowValue) {
        let place = FlowPlace::new(0, key, value);
        for (word, new) in self.near.iter().chain(self.far).zip(place.words).skip(1) {
            word.store(new, Ordering::Relaxed);
        }
        // The epoch, above the version.
        let first = u64::from(self.version) | place.words[0] & !u64::from(u32::MAX);
        self.near[0].store(first, Ordering::Relaxed);
    }

    /// Writes flags and time. The programs look at all again before they go their fast way again.
    fn stand(&self, value: &FlowValue) {
        let value = FlowValue { flags: value.flags & !FLOW_FAST, ..*value };
        self.near[STANDING].store(value.standing_word(), Ordering::Relaxed);
    }
}

impl<'a> std::ops::Deref for Held<'a> {
    type Target = Place<'a>;

    fn deref(&self) -> &Place<'a> {
        &self.place
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.place.version.store(self.version.wrapping_add(1), Ordering::Release);
    }
}

/// The entry, cut by a signature now.
fn cut(value: FlowValue, signature: u32) -> FlowValue {
    FlowValue {
        action: Action::Drop as u8,
        reason: Reason::Signature as u8,
        rule: signature,
        last_seen: ticks_now(),
        flags: value.flags & !FLOW_FAST,
        ..value
    }
}

/// The zones in which the other way may come in: the one the entry names, else any.
fn zones_of_answers(known: Option<&KnownFlow>) -> Vec<ZoneId> {
    match known {
        Some(known) if known.key.zone == known.value.zone_from => vec![known.value.zone_to],
        Some(known) => vec![known.value.zone_from],
        None => (ZONE_FIRST..u8::try_from(MAX_ZONES).unwrap_or(u8::MAX)).collect(),
    }
}
