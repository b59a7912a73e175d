//! A plain server: each question from a connected UDP socket of its own, on a random port with a random id; over TCP
//! where the answer is truncated, or where too much comes that is not the answer.

use hickory_proto::op::Message;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};
use tokio::net::{TcpStream, UdpSocket};

use super::limits::{MAX_MISMATCHES, MAX_PORT_TRIES, MAX_UDP_ANSWER};
use super::{
    attempt::AttemptError,
    health::Health,
    question::{Outgoing, Said, Wrong},
    slot::Slot,
    stream::Connection,
};

/// A plain server, with its TCP connection while there is one.
pub(crate) struct Plain {
    address: SocketAddr,
    connection: Slot,
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
                self.connection
                    .ask(outgoing, false, health, || async {
                        let stream = TcpStream::connect(self.address).await?;
                        let _ = stream.set_nodelay(true);
                        let health = Arc::clone(health);
                        Ok(Connection::new(stream, move || health.wrong()))
                    })
                    .await
            }
        }
    }

    async fn datagram(&self, outgoing: &Outgoing, health: &Health) -> Result<Said, AttemptError> {
        let socket = socket(self.address).await.map_err(AttemptError::NoSocket)?;
        // Connected: the kernel drops what others send, and tells when nobody listens.
        socket.connect(self.address).await?;
        let id: u16 = rand::random();
        socket.send(&outgoing.to_bytes(id, false)).await?;
        let mut buffer = [0; MAX_UDP_ANSWER];
        for _ in 0..MAX_MISMATCHES {
            let length = socket.recv(&mut buffer).await?;
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
async fn socket(to: SocketAddr) -> io::Result<UdpSocket> {
    let any = match to {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    for _ in 0..MAX_PORT_TRIES {
        match UdpSocket::bind((any, rand::random_range(1024..=u16::MAX))).await {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {}
            result => return result,
        }
    }
    UdpSocket::bind((any, 0)).await
}
