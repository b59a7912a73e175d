//! What was counted, for metrics and `secctl status`.

use model::{Body, Event, EventAction};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// How many events of a kind and action there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventCount {
    /// The word in `kind`.
    pub kind: &'static str,
    /// The word in `action`.
    pub action: &'static str,
    /// How many since the start.
    pub count: u64,
}

/// How a sink is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStatus {
    /// `file` or `loki`.
    pub name: &'static str,
    /// Events in its queue.
    pub queued: usize,
    /// Events that fit into its queue.
    pub capacity: usize,
    /// Events taken from the queue and not delivered yet.
    pub undelivered: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Events lost because the queue was full.
    pub lost: u64,
    /// Events given up: too many while the sink was not there, or too old for it.
    pub dropped: u64,
    /// Events in pushes that Loki refused, at least in part.
    pub refused: u64,
    /// Attempts that failed and are made again.
    pub failures: u64,
    /// What went wrong last, until it goes well again.
    pub trouble: Option<String>,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(crate) struct SinkCounters {
    pub(crate) undelivered: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failures: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl SinkCounters {
    pub(crate) fn status(&self, name: &'static str, queued: usize, capacity: usize) -> SinkStatus {
        SinkStatus {
            name,
            queued,
            capacity,
            undelivered: self.undelivered.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            lost: self.lost.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            refused: self.refused.load(Relaxed),
            failures: self.failures.load(Relaxed),
            trouble: self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Notes what is wrong (none: nothing any more) and returns whether that is news.
    pub(crate) fn set_trouble(&self, trouble: Option<&str>) -> bool {
        let mut current = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = current.is_some() != trouble.is_some();
        *current = trouble.map(str::to_owned);
        is_news
    }

    /// `count` events have left the hands of the sink, into this counter.
    pub(crate) fn settle(&self, count: usize, into: &AtomicU64) {
        into.fetch_add(count as u64, Relaxed);
        self.undelivered.fetch_sub(count as u64, Relaxed);
    }
}

/// Events by kind and action.
#[derive(Debug, Default)]
pub(crate) struct EventCounts([[AtomicU64; EventAction::ALL.len()]; Body::KINDS.len()]);

impl EventCounts {
    pub(crate) fn count(&self, event: &Event) {
        let kind = match event.body {
            Body::Packet { .. } => 0,
            Body::Query { .. } => 1,
            Body::Decision { .. } => 2,
            Body::Signature { .. } => 3,
            Body::List { .. } => 4,
            Body::Source { .. } => 5,
            Body::System { .. } => 6,
        };
        let action = match event.action {
            EventAction::Pass => 0,
            EventAction::Drop => 1,
            EventAction::Reject => 2,
            EventAction::Observe => 3,
            EventAction::Sinkhole => 4,
            EventAction::Ban => 5,
            EventAction::Lift => 6,
            EventAction::Allow => 7,
            EventAction::Alert => 8,
        };
        self.0[kind][action].fetch_add(1, Relaxed);
    }

    /// Those that are not zero.
    pub(crate) fn read(&self) -> Vec<EventCount> {
        let mut counts = Vec::new();
        for (kind, by_action) in Body::KINDS.into_iter().zip(&self.0) {
            for (action, count) in EventAction::ALL.into_iter().zip(by_action) {
                let count = count.load(Relaxed);
                if count > 0 {
                    counts.push(EventCount { kind, action: action.name(), count });
                }
            }
        }
        counts
    }
}
