//! What an entry does to an answer, and the records it may hold for it.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::{MAX_JOINED, MAX_RECORDS};

/// What the answer becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'set> {
    /// Blocked, in the way of the group.
    Block,
    /// An exception: answered as if no list knew the name.
    Allow,
    /// The name does not exist.
    NxDomain,
    /// The name exists, without data.
    NoData,
    /// The question is refused.
    Refused,
    /// There is no answer at all.
    Drop,
    /// Over UDP the answer is truncated, so that whoever asks comes back over TCP.
    TcpOnly,
    /// These records, of all types; a type that is not among them has no data. An alias (`CNAME`) is followed.
    Answer(Answers<'set>),
}

/// The records of one entry, or of several that answer a name together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers<'set>([&'set [Record]; MAX_JOINED]);

impl<'set> Answers<'set> {
    pub(crate) const fn of(records: &'set [Record]) -> Self {
        let mut parts: [&[Record]; MAX_JOINED] = [&[]; MAX_JOINED];
        parts[0] = records;
        Self(parts)
    }

    /// Adds those of another entry, as long as there is room.
    pub(crate) fn join(&mut self, records: &'set [Record]) {
        if let Some(free) = self.0.iter_mut().skip(1).find(|part| part.is_empty()) {
            *free = records;
        }
    }

    /// Its records, each once, at most [`MAX_RECORDS`].
    #[must_use]
    pub fn to_vec(&self) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        for record in self.0.iter().copied().flatten() {
            if all.len() < MAX_RECORDS && !all.contains(record) {
                all.push(record.clone());
            }
        }
        all
    }

    /// Whether one of them is an alias.
    pub(crate) fn is_alias(records: &[Record]) -> bool {
        records.iter().any(|record| matches!(record.data, RecordData::Cname(_)))
    }
}

/// A record that an entry holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Its time to live in seconds, where the file says one.
    pub ttl: Option<u32>,
    /// Its type and data.
    pub data: RecordData,
}

/// Type and data of a record. Names are lower case, without a final dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RecordData {
    /// An IPv4 address (RFC 1035).
    A(Ipv4Addr),
    /// An IPv6 address (RFC 3596).
    Aaaa(Ipv6Addr),
    /// Another name for the one asked (RFC 1035).
    Cname(Box<str>),
    /// The name of an address (RFC 1035).
    Ptr(Box<str>),
    /// Text, in strings of at most 255 bytes (RFC 1035).
    Txt(Box<[Box<[u8]>]>),
    /// A mail server (RFC 1035).
    Mx {
        /// Smaller ones first.
        preference: u16,
        /// Its name.
        exchange: Box<str>,
    },
    /// Where a service is (RFC 2782).
    Srv {
        /// Smaller ones first.
        priority: u16,
        /// Share among those of one priority.
        weight: u16,
        /// Its port.
        port: u16,
        /// Its host; empty for "there is none".
        target: Box<str>,
    },
    /// How a service is reached (RFC 9460): SVCB, or HTTPS.
    Service {
        /// HTTPS, not SVCB.
        https: bool,
        /// 0: an alias.
        priority: u16,
        /// Its host; empty for the name itself.
        target: Box<str>,
        /// Parameters as they go over the wire, ascending by key.
        parameters: Box<[(u16, Box<[u8]>)]>,
    },
}

impl From<IpAddr> for RecordData {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::A(address),
            IpAddr::V6(address) => Self::Aaaa(address),
        }
    }
}

impl From<RecordData> for Record {
    fn from(data: RecordData) -> Self {
        Self { ttl: None, data }
    }
}

