//! The jails of a folder at work: lines in, who is to be banned out.
//!
//! Each jail reads a line by a matcher per source and counts for itself. Bans before the present one, by which
//! `bantime.increment` goes, are remembered here until a day after their end, as in Fail2ban's database; they do not
//! outlive the process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use model::{Direction, Evidence, Mode, Timestamp};

use super::counter::{Counter, Full};
use super::filter::Filter;
use super::jail::{Backend, BanTime, Jail, Jails};
use super::limits::MAX_ADDRESSES;
use super::matcher::{Matcher, Options};
use super::reader::{Texts, mistake};
use crate::FilterError;
use crate::dialect::{Feed, FeedLine, Files, Finds, Tally};
use crate::engine::Overflow;

/// Bits of an IPv6 address that are counted and banned together.
const PREFIX6: u8 = 64;
/// How long after its end a ban still counts for `bantime.increment`: Fail2ban's `dbpurgeage`.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// What jails are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailerSettings {
    /// `jail.conf`, `jail.d`, `filter.d` and what goes with them.
    pub files: Files,
    /// The folder they stand in, for messages.
    pub folder: String,
    /// These jails alone, whether their files enable them or not; none = those that are enabled.
    pub only: Option<Vec<String>>,
    /// Whether their bans are carried out.
    pub mode: Mode,
}

/// The jails of a folder.
#[derive(Debug)]
pub struct Jailer {
    cells: Vec<Cell>,
    feeds: Vec<Feed>,
    bans: Bans,
    mode: Mode,
}

/// A jail at work.
#[derive(Debug)]
struct Cell {
    jail: Jail,
    name: Arc<str>,
    filter: Arc<Filter>,
    /// The feeds it reads, by number, each with its matcher once a line came.
    matchers: HashMap<usize, Option<Matcher>>,
    counter: Counter,
    failures: u64,
    overflows: u64,
}

/// Who was banned how often; with `bantime.overalljails` in all jails together.
#[derive(Debug, Default)]
struct Bans(HashMap<Whose, Before>);

/// A jail, or all of them (the empty name), and an address.
type Whose = (Arc<str>, IpAddr);

#[derive(Clone, Copy, Debug)]
struct Before {
    bans: u32,
    /// When it is forgotten.
    until: Timestamp,
}

impl Jailer {
    /// Reads and compiles the jails. What is wrong is told, and the rest runs.
    #[must_use]
    pub fn load(settings: &JailerSettings) -> (Self, Vec<FilterError>) {
        let mut texts = Texts::new();
        let folder = format!("{}/", settings.folder.trim_end_matches('/'));
        for (path, bytes) in &settings.files {
            texts.add(&format!("{folder}{path}"), bytes.as_slice());
        }
        let Jails { jails, problems: mut errors, .. } =
            Jails::read_only(&texts, &folder, settings.only.as_deref());
        let mut feeds = Vec::new();
        let mut cells = Vec::new();
        for jail in jails {
            let filter = match jail.compile() {
                Ok(filter) => Arc::new(filter),
                Err(wrong) => {
                    errors.push(of_jail(&jail, "does not run: its filter is not supported", "see below"));
                    errors.extend(wrong);
                    continue;
                }
            };
            let mut matchers = HashMap::new();
            for feed in feeds_of(&jail, &filter, &mut errors) {
                let known = feeds.iter().position(|known| *known == feed);
                let number = known.unwrap_or_else(|| {
                    feeds.push(feed);
                    feeds.len() - 1
                });
                matchers.insert(number, None);
            }
            if let Some(command) = &jail.ignore_command {
                let what = format!("`ignorecommand = {command}` is not supported: no command is run");
                errors.push(of_jail(&jail, &what, "write the addresses into `ignoreip`"));
            }
            if !jail.ignore_names.is_empty() {
                let what =
                    format!("`ignoreip` names {}: names are not looked up", jail.ignore_names.join(", "));
                errors.push(of_jail(&jail, &what, "write their addresses"));
            }
            cells.push(Cell {
                name: format!("fail2ban:{}", jail.name).into(),
                counter: Counter::new(jail.max_retry, jail.find_time, PREFIX6),
                jail,
                filter,
                matchers,
                failures: 0,
                overflows: 0,
            });
        }
        (Self { cells, feeds, bans: Bans::default(), mode: settings.mode }, errors)
    }

