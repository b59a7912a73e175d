//! Walks through an image ([`abi::image`]), the compiled plan of one generation.
//!
//! The same code reads the image in the kernel and on the host. Whatever its bytes are, each walk ends within a stated
//! number of steps and gives an answer: every place is taken modulo the size of a block, and a block that is not there
//! answers for "nothing is known".

mod addresses;
mod classifier;
mod devices;
mod ports;

use abi::{
    MAX_RATES, ZoneId,
    image::{
        Block, Coordinate, HEADER_BLOCK, HEADER_HELPED_TCP, HEADER_HELPED_UDP, HEADER_PATTERN_PLACES,
        HEADER_PATTERNS, HEADER_RESOLVED, HEADER_ZONES, MAX_PATTERNS, RATES_BLOCK, RateRow, ZoneRow,
    },
};

use crate::parse::{TCP, UDP};

pub use addresses::{address, address_class, class_of, words};
pub use classifier::{Question, classify};
pub use devices::device;
pub use ports::port;

/// The blocks of one image.
pub trait Image {
    /// A block; none beyond the end.
    fn block(&self, index: u32) -> Option<&Block>;
}

impl Image for [Block] {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        self.get(index as usize)
    }
}

impl<I: Image + ?Sized> Image for &I {
    #[inline(always)]
    fn block(&self, index: u32) -> Option<&Block> {
        (**self).block(index)
    }
}

/// What holds for a zone. One block lookup.
#[inline(always)]
#[must_use]
pub fn zone<I: Image + ?Sized>(image: &I, zone: ZoneId) -> ZoneRow {
    match image.block(HEADER_BLOCK) {
        Some(header) => ZoneRow::from_word(header.word(HEADER_ZONES + (zone as u32 & (abi::MAX_ZONES - 1)))),
        None => ZoneRow::EMPTY,
    }
}

/// Whether a flow between two zones may be one that only the second wall can foresee. One block lookup.
#[inline(always)]
#[must_use]
pub fn helped<I: Image + ?Sized>(image: &I, from: ZoneId, to: ZoneId, protocol: u8) -> bool {
    const MASK: u32 = abi::MAX_ZONES - 1;
    let first = match protocol {
        TCP => HEADER_HELPED_TCP,
        UDP => HEADER_HELPED_UDP,
        _ => return false,
    };
    let Some(header) = image.block(HEADER_BLOCK) else { return false };
    header.word(first + (from as u32 & MASK)) >> (to as u32 & MASK) & 1 != 0
}

/// What a zone is called in the table of what the resolver answered; 0 = answers to it do not count. One block lookup.
#[inline(always)]
#[must_use]
pub fn resolver_zone<I: Image + ?Sized>(image: &I, zone: ZoneId) -> u32 {
    match image.block(HEADER_BLOCK) {
        Some(header) => header.word(HEADER_RESOLVED + (zone as u32 & (abi::MAX_ZONES - 1))) as u32,
        None => 0,
    }
}

/// Patterns of names that rules name, a bit each. One block lookup.
#[inline(always)]
#[must_use]
pub fn patterns<I: Image + ?Sized>(image: &I) -> u64 {
    image.block(HEADER_BLOCK).map_or(0, |header| header.word(HEADER_PATTERNS))
}

/// The place of a pattern among the destinations. One block lookup.
#[inline(always)]
#[must_use]
pub fn pattern<I: Image + ?Sized>(image: &I, pattern: u32) -> Coordinate {
    let at = HEADER_PATTERN_PLACES * 2 + (pattern & (MAX_PATTERNS - 1));
    image.block(HEADER_BLOCK).map_or(Coordinate::default(), |header| Coordinate::from_half(header.half(at)))
}

/// A rate by its number; the interval of one that is not there is 0. One block lookup.
#[inline(always)]
#[must_use]
pub fn rate<I: Image + ?Sized>(image: &I, number: u16) -> RateRow {
    let Some(block) = image.block(RATES_BLOCK).filter(|_| (number as u32) < MAX_RATES) else {
        return RateRow { interval: 0, burst: 0 };
    };
    let at = number as u32 * 2;
    RateRow { interval: block.word(at), burst: block.word(at + 1) as u32 }
}
