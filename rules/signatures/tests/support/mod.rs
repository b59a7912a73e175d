//! Frames and captures built from bytes, and where the corpora are.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use model::Timestamp;

/// The folder of other people's data, if it is there.
pub fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora")),
        PathBuf::from,
    );
    let folder = folder.join("signatures");
    folder.is_dir().then_some(folder)
}

/// The folder of this project's own cases.
pub fn cases() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/signatures"))
}

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

pub const CLIENT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40_000);
pub const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 2, 0, 80)), 80);

type End = (IpAddr, u16);

/// An Ethernet frame around an IP packet.
pub fn ethernet(packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &kind[..], packet].concat()
}

/// An IPv4 or IPv6 packet.
pub fn ip(source: IpAddr, destination: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
            let mut packet = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, protocol, 0, 0];
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            packet.extend_from_slice(body);
            packet
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], protocol, 64];
            packet.extend_from_slice(&source.octets());
            packet.extend_from_slice(&destination.octets());
            packet.extend_from_slice(body);
            packet
        }
        _ => panic!("ends of different families"),
    }
}

/// An Ethernet frame with a TCP segment.
pub fn tcp(
    source: End,
    destination: End,
    sequence: u32,
    acknowledgement: u32,
    flags: u8,
    data: &[u8],
) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend_from_slice(&source.1.to_be_bytes());
    segment.extend_from_slice(&destination.1.to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&acknowledgement.to_be_bytes());
    segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend_from_slice(data);
    ethernet(&ip(source.0, destination.0, 6, &segment))
}

/// An Ethernet frame with a UDP datagram.
pub fn udp(source: End, destination: End, data: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend_from_slice(&source.1.to_be_bytes());
    datagram.extend_from_slice(&destination.1.to_be_bytes());
    datagram.extend_from_slice(&u16::try_from(8 + data.len()).unwrap().to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(data);
    ethernet(&ip(source.0, destination.0, 17, &datagram))
}

/// An Ethernet frame with an ICMP message.
pub fn icmp(source: IpAddr, destination: IpAddr, kind: u8, code: u8, data: &[u8]) -> Vec<u8> {
    let message = [&[kind, code, 0, 0, 0, 1, 0, 1], data].concat();
    ethernet(&ip(source, destination, if source.is_ipv4() { 1 } else { 58 }, &message))
}

/// Puts a VLAN tag into an Ethernet frame.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00], &vlan.to_be_bytes(), &frame[12..]].concat()
}

/// A TCP conversation that keeps count of its sequence numbers.
pub struct Conversation {
    pub client: End,
    pub server: End,
    pub next: [u32; 2],
    pub frames: Vec<Vec<u8>>,
}

impl Conversation {
    /// After its handshake.
    pub fn open(client: End, server: End, numbers: [u32; 2]) -> Self {
        let [c, s] = numbers;
        let next = [c.wrapping_add(1), s.wrapping_add(1)];
        let frames = vec![
            tcp(client, server, c, 0, SYN, &[]),
            tcp(server, client, s, next[0], SYN | ACK, &[]),
            tcp(client, server, next[0], next[1], ACK, &[]),
        ];
        Self { client, server, next, frames }
    }

    /// Bytes of the client.
    pub fn client(&mut self, data: &[u8]) -> &mut Self {
        self.frames.push(tcp(self.client, self.server, self.next[0], self.next[1], PSH | ACK, data));
        self.next[0] = self.next[0].wrapping_add(u32::try_from(data.len()).unwrap());
        self
    }

    /// Bytes of the server.
    pub fn server(&mut self, data: &[u8]) -> &mut Self {
        self.frames.push(tcp(self.server, self.client, self.next[1], self.next[0], PSH | ACK, data));
        self.next[1] = self.next[1].wrapping_add(u32::try_from(data.len()).unwrap());
        self
    }

    /// A piece of the client's bytes, `offset` after the next one; the count stays.
    pub fn piece(&mut self, offset: i64, data: &[u8]) -> &mut Self {
        let shift = u32::try_from(offset.rem_euclid(1 << 32)).unwrap();
        let at = self.next[0].wrapping_add(shift);
        self.frames.push(tcp(self.client, self.server, at, self.next[1], PSH | ACK, data));
        self
    }
}

/// A pcap of Ethernet frames, one in each millisecond.
pub fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&0xa1b2_c3d4_u32.to_le_bytes());
    bytes.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend_from_slice(&65_535_u32.to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    for (n, frame) in frames.iter().enumerate() {
        let length = u32::try_from(frame.len()).unwrap().to_le_bytes();
        bytes.extend_from_slice(&1_700_000_000_u32.to_le_bytes());
        bytes.extend_from_slice(&(u32::try_from(n).unwrap() * 1000).to_le_bytes());
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(frame);
    }
    bytes
}

/// The time of the nth frame.
pub fn at(n: usize) -> Timestamp {
    Timestamp(1_700_000_000_000_000 + i64::try_from(n).unwrap() * 1000)
}
