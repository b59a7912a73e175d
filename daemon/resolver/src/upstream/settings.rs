//! What upstreams are asked, how, and in which order.

use hickory_proto::{dnssec::TrustAnchors, rr::Name};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Everything [`Upstreams`](super::Upstreams) is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Servers in the order of preference.
    pub servers: Vec<Server>,
    /// How they are chosen.
    pub order: Order,
    /// Plain servers that resolve the names of `servers`. None: the plain ones among `servers`.
    pub bootstrap: Vec<SocketAddr>,
    /// Suffixes that others are asked about; the longest that fits decides.
    pub forwards: Vec<Forward>,
    /// Signatures are checked.
    pub dnssec: bool,
    /// Names at and below which they are not (RFC 7646).
    pub negative_trust_anchors: Vec<Name>,
    /// Letters of names are sent in random case, and must come back as sent ("0x20").
    pub case_randomisation: bool,
    /// Who may have signed the certificates of encrypted upstreams.
    pub roots: Roots,
    /// Keys of the root zone.
    pub root_keys: RootKeys,
}

/// Keys of the root zone; those of 2017 and 2024, unless read from DNSKEY records in text.
#[derive(Clone, Default)]
pub struct RootKeys {
    text: Arc<str>,
    pub(crate) keys: TrustAnchors,
}

/// Root keys that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the root keys cannot be read: {0}; give DNSKEY records")]
pub struct NoRootKeys(String);

impl FromStr for RootKeys {
    type Err = NoRootKeys;

    fn from_str(text: &str) -> Result<Self, NoRootKeys> {
        let keys = TrustAnchors::from_str(text).map_err(|error| NoRootKeys(error.to_string()))?;
        if keys.is_empty() {
            return Err(NoRootKeys("there are none of the root".into()));
        }
        Ok(Self { text: text.into(), keys })
    }
}

impl PartialEq for RootKeys {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RootKeys {}

impl fmt::Debug for RootKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.text.is_empty() { "2017 and 2024" } else { &self.text })
    }
}

/// Who may have signed certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those the system trusts.
    #[default]
    System,
    /// These only.
    Only(Vec<CertificateDer<'static>>),
}

/// How one of several servers is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The first that answers, as configured.
    #[default]
    Ordered,
    /// The one with the lowest smoothed round trip; now and then another, to notice that it got faster.
    Fastest,
    /// Several at once; the first good answer is taken.
    Parallel,
}

/// A suffix that others are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Names, each with everything below it.
    pub names: Vec<Name>,
    /// Who is asked, in the order of preference.
    pub to: Vec<Server>,
    /// Signatures are checked there too. Off by default: internal zones are rarely part of the public chain of trust.
    pub dnssec: bool,
}

/// A server to ask, as a person writes it: `9.9.9.9`, `[2620:fe::fe]:53`, `tls://dns.quad9.net`,
/// `tls://9.9.9.9#dns.quad9.net`, `https://dns.quad9.net/dns-query`, `https://9.9.9.9/dns-query#dns.quad9.net`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    spelling: Arc<str>,
    pub(crate) transport: Transport,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// UDP, and TCP where an answer is truncated (RFC 1035, RFC 7766).
    Plain(SocketAddr),
    /// DNS over TLS (RFC 7858).
    Tls(Host),
    /// DNS over HTTPS (RFC 8484); the path behind the authority.
    Https(Host, Arc<str>),
}

/// Where an encrypted server is, and who it must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// The name or address its certificate must be for.
    pub(crate) name: Arc<str>,
    /// Its address; without one the bootstrap servers are asked for `name`.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

/// A server that cannot be read, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no upstream: write `9.9.9.9`, `9.9.9.9:53`, `tls://dns.quad9.net`, `tls://9.9.9.9#dns.quad9.net` or \
     `https://dns.quad9.net/dns-query`"
)]
pub struct NoServer(String);

impl Server {
    /// The address of a plain server; none of one that is asked over TLS or HTTPS.
    #[must_use]
    pub fn plain(&self) -> Option<SocketAddr> {
        match self.transport {
            Transport::Plain(address) => Some(address),
            Transport::Tls(_) | Transport::Https(..) => None,
        }
    }

    /// The name that must be resolved before it can be asked.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(host) | Transport::Https(host, _) => match host.address {
                Some(_) => None,
                None => Some(&host.name),
            },
        }
    }

    pub(crate) fn spelling(&self) -> Arc<str> {
        Arc::clone(&self.spelling)
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { spelling: address.to_string().into(), transport: Transport::Plain(address) }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.spelling)
    }
}

impl FromStr for Server {
    type Err = NoServer;

    fn from_str(text: &str) -> Result<Self, NoServer> {
        let transport = match text.split_once("://") {
            Some(("tls", rest)) => tls(rest).map(Transport::Tls),
            Some(("https", _)) => https(text),
            Some(_) => None,
            None => address_and_port(text, 53).map(Transport::Plain),
        };
        let transport = transport.ok_or_else(|| NoServer(text.to_owned()))?;
        Ok(Self { spelling: text.into(), transport })
    }
}

