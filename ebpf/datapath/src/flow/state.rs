//! How a flow comes to be assured and how it ends, by what is seen of both ways at one interface: what comes in
//! ([`incoming`]) and what leaves ([`outgoing`]).
//!
//! A TCP connection is assured by its third packet, which has to acknowledge the sequence number of the SYN-ACK: who
//! only pretends to be the source has never seen it. Everything else is assured by a first answer.
//!
//! Idle times are never shorter than conntrack's own defaults, but for TCP (RFC 5382 asks for 2 h 4 min, conntrack keeps
//! five days): a TCP packet without an entry opens nothing and is left to conntrack. Elsewhere an entry that goes early
//! would have a reply judged as a new flow.

use abi::{
    Action, FLOW_ANSWERED, FLOW_BYPASS, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FlowValue, INSPECT_BUDGET,
    STATE_ANSWERED, STATE_ASSURED, STATE_CLOSED, STATE_CLOSING, STATE_NEW, ZONE_INSPECT, ZONE_LOOSE,
    idle_units,
};

use crate::parse::{ACK, FIN, ICMP, ICMPV6, Packet, RST, SYN, TCP, UDP};

/// A TCP connection with data (RFC 5382 REQ-5: at least 2 h 4 min).
const TCP_ESTABLISHED: u16 = idle_units(7440);
/// A TCP connection that is being opened, and one whose end was seen.
const TCP_OTHER: u16 = idle_units(120);
/// UDP with answers (RFC 4787 REQ-5: at least 2 min), and where answers are awaited.
const UDP_ANSWERED: u16 = idle_units(180);
/// UDP without answers.
const UDP_ALONE: u16 = idle_units(30);
/// An echo request (RFC 5508 REQ-2 asks for at least 60 s).
const ECHO: u16 = idle_units(60);

/// How far the acknowledgement of the third packet may be ahead of the SYN-ACK: a server with TCP Fast Open sends an
/// initial window (RFC 6928) before it. One blind guess in 290,000 hits.
const ACKNOWLEDGED_AHEAD: u32 = 14_600;

/// The time without packets after which an entry is over, as units of [`FlowValue::idle`].
#[inline(always)]
pub(crate) const fn idle_for(value: &FlowValue, protocol: u8) -> u16 {
    match protocol {
        TCP if value.state == STATE_ASSURED || is_loose(value) => TCP_ESTABLISHED,
        TCP => TCP_OTHER,
        UDP if value.flags & (FLOW_ANSWERED | FLOW_REPLY) != 0 => UDP_ANSWERED,
        UDP => UDP_ALONE,
        ICMP | ICMPV6 => ECHO,
        _ => UDP_ANSWERED,
    }
}

/// The end of the connection was seen.
#[inline(always)]
pub(crate) const fn is_closed(value: &FlowValue) -> bool {
    matches!(value.state, STATE_CLOSED | STATE_CLOSING)
}

/// What an incoming packet shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Nothing unusual.
    Usual,
    /// A TCP connection goes on whose answers never left here.
    HalfSeen,
}

/// A packet of the entry's tuple came in at a zone with these flags.
#[inline(always)]
pub(crate) fn incoming(value: &mut FlowValue, protocol: u8, packet: &Packet, zone: u32) -> Watch {
    let is_answer = value.flags & FLOW_REPLY != 0;
    value.tcp_flags |= packet.tcp_flags;
    let mut watch = Watch::Usual;
    if protocol != TCP {
        if is_answer && value.state == STATE_NEW {
            value.state = STATE_ASSURED;
        }
    } else if packet.tcp_flags & (FIN | RST) != 0 {
        close(value, packet.tcp_flags);
    } else if packet.tcp_flags & SYN != 0 {
        let awaited = value.flags & (FLOW_REPLY | FLOW_TAUGHT) != 0;
        if awaited && packet.tcp_flags & ACK != 0 && matches!(value.state, STATE_NEW | STATE_ANSWERED) {
            value.state = STATE_ANSWERED;
            value.isn = packet.sequence;
        }
    } else if value.state == STATE_ANSWERED && !is_answer {
        if acknowledges(value, packet) {
            value.state = STATE_ASSURED;
        }
    } else if value.state == STATE_NEW && !is_answer {
        let is_middle = value.flags & FLOW_TAUGHT != 0;
        if is_middle && value.flags & FLOW_ANSWERED != 0 {
            value.state = STATE_ASSURED;
        } else if zone & ZONE_LOOSE == 0 && !is_middle {
            watch = Watch::HalfSeen;
        }
    }
    settle(value, protocol, zone);
    watch
}

