//! One file from the web over HTTP/1.1: conditional, bounded in size and time, to addresses that were checked.
//!
//! The host is resolved here and the connection goes to the very address that was checked, so a name that answers
//! differently the second time (DNS rebinding) gains nothing. Every redirect is checked anew. Secrets go to the place
//! that the config names and nowhere else.

use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{self, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use std::{future::Future, io, net::IpAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::{
    fetch::{FetchError, Validators},
    is_public,
    limits::{MAX_ADDRESSES, MAX_HEADER, MAX_REDIRECTS, MAX_VALIDATOR},
    subscription::{Location, Subscription},
};

/// Time limits of one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebLimits {
    /// Until an address is connected, TLS included.
    pub connect: Duration,
    /// Without a byte of the answer.
    pub idle: Duration,
    /// The whole fetch, redirects included.
    pub total: Duration,
}

impl Default for WebLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            total: Duration::from_secs(300),
        }
    }
}

/// Finds the addresses of a host.
pub trait Resolve: Send + Sync {
    /// All addresses of `host`, in the order in which they are to be tried.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// Asks the system (`/etc/hosts`, `/etc/resolv.conf`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(async move {
            Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
        })
    }
}

/// The client.
#[derive(Clone)]
pub struct Web {
    resolver: Arc<dyn Resolve>,
    limits: WebLimits,
    authorities: Arc<RootCertStore>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What is sent along to the place that the config names.
pub(crate) struct Secrets(pub(crate) Vec<(HeaderName, HeaderValue)>);

/// What came back.
pub(crate) enum Answer {
    /// It is what the validators stand for.
    Unchanged,
    /// A body as it was sent.
    Body {
        bytes: Vec<u8>,
        validators: Validators,
        /// The server says that it packed it for the way.
        encoded: bool,
    },
}

/// One file that is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) location: &'a Location,
    pub(crate) subscription: &'a Subscription,
    pub(crate) secrets: &'a Secrets,
    pub(crate) authorities: Option<&'a [u8]>,
    pub(crate) validators: &'a Validators,
    /// Networks and addresses of this router: not public, whatever they are.
    pub(crate) own: &'a [IpNet],
    /// Bytes of the body at most.
    pub(crate) limit: usize,
}

impl Web {
    /// A client with the certificate authorities of this machine.
    #[must_use]
    pub fn new(resolver: Arc<dyn Resolve>, limits: WebLimits) -> Self {
        let mut authorities = RootCertStore::empty();
        authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self { resolver, limits, authorities: Arc::new(authorities) }
    }

    pub(crate) async fn get(&self, wanted: &Wanted<'_>) -> Result<Answer, FetchError> {
        timeout(self.limits.total, self.follow(wanted))
            .await
            .unwrap_or(Err(FetchError::TooSlow { after: self.limits.total }))
    }

