//! The flow table: one array of sets of four places, 128 bytes a place.
//!
//! A place is sixteen words. The first eight (one cache line) are what a packet of a known flow needs, the others are
//! read when somebody asks; in a set the four first lines come before the four second ones, so that the two lines that
//! a packet looks at are neighbours. Word 0 begins with a version: odd while the place is being written, and changed
//! by every write, so a reader that finds it changed has read nothing. Whoever writes takes it by compare-exchange
//! first.
//!
//! A key needs five words. The upper halves of both addresses lie in the second line, and packets and bytes are
//! counted in the first. IPv4 addresses have no upper halves, so an IPv4 packet needs no other line ([`KEY_IS_V4`]).
//!
//! Times are *ticks*: `CLOCK_MONOTONIC` shifted right by [`TICK_SHIFT`], 32 bits, which wrap after 2.2 years.

use crate::{Address, RULE_NONE, ZoneId};

/// Nanoseconds to ticks: one tick is 2^24 ns, 16.8 ms.
pub const TICK_SHIFT: u32 = 24;
/// Ticks in one unit of [`FlowValue::idle`]: 0.27 s.
pub const IDLE_UNIT: u32 = 16;
/// Places in a set.
pub const FLOW_WAYS: usize = 4;
/// Words of a place.
pub const PLACE_WORDS: usize = 16;
/// Words of a line of the cache: half a place.
pub const LINE_WORDS: usize = PLACE_WORDS / 2;
/// Where the words of a key lie in a place.
pub const KEY_PLACES: [u32; 5] = [8, 2, 9, 4, 5];
/// In the last word of a key: both addresses are v4-mapped and lie in the second word alone, the source first.
pub const KEY_IS_V4: u64 = 1 << 48;
/// In the last word of a key: the zone.
const KEY_ZONE: u64 = 0xff << 40;
/// The second half of a v4-mapped address without the IPv4 address.
const MAPPED_WORD: u64 = 0xffff_0000;

/// A moment or span of `CLOCK_MONOTONIC` in ns as ticks.
#[inline(always)]
#[must_use]
pub const fn ticks(nanoseconds: u64) -> u32 {
    (nanoseconds >> TICK_SHIFT) as u32
}

/// A span in seconds as units of [`FlowValue::idle`], rounded up; at most 17,592 s.
#[must_use]
pub const fn idle_units(seconds: u64) -> u16 {
    let units = (seconds * 1_000_000_000).div_ceil(1 << TICK_SHIFT).div_ceil(IDLE_UNIT as u64);
    if units > u16::MAX as u64 { u16::MAX } else { units as u16 }
}

/// A tuple as it comes in at one zone; every flow has one for each way. Aligned, so that it is read by words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port; for ICMP echo the identifier.
    pub source_port: [u8; 2],
    /// Destination port; for ICMP echo the identifier.
    pub destination_port: [u8; 2],
    /// IP protocol.
    pub protocol: u8,
    /// Zone in which packets of this tuple arrive.
    pub zone: ZoneId,
    /// Zero.
    pub reserved: [u8; 2],
}

impl FlowKey {
    /// The key as it lies in the words [`KEY_PLACES`] of a place.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u64; 5] {
        let [source_high, source_low] = address_words(&self.source);
        let [destination_high, destination_low] = address_words(&self.destination);
        let ([a, b], [c, d]) = (self.source_port, self.destination_port);
        let last = u64::from_le_bytes([a, b, c, d, self.protocol, self.zone, 0, 0]);
        let is_v4 = source_high | destination_high == 0
            && source_low as u32 as u64 == MAPPED_WORD
            && destination_low as u32 as u64 == MAPPED_WORD;
        if is_v4 {
            [0, source_low >> 32 | destination_low & !(u32::MAX as u64), 0, 0, last | KEY_IS_V4]
        } else {
            [source_high, source_low, destination_high, destination_low, last]
        }
    }

    /// The same of the tuple of the answers, as they come in at `zone`.
    #[inline(always)]
    #[must_use]
    pub const fn answer_words(&self, zone: ZoneId) -> [u64; 5] {
        let [source_high, source_low, destination_high, destination_low, last] = self.words();
        let ([a, b], [c, d]) = (self.source_port, self.destination_port);
        let is_v4 = last & KEY_IS_V4;
        let last = u64::from_le_bytes([c, d, a, b, self.protocol, zone, 0, 0]) | is_v4;
        if is_v4 != 0 {
            [0, source_low.rotate_left(32), 0, 0, last]
        } else {
            [destination_high, destination_low, source_high, source_low, last]
        }
    }

    /// The key that these words are.
    #[must_use]
    pub const fn from_words(words: [u64; 5]) -> Self {
        let [source_high, source_low, destination_high, destination_low, last] = words;
        let [a, b, c, d, protocol, zone, _, _] = last.to_le_bytes();
        let (source, destination) = if last & KEY_IS_V4 == 0 {
            (address_from(source_high, source_low), address_from(destination_high, destination_low))
        } else {
            let destination = MAPPED_WORD | source_low & !(u32::MAX as u64);
            (address_from(0, MAPPED_WORD | source_low << 32), address_from(0, destination))
        };
        Self {
            source,
            destination,
            source_port: [a, b],
            destination_port: [c, d],
            protocol,
            zone,
            reserved: [0; 2],
        }
    }
}

