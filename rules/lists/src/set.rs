//! The merged set of all domain lists.
//!
//! Names stand one after the other in one byte arena; an entry is twelve bytes (offset, line, list, length, flags) and
//! is found by a table of 32-bit entry numbers with one control byte each. That is about 36 bytes an entry for real
//! lists, lookups hash each suffix of the question once and allocate nothing. Files are read twice, once to check and
//! count and once to take, so no list of strings ever exists.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use model::{Mode, Name};
use std::{hash::BuildHasher, sync::Arc};

use crate::{
    Delta, DomainLine, Format, ListError, Report, domains,
    limits::{MAX_DOMAIN_LISTS, MAX_DOMAINS},
};

/// What an entry says about its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DomainKind {
    /// Answer with the sinkhole.
    Block,
    /// An exception: no list blocks it.
    Allow,
}

/// What is known of a list in the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInfo {
    /// Its name in the config.
    pub name: Arc<str>,
    /// Its mode: exceptions of an observed list hold only against observed lists.
    pub mode: Mode,
    /// Entries in its file.
    pub entries: u64,
    /// It is the allow-list of the config, which beats bans as well as lists.
    pub allow_list: bool,
}

/// What the lists say about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DomainMatch<'set, 'name> {
    /// Block or allow.
    pub kind: DomainKind,
    /// Place of the list in the set.
    pub list: u8,
    /// The list.
    pub info: &'set ListInfo,
    /// Line of the entry in its file.
    pub line: u32,
    /// The name of the entry: the question or a parent of it.
    pub entry: &'name str,
    /// The entry covers everything below its name.
    pub below: bool,
}

impl DomainMatch<'_, '_> {
    /// Whether an answer changes by it: it blocks, and its list enforces.
    #[must_use]
    pub fn is_enforced_block(&self) -> bool {
        self.kind == DomainKind::Block && self.info.mode == Mode::Enforce
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u32,
    line: u32,
    list: u8,
    length: u8,
    flags: u8,
}

const ALLOW: u8 = 1;
const BELOW: u8 = 2;
const OBSERVE: u8 = 4;
const CONFIG: u8 = 8;

impl Entry {
    /// Later ranks win: an observed block, an observed exception, a block, an exception, the config.
    const fn rank(self) -> u8 {
        (if self.flags & OBSERVE == 0 { 2 } else { 0 }) + (self.flags & ALLOW) + (self.flags & CONFIG)
    }
}

/// All domain lists in one. Ask with [`DomainSet::decide`].
///
/// Which entry wins: an exception (of a list or the config) beats every block; an observed list has no effect on an
/// enforced one. Among blocks that agree the widest name is kept (`||example^` stands for everything below it), and of
/// lists with the same name the first in the config.
#[derive(Clone, Debug)]
pub struct DomainSet {
    hasher: FixedState,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    lists: Vec<ListInfo>,
}

impl Default for DomainSet {
    fn default() -> Self {
        DomainSetBuilder::new(0).finish()
    }
}

impl DomainSet {
    /// What the lists say about `name`; none if they do not know it.
    #[must_use]
    pub fn decide<'set, 'name>(&'set self, name: &'name Name) -> Option<DomainMatch<'set, 'name>> {
        self.decide_text(name.as_str())
    }

    /// [`DomainSet::decide`] for a name off the wire, in lower case and without trailing dot, which may hold bytes
    /// that no [`Name`] holds: those match nothing, its parents may.
    #[must_use]
    pub fn decide_text<'set, 'name>(&'set self, name: &'name str) -> Option<DomainMatch<'set, 'name>> {
        if self.entries.is_empty() {
            return None;
        }
        let mut best: Option<(Entry, &'name str)> = None;
        for suffix in suffixes(name) {
            let exact = suffix.len() == name.len();
            for entry in self.entries_of(suffix) {
                if (exact || entry.flags & BELOW != 0)
                    && best.is_none_or(|(known, _)| {
                        entry.rank() > known.rank()
                            || (entry.rank() == known.rank() && entry.list < known.list)
                    })
                {
                    best = Some((entry, suffix));
                }
            }
        }
        let (entry, name) = best?;
        Some(DomainMatch {
            kind: if entry.flags & ALLOW == 0 { DomainKind::Block } else { DomainKind::Allow },
            list: entry.list,
            info: self.lists.get(usize::from(entry.list))?,
            line: entry.line,
            entry: name,
            below: entry.flags & BELOW != 0,
        })
    }

    /// The lists in their order.
    #[must_use]
    pub fn lists(&self) -> &[ListInfo] {
        &self.lists
    }

    /// Names held after merging.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no name in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.table.allocation_size()
            + self.lists.capacity() * size_of::<ListInfo>()
    }

