//! A folder of CrowdSec at work: lines go through its parsers into the buckets of its scenarios, overflows through its
//! postoverflows, and its profiles say what becomes of them.
//!
//! A line counts at the time it was written, so one that was read late never bans for what is over; one without a time
//! counts when it is read. Functions of profiles that ask for decisions (`GetDecisionsCount`, …) know those that were
//! made here since the start.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use model::{Direction, Evidence, Mode, Timestamp};

use super::acquis::{self, Acquisition};
use super::buckets::{BucketLimits, Buckets};
use super::event::{Event, Line, Mode as Clock};
use super::load::{DataFile, Item, Items};
use super::overflow::{Alert, SCOPE_IP, SCOPE_RANGE};
use super::pipeline::Pipeline;
use super::profile::{self, Profile};
use super::scenario::{Scenario, mistake_at};
use super::{alert, duration};
use crate::FilterError;
use crate::dialect::{Feed, FeedLine, Files, Finds, MAX_FOUND, Tally};
use crate::engine::Overflow;
use crate::expr::{Problem, Scope, Time, Value};

/// Sources whose decisions are remembered for profiles. When full, those without a recent decision are forgotten.
const MAX_REMEMBERED: usize = 50_000;
/// Decisions that are remembered of one source.
const MAX_OF_SOURCE: usize = 256;
/// The profile of a folder that has no `profiles.yaml`: CrowdSec's own.
const STOCK_PROFILE: &str = "name: default_ip_remediation\nfilters:\n - Alert.Remediation == true && Alert.GetScope() in [\"Ip\", \"Range\"]\n\
                             decisions:\n - type: ban\n   duration: 4h\non_success: break\n";

/// What an agent is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    /// `parsers`, `scenarios`, `postoverflows`, `patterns`, `data`, `profiles.yaml`, `acquis.yaml`, `acquis.d`,
    /// `simulation.yaml`.
    pub files: Files,
    /// The folder they stand in, for messages.
    pub folder: String,
    /// Whether its bans are carried out.
    pub mode: Mode,
}

/// A folder of CrowdSec at work.
#[derive(Debug)]
pub struct Agent {
    parsers: Pipeline,
    buckets: Buckets,
    postoverflows: Pipeline,
    profiles: Vec<Profile>,
    acquisitions: Vec<Acquisition>,
    feeds: Vec<Feed>,
    /// Where each scenario stands.
    places: HashMap<Arc<str>, String>,
    simulation: Simulation,
    decisions: Decisions,
    overflows: BTreeMap<Arc<str>, u64>,
    mode: Mode,
}

/// `simulation.yaml`: scenarios that are only tried out.
#[derive(Debug, Default)]
struct Simulation {
    all: bool,
    except: BTreeSet<String>,
}

/// Decisions that were made: since when and until when, by the value they are about.
#[derive(Debug, Default)]
struct Decisions(HashMap<Arc<str>, VecDeque<(Timestamp, Timestamp)>>);

