//! The named values of one line: places in the line, or in a buffer of values that had to be unescaped.

use std::ops::Range;
use std::sync::Arc;

/// Slot of the address.
pub(crate) const IP: usize = 0;
/// Slot of the time.
pub(crate) const TIME: usize = 1;

/// Where a value is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Absent,
    Line(Range<usize>),
    Scratch(Range<usize>),
}

/// Values of one line, by slot. Reused from line to line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    places: Vec<Place>,
    scratch: Vec<u8>,
}

impl Fields {
    pub(crate) fn clear(&mut self, slots: usize) {
        self.places.clear();
        self.places.resize(slots, Place::Absent);
        self.scratch.clear();
    }

    pub(crate) fn set(&mut self, slot: usize, range: Range<usize>) {
        self.places[slot] = Place::Line(range);
    }

    /// Stores a copy; false if the slot holds a value already.
    pub(crate) fn copy(&mut self, slot: usize, value: &[u8]) -> bool {
        let free = self.places[slot] == Place::Absent;
        let start = self.scratch.len();
        self.scratch.extend_from_slice(value);
        self.places[slot] = Place::Scratch(start..self.scratch.len());
        free
    }

    /// Lets a slot hold what another holds.
    pub(crate) fn alias(&mut self, slot: usize, other: usize) {
        self.places[slot] = self.places[other].clone();
    }

    /// Lets a slot hold a part of what another holds.
    pub(crate) fn part(&mut self, slot: usize, of: usize, part: Range<usize>) {
        let within = |whole: &Range<usize>| whole.start + part.start..whole.start + part.end;
        self.places[slot] = match &self.places[of] {
            Place::Absent => Place::Absent,
            Place::Line(whole) => Place::Line(within(whole)),
            Place::Scratch(whole) => Place::Scratch(within(whole)),
        };
    }

    pub(crate) fn get<'f>(&'f self, line: &'f [u8], slot: usize) -> Option<&'f [u8]> {
        match self.places.get(slot)? {
            Place::Absent => None,
            Place::Line(range) => line.get(range.clone()),
            Place::Scratch(range) => self.scratch.get(range.clone()),
        }
    }
}

/// Names of slots; `ip` and `time` are always the first two.
#[derive(Clone, Debug)]
pub(crate) struct Names(Vec<Arc<str>>);

impl Default for Names {
    fn default() -> Self {
        Self(vec!["ip".into(), "time".into()])
    }
}

impl Names {
    pub(crate) fn slot(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| **known == *name)
    }

    pub(crate) fn slot_or_new(&mut self, name: &str) -> usize {
        self.slot(name).unwrap_or_else(|| {
            self.0.push(name.into());
            self.0.len() - 1
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}
