//! The shell around the keeper: orders of people, bans from engines, storing, ending, telling.
//!
//! What a person orders is acknowledged when it is stored and in force. A ban from an engine is checked, enforced,
//! told, and only then stored, with retry: a slow disk must not let an attacker go on.

use abi::BanValue;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use lists::Overrides;
use model::{
    Body, Decision, DecisionKind, Direction, Event, EventAction, Evidence, Mode, Origin, OriginKind,
    Severity, Target,
};
use protocol::{ErrorReply, Lift, Lifted, Order, Ordered};
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Actor, Filter, State, Store, StoreError};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    clock,
    keeper::{
        Keeper, Kernel, MAX_ALLOWS, MAX_DECISIONS, Now, Refusal,
        steps::{Mark, moved},
    },
};

/// Tells an event; never waits.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Bans that are enforced and wait to be stored. When full, further ones are enforced, told and counted, but do not
/// outlive the daemon.
pub const MAX_UNSTORED: usize = 8192;
/// Decisions stored in one transaction.
const STORE_BATCH: usize = 256;
/// Longest pause between two tries to store.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Ids of what is not stored yet start here; stored ones stay below, also in the kernel's 32 bits.
const UNSTORED: u64 = 1 << 31;

/// How often where the clock is gets kept, in nanoseconds: how much of a restart's time is not known.
const KEEP_CLOCK_EVERY: u64 = 60_000_000_000;

/// A status and a reply of the control socket.
pub type Failure = (u16, ErrorReply);

/// How long a stop waits for bans to be stored.
const STORE_BY: Duration = Duration::from_secs(5);

/// Every decision, shared by the control socket and the engines.
pub struct Decisions<K> {
    keeper: Mutex<Keeper<K>>,
    store: Store,
    /// Held by whoever changes store and keeper together, so that both see changes in one order.
    both: tokio::sync::Mutex<()>,
    overrides: Arc<ArcSwap<Overrides>>,
    unstored: Mutex<Option<mpsc::Sender<Decision>>>,
    storing: Mutex<Option<JoinHandle<()>>>,
    next_unstored: AtomicU64,
    behind: Mutex<Option<String>>,
    /// What is over for the keeper is over in the store too, as far as is known.
    ended_in_store: AtomicBool,
    clocks: Mutex<Clocks>,
    tell: Tell,
}

/// What the wall clock is measured by.
struct Clocks {
    read: Box<dyn Fn() -> Now + Send>,
    /// Where they were last.
    mark: Mark,
    /// By how much the clock was set that the store does not know of yet, in microseconds.
    unstored: i64,
    /// When the mark was kept last, in nanoseconds since boot.
    kept: u64,
}

/// What became of many decisions that were ordered at once.
#[derive(Debug, Default)]
pub struct Many {
    /// How many are in force.
    pub taken: usize,
    /// Those that are not, by their place, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// The row of the audit log.
    pub audit: Option<u64>,
}

/// What an earlier run left in the kernel.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Bans.
    pub bans: Vec<(IpNet, BanValue)>,
    /// Allows.
    pub allows: Vec<IpNet>,
}

