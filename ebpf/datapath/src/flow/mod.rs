//! The flow table: find an entry, remember one, change one. The layout is [`abi::FlowPlace`]'s.
//!
//! Several CPUs and userspace use a set at once. Whoever writes a place takes its version from even to odd, and who
//! reads it looks at the version before and after. A read that met a write is a miss, a write that meets another is left
//! out: both cost the speed of one packet. (On machines that reorder loads a reader may see a mix for the nanoseconds
//! of a write; the next packet does not.)

mod state;

use abi::{
    Active, FLOW_ANSWERED, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FLOW_WAYS, FlowKey, FlowValue, KEY_IS_V4,
    KEY_PLACES, Lost, STATE_ASSURED, Strength, ZONE_NONE, nth_way, spot,
};

pub(crate) use state::{Watch, idle_for, incoming, is_closed, is_inspected, may_be_fast, outgoing};

use crate::{Tables, parse::TCP};

/// A set of places, shared with other CPUs and userspace. Ways are taken modulo [`FLOW_WAYS`], words modulo 16.
pub trait Places {
    /// A word of a place.
    fn load(&self, way: u32, word: u32) -> u64;
    /// Writes a word of a place that was taken, or a count.
    fn store(&self, way: u32, word: u32, value: u64);
    /// Writes the lower half of word 6: when the last packet was seen.
    fn mark(&self, way: u32, ticks: u32);
    /// The same number, of which the compiler knows nothing: what is made of it is computed, not branched on.
    fn opaque(word: u64) -> u64;
    /// Takes a place: makes the version, if it still is this even one, odd.
    fn take(&self, way: u32, version: u32) -> bool;
}

/// A place that holds the tuple asked for.
pub(crate) struct Found<S> {
    set: S,
    way: u32,
    version: u32,
}

const WORD_STANDING: u32 = 6;
const WORD_VERDICT: u32 = 7;
const WORD_PACKETS: u32 = 1;
const WORD_BYTES: u32 = 3;
const WORD_FIRST_SEEN: u32 = 10;
const WORD_COPIED: u32 = 11;
const WORD_HANDSHAKE: u32 = 12;
const WORD_DEVICE: u32 = 13;

/// What of a place a packet of a known flow looks at.
#[derive(Clone, Copy)]
pub(crate) struct Hot {
    pub(crate) way: u32,
    pub(crate) epoch: u32,
    pub(crate) standing: u64,
    pub(crate) verdict: u64,
    version: u32,
}

/// The place of a tuple, its first line read.
///
/// The way that is tried first and its neighbour are read together, and no branch tells which it is: two lines beside
/// each other that are not in the cache cost hardly more than one, a branch that was guessed wrong costs as much again.
#[inline(always)]
pub(crate) fn hot<S: Places>(set: &S, first_way: u32, words: &[u64; 5]) -> Option<Hot> {
    let neighbour_way = nth_way(first_way, 1);
    // Before the tuples, so that one that changes meanwhile shows.
    let (first, neighbour) = (set.load(first_way, 0), set.load(neighbour_way, 0));
    let not_first = sign_unless_zero::<S>(differs_near(set, first_way, words));
    let not_neighbour = sign_unless_zero::<S>(differs_near(set, neighbour_way, words));
    if (not_first & not_neighbour) >> 63 != 0 {
        return hot_of_others(set, first_way, words);
    }
    let is_neighbour = S::opaque(not_first >> 63);
    let way = nth_way(first_way, is_neighbour as u32);
    if differs_far(set, way, words) != 0 {
        return hot_at(set, neighbour_way, words).or_else(|| hot_of_others(set, first_way, words));
    }
    read(set, way, first ^ (first ^ neighbour) & is_neighbour.wrapping_neg())
}

/// The same in the two ways that are tried last.
#[inline(always)]
fn hot_of_others<S: Places>(set: &S, first_way: u32, words: &[u64; 5]) -> Option<Hot> {
    hot_at(set, nth_way(first_way, 2), words).or_else(|| hot_at(set, nth_way(first_way, 3), words))
}

/// The same in one way.
#[inline(always)]
fn hot_at<S: Places>(set: &S, way: u32, words: &[u64; 5]) -> Option<Hot> {
    let seen = set.load(way, 0);
    if differs(set, way, words) == 0 { read(set, way, seen) } else { None }
}

/// What stands in a place whose word 0 was `seen` before its tuple was compared; nothing if somebody writes it.
#[inline(always)]
fn read<S: Places>(set: &S, way: u32, seen: u64) -> Option<Hot> {
    let (standing, verdict) = (set.load(way, WORD_STANDING), set.load(way, WORD_VERDICT));
    let version = seen as u32;
    if version & 1 != 0 || set.load(way, 0) as u32 != version {
        return None;
    }
    Some(Hot { way, epoch: (seen >> 32) as u32, standing, verdict, version })
}

/// A number whose highest bit is set for every number but 0.
#[inline(always)]
fn sign_unless_zero<S: Places>(word: u64) -> u64 {
    S::opaque(word | word.wrapping_neg())
}

