//! From bytes to a tuple, with bounds. What is malformed here is what the kernel's own stack and conntrack refuse too.

use abi::{Address, FlowKey, MAX_EXTENSION_HEADERS, Reason, mapped};

use crate::{Frame, Input};

/// TCP (RFC 9293).
pub(crate) const TCP: u8 = 6;
/// UDP (RFC 768).
pub(crate) const UDP: u8 = 17;
/// ICMP (RFC 792).
pub(crate) const ICMP: u8 = 1;
/// ICMPv6 (RFC 4443).
pub(crate) const ICMPV6: u8 = 58;
/// IGMP (RFC 3376).
pub(crate) const IGMP: u8 = 2;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// Tags read before a frame belongs to no zone.
const MAX_TAGS: usize = 2;
/// Below this the field is a length (802.3), not a type: LLC, as spanning tree uses it.
const FIRST_ETHERTYPE: u16 = 0x0600;

/// The link layer of a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) vlan: u16,
    pub(crate) ethertype: Ethertype,
    /// Where the payload begins.
    pub(crate) at: u16,
    /// Where it ends at the latest.
    pub(crate) end: u32,
}

impl Link {
    /// Nothing read yet.
    pub(crate) const EMPTY: Self = Self { vlan: 0, ethertype: Ethertype::Other, at: 0, end: 0 };
}

/// What a frame carries.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ethertype {
    V4,
    V6,
    Arp,
    /// Talk between neighbours on the cable, before any VLAN: LLDP, spanning tree, LACP, EAPOL.
    Neighbour,
    /// Talk with the provider: PPPoE discovery, and what is not IP in a PPPoE session.
    Provider,
    Other,
}

/// What a packet can do for a flow.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It may open one.
    Opening,
    /// It belongs to one, or to nothing.
    Following,
    /// It is about one: an ICMP error.
    Error,
    /// A later fragment.
    Fragment,
    /// A protocol without ports.
    Portless,
}

/// What of the headers is not in the tuple.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) v6: bool,
    pub(crate) tcp_flags: u8,
    pub(crate) hop_limit: u8,
    /// ICMP type and code.
    pub(crate) icmp: [u8; 2],
    /// It is not the first of several fragments.
    whole: bool,
    /// The header is quoted by an ICMP error: the rest of the packet is not there.
    quoted: bool,
    /// Where the transport header begins, and how many bytes the network header says there are from it on.
    at: u16,
    available: u16,
    /// TCP sequence number.
    pub(crate) sequence: u32,
    /// TCP acknowledgement number.
    pub(crate) acknowledged: u32,
}

impl Packet {
    /// Nothing read yet.
    pub(crate) const EMPTY: Self = Self {
        kind: Kind::Portless,
        v6: false,
        tcp_flags: 0,
        hop_limit: 0,
        icmp: [0; 2],
        whole: true,
        quoted: false,
        at: 0,
        available: 0,
        sequence: 0,
        acknowledged: 0,
    };
}

/// Reads Ethernet, its tags and PPPoE; of a device without Ethernet only which IP it is.
#[inline(always)]
pub(crate) fn link(frame: &impl Frame, input: &Input) -> Result<Link, Reason> {
    if input.layer3 {
        let Some([first]) = frame.read::<1>(0) else { return Err(Reason::Malformed) };
        let ethertype = match first >> 4 {
            4 => Ethertype::V4,
            6 => Ethertype::V6,
            _ => Ethertype::Other,
        };
        return Ok(Link { vlan: input.vlan & 0x0fff, ethertype, at: 0, end: input.length });
    }
    let Some(bytes) = frame.read::<2>(12) else { return Err(Reason::Malformed) };
    let mut ethertype = u16::from_be_bytes(bytes);
    let mut at = 14;
    let mut vlan = input.vlan & 0x0fff;
    for _ in 0..MAX_TAGS {
        if !is_tag(ethertype) {
            break;
        }
        let Some([high, low, next_high, next_low]) = frame.read::<4>(at) else {
            return Err(Reason::Malformed);
        };
        let id = u16::from_be_bytes([high, low]) & 0x0fff;
        if id != 0 {
            if vlan != 0 {
                return Err(Reason::WrongVlan);
            }
            vlan = id;
        }
        ethertype = u16::from_be_bytes([next_high, next_low]);
        at += 4;
    }
    if is_tag(ethertype) {
        return Err(Reason::WrongVlan);
    }
    let ethertype = match ethertype {
        0x0800 => Ethertype::V4,
        0x86dd => Ethertype::V6,
        0x0806 => Ethertype::Arp,
        0x8863 => Ethertype::Provider,
        0x8864 => return session(frame, input, vlan, at),
        0x8809 | 0x888e | 0x88cc => Ethertype::Neighbour,
        length if length < FIRST_ETHERTYPE => Ethertype::Neighbour,
        _ => Ethertype::Other,
    };
    Ok(Link { vlan, ethertype, at: at as u16, end: input.length })
}

