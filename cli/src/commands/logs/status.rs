//! `secctl logs status`.

use protocol::{LogStatus, Status, path};
use std::io;

use crate::{
    commands::{Done, Online, state, usage},
    output::{Column, Field, Output, Paint, plain},
    text::{ago, count, number},
};

/// Where lines come from: how many, when the last came, what is wrong
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One log alone
    #[arg(value_name = "LOG")]
    name: Option<String>,
}

pub(super) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let status: Status = online.client.get(path::STATUS, &())?;
    let mut logs = status.logs;
    if let Some(name) = &asked.name {
        logs.retain(|log| log.name == *name);
        if logs.is_empty() {
            return Err(usage(format!("there is no log {name}; `secctl logs status` shows all")));
        }
    }
    Ok(online.output.show(&logs, |output, logs| print(output, logs))?)
}

fn print(output: &mut Output<'_>, logs: &Vec<LogStatus>) -> io::Result<()> {
    if logs.is_empty() {
        return output.sentence("No logs are read: the config has no [[logs]].");
    }
    let now = output.now();
    let when = |at: Option<model::Timestamp>| plain(at.map_or_else(|| "never".into(), |at| ago(at, now)));
    let rows: Vec<Vec<Field>> = logs
        .iter()
        .map(|log| {
            vec![
                plain(&log.name),
                plain(&log.from),
                plain(&log.filter),
                plain(number(log.lines)),
                plain(number(log.per_minute)),
                when(log.last),
                plain(number(log.matched)),
                when(log.last_match),
                state(log.error.as_deref()),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("LOG").whole(),
            Column::new("FROM").wide(110),
            Column::new("FILTER").wide(100),
            Column::new("LINES").right(),
            Column::new("A MINUTE").right().wide(90),
            Column::new("LAST").whole(),
            Column::new("MATCHED").right(),
            Column::new("LAST MATCH").whole(),
            Column::new("STATE"),
        ],
        rows,
    )?;
    for log in logs {
        if let Some(losses) = losses(log) {
            output.line("")?;
            output.paragraph(0, &format!("{}: {losses}", log.name), Paint::Warn)?;
        }
    }
    Ok(())
}

/// What did not become lines.
fn losses(log: &LogStatus) -> Option<String> {
    let mut parts = Vec::new();
    if log.lost > 0 {
        parts.push(format!("{} lost, for they came too fast", count(log.lost, "line was", "lines were")));
    }
    if log.oversized > 0 {
        parts.push(format!("{} too long", count(log.oversized, "line was", "lines were")));
    }
    if log.refused > 0 {
        parts.push(format!(
            "{} from who may not send",
            count(log.refused, "message was refused", "messages were refused")
        ));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}
