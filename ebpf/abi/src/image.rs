//! The image: everything that comes from the plan, compiled into 4 KiB blocks of words.
//!
//! One generation is one image, written once and never changed. The walkers in `datapath::image` read it, the compiler
//! in `policy::image` writes it; both use the packing of this module, so no byte is described twice. All numbers are
//! parts of 64-bit words taken by shifts: the same on every byte order.
//!
//! Block 0 is the header (`HEADER_*`), block 1 the ports, block 2 the rates. The other sections lie where the header
//! says. A *position* is a place in the image counted in words, in halves (32 bits) or in quarters (16 bits).

use crate::{Action, RULE_DEFAULT, ZONE_NONE, ZoneId};

/// Words of a block.
pub const BLOCK_WORDS: u32 = 512;
/// Bytes of a block.
pub const BLOCK_BYTES: u32 = BLOCK_WORDS * 8;
/// The first word of an image: what it is and in which layout.
pub const IMAGE_MAGIC: u64 = u64::from_be_bytes(*b"secd\0\0\0\x02");

/// Blocks of the address trie: 64 MiB. A list refresh that needs more is held.
pub const MAX_TRIE_BLOCKS: u32 = 16_384;
/// Blocks of the classifier: 16 MiB. A policy that needs more is refused.
pub const MAX_CLASSIFIER_BLOCKS: u32 = 4096;
/// Different things that can be known of an address. Plans with more are refused.
pub const MAX_ADDRESS_CLASSES: u32 = 65_535;
/// Blocks of the rows of address classes.
pub const MAX_CLASS_BLOCKS: u32 = 256;
/// Blocks of the device table: 2 MiB, a quarter full at most with [`crate::MAX_DEVICES`].
pub const MAX_DEVICE_BLOCKS: u32 = 512;
/// Blocks of an image.
pub const MAX_IMAGE_BLOCKS: u32 =
    FIXED_BLOCKS + MAX_TRIE_BLOCKS + MAX_CLASSIFIER_BLOCKS + MAX_CLASS_BLOCKS + MAX_DEVICE_BLOCKS;
/// Blocks of a chunk, 1 MiB: in the kernel an image lies in arrays of this one size, as many as it needs. Arrays of one
/// size are looked into without a call. Before Linux 6.8 the kernel waits for packets once for each chunk that is put in
/// place, so there shall not be many.
pub const CHUNK_BLOCKS: u32 = 256;
/// Chunks of a slot: those of the largest image, and one that no image reaches.
pub const MAX_CHUNKS: u32 = MAX_IMAGE_BLOCKS.div_ceil(CHUNK_BLOCKS) + 1;
/// Images there are at a time: the one in force, and the one before or after it.
pub const SLOTS: u32 = 2;
/// Entries of `IMAGES`: the chunks of both slots, in turns.
pub const IMAGE_ENTRIES: u32 = MAX_CHUNKS * SLOTS;

/// The entry of `IMAGES` in which a chunk of a slot is.
#[inline(always)]
#[must_use]
pub const fn chunk_entry(slot: u32, chunk: u32) -> u32 {
    chunk * SLOTS + (slot & (SLOTS - 1))
}

/// Where a block of a slot is: the entry of `IMAGES`, and the place in its chunk.
#[inline(always)]
#[must_use]
pub const fn block_place(slot: u32, block: u32) -> (u32, u32) {
    (chunk_entry(slot, block / CHUNK_BLOCKS), block % CHUNK_BLOCKS)
}

/// Block of the header.
pub const HEADER_BLOCK: u32 = 0;
/// Block of the ports.
pub const PORTS_BLOCK: u32 = 1;
/// Block of the rates, 16 bytes each.
pub const RATES_BLOCK: u32 = 2;
/// Blocks that every image has.
pub const FIXED_BLOCKS: u32 = 3;

