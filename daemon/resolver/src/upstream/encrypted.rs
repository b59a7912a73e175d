//! Upstreams over TLS (RFC 7858) and HTTPS (RFC 8484): whose certificate is checked, whose name the bootstrap servers
//! resolve, and whose connection is kept.

use hickory_proto::{
    op::Message,
    rr::{DNSClass, Name, RData, RecordType},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, body::Bytes, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::TcpStream,
    sync::{Mutex, Notify},
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::{
    Clock,
    attempt::AttemptError,
    health::Health,
    limits::{
        BOOTSTRAP_RETRY, CONNECT_TIMEOUT, MAX_ADDRESSES, MAX_BOOTSTRAP_TTL, MIN_BOOTSTRAP_TTL, UPSTREAM_IDLE,
    },
    plain::Plain,
    question::{Letters, Outgoing, Said},
    settings::{Host, Roots},
    slot::{Held, Lost, Slot},
    stream::Connection,
};

/// What encrypted upstreams have in common.
pub(crate) struct Secrets {
    pub(crate) roots: Roots,
    pub(crate) clock: Clock,
    /// Those who resolve names of upstreams.
    pub(crate) bootstrap: Vec<Plain>,
    /// The one of them that is asked first: the last that knew something.
    first: AtomicUsize,
    /// Made when it is first needed: reading the system's certificates takes a while.
    config: OnceLock<Result<Arc<ClientConfig>, String>>,
}

/// A server asked over TLS.
pub(crate) struct Tls {
    door: Door,
    connection: Slot<Connection>,
}

/// A server asked over HTTPS.
pub(crate) struct Https {
    door: Door,
    target: String,
    connection: Slot<Exchange>,
}

/// An HTTP/2 connection. Dropped when idle.
#[derive(Clone)]
struct Exchange {
    sender: http2::SendRequest<Full<Bytes>>,
    used: Arc<Notify>,
    answers: Arc<AtomicU64>,
}

impl Held for Exchange {
    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    fn answers(&self) -> &Arc<AtomicU64> {
        &self.answers
    }
}

/// How a connection is opened.
struct Door {
    host: Host,
    secrets: Arc<Secrets>,
    known: Mutex<Known>,
    /// The address that is tried first: the last that let us in. One attempt has no time for all of them.
    first: AtomicUsize,
}

/// What is known of the addresses of a name.
#[derive(Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// Until when that is good; none: it is asked for again.
    until: Option<Instant>,
    /// Why there are none.
    trouble: String,
}

impl Secrets {
    pub(crate) fn new(roots: Roots, clock: Clock, bootstrap: &[SocketAddr]) -> Self {
        let bootstrap = bootstrap.iter().map(|&address| Plain::new(address)).collect();
        Self { roots, clock, bootstrap, first: AtomicUsize::new(0), config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, AttemptError> {
        let make = || {
            let mut roots = RootCertStore::empty();
            match &self.roots {
                Roots::System => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
                Roots::Only(certificates) => {
                    roots.add_parsable_certificates(certificates.iter().cloned());
                }
            }
            let provider = Arc::new(ring::default_provider());
            let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| format!("no root certificates: {error}; install ca-certificates"))?;
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Verifier {
                    inner,
                    clock: Arc::clone(&self.clock),
                }))
                .with_no_client_auth();
            Ok(Arc::new(config))
        };
        self.config.get_or_init(make).clone().map_err(AttemptError::Encryption)
    }
}

impl Door {
    fn new(host: Host, secrets: Arc<Secrets>) -> Self {
        Self { host, secrets, known: Mutex::default(), first: AtomicUsize::new(0) }
    }

