//! nftables as oracle: random policies of the whole language, random packets, and what a real kernel does with them
//! when the same policy stands there as plain, linear nft text that is written here and shares no code with
//! `daemon/enforce`. And once more with the second wall that secd itself renders.
//!
//! The invariant: what the packet path drops, nftables drops too, or the reason is one that nftables does not know (a
//! list, a ban, spoofing, a rate). For packets that open flows the verdicts are equal, the manner of refusing included.
//!
//! `SECD_ORACLE_POLICIES` and `SECD_ORACLE_SEED` make the run longer or another one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod chance;
mod linear;
mod router;

use abi::{ZONE_MULTICAST, ZONE_SELF};
use chance::{Chance, Packet};
use datapath::{Input, Verdict, decide};
use enforce::nft::Wall;
use model::{Action, Flow, Reason};
use policy::{Helped, HostTables, Policy, opening_frame};
use router::{DEVICES, Router, ZONES, finished, own};
use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Policies and packets of each in the run that belongs to the suite.
const POLICIES: u64 = 60;
const PACKETS: u16 = 250;
/// Policies after which the router is a new one: connections that conntrack remembers must not meet again.
const FRESH_AFTER: u64 = 120;
/// Routers that work side by side.
const LANES: u64 = 4;
/// Number by which the last packet of a device is known: when it has come, all before it were judged.
const LAST: u16 = 60_000;

/// Packets by number.
type Numbers = BTreeSet<u16>;

#[test]
fn linear_nftables_decides_as_the_packet_path_does() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().expect("a number of policies or a seed"))
    };
    let (policies, first) = (number("SECD_ORACLE_POLICIES", POLICIES), number("SECD_ORACLE_SEED", 1));
    // Most of the time is the kernel's waiting between two rulesets, so several routers work side by side.
    let seen: Vec<Option<Seen>> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|lane| scope.spawn(move || work(lane, first, policies))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let Some(seen) = seen.into_iter().collect::<Option<Vec<_>>>() else { return };
    let seen = seen.into_iter().fold(Seen::default(), Seen::and);
    eprintln!("{policies} policies from seed {first}: {seen:?}");
    let few = policies * 20;
    assert!(seen.passed > few && seen.dropped > few && seen.rejected > few, "{seen:?}");
    assert!(seen.wrong.is_empty(), "{} verdicts differ:\n{}", seen.wrong.len(), seen.wrong.join("\n"));
}

/// The packets as they come in, with source ports so much higher, and numbers from 1.
fn frames_from(policy: &Policy, packets: &[Packet], higher: u16) -> Vec<(usize, Vec<u8>)> {
    let frame = |(number, packet): (u16, &Packet)| {
        let place = usize::from(packet.from - ZONES[0]);
        let flow = model::Flow { sport: packet.flow.sport + higher, ..packet.flow.clone() };
        let mut frame = opening_frame(&flow, &policy.zones[place]);
        if flow.proto == model::Protocol::TCP {
            let header = if flow.dst.is_ipv4() { 20 } else { 40 };
            frame[14 + header + 13] = packet.flags;
        }
        (place, finished(frame, &flow, number))
    };
    (1..).zip(packets).map(frame).collect()
}

/// Every disagreement that was ever found, and what was close to one: a config and flows in the user's language.
#[test]
fn what_once_differed_does_not_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/policy/oracle");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty(), "no cases in {}", folder.display());
    let Some(router) = Router::new("what_once_differed_does_not_any_more", "oraclecase") else { return };
    let mut seen = Seen::default();
    for (round, file) in (0..).zip(&files) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let policy = config::parse(&name, &fs::read_to_string(file).unwrap()).unwrap().policy;
        let flows = fs::read_to_string(file.with_extension("flows")).unwrap();
        let lines = flows.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let packets: Vec<Packet> = (0..)
            .zip(lines)
            .map(|(number, line)| packet_of(&policy, line, 1 + round * PACKETS + number))
            .collect();
        compare(&router, &name, &policy, &packets, &mut seen);
    }
    assert!(seen.wrong.is_empty(), "{} verdicts differ:\n{}", seen.wrong.len(), seen.wrong.join("\n"));
}

/// A line of a case: a flow with its zone, and TCP flags where it is no opening.
fn packet_of(policy: &Policy, line: &str, sport: u16) -> Packet {
    let (flow, flags) = line.split_once(" flags=").unwrap_or((line, "0x2"));
    let mut flow: Flow = flow.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
    flow.sport = sport;
    let zone = flow.zone.take().unwrap_or_else(|| panic!("{line}: no zone"));
    let id = |named: &str| policy.zones.iter().find(|zone| zone.name == named).unwrap().id;
    let to = if own().contains(&flow.dst) {
        ZONE_SELF
    } else if policy.multicast().iter().any(|net| net.contains(&flow.dst)) {
        ZONE_MULTICAST
    } else {
        policy.zone_of(flow.dst).unwrap().id
    };
    let flags = u8::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap();
    Packet { from: id(&zone), to, flow, flags }
}

