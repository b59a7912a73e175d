//! A server that says exactly the bytes it is told to, and keepers that ask it.

use feeds::{Keeper, Kind, Location, Resolve, Subscription, Web, WebLimits};
use lists::Format;
use model::Timestamp;
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

/// What the server says to a path.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing more, without an end.
    Stall(Vec<u8>),
    /// These bytes, then the last ones again and again.
    Endless(Vec<u8>),
    /// A file with an `ETag`: 304 to whoever has it.
    File { etag: String, body: Vec<u8>, headers: String },
}

/// A server on loopback.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
    pub(crate) says: Arc<Mutex<BTreeMap<String, Say>>>,
    /// The heads of all requests.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::run(None).await
    }

    /// With a certificate for `localhost`; writes its authority to `authority`.
    pub(crate) async fn start_tls(authority: &Path) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(authority, signed.cert.pem()).unwrap();
        let key =
            tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der())
                .unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![signed.cert.der().clone()], key)
            .unwrap();
        Self::run(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn run(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Self { port, is_tls: tls.is_some(), says: Arc::default(), asked: Arc::default() };
        let answering = server.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (answering, tls) = (answering.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answering.answer(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answering.answer(stream).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        self.asked.lock().unwrap().push(head.clone());
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let say = self.says.lock().unwrap().get(&path).cloned();
        match say {
            None => drop(stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await),
            Some(Say::Bytes(bytes)) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.shutdown().await);
            }
            Some(Say::Stall(bytes)) => {
                drop(stream.write_all(&bytes).await);
                drop(stream.flush().await);
                // Until the client goes away.
                while stream.read_u8().await.is_ok() {}
            }
            Some(Say::Endless(bytes)) => {
                let chunk = vec![b'x'; 16 * 1024];
                let mut alive = stream.write_all(&bytes).await.is_ok();
                while alive {
                    alive = stream.write_all(&chunk).await.is_ok();
                }
            }
            Some(Say::File { etag, body, headers }) => {
                let known = head.to_ascii_lowercase().contains(&format!("if-none-match: \"{etag}\""));
                let text = if known {
                    format!("HTTP/1.1 304 Not Modified\r\netag: \"{etag}\"\r\n\r\n")
                } else {
                    format!(
                        "HTTP/1.1 200 OK\r\netag: \"{etag}\"\r\n{headers}content-length: {}\r\n\r\n",
                        body.len()
                    )
                };
                drop(stream.write_all(text.as_bytes()).await);
                if !known {
                    drop(stream.write_all(&body).await);
                }
                drop(stream.shutdown().await);
            }
        }
    }

    pub(crate) fn say(&self, path: &str, say: Say) {
        self.says.lock().unwrap().insert(path.into(), say);
    }

    /// A plain file.
    pub(crate) fn file(&self, path: &str, etag: &str, body: impl Into<Vec<u8>>) {
        self.say(path, Say::File { etag: etag.into(), body: body.into(), headers: String::new() });
    }

    pub(crate) fn url(&self, path: &str) -> Location {
        self.url_of("localhost", path)
    }

    pub(crate) fn url_of(&self, host: &str, path: &str) -> Location {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.port).parse().unwrap()
    }

    pub(crate) fn redirect(&self, path: &str, to: &str) {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        self.say(path, Say::Bytes(head.into_bytes()));
    }

    /// The heads of the requests so far, and forgets them.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// Names on loopback, as many as a test wants; counts its questions.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        self.asked.lock().unwrap().push(host.into());
        let address = match host {
            "localhost" => Ok(vec![[127, 0, 0, 1].into()]),
            "other.test" => Ok(vec![[127, 0, 0, 1].into()]),
            "nowhere.test" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such name")),
        };
        Box::pin(std::future::ready(address))
    }
}

pub(crate) const LIMITS: WebLimits = WebLimits {
    connect: Duration::from_secs(5),
    idle: Duration::from_millis(300),
    total: Duration::from_secs(20),
};

pub(crate) fn web() -> Web {
    Web::new(Arc::new(Names::default()), LIMITS)
}

pub(crate) fn addresses(location: Location) -> Subscription {
    let kind = Kind::Addresses { format: Format::Auto, min_score: None };
    Subscription { insecure: true, private: true, ..Subscription::new("list", kind, location) }
}

pub(crate) fn keeper(folder: &Path, subscription: Subscription) -> Keeper {
    Keeper::open(folder.join("feeds"), [subscription], web(), 7, at(0)).unwrap()
}

/// So many minutes after some point in time.
pub(crate) fn at(minutes: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + minutes * 60)
}

/// What is in force.
pub(crate) fn in_force(keeper: &Keeper) -> Option<String> {
    keeper.file("list").map(|file| String::from_utf8(std::fs::read(file).unwrap()).unwrap())
}