impl<K: Kernel + 'static> Decisions<K> {
    /// Takes over what is stored and what the kernel holds; starts ending and storing in the background.
    ///
    /// # Errors
    /// The stored decisions cannot be read.
    pub async fn start(keeper: Keeper<K>, held: Held, store: Store, tell: Tell) -> anyhow::Result<Arc<Self>> {
        Self::start_by(keeper, held, store, tell, clock::now, &clock::boot_id()).await
    }

    /// The same by other clocks than this machine's.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_by(
        mut keeper: Keeper<K>,
        held: Held,
        store: Store,
        tell: Tell,
        read: impl Fn() -> Now + Send + 'static,
        boot_id: &str,
    ) -> anyhow::Result<Arc<Self>> {
        let now = read();
        let mark = store.clock().await?.and_then(|text| serde_json::from_str::<Mark>(&text).ok());
        let step = mark.map_or(0, |mark| mark.step(now, boot_id));
        // What was in force by the clock as it was, and what was left of it.
        let mut stored = store.active(moved(now.wall, step.saturating_neg())).await?;
        for decision in &mut stored {
            decision.until = decision.until.map(|until| moved(until, step));
        }
        let anything =
            store.find(&Filter { state: State::All, limit: Some(1), ..Filter::default() }, now.wall).await?;
        let unstored = left_over(&held, anything.is_empty(), now);
        let nets = held.bans.iter().map(|(net, _)| *net);
        stored.extend(unstored.iter().cloned());
        keeper.restore(stored, nets, held.allows.iter().copied(), now);
        match store.banned_since(keeper.remembers_since(moved(now.wall, step.saturating_neg()))).await {
            Ok(banned) => {
                for past in banned {
                    if let Target::Net(net) = past.target {
                        keeper.recall(net, past.times, past.until.map(|until| moved(until, step)));
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "who was banned before is not known; bans begin anew"),
        }
        let (sender, queue) = mpsc::channel(MAX_UNSTORED);
        let clocks = Clocks { read: Box::new(read), mark: Mark::new(now, boot_id), unstored: step, kept: 0 };
        let decisions = Arc::new(Self {
            keeper: Mutex::new(keeper),
            store,
            both: tokio::sync::Mutex::default(),
            overrides: Arc::default(),
            next_unstored: AtomicU64::new(unstored.len() as u64),
            unstored: Mutex::new(Some(sender)),
            storing: Mutex::default(),
            behind: Mutex::default(),
            ended_in_store: AtomicBool::new(false),
            clocks: Mutex::new(clocks),
            tell,
        });
        if step != 0 {
            decisions.tell_step(step);
        }
        decisions.publish_names();
        decisions.check_kernel();
        let storing = tokio::spawn(Arc::clone(&decisions).store_unstored(queue));
        *lock(&decisions.storing) = Some(storing);
        for decision in unstored {
            decisions.store_later(decision);
        }
        Ok(decisions)
    }

    /// Both clocks, now. Where the wall clock was set, every end has moved with it before this returns. Never called with
    /// the keeper held.
    pub fn now(&self) -> Now {
        let mut clocks = lock(&self.clocks);
        let now = (clocks.read)();
        let step = clocks.mark.step(now, &clocks.mark.boot_id);
        (clocks.mark.boot, clocks.mark.wall) = (now.boot, now.wall.0);
        if step != 0 {
            clocks.unstored = clocks.unstored.saturating_add(step);
            self.keeper().move_ends(step);
            drop(clocks);
            self.tell_step(step);
        }
        now
    }

    /// Tells the store what it does not know of the clock yet; before anything else is written to it.
    async fn settle_clock(&self) -> Result<(), StoreError> {
        let (step, mark) = {
            let clocks = lock(&self.clocks);
            (clocks.unstored, clocks.mark.clone())
        };
        if step != 0 {
            self.store.move_ends(step, &text(&mark)).await?;
            let mut clocks = lock(&self.clocks);
            clocks.unstored = clocks.unstored.saturating_sub(step);
        }
        Ok(())
    }

    /// Keeps where the clock is, now and then.
    async fn keep_clock(&self, at_once: bool) {
        let mark = {
            let mut clocks = lock(&self.clocks);
            let due = at_once || clocks.mark.boot.saturating_sub(clocks.kept) >= KEEP_CLOCK_EVERY;
            if !due || clocks.unstored != 0 {
                return;
            }
            clocks.kept = clocks.mark.boot;
            clocks.mark.clone()
        };
        if let Err(error) = self.store.keep_clock(&text(&mark)).await {
            tracing::warn!(%error, "where the clock is was not kept");
        }
    }

    /// The keeper. Held only for moments, never over an await.
    pub fn keeper(&self) -> MutexGuard<'_, Keeper<K>> {
        lock(&self.keeper)
    }

    /// Decisions about names, for the resolver.
    #[must_use]
    pub fn overrides(&self) -> Arc<ArcSwap<Overrides>> {
        Arc::clone(&self.overrides)
    }

    /// Carries out what a person ordered.
    ///
    /// # Errors
    /// 400 the order makes no sense, 409 it is refused, 503 it could not be stored. Nothing is in force then.
    pub async fn order(&self, order: Order) -> Result<Ordered, Failure> {
        order.check().map_err(|message| (400, ErrorReply::new(message, None)))?;
        let now = self.now();
        let mut decision = Decision {
            id: 0,
            kind: order.kind,
            target: order.target,
            direction: order.direction,
            mode: Mode::Enforce,
            since: now.wall,
            until: order.lasting.map(|lasting| now.wall.plus(lasting.0)),
            origin: Origin { kind: OriginKind::Person, name: order.user, at: None },
            evidence: order.comment.iter().map(|text| Evidence::new(now.wall, "comment", text)).collect(),
        };
        decision.id = self.take(decision.clone()).await?;
        Ok(Ordered { decision, notes: self.behind().into_iter().collect() })
    }

    /// Puts a decision in force that somebody waits for; returns its number when it is stored.
    ///
    /// # Errors
    /// 409 it is refused, 503 it could not be stored. Nothing is in force then.
    pub async fn take(&self, mut decision: Decision) -> Result<u64, Failure> {
        let _both = self.both.lock().await;
        let now = self.now();
        self.keeper().check(&decision, now).map_err(refused)?;
        self.settle_clock().await.map_err(not_stored)?;
        decision.id = self.store.add(&decision).await.map_err(not_stored)?;
        let number = decision.id;
        self.admit(decision);
        Ok(number)
    }

    /// Puts many decisions in force at once; what is refused is left out. One row of the audit log, and one event.
    ///
    /// # Errors
    /// 503 they could not be stored. Nothing is in force then.
    pub async fn take_many(&self, decisions: Vec<Decision>, actor: &Actor) -> Result<Many, Failure> {
        let _both = self.both.lock().await;
        let now = self.now();
        let (mut taken, mut many) = (Vec::with_capacity(decisions.len()), Many::default());
        {
            let keeper = self.keeper();
            let (room, allow_room) = keeper.room();
            let mut allows = 0;
            for (place, decision) in decisions.into_iter().enumerate() {
                let is_allow = decision.kind == DecisionKind::Allow && decision.target.domain().is_none();
                let checked = match keeper.check(&decision, now) {
                    Ok(()) if taken.len() >= room => Err(Refusal::Full { limit: MAX_DECISIONS }),
                    Ok(()) if is_allow && allows >= allow_room => Err(Refusal::Full { limit: MAX_ALLOWS }),
                    other => other,
                };
                match checked {
                    Ok(()) => {
                        allows += usize::from(is_allow);
                        taken.push(decision);
                    }
                    Err(refusal) => many.refused.push((place, refusal)),
                }
            }
        }
        many.taken = taken.len();
        if taken.is_empty() {
            return Ok(many);
        }
        self.settle_clock().await.map_err(not_stored)?;
        let (numbers, audit) = self.store.add_together(&taken, actor, now.wall).await.map_err(not_stored)?;
        many.audit = audit;
        for (decision, number) in taken.iter_mut().zip(numbers) {
            decision.id = number;
        }
        match taken.as_slice() {
            [one] => self.tell(one.clone(), told_as(one.kind), "ordered"),
            _ => self
                .system(Severity::Notice, format!("{} decisions ordered, by {}", many.taken, actor.by.name)),
        }
        self.keeper().admit_many(taken, now);
        self.publish_names();
        self.check_kernel();
        Ok(many)
    }

    /// Ends what is in force of the decisions with these numbers, from the first to the last.
    ///
    /// # Errors
    /// 503 the end could not be stored; everything stays in force then.
    pub async fn lift_numbers(&self, numbers: (u64, u64), actor: &Actor) -> Result<Vec<Decision>, Failure> {
        let _both = self.both.lock().await;
        let now = self.now();
        self.settle_clock().await.map_err(not_stored)?;
        let lifted = self.store.lift_numbers(numbers, actor, now.wall).await.map_err(not_stored)?;
        let ids: Vec<u64> = lifted.iter().map(|decision| decision.id).collect();
        self.keeper().end_as_mistakes(&ids, now);
        match lifted.as_slice() {
            [one] => self.tell(one.clone(), EventAction::Lift, "lifted"),
            [] => {}
            many => self
                .system(Severity::Notice, format!("{} decisions lifted, by {}", many.len(), actor.by.name)),
        }
        self.publish_names();
        self.check_kernel();
        Ok(lifted)
    }

    /// Ends what stands at exactly a target.
    ///
    /// # Errors
    /// 503 the end could not be stored; everything stays in force then.
    pub async fn lift(&self, lift: Lift) -> Result<Lifted, Failure> {
        let _both = self.both.lock().await;
        let now = self.now();
        self.settle_clock().await.map_err(not_stored)?;
        self.store.lift(&lift.target, lift.kind, &lift.user, now.wall).await.map_err(not_stored)?;
        let kinds = match lift.kind {
            Some(kind) => vec![kind],
            None => vec![DecisionKind::Ban, DecisionKind::Allow],
        };
        let lifted: Vec<Decision> =
            kinds.into_iter().flat_map(|kind| self.keeper().lift(&lift.target, kind, now)).collect();
        for decision in &lifted {
            self.tell(decision.clone(), EventAction::Lift, "lifted");
        }
        self.publish_names();
        self.check_kernel();
        let notes = self.behind().into_iter().chain(self.still_held(&lift.target)).collect();
        Ok(Lifted { lifted, notes })
    }

    /// Enforces a ban that an engine asks for.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn ban(&self, decision: Decision) -> Result<(), Refusal> {
        self.ban_for(decision, true)
    }

    /// [`Self::ban`]; one that does not grow lasts as it says, also for who comes back.
    ///
    /// # Errors
    /// As [`Self::ban`].
    pub fn ban_for(&self, decision: Decision, grows: bool) -> Result<(), Refusal> {
        let now = self.now();
        let mut decision = self.keeper().judge(decision, grows, now)?;
        decision.id = UNSTORED + (self.next_unstored.fetch_add(1, Ordering::Relaxed) & (UNSTORED - 1));
        self.admit(decision.clone());
        self.store_later(decision);
        Ok(())
    }

    /// Somebody logged in from there: engines do not ban it for a while.
    pub fn logged_in(&self, from: IpAddr) {
        let now = self.now();
        self.keeper().logged_in(from, now);
    }

    /// Ends what is over and tells the kernel again what it refused. Called every second.
    pub async fn expire(&self) {
        let now = self.now();
        let ended = self.keeper().expire(now);
        self.check_kernel();
        if !ended.is_empty() {
            self.ended_in_store.store(false, Ordering::Release);
            for decision in ended {
                self.tell(decision, EventAction::Lift, "expired");
            }
            self.publish_names();
        }
        self.keep_clock(false).await;
        let settled = {
            let _both = self.both.lock().await;
            self.settle_clock().await
        };
        if let Err(error) = settled {
            // By the clock as the store knows it nothing may end.
            tracing::warn!(%error, "the store does not know yet that the clock was set");
            return;
        }
        if self.ended_in_store.swap(true, Ordering::AcqRel) {
            return;
        }
        match self.store.expire(now.wall).await {
            Ok(ended) if ended.is_empty() => {}
            // There may be more than the store ends at a time.
            Ok(_) => self.ended_in_store.store(false, Ordering::Release),
            Err(error) => {
                self.ended_in_store.store(false, Ordering::Release);
                tracing::warn!(%error, "ended decisions stay in the store for now");
            }
        }
    }

    /// Stores what waits to be stored, for a few seconds at most. Bans that come after it end with the daemon.
    pub async fn finish(&self) {
        drop(lock(&self.unstored).take());
        let storing = lock(&self.storing).take();
        if let Some(storing) = storing
            && tokio::time::timeout(STORE_BY, storing).await.is_err()
        {
            tracing::warn!(
                "some bans were not stored; they hold in the kernel, and the next start stores them"
            );
        }
        self.keep_clock(true).await;
    }

    fn admit(&self, decision: Decision) {
        let action = told_as(decision.kind);
        let now = self.now();
        let domain = decision.target.domain().is_some();
        self.keeper().admit(decision.clone(), now);
        self.tell(decision, action, "ordered");
        self.check_kernel();
        if domain {
            self.publish_names();
        }
    }

    fn store_later(&self, decision: Decision) {
        let queued = lock(&self.unstored).as_ref().is_some_and(|queue| queue.try_send(decision).is_ok());
        if !queued {
            self.trouble(format!(
                "more than {MAX_UNSTORED} bans wait to be stored; new ones end with the daemon"
            ));
        }
    }

    fn publish_names(&self) {
        // Under one guard: a set that is older must not replace a newer one.
        let keeper = self.keeper();
        self.overrides.store(Arc::new(Overrides::new(keeper.domains())));
    }

    /// What the kernel does not hold yet, for people.
    fn behind(&self) -> Option<String> {
        let error = self.keeper().behind()?.to_owned();
        Some(format!("the kernel did not take it yet, it is tried every second: {error}"))
    }

    /// Tells when the kernel falls behind, once.
    fn check_kernel(&self) {
        let now = self.behind();
        let before = std::mem::replace(&mut *lock(&self.behind), now.clone());
        if let (None, Some(error)) = (before, now) {
            self.trouble(error);
        }
    }

    fn still_held(&self, target: &Target) -> Option<String> {
        let Target::Net(net) = target else { return None };
        let keeper = self.keeper();
        let wider = keeper.about(*net).into_iter().find(|d| d.kind == DecisionKind::Ban)?;
        Some(format!("the ban of {} still holds it: secctl unban {}", wider.target, wider.target))
    }

    fn tell(&self, decision: Decision, action: EventAction, reason: &str) {
        (self.tell)(Event {
            ts: clock::now().wall,
            severity: if action == EventAction::Ban { Severity::Notice } else { Severity::Info },
            action,
            zone: None,
            reason: Some(reason.into()),
            body: Body::Decision { decision },
        });
    }

    /// A message of the daemon itself.
    fn system(&self, severity: Severity, message: String) {
        (self.tell)(Event {
            ts: clock::now().wall,
            severity,
            action: EventAction::Alert,
            zone: None,
            reason: Some("decision".into()),
            body: Body::System { message, count: None },
        });
    }

    fn tell_step(&self, step: i64) {
        let by = model::duration_text(Duration::from_micros(step.unsigned_abs()));
        let way = if step < 0 { "back" } else { "forward" };
        self.system(
            Severity::Notice,
            format!("the clock was set {way} by {by}; bans and allows last as long as before"),
        );
    }

    fn trouble(&self, message: String) {
        self.system(Severity::Error, message);
    }

    /// Stores what engines banned, in order, trying again until it works.
    async fn store_unstored(self: Arc<Self>, mut queue: mpsc::Receiver<Decision>) {
        let mut batch = Vec::with_capacity(STORE_BATCH);
        while queue.recv_many(&mut batch, STORE_BATCH).await > 0 {
            let mut pause = Duration::from_millis(100);
            while let Err(error) = self.store_batch(&mut batch).await {
                tracing::warn!(%error, waiting = batch.len() + queue.len(), "bans are enforced but not stored");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(MAX_PAUSE);
            }
        }
    }

    /// Stores a batch and gives it its numbers. What the store will never take is told and left out.
    async fn store_batch(&self, batch: &mut Vec<Decision>) -> Result<(), StoreError> {
        let _both = self.both.lock().await;
        loop {
            self.settle_clock().await?;
            // While this is held the clock is not set, for all anybody here knows.
            let clocks = lock(&self.clocks);
            if clocks.unstored == 0 {
                // What ended meanwhile must not come back at the next start.
                let keeper = self.keeper();
                *batch = batch.iter().filter_map(|decision| keeper.get(decision.id).cloned()).collect();
                break;
            }
        }
        match self.store.add_many(batch).await {
            Ok(ids) => self.number(batch, &ids),
            Err(error) if error.is_temporary() => return Err(error),
            Err(_) => {
                for decision in &*batch {
                    match self.store.add(decision).await {
                        Ok(id) => self.number(std::slice::from_ref(decision), &[id]),
                        Err(error) => {
                            self.trouble(format!(
                                "the ban of {} ends with the daemon: {error}",
                                decision.target
                            ));
                        }
                    }
                }
            }
        }
        batch.clear();
        // What ended while it was written stands in the store as if it were in force.
        self.ended_in_store.store(false, Ordering::Release);
        Ok(())
    }

    fn number(&self, stored: &[Decision], ids: &[u64]) {
        let now = self.now();
        for (decision, id) in stored.iter().zip(ids) {
            self.keeper().renumber(decision.id, *id, now);
        }
    }
}

