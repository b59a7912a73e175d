//! Reading lists: file, guard, last good copy, set. Lists that are fetched come from the keeper of subscriptions, which has
//! done all of that already; here they are read as they are.
//!
//! A file that is refused (a web page, empty, half its former size) changes nothing: the last good copy in the state
//! folder stands in for it, over restarts too, and an event says why. Stale beats empty. Where no file of names has changed
//! since, the merged set is taken as it was kept.

use ::feeds::geoip::GeoIp;
use config::{Config, Geoip, ListKind, ListSource};
use ipnet::IpNet;
use lists::{
    AddressList, AddressLists, AddressReading, Dangers, DomainKind, DomainSet, DomainSetBuilder, Group,
    GroupSet, ListError, ListedAs, Report, YouTube, guard_report, limits,
};
use model::{Body, Event, EventAction, Mode, Name, Severity, Timestamp};
use policy::SetKind;
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use crate::{
    kept::{self, Counts, Key, MAX_KEPT},
    standing::{ListSets, needs_geoip},
    subscriptions::{GEOIP, GEOIP_SYSTEMS, own_names},
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
    /// The addresses of lists that rules name.
    pub sets: ListSets,
    /// The GeoIP database, where rules need one.
    pub geoip: Option<Database>,
    /// Why there is none.
    pub geoip_error: Option<String>,
}

/// GeoIP databases asked as one, and the files they were read from.
#[derive(Clone)]
pub struct Database {
    /// The database.
    pub data: Arc<GeoIp>,
    /// Files, each with when it was changed.
    from: Vec<(SystemTime, PathBuf)>,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.from).finish()
    }
}

/// What lists are read with.
pub struct Reading<'a> {
    /// Networks that no list may block.
    pub own: &'a [IpNet],
    /// Where copies are kept.
    pub state_dir: &'a Path,
    /// What is in force.
    pub former: &'a Feeds,
    /// The last good file of something that is fetched.
    pub fetched: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// The time.
    pub now: Timestamp,
    /// Keys the hash table.
    pub seed: u64,
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
            sets: ListSets::new(),
            geoip: None,
            geoip_error: None,
        }
    }

    /// Reads every list of `config`; what is refused is replaced by its last good copy under `state_dir/lists`. Where all
    /// address lists together are more than the kernel holds, the former ones stay in force.
    #[must_use]
    pub fn load(config: &Config, reading: &Reading<'_>) -> (Self, Vec<Event>) {
        let now = reading.now;
        let copies = reading.state_dir.join("lists");
        let names = own_names(config);
        let mut domains = DomainSetBuilder::new(reading.seed).protect(names.iter().cloned());
        let mut addresses = Vec::new();
        let mut sets = ListSets::new();
        let (mut states, mut lines): (Vec<ListState>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut events = Vec::new();
        let kept_file = copies.join("domains.kept");
        let mut kept = Key::new(config, &names, |source| {
            let bytes = read(&file_of(source, reading)?).ok()?;
            holds(&copies.join(copy_name(source)), &bytes).ok()?.then_some(bytes)
        })
        .and_then(|key| kept::read(&read_within(&kept_file, MAX_KEPT).ok()?, key))
        .map(|(set, counts)| (set, counts.into_iter()));
        let written = if kept.is_some() { Vec::new() } else { add_written(config, &mut domains) };
        let mut as_said =
            written.iter().all(|(_, outcome)| outcome.as_ref().is_ok_and(|said| said.rejected == 0));
        for (name, outcome) in written {
            match outcome {
                Err(error) => events.push(event(&name, 0, 0, Some(error.to_string()), now)),
                Ok(report) => {
                    if let Some(first) = report.rejects.first() {
                        events.push(event(
                            &name,
                            report.entries,
                            report.rejected,
                            Some(first.to_string()),
                            now,
                        ));
                    }
                }
            }
        }
        for (number, source) in (0..=u16::MAX).zip(&config.lists) {
            let mode = config.mode.and(source.mode);
            let mut add = |bytes: &[u8]| match source.kind {
                ListKind::Domains => {
                    let add = if source.allow {
                        DomainSetBuilder::add_exceptions
                    } else {
                        DomainSetBuilder::add_as
                    };
                    let mode = config.dns.mode.and(mode);
                    add(&mut domains, &source.name, mode, source.groups, bytes, &source.format)
                }
                ListKind::Addresses => {
                    let (list, report) =
                        AddressList::read_as(bytes, &source.format, rules_of(source, reading))?;
                    let list = Arc::new(list);
                    if config
                        .policy
                        .sets
                        .iter()
                        .any(|set| set.name == source.name && set.kind == SetKind::List)
                    {
                        sets.insert(source.name.clone(), policy::address_set(list.nets().collect()));
                    }
                    if source.block {
                        addresses.push(listed(list, number, source, mode));
                    }
                    Ok(report)
                }
            };
            let copy = copies.join(copy_name(source));
            let inspect = |bytes: &[u8]| inspect(source, bytes, &names, reading);
            let counts = match (&mut kept, source.kind) {
                (Some((_, counts)), ListKind::Domains) => counts.next(),
                (Some(_) | None, ListKind::Domains | ListKind::Addresses) => None,
            };
            let taken = if let Some(Counts { entries, rejected, lines }) = counts {
                Taken { report: Report { entries, rejected, lines, ..Report::default() }, error: None }
            } else if source.subscription.is_some() {
                take_fetched((reading.fetched)(&source.name), &copy, inspect, &mut add)
            } else {
                take(source, &copy, inspect, &mut add)
            };
            as_said &= taken.error.is_none() || source.kind == ListKind::Addresses;
            lines.push(taken.report.lines);
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
                Arc::clone(&reading.former.addresses)
            }
        };
        let (geoip, geoip_error) = match database(config, reading) {
            Ok(database) => (database, None),
            Err(error) => (reading.former.geoip.clone(), Some(error)),
        };
        let domains = match kept {
            Some((set, _)) => set,
            None => {
                let set = domains.finish();
                if as_said {
                    let of_domains = |(state, &lines): (&ListState, &u32)| {
                        (state.kind == ListKind::Domains).then_some(Counts {
                            entries: state.entries,
                            rejected: state.rejected,
                            lines,
                        })
                    };
                    let counts: Vec<Counts> = states.iter().zip(&lines).filter_map(of_domains).collect();
                    // What was taken is what the copies hold, whatever the files hold by now.
                    let key = Key::new(config, &names, |source| read(&copies.join(copy_name(source))).ok());
                    if let Some(Err(error)) = key.map(|key| kept::write(&kept_file, key, &set, &counts)) {
                        tracing::warn!(file = %kept_file.display(), %error, "the merged lists could not be kept");
                    }
                }
                set
            }
        };
        let domains = Arc::new(domains);
        (Self { domains, addresses, states, sets, geoip, geoip_error }, events)
    }
}

