//! secd's programs in the kernel beside the bench's own, and the keys they are fed.
#![expect(unsafe_code, reason = "keys are written into a mapped array")]

use abi::{Action, Reason};
use anyhow::{Context as _, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{
        Array, Map, MapData, PerCpuArray, ProgramArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{SchedClassifier, TestRun as _, Xdp},
};
use bench_programs::{Asked, Control, KEYS, Key4, Key6, Line, slot};
use enforce::xdp::{Counters, Dataplane, Options, Orders};
use ipnet::Ipv4Net;
use kernel_tests::Folder;
use std::{
    collections::BTreeMap,
    marker::PhantomData,
    os::fd::{AsFd as _, AsRawFd as _},
    path::{Path, PathBuf},
};

use crate::{
    clock,
    frame::{Family, Frame},
};

/// Entries of secd's flow table, two a flow: half of them are taken by the half million flows that are measured.
const FLOW_ENTRIES: u32 = 1 << 21;
/// Programs of the bench that run on arrival.
const ARRIVING: [&str; 17] = [
    "ask",
    "ask_nothing",
    "bare",
    "bare_counted",
    "lpm_small",
    "lpm_large",
    "feed4_bare",
    "feed6_bare",
    "feed4_secd",
    "feed6_secd",
    "feed4_small",
    "feed4_large",
    "generate",
    "floor_nothing",
    "floor_helpers",
    "floor_calls",
    "floor_loads",
];
/// Its programs that run on leaving.
const LEAVING: [&str; 2] = ["answer4", "answer6"];

/// A side of a comparison in test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// `XDP_DROP` alone, without anything that feeds it.
    Plain,
    /// `XDP_DROP` behind what feeds it: what is subtracted.
    Bare,
    /// secd.
    Secd,
    /// The kernel's longest-prefix table, small and large.
    Small,
    /// The same, large.
    Large,
    /// The classifier alone.
    Ask,
    /// What reads the questions: what is subtracted there.
    AskNothing,
    /// What shows a floor.
    Floor(Floor),
}

/// What nobody is quicker than on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// The program that does none of these: what is subtracted.
    Nothing,
    /// Calls of a helper.
    Helpers,
    /// Calls of a function.
    Calls,
    /// Loads that wait for each other.
    Loads,
}

impl Side {
    const fn program(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Plain, _) => "bare",
            (Self::Bare, Family::V4) => "feed4_bare",
            (Self::Bare, Family::V6) => "feed6_bare",
            (Self::Secd, Family::V4) => "feed4_secd",
            (Self::Secd, Family::V6) => "feed6_secd",
            (Self::Small, _) => "feed4_small",
            (Self::Large, _) => "feed4_large",
            (Self::Ask, _) => "ask",
            (Self::AskNothing, _) => "ask_nothing",
            (Self::Floor(Floor::Nothing), _) => "floor_nothing",
            (Self::Floor(Floor::Helpers), _) => "floor_helpers",
            (Self::Floor(Floor::Calls), _) => "floor_calls",
            (Self::Floor(Floor::Loads), _) => "floor_loads",
        }
    }
}

/// Everything that is loaded.
pub(crate) struct Harness {
    pub(crate) programs: Programs,
    pub(crate) dataplane: Dataplane,
    pub(crate) orders: Orders,
    pub(crate) counters: Counters,
    _folder: Folder,
}

impl Harness {
    /// Loads secd's programs and the bench's own.
    pub(crate) fn open(object: &Path) -> Result<Self> {
        let folder = Folder::new("bench");
        let (mut dataplane, _) =
            Dataplane::open_with(folder.path(), &Options { flows: FLOW_ENTRIES, ..Options::default() })
                .context("load secd's programs")?;
        let mut programs = Programs::open(object, Some(&images_of(folder.path())?))?;
        let ingress = dataplane.ingress_program()?.fd()?.try_clone()?;
        programs
            .jump_table("ARRIVING")?
            .set(slot::SECD, &ingress, 0)
            .context("jump to secd's XDP program")?;
        let egress = dataplane.egress_program()?.fd()?.try_clone()?;
        programs.jump_table("LEAVING")?.set(slot::SECD, &egress, 0).context("jump to secd's TC program")?;
        let (orders, counters) = (dataplane.orders()?, dataplane.counters()?);
        Ok(Self { programs, dataplane, orders, counters, _folder: folder })
    }

