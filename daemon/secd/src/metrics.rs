//! Prometheus text (exposition format 0.0.4).

use abi::Counter;
use enforce::xdp::PacketCount;
use policy::Policy;
use shippers::{EventCount, SinkStatus};
use std::fmt::Write as _;

/// One page of metrics.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// `secd_packets_total` and `secd_bytes_total` by zone, verdict and reason.
    pub fn packets(&mut self, counts: &[PacketCount], policy: &Policy) {
        for (name, help, value) in [
            ("secd_packets_total", "Packets judged.", (|c| c.packets) as fn(Counter) -> u64),
            ("secd_bytes_total", "Bytes judged.", |c| c.bytes),
        ] {
            self.head(name, "counter", help);
            for count in counts {
                let labels = [
                    ("zone", policy.zone_name(count.zone)),
                    ("verdict", count.action.name()),
                    ("reason", count.reason.name()),
                ];
                self.sample(name, &labels, value(count.counter));
            }
        }
    }

    /// Events by kind and action, and how the sinks do.
    pub fn events(&mut self, counts: &[EventCount], sinks: &[SinkStatus]) {
        self.head("secd_events_total", "counter", "Events published.");
        for count in counts {
            self.sample("secd_events_total", &[("kind", count.kind), ("action", count.action)], count.count);
        }
        for (name, help, value) in [
            (
                "secd_events_delivered_total",
                "Events stored by a sink.",
                (|s| s.delivered) as fn(&SinkStatus) -> u64,
            ),
            ("secd_events_lost_total", "Events a sink lost.", |s| s.lost + s.dropped),
        ] {
            self.head(name, "counter", help);
            for sink in sinks {
                self.sample(name, &[("sink", sink.name)], value(sink));
            }
        }
    }

    /// A metric without labels.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A metric with one label.
    pub fn by_label<'a>(
        &mut self,
        (name, kind, help): (&str, &str, &str),
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, kind, help);
        for (word, value) in values {
            self.sample(name, &[(label, word)], value);
        }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, word)| {
                let word = word.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                format!("{label}=\"{word}\"")
            })
            .collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::{Action, Reason, ZONE_SELF};

    #[test]
    fn a_page_is_prometheus_text() {
        let mut page = Page::default();
        let count = PacketCount {
            zone: ZONE_SELF,
            reason: Reason::BannedSource,
            action: Action::Drop,
            counter: Counter { packets: 3, bytes: 180 },
        };
        page.packets(&[count], &Policy::default());
        page.by_label(("secd_list_entries", "gauge", "Entries."), "list", [("a\"b", 2)]);
        assert_eq!(
            page.finish(),
            "# HELP secd_packets_total Packets judged.\n# TYPE secd_packets_total counter\n\
             secd_packets_total{zone=\"self\",verdict=\"drop\",reason=\"banned_source\"} 3\n\
             # HELP secd_bytes_total Bytes judged.\n# TYPE secd_bytes_total counter\n\
             secd_bytes_total{zone=\"self\",verdict=\"drop\",reason=\"banned_source\"} 180\n\
             # HELP secd_list_entries Entries.\n# TYPE secd_list_entries gauge\n\
             secd_list_entries{list=\"a\\\"b\"} 2\n"
        );
    }
}
