//! What a decision is about.

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::Name;

/// What a standing order is about. Text form: `192.0.2.7`, `198.51.100.0/24`, `2001:db8::/48`, `ads.example`,
/// `ads.example@kids-tablet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// An address or a range; host bits are zero, v4-mapped addresses are IPv4.
    Net(IpNet),
    /// A domain and everything below it.
    Domain(Name),
    /// The same for one client of the resolver alone.
    DomainFor {
        /// The domain.
        name: Name,
        /// Who asks for it: the name of a client in the config, or an address.
        client: ClientName,
    },
}

/// A client of the resolver as a person names it: its name in the config, or its address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(Box<str>);

impl ClientName {
    /// Bytes of the longest.
    pub const MAX: usize = 64;

    /// As text; an address in its usual form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where it is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether it means whoever has this name in the config (empty: none) and this address.
    #[must_use]
    pub fn is(&self, name: &str, address: Option<IpAddr>) -> bool {
        *self.0 == *name || address.is_some_and(|address| self.address() == Some(address.to_canonical()))
    }
}

impl std::str::FromStr for ClientName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().to_string().into()));
        }
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fits) {
            return Err(format!(
                "`{text}` is neither the name of a client (`[dns.clients.NAME]` of the config) nor an address"
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for ClientName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0.into()
    }
}

impl std::fmt::Display for ClientName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is neither an address (192.0.2.7), a range (198.51.100.0/24, 2001:db8::/48) nor a domain name"
)]
pub struct TargetError(String);

impl Target {
    /// A single address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::Net(address.to_canonical().into())
    }

    /// The domain it is about, and the client it is for where it is for one alone.
    #[must_use]
    pub fn domain(&self) -> Option<(&Name, Option<&ClientName>)> {
        match self {
            Self::Net(_) => None,
            Self::Domain(name) => Some((name, None)),
            Self::DomainFor { name, client } => Some((name, Some(client))),
        }
    }

    /// The same for one client alone; none for an address, which is the same for everybody.
    #[must_use]
    pub fn for_client(self, client: ClientName) -> Option<Self> {
        match self {
            Self::Net(_) => None,
            Self::Domain(name) | Self::DomainFor { name, .. } => Some(Self::DomainFor { name, client }),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
        if let Some((name, client)) = text.split_once('@') {
            let client: ClientName = client.parse().map_err(|_| wrong())?;
            return name.parse::<Self>()?.for_client(client).ok_or_else(wrong);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::address(address));
        }
        if text.contains('/') {
            let net = text.parse::<IpNet>().map_err(|_| wrong())?.trunc();
            return Ok(Self::Net(match net {
                IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.addr().to_ipv4_mapped() {
                    Some(v4) => IpNet::V4(Ipv4Net::new(v4, v6.prefix_len() - 96).map_err(|_| wrong())?),
                    None => net,
                },
                IpNet::V4(_) | IpNet::V6(_) => net,
            }));
        }
        // A name of digits and dots only is a mistyped address.
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') || !text.contains('.') {
            return Err(wrong());
        }
        text.parse().map(Self::Domain).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;
    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.to_string()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => write!(f, "{}", net.addr()),
            Self::Net(net) => write!(f, "{net}"),
            Self::Domain(name) => write!(f, "{name}"),
            Self::DomainFor { name, client } => write!(f, "{name}@{client}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_people_write_them() {
        let shown = |text: &str| text.parse::<Target>().map(|target| target.to_string());
        assert_eq!(shown("192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(shown("::ffff:192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(shown("::ffff:192.0.2.0/120").unwrap(), "192.0.2.0/24");
        assert_eq!(shown("198.51.100.9/24").unwrap(), "198.51.100.0/24");
        assert_eq!(shown("2001:DB8::1").unwrap(), "2001:db8::1");
        assert_eq!(shown("Ads.Example").unwrap(), "ads.example");
        assert_eq!(shown("Ads.Example@kids-tablet").unwrap(), "ads.example@kids-tablet");
        assert_eq!(shown("ads.example@::ffff:10.4.0.9").unwrap(), "ads.example@10.4.0.9");
        for wrong in ["ads.example@", "ads.example@The Tablet", "192.0.2.7@tablet", "@tablet", "a.b@c@d"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "localhost", "192.0.2", "192.0.2.256", "10.0.0.0/33", "a b.c", "com"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