/// Reads the header of a PPPoE session frame (RFC 2516 §4) and the protocol of what it carries.
#[inline(always)]
fn session(frame: &impl Frame, input: &Input, vlan: u16, at: usize) -> Result<Link, Reason> {
    const HEADER: usize = 6;
    let Some(header) = frame.read::<8>(at) else { return Err(Reason::Malformed) };
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let end = at + HEADER + length;
    if header[0] != 0x11 || header[1] != 0 || length < 2 || end > input.length as usize {
        return Err(Reason::Malformed);
    }
    let ethertype = match u16::from_be_bytes([header[6], header[7]]) {
        0x0021 => Ethertype::V4,
        0x0057 => Ethertype::V6,
        _ => Ethertype::Provider,
    };
    Ok(Link { vlan, ethertype, at: (at + HEADER + 2) as u16, end: end as u32 })
}

#[inline(always)]
const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8)
}

/// Reads an IPv4 header with options and what follows (RFC 791).
#[inline(never)]
pub(crate) fn v4(
    frame: &impl Frame,
    end: u32,
    at: usize,
    flow: &mut FlowKey,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let Some(header) = frame.read::<20>(at) else { return Err(Reason::Malformed) };
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4
        || header_length < 20
        || total < header_length
        || (!packet.quoted && at + total > end as usize)
    {
        return Err(Reason::Malformed);
    }
    flow.source = mapped([header[12], header[13], header[14], header[15]]);
    flow.destination = mapped([header[16], header[17], header[18], header[19]]);
    flow.protocol = header[9];
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    packet.v6 = false;
    packet.hop_limit = header[8];
    if fragment & 0x1fff != 0 {
        packet.kind = Kind::Fragment;
        // What begins within the first 20 bytes lies over the header of the first fragment (RFC 1858 §3, RFC 3128).
        let overlaps = fragment & 0x1fff < 3 && flow.protocol == TCP;
        return if overlaps { Err(Reason::Malformed) } else { Ok(()) };
    }
    packet.whole = fragment & 0x2000 == 0;
    packet.at = (at + header_length) as u16;
    packet.available = (total - header_length) as u16;
    transport(frame, flow, packet)
}

/// Reads an IPv6 header, walks its extension headers (RFC 8200 §4) and reads what follows.
#[inline(never)]
pub(crate) fn v6(
    frame: &impl Frame,
    limit: u32,
    at: usize,
    flow: &mut FlowKey,
    packet: &mut Packet,
) -> Result<(), Reason> {
    let Some(header) = frame.read::<8>(at) else { return Err(Reason::Malformed) };
    let (Some(source), Some(destination)) = (frame.read::<16>(at + 8), frame.read::<16>(at + 24)) else {
        return Err(Reason::Malformed);
    };
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let start = at + 40;
    let end = start + payload;
    if header[0] >> 4 != 6 || (!packet.quoted && end > limit as usize) {
        return Err(Reason::Malformed);
    }
    flow.source = source;
    flow.destination = destination;
    packet.v6 = true;
    packet.hop_limit = header[7];
    let mut next = header[6];
    let mut at = start;
    let mut whole = true;
    let mut walked = 0;
    loop {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY | HOST_IDENTITY | SHIM6 => {
                let Some([_, eighths, kind, _]) = frame.read::<4>(at) else { return Err(Reason::Malformed) };
                // RFC 5095 forbids routing header 0; hop-by-hop options stand first or nowhere (RFC 8200 §4.1).
                if (next == ROUTING && kind == 0) || (next == HOP_BY_HOP && walked != 0) {
                    return Err(Reason::Malformed);
                }
                usize::from(eighths) * 8 + 8
            }
            AUTHENTICATION => {
                let Some([_, words]) = frame.read::<2>(at) else { return Err(Reason::Malformed) };
                usize::from(words) * 4 + 8
            }
            FRAGMENT => {
                let Some([carried, _, high, low]) = frame.read::<4>(at) else {
                    return Err(Reason::Malformed);
                };
                let fragment = u16::from_be_bytes([high, low]);
                if fragment & 0xfff8 != 0 {
                    flow.protocol = FRAGMENT;
                    packet.kind = Kind::Fragment;
                    let overlaps = fragment >> 3 < 3 && carried == TCP;
                    return if at + 8 > end || overlaps { Err(Reason::Malformed) } else { Ok(()) };
                }
                whole &= fragment & 1 == 0;
                8
            }
            _ => break,
        };
        let Some([following]) = frame.read::<1>(at) else { return Err(Reason::Malformed) };
        next = following;
        at += length;
        walked += 1;
        if walked > MAX_EXTENSION_HEADERS || at > end {
            return Err(Reason::Malformed);
        }
    }
    flow.protocol = next;
    packet.whole = whole;
    packet.at = at as u16;
    packet.available = (end - at) as u16;
    transport(frame, flow, packet)
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HOST_IDENTITY: u8 = 139;
const SHIM6: u8 = 140;

/// The furthest a header can begin: tags, and [`MAX_EXTENSION_HEADERS`] of the longest. A power of two less
/// one, so that the verifier sees the bound.
pub(crate) const FURTHEST: usize = 0x3fff;

