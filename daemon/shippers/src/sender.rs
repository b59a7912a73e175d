//! The way in, and the way out for those who watch.

use arc_swap::ArcSwap;
use model::{Body, Event, EventAction, Severity, Timestamp};
use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{
        broadcast,
        mpsc::{self, error::TrySendError},
    },
    time::Instant,
};

use crate::{
    TAIL_EVENTS,
    counters::{EventCount, EventCounts, SinkCounters, SinkStatus},
};

/// Where events go in. Cheap to clone; sending never waits for anyone.
#[derive(Clone, Debug)]
pub struct EventSender(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    /// Replaced as a whole; reading it never waits.
    sinks: ArcSwap<Vec<Sink>>,
    tail: broadcast::Sender<Arc<Event>>,
    counts: EventCounts,
}

/// A sink's end of its queue.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) name: &'static str,
    pub(crate) queue: mpsc::Sender<Arc<Event>>,
    pub(crate) counters: Arc<SinkCounters>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            sinks: ArcSwap::default(),
            tail: broadcast::Sender::new(TAIL_EVENTS),
            counts: EventCounts::default(),
        }
    }
}

impl Inner {
    /// From now on these sinks get what is published.
    pub(crate) fn set_sinks(&self, sinks: Vec<Sink>) {
        self.sinks.store(Arc::new(sinks));
    }

    fn send(&self, event: Event) {
        self.counts.count(&event);
        let event = Arc::new(event);
        for sink in self.sinks.load().iter() {
            match sink.queue.try_send(Arc::clone(&event)) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                    sink.counters.lost.fetch_add(1, Relaxed);
                }
            }
        }
        // Nobody watching is no error.
        let _ = self.tail.send(event);
    }
}

impl EventSender {
    /// Publishes an event. A sink whose queue is full loses it; that is counted.
    pub fn send(&self, event: Event) {
        self.0.send(event);
    }

    /// Everything that is published from now on.
    #[must_use]
    pub fn tail(&self) -> Tail {
        Tail(self.0.tail.subscribe())
    }

    /// How each sink is doing.
    #[must_use]
    pub fn sinks(&self) -> Vec<SinkStatus> {
        let status = |sink: &Sink| {
            let capacity = sink.queue.max_capacity();
            sink.counters.status(sink.name, capacity - sink.queue.capacity(), capacity)
        };
        self.0.sinks.load().iter().map(status).collect()
    }

    /// Events by kind and action since the start, those that occurred.
    #[must_use]
    pub fn counts(&self) -> Vec<EventCount> {
        self.0.counts.read()
    }
}

/// Events as they are published, for `secctl tail`.
#[derive(Debug)]
pub struct Tail(broadcast::Receiver<Arc<Event>>);

/// What a tail sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tailed {
    /// An event.
    Event(Arc<Event>),
    /// It was too slow and has missed this many.
    Missed(u64),
}

impl Tail {
    /// The next; none when nothing will come any more. Can be cancelled without loss.
    pub async fn next(&mut self) -> Option<Tailed> {
        match self.0.recv().await {
            Ok(event) => Some(Tailed::Event(event)),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Tailed::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// How a sink tells of itself: by events, and not too often.
#[derive(Debug)]
pub(crate) struct Reporter {
    inner: Weak<Inner>,
    name: &'static str,
    pub(crate) counters: Arc<SinkCounters>,
    every: Duration,
    told: [(u64, Option<Instant>); 3],
    /// What the sink said when it refused last.
    pub(crate) refusal: String,
}

impl Reporter {
    pub(crate) fn new(
        inner: Weak<Inner>,
        name: &'static str,
        counters: Arc<SinkCounters>,
        every: Duration,
    ) -> Self {
        Self { inner, name, counters, every, told: Default::default(), refusal: String::new() }
    }

    /// Tells of events that were lost, dropped or refused since the last time, if that was long enough ago.
    pub(crate) fn losses(&mut self) {
        let counts = [
            (self.counters.lost.load(Relaxed), "lost, its queue was full"),
            (self.counters.dropped.load(Relaxed), "given up, it could not be reached in time"),
            (self.counters.refused.load(Relaxed), "in pushes that it refused at least in part"),
        ];
        for (place, (now, what)) in counts.into_iter().enumerate() {
            let (told, at) = self.told[place];
            if now > told && at.is_none_or(|at| at.elapsed() >= self.every) {
                self.told[place] = (now, Some(Instant::now()));
                let mut message = format!("events for {}: {what}", self.name);
                if place == 2 {
                    message = format!("{message}: {}", self.refusal);
                }
                self.event(Severity::Warning, message, Some(now - told));
            }
        }
    }

    /// Notes what is wrong (none: nothing any more) and tells when that changes.
    pub(crate) fn trouble(&self, trouble: Option<&str>) {
        if !self.counters.set_trouble(trouble) {
            return;
        }
        match trouble {
            Some(trouble) => {
                self.event(Severity::Warning, format!("events for {} wait: {trouble}", self.name), None);
            }
            None => {
                self.event(Severity::Notice, format!("events for {} are delivered again", self.name), None)
            }
        }
    }

    fn event(&self, severity: Severity, message: String, count: Option<u64>) {
        if let Some(inner) = self.inner.upgrade() {
            inner.send(Event {
                ts: now(),
                severity,
                action: EventAction::Alert,
                zone: None,
                reason: None,
                body: Body::System { message, count },
            });
        }
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
