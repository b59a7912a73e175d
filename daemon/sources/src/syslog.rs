//! The tasks of syslog listeners.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::config::{Line, Tls, Transport, Trust};
use crate::framing::Framer;
use crate::limits;
use crate::outlet::Outlet;
use crate::tls::Acceptors;

/// A listener as the config has it.
#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) transport: Transport,
    pub(crate) listen: SocketAddr,
    /// Who may send; empty = whoever shows a certificate.
    pub(crate) senders: Vec<IpNet>,
    pub(crate) tls: Option<Tls>,
}

/// A socket bound at the start, so that its address is known at once.
#[derive(Debug)]
pub(crate) enum Bound {
    Udp(std::net::UdpSocket),
    Tcp(std::net::TcpListener),
}

impl Bound {
    pub(crate) fn new(transport: Transport, listen: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        match transport {
            Transport::Udp => {
                let socket = std::net::UdpSocket::bind(listen)?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                Ok((Self::Udp(socket), address))
            }
            Transport::Tcp | Transport::Tls => {
                let socket = std::net::TcpListener::bind(listen)?;
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                Ok((Self::Tcp(socket), address))
            }
        }
    }
}

/// Listens until told to stop. If the socket could not be opened it is tried again and again.
pub(crate) async fn run(outlet: Outlet, listener: Listener, mut bound: Option<Bound>) {
    let Listener { transport, listen, senders, tls } = listener;
    let acceptors = tls.map(|tls| Arc::new(Acceptors::new(tls)));
    let mut stop = outlet.stop.clone();
    loop {
        if bound.is_none() {
            match Bound::new(transport, listen) {
                Ok((socket, address)) => {
                    bound = Some(socket);
                    outlet.status(|status| status.listening = Some(address));
                    outlet.set_error(None);
                }
                Err(error) => outlet.set_error(Some(format!("cannot listen on {listen}: {error}"))),
            }
        }
        let listening = async {
            match bound.take() {
                Some(Bound::Udp(socket)) => udp(&outlet, socket, &senders).await,
                Some(Bound::Tcp(socket)) => tcp(&outlet, socket, &senders, acceptors.as_ref()).await,
                None => {
                    tokio::time::sleep(limits::RETRY).await;
                    Ok(())
                }
            }
        };
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            ended = listening => {
                if let Err(error) = ended {
                    outlet.status(|status| status.listening = None);
                    outlet.set_error(Some(format!("stopped listening on {listen}: {error}")));
                    tokio::time::sleep(limits::RETRY).await;
                }
            }
        }
        if outlet.lines.is_closed() {
            return;
        }
    }
}

fn may_send(senders: &[IpNet], sender: IpAddr) -> bool {
    senders.is_empty() || senders.iter().any(|net| net.contains(&sender))
}

fn line(outlet: &Outlet, message: &[u8], sender: IpAddr, trust: Trust) -> Option<Line> {
    let mut bytes = Vec::with_capacity(message.len() + 16);
    logs::syslog::normalise(message, sender, &mut bytes);
    (!bytes.is_empty()).then(|| Line { sender: Some(sender), ..outlet.line(bytes, trust) })
}

async fn udp(outlet: &Outlet, socket: std::net::UdpSocket, senders: &[IpNet]) -> io::Result<()> {
    let socket = UdpSocket::from_std(socket)?;
    let mut buffer = vec![0; limits::MAX_MESSAGE];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        let sender = peer.ip().to_canonical();
        if !may_send(senders, sender) {
            outlet.status(|status| status.refused += 1);
            continue;
        }
        let Some(line) = line(outlet, &buffer[..length], sender, Trust::Udp) else { continue };
        match outlet.lines.try_send(line) {
            Ok(()) => outlet.count_line(None),
            Err(TrySendError::Full(_)) => outlet.status(|status| status.lost += 1),
            Err(TrySendError::Closed(_)) => return Ok(()),
        }
    }
}

