//! A small world of zones, rules, devices, rates, bans and lists: as a plan, and what stands beside it.

use abi::{
    Action, BanValue, DIRECTION_IN, DIRECTION_OUT, ListValue, POLICY_ADDRESSED, POLICY_CONTINUE,
    POLICY_LIMIT, POLICY_LOG, POLICY_OBSERVE, PolicyValue, RULE_DEFAULT, ResolvedKey, ResolvedValue,
    ZONE_ANTI_SPOOF, ZONE_BOGONS, ZONE_DNS_DROP, ZONE_DNS_REDIRECT, ZONE_FIRST, ZONE_INSPECT, ZONE_IS_WAN,
    ZONE_ISOLATE, ZONE_LEARN, ZONE_LOOSE, ZONE_MULTICAST, ZONE_NAMES, ZONE_OBSERVE, ZONE_QUARANTINE,
    ZONE_RESOLVED, ZONE_SCAN, ZONE_SELF, ZONE_STRICT, ZoneFlags, ZoneId, resolver_zone,
};
use enforce::xdp::{Dataplane, Orders};
use ipnet::IpNet;
use kernel_tests::plans::row;
use policy::{HostTables, Mac, Plan, Port, Rate, Row, Selector};
use std::sync::Arc;

pub(crate) const WAN: ZoneId = ZONE_FIRST;
pub(crate) const LAN: ZoneId = 4;
pub(crate) const IOT: ZoneId = 5;
pub(crate) const GUEST: ZoneId = 6;

/// VLAN of each zone.
pub(crate) const VLANS: [(u16, ZoneId); 4] = [(0, WAN), (100, LAN), (400, IOT), (500, GUEST)];

/// Devices; the last is in no group.
pub(crate) const MACS: [[u8; 6]; 4] =
    [[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4], [2, 0, 0, 0, 0, 5]];

/// Entries of the flow table, so many that none has to make way.
pub(crate) const FLOWS: u32 = abi::DEFAULT_FLOWS;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The plan of a round: what zones are like and some rules change from round to round.
pub(crate) fn plan(round: usize) -> Plan {
    let if_round = |every: usize, rest: usize, flag: u32| if round % every == rest { flag } else { 0 };
    let spoof = if_round(2, 0, ZONE_ANTI_SPOOF);
    let flags = |flags| ZoneFlags { flags };
    Plan {
        observe: round % 6 == 5,
        ports: VLANS.map(|(vlan, zone)| Port { interface: "lo".into(), vlan, zone }).into(),
        zones: [
            (
                WAN,
                flags(
                    ZONE_IS_WAN
                        | spoof
                        | if_round(4, 2, ZONE_SCAN)
                        | if_round(4, 3, ZONE_BOGONS)
                        | if_round(3, 1, ZONE_STRICT),
                ),
            ),
            (
                LAN,
                flags(
                    spoof
                        | if_round(3, 0, ZONE_ISOLATE)
                        | if_round(4, 1, ZONE_LOOSE)
                        | if_round(3, 2, ZONE_RESOLVED)
                        | if_round(6, 2, ZONE_LEARN),
                ),
            ),
            (
                IOT,
                flags(
                    spoof
                        | ZONE_INSPECT
                        | if_round(3, 1, ZONE_NAMES)
                        | if_round(4, 0, ZONE_DNS_DROP)
                        | if_round(4, 1, ZONE_DNS_REDIRECT),
                ),
            ),
            (GUEST, flags(if_round(3, 1, ZONE_OBSERVE) | if_round(2, 0, ZONE_QUARANTINE))),
        ]
        .into(),
        networks: [
            ("0.0.0.0/0", WAN),
            ("::/0", WAN),
            ("10.1.0.0/16", LAN),
            ("fd00:1::/64", LAN),
            ("10.4.0.0/24", IOT),
            ("fd00:4::/64", IOT),
            ("10.5.0.0/24", GUEST),
            ("10.1.0.1/32", ZONE_SELF),
            ("fd00:1::1/128", ZONE_SELF),
            ("203.0.113.1/32", ZONE_SELF),
            ("224.0.0.0/4", ZONE_MULTICAST),
            ("ff00::/8", ZONE_MULTICAST),
        ]
        .map(|(text, zone)| (net(text), zone))
        .into(),
        upstreams: [net("192.0.2.70/32")].into(),
        protected: ["10.1.0.1/32", "198.51.100.8/32"].map(net).into(),
        listed: [
            ("192.0.2.64/26", 1, DIRECTION_IN | DIRECTION_OUT, 0),
            ("198.51.100.0/24", 0, DIRECTION_IN, 0),
            ("2001:db8:bad::/48", 2, DIRECTION_IN | DIRECTION_OUT, 1),
        ]
        .map(|(text, list, directions, observe)| (net(text), ListValue { list, directions, observe }))
        .into(),
        rows: rows(round),
        sets: vec![
            [net("198.51.100.8/32"), net("203.0.113.192/26"), net("2620:fe::/48")].into(),
            [net("10.1.7.0/24"), net("10.4.0.0/29"), net("fd00:4::2/128")].into(),
            [].into(),
        ],
        devices: vec![vec![Mac(MACS[0]), Mac(MACS[1])], vec![Mac(MACS[1]), Mac(MACS[2])]],
        rates: vec![
            Rate { interval: 3_600_000_000_000, burst: 12 },
            Rate { interval: 3_600_000_000_000, burst: 60 },
        ],
        zone_rates: if round % 4 == 1 { [(GUEST, 1)].into() } else { [].into() },
        names: [(2, 0b101)].into(),
        resolved: [(LAN, resolver_zone("lan")), (IOT, resolver_zone("iot"))].into(),
        ..Plan::default()
    }
}

