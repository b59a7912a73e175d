//! The row of the policy for a new flow: partitioned short bit vectors (see [`abi::image::Cell`]).
//!
//! Each dimension gives a class and a part of the number of a cell. A cell holds the rows that can match there, a few
//! hundred at most, and for each class of each dimension a bit for each of these rows.

use abi::{
    ZoneId,
    image::{
        BLOCK_WORDS, Block, Cell, Coordinate, HEADER_CELLS, HEADER_PROTOCOLS, HEADER_SERVICES,
        HEADER_ZONE_PAIRS, RuleRow,
    },
};

use super::{Image, Reader};

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
#[inline(always)]
#[must_use]
pub fn classify<I: Image + ?Sized>(image: &I, question: &Question) -> RuleRow {
    RuleRow::from_word(find(image, question))
}

/// A word and not a struct: what a BPF function can return.
#[inline(never)]
fn find<I: Image + ?Sized>(image: &I, question: &Question) -> u64 {
    match search(image, question) {
        Some(word) => word,
        None => RuleRow::NONE.word(),
    }
}

#[inline(always)]
fn search<I: Image + ?Sized>(image: &I, question: &Question) -> Option<u64> {
    let mut reader = Reader::new(image)?;
    let header = reader.block;
    let zones = zone_pair(&mut reader, header.word(HEADER_ZONE_PAIRS), question)?;
    let service = service(&mut reader, header, question)?;
    let (source, destination) = (question.source, question.destination);
    let number = zones.cell as u32 + service.cell as u32 + source.cell as u32 + destination.cell as u32;
    let cells = header.word(HEADER_CELLS);
    if number >= (cells >> 32) as u32 {
        return None;
    }
    let at = (cells as u32).wrapping_add(number * Cell::WORDS);
    let cell = reader.block_of(at)?;
    let at = (at & (BLOCK_WORDS - 1)) * 2;
    let words = cell.half(at + Cell::SIZE);
    let lists = cell.half(at + Cell::LISTS);
    let mut list = |dimension: u32, class: u16| {
        let map = cell.half(at + Cell::MAPS + dimension);
        if map == 0 {
            return Some(lists);
        }
        let number = reader.quarter(map.wrapping_add(class as u32))? as u32;
        Some(lists.wrapping_add(number.wrapping_mul(words)))
    };
    let zones = list(0, zones.class)?;
    let device = list(1, question.device)?;
    let service = list(2, service.class)?;
    let source = list(3, source.class)?;
    let destination = list(4, destination.class)?;
    let (zone_bits, device_bits) = (reader.block_of(zones)?, reader.block_of(device)?);
    let (service_bits, source_bits) = (reader.block_of(service)?, reader.block_of(source)?);
    let destination_bits = reader.block_of(destination)?;
    let (rows, logs) = (cell.half(at + Cell::ROWS), cell.half(at + Cell::LOGS));
    let log_bits = if logs == 0 { header } else { reader.block_of(logs)? };
    let mut logged = u32::MAX;
    let mut word = 0;
    while word < Cell::MAX_WORDS {
        if word >= words {
            return None;
        }
        let mut matching = zone_bits.word(zones.wrapping_add(word))
            & device_bits.word(device.wrapping_add(word))
            & service_bits.word(service.wrapping_add(word))
            & source_bits.word(source.wrapping_add(word))
            & destination_bits.word(destination.wrapping_add(word));
        if matching != 0 && logs != 0 {
            let logging = matching & log_bits.word(logs.wrapping_add(word));
            matching ^= logging;
            if logging != 0 && logged == u32::MAX {
                logged = word << 6 | logging.trailing_zeros();
            }
        }
        if matching != 0 {
            let row = word << 6 | matching.trailing_zeros();
            let found = RuleRow::from_half(reader.half(rows.wrapping_add(row))?);
            if logged > row {
                return Some(found.word());
            }
            let logged = RuleRow::from_half(reader.half(rows.wrapping_add(logged))?).rule;
            return Some(RuleRow { logged, ..found }.word());
        }
        word += 1;
    }
    None
}

/// The place of the pair of zones.
#[inline(always)]
fn zone_pair<I: Image + ?Sized>(
    reader: &mut Reader<'_, I>,
    header: u64,
    question: &Question,
) -> Option<Coordinate> {
    let (start, bits) = (header as u32, (header >> 32) as u32 & 7);
    let (from, to) = (question.from as u32, question.to as u32);
    if (from | to) >> bits != 0 {
        return None;
    }
    Some(Coordinate::from_half(reader.half(start.wrapping_add(from << bits | to))?))
}

/// The place of the protocol and port: a page for each protocol that rules name has the numbers of runs of 64 ports.
#[inline(always)]
fn service<I: Image + ?Sized>(
    reader: &mut Reader<'_, I>,
    header: &Block,
    question: &Question,
) -> Option<Coordinate> {
    let services = header.word(HEADER_SERVICES);
    let page = header.byte(HEADER_PROTOCOLS * 8 + question.protocol as u32) as u32;
    let port = question.port as u32;
    let run = reader.quarter((services as u32).wrapping_add(page << 10 | port >> 6))? as u32;
    let place = ((services >> 32) as u32).wrapping_add(run << 6 | port & 63);
    Some(Coordinate::from_half(reader.half(place)?))
}
