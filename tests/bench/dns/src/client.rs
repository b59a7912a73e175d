//! Who asks at a steady pace over UDP, and notes when each answer comes.

use anyhow::{Context as _, Result, bail};
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// Time a server has to load its names.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the last answers are waited for.
const LAST: Duration = Duration::from_secs(2);

/// How far a client may be behind its pace.
const LATE: Duration = Duration::from_millis(5);

/// What came of asking.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) asked: usize,
    /// NOERROR, and an address.
    pub(crate) answered: usize,
    /// Other answers.
    pub(crate) otherwise: usize,
    /// Microseconds, ascending.
    latencies: Vec<f64>,
}

impl Heard {
    pub(crate) fn lost(&self) -> usize {
        self.asked - self.answered - self.otherwise
    }

    /// The latency in microseconds that so many of a thousand stay below.
    pub(crate) fn latency(&self, of_thousand: usize) -> f64 {
        let at = (self.latencies.len() * of_thousand / 1000).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().unwrap_or(f64::NAN)
    }

    /// Together with another.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.asked += other.asked;
        self.answered += other.answered;
        self.otherwise += other.otherwise;
        self.latencies.extend(other.latencies);
        self.latencies.sort_by(f64::total_cmp);
        self
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} asked, {} answered, {} otherwise, {} lost",
            self.asked,
            self.answered,
            self.otherwise,
            self.lost()
        )
    }
}

/// Asks so many names a second from an address of one's own until `done`, and waits for the last answers.
pub(crate) fn ask(
    from: Ipv4Addr,
    server: SocketAddr,
    per_second: u32,
    mut name: impl FnMut(usize) -> String,
    done: impl Fn() -> bool,
) -> Result<Heard> {
    let socket = UdpSocket::bind((from, 0)).with_context(|| from.to_string())?;
    socket.connect(server)?;
    let mut heard = Heard::default();
    let mut waiting: Vec<Option<Instant>> = vec![None; 1 << 16];
    let every = Duration::from_secs(1) / per_second;
    let (mut next, mut end) = (Instant::now(), None);
    loop {
        let now = Instant::now();
        if end.is_none() && done() {
            end = Some(now + LAST);
        }
        if end.is_some_and(|end| now >= end || heard.lost() == 0) {
            break;
        }
        if end.is_none() && now >= next {
            let id = heard.asked & 0xffff;
            socket.send(&query(u16::try_from(id)?, &name(heard.asked)))?;
            waiting[id] = Some(now);
            heard.asked += 1;
            // Who was not let on the processor for a while does not make up for it in a burst.
            next = (next + every).max(now.checked_sub(LATE).unwrap_or(now));
        }
        let wait = end.unwrap_or(next).saturating_duration_since(Instant::now());
        socket.set_nonblocking(wait.is_zero())?;
        if !wait.is_zero() {
            socket.set_read_timeout(Some(wait))?;
        }
        let mut answer = [0; 1500];
        while let Ok(length) = socket.recv(&mut answer) {
            let id = usize::from(u16::from_be_bytes([answer[0], answer[1]]));
            if let Some(asked) = waiting[id].take() {
                let good = length > 12 && answer[3] & 0x0f == 0 && answer[7] > 0;
                if good {
                    heard.answered += 1;
                } else {
                    heard.otherwise += 1;
                }
                heard.latencies.push(asked.elapsed().as_secs_f64() * 1e6);
            }
            // One that was waited for; all that are there already.
            if !wait.is_zero() {
                break;
            }
        }
    }
    heard.latencies.sort_by(f64::total_cmp);
    Ok(heard)
}

/// Asks so many names a second and looks at no answer; says how many were sent.
pub(crate) fn flood(
    from: Ipv4Addr,
    server: SocketAddr,
    per_second: u32,
    mut name: impl FnMut(usize) -> String,
    done: impl Fn() -> bool,
) -> Result<usize> {
    let socket = UdpSocket::bind((from, 0)).with_context(|| from.to_string())?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let (start, mut sent) = (Instant::now(), 0);
    while !done() {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)).floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some millions")]
        let due = due as usize;
        while sent < due {
            // A full queue is the flood's own loss, and counts as sent.
            let _ = socket.send(&query(0, &name(sent)));
            sent += 1;
        }
        while socket.recv(&mut [0; 64]).is_ok() {}
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(sent)
}

/// The address a name has, as bytes; none where there is none.
pub(crate) fn address(server: SocketAddr, name: &str) -> Result<Option<[u8; 4]>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(server)?;
    let query = query(1, name);
    socket.send(&query)?;
    let mut answer = [0; 1500];
    let length = socket.recv(&mut answer).with_context(|| format!("{name}: no answer"))?;
    let answer = answer.get(query.len()..length).unwrap_or_default();
    // Owner, type, class, TTL, length: twelve bytes behind the question, where the owner is a pointer to it.
    Ok(answer
        .get(12..16)
        .filter(|_| answer.starts_with(b"\xc0\x0c\0\x01"))
        .and_then(|data| data.try_into().ok()))
}

/// Asks until there is an answer.
pub(crate) fn wait_for(server: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(server)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        // Refused while nobody listens yet.
        let _ = socket.send(&query(1, "ready.example.net"));
        if socket.recv(&mut [0; 512]).is_ok() {
            return Ok(());
        }
    }
    bail!("not within {} s", PATIENCE.as_secs())
}

/// A port that is free for UDP and TCP.
pub(crate) fn free_port() -> Result<SocketAddr> {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if std::net::TcpListener::bind(udp).is_ok() {
            return Ok(udp);
        }
    }
}

/// A question for an address, with recursion desired.
fn query(id: u16, name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 18);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}
