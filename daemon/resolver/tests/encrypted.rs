//! DNS over TLS and HTTPS towards clients: answers, limits, and what hostile clients try.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod common;

use common::{
    Bench, Fake, PATIENCE, ads, extended, query, receive_frame, receive_tcp, records, script, send_tcp,
    settings, upstream,
};
use data_encoding::BASE64URL_NOPAD;
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::rdata::opt::{EdnsCode, EdnsOption},
};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::Body;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use resolver::{
    Certificate, CertificateError, Door,
    limits::{ENCRYPTED_IDLE, MAX_ENCRYPTED_PER_CLIENT, MAX_HTTP_HEADER, MAX_QUERY, MAX_UNTAKEN},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

const NAME: &str = "dns.home.arpa";

/// A resolver with all doors, whom its clients trust.
struct Secure {
    bench: Bench,
    upstream: Fake,
    tls: SocketAddr,
    https: SocketAddr,
    /// The certificate clients trust.
    root: CertificateDer<'static>,
}

fn made() -> (Arc<Certificate>, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (chain, key) = (cert.pem(), signing_key.serialize_pem());
    let root = CertificateDer::from_pem_slice(chain.as_bytes()).unwrap();
    (Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()), root)
}

impl Secure {
    async fn start() -> Self {
        let big: Vec<&str> =
            std::iter::once("truncated").chain(std::iter::repeat_n("300 TXT x", 60)).collect();
        let upstream = upstream(script(&[
            ("www.example A", &["300 A 192.0.2.1", "200 A 192.0.2.2"]),
            ("silent.example A", &["silent"]),
            ("none.example A", &["nxdomain 77"]),
            ("broken.example A", &["servfail"]),
            ("big.example TXT", &big),
        ]))
        .await;
        let mut settings = settings(vec![upstream.address]);
        settings.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        settings.listen_https = settings.listen_tls.clone();
        let bench = Bench::start(settings, ads("||ads.example^")).await;
        let (certificate, root) = made();
        bench.certificate.store(Some(certificate));
        let at = async |door| bench.handle.addresses_of(door).await[0];
        let (tls, https) = (at(Door::Tls).await, at(Door::Https).await);
        Self { bench, upstream, tls, https, root }
    }

    async fn connect(&self, to: SocketAddr, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        self.connect_over(TcpStream::connect(to).await?, protocols).await
    }

    async fn connect_over(&self, stream: TcpStream, protocols: &[&str]) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(NAME).unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(PATIENCE, connecting).await.expect("a handshake in time")
    }

    async fn dot(&self) -> TlsStream<TcpStream> {
        self.connect(self.tls, &["dot"]).await.unwrap()
    }

    async fn http2(&self) -> http2::SendRequest<Full<Bytes>> {
        self.http2_with(65_535).await
    }

    async fn http2_with(&self, window: u32) -> http2::SendRequest<Full<Bytes>> {
        let stream = self.connect(self.https, &["h2"]).await.unwrap();
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Somebody else is answered as ever.
    async fn serves_others(&self) {
        let mut stream = self.dot().await;
        send_tcp(&mut stream, &query("ads.example", "A", None).to_vec().unwrap()).await;
        assert_eq!(records(&receive_tcp(&mut stream).await), ["A 0.0.0.0"]);
    }
}

fn wire(name: &str, qtype: &str) -> Vec<u8> {
    query(name, qtype, Some(1232)).to_vec().unwrap()
}

fn post(bytes: Vec<u8>) -> Request<Full<Bytes>> {
    let request = Request::post("https://dns.home.arpa/dns-query");
    request.header("content-type", "application/dns-message").body(Full::new(bytes.into())).unwrap()
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://dns.home.arpa{path}")).body(Full::default()).unwrap()
}

/// Status, one header, and the message of a response.
async fn read(response: Response<Incoming>, header: &str) -> (u16, String, Vec<u8>) {
    let status = response.status().as_u16();
    let value = response.headers().get(header).map(|value| value.to_str().unwrap().to_owned());
    let body = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap().to_bytes();
    (status, value.unwrap_or_default(), body.to_vec())
}

