//! The sockets towards clients.

use arc_swap::ArcSwap;
use lists::{DomainSet, Overrides};
use model::Name;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Engine, ResolverError, Settings, Sink, Stats, Why,
    engine::Step,
    limits::{MAX_QUERY, MAX_TCP_CONNECTIONS, MAX_TCP_PER_CLIENT, SHUTDOWN_GRACE, TCP_IDLE},
    query::Transport,
    quota::Quota,
    stats::count,
};

/// Starts resolvers.
#[derive(Debug)]
pub struct Resolver;

/// A resolver that runs. Dropped, it stops at once; [`Handle::shutdown`] lets answers under way out first.
pub struct Handle {
    engine: Arc<Engine>,
    connections: Arc<Quota>,
    listeners: tokio::sync::Mutex<BTreeMap<SocketAddr, Listener>>,
    stop: watch::Sender<bool>,
}

/// The two sockets of an address.
struct Listener {
    local: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Listener {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Resolver {
    /// Opens the sockets of `settings` and answers from then on. `lists` and `overrides` may be exchanged at any time;
    /// they hold from the next question on, also for what is cached.
    ///
    /// # Errors
    /// The settings cannot work, or a socket cannot be opened.
    pub async fn start(
        settings: Settings,
        lists: Arc<ArcSwap<DomainSet>>,
        overrides: Arc<ArcSwap<Overrides>>,
        sink: impl Sink,
    ) -> Result<Handle, ResolverError> {
        settings.check()?;
        let listen = settings.listen.clone();
        let handle = Handle {
            engine: Arc::new(Engine::new(settings, lists, overrides, sink)),
            connections: Quota::new(MAX_TCP_CONNECTIONS, MAX_TCP_PER_CLIENT),
            listeners: tokio::sync::Mutex::default(),
            stop: watch::Sender::new(false),
        };
        let opened = handle.open(&listen, &BTreeMap::new()).await?;
        *handle.listeners.lock().await = opened;
        Ok(handle)
    }
}

impl Handle {
    /// Takes new settings. New addresses are opened before anything else changes, so that an error changes nothing.
    ///
    /// # Errors
    /// The settings cannot work, or a socket cannot be opened; the old settings stay.
    pub async fn update(&self, settings: Settings) -> Result<(), ResolverError> {
        settings.check()?;
        let mut listeners = self.listeners.lock().await;
        let opened = self.open(&settings.listen, &listeners).await?;
        listeners.retain(|address, _| settings.listen.contains(address));
        listeners.extend(opened);
        self.engine.update(settings);
        Ok(())
    }

    /// Addresses it listens on; with port 0 in the settings, the port that was chosen.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.lock().await.values().map(|listener| listener.local).collect()
    }

    /// Counters and state.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Forgets the cached answers of a name and everything below it, of all names with none. Says how many.
    pub fn flush(&self, name: Option<&Name>) -> usize {
        self.engine.flush(name)
    }

    /// Why a name is answered as it is, now.
    #[must_use]
    pub fn lookup_why(&self, name: &Name) -> Why {
        self.engine.lookup_why(name)
    }

    /// Stops listening, lets questions under way be answered for [`SHUTDOWN_GRACE`], and is done.
    pub async fn shutdown(self) {
        self.listeners.lock().await.clear();
        let _ = timeout(SHUTDOWN_GRACE, self.engine.drained()).await;
        let _ = self.stop.send(true);
    }

    async fn open(
        &self,
        wanted: &[SocketAddr],
        known: &BTreeMap<SocketAddr, Listener>,
    ) -> Result<BTreeMap<SocketAddr, Listener>, ResolverError> {
        let mut opened = BTreeMap::new();
        for &address in wanted {
            if !known.contains_key(&address) && !opened.contains_key(&address) {
                opened.insert(address, self.listen(address).await?);
            }
        }
        Ok(opened)
    }

    async fn listen(&self, address: SocketAddr) -> Result<Listener, ResolverError> {
        let failed = |transport| move |error| ResolverError::Listen { address, transport, error };
        let mut tries = if address.port() == 0 { CHOSEN_PORT_TRIES } else { 1 };
        let (udp, local, tcp) = loop {
            tries -= 1;
            let udp = UdpSocket::bind(address).await.map_err(failed("udp"))?;
            let local = udp.local_addr().map_err(failed("udp"))?;
            match TcpListener::bind(local).await {
                Ok(tcp) => break (udp, local, tcp),
                // The system chose a port that is free for UDP only.
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries > 0 => {}
                Err(error) => return Err(failed("tcp")(error)),
            }
        };
        let tasks = [
            tokio::spawn(serve_udp(Arc::clone(&self.engine), Arc::new(udp))),
            tokio::spawn(serve_tcp(
                Arc::clone(&self.engine),
                tcp,
                Arc::clone(&self.connections),
                self.stop.subscribe(),
            )),
        ];
        Ok(Listener { local, tasks })
    }
}

/// How often a port is chosen anew where port 0 asks for one that is free for both UDP and TCP.
const CHOSEN_PORT_TRIES: u32 = 16;
/// How long a socket that only gives errors is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(50);

async fn serve_udp(engine: Arc<Engine>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, "receiving DNS queries");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        // Port 0 cannot be answered; it is only ever forged.
        if client.port() == 0 {
            continue;
        }
        match engine.step(buffer.get(..length).unwrap_or_default(), client.ip(), Transport::Udp) {
            Step::Ignore => {}
            Step::Reply(answer) => send(&socket, &answer, client).await,
            Step::Forward(pending) => {
                let (engine, socket) = (Arc::clone(&engine), Arc::clone(&socket));
                tokio::spawn(async move {
                    let answer = engine.forward(*pending).await;
                    send(&socket, &answer, client).await;
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(answer, client).await {
        tracing::trace!(%error, "sending a DNS answer");
    }
}

async fn serve_tcp(
    engine: Arc<Engine>,
    listener: TcpListener,
    connections: Arc<Quota>,
    stop: watch::Receiver<bool>,
) {
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting DNS connections");
                tokio::time::sleep(AFTER_ERROR).await;
                continue;
            }
        };
        if !engine.is_client(client.ip()) {
            count(&engine.counters.refused_clients);
            continue;
        }
        let Some(place) = connections.take(client.ip()) else {
            count(&engine.counters.refused_connections);
            continue;
        };
        let (engine, mut stop) = (Arc::clone(&engine), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                ended = converse(&engine, stream, client.ip()) => {
                    if let Err(error) = ended {
                        tracing::trace!(%error, "DNS connection");
                    }
                }
                _ = stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

/// Answers query after query of one connection (RFC 7766), until the client is silent for [`TCP_IDLE`], closes, or
/// sends what cannot be answered.
async fn converse(engine: &Engine, mut stream: TcpStream, client: IpAddr) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    loop {
        let query = timeout(TCP_IDLE, async {
            let length = usize::from(stream.read_u16().await?);
            if length > MAX_QUERY {
                return Err(std::io::Error::other("query too long"));
            }
            let mut query = vec![0; length];
            stream.read_exact(&mut query).await?;
            Ok(query)
        });
        let query = query.await??;
        let answer = match engine.step(&query, client, Transport::Tcp) {
            Step::Ignore => return Ok(()),
            Step::Reply(answer) => answer,
            Step::Forward(pending) => engine.forward(*pending).await,
        };
        let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
        timeout(TCP_IDLE, stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())).await??;
    }
}
