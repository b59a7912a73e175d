//! Questions that wait to be written, and what the writer is told besides.

use model::{AnswerCode, AnswerFrom, EventAction, QueryType, Timestamp};
use std::{
    net::IpAddr,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{
    GATHER, MAX_WAITING, MAX_WAITING_TEXT, Settings,
    kind::{ByKind, Kind},
};

/// A question to be kept. What its zone does not want told is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it came.
    pub at: Timestamp,
    /// Who asked.
    pub client: Option<IpAddr>,
    /// Its name in the config; empty where it has none.
    pub client_name: &'a str,
    /// Its zone.
    pub zone: &'a str,
    /// The name, empty for the root.
    pub name: Option<&'a str>,
    /// What is behind the name and decided; empty where nothing did.
    pub alias: &'a str,
    /// Type.
    pub qtype: QueryType,
    /// Answer code.
    pub code: AnswerCode,
    /// What was done.
    pub action: EventAction,
    /// Where the answer came from.
    pub from: AnswerFrom,
    /// The upstream that answered, if one did.
    pub upstream: &'a str,
    /// Who decided.
    pub by: Option<By<'a>>,
    /// The answer was validated.
    pub secure: bool,
    /// Microseconds until the answer was ready.
    pub micros: u32,
}

/// Who decided about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// A line of a list.
    List {
        /// The list.
        list: &'a str,
        /// The line; 0 = not known.
        line: u32,
        /// For the name.
        allow: bool,
    },
    /// A standing order.
    Decision {
        /// Its number.
        id: u64,
        /// For the name.
        allow: bool,
    },
    /// A private address for a public name.
    Rebinding,
}

/// The queue.
pub(crate) struct Waiting {
    state: Mutex<State>,
    /// There is something for the writer.
    work: Condvar,
    /// The writer has written.
    written: Condvar,
    dropped: AtomicU64,
}

struct State {
    batch: Batch,
    settings: Settings,
    /// How often writing was asked for, and how often it was done.
    asked: u64,
    done: u64,
    damaged: Option<u64>,
    closed: bool,
}

/// Questions, with their names one after the other.
#[derive(Default)]
pub(crate) struct Batch {
    records: Vec<Record>,
    text: String,
}

/// A question whose texts stand in the batch: client's name, zone, name, alias, upstream, list.
#[derive(Clone, Copy)]
struct Record {
    at: i64,
    client: Option<IpAddr>,
    texts: [u16; 6],
    has_name: bool,
    qtype: u16,
    kind: u32,
    number: u64,
    micros: u32,
}

/// A question as it is written.
pub(crate) struct Row<'a> {
    pub(crate) at: i64,
    pub(crate) client: Option<IpAddr>,
    pub(crate) client_name: &'a str,
    pub(crate) zone: &'a str,
    pub(crate) name: Option<&'a str>,
    pub(crate) alias: &'a str,
    pub(crate) upstream: &'a str,
    pub(crate) list: &'a str,
    pub(crate) qtype: u16,
    pub(crate) kind: u32,
    pub(crate) number: u64,
    pub(crate) micros: u32,
}

/// What the writer is to do.
pub(crate) struct Work {
    pub(crate) batch: Batch,
    pub(crate) settings: Settings,
    /// The file that a reader found damaged, if one did: see [`crate::open::identity`].
    pub(crate) damaged: Option<u64>,
    /// It was the last.
    pub(crate) closed: bool,
    /// For [`Waiting::done`].
    pub(crate) asked: u64,
}