#[tokio::test]
async fn over_tls_each_answer_comes_when_it_is_there() {
    let secure = Secure::start().await;
    let mut stream = secure.dot().await;
    // The first has to wait for an upstream that says nothing.
    for name in ["silent.example", "ads.example", "www.example"] {
        send_tcp(&mut stream, &wire(name, "A")).await;
    }
    assert_eq!(records(&receive_tcp(&mut stream).await), ["A 0.0.0.0"]);
    assert_eq!(records(&receive_tcp(&mut stream).await), ["A 192.0.2.1", "A 192.0.2.2"]);
    let failed = receive_tcp(&mut stream).await;
    assert_eq!(failed.metadata.response_code, ResponseCode::ServFail);
    let event = secure.bench.last_event();
    assert!(matches!(event.body, Body::Query { encrypted: true, .. }), "{event:?}");
    let _ = secure.bench.ask("ads.example", "A").await;
    let event = secure.bench.last_event();
    assert!(matches!(event.body, Body::Query { encrypted: false, .. }), "{event:?}");
}

#[tokio::test]
async fn answers_are_padded_and_say_how_long_the_connection_is_kept() {
    let secure = Secure::start().await;
    let mut stream = secure.dot().await;
    let mut asked = query("www.example", "A", Some(1232));
    let options = asked.edns.as_mut().unwrap().options_mut();
    options.insert(EdnsOption::Unknown(12, vec![0; 20]));
    options.insert(EdnsOption::Unknown(11, Vec::new()));
    send_tcp(&mut stream, &asked.to_vec().unwrap()).await;
    let answer = receive_frame(&mut stream).await;
    assert_eq!(answer.len(), 468);
    let kept = |answer: &[u8]| {
        let edns = Message::from_vec(answer).unwrap().edns.unwrap();
        match edns.option(EdnsCode::Keepalive) {
            Some(EdnsOption::Unknown(11, tenths)) => Some(tenths.clone()),
            _ => None,
        }
    };
    let tenths = u16::try_from(ENCRYPTED_IDLE.as_millis() / 100).unwrap();
    assert_eq!(kept(&answer), Some(tenths.to_be_bytes().to_vec()));
    send_tcp(&mut stream, &wire("www.example", "A")).await;
    let plain = receive_frame(&mut stream).await;
    assert!(plain.len() < 200 && kept(&plain).is_none());
}

#[tokio::test]
async fn who_asks_and_stops_sending_is_answered_all_the_same() {
    let secure = Secure::start().await;
    let mut stream = secure.dot().await;
    let mut all = Vec::new();
    for name in ["www.example", "ads.example"] {
        let bytes = wire(name, "A");
        all.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
        all.extend_from_slice(&bytes);
    }
    stream.write_all(&all).await.unwrap();
    stream.shutdown().await.unwrap();
    let answers = [receive_tcp(&mut stream).await, receive_tcp(&mut stream).await];
    assert!(answers.iter().any(|answer| records(answer) == ["A 0.0.0.0"]));
    assert!(answers.iter().any(|answer| answer.answers.len() == 2));
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "then it ends");
}

