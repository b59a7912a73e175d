//! What the kernel should hold, brought there: at start, at a change, when lists, devices, addresses or schedules change,
//! and every minute to repair what others changed.

use abi::ZoneId;
use anyhow::Result;
use config::Config;
use enforce::nft::WallState;
use ipnet::IpNet;
use model::{Severity, Timestamp};
use policy::Policy;
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use super::{Appliance, Current, Walls, apply::Lasting, changes::names};
use crate::{
    clock,
    devices::Addresses,
    feeds::{Feeds, Reading},
    loading::Loaded,
    machine::Machine,
    process::giving_way,
    standing::Standing,
    subscriptions::rules_name,
};

/// Everything a plan is made of.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) machine: &'a Machine,
    pub(super) feeds: &'a Feeds,
    pub(super) standing: &'a Standing,
    /// Zones under a SYN flood.
    pub(super) flooded: &'a [ZoneId],
}

/// What [`Appliance::apply`] did.
pub(super) struct Applied {
    pub(super) changed: bool,
    pub(super) rules_changed: bool,
    pub(super) interfaces: Vec<(String, &'static str)>,
    pub(super) absent: Option<String>,
    pub(super) repaired: Option<String>,
    pub(super) notes: Vec<String>,
}

/// What could not be put in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// When it is tried again.
    pub(super) at: tokio::time::Instant,
    /// Lists have to be read anew for it.
    pub(super) lists: bool,
}

