//! What Loki would keep and what it would refuse, entry by entry.

use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};

use crate::{labels, wire::PushRequest};

/// The limits of Loki's default configuration (`limits_config`) that a shipper can run into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a push, decompressed; more can never succeed (`ingestion_burst_size_mb`).
    pub push_bytes: usize,
    /// Labels of a stream (`max_label_names_per_series`).
    pub labels: usize,
    /// Bytes of a label name.
    pub label_name_bytes: usize,
    /// Bytes of a label value.
    pub label_value_bytes: usize,
    /// Bytes of a line (`max_line_size`).
    pub line_bytes: usize,
    /// Structured metadata of an entry, number (`max_structured_metadata_entries_count`).
    pub metadata_count: usize,
    /// Structured metadata of an entry, bytes (`max_structured_metadata_size`).
    pub metadata_bytes: usize,
    /// Nanoseconds that an entry may be older than the newest of its stream (half of `max_chunk_age`).
    pub window: i128,
    /// Nanoseconds that an entry may be older than now (`reject_old_samples_max_age`).
    pub oldest: i128,
    /// Nanoseconds that an entry may be ahead of now (`creation_grace_period`).
    pub ahead: i128,
    /// Entries that this receiver keeps; the oldest go.
    pub kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: i128 = 1_000_000_000;
        Self {
            push_bytes: 6 * 1024 * 1024,
            labels: 15,
            label_name_bytes: 1024,
            label_value_bytes: 2048,
            line_bytes: 256 * 1024,
            metadata_count: 128,
            metadata_bytes: 64 * 1024,
            window: 3600 * SECOND,
            oldest: 7 * 86_400 * SECOND,
            ahead: 600 * SECOND,
            kept: 500_000,
        }
    }
}

/// An entry that was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Nanoseconds since 1970, as Loki prints it.
    pub ts: String,
    /// Labels of its stream.
    pub labels: BTreeMap<String, String>,
    /// Structured metadata.
    pub metadata: BTreeMap<String, String>,
    /// The line.
    pub line: String,
}

/// Why a push, or a part of it, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The push has no stream or a stream has no entry.
    #[error("the push has no entries")]
    Empty,
    /// Labels that cannot be read, too many, too long or none.
    #[error("stream `{0}`: {1}")]
    Labels(String, String),
    /// A line over the limit.
    #[error("a line of {0} bytes is longer than {1}")]
    Line(usize, usize),
    /// Structured metadata over the limits or with a wrong name.
    #[error("structured metadata: {0}")]
    Metadata(String),
    /// Older than the newest of its stream minus the window.
    #[error("entry too far behind, {0} ns older than the newest of its stream")]
    Behind(i128),
    /// Older than anything that is taken.
    #[error("entry is {0} ns old")]
    Old(i128),
    /// From the future.
    #[error("entry is {0} ns ahead")]
    Ahead(i128),
}

/// Everything that was kept.
#[derive(Debug, Default)]
pub struct Ledger {
    limits: Limits,
    newest: BTreeMap<BTreeMap<String, String>, i128>,
    entries: VecDeque<Entry>,
    forgotten: usize,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What is kept, in the order it came.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Entries that were kept and had to go for newer ones.
    #[must_use]
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Keeps what is good in `push` and returns how many entries that were, and everything that is wrong.
    pub fn push(&mut self, push: PushRequest, now: i128) -> (usize, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let mut kept = 0;
        if push.streams.is_empty() || push.streams.iter().any(|stream| stream.entries.is_empty()) {
            refusals.push(Refusal::Empty);
        }
        for stream in push.streams {
            let labels = match self.labels(&stream.labels) {
                Ok(labels) => labels,
                Err(why) => {
                    refusals.push(Refusal::Labels(stream.labels, why));
                    continue;
                }
            };
            for entry in stream.entries {
                let newest = self.newest.get(&labels).copied().unwrap_or(i128::MIN);
                let refusal = self.refusal(&entry, newest, now);
                if let Some(refusal) = refusal {
                    refusals.push(refusal);
                    continue;
                }
                self.newest.insert(labels.clone(), newest.max(entry.nanoseconds));
                self.entries.push_back(Entry {
                    ts: entry.nanoseconds.to_string(),
                    labels: labels.clone(),
                    metadata: entry.metadata,
                    line: entry.line,
                });
                kept += 1;
                if self.entries.len() > self.limits.kept {
                    self.entries.pop_front();
                    self.forgotten += 1;
                }
            }
        }
        (kept, refusals)
    }

