//! How zones find each other's services: mDNS (RFC 6762, RFC 6763) by type of service, and SSDP (UPnP).
//!
//! A reflector lets a household use the printer in another zone. It must not become a way for a device to speak for
//! others, or for a packet to go round for ever:
//!
//! - Only what was chosen goes on: questions for types of services, and the records that one of these consists of. The
//!   rest of what is said on a link stays there.
//! - Who sends must be at home on its link, and announces addresses of its link only. A name is the link's where it was
//!   heard first.
//! - What comes from the router itself is not heard, and what was said a moment ago is not said again, so two
//!   reflectors on the same links do not feed each other.
//! - Rates, tables and sizes are bounded ([`limits`]).
//!
//! Pure: packets and the time come in, packets go out.

mod askers;
mod engine;
pub mod limits;
mod mdns;
mod names;
mod rate;
mod relay;
mod seen;
mod services;
mod ssdp;
#[cfg(test)]
mod tests;
mod wire;

pub use engine::{Group, Link, Reflector};
pub use mdns::MDNS_PORT;
pub use services::{ServiceSet, ServiceType, sets};

use std::{collections::BTreeMap, net::SocketAddr};

/// The port of SSDP.
pub const SSDP_PORT: u16 = 1900;
/// The port that the router searches from, so that a rule can let the replies in: above those that Linux gives out.
pub const SEARCH_PORT: u16 = 61_900;

/// A packet that came in.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'b> {
    /// Number of the link it came on.
    pub link: usize,
    /// What it was sent to.
    pub way: Way,
    /// Who sent it.
    pub source: SocketAddr,
    /// What it says.
    pub bytes: &'b [u8],
}

/// What a packet was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// To everybody, on mDNS's port.
    Mdns,
    /// To everybody, on SSDP's port.
    Ssdp(Scope),
    /// To the router's [`SEARCH_PORT`].
    SsdpReply,
}

/// Which of SSDP's groups (UPnP Device Architecture 1.1 §1.1, §A.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `239.255.255.250`.
    V4,
    /// `ff02::c`.
    LinkV6,
    /// `ff05::c`.
    SiteV6,
}

/// A packet that goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Number of the link.
    pub link: usize,
    /// To whom.
    pub to: To,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// To whom a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Everybody, by mDNS, from [`MDNS_PORT`].
    Mdns {
        /// By IPv6.
        v6: bool,
    },
    /// One who asked by mDNS, from [`MDNS_PORT`].
    Asker(SocketAddr),
    /// Everybody, by SSDP, from [`SEARCH_PORT`].
    Ssdp(Scope),
    /// One who searched by SSDP, from [`SEARCH_PORT`].
    Searcher(SocketAddr),
}

/// Why a packet led to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// It was sent by the router itself.
    Own,
    /// Its source is not at home on the link.
    Elsewhere,
    /// Its source, or its link, sends too much.
    TooOften,
    /// Too many sources send.
    Crowded,
    /// It is no message of its kind, or one beyond the limits.
    Malformed,
    /// It is about nothing that was chosen, or nobody waits for it.
    NotChosen,
    /// It announces a device where others cannot reach it.
    Unreachable,
    /// It was passed on a moment ago.
    Repeated,
}

impl Dropped {
    /// As metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Elsewhere => "elsewhere",
            Self::TooOften => "too_often",
            Self::Crowded => "crowded",
            Self::Malformed => "malformed",
            Self::NotChosen => "not_chosen",
            Self::Unreachable => "unreachable",
            Self::Repeated => "repeated",
        }
    }
}

/// How many packets came, went and were dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came in.
    pub received: u64,
    /// Packets that went out: one that came may go to several links.
    pub sent: u64,
    /// Packets that led to nothing.
    pub dropped: BTreeMap<Dropped, u64>,
}