/// Word of the header: [`IMAGE_MAGIC`].
pub const HEADER_MAGIC: u32 = 0;
/// Word: [`Node`] of the root for IPv4 (low half) and for IPv6 (high half).
pub const HEADER_ROOTS: u32 = 1;
/// Word: first block of the trie (low half) and of the address classes (high half).
pub const HEADER_ADDRESSES: u32 = 2;
/// Word: first block of the devices (low half), number of buckets less one (high half).
pub const HEADER_DEVICES: u32 = 3;
/// Word: seed of the devices.
pub const HEADER_DEVICE_SEED: u32 = 4;
/// Word: position of the pairs of zones in halves (low half), bits of a zone in their index (high half).
pub const HEADER_ZONE_PAIRS: u32 = 5;
/// Word: position of the pages of services in quarters (low half), of the runs of 64 ports in halves (high half).
pub const HEADER_SERVICES: u32 = 6;
/// Word: position of the cells in words (low half), their number (high half).
pub const HEADER_CELLS: u32 = 7;
/// First word of the zones: a [`ZoneRow`] each.
pub const HEADER_ZONES: u32 = 64;
/// First word of the protocols: for each a byte, its number among the pages of services.
pub const HEADER_PROTOCOLS: u32 = 128;
/// First of a word for each zone: a bit for every zone to which further TCP flows can start that only the second wall
/// can foresee (FTP).
pub const HEADER_HELPED_TCP: u32 = 192;
/// The same for UDP (SIP).
pub const HEADER_HELPED_UDP: u32 = 256;
/// First of a word for each zone: its [`crate::resolver_zone`] where the resolver's answers to it count, else 0.
pub const HEADER_RESOLVED: u32 = 320;
/// Word: the patterns of names that rules name, a bit each.
pub const HEADER_PATTERNS: u32 = 384;
/// First word of their places among the destinations: a [`Coordinate`] each, half a word.
pub const HEADER_PATTERN_PLACES: u32 = 385;
/// Patterns of names that an image can tell apart: bits of [`crate::ResolvedValue::patterns`]. Twice as many as a config
/// may have, so that those of a plan and the next one never share a bit.
pub const MAX_PATTERNS: u32 = 64;

/// Ways of a bucket of ports: as many are looked at.
pub const PORT_WAYS: u32 = 4;
/// Buckets of ports.
pub const PORT_BUCKETS: u32 = BLOCK_WORDS / PORT_WAYS;
/// (interface, VLAN) pairs an image holds. A config with more is refused.
pub const MAX_IMAGE_PORTS: u32 = 256;
/// Ways of a bucket of devices: one line of the cache.
pub const DEVICE_WAYS: u32 = 8;
/// No list, no rate, no rule.
pub const NOTHING: u16 = u16::MAX;

/// 4096 bytes of an image; the value of its map.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The contents.
    pub words: [u64; BLOCK_WORDS as usize],
}

impl Block {
    /// Zeros.
    pub const EMPTY: Self = Self { words: [0; BLOCK_WORDS as usize] };

    /// A word; the place is taken modulo the size of a block.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self, at: u32) -> u64 {
        self.words[(at & (BLOCK_WORDS - 1)) as usize]
    }

    /// A half of a word, by its place in halves.
    #[inline(always)]
    #[must_use]
    pub const fn half(&self, at: u32) -> u32 {
        (self.word(at >> 1) >> ((at & 1) * 32)) as u32
    }

    /// A quarter of a word, by its place in quarters.
    #[inline(always)]
    #[must_use]
    pub const fn quarter(&self, at: u32) -> u16 {
        (self.word(at >> 2) >> ((at & 3) * 16)) as u16
    }

    /// A byte, by its place.
    #[inline(always)]
    #[must_use]
    pub const fn byte(&self, at: u32) -> u8 {
        (self.word(at >> 3) >> ((at & 7) * 8)) as u8
    }
}

/// Where an interface and a VLAN lead. One word of block 1, bucket `index`.
///
/// Word 0 of the block is the seed; its zone is [`ZONE_NONE`], so that it is a row which says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortRow {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// Zone.
    pub zone: ZoneId,
}

impl PortRow {
    /// Bits of a row that are its key.
    pub const KEY: u64 = (1 << 48) - 1;

    /// The key as bits of the word.
    #[inline(always)]
    #[must_use]
    pub const fn key(self) -> u64 {
        self.ifindex as u64 | (self.vlan as u64) << 32
    }

    /// The row as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.key() | (self.zone as u64) << 56
    }

    /// The zone in a row.
    #[inline(always)]
    #[must_use]
    pub const fn zone_of(word: u64) -> ZoneId {
        (word >> 56) as u8
    }

    /// The bucket of a key.
    #[inline(always)]
    #[must_use]
    pub const fn bucket(key: u64, seed: u64) -> u32 {
        (key.wrapping_mul(seed | 1) >> (64 - PORT_BUCKETS.trailing_zeros())) as u32
    }
}

