//! `/api/stats`: the last day in numbers, and any time that the log of questions reaches back to.

use model::{
    AnswerFrom, ClientCount, NameCount, QueryFilter, QueryStats, QueryStatsFilter, QueryType, Timestamp,
};
use serde_json::{Map, Value, json};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{Api, info::share};
use crate::{
    hole::Hole,
    limits::{DAY, HISTORY_PIECE, KEEP_STATS, MAX_RECENT, MAX_TOP, TOP},
    reply::Reply,
    request::{Request, not_found},
};

/// Types that are counted by name, as Pi-hole does; the others are `OTHER`.
pub(super) const TYPES: [&str; 15] = [
    "A", "AAAA", "ANY", "SRV", "SOA", "PTR", "TXT", "NAPTR", "MX", "DS", "RRSIG", "DNSKEY", "NS", "SVCB",
    "HTTPS",
];
/// What Pi-hole tells apart of how a question was answered.
pub(super) const STATUSES: [&str; 18] = [
    "UNKNOWN",
    "GRAVITY",
    "FORWARDED",
    "CACHE",
    "REGEX",
    "DENYLIST",
    "EXTERNAL_BLOCKED_IP",
    "EXTERNAL_BLOCKED_NULL",
    "EXTERNAL_BLOCKED_NXRA",
    "GRAVITY_CNAME",
    "REGEX_CNAME",
    "DENYLIST_CNAME",
    "RETRIED",
    "RETRIED_DNSSEC",
    "IN_PROGRESS",
    "DBBUSY",
    "SPECIAL_DOMAIN",
    "CACHE_STALE",
];
/// What Pi-hole tells apart of answers. Of those without an error it is not known here what was in them.
pub(super) const REPLIES: [&str; 14] = [
    "UNKNOWN", "NODATA", "NXDOMAIN", "CNAME", "IP", "DOMAIN", "RRNAME", "SERVFAIL", "REFUSED", "NOTIMP",
    "OTHER", "DNSSEC", "NONE", "BLOB",
];

impl<H: Hole> Api<H> {
    /// Everything below `/api/stats`.
    pub(super) async fn stats(&self, request: &Request, rest: &[&str]) -> Reply {
        if rest == ["recent_blocked"] {
            return self.recent_blocked(request).await.unwrap_or_else(|reply| reply);
        }
        let (rest, kept) = match rest {
            ["database", rest @ ..] => (rest, true),
            rest => (rest, false),
        };
        if !matches!(rest, ["summary" | "top_domains" | "top_clients" | "upstreams" | "query_types"]) {
            return not_found(&request.raw_path);
        }
        let summed_up = async {
            let count = request.number::<u32>("count")?.unwrap_or(TOP);
            let count = if rest[0].starts_with("top_") { count } else { TOP };
            let stats = if kept {
                let (since, until) = period(request)?;
                let filter = QueryStatsFilter { since: Some(since), until: Some(until), ..of(count) };
                Arc::new(self.summed_up(&filter).await?)
            } else {
                self.last_day(count).await?
            };
            let blocked = request.flag("blocked")?;
            let places = usize::try_from(count).unwrap_or(usize::MAX);
            Ok(match rest {
                ["summary"] if kept => kept_summary(&stats),
                ["summary"] => self.summary(&stats),
                ["top_domains"] => top_domains(&stats, blocked, places),
                ["top_clients"] => top_clients(&stats, blocked, places),
                ["upstreams"] => upstreams(&stats),
                _ => Reply::ok(json!({ "types": types(&stats) })),
            })
        };
        summed_up.await.unwrap_or_else(|reply: Reply| reply)
    }

