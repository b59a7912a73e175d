//! Names that are answered here and never asked of the upstreams, whoever asks (RFC 6761 and its registry).

use crate::wire::name::is_within;

/// What a special name gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// This machine (RFC 6761 §6.3).
    Loopback,
    /// Does not exist.
    Nothing,
    /// Exists and has nothing.
    Empty,
    /// The name under which clients look for the encrypted way to this resolver (RFC 9462 §4).
    Discovery,
    /// The name by which clients learn whether their addresses are translated: they are not (RFC 8880 §7.1).
    Ipv4Only,
    /// Names of this network where it has none (RFC 8375, RFC 6303): a forward or a local domain may know them.
    Ours,
}

impl Special {
    /// Whether not even a forward or a local name changes it.
    pub(crate) const fn is_always_ours(self) -> bool {
        match self {
            Self::Loopback | Self::Discovery | Self::Empty => true,
            Self::Nothing | Self::Ipv4Only | Self::Ours => false,
        }
    }
}

/// Names that do not exist, with everything below them.
const NOTHING: [&str; 9] = [
    // RFC 6761 §6.2 and §6.4, RFC 7686, RFC 9476, RFC 9665, RFC 9140, RFC 9031.
    "invalid",
    "test",
    "onion",
    "alt",
    "service.arpa",
    "eap-noob.arpa",
    "6tisch.arpa",
    // Multicast only (RFC 6762 §22.1).
    "local",
    // By which a network says that its resolver is to be used (Mozilla's canary domain).
    "use-application-dns.net",
];

/// Likewise, by Apple's private relay: the names alone.
const RELAY: [&str; 2] = ["mask.icloud.com", "mask-h2.icloud.com"];

/// Reverse zones of addresses that are nobody's in particular (RFC 6303 §4, RFC 6761 §6.1, RFC 7793).
const REVERSE: [&str; 17] = [
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "254.169.in-addr.arpa",
    "127.in-addr.arpa",
    "0.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
    "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
];

/// The type DS.
const DS: u16 = 43;

/// Whether a question is special.
pub(crate) fn special(name: &str, qtype: u16) -> Option<Special> {
    // The last label sorts nearly all questions out.
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    match last {
        "localhost" => Some(Special::Loopback),
        "invalid" | "test" | "onion" | "alt" | "local" => Some(Special::Nothing),
        "net" => NOTHING.iter().any(|special| is_within(name, special)).then_some(Special::Nothing),
        "com" => RELAY.contains(&name).then_some(Special::Nothing),
        "arpa" => arpa(name, qtype),
        _ => None,
    }
}

fn arpa(name: &str, qtype: u16) -> Option<Special> {
    match name {
        "_dns.resolver.arpa" => return Some(Special::Discovery),
        "ipv4only.arpa" => return Some(Special::Ipv4Only),
        // That nobody signed it must be provable: this one question is for the public root (RFC 8375 §4).
        "home.arpa" if qtype == DS => return None,
        _ => {}
    }
    if is_within(name, "resolver.arpa") {
        return Some(Special::Empty);
    }
    if NOTHING.iter().any(|special| is_within(name, special)) {
        return Some(Special::Nothing);
    }
    let ours = is_within(name, "home.arpa")
        || REVERSE.iter().any(|zone| is_within(name, zone))
        || is_between(name, "172.in-addr.arpa", 16..=31)
        || is_between(name, "100.in-addr.arpa", 64..=127);
    ours.then_some(Special::Ours)
}

/// Whether a name is in a reverse zone of networks of one octet more than `parent`, in these numbers.
fn is_between(name: &str, parent: &str, numbers: std::ops::RangeInclusive<u8>) -> bool {
    let Some(rest) = name.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.')) else { return false };
    let octet = rest.rsplit_once('.').map_or(rest, |(_, octet)| octet);
    octet.parse().is_ok_and(|octet| numbers.contains(&octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_names() {
        let of = |name| special(name, 1);
        for name in ["localhost", "a.localhost"] {
            assert_eq!(of(name), Some(Special::Loopback));
        }
        for name in NOTHING.into_iter().chain(RELAY).chain(["printer.local", "x.use-application-dns.net"]) {
            assert_eq!(of(name), Some(Special::Nothing), "{name}");
        }
        assert_eq!(of("_dns.resolver.arpa"), Some(Special::Discovery));
        assert_eq!(of("x.resolver.arpa"), Some(Special::Empty));
        assert_eq!(of("ipv4only.arpa"), Some(Special::Ipv4Only));
        let ours = [
            "home.arpa",
            "nas.home.arpa",
            "1.0.0.10.in-addr.arpa",
            "1.16.172.in-addr.arpa",
            "31.172.in-addr.arpa",
        ];
        for name in ours.into_iter().chain(["5.127.100.in-addr.arpa"]).chain(REVERSE) {
            assert_eq!(of(name), Some(Special::Ours), "{name}");
        }
        assert_eq!(special("home.arpa", DS), None);
        assert_eq!(special("nas.home.arpa", DS), Some(Special::Ours));
        let others = [
            "",
            "notlocalhost",
            "example.net",
            "x.mask.icloud.com",
            "icloud.com",
            "arpa",
            "in-addr.arpa",
            "8.8.8.8.in-addr.arpa",
            "1.15.172.in-addr.arpa",
            "1.32.172.in-addr.arpa",
            "1.63.100.in-addr.arpa",
            "172.in-addr.arpa",
            "8.b.d.0.2.0.0.2.ip6.arpa",
        ];
        for name in others {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
