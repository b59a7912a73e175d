//! How long a flow entry stands, by protocol and by what was seen of it.
//!
//! Never shorter than conntrack's own default: an entry that goes early would have a reply judged as a new flow.

use abi::{FLOW_ANSWERED, FLOW_REPLY, FlowValue};

use crate::parse::{ACK, FIN, ICMP, ICMPV6, RST, TCP, UDP};

const SECOND: u64 = 1_000_000_000;
/// A TCP connection with data (RFC 5382 REQ-5: at least 2 h 4 min).
const TCP_ESTABLISHED: u64 = 7440 * SECOND;
/// A TCP connection that is being opened.
const TCP_HALF_OPEN: u64 = 120 * SECOND;
/// A TCP connection whose end was seen.
const TCP_CLOSED: u64 = 120 * SECOND;
/// UDP with answers (RFC 4787 REQ-5: at least 2 min), and where answers are awaited.
const UDP_ANSWERED: u64 = 180 * SECOND;
/// UDP without answers.
const UDP_ALONE: u64 = 30 * SECOND;
/// An echo request (RFC 5508 REQ-2 asks for at least 60 s).
const ECHO: u64 = 60 * SECOND;

/// The time in ns without packets after which an entry is over.
#[inline(always)]
#[must_use]
pub const fn idle_after(value: &FlowValue, protocol: u8) -> u64 {
    match protocol {
        TCP if value.tcp_flags & (FIN | RST) != 0 => TCP_CLOSED,
        TCP if value.tcp_flags & ACK == 0 => TCP_HALF_OPEN,
        TCP => TCP_ESTABLISHED,
        UDP if value.flags & (FLOW_ANSWERED | FLOW_REPLY) != 0 => UDP_ANSWERED,
        UDP => UDP_ALONE,
        ICMP | ICMPV6 => ECHO,
        _ => UDP_ANSWERED,
    }
}

/// The entry stands at `now`. Time that seems to run back (two CPUs) counts as none.
#[inline(always)]
pub(crate) const fn stands(value: &FlowValue, protocol: u8, now: u64) -> bool {
    now.saturating_sub(value.last_seen) <= idle_after(value, protocol)
}

/// The end of the connection was seen this way.
#[inline(always)]
pub(crate) const fn is_closed(value: &FlowValue) -> bool {
    value.tcp_flags & (FIN | RST) != 0
}
