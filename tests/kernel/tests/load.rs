//! The programs load, stay well within what the verifier walks, and say what they cost.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{Action, BanValue, DIRECTION_IN, FlowKey, Reason, ZoneFlags};
use aya::{TestRunOptions, programs::TestRun as _};
use datapath::host::{FrameBuilder, Payload};
use enforce::xdp::{Dataplane, Error, Options, boot_now};
use ipnet::IpNet;
use kernel_tests::{
    Folder, can_run, end_grace,
    plans::{default_row, list, row, value},
};
use policy::{Plan, Port};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

/// The verifier refuses at a million instructions; other kernels walk more paths than this one.
const VERIFIED: u32 = 400_000;
/// Kernel memory of empty tables.
const MEMORY: u64 = 40 * 1024 * 1024;

#[test]
fn the_programs_load_within_bounds_and_are_adopted() {
    let test = "the_programs_load_within_bounds_and_are_adopted";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("load");
    let (dataplane, adopted) = Dataplane::open(folder.path()).unwrap();
    assert!(!adopted.maps);
    let verified = dataplane.verified_instructions();
    let memory = dataplane.memory().unwrap();
    println!("verified instructions: {verified:?}; kernel memory: {memory} bytes");
    assert!(verified.values().all(|instructions| *instructions < VERIFIED));
    assert!((1..MEMORY).contains(&memory));
    drop(dataplane);
    let (_dataplane, adopted) = Dataplane::open(folder.path()).unwrap();
    assert!(adopted.maps);
}

/// One zone at the loopback device, that is everywhere.
fn loopback() -> Plan {
    Plan {
        ports: vec![Port { interface: "lo".into(), vlan: 0, zone: 3 }],
        zones: [(3, ZoneFlags::default())].into(),
        networks: [("0.0.0.0/0".parse().unwrap(), 3), ("::/0".parse().unwrap(), 3)].into(),
        rows: vec![default_row(Action::Drop)],
        ..Plan::default()
    }
}

#[test]
fn a_place_without_a_bpf_file_system_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = enforce::xdp::ensure_bpffs(&folder.path().join("secd")).unwrap_err().to_string();
    assert!(error.contains("no BPF file system") && error.contains("mount -t bpf"), "{error}");
}

#[test]
fn a_known_packet_passes_as_often_as_it_comes() {
    let test = "a_known_packet_passes_as_often_as_it_comes";
    if !can_run(test) {
        return;
    }
    const REPEAT: u32 = 200_000;
    let folder = Folder::new("cost");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let plan = Plan {
        rows: vec![row(&[3], &[3], &[(17, 53, 53)], value(Action::Pass, 0)), default_row(Action::Drop)],
        ..loopback()
    };
    dataplane.apply(&plan).unwrap();
    end_grace(&dataplane);
    let datagram =
        |to| FrameBuilder::v4([10, 0, 0, 1], [9, 9, 9, 9], Payload::Udp { from: 4000, to }).build();
    let segment = |flags| {
        FrameBuilder::v4([10, 0, 0, 1], [9, 9, 9, 9], Payload::Tcp { from: 4000, to: 53, flags }).build()
    };
    let mut arp = vec![2; 60];
    arp[12..14].copy_from_slice(&[8, 6]);
    for (what, frame, passes) in [
        ("not IP", arp, true),
        ("established", datagram(53), true),
        ("no state", segment(16), true),
        ("denied by policy", datagram(54), false),
        ("malformed", segment(3), false),
    ] {
        let options = TestRunOptions { data_in: Some(&frame), repeat: REPEAT, ..TestRunOptions::default() };
        let run = dataplane.ingress_program().unwrap().test_run(options).unwrap();
        println!("{what}: {} ns", run.duration.as_nanos());
        assert_eq!(run.return_value, if passes { 2 } else { 1 }, "{what}");
    }
    let packets: u64 =
        dataplane.counters().unwrap().packets().unwrap().iter().map(|c| c.counter.packets).sum();
    assert_eq!(packets, 5 * u64::from(REPEAT), "each is counted once");
}

