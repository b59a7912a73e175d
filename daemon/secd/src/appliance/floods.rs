//! SYN floods: looked for with every look at the machine, told, and answered by nftables.

use abi::{Action, ZoneId};
use model::{Body, Event, EventAction, Mode, Reason, Severity};
use policy::Policy;
use std::{
    collections::BTreeMap,
    sync::{MutexGuard, PoisonError},
    time::Duration,
};

use super::Appliance;
use crate::{
    clock,
    floods::{Change, Floods, GRACE, Seen, WINDOW},
};

impl Appliance {
    /// Looks for SYN floods in the zones that enforce; tells of those that begin and end. Returns whether nftables has to
    /// follow.
    pub(super) fn look_for_floods(&self) -> bool {
        let current = self.current.load_full();
        let policy = &current.loaded.config.policy;
        let now = clock::now().boot;
        let enforced = policy.zones.iter().filter(|zone| policy.mode.and(zone.mode) == Mode::Enforce);
        let zones: BTreeMap<String, ZoneId> = enforced.map(|zone| (zone.name.clone(), zone.id)).collect();
        let counts: BTreeMap<String, u64> = {
            let counters = self.counters_handle();
            let count = |id| counters.packet(id, Reason::RuleAllowed, Action::Pass).ok();
            zones.iter().filter_map(|(name, id)| Some((name.clone(), count(*id)?.packets))).collect()
        };
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let openings = if self.floods().suspects(&counts, now) {
            let window = (now.saturating_sub(nanoseconds(WINDOW)), now.saturating_sub(nanoseconds(GRACE)));
            let flows = self.flows_handle();
            tokio::task::block_in_place(|| flows.openings(window.0, window.1)).unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        let seen = counts.into_iter().map(|(name, new_flows)| {
            let openings = openings.get(&zones[&name]).copied().unwrap_or_default();
            (name, Seen { new_flows, openings })
        });
        let changes = self.floods().look(&seen.collect(), now);
        if !changes.is_empty() {
            changes.iter().for_each(|change| self.tell_flood(change));
            self.note_floods();
        }
        self.flooded(policy) != current.flooded
    }

    /// Zones of a policy that are under a flood.
    pub(super) fn flooded(&self, policy: &Policy) -> Vec<ZoneId> {
        let floods = self.floods();
        let flooded = floods.flooded();
        policy.zones.iter().filter(|zone| flooded.contains(zone.name.as_str())).map(|zone| zone.id).collect()
    }

    fn floods(&self) -> MutexGuard<'_, Floods> {
        self.floods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_floods(&self) {
        let zones = self.floods().flooded().into_iter().collect::<Vec<_>>().join(", ");
        let text = format!(
            "SYN flood from zone {zones}: nftables answers what is opened from there until a source has proven itself"
        );
        self.note_trouble("SYN floods", Some(text.as_str()).filter(|_| !zones.is_empty()));
    }

    fn tell_flood(&self, change: &Change) {
        let Change { zone, rate, began } = change;
        let (severity, message) = if *began {
            let message = format!(
                "SYN flood from zone {zone}: {rate} openings a second that nobody completes; each is answered by a SYN proxy now, connections go on"
            );
            (Severity::Warning, message)
        } else {
            (Severity::Notice, format!("the SYN flood from zone {zone} is over"))
        };
        self.sender.send(Event {
            ts: clock::now().wall,
            severity,
            action: EventAction::Alert,
            zone: Some(zone.clone()),
            reason: Some("syn_flood".into()),
            body: Body::System { message, count: Some(*rate) },
        });
    }
}
