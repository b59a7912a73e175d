//! `secctl status`.

use model::Mode;
use protocol::{Status, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Output, Paint, painted, plain},
    text::{ago, bytes, count, number},
};

/// Most reasons shown to people, the most frequent ones; JSON has all.
const REASONS_SHOWN: usize = 5;

pub(crate) fn run(online: &mut Online<'_, '_>) -> Done {
    let status: Status = online.client.get(path::STATUS, &())?;
    Ok(online.output.show(&status, print)?)
}

fn print(output: &mut Output<'_>, status: &Status) -> io::Result<()> {
    for trouble in &status.troubles {
        output.paragraph(0, &format!("! {trouble}"), Paint::Bad)?;
    }
    if let Some(trial) = &status.trial {
        let left = model::duration_text(std::time::Duration::from_secs(trial.left_ms / 1000));
        let text = format!(
            "! the config of {} is on trial and goes back in {left}; `secctl apply --confirmed` keeps it",
            trial.file
        );
        output.paragraph(0, &text, Paint::Warn)?;
    }
    for note in &status.notes {
        output.paragraph(0, &format!("note: {note}"), Paint::Quiet)?;
    }
    let mode = match status.mode {
        Mode::Enforce => painted("enforce", Paint::Good),
        Mode::Observe => painted("observe: judges and counts, drops nothing", Paint::Warn),
    };
    let plan = if status.generation == 0 {
        painted("none in the kernel yet", Paint::Bad)
    } else {
        let since = status.applied.map(|at| format!(", {}", ago(at, output.now()))).unwrap_or_default();
        plain(format!("generation {}, epoch {}{since}", status.generation, status.epoch))
    };
    let up = model::duration_text(std::time::Duration::from_secs(status.uptime_seconds.max(1)));
    let mut rows = vec![
        ("secd", plain(format!("{}, API {}, up {up}", status.version, status.api))),
        ("mode", mode),
        ("config", plain(&status.config)),
        ("plan", plan),
        ("packets", plain(packets(status))),
    ];
    if let Some(reasons) = reasons(status) {
        rows.push(("because of", plain(reasons)));
    }
    rows.push((
        "dns",
        status.dns.as_ref().map_or_else(
            || painted("off", Paint::Quiet),
            |dns| {
                plain(format!(
                    "{} questions, {} blocked, {} from the cache, {} failed",
                    number(dns.queries),
                    number(dns.blocked),
                    number(dns.cached),
                    number(dns.failed)
                ))
            },
        ),
    ));
    if let Some(dns) = &status.dns
        && let Some(log) = query_log(&dns.log)
    {
        rows.push(log);
    }
    if let Some(paused) = status.dns.as_ref().and_then(|dns| super::dns::paused(&dns.paused, output.now())) {
        rows.push(("", painted(paused, Paint::Warn)));
    }
    rows.push(("decisions", plain(format!("{} in force", number(status.decisions)))));
    rows.push((
        "signatures",
        plain(format!(
            "{}, {} refused, {}",
            count(status.signatures.rules, "rule", "rules"),
            number(status.signatures.refused),
            count(status.signatures.hits, "match", "matches")
        )),
    ));
    rows.push(("events", events(status)));
    rows.push((
        "memory",
        plain(format!(
            "{} (at most {}), kernel tables {}",
            bytes(status.memory.rss),
            bytes(status.memory.rss_peak),
            bytes(status.memory.bpf)
        )),
    ));
    output.facts(0, &rows)?;
    interfaces(output, status)?;
    lists(output, status)?;
    logs(output, status)?;
    scenarios(output, status)
}

fn packets(status: &Status) -> String {
    let packets = &status.packets;
    let observed = if packets.observed == 0 {
        String::new()
    } else {
        format!(", {} only observed", number(packets.observed))
    };
    format!(
        "{} passed, {} dropped, {} rejected{observed}",
        number(packets.passed),
        number(packets.dropped),
        number(packets.rejected)
    )
}

