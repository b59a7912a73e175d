//! Datagrams by the batch: one system call takes what has come, one sends what was answered.
//!
//! nix takes (rustix cannot take several at once), rustix sends (nix does not say how many went out).

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::{SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::AsRawFd,
};

use crate::limits::{BATCH, MAX_DATAGRAM};

/// Room for the datagrams of one batch.
pub(super) struct Taken {
    headers: MultiHeaders<SockaddrStorage>,
    buffers: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    lengths: [usize; BATCH],
    clients: [Option<SocketAddr>; BATCH],
    count: usize,
}

impl Taken {
    pub(super) fn new() -> Self {
        let buffers = vec![[0; MAX_DATAGRAM]; BATCH].into_boxed_slice();
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: buffers.try_into().unwrap_or_else(|_| Box::new([[0; MAX_DATAGRAM]; BATCH])),
            lengths: [0; BATCH],
            clients: [None; BATCH],
            count: 0,
        }
    }

    /// Waits for a datagram and takes all that have come, up to [`BATCH`]. Nothing is taken once `stopped`.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn receive(&mut self, socket: &UdpSocket, stopped: impl Fn() -> bool) -> io::Result<()> {
        self.count = 0;
        let mut slices = self.buffers.each_mut().map(|buffer| [IoSliceMut::new(buffer)]);
        let flags = MsgFlags::MSG_WAITFORONE;
        let received = recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None)?;
        // A socket that was shut down gives datagrams of nobody.
        if stopped() {
            return Ok(());
        }
        let places = self.lengths.iter_mut().zip(&mut self.clients);
        for (message, (length, client)) in received.zip(places) {
            *length = message.bytes;
            *client = message.address.and_then(|address| socket_address(&address));
            self.count += 1;
        }
        Ok(())
    }

    /// The datagrams, each with who sent it. Port 0 cannot be answered, it is only ever forged.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        (0..self.count).filter_map(|at| {
            let client = self.clients[at].filter(|client| client.port() != 0)?;
            Some((self.buffers[at].get(..self.lengths[at])?, client))
        })
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4(SocketAddrV4::new(address.ip(), address.port())));
    v4.or_else(|| {
        let address = address.as_sockaddr_in6()?;
        let scope = address.scope_id();
        Some(SocketAddr::V6(SocketAddrV6::new(address.ip(), address.port(), address.flowinfo(), scope)))
    })
}

/// Answers that wait to be sent together. Their space is used again.
pub(super) struct Answers {
    buffers: [Vec<u8>; BATCH],
    clients: [Option<SocketAddrAny>; BATCH],
    count: usize,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self { buffers: std::array::from_fn(|_| Vec::new()), clients: [const { None }; BATCH], count: 0 }
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// Takes the bytes of `answer`, and leaves the space of an older one in their place. Not more than [`BATCH`] can
    /// wait.
    pub(super) fn push(&mut self, answer: &mut Vec<u8>, client: SocketAddr) {
        if let (Some(buffer), Some(place)) =
            (self.buffers.get_mut(self.count), self.clients.get_mut(self.count))
        {
            std::mem::swap(buffer, answer);
            *place = Some(client.into());
            self.count += 1;
        }
    }

    /// Sends all. Says how many could not be sent: a full queue of the system does not hold up those who ask next.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> usize {
        let count = std::mem::take(&mut self.count);
        let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
            std::array::from_fn(|_| SendAncillaryBuffer::default());
        let slices = self.buffers.each_ref().map(|buffer| [IoSlice::new(buffer)]);
        let mut messages: [_; BATCH] = {
            let mut controls = controls.iter_mut();
            let mut next = self.clients.iter().zip(&slices);
            std::array::from_fn(|_| {
                let (client, slice) = next.next()?;
                Some(rustix::net::MMsgHdr::new_with_addr(client.as_ref()?, slice, controls.next()?))
            })
        };
        // What is to be sent stands at the beginning.
        let mut ready: Vec<rustix::net::MMsgHdr<'_>> =
            messages.iter_mut().take(count).filter_map(Option::take).collect();
        let (mut at, mut unsent) = (0, 0);
        while let Some(rest) = ready.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match sendmmsg(socket, rest, SendFlags::DONTWAIT) {
                Ok(sent) if sent > 0 => at += sent,
                // The first of the rest cannot be sent.
                Ok(_) | Err(_) => (at, unsent) = (at + 1, unsent + 1),
            }
        }
        unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_came_is_taken_and_answered_together() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let clients: Vec<_> = (0..3).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for (number, client) in (0..).zip(&clients) {
            client.send_to(&[number; 5], server.local_addr().unwrap()).unwrap();
        }
        let (mut taken, mut answers) = (Taken::new(), Answers::new());
        let mut seen = 0;
        while seen < 3 {
            taken.receive(&server, || false).unwrap();
            for (bytes, client) in taken.iter() {
                assert_eq!(client, clients[usize::from(bytes[0])].local_addr().unwrap());
                answers.push(&mut bytes.iter().rev().copied().chain([9]).collect(), client);
                seen += 1;
            }
        }
        assert_eq!(answers.send(&server), 0);
        for (number, client) in (0..).zip(&clients) {
            let mut answer = [0; 16];
            let length = client.recv(&mut answer).unwrap();
            assert_eq!(answer[..length], [number, number, number, number, number, 9]);
        }
    }
}
