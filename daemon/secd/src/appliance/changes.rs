//! Plan, then apply: one path for start, reload, change of mode and repair.

use anyhow::Result;
use enforce::nft::early;
use model::{Change, Mode, Severity};
use protocol::{Detached, ErrorReply, ModeReply, Problem, Reloaded};
use std::{collections::HashMap, sync::Arc};
use store::{Actor, BY_ITSELF};

use super::{Appliance, Current, SHIP_BY, Walls, apply::Lasting, plan::Wanted};
use crate::{
    clock, decisions::Failure, events, loading::Loaded, machine::Machine, packets::Names,
    process::giving_way, subscriptions::subscriptions,
};

impl Appliance {
    /// The first plan. Unlike later ones its failure ends the start.
    pub(super) async fn bring_up(&self, loaded: Loaded) -> Result<()> {
        let mut walls = self.change.lock().await;
        self.put_in_force(&mut walls, loaded, Lasting::ForGood).await
    }

    /// Reads everything again. If anything is wrong, what was in force stays.
    ///
    /// # Errors
    /// 409 a config is on trial, 422 the config is bad, 503 the kernel refused.
    pub async fn reload(&self, user: &str) -> Result<Reloaded, Failure> {
        let mut walls = self.change.lock().await;
        self.refuse_in_trial()?;
        // Someone who says so takes the file as it is, tried before or not.
        let reloaded = self.reload_from(&mut walls, false).await?;
        self.files().forget();
        self.write_down(user, config_change("reload", &reloaded.changes)).await;
        Ok(reloaded)
    }

    /// Reads everything again; `copy`: from the copy of the last config in force, where the file was tried and refused.
    async fn reload_from(&self, walls: &mut Walls, copy: bool) -> Result<Reloaded, Failure> {
        let former = self.current.load_full();
        let chosen = self.chosen_mode(&former).await;
        let files = self.files();
        let file = if copy && files.is_refused() { files.good() } else { self.flags.config.clone() };
        let loaded = tokio::task::block_in_place(|| Loaded::read(&file, chosen));
        let loaded = loaded.map_err(|problems| self.bad_config(problems))?;
        let notes = self.notes(&former, &loaded, chosen);
        self.put_in_force(walls, loaded, Lasting::ForGood).await.map_err(not_applied)?;
        if !(copy && files.is_refused()) {
            self.trouble("the config", None);
        }
        self.change_sinks(&former).await;
        let current = self.current.load();
        let changes = changes(&former, &current);
        self.system(Severity::Info, format!("reloaded: {}", changes.join(", ")));
        let generation = walls.dataplane.active().map_or(0, |active| u64::from(active.generation));
        Ok(Reloaded { generation, changes, notes })
    }