/// The two halves of an address as the machine loads them.
#[inline(always)]
#[must_use]
pub const fn address_words(address: &Address) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])]
}

const fn address_from(high: u64, low: u64) -> Address {
    let [a, b, c, d, e, f, g, h] = high.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = low.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Nothing is known of a place: it is free.
pub const STATE_EMPTY: u8 = 0;
/// TCP: a SYN was seen. Others: no answer yet.
pub const STATE_NEW: u8 = 1;
/// TCP: a SYN-ACK was seen; [`FlowValue::isn`] is its sequence number, which the third packet has to acknowledge.
pub const STATE_ANSWERED: u8 = 2;
/// Both ends take part: no newcomer takes this place.
pub const STATE_ASSURED: u8 = 3;
/// TCP: a FIN was seen of an assured connection.
pub const STATE_CLOSING: u8 = 4;
/// TCP: a RST was seen.
pub const STATE_CLOSED: u8 = 5;

/// Packets of this tuple answer a flow that started at the other end.
pub const FLOW_REPLY: u8 = 1;
/// Entered by the egress program: with [`FLOW_REPLY`] we started it (own connections, translated flows); without,
/// it was seen in its middle and either end may have.
pub const FLOW_TAUGHT: u8 = 2;
/// Inspection is over: nothing more is copied.
pub const FLOW_BYPASS: u8 = 4;
/// A packet of the other way was seen.
pub const FLOW_ANSWERED: u8 = 8;
/// Under the entry's epoch packets that change nothing pass at once. Whoever makes the entry say anything else
/// (a cut) clears it.
pub const FLOW_FAST: u8 = 128;

/// What a place says, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// Epoch under which it was judged.
    pub epoch: u32,
    /// Ticks of the last packet.
    pub last_seen: u32,
    /// Units of 16 ticks without packets after which the entry is over.
    pub idle: u16,
    /// `STATE_*`.
    pub state: u8,
    /// `FLOW_*` bits.
    pub flags: u8,
    /// Rule, list, decision or signature, by `reason`.
    pub rule: u32,
    /// [`crate::Action`] as number.
    pub action: u8,
    /// [`crate::Reason`] as number.
    pub reason: u8,
    /// Zone in which the flow started.
    pub zone_from: ZoneId,
    /// Zone to which it goes.
    pub zone_to: ZoneId,
    /// Packets of this way.
    pub packets: u64,
    /// Bytes of this way, L2 header included.
    pub bytes: u64,
    /// Boot time in ns of the first packet.
    pub first_seen: u64,
    /// Bytes copied for inspection.
    pub copied: u32,
    /// Bytes of the answers that were copied for inspection.
    pub copied_reply: u32,
    /// Sequence number of the SYN-ACK, in [`STATE_ANSWERED`].
    pub isn: u32,
    /// TCP flags seen this way.
    pub tcp_flags: u8,
    /// MAC address of the device that started it, as a number; 0 = not known.
    pub device: u64,
}

impl FlowValue {
    /// Word 6: what a packet looks at first.
    #[inline(always)]
    #[must_use]
    pub const fn standing_word(&self) -> u64 {
        self.last_seen as u64
            | (self.idle as u64) << 32
            | (self.state as u64) << 48
            | (self.flags as u64) << 56
    }

    /// Word 7: the verdict.
    #[inline(always)]
    #[must_use]
    pub const fn verdict_word(&self) -> u64 {
        self.rule as u64
            | (self.action as u64) << 32
            | (self.reason as u64) << 40
            | (self.zone_from as u64) << 48
            | (self.zone_to as u64) << 56
    }

