//! Rules of a given number, the packets that ask them, and a slow reference that says what they must answer.
//!
//! The sets are the hard kind: most rules name a source, a destination and a port, the most specific stand first, and
//! packets are drawn from all rules alike, so that many match only far down.

use abi::{Action, PolicyValue, ZoneId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Protocol;
use policy::{Plan, Row, Selector, ServiceMatch};
use std::net::IpAddr;

use crate::{
    chance::Chance,
    frame::Family,
    world::{self, DMZ, LAN, Listed, WAN},
};

/// Different source sets and destination sets that rules choose from.
const SETS: usize = 480;
/// Servers that everyone may reach: what established flows are made of.
pub(crate) const SERVERS4: &str = "10.5.200.0/24";
/// The same in IPv6.
pub(crate) const SERVERS6: &str = "2a10:5:200::/64";
/// Their port.
pub(crate) const SERVERS_PORT: u16 = 443;

/// A new flow, as the rules see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) port: u16,
}

/// Adds `count` rules, and what stands around them: the servers first, the insiders' way out and the defaults last.
pub(crate) fn add(plan: &mut Plan, count: usize) {
    let mut chance = Chance::new(0x7275_6c65);
    let servers = [SERVERS4, SERVERS6].iter().filter_map(|text| text.parse().ok()).collect();
    plan.sets.push(servers);
    for _ in 0..SETS.min(count) {
        let nets: Vec<IpNet> = (0..1 + chance.below(6)).map(|_| outside(&mut chance)).collect();
        plan.sets.push(nets.into());
    }
    for _ in 0..SETS.min(count) {
        let nets: Vec<IpNet> = (0..1 + chance.below(4)).map(|_| inside(&mut chance)).collect();
        plan.sets.push(nets.into());
    }
    let row = |from: ZoneId, to: u64| Row {
        from: 1 << from,
        to,
        source: Selector::Any,
        destination: Selector::Any,
        device: None,
        services: Vec::new(),
        value: world::DEFAULT,
        rate: None,
    };
    let sets = SETS.min(count) as u16;
    let mut rows: Vec<(u32, Row)> = (0..count.saturating_sub(2))
        .map(|_| {
            let mut row = row(WAN, 1 << DMZ);
            let mut specific = 0;
            if chance.below(10) < 8 {
                row.source = Selector::Set(1 + chance.below(u32::from(sets)) as u16);
                specific += 2;
            }
            if chance.below(10) < 9 || specific == 0 {
                row.destination = Selector::Set(1 + sets + chance.below(u32::from(sets)) as u16);
                specific += 3;
            }
            let (service, narrow) = service(&mut chance);
            row.services = vec![service];
            specific += narrow;
            let action = if chance.below(10) < 7 { Action::Pass } else { Action::Drop };
            row.value = PolicyValue { action: action as u8, flags: 0, rule: 0 };
            (specific, row)
        })
        .collect();
    rows.sort_by_key(|(specific, _)| std::cmp::Reverse(*specific));
    let mut first = row(WAN, 1 << DMZ);
    first.destination = Selector::Set(0);
    first.services = [Protocol::TCP, Protocol::UDP]
        .map(|protocol| ServiceMatch::new(protocol, SERVERS_PORT, SERVERS_PORT))
        .into();
    let mut out = row(LAN, 1 << WAN);
    for special in [&mut first, &mut out] {
        special.value.action = Action::Pass as u8;
    }
    plan.rows = std::iter::once(first).chain(rows.into_iter().map(|(_, row)| row)).collect();
    plan.rows.push(out);
    for (place, row) in plan.rows.iter_mut().enumerate() {
        row.value.rule = place as u16;
    }
    plan.rows.extend([WAN, LAN, DMZ].map(|from| row(from, u64::MAX)));
}

fn outside(chance: &mut Chance) -> IpNet {
    if chance.below(5) == 0 {
        let high = *chance.of(&[0x2400_u16, 0x2600, 0x2804, 0x2a00, 0x2a02, 0x2c0f]);
        let address = u128::from(high) << 112 | u128::from(chance.next()) << 48;
        // None is so small that its sources would be taken for port scanners.
        let bits = *chance.of(&[24, 28, 32, 40, 48]);
        return Ipv6Net::new(address.into(), bits).unwrap_or_default().trunc().into();
    }
    let address = u32::from(*chance.of(&[5_u8, 23, 45, 62, 91, 141, 185, 212])) << 24 | chance.word() >> 8;
    Ipv4Net::new(address.into(), *chance.of(&[10, 12, 14, 16, 18, 20, 22, 24]))
        .unwrap_or_default()
        .trunc()
        .into()
}

fn inside(chance: &mut Chance) -> IpNet {
    if chance.below(5) == 0 {
        let address =
            0x2a10_0005_u128 << 96 | u128::from(chance.below(190)) << 80 | u128::from(chance.below(64));
        return Ipv6Net::new(address.into(), *chance.of(&[48, 64, 128, 128]))
            .unwrap_or_default()
            .trunc()
            .into();
    }
    let address = 0x0a05_0000 | (chance.below(190) << 8) | (chance.below(254) + 2);
    Ipv4Net::new(address.into(), *chance.of(&[24, 28, 32, 32, 32])).unwrap_or_default().trunc().into()
}

