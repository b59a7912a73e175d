//! The seam between the decision and the memory it reads: maps in the kernel, vectors on the host.

use abi::{
    Active, Address, BanValue, DIRECTION_IN, DIRECTION_OUT, Lost, RateKey, ResolvedValue, ZoneId,
    image::{AddressClass, Coordinate, RateRow, RuleRow, ZoneRow},
};

use crate::{
    Verdict,
    against::{self, Side},
    flow::{self, Places},
    image::Question,
    ingress, opening, resolved,
};

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
    /// The same where that is quicker; may know none where `port` knows one.
    #[inline(always)]
    fn near_port(&self, slot: u32, ifindex: u32, vlan: u16) -> ZoneId {
        self.port(slot, ifindex, vlan)
    }
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
    /// Whether only the second wall can say if such a flow belongs to another (FTP's data, SIP's speech).
    fn helped(&self, slot: u32, from: ZoneId, to: ZoneId, protocol: u8) -> bool;
    /// The ban of the longest prefix that holds the address. `active`: `ACTIVE_*` bits, which say what is empty.
    fn ban(&self, active: u32, address: &Address) -> Option<BanValue>;
    /// Until when (boot time in ns) no ban or list holds against the address, by decision.
    fn allowed(&self, address: &Address) -> Option<u64>;
    /// What the resolver answered a zone of an address.
    fn resolved(&self, slot: u32, zone: ZoneId, address: &Address) -> Option<ResolvedValue>;
    /// Patterns of names that rules name, a bit each.
    fn patterns(&self, slot: u32) -> u64;
    /// The place of a pattern among the destinations of the classifier.
    fn pattern(&self, slot: u32, pattern: u32) -> Coordinate;
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
    /// Until when (ticks) sources of this tag may be slowed down; 0 = none is.
    fn held(&self, tag: u32) -> u32;
    /// A source of this tag is slowed down until then.
    fn hold(&self, tag: u32, until: u32);
    /// A set of the table of sources that were denied, below [`abi::MAX_SCANNERS`] / [`abi::FLOW_WAYS`].
    fn scanners(&self, index: u32) -> Option<Self::Set<'_>>;
    /// Counts a loss.
    fn lost(&self, what: Lost);
    /// Takes a step of a decision, and says whether that ends the matter. The kernel gives each a function of its own,
    /// which the verifier judges once and not on every path that leads to it; everyone else just takes it.
    #[inline(always)]
    fn step(&self, step: Step, verdict: &mut Verdict) -> bool
    where
        Self: Sized,
    {
        step.take(self, verdict)
    }
}

/// A step of a decision over a packet whose headers are read.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of them.
    Judge,
    /// Looks in the flow table.
    Known,
    /// Judges a known flow again.
    Review,
    /// Looks up what is known of the source, and what is against it.
    Source,
    /// Looks up what is known of the destination, and what is against it.
    Destination,
    /// Looks up what is known of the source.
    LookUpSource,
    /// Looks up what is known of the destination.
    LookUpDestination,
    /// A ban or list against what the source starts.
    SourceStarts,
    /// A ban or list against what is started towards the source.
    SourceIsTarget,
    /// A ban or list against what the destination starts.
    DestinationStarts,
    /// A ban or list against what is started towards the destination.
    DestinationIsTarget,
    /// A new flow of a source that scans.
    Held,
    /// A new flow: zone and policy.
    Open,
    /// A new flow: whether the zone's DNS answered where it goes.
    Unresolved,
    /// A packet that opens no flow, in a zone whose flows depend on DNS.
    KeptIn,
    /// A new flow that is metered: rates.
    Metered,
    /// A new flow that may not be, and may be an old one.
    Forgotten,
    /// Whether the flow table had no room for the tuple lately.
    WasForgotten,
    /// A new flow that may not be, where scans are looked for.
    Scanned,
    /// Whether the flow that an ICMP error is about is cut.
    About,
    /// A known flow goes on under the epoch of now.
    Renew,
    /// A TCP packet without a flow, in a loose zone.
    Loosen,
    /// Enters the tuple of the packet into the flow table.
    EnterPacket,
    /// A new flow passes: enters its tuple and that of its answers.
    Enter,
}

impl Step {
    /// Takes it.
    #[inline(always)]
    pub fn take<T: Tables>(self, tables: &T, verdict: &mut Verdict) -> bool {
        match self {
            Self::Judge => {
                ingress::judge(tables, verdict);
                true
            }
            Self::Known => ingress::known(tables, verdict),
            Self::Review => ingress::review(tables, verdict),
            Self::Source => against::source(tables, verdict),
            Self::Destination => against::destination(tables, verdict),
            Self::LookUpSource => {
                against::look_up(tables, verdict, Side::Source);
                false
            }
            Self::LookUpDestination => {
                against::look_up(tables, verdict, Side::Destination);
                false
            }
            Self::SourceStarts => against::unwanted(tables, verdict, Side::Source, DIRECTION_IN),
            Self::SourceIsTarget => against::unwanted(tables, verdict, Side::Source, DIRECTION_OUT),
            Self::DestinationStarts => against::unwanted(tables, verdict, Side::Destination, DIRECTION_IN),
            Self::DestinationIsTarget => against::unwanted(tables, verdict, Side::Destination, DIRECTION_OUT),
            Self::Held => opening::held(tables, verdict),
            Self::Open => opening::open(tables, verdict),
            Self::KeptIn => resolved::is_kept_in(tables, verdict),
            Self::Unresolved => resolved::is_unresolved(tables, verdict),
            Self::Metered => opening::metered(tables, verdict),
            Self::Forgotten => opening::forgotten(tables, verdict),
            Self::WasForgotten => flow::is_forgotten(tables, &verdict.flow, verdict.work.setting.ticks),
            Self::Scanned => {
                opening::scanned(tables, verdict);
                true
            }
            Self::About => ingress::about(tables, verdict),
            Self::Renew => {
                ingress::renew(tables, verdict);
                true
            }
            Self::Loosen => {
                opening::loosen(tables, verdict);
                true
            }
            Self::EnterPacket => {
                opening::enter_packet(tables, verdict);
                true
            }
            Self::Enter => {
                opening::enter(tables, verdict);
                true
            }
        }
    }
}
