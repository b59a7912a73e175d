//! The classifier: partitioned short bit vectors. See [`abi::image::Cell`] for what is read.
//!
//! 1. Each dimension (pair of zones, device, service, source, destination) falls into classes: values that every row
//!    treats alike. A row holds for some spans of classes of each.
//! 2. Four of the dimensions are cut into parts, the one that helps most first, until no cell of the grid they make
//!    holds more than [`ROWS_PER_CELL`] rows, or cutting does not help any more.
//! 3. Each cell numbers its rows anew and writes, for each dimension, the different lists of bits and which class has
//!    which.

use abi::{
    POLICY_CONTINUE,
    image::{Cell, Coordinate, MAX_CLASSIFIER_BLOCKS, NOTHING, RuleRow},
};
use foldhash::fast::FixedState;
use std::{collections::HashMap, ops::Range};

use super::{
    ImageError,
    addresses::Known,
    builder::{WORDS, Writer, halves, quarters},
    dimensions::{Dimension, Services, ZonePairs, addresses, devices, services, zone_pairs},
};
use crate::{Plan, Row};

/// Rows that a cell may hold before it is cut in two.
const ROWS_PER_CELL: usize = 512;
/// Words that a classifier should take at most, as far as can be told before it is written.
const ROOM: usize = MAX_CLASSIFIER_BLOCKS as usize * WORDS / 4 * 3;
/// Grids that are tried where the best is too large after all.
const ATTEMPTS: usize = 2;
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
            pairs.dimension.clone(),
            devices(&plan.rows, groups),
            services.dimension.clone(),
            addresses(plan, &known.sources, |row| row.source),
            addresses(plan, &known.destinations, |row| row.destination),
        ];
        let mut needed = 0;
        let grids = Grid::ladder(&dimensions, plan.rows.len());
        let most = Cell::MAX_WORDS as usize * 64;
        let fullest = grids.iter().map(|grid| grid.fill.most).min().unwrap_or(0);
        if fullest > most {
            return Err(ImageError::TooMany {
                what: "rows of rules that can match the same flows",
                count: fullest,
                limit: most,
                help: "let rules name zones, addresses or services that tell them apart",
            });
        }
        for grid in order(grids.iter().filter(|grid| grid.fill.most <= most).collect()) {
            match write(plan, &dimensions, &services, &pairs, grid, writer.len()) {
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

/// Which grids to try, the best first: of those that are small enough the coarsest whose cells are as good as full
/// ones get, then those that take less memory.
fn order(mut grids: Vec<&Grid>) -> Vec<&Grid> {
    let fits = |grid: &&&Grid| grid.fill.words <= ROOM;
    let least = grids.iter().filter(fits).map(|grid| grid.fill.most).min().unwrap_or(usize::MAX);
    let enough = ROWS_PER_CELL.max(least.saturating_add(least / 8));
    let best = grids.iter().position(|grid| fits(&grid) && grid.fill.most <= enough);
    let best = best.map(|place| grids.remove(place));
    grids.sort_by_key(|grid| grid.fill.words);
    grids.truncate(ATTEMPTS);
    best.into_iter().chain(grids).collect()
}

/// How the dimensions are cut.
#[derive(Clone, Debug)]
struct Grid {
    /// Per cut dimension: where each part starts, and the end.
    cuts: [Vec<usize>; 4],
    /// Per cut dimension and part: the rows that hold for any of its classes.
    rows: [Vec<Bits>; 4],
    fill: Fill,
}

/// What the cells of a grid hold.
#[derive(Clone, Copy, Debug, Default)]
struct Fill {
    /// Rows in the fullest.
    most: usize,
    /// The sum of the squares of the rows of all.
    squares: u64,
    /// Words they take, at most.
    words: usize,
}

/// A bit for each row.
type Bits = Vec<u64>;

impl Grid {
    /// Grids from one cell on, each cut in two along one dimension more than the one before.
    fn ladder(dimensions: &[Dimension; 5], rows: usize) -> Vec<Self> {
        let weights = CUT.map(|dimension| dimensions[dimension].weights());
        let cut = |place: usize, parts: usize| {
            let cuts = cuts(&weights[place], parts);
            let rows = dimensions[CUT[place]].parts(&cuts, rows);
            (cuts, rows)
        };
        let whole: [(Vec<usize>, Vec<Bits>); 4] = std::array::from_fn(|place| cut(place, 1));
        let mut grid = Self {
            cuts: whole.each_ref().map(|(cuts, _)| cuts.clone()),
            rows: whole.map(|(_, rows)| rows),
            fill: Fill::default(),
        };
        grid.fill = grid.measure(dimensions);
        let mut ladder = vec![grid.clone()];
        while grid.fill.most > ROWS_PER_CELL && grid.cells() * 2 <= Cell::MAX as usize {
            let tried = (0..4).filter_map(|place| {
                let parts = grid.rows[place].len() * 2;
                if parts > dimensions[CUT[place]].count {
                    return None;
                }
                let mut next = grid.clone();
                (next.cuts[place], next.rows[place]) = cut(place, parts);
                next.fill = next.measure(dimensions);
                Some(next)
            });
            let Some(best) = tried.min_by(|a, b| a.fill.score().total_cmp(&b.fill.score())) else { break };
            ladder.push(best.clone());
            grid = best;
        }
        ladder
    }

    fn measure(&self, dimensions: &[Dimension; 5]) -> Fill {
        // Classes of a part, on average: of so many can the lists of a cell differ.
        let classes: [usize; 5] = std::array::from_fn(|dimension| {
            let parts =
                CUT.iter().position(|cut| *cut == dimension).map_or(1, |place| self.rows[place].len());
            dimensions[dimension].count.div_ceil(parts)
        });
        let maps: usize = classes.iter().map(|classes| classes / 4 + 1).sum();
        let [zones, services, sources, destinations] = self.rows.each_ref();
        let mut fill = Fill::default();
        let (mut outer, mut inner) = (Bits::new(), Bits::new());
        for zone in zones {
            for service in services {
                outer.clear();
                outer.extend(zone.iter().zip(service).map(|(a, b)| a & b));
                for source in sources {
                    inner.clear();
                    inner.extend(outer.iter().zip(source).map(|(a, b)| a & b));
                    for destination in destinations {
                        let rows: u32 =
                            inner.iter().zip(destination).map(|(a, b)| (a & b).count_ones()).sum();
                        let rows = rows as usize;
                        let lists: usize = classes.iter().map(|classes| (2 * rows + 1).min(*classes)).sum();
                        fill.most = fill.most.max(rows);
                        fill.squares += (rows * rows) as u64;
                        fill.words += rows.div_ceil(64) * lists + maps + rows / 2 + Cell::WORDS as usize;
                    }
                }
            }
        }
        fill
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

impl Fill {
    /// Less is better: short lists, and few of them.
    fn score(&self) -> f64 {
        (self.squares as f64 / 2.0 + (self.most as f64).powi(2)) * (self.words as f64).sqrt()
    }
}

/// The words of the classifier, were they placed at block `first`; or how many words there were when the room ran out.
fn write(
    plan: &Plan,
    dimensions: &[Dimension; 5],
    services: &Services,
    zones: &ZonePairs,
    grid: &Grid,
    first: usize,
) -> Result<(Classifier, Vec<u64>), usize> {
    let base = first * WORDS;
    let mut words = Words { words: Vec::new(), base };
    let pairs = grid.coordinates(0);
    let pair_halves: Vec<u32> = zones.table.iter().map(|class| pairs[usize::from(*class)].half()).collect();
    let zone_pairs = words.extend(halves(&pair_halves)) * 2;
    let cells = words.align(Cell::WORDS as usize);
    let cell_count = grid.cells();
    words.words.resize(words.words.len() + cell_count * Cell::WORDS as usize, 0);
    let ports = grid.coordinates(1);
    let port_halves: Vec<u32> = services.runs.iter().map(|class| ports[usize::from(*class)].half()).collect();
    let runs = words.extend(halves(&port_halves)) * 2;

    let mut cell = CellWriter::default();
    let strides = grid.strides();
    let rules: Vec<u32> = plan.rows.iter().map(|row| rule(row).half()).collect();
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
                    let Some(written) = cell.write(plan, dimensions, &ranges, &rules, &mut words) else {
                        return Err(usize::MAX);
                    };
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
        zone_bits: zones.bits,
        pages,
        runs,
        cells,
        cell_count,
        protocols: services.protocols,
        sources: grid.coordinates(2),
        destinations: grid.coordinates(3),
        rows_in_a_cell: grid.fill.most,
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
#[derive(Default)]
struct CellWriter {
    /// The rows of the cell at hand, by their number in it.
    rows: Vec<u16>,
    /// Numbers of its different lists, where list 0 lies, and the next number.
    lists: HashMap<Vec<u64>, u16, FixedState>,
    first: usize,
    next: usize,
    /// Maps from classes to lists, one dimension after the other, and where each is.
    maps: Vec<u16>,
    ends: [Range<usize>; 5],
    /// Where rows of the dimension at hand come and go: class << 16 | number in the cell.
    turns: Vec<u32>,
    halves: Vec<u32>,
}

impl CellWriter {
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

    /// Writes its lists; its halves. None where its lists are too many to be numbered.
    fn write(
        &mut self,
        plan: &Plan,
        dimensions: &[Dimension; 5],
        ranges: &[Range<usize>; 5],
        rules: &[u32],
        words: &mut Words,
    ) -> Option<[u32; 16]> {
        let mut cell = [0; 16];
        let size = self.rows.len().div_ceil(64).max(1);
        // So that the first list lies in one block.
        if words.words.len() % WORDS + size > WORDS {
            words.align(WORDS);
        }
        self.lists.clear();
        self.first = words.words.len();
        self.next = 0;
        let every: Vec<u64> = (0..size).map(|word| ones(self.rows.len().saturating_sub(word * 64))).collect();
        self.list(&every, words)?;
        cell[Cell::SIZE as usize] = size as u32;
        cell[Cell::LISTS as usize] = (words.base + self.first) as u32;
        self.maps.clear();
        for (place, (dimension, range)) in dimensions.iter().zip(ranges).enumerate() {
            let start = self.maps.len();
            self.dimension(dimension, range.clone(), &every, words)?;
            self.ends[place] = start..self.maps.len();
        }
        let logs =
            self.rows.iter().map(|row| plan.rows[usize::from(*row)].value.flags & POLICY_CONTINUE != 0);
        let mut bits = vec![0u64; size];
        for (number, _) in logs.enumerate().filter(|(_, is_log)| *is_log) {
            bits[number / 64] |= 1 << (number % 64);
        }
        let number = self.list(&bits, words)?;
        cell[Cell::LOGS as usize] = (words.base + self.first + usize::from(number) * size) as u32;
        for (place, range) in ranges.iter().enumerate() {
            let map = &self.maps[self.ends[place].clone()];
            let has_map = map.iter().any(|list| *list != 0);
            // Without one the start of the image is read, which is longer than any map (see `compile`).
            let at = if has_map { words.extend(quarters(map)) * 4 } else { 0 };
            // Read modulo 2^32, as it is written.
            cell[Cell::MAPS as usize + place] = (at as u32).wrapping_sub(range.start as u32);
            cell[Cell::DISTANCES as usize + place] = if has_map { size as u32 } else { 0 };
        }
        self.halves.clear();
        self.halves.extend(self.rows.iter().map(|row| rules[usize::from(*row)]));
        cell[Cell::ROWS as usize] = (words.extend(halves(&self.halves)) * 2) as u32;
        Some(cell)
    }

    /// Writes the lists of a dimension, and adds the map from its classes to them.
    fn dimension(
        &mut self,
        dimension: &Dimension,
        range: Range<usize>,
        every: &[u64],
        words: &mut Words,
    ) -> Option<()> {
        let mut bits = vec![0u64; every.len()];
        self.turns.clear();
        for (number, row) in self.rows.iter().enumerate() {
            let (word, bit) = (number / 64, 1 << (number % 64));
            for &(first, last) in dimension.spans(*row) {
                let (start, end) =
                    (usize::from(first).max(range.start), (usize::from(last) + 1).min(range.end));
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
        let turns = std::mem::take(&mut self.turns);
        let mut rest = turns.iter().peekable();
        let mut list = 0;
        for class in range.clone() {
            let mut turned = class == range.start;
            while let Some(turn) = rest.next_if(|turn| (**turn >> 16) as usize == class) {
                let number = (turn & 0xffff) as usize;
                bits[number / 64] ^= 1 << (number % 64);
                turned = true;
            }
            if turned {
                list = self.list(&bits, words)?;
            }
            self.maps.push(list);
        }
        self.turns = turns;
        Some(())
    }

    /// The number of a list; none where the numbers are used up.
    fn list(&mut self, bits: &[u64], words: &mut Words) -> Option<u16> {
        if let Some(&list) = self.lists.get(bits) {
            return Some(list);
        }
        let size = bits.len();
        while (words.base + self.first + self.next * size) % WORDS + size > WORDS {
            self.next += 1;
        }
        let list = u16::try_from(self.next).ok()?;
        self.next += 1;
        words.words.resize(self.first + usize::from(list) * size, 0);
        words.words.extend_from_slice(bits);
        self.lists.insert(bits.to_vec(), list);
        Some(list)
    }
}

/// A word with the lowest `count` bits set, all of them if there are so many.
fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
