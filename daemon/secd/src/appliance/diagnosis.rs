//! What the daemon knows of itself, for `secctl doctor`.

use abi::{MAX_BANS, MAX_LISTED, MAX_RULES};
use protocol::Diagnosis;
use std::collections::BTreeSet;

use super::Appliance;
use crate::{
    clock,
    doctor::{Known, diagnose, facts::Facts},
    keeper::MAX_DECISIONS,
};

impl Appliance {
    /// A look at the whole machine.
    pub async fn diagnosis(&self) -> Diagnosis {
        let current = self.current.load_full();
        let policy = &current.loaded.config.policy;
        let asked: BTreeSet<String> =
            policy.zones.iter().flat_map(|zone| [zone.interface.clone(), zone.device.clone()]).collect();
        let facts = Facts::gather(&self.flags.bpffs, &asked).await;
        let (decisions, banned) = {
            let keeper = self.decisions.keeper();
            (keeper.len() as u64, keeper.banned_prefixes() as u64)
        };
        let (assured, room) = self.flow_room();
        let listed = current.feeds.addresses.table().len() as u64;
        let lost = self.counters_handle().lost().unwrap_or_default();
        let dns = match self.resolver.read().await.as_ref() {
            Some(resolver) => resolver.addresses().await,
            None => Vec::new(),
        };
        let known = Known {
            policy,
            mode: current.loaded.config.mode,
            attached: current.interfaces.iter().map(|(name, how)| (name.as_str(), *how)).collect(),
            troubles: self.troubles.lock().map(|all| all.values().cloned().collect()).unwrap_or_default(),
            notes: current.notes.clone(),
            tables: vec![
                ("established flows", assured, room, "raise `flows` under [limits]"),
                (
                    "rules",
                    policy.rules.len() as u64,
                    u64::from(MAX_RULES),
                    "merge rules; groups of addresses help",
                ),
                ("banned prefixes", banned, u64::from(MAX_BANS), "ban ranges instead of single addresses"),
                ("decisions", decisions, MAX_DECISIONS as u64, "let bans end: give them a time"),
                (
                    "listed prefixes",
                    listed,
                    u64::from(MAX_LISTED),
                    "leave a list out, or raise its min_score",
                ),
            ],
            lost: lost
                .iter()
                .map(|(kind, count)| (kind.name(), *count))
                .chain([("questions of the log", self.query_log_status().lost)])
                .collect(),
            own: current.machine.addresses.iter().copied().collect(),
            dns: dns.into_iter().collect(),
            now: clock::now().wall,
        };
        Diagnosis { findings: diagnose(&facts, &known) }
    }
}
