//! Writes the address trie: see [`abi::image::Node`] for its shape. Equal subtrees are written once.

use abi::image::{MAX_TRIE_BLOCKS, Node};
use foldhash::fast::FixedState;
use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{BuildHasher, Hasher},
};

use super::{
    ImageError,
    builder::{WORDS, Writer, halves, quarters},
};

/// Addresses of a family as numbers.
pub(super) trait Width: Copy + Ord + Debug {
    /// The last address.
    const LAST: Self;
    /// How many times 16 bits.
    const STRIDES: u32;
    /// The address after this one, which is not the last.
    fn next(self) -> Self;
    /// The last address of the prefix of `length` bits that starts here.
    fn last_of(self, length: u8) -> Self;
    /// The 16 bits at a stride, from 0.
    fn piece(self, stride: u32) -> u16;
    /// Whether it is the first address with its bits up to this stride.
    fn starts(self, stride: u32) -> bool;
}

macro_rules! width {
    ($type:ty) => {
        impl Width for $type {
            const LAST: Self = Self::MAX;
            const STRIDES: u32 = Self::BITS / 16;
            fn next(self) -> Self {
                self.wrapping_add(1)
            }
            fn last_of(self, length: u8) -> Self {
                self | Self::MAX.checked_shr(u32::from(length)).unwrap_or(0)
            }
            fn piece(self, stride: u32) -> u16 {
                (self >> (Self::BITS - 16 - 16 * stride)) as u16
            }
            fn starts(self, stride: u32) -> bool {
                self.trailing_zeros() >= Self::BITS - 16 - 16 * stride
            }
        }
    };
}
width!(u32);
width!(u128);

/// Where runs of addresses start and the number of what is known there; 0 before the first. Neighbours differ.
#[derive(Debug)]
pub(super) struct Runs<W>(pub(super) Vec<(W, u32)>);

impl<W> Default for Runs<W> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<W: Width> Runs<W> {
    /// From `start`, which is not before any other, `value` holds.
    pub(super) fn push(&mut self, start: W, value: u32) {
        if self.0.last().is_some_and(|(last, _)| *last == start) {
            self.0.pop();
        }
        if self.0.last().map_or(0, |(_, last)| *last) != value {
            self.0.push((start, value));
        }
    }
}

/// The roots of a trie that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trie {
    pub(super) v4: Node,
    pub(super) v6: Node,
    pub(super) nodes: usize,
}

impl Trie {
    /// Writes the trie of both families from the start of a new block on.
    pub(super) fn write(v4: &Runs<u32>, v6: &Runs<u128>, writer: &mut Writer) -> Result<Self, ImageError> {
        let mut build = Build {
            first: writer.len(),
            writer,
            narrow: Space { block: 0, used: WORDS },
            wide: Space { block: 0, used: WORDS },
            known: HashMap::with_hasher(Identity),
            nodes: 0,
            words: Vec::new(),
        };
        let v4 = build.family(v4)?;
        let v6 = build.family(v6)?;
        Ok(Self { v4, v6, nodes: build.nodes })
    }
}

/// A trie while it is written.
struct Build<'a> {
    writer: &'a mut Writer,
    /// Its first block.
    first: usize,
    /// Where the next node of runs may go, and the next wide one: apart, so that both fill their blocks.
    narrow: Space,
    wide: Space,
    /// Nodes by the hash of their contents. Of two with one hash only the first is found again.
    known: HashMap<u64, Node, Identity>,
    nodes: usize,
    words: Vec<u64>,
}

/// What is left of a block.
#[derive(Clone, Copy)]
struct Space {
    block: usize,
    used: usize,
}

/// Where a node holds from, in the 16 bits at hand.
type Entry = (u16, Node);

