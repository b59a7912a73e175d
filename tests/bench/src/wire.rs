//! End to end: floods from listed sources over a virtual wire, and what one processor takes for a packet from its
//! making to its drop. Everyone has a namespace and a wire of his own, so that all stand ready and take turns.

use abi::{Action, Reason};
use anyhow::{Context as _, Result, ensure};
use aya::{TestRunAttrs, TestRunOptions, programs::TestRun as _};
use bench_programs::{Control, KEYS, Key4};
use enforce::xdp::{Attached, Counters, Dataplane};
use ipnet::Ipv4Net;
use kernel_tests::{Folder, Namespace};
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    chance::Chance,
    clock::{SoftInterrupts, thread_time},
    frame::{Family, Frame, Segment, frame, header_sum},
    harness::Programs,
    micro::{LIST, RULES, short},
    peers::{Peer, XDP_FILTER_LIMIT},
    progress::Progress,
    report::{Case, Goal, Series},
    world::{self, Listed, Size, WAN},
};

/// The smaller list.
const SMALL: usize = 100_000;
/// Frames the generator sends at once.
const BATCH: u32 = 64;
/// How long frames may be on the wire when the last was sent.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) frames: u32,
}

/// Measures everything whose name contains `only`, on processor `cpu`, where this thread is.
pub(crate) fn run(
    object: &Path,
    listed: &Listed,
    effort: Effort,
    only: &str,
    cpu: usize,
    progress: &Progress,
) -> Result<Vec<Case>> {
    let sizes: Vec<usize> = [SMALL, LIST].into_iter().filter(|size| name_of(*size).contains(only)).collect();
    if sizes.is_empty() {
        return Ok(Vec::new());
    }
    let mut wires = Wires::new(object)?;
    let mut failed = Vec::new();
    let mut wanted: Vec<(usize, Kind)> = sizes.iter().map(|size| (*size, Kind::Ours(*size))).collect();
    wanted.extend(sizes.iter().map(|size| (*size, Kind::Peer(Peer::Bare))).take(1));
    for size in &sizes {
        wanted.extend(peers_of(*size).iter().map(|peer| (*size, Kind::Peer(*peer))));
    }
    for (size, kind) in wanted {
        progress.at(&format!("wire: {} with its list", kind.name()));
        if let Err(error) = wires.add(listed, kind) {
            failed.push(Case::failed(format!("{}/{}", name_of(size), kind.name()), format!("{error:#}")));
        }
    }
    let Wires { generator, programs, sides } = &mut wires;
    let soft = SoftInterrupts::of(cpu)?;
    let mut series: BTreeMap<&'static str, Series> = BTreeMap::new();
    for round in 0..=effort.rounds {
        progress.at(&format!("wire: round {round} of {}", effort.rounds));
        for side in sides.iter_mut().filter(|side| side.broken.is_none()) {
            match generator.inside(|| side.flood(programs, &soft, cpu, effort.frames)) {
                Ok(took) if round > 0 => series.entry(side.kind.name()).or_default().push(took),
                // The first is to warm up.
                Ok(_) => {}
                Err(error) => side.broken = Some(format!("{error:#}")),
            }
        }
    }
    let mut cases = Vec::new();
    for size in sizes {
        cases.push(case_of(size, sides, &series));
    }
    for side in sides.iter() {
        if let (Some(why), Kind::Peer(_)) = (&side.broken, side.kind) {
            failed.push(Case::failed(format!("{}/{}", name_of(side.kind.size()), side.kind.name()), why));
        }
    }
    cases.extend(failed);
    Ok(cases)
}

fn name_of(size: usize) -> String {
    format!("wire/listed-source/{}-list/10k-rules/v4", short(size))
}

/// Whom ours is held against.
const fn peers_of(size: usize) -> &'static [Peer] {
    match size {
        LIST => &[Peer::LpmTrie],
        _ => &[Peer::NftInterval, Peer::NftHash, Peer::Ipset, Peer::XdpFilter],
    }
}

fn case_of(size: usize, sides: &[Wire], series: &BTreeMap<&'static str, Series>) -> Case {
    let name = name_of(size);
    let goal = if size == LIST { Peer::LpmTrie } else { Peer::NftInterval };
    let ours = Kind::Ours(size).name();
    for needed in [ours, goal.name()] {
        if let Some(why) =
            sides.iter().find(|side| side.kind.name() == needed).and_then(|side| side.broken.as_ref())
        {
            return Case::failed(name, format!("{needed}: {why}"));
        }
        if !series.contains_key(needed) {
            return Case::failed(name, format!("{needed} did not run"));
        }
    }
    let mut case = Case::new(name, "ns", &series[ours]).goal(Goal::Times(goal.name(), 5.0));
    for peer in std::iter::once(&Peer::Bare).chain(peers_of(size)) {
        let well = sides.iter().any(|side| side.kind == Kind::Peer(*peer) && side.broken.is_none());
        if let (true, Some(series)) = (well, series.get(peer.name())) {
            case = case.peer(peer.name(), series.median());
        }
    }
    case
}

