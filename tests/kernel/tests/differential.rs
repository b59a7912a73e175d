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

use abi::{
    FlowKey, FlowSet, FlowValue, KEY_PLACES, PLACE_WORDS, RateKey, RateState, Reason, STATE_ASSURED, spot,
    ticks,
};
use aya::{
    Pod, TestRunOptions,
    maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues},
    programs::TestRun as _,
};
use datapath::{Egress, Input, Places as _, Verdict, host::judge, teach};
use enforce::xdp::{Dataplane, Flows, Orders, boot_now};
use frames::{Chance, Frames};
use kernel_tests::{Folder, can_run, end_grace, stay_on_this_cpu, ticks_now};
use policy::HostTables;
use std::{collections::BTreeMap, sync::Arc};

/// Frames judged in all.
const FRAMES: usize = 120_000;
/// Rounds: each begins with an empty flow table and another variant of the plan.
const ROUNDS: usize = 12;
/// `XDP_DROP` and `XDP_PASS`.
const XDP: [(bool, u32); 2] = [(true, 1), (false, 2)];
/// Tuples of which followers are made.
const REMEMBERED: usize = 400;

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

    let mut host = HostTables::new(Arc::default()).unwrap();
    host.active = kernel.dataplane.active().unwrap();
    for _ in 0..100 {
        let frame = Frames::new(&mut chance).any(&[]);
        seen.count(&kernel.compare(&host, &frame));
    }
    for round in 0..ROUNDS {
        host = world::tables(round);
        world::apply(&mut kernel.dataplane, &mut kernel.orders, round);
        kernel.forget_everything();
        host.active = kernel.dataplane.active().unwrap();
        let mut known: Vec<FlowKey> = Vec::new();
        let mut frame = Vec::new();
        for number in 0..FRAMES / ROUNDS {
            match number % 1000 {
                100 => host.active.epoch = kernel.orders.bump_epoch().unwrap(),
                200 | 600 => kernel.cut(&host, &known, &mut chance),
                _ => {}
            }
            // Some come twice: what the first one changed the second finds.
            if frame.is_empty() || !chance.one_in(4) {
                frame = Frames::new(&mut chance).any(&known);
            }
            let tick = ticks_now();
            let (mut learnt, touched) = if chance.one_in(5) {
                // Test runs take no packet without a network header.
                frame.resize(frame.len().max(60), 0);
                seen.taught += 1;
                let taught = kernel.compare_leaving(&host, &frame);
                (vec![taught.answer], [taught.flow, taught.answer])
            } else {
                let judged = kernel.compare(&host, &frame);
                seen.count(&judged);
                let touched = [judged.verdict.flow, judged.verdict.reverse];
                (if judged.verdict.opened { touched.to_vec() } else { vec![] }, touched)
            };
            // Which entry makes way in a full set depends on ticks, and both may have judged in different ones.
            if ticks_now() != tick {
                kernel.hand_over(&host, touched);
            }
            learnt.retain(|key| key.protocol != 0);
            for key in learnt {
                if known.len() < REMEMBERED {
                    known.push(key);
                } else {
                    known[chance.below(REMEMBERED)] = key;
                }
            }
        }
        kernel.compare_flows(&host, &mut seen);
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
    assert!(seen.flows > 1000 && seen.assured > 100 && seen.dropped > 1000 && seen.observed > 1000);
    assert!(seen.fast > 1000, "the fast path was taken {} times", seen.fast);
}

/// What the frames came to.
#[derive(Debug, Default)]
struct Seen {
    judged: usize,
    fast: usize,
    taught: usize,
    policy: usize,
    dropped: usize,
    observed: usize,
    flows: usize,
    assured: usize,
    reasons: BTreeMap<&'static str, usize>,
}

impl Seen {
    fn count(&mut self, judged: &Judged) {
        let verdict = &judged.verdict;
        self.judged += 1;
        self.fast += usize::from(judged.fast);
        self.dropped += usize::from(verdict.drops());
        self.observed += usize::from(verdict.observed);
        let by_policy =
            matches!(verdict.reason, Reason::RuleAllowed | Reason::RuleDenied | Reason::DefaultDenied);
        self.policy += usize::from(by_policy || verdict.opened);
        *self.reasons.entry(verdict.reason.name()).or_default() += 1;
    }
}

/// What both sides said of a frame.
struct Judged {
    verdict: Verdict,
    /// By the fast path.
    fast: bool,
}