/// What holds for a whole zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneRow {
    /// `ZONE_*` bits.
    pub flags: u32,
    /// New flows that one source may start here: number of the rate, [`NOTHING`] = any.
    pub rate: u16,
}

impl Default for ZoneRow {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl ZoneRow {
    /// No flag, no rate.
    pub const EMPTY: Self = Self { flags: 0, rate: NOTHING };

    /// The row as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        // A word of zeros is a zone without a rate.
        self.flags as u64 | (!self.rate as u64) << 32
    }

    /// The row in a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self { flags: word as u32, rate: !((word >> 32) as u16) }
    }
}

/// So many per so long, with a burst. Two words of block 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateRow {
    /// Nanoseconds for one; 0 = no limit.
    pub interval: u64,
    /// How many may come at once.
    pub burst: u32,
}

/// A place on one dimension of the classifier: the class there, and what it adds to the number of the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinate {
    /// Class of the dimension.
    pub class: u16,
    /// Added to the number of the cell.
    pub cell: u16,
}

impl Coordinate {
    /// As half a word.
    #[inline(always)]
    #[must_use]
    pub const fn half(self) -> u32 {
        self.class as u32 | (self.cell as u32) << 16
    }

    /// From half a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_half(half: u32) -> Self {
        Self { class: half as u16, cell: (half >> 16) as u16 }
    }
}

/// Everything that is known of an address. Two words of the address classes; row 0 is what holds where no prefix does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressClass {
    /// The zone it belongs to.
    pub zone: ZoneId,
    /// `ADDRESS_*` bits.
    pub flags: u8,
    /// The list that holds against what it starts; [`NOTHING`] = none.
    pub listed_in: u16,
    /// The list that holds against what is started towards it; [`NOTHING`] = none.
    pub listed_out: u16,
    /// As a source of the policy.
    pub source: Coordinate,
    /// As a destination of the policy.
    pub destination: Coordinate,
}
/// No ban or list holds against the address.
pub const ADDRESS_PROTECTED: u8 = 1;
/// No ban or list holds against the address as a source: the router asks it for names. Others get no way around by it.
pub const ADDRESS_UPSTREAM: u8 = 8;
/// The list of `listed_in` only observes.
pub const ADDRESS_IN_OBSERVED: u8 = 2;
/// The list of `listed_out` only observes.
pub const ADDRESS_OUT_OBSERVED: u8 = 4;

impl Default for AddressClass {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl AddressClass {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        zone: ZONE_NONE,
        flags: 0,
        listed_in: NOTHING,
        listed_out: NOTHING,
        source: Coordinate { class: 0, cell: 0 },
        destination: Coordinate { class: 0, cell: 0 },
    };

    /// The row as words.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u64; 2] {
        [
            self.zone as u64
                | (self.flags as u64) << 8
                | (self.listed_in as u64) << 16
                | (self.listed_out as u64) << 32,
            self.source.half() as u64 | (self.destination.half() as u64) << 32,
        ]
    }

    /// The row in words.
    #[inline(always)]
    #[must_use]
    pub const fn from_words([known, places]: [u64; 2]) -> Self {
        Self {
            zone: known as u8,
            flags: (known >> 8) as u8,
            listed_in: (known >> 16) as u16,
            listed_out: (known >> 32) as u16,
            source: Coordinate::from_half(places as u32),
            destination: Coordinate::from_half((places >> 32) as u32),
        }
    }
}

/// A device in its table: 48 bits of MAC address, 16 bits of class. A word of zeros is an empty place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceRow {
    /// The MAC address as a number, its first byte the highest.
    pub address: u64,
    /// Class of the device for the classifier; 0 = in no group.
    pub class: u16,
}

impl DeviceRow {
    /// Bits of a row that are its key.
    pub const KEY: u64 = (1 << 48) - 1;

