//! SSDP messages (UPnP Device Architecture 1.1 §1): a line and headers, as in HTTP. They are checked and passed on as
//! they are.

use std::{net::IpAddr, time::Duration};

use crate::limits::{MAX_HEADERS, MAX_MX, MAX_SSDP, SSDP_WAIT};

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ssdp<'b> {
    /// Somebody looks for devices (`M-SEARCH`); answers come to the address it asks from.
    Search {
        target: &'b str,
        /// How long it waits.
        wait: Duration,
    },
    /// A device comes, is there, or goes (`NOTIFY`).
    Notify { location: Option<&'b str> },
    /// An answer to a search.
    Reply { target: &'b str, location: Option<&'b str> },
}

/// Everything that looks for all devices gets each of them.
const ALL: &str = "ssdp:all";

impl<'b> Ssdp<'b> {
    /// None where it is no such message, or beyond the limits.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Self> {
        if bytes.len() > MAX_SSDP || !bytes.ends_with(b"\r\n") {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let first = lines.next()?;
        let lines: Vec<&str> = lines.take(MAX_HEADERS + 1).collect();
        // What one reader takes for two lines and another for one could say two things; so could what comes twice.
        let is_clear = |line: &&str| {
            !line.starts_with([' ', '\t']) && line.bytes().all(|byte| byte >= b' ' || byte == b'\t')
        };
        if lines.len() > MAX_HEADERS || !is_clear(&first) || !lines.iter().all(is_clear) {
            return None;
        }
        let names: Option<Vec<String>> = lines
            .iter()
            .map(|line| line.split_once(':').map(|(name, _)| name.trim().to_ascii_lowercase()))
            .collect();
        let mut names = names?;
        names.sort_unstable();
        if names.windows(2).any(|two| two[0] == two[1]) {
            return None;
        }
        let header = |wanted: &str| {
            let named = |line: &&&str| {
                line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            };
            lines.iter().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
        };
        let location = header("location");
        match first {
            "M-SEARCH * HTTP/1.1" => {
                let discovers = header("man").is_some_and(|man| man.trim_matches('"') == "ssdp:discover");
                let wait = header("mx").and_then(|mx| mx.parse::<u64>().ok()).unwrap_or(1).clamp(1, MAX_MX);
                let target = header("st").filter(|_| discovers)?;
                Some(Self::Search { target, wait: Duration::from_secs(wait) + SSDP_WAIT })
            }
            "NOTIFY * HTTP/1.1" => match header("nts")? {
                "ssdp:byebye" => Some(Self::Notify { location }),
                "ssdp:alive" | "ssdp:update" => Some(Self::Notify { location: Some(location?) }),
                _ => None,
            },
            "HTTP/1.1 200 OK" => Some(Self::Reply { target: header("st")?, location }),
            _ => None,
        }
    }

    /// Whether a search for `searched` is answered by a reply about `target`.
    pub(crate) fn answers(target: &str, searched: &str) -> bool {
        searched == ALL || searched == target
    }

    /// Where the device says that it is found: an address as a number; none where it says a name or nothing.
    pub(crate) fn host_of(location: &str) -> Option<IpAddr> {
        let rest = location.strip_prefix("http://").or_else(|| location.strip_prefix("https://"))?;
        let authority = rest.split(['/', '?', '#']).next()?;
        if authority.contains(['@', '\\']) {
            return None;
        }
        match authority.strip_prefix('[') {
            Some(six) => six.split_once(']')?.0.parse().ok().map(IpAddr::V6),
            None => authority.split(':').next()?.parse().ok().map(IpAddr::V4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_as_devices_send_them() {
        let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 3\r\nST: urn:dial-multiscreen-org:service:dial:1\r\n\r\n";
        let Some(Ssdp::Search { target, wait }) = Ssdp::read(search.as_bytes()) else { panic!() };
        assert_eq!(
            (target, wait),
            ("urn:dial-multiscreen-org:service:dial:1", Duration::from_secs(3) + SSDP_WAIT)
        );
        let reply = "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLocation: http://10.40.0.9:8008/dd.xml\r\nST: upnp:rootdevice\r\nUSN: uuid:1::upnp:rootdevice\r\n\r\n";
        let location = Some("http://10.40.0.9:8008/dd.xml");
        assert_eq!(Ssdp::read(reply.as_bytes()), Some(Ssdp::Reply { target: "upnp:rootdevice", location }));
        let notify = "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: upnp:rootdevice\r\nNTS: ssdp:byebye\r\nUSN: uuid:1\r\n\r\n";
        assert_eq!(Ssdp::read(notify.as_bytes()), Some(Ssdp::Notify { location: None }));
        for wrong in [
            "",
            "\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "M-SEARCH * HTTP/1.1\r\nST: x\r\n\r\n",
            "NOTIFY * HTTP/1.1\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nST: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nST: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nST: x",
        ] {
            assert_eq!(Ssdp::read(wrong.as_bytes()), None, "{wrong:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\nST: x\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS));
        assert_eq!(Ssdp::read(many.as_bytes()), None);
        assert_eq!(
            Ssdp::read(format!("HTTP/1.1 200 OK\r\nST: {}\r\n\r\n", "x".repeat(MAX_SSDP)).as_bytes()),
            None
        );
        assert!(Ssdp::answers("a", "ssdp:all") && Ssdp::answers("a", "a") && !Ssdp::answers("a", "b"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let of = |headers: &str| format!("NOTIFY * HTTP/1.1\r\nNTS: ssdp:alive\r\n{headers}\r\n");
        let place = "LOCATION: http://10.40.0.9/x\r\n";
        assert!(Ssdp::read(of(place).as_bytes()).is_some());
        for headers in [
            format!("X: a\n{place}"),
            format!("X: a\r{place}"),
            format!("{place}location: http://10.1.0.5/x\r\n"),
            format!("{place} http://10.1.0.5/x\r\n"),
            format!("X: a\r\n\r\n{place}"),
            "X: no place at all\r\n".to_owned(),
            format!("{place}no header\r\n"),
        ] {
            assert_eq!(Ssdp::read(of(&headers).as_bytes()), None, "{headers:?}");
        }
        let gone = "NOTIFY * HTTP/1.1\r\nNTS: ssdp:byebye\r\n\r\n";
        assert_eq!(Ssdp::read(gone.as_bytes()), Some(Ssdp::Notify { location: None }));
    }

    #[test]
    fn only_numbers_are_places() {
        for (location, host) in [
            ("http://10.40.0.9:8008/x", "10.40.0.9"),
            ("http://10.40.0.9", "10.40.0.9"),
            ("https://[fd00:40::9]:8443/x", "fd00:40::9"),
        ] {
            assert_eq!(Ssdp::host_of(location), Some(host.parse().unwrap()));
        }
        for nowhere in [
            "",
            "http://",
            "http://nas.local/x",
            "ftp://10.0.0.1/",
            "http://10.0.0.1@evil/",
            "http://10.0.0.1:80@10.0.0.2/",
            "http://10.0.0.1\\@10.0.0.2/",
            "http://[fe80::1",
        ] {
            assert_eq!(Ssdp::host_of(nowhere), None, "{nowhere}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "(HTTP/1.1 200 OK|M-SEARCH \\* HTTP/1.1)\r\n([A-Z]{0,3}:?[ -~é]{0,20}\r\n){0,6}", url in "https?://.{0,30}") {
            let _ = (Ssdp::read(&bytes), Ssdp::read(text.as_bytes()), Ssdp::host_of(&url));
        }
    }
}
