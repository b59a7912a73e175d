//! The word that selects everything, shared with the packet programs.
//!
//! Written by atomic stores into the map's own memory: a packet sees a whole word or the one before, and what belongs
//! together (generation and epoch) is one word. Whoever dies between two stores leaves a state that judges rightly.

use abi::{ACTIVE_TRIAL, Active};
use std::{
    os::fd::AsFd as _,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use super::{Error, boot_now, map_data, mapping::Mapping, pinned};

/// Places of the fields of [`Active`], in words of four or eight bytes.
mod place {
    use abi::Active;
    use core::mem::offset_of;

    pub(super) const STANDING: usize = offset_of!(Active, generation) / 8;
    pub(super) const FLAGS: usize = offset_of!(Active, flags) / 4;
    pub(super) const FLOW_MASK: usize = offset_of!(Active, flow_mask) / 4;
    pub(super) const DEADLINE: usize = offset_of!(Active, deadline) / 8;
    pub(super) const ATTACHED: usize = offset_of!(Active, attached) / 8;
    pub(super) const SEED: usize = offset_of!(Active, seed) / 8;

    /// Generation and epoch are one word.
    const _: () = assert!(offset_of!(Active, generation) % 8 == 0);
    const _: () = assert!(offset_of!(Active, epoch) == offset_of!(Active, generation) + 4);
}

/// A handle on the word, the same for all who change it.
#[derive(Clone)]
pub(super) struct ActiveWord(Arc<Mutex<ActiveMap>>);

/// The word, held by one task.
pub(super) struct ActiveMap(Mapping);

impl ActiveWord {
    pub(super) fn open(pins: &Path) -> Result<Self, Error> {
        let map = pinned(&pins.join("ACTIVE"))?;
        let doing = "map the memory of ACTIVE";
        let data = map_data(&map).ok_or_else(|| Error::kernel(doing)("not an array"))?;
        let memory = Mapping::of(data.fd().as_fd(), size_of::<Active>()).map_err(Error::kernel(doing))?;
        Ok(Self(Arc::new(Mutex::new(ActiveMap(memory)))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ActiveMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveMap {
    pub(super) fn get(&self) -> Active {
        let (words, halves) = (self.0.words(), self.0.halves());
        let standing = words[place::STANDING].load(Ordering::Acquire);
        Active {
            generation: standing as u32,
            epoch: (standing >> 32) as u32,
            flags: halves[place::FLAGS].load(Ordering::Relaxed),
            flow_mask: halves[place::FLOW_MASK].load(Ordering::Relaxed),
            deadline: words[place::DEADLINE].load(Ordering::Relaxed),
            attached: words[place::ATTACHED].load(Ordering::Relaxed),
            seed: std::array::from_fn(|at| words[place::SEED + at].load(Ordering::Relaxed)),
        }
    }

    /// Switches generation and epoch in one store.
    pub(super) fn stand(&mut self, generation: u32, epoch: u32) {
        let word = u64::from(generation) | u64::from(epoch) << 32;
        self.0.words()[place::STANDING].store(word, Ordering::SeqCst);
    }

    /// Has every flow judged again. Gives the new epoch.
    pub(super) fn next_epoch(&mut self) -> u32 {
        let Active { generation, epoch, .. } = self.get();
        let epoch = following(epoch);
        self.stand(generation, epoch);
        epoch
    }

    /// When a plan on trial ends, boot time in ns. Without [`ACTIVE_TRIAL`] nobody looks at it.
    pub(super) fn set_deadline(&mut self, deadline: u64) {
        self.0.words()[place::DEADLINE].store(deadline, Ordering::SeqCst);
    }

    /// An interface was attached now: for a while what has no state here may have it in conntrack.
    pub(super) fn note_attached(&mut self, now: u64) {
        self.0.words()[place::ATTACHED].store(now, Ordering::SeqCst);
    }

    /// Sets or clears bits of the flags.
    pub(super) fn set_flag(&mut self, flag: u32, on: bool) {
        let flags = &self.0.halves()[place::FLAGS];
        if on {
            flags.fetch_or(flag, Ordering::SeqCst);
        } else {
            flags.fetch_and(!flag, Ordering::SeqCst);
        }
    }

    /// Says how the flow table is addressed. The seed is kept once there is one: entries are found by it.
    pub(super) fn prepare_flows(&mut self, mask: u32, seed: [u64; 4]) {
        self.0.halves()[place::FLOW_MASK].store(mask, Ordering::SeqCst);
        for (word, new) in self.0.words().iter().skip(place::SEED).zip(seed) {
            let _ = word.compare_exchange(0, new.max(1), Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The slot of the plan that holds now; none without a plan.
    pub(super) fn slot(&self) -> Option<u32> {
        let active = self.get();
        (active.generation != 0).then(|| active.standing(boot_now()).0)
    }

    /// A plan is on trial and its time is over: the programs have gone back by themselves.
    pub(super) fn has_fallen_back(&self) -> bool {
        let active = self.get();
        active.is_trial() && boot_now() >= active.deadline
    }
}

/// The epoch after this one. The upper bit is the mark of a trial that is over, see [`Active::standing`].
pub(super) const fn following(epoch: u32) -> u32 {
    epoch.wrapping_add(1) & !(1 << 31)
}

/// The generation after this one, in the other slot: never 0, which means that there is no plan, and without the mark
/// of a trial.
pub(super) const fn next_generation(generation: u32) -> u32 {
    match generation.wrapping_add(1) & !ACTIVE_TRIAL {
        0 => 2,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_change_the_slot_and_are_never_none_or_a_trial() {
        for generation in [0, 1, 2, 7, (1 << 31) - 2, (1 << 31) - 1, 5 | ACTIVE_TRIAL] {
            let next = next_generation(generation);
            assert_ne!(next, 0);
            assert_eq!(next & ACTIVE_TRIAL, 0);
            assert_ne!(next & 1, generation & 1, "{generation}");
        }
        assert_eq!(following(u32::MAX), 0);
        assert_eq!(following((1 << 31) - 1), 0);
    }
}
