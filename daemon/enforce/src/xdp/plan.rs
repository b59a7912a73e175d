//! The plan's tables: written beside the ones in force, then switched by one word.

use abi::{
    ACTIVE_OBSERVE, Active, Counter, MAX_LISTED, MAX_LISTS, MAX_NETWORKS, MAX_POLICY, MAX_PORTS,
    MAX_PROTECTED, MAX_RULES, MAX_ZONES, PolicyKey, PortKey, RULE_DEFAULT, SlotAddress, ZONE_OBSERVE, ZoneId,
};
use aya::maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, PerCpuValues, lpm_trie::Key};
use ipnet::IpNet;
use policy::Plan;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    Dataplane, Error, ListTrie, PolicyTrie, PortMap, SlotTrie, ZoneMap, absent_is_fine,
    attach::interface_index, insertion, kernel_form, keys_of, pinned,
};

/// What a plan became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedPlan {
    /// Something was written; otherwise the kernel held the plan already.
    pub changed: bool,
    /// The generation in force.
    pub generation: u32,
    /// The epoch of flows.
    pub epoch: u32,
    /// Interfaces of the plan that do not exist: their zones see no frames until they do.
    pub missing: Vec<String>,
}

/// What [`Dataplane::install`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The tables.
    pub plan: AppliedPlan,
    /// Interfaces held now.
    pub attached: Vec<super::AttachedInterface>,
    /// Interfaces let go, because the plan has no zone there.
    pub detached: Vec<String>,
    /// Interfaces that are there and could not be held, each with why: their zones are judged by nftables alone.
    pub failed: Vec<(String, String)>,
}

/// The maps that hold plans.
pub(super) struct PlanTables {
    ports: PortMap,
    zones: ZoneMap,
    networks: SlotTrie<u8>,
    protected: SlotTrie<u8>,
    policy: PolicyTrie,
    listed: ListTrie,
    rules: PerCpuArray<MapData, Counter>,
    lists: PerCpuArray<MapData, Counter>,
    /// What this process put in force.
    current: Option<(Plan, Vec<(PortKey, ZoneId)>)>,
    /// An earlier run may have left entries in the slot that is not in force.
    other_slot_is_clean: bool,
}

impl PlanTables {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let open = |name: &str| pinned(&pins.join(name));
        let wrong = |name: &str| Error::kernel(format!("open {name}"));
        Ok(Self {
            ports: HashMap::try_from(open("PORTS")?).map_err(wrong("PORTS"))?,
            zones: Array::try_from(open("ZONES")?).map_err(wrong("ZONES"))?,
            networks: LpmTrie::try_from(open("NETWORKS")?).map_err(wrong("NETWORKS"))?,
            protected: LpmTrie::try_from(open("PROTECTED")?).map_err(wrong("PROTECTED"))?,
            policy: LpmTrie::try_from(open("POLICY")?).map_err(wrong("POLICY"))?,
            listed: LpmTrie::try_from(open("LISTED")?).map_err(wrong("LISTED"))?,
            rules: PerCpuArray::try_from(open("RULES")?).map_err(wrong("RULES"))?,
            lists: PerCpuArray::try_from(open("LISTS")?).map_err(wrong("LISTS"))?,
            current: None,
            other_slot_is_clean: false,
        })
    }
}

impl Dataplane {
    /// Puts a plan in force: its tables are written and switched, then its interfaces are held, then those it does
    /// not name are let go. An interface that cannot be held stops none of the others. The same plan again repairs
    /// what is missing and changes nothing else.
    ///
    /// # Errors
    /// As of [`Self::apply`] (every interface stays held as it was), or a pin cannot be removed.
    pub fn install(&mut self, plan: &Plan) -> Result<Installed, Error> {
        // Interface → frames carry tags that matter.
        let mut interfaces = BTreeMap::<&str, bool>::new();
        for port in &plan.ports {
            *interfaces.entry(&port.interface).or_default() |= port.vlan != 0;
        }
        let mut installed = Installed { plan: self.apply(plan)?, ..Installed::default() };
        for (&interface, &tagged) in &interfaces {
            if installed.plan.missing.iter().any(|missing| missing == interface) {
                continue;
            }
            if let Err(error) = self.attach(interface, tagged) {
                installed.failed.push((interface.to_owned(), error.with_causes()));
            }
        }
        for held in self.pinned_interfaces()? {
            if !interfaces.contains_key(held.name.as_str()) {
                self.detach(&held.name)?;
                installed.detached.push(held.name);
            }
        }
        // An interface that could not be taken over from another layout stays held by that one.
        if installed.failed.is_empty() {
            self.retire_other_layouts()?;
        }
        installed.attached = self.attached()?;
        Ok(installed)
    }

