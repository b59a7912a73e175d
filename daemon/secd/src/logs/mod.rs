//! From log lines to bans: sources deliver, the engine judges, the keeper enforces.
//!
//! The offset of a line is kept only when the line has been judged, so nothing is skipped over a restart; after a
//! crash the lines of the last moment are judged again, which at worst repeats a ban.

mod vigil;

use anyhow::{Context, Result};
use config::{Config, LogFormat, LogInput};
use folders::Dialects;
use logs::{
    Clock, Engine, Judges, Library, Limits, Overflow, Source, SourceIndex,
    crowdsec::Agent,
    dialect::{DialectAlert, Feed, FeedLine, Finds, Tally},
    fail2ban::Jailer,
};
use model::{
    Body, Decision, DecisionKind, Event, EventAction, Mode, Origin, OriginKind, Severity, Timestamp,
};
use sources::{Format, Line, Notice, Position, SourceConfig, SourceKind, Sources, Start, Tls};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use store::{LogOffset, Store};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    clock,
    decisions::{Decisions, Tell},
    keeper::{Kernel, Refusal},
};
use vigil::{LOOK_EVERY, Seen, Vigil};

/// Lines on their way from the sources to the engine. When full, files and TCP senders wait, UDP messages are lost and
/// counted.
const MAX_LINES_WAITING: usize = 4096;
/// Notices about sources on their way to events. When full, further ones stand in the journal only.
const MAX_NOTICES_WAITING: usize = 64;
/// How long a stop waits for lines to be judged.
const JUDGE_BY: Duration = Duration::from_secs(5);
/// A line that is older says nothing about now.
const LOGIN_IS_NEWS: Duration = Duration::from_secs(600);
/// How often offsets are saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often offsets of files that are gone are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// The running pipeline.
pub struct Pipeline {
    sources: tokio::sync::Mutex<Option<sources::Handle>>,
    judging: Arc<Mutex<Judging>>,
    judged: Arc<Mutex<HashMap<String, Position>>>,
    judge: Mutex<Option<JoinHandle<()>>>,
    vigil: Mutex<Vigil>,
}

/// How often buckets are looked at that end by time alone.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// Parts of the folders of other programs that do not run, told one by one; the rest is counted.
const MAX_TOLD: usize = 20;

/// What judges, and what it does not know of its sources.
struct Judging {
    judges: Judges,
    inputs: Vec<Input>,
    by_name: HashMap<String, usize>,
    dialects: Arc<Dialects>,
    /// What of the dialects does not run, and why: of jails, of scenarios, of sources.
    problems: [Vec<String>; 3],
}

/// What judges do not know of a source.
struct Input {
    kind: SourceKind,
    name: String,
    filter: String,
    /// Where its lines come from, in words.
    from: String,
    /// Anybody can forge its lines.
    plain_udp: bool,
    silent_after: Option<Duration>,
    last_match: Option<Timestamp>,
}

/// What a line leads to.
#[derive(Debug, Default)]
struct Led {
    /// Each with whether it grows.
    bans: Vec<(Decision, bool)>,
    alerts: Vec<DialectAlert>,
    /// Who is in.
    login: Option<IpAddr>,
}

/// How one source is doing, engine included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// As the source knows it.
    pub source: sources::Status,
    /// Where its lines come from, in words.
    pub from: String,
    /// The filter that reads them.
    pub filter: String,
    /// Lines that were events.
    pub matched: u64,
    /// When the last of them came.
    pub last_match: Option<Timestamp>,
    /// Lines in the last minute.
    pub per_minute: u64,
    /// What is wrong with it.
    pub trouble: Option<String>,
}

