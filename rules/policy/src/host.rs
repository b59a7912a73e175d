//! The kernel's tables in memory, made from a plan: what `explain` and tests run `datapath::decide` over.

use abi::{
    ACTIVE_OBSERVE, Active, Address, BanValue, FLOW_ANSWERED, FlowKey, FlowValue, ListValue, MAX_FLOWS,
    PolicyKey, PolicyValue, PortKey, ZoneId, mapped,
};
use datapath::{Flow, Tables, Touch};
use ipnet::IpNet;
use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crate::{Plan, PolicyPrefix};

/// The tables of one plan, with bans, allows and flows beside it. Interfaces are numbered from 1 in the order in which
/// their names stand in `Plan::ports`.
#[derive(Clone, Debug)]
pub struct HostTables {
    plan: Arc<Plan>,
    active: Active,
    ports: HashMap<(u32, u16), ZoneId>,
    protected: BTreeMap<IpNet, ()>,
    /// Bans by prefix, covering bans folded in.
    pub bans: BTreeMap<IpNet, BanValue>,
    /// Timed allows by prefix: until when, boot time in ns.
    pub allows: BTreeMap<IpNet, u64>,
    /// Flows. A table with [`MAX_FLOWS`] entries takes no new one.
    pub flows: RefCell<HashMap<FlowKey, FlowValue>>,
}

impl HostTables {
    /// Tables of the first generation and epoch.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let flags = if plan.observe { ACTIVE_OBSERVE } else { 0 };
        let active = Active { generation: 1, epoch: 1, flags, reserved: 0 };
        let number = |name: &str| interface_number(&plan, name).unwrap_or(0);
        let ports = plan.ports.iter().map(|port| ((number(&port.interface), port.vlan), port.zone)).collect();
        let protected = plan.protected.iter().map(|net| (*net, ())).collect();
        Self {
            ports,
            protected,
            active,
            bans: BTreeMap::new(),
            allows: BTreeMap::new(),
            flows: RefCell::default(),
            plan,
        }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
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

/// A handle on an entry of [`HostTables::flows`].
#[derive(Debug)]
pub struct HostFlow<'a> {
    flows: &'a RefCell<HashMap<FlowKey, FlowValue>>,
    key: FlowKey,
}

impl HostFlow<'_> {
    fn change(&self, change: impl FnOnce(&mut FlowValue)) {
        if let Some(value) = self.flows.borrow_mut().get_mut(&self.key) {
            change(value);
        }
    }
}

impl Flow for HostFlow<'_> {
    fn value(&self) -> FlowValue {
        self.flows.borrow().get(&self.key).copied().unwrap_or_default()
    }

    fn touch(&self, touch: &Touch) {
        self.change(|value| {
            value.last_seen = touch.now;
            value.packets += 1;
            value.bytes += u64::from(touch.length);
            value.epoch = touch.epoch;
            value.tcp_flags |= touch.tcp_flags;
            value.rule = touch.rule;
            value.copied = value.copied.saturating_add(touch.copied);
        });
    }

    fn answer(&self, now: u64, copied: u32) {
        self.change(|value| {
            value.last_seen = now;
            value.flags |= FLOW_ANSWERED;
            value.copied_reply = value.copied_reply.saturating_add(copied);
        });
    }
}

impl Tables for HostTables {
    type Flow<'a> = HostFlow<'a>;

    fn active(&self) -> Active {
        self.active
    }

    fn port(&self, key: &PortKey) -> Option<ZoneId> {
        self.ports.get(&(key.ifindex, key.vlan)).copied()
    }

    fn zone(&self, _slot: u8, zone: ZoneId) -> u32 {
        self.plan.zones.get(&zone).map_or(0, |flags| flags.flags)
    }

    fn network(&self, _slot: u8, address: &Address) -> Option<ZoneId> {
        longest(&self.plan.networks, from_kernel(address)).map(|(_, zone)| *zone)
    }

    fn protected(&self, _slot: u8, address: &Address) -> bool {
        longest(&self.protected, from_kernel(address)).is_some()
    }

    fn allowed(&self, address: &Address) -> Option<u64> {
        longest(&self.allows, from_kernel(address)).map(|(_, until)| *until)
    }

    fn ban(&self, address: &Address) -> Option<BanValue> {
        longest(&self.bans, from_kernel(address)).map(|(_, ban)| *ban)
    }

    fn listed(&self, _slot: u8, address: &Address) -> Option<ListValue> {
        let listed = &self.plan.listed;
        let address = from_kernel(address);
        let most = if address.is_ipv4() { 32 } else { 128 };
        (0..=most).rev().find_map(|bits| {
            let net = IpNet::new(address, bits).ok()?.trunc();
            let at = listed.binary_search_by_key(&net, |(net, _)| *net).ok()?;
            listed.get(at).map(|(_, value)| *value)
        })
    }

    fn policy(&self, key: &PolicyKey) -> Option<PolicyValue> {
        let port = u16::from_be_bytes(key.port);
        (0..=16u8).rev().find_map(|bits| {
            let port = if bits == 0 { 0 } else { port & (u16::MAX << (16 - bits)) };
            let PolicyKey { from, to, protocol, .. } = *key;
            self.plan.policy.get(&PolicyPrefix { from, to, protocol, port, bits }).copied()
        })
    }

    fn flow(&self, key: &FlowKey) -> Option<HostFlow<'_>> {
        let is_known = self.flows.borrow().contains_key(key);
        is_known.then_some(HostFlow { flows: &self.flows, key: *key })
    }

    fn remember(&self, key: &FlowKey, value: &FlowValue) {
        let mut flows = self.flows.borrow_mut();
        if flows.len() < MAX_FLOWS as usize || flows.contains_key(key) {
            flows.insert(*key, *value);
        }
    }
}