    /// Writes the plan's tables beside those in force, then switches by one word and has flows judged again. No packet
    /// is judged by half a plan. The plan in force already is left alone.
    ///
    /// # Errors
    /// A named limit is exceeded (nothing was changed), or the kernel refuses an entry (the old plan stays).
    pub fn apply(&mut self, plan: &Plan) -> Result<AppliedPlan, Error> {
        check_limits(plan)?;
        let mut missing = BTreeSet::new();
        let mut ports = Vec::with_capacity(plan.ports.len());
        for port in &plan.ports {
            match interface_index(&port.interface) {
                Ok(ifindex) => ports.push((ifindex, port.vlan, port.zone)),
                Err(_) => {
                    missing.insert(port.interface.clone());
                }
            }
        }
        let missing: Vec<String> = missing.into_iter().collect();
        let before = self.active()?;
        let slot = (before.generation.wrapping_add(1) & 1) as u8;
        let ports: Vec<(PortKey, ZoneId)> = ports
            .into_iter()
            .map(|(ifindex, vlan, zone)| (PortKey { ifindex, vlan, slot, reserved: 0 }, zone))
            .collect();
        if let Some((current, current_ports)) = &self.tables.current
            && before.generation != 0
            && current == plan
            && same_ports(current_ports, &ports)
        {
            let Active { generation, epoch, .. } = before;
            return Ok(AppliedPlan { changed: false, generation, epoch, missing });
        }
        if !self.tables.other_slot_is_clean {
            self.tables.clear_everything(slot)?;
        }
        self.tables.other_slot_is_clean = false;
        self.tables.write(slot, plan, &ports)?;
        self.tables.carry_counters(slot, plan)?;
        let (generation, epoch) = self.switch(plan.observe)?;
        wait_for_packets();
        match self.tables.current.take() {
            Some((old, old_ports)) => self.tables.clear_plan(slot ^ 1, &old, &old_ports)?,
            None => self.tables.clear_everything(slot ^ 1)?,
        }
        self.tables.other_slot_is_clean = true;
        self.tables.current = Some((plan.clone(), ports));
        Ok(AppliedPlan { changed: true, generation, epoch, missing })
    }

    fn switch(&self, observe: bool) -> Result<(u32, u32), Error> {
        let mut word = self.active.lock();
        let before = word.get()?;
        // 0 means that there is no plan; after it wraps, the next of the same slot is taken.
        let generation = match before.generation.wrapping_add(1) {
            0 => 2,
            generation => generation,
        };
        let epoch = before.epoch.wrapping_add(1);
        word.set(Active { generation, epoch, flags: if observe { ACTIVE_OBSERVE } else { 0 }, reserved: 0 })?;
        Ok((generation, epoch))
    }
}

impl PlanTables {
    fn write(&mut self, slot: u8, plan: &Plan, ports: &[(PortKey, ZoneId)]) -> Result<(), Error> {
        for (key, zone) in ports {
            self.ports.insert(key, zone, 0).map_err(insertion("interfaces and VLANs", MAX_PORTS))?;
        }
        for zone in 0..MAX_ZONES {
            let mut flags = ZoneId::try_from(zone)
                .ok()
                .and_then(|zone| plan.zones.get(&zone))
                .copied()
                .unwrap_or_default();
            if plan.observe {
                flags.flags |= ZONE_OBSERVE;
            }
            let index = u32::from(slot) * MAX_ZONES + zone;
            self.zones.set(index, flags, 0).map_err(insertion("zones", MAX_ZONES))?;
        }
        for (net, zone) in &plan.networks {
            self.networks
                .insert(&slot_key(slot, *net), zone, 0)
                .map_err(insertion("networks", MAX_NETWORKS))?;
        }
        for net in &plan.protected {
            let key = slot_key(slot, *net);
            self.protected.insert(&key, 1, 0).map_err(insertion("protected addresses", MAX_PROTECTED))?;
        }
        for (prefix, value) in &plan.policy {
            let key = policy_key(slot, prefix);
            self.policy.insert(&key, value, 0).map_err(insertion("policy prefixes", MAX_POLICY))?;
        }
        for (net, value) in plan.listed.iter() {
            self.listed
                .insert(&slot_key(slot, *net), value, 0)
                .map_err(insertion("listed prefixes", MAX_LISTED))?;
        }
        Ok(())
    }

