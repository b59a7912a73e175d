//! Captures of what the packet path told: pcapng with the headers that are known and the reason as a comment.
//!
//! The kernel keeps no frame it drops, only who, where to and why. So each packet here is cut behind its ports, with the
//! length it had on the wire: readers show it as a capture that was limited in size, and show nothing that was not seen.
//! MAC addresses, TTL, identification and checksums are zero. Format: draft-ietf-opsawg-pcapng.

use model::{Event, Protocol};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;
const OPTION_COMMENT: u16 = 1;
const OPTION_INTERFACE_NAME: u16 = 2;
const OPTION_APPLICATION: u16 = 4;

/// A capture that is being written.
pub(crate) struct Pcapng<W> {
    out: W,
    interfaces: BTreeMap<String, u32>,
}

/// What is known of a packet.
#[derive(Clone, Debug)]
pub(crate) struct Headers<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) source_port: u16,
    /// For ICMP type * 256 + code.
    pub(crate) destination_port: u16,
    /// 0 = untagged.
    pub(crate) vlan: u16,
    /// Bytes of the frame on the wire.
    pub(crate) length: u16,
    pub(crate) interface: &'a str,
}

impl<W: Write> Pcapng<W> {
    /// Begins a capture.
    pub(crate) fn new(out: W) -> io::Result<Self> {
        let mut capture = Self { out, interfaces: BTreeMap::new() };
        let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]); // version 1.0
        body.extend(u64::MAX.to_le_bytes()); // length of the section: not said
        option(&mut body, OPTION_APPLICATION, concat!("secctl ", env!("CARGO_PKG_VERSION")));
        end_options(&mut body);
        capture.block(SECTION_HEADER, &body)?;
        Ok(capture)
    }

    /// Writes a packet; it is on its way to the file when this returns.
    pub(crate) fn packet(&mut self, event: &Event, headers: &Headers<'_>, comment: &str) -> io::Result<()> {
        let interface = self.interface(headers.interface)?;
        let bytes = headers.bytes();
        let micros = u64::try_from(event.ts.0).unwrap_or(0);
        let mut body = interface.to_le_bytes().to_vec();
        for word in [
            (micros >> 32) as u32,
            micros as u32,
            u32::try_from(bytes.len()).unwrap_or(0),
            u32::from(headers.length).max(u32::try_from(bytes.len()).unwrap_or(0)),
        ] {
            body.extend(word.to_le_bytes());
        }
        body.extend(&bytes);
        pad(&mut body);
        option(&mut body, OPTION_COMMENT, comment);
        end_options(&mut body);
        self.block(ENHANCED_PACKET, &body)?;
        self.out.flush()
    }

    /// The number of an interface in this capture.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        if let Some(number) = self.interfaces.get(name) {
            return Ok(*number);
        }
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        self.interfaces.insert(name.to_owned(), number);
        let mut body = ETHERNET.to_le_bytes().to_vec();
        body.extend([0, 0, 0, 0, 0, 0]); // reserved; no limit of its own
        option(&mut body, OPTION_INTERFACE_NAME, name);
        end_options(&mut body);
        self.block(INTERFACE_DESCRIPTION, &body)?;
        Ok(number)
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_le_bytes();
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&length)?;
        self.out.write_all(body)?;
        self.out.write_all(&length)
    }
}

impl Headers<'_> {
    /// Ethernet, VLAN tag, IP and the beginning of what it carries.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        if self.vlan != 0 {
            bytes.extend([0x81, 0x00]);
            bytes.extend(self.vlan.to_be_bytes());
        }
        let network = usize::from(self.length).saturating_sub(bytes.len() + 2);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let [high, low] = u16::try_from(network).unwrap_or(u16::MAX).to_be_bytes();
                bytes.extend([0x08, 0x00, 0x45, 0, high, low, 0, 0, 0, 0, 0, self.protocol.0, 0, 0]);
                bytes.extend(source.octets());
                bytes.extend(destination.octets());
            }
            (source, destination) => {
                let sixteen = |address: IpAddr| match address {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                let [high, low] = u16::try_from(network.saturating_sub(40)).unwrap_or(u16::MAX).to_be_bytes();
                bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, self.protocol.0, 0]);
                bytes.extend(sixteen(source));
                bytes.extend(sixteen(destination));
            }
        }
        match self.protocol {
            Protocol::TCP | Protocol::UDP => {
                bytes.extend(self.source_port.to_be_bytes());
                bytes.extend(self.destination_port.to_be_bytes());
            }
            Protocol::ICMP | Protocol::ICMPV6 => bytes.extend(self.destination_port.to_be_bytes()),
            _ => {}
        }
        bytes
    }
}

/// Longest text of an option.
const MAX_TEXT: usize = 1024;

fn option(body: &mut Vec<u8>, code: u16, text: &str) {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(end).unwrap_or(0).to_le_bytes());
    body.extend(&text.as_bytes()[..end]);
    pad(body);
}

fn end_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Everything begins at a multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Body, EventAction, Severity, Timestamp};

    fn event() -> Event {
        Event {
            ts: Timestamp(1_790_000_000_123_456),
            severity: Severity::Info,
            action: EventAction::Drop,
            zone: None,
            reason: None,
            body: Body::System { message: String::new(), count: None },
        }
    }

    fn headers(source: &str, destination: &str, protocol: Protocol) -> Headers<'static> {
        Headers {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol,
            source_port: 40_000,
            destination_port: 22,
            vlan: 0,
            length: 74,
            interface: "eth1",
        }
    }

    #[test]
    fn blocks_are_whole_and_interfaces_are_told_once() {
        let mut out = Vec::new();
        let mut capture = Pcapng::new(&mut out).unwrap();
        for source in ["10.4.0.9", "10.4.0.10"] {
            capture.packet(&event(), &headers(source, "10.3.0.2", Protocol::TCP), "why").unwrap();
        }
        let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < out.len() {
            let length = word(at + 4) as usize;
            assert_eq!(length % 4, 0);
            assert_eq!(word(at + length - 4) as usize, length, "both lengths are the same");
            kinds.push(word(at));
            at += length;
        }
        assert_eq!(kinds, [SECTION_HEADER, INTERFACE_DESCRIPTION, ENHANCED_PACKET, ENHANCED_PACKET]);
    }

    #[test]
    fn only_what_is_known_is_in_the_bytes() {
        let tcp = headers("10.4.0.9", "10.3.0.2", Protocol::TCP).bytes();
        assert_eq!(tcp.len(), 14 + 20 + 4);
        assert_eq!(&tcp[16..18], [0, 60], "total length of 74 bytes less Ethernet");
        assert_eq!(&tcp[34..], [0x9c, 0x40, 0, 22]);
        let mut tagged = headers("fd00::9", "fd00::2", Protocol::ICMPV6);
        tagged.vlan = 400;
        let tagged = tagged.bytes();
        assert_eq!(&tagged[12..18], [0x81, 0, 1, 144, 0x86, 0xdd]);
        assert_eq!(&tagged[22..24], [0, 16], "74 less Ethernet, tag and IPv6 header");
        assert_eq!(tagged.len(), 18 + 40 + 2);
        assert_eq!(headers("10.4.0.9", "10.3.0.2", Protocol(50)).bytes().len(), 34);
    }
}
