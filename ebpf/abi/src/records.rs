//! Records of the ring buffers.

use crate::{Address, FlowKey, INSPECT_SNAP, ZoneId};

/// One packet's verdict, sampled by budget.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRecord {
    /// Boot time in ns.
    pub at: u64,
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Rule, list, decision or signature, by `reason`.
    pub rule: u32,
    /// Interface index.
    pub ifindex: u32,
    /// Bytes on the wire.
    pub length: u16,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// Source port, big-endian.
    pub source_port: [u8; 2],
    /// Destination port, big-endian.
    pub destination_port: [u8; 2],
    /// IP protocol; 0 = not IP.
    pub protocol: u8,
    /// [`crate::Action`] as number: what the policy says.
    pub action: u8,
    /// [`crate::Reason`] as number.
    pub reason: u8,
    /// 1: observed only, the packet went on.
    pub observed: u8,
    /// Zone the packet came from.
    pub zone_from: ZoneId,
    /// Zone it goes to.
    pub zone_to: ZoneId,
    /// Zero.
    pub reserved: [u8; 2],
}

/// A copy of the first bytes of a frame that belongs to a flow under inspection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct InspectRecord {
    /// Boot time in ns.
    pub at: u64,
    /// The tuple under which the packet was judged; the verdict goes back under it.
    pub flow: FlowKey,
    /// Bytes on the wire.
    pub length: u16,
    /// Bytes of `frame` that are filled.
    pub captured: u16,
    /// 1: the packet answers a flow that started at the other end.
    pub reply: u8,
    /// Zone in which the flow started.
    pub zone_from: ZoneId,
    /// Zone to which it goes.
    pub zone_to: ZoneId,
    /// Zero.
    pub reserved: u8,
    /// The frame from its Ethernet header on.
    pub frame: [u8; INSPECT_SNAP],
}

const _: () = {
    assert!(size_of::<PacketRecord>() == 64);
    assert!(size_of::<InspectRecord>() == 56 + INSPECT_SNAP);
};