impl Agent {
    /// Compiles a folder. What is wrong is told, and the rest runs.
    #[must_use]
    pub fn load(settings: &AgentSettings) -> (Self, Vec<FilterError>) {
        let mut errors = Vec::new();
        let hub = Folder(&settings.files);
        let mut parsers = hub.pipeline("parsers/", &mut errors);
        let postoverflows = hub.pipeline("postoverflows/", &mut errors);
        let mut scenarios: Vec<Scenario> = Vec::new();
        let mut places = HashMap::new();
        for (path, _, bytes) in hub.yaml("scenarios/") {
            match Scenario::read(path, bytes) {
                Ok(read) => {
                    for scenario in read {
                        places.insert(scenario.name.clone(), format!("{}/{path}", settings.folder));
                        scenarios.push(scenario);
                    }
                }
                Err(wrong) => errors.extend(wrong),
            }
        }
        for scenario in &scenarios {
            for file in &scenario.data {
                match hub.data(&file.name, &file.url) {
                    Some(bytes) => errors.extend(parsers.add_data(&file.name, &file.kind, bytes).err()),
                    None => {
                        let path = places.get(&scenario.name).map_or("", String::as_str);
                        let path = path.strip_prefix(&format!("{}/", settings.folder)).unwrap_or(path);
                        let what = format!(
                            "unsupported: data file `{}` of {} is not there",
                            file.name, scenario.name
                        );
                        errors.push(mistake_at(path, 1, &what, "put it into the folder `data`"));
                    }
                }
            }
        }
        let mut profiles = Vec::new();
        for file in ["profiles.yaml.local", "profiles.yaml"] {
            if let Some(bytes) = settings.files.get(file) {
                match Profile::read(file, bytes) {
                    Ok(read) => profiles.extend(read),
                    Err(wrong) => errors.extend(wrong),
                }
            }
        }
        if !settings.files.keys().any(|path| path.starts_with("profiles.yaml")) {
            profiles = Profile::read("profiles.yaml", STOCK_PROFILE.as_bytes()).unwrap_or_default();
        }
        let mut acquisitions = Vec::new();
        for (path, bytes) in &settings.files {
            let is_yaml = path.ends_with(".yaml") || path.ends_with(".yml");
            if is_yaml && (path == "acquis.yaml" || path.starts_with("acquis.d/")) {
                acquis::read(path, bytes, &mut acquisitions, &mut errors);
            }
        }
        let mut feeds: Vec<Feed> = Vec::new();
        for acquisition in &acquisitions {
            if !feeds.contains(&acquisition.feed) {
                feeds.push(acquisition.feed.clone());
            }
        }
        for error in &mut errors {
            error.file = format!("{}/{}", settings.folder.trim_end_matches('/'), error.file);
        }
        let agent = Self {
            parsers,
            overflows: scenarios.iter().map(|scenario| (scenario.name.clone(), 0)).collect(),
            buckets: Buckets::new(scenarios, BucketLimits::default()),
            postoverflows,
            profiles,
            acquisitions,
            feeds,
            places,
            simulation: Simulation::read(settings.files.get("simulation.yaml")),
            decisions: Decisions::default(),
            mode: settings.mode,
        };
        (agent, errors)
    }

    /// Where its acquisitions want lines from.
    #[must_use]
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// How its scenarios are doing.
    pub fn tallies(&self) -> impl Iterator<Item = Tally> {
        self.overflows.iter().map(|(name, overflows)| Tally {
            name: name.to_string(),
            failures: None,
            overflows: *overflows,
        })
    }

    /// Takes over the decisions that the former one remembers. Its buckets go on only where the whole folder is the
    /// same, and then the former itself does.
    pub fn adopt(&mut self, former: Self) {
        self.decisions = former.decisions;
        for (name, overflows) in former.overflows {
            self.overflows.entry(name).and_modify(|count| *count += overflows);
        }
    }

    /// Judges a line of a feed.
    pub fn line(&mut self, feed: usize, line: &FeedLine<'_>, finds: &mut Finds) {
        let Some(feed) = self.feeds.get(feed) else { return };
        let raw: Arc<str> = String::from_utf8_lossy(line.bytes).as_ref().into();
        let now = time(line.now);
        let lines: Vec<Line> = self
            .acquisitions
            .iter()
            .filter(|acquisition| acquisition.feed == *feed)
            .map(|acquisition| Line {
                raw: Arc::clone(&raw),
                source: line.name.into(),
                module: Arc::clone(&acquisition.module),
                labels: Arc::clone(&acquisition.labels),
                time: None,
            })
            .collect();
        for of_line in lines {
            let mut event = self.parsers.parse(Event::line(of_line, Clock::Live, now), now);
            if !event.process || event.whitelisted {
                continue;
            }
            finds.matched = true;
            match alert::happened(&event) {
                // Ahead of the clock is now.
                Some(at) if at <= nanoseconds(line.now) => event.mode = Clock::Replay,
                Some(_) | None => event.mode = Clock::Live,
            }
            self.pour(event, line, finds);
        }
    }

