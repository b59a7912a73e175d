//! `secctl doctor`: what a router is asked first when something does not work. Pure: [`facts`] asks, this judges.

pub mod exposure;
pub mod facts;

use facts::{Device, Facts};
use model::{Mode, Timestamp};
use policy::{Policy, Zone};
use protocol::{Finding, Level};
use std::{collections::BTreeMap, net::IpAddr};

/// Oldest kernel on which everything runs (Debian 12).
const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// Before this, 1 January 2026, it cannot be: the clock is wrong.
const BUILT: Timestamp = Timestamp(1_767_225_600_000_000);
/// Share of a table in percent from which it is told.
const NEARLY_FULL: u64 = 80;
/// Largest packet that is usual.
const USUAL_MTU: u32 = 1500;

/// What the daemon knows, beside what the machine says.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// The policy in force.
    pub policy: &'a Policy,
    /// Mode of the whole.
    pub mode: Mode,
    /// How interfaces are held: `driver`, `generic`, `tc`.
    pub attached: BTreeMap<&'a str, &'a str>,
    /// What needs a person already.
    pub troubles: Vec<String>,
    /// What this kernel or a card lacks.
    pub notes: Vec<String>,
    /// Tables: name, entries, limit, what to do.
    pub tables: Vec<(&'static str, u64, u64, &'static str)>,
    /// What the packet path could not tell or keep, since its maps were made.
    pub lost: Vec<(&'static str, u64)>,
    /// Every address of the router.
    pub own: Vec<IpAddr>,
    /// Addresses secd itself answers DNS on.
    pub dns: Vec<std::net::SocketAddr>,
    /// The time.
    pub now: Timestamp,
}

/// Everything that can be said, the worst first within each topic.
#[must_use]
pub fn diagnose(facts: &Facts, known: &Known<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for trouble in &known.troubles {
        findings.push(wrong("secd", trouble.clone(), "see `secctl status` and the log: journalctl -u secd"));
    }
    for text in &known.notes {
        findings.push(note("secd", text.clone(), "nothing has to be done; another kernel or card has it"));
    }
    if known.mode == Mode::Observe {
        findings.push(note(
            "secd",
            "secd only observes: it judges and counts, and drops nothing",
            "`secctl mode enforce` when what it would drop is what you want dropped",
        ));
    }
    machine(facts, &mut findings);
    clock(facts, known, &mut findings);
    match &facts.devices {
        None => findings.push(wrong(
            "interfaces",
            "`ip` cannot be run: devices, addresses and MTU are not known",
            "install iproute2",
        )),
        Some(devices) => {
            interfaces(devices, known, &mut findings);
            for zone in known.policy.zones.iter().filter(|zone| zone.wan) {
                outside(devices, known.policy, zone, &mut findings);
            }
        }
    }
    exposure::exposure(facts, known, &mut findings);
    tables(known, &mut findings);
    findings
}

