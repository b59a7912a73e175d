//! One request, one answer: who may ask, and which part of the API it is for.

mod auth;
mod blocking;
mod domains;
mod history;
mod info;
mod queries;
mod stats;
mod tables;

use hyper::Method;
use model::{QueryStats, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::{
    gate::{Gate, Passwords},
    hole::Hole,
    limits::MAX_READS,
    reply::Reply,
    request::{Request, not_found},
};

/// The API of a [`Hole`].
pub struct Api<H> {
    hole: Arc<H>,
    gate: Mutex<Gate>,
    /// The last day summed up, and when that was done.
    kept: tokio::sync::Mutex<Option<(Timestamp, Arc<QueryStats>)>>,
    /// Whoever reads the log of questions has one.
    reads: Semaphore,
}

impl<H: Hole> Api<H> {
    /// Nobody gets in before there are passwords.
    #[must_use]
    pub fn new(hole: Arc<H>) -> Self {
        Self {
            hole,
            gate: Mutex::default(),
            kept: tokio::sync::Mutex::default(),
            reads: Semaphore::new(MAX_READS),
        }
    }

    /// Takes other passwords; who came in by the former ones has to come again.
    pub fn set_passwords(&self, passwords: Passwords) {
        self.gate().set_passwords(passwords);
    }

    /// Answers a request.
    pub async fn answer(&self, request: &Request) -> Reply {
        let segments = request.segments();
        match (&request.method, segments.as_slice()) {
            (&Method::GET, ["auth"]) => return self.look_in(request),
            (&Method::POST, ["auth"]) => return self.log_in(request),
            (&Method::DELETE, ["auth"]) => return self.log_out(request),
            (&Method::GET, ["info", "login"]) => return self.login_page(),
            (&Method::GET, ["info", "client"]) => return info::client(request),
            _ => {}
        }
        let Some(session) = self.enter(request) else { return Reply::unauthorized() };
        let mut reply = self.known(request, session).await;
        // Whoever uses a cookie has it prolonged, unless the place is another's by now.
        if let Some(sid) = request.sid().filter(|sid| sid.cookie)
            && self.gate().session(session).is_some_and(|session| session.sid == sid.text)
        {
            reply = reply.cookie(&sid.text);
        }
        reply
    }

    /// What only a session may ask; `session` is its place.
    async fn known(&self, request: &Request, session: usize) -> Reply {
        let segments = request.segments();
        let get = request.method == Method::GET;
        match segments.as_slice() {
            ["auth", "sessions"] if get => self.sessions(session),
            ["auth", "session", place] if request.method == Method::DELETE => self.end_session(place),
            ["auth", "app" | "totp"] if get => auth::not_from_here(),
            ["dns", "blocking"] if get => self.blocking(),
            ["dns", "blocking"] if request.method == Method::POST => self.set_blocking(request).await,
            ["stats", rest @ ..] if get => self.stats(request, rest).await,
            ["history", rest @ ..] if get => self.history(request, rest).await,
            ["queries", rest @ ..] if get => self.queries(request, rest).await,
            ["domains:batchDelete"] if request.method == Method::POST => self.delete_domains(request).await,
            ["domains", rest @ ..] => self.domains(request, rest).await,
            ["groups" | "lists" | "clients", ..] if !get => tables::not_from_here(segments[0]),
            ["groups:batchDelete" | "lists:batchDelete" | "clients:batchDelete"] => {
                tables::not_from_here(segments[0].trim_end_matches(":batchDelete"))
            }
            ["groups", rest @ ..] => self.groups(rest),
            ["lists", rest @ ..] => self.lists(request, rest),
            ["clients", "_suggestions"] => self.devices(),
            ["clients", rest @ ..] => self.clients(rest),
            ["info", rest @ ..] => self.info(request, rest).await,
            ["action", ..] if request.method == Method::POST => info::no_action(),
            _ => not_found(&request.raw_path),
        }
    }

    /// The session that a request is made in, by its place.
    fn enter(&self, request: &Request) -> Option<usize> {
        let sid = request.sid()?;
        let csrf = request.header("X-CSRF-TOKEN").or_else(|| request.header("X-FTL-CSRF"));
        let csrf = sid.cookie.then(|| csrf.unwrap_or_default());
        self.gate().enter(&sid.text, csrf, self.hole.now())
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who orders, as it stands in the record of decisions.
fn person(request: &Request) -> String {
    format!("Pi-hole API from {}", request.from)
}

fn method_not_allowed() -> Reply {
    Reply::error(405, "method_not_allowed", "Method not allowed", None)
}
