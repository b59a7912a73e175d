//! The plan in the kernel: compiled to one image, put beside the one in force, then switched by one word.

use abi::{ACTIVE_TRIAL, Active, Counter, MAX_LISTS, MAX_RULES, RULE_DEFAULT, image::PortRow};
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use policy::{Plan, image};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use super::{
    Dataplane, Error,
    active::{following, next_generation},
    drivers::interface_index,
    pinned,
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
    /// Bytes of kernel memory that the plan takes; 0 where it was left alone.
    pub bytes: u64,
    /// Bytes that it and the plan before it took together for a moment; of a plan on trial: as long as that lasts.
    pub bytes_at_swap: u64,
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

/// A plan that lies in the kernel beside the one in force.
#[must_use]
pub struct Staged {
    missing: Vec<String>,
    /// With the bytes of kernel memory it takes; none = it is the plan in force.
    written: Option<(Standing, u64)>,
}

/// A plan with the interfaces it was compiled for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Standing {
    plan: Arc<Plan>,
    ports: Vec<PortRow>,
}

/// What this process knows of plans in the kernel, and the counters that go with slots.
pub(super) struct PlanTables {
    rules: PerCpuArray<MapData, Counter>,
    lists: PerCpuArray<MapData, Counter>,
    /// The plan in force, if this process put it there.
    pub(super) current: Option<Standing>,
    /// While a plan is on trial: the one before it.
    pub(super) previous: Option<Standing>,
    /// Rules and lists of any plan of this process: one that is not in the next plan begins at zero there.
    counted: [BTreeSet<u32>; 2],
}

impl PlanTables {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let open = |name: &str| pinned(&pins.join(name));
        Ok(Self {
            rules: PerCpuArray::try_from(open("RULES")?).map_err(Error::kernel("open RULES"))?,
            lists: PerCpuArray::try_from(open("LISTS")?).map_err(Error::kernel("open LISTS"))?,
            current: None,
            previous: None,
            counted: <[BTreeSet<u32>; 2]>::default(),
        })
    }
}

impl Dataplane {
    /// Puts a plan in force: its image is written and switched to, then its interfaces are held, then those it does
    /// not name are let go. An interface that cannot be held stops none of the others. The same plan again repairs
    /// what is missing and changes nothing else.
    ///
    /// # Errors
    /// As of [`Self::apply`] (every interface stays held as it was), or a pin cannot be removed.
    pub fn install(&mut self, plan: &Plan) -> Result<Installed, Error> {
        let staged = self.stage(plan)?;
        self.install_staged(plan, staged)
    }

    /// The same with a plan that lies ready, see [`Self::stage`].
    ///
    /// # Errors
    /// As of [`Self::install`].
    pub fn install_staged(&mut self, plan: &Plan, staged: Staged) -> Result<Installed, Error> {
        let plan_applied = self.switch_to(plan, staged, None)?;
        let mut installed = self.hold_interfaces(plan, plan_applied)?;
        // What a plan on trial does not name may be needed again.
        if self.trial().is_some() {
            return Ok(installed);
        }
        let named: BTreeSet<&str> = plan.ports.iter().map(|port| port.interface.as_str()).collect();
        for (held, _) in self.pinned_interfaces()? {
            if !named.contains(held.as_str()) {
                self.detach(&held)?;
                installed.detached.push(held);
            }
        }
        // An interface that could not be taken over from another layout stays held by that one.
        if installed.failed.is_empty() {
            self.retire_other_layouts()?;
        }
        installed.attached = self.attached()?;
        Ok(installed)
    }

    /// Holds the interfaces of a plan; lets none go.
    pub(super) fn hold_interfaces(&mut self, plan: &Plan, applied: AppliedPlan) -> Result<Installed, Error> {
        // Interface → frames carry tags that matter.
        let mut interfaces = BTreeMap::<&str, bool>::new();
        for port in &plan.ports {
            *interfaces.entry(&port.interface).or_default() |= port.vlan != 0;
        }
        let mut installed = Installed { plan: applied, ..Installed::default() };
        for (interface, tagged) in interfaces {
            if installed.plan.missing.iter().any(|missing| missing == interface) {
                continue;
            }
            if let Err(error) = self.attach(interface, tagged) {
                installed.failed.push((interface.to_owned(), error.with_causes()));
            }
        }
        installed.attached = self.attached()?;
        Ok(installed)
    }

    /// Compiles the plan, writes its image beside the one in force, then switches by one word and has flows judged
    /// again. No packet is judged by half a plan. The plan in force already is left alone.
    ///
    /// # Errors
    /// The plan does not fit, or another is on trial (nothing was changed); or the kernel refuses (the old plan
    /// stays).
    pub fn apply(&mut self, plan: &Plan) -> Result<AppliedPlan, Error> {
        let staged = self.stage(plan)?;
        self.switch_to(plan, staged, None)
    }

    /// Compiles a plan and writes its image beside the one in force, where no packet reads it: what can be wrong with a
    /// plan shows here. Whatever does not follow is written over by the next plan; [`Self::unstage`] frees it at once.
    ///
    /// # Errors
    /// As of [`Self::apply`]; nothing was changed.
    pub fn stage(&mut self, plan: &Plan) -> Result<Staged, Error> {
        self.end_trial()?;
        let (ports, missing) = self.ports_of(plan);
        let before = self.active.lock().get();
        if before.generation != 0
            && self.tables.current.as_ref().is_some_and(|now| *now.plan == *plan && now.ports == ports)
        {
            return Ok(Staged { missing, written: None });
        }
        if let Some(trial) = self.trial() {
            return Err(Error::OnTrial { seconds: trial.seconds_left() });
        }
        let image = image::compile(plan, &ports)?;
        let (old, new) = (before.generation & 1, (before.generation & 1) ^ 1);
        let standing = Standing { plan: Arc::new(plan.clone()), ports };
        // A restart with the same plan changes nothing.
        if before.generation != 0 && self.images.holds(old, &image.blocks) {
            self.tables.current = Some(standing);
            return Ok(Staged { missing, written: None });
        }
        let bytes = self.images.put(new, &image.blocks)?;
        Ok(Staged { missing, written: Some((standing, bytes)) })
    }

