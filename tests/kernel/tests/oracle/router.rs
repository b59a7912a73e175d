//! A router with three links in a network namespace of its own, whose other ends are all in one place.

use abi::{ZONE_FIRST, ZoneId};
use kernel_tests::Namespace;
use model::{Flow, Mac, Protocol};
use pnet_datalink::{Channel, Config, DataLinkSender};
use std::{
    io::Write as _,
    net::{IpAddr, Ipv6Addr},
    process::{Command, Stdio},
};

/// The outside and two inner zones.
pub(crate) const ZONES: [ZoneId; 3] = [ZONE_FIRST, ZONE_FIRST + 1, ZONE_FIRST + 2];
pub(crate) const DEVICES: [&str; 3] = ["wan0", "a0", "b0"];
/// The router's own addresses, by device.
pub(crate) const OWN: [&str; 6] =
    ["192.0.2.1", "10.1.0.1", "10.2.0.1", "2001:db8:ff::1", "fd00:1::1", "fd00:2::1"];
/// Last numbers of the hosts in each inner zone.
pub(crate) const HOSTS: std::ops::RangeInclusive<u64> = 5..=9;

pub(crate) struct Router {
    pub(crate) inside: Namespace,
    hosts: Namespace,
}

impl Router {
    /// Makes it, or says on stderr why `test` is skipped. `name` tells namespaces apart.
    pub(crate) fn new(test: &str, name: &str) -> Option<Self> {
        for program in ["ip", "nft", "nsenter"] {
            if Command::new(program).arg("--version").output().is_err() {
                eprintln!("SKIP: {test}: no {program}");
                return None;
            }
        }
        let (Ok(inside), Ok(hosts)) =
            (Namespace::new(&format!("{name}-r")), Namespace::new(&format!("{name}-h")))
        else {
            eprintln!("SKIP: {test}: not root");
            return None;
        };
        let router = Self { inside, hosts };
        router.set(&router.hosts, &["ipv6/conf/all/disable_ipv6=1", "ipv6/conf/default/disable_ipv6=1"]);
        let settings = [
            "ipv4/ip_forward=1",
            "ipv6/conf/all/forwarding=1",
            "ipv4/conf/all/rp_filter=0",
            "ipv4/conf/default/rp_filter=0",
            "ipv6/conf/default/addr_gen_mode=1",
            // Redirects would be flows of the router itself.
            "ipv4/conf/all/send_redirects=0",
            "ipv4/conf/default/send_redirects=0",
        ];
        router.set(&router.inside, &settings);
        let mut batch = String::new();
        for device in DEVICES {
            router.inside.join(device, &router.hosts, &device.replace('0', "1")).unwrap();
            batch += &format!("link set {device} address 02:00:00:00:00:01\n");
        }
        for (address, device) in OWN.iter().zip(DEVICES.iter().cycle()) {
            let length = if address.contains(':') { "64 nodad" } else { "24" };
            batch += &format!("address add {address}/{length} dev {device}\n");
        }
        let neighbour = |address: &str, device: &str| {
            format!("neigh add {address} lladdr 02:00:00:00:00:02 dev {device}\n")
        };
        batch += &neighbour("192.0.2.254", "wan0");
        batch += &neighbour("2001:db8:ff::fe", "wan0");
        for host in HOSTS {
            for (place, device) in DEVICES.iter().enumerate().skip(1) {
                batch += &neighbour(&format!("10.{place}.0.{host}"), device);
                batch += &neighbour(&format!("fd00:{place}::{host}"), device);
            }
        }
        batch += "route add default via 192.0.2.254\nroute add default via 2001:db8:ff::fe dev wan0\n";
        router.feed(&["ip", "-batch", "-"], &batch);
        Some(router)
    }

    fn set(&self, namespace: &Namespace, settings: &[&str]) {
        for setting in settings {
            let (key, value) = setting.split_once('=').unwrap();
            let write = || Ok(std::fs::write(format!("/proc/sys/net/{key}"), value)?);
            namespace.inside(write).unwrap();
        }
    }

    /// Runs a program inside with this on its standard input; returns what it printed.
    pub(crate) fn feed(&self, command: &[&str], input: &str) -> String {
        let work = || {
            let mut child = Command::new(command[0])
                .args(&command[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            child.stdin.take().unwrap().write_all(input.as_bytes())?;
            let ended = child.wait_with_output()?;
            let said = String::from_utf8_lossy(&ended.stderr).into_owned();
            assert!(ended.status.success(), "{command:?}: {said}\n{input}");
            Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
        };
        self.inside.inside(work).unwrap()
    }

    /// Sends frames in at devices of the router, by place.
    pub(crate) fn send(&self, frames: &[(usize, Vec<u8>)]) {
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

pub(crate) fn own() -> Vec<IpAddr> {
    OWN.iter().map(|address| address.parse().unwrap()).collect()
}

/// The frame with what a kernel asks for and the packet path does not: a group's own MAC address, the sender's, a
/// number by which it is known again (IPv4 identification, IPv6 flow label), checksums.
pub(crate) fn finished(mut frame: Vec<u8>, flow: &Flow, number: u16) -> Vec<u8> {
    match flow.dst {
        IpAddr::V4(to) if to.is_multicast() => {
            let [_, second, third, fourth] = to.octets();
            frame[..6].copy_from_slice(&[1, 0, 0x5e, second & 0x7f, third, fourth]);
        }
        IpAddr::V4(to) if to.octets()[3] == 255 => frame[..6].fill(0xff),
        IpAddr::V6(to) if to.is_multicast() => {
            frame[..2].copy_from_slice(&[0x33, 0x33]);
            frame[2..6].copy_from_slice(&to.octets()[12..]);
        }
        IpAddr::V4(_) | IpAddr::V6(_) => frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]),
    }
    let Mac(sender) = flow.mac.unwrap_or(Mac([2, 0, 0, 0, 0, 2]));
    frame[6..12].copy_from_slice(&sender);
    let packet = &mut frame[14..];
    let (pseudo, start) = match (flow.src, flow.dst) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            packet[4..6].copy_from_slice(&number.to_be_bytes());
            packet[10..12].fill(0);
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            ([from.octets(), to.octets()].concat(), 20)
        }
        (from, to) => {
            packet[2..4].copy_from_slice(&number.to_be_bytes());
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
    let at = match flow.proto {
        Protocol::TCP => 16,
        Protocol::UDP => 6,
        Protocol::ICMP | Protocol::ICMPV6 => 2,
        _ => return frame,
    };
    packet[start + at..start + at + 2].fill(0);
    summed.extend(&packet[start..]);
    let sum = checksum(&summed).to_be_bytes();
    packet[start + at..start + at + 2].copy_from_slice(&sum);
    frame
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
