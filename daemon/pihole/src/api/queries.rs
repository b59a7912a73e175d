//! `/api/queries`: the log of questions, row by row.

use model::{AnswerCode, AnswerFrom, EventAction, QueryDecider, QueryFilter, QueryRow};
use serde_json::{Value, json};

use super::{
    Api,
    stats::{REPLIES, STATUSES, TYPES, reply_word, seconds, status},
};
use crate::{
    hole::{Hole, List},
    limits::{MAX_QUERIES, MAX_QUERIES_BACK, MAX_SUGGESTIONS, QUERIES},
    reply::Reply,
    request::{Request, not_found},
};

/// What stands for a name or an address that its zone does not want told, as in Pi-hole.
const HIDDEN: &str = "hidden";
const HIDDEN_ADDRESS: &str = "0.0.0.0";

/// What is looked at once the rows are there.
struct Sieve {
    status: Option<String>,
    dnssec: Option<String>,
}

impl<H: Hole> Api<H> {
    /// Everything below `/api/queries`.
    pub(super) async fn queries(&self, request: &Request, rest: &[&str]) -> Reply {
        let answered = match rest {
            [] => self.rows_of_log(request).await,
            ["suggestions"] => self.suggestions().await,
            _ => Err(not_found(&request.raw_path)),
        };
        answered.unwrap_or_else(|reply| reply)
    }

    async fn rows_of_log(&self, request: &Request) -> Result<Reply, Reply> {
        // -1 is how a table asks for everything.
        let length = request
            .number::<i64>("length")?
            .map_or(QUERIES, |length| u32::try_from(length).unwrap_or(MAX_QUERIES).min(MAX_QUERIES));
        let start = request.number::<u32>("start")?.unwrap_or(0);
        if start > MAX_QUERIES_BACK {
            let hint = format!("at most {MAX_QUERIES_BACK}; go on with `until`");
            return Err(Reply::bad_request("Invalid request: The start is too far back", Some(&hint)));
        }
        let cursor = request.number::<u64>("cursor")?;
        let draw = request.number::<u32>("draw")?.unwrap_or(0);
        let Some((filter, sieve)) = filter(request)? else {
            return Ok(page(Vec::new(), cursor, (0, 0), draw));
        };
        let is_whole = filter == QueryFilter::default() && sieve.status.is_none() && sieve.dnssec.is_none();
        let filter = QueryFilter {
            before: cursor.map(|cursor| cursor.saturating_add(1)),
            limit: Some(start.saturating_add(length).max(1)),
            ..filter
        };
        let found = {
            let _turn = self.reads.acquire().await.ok();
            self.hole.queries(&filter).await.map_err(Reply::from)?
        };
        let newest = found.rows.first().map(|row| row.id);
        let lists = self.hole.lists();
        let rows = found.rows.iter().filter(|row| sieve.lets_through(row));
        let rows = rows.skip(start as usize).take(length as usize).map(|row| shown(row, &lists));
        let rows: Vec<Value> = rows.collect();
        let total = self.last_day(0).await?.totals.total;
        // How many pass a filter is not counted: one more than is shown, where there are more.
        let seen = u64::from(start) + rows.len() as u64 + u64::from(found.next.is_some());
        let counts = (total.max(seen), if is_whole { total.max(seen) } else { seen });
        Ok(page(rows, cursor.or(newest), counts, draw))
    }

    async fn suggestions(&self) -> Result<Reply, Reply> {
        let stats = self.last_day(0).await?;
        let texts = |texts: Vec<String>| {
            let mut texts = texts;
            texts.truncate(MAX_SUGGESTIONS);
            texts
        };
        let clients = || stats.clients.iter().map(|client| &client.client);
        let mut upstreams = vec!["blocklist".to_owned(), "cache".to_owned()];
        upstreams.extend(stats.upstreams.iter().map(|upstream| upstream.upstream.clone()));
        Ok(Reply::ok(json!({ "suggestions": {
            "domain": texts(stats.names.iter().map(|name| name.name.clone()).collect()),
            "client_ip": texts(clients().filter_map(|client| Some(client.address?.to_string())).collect()),
            "client_name": texts(clients().filter_map(|client| client.name.clone()).collect()),
            "upstream": texts(upstreams),
            "type": TYPES,
            "status": STATUSES,
            "reply": REPLIES,
            "dnssec": ["SECURE", "UNKNOWN"],
        }})))
    }
}