    async fn open(&self, protocol: Option<&[u8]>) -> Result<TlsStream<TcpStream>, AttemptError> {
        let mut config = self.secrets.config()?;
        if let Some(protocol) = protocol {
            let mut with_protocol = ClientConfig::clone(&config);
            with_protocol.alpn_protocols = vec![protocol.to_vec()];
            config = Arc::new(with_protocol);
        }
        let name = ServerName::try_from(self.host.name.to_string())
            .map_err(|_| AttemptError::Encryption(format!("{} can have no certificate", self.host.name)))?;
        let stream = self.connect().await?;
        let _ = stream.set_nodelay(true);
        TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| AttemptError::Encryption(format!("TLS: {error}")))
    }

    /// To the first address that lets us in.
    async fn connect(&self) -> Result<TcpStream, AttemptError> {
        let mut trouble = io::Error::from(io::ErrorKind::NotFound);
        let addresses = self.addresses().await?;
        for (place, &address) in round(&addresses, &self.first) {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect((address, self.host.port))).await {
                Ok(Ok(stream)) => {
                    self.first.store(place, Relaxed);
                    return Ok(stream);
                }
                Ok(Err(error)) => trouble = error,
                Err(_) => trouble = io::ErrorKind::TimedOut.into(),
            }
        }
        // They may have moved.
        self.known.lock().await.until = None;
        Err(trouble.into())
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, AttemptError> {
        if let Some(address) = self.host.address {
            return Ok(vec![address]);
        }
        let mut known = self.known.lock().await;
        if known.until.is_none_or(|until| until <= Instant::now()) {
            match self.secrets.resolve(&self.host.name).await {
                Ok((addresses, lifetime)) => {
                    (known.addresses, known.until) = (addresses, Some(Instant::now() + lifetime));
                }
                // Better yesterday's address than none; and not everyone who waits for this tries it again.
                Err(trouble) => {
                    (known.trouble, known.until) = (trouble, Some(Instant::now() + BOOTSTRAP_RETRY));
                }
            }
        }
        match known.addresses.as_slice() {
            [] => Err(AttemptError::Name(known.trouble.clone())),
            addresses => Ok(addresses.to_vec()),
        }
    }
}

impl Secrets {
    /// Addresses of a name, and for how long, from the first bootstrap server that knows some. It need not be trusted:
    /// the certificate shows whether they were true.
    async fn resolve(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), String> {
        let name = Name::from_ascii(format!("{name}.")).map_err(|error| error.to_string())?;
        let mut trouble = match self.bootstrap.as_slice() {
            [] => "there is no bootstrap server, give dns.bootstrap one".to_owned(),
            _ => "no bootstrap server knows an address of it".to_owned(),
        };
        for (place, server) in round(&self.bootstrap, &self.first) {
            let (four, six) =
                tokio::join!(address(server, &name, RecordType::A), address(server, &name, RecordType::AAAA));
            let mut addresses = Vec::new();
            let mut lifetime = MAX_BOOTSTRAP_TTL;
            for result in [four, six] {
                match result {
                    Ok(found) => {
                        for (address, ttl) in found {
                            addresses.push(address);
                            lifetime = lifetime.min(ttl);
                        }
                    }
                    Err(error) => trouble = error.to_string(),
                }
            }
            addresses.truncate(MAX_ADDRESSES);
            if !addresses.is_empty() {
                self.first.store(place, Relaxed);
                return Ok((addresses, lifetime.max(MIN_BOOTSTRAP_TTL)));
            }
        }
        Err(trouble)
    }
}

/// All of them with their places, beginning with the `first`. Whoever gives up on one lets the next begin with another.
fn round<'a, T>(all: &'a [T], first: &'a AtomicUsize) -> impl Iterator<Item = (usize, &'a T)> {
    let start = first.load(Relaxed);
    (0..all.len()).filter_map(move |step| {
        let place = start.wrapping_add(step) % all.len();
        first.store(place.wrapping_add(1), Relaxed);
        all.get(place).map(|one| (place, one))
    })
}

async fn address(
    server: &Plain,
    name: &Name,
    qtype: RecordType,
) -> Result<Vec<(IpAddr, Duration)>, AttemptError> {
    let outgoing = Outgoing::new(name, qtype, DNSClass::IN).ok_or(AttemptError::Unreadable)?;
    let mut message = timeout(CONNECT_TIMEOUT, server.ask(&outgoing, &Arc::default()))
        .await
        .map_err(|_| AttemptError::Timeout)??;
    super::scrub::scrub(name, qtype, &mut message).map_err(|_| AttemptError::Unreadable)?;
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    let found = message
        .answers
        .iter()
        .filter_map(|record| Some((address(&record.data)?, Duration::from_secs(record.ttl.into()))));
    Ok(found.collect())
}

impl Tls {
    pub(crate) fn new(host: Host, secrets: Arc<Secrets>) -> Self {
        Self { door: Door::new(host, secrets), connection: Slot::default() }
    }

    pub(crate) async fn ask(
        &self,
        outgoing: &Outgoing,
        health: &Arc<Health>,
    ) -> Result<Message, AttemptError> {
        let open = || async {
            let health = Arc::clone(health);
            Ok(Connection::new(self.door.open(None).await?, move || health.wrong()))
        };
        self.connection.ask(open, |connection| connection.ask(outgoing, true, health)).await
    }
}