fn machine(facts: &Facts, findings: &mut Vec<Finding>) {
    let version = || {
        let mut numbers = facts.kernel.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    let (major, minor) = OLDEST_KERNEL;
    findings.push(match version() {
        Some(version) if version >= OLDEST_KERNEL => good("kernel", format!("Linux {}", facts.kernel)),
        Some(_) => wrong(
            "kernel",
            format!("Linux {} is older than {major}.{minor}, the oldest that is tried", facts.kernel),
            "upgrade the kernel; Debian 12 has 6.1",
        ),
        None => note("kernel", "its version cannot be read", "see `uname -r`"),
    });
    if !facts.btf {
        findings.push(wrong(
            "kernel",
            "it does not describe its types (no /sys/kernel/btf/vmlinux): programs cannot be loaded",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF, as all distributions' are",
        ));
    }
    findings.push(if facts.bpffs {
        good("bpf", "a BPF file system is mounted: enforcement outlives the daemon".into())
    } else {
        wrong(
            "bpf",
            "no BPF file system is mounted: a daemon that ends takes enforcement with it",
            "mount -t bpf bpf /sys/fs/bpf",
        )
    });
    findings.push(match &facts.nft {
        Some(version) => good("nftables", version.clone()),
        None => wrong(
            "nftables",
            "`nft` cannot be run: there is no second wall and no NAT",
            "install nftables (1.0.6 or later)",
        ),
    });
}

fn clock(facts: &Facts, known: &Known<'_>, findings: &mut Vec<Finding>) {
    if known.now < BUILT {
        findings.push(wrong(
            "clock",
            format!("it says {}, which has passed: bans, schedules and certificates go by it", known.now),
            "set it (`date -s`), and have NTP keep it: apt install systemd-timesyncd or chrony",
        ));
        return;
    }
    findings.push(match facts.synchronized {
        Some(true) => good("clock", format!("{}, kept right by NTP", known.now)),
        Some(false) => note(
            "clock",
            "NTP does not keep it: it drifts, and schedules with it",
            "timedatectl set-ntp true; let the router reach an NTP server (udp/123 from self)",
        ),
        None => note(
            "clock",
            "whether NTP keeps it cannot be found out",
            "`timedatectl` or `chronyc tracking` tells",
        ),
    });
}

fn interfaces(devices: &BTreeMap<String, Device>, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut by_interface = BTreeMap::<&str, Vec<&Zone>>::new();
    for zone in &known.policy.zones {
        by_interface.entry(&zone.interface).or_default().push(zone);
    }
    for (name, zones) in by_interface {
        let topic = format!("interface {name}");
        let Some(device) = devices.get(name) else {
            let names: Vec<_> = zones.iter().map(|zone| zone.name.as_str()).collect();
            findings.push(wrong(
                &topic,
                format!("it is not there, so {} has no packets", names.join(", ")),
                "plug it in, or correct `interface` in the config; `ip link` shows the names",
            ));
            continue;
        };
        let tagged = zones.iter().any(|zone| zone.vlan.is_some());
        held(&topic, name, device, known, findings);
        offloads(&topic, name, device, tagged, findings);
        if !device.up {
            findings.push(note(
                &topic,
                "it has no carrier, or is down",
                "check the cable, or `ip link set … up`",
            ));
        }
        if device.mtu > USUAL_MTU {
            findings.push(note(
                &topic,
                format!("its MTU is {}", device.mtu),
                "all hosts of the network need the same; drivers may refuse native XDP with it",
            ));
        }
        for zone in zones.iter().filter(|zone| zone.device != *name) {
            vlan_device(zone, device, devices, findings);
        }
    }
}

fn held(topic: &str, name: &str, device: &Device, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let driver = device.driver.as_deref().unwrap_or("not known");
    findings.push(match known.attached.get(name).copied() {
        Some("driver") => good(topic, format!("packets are judged in the driver ({driver})")),
        Some("generic") => note(
            topic,
            format!("packets are judged by the kernel, since the driver ({driver}) has no native XDP or refused it"),
            "same verdicts, more CPU time per packet; cards with native XDP: igb, igc, ixgbe, i40e, ice, mlx5, virtio",
        ),
        Some("tc") => note(
            topic,
            "packets are judged in TC: the device has no Ethernet header (PPP, WireGuard, tunnels)",
            "same verdicts, more CPU time per packet",
        ),
        Some(_) | None => wrong(
            topic,
            "no program is attached: its zones are judged by nftables alone",
            "`secctl status` tells why; another XDP program may hold it (`ip link show`)",
        ),
    });
}

fn offloads(topic: &str, name: &str, device: &Device, tagged: bool, findings: &mut Vec<Finding>) {
    let on = |feature: &str| device.features.get(feature) == Some(&true);
    if device.features.is_empty() {
        findings.push(note(topic, "its offloads cannot be read", "install ethtool"));
    }
    if on("large-receive-offload") {
        findings.push(wrong(
            topic,
            "large receive offload is on: it merges packets that are forwarded, and native XDP refuses it",
            &format!("ethtool -K {name} lro off"),
        ));
    }
    if tagged && on("rx-vlan-offload") {
        findings.push(wrong(
            topic,
            "the card takes VLAN tags out of the frames, and zones here are told apart by them",
            &format!("ethtool -K {name} rxvlan off"),
        ));
    }
}

fn vlan_device(zone: &Zone, trunk: &Device, devices: &BTreeMap<String, Device>, findings: &mut Vec<Finding>) {
    let topic = format!("zone {}", zone.name);
    let Some(device) = devices.get(&zone.device) else {
        let help = zone.vlan.map_or_else(
            || "correct `device` in the config".to_owned(),
            |vlan| {
                let (trunk, device) = (&zone.interface, &zone.device);
                format!("ip link add link {trunk} name {device} type vlan id {vlan}; ip link set {device} up")
            },
        );
        let message = format!("its device {} is not there: the zone has no gateway", zone.device);
        findings.push(wrong(&topic, message, &help));
        return;
    };
    if device.vlan.is_some() && device.vlan != zone.vlan {
        let (has, says) = (device.vlan.unwrap_or(0), zone.vlan.unwrap_or(0));
        findings.push(wrong(
            &topic,
            format!("{} carries the tag {has}, the config says {says}", zone.device),
            "make both the same",
        ));
    }
    if device.mtu > trunk.mtu {
        findings.push(wrong(
            &topic,
            format!(
                "{} has an MTU of {}, the interface under it only {}",
                zone.device, device.mtu, trunk.mtu
            ),
            "large packets vanish: make the VLAN's the smaller one",
        ));
    }
}

/// The WAN: is there an address, can anyone reach it, do packets fit.
fn outside(devices: &BTreeMap<String, Device>, policy: &Policy, zone: &Zone, findings: &mut Vec<Finding>) {
    let topic = format!("zone {}", zone.name);
    let Some(device) = devices.get(&zone.device) else { return };
    let forwards: Vec<&str> =
        policy.forwards.iter().filter(|forward| forward.from == zone.id).map(|f| f.name.as_str()).collect();
    let v4: Vec<_> = device.addresses.iter().filter(|address| address.is_ipv4()).collect();
    let behind = v4.iter().find_map(|address| behind_nat(**address).map(|what| (address, what)));
    match behind {
        Some((address, what)) => {
            let cannot = if forwards.is_empty() {
                "port forwards would not work".to_owned()
            } else {
                format!("port forwards ({}) cannot work", forwards.join(", "))
            };
            let message = format!(
                "its address {address} is {what}: someone before this router translates, and nothing from outside reaches it over IPv4, so {cannot}"
            );
            let help = "ask the provider for a public address or use bridge mode; forward on the device before this one too; or be reached over IPv6 or a tunnel";
            findings.push(if forwards.is_empty() {
                note(&topic, message, help)
            } else {
                wrong(&topic, message, help)
            });
        }
        None if v4.is_empty() && device.addresses.is_empty() => findings.push(wrong(
            &topic,
            format!("{} has no address: there is no way out", zone.device),
            "see the DHCP client or PPPoE",
        )),
        None if v4.is_empty() => {
            findings.push(note(&topic, "it has IPv6 only", "IPv4 needs NAT64 or a tunnel (DS-Lite)"));
        }
        None => findings.push(good(&topic, format!("public address {}", v4[0]))),
    }
    if device.mtu < USUAL_MTU && !zone.clamp_mss {
        findings.push(note(
            &topic,
            format!("its MTU is {}: TCP from inside may offer segments that do not fit", device.mtu),
            &format!("clamp_mss = true under [zones.{}]", zone.name),
        ));
    }
}

/// What kind of address cannot be reached from the Internet; none for public ones.
fn behind_nat(address: IpAddr) -> Option<&'static str> {
    let IpAddr::V4(v4) = address else { return None };
    let [a, b, ..] = v4.octets();
    if a == 100 && (64..128).contains(&b) {
        Some("one of a carrier's NAT (CGNAT, RFC 6598)")
    } else if v4.is_private() {
        Some("private (RFC 1918)")
    } else if v4.is_link_local() {
        Some("link-local: DHCP got no answer")
    } else {
        None
    }
}