impl Waiting {
    pub(crate) fn new(settings: Settings) -> Self {
        let state =
            State { batch: Batch::default(), settings, asked: 0, done: 0, damaged: None, closed: false };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            written: Condvar::new(),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn push(&self, entry: &Entry<'_>) {
        let (by, list, number) = match entry.by {
            None => (ByKind::Nobody, "", 0),
            Some(By::List { list, line, allow: false }) => (ByKind::ListBlocks, list, line.into()),
            Some(By::List { list, line, allow: true }) => (ByKind::ListAllows, list, line.into()),
            Some(By::Decision { id, allow: false }) => (ByKind::DecisionBlocks, "", id),
            Some(By::Decision { id, allow: true }) => (ByKind::DecisionAllows, "", id),
            Some(By::Rebinding) => (ByKind::Rebinding, "", 0),
        };
        let texts = [
            entry.client_name,
            entry.zone,
            entry.name.unwrap_or_default(),
            entry.alias,
            entry.upstream,
            list,
        ];
        let length: usize = texts.iter().map(|text| text.len()).sum();
        let mut state = self.lock();
        if state.settings.days == 0 || state.closed {
            return;
        }
        let batch = &mut state.batch;
        if batch.records.len() >= MAX_WAITING || batch.text.len() + length > MAX_WAITING_TEXT {
            drop(state);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let kind =
            Kind { from: entry.from, action: entry.action, secure: entry.secure, by, code: entry.code };
        let was = batch.urgent();
        batch.records.push(Record {
            at: entry.at.0,
            client: entry.client,
            texts: texts.map(|text| u16::try_from(text.len()).unwrap_or_default()),
            has_name: entry.name.is_some(),
            qtype: entry.qtype.0,
            kind: kind.pack(),
            number,
            micros: entry.micros,
        });
        for text in texts.iter().filter(|text| u16::try_from(text.len()).is_ok()) {
            batch.text.push_str(text);
        }
        let wake = !was && batch.urgent();
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    pub(crate) fn settings(&self) -> Settings {
        self.lock().settings
    }

    pub(crate) fn set(&self, settings: Settings) {
        let mut state = self.lock();
        if state.settings != settings {
            state.settings = settings;
            state.asked += 1;
            self.work.notify_one();
        }
    }

    /// A reader found this file damaged.
    pub(crate) fn damaged(&self, file: Option<u64>) {
        let mut state = self.lock();
        state.damaged = file;
        state.asked += 1;
        self.work.notify_one();
    }

    /// Has everything written that waits now, and waits for that.
    pub(crate) fn flush(&self, by: Duration) {
        let deadline = Instant::now() + by;
        let mut state = self.lock();
        state.asked += 1;
        let asked = state.asked;
        self.work.notify_one();
        while state.done < asked && !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The last that is written is what waits now.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.written.notify_all();
    }

    /// Waits until there is something to do, at most `least_often`.
    pub(crate) fn next(&self, least_often: Duration) -> Work {
        let deadline = Instant::now() + least_often;
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || state.asked > state.done || state.batch.urgent() || left.is_zero() {
                break;
            }
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Work {
            batch: std::mem::take(&mut state.batch),
            settings: state.settings,
            damaged: std::mem::take(&mut state.damaged),
            closed: state.closed,
            asked: state.asked,
        }
    }

    /// What was asked for until then is done.
    pub(crate) fn done(&self, asked: u64) {
        self.lock().done = asked;
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// So much waits that it is not gathered any longer.
    fn urgent(&self) -> bool {
        self.records.len() >= MAX_WAITING / 4 || self.text.len() >= MAX_WAITING_TEXT / 4
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut text = self.text.as_str();
        self.records.iter().map(move |record| {
            let mut cut = |length: u16| {
                let (part, rest) = text.split_at_checked(length.into()).unwrap_or_default();
                text = rest;
                part
            };
            let [client_name, zone, name, alias, upstream, list] = record.texts.map(&mut cut);
            Row {
                at: record.at,
                client: record.client,
                client_name,
                zone,
                name: record.has_name.then_some(name),
                alias,
                upstream,
                list,
                qtype: record.qtype,
                kind: record.kind,
                number: record.number,
                micros: record.micros,
            }
        })
    }
}

/// How often the writer looks at what is to be kept, also when nobody asks anything.
pub(crate) const LOOK: Duration = GATHER;
