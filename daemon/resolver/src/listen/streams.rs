//! Streams: plain (RFC 7766), over TLS (RFC 7858) and over HTTPS (RFC 8484); bounded in number, all together and by client.
//!
//! A connection holds one answer that is being written and questions that are under way, no queue of answers: whoever
//! does not read is not read from, and let go in time.

use futures_util::{StreamExt, stream::FuturesUnordered};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::http;
use crate::{
    Engine, Transport,
    engine::{Scratch, Step},
    limits::{ENCRYPTED_IDLE, HANDSHAKE_TIME, MAX_GATHERED, MAX_QUERY, MAX_STREAM_QUESTIONS, TCP_IDLE},
    quota::Quota,
    stats::count,
};

/// How long a socket that only gives errors is left alone.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// How long a client has to take the end of a connection.
const CLOSING: Duration = Duration::from_secs(1);

/// Connections of one address.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) engine: Arc<Engine>,
    pub(super) way: Way,
    /// How many there may be.
    pub(super) connections: Arc<Quota>,
    /// All end with this.
    pub(super) stop: watch::Receiver<bool>,
}

/// How questions come.
#[derive(Clone)]
pub(super) enum Way {
    Plain,
    Tls(TlsAcceptor),
    Https(TlsAcceptor),
}

impl Streams {
    /// Lets connections in, one after the other.
    pub(super) async fn serve(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, client)) => self.admit(stream, client),
                Err(error) => {
                    tracing::debug!(%error, "accepting DNS connections");
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        let counters = &self.engine.counters;
        let client = client.ip();
        if !self.engine.is_client(client) {
            return count(&counters.refused_clients);
        }
        // A handshake costs more than a question, so it counts as one.
        let over_rate = !matches!(self.way, Way::Plain) && !self.engine.admits(client);
        let Some(place) = self.connections.take(client).filter(|_| !over_rate) else {
            return count(&counters.refused_connections);
        };
        let mut streams = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = converse_by(&streams.engine, &streams.way, stream, client) => {
                    if let Err(error) = ended {
                        tracing::trace!(%error, "DNS connection");
                    }
                }
                _ = streams.stop.wait_for(|stop| *stop) => {}
            }
            drop(place);
        });
    }
}

async fn converse_by(engine: &Arc<Engine>, way: &Way, stream: TcpStream, client: IpAddr) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    match way {
        Way::Plain => converse(engine, stream, client, Transport::Tcp).await,
        Way::Tls(acceptor) => {
            converse(engine, handshake(acceptor, stream).await?, client, Transport::Encrypted).await
        }
        Way::Https(acceptor) => http::serve(engine, handshake(acceptor, stream).await?, client).await,
    }
}

async fn handshake(acceptor: &TlsAcceptor, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let limited = |connection: &mut tokio_rustls::rustls::ServerConnection| {
        connection.set_buffer_limit(Some(MAX_GATHERED));
    };
    timeout(HANDSHAKE_TIME, acceptor.accept_with(stream, limited)).await?
}