impl RecordData {
    /// The address, of a record that is one.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::A(address) => Some(IpAddr::V4(*address)),
            Self::Aaaa(address) => Some(IpAddr::V6(*address)),
            Self::Cname(_)
            | Self::Ptr(_)
            | Self::Txt(_)
            | Self::Mx { .. }
            | Self::Srv { .. }
            | Self::Service { .. } => None,
        }
    }

    /// Its type's number.
    #[must_use]
    pub fn qtype(&self) -> u16 {
        match self {
            Self::A(_) => 1,
            Self::Cname(_) => 5,
            Self::Ptr(_) => 12,
            Self::Mx { .. } => 15,
            Self::Txt(_) => 16,
            Self::Aaaa(_) => 28,
            Self::Srv { .. } => 33,
            Self::Service { https: false, .. } => 64,
            Self::Service { https: true, .. } => 65,
        }
    }

    /// Reads the text form of a record's data, with `name` for names in it.
    pub(crate) fn read(
        kind: &str,
        data: &str,
        name: &dyn Fn(&str) -> Result<Box<str>, String>,
    ) -> Result<Self, String> {
        let upper = kind.to_ascii_uppercase();
        let wrong = |what: &str| format!("`{data}` is no {upper} record: {what}");
        let mut words = data.split_ascii_whitespace();
        let mut word = |what: &str| words.next().ok_or_else(|| wrong(what));
        let read = match upper.as_str() {
            "A" => {
                Self::A(word("write an IPv4 address")?.parse().map_err(|_| wrong("write an IPv4 address"))?)
            }
            "AAAA" => Self::Aaaa(
                word("write an IPv6 address")?.parse().map_err(|_| wrong("write an IPv6 address"))?,
            ),
            "CNAME" => Self::Cname(name(word("write a name")?)?),
            "PTR" => Self::Ptr(name(word("write a name")?)?),
            "TXT" => return Ok(Self::Txt(strings(data).map_err(|why| wrong(&why))?)),
            "MX" => Self::Mx {
                preference: number(word("write `10 mail.example`")?, &wrong)?,
                exchange: name(word("write `10 mail.example`")?)?,
            },
            "SRV" => {
                const FORM: &str = "write `PRIORITY WEIGHT PORT TARGET`";
                Self::Srv {
                    priority: number(word(FORM)?, &wrong)?,
                    weight: number(word(FORM)?, &wrong)?,
                    port: number(word(FORM)?, &wrong)?,
                    target: name_or_root(word(FORM)?, name)?,
                }
            }
            "HTTPS" | "SVCB" => {
                const FORM: &str = "write `PRIORITY TARGET` and parameters such as `alpn=h2,h3`";
                let priority = number(word(FORM)?, &wrong)?;
                let target = name_or_root(word(FORM)?, name)?;
                let mut parameters = Vec::new();
                for word in words.by_ref() {
                    parameters.push(parameter(word).map_err(|why| wrong(&why))?);
                }
                parameters.sort();
                if parameters.windows(2).any(|two| two[0].0 == two[1].0) {
                    return Err(wrong("a parameter stands twice"));
                }
                Self::Service { https: upper == "HTTPS", priority, target, parameters: parameters.into() }
            }
            _ => return Err(format!("records of type {upper} are not supported")),
        };
        match words.next() {
            None => Ok(read),
            Some(_) => Err(wrong("there is something behind it")),
        }
    }
}

fn number(word: &str, wrong: &dyn Fn(&str) -> String) -> Result<u16, String> {
    word.parse().map_err(|_| wrong(&format!("`{word}` is no number up to 65535")))
}

fn name_or_root(word: &str, name: &dyn Fn(&str) -> Result<Box<str>, String>) -> Result<Box<str>, String> {
    if word == "." { Ok("".into()) } else { name(word) }
}

/// One word, or quoted strings with `\"`, `\\` and `\DDD` (RFC 1035 §5.1). What is not quoted is one string as it stands.
fn strings(data: &str) -> Result<Box<[Box<[u8]>]>, String> {
    let data = data.trim();
    let mut all: Vec<Box<[u8]>> = Vec::new();
    if !data.starts_with('"') {
        all.extend(data.as_bytes().chunks(255).map(Into::into));
        return Ok(all.into());
    }
    let mut bytes = data.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                let mut text = Vec::new();
                loop {
                    match bytes.next().ok_or("a quote is not closed")? {
                        b'"' => break,
                        b'\\' => text.push(escaped(&mut bytes)?),
                        byte => text.push(byte),
                    }
                }
                if text.len() > 255 {
                    return Err("a string has more than 255 bytes".into());
                }
                all.push(text.into());
            }
            b' ' | b'\t' => {}
            _ => return Err("write each string in quotes".into()),
        }
    }
    Ok(all.into())
}

