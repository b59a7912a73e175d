//! `secctl dns groups`.

use protocol::{DnsGroupRow, DnsGroups};
use std::io;

use crate::{
    commands::mode_field,
    output::{Column, Field, Output, Paint, painted, plain},
    text::left,
};

pub(super) fn print(output: &mut Output<'_>, groups: &DnsGroups) -> io::Result<()> {
    let now = output.now();
    if let Some(until) = groups.paused_until {
        let line = format!(
            "Blocking is {} for everybody until {} ({}); `secctl dns resume` ends that.",
            output.paint("paused", Paint::Warn),
            output.moment(until),
            left(until, now)
        );
        output.sentence(&line)?;
    }
    let rows = groups.groups.iter().map(|group| {
        vec![
            plain(&group.name),
            state(group, now),
            mode_field(group.mode),
            plain(&group.blocking),
            plain(group.lists.join(", ")),
            plain(what_else(group)),
            plain(group.clients.join(", ")),
            plain(group.comment.clone().unwrap_or_default()),
        ]
    });
    let rows = rows.collect();
    output.table(
        &[
            Column::new("GROUP").whole(),
            Column::new("STATE"),
            Column::new("MODE").whole(),
            Column::new("ANSWERS").wide(100),
            Column::new("LISTS"),
            Column::new("BESIDES").wide(70),
            Column::new("CLIENTS").wide(70),
            Column::new("COMMENT").wide(120),
        ],
        rows,
    )
}

/// Whether a group is in force, why not, and when that changes.
fn state(group: &DnsGroupRow, now: model::Timestamp) -> Field {
    let change = |word: &str| match (&group.schedule, group.next_change) {
        (Some(schedule), Some(at)) => format!("{word} for {} (schedule {schedule})", left(at, now)),
        (Some(schedule), None) => format!("{word} (schedule {schedule})"),
        (None, _) => word.to_owned(),
    };
    match (group.paused_until, group.in_force) {
        (Some(until), _) => painted(format!("paused for {}", left(until, now)), Paint::Warn),
        (None, true) => painted(change("in force"), Paint::Good),
        (None, false) => painted(change("off"), Paint::Quiet),
    }
}

/// Services and safe search.
fn what_else(group: &DnsGroupRow) -> String {
    let safe = group.safe_search.then(|| "safe search".to_owned());
    group.services.iter().cloned().chain(safe).collect::<Vec<_>>().join(", ")
}
