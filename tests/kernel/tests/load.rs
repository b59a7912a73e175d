//! The programs load, stay well within what the verifier walks, and say what they cost.

use abi::{Action, DIRECTION_IN, FlowKey, ListValue, PolicyValue, RULE_DEFAULT, Reason, ZoneFlags};
use aya::{TestRunOptions, programs::TestRun as _};
use datapath::host::{FrameBuilder, Payload};
use enforce::xdp::Dataplane;
use ipnet::IpNet;
use kernel_tests::{Folder, can_run};
use policy::{Plan, PolicyPrefix, Port};
use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
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
    let mut plan = Plan {
        ports: vec![Port { interface: "lo".into(), vlan: 0, zone: 3 }],
        zones: [(3, ZoneFlags::default())].into(),
        networks: [("0.0.0.0/0".parse().unwrap(), 3), ("::/0".parse().unwrap(), 3)].into(),
        ..Plan::default()
    };
    let value = PolicyValue { action: Action::Pass as u8, flags: 0, rule: RULE_DEFAULT };
    plan.policy.insert(PolicyPrefix { from: 3, to: 3, protocol: 17, port: 53, bits: 16 }, value);
    dataplane.apply(&plan).unwrap();
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
fn a_large_list_is_in_force_counted_and_replaced() {
    let test = "a_large_list_is_in_force_counted_and_replaced";
    if !can_run(test) {
        return;
    }
    const PREFIXES: u32 = 100_000;
    let folder = Folder::new("list");
    let (mut dataplane, _) = Dataplane::open(folder.path()).unwrap();
    let plan = |first: u32| {
        let value = ListValue { list: 1, directions: DIRECTION_IN, observe: 0 };
        let net = |n: u32| IpNet::new(Ipv4Addr::from(first + n * 256).into(), 24).unwrap();
        Plan {
            ports: vec![Port { interface: "lo".into(), vlan: 0, zone: 3 }],
            zones: [(3, ZoneFlags::default())].into(),
            networks: [("0.0.0.0/0".parse().unwrap(), 3)].into(),
            listed: (0..PREFIXES).map(|n| (net(n), value)).collect(),
            ..Plan::default()
        }
    };
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
        let begun = std::time::Instant::now();
        dataplane.apply(&plan(first)).unwrap();
        println!("{PREFIXES} prefixes: {:?}, {} bytes", begun.elapsed(), dataplane.memory().unwrap());
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
    let plan = Plan {
        ports: vec![Port { interface: "lo".into(), vlan: 0, zone: 3 }],
        zones: [(3, ZoneFlags::default())].into(),
        ..Plan::default()
    };
    dataplane.apply(&plan).unwrap();
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
    let key = |n: u32| FlowKey {
        source: abi::mapped(n.to_be_bytes()),
        destination: abi::mapped([9, 9, 9, 9]),
        source_port: [0, 1],
        destination_port: [0, 2],
        protocol: 6,
        zone: 3,
        reserved: [0; 2],
    };
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