#[test]
fn what_dns_answered_holds_at_once_and_what_it_did_not_is_dropped() {
    let test = "what_dns_answered_holds_at_once_and_what_it_did_not_is_dropped";
    if !can_run(test) {
        return;
    }
    const REPEAT: u32 = 100_000;
    let folder = Folder::new("resolved");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let plan = Plan {
        zones: [(3, ZoneFlags { flags: abi::ZONE_RESOLVED }), (4, ZoneFlags { flags: abi::ZONE_IS_WAN })]
            .into(),
        networks: [("10.0.0.0/8".parse().unwrap(), 3), ("0.0.0.0/0".parse().unwrap(), 4)].into(),
        rows: vec![row(&[3], &[4], &[(17, 443, 443)], value(Action::Pass, 0)), default_row(Action::Drop)],
        resolved: [(3, abi::resolver_zone("iot"))].into(),
        ..loopback()
    };
    dataplane.apply(&plan).unwrap();
    let mut resolved = dataplane.resolved().unwrap();
    let opening =
        |to: [u8; 4]| FrameBuilder::v4([10, 0, 0, 1], to, Payload::Udp { from: 4000, to: 443 }).build();
    let run = |dataplane: &mut Dataplane, to, repeat| {
        let frame = opening(to);
        let options = TestRunOptions { data_in: Some(&frame), repeat, ..TestRunOptions::default() };
        dataplane.ingress_program().unwrap().test_run(options).unwrap()
    };
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    let (web, other) = ([9, 9, 9, 9], [9, 9, 9, 10]);
    let refused = run(&mut dataplane, web, REPEAT);
    assert_eq!(refused.return_value, DROP);
    println!("an opening that is refused: {} ns", refused.duration.as_nanos());
    let key = |to, zone: &str| abi::ResolvedKey { address: abi::mapped(to), zone: abi::resolver_zone(zone) };
    let value = |until| abi::ResolvedValue { until, patterns: 0 };
    resolved.set(key(web, "guest"), value(u64::MAX)).unwrap();
    resolved.set(key(other, "iot"), value(1)).unwrap();
    assert_eq!(run(&mut dataplane, web, 1).return_value, DROP, "another zone's");
    assert_eq!(run(&mut dataplane, other, 1).return_value, DROP, "its time is over");
    resolved.set(key(web, "iot"), value(u64::MAX)).unwrap();
    assert_eq!(run(&mut dataplane, web, 1).return_value, PASS);
    resolved.remove(&key(web, "iot")).unwrap();
    assert_eq!(run(&mut dataplane, web, 1).return_value, PASS, "a flow that is known goes on");
    let counted = dataplane.counters().unwrap().packets().unwrap();
    let unresolved = counted.iter().find(|count| count.reason == Reason::Unresolved).unwrap();
    assert_eq!((unresolved.zone, unresolved.action), (3, Action::Drop));
    assert_eq!(unresolved.counter.packets, u64::from(REPEAT) + 2);
    // Full: told, and nothing that is there goes.
    for number in 0..abi::MAX_RESOLVED {
        let full = resolved.set(key(number.to_be_bytes(), "iot"), value(u64::MAX));
        if let Err(error) = full {
            assert!(
                matches!(error, Error::Full { .. }) && number + 2 >= abi::MAX_RESOLVED,
                "{number}: {error}"
            );
        }
    }
    assert_eq!(resolved.entries().unwrap().len(), abi::MAX_RESOLVED as usize);
}

#[test]
fn a_large_list_is_in_force_counted_and_replaced() {
    let test = "a_large_list_is_in_force_counted_and_replaced";
    if !can_run(test) {
        return;
    }
    const PREFIXES: u32 = 100_000;
    let folder = Folder::new("list");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let plan = |first: u32| Plan { listed: list(first, PREFIXES).into(), ..loopback() };
    let reason_of = |dataplane: &mut Dataplane, source: u32| {
        let payload = Payload::Tcp { from: 1, to: 2, flags: 16 };
        let frame = FrameBuilder::v4(Ipv4Addr::from(source).octets(), [9, 9, 9, 9], payload).build();
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
        dataplane.ingress_program().unwrap().test_run(options).unwrap().return_value
    };
    const DROP: u32 = 1;
    const PASS: u32 = 2;
    let (low, high) = (0x0b00_0000, 0x5000_0000);
    for (first, other) in [(low, high), (high, low), (low, high)] {
        let plan = plan(first);
        let begun = Instant::now();
        let applied = dataplane.apply(&plan).unwrap();
        println!("{PREFIXES} prefixes: {:?}, {} bytes", begun.elapsed(), applied.bytes);
        assert_eq!(reason_of(&mut dataplane, first + 7), DROP);
        assert_eq!(reason_of(&mut dataplane, first + (PREFIXES - 1) * 256 + 7), DROP);
        assert_eq!(reason_of(&mut dataplane, other + 7), PASS);
        let counters = dataplane.counters().unwrap().lists(2).unwrap();
        assert_eq!(counters.iter().map(|counter| counter.packets).collect::<Vec<_>>(), [0, 2]);
    }
}