    /// Where its jails want lines from.
    #[must_use]
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// How its jails are doing.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> {
        self.cells.iter().map(|cell| Tally {
            name: cell.name.to_string(),
            failures: Some(cell.failures),
            overflows: cell.overflows,
        })
    }

    /// Takes over what the former one knew of jails that are the same, and of bans.
    pub fn adopt(&mut self, former: Self) {
        for old in former.cells {
            let same = |cell: &&mut Cell| format!("{:?}", cell.jail) == format!("{:?}", old.jail);
            if let Some(cell) = self.cells.iter_mut().find(same) {
                (cell.counter, cell.failures, cell.overflows) = (old.counter, old.failures, old.overflows);
            }
        }
        self.bans = former.bans;
    }

    /// Judges a line of a feed.
    pub fn line(&mut self, feed: usize, line: &FeedLine<'_>, finds: &mut Finds) {
        for cell in &mut self.cells {
            let Some(matcher) = cell.matchers.get_mut(&feed) else { continue };
            let matcher = matcher.get_or_insert_with(|| {
                let options =
                    Options { zone: TimeZone::system(), offset: cell.jail.offset, ..Options::default() };
                Matcher::new(Arc::clone(&cell.filter), options)
            });
            // The journal says the time beside the line, which then stands before it once more.
            let judged = match line.written {
                Some(at) => matcher.entry(line.now, at.min(line.now), without_time(line.bytes)),
                None => matcher.line(line.now, line.bytes),
            };
            for failure in judged.failures {
                finds.matched = true;
                if failure.no_failure || failure.address.is_some_and(|address| cell.jail.ignores(address)) {
                    continue;
                }
                cell.failures += 1;
                if let Some(full) = cell.counter.count(line.now, &failure) {
                    cell.overflows += 1;
                    full_cell(cell, &full, line, self.mode, &mut self.bans, finds);
                }
            }
        }
    }
}

/// Somebody failed too often.
fn full_cell(cell: &Cell, full: &Full, line: &FeedLine<'_>, mode: Mode, bans: &mut Bans, finds: &mut Finds) {
    let jail = &cell.jail;
    let target = full.address.and_then(|address| IpNet::new(address, full.prefix).ok());
    let (Some(target), Some(ip)) = (target, full.address) else {
        let message = format!(
            "`{}` failed {} times and is not banned: it is no address, and names are not looked up",
            full.who, full.failures
        );
        finds.tell(&cell.name, message);
        return;
    };
    let time = match &jail.growth {
        None => jail.ban_time,
        Some(growth) => {
            let all_or_this = if growth.over_all_jails { Arc::default() } else { Arc::clone(&cell.name) };
            let whose = (all_or_this, target.trunc().addr());
            let before = bans.of(&whose, line.now);
            let time = growth.ban_time(jail.ban_time, before, chance(ip, full.at));
            bans.note(whose, line.now, time);
            time
        }
    };
    let ban = match time {
        BanTime::For(time) => time,
        BanTime::Forever => Duration::MAX,
    };
    let first = full.lines.len().saturating_sub(Evidence::MAX_PIECES);
    finds.ban(Overflow {
        grows: false,
        scenario: cell.name.to_string(),
        description: format!("{} failures within {}", full.failures, model::duration_text(jail.find_time)),
        defined: jail.defined.clone(),
        target: target.trunc(),
        ip,
        at: full.at.min(line.now),
        ban,
        direction: Direction::In,
        mode,
        evidence: full.lines[first..].iter().map(|text| Evidence::new(full.at, line.name, text)).collect(),
        sources: vec![line.source],
    });
}

