//! The words before the parenthesis: action, protocol, addresses and ports.

use std::net::IpAddr;

use super::variables::Variables;
use crate::limits::{MAX_NESTING, MAX_RANGES};
use crate::ranges::{AddressSet, Number, PortSet, RangeSet, address_number};

/// What a rule does. The order is that in which Suricata judges: pass, drop, reject, alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Let through, and look at no further rule.
    Pass,
    /// Cut the flow.
    Drop,
    /// Cut the flow and tell its ends.
    Reject,
    /// Tell only.
    Alert,
}

impl Action {
    /// The word in rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Alert => "alert",
        }
    }

    pub(crate) fn parse(word: &str) -> Result<Self, String> {
        match word {
            "alert" => Ok(Self::Alert),
            "drop" => Ok(Self::Drop),
            "pass" => Ok(Self::Pass),
            "reject" | "rejectsrc" | "rejectdst" | "rejectboth" => Ok(Self::Reject),
            _ => Err(format!("`{word}` is no action; write alert, drop, reject or pass")),
        }
    }
}

/// The protocol word of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderProtocol {
    /// Any IP packet.
    Ip,
    /// TCP: the stream where content allows it, else packets.
    Tcp,
    /// TCP packets only.
    TcpPacket,
    /// The TCP stream only.
    TcpStream,
    /// UDP.
    Udp,
    /// ICMP of IPv4 and of IPv6.
    Icmp,
    /// ICMP of IPv6.
    IcmpV6,
    /// DNS messages over UDP or TCP.
    Dns,
}

impl HeaderProtocol {
    pub(crate) fn parse(word: &str) -> Result<Self, String> {
        match word {
            "ip" | "any" => Ok(Self::Ip),
            "tcp" => Ok(Self::Tcp),
            "tcp-pkt" => Ok(Self::TcpPacket),
            "tcp-stream" => Ok(Self::TcpStream),
            "udp" => Ok(Self::Udp),
            "icmp" | "icmpv4" => Ok(Self::Icmp),
            "icmpv6" => Ok(Self::IcmpV6),
            "dns" => Ok(Self::Dns),
            "http" | "http1" | "http2" | "tls" | "ssl" | "ssh" | "smtp" | "ftp" | "ftp-data" | "smb"
            | "pkthdr" | "dcerpc" | "dhcp" | "krb5" | "snmp" | "sip" | "rdp" | "rfb" | "mqtt" | "nfs"
            | "ike" | "tftp" | "ntp" | "modbus" | "dnp3" | "enip" | "pgsql" | "quic" | "telnet" | "imap"
            | "bittorrent-dht" | "websocket" | "ldap" | "pop3" | "doh2" | "mdns" | "sctp" | "ether"
            | "arp" => Err(format!("the protocol `{word}` is not supported")),
            _ => Err(format!("`{word}` is no protocol; write ip, tcp, udp, icmp, icmpv6 or dns")),
        }
    }
}

/// Reads an address word: `any`, addresses, networks, ranges, `$VARIABLES`, `[groups]`, each with `!`.
pub(crate) fn addresses(word: &str, variables: &Variables) -> Result<AddressSet, String> {
    evaluate(word, &|name| variables.address(name), &address_item, 0)
}

/// Reads a port word: `any`, ports, ranges `80:90`, `$VARIABLES`, `[groups]`, each with `!`.
pub(crate) fn ports(word: &str, variables: &Variables) -> Result<PortSet, String> {
    evaluate(word, &|name| variables.port(name), &port_item, 0)
}

/// A group holds what one of its positive items holds (everything if there is none) and none of its negated items.
fn evaluate<'v, T: Number>(
    word: &str,
    variable: &dyn Fn(&str) -> Option<&'v str>,
    item: &dyn Fn(&str) -> Result<RangeSet<T>, String>,
    depth: usize,
) -> Result<RangeSet<T>, String> {
    let word = word.trim();
    if depth > MAX_NESTING {
        return Err(format!(
            "groups and variables are nested deeper than {MAX_NESTING}; is a variable its own part?"
        ));
    }
    let set = if let Some(rest) = word.strip_prefix('!') {
        let inner = evaluate(rest, variable, item, depth + 1)?.complement();
        if inner.is_empty() {
            return Err(format!("`{word}` leaves nothing"));
        }
        inner
    } else if let Some(name) = word.strip_prefix('$') {
        let text = variable(name)
            .ok_or_else(|| format!("the variable ${name} is not set; set it under [signatures.variables]"))?;
        evaluate(text, variable, item, depth + 1)?
    } else if let Some(inner) = word.strip_prefix('[') {
        let inner =
            inner.strip_suffix(']').ok_or_else(|| format!("`{word}`: the group does not end with `]`"))?;
        group(inner, variable, item, depth)?
    } else if word == "any" {
        RangeSet::any()
    } else if word.contains(',') {
        group(word, variable, item, depth)?
    } else if word.is_empty() {
        return Err("an empty item".into());
    } else {
        item(word)?
    };
    if set.len() > MAX_RANGES { Err(format!("more than {MAX_RANGES} ranges")) } else { Ok(set) }
}