    /// The row as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.address & Self::KEY | (self.class as u64) << 48
    }

    /// A MAC address as a number.
    #[inline(always)]
    #[must_use]
    pub const fn number(mac: &[u8; 6]) -> u64 {
        u64::from_be_bytes([0, 0, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]])
    }

    /// Where a device's bucket is, before it is taken modulo the number of buckets.
    #[inline(always)]
    #[must_use]
    pub const fn hash(address: u64, seed: u64) -> u32 {
        (address.wrapping_mul(seed | 1) >> 32) as u32
    }
}

/// What a row of the policy says. Half a word in an image, a word with what was found on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleRow {
    /// [`Action`] as number.
    pub action: u8,
    /// `POLICY_*` bits.
    pub flags: u8,
    /// Id of the rule; [`RULE_DEFAULT`] = the zone's default.
    pub rule: u16,
    /// With [`crate::POLICY_LIMIT`]: number of the rate; else [`NOTHING`].
    pub rate: u16,
    /// In an answer: id of the first rule before it that only logs; [`NOTHING`] = none.
    pub logged: u16,
}

impl Default for RuleRow {
    fn default() -> Self {
        Self::NONE
    }
}

impl RuleRow {
    /// No row matched, which no plan lets happen.
    pub const NONE: Self =
        Self { action: Action::Drop as u8, flags: 0, rule: RULE_DEFAULT, rate: NOTHING, logged: NOTHING };

    /// The row as half a word, without `logged`: 16 bits of rule, 2 of action, 5 of flags, 9 of rate.
    #[inline(always)]
    #[must_use]
    pub const fn half(self) -> u32 {
        self.rule as u32
            | (self.action as u32 & 3) << 16
            | (self.flags as u32 & 31) << 18
            | (self.rate as u32 & Self::NO_RATE) << 23
    }

    /// The row in half a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_half(half: u32) -> Self {
        let rate = half >> 23;
        Self {
            action: (half >> 16) as u8 & 3,
            flags: (half >> 18) as u8 & 31,
            rule: half as u16,
            rate: if rate == Self::NO_RATE { NOTHING } else { rate as u16 },
            logged: NOTHING,
        }
    }

    /// [`NOTHING`] in the nine bits of a rate.
    const NO_RATE: u32 = 511;

    /// The row as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.action as u64
            | (self.flags as u64) << 8
            | (self.rule as u64) << 16
            | (self.rate as u64) << 32
            | (self.logged as u64) << 48
    }

    /// The row in a word.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self {
            action: word as u8,
            flags: (word >> 8) as u8,
            rule: (word >> 16) as u16,
            rate: (word >> 32) as u16,
            logged: (word >> 48) as u16,
        }
    }
}

/// A reference to a node of the address trie, or the class itself. 32 bits: kind 2, number 7, position 23.
///
/// The trie takes an address 16 bits at a time. A node of *runs* or *classes* has sorted starts, a quarter each, of which
/// the first is 0, and as many [`Node`]s (halves) or classes (quarters). A *small* one is `number + 1` starts and then
/// their values, all in one line of the cache. A *large* one is a line with the first start of every line that follows,
/// then those lines (`number & 31`, and one), full of starts and then their values: two lines are read, whatever its
/// size. Starts are filled up with the highest, their values with the last.
/// A *wide* node has 256 nodes: by the high byte (`number` 0), after which the low byte is what is left of the 16 bits,
/// or by the low byte (`number` 1). No node crosses a block. Positions are words from the first block of the trie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u32);

impl Node {
    /// Words of a line of the cache.
    pub const LINE: u32 = 8;
    /// In `number`: the node is large.
    pub const LARGE: u32 = 64;
    /// Lines of a large node behind the first.
    pub const MAX_LINES: u32 = 32;
    /// Nodes in a line, behind their starts in two words.
    pub const RUNS_PER_LINE: u32 = 8;
    /// Classes in a line, behind their starts in four words.
    pub const CLASSES_PER_LINE: u32 = 16;
    /// Words of a wide node.
    pub const WIDE_WORDS: u32 = 128;
    /// Positions there are.
    pub const POSITIONS: u32 = 1 << 23;
    /// How often 16 bits are taken at most.
    pub const MAX_STRIDES: u32 = 8;
    /// Kind: nothing follows, the low 16 bits are the class.
    pub const CLASS: u32 = 0;
    /// Kind: runs of nodes.
    pub const RUNS: u32 = 1;
    /// Kind: runs of classes.
    pub const CLASSES: u32 = 2;
    /// Kind: wide.
    pub const WIDE: u32 = 3;

