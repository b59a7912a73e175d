//! One policy, three judges: the slow reading of the rules, the packet path, and nftables in a real kernel. Every rule
//! must decide the same packets in all of them, and what the packet path drops nftables must not let through.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use abi::{ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use datapath::{Input, Verdict, decide};
use enforce::nft::{Wall, WallState};
use kernel_tests::Namespace;
use model::{Action, Flow, Mode, Protocol, Span};
use pnet_datalink::{Channel, Config, DataLinkSender};
use policy::{HostTables, Policy, Rule, Service, ServiceMatch, Zone, ZoneSet, opening_frame};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

const ZONES: [ZoneId; 3] = [ZONE_FIRST, ZONE_FIRST + 1, ZONE_FIRST + 2];
const DEVICES: [&str; 3] = ["wan0", "a0", "b0"];
const OWN: [&str; 6] = ["192.0.2.1", "10.1.0.1", "10.2.0.1", "2001:db8:ff::1", "fd00:1::1", "fd00:2::1"];
const POLICIES: u64 = 6;
const PACKETS: u16 = 400;
/// What was counted, by chain and rule, or by the devices between which a packet passed.
type Counted = BTreeMap<(String, String), u64>;

/// A small generator (splitmix64), so that every run judges the same packets.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn mode(&mut self) -> Mode {
        if self.below(5) == 0 { Mode::Observe } else { Mode::Enforce }
    }

    fn zones(&mut self, more: &[ZoneId]) -> ZoneSet {
        if self.below(5) == 0 {
            return ZoneSet::Any;
        }
        let choices: Vec<ZoneId> = ZONES.iter().chain(more).copied().collect();
        ZoneSet::Of((0..=self.below(3)).map(|_| self.of(&choices)).collect())
    }

    fn service(&mut self) -> ServiceMatch {
        let (first, more) = (1 + self.below(40) as u16, self.below(12) as u16);
        match self.below(5) {
            0 => ServiceMatch::new(Protocol::ICMP, 0x0800, 0x08ff),
            1 => ServiceMatch::new(Protocol::ICMPV6, 0x8000, 0x80ff),
            2 => ServiceMatch::new(Protocol::UDP, first, first + more),
            _ => ServiceMatch::new(Protocol::TCP, first, first + more),
        }
    }

    fn policy(&mut self) -> Policy {
        let rules = (0..4 + self.below(10) as u16).map(|id| {
            let matches = (0..self.below(5)).map(|_| self.service()).collect::<Vec<_>>();
            let services = Service { name: "some".into(), matches };
            Rule {
                id,
                from: self.zones(&[ZONE_SELF]).into(),
                to: self.zones(&[ZONE_SELF, ZONE_MULTICAST]).into(),
                services: if services.matches.is_empty() { vec![] } else { vec![services] },
                action: self.of(&[Action::Pass, Action::Drop, Action::Reject]),
                log: false,
                mode: self.mode(),
                comment: None,
                span: Span::default(),
                ..Rule::default()
            }
        });
        Policy { mode: Mode::Enforce, rules: rules.collect(), zones: zones(self.mode()), ..Policy::default() }
    }

    /// The opening packet of a flow from a zone to another, the router or a multicast group.
    fn flow(&mut self, sport: u16) -> (ZoneId, ZoneId, Flow) {
        let from = self.of(&ZONES);
        let to = self.of(&[ZONES[0], ZONES[1], ZONES[2], ZONE_SELF, ZONE_SELF, ZONE_MULTICAST]);
        let v6 = self.below(2) == 1;
        let host = |zone: ZoneId, number: u64| match (zone - ZONE_FIRST, v6) {
            (0, false) => format!("198.51.100.{number}"),
            (0, true) => format!("2001:db8:1::{number}"),
            (place, false) => format!("10.{place}.0.{number}"),
            (place, true) => format!("fd00:{place}::{number}"),
        };
        let own: Vec<&str> = OWN.into_iter().filter(|address| address.contains(':') == v6).collect();
        let groups: &[&str] = match (v6, from == ZONES[0]) {
            (true, _) => &["ff02::1"],
            (false, true) => &["224.0.0.1", "255.255.255.255"],
            (false, false) => &["224.0.0.1", "255.255.255.255", "broadcast"],
        };
        let destination = match to {
            ZONE_SELF => self.of(&own).to_owned(),
            ZONE_MULTICAST => match self.of(groups) {
                "broadcast" => format!("10.{}.0.255", from - ZONE_FIRST),
                group => group.to_owned(),
            },
            zone => host(zone, 6),
        };
        let proto = match self.below(5) {
            0 if v6 => Protocol::ICMPV6,
            0 => Protocol::ICMP,
            1 | 2 => Protocol::UDP,
            _ if to == ZONE_MULTICAST => Protocol::UDP,
            _ => Protocol::TCP,
        };
        let dport = match proto {
            Protocol::ICMP => 0x0800,
            Protocol::ICMPV6 => 0x8000,
            _ => 1 + self.below(48) as u16,
        };
        let (src, dst) = (host(from, 5).parse().unwrap(), destination.parse().unwrap());
        (from, to, Flow { zone: None, src, dst, proto, sport, dport })
    }
}

