//! TLS of syslog listeners (RFC 5425): the certificate, read again when its files change.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::config::Tls;
use crate::limits::MAX_SECRET;

/// Certificates of a chain, or authorities in a file.
const MAX_CERTIFICATES: usize = 64;

/// Makes acceptors of the files as they are.
#[derive(Debug)]
pub(crate) struct Acceptors {
    tls: Tls,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    stamps: Option<[Option<Stamp>; 3]>,
    good: Option<TlsAcceptor>,
    error: Option<String>,
}

impl std::fmt::Debug for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Last")
            .field("stamps", &self.stamps)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// What tells one content of a path from another: device, file, time of change, bytes.
type Stamp = (u64, u64, i64, i64, u64);

impl Acceptors {
    pub(crate) fn new(tls: Tls) -> Self {
        Self { tls, last: Mutex::default() }
    }

    /// The acceptor to use, and what is wrong with the files: then it is the last good one, or none. Reads files.
    pub(crate) fn current(&self) -> (Option<TlsAcceptor>, Option<String>) {
        let files = [Some(&self.tls.chain), Some(&self.tls.key), self.tls.client_ca.as_ref()];
        let stamps = files.map(|path| stamp(path?));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.stamps != Some(stamps) {
            last.stamps = Some(stamps);
            match acceptor(&self.tls) {
                Ok(acceptor) => (last.good, last.error) = (Some(acceptor), None),
                Err(error) => {
                    let instead = match last.good.is_some() {
                        true => "the last good one is used",
                        false => "nobody can send",
                    };
                    last.error = Some(format!("the certificate cannot be used, {instead}: {error}"));
                }
            }
        }
        (last.good.clone(), last.error.clone())
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.len()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let reading = File::open(path).and_then(|file| file.take(MAX_SECRET + 1).read_to_end(&mut bytes));
    reading.map_err(|error| format!("{}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_SECRET {
        return Err(format!("{} has more than {MAX_SECRET} bytes", path.display()));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let bytes = read(path)?;
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        if found.len() == MAX_CERTIFICATES {
            return Err(wrong(&format!("it has more than {MAX_CERTIFICATES} certificates")));
        }
        found.push(certificate.map_err(|error| wrong(&error))?);
    }
    if found.is_empty() { Err(wrong(&"there is no certificate in it, in PEM")) } else { Ok(found) }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(ring::default_provider());
    let clients: Arc<dyn ClientCertVerifier> = match &tls.client_ca {
        None => Arc::new(NoClientAuth),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
            verifier.map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let chain = certificates(&tls.chain)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key)?)
        .map_err(|error| format!("{}: {error}", tls.key.display()))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
