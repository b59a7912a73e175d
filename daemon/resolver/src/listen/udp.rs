//! Datagrams: a thread for each core reads its own socket, answers what needs no waiting in the order it came, and
//! leaves the rest to the runtime.

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{Shutdown, SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::runtime::Handle;

use super::batch::{Answers, Taken};
use crate::{
    Engine, Transport,
    engine::{Scratch, Step},
    limits::BATCH,
    stats::count,
};

/// Bytes of datagrams that may wait to be read, as the system counts them, and as far as it allows it: some 2,500
/// questions, so that a flood of 50,000 a second does not crowd out the others where the reader has to wait for a
/// processor for 50 ms.
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// How long a socket that only gives errors is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// The readers of one address. Dropped, they stop; answers under way can still go out.
pub(super) struct Readers {
    readers: Vec<(Arc<UdpSocket>, JoinHandle<()>)>,
    stopped: Arc<AtomicBool>,
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
        for (socket, _) in &self.readers {
            // Wakes the reader; that the socket is not connected is known.
            let _ = socket2::SockRef::from(&**socket).shutdown(Shutdown::Read);
        }
        for (socket, thread) in self.readers.drain(..) {
            drop(socket);
            let _ = thread.join();
        }
    }
}

impl Readers {
    /// Opens a socket for each core and reads them.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(engine: &Arc<Engine>, address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        // Alone first, so that a port which is taken is noticed: beside each other sockets stand on purpose only.
        let address = open(address, false)?.local_addr()?;
        let count = thread::available_parallelism().map_or(1, usize::from);
        let sockets: Vec<UdpSocket> = (0..count).map(|_| open(address, true)).collect::<io::Result<_>>()?;
        let mut readers = Self { readers: Vec::new(), stopped: Arc::default() };
        let runtime = Handle::current();
        for socket in sockets {
            let socket = Arc::new(socket);
            let reader = Reader {
                engine: Arc::clone(engine),
                outbox: Arc::new(Outbox { socket: Arc::clone(&socket), answers: Mutex::new(Answers::new()) }),
                socket: Arc::clone(&socket),
                stopped: Arc::clone(&readers.stopped),
                runtime: runtime.clone(),
            };
            let thread = thread::Builder::new().name("dns-udp".into()).spawn(move || reader.read())?;
            readers.readers.push((socket, thread));
        }
        Ok((readers, address))
    }
}

fn open(address: SocketAddr, beside: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(beside)?;
    // More than the system gives everybody, where that is allowed (CAP_NET_ADMIN); less is still enough.
    if setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// One socket and its thread.
struct Reader {
    engine: Arc<Engine>,
    socket: Arc<UdpSocket>,
    outbox: Arc<Outbox>,
    stopped: Arc<AtomicBool>,
    runtime: Handle,
}

impl Reader {
    fn read(&self) {
        let (mut taken, mut answers, mut scratch) = (Taken::new(), Answers::new(), Scratch::default());
        while !self.stopped.load(Relaxed) {
            match taken.receive(&self.socket, || self.stopped.load(Relaxed)) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => continue,
                Err(error) => {
                    tracing::debug!(%error, "receiving DNS queries");
                    thread::park_timeout(AFTER_ERROR);
                    continue;
                }
            }
            let now = self.engine.now();
            for (bytes, client) in taken.iter() {
                match self.engine.step(bytes, client.ip(), Transport::Udp, now, &mut scratch) {
                    Step::Ignore => {}
                    Step::Reply => answers.push(&mut scratch.out, client),
                    Step::ReplyAndRefresh(refresh) => {
                        answers.push(&mut scratch.out, client);
                        let engine = Arc::clone(&self.engine);
                        self.runtime.spawn(async move { engine.refresh(*refresh).await });
                    }
                    Step::Forward(pending) => {
                        let (engine, outbox) = (Arc::clone(&self.engine), Arc::clone(&self.outbox));
                        self.runtime.spawn(async move {
                            let mut out = Vec::new();
                            if engine.forward(pending, &mut out).await {
                                outbox.send(&engine, out, client).await;
                            }
                        });
                    }
                }
            }
            for _ in 0..answers.send(&self.socket) {
                count(&self.engine.counters.unsent);
            }
        }
    }
}

/// Answers of upstreams on their way out: those that come at about the same time go together.
struct Outbox {
    socket: Arc<UdpSocket>,
    answers: Mutex<Answers>,
}

impl Outbox {
    /// Sends an answer with all that come while the runtime does what it has to do now.
    async fn send(&self, engine: &Engine, mut answer: Vec<u8>, client: SocketAddr) {
        let waiting = {
            let mut answers = self.lock();
            answers.push(&mut answer, client);
            if answers.len() == BATCH {
                self.flush(engine, &mut answers);
            }
            answers.len()
        };
        // The first of a batch sends it.
        if waiting == 1 {
            tokio::task::yield_now().await;
            self.flush(engine, &mut self.lock());
        }
    }

    fn flush(&self, engine: &Engine, answers: &mut Answers) {
        for _ in 0..answers.send(&self.socket) {
            count(&engine.counters.unsent);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