fn zones(mode_of_b: Mode) -> Vec<Zone> {
    let zone = |place: usize, networks: &[&str], mode| Zone {
        id: ZONES[place],
        name: ["wan", "a", "b"][place].into(),
        interface: DEVICES[place].into(),
        vlan: None,
        device: DEVICES[place].into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: place == 0,
        anti_spoof: true,
        inspect: false,
        masquerade: false,
        mode,
        denial: if place == 0 { Action::Drop } else { Action::Reject },
        span: Span::default(),
        ..Zone::default()
    };
    vec![
        zone(0, &[], Mode::Enforce),
        zone(1, &["10.1.0.0/24", "fd00:1::/64"], Mode::Enforce),
        zone(2, &["10.2.0.0/24", "fd00:2::/64"], mode_of_b),
    ]
}

/// A router with three links, whose other ends are all in one place.
struct Bench {
    router: Namespace,
    hosts: Namespace,
}

impl Bench {
    fn new(test: &str) -> Option<Self> {
        for program in ["ip", "nft", "nsenter"] {
            if Command::new(program).arg("--version").output().is_err() {
                eprintln!("SKIP: {test}: no {program}");
                return None;
            }
        }
        let (Ok(router), Ok(hosts)) =
            (Namespace::new(&format!("{test:.12}-r")), Namespace::new(&format!("{test:.12}-h")))
        else {
            eprintln!("SKIP: {test}: not root");
            return None;
        };
        let bench = Self { router, hosts };
        bench.set(&bench.hosts, &["ipv6/conf/all/disable_ipv6=1", "ipv6/conf/default/disable_ipv6=1"]);
        let forwarding = ["ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1", "ipv4/conf/all/rp_filter=0"];
        bench.set(&bench.router, &forwarding);
        bench.set(&bench.router, &["ipv4/conf/default/rp_filter=0", "ipv6/conf/default/addr_gen_mode=1"]);
        // Redirects would be flows of the router itself.
        bench.set(&bench.router, &["ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0"]);
        for device in DEVICES {
            bench.router.join(device, &bench.hosts, &device.replace('0', "1")).unwrap();
            bench.router.run(&format!("ip link set {device} address 02:00:00:00:00:01")).unwrap();
        }
        for (address, device) in OWN.iter().zip(DEVICES.iter().cycle()) {
            let length = if address.contains(':') { "64 nodad" } else { "24" };
            bench.router.run(&format!("ip address add {address}/{length} dev {device}")).unwrap();
        }
        let hosts = [
            ("wan0", "192.0.2.254 2001:db8:ff::fe"),
            ("a0", "10.1.0.5 10.1.0.6 fd00:1::5 fd00:1::6"),
            ("b0", "10.2.0.5 10.2.0.6 fd00:2::5 fd00:2::6"),
        ];
        for (device, addresses) in hosts {
            for address in addresses.split(' ') {
                let neighbour = format!("ip neigh add {address} lladdr 02:00:00:00:00:02 dev {device}");
                bench.router.run(&neighbour).unwrap();
            }
        }
        bench.router.run("ip route add default via 192.0.2.254").unwrap();
        bench.router.run("ip -6 route add default via 2001:db8:ff::fe dev wan0").unwrap();
        Some(bench)
    }

    fn set(&self, namespace: &Namespace, settings: &[&str]) {
        for setting in settings {
            let (key, value) = setting.split_once('=').unwrap();
            let write = || Ok(std::fs::write(format!("/proc/sys/net/{key}"), value)?);
            namespace.inside(write).unwrap();
        }
    }