impl Build<'_> {
    fn family<W: Width>(&mut self, runs: &Runs<W>) -> Result<Node, ImageError> {
        self.stride(&runs.0, Node::class(0), 0)
    }

    /// The node for runs that share all bits before `stride`; `before` holds up to the first of them.
    fn stride<W: Width>(
        &mut self,
        mut runs: &[(W, u32)],
        before: Node,
        stride: u32,
    ) -> Result<Node, ImageError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(runs.len() + 2);
        let mut holds = before;
        add(&mut entries, 0, before);
        while let Some(&(start, value)) = runs.first() {
            let piece = start.piece(stride);
            let here = if stride + 1 == W::STRIDES {
                1
            } else {
                runs.iter().position(|(start, _)| start.piece(stride) != piece).unwrap_or(runs.len())
            };
            let (inner, rest) = runs.split_at(here);
            if here == 1 && start.starts(stride) {
                add(&mut entries, piece, class(value));
            } else {
                let node = self.stride(inner, holds, stride + 1)?;
                add(&mut entries, piece, node);
            }
            if let Some((_, last)) = inner.last() {
                holds = class(*last);
            }
            if let Some(next) = piece.checked_add(1) {
                add(&mut entries, next, holds);
            }
            runs = rest;
        }
        self.node(&entries)
    }

    /// Writes the node of all 16 bits.
    fn node(&mut self, entries: &[Entry]) -> Result<Node, ImageError> {
        let lines = Node::MAX_LINES as usize;
        if entries.len() <= lines * per_line(entries) {
            return self.runs(entries);
        }
        let mut high = [Node::default(); 256];
        let mut part: Vec<Entry> = Vec::with_capacity(256);
        let mut rest = entries;
        let mut holds = Node::default();
        for (byte, child) in (0..=u8::MAX).zip(&mut high) {
            let here =
                rest.iter().position(|(start, _)| start.to_be_bytes()[0] != byte).unwrap_or(rest.len());
            let (inner, after) = rest.split_at(here);
            part.clear();
            add(&mut part, 0, holds);
            for (start, node) in inner {
                add(&mut part, start & 0xff, *node);
            }
            if let Some((_, last)) = inner.last() {
                holds = *last;
            }
            rest = after;
            *child = if part.len() <= MAX_PART {
                self.runs(&part)?
            } else {
                let mut low = [Node::default(); 256];
                for (at, (start, node)) in part.iter().enumerate() {
                    let end = part.get(at + 1).map_or(256, |(next, _)| usize::from(*next));
                    low[usize::from(*start)..end].fill(*node);
                }
                self.wide(&low, 1)?
            };
        }
        self.wide(&high, 0)
    }

    fn runs(&mut self, entries: &[Entry]) -> Result<Node, ImageError> {
        if let [(_, only)] = entries
            && only.kind() == Node::CLASS
        {
            return Ok(*only);
        }
        let of_classes = are_classes(entries);
        let per_line = per_line(entries);
        self.words.clear();
        let number = if entries.len() <= per_line {
            // Up to a whole word.
            self.line(entries, entries.len().next_multiple_of(4), of_classes);
            entries.len() as u32 - 1
        } else {
            let lines = entries.chunks(per_line);
            let number = lines.len() as u32 - 1;
            let mut firsts = [u16::MAX; LINE * 4];
            for (first, line) in firsts.iter_mut().zip(lines.clone()) {
                *first = line[0].0;
            }
            self.words.extend(quarters(&firsts));
            for line in lines {
                self.line(line, per_line, of_classes);
                self.words.resize(self.words.len().next_multiple_of(LINE), 0);
            }
            Node::LARGE | number
        };
        let kind = if of_classes { Node::CLASSES } else { Node::RUNS };
        self.place(kind, number)
    }

    /// Adds starts and values of some of a node's entries, `filled` of each.
    fn line(&mut self, entries: &[Entry], filled: usize, of_classes: bool) {
        const MOST: usize = Node::CLASSES_PER_LINE as usize;
        let Some((_, last)) = entries.last() else { return };
        let starts: [u16; MOST] = fill(entries.iter().map(|(start, _)| *start), u16::MAX);
        self.words.extend(quarters(&starts[..filled]));
        if of_classes {
            let classes: [u16; MOST] = fill(entries.iter().map(|(_, node)| node.0 as u16), last.0 as u16);
            self.words.extend(quarters(&classes[..filled]));
        } else {
            let nodes: [u32; MOST] = fill(entries.iter().map(|(_, node)| node.0), last.0);
            self.words.extend(halves(&nodes[..filled]));
        }
    }

    fn wide(&mut self, nodes: &[Node; 256], byte: u32) -> Result<Node, ImageError> {
        self.words.clear();
        self.words.extend(halves(&nodes.map(|node| node.0)));
        self.place(Node::WIDE, byte)
    }

    /// Finds a place for the words at hand.
    fn place(&mut self, kind: u32, number: u32) -> Result<Node, ImageError> {
        let mut hasher = FixedState::with_seed(u64::from(kind << 8 | number)).build_hasher();
        self.words.iter().for_each(|word| hasher.write_u64(*word));
        let hash = hasher.finish();
        let count = self.words.len();
        if let Some(&node) = self.known.get(&hash)
            && (node.kind(), node.number()) == (kind, number)
        {
            let (block, at) =
                (self.first + node.position() as usize / WORDS, node.position() as usize % WORDS);
            if self.writer.blocks[block].words.get(at..at + count) == Some(&self.words) {
                return Ok(node);
            }
        }
        let space = if kind == Node::WIDE { &mut self.wide } else { &mut self.narrow };
        // What fits in a line of the cache shall not lie in two; what does not begins one.
        if space.used % LINE + count > LINE {
            space.used = space.used.next_multiple_of(LINE);
        }
        if space.used + count > WORDS {
            *space = Space { block: self.writer.reserve_blocks(1), used: 0 };
        }
        let blocks = self.writer.len() - self.first;
        if blocks > MAX_TRIE_BLOCKS as usize {
            return Err(ImageError::TooMany {
                what: "blocks of 4 KiB needed for addresses (when the room ran out)",
                count: blocks,
                limit: MAX_TRIE_BLOCKS as usize,
                help: "leave a list out or raise its min_score",
            });
        }
        self.writer.blocks[space.block].words[space.used..space.used + count].copy_from_slice(&self.words);
        let position = (space.block - self.first) * WORDS + space.used;
        space.used += count;
        let node = Node::new(kind, number, position as u32);
        self.known.insert(hash, node);
        self.nodes += 1;
        Ok(node)
    }
}

