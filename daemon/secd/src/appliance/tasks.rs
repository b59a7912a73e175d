//! What goes on in the background: ending decisions, repairing, reading the packet ring, following interfaces.

use anyhow::Result;
use enforce::xdp::PacketRing;
use std::{sync::Arc, time::Duration};

use super::Appliance;
use crate::{alerts::Alerts, clock, leases::LeaseFiles, neighbours::Neighbours};

/// How often decisions that are over are taken out.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// How often the kernel is compared with the plan.
const RECONCILE_EVERY: Duration = Duration::from_secs(60);
/// How often interfaces and addresses are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Least time between two plans that differ in the addresses of devices only.
const DEVICES_PAUSE: Duration = Duration::from_secs(5);
/// Longest and shortest time between two looks at what is to be fetched.
const FETCH_EVERY: Duration = Duration::from_secs(30);
const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// How often what DNS answered is looked through, and kept on disk: what a sudden end of the machine loses.
const ANSWERS_EVERY: Duration = Duration::from_secs(60);
const KEEP_ANSWERS_EVERY: u32 = 10;
/// How often ended decisions are forgotten, and after what time.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const KEEP_ENDED: Duration = Duration::from_secs(90 * 86_400);
/// After what time rows of the audit log are forgotten.
const KEEP_AUDIT: Duration = Duration::from_secs(400 * 86_400);
/// How often names in `allow` are looked up.
const NAMES_EVERY: Duration = Duration::from_secs(60);

impl Appliance {
    pub(super) fn spawn_tasks(self: &Arc<Self>, packets: PacketRing) -> Result<()> {
        let mut packets = packets.into_receiver()?;
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut alerts = Alerts::default();
            loop {
                match packets.receive().await {
                    Ok(record) => {
                        let names = Arc::clone(&secd.current.load().names);
                        let now = clock::now();
                        let alert = alerts.of(&record, &names, now.wall);
                        for event in alert.into_iter().chain(names.event(&record, now)) {
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
        let neighbours = Neighbours::connect();
        tokio::spawn(async move { secd.follow(neighbours).await });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut waits = false;
            loop {
                let due = secd.fetched.next_due().map_or(FETCH_EVERY, |due| due.since(clock::now().wall));
                tokio::time::timeout(due.clamp(FETCH_PAUSE, FETCH_EVERY), secd.to_fetch.notified())
                    .await
                    .ok();
                // What could not be put in force because of a trial is tried again.
                let again = waits && !secd.reconcile(true).await;
                waits = secd.refresh_due().await || again;
            }
        });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            secd.recall_names().await;
            let (mut tick, mut files) = (tokio::time::interval(LOOK_EVERY), LeaseFiles::default());
            loop {
                tick.tick().await;
                files = secd.look_at_leases(files).await;
            }
        });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(ANSWERS_EVERY);
            for turn in (0..KEEP_ANSWERS_EVERY).cycle() {
                tick.tick().await;
                secd.look_at_answers();
                if turn + 1 == KEEP_ANSWERS_EVERY {
                    tokio::task::block_in_place(|| secd.keep_answers());
                }
            }
        });
        let secd = Arc::clone(self);
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(NAMES_EVERY);
            loop {
                tick.tick().await;
                secd.look_at_allowed_names().await;
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
                let ago = i64::try_from(KEEP_AUDIT.as_micros()).unwrap_or(i64::MAX);
                if let Err(error) = store.prune_audit(model::Timestamp(clock::now().wall.0 - ago)).await {
                    tracing::warn!(%error, "old rows of the audit log are kept for longer");
                }
            }
        });
        tokio::spawn(Arc::clone(&self.logs).keep_saving(self.store.clone()));
        tokio::spawn(Arc::clone(&self.logs).keep_watch(super::tell(&self.sender)));
        Ok(())
    }

    /// Looks at interfaces, devices and the time; brings the kernel to the plan when they change it, and every minute.
    async fn follow(&self, neighbours: Result<Neighbours>) {
        let neighbours = match neighbours {
            Ok(neighbours) => Some(neighbours),
            Err(error) => {
                self.trouble("devices", Some(format!("devices are not known by address: {error:#}")));
                None
            }
        };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let mut since = tokio::time::Instant::now();
        loop {
            tick.tick().await;
            let mut devices = false;
            if let Some(neighbours) = &neighbours {
                match neighbours.read().await {
                    Ok(found) => {
                        devices = self.look_at_neighbours(&found);
                        self.trouble("devices", None);
                    }
                    Err(error) => self.trouble("devices", Some(format!("{error:#}"))),
                }
            }
            self.look_at_groups().await;
            self.look_at_encryption().await;
            self.look_at_query_log();
            let current = self.current.load_full();
            let scheduled = current.standing.next_change.is_some_and(|at| at <= clock::now().wall);
            let machine = self.machine(&current.loaded.config) != current.machine;
            self.look_at_sessions();
            self.look_at_budget();
            let flood = self.look_for_floods();
            // Devices come and go all the time: the plan follows in groups, not one by one. What could not be put in force
            // is not tried again at once.
            let retry = self.retry();
            let waits = retry.is_some_and(|retry| retry.at > tokio::time::Instant::now());
            let devices = devices && since.elapsed() >= DEVICES_PAUSE && !waits;
            let again = retry.is_some() && !waits;
            if machine || scheduled || devices || flood || again || since.elapsed() >= RECONCILE_EVERY {
                self.reconcile(again && retry.is_some_and(|retry| retry.lists)).await;
                since = tokio::time::Instant::now();
            }
        }
    }
}
