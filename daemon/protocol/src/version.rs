//! Two programs of one package can still be of two versions, for the minute an upgrade takes or for months when one of
//! them was copied by hand. They find out before they misread each other.

use std::fmt;

/// Version of everything in this crate. It is raised when an old peer would misread a new one; a new field that may be
/// left out does not raise it.
pub const API_VERSION: u32 = 1;

/// The header that carries [`API_VERSION`] in both directions.
pub const API_HEADER: &str = "x-secd-api";

/// Who sent the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The daemon: `secctl` looks at a reply.
    Daemon,
    /// The command: `secd` looks at a request.
    Command,
}

/// The two sides speak different versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionMismatch {
    /// Whose version was looked at.
    pub peer: Peer,
    /// The version it sent, if it sent one.
    pub theirs: Option<u32>,
}

impl Peer {
    /// Compares the value of [`API_HEADER`] that this peer sent with our own version.
    ///
    /// The daemon lets a request without the header pass (`curl --unix-socket` is a fine way to look around); the
    /// command does not take a reply without it, since then it talks to something else.
    ///
    /// # Errors
    /// [`VersionMismatch`], whose text says which side is older and what to do.
    pub fn check(self, header: Option<&str>) -> Result<(), VersionMismatch> {
        let theirs = header.and_then(|text| text.trim().parse().ok());
        match (self, header, theirs) {
            (_, _, Some(API_VERSION)) | (Self::Command, None, _) => Ok(()),
            (Self::Command | Self::Daemon, _, _) => Err(VersionMismatch { peer: self, theirs }),
        }
    }
}

impl VersionMismatch {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match (self.peer, self.theirs) {
            (Peer::Daemon, None) => "is --socket the socket of secd?",
            (Peer::Daemon, Some(version)) if version < API_VERSION => {
                "restart the daemon so that it runs the installed version: systemctl restart secd"
            }
            (Peer::Daemon, Some(_)) => "use the secctl that came with the running secd",
            (Peer::Command, _) => {
                "use the secctl that came with the running secd, or restart secd after an upgrade"
            }
        }
    }
}

impl fmt::Display for VersionMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.peer, self.theirs) {
            (Peer::Daemon, Some(theirs)) => {
                write!(f, "secd speaks API version {theirs}, this secctl speaks version {API_VERSION}")
            }
            (Peer::Daemon, None) => write!(f, "what answered is not secd: it names no API version"),
            (Peer::Command, Some(theirs)) => {
                write!(f, "the command speaks API version {theirs}, this secd speaks version {API_VERSION}")
            }
            (Peer::Command, None) => {
                write!(f, "the value of {API_HEADER} is no number; this secd speaks version {API_VERSION}")
            }
        }
    }
}

impl std::error::Error for VersionMismatch {}
