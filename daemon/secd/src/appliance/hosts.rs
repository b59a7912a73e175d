//! Devices of the zones: who they are, who lets them in, and when the plan has to follow.

use model::{Body, Change, Event, EventAction, Severity};
use policy::Policy;
use protocol::{DeviceOrder, DeviceOrdered, DeviceRow, Devices as DeviceRows, ErrorReply};
use std::sync::{MutexGuard, PoisonError, atomic::Ordering};

use super::Appliance;
use crate::{
    clock,
    decisions::Failure,
    devices::{Addresses, Allowed, AllowedDevices, keep_told},
    neighbours::Neighbour,
};

/// Devices that were told of as new, in the state folder.
pub(super) const TOLD_FILE: &str = "new-devices.json";

impl Appliance {
    pub(super) fn allowed_devices(&self) -> MutexGuard<'_, AllowedDevices> {
        self.allowed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Addresses of the devices that are in a group of `policy`, those let in by command included.
    pub(super) fn addresses(&self, policy: &Policy) -> Addresses {
        let mut groups = Policy { devices: policy.devices.clone(), ..Policy::default() };
        self.allowed_devices().join(&mut groups);
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).of_groups(&groups.devices)
    }

    /// Whether someone let a device in since this was asked last.
    pub(super) fn devices_changed(&self) -> bool {
        self.let_in.swap(false, Ordering::AcqRel)
    }

    /// Takes in a look at the neighbour table; tells of new devices that are held back. Returns whether the plan has to
    /// follow.
    pub(super) fn look_at_neighbours(&self, neighbours: &[Neighbour]) -> bool {
        let current = self.current.load_full();
        let now = clock::now().wall;
        let (new, told) = {
            let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
            let before = devices.told().clone();
            let new = devices.see(neighbours, &current.standing.filled, &current.machine.interfaces, now);
            (new, (*devices.told() != before).then(|| devices.told().clone()))
        };
        if let Some(told) = told {
            let file = self.flags.state_dir.join(TOLD_FILE);
            if let Err(error) = tokio::task::block_in_place(|| keep_told(&file, &told)) {
                tracing::warn!(%error, "new devices may be told of again: {} cannot be written", file.display());
            }
        }
        self.learn_macs();
        for device in new {
            self.sender.send(Event {
                ts: now,
                severity: Severity::Notice,
                action: EventAction::Alert,
                zone: Some(device.zone),
                reason: Some("new_device".into()),
                body: Body::System {
                    message: format!(
                        "a new device, {} ({}), is held back; `secctl device allow {}` lets it in",
                        device.mac, device.address, device.mac
                    ),
                    count: None,
                },
            });
        }
        self.let_in.load(Ordering::Acquire)
            || self.addresses(&current.loaded.config.policy) != current.addresses
    }

    /// Every device that was seen, and those that were let in and not seen.
    pub fn device_rows(&self) -> DeviceRows {
        let current = self.current.load_full();
        let policy = &current.standing.filled;
        let allowed = self.allowed_devices();
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |mac, zone: Option<String>| {
            let groups: Vec<String> = policy
                .devices
                .iter()
                .filter(|group| group.macs.contains(&mac))
                .map(|group| group.name.clone())
                .collect();
            let quarantine = policy.zones.iter().any(|at| at.quarantine && Some(&at.name) == zone.as_ref());
            DeviceRow {
                mac,
                randomised: mac.is_randomised(),
                held: quarantine && groups.is_empty(),
                zone,
                groups,
                addresses: Vec::new(),
                host: self.host_of(mac),
                first: None,
                last: None,
                allowed_by: allowed.get(mac).map(|device| device.user.clone()),
            }
        };
        let mut rows: Vec<DeviceRow> = devices
            .iter()
            .map(|(mac, seen)| DeviceRow {
                addresses: seen.addresses.keys().copied().collect(),
                first: Some(seen.first),
                last: Some(seen.last),
                ..row(mac, Some(seen.zone.clone()))
            })
            .collect();
        let unseen = allowed.iter().filter(|device| !devices.iter().any(|(mac, _)| mac == device.mac));
        rows.extend(unseen.map(|device| row(device.mac, None)));
        DeviceRows { devices: rows }
    }

    /// Lets a device in, or takes that back; in force when it returns.
    ///
    /// # Errors
    /// 400 it is no device or the group is not in the config, 409 a config is on trial, 503 it could not be stored or
    /// put in force.
    pub async fn order_device(&self, order: DeviceOrder) -> Result<DeviceOrdered, Failure> {
        self.refuse_in_trial()?;
        let policy = &self.current.load_full().loaded.config.policy;
        let refuse = |message: String, help: &str| Err((400, ErrorReply::new(message, Some(help))));
        if order.mac.is_group() || order.mac.0 == [0; 6] {
            return refuse(
                format!("{} is no device's address", order.mac),
                "`secctl device` shows the devices",
            );
        }
        if let Some(group) = &order.group
            && !policy.devices.iter().any(|known| known.name == *group)
        {
            let known: Vec<_> = policy.devices.iter().map(|group| group.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return refuse(
                format!("there is no group `{group}`; the groups are {known}"),
                "write it under [devices] of the config first",
            );
        }
        let unstored =
            |error: std::io::Error| (503, ErrorReply::new(format!("it could not be stored: {error}"), None));
        let changed = if order.allow {
            let device = Allowed {
                mac: order.mac,
                group: order.group.clone(),
                user: order.user.clone(),
                since: clock::now().wall,
            };
            self.allowed_devices().allow(device).map_err(unstored)?;
            true
        } else {
            self.allowed_devices().forget(order.mac).map_err(unstored)?
        };
        let mut notes = Vec::new();
        if changed {
            self.let_in.store(true, Ordering::Release);
            let what = if order.allow { "let in" } else { "no longer let in" };
            self.system(Severity::Notice, format!("device {} {what}, by {}", order.mac, order.user));
            let change = Change::Device { mac: order.mac.to_string(), after: what.to_owned() };
            self.write_down(&order.user, change).await;
            let done = self.reconcile(false).await;
            if !done || self.in_trouble("the packet path") || self.in_trouble("what rules name") {
                notes.push("it is stored, but not in force yet; see `secctl status`".into());
            }
        }
        if policy.devices.iter().any(|group| group.macs.contains(&order.mac)) {
            notes.push("the config has it in a group as well".into());
        }
        Ok(DeviceOrdered { mac: order.mac, allowed: order.allow, changed, group: order.group, notes })
    }
}
