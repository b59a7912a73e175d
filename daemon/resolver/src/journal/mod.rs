//! What was asked and answered: one compact record a question, handed on off the path of answers.
//!
//! The path appends to a bounded batch, without formatting or allocating; whoever drains it makes text of it. When the
//! batch is full, records are dropped and counted.

use hickory_proto::rr::RecordType;
use model::{Body, DecisionKind, Event, EventAction, Severity, Timestamp};
use std::{
    net::IpAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{
    Transport,
    limits::{MAX_JOURNAL, MAX_JOURNAL_TEXT},
};

/// Who is told of questions and answers.
pub trait Sink: Send + Sync + 'static {
    /// Takes what is known of an answered question; [`Query::event`] makes an event of it. Called off the path of
    /// answers, from one thread.
    fn query(&self, query: &Query<'_>);

    /// Addresses that are about to be answered to a client whose network asks for that
    /// ([`crate::ClientNetwork::resolved`]). Called before the answer leaves, on its path: must not block.
    fn resolved(&self, resolved: &Resolved<'_>) {
        let _ = resolved;
    }
}

impl<F: Fn(&Query<'_>) + Send + Sync + 'static> Sink for F {
    fn query(&self, query: &Query<'_>) {
        self(query);
    }
}

/// Addresses that a client learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'a> {
    /// Who asked.
    pub client: IpAddr,
    /// Its zone.
    pub zone: &'a str,
    /// The name asked for, as lists know it.
    pub name: &'a str,
    /// The names the answer goes over.
    pub aliases: &'a [Box<str>],
    /// A, AAAA and the hints of service bindings, of upstreams, rewrites and names of this network.
    pub addresses: &'a [IpAddr],
    /// Seconds the client may keep them.
    pub ttl: u32,
}

/// Where an answer came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The sinkhole: it was blocked.
    Sinkhole,
    /// A rewrite of a list or of a person.
    Rewrite,
    /// Names of this network.
    Local,
    /// Names that are answered here: special ones, ANY.
    Here,
    /// The cache.
    Cache,
    /// The cache, past its time.
    Stale,
    /// This upstream.
    Upstream(Arc<str>),
    /// Nobody: no upstream answered, or not validly.
    Nobody,
    /// Nobody: too many questions waited.
    Overload,
}

impl From {
    /// Its word in events.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Sinkhole => "sinkhole",
            Self::Rewrite => "rewrite",
            Self::Local => "local",
            Self::Here => "here",
            Self::Cache => "cache",
            Self::Stale => "stale",
            Self::Upstream(upstream) => upstream,
            Self::Nobody => "none",
            Self::Overload => "overload",
        }
    }
}

/// Who decided about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decider {
    /// A line of a list, of the config's own entries too; line 0 = not known.
    List(Arc<str>, u32),
    /// A standing order by its id.
    Decision(u64),
    /// Private addresses in the answer for a public name.
    Rebinding(IpAddr),
}

impl std::fmt::Display for Decider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List(list, 0) => write!(f, "list {list}"),
            Self::List(list, line) => write!(f, "list {list} line {line}"),
            Self::Decision(decision) => write!(f, "decision {decision}"),
            Self::Rebinding(address) => write!(f, "rebinding protection: {address} for a public name"),
        }
    }
}

impl Decider {
    /// The word in an event's `reason`.
    #[must_use]
    pub const fn reason(&self, kind: DecisionKind) -> &'static str {
        match (self, kind) {
            (Self::List(..), DecisionKind::Ban) => "listed",
            (Self::Decision(_), DecisionKind::Ban) => "banned",
            (Self::Rebinding(_), DecisionKind::Ban) => "rebinding",
            (Self::List(..) | Self::Decision(_) | Self::Rebinding(_), DecisionKind::Allow) => "allowed",
        }
    }
}

/// What is known of an answered question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// When it came.
    pub date: Timestamp,
    /// Who asked.
    pub client: IpAddr,
    /// Its zone.
    pub zone: Arc<str>,
    /// Its name in the config; empty where it has none.
    pub client_name: Arc<str>,
    /// The name asked for, as lists know it; empty for the root.
    pub name: &'a str,
    /// The name behind it that decided: an alias, a target, an address.
    pub alias: &'a str,
    /// Type.
    pub qtype: u16,
    /// How it came.
    pub transport: Transport,
    /// Answer code.
    pub code: u16,
    /// What was done.
    pub action: EventAction,
    /// Where the answer came from.
    pub from: From,
    /// Who decided, and whether against or for it.
    pub by: Option<(Decider, DecisionKind)>,
    /// The answer was validated.
    pub secure: bool,
    /// Microseconds until the answer was ready; 0 for what needed no upstream.
    pub micros: u32,
}

impl Query<'_> {
    /// The event of it.
    #[must_use]
    pub fn event(&self) -> Event {
        let by = self.by.as_ref().map(|(by, _)| match self.alias {
            "" => by.to_string(),
            alias => format!("{by} (alias {alias})"),
        });
        Event {
            ts: self.date,
            severity: Severity::Info,
            action: self.action,
            zone: Some(self.zone.to_string()),
            reason: self.by.as_ref().map(|(by, kind)| by.reason(*kind).to_owned()),
            body: Body::Query {
                client: self.client,
                name: if self.name.is_empty() { ".".into() } else { self.name.into() },
                qtype: RecordType::from(self.qtype).to_string(),
                rcode: code_name(self.code),
                from: self.from.word().to_owned(),
                by,
                encrypted: self.transport == Transport::Encrypted,
                micros: self.micros.into(),
            },
        }
    }
}

