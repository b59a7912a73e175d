//! From a captured frame to what rules look at: addresses, ports, flags, headers and payload, all borrowed.
//!
//! Checksums are not verified: frames copied on a router often carry those that its network card would have filled in.

use std::net::IpAddr;

use crate::limits::MAX_LAYERS;

/// What a frame starts with, by the numbers of <https://www.tcpdump.org/linktypes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// Ethernet (1).
    Ethernet,
    /// An IPv4 or IPv6 packet (12, 14, 101, 228, 229).
    RawIp,
    /// BSD loopback: an address family in four bytes (0, 108).
    Loopback,
    /// Linux "cooked" capture (113).
    LinuxCooked,
    /// Linux "cooked" capture, version 2 (276).
    LinuxCooked2,
    /// PPP with or without HDLC-like framing (9, 50).
    Ppp,
}

impl LinkType {
    /// By its number in captures.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Loopback),
            1 => Some(Self::Ethernet),
            9 | 50 => Some(Self::Ppp),
            12 | 14 | 101 | 228 | 229 => Some(Self::RawIp),
            113 => Some(Self::LinuxCooked),
            276 => Some(Self::LinuxCooked2),
            _ => None,
        }
    }
}

/// The TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
    pub window: u16,
}

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

/// The ICMP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Icmp {
    pub kind: u8,
    pub code: u8,
    pub id: u16,
    pub sequence: u16,
}

/// A decoded packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'f> {
    pub vlan: u16,
    pub vlan_layers: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// IP protocol after extension headers.
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
    pub tcp: Option<Tcp>,
    pub icmp: Option<Icmp>,
    pub time_to_live: u8,
    pub type_of_service: u8,
    pub ip_id: u16,
    /// Put together from fragments.
    pub reassembled: bool,
    pub ip_header: &'f [u8],
    pub transport_header: &'f [u8],
    pub payload: &'f [u8],
}

impl Packet<'_> {
    pub(crate) const fn is_v4(&self) -> bool {
        self.source.is_ipv4()
    }
}

/// A fragment of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fragment<'f> {
    pub ip: IpLayer<'f>,
    pub id: u32,
    pub offset: usize,
    pub more: bool,
}

/// The network layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IpLayer<'f> {
    pub vlan: u16,
    pub vlan_layers: u8,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub time_to_live: u8,
    pub type_of_service: u8,
    pub ip_id: u16,
    pub header: &'f [u8],
    pub body: &'f [u8],
}

/// What a frame is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decoded<'f> {
    Packet(Packet<'f>),
    Fragment(Fragment<'f>),
    /// Not IP: ARP, spanning tree and the like.
    Other,
    /// IP, but cut or contradictory.
    Malformed,
}

/// Reads big-endian numbers without a panic.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Decodes one frame.
pub(crate) fn decode(link: LinkType, frame: &[u8]) -> Decoded<'_> {
    let network = match link {
        LinkType::RawIp => Some((Network::ByVersion, frame, 0, 0)),
        LinkType::Loopback => frame.get(4..).map(|rest| (Network::ByVersion, rest, 0, 0)),
        LinkType::Ethernet => u16_at(frame, 12).and_then(|kind| ethertype(kind, frame.get(14..)?)),
        LinkType::LinuxCooked => u16_at(frame, 14).and_then(|kind| ethertype(kind, frame.get(16..)?)),
        LinkType::LinuxCooked2 => u16_at(frame, 0).and_then(|kind| ethertype(kind, frame.get(20..)?)),
        LinkType::Ppp => ppp(frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame)),
    };
    match network {
        None => Decoded::Malformed,
        Some((Network::Other, ..)) => Decoded::Other,
        Some((Network::ByVersion, bytes, vlan, layers)) => match ip(bytes, vlan, layers) {
            Some(decoded) => decoded,
            None => Decoded::Malformed,
        },
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    ByVersion,
    Other,
}

