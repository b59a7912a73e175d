//! The names of all lists, compact.
//!
//! Names stand one after the other in one byte arena; an entry is twelve bytes (offset, line, list, length, flags) and
//! is found by a table of 32-bit entry numbers with one control byte each. That is about 36 bytes an entry for real
//! lists. What few entries have beside that stands in a table of its own.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::rule::{EXTRA, Extra, Says};

/// An entry's place in the arena, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u32,
    pub(crate) line: u32,
    pub(crate) list: u16,
    pub(crate) length: u8,
    pub(crate) flags: u8,
}

impl Entry {
    pub(crate) fn says(self) -> Says {
        Says { line: self.line, list: self.list, flags: self.flags }
    }
}

/// All names, found by hash.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    hasher: FixedState,
    seed: u64,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    /// Ascending by entry.
    extras: Vec<(u32, Extra)>,
}

impl Names {
    /// No names. `seed` keys the hash table.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            seed,
            arena: Vec::new(),
            entries: Vec::new(),
            table: HashTable::new(),
            extras: Vec::new(),
        }
    }

    /// What [`Names::write`] gave. None unless every lookup in it stays within it.
    pub(crate) fn from_parts(
        seed: u64,
        arena: Vec<u8>,
        entries: Vec<Entry>,
        extras: Vec<(u32, Extra)>,
        lists: usize,
    ) -> Option<Self> {
        let fits = |entry: &Entry| {
            (entry.offset as usize)
                .checked_add(usize::from(entry.length))
                .is_some_and(|end| end <= arena.len())
                && usize::from(entry.list) < lists
        };
        let ascend = extras.windows(2).all(|two| two[0].0 < two[1].0);
        let theirs = |at: u32| entries.get(at as usize).is_some_and(|entry| entry.says().is(EXTRA));
        let marked = entries.iter().filter(|entry| entry.says().is(EXTRA)).count();
        if !entries.iter().all(fits)
            || !ascend
            || marked != extras.len()
            || !extras.iter().all(|(at, _)| theirs(*at))
        {
            return None;
        }
        let mut names = Self {
            hasher: FixedState::with_seed(seed),
            seed,
            arena,
            entries,
            table: HashTable::new(),
            extras,
        };
        names.index();
        Some(names)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn text_len(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn extras(&self) -> &[(u32, Extra)] {
        &self.extras
    }

    /// Seed, arena, entries: what is written beside [`Names::extras`].
    pub(crate) fn parts(&self) -> (u64, &[u8], &[Entry]) {
        (self.seed, &self.arena, &self.entries)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.arena.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.table.allocation_size()
            + self.extras.capacity() * size_of::<(u32, Extra)>()
    }

    pub(crate) fn entry(&self, at: u32) -> Option<Entry> {
        self.entries.get(at as usize).copied()
    }

    pub(crate) fn text(&self, entry: Entry) -> &[u8] {
        let start = entry.offset as usize;
        self.arena.get(start..start + usize::from(entry.length)).unwrap_or_default()
    }

    /// Entries of exactly this name.
    #[inline]
    pub(crate) fn find<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = (u32, Entry)> + 'a {
        self.table.iter_hash(self.hasher.hash_one(name)).filter_map(move |&at| {
            self.entries
                .get(at as usize)
                .copied()
                .filter(|&entry| self.text(entry) == name)
                .map(|entry| (at, entry))
        })
    }

    pub(crate) fn extra(&self, at: u32, entry: Entry) -> Option<&Extra> {
        if !entry.says().is(EXTRA) {
            return None;
        }
        let place = self.extras.binary_search_by_key(&at, |&(at, _)| at).ok()?;
        self.extras.get(place).map(|(_, extra)| extra)
    }

    pub(crate) fn extra_mut(&mut self, at: u32) -> Option<&mut Extra> {
        let place = self.extras.binary_search_by_key(&at, |&(at, _)| at).ok()?;
        self.extras.get_mut(place).map(|(_, extra)| extra)
    }

    pub(crate) fn flags_mut(&mut self, at: u32) -> Option<&mut u8> {
        self.entries.get_mut(at as usize).map(|entry| &mut entry.flags)
    }

    /// Makes room; the caller has checked the limits.
    pub(crate) fn reserve(&mut self, entries: usize, text: usize) {
        if entries > 1 {
            self.entries.reserve_exact(entries);
            self.arena.reserve_exact(text);
        }
        let (known, arena, hasher) = (&self.entries, &self.arena, self.hasher.clone());
        self.table.reserve(entries, |&at| hash_of(&hasher, arena, known[at as usize]));
    }

    /// Adds an entry; its name is written again where it is known with other flags: rare, and it keeps arena and entries
    /// in one order.
    pub(crate) fn push(&mut self, name: &str, says: Says, extra: Option<Extra>) {
        let (Ok(offset), Ok(length), Ok(at)) =
            (u32::try_from(self.arena.len()), u8::try_from(name.len()), u32::try_from(self.entries.len()))
        else {
            return;
        };
        self.arena.extend_from_slice(name.as_bytes());
        self.entries.push(Entry { offset, line: says.line, list: says.list, length, flags: says.flags });
        if let Some(extra) = extra {
            self.extras.push((at, extra));
        }
        let (entries, arena, hasher) = (&self.entries, &self.arena, self.hasher.clone());
        self.table.insert_unique(hasher.hash_one(name.as_bytes()), at, |&at| {
            hash_of(&hasher, arena, entries[at as usize])
        });
    }

    /// Keeps the entries whose bit is not set, and gives unused memory back.
    pub(crate) fn compact(&mut self, gone: &Bits) {
        self.table = HashTable::new();
        // Entries stand in the order of their names in the arena, so kept names only ever move towards its beginning.
        let (mut kept, mut end) = (0_usize, 0);
        let mut extras = std::mem::take(&mut self.extras).into_iter().peekable();
        for at in 0..self.entries.len() {
            let extra = extras.next_if(|&(of, _)| of as usize == at);
            if gone.has(at) {
                continue;
            }
            let mut entry = self.entries[at];
            let start = entry.offset as usize;
            self.arena.copy_within(start..start + usize::from(entry.length), end);
            entry.offset = u32::try_from(end).unwrap_or(u32::MAX);
            end += usize::from(entry.length);
            self.entries[kept] = entry;
            if let (Some((_, extra)), Ok(kept)) = (extra, u32::try_from(kept)) {
                self.extras.push((kept, extra));
            }
            kept += 1;
        }
        self.entries.truncate(kept);
        self.arena.truncate(end);
        self.entries.shrink_to_fit();
        self.arena.shrink_to_fit();
        self.extras.shrink_to_fit();
        self.index();
    }

    fn index(&mut self) {
        let (entries, arena, hasher) = (&self.entries, &self.arena, self.hasher.clone());
        let mut table = HashTable::with_capacity(entries.len());
        for (at, &entry) in (0..).zip(entries) {
            table.insert_unique(hash_of(&hasher, arena, entry), at, |&at: &u32| {
                hash_of(&hasher, arena, entries[at as usize])
            });
        }
        self.table = table;
    }
}

fn hash_of(hasher: &FixedState, arena: &[u8], entry: Entry) -> u64 {
    let start = entry.offset as usize;
    hasher.hash_one(&arena[start..start + usize::from(entry.length)])
}

/// A name and its parents, longest first.
pub(crate) fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| {
        memchr::memchr(b'.', name.as_bytes()).and_then(|at| name.get(at + 1..))
    })
}

/// One bit for each entry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    pub(crate) fn of(length: usize) -> Self {
        Self(vec![0; length.div_ceil(64)])
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn set(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }
}