/// Answers the questions of one connection, each when its answer is there, until the client is silent for too long,
/// closes, or sends what cannot be answered.
async fn converse(
    engine: &Arc<Engine>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    client: IpAddr,
    transport: Transport,
) -> io::Result<()> {
    let idle = match transport {
        Transport::Udp | Transport::Tcp => TCP_IDLE,
        Transport::Encrypted => ENCRYPTED_IDLE,
    };
    let (mut reader, mut writer) = split(stream);
    let mut incoming = Incoming::default();
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let mut under_way = FuturesUnordered::new();
    let mut until = Instant::now() + idle;
    let mut ended = false;
    loop {
        while under_way.len() < MAX_STREAM_QUESTIONS && out.len() < MAX_GATHERED {
            let Some(query) = incoming.next()? else { break };
            until = Instant::now() + idle;
            match engine.step(query, client, transport, engine.now(), &mut scratch) {
                // Nothing more is read; what was asked before is answered.
                Step::Ignore => (ended, incoming) = (true, Incoming::default()),
                Step::Reply => frame(&mut out, &scratch.out)?,
                Step::ReplyAndRefresh(refresh) => {
                    frame(&mut out, &scratch.out)?;
                    let engine = Arc::clone(engine);
                    tokio::spawn(async move { engine.refresh(*refresh).await });
                }
                Step::Forward(pending) => under_way.push(async move {
                    let mut answer = Vec::new();
                    engine.forward(pending, &mut answer).await.then_some(answer)
                }),
            }
        }
        if !out.is_empty() {
            let write = async {
                writer.write_all(&out).await?;
                writer.flush().await
            };
            timeout(idle, write).await??;
            out = Vec::new();
            continue;
        }
        if ended && under_way.is_empty() {
            let _ = timeout(CLOSING, writer.shutdown()).await;
            return Ok(());
        }
        let room = !ended && under_way.len() < MAX_STREAM_QUESTIONS;
        tokio::select! {
            Some(answer) = under_way.next(), if !under_way.is_empty() => {
                if let Some(answer) = answer {
                    frame(&mut out, &answer)?;
                }
                until = Instant::now() + idle;
            }
            read = timeout_at(until, reader.read_buf(&mut incoming.bytes)), if room => {
                ended = read?? == 0;
            }
        }
    }
}

/// Bytes of a stream that came, and were not looked at yet.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// How many at the beginning were.
    read: usize,
}

impl Incoming {
    /// The next query; none if it has not come in full.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        match length {
            Some(length) if length > MAX_QUERY => Err(io::Error::other("query too long")),
            Some(length) if rest.len() >= length + 2 => {
                let start = self.read + 2;
                self.read = start + length;
                Ok(self.bytes.get(start..self.read))
            }
            // Less than a query stays, and room for one is made: a vector that is read into never grows beyond it.
            Some(_) | None => {
                self.bytes.drain(..self.read);
                self.read = 0;
                let room = MAX_QUERY + 2 - self.bytes.len().min(MAX_QUERY + 1);
                if self.bytes.capacity() == self.bytes.len() {
                    self.bytes.reserve_exact(room.min(READ));
                }
                Ok(None)
            }
        }
    }
}

/// Bytes for which room is made at once: several questions as clients ask them.
const READ: usize = 1024;

/// Appends an answer behind its length.
fn frame(out: &mut Vec<u8>, answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(answer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_cut_from_what_comes_however_it_comes() {
        let queries: Vec<Vec<u8>> = (0..50_u8).map(|at| vec![at; usize::from(at) * 37]).collect();
        let mut stream = Vec::new();
        queries.iter().for_each(|query| frame(&mut stream, query).unwrap());
        for step in [1, 2, 3, 700, stream.len()] {
            let (mut incoming, mut seen) = (Incoming::default(), Vec::new());
            for chunk in stream.chunks(step) {
                incoming.bytes.extend_from_slice(chunk);
                while let Some(query) = incoming.next().unwrap() {
                    seen.push(query.to_vec());
                }
            }
            assert_eq!(seen, queries, "{step} bytes at a time");
        }
    }

    #[test]
    fn what_waits_is_bounded_and_more_is_an_error() {
        let mut incoming = Incoming::default();
        let longest = u16::try_from(MAX_QUERY).unwrap().to_be_bytes();
        incoming.bytes.extend_from_slice(&longest);
        let mut steps = 0;
        while incoming.next().unwrap().is_none() {
            let room = incoming.bytes.capacity() - incoming.bytes.len();
            assert!(room > 0, "a read into no room looks like the end");
            incoming.bytes.extend(std::iter::repeat_n(0, room.min(512)));
            steps += 1;
            assert!(steps < 100 && incoming.bytes.capacity() <= 2 * (MAX_QUERY + 2));
        }
        let mut incoming = Incoming { bytes: vec![0xff, 0xff, 0], read: 0 };
        assert!(incoming.next().is_err());
    }
}
