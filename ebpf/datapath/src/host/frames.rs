//! A builder of frames.

use abi::{Address, mapped};
use alloc::vec::Vec;

use super::Prefix;

/// What a frame says above its network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// TCP with these flags.
    Tcp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
        /// Flags byte.
        flags: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        from: u16,
        /// Destination port.
        to: u16,
    },
    /// ICMP or ICMPv6, by the family of the addresses.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        id: u16,
    },
    /// Any other protocol, 8 zero bytes.
    Other(u8),
}

/// Builds well-formed frames. Checksums stay zero: the datapath reads none.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    /// VLAN tags, outer first; ids with priority bits as on the wire.
    pub tags: Vec<u16>,
    /// Source address, v4-mapped for IPv4.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// What the packet carries.
    pub payload: Payload,
    /// TCP sequence and acknowledgement number.
    pub numbers: [u32; 2],
    /// IPv4: flags and offset as on the wire.
    pub fragment: u16,
    /// IPv6 extension headers of 8 bytes each, by number, put before the payload.
    pub extensions: Vec<u8>,
}

impl FrameBuilder {
    /// An IPv4 packet.
    #[must_use]
    pub fn v4(source: [u8; 4], destination: [u8; 4], payload: Payload) -> Self {
        Self::new(mapped(source), mapped(destination), payload)
    }

    /// A packet of the family of the addresses (both v4-mapped: IPv4).
    #[must_use]
    pub fn new(source: Address, destination: Address, payload: Payload) -> Self {
        Self {
            tags: Vec::new(),
            source,
            destination,
            hop_limit: 64,
            payload,
            numbers: [0; 2],
            fragment: 0,
            extensions: Vec::new(),
        }
    }

    /// Puts a VLAN tag around what is there.
    #[must_use]
    pub fn tagged(mut self, id: u16) -> Self {
        self.tags.insert(0, id);
        self
    }

    /// Sets TTL or hop limit.
    #[must_use]
    pub fn hops(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets TCP sequence and acknowledgement number.
    #[must_use]
    pub fn numbered(mut self, sequence: u32, acknowledged: u32) -> Self {
        self.numbers = [sequence, acknowledged];
        self
    }

    /// The frame's bytes, without padding.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let is_v4 =
            Prefix::v4([0; 4], 0).holds(&self.source) && Prefix::v4([0; 4], 0).holds(&self.destination);
        let mut frame = Vec::from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        for (place, tag) in self.tags.iter().enumerate() {
            let kind: u16 = if place == 0 && self.tags.len() > 1 { 0x88a8 } else { 0x8100 };
            frame.extend(kind.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if is_v4 { [0x08, 0x00] } else { [0x86, 0xdd] });
        frame.extend(self.packet());
        frame
    }

    /// The bytes from the network header on.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let is_v4 =
            Prefix::v4([0; 4], 0).holds(&self.source) && Prefix::v4([0; 4], 0).holds(&self.destination);
        let mut frame = Vec::new();
        let (protocol, transport) = self.transport(is_v4);
        if is_v4 {
            let total = u16::try_from(20 + transport.len()).unwrap_or(u16::MAX);
            let [high, low] = total.to_be_bytes();
            let [flags, offset] = self.fragment.to_be_bytes();
            frame.extend([0x45, 0, high, low, 0, 1, flags, offset, self.hop_limit, protocol, 0, 0]);
            frame.extend(&self.source[12..]);
            frame.extend(&self.destination[12..]);
        } else {
            let length = u16::try_from(8 * self.extensions.len() + transport.len()).unwrap_or(u16::MAX);
            let [high, low] = length.to_be_bytes();
            let first = self.extensions.first().copied().unwrap_or(protocol);
            frame.extend([0x60, 0, 0, 0, high, low, first, self.hop_limit]);
            frame.extend(self.source);
            frame.extend(self.destination);
            for place in 0..self.extensions.len() {
                let next = self.extensions.get(place + 1).copied().unwrap_or(protocol);
                frame.extend([next, 0, 0, 0, 0, 0, 0, 0]);
            }
        }
        frame.extend(transport);
        frame
    }

    fn transport(&self, is_v4: bool) -> (u8, Vec<u8>) {
        let mut bytes = Vec::new();
        match self.payload {
            Payload::Tcp { from, to, flags } => {
                bytes.extend(from.to_be_bytes());
                bytes.extend(to.to_be_bytes());
                bytes.extend(self.numbers.map(u32::to_be_bytes).concat());
                bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
                (6, bytes)
            }
            Payload::Udp { from, to } => {
                bytes.extend(from.to_be_bytes());
                bytes.extend(to.to_be_bytes());
                bytes.extend([0, 12, 0, 0, 1, 2, 3, 4]);
                (17, bytes)
            }
            Payload::Icmp { kind, code, id } => {
                bytes.extend([kind, code, 0, 0]);
                bytes.extend(id.to_be_bytes());
                bytes.extend([0, 1]);
                (if is_v4 { 1 } else { 58 }, bytes)
            }
            Payload::Other(protocol) => {
                bytes.extend([0; 8]);
                (protocol, bytes)
            }
        }
    }
}
