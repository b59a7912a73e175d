//! Keys and values of the maps.
//!
//! Tables that come from the plan exist twice, selected by `generation & 1` of [`Active`], which is read once a
//! packet; the slot is the first byte of their keys, so one longest-prefix table holds both generations.

use crate::{Address, MAX_ZONES};

/// A zone's number. [`ZONE_NONE`], [`ZONE_SELF`] and [`ZONE_MULTICAST`] are reserved, configured zones follow.
pub type ZoneId = u8;
/// No zone.
pub const ZONE_NONE: ZoneId = 0;
/// The router itself.
pub const ZONE_SELF: ZoneId = 1;
/// Multicast and broadcast destinations.
pub const ZONE_MULTICAST: ZoneId = 2;
/// The first configured zone.
pub const ZONE_FIRST: ZoneId = 3;

/// The one word of state that is read first: which generation holds, and under which epoch flows are judged.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// 0: no plan yet. The lowest bit is the slot of every planned table.
    pub generation: u32,
    /// Flows judged under another epoch are judged again.
    pub epoch: u32,
    /// [`ACTIVE_OBSERVE`].
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
/// Judge and count, drop nothing.
pub const ACTIVE_OBSERVE: u32 = 1;

/// Where a frame came in. Key of `PORTS`; the value is a [`ZoneId`] as `u8`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id; 0 = untagged.
    pub vlan: u16,
    /// Slot of the generation.
    pub slot: u8,
    /// Zero.
    pub reserved: u8,
}

/// What holds for a whole zone. Value of `ZONES`, index `slot * MAX_ZONES + zone`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneFlags {
    /// `ZONE_*` bits.
    pub flags: u32,
}
/// The zone is the outside: sources of any address are plausible but those of the inner zones.
pub const ZONE_IS_WAN: u32 = 1;
/// Sources must belong to the zone's networks.
pub const ZONE_ANTI_SPOOF: u32 = 2;
/// The zone judges and drops nothing.
pub const ZONE_OBSERVE: u32 = 4;
/// First bytes of flows that start here, and their replies, are copied for inspection.
pub const ZONE_INSPECT: u32 = 8;
/// Hosts of the zone may not reach each other through the router.
pub const ZONE_ISOLATE: u32 = 16;
/// TCP of which only one way is seen passes here.
pub const ZONE_LOOSE: u32 = 32;
/// What opens no flow and belongs to none is dropped here, not left to the second wall.
pub const ZONE_STRICT: u32 = 64;
/// Sources that cannot exist in the Internet are refused (the outside only).
pub const ZONE_BOGONS: u32 = 128;
/// Devices that are in no device group reach only the router, until someone lets them in.
pub const ZONE_QUARANTINE: u32 = 256;
/// Sources that try many ports or hosts are told of and slowed down.
pub const ZONE_SCAN: u32 = 512;

/// Key data of the planned address tables (`NETWORKS`, `PROTECTED`, `LISTED`): prefix length 8 + bits of the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotAddress {
    /// Slot of the generation.
    pub slot: u8,
    /// The address.
    pub address: Address,
}

/// Key data of `POLICY`: prefix length 32 + bits of the port. Rules are lowered to disjoint port prefixes in which
/// the first match has already won.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// Slot of the generation.
    pub slot: u8,
    /// Zone the flow starts in.
    pub from: ZoneId,
    /// Zone the flow goes to.
    pub to: ZoneId,
    /// IP protocol (6, 17, 1, 58).
    pub protocol: u8,
    /// Destination port; for ICMP type and code.
    pub port: [u8; 2],
}

/// Value of `POLICY`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyValue {
    /// [`crate::Action`] as number.
    pub action: u8,
    /// `POLICY_*` bits.
    pub flags: u8,
    /// Place of the rule in the file; [`RULE_DEFAULT`] where none matched.
    pub rule: u16,
}
/// Every new flow makes an event.
pub const POLICY_LOG: u8 = 1;
/// Judge and count only.
pub const POLICY_OBSERVE: u8 = 2;
/// The rule only logs; the search goes on with the next.
pub const POLICY_CONTINUE: u8 = 4;
/// New flows pass at the rule's rate, more are dropped.
pub const POLICY_LIMIT: u8 = 8;
/// No rule matched: the zone's default.
pub const RULE_DEFAULT: u16 = u16::MAX;

/// A ban stops what the address starts.
pub const DIRECTION_IN: u8 = 1;
/// A ban stops what is started towards the address.
pub const DIRECTION_OUT: u8 = 2;

/// Value of `BANS` (key data: [`Address`]). Userspace folds covering bans in, so the longest prefix says it all.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BanValue {
    /// Boot time in ns when it ends; `u64::MAX` = never.
    pub until: u64,
    /// Low bits of the decision's id.
    pub decision: u32,
    /// `DIRECTION_*` bits.
    pub directions: u8,
    /// 1: judge and count only.
    pub observe: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Value of `ALLOWS` (key data: [`Address`]): for a time no ban or list holds against the address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowValue {
    /// Boot time in ns when it ends; `u64::MAX` = never.
    pub until: u64,
    /// Low bits of the decision's id.
    pub decision: u32,
    /// Zero.
    pub reserved: u32,
}

