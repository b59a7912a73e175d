//! Device groups: which groups a MAC address is in (its class), and the table from addresses to classes.

use abi::image::{DEVICE_WAYS, DeviceRow, MAX_DEVICE_BLOCKS};
use std::collections::{BTreeMap, HashMap};

use super::{
    ImageError,
    builder::{WORDS, Writer},
};
use crate::Mac;

/// Devices by class, and where each stands in the table.
#[derive(Debug)]
pub(super) struct Devices {
    /// The groups of each class, sorted. Class 0 is in none.
    pub(super) classes: Vec<Vec<u16>>,
    /// Seed of the table.
    pub(super) seed: u64,
    /// The table, whole blocks.
    words: Vec<u64>,
}

/// Seeds tried before the table is made larger.
const SEEDS: u64 = 64;

impl Devices {
    /// Sorts the devices of the groups.
    pub(super) fn new(groups: &[Vec<Mac>]) -> Result<Self, ImageError> {
        let mut devices: BTreeMap<Mac, Vec<u16>> = BTreeMap::new();
        for (group, macs) in (0..).zip(groups) {
            for mac in macs {
                let groups = devices.entry(*mac).or_default();
                if groups.last() != Some(&group) {
                    groups.push(group);
                }
            }
        }
        let mut classes = vec![Vec::new()];
        let mut known: HashMap<Vec<u16>, u16> = HashMap::new();
        let mut rows = Vec::with_capacity(devices.len());
        for (mac, groups) in devices {
            // No more classes than devices, and those fit.
            let class = *known.entry(groups).or_insert_with_key(|groups| {
                classes.push(groups.clone());
                (classes.len() - 1) as u16
            });
            rows.push(DeviceRow { address: DeviceRow::number(&mac.0), class });
        }
        if rows.is_empty() {
            return Ok(Self { classes, seed: 0, words: Vec::new() });
        }
        let mut size = (rows.len() * 2).next_power_of_two().max(WORDS);
        while size <= MAX_DEVICE_BLOCKS as usize * WORDS {
            for number in 0..SEEDS {
                let seed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                if let Some(words) = place(&rows, seed, size) {
                    return Ok(Self { classes, seed, words });
                }
            }
            size *= 2;
        }
        Err(ImageError::TooMany {
            what: "devices in one place of their table",
            count: rows.len(),
            limit: DEVICE_WAYS as usize,
            help: "leave devices out",
        })
    }

    /// Blocks of the table.
    pub(super) fn blocks(&self) -> usize {
        self.words.len() / WORDS
    }

    /// Writes the table: its first block (0 = there is none), and the number of its buckets less one.
    pub(super) fn write(&self, writer: &mut Writer) -> (usize, usize) {
        if self.words.is_empty() {
            return (0, 0);
        }
        let first = writer.len();
        writer.append(&self.words);
        (first, self.words.len() / DEVICE_WAYS as usize - 1)
    }
}

/// The table of `size` words under a seed; none where a bucket would overflow.
fn place(rows: &[DeviceRow], seed: u64, size: usize) -> Option<Vec<u64>> {
    let ways = DEVICE_WAYS as usize;
    let mut words = vec![0; size];
    for row in rows {
        let bucket = DeviceRow::hash(row.address, seed) as usize & (size / ways - 1);
        *words[bucket * ways..][..ways].iter_mut().find(|word| **word == 0)? = row.word();
    }
    Some(words)
}
