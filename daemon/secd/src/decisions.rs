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
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Filter, State, Store, StoreError};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    clock,
    keeper::{Keeper, Kernel, Now, Refusal},
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
    tell: Tell,
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
    pub async fn start(
        mut keeper: Keeper<K>,
        held: Held,
        store: Store,
        tell: Tell,
    ) -> anyhow::Result<Arc<Self>> {
        let now = clock::now();
        let stored = store.active(now.wall).await?;
        let anything =
            store.find(&Filter { state: State::All, limit: Some(1), ..Filter::default() }, now.wall).await?;
        let unstored = left_over(&held, anything.is_empty(), now);
        let nets = held.bans.iter().map(|(net, _)| *net);
        keeper.restore([stored, unstored.clone()].concat(), nets, held.allows.iter().copied(), now);
        let (sender, queue) = mpsc::channel(MAX_UNSTORED);
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
            tell,
        });
        decisions.publish_names();
        decisions.check_kernel();
        let storing = tokio::spawn(Arc::clone(&decisions).store_unstored(queue));
        *lock(&decisions.storing) = Some(storing);
        for decision in unstored {
            decisions.store_later(decision);
        }
        Ok(decisions)
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
        let now = clock::now();
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
        self.keeper().check(&decision, clock::now()).map_err(refused)?;
        decision.id = self.store.add(&decision).await.map_err(not_stored)?;
        let number = decision.id;
        self.admit(decision);
        Ok(number)
    }

    /// Ends what stands at exactly a target.
    ///
    /// # Errors
    /// 503 the end could not be stored; everything stays in force then.
    pub async fn lift(&self, lift: Lift) -> Result<Lifted, Failure> {
        let _both = self.both.lock().await;
        let now = clock::now();
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
    pub fn ban(&self, mut decision: Decision) -> Result<(), Refusal> {
        self.keeper().check(&decision, clock::now())?;
        decision.id = UNSTORED + (self.next_unstored.fetch_add(1, Ordering::Relaxed) & (UNSTORED - 1));
        self.admit(decision.clone());
        self.store_later(decision);
        Ok(())
    }

    /// Ends what is over and tells the kernel again what it refused. Called every second.
    pub async fn expire(&self) {
        let now = clock::now();
        let ended = self.keeper().expire(now);
        self.check_kernel();
        if !ended.is_empty() {
            self.ended_in_store.store(false, Ordering::Release);
            for decision in ended {
                self.tell(decision, EventAction::Lift, "expired");
            }
            self.publish_names();
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
    }

    fn admit(&self, decision: Decision) {
        let action = match decision.kind {
            DecisionKind::Ban => EventAction::Ban,
            DecisionKind::Allow => EventAction::Allow,
        };
        let domain = decision.target.domain().is_some();
        self.keeper().admit(decision.clone(), clock::now());
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

    fn trouble(&self, message: String) {
        (self.tell)(Event {
            ts: clock::now().wall,
            severity: Severity::Error,
            action: EventAction::Alert,
            zone: None,
            reason: Some("decision".into()),
            body: Body::System { message, count: None },
        });
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
        // What ended meanwhile must not come back at the next start.
        batch.retain(|decision| self.keeper().get(decision.id).is_some());
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
        let now = clock::now();
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(refusal: Refusal) -> Failure {
    let help = match &refusal {
        Refusal::Protected { .. } => {
            "what is protected cannot be banned; change `allow` or the zones in secd.toml first"
        }
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