    /// Ends buckets whose time is over. To be called about every second.
    pub fn tick(&mut self, line: &FeedLine<'_>, finds: &mut Finds) {
        let now = time(line.now);
        let mut nothing = Event::line(Line::default(), Clock::Live, now);
        let ended = self.buckets.tick(&mut self.parsers.scope(&mut nothing, now), nanoseconds(line.now));
        for overflow in ended {
            self.overflowed(overflow, line, finds, &mut VecDeque::new());
        }
    }

    fn pour(&mut self, event: Event, line: &FeedLine<'_>, finds: &mut Finds) {
        let now = time(line.now);
        let mut waiting = VecDeque::from([event]);
        let mut rest = MAX_FOUND;
        while let Some(event) = waiting.pop_front() {
            let mut seen = event.clone();
            let event = Arc::new(event);
            let poured =
                self.buckets.pour(&event, &mut self.parsers.scope(&mut seen, now), nanoseconds(line.now));
            for overflow in poured {
                let Some(left) = rest.checked_sub(1) else { return };
                rest = left;
                self.overflowed(overflow, line, finds, &mut waiting);
            }
        }
    }

    /// Puts an overflow through the postoverflows and asks the profiles about its alerts.
    fn overflowed(
        &mut self,
        overflow: Event,
        line: &FeedLine<'_>,
        finds: &mut Finds,
        waiting: &mut VecDeque<Event>,
    ) {
        let event = self.postoverflows.parse(overflow, time(line.now));
        let Some(overflow) = event.overflow.clone().filter(|overflow| !overflow.whitelisted) else { return };
        if event.whitelisted {
            return;
        }
        if overflow.reprocess {
            waiting.push_back(event);
        }
        for alert in &overflow.alerts {
            if let Some(count) = self.overflows.get_mut(&alert.scenario) {
                *count += 1;
            }
            self.alerted(alert, line, finds);
        }
    }

    fn alerted(&mut self, alert: &Alert, line: &FeedLine<'_>, finds: &mut Finds) {
        let who = format!("{} {}", alert.source.scope, alert.source.value);
        let mut tell = |why: &str| finds.tell(&alert.scenario, format!("{who}: {}; {why}", alert.message));
        if !alert.remediation {
            return tell("nobody is banned: the scenario asks for no remediation");
        }
        let mut scope = Asked { decisions: &self.decisions, now: line.now };
        let decided = match profile::decide(&self.profiles, alert, &mut scope) {
            Ok(decided) => decided,
            Err((profile, problem)) => {
                return tell(&format!("nobody is banned: the profile {profile}: {problem}"));
            }
        };
        if decided.is_empty() {
            return tell("nobody is banned: no profile decides so");
        }
        for decision in decided {
            let target = match &*decision.scope {
                SCOPE_IP => decision.value.parse::<IpAddr>().ok().map(|ip| IpNet::from(ip.to_canonical())),
                SCOPE_RANGE => decision.value.parse::<IpNet>().ok().map(|net| net.trunc()),
                _ => None,
            };
            let Some(target) = target else {
                finds.tell(
                    &alert.scenario,
                    format!("{who}: {}; nobody is banned: only Ip and Range are", alert.message),
                );
                continue;
            };
            if decision.kind != "ban" {
                let why = format!("nobody is banned: `{}` is not carried out here", decision.kind);
                finds.tell(&alert.scenario, format!("{who}: {}; {why}", alert.message));
                continue;
            }
            let ban = Duration::from_nanos(u64::try_from(decision.duration).unwrap_or(0));
            let at = alert.stop_at.min(line.now);
            self.decisions.note(decision.value, at, at.plus(ban));
            let simulated = decision.simulated || self.simulation.holds(&alert.scenario);
            let first = alert.events.len().saturating_sub(Evidence::MAX_PIECES);
            let evidence = alert.events[first..].iter().map(|event| {
                let at = event.timestamp.parse::<jiff::Timestamp>().ok();
                let at = at.map_or(line.now, |at| Timestamp(at.as_microsecond()));
                let known: Vec<String> =
                    event.meta.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Evidence::new(at, line.name, &known.join(" "))
            });
            finds.ban(Overflow {
                grows: false,
                scenario: alert.scenario.to_string(),
                description: alert.message.to_string(),
                defined: format!("{}:1", self.places.get(&alert.scenario).map_or("", String::as_str)),
                target,
                ip: target.addr(),
                at,
                ban,
                direction: Direction::In,
                mode: if simulated { Mode::Observe } else { self.mode },
                evidence: evidence.collect(),
                sources: vec![line.source],
            });
        }
    }
}

