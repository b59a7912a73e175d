//! Live inspection: copies from the packet path, signatures, and the verdict back into the flow table.

use abi::FlowKey;
use anyhow::Result;
use arc_swap::ArcSwap;
use enforce::xdp::{Flows, InspectRing};
use inspect::{CopiedFrame, Feed, Finding, LiveInspector, Sink};
use model::{Body, Event, EventAction, Evidence, Mode, Protocol, Severity, Timestamp};
use policy::Policy;
use signatures::{Action, Limits};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::{clock, decisions::Tell, loading::Loaded};

/// The running inspection.
pub struct Inspection {
    feed: Arc<ArcSwap<Feed>>,
    shared: Arc<Shared>,
    mode: Mutex<Mode>,
}

/// What the worker needs of the outside.
struct Shared {
    flows: Mutex<Flows>,
    policy: ArcSwap<Policy>,
    hits: AtomicU64,
    tell: Tell,
}

impl Inspection {
    /// Starts judging copies.
    ///
    /// # Errors
    /// The ring cannot be watched.
    pub fn start(loaded: &Loaded, ring: InspectRing, flows: Flows, tell: Tell) -> Result<Self> {
        let policy = ArcSwap::from_pointee(loaded.config.policy.clone());
        let shared = Arc::new(Shared { flows: Mutex::new(flows), policy, hits: AtomicU64::new(0), tell });
        let feed = Arc::new(ArcSwap::from_pointee(worker(loaded, &shared)));
        let mut ring = ring.into_receiver()?;
        let reader = Arc::clone(&feed);
        tokio::spawn(async move {
            while let Ok(record) = ring.receive().await {
                // A full queue loses the frame, and the worker tells how many.
                let _ = reader.load().offer(CopiedFrame::from_record(&record));
            }
            tracing::error!("the ring of copied frames cannot be read; nothing is inspected any more");
        });
        Ok(Self { feed, shared, mode: Mutex::new(mode(loaded)) })
    }

    /// Takes new rules, zones and mode. Streams go on unless the mode changed.
    pub async fn update(&self, loaded: &Loaded) {
        self.shared.policy.store(Arc::new(loaded.config.policy.clone()));
        let former =
            std::mem::replace(&mut *self.mode.lock().unwrap_or_else(PoisonError::into_inner), mode(loaded));
        let feed = self.feed.load_full();
        if former != mode(loaded) || !feed.set_rules(Arc::clone(&loaded.signatures)).await {
            self.feed.store(Arc::new(worker(loaded, &self.shared)));
        }
    }

    /// Matches since the start.
    pub fn hits(&self) -> u64 {
        self.shared.hits.load(Ordering::Relaxed)
    }
}

fn mode(loaded: &Loaded) -> Mode {
    loaded.config.mode.and(loaded.config.signatures.mode)
}

fn worker(loaded: &Loaded, shared: &Arc<Shared>) -> Feed {
    let enforced = mode(loaded) == Mode::Enforce;
    let limits = Limits { cut: enforced, ..Limits::live() };
    let now = clock::now();
    let boot_to_wall = now.wall.0.saturating_sub(i64::try_from(now.boot / 1000).unwrap_or(0));
    let inspector = LiveInspector::new(Arc::clone(&loaded.signatures), limits, boot_to_wall);
    let (feed, worker) = inspect::start(inspector, Verdicts { shared: Arc::clone(shared), enforced });
    tokio::spawn(worker.run());
    feed
}

/// Where findings go.
struct Verdicts {
    shared: Arc<Shared>,
    enforced: bool,
}

impl Sink for Verdicts {
    fn finding(&mut self, finding: &Finding) {
        self.shared.hits.fetch_add(1, Ordering::Relaxed);
        if finding.cut && self.enforced {
            self.cut_by(&finding.flow, finding.alert.rule.sid);
        }
        (self.shared.tell)(self.event(finding));
    }

    fn cut(&mut self, flow: &FlowKey) {
        if self.enforced {
            // Also the other direction of a flow that was cut before, which may be known under translated addresses.
            let known = self.flows().get(flow).ok().flatten();
            let cut = known.filter(|known| known.reason == abi::Reason::Signature as u8);
            self.cut_by(flow, cut.map_or(0, |cut| cut.rule));
        }
    }

    fn bypass(&mut self, flow: &FlowKey) {
        if let Err(error) = self.flows().bypass_flow(*flow) {
            tracing::debug!(%error, "a flow goes on being copied");
        }
    }

    fn lost(&mut self, frames: u64) {
        (self.shared.tell)(Event {
            ts: clock::now().wall,
            severity: Severity::Warning,
            action: EventAction::Alert,
            zone: None,
            reason: Some("inspection_overload".into()),
            body: Body::System {
                message: "copies of packets were not inspected: too many at once".into(),
                count: Some(frames),
            },
        });
    }
}

impl Verdicts {
    fn flows(&self) -> std::sync::MutexGuard<'_, Flows> {
        self.shared.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_by(&self, flow: &FlowKey, sid: u32) {
        if let Err(error) = self.flows().cut_flow(*flow, sid) {
            tracing::error!(%error, sid, "a flow could not be cut");
        }
    }

    fn event(&self, finding: &Finding) -> Event {
        let (alert, rule) = (&finding.alert, &finding.alert.rule);
        let policy = self.shared.policy.load();
        let zone =
            (finding.zone_from != abi::ZONE_NONE).then(|| policy.zone_name(finding.zone_from).to_owned());
        Event {
            ts: alert.at,
            severity: if rule.priority <= 1 { Severity::Warning } else { Severity::Notice },
            action: match rule.action {
                Action::Pass => EventAction::Pass,
                Action::Alert => EventAction::Alert,
                Action::Drop | Action::Reject if !self.enforced => EventAction::Observe,
                Action::Drop => EventAction::Drop,
                Action::Reject => EventAction::Reject,
            },
            zone,
            reason: Some("signature".into()),
            body: Body::Signature {
                sid: rule.sid,
                rev: rule.rev,
                msg: rule.msg.clone(),
                class: rule.class.clone(),
                src: alert.source.to_canonical(),
                dst: alert.destination.to_canonical(),
                proto: Protocol(alert.protocol).to_string(),
                sport: alert.source_port,
                dport: alert.destination_port,
                evidence: excerpt(alert.at, alert.excerpt.bytes()),
            },
        }
    }
}

fn excerpt(at: Timestamp, bytes: &[u8]) -> Option<Evidence> {
    (!bytes.is_empty()).then(|| Evidence::new(at, "packet", &String::from_utf8_lossy(bytes)))
}
