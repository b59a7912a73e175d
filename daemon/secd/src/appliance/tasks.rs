//! What goes on in the background: ending decisions, repairing, reading the packet ring, following interfaces.

use anyhow::Result;
use enforce::xdp::PacketRing;
use std::{sync::Arc, time::Duration};

use super::Appliance;
use crate::{clock, machine::Machine};

/// How often decisions that are over are taken out.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How often the kernel is compared with the plan.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How often interfaces and addresses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often ended decisions are forgotten, and after what time.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const KEEP_ENDED: Duration = Duration::from_secs(90 * 86_400);

impl Appliance {
    pub(super) fn spawn_tasks(self: &Arc<Self>, packets: PacketRing) -> Result<()> {
        let mut packets = packets.into_receiver()?;
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                match packets.receive().await {
                    Ok(record) => {
                        let names = Arc::clone(&secd.current.load().names);
                        if let Some(event) = names.event(&record, clock::now()) {
                            secd.sender.send(event);
                        }
                    }
                    Err(error) => {
                        secd.trouble(
                            "packet events",
                            Some(format!("the packet ring cannot be read: {error}")),
                        );
                        return;
                    }
                }
            }
        });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(EXPIRE_EVERY);
            loop {
                tick.tick().await;
                secd.decisions.expire().await;
            }
        });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(LOOK_EVERY);
            let mut since = tokio::time::Instant::now();
            loop {
                tick.tick().await;
                // An interface that comes, goes or changes its address changes the plan.
                if Machine::read() != secd.current.load().machine || since.elapsed() >= RECONCILE_EVERY {
                    secd.reconcile().await;
                    since = tokio::time::Instant::now();
                }
            }
        });
        let store = self.store.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(PRUNE_EVERY);
            loop {
                tick.tick().await;
                let ago = i64::try_from(KEEP_ENDED.as_micros()).unwrap_or(i64::MAX);
                if let Err(error) = store.prune(model::Timestamp(clock::now().wall.0 - ago)).await {
                    tracing::warn!(%error, "ended decisions are kept for longer");
                }
            }
        });
        tokio::spawn(Arc::clone(&self.logs).keep_saving(self.store.clone()));
        Ok(())
    }
}