    /// The last day, with at least so many rows in each table. Kept for some seconds: an app that draws a page asks for
    /// parts of it several times.
    pub(super) async fn last_day(&self, rows: u32) -> Result<Arc<QueryStats>, Reply> {
        let now = self.hole.now();
        let since = Timestamp(now.0.saturating_sub(i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX)));
        let filter =
            QueryStatsFilter { since: Some(since), bucket: Some(HISTORY_PIECE), ..of(rows.max(TOP)) };
        if rows > TOP {
            return Ok(Arc::new(self.summed_up(&filter).await?));
        }
        // Who comes meanwhile waits for it and takes the same.
        let mut kept = self.kept.lock().await;
        if let Some((at, stats)) = kept.as_ref()
            && *at <= now
            && now.since(*at) < KEEP_STATS
        {
            return Ok(Arc::clone(stats));
        }
        let stats = Arc::new(self.summed_up(&filter).await?);
        *kept = Some((now, Arc::clone(&stats)));
        Ok(stats)
    }

    /// Asks the log; a few at a time.
    pub(super) async fn summed_up(&self, filter: &QueryStatsFilter) -> Result<QueryStats, Reply> {
        let _turn = self.reads.acquire().await.ok();
        self.hole.stats(filter).await.map_err(Reply::from)
    }

    fn summary(&self, stats: &QueryStats) -> Reply {
        let totals = stats.totals;
        let lists = self.hole.lists();
        let entries: u64 = lists.iter().filter(|list| list.enabled).map(|list| list.entries).sum();
        let loaded = lists.iter().filter_map(|list| list.loaded).max();
        Reply::ok(json!({
            "queries": {
                "total": totals.total,
                "blocked": totals.blocked,
                "percent_blocked": share(totals.blocked, totals.total),
                "unique_domains": stats.different_names,
                "forwarded": totals.forwarded,
                "cached": cached(stats),
                "frequency": frequency(stats),
                "types": types(stats),
                "status": statuses(stats),
                "replies": replies(stats),
            },
            "clients": { "active": stats.different_clients, "total": stats.different_clients },
            "gravity": {
                "domains_being_blocked": entries,
                "last_update": loaded.map_or(0, Timestamp::seconds),
            },
        }))
    }

    async fn recent_blocked(&self, request: &Request) -> Result<Reply, Reply> {
        let limit = request.number::<u32>("count")?.unwrap_or(1).min(MAX_RECENT);
        let filter = QueryFilter { blocked: true, limit: Some(limit.max(1)), ..QueryFilter::default() };
        let _turn = self.reads.acquire().await.ok();
        let page = self.hole.queries(&filter).await.map_err(Reply::from)?;
        let names: Vec<String> = page.rows.into_iter().filter_map(|row| row.name).collect();
        Ok(Reply::ok(json!({ "blocked": names })))
    }
}

fn of(rows: u32) -> QueryStatsFilter {
    QueryStatsFilter { limit: Some(rows.clamp(1, MAX_TOP)), ..QueryStatsFilter::default() }
}

/// `from` and `until`, in seconds.
pub(super) fn period(request: &Request) -> Result<(Timestamp, Timestamp), Reply> {
    let missing = || Reply::bad_request("You need to specify \"from\" and \"until\" in the request.", None);
    let from = seconds(request, "from")?.ok_or_else(missing)?;
    let until = seconds(request, "until")?.ok_or_else(missing)?;
    if from >= until {
        return Err(Reply::bad_request("Invalid request: \"from\" is not before \"until\"", None));
    }
    Ok((from, until))
}