impl Bans {
    fn of(&self, whose: &Whose, now: Timestamp) -> u32 {
        self.0.get(whose).filter(|before| before.until > now).map_or(0, |before| before.bans)
    }

    fn note(&mut self, whose: Whose, now: Timestamp, time: BanTime) {
        let bans = self.of(&whose, now).saturating_add(1);
        let until = match time {
            BanTime::For(time) => now.plus(time).plus(REMEMBERED),
            BanTime::Forever => Timestamp(i64::MAX),
        };
        if self.0.len() >= MAX_ADDRESSES {
            self.0.retain(|_, before| before.until > now);
        }
        // When all of that still counts, further addresses begin anew each time.
        if self.0.len() < MAX_ADDRESSES || self.0.contains_key(&whose) {
            self.0.insert(whose, Before { bans, until });
        }
    }
}

/// What `rndtime` adds, from 0 to 1: different for each ban, and the same when it is judged again.
fn chance(ip: IpAddr, at: Timestamp) -> f64 {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((ip, at.0));
    f64::from(u32::try_from(hash >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// A line without its first word.
fn without_time(line: &[u8]) -> &[u8] {
    line.iter().position(|byte| *byte == b' ').map_or(line, |space| &line[space + 1..])
}

fn of_jail(jail: &Jail, what: &str, help: &str) -> FilterError {
    let (file, line) = jail.defined.rsplit_once(':').unwrap_or((&jail.defined, "1"));
    mistake(file, line.parse().unwrap_or(1), format!("jail `{}`: {what}", jail.name), help)
}

fn feeds_of(jail: &Jail, filter: &Filter, errors: &mut Vec<FilterError>) -> Vec<Feed> {
    match jail.backend {
        Backend::Files => {
            let (whole, relative): (Vec<_>, Vec<_>) =
                jail.log_paths.iter().map(|(path, _)| path).partition(|path| path.starts_with('/'));
            for path in relative {
                let what = format!("`logpath = {path}` is no absolute path");
                errors.push(of_jail(jail, &what, "write the whole path"));
            }
            whole.into_iter().map(|path| Feed::File(path.clone())).collect()
        }
        Backend::Journal => {
            // Each line is a match of its own.
            let mut matches: Vec<String> = Vec::new();
            for line in filter.journal_matches() {
                if !matches.is_empty() {
                    matches.push("+".into());
                }
                matches.extend(line.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()));
            }
            vec![Feed::Journal(matches)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = "[Definition]\nfailregex = ^%(__prefix_line)sno <HOST>$\n__prefix_line = \\s*(?:\\S+ )?doord(?:\\[\\d+\\])?:\\s+\n";
    const START: i64 = 1_700_000_000;

    fn settings(jail: &str) -> JailerSettings {
        let files = [
            ("jail.conf", jail),
            ("filter.d/door.conf", FILTER),
            ("filter.d/odd.conf", "[Definition]\nfailregex = (\n"),
        ];
        JailerSettings {
            files: files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
            folder: "/f".into(),
            only: None,
            mode: Mode::Enforce,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp((START + seconds) * 1_000_000)
    }

    fn line(jailer: &mut Jailer, seconds: i64, who: &str) -> Finds {
        let text = format!("{} host doord[7]: no {who}", at(seconds));
        let (now, written) = (at(seconds), Some(at(seconds)));
        let line =
            FeedLine { now, source: crate::SourceIndex(3), name: "journal", written, bytes: text.as_bytes() };
        let mut finds = Finds::default();
        jailer.line(0, &line, &mut finds);
        finds
    }

    const DOOR: &str = "[door]\nenabled = true\nbackend = systemd\nfilter = door\nmaxretry = 2\nfindtime = 1m\nbantime = 10m\n\
                        ignoreip = 192.0.2.9\n";

    #[test]
    fn failures_ban_and_ignored_addresses_do_not() {
        let (mut jailer, errors) = Jailer::load(&settings(DOOR));
        assert_eq!(errors, []);
        assert_eq!(jailer.feeds(), [Feed::Journal(Vec::new())]);
        assert_eq!(line(&mut jailer, 0, "192.0.2.7").overflows, []);
        let finds = line(&mut jailer, 30, "192.0.2.7");
        let overflow = &finds.overflows[0];
        assert_eq!(
            (overflow.scenario.as_str(), overflow.target.to_string()),
            ("fail2ban:door", "192.0.2.7/32".into())
        );
        assert_eq!(
            (overflow.defined.as_str(), overflow.ban.as_secs(), overflow.at),
            ("/f/jail.conf:2", 600, at(30))
        );
        assert_eq!((overflow.evidence.len(), overflow.sources[0].0, overflow.mode), (2, 3, Mode::Enforce));
        for seconds in 0..5 {
            let finds = line(&mut jailer, seconds, "192.0.2.9");
            assert_eq!((finds.matched, finds.overflows.len()), (true, 0), "ignored");
        }
        // Failures further apart than findtime do not add up.
        assert_eq!(line(&mut jailer, 100, "192.0.2.8").overflows, []);
        assert_eq!(line(&mut jailer, 400, "192.0.2.8").overflows, []);
        let tally = jailer.tallies().next().unwrap();
        assert_eq!((tally.failures, tally.overflows), (Some(4), 1));
    }

    #[test]
    fn bans_grow_also_over_a_reload_and_a_negative_time_is_for_ever() {
        let text = format!("{DOOR}bantime.increment = true\nmaxretry = 1\n").replace("maxretry = 2\n", "");
        let (mut jailer, errors) = Jailer::load(&settings(&text));
        assert_eq!(errors, []);
        let ban =
            |jailer: &mut Jailer, seconds| line(jailer, seconds, "192.0.2.7").overflows[0].ban.as_secs();
        assert_eq!((ban(&mut jailer, 0), ban(&mut jailer, 10)), (600, 1_200));
        let (mut fresh, _) = Jailer::load(&settings(&text));
        fresh.adopt(jailer);
        assert_eq!(ban(&mut fresh, 20), 2_400);
        assert_eq!(ban(&mut fresh, 3 * 86_400), 600, "forgotten a day after its end");
        let (mut jailer, _) = Jailer::load(&settings(&text.replace("bantime = 10m", "bantime = -1")));
        assert_eq!(line(&mut jailer, 0, "192.0.2.7").overflows[0].ban, Duration::MAX);
    }

    #[test]
    fn a_jail_that_cannot_run_is_told_and_the_rest_runs() {
        let text = format!(
            "{DOOR}[odd]\nenabled = true\nfilter = odd\nlogpath = /x\n[cmd]\nenabled = true\nfilter = door\nlogpath = x\n\
             ignorecommand = /bin/true\nignoreip = home.example\n"
        );
        let (jailer, errors) = Jailer::load(&settings(&text));
        assert_eq!(
            jailer.tallies().map(|tally| tally.name).collect::<Vec<_>>(),
            ["fail2ban:cmd", "fail2ban:door"]
        );
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for part in
            ["jail `odd`: does not run", "filter.d/odd.conf", "logpath = x", "ignorecommand", "home.example"]
        {
            assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:#?}");
        }
        let only = JailerSettings { only: Some(vec!["odd".into(), "none".into()]), ..settings(&text) };
        let (jailer, errors) = Jailer::load(&only);
        assert_eq!(jailer.tallies().count(), 0);
        assert!(errors.iter().any(|error| error.message.contains("no jail `none`")), "{errors:?}");
    }

    #[test]
    fn what_is_no_address_is_told() {
        let (mut jailer, _) = Jailer::load(&settings(DOOR));
        line(&mut jailer, 0, "bad.example");
        let finds = line(&mut jailer, 1, "bad.example");
        assert_eq!((finds.overflows.len(), finds.alerts.len()), (0, 1), "{finds:?}");
        assert!(finds.alerts[0].message.contains("bad.example"), "{finds:?}");
    }
}
