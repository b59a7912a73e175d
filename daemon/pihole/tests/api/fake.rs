//! A hole as strict as the real one, in memory, with a clock that is stepped.

use model::{
    AnswerCode, AnswerFrom, ClientCount, ClientHistory, EventAction, Name, NameCount, QueryBucket,
    QueryClient, QueryDecider, QueryFilter, QueryPage, QueryRow, QueryStats, QueryStatsFilter, QueryTotals,
    Severity, Timestamp, UpstreamCount,
};
use pihole::{
    About, Blocking, Client, Device, Domain, Group, Hole, Kind, List, ListState, Message, Refusal, Verdict,
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// 2026-09-21T14:13:20Z.
pub(crate) const BEGIN: Timestamp = Timestamp::from_seconds(1_790_000_000);
/// The longest pause.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// What it knows.
#[derive(Default)]
pub(crate) struct Fake {
    later: AtomicI64,
    /// How often the log was summed up.
    pub(crate) summed_up: AtomicU32,
    pub(crate) told: Mutex<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paused: Option<Timestamp>,
    off: bool,
    observes: bool,
    orders: Vec<Domain>,
    next: u64,
}

impl Fake {
    /// As a case says: `observe`, `no resolver`.
    pub(crate) fn of(kind: &str) -> Self {
        let fake = Self::default();
        {
            let mut state = fake.state.lock().unwrap();
            state.next = 1;
            match kind {
                "" => {}
                "observe" => state.observes = true,
                "no resolver" => state.off = true,
                other => panic!("no such hole: {other}"),
            }
        }
        fake
    }

    pub(crate) fn step(&self, by: Duration) {
        self.later.fetch_add(i64::try_from(by.as_micros()).unwrap(), Relaxed);
    }

    fn config(&self) -> Vec<Domain> {
        let entry = |id, text: &str, verdict, kind, groups: &[u64], line| Domain {
            id,
            text: text.to_owned(),
            verdict,
            kind,
            comment: None,
            groups: groups.to_vec(),
            since: BEGIN,
            fixed: Some(format!("/etc/secd/secd.toml line {line}")),
        };
        vec![
            entry(1001, "fixed.example", Verdict::Allow, Kind::Exact, &[0], 7),
            entry(1002, "^ad[0-9]+\\.", Verdict::Deny, Kind::Regex, &[0, 1], 8),
        ]
    }
}

impl Hole for Fake {
    fn now(&self) -> Timestamp {
        Timestamp(BEGIN.0 + self.later.load(Relaxed))
    }

    fn tell(&self, severity: Severity, message: String) {
        self.told.lock().unwrap().push(format!("{severity:?}: {message}"));
    }

    fn blocking(&self) -> (Blocking, Option<Timestamp>) {
        let state = self.state.lock().unwrap();
        let paused = state.paused.filter(|until| *until > self.now());
        match (state.off, paused, state.observes) {
            (true, ..) => (Blocking::Failure, None),
            (false, Some(until), _) => (Blocking::Disabled, Some(until)),
            (false, None, true) => (Blocking::Disabled, None),
            (false, None, false) => (Blocking::Enabled, None),
        }
    }

    async fn set_blocking(&self, enabled: bool, lasting: Option<Duration>, who: &str) -> Result<(), Refusal> {
        let bad =
            |message: &str| Refusal { status: 400, key: "bad_request", message: message.into(), hint: None };
        let mut state = self.state.lock().unwrap();
        if enabled && state.observes && state.paused.is_none() {
            return Err(Refusal::forbidden("Names are only observed", "set `mode` in secd.toml"));
        }
        let lasting = lasting.unwrap_or(DAY);
        if lasting < Duration::from_secs(1) || lasting > DAY {
            return Err(bad("a pause lasts from 1s to 1d"));
        }
        state.paused = (!enabled).then(|| self.now().plus(lasting));
        self.told.lock().unwrap().push(format!("blocking {enabled}, by {who}"));
        Ok(())
    }

    fn domains(&self) -> Vec<Domain> {
        let mut all = self.state.lock().unwrap().orders.clone();
        all.extend(self.config());
        all
    }

    async fn add_domain(
        &self,
        verdict: Verdict,
        name: Name,
        comment: Option<String>,
        who: &str,
    ) -> Result<(), Refusal> {
        if name.as_str() == "full.example" {
            let message = "it could not be stored: the disk is full".into();
            return Err(Refusal { status: 503, key: "database_error", message, hint: None });
        }
        let mut state = self.state.lock().unwrap();
        let known = |entry: &Domain| entry.text == name.as_str() && entry.verdict == verdict;
        assert!(!state.orders.iter().any(known), "it is asked before");
        let id = state.next;
        state.next += 1;
        let (text, since) = (name.to_string(), self.now());
        let kind = Kind::Exact;
        state.orders.push(Domain { id, text, verdict, kind, comment, groups: vec![0], since, fixed: None });
        self.told.lock().unwrap().push(format!("{verdict:?} {name}, by {who}"));
        Ok(())
    }

    async fn remove_domain(&self, verdict: Verdict, name: Name, who: &str) -> Result<bool, Refusal> {
        let mut state = self.state.lock().unwrap();
        let before = state.orders.len();
        state.orders.retain(|entry| entry.text != name.as_str() || entry.verdict != verdict);
        self.told.lock().unwrap().push(format!("no longer {verdict:?} {name}, by {who}"));
        Ok(state.orders.len() < before)
    }

    fn groups(&self) -> Vec<Group> {
        let group = |id, name: &str, enabled, comment: Option<&str>| Group {
            id,
            name: name.into(),
            comment: comment.map(Into::into),
            enabled,
            since: BEGIN,
        };
        vec![group(0, "default", true, None), group(1, "kids", false, Some("homework first"))]
    }

    fn lists(&self) -> Vec<List> {
        vec![List {
            id: 1,
            address: "https://lists.example/ads.txt".into(),
            name: "ads".into(),
            allows: false,
            groups: vec![0, 1],
            enabled: true,
            entries: 100_000,
            rejected: 3,
            state: ListState::OldCopy,
            loaded: Some(BEGIN),
            since: BEGIN,
        }]
    }

    fn clients(&self) -> Vec<Client> {
        vec![Client {
            id: 1,
            text: "10.4.0.9".into(),
            name: "tablet".into(),
            comment: None,
            groups: vec![0, 1],
            since: BEGIN,
        }]
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device {
            mac: "02:00:00:00:00:01".into(),
            addresses: vec!["10.4.0.9".parse().unwrap(), "fd00:4::9".parse().unwrap()],
            seen: Some(BEGIN),
        }]
    }

    async fn queries(&self, filter: &QueryFilter) -> Result<QueryPage, Refusal> {
        let limit = filter.limit.unwrap_or(QueryFilter::ROWS);
        assert!((1..=QueryFilter::MOST_ROWS).contains(&limit), "the real one refuses {limit} rows");
        let mut rows: Vec<_> = rows().into_iter().filter(|row| passes(filter, row)).collect();
        let next = (rows.len() > limit as usize).then(|| rows[limit as usize - 1].id);
        rows.truncate(limit as usize);
        Ok(QueryPage { rows, next, kept_since: Some(BEGIN) })
    }

    async fn stats(&self, filter: &QueryStatsFilter) -> Result<QueryStats, Refusal> {
        self.summed_up.fetch_add(1, Relaxed);
        let limit = filter.limit.unwrap_or(QueryStatsFilter::ROWS);
        assert!((1..=QueryStatsFilter::MOST_ROWS).contains(&limit), "the real one refuses {limit} rows");
        Ok(summed_up(filter, self.now(), limit as usize))
    }

    fn messages(&self) -> Vec<Message> {
        vec![Message { text: "list <ads> cannot be fetched".into(), at: BEGIN }]
    }

    fn about(&self) -> About {
        About {
            version: "0.1.0".into(),
            started: Timestamp(BEGIN.0 - 5_000_000),
            pid: 42,
            cpu: Duration::from_millis(50),
            from_cache: 7,
            forwarded: 3,
            ..About::default()
        }
    }
}

