//! The receiver on a socket: `POST /loki/api/v1/push`, `GET /ready`, `GET /entries?LABEL=VALUE`.

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    routing::{get, post},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    ledger::{Entry, Ledger, Limits},
    snappy, wire,
};

/// Pushes that are remembered; the oldest go.
const MOST_PUSHES: usize = 10_000;

/// What the receiver answers whatever is pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    #[default]
    None,
    /// 429, as Loki when a tenant sends too much, without `Retry-After`.
    TooMany,
    /// 503, as a Loki that starts or stops.
    Unavailable,
    /// This status, nothing is kept.
    Status(u16),
    /// Everything is kept, but the answer is 500: the sender cannot know.
    KeptButFailed,
}

/// One push and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The answer.
    pub status: u16,
    /// Why, where it was not kept as a whole.
    pub message: String,
    /// Entries that were kept.
    pub kept: usize,
    /// Bytes decompressed; 0 where it was not read.
    pub bytes: usize,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
}

/// A running receiver. Ends when it is dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub async fn start(address: SocketAddr) -> std::io::Result<Self> {
        Self::start_with(address, Limits::default(), None).await
    }

    /// Listens on `address` with other limits, and writes every kept entry to `record`, one JSON object a line.
    ///
    /// # Errors
    /// If the address cannot be used.
    pub async fn start_with(
        address: SocketAddr,
        limits: Limits,
        record: Option<std::fs::File>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(Books { ledger: Ledger::new(limits), record, ..Books::default() }),
            changes: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/loki/api/v1/push", post(push))
            .route("/ready", get(async || "ready\n"))
            .route("/entries", get(entries))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Serving ends only with the task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a shipper is configured with.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the next `times` pushes (none: all) meet this fault.
    pub fn set_fault(&self, fault: Fault, times: Option<u32>) {
        self.shared.lock().fault = (fault, times);
    }

    /// Entries that were kept, in the order they came.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.shared.lock().ledger.entries().cloned().collect()
    }

    /// Pushes in the order they came.
    #[must_use]
    pub fn pushes(&self) -> Vec<Push> {
        self.shared.lock().pushes.iter().cloned().collect()
    }

    /// Waits until what came fulfils `condition`; returns whether it did before `deadline` had passed.
    pub async fn wait(&self, deadline: Duration, condition: impl Fn(&[Push], &[Entry]) -> bool) -> bool {
        let mut changes = self.shared.changes.subscribe();
        let reached = async {
            while !condition(&self.pushes(), &self.entries()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(deadline, reached).await.is_ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<Books>,
    changes: watch::Sender<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Books {
    ledger: Ledger,
    pushes: VecDeque<Push>,
    fault: (Fault, Option<u32>),
    record: Option<std::fs::File>,
}

impl Books {
    fn next_fault(&mut self) -> Fault {
        let (fault, times) = &mut self.fault;
        match times {
            None => *fault,
            Some(0) => Fault::None,
            Some(left) => {
                *left -= 1;
                *fault
            }
        }
    }

    /// Decodes, checks and keeps a push.
    fn take(&mut self, headers: &HeaderMap, body: &[u8]) -> (u16, String, usize, usize) {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type != Some("application/x-protobuf") {
            return (415, format!("content type {content_type:?}, not application/x-protobuf"), 0, 0);
        }
        let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok());
        if !matches!(encoding, None | Some("snappy")) {
            return (400, format!("content encoding {encoding:?}, not snappy"), 0, 0);
        }
        let most = self.ledger.limits().push_bytes;
        let bytes = match snappy::decompress(body, most) {
            Ok(bytes) => bytes,
            Err(error @ snappy::SnappyError::TooLong(_)) => return (413, error.to_string(), 0, 0),
            Err(error) => return (400, error.to_string(), 0, 0),
        };
        let request = match wire::decode(&bytes) {
            Ok(request) => request,
            Err(error) => return (400, error.to_string(), 0, bytes.len()),
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (kept, refusals) = self.ledger.push(request, i128::try_from(now).unwrap_or(i128::MAX));
        if let Some(file) = &mut self.record {
            let entries = self.ledger.entries();
            let from = entries.len() - kept.min(entries.len());
            for entry in entries.skip(from) {
                if let Ok(line) = serde_json::to_string(entry) {
                    // A record that cannot be written shows in the tests that read it.
                    let _ = writeln!(file, "{line}");
                }
            }
        }
        match refusals.first() {
            None => (204, String::new(), kept, bytes.len()),
            Some(first) => (400, format!("{first} ({} refused in all)", refusals.len()), kept, bytes.len()),
        }
    }
}

async fn push(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> (StatusCode, String) {
    let most = shared.lock().ledger.limits().push_bytes;
    let body = to_bytes(body, most).await;
    let mut books = shared.lock();
    let (status, message, kept, bytes) = match (books.next_fault(), body) {
        (Fault::TooMany, _) => (429, "ingestion rate limit exceeded".into(), 0, 0),
        (Fault::Unavailable, _) => (503, "not ready".into(), 0, 0),
        (Fault::Status(status), _) => (status, "as the test wants it".into(), 0, 0),
        (Fault::None | Fault::KeptButFailed, Err(error)) => (413, error.to_string(), 0, 0),
        (Fault::None, Ok(body)) => books.take(&headers, &body),
        (Fault::KeptButFailed, Ok(body)) => {
            let (_, _, kept, bytes) = books.take(&headers, &body);
            (500, "kept, but the answer is lost".into(), kept, bytes)
        }
    };
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (tenant, authorization) = (text("x-scope-orgid"), text("authorization"));
    if books.pushes.len() == MOST_PUSHES {
        books.pushes.pop_front();
    }
    books.pushes.push_back(Push { status, message: message.clone(), kept, bytes, tenant, authorization });
    drop(books);
    shared.changes.send_modify(|count| *count += 1);
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), message)
}

/// Entries whose labels hold every pair of the query.
async fn entries(
    State(shared): State<Arc<Shared>>,
    Query(wanted): Query<BTreeMap<String, String>>,
) -> Json<Vec<Entry>> {
    let books = shared.lock();
    let fits = |entry: &&Entry| wanted.iter().all(|(name, value)| entry.labels.get(name) == Some(value));
    Json(books.ledger.entries().filter(fits).cloned().collect())
}
