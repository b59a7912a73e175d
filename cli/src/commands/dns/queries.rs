//! `secctl dns queries`.

use model::{AnswerCode, AnswerFrom, EventAction, QueryFilter, QueryPage, QueryRow, QueryType};
use protocol::{Lasting, path};
use std::{io, time::Duration};

use crate::{
    commands::{Done, Online},
    output::{Column, Field, Format, Output, Paint, painted, plain},
    text::json_line,
};

/// How often new questions are asked for.
const EVERY: Duration = Duration::from_secs(1);
/// Rows that are this much older are shown with their day, in seconds.
const SAME_DAY: i64 = 86_400;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Asked by this client: its name in the config or an address; `*` stands for anything
    #[arg(long)]
    client: Option<String>,
    /// For this name or one below it; with `*`, which stands for anything, for the whole name
    #[arg(long)]
    name: Option<String>,
    /// Blocked
    #[arg(long)]
    blocked: bool,
    /// Of this type: A, AAAA, HTTPS, …
    #[arg(long = "type", value_name = "TYPE")]
    qtype: Option<QueryType>,
    /// Answered with this code: NOERROR, NXDOMAIN, SERVFAIL, …
    #[arg(long)]
    code: Option<AnswerCode>,
    /// Answered by this upstream
    #[arg(long)]
    upstream: Option<String>,
    /// Asked in this time: 10m, 1h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<Lasting>,
    /// At most this many, the latest
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// Go on to show what is asked until it is stopped
    #[arg(long, short)]
    follow: bool,
}

pub(super) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    if !(1..=QueryFilter::MOST_ROWS).contains(&asked.limit) {
        return Err(crate::commands::usage(format!("`--limit` is 1 to {}", QueryFilter::MOST_ROWS)));
    }
    let mut filter = QueryFilter {
        since: asked.since.map(|since| super::ago(since, online)),
        client: asked.client.clone(),
        name: asked.name.clone(),
        blocked: asked.blocked,
        upstream: asked.upstream.clone(),
        qtype: asked.qtype,
        code: asked.code,
        limit: Some(asked.limit),
        ..QueryFilter::default()
    };
    let mut page: QueryPage = online.client.get(path::DNS_QUERIES, &filter)?;
    // A page has less than its limit and more behind it where the daemon looked for as long as it may.
    while let Some(before) = page.next
        && let found = u32::try_from(page.rows.len()).unwrap_or(u32::MAX)
        && found < asked.limit
    {
        let limit = Some(asked.limit - found);
        let further = QueryFilter { before: Some(before), limit, ..filter.clone() };
        let more: QueryPage = online.client.get(path::DNS_QUERIES, &further)?;
        page.rows.extend(more.rows);
        page.next = more.next;
    }
    if !asked.follow {
        return Ok(online.output.show(&page, print)?);
    }
    // From the last one on; where there is none, from now on.
    let now = online.output.now().0.max(0).cast_unsigned();
    filter.after = Some(page.rows.first().map_or(now, |row| row.id));
    print_rows(online.output, page.rows)?;
    loop {
        online.client.rest(EVERY);
        let page: QueryPage = online.client.get(path::DNS_QUERIES, &filter)?;
        filter.after = page.next.or(page.rows.last().map(|row| row.id)).or(filter.after);
        print_rows(online.output, page.rows.into_iter().rev().collect())?;
    }
}

/// Rows that follow others, the latest first.
fn print_rows(output: &mut Output<'_>, rows: Vec<QueryRow>) -> Done {
    match output.format() {
        Format::Json => {
            for row in rows.iter().rev() {
                let line = json_line(row)?;
                output.line(&line)?;
            }
        }
        Format::Table => {
            for row in rows.iter().rev() {
                let (by, (from, paint)) = (by(row), from(row));
                let line = format!(
                    "{}  {}  {}  {}  {}  {}{}{}",
                    output.clock(row.at),
                    output.paint(&client(row), Paint::Plain),
                    output.paint(&name(row), Paint::Plain),
                    row.qtype,
                    row.code,
                    output.paint(&from, paint),
                    if by.is_empty() { "" } else { "  " },
                    output.paint(&by, Paint::Quiet),
                );
                output.line(&line)?;
            }
        }
    }
    Ok(output.flush()?)
}

fn print(output: &mut Output<'_>, page: &QueryPage) -> io::Result<()> {
    if page.rows.is_empty() {
        let line = match page.kept_since {
            Some(since) => format!("No such question. The log has questions since {}.", output.moment(since)),
            None => "The log has no questions.".to_owned(),
        };
        return output.sentence(&line);
    }
    let now = output.now().seconds();
    let days = page.rows.iter().any(|row| now - row.at.seconds() >= SAME_DAY);
    let rows = page.rows.iter().rev().map(|row| {
        vec![
            plain(if days { output.moment(row.at) } else { output.clock(row.at) }),
            plain(client(row)),
            plain(name(row)),
            plain(row.qtype.to_string()),
            from(row),
            plain(row.code.to_string()),
            plain(by(row)),
            plain(if row.micros == 0 {
                String::new()
            } else {
                format!("{:.1} ms", f64::from(row.micros) / 1e3)
            }),
        ]
    });
    let rows = rows.collect();
    output.table(
        &[
            Column::new("TIME").whole().wide(70),
            Column::new("CLIENT"),
            Column::new("NAME"),
            Column::new("TYPE").whole().wide(80),
            Column::new("FROM").whole(),
            Column::new("CODE").whole().wide(100),
            Column::new("BY").wide(110),
            Column::new("TAKEN").right().wide(130),
        ],
        rows,
    )
}

/// The client's name, or its address.
fn client(row: &QueryRow) -> String {
    super::top::client(&row.client)
}

fn name(row: &QueryRow) -> String {
    row.name.clone().unwrap_or_else(|| "(not told)".into())
}

fn from(row: &QueryRow) -> Field {
    match (row.from, row.action) {
        (AnswerFrom::Sinkhole, EventAction::Drop) => painted("dropped", Paint::Bad),
        (AnswerFrom::Sinkhole, _) => painted("blocked", Paint::Bad),
        (AnswerFrom::Nobody | AnswerFrom::Overload, _) => painted("nobody", Paint::Bad),
        (AnswerFrom::Rewrite, _) => painted("rewritten", Paint::Warn),
        (AnswerFrom::Stale, _) => painted("stale", Paint::Warn),
        (AnswerFrom::Local | AnswerFrom::Here | AnswerFrom::Cache | AnswerFrom::Upstream, _) => {
            plain(row.from.word())
        }
    }
}

/// Who decided, else who answered.
fn by(row: &QueryRow) -> String {
    let observed = if row.action == EventAction::Observe { ", only observed" } else { "" };
    let alias = row.alias.as_ref().map(|alias| format!(" ({alias})")).unwrap_or_default();
    let decided = row.by.as_ref().map(|by| format!("{by}{alias}{observed}"));
    decided.or_else(|| row.upstream.clone()).unwrap_or_default()
}
