//! From a plan to the image of its generation: the bytes that the walkers of `datapath::image` read, in the kernel and
//! on the host. Pure: the same plan and interfaces give the same image.
//!
//! Every limit is checked before anything is handed out, and an error says how many there are, how many there may be
//! and what to do.

mod addresses;
mod builder;
mod classifier;
mod devices;
mod dimensions;
mod ports;
mod trie;

use abi::image::{
    Block, FIXED_BLOCKS, HEADER_ADDRESSES, HEADER_BLOCK, HEADER_CELLS, HEADER_DEVICE_SEED, HEADER_DEVICES,
    HEADER_HELPED_TCP, HEADER_HELPED_UDP, HEADER_MAGIC, HEADER_PATTERN_PLACES, HEADER_PATTERNS,
    HEADER_PROTOCOLS, HEADER_RESOLVED, HEADER_ROOTS, HEADER_SERVICES, HEADER_ZONE_PAIRS, HEADER_ZONES,
    IMAGE_MAGIC, MAX_ADDRESS_CLASSES, NOTHING, PortRow, RATES_BLOCK, ZoneRow,
};
use abi::{MAX_DEVICE_GROUPS, MAX_DEVICES, MAX_RATES, MAX_RULES, MAX_SETS, MAX_ZONES, ZoneId};

use self::{
    addresses::Known,
    builder::{WORDS, Writer},
    classifier::Classifier,
    devices::Devices,
};
use crate::{Helped, Plan, Selector};
use model::Protocol;

/// A plan as the kernel holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The contents.
    pub blocks: Vec<Block>,
    /// What it took.
    pub figures: Figures,
}

/// What an image is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Different things known of addresses.
    pub address_classes: usize,
    /// Blocks of their rows.
    pub class_blocks: usize,
    /// Blocks of the address trie.
    pub trie_blocks: usize,
    /// Nodes of the address trie.
    pub nodes: usize,
    /// Different sets of device groups, "none" included.
    pub device_classes: usize,
    /// Blocks of the devices.
    pub device_blocks: usize,
    /// Rows of the policy.
    pub rows: usize,
    /// Cells of the classifier.
    pub cells: usize,
    /// Rows in the fullest cell.
    pub rows_in_a_cell: usize,
    /// Classes of the classifier: pairs of zones, devices, services, sources, destinations.
    pub classes: [usize; 5],
    /// Blocks of the classifier.
    pub classifier_blocks: usize,
}

impl Figures {
    /// Bytes of the whole image.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        let blocks = self.class_blocks + self.trie_blocks + self.device_blocks + self.classifier_blocks;
        (FIXED_BLOCKS as usize + blocks) * abi::image::BLOCK_BYTES as usize
    }
}

/// Why a plan has no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no room for so many.
    #[error("{count} {what}, and there is room for {limit}; {help}")]
    TooMany {
        /// What is counted, in the plural.
        what: &'static str,
        /// How many there are (with what was counted when the room ran out, at least so many).
        count: usize,
        /// How many there may be.
        limit: usize,
        /// What to do about it.
        help: &'static str,
    },
    /// Two zones hold one interface and VLAN.
    #[error("zones {first} and {second} both hold interface {ifindex} VLAN {vlan}")]
    PortTwice {
        /// Interface index.
        ifindex: u32,
        /// VLAN, 0 = untagged.
        vlan: u16,
        /// One zone.
        first: ZoneId,
        /// The other.
        second: ZoneId,
    },
    /// The plan names a part of itself that it does not have.
    #[error("the plan names {what} {place} and has only {count}")]
    NotThere {
        /// What is named.
        what: &'static str,
        /// Which one.
        place: usize,
        /// How many there are.
        count: usize,
    },
}

impl datapath::image::Image for Image {
    fn block(&self, index: u32) -> Option<&Block> {
        self.blocks.get(index as usize)
    }
}