    /// Takes out what a plan of this process put into a slot.
    fn clear_plan(&mut self, slot: u8, plan: &Plan, ports: &[(PortKey, ZoneId)]) -> Result<(), Error> {
        for (key, _) in ports {
            absent_is_fine(self.ports.remove(&PortKey { slot, ..*key }), "PORTS")?;
        }
        for net in plan.networks.keys() {
            absent_is_fine(self.networks.remove(&slot_key(slot, *net)), "NETWORKS")?;
        }
        for net in &plan.protected {
            absent_is_fine(self.protected.remove(&slot_key(slot, *net)), "PROTECTED")?;
        }
        for prefix in plan.policy.keys() {
            absent_is_fine(self.policy.remove(&policy_key(slot, prefix)), "POLICY")?;
        }
        for (net, _) in plan.listed.iter() {
            absent_is_fine(self.listed.remove(&slot_key(slot, *net)), "LISTED")?;
        }
        Ok(())
    }

    /// Takes out everything of a slot, whoever put it there.
    fn clear_everything(&mut self, slot: u8) -> Result<(), Error> {
        let ports: Vec<PortKey> =
            self.ports.keys().collect::<Result<_, _>>().map_err(Error::kernel("list PORTS"))?;
        for key in ports.iter().filter(|key| key.slot == slot) {
            absent_is_fine(self.ports.remove(key), "PORTS")?;
        }
        for key in keys_of(&self.networks, "NETWORKS")?.iter().filter(|key| key.data().slot == slot) {
            absent_is_fine(self.networks.remove(key), "NETWORKS")?;
        }
        for key in keys_of(&self.protected, "PROTECTED")?.iter().filter(|key| key.data().slot == slot) {
            absent_is_fine(self.protected.remove(key), "PROTECTED")?;
        }
        for key in keys_of(&self.policy, "POLICY")?.iter().filter(|key| key.data().slot == slot) {
            absent_is_fine(self.policy.remove(key), "POLICY")?;
        }
        for key in keys_of(&self.listed, "LISTED")?.iter().filter(|key| key.data().slot == slot) {
            absent_is_fine(self.listed.remove(key), "LISTED")?;
        }
        Ok(())
    }

    /// Counters of rules and lists that stay the same go on counting; the others begin at zero.
    fn carry_counters(&mut self, slot: u8, plan: &Plan) -> Result<(), Error> {
        let (same_rules, same_lists) = self
            .current
            .as_ref()
            .map_or((false, false), |(old, _)| (old.policy == plan.policy, old.listed == plan.listed));
        let rules: BTreeSet<u32> = plan
            .policy
            .values()
            .filter(|value| value.rule != RULE_DEFAULT)
            .map(|value| u32::from(value.rule))
            .filter(|rule| *rule < MAX_RULES)
            .collect();
        carry(&mut self.rules, MAX_RULES, slot, &rules, same_rules)?;
        let lists: BTreeSet<u32> = plan.listed.iter().map(|(_, value)| u32::from(value.list)).collect();
        carry(&mut self.lists, MAX_LISTS, slot, &lists, same_lists)
    }
}