    /// Frees a plan that lies ready and is not wanted after all.
    ///
    /// # Errors
    /// The kernel refuses; the next plan frees it.
    pub fn unstage(&mut self, staged: Staged) -> Result<(), Error> {
        let slot = (self.active.lock().get().generation & 1) ^ 1;
        if staged.written.is_some() { self.images.clear(slot) } else { Ok(()) }
    }

    /// Switches to a plan that lies ready; with a deadline (boot time in ns) the one before it is kept, see
    /// [`Self::apply_until`].
    pub(super) fn switch_to(
        &mut self,
        plan: &Plan,
        staged: Staged,
        deadline: Option<u64>,
    ) -> Result<AppliedPlan, Error> {
        let before = self.active.lock().get();
        let same = AppliedPlan {
            changed: false,
            generation: before.generation & !ACTIVE_TRIAL,
            epoch: before.epoch,
            missing: staged.missing,
            ..AppliedPlan::default()
        };
        let Some((standing, bytes)) = staged.written else { return Ok(same) };
        let (old, new) = (before.generation & 1, (before.generation & 1) ^ 1);
        // Last, so that as little as can be is counted between this and the switch.
        self.tables.carry_counters(new, plan)?;
        let bytes_at_swap = bytes + self.images.bytes(old)?.unwrap_or(0);
        let (generation, epoch) = self.switch(deadline);
        let previous = self.tables.current.replace(standing);
        if deadline.is_some() {
            self.tables.previous = previous;
        } else {
            self.clear_when_unused(old)?;
        }
        Ok(AppliedPlan { changed: true, generation, epoch, bytes, bytes_at_swap, ..same })
    }

    fn ports_of(&self, plan: &Plan) -> (Vec<PortRow>, Vec<String>) {
        let mut missing = BTreeSet::new();
        let mut ports = Vec::with_capacity(plan.ports.len());
        for port in &plan.ports {
            match interface_index(&port.interface) {
                Ok(ifindex) => ports.push(PortRow { ifindex, vlan: port.vlan, zone: port.zone }),
                Err(_) => {
                    missing.insert(port.interface.clone());
                }
            }
        }
        ports.sort_unstable();
        (ports, missing.into_iter().collect())
    }

    fn switch(&self, deadline: Option<u64>) -> (u32, u32) {
        let mut word = self.active.lock();
        let Active { generation, epoch, .. } = word.get();
        let (generation, epoch) = (next_generation(generation), following(epoch));
        match deadline {
            Some(deadline) => {
                word.set_deadline(deadline);
                word.stand(generation | ACTIVE_TRIAL, epoch);
            }
            None => word.stand(generation, epoch),
        }
        (generation, epoch)
    }

    /// Frees the image of a slot that the word does not name any more. Where the kernel cannot be waited for, the next
    /// plan in that slot frees it.
    pub(super) fn clear_when_unused(&self, slot: u32) -> Result<(), Error> {
        if wait_for_packets() { self.images.clear(slot) } else { Ok(()) }
    }
}

impl PlanTables {
    /// Counters of rules and lists that stay the same go on counting; the others begin at zero.
    fn carry_counters(&mut self, slot: u32, plan: &Plan) -> Result<(), Error> {
        let (same_rules, same_lists) =
            self.current.as_ref().map_or((false, false), |Standing { plan: old, .. }| {
                let same_rules =
                    old.rows == plan.rows && old.sets == plan.sets && old.devices == plan.devices;
                (same_rules, old.listed == plan.listed)
            });
        let rules: BTreeSet<u32> = plan
            .rows
            .iter()
            .filter(|row| row.value.rule != RULE_DEFAULT)
            .map(|row| u32::from(row.value.rule))
            .filter(|rule| *rule < MAX_RULES)
            .collect();
        let [counted_rules, counted_lists] = &mut self.counted;
        counted_rules.extend(&rules);
        carry(&mut self.rules, MAX_RULES, slot, counted_rules, same_rules)?;
        let lists: BTreeSet<u32> = plan.listed.iter().map(|(_, value)| u32::from(value.list)).collect();
        counted_lists.extend(&lists);
        carry(&mut self.lists, MAX_LISTS, slot, counted_lists, same_lists)
    }
}

fn carry(
    counters: &mut PerCpuArray<MapData, Counter>,
    size: u32,
    slot: u32,
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
            counters.get(&((slot ^ 1) * size + index), 0).map_err(Error::kernel("read counters"))?
        } else {
            PerCpuValues::try_from(vec![Counter::default(); processors])
                .map_err(Error::kernel("clear counters"))?
        };
        counters.set(slot * size + index, values, 0).map_err(Error::kernel("write counters"))?;
    }
    Ok(())
}

/// Waits until every packet that read the old word is through: programs run inside RCU, and this barrier waits for
/// all of its readers (membarrier(2), `MEMBARRIER_CMD_GLOBAL`). `false` where the kernel has none (`nohz_full`).
#[expect(unsafe_code, reason = "membarrier has no wrapper")]
fn wait_for_packets() -> bool {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: the call takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0 }
}