/// The files, as CrowdSec sees them.
struct Folder<'f>(&'f Files);

impl<'f> Folder<'f> {
    /// YAML files below a folder: path, path in the folder, text.
    fn yaml(&self, folder: &'static str) -> impl Iterator<Item = (&'f str, &'f str, &'f [u8])> {
        self.0.iter().filter_map(move |(path, bytes)| {
            let inside = path.strip_prefix(folder)?;
            let is_yaml = path.ends_with(".yaml") || path.ends_with(".yml");
            is_yaml.then_some((path.as_str(), inside, bytes.as_slice()))
        })
    }

    fn pipeline(&self, folder: &'static str, errors: &mut Vec<FilterError>) -> Pipeline {
        let parsers = self.yaml(folder).filter_map(|(file, inside, bytes)| {
            inside.split_once('/').map(|(stage, _)| Item { file, stage, bytes })
        });
        let below = |folder: &'static str| {
            self.0.iter().filter_map(move |(path, bytes)| Some((path, path.strip_prefix(folder)?, bytes)))
        };
        let patterns = below("patterns/")
            .filter_map(|(path, _, bytes)| Some((path.as_str(), std::str::from_utf8(bytes).ok()?)));
        let data = below("data/").map(|(_, name, bytes)| DataFile { name, bytes });
        let items = Items { patterns: patterns.collect(), parsers: parsers.collect(), data: data.collect() };
        let (pipeline, wrong) = Pipeline::new(&items);
        errors.extend(wrong);
        errors.extend(pipeline.missing_data().iter().cloned());
        pipeline
    }

    /// A data file by its name, or by that of its address: the hub renames some on the way.
    fn data(&self, name: &str, url: &str) -> Option<&'f [u8]> {
        let of_url = url.rsplit('/').next().unwrap_or("");
        let found = [name, of_url].into_iter().find_map(|name| self.0.get(&format!("data/{name}")));
        found.map(Vec::as_slice)
    }
}

impl Simulation {
    fn read(bytes: Option<&Vec<u8>>) -> Self {
        let node = bytes.and_then(|bytes| yaml::read(bytes, &profile::FILE_LIMITS).ok());
        let Some(node) = node else { return Self::default() };
        Self {
            all: node.at("simulation").flag().unwrap_or(false),
            except: node.at("exclusions").texts().into_iter().map(str::to_owned).collect(),
        }
    }

    fn holds(&self, scenario: &str) -> bool {
        self.all != self.except.contains(scenario)
    }
}

impl Decisions {
    fn note(&mut self, value: Arc<str>, since: Timestamp, until: Timestamp) {
        if self.0.len() >= MAX_REMEMBERED && !self.0.contains_key(&value) {
            self.0.retain(|_, all| all.back().is_some_and(|(_, until)| *until > since));
            if self.0.len() >= MAX_REMEMBERED {
                return;
            }
        }
        let all = self.0.entry(value).or_default();
        all.push_back((since, until));
        if all.len() > MAX_OF_SOURCE {
            all.pop_front();
        }
    }
}

/// What expressions of profiles ask.
struct Asked<'d> {
    decisions: &'d Decisions,
    now: Timestamp,
}