    fn text(&self, entry: Entry) -> &[u8] {
        let start = entry.offset as usize;
        self.arena.get(start..start + usize::from(entry.length)).unwrap_or_default()
    }

    fn entries_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Entry> + 'a {
        self.table
            .iter_hash(self.hasher.hash_one(name.as_bytes()))
            .filter_map(|&at| self.entries.get(at as usize).copied())
            .filter(move |&entry| self.text(entry) == name.as_bytes())
    }

    /// Whether another entry says the same of this one's name and more.
    fn is_covered(&self, entry: Entry) -> bool {
        let Ok(name) = str::from_utf8(self.text(entry)) else { return false };
        suffixes(name).any(|suffix| {
            let itself = suffix.len() == name.len();
            self.entries_of(suffix).any(|other| {
                other.flags & BELOW != 0
                    && other.flags & ALLOW == entry.flags & ALLOW
                    && other.flags & OBSERVE <= entry.flags & OBSERVE
                    && other.flags & CONFIG >= entry.flags & CONFIG
                    && !(itself && other.flags == entry.flags)
            })
        })
    }
}

/// Builds a [`DomainSet`], list by list in the order of the config.
#[derive(Debug)]
pub struct DomainSetBuilder {
    set: DomainSet,
}

impl DomainSetBuilder {
    /// An empty set. `seed` keys the hash table: let it be random, so that no list can be made to collide.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            set: DomainSet {
                hasher: FixedState::with_seed(seed),
                arena: Vec::new(),
                entries: Vec::new(),
                table: HashTable::new(),
                lists: Vec::new(),
            },
        }
    }

    /// Reads a file without taking anything, to judge it (see [`crate::guard`]) before it replaces the last good one.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn inspect(bytes: &[u8]) -> Result<Report, ListError> {
        Self::inspect_as(bytes, &Format::Auto)
    }

    /// [`DomainSetBuilder::inspect`] for a file whose format is said.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn inspect_as(bytes: &[u8], format: &Format) -> Result<Report, ListError> {
        domains::read(bytes, format, &mut domains::Nothing)
    }

    /// Judges a file, and says what is different from `former`, the last good one.
    ///
    /// # Errors
    /// Why the file as a whole is no list of domains.
    pub fn compare(
        bytes: &[u8],
        format: &Format,
        former: Option<(&[u8], &Format)>,
        seed: u64,
    ) -> Result<(Report, Delta), ListError> {
        let mut now = domains::Fingerprints::new(seed);
        let report = domains::read(bytes, format, &mut now)?;
        let mut before = domains::Fingerprints::new(seed);
        if let Some((bytes, format)) = former
            && domains::read(bytes, format, &mut before).is_err()
        {
            before = domains::Fingerprints::new(seed);
        }
        Ok((report, now.delta(before)))
    }

    /// Takes the names of a file as the next list.
    ///
    /// # Errors
    /// Why the file as a whole is refused; nothing of it is taken then, but its place in the order is, so that the
    /// numbers of the lists after it stay.
    pub fn add(&mut self, name: &str, mode: Mode, bytes: &[u8]) -> Result<Report, ListError> {
        self.add_as(name, mode, bytes, &Format::Auto)
    }

    /// [`DomainSetBuilder::add`] for a file whose format is said.
    ///
    /// # Errors
    /// As [`DomainSetBuilder::add`].
    pub fn add_as(
        &mut self,
        name: &str,
        mode: Mode,
        bytes: &[u8],
        format: &Format,
    ) -> Result<Report, ListError> {
        let list = self.open(name, mode, false)?;
        let mut lengths = domains::Lengths::default();
        let report = domains::read(bytes, format, &mut lengths)?;
        let count = usize::try_from(report.entries).unwrap_or(usize::MAX);
        self.reserve(count, lengths.bytes)?;
        domains::read(bytes, format, &mut Insertion { set: &mut self.set, list, mode })?;
        if let Some(info) = self.set.lists.last_mut() {
            info.entries = report.entries;
        }
        Ok(report)
    }

    /// Takes names that the config allows, each with everything below it, as a list of its own. `line` is where the
    /// name stands in the config, 0 if that is not known.
    ///
    /// # Errors
    /// Too many lists or names.
    pub fn add_allowed<'a>(
        &mut self,
        name: &str,
        allowed: impl IntoIterator<Item = (&'a Name, u32)>,
    ) -> Result<(), ListError> {
        let list = self.open(name, Mode::Enforce, true)?;
        let mut entries = 0;
        for (name, line) in allowed {
            self.reserve(1, name.as_str().len())?;
            self.set.insert(list, line, ALLOW | BELOW | CONFIG, name.as_str());
            entries += 1;
        }
        if let Some(info) = self.set.lists.last_mut() {
            info.entries = entries;
        }
        Ok(())
    }

    /// Drops what is covered by a parent, gives unused memory back, and is done.
    #[must_use]
    pub fn finish(self) -> DomainSet {
        let mut set = self.set;
        let covered: Vec<u64> = {
            let mut bits = vec![0; set.entries.len().div_ceil(64)];
            for (at, &entry) in set.entries.iter().enumerate() {
                bits[at / 64] |= u64::from(set.is_covered(entry)) << (at % 64);
            }
            bits
        };
        set.table = HashTable::new();
        // Entries stand in the order of their names in the arena, so kept names only ever move towards its beginning.
        let (mut kept, mut end) = (0, 0);
        for at in 0..set.entries.len() {
            if covered[at / 64] >> (at % 64) & 1 == 1 {
                continue;
            }
            let mut entry = set.entries[at];
            let start = entry.offset as usize;
            set.arena.copy_within(start..start + usize::from(entry.length), end);
            entry.offset = u32::try_from(end).unwrap_or(u32::MAX);
            end += usize::from(entry.length);
            set.entries[kept] = entry;
            kept += 1;
        }
        set.entries.truncate(kept);
        set.arena.truncate(end);
        set.entries.shrink_to_fit();
        set.arena.shrink_to_fit();
        set.index();
        set
    }

    fn open(&mut self, name: &str, mode: Mode, allow_list: bool) -> Result<u8, ListError> {
        let full = ListError::TooManyLists { limit: MAX_DOMAIN_LISTS };
        let list = u8::try_from(self.set.lists.len()).map_err(|_| full)?;
        self.set.lists.push(ListInfo { name: name.into(), mode, entries: 0, allow_list });
        Ok(list)
    }

    fn reserve(&mut self, entries: usize, text: usize) -> Result<(), ListError> {
        let set = &mut self.set;
        let full = ListError::TooManyEntries {
            entries: set.entries.len().saturating_add(entries),
            limit: MAX_DOMAINS,
            what: "names of all domain lists",
        };
        let fits = set.entries.len().checked_add(entries).is_some_and(|all| all <= MAX_DOMAINS)
            && set.arena.len().checked_add(text).is_some_and(|all| u32::try_from(all).is_ok());
        if !fits {
            return Err(full);
        }
        if entries > 1 {
            set.entries.reserve_exact(entries);
            set.arena.reserve_exact(text);
        }
        let (known, arena, hasher) = (&set.entries, &set.arena, set.hasher.clone());
        set.table.reserve(entries, |&at| hash_of(&hasher, arena, known[at as usize]));
        Ok(())
    }
}

