//! Small clients and servers inside the namespaces: an echo server, and a probe that sends all the time and notes
//! which packet was the first that nobody answered.

use crate::namespace::{self, Namespace};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time between two packets of a probe.
const BEAT: Duration = Duration::from_micros(500);
/// A packet without an answer for this long counts as lost.
const LOST: Duration = Duration::from_millis(300);
/// Longest a thread of the lab stays in a read.
const READ: Duration = Duration::from_millis(20);

/// Answers on a UDP and a TCP port with what it got.
#[derive(Debug)]
pub struct Echo {
    _threads: Threads,
}

#[derive(Debug)]
struct Threads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Echo {
    /// Starts in `namespace` on `address`.
    ///
    /// # Errors
    /// The address is not there or the port is taken.
    pub fn start(namespace: &Namespace, address: SocketAddr) -> Result<Self> {
        let (udp, tcp) = namespace
            .inside(|| Ok::<_, std::io::Error>((UdpSocket::bind(address)?, TcpListener::bind(address)?)))??;
        udp.set_read_timeout(Some(READ))?;
        tcp.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stop_udp, stop_tcp) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || {
                let mut bytes = [0; 2048];
                while !stop_udp.load(Ordering::SeqCst) {
                    if let Ok((length, from)) = udp.recv_from(&mut bytes) {
                        let _ = udp.send_to(&bytes[..length], from);
                    }
                }
            }),
            std::thread::spawn(move || {
                let mut open: Vec<TcpStream> = Vec::new();
                let mut bytes = [0; 2048];
                while !stop_tcp.load(Ordering::SeqCst) {
                    if let Ok((stream, _)) = tcp.accept() {
                        let _ = stream.set_nonblocking(true);
                        open.push(stream);
                    }
                    open.retain_mut(|stream| match stream.read(&mut bytes) {
                        Ok(0) => false,
                        Ok(length) => stream.write_all(&bytes[..length]).is_ok(),
                        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
                    });
                    crate::wait::pause(Duration::from_millis(1));
                }
            }),
        ];
        Ok(Self { _threads: Threads { stop, threads } })
    }
}

/// Sends numbered UDP packets all the time and notes when each was sent and whether it was answered.
#[derive(Debug)]
pub struct Probe {
    seen: Arc<Mutex<Seen>>,
    _threads: Threads,
}

#[derive(Debug, Default)]
struct Seen {
    sent: Vec<Instant>,
    answered: Vec<bool>,
}

impl Probe {
    /// Starts in `namespace`, from `source` to an echo server at `target`.
    ///
    /// # Errors
    /// The source address is not there.
    pub fn start(namespace: &Namespace, source: IpAddr, target: SocketAddr) -> Result<Self> {
        let socket = namespace.inside(|| {
            let socket = UdpSocket::bind((source, 0))?;
            socket.connect(target)?;
            socket.set_read_timeout(Some(READ))?;
            Ok::<_, std::io::Error>(socket)
        })??;
        let receiver = socket.try_clone().context("cannot share the probe's socket")?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, answered) = (Arc::clone(&seen), Arc::clone(&seen));
        let (stop_sender, stop_receiver) = (Arc::clone(&stop), Arc::clone(&stop));
        let threads = vec![
            std::thread::spawn(move || {
                while !stop_sender.load(Ordering::SeqCst) {
                    let Ok(mut seen) = sent.lock() else { return };
                    let number = seen.sent.len() as u64;
                    seen.sent.push(Instant::now());
                    seen.answered.push(false);
                    drop(seen);
                    let _ = socket.send(&number.to_be_bytes());
                    crate::wait::pause(BEAT);
                }
            }),
            std::thread::spawn(move || {
                let mut bytes = [0; 8];
                while !stop_receiver.load(Ordering::SeqCst) {
                    if let Ok(8) = receiver.recv(&mut bytes)
                        && let Ok(mut seen) = answered.lock()
                        && let Some(flag) = seen.answered.get_mut(u64::from_be_bytes(bytes) as usize)
                    {
                        *flag = true;
                    }
                }
            }),
        ];
        Ok(Self { seen, _threads: Threads { stop, threads } })
    }

    /// How many packets were answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.seen.lock().map(|seen| seen.answered.iter().filter(|answered| **answered).count()).unwrap_or(0)
    }

    /// When the first packet after the last answered one was sent, once nothing was answered for a while.
    #[must_use]
    pub fn cut_at(&self) -> Option<Instant> {
        let seen = self.seen.lock().ok()?;
        let last = seen.answered.iter().rposition(|answered| *answered)?;
        let first_lost = *seen.sent.get(last + 1)?;
        (first_lost.elapsed() > LOST).then_some(first_lost)
    }
}

