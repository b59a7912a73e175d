//! What a source's tasks deliver into: lines, notices, and how the source is doing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use model::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::config::{Line, Notice, Position, Status, Trust};

/// What a source's tasks deliver into.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    pub(crate) name: Arc<str>,
    /// Under what positions are kept: the name, or of one file of many also the path.
    pub(crate) kept_as: Arc<str>,
    pub(crate) lines: mpsc::Sender<Line>,
    notices: mpsc::Sender<Notice>,
    status: Arc<Mutex<Status>>,
    /// What is wrong now, by what it is about.
    errors: Arc<Mutex<BTreeMap<Arc<str>, String>>>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Outlet {
    pub(crate) fn new(
        name: &str,
        lines: mpsc::Sender<Line>,
        notices: mpsc::Sender<Notice>,
        status: Arc<Mutex<Status>>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self { name: name.into(), kept_as: name.into(), lines, notices, status, errors: Arc::default(), stop }
    }

    /// The outlet of one file of many, with an end of its own.
    pub(crate) fn of_part(&self, kept_as: &str, stop: watch::Receiver<bool>) -> Self {
        Self { kept_as: kept_as.into(), stop, ..self.clone() }
    }

    /// A line, as far as this knows it.
    pub(crate) fn line(&self, bytes: Vec<u8>, trust: Trust) -> Line {
        Line {
            source: Arc::clone(&self.name),
            bytes,
            trust,
            sender: None,
            written: None,
            position: None,
            kept_as: Arc::clone(&self.kept_as),
            received: Instant::now(),
        }
    }

    pub(crate) fn status(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn count_line(&self, position: Option<Position>) {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
        self.status(|status| {
            status.lines += 1;
            status.last_line = Some(Timestamp(i64::try_from(now).unwrap_or(i64::MAX)));
            if self.is_whole() {
                status.position = position.or(status.position);
            }
        });
    }

    /// Whether this is all of the source, and not one file of many.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept_as == self.name
    }

    /// Tells of an error once, and that it is over.
    pub(crate) fn set_error(&self, error: Option<String>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if errors.get(&self.kept_as) == error.as_ref() {
            return;
        }
        match &error {
            Some(error) => errors.insert(Arc::clone(&self.kept_as), error.clone()),
            None => errors.remove(&self.kept_as),
        };
        let first = errors.values().next();
        let shown = first.map(|first| match errors.len() {
            1 => first.clone(),
            all => format!("{first} (and {} more)", all - 1),
        });
        self.status(|status| status.error = shown);
        drop(errors);
        self.notice(error.unwrap_or_else(|| "reading again".to_owned()));
    }

    /// What it is about is gone, and its error with it.
    pub(crate) fn forget_error(&self) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.remove(&self.kept_as);
        let shown = errors.values().next().cloned();
        self.status(|status| status.error = shown);
    }

    pub(crate) fn notice(&self, message: String) {
        tracing::info!(source = &*self.name, "{message}");
        // Notices are for people; one that finds no room is in the log.
        drop(self.notices.try_send(Notice { source: Arc::clone(&self.name), message }));
    }
}
