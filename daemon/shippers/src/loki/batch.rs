//! Batches of events, by stream and in order.

use hyper::body::Bytes;
use model::Event;
use prost::Message;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

use super::{
    entry,
    wire::{Entry, PushRequest, Stream, Timestamp},
};

/// Bytes of a push before it is compressed. Loki can never take one of more than 6 MB.
pub(super) const MAX_PUSH: usize = 1024 * 1024;
/// Seconds by which an entry may be older than the newest of its stream: Loki's hour less a minute.
const WINDOW_SECONDS: i64 = 59 * 60;
/// Seconds that an entry may be ahead of now: Loki's ten minutes less one. An event from further ahead is sent with
/// the time of now, else everything behind it in its stream would be too old.
const AHEAD_SECONDS: i64 = 9 * 60;
/// Streams whose newest entry is remembered. When full all are forgotten: Loki itself refuses what is too old then.
const MAX_STREAMS: usize = 4096;

/// A batch that is ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// The push, compressed.
    pub(super) body: Bytes,
    /// How many events it holds.
    pub(super) entries: usize,
}

/// Gathers events.
#[derive(Debug)]
pub(super) struct Batcher {
    host: String,
    linger: Duration,
    streams: BTreeMap<String, Vec<Entry>>,
    bytes: usize,
    first: Option<Instant>,
    newest: BTreeMap<String, Timestamp>,
    dropped: usize,
}

impl Batcher {
    pub(super) fn new(host: String, linger: Duration) -> Self {
        Self {
            host,
            linger,
            streams: BTreeMap::new(),
            bytes: 0,
            first: None,
            newest: BTreeMap::new(),
            dropped: 0,
        }
    }

    /// When what is gathered has to go.
    pub(super) fn due(&self) -> Option<Instant> {
        self.first.map(|first| first + self.linger)
    }

    /// Adds an event; returns the batch before it where both together are too long. `now` is the wall clock.
    pub(super) fn add(&mut self, event: &Event, now: model::Timestamp) -> Option<Sealed> {
        let (labels, mut entry) = entry::render(event, &self.host);
        let seconds = now.seconds();
        if entry.timestamp.is_some_and(|at| at.seconds > seconds.saturating_add(AHEAD_SECONDS)) {
            entry.timestamp = Some(Timestamp { seconds, nanos: 0 });
        }
        let overhead = 16;
        let bytes = entry.encoded_len() + overhead;
        let with_stream = |batcher: &Self| {
            bytes + if batcher.streams.contains_key(&labels) { 0 } else { labels.len() + overhead }
        };
        let sealed = if self.bytes + with_stream(self) > MAX_PUSH { self.seal() } else { None };
        self.bytes += with_stream(self);
        self.first.get_or_insert_with(Instant::now);
        self.streams.entry(labels).or_default().push(entry);
        sealed
    }

    /// Ends the batch; none if there is nothing to send.
    pub(super) fn seal(&mut self) -> Option<Sealed> {
        self.bytes = 0;
        self.first = None;
        let mut entries = 0;
        let mut streams = Vec::new();
        for (labels, mut gathered) in std::mem::take(&mut self.streams) {
            gathered.sort_by_key(|entry| entry.timestamp);
            let last = gathered.last().and_then(|entry| entry.timestamp).unwrap_or_default();
            let newest = self.newest.get(&labels).copied().unwrap_or(last).max(last);
            let before = gathered.len();
            gathered.retain(|entry| {
                entry.timestamp.unwrap_or_default().seconds >= newest.seconds.saturating_sub(WINDOW_SECONDS)
            });
            self.dropped += before - gathered.len();
            if self.newest.len() >= MAX_STREAMS {
                self.newest.clear();
            }
            self.newest.insert(labels.clone(), newest);
            entries += gathered.len();
            if !gathered.is_empty() {
                streams.push(Stream { labels, entries: gathered });
            }
        }
        if entries == 0 {
            return None;
        }
        let push = PushRequest { streams }.encode_to_vec();
        match snap::raw::Encoder::new().compress_vec(&push) {
            Ok(body) => Some(Sealed { body: body.into(), entries }),
            Err(error) => {
                // Only for input over 4 GiB.
                tracing::error!(%error, "a push cannot be compressed");
                self.dropped += entries;
                None
            }
        }
    }

    /// Events that were too old to be sent, since the last call.
    pub(super) fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: model::Timestamp = model::Timestamp::from_seconds(20_000);

    fn at(seconds: i64, message: String) -> Event {
        Event { ts: model::Timestamp::from_seconds(seconds), ..super::super::tests_event(message) }
    }

    fn open(sealed: &Sealed) -> PushRequest {
        let bytes = snap::raw::Decoder::new().decompress_vec(&sealed.body).unwrap();
        assert!(bytes.len() <= MAX_PUSH, "{} bytes", bytes.len());
        PushRequest::decode(&*bytes).unwrap()
    }

    #[test]
    fn entries_are_in_order_and_too_old_ones_are_left_out() {
        let mut batcher = Batcher::new("r".into(), Duration::ZERO);
        for seconds in [10_000, 9_000, 10_001, 6_000] {
            assert_eq!(batcher.add(&at(seconds, String::new()), NOW), None);
        }
        let sealed = batcher.seal().unwrap();
        let seconds = |push: &PushRequest| -> Vec<i64> {
            push.streams[0].entries.iter().map(|entry| entry.timestamp.unwrap().seconds).collect()
        };
        assert_eq!(seconds(&open(&sealed)), [9_000, 10_000, 10_001]);
        assert_eq!((sealed.entries, batcher.take_dropped()), (3, 1));
        batcher.add(&at(1_000, String::new()), NOW);
        batcher.add(&at(9_999, String::new()), NOW);
        assert_eq!(seconds(&open(&batcher.seal().unwrap())), [9_999]);
        batcher.add(&at(1_000, String::new()), NOW);
        assert_eq!((batcher.seal(), batcher.take_dropped()), (None, 2));
        assert_eq!(batcher.seal(), None);
    }

    #[test]
    fn an_event_from_the_future_makes_nothing_too_old() {
        let mut batcher = Batcher::new("r".into(), Duration::ZERO);
        for seconds in [19_000, i64::MAX / 1_000_000, 20_001] {
            batcher.add(&at(seconds, String::new()), NOW);
        }
        let push = open(&batcher.seal().unwrap());
        let seconds: Vec<i64> =
            push.streams[0].entries.iter().map(|entry| entry.timestamp.unwrap().seconds).collect();
        assert_eq!(seconds, [19_000, 20_000, 20_001]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_batch_is_too_long_and_nothing_is_lost(sizes in prop::collection::vec(0usize..300_000, 1..20)) {
            let mut batcher = Batcher::new("router".into(), Duration::ZERO);
            let mut sent = 0;
            let mut sealed: Vec<Sealed> = Vec::new();
            for size in &sizes {
                sealed.extend(batcher.add(&at(5, "x".repeat(*size)), NOW));
            }
            sealed.extend(batcher.seal());
            for batch in &sealed {
                sent += open(batch).streams.iter().map(|stream| stream.entries.len()).sum::<usize>();
            }
            prop_assert_eq!(sent, sizes.len());
        }
    }
}
