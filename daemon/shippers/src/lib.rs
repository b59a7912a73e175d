//! Events to where people look for them: a file of JSON lines, Loki, and whoever is tailing.
//!
//! Publishing never waits: [`EventSender::send`] puts an event into one bounded queue per sink and goes on. A full
//! queue loses the event for that sink, the loss is counted and told later in one event of its own. Each sink is one
//! task that takes from its queue, and has limits of its own for what it cannot deliver yet.

mod counters;
mod file;
mod loki;
mod sender;

pub use counters::{EventCount, SinkStatus};
pub use loki::{Url, UrlError};
pub use sender::{EventSender, Tail, Tailed};

use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

use counters::SinkCounters;
use sender::{Reporter, Sink};

/// Events that wait for a sink. When full, events are lost for it and counted.
pub const QUEUE_EVENTS: usize = 8192;
/// Events that a slow tail may lag behind. Then it is told how many it has missed.
pub const TAIL_EVENTS: usize = 1024;
/// How often at most a sink tells of losses and refusals.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);

/// What is shipped to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// File of JSON lines.
    pub file: Option<FileSettings>,
    /// Loki.
    pub loki: Option<LokiSettings>,
    /// Events that wait for a sink, [`QUEUE_EVENTS`] by default, at least 1.
    pub queue: usize,
    /// How often at most a sink tells of losses, [`REPORT_EVERY`] by default.
    pub report_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { file: None, loki: None, queue: QUEUE_EVENTS, report_every: REPORT_EVERY }
    }
}

/// The file of JSON lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Its path.
    pub path: PathBuf,
    /// Bytes after which it is rotated to `PATH.1`.
    pub rotate_bytes: u64,
    /// Rotated files that are kept.
    pub keep_files: u32,
}

/// Loki.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LokiSettings {
    /// Where it is.
    pub url: Url,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// User and password of basic authentication.
    pub credentials: Option<(String, String)>,
    /// The label `host`: the name of this appliance.
    pub host: String,
    /// Least and longest pause before a push is tried again.
    pub backoff: (Duration, Duration),
    /// How long events wait for company before they are sent.
    pub linger: Duration,
}

impl LokiSettings {
    /// Settings without tenant and credentials.
    #[must_use]
    pub fn new(url: Url, host: impl Into<String>) -> Self {
        Self {
            url,
            tenant: None,
            credentials: None,
            host: host.into(),
            backoff: (Duration::from_millis(500), Duration::from_secs(60)),
            linger: loki::LINGER,
        }
    }
}

/// The running sinks. Dropping it stops nothing: they end when the last [`EventSender`] is gone, or by
/// [`Shippers::stop`].
#[derive(Debug)]
pub struct Shippers {
    sender: EventSender,
    control: watch::Sender<Control>,
    tasks: Vec<JoinHandle<()>>,
}

/// What sinks are told besides events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) stop: bool,
    /// Counts up; the file is opened anew at each step.
    pub(crate) reopen: u64,
}

impl Shippers {
    /// Starts the sinks on the current tokio runtime.
    #[must_use]
    pub fn start(settings: Settings) -> Self {
        let sender = EventSender(Arc::default());
        let (control, tasks) = launch(&sender, settings);
        Self { sender, control, tasks }
    }

    /// Goes on with other settings: new sinks take what is published from now on, the old ones deliver what they have
    /// and are given up after `deadline`. Whoever has a sender keeps it. Returns whether the old ones delivered all.
    pub async fn restart(&mut self, settings: Settings, deadline: Duration) -> bool {
        let (control, tasks) = launch(&self.sender, settings);
        let control = std::mem::replace(&mut self.control, control);
        let tasks = std::mem::replace(&mut self.tasks, tasks);
        finish(&control, tasks, deadline).await
    }

    /// Where events go in. Cheap to clone.
    #[must_use]
    pub fn sender(&self) -> EventSender {
        self.sender.clone()
    }

    /// Opens the file anew, after someone else has moved it away.
    pub fn reopen(&self) {
        self.control.send_modify(|control| control.reopen += 1);
    }

    /// Takes no more events, delivers what there is, and gives up after `deadline`. Returns whether all was delivered.
    pub async fn stop(self, deadline: Duration) -> bool {
        let is_in_time = finish(&self.control, self.tasks, deadline).await;
        is_in_time && self.sender.sinks().iter().all(|sink| sink.queued == 0 && sink.undelivered == 0)
    }
}

/// Starts sinks and hands their queues to the sender.
fn launch(sender: &EventSender, settings: Settings) -> (watch::Sender<Control>, Vec<JoinHandle<()>>) {
    let control = watch::Sender::new(Control::default());
    let (mut sinks, mut tasks) = (Vec::new(), Vec::new());
    let mut sink = |name: &'static str| {
        let (queue, events) = tokio::sync::mpsc::channel(settings.queue.max(1));
        let counters = Arc::new(SinkCounters::default());
        sinks.push(Sink { name, queue, counters: Arc::clone(&counters) });
        (events, Reporter::new(Arc::downgrade(&sender.0), name, counters, settings.report_every))
    };
    if let Some(file) = settings.file {
        let (events, reporter) = sink("file");
        tasks.push(tokio::spawn(file::run(file, events, reporter, control.subscribe())));
    }
    if let Some(loki) = settings.loki {
        let (events, reporter) = sink("loki");
        tasks.push(tokio::spawn(loki::run(loki, events, reporter, control.subscribe())));
    }
    sender.0.set_sinks(sinks);
    (control, tasks)
}

/// Tells sinks to stop and waits for them; returns whether they did before `deadline` had passed.
async fn finish(
    control: &watch::Sender<Control>,
    mut tasks: Vec<JoinHandle<()>>,
    deadline: Duration,
) -> bool {
    control.send_modify(|control| control.stop = true);
    let all = async {
        for task in &mut tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a sink of events broke");
            }
        }
    };
    let is_in_time = tokio::time::timeout(deadline, all).await.is_ok();
    if !is_in_time {
        for task in tasks.into_iter().filter(|task| !task.is_finished()) {
            task.abort();
            // It ends at its next await; that it was aborted is no news.
            let _ = task.await;
        }
    }
    is_in_time
}
