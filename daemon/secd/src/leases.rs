//! Files in which DHCP servers keep their leases: looked at, and read when they changed. What cannot be read just now is as
//! it was read last.

use anyhow::{Context, Result};
use config::LeaseSource;
use leases::{Lease, MAX_FILE, NETWORKD_FOLDERS, Reading};
use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Files of networkd, one for each interface. Further ones are not read, and that is told.
const MAX_INTERFACES: usize = 256;
/// Looks in a row at which a source could not be read before that is told: servers put new files in the place of old ones.
const PATIENCE: u32 = 2;

/// The sources of a config as they were last read. Reading blocks.
#[derive(Debug, Default)]
pub struct LeaseFiles(Vec<Source>);

/// What all sources say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Every lease, by the order of the sources.
    pub leases: Vec<Lease>,
    /// What cannot be read, or only in part.
    pub troubles: Vec<String>,
    /// Every source was read at some time.
    pub complete: bool,
}

#[derive(Debug)]
struct Source {
    of: LeaseSource,
    seen: Option<Vec<Stamp>>,
    reading: Option<Reading>,
    error: Option<String>,
    failures: u32,
}

/// What tells a file from another, and from itself before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl LeaseFiles {
    /// Looks at the files of `sources` and reads what changed since the last look.
    pub fn look(&mut self, sources: &[LeaseSource]) -> Look {
        let former = std::mem::take(&mut self.0);
        let mut former: Vec<Option<Source>> = former.into_iter().map(Some).collect();
        for of in sources {
            let known =
                former.iter_mut().find(|source| source.as_ref().is_some_and(|source| source.of == *of));
            let mut source = known.and_then(Option::take).unwrap_or_else(|| Source {
                of: of.clone(),
                seen: None,
                reading: None,
                error: None,
                failures: 0,
            });
            source.look();
            self.0.push(source);
        }
        let mut look = Look { complete: true, ..Look::default() };
        for source in &self.0 {
            look.complete &= source.reading.is_some();
            look.leases.extend(source.reading.iter().flat_map(|reading| &reading.leases).cloned());
            look.troubles.extend(source.trouble());
        }
        look
    }
}

impl Source {
    fn look(&mut self) {
        let looked = files(&self.of).and_then(|files| {
            let stamps = files.iter().map(|file| stamp(file)).collect::<Result<Vec<_>>>()?;
            if self.seen.as_ref() == Some(&stamps) && self.error.is_none() {
                return Ok(None);
            }
            let reading = read(&self.of, &files)?;
            // What was written meanwhile may be half of it. The next look reads it again.
            let same = files.iter().map(|file| stamp(file)).collect::<Result<Vec<_>>>()? == stamps;
            Ok(same.then_some((reading, stamps)))
        });
        match looked {
            Ok(Some((reading, stamps))) => (self.reading, self.seen) = (Some(reading), Some(stamps)),
            Ok(None) => {}
            Err(error) => {
                self.error = Some(format!("{error:#}"));
                self.failures = self.failures.saturating_add(1);
                return;
            }
        }
        (self.error, self.failures) = (None, 0);
    }

    fn trouble(&self) -> Option<String> {
        let stands = if self.reading.is_some() { "; what was read before holds" } else { "" };
        let unread = self.error.as_ref().filter(|_| self.failures >= PATIENCE);
        let unread = unread.map(|error| format!("leases of {}: {error}{stands}", named(&self.of)));
        let skipped = || {
            let skipped = self.reading.as_ref()?.skipped;
            (skipped > 0).then(|| {
                format!("leases of {}: {skipped} entries are no leases or too many", named(&self.of))
            })
        };
        unread.or_else(skipped)
    }
}

/// As the config names it.
fn named(source: &LeaseSource) -> String {
    match source {
        LeaseSource::Kea(file) => format!("kea:{}", file.display()),
        LeaseSource::Dnsmasq(file) => format!("dnsmasq:{}", file.display()),
        LeaseSource::Networkd => "networkd".to_owned(),
    }
}

/// The files of a source, the older first.
fn files(source: &LeaseSource) -> Result<Vec<PathBuf>> {
    match source {
        LeaseSource::Dnsmasq(file) => Ok(vec![file.clone()]),
        LeaseSource::Kea(file) => {
            // While Kea cleans up (LFC), the leases of before stand in one of these.
            let beside = |suffix: &str| {
                let mut name = file.clone().into_os_string();
                name.push(suffix);
                Some(PathBuf::from(name)).filter(|path| path.is_file())
            };
            let older = match beside(".completed") {
                Some(completed) => vec![completed],
                None => [beside(".2"), beside(".1")].into_iter().flatten().collect(),
            };
            Ok(older.into_iter().chain([file.clone()]).collect())
        }
        LeaseSource::Networkd => networkd_files(&NETWORKD_FOLDERS.map(Path::new)),
    }
}

fn networkd_files(folders: &[&Path]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut found = false;
    for folder in folders {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", folder.display())),
        };
        found = true;
        // Names that begin with a dot are being written.
        let named = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        files.extend(named.map(|entry| entry.path()).filter(|path| path.is_file()).take(MAX_INTERFACES + 1));
    }
    anyhow::ensure!(
        found,
        "there is no {}: versions before 256 keep leases in memory only",
        folders[0].display()
    );
    anyhow::ensure!(files.len() <= MAX_INTERFACES, "there are more than {MAX_INTERFACES} files");
    files.sort_unstable();
    Ok(files)
}

