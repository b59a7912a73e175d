//! Programs that work with the decisions of this appliance over its API for CrowdSec's.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A program that enforces elsewhere what is decided here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bouncer {
    /// Its name; there is one of each.
    pub name: ProgramName,
    /// SHA-512 of its key.
    pub key_hash: Vec<u8>,
    /// Since when it is known.
    pub created: Timestamp,
    /// Up to which number of the sequence it has been told, and when; none = it has never pulled.
    pub pulled: Option<(u64, Timestamp)>,
    /// When it pulled last, bans were observed only, and it was told of none.
    pub withheld: bool,
    /// Last sign of it.
    pub last: LastSeen,
}

/// A program that orders bans here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderingMachine {
    /// Its name; there is one of each.
    pub name: ProgramName,
    /// Salt of its password.
    pub salt: Vec<u8>,
    /// PBKDF2 of its password.
    pub password: Vec<u8>,
    /// A person has said that it may order.
    pub validated: bool,
    /// Since when it is known.
    pub created: Timestamp,
    /// Last sign of it.
    pub last: LastSeen,
}

/// The last sign of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSeen {
    /// When; none = never.
    pub at: Option<Timestamp>,
    /// Where it came from; empty = never seen.
    pub address: String,
    /// What it calls itself, `crowdsec-firewall-bouncer/v0.0.25`; at most [`LastSeen::MAX_AGENT`] bytes.
    pub agent: String,
}

impl LastSeen {
    /// Bytes of what a program calls itself.
    pub const MAX_AGENT: usize = 128;
}

/// The name of a bouncer or machine: 1 to [`ProgramName::MAX`] letters, digits and `. _ - @`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramName(Box<str>);

impl ProgramName {
    /// Bytes of the longest.
    pub const MAX: usize = 128;

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ProgramName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if text.is_empty() || text.len() > Self::MAX || !text.bytes().all(fits) {
            return Err(format!("a name has 1 to {} letters, digits and `. _ - @`", Self::MAX));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for ProgramName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ProgramName> for String {
    fn from(name: ProgramName) -> Self {
        name.0.into()
    }
}

impl std::fmt::Display for ProgramName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
