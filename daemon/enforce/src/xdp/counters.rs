//! What the programs count, summed over CPUs.

use abi::{
    ACTIONS, Action, Counter, Lost, MAX_LISTS, MAX_RULES, MAX_ZONES, PACKET_COUNTERS, REASONS, Reason, ZoneId,
};
use aya::{
    Pod,
    maps::{MapData, PerCpuArray},
};
use std::path::Path;

use super::{Error, active::ActiveWord, pinned};

/// Packets of one zone, reason and action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketCount {
    /// Zone they came from.
    pub zone: ZoneId,
    /// Why.
    pub reason: Reason,
    /// What the policy says; what is only observed counts under what would have been done.
    pub action: Action,
    /// How many.
    pub counter: Counter,
}

/// A handle on the counters.
pub struct Counters {
    packets: PerCpuArray<MapData, Counter>,
    rules: PerCpuArray<MapData, Counter>,
    lists: PerCpuArray<MapData, Counter>,
    lost: PerCpuArray<MapData, u64>,
    active: ActiveWord,
}

impl Counters {
    pub(super) fn open(pins: &Path, active: ActiveWord) -> Result<Self, Error> {
        Ok(Self {
            packets: open(pins, "PACKETS")?,
            rules: open(pins, "RULES")?,
            lists: open(pins, "LISTS")?,
            lost: open(pins, "LOST")?,
            active,
        })
    }

    /// What was counted since the maps were made, without zeros. Costs a system call for each of the
    /// [`PACKET_COUNTERS`] places: a few milliseconds.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn packets(&self) -> Result<Vec<PacketCount>, Error> {
        let mut found = Vec::new();
        for index in 0..PACKET_COUNTERS {
            let counter = self.sum(&self.packets, index)?;
            if counter.packets == 0 {
                continue;
            }
            let reason = u8::try_from(index / ACTIONS % REASONS).ok().and_then(Reason::from_number);
            let action = Action::ALL.get((index % ACTIONS) as usize).copied();
            let zone = ZoneId::try_from(index / ACTIONS / REASONS).ok();
            if let (Some(zone), Some(reason), Some(action)) = (zone, reason, action) {
                found.push(PacketCount { zone, reason, action, counter });
            }
        }
        Ok(found)
    }

    /// Packets of one zone, reason and action.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn packet(&self, zone: ZoneId, reason: Reason, action: Action) -> Result<Counter, Error> {
        if u32::from(zone) >= MAX_ZONES {
            return Ok(Counter::default());
        }
        self.sum(&self.packets, abi::packet_index(zone, reason, action))
    }

    /// Packets by rule of the plan in force, from rule 0 to `rules`: those the rule allowed, with all that followed in
    /// their flows, and those it denied.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn rules(&self, rules: usize) -> Result<Vec<Counter>, Error> {
        self.of_slot(&self.rules, MAX_RULES, rules)
    }

    /// Packets by list of the plan in force, from list 0 to `lists`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lists(&self, lists: usize) -> Result<Vec<Counter>, Error> {
        self.of_slot(&self.lists, MAX_LISTS, lists)
    }

    /// What was lost, by kind.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn lost(&self) -> Result<Vec<(Lost, u64)>, Error> {
        Lost::ALL
            .into_iter()
            .map(|lost| {
                let values = self.lost.get(&(lost as u32), 0).map_err(Error::kernel("read LOST"))?;
                Ok((lost, values.iter().sum()))
            })
            .collect()
    }

    fn of_slot(
        &self,
        map: &PerCpuArray<MapData, Counter>,
        size: u32,
        wanted: usize,
    ) -> Result<Vec<Counter>, Error> {
        let slot = self.active.lock().slot().unwrap_or(0);
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).min(size);
        (0..wanted).map(|index| self.sum(map, slot * size + index)).collect()
    }

    #[expect(clippy::unused_self, reason = "reads as a method of the counters")]
    fn sum(&self, map: &PerCpuArray<MapData, Counter>, index: u32) -> Result<Counter, Error> {
        let values = map.get(&index, 0).map_err(Error::kernel("read a counter"))?;
        Ok(values.iter().fold(Counter::default(), |sum, value| Counter {
            packets: sum.packets + value.packets,
            bytes: sum.bytes + value.bytes,
        }))
    }
}

fn open<V: Pod>(pins: &Path, name: &str) -> Result<PerCpuArray<MapData, V>, Error> {
    PerCpuArray::try_from(pinned(&pins.join(name))?).map_err(Error::kernel(format!("open {name}")))
}