    /// Words 1 and 3: what is counted.
    #[inline(always)]
    #[must_use]
    pub const fn count_words(&self) -> [u64; 2] {
        [self.packets, self.bytes]
    }

    /// Words 10 to 13: what is rarely asked.
    #[inline(always)]
    #[must_use]
    pub const fn cold_words(&self) -> [u64; 4] {
        [
            self.first_seen,
            self.copied as u64 | (self.copied_reply as u64) << 32,
            self.isn as u64 | (self.tcp_flags as u64) << 32,
            self.device,
        ]
    }

    /// What these words say: the upper half of word 0, words 6, 7, those of the counts, and 10 to 13.
    #[inline(always)]
    #[must_use]
    pub const fn from_words(
        epoch: u32,
        standing: u64,
        verdict: u64,
        counts: [u64; 2],
        cold: [u64; 4],
    ) -> Self {
        let [packets, bytes] = counts;
        let [first_seen, copied, handshake, device] = cold;
        Self {
            epoch,
            last_seen: standing as u32,
            idle: (standing >> 32) as u16,
            state: (standing >> 48) as u8,
            flags: (standing >> 56) as u8,
            rule: verdict as u32,
            action: (verdict >> 32) as u8,
            reason: (verdict >> 40) as u8,
            zone_from: (verdict >> 48) as u8,
            zone_to: (verdict >> 56) as u8,
            packets,
            bytes,
            first_seen,
            copied: copied as u32,
            copied_reply: (copied >> 32) as u32,
            isn: handshake as u32,
            tcp_flags: (handshake >> 32) as u8,
            device,
        }
    }

    /// The entry stands at this moment. A clock that seems to run back (two CPUs) counts as standing still.
    #[inline(always)]
    #[must_use]
    pub const fn stands(&self, now: u32) -> bool {
        self.state != STATE_EMPTY && !is_idle(self.last_seen, self.idle, now)
    }

    /// How well the entry holds its place at this moment.
    #[inline(always)]
    #[must_use]
    pub const fn strength(&self, now: u32) -> Strength {
        Strength::of(self.standing_word(), now)
    }

    /// No rule, list or signature stands behind the entry.
    #[must_use]
    pub const fn is_of_no_rule(&self) -> bool {
        self.rule == RULE_NONE
    }
}

/// More ticks than `idle` units went by between the two moments.
#[inline(always)]
#[must_use]
pub const fn is_idle(last_seen: u32, idle: u16, now: u32) -> bool {
    let gone = now.wrapping_sub(last_seen);
    // The upper half is the past of a clock that ran back.
    gone < 1 << 31 && gone > idle as u32 * IDLE_UNIT
}

/// How well an entry holds its place against newcomers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Empty or idle: anyone may take it.
    Free,
    /// Not answered, or not yet a connection: a newcomer may take the oldest of them.
    HalfOpen,
    /// No newcomer takes it.
    Assured,
}

impl Strength {
    /// Of an entry with this word 6.
    #[inline(always)]
    #[must_use]
    pub const fn of(standing: u64, now: u32) -> Self {
        let (last_seen, idle, state) = (standing as u32, (standing >> 32) as u16, (standing >> 48) as u8);
        if state == STATE_EMPTY || is_idle(last_seen, idle, now) {
            Self::Free
        } else if matches!(state, STATE_ASSURED | STATE_CLOSING) {
            Self::Assured
        } else {
            Self::HalfOpen
        }
    }
}

/// A place, its two lines one behind the other. Words 14 and 15 are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowPlace {
    /// The sixteen words.
    pub words: [u64; PLACE_WORDS],
}

impl FlowPlace {
    /// The version: odd while somebody writes.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.words[0] as u32
    }

    /// The key that lies here.
    #[must_use]
    pub const fn key(&self) -> FlowKey {
        let w = &self.words;
        FlowKey::from_words([w[8], w[2], w[9], w[4], w[5]])
    }

    /// What lies here.
    #[must_use]
    pub const fn value(&self) -> FlowValue {
        let w = &self.words;
        let cold = [w[10], w[11], w[12], w[13]];
        FlowValue::from_words((w[0] >> 32) as u32, w[6], w[7], [w[1], w[3]], cold)
    }

    /// A place that holds this entry, with an even version.
    #[must_use]
    pub const fn new(version: u32, key: &FlowKey, value: &FlowValue) -> Self {
        let [k8, k2, k9, k4, k5] = key.words();
        let [c1, c3] = value.count_words();
        let [c10, c11, c12, c13] = value.cold_words();
        let first = (version & !1) as u64 | (value.epoch as u64) << 32;
        let (standing, verdict) = (value.standing_word(), value.verdict_word());
        Self { words: [first, c1, k2, c3, k4, k5, standing, verdict, k8, k9, c10, c11, c12, c13, 0, 0] }
    }
}