/// After so long what could not be put in force is tried again, unless something changes before.
const RETRY_AFTER: Duration = Duration::from_secs(300);

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
        let machine = self.machine(&loaded.config);
        if self.in_trouble("dns") {
            // An address it is to listen on may have come meanwhile.
            let resolver = self.update_resolver(loaded).await;
            self.trouble("dns", resolver.err().map(|error| format!("{error:#}")));
        }
        if machine != current.machine || self.in_trouble("mDNS") {
            self.update_reflector(&loaded.config, &machine);
        }
        self.retry_pihole_api().await;
        self.retry_lapi().await;
        if machine != current.machine {
            let ended = self.decisions.keeper().protect(machine.protected(&loaded.config));
            self.end_now_protected(&ended).await;
        }
        let mut feeds = current.feeds.clone();
        if lists {
            let read = || self.read_feeds(&loaded.config, &machine, &current.feeds, now);
            let (read, told) = tokio::task::block_in_place(|| giving_way(read));
            feeds = read;
            for event in told {
                self.sender.send(event);
            }
        }
        // Filling in countries and lists costs time: only when something of it changed.
        let let_in = self.devices_changed();
        let same = !lists && !let_in && self.addresses(&loaded.config.policy) == current.addresses;
        let former = || {
            let filled = Arc::clone(&current.standing.filled);
            (Standing::at(filled, now, &self.zones), current.addresses.clone(), None)
        };
        let (mut standing, mut addresses, mut odd) = if same {
            former()
        } else {
            let (standing, addresses, odd) = self.standing(&loaded.config.policy, &feeds, now);
            (standing, addresses, Some(odd))
        };
        let flooded = self.flooded(&loaded.config.policy);
        let mut apply = |feeds: &Feeds, standing: &Standing| {
            let wanted = Wanted { machine: &machine, feeds, standing, flooded: &flooded };
            tokio::task::block_in_place(|| self.apply(&mut walls, wanted, Lasting::ForGood))
        };
        let mut applied = apply(&feeds, &standing);
        let mut stale = None;
        if let Err(error) = &applied
            && !same
        {
            // What was filled in anew may be too much, or more than the kernel takes now. Time, floods and what is blocked
            // go on with what rules named before; if that does not help, with all that was there before.
            stale = Some(format!(
                "new lists, countries or devices could not be put in force, the former ones stay: {error:#}"
            ));
            (standing, addresses, odd) = former();
            let Feeds { sets, geoip, .. } = current.feeds.clone();
            feeds = Feeds { sets, geoip, ..feeds };
            applied = apply(&feeds, &standing);
            if applied.is_err() && lists {
                feeds = current.feeds.clone();
                applied = apply(&feeds, &standing);
            }
        }
        let failed = stale.is_some() || applied.is_err();
        self.try_again(failed, lists);
        match applied {
            Ok(applied) => {
                if let Some(repaired) = &applied.repaired {
                    self.system(Severity::Warning, repaired.clone());
                }
                self.domains.store(Arc::clone(&feeds.domains));
                self.tell_notes(&current.notes, &applied.notes);
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
                    flooded,
                    notes: applied.notes,
                }));
                self.trouble("interfaces", applied.absent);
                self.trouble("the packet path", None);
                if stale.is_some() || self.retry().is_none() {
                    self.trouble("what rules name", stale);
                }
                if let Some(odd) = odd {
                    self.trouble("address sets", odd);
                }
            }
            Err(error) => {
                self.trouble("the packet path", Some(format!("the plan could not be applied: {error:#}")));
            }
        }
        true
    }

    /// Remembers whether what was new could be put in force; `lists`: it was about lists as well.
    pub(super) fn try_again(&self, failed: bool, lists: bool) {
        let mut retry = self.retry.lock().unwrap_or_else(PoisonError::into_inner);
        let lists_wait = retry.is_some_and(|before| before.lists);
        if failed {
            let at = tokio::time::Instant::now() + RETRY_AFTER;
            *retry = Some(Retry { at, lists: lists || lists_wait });
            self.let_in.store(true, Ordering::Release);
        } else if lists || !lists_wait {
            *retry = None;
        }
    }

    /// What could not be put in force and is to be tried again at some time.
    pub(super) fn retry(&self) -> Option<Retry> {
        *self.retry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is new to know of how it is enforced.
    pub(super) fn tell_notes(&self, former: &[String], notes: &[String]) {
        for note in notes.iter().filter(|note| !former.contains(note)) {
            self.system(Severity::Notice, note.clone());
        }
    }

    /// Brings both walls to the plan, the second one first: what XDP then lets through meets the new policy. Before
    /// either changes, the plan lies ready in the kernel: one that does not fit changes nothing.
    pub(super) fn apply(&self, walls: &mut Walls, wanted: Wanted<'_>, lasting: Lasting) -> Result<Applied> {
        let own: Vec<_> = wanted.machine.addresses.iter().copied().collect();
        let policy = &wanted.standing.now;
        let mut plan = policy.lower(&own, wanted.feeds.addresses.table())?;
        plan.protected.extend(wanted.machine.gateways.iter().map(|gateway| IpNet::from(*gateway)));
        plan.protected.extend(wanted.machine.named.values().flatten().map(|address| IpNet::from(*address)));
        let staged = walls.dataplane.stage(&plan)?;
        let former = self.current.load_full();
        let policy_is_new = former.applied.is_none() || former.standing.now != *policy;
        let flood_is_new = former.flooded != wanted.flooded;
        // A trial has both halves, also where it leaves the policy as it is: both are confirmed or go back.
        let is_trial = lasting != Lasting::ForGood;
        let mut repaired = None;
        let raised = (|| {
            let state = walls.wall.check()?;
            if !(policy_is_new || flood_is_new || is_trial || state != WallState::Same) {
                return Ok(false);
            }
            walls.raise_wall(policy, wanted.flooded, lasting)?;
            if !policy_is_new && state != WallState::Same {
                let table = enforce::nft::TABLE;
                repaired =
                    Some(format!("the nftables table inet {table} was changed by someone else; repaired"));
            }
            Ok(policy_is_new || flood_is_new || is_trial)
        })();
        let raised = match raised {
            Ok(raised) => raised,
            Err(error) => {
                if let Err(error) = walls.dataplane.unstage(staged) {
                    tracing::warn!(error = %error, "a plan that is not wanted is still in memory");
                }
                return Err(error);
            }
        };
        let installed = match walls.install(&plan, staged, lasting) {
            Ok(installed) => installed,
            Err(error) => {
                let error = anyhow::Error::new(error);
                // Both walls say the same, so the second one goes back as well.
                if raised
                    && former.applied.is_some()
                    && let Err(stuck) = walls.lower_wall(&former.standing.now, &former.flooded, lasting)
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
        let mut notes = walls.wall.notes().to_vec();
        notes.extend(installed.attached.iter().filter_map(|held| held.warning.clone()));
        Ok(Applied {
            changed: installed.plan.changed,
            rules_changed,
            interfaces: installed.attached.into_iter().map(|held| (held.name, held.how.name())).collect(),
            absent,
            repaired,
            notes,
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
        // A copy: filling in takes its time, and people ask about devices meanwhile.
        let allowed = self.allowed_devices().clone();
        let fill = || Standing::new(policy, &feeds.sets, geoip, &allowed, &addresses, (now, &self.zones));
        let (standing, odd) = tokio::task::block_in_place(fill);
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