/// The programs in the kernel.
struct Kernel {
    dataplane: Dataplane,
    orders: Orders,
    flows: Flows,
    /// Where the program leaves its verdicts; the fast path leaves none.
    verdicts: PerCpuArray<MapData, [u8; size_of::<Verdict>()]>,
    cpu: usize,
}

impl Kernel {
    fn open(folder: &Folder, cpu: usize) -> Self {
        let (dataplane, _) = Dataplane::open(folder.path()).unwrap();
        let (orders, flows) = (dataplane.orders().unwrap(), dataplane.flows().unwrap());
        let Some(Map::PerCpuArray(data)) = dataplane.map("VERDICT") else { panic!("VERDICT") };
        let data = MapData::from_id(data.info().unwrap().id()).unwrap();
        let verdicts = PerCpuArray::try_from(Map::PerCpuArray(data)).unwrap();
        Self { dataplane, orders, flows, verdicts, cpu }
    }

    /// Judges a frame on both sides.
    fn compare(&mut self, host: &HostTables, frame: &[u8]) -> Judged {
        let mut expected = Verdict::EMPTY;
        let passed = judge(&frame, &input(frame), host, &mut expected);
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let untouched = [0xa5; size_of::<Verdict>()];
        let cpus = self.verdicts.get(&0, 0).unwrap().len();
        self.verdicts.set(0, PerCpuValues::try_from(vec![untouched; cpus]).unwrap(), 0).unwrap();
        let run = self.dataplane.ingress_program().unwrap().test_run(options).unwrap();
        assert!(XDP.contains(&(expected.drops(), run.return_value)), "{} for {expected:?}", run.return_value);
        let bytes = self.verdicts.get(&0, 0).unwrap()[self.cpu];
        assert_eq!(passed.is_some(), bytes == untouched, "only one took the fast path: {frame:02x?}");
        if passed.is_none() {
            // SAFETY: the kernel's program wrote a verdict there, in the same layout.
            let found = unsafe { bytes.as_ptr().cast::<Verdict>().read_unaligned() };
            assert_eq!(found.result(), expected.result(), "frame {frame:02x?}");
        }
        Judged { verdict: expected, fast: passed.is_some() }
    }

