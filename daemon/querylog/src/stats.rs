//! The log summed up, from its rows and, further back, from the sums of hours and the names of days.

use model::{
    AnswerCode, AnswerFrom, ClientCount, ClientHistory, NameCount, QueryBucket, QueryClient, QueryStats,
    QueryStatsFilter, QueryTotals, QueryType, Timestamp, UpstreamCount,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use crate::{
    LogError, Result,
    days::NameCounts,
    kind::Kind,
    read::{Ids, Reader},
    retention::{DAY, kept_since},
    writer::HOUR,
};

/// Rows may be so much later than the present when it was read, in microseconds: they stand one after the other.
const SLACK: i64 = 1_000_000;

/// Sums up what a filter asks for.
pub(crate) fn stats(reader: &Reader, filter: &QueryStatsFilter, now: Timestamp) -> Result<QueryStats> {
    let most = filter.limit.unwrap_or(QueryStatsFilter::ROWS).min(QueryStatsFilter::MOST_ROWS) as usize;
    let time = Time::of(reader, filter, now)?;
    let wanted = filter.client.as_deref().map(|client| reader.clients_like(client)).transpose()?;
    let wants = |client: u32| wanted.as_ref().is_none_or(|wanted: &Ids| wanted.contains(client));
    let mut sums = Sums { history: vec![QueryTotals::default(); time.buckets], ..Sums::default() };

    let hours = [time.since.div_euclid(HOUR), time.exact.div_euclid(HOUR)];
    let sql =
        "SELECT hour, client, total, blocked, cached, forwarded FROM hours WHERE hour >= ?1 AND hour < ?2";
    if time.exact > time.since {
        reader.walk_all(sql, hours, |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let totals =
                QueryTotals { total: count(2)?, blocked: count(3)?, cached: count(4)?, forwarded: count(5)? };
            let (at, client) = (row.get::<_, i64>(0)? * HOUR, row.get(1)?);
            if wants(client) {
                sums.add(&time, at, client, totals);
            }
            Ok(())
        })?;
        if wanted.is_none() {
            let days = [time.since.div_euclid(DAY), time.exact.div_euclid(DAY)];
            let sql = "SELECT name, total, blocked FROM days WHERE day >= ?1 AND day < ?2";
            reader.walk_all(sql, days, |row| {
                sums.names.add(row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(())
            })?;
        }
    }

    let sql =
        "SELECT id, client, name, kind, qtype, micros, upstream FROM queries WHERE id >= ?1 AND id < ?2";
    reader.walk_all(sql, time.rows(), |row| {
        let client = row.get(1)?;
        if !wants(client) {
            return Ok(());
        }
        let kind = Kind::unpack(row.get(3)?);
        let mut totals = QueryTotals::default();
        totals.count(kind.from);
        sums.add(&time, row.get(0)?, client, totals);
        sums.names.count(row.get(2)?, kind.from);
        *sums.from.entry(kind.from).or_default() += 1;
        *sums.types.entry(row.get(4)?).or_default() += 1;
        *sums.codes.entry(kind.code.0).or_default() += 1;
        if kind.from == AnswerFrom::Upstream {
            let (count, micros) = sums.upstreams.entry(row.get(6)?).or_default();
            *count += 1;
            *micros += u64::from(row.get::<_, u32>(5)?);
        }
        Ok(())
    })?;
    let by_client = filter.by_client && time.bucket > 0;
    sums.told(reader, &time, most, by_client)
}

/// The time that is summed up, in microseconds.
struct Time {
    since: i64,
    until: i64,
    /// From here on by rows, before by hours.
    exact: i64,
    /// End of the rows.
    end: i64,
    bucket: i64,
    buckets: usize,
}

impl Time {
    fn of(reader: &Reader, filter: &QueryStatsFilter, now: Timestamp) -> Result<Self> {
        let until = filter.until.unwrap_or(now).0;
        let kept = kept_since(&reader.connection).map_err(reader.failed())?;
        let mut first: Option<i64> = None;
        reader.walk_all(
            "SELECT min(id) FROM queries UNION ALL SELECT min(hour) * ?1 FROM hours",
            [HOUR],
            |row| {
                first = first.into_iter().chain(row.get::<_, Option<i64>>(0)?).min();
                Ok(())
            },
        )?;
        let since = filter.since.map_or_else(|| first.unwrap_or(until), |since| since.0).min(until);
        if filter.since.is_some_and(|since| since.0 > until) {
            return Err(LogError::Asked("the time ends before it begins".into()));
        }
        let (since, exact) = if since >= kept {
            (since, since)
        } else {
            let first = since.div_euclid(HOUR) * HOUR;
            (first, up_to_hour(kept).min(up_to_hour(until)))
        };
        let end = if filter.until.is_some() { until } else { until.saturating_add(SLACK) };
        let bucket = i64::from(filter.bucket.unwrap_or(0)) * 1_000_000;
        let buckets = match bucket {
            0 => 0,
            bucket => until.saturating_sub(1).max(since).div_euclid(bucket) - since.div_euclid(bucket) + 1,
        };
        let most = if filter.by_client {
            QueryStatsFilter::MOST_BUCKETS / 10
        } else {
            QueryStatsFilter::MOST_BUCKETS
        };
        if buckets > most {
            let message =
                format!("{buckets} pieces of a history are too many, {most} at most: ask for longer ones");
            return Err(LogError::Asked(message));
        }
        Ok(Self { since, until, exact, end, bucket, buckets: usize::try_from(buckets).unwrap_or_default() })
    }

    fn rows(&self) -> [i64; 2] {
        [self.exact, self.end]
    }

    /// The piece of the history that a moment is in. What comes a little after the end is in the last.
    fn place(&self, at: i64) -> Option<usize> {
        if self.bucket == 0 {
            return None;
        }
        let place = at.div_euclid(self.bucket) - self.since.div_euclid(self.bucket);
        Some(usize::try_from(place).unwrap_or_default().min(self.buckets.saturating_sub(1)))
    }
}

/// What is counted, by numbers.
#[derive(Default)]
struct Sums {
    totals: QueryTotals,
    history: Vec<QueryTotals>,
    /// And when each was last seen.
    clients: HashMap<u32, (QueryTotals, i64)>,
    names: NameCounts,
    from: BTreeMap<AnswerFrom, u64>,
    types: HashMap<u16, u64>,
    codes: HashMap<u16, u64>,
    /// And microseconds.
    upstreams: HashMap<u32, (u64, u64)>,
}

impl Sums {
    fn add(&mut self, time: &Time, at: i64, client: u32, totals: QueryTotals) {
        self.totals += totals;
        let (of_client, last) = self.clients.entry(client).or_insert((QueryTotals::default(), at));
        *of_client += totals;
        *last = at.max(*last);
        if let Some(place) = time.place(at)
            && let Some(piece) = self.history.get_mut(place)
        {
            *piece += totals;
        }
    }

    fn told(self, reader: &Reader, time: &Time, most: usize, by_client: bool) -> Result<QueryStats> {
        let named = |ids: Vec<u32>| -> Result<Vec<NameCount>> {
            ids.into_iter()
                .map(|id| {
                    let [total, blocked] = self.names.of(id).map(u64::from);
                    Ok(NameCount { name: reader.name(id)?.unwrap_or_default(), total, blocked })
                })
                .collect()
        };
        let mut clients = self.merged(reader)?;
        clients.sort_by_key(|client| (Reverse(client.count.totals.total), client.count.client.clone()));
        let client_history =
            if by_client { client_history(reader, time, &clients, self.history.len())? } else { Vec::new() };
        let counts: Vec<&ClientCount> = clients.iter().map(|client| &client.count).collect();
        let mut blocked: Vec<&ClientCount> =
            counts.iter().copied().filter(|client| client.totals.blocked > 0).collect();
        blocked.sort_by_key(|client| (Reverse(client.totals.blocked), client.client.clone()));
        let mut upstreams = Vec::new();
        for (id, (total, micros)) in self.upstreams {
            let upstream = reader.word(id)?.unwrap_or_default();
            let micros = u32::try_from(micros / total.max(1)).unwrap_or(u32::MAX);
            upstreams.push(UpstreamCount { upstream, total, micros });
        }
        upstreams.sort_by(|a, b| b.total.cmp(&a.total).then_with(|| a.upstream.cmp(&b.upstream)));
        let first = time.since.div_euclid(time.bucket.max(1)) * time.bucket;
        let history = (0..).zip(&self.history).map(|(place, totals)| QueryBucket {
            at: Timestamp(first + place * time.bucket),
            totals: *totals,
        });
        Ok(QueryStats {
            since: Timestamp(time.since),
            until: Timestamp(time.until),
            exact_since: Timestamp(time.exact),
            totals: self.totals,
            different_names: self.names.different(),
            different_clients: clients.len() as u64,
            history: history.collect(),
            client_history,
            names: named(self.names.top(most, |[total, _]| total))?,
            passed_names: named(self.names.top(most, |[total, blocked]| total.saturating_sub(blocked)))?,
            blocked_names: named(self.names.top(most, |[_, blocked]| blocked))?,
            clients: counts.iter().take(most).map(|count| (*count).clone()).collect(),
            blocked_clients: blocked.into_iter().take(most).cloned().collect(),
            upstreams,
            from: self.from.into_iter().collect(),
            types: by_count(self.types, QueryType),
            codes: by_count(self.codes, AnswerCode),
        })
    }

    /// Clients, each once however many addresses it has.
    fn merged(&self, reader: &Reader) -> Result<Vec<Client>> {
        let mut merged: BTreeMap<QueryClient, (Client, i64)> = BTreeMap::new();
        for (&id, &(totals, last)) in &self.clients {
            let client = reader.client(id)?;
            let mut key = client.clone();
            if key.name.is_some() {
                key.address = None;
            }
            let count = ClientCount { client: client.clone(), totals: QueryTotals::default() };
            let (into, seen) = merged.entry(key).or_insert_with(|| (Client { count, ids: Vec::new() }, last));
            into.ids.push(id);
            into.count.totals += totals;
            // Of addresses last seen at one moment, the lower: the order of a map is no order.
            if (last, Reverse(&client)) > (*seen, Reverse(&into.count.client)) {
                into.count.client = client;
                *seen = last;
            }
        }
        Ok(merged.into_values().map(|(client, _)| client).collect())
    }
}

/// A client and its numbers.
struct Client {
    count: ClientCount,
    ids: Vec<u32>,
}

/// The history of the clients that asked most.
fn client_history(
    reader: &Reader,
    time: &Time,
    clients: &[Client],
    buckets: usize,
) -> Result<Vec<ClientHistory>> {
    let leading = &clients[..clients.len().min(QueryStatsFilter::MOST_CLIENTS)];
    let places: HashMap<u32, usize> = leading
        .iter()
        .enumerate()
        .flat_map(|(place, client)| client.ids.iter().map(move |id| (*id, place)))
        .collect();
    let mut history: Vec<ClientHistory> = leading
        .iter()
        .map(|client| ClientHistory {
            client: client.count.client.clone(),
            totals: vec![QueryTotals::default(); buckets],
        })
        .collect();
    let mut add = |client: u32, at: i64, totals: QueryTotals| {
        let of_client = places.get(&client).and_then(|place| history.get_mut(*place));
        if let Some(of_client) = of_client
            && let Some(piece) = time.place(at).and_then(|place| of_client.totals.get_mut(place))
        {
            *piece += totals;
        }
    };
    if time.exact > time.since {
        let hours = [time.since.div_euclid(HOUR), time.exact.div_euclid(HOUR)];
        let sql = "SELECT hour, client, total, blocked, cached, forwarded FROM hours WHERE hour >= ?1 AND hour < ?2";
        reader.walk_all(sql, hours, |row| {
            let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
            let totals =
                QueryTotals { total: count(2)?, blocked: count(3)?, cached: count(4)?, forwarded: count(5)? };
            add(row.get(1)?, row.get::<_, i64>(0)? * HOUR, totals);
            Ok(())
        })?;
    }
    reader.walk_all(
        "SELECT id, client, kind FROM queries WHERE id >= ?1 AND id < ?2",
        time.rows(),
        |row| {
            let mut totals = QueryTotals::default();
            totals.count(Kind::from(row.get(2)?));
            add(row.get(1)?, row.get(0)?, totals);
            Ok(())
        },
    )?;
    Ok(history)
}

/// Counts, the most first.
fn by_count<T: Ord + Copy>(counts: HashMap<u16, u64>, of: impl Fn(u16) -> T) -> Vec<(T, u64)> {
    let mut counts: Vec<(T, u64)> = counts.into_iter().map(|(number, count)| (of(number), count)).collect();
    counts.sort_by_key(|(of, count)| (Reverse(*count), *of));
    counts
}

fn up_to_hour(at: i64) -> i64 {
    at.div_euclid(HOUR).saturating_add(i64::from(at.rem_euclid(HOUR) > 0)).saturating_mul(HOUR)
}
