//! One request, one answer: who may ask, and which part of the API it is for.

mod alerts;
mod authz;
mod clients;
mod decisions;
mod metrics;
mod watchers;

use httpd::{Tries, TryLimits};
use hyper::Method;
use model::{Bouncer, LastSeen, OrderingMachine, ProgramName, Timestamp};
use serde_json::json;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

use crate::{
    ledger::Ledger,
    limits::{LOGIN_PAUSE, LOGIN_TRIES, MAX_LOGIN_SOURCES, MAX_PULLS},
    machines::Tokens,
    registry::Registry,
    reply::Reply,
    request::Request,
};

const TRIES: TryLimits = TryLimits { in_a_row: LOGIN_TRIES, pause: LOGIN_PAUSE, sources: MAX_LOGIN_SOURCES };

/// The API of a [`Ledger`].
pub struct Api<L> {
    ledger: Arc<L>,
    registry: Mutex<Registry>,
    tokens: Tokens,
    tries: Mutex<Tries>,
    /// Whoever is told many decisions has one.
    pulls: Semaphore,
    /// Passwords are looked at one at a time.
    logins: tokio::sync::Mutex<()>,
}

impl<L: Ledger> Api<L> {
    /// With those who are known from before.
    #[must_use]
    pub fn new(ledger: Arc<L>, bouncers: Vec<Bouncer>, machines: Vec<OrderingMachine>) -> Self {
        Self {
            ledger,
            registry: Mutex::new(Registry::new(bouncers, machines)),
            tokens: Tokens::new(rand::random()),
            tries: Mutex::new(Tries::new(TRIES)),
            pulls: Semaphore::new(MAX_PULLS),
            logins: tokio::sync::Mutex::default(),
        }
    }

    /// Answers a request.
    pub async fn answer(&self, request: &Request) -> Reply {
        let segments: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let reply = match segments.as_slice() {
            ["health"] if is_read(request) => health(),
            ["v1", "authz"] => self.authz(request),
            ["v1", "decisions"] if request.method == Method::DELETE => {
                self.delete_decisions(request, None).await
            }
            ["v1", "decisions"] if is_read(request) => self.decisions(request).await,
            ["v1", "decisions", "stream"] if is_read(request) => self.stream(request).await,
            ["v1", "decisions", id] if request.method == Method::DELETE => {
                self.delete_decisions(request, Some(id)).await
            }
            ["v1", "watchers"] if request.method == Method::POST => self.register(request).await,
            ["v1", "watchers", "login"] if request.method == Method::POST => self.log_in(request).await,
            ["v1", "refresh_token"] if request.method == Method::GET => self.refresh(request),
            ["v1", "heartbeat"] if request.method == Method::GET => self.heartbeat(request),
            ["v1", "usage-metrics"] if request.method == Method::POST => self.usage_metrics(request),
            ["v1", "alerts"] if is_read(request) => self.alerts(request).await,
            ["v1", "alerts"] if request.method == Method::POST => self.add_alerts(request).await,
            ["v1", "alerts"] if request.method == Method::DELETE => self.delete_alerts(request, None).await,
            ["v1", "alerts", id] if is_read(request) => self.alert(request, id).await,
            ["v1", "alerts", id] if request.method == Method::DELETE => {
                self.delete_alerts(request, Some(id)).await
            }
            ["health"]
            | ["v1", "decisions"]
            | ["v1", "decisions", _]
            | ["v1", "watchers"]
            | ["v1", "watchers", "login"]
            | ["v1", "refresh_token" | "heartbeat" | "usage-metrics" | "alerts"]
            | ["v1", "alerts", _] => Reply::empty(405),
            _ => Reply::empty(404),
        };
        reply.compressed(request.takes_gzip())
    }

    /// The bouncer whose key the request has.
    ///
    /// # Errors
    /// 403 it has none.
    fn bouncer(&self, request: &Request) -> Result<Bouncer, Reply> {
        let key = request.header("X-Api-Key").ok_or_else(Reply::forbidden)?;
        let found = self.registry().by_key(key).cloned().ok_or_else(Reply::forbidden)?;
        let sign = self.sign(request);
        let news = self.registry().sign_of_bouncer(&found.name, sign).cloned();
        if let Some(bouncer) = news {
            self.keep(bouncer);
        }
        Ok(found)
    }

    /// The machine whose token the request has, if it may order.
    ///
    /// # Errors
    /// 401 it has none.
    fn machine(&self, request: &Request) -> Result<ProgramName, Reply> {
        let token = request
            .header("Authorization")
            .and_then(|text| text.strip_prefix("Bearer "))
            .ok_or_else(|| Reply::unauthorized("cookie token is empty"))?;
        let name = self.tokens.machine(token.trim(), self.ledger.now()).map_err(Reply::unauthorized)?;
        let registry = self.registry();
        let machine =
            name.parse().ok().and_then(|name| registry.machine(&name)).filter(|known| known.validated);
        machine.map(|machine| machine.name.clone()).ok_or_else(|| Reply::unauthorized("machine is not known"))
    }

    /// The last sign of whoever sends a request.
    fn sign(&self, request: &Request) -> LastSeen {
        LastSeen { at: Some(self.ledger.now()), address: request.from.to_string(), agent: request.agent() }
    }

    /// Keeps a bouncer without waiting for it: a slow disk must not delay an answer.
    fn keep(&self, bouncer: Bouncer) {
        let ledger = Arc::clone(&self.ledger);
        tokio::spawn(async move { ledger.keep_bouncer(bouncer).await });
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        self.ledger.now()
    }
}

fn is_read(request: &Request) -> bool {
    request.method == Method::GET || request.method == Method::HEAD
}

fn health() -> Reply {
    Reply::json(200, &json!({ "status": "up" }))
}
