//! Policies of several kinds, made by numbers that look like chance, and the plain reading of their rows.

use abi::{Action, POLICY_CONTINUE, POLICY_LIMIT, POLICY_LOG, PolicyValue, image::NOTHING, image::RuleRow};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::Protocol;
use policy::{Mac, Plan, Rate, Row, Selector, ServiceMatch, has_ports};
use std::{net::IpAddr, sync::Arc};

/// Numbers that look like chance: xorshift64.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    /// So many times of a hundred.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

/// What a policy is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) from: u8,
    pub(crate) to: u8,
    pub(crate) mac: Mac,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
}

/// Kinds of policies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Zones, some hosts and networks, well-known services.
    Home,
    /// Specific sources and destinations, many address sets, exact ports.
    Acl,
    /// Everything by chance: zones, nested prefixes, ranges of ports.
    Random,
    /// Rows of which none says where it holds, but by its port.
    AllAny,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Home, Kind::Acl, Kind::Random, Kind::AllAny];

/// A plan of a kind, with so many rows; the last is the default.
pub(crate) fn plan(kind: Kind, rows: usize, chance: &mut Chance) -> Plan {
    let zones = 3 + 8;
    let mut plan = Plan {
        zones: (0..zones).map(|zone| (zone, Default::default())).collect(),
        rates: (1..5).map(|burst| Rate { interval: 1000, burst }).collect(),
        ..Plan::default()
    };
    let sets = match kind {
        Kind::Home => (8 + rows / 8).min(300),
        Kind::Acl => (8 + rows).min(1000),
        Kind::Random => (8 + rows / 2).min(600),
        Kind::AllAny => 1,
    };
    plan.sets = (0..sets).map(|_| address_set(kind, chance)).collect();
    plan.devices = (0..12)
        .map(|group| (0..6).map(|n| Mac([2, 0, 0, 0, (group + n) as u8 % 12, n as u8])).collect())
        .collect();
    let ports: Vec<u16> = (0..40 + rows / 40).map(|_| chance.below(12_000) as u16 + 20).collect();
    for number in 1..rows {
        let mut row = make_row(kind, sets as u64, &ports, chance);
        row.value.rule = number as u16;
        plan.rows.push(row);
    }
    plan.rows.push(Row {
        from: u64::MAX,
        to: u64::MAX,
        source: Selector::Any,
        destination: Selector::Any,
        device: None,
        services: Vec::new(),
        value: PolicyValue { action: Action::Drop as u8, flags: 0, rule: abi::RULE_DEFAULT },
        rate: None,
    });
    plan
}

fn make_row(kind: Kind, sets: u64, ports: &[u16], chance: &mut Chance) -> Row {
    let [any_zone, any_source, any_destination, any_service] = match kind {
        Kind::Home => [10, 45, 25, 15],
        Kind::Acl => [60, 5, 3, 10],
        Kind::Random => [20, 20, 20, 20],
        Kind::AllAny => [100, 100, 100, 0],
    };
    let zones = |chance: &mut Chance| {
        if chance.percent(any_zone) {
            u64::MAX
        } else {
            1 << (1 + chance.below(10)) | if chance.percent(20) { 1 << (1 + chance.below(10)) } else { 0 }
        }
    };
    let address = |any: u64, chance: &mut Chance| {
        if chance.percent(any) { Selector::Any } else { Selector::Set(chance.below(sets) as u16) }
    };
    let mut services = Vec::new();
    if !chance.percent(any_service) {
        for _ in 0..if matches!(kind, Kind::Random) { 1 } else { 1 + chance.below(3) } {
            let protocol = *chance.pick(&[6u8, 6, 6, 6, 17, 17, 1, 58, 47, 50]);
            let first =
                if matches!(kind, Kind::Random) { chance.below(65_536) as u16 } else { *chance.pick(ports) };
            let last = match (kind, chance.below(10)) {
                (Kind::Random, _) => first.saturating_add(chance.below(5000) as u16),
                (Kind::Home | Kind::Acl | Kind::AllAny, 0) => first.saturating_add(chance.below(100) as u16),
                (Kind::Home | Kind::Acl | Kind::AllAny, 1) if protocol == 6 => u16::MAX,
                (Kind::Home | Kind::Acl | Kind::AllAny, _) => first,
            };
            services.push(ServiceMatch::new(Protocol(protocol), first, last));
        }
    }
    let mut flags = if chance.percent(20) { POLICY_LOG } else { 0 };
    if chance.percent(6) {
        flags |= POLICY_CONTINUE;
    }
    let is_limited = chance.percent(8) && flags & POLICY_CONTINUE == 0;
    if is_limited {
        flags |= POLICY_LIMIT;
    }
    Row {
        from: zones(chance),
        to: zones(chance),
        source: address(any_source, chance),
        destination: address(any_destination, chance),
        device: chance
            .percent(if matches!(kind, Kind::AllAny) { 0 } else { 12 })
            .then(|| chance.below(12) as u16),
        services,
        value: PolicyValue { action: chance.below(3) as u8, flags, rule: 0 },
        rate: is_limited.then(|| chance.below(4) as u16),
    }
}

