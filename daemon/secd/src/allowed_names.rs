//! Names in `allow`: the addresses they were last known to have, kept while nobody answers and over a restart.

use model::Name;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// Addresses of one name that count; further ones are left out.
pub const MAX_ADDRESSES: usize = 8;

/// Addresses by name.
pub type Named = BTreeMap<Name, BTreeSet<IpAddr>>;

/// What names were last known to have.
#[derive(Debug)]
pub struct AllowedNames {
    file: PathBuf,
    known: Named,
}

impl AllowedNames {
    /// What is kept in `file`; what cannot be read is not known.
    #[must_use]
    pub fn open(file: &Path) -> Self {
        let kept = fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file: file.to_owned(), known: kept.unwrap_or_default() }
    }

    /// Of these names, what is known.
    #[must_use]
    pub fn of(&self, names: &[Name]) -> Named {
        let known = |name: &Name| Some((name.clone(), self.known.get(name)?.clone()));
        names.iter().filter_map(known).collect()
    }

    /// Takes an answer. One without an address that a host could have is none: what was known stays.
    pub fn answered(&mut self, name: &Name, addresses: impl IntoIterator<Item = IpAddr>) {
        let real =
            |address: &IpAddr| !(address.is_unspecified() || address.is_loopback() || address.is_multicast());
        let addresses: BTreeSet<IpAddr> =
            addresses.into_iter().map(|address| address.to_canonical()).collect();
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().filter(real).take(MAX_ADDRESSES).collect();
        if !addresses.is_empty() {
            self.known.insert(name.clone(), addresses);
        }
    }

    /// Forgets all names but these, and keeps the rest for the next start.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, names: &[Name]) -> io::Result<()> {
        self.known.retain(|name, _| names.contains(name));
        let text = serde_json::to_vec(&self.known)?;
        if fs::read(&self.file).is_ok_and(|held| held == text) {
            return Ok(());
        }
        let beside = self.file.with_extension("new");
        fs::write(&beside, text)?;
        fs::rename(beside, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_answer_stays_over_failures_and_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("allowed-names.json");
        let names: Vec<Name> = ["home.example.net", "office.example.net"].map(|n| n.parse().unwrap()).into();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut known = AllowedNames::open(&file);
        assert_eq!(known.of(&names), Named::new());
        known.answered(&names[0], [address("::ffff:198.51.100.7"), address("0.0.0.0")]);
        known.answered(&names[0], []);
        known.answered(&names[0], [address("127.0.0.1")]);
        known.answered(&names[1], (0..100).map(|n| IpAddr::from([10, 0, 0, n])));
        known.keep(&names).unwrap();
        let known = AllowedNames::open(&file).of(&names);
        assert_eq!(known[&names[0]], BTreeSet::from([address("198.51.100.7")]));
        assert_eq!(known[&names[1]].len(), MAX_ADDRESSES);
        let mut fewer = AllowedNames::open(&file);
        fewer.keep(&names[..1]).unwrap();
        assert_eq!(AllowedNames::open(&file).of(&names).len(), 1);
        fs::write(&file, "rubbish").unwrap();
        assert_eq!(AllowedNames::open(&file).of(&names), Named::new());
    }
}
