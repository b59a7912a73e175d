//! `secctl device`.

use model::Mac;
use protocol::{DeviceOrder, DeviceOrdered, DeviceRow, Devices, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{ago, shell},
};

/// Show the devices of the zones, and let new ones in
///
/// A zone with `quarantine = true` holds back devices that are in no group: they reach only the router.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Let a device in; kept over restarts
    Allow {
        /// Its MAC address: aa:bb:cc:dd:ee:ff
        mac: Mac,
        /// The group of the config it is to belong to, for rules that name it
        #[arg(long)]
        group: Option<String>,
    },
    /// Take that back
    Forget {
        /// Its MAC address
        mac: Mac,
    },
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let user = online.environment.user.clone();
    let order = match &asked.what {
        None => {
            let devices: Devices = online.client.get(path::DEVICES, &())?;
            return Ok(online.output.show(&devices, print)?);
        }
        Some(What::Allow { mac, group }) => {
            DeviceOrder { mac: *mac, allow: true, group: group.clone(), user }
        }
        Some(What::Forget { mac }) => DeviceOrder { mac: *mac, allow: false, group: None, user },
    };
    let ordered: DeviceOrdered = online.client.post(path::DEVICES, &order)?;
    Ok(online.output.show(&ordered, print_ordered)?)
}

fn print(output: &mut Output<'_>, devices: &Devices) -> io::Result<()> {
    if devices.devices.is_empty() {
        return output.line("No device has been seen yet.");
    }
    let now = output.now();
    let rows = devices.devices.iter().map(|device| row(device, now)).collect();
    output.table(
        &[
            Column::new("DEVICE").whole(),
            Column::new("NAME").whole().wide(80),
            Column::new("ZONE").whole(),
            Column::new("GROUPS"),
            Column::new("STATE").whole(),
            Column::new("SEEN").whole().wide(70),
            Column::new("ADDRESSES").wide(100),
        ],
        rows,
    )?;
    match devices.devices.iter().find(|device| device.held) {
        Some(held) => {
            output.sentence(&format!("`secctl device allow {}` lets it in.", shell(&held.mac.to_string())))
        }
        None => Ok(()),
    }
}

fn row(device: &DeviceRow, now: model::Timestamp) -> Vec<Field> {
    let state = match (&device.allowed_by, device.held) {
        (_, true) => painted("held back", Paint::Warn),
        (Some(user), false) => painted(format!("let in by {user}"), Paint::Good),
        (None, false) => plain(""),
    };
    vec![
        if device.randomised {
            painted(format!("{} (made up)", device.mac), Paint::Warn)
        } else {
            plain(device.mac.to_string())
        },
        plain(device.host.clone().unwrap_or_default()),
        plain(device.zone.clone().unwrap_or_default()),
        plain(device.groups.join(", ")),
        state,
        plain(device.last.map_or_else(|| "never".into(), |at| ago(at, now))),
        plain(device.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    ]
}

fn print_ordered(output: &mut Output<'_>, ordered: &DeviceOrdered) -> io::Result<()> {
    let group = ordered.group.as_ref().map(|group| format!(", in group {group}")).unwrap_or_default();
    let mac = output.paint(&ordered.mac.to_string(), Paint::Title);
    let group = crate::text::escape(&group).into_owned();
    let line = match (ordered.allowed, ordered.changed) {
        (true, _) => format!("{mac} is {}{group}.", output.paint("let in", Paint::Good)),
        (false, true) => format!("{mac} is no longer let in."),
        (false, false) => format!("{mac} was not let in by command."),
    };
    output.sentence(&line)?;
    super::ban::notes(output, &ordered.notes)
}