/// A time in seconds, which may have a fraction.
pub(super) fn seconds(request: &Request, name: &str) -> Result<Option<Timestamp>, Reply> {
    let Some(seconds) = request.number::<f64>(name)? else { return Ok(None) };
    // Year 9999.
    if !(0.0..253_402_300_800.0).contains(&seconds) {
        return Err(Reply::bad_request("Invalid request: A time is out of range", Some(name)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
    Ok(Some(Timestamp((seconds * 1e6) as i64)))
}

fn kept_summary(stats: &QueryStats) -> Reply {
    Reply::ok(json!({
        "sum_queries": stats.totals.total,
        "sum_blocked": stats.totals.blocked,
        "percent_blocked": share(stats.totals.blocked, stats.totals.total),
        "total_clients": stats.different_clients,
    }))
}

fn top_domains(stats: &QueryStats, blocked: bool, count: usize) -> Reply {
    let rows: Vec<Value> = if blocked {
        let names = stats.blocked_names.iter().filter(|name| name.blocked > 0).take(count);
        names.map(|NameCount { name, blocked, .. }| json!({ "domain": name, "count": blocked })).collect()
    } else {
        let passed = |name: &NameCount| name.total.saturating_sub(name.blocked);
        let names = stats.passed_names.iter().filter(|name| passed(name) > 0).take(count);
        names.map(|name| json!({ "domain": name.name, "count": passed(name) })).collect()
    };
    Reply::ok(json!({
        "domains": rows,
        "total_queries": stats.totals.total,
        "blocked_queries": stats.totals.blocked,
    }))
}

/// Clients whose zone does not want them told are in the sums only.
fn top_clients(stats: &QueryStats, blocked: bool, count: usize) -> Reply {
    let (clients, counted): (_, fn(&ClientCount) -> u64) = if blocked {
        (&stats.blocked_clients, |client| client.totals.blocked)
    } else {
        (&stats.clients, |client| client.totals.total)
    };
    let rows = clients.iter().filter(|client| counted(client) > 0).filter_map(|client| {
        let address = client.client.address?;
        let name = client.client.name.as_deref().unwrap_or_default();
        Some(json!({ "ip": address.to_string(), "name": name, "count": counted(client) }))
    });
    Reply::ok(json!({
        "clients": rows.take(count).collect::<Vec<_>>(),
        "total_queries": stats.totals.total,
        "blocked_queries": stats.totals.blocked,
    }))
}

fn upstreams(stats: &QueryStats) -> Reply {
    let here = |name: &str, count: u64| {
        json!({
            "ip": name, "name": name, "port": -1, "count": count,
            "statistics": { "response": 0, "variance": 0 },
        })
    };
    let mut rows = vec![here("blocklist", stats.totals.blocked), here("cache", cached(stats))];
    rows.extend(stats.upstreams.iter().filter(|upstream| upstream.total > 0).map(|upstream| {
        let Place { address, name, port } = Place::of(&upstream.upstream);
        json!({
            "ip": address, "name": name, "port": port, "count": upstream.total,
            "statistics": { "response": f64::from(upstream.micros) / 1e6, "variance": 0 },
        })
    }));
    Reply::ok(json!({
        "upstreams": rows,
        "forwarded_queries": stats.totals.forwarded,
        "total_queries": stats.totals.total,
    }))
}

/// An upstream taken apart as Pi-hole has them.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    address: String,
    name: String,
    port: u16,
}

impl Place {
    /// `9.9.9.9`, `9.9.9.9:5353`, `tls://9.9.9.9#dns.quad9.net`, `https://dns.quad9.net/dns-query`.
    fn of(text: &str) -> Self {
        let (rest, usual) = match text.split_once("://") {
            Some(("https", rest)) => (rest.split('/').next().unwrap_or_default(), 443),
            Some(("tls", rest)) => (rest, 853),
            Some((_, rest)) => (rest, 53),
            None => (text, 53),
        };
        let (place, name) = rest.split_once('#').map_or((rest, None), |(place, name)| (place, Some(name)));
        let (address, port) = if let Ok(socket) = place.parse::<SocketAddr>() {
            (socket.ip().to_string(), socket.port())
        } else if let Ok(address) = place.trim_matches(['[', ']']).parse::<IpAddr>() {
            (address.to_string(), usual)
        } else {
            let parts = place.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
            let (name, port) = parts.unwrap_or((place, usual));
            (name.to_owned(), port)
        };
        Self { name: name.map_or_else(|| address.clone(), str::to_owned), address, port }
    }
}

/// Questions a second, in the last piece of the history that is over.
fn frequency(stats: &QueryStats) -> f64 {
    let over = stats.history.len().checked_sub(2).and_then(|place| stats.history.get(place));
    let asked = over.map_or(0, |piece| u32::try_from(piece.totals.total).unwrap_or(u32::MAX));
    f64::from(asked) / f64::from(HISTORY_PIECE)
}

/// What was answered from the cache or by what is known here, which is one thing to Pi-hole.
fn cached(stats: &QueryStats) -> u64 {
    let here = |from: &AnswerFrom| matches!(status(*from), "CACHE" | "CACHE_STALE");
    stats.from.iter().filter(|(from, _)| here(from)).map(|(_, count)| count).sum()
}

/// Pi-hole's word for where an answer came from. A blocked question is in `GRAVITY` here, whoever said so.
pub(super) fn status(from: AnswerFrom) -> &'static str {
    match from {
        AnswerFrom::Sinkhole => "GRAVITY",
        AnswerFrom::Rewrite | AnswerFrom::Local | AnswerFrom::Here | AnswerFrom::Cache => "CACHE",
        AnswerFrom::Stale => "CACHE_STALE",
        AnswerFrom::Upstream => "FORWARDED",
        AnswerFrom::Nobody | AnswerFrom::Overload => "UNKNOWN",
    }
}

/// Pi-hole's word for a kind of answer.
pub(super) fn reply_word(code: &str) -> &'static str {
    match code {
        "NOERROR" => "UNKNOWN",
        code => REPLIES.into_iter().find(|known| *known == code).unwrap_or("OTHER"),
    }
}