    /// A reference.
    #[inline(always)]
    #[must_use]
    pub const fn new(kind: u32, number: u32, position: u32) -> Self {
        Self(kind << 30 | (number & 127) << 23 | position & (Self::POSITIONS - 1))
    }

    /// The class itself.
    #[inline(always)]
    #[must_use]
    pub const fn class(class: u16) -> Self {
        Self(class as u32)
    }

    /// What it refers to.
    #[inline(always)]
    #[must_use]
    pub const fn kind(self) -> u32 {
        self.0 >> 30
    }

    /// Starts less one, or lines less one and [`Self::LARGE`]; or which byte a wide node looks at.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 >> 23 & 127
    }

    /// Place in words from the first block of the trie.
    #[inline(always)]
    #[must_use]
    pub const fn position(self) -> u32 {
        self.0 & (Self::POSITIONS - 1)
    }
}

/// Places in a cell of the classifier, in halves. A cell is one line of the cache.
///
/// The rows of the policy that a cell holds are numbered anew in it. For each dimension there is a map from the classes
/// to short lists of bits, a bit for each of the cell's rows; the first bit that is in all of them is the row.
pub struct Cell;

impl Cell {
    /// Words of a cell.
    pub const WORDS: u32 = 8;
    /// Dimensions: zones, device, service, source, destination.
    pub const DIMENSIONS: u32 = 5;
    /// Position in quarters of the map of each dimension, less the first class in it. Where all classes have list 0, the
    /// distance is 0 and the map is whatever lies at the start of the image.
    pub const MAPS: u32 = 0;
    /// Position in words of list 0, which holds every row. List `n` is `n` times the size of a list behind it; numbers
    /// whose list would cross a block are left out.
    pub const LISTS: u32 = 5;
    /// Position in halves of the [`RuleRow`]s.
    pub const ROWS: u32 = 6;
    /// Position in words of the list of the rows that only log.
    pub const LOGS: u32 = 7;
    /// Words of a list.
    pub const SIZE: u32 = 8;
    /// For each dimension: words from one list to the next; 0 = there is one only.
    pub const DISTANCES: u32 = 9;
    /// Words of a list of bits at most: 4,096 rows in one cell.
    pub const MAX_WORDS: u32 = 64;
    /// Cells at most.
    pub const MAX: u32 = 1024;
}

const _: () = {
    assert!(size_of::<Block>() == BLOCK_BYTES as usize);
    assert!(crate::MAX_RATES * 2 <= BLOCK_WORDS && crate::MAX_RATES < RuleRow::NO_RATE);
    let policy = crate::POLICY_LOG | crate::POLICY_OBSERVE | crate::POLICY_CONTINUE | crate::POLICY_LIMIT;
    assert!(policy + crate::POLICY_ADDRESSED < 32 && crate::ACTIONS <= 4);
    assert!(HEADER_ZONES + crate::MAX_ZONES <= HEADER_PROTOCOLS);
    assert!(HEADER_PROTOCOLS + 256 / 8 <= HEADER_HELPED_TCP);
    assert!(HEADER_HELPED_TCP + crate::MAX_ZONES <= HEADER_HELPED_UDP);
    assert!(HEADER_HELPED_UDP + crate::MAX_ZONES <= HEADER_RESOLVED);
    assert!(HEADER_RESOLVED + crate::MAX_ZONES <= HEADER_PATTERNS);
    assert!(HEADER_PATTERN_PLACES + MAX_PATTERNS / 2 <= BLOCK_WORDS && MAX_PATTERNS == u64::BITS);
    assert!(MAX_TRIE_BLOCKS * BLOCK_WORDS == Node::POSITIONS);
    assert!(MAX_CLASS_BLOCKS * BLOCK_WORDS / 2 > MAX_ADDRESS_CLASSES);
    assert!((MAX_IMAGE_BLOCKS as u64) * (BLOCK_WORDS as u64) * 4 < u32::MAX as u64);
    assert!((Node::MAX_LINES + 1) * Node::LINE <= BLOCK_WORDS && Node::MAX_LINES <= Node::LINE * 4);
    assert!(SLOTS == 2 && CHUNK_BLOCKS.is_power_of_two());
};
