//! DNS over TLS and over HTTPS: whose certificate is believed, and how connections are used.

use crate::fake::*;
use hickory_proto::{op::Message, rr::RecordType};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use resolver::upstream::{Clock, Roots, Server, Trouble, UpstreamSettings, Upstreams};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
    server::TlsStream,
};

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "tests");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn root(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    fn server(&self, names: &[&str], expired: bool, protocol: &[u8]) -> TlsAcceptor {
        let mut params =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        if expired {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = if protocol.is_empty() { Vec::new() } else { vec![protocol.to_vec()] };
        TlsAcceptor::from(Arc::new(config))
    }
}

struct Running {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of a connection after so many answers.
#[derive(Clone, Copy)]
enum End {
    Closed(usize),
    /// Open, but nothing comes any more.
    Silent(usize),
    Never,
}

/// Listens, and gives each connection its number and the counter of questions.
async fn over<F>(
    acceptor: TlsAcceptor,
    carry: impl Fn(TlsStream<TcpStream>, usize, Arc<AtomicUsize>) -> F + Clone + Send + 'static,
) -> Running
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connections, asked): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let task = {
        let (connections, asked) = (Arc::clone(&connections), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, carry) = (acceptor.clone(), carry.clone());
                let (connections, asked) = (Arc::clone(&connections), Arc::clone(&asked));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    carry(stream, connections.fetch_add(1, SeqCst) + 1, asked).await;
                });
            }
        })
    };
    Running { address, connections, asked, task }
}

/// Over TLS. Answers carry the number of the connection.
async fn over_tls(acceptor: TlsAcceptor, end: End) -> Running {
    over(acceptor, move |mut stream, number, asked| async move {
        let answers = match end {
            End::Closed(answers) | End::Silent(answers) => answers,
            End::Never => usize::MAX,
        };
        for _ in 0..answers {
            let Ok(length) = stream.read_u16().await else { return };
            assert_eq!(length % 128, 0, "padded");
            let mut query = vec![0; length.into()];
            stream.read_exact(&mut query).await.unwrap();
            asked.fetch_add(1, SeqCst);
            let answer = positive(&Message::from_vec(&query).unwrap(), u8::try_from(number).unwrap());
            stream.write_all(&frame(&bytes(&answer))).await.unwrap();
            stream.flush().await.unwrap();
        }
        if matches!(end, End::Silent(_)) {
            std::future::pending::<()>().await;
        }
        let _ = stream.shutdown().await;
    })
    .await
}

