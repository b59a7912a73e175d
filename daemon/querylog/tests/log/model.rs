//! Sums against a slow, obvious reference: every question in a list, counted one by one.

use model::{AnswerFrom, QueryStats, QueryStatsFilter, QueryTotals, Timestamp};
use proptest::prelude::*;
use querylog::{Entry, QueryLog, Settings};
use std::collections::{BTreeMap, BTreeSet};

use crate::common::{Bench, DAY, HOUR, START, forwarded, roomy};

#[derive(Clone, Debug)]
struct Asked {
    at: i64,
    client: u8,
    name: u8,
    from: AnswerFrom,
}

impl Asked {
    fn name(&self) -> String {
        format!("n{}.example", self.name)
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    (0..4 * DAY, 0..6_u8, 0..20_u8, 0..AnswerFrom::ALL.len()).prop_map(|(at, client, name, from)| Asked {
        at: START + at,
        client,
        name,
        from: AnswerFrom::ALL[from],
    })
}

fn write(log: &QueryLog, all: &[Asked]) {
    for asked in all {
        let name = asked.name();
        // Two addresses with one name are one client.
        let client_name = if asked.client < 2 { "tablet" } else { "" };
        log.push(&Entry { from: asked.from, client_name, ..forwarded(asked.at, asked.client, &name) });
    }
    log.flush();
}

fn totals<'a>(all: impl Iterator<Item = &'a Asked>) -> QueryTotals {
    let mut totals = QueryTotals::default();
    all.for_each(|asked| totals.count(asked.from));
    totals
}

/// What the reference says: names and clients by what they asked, the most first.
struct Expected {
    totals: QueryTotals,
    history: Vec<QueryTotals>,
    /// And how much of it was blocked.
    names: Vec<(u64, u64)>,
    clients: Vec<u64>,
}

/// The reference.
fn expected(all: &[Asked], since: i64, until: i64, bucket: i64) -> Expected {
    let within: Vec<&Asked> = all.iter().filter(|asked| (since..until).contains(&asked.at)).collect();
    let first = since.div_euclid(bucket);
    let last = (until - 1).div_euclid(bucket);
    let history = (first..=last)
        .map(|place| totals(within.iter().copied().filter(|asked| asked.at.div_euclid(bucket) == place)))
        .collect();
    let mut names: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut clients: BTreeMap<u8, u64> = BTreeMap::new();
    for asked in &within {
        let (total, blocked) = names.entry(asked.name()).or_default();
        *total += 1;
        *blocked += u64::from(asked.from == AnswerFrom::Sinkhole);
        *clients.entry(asked.client.max(1)).or_default() += 1;
    }
    let mut names: Vec<(u64, u64)> = names.into_values().collect();
    names.sort_by(|a, b| b.cmp(a));
    let mut clients: Vec<u64> = clients.into_values().collect();
    clients.sort_by(|a, b| b.cmp(a));
    Expected { totals: totals(within.into_iter()), history, names, clients }
}