    /// The mode a person chose by command.
    pub(super) async fn chosen_mode(&self, former: &Current) -> Option<Mode> {
        self.store.mode().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the chosen mode cannot be read; it stays");
            Some(former.loaded.config.mode)
        })
    }

    fn bad_config(&self, problems: Vec<Problem>) -> Failure {
        self.trouble(
            "the config",
            Some(format!("the config has {} errors, the old one stays", problems.len())),
        );
        let reply =
            ErrorReply::new("the config is bad; the old one stays in force", Some("see `secctl check`"));
        (422, reply.with_problems(problems))
    }

    /// What a person who changes the config should know.
    pub(super) fn notes(&self, former: &Current, loaded: &Loaded, chosen: Option<Mode>) -> Vec<String> {
        let mut notes = loaded.notes.clone();
        if let Some(chosen) = chosen.filter(|chosen| *chosen != loaded.configured) {
            let configured = loaded.configured;
            notes.push(format!("mode {chosen} was chosen by command and wins over the config's; `secctl mode {configured}` ends that"));
        }
        if loaded.config.limits != former.loaded.config.limits {
            notes.push("`[limits]` changes with a restart: systemctl restart secd".into());
        }
        if loaded.config.store != former.loaded.config.store {
            notes.push("`[store]` changes with a restart: systemctl restart secd".into());
        }
        notes
    }

    /// Changes the mode of the whole and keeps it over restarts.
    ///
    /// # Errors
    /// 409 a config is on trial, 503 it could not be stored or applied.
    pub async fn set_mode(&self, mode: Mode, user: &str) -> Result<ModeReply, Failure> {
        self.change_mode(mode, &Actor::person(user)).await
    }

    /// The same, by whoever it is.
    pub(super) async fn change_mode(&self, mode: Mode, actor: &Actor) -> Result<ModeReply, Failure> {
        let mut walls = self.change.lock().await;
        self.refuse_in_trial()?;
        let unavailable = |error: String| (503, ErrorReply::new(error, Some("the mode is as it was")));
        let former = self.store.mode().await.map_err(|error| unavailable(error.to_string()))?;
        let before = self.current.load().loaded.config.mode;
        // Choosing what the config says gives the choice back to the config.
        let chosen = (mode != self.current.load().loaded.configured).then_some(mode);
        self.store.save_mode(chosen).await.map_err(|error| unavailable(error.to_string()))?;
        if let Err(failed) = self.reload_from(&mut walls, true).await {
            self.store.save_mode(former).await.map_err(|error| unavailable(error.to_string()))?;
            return Err(failed);
        }
        self.system(Severity::Notice, format!("mode {mode}, by {}", actor.by.name));
        if before != mode {
            self.write_down_by(actor, Change::Mode { before, after: mode }).await;
        }
        Ok(self.mode())
    }

    /// Takes everything out of the kernel. The daemon goes on without a packet path until a reload.
    ///
    /// # Errors
    /// 503 something could not be removed.
    pub async fn detach(&self) -> Result<Detached, Failure> {
        let mut walls = self.change.lock().await;
        self.refuse_in_trial()?;
        let failed = |error: String| {
            (
                503,
                ErrorReply::new(error, Some("try again; `nft list ruleset` and `ip link` show what is left")),
            )
        };
        let mut removed = Vec::new();
        let attached = walls.dataplane.attached().map_err(|error| failed(error.to_string()))?;
        for interface in attached {
            walls.dataplane.detach(&interface.name).map_err(|error| failed(error.to_string()))?;
            removed.push(format!("programs on {}", interface.name));
        }
        tokio::task::block_in_place(|| walls.wall.remove()).map_err(|error| failed(error.to_string()))?;
        removed.push(format!("nftables table inet {}", enforce::nft::TABLE));
        self.trouble(
            "enforcement",
            Some("detached by `secctl detach`; `secctl reload` attaches again".into()),
        );
        Ok(Detached { removed })
    }

    /// Puts a config in force: both walls, then everything that is fed by it.
    ///
    /// # Errors
    /// The walls cannot hold it; what was in force is in force.
    pub(super) async fn put_in_force(
        &self,
        walls: &mut Walls,
        mut loaded: Loaded,
        lasting: Lasting,
    ) -> Result<()> {
        let former = self.current.load_full();
        let now = clock::now().wall;
        let (subscribed, odd) = subscriptions(&loaded.config);
        loaded.notes.extend(odd);
        // First, since rules and lists are read from what was fetched.
        self.fetched.configure(subscribed, now);
        let sources = self.rule_sources(&loaded);
        tokio::task::block_in_place(|| loaded.read_rules(&sources));
        let unread = (!loaded.unread_rules.is_empty()).then(|| loaded.unread_rules.join("; "));
        let instead = if unread.is_some() && former.applied.is_some() {
            loaded.signatures = Arc::clone(&former.loaded.signatures);
            "the former signatures stay in force"
        } else {
            "their signatures do not run"
        };
        let machine = self.machine(&loaded.config);
        let in_force = former.applied.map(|_| &former.loaded.config.policy);
        tokio::task::block_in_place(|| self.number_domains(&mut loaded.config.policy, in_force))?;
        let config = &loaded.config;
        // Reading lists and running nft take their time; the other tasks go on meanwhile.
        let read = || self.read_feeds(config, &machine, &former.feeds, now);
        // At the start there is nobody yet to let go first.
        let answering = self.resolver.read().await.is_some();
        let (feeds, told) = tokio::task::block_in_place(|| if answering { giving_way(read) } else { read() });
        let (standing, addresses, odd) = self.standing(&config.policy, &feeds, now);
        let flooded = self.flooded(&config.policy);
        let wanted = Wanted { machine: &machine, feeds: &feeds, standing: &standing, flooded: &flooded };
        // Before the walls: an answer that counts under the new ones must not be lost.
        self.count_answers(&config.policy, false);
        let applied = match tokio::task::block_in_place(|| self.apply(walls, wanted, lasting)) {
            Ok(applied) => applied,
            Err(error) => {
                // The config that stays keeps its lists.
                self.fetched.configure(subscriptions(&former.loaded.config).0, now);
                return Err(error);
            }
        };
        self.count_answers(&config.policy, lasting == Lasting::ForGood);
        // The packet path holds. From here on nothing may fail the change: what does is a trouble and is told.
        for event in told {
            self.sender.send(event);
        }
        let ended = {
            let mut keeper = self.decisions.keeper();
            keeper.set_bans(config.bans.clone());
            keeper.protect(machine.protected(config))
        };
        self.end_now_protected(&ended).await;
        self.domains.store(Arc::clone(&feeds.domains));
        let logs = self.logs.update(config, &loaded.library, &loaded.dialects).await;
        self.trouble("logs", logs.err().map(|error| format!("the log sources are as they were: {error:#}")));
        self.trouble("jails and scenarios", self.logs.problems());
        if let Err(error) = self.logs.forget_gone(&self.store).await {
            tracing::warn!(%error, "offsets of logs that are not read any more are kept");
        }
        self.inspection.update(&loaded).await;
        self.trouble("signatures", unread.map(|why| format!("rule files cannot be read, {instead}: {why}")));
        let resolver = self.update_resolver(&loaded).await;
        self.trouble("dns", resolver.err().map(|error| format!("{error:#}")));
        self.update_pihole_api(loaded.config.pihole_api.as_ref()).await;
        self.update_lapi(loaded.config.lapi.as_ref()).await;
        self.update_reflector(config, &machine);
        let names = Arc::new(names(&loaded, &machine));
        self.tell_notes(&former.notes, &applied.notes);
        for note in &loaded.notes {
            tracing::warn!("{note}");
        }
        self.current.store(Arc::new(Current {
            names,
            feeds,
            machine,
            standing,
            addresses,
            applied: Some(now),
            counted: if applied.rules_changed { Some(now) } else { former.counted },
            interfaces: applied.interfaces,
            flooded,
            notes: applied.notes,
            loaded,
        }));
        self.try_again(false, true);
        if lasting == Lasting::ForGood {
            self.keep_good_config();
        }
        self.trouble("enforcement", None);
        self.trouble("interfaces", applied.absent);
        self.trouble("address sets", odd);
        self.trouble("what rules name", None);
        self.to_fetch.notify_one();
        Ok(())
    }

    /// Goes on with other sinks where the config names others; the old ones deliver what they have.
    pub(super) async fn change_sinks(&self, former: &Current) {
        let current = self.current.load_full();
        let (old, new) = (&former.loaded.config, &current.loaded.config);
        if old.loki == new.loki && old.events == new.events {
            return;
        }
        let mut shippers = self.shippers.lock().await;
        let changed = match (events::settings(new, &self.flags.state_dir), shippers.as_mut()) {
            (Ok(settings), Some(shippers)) => {
                if !shippers.restart(settings, SHIP_BY).await {
                    tracing::warn!("some events were not delivered to the former sinks");
                }
                None
            }
            (Ok(_), None) => None,
            (Err(error), _) => Some(format!("events go where they went before: {error:#}")),
        };
        self.trouble("events", changed);
    }

    /// Keeps the config that is in force, for a start at which the file has mistakes, and what holds before that.
    pub(super) fn keep_good_config(&self) {
        let loaded = &self.current.load().loaded;
        let files = self.files();
        if let Err(error) = files.keep(&loaded.text) {
            tracing::warn!(%error, file = %files.good().display(), "no copy of the config could be kept");
        }
        let early = early(&loaded.config.policy).map_err(anyhow::Error::new);
        let kept = early.and_then(|transaction| Ok(files.keep_early(&transaction)?));
        let why = |error| {
            format!("`fail` of the zones is as it was before, {}: {error:#}", files.early().display())
        };
        self.trouble("what holds before secd is up", kept.err().map(why));
    }

    /// Lifts bans of what has become protected.
    pub(super) async fn end_now_protected(&self, ids: &[u64]) {
        for id in ids {
            let Some(target) = self.decisions.keeper().get(*id).map(|ban| ban.target.clone()) else {
                continue;
            };
            let message = format!("the ban of {target} is lifted: it is protected now");
            let lift =
                protocol::Lift { target, kind: Some(model::DecisionKind::Ban), user: BY_ITSELF.into() };
            match self.decisions.lift(lift).await {
                Ok(_) => self.system(Severity::Warning, message),
                Err((_, reply)) => {
                    tracing::warn!(error = reply.error.message, "a ban of a protected address stays")
                }
            }
        }
    }
}