impl Pipeline {
    /// Starts reading where the last run stopped.
    ///
    /// # Errors
    /// A filter is missing or the offsets cannot be read.
    pub async fn start<K: Kernel + 'static>(
        config: &Config,
        (library, dialects): (&Library, &Arc<Dialects>),
        store: &Store,
        decisions: Arc<Decisions<K>>,
        tell: Tell,
    ) -> Result<Self> {
        let judging =
            Judging::new(config, engine(config, library)?, dialects, jails(dialects), agent(dialects));
        let configs = judging.source_configs();
        let judging = Arc::new(Mutex::new(judging));
        let kept = store.offsets().await.context("log offsets cannot be read")?;
        let spoke_before = kept.iter().map(|kept| source_of(&kept.source).to_owned()).collect();
        let positions = kept.into_iter().map(|kept| (kept.source.clone(), position(&kept))).collect();
        let (lines, incoming) = mpsc::channel(MAX_LINES_WAITING);
        let (notices, noticed) = mpsc::channel(MAX_NOTICES_WAITING);
        let sources = Sources::start(configs, positions, lines, notices)?;
        let judged = Arc::new(Mutex::new(HashMap::new()));
        tokio::spawn(tell_notices(noticed, Arc::clone(&tell)));
        let judge = tokio::spawn(judge(incoming, Arc::clone(&judging), Arc::clone(&judged), decisions, tell));
        Ok(Self {
            sources: tokio::sync::Mutex::new(Some(sources)),
            judging,
            judged,
            judge: Mutex::new(Some(judge)),
            vigil: Mutex::new(Vigil::new(spoke_before)),
        })
    }

    /// Takes a new config; buckets that still fit go on.
    ///
    /// # Errors
    /// A filter is missing; then nothing is changed.
    pub async fn update(&self, config: &Config, library: &Library, dialects: &Arc<Dialects>) -> Result<()> {
        let engine = engine(config, library)?;
        let (same_jails, same_agent) = {
            let known = &lock(&self.judging).dialects;
            (known.jails == dialects.jails, known.agent == dialects.agent)
        };
        // Compiling takes its time, and lines are judged meanwhile. What is the same goes on as it is.
        let (mut jails, mut agent) = tokio::task::block_in_place(|| {
            ((!same_jails).then(|| jails(dialects)), (!same_agent).then(|| agent(dialects)))
        });
        let configs = {
            let mut current = lock(&self.judging);
            let (old_jails, old_agent) = current.judges.take_dialects();
            let [jail_problems, agent_problems, _] = current.problems.clone();
            match (&mut jails, old_jails) {
                (Some((Some(fresh), _)), Some(old)) => fresh.adopt(old),
                (None, old) => jails = Some((old, jail_problems)),
                (Some(_), _) => {}
            }
            match (&mut agent, old_agent) {
                (Some((Some(fresh), _)), Some(old)) => fresh.adopt(old),
                (None, old) => agent = Some((old, agent_problems)),
                (Some(_), _) => {}
            }
            let (jails, agent) = (jails.unwrap_or_default(), agent.unwrap_or_default());
            let fresh = Judging::new(config, engine, dialects, jails, agent);
            let configs = fresh.source_configs();
            let former = std::mem::replace(&mut *current, fresh);
            current.adopt(former);
            configs
        };
        if let Some(sources) = self.sources.lock().await.as_mut() {
            sources.update(configs).await?;
        }
        Ok(())
    }

    /// What does not run of Fail2ban's jails and CrowdSec's scenarios, and why.
    #[must_use]
    pub fn problems(&self) -> Option<String> {
        let judging = lock(&self.judging);
        let unread = judging.dialects.unread.iter().map(ToString::to_string);
        let all: Vec<String> = unread.chain(judging.problems.iter().flatten().cloned()).collect();
        let told: Vec<&str> = all.iter().take(MAX_TOLD).map(String::as_str).collect();
        let more = all.len().checked_sub(MAX_TOLD).filter(|more| *more > 0);
        let more =
            more.map_or_else(String::new, |more| format!("; and {more} more, `secctl check` tells them all"));
        let text = told.join("; ");
        (!all.is_empty())
            .then(|| format!("some jails or scenarios, or parts of them, do not run: {text}{more}"))
    }

    /// How jails and scenarios are doing.
    #[must_use]
    pub fn tallies(&self) -> Vec<Tally> {
        lock(&self.judging).judges.tallies()
    }

    /// How each source is doing.
    pub async fn states(&self) -> Vec<SourceState> {
        let sources = self.sources.lock().await.as_ref().map(sources::Handle::status).unwrap_or_default();
        let (judging, vigil) = (lock(&self.judging), lock(&self.vigil));
        let state = |source: sources::Status| {
            let at = *judging.by_name.get(&source.name)?;
            let input = judging.inputs.get(at)?;
            Some(SourceState {
                from: input.from.clone(),
                filter: input.filter.clone(),
                matched: judging.judges.matched(SourceIndex(at)),
                last_match: input.last_match,
                per_minute: vigil.per_minute(&source.name),
                trouble: source.error.clone().or_else(|| vigil.trouble(&source.name)),
                source,
            })
        };
        sources.into_iter().filter_map(state).collect()
    }

    /// Looks again and again whether sources still speak and are understood, and tells what has changed.
    pub async fn keep_watch(self: Arc<Self>, tell: Tell) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            let sources = self.sources.lock().await.as_ref().map(sources::Handle::status).unwrap_or_default();
            let seen: Vec<Seen> = {
                let judging = lock(&self.judging);
                let seen = |source: sources::Status| {
                    let at = *judging.by_name.get(&source.name)?;
                    let matched = judging.judges.matched(SourceIndex(at));
                    let silent_after = judging.inputs.get(at)?.silent_after;
                    Some(Seen { name: source.name, lines: source.lines, matched, silent_after })
                };
                sources.into_iter().filter_map(seen).collect()
            };
            let now = Duration::from_nanos(clock::now().boot);
            for (source, message) in lock(&self.vigil).look(now, seen) {
                tracing::info!(source, "{message}");
                tell(source_event(Severity::Warning, source, message));
            }
        }
    }

    /// Saves how far lines were judged.
    ///
    /// # Errors
    /// The store cannot be written; the next try saves it all.
    pub async fn save(&self, store: &Store) -> Result<(), store::StoreError> {
        let judged = lock(&self.judged).clone();
        if judged.is_empty() {
            return Ok(());
        }
        let fits = |source: &str| source.len() <= store::MAX_NAME;
        let offsets: Vec<_> = judged
            .iter()
            .filter(|(source, _)| fits(source))
            .map(|(source, position)| offset(source, position))
            .collect();
        store.save_offsets(&offsets).await
    }

    /// Forgets how far sources were read that there are no more, and files of patterns that are gone.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub async fn forget_gone(&self, store: &Store) -> Result<(), store::StoreError> {
        let names: HashSet<String> =
            lock(&self.judging).inputs.iter().map(|input| input.name.clone()).collect();
        let is_kept = |source: &str| {
            names.contains(source_of(source))
                && source.split_once('\n').is_none_or(|(_, path)| Path::new(path).exists())
        };
        let kept: Vec<String> = store.offsets().await?.into_iter().map(|kept| kept.source).collect();
        let kept: Vec<&str> = kept.iter().map(String::as_str).filter(|source| is_kept(source)).collect();
        lock(&self.judged).retain(|source, _| is_kept(source));
        store.forget_offsets(&kept).await.map(drop)
    }

    /// Saves offsets every second, until the pipeline is dropped.
    pub async fn keep_saving(self: Arc<Self>, store: Store) {
        let mut tick = tokio::time::interval(SAVE_EVERY);
        let mut saved = HashMap::new();
        let mut forgotten = tokio::time::Instant::now();
        loop {
            tick.tick().await;
            if forgotten.elapsed() >= FORGET_EVERY {
                forgotten = tokio::time::Instant::now();
                if let Err(error) = self.forget_gone(&store).await {
                    tracing::warn!(%error, "offsets of logs that are not read any more are kept");
                }
            }
            let judged = lock(&self.judged).clone();
            if judged != saved {
                match self.save(&store).await {
                    Ok(()) => saved = judged,
                    Err(error) => tracing::warn!(%error, "log offsets are not saved"),
                }
            }
        }
    }

    /// Stops reading and judges what was read.
    pub async fn stop(&self) {
        if let Some(sources) = self.sources.lock().await.take() {
            sources.stop().await;
        }
        // With the last sender gone the judge ends by itself; the deadline is for a kernel that does not answer.
        let judge = lock(&self.judge).take();
        if let Some(judge) = judge
            && tokio::time::timeout(JUDGE_BY, judge).await.is_err()
        {
            tracing::warn!("some lines that were read were not judged");
        }
    }
}