fn check(
    stats: &QueryStats,
    all: &[Asked],
    since: i64,
    until: i64,
    bucket: i64,
) -> Result<(), TestCaseError> {
    let Expected { totals, history, names, clients } = expected(all, since, until, bucket);
    prop_assert_eq!(stats.totals, totals);
    prop_assert_eq!(stats.history.iter().map(|piece| piece.totals).collect::<Vec<_>>(), history);
    let mut told: Vec<(u64, u64)> = stats.names.iter().map(|name| (name.total, name.blocked)).collect();
    told.sort_by(|a, b| b.cmp(a));
    prop_assert_eq!(told, names);
    let told: Vec<u64> = stats.clients.iter().map(|client| client.totals.total).collect();
    prop_assert_eq!(&told, &clients);
    let by_client: Vec<u64> = stats
        .client_history
        .iter()
        .map(|client| client.totals.iter().map(|piece| piece.total).sum())
        .collect();
    prop_assert_eq!(&by_client, &clients);
    prop_assert_eq!(stats.different_clients, clients.len() as u64);
    let from: u64 = stats.from.iter().map(|(_, count)| count).sum();
    prop_assert_eq!(from, totals.total);
    let forwarded: u64 = stats.upstreams.iter().map(|upstream| upstream.total).sum();
    prop_assert_eq!(forwarded, totals.forwarded);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// While the rows are there, any time is summed up exactly.
    #[test]
    fn rows_are_summed_up_as_they_are(
        all in prop::collection::vec(asked(), 1..300),
        since in 0..4 * DAY,
        length in 1..4 * DAY,
        bucket in prop::sample::select(vec![600_i64, 3_600, 10_000, 86_400]),
    ) {
        // The id of a row is its moment: those of one moment are next to each other, which would blur the edges.
        let distinct: BTreeSet<i64> = all.iter().map(|asked| asked.at).collect();
        prop_assume!(distinct.len() == all.len());
        let (since, until) = (START + since, START + since + length);
        let bench = Bench::new();
        let log = bench.open(roomy());
        write(&log, &all);
        let filter = QueryStatsFilter {
            since: Some(Timestamp(since)),
            until: Some(Timestamp(until)),
            bucket: u32::try_from(bucket).ok(),
            by_client: length / (bucket * 1_000_000) < 490,
            limit: Some(100),
            client: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut stats = runtime.block_on(log.stats(&filter)).unwrap();
        if !filter.by_client {
            // Too long for histories of clients: asked for in longer pieces.
            let filter = QueryStatsFilter { bucket: Some(86_400), by_client: true, ..filter };
            stats.client_history = runtime.block_on(log.stats(&filter)).unwrap().client_history;
        }
        check(&stats, &all, since, until, bucket * 1_000_000)?;
    }

    /// When rows have gone with time, whole hours and days are still summed up exactly.
    #[test]
    fn sums_outlive_rows(
        mut all in prop::collection::vec(asked(), 1..300),
        first in 0..96_i64,
        days in 1..4_u32,
        gone in 0..5 * DAY,
    ) {
        all.sort_by_key(|asked| asked.at);
        all.dedup_by_key(|asked| asked.at);
        let bench = Bench::new();
        let log = bench.open(Settings { days, ..roomy() });
        write(&log, &all);
        let now = START + 4 * DAY + gone;
        bench.at(&log, now);
        let since = START + first * HOUR;
        let filter = QueryStatsFilter {
            since: Some(Timestamp(since)),
            bucket: Some(3_600),
            by_client: true,
            limit: Some(100),
            ..QueryStatsFilter::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stats = runtime.block_on(log.stats(&filter)).unwrap();
        let Expected { totals, history, clients, .. } = expected(&all, since, now, HOUR);
        prop_assert_eq!(stats.totals, totals);
        prop_assert_eq!(stats.history.iter().map(|piece| piece.totals).collect::<Vec<_>>(), history);
        let told: Vec<u64> = stats.clients.iter().map(|client| client.totals.total).collect();
        prop_assert_eq!(&told, &clients);
        let by_client: Vec<u64> =
            stats.client_history.iter().map(|client| client.totals.iter().map(|piece| piece.total).sum()).collect();
        prop_assert_eq!(&by_client, &clients);
        // Names: of days that are wholly gone as the days have them, of rows as they are.
        let exact = stats.exact_since.0;
        let counted = |asked: &&Asked| {
            asked.at >= exact || (asked.at.div_euclid(DAY) >= since.div_euclid(DAY) && asked.at.div_euclid(DAY) < exact.div_euclid(DAY))
        };
        let names: u64 = all.iter().filter(counted).count() as u64;
        let rows_there = all.iter().filter(|asked| asked.at >= exact).count() as u64;
        prop_assert_eq!(stats.names.iter().map(|name| name.total).sum::<u64>(), names);
        prop_assert_eq!(stats.from.iter().map(|(_, count)| count).sum::<u64>(), rows_there);
    }
}
