//! One alert for many packets: who scans, and who goes faster than let. Each packet has its own event; people want to
//! be told once.

use abi::{PacketRecord, Reason};
use model::{Body, Event, EventAction, Severity, Timestamp};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{packets, packets::Names};

/// The same source is told of at most this often.
const EVERY: Duration = Duration::from_secs(60);
/// Sources that are remembered. Of more, those told of longest ago are forgotten, and told of again.
pub const MAX_SOURCES: usize = 4096;

/// Sources that were told of.
#[derive(Debug, Default)]
pub struct Alerts {
    told: BTreeMap<(u8, IpAddr), Timestamp>,
}

impl Alerts {
    /// The alert of a record, if it is the first of its source for a while.
    pub fn of(&mut self, record: &PacketRecord, names: &Names, now: Timestamp) -> Option<Event> {
        let reason = Reason::from_number(record.reason)?;
        let source = packets::address(record.source);
        let message = match reason {
            Reason::PortScan => {
                format!("{source} tries many ports or hosts that deny it; its new flows wait for a while")
            }
            Reason::RateLimited => {
                let rule = names.by(reason, record.rule, record.zone_from);
                let by = rule.unwrap_or_else(|| "its zone".to_owned());
                format!("{source} starts flows faster than {by} lets it; what is more is dropped")
            }
            _ => return None,
        };
        let key = (record.reason, source);
        if self.told.get(&key).is_some_and(|told| now.since(*told) < EVERY) {
            return None;
        }
        self.told.insert(key, now);
        if self.told.len() > MAX_SOURCES {
            self.told.retain(|_, told| now.since(*told) < EVERY);
        }
        if self.told.len() > MAX_SOURCES {
            let oldest = self.told.iter().min_by_key(|(_, told)| **told).map(|(key, _)| *key)?;
            self.told.remove(&oldest);
        }
        Some(Event {
            ts: now,
            severity: Severity::Notice,
            action: EventAction::Alert,
            zone: (record.zone_from != abi::ZONE_NONE)
                .then(|| names.policy.zone_name(record.zone_from).to_owned()),
            reason: Some(reason.name().into()),
            body: Body::System { message, count: None },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(reason: Reason, last: u8) -> PacketRecord {
        let source = abi::mapped([198, 51, 100, last]);
        PacketRecord {
            source,
            reason: reason as u8,
            rule: u32::from(abi::RULE_DEFAULT),
            ..PacketRecord::default()
        }
    }

    #[test]
    fn a_scan_is_told_once_a_minute_and_source() {
        let (mut alerts, names) = (Alerts::default(), Names::default());
        let at = |seconds: i64| Timestamp::from_seconds(1_790_000_000 + seconds);
        let event = alerts.of(&record(Reason::PortScan, 7), &names, at(0)).unwrap();
        assert_eq!((event.action, event.reason.as_deref()), (EventAction::Alert, Some("port_scan")));
        assert_eq!(alerts.of(&record(Reason::PortScan, 7), &names, at(30)), None);
        assert!(alerts.of(&record(Reason::PortScan, 8), &names, at(30)).is_some());
        assert!(alerts.of(&record(Reason::RateLimited, 7), &names, at(30)).is_some(), "another matter");
        assert!(alerts.of(&record(Reason::PortScan, 7), &names, at(61)).is_some());
        assert_eq!(alerts.of(&record(Reason::DefaultDenied, 7), &names, at(61)), None);
    }

    #[test]
    fn spoofed_sources_do_not_fill_the_memory() {
        let (mut alerts, names) = (Alerts::default(), Names::default());
        for n in 0..6000_u32 {
            let [_, _, a, b] = n.to_be_bytes();
            let spoofed = PacketRecord { source: abi::mapped([10, 9, a, b]), ..record(Reason::PortScan, 0) };
            alerts.of(&spoofed, &names, Timestamp::from_seconds(1_790_000_000));
        }
        assert_eq!(alerts.told.len(), MAX_SOURCES);
    }
}