fn group<'v, T: Number>(
    inner: &str,
    variable: &dyn Fn(&str) -> Option<&'v str>,
    item: &dyn Fn(&str) -> Result<RangeSet<T>, String>,
    depth: usize,
) -> Result<RangeSet<T>, String> {
    let (mut ranges, mut excluded, mut positive) = (Vec::new(), Vec::new(), false);
    for part in split_group(inner) {
        let part = part.trim();
        let (negated, bare) = part.strip_prefix('!').map_or((false, part), |rest| (true, rest));
        let set = evaluate(bare, variable, item, depth + 1)?;
        let list = if negated { &mut excluded } else { &mut ranges };
        list.extend_from_slice(set.ranges());
        positive |= !negated;
        if list.len() > MAX_RANGES {
            return Err(format!("more than {MAX_RANGES} ranges"));
        }
    }
    let included = if positive { RangeSet::new(ranges) } else { RangeSet::any() };
    let set = if excluded.is_empty() {
        included
    } else {
        included.intersection(&RangeSet::new(excluded).complement())
    };
    if set.is_empty() { Err(format!("`[{inner}]` holds nothing")) } else { Ok(set) }
}

fn split_group(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

fn address_item(word: &str) -> Result<AddressSet, String> {
    let wrong =
        || format!("`{word}` is no address; write 192.0.2.1, 192.0.2.0/24, 2001:db8::/32 or a variable");
    if let Some((low, high)) = word.split_once('-') {
        let low: IpAddr = low.trim().parse().map_err(|_| wrong())?;
        let high: IpAddr = high.trim().parse().map_err(|_| wrong())?;
        if low > high || low.is_ipv4() != high.is_ipv4() {
            return Err(format!("`{word}`: the range ends before it starts"));
        }
        return Ok(RangeSet::new(vec![(address_number(low), address_number(high))]));
    }
    let Some((address, length)) = word.split_once('/') else {
        let number = address_number(word.parse().map_err(|_| wrong())?);
        return Ok(RangeSet::new(vec![(number, number)]));
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let length: u32 = match (length.parse(), length.parse::<std::net::Ipv4Addr>()) {
        (Ok(length), _) => length,
        (Err(_), Ok(mask))
            if address.is_ipv4() && mask.to_bits().leading_ones() == mask.to_bits().count_ones() =>
        {
            mask.to_bits().count_ones()
        }
        (Err(_), _) => return Err(wrong()),
    };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let host = bits - Some(length).filter(|length| *length <= bits).ok_or_else(wrong)?;
    let hosts = u128::MAX.checked_shr(128 - host).unwrap_or(0);
    let number = address_number(address);
    Ok(RangeSet::new(vec![(number & !hosts, number | hosts)]))
}

fn port_item(word: &str) -> Result<PortSet, String> {
    let wrong = || format!("`{word}` is no port; write 80, 1024:65535, :1023, [80,443] or a variable");
    let number = |text: &str, empty: u16| match text.trim() {
        "" => Ok(empty),
        text => text.parse::<u16>().map_err(|_| wrong()),
    };
    let (low, high) = match word.split_once(':') {
        Some((low, high)) => (number(low, 0)?, number(high, u16::MAX)?),
        None => {
            let port = word.parse().map_err(|_| wrong())?;
            (port, port)
        }
    };
    if low > high {
        return Err(format!("`{word}`: the range ends before it starts"));
    }
    Ok(RangeSet::new(vec![(low, high)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        let mut variables = Variables::usual();
        variables.set("HOME_NET", "[10.0.0.0/8,!10.9.0.0/16]");
        variables.set("LOOP", "[$LOOP]");
        variables.set("WEB_PORTS", "[80,8000:8080,!8005]");
        variables
    }

    #[test]
    fn addresses_nest_and_negate() {
        let has = |word: &str, address: &str| {
            addresses(word, &variables()).unwrap().contains(address_number(address.parse().unwrap()))
        };
        assert!(has("$HOME_NET", "10.1.2.3") && !has("$HOME_NET", "10.9.2.3"));
        assert!(has("!$HOME_NET", "10.9.2.3") && has("$EXTERNAL_NET", "2001:db8::1"));
        assert!(has("[1.2.3.4,[2001:db8::/32,!2001:db8:1::/48]]", "2001:db8:2::1"));
        assert!(!has("[1.2.3.4,[2001:db8::/32,!2001:db8:1::/48]]", "2001:db8:1::1"));
        assert!(has("[!1.2.3.4]", "1.2.3.5") && !has("[!1.2.3.4]", "1.2.3.4"));
        assert!(has("10.0.0.0/255.255.0.0", "10.0.255.1") && has("1.1.1.1-1.1.1.9", "1.1.1.5"));
        assert!(has("any", "::") && has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "2001::"));
    }

    #[test]
    fn ports_nest_and_negate() {
        let has = |word: &str, port: u16| ports(word, &variables()).unwrap().contains(port);
        assert!(has("$WEB_PORTS", 8004) && !has("$WEB_PORTS", 8005) && !has("!$WEB_PORTS", 80));
        assert!(has("1024:", 65535) && has(":1023", 0) && has("[!80]", 81) && has("any", 0));
    }

    #[test]
    fn wrong_words_say_why() {
        for (word, why) in [
            ("$NONE", "is not set"),
            ("$LOOP", "nested deeper"),
            ("!any", "leaves nothing"),
            ("[10.0.0.1,!10.0.0.0/8]", "holds nothing"),
            ("10.0.0.0/33", "is no address"),
            ("[10.0.0.1", "does not end with `]`"),
            ("[1.1.1.1,,2.2.2.2]", "empty item"),
        ] {
            let error = addresses(word, &variables()).unwrap_err();
            assert!(error.contains(why), "{word}: {error}");
        }
        for (word, why) in [("90:80", "ends before"), ("x", "is no port"), ("70000", "is no port")] {
            let error = ports(word, &variables()).unwrap_err();
            assert!(error.contains(why), "{word}: {error}");
        }
    }
}
