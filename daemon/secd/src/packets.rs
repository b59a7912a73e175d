//! From the kernel's records to events in people's words.

use abi::{Action, PacketRecord, Reason};
use model::{Body, Event, EventAction, Protocol, Severity, Timestamp};
use policy::Policy;
use std::{collections::HashMap, net::IpAddr, sync::Arc};

use crate::keeper::Now;

/// Names for the numbers of one generation.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Zones and rules.
    pub policy: Arc<Policy>,
    /// Address lists by number.
    pub lists: Vec<String>,
    /// Interfaces by index.
    pub interfaces: HashMap<u32, String>,
}

impl Names {
    /// What says so, in words: the rule with its place, the list, the decision, the signature.
    #[must_use]
    pub fn by(&self, reason: Reason, rule: u32, zone_from: u8) -> Option<String> {
        match reason {
            Reason::RuleAllowed | Reason::RuleDenied | Reason::RateLimited => {
                let id = u16::try_from(rule).ok()?;
                let (name, span) = match (self.policy.rule(id), self.policy.forward(id)) {
                    (Some(rule), _) => (format!("rule {id}"), &rule.span),
                    (None, Some(forward)) => (format!("forward {}", forward.name), &forward.span),
                    (None, None) => return None,
                };
                Some(format!("{name} ({}:{})", span.file, span.line))
            }
            Reason::DefaultDenied => Some(format!("default of zone {}", self.policy.zone_name(zone_from))),
            Reason::ListedSource | Reason::ListedDestination => {
                Some(format!("list {}", self.lists.get(usize::try_from(rule).ok()?)?))
            }
            Reason::BannedSource | Reason::BannedDestination => Some(format!("decision {rule}")),
            Reason::Signature => Some(format!("sid {rule}")),
            Reason::Established
            | Reason::NoState
            | Reason::Spoofed
            | Reason::WrongVlan
            | Reason::Malformed
            | Reason::Fragment
            | Reason::LinkEssential
            | Reason::Portless
            | Reason::NotIp
            | Reason::IcmpError
            | Reason::NoPlan
            | Reason::HalfSeen
            | Reason::PortScan
            | Reason::NewDevice
            | Reason::Isolated
            | Reason::Bogon
            | Reason::Unsolicited
            | Reason::Unresolved
            | Reason::OtherResolver => None,
        }
    }

    fn zone(&self, id: u8) -> Option<String> {
        (id != abi::ZONE_NONE).then(|| self.policy.zone_name(id).to_owned())
    }

    /// The event of one record; none if its numbers are not of this kernel line.
    #[must_use]
    pub fn event(&self, record: &PacketRecord, now: Now) -> Option<Event> {
        let reason = Reason::from_number(record.reason)?;
        let action = Action::ALL.get(usize::from(record.action))?;
        let action = match action {
            _ if record.observed != 0 => EventAction::Observe,
            Action::Pass => EventAction::Pass,
            Action::Drop => EventAction::Drop,
            Action::Reject => EventAction::Reject,
        };
        Some(Event {
            ts: wall_time(record.at, now),
            severity: severity(reason),
            action,
            zone: self.zone(record.zone_from),
            reason: Some(reason.name().into()),
            body: Body::Packet {
                src: address(record.source),
                dst: address(record.destination),
                proto: Protocol(record.protocol).to_string(),
                sport: u16::from_be_bytes(record.source_port),
                dport: u16::from_be_bytes(record.destination_port),
                vlan: record.vlan,
                interface: self
                    .interfaces
                    .get(&record.ifindex)
                    .cloned()
                    .unwrap_or_else(|| format!("#{}", record.ifindex)),
                length: record.length,
                zone_out: self.zone(record.zone_to),
                by: self.by(reason, record.rule, record.zone_from),
            },
        })
    }
}

/// The address as people write it.
#[must_use]
pub fn address(address: abi::Address) -> IpAddr {
    IpAddr::from(address).to_canonical()
}

/// The wall clock's time of a boot time in ns.
#[must_use]
pub fn wall_time(boot: u64, now: Now) -> Timestamp {
    let ago = i64::try_from(now.boot.saturating_sub(boot) / 1000).unwrap_or(i64::MAX);
    Timestamp(now.wall.0.saturating_sub(ago))
}

fn severity(reason: Reason) -> Severity {
    match reason {
        Reason::BannedSource
        | Reason::BannedDestination
        | Reason::ListedDestination
        | Reason::Signature
        | Reason::Spoofed
        | Reason::WrongVlan
        | Reason::PortScan
        | Reason::NewDevice
        | Reason::Unresolved => Severity::Notice,
        Reason::ListedSource
        | Reason::Established
        | Reason::RuleAllowed
        | Reason::RuleDenied
        | Reason::DefaultDenied
        | Reason::NoState
        | Reason::Malformed
        | Reason::Fragment
        | Reason::LinkEssential
        | Reason::Portless
        | Reason::NotIp
        | Reason::IcmpError
        | Reason::NoPlan
        | Reason::RateLimited
        | Reason::HalfSeen
        | Reason::Isolated
        | Reason::Bogon
        | Reason::Unsolicited
        | Reason::OtherResolver => Severity::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_an_event_with_its_reason() {
        let names = Names {
            lists: vec!["ipsum".into()],
            interfaces: HashMap::from([(4, "wan0".into())]),
            ..Names::default()
        };
        let record = PacketRecord {
            at: 4_000_000_000,
            source: abi::mapped([198, 51, 100, 7]),
            destination: abi::mapped([10, 2, 0, 9]),
            ifindex: 4,
            source_port: [0x12, 0x34],
            destination_port: [0, 22],
            protocol: 6,
            action: Action::Drop as u8,
            reason: Reason::ListedSource as u8,
            ..PacketRecord::default()
        };
        let now = Now { wall: Timestamp(100_000_000), boot: 5_000_000_000 };
        let event = names.event(&record, now).unwrap();
        assert_eq!(event.ts, Timestamp(99_000_000));
        assert_eq!((event.action, event.reason.as_deref()), (EventAction::Drop, Some("listed_source")));
        let Body::Packet { src, dport, interface, by, .. } = event.body else { panic!("a packet") };
        assert_eq!((src.to_string().as_str(), dport, interface.as_str()), ("198.51.100.7", 22, "wan0"));
        assert_eq!(by.as_deref(), Some("list ipsum"));
        assert_eq!(names.event(&PacketRecord { reason: 250, ..record }, now), None);
    }
}
