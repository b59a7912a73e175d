//! The kernel's tables in memory, made from a plan: what `explain` and tests run `datapath::decide` over. What comes
//! from the plan is the very image that the kernel gets, read by the very walkers; the rest is small and obvious.

use abi::{
    ACTIVE_ALLOWS, ACTIVE_BANS, ACTIVE_RANGES, Active, Address, BanValue, DEFAULT_FLOWS, FLOW_WAYS, Lost,
    MAX_SCANNERS, RateKey, ResolvedValue, ZoneId,
    image::{AddressClass, Coordinate, PortRow, RateRow, RuleRow, ZoneRow},
    mapped,
};
use datapath::{
    Tables,
    host::{MemoryFlows, MemorySet},
    image::{self as walk, Question},
};
use ipnet::IpNet;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    Plan,
    image::{Image, ImageError, compile},
};

/// Secret of the flow table where nobody attacks it.
const SEED: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0x2545_f491_4f6c_dd1d];

/// The tables of one plan, with bans, allows and flows beside it. Interfaces are numbered from 1 in the order in which
/// their names stand in `Plan::ports`.
#[derive(Clone, Debug)]
pub struct HostTables {
    plan: Arc<Plan>,
    image: Image,
    /// What selects; of its flags nothing is looked at.
    pub active: Active,
    /// Bans by prefix, covering bans folded in.
    pub bans: BTreeMap<IpNet, BanValue>,
    /// Timed allows by prefix: until when, boot time in ns.
    pub allows: BTreeMap<IpNet, u64>,
    /// What the resolver answered to zones.
    pub resolved: BTreeMap<(ZoneId, Address), ResolvedValue>,
    /// Flows.
    pub flows: MemoryFlows,
    forgotten: RefCell<HashMap<u32, u32>>,
    buckets: RefCell<HashMap<RateKey, u64>>,
    held: RefCell<HashMap<u32, u32>>,
    scanners: MemoryFlows,
    lost: RefCell<[u64; Lost::ALL.len()]>,
}

impl HostTables {
    /// Tables of the first generation and epoch, with a flow table of a thousand entries.
    ///
    /// # Errors
    /// The plan does not fit.
    pub fn new(plan: Arc<Plan>) -> Result<Self, ImageError> {
        Self::with_flows(plan, 1024)
    }

    /// The same with a flow table of so many entries, rounded up to a power of two; the kernel has [`DEFAULT_FLOWS`].
    ///
    /// # Errors
    /// The plan does not fit.
    pub fn with_flows(plan: Arc<Plan>, flows: u32) -> Result<Self, ImageError> {
        let ports: Vec<PortRow> = plan
            .ports
            .iter()
            .filter_map(|port| {
                let ifindex = interface_number(&plan, &port.interface)?;
                Some(PortRow { ifindex, vlan: port.vlan, zone: port.zone })
            })
            .collect();
        let image = compile(&plan, &ports)?;
        let flows = MemoryFlows::new((flows.min(DEFAULT_FLOWS) as usize).div_ceil(FLOW_WAYS));
        Ok(Self {
            active: Active {
                generation: 1,
                epoch: 1,
                flow_mask: flows.mask(),
                seed: SEED,
                // Long ago: no flow is older than the tables.
                attached: 1 << 63,
                ..Active::default()
            },
            image,
            bans: BTreeMap::new(),
            allows: BTreeMap::new(),
            resolved: BTreeMap::new(),
            flows,
            forgotten: RefCell::default(),
            buckets: RefCell::default(),
            held: RefCell::default(),
            scanners: MemoryFlows::new(MAX_SCANNERS as usize / FLOW_WAYS),
            lost: RefCell::default(),
            plan,
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan as the kernel gets it.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The number of an interface in these tables; none if the plan does not name it.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<u32> {
        interface_number(&self.plan, name)
    }

    /// Lets known flows be judged again, as a change of policy, lists or bans does.
    pub fn next_epoch(&mut self) {
        self.active.epoch = self.active.epoch.wrapping_add(1);
    }

    /// The zone of an address: the longest prefix of the plan's networks.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> Option<(IpNet, ZoneId)> {
        longest(&self.plan.networks, address).map(|(net, zone)| (net, *zone))
    }

    /// How often something was lost.
    #[must_use]
    pub fn count_of(&self, what: Lost) -> u64 {
        self.lost.borrow().get(what as usize).copied().unwrap_or(0)
    }
}

fn interface_number(plan: &Plan, name: &str) -> Option<u32> {
    let mut names: Vec<&str> = plan.ports.iter().map(|port| port.interface.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, number)| number)
}

/// An address as the kernel's tables hold it.
#[must_use]
pub fn to_kernel(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An address as people write it.
#[must_use]
pub fn from_kernel(address: &Address) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(*address)).to_canonical()
}

/// The entry of the longest prefix that holds the address.
fn longest<V>(table: &BTreeMap<IpNet, V>, address: IpAddr) -> Option<(IpNet, &V)> {
    let most = if address.is_ipv4() { 32 } else { 128 };
    (0..=most).rev().find_map(|bits| {
        let net = IpNet::new(address, bits).ok()?.trunc();
        table.get(&net).map(|value| (net, value))
    })
}

impl Tables for HostTables {
    type Set<'a> = MemorySet<'a>;

    fn active(&self) -> Active {
        Active { flags: ACTIVE_BANS | ACTIVE_RANGES | ACTIVE_ALLOWS, ..self.active }
    }

    fn port(&self, _slot: u32, ifindex: u32, vlan: u16) -> ZoneId {
        walk::port(&self.image, ifindex, vlan)
    }

    fn zone(&self, _slot: u32, zone: ZoneId) -> ZoneRow {
        walk::zone(&self.image, zone)
    }

    fn address(&self, _slot: u32, address: &Address) -> AddressClass {
        walk::address(&self.image, address)
    }

    fn device(&self, _slot: u32, mac: &[u8; 6]) -> u16 {
        walk::device(&self.image, mac)
    }

    fn classify(&self, _slot: u32, question: &Question) -> RuleRow {
        walk::classify(&self.image, question)
    }

    fn rate(&self, _slot: u32, number: u16) -> RateRow {
        walk::rate(&self.image, number)
    }

    fn helped(&self, _slot: u32, from: ZoneId, to: ZoneId, protocol: u8) -> bool {
        walk::helped(&self.image, from, to, protocol)
    }

    fn ban(&self, _active: u32, address: &Address) -> Option<BanValue> {
        longest(&self.bans, from_kernel(address)).map(|(_, ban)| *ban)
    }

    fn allowed(&self, address: &Address) -> Option<u64> {
        longest(&self.allows, from_kernel(address)).map(|(_, until)| *until)
    }

    fn resolved(&self, _slot: u32, zone: ZoneId, address: &Address) -> Option<ResolvedValue> {
        self.resolved.get(&(zone, *address)).copied()
    }

    fn patterns(&self, _slot: u32) -> u64 {
        walk::patterns(&self.image)
    }

    fn pattern(&self, _slot: u32, pattern: u32) -> Coordinate {
        walk::pattern(&self.image, pattern)
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
