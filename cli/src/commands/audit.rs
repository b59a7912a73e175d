//! `secctl audit`.

use model::{AuditRecord, OriginKind, Timestamp};
use protocol::{Audit, AuditQuery, Lasting, path};
use std::io;

use super::{Done, Online};
use crate::{
    output::{Column, Field, Output, Paint, painted, plain},
    text::{ago, escape},
};

/// Show who changed what, newest first
///
/// Every ban, allow and lift, whoever it was, the mode, pauses, configs and devices. `secctl undo ID` takes one back.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Not older than this (90s, 10m, 7d), or from this moment on (2026-11-23T17:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,
    /// At most this many
    #[arg(long, default_value_t = protocol::DEFAULT_ROWS, value_name = "N")]
    limit: u32,
}

/// So long ago, or a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Ago(Lasting),
    At(Timestamp),
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(at) => Ok(Self::At(at)),
            Err(_) => text.parse().map(Self::Ago),
        }
    }
}

impl Since {
    fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(Lasting(ago)) => {
                Timestamp(now.0.saturating_sub(i64::try_from(ago.as_micros()).unwrap_or(i64::MAX)))
            }
        }
    }
}

pub(crate) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let since = asked.since.map(|since| since.moment(online.environment.now));
    let query = AuditQuery { since, limit: Some(asked.limit) };
    let audit: Audit = online.client.get(path::AUDIT, &query)?;
    Ok(online.output.show(&audit, print)?)
}

fn print(output: &mut Output<'_>, audit: &Audit) -> io::Result<()> {
    if audit.records.is_empty() {
        return output.line("Nothing was changed.");
    }
    let now = output.now();
    let rows = audit.records.iter().map(|record| row(record, now)).collect();
    let columns = [
        Column::new("ID").right().whole(),
        Column::new("WHEN").whole(),
        Column::new("BY"),
        Column::new("WHAT"),
        Column::new("UNDONE").whole(),
    ];
    output.table(&columns, rows)
}

fn row(record: &AuditRecord, now: Timestamp) -> Vec<Field> {
    let undone = match (record.undoes, record.undone_by) {
        (_, Some(by)) => painted(format!("by {by}"), Paint::Quiet),
        (Some(undoes), None) => painted(format!("undoes {undoes}"), Paint::Quiet),
        (None, None) => plain(String::new()),
    };
    vec![
        plain(record.id.to_string()),
        plain(ago(record.at, now)),
        plain(by(record)),
        plain(escape(&record.change.in_words())),
        undone,
    ]
}

fn by(record: &AuditRecord) -> String {
    match record.by.kind {
        OriginKind::Person => record.by.name.clone(),
        OriginKind::Scenario => format!("scenario {}", record.by.name),
        OriginKind::Signature => format!("signature {}", record.by.name),
    }
}