/// Packets and bytes. Value of `PACKETS` (index by [`packet_index`]), `RULES` (`slot * MAX_RULES + rule`) and
/// `LISTS` (`slot * MAX_LISTS + list`), each one per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, L2 header included.
    pub bytes: u64,
}

/// Entries of `PACKETS`.
pub const PACKET_COUNTERS: u32 = MAX_ZONES * crate::REASONS * crate::ACTIONS;

/// Place of a counter in `PACKETS`.
#[inline(always)]
#[must_use]
pub const fn packet_index(zone: ZoneId, reason: crate::Reason, action: crate::Action) -> u32 {
    (zone as u32 * crate::REASONS + reason as u32) * crate::ACTIONS + action as u32
}

/// What was lost. Index of `LOST`, one count per CPU.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// Packet records over the budget of the second.
    EventBudget = 0,
    /// Packet records that found the ring full.
    EventRing = 1,
    /// Copies for inspection that found the ring full.
    InspectRing = 2,
    /// Flow entries that could not be made.
    Flow = 3,
}

impl Lost {
    /// Every kind, by number.
    pub const ALL: [Self; 4] = [Self::EventBudget, Self::EventRing, Self::InspectRing, Self::Flow];

    /// The word in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventBudget => "event_budget",
            Self::EventRing => "event_ring",
            Self::InspectRing => "inspect_ring",
            Self::Flow => "flow",
        }
    }
}

/// Packet records sent in one second. Value of `BUDGET`, one per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// The second of boot time.
    pub second: u64,
    /// Records sent in it.
    pub used: u64,
}

/// Value of `LISTED` (key data: [`SlotAddress`]). Userspace folds covering entries in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListValue {
    /// Place of the list in the file.
    pub list: u16,
    /// `DIRECTION_*` bits.
    pub directions: u8,
    /// 1: judge and count only.
    pub observe: u8,
}

/// A tuple as it comes in at one zone. Key of `FLOWS`; every flow has one for each way.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port; for ICMP echo the identifier.
    pub source_port: [u8; 2],
    /// Destination port; for ICMP echo the identifier.
    pub destination_port: [u8; 2],
    /// IP protocol.
    pub protocol: u8,
    /// Zone in which packets of this tuple arrive.
    pub zone: ZoneId,
    /// Zero.
    pub reserved: [u8; 2],
}

/// Value of `FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowValue {
    /// Boot time in ns of the first packet.
    pub first_seen: u64,
    /// Boot time in ns of the last packet.
    pub last_seen: u64,
    /// Packets of this way.
    pub packets: u64,
    /// Bytes of this way, L2 header included.
    pub bytes: u64,
    /// Epoch under which it was judged.
    pub epoch: u32,
    /// Rule, list, decision or signature, by `reason`.
    pub rule: u32,
    /// Bytes copied for inspection.
    pub copied: u32,
    /// [`crate::Action`] as number.
    pub action: u8,
    /// [`crate::Reason`] as number.
    pub reason: u8,
    /// `FLOW_*` bits.
    pub flags: u8,
    /// TCP flags seen this way.
    pub tcp_flags: u8,
    /// Zone in which the flow started.
    pub zone_from: ZoneId,
    /// Zone to which it goes.
    pub zone_to: ZoneId,
    /// Zero.
    pub reserved: [u8; 2],
    /// Bytes of the answers that were copied for inspection.
    pub copied_reply: u32,
}
/// `FlowValue::rule` and verdicts that no rule, list or decision stands behind.
pub const RULE_NONE: u32 = u32::MAX;
/// Packets of this tuple answer a flow that started at the other end.
pub const FLOW_REPLY: u8 = 1;
/// Entered by the egress program: with [`FLOW_REPLY`] we started it (own connections, translated flows); without,
/// it was seen in its middle and either end may have.
pub const FLOW_TAUGHT: u8 = 2;
/// Inspection is over: nothing more is copied.
pub const FLOW_BYPASS: u8 = 4;
/// A packet of the other way was seen.
pub const FLOW_ANSWERED: u8 = 8;

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "repr(C) integers without padding; the sizes are asserted below")]
mod pod {
    use super::*;
    // SAFETY: all are repr(C), made of integers only, without padding (asserted below) and valid for any bytes.
    unsafe impl aya::Pod for Active {}
    unsafe impl aya::Pod for PortKey {}
    unsafe impl aya::Pod for ZoneFlags {}
    unsafe impl aya::Pod for SlotAddress {}
    unsafe impl aya::Pod for PolicyKey {}
    unsafe impl aya::Pod for PolicyValue {}
    unsafe impl aya::Pod for BanValue {}
    unsafe impl aya::Pod for ListValue {}
    unsafe impl aya::Pod for AllowValue {}
    unsafe impl aya::Pod for Counter {}
    unsafe impl aya::Pod for FlowKey {}
    unsafe impl aya::Pod for FlowValue {}
}

const _: () = {
    assert!(size_of::<Active>() == 16);
    assert!(size_of::<PortKey>() == 8);
    assert!(size_of::<SlotAddress>() == 17);
    assert!(size_of::<PolicyKey>() == 6);
    assert!(size_of::<PolicyValue>() == 4);
    assert!(size_of::<BanValue>() == 16);
    assert!(size_of::<ListValue>() == 4);
    assert!(size_of::<AllowValue>() == 16);
    assert!(size_of::<Counter>() == 16);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowValue>() == 56);
};
