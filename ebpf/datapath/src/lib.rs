//! What happens to a frame, and why. The same source runs in the kernel, behind `secctl explain` and under tests.
//!
//! The invariant: this drops early only what the second wall (nftables) would drop too, plus lists, bans, spoofing
//! and cut flows. What it has no state for and what does not open a flow goes on to nftables, whose conntrack is the
//! truth. So a gap here costs speed, never a connection.
//!
//! The order of [`decide`]: link layer → zone → network and transport headers → flow table → essentials of the link →
//! spoofing → bans and lists (not against protected addresses) → does it open a flow? → policy → remember.
//!
//! **Which tag names the zone**: the only one whose id is not 0 (802.1Q §6.9: 0 is a priority, not a VLAN). Two tags
//! with an id (QinQ) belong to no zone: [`Reason::WrongVlan`].
#![no_std]

#[cfg(feature = "host")]
extern crate alloc;

mod egress;
mod flow;
#[cfg(feature = "host")]
pub mod host;
pub mod image;
mod ingress;
mod parse;
mod verdict;

#[cfg(doc)]
use abi::Reason;
use abi::{
    Active, Address, BanValue, FlowKey, FlowValue, ListValue, PolicyKey, PolicyValue, PortKey, ZoneId,
};

pub use egress::{Egress, teach};
pub use flow::idle_after;
pub use ingress::decide;
pub use verdict::Verdict;

/// Bounds-checked reads from a frame.
pub trait Frame {
    /// The `N` bytes at `at`, if the frame has them.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;
}

impl Frame for &[u8] {
    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..at.checked_add(N)?)?.try_into().ok()
    }
}

/// What is known of a frame beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id that the device took out of the frame; 0 = none.
    pub vlan: u16,
    /// Boot time in ns.
    pub now: u64,
    /// Bytes of the frame, its Ethernet header included.
    pub length: u32,
}

/// One packet's mark on its flow entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touch {
    /// Boot time in ns.
    pub now: u64,
    /// Bytes of the frame.
    pub length: u32,
    /// The epoch under which the flow was judged last.
    pub epoch: u32,
    /// TCP flags of the packet, 0 for others.
    pub tcp_flags: u8,
    /// What stands behind the verdict; see [`FlowValue::rule`].
    pub rule: u32,
    /// Bytes copied for inspection.
    pub copied: u32,
}

/// A flow entry in its table.
pub trait Flow {
    /// What it holds.
    fn value(&self) -> FlowValue;
    /// A packet of this way was passed (or held back by a cut that stays).
    fn touch(&self, touch: &Touch);
    /// A packet of the other way was seen; `copied` bytes of it are for inspection.
    fn answer(&self, now: u64, copied: u32);
}

/// The lookups a decision may make. `slot` selects the generation.
pub trait Tables {
    /// A handle on a flow entry.
    type Flow<'a>: Flow
    where
        Self: 'a;
    /// The word that selects everything else; read once a packet.
    fn active(&self) -> Active;
    /// The zone of an interface and VLAN.
    fn port(&self, key: &PortKey) -> Option<ZoneId>;
    /// `ZONE_*` bits of a zone.
    fn zone(&self, slot: u8, zone: ZoneId) -> u32;
    /// The zone an address belongs to, longest prefix first.
    fn network(&self, slot: u8, address: &Address) -> Option<ZoneId>;
    /// No ban or list holds against the address, by plan.
    fn protected(&self, slot: u8, address: &Address) -> bool;
    /// Until when (boot time in ns) no ban or list holds against the address, by decision.
    fn allowed(&self, address: &Address) -> Option<u64>;
    /// The ban of the longest prefix that holds the address.
    fn ban(&self, address: &Address) -> Option<BanValue>;
    /// The list entry of the longest prefix that holds the address.
    fn listed(&self, slot: u8, address: &Address) -> Option<ListValue>;
    /// What the policy says to a new flow.
    fn policy(&self, key: &PolicyKey) -> Option<PolicyValue>;
    /// The entry of a tuple.
    fn flow(&self, key: &FlowKey) -> Option<Self::Flow<'_>>;
    /// Enters a tuple; when the table is full an old one goes.
    fn remember(&self, key: &FlowKey, value: &FlowValue);
}