/// The name of an answer code as tools print it.
pub(crate) fn code_name(code: u16) -> String {
    match code {
        0 => "NOERROR".into(),
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        3 => "NXDOMAIN".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        other => format!("RCODE{other}"),
    }
}

/// The batch that waits.
#[derive(Default)]
pub(crate) struct Journal {
    batch: Mutex<Batch>,
    some: Condvar,
    /// Held while records are handed on, so that whoever has drained knows that all before is told.
    telling: Mutex<()>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    /// Names, one after the other.
    text: String,
    closed: bool,
}

/// A [`Query`] whose names stand in the batch's text.
struct Record {
    query: Query<'static>,
    name: u16,
    alias: u16,
}

/// How long records are gathered before they are handed on together.
const GATHER: Duration = Duration::from_millis(20);

impl Journal {
    /// Appends a record; drops it when [`MAX_JOURNAL`] records or [`MAX_JOURNAL_TEXT`] bytes wait.
    pub(crate) fn push(&self, query: Query<'_>) {
        let mut batch = self.lock();
        let (name, alias) = (query.name, query.alias);
        if batch.records.len() >= MAX_JOURNAL
            || batch.text.len() + name.len() + alias.len() > MAX_JOURNAL_TEXT
        {
            drop(batch);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let short = |text: &str| u16::try_from(text.len()).unwrap_or_default();
        let record =
            Record { name: short(name), alias: short(alias), query: Query { name: "", alias: "", ..query } };
        batch.text.push_str(name);
        batch.text.push_str(alias);
        let first = batch.records.is_empty();
        batch.records.push(record);
        drop(batch);
        if first {
            self.some.notify_one();
        }
    }

    /// Records that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Hands on what waits.
    pub(crate) fn drain(&self, sink: &dyn Sink) {
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = {
            let mut batch = self.lock();
            let closed = batch.closed;
            // The next batch will be about as large: its space is taken at once and not step by step on the path.
            let next = Batch {
                records: Vec::with_capacity(batch.records.len()),
                text: String::with_capacity(batch.text.len()),
                closed,
            };
            std::mem::replace(&mut *batch, next)
        };
        let mut text = waiting.text.as_str();
        let mut cut = |length: u16| {
            let (part, rest) = text.split_at_checked(length.into()).unwrap_or_default();
            text = rest;
            part
        };
        for record in waiting.records {
            let (name, alias) = (cut(record.name), cut(record.alias));
            sink.query(&Query { name, alias, ..record.query });
        }
    }

    /// Hands on until it is closed. For a thread of its own.
    pub(crate) fn run(&self, sink: &dyn Sink) {
        loop {
            let mut batch = self.lock();
            while batch.records.is_empty() && !batch.closed {
                batch = self.some.wait(batch).unwrap_or_else(PoisonError::into_inner);
            }
            if !batch.closed {
                batch = self
                    .some
                    .wait_timeout_while(batch, GATHER, |batch| !batch.closed)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            let closed = batch.closed;
            drop(batch);
            self.drain(sink);
            if closed {
                return;
            }
        }
    }

    /// Ends [`Journal::run`].
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.some.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query<'a>(name: &'a str, alias: &'a str) -> Query<'a> {
        Query {
            date: Timestamp(1),
            client: [10, 0, 0, 1].into(),
            zone: "home".into(),
            client_name: "".into(),
            name,
            alias,
            qtype: 1,
            transport: Transport::Udp,
            code: 0,
            action: EventAction::Sinkhole,
            from: From::Sinkhole,
            by: Some((Decider::List("ads".into(), 7), DecisionKind::Ban)),
            secure: false,
            micros: 0,
        }
    }

    #[test]
    fn what_goes_in_comes_out_as_text() {
        let journal = Journal::default();
        journal.push(query("a.example", ""));
        journal.push(query("", "x.tracker.example"));
        let told: Mutex<Vec<Event>> = Mutex::default();
        let told = Arc::new(told);
        let sink = {
            let told = Arc::clone(&told);
            move |query: &Query<'_>| told.lock().unwrap().push(query.event())
        };
        journal.drain(&sink);
        let bys: Vec<_> = told
            .lock()
            .unwrap()
            .iter()
            .map(|event| match &event.body {
                Body::Query { name, by, .. } => (name.clone(), by.clone().unwrap()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected = [("a.example", "list ads line 7"), (".", "list ads line 7 (alias x.tracker.example)")];
        assert_eq!(bys, expected.map(|(name, by)| (name.to_owned(), by.to_owned())));
    }

    #[test]
    fn a_full_journal_drops_and_counts() {
        let journal = Journal::default();
        for _ in 0..MAX_JOURNAL + 5 {
            journal.push(query("a", ""));
        }
        assert_eq!(journal.dropped(), 5);
        let count = Arc::new(AtomicU64::new(0));
        let sink = {
            let count = Arc::clone(&count);
            move |_: &Query<'_>| {
                count.fetch_add(1, Relaxed);
            }
        };
        journal.drain(&sink);
        assert_eq!(count.load(Relaxed), MAX_JOURNAL as u64);
        journal.push(query("a", ""));
        assert_eq!(journal.dropped(), 5, "there is room again");
    }
}