/// Unwraps VLAN tags and PPPoE. The innermost VLAN id is kept.
fn ethertype(mut kind: u16, mut bytes: &[u8]) -> Option<(Network, &[u8], u16, u8)> {
    let (mut vlan, mut layers) = (0, 0);
    for _ in 0..MAX_LAYERS {
        match kind {
            0x8100 | 0x88a8 | 0x9100 => {
                vlan = u16_at(bytes, 0)? & 0x0fff;
                kind = u16_at(bytes, 2)?;
                bytes = bytes.get(4..)?;
                layers += 1;
            }
            0x8864 => {
                let (network, rest, _, _) = ppp(bytes.get(6..)?)?;
                return Some((network, rest, vlan, layers));
            }
            0x0800 | 0x86dd => return Some((Network::ByVersion, bytes, vlan, layers)),
            _ => return Some((Network::Other, bytes, vlan, layers)),
        }
    }
    None
}

fn ppp(bytes: &[u8]) -> Option<(Network, &[u8], u16, u8)> {
    let (kind, rest) = match *bytes.first()? {
        short if short & 1 == 1 => (u16::from(short), bytes.get(1..)?),
        _ => (u16_at(bytes, 0)?, bytes.get(2..)?),
    };
    let network = if matches!(kind, 0x21 | 0x57) { Network::ByVersion } else { Network::Other };
    Some((network, rest, 0, 0))
}

fn ip(bytes: &[u8], vlan: u16, vlan_layers: u8) -> Option<Decoded<'_>> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes, vlan, vlan_layers),
        6 => ipv6(bytes, vlan, vlan_layers),
        _ => None,
    }
}

fn ipv4(bytes: &[u8], vlan: u16, vlan_layers: u8) -> Option<Decoded<'_>> {
    let header_length = usize::from(bytes.first()? & 0x0f) * 4;
    let total = usize::from(u16_at(bytes, 2)?);
    if header_length < 20 || total < header_length {
        return None;
    }
    // A capture may be cut: what is there is judged. Padding behind the packet is not part of it.
    let bytes = bytes.get(..total.min(bytes.len()))?;
    let header = bytes.get(..header_length)?;
    let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
    let layer = IpLayer {
        vlan,
        vlan_layers,
        source: address(12)?,
        destination: address(16)?,
        protocol: *header.get(9)?,
        time_to_live: *header.get(8)?,
        type_of_service: *header.get(1)?,
        ip_id: u16_at(header, 4)?,
        header,
        body: bytes.get(header_length..)?,
    };
    let fragment = u16_at(header, 6)?;
    let (offset, more) = (usize::from(fragment & 0x1fff) * 8, fragment & 0x2000 != 0);
    if offset > 0 || more {
        return Some(Decoded::Fragment(Fragment { ip: layer, id: layer.ip_id.into(), offset, more }));
    }
    Some(transport(&layer, false).map_or(Decoded::Malformed, Decoded::Packet))
}