impl Scope for Asked<'_> {
    fn path(&self, _: &[Arc<str>]) -> Option<(Value, usize)> {
        None
    }

    fn call(&mut self, function: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
        let all = arguments.first().and_then(Value::as_text).and_then(|value| self.decisions.0.get(value));
        let all = all.into_iter().flatten();
        let count = |count: usize| Some(Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX))));
        match function {
            "GetDecisionsCount" => count(all.count()),
            "GetActiveDecisionsCount" => count(all.filter(|(_, until)| *until > self.now).count()),
            "GetActiveDecisionsTimeLeft" => {
                let left = all.map(|(_, until)| until.since(self.now)).max().unwrap_or_default();
                Some(Ok(Value::Duration(i64::try_from(left.as_nanos()).unwrap_or(i64::MAX))))
            }
            "GetDecisionsSinceCount" => {
                let Some(within) = arguments.get(1).and_then(Value::as_text).and_then(duration::parse) else {
                    return Some(Err(Problem::fixed("GetDecisionsSinceCount takes a value and a duration")));
                };
                count(all.filter(|(since, _)| since.0 > self.now.0.saturating_sub(within / 1_000)).count())
            }
            _ => None,
        }
    }

    fn now(&self) -> Time {
        time(self.now)
    }
}

fn time(at: Timestamp) -> Time {
    Time::utc(jiff::Timestamp::from_microsecond(at.0).unwrap_or_default())
}

