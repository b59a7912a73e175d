//! The sockets towards clients.

mod batch;
mod certificate;
mod http;
mod streams;
mod udp;

pub use certificate::{Certificate, CertificateError};

use lists::GroupSet;
use model::Name;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle as Thread,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::timeout};

use self::{
    certificate::acceptor,
    streams::{Streams, Way},
    udp::Readers,
};
use crate::{
    Engine, ResolverError, Settings, Sink, Sources, Stats, Why,
    limits::{
        MAX_ENCRYPTED_CONNECTIONS, MAX_ENCRYPTED_PER_CLIENT, MAX_TCP_CONNECTIONS, MAX_TCP_PER_CLIENT,
        SHUTDOWN_GRACE,
    },
    quota::Quota,
};

/// Starts resolvers.
#[derive(Debug)]
pub struct Resolver;

/// A resolver that runs. Dropped, it stops at once; [`Handle::shutdown`] lets answers under way out first.
pub struct Handle {
    engine: Arc<Engine>,
    /// By UDP and TCP, by TLS, by HTTPS.
    ways: [(Way, Arc<Quota>); 3],
    listeners: tokio::sync::Mutex<BTreeMap<(Door, SocketAddr), Listener>>,
    /// Why it does not listen where it should.
    unopened: Mutex<Vec<ResolverError>>,
    stop: watch::Sender<bool>,
    teller: Option<Thread<()>>,
}

/// How questions come to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// By UDP and TCP.
    Plain,
    /// By TLS (RFC 7858).
    Tls,
    /// By HTTPS (RFC 8484).
    Https,
}

/// The sockets of an address.
struct Listener {
    local: SocketAddr,
    _udp: Option<Readers>,
    tcp: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tcp.abort();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.stop_telling();
        if let Some(teller) = self.teller.take() {
            let _ = teller.join();
        }
    }
}

impl Resolver {
    /// Opens the sockets of `settings` and answers from then on. What is in `sources` may be exchanged at any time; it
    /// holds from the next question on, also for what is cached. An address that cannot be had leaves the others in
    /// peace; see [`Handle::unopened`].
    ///
    /// # Errors
    /// The settings cannot work, or none of the addresses, or no thread can be had.
    pub async fn start(
        settings: Settings,
        sources: Sources,
        sink: impl Sink,
    ) -> Result<Handle, ResolverError> {
        settings.check()?;
        let wanted = doors(&settings);
        let plain = Quota::new(MAX_TCP_CONNECTIONS, MAX_TCP_PER_CLIENT);
        let encrypted = Quota::new(MAX_ENCRYPTED_CONNECTIONS, MAX_ENCRYPTED_PER_CLIENT);
        let by = |protocols: &[&[u8]]| acceptor(&sources.certificate, protocols).map_err(ResolverError::Tls);
        let ways = [
            (Way::Plain, plain),
            (Way::Tls(by(&[b"dot"])?), Arc::clone(&encrypted)),
            (Way::Https(by(&[b"h2", b"http/1.1"])?), encrypted),
        ];
        let engine = Arc::new(Engine::new(settings, sources, sink));
        let telling = Arc::clone(&engine);
        let teller = std::thread::Builder::new()
            .name("dns-journal".into())
            .spawn(move || telling.keep_telling())
            .map_err(ResolverError::Thread)?;
        let handle = Handle {
            engine,
            ways,
            listeners: tokio::sync::Mutex::default(),
            unopened: Mutex::default(),
            stop: watch::Sender::new(false),
            teller: Some(teller),
        };
        let opened = handle.open(&wanted, &BTreeMap::new()).await?;
        *handle.listeners.lock().await = opened;
        Ok(handle)
    }
}

impl Handle {
    /// Takes new settings. New addresses are opened before anything else changes, so that an error changes nothing. What
    /// could not be opened is tried again by whoever gives the settings again; see [`Handle::unopened`].
    ///
    /// # Errors
    /// The settings cannot work, or none of the addresses can be had; the old settings stay.
    pub async fn update(&self, settings: Settings) -> Result<(), ResolverError> {
        settings.check()?;
        let mut listeners = self.listeners.lock().await;
        let wanted = doors(&settings);
        let opened = self.open(&wanted, &listeners).await?;
        listeners.retain(|address, _| wanted.contains(address));
        listeners.extend(opened);
        self.engine.update(settings);
        Ok(())
    }

