//! From log lines to bans: sources deliver, the engine judges, the keeper enforces.
//!
//! The offset of a line is kept only when the line has been judged, so nothing is skipped over a restart; after a
//! crash the lines of the last moment are judged again, which at worst repeats a ban.

mod vigil;

use anyhow::{Context, Result};
use config::{Config, LogFormat, LogInput};
use logs::{Clock, Engine, Library, Limits, Outcome, Overflow, Source, SourceIndex};
use model::{
    Body, Decision, DecisionKind, Event, EventAction, Mode, Origin, OriginKind, Severity, Timestamp,
};
use sources::{Format, Line, Notice, Position, SourceConfig, SourceKind, Sources, Start, Tls};
use std::{
    collections::{HashMap, HashSet},
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

/// The engine, and what it does not know of its sources.
struct Judging {
    engine: Engine,
    inputs: Vec<Input>,
}

/// What the engine does not know of a source.
struct Input {
    name: String,
    filter: String,
    /// Where its lines come from, in words.
    from: String,
    /// Anybody can forge its lines.
    plain_udp: bool,
    silent_after: Option<Duration>,
    last_match: Option<Timestamp>,
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
        library: &Library,
        store: &Store,
        decisions: Arc<Decisions<K>>,
        tell: Tell,
    ) -> Result<Self> {
        let judging = Arc::new(Mutex::new(Judging::new(config, library)?));
        let kept = store.offsets().await.context("log offsets cannot be read")?;
        let spoke_before = kept.iter().map(|kept| source_of(&kept.source).to_owned()).collect();
        let positions = kept.into_iter().map(|kept| (kept.source.clone(), position(&kept))).collect();
        let (lines, incoming) = mpsc::channel(MAX_LINES_WAITING);
        let (notices, noticed) = mpsc::channel(MAX_NOTICES_WAITING);
        let sources = Sources::start(source_configs(config), positions, lines, notices)?;
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
    pub async fn update(&self, config: &Config, library: &Library) -> Result<()> {
        let fresh = Judging::new(config, library)?;
        {
            let mut current = lock(&self.judging);
            let former = std::mem::replace(&mut *current, fresh);
            current.adopt(former);
        }
        if let Some(sources) = self.sources.lock().await.as_mut() {
            sources.update(source_configs(config)).await?;
        }
        Ok(())
    }

    /// How each source is doing.
    pub async fn states(&self) -> Vec<SourceState> {
        let sources = self.sources.lock().await.as_ref().map(sources::Handle::status).unwrap_or_default();
        let (judging, vigil) = (lock(&self.judging), lock(&self.vigil));
        let state = |source: sources::Status| {
            let at = judging.engine.source(&source.name)?;
            let input = judging.inputs.get(at.0)?;
            Some(SourceState {
                from: input.from.clone(),
                filter: input.filter.clone(),
                matched: judging.engine.source_stats(at).1,
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
                    let at = judging.engine.source(&source.name)?;
                    let matched = judging.engine.source_stats(at).1;
                    let silent_after = judging.inputs.get(at.0)?.silent_after;
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
    fn new(config: &Config, library: &Library) -> Result<Self> {
        let sources = config.logs.iter().map(|log| Source {
            name: log.name.clone(),
            filter: log.filter.clone(),
            mode: log.mode,
        });
        let clock = Clock::new(jiff::tz::TimeZone::system());
        let engine = Engine::new(library, sources.collect(), Limits::default(), clock)?;
        let input = |log: &config::LogSource| Input {
            name: log.name.clone(),
            filter: log.filter.clone(),
            from: words(&log.input),
            plain_udp: matches!(log.input, LogInput::Syslog { transport: config::Transport::Udp, .. }),
            silent_after: log.silent_after,
            last_match: None,
        };
        Ok(Self { engine, inputs: config.logs.iter().map(input).collect() })
    }

    /// Takes over what the former one knew.
    fn adopt(&mut self, former: Self) {
        self.engine.adopt(former.engine);
        for input in &mut self.inputs {
            let known = former.inputs.iter().find(|known| known.name == input.name);
            input.last_match = known.and_then(|known| known.last_match);
        }
    }

    /// Judges a line; returns what it leads to.
    fn line(&mut self, line: &Line, now: Timestamp) -> Vec<Decision> {
        let Some(source) = self.engine.source(&line.source) else { return Vec::new() };
        let outputs = self.engine.line_written(now, line.written, source, &line.bytes);
        let is_match = match outputs.outcome {
            Outcome::Event | Outcome::Poured | Outcome::Stale => true,
            Outcome::Miss
            | Outcome::Ignored
            | Outcome::Oversized
            | Outcome::Cut
            | Outcome::BadAddress
            | Outcome::Forwarded => false,
        };
        if is_match && let Some(input) = self.inputs.get_mut(source.0) {
            input.last_match = Some(now);
        }
        outputs.overflows.iter().map(|overflow| self.decision(overflow, now)).collect()
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
            until: Some(overflow.at.plus(overflow.ban).max(now)),
            origin: Origin {
                kind: OriginKind::Scenario,
                name: overflow.scenario.clone(),
                at: Some(overflow.defined.clone()),
            },
            evidence: overflow.evidence.clone(),
        }
    }
}

fn source_configs(config: &Config) -> Vec<SourceConfig> {
    let kind = |input: &LogInput| match input.clone() {
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
    };
    config.logs.iter().map(|log| SourceConfig { name: log.name.clone(), kind: kind(&log.input) }).collect()
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
    while let Some(line) = lines.recv().await {
        let now = clock::now().wall;
        let bans = lock(&judging).line(&line, now);
        for ban in bans {
            let scenario = ban.origin.name.clone();
            match decisions.ban(ban) {
                Ok(()) | Err(Refusal::Standing { .. }) => {}
                Err(refusal) => tell(refused(&scenario, &refusal, now)),
            }
        }
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
        let judging = Judging::new(&config, &Library::builtin()).unwrap();
        let mode = |sources: &[usize]| {
            let overflow = Overflow {
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
}
