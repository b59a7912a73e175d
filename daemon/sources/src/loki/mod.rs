//! Pushes as Loki takes them: whatever can send to Loki (Promtail, Alloy, Telegraf, Docker's driver) can send here.
//!
//! Sources that listen on one address share a listener. A stream belongs to the first of them that lets its sender in and
//! whose labels it has. A push is answered with 204 when all of its lines have found room; if that takes too long, with
//! 503, and when it comes again only the rest is taken.

mod labels;
mod push;
mod unfinished;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use httpd::{Body, Failure, Limits, Server, Site};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use ipnet::IpNet;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Trust;
use crate::limits;
use crate::outlet::Outlet;
use push::{Stream, Unreadable};
use unfinished::Unfinished;

/// Where pushes go.
const PATH: &str = "/loki/api/v1/push";

/// A source that takes streams.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) outlet: Outlet,
    pub(crate) senders: Vec<IpNet>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) token_file: Option<PathBuf>,
}

/// All listeners.
#[derive(Debug)]
pub(crate) struct Receivers {
    running: HashMap<SocketAddr, Running>,
    unpacking: Arc<Semaphore>,
}

impl Default for Receivers {
    fn default() -> Self {
        Self { running: HashMap::new(), unpacking: Arc::new(Semaphore::new(limits::MAX_UNPACKING)) }
    }
}