#[derive(Debug, Default)]
struct Seen {
    passed: u64,
    dropped: u64,
    rejected: u64,
    /// Packets that open no flow, or of protocols without ports: only the invariant is asked.
    not_opening: u64,
    wrong: Vec<String>,
}

impl Seen {
    fn and(mut self, other: Self) -> Self {
        self.passed += other.passed;
        self.dropped += other.dropped;
        self.rejected += other.rejected;
        self.not_opening += other.not_opening;
        self.wrong.extend(other.wrong);
        self
    }
}

/// Every policy of a lane; none if this machine cannot.
fn work(lane: u64, first: u64, policies: u64) -> Option<Seen> {
    let mut seen = Seen::default();
    let mut router = None;
    for (done, number) in (0..policies).filter(|number| number % LANES == lane).enumerate() {
        let round = done as u64 % FRESH_AFTER;
        if round == 0 {
            drop(router.take());
            let name = format!("oracle{lane}x{}", done as u64 / FRESH_AFTER);
            router = Router::new("linear_nftables_decides_as_the_packet_path_does", &name);
        }
        one_policy(router.as_ref()?, first + number, round as u16, &mut seen);
    }
    Some(seen)
}

fn one_policy(router: &Router, seed: u64, round: u16, seen: &mut Seen) {
    let mut chance = Chance(seed);
    let policy = chance.policy();
    let packets: Vec<Packet> =
        (0..PACKETS).map(|number| chance.packet(1 + round * PACKETS + number)).collect();
    compare(router, &format!("seed {seed}"), &policy, &packets, seen);
}

/// The packets through the packet path, linear nft and the second wall.
fn compare(router: &Router, name: &str, policy: &Policy, packets: &[Packet], seen: &mut Seen) {
    let own = own();
    let frames = frames_from(policy, packets, 0);
    let (passed, refused) = observed(router, &frames, &(without("secd") + &linear::table(policy)));
    let mut wall = Wall::default();
    router.inside.inside(|| Ok(wall.apply(policy)?)).unwrap();
    // The same from other source ports: conntrack knows the first ones by now.
    let (through_ours, _) = observed(router, &frames_from(policy, packets, 0x8000), &without("linear"));

    let packet_path = PacketPath::new(policy, &own);
    for (number, packet) in (1..).zip(packets) {
        let place = usize::from(packet.from - ZONES[0]);
        let ours = packet_path.judge(packet, &frames[usize::from(number) - 1].1);
        let nft = match (passed.contains(&number), refused.contains(&number)) {
            (true, _) => Action::Pass,
            (false, true) => Action::Reject,
            (false, false) => Action::Drop,
        };
        let mut wrong = |what: &str| {
            let Packet { flow, flags, .. } = packet;
            let device = DEVICES[place];
            seen.wrong.push(format!(
                "{name} packet {number}: {what}: in at {device}, {flow}, TCP flags {flags:#x}: ours {ours:?}, linear nft {nft:?}"
            ));
        };
        let ours_drops = ours.action != Action::Pass;
        if ours_drops && nft == Action::Pass && !is_ours_alone(ours.reason) {
            wrong("dropped, and nft passes it");
        }
        if packet.opens() && !is_ours_alone(ours.reason) {
            if ours.action != nft && !packet_path.leaves(packet, &ours) {
                wrong("verdicts differ");
            }
            if through_ours.contains(&number) != (nft == Action::Pass) {
                wrong("the second wall differs from linear nft");
            }
        } else {
            seen.not_opening += 1;
            // Without ports conntrack cannot tell the second sending, nor answers, from the first.
            let told_apart = policy::has_ports(packet.flow.proto) && !is_loose(policy, packet);
            if told_apart && through_ours.contains(&number) && nft != Action::Pass {
                wrong("the second wall passes what linear nft does not");
            }
        }
        match nft {
            Action::Pass => seen.passed += 1,
            Action::Drop => seen.dropped += 1,
            Action::Reject => seen.rejected += 1,
        }
    }
}

/// What the packet path does, with the modes folded in.
#[derive(Debug)]
struct Ours {
    action: Action,
    reason: Reason,
}

/// The packet path on the host, over the image that the kernel gets.
struct PacketPath(HostTables);

/// Boot time in ns, long after interfaces were attached: what was known before is no excuse any more.
const NOW: u64 = 3_600_000_000_000;

impl PacketPath {
    fn new(policy: &Policy, own: &[IpAddr]) -> Self {
        Self(HostTables::new(Arc::new(policy.lower(own, Arc::new([])).unwrap())).unwrap())
    }

    /// It leaves the packet to the second wall, since another flow may have announced it (FTP, SIP).
    fn leaves(&self, packet: &Packet, ours: &Ours) -> bool {
        let helped = Helped { from: packet.from, to: packet.to, protocol: packet.flow.proto };
        ours.reason == Reason::NoState && self.0.plan().helped.contains(&helped)
    }

