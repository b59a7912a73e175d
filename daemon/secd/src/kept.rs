//! The domain lists as they were last merged, so that a start does not read every list again. What is kept is taken only if
//! it was made by this very program, under this config, of these very files: a key says so. Whatever is damaged or of
//! another key is as if not there, and the lists are read from their text.

use config::{Config, ListKind};
use lists::DomainSet;
use model::Name;
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use std::{fs, io, path::Path};

/// Bytes of what is kept. More is not read: the lists are.
pub(crate) const MAX_KEPT: usize = 256 << 20;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Digest of what follows up to the set, key, length of the counts.
const FRONT: usize = 2 * DIGEST + 4;

/// What a set was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u8; DIGEST]);

/// What one list gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) entries: u64,
    pub(crate) rejected: u64,
    pub(crate) lines: u32,
}

impl Key {
    /// The key of the domain lists of a config. `file` says the bytes that are taken of a list; with none of one there is no
    /// key.
    pub(crate) fn new(
        config: &Config,
        own: &[Name],
        mut file: impl FnMut(&config::ListSource) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let mut all = Context::new(&SHA256);
        // Another program may read the same text in another way.
        let program = fs::metadata(std::env::current_exe().ok()?).ok()?;
        let dns = &config.dns;
        let said = (&dns.allow, &dns.deny, &dns.groups, dns.list_groups());
        let written =
            format!("{:?}", (program.len(), program.modified().ok()?, config.mode, dns.mode, said, own));
        all.update(&(written.len() as u64).to_le_bytes());
        all.update(written.as_bytes());
        for source in config.lists.iter().filter(|source| source.kind == ListKind::Domains) {
            let written =
                format!("{:?}", (&source.name, source.mode, source.groups, source.allow, &source.format));
            all.update(&(written.len() as u64).to_le_bytes());
            all.update(written.as_bytes());
            all.update(digest(&SHA256, &file(source)?).as_ref());
        }
        Some(Self(all.finish().as_ref().try_into().ok()?))
    }
}

/// The set and what each list gave, if they are those of the key.
pub(crate) fn read(bytes: &[u8], key: Key) -> Option<(DomainSet, Vec<Counts>)> {
    let (front, rest) = bytes.split_at_checked(FRONT)?;
    let (sum, keyed) = front.split_at(DIGEST);
    let (known, length) = keyed.split_at(DIGEST);
    if known != key.0 {
        return None;
    }
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let (counts, set) = rest.split_at_checked(length)?;
    if digest(&SHA256, &[keyed, counts].concat()).as_ref() != sum {
        return None;
    }
    Some((DomainSet::read(set).ok()?, serde_json::from_slice(counts).ok()?))
}

/// Writes them, whole or not at all.
///
/// # Errors
/// The file cannot be written; the former one is whole.
pub(crate) fn write(path: &Path, key: Key, set: &DomainSet, counts: &[Counts]) -> io::Result<()> {
    let counts = serde_json::to_vec(counts)?;
    let length = u32::try_from(counts.len()).map_err(io::Error::other)?.to_le_bytes();
    let keyed = [&key.0[..], &length, &counts].concat();
    let bytes = [digest(&SHA256, &keyed).as_ref(), &keyed, &set.write()].concat();
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    crate::trial::durable(path, bytes, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lists::{Asked, DomainSetBuilder};

    #[test]
    fn what_is_damaged_or_of_another_key_is_as_if_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/domains.kept");
        let mut builder = DomainSetBuilder::new(1);
        builder.add("ads", model::Mode::Enforce, b"ads.example\n").unwrap();
        let (key, counts) = (Key([7; 32]), [Counts { entries: 1, rejected: 0, lines: 1 }]);
        write(&path, key, &builder.finish(), &counts).unwrap();
        let good = fs::read(&path).unwrap();
        let (set, told) = read(&good, key).unwrap();
        assert!(set.decide(&Asked::about("ads.example")).is_some() && told == counts);
        assert!(read(&good, Key([8; 32])).is_none());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(read(&bad, key).is_none(), "a bit of byte {at}");
            assert!(read(&good[..at], key).is_none(), "cut at {at}");
        }
    }
}