#[derive(Debug)]
struct Running {
    receiver: Arc<Receiver>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Receivers {
    /// Makes the listeners these. Those that stay are not interrupted.
    pub(crate) fn update(&mut self, routes: Vec<(SocketAddr, Route)>) {
        let mut by_address: BTreeMap<SocketAddr, Vec<Route>> = BTreeMap::new();
        for (listen, route) in routes {
            by_address.entry(listen).or_default().push(route);
        }
        self.running.retain(|address, running| {
            let stays = by_address.contains_key(address);
            if !stays {
                running.stop.send_replace(true);
            }
            stays
        });
        for (address, routes) in by_address {
            if let Some(running) = self.running.get(&address) {
                running.receiver.set(routes);
                continue;
            }
            let receiver = Arc::new(Receiver {
                routes: Mutex::new(routes.into()),
                unpacking: Arc::clone(&self.unpacking),
                unfinished: Mutex::default(),
                strangers: Mutex::default(),
                at: Mutex::new(None),
            });
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(listen(address, Arc::clone(&receiver), stopped));
            self.running.insert(address, Running { receiver, stop, task });
        }
    }

    /// Stops all.
    pub(crate) async fn stop(&mut self) {
        let running: Vec<Running> = self.running.drain().map(|(_, running)| running).collect();
        for running in &running {
            running.stop.send_replace(true);
        }
        for running in running {
            running.task.await.ok();
            // What waits for room ends when nobody reads; its outlets must not hold the channel open.
            running.receiver.set(Vec::new());
        }
    }
}

/// Listens until told to stop. Where that cannot be done now it is tried again and again.
async fn listen(address: SocketAddr, receiver: Arc<Receiver>, mut stop: watch::Receiver<bool>) {
    let door = Arc::clone(&receiver);
    let admits = move |from: IpAddr| door.admits(from);
    let mut server = Server::start(&[address], Arc::clone(&receiver), Arc::new(admits)).await;
    loop {
        let error =
            server.unopened().first().map(|(_, error)| format!("cannot listen on {address}: {error}"));
        receiver.is_at(server.addresses().first().copied(), error);
        let again = async {
            match server.unopened().is_empty() {
                true => std::future::pending().await,
                false => tokio::time::sleep(limits::RETRY).await,
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => break,
            () = again => {}
        }
        server.retry().await;
    }
    server.stop().await;
}

/// What one listener answers.
#[derive(Debug)]
struct Receiver {
    routes: Mutex<Arc<[Route]>>,
    unpacking: Arc<Semaphore>,
    unfinished: Mutex<Unfinished>,
    /// Labels of streams that no source takes, as they were told.
    strangers: Mutex<BTreeSet<String>>,
    /// Where it listens, or why not.
    at: Mutex<Option<Result<SocketAddr, String>>>,
}

/// An answer that is not 204.
struct Refusal(u16, String);

impl Receiver {
    fn routes(&self) -> Arc<[Route]> {
        Arc::clone(&self.routes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, routes: Vec<Route>) {
        *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = routes.into();
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.tell_where();
    }

    fn is_at(&self, address: Option<SocketAddr>, error: Option<String>) {
        let at = address.map(Ok).or(error.map(Err));
        *self.at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.tell_where();
    }

    fn tell_where(&self) {
        let at = self.at.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for route in self.routes().iter() {
            route.outlet.status(|status| status.listening = at.clone().and_then(Result::ok));
            if let Some(at) = &at {
                route.outlet.set_error(at.as_ref().err().cloned());
            }
        }
    }

    /// Whether a sender may send to any source.
    fn admits(&self, from: IpAddr) -> bool {
        let routes = self.routes();
        let admitted = routes.iter().any(|route| route.lets_in(from));
        if !admitted {
            for route in routes.iter() {
                route.outlet.status(|status| status.refused += 1);
            }
        }
        admitted
    }

    async fn take(&self, request: Request<Bytes>, from: IpAddr) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        if head.uri.path() != PATH {
            return Err(Refusal(404, format!("pushes go to {PATH}")));
        }
        if head.method != Method::POST {
            return Err(Refusal(405, "pushes are sent by POST".into()));
        }
        let routes = self.permitted(from, &head.headers).await?;
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (kind, coding) = (text(CONTENT_TYPE).to_owned(), text(CONTENT_ENCODING).to_owned());
        let key = self.lock_unfinished().key(from, &body);
        let streams = {
            let full = |_| Refusal(503, "it stops".into());
            let _place = self.unpacking.acquire().await.map_err(full)?;
            let unpacking = tokio::task::spawn_blocking(move || push::read(&kind, &coding, &body));
            unpacking.await.unwrap_or_else(|_| Err(Unreadable::Malformed("reading it ended".into())))
        };
        let streams = streams.map_err(|error| {
            for route in &routes {
                route.outlet.status(|status| status.refused += 1);
            }
            Refusal(error.status(), error.to_string())
        })?;
        self.deliver(streams, &routes, from, key).await
    }

    /// The sources that this sender may send to, with what it shows.
    async fn permitted(&self, from: IpAddr, headers: &HeaderMap) -> Result<Vec<Route>, Refusal> {
        let shown = headers.get(AUTHORIZATION).and_then(|value| token_of(value.as_bytes()));
        let (mut permitted, mut unread) = (Vec::new(), false);
        for route in self.routes().iter().filter(|route| route.lets_in(from)) {
            let Some(file) = &route.token_file else {
                permitted.push(route.clone());
                continue;
            };
            match token_in(file.clone()).await {
                Ok(token) if shown.is_some_and(|shown| is_same(shown, &token)) => {
                    route.outlet.set_error(None);
                    permitted.push(route.clone());
                }
                Ok(_) => route.outlet.status(|status| status.refused += 1),
                Err(error) => {
                    let message = format!("the token in {} cannot be read: {error}", file.display());
                    route.outlet.set_error(Some(message));
                    unread = true;
                }
            }
        }
        match permitted.is_empty() {
            // Clients throw away what is refused for good.
            true if unread => Err(Refusal(503, "the token cannot be checked now; send it again".into())),
            true => Err(Refusal(401, "a token is needed: send it as `Authorization: Bearer …`".into())),
            false => Ok(permitted),
        }
    }

    /// Puts lines where they belong; what is left when there is no room for too long is taken when it comes again.
    async fn deliver(
        &self,
        streams: Vec<Stream>,
        routes: &[Route],
        from: IpAddr,
        key: u64,
    ) -> Result<(), Refusal> {
        let taken = self.lock_unfinished().take(key);
        let deadline = Instant::now() + limits::DELIVER;
        let mut number = 0;
        for stream in streams {
            let Some(route) = routes.iter().find(|route| route.takes(&stream.labels)) else {
                number += stream.entries.len();
                self.tell_stranger(&stream.labels, routes);
                continue;
            };
            for entry in stream.entries {
                number += 1;
                if number <= taken || entry.line.is_empty() {
                    continue;
                }
                let mut line = route.outlet.line(entry.line, Trust::Tcp);
                (line.sender, line.written) = (Some(from), Some(entry.at));
                match timeout_at(deadline, route.outlet.lines.send(line)).await {
                    Ok(Ok(())) => route.outlet.count_line(None),
                    Ok(Err(_)) => return Err(Refusal(503, "it stops".into())),
                    Err(_) => {
                        self.lock_unfinished().put(key, number - 1);
                        let message = "there is no room for more lines now; send it again";
                        return Err(Refusal(503, message.into()));
                    }
                }
            }
        }
        Ok(())
    }

    fn tell_stranger(&self, labels: &BTreeMap<String, String>, routes: &[Route]) {
        let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let shown: String = format!("{{{}}}", shown.join(", ")).chars().take(200).collect();
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if strangers.len() < limits::MAX_STRANGERS
            && strangers.insert(shown.clone())
            && let Some(route) = routes.first()
        {
            route.outlet.notice(format!("no log takes the stream {shown}; its lines are dropped"));
        }
    }

    fn lock_unfinished(&self) -> std::sync::MutexGuard<'_, Unfinished> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Route {
    fn lets_in(&self, from: IpAddr) -> bool {
        self.senders.iter().any(|net| net.contains(&from))
    }

    fn takes(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(name, value)| labels.get(name) == Some(value))
    }
}

impl Site for Receiver {
    const NAME: &'static str = "pushes of logs";
    const LIMITS: Limits = Limits {
        connections: limits::MAX_CONNECTIONS,
        connections_each: limits::MAX_CONNECTIONS_PER_SENDER,
        head: 16 * 1024,
        headers: 64,
        // Clients keep their connection between pushes.
        head_within: Duration::from_secs(90),
        body: limits::MAX_PUSH,
        body_within: Duration::from_secs(20),
        answer_within: Duration::from_secs(15),
        connection_life: Duration::from_secs(3600),
    };

