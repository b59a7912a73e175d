//! What the kernel should hold, brought there: at start, at a change, when lists, devices, addresses or schedules change,
//! and every minute to repair what others changed.

use anyhow::Result;
use config::Config;
use enforce::nft::WallState;
use ipnet::IpNet;
use model::{Severity, Timestamp};
use policy::Policy;
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use super::{Appliance, Current, Walls, apply::Lasting, changes::names};
use crate::{
    clock,
    devices::Addresses,
    feeds::{Feeds, Reading},
    loading::Loaded,
    machine::Machine,
    standing::Standing,
    subscriptions::rules_name,
};

/// Everything a plan is made of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) machine: &'a Machine,
    pub(super) feeds: &'a Feeds,
    pub(super) standing: &'a Standing,
}

/// What [`Appliance::apply`] did.
pub(super) struct Applied {
    pub(super) changed: bool,
    pub(super) rules_changed: bool,
    pub(super) interfaces: Vec<(String, &'static str)>,
    pub(super) absent: Option<String>,
    pub(super) repaired: Option<String>,
}

impl Appliance {
    /// Compares the kernel with the plan and repairs it. Called every minute, and when interfaces, devices or schedules
    /// change. `lists`: read them anew, too; says whether that was done.
    pub(super) async fn reconcile(&self, lists: bool) -> bool {
        let mut walls = self.change.lock().await;
        // A plan on trial stands beside the former one, to which the kernel goes back by itself: until that is settled,
        // no third one may take the former's place.
        if self.in_trouble("enforcement") || self.on_trial() {
            return false;
        }
        let current = self.current.load_full();
        let (loaded, now) = (&current.loaded, clock::now().wall);
        let machine = Machine::read();
        if self.in_trouble("dns") {
            // An address it is to listen on may have come meanwhile.
            let resolver = self.update_resolver(loaded).await;
            self.trouble("dns", resolver.err().map(|error| format!("{error:#}")));
        }
        if machine != current.machine {
            let ended = self.decisions.keeper().protect(machine.protected(&loaded.config));
            self.end_now_protected(&ended).await;
        }
        let mut feeds = current.feeds.clone();
        if lists {
            let read = || self.read_feeds(&loaded.config, &machine, &current.feeds, now);
            let (read, told) = tokio::task::block_in_place(read);
            feeds = read;
            for event in told {
                self.sender.send(event);
            }
        }
        // Filling in countries and lists costs time: only when something of it changed.
        let same = !lists && self.addresses(&loaded.config.policy) == current.addresses;
        let (standing, addresses, odd) = if same && !self.devices_changed() {
            let filled = Arc::clone(&current.standing.filled);
            (Standing::at(filled, now, &self.zones), current.addresses.clone(), None)
        } else {
            let (standing, addresses, odd) = self.standing(&loaded.config.policy, &feeds, now);
            (standing, addresses, Some(odd))
        };
        let wanted = Wanted { machine: &machine, feeds: &feeds, standing: &standing };
        let applied = tokio::task::block_in_place(|| self.apply(&mut walls, wanted, Lasting::ForGood));
        match applied {
            Ok(applied) => {
                if let Some(repaired) = applied.repaired {
                    self.system(Severity::Warning, repaired);
                }
                self.domains.store(Arc::clone(&feeds.domains));
                self.current.store(Arc::new(Current {
                    loaded: loaded.clone(),
                    names: Arc::new(names(loaded, &machine)),
                    machine,
                    feeds,
                    standing,
                    addresses,
                    applied: if applied.changed { Some(now) } else { current.applied },
                    counted: if applied.rules_changed { Some(now) } else { current.counted },
                    interfaces: applied.interfaces,
                }));
                self.trouble("interfaces", applied.absent);
                self.trouble("the packet path", None);
                if let Some(odd) = odd {
                    self.trouble("address sets", odd);
                }
            }
            Err(error) => {
                // The former lists and addresses stay in force; it is tried again.
                self.let_in.store(true, Ordering::Release);
                self.trouble("the packet path", Some(format!("the plan could not be applied: {error:#}")));
            }
        }
        true
    }

