//! One packet at a time by test runs: what the program costs, without driver and stack.
//!
//! Figures are net: what secd takes beyond `XDP_DROP` behind the same feeding program. Every packet of a run differs
//! from the one before.

use abi::{Action, BanValue, DIRECTION_IN, FlowKey, Reason, STATE_ASSURED, ZoneId};
use anyhow::{Context as _, Result, ensure};
use bench_programs::{Control, KEYS, Key4, Key6};
use ipnet::IpNet;
use policy::Plan;
use std::{net::IpAddr, path::Path};

use crate::{
    chance::Chance,
    classifier,
    frame::{ACK, Family, Frame, SYN, Segment, frame},
    harness::{Counted, Harness, Side},
    progress::Progress,
    report::{Case, Goal, Series},
    rules::{self, Opening, SERVERS_PORT},
    world::{self, LAN, LAN_VLAN, Listed, Size, WAN},
};

/// Sequence numbers of the connections that are made.
pub(crate) const CLIENT: u32 = 0x1000;
pub(crate) const SERVER: u32 = 0x7000_0000;
/// Flags of a segment with data.
pub(crate) const PUSH: u8 = 8;
/// Of so many first packets one may be drawn twice.
const TWICE: u64 = 1000;
/// New flows that are held against the reference.
pub(crate) const JUDGED: u32 = 16_384;
/// Bans in force where a banned source is measured.
const BANS: usize = 100_000;
/// Largest numbers of everything.
pub(crate) const LIST: usize = 1_000_000;
pub(crate) const RULES: usize = 10_000;
const FLOWS: usize = 512 * 1024;
/// Connections that are made step by step together: each test run has the kernel patch itself and wait for readers.
const AT_ONCE: usize = 32 * 1024;
/// Flows of the inside, whose frames are tagged.
const INSIDERS: usize = 1024;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) repeat: u32,
    /// Only the ends of each scale, and the middle of none.
    pub(crate) quick: bool,
}

/// Measures everything whose name contains `only`.
pub(crate) fn run(
    object: &Path,
    listed: &Listed,
    effort: Effort,
    only: &str,
    progress: &Progress,
) -> Result<Vec<Case>> {
    let mut bench = Bench { object, listed, effort, only, progress, cases: Vec::new() };
    for family in [Family::V4, Family::V6] {
        if bench.wants_any(family) {
            bench.family(family)?;
        }
    }
    Ok(bench.cases)
}

struct Bench<'a> {
    object: &'a Path,
    listed: &'a Listed,
    effort: Effort,
    only: &'a str,
    progress: &'a Progress,
    cases: Vec<Case>,
}

/// Which side of the router a flow starts at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Outside,
    Inside,
}

/// Median and least of what a side takes, net.
struct Net {
    net: Series,
    plain: Series,
    peers: Vec<(Side, Series)>,
}