/// Counts a packet of a known flow that changes nothing, and marks when it was. All of that is in the line that was read.
#[inline(always)]
pub(crate) fn count<S: Places>(set: &S, way: u32, now: u32, length: u32) {
    set.mark(way, now);
    set.store(way, WORD_PACKETS, set.load(way, WORD_PACKETS).wrapping_add(1));
    set.store(way, WORD_BYTES, set.load(way, WORD_BYTES).wrapping_add(length as u64));
}

/// 0 if the tuple lies in this place.
#[inline(always)]
fn differs<S: Places>(set: &S, way: u32, words: &[u64; 5]) -> u64 {
    differs_near(set, way, words) | differs_far(set, way, words)
}

/// 0 if the first line of a place holds what it would hold of this tuple.
#[inline(always)]
fn differs_near<S: Places>(set: &S, way: u32, words: &[u64; 5]) -> u64 {
    let [_, source, _, destination, last] = *words;
    let [_, source_at, _, destination_at, last_at] = KEY_PLACES;
    let differs = (set.load(way, source_at) ^ source) | (set.load(way, last_at) ^ last);
    if last & KEY_IS_V4 != 0 { differs } else { differs | (set.load(way, destination_at) ^ destination) }
}

/// 0 if the second line does, where the first one does.
#[inline(always)]
fn differs_far<S: Places>(set: &S, way: u32, words: &[u64; 5]) -> u64 {
    let [source, _, destination, _, last] = *words;
    let [source_at, _, destination_at, _, _] = KEY_PLACES;
    if last & KEY_IS_V4 != 0 {
        return 0;
    }
    (set.load(way, source_at) ^ source) | (set.load(way, destination_at) ^ destination)
}

/// Asks the machine for the memory of the sets of a tuple and of its answers: all lines that will be looked at, and
/// those that will be written if the first places are free. They are slow to come, and come together.
#[inline(always)]
pub(crate) fn touch<T: Tables>(tables: &T, key: &FlowKey) {
    let Active { seed, flow_mask, .. } = tables.active();
    let there = spot(&key.words(), &seed, flow_mask);
    let back = spot(&key.answer_words(ZONE_NONE), &seed, flow_mask);
    if let (Some(there_set), Some(back_set)) = (tables.set(there.set), tables.set(back.set)) {
        for nth in 0..FLOW_WAYS as u32 {
            let _ = there_set.load(nth_way(there.way, nth), 0);
            let _ = back_set.load(nth_way(back.way, nth), 0);
        }
        let _ = there_set.load(there.way, WORD_FIRST_SEEN);
        let _ = back_set.load(back.way, WORD_FIRST_SEEN);
    }
}

/// Reads the entry of a tuple. `None`: there is none that stands at `now` (ticks).
#[inline(always)]
pub(crate) fn find<'a, T: Tables>(
    tables: &'a T,
    key: &FlowKey,
    now: u32,
    value: &mut FlowValue,
) -> Option<Found<T::Set<'a>>> {
    let active = tables.active();
    let words = key.words();
    let spot = spot(&words, &active.seed, active.flow_mask);
    let set = tables.set(spot.set)?;
    let Hot { way, epoch, standing, verdict, version } = hot(&set, spot.way, &words)?;
    let counts = [set.load(way, WORD_PACKETS), set.load(way, WORD_BYTES)];
    let cold = [
        set.load(way, WORD_FIRST_SEEN),
        set.load(way, WORD_COPIED),
        set.load(way, WORD_HANDSHAKE),
        set.load(way, WORD_DEVICE),
    ];
    *value = FlowValue::from_words(epoch, standing, verdict, counts, cold);
    if value.stands(now) { Some(Found { set, way, version }) } else { None }
}

impl<S: Places> Found<S> {
    /// Counts a packet.
    #[inline(always)]
    pub(crate) fn count(&self, now: u32, length: u32) {
        count(&self.set, self.way, now, length);
    }

    /// Notes that a packet of the other way was seen.
    #[inline(always)]
    pub(crate) fn mark(&self, now: u32) {
        self.set.mark(self.way, now);
    }

    /// More than counts would change.
    #[inline(always)]
    pub(crate) fn differs(&self, value: &FlowValue) -> bool {
        let Self { set, way, .. } = self;
        let [_, copied, handshake, _] = value.cold_words();
        // The lower half of word 6 is when the last packet was seen.
        (set.load(*way, WORD_STANDING) ^ value.standing_word()) >> 32
            | (set.load(*way, WORD_VERDICT) ^ value.verdict_word())
            | (set.load(*way, WORD_COPIED) ^ copied)
            | (set.load(*way, WORD_HANDSHAKE) ^ handshake)
            | (set.load(*way, 0) >> 32 ^ value.epoch as u64)
            != 0
    }

    /// Writes what changed of the entry, its counts excepted. Left out if another has written meanwhile.
    #[inline(always)]
    pub(crate) fn change(&self, value: &FlowValue) {
        let Self { set, way, version } = self;
        if !set.take(*way, *version) {
            return;
        }
        let [_, copied, handshake, _] = value.cold_words();
        set.store(*way, WORD_STANDING, value.standing_word());
        set.store(*way, WORD_VERDICT, value.verdict_word());
        set.store(*way, WORD_COPIED, copied);
        set.store(*way, WORD_HANDSHAKE, handshake);
        set.store(*way, 0, version.wrapping_add(2) as u64 | (value.epoch as u64) << 32);
    }
}