/// Four places: their first lines, then their second ones. Value of `FLOWS`.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowSet {
    /// Words 0 to 7 of each place.
    pub near: [[u64; LINE_WORDS]; FLOW_WAYS],
    /// Words 8 to 15 of each place.
    pub far: [[u64; LINE_WORDS]; FLOW_WAYS],
}

impl FlowSet {
    /// Where in a set, as words, a word of a place lies. Ways are taken modulo [`FLOW_WAYS`], words modulo
    /// [`PLACE_WORDS`].
    #[inline(always)]
    #[must_use]
    pub const fn word_at(way: u32, word: u32) -> u32 {
        const LINE: u32 = LINE_WORDS as u32;
        (word & LINE) * FLOW_WAYS as u32 + (way & (FLOW_WAYS as u32 - 1)) * LINE + (word & (LINE - 1))
    }

    /// A place of it, the ways counted modulo [`FLOW_WAYS`].
    #[must_use]
    pub fn place(&self, way: usize) -> FlowPlace {
        let mut words = [0; PLACE_WORDS];
        words[..LINE_WORDS].copy_from_slice(&self.near[way % FLOW_WAYS]);
        words[LINE_WORDS..].copy_from_slice(&self.far[way % FLOW_WAYS]);
        FlowPlace { words }
    }

    /// Puts a place there.
    pub fn put(&mut self, way: usize, place: &FlowPlace) {
        self.near[way % FLOW_WAYS].copy_from_slice(&place.words[..LINE_WORDS]);
        self.far[way % FLOW_WAYS].copy_from_slice(&place.words[LINE_WORDS..]);
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = FlowPlace> {
        (0..FLOW_WAYS).map(|way| self.place(way))
    }
}

/// Where a key belongs: which set, and which of its places is tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Index of the set.
    pub set: u32,
    /// Place of it that is tried first, below [`FLOW_WAYS`]; see [`nth_way`].
    pub way: u32,
    /// Hash of the key for the table of forgotten tuples.
    pub tag: u32,
}

/// The way that is tried as the `nth` where `first` is tried first: then its neighbour, then the others.
#[inline(always)]
#[must_use]
pub const fn nth_way(first: u32, nth: u32) -> u32 {
    (first ^ nth) & (FLOW_WAYS as u32 - 1)
}