    /// Counts, behind the wall, what passed: forwarded between two devices, or in at one.
    fn watch(&self) {
        let mut script =
            String::from("add table inet oracle; delete table inet oracle; add table inet oracle; ");
        script += "add chain inet oracle post { type filter hook postrouting priority 300; }; ";
        script += "add chain inet oracle in { type filter hook input priority 300; }; ";
        for from in DEVICES {
            let new = "ct state new counter comment";
            script += &format!("add rule inet oracle in iifname {from} {new} \"{from} self\"; ");
            for to in DEVICES {
                script +=
                    &format!("add rule inet oracle post iifname {from} oifname {to} {new} \"{from} {to}\"; ");
            }
        }
        self.router
            .inside(|| {
                let ended = Command::new("nft").arg(&script).output()?;
                assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
                Ok(())
            })
            .unwrap();
    }

    fn passed(&self) -> Counted {
        let listed = self.router.run("nft -j list table inet oracle").unwrap();
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        let rules = listed["nftables"].as_array().unwrap().iter().map(|object| &object["rule"]);
        let count = |rule: &serde_json::Value| {
            let counter = rule["expr"].as_array()?.iter().find_map(|statement| statement.get("counter"))?;
            Some((rule["comment"].as_str()?.to_owned(), counter["packets"].as_u64()?))
        };
        rules.filter_map(count).map(|(comment, packets)| (("passed".to_owned(), comment), packets)).collect()
    }

    fn counted(&self, wall: &Wall) -> Counted {
        let counters = self.router.inside(|| Ok(wall.counters()?)).unwrap();
        let mut counted = self.passed();
        for counter in counters {
            *counted.entry((counter.chain, counter.comment)).or_default() += counter.packets;
        }
        // What the router sends itself, such as its answer to a ping of a group, nobody here asked for.
        counted.retain(|(chain, _), packets| *packets > 0 && !chain.starts_with("output."));
        counted
    }

