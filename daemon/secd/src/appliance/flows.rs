//! Flows as people ask for them: filtered, the largest first; and what is at the top of everything.

use abi::{Action, FLOW_REPLY, FLOW_TAUGHT, MAX_FLOWS};
use enforce::xdp::KnownFlow;
use model::{Protocol, Reason};
use protocol::{ErrorReply, FlowOrder, FlowRow, Flows, FlowsQuery, RuleTraffic, Top, TopQuery, ZoneTraffic};
use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Appliance, answers::limit};
use crate::{
    clock,
    decisions::Failure,
    keeper::Now,
    packets::{self, Names},
};

impl Appliance {
    /// Flows the packet path knows.
    ///
    /// # Errors
    /// 503 the kernel's table cannot be read.
    pub fn flows(&self, query: &FlowsQuery) -> Result<Flows, Failure> {
        let mut rows = self.flow_rows()?;
        let total = rows.len() as u64;
        rows.retain(|row| wanted(query, row));
        let matching = rows.len() as u64;
        sort(&mut rows, query.sort.unwrap_or_default());
        rows.truncate(limit(query.limit));
        Ok(Flows { flows: rows, matching, total, capacity: self.flow_room().1 })
    }

    /// What is going on: zones, reasons, rules and flows with what they have carried.
    ///
    /// # Errors
    /// 503 the kernel's tables cannot be read.
    pub fn top(&self, query: &TopQuery) -> Result<Top, Failure> {
        let current = self.current.load_full();
        let mut rows = self.flow_rows()?;
        let mut zones: BTreeMap<u8, ZoneTraffic> = BTreeMap::new();
        let mut reasons = BTreeMap::new();
        let counts = self.counters_handle().packets();
        let counts = counts.map_err(|error| (503, ErrorReply::new(error.to_string(), None)))?;
        for count in counts {
            let zone = zones.entry(count.zone).or_default();
            zone.bytes += count.counter.bytes;
            match count.action {
                Action::Pass => zone.passed += count.counter.packets,
                Action::Drop | Action::Reject => {
                    zone.stopped += count.counter.packets;
                    *reasons.entry(count.reason.name().to_owned()).or_default() += count.counter.packets;
                }
            }
        }
        let mut zones: Vec<_> = zones
            .into_iter()
            .map(|(id, traffic)| ZoneTraffic {
                zone: current.loaded.config.policy.zone_name(id).to_owned(),
                ..traffic
            })
            .collect();
        for zone in &mut zones {
            zone.flows = rows.iter().filter(|row| row.zone == zone.zone).count() as u64;
        }
        let mut rules: Vec<_> = self
            .rules()
            .rules
            .into_iter()
            .filter(|rule| rule.packets > 0)
            .map(|rule| RuleTraffic {
                rule: rule
                    .id
                    .map_or_else(|| format!("default {}", rule.from.join(", ")), |id| id.to_string()),
                comment: rule.comment.unwrap_or_default(),
                action: rule.action,
                packets: rule.packets,
                bytes: rule.bytes,
            })
            .collect();
        rules.sort_by_key(|rule| Reverse(rule.packets));
        let (count, capacity) = (rows.len() as u64, self.flow_room().1);
        sort(&mut rows, FlowOrder::Bytes);
        let most = limit(query.limit);
        rows.truncate(most);
        rules.truncate(most);
        Ok(Top { at: clock::now().wall, flows: rows, open: count, capacity, zones, rules, reasons })
    }

    /// Flows that hold a place which no newcomer takes, and how many there can be.
    pub(super) fn flow_room(&self) -> (u64, u64) {
        let counts = self.flows_handle().counts();
        // Every flow has a place for each way.
        (counts.assured as u64 / 2, counts.places as u64 / 2)
    }

    /// Every open flow once, in the direction it was opened.
    pub(super) fn flow_rows(&self) -> Result<Vec<FlowRow>, Failure> {
        let names = Arc::clone(&self.current.load().names);
        let known = self.flows_handle().list(MAX_FLOWS as usize);
        let mut known = known.map_err(|error| (503, ErrorReply::new(error.to_string(), None)))?;
        // Each flow stands under both of its tuples; the one that opened it speaks, or the only one there is.
        known.retain(|flow| flow.value.flags & FLOW_REPLY == 0 || flow.value.flags & FLOW_TAUGHT != 0);
        let now = clock::now();
        Ok(known.into_iter().map(|flow| row(&flow, &names, now)).collect())
    }
}