/// The log: seconds before [`BEGIN`], who, name, type, code, from, upstream, by, alias.
fn rows() -> Vec<QueryRow> {
    let tablet = (Some("10.4.0.9"), Some("tablet"));
    let desk = (Some("10.2.0.8"), None);
    let nobody = (None, None);
    let list = || Some(QueryDecider::List { list: "ads".into(), line: 5, allow: false });
    let own = || Some(QueryDecider::List { list: "dns.deny".into(), line: 8, allow: false });
    let order = || Some(QueryDecider::Decision { id: 1, allow: false });
    let row = |id: u64,
               ago: i64,
               who: (Option<&str>, Option<&str>),
               name: &str,
               qtype: &str,
               code,
               from,
               by,
               alias: Option<&str>| QueryRow {
        id,
        at: Timestamp(BEGIN.0 - ago * 1_000_000),
        client: QueryClient {
            address: who.0.map(|address| address.parse().unwrap()),
            name: who.1.map(Into::into),
            zone: "iot".into(),
        },
        name: (!name.is_empty()).then(|| name.into()),
        qtype: qtype.parse().unwrap(),
        code: AnswerCode(code),
        action: if from == AnswerFrom::Sinkhole { EventAction::Sinkhole } else { EventAction::Pass },
        from,
        upstream: (from == AnswerFrom::Upstream).then(|| "9.9.9.9:53".into()),
        by,
        alias: alias.map(Into::into),
        secure: name == "secure.example",
        micros: if from == AnswerFrom::Upstream { 20_000 } else { 0 },
    };
    use AnswerFrom::{Cache, Here, Local, Nobody, Sinkhole, Upstream};
    // The latest first.
    vec![
        row(9, 10, tablet, "ads.example", "A", 0, Sinkhole, list(), None),
        row(8, 20, tablet, "ads.example", "AAAA", 0, Sinkhole, own(), None),
        row(7, 30, desk, "secure.example", "HTTPS", 0, Upstream, None, None),
        row(6, 40, desk, "secure.example", "HTTPS", 0, Cache, None, None),
        row(5, 50, nobody, "", "A", 3, Upstream, None, None),
        row(4, 700, desk, "printer.home.arpa", "A", 0, Local, None, None),
        row(3, 800, desk, "tracked.example", "A", 0, Sinkhole, order(), Some("ads.example")),
        row(2, 900, desk, "down.example", "TYPE65399", 2, Nobody, None, None),
        row(1, 90_000, tablet, "use-application-dns.net", "A", 3, Here, None, None),
    ]
}

