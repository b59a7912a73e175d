//! What the router is: its addresses, its gateways, and so what no ban may touch.

use config::Config;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::{ifaddrs, net::if_};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{allowed_names::Named, keeper::Protected};

/// Addresses and interfaces of this machine, in its network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Every address of every interface.
    pub addresses: BTreeSet<IpAddr>,
    /// Next hops of the default routes.
    pub gateways: BTreeSet<IpAddr>,
    /// What the names of `allow` resolve to.
    pub named: Named,
    /// Interface names by index.
    pub interfaces: BTreeMap<u32, String>,
}

impl Machine {
    /// Reads the state of now; what cannot be read is left out.
    #[must_use]
    pub fn read() -> Self {
        let mut machine = Self::default();
        for interface in ifaddrs::getifaddrs().into_iter().flatten() {
            let Some(address) = interface.address else { continue };
            if let Some(v4) = address.as_sockaddr_in() {
                machine.addresses.insert(IpAddr::V4(v4.ip()));
            } else if let Some(v6) = address.as_sockaddr_in6() {
                machine.addresses.insert(IpAddr::V6(v6.ip()));
            }
        }
        for interface in if_::if_nameindex().iter().flat_map(|list| list.iter()) {
            machine.interfaces.insert(interface.index(), interface.name().to_string_lossy().into_owned());
        }
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        machine.gateways.extend(gateways_v4(&read("/proc/net/route")));
        machine.gateways.extend(gateways_v6(&read("/proc/net/ipv6_route")));
        machine
    }

    /// [`Self::read`], and what names resolve to.
    #[must_use]
    pub fn with(named: Named) -> Self {
        Self { named, ..Self::read() }
    }

    /// What no ban may touch: this machine, its gateways and resolvers, the allow-list, trusted proxies, ranges that are
    /// nobody's, and each zone's network as a whole.
    #[must_use]
    pub fn protected(&self, config: &Config) -> Vec<Protected> {
        let host = |address: &IpAddr, why: &str| protected((*address).into(), why);
        let mut all: Vec<Protected> =
            self.addresses.iter().map(|address| host(address, "the router's own address")).collect();
        all.extend(self.gateways.iter().map(|address| host(address, "a default gateway")));
        all.extend(
            config
                .upstream_addresses()
                .map(|address| Protected { is_upstream: true, ..host(&address, "an upstream DNS server") }),
        );
        all.extend(
            config.allow.iter().map(|net| protected(*net, "on the allow-list (`allow` in the config)")),
        );
        let proxies = config.lapi.iter().flat_map(|api| &api.trusted_proxies);
        all.extend(proxies.map(|net| protected(*net, "a reverse proxy (`trusted_proxies` in the config)")));
        for (name, addresses) in &self.named {
            let why = format!("{name}, on the allow-list (`allow` in the config)");
            all.extend(addresses.iter().map(|address| host(address, &why)));
        }
        all.extend(NOBODYS.iter().map(|(net, why)| protected(*net, why)));
        for zone in &config.policy.zones {
            let why = format!("the network of zone {}", zone.name);
            all.extend(
                zone.networks.iter().map(|net| Protected { as_a_whole: true, ..protected(*net, &why) }),
            );
        }
        all
    }
}

fn protected(net: IpNet, why: &str) -> Protected {
    Protected { net, why: why.to_owned(), as_a_whole: false, is_upstream: false }
}

/// Ranges whose ban would cut the link itself or mean nothing.
const NOBODYS: [(IpNet, &str); 7] = [
    (IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8)), "\"this network\" (RFC 1122)"),
    (IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)), "loopback"),
    (IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3)), "multicast or reserved"),
    (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), "loopback"),
    // In the packet path every IPv4 address lies in there.
    (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)), "all of IPv4"),
    (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)), "link-local"),
    (IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)), "multicast"),
];

/// Next hops of default routes in `/proc/net/route`: columns interface, destination, gateway, … the address in native byte order.
fn gateways_v4(table: &str) -> Vec<IpAddr> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default = rows.filter(|row| row.get(1) == Some(&"00000000"));
    default
        .filter_map(|row| u32::from_str_radix(row.get(2)?, 16).ok())
        .filter(|gateway| *gateway != 0)
        .map(|gateway| Ipv4Addr::from(gateway.to_ne_bytes()).into())
        .collect()
}

/// Next hops of default routes in `/proc/net/ipv6_route`: destination, its length, source, its length, next hop.
fn gateways_v6(table: &str) -> Vec<IpAddr> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default = rows.filter(|row| row.get(1) == Some(&"00"));
    default
        .filter_map(|row| u128::from_str_radix(row.get(4)?, 16).ok())
        .filter(|gateway| *gateway != 0)
        .map(|gateway| Ipv6Addr::from(gateway).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_are_read_from_the_kernels_tables() {
        let v4 = "Iface\tDestination\tGateway \tFlags\neth0\t00000000\t0102A8C0\t0003\neth0\t0002A8C0\t00000000\t0001\n";
        assert_eq!(gateways_v4(v4), ["192.168.2.1".parse::<IpAddr>().unwrap()]);
        let zero = "0".repeat(32);
        let next = "fe800000000000000000000000000001";
        let v6 =
            format!("{zero} 00 {zero} 00 {next} 0400 1 0 3 eth0\n{zero} 00 {zero} 00 {zero} ff 1 0 2 lo\n");
        assert_eq!(gateways_v6(&v6), ["fe80::1".parse::<IpAddr>().unwrap()]);
        assert_eq!(gateways_v4("rubbish\n00\n"), [] as [IpAddr; 0]);
    }

    #[test]
    fn this_machine_has_a_loopback() {
        let machine = Machine::read();
        assert!(machine.addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{machine:?}");
        assert!(machine.interfaces.values().any(|name| name == "lo"));
    }
}