    /// Packets by reason and action, of all zones.
    pub(crate) fn counted(&self) -> Result<Counted> {
        let mut counted = BTreeMap::new();
        for count in self.counters.packets()? {
            *counted.entry((count.reason, count.action)).or_default() += count.counter.packets;
        }
        Ok(Counted(counted))
    }
}

/// How many packets were judged how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted(BTreeMap<(Reason, Action), u64>);

impl Counted {
    /// What came since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let grown = self.0.iter().filter_map(|(key, count)| {
            let more = count - before.0.get(key).copied().unwrap_or(0);
            (more > 0).then_some((*key, more))
        });
        Self(grown.collect())
    }

    /// All of them.
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those of some reasons with one action.
    pub(crate) fn of(&self, reasons: &[Reason], action: Action) -> u64 {
        let wanted = |key: &(Reason, Action)| reasons.contains(&key.0) && key.1 == action;
        self.0.iter().filter(|(key, _)| wanted(key)).map(|(_, count)| count).sum()
    }

    /// Those with one action.
    pub(crate) fn with(&self, action: Action) -> u64 {
        self.0.iter().filter(|(key, _)| key.1 == action).map(|(_, count)| count).sum()
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|((reason, action), n)| format!("{n} {} ({})", reason.name(), action.name()))
            .collect();
        words.join(", ")
    }
}

/// The bench's own programs and maps.
pub(crate) struct Programs {
    bpf: Ebpf,
    pub(crate) keys4: Mapped<Key4>,
    pub(crate) keys6: Mapped<Key6>,
    pub(crate) questions: Mapped<Asked>,
    pub(crate) lines: Mapped<Line>,
}

impl Programs {
    /// Loads them; `images` is where secd's own images are pinned.
    pub(crate) fn open(object: &Path, images: Option<&Path>) -> Result<Self> {
        Self::open_with(object, images, 1)
    }

    /// The same with a table of so many lines.
    pub(crate) fn open_with(object: &Path, images: Option<&Path>, lines: u32) -> Result<Self> {
        let bytes = std::fs::read(object).with_context(|| format!("read {}", object.display()))?;
        let mut loader = EbpfLoader::new();
        loader.map_max_entries("LINES", lines);
        if let Some(images) = images {
            loader.map_pin_path("IMAGES", images);
        }
        let mut bpf = loader.load(&bytes).context("load the bench's BPF object")?;
        for name in ARRIVING {
            xdp(&mut bpf, name)?.load().with_context(|| format!("load {name}"))?;
        }
        for name in LEAVING {
            let program: &mut SchedClassifier = bpf.program_mut(name).context(name)?.try_into()?;
            program.load().with_context(|| format!("load {name}"))?;
        }
        let keys4 = Mapped::open(&bpf, "KEYS4", KEYS)?;
        let keys6 = Mapped::open(&bpf, "KEYS6", KEYS)?;
        let questions = Mapped::open(&bpf, "QUESTIONS", KEYS)?;
        let lines = Mapped::open(&bpf, "LINES", lines)?;
        let mut programs = Self { bpf, keys4, keys6, questions, lines };
        for (slot, name) in
            [(slot::BARE, "bare"), (slot::LPM_SMALL, "lpm_small"), (slot::LPM_LARGE, "lpm_large")]
        {
            let program = xdp(&mut programs.bpf, name)?.fd()?.try_clone()?;
            programs.jump_table("ARRIVING")?.set(slot, &program, 0)?;
        }
        Ok(programs)
    }