fn passes(filter: &QueryFilter, row: &QueryRow) -> bool {
    let QueryFilter {
        since,
        until,
        before,
        after,
        client,
        name,
        blocked,
        from,
        upstream,
        qtype,
        code,
        limit: _,
    } = filter;
    assert!(after.is_none());
    let client_is = |client: &String| {
        row.client.name.as_ref() == Some(client)
            || row.client.address.is_some_and(|address| address.to_string() == *client)
    };
    since.is_none_or(|since| row.at >= since)
        && until.is_none_or(|until| row.at < until)
        && before.is_none_or(|before| row.id < before)
        && client.as_ref().is_none_or(client_is)
        && name
            .as_ref()
            .is_none_or(|name| row.name.as_ref().is_some_and(|known| known.ends_with(name.as_str())))
        && (!blocked || row.from == AnswerFrom::Sinkhole)
        && from.is_none_or(|from| row.from == from)
        && upstream.as_ref().is_none_or(|upstream| row.upstream.as_ref() == Some(upstream))
        && qtype.is_none_or(|qtype| row.qtype == qtype)
        && code.is_none_or(|code| row.code == code)
}

fn totals<'a>(rows: impl IntoIterator<Item = &'a QueryRow>) -> QueryTotals {
    let mut totals = QueryTotals::default();
    rows.into_iter().for_each(|row| totals.count(row.from));
    totals
}