    fn send(&self, frames: &[(usize, Vec<u8>)]) {
        let open = |device: &str| -> Box<dyn DataLinkSender> {
            let name = device.replace('0', "1");
            let interface = pnet_datalink::interfaces().into_iter().find(|known| known.name == name).unwrap();
            match pnet_datalink::channel(&interface, Config::default()).unwrap() {
                Channel::Ethernet(sender, _) => sender,
                _ => panic!("no Ethernet on {name}"),
            }
        };
        self.hosts
            .inside(|| {
                let mut senders = DEVICES.map(open);
                for (place, frame) in frames {
                    senders[*place].send_to(frame, None).unwrap()?;
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn rules_packet_path_and_nftables_judge_alike() {
    let Some(bench) = Bench::new("rules_packet_path_and_nftables_judge_alike") else { return };
    let mut denied = 0;
    for seed in 0..POLICIES {
        let mut chance = Chance(seed);
        let policy = chance.policy();
        let own: Vec<IpAddr> = OWN.iter().map(|address| address.parse().unwrap()).collect();
        let tables = HostTables::new(Arc::new(policy.lower(&own, Arc::new([])).unwrap())).unwrap();
        let mut wall = Wall::default();
        bench.watch();
        bench.router.inside(|| Ok(wall.apply(&policy)?)).unwrap();
        let mut expected = Counted::new();
        let mut frames = Vec::new();
        for number in 0..PACKETS {
            // Every packet opens a flow of its own, also over policies.
            let (from, to, flow) = chance.flow(2000 + PACKETS * seed as u16 + number);
            let place = usize::from(from - ZONE_FIRST);
            let frame = finished(opening_frame(&flow, &policy.zones[place]), &flow);
            let says = expect(&policy, from, to, &flow, &mut expected);
            denied += u32::from(!says.passes);
            let packet_path = judged(&tables, place, &frame);
            let same = (packet_path.action, packet_path.observed, packet_path.drops());
            let drops = says.action == Action::Drop && !says.passes;
            assert_eq!(same, (says.action, says.observed, drops), "seed {seed}: {flow}: {packet_path:?}");
            frames.push((place, frame));
        }
        bench.send(&frames);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut counted = bench.counted(&wall);
        while counted != expected && Instant::now() < deadline {
            counted = bench.counted(&wall);
        }
        let differ = |map: &Counted, other: &Counted| {
            map.iter()
                .filter(|(key, count)| other.get(*key) != Some(count))
                .map(|(k, c)| (k.clone(), *c))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            differ(&counted, &expected),
            differ(&expected, &counted),
            "seed {seed}: counted, expected"
        );
    }
    assert!(denied > 500, "only {denied} packets were denied");
}

#[test]
fn the_shipped_example_and_the_widest_policy_are_taken() {
    let Some(bench) = Bench::new("the_shipped_example_and_the_widest_policy_are_taken") else { return };
    let text = include_str!("../../../image/secd.toml");
    let mut shipped = config::parse("secd.toml", text).unwrap().policy;
    let mut widest = shipped.clone();
    widest.zones = (0..61)
        .map(|place| Zone {
            id: ZONE_FIRST + place,
            name: format!("zone-{place}"),
            device: format!("eth1.{place}"),
            ..shipped.zones[1].clone()
        })
        .collect();
    let mut wall = Wall::default();
    for mode in [Mode::Observe, Mode::Enforce] {
        for policy in [&mut shipped, &mut widest] {
            policy.mode = mode;
            bench.router.inside(|| Ok(wall.apply(policy)?)).unwrap();
            assert_eq!(bench.router.inside(|| Ok(wall.check()?)).unwrap(), WallState::Same);
        }
    }
}

struct Says {
    action: Action,
    observed: bool,
    passes: bool,
}

/// What the slow reading of the rules says, and what nftables should count for it.
fn expect(policy: &Policy, from: ZoneId, to: ZoneId, flow: &Flow, expected: &mut Counted) -> Says {
    let says = policy.judge(from, to, flow.proto, flow.dport);
    let zone = policy.zone(from).unwrap();
    let observed = says.action != Action::Pass && (says.observe || zone.mode == Mode::Observe);
    let passes = says.action == Action::Pass || observed;
    let hook = if matches!(to, ZONE_SELF | ZONE_MULTICAST) { "input" } else { "forward" };
    let chain = format!("{hook}.{}.{}", zone.name, policy.zone_name(to));
    let comment = says.rule.map_or_else(|| "default".to_owned(), |id| format!("rule {id}"));
    let has_chain = policy.rules.iter().any(|rule| rule.covers(from, to)) || says.action != Action::Pass;
    if has_chain {
        let comment = if observed { comment + " observed" } else { comment };
        *expected.entry((chain, comment)).or_default() += 1;
    }
    if passes {
        let out = policy.zone(to).map_or("self", |zone| &zone.device);
        *expected.entry(("passed".into(), format!("{} {out}", zone.device))).or_default() += 1;
    }
    Says { action: says.action, observed, passes }
}

fn judged(tables: &HostTables, place: usize, frame: &[u8]) -> Verdict {
    let input = Input {
        ifindex: tables.interface(DEVICES[place]).unwrap(),
        now: 1_000_000_000,
        length: frame.len() as u32,
        ..Input::default()
    };
    let mut verdict = Verdict::EMPTY;
    decide(&frame, &input, tables, &mut verdict);
    verdict
}

/// The frame with what a kernel asks for and the packet path does not: checksums, and a group's own MAC address.
fn finished(mut frame: Vec<u8>, flow: &Flow) -> Vec<u8> {
    match flow.dst {
        IpAddr::V4(to) if to.is_multicast() => {
            frame[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, to.octets()[3]])
        }
        IpAddr::V4(to) if to.octets()[3] == 255 => frame[..6].fill(0xff),
        IpAddr::V6(to) if to.is_multicast() => frame[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    let packet = &mut frame[14..];
    let (pseudo, start) = match (flow.src, flow.dst) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            ([from.octets(), to.octets()].concat(), 20)
        }
        (from, to) => {
            let octets = |address: IpAddr| match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
            };
            ([octets(from), octets(to)].concat(), 40)
        }
    };
    let length = (packet.len() - start) as u16;
    let mut summed = if flow.proto == Protocol::ICMP { vec![] } else { pseudo };
    if flow.proto != Protocol::ICMP {
        summed.extend([0, flow.proto.0]);
        summed.extend(length.to_be_bytes());
    }
    summed.extend(&packet[start..]);
    let sum = checksum(&summed).to_be_bytes();
    let at = start
        + match flow.proto {
            Protocol::TCP => 16,
            Protocol::UDP => 6,
            _ => 2,
        };
    packet[at..at + 2].copy_from_slice(&sum);
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
