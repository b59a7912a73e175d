//! Small plans for tests: zones, rows and lists without a config.

use abi::{
    Action, DIRECTION_IN, ListValue, PolicyValue, RULE_DEFAULT, ZONE_INSPECT, ZONE_IS_WAN, ZONE_SELF,
    ZoneFlags, ZoneId,
};
use ipnet::IpNet;
use model::Protocol;
use policy::{Plan, Port, Row, Selector, ServiceMatch};
use std::net::Ipv4Addr;

/// The outside, at `wan0`.
pub const WAN: ZoneId = 3;
/// The inside, at `lan0`.
pub const LAN: ZoneId = 4;

/// What a rule says.
#[must_use]
pub fn value(action: Action, rule: u16) -> PolicyValue {
    PolicyValue { action: action as u8, flags: 0, rule }
}

/// A row between zones, for protocols and ports (none: everything).
#[must_use]
pub fn row(from: &[ZoneId], to: &[ZoneId], services: &[(u8, u16, u16)], value: PolicyValue) -> Row {
    let bits = |zones: &[ZoneId]| zones.iter().fold(0, |bits, zone| bits | 1 << zone);
    Row {
        from: bits(from),
        to: bits(to),
        source: Selector::Any,
        destination: Selector::Any,
        device: None,
        services: services
            .iter()
            .map(|(protocol, first, last)| ServiceMatch::new(Protocol(*protocol), *first, *last))
            .collect(),
        value,
        rate: None,
    }
}

/// The row that says what happens to all others.
#[must_use]
pub fn default_row(action: Action) -> Row {
    Row { from: u64::MAX, to: u64::MAX, ..row(&[], &[], &[], value(action, RULE_DEFAULT)) }
}

/// A router between [`WAN`] and [`LAN`]: out goes everything, in comes what goes to `open` (TCP and UDP).
#[must_use]
pub fn router(open: u16) -> Plan {
    let net = |text: &str| -> IpNet { text.parse().unwrap_or_else(|_| panic!("{text} is no network")) };
    let both = |port| [(6, port, port), (17, port, port)];
    Plan {
        ports: vec![
            Port { interface: "wan0".into(), vlan: 0, zone: WAN },
            Port { interface: "lan0".into(), vlan: 0, zone: LAN },
        ],
        zones: [(WAN, ZoneFlags { flags: ZONE_IS_WAN | ZONE_INSPECT }), (LAN, ZoneFlags::default())].into(),
        networks: [
            ("0.0.0.0/0", WAN),
            ("::/0", WAN),
            ("10.1.0.0/24", LAN),
            ("10.1.0.1/32", ZONE_SELF),
            ("198.51.100.1/32", ZONE_SELF),
        ]
        .map(|(text, zone)| (net(text), zone))
        .into(),
        rows: vec![
            row(&[LAN], &[WAN], &[], value(Action::Pass, 0)),
            row(&[LAN], &[ZONE_SELF], &[], value(Action::Pass, 1)),
            row(&[WAN], &[LAN], &both(open), value(Action::Pass, 2)),
            row(&[WAN], &[ZONE_SELF], &both(open), value(Action::Pass, 3)),
            default_row(Action::Drop),
        ],
        ..Plan::default()
    }
}

/// A list of so many IPv4 networks of 256 addresses each from `first` on, against what they start.
#[must_use]
pub fn list(first: u32, count: u32) -> Vec<(IpNet, ListValue)> {
    let value = ListValue { list: 1, directions: DIRECTION_IN, observe: 0 };
    (0..count)
        .filter_map(|n| {
            Some((IpNet::new(Ipv4Addr::from(first.wrapping_add(n << 8)).into(), 24).ok()?, value))
        })
        .collect()
}
