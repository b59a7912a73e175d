//! Lines in, bans out. One engine takes all log sources, so that an attacker who spreads over hosts fills one bucket.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use model::{Direction, Evidence, Mode, Target, Timestamp};

use crate::bucket::{Bucket, Poured};
use crate::evidence::Lines;
use crate::fields::TIME;
use crate::filter::{Applied, State};
use crate::scenario::Condition;
use crate::time::Clock;
use crate::{Filter, Library, Limits, Scenario, limits, syslog};

/// A place lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name, shown in evidence; unique.
    pub name: String,
    /// Name of the filter its lines go through.
    pub filter: String,
    /// Bans that a line from here completes are carried out only if this says so, too.
    pub mode: Mode,
}

/// A source by its place in the list the engine was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceIndex(pub usize);

/// Why there is no engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// A source names a filter that does not exist.
    #[error(
        "the log source `{source_name}` names the filter `{filter}`, which does not exist; there are: {known}"
    )]
    UnknownFilter {
        /// The source.
        source_name: String,
        /// The filter it names.
        filter: String,
        /// Names of those that exist.
        known: String,
    },
    /// Two sources have one name.
    #[error("two log sources have the name `{0}`; give each its own")]
    DuplicateSource(String),
    /// Too many sources.
    #[error("{0} log sources; at most {max} are possible", max = limits::MAX_SOURCES)]
    TooManySources(usize),
}

/// An attacker who did too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// Name of the scenario.
    pub scenario: String,
    /// What it is about, for people.
    pub description: String,
    /// Where the scenario stands, `file:line`.
    pub defined: String,
    /// Whom to ban.
    pub target: IpNet,
    /// The address of the last line.
    pub ip: IpAddr,
    /// When: the time of the line that was too much.
    pub at: Timestamp,
    /// For how long.
    pub ban: Duration,
    /// Which way the ban holds.
    pub direction: Direction,
    /// Whether it is to be carried out: scenario and source both say enforce.
    pub mode: Mode,
    /// The last lines, at most [`Evidence::MAX_PIECES`], oldest first.
    pub evidence: Vec<Evidence>,
    /// Whoever comes back may be banned for longer than that. The files of other programs say themselves for how long.
    pub grows: bool,
    /// All sources whose lines are in it (of sources beyond the first 63, one of them stands for all), so that the
    /// caller can tell whether they may ban.
    pub sources: Vec<SourceIndex>,
}

impl Overflow {
    /// The target as decisions hold it.
    #[must_use]
    pub fn decision_target(&self) -> Target {
        Target::Net(self.target)
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// No pattern matched.
    Miss,
    /// A pattern matched that says the line means nothing.
    Ignored,
    /// Longer than [`limits::MAX_LINE`], and a pattern would have needed its end.
    Oversized,
    /// It may have lost its end where it was written, and so whom it is about.
    Cut,
    /// What stands in the address's place is none.
    BadAddress,
    /// The address is not the one of the connection, so somebody else may have chosen it.
    Forwarded,
    /// An event, though no scenario takes it.
    Event,
    /// An event that went into at least one bucket, or would have if the bucket did not rest.
    Poured,
    /// An event older than the window of every scenario that takes it.
    Stale,
}

/// What a line led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// What became of the line.
    pub outcome: Outcome,
    /// Buckets it made overflow.
    pub overflows: Vec<Overflow>,
    /// Who logged in, and when: an event of the kind [`LOGIN`].
    pub login: Option<(IpAddr, Timestamp)>,
}

/// The kind of event that says that somebody logged in from the address.
pub const LOGIN: &str = "login";

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines judged.
    pub lines: u64,
    /// Lines that were events.
    pub events: u64,
    /// Lines known to mean nothing.
    pub ignored: u64,
    /// Lines too long to judge.
    pub oversized: u64,
    /// Lines that may have been cut where they were written.
    pub cut: u64,
    /// Lines without a readable address.
    pub bad_address: u64,
    /// Lines whose address is not the connection's.
    pub forwarded: u64,
    /// Events too old to count.
    pub stale: u64,
    /// Events from the future, taken as of now.
    pub future: u64,
    /// Events without a readable time, taken as of now.
    pub timeless: u64,
    /// Events while the bucket rested after an overflow.
    pub resting: u64,
    /// Overflows.
    pub overflows: u64,
    /// Buckets dropped because the table was full.
    pub evicted: u64,
}