impl Bench<'_> {
    fn keep(&mut self, case: Case) {
        self.progress.found(&case);
        self.cases.push(case);
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(self.only)
    }

    /// Whether anything of a family can be meant.
    fn wants_any(&self, family: Family) -> bool {
        let other = match family {
            Family::V4 => "v6",
            Family::V6 => "v4",
        };
        !["wire", "swap", "compile"].iter().any(|name| self.only.starts_with(name))
            && !self.only.contains(other)
    }

    fn family(&mut self, family: Family) -> Result<()> {
        self.progress.at(&format!("{}: loading", family.name()));
        let mut harness = Harness::open(self.object)?;
        let mut plan = self.apply(&mut harness, LIST, RULES)?;
        let flows = self.flows_wanted(family);
        self.progress.at(&format!("{}: making {flows} connections", family.name()));
        let mut chance = Chance::new(0x666c_6f77);
        let outside = connect(&mut harness, self.listed, family, Start::Outside, flows, &mut chance)?;
        let inside = connect(&mut harness, self.listed, family, Start::Inside, INSIDERS, &mut chance)?;
        let name = format!("flows/remembered/512k-of-1M-places/{}", family.name());
        if self.wants(&name) {
            let percent: Series = [outside.share * 100.0].into_iter().collect();
            self.keep(Case::new(name, "%", &percent));
        }
        let (outside, inside) = (outside.flows, inside.flows);
        self.established(&mut harness, family, LIST, RULES, &outside)?;
        self.tagged(&mut harness, family, &inside)?;
        self.first_packets(&mut harness, family, LIST, RULES, &plan)?;
        self.listed_sources(&mut harness, family, LIST)?;
        self.banned_sources(&mut harness, family)?;
        let others = if self.effort.quick {
            vec![(1000, RULES), (LIST, 10)]
        } else {
            vec![(1000, RULES), (100_000, RULES), (LIST, 10), (LIST, 1000)]
        };
        for (list, rules) in others {
            plan = self.apply(&mut harness, list, rules)?;
            self.established(&mut harness, family, list, rules, &outside)?;
            self.first_packets(&mut harness, family, list, rules, &plan)?;
            if rules == RULES {
                self.listed_sources(&mut harness, family, list)?;
            }
        }
        self.flatness(family);
        Ok(())
    }

    /// How many times its cost at ten rules the classifier takes at ten thousand.
    fn flatness(&mut self, family: Family) {
        let of = |rules: usize| {
            let name = format!("classifier/{}-rules/{}", short(rules), family.name());
            self.cases.iter().find(|case| case.name == name && case.failed.is_none()).map(|case| case.ours)
        };
        if let (Some(few), Some(many)) = (of(10), of(RULES)) {
            let times: Series = [many / few].into_iter().collect();
            let name = format!("classifier/10k-over-10-rules/{}", family.name());
            self.keep(Case::new(name, "×", &times).goal(Goal::AtMost(4.0)));
        }
    }

    /// How many connections have to be there for what is wanted.
    fn flows_wanted(&self, family: Family) -> usize {
        let wanted = |flows: usize| {
            let lists = [1000, 100_000, LIST];
            let rules = [10, 1000, RULES];
            let mut sizes = lists.iter().flat_map(|list| rules.iter().map(move |rules| (*list, *rules)));
            sizes.any(|(list, rules)| self.wants(&established_name(flows, list, rules, family)))
        };
        [FLOWS, 65_536].into_iter().find(|flows| wanted(*flows)).unwrap_or(INSIDERS)
    }

    fn apply(&self, harness: &mut Harness, list: usize, rules: usize) -> Result<Plan> {
        self.progress.at(&format!("a list of {} and {} rules", short(list), short(rules)));
        let plan = world::plan(self.listed, Size { interface: "lo", list, rules, number: 0 });
        let applied = harness.dataplane.apply(&plan).context("apply the plan")?;
        ensure!(applied.missing.is_empty(), "no loopback interface");
        Ok(plan)
    }

    /// Packets of flows that are known, from a thousand to half a million.
    fn established(
        &mut self,
        harness: &mut Harness,
        family: Family,
        list: usize,
        rules: usize,
        flows: &[Flow],
    ) -> Result<()> {
        let packet = frame(family, &[], Segment::Tcp(ACK | PUSH, CLIENT + 1, SERVER + 1));
        for count in [1024, 65_536, FLOWS] {
            let name = established_name(count, list, rules, family);
            if !self.wants(&name) {
                continue;
            }
            feed(harness, family, flows, count)?;
            let all_established =
                |counted: &Counted, sent: u64| counted.of(&[Reason::Established], Action::Pass) == sent;
            let outcome = self.compare(harness, &name, family, &packet, 0, &[], all_established)?;
            let Some(net) = self.kept(&name, outcome) else { continue };
            let most = match (count, family) {
                (1024, Family::V4) => Some(30.0),
                (1024, Family::V6) => Some(40.0),
                (FLOWS, Family::V4 | Family::V6) => Some(150.0),
                _ => None,
            };
            let mut case = Case::new(&name, "ns", &net.net);
            case.goal = most.map(Goal::AtMost);
            self.keep(case);
            if (count, list, rules) == (1024, LIST, RULES) {
                let plain = net.plain.median();
                let times: Series = [(plain + net.net.median()) / plain].into_iter().collect();
                let times = Case::new(format!("{name}/over-bare-drop"), "×", &times).goal(Goal::AtMost(2.2));
                self.keep(times);
                self.keep(Case::new(format!("bare-drop/{}", family.name()), "ns", &net.plain));
            }
        }
        Ok(())
    }

    /// The same through VLANs: one tag, and two of which the outer is a priority tag.
    fn tagged(&mut self, harness: &mut Harness, family: Family, flows: &[Flow]) -> Result<()> {
        for (tags, word) in [(&[LAN_VLAN][..], "1-tag"), (&[0, LAN_VLAN], "2-tags")] {
            let name = format!("verdict/established/1024-flows/1M-list/10k-rules/{}/{word}", family.name());
            if !self.wants(&name) {
                continue;
            }
            let packet = frame(family, tags, Segment::Tcp(ACK | PUSH, CLIENT + 1, SERVER + 1));
            feed(harness, family, flows, INSIDERS)?;
            let all_established =
                |counted: &Counted, sent: u64| counted.of(&[Reason::Established], Action::Pass) == sent;
            let outcome = self.compare(harness, &name, family, &packet, 0, &[], all_established)?;
            if let Some(net) = self.kept(&name, outcome) {
                let most = if family == Family::V4 { 30.0 } else { 40.0 };
                self.keep(Case::new(&name, "ns", &net.net).goal(Goal::AtMost(most)));
            }
        }
        Ok(())
    }

    /// Packets that open flows, each another one, drawn from all rules alike.
    fn first_packets(
        &mut self,
        harness: &mut Harness,
        family: Family,
        list: usize,
        rules: usize,
        plan: &Plan,
    ) -> Result<()> {
        let size = format!("{}-list/{}-rules/{}", short(list), short(rules), family.name());
        let name = format!("verdict/first-packet/{size}");
        let alone = format!("classifier/{}-rules/{}", short(rules), family.name());
        let wants_alone = list == LIST && self.wants(&alone);
        if !self.wants(&name) && !wants_alone {
            return Ok(());
        }
        // Other flows for every plan: those of the one before are known.
        let mut chance = Chance::new(0x6669_7273 + (list * 31 + rules) as u64);
        let openings: Vec<Opening> =
            (0..KEYS).map(|_| rules::opening(plan, family, self.listed, &mut chance)).collect();
        if wants_alone {
            self.progress.at(&alone);
            let case = match classifier::alone(harness, plan, &openings, self.effort)? {
                Ok(net) => Case::new(&alone, "ns", &net),
                Err(why) => Case::failed(&alone, why),
            };
            self.keep(if rules == RULES { case.goal(Goal::AtMost(300.0)) } else { case });
        }
        if !self.wants(&name) {
            return Ok(());
        }
        let flows: Vec<Flow> = openings.iter().map(Flow::of).collect();
        write(harness, family, flows.iter().copied());
        let packet = frame(family, &[], Segment::Tcp(SYN, CLIENT, 0));
        if let Err(why) = judged_as_the_reference(harness, plan, family, &packet, &flows)? {
            self.keep(Case::failed(&name, why));
            return Ok(());
        }
        let by_rules = |counted: &Counted, sent: u64| {
            let reasons = [Reason::RuleDenied, Reason::DefaultDenied];
            let judged =
                counted.of(&[Reason::RuleAllowed], Action::Pass) + counted.of(&reasons, Action::Drop);
            // Where rules are few, chance draws a tuple twice now and then: it is known the second time.
            let known = counted.of(&[Reason::Established], Action::Pass);
            judged + known == sent && known <= sent / TWICE
        };
        let outcome = self.compare(harness, &name, family, &packet, u32::MAX, &[], by_rules)?;
        if let Some(net) = self.kept(&name, outcome) {
            self.keep(Case::new(&name, "ns", &net.net).goal(Goal::AtMost(600.0)));
        }
        Ok(())
    }

    /// Packets from listed sources, and the kernel's longest-prefix table over the same list.
    fn listed_sources(&mut self, harness: &mut Harness, family: Family, list: usize) -> Result<()> {
        let name = format!("drop/listed/{}-list/10k-rules/{}", short(list), family.name());
        if !self.wants(&name) {
            return Ok(());
        }
        let mut chance = Chance::new(0x6c69_7374);
        let flow = |source: IpAddr| Flow {
            source,
            destination: server(family, &mut Chance::new(1)),
            ports: [4000, 443],
        };
        let flows: Vec<Flow> = (0..KEYS)
            .map(|_| match family {
                Family::V4 => flow(self.listed.listed4(list, &mut chance).into()),
                Family::V6 => flow(self.listed.listed6(list, &mut chance).into()),
            })
            .collect();
        write(harness, family, flows.into_iter());
        let trie = match (family, list) {
            (Family::V4, LIST) => Some(("TRIE_LARGE", Side::Large)),
            (Family::V4, 100_000) => Some(("TRIE_SMALL", Side::Small)),
            _ => None,
        };
        if let Some((map, _)) = trie {
            self.progress.at(&format!("filling LPM_TRIE with {}", short(list)));
            harness.programs.fill_trie(map, self.listed.v4(list))?;
        }
        let peers: Vec<Side> = trie.iter().map(|(_, side)| *side).collect();
        let packet = frame(family, &[], Segment::Tcp(SYN, CLIENT, 0));
        let all_listed =
            |counted: &Counted, sent: u64| counted.of(&[Reason::ListedSource], Action::Drop) == sent;
        let outcome = self.compare(harness, &name, family, &packet, 0, &peers, all_listed)?;
        if let Some(net) = self.kept(&name, outcome) {
            let mut case = Case::new(&name, "ns", &net.net);
            case.peers = net.peers.iter().map(|(_, series)| ("lpm-trie", series.median())).collect();
            self.keep(case);
        }
        Ok(())
    }

    /// Packets from banned sources.
    fn banned_sources(&mut self, harness: &mut Harness, family: Family) -> Result<()> {
        let name = format!("drop/banned/100k-bans/1M-list/{}", family.name());
        if !self.wants(&name) {
            return Ok(());
        }
        self.progress.at(&format!("{} bans", short(BANS)));
        let mut chance = Chance::new(0x6261_6e73);
        let mut sources: Vec<IpAddr> = Vec::with_capacity(BANS);
        let ban = BanValue { until: u64::MAX, decision: 1, directions: DIRECTION_IN, ..BanValue::default() };
        while sources.len() < BANS {
            let source: IpAddr = match family {
                Family::V4 => self.listed.unlisted4(&mut chance).into(),
                Family::V6 => self.listed.unlisted6(&mut chance).into(),
            };
            harness.orders.set_ban(IpNet::from(source), ban).context("ban an address")?;
            sources.push(source);
        }
        let destination = server(family, &mut Chance::new(1));
        let flows = (0..KEYS).map(|_| Flow { source: *chance.of(&sources), destination, ports: [4000, 443] });
        write(harness, family, flows);
        let packet = frame(family, &[], Segment::Tcp(SYN, CLIENT, 0));
        let all_banned =
            |counted: &Counted, sent: u64| counted.of(&[Reason::BannedSource], Action::Drop) == sent;
        let outcome = self.compare(harness, &name, family, &packet, 0, &[], all_banned)?;
        if let Some(net) = self.kept(&name, outcome) {
            self.keep(Case::new(&name, "ns", &net.net));
        }
        for source in sources {
            harness.orders.clear_ban(IpNet::from(source))?;
        }
        Ok(())
    }

    /// Runs the same packets through all sides in turn. `holds` says of what secd counted whether it did the work.
    #[expect(clippy::too_many_arguments, reason = "the settings of one measurement, used together once")]
    fn compare(
        &self,
        harness: &mut Harness,
        name: &str,
        family: Family,
        packet: &Frame,
        fresh: u32,
        peers: &[Side],
        holds: impl Fn(&Counted, u64) -> bool,
    ) -> Result<Result<Net, String>> {
        self.progress.at(name);
        let Effort { rounds, repeat, .. } = self.effort;
        // Goes on behind the packets that were held against the reference, so that those are not sent again.
        let start = if fresh == 0 { 0 } else { JUDGED };
        harness.programs.control(Control { cursor: start, at: packet.at, fresh, ..Control::default() })?;
        // Brings code and tables into the caches, and has flows judged anew where the plan changed.
        let warm = KEYS.min(repeat * 4);
        for side in [Side::Bare, Side::Secd].into_iter().chain(peers.iter().copied()) {
            let repeat = if side == Side::Secd && fresh == 0 { KEYS } else { warm };
            harness.programs.run(side, family, packet, repeat)?;
        }
        let before = harness.counted()?;
        let dropped = harness.programs.dropped()?;
        let (mut plain, mut bare, mut secd) = (Series::default(), Series::default(), Series::default());
        let mut others: Vec<Series> = peers.iter().map(|_| Series::default()).collect();
        for _ in 0..rounds {
            plain.push(harness.programs.run(Side::Plain, family, packet, repeat)?.0);
            bare.push(harness.programs.run(Side::Bare, family, packet, repeat)?.0);
            secd.push(harness.programs.run(Side::Secd, family, packet, repeat)?.0);
            for (side, series) in peers.iter().zip(&mut others) {
                series.push(harness.programs.run(*side, family, packet, repeat)?.0);
            }
        }
        let sent = rounds as u64 * u64::from(repeat);
        let counted = harness.counted()?.since(&before);
        if counted.sum() != sent || !holds(&counted, sent) {
            return Ok(Err(format!("of {sent} packets secd counted {}", counted.words())));
        }
        let by_peers = harness.programs.dropped()? - dropped;
        if by_peers != sent * peers.len() as u64 {
            return Ok(Err(format!("the peer dropped {by_peers} of {sent} packets")));
        }
        let floor = bare.median();
        let least = bare.min();
        let less = |series: &Series| -> Series {
            // The least figure is that of both sides.
            series.above(floor, least)
        };
        let peers = peers.iter().copied().zip(others.iter().map(less)).collect();
        Ok(Ok(Net { net: less(&secd), plain, peers }))
    }

    fn kept(&mut self, name: &str, outcome: Result<Net, String>) -> Option<Net> {
        match outcome {
            Ok(net) => Some(net),
            Err(why) => {
                self.keep(Case::failed(name, why));
                None
            }
        }
    }
}