    /// Lets a frame leave on both sides.
    fn compare_leaving(&mut self, host: &HostTables, frame: &[u8]) -> Egress {
        let mut expected = Egress::default();
        teach(&frame, &input(frame), host, &mut expected);
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::default() };
        let run = self.dataplane.egress_program().unwrap().test_run(options).unwrap();
        let bytes: [u8; size_of::<Egress>()] = self.scratch("LEAVING");
        // SAFETY: as above.
        let found = unsafe { bytes.as_ptr().cast::<Egress>().read_unaligned() };
        assert_eq!(timeless(&found), timeless(&expected), "frame {frame:02x?}");
        assert_eq!(run.return_value, if expected.cut { 2 } else { 0 }, "TC_ACT_SHOT or TC_ACT_OK");
        expected
    }

    fn scratch<const N: usize>(&self, name: &str) -> [u8; N] {
        let map: PerCpuArray<&MapData, [u8; N]> = self.dataplane.map(name).unwrap().try_into().unwrap();
        map.get(&0, 0).unwrap()[self.cpu]
    }

    /// Cuts some known flow on both sides.
    fn cut(&mut self, host: &HostTables, known: &[FlowKey], chance: &mut Chance) {
        let Some(key) = chance.of(known).copied() else { return };
        if self.flows.get(&key).unwrap().is_none() {
            return;
        }
        let before = self.listed();
        self.flows.cut_flow(key, 2_000_001).unwrap();
        for (key, value) in self.listed() {
            if before.get(&key).map(FlowValue::verdict_word) != Some(value.verdict_word()) {
                write(host, &key, &value);
            }
        }
    }

    /// Gives the host what the kernel has in the sets of these tuples, word by word.
    fn hand_over(&self, host: &HostTables, touched: [FlowKey; 2]) {
        let sets: Array<&MapData, FlowSet> = self.dataplane.map("FLOWS").unwrap().try_into().unwrap();
        for key in touched {
            let index = spot(&key.words(), &host.active.seed, host.active.flow_mask).set;
            let (from, to) = (sets.get(&index, 0).unwrap(), host.flows.set(index).unwrap());
            for (way, place) in (0..).zip(from.places()) {
                for (word, value) in (0..).zip(place.words) {
                    to.store(way, word, value);
                }
            }
        }
    }

    /// Clears what an earlier round left: flows, buckets and scans.
    fn forget_everything(&mut self) {
        for (key, _) in self.listed() {
            self.flows.forget(&key).unwrap();
        }
        clear::<RateKey, RateState>(&self.dataplane, "RATES");
        let Some(Map::Array(data)) = self.dataplane.map("SCANNERS") else { panic!("SCANNERS") };
        let data = MapData::from_id(data.info().unwrap().id()).unwrap();
        let mut scanners: Array<MapData, FlowSet> = Array::try_from(Map::Array(data)).unwrap();
        for index in 0..scanners.len() {
            scanners.set(index, FlowSet::default(), 0).unwrap();
        }
        end_grace(&self.dataplane);
    }

    fn listed(&self) -> BTreeMap<FlowKey, FlowValue> {
        self.flows.list(usize::MAX).unwrap().into_iter().map(|flow| (flow.key, flow.value)).collect()
    }

    /// Both remember the same flows, with the same counts; only times differ. Each took the time itself, so what is over
    /// at about this moment may be over for one of them.
    fn compare_flows(&self, host: &HostTables, seen: &mut Seen) {
        let timeless = |value: &FlowValue| FlowValue { first_seen: 0, last_seen: 0, ..*value };
        let moment = ticks(1_000_000_000);
        let now = ticks_now();
        let (sooner, later) = (now.wrapping_sub(moment), now.wrapping_add(moment));
        let may_stand = |value: &FlowValue| value.stands(now) || value.stands(sooner);
        let (found, counts) = (self.listed(), self.flows.counts());
        let expected: BTreeMap<FlowKey, FlowValue> = host.flows.entries().into_iter().collect();
        for (key, value) in &expected {
            match found.get(key) {
                Some(found) => assert_eq!(timeless(found), timeless(value), "flow {key:?}"),
                None => assert!(!value.stands(later), "the kernel does not know {key:?}: {value:?}"),
            }
        }
        for (key, value) in &found {
            assert!(expected.get(key).is_some_and(may_stand), "the kernel knows {key:?} as well: {value:?}");
        }
        seen.flows += found.len();
        seen.assured += found.values().filter(|value| value.state == STATE_ASSURED).count();
        let (least, most) = (
            expected.values().filter(|value| value.stands(later)).count(),
            expected.values().filter(|value| may_stand(value)).count(),
        );
        assert!(
            (least..=most).contains(&(counts.assured + counts.half_open)),
            "{least} to {most}: {counts:?}"
        );
        assert_eq!(counts.places, world::FLOWS as usize);
    }
}

/// What two runs at different times have in common.
fn timeless(egress: &Egress) -> (FlowKey, FlowKey, u32, [u8; 2], [bool; 2]) {
    let Egress { flow, answer, rule, zone_from, zone_to, cut, inspect, .. } = *egress;
    (flow, answer, rule, [zone_from, zone_to], [cut, inspect])
}

/// Writes what stands behind a known flow into the host's table.
fn write(host: &HostTables, key: &FlowKey, value: &FlowValue) {
    const STANDING: u32 = 6;
    const VERDICT: u32 = 7;
    let words = key.words();
    let home = spot(&words, &host.active.seed, host.active.flow_mask);
    let set = host.flows.set(home.set).unwrap();
    let way = (0..abi::FLOW_WAYS as u32)
        .find(|way| KEY_PLACES.into_iter().zip(words).all(|(place, word)| set.load(*way, place) == word))
        .unwrap_or_else(|| panic!("the host does not know {key:?} among {PLACE_WORDS} words"));
    set.store(way, STANDING, value.standing_word());
    set.store(way, VERDICT, value.verdict_word());
}

/// Removes every entry of a hash.
fn clear<K: Pod, V: Pod>(dataplane: &Dataplane, name: &str) {
    let Some(Map::LruHashMap(data)) = dataplane.map(name) else { panic!("{name} is no hash") };
    let data = MapData::from_id(data.info().unwrap().id()).unwrap();
    let mut map: HashMap<MapData, K, V> = HashMap::try_from(Map::LruHashMap(data)).unwrap();
    let keys: Vec<K> = map.keys().collect::<Result<_, _>>().unwrap();
    for key in keys {
        map.remove(&key).unwrap();
    }
}

/// Test runs come in at the loopback interface.
fn input(frame: &[u8]) -> Input {
    Input {
        ifindex: 1,
        now: boot_now(),
        ticks: ticks_now(),
        length: u32::try_from(frame.len()).unwrap(),
        ..Input::default()
    }
}
