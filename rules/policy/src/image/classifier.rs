//! The classifier: partitioned short bit vectors. See [`abi::image::Cell`] for what is read.
//!
//! 1. Each dimension (pair of zones, device, service, source, destination) falls into classes: values that every row
//!    treats alike. A row holds for some spans of classes of each.
//! 2. Four of the dimensions are cut into parts, the one that helps most first, until no cell of the grid they make
//!    holds more than [`ROWS_PER_CELL`] rows.
//! 3. Each cell numbers its rows anew and writes, for each dimension, the different lists of bits and which class has
//!    which.

use abi::{
    POLICY_CONTINUE,
    image::{Cell, Coordinate, MAX_CLASSIFIER_BLOCKS, NOTHING, RuleRow},
};
use foldhash::fast::FixedState;
use std::collections::HashMap;

use super::{
    ImageError,
    addresses::Known,
    builder::{WORDS, Writer, halves, quarters},
    dimensions::{Dimension, Services, addresses, devices, services, zone_pairs},
};
use crate::{Plan, Row};

/// Rows that a cell may hold before it is cut in two. More are tried where the image would become too large.
const ROWS_PER_CELL: [usize; 4] = [512, 1024, 2048, 4096];
/// Dimensions that are cut, by their place among all: devices are not, they carry no part of a cell.
const CUT: [usize; 4] = [0, 2, 3, 4];

/// Where the parts of a written classifier are, in the units of the header.
#[derive(Debug)]
pub(super) struct Classifier {
    pub(super) zone_pairs: usize,
    pub(super) zone_bits: usize,
    pub(super) pages: usize,
    pub(super) runs: usize,
    pub(super) cells: usize,
    pub(super) cell_count: usize,
    /// The page of each protocol.
    pub(super) protocols: [u8; 256],
    /// The place of each class of sources, of destinations.
    pub(super) sources: Vec<Coordinate>,
    pub(super) destinations: Vec<Coordinate>,
    /// Figures.
    pub(super) rows_in_a_cell: usize,
    pub(super) classes: [usize; 5],
}

impl Classifier {
    /// Compiles the rows and writes them from the start of a new block on.
    pub(super) fn new(
        plan: &Plan,
        groups: &[Vec<u16>],
        known: &Known,
        writer: &mut Writer,
    ) -> Result<Self, ImageError> {
        let pairs = zone_pairs(plan);
        let services = services(&plan.rows)?;
        let dimensions = [
            pairs.dimension,
            devices(&plan.rows, groups),
            services.dimension.clone(),
            addresses(plan, &known.sources, |row| row.source),
            addresses(plan, &known.destinations, |row| row.destination),
        ];
        let mut needed = 0;
        for limit in ROWS_PER_CELL {
            let grid = Grid::new(&dimensions, plan.rows.len(), limit);
            if grid.fullest > Cell::MAX_WORDS as usize * 64 {
                return Err(ImageError::TooMany {
                    what: "rows of rules that can match the same flows",
                    count: grid.fullest,
                    limit: Cell::MAX_WORDS as usize * 64,
                    help: "let rules name zones, addresses or services that tell them apart",
                });
            }
            // What cannot be cut further will not be smaller with larger cells.
            match write(plan, &dimensions, &services, &pairs.table, pairs.bits, &grid, writer.len()) {
                Ok((classifier, words)) => {
                    writer.append(&words);
                    return Ok(classifier);
                }
                Err(words) => needed = words,
            }
        }
        Err(ImageError::TooMany {
            what: "blocks of 4 KiB needed for rules (when the room ran out)",
            count: needed.div_ceil(WORDS),
            limit: MAX_CLASSIFIER_BLOCKS as usize,
            help: "write fewer rules, or let fewer of them name many address sets and ports at once",
        })
    }
}

/// How the dimensions are cut.
#[derive(Debug)]
struct Grid {
    /// Per cut dimension: where each part starts, and the end.
    cuts: [Vec<usize>; 4],
    /// Per cut dimension and part: the rows that hold for any of its classes.
    rows: [Vec<Bits>; 4],
    /// Rows in the fullest cell.
    fullest: usize,
}

/// A bit for each row.
type Bits = Vec<u64>;