    /// A program on arrival, to be attached.
    pub(crate) fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        xdp(&mut self.bpf, name)
    }

    fn jump_table(&mut self, name: &str) -> Result<ProgramArray<&mut MapData>> {
        Ok(ProgramArray::try_from(self.bpf.map_mut(name).context("no such jump table")?)?)
    }

    /// Sets how the feeding programs go on.
    pub(crate) fn control(&mut self, control: Control) -> Result<()> {
        let mut map: Array<&mut MapData, [u8; size_of::<Control>()]> =
            Array::try_from(self.bpf.map_mut("CONTROL").context("no CONTROL")?)?;
        // SAFETY: the value is made of integers only, without padding.
        let bytes = unsafe { std::mem::transmute::<Control, [u8; size_of::<Control>()]>(control) };
        map.set(0, bytes, 0).context("write CONTROL")
    }

    /// Packets that the peers dropped so far.
    pub(crate) fn dropped(&self) -> Result<u64> {
        let map: PerCpuArray<&MapData, u64> =
            PerCpuArray::try_from(self.bpf.map("DROPPED").context("no DROPPED")?)?;
        Ok(map.get(&0, 0)?.iter().sum())
    }

    /// Sum of what the classifier answered so far.
    pub(crate) fn answers(&self) -> Result<u64> {
        let map: Array<&MapData, u64> = Array::try_from(self.bpf.map("ANSWERS").context("no ANSWERS")?)?;
        Ok(map.get(&0, 0)?)
    }

    /// Fills a longest-prefix table.
    pub(crate) fn fill_trie(&mut self, name: &str, nets: &[Ipv4Net]) -> Result<()> {
        let mut trie: LpmTrie<&mut MapData, [u8; 4], u32> =
            LpmTrie::try_from(self.bpf.map_mut(name).context("no such trie")?)?;
        for net in nets {
            let key = Key::new(u32::from(net.prefix_len()), net.network().octets());
            trie.insert(&key, 1, 0).with_context(|| format!("insert {net} into {name}"))?;
        }
        Ok(())
    }

    /// Runs packets through a side; returns nanoseconds of processor time a packet and the last program's answer.
    pub(crate) fn run(
        &mut self,
        side: Side,
        family: Family,
        frame: &Frame,
        repeat: u32,
    ) -> Result<(f64, u32)> {
        let program = xdp(&mut self.bpf, side.program(family))?;
        let options = TestRunOptions { data_in: Some(&frame.bytes), repeat, ..TestRunOptions::default() };
        let before = clock::thread_time();
        let run = program.test_run(options).with_context(|| format!("test run of {side:?}"))?;
        let took = clock::thread_time() - before;
        Ok((took as f64 / f64::from(repeat), run.return_value))
    }

    /// Has answers leave: the same keys, turned around.
    pub(crate) fn answer(&mut self, family: Family, frame: &Frame, repeat: u32) -> Result<()> {
        let name = match family {
            Family::V4 => "answer4",
            Family::V6 => "answer6",
        };
        let program: &mut SchedClassifier = self.bpf.program_mut(name).context(name)?.try_into()?;
        let options = TestRunOptions { data_in: Some(&frame.bytes), repeat, ..TestRunOptions::default() };
        let run = program.test_run(options).context("test run of answers")?;
        ensure!(run.return_value == 0, "secd stopped an answer ({})", run.return_value);
        Ok(())
    }
}

fn xdp<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(bpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Where a dataplane has pinned its images.
fn images_of(pins: &Path) -> Result<PathBuf> {
    let folders = std::fs::read_dir(pins).with_context(|| format!("read {}", pins.display()))?;
    let mut found = folders.flatten().map(|entry| entry.path().join("IMAGES")).filter(|path| path.exists());
    found.next().context("secd has pinned no images")
}

/// An array of the kernel in this process's memory.
pub(crate) struct Mapped<T> {
    at: *mut T,
    count: usize,
    _of: PhantomData<T>,
}

// SAFETY: the memory is the process's, and the one value that has it gives it out by exclusive reference only.
unsafe impl<T: Send> Send for Mapped<T> {}

impl<T: Copy> Mapped<T> {
    fn open(bpf: &Ebpf, name: &str, count: u32) -> Result<Self> {
        let Some(Map::Array(data)) = bpf.map(name) else { bail!("no array {name}") };
        let count = count as usize;
        let length = size_of::<T>() * count;
        // SAFETY: a new mapping of a map of that size; it lives as long as this process.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                data.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        ensure!(at != libc::MAP_FAILED, "cannot map {name}: {}", std::io::Error::last_os_error());
        Ok(Self { at: at.cast(), count, _of: PhantomData })
    }

    /// All of them. No program runs while they are written.
    pub(crate) fn all(&mut self) -> &mut [T] {
        // SAFETY: the mapping is that long, and only this value has it.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.count) }
    }
}
