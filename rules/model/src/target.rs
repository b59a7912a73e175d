//! What a decision is about.

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::Name;

/// What a standing order is about. Text form: `192.0.2.7`, `198.51.100.0/24`, `2001:db8::/48`, `ads.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// An address or a range; host bits are zero, v4-mapped addresses are IPv4.
    Net(IpNet),
    /// A domain and everything below it.
    Domain(Name),
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
}

impl std::str::FromStr for Target {
    type Err = TargetError;
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let wrong = || TargetError(text.to_owned());
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
        for wrong in ["", "localhost", "192.0.2", "192.0.2.256", "10.0.0.0/33", "a b.c", "com"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
