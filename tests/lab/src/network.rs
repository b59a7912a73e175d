//! The network of the lab: a router with one interface per zone, and a host in each.

use crate::namespace::{self, Namespace};
use crate::process;
use anyhow::{Context, Result};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A zone with its addresses. The router has `.1`/`::1` of each network but the WAN's, where it has `.2`/`::2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its name in the config and of its namespace.
    pub name: &'static str,
    /// The router's interface.
    pub interface: &'static str,
    /// The router's IPv4 address with its prefix length.
    pub router4: &'static str,
    /// The host's IPv4 address.
    pub host4: &'static str,
    /// The router's IPv6 address with its prefix length.
    pub router6: &'static str,
    /// The host's IPv6 address.
    pub host6: &'static str,
}

macro_rules! zone {
    ($name:literal, $interface:literal, $router4:literal, $host4:literal, $router6:literal, $host6:literal) => {
        Zone {
            name: $name,
            interface: $interface,
            router4: $router4,
            host4: $host4,
            router6: $router6,
            host6: $host6,
        }
    };
}

/// The outside: the gateway of the provider, web, upstream DNS, and the attacker.
pub const WAN: Zone =
    zone!("wan", "wan0", "203.0.113.2/24", "203.0.113.1", "2001:db8:ffff::2/64", "2001:db8:ffff::1");
/// The load balancer that the outside may reach.
pub const DMZ: Zone =
    zone!("dmz", "dmz0", "198.51.100.1/24", "198.51.100.10", "2001:db8:d::1/64", "2001:db8:d::10");
/// People.
pub const HOME: Zone = zone!("home", "home0", "10.1.0.1/24", "10.1.0.9", "fd00:1::1/64", "fd00:1::9");
/// Visitors.
pub const GUEST: Zone = zone!("guest", "guest0", "10.5.0.1/24", "10.5.0.9", "fd00:5::1/64", "fd00:5::9");
/// Where administration comes from.
pub const MANAGEMENT: Zone =
    zone!("management", "mgmt0", "10.10.0.1/24", "10.10.0.9", "fd00:10::1/64", "fd00:10::9");
/// Applications, and the Loki receiver.
pub const SERVICES: Zone =
    zone!("services", "svc0", "10.20.0.1/24", "10.20.0.9", "fd00:20::1/64", "fd00:20::9");
/// Files and backups.
pub const STORAGE: Zone =
    zone!("storage", "stor0", "10.30.0.1/24", "10.30.0.9", "fd00:30::1/64", "fd00:30::9");
/// Things.
pub const IOT: Zone = zone!("iot", "iot0", "10.40.0.1/24", "10.40.0.9", "fd00:40::1/64", "fd00:40::9");
/// Cameras, behind a trunk that carries VLAN tags.
pub const CAMERAS: Zone =
    zone!("cameras", "trunk0", "10.41.0.1/24", "10.41.0.9", "fd00:41::1/64", "fd00:41::9");
/// The tag of the cameras.
pub const CAMERAS_VLAN: u16 = 410;
/// All of them.
pub const ZONES: [Zone; 9] = [WAN, DMZ, HOME, GUEST, MANAGEMENT, SERVICES, STORAGE, IOT, CAMERAS];

/// Where the attacker of the brute force comes from.
pub const ATTACKER: &str = "203.0.113.66";
/// Where the exploit comes from.
pub const EXPLOITER: &str = "203.0.113.77";
/// A visitor from the outside who does nothing wrong.
pub const VISITOR: &str = "203.0.113.80";
/// The two upstream DNS servers.
pub const UPSTREAMS: [&str; 2] = ["203.0.113.53", "203.0.113.54"];

/// Namespaces and links, gone when dropped.
#[derive(Debug)]
pub struct Network {
    /// The router's namespace.
    pub router: Namespace,
    hosts: Vec<(Zone, Namespace)>,
}

impl Network {
    /// Makes all of it.
    ///
    /// # Errors
    /// Not root, iproute2 or ethtool is not there, or the kernel lacks veth.
    pub fn build(number: u32) -> Result<Self> {
        namespace::sweep();
        let router = Namespace::create(number, "router", true)?;
        let mut network = Self { router, hosts: Vec::new() };
        for zone in ZONES {
            let host = Namespace::create(number, zone.name, false)?;
            network.link(&zone, &host).with_context(|| format!("cannot link zone {}", zone.name))?;
            network.hosts.push((zone, host));
        }
        network.router.ip(&["route", "add", "default", "via", WAN.host4])?;
        network.router.ip(&["-6", "route", "add", "default", "via", WAN.host6])?;
        let outside = network.host(WAN)?;
        for address in [ATTACKER, EXPLOITER, VISITOR, UPSTREAMS[0], UPSTREAMS[1]] {
            outside.ip(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        }
        outside.ip(&["-6", "address", "add", "2001:db8:ffff::66/64", "dev", "eth0", "nodad"])?;
        Ok(network)
    }

    /// The namespace of a zone's host.
    ///
    /// # Errors
    /// The zone has none.
    pub fn host(&self, zone: Zone) -> Result<&Namespace> {
        let found = self.hosts.iter().find(|(of, _)| *of == zone);
        found.map(|(_, host)| host).with_context(|| format!("no host in zone {}", zone.name))
    }

    fn link(&self, zone: &Zone, host: &Namespace) -> Result<()> {
        let (router, host_name) = (self.router.name(), host.name());
        process::run(Command::new("ip").args([
            "link",
            "add",
            zone.interface,
            "netns",
            router,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            host_name,
        ]))?;
        for (namespace, device) in [(&self.router, zone.interface), (host, "eth0")] {
            // GRO gives a veth the NAPI that forwarding between XDP programs needs; tags must stay in the frames.
            process::run(
                namespace
                    .command("ethtool")
                    .args(["-K", device, "gro", "on", "rxvlan", "off", "txvlan", "off"]),
            )?;
        }
        let (prefix4, prefix6) = (prefix(zone.router4), prefix(zone.router6));
        self.router.ip(&["address", "add", zone.router4, "dev", zone.interface])?;
        self.router.ip(&["-6", "address", "add", zone.router6, "dev", zone.interface, "nodad"])?;
        host.ip(&["address", "add", &format!("{}/{prefix4}", zone.host4), "dev", "eth0"])?;
        host.ip(&["-6", "address", "add", &format!("{}/{prefix6}", zone.host6), "dev", "eth0", "nodad"])?;
        self.router.ip(&["link", "set", zone.interface, "up"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        host.ip(&["route", "add", "default", "via", address(zone.router4)])?;
        host.ip(&["-6", "route", "add", "default", "via", address(zone.router6)])
    }
}

/// A number for each lab of this process.
pub(crate) fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// The address of `address/length`.
#[must_use]
pub fn address(with_prefix: &str) -> &str {
    with_prefix.split('/').next().unwrap_or(with_prefix)
}

fn prefix(with_prefix: &str) -> &str {
    with_prefix.rsplit('/').next().unwrap_or("32")
}
