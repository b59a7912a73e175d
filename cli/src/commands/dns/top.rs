//! `secctl dns top`.

use model::{ClientCount, NameCount, QueryClient, QueryStats, QueryStatsFilter};
use protocol::{Lasting, path};
use std::io;

use crate::{
    commands::{Done, Online},
    output::{Column, Field, Output, Paint, painted, plain},
    text::{count, number},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Asked in this time: 1h, 7d, 1000d
    #[arg(long, value_name = "TIME", default_value = "1d")]
    since: Lasting,
    /// Asked by this client: its name in the config or an address; `*` stands for anything
    #[arg(long)]
    client: Option<String>,
    /// At most this many of each
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: u32,
}

pub(super) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    if !(1..=QueryStatsFilter::MOST_ROWS).contains(&asked.limit) {
        return Err(crate::commands::usage(format!("`--limit` is 1 to {}", QueryStatsFilter::MOST_ROWS)));
    }
    let filter = QueryStatsFilter {
        since: Some(super::ago(asked.since, online)),
        client: asked.client.clone(),
        limit: Some(asked.limit),
        ..QueryStatsFilter::default()
    };
    let stats: QueryStats = online.client.get(path::DNS_STATS, &filter)?;
    Ok(online.output.show(&stats, print)?)
}

fn print(output: &mut Output<'_>, stats: &QueryStats) -> io::Result<()> {
    let line = format!(
        "{} for {} by {} since {}.",
        count(stats.totals.total, "question", "questions"),
        count(stats.different_names, "name", "names"),
        count(stats.different_clients, "client", "clients"),
        output.moment(stats.since)
    );
    output.sentence(&line)?;
    note(output, stats)?;
    let names = |title, names: &[NameCount]| {
        let rows: Vec<Vec<Field>> = names
            .iter()
            .map(|name| vec![plain(&name.name), plain(number(name.total)), blocked(name.blocked)])
            .collect();
        ([Column::new(title), Column::new("QUESTIONS").right(), Column::new("BLOCKED").right()], rows)
    };
    for (columns, rows) in
        [names("ANSWERED NAME", &stats.passed_names), names("BLOCKED NAME", &stats.blocked_names)]
    {
        if !rows.is_empty() {
            output.line("")?;
            output.table(&columns, rows)?;
        }
    }
    if !stats.clients.is_empty() {
        output.line("")?;
        clients(output, &stats.clients)?;
    }
    Ok(())
}

/// What of the time is known by its sums alone.
pub(super) fn note(output: &mut Output<'_>, stats: &QueryStats) -> io::Result<()> {
    if stats.exact_since <= stats.since {
        return Ok(());
    }
    let line = format!(
        "{} before {} the questions are no longer kept: their sums are, and the names that led each day.",
        output.paint("note:", Paint::Quiet),
        output.moment(stats.exact_since)
    );
    output.sentence(&line)
}

fn clients(output: &mut Output<'_>, clients: &[ClientCount]) -> io::Result<()> {
    let rows = clients
        .iter()
        .map(|count| {
            vec![
                plain(client(&count.client)),
                plain(&count.client.zone),
                plain(number(count.totals.total)),
                blocked(count.totals.blocked),
                plain(number(count.totals.cached)),
                plain(number(count.totals.forwarded)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("CLIENT").whole(),
            Column::new("ZONE").whole().wide(70),
            Column::new("QUESTIONS").right(),
            Column::new("BLOCKED").right(),
            Column::new("CACHED").right().wide(70),
            Column::new("FORWARDED").right().wide(90),
        ],
        rows,
    )
}

fn blocked(number_of: u64) -> Field {
    if number_of == 0 { plain("0") } else { painted(number(number_of), Paint::Bad) }
}

/// A client in a word: its name, else its address.
pub(super) fn client(client: &QueryClient) -> String {
    match (&client.name, client.address) {
        (Some(name), _) => name.clone(),
        (None, Some(address)) => address.to_string(),
        (None, None) if client.zone.is_empty() => "(others)".into(),
        (None, None) => format!("(somebody in {})", client.zone),
    }
}