/// `ADDRESS` or `ADDRESS:PORT`, IPv6 with a port in brackets.
fn address_and_port(text: &str, port: u16) -> Option<SocketAddr> {
    let address = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(bare) => bare.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    let address =
        address.map_or_else(|| text.parse().ok(), |address: IpAddr| Some(SocketAddr::new(address, port)))?;
    (address.port() != 0 && !address.ip().is_unspecified()).then_some(address)
}

fn tls(text: &str) -> Option<Host> {
    let (place, name) = text.split_once('#').map_or((text, None), |(place, name)| (place, Some(name)));
    if let Some(address) = address_and_port(place, 853) {
        let name = match name {
            Some(name) => host_name(name)?,
            None => address.ip().to_string().into(),
        };
        return Some(Host { name, address: Some(address.ip()), port: address.port() });
    }
    if name.is_some() {
        return None;
    }
    let (name, port) = match place.split_once(':') {
        Some((name, port)) => (name, port.parse().ok().filter(|&port| port != 0)?),
        None => (place, 853),
    };
    Some(Host { name: host_name(name)?, address: None, port })
}

fn https(text: &str) -> Option<Transport> {
    let url = url::Url::parse(text).ok()?;
    if !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let port = url.port_or_known_default()?;
    let address = match url.host()? {
        url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
        url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
        url::Host::Domain(_) => None,
    };
    let name = match (address, url.fragment(), url.host_str()?) {
        (Some(_), Some(name), _) => host_name(name)?,
        (Some(address), None, _) => address.to_string().into(),
        (None, Some(_), _) => return None,
        (None, None, host) => host_name(host)?,
    };
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Some(Transport::Https(Host { name, address, port }, path.into()))
}

/// A host name of letters, digits, hyphens and dots (RFC 1123 §2.1), in lower case without a final dot.
fn host_name(text: &str) -> Option<Arc<str>> {
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let is_name = name.len() <= 253
        && name.split('.').all(label)
        && name.bytes().any(|byte| byte.is_ascii_alphabetic());
    is_name.then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, address: Option<&str>, port: u16) -> Host {
        Host { name: name.into(), address: address.map(|address| address.parse().unwrap()), port }
    }

    #[test]
    fn servers_are_read_as_people_write_them() {
        let plain = |address: &str| Transport::Plain(address.parse().unwrap());
        let https = |host, path: &str| Transport::Https(host, path.into());
        for (text, transport) in [
            ("9.9.9.9", plain("9.9.9.9:53")),
            ("9.9.9.9:5353", plain("9.9.9.9:5353")),
            ("2620:fe::fe", plain("[2620:fe::fe]:53")),
            ("[2620:fe::fe]:54", plain("[2620:fe::fe]:54")),
            ("[2620:fe::fe]", plain("[2620:fe::fe]:53")),
            ("tls://dns.quad9.net", Transport::Tls(host("dns.quad9.net", None, 853))),
            ("tls://DNS.quad9.net.:8853", Transport::Tls(host("dns.quad9.net", None, 8853))),
            ("tls://9.9.9.9#dns.quad9.net", Transport::Tls(host("dns.quad9.net", Some("9.9.9.9"), 853))),
            (
                "tls://[2620:fe::fe]:853#dns.quad9.net",
                Transport::Tls(host("dns.quad9.net", Some("2620:fe::fe"), 853)),
            ),
            ("tls://9.9.9.9", Transport::Tls(host("9.9.9.9", Some("9.9.9.9"), 853))),
            ("https://dns.quad9.net/dns-query", https(host("dns.quad9.net", None, 443), "/dns-query")),
            ("https://dns.example:8443/q?a=b", https(host("dns.example", None, 8443), "/q?a=b")),
            ("https://9.9.9.9/dns-query", https(host("9.9.9.9", Some("9.9.9.9"), 443), "/dns-query")),
            (
                "https://9.9.9.9/dns-query#dns.quad9.net",
                https(host("dns.quad9.net", Some("9.9.9.9"), 443), "/dns-query"),
            ),
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.transport, transport, "{text}");
            assert_eq!(server.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_server_is_refused_with_what_to_write() {
        for text in [
            "",
            "dns.quad9.net",
            "9.9.9.9:0",
            "0.0.0.0",
            "9.9.9",
            "tls://",
            "tls://a b",
            "tls://dns.example#other.example",
            "tls://dns.example:0",
            "quic://9.9.9.9",
            "https://",
            "https://user@dns.example/",
            "https://dns.example/#x",
            "udp://9.9.9.9",
        ] {
            let error = text.parse::<Server>().unwrap_err();
            assert!(error.to_string().contains("`tls://dns.quad9.net`"), "{text}: {error}");
        }
    }
}
