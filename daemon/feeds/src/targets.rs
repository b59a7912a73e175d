//! Which addresses a fetch may go to: the public internet, unless the config says otherwise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges of IPv4 that are not the public internet (IANA special-purpose registry, RFC 6890 and later).
const NOT_PUBLIC_V4: [(u32, u8); 15] = [
    (bits([0, 0, 0, 0]), 8),
    (bits([10, 0, 0, 0]), 8),
    (bits([100, 64, 0, 0]), 10),
    (bits([127, 0, 0, 0]), 8),
    (bits([169, 254, 0, 0]), 16),
    (bits([172, 16, 0, 0]), 12),
    (bits([192, 0, 0, 0]), 24),
    (bits([192, 0, 2, 0]), 24),
    (bits([192, 88, 99, 0]), 24),
    (bits([192, 168, 0, 0]), 16),
    (bits([198, 18, 0, 0]), 15),
    (bits([198, 51, 100, 0]), 24),
    (bits([203, 0, 113, 0]), 24),
    (bits([224, 0, 0, 0]), 4),
    (bits([240, 0, 0, 0]), 4),
];

const fn bits(octets: [u8; 4]) -> u32 {
    u32::from_be_bytes(octets)
}

/// Whether an address belongs to the public internet. An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4)
/// is judged by that one; Teredo is not public.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            if let Some(inner) = nat64(address) {
                return is_public_v4(inner);
            }
            match address.segments() {
                // 6to4 (RFC 3056)
                [0x2002, high, low, ..] => {
                    is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
                }
                // Protocol assignments with Teredo and ORCHID, documentation (RFC 3849, RFC 9637)
                [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
                [0x3fff, second, ..] if second < 0x1000 => false,
                // Global unicast is what is handed out; everything else is not.
                [first, ..] => first & 0xe000 == 0x2000,
            }
        }
    }
}

/// The IPv4 address behind a NAT64 with the well-known prefix `64:ff9b::/96` (RFC 6052).
#[must_use]
pub fn nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let address = address.to_bits();
    !NOT_PUBLIC_V4.iter().any(|&(net, length)| (address ^ net) >> (32 - u32::from(length)) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for public in [
            "9.9.9.9",
            "100.128.0.1",
            "172.32.0.1",
            "2620:fe::fe",
            "::ffff:9.9.9.9",
            "64:ff9b::909:909",
            "2002:909:909::1",
            "2a00::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:0:909:909::1",
            "2001:db8::1",
            "3fff::1",
            "4000::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }
}