/// Compiles the image of a plan. `ports` are the plan's interfaces by their numbers on this machine; those that are not
/// there (yet) are left out.
///
/// # Errors
/// [`ImageError`] where something does not fit.
pub fn compile(plan: &Plan, ports: &[PortRow]) -> Result<Image, ImageError> {
    check(plan)?;
    let devices = Devices::new(&plan.devices)?;
    let known = Known::new(plan)?;
    let mut writer = Writer::new(FIXED_BLOCKS);
    // Its rows are written last: they hold places that the classifier gives away.
    let class_start = writer.reserve_blocks(known.class_blocks());
    let (device_start, device_mask) = devices.write(&mut writer);
    let before = writer.len();
    let classifier = Classifier::new(plan, &devices.classes, &known, &mut writer)?;
    let classifier_blocks = writer.len() - before;
    known.write_rows(&mut writer, class_start, &classifier.sources, &classifier.destinations);
    let trie_start = writer.len();
    let trie = known.write_trie(&mut writer)?;

    // Where a cell needs no map, the start of the image is read in its place.
    let longest_map = classifier.classes.iter().max().map_or(0, |classes| classes.div_ceil(WORDS * 4));
    writer.reserve_blocks(longest_map.saturating_sub(writer.len()));
    ports::write(&mut writer, ports)?;
    for (place, rate) in plan.rates.iter().enumerate() {
        let at = (RATES_BLOCK as usize, place * 2);
        writer.blocks[at.0].words[at.1] = rate.interval;
        writer.blocks[at.0].words[at.1 + 1] = u64::from(rate.burst);
    }
    let header = &mut writer.blocks[HEADER_BLOCK as usize].words;
    let halves = |low: usize, high: usize| low as u64 | (high as u64) << 32;
    header[HEADER_MAGIC as usize] = IMAGE_MAGIC;
    header[HEADER_ROOTS as usize] = halves(trie.v4.0 as usize, trie.v6.0 as usize);
    header[HEADER_ADDRESSES as usize] = halves(trie_start, class_start);
    header[HEADER_DEVICES as usize] = halves(device_start, device_mask);
    header[HEADER_DEVICE_SEED as usize] = devices.seed;
    header[HEADER_ZONE_PAIRS as usize] = halves(classifier.zone_pairs, classifier.zone_bits);
    header[HEADER_SERVICES as usize] = halves(classifier.pages, classifier.runs);
    header[HEADER_CELLS as usize] = halves(classifier.cells, classifier.cell_count);
    for (zone, word) in (0..MAX_ZONES as ZoneId).zip(&mut header[HEADER_ZONES as usize..]) {
        let observes = if plan.observe { abi::ZONE_OBSERVE } else { 0 };
        let flags = plan.zones.get(&zone).map_or(0, |zone| zone.flags) | observes;
        let rate = plan.zone_rates.get(&zone).copied().unwrap_or(NOTHING);
        *word = ZoneRow { flags, rate }.word();
    }
    for (protocol, page) in classifier.protocols.iter().enumerate() {
        header[HEADER_PROTOCOLS as usize + protocol / 8] |= u64::from(*page) << (protocol % 8 * 8);
    }
    for Helped { from, to, protocol } in &plan.helped {
        let first = if *protocol == Protocol::TCP { HEADER_HELPED_TCP } else { HEADER_HELPED_UDP };
        header[first as usize + usize::from(*from)] |= 1 << to;
    }
    for (zone, called) in &plan.resolved {
        header[HEADER_RESOLVED as usize + usize::from(*zone)] = u64::from(*called);
    }
    header[HEADER_PATTERNS as usize] = plan.names.values().fold(0, |all, names| all | names);
    for (pattern, class) in known.patterns.iter().enumerate() {
        let place = classifier.destinations[*class].half();
        header[HEADER_PATTERN_PLACES as usize + pattern / 2] |= u64::from(place) << (pattern % 2 * 32);
    }
    let figures = Figures {
        address_classes: known.len(),
        class_blocks: known.class_blocks(),
        trie_blocks: writer.len() - trie_start,
        nodes: trie.nodes,
        device_classes: devices.classes.len(),
        device_blocks: devices.blocks(),
        rows: plan.rows.len(),
        cells: classifier.cell_count,
        rows_in_a_cell: classifier.rows_in_a_cell,
        classes: classifier.classes,
        classifier_blocks,
    };
    Ok(Image { blocks: writer.blocks, figures })
}

/// What can be counted before anything is done, and that the plan has what it names.
fn check(plan: &Plan) -> Result<(), ImageError> {
    at_most("rows of rules", plan.rows.len(), MAX_RULES as usize, "write fewer, wider rules")?;
    at_most("address sets in rules", plan.sets.len(), MAX_SETS as usize, "put addresses into groups")?;
    at_most("device groups in rules", plan.devices.len(), MAX_DEVICE_GROUPS as usize, "merge device groups")?;
    let devices = plan.devices.iter().map(Vec::len).sum();
    at_most("MAC addresses in device groups", devices, MAX_DEVICES as usize, "give devices a zone instead")?;
    at_most("rates", plan.rates.len(), MAX_RATES as usize, "use the same rate in several places")?;
    for row in &plan.rows {
        for selector in [row.source, row.destination] {
            match selector {
                Selector::Any => {}
                Selector::Set(set) => there("address set", usize::from(set), plan.sets.len())?,
            }
        }
        if let Some(group) = row.device {
            there("device group", usize::from(group), plan.devices.len())?;
        }
        if let Some(rate) = row.rate {
            there("rate", usize::from(rate), plan.rates.len())?;
        }
    }
    plan.names.keys().try_for_each(|set| there("address set", usize::from(*set), plan.sets.len()))?;
    for (&zone, &rate) in &plan.zone_rates {
        there("rate", usize::from(rate), plan.rates.len())?;
        there("zone", usize::from(zone), MAX_ZONES as usize)?;
    }
    let zones = plan.zones.keys().chain(plan.networks.values()).chain(plan.resolved.keys());
    zones.copied().try_for_each(|zone| there("zone", usize::from(zone), MAX_ZONES as usize))
}

fn there(what: &'static str, place: usize, count: usize) -> Result<(), ImageError> {
    if place < count { Ok(()) } else { Err(ImageError::NotThere { what, place, count }) }
}

fn at_most(what: &'static str, count: usize, limit: usize, help: &'static str) -> Result<(), ImageError> {
    if count > limit { Err(ImageError::TooMany { what, count, limit, help }) } else { Ok(()) }
}

/// Too many different things are known of addresses.
fn too_many_classes(count: usize) -> ImageError {
    ImageError::TooMany {
        what: "different combinations of zones, lists and address sets that addresses are in",
        count,
        limit: MAX_ADDRESS_CLASSES as usize,
        help: "name fewer overlapping address sets in rules",
    }
}