/// What is asked for; none = what no row is.
fn filter(request: &Request) -> Result<Option<(QueryFilter, Sieve)>, Reply> {
    let said = |name: &str| request.parameter(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let clients: Vec<String> = ["client_ip", "client_name", "client"].into_iter().filter_map(said).collect();
    if clients.len() > 1 {
        return Err(Reply::bad_request("Invalid request: Name a client by its address or by its name", None));
    }
    let mut filter = QueryFilter {
        since: seconds(request, "from")?,
        until: seconds(request, "until")?,
        client: clients.into_iter().next(),
        name: said("domain").map(|name| name.trim_end_matches('.').to_ascii_lowercase()),
        ..QueryFilter::default()
    };
    match said("upstream").as_deref() {
        None => {}
        Some("blocklist") => filter.blocked = true,
        Some("cache") => filter.from = Some(AnswerFrom::Cache),
        Some(upstream) => filter.upstream = Some(upstream.to_owned()),
    }
    if let Some(qtype) = said("type") {
        let bad = |error: String| Reply::bad_request("Invalid request: No such type", Some(&error));
        filter.qtype = Some(qtype.parse().map_err(bad)?);
    }
    let status = said("status").map(|status| status.to_ascii_uppercase());
    match status.as_deref() {
        Some("FORWARDED") => filter.from = Some(AnswerFrom::Upstream),
        Some("CACHE_STALE") => filter.from = Some(AnswerFrom::Stale),
        Some("GRAVITY" | "DENYLIST" | "GRAVITY_CNAME" | "DENYLIST_CNAME") => filter.blocked = true,
        Some("CACHE" | "UNKNOWN" | "EXTERNAL_BLOCKED_IP") | None => {}
        Some(other) if STATUSES.contains(&other) => return Ok(None),
        Some(other) => return Err(Reply::bad_request("Invalid request: No such status", Some(other))),
    }
    let reply = said("reply").map(|reply| reply.to_ascii_uppercase());
    match reply.as_deref() {
        None => {}
        Some("UNKNOWN") => filter.code = Some(AnswerCode(0)),
        Some(word @ ("NXDOMAIN" | "SERVFAIL" | "REFUSED" | "NOTIMP")) => filter.code = word.parse().ok(),
        Some(other) if REPLIES.contains(&other) => return Ok(None),
        Some(other) => return Err(Reply::bad_request("Invalid request: No such reply", Some(other))),
    }
    let dnssec = said("dnssec").map(|dnssec| dnssec.to_ascii_uppercase());
    Ok(Some((filter, Sieve { status, dnssec })))
}

impl Sieve {
    fn lets_through(&self, row: &QueryRow) -> bool {
        self.status.as_ref().is_none_or(|status| status == row_status(row))
            && self.dnssec.as_ref().is_none_or(|dnssec| dnssec == row_dnssec(row))
    }
}

/// How a question was answered, in Pi-hole's words.
fn row_status(row: &QueryRow) -> &'static str {
    let of_person = match &row.by {
        Some(QueryDecider::Rebinding) => return "EXTERNAL_BLOCKED_IP",
        Some(QueryDecider::Decision { .. }) => true,
        // The config's own entries.
        Some(QueryDecider::List { list, .. }) => list.starts_with("dns."),
        None => false,
    };
    if row.action != EventAction::Sinkhole {
        return status(row.from);
    }
    match (of_person, row.alias.is_some()) {
        (false, false) => "GRAVITY",
        (false, true) => "GRAVITY_CNAME",
        (true, false) => "DENYLIST",
        (true, true) => "DENYLIST_CNAME",
    }
}

fn row_dnssec(row: &QueryRow) -> &'static str {
    if row.secure { "SECURE" } else { "UNKNOWN" }
}

fn shown(row: &QueryRow, lists: &[List]) -> Value {
    let list = match &row.by {
        Some(QueryDecider::List { list, .. }) => lists.iter().find(|known| known.name == *list),
        Some(QueryDecider::Decision { .. } | QueryDecider::Rebinding) | None => None,
    };
    let blocked = row.action == EventAction::Sinkhole;
    #[expect(clippy::cast_precision_loss, reason = "microseconds stay exact for two centuries")]
    let time = row.at.0 as f64 / 1e6;
    json!({
        "id": row.id,
        "time": time,
        "type": row.qtype.to_string(),
        "domain": row.name.as_deref().unwrap_or(HIDDEN),
        "cname": row.alias.as_ref().filter(|_| blocked),
        "status": row_status(row),
        "client": {
            "ip": row.client.address.map_or_else(|| HIDDEN_ADDRESS.to_owned(), |address| address.to_string()),
            "name": row.client.name,
        },
        "dnssec": row_dnssec(row),
        "reply": { "type": reply_word(&row.code.to_string()), "time": f64::from(row.micros) / 1e3 },
        "list_id": list.map(|list| list.id),
        "upstream": row.upstream,
        "ede": { "code": -1, "text": null },
    })
}

fn page(rows: Vec<Value>, cursor: Option<u64>, (total, filtered): (u64, u64), draw: u32) -> Reply {
    Reply::ok(json!({
        "queries": rows,
        "cursor": cursor,
        "recordsTotal": total,
        "recordsFiltered": filtered,
        "draw": draw,
    }))
}
