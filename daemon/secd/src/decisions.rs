//! The shell around the keeper: orders of people, bans from engines, storing, ending, telling.
//!
//! What a person orders is acknowledged when it is stored and in force. A ban from an engine is checked, enforced,
//! told, and only then stored, with retry: a slow disk must not let an attacker go on.

use arc_swap::ArcSwap;
use lists::Overrides;
use model::{
    Body, Decision, DecisionKind, Event, EventAction, Evidence, Mode, Origin, OriginKind, Severity, Target,
};
use protocol::{ErrorReply, Lift, Lifted, Order, Ordered};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::{
    clock,
    keeper::{Keeper, Kernel, Refusal},
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

/// Every decision, shared by the control socket and the engines.
pub struct Decisions<K> {
    keeper: Mutex<Keeper<K>>,
    store: Store,
    overrides: Arc<ArcSwap<Overrides>>,
    unstored: mpsc::Sender<Decision>,
    next_unstored: AtomicU64,
    tell: Tell,
}

impl<K: Kernel + 'static> Decisions<K> {
    /// Takes over what is stored; starts ending and storing in the background.
    ///
    /// # Errors
    /// The stored decisions cannot be read, or the kernel refused them.
    pub async fn start(
        mut keeper: Keeper<K>,
        held: (Vec<ipnet::IpNet>, Vec<ipnet::IpNet>),
        store: Store,
        tell: Tell,
    ) -> anyhow::Result<Arc<Self>> {
        let now = clock::now();
        keeper.restore(store.active(now.wall).await?, &held.0, &held.1, now)?;
        let (unstored, queue) = mpsc::channel(MAX_UNSTORED);
        let decisions = Arc::new(Self {
            keeper: Mutex::new(keeper),
            store,
            overrides: Arc::default(),
            unstored,
            next_unstored: AtomicU64::new(UNSTORED),
            tell,
        });
        decisions.publish_names();
        tokio::spawn(Arc::clone(&decisions).store_unstored(queue));
        Ok(decisions)
    }

    /// The keeper. Held only for moments, never over an await.
    pub fn keeper(&self) -> MutexGuard<'_, Keeper<K>> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.keeper().check(&decision, now).map_err(refused)?;
        decision.id = self.store.add(&decision).await.map_err(not_stored)?;
        let mut notes = Vec::new();
        if let Err(error) = self.admit(decision.clone()) {
            notes.push(format!("it is stored, but the kernel did not take it: {error:#}"));
        }
        Ok(Ordered { decision, notes })
    }

    /// Ends what stands at exactly a target.
    ///
    /// # Errors
    /// 503 the end could not be stored; everything stays in force then.
    pub async fn lift(&self, lift: Lift) -> Result<Lifted, Failure> {
        let now = clock::now();
        self.store.lift(&lift.target, lift.kind, &lift.user, now.wall).await.map_err(not_stored)?;
        let kinds = match lift.kind {
            Some(kind) => vec![kind],
            None => vec![DecisionKind::Ban, DecisionKind::Allow],
        };
        let mut lifted = Vec::new();
        let mut notes = Vec::new();
        for kind in kinds {
            let ended = self.keeper().lift(&lift.target, kind, now);
            match ended {
                Ok(ended) => lifted.extend(ended),
                Err(error) => notes
                    .push(format!("the kernel did not follow, it is repaired within a minute: {error:#}")),
            }
        }
        for decision in &lifted {
            self.tell(decision.clone(), EventAction::Lift, "lifted");
        }
        self.publish_names();
        notes.extend(self.still_held(&lift.target));
        Ok(Lifted { lifted, notes })
    }

    /// Enforces a ban that an engine asks for.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn ban(&self, mut decision: Decision) -> Result<(), Refusal> {
        let now = clock::now();
        {
            let keeper = self.keeper();
            keeper.check(&decision, now)?;
            let numbers = UNSTORED - 1;
            decision.id = UNSTORED + (self.next_unstored.fetch_add(1, Ordering::Relaxed) & numbers);
        }
        if let Err(error) = self.admit(decision.clone()) {
            self.trouble(format!("a ban of {} is not enforced by the kernel: {error:#}", decision.target));
        }
        if self.unstored.try_send(decision).is_err() {
            self.trouble(format!(
                "more than {MAX_UNSTORED} bans wait to be stored; new ones end with the daemon"
            ));
        }
        Ok(())
    }

    /// Ends what is over. Called every second.
    pub async fn expire(&self) {
        let now = clock::now();
        let ended = self.keeper().expire(now);
        match ended {
            Ok(ended) if ended.is_empty() => return,
            Ok(ended) => {
                for decision in ended {
                    self.tell(decision, EventAction::Lift, "expired");
                }
                self.publish_names();
            }
            Err(error) => {
                self.trouble(format!("an ended decision could not be taken out of the kernel: {error:#}"))
            }
        }
        if let Err(error) = self.store.expire(now.wall).await {
            tracing::warn!(%error, "ended decisions stay in the store for now");
        }
    }

    fn admit(&self, decision: Decision) -> anyhow::Result<()> {
        let action = match decision.kind {
            DecisionKind::Ban => EventAction::Ban,
            DecisionKind::Allow => EventAction::Allow,
        };
        let domain = matches!(decision.target, Target::Domain(_));
        let done = self.keeper().admit(decision.clone(), clock::now());
        self.tell(decision, action, "ordered");
        if domain {
            self.publish_names();
        }
        done
    }

    fn publish_names(&self) {
        let overrides = Overrides::new(self.keeper().domains().values().flatten());
        self.overrides.store(Arc::new(overrides));
    }

    fn still_held(&self, target: &Target) -> Option<String> {
        let Target::Net(net) = target else { return None };
        let keeper = self.keeper();
        let wider = keeper.about(net.addr()).into_iter().find(|d| d.kind == DecisionKind::Ban)?;
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
            loop {
                // What ended meanwhile must not come back at the next start.
                batch.retain(|decision| self.keeper().get(decision.id).is_some());
                match self.store.add_many(&batch).await {
                    Ok(ids) => {
                        self.number(&batch, &ids).await;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, waiting = batch.len() + queue.len(), "bans are enforced but not stored");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(MAX_PAUSE);
                    }
                }
            }
            batch.clear();
        }
    }

    async fn number(&self, stored: &[Decision], ids: &[u64]) {
        for (decision, id) in stored.iter().zip(ids) {
            let known = self.keeper().renumber(decision.id, *id, clock::now());
            match known {
                Ok(true) => {}
                Ok(false) => {
                    let now = clock::now().wall;
                    if let Err(error) =
                        self.store.lift(&decision.target, Some(decision.kind), "lifted before", now).await
                    {
                        tracing::warn!(%error, "a lifted ban could not be ended in the store");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "the kernel kept a ban's former number")
                }
            }
        }
    }
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
