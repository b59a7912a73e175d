//! A small world of zones, rules, bans and lists, as the kernel gets it and as the host holds it.

use abi::{
    Action, BanValue, DIRECTION_IN, DIRECTION_OUT, ListValue, POLICY_LOG, POLICY_OBSERVE, PolicyValue,
    RULE_DEFAULT, ZONE_ANTI_SPOOF, ZONE_INSPECT, ZONE_IS_WAN, ZONE_MULTICAST, ZONE_OBSERVE, ZONE_SELF,
    ZoneFlags, ZoneId,
};
use datapath::host::{MemoryTables, Prefix};
use enforce::xdp::{Dataplane, Orders};
use ipnet::IpNet;
use policy::{Plan, PolicyPrefix, Port};

pub(crate) const WAN: ZoneId = 3;
pub(crate) const LAN: ZoneId = 4;
pub(crate) const IOT: ZoneId = 5;
pub(crate) const GUEST: ZoneId = 6;

/// VLAN of each zone.
pub(crate) const VLANS: [(u16, ZoneId); 4] = [(0, WAN), (100, LAN), (400, IOT), (500, GUEST)];

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The plan of a round: even rounds enforce with anti-spoofing, some observe.
pub(crate) fn plan(round: usize) -> Plan {
    let spoof = if round.is_multiple_of(2) { ZONE_ANTI_SPOOF } else { 0 };
    let guest = if round % 3 == 1 { ZONE_OBSERVE } else { 0 };
    let flags = |flags| ZoneFlags { flags };
    let rule = |action: Action, rule: u16, flags: u8| PolicyValue { action: action as u8, flags, rule };
    let mut plan = Plan {
        observe: round % 6 == 5,
        ports: VLANS.map(|(vlan, zone)| Port { interface: "lo".into(), vlan, zone }).into(),
        zones: [
            (WAN, flags(ZONE_IS_WAN | spoof)),
            (LAN, flags(spoof)),
            (IOT, flags(spoof | ZONE_INSPECT)),
            (GUEST, flags(guest)),
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
        protected: ["10.1.0.1/32", "198.51.100.8/32"].map(net).into(),
        ..Plan::default()
    };
    let mut add = |from, to, protocol, port: u16, bits, value| {
        plan.policy.insert(PolicyPrefix { from, to, protocol, port, bits }, value);
    };
    for protocol in [1, 6, 17, 58] {
        add(LAN, WAN, protocol, 0, 0, rule(Action::Pass, 0, 0));
        add(LAN, IOT, protocol, 0, 0, rule(Action::Pass, 1, POLICY_LOG));
        add(LAN, GUEST, protocol, 0, 0, rule(Action::Drop, 2, POLICY_OBSERVE));
        add(LAN, ZONE_SELF, protocol, 0, 0, rule(Action::Pass, 3, 0));
        add(IOT, LAN, protocol, 0, 0, rule(Action::Reject, 4, 0));
        add(IOT, ZONE_MULTICAST, protocol, 0, 0, rule(Action::Pass, 5, 0));
        add(GUEST, WAN, protocol, 0, 0, rule(Action::Reject, RULE_DEFAULT, 0));
        add(WAN, ZONE_SELF, protocol, 0, 0, rule(Action::Drop, RULE_DEFAULT, POLICY_LOG));
    }
    for protocol in [6, 17] {
        add(IOT, WAN, protocol, 443, 16, rule(Action::Pass, 6, 0));
        add(IOT, WAN, protocol, 8000, 13, rule(Action::Drop, 7, 0));
        add(GUEST, WAN, protocol, 53, 16, rule(Action::Pass, 8, 0));
        add(WAN, ZONE_SELF, protocol, 443, 16, rule(Action::Pass, 9, 0));
        add(
            WAN,
            IOT,
            protocol,
            443,
            16,
            rule(if round.is_multiple_of(2) { Action::Pass } else { Action::Drop }, 10, 0),
        );
    }
    plan.listed = [
        ("198.51.100.0/24", 0, DIRECTION_IN, 0),
        ("192.0.2.64/26", 1, DIRECTION_IN | DIRECTION_OUT, 0),
        ("2001:db8:bad::/48", 2, DIRECTION_IN | DIRECTION_OUT, 1),
    ]
    .map(|(text, list, directions, observe)| (net(text), ListValue { list, directions, observe }))
    .into();
    plan
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
        reserved: [0; 2],
    };
    let bans = vec![
        (net("203.0.113.66/32"), ban(u64::MAX, 11, DIRECTION_IN, 0)),
        (net("203.0.113.128/25"), ban(u64::MAX, 12, DIRECTION_IN | DIRECTION_OUT, u8::from(round % 4 == 3))),
        (net("2001:db8:1::66/128"), ban(u64::MAX, 13, DIRECTION_OUT, 0)),
        (net("10.4.0.9/32"), ban(if round.is_multiple_of(2) { 1 } else { u64::MAX }, 14, DIRECTION_IN, 0)),
        (net("198.51.100.8/32"), ban(u64::MAX, 15, DIRECTION_IN, 0)),
    ];
    (bans, vec![(net("203.0.113.200/32"), u64::MAX), (net("203.0.113.66/32"), 1)])
}

/// Puts the world of a round into the kernel.
pub(crate) fn apply(dataplane: &mut Dataplane, handle: &mut Orders, round: usize) {
    let (bans, allows) = orders(round);
    for (net, ban) in bans {
        handle.set_ban(net, ban).unwrap();
    }
    for (net, until) in allows {
        handle.set_allow(net, until).unwrap();
    }
    assert!(dataplane.apply(&plan(round)).unwrap().missing.is_empty());
}

/// The world of a round on the host.
pub(crate) fn tables(round: usize) -> MemoryTables {
    let plan = plan(round);
    let (bans, allows) = orders(round);
    let observe = if plan.observe { ZONE_OBSERVE } else { 0 };
    MemoryTables {
        ports: VLANS.map(|(vlan, zone)| ((1, vlan), zone)).into(),
        zones: (0..64)
            .map(|zone| (zone, plan.zones.get(&zone).map_or(0, |zone| zone.flags) | observe))
            .collect(),
        networks: plan.networks.iter().map(|(net, zone)| (prefix(*net), *zone)).collect(),
        protected: plan.protected.iter().map(|net| prefix(*net)).collect(),
        policy: plan
            .policy
            .iter()
            .map(|(key, value)| ((key.from, key.to, key.protocol, key.port, key.bits), *value))
            .collect(),
        listed: plan.listed.iter().map(|(net, value)| (prefix(*net), *value)).collect(),
        bans: bans.into_iter().map(|(net, ban)| (prefix(net), ban)).collect(),
        allows: allows.into_iter().map(|(net, until)| (prefix(net), until)).collect(),
        ..MemoryTables::default()
    }
}

fn prefix(net: IpNet) -> Prefix {
    match net {
        IpNet::V4(net) => Prefix::v4(net.network().octets(), u32::from(net.prefix_len())),
        IpNet::V6(net) => Prefix::v6(net.network().octets(), u32::from(net.prefix_len())),
    }
}