fn established_name(flows: usize, list: usize, rules: usize, family: Family) -> String {
    let (flows, list, rules) = (short(flows), short(list), short(rules));
    format!("verdict/established/{flows}-flows/{list}-list/{rules}-rules/{}", family.name())
}

/// A tuple, as it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    source: IpAddr,
    destination: IpAddr,
    ports: [u16; 2],
}

impl Flow {
    const fn of(opening: &Opening) -> Self {
        let Opening { source, destination, source_port, port } = *opening;
        Self { source, destination, ports: [source_port, port] }
    }

    /// Its key in the flow table.
    fn key(&self, zone: ZoneId) -> FlowKey {
        let [source_port, destination_port] = self.ports.map(u16::to_be_bytes);
        let (source, destination) = (classifier::mapped(self.source), classifier::mapped(self.destination));
        FlowKey { source, destination, source_port, destination_port, protocol: 6, zone, reserved: [0; 2] }
    }
}

/// A server that everyone may reach.
fn server(family: Family, chance: &mut Chance) -> IpAddr {
    let host = 2 + chance.below(250) as u16;
    match family {
        Family::V4 => [10, 5, 200, host as u8].into(),
        Family::V6 => [0x2a10, 5, 0x200, 0, 0, 0, 0, host].into(),
    }
}