/// Words of a line of the cache.
const LINE: usize = Node::LINE as usize;
/// Entries of the low byte that are written as runs: more are as good in a wide node.
const MAX_PART: usize = 128;

/// Nothing follows on any of the entries.
fn are_classes(entries: &[Entry]) -> bool {
    entries.iter().all(|(_, node)| node.kind() == Node::CLASS)
}

/// Entries in a line of their node.
fn per_line(entries: &[Entry]) -> usize {
    if are_classes(entries) { Node::CLASSES_PER_LINE as usize } else { Node::RUNS_PER_LINE as usize }
}

/// From `start` on `node` holds. Entries come in order, the first at 0.
fn add(entries: &mut Vec<Entry>, start: u16, node: Node) {
    if entries.last().is_some_and(|(last, _)| *last == start) {
        entries.pop();
    }
    if entries.last().is_none_or(|(_, last)| *last != node) {
        entries.push((start, node));
    }
}

fn class(value: u32) -> Node {
    // At most MAX_ADDRESS_CLASSES, which was checked.
    Node::class(value as u16)
}

fn fill<T: Copy, const N: usize>(values: impl Iterator<Item = T>, rest: T) -> [T; N] {
    let mut filled = [rest; N];
    for (place, value) in filled.iter_mut().zip(values) {
        *place = value;
    }
    filled
}

/// Keys that are hashes already.
#[derive(Clone, Copy, Default)]
struct Identity;

impl BuildHasher for Identity {
    type Hasher = AsIs;
    fn build_hasher(&self) -> AsIs {
        AsIs(0)
    }
}

/// See [`Identity`].
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
