//! The flow table in memory, place for place as in the kernel.

use abi::{Active, FLOW_WAYS, FlowKey, FlowPlace, FlowSet, FlowValue, LINE_WORDS, spot};
use alloc::{vec, vec::Vec};
use core::cell::RefCell;

use crate::Places;

/// Sets of places.
#[derive(Clone, Debug)]
pub struct MemoryFlows {
    sets: RefCell<Vec<FlowSet>>,
}

impl MemoryFlows {
    /// A table of so many sets, rounded up to a power of two.
    #[must_use]
    pub fn new(sets: usize) -> Self {
        Self { sets: RefCell::new(vec![FlowSet::default(); sets.next_power_of_two()]) }
    }

    /// A table with these contents.
    #[must_use]
    pub fn from_sets(sets: Vec<FlowSet>) -> Self {
        Self { sets: RefCell::new(sets) }
    }

    /// What is in it.
    #[must_use]
    pub fn to_sets(&self) -> Vec<FlowSet> {
        self.sets.borrow().clone()
    }

    /// Number of sets less one: what [`Active::flow_mask`] has to be.
    #[must_use]
    pub fn mask(&self) -> u32 {
        u32::try_from(self.sets.borrow().len()).unwrap_or(u32::MAX).wrapping_sub(1)
    }

    /// A set.
    #[must_use]
    pub fn set(&self, index: u32) -> Option<MemorySet<'_>> {
        let index = index as usize;
        (index < self.sets.borrow().len()).then_some(MemorySet { flows: self, index })
    }

    /// The entry of a tuple, whether or not it still stands.
    #[must_use]
    pub fn get(&self, active: &Active, key: &FlowKey) -> Option<FlowValue> {
        let spot = spot(&key.words(), &active.seed, active.flow_mask);
        let sets = self.sets.borrow();
        let set = sets.get(spot.set as usize)?;
        set.places().find(|place| place.version() != 0 && place.key() == *key).map(|place| place.value())
    }

    /// Every entry, whether or not it still stands.
    #[must_use]
    pub fn entries(&self) -> Vec<(FlowKey, FlowValue)> {
        let sets = self.sets.borrow();
        let places = sets.iter().flat_map(FlowSet::places).filter(|place| place.version() != 0);
        places.map(|place| (place.key(), place.value())).collect()
    }

    /// Changes every entry.
    pub fn change(&self, change: impl Fn(&mut FlowValue)) {
        for set in self.sets.borrow_mut().iter_mut() {
            for way in 0..FLOW_WAYS {
                let place = set.place(way);
                if place.version() != 0 {
                    let mut value = place.value();
                    change(&mut value);
                    set.put(way, &FlowPlace::new(place.version().wrapping_add(2), &place.key(), &value));
                }
            }
        }
    }
}

/// A set of [`MemoryFlows`].
#[derive(Clone, Copy, Debug)]
pub struct MemorySet<'a> {
    flows: &'a MemoryFlows,
    index: usize,
}

impl MemorySet<'_> {
    fn with<R>(&self, way: u32, word: u32, act: impl FnOnce(&mut u64) -> R) -> R {
        let mut sets = self.flows.sets.borrow_mut();
        // The set was there when the handle was made, and tables do not shrink.
        let set = &mut sets[self.index];
        let lines = if word as usize & LINE_WORDS == 0 { &mut set.near } else { &mut set.far };
        act(&mut lines[way as usize % FLOW_WAYS][word as usize % LINE_WORDS])
    }
}

impl Places for MemorySet<'_> {
    fn load(&self, way: u32, word: u32) -> u64 {
        self.with(way, word, |it| *it)
    }

    fn store(&self, way: u32, word: u32, value: u64) {
        self.with(way, word, |it| *it = value);
    }

    fn mark(&self, way: u32, ticks: u32) {
        self.with(way, 6, |it| *it = *it >> 32 << 32 | u64::from(ticks));
    }

    fn opaque(word: u64) -> u64 {
        word
    }

    fn take(&self, way: u32, version: u32) -> bool {
        self.with(way, 0, |it| {
            let free = *it as u32 == version && version & 1 == 0;
            if free {
                *it = *it >> 32 << 32 | u64::from(version | 1);
            }
            free
        })
    }
}
