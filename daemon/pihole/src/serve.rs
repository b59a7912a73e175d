//! Listeners and connections: who is let in at all, for how long, and with how much.

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    api::Api,
    gate::source,
    hole::Hole,
    limits::{
        ANSWER_WITHIN, BODY_WITHIN, CONNECTION_LIFE, HEAD_WITHIN, MAX_BODY, MAX_CONNECTIONS,
        MAX_CONNECTIONS_EACH, MAX_HEAD, MAX_HEADERS,
    },
    reply::Reply,
    request::Request,
};

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long connections have to end when the server stops.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Who may connect.
pub type Admits = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Listeners that answer until this is stopped.
pub struct Server<H> {
    addresses: Vec<SocketAddr>,
    unopened: Vec<(SocketAddr, io::Error)>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared<H>>,
}

impl<H: Hole> Server<H> {
    /// Listens on every address that can be listened on.
    pub async fn start(listen: &[SocketAddr], api: Arc<Api<H>>, admits: Admits) -> Self {
        let shared = Arc::new(Shared { api, admits, open: Arc::default() });
        let stop = watch::Sender::new(false);
        let mut server =
            Self { addresses: Vec::new(), unopened: Vec::new(), stop, tasks: Vec::new(), shared };
        for address in listen {
            server.open(*address).await;
        }
        server
    }

    /// Tries again what could not be listened on.
    pub async fn retry(&mut self) {
        for (address, _) in std::mem::take(&mut self.unopened) {
            self.open(address).await;
        }
    }

    async fn open(&mut self, address: SocketAddr) {
        let bound = TcpListener::bind(address).await;
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => {
                self.addresses.push(address);
                let accepting = accept(listener, Arc::clone(&self.shared), self.stop.subscribe());
                self.tasks.push(tokio::spawn(accepting));
            }
            Err(error) => self.unopened.push((address, error)),
        }
    }

    /// What it answers on.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What it cannot answer on, and why.
    #[must_use]
    pub fn unopened(&self) -> &[(SocketAddr, io::Error)] {
        &self.unopened
    }

    /// Stops: no more connections, and those there are end after what they are at.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            // It ends as soon as it is told.
            task.await.ok();
        }
        // Connections hold a receiver each.
        timeout(END_WITHIN, self.stop.closed()).await.ok();
    }
}

struct Shared<H> {
    api: Arc<Api<H>>,
    admits: Admits,
    open: Arc<Open>,
}

async fn accept<H: Hole>(listener: TcpListener, shared: Arc<Shared<H>>, mut stopped: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let from = peer.ip().to_canonical();
                if !(shared.admits)(from) {
                    continue;
                }
                let Some(place) = Open::enter(&shared.open, from) else { continue };
                let (api, stopped) = (Arc::clone(&shared.api), stopped.clone());
                tokio::spawn(async move {
                    let _place = place;
                    converse(stream, from, api, stopped).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to the Pi-hole API was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, to its end.
async fn converse<H: Hole>(
    stream: TcpStream,
    from: IpAddr,
    api: Arc<Api<H>>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(request, from, &api).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_LIFE) => return,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(END_WITHIN, connection).await.ok();
}

/// One request. What was ordered is done to its end also when nobody waits for the answer any more.
async fn answer<H: Hole>(
    request: hyper::Request<Incoming>,
    from: IpAddr,
    api: &Arc<Api<H>>,
) -> Response<Full<Bytes>> {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let reply = match timeout(BODY_WITHIN, Limited::new(body, MAX_BODY).collect()).await {
        Err(_) => Reply::error(408, "request_timeout", "The request took too long", None).last(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Reply::error(413, "payload_too_large", "The request is too large", None).last()
        }
        Ok(Err(_)) => Reply::bad_request("The request broke off", None).last(),
        Ok(Ok(body)) => match Request::new((head.method, &head.uri), head.headers, body.to_bytes(), from) {
            Ok(request) => {
                let is_read = request.method == hyper::Method::GET;
                let api = Arc::clone(api);
                let answer = tokio::spawn(async move { api.answer(&request).await });
                let _asked = is_read.then(|| AbortOnDrop(answer.abort_handle()));
                match timeout(ANSWER_WITHIN, answer).await {
                    Ok(Ok(reply)) => reply,
                    Ok(Err(_)) => Reply::error(500, "internal_error", "It ended early", None),
                    Err(_) => Reply::error(504, "timeout", "It takes too long", None),
                }
            }
            Err(reply) => reply,
        },
    };
    reply.response(begun.elapsed())
}

/// A question that nobody waits for any more is not worked on.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connections that are open, by source.
#[derive(Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    fn enter(open: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = source(from);
        let mut sources = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.values().sum::<usize>() >= MAX_CONNECTIONS
            || sources.get(&from).is_some_and(|held| *held >= MAX_CONNECTIONS_EACH)
        {
            return None;
        }
        *sources.entry(from).or_default() += 1;
        Some(Place { open: Arc::clone(open), from })
    }
}

/// One of the connections, until it is dropped.
struct Place {
    open: Arc<Open>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = sources.get_mut(&self.from) {
            *held -= 1;
            if *held == 0 {
                sources.remove(&self.from);
            }
        }
    }
}