/// Who drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// secd with a list of that size.
    Ours(usize),
    /// Someone else.
    Peer(Peer),
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours(LIST) => "secd-1M",
            Self::Ours(_) => "secd-100k",
            Self::Peer(peer) => peer.name(),
        }
    }

    const fn short(self) -> &'static str {
        match self {
            Self::Ours(LIST) => "ours1m",
            Self::Ours(_) => "ours",
            Self::Peer(peer) => peer.short(),
        }
    }

    const fn size(self) -> usize {
        match self {
            Self::Ours(size) => size,
            Self::Peer(Peer::LpmTrie) => LIST,
            Self::Peer(_) => SMALL,
        }
    }
}

/// The generator and everyone at the other ends of its wires.
struct Wires {
    // Before the generator: its wires go with it.
    sides: Vec<Wire>,
    generator: Namespace,
    programs: Programs,
}

impl Wires {
    fn new(object: &Path) -> Result<Self> {
        let generator = Namespace::new("secd-bench-out")?;
        generator
            .inside(|| Ok(fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")?))
            .context("no IPv6 here")?;
        Ok(Self { sides: Vec::new(), generator, programs: Programs::open(object, None)? })
    }

    fn add(&mut self, listed: &Listed, kind: Kind) -> Result<()> {
        let side = Wire::new(&self.generator, &mut self.programs, listed, kind)?;
        self.sides.push(side);
        Ok(())
    }
}

/// One wire, and who is at its end.
struct Wire {
    kind: Kind,
    // Before the namespace: it holds an interface there.
    ours: Option<Ours>,
    receiver: Namespace,
    interface: String,
    ifindex: u32,
    frame: Frame,
    sources: Vec<[u8; 4]>,
    cursor: u32,
    broken: Option<String>,
}

/// secd at the end of a wire.
struct Ours {
    counters: Counters,
    _dataplane: Dataplane,
    _folder: Folder,
}

impl Wire {
    fn new(generator: &Namespace, programs: &mut Programs, listed: &Listed, kind: Kind) -> Result<Self> {
        let receiver = Namespace::new(&format!("secd-bench-{}", kind.short()))?;
        let (out, interface) = (format!("o-{}", kind.short()), format!("i-{}", kind.short()));
        // The wire's own queues and offloads: one of each, receiving in bulk, tags left in the frames.
        generator.run(&format!(
            "ip link add {out} numtxqueues 1 numrxqueues 1 type veth peer name {interface} numtxqueues 1 numrxqueues 1 netns {}",
            receiver.name()
        ))?;
        receiver
            .inside(|| Ok(fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?))
            .context("no IPv6 here")?;
        receiver.run(&format!("ethtool -K {interface} gro on rxvlan off txvlan off"))?;
        receiver.run(&format!("ip address add 192.168.1.10/24 dev {interface}"))?;
        receiver.run(&format!("ip link set {interface} up"))?;
        // Last: as it comes up, it finds that the other end takes frames in bulk, and can be sent live frames.
        generator.run(&format!("ip link set {out} up"))?;
        let (ifindex, address) = (number_of(generator, &out)?, mac_of(&receiver, &interface)?);
        let mut frame = frame(Family::V4, &[], Segment::Udp);
        frame.bytes[..6].copy_from_slice(&address);
        frame.bytes[14 + 16..14 + 20].copy_from_slice(&[192, 168, 1, 10]);
        frame.bytes[14 + 20..14 + 24].copy_from_slice(&[0x12, 0x34, 0x04, 0xd2]);
        let (nets, sources) = who(listed, kind);
        let mut ours = None;
        match kind {
            Kind::Ours(size) => ours = Some(Ours::start(&receiver, &interface, listed, size)?),
            Kind::Peer(peer) => {
                if let Err(error) = peer.start(&receiver, &interface, &nets, programs) {
                    peer.stop(&receiver, &interface);
                    return Err(error);
                }
            }
        }
        Ok(Self { kind, ours, receiver, interface, ifindex, frame, sources, cursor: 0, broken: None })
    }

    /// Sends frames and waits until all are dropped; returns nanoseconds of processor time a frame.
    fn flood(
        &mut self,
        programs: &mut Programs,
        soft: &SoftInterrupts,
        cpu: usize,
        frames: u32,
    ) -> Result<f64> {
        crate::clock::stay_on(cpu)?;
        for (key, source) in programs.keys4.all().iter_mut().zip(self.sources.iter().cycle()) {
            *key = Key4 { addresses: [*source, [192, 168, 1, 10]], ..Key4::default() };
        }
        programs.control(Control {
            cursor: self.cursor,
            at: self.frame.at,
            ifindex: self.ifindex,
            sum: header_sum(&self.frame),
            ..Control::default()
        })?;
        self.cursor = self.cursor.wrapping_add(frames) & (KEYS - 1);
        let before = self.dropped(programs)?;
        let options = TestRunOptions {
            data_in: Some(&self.frame.bytes),
            repeat: frames,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let (own, kernel) = (thread_time(), soft.time()?);
        programs.xdp("generate")?.test_run(options).context("send live frames")?;
        let took = thread_time() - own;
        let deadline = Instant::now() + PATIENCE;
        let mut dropped = self.dropped(programs)? - before;
        while dropped < u64::from(frames) && Instant::now() < deadline {
            std::thread::yield_now();
            dropped = self.dropped(programs)? - before;
        }
        ensure!(dropped == u64::from(frames), "dropped {dropped} of {frames} frames");
        let took = took + (soft.time()? - kernel);
        Ok(took as f64 / f64::from(frames))
    }

    fn dropped(&self, programs: &Programs) -> Result<u64> {
        match (self.kind, &self.ours) {
            (Kind::Peer(peer), _) => peer.dropped(&self.receiver, programs),
            (Kind::Ours(_), Some(ours)) => {
                Ok(ours.counters.packet(WAN, Reason::ListedSource, Action::Drop)?.packets)
            }
            (Kind::Ours(_), None) => Ok(0),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Kind::Peer(peer) = self.kind {
            peer.stop(&self.receiver, &self.interface);
        }
    }
}

impl Ours {
    fn start(receiver: &Namespace, interface: &str, listed: &Listed, size: usize) -> Result<Self> {
        let folder = Folder::new(&format!("bench-wire-{}", short(size)));
        let plan = world::plan(listed, Size { interface, list: size, rules: RULES, number: 0 });
        let dataplane = receiver.inside(|| {
            let (mut dataplane, _) = Dataplane::open(folder.path())?;
            let installed = dataplane.install(&plan)?;
            let driver = installed.attached.iter().any(|held| held.how == Attached::Driver);
            ensure!(driver, "the wire is not held by its driver: {:?}", installed.failed);
            Ok(dataplane)
        })?;
        Ok(Self { counters: dataplane.counters()?, _dataplane: dataplane, _folder: folder })
    }
}

/// Networks that are listed there, and sources of the flood, all of them listed.
fn who(listed: &Listed, kind: Kind) -> (Vec<Ipv4Net>, Vec<[u8; 4]>) {
    let mut chance = Chance::new(0x7769_7265);
    let singles = |count: usize| -> Vec<Ipv4Net> {
        listed.v4(LIST).iter().filter(|net| net.prefix_len() == 32).take(count).copied().collect()
    };
    let nets = match kind {
        Kind::Ours(_) => Vec::new(),
        Kind::Peer(Peer::Bare | Peer::NftInterval) => listed.v4(SMALL).to_vec(),
        Kind::Peer(Peer::LpmTrie) => listed.v4(LIST).to_vec(),
        Kind::Peer(Peer::NftHash | Peer::Ipset) => singles(SMALL),
        Kind::Peer(Peer::XdpFilter) => singles(XDP_FILTER_LIMIT),
    };
    let sources = match kind {
        Kind::Peer(Peer::NftHash | Peer::Ipset | Peer::XdpFilter) => {
            (0..KEYS).map(|_| chance.of(&nets).network().octets()).collect()
        }
        Kind::Ours(_) | Kind::Peer(Peer::Bare | Peer::NftInterval | Peer::LpmTrie) => {
            (0..KEYS).map(|_| listed.listed4(kind.size(), &mut chance)).collect()
        }
    };
    (nets, sources)
}

fn number_of(namespace: &Namespace, device: &str) -> Result<u32> {
    let text = namespace.run(&format!("ip -o link show dev {device}"))?;
    text.split(':').next().and_then(|word| word.trim().parse().ok()).context("ip shows no number")
}

fn mac_of(namespace: &Namespace, device: &str) -> Result<[u8; 6]> {
    let text = namespace.run(&format!("ip -o link show dev {device}"))?;
    let mac = text.split_once("link/ether ").context("no Ethernet address")?.1;
    let octets: Vec<u8> = mac
        .split(' ')
        .next()
        .unwrap_or_default()
        .split(':')
        .filter_map(|octet| u8::from_str_radix(octet, 16).ok())
        .collect();
    octets.try_into().ok().context("not an Ethernet address")
}