impl Https {
    pub(crate) fn new(host: Host, path: Arc<str>, secrets: Arc<Secrets>) -> Self {
        let name = if host.name.contains(':') { format!("[{}]", host.name) } else { host.name.to_string() };
        let target = match host.port {
            443 => format!("https://{name}{path}"),
            port => format!("https://{name}:{port}{path}"),
        };
        Self { door: Door::new(host, secrets), target, connection: Slot::default() }
    }

    pub(crate) async fn ask(
        &self,
        outgoing: &Outgoing,
        health: &Arc<Health>,
    ) -> Result<Message, AttemptError> {
        // The id is 0, so that caches on the way can help (RFC 8484 §4.1); each answer belongs to its request.
        let body = Bytes::from(outgoing.to_bytes(0, true));
        let answer =
            self.connection.ask(|| self.open(), |exchange| self.post(exchange, body.clone())).await?;
        match outgoing.read(0, Letters::Any, &answer) {
            Ok(Said::Answer(message)) => Ok(message),
            Ok(Said::Truncated) | Err(_) => {
                health.wrong();
                Err(AttemptError::Unreadable)
            }
        }
    }

    /// The body of the answer.
    async fn post(&self, mut exchange: Exchange, body: Bytes) -> Result<Bytes, Lost> {
        let broken = |error: hyper::Error| Lost::Broken(AttemptError::Encryption(format!("HTTP: {error}")));
        let kind = "application/dns-message";
        let request = Request::post(&self.target)
            .header("content-type", kind)
            .header("accept", kind)
            .body(Full::new(body))
            .map_err(|error| Lost::Unanswered(AttemptError::Encryption(error.to_string())))?;
        exchange.used.notify_one();
        exchange.sender.ready().await.map_err(broken)?;
        let response = exchange.sender.send_request(request).await.map_err(broken)?;
        if response.status().as_u16() != 200 {
            return Err(Lost::Unanswered(AttemptError::Status(response.status().as_u16())));
        }
        let unreadable = || Lost::Unanswered(AttemptError::Unreadable);
        // Parameters may stand behind it (RFC 9110 §8.3).
        let is_dns =
            response.headers().get("content-type").and_then(|value| value.to_str().ok()).is_some_and(
                |value| value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(kind)),
            );
        if !is_dns {
            return Err(unreadable());
        }
        let body = Limited::new(response.into_body(), usize::from(u16::MAX));
        Ok(body.collect().await.map_err(|_| unreadable())?.to_bytes())
    }

    async fn open(&self) -> Result<Exchange, AttemptError> {
        let stream = self.door.open(Some(b"h2")).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(AttemptError::Encryption("it does not speak HTTP/2".into()));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| AttemptError::Encryption(format!("HTTP: {error}")))?;
        let used = Arc::<Notify>::default();
        let exchange = Exchange { sender, used: Arc::clone(&used), answers: Arc::default() };
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            loop {
                tokio::select! {
                    _ = &mut connection => return,
                    idle = timeout(UPSTREAM_IDLE, used.notified()) => {
                        if idle.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(exchange)
    }
}

/// Checks certificates. Before the clock is set nothing can be said of their dates, all else is checked.
#[derive(Clone)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    clock: Clock,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Verifier")
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |now| self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let mut result = verify(now);
        if (self.clock)().is_some() {
            return result;
        }
        // Leaf, intermediate and root may each want another time.
        for _ in 0..3 {
            let other = match &result {
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before, ..
                })) => not_before.as_secs() + 1,
                Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                    not_after.as_secs().saturating_sub(1)
                }
                _ => break,
            };
            result = verify(UnixTime::since_unix_epoch(Duration::from_secs(other)));
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_up_on_one_lets_the_next_begin_with_another() {
        let first = AtomicUsize::new(0);
        let begins = |tried: usize| {
            round(&["a", "b", "c"], &first).take(tried).map(|(_, one)| *one).collect::<String>()
        };
        assert_eq!(begins(2), "ab", "there is time for two");
        assert_eq!(begins(2), "ca");
        assert_eq!(begins(1), "b");
        first.store(2, Relaxed);
        assert_eq!(begins(3), "cab", "the one that was good before");
        assert_eq!(begins(3), "cab", "all failed: as before");
        assert_eq!(round(&[] as &[u8], &first).count(), 0);
    }
}