/// A packet that answers the entry's tuple left at a zone with these flags.
#[inline(always)]
pub(crate) fn outgoing(value: &mut FlowValue, protocol: u8, packet: &Packet, zone: u32) {
    let is_answer = value.flags & FLOW_REPLY == 0;
    value.flags |= FLOW_ANSWERED;
    if protocol != TCP {
        if is_answer && value.state == STATE_NEW {
            value.state = STATE_ASSURED;
        }
    } else if packet.tcp_flags & (FIN | RST) != 0 {
        close(value, packet.tcp_flags);
    } else if packet.tcp_flags & SYN != 0 {
        if is_answer && packet.tcp_flags & ACK != 0 && matches!(value.state, STATE_NEW | STATE_ANSWERED) {
            value.state = STATE_ANSWERED;
            value.isn = packet.sequence;
        }
    } else if value.state == STATE_ANSWERED && !is_answer && acknowledges(value, packet) {
        value.state = STATE_ASSURED;
    }
    settle(value, protocol, zone);
}

#[inline(always)]
const fn close(value: &mut FlowValue, tcp_flags: u8) {
    value.state = match value.state {
        STATE_ASSURED | STATE_CLOSING if tcp_flags & RST == 0 => STATE_CLOSING,
        _ => STATE_CLOSED,
    };
}

#[inline(always)]
const fn acknowledges(value: &FlowValue, packet: &Packet) -> bool {
    packet.acknowledged.wrapping_sub(value.isn.wrapping_add(1)) < ACKNOWLEDGED_AHEAD
}

/// A connection that goes on though only one way of it is seen: weak, but it stands.
#[inline(always)]
const fn is_loose(value: &FlowValue) -> bool {
    value.state == STATE_NEW && value.tcp_flags & ACK != 0 && value.flags & FLOW_FAST != 0
}

/// Sets what follows from the state.
#[inline(always)]
fn settle(value: &mut FlowValue, protocol: u8, zone: u32) {
    if may_be_fast(value, protocol, zone) {
        value.flags |= FLOW_FAST;
    } else {
        value.flags &= !FLOW_FAST;
    }
    value.idle = idle_for(value, protocol);
}

/// Packets that neither open nor close change nothing of the entry, and none is to be copied.
#[inline(always)]
pub(crate) const fn may_be_fast(value: &FlowValue, protocol: u8, zone: u32) -> bool {
    let steady = match protocol {
        TCP => {
            value.state == STATE_ASSURED
                || (value.state == STATE_NEW
                    && zone & ZONE_LOOSE != 0
                    && value.tcp_flags & ACK != 0
                    && value.flags & (FLOW_REPLY | FLOW_ANSWERED) == 0)
        }
        UDP => value.state == STATE_ASSURED || (value.state == STATE_NEW && value.flags & FLOW_REPLY == 0),
        _ => false,
    };
    steady && value.action == Action::Pass as u8 && !is_inspected(value, zone)
}

/// Packets of this way are still to be copied for inspection.
#[inline(always)]
pub(crate) const fn is_inspected(value: &FlowValue, zone: u32) -> bool {
    value.flags & (FLOW_REPLY | FLOW_TAUGHT | FLOW_BYPASS) == 0
        && zone & ZONE_INSPECT != 0
        && value.copied < INSPECT_BUDGET
}
