//! The dimensions of the classifier: which classes there are, and for which spans of them a row holds.

use abi::MAX_ZONES;
use foldhash::fast::FixedState;
use model::Protocol;
use std::collections::{BTreeMap, HashMap};

use super::ImageError;
use crate::{Plan, Row, Selector, has_ports};

/// Classes of one dimension.
#[derive(Clone, Debug)]
pub(super) struct Dimension {
    /// How many, at least one.
    pub(super) count: usize,
    /// The spans of all rows: first and last class, in order, not touching.
    spans: Vec<(u16, u16)>,
    /// Where the spans of each row end.
    ends: Vec<u32>,
}

impl Dimension {
    /// A dimension with the spans of each row: first class and the one after the last, in order.
    fn new<S: IntoIterator<Item = (usize, usize)>>(count: usize, rows: impl Iterator<Item = S>) -> Self {
        let mut dimension = Self { count, spans: Vec::new(), ends: Vec::new() };
        for spans in rows {
            let first = dimension.spans.len();
            for (start, end) in spans {
                if start >= end {
                    continue;
                }
                // At most 65,536 classes.
                let (start, last) = (start as u16, (end - 1) as u16);
                match dimension.spans[first..].last_mut() {
                    Some(before) if usize::from(before.1) + 1 >= usize::from(start) => {
                        before.1 = before.1.max(last);
                    }
                    Some(_) | None => dimension.spans.push((start, last)),
                }
            }
            dimension.ends.push(dimension.spans.len() as u32);
        }
        dimension
    }

    /// Where a row holds.
    pub(super) fn spans(&self, row: u16) -> &[(u16, u16)] {
        let row = usize::from(row);
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.spans[start..self.ends[row] as usize]
    }

    /// How much each class weighs: the rows that hold for it but not for every class, and one.
    pub(super) fn weights(&self) -> Vec<u64> {
        let mut changes = vec![0i64; self.count + 1];
        for &(first, last) in &self.spans {
            if usize::from(last - first) + 1 < self.count {
                changes[usize::from(first)] += 1;
                changes[usize::from(last) + 1] -= 1;
            }
        }
        let mut sum = 0;
        let weight = |change: &i64| {
            sum += change;
            sum.unsigned_abs() + 1
        };
        changes[..self.count].iter().map(weight).collect()
    }

    /// For each part between two cuts: the rows that hold for any of its classes, a bit each.
    pub(super) fn parts(&self, cuts: &[usize], rows: usize) -> Vec<Vec<u64>> {
        let mut parts = vec![vec![0; rows.div_ceil(64).max(1)]; cuts.len() - 1];
        for row in 0..rows {
            for &(first, last) in self.spans(row as u16) {
                let (first, last) = (usize::from(first), usize::from(last));
                let start = cuts.partition_point(|cut| *cut <= first) - 1;
                for (part, _) in (start..).zip(&cuts[start..]).take_while(|(_, cut)| **cut <= last) {
                    parts[part][row / 64] |= 1u64 << (row % 64);
                }
            }
        }
        parts
    }
}

/// Pairs of zones.
#[derive(Debug)]
pub(super) struct ZonePairs {
    pub(super) dimension: Dimension,
    /// The class of each pair, by `from << bits | to`.
    pub(super) table: Vec<u16>,
    /// Bits of a zone in that.
    pub(super) bits: usize,
}

/// Zones that all rows treat alike as the start of a flow are one, and so for the end of a flow; a class is a pair.
pub(super) fn zone_pairs(plan: &Plan) -> ZonePairs {
    let zones = plan.zones.keys().chain(plan.networks.values()).copied();
    let ports = plan.ports.iter().map(|port| port.zone);
    let most = zones.chain(ports).map(u32::from).filter(|zone| *zone < MAX_ZONES).max().unwrap_or(0).max(3);
    let bits = (most + 1).next_power_of_two().trailing_zeros();
    let (from, from_spans) = alike(1 << bits, plan.rows.iter().map(|row| row.from));
    let (to, to_spans) = alike(1 << bits, plan.rows.iter().map(|row| row.to));
    let width = to.iter().map(|class| class + 1).max().unwrap_or(1);
    let height = from.iter().map(|class| class + 1).max().unwrap_or(1);
    let rows = from_spans.into_iter().zip(to_spans).map(|(from, to)| {
        from.into_iter()
            .flat_map(|(start, end)| start..end)
            .flat_map(move |line| {
                to.clone().into_iter().map(move |(start, end)| (line * width + start, line * width + end))
            })
            .collect::<Vec<_>>()
    });
    let dimension = Dimension::new(width * height, rows);
    let table = from.iter().flat_map(|from| to.iter().map(move |to| (from * width + to) as u16)).collect();
    ZonePairs { dimension, table, bits: bits as usize }
}

/// Classes of the bits that all of the rows' masks treat alike: the class of each bit, and the spans of each mask.
fn alike(bits: usize, masks: impl Iterator<Item = u64> + Clone) -> (Vec<usize>, Vec<Vec<(usize, usize)>>) {
    let mut distinct: Vec<u64> = masks.clone().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let mut classes = Vec::with_capacity(bits);
    let mut firsts: Vec<usize> = Vec::new();
    for bit in 0..bits {
        let same = |first: &usize| distinct.iter().all(|mask| (mask >> bit ^ mask >> first) & 1 == 0);
        let class = firsts.iter().position(same).unwrap_or_else(|| {
            firsts.push(bit);
            firsts.len() - 1
        });
        classes.push(class);
    }
    let spans = masks
        .map(|mask| {
            let holds = (0..firsts.len()).filter(|class| mask >> firsts[*class] & 1 != 0);
            holds.map(|class| (class, class + 1)).collect()
        })
        .collect();
    (classes, spans)
}