/// Bans in the kernel that no store knows: they were enforced but not stored when the last run ended, or the store had
/// to be begun anew. They stand until their time.
fn left_over(held: &Held, store_is_new: bool, now: Now) -> Vec<Decision> {
    let unknown = |ban: &BanValue| store_is_new || u64::from(ban.decision) >= UNSTORED;
    let decision = |(number, (net, ban)): (u64, &(IpNet, BanValue))| Decision {
        id: UNSTORED + number,
        kind: DecisionKind::Ban,
        target: Target::Net(*net),
        direction: match ban.directions {
            abi::DIRECTION_IN => Direction::In,
            abi::DIRECTION_OUT => Direction::Out,
            _ => Direction::Both,
        },
        mode: if ban.observe == 0 { Mode::Enforce } else { Mode::Observe },
        since: now.wall,
        until: (ban.until != u64::MAX)
            .then(|| now.wall.plus(Duration::from_nanos(ban.until.saturating_sub(now.boot)))),
        origin: Origin { kind: OriginKind::Scenario, name: "adopted from the kernel".into(), at: None },
        evidence: Vec::new(),
    };
    let held = held.bans.iter().filter(|(_, ban)| unknown(ban) && ban.until > now.boot);
    (0..).zip(held).map(decision).collect()
}

fn told_as(kind: DecisionKind) -> EventAction {
    match kind {
        DecisionKind::Ban => EventAction::Ban,
        DecisionKind::Allow => EventAction::Allow,
    }
}

fn text(mark: &Mark) -> String {
    serde_json::to_string(mark).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(refusal: Refusal) -> Failure {
    let help = match &refusal {
        Refusal::Protected { .. } => {
            "what is protected cannot be banned; change `allow` or the zones in secd.toml first"
        }
        Refusal::Welcome { .. } => "`[bans] after_login` in secd.toml says for how long a login protects",
        Refusal::TooWide { .. } => "for a country or a provider use an address list",
        Refusal::Standing { .. } => "see `secctl decisions`",
        Refusal::Full { .. } => "for many addresses use an address list",
    };
    (409, ErrorReply::new(refusal.to_string(), Some(help)))
}

fn not_stored(error: StoreError) -> Failure {
    (
        503,
        ErrorReply::new(
            error.to_string(),
            Some("nothing was changed; try again when the store can be written"),
        ),
    )
}
