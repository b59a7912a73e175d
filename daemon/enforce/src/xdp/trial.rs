//! Plans on trial: in force until a deadline, and the one before it again after that unless someone confirms.
//!
//! The image before stays in the other slot, and the deadline stands beside the active word, so the packet programs
//! go back by themselves: it needs no daemon that lives.

use abi::{ACTIVE_TRIAL, Active};
use policy::Plan;

use super::{
    AppliedPlan, Dataplane, Error, Installed, Staged,
    active::{following, next_generation},
    boot_now,
};

/// A plan that waits for someone to confirm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// When it ends, boot time in ns.
    pub deadline: u64,
}

impl Trial {
    /// Seconds until its end, begun ones included.
    #[must_use]
    pub fn seconds_left(self) -> u64 {
        self.deadline.saturating_sub(boot_now()).div_ceil(1_000_000_000)
    }
}

impl Dataplane {
    /// Puts a plan in force as [`Self::apply`] does, until a boot time in ns ([`super::boot_now`]): after that the
    /// plan before it holds again, also when nobody lives to say so. [`Self::confirm`] makes it stay. Bans and allows
    /// are not part of it.
    ///
    /// The plan that is in force already is left alone, and not on trial.
    ///
    /// # Errors
    /// As of [`Self::apply`], or there is no plan to go back to.
    pub fn apply_until(&mut self, plan: &Plan, deadline: u64) -> Result<AppliedPlan, Error> {
        let staged = self.stage(plan)?;
        self.switch_until(plan, staged, deadline)
    }

    /// [`Self::apply_until`], and holds the plan's interfaces. Those it does not name are let go by the next
    /// [`Self::install`] after [`Self::confirm`].
    ///
    /// # Errors
    /// As of [`Self::install`].
    pub fn install_until(&mut self, plan: &Plan, deadline: u64) -> Result<Installed, Error> {
        let staged = self.stage(plan)?;
        self.install_staged_until(plan, staged, deadline)
    }

    /// The same with a plan that lies ready, see [`Self::stage`].
    ///
    /// # Errors
    /// As of [`Self::install`].
    pub fn install_staged_until(
        &mut self,
        plan: &Plan,
        staged: Staged,
        deadline: u64,
    ) -> Result<Installed, Error> {
        let applied = self.switch_until(plan, staged, deadline)?;
        self.hold_interfaces(plan, applied)
    }

    fn switch_until(&mut self, plan: &Plan, staged: Staged, deadline: u64) -> Result<AppliedPlan, Error> {
        if self.active.lock().get().generation == 0 {
            return Err(Error::kernel("put a plan on trial")("there is none to go back to"));
        }
        self.switch_to(plan, staged, Some(deadline))
    }

    /// The plan on trial, if its time is not over.
    #[must_use]
    pub fn trial(&self) -> Option<Trial> {
        let Active { generation, deadline, .. } = self.active.lock().get();
        (generation & ACTIVE_TRIAL != 0 && boot_now() < deadline).then_some(Trial { deadline })
    }

    /// Makes the plan on trial stay. `false` if none is.
    ///
    /// # Errors
    /// Its time is over: the plan before it holds again. Or the kernel does not let go of that one's memory.
    pub fn confirm(&mut self) -> Result<bool, Error> {
        let old = {
            let mut word = self.active.lock();
            let Active { generation, epoch, .. } = word.get();
            if generation & ACTIVE_TRIAL == 0 {
                return Ok(false);
            }
            if word.has_fallen_back() {
                drop(word);
                self.revert()?;
                return Err(Error::TrialOver);
            }
            word.stand(generation & !ACTIVE_TRIAL, epoch);
            (generation & 1) ^ 1
        };
        self.tables.previous = None;
        self.clear_when_unused(old)?;
        Ok(true)
    }

    /// Puts the plan before the one on trial in force again. `false` if none is on trial.
    ///
    /// # Errors
    /// The kernel does not let go of the memory of the plan that was on trial.
    pub fn revert(&mut self) -> Result<bool, Error> {
        let tried = {
            let mut word = self.active.lock();
            let Active { generation, epoch, .. } = word.get();
            if generation & ACTIVE_TRIAL == 0 {
                return Ok(false);
            }
            word.stand(next_generation(generation), following(epoch));
            generation & 1
        };
        self.tables.current = self.tables.previous.take();
        self.clear_when_unused(tried)?;
        Ok(true)
    }

    /// Writes down what the programs have done by themselves: a trial whose time is over is reverted.
    pub(super) fn end_trial(&mut self) -> Result<(), Error> {
        if self.active.lock().has_fallen_back() {
            self.revert()?;
        }
        Ok(())
    }
}