fn counted<K: Ord>(keys: impl Iterator<Item = K>) -> Vec<(K, u64)> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_insert(0) += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn summed_up(filter: &QueryStatsFilter, now: Timestamp, limit: usize) -> QueryStats {
    let until = filter.until.unwrap_or(now);
    let since = filter.since.unwrap_or(Timestamp(0));
    let range = QueryFilter { since: Some(since), until: Some(until), ..QueryFilter::default() };
    let rows: Vec<_> = rows().into_iter().filter(|row| passes(&range, row)).collect();
    let of = |client: &QueryClient| totals(rows.iter().filter(|row| row.client == *client));
    let clients = counted(rows.iter().map(|row| row.client.clone()));
    let mut names: Vec<_> = counted(rows.iter().filter_map(|row| row.name.clone()))
        .into_iter()
        .map(|(name, total)| {
            let of = rows.iter().filter(|row| row.name.as_ref() == Some(&name));
            let blocked = totals(of).blocked;
            NameCount { name, total, blocked }
        })
        .collect();
    let mut clients: Vec<_> =
        clients.into_iter().map(|(client, _)| ClientCount { totals: of(&client), client }).collect();
    let pieces: Vec<_> = filter
        .bucket
        .map(|bucket| {
            let bucket = i64::from(bucket) * 1_000_000;
            let first = since.0.div_euclid(bucket);
            let last = (until.0 - 1).div_euclid(bucket);
            let most = QueryStatsFilter::MOST_BUCKETS / if filter.by_client { 10 } else { 1 };
            assert!(last - first < most, "the real one refuses so many");
            (first..=last).map(move |at| (at * bucket, (at + 1) * bucket)).collect()
        })
        .unwrap_or_default();
    let piece = |(from, to): &(i64, i64), client: Option<&QueryClient>| {
        totals(rows.iter().filter(|row| {
            row.at.0 >= *from && row.at.0 < *to && client.is_none_or(|client| row.client == *client)
        }))
    };
    let mut stats = QueryStats {
        since,
        until,
        totals: totals(&rows),
        different_names: names.len() as u64,
        different_clients: clients.len() as u64,
        history: pieces
            .iter()
            .map(|at| QueryBucket { at: Timestamp(at.0), totals: piece(at, None) })
            .collect(),
        from: counted(rows.iter().map(|row| row.from)),
        types: counted(rows.iter().map(|row| row.qtype)),
        codes: counted(rows.iter().map(|row| row.code)),
        upstreams: counted(rows.iter().filter_map(|row| row.upstream.clone()))
            .into_iter()
            .map(|(upstream, total)| UpstreamCount { upstream, total, micros: 20_000 })
            .collect(),
        ..QueryStats::default()
    };
    if filter.by_client {
        let history = |client: &ClientCount| ClientHistory {
            client: client.client.clone(),
            totals: pieces.iter().map(|at| piece(at, Some(&client.client))).collect(),
        };
        stats.client_history = clients.iter().map(history).collect();
    }
    clients.truncate(limit);
    stats.clients = clients.clone();
    clients.sort_by_key(|client| std::cmp::Reverse(client.totals.blocked));
    stats.blocked_clients = clients;
    stats.names = names.iter().take(limit).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.blocked));
    stats.blocked_names = names.iter().take(limit).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.total - name.blocked));
    stats.passed_names = names.into_iter().take(limit).collect();
    stats
}
