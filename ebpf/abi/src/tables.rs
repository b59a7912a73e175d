//! Keys and values of the maps beside the image and the flow table.

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

/// What is read first: which image holds, and under which epoch flows are judged. Value of `ACTIVE`.
///
/// Generation and epoch are one aligned word, so they are read and written together.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// 0: no plan yet. The lowest bit is the slot of the image; see [`ACTIVE_TRIAL`].
    pub generation: u32,
    /// Flows judged under another epoch are judged again.
    pub epoch: u32,
    /// Other `ACTIVE_*` bits.
    pub flags: u32,
    /// Sets of `FLOWS` less one: a power of two less one.
    pub flow_mask: u32,
    /// Boot time in ns when a plan on trial ends.
    pub deadline: u64,
    /// Boot time in ns when an interface was attached last: what was said before is not known here.
    pub attached: u64,
    /// Random bytes, filled once before the first attach: the secret of the flow table.
    pub seed: [u64; 4],
}
/// In `generation`: the plan is on trial. From `deadline` on the other slot holds again, whoever is alive.
pub const ACTIVE_TRIAL: u32 = 1 << 31;
/// `BANS` is not empty.
pub const ACTIVE_BANS: u32 = 1;
/// `BANNED_RANGES` is not empty.
pub const ACTIVE_RANGES: u32 = 2;
/// `ALLOWS` is not empty.
pub const ACTIVE_ALLOWS: u32 = 4;
/// Added to the epoch when a trial has ended: what was judged on trial is judged again.
const FALLEN_BACK: u32 = 1 << 31;

impl Active {
    /// The generation is one on trial: [`Self::standing`] needs the time.
    #[inline(always)]
    #[must_use]
    pub const fn is_trial(&self) -> bool {
        self.generation & ACTIVE_TRIAL != 0
    }

    /// The slot of the image and the epoch that hold at this boot time in ns.
    #[inline(always)]
    #[must_use]
    pub const fn standing(&self, now: u64) -> (u32, u32) {
        let slot = self.generation & 1;
        if self.is_trial() && now >= self.deadline {
            (slot ^ 1, self.epoch ^ FALLEN_BACK)
        } else {
            (slot, self.epoch)
        }
    }
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
/// What the zone itself denies (isolation, quarantine) is answered.
pub const ZONE_REJECT: u32 = 1024;
/// Flows go out only to addresses that the resolver answered the zone (`RESOLVED`).
pub const ZONE_RESOLVED: u32 = 2048;
/// With [`ZONE_RESOLVED`]: it is judged, counted and told, and nothing is dropped for it.
pub const ZONE_LEARN: u32 = 4096;
/// Questions to resolvers outside are dropped, plain or encrypted.
pub const ZONE_DNS_DROP: u32 = 8192;
/// Plain questions to resolvers outside are led to the router's own, by the second wall: no rule is asked.
pub const ZONE_DNS_REDIRECT: u32 = 16_384;
/// Rules over flows that start here name domains.
pub const ZONE_NAMES: u32 = 32_768;

/// Every new flow makes an event.
pub const POLICY_LOG: u8 = 1;
/// Judge and count only.
pub const POLICY_OBSERVE: u8 = 2;
/// The rule only logs; the search goes on with the next.
pub const POLICY_CONTINUE: u8 = 4;
/// New flows pass at the rule's rate, more are dropped.
pub const POLICY_LIMIT: u8 = 8;
/// The rule names where the flow goes by its address: the resolver need not have answered it.
pub const POLICY_ADDRESSED: u8 = 16;
/// No rule matched: the zone's default.
pub const RULE_DEFAULT: u16 = u16::MAX;

/// A ban stops what the address starts.
pub const DIRECTION_IN: u8 = 1;
/// A ban stops what is started towards the address.
pub const DIRECTION_OUT: u8 = 2;

/// Key of `BANS`: whole addresses (128 bits, IPv4 v4-mapped) and IPv6 networks of 64 bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BanKey {
    /// The address; of a network the bits after the 64th are zero.
    pub address: Address,
    /// 128 or 64.
    pub bits: u32,
}

/// Value of `BANS`, and of `BANNED_RANGES` (key data: [`Address`]) where the other prefix lengths are. Userspace folds
/// covering bans in, so the longest prefix says it all.
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
    /// Significant bits of the prefix, 0–128.
    pub bits: u8,
    /// Zero.
    pub reserved: u8,
}

/// Key of `RATES`: who starts, and which rate meters it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RateKey {
    /// The source; of IPv6 the network of 64 bits.
    pub address: Address,
    /// Number of the rate in the image.
    pub rate: u32,
}

/// Value of `RATES`: a bucket (GCRA, ITU-T I.371).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateState {
    /// Boot time in ns at which the bucket is full again (the theoretical arrival time).
    pub due: u64,
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
    /// Sources that could not be metered.
    Meter = 4,
}

impl Lost {
    /// Every kind, by number.
    pub const ALL: [Self; 5] =
        [Self::EventBudget, Self::EventRing, Self::InspectRing, Self::Flow, Self::Meter];

    /// The word in metrics and events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EventBudget => "event_budget",
            Self::EventRing => "event_ring",
            Self::InspectRing => "inspect_ring",
            Self::Flow => "flow",
            Self::Meter => "meter",
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

/// A verdict or flow that no rule, list or decision stands behind.
pub const RULE_NONE: u32 = u32::MAX;

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "repr(C) integers without padding; the sizes are asserted below")]
mod pod {
    use super::*;
    // SAFETY: all are repr(C), made of integers only, without padding (asserted below) and valid for any bytes.
    unsafe impl aya::Pod for Active {}
    unsafe impl aya::Pod for BanKey {}
    unsafe impl aya::Pod for BanValue {}
    unsafe impl aya::Pod for AllowValue {}
    unsafe impl aya::Pod for RateKey {}
    unsafe impl aya::Pod for RateState {}
    unsafe impl aya::Pod for Counter {}
    unsafe impl aya::Pod for crate::FlowSet {}
}

const _: () = {
    assert!(size_of::<Active>() == 64);
    assert!(size_of::<BanKey>() == 20);
    assert!(size_of::<BanValue>() == 16);
    assert!(size_of::<AllowValue>() == 16);
    assert!(size_of::<RateKey>() == 20);
    assert!(size_of::<Counter>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_falls_back_at_its_deadline_and_only_then() {
        let active = Active { generation: 5, epoch: 9, deadline: 100, ..Active::default() };
        assert_eq!(active.standing(u64::MAX), (1, 9));
        let trial = Active { generation: 5 | ACTIVE_TRIAL, ..active };
        assert_eq!(trial.standing(99), (1, 9));
        assert_eq!(trial.standing(100), (0, 9 | 1 << 31));
    }
}