/// Over HTTPS, with such a status and kind of content. The last parts of answers are 7.
async fn over_https(acceptor: TlsAcceptor, end: End, status: u16, kind: &'static str) -> Running {
    over(acceptor, move |stream, _, asked| async move {
        let carried = AtomicUsize::new(0);
        let service = service_fn(move |request: Request<Incoming>| {
            asked.fetch_add(1, SeqCst);
            let carried = carried.fetch_add(1, SeqCst);
            async move {
                if matches!(end, End::Silent(answers) if carried >= answers) {
                    std::future::pending::<()>().await;
                }
                assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/dns-query"));
                assert_eq!(request.headers()["content-type"], "application/dns-message");
                let query = request.into_body().collect().await.unwrap().to_bytes();
                let query = Message::from_vec(&query).unwrap();
                assert_eq!(query.metadata.id, 0, "the same for everybody");
                Response::builder()
                    .status(status)
                    .header("content-type", kind)
                    .body(Full::new(Bytes::from(bytes(&positive(&query, 7)))))
            }
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await
}

fn trusting(authority: &Authority, servers: &[String], bootstrap: &[&Fake], clock: Clock) -> Upstreams {
    let settings = UpstreamSettings {
        servers: servers.iter().map(|text| text.parse::<Server>().unwrap()).collect(),
        bootstrap: bootstrap.iter().map(|fake| fake.address).collect(),
        roots: Roots::Only(vec![authority.root()]),
        ..UpstreamSettings::default()
    };
    Upstreams::new(&settings, clock)
}

/// A bootstrap server that knows that everything is on loopback.
async fn bootstrap() -> Fake {
    Fake::start(|query, _| {
        let asked = &query.queries[0];
        let mut answer = empty(query, hickory_proto::op::ResponseCode::NoError);
        if asked.query_type == RecordType::A {
            let here = hickory_proto::rr::RData::A(Ipv4Addr::LOCALHOST.into());
            answer.add_answer(hickory_proto::rr::Record::from_rdata(asked.name.clone(), 300, here));
        }
        vec![bytes(&answer)]
    })
    .await
}

fn unset() -> Clock {
    Arc::new(|| None)
}

#[tokio::test]
async fn over_tls_with_a_name_that_is_resolved_once() {
    let (authority, names) = (Authority::new(), bootstrap().await);
    let server = over_tls(authority.server(&["dns.example"], false, b""), End::Never).await;
    let spelling = format!("tls://dns.example:{}", server.address.port());
    let upstreams = trusting(&authority, std::slice::from_ref(&spelling), &[&names], clock());
    let asks = (0..20).map(|number| {
        let upstreams = upstreams.clone();
        async move { ask(&upstreams, &format!("n{number}.example."), RecordType::A).await }
    });
    for answered in futures_util::future::join_all(asks).await {
        let answered = answered.unwrap();
        assert_eq!((lasts(&answered), &*answered.upstream), (vec![1], spelling.as_str()));
    }
    assert_eq!((server.connections.load(SeqCst), server.asked.load(SeqCst)), (1, 20));
    assert_eq!(names.asked(), (2, 0), "A and AAAA");
}

#[tokio::test]
async fn a_connection_that_was_closed_is_opened_anew() {
    let authority = Authority::new();
    let server = over_tls(authority.server(&["dns.example"], false, b""), End::Closed(2)).await;
    let spelling = format!("tls://{}#dns.example", server.address);
    let upstreams = trusting(&authority, &[spelling], &[], clock());
    for number in 0..6 {
        let answered = ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap();
        assert_eq!(lasts(&answered), [number / 2 + 1], "question {number}");
    }
    assert_eq!(upstreams.status()[0].failed, 0);
}

#[tokio::test]
async fn certificates_are_checked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let on_loopback = |name: &str| format!("{}#{name}", Ipv4Addr::LOCALHOST);
    for (what, issuer, names, expired, asked_for, believed) in [
        ("its own", &authority, "dns.example", false, on_loopback("dns.example"), [true, true]),
        ("of another name", &authority, "evil.example", false, on_loopback("dns.example"), [false, false]),
        ("of another authority", &other, "dns.example", false, on_loopback("dns.example"), [false, false]),
        ("of the address", &authority, "127.0.0.1", false, "127.0.0.1".into(), [true, true]),
        ("of a name, not the address", &authority, "dns.example", false, "127.0.0.1".into(), [false, false]),
        ("expired", &authority, "dns.example", true, on_loopback("dns.example"), [false, true]),
        (
            "expired, of another name",
            &authority,
            "evil.example",
            true,
            on_loopback("dns.example"),
            [false, false],
        ),
        (
            "expired, of another authority",
            &other,
            "dns.example",
            true,
            on_loopback("dns.example"),
            [false, false],
        ),
    ] {
        let server = over_tls(issuer.server(&[names], expired, b""), End::Never).await;
        let (place, name) =
            asked_for.split_once('#').map_or((asked_for.as_str(), ""), |(place, name)| (place, name));
        let name = if name.is_empty() { String::new() } else { format!("#{name}") };
        let spelling = format!("tls://{place}:{}{name}", server.address.port());
        for (clock, believed) in [clock(), unset()].into_iter().zip(believed) {
            let set = clock().is_some();
            let upstreams = trusting(&authority, std::slice::from_ref(&spelling), &[], clock);
            match ask(&upstreams, "www.example.", RecordType::A).await {
                Ok(_) => assert!(believed, "{what}, clock set: {set}"),
                Err(trouble) => {
                    assert!(!believed, "{what}, clock set: {set}: {trouble}");
                    assert!(trouble.to_string().contains("certificate"), "{what}: {trouble}");
                }
            }
        }
    }
}

#[tokio::test]
async fn over_https_with_one_connection() {
    let (authority, names) = (Authority::new(), bootstrap().await);
    let server = over_https(
        authority.server(&["dns.example"], false, b"h2"),
        End::Never,
        200,
        "application/dns-message",
    )
    .await;
    let spelling = format!("https://dns.example:{}/dns-query", server.address.port());
    let upstreams = trusting(&authority, &[spelling], &[&names], clock());
    let asks = (0..20).map(|number| {
        let upstreams = upstreams.clone();
        async move { ask(&upstreams, &format!("n{number}.example."), RecordType::A).await }
    });
    for answered in futures_util::future::join_all(asks).await {
        assert_eq!(lasts(&answered.unwrap()), [7]);
    }
    assert_eq!((server.connections.load(SeqCst), server.asked.load(SeqCst)), (1, 20));
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_left() {
    let authority = Authority::new();
    let tls = over_tls(authority.server(&["127.0.0.1"], false, b""), End::Silent(2)).await;
    let certificate = authority.server(&["127.0.0.1"], false, b"h2");
    let https = over_https(certificate, End::Silent(2), 200, "application/dns-message").await;
    for (server, spelling) in
        [(&tls, format!("tls://{}", tls.address)), (&https, format!("https://{}/dns-query", https.address))]
    {
        let upstreams = trusting(&authority, std::slice::from_ref(&spelling), &[], clock());
        for number in 0..3 {
            ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap();
        }
        assert_eq!(server.connections.load(SeqCst), 2, "{spelling}");
        assert_eq!(upstreams.status()[0].failed, 1, "{spelling}: one attempt waited in vain");
    }
}

#[tokio::test]
async fn over_https_what_is_no_dns_is_no_answer() {
    let authority = Authority::new();
    for (protocol, status, kind, told) in [
        (&b"h2"[..], 503, "application/dns-message", "HTTP status 503"),
        (b"h2", 200, "text/html", "unreadable answer"),
        (b"", 200, "application/dns-message", "it does not speak HTTP/2"),
    ] {
        let server =
            over_https(authority.server(&["127.0.0.1"], false, protocol), End::Never, status, kind).await;
        let spelling = format!("https://{}/dns-query", server.address);
        let upstreams = trusting(&authority, &[spelling], &[], clock());
        let trouble = ask(&upstreams, "www.example.", RecordType::A).await.unwrap_err();
        assert!(trouble.to_string().contains(told), "{trouble}");
    }
}

#[tokio::test]
async fn a_name_that_nobody_resolves_is_told() {
    let authority = Authority::new();
    let unknown =
        Fake::start(|query, _| vec![bytes(&empty(query, hickory_proto::op::ResponseCode::NXDomain))]).await;
    for (bootstrap, cause) in [
        (&[][..], "there is no bootstrap server"),
        (&[&unknown], "no bootstrap server knows an address of it"),
    ] {
        let upstreams = trusting(&authority, &["tls://dns.example".into()], bootstrap, clock());
        let trouble = ask(&upstreams, "www.example.", RecordType::A).await.unwrap_err();
        let Trouble::Unreachable(told) = &trouble else { panic!("{trouble}") };
        assert!(told.contains(&format!("its name could not be resolved: {cause}")), "{told}");
    }
}

#[tokio::test]
async fn bootstrap_servers_that_are_silent_keep_nobody_from_the_next() {
    let (authority, one, other, names) =
        (Authority::new(), silent().await, silent().await, bootstrap().await);
    let server = over_tls(authority.server(&["dns.example"], false, b""), End::Never).await;
    let spelling = format!("tls://dns.example:{}", server.address.port());
    let upstreams = trusting(&authority, &[spelling], &[&one, &other, &names], clock());
    let answered = ask(&upstreams, "www.example.", RecordType::A).await.unwrap();
    assert_eq!(lasts(&answered), [1]);
}

#[tokio::test]
async fn a_name_that_nobody_resolves_is_not_asked_for_by_everyone() {
    let authority = Authority::new();
    let unknown =
        Fake::start(|query, _| vec![bytes(&empty(query, hickory_proto::op::ResponseCode::NXDomain))]).await;
    let upstreams = trusting(&authority, &["tls://dns.example".into()], &[&unknown], clock());
    for number in 0..5 {
        ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap_err();
    }
    assert_eq!(unknown.asked(), (2, 0), "A and AAAA, once");
}

#[tokio::test]
async fn over_https_a_type_with_a_parameter_is_that_type() {
    let authority = Authority::new();
    let kind = "Application/DNS-Message; charset=utf-8";
    let server = over_https(authority.server(&["127.0.0.1"], false, b"h2"), End::Never, 200, kind).await;
    let upstreams = trusting(&authority, &[format!("https://{}/dns-query", server.address)], &[], clock());
    assert_eq!(lasts(&ask(&upstreams, "www.example.", RecordType::A).await.unwrap()), [7]);
}