/// The second pass over a file that is known to be good.
struct Insertion<'a> {
    set: &'a mut DomainSet,
    list: u8,
    mode: Mode,
}

impl domains::Taker for Insertion<'_> {
    fn take(&mut self, line: u32, entry: &DomainLine) {
        let flags = flags(entry.kind, entry.below, self.mode);
        self.set.insert(self.list, line, flags, entry.name.as_str());
    }

    /// Only JSON of one object a line is read anew, and what it gave before was its first object, which comes again.
    fn restart(&mut self) {}
}

impl DomainSet {
    fn insert(&mut self, list: u8, line: u32, flags: u8, name: &str) {
        let mut same = self.entries_of(name);
        let first = same.next();
        if first.is_some_and(|entry| entry.flags == flags) || same.any(|entry| entry.flags == flags) {
            return;
        }
        drop(same);
        // A name that is known with other flags is written again: rare, and it keeps arena and entries in one order.
        let (Ok(offset), Ok(length), Ok(at)) =
            (u32::try_from(self.arena.len()), u8::try_from(name.len()), u32::try_from(self.entries.len()))
        else {
            return;
        };
        self.arena.extend_from_slice(name.as_bytes());
        self.entries.push(Entry { offset, line, list, length, flags });
        let (entries, arena, hasher) = (&self.entries, &self.arena, self.hasher.clone());
        self.table.insert_unique(hasher.hash_one(name.as_bytes()), at, |&at| {
            hash_of(&hasher, arena, entries[at as usize])
        });
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

fn flags(kind: DomainKind, below: bool, mode: Mode) -> u8 {
    let kind = match kind {
        DomainKind::Allow => ALLOW,
        DomainKind::Block => 0,
    };
    let mode = match mode {
        Mode::Observe => OBSERVE,
        Mode::Enforce => 0,
    };
    kind | mode | if below { BELOW } else { 0 }
}

fn hash_of(hasher: &FixedState, arena: &[u8], entry: Entry) -> u64 {
    let start = entry.offset as usize;
    hasher.hash_one(&arena[start..start + usize::from(entry.length)])
}

/// A name and its parents, longest first.
pub(crate) fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}