    async fn answer(self: Arc<Self>, request: Request<Bytes>, from: IpAddr) -> Response<Body> {
        match self.take(request, from).await {
            Ok(()) => reply(204, ""),
            Err(Refusal(status, message)) => reply(status, &message),
        }
    }

    fn failed(&self, failure: Failure) -> Response<Body> {
        let message = match failure {
            Failure::Slow => "the push took too long",
            Failure::Large => "the push is too large; send smaller ones",
            Failure::Broken => "the push broke off",
            Failure::Late => "there is no room for more lines now; send it again",
            Failure::Ended => "taking the push ended early",
        };
        reply(failure.status(), message)
    }
}

fn reply(status: u16, message: &str) -> Response<Body> {
    let text = if message.is_empty() { Bytes::new() } else { Bytes::from(format!("{message}\n")) };
    let mut response = Response::new(Body::new(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !message.is_empty() {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    if status == 503 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The token that a header shows.
fn token_of(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The first line of the file.
async fn token_in(path: PathBuf) -> Result<Vec<u8>, String> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::fs::File::open(&path)?.take(limits::MAX_SECRET).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let reading = timeout(Duration::from_secs(5), reading).await.map_err(|_| "it takes too long")?;
    let bytes = reading.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let token = bytes.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    if token.is_empty() { Err("it is empty".into()) } else { Ok(token.to_vec()) }
}

/// Compares without telling by time how much is the same.
fn is_same(shown: &[u8], token: &[u8]) -> bool {
    let differing = shown.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
    shown.len() == token.len() && differing == 0
}