fn tables(known: &Known<'_>, findings: &mut Vec<Finding>) {
    let mut full = false;
    for (table, entries, limit, help) in &known.tables {
        if entries.saturating_mul(100) >= limit.saturating_mul(NEARLY_FULL) {
            full = true;
            let message = format!("{table}: {entries} of {limit}");
            findings.push(if entries >= limit {
                wrong("tables", message, help)
            } else {
                note("tables", message, help)
            });
        }
    }
    if !full {
        findings.push(good("tables", "none is near its limit".into()));
    }
    for (what, count) in known.lost.iter().filter(|(_, count)| *count > 0) {
        findings.push(note(
            "tables",
            format!("lost so far: {what} {count}"),
            "what is lost is not told or remembered; verdicts are the same",
        ));
    }
}

fn good(topic: &str, message: String) -> Finding {
    Finding { level: Level::Good, topic: topic.into(), message, help: None }
}

fn note(topic: &str, message: impl Into<String>, help: &str) -> Finding {
    Finding { level: Level::Note, topic: topic.into(), message: message.into(), help: Some(help.into()) }
}

fn wrong(topic: &str, message: impl Into<String>, help: &str) -> Finding {
    Finding { level: Level::Wrong, topic: topic.into(), message: message.into(), help: Some(help.into()) }
}

#[cfg(test)]
mod tests;