/// A service and how specific it is.
fn service(chance: &mut Chance) -> (ServiceMatch, u32) {
    let known = [22, 25, 53, 80, 110, 143, 443, 445, 587, 993, 1883, 3306, 5432, 8080, 8443, 9090];
    match chance.below(10) {
        0..=5 => {
            let port = *chance.of(&known);
            (ServiceMatch::new(Protocol::TCP, port, port), 4)
        }
        6..=7 => {
            let port = 1024 + chance.below(60_000) as u16;
            (ServiceMatch::new(Protocol::TCP, port, port), 4)
        }
        8 => {
            let port = 1024 + chance.below(40_000) as u16;
            (ServiceMatch::new(Protocol::TCP, port, port + 1 + chance.below(9000) as u16), 1)
        }
        _ => (ServiceMatch::new(Protocol::TCP, 1, u16::MAX), 0),
    }
}

/// A new TCP flow from the outside that some rule names, drawn from all rules alike; its source is on no list.
pub(crate) fn opening(plan: &Plan, family: Family, listed: &Listed, chance: &mut Chance) -> Opening {
    loop {
        let row = chance.of(&plan.rows);
        if row.from >> WAN & 1 == 0 {
            continue;
        }
        let (source, destination) = match family {
            Family::V4 => {
                let any = || IpAddr::from([10, 5, 0, 2]);
                (
                    host_of(plan, row.source, family, chance)
                        .unwrap_or_else(|| listed.unlisted4(chance).into()),
                    host_of(plan, row.destination, family, chance).unwrap_or_else(any),
                )
            }
            Family::V6 => {
                let any = || IpAddr::from([0x2a10, 5, 0, 0, 0, 0, 0, 2]);
                (
                    host_of(plan, row.source, family, chance)
                        .unwrap_or_else(|| listed.unlisted6(chance).into()),
                    host_of(plan, row.destination, family, chance).unwrap_or_else(any),
                )
            }
        };
        let on_list = match source {
            IpAddr::V4(source) => listed.holds4(source),
            IpAddr::V6(source) => listed.holds6(source),
        };
        if on_list {
            continue;
        }
        let port = row.services.first().map_or(9, |service| {
            let ports = service.ports;
            ports.first + chance.below(u32::from(ports.last - ports.first) + 1) as u16
        });
        return Opening { source, destination, source_port: 1024 + chance.below(60_000) as u16, port };
    }
}

fn host_of(plan: &Plan, selector: Selector, family: Family, chance: &mut Chance) -> Option<IpAddr> {
    let Selector::Set(place) = selector else { return None };
    let set = &plan.sets[usize::from(place)];
    let wanted =
        |net: &&IpNet| matches!((family, net), (Family::V4, IpNet::V4(_)) | (Family::V6, IpNet::V6(_)));
    let nets: Vec<&IpNet> = set.iter().filter(wanted).collect();
    if nets.is_empty() {
        return None;
    }
    Some(match **chance.of(&nets) {
        IpNet::V4(net) => {
            (u32::from(net.network()) | chance.word() & u32::from(net.hostmask())).to_be_bytes().into()
        }
        IpNet::V6(net) => {
            let low = u128::from(chance.next()) << 64 | u128::from(chance.next());
            (u128::from(net.network()) | low & u128::from(net.hostmask())).to_be_bytes().into()
        }
    })
}

/// What the rules say of a flow, found by going through them: the reference.
pub(crate) fn judge(plan: &Plan, opening: &Opening) -> PolicyValue {
    let to = match opening.destination {
        IpAddr::V4(address) if address.octets()[..2] == [10, 5] => DMZ,
        IpAddr::V6(address) if address.segments()[..2] == [0x2a10, 5] => DMZ,
        IpAddr::V4(_) | IpAddr::V6(_) => WAN,
    };
    let holds = |selector: Selector, address: &IpAddr| match selector {
        Selector::Any => true,
        Selector::Set(place) => plan.sets[usize::from(place)].iter().any(|net| net.contains(address)),
    };
    let row = plan.rows.iter().find(|row| {
        row.from >> WAN & 1 == 1
            && row.to >> to & 1 == 1
            && (row.services.is_empty()
                || row.services.iter().any(|service| {
                    service.protocol == Protocol::TCP
                        && (service.ports.first..=service.ports.last).contains(&opening.port)
                }))
            && holds(row.destination, &opening.destination)
            && holds(row.source, &opening.source)
    });
    row.map_or(world::DEFAULT, |row| row.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_answered_by_many_rules() {
        let listed = Listed::new(2000, 1);
        let mut plan = Plan::default();
        add(&mut plan, 1000);
        assert_eq!(plan.rows.len(), 1003);
        let mut chance = Chance::new(3);
        let mut answered = std::collections::BTreeSet::new();
        for _ in 0..2000 {
            let opening = opening(&plan, Family::V4, &listed, &mut chance);
            answered.insert(judge(&plan, &opening).rule);
        }
        assert!(answered.len() > 300, "{}", answered.len());
    }
}
