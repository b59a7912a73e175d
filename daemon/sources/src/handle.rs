//! Starting, changing and stopping sources.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::config::{Line, Notice, Position, SourceConfig, SourceError, SourceKind, Status, Transport};
use crate::file::Place;
use crate::loki::{Receivers, Route};
use crate::outlet::Outlet;
use crate::syslog::{Bound, Listener};
use crate::tail::Tail;
use crate::watch::Watch;
use crate::{file, files, glob, journal, limits, syslog};

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
        let (watch, receivers) = (Watch::new(), Receivers::default());
        let mut handle = Handle { running: Vec::new(), positions, lines, notices, watch, receivers };
        check(&configs)?;
        for config in configs {
            handle.spawn(config);
        }
        handle.route();
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
    receivers: Receivers,
}

#[derive(Debug)]
struct Running {
    config: SourceConfig,
    outlet: Outlet,
    status: Arc<Mutex<Status>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Positions>,
}

/// How far lines were delivered, by what a position is kept under.
pub(crate) type Positions = Vec<(String, Position)>;

impl Handle {
    /// How each source is doing, in the order in which they were started.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let of = |running: &Running| running.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.running.iter().map(of).collect()
    }

    /// How far each single file and journal was delivered, by name.
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
        let order: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
        for config in configs {
            if !self.running.iter().any(|running| running.config == config) {
                self.spawn(config);
            }
        }
        // The first that fits takes a stream, so the order counts.
        self.running.sort_by_key(|running| order.iter().position(|name| *name == running.config.name));
        self.route();
        Ok(())
    }

    /// Stops all and returns how far each file was delivered, by what its position is kept under.
    pub async fn stop(mut self) -> HashMap<String, Position> {
        let running = std::mem::take(&mut self.running);
        for running in &running {
            running.stop.send_replace(true);
        }
        self.receivers.stop().await;
        for running in running {
            self.end(running).await;
        }
        self.positions
    }

    async fn end(&mut self, running: Running) {
        running.stop.send_replace(true);
        if let Ok(positions) = running.task.await {
            self.positions.extend(positions);
        }
    }

    fn spawn(&mut self, config: SourceConfig) {
        let (stop, stopped) = watch::channel(false);
        let status = Arc::new(Mutex::new(Status { name: config.name.clone(), ..Status::default() }));
        let outlet =
            Outlet::new(&config.name, self.lines.clone(), self.notices.clone(), Arc::clone(&status), stopped);
        let task = self.task(&config, outlet.clone());
        self.running.push(Running { config, outlet, status, stop, task });
    }

    fn task(&mut self, config: &SourceConfig, outlet: Outlet) -> JoinHandle<Positions> {
        match config.kind.clone() {
            SourceKind::File { path, start, format } if glob::is_pattern(&path) => {
                let known = self.take_positions(|name| files::path_of(&config.name, name).is_some());
                let files = files::Files::new(outlet, Arc::clone(&self.watch), path, format);
                tokio::spawn(files.run(start, known))
            }
            SourceKind::File { path, start, format } => {
                let known = self.positions.remove(&config.name);
                let mut tail = Tail::new(path.clone(), start, known);
                tail.prepare();
                outlet.status(|status| status.files = 1);
                let name = config.name.clone();
                let place = Place { path, format, is_one_of_many: false };
                let following = file::run(outlet, Arc::clone(&self.watch), place, tail);
                tokio::spawn(
                    async move { following.await.map(|position| (name, position)).into_iter().collect() },
                )
            }
            SourceKind::Journal { matches, folder } => {
                let known = self.positions.remove(&config.name);
                let name = config.name.clone();
                let journal = journal::Journal::new(outlet, matches, folder, known);
                tokio::spawn(async move {
                    journal.run().await.map(|position| (name, position)).into_iter().collect()
                })
            }
            SourceKind::Syslog { transport, listen, senders, tls } => {
                let bound = match Bound::new(transport, listen) {
                    Ok((bound, address)) => {
                        outlet.status(|status| status.listening = Some(address));
                        Some(bound)
                    }
                    Err(_) => None,
                };
                let listener = Listener { transport, listen, senders, tls };
                tokio::spawn(async move {
                    syslog::run(outlet, listener, bound).await;
                    Positions::new()
                })
            }
            // Its listener runs for all sources that share it.
            SourceKind::Loki { .. } => tokio::spawn(std::future::ready(Positions::new())),
        }
    }

    /// Tells the listeners of pushes which sources there are.
    fn route(&mut self) {
        let routes = self.running.iter().filter_map(|running| match &running.config.kind {
            SourceKind::Loki { listen, senders, labels, token_file } => {
                let (senders, labels) = (senders.clone(), labels.clone());
                let outlet = running.outlet.clone();
                Some((*listen, Route { outlet, senders, labels, token_file: token_file.clone() }))
            }
            SourceKind::File { .. } | SourceKind::Syslog { .. } | SourceKind::Journal { .. } => None,
        });
        self.receivers.update(routes.collect());
    }

    fn take_positions(&mut self, is_wanted: impl Fn(&str) -> bool) -> HashMap<String, Position> {
        let (taken, left) =
            std::mem::take(&mut self.positions).into_iter().partition(|(name, _)| is_wanted(name));
        self.positions = left;
        taken
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
        let (is_open, lacks_certificate) = match &config.kind {
            SourceKind::Syslog { transport, senders, tls, .. } => {
                let is_known = tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
                (senders.is_empty() && !is_known, *transport == Transport::Tls && tls.is_none())
            }
            SourceKind::Loki { senders, .. } => (senders.is_empty(), false),
            SourceKind::File { .. } | SourceKind::Journal { .. } => (false, false),
        };
        if is_open {
            return Err(SourceError::NoSenders(config.name.clone()));
        }
        if lacks_certificate {
            return Err(SourceError::NoCertificate(config.name.clone()));
        }
    }
    Ok(())
}