impl Judging {
    fn new(
        config: &Config,
        engine: Engine,
        dialects: &Arc<Dialects>,
        (jailer, of_jails): (Option<Jailer>, Vec<String>),
        (agent, of_agent): (Option<Agent>, Vec<String>),
    ) -> Self {
        let input = |log: &config::LogSource| Input {
            kind: kind(&log.input),
            name: log.name.clone(),
            filter: log.filter.clone(),
            from: words(&log.input),
            plain_udp: matches!(log.input, LogInput::Syslog { transport: config::Transport::Udp, .. }),
            silent_after: log.silent_after,
            last_match: None,
        };
        let inputs: Vec<Input> = config.logs.iter().map(input).collect();
        let judges = Judges::new(engine, inputs.len(), jailer, agent);
        let problems = [of_jails, of_agent, Vec::new()];
        let dialects = Arc::clone(dialects);
        let mut judging = Self { judges, inputs, by_name: HashMap::new(), dialects, problems };
        judging.connect_feeds();
        let names = judging.inputs.iter().enumerate().map(|(at, input)| (input.name.clone(), at));
        judging.by_name = names.collect();
        judging
    }

    /// Makes sources of what the dialects want to read, or lets them read along where a log reads the same.
    fn connect_feeds(&mut self) {
        for feed in self.judges.feeds() {
            let kind = match &feed {
                Feed::File(path) => {
                    SourceKind::File { path: path.into(), start: Start::End, format: Format::Plain }
                }
                Feed::Journal(matches) => SourceKind::Journal { matches: matches.clone(), folder: None },
            };
            let known = self.inputs.iter().position(|input| input.kind == kind);
            let at = known.unwrap_or(self.inputs.len());
            if known.is_none() {
                if at >= logs::limits::MAX_SOURCES {
                    self.problems[2]
                        .push(format!("{} is not read: there are {at} sources of lines", feed.name()));
                    continue;
                }
                let mut name = feed.name();
                while self.inputs.iter().any(|input| input.name == name) {
                    name.push('*');
                }
                self.inputs.push(Input {
                    kind,
                    name,
                    filter: String::new(),
                    from: feed.name(),
                    plain_udp: false,
                    silent_after: None,
                    last_match: None,
                });
            }
            self.judges.connect(&feed, SourceIndex(at));
            for reader in self.judges.readers(SourceIndex(at)) {
                let filter = &mut self.inputs[at].filter;
                if !filter.split(", ").any(|known| known == reader) {
                    filter.push_str(if filter.is_empty() { "" } else { ", " });
                    filter.push_str(reader);
                }
            }
        }
    }