#[tokio::test]
async fn what_cannot_be_answered_ends_the_connection_behind_what_can() {
    let secure = Secure::start().await;
    let mut stream = secure.dot().await;
    let mut answer = wire("ads.example", "A");
    answer[2] |= 0x80;
    for bytes in [wire("www.example", "A"), wire("ads.example", "A"), answer, wire("ads.example", "A")] {
        send_tcp(&mut stream, &bytes).await;
    }
    let answers = [receive_tcp(&mut stream).await, receive_tcp(&mut stream).await];
    assert_eq!(answers.iter().map(|answer| answer.answers.len()).sum::<usize>(), 3);
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn over_https_by_both_versions_and_both_methods() {
    let secure = Secure::start().await;
    let mut second = secure.http2().await;
    let stream = secure.connect(secure.https, &["http/1.1"]).await.unwrap();
    let (mut first, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (name, age, count) in [
        ("www.example", "max-age=200", 2),
        ("ads.example", "max-age=10", 1),
        ("none.example", "max-age=77", 0),
        ("broken.example", "max-age=0", 0),
    ] {
        let bytes = wire(name, "A");
        let url = format!("/dns-query?dns={}", BASE64URL_NOPAD.encode(&bytes));
        let mut by_get = get(&url);
        *by_get.uri_mut() = url.parse().unwrap();
        let mut by_post = post(bytes.clone());
        *by_post.uri_mut() = "/dns-query".parse().unwrap();
        let responses = [
            second.send_request(post(bytes.clone())).await.unwrap(),
            second.send_request(get(&url)).await.unwrap(),
            first.send_request(by_get).await.unwrap(),
            first.send_request(by_post).await.unwrap(),
        ];
        for response in responses {
            assert_eq!(response.headers()["content-type"], "application/dns-message");
            let (status, cache, body) = read(response, "cache-control").await;
            let answer = Message::from_vec(&body).unwrap();
            assert_eq!((status, cache.as_str(), answer.answers.len()), (200, age, count), "{name}");
            assert_eq!(answer.metadata.id, Message::from_vec(&bytes).unwrap().metadata.id);
        }
    }
    assert_eq!(secure.upstream.asked().0, 3, "each once, the failure too");
    let event = secure.bench.last_event();
    assert!(matches!(event.body, Body::Query { encrypted: true, .. }), "{event:?}");
}

#[tokio::test]
async fn requests_that_are_no_questions_are_refused() {
    let secure = Secure::start().await;
    let mut sender = secure.http2().await;
    let good = BASE64URL_NOPAD.encode(&wire("ads.example", "A"));
    let long = BASE64URL_NOPAD.encode(&[0; MAX_QUERY + 1]);
    let mut kind = post(wire("ads.example", "A"));
    kind.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let mut with_charset = post(wire("ads.example", "A"));
    with_charset.headers_mut().insert("content-type", "Application/DNS-message; x=y".parse().unwrap());
    let mut method = post(wire("ads.example", "A"));
    *method.method_mut() = hyper::Method::PUT;
    let mut preflight = get("/dns-query");
    *preflight.method_mut() = hyper::Method::OPTIONS;
    let requests = [
        (get(&format!("/dns-query?dns={good}")), 200),
        (with_charset, 200),
        (get(&format!("/?dns={good}")), 404),
        (get(&format!("/dns-query/?dns={good}")), 404),
        (get("/resolve?name=ads.example"), 404),
        (get("/dns-query"), 400),
        (get("/dns-query?dns=AAAA"), 400),
        (get("/dns-query?dns=!!!!"), 400),
        (get(&format!("/dns-query?dns={good}=")), 400),
        (get(&format!("/dns-query?dns={long}")), 414),
        (post(vec![]), 400),
        (post(vec![0; MAX_QUERY + 1]), 413),
        (kind, 415),
        (method, 405),
        (preflight, 405),
    ];
    for (request, expected) in requests {
        let what = format!("{} {}", request.method(), request.uri());
        let response = sender.send_request(request).await.unwrap();
        let (status, allow, _) = read(response, "allow").await;
        assert_eq!(status, expected, "{what}");
        assert_eq!(allow, if expected == 405 { "GET, POST" } else { "" }, "{what}");
    }
    // An answer is no question, and what has no question is told so in its own language.
    let mut answer = wire("ads.example", "A");
    answer[2] |= 0x80;
    assert_eq!(sender.send_request(post(answer)).await.unwrap().status(), 400);
    let (status, _, body) = read(sender.send_request(post(vec![0; 12])).await.unwrap(), "").await;
    assert_eq!(
        (status, Message::from_vec(&body).unwrap().metadata.response_code),
        (200, ResponseCode::FormErr)
    );
}

#[tokio::test]
async fn only_protocols_of_a_door_are_spoken_and_a_certificate_can_be_exchanged() {
    let mut secure = Secure::start().await;
    assert!(secure.connect(secure.tls, &[]).await.is_ok(), "many clients name none");
    assert!(secure.connect(secure.tls, &["h2"]).await.is_err());
    assert!(secure.connect(secure.https, &["dot"]).await.is_err());
    let mut old = secure.dot().await;
    let (certificate, root) = made();
    secure.bench.certificate.store(Some(certificate));
    assert!(secure.connect(secure.tls, &["dot"]).await.is_err(), "nobody trusts the new one yet");
    secure.root = root;
    secure.serves_others().await;
    send_tcp(&mut old, &wire("ads.example", "A")).await;
    assert_eq!(records(&receive_tcp(&mut old).await), ["A 0.0.0.0"], "connections go on");
    secure.bench.certificate.store(None);
    assert!(secure.connect(secure.tls, &["dot"]).await.is_err());
}

#[test]
fn certificates_that_cannot_work_are_refused() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let other = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let (chain, key) = (cert.pem(), signing_key.serialize_pem());
    let read = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    assert!(read(&chain, &key).unwrap().is_for(NAME));
    assert!(!read(&chain, &key).unwrap().is_for("home.arpa"));
    assert!(matches!(read("", &key), Err(CertificateError::NoCertificate)));
    assert!(matches!(read("<html>", &key), Err(CertificateError::NoCertificate)));
    assert!(matches!(read(&chain[..200], &key), Err(CertificateError::Certificate(_))));
    assert!(matches!(read(&chain, ""), Err(CertificateError::Key(_))));
    assert!(matches!(read(&chain, &chain), Err(CertificateError::Key(_))));
    assert!(matches!(read(&chain, &other.signing_key.serialize_pem()), Err(CertificateError::Unfit(_))));
    assert!(matches!(read(&chain.repeat(17), &key), Err(CertificateError::TooMany)));
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(read(empty, &key), Err(CertificateError::Unfit(_))));
}