fn rows(round: usize) -> Vec<Row> {
    let rule = |action: Action, rule: u16, flags: u8| PolicyValue { action: action as u8, flags, rule };
    let everything: [(u8, u16, u16); 4] = [1, 6, 17, 58].map(|protocol| (protocol, 0, u16::MAX));
    let both = |first, last| [(6, first, last), (17, first, last)];
    let to_iot = if round.is_multiple_of(2) { Action::Pass } else { Action::Drop };
    let mut rows = vec![
        row(&[LAN, GUEST], &[WAN, IOT], &both(22, 22), rule(Action::Pass, 12, POLICY_CONTINUE | POLICY_LOG)),
        Row { rate: Some(0), ..row(&[LAN], &[WAN], &both(8007, 8007), rule(Action::Pass, 11, POLICY_LIMIT)) },
        Row { device: Some(0), ..row(&[GUEST], &[WAN], &both(8000, 8008), rule(Action::Pass, 13, 0)) },
        Row { device: Some(1), ..row(&[LAN], &[IOT], &both(443, 443), rule(Action::Reject, 15, 0)) },
        Row {
            source: Selector::Set(0),
            ..row(&[WAN], &[ZONE_SELF], &both(53, 53), rule(Action::Pass, 14, 0))
        },
        Row {
            source: Selector::Set(1),
            destination: Selector::Set(0),
            ..row(&[LAN, IOT], &[WAN], &both(40_000, 40_000), rule(Action::Drop, 16, 0))
        },
        Row {
            destination: Selector::Set(0),
            ..row(&[LAN], &[WAN], &both(443, 443), rule(Action::Pass, 18, POLICY_ADDRESSED))
        },
        Row {
            destination: Selector::Set(2),
            ..row(&[IOT], &[WAN], &everything, rule(Action::Pass, 5, POLICY_LOG))
        },
        row(&[IOT], &[WAN], &both(443, 443), rule(Action::Pass, 6, 0)),
        row(&[IOT], &[WAN], &both(8000, 8007), rule(Action::Drop, 7, 0)),
        row(&[GUEST], &[WAN], &both(53, 53), rule(Action::Pass, 8, 0)),
        row(&[WAN], &[ZONE_SELF], &both(443, 443), rule(Action::Pass, 9, 0)),
        row(&[WAN], &[IOT], &both(443, 443), rule(to_iot, 10, 0)),
    ];
    let wide = [
        (LAN, WAN, rule(Action::Pass, 0, 0)),
        (LAN, IOT, rule(Action::Pass, 1, POLICY_LOG)),
        (LAN, GUEST, rule(Action::Drop, 2, POLICY_OBSERVE)),
        (LAN, ZONE_SELF, rule(Action::Pass, 3, 0)),
        (LAN, LAN, rule(Action::Pass, 17, 0)),
        (IOT, LAN, rule(Action::Reject, 4, 0)),
        (IOT, ZONE_MULTICAST, rule(Action::Pass, 5, 0)),
        (GUEST, WAN, rule(Action::Reject, RULE_DEFAULT, 0)),
        (WAN, ZONE_SELF, rule(Action::Drop, RULE_DEFAULT, POLICY_LOG)),
    ];
    rows.extend(wide.map(|(from, to, value)| row(&[from], &[to], &everything, value)));
    rows.push(Row {
        from: u64::MAX,
        to: u64::MAX,
        ..row(&[], &[], &[], rule(Action::Drop, RULE_DEFAULT, 0))
    });
    rows
}