/// What people wrote into the config about names, each place as a list of its own.
fn add_written(config: &Config, domains: &mut DomainSetBuilder) -> Vec<(String, Result<Report, ListError>)> {
    let dns = &config.dns;
    let allow = dns.allow.iter().map(|entry| (entry.rule.as_str(), entry.line));
    let mut outcomes = vec![("dns.allow".to_owned(), domains.add_allow_list("dns.allow", allow))];
    let mut add = |name: String, kind, mode, groups, written: &[config::NameEntry]| {
        if !written.is_empty() {
            let rules = written.iter().map(|entry| (entry.rule.as_str(), entry.line));
            let outcome = domains.add_written(&name, kind, mode, groups, rules);
            outcomes.push((name, outcome));
        }
    };
    let mode = config.mode.and(dns.mode);
    add("dns.deny".into(), DomainKind::Block, mode, GroupSet::ALL, &dns.deny);
    for (place, group) in dns.groups.iter().enumerate() {
        let (groups, mode) = (GroupSet::one(place), mode.and(group.mode));
        add(format!("dns.groups.{}.allow", group.name), DomainKind::Allow, mode, groups, &group.allow);
        add(format!("dns.groups.{}.deny", group.name), DomainKind::Block, mode, groups, &group.deny);
    }
    let groups = dns.list_groups();
    for service in lists::services() {
        // One list for all groups of a mode: a config may have more groups with services than a set has lists.
        for of in [Mode::Enforce, Mode::Observe] {
            let names_it = |group: &Group| group.services.iter().any(|name| **name == *service.name);
            let blocked = Group::all_where(&groups, |group| group.mode == of && names_it(group));
            if !blocked.is_empty() {
                let added = domains.add_service(&service, mode.and(of), blocked);
                outcomes.push((format!("service {}", service.name), added.map(|()| Report::default())));
            }
        }
    }
    let safe = Group::all_where(&groups, |group| group.safe_search && group.mode == Mode::Enforce);
    if mode == Mode::Enforce && !safe.is_empty() {
        let added = domains.add_safe_search(safe, YouTube::Strict);
        outcomes.push(("safe search".into(), added.map(|()| Report::default())));
    }
    outcomes.push(("captive-portal probes".into(), domains.add_probes().map(|()| Report::default())));
    outcomes
}

