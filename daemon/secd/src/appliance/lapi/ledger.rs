//! The appliance as CrowdSec's API sees it.

use ::lapi::{Change, Ledger, Refusal, Standing, Verdict};
use abi::DIRECTION_IN;
use ipnet::IpNet;
use model::{
    Bouncer, Decision, DecisionKind, Mode, OrderingMachine, ProgramName, Severity, Target, Timestamp,
};
use protocol::{ByKind, Lift, Why};
use std::{
    net::IpAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use store::{Filter, State, Store, StoreError, Stored};

use super::super::{Appliance, Current};
use crate::{clock, decisions::Failure};

/// The appliance, as long as it runs.
pub(in crate::appliance) struct Behind(pub(super) Weak<Appliance>);

impl Behind {
    /// What it says; nothing while it stops.
    fn ask<T>(&self, what: impl FnOnce(&Appliance, &Current) -> T) -> Option<T> {
        let secd = self.0.upgrade()?;
        let current = secd.current.load_full();
        Some(what(&secd, &current))
    }

    fn running(&self) -> Result<Arc<Appliance>, Refusal> {
        self.0.upgrade().ok_or_else(|| Refusal { status: 503, message: "secd stops".into() })
    }

    fn store(&self) -> Result<Store, Refusal> {
        Ok(self.running()?.store.clone())
    }
}

/// Whether bouncers are told of it.
fn is_told(decision: &Decision, now: Timestamp) -> bool {
    decision.kind == DecisionKind::Ban
        && decision.mode == Mode::Enforce
        && decision.direction.bits() & DIRECTION_IN != 0
        && decision.until.is_none_or(|until| until > now)
}

impl Ledger for Behind {
    fn now(&self) -> Timestamp {
        clock::now().wall
    }

    fn tell(&self, severity: Severity, message: String) {
        self.ask(|secd, _| secd.system(severity, message));
    }

    fn enforces(&self) -> bool {
        self.ask(|_, current| current.loaded.config.mode == Mode::Enforce).unwrap_or(false)
    }

    fn standing(&self, net: IpNet) -> Standing {
        let now = self.now();
        let found = self.ask(|secd, _| {
            let keeper = secd.decisions.keeper();
            let about = keeper.about(net);
            let is_allow = |decision: &&Decision| {
                decision.kind == DecisionKind::Allow && decision.until.is_none_or(|until| until > now)
            };
            Standing {
                allowed: about.iter().any(is_allow),
                bans: about.into_iter().filter(|decision| is_told(decision, now)).cloned().collect(),
            }
        });
        found.unwrap_or_default()
    }

    fn within(&self, net: IpNet) -> Vec<Decision> {
        let now = self.now();
        let found = self.ask(|secd, _| {
            let keeper = secd.decisions.keeper();
            let lies_in =
                |decision: &Decision| matches!(decision.target, Target::Net(inner) if net.contains(&inner));
            let touching = keeper.touching(net).into_iter();
            touching.filter(|decision| is_told(decision, now) && lies_in(decision)).cloned().collect()
        });
        found.unwrap_or_default()
    }

    fn verdict(&self, client: IpAddr) -> Verdict {
        let found = self.ask(|secd, current| {
            let why = secd.why_held(current, &Target::address(client), Some(DIRECTION_IN), None);
            Verdict { blocked: why.blocked, reason: in_words(&why) }
        });
        // Never in the way.
        found.unwrap_or_else(|| Verdict { blocked: false, reason: "secd stops".into() })
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        let is_one = |_: &Appliance, current: &Current| {
            let api = current.loaded.config.lapi.as_ref();
            api.is_some_and(|api| api.trusted_proxies.iter().any(|net| net.contains(&peer)))
        };
        self.ask(is_one).unwrap_or(false)
    }

    fn usual_ban(&self) -> Duration {
        let ban = self.ask(|_, current| current.loaded.config.lapi.as_ref().map(|api| api.ban));
        ban.flatten().unwrap_or(Duration::from_secs(4 * 3600))
    }

    async fn mark(&self) -> Result<u64, Refusal> {
        self.store()?.mark().await.map_err(unreadable)
    }

    async fn mark_before_ends(&self, since: Timestamp) -> Result<Option<u64>, Refusal> {
        self.store()?.mark_before_ends(since).await.map_err(unreadable)
    }

    async fn begun(&self, after: u64, all: bool) -> Result<Vec<Decision>, Refusal> {
        self.store()?.begun(after, all, self.now()).await.map_err(unreadable)
    }

    async fn ended(&self, after: (u64, u64)) -> Result<Vec<Change>, Refusal> {
        let ended = self.store()?.ended(after, self.now()).await.map_err(unreadable)?;
        Ok(ended.into_iter().map(change).collect())
    }

    async fn allows_changed(&self, after: u64) -> Result<Vec<IpNet>, Refusal> {
        let targets = self.store()?.allows_changed(after).await.map_err(unreadable)?;
        let nets = targets.into_iter().filter_map(|target| match target {
            Target::Net(net) => Some(net),
            Target::Domain(_) | Target::DomainFor { .. } => None,
        });
        Ok(nets.collect())
    }

    async fn history(&self, most: u32) -> Result<Vec<Change>, Refusal> {
        let filter = Filter {
            kind: Some(DecisionKind::Ban),
            state: State::All,
            limit: Some(most),
            ..Filter::default()
        };
        let found = self.store()?.find(&filter, self.now()).await.map_err(unreadable)?;
        Ok(found.into_iter().map(change).collect())
    }

    async fn ban(&self, decision: Decision) -> Result<u64, Refusal> {
        self.running()?.decisions.take(decision).await.map_err(refusal)
    }

    async fn lift(&self, target: Target, who: &str) -> Result<usize, Refusal> {
        let lift = Lift { target, kind: Some(DecisionKind::Ban), user: who.to_owned() };
        Ok(self.running()?.lift(lift).await.map_err(refusal)?.lifted.len())
    }

    async fn add_bouncer(&self, bouncer: &Bouncer) -> Result<bool, Refusal> {
        self.store()?.add_bouncer(bouncer).await.map_err(unwritten)
    }

    async fn keep_bouncer(&self, bouncer: Bouncer) {
        let Ok(store) = self.store() else { return };
        if let Err(error) = store.keep_bouncer(&bouncer).await {
            tracing::debug!(%error, "after a restart a bouncer is told some decisions again");
        }
    }

    async fn remove_bouncer(&self, name: &ProgramName) -> Result<(), Refusal> {
        self.store()?.remove_bouncer(name).await.map(|_| ()).map_err(unwritten)
    }

    async fn add_machine(&self, machine: &OrderingMachine) -> Result<bool, Refusal> {
        self.store()?.add_machine(machine).await.map_err(unwritten)
    }

    async fn keep_machine(&self, machine: OrderingMachine) -> Result<(), Refusal> {
        self.store()?.keep_machine(&machine).await.map_err(unwritten)
    }

    async fn remove_machine(&self, name: &ProgramName) -> Result<(), Refusal> {
        self.store()?.remove_machine(name).await.map(|_| ()).map_err(unwritten)
    }
}

fn change(stored: Stored) -> Change {
    Change { decision: stored.decision, ended: stored.ended.map(|ended| (ended.seq, ended.at)) }
}

/// `banned_source: scenario ssh-bruteforce, until 2026-11-23T17:36:50Z`.
fn in_words(why: &Why) -> String {
    let mut text = why.reason.clone();
    if let Some(by) = &why.by {
        let kind = match by.kind {
            ByKind::Person => "by ",
            ByKind::Scenario => "scenario ",
            ByKind::Signature => "signature ",
            ByKind::List => "list ",
            ByKind::Rule | ByKind::ZoneDefault | ByKind::Protected | ByKind::Check => "",
        };
        text = format!("{text}: {kind}{}", by.name);
        if by.kind == ByKind::List
            && let Some(line) = by.line
        {
            text = format!("{text} line {line}");
        }
    }
    if let Some(until) = why.until {
        text = format!("{text}, until {until}");
    }
    if why.observed { format!("{text} (only observed)") } else { text }
}

fn refusal((status, reply): Failure) -> Refusal {
    Refusal { status, message: reply.error.message }
}

fn unreadable(error: StoreError) -> Refusal {
    Refusal { status: 500, message: error.to_string() }
}

fn unwritten(error: StoreError) -> Refusal {
    let status = if matches!(error, StoreError::TooManyClients { .. }) { 409 } else { 503 };
    Refusal { status, message: error.to_string() }
}