    /// Brings both walls to the plan, the second one first: what XDP then lets through meets the new policy.
    pub(super) fn apply(&self, walls: &mut Walls, wanted: Wanted<'_>, lasting: Lasting) -> Result<Applied> {
        let own: Vec<_> = wanted.machine.addresses.iter().copied().collect();
        let policy = &wanted.standing.now;
        let mut plan = policy.lower(&own, wanted.feeds.addresses.table())?;
        plan.protected.extend(wanted.machine.gateways.iter().map(|gateway| IpNet::from(*gateway)));
        let former = self.current.load_full();
        let policy_is_new = former.applied.is_none() || former.standing.now != *policy;
        let state = walls.wall.check()?;
        let mut repaired = None;
        // A trial has both halves, also where it leaves the policy as it is: both are confirmed or go back.
        let is_trial = lasting != Lasting::ForGood;
        if policy_is_new || is_trial || state != WallState::Same {
            walls.raise_wall(policy, lasting)?;
            if !policy_is_new && state != WallState::Same {
                let table = enforce::nft::TABLE;
                repaired =
                    Some(format!("the nftables table inet {table} was changed by someone else; repaired"));
            }
        }
        let installed = match walls.install(&plan, lasting) {
            Ok(installed) => installed,
            Err(error) => {
                let error = anyhow::Error::new(error);
                // Both walls say the same, so the second one goes back as well.
                if (policy_is_new || is_trial)
                    && former.applied.is_some()
                    && let Err(stuck) = walls.lower_wall(&former.standing.now, lasting)
                {
                    return Err(error.context(format!("and nftables could not go back: {stuck:#}")));
                }
                return Err(error);
            }
        };
        plan.listed = Arc::default();
        let rules_changed = walls.plan.as_ref().is_none_or(|held| held.rows != plan.rows);
        walls.plan = Some(plan);
        let mut absent: Vec<String> =
            installed.plan.missing.iter().map(|name| format!("{name} is not there")).collect();
        absent.extend(installed.failed.iter().map(|(name, error)| format!("{name}: {error}")));
        let absent =
            (!absent.is_empty()).then(|| format!("{}; zones on them see no packets", absent.join(", ")));
        Ok(Applied {
            changed: installed.plan.changed,
            rules_changed,
            interfaces: installed.attached.into_iter().map(|held| (held.name, held.how.name())).collect(),
            absent,
            repaired,
        })
    }

    /// Reads every list that the config names.
    pub(super) fn read_feeds(
        &self,
        config: &Config,
        machine: &Machine,
        former: &Feeds,
        now: Timestamp,
    ) -> (Feeds, Vec<model::Event>) {
        let own = own_networks(config, machine);
        let reading = Reading {
            own: &own,
            state_dir: &self.flags.state_dir,
            former,
            fetched: &|name| self.fetched.file(name),
            now,
            seed: std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0),
        };
        Feeds::load(config, &reading)
    }

    /// The policy with everything put in, and what could not be.
    pub(super) fn standing(
        &self,
        policy: &Policy,
        feeds: &Feeds,
        now: Timestamp,
    ) -> (Standing, Addresses, Option<String>) {
        let addresses = self.addresses(policy);
        let geoip = feeds.geoip.as_ref().map(|database| database.data.as_ref());
        let allowed = self.allowed_devices();
        let (standing, odd) =
            Standing::new(policy, &feeds.sets, geoip, &allowed, &addresses, (now, &self.zones));
        (standing, addresses, feeds.geoip_error.clone().or(odd))
    }

    /// Files of rule sets that are fetched, as far as there are any yet.
    pub(super) fn rule_sources(&self, loaded: &Loaded) -> Vec<PathBuf> {
        let sources = loaded.config.signatures.sources.iter();
        sources.filter_map(|source| self.fetched.file(&rules_name(&source.name))).collect()
    }
}

/// Networks and addresses that no list may block.
pub(super) fn own_networks(config: &Config, machine: &Machine) -> Vec<IpNet> {
    let zones = config.policy.zones.iter().flat_map(|zone| zone.networks.iter().copied());
    let own = machine.addresses.iter().chain(&machine.gateways).map(|address| IpNet::from(*address));
    zones.chain(own).collect()
}
