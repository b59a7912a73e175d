//! `/api/history`: what was asked over a time, in pieces; of the last day in those of ten minutes.

use model::{QueryBucket, QueryStatsFilter, QueryTotals};
use serde_json::{Map, Value, json};

use super::{Api, stats::period};
use crate::{
    hole::Hole,
    limits::{DAY, HISTORY_CLIENTS, HISTORY_PIECE, MAX_HISTORY, MAX_HISTORY_CLIENTS},
    reply::Reply,
    request::{Request, not_found},
};

/// The address under which Pi-hole sums up the clients that are not shown.
const OTHERS: &str = "0.0.0.0";

impl<H: Hole> Api<H> {
    /// Everything below `/api/history`.
    pub(super) async fn history(&self, request: &Request, rest: &[&str]) -> Reply {
        let answered = match rest {
            [] => match self.last_day(0).await {
                Ok(stats) => Ok(total(&stats.history)),
                Err(reply) => Err(reply),
            },
            ["database"] => self.kept_history(request).await,
            ["clients"] => self.history_of_clients(request, false).await,
            ["database", "clients"] => self.history_of_clients(request, true).await,
            _ => Err(not_found(&request.raw_path)),
        };
        answered.unwrap_or_else(|reply| reply)
    }

    async fn kept_history(&self, request: &Request) -> Result<Reply, Reply> {
        let stats = self.summed_up(&kept(request)?).await?;
        Ok(total(&stats.history))
    }

    async fn history_of_clients(&self, request: &Request, database: bool) -> Result<Reply, Reply> {
        let asked = request.number::<usize>("N")?.or(request.number("n")?).unwrap_or(HISTORY_CLIENTS);
        let most = if asked == 0 { MAX_HISTORY_CLIENTS } else { asked.min(MAX_HISTORY_CLIENTS) };
        let filter = if database {
            kept(request)?
        } else {
            let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
            let since = model::Timestamp(self.hole.now().0.saturating_sub(day));
            QueryStatsFilter {
                since: Some(since),
                bucket: Some(HISTORY_PIECE),
                ..QueryStatsFilter::default()
            }
        };
        let stats = self.summed_up(&QueryStatsFilter { by_client: true, ..filter }).await?;
        // Clients whose zone does not want them told are among the others.
        let shown: Vec<_> = stats
            .client_history
            .iter()
            .filter_map(|client| Some((client.client.address?.to_string(), client)))
            .take(most)
            .collect();
        let mut clients = Map::new();
        let mut shown_sum = 0;
        for (address, client) in &shown {
            let sum: u64 = client.totals.iter().map(|totals| totals.total).sum();
            shown_sum += sum;
            clients.insert(address.clone(), json!({ "name": client.client.name, "total": sum }));
        }
        let all: u64 = stats.history.iter().map(|piece| piece.totals.total).sum();
        let others = all.saturating_sub(shown_sum);
        clients.insert(OTHERS.into(), json!({ "name": "other clients", "total": others }));
        let history = stats.history.iter().enumerate().map(|(place, piece)| {
            let mut data = Map::new();
            let mut sum = 0;
            for (address, client) in &shown {
                let total = client.totals.get(place).map_or(0, |totals: &QueryTotals| totals.total);
                sum += total;
                data.insert(address.clone(), total.into());
            }
            data.insert(OTHERS.into(), piece.totals.total.saturating_sub(sum).into());
            json!({ "timestamp": piece.at.seconds(), "data": data })
        });
        Ok(Reply::ok(json!({ "history": history.collect::<Vec<Value>>(), "clients": clients })))
    }
}

fn total(history: &[QueryBucket]) -> Reply {
    let rows = history.iter().map(|QueryBucket { at, totals }| {
        json!({
            "timestamp": at.seconds(),
            "total": totals.total,
            "cached": totals.cached,
            "blocked": totals.blocked,
            "forwarded": totals.forwarded,
        })
    });
    Reply::ok(json!({ "history": rows.collect::<Vec<Value>>() }))
}

/// The time that is asked for, in pieces so long that they are not too many, with those that it begins and ends within.
fn kept(request: &Request) -> Result<QueryStatsFilter, Reply> {
    let (since, until) = period(request)?;
    let pieces = until.since(since).as_secs() / u64::from(HISTORY_PIECE) / (MAX_HISTORY - 1) + 1;
    let piece = u32::try_from(pieces).unwrap_or(u32::MAX).saturating_mul(HISTORY_PIECE);
    let bucket = Some(piece);
    Ok(QueryStatsFilter { since: Some(since), until: Some(until), bucket, ..QueryStatsFilter::default() })
}