#[test]
fn records_are_told_within_the_budget_and_the_rest_is_counted() {
    let test = "records_are_told_within_the_budget_and_the_rest_is_counted";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("ring");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    dataplane.apply(&loopback()).unwrap();
    end_grace(&dataplane);
    let frame = FrameBuilder::v4([10, 0, 0, 1], [9, 9, 9, 9], Payload::Udp { from: 1, to: 2 }).build();
    let ring = dataplane.packet_ring().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let record = runtime.block_on(async {
        let mut receiver = ring.into_receiver().unwrap();
        // Waits first: the record comes while somebody is waiting for it.
        let (record, ()) = tokio::join!(receiver.receive(), async {
            let options = TestRunOptions { data_in: Some(&frame), repeat: 1, ..TestRunOptions::default() };
            dataplane.ingress_program().unwrap().test_run(options).unwrap();
        });
        record.unwrap()
    });
    assert_eq!((record.reason, record.zone_from, record.protocol), (Reason::DefaultDenied as u8, 3, 17));
    assert_eq!(record.source, abi::mapped([10, 0, 0, 1]));
    assert_eq!(record.destination_port, 2_u16.to_be_bytes());

    // The ring holds 3640 records; over many runs most are over the budget of their second.
    let repeat = 100 * abi::EVENT_BUDGET;
    let options = TestRunOptions { data_in: Some(&frame), repeat, ..TestRunOptions::default() };
    dataplane.ingress_program().unwrap().test_run(options).unwrap();
    let mut ring = dataplane.packet_ring().unwrap();
    let told = std::iter::from_fn(|| ring.next_record()).count() as u64;
    let lost: u64 = dataplane.counters().unwrap().lost().unwrap().iter().map(|(_, count)| count).sum();
    assert_eq!(told + lost, u64::from(repeat), "what is not told is counted");
    assert!(told >= 1 && lost > told);
}

#[test]
fn the_list_of_flows_ends_and_repeats_none_while_flows_come_and_go() {
    let test = "the_list_of_flows_ends_and_repeats_none_while_flows_come_and_go";
    if !can_run(test) {
        return;
    }
    const STEADY: u32 = 300;
    let folder = Folder::new("churn");
    let (dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let mut flows = dataplane.flows().unwrap();
    for n in 0..STEADY {
        assert_eq!(flows.cut_flow(key(n), 1).unwrap(), 1);
    }
    assert_eq!(flows.list(10).unwrap().len(), 10);
    assert_eq!(flows.list(usize::MAX).unwrap().len(), STEADY as usize);
    let (stop, mut churned) = (AtomicBool::new(false), dataplane.flows().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for n in STEADY..STEADY + 20 {
                    churned.cut_flow(key(n), 1).unwrap();
                }
                for n in STEADY..STEADY + 20 {
                    churned.forget(&key(n)).unwrap();
                }
            }
        });
        let lists: Vec<_> = (0..50).map(|_| flows.list(usize::MAX)).collect();
        stop.store(true, Ordering::Relaxed);
        for listed in lists {
            let listed = listed.unwrap();
            let keys: BTreeSet<FlowKey> = listed.iter().map(|flow| flow.key).collect();
            assert_eq!(keys.len(), listed.len());
            assert!(listed.len() <= STEADY as usize + 20);
        }
    });
}

/// A tuple of a flow that nobody has.
fn key(n: u32) -> FlowKey {
    FlowKey {
        source: abi::mapped(n.to_be_bytes()),
        destination: abi::mapped([9, 9, 9, 9]),
        source_port: [0, 1],
        destination_port: [0, 2],
        protocol: 6,
        zone: 3,
        reserved: [0; 2],
    }
}