fn escaped(bytes: &mut std::str::Bytes<'_>) -> Result<u8, String> {
    let first = bytes.next().ok_or("it ends in a backslash")?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or("an escape has three digits")?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| "an escape is beyond 255".into())
}

/// A service parameter as it goes over the wire (RFC 9460 §7).
fn parameter(word: &str) -> Result<(u16, Box<[u8]>), String> {
    let (key, value) = word.split_once('=').unwrap_or((word, ""));
    let value = value.trim_matches('"');
    let list = || value.split(',').filter(|part| !part.is_empty());
    let (number, bytes): (u16, Vec<u8>) = match key {
        "alpn" => {
            let mut bytes = Vec::new();
            for id in list() {
                bytes.push(u8::try_from(id.len()).map_err(|_| format!("`{id}` is no protocol"))?);
                bytes.extend_from_slice(id.as_bytes());
            }
            (1, bytes)
        }
        "no-default-alpn" if value.is_empty() => return Ok((2, Box::default())),
        "port" => {
            (3, value.parse::<u16>().map_err(|_| format!("`{value}` is no port"))?.to_be_bytes().into())
        }
        "ipv4hint" => {
            let mut bytes = Vec::new();
            for hint in list() {
                let address: Ipv4Addr = hint.parse().map_err(|_| format!("`{hint}` is no IPv4 address"))?;
                bytes.extend(address.octets());
            }
            (4, bytes)
        }
        "ipv6hint" => {
            let mut bytes = Vec::new();
            for hint in list() {
                let address: Ipv6Addr = hint.parse().map_err(|_| format!("`{hint}` is no IPv6 address"))?;
                bytes.extend(address.octets());
            }
            (6, bytes)
        }
        _ => return Err(format!("the parameter `{key}` is not supported")),
    };
    if bytes.is_empty() {
        return Err(format!("the parameter `{key}` has no value"));
    }
    Ok((number, bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, data: &str) -> Result<RecordData, String> {
        RecordData::read(kind, data, &|name| Ok(name.trim_end_matches('.').into()))
    }

    #[test]
    fn records_as_people_write_them() {
        assert_eq!(read("a", "192.0.2.1"), Ok(RecordData::A([192, 0, 2, 1].into())));
        assert_eq!(
            read("MX", "10 mail.example."),
            Ok(RecordData::Mx { preference: 10, exchange: "mail.example".into() })
        );
        let text = |strings: &[&[u8]]| RecordData::Txt(strings.iter().map(|part| (*part).into()).collect());
        assert_eq!(read("TXT", "one string, bare"), Ok(text(&[b"one string, bare"])));
        assert_eq!(read("TXT", r#""one" "t\"w\065o""#), Ok(text(&[b"one", b"t\"wAo"])));
        let service = read("HTTPS", "1 . alpn=h2,h3 port=8443 ipv4hint=192.0.2.1").unwrap();
        assert_eq!(service.qtype(), 65);
        let RecordData::Service { parameters, .. } = service else { panic!() };
        assert_eq!(
            *parameters,
            [(1, b"\x02h2\x02h3"[..].into()), (3, b"\x20\xfb"[..].into()), (4, [192, 0, 2, 1][..].into())]
        );
        for (kind, data, why) in [
            ("A", "::1", "write an IPv4 address"),
            ("A", "192.0.2.1 2", "something behind"),
            ("MX", "mail.example", "no number"),
            ("SRV", "0 5 80", "PRIORITY WEIGHT PORT TARGET"),
            ("HTTPS", "1 . ech=AAA", "`ech` is not supported"),
            ("HTTPS", "1 . port=1 port=2", "stands twice"),
            ("TXT", "\"open", "not closed"),
            ("NAPTR", "x", "type NAPTR are not supported"),
        ] {
            let error = read(kind, data).unwrap_err();
            assert!(error.contains(why), "{kind} {data}: {error}");
        }
    }
}
