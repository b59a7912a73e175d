//! `secctl dns stats`.

use model::{AnswerFrom, QueryStats, QueryStatsFilter};
use protocol::{Lasting, path};
use std::{io, time::Duration};

use crate::{
    commands::{Done, Online},
    output::{Column, Output, Paint, painted, plain},
    text::number,
};

/// Up to this time the history is shown by hours, else by days.
const BY_HOURS: Duration = Duration::from_secs(2 * 86_400);
/// Types and codes that are shown; JSON has them all.
const SHOWN: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Asked in this time: 1h, 7d, 1000d
    #[arg(long, value_name = "TIME", default_value = "1d")]
    since: Lasting,
    /// Asked by this client: its name in the config or an address; `*` stands for anything
    #[arg(long)]
    client: Option<String>,
    /// Length of a piece of the history: an hour for up to two days, else a day
    #[arg(long, value_name = "TIME")]
    every: Option<Lasting>,
}

pub(super) fn run(asked: &Arguments, online: &mut Online<'_, '_>) -> Done {
    let usual = || Duration::from_secs(if asked.since.0 <= BY_HOURS { 3_600 } else { 86_400 });
    let every = asked.every.map_or_else(usual, |every| every.0).as_secs();
    let bucket = u32::try_from(every).ok().filter(|bucket| *bucket > 0);
    if bucket.is_none() {
        return Err(crate::commands::usage("`--every` is a second at least".into()));
    }
    let filter = QueryStatsFilter {
        since: Some(super::ago(asked.since, online)),
        client: asked.client.clone(),
        bucket,
        ..QueryStatsFilter::default()
    };
    let stats: QueryStats = online.client.get(path::DNS_STATS, &filter)?;
    Ok(online.output.show(&stats, print)?)
}

fn print(output: &mut Output<'_>, stats: &QueryStats) -> io::Result<()> {
    let total = stats.totals.total;
    let shared = |part: u64| format!("{} ({})", number(part), share(part, total));
    // Where sums reach further back than questions, of those that are known.
    let known: u64 = stats.from.iter().map(|(_, count)| count).sum();
    let from: Vec<String> = stats.from.iter().map(|(from, count)| said(*from, *count, known)).collect();
    let words = |parts: Vec<(String, u64)>| {
        let parts: Vec<String> = parts
            .iter()
            .take(SHOWN)
            .map(|(word, count)| format!("{word} {}", share(*count, known)))
            .collect();
        parts.join(", ")
    };
    let blocked = if stats.totals.blocked == 0 {
        plain("0")
    } else {
        painted(shared(stats.totals.blocked), Paint::Bad)
    };
    let mut facts = vec![
        ("since", plain(output.moment(stats.since))),
        ("questions", plain(number(total))),
        ("blocked", blocked),
        ("from the cache", plain(shared(stats.totals.cached))),
        ("forwarded", plain(shared(stats.totals.forwarded))),
        ("names", plain(number(stats.different_names))),
        ("clients", plain(number(stats.different_clients))),
    ];
    if !from.is_empty() {
        facts.push(("answers", plain(from.join(", "))));
    }
    let types = words(stats.types.iter().map(|(qtype, count)| (qtype.to_string(), *count)).collect());
    let codes = words(stats.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect());
    facts.extend(
        [("types", types), ("codes", codes)]
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| (name, plain(text))),
    );
    output.facts(0, &facts)?;
    super::top::note(output, stats)?;
    if !stats.upstreams.is_empty() {
        output.line("")?;
        upstreams(output, stats)?;
    }
    if !stats.history.is_empty() {
        output.line("")?;
        history(output, stats)?;
    }
    Ok(())
}

fn upstreams(output: &mut Output<'_>, stats: &QueryStats) -> io::Result<()> {
    let rows = stats
        .upstreams
        .iter()
        .map(|upstream| {
            vec![
                plain(&upstream.upstream),
                plain(number(upstream.total)),
                plain(share(upstream.total, stats.totals.forwarded)),
                plain(format!("{:.1} ms", f64::from(upstream.micros) / 1e3)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("UPSTREAM"),
            Column::new("ANSWERS").right(),
            Column::new("SHARE").right(),
            Column::new("ON AVERAGE").right(),
        ],
        rows,
    )
}

fn history(output: &mut Output<'_>, stats: &QueryStats) -> io::Result<()> {
    let rows = stats
        .history
        .iter()
        .map(|piece| {
            vec![
                plain(output.moment(piece.at)),
                plain(number(piece.totals.total)),
                plain(number(piece.totals.blocked)),
                plain(number(piece.totals.cached)),
                plain(number(piece.totals.forwarded)),
            ]
        })
        .collect();
    output.table(
        &[
            Column::new("FROM").whole(),
            Column::new("QUESTIONS").right(),
            Column::new("BLOCKED").right(),
            Column::new("CACHED").right().wide(70),
            Column::new("FORWARDED").right().wide(70),
        ],
        rows,
    )
}

fn said(from: AnswerFrom, count: u64, total: u64) -> String {
    let word = match from {
        AnswerFrom::Sinkhole => "blocked",
        AnswerFrom::Rewrite => "rewritten",
        AnswerFrom::Local => "names of this network",
        AnswerFrom::Here => "special names",
        AnswerFrom::Cache => "cache",
        AnswerFrom::Stale => "cache past its time",
        AnswerFrom::Upstream => "upstreams",
        AnswerFrom::Nobody => "nobody",
        AnswerFrom::Overload => "nobody for want of room",
    };
    format!("{word} {}", share(count, total))
}

/// A part in percent.
fn share(part: u64, of: u64) -> String {
    if of == 0 {
        return "0 %".into();
    }
    let permille = u128::from(part) * 1000 / u128::from(of);
    match permille {
        0 if part > 0 => "< 0.1 %".into(),
        _ => format!("{}.{} %", permille / 10, permille % 10),
    }
}