#[test]
fn a_full_flow_table_takes_no_more_and_its_size_is_a_layout_of_its_own() {
    let test = "a_full_flow_table_takes_no_more_and_its_size_is_a_layout_of_its_own";
    if !can_run(test) {
        return;
    }
    let folder = Folder::new("full");
    for flows in [0, 1000, 2048, 5000, 8_388_608] {
        let error = Dataplane::open_with(folder.path(), &Options { flows, ..Options::default() })
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, Error::FlowTable { .. }), "{flows}");
        assert!(error.to_string().contains("power of two from 4096 to 4194304"), "{error}");
    }
    let (dataplane, _) =
        Dataplane::open_with(folder.path(), &Options { flows: 4096, ..Options::default() }).unwrap();
    let mut flows = dataplane.flows().unwrap();
    let mut refused = 0_u32;
    for n in 0..8192 {
        match flows.cut_flow(key(n), 1) {
            Ok(count) => assert_eq!(count, 1),
            Err(Error::Full { limit, .. }) => refused += u32::from(limit == 4096),
            Err(error) => panic!("{error}"),
        }
    }
    let counts = flows.counts();
    assert_eq!((counts.places, counts.half_open, counts.idle), (4096, 0, 0));
    assert_eq!(counts.assured, 8192 - refused as usize, "what was refused is all that is not there");
    assert_eq!(flows.list(usize::MAX).unwrap().len(), counts.assured);
    for known in flows.list(100).unwrap() {
        flows.forget(&known.key).unwrap();
    }
    assert_eq!(flows.counts().assured, counts.assured - 100);
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let banned = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/64"].map(net);
    let mut orders = dataplane.orders().unwrap();
    for net in banned {
        orders.set_ban(net, BanValue { until: u64::MAX, ..BanValue::default() }).unwrap();
    }
    orders.set_allow(net("192.0.2.2/32"), u64::MAX).unwrap();
    drop((orders, flows, dataplane));

    let (dataplane, adopted) = Dataplane::open(folder.path()).unwrap();
    assert!(!adopted.maps, "another size is another layout");
    let orders = dataplane.orders().unwrap();
    let mut held: Vec<IpNet> = orders.bans().unwrap().into_iter().map(|(net, _)| net).collect();
    held.sort_unstable();
    assert_eq!((adopted.bans, held), (3, banned.to_vec()), "bans hold on");
    assert_eq!(orders.allows().unwrap().len(), 1);
    let active = dataplane.active().unwrap().flags;
    assert_eq!(active, abi::ACTIVE_BANS | abi::ACTIVE_RANGES | abi::ACTIVE_ALLOWS);
    assert_eq!(dataplane.retire_other_layouts().unwrap(), 1);
}

#[test]
fn bans_of_every_length_hold_until_the_last_is_gone() {
    let test = "bans_of_every_length_hold_until_the_last_is_gone";
    if !can_run(test) {
        return;
    }
    const MANY: u32 = 100_000;
    let folder = Folder::new("bans");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    dataplane.apply(&Plan { rows: vec![default_row(Action::Pass)], ..loopback() }).unwrap();
    let mut orders = dataplane.orders().unwrap();
    let net = |text: &str| -> IpNet { text.parse().unwrap() };
    let ban = |until| BanValue { until, decision: 7, directions: DIRECTION_IN, ..BanValue::default() };
    let mut port = 0;
    let mut drops = |source: &str| {
        // A flow of its own each time.
        port += 1;
        let payload = Payload::Tcp { from: port, to: 2, flags: 2 };
        let frame = match source.parse().unwrap() {
            std::net::IpAddr::V4(v4) => FrameBuilder::v4(v4.octets(), [9, 9, 9, 9], payload),
            std::net::IpAddr::V6(v6) => FrameBuilder::new(v6.octets(), Ipv6Addr::LOCALHOST.octets(), payload),
        };
        let frame = frame.build();
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::default() };
        dataplane.ingress_program().unwrap().test_run(options).unwrap().return_value == 1
    };
    for (banned, inside, outside) in [
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.0/24", "192.0.2.77", "192.0.3.1"),
        ("0.0.0.0/1", "126.1.2.3", "128.0.0.1"),
        ("2001:db8::/64", "2001:db8::77", "2001:db8:0:1::1"),
        ("2001:db8::/128", "2001:db8::", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
    ] {
        assert!(!drops(inside), "{banned}");
        orders.set_ban(net(banned), ban(u64::MAX)).unwrap();
        assert!(drops(inside) && !drops(outside), "{banned}");
        assert_eq!(orders.bans().unwrap().len(), 1);
        // The longest prefix speaks: this one is over.
        let narrow = format!("{inside}/{}", if inside.contains(':') { 128 } else { 32 });
        orders.set_ban(net(&narrow), ban(boot_now())).unwrap();
        assert!(!drops(inside), "{banned} with {narrow}");
        orders.clear_ban(net(&narrow)).unwrap();
        orders.set_ban(net(banned), ban(u64::MAX)).unwrap();
        assert!(drops(inside));
        orders.set_allow(net(&narrow), u64::MAX).unwrap();
        assert!(!drops(inside), "{banned} and allowed");
        orders.clear_allow(net(&narrow)).unwrap();
        orders.clear_ban(net(banned)).unwrap();
        assert!(!drops(inside) && orders.bans().unwrap().is_empty());
    }
    let many: Vec<(IpNet, BanValue)> = (0..MANY)
        .map(|n| (IpNet::new(Ipv4Addr::from(0x0b00_0000 + n).into(), 32).unwrap(), ban(u64::MAX)))
        .collect();
    let begun = Instant::now();
    orders.set_bans(&many).unwrap();
    println!("{MANY} bans put back in {:?}", begun.elapsed());
    assert!(drops("11.0.0.0") && drops("11.1.134.159") && !drops("11.1.134.160"));
    assert_eq!(orders.bans().unwrap().len(), MANY as usize);
}