/// How an address list is read. One that only rules name may hold our own networks.
fn rules_of<'a>(source: &ListSource, reading: &Reading<'a>) -> AddressReading<'a> {
    AddressReading {
        min_score: (source.min_score > 0).then_some(source.min_score),
        own: if source.block { reading.own } else { &[] },
    }
}

fn inspect(
    source: &ListSource,
    bytes: &[u8],
    own_names: &[Name],
    reading: &Reading<'_>,
) -> Result<Report, ListError> {
    match source.kind {
        ListKind::Domains => DomainSetBuilder::inspect_as(bytes, &source.format, own_names),
        ListKind::Addresses => {
            AddressList::read_as(bytes, &source.format, rules_of(source, reading)).map(|(_, report)| report)
        }
    }
}

/// The GeoIP databases, read anew where a file changed; none where no rule needs them.
fn database(config: &Config, reading: &Reading<'_>) -> Result<Option<Database>, String> {
    if !needs_geoip(&config.policy) {
        return Ok(None);
    }
    let mut files = Vec::new();
    for (source, name) in [(&config.geoip, GEOIP), (&config.geoip_systems, GEOIP_SYSTEMS)] {
        match source {
            Some(Geoip::File(file)) => files.push(file.clone()),
            Some(Geoip::Subscription(_)) => files
                .push((reading.fetched)(name).ok_or_else(|| format!("the {name} has not been fetched yet"))?),
            None => {}
        }
    }
    let wrong = |file: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut from = Vec::new();
    for file in files {
        let changed = fs::metadata(&file).and_then(|metadata| metadata.modified());
        from.push((changed.map_err(|error| wrong(&file, &error))?, file));
    }
    if let Some(former) = reading.former.geoip.as_ref().filter(|former| former.from == from) {
        return Ok(Some(former.clone()));
    }
    let mut data: Option<GeoIp> = None;
    for (_, file) in &from {
        let bytes = read_within(file, feeds::limits::MAX_DATABASE).map_err(|error| wrong(file, &error))?;
        let opened = GeoIp::open(bytes).map_err(|error| wrong(file, &error))?;
        data = Some(match data {
            Some(first) => first.with(opened),
            None => opened,
        });
    }
    let data = data.ok_or("rules name countries or providers, and there is no [geoip]")?;
    Ok(Some(Database { data: Arc::new(data), from }))
}

fn listed(list: Arc<AddressList>, id: u16, source: &ListSource, mode: Mode) -> ListedAs {
    ListedAs { list, id, direction: source.direction, mode }
}

/// The file of a list; none of one that has not been fetched yet.
fn file_of(source: &ListSource, reading: &Reading<'_>) -> Option<PathBuf> {
    match source.subscription {
        Some(_) => (reading.fetched)(&source.name),
        None => Some(source.path.clone()),
    }
}

/// Takes a file that the keeper of subscriptions has judged; where it cannot be read any more, the last good copy.
fn take_fetched(
    file: Option<PathBuf>,
    copy: &Path,
    inspect: impl Fn(&[u8]) -> Result<Report, ListError>,
    add: &mut dyn FnMut(&[u8]) -> Result<Report, ListError>,
) -> Taken {
    let Some(file) = file else {
        return Taken { report: Report::default(), error: Some("it has not been fetched yet".into()) };
    };
    let fresh = read(&file).map_err(|error| format!("{}: {error}", file.display()));
    let fresh = fresh.and_then(|bytes| {
        if !holds(copy, &bytes).unwrap_or(false) {
            inspect(&bytes).map_err(|error| error.to_string())?;
        }
        Ok(bytes)
    });
    taken(fresh, copy, add)
}

/// Takes the file if it is good and near the size of the last good one, else the last good copy.
fn take(
    source: &ListSource,
    copy: &Path,
    inspect: impl Fn(&[u8]) -> Result<Report, ListError>,
    add: &mut dyn FnMut(&[u8]) -> Result<Report, ListError>,
) -> Taken {
    let fresh = read(&source.path).map_err(|error| format!("{}: {error}", source.path.display()));
    let fresh = fresh.and_then(|bytes| {
        let report = inspect(&bytes).map_err(|error| error.to_string())?;
        let previous = read(copy).ok().and_then(|old| inspect(&old).ok());
        let previous: Option<(u64, Dangers)> = previous.map(|old| (old.entries, old.dangers));
        // The first version of an own file is what someone wants; its dangerous entries are left out all the same.
        previous
            .map_or(Ok(()), |previous| guard_report(Some(previous), &report))
            .map_err(|error| format!("{error}; if it is meant, remove {} and reload", copy.display()))?;
        Ok(bytes)
    });
    taken(fresh, copy, add)
}