/// A connection from another address of the loopback network.
async fn from(client: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(format!("{client}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

/// Whether the other side closes without a word.
async fn is_closed(stream: &mut TcpStream) -> bool {
    timeout(PATIENCE, stream.read(&mut [0; 16])).await.expect("an end in time").unwrap_or(0) == 0
}

#[tokio::test]
async fn whoever_opens_ten_thousand_connections_has_its_share_and_no_more() {
    const MANY: usize = 10_000;
    let secure = Secure::start().await;
    // Half a handshake each: nothing, or the beginning of one.
    let mut held = Vec::new();
    for at in 0..MAX_ENCRYPTED_PER_CLIENT {
        let mut stream = from("127.0.0.2", secure.tls).await;
        stream.write_all(&[0x16, 3, 1, 2, 0, 1][..at % 7]).await.unwrap();
        held.push(stream);
    }
    for at in MAX_ENCRYPTED_PER_CLIENT..MANY {
        let mut stream = from("127.0.0.2", if at % 2 == 0 { secure.tls } else { secure.https }).await;
        assert!(is_closed(&mut stream).await);
        if at % 1000 == 0 {
            secure.serves_others().await;
        }
    }
    let refused = u64::try_from(MANY - MAX_ENCRYPTED_PER_CLIENT).unwrap();
    assert_eq!(secure.bench.handle.stats().refused_connections, refused);
    held.clear();
    // What was held is given back.
    timeout(PATIENCE, async {
        loop {
            let stream = from("127.0.0.2", secure.tls).await;
            if secure.connect_over(stream, &["dot"]).await.is_ok() {
                break;
            }
        }
    })
    .await
    .expect("room again");
}

#[tokio::test]
async fn garbage_in_place_of_a_handshake_ends_the_connection() {
    let secure = Secure::start().await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0x16, 3, 1, 0xff, 0xff], &wire("a.example", "A")]
    {
        let mut stream = TcpStream::connect(secure.tls).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("an end in time");
        assert!(rest.len() < 16, "an alert at most");
    }
    let mut stream = secure.dot().await;
    stream.write_all(&[0xff; 300]).await.unwrap();
    assert_eq!(
        timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap_or(0),
        0,
        "too long a query"
    );
    secure.serves_others().await;
}

#[tokio::test]
async fn answers_that_are_not_taken_are_bounded() {
    const REQUESTS: usize = 60;
    let secure = Secure::start().await;
    let mut sender = secure.http2_with(1).await;
    let (_, _, first) =
        read(secure.http2().await.send_request(post(wire("big.example", "TXT"))).await.unwrap(), "").await;
    assert!(first.len() > 10_000);
    let mut responses = Vec::new();
    for _ in 0..REQUESTS {
        responses.push(sender.send_request(post(wire("big.example", "TXT"))).await.unwrap());
    }
    let given = responses.iter().filter(|response| response.status() == 200).count();
    let refused = responses.iter().filter(|response| response.status() == 503).count();
    assert_eq!((given, given + refused), (MAX_UNTAKEN / first.len(), REQUESTS));
    secure.serves_others().await;
    // Who takes some gets more.
    responses.clear();
    timeout(PATIENCE, async {
        while sender.send_request(post(wire("big.example", "TXT"))).await.unwrap().status() != 200 {}
    })
    .await
    .expect("room again");
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// Writes until the other side has enough, at most so many bytes; says how many it took, and the frames it sent.
async fn flood(
    stream: &mut TlsStream<TcpStream>,
    most: usize,
    mut next: impl FnMut() -> Vec<u8>,
) -> (usize, Vec<u8>) {
    let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    stream.write_all(&start).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let written = async {
        let mut written = 0;
        while written < most {
            let bytes = next();
            if writer.write_all(&bytes).await.is_err() || writer.flush().await.is_err() {
                break;
            }
            written += bytes.len();
        }
        written
    };
    let read = async {
        let mut all = Vec::new();
        let _ = reader.read_to_end(&mut all).await;
        all
    };
    timeout(PATIENCE, async { tokio::join!(written, read) }).await.expect("an end in time")
}

fn has_goaway(mut frames: &[u8]) -> bool {
    while let Some((header, rest)) = frames.split_first_chunk::<9>() {
        if header[3] == GOAWAY {
            return true;
        }
        let length = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}

#[tokio::test]
async fn endless_headers_end_the_connection() {
    const MOST: usize = 64 * 1024 * 1024;
    let secure = Secure::start().await;
    let mut stream = secure.connect(secure.https, &["h2"]).await.unwrap();
    let mut first = true;
    // A literal field without indexing, cut into frames that never end (CVE-2024-27316).
    let (written, answer) = flood(&mut stream, MOST, || {
        let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(10);
        if std::mem::take(&mut first) {
            frame(HEADERS, 0, 1, &field)
        } else {
            frame(CONTINUATION, 0, 1, &field)
        }
    })
    .await;
    assert!(written < MOST && has_goaway(&answer), "{written}");
    secure.serves_others().await;
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_end_the_connection() {
    const MOST: usize = 64 * 1024 * 1024;
    let secure = Secure::start().await;
    let mut stream = secure.connect(secure.https, &["h2"]).await.unwrap();
    // GET, https, /dns-query?…: each reset at once (CVE-2023-44487).
    let target = format!("/dns-query?dns={}", BASE64URL_NOPAD.encode(&wire("silent.example", "A")));
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(target.len()).unwrap()];
    block.extend_from_slice(target.as_bytes());
    let mut id = 1;
    let (written, answer) = flood(&mut stream, MOST, || {
        let bytes = [frame(HEADERS, 5, id, &block), frame(RESET, 0, id, &8_u32.to_be_bytes())].concat();
        id += 2;
        bytes
    })
    .await;
    assert!(written < MOST && has_goaway(&answer), "{written}");
    assert!(secure.upstream.asked().0 < 1000, "{:?}", secure.upstream.asked());
    secure.serves_others().await;
}

#[tokio::test]
async fn giant_headers_are_refused() {
    let secure = Secure::start().await;
    let huge = |request: &mut Request<Full<Bytes>>| {
        request.headers_mut().insert("x-huge", "x".repeat(2 * MAX_HTTP_HEADER).parse().unwrap());
    };
    let mut request = post(wire("ads.example", "A"));
    huge(&mut request);
    let refused = match secure.http2().await.send_request(request).await {
        Ok(response) => response.status().as_u16() == 431,
        Err(_) => true,
    };
    assert!(refused);
    let stream = secure.connect(secure.https, &["http/1.1"]).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = post(wire("ads.example", "A"));
    huge(&mut request);
    *request.uri_mut() = "/dns-query".parse().unwrap();
    let refused = match sender.send_request(request).await {
        Ok(response) => response.status().as_u16() == 431,
        Err(_) => true,
    };
    assert!(refused);
    secure.serves_others().await;
}

#[tokio::test]
async fn strangers_get_no_handshake_and_the_rate_of_a_client_holds_over_streams() {
    let secure = Secure::start().await;
    let mut settings = settings(vec![secure.upstream.address]);
    settings.clients[0].net = "127.0.0.1/32".parse().unwrap();
    settings.rate = Some(resolver::Rate { interval: Duration::from_secs(1), burst: 5 });
    settings.listen = vec!["127.0.0.1:0".parse().unwrap()];
    settings.listen_tls = settings.listen.clone();
    settings.listen_https = settings.listen.clone();
    secure.bench.handle.update(settings).await.unwrap();
    assert!(is_closed(&mut from("127.0.0.2", secure.tls).await).await);
    assert!(is_closed(&mut from("127.0.0.2", secure.https).await).await);

    // A handshake counts as a question.
    let mut stream = secure.dot().await;
    for _ in 0..8 {
        send_tcp(&mut stream, &wire("ads.example", "A")).await;
    }
    let mut codes = Vec::new();
    for _ in 0..8 {
        let answer = receive_tcp(&mut stream).await;
        codes.push(answer.metadata.response_code);
        if answer.metadata.response_code == ResponseCode::Refused {
            assert_eq!(extended(&answer).as_deref(), Some("18 too many questions: ask fewer"));
        }
    }
    assert_eq!(codes[..4], [ResponseCode::NoError; 4]);
    assert!(codes.contains(&ResponseCode::Refused), "{codes:?}");
    assert_eq!(secure.bench.ask("ads.example", "A").await.answers.len(), 1, "UDP has its own");
}