    fn source_configs(&self) -> Vec<SourceConfig> {
        let config = |input: &Input| SourceConfig { name: input.name.clone(), kind: input.kind.clone() };
        self.inputs.iter().map(config).collect()
    }

    /// Takes over what the former one knew.
    fn adopt(&mut self, former: Self) {
        self.judges.adopt(former.judges);
        for input in &mut self.inputs {
            let known = former.inputs.iter().find(|known| known.name == input.name);
            input.last_match = known.and_then(|known| known.last_match);
        }
    }

    /// Judges a line; returns what it leads to.
    fn line(&mut self, line: &Line, now: Timestamp) -> Led {
        let Some(at) = self.by_name.get(&*line.source).copied() else { return Led::default() };
        let fed = FeedLine {
            now,
            source: SourceIndex(at),
            name: &line.source,
            written: line.written,
            bytes: &line.bytes,
        };
        let finds = self.judges.line(&fed);
        if finds.matched
            && let Some(input) = self.inputs.get_mut(at)
        {
            input.last_match = Some(now);
        }
        let login = finds.login.and_then(|login| self.login(SourceIndex(at), login, now));
        Led { login, ..self.led(finds, now) }
    }

    /// Ends what ends by time alone.
    fn tick(&mut self, now: Timestamp) -> Led {
        let finds = self.judges.tick(now);
        self.led(finds, now)
    }