/// The engine. Sequential; give it to one task.
#[derive(Debug)]
pub struct Engine {
    inputs: Vec<Input>,
    filters: Vec<Loaded>,
    scenarios: Vec<Arc<Scenario>>,
    buckets: HashMap<Key, Bucket>,
    lines: Lines,
    limits: Limits,
    clock: Clock,
    /// For filters whose times are UTC.
    utc: Clock,
    replayed: Timestamp,
    stats: Stats,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Input {
    source: Source,
    filter: usize,
    lines: u64,
    events: u64,
}

/// A filter with its buffers and, for each kind of event, the scenarios that take it.
#[derive(Debug)]
struct Loaded {
    filter: Arc<Filter>,
    state: State,
    rules: Vec<Vec<Rule>>,
}

/// A scenario with its fields resolved to slots of one filter.
#[derive(Debug)]
struct Rule {
    scenario: usize,
    window: i64,
    when: Vec<Vec<(usize, Condition)>>,
    group_by: Vec<usize>,
    distinct: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    scenario: usize,
    net: IpNet,
    group: Box<[u8]>,
}

impl Engine {
    /// An engine for these sources. `clock` holds the time zone of times that name none.
    ///
    /// # Errors
    /// If a source names no filter, or its name is taken.
    pub fn new(
        library: &Library,
        sources: Vec<Source>,
        limits: Limits,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        if sources.len() > limits::MAX_SOURCES {
            return Err(EngineError::TooManySources(sources.len()));
        }
        let scenarios: Vec<Arc<Scenario>> = library.shared_scenarios().cloned().collect();
        let (mut filters, mut inputs) = (Vec::<Loaded>::new(), Vec::<Input>::new());
        for source in sources {
            if inputs.iter().any(|input| input.source.name == source.name) {
                return Err(EngineError::DuplicateSource(source.name));
            }
            let known = filters.iter().position(|loaded| loaded.filter.name == source.filter);
            let filter = match (known, library.shared_filter(&source.filter)) {
                (Some(at), _) => at,
                (None, Some(filter)) => {
                    filters.push(Loaded::new(filter, &scenarios));
                    filters.len() - 1
                }
                (None, None) => {
                    let known: Vec<&str> = library.filters().map(|filter| filter.name.as_str()).collect();
                    return Err(EngineError::UnknownFilter {
                        source_name: source.name,
                        filter: source.filter,
                        known: known.join(", "),
                    });
                }
            };
            inputs.push(Input { source, filter, lines: 0, events: 0 });
        }
        Ok(Self {
            inputs,
            filters,
            scenarios,
            buckets: HashMap::new(),
            lines: Lines::new(limits.evidence),
            limits,
            clock,
            utc: Clock::new(TimeZone::UTC),
            replayed: Timestamp(0),
            stats: Stats::default(),
            scratch: Vec::new(),
        })
    }

    /// The source of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<SourceIndex> {
        self.inputs.iter().position(|input| input.source.name == name).map(SourceIndex)
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Lines judged and events found from one source.
    #[must_use]
    pub fn source_stats(&self, source: SourceIndex) -> (u64, u64) {
        self.inputs.get(source.0).map_or((0, 0), |input| (input.lines, input.events))
    }

    /// Buckets held.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// Takes over what the former engine knew: buckets of scenarios that are still there unchanged, and their lines.
    /// Meant for a reload of the configuration.
    pub fn adopt(&mut self, former: Self) {
        let same = |old: &Scenario, new: &Scenario| {
            old.name == new.name
                && old.shape() == new.shape()
                && (old.ipv4_prefix, old.ipv6_prefix) == (new.ipv4_prefix, new.ipv6_prefix)
                && (&old.group_by, &old.distinct) == (&new.group_by, &new.distinct)
        };
        let place_of_scenario: Vec<Option<usize>> =
            former.scenarios.iter().map(|old| self.scenarios.iter().position(|new| same(old, new))).collect();
        let same_sources = former.inputs.len() == self.inputs.len()
            && former.inputs.iter().zip(&self.inputs).all(|(old, new)| old.source.name == new.source.name);
        for (key, bucket) in former.buckets {
            // A bucket whose sources cannot be named any more would not tell who filled it.
            if let (Some(scenario), true) = (place_of_scenario[key.scenario], same_sources) {
                self.buckets.insert(Key { scenario, ..key }, bucket);
            }
        }
        if same_sources {
            self.lines = former.lines;
        }
        self.stats = former.stats;
        self.replayed = former.replayed;
    }

    /// Judges a line that has just been read. Times ahead of `now` count as `now`; what is older than a scenario's
    /// window does not count for it.
    pub fn line(&mut self, now: Timestamp, source: SourceIndex, line: &[u8]) -> Outputs {
        self.line_written(now, None, source, line)
    }