    fn judge(&self, packet: &Packet, frame: &[u8]) -> Ours {
        let Self(tables) = self;
        let place = usize::from(packet.from - ZONES[0]);
        let ifindex = tables.interface(DEVICES[place]).unwrap();
        let input = Input {
            ifindex,
            now: NOW,
            ticks: abi::ticks(NOW),
            length: frame.len() as u32,
            ..Input::default()
        };
        let mut verdict = Verdict::EMPTY;
        decide(&frame, &input, tables, &mut verdict);
        let action = if verdict.observed { Action::Pass } else { verdict.action };
        Ours { action, reason: verdict.reason }
    }
}

/// What nftables does not know of, or is not asked in these policies.
fn is_ours_alone(reason: Reason) -> bool {
    match reason {
        Reason::BannedSource
        | Reason::BannedDestination
        | Reason::ListedSource
        | Reason::ListedDestination
        | Reason::Spoofed
        | Reason::Bogon
        | Reason::RateLimited
        | Reason::PortScan
        | Reason::Signature
        | Reason::Malformed
        | Reason::WrongVlan
        | Reason::Unresolved
        | Reason::Unsolicited => true,
        Reason::RuleAllowed
        | Reason::RuleDenied
        | Reason::DefaultDenied
        | Reason::Established
        | Reason::LinkEssential
        | Reason::IcmpError
        | Reason::Fragment
        | Reason::NoState
        | Reason::Portless
        | Reason::NotIp
        | Reason::NoPlan
        | Reason::HalfSeen
        | Reason::NewDevice
        | Reason::OtherResolver
        | Reason::Isolated => false,
    }
}

/// Half-seen TCP, which the linear text knows nothing of.
fn is_loose(policy: &Policy, packet: &Packet) -> bool {
    let loose = |zone| policy.zone(zone).is_some_and(|zone| zone.loose);
    loose(packet.from) || loose(packet.to)
}

/// The text that removes a table, whether it is there or not.
fn without(table: &str) -> String {
    format!("add table inet {table}\ndelete table inet {table}\n")
}

/// Puts rules in force, sends the frames and says which passed, and which were refused with an answer.
fn observed(router: &Router, frames: &[(usize, Vec<u8>)], rules: &str) -> (Numbers, Numbers) {
    let watch = "add table inet watch\ndelete table inet watch\ntable inet watch {\n\
        set came { typeof ip id; size 65535; flags dynamic; }\n\
        set passed4 { typeof ip id; size 65535; flags dynamic; }\n\
        set passed6 { typeof ip6 flowlabel; size 65535; flags dynamic; }\n\
        chain first { type filter hook prerouting priority -400; ip protocol 253 add @came { ip id } drop; }\n\
        chain in { type filter hook input priority 300; iifname { wan0, a0, b0 } add @passed4 { ip id }; iifname { wan0, a0, b0 } add @passed6 { ip6 flowlabel }; }\n\
        chain through { type filter hook postrouting priority 300; iifname { wan0, a0, b0 } add @passed4 { ip id }; iifname { wan0, a0, b0 } add @passed6 { ip6 flowlabel }; }\n}\n";
    router.feed(&["nft", "-f", "-"], &format!("{watch}{rules}"));
    let mut all = frames.to_vec();
    all.extend((0..DEVICES.len()).map(|place| (place, last_frame(place))));
    router.send(&all);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let listed = router.feed(&["nft", "-j", "list", "sets", "inet"], "");
        if numbers(&listed, "came").len() == DEVICES.len() {
            let mut passed = numbers(&listed, "passed4");
            passed.extend(numbers(&listed, "passed6"));
            let mut refused = numbers(&listed, "refused4");
            refused.extend(numbers(&listed, "refused6"));
            return (passed, refused);
        }
        assert!(Instant::now() < deadline, "the packets did not come");
    }
}

/// A packet of a protocol for experiments (RFC 3692), which is noted and dropped as it comes.
fn last_frame(place: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 20];
    frame.extend((LAST + place as u16).to_be_bytes());
    frame.extend([0, 0, 64, 253, 0, 0, 10, place as u8, 0, 5, 192, 0, 2, 1]);
    let sum = router::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The numbers in a set that nft printed.
fn numbers(listed: &str, set: &str) -> Numbers {
    let listed: serde_json::Value = serde_json::from_str(listed).unwrap();
    let sets = listed["nftables"].as_array().unwrap().iter().map(|object| &object["set"]);
    let Some(found) = sets.into_iter().find(|object| object["name"] == set) else { return Numbers::new() };
    let elements = found["elem"].as_array().map_or(&[][..], Vec::as_slice);
    elements
        .iter()
        .filter_map(|element| element.as_u64().or_else(|| element["elem"]["val"].as_u64()))
        .filter_map(|number| u16::try_from(number).ok())
        .collect()
}