/// Whether a TCP connection from inside `namespace`, from `source` where given, comes about; `refused`, `no answer`.
///
/// # Errors
/// The namespace is gone.
pub fn connect(namespace: &Namespace, source: Option<&str>, target: &str, limit: Duration) -> Result<String> {
    let mut command = namespace.command("curl");
    command.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--connect-timeout",
        &format!("{:.1}", limit.as_secs_f32()),
    ]);
    command.args(["--max-time", &format!("{:.1}", limit.as_secs_f32() + 1.0)]);
    if let Some(source) = source {
        command.args(["--interface", source]);
    }
    command.arg(format!("http://{target}/"));
    let output = command.output().context("cannot run curl")?;
    let code = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(match output.status.code() {
        Some(0) => format!("HTTP {code}"),
        Some(7) => "refused".into(),
        Some(28) => "no answer".into(),
        Some(1 | 56 | 52) => "connected, other protocol".into(),
        other => format!("curl ended with {other:?}"),
    })
}

/// A TCP connection to an echo server that stays open over several steps.
#[derive(Debug)]
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    /// Opens it from inside `namespace`.
    pub(crate) fn open(namespace: &Namespace, target: SocketAddr) -> Result<Self> {
        let stream = namespace
            .inside(|| TcpStream::connect_timeout(&target, Duration::from_secs(3)))?
            .with_context(|| format!("cannot connect to {target}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Whether a word comes back.
    pub(crate) fn answers(&mut self) -> bool {
        let mut bytes = [0; 4];
        self.0.write_all(b"ping").is_ok() && self.0.read_exact(&mut bytes).is_ok() && &bytes == b"ping"
    }
}

/// Sends HTTP requests on one connection until no answer comes; how many were answered.
///
/// # Errors
/// The connection does not come about.
pub(crate) fn answers_until_cut(
    path: PathBuf,
    source: IpAddr,
    target: SocketAddr,
    header: &str,
    most: usize,
) -> Result<usize> {
    let header = header.to_owned();
    std::thread::spawn(move || -> Result<usize> {
        namespace::enter(&path)?;
        let mut stream = connect_from(source, target)?;
        stream.set_read_timeout(Some(Duration::from_millis(700)))?;
        stream.set_nodelay(true)?;
        let mut bytes = [0; 4096];
        for answered in 0..most {
            let extra = if answered == 0 { header.as_str() } else { "" };
            let request = format!("GET /{answered} HTTP/1.1\r\nHost: {target}\r\n{extra}\r\n");
            if stream.write_all(request.as_bytes()).is_err()
                || !matches!(stream.read(&mut bytes), Ok(length) if length > 0)
            {
                return Ok(answered);
            }
            crate::wait::pause(Duration::from_millis(2));
        }
        Ok(most)
    })
    .join()
    .map_err(|_| anyhow::anyhow!("the client panicked"))?
}

/// Connects from one of several addresses of the host.
fn connect_from(source: IpAddr, target: SocketAddr) -> Result<TcpStream> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
    };
    use nix::sys::time::{TimeVal, TimeValLike};
    use std::os::fd::AsRawFd;
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let handle = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Linux bounds connect by it as well.
    setsockopt(&handle, sockopt::SendTimeout, &TimeVal::seconds(3))?;
    bind(handle.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(handle.as_raw_fd(), &SockaddrStorage::from(target))
        .with_context(|| format!("cannot connect to {target}"))?;
    Ok(TcpStream::from(handle))
}
