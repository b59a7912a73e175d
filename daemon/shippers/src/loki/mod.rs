//! Events to Loki: gathered for a second or a mebibyte, pushed one batch after the other.
//!
//! What Loki's answers mean: 400 is partial, the good entries of the batch are stored, so it is never sent again. 429
//! and 5xx mean later; there is no `Retry-After`, so the pauses double. Entries older than the newest of their stream
//! minus one hour are refused, so batches go in order and older entries are not sent.

mod batch;
mod client;
mod entry;
mod wire;

pub use client::{Url, UrlError};

use model::Event;
use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{Control, LokiSettings, sender::Reporter};
use batch::{Batcher, Sealed};
use client::{Client, Outcome};

/// How long events wait for company before they are sent.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// Bytes of sealed batches that wait for a Loki that is not there. When full the oldest are dropped and counted.
const MAX_PENDING: usize = 8 * 1024 * 1024;
/// Events that are taken from the queue at once.
const AT_ONCE: usize = 256;

type Push = Pin<Box<dyn Future<Output = (Client, Outcome)> + Send>>;

/// Ships until the senders are gone or the control says stop.
pub(crate) async fn run(
    settings: LokiSettings,
    mut events: mpsc::Receiver<Arc<Event>>,
    mut reporter: Reporter,
    mut control: watch::Receiver<Control>,
) {
    let mut pusher = Pusher {
        client: Some(Client::new(&settings)),
        push: None,
        pending: Pending::default(),
        retry_at: None,
        pause: settings.backoff.0,
        backoff: settings.backoff,
    };
    let mut batcher = Batcher::new(settings.host, settings.linger);
    let mut taken = Vec::with_capacity(AT_ONCE);
    let mut is_open = true;
    let mut is_controlled = true;
    loop {
        let retry_at = pusher.retry_at;
        tokio::select! {
            outcome = pusher.outcome(), if pusher.push.is_some() => pusher.settle(outcome, &mut reporter),
            () = until(retry_at), if retry_at.is_some() => pusher.retry_at = None,
            count = events.recv_many(&mut taken, AT_ONCE), if is_open => is_open = count > 0,
            () = until(batcher.due()), if batcher.due().is_some() => pusher.take(batcher.seal(), &reporter),
            changed = control.changed(), if is_controlled => match changed {
                Ok(()) => {
                    if control.borrow_and_update().stop {
                        events.close();
                        pusher.retry_at = None;
                    }
                }
                Err(_) => is_controlled = false,
            },
        }
        reporter.counters.undelivered.fetch_add(taken.len() as u64, Relaxed);
        for event in taken.drain(..) {
            let sealed = batcher.add(&event, crate::sender::now());
            pusher.take(sealed, &reporter);
        }
        if !is_open {
            pusher.take(batcher.seal(), &reporter);
        }
        let dropped = batcher.take_dropped();
        reporter.counters.settle(dropped, &reporter.counters.dropped);
        pusher.start();
        if events.len() <= events.max_capacity() / 2 {
            reporter.losses();
        }
        if !is_open && pusher.push.is_none() && pusher.pending.batches.is_empty() {
            return;
        }
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// Sends the oldest batch, and again, until it is settled.
struct Pusher {
    /// None while it is pushing.
    client: Option<Client>,
    push: Option<Push>,
    pending: Pending,
    retry_at: Option<Instant>,
    pause: Duration,
    backoff: (Duration, Duration),
}

impl Pusher {
    fn take(&mut self, sealed: Option<Sealed>, reporter: &Reporter) {
        let Some(sealed) = sealed else { return };
        let dropped = self.pending.add(sealed, self.push.is_some());
        reporter.counters.settle(dropped, &reporter.counters.dropped);
    }

    fn start(&mut self) {
        if self.push.is_some() || self.retry_at.is_some() {
            return;
        }
        let Some(batch) = self.pending.batches.front() else { return };
        let body = batch.body.clone();
        if let Some(mut client) = self.client.take() {
            self.push = Some(Box::pin(async move {
                let outcome = client.push(body).await;
                (client, outcome)
            }));
        }
    }

    async fn outcome(&mut self) -> Outcome {
        match &mut self.push {
            Some(push) => {
                let (client, outcome) = push.await;
                self.client = Some(client);
                self.push = None;
                outcome
            }
            None => std::future::pending().await,
        }
    }

    fn settle(&mut self, outcome: Outcome, reporter: &mut Reporter) {
        let counters = Arc::clone(&reporter.counters);
        match outcome {
            Outcome::Stored => {
                let entries = self.pending.remove_first();
                counters.settle(entries, &counters.delivered);
                self.pause = self.backoff.0;
                reporter.trouble(None);
            }
            Outcome::Refused(why) => {
                let entries = self.pending.remove_first();
                counters.settle(entries, &counters.refused);
                self.pause = self.backoff.0;
                reporter.trouble(None);
                tracing::warn!(entries, %why, "Loki refused a push, at least in part");
                reporter.refusal = why;
            }
            Outcome::Later(why) => {
                counters.failures.fetch_add(1, Relaxed);
                reporter.trouble(Some(&why));
                self.retry_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(self.backoff.1);
            }
        }
    }
}

/// Sealed batches, oldest first.
#[derive(Default)]
struct Pending {
    batches: VecDeque<Sealed>,
    bytes: usize,
}

impl Pending {
    /// Adds a batch and returns how many entries of older ones had to go. The one that is being pushed stays.
    fn add(&mut self, sealed: Sealed, is_pushing: bool) -> usize {
        self.bytes += sealed.body.len();
        self.batches.push_back(sealed);
        let oldest = usize::from(is_pushing);
        let mut dropped = 0;
        while self.bytes > MAX_PENDING && self.batches.len() > oldest + 1 {
            if let Some(batch) = self.batches.remove(oldest) {
                self.bytes -= batch.body.len();
                dropped += batch.entries;
            }
        }
        dropped
    }

    fn remove_first(&mut self) -> usize {
        self.batches.pop_front().map_or(0, |batch| {
            self.bytes -= batch.body.len();
            batch.entries
        })
    }
}

#[cfg(test)]
pub(crate) fn tests_event(message: String) -> Event {
    Event {
        ts: model::Timestamp::from_seconds(1_790_000_000),
        severity: model::Severity::Info,
        action: model::EventAction::Alert,
        zone: None,
        reason: None,
        body: model::Body::System { message, count: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_loki_is_bounded_and_the_oldest_go() {
        let sealed = |number: u8| Sealed { body: vec![number; 1024 * 1024].into(), entries: 10 };
        let mut pending = Pending::default();
        let mut dropped = 0;
        for number in 0..20 {
            dropped += pending.add(sealed(number), true);
        }
        assert_eq!((pending.batches.len(), dropped), (8, 120));
        assert_eq!(pending.bytes, MAX_PENDING);
        let numbers: Vec<u8> = pending.batches.iter().map(|batch| batch.body[0]).collect();
        assert_eq!(numbers, [0, 13, 14, 15, 16, 17, 18, 19], "the one being pushed stays");
        assert_eq!(pending.remove_first(), 10);
        assert_eq!(pending.add(sealed(20), false), 0);
    }
}
