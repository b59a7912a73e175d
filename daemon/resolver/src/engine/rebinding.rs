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
    let embedded = || {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // Unspecified, loopback, and IPv4 in the two old forms.
        [0, 0, 0, 0, 0, 0, _, _] => true,
        [0, 0, 0, 0, 0, 0xffff, _, _] => is_private_v4(embedded()),
        // IPv4 through translators (RFC 6052, RFC 8215).
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => is_private_v4(embedded()),
        [0x64, 0xff9b, 1, ..] => true,
        // Unique local, link-local, the old site-local.
        [first, ..] => first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80,
    }
}

/// Whether this is how lists of senders of mail answer: with an address in 127.0.0.0/8, for a reversed address or a
/// name below a known list (RFC 5782).
pub(crate) fn is_mail_list(name: &str, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    address.octets()[0] == 127
        && address != Ipv4Addr::LOCALHOST
        && (is_reversed_address(name) || MAIL_LISTS.iter().any(|list| is_within(name, list)))
}

/// Whether a name begins with the four numbers of a reversed IPv4 address, or the 32 digits of an IPv6 one.
fn is_reversed_address(name: &str) -> bool {
    let numbers = name.split('.').take(4).filter(|label| label.parse::<u8>().is_ok()).count();
    let digit = |label: &&str| label.len() == 1 && label.bytes().all(|byte| byte.is_ascii_hexdigit());
    let digits = name.split('.').take(32).take_while(digit).count();
    (numbers == 4 || digits == 32) && name.split('.').count() > if digits == 32 { 33 } else { 5 }
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
        let six = ["1"; 32].join(".");
        assert!(is_mail_list(&format!("{six}.bl.some.example"), address));
        assert!(is_mail_list("spammer.example.dbl.spamhaus.org", address));
        assert!(!is_mail_list("2.0.0.127.bl.some.example", [10, 0, 0, 1].into()));
        assert!(!is_mail_list("2.0.0.127.bl.some.example", [127, 0, 0, 1].into()), "this machine itself");
        assert!(!is_mail_list("www.some.example", address));
        assert!(!is_mail_list("2.0.0.300.bl.some.example", address));
    }
}