    fn labels(&self, text: &str) -> Result<BTreeMap<String, String>, String> {
        let labels = labels::parse(text).map_err(|error| error.to_string())?;
        if labels.is_empty() {
            return Err("at least one label is required".into());
        }
        if labels.len() > self.limits.labels {
            return Err(format!("{} labels, at most {}", labels.len(), self.limits.labels));
        }
        for (name, value) in &labels {
            if name.len() > self.limits.label_name_bytes || value.len() > self.limits.label_value_bytes {
                return Err(format!("the label `{name}` is too long"));
            }
        }
        Ok(labels)
    }

    fn refusal(&self, entry: &crate::StreamEntry, newest: i128, now: i128) -> Option<Refusal> {
        let limits = &self.limits;
        let at = entry.nanoseconds;
        if now - at > limits.oldest {
            return Some(Refusal::Old(now - at));
        }
        if at - now > limits.ahead {
            return Some(Refusal::Ahead(at - now));
        }
        if entry.line.len() > limits.line_bytes {
            return Some(Refusal::Line(entry.line.len(), limits.line_bytes));
        }
        if entry.metadata.len() > limits.metadata_count {
            return Some(Refusal::Metadata(format!("{} pairs", entry.metadata.len())));
        }
        if let Some(name) = entry.metadata.keys().find(|name| !labels::is_name(name)) {
            return Some(Refusal::Metadata(format!("the name `{name}`")));
        }
        let bytes: usize = entry.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > limits.metadata_bytes {
            return Some(Refusal::Metadata(format!("{bytes} bytes")));
        }
        (newest != i128::MIN && at < newest - limits.window).then(|| Refusal::Behind(newest - at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Stream, StreamEntry};

    const NOW: i128 = 1_790_000_000_000_000_000;

    fn entry(ago_seconds: i128, line: &str) -> StreamEntry {
        let nanoseconds = NOW - ago_seconds * 1_000_000_000;
        StreamEntry { nanoseconds, line: line.into(), metadata: BTreeMap::new() }
    }

    fn push(labels: &str, entries: Vec<StreamEntry>) -> PushRequest {
        PushRequest { streams: vec![Stream { labels: labels.into(), entries }] }
    }

    #[test]
    fn good_entries_of_a_bad_push_are_kept() {
        let mut ledger = Ledger::new(Limits::default());
        let long = "x".repeat(256 * 1024 + 1);
        let entries = vec![
            entry(0, "a"),
            entry(3599, "b"),
            entry(3601, "c"),
            entry(0, &long),
            entry(8 * 86_400, "old"),
            entry(-700, "ahead"),
        ];
        let (kept, refusals) = ledger.push(push("{job=\"x\"}", entries), NOW);
        assert_eq!(kept, 2);
        assert!(
            matches!(
                refusals[..],
                [Refusal::Behind(_), Refusal::Line(..), Refusal::Old(_), Refusal::Ahead(_)]
            ),
            "{refusals:?}"
        );
        // Another stream has a newest of its own.
        assert_eq!(ledger.push(push("{job=\"y\"}", vec![entry(4000, "c")]), NOW), (1, vec![]));
        let lines: Vec<_> = ledger.entries().map(|entry| entry.line.as_str()).collect();
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn labels_and_metadata_have_limits() {
        let mut ledger = Ledger::new(Limits { kept: 1, ..Limits::default() });
        let labels = |count: usize| {
            let labels: Vec<_> = (0..count).map(|place| format!("l{place}=\"v\"")).collect();
            format!("{{{}}}", labels.join(","))
        };
        assert_eq!(ledger.push(push(&labels(15), vec![entry(0, "a")]), NOW).0, 1);
        for wrong in [labels(16), "{}".into(), "job".into(), format!("{{a=\"{}\"}}", "v".repeat(2049))] {
            let (kept, refusals) = ledger.push(push(&wrong, vec![entry(0, "a")]), NOW);
            assert!(kept == 0 && matches!(refusals[..], [Refusal::Labels(..)]), "{wrong}: {refusals:?}");
        }
        let with = |metadata: BTreeMap<String, String>| StreamEntry { metadata, ..entry(0, "m") };
        for wrong in [
            with([("a-b".into(), "c".into())].into()),
            with((0..129).map(|place| (format!("m{place}"), String::new())).collect()),
            with([("a".into(), "c".repeat(64 * 1024))].into()),
        ] {
            let (kept, refusals) = ledger.push(push("{job=\"x\"}", vec![wrong]), NOW);
            assert!(kept == 0 && matches!(refusals[..], [Refusal::Metadata(_)]), "{refusals:?}");
        }
        assert_eq!(ledger.push(PushRequest::default(), NOW), (0, vec![Refusal::Empty]));
        assert_eq!(ledger.push(push("{job=\"x\"}", vec![entry(0, "b")]), NOW), (1, vec![]));
        assert_eq!((ledger.entries().len(), ledger.forgotten()), (1, 1));
    }
}