/// The most frequent reasons of what did not pass.
fn reasons(status: &Status) -> Option<String> {
    let mut reasons: Vec<_> = status.packets.reasons.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    let shown: Vec<_> = reasons
        .iter()
        .take(REASONS_SHOWN)
        .map(|(name, count)| format!("{name} {}", number(**count)))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

fn events(status: &Status) -> crate::output::Field {
    let events = &status.events;
    let text = format!(
        "{} stored, {} lost, {} of {} waiting",
        number(events.sent),
        number(events.lost),
        number(events.queue),
        number(events.queue_limit)
    );
    match &events.error {
        Some(error) => painted(format!("{text}: {error}"), Paint::Bad),
        None if events.lost > 0 => painted(text, Paint::Warn),
        None => plain(text),
    }
}

fn interfaces(output: &mut Output<'_>, status: &Status) -> io::Result<()> {
    if status.interfaces.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let rows = status
        .interfaces
        .iter()
        .map(|interface| {
            let paint = match interface.attached.as_str() {
                "driver" | "tc" => Paint::Good,
                "absent" => Paint::Bad,
                _ => Paint::Warn,
            };
            vec![
                plain(&interface.name),
                painted(&interface.attached, paint),
                plain(interface.zones.join(", ")),
            ]
        })
        .collect();
    output.table(
        &[Column::new("INTERFACE").whole(), Column::new("JUDGED BY").whole(), Column::new("ZONES")],
        rows,
    )
}

fn lists(output: &mut Output<'_>, status: &Status) -> io::Result<()> {
    if status.lists.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let rows = status
        .lists
        .iter()
        .map(|list| {
            vec![
                plain(&list.name),
                plain(super::lists::kind(list.kind)),
                plain(number(list.entries)),
                super::state(list.error.as_deref()),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("LIST").whole(),
            Column::new("OF").whole(),
            Column::new("ENTRIES").right(),
            Column::new("STATE"),
        ],
        rows,
    )
}

fn logs(output: &mut Output<'_>, status: &Status) -> io::Result<()> {
    if status.logs.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let now = output.now();
    let rows = status
        .logs
        .iter()
        .map(|log| {
            vec![
                plain(&log.name),
                plain(number(log.lines)),
                plain(number(log.matched)),
                plain(log.last.map_or_else(|| "never".into(), |at| ago(at, now))),
                super::state(log.error.as_deref()),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("LOG").whole(),
            Column::new("LINES").right(),
            Column::new("MATCHED").right(),
            Column::new("LAST").whole(),
            Column::new("STATE"),
        ],
        rows,
    )
}

/// Jails, and those scenarios that somebody did too much for: a hub has hundreds.
fn scenarios(output: &mut Output<'_>, status: &Status) -> io::Result<()> {
    let told = status.scenarios.iter().filter(|one| one.failures.is_some() || one.overflows > 0);
    let rows: Vec<_> = told
        .map(|one| {
            let failures = one.failures.map_or_else(String::new, number);
            vec![plain(&one.name), plain(failures), plain(number(one.overflows))]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let columns = [
        Column::new("JAIL OR SCENARIO").whole(),
        Column::new("FAILURES").right(),
        Column::new("TOO MUCH").right(),
    ];
    output.table(&columns, rows)
}

/// The log of questions, where there is one or ought to be.
fn query_log(log: &protocol::DnsLogStatus) -> Option<(&'static str, crate::output::Field)> {
    let mut text = match (&log.error, log.bytes) {
        (None, 0) => return None,
        (None, size) => format!("{} kept in {}", count(log.written, "question", "questions"), bytes(size)),
        (Some(error), _) => error.clone(),
    };
    for (number_of, what) in [(log.lost, "lost"), (log.folded, "kept with a shortened name")] {
        if number_of > 0 {
            text += &format!(", {} {what}", number(number_of));
        }
    }
    let paint = if log.error.is_some() || log.lost > 0 { Paint::Warn } else { Paint::Plain };
    Some(("dns log", painted(text, paint)))
}
