//! Tables in memory and a builder of frames, for the host: `secctl explain`, tests, and the reference the kernel is
//! compared with. Slow and obvious on purpose; only the flow table is the kernel's own.

mod flows;
mod frames;

use abi::{
    Active, Address, BanValue, DIRECTION_IN, DIRECTION_OUT, FLOW_WAYS, Lost, MAX_SCANNERS, POLICY_CONTINUE,
    RULE_DEFAULT, RateKey, ResolvedValue, ZONE_NONE, ZoneId,
    image::{
        ADDRESS_IN_OBSERVED, ADDRESS_OUT_OBSERVED, ADDRESS_PROTECTED, ADDRESS_UPSTREAM, AddressClass,
        Coordinate, NOTHING, RateRow, RuleRow, ZoneRow,
    },
    mapped,
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::cell::RefCell;

pub use flows::{MemoryFlows, MemorySet};
pub use frames::{FrameBuilder, Payload};

use crate::{Frame, Input, Passed, Tables, Verdict, decide, fast, image::Question};

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

/// An entry of a list: on which list the prefix is, against what, and whether it only observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Place of the list in the file.
    pub list: u16,
    /// `DIRECTION_*` bits.
    pub directions: u8,
    /// Judge and count only.
    pub observe: bool,
}

/// One row of a policy in memory. The first that matches holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Zone the flow starts in.
    pub from: ZoneId,
    /// Zone it goes to.
    pub to: ZoneId,
    /// IP protocol; `None` = any.
    pub protocol: Option<u8>,
    /// Destination ports, first and last; for ICMP type * 256 + code.
    pub ports: [u16; 2],
    /// Class of the device; `None` = any.
    pub device: Option<u16>,
    /// Pattern of names that the destination must be answered for; `None` = any destination.
    pub pattern: Option<u16>,
    /// What it says.
    pub says: RuleRow,
}

impl PolicyRow {
    /// Everything between two zones.
    #[must_use]
    pub const fn everything(from: ZoneId, to: ZoneId, action: abi::Action, rule: u16) -> Self {
        let says = RuleRow { action: action as u8, flags: 0, rule, rate: NOTHING, logged: NOTHING };
        Self { from, to, protocol: None, ports: [0, u16::MAX], device: None, pattern: None, says }
    }

    /// One port of a protocol.
    #[must_use]
    pub const fn port(self, protocol: u8, port: u16) -> Self {
        Self { protocol: Some(protocol), ports: [port, port], ..self }
    }
}

/// One generation of every table, and the flows.
#[derive(Debug)]
pub struct MemoryTables {
    /// What selects. Its bits of what is empty are not looked at.
    pub active: Active,
    /// Zone by interface index and VLAN.
    pub ports: BTreeMap<(u32, u16), ZoneId>,
    /// What holds for a zone.
    pub zones: BTreeMap<ZoneId, ZoneRow>,
    /// Zone by network.
    pub networks: Vec<(Prefix, ZoneId)>,
    /// Protected networks.
    pub protected: Vec<Prefix>,
    /// DNS servers that the router asks.
    pub upstreams: Vec<Prefix>,
    /// Class by MAC address.
    pub devices: BTreeMap<[u8; 6], u16>,
    /// Rates by number.
    pub rates: Vec<RateRow>,
    /// Zones and protocols between which only the second wall can foresee flows.
    pub helped: BTreeSet<(ZoneId, ZoneId, u8)>,
    /// Timed allows: boot time in ns when they end.
    pub allows: Vec<(Prefix, u64)>,
    /// What the resolver answered to zones.
    pub resolved: BTreeMap<(ZoneId, Address), ResolvedValue>,
    /// Patterns of names that rules name, a bit each; as destinations they are class one more than their number.
    pub patterns: u64,
    /// Bans.
    pub bans: Vec<(Prefix, BanValue)>,
    /// List entries.
    pub listed: Vec<(Prefix, Listed)>,
    /// What the policy says.
    pub policy: Vec<PolicyRow>,
    /// The flow table.
    pub flows: MemoryFlows,
    /// Forgotten tuples.
    pub forgotten: RefCell<BTreeMap<u32, u32>>,
    /// Buckets of rates.
    pub buckets: RefCell<BTreeMap<RateKey, u64>>,
    /// Sources that are slowed down, by tag.
    pub held: RefCell<BTreeMap<u32, u32>>,
    /// Sources that were denied.
    pub scanners: MemoryFlows,
    /// Losses, by number.
    pub lost: RefCell<[u64; Lost::ALL.len()]>,
}

impl Default for MemoryTables {
    fn default() -> Self {
        let flows = MemoryFlows::new(64);
        Self {
            active: Active { flow_mask: flows.mask(), seed: [3, 5, 7, 11], ..Active::default() },
            ports: BTreeMap::new(),
            zones: BTreeMap::new(),
            networks: Vec::new(),
            protected: Vec::new(),
            upstreams: Vec::new(),
            devices: BTreeMap::new(),
            rates: Vec::new(),
            helped: BTreeSet::new(),
            allows: Vec::new(),
            resolved: BTreeMap::new(),
            patterns: 0,
            bans: Vec::new(),
            listed: Vec::new(),
            policy: Vec::new(),
            flows,
            forgotten: RefCell::default(),
            buckets: RefCell::default(),
            held: RefCell::default(),
            scanners: MemoryFlows::new(MAX_SCANNERS as usize / FLOW_WAYS),
            lost: RefCell::default(),
        }
    }
}

/// The value of the longest prefix that holds the address; of equal ones the last.
fn longest<'a, V>(table: &'a [(Prefix, V)], address: &Address) -> Option<&'a V> {
    table
        .iter()
        .filter(|(prefix, _)| prefix.holds(address))
        .max_by_key(|(prefix, _)| prefix.bits)
        .map(|(_, v)| v)
}

