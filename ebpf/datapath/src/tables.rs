//! The seam between the decision and the memory it reads: maps in the kernel, vectors on the host.

use abi::{
    Active, Address, BanValue, Lost, RateKey, ScanState, ZoneId,
    image::{AddressClass, RateRow, RuleRow, ZoneRow},
};

use crate::{flow::Places, image::Question};

/// The lookups a decision may make. `slot` selects the image.
pub trait Tables {
    /// A set of places of the flow table.
    type Set<'a>: Places
    where
        Self: 'a;
    /// What selects everything else.
    fn active(&self) -> Active;
    /// The zone of an interface and VLAN; [`abi::ZONE_NONE`] where there is none.
    fn port(&self, slot: u32, ifindex: u32, vlan: u16) -> ZoneId;
    /// What holds for a zone. [`abi::ZONE_OBSERVE`] of [`abi::ZONE_NONE`] is the whole appliance's.
    fn zone(&self, slot: u32, zone: ZoneId) -> ZoneRow;
    /// What is known of an address.
    fn address(&self, slot: u32, address: &Address) -> AddressClass;
    /// Class of a device; 0 = in no group.
    fn device(&self, slot: u32, mac: &[u8; 6]) -> u16;
    /// What the policy says to a new flow.
    fn classify(&self, slot: u32, question: &Question) -> RuleRow;
    /// A rate by its number.
    fn rate(&self, slot: u32, number: u16) -> RateRow;
    /// The ban of the longest prefix that holds the address. `active`: `ACTIVE_*` bits, which say what is empty.
    fn ban(&self, active: u32, address: &Address) -> Option<BanValue>;
    /// Until when (boot time in ns) no ban or list holds against the address, by decision.
    fn allowed(&self, address: &Address) -> Option<u64>;
    /// A set of the flow table.
    fn set(&self, index: u32) -> Option<Self::Set<'_>>;
    /// When (ticks) a tuple of this tag was forgotten; 0 = never.
    fn forgotten(&self, tag: u32) -> u32;
    /// A tuple of this tag is forgotten.
    fn forget(&self, tag: u32, ticks: u32);
    /// Boot time in ns at which a bucket is full again; 0 = it is.
    fn bucket(&self, key: &RateKey) -> u64;
    /// Sets a bucket.
    fn fill(&self, key: &RateKey, due: u64);
    /// What was noted of a source that was denied. `false`: nothing; `into` stays.
    fn scan(&self, source: &Address, into: &mut ScanState) -> bool;
    /// Notes it.
    fn note_scan(&self, source: &Address, state: &ScanState);
    /// Counts a loss.
    fn lost(&self, what: Lost);
}
