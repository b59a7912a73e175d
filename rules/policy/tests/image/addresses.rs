//! What the image says of an address, against a plain search over all prefixes.

use abi::{
    Address, ListValue, PolicyValue,
    image::{ADDRESS_IN_OBSERVED, ADDRESS_OUT_OBSERVED, ADDRESS_PROTECTED, NOTHING},
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{Plan, Row, Selector, image::compile, to_kernel};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

/// Everything the prefixes of a plan say of an address.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    zone: u8,
    protected: bool,
    /// Per direction: the list, and whether it only observes.
    listed: [Option<(u16, bool)>; 2],
    sources: Vec<u16>,
    destinations: Vec<u16>,
}

fn reference(plan: &Plan, address: IpAddr) -> Said {
    let holds = |net: &IpNet| net.contains(&address);
    let zone = plan.networks.iter().filter(|(net, _)| holds(net)).max_by_key(|(net, _)| net.prefix_len());
    let listed = [abi::DIRECTION_IN, abi::DIRECTION_OUT].map(|direction| {
        let entries =
            plan.listed.iter().filter(|(net, value)| holds(net) && value.directions & direction != 0);
        entries
            .map(|(_, value)| (value.observe, value.list))
            .min()
            .map(|(observe, list)| (list, observe != 0))
    });
    let sets = |selector: fn(&Row) -> Selector| {
        let named = plan.rows.iter().filter_map(|row| match selector(row) {
            Selector::Any => None,
            Selector::Set(set) => Some(set),
        });
        let mut sets: Vec<u16> = named.filter(|set| plan.sets[usize::from(*set)].iter().any(holds)).collect();
        sets.sort_unstable();
        sets.dedup();
        sets
    };
    Said {
        zone: zone.map_or(0, |(_, zone)| *zone),
        protected: plan.protected.iter().any(holds),
        listed,
        sources: sets(|row| row.source),
        destinations: sets(|row| row.destination),
    }
}

/// Addresses at and around the ends of every prefix.
fn edges(plan: &Plan) -> Vec<IpAddr> {
    let nets = plan.networks.keys().chain(&plan.protected).copied();
    let nets = nets.chain(plan.listed.iter().map(|(net, _)| *net));
    let nets = nets.chain(plan.sets.iter().flat_map(|set| set.iter().copied()));
    let ends = nets.flat_map(|net| match net.trunc() {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 3)]
                .map(|bits| IpAddr::V4(bits.into()))
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            [first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 3)]
                .map(|bits| IpAddr::V6(bits.into()))
        }
    });
    ends.collect()
}

/// Asserts that the image says of each address what the reference does, and numbers sets alike.
fn check(plan: &Plan, addresses: impl IntoIterator<Item = IpAddr>) {
    let image = compile(plan, &[]).unwrap();
    let mut sources: HashMap<u16, Vec<u16>> = HashMap::new();
    let mut destinations: HashMap<u16, Vec<u16>> = HashMap::new();
    let mut numbers: HashMap<(bool, Vec<u16>), u16> = HashMap::new();
    for address in addresses {
        // In IPv6 there is no v4-mapped address: the wire never has one, and the walk reads it as IPv4.
        let said = reference(plan, address.to_canonical());
        let found = datapath::image::address(&image, &to_kernel(address));
        let list = |list, flag| (list != NOTHING).then_some((list, found.flags & flag != 0));
        let answer = Said {
            zone: found.zone,
            protected: found.flags & ADDRESS_PROTECTED != 0,
            listed: [
                list(found.listed_in, ADDRESS_IN_OBSERVED),
                list(found.listed_out, ADDRESS_OUT_OBSERVED),
            ],
            sources: sources.entry(found.source.class).or_insert_with(|| said.sources.clone()).clone(),
            destinations: destinations
                .entry(found.destination.class)
                .or_insert_with(|| said.destinations.clone())
                .clone(),
        };
        assert_eq!(answer, said, "{address}");
        let number = *numbers.entry((true, said.sources)).or_insert(found.source.class);
        assert_eq!(number, found.source.class, "{address}: two classes for the same sets");
        let number = *numbers.entry((false, said.destinations)).or_insert(found.destination.class);
        assert_eq!(number, found.destination.class, "{address}: two classes for the same sets");
    }
}

fn row(source: Selector, destination: Selector) -> Row {
    Row {
        from: u64::MAX,
        to: u64::MAX,
        source,
        destination,
        device: None,
        services: Vec::new(),
        value: PolicyValue::default(),
        rate: None,
    }
}

/// Prefixes that nest, touch and repeat: few bits vary, all lengths occur.
fn net() -> impl Strategy<Value = IpNet> {
    let v4 = (
        prop::sample::select(vec![0u32, 0x0a00_0000, 0x0a01_ff00, 0xc0a8_0100, 0xffff_ff00, 0x7fff_ffff]),
        0..1024u32,
        0..=32u8,
    )
        .prop_map(|(base, low, length)| {
            IpNet::V4(Ipv4Net::new((base ^ low).into(), length).unwrap().trunc())
        });
    let v6 = (
        prop::sample::select(vec![
            0u128,
            0x2001_0db8 << 96,
            0xfd00_0000_0004 << 80,
            0xffff_0a00_0000,
            u128::MAX << 7,
            0x0064_ff9b << 96,
        ]),
        prop::sample::select(vec![0u32, 16, 48, 60, 64, 100]),
        0..1024u128,
        prop::sample::select(vec![
            0u8, 1, 3, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 96, 97, 112, 120, 126, 127, 128,
        ]),
    )
        .prop_map(|(base, shift, low, length)| {
            IpNet::V6(Ipv6Net::new((base ^ low << shift).into(), length).unwrap().trunc())
        });
    prop_oneof![v4, v6]
}

