//! `secctl dns pause` and `resume`.

use protocol::{DnsPauseOrder, DnsPaused, Lasting, path};
use std::io;

use crate::{
    commands::{Done, Online, ban, usage},
    output::{Output, Paint},
    text::{escape, left},
};

pub(super) fn run(group: Option<String>, lasting: Option<Lasting>, online: &mut Online<'_, '_>) -> Done {
    let order = DnsPauseOrder { group, lasting, user: online.environment.user.clone() };
    order.check().map_err(usage)?;
    let paused: DnsPaused = online.client.post(path::DNS_PAUSE, &order)?;
    Ok(online.output.show(&paused, print_paused)?)
}

fn print_paused(output: &mut Output<'_>, paused: &DnsPaused) -> io::Result<()> {
    let of =
        paused.group.as_ref().map(|group| format!(" for the group {}", escape(group))).unwrap_or_default();
    let line = match paused.until {
        Some(until) => format!(
            "Blocking is {}{of} until {} ({}).",
            output.paint("paused", Paint::Warn),
            output.moment(until),
            left(until, output.now())
        ),
        None if paused.changed => format!("Blocking {}{of}.", output.paint("goes on", Paint::Good)),
        None => format!("Blocking was not paused{of}."),
    };
    output.sentence(&line)?;
    ban::notes(output, &paused.notes)
}

/// Where nothing is blocked for a time, in the status.
pub(crate) fn paused(pauses: &[protocol::DnsPause], now: model::Timestamp) -> Option<String> {
    let shown = |pause: &protocol::DnsPause| {
        let group =
            pause.group.as_ref().map_or_else(|| "everybody".to_owned(), |group| format!("the group {group}"));
        format!("{group} for {}", left(pause.until, now))
    };
    let shown: Vec<String> = pauses.iter().map(shown).collect();
    (!shown.is_empty()).then(|| format!("blocking is paused for {}", shown.join(", ")))
}