impl Grid {
    fn new(dimensions: &[Dimension; 5], rows: usize, limit: usize) -> Self {
        let weights = CUT.map(|dimension| dimensions[dimension].weights());
        let cut = |place: usize, parts: usize| {
            let cuts = cuts(&weights[place], parts);
            let rows = dimensions[CUT[place]].parts(&cuts, rows);
            (cuts, rows)
        };
        let start: [(Vec<usize>, Vec<Bits>); 4] = std::array::from_fn(|place| cut(place, 1));
        let (mut all_cuts, mut all_rows) =
            (start.each_ref().map(|(cuts, _)| cuts.clone()), start.map(|(_, rows)| rows));
        let mut fullest = rows;
        let mut cells = 1;
        while fullest > limit && cells * 2 <= Cell::MAX as usize {
            let mut best: Option<(u128, usize, usize, (Vec<usize>, Vec<Bits>))> = None;
            for place in 0..4 {
                let parts = all_cuts[place].len() - 1;
                if parts * 2 > dimensions[CUT[place]].count {
                    continue;
                }
                let tried = cut(place, parts * 2);
                let sides: [&[Bits]; 4] =
                    std::array::from_fn(
                        |side| if side == place { &tried.1[..] } else { &all_rows[side][..] },
                    );
                let (most, squares) = fill(sides);
                let score = u128::from(squares) / 2 + (most as u128) * (most as u128);
                if best.as_ref().is_none_or(|(least, ..)| score < *least) {
                    best = Some((score, place, most, tried));
                }
            }
            let Some((_, place, most, (cuts, rows))) = best else { break };
            all_cuts[place] = cuts;
            all_rows[place] = rows;
            fullest = most;
            cells *= 2;
        }
        Self { cuts: all_cuts, rows: all_rows, fullest }
    }

    fn cells(&self) -> usize {
        self.rows.iter().map(Vec::len).product()
    }

    /// What a part of a dimension adds to the number of a cell.
    fn strides(&self) -> [usize; 4] {
        let [_, services, sources, destinations] = self.rows.each_ref().map(Vec::len);
        [services * sources * destinations, sources * destinations, destinations, 1]
    }

    /// The place of each class of a cut dimension.
    fn coordinates(&self, place: usize) -> Vec<Coordinate> {
        let stride = self.strides()[place];
        let parts = self.cuts[place].windows(2).enumerate();
        // Cells and classes are fewer than 65,536.
        parts
            .flat_map(|(part, cut)| {
                (cut[0]..cut[1])
                    .map(move |class| Coordinate { class: class as u16, cell: (part * stride) as u16 })
            })
            .collect()
    }
}

/// Cuts classes into parts of about the same weight.
fn cuts(weights: &[u64], parts: usize) -> Vec<usize> {
    let sums: Vec<u64> = std::iter::once(0)
        .chain(weights.iter().scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        }))
        .collect();
    let (count, total) = (weights.len(), sums[weights.len()]);
    let mut cuts = vec![0];
    for part in 1..parts {
        let wanted = total * part as u64 / parts as u64;
        let at = sums.partition_point(|sum| *sum < wanted);
        // Every part gets a class, at least.
        cuts.push(at.clamp(cuts[part - 1] + 1, count - (parts - part)));
    }
    cuts.push(count);
    cuts
}

/// The fullest cell, and the sum of the squares of all.
fn fill([zones, services, sources, destinations]: [&[Bits]; 4]) -> (usize, u64) {
    let (mut most, mut squares) = (0, 0);
    let mut outer = Bits::new();
    let mut inner = Bits::new();
    for zone in zones {
        for service in services {
            outer.clear();
            outer.extend(zone.iter().zip(service).map(|(a, b)| a & b));
            for source in sources {
                inner.clear();
                inner.extend(outer.iter().zip(source).map(|(a, b)| a & b));
                for destination in destinations {
                    let rows: u32 = inner.iter().zip(destination).map(|(a, b)| (a & b).count_ones()).sum();
                    most = most.max(rows as usize);
                    squares += u64::from(rows) * u64::from(rows);
                }
            }
        }
    }
    (most, squares)
}

