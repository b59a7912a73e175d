//! Minisign signatures (<https://jedisct1.github.io/minisign/>).

use minisign_verify::{PublicKey, Signature};

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The key of the config is none.
    #[error("`public_key` is no minisign public key: {0}")]
    Key(String),
    /// The signature file is none.
    #[error("the signature file is no minisign signature: {0}")]
    File(String),
    /// It is somebody else's, or for another file.
    #[error("the signature does not fit the file and `public_key`: {0}")]
    Wrong(String),
}

/// Whether `key` is a public key.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn key(text: &str) -> Result<PublicKey, SignatureError> {
    PublicKey::from_base64(text.trim()).map_err(|error| SignatureError::Key(error.to_string()))
}

/// Verifies a file. Legacy signatures (not pre-hashed) are refused, as minisign itself does.
pub(crate) fn verify(file: &[u8], signature: &[u8], public_key: &str) -> Result<(), SignatureError> {
    let public_key = key(public_key)?;
    let wrong = |why: &str| SignatureError::File(why.into());
    let signature = str::from_utf8(signature).map_err(|_| wrong("not UTF-8 text"))?;
    let signature = Signature::decode(signature).map_err(|error| SignatureError::File(error.to_string()))?;
    public_key.verify(file, &signature, false).map_err(|error| SignatureError::Wrong(error.to_string()))
}