fn statuses(stats: &QueryStats) -> Value {
    summed(&STATUSES, stats.from.iter().map(|(from, count)| (status(*from), *count)))
}

fn replies(stats: &QueryStats) -> Value {
    summed(&REPLIES, stats.codes.iter().map(|(code, count)| (reply_word(&code.to_string()), *count)))
}

fn types(stats: &QueryStats) -> Value {
    let words = [&TYPES[..], &["OTHER"]].concat();
    summed(&words, stats.types.iter().map(|(qtype, count)| (type_word(*qtype), *count)))
}

fn type_word(qtype: QueryType) -> &'static str {
    let text = qtype.to_string();
    TYPES.into_iter().find(|known| *known == text).unwrap_or("OTHER")
}

/// Every word, also those that nothing was counted for.
fn summed<'word>(words: &[&'word str], counted: impl Iterator<Item = (&'word str, u64)>) -> Value {
    let mut sums: Map<String, Value> = words.iter().map(|word| ((*word).to_owned(), 0.into())).collect();
    for (word, count) in counted {
        let before = sums.get(word).and_then(Value::as_u64).unwrap_or(0);
        sums.insert(word.to_owned(), (before + count).into());
    }
    sums.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_taken_apart_as_pi_hole_has_them() {
        for (text, address, name, port) in [
            ("9.9.9.9", "9.9.9.9", "9.9.9.9", 53),
            ("9.9.9.9:5353", "9.9.9.9", "9.9.9.9", 5353),
            ("[2620:fe::fe]:53", "2620:fe::fe", "2620:fe::fe", 53),
            ("2620:fe::fe", "2620:fe::fe", "2620:fe::fe", 53),
            ("tls://9.9.9.9#dns.quad9.net", "9.9.9.9", "dns.quad9.net", 853),
            ("tls://dns.quad9.net:8853", "dns.quad9.net", "dns.quad9.net", 8853),
            ("https://dns.quad9.net/dns-query", "dns.quad9.net", "dns.quad9.net", 443),
            ("", "", "", 53),
        ] {
            let expected = Place { address: address.into(), name: name.into(), port };
            assert_eq!(Place::of(text), expected, "{text}");
        }
    }
}