/// Where a key belongs in a table of `mask + 1` sets (a power of two). The zone does not count: so the place of the
/// answers is known before it is known where they will come in.
///
/// NH (Black et al., UMAC, CRYPTO '99) over the halves of the words, then a mix: whoever does not know the seed cannot
/// choose tuples that meet.
#[inline(always)]
#[must_use]
pub const fn spot(words: &[u64; 5], seed: &[u64; 4], mask: u32) -> Spot {
    let mut sum = fold(words[1], seed[0]).wrapping_add(fold(words[4] & !KEY_ZONE, seed[1]));
    if words[4] & KEY_IS_V4 == 0 {
        sum = sum
            .wrapping_add(fold(words[3], seed[2]))
            .wrapping_add(fold(words[0], seed[3]))
            .wrapping_add(fold(words[2], seed[2] ^ seed[3].rotate_left(32)));
    }
    let mixed = (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Spot {
        set: (mixed >> 32) as u32 & mask,
        way: (mixed >> 30) as u32 & (FLOW_WAYS as u32 - 1),
        tag: mixed as u32,
    }
}

#[inline(always)]
const fn fold(word: u64, key: u64) -> u64 {
    let low = (word as u32).wrapping_add(key as u32);
    let high = ((word >> 32) as u32).wrapping_add((key >> 32) as u32);
    (low as u64).wrapping_mul(high as u64)
}

const _: () = {
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowSet>() == 512);
};

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::vec::Vec;

    const KEY: FlowKey = FlowKey {
        source: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        destination: crate::mapped([192, 0, 2, 1]),
        source_port: [17, 18],
        destination_port: [19, 20],
        protocol: 6,
        zone: 5,
        reserved: [0; 2],
    };

    #[test]
    fn words_hold_every_field() {
        let value = FlowValue {
            epoch: 1,
            last_seen: 2,
            idle: 3,
            state: 4,
            flags: 5,
            rule: 6,
            action: 7,
            reason: 8,
            zone_from: 9,
            zone_to: 10,
            packets: 11,
            bytes: 12,
            first_seen: 13,
            copied: 14,
            copied_reply: 15,
            isn: 16,
            tcp_flags: 17,
            device: 18,
        };
        let both_v4 = FlowKey { source: crate::mapped([198, 51, 100, 7]), ..KEY };
        for key in [KEY, both_v4] {
            let place = FlowPlace::new(8, &key, &value);
            assert_eq!((place.version(), place.key(), place.value()), (8, key, value));
        }
    }

    #[test]
    fn words_of_the_answer_are_those_of_the_tuple_turned_around() {
        let both_v4 = FlowKey { source: crate::mapped([198, 51, 100, 7]), ..KEY };
        for key in [KEY, both_v4] {
            let answer = FlowKey {
                source: key.destination,
                destination: key.source,
                source_port: key.destination_port,
                destination_port: key.source_port,
                zone: 9,
                ..key
            };
            assert_eq!(key.answer_words(9), answer.words());
        }
    }

    #[test]
    fn a_key_lies_in_its_places() {
        let place = FlowPlace::new(0, &KEY, &FlowValue::default());
        assert_eq!(KEY_PLACES.map(|at| place.words[at as usize]), KEY.words());
    }

    #[test]
    fn every_word_of_a_set_has_its_place_and_neighbours_share_a_pair_of_lines() {
        let mut seen = [false; FLOW_WAYS * PLACE_WORDS];
        for (way, word) in (0..4).flat_map(|way| (0..16).map(move |word| (way, word))) {
            let mut set = FlowSet::default();
            let mut place = FlowPlace::default();
            place.words[word as usize] = 1;
            set.put(way as usize, &place);
            let all: Vec<u64> = set.near.iter().chain(&set.far).flatten().copied().collect();
            let at = FlowSet::word_at(way, word) as usize;
            assert_eq!((all[at], all.iter().sum::<u64>(), set.place(way as usize)), (1, 1, place));
            assert!(!std::mem::replace(&mut seen[at], true));
        }
        for first in 0..4 {
            let mut ways: Vec<u32> = (0..4).map(|nth| nth_way(first, nth)).collect();
            assert_eq!((ways[0], ways[1] / 2), (first, first / 2));
            ways.sort_unstable();
            assert_eq!(ways, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn idle_is_told_over_the_wrap_of_the_clock_and_not_by_a_clock_that_ran_back() {
        let units = idle_units(30);
        let span = ticks(30_000_000_000);
        for start in [0, 1000, u32::MAX - 5] {
            assert!(!is_idle(start, units, start.wrapping_add(span)));
            assert!(is_idle(start, units, start.wrapping_add(span + 40)));
            assert!(!is_idle(start, units, start.wrapping_sub(1)));
        }
    }

    #[test]
    fn another_bit_but_of_the_zone_or_another_seed_leads_elsewhere() {
        let seed =
            [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321, 0x1357_9bdf_0246_8ace, 0xdead_beef_cafe_f00d];
        let words = KEY.words();
        let home = spot(&words, &seed, u32::MAX);
        let of_zone = 4 * 64 + 40..4 * 64 + 48;
        for bit in (0..5 * 64).filter(|bit| !of_zone.contains(bit)) {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            assert_ne!(spot(&other, &seed, u32::MAX).set, home.set, "bit {bit}");
        }
        assert_ne!(spot(&words, &[1, 2, 3, 4], u32::MAX).set, home.set);
        assert!(spot(&words, &seed, 7).set < 8 && home.way < 4);
        let elsewhere = FlowKey { zone: 6, ..KEY }.words();
        assert_eq!(spot(&elsewhere, &seed, u32::MAX), home);
        let words = FlowKey { source: crate::mapped([198, 51, 100, 7]), ..KEY }.words();
        let home = spot(&words, &seed, u32::MAX);
        for bit in (64..128).chain(256..of_zone.start) {
            let mut other = words;
            other[bit / 64] ^= 1 << (bit % 64);
            assert_ne!(spot(&other, &seed, u32::MAX).set, home.set, "bit {bit} of IPv4");
        }
    }
}