/// Reads ports or ICMP type and identifier.
#[inline(never)]
fn transport(frame: &impl Frame, flow: &mut FlowKey, packet: &mut Packet) -> Result<(), Reason> {
    let at = usize::from(packet.at) & FURTHEST;
    let available = usize::from(packet.available);
    match (flow.protocol, packet.v6) {
        (TCP | UDP, _) if packet.quoted => {
            let Some(ports) = frame.read::<4>(at) else { return Err(Reason::Malformed) };
            flow.source_port = [ports[0], ports[1]];
            flow.destination_port = [ports[2], ports[3]];
            packet.kind = Kind::Following;
        }
        (TCP, _) => {
            let Some(header) = frame.read::<14>(at) else { return Err(Reason::Malformed) };
            let offset = usize::from(header[12] >> 4) * 4;
            if offset < 20 || offset > available || !tcp_flags_are_possible(header[13]) {
                return Err(Reason::Malformed);
            }
            flow.source_port = [header[0], header[1]];
            flow.destination_port = [header[2], header[3]];
            packet.sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            packet.acknowledged = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
            packet.tcp_flags = header[13];
            packet.kind = if header[13] & (SYN | ACK) == SYN { Kind::Opening } else { Kind::Following };
        }
        (UDP, _) => {
            let Some(header) = frame.read::<8>(at) else { return Err(Reason::Malformed) };
            let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
            if available < 8 || length < 8 || (packet.whole && length > available) {
                return Err(Reason::Malformed);
            }
            flow.source_port = [header[0], header[1]];
            flow.destination_port = [header[2], header[3]];
            packet.kind = Kind::Opening;
        }
        (ICMP, false) | (ICMPV6, true) => {
            let Some(header) = frame.read::<8>(at) else { return Err(Reason::Malformed) };
            if available < 8 {
                return Err(Reason::Malformed);
            }
            packet.icmp = [header[0], header[1]];
            packet.kind = match (packet.v6, header[0]) {
                (false, 8) | (true, 128) => Kind::Opening,
                (false, 3 | 4 | 5 | 11 | 12) | (true, 1..=4) => Kind::Error,
                _ => Kind::Following,
            };
            if is_echo(packet) {
                flow.source_port = [header[4], header[5]];
                flow.destination_port = [header[4], header[5]];
            }
        }
        _ => packet.kind = Kind::Portless,
    }
    Ok(())
}

/// Reads the packet that an ICMP error quotes (RFC 792, RFC 4443 §2.4), at least up to its ports. `flow` becomes the
/// tuple of that packet as it left, `packet` what is known of it.
#[inline(always)]
pub(crate) fn quoted(frame: &impl Frame, flow: &mut FlowKey, packet: &mut Packet) -> Result<(), Reason> {
    let at = (usize::from(packet.at) & FURTHEST) + 8;
    let is_v6 = packet.v6;
    *packet = Packet { quoted: true, ..Packet::EMPTY };
    if is_v6 { v6(frame, 0, at, flow, packet) } else { v4(frame, 0, at, flow, packet) }
}

/// The packet is an echo request or reply: its identifier stands for ports.
#[inline(always)]
pub(crate) fn is_echo(packet: &Packet) -> bool {
    if packet.v6 { matches!(packet.icmp[0], 128 | 129) } else { matches!(packet.icmp[0], 0 | 8) }
}

/// The combinations a TCP may send, without PSH, ECE and CWR, which go with all (those conntrack knows as valid).
#[inline(always)]
const fn tcp_flags_are_possible(flags: u8) -> bool {
    const URG: u8 = 32;
    const SYN_URG: u8 = SYN | URG;
    const SYN_ACK: u8 = SYN | ACK;
    const RST_ACK: u8 = RST | ACK;
    const FIN_ACK: u8 = FIN | ACK;
    const FIN_ACK_URG: u8 = FIN | ACK | URG;
    const ACK_URG: u8 = ACK | URG;
    matches!(
        flags & (FIN | SYN | RST | ACK | URG),
        SYN | SYN_URG | SYN_ACK | RST | RST_ACK | FIN_ACK | FIN_ACK_URG | ACK | ACK_URG
    )
}

/// `224.0.0.0/4` or `ff00::/8`.
#[inline(always)]
pub(crate) fn is_multicast(address: &Address, v6: bool) -> bool {
    if v6 { address[0] == 0xff } else { address[12] & 0xf0 == 0xe0 }
}

/// `fe80::/10`.
#[inline(always)]
pub(crate) fn is_link_local(address: &Address) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

/// `::`.
#[inline(always)]
pub(crate) fn is_unspecified(address: &Address) -> bool {
    let [a, b] = halves(address);
    a | b == 0
}

/// `127.0.0.0/8` or `::1`.
#[inline(always)]
pub(crate) fn is_loopback(address: &Address, v6: bool) -> bool {
    let [a, b] = halves(address);
    if v6 { a == 0 && b == 1 } else { address[12] == 127 }
}

/// A v4-mapped address; on the wire it is nobody's.
#[inline(always)]
pub(crate) fn is_mapped(address: &Address) -> bool {
    let [a, b] = halves(address);
    a == 0 && b >> 32 == 0xffff
}

#[inline(always)]
fn halves(address: &Address) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}