/// Makes connections through the programs themselves (opened, answered, acknowledged), and gives those that the flow
/// table holds: where four places of a set are taken, a fifth flow is left to nftables. More are made than asked for.
pub(crate) fn connect(
    harness: &mut Harness,
    listed: &Listed,
    family: Family,
    start: Start,
    count: usize,
    chance: &mut Chance,
) -> Result<Connected> {
    let made = count + count / 16;
    let flows: Vec<Flow> = (0..made).map(|_| a_flow(listed, family, start, chance)).collect();
    let (tags, zone) = match start {
        Start::Outside => (&[][..], WAN),
        Start::Inside => (&[LAN_VLAN][..], LAN),
    };
    write(harness, family, flows.iter().copied());
    let opening = frame(family, tags, Segment::Tcp(SYN, CLIENT, 0));
    let answer = frame(family, tags, Segment::Tcp(SYN | ACK, SERVER, CLIENT + 1));
    let third = frame(family, tags, Segment::Tcp(ACK, CLIENT + 1, SERVER + 1));
    for first in (0..made).step_by(AT_ONCE) {
        let repeat = u32::try_from(AT_ONCE.min(made - first))?;
        let control = Control { cursor: u32::try_from(first)?, at: opening.at, ..Control::default() };
        harness.programs.control(control)?;
        harness.programs.run(Side::Secd, family, &opening, repeat)?;
        harness.programs.control(control)?;
        harness.programs.answer(family, &answer, repeat)?;
        harness.programs.control(control)?;
        harness.programs.run(Side::Secd, family, &third, repeat)?;
    }
    let table = harness.dataplane.flows()?;
    let mut known = Vec::with_capacity(made);
    for flow in flows {
        if table.get(&flow.key(zone))?.is_some_and(|value| value.state == STATE_ASSURED) {
            known.push(flow);
        }
    }
    let share = known.len() as f64 / made as f64;
    ensure!(known.len() >= count, "of {made} connections the flow table holds {}", known.len());
    Ok(Connected { flows: known, share })
}