    /// The same for a line of which the source knows when it was written: that is its time where the line names none,
    /// and a line cannot be younger than that.
    pub fn line_written(
        &mut self,
        now: Timestamp,
        written: Option<Timestamp>,
        source: SourceIndex,
        line: &[u8],
    ) -> Outputs {
        self.judge(source, line, now, written, false)
    }

    /// Judges a line of a file from the past: the time is the line's own. `reference` is the time the file was written,
    /// for dates without a year, and stands in for lines before the first with a time.
    pub fn replay(&mut self, reference: Timestamp, source: SourceIndex, line: &[u8]) -> Outputs {
        if self.replayed == Timestamp(0) {
            self.replayed = reference;
        }
        self.judge(source, line, reference, None, true)
    }

    fn judge(
        &mut self,
        source: SourceIndex,
        line: &[u8],
        now: Timestamp,
        beside: Option<Timestamp>,
        replay: bool,
    ) -> Outputs {
        let mut outputs = Outputs { outcome: Outcome::Miss, overflows: Vec::new(), login: None };
        let Some(input) = self.inputs.get_mut(source.0) else { return outputs };
        let loaded = &mut self.filters[input.filter];
        let line = syslog::trim_line_end(line);
        self.stats.lines += 1;
        input.lines += 1;
        let (event, ip, repeat) = match loaded.filter.apply(&mut loaded.state, line) {
            Applied::Event { event, ip, repeat } => (event, ip, repeat),
            other => {
                outputs.outcome = self.stats.count(&other);
                return outputs;
            }
        };
        self.stats.events += 1;
        input.events += 1;
        let clock = if loaded.filter.utc { &mut self.utc } else { &mut self.clock };
        let written = loaded.state.fields.get(line, TIME).and_then(|text| clock.read(text, now));
        self.stats.timeless += u64::from(written.is_none());
        let (at, now) = if replay {
            let at = written.unwrap_or(self.replayed);
            self.replayed = at;
            (at, at)
        } else {
            self.stats.future += u64::from(written.is_some_and(|at| at > now));
            (written.into_iter().chain(beside).fold(now, Timestamp::min), now)
        };
        outputs.outcome = Outcome::Event;
        outputs.login = (&*loaded.filter.events[event] == LOGIN).then_some((ip, at));
        let (mut fresh, mut stale) = (false, false);
        for rule in &loaded.rules[event] {
            let fields = &loaded.state.fields;
            if !rule.holds(fields, line, &mut self.scratch) {
                continue;
            }
            if at.0 < now.0.saturating_sub(rule.window) {
                stale = true;
                continue;
            }
            let number = self.lines.next() - u64::from(fresh);
            if !fresh {
                self.lines.keep(at, source.0, line);
                fresh = true;
            }
            let scenario = &self.scenarios[rule.scenario];
            let key = Key { scenario: rule.scenario, net: scenario.net(ip), group: rule.group(fields, line) };
            if !self.buckets.contains_key(&key) && self.buckets.len() >= self.limits.buckets.max(1) {
                self.stats.evicted += make_room(&mut self.buckets, self.limits.buckets.max(1), now);
            }
            let bucket = self.buckets.entry(key).or_default();
            let value = rule.distinct.map(|slot| hash(fields.get(line, slot).unwrap_or_default()));
            for _ in 0..repeat.min(scenario.capacity.saturating_add(1)) {
                match bucket.pour(scenario.shape(), at, value, number, 1 << source.0.min(63)) {
                    Poured::Kept | Poured::Known => {}
                    Poured::Resting => {
                        self.stats.resting += 1;
                        break;
                    }
                    Poured::Overflow => {
                        self.stats.overflows += 1;
                        let mode = scenario.mode.and(input.source.mode);
                        outputs.overflows.push(overflow(scenario, ip, at, mode, bucket, &self.lines));
                        break;
                    }
                }
            }
        }
        if fresh {
            outputs.outcome = Outcome::Poured;
        } else if stale {
            self.stats.stale += 1;
            outputs.outcome = Outcome::Stale;
        }
        for evidence in outputs.overflows.iter_mut().flat_map(|overflow| &mut overflow.evidence) {
            // The line store knows sources by number.
            let number = evidence.source.parse::<usize>().ok();
            if let Some(known) = number.and_then(|number| self.inputs.get(number)) {
                evidence.source.clone_from(&known.source.name);
            }
        }
        outputs
    }
}

impl Stats {
    fn count(&mut self, applied: &Applied) -> Outcome {
        let (counter, outcome) = match applied {
            Applied::Miss => return Outcome::Miss,
            Applied::Event { .. } => return Outcome::Event,
            Applied::Ignored => (&mut self.ignored, Outcome::Ignored),
            Applied::Oversized => (&mut self.oversized, Outcome::Oversized),
            Applied::Cut => (&mut self.cut, Outcome::Cut),
            Applied::BadAddress => (&mut self.bad_address, Outcome::BadAddress),
            Applied::Forwarded => (&mut self.forwarded, Outcome::Forwarded),
        };
        *counter += 1;
        outcome
    }
}

impl Loaded {
    fn new(filter: Arc<Filter>, scenarios: &[Arc<Scenario>]) -> Self {
        let takes = |event: &str| {
            let rules = scenarios.iter().enumerate();
            rules
                .filter(|(_, scenario)| scenario.takes(&filter.name, event))
                .filter_map(|(number, scenario)| Rule::new(number, scenario, &filter))
                .collect()
        };
        let rules = filter.events().map(takes).collect();
        Self { state: filter.state(), rules, filter }
    }
}

impl Rule {
    /// None if the filter lacks a field that the scenario cannot do without.
    fn new(number: usize, scenario: &Scenario, filter: &Filter) -> Option<Self> {
        let resolved = |conditions: &Vec<Condition>| -> Option<Vec<(usize, Condition)>> {
            let slot_of =
                |condition: &Condition| Some((filter.names.slot(&condition.field)?, condition.clone()));
            conditions.iter().map(slot_of).collect()
        };
        let when: Vec<_> = scenario.when.iter().filter_map(resolved).collect();
        if when.is_empty() && !scenario.when.is_empty() {
            return None;
        }
        for (_, condition) in when.iter().flatten() {
            condition.test.compile();
        }
        Some(Self {
            scenario: number,
            window: scenario.shape().window_micros(),
            when,
            group_by: scenario.group_by.iter().map(|name| filter.names.slot(name)).collect::<Option<_>>()?,
            distinct: match &scenario.distinct {
                Some(name) => Some(filter.names.slot(name)?),
                None => None,
            },
        })
    }

