//! Reverse zones (RFC 1035 §3.5, RFC 3596 §2.5) of networks: what a conditional forward for a network asks elsewhere.

use ipnet::IpNet;
use std::net::IpAddr;

use crate::limits::MAX_REVERSE_NAMES;

/// The reverse zones of a network; `true` where they are wider than it, because it ends within a label and would need
/// more than [`MAX_REVERSE_NAMES`].
pub(crate) fn zones(network: IpNet) -> (Vec<String>, bool) {
    let bits_of_label = match network {
        IpNet::V4(_) => 8,
        IpNet::V6(_) => 4,
    };
    let prefix = network.prefix_len();
    let up = prefix.div_ceil(bits_of_label) * bits_of_label;
    let amount = 1_u32 << (up - prefix).min(31);
    if amount > MAX_REVERSE_NAMES {
        let wider = network.supernet_to(prefix / bits_of_label * bits_of_label);
        return (vec![zone(wider)], true);
    }
    match network.subnets(up) {
        Ok(parts) => (parts.map(zone).collect(), false),
        Err(_) => (vec![zone(network)], false),
    }
}

trait Widen {
    fn supernet_to(&self, prefix: u8) -> IpNet;
}

impl Widen for IpNet {
    fn supernet_to(&self, prefix: u8) -> IpNet {
        IpNet::new(self.addr(), prefix).map_or(*self, |wider| wider.trunc())
    }
}

/// The zone of a network that ends at a label.
fn zone(network: IpNet) -> String {
    let prefix = usize::from(network.prefix_len());
    let mut labels: Vec<String> = match network.network() {
        IpAddr::V4(address) => address.octets()[..prefix / 8].iter().map(ToString::to_string).collect(),
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            nibbles.take(prefix / 4).map(|nibble| format!("{nibble:x}")).collect()
        }
    };
    labels.reverse();
    labels.push(if network.network().is_ipv4() { "in-addr.arpa".into() } else { "ip6.arpa".into() });
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_reverse_zones() {
        for (network, zones_of, wider) in [
            ("192.168.0.0/24", &["0.168.192.in-addr.arpa"][..], false),
            ("10.0.0.0/8", &["10.in-addr.arpa"], false),
            (
                "192.168.4.0/22",
                &[
                    "4.168.192.in-addr.arpa",
                    "5.168.192.in-addr.arpa",
                    "6.168.192.in-addr.arpa",
                    "7.168.192.in-addr.arpa",
                ],
                false,
            ),
            ("172.16.0.0/11", &["172.in-addr.arpa"], true),
            ("0.0.0.0/0", &["in-addr.arpa"], false),
            ("fd00::/16", &["0.0.d.f.ip6.arpa"], false),
            ("192.0.2.1/32", &["1.2.0.192.in-addr.arpa"], false),
        ] {
            let (seen, is_wider) = zones(network.parse().unwrap());
            assert_eq!(
                (seen, is_wider),
                (zones_of.iter().map(|zone| (*zone).to_owned()).collect(), wider),
                "{network}"
            );
        }
    }
}
