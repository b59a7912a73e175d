//! Rebinding: a public name that leads into this network, so that a web page in a browser reaches devices behind the
//! wall. Answers for public names that hold private addresses are not given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::name::is_within;

/// Names whose private addresses are meant: certificates for devices at home; and what nobody can register, so no
/// stranger either.
pub(crate) const MEANT: [&str; 9] =
    ["plex.direct", "home.arpa", "internal", "lan", "home", "corp", "localdomain", "intranet", "private"];

/// Lists of senders of mail that are asked about names (those asked about addresses are known by the reversed address).
const MAIL_LISTS: [&str; 12] = [
    "spamhaus.org",
    "spamhaus.net",
    "dq.spamhaus.net",
    "surbl.org",
    "uribl.com",
    "spamcop.net",
    "barracudacentral.org",
    "dnswl.org",
    "junkemailfilter.com",
    "invaluement.com",
    "mailspike.net",
    "sorbs.net",
];

/// Whether an address is this machine, this network, or somebody's private one, and so nothing that a public name
/// should lead to.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    // 100.64.0.0/10 is the provider's side of carrier-grade translation (RFC 6598).
    a == 0
        || a == 127
        || address.is_private()
        || address.is_link_local()
        || (a == 100 && b & 0xc0 == 64)
        || address.is_broadcast()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [.., high, low] = segments;
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // Unspecified, loopback, and IPv4 in the two old forms.
        [0, 0, 0, 0, 0, 0, _, _] => true,
        [0, 0, 0, 0, 0, 0xffff, _, _] => is_private_v4(of(high, low)),
        // IPv4 through translators (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => is_private_v4(of(high, low)),
        [0x64, 0xff9b, 1, ..] => true,
        // IPv4 through tunnels: 6to4 (RFC 3056), Teredo with its server and, inverted, its client (RFC 4380), ISATAP
        // (RFC 5214).
        [0x2002, first, second, ..] => is_private_v4(of(first, second)),
        [0x2001, 0, first, second, ..] => is_private_v4(of(first, second)) || is_private_v4(of(!high, !low)),
        [_, _, _, _, 0 | 0x200, 0x5efe, _, _] if is_private_v4(of(high, low)) => true,
        // Unique local, link-local, the old site-local.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80,
    }
}

/// Whether this is how lists of senders of mail answer (RFC 5782): for a reversed address of the Internet or the test entry
/// below any domain, or for a name below a known list, with an address of 127.0.0.0/16 that is not this machine's usual one,
/// or of 127.255.255.0/24, by which lists tell those who ask that they may not.
///
/// Whoever owns a domain can name such answers too. What is left to him are services of the machine that asks, on addresses
/// on which none listens unless it listens on every one; the network behind the wall is not among them.
pub(crate) fn is_mail_list(name: &str, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let is_code = match address.octets() {
        [127, 0, 0, last] => last > 1,
        [127, 0, third, _] => third > 0,
        [127, 255, 255, _] => true,
        _ => false,
    };
    is_code
        && (is_reversed_address(name) || MAIL_LISTS.iter().any(|list| name != *list && is_within(name, list)))
}

/// Whether a name is the reversed numbers of an address that mail may come from, or of the test entry, below a domain.
fn is_reversed_address(name: &str) -> bool {
    const TEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let is_domain = |rest: &str| rest.contains('.');
    if let Some((numbers, rest)) = split_labels(name, 4) {
        let number = |label: &str| {
            label.parse::<u8>().ok().filter(|number| number.to_string() == label).map(u32::from)
        };
        // Most significant last.
        let address =
            numbers.split('.').rev().try_fold(0, |address, label| Some(address << 8 | number(label)?));
        if let Some(address) = address.map(Ipv4Addr::from_bits) {
            return is_domain(rest) && (address == TEST || !is_private_v4(address));
        }
    }
    let Some((digits, rest)) = split_labels(name, 32) else { return false };
    let digit = |label: &str| u128::from_str_radix(label, 16).ok().filter(|_| label.len() == 1);
    let address = digits.split('.').rev().try_fold(0, |address, label| Some(address << 4 | digit(label)?));
    address.map(Ipv6Addr::from_bits).is_some_and(|address| {
        let is_test = address.to_ipv4_mapped() == Some(TEST);
        is_domain(rest) && (is_test || !is_private_v6(address))
    })
}

/// The first labels of a name, and the rest.
fn split_labels(name: &str, count: usize) -> Option<(&str, &str)> {
    let (at, _) = name.match_indices('.').nth(count - 1)?;
    Some((&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_every_disguise() {
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "255.255.255.255",
            "::",
            "::1",
            "::10.0.0.1",
            "::ffff:192.168.1.1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "2001:0:808:808:0:0:f5ff:fffe",
            "2001:0:a00:1::f7f7:f7f7",
            "fe80::5efe:10.0.0.1",
            "2001:db8::5efe:192.168.1.1",
        ] {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "11.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808:0:0:f7f7:f7f7",
            "2001:db8::5efe:8.8.8.8",
            "2001:4860::1",
            "fb00::1",
            "ff02::1",
        ] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn lists_of_mail_senders_answer_in_127() {
        let address = IpAddr::from([127, 0, 0, 2]);
        assert!(is_mail_list("2.0.0.127.bl.some.example", address));
        let six = format!("{}.2", ["1"; 31].join("."));
        assert!(is_mail_list(&format!("{six}.bl.some.example"), address));
        assert!(is_mail_list("spammer.example.dbl.spamhaus.org", address));
        assert!(!is_mail_list("2.0.0.127.bl.some.example", [10, 0, 0, 1].into()));
        assert!(!is_mail_list("2.0.0.127.bl.some.example", [127, 0, 0, 1].into()), "this machine itself");
        assert!(!is_mail_list("www.some.example", address));
        assert!(!is_mail_list("2.0.0.300.bl.some.example", address));
        for code in [[127, 0, 0, 11], [127, 0, 1, 2], [127, 0, 10, 3], [127, 255, 255, 254]] {
            assert!(is_mail_list("4.3.2.9.zen.spamhaus.org", code.into()), "{code:?}");
        }
        for (name, why) in [
            ("1.0.0.10.bl.some.example", "no mail comes from there"),
            ("1.0.0.127.bl.some.example", "never listed (RFC 5782 section 5)"),
            ("04.3.2.9.bl.some.example", "no number"),
            ("x.4.3.2.9.bl.some.example", "the numbers stand first"),
            ("4.3.2.9.example", "below no domain"),
            ("4.3.2.9", "no list"),
            ("dbl.spamhaus.org.some.example", "another's name"),
            ("spamhaus.org", "the list itself"),
        ] {
            assert!(!is_mail_list(name, address), "{name}: {why}");
        }
        for code in [[127, 0, 0, 0], [127, 1, 0, 2], [127, 99, 0, 1]] {
            assert!(!is_mail_list("4.3.2.9.zen.spamhaus.org", code.into()), "{code:?}");
        }
    }
}