/// Connections that the flow table holds.
pub(crate) struct Connected {
    pub(crate) flows: Vec<Flow>,
    /// Of all that were made.
    pub(crate) share: f64,
}

fn a_flow(listed: &Listed, family: Family, start: Start, chance: &mut Chance) -> Flow {
    let unlisted: IpAddr = match family {
        Family::V4 => listed.unlisted4(chance).into(),
        Family::V6 => listed.unlisted6(chance).into(),
    };
    let (source, destination) = match (start, family) {
        (Start::Outside, _) => (unlisted, server(family, chance)),
        (Start::Inside, Family::V4) => {
            ([10, 1, 1 + chance.below(200) as u8, chance.below(256) as u8].into(), unlisted)
        }
        (Start::Inside, Family::V6) => {
            let host = [0x2a10, 1, chance.below(4) as u16, 0, 0, 0, 1, chance.below(65_536) as u16];
            (host.into(), unlisted)
        }
    };
    Flow { source, destination, ports: [1024 + chance.below(60_000) as u16, SERVERS_PORT] }
}

/// Feeds packets of the first `count` flows, in no order, each as often.
pub(crate) fn feed(harness: &mut Harness, family: Family, flows: &[Flow], count: usize) -> Result<()> {
    ensure!(
        flows.len() >= count && (KEYS as usize).is_multiple_of(count),
        "{count} flows do not fill the keys"
    );
    let mut order: Vec<u32> = (0..KEYS).map(|place| place % count as u32).collect();
    Chance::new(count as u64).shuffle(&mut order);
    write(harness, family, order.into_iter().map(|place| flows[place as usize]));
    Ok(())
}