/// Devices, by the groups of each class.
pub(super) fn devices(rows: &[Row], classes: &[Vec<u16>]) -> Dimension {
    let mut members: HashMap<u16, Vec<(usize, usize)>, FixedState> = HashMap::default();
    for (class, groups) in classes.iter().enumerate() {
        for group in groups {
            members.entry(*group).or_default().push((class, class + 1));
        }
    }
    let spans = rows.iter().map(|row| match row.device {
        None => vec![(0, classes.len())],
        Some(group) => members.get(&group).cloned().unwrap_or_default(),
    });
    Dimension::new(classes.len(), spans)
}

/// Addresses, by the sets of each class.
pub(super) fn addresses(plan: &Plan, classes: &[Vec<u16>], selector: impl Fn(&Row) -> Selector) -> Dimension {
    let mut members = vec![Vec::new(); plan.sets.len()];
    for (class, sets) in classes.iter().enumerate() {
        for set in sets {
            members[usize::from(*set)].push((class, class + 1));
        }
    }
    let spans = plan.rows.iter().map(|row| match selector(row) {
        Selector::Any => vec![(0, classes.len())],
        Selector::Set(set) => members[usize::from(set)].clone(),
    });
    Dimension::new(classes.len(), spans)
}

/// Protocols and ports.
#[derive(Clone, Debug)]
pub(super) struct Services {
    pub(super) dimension: Dimension,
    /// The page of each protocol.
    pub(super) protocols: [u8; 256],
    /// Per page, the numbers of its 1,024 runs.
    pub(super) pages: Vec<u16>,
    /// Per run, the classes of its 64 ports.
    pub(super) runs: Vec<u16>,
}

/// Ports of a run.
const RUN: usize = 64;

/// Every protocol that rules name has a page, all others share page 0. Classes are stretches of ports.
pub(super) fn services(rows: &[Row]) -> Result<Services, ImageError> {
    // By protocol: the ports of each row, and where stretches start.
    let mut named: BTreeMap<u8, Stretches> = BTreeMap::new();
    for (row, matched) in
        (0u16..).zip(rows).flat_map(|(number, row)| row.services.iter().map(move |m| (number, m)))
    {
        let stretches = named.entry(matched.protocol.0).or_default();
        let (first, last) = if has_ports(Protocol(matched.protocol.0)) {
            (u32::from(matched.ports.first), u32::from(matched.ports.last))
        } else {
            (0, u32::from(u16::MAX))
        };
        if first <= last {
            stretches.starts.extend([first, last + 1]);
            stretches.ports.push((row, first, last + 1));
        }
    }
    let mut count = 1;
    let mut protocols = [0; 256];
    let mut spans: Vec<Vec<(usize, usize)>> = vec![Vec::new(); rows.len()];
    let mut runs = Runs::default();
    let mut pages = runs.page(std::iter::repeat_n(0, RUN * 1024));
    // Where every protocol is named there is none for page 0, and numbers up to 255 are enough.
    let first_page = if named.len() == 256 { 0u16 } else { 1 };
    if first_page == 0 {
        pages.clear();
    }
    for (page, (protocol, mut stretches)) in (first_page..).zip(named) {
        protocols[usize::from(protocol)] = page as u8;
        stretches.starts.push(0);
        stretches.starts.sort_unstable();
        stretches.starts.dedup();
        stretches.starts.retain(|start| *start <= u32::from(u16::MAX));
        let starts = &stretches.starts;
        let class = |port: u32| count + starts.partition_point(|start| *start < port);
        for &(row, first, end) in &stretches.ports {
            spans[usize::from(row)].push((class(first), class(end)));
        }
        let ends = starts[1..].iter().copied().chain([1 << 16]);
        let ports = starts.iter().zip(ends).enumerate();
        let classes = ports.flat_map(|(place, (start, end))| {
            std::iter::repeat_n((count + place) as u16, (end - start) as usize)
        });
        pages.extend(runs.page(classes));
        count += starts.len();
        if count > usize::from(u16::MAX) {
            return Err(ImageError::TooMany {
                what: "stretches of ports that rules tell apart",
                count,
                limit: usize::from(u16::MAX),
                help: "let rules name the same services",
            });
        }
    }
    let spans = rows.iter().zip(spans).map(|(row, mut spans)| {
        if row.services.is_empty() {
            return vec![(0, count)];
        }
        spans.sort_unstable();
        spans
    });
    let dimension = Dimension::new(count, spans);
    Ok(Services { dimension, protocols, pages, runs: runs.classes })
}

/// The ports of one protocol.
#[derive(Debug, Default)]
struct Stretches {
    /// Where a stretch starts.
    starts: Vec<u32>,
    /// Row, first port, and the one after the last.
    ports: Vec<(u16, u32, u32)>,
}

/// Different runs of 64 ports.
#[derive(Debug, Default)]
struct Runs {
    classes: Vec<u16>,
    known: HashMap<Vec<u16>, u16, FixedState>,
}

impl Runs {
    /// The numbers of the runs of a page.
    fn page(&mut self, classes: impl Iterator<Item = u16>) -> Vec<u16> {
        let classes: Vec<u16> = classes.collect();
        let number = |run: &[u16]| match self.known.get(run) {
            Some(&number) => number,
            None => {
                // Fewer than two runs of 65,536 classes each start or end anything, the others are one per stretch.
                let number = (self.classes.len() / RUN) as u16;
                self.classes.extend_from_slice(run);
                self.known.insert(run.to_vec(), number);
                number
            }
        };
        classes.chunks(RUN).map(number).collect()
    }
}
