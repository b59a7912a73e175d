//! Counts matches of rules with `threshold` or `detection_filter`, and says which of them speak.

use std::collections::HashMap;
use std::net::IpAddr;

use model::Timestamp;

use crate::keywords::threshold::{Threshold, ThresholdKind, Track};

/// Counters of all rules.
#[derive(Debug, Default)]
pub(crate) struct Thresholds {
    counters: HashMap<Key, Counter>,
    /// Matches that spoke because no counter was free for them.
    pub untracked: u64,
}

/// What a match does after it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// It acts and makes an alert.
    Alert,
    /// It acts without a further alert.
    Quiet,
    /// It counts only.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    rule: u32,
    subject: Subject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Address(IpAddr),
    Pair(IpAddr, IpAddr),
    Flow(u64),
    All,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    started: Timestamp,
    seconds: u32,
    count: u32,
}

impl Thresholds {
    /// Counts a match; says what it does.
    pub(crate) fn count(
        &mut self,
        now: Timestamp,
        rule: u32,
        threshold: &Threshold,
        (source, destination, flow): (IpAddr, IpAddr, u64),
        limit: usize,
    ) -> Speech {
        let subject = match threshold.track {
            Track::Source => Subject::Address(source),
            Track::Destination => Subject::Address(destination),
            Track::Both => Subject::Pair(source, destination),
            Track::Flow => Subject::Flow(flow),
            Track::Rule => Subject::All,
        };
        let key = Key { rule, subject };
        if self.counters.len() >= limit && !self.counters.contains_key(&key) {
            self.counters.retain(|_, counter| !counter.is_over(now));
            if self.counters.len() >= limit {
                self.untracked += 1;
                return Speech::Alert;
            }
        }
        let fresh = Counter { started: now, seconds: threshold.seconds, count: 0 };
        let counter = self.counters.entry(key).or_insert(fresh);
        if counter.is_over(now) {
            *counter = fresh;
        }
        counter.count = counter.count.saturating_add(1);
        let told = |alert: bool, otherwise: Speech| if alert { Speech::Alert } else { otherwise };
        match threshold.kind {
            ThresholdKind::Limit => told(counter.count <= threshold.count, Speech::Quiet),
            ThresholdKind::Both if counter.count < threshold.count => Speech::Nothing,
            ThresholdKind::Both => told(counter.count == threshold.count, Speech::Quiet),
            ThresholdKind::DetectionFilter => told(counter.count > threshold.count, Speech::Nothing),
            ThresholdKind::Threshold => {
                let alert = counter.count >= threshold.count;
                if alert {
                    *counter = fresh;
                }
                told(alert, Speech::Nothing)
            }
        }
    }
}

impl Counter {
    fn is_over(&self, now: Timestamp) -> bool {
        now.since(self.started).as_secs() >= u64::from(self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(kind: ThresholdKind, times: &[i64]) -> Vec<Speech> {
        let mut thresholds = Thresholds::default();
        let threshold = Threshold { kind, track: Track::Source, count: 2, seconds: 10 };
        let ends = ([1, 1, 1, 1].into(), [2, 2, 2, 2].into(), 1);
        let at = |t: &i64| thresholds.count(Timestamp::from_seconds(*t), 0, &threshold, ends, 16);
        times.iter().map(at).collect()
    }

    #[test]
    fn each_kind() {
        let times = [0, 1, 2, 3, 4, 20, 21, 22];
        let (t, q, f) = (Speech::Alert, Speech::Quiet, Speech::Nothing);
        assert_eq!(run(ThresholdKind::Limit, &times), [t, t, q, q, q, t, t, q]);
        assert_eq!(run(ThresholdKind::Threshold, &times), [f, t, f, t, f, f, t, f]);
        assert_eq!(run(ThresholdKind::Both, &times), [f, t, q, q, q, f, t, q]);
        assert_eq!(run(ThresholdKind::DetectionFilter, &times), [f, f, t, t, t, f, f, t]);
    }

    #[test]
    fn a_full_table_speaks_and_counts() {
        let mut thresholds = Thresholds::default();
        let threshold =
            Threshold { kind: ThresholdKind::DetectionFilter, track: Track::Source, count: 5, seconds: 10 };
        for last in 0..5 {
            let ends = ([1, 1, 1, last].into(), [2, 2, 2, 2].into(), 1);
            let spoke = thresholds.count(Timestamp::from_seconds(1), 0, &threshold, ends, 4);
            assert_eq!(spoke, if last == 4 { Speech::Alert } else { Speech::Nothing });
        }
        assert_eq!(thresholds.untracked, 1);
        let ends = ([1, 1, 1, 9].into(), [2, 2, 2, 2].into(), 1);
        assert_eq!(thresholds.count(Timestamp::from_seconds(100), 0, &threshold, ends, 4), Speech::Nothing);
    }
}
