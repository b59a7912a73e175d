//! Tables in memory and a builder of frames, for the host: `secctl explain`, tests, and the reference the kernel is
//! compared with. Slow and obvious on purpose.

use abi::{
    Active, Address, BanValue, FLOW_ANSWERED, FlowKey, FlowValue, ListValue, PolicyKey, PolicyValue, PortKey,
    ZoneId, mapped,
};
use alloc::{collections::BTreeMap, vec::Vec};
use core::cell::RefCell;

use crate::{Flow, Tables, Touch};

/// A prefix of an address table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    /// Network address, v4-mapped for IPv4.
    pub address: Address,
    /// Significant bits, 0–128.
    pub bits: u32,
}

impl Prefix {
    /// An IPv4 network.
    #[must_use]
    pub const fn v4(address: [u8; 4], bits: u32) -> Self {
        Self { address: mapped(address), bits: 96 + bits }
    }

    /// An IPv6 network.
    #[must_use]
    pub const fn v6(address: Address, bits: u32) -> Self {
        Self { address, bits }
    }

    /// The prefix holds the address.
    #[must_use]
    pub fn holds(&self, address: &Address) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.bits.min(128)).unwrap_or(0);
        u128::from_be_bytes(self.address) & mask == u128::from_be_bytes(*address) & mask
    }
}

/// Zones from and to, protocol, port, significant bits of the port.
pub type PortPrefix = (ZoneId, ZoneId, u8, u16, u8);

/// One generation of every table, and the flows. The slot of keys is ignored.
#[derive(Debug, Default)]
pub struct MemoryTables {
    /// The word that selects.
    pub active: Active,
    /// Zone by interface index and VLAN.
    pub ports: BTreeMap<(u32, u16), ZoneId>,
    /// `ZONE_*` bits by zone.
    pub zones: BTreeMap<ZoneId, u32>,
    /// Zone by network.
    pub networks: Vec<(Prefix, ZoneId)>,
    /// Protected networks.
    pub protected: Vec<Prefix>,
    /// Timed allows: boot time in ns when they end.
    pub allows: Vec<(Prefix, u64)>,
    /// Bans.
    pub bans: Vec<(Prefix, BanValue)>,
    /// List entries.
    pub listed: Vec<(Prefix, ListValue)>,
    /// What the policy says.
    pub policy: Vec<(PortPrefix, PolicyValue)>,
    /// Flows.
    pub flows: RefCell<BTreeMap<FlowKey, FlowValue>>,
}

/// The value of the longest prefix that holds the address; of equal ones the last.
fn longest<'a, V>(table: &'a [(Prefix, V)], address: &Address) -> Option<&'a V> {
    table
        .iter()
        .filter(|(prefix, _)| prefix.holds(address))
        .max_by_key(|(prefix, _)| prefix.bits)
        .map(|(_, v)| v)
}

impl Tables for MemoryTables {
    type Flow<'a> = MemoryFlow<'a>;

    fn active(&self) -> Active {
        self.active
    }

    fn port(&self, key: &PortKey) -> Option<ZoneId> {
        self.ports.get(&(key.ifindex, key.vlan)).copied()
    }

    fn zone(&self, _slot: u8, zone: ZoneId) -> u32 {
        self.zones.get(&zone).copied().unwrap_or(0)
    }

    fn network(&self, _slot: u8, address: &Address) -> Option<ZoneId> {
        longest(&self.networks, address).copied()
    }

    fn protected(&self, _slot: u8, address: &Address) -> bool {
        self.protected.iter().any(|prefix| prefix.holds(address))
    }

    fn allowed(&self, address: &Address) -> Option<u64> {
        longest(&self.allows, address).copied()
    }

    fn ban(&self, address: &Address) -> Option<BanValue> {
        longest(&self.bans, address).copied()
    }

    fn listed(&self, _slot: u8, address: &Address) -> Option<ListValue> {
        longest(&self.listed, address).copied()
    }

    fn policy(&self, key: &PolicyKey) -> Option<PolicyValue> {
        let port = u16::from_be_bytes(key.port);
        self.policy
            .iter()
            .filter(|((from, to, protocol, first, bits), _)| {
                let mask = u16::MAX.checked_shl(u32::from(16 - bits.min(&16))).unwrap_or(0);
                (*from, *to, *protocol) == (key.from, key.to, key.protocol) && first & mask == port & mask
            })
            .max_by_key(|((.., bits), _)| *bits)
            .map(|(_, value)| *value)
    }

    fn flow(&self, key: &FlowKey) -> Option<MemoryFlow<'_>> {
        let value = *self.flows.borrow().get(key)?;
        Some(MemoryFlow { tables: self, key: *key, value })
    }

    fn remember(&self, key: &FlowKey, value: &FlowValue) {
        self.flows.borrow_mut().insert(*key, *value);
    }
}

/// An entry of [`MemoryTables::flows`].
#[derive(Debug)]
pub struct MemoryFlow<'a> {
    tables: &'a MemoryTables,
    key: FlowKey,
    value: FlowValue,
}

impl Flow for MemoryFlow<'_> {
    fn value(&self) -> FlowValue {
        self.value
    }

    fn touch(&self, touch: &Touch) {
        if let Some(value) = self.tables.flows.borrow_mut().get_mut(&self.key) {
            value.last_seen = touch.now;
            value.packets += 1;
            value.bytes += u64::from(touch.length);
            value.tcp_flags |= touch.tcp_flags;
            value.copied += touch.copied;
            if value.epoch != touch.epoch {
                value.epoch = touch.epoch;
                value.rule = touch.rule;
            }
        }
    }

    fn answer(&self, now: u64, copied: u32) {
        if let Some(value) = self.tables.flows.borrow_mut().get_mut(&self.key) {
            value.last_seen = now;
            value.flags |= FLOW_ANSWERED;
            value.copied_reply += copied;
        }
    }
}

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
                bytes.extend([0; 8]);
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