/// Enters a tuple where its set has a place that is free or half-open (the oldest). If there is none it is not
/// remembered: that is counted, and noted, so that its packets go to nftables rather than be taken for new ones.
#[inline(always)]
pub(crate) fn remember<T: Tables>(tables: &T, key: &FlowKey, value: &FlowValue, now: u32) {
    let Active { seed, flow_mask, .. } = tables.active();
    let words = key.words();
    let home = spot(&words, &seed, flow_mask);
    let Some(set) = tables.set(home.set) else { return };
    let mut best = NO_PLACE;
    let (mut best_way, mut best_version) = (0, 0);
    let mut tried = 0;
    while tried < FLOW_WAYS as u32 {
        let way = nth_way(home.way, tried);
        let version = set.load(way, 0) as u32;
        let standing = set.load(way, WORD_STANDING);
        let cost = if differs(&set, way, &words) == 0 {
            Cost::ours(standing, now)
        } else {
            Cost::of(standing, now, tried)
        };
        if cost < best && version & 1 == 0 {
            (best, best_way, best_version) = (cost, way, version);
        }
        tried += 1;
    }
    if best == KEEP {
        return;
    }
    if best == NO_PLACE || !set.take(best_way, best_version) {
        tables.forget(home.tag, now);
        tables.lost(Lost::Flow);
        return;
    }
    if best >= HALF_OPEN {
        forget_victim(tables, &set, best_way, &seed, now);
    }
    for (at, word) in KEY_PLACES.into_iter().zip(words) {
        set.store(best_way, at, word);
    }
    let [packets, bytes] = value.count_words();
    set.store(best_way, WORD_PACKETS, packets);
    set.store(best_way, WORD_BYTES, bytes);
    let [first_seen, copied, handshake, device] = value.cold_words();
    set.store(best_way, WORD_STANDING, value.standing_word());
    set.store(best_way, WORD_VERDICT, value.verdict_word());
    set.store(best_way, WORD_FIRST_SEEN, first_seen);
    set.store(best_way, WORD_COPIED, copied);
    set.store(best_way, WORD_HANDSHAKE, handshake);
    set.store(best_way, WORD_DEVICE, device);
    set.store(best_way, 0, best_version.wrapping_add(2) as u64 | (value.epoch as u64) << 32);
}

/// What it costs to take a place: less is better.
struct Cost;

/// The tuple's own place, still in use by both ends.
const KEEP: u64 = 0;
/// The tuple's own place.
const OURS: u64 = 1;
/// A free place; those tried first before the others.
const FREE: u64 = 2;
/// Another's half-open place, the older the better.
const HALF_OPEN: u64 = 1 << 40;
/// An assured one: not to be had.
const NO_PLACE: u64 = u64::MAX;

impl Cost {
    #[inline(always)]
    const fn of(standing: u64, now: u32, tried: u32) -> u64 {
        match Strength::of(standing, now) {
            Strength::Free => FREE + tried as u64,
            Strength::HalfOpen => {
                let age = now.wrapping_sub(standing as u32);
                HALF_OPEN + (u32::MAX - if age < 1 << 31 { age } else { 0 }) as u64
            }
            Strength::Assured => NO_PLACE,
        }
    }

    #[inline(always)]
    const fn ours(standing: u64, now: u32) -> u64 {
        let is_assured = (standing >> 48) as u8 == STATE_ASSURED;
        if is_assured && !matches!(Strength::of(standing, now), Strength::Free) { KEEP } else { OURS }
    }
}

/// A half-open entry makes way. Its answer may still come, and would be taken for a new flow where there is no sign in
/// the packet itself that it is none.
#[inline(always)]
fn forget_victim<T: Tables>(tables: &T, set: &T::Set<'_>, way: u32, seed: &[u64; 4], now: u32) {
    let flags = (set.load(way, WORD_STANDING) >> 56) as u8;
    let words = KEY_PLACES.map(|at| set.load(way, at));
    let protocol = (words[4] >> 32) as u8;
    if protocol != TCP && flags & (FLOW_REPLY | FLOW_TAUGHT | FLOW_ANSWERED) == 0 {
        return;
    }
    tables.forget(spot(&words, seed, 0).tag, now);
}

/// The tuple was forgotten lately.
#[inline(always)]
pub(crate) fn is_forgotten<T: Tables>(tables: &T, key: &FlowKey, now: u32) -> bool {
    let at = tables.forgotten(spot(&key.words(), &tables.active().seed, 0).tag);
    at != 0 && now.wrapping_sub(at) <= abi::ticks(abi::FORGOTTEN_NS)
}

/// The entry passes packets that change nothing without another look.
#[inline(always)]
pub(crate) const fn is_fast(standing: u64) -> bool {
    (standing >> 56) as u8 & FLOW_FAST != 0
}
