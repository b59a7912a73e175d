//! Reading lists: file, guard, last good copy, set.
//!
//! A file that is refused (a web page, empty, half its former size) changes nothing: the last good copy in the state
//! folder stands in for it, over restarts too, and an event says why. Stale beats empty.

use config::{Config, ListKind, ListSource};
use ipnet::IpNet;
use lists::{
    AddressList, AddressLists, AddressReading, DomainSet, DomainSetBuilder, ListedAs, Report, guard, limits,
};
use model::{Body, Event, EventAction, Mode, Severity, Timestamp};
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// All lists as they are in force.
#[derive(Clone, Debug)]
pub struct Feeds {
    /// Names.
    pub domains: Arc<DomainSet>,
    /// Addresses.
    pub addresses: Arc<AddressLists>,
    /// What became of each file, in the order of the config.
    pub states: Vec<ListState>,
}

/// What became of one list's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListState {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ListKind,
    /// Entries in force.
    pub entries: u64,
    /// Lines that could not be read.
    pub rejected: u64,
    /// When what is in force was read.
    pub loaded: Option<Timestamp>,
    /// Why the file as it is now was not taken.
    pub error: Option<String>,
}

/// What one list gave.
struct Taken {
    report: Report,
    error: Option<String>,
}

impl Feeds {
    /// Nothing listed.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            domains: Arc::new(DomainSetBuilder::new(0).finish()),
            addresses: Arc::new(AddressLists::default()),
            states: Vec::new(),
        }
    }

    /// Reads every list of `config`; what is refused is replaced by its last good copy under `state_dir/lists`.
    /// `own` are networks that no address list may hold. `seed` keys the hash table. Where all address lists together are
    /// more than the kernel holds, `former` stays in force.
    #[must_use]
    pub fn load(
        config: &Config,
        own: &[IpNet],
        state_dir: &Path,
        former: &Arc<AddressLists>,
        now: Timestamp,
        seed: u64,
    ) -> (Self, Vec<Event>) {
        let copies = state_dir.join("lists");
        let mut domains = DomainSetBuilder::new(seed);
        let mut addresses = Vec::new();
        let mut states = Vec::new();
        let mut events = Vec::new();
        if let Err(error) = domains.add_allowed("dns.allow", config.dns.allow.iter().map(|name| (name, 0))) {
            events.push(event("dns.allow", 0, 0, Some(error.to_string()), now));
        }
        for (number, source) in (0..=u16::MAX).zip(&config.lists) {
            let mode = config.mode.and(source.mode);
            let copy = copies.join(copy_name(source));
            let taken = match source.kind {
                ListKind::Domains => take(source, &copy, DomainSetBuilder::inspect, |bytes| {
                    domains.add(&source.name, config.dns.mode.and(mode), bytes)
                }),
                ListKind::Addresses => {
                    let reading =
                        AddressReading { min_score: (source.min_score > 0).then_some(source.min_score), own };
                    take(
                        source,
                        &copy,
                        |bytes| AddressList::read(bytes, reading).map(|(_, report)| report),
                        |bytes| {
                            let (list, report) = AddressList::read(bytes, reading)?;
                            addresses.push(listed(list, number, source, mode));
                            Ok(report)
                        },
                    )
                }
            };
            events.push(event(
                &source.name,
                taken.report.entries,
                taken.report.rejected,
                taken.error.clone(),
                now,
            ));
            states.push(ListState {
                name: source.name.clone(),
                kind: source.kind,
                entries: taken.report.entries,
                rejected: taken.report.rejected,
                loaded: (taken.report.lines > 0).then_some(now),
                error: taken.error,
            });
        }
        let addresses = match AddressLists::merge(addresses) {
            Ok(merged) => Arc::new(merged),
            Err(error) => {
                let error = format!("all address lists together: {error}; the former ones stay in force");
                for state in states.iter_mut().filter(|state| state.kind == ListKind::Addresses) {
                    state.error = Some(error.clone());
                }
                events.push(event("all address lists", 0, 0, Some(error), now));
                Arc::clone(former)
            }
        };
        (Self { domains: Arc::new(domains.finish()), addresses, states }, events)
    }
}

fn listed(list: AddressList, id: u16, source: &ListSource, mode: Mode) -> ListedAs {
    ListedAs { list: Arc::new(list), id, direction: source.direction, mode }
}

