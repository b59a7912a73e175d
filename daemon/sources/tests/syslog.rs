//! Listeners on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use sources::{
    Handle, Line, Notice, SourceConfig, SourceError, SourceKind, Sources, Status, Transport, Trust,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

struct Bench {
    handle: Handle,
    lines: Receiver<Line>,
    notices: Receiver<Notice>,
    address: SocketAddr,
}

fn config(transport: Transport, senders: &[&str]) -> SourceConfig {
    let senders = senders.iter().map(|net| net.parse().unwrap()).collect();
    let listen = "127.0.0.1:0".parse().unwrap();
    let kind = SourceKind::Syslog { transport, listen, senders, tls: None };
    SourceConfig { name: "net".into(), kind }
}

impl Bench {
    fn start(transport: Transport, senders: &[&str], room: usize) -> Self {
        let (sender, lines) = mpsc::channel(room);
        let (notice, notices) = mpsc::channel(64);
        let handle =
            Sources::start(vec![config(transport, senders)], HashMap::new(), sender, notice).unwrap();
        let address = handle.status()[0].listening.unwrap();
        Self { handle, lines, notices, address }
    }

    async fn line(&mut self) -> Line {
        timeout(DEADLINE, self.lines.recv()).await.expect("no line came").expect("closed")
    }

    async fn expect(&mut self, expected: &str) -> Line {
        let line = self.line().await;
        assert_eq!(String::from_utf8_lossy(&line.bytes), expected);
        line
    }

    /// Waits until the status is so.
    async fn until(&self, what: impl Fn(&Status) -> bool) {
        let wait = async {
            while !what(&self.handle.status()[0]) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("stayed {:?}", self.handle.status()));
    }
}

#[tokio::test]
async fn udp_messages_become_lines() {
    let mut bench = Bench::start(Transport::Udp, &["127.0.0.0/8"], 16);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(b"<38>Nov 23 02:45:00 gate sshd[7]: Invalid user a from 192.0.2.7\n", bench.address)
        .await
        .unwrap();
    let line = bench.expect("Nov 23 02:45:00 gate sshd[7]: Invalid user a from 192.0.2.7").await;
    assert_eq!((&*line.source, line.trust), ("net", Trust::Udp));
    assert_eq!(line.sender, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(line.position, None);
    let modern = b"<38>1 2026-11-23T02:45:00Z gate sshd 7 - [a b=\"c\"] two\nlines";
    socket.send_to(modern, bench.address).await.unwrap();
    bench.expect("2026-11-23T02:45:00Z gate sshd[7]: two#012lines").await;
    socket.send_to(b"<38>", bench.address).await.unwrap();
    socket.send_to(b"", bench.address).await.unwrap();
    socket.send_to(b"plain", bench.address).await.unwrap();
    bench.expect("plain").await;
    assert!(bench.handle.stop().await.is_empty());
}

#[tokio::test]
async fn udp_without_room_is_counted() {
    let mut bench = Bench::start(Transport::Udp, &["127.0.0.1/32"], 1);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for number in 0..5 {
        socket.send_to(format!("<1>{number}").as_bytes(), bench.address).await.unwrap();
    }
    bench.until(|status| status.lines + status.lost == 5).await;
    assert_eq!(bench.handle.status()[0].lost, 4);
    bench.expect("0").await;
}

#[tokio::test]
async fn others_are_not_heard() {
    let bench = Bench::start(Transport::Udp, &["192.0.2.0/24"], 16);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"<1>x", bench.address).await.unwrap();
    bench.until(|status| status.refused == 1).await;
    assert_eq!(bench.handle.status()[0].lines, 0);

    let bench = Bench::start(Transport::Tcp, &["192.0.2.0/24"], 16);
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    bench.until(|status| status.refused == 1).await;
}

#[tokio::test]
async fn tcp_in_both_framings_and_with_an_unfinished_end() {
    let mut bench = Bench::start(Transport::Tcp, &["127.0.0.1/32"], 16);
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(b"5 <38>a<38>b\n<38>").await.unwrap();
    let line = bench.expect("a").await;
    assert_eq!((line.trust, line.sender), (Trust::Tcp, Some("127.0.0.1".parse().unwrap())));
    bench.expect("b").await;
    stream.write_all(b"c").await.unwrap();
    stream.shutdown().await.unwrap();
    bench.expect("c").await;
    bench.until(|status| status.connections == 0).await;
    bench.handle.stop().await;
}

#[tokio::test]
async fn tcp_nonsense_closes_only_its_connection() {
    let mut bench = Bench::start(Transport::Tcp, &["127.0.0.1/32"], 16);
    let mut bad = TcpStream::connect(bench.address).await.unwrap();
    bad.write_all(b"123456789 ").await.unwrap();
    assert_eq!(timeout(DEADLINE, bad.read(&mut [0; 8])).await.unwrap().unwrap_or(0), 0);
    let notice = timeout(DEADLINE, bench.notices.recv()).await.unwrap().unwrap();
    assert!(notice.message.contains("no syslog"), "{}", notice.message);
    let mut good = TcpStream::connect(bench.address).await.unwrap();
    good.write_all(format!("{} {}3 <1>", 100_000, "x".repeat(100_000)).as_bytes()).await.unwrap();
    good.write_all(b"<1>ok\n").await.unwrap();
    bench.expect("ok").await;
    assert_eq!(bench.handle.status()[0].oversized, 1);
}

#[tokio::test]
async fn tcp_connections_are_limited_by_sender() {
    let bench = Bench::start(Transport::Tcp, &["127.0.0.1/32"], 16);
    let mut streams = Vec::new();
    for _ in 0..=sources::limits::MAX_CONNECTIONS_PER_SENDER {
        streams.push(TcpStream::connect(bench.address).await.unwrap());
    }
    bench.until(|status| status.refused == 1).await;
    assert_eq!(bench.handle.status()[0].connections, sources::limits::MAX_CONNECTIONS_PER_SENDER);
    drop(streams);
    bench.until(|status| status.connections == 0).await;
}

#[tokio::test]
async fn a_full_channel_makes_a_tcp_sender_wait() {
    let mut bench = Bench::start(Transport::Tcp, &["127.0.0.1/32"], 1);
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let writer = tokio::spawn(async move {
        for number in 0..5_000 {
            stream.write_all(format!("<1>{number}\n").as_bytes()).await.unwrap();
        }
    });
    for number in 0..5_000 {
        bench.expect(&number.to_string()).await;
    }
    writer.await.unwrap();
    assert_eq!(bench.handle.status()[0].lost, 0);
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_is_told() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = config(Transport::Udp, &["127.0.0.1/32"]);
    if let SourceKind::Syslog { listen, .. } = &mut config.kind {
        *listen = taken.local_addr().unwrap();
    }
    let (sender, _lines) = mpsc::channel(1);
    let (notice, mut notices) = mpsc::channel(1);
    let handle = Sources::start(vec![config], HashMap::new(), sender, notice).unwrap();
    let told = timeout(DEADLINE, notices.recv()).await.unwrap().unwrap();
    assert!(told.message.contains("cannot listen on 127.0.0.1"), "{}", told.message);
    handle.stop().await;
}

#[tokio::test]
async fn a_listener_that_hears_nobody_is_a_mistake() {
    let (sender, _lines) = mpsc::channel(1);
    let (notice, _notices) = mpsc::channel(1);
    let started = Sources::start(vec![config(Transport::Udp, &[])], HashMap::new(), sender, notice);
    assert_eq!(started.unwrap_err(), SourceError::NoSenders("net".into()));
}