fn ipv6(bytes: &[u8], vlan: u16, vlan_layers: u8) -> Option<Decoded<'_>> {
    let fixed = bytes.get(..40)?;
    let length = usize::from(u16_at(fixed, 4)?);
    let bytes = bytes.get(..(40 + length).min(bytes.len()))?;
    let address = |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(fixed.get(at..at + 16)?).ok()?));
    let (mut next, mut at) = (*fixed.get(6)?, 40);
    let mut fragment = None;
    for _ in 0..MAX_LAYERS {
        match next {
            0 | 43 | 60 | 135 | 139 | 140 => {
                let size = (usize::from(*bytes.get(at + 1)?) + 1) * 8;
                next = *bytes.get(at)?;
                at += size;
            }
            51 => {
                let size = (usize::from(*bytes.get(at + 1)?) + 2) * 4;
                next = *bytes.get(at)?;
                at += size;
            }
            44 => {
                let field = u16_at(bytes, at + 2)?;
                fragment = Some((u32_at(bytes, at + 4)?, usize::from(field & 0xfff8), field & 1 == 1));
                next = *bytes.get(at)?;
                at += 8;
                if fragment.is_some_and(|(_, offset, more)| offset > 0 || more) {
                    break;
                }
            }
            _ => break,
        }
    }
    let layer = IpLayer {
        vlan,
        vlan_layers,
        source: address(8)?,
        destination: address(24)?,
        protocol: next,
        time_to_live: *fixed.get(7)?,
        type_of_service: (fixed.first()? << 4) | (fixed.get(1)? >> 4),
        ip_id: 0,
        header: bytes.get(..at)?,
        body: bytes.get(at..)?,
    };
    match fragment {
        // An atomic fragment (RFC 6946) is a whole packet.
        Some((id, offset, more)) if offset > 0 || more => {
            Some(Decoded::Fragment(Fragment { ip: layer, id, offset, more }))
        }
        Some(_) | None => Some(transport(&layer, false).map_or(Decoded::Malformed, Decoded::Packet)),
    }
}

/// Decodes what an IP packet carries. `None` where its header is cut or wrong.
pub(crate) fn transport<'f>(layer: &IpLayer<'f>, reassembled: bool) -> Option<Packet<'f>> {
    let body = layer.body;
    let mut packet = Packet {
        vlan: layer.vlan,
        vlan_layers: layer.vlan_layers,
        source: layer.source,
        destination: layer.destination,
        protocol: layer.protocol,
        source_port: 0,
        destination_port: 0,
        tcp: None,
        icmp: None,
        time_to_live: layer.time_to_live,
        type_of_service: layer.type_of_service,
        ip_id: layer.ip_id,
        reassembled,
        ip_header: layer.header,
        transport_header: &[],
        payload: body,
    };
    let header_length = match (layer.protocol, layer.source.is_ipv4()) {
        (6, _) => {
            let length = usize::from(body.get(12)? >> 4) * 4;
            if length < 20 {
                return None;
            }
            packet.source_port = u16_at(body, 0)?;
            packet.destination_port = u16_at(body, 2)?;
            packet.tcp = Some(Tcp {
                sequence: u32_at(body, 4)?,
                acknowledgement: u32_at(body, 8)?,
                flags: *body.get(13)?,
                window: u16_at(body, 14)?,
            });
            length
        }
        (17, _) => {
            packet.source_port = u16_at(body, 0)?;
            packet.destination_port = u16_at(body, 2)?;
            let length = usize::from(u16_at(body, 4)?);
            if length != 0 && length < 8 {
                return None;
            }
            let end = if length == 0 { body.len() } else { length.min(body.len()) };
            packet.payload = body.get(..end)?;
            8
        }
        (1, true) | (58, false) => {
            packet.icmp = Some(Icmp {
                kind: *body.first()?,
                code: *body.get(1)?,
                id: u16_at(body, 4).unwrap_or(0),
                sequence: u16_at(body, 6).unwrap_or(0),
            });
            8.min(body.len())
        }
        _ => 0,
    };
    packet.transport_header = match &packet.icmp {
        Some(icmp) if layer.source.is_ipv4() => {
            body.get(..icmp_header_length(icmp.kind, body).min(body.len()))?
        }
        Some(_) | None => body.get(..header_length)?,
    };
    packet.payload = packet.payload.get(header_length..)?;
    Some(packet)
}

/// The length of an ICMP header with what belongs to it by type (RFC 792, RFC 950, RFC 1256).
fn icmp_header_length(kind: u8, body: &[u8]) -> usize {
    match kind {
        9 => {
            let count = |at: usize| usize::from(body.get(at).copied().unwrap_or(0));
            8 + count(4) * count(5) * 4
        }
        13 | 14 => 20,
        17 | 18 => 12,
        _ => 8,
    }
}