prop_compose! {
    fn plan()(
        networks in prop::collection::btree_map(net(), 1..20u8, 0..20),
        protected in prop::collection::vec(net(), 0..6),
        sets in prop::collection::vec(prop::collection::vec(net(), 0..10), 1..6),
        named in prop::collection::vec((0..8u16, 0..8u16), 0..8),
        listed in prop::collection::vec((net(), 0..6u16, 1..4u8, 0..2u8), 0..60),
    ) -> Plan {
        let selector = |set: u16| if usize::from(set) < sets.len() { Selector::Set(set) } else { Selector::Any };
        let listed = listed.into_iter().map(|(net, list, directions, observe)| (net, ListValue { list, directions, observe }));
        Plan {
            networks,
            protected,
            rows: named.into_iter().map(|(source, destination)| row(selector(source), selector(destination))).collect(),
            sets: sets.into_iter().map(Arc::from).collect(),
            listed: listed.collect(),
            ..Plan::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn addresses_are_known_as_by_a_plain_search(
        plan in plan(),
        v4 in prop::collection::vec(any::<u32>(), 20),
        v6 in prop::collection::vec(any::<u128>(), 20),
    ) {
        let random = v4.into_iter().map(|bits| IpAddr::V4(Ipv4Addr::from(bits)));
        let random = random.chain(v6.into_iter().map(|bits| IpAddr::V6(Ipv6Addr::from(bits))));
        check(&plan, edges(&plan).into_iter().chain(random));
    }
}

/// The deterministic numbers of the tests: xorshift.
fn chance() -> impl FnMut() -> u64 {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn crowded_networks_become_wide_nodes() {
    let mut next = chance();
    let mut listed = Vec::new();
    // One /16 full of hosts, one with every second address, a /112 of IPv6 the same, and a dense second stride.
    for host in 0..40_000u32 {
        let value = |list| ListValue { list: (list % 5) as u16, directions: 1, observe: 0 };
        listed
            .push((IpNet::from(IpAddr::V4((0x0a05_0000 + (next() as u32 & 0xffff)).into())), value(next())));
        if host < 32_768 {
            listed.push((IpNet::from(IpAddr::V4((0x0a06_0000 + host * 2).into())), value(1)));
        }
        let low = u128::from(next() & 0xffff);
        listed.push((IpNet::from(IpAddr::V6((0x2001_0db8 << 96 | low).into())), value(next())));
        let net = Ipv6Net::new((0x2a00_u128 << 112 | low << 96).into(), 32).unwrap();
        listed.push((IpNet::V6(net), value(next())));
    }
    listed.sort_unstable();
    let plan = Plan { listed: listed.into(), ..Plan::default() };
    let image = compile(&plan, &[]).unwrap();
    let mut known: BTreeMap<IpNet, u16> = BTreeMap::new();
    for (net, value) in plan.listed.iter() {
        known.entry(*net).and_modify(|list| *list = value.list.min(*list)).or_insert(value.list);
    }
    let list = |address: &Address| datapath::image::address(&image, address).listed_in;
    for low in 0..=0xffff_u32 {
        for high in [0x0a04_0000, 0x0a05_0000, 0x0a06_0000, 0x0a07_0000] {
            let address = IpAddr::V4((high | low).into());
            assert_eq!(
                list(&to_kernel(address)),
                known.get(&address.into()).copied().unwrap_or(NOTHING),
                "{address}"
            );
        }
        let address = IpAddr::V6((0x2001_0db8 << 96 | u128::from(low)).into());
        assert_eq!(
            list(&to_kernel(address)),
            known.get(&address.into()).copied().unwrap_or(NOTHING),
            "{address}"
        );
        let bits = 0x2a00_u128 << 112 | u128::from(low) << 96;
        let net = IpNet::V6(Ipv6Net::new(bits.into(), 32).unwrap());
        let address = IpAddr::V6((bits | 77).into());
        assert_eq!(list(&to_kernel(address)), known.get(&net).copied().unwrap_or(NOTHING), "{address}");
    }
}

#[test]
fn nothing_known_is_one_class() {
    let image = compile(&Plan::default(), &[]).unwrap();
    assert_eq!(image.figures.address_classes, 1);
    assert_eq!(image.figures.nodes, 0);
    let address = to_kernel(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(datapath::image::address(&image, &address), abi::image::AddressClass::UNKNOWN);
}

#[test]
fn too_many_combinations_are_refused_with_numbers() {
    // 17 sets that nest in every way: 2^17 combinations.
    let sets: Vec<Arc<[IpNet]>> = (0..17u32)
        .map(|set| {
            let hosts = (0..1u32 << 17).filter(|host| host >> set & 1 != 0);
            hosts.map(|host| IpNet::from(IpAddr::V4((0x0a00_0000 + host).into()))).collect()
        })
        .collect();
    let rows = (0..17).map(|set| row(Selector::Set(set), Selector::Any)).collect();
    let plan = Plan { sets, rows, ..Plan::default() };
    let error = compile(&plan, &[]).unwrap_err().to_string();
    assert!(error.contains("room for 65535"), "{error}");
    assert!(error.starts_with("131072 different combinations"), "{error}");
}
