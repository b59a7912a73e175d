//! Passwords of machines, and the tokens they are given for them (RFC 7519, HMAC with SHA-256).

use data_encoding::BASE64URL_NOPAD;
use model::Timestamp;
use ring::{
    hmac,
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
};
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

use crate::limits::{PASSWORD_ROUNDS, TOKEN_LIFE};

/// Bytes of a password's hash and of its salt.
const HASH: usize = 32;

fn rounds() -> NonZeroU32 {
    NonZeroU32::new(PASSWORD_ROUNDS).unwrap_or(NonZeroU32::MIN)
}

/// The hash of a password. Takes tens of milliseconds.
pub(crate) fn hash(password: &str, salt: &[u8]) -> Vec<u8> {
    let mut hash = vec![0; HASH];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds(), salt, password.as_bytes(), &mut hash);
    hash
}

/// Whether this is the password. Takes as long for a wrong one as for a right one.
pub(crate) fn is_password(tried: &str, salt: &[u8], hash: &[u8]) -> bool {
    pbkdf2::verify(PBKDF2_HMAC_SHA256, rounds(), salt, tried.as_bytes(), hash).is_ok()
}

/// What makes tokens and knows them again. Those of an earlier run are good no more: machines log in again then.
pub(crate) struct Tokens(hmac::Key);

/// What a token says.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    exp: i64,
    id: String,
    orig_iat: i64,
}

#[derive(Deserialize)]
struct Head {
    alg: String,
}

const HEAD: &[u8] = br#"{"alg":"HS256","typ":"JWT"}"#;

impl Tokens {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }

    /// A token for a machine, and until when it is good.
    pub(crate) fn make(&self, machine: &str, now: Timestamp) -> (String, Timestamp) {
        let until = now.plus(TOKEN_LIFE);
        let claims = Claims { exp: until.seconds(), id: machine.to_owned(), orig_iat: now.seconds() };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(HEAD), BASE64URL_NOPAD.encode(&claims));
        let mark = hmac::sign(&self.0, signed.as_bytes());
        (format!("{signed}.{}", BASE64URL_NOPAD.encode(mark.as_ref())), until)
    }

    /// The machine a token is for.
    ///
    /// # Errors
    /// Why it is not good.
    pub(crate) fn machine(&self, token: &str, now: Timestamp) -> Result<String, &'static str> {
        let wrong = "token contains an invalid number of segments";
        let (signed, mark) = token.rsplit_once('.').ok_or(wrong)?;
        let (head, claims) = signed.split_once('.').ok_or(wrong)?;
        let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| "token is malformed");
        let head: Head = serde_json::from_slice(&decode(head)?).map_err(|_| "token is malformed")?;
        if head.alg != "HS256" {
            return Err("invalid signing algorithm");
        }
        hmac::verify(&self.0, signed.as_bytes(), &decode(mark)?).map_err(|_| "signature is invalid")?;
        let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| "token is malformed")?;
        // A clock that was set back must not make it last.
        if !(claims.orig_iat..claims.exp).contains(&now.seconds()) {
            return Err("Token is expired");
        }
        Ok(claims.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

    #[test]
    fn a_password_is_known_by_its_hash() {
        let held = hash("secret", b"salt");
        assert!(is_password("secret", b"salt", &held));
        assert!(!is_password("Secret", b"salt", &held) && !is_password("secret", b"sale", &held));
    }

    #[test]
    fn a_token_is_good_for_its_time_and_from_here_only() {
        let tokens = Tokens::new([7; 32]);
        let (token, until) = tokens.make("agent-1", NOW);
        assert_eq!(tokens.machine(&token, NOW), Ok("agent-1".to_owned()));
        assert_eq!(tokens.machine(&token, until), Err("Token is expired"));
        assert_eq!(tokens.machine(&token, Timestamp(NOW.0 - 1_000_000)), Err("Token is expired"));
        assert_eq!(Tokens::new([8; 32]).machine(&token, NOW), Err("signature is invalid"));
        let parts: Vec<_> = token.split('.').collect();
        let other = BASE64URL_NOPAD.encode(br#"{"exp":9999999999,"id":"other","orig_iat":0}"#);
        assert_eq!(
            tokens.machine(&format!("{}.{other}.{}", parts[0], parts[2]), NOW),
            Err("signature is invalid")
        );
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#);
        assert_eq!(tokens.machine(&format!("{none}.{other}."), NOW), Err("invalid signing algorithm"));
        for wrong in ["", ".", "..", "a.b.c", "a", "ä.ö.ü"] {
            assert!(tokens.machine(wrong, NOW).is_err(), "{wrong}");
        }
    }
}
