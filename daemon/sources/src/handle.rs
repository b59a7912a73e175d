//! Starting, changing and stopping sources.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use model::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Line, Notice, Position, SourceConfig, SourceError, SourceKind, Status};
use crate::syslog::Bound;
use crate::tail::Tail;
use crate::watch::Watch;
use crate::{file, limits, syslog};

/// The sources of one appliance.
#[derive(Debug)]
pub struct Sources;

impl Sources {
    /// Starts all sources. `positions` are the ones kept from before, by name. Lines go into `lines` in order;
    /// `notices` gets what people should know (rotation, truncation, errors), and loses it when full.
    ///
    /// Must be called within a tokio runtime. What cannot be opened yet is no error: it is tried again, and the status
    /// says so.
    ///
    /// # Errors
    /// If two sources have one name, or a listener would hear nobody.
    pub fn start(
        configs: Vec<SourceConfig>,
        positions: HashMap<String, Position>,
        lines: mpsc::Sender<Line>,
        notices: mpsc::Sender<Notice>,
    ) -> Result<Handle, SourceError> {
        let mut handle = Handle { running: Vec::new(), positions, lines, notices, watch: Watch::new() };
        check(&configs)?;
        for config in configs {
            handle.spawn(config);
        }
        Ok(handle)
    }
}

/// Running sources.
#[derive(Debug)]
pub struct Handle {
    running: Vec<Running>,
    /// Of sources that do not run now.
    positions: HashMap<String, Position>,
    lines: mpsc::Sender<Line>,
    notices: mpsc::Sender<Notice>,
    watch: Arc<Watch>,
}

#[derive(Debug)]
struct Running {
    config: SourceConfig,
    status: Arc<Mutex<Status>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Option<Position>>,
}

impl Handle {
    /// How each source is doing, in the order in which they were started.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let of = |running: &Running| running.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.running.iter().map(of).collect()
    }

    /// How far each file was delivered, by name.
    #[must_use]
    pub fn positions(&self) -> HashMap<String, Position> {
        self.status().into_iter().filter_map(|status| Some((status.name, status.position?))).collect()
    }

    /// Makes the sources these: what is unchanged runs on, the rest is stopped or started. A file that comes back goes
    /// on where it was.
    ///
    /// # Errors
    /// As for [`Sources::start`]; then nothing is changed.
    pub async fn update(&mut self, configs: Vec<SourceConfig>) -> Result<(), SourceError> {
        check(&configs)?;
        let (keep, end): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| configs.contains(&running.config));
        self.running = keep;
        for running in end {
            self.end(running).await;
        }
        for config in configs {
            if !self.running.iter().any(|running| running.config == config) {
                self.spawn(config);
            }
        }
        Ok(())
    }

    /// Stops all and returns how far each file was delivered, by name.
    pub async fn stop(mut self) -> HashMap<String, Position> {
        let running = std::mem::take(&mut self.running);
        for running in &running {
            running.stop.send_replace(true);
        }
        for running in running {
            self.end(running).await;
        }
        self.positions
    }

    async fn end(&mut self, running: Running) {
        running.stop.send_replace(true);
        if let Ok(Some(position)) = running.task.await {
            self.positions.insert(running.config.name, position);
        }
    }

    fn spawn(&mut self, config: SourceConfig) {
        let (stop, stopped) = watch::channel(false);
        let status = Arc::new(Mutex::new(Status { name: config.name.clone(), ..Status::default() }));
        let outlet = Outlet {
            name: config.name.as_str().into(),
            lines: self.lines.clone(),
            notices: self.notices.clone(),
            status: Arc::clone(&status),
            stop: stopped,
        };
        let task = match config.kind.clone() {
            SourceKind::File { path, start } => {
                let known = self.positions.remove(&config.name);
                let mut tail = Tail::new(path.clone(), start, known);
                tail.prepare();
                tokio::spawn(file::run(outlet, Arc::clone(&self.watch), path, tail))
            }
            SourceKind::Syslog { transport, listen, senders } => {
                let bound = match Bound::new(transport, listen) {
                    Ok((bound, address)) => {
                        outlet.status(|status| status.listening = Some(address));
                        Some(bound)
                    }
                    Err(_) => None,
                };
                tokio::spawn(async move {
                    syslog::run(outlet, transport, listen, senders.into(), bound).await;
                    None
                })
            }
        };
        self.running.push(Running { config, status, stop, task });
    }
}

fn check(configs: &[SourceConfig]) -> Result<(), SourceError> {
    if configs.len() > limits::MAX_SOURCES {
        return Err(SourceError::TooMany(configs.len()));
    }
    let mut names = HashSet::new();
    for config in configs {
        if !names.insert(&config.name) {
            return Err(SourceError::Duplicate(config.name.clone()));
        }
        if let SourceKind::Syslog { senders, .. } = &config.kind
            && senders.is_empty()
        {
            return Err(SourceError::NoSenders(config.name.clone()));
        }
    }
    Ok(())
}

/// What a source's task delivers into.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    pub(crate) name: Arc<str>,
    pub(crate) lines: mpsc::Sender<Line>,
    notices: mpsc::Sender<Notice>,
    status: Arc<Mutex<Status>>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Outlet {
    pub(crate) fn status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn count_line(&self, position: Option<Position>) {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
        self.status(|status| {
            status.lines += 1;
            status.last_line = Some(Timestamp(i64::try_from(now).unwrap_or(i64::MAX)));
            status.position = position.or(status.position);
        });
    }

    /// Tells of an error once, and that it is over.
    pub(crate) fn set_error(&self, error: Option<String>) {
        let mut changed = false;
        self.status(|status| {
            changed = status.error != error;
            status.error.clone_from(&error);
        });
        if changed {
            self.notice(error.unwrap_or_else(|| "reading again".to_owned()));
        }
    }

    pub(crate) fn notice(&self, message: String) {
        tracing::info!(source = &*self.name, "{message}");
        // Notices are for people; one that finds no room is in the log.
        drop(self.notices.try_send(Notice { source: Arc::clone(&self.name), message }));
    }
}