fn write(harness: &mut Harness, family: Family, flows: impl Iterator<Item = Flow>) {
    let ports = |flow: &Flow| flow.ports.map(u16::to_be_bytes);
    match family {
        Family::V4 => {
            for (key, flow) in harness.programs.keys4.all().iter_mut().zip(flows) {
                if let (IpAddr::V4(source), IpAddr::V4(destination)) = (flow.source, flow.destination) {
                    let addresses = [source.octets(), destination.octets()];
                    *key = Key4 { addresses, ports: ports(&flow), reserved: 0 };
                }
            }
        }
        Family::V6 => {
            for (key, flow) in harness.programs.keys6.all().iter_mut().zip(flows) {
                if let (IpAddr::V6(source), IpAddr::V6(destination)) = (flow.source, flow.destination) {
                    let addresses = [source.octets(), destination.octets()];
                    *key = Key6 { addresses, ports: ports(&flow), reserved: 0 };
                }
            }
        }
    }
}

/// Whether secd allows as many of the first packets as the rules, gone through one by one, do.
fn judged_as_the_reference(
    harness: &mut Harness,
    plan: &Plan,
    family: Family,
    packet: &Frame,
    flows: &[Flow],
) -> Result<Result<(), String>> {
    let judged = &flows[..JUDGED as usize];
    let allowed = judged.iter().filter(|flow| {
        let opening = Opening {
            source: flow.source,
            destination: flow.destination,
            source_port: flow.ports[0],
            port: flow.ports[1],
        };
        rules::judge(plan, &opening).action == Action::Pass as u8
    });
    let allowed = allowed.count() as u64;
    let before = harness.counted()?;
    harness.programs.control(Control { at: packet.at, ..Control::default() })?;
    harness.programs.run(Side::Secd, family, packet, JUDGED)?;
    let counted = harness.counted()?.since(&before);
    let found = counted.of(&[Reason::RuleAllowed], Action::Pass);
    if found == allowed {
        return Ok(Ok(()));
    }
    Ok(Err(format!("the rules allow {allowed} of {JUDGED} new flows, secd judged {}", counted.words())))
}

/// `1k`, `100k`, `1M`; what is no thousand as it is.
pub(crate) fn short(count: usize) -> String {
    match count {
        _ if count.is_multiple_of(1_000_000) => format!("{}M", count / 1_000_000),
        _ if count.is_multiple_of(1000) => format!("{}k", count / 1000),
        65_536 => "65k".into(),
        FLOWS => "512k".into(),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let words: Vec<String> = [10, 1000, 1024, 65_536, 100_000, FLOWS, LIST].map(short).into();
        assert_eq!(words, ["10", "1k", "1024", "65k", "100k", "512k", "1M"]);
    }
}