/// The words of the classifier, were they placed at block `first`; or how many words there were when the room ran out.
fn write(
    plan: &Plan,
    dimensions: &[Dimension; 5],
    services: &Services,
    pair_table: &[u16],
    zone_bits: usize,
    grid: &Grid,
    first: usize,
) -> Result<(Classifier, Vec<u64>), usize> {
    let base = first * WORDS;
    let mut words = Words { words: Vec::new(), base };
    let pairs = grid.coordinates(0);
    let pair_halves: Vec<u32> = pair_table.iter().map(|class| pairs[usize::from(*class)].half()).collect();
    let zone_pairs = words.extend(halves(&pair_halves)) * 2;
    let cells = words.align(Cell::WORDS as usize);
    let cell_count = grid.cells();
    words.words.resize(words.words.len() + cell_count * Cell::WORDS as usize, 0);
    let ports = grid.coordinates(1);
    let port_halves: Vec<u32> = services.runs.iter().map(|class| ports[usize::from(*class)].half()).collect();
    let runs = words.extend(halves(&port_halves)) * 2;

    let mut cell = CellWriter::new(plan.rows.len());
    let strides = grid.strides();
    let rules: Vec<u64> = plan.rows.iter().map(|row| rule(row).word()).collect();
    for (a, zones) in grid.rows[0].iter().enumerate() {
        for (b, service) in grid.rows[1].iter().enumerate() {
            for (c, source) in grid.rows[2].iter().enumerate() {
                for (d, destination) in grid.rows[3].iter().enumerate() {
                    let parts = [a, b, c, d];
                    let rows = zones.iter().zip(service).zip(source).zip(destination);
                    cell.take(rows.map(|(((a, b), c), d)| a & b & c & d));
                    let range =
                        |place: usize| grid.cuts[place][parts[place]]..grid.cuts[place][parts[place] + 1];
                    let ranges = [range(0), 0..dimensions[1].count, range(1), range(2), range(3)];
                    let number: usize = parts.iter().zip(strides).map(|(part, stride)| part * stride).sum();
                    let written = cell.write(plan, dimensions, &ranges, &rules, &mut words);
                    let at = cells - base + number * Cell::WORDS as usize;
                    for (word, value) in words.words[at..].iter_mut().zip(halves(&written)) {
                        *word = value;
                    }
                    if words.words.len() > MAX_CLASSIFIER_BLOCKS as usize * WORDS {
                        return Err(words.words.len());
                    }
                }
            }
        }
    }
    let pages = words.extend(quarters(&services.pages)) * 4;
    if words.words.len() > MAX_CLASSIFIER_BLOCKS as usize * WORDS {
        return Err(words.words.len());
    }
    let classifier = Classifier {
        zone_pairs,
        zone_bits,
        pages,
        runs,
        cells,
        cell_count,
        protocols: services.protocols,
        sources: grid.coordinates(2),
        destinations: grid.coordinates(3),
        rows_in_a_cell: grid.fullest,
        classes: dimensions.each_ref().map(|dimension| dimension.count),
    };
    Ok((classifier, words.words))
}

/// What a row says, as the walker hands it out.
fn rule(row: &Row) -> RuleRow {
    RuleRow {
        action: row.value.action,
        flags: row.value.flags,
        rule: row.value.rule,
        rate: row.rate.unwrap_or(NOTHING),
        logged: NOTHING,
    }
}

/// Words that will stand at a position of the image.
struct Words {
    words: Vec<u64>,
    base: usize,
}

impl Words {
    /// The position of the next word, once it is a multiple of `unit` (a power of two that divides a block).
    fn align(&mut self, unit: usize) -> usize {
        self.words.resize(self.words.len().next_multiple_of(unit), 0);
        self.base + self.words.len()
    }

    /// Appends words; the position of the first.
    fn extend(&mut self, words: impl Iterator<Item = u64>) -> usize {
        let at = self.base + self.words.len();
        self.words.extend(words);
        at
    }
}

/// Writes one cell after the other.
struct CellWriter {
    /// The rows of the cell at hand, by their number in it.
    rows: Vec<u16>,
    /// Different lists of the dimension at hand.
    lists: HashMap<Vec<u64>, u16, FixedState>,
    /// Where rows come and go: class << 16 | number in the cell.
    turns: Vec<u32>,
    map: Vec<u16>,
}