fn row(flow: &KnownFlow, names: &Names, now: Now) -> FlowRow {
    let (mut src, mut dst) = (packets::address(flow.key.source), packets::address(flow.key.destination));
    let mut ports = (flow.key.source_port, flow.key.destination_port);
    if flow.value.flags & FLOW_REPLY != 0 {
        std::mem::swap(&mut src, &mut dst);
        ports = (ports.1, ports.0);
    }
    let reason = Reason::from_number(flow.value.reason).unwrap_or(Reason::Established);
    let verdict = Action::ALL.get(usize::from(flow.value.action)).map_or("pass", |action| action.name());
    FlowRow {
        zone: names.policy.zone_name(flow.value.zone_from).to_owned(),
        zone_out: (flow.value.zone_to != 0).then(|| names.policy.zone_name(flow.value.zone_to).to_owned()),
        src,
        dst,
        proto: Protocol(flow.key.protocol).to_string(),
        sport: u16::from_be_bytes(ports.0),
        dport: u16::from_be_bytes(ports.1),
        verdict: verdict.into(),
        reason: reason.name().into(),
        by: names.by(reason, flow.value.rule, flow.value.zone_from),
        packets: flow.value.packets,
        bytes: flow.value.bytes,
        idle_ms: now.boot.saturating_sub(flow.last_seen()) / 1_000_000,
    }
}

fn wanted(query: &FlowsQuery, row: &FlowRow) -> bool {
    query.zone.as_ref().is_none_or(|zone| row.zone == *zone || row.zone_out.as_ref() == Some(zone))
        && query.address.is_none_or(|net| net.contains(&row.src) || net.contains(&row.dst))
        && query.port.is_none_or(|port| row.sport == port || row.dport == port)
        && query.proto.is_none_or(|proto| row.proto == proto.to_string())
}

fn sort(rows: &mut [FlowRow], order: FlowOrder) {
    match order {
        FlowOrder::Bytes => rows.sort_by_key(|row| Reverse(row.bytes)),
        FlowOrder::Packets => rows.sort_by_key(|row| Reverse(row.packets)),
        FlowOrder::Recent => rows.sort_by_key(|row| row.idle_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(text: &str, bytes: u64, idle_ms: u64) -> FlowRow {
        let words: Vec<_> = text.split(' ').collect();
        FlowRow {
            zone: words[0].into(),
            zone_out: Some(words[1].into()),
            src: words[2].parse().unwrap(),
            dst: words[3].parse().unwrap(),
            proto: words[4].into(),
            sport: 50_000,
            dport: words[5].parse().unwrap(),
            verdict: "pass".into(),
            reason: "established".into(),
            by: None,
            packets: bytes / 100,
            bytes,
            idle_ms,
        }
    }

    #[test]
    fn flows_are_found_by_either_end_and_sorted() {
        let mut rows = vec![
            flow("home wan 10.1.0.9 192.0.2.1 tcp 443", 500, 3),
            flow("iot home 10.4.0.9 10.1.0.9 udp 53", 9000, 7),
            flow("guest wan fd00::5 2001:db8::1 tcp 22", 700, 1),
        ];
        let places = |query: FlowsQuery| -> Vec<usize> {
            (0..rows.len()).filter(|place| wanted(&query, &rows[*place])).collect()
        };
        assert_eq!(places(FlowsQuery::default()), [0, 1, 2]);
        assert_eq!(places(FlowsQuery { zone: Some("home".into()), ..FlowsQuery::default() }), [0, 1]);
        let net = |text: &str| Some(text.parse().unwrap());
        assert_eq!(places(FlowsQuery { address: net("10.1.0.0/24"), ..FlowsQuery::default() }), [0, 1]);
        assert_eq!(places(FlowsQuery { address: net("2001:db8::1/128"), ..FlowsQuery::default() }), [2]);
        assert_eq!(places(FlowsQuery { port: Some(22), ..FlowsQuery::default() }), [2]);
        assert_eq!(places(FlowsQuery { port: Some(50_000), ..FlowsQuery::default() }), [0, 1, 2]);
        assert_eq!(places(FlowsQuery { proto: Some(Protocol::UDP), ..FlowsQuery::default() }), [1]);
        let mut bytes = |order| -> Vec<u64> {
            sort(&mut rows, order);
            rows.iter().map(|row| row.bytes).collect()
        };
        assert_eq!(bytes(FlowOrder::Bytes), [9000, 700, 500]);
        assert_eq!(bytes(FlowOrder::Recent), [700, 500, 9000]);
        assert_eq!(bytes(FlowOrder::Packets), [9000, 700, 500]);
    }
}