async fn tcp(
    outlet: &Outlet,
    socket: std::net::TcpListener,
    senders: &[IpNet],
    acceptors: Option<&Arc<Acceptors>>,
) -> io::Result<()> {
    if let Some(acceptors) = acceptors {
        outlet.set_error(usable(acceptors).await.1);
    }
    let listener = TcpListener::from_std(socket)?;
    let per_sender = Arc::new(Mutex::new(HashMap::<IpAddr, usize>::new()));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => {
                outlet.status(|status| status.connections = connections.len());
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // One connection that broke at once is no reason to stop; no free descriptors is one to wait.
            Err(error) if error.raw_os_error() == Some(libc::EMFILE) => {
                tokio::time::sleep(limits::RETRY).await;
                continue;
            }
            Err(_) => continue,
        };
        let sender = peer.ip().to_canonical();
        let place = Place::take(&per_sender, sender);
        if !may_send(senders, sender) || connections.len() >= limits::MAX_CONNECTIONS || place.is_none() {
            outlet.status(|status| status.refused += 1);
            continue;
        }
        let (outlet_of_connection, acceptors) = (outlet.clone(), acceptors.cloned());
        connections.spawn(async move {
            match acceptors {
                Some(acceptors) => encrypted(&outlet_of_connection, &acceptors, stream, sender).await,
                None => connection(&outlet_of_connection, stream, sender).await,
            }
            drop(place);
        });
        outlet.status(|status| status.connections = connections.len());
    }
}

/// One sender's share of the connections.
struct Place {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    sender: IpAddr,
}

impl Place {
    fn take(counts: &Arc<Mutex<HashMap<IpAddr, usize>>>, sender: IpAddr) -> Option<Self> {
        let mut held = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(sender).or_default();
        if *count >= limits::MAX_CONNECTIONS_PER_SENDER {
            return None;
        }
        *count += 1;
        Some(Self { counts: Arc::clone(counts), sender })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.sender) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.sender);
            }
        }
    }
}

/// What to accept TLS by now, and what is wrong with it.
async fn usable(acceptors: &Arc<Acceptors>) -> (Option<TlsAcceptor>, Option<String>) {
    let acceptors = Arc::clone(acceptors);
    let looking = tokio::task::spawn_blocking(move || acceptors.current());
    looking.await.unwrap_or((None, Some("reading the certificate ended early".into())))
}

async fn encrypted(outlet: &Outlet, acceptors: &Arc<Acceptors>, stream: TcpStream, sender: IpAddr) {
    let (acceptor, error) = usable(acceptors).await;
    outlet.set_error(error);
    let Some(acceptor) = acceptor else { return };
    match timeout(limits::HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => connection(outlet, stream, sender).await,
        Ok(Err(error)) => {
            outlet.status(|status| status.refused += 1);
            tracing::debug!(%sender, %error, "no TLS with a sender of syslog");
        }
        Err(_) => outlet.status(|status| status.refused += 1),
    }
}

async fn connection(outlet: &Outlet, mut stream: impl AsyncRead + Unpin, sender: IpAddr) {
    let mut framer = Framer::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut counted = 0;
    loop {
        let Ok(Ok(read)) = timeout(limits::IDLE, stream.read(&mut buffer)).await else { return };
        if read == 0 {
            // A last message without a line end is whole when the sender has closed.
            framer.push(b"\n");
        } else {
            framer.push(&buffer[..read]);
        }
        loop {
            let message = match framer.next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(_) => {
                    outlet.notice(format!("{sender} sent something that is no syslog; connection closed"));
                    return;
                }
            };
            let Some(line) = line(outlet, &message, sender, Trust::Tcp) else { continue };
            if outlet.lines.send(line).await.is_err() {
                return;
            }
            outlet.count_line(None);
        }
        let oversized = framer.oversized - counted;
        counted = framer.oversized;
        if oversized > 0 {
            outlet.status(|status| status.oversized += oversized);
        }
        if read == 0 {
            return;
        }
    }
}
