//! One subscription's file: from the web or from this machine, only if it changed, unpacked and verified.

use base64::Engine;
use hyper::header::{self, HeaderName, HeaderValue};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    LocationError, SignatureError, UnpackError,
    limits::{MAX_AUTHORITIES, MAX_DATABASE, MAX_FETCHED, MAX_SECRET, MAX_SIGNATURE, MAX_UNPACKED},
    signature,
    subscription::{Kind, Location, Subscription},
    unpack::unpack,
    web::{Answer, Secrets, Wanted, Web},
};

/// What a server said of the file, to ask later whether it changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validators {
    /// `ETag`; for a file of this machine its size, time and inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etag: Option<String>,
    /// `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modified: Option<String>,
}

impl Validators {
    pub(crate) fn is_empty(&self) -> bool {
        self.etag.is_none() && self.modified.is_none()
    }
}

/// Why a file could not be had. The last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// `http://` without leave.
    #[error("{0} is not encrypted: write https://, or `insecure = true`")]
    Insecure(Location),
    /// No address.
    #[error("{host} cannot be resolved: {why}")]
    Unresolved {
        /// The host.
        host: String,
        /// What the resolver says.
        why: String,
    },
    /// Only addresses that are not public.
    #[error(
        "{host} has the address {address}, which is this router's own or not public: if it is meant, write `private = true` (a redirect may never lead to such another host)"
    )]
    NotPublic {
        /// The host.
        host: String,
        /// Its first address.
        address: IpAddr,
    },
    /// No connection.
    #[error("{host} cannot be reached: {why}")]
    Unreachable {
        /// The host.
        host: String,
        /// What went wrong.
        why: String,
    },
    /// No usable certificate authorities.
    #[error("certificate authorities: {0}")]
    Authorities(String),
    /// The connection or the answer is broken.
    #[error("the answer is broken: {0}")]
    Http(String),
    /// Not the file.
    #[error("the server answers {status}")]
    Status {
        /// The status.
        status: u16,
        /// When to come again, if it says so.
        retry_after: Option<Duration>,
    },
    /// A redirect to no usable location.
    #[error("a redirect leads astray: {0}")]
    Redirect(LocationError),
    /// More than [`crate::limits::MAX_REDIRECTS`].
    #[error("more redirects than are followed")]
    TooManyRedirects,
    /// More bytes than the limit.
    #[error("the file is larger than {limit} bytes")]
    TooBig {
        /// The limit.
        limit: usize,
    },
    /// A time limit.
    #[error("it took longer than {after:?}")]
    TooSlow {
        /// The limit.
        after: Duration,
    },
    /// An encoding that was not asked for.
    #[error("the answer is encoded as `{0}`, which was not asked for")]
    Encoding(String),
    /// A file of this machine.
    #[error("{}: {why}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The signature does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// No signature could be had.
    #[error("the signature {location}: {why}")]
    NoSignature {
        /// Where it was looked for.
        location: Location,
        /// What went wrong.
        why: String,
    },
}

/// What came of a fetch.
pub(crate) enum Fetched {
    /// It is what the validators stand for.
    Unchanged,
    /// The file, unpacked and verified.
    File { bytes: Vec<u8>, validators: Validators },
}

/// Fetches one subscription's file.
pub(crate) async fn fetch(
    web: &Web,
    subscription: &Subscription,
    validators: &Validators,
    own: &[IpNet],
) -> Result<Fetched, FetchError> {
    let (sent, unpacked) = match subscription.kind {
        Kind::GeoIp => (MAX_DATABASE, MAX_DATABASE),
        Kind::Domains { .. } | Kind::Addresses { .. } | Kind::Rules => (MAX_FETCHED, MAX_UNPACKED),
    };
    let way = Way::open(subscription, own)?;
    if let Some(key) = &subscription.public_key {
        signature::key(key)?;
    }
    let (bytes, validators, encoded) =
        match get(web, subscription, &way, &subscription.location, validators, sent).await? {
            Answer::Unchanged => return Ok(Fetched::Unchanged),
            Answer::Body { bytes, validators, encoded } => (bytes, validators, encoded),
        };
    let signature = match &subscription.public_key {
        None => None,
        Some(key) => Some((key.clone(), signature_of(web, subscription, &way).await?)),
    };
    let bytes = tokio::task::spawn_blocking(move || open(bytes, encoded, unpacked, signature))
        .await
        .map_err(|error| FetchError::Http(error.to_string()))??;
    Ok(Fetched::File { bytes, validators })
}