fn stamp(path: &Path) -> Result<Stamp> {
    let data = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
    // Reading anything else might wait for ever.
    anyhow::ensure!(data.is_file(), "{} is no file", path.display());
    anyhow::ensure!(data.len() <= MAX_FILE, "{} has more than {MAX_FILE} bytes", path.display());
    Ok(Stamp {
        path: path.to_owned(),
        device: data.dev(),
        inode: data.ino(),
        bytes: data.len(),
        changed: (data.mtime(), data.mtime_nsec()),
    })
}

fn read(source: &LeaseSource, files: &[PathBuf]) -> Result<Reading> {
    let texts = files.iter().map(|file| contents(file)).collect::<Result<Vec<_>>>()?;
    let of = |number: usize| files.get(number).map(|file| file.display().to_string()).unwrap_or_default();
    match source {
        LeaseSource::Kea(_) => {
            let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
            leases::kea(&texts).with_context(|| of(texts.len().saturating_sub(1)))
        }
        LeaseSource::Dnsmasq(_) => {
            leases::dnsmasq(texts.first().map_or(&[], Vec::as_slice)).with_context(|| of(0))
        }
        LeaseSource::Networkd => {
            let mut all = Reading::default();
            for (number, text) in texts.iter().enumerate() {
                let reading = leases::networkd(text).with_context(|| of(number))?;
                all.leases.extend(reading.leases);
                all.skipped += reading.skipped;
            }
            let over = all.leases.len().saturating_sub(leases::MAX_LEASES);
            all.leases.truncate(leases::MAX_LEASES);
            all.skipped += over;
            Ok(all)
        }
    }
}

fn contents(file: &Path) -> Result<Vec<u8>> {
    let failed = || format!("{} cannot be read", file.display());
    let mut bytes = Vec::new();
    File::open(file).with_context(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(failed)?;
    anyhow::ensure!(bytes.len() as u64 <= MAX_FILE, "{} has more than {MAX_FILE} bytes", file.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state\n";

    fn names(look: &Look) -> Vec<&str> {
        look.leases.iter().filter_map(|lease| lease.name.as_ref().map(leases::HostName::as_str)).collect()
    }

    #[test]
    fn what_changes_is_read_again_and_what_goes_away_stays_until_it_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("leases");
        let sources = [LeaseSource::Dnsmasq(file.clone())];
        let mut files = LeaseFiles::default();
        assert!(!files.look(&sources).complete);
        let look = files.look(&sources);
        assert!(look.troubles[0].contains("cannot be read: No such file"), "{:?}", look.troubles);
        fs::write(&file, "1 52:54:00:00:00:01 10.4.0.9 nas *\n").unwrap();
        let look = files.look(&sources);
        assert_eq!((names(&look), look.complete, look.troubles.len()), (vec!["nas"], true, 0));
        fs::write(&file, "1 52:54:00:00:00:01 10.4.0.9 files *\nx\n").unwrap();
        let look = files.look(&sources);
        assert_eq!((names(&look), look.troubles.len()), (vec!["files"], 1));
        fs::remove_file(&file).unwrap();
        assert_eq!(names(&files.look(&sources)), ["files"]);
        let look = files.look(&sources);
        assert!(
            look.complete && look.troubles[0].contains("what was read before holds"),
            "{:?}",
            look.troubles
        );
        fs::create_dir(&file).unwrap();
        assert!(files.look(&sources).troubles[0].contains("is no file"));
        assert_eq!(files.look(&[]), Look { complete: true, ..Look::default() });
    }

    #[test]
    fn while_kea_cleans_up_nothing_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kea-leases4.csv");
        let beside = |suffix: &str| folder.path().join(format!("kea-leases4.csv{suffix}"));
        let line = |last: u8, name: &str| {
            format!("10.4.0.{last},52:54:00:00:00:01,,3600,1700000000,1,0,0,{name},0\n")
        };
        let write = |path: &Path, lines: &[String]| {
            fs::write(path, [HEADER.into(), lines.concat()].concat()).unwrap()
        };
        let sources = [LeaseSource::Kea(file.clone())];
        let mut files = LeaseFiles::default();
        write(&beside(".2"), &[line(9, "oldest"), line(10, "other")]);
        write(&beside(".1"), &[line(9, "older")]);
        write(&file, &[]);
        assert_eq!(names(&files.look(&sources)), ["older", "other"]);
        write(&beside(".completed"), &[line(9, "cleaned")]);
        assert_eq!(names(&files.look(&sources)), ["cleaned"]);
        write(&file, &[line(9, "now")]);
        assert_eq!(names(&files.look(&sources)), ["now"]);
    }

    #[test]
    fn files_of_networkd_are_found_by_interface() {
        let folder = tempfile::tempdir().unwrap();
        let absent = folder.path().join("absent");
        let error = networkd_files(&[&absent]).unwrap_err().to_string();
        assert!(error.contains("before 256"), "{error}");
        for name in ["lan0", "iot0", ".#lan0x"] {
            fs::write(folder.path().join(name), "{}").unwrap();
        }
        let files = networkd_files(&[&absent, folder.path()]).unwrap();
        assert_eq!(files, ["iot0", "lan0"].map(|name| folder.path().join(name)));
        assert!(read(&LeaseSource::Networkd, &files).unwrap().leases.is_empty());
    }
}