    fn led(&self, finds: Finds, now: Timestamp) -> Led {
        let ban = |overflow: &Overflow| (self.decision(overflow, now), overflow.grows);
        let bans = finds.overflows.iter().map(ban).collect();
        Led { bans, alerts: finds.alerts, login: None }
    }

    /// Who is in, as far as nobody could have made that up and it is news.
    fn login(&self, source: SourceIndex, (from, at): (IpAddr, Timestamp), now: Timestamp) -> Option<IpAddr> {
        let forgeable = self.inputs.get(source.0).is_none_or(|input| input.plain_udp);
        (!forgeable && now.since(at) < LOGIN_IS_NEWS).then_some(from)
    }

    /// The decision of an overflow. Anybody can send a UDP message in another's name: a ban in which such lines have a
    /// part is observed, not enforced.
    fn decision(&self, overflow: &Overflow, now: Timestamp) -> Decision {
        // The engine tells the first 63 sources apart and names one for all the others.
        let forgeable = |source: &SourceIndex| match source.0 {
            single @ ..63 => self.inputs.get(single).is_some_and(|input| input.plain_udp),
            _ => self.inputs.iter().skip(63).any(|input| input.plain_udp),
        };
        let mode = if overflow.sources.iter().any(forgeable) { Mode::Observe } else { overflow.mode };
        Decision {
            id: 0,
            kind: DecisionKind::Ban,
            target: overflow.decision_target(),
            direction: overflow.direction,
            mode,
            since: now,
            // A jail's negative `bantime` is for ever.
            until: (overflow.ban < Duration::MAX)
                .then(|| overflow.at.plus(overflow.ban).clamp(now, now.plus(overflow.ban))),
            origin: Origin {
                kind: OriginKind::Scenario,
                name: overflow.scenario.clone(),
                at: Some(overflow.defined.clone()),
            },
            evidence: overflow.evidence.clone(),
        }
    }
}

/// The native engine.
fn engine(config: &Config, library: &Library) -> Result<Engine> {
    let sources = config.logs.iter().map(|log| Source {
        name: log.name.clone(),
        filter: log.filter.clone(),
        mode: log.mode,
    });
    let clock = Clock::new(jiff::tz::TimeZone::system());
    Ok(Engine::new(library, sources.collect(), Limits::default(), clock)?)
}

/// Fail2ban's jails, and what of them does not run.
fn jails(dialects: &Dialects) -> (Option<Jailer>, Vec<String>) {
    let Some((jailer, errors)) = dialects.jails.as_ref().map(Jailer::load) else { return Default::default() };
    (Some(jailer), errors.iter().map(ToString::to_string).collect())
}

/// CrowdSec's scenarios, and what of them does not run.
fn agent(dialects: &Dialects) -> (Option<Agent>, Vec<String>) {
    let Some((agent, errors)) = dialects.agent.as_ref().map(Agent::load) else { return Default::default() };
    (Some(agent), errors.iter().map(ToString::to_string).collect())
}

fn kind(input: &LogInput) -> SourceKind {
    match input.clone() {
        LogInput::File { path, format } => {
            let format = match format {
                LogFormat::Plain => Format::Plain,
                LogFormat::Docker => Format::Docker,
                LogFormat::Cri => Format::Cri,
            };
            SourceKind::File { path, start: Start::End, format }
        }
        LogInput::Journal { folder, matches } => SourceKind::Journal { matches, folder },
        LogInput::Loki { listen, senders, labels, token_file } => {
            SourceKind::Loki { listen, senders, labels, token_file }
        }
        LogInput::Syslog { transport, listen, senders, tls } => SourceKind::Syslog {
            transport: match transport {
                config::Transport::Udp => sources::Transport::Udp,
                config::Transport::Tcp => sources::Transport::Tcp,
                config::Transport::Tls => sources::Transport::Tls,
            },
            listen,
            senders,
            tls: tls.map(|tls| Tls {
                chain: tls.certificate.chain,
                key: tls.certificate.key,
                client_ca: tls.client_ca,
            }),
        },
    }
}