fn carry(
    counters: &mut PerCpuArray<MapData, Counter>,
    size: u32,
    slot: u8,
    wanted: &BTreeSet<u32>,
    same: bool,
) -> Result<(), Error> {
    let processors = aya::util::nr_cpus().map_err(|(path, error)| Error::File {
        doing: "read",
        path: path.into(),
        source: error,
    })?;
    for index in wanted.iter().filter(|index| **index < size) {
        let values = if same {
            counters.get(&(u32::from(slot ^ 1) * size + index), 0).map_err(Error::kernel("read counters"))?
        } else {
            PerCpuValues::try_from(vec![Counter::default(); processors])
                .map_err(Error::kernel("clear counters"))?
        };
        counters.set(u32::from(slot) * size + index, values, 0).map_err(Error::kernel("write counters"))?;
    }
    Ok(())
}

fn same_ports(a: &[(PortKey, ZoneId)], b: &[(PortKey, ZoneId)]) -> bool {
    let bare = |ports: &[(PortKey, ZoneId)]| -> BTreeSet<(u32, u16, ZoneId)> {
        ports.iter().map(|(key, zone)| (key.ifindex, key.vlan, *zone)).collect()
    };
    bare(a) == bare(b)
}

fn slot_key(slot: u8, net: IpNet) -> Key<SlotAddress> {
    let (address, bits) = kernel_form(net);
    Key::new(8 + bits, SlotAddress { slot, address })
}

fn policy_key(slot: u8, prefix: &policy::PolicyPrefix) -> Key<PolicyKey> {
    Key::new(
        32 + u32::from(prefix.bits),
        PolicyKey {
            slot,
            from: prefix.from,
            to: prefix.to,
            protocol: prefix.protocol,
            port: prefix.port.to_be_bytes(),
        },
    )
}

/// Two generations share a table for a moment, so each may fill half of it.
fn check_limits(plan: &Plan) -> Result<(), Error> {
    let half = |limit: u32| limit as usize / 2;
    let highest_zone = plan.zones.keys().max().map_or(0, |zone| usize::from(*zone) + 1);
    let highest_list = plan.listed.iter().map(|(_, value)| usize::from(value.list) + 1).max().unwrap_or(0);
    for (table, name, needed, limit) in [
        ("interfaces and VLANs", "MAX_PORTS", plan.ports.len(), MAX_PORTS as usize),
        ("zones", "MAX_ZONES", highest_zone, MAX_ZONES as usize),
        ("networks", "MAX_NETWORKS", plan.networks.len(), half(MAX_NETWORKS)),
        ("protected addresses", "MAX_PROTECTED", plan.protected.len(), half(MAX_PROTECTED)),
        ("policy prefixes", "MAX_POLICY", plan.policy.len(), half(MAX_POLICY)),
        ("listed prefixes", "MAX_LISTED", plan.listed.len(), half(MAX_LISTED)),
        ("lists", "MAX_LISTS", highest_list, MAX_LISTS as usize),
    ] {
        if needed > limit {
            return Err(Error::Limit { table, needed, limit, name });
        }
    }
    Ok(())
}

/// Waits until every packet that read the old word is through: programs run inside RCU, and this barrier waits for
/// all of its readers (membarrier(2), `MEMBARRIER_CMD_GLOBAL`).
#[expect(unsafe_code, reason = "membarrier has no wrapper")]
fn wait_for_packets() {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes three integers and touches no memory of ours.
    if unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } != 0 {
        tracing::debug!("membarrier is not there; the old slot is cleared without waiting");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::ZoneFlags;
    use std::sync::Arc;

    #[test]
    fn a_plan_over_a_limit_is_refused_with_numbers() {
        let net = |n: u32| IpNet::new(std::net::Ipv4Addr::from(n).into(), 32).unwrap();
        let plan = Plan { protected: (0..5000).map(net).collect(), ..Plan::default() };
        assert_eq!(
            check_limits(&plan).unwrap_err().to_string(),
            "protected addresses would need 5000 entries, the limit is 4096 (abi::MAX_PROTECTED); make the config or list smaller"
        );
        let high = abi::ListValue { list: 300, ..abi::ListValue::default() };
        let plan = Plan { listed: Arc::from([(net(1), high)]), ..Plan::default() };
        assert!(check_limits(&plan).unwrap_err().to_string().starts_with("lists would need 301 entries"));
        let plan = Plan { zones: [(64, ZoneFlags::default())].into(), ..Plan::default() };
        assert!(check_limits(&plan).is_err());
        assert!(check_limits(&Plan::default()).is_ok());
    }
}
