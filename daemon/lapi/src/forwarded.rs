//! Who a proxy says its client is. Each proxy adds the address it was asked from behind what it was told: only what a
//! proxy of ours added is believed, so the list is read from its end.

use hyper::HeaderMap;
use std::net::{IpAddr, SocketAddr};

use crate::limits::MAX_HOPS;

/// The client of a request that a trusted proxy sent: the last address in `X-Forwarded-For` that is none of our proxies,
/// else what `X-Real-Ip` says. None where neither names one.
pub(crate) fn client(headers: &HeaderMap, is_proxy: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut nearest = None;
    let lines: Vec<_> = headers.get_all("X-Forwarded-For").iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_HOPS) {
        // Behind what cannot be read may stand anything.
        let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else { break };
        nearest = Some(address);
        if !is_proxy(address) {
            return nearest;
        }
    }
    let real = headers.get("X-Real-Ip").and_then(|value| address(value.to_str().ok()?));
    // Only proxies: the one that is farthest away is who asks.
    nearest.or(real)
}

/// `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::1`, `[2001:db8::1]:4711`, with spaces around.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_of(lines: &[&str], real: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("X-Forwarded-For", line.parse().unwrap());
        }
        if let Some(real) = real {
            headers.insert("X-Real-Ip", real.parse().unwrap());
        }
        let proxies = ["10.2.0.5".parse::<IpAddr>().unwrap(), "10.2.0.6".parse().unwrap()];
        client(&headers, |address| proxies.contains(&address)).map(|address| address.to_string())
    }

    #[test]
    fn what_the_client_itself_said_is_not_believed() {
        let says = |line: &str| client_of(&[line], None).unwrap_or_default();
        assert_eq!(says("192.0.2.7"), "192.0.2.7");
        assert_eq!(says("10.0.100.1, 192.0.2.7"), "192.0.2.7");
        assert_eq!(says("10.0.100.1,192.0.2.7, 10.2.0.6,10.2.0.5"), "192.0.2.7");
        assert_eq!(says("192.0.2.7:4711"), "192.0.2.7");
        assert_eq!(says("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(says("[2001:db8::1]"), "2001:db8::1");
        assert_eq!(says("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(says("10.2.0.6"), "10.2.0.6", "a proxy may ask for itself");
        assert_eq!(says("192.0.2.7, unknown"), "");
        assert_eq!(says("192.0.2.7, unknown, 10.2.0.6"), "10.2.0.6");
        assert_eq!(client_of(&["10.0.100.1", "192.0.2.7"], None).as_deref(), Some("192.0.2.7"));
    }

    #[test]
    fn the_other_header_counts_where_there_is_none() {
        assert_eq!(client_of(&[], Some("192.0.2.7")).as_deref(), Some("192.0.2.7"));
        assert_eq!(client_of(&["192.0.2.8"], Some("192.0.2.7")).as_deref(), Some("192.0.2.8"));
        assert_eq!(client_of(&["_hidden"], Some("192.0.2.7")).as_deref(), Some("192.0.2.7"));
        assert_eq!(client_of(&[], Some("nobody")), None);
        assert_eq!(client_of(&[], None), None);
    }

    #[test]
    fn a_long_list_is_not_read_to_its_end() {
        let line = format!("192.0.2.7{}", ", 10.2.0.5".repeat(MAX_HOPS));
        assert_eq!(client_of(&[&line], None).as_deref(), Some("10.2.0.5"));
    }
}
