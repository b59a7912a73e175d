//! A rule that runs: what the parser leaves, ready to be matched.

use std::sync::Arc;

use crate::keywords::{
    flow::FlowTest, flowbits::FlowBitOption, packet::PacketTest, payload::PayloadMatch, threshold::Threshold,
};
use crate::ranges::{AddressSet, PortSet};
use crate::syntax::{Action, HeaderProtocol};

/// Bytes a group of payload matches looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Buffer {
    /// The packet's payload or the TCP stream.
    Payload,
    /// The IPv4 header with its options.
    Ipv4Header,
    /// The IPv6 header with its extension headers.
    Ipv6Header,
    /// The TCP header with its options.
    TcpHeader,
    /// The UDP header.
    UdpHeader,
    /// The ICMP header of IPv4.
    Icmpv4Header,
    /// The ICMP header of IPv6.
    Icmpv6Header,
    /// The name asked for in a DNS question, with dots.
    DnsQuery,
}

/// Which way a packet of a flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FlowDirection {
    /// From the side that started the flow.
    ToServer,
    /// To the side that started the flow.
    ToClient,
}

impl FlowDirection {
    /// The other way.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// The word in EVE and in `flow:`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToServer => "to_server",
            Self::ToClient => "to_client",
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::ToServer => 0,
            Self::ToClient => 1,
        }
    }
}

/// The matches of one buffer, in order.
#[derive(Debug)]
pub(crate) struct Part {
    /// What they look at.
    pub buffer: Buffer,
    /// Whether the bytes before the last dot-separated label are looked at with a dot in front (`dotprefix`).
    pub dot_prefix: bool,
    /// The matches.
    pub matches: Vec<PayloadMatch>,
}

/// A rule that runs.
#[derive(Debug)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// Generator id; 1 unless the rule says otherwise.
    pub gid: u32,
    /// Signature id.
    pub sid: u32,
    /// Revision.
    pub rev: u32,
    /// Message.
    pub msg: String,
    /// Class, by its short name.
    pub class: Option<String>,
    /// What the class is called in full; empty without one.
    pub category: String,
    /// 1 is the most severe.
    pub priority: u8,
    /// `metadata:` pairs in order.
    pub metadata: Vec<(String, String)>,
    /// `reference:` pairs in order.
    pub references: Vec<(String, String)>,
    /// Which end is the target of the attack: `src_ip` or `dest_ip`.
    pub target: Option<&'static str>,
    /// The file it comes from.
    pub file: Arc<str>,
    /// Line in that file, from 1.
    pub line: u32,
    pub(crate) protocol: HeaderProtocol,
    pub(crate) source: Arc<AddressSet>,
    pub(crate) source_ports: Arc<PortSet>,
    pub(crate) destination: Arc<AddressSet>,
    pub(crate) destination_ports: Arc<PortSet>,
    pub(crate) both_ways: bool,
    pub(crate) silent: bool,
    pub(crate) flow: FlowTest,
    pub(crate) packet: Vec<PacketTest>,
    pub(crate) flowbits: Vec<FlowBitOption>,
    pub(crate) parts: Vec<Part>,
    pub(crate) threshold: Option<Threshold>,
    /// Looked for in single packets.
    pub(crate) on_packets: bool,
    /// Looked for in reassembled TCP.
    pub(crate) on_stream: bool,
    /// A stream match must begin at the first byte of the stream: it has absolute positions.
    pub(crate) anchored: bool,
    /// Nothing but addresses: judged once for each direction of a flow.
    pub(crate) once_per_direction: bool,
    /// (part, match) of the content that the prefilter looks for.
    pub(crate) fast: Option<(usize, usize)>,
}

impl Rule {
    /// Whether a match cuts the flow.
    #[must_use]
    pub const fn cuts(&self) -> bool {
        match self.action {
            Action::Drop | Action::Reject => true,
            Action::Pass | Action::Alert => false,
        }
    }
}