/// Where lines come from, in words.
fn words(input: &LogInput) -> String {
    match input {
        LogInput::File { path, .. } => path.display().to_string(),
        LogInput::Journal { folder: None, .. } => "journal".into(),
        LogInput::Journal { folder: Some(folder), .. } => format!("journal in {}", folder.display()),
        LogInput::Loki { listen, .. } => format!("loki {listen}"),
        LogInput::Syslog { transport, listen, .. } => {
            let transport = match transport {
                config::Transport::Udp => "udp",
                config::Transport::Tcp => "tcp",
                config::Transport::Tls => "tls",
            };
            format!("{transport}://{listen}")
        }
    }
}

/// The source of what a position is kept under.
fn source_of(kept_as: &str) -> &str {
    kept_as.split_once('\n').map_or(kept_as, |(name, _)| name)
}

/// Judges every line, until the sources are gone.
async fn judge<K: Kernel + 'static>(
    mut lines: mpsc::Receiver<Line>,
    judging: Arc<Mutex<Judging>>,
    judged: Arc<Mutex<HashMap<String, Position>>>,
    decisions: Arc<Decisions<K>>,
    tell: Tell,
) {
    let mut tick = tokio::time::interval(TICK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let line = tokio::select! {
            line = lines.recv() => match line {
                Some(line) => Some(line),
                None => return,
            },
            _ = tick.tick() => None,
        };
        let now = clock::now().wall;
        let Led { bans, alerts, login } = match &line {
            Some(line) => lock(&judging).line(line, now),
            None => lock(&judging).tick(now),
        };
        if let Some(from) = login {
            decisions.logged_in(from);
        }
        for alert in alerts {
            tell(alerted(alert, now));
        }
        for (ban, grows) in bans {
            let scenario = ban.origin.name.clone();
            match decisions.ban_for(ban, grows) {
                Ok(()) | Err(Refusal::Standing { .. }) => {}
                Err(refusal) => tell(refused(&scenario, &refusal, now)),
            }
        }
        let Some(line) = line else { continue };
        if let Some(position) = line.position {
            let mut judged = lock(&judged);
            match judged.get_mut(&*line.kept_as) {
                Some(known) => *known = position,
                None => {
                    judged.insert(line.kept_as.to_string(), position);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(scenario: &str, refusal: &Refusal, now: Timestamp) -> Event {
    Event {
        ts: now,
        severity: Severity::Warning,
        action: EventAction::Alert,
        zone: None,
        reason: Some("ban_refused".into()),
        body: Body::System { message: format!("scenario {scenario}: {refusal}"), count: None },
    }
}

/// A scenario that tells, and bans nobody.
fn alerted(alert: DialectAlert, now: Timestamp) -> Event {
    Event {
        ts: now,
        severity: Severity::Notice,
        action: EventAction::Alert,
        zone: None,
        reason: Some("scenario".into()),
        body: Body::System { message: format!("{}: {}", alert.scenario, alert.message), count: None },
    }
}

async fn tell_notices(mut notices: mpsc::Receiver<Notice>, tell: Tell) {
    while let Some(notice) = notices.recv().await {
        tell(source_event(Severity::Notice, notice.source.to_string(), notice.message));
    }
}

fn source_event(severity: Severity, source: String, message: String) -> Event {
    Event {
        ts: clock::now().wall,
        severity,
        action: EventAction::Alert,
        zone: None,
        reason: Some("log_source".into()),
        body: Body::Source { source, message },
    }
}

fn position(kept: &LogOffset) -> Position {
    Position {
        device: kept.device,
        inode: kept.inode,
        offset: kept.offset,
        head_length: kept.head_length,
        head: kept.head,
    }
}

fn offset(source: &str, position: &Position) -> LogOffset {
    LogOffset {
        source: source.to_owned(),
        device: position.device,
        inode: position.inode,
        head_length: position.head_length,
        head: position.head,
        offset: position.offset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Direction;

    #[test]
    fn a_ban_in_which_plain_udp_has_a_part_is_observed() {
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
            [[logs]]\nname = 'file'\npath = '/var/log/auth.log'\nfilter = 'sshd'\n\
            [[logs]]\nname = 'net'\nsyslog = 'udp://127.0.0.1:5514'\nsenders = ['10.2.0.0/24']\nfilter = 'sshd'\n";
        let config = config::parse("secd.toml", text).unwrap();
        let judging = Judging::new(
            &config,
            engine(&config, &Library::builtin()).unwrap(),
            &Arc::default(),
            Default::default(),
            Default::default(),
        );
        let mode = |sources: &[usize]| {
            let overflow = Overflow {
                grows: true,
                scenario: "ssh-bruteforce".into(),
                description: String::new(),
                defined: "sshd.toml:3".into(),
                target: "198.51.100.7/32".parse().unwrap(),
                ip: [198, 51, 100, 7].into(),
                at: Timestamp(0),
                ban: Duration::from_secs(60),
                direction: Direction::In,
                mode: Mode::Enforce,
                evidence: Vec::new(),
                sources: sources.iter().copied().map(SourceIndex).collect(),
            };
            judging.decision(&overflow, Timestamp(0)).mode
        };
        assert_eq!((mode(&[0]), mode(&[1]), mode(&[0, 1])), (Mode::Enforce, Mode::Observe, Mode::Observe));
    }

    #[test]
    fn what_jails_and_acquisitions_want_to_read_is_read_once() {
        let text = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
            [[logs]]\nname = 'file'\npath = '/var/log/auth.log'\nfilter = 'sshd'\n";
        let config = config::parse("secd.toml", text).unwrap();
        let jail = "[DEFAULT]\nenabled = true\nfilter = door\n[a]\nlogpath = /var/log/auth.log\n[b]\nlogpath = /var/log/auth.log\n\
            [c]\nbackend = systemd\njournalmatch = _SYSTEMD_UNIT=doord.service\n";
        let files = |files: &[(&str, &str)]| -> logs::Files {
            files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
        };
        let door = "[Definition]\nfailregex = no <HOST>$\n";
        let dialects = Dialects {
            jails: Some(logs::fail2ban::JailerSettings {
                files: files(&[("jail.conf", jail), ("filter.d/door.conf", door)]),
                folder: "/f".into(),
                only: None,
                mode: Mode::Enforce,
            }),
            agent: Some(logs::crowdsec::AgentSettings {
                files: files(&[(
                    "acquis.yaml",
                    "filenames: [/var/log/auth.log, /var/log/door*.log]\nlabels: {type: syslog}\n---\n\
                     source: journalctl\njournalctl_filter: [_SYSTEMD_UNIT=doord.service]\nlabels: {type: syslog}\n",
                )]),
                folder: "/c".into(),
                mode: Mode::Enforce,
            }),
            unread: Vec::new(),
        };
        let engine = engine(&config, &Library::builtin()).unwrap();
        let judging =
            Judging::new(&config, engine, &Arc::new(dialects.clone()), jails(&dialects), agent(&dialects));
        assert_eq!(judging.problems.concat(), Vec::<String>::new());
        let read: Vec<_> =
            judging.inputs.iter().map(|input| (input.name.as_str(), input.filter.as_str())).collect();
        assert_eq!(
            read,
            [
                ("file", "sshd, fail2ban, crowdsec"),
                ("journal _SYSTEMD_UNIT=doord.service", "fail2ban, crowdsec"),
                ("/var/log/door*.log", "crowdsec"),
            ]
        );
        assert_eq!(judging.source_configs().len(), 3);
    }
}