    async fn follow(&self, wanted: &Wanted<'_>) -> Result<Answer, FetchError> {
        let mut at = wanted.location.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (response, connection) = self.ask(wanted, &at).await?;
            match response.status() {
                StatusCode::OK => return self.read(response, wanted.limit, connection).await,
                StatusCode::NOT_MODIFIED if !wanted.validators.is_empty() => return Ok(Answer::Unchanged),
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT => {
                    let to = text(response.headers(), &header::LOCATION).unwrap_or_default();
                    at = at.join(to).map_err(FetchError::Redirect)?;
                }
                status => {
                    let wait =
                        text(response.headers(), &header::RETRY_AFTER).and_then(|text| text.parse().ok());
                    return Err(FetchError::Status {
                        status: status.as_u16(),
                        retry_after: wait.map(Duration::from_secs),
                    });
                }
            }
        }
        Err(FetchError::TooManyRedirects)
    }

    async fn ask(
        &self,
        wanted: &Wanted<'_>,
        at: &Location,
    ) -> Result<(Response<Incoming>, Driver), FetchError> {
        if !at.is_tls() && !wanted.subscription.insecure {
            return Err(FetchError::Insecure(at.clone()));
        }
        let addresses = self.addresses(wanted, at).await?;
        let connecting = self.connect(at, &addresses, wanted.authorities);
        let (mut sender, driver) = connecting.await?;
        let mut request = Request::get(at.target())
            .header(header::HOST, at.authority())
            .header(header::USER_AGENT, concat!("secd/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT_ENCODING, "gzip, zstd")
            .header(header::CONNECTION, "close");
        for (name, value) in [
            (header::IF_NONE_MATCH, &wanted.validators.etag),
            (header::IF_MODIFIED_SINCE, &wanted.validators.modified),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if at.same_origin(wanted.location) {
            for (name, value) in &wanted.secrets.0 {
                request = request.header(name, value);
            }
        }
        let request =
            request.body(Empty::<Bytes>::new()).map_err(|error| FetchError::Http(error.to_string()))?;
        let response = timeout(self.limits.idle, sender.send_request(request))
            .await
            .map_err(|_| FetchError::TooSlow { after: self.limits.idle })?
            .map_err(|error| FetchError::Http(chain(&error)))?;
        Ok((response, driver))
    }

    /// The addresses of the host that may be used.
    async fn addresses(&self, wanted: &Wanted<'_>, at: &Location) -> Result<Vec<IpAddr>, FetchError> {
        let host = at.host();
        let found = match at.address() {
            Some(address) => vec![address],
            None => timeout(self.limits.connect, self.resolver.resolve(&host))
                .await
                .map_err(|_| FetchError::TooSlow { after: self.limits.connect })?
                .map_err(|error| FetchError::Unresolved { host: host.clone(), why: error.to_string() })?,
        };
        let may_be_private = wanted.subscription.private && host == wanted.location.host();
        let Some(&first) = found.first() else {
            return Err(FetchError::Unresolved { host, why: "it has no address".into() });
        };
        let usable = |address: &IpAddr| {
            let is_own = wanted.own.iter().any(|net| net.contains(&address.to_canonical()));
            (is_public(*address) && !is_own)
                || (may_be_private && !address.is_multicast() && !address.is_unspecified())
        };
        let addresses: Vec<IpAddr> = found.into_iter().filter(usable).take(MAX_ADDRESSES).collect();
        if addresses.is_empty() {
            return Err(FetchError::NotPublic { host, address: first });
        }
        Ok(addresses)
    }

    async fn connect(
        &self,
        at: &Location,
        addresses: &[IpAddr],
        authorities: Option<&[u8]>,
    ) -> Result<(http1::SendRequest<Empty<Bytes>>, Driver), FetchError> {
        let mut failure = FetchError::TooSlow { after: self.limits.connect };
        for &address in addresses {
            match timeout(self.limits.connect, self.connect_to(at, address, authorities)).await {
                Ok(Ok(connected)) => return Ok(connected),
                Ok(Err(error)) => failure = error,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    async fn connect_to(
        &self,
        at: &Location,
        address: IpAddr,
        authorities: Option<&[u8]>,
    ) -> Result<(http1::SendRequest<Empty<Bytes>>, Driver), FetchError> {
        let failed = |error: io::Error| FetchError::Unreachable { host: at.host(), why: chain(&error) };
        let stream = TcpStream::connect((address, at.port())).await.map_err(failed)?;
        if !at.is_tls() {
            return shake_hands(stream).await;
        }
        let name = ServerName::try_from(at.host())
            .map_err(|error| FetchError::Unreachable { host: at.host(), why: error.to_string() })?;
        let stream = self.tls(authorities)?.connect(name, stream).await.map_err(failed)?;
        shake_hands(stream).await
    }

    fn tls(&self, own: Option<&[u8]>) -> Result<TlsConnector, FetchError> {
        let mut authorities = Arc::clone(&self.authorities);
        if let Some(own) = own {
            let certificates: Vec<_> = CertificateDer::pem_slice_iter(own).filter_map(Result::ok).collect();
            if Arc::make_mut(&mut authorities).add_parsable_certificates(certificates).0 == 0 {
                return Err(FetchError::Authorities("there is no certificate in the file".into()));
            }
        }
        if authorities.is_empty() {
            return Err(FetchError::Authorities(
                "this machine has none; install the package ca-certificates or write `ca_file`".into(),
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| FetchError::Authorities(error.to_string()))?
            .with_root_certificates(authorities)
            .with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        limit: usize,
        _connection: Driver,
    ) -> Result<Answer, FetchError> {
        let encoded =
            match text(response.headers(), &header::CONTENT_ENCODING).map(str::to_ascii_lowercase).as_deref()
            {
                None | Some("" | "identity") => false,
                Some("gzip" | "x-gzip" | "zstd") => true,
                Some(other) => return Err(FetchError::Encoding(other.chars().take(40).collect())),
            };
        let kept = |name| {
            text(response.headers(), &name).filter(|text| text.len() <= MAX_VALIDATOR).map(str::to_owned)
        };
        let validators = Validators { etag: kept(header::ETAG), modified: kept(header::LAST_MODIFIED) };
        let announced =
            text(response.headers(), &header::CONTENT_LENGTH).and_then(|text| text.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(FetchError::TooBig { limit });
        }
        let mut bytes = Vec::with_capacity(announced.unwrap_or_default());
        let mut body = response.into_body();
        loop {
            let frame = timeout(self.limits.idle, body.frame())
                .await
                .map_err(|_| FetchError::TooSlow { after: self.limits.idle })?;
            let Some(frame) = frame else { return Ok(Answer::Body { bytes, validators, encoded }) };
            let frame = frame.map_err(|error| FetchError::Http(chain(&error)))?;
            if let Some(data) = frame.data_ref() {
                if bytes.len() + data.len() > limit {
                    return Err(FetchError::TooBig { limit });
                }
                bytes.extend_from_slice(data);
            }
        }
    }
}

/// The task that drives a connection; it ends with it.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn shake_hands<S>(stream: S) -> Result<(http1::SendRequest<Empty<Bytes>>, Driver), FetchError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| FetchError::Http(chain(&error)))?;
    let driver = tokio::spawn(async move {
        // What goes wrong on the connection, the request reports.
        let _ = connection.await;
    });
    Ok((sender, Driver(driver)))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
