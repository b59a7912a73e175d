//! A set as bytes, so that a start does not read every list again.
//!
//! `secd-dns`, version, CRC-32 of what follows, length of the header, header (JSON: lists, conditions, expressions,
//! networks, numbers), names one after the other, entries of twelve bytes; numbers are little-endian. Everything is
//! checked: bytes that are not such a set are refused, and whatever is taken can be asked.

use model::Mode;
use serde::{Deserialize, Serialize};

use crate::{
    groups::GroupSet,
    limits::{
        MAX_DOMAIN_LISTS, MAX_DOMAINS, MAX_EXTRAS, MAX_RECORDS, MAX_REGEX_BYTES, MAX_REGEXES, MAX_ZONE_FILES,
    },
    names::{Entry, Names},
    rule::{EXTRA, Extra, Says},
    set::{AddressEntry, DomainSet, ListInfo, RegexEntry, Role, mask},
};

const MAGIC: &[u8; 8] = b"secd-dns";
/// Another one for every change of what the bytes mean.
const VERSION: u32 = 1;
/// Magic, version, checksum, length of the header.
const FRONT: usize = 20;
const ENTRY: usize = 12;

/// Why bytes are no set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They are something else.
    #[error("the file is no snapshot of lists: the lists are read themselves")]
    NotOne,
    /// Another secd wrote them.
    #[error("the snapshot is of version {0}, not {VERSION}: the lists are read themselves")]
    Version(u32),
    /// A bit is wrong, or something is missing.
    #[error("the snapshot is damaged ({0}): the lists are read themselves")]
    Damaged(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    seed: u64,
    text: usize,
    names: usize,
    lists: Vec<ListHead>,
    extras: Vec<(u32, Extra)>,
    regexes: Vec<RegexEntry>,
    addresses: Vec<AddressEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListHead {
    name: String,
    mode: Mode,
    groups: u64,
    role: Role,
    entries: u64,
    zone: Option<u8>,
}

impl DomainSet {
    /// The set as bytes for [`DomainSet::read`]. They hold the key of the hash table: keep them from others' eyes.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let (seed, text, entries) = self.names.parts();
        let header = Header {
            seed,
            text: text.len(),
            names: entries.len(),
            lists: self.lists.iter().map(ListHead::of).collect(),
            extras: self.names.extras().to_vec(),
            regexes: self.regexes.clone(),
            addresses: self.addresses.clone(),
        };
        #[expect(clippy::expect_used, reason = "a tree of strings and numbers has no map with other keys")]
        let header = serde_json::to_vec(&header).expect("the header is JSON");
        let mut bytes = Vec::with_capacity(FRONT + header.len() + text.len() + entries.len() * ENTRY);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(text);
        for entry in entries {
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
            bytes.extend_from_slice(&entry.line.to_le_bytes());
            bytes.extend_from_slice(&entry.list.to_le_bytes());
            bytes.extend_from_slice(&[entry.length, entry.flags]);
        }
        let sum = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The set that [`DomainSet::write`] gave.
    ///
    /// # Errors
    /// The bytes are something else, of another version, or damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (front, rest) = bytes.split_at_checked(FRONT).ok_or(SnapshotError::NotOne)?;
        let number = |at: usize| u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]]);
        if !front.starts_with(MAGIC) {
            return Err(SnapshotError::NotOne);
        }
        if number(8) != VERSION {
            return Err(SnapshotError::Version(number(8)));
        }
        if crc32fast::hash(&bytes[16..]) != number(12) {
            return Err(SnapshotError::Damaged("its checksum is wrong"));
        }
        let (header, rest) =
            rest.split_at_checked(number(16) as usize).ok_or(SnapshotError::Damaged("it ends too early"))?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|_| SnapshotError::Damaged("its header cannot be read"))?;
        header.check()?;
        let wanted = header.names.checked_mul(ENTRY).and_then(|entries| entries.checked_add(header.text));
        if wanted != Some(rest.len()) {
            return Err(SnapshotError::Damaged("it has another length than it says"));
        }
        let (text, entries) = rest.split_at(header.text);
        let entries = entries.chunks_exact(ENTRY).map(|bytes| {
            let number =
                |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            Entry {
                offset: number(0),
                line: number(4),
                list: u16::from_le_bytes([bytes[8], bytes[9]]),
                length: bytes[10],
                flags: bytes[11],
            }
        });
        let names = Names::from_parts(
            header.seed,
            text.to_vec(),
            entries.collect(),
            header.extras,
            header.lists.len(),
        );
        let names = names.ok_or(SnapshotError::Damaged("an entry leads out of it"))?;
        let mut set = Self {
            names,
            regexes: header.regexes,
            automata: None,
            addresses: header.addresses,
            lists: header.lists.into_iter().map(ListHead::info).collect(),
        };
        set.addresses.sort_by_key(|entry| (entry.length, entry.bits, entry.says.list, entry.says.line));
        set.build_automata();
        if set.automata.is_none() && !set.regexes.is_empty() {
            return Err(SnapshotError::Damaged("an expression of it cannot be used"));
        }
        Ok(set)
    }
}

impl Header {
    /// What the rest of the crate takes for granted.
    fn check(&self) -> Result<(), SnapshotError> {
        let within = self.names <= MAX_DOMAINS
            && u32::try_from(self.text).is_ok()
            && self.lists.len() <= MAX_DOMAIN_LISTS
            && self.extras.len() + self.addresses.len() <= MAX_EXTRAS
            && self.regexes.len() <= MAX_REGEXES;
        if !within {
            return Err(SnapshotError::Damaged("it is larger than a set may be"));
        }
        let says =
            |says: &Says, extra: bool| usize::from(says.list) < self.lists.len() && says.is(EXTRA) == extra;
        let small = |extra: &Extra| extra.records.len() <= MAX_RECORDS;
        let good =
            self.lists.iter().all(|list| list.zone.is_none_or(|zone| usize::from(zone) < MAX_ZONE_FILES))
                && self.extras.iter().all(|(_, extra)| small(extra))
                && self.regexes.iter().all(|entry| {
                    says(&entry.says, entry.extra.is_some())
                        && entry.expression.regex.len() <= MAX_REGEX_BYTES
                })
                && self.addresses.iter().all(|entry| {
                    says(&entry.says, entry.extra.is_some())
                        && entry.length <= 128
                        && entry.bits & !mask(entry.length) == 0
                });
        if good { Ok(()) } else { Err(SnapshotError::Damaged("an entry leads out of it")) }
    }
}

impl ListHead {
    fn of(info: &ListInfo) -> Self {
        Self {
            name: info.name.to_string(),
            mode: info.mode,
            groups: info.groups.0,
            role: info.role,
            entries: info.entries,
            zone: info.zone,
        }
    }

    fn info(self) -> ListInfo {
        ListInfo {
            name: self.name.into(),
            mode: self.mode,
            groups: GroupSet(self.groups),
            role: self.role,
            entries: self.entries,
            zone: self.zone,
        }
    }
}