/// Prefixes and until when they are allowed.
type Allows = Vec<(IpNet, u64)>;

/// Bans of a round, and timed allows.
fn orders(round: usize) -> (Vec<(IpNet, BanValue)>, Allows) {
    let ban = |until, decision, directions, observe| BanValue {
        until,
        decision,
        directions,
        observe,
        ..BanValue::default()
    };
    let bans = vec![
        (net("203.0.113.66/32"), ban(u64::MAX, 11, DIRECTION_IN, 0)),
        (net("203.0.113.128/25"), ban(u64::MAX, 12, DIRECTION_IN | DIRECTION_OUT, u8::from(round % 4 == 3))),
        (net("2001:db8:1::66/128"), ban(u64::MAX, 13, DIRECTION_OUT, 0)),
        (net("2001:db8:2::/64"), ban(u64::MAX, 16, DIRECTION_IN | DIRECTION_OUT, 0)),
        (net("10.4.0.9/32"), ban(if round.is_multiple_of(2) { 1 } else { u64::MAX }, 14, DIRECTION_IN, 0)),
        (net("198.51.100.8/32"), ban(u64::MAX, 15, DIRECTION_IN, 0)),
    ];
    (bans, vec![(net("203.0.113.200/32"), u64::MAX), (net("203.0.113.66/32"), 1)])
}

/// What was answered: to whom, what, until when.
fn answers() -> Vec<(ZoneId, abi::Address, ResolvedValue)> {
    let to = |zone, address: &str, until| {
        (zone, policy::to_kernel(address.parse().unwrap()), ResolvedValue { until, patterns: 0b110 })
    };
    vec![
        to(LAN, "9.9.9.9", u64::MAX),
        to(LAN, "2620:fe::fe", u64::MAX),
        to(LAN, "203.0.113.200", 1),
        to(IOT, "203.0.113.200", u64::MAX),
    ]
}

/// Puts the world of a round into the kernel.
pub(crate) fn apply(dataplane: &mut Dataplane, handle: &mut Orders, round: usize) {
    let (bans, allows) = orders(round);
    handle.set_bans(&bans).unwrap();
    for (net, until) in allows {
        handle.set_allow(net, until).unwrap();
    }
    let plan = plan(round);
    let mut resolved = dataplane.resolved().unwrap();
    for (zone, address, value) in answers() {
        resolved.set(ResolvedKey { address, zone: plan.resolved[&zone] }, value).unwrap();
    }
    assert!(dataplane.apply(&plan).unwrap().missing.is_empty());
}

/// The world of a round on the host.
pub(crate) fn tables(round: usize) -> HostTables {
    let mut tables = HostTables::with_flows(Arc::new(plan(round)), FLOWS).unwrap();
    let (bans, allows) = orders(round);
    // The value says how long its prefix is, as the kernel has it.
    tables.bans = bans.into_iter().map(|(net, ban)| (net, BanValue { bits: bits(net), ..ban })).collect();
    tables.allows = allows.into_iter().collect();
    tables.resolved = answers().into_iter().map(|(zone, address, value)| ((zone, address), value)).collect();
    tables
}

fn bits(net: IpNet) -> u8 {
    net.prefix_len() + if matches!(net, IpNet::V4(_)) { 96 } else { 0 }
}