/// Takes off what the way put on, verifies what the server has, and unpacks that.
fn open(
    bytes: Vec<u8>,
    encoded: bool,
    limit: usize,
    signature: Option<(String, Vec<u8>)>,
) -> Result<Vec<u8>, FetchError> {
    let file = if encoded { unpack(&bytes, limit)? } else { bytes.as_slice().into() };
    if let Some((key, signature)) = signature
        && let Err(error) = signature::verify(&file, &signature, &key)
    {
        // Some servers call a file that is packed on their disk packed for the way: then the signature is for that.
        if !encoded || signature::verify(&bytes, &signature, &key).is_err() {
            return Err(error.into());
        }
    }
    Ok(unpack(&file, limit)?.into_owned())
}

async fn signature_of(web: &Web, subscription: &Subscription, way: &Way<'_>) -> Result<Vec<u8>, FetchError> {
    let location =
        subscription.signature.clone().unwrap_or_else(|| subscription.location.with_suffix(".minisig"));
    let missing = |why: String| FetchError::NoSignature { location: location.clone(), why };
    match get(web, subscription, way, &location, &Validators::default(), MAX_SIGNATURE).await {
        Ok(Answer::Body { bytes, encoded: true, .. }) => {
            Ok(unpack(&bytes, MAX_SIGNATURE).map_err(|error| missing(error.to_string()))?.into_owned())
        }
        Ok(Answer::Body { bytes, encoded: false, .. }) => Ok(bytes),
        Ok(Answer::Unchanged) => Err(missing("the server says it did not change".into())),
        Err(error) => Err(missing(error.to_string())),
    }
}

/// What is read from files before anything is asked for.
struct Way<'a> {
    secrets: Secrets,
    authorities: Option<Vec<u8>>,
    own: &'a [IpNet],
}

impl<'a> Way<'a> {
    fn open(subscription: &Subscription, own: &'a [IpNet]) -> Result<Self, FetchError> {
        let mut secrets = Vec::new();
        if let Some((user, file)) = &subscription.basic {
            let plain = format!("{user}:{}", secret(file)?);
            let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
            secrets.push((header::AUTHORIZATION, sensitive(&format!("Basic {encoded}"), file)?));
        }
        if let Some((name, file)) = &subscription.header {
            let wrong =
                || FetchError::File { file: file.clone(), why: format!("`{name}` is no name of a header") };
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
            secrets.push((name, sensitive(&secret(file)?, file)?));
        }
        let authorities =
            subscription.authorities.as_ref().map(|file| small_file(file, MAX_AUTHORITIES)).transpose()?;
        Ok(Self { secrets: Secrets(secrets), authorities, own })
    }
}

async fn get(
    web: &Web,
    subscription: &Subscription,
    way: &Way<'_>,
    location: &Location,
    validators: &Validators,
    limit: usize,
) -> Result<Answer, FetchError> {
    if let Some(file) = location.file() {
        let validators = validators.clone();
        return tokio::task::spawn_blocking(move || from_disk(&file, &validators, limit))
            .await
            .map_err(|error| FetchError::Http(error.to_string()))?;
    }
    let no_secrets = Secrets(Vec::new());
    let secrets = if location.same_origin(&subscription.location) { &way.secrets } else { &no_secrets };
    let authorities = way.authorities.as_deref();
    let own = way.own;
    web.get(&Wanted { location, subscription, secrets, authorities, validators, own, limit }).await
}

fn from_disk(path: &Path, validators: &Validators, limit: usize) -> Result<Answer, FetchError> {
    let failed = |error: io::Error| FetchError::File { file: path.to_owned(), why: error.to_string() };
    let file = open_regular(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let etag =
        format!("{}-{}.{:09}-{}", metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino());
    if validators.etag.as_ref() == Some(&etag) {
        return Ok(Answer::Unchanged);
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit {
        return Err(FetchError::TooBig { limit });
    }
    let validators = Validators { etag: Some(etag), modified: None };
    Ok(Answer::Body { bytes, validators, encoded: false })
}

/// Opens a regular file; a pipe or device would wait or never end.
fn open_regular(path: &Path) -> io::Result<File> {
    /// `O_NONBLOCK` of Linux on x86-64 and arm64: opening a pipe does not wait for its writer.
    const NONBLOCK: i32 = 0o4000;
    let file = fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

fn small_file(path: &Path, limit: u64) -> Result<Vec<u8>, FetchError> {
    let failed = |why: String| FetchError::File { file: path.to_owned(), why };
    let mut bytes = Vec::new();
    let file = open_regular(path).map_err(|error| failed(error.to_string()))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

fn secret(path: &Path) -> Result<String, FetchError> {
    let bytes = small_file(path, MAX_SECRET)?;
    let text = str::from_utf8(&bytes)
        .map_err(|_| FetchError::File { file: path.to_owned(), why: "not UTF-8 text".into() })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn sensitive(text: &str, path: &Path) -> Result<HeaderValue, FetchError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| FetchError::File {
        file: path.to_owned(),
        why: "it holds characters that no header may have (write the key alone, on one line)".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
