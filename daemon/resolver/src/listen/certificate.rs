//! The certificate by which clients of encrypted connections know this resolver.

use arc_swap::ArcSwapOption;
use std::{fmt, sync::Arc};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        client::verify_server_name,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::{ClientHello, ParsedCertificate, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

use crate::limits::MAX_CHAIN;

/// A certificate with those above it, and its key.
#[derive(Clone)]
pub struct Certificate(Arc<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Certificate of {} in its chain", self.0.cert.len())
    }
}

/// Why a certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No certificate in the text.
    #[error("there is no certificate in it: PEM begins with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// Too many certificates.
    #[error("it has more than {MAX_CHAIN} certificates")]
    TooMany,
    /// The text is broken.
    #[error("the certificate is no PEM: {0}")]
    Certificate(String),
    /// The key is broken or not there.
    #[error("the key is no private key in PEM: {0}")]
    Key(String),
    /// They do not belong together, or are of a kind that is not known.
    #[error("certificate and key cannot be used: {0}")]
    Unfit(rustls::Error),
}

impl Certificate {
    /// From PEM: the certificate, then those above it; the key.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(chain) {
            if certificates.len() == MAX_CHAIN {
                return Err(CertificateError::TooMany);
            }
            certificates.push(certificate.map_err(|error| CertificateError::Certificate(error.to_string()))?);
        }
        let leaf = certificates.first().ok_or(CertificateError::NoCertificate)?;
        ParsedCertificate::try_from(leaf).map_err(CertificateError::Unfit)?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        let certified = CertifiedKey::from_der(certificates, key, &ring::default_provider());
        certified.map(|certified| Self(Arc::new(certified))).map_err(CertificateError::Unfit)
    }

    /// Whether it is for this name or address.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let parsed = self.0.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
        let name = ServerName::try_from(name).ok();
        parsed.zip(name).is_some_and(|(parsed, name)| verify_server_name(&parsed, &name).is_ok())
    }
}

/// The certificate of the moment: a new one holds from the next handshake on.
struct Current(Arc<ArcSwapOption<Certificate>>);

impl fmt::Debug for Current {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.load().fmt(formatter)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|certificate| Arc::clone(&certificate.0))
    }
}

/// Lets clients in by TLS that speak one of these protocols, or name none.
///
/// # Errors
/// The library cannot be used so.
pub(super) fn acceptor(
    certificate: &Arc<ArcSwapOption<Certificate>>,
    protocols: &[&[u8]],
) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Current(Arc::clone(certificate))));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Clients come back often: what they need for a shorter handshake they keep themselves.
    config.ticketer = ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