impl MemoryTables {
    /// The list of the longest prefix that holds the address in a direction.
    fn list(&self, address: &Address, direction: u8) -> Option<Listed> {
        longest(&self.listed, address).copied().filter(|listed| listed.directions & direction != 0)
    }
}

impl Tables for MemoryTables {
    type Set<'a> = MemorySet<'a>;

    fn active(&self) -> Active {
        Active { flags: abi::ACTIVE_BANS | abi::ACTIVE_RANGES | abi::ACTIVE_ALLOWS, ..self.active }
    }

    fn port(&self, _slot: u32, ifindex: u32, vlan: u16) -> ZoneId {
        self.ports.get(&(ifindex, vlan)).copied().unwrap_or(ZONE_NONE)
    }

    fn zone(&self, _slot: u32, zone: ZoneId) -> ZoneRow {
        self.zones.get(&zone).copied().unwrap_or_default()
    }

    fn address(&self, _slot: u32, address: &Address) -> AddressClass {
        let mut flags = 0;
        if self.protected.iter().any(|prefix| prefix.holds(address)) {
            flags |= ADDRESS_PROTECTED;
        }
        if self.upstreams.iter().any(|prefix| prefix.holds(address)) {
            flags |= ADDRESS_UPSTREAM;
        }
        let (listed_in, listed_out) = (self.list(address, DIRECTION_IN), self.list(address, DIRECTION_OUT));
        if listed_in.is_some_and(|listed| listed.observe) {
            flags |= ADDRESS_IN_OBSERVED;
        }
        if listed_out.is_some_and(|listed| listed.observe) {
            flags |= ADDRESS_OUT_OBSERVED;
        }
        AddressClass {
            zone: longest(&self.networks, address).copied().unwrap_or(ZONE_NONE),
            flags,
            listed_in: listed_in.map_or(NOTHING, |listed| listed.list),
            listed_out: listed_out.map_or(NOTHING, |listed| listed.list),
            source: Coordinate::default(),
            destination: Coordinate::default(),
        }
    }

    fn device(&self, _slot: u32, mac: &[u8; 6]) -> u16 {
        self.devices.get(mac).copied().unwrap_or(0)
    }

    fn classify(&self, _slot: u32, question: &Question) -> RuleRow {
        let mut logged = NOTHING;
        for row in &self.policy {
            let matches = (row.from, row.to) == (question.from, question.to)
                && row.protocol.is_none_or(|protocol| protocol == question.protocol)
                && row.device.is_none_or(|device| device == question.device)
                && row.pattern.is_none_or(|pattern| pattern + 1 == question.destination.class)
                && (row.ports[0]..=row.ports[1]).contains(&question.port);
            if !matches {
                continue;
            }
            if row.says.flags & POLICY_CONTINUE == 0 {
                return RuleRow { logged, ..row.says };
            }
            if logged == NOTHING {
                logged = row.says.rule;
            }
        }
        RuleRow { rule: RULE_DEFAULT, logged, ..RuleRow::NONE }
    }

    fn rate(&self, _slot: u32, number: u16) -> RateRow {
        self.rates.get(usize::from(number)).copied().unwrap_or_default()
    }

    fn helped(&self, _slot: u32, from: ZoneId, to: ZoneId, protocol: u8) -> bool {
        self.helped.contains(&(from, to, protocol))
    }

    fn ban(&self, _active: u32, address: &Address) -> Option<BanValue> {
        longest(&self.bans, address).copied()
    }

    fn allowed(&self, address: &Address) -> Option<u64> {
        longest(&self.allows, address).copied()
    }

    fn resolved(&self, _slot: u32, zone: ZoneId, address: &Address) -> Option<ResolvedValue> {
        self.resolved.get(&(zone, *address)).copied()
    }

    fn patterns(&self, _slot: u32) -> u64 {
        self.patterns
    }

    fn pattern(&self, _slot: u32, pattern: u32) -> Coordinate {
        Coordinate { class: pattern as u16 + 1, cell: 0 }
    }

    fn set(&self, index: u32) -> Option<MemorySet<'_>> {
        self.flows.set(index)
    }

    fn forgotten(&self, tag: u32) -> u32 {
        self.forgotten.borrow().get(&tag).copied().unwrap_or(0)
    }

    fn forget(&self, tag: u32, ticks: u32) {
        self.forgotten.borrow_mut().insert(tag, ticks);
    }

    fn bucket(&self, key: &RateKey) -> u64 {
        self.buckets.borrow().get(key).copied().unwrap_or(0)
    }

    fn fill(&self, key: &RateKey, due: u64) {
        self.buckets.borrow_mut().insert(*key, due);
    }

    fn held(&self, tag: u32) -> u32 {
        self.held.borrow().get(&tag).copied().unwrap_or(0)
    }

    fn hold(&self, tag: u32, until: u32) {
        self.held.borrow_mut().insert(tag, until);
    }

    fn scanners(&self, index: u32) -> Option<MemorySet<'_>> {
        self.scanners.set(index)
    }

    fn lost(&self, what: Lost) {
        if let Some(count) = self.lost.borrow_mut().get_mut(what as usize) {
            *count += 1;
        }
    }
}

/// Judges a frame as the kernel does: first the fast path, then all of it. What the fast path has passed is returned;
/// `verdict` then says what the rest would have said.
pub fn judge<T: Tables>(
    frame: &impl Frame,
    input: &Input,
    tables: &T,
    verdict: &mut Verdict,
) -> Option<Passed> {
    let Some(passed) = fast(frame, input, tables) else {
        decide(frame, input, tables, verdict);
        return None;
    };
    *verdict = Verdict::passed(frame, input, tables, &passed);
    Some(passed)
}