    /// Addresses it listens on by UDP and TCP; with port 0 in the settings, the port that was chosen.
    pub async fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses_of(Door::Plain).await
    }

    /// Likewise, by this door.
    pub async fn addresses_of(&self, door: Door) -> Vec<SocketAddr> {
        let listeners = self.listeners.lock().await;
        listeners.iter().filter(|((of, _), _)| *of == door).map(|(_, listener)| listener.local).collect()
    }

    /// Why it does not listen on addresses of the settings, each named once.
    #[must_use]
    pub fn unopened(&self) -> Vec<String> {
        let unopened = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
        unopened.iter().map(ToString::to_string).collect()
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

    /// Why a name is answered as it is, now, to somebody whom the config does not name.
    #[must_use]
    pub fn lookup_why(&self, name: &Name) -> Why {
        self.engine.lookup_why(name)
    }

    /// Why a name is answered as it is, now, to a client that asks for one of these types.
    #[must_use]
    pub fn why(&self, name: &Name, qtypes: &[u16], client: Option<IpAddr>) -> Why {
        self.engine.why(name, qtypes, client)
    }

    /// Which groups are in force from the next question on: the others' lists, entries and ways to block do not hold.
    /// New settings set it anew.
    pub fn set_in_force(&self, groups: GroupSet) {
        self.engine.set_in_force(groups);
    }

    /// Hands records of questions that wait to the sink, now.
    pub fn tell(&self) {
        self.engine.tell();
    }

    /// The resolver without its sockets, for listeners of other kinds.
    #[must_use]
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Stops listening, lets questions under way be answered for [`SHUTDOWN_GRACE`], and is done.
    pub async fn shutdown(self) {
        self.listeners.lock().await.clear();
        let _ = timeout(SHUTDOWN_GRACE, self.engine.drained()).await;
        let _ = self.stop.send(true);
    }

    async fn open(
        &self,
        wanted: &[(Door, SocketAddr)],
        known: &BTreeMap<(Door, SocketAddr), Listener>,
    ) -> Result<BTreeMap<(Door, SocketAddr), Listener>, ResolverError> {
        let (mut opened, mut unopened) = (BTreeMap::new(), Vec::new());
        for &address in wanted {
            if !known.contains_key(&address) && !opened.contains_key(&address) {
                match self.listen(address).await {
                    Ok(listener) => {
                        opened.insert(address, listener);
                    }
                    Err(error) => unopened.push(error),
                }
            }
        }
        let stays = wanted.iter().any(|address| known.contains_key(address));
        if opened.is_empty()
            && !stays
            && let Some(error) = unopened.pop()
        {
            return Err(error);
        }
        *self.unopened.lock().unwrap_or_else(PoisonError::into_inner) = unopened;
        Ok(opened)
    }

    async fn listen(&self, (door, address): (Door, SocketAddr)) -> Result<Listener, ResolverError> {
        let failed = |transport| move |error| ResolverError::Listen { address, transport, error };
        let (udp, tcp) = match door {
            Door::Plain => {
                let mut tries = if address.port() == 0 { CHOSEN_PORT_TRIES } else { 1 };
                loop {
                    tries -= 1;
                    let (udp, local) = Readers::start(&self.engine, address).map_err(failed("udp"))?;
                    match TcpListener::bind(local).await {
                        Ok(tcp) => break (Some(udp), tcp),
                        // The system chose a port that is free for UDP only.
                        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries > 0 => {}
                        Err(error) => return Err(failed("tcp")(error)),
                    }
                }
            }
            Door::Tls => (None, TcpListener::bind(address).await.map_err(failed("tls"))?),
            Door::Https => (None, TcpListener::bind(address).await.map_err(failed("https"))?),
        };
        let local = tcp.local_addr().map_err(failed("tcp"))?;
        let [plain, tls, https] = &self.ways;
        let (way, connections) = match door {
            Door::Plain => plain,
            Door::Tls => tls,
            Door::Https => https,
        };
        let streams = Streams {
            engine: Arc::clone(&self.engine),
            way: way.clone(),
            connections: Arc::clone(connections),
            stop: self.stop.subscribe(),
        };
        Ok(Listener { local, _udp: udp, tcp: tokio::spawn(streams.serve(tcp)) })
    }
}

/// Every address of the settings.
fn doors(settings: &Settings) -> Vec<(Door, SocketAddr)> {
    let all = [
        (Door::Plain, &settings.listen),
        (Door::Tls, &settings.listen_tls),
        (Door::Https, &settings.listen_https),
    ];
    all.into_iter().flat_map(|(door, listen)| listen.iter().map(move |&address| (door, address))).collect()
}

/// How often a port is chosen anew where port 0 asks for one that is free for both UDP and TCP.
const CHOSEN_PORT_TRIES: u32 = 16;
