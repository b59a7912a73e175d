//! A ledger in memory: slow, obvious, with small pages and a clock that is stepped.

use ipnet::IpNet;
use lapi::{Change, Ledger, Refusal, Standing, Verdict};
use model::{
    Bouncer, Decision, DecisionKind, Direction, Evidence, Mode, OrderingMachine, Origin, OriginKind,
    ProgramName, Severity, Target, Timestamp,
};
use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

/// 2026-09-21T14:13:20Z.
pub(crate) const BEGIN: Timestamp = Timestamp::from_seconds(1_790_000_000);
/// Decisions on a page.
const PAGE: usize = 2;

#[derive(Default)]
pub(crate) struct Fake {
    later: AtomicI64,
    pub(crate) told: Mutex<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    number: u64,
    changes: Vec<Change>,
    observes: bool,
    broken: bool,
    bouncers: Vec<Bouncer>,
    machines: Vec<ProgramName>,
}

impl Fake {
    pub(crate) fn step(&self, by: Duration) {
        self.later.fetch_add(i64::try_from(by.as_micros()).unwrap(), Relaxed);
        let now = self.now();
        let mut state = self.state();
        let over: Vec<usize> = (0..state.changes.len())
            .filter(|at| {
                let change = &state.changes[*at];
                change.ended.is_none() && change.decision.until.is_some_and(|until| until <= now)
            })
            .collect();
        if !over.is_empty() {
            state.number += 1;
            let number = state.number;
            for at in over {
                let until = state.changes[at].decision.until.unwrap();
                state.changes[at].ended = Some((number, until));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What a case orders: `ban 192.0.2.7 4h scenario ssh`, `allow 192.0.2.7 1h`, `lift 192.0.2.7`, `observe`.
    pub(crate) fn order(&self, text: &str) {
        let words: Vec<&str> = text.split(' ').collect();
        let now = self.now();
        match words.as_slice() {
            ["observe"] => self.state().observes = true,
            ["enforce"] => self.state().observes = false,
            ["break"] => self.state().broken = true,
            ["repair"] => self.state().broken = false,
            ["lift", target] => {
                self.end(&target.parse().unwrap(), now);
            }
            [kind @ ("ban" | "allow" | "watch" | "outward"), target, lasting, rest @ ..] => {
                let (by, name) = match rest {
                    ["scenario", name] => (OriginKind::Scenario, *name),
                    ["person", name] => (OriginKind::Person, *name),
                    [] => (OriginKind::Person, "ada"),
                    other => panic!("nobody orders like {other:?}"),
                };
                let until =
                    (*lasting != "forever").then(|| now.plus(model::parse_duration(lasting).unwrap()));
                self.add(Decision {
                    id: 0,
                    kind: if *kind == "allow" { DecisionKind::Allow } else { DecisionKind::Ban },
                    target: target.parse().unwrap(),
                    direction: if *kind == "outward" { Direction::Out } else { Direction::In },
                    mode: if *kind == "watch" { Mode::Observe } else { Mode::Enforce },
                    since: now,
                    until,
                    origin: Origin { kind: by, name: name.into(), at: None },
                    evidence: vec![Evidence::new(now, "auth.log", "Failed password for root")],
                });
            }
            other => panic!("no such order: {other:?}"),
        }
    }

    fn add(&self, mut decision: Decision) -> u64 {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        for change in &mut state.changes {
            let old = &change.decision;
            if change.ended.is_none()
                && (&old.target, old.kind, &old.origin.name)
                    == (&decision.target, decision.kind, &decision.origin.name)
            {
                change.ended = Some((number, decision.since));
            }
        }
        decision.id = number;
        state.changes.push(Change { decision, ended: None });
        number
    }

    fn end(&self, target: &Target, now: Timestamp) -> usize {
        let mut state = self.state();
        state.number += 1;
        let number = state.number;
        let standing = state.changes.iter_mut().filter(|change| change.ended.is_none());
        standing
            .filter(|change| change.decision.target == *target)
            .map(|change| change.ended = Some((number, now)))
            .count()
    }

    fn is_whole(&self) -> Result<(), Refusal> {
        let broken = self.state().broken;
        if broken { Err(Refusal { status: 503, message: "the disk is full".into() }) } else { Ok(()) }
    }

    fn bans(&self) -> Vec<Change> {
        let is_ban = |change: &&Change| {
            let ban = &change.decision;
            ban.kind == DecisionKind::Ban && ban.mode == Mode::Enforce && ban.direction != Direction::Out
        };
        self.state().changes.iter().filter(is_ban).cloned().collect()
    }

    fn standing_bans(&self) -> Vec<Decision> {
        self.bans()
            .into_iter()
            .filter(|change| change.ended.is_none())
            .map(|change| change.decision)
            .collect()
    }

    /// How far each bouncer was told.
    pub(crate) fn marks(&self) -> Vec<Option<u64>> {
        self.state().bouncers.iter().map(|bouncer| bouncer.pulled.map(|(mark, _)| mark)).collect()
    }
}

fn about(decision: &Decision) -> IpNet {
    match decision.target {
        Target::Net(net) => net,
        Target::Domain(_) | Target::DomainFor { .. } => panic!("no address"),
    }
}

fn is_net(decision: &Decision) -> bool {
    matches!(decision.target, Target::Net(_))
}

impl Ledger for Fake {
    fn now(&self) -> Timestamp {
        Timestamp(BEGIN.0 + self.later.load(Relaxed))
    }

    fn tell(&self, severity: Severity, message: String) {
        self.told.lock().unwrap().push(format!("{severity:?}: {message}"));
    }

    fn enforces(&self) -> bool {
        !self.state().observes
    }

    fn standing(&self, net: IpNet) -> Standing {
        let allowed = self.state().changes.iter().any(|change| {
            let decision = &change.decision;
            decision.kind == DecisionKind::Allow
                && change.ended.is_none()
                && is_net(decision)
                && about(decision).contains(&net)
        });
        let bans = self.standing_bans().into_iter().filter(|ban| is_net(ban) && about(ban).contains(&net));
        Standing { allowed, bans: bans.collect() }
    }

    fn within(&self, net: IpNet) -> Vec<Decision> {
        self.standing_bans().into_iter().filter(|ban| is_net(ban) && net.contains(&about(ban))).collect()
    }

    fn verdict(&self, client: IpAddr) -> Verdict {
        let standing = self.standing(client.into());
        match standing.bans.first() {
            Some(ban) if !standing.allowed && self.enforces() => {
                Verdict { blocked: true, reason: format!("banned_source: {}, ünd", ban.origin.name) }
            }
            Some(_) | None => Verdict { blocked: false, reason: "not_listed".into() },
        }
    }

    fn is_proxy(&self, peer: IpAddr) -> bool {
        peer == "10.2.0.5".parse::<IpAddr>().unwrap()
    }

    fn usual_ban(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn mark(&self) -> Result<u64, Refusal> {
        self.is_whole()?;
        Ok(self.state().number)
    }

    async fn mark_before_ends(&self, since: Timestamp) -> Result<Option<u64>, Refusal> {
        let state = self.state();
        let ends = state.changes.iter().filter_map(|change| change.ended);
        Ok(ends.filter(|(_, at)| *at >= since).map(|(number, _)| number - 1).min())
    }

    async fn begun(&self, after: u64, all: bool) -> Result<Vec<Decision>, Refusal> {
        self.is_whole()?;
        let standing = self.standing_bans();
        let longest = |ban: &&Decision| {
            let lasting = |ban: &Decision| (ban.until.is_none(), ban.until, ban.id);
            let same = standing.iter().filter(|other| other.target == ban.target);
            all || same.max_by_key(|other| lasting(other)).is_some_and(|longest| longest.id == ban.id)
        };
        let page = standing.iter().filter(|ban| ban.id > after).filter(longest);
        Ok(page.take(PAGE).cloned().collect())
    }

    async fn ended(&self, after: (u64, u64)) -> Result<Vec<Change>, Refusal> {
        let standing = self.standing_bans();
        let mut ended: Vec<Change> = self
            .bans()
            .into_iter()
            .filter(|change| change.ended.is_some_and(|(number, _)| (number, change.decision.id) > after))
            .filter(|change| standing.iter().all(|ban| ban.target != change.decision.target))
            .collect();
        ended.sort_by_key(|change| (change.ended.map(|(number, _)| number), change.decision.id));
        ended.truncate(PAGE);
        Ok(ended)
    }

    async fn allows_changed(&self, after: u64) -> Result<Vec<IpNet>, Refusal> {
        let state = self.state();
        let changed = state.changes.iter().filter(|change| {
            change.decision.kind == DecisionKind::Allow
                && (change.decision.id > after || change.ended.is_some_and(|(number, _)| number > after))
        });
        Ok(changed.map(|change| about(&change.decision)).collect())
    }

    async fn history(&self, most: u32) -> Result<Vec<Change>, Refusal> {
        let state = self.state();
        let bans = state.changes.iter().rev().filter(|change| change.decision.kind == DecisionKind::Ban);
        Ok(bans.take(most as usize).cloned().collect())
    }

    async fn ban(&self, decision: Decision) -> Result<u64, Refusal> {
        self.is_whole()?;
        if about(&decision).contains(&"10.1.0.1".parse::<IpAddr>().unwrap()) {
            let message = "10.1.0.1 is refused: it is the router's own address".into();
            return Err(Refusal { status: 409, message });
        }
        let lasting = decision.until.unwrap().since(decision.since);
        self.told.lock().unwrap().push(format!(
            "{:?} ban of {} for {lasting:?}: {} ({:?}, {:?})",
            decision.mode,
            decision.target,
            decision.origin.name,
            decision.origin.at,
            decision.evidence.iter().map(|seen| seen.text.as_str()).collect::<Vec<_>>()
        ));
        Ok(self.add(decision))
    }

    async fn lift(&self, target: Target, who: &str) -> Result<usize, Refusal> {
        self.told.lock().unwrap().push(format!("lift of {target} by {who}"));
        Ok(self.end(&target, self.now()))
    }

    async fn add_bouncer(&self, bouncer: &Bouncer) -> Result<bool, Refusal> {
        self.is_whole()?;
        let mut state = self.state();
        let same = |known: &Bouncer| known.name == bouncer.name || known.key_hash == bouncer.key_hash;
        if state.bouncers.iter().any(same) {
            return Ok(false);
        }
        state.bouncers.push(bouncer.clone());
        Ok(true)
    }

    async fn keep_bouncer(&self, bouncer: Bouncer) {
        let mut state = self.state();
        let known = state.bouncers.iter_mut().find(|known| known.name == bouncer.name);
        if let Some(known) = known {
            *known = bouncer;
        }
    }

    async fn remove_bouncer(&self, name: &ProgramName) -> Result<(), Refusal> {
        self.is_whole()?;
        self.state().bouncers.retain(|bouncer| bouncer.name != *name);
        Ok(())
    }

    async fn add_machine(&self, machine: &OrderingMachine) -> Result<bool, Refusal> {
        self.is_whole()?;
        let mut state = self.state();
        if state.machines.contains(&machine.name) {
            return Ok(false);
        }
        state.machines.push(machine.name.clone());
        Ok(true)
    }

    async fn keep_machine(&self, _machine: OrderingMachine) -> Result<(), Refusal> {
        self.is_whole()
    }

    async fn remove_machine(&self, name: &ProgramName) -> Result<(), Refusal> {
        self.is_whole()?;
        self.state().machines.retain(|machine| machine != name);
        Ok(())
    }
}
