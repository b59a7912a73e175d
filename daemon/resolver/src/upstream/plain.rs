//! A plain server: each question from a connected UDP socket of its own, on a random port with a random id; over TCP
//! where the answer is truncated, or where too much comes that is not the answer.

use hickory_proto::op::Message;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpStream, UdpSocket};

use super::{
    attempt::AttemptError,
    health::Health,
    limits::{MAX_MISMATCHES, MAX_PORT_TRIES, MAX_UDP_ANSWER},
    question::{Outgoing, Said, Wrong},
    slot::Slot,
    stream::Connection,
};

/// A plain server, with its TCP connection while there is one.
pub(crate) struct Plain {
    address: SocketAddr,
    connection: Slot<Connection>,
}

impl Plain {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, connection: Slot::default() }
    }

    /// Asks until there is an answer; the caller sets the time.
    pub(crate) async fn ask(
        &self,
        outgoing: &Outgoing,
        health: &Arc<Health>,
    ) -> Result<Message, AttemptError> {
        match self.datagram(outgoing, health).await? {
            Said::Answer(message) => Ok(message),
            Said::Truncated => {
                let open = || async {
                    let stream = TcpStream::connect(self.address).await?;
                    let _ = stream.set_nodelay(true);
                    let health = Arc::clone(health);
                    Ok(Connection::new(stream, move || health.wrong()))
                };
                self.connection.ask(open, |connection| connection.ask(outgoing, false, health)).await
            }
        }
    }

    async fn datagram(&self, outgoing: &Outgoing, health: &Health) -> Result<Said, AttemptError> {
        let id: u16 = rand::random();
        let socket = socket(self.address).map_err(AttemptError::NoSocket)?;
        // Connected: the kernel drops what others send, and tells when nobody listens.
        socket.connect(&self.address.into())?;
        let socket = UdpSocket::from_std(socket.into()).map_err(AttemptError::NoSocket)?;
        socket.send(&outgoing.to_bytes(id, false)).await?;
        let mut read = 0;
        while read < MAX_MISMATCHES {
            socket.readable().await?;
            let mut buffer = [0; MAX_UDP_ANSWER];
            let length = match socket.try_recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                result => result?,
            };
            read += 1;
            match outgoing.read(id, outgoing.letters, buffer.get(..length).unwrap_or_default()) {
                Ok(said) => return Ok(said),
                Err(wrong) => {
                    health.wrong();
                    match wrong {
                        // May be forged: go on waiting for the true one.
                        Wrong::Foreign => {}
                        // Whoever sent it knew the id, or the upstream does not keep letters: TCP cannot be forged so.
                        Wrong::Case | Wrong::Unreadable => break,
                    }
                }
            }
        }
        Ok(Said::Truncated)
    }
}

/// A socket on a random port of 1024–65535. The system's own choice comes from a range half as large, and on some
/// systems in a row.
fn socket(to: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(to), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    for _ in 0..MAX_PORT_TRIES {
        match socket.bind(&SocketAddr::new(any, rand::random_range(1024..=u16::MAX)).into()) {
            Ok(()) => return Ok(socket),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(error),
        }
    }
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket)
}