/// Takes the file if it is good and near the size of the last good one, else the last good copy.
fn take(
    source: &ListSource,
    copy: &Path,
    inspect: impl Fn(&[u8]) -> Result<Report, lists::ListError>,
    mut add: impl FnMut(&[u8]) -> Result<Report, lists::ListError>,
) -> Taken {
    let fresh = read(&source.path).map_err(|error| format!("{}: {error}", source.path.display()));
    let fresh = fresh.and_then(|bytes| {
        let report = inspect(&bytes).map_err(|error| error.to_string())?;
        let previous = read(copy).ok().and_then(|old| inspect(&old).ok());
        guard(previous.map(|old| old.entries), report.entries)
            .map_err(|error| format!("{error}; if it is meant, remove {} and reload", copy.display()))?;
        Ok(bytes)
    });
    let (bytes, error) = match fresh {
        Ok(bytes) => (bytes, None),
        Err(error) => match read(copy) {
            Ok(bytes) => (bytes, Some(format!("{error}; the last good copy stays in force"))),
            Err(_) => return Taken { report: Report::default(), error: Some(error) },
        },
    };
    match add(&bytes) {
        Ok(report) => {
            if error.is_none()
                && let Err(failed) = keep(copy, &bytes)
            {
                tracing::warn!(list = source.name, error = %failed, "no copy of the list could be kept");
            }
            Taken { report, error }
        }
        Err(refused) => Taken { report: Report::default(), error: Some(refused.to_string()) },
    }
}

/// Reads a regular file within the limit.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let limit = u64::try_from(limits::MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limit)).unwrap_or(0) + 1);
    // One byte more than the limit, so that the reader of the format refuses it with its own words.
    fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the copy whole or not at all; does nothing if it is the same already.
fn keep(copy: &Path, bytes: &[u8]) -> io::Result<()> {
    if holds(copy, bytes).unwrap_or(false) {
        return Ok(());
    }
    if let Some(folder) = copy.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = copy.with_extension("new");
    fs::write(&fresh, bytes)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, copy)
}

/// Whether the file holds exactly these bytes.
fn holds(file: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = fs::File::open(file)?;
    let mut rest = bytes;
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(rest.is_empty());
        }
        match rest.strip_prefix(&chunk[..read]) {
            Some(left) => rest = left,
            None => return Ok(false),
        }
    }
}

/// A file name that no list name can lead out of the folder.
fn copy_name(source: &ListSource) -> PathBuf {
    let safe: String =
        source.name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    PathBuf::from(format!(
        "{safe}.{}",
        match source.kind {
            ListKind::Domains => "domains",
            ListKind::Addresses => "addresses",
        }
    ))
}

fn event(list: &str, entries: u64, rejected: u64, error: Option<String>, now: Timestamp) -> Event {
    Event {
        ts: now,
        severity: if error.is_some() { Severity::Warning } else { Severity::Info },
        action: EventAction::Alert,
        zone: None,
        reason: Some(if error.is_some() { "list_refused" } else { "list_loaded" }.into()),
        body: Body::List { list: list.into(), entries, rejected, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        let list = |name: &str, kind: &str| {
            format!("[[lists]]\nname = '{name}'\nkind = '{kind}'\npath = '{}'\n", folder.join(name).display())
        };
        let text = format!(
            "[zones.wan]\ninterface = 'wan0'\nwan = true\n{}{}",
            list("phishing", "domains"),
            list("bad", "addresses")
        );
        config::parse("secd.toml", &text).unwrap()
    }

    #[test]
    fn a_bad_file_leaves_the_last_good_one_in_force_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::write(folder.path().join("phishing"), "evil.example\n").unwrap();
        fs::write(folder.path().join("bad"), "198.51.100.7\n0.0.0.0/0\n10.4.0.9\n").unwrap();
        let own = ["10.4.0.0/24".parse().unwrap()];
        let load = || Feeds::load(&config, &own, folder.path(), &Arc::default(), Timestamp(0), 1);
        let (feeds, _) = load();
        assert_eq!(feeds.states[0].entries, 1);
        assert_eq!(
            (feeds.states[1].entries, feeds.states[1].rejected),
            (1, 2),
            "the whole world and our own network"
        );

        fs::write(folder.path().join("phishing"), "<!DOCTYPE html><html><body>404</body></html>").unwrap();
        fs::remove_file(folder.path().join("bad")).unwrap();
        let (feeds, events) = load();
        assert!(feeds.domains.decide(&"evil.example".parse().unwrap()).is_some());
        assert_eq!(feeds.addresses.origin([198, 51, 100, 7].into()).len(), 1);
        for state in &feeds.states {
            assert_eq!(state.entries, 1);
            assert!(state.error.as_ref().unwrap().contains("last good copy"), "{state:?}");
        }
        assert_eq!(events.iter().filter(|event| event.severity == Severity::Warning).count(), 2);
    }

    #[test]
    fn a_list_that_loses_most_of_its_entries_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let names = |count: u32| (0..count).map(|n| format!("host{n}.example\n")).collect::<String>();
        fs::write(folder.path().join("phishing"), names(5000)).unwrap();
        let load = || Feeds::load(&config, &[], folder.path(), &Arc::default(), Timestamp(0), 1).0;
        assert_eq!(load().states[0].entries, 5000);
        fs::write(folder.path().join("phishing"), names(10)).unwrap();
        let held = load();
        assert_eq!(held.states[0].entries, 5000);
        assert!(held.states[0].error.as_ref().unwrap().contains("if it is meant, remove"));
    }
}