/// What is good is taken and kept; else the last good copy is.
fn taken(
    fresh: Result<Vec<u8>, String>,
    copy: &Path,
    add: &mut dyn FnMut(&[u8]) -> Result<Report, ListError>,
) -> Taken {
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
                tracing::warn!(copy = %copy.display(), error = %failed, "no copy of the list could be kept");
            }
            Taken { report, error }
        }
        Err(refused) => Taken { report: Report::default(), error: Some(refused.to_string()) },
    }
}

/// Reads a list or rule file within the limit.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_within(path, limits::MAX_FILE_BYTES)
}

/// Reads a regular file within a limit in bytes.
fn read_within(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
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

    fn read_with(config: &Config, own: &[IpNet], state_dir: &Path) -> (Feeds, Vec<Event>) {
        let (former, fetched) = (Feeds::empty(), |_: &str| None);
        let reading =
            Reading { own, state_dir, former: &former, fetched: &fetched, now: Timestamp(0), seed: 1 };
        Feeds::load(config, &reading)
    }

    #[test]
    fn what_is_fetched_is_read_where_the_keeper_has_it_and_what_rules_name_is_a_set() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
            [[lists]]\nname = 'bad'\nurl = 'https://lists.example/bad'\nkind = 'addresses'\n\
            [[lists]]\nname = 'office'\nurl = 'https://lists.example/office'\nkind = 'addresses'\nblock = false\n\
            [[rules]]\nfrom = ['list:office']\nto = ['self']\nservices = ['ssh']\naction = 'allow'\n";
        let config = config::parse("secd.toml", text).unwrap();
        let own: [IpNet; 1] = ["10.4.0.0/24".parse().unwrap()];
        let file = folder.path().join("good");
        fs::write(&file, "198.51.100.7\n10.4.0.9\n").unwrap();
        let former = Feeds::empty();
        let load = |fetched: &dyn Fn(&str) -> Option<PathBuf>| {
            let (state_dir, now) = (folder.path(), Timestamp(0));
            Feeds::load(&config, &Reading { own: &own, state_dir, former: &former, fetched, now, seed: 1 }).0
        };
        let none = load(&|_| None);
        assert!(none.states.iter().all(|state| state.error.as_ref().unwrap().contains("not been fetched")));
        let feeds = load(&|_| Some(file.clone()));
        assert_eq!(
            (feeds.states[0].entries, feeds.states[1].entries),
            (1, 2),
            "own networks are not blocked"
        );
        assert_eq!(feeds.addresses.table().len(), 1, "what only rules name blocks nobody");
        assert_eq!(feeds.sets["office"].len(), 2);
        assert!(!feeds.sets.contains_key("bad"));
    }

    #[test]
    fn a_fetched_file_that_cannot_be_read_again_leaves_the_last_good_one_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let list = |name: &str, kind: &str| {
            format!("[[lists]]\nname = '{name}'\nurl = 'https://lists.example/{name}'\nkind = '{kind}'\n")
        };
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n".to_owned()
            + &list("bad", "addresses")
            + &list("office", "addresses")
            + "block = false\n"
            + &list("ads", "domains")
            + "[[rules]]\nfrom = ['list:office']\nto = ['self']\nservices = ['ssh']\naction = 'allow'\n";
        let config = config::parse("secd.toml", &text).unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("bad"), "198.51.100.7\n").unwrap();
        fs::write(at("office"), "192.0.2.0/24\n").unwrap();
        fs::write(at("ads"), "evil.example\n").unwrap();
        let former = Feeds::empty();
        let load = |state_dir: &str| {
            let (fetched, state_dir, now) = (|name: &str| Some(at(name)), at(state_dir), Timestamp(0));
            let (state_dir, fetched, former) = (state_dir.as_path(), &fetched, &former);
            Feeds::load(&config, &Reading { own: &[], state_dir, former, fetched, now, seed: 1 })
        };
        let (good, events) = load("state");
        assert!(events.iter().all(|event| event.severity == Severity::Info), "{events:?}");
        // Gone, no list, and a folder.
        fs::remove_file(at("bad")).unwrap();
        fs::write(at("office"), [0, 159, 146, 150]).unwrap();
        fs::remove_file(at("ads")).unwrap();
        fs::create_dir(at("ads")).unwrap();
        // Also after a restart, which knows of nothing before.
        let (kept, events) = load("state");
        assert_eq!(kept.addresses.origin([198, 51, 100, 7].into()).len(), 1);
        assert_eq!(kept.sets, good.sets);
        assert!(kept.domains.decide(&lists::Asked::about("evil.example")).is_some());
        for (state, event) in kept.states.iter().zip(&events) {
            assert_eq!(state.entries, 1, "{state:?}");
            assert!(state.error.as_ref().unwrap().contains("the last good copy stays in force"), "{state:?}");
            assert_eq!(event.severity, Severity::Warning);
        }
        // Nothing was ever read: nothing is kept.
        let (nothing, _) = load("another state");
        assert!(nothing.states.iter().all(|state| state.entries == 0 && state.error.is_some()));
    }

    #[test]
    fn a_bad_file_leaves_the_last_good_one_in_force_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::write(folder.path().join("phishing"), "evil.example\n").unwrap();
        fs::write(folder.path().join("bad"), "198.51.100.7\n0.0.0.0/0\n10.4.0.9\n").unwrap();
        let own = ["10.4.0.0/24".parse().unwrap()];
        let load = || read_with(&config, &own, folder.path());
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
        assert!(feeds.domains.decide(&lists::Asked::about("evil.example")).is_some());
        assert_eq!(feeds.addresses.origin([198, 51, 100, 7].into()).len(), 1);
        for state in &feeds.states {
            assert_eq!(state.entries, 1);
            assert!(state.error.as_ref().unwrap().contains("last good copy"), "{state:?}");
        }
        assert_eq!(events.iter().filter(|event| event.severity == Severity::Warning).count(), 2);
    }

    #[test]
    fn what_has_not_changed_is_taken_as_it_was_kept_and_what_has_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::write(folder.path().join("phishing"), "evil.example\nno name\n").unwrap();
        fs::write(folder.path().join("bad"), "198.51.100.7\n").unwrap();
        let blocks = |feeds: &Feeds, name: &str| feeds.domains.decide(&lists::Asked::about(name)).is_some();
        let load = |config: &Config| read_with(config, &[], folder.path());
        let (first, told) = load(&config);
        let kept = folder.path().join("lists/domains.kept");
        let bytes = fs::read(&kept).unwrap();
        // Another set under the same key shows whether it is looked at.
        let key =
            Key::new(&config, &own_names(&config), |_| Some(b"evil.example\nno name\n".to_vec())).unwrap();
        let (_, counts) = kept::read(&bytes, key).unwrap();
        let mut other = DomainSetBuilder::new(1);
        other.add("phishing", Mode::Enforce, b"other.example\n").unwrap();
        kept::write(&kept, key, &other.finish(), &counts).unwrap();
        let (again, told_again) = load(&config);
        assert!(blocks(&again, "other.example") && !blocks(&again, "evil.example"), "as it was kept");
        assert_eq!((&again.states, &told_again), (&first.states, &told), "and told as it was read");
        // Damaged: from the text, and kept anew.
        let mut damaged = fs::read(&kept).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&kept, damaged).unwrap();
        assert!(blocks(&load(&config).0, "evil.example"));
        assert!(kept::read(&fs::read(&kept).unwrap(), key).is_some());
        // Another file, and another config.
        kept::write(&kept, key, &DomainSetBuilder::new(1).finish(), &counts).unwrap();
        fs::write(folder.path().join("phishing"), "new.example\n").unwrap();
        assert!(blocks(&load(&config).0, "new.example"));
        let mut observing = config.clone();
        observing.lists[0].mode = Mode::Observe;
        let (observed, _) = load(&observing);
        let found = observed.domains.decide(&lists::Asked::about("new.example")).unwrap();
        assert_eq!(found.info.mode, Mode::Observe);
    }

    #[test]
    fn a_set_with_a_list_that_is_held_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::write(folder.path().join("bad"), "198.51.100.7\n").unwrap();
        assert!(read_with(&config, &[], folder.path()).0.states[0].error.is_some(), "there is no such file");
        assert!(!folder.path().join("lists/domains.kept").exists());
    }

    #[test]
    fn a_list_that_loses_most_of_its_entries_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let names = |count: u32| (0..count).map(|n| format!("host{n}.example\n")).collect::<String>();
        fs::write(folder.path().join("phishing"), names(5000)).unwrap();
        let load = || read_with(&config, &[], folder.path()).0;
        assert_eq!(load().states[0].entries, 5000);
        fs::write(folder.path().join("phishing"), names(10)).unwrap();
        let held = load();
        assert_eq!(held.states[0].entries, 5000);
        assert!(held.states[0].error.as_ref().unwrap().contains("if it is meant, remove"));
    }
}
