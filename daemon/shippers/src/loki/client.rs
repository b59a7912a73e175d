//! One HTTP connection to Loki, kept open between pushes.

use base64::Engine;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::LokiSettings;

/// Time for a push, the connection included.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 * 1024;
/// Characters of an answer that are told.
const MAX_TOLD: usize = 200;
const PATH: &str = "/loki/api/v1/push";

/// Where Loki is: `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    is_tls: bool,
    host: String,
    port: u16,
    authority: String,
}

/// Why a text is no address of Loki.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of Loki; write for example `http://10.1.0.9:3100`")]
pub struct UrlError(String);

impl std::str::FromStr for Url {
    type Err = UrlError;
    fn from_str(text: &str) -> Result<Self, UrlError> {
        let wrong = || UrlError(text.to_owned());
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Ok(Self { is_tls, host, port, authority: authority.to_string() })
    }
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All of it is stored.
    Stored,
    /// It will never be taken as it is; parts of it may be stored. Never send it again.
    Refused(String),
    /// Try again later.
    Later(String),
}

/// Pushes to one Loki.
pub(super) struct Client {
    url: Url,
    tenant: Option<String>,
    authorization: Option<String>,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(settings: &LokiSettings) -> Self {
        let authorization = settings.credentials.as_ref().map(|(user, password)| {
            let plain = format!("{user}:{password}");
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain))
        });
        Self {
            url: settings.url.clone(),
            tenant: settings.tenant.clone(),
            authorization,
            tls: settings.url.is_tls.then(connector).flatten(),
            connection: None,
        }
    }

    /// Pushes one compressed batch.
    pub(super) async fn push(&mut self, body: Bytes) -> Outcome {
        match tokio::time::timeout(TIMEOUT, self.attempt(body)).await {
            Ok(Ok((status, answer))) => judge(status, &answer),
            Ok(Err(why)) => {
                self.connection = None;
                Outcome::Later(format!("{} cannot be reached: {why}", self.url.authority))
            }
            Err(_) => {
                self.connection = None;
                Outcome::Later(format!("{} does not answer within {TIMEOUT:?}", self.url.authority))
            }
        }
    }

    async fn attempt(&mut self, body: Bytes) -> Result<(StatusCode, String), String> {
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await.map_err(|error| error.to_string())?;
        let mut request = Request::post(PATH)
            .header(header::HOST, &self.url.authority)
            .header(header::USER_AGENT, concat!("secd/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::CONTENT_ENCODING, "snappy");
        if let Some(tenant) = &self.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        // An answer that cannot be read to its end leaves a connection that cannot be used again.
        let answer = match Limited::new(response.into_body(), MAX_ANSWER).collect().await {
            Ok(answer) => {
                self.connection = Some(connection);
                String::from_utf8_lossy(&answer.to_bytes()).into_owned()
            }
            Err(error) => error.to_string(),
        };
        Ok((status, answer))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let target = (self.url.host.as_str(), self.url.port);
        let stream = TcpStream::connect(target).await.map_err(|error| error.to_string())?;
        // A push is one write; waiting for more only delays its end.
        let _ = stream.set_nodelay(true);
        if !self.url.is_tls {
            return Self::shake_hands(TokioIo::new(stream)).await;
        }
        let connector = self.tls.as_ref().ok_or("no certificate authorities on this machine")?;
        let name = ServerName::try_from(self.url.host.clone()).map_err(|error| error.to_string())?;
        let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        Self::shake_hands(TokioIo::new(stream)).await
    }

    async fn shake_hands<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, String>
    where
        S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (connection, driver) = handshake(stream).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            // What goes wrong on the connection, the next request reports.
            let _ = driver.await;
        });
        Ok(connection)
    }
}

/// TLS with the certificate authorities of this machine.
fn connector() -> Option<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return None;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(TlsConnector::from(Arc::new(config)))
}

fn judge(status: StatusCode, answer: &str) -> Outcome {
    let told: String = answer.trim().chars().take(MAX_TOLD).flat_map(char::escape_debug).collect();
    let why = format!("Loki answers {status}: {told}");
    match status.as_u16() {
        200..=299 => Outcome::Stored,
        400 | 413 | 415 | 422 => Outcome::Refused(why),
        // Everything else is about now or about this configuration, not about the batch.
        _ => Outcome::Later(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_loki() {
        let url = |text: &str| text.parse::<Url>();
        let plain = url("http://10.1.0.9:3100/").unwrap();
        assert_eq!((plain.is_tls, plain.host.as_str(), plain.port), (false, "10.1.0.9", 3100));
        let tls = url("https://loki.example").unwrap();
        assert_eq!((tls.is_tls, tls.host.as_str(), tls.port), (true, "loki.example", 443));
        assert_eq!(url("http://[fd00::9]:3100").unwrap().host, "fd00::9");
        for wrong in
            ["", "loki", "10.1.0.9:3100", "ftp://x", "http://", "http://a/b", "http://u:p@a", "http://a?b"]
        {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers() {
        let kind = |status: u16| judge(StatusCode::from_u16(status).unwrap(), "why");
        assert_eq!(kind(204), Outcome::Stored);
        for status in [400, 413] {
            assert!(matches!(kind(status), Outcome::Refused(_)), "{status}");
        }
        for status in [301, 401, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(kind(status), Outcome::Later(_)), "{status}");
        }
    }
}
