//! The same frames over the same tables: the kernel and the host must judge alike, and remember alike.
//!
//! Seeded; `SECD_SEED` takes another seed. The verdict of the kernel is read from the program's own scratch map, so
//! the comparison costs production nothing.
#![expect(unsafe_code, reason = "verdicts are read from the kernel's bytes")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "differential/frames.rs"]
mod frames;
#[path = "differential/world.rs"]
mod world;

use abi::{Action, FLOW_ANSWERED, FlowKey, FlowValue, Reason};
use aya::{
    TestRunOptions,
    maps::{MapData, PerCpuArray},
    programs::TestRun as _,
};
use datapath::{Egress, Input, Verdict, decide, host::MemoryTables, teach};
use enforce::xdp::{Dataplane, Flows, Orders, boot_now};
use frames::{Chance, Frames};
use kernel_tests::{Folder, can_run, stay_on_this_cpu};
use std::collections::BTreeMap;

/// Frames judged in all.
const FRAMES: usize = 120_000;
/// Rounds: each begins with an empty flow table and another variant of the plan.
const ROUNDS: usize = 12;
/// `XDP_DROP` and `XDP_PASS`.
const XDP: [(bool, u32); 2] = [(true, 1), (false, 2)];

#[test]
fn kernel_and_host_judge_alike() {
    if !can_run("kernel_and_host_judge_alike") {
        return;
    }
    let cpu = stay_on_this_cpu();
    let seed = std::env::var("SECD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5ecd_0001_u64);
    let folder = Folder::new("differential");
    let mut kernel = Kernel::open(&folder, cpu);
    let mut chance = Chance::new(seed);
    let mut seen = Seen::default();

    let mut host = MemoryTables::default();
    for _ in 0..100 {
        let frame = Frames::new(&mut chance).any(&host);
        seen.count(kernel.compare(&host, &frame));
    }
    for round in 0..ROUNDS {
        host = world::tables(round);
        world::apply(&mut kernel.dataplane, &mut kernel.orders, round);
        kernel.forget_flows();
        host.active = kernel.dataplane.active().unwrap();
        for number in 0..FRAMES / ROUNDS {
            match number % 500 {
                100 => host.active.epoch = kernel.orders.bump_epoch().unwrap(),
                200 => kernel.cut(&host, &mut chance),
                _ => {}
            }
            let mut frame = Frames::new(&mut chance).any(&host);
            if chance.one_in(6) {
                // Test runs take no packet without a network header.
                frame.resize(frame.len().max(60), 0);
                kernel.compare_leaving(&host, &frame);
                seen.taught += 1;
            } else {
                seen.count(kernel.compare(&host, &frame));
            }
        }
        kernel.compare_flows(&host);
        seen.flows += host.flows.borrow().len();
    }
    println!("seed {seed:#x}: {seen:?}");
    assert!(seen.judged + seen.taught >= 100_000, "{} frames", seen.judged + seen.taught);
    assert!(
        seen.policy * 10 >= seen.judged * 3,
        "{} of {} frames reached the policy",
        seen.policy,
        seen.judged
    );
    for reason in Reason::ALL {
        assert!(seen.reasons.contains_key(reason.name()), "no frame was judged {}", reason.name());
    }
    assert!(seen.flows > 1000 && seen.dropped > 1000 && seen.observed > 1000);
}

/// What the frames came to.
#[derive(Debug, Default)]
struct Seen {
    judged: usize,
    taught: usize,
    policy: usize,
    dropped: usize,
    observed: usize,
    flows: usize,
    reasons: BTreeMap<&'static str, usize>,
}

impl Seen {
    fn count(&mut self, verdict: Verdict) {
        self.judged += 1;
        self.dropped += usize::from(verdict.drops());
        self.observed += usize::from(verdict.observed);
        let by_policy =
            matches!(verdict.reason, Reason::RuleAllowed | Reason::RuleDenied | Reason::DefaultDenied);
        self.policy += usize::from(by_policy || verdict.opened);
        *self.reasons.entry(verdict.reason.name()).or_default() += 1;
    }
}

/// The programs in the kernel.
struct Kernel {
    dataplane: Dataplane,
    orders: Orders,
    flows: Flows,
    cpu: usize,
}

impl Kernel {
    fn open(folder: &Folder, cpu: usize) -> Self {
        let (dataplane, _) = Dataplane::open(folder.path()).unwrap();
        let (orders, flows) = (dataplane.orders().unwrap(), dataplane.flows().unwrap());
        Self { dataplane, orders, flows, cpu }
    }

    /// Judges a frame on both sides.
    fn compare(&mut self, host: &MemoryTables, frame: &[u8]) -> Verdict {
        let mut expected = Verdict::EMPTY;
        decide(&frame, &input(frame), host, &mut expected);
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let run = self.dataplane.ingress_program().unwrap().test_run(options).unwrap();
        let bytes: [u8; size_of::<Verdict>()] = self.scratch("VERDICT");
        // SAFETY: the kernel's program wrote a verdict there, in the same layout.
        let found = unsafe { bytes.as_ptr().cast::<Verdict>().read_unaligned() };
        assert_eq!(found.result(), expected.result(), "frame {frame:02x?}");
        assert!(XDP.contains(&(expected.drops(), run.return_value)), "{} for {expected:?}", run.return_value);
        expected
    }

    /// Lets a frame leave on both sides.
    fn compare_leaving(&mut self, host: &MemoryTables, frame: &[u8]) {
        let mut expected = Egress::default();
        teach(&frame, &input(frame), host, &mut expected);
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let run = self.dataplane.egress_program().unwrap().test_run(options).unwrap();
        let bytes: [u8; size_of::<Egress>()] = self.scratch("LEAVING");
        // SAFETY: as above.
        let found = unsafe { bytes.as_ptr().cast::<Egress>().read_unaligned() };
        assert_eq!(found, expected, "frame {frame:02x?}");
        assert_eq!(run.return_value, if expected.cut { 2 } else { 0 }, "TC_ACT_SHOT or TC_ACT_OK");
    }

    fn scratch<const N: usize>(&self, name: &str) -> [u8; N] {
        let map: PerCpuArray<&MapData, [u8; N]> = self.dataplane.map(name).unwrap().try_into().unwrap();
        map.get(&0, 0).unwrap()[self.cpu]
    }

    /// Cuts some known flow on both sides.
    fn cut(&mut self, host: &MemoryTables, chance: &mut Chance) {
        let known: Vec<FlowKey> = host.flows.borrow().keys().copied().collect();
        let Some(key) = chance.of(&known).copied() else { return };
        self.flows.cut_flow(key, 2_000_001).unwrap();
        for (key, value) in self.listed() {
            if value.action == Action::Drop as u8 {
                host.flows.borrow_mut().insert(key, value);
            }
        }
    }

    fn forget_flows(&mut self) {
        for (key, _) in self.listed() {
            self.flows.forget(&key).unwrap();
        }
    }

    fn listed(&self) -> BTreeMap<FlowKey, FlowValue> {
        self.flows.list(usize::MAX).unwrap().into_iter().map(|flow| (flow.key, flow.value)).collect()
    }

    /// Both remember the same flows, with the same counts; only times differ.
    fn compare_flows(&self, host: &MemoryTables) {
        let timeless = |value: &FlowValue| FlowValue { first_seen: 0, last_seen: 0, ..*value };
        let expected: BTreeMap<FlowKey, FlowValue> =
            host.flows.borrow().iter().map(|(key, value)| (*key, timeless(value))).collect();
        let found: BTreeMap<FlowKey, FlowValue> =
            self.listed().iter().map(|(key, value)| (*key, timeless(value))).collect();
        assert!(expected.values().any(|value| value.flags & FLOW_ANSWERED != 0), "no flow was answered");
        for (key, value) in &expected {
            assert_eq!(found.get(key), Some(value), "flow {key:?}");
        }
        assert_eq!(found.len(), expected.len());
    }
}

/// Test runs come in at the loopback interface.
fn input(frame: &[u8]) -> Input {
    Input { ifindex: 1, vlan: 0, now: boot_now(), length: u32::try_from(frame.len()).unwrap() }
}
