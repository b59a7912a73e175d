//! How long a large policy takes to be lowered and reviewed: `cargo run --release -p policy --example figures`.

use abi::{ZONE_FIRST, ZONE_SELF};
use ipnet::IpNet;
use model::{Action, Protocol};
use policy::{AddressSet, Policy, Rule, Service, ServiceMatch, SetKind, Side, Zone, ZoneSet, address_set};
use std::{net::Ipv4Addr, sync::Arc, time::Instant};

fn main() {
    for count in [10, 1_000, 10_000] {
        for by_address in [false, true] {
            let policy = policy(count, by_address);
            #[expect(clippy::disallowed_methods, reason = "it measures")]
            let start = Instant::now();
            let plan = policy.lower(&[], Arc::new([]));
            let lowered = start.elapsed();
            let review = policy.review(&[]);
            let reviewed = start.elapsed() - lowered;
            let rows =
                plan.map_or_else(|error| error.to_string(), |plan| format!("{} rows", plan.rows.len()));
            println!(
                "{count} rules, by address: {by_address}: lowered in {lowered:?} ({rows}); reviewed in {reviewed:?} ({} found, {} unsettled)",
                review.findings.len(),
                review.unsettled.len()
            );
        }
    }
}

/// Rules between 20 zones, by zone or by address, with ports; every hundredth repeats another.
fn policy(count: u16, by_address: bool) -> Policy {
    let zones = (0..20u8).map(|place| Zone {
        id: ZONE_FIRST + place,
        name: format!("z{place}"),
        interface: format!("eth{place}"),
        device: format!("eth{place}"),
        wan: place == 0,
        networks: (place > 0)
            .then(|| Ipv4Addr::new(10, place, 0, 0))
            .into_iter()
            .filter_map(|at| net(at, 16))
            .collect(),
        anti_spoof: true,
        ..Zone::default()
    });
    let mut policy = Policy { zones: zones.collect(), ..Policy::default() };
    for id in 0..count {
        let (n, other) = (u32::from(if id % 100 == 99 { id - 7 } else { id }), u32::from(id) * 7919);
        let side = |policy: &mut Policy, n: u32| {
            if !by_address {
                return Side::from(ZoneSet::Of(vec![ZONE_SELF + (n % 22) as u8]));
            }
            let at = Ipv4Addr::new(10, 1 + (n % 19) as u8, (n / 256 % 256) as u8, (n % 256) as u8);
            let nets = address_set(net(at, 32).into_iter().collect());
            policy.sets.push(AddressSet { name: at.to_string(), kind: SetKind::Group, nets });
            Side { zones: ZoneSet::Of(vec![]), sets: vec![policy.sets.len() as u16 - 1], devices: vec![] }
        };
        let (from, to) = (side(&mut policy, n), side(&mut policy, other));
        let port = (1 + n * 31 % 60_000) as u16;
        let matches = vec![ServiceMatch::new(Protocol::TCP, port, port + (n % 4) as u16)];
        let services = vec![Service { name: "tcp".into(), matches }];
        policy.rules.push(Rule { id, from, to, services, action: Action::Pass, ..Rule::default() });
    }
    policy
}

fn net(at: Ipv4Addr, bits: u8) -> Option<IpNet> {
    IpNet::new(at.into(), bits).ok().map(|net| net.trunc())
}