impl CellWriter {
    fn new(rows: usize) -> Self {
        Self { rows: Vec::with_capacity(rows), lists: HashMap::default(), turns: Vec::new(), map: Vec::new() }
    }

    /// Takes the rows of the next cell.
    fn take(&mut self, rows: impl Iterator<Item = u64>) {
        self.rows.clear();
        for (at, mut word) in rows.enumerate() {
            while word != 0 {
                // Fewer than 65,536 rows.
                self.rows.push((at * 64) as u16 + word.trailing_zeros() as u16);
                word &= word - 1;
            }
        }
    }

    /// Writes its lists; its halves.
    fn write(
        &mut self,
        plan: &Plan,
        dimensions: &[Dimension; 5],
        ranges: &[std::ops::Range<usize>; 5],
        rules: &[u64],
        words: &mut Words,
    ) -> [u32; 16] {
        let mut cell = [0; 16];
        let size = self.rows.len().div_ceil(64).max(1);
        let distance = size.next_power_of_two();
        cell[Cell::SIZE as usize] = size as u32 | distance.trailing_zeros() << 16;
        for (place, (dimension, range)) in dimensions.iter().zip(ranges).enumerate() {
            words.align(distance);
            let lists = words.base + words.words.len();
            cell[Cell::LISTS as usize + place] = lists as u32;
            if let Some(map) = self.dimension(dimension, range.clone(), size, distance, words) {
                cell[Cell::MAPS as usize + place] = map;
            }
        }
        let logs =
            self.rows.iter().map(|row| plan.rows[usize::from(*row)].value.flags & POLICY_CONTINUE != 0);
        let mut bits = vec![0u64; size];
        for (number, _) in logs.enumerate().filter(|(_, is_log)| *is_log) {
            bits[number / 64] |= 1 << (number % 64);
        }
        if bits.iter().any(|word| *word != 0) {
            words.align(distance);
            cell[Cell::LOGS as usize] = words.extend(bits.iter().copied()) as u32;
        }
        let rows = self.rows.iter().map(|row| rules[usize::from(*row)]);
        cell[Cell::ROWS as usize] = words.extend(rows) as u32;
        cell
    }

    /// Writes the lists of a dimension, and the map to them unless there is only one; its place less the first class.
    fn dimension(
        &mut self,
        dimension: &Dimension,
        range: std::ops::Range<usize>,
        size: usize,
        distance: usize,
        words: &mut Words,
    ) -> Option<u32> {
        let mut bits = vec![0u64; size];
        self.turns.clear();
        self.lists.clear();
        self.map.clear();
        for (number, row) in self.rows.iter().enumerate() {
            let (word, bit) = (number / 64, 1 << (number % 64));
            for &(start, end) in dimension.spans(*row) {
                let (start, end) =
                    (usize::from(start).max(range.start), (usize::from(end) + 1).min(range.end));
                if start >= end {
                    continue;
                }
                if start == range.start {
                    bits[word] |= bit;
                } else {
                    self.turns.push((start << 16 | number) as u32);
                }
                if end < range.end {
                    self.turns.push((end << 16 | number) as u32);
                }
            }
        }
        self.turns.sort_unstable();
        let mut turns = self.turns.iter().peekable();
        let mut list = 0;
        for class in range.clone() {
            let mut turned = class == range.start;
            while let Some(turn) = turns.next_if(|turn| (**turn >> 16) as usize == class) {
                let number = (turn & 0xffff) as usize;
                bits[number / 64] ^= 1 << (number % 64);
                turned = true;
            }
            if turned {
                list = match self.lists.get(&bits) {
                    Some(&list) => list,
                    None => {
                        // No more lists than classes.
                        let list = self.lists.len() as u16;
                        words.align(distance);
                        words.extend(bits.iter().copied());
                        self.lists.insert(bits.clone(), list);
                        list
                    }
                };
            }
            self.map.push(list);
        }
        if self.lists.len() == 1 {
            return None;
        }
        let at = words.extend(quarters(&self.map)) * 4;
        // Read modulo 2^32, as it was written.
        Some((at as u32).wrapping_sub(range.start as u32))
    }
}
