//! From log lines to bans: sources deliver, the engine judges, the keeper enforces.
//!
//! The offset of a line is kept only when the line has been judged, so nothing is skipped over a restart; after a
//! crash the lines of the last moment are judged again, which at worst repeats a ban.

use anyhow::{Context, Result};
use config::{Config, LogInput};
use logs::{Clock, Engine, Library, Limits, Overflow, Source, SourceIndex};
use model::{
    Body, Decision, DecisionKind, Event, EventAction, Mode, Origin, OriginKind, Severity, Timestamp,
};
use sources::{Line, Notice, Position, SourceConfig, SourceKind, Sources, Start};
use std::{
    collections::HashMap,
    net::IpAddr,
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

/// The running pipeline.
pub struct Pipeline {
    sources: tokio::sync::Mutex<Option<sources::Handle>>,
    judging: Arc<Mutex<Judging>>,
    judged: Arc<Mutex<HashMap<String, Position>>>,
    judge: Mutex<Option<JoinHandle<()>>>,
}

/// The engine, and which of its sources anybody can forge.
struct Judging {
    engine: Engine,
    plain_udp: Vec<bool>,
}

/// How one source is doing, engine included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceState {
    /// As the source knows it.
    pub source: sources::Status,
    /// Lines that were events.
    pub matched: u64,
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
            current.engine.adopt(former.engine);
        }
        if let Some(sources) = self.sources.lock().await.as_mut() {
            sources.update(source_configs(config)).await?;
        }
        Ok(())
    }

    /// How each source is doing.
    pub async fn states(&self) -> Vec<SourceState> {
        let sources = self.sources.lock().await.as_ref().map(sources::Handle::status).unwrap_or_default();
        let judging = lock(&self.judging);
        let engine = &judging.engine;
        let matched = |name: &str| engine.source(name).map_or(0, |at| engine.source_stats(at).1);
        sources.into_iter().map(|source| SourceState { matched: matched(&source.name), source }).collect()
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
        let offsets: Vec<_> = judged.iter().map(|(source, position)| offset(source, position)).collect();
        store.save_offsets(&offsets).await
    }

    /// Saves offsets every second, until the pipeline is dropped.
    pub async fn keep_saving(self: Arc<Self>, store: Store) {
        let mut tick = tokio::time::interval(SAVE_EVERY);
        let mut saved = HashMap::new();
        loop {
            tick.tick().await;
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
        let udp =
            |input: &LogInput| matches!(input, LogInput::Syslog { transport: config::Transport::Udp, .. });
        Ok(Self { engine, plain_udp: config.logs.iter().map(|log| udp(&log.input)).collect() })
    }

    /// Who is in, as far as nobody could have made that up and it is news.
    fn login(&self, source: SourceIndex, (from, at): (IpAddr, Timestamp), now: Timestamp) -> Option<IpAddr> {
        let forgeable = self.plain_udp.get(source.0).copied().unwrap_or(true);
        (!forgeable && now.since(at) < LOGIN_IS_NEWS).then_some(from)
    }

    /// The decision of an overflow. Anybody can send a UDP message in another's name: a ban in which such lines have a
    /// part is observed, not enforced.
    fn decision(&self, overflow: &Overflow, now: Timestamp) -> Decision {
        // The engine tells the first 63 sources apart and names one for all the others.
        let forgeable = |source: &SourceIndex| match source.0 {
            single @ ..63 => self.plain_udp.get(single).copied().unwrap_or(false),
            _ => self.plain_udp.iter().skip(63).any(|udp| *udp),
        };
        let mode = if overflow.sources.iter().any(forgeable) { Mode::Observe } else { overflow.mode };
        Decision {
            id: 0,
            kind: DecisionKind::Ban,
            target: overflow.decision_target(),
            direction: overflow.direction,
            mode,
            since: now,
            until: Some(overflow.at.plus(overflow.ban).clamp(now, now.plus(overflow.ban))),
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
    let kind = |input: &LogInput| match input {
        LogInput::File(path) => SourceKind::File { path: path.clone(), start: Start::End },
        LogInput::Syslog { transport, listen, senders } => SourceKind::Syslog {
            transport: match transport {
                config::Transport::Udp => sources::Transport::Udp,
                config::Transport::Tcp => sources::Transport::Tcp,
            },
            listen: *listen,
            senders: senders.clone(),
        },
    };
    config.logs.iter().map(|log| SourceConfig { name: log.name.clone(), kind: kind(&log.input) }).collect()
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
        let (bans, login): (Vec<Decision>, _) = {
            let mut judging = lock(&judging);
            let source = judging.engine.source(&line.source);
            let outputs = source.map(|source| (source, judging.engine.line(now, source, &line.bytes)));
            let overflows = outputs.iter().flat_map(|(_, outputs)| &outputs.overflows);
            let bans = overflows.map(|overflow| judging.decision(overflow, now)).collect();
            let login = outputs.and_then(|(source, outputs)| judging.login(source, outputs.login?, now));
            (bans, login)
        };
        if let Some(from) = login {
            decisions.logged_in(from);
        }
        for ban in bans {
            let scenario = ban.origin.name.clone();
            match decisions.ban(ban) {
                Ok(()) | Err(Refusal::Standing { .. }) => {}
                Err(refusal) => tell(refused(&scenario, &refusal, now)),
            }
        }
        if let Some(position) = line.position {
            let mut judged = lock(&judged);
            match judged.get_mut(&*line.source) {
                Some(known) => *known = position,
                None => {
                    judged.insert(line.source.to_string(), position);
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
        tell(Event {
            ts: clock::now().wall,
            severity: Severity::Notice,
            action: EventAction::Alert,
            zone: None,
            reason: Some("log_source".into()),
            body: Body::Source { source: notice.source.to_string(), message: notice.message },
        });
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
