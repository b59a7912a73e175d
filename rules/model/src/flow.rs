//! A flow as people write it: `zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445`.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::Mac;

/// An IP protocol number, named where it has a usual name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP (RFC 792).
    pub const ICMP: Self = Self(1);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(6);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(17);
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("icmpv6"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

impl std::str::FromStr for Protocol {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "icmp" => Self::ICMP,
            "tcp" => Self::TCP,
            "udp" => Self::UDP,
            "icmpv6" => Self::ICMPV6,
            number => Self(number.parse().map_err(|_| {
                format!("`{text}` is not a protocol; write tcp, udp, icmp, icmpv6 or a number")
            })?),
        })
    }
}

impl TryFrom<String> for Protocol {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.to_string()
    }
}

/// The opening packet of a flow, as a person asks about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Flow {
    /// Zone it starts in; left out, it is found by the source address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// MAC address of the sender, where it matters (device groups).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Protocol.
    pub proto: Protocol,
    /// Source port, 0 if it does not matter.
    #[serde(default)]
    pub sport: u16,
    /// Destination port; for ICMP type * 256 + code.
    #[serde(default)]
    pub dport: u16,
}

/// Why a text is no flow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write it as `zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445`")]
pub struct FlowParseError(String);

impl std::str::FromStr for Flow {
    type Err = FlowParseError;
    fn from_str(text: &str) -> Result<Self, FlowParseError> {
        let (mut zone, mut mac, mut src, mut dst, mut proto) = (None, None, None, None, None);
        let (mut sport, mut dport) = (0, 0);
        for field in text.split_whitespace() {
            let (key, value) =
                field.split_once('=').ok_or_else(|| FlowParseError(format!("`{field}` is not key=value")))?;
            let wrong = || FlowParseError(format!("`{value}` cannot be read as {key}"));
            match key {
                "zone" => zone = Some(value.to_owned()),
                "mac" => mac = Some(value.parse().map_err(FlowParseError)?),
                "src" => src = Some(value.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical()),
                "dst" => dst = Some(value.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical()),
                "proto" => proto = Some(value.parse().map_err(FlowParseError)?),
                "sport" => sport = value.parse().map_err(|_| wrong())?,
                "dport" => dport = value.parse().map_err(|_| wrong())?,
                _ => return Err(FlowParseError(format!("`{key}` is not a field of a flow"))),
            }
        }
        let missing = |name: &str| FlowParseError(format!("{name} is missing"));
        let (src, dst) = (src.ok_or_else(|| missing("src"))?, dst.ok_or_else(|| missing("dst"))?);
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(FlowParseError("src and dst are of different families".into()));
        }
        Ok(Self { zone, mac, src, dst, proto: proto.unwrap_or(Protocol::TCP), sport, dport })
    }
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(zone) = &self.zone {
            write!(f, "zone={zone} ")?;
        }
        if let Some(mac) = self.mac {
            write!(f, "mac={mac} ")?;
        }
        write!(f, "src={} dst={} proto={}", self.src, self.dst, self.proto)?;
        if self.sport != 0 {
            write!(f, " sport={}", self.sport)?;
        }
        write!(f, " dport={}", self.dport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_round_trip_and_wrong_ones_say_why() {
        let text = "zone=iot src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445";
        assert_eq!(text.parse::<Flow>().unwrap().to_string(), text);
        let text = "zone=iot mac=aa:bb:cc:dd:ee:01 src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445";
        assert_eq!(text.parse::<Flow>().unwrap().to_string(), text);
        for (wrong, why) in [
            ("src=1.2.3.4", "dst is missing"),
            ("src=1.2.3.4 dst=::1", "different families"),
            ("src=x dst=::1", "`x` cannot be read as src"),
            ("colour=red", "`colour` is not a field"),
            ("red", "not key=value"),
            ("mac=1 src=1.2.3.4 dst=1.2.3.5", "`1` is not a MAC address"),
        ] {
            let message = wrong.parse::<Flow>().unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
    }
}