fn address_set(kind: Kind, chance: &mut Chance) -> Arc<[IpNet]> {
    let count = match kind {
        Kind::Home => 1 + chance.below(3),
        Kind::Acl => 1 + chance.below(2),
        Kind::Random => 1 + chance.below(6),
        Kind::AllAny => 1,
    };
    (0..count).map(|_| net(kind, chance)).collect()
}

fn net(kind: Kind, chance: &mut Chance) -> IpNet {
    let length = match kind {
        Kind::Random => 4 + chance.below(29) as u8,
        Kind::Home | Kind::Acl | Kind::AllAny => *chance.pick(&[16, 20, 24, 24, 26, 28, 30, 32, 32, 32, 32]),
    };
    let bits = 0x0a00_0000 | (chance.below(8) << 16 | chance.below(4) << 8 | chance.below(256)) as u32;
    if chance.percent(65) {
        IpNet::V4(Ipv4Net::new(bits.into(), length).unwrap_or_default().trunc())
    } else {
        let bits = 0xfd00_1234_u128 << 96 | u128::from(bits) << 64 | u128::from(chance.below(4));
        IpNet::V6(
            Ipv6Net::new(bits.into(), if length == 32 { 128 } else { 64 + length })
                .unwrap_or_default()
                .trunc(),
        )
    }
}

/// A packet that is near what a row says, or by chance.
pub(crate) fn packet(plan: &Plan, chance: &mut Chance) -> Packet {
    let row = chance.pick(&plan.rows).clone();
    let is_v4 = chance.percent(65);
    let bit = |mask: u64, chance: &mut Chance| {
        if mask == u64::MAX || chance.percent(10) {
            chance.below(11) as u8
        } else {
            mask.trailing_zeros() as u8
        }
    };
    let address = |selector: Selector, chance: &mut Chance| {
        let set = match selector {
            Selector::Set(set) if chance.percent(85) => &plan.sets[usize::from(set)],
            Selector::Set(_) | Selector::Any => chance.pick(&plan.sets),
        };
        match *chance.pick(set) {
            IpNet::V4(net) => {
                IpAddr::V4((net.addr().to_bits() | (chance.next() as u32 & net.hostmask().to_bits())).into())
            }
            IpNet::V6(net) => IpAddr::V6(
                (net.addr().to_bits() | (u128::from(chance.next()) & net.hostmask().to_bits())).into(),
            ),
        }
    };
    let matched = if row.services.is_empty() || chance.percent(15) {
        ServiceMatch::new(Protocol(*chance.pick(&[6, 17, 1, 58, 47, 50, 132])), 0, u16::MAX)
    } else {
        *chance.pick(&row.services)
    };
    let width = u64::from(matched.ports.last - matched.ports.first) + 1;
    let mut source = address(row.source, chance);
    let mut destination = address(row.destination, chance);
    for _ in 0..8 {
        if source.is_ipv4() == destination.is_ipv4() {
            break;
        }
        if is_v4 == source.is_ipv4() {
            destination = address(row.destination, chance);
        } else {
            source = address(row.source, chance);
        }
    }
    Packet {
        from: bit(row.from, chance),
        to: bit(row.to, chance),
        mac: if chance.percent(40) { Mac::default() } else { *chance.pick(chance_group(plan, &row)) },
        protocol: matched.protocol.0,
        port: matched.ports.first + chance.below(width) as u16,
        source,
        destination,
    }
}

fn chance_group<'a>(plan: &'a Plan, row: &Row) -> &'a [Mac] {
    &plan.devices[usize::from(row.device.unwrap_or(3))]
}

/// The rows one after the other.
pub(crate) fn reference(plan: &Plan, packet: &Packet) -> RuleRow {
    let mut logged = NOTHING;
    for row in plan.rows.iter().filter(|row| matches(plan, row, packet)) {
        let PolicyValue { action, flags, rule } = row.value;
        if flags & POLICY_CONTINUE == 0 {
            return RuleRow { action, flags, rule, rate: row.rate.unwrap_or(NOTHING), logged };
        }
        if logged == NOTHING {
            logged = rule;
        }
    }
    RuleRow::NONE
}

fn matches(plan: &Plan, row: &Row, packet: &Packet) -> bool {
    let holds = |selector: Selector, address: IpAddr| match selector {
        Selector::Any => true,
        Selector::Set(set) => plan.sets[usize::from(set)].iter().any(|net| net.contains(&address)),
    };
    let serves = |matched: &ServiceMatch| {
        matched.protocol.0 == packet.protocol
            && (!has_ports(matched.protocol)
                || (matched.ports.first..=matched.ports.last).contains(&packet.port))
    };
    row.from >> packet.from & 1 != 0
        && row.to >> packet.to & 1 != 0
        && row.device.is_none_or(|group| plan.devices[usize::from(group)].contains(&packet.mac))
        && (row.services.is_empty() || row.services.iter().any(serves))
        && holds(row.source, packet.source)
        && holds(row.destination, packet.destination)
}
