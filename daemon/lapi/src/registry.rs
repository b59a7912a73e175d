//! Who is known: bouncers by their keys, machines by their names.

use model::{Bouncer, LastSeen, OrderingMachine, ProgramName, Timestamp};
use ring::digest::{SHA512, digest};
use std::collections::BTreeMap;

use crate::limits::KEEP_SIGN;

/// Bouncers and machines. How many there can be is a limit of where they are kept.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    bouncers: BTreeMap<ProgramName, Bouncer>,
    machines: BTreeMap<ProgramName, OrderingMachine>,
}

/// The hash of a key. A key is random and long: it needs no salt.
pub(crate) fn key_hash(key: &str) -> Vec<u8> {
    digest(&SHA512, key.as_bytes()).as_ref().to_vec()
}

impl Registry {
    pub(crate) fn new(bouncers: Vec<Bouncer>, machines: Vec<OrderingMachine>) -> Self {
        Self {
            bouncers: bouncers.into_iter().map(|bouncer| (bouncer.name.clone(), bouncer)).collect(),
            machines: machines.into_iter().map(|machine| (machine.name.clone(), machine)).collect(),
        }
    }

    pub(crate) fn bouncers(&self) -> impl Iterator<Item = &Bouncer> {
        self.bouncers.values()
    }

    pub(crate) fn machines(&self) -> impl Iterator<Item = &OrderingMachine> {
        self.machines.values()
    }

    pub(crate) fn put_bouncer(&mut self, bouncer: Bouncer) {
        self.bouncers.insert(bouncer.name.clone(), bouncer);
    }

    pub(crate) fn put_machine(&mut self, machine: OrderingMachine) {
        self.machines.insert(machine.name.clone(), machine);
    }

    pub(crate) fn remove_bouncer(&mut self, name: &ProgramName) -> Option<Bouncer> {
        self.bouncers.remove(name)
    }

    pub(crate) fn remove_machine(&mut self, name: &ProgramName) -> Option<OrderingMachine> {
        self.machines.remove(name)
    }

    pub(crate) fn bouncer(&self, name: &ProgramName) -> Option<&Bouncer> {
        self.bouncers.get(name)
    }

    pub(crate) fn machine(&self, name: &ProgramName) -> Option<&OrderingMachine> {
        self.machines.get(name)
    }

    /// The bouncer with this key.
    pub(crate) fn by_key(&self, key: &str) -> Option<&Bouncer> {
        let hash = key_hash(key);
        self.bouncers.values().find(|bouncer| bouncer.key_hash == hash)
    }

    /// It was told up to a number.
    pub(crate) fn pulled(
        &mut self,
        name: &ProgramName,
        mark: u64,
        at: Timestamp,
        withheld: bool,
    ) -> Option<&Bouncer> {
        let bouncer = self.bouncers.get_mut(name)?;
        bouncer.pulled = Some((mark, at));
        bouncer.withheld = withheld;
        Some(bouncer)
    }

    /// A sign of a bouncer; it is returned where that is to be kept.
    pub(crate) fn sign_of_bouncer(&mut self, name: &ProgramName, sign: LastSeen) -> Option<&Bouncer> {
        let bouncer = self.bouncers.get_mut(name)?;
        is_news(&mut bouncer.last, sign).then_some(&*bouncer)
    }

    /// The same of a machine.
    pub(crate) fn sign_of_machine(&mut self, name: &ProgramName, sign: LastSeen) -> Option<&OrderingMachine> {
        let machine = self.machines.get_mut(name)?;
        is_news(&mut machine.last, sign).then_some(&*machine)
    }
}

/// Takes a sign over, and says whether it is worth keeping: one a minute is.
fn is_news(held: &mut LastSeen, sign: LastSeen) -> bool {
    let recent = held
        .at
        .is_some_and(|before| sign.at.is_some_and(|now| before <= now && now.since(before) < KEEP_SIGN));
    let at = if recent { held.at } else { sign.at };
    *held = LastSeen { at, ..sign };
    !recent
}