    fn holds(&self, fields: &crate::fields::Fields, line: &[u8], scratch: &mut Vec<u8>) -> bool {
        let mut all = |conditions: &Vec<(usize, Condition)>| {
            conditions.iter().all(|(slot, condition)| condition.holds(*slot, fields, line, scratch))
        };
        self.when.is_empty() || self.when.iter().any(&mut all)
    }

    fn group(&self, fields: &crate::fields::Fields, line: &[u8]) -> Box<[u8]> {
        if self.group_by.is_empty() {
            return Box::default();
        }
        let mut group = Vec::new();
        for slot in &self.group_by {
            let value = fields.get(line, *slot).unwrap_or_default();
            group.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
            group.extend_from_slice(value);
        }
        group.truncate(limits::MAX_GROUP);
        group.into()
    }
}

impl Scenario {
    /// The attacker an address belongs to.
    fn net(&self, ip: IpAddr) -> IpNet {
        let prefix = if ip.is_ipv4() { self.ipv4_prefix } else { self.ipv6_prefix };
        IpNet::new(ip, prefix).map_or_else(|_| ip.into(), |net| net.trunc())
    }
}

fn overflow(
    scenario: &Scenario,
    ip: IpAddr,
    at: Timestamp,
    mode: Mode,
    bucket: &Bucket,
    lines: &Lines,
) -> Overflow {
    Overflow {
        grows: true,
        scenario: scenario.name.clone(),
        description: scenario.description.clone(),
        defined: format!("{}:{}", scenario.span.file, scenario.span.line),
        target: scenario.net(ip),
        ip,
        at,
        ban: scenario.ban,
        direction: scenario.direction,
        mode,
        evidence: bucket
            .evidence()
            .filter_map(|number| lines.get(number, |source| source.to_string()))
            .collect(),
        sources: (0..64).filter(|bit| bucket.sources & (1 << bit) != 0).map(SourceIndex).collect(),
    }
}

/// Drops what is drained; if that is not enough, a sixteenth of the table, those first that would drain soonest.
/// Doing many at once keeps the cost per line constant. Returns how many were lost that still held something.
fn make_room(buckets: &mut HashMap<Key, Bucket>, limit: usize, now: Timestamp) -> u64 {
    buckets.retain(|_, bucket| bucket.empty_at() > now.0);
    let keep = limit - (limit / 16).max(1);
    if buckets.len() <= keep {
        return 0;
    }
    let lost = buckets.len() - keep;
    let mut order: Vec<(i64, Key)> =
        buckets.iter().map(|(key, bucket)| (bucket.empty_at(), key.clone())).collect();
    order.select_nth_unstable(lost - 1);
    for (_, key) in &order[..lost] {
        buckets.remove(key);
    }
    lost as u64
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