/// The failure of a plan that the walls did not take.
pub(super) fn not_applied(error: anyhow::Error) -> Failure {
    let help = Some("the old plan stays in force; see `secctl status`");
    (503, ErrorReply::new(format!("{error:#}"), help))
}

pub(super) fn names(loaded: &Loaded, machine: &Machine) -> Names {
    Names {
        policy: Arc::new(loaded.config.policy.clone()),
        lists: loaded.config.lists.iter().map(|list| list.name.clone()).collect(),
        interfaces: machine
            .interfaces
            .iter()
            .map(|(index, name)| (*index, name.clone()))
            .collect::<HashMap<_, _>>(),
    }
}

/// The row of the audit log about a change of the config.
pub(super) fn config_change(how: &str, changes: &[String]) -> Change {
    let changes = changes.iter().take(Change::MAX_LINES).cloned().collect();
    Change::Config { how: how.to_owned(), changes }
}

/// What a reload changed, in a line each.
pub(super) fn changes(former: &Current, current: &Current) -> Vec<String> {
    let (old, new) = (&former.loaded.config, &current.loaded.config);
    let mut changes = Vec::new();
    let mut count = |what: &str, old: usize, new: usize, same: bool| {
        if old != new {
            changes.push(format!("{what}: {old} -> {new}"));
        } else if !same {
            changes.push(format!("{what}: changed"));
        }
    };
    count("zones", old.policy.zones.len(), new.policy.zones.len(), old.policy.zones == new.policy.zones);
    count("rules", old.policy.rules.len(), new.policy.rules.len(), old.policy.rules == new.policy.rules);
    count("lists", old.lists.len(), new.lists.len(), old.lists == new.lists);
    count("logs", old.logs.len(), new.logs.len(), old.logs == new.logs);
    count("domains listed", former.feeds.domains.len(), current.feeds.domains.len(), true);
    let listed = |current: &Current| current.feeds.addresses.table().len();
    count("address prefixes listed", listed(former), listed(current), true);
    count("signatures", former.loaded.signatures.len(), current.loaded.signatures.len(), true);
    if old.mode != new.mode {
        changes.push(format!("mode: {} -> {}", old.mode, new.mode));
    }
    if old.dns != new.dns {
        changes.push("dns: changed".into());
    }
    if changes.is_empty() {
        changes.push("nothing".into());
    }
    changes
}
