//! The lists of the lab: real ones where they are, generated ones of the same size where not.

use anyhow::{Context, Result};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Sizes of the real lists, which stand-ins have too.
const PHISHING: usize = 190_215;
const TRACKING: usize = 143_876;
const ADDRESSES: usize = 120_430;

/// Files to load, and an entry of each to try.
#[derive(Clone, Debug)]
pub struct Lists {
    /// Domains of phishing sites.
    pub phishing: PathBuf,
    /// Domains of trackers.
    pub tracking: PathBuf,
    /// Addresses, each with a score.
    pub addresses: PathBuf,
    /// A name of the phishing list and the line it stands on.
    pub phishing_name: (String, usize),
    /// A name of the tracking list.
    pub tracking_name: String,
    /// An address of the list and the line it stands on.
    pub listed_address: (IpAddr, usize),
    /// Whether these are the real lists.
    pub real: bool,
}

impl Lists {
    /// Finds the real lists, or generates stand-ins in `directory`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn prepare(workspace: &Path, directory: &Path) -> Result<Self> {
        let corpora = std::env::var_os("SECD_CORPORA")
            .map_or_else(|| workspace.join("../shared/corpora"), PathBuf::from);
        let real = [
            corpora.join("domain-lists/phishing.domains.txt"),
            corpora.join("domain-lists/tracking.adblock.txt"),
            corpora.join("address-lists/ipsum.txt"),
        ];
        let are_real = real.iter().all(|file| file.is_file());
        let target = directory.join("lists");
        fs::create_dir_all(&target)?;
        let files = [target.join("phishing.txt"), target.join("tracking.txt"), target.join("addresses.txt")];
        if are_real {
            for (from, to) in real.iter().zip(&files) {
                fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
            }
        } else {
            generate(&files)?;
        }
        let [phishing, tracking, addresses] = files;
        Ok(Self {
            phishing_name: entry(&phishing, |line| line.contains('.').then(|| line.to_owned()))?,
            tracking_name: entry(&tracking, |line| {
                Some(line.strip_prefix("||")?.strip_suffix('^')?.to_owned())
            })?
            .0,
            listed_address: entry(&addresses, |line| line.split('\t').next()?.parse().ok())?,
            phishing,
            tracking,
            addresses,
            real: are_real,
        })
    }

    /// How the table names them.
    #[must_use]
    pub const fn origin(&self) -> &'static str {
        if self.real { "real list" } else { "generated stand-in" }
    }
}

/// An entry from the middle of a file, with its line number from 1.
fn entry<T>(file: &Path, read: impl Fn(&str) -> Option<T>) -> Result<(T, usize)> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    let middle = lines.len() / 2;
    (middle..lines.len())
        .find_map(|index| {
            let line = lines[index].trim();
            (!line.starts_with(['#', '!'])).then(|| read(line)).flatten().map(|value| (value, index + 1))
        })
        .with_context(|| format!("nothing to try in {}", file.display()))
}

fn generate(files: &[PathBuf; 3]) -> Result<()> {
    let [phishing, tracking, addresses] = files;
    let domains: String =
        (0..PHISHING).map(|number| format!("login-{number}.phish{}.example\n", number % 977)).collect();
    fs::write(phishing, format!("# generated\n{domains}"))?;
    let rules: String =
        (0..TRACKING).map(|number| format!("||t{number}.track{}.example^\n", number % 983)).collect();
    fs::write(tracking, format!("! generated\n{rules}"))?;
    let sources: String = (0..ADDRESSES as u32)
        .map(|number| {
            format!(
                "{}\t{}\n",
                Ipv4Addr::from(0x5000_0000_u32.wrapping_add(number.wrapping_mul(2_654_435_761) >> 3)),
                10 - number * 9 / ADDRESSES as u32
            )
        })
        .collect();
    fs::write(addresses, format!("# generated\n{sources}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stand_ins_have_the_size_of_the_real_lists() {
        let directory = tempfile::tempdir().unwrap();
        let files = ["a", "b", "c"].map(|name| directory.path().join(name));
        generate(&files).unwrap();
        let count = |file: &Path| fs::read_to_string(file).unwrap().lines().count() - 1;
        assert_eq!(files.each_ref().map(|file| count(file)), [PHISHING, TRACKING, ADDRESSES]);
        let (address, line) =
            entry(&files[2], |line| line.split('\t').next()?.parse::<IpAddr>().ok()).unwrap();
        assert!(line > ADDRESSES / 2 && address.is_ipv4());
    }
}
