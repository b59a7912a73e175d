//! Listeners and connections.

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response,
    body::{Body as _, Incoming},
    header::CONNECTION,
    header::HeaderValue,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    site::{Body, Failure, Site},
    sources::Open,
};

/// After a failure to accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long connections have to end when the server stops or their life is over.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Bytes of a body up to which it needs no turn.
const SMALL_BODY: u64 = 16 * 1024;
/// Larger bodies that are read at once; others wait for their turn. Bodies are read before anything is known of who sends
/// them: together with [`crate::Limits`] this bounds what strangers can make the server hold.
const LARGE_BODIES: usize = 8;

/// Who may connect.
pub type Admits = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// Listeners that answer until this is stopped.
pub struct Server<S> {
    addresses: Vec<SocketAddr>,
    unopened: Vec<(SocketAddr, io::Error)>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    shared: Arc<Shared<S>>,
}

/// What listeners have in common.
struct Shared<S> {
    site: Arc<S>,
    admits: Admits,
    open: Arc<Open>,
    large: Arc<Semaphore>,
}

impl<S: Site> Server<S> {
    /// Listens on every address that can be listened on.
    pub async fn start(listen: &[SocketAddr], site: Arc<S>, admits: Admits) -> Self {
        let shared = Arc::new(Shared {
            site,
            admits,
            open: Arc::default(),
            large: Arc::new(Semaphore::new(LARGE_BODIES)),
        });
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

async fn accept<S: Site>(listener: TcpListener, shared: Arc<Shared<S>>, mut stopped: watch::Receiver<bool>) {
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
                let Some(place) = Open::enter(&shared.open, from, &S::LIMITS) else { continue };
                let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
                tokio::spawn(async move {
                    let _place = place;
                    converse(stream, from, shared, stopped).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection to {} was not accepted", S::NAME);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, to its end.
async fn converse<S: Site>(
    stream: TcpStream,
    from: IpAddr,
    shared: Arc<Shared<S>>,
    mut stopped: watch::Receiver<bool>,
) {
    // Small answers must not wait for each other's acknowledgement.
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, from, &shared).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(S::LIMITS.head_within)
        .max_buf_size(S::LIMITS.head)
        .max_headers(S::LIMITS.headers)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(S::LIMITS.connection_life) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    connection.as_mut().graceful_shutdown();
    timeout(END_WITHIN, connection).await.ok();
}

/// One request. What was ordered is done to its end also when nobody waits for the answer any more.
async fn answer<S: Site>(request: Request<Incoming>, from: IpAddr, shared: &Shared<S>) -> Response<Body> {
    match answered(request, from, shared).await {
        Ok(response) => response,
        Err(failure) => {
            let mut response = shared.site.failed(failure);
            if failure.is_last() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }
}

async fn answered<S: Site>(
    request: Request<Incoming>,
    from: IpAddr,
    shared: &Shared<S>,
) -> Result<Response<Body>, Failure> {
    let (head, body) = request.into_parts();
    let is_small = body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY);
    let read = async {
        let _turn = if is_small { None } else { shared.large.acquire().await.ok() };
        Limited::new(body, S::LIMITS.body).collect().await
    };
    let body = match timeout(S::LIMITS.body_within, read).await {
        Err(_) => return Err(Failure::Slow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Failure::Large),
        Ok(Err(_)) => return Err(Failure::Broken),
        Ok(Ok(body)) => body.to_bytes(),
    };
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    let answer = tokio::spawn(Arc::clone(&shared.site).answer(Request::from_parts(head, body), from));
    let _asked = is_read.then(|| AbortOnDrop(answer.abort_handle()));
    match timeout(S::LIMITS.answer_within, answer).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => Err(Failure::Ended),
        Err(_) => Err(Failure::Late),
    }
}

/// A question that nobody waits for any more is not worked on.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