fn nanoseconds(at: Timestamp) -> i64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceIndex;

    const RAW: &str = "name: t/raw\nfilter: \"evt.Line.Labels.type == 'door'\"\nonsuccess: next_stage\n\
        grok:\n  pattern: '^%{TIMESTAMP_ISO8601:time} %{WORD:what} %{NOTSPACE:who}'\n  apply_on: Line.Raw\n\
        statics:\n  - target: evt.StrTime\n    expression: evt.Parsed.time\n  - meta: source_ip\n    expression: evt.Parsed.who\n\
        \x20 - meta: what\n    expression: evt.Parsed.what\n";
    const DATES: &str = "name: t/dates\nfilter: \"evt.StrTime != ''\"\nstatics:\n  - method: ParseDate\n    expression: evt.StrTime\n\
        \x20 - target: evt.MarshaledTime\n    expression: evt.Enriched.MarshaledTime\n";
    const WHITE: &str = "name: t/white\nwhitelist:\n  reason: ours\n  ip: [192.0.2.9]\n";
    const DOOR: &str = "type: leaky\nname: t/door\ndescription: rattles\nfilter: evt.Meta.what == 'no'\n\
        groupby: evt.Meta.source_ip\nleakspeed: 10s\ncapacity: 1\nlabels:\n  remediation: true\n";
    const PROFILES: &str = "name: longer\nfilters:\n - Alert.Remediation == true && Alert.GetScope() == 'Ip'\n\
        decisions:\n - type: ban\n   duration: 1h\n\
        duration_expr: Sprintf('%dh', (GetDecisionsCount(Alert.GetValue()) + 1) * 2)\non_success: break\n";
    const ACQUIS: &str = "filenames: [/var/log/door, /var/log/gate*.log]\nlabels:\n  type: door\n---\nsource: kafka\nlabels:\n  type: x\n";

    const START: i64 = 1_700_000_000;

    fn settings(more: &[(&str, &str)]) -> AgentSettings {
        let mut files = Files::new();
        let stock = [
            ("parsers/s00-raw/raw.yaml", RAW),
            ("parsers/s01-enrich/dates.yaml", DATES),
            ("parsers/s01-enrich/white.yaml", WHITE),
            ("scenarios/door.yaml", DOOR),
            ("profiles.yaml", PROFILES),
            ("acquis.yaml", ACQUIS),
        ];
        for (path, text) in stock.iter().chain(more) {
            files.insert((*path).to_owned(), text.as_bytes().to_vec());
        }
        AgentSettings { files, folder: "/c".into(), mode: Mode::Enforce }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp((START + seconds) * 1_000_000)
    }

    fn line(agent: &mut Agent, now: i64, written: i64, who: &str) -> Finds {
        let text = format!("{} no {who}", at(written));
        let line = FeedLine {
            now: at(now),
            source: SourceIndex(0),
            name: "/var/log/door",
            written: None,
            bytes: text.as_bytes(),
        };
        let mut finds = Finds::default();
        agent.line(0, &line, &mut finds);
        finds
    }

    #[test]
    fn lines_ban_and_profiles_say_for_how_long() {
        let (mut agent, errors) = Agent::load(&settings(&[]));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(
            errors[0].to_string().starts_with("/c/acquis.yaml:5: unsupported: `source: kafka`"),
            "{}",
            errors[0]
        );
        assert_eq!(
            agent.feeds(),
            [Feed::File("/var/log/door".into()), Feed::File("/var/log/gate*.log".into())]
        );
        assert_eq!(line(&mut agent, 0, 0, "192.0.2.7").overflows, []);
        let finds = line(&mut agent, 1, 1, "192.0.2.7");
        let overflow = &finds.overflows[0];
        assert_eq!(
            (overflow.scenario.as_str(), overflow.target.to_string()),
            ("t/door", "192.0.2.7/32".to_owned())
        );
        assert_eq!((overflow.ban.as_secs(), overflow.at, overflow.mode), (2 * 3_600, at(1), Mode::Enforce));
        assert_eq!((overflow.defined.as_str(), overflow.evidence.len()), ("/c/scenarios/door.yaml:1", 2));
        line(&mut agent, 100, 100, "192.0.2.7");
        let finds = line(&mut agent, 101, 101, "192.0.2.7");
        assert_eq!(finds.overflows[0].ban.as_secs(), 4 * 3_600, "the second decision lasts longer");
        for second in 0..5 {
            let finds = line(&mut agent, second, second, "192.0.2.9");
            assert_eq!((finds.matched, finds.overflows.len()), (false, 0), "whitelisted");
        }
        assert_eq!(agent.tallies().next().unwrap().overflows, 2);
    }

    #[test]
    fn lines_that_come_late_count_when_they_were_written() {
        let (mut agent, _) = Agent::load(&settings(&[]));
        // A minute apart, and read at once.
        for minute in 0..5 {
            let finds = line(&mut agent, 86_400, minute * 60, "192.0.2.7");
            assert_eq!((finds.matched, finds.overflows.len()), (true, 0));
        }
        line(&mut agent, 86_400, 500, "192.0.2.8");
        let finds = line(&mut agent, 86_400, 501, "192.0.2.8");
        let overflow = &finds.overflows[0];
        assert!(overflow.at.plus(overflow.ban) < at(86_400), "long over: {overflow:?}");
    }

    #[test]
    fn what_bans_nobody_is_told() {
        let quiet = DOOR.replace("t/door", "t/quiet").replace("remediation: true", "remediation: false");
        let user =
            DOOR.replace("t/door", "t/user") + "scope:\n  type: Username\n  expression: evt.Meta.what\n";
        let simulation = "simulation: false\nexclusions: [t/door]\n";
        let more = [
            ("scenarios/quiet.yaml", quiet.as_str()),
            ("scenarios/user.yaml", &user),
            ("simulation.yaml", simulation),
        ];
        let (mut agent, errors) = Agent::load(&settings(&more));
        assert_eq!(errors.len(), 1, "{errors:?}");
        line(&mut agent, 0, 0, "192.0.2.7");
        let finds = line(&mut agent, 1, 1, "192.0.2.7");
        assert_eq!((finds.overflows.len(), finds.overflows[0].mode), (1, Mode::Observe), "{finds:?}");
        let told: Vec<&str> = finds.alerts.iter().map(|alert| alert.scenario.as_str()).collect();
        assert_eq!(told, ["t/quiet", "t/user"], "{finds:?}");
        assert!(finds.alerts.iter().all(|alert| alert.message.contains("nobody is banned")), "{finds:?}");
    }

    #[test]
    fn a_file_with_a_mistake_is_told_and_the_rest_runs() {
        let bad = DOOR.replace("leaky", "sticky").replace("t/door", "t/bad");
        let (mut agent, errors) =
            Agent::load(&settings(&[("scenarios/bad.yaml", &bad), ("acquis.d/x.yaml", "a: [\n")]));
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        for part in ["/c/scenarios/bad.yaml:1", "/c/acquis.d/x.yaml:"] {
            assert!(said.iter().any(|said| said.contains(part)), "{part}: {said:#?}");
        }
        line(&mut agent, 0, 0, "192.0.2.7");
        assert_eq!(line(&mut agent, 1, 1, "192.0.2.7").overflows.len(), 1);
    }
}
