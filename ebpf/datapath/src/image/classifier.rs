//! The row of the policy for a new flow: partitioned short bit vectors (see [`abi::image::Cell`]).
//!
//! Each dimension gives a class and a part of the number of a cell. A cell holds the rows that can match there, a few
//! hundred at most, and for each class of each dimension a bit for each of these rows.

use abi::{
    ZoneId,
    image::{
        BLOCK_WORDS, Block, Cell, Coordinate, HEADER_BLOCK, HEADER_CELLS, HEADER_PROTOCOLS, HEADER_SERVICES,
        HEADER_ZONE_PAIRS, RuleRow,
    },
};

use super::Image;

/// What the policy is asked about a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Zone it starts in.
    pub from: ZoneId,
    /// Zone it goes to.
    pub to: ZoneId,
    /// Class of the device that starts it; see [`super::device`].
    pub device: u16,
    /// IP protocol.
    pub protocol: u8,
    /// Destination port; for ICMP type * 256 + code; for other protocols 0.
    pub port: u16,
    /// [`abi::image::AddressClass::source`] of its source.
    pub source: Coordinate,
    /// [`abi::image::AddressClass::destination`] of its destination.
    pub destination: Coordinate,
}

/// The first row that matches and does not only log, and in `logged` the first before it that only logs.
/// [`RuleRow::NONE`] where nothing matches. At most 18 block lookups.
///
/// Inlined, so that it takes no stack of its own: the kernel's programs call it from one function.
#[inline(always)]
#[must_use]
pub fn classify<I: Image + ?Sized>(image: &I, question: &Question) -> RuleRow {
    match search(image, question) {
        Some(word) => RuleRow::from_word(word),
        None => RuleRow::NONE,
    }
}

#[inline(always)]
fn search<I: Image + ?Sized>(image: &I, question: &Question) -> Option<u64> {
    let header = image.block(HEADER_BLOCK)?;
    let zones = zone_pair(image, header.word(HEADER_ZONE_PAIRS), question)?;
    let service = service(image, header, question)?;
    let (source, destination) = (question.source, question.destination);
    let number = zones.cell as u32 + service.cell as u32 + source.cell as u32 + destination.cell as u32;
    let cells = header.word(HEADER_CELLS);
    if number >= (cells >> 32) as u32 {
        return None;
    }
    let at = (cells as u32).wrapping_add(number * Cell::WORDS);
    let cell = block_of(image, at)?;
    let at = (at & (BLOCK_WORDS - 1)) * 2;
    let lists = cell.half(at + Cell::LISTS);
    // The place of a class's list. A dimension with one list only has a distance of 0, and its map may be anything.
    let list = |dimension: u32, class: u16| {
        let map = cell.half(at + Cell::MAPS + dimension);
        let distance = cell.half(at + Cell::DISTANCES + dimension);
        let number = quarter(image, map.wrapping_add(class as u32))? as u32;
        Some(lists.wrapping_add(number.wrapping_mul(distance)))
    };
    let zones = list(0, zones.class)?;
    let device = list(1, question.device)?;
    let service = list(2, service.class)?;
    let source = list(3, source.class)?;
    let destination = list(4, destination.class)?;
    let logs = cell.half(at + Cell::LOGS);
    let (zone_bits, device_bits) = (block_of(image, zones)?, block_of(image, device)?);
    let (service_bits, source_bits) = (block_of(image, service)?, block_of(image, source)?);
    let (destination_bits, log_bits) = (block_of(image, destination)?, block_of(image, logs)?);
    let words = cell.half(at + Cell::SIZE);
    // Rows are told by their places in the image: numbers that the verifier does not know, so that it follows what
    // comes after the loop once and not once for each way out of it.
    let mut rows = cell.half(at + Cell::ROWS);
    let mut logged = 0;
    let mut word = 0;
    while word < Cell::MAX_WORDS {
        if word >= words {
            return None;
        }
        let matching = zone_bits.word(zones.wrapping_add(word))
            & device_bits.word(device.wrapping_add(word))
            & service_bits.word(service.wrapping_add(word))
            & source_bits.word(source.wrapping_add(word))
            & destination_bits.word(destination.wrapping_add(word));
        if matching != 0 {
            let logging = matching & log_bits.word(logs.wrapping_add(word));
            let deciding = matching ^ logging;
            let first = deciding & deciding.wrapping_neg();
            let before = logging & first.wrapping_sub(1);
            if before != 0 && logged == 0 {
                logged = rows.wrapping_add(before.trailing_zeros());
            }
            if deciding != 0 {
                return answer(image, rows.wrapping_add(deciding.trailing_zeros()), logged);
            }
        }
        rows = rows.wrapping_add(64);
        word += 1;
    }
    None
}

/// The row that decides, and of the row that only logs (0 = there is none) the rule.
#[inline(always)]
fn answer<I: Image + ?Sized>(image: &I, row: u32, logged: u32) -> Option<u64> {
    let found = RuleRow::from_half(half(image, row)?);
    if logged == 0 {
        return Some(found.word());
    }
    let logged = RuleRow::from_half(half(image, logged)?).rule;
    Some(RuleRow { logged, ..found }.word())
}

/// The place of the pair of zones.
#[inline(always)]
fn zone_pair<I: Image + ?Sized>(image: &I, header: u64, question: &Question) -> Option<Coordinate> {
    let (start, bits) = (header as u32, (header >> 32) as u32 & 7);
    let (from, to) = (question.from as u32, question.to as u32);
    if (from | to) >> bits != 0 {
        return None;
    }
    Some(Coordinate::from_half(half(image, start.wrapping_add(from << bits | to))?))
}

/// The place of the protocol and port: a page for each protocol that rules name has the numbers of runs of 64 ports.
#[inline(always)]
fn service<I: Image + ?Sized>(image: &I, header: &Block, question: &Question) -> Option<Coordinate> {
    let services = header.word(HEADER_SERVICES);
    let page = header.byte(HEADER_PROTOCOLS * 8 + question.protocol as u32) as u32;
    let port = question.port as u32;
    let run = quarter(image, (services as u32).wrapping_add(page << 10 | port >> 6))? as u32;
    let place = ((services >> 32) as u32).wrapping_add(run << 6 | port & 63);
    Some(Coordinate::from_half(half(image, place)?))
}

/// The block that holds this word of the image.
#[inline(always)]
fn block_of<I: Image + ?Sized>(image: &I, word: u32) -> Option<&Block> {
    image.block(word / BLOCK_WORDS)
}

#[inline(always)]
fn half<I: Image + ?Sized>(image: &I, at: u32) -> Option<u32> {
    Some(block_of(image, at >> 1)?.half(at))
}

#[inline(always)]
fn quarter<I: Image + ?Sized>(image: &I, at: u32) -> Option<u16> {
    Some(block_of(image, at >> 2)?.quarter(at))
}
