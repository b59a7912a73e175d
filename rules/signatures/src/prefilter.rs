//! Finds the few rules that can match some bytes, before any is matched in full.
//!
//! Rules stand in groups by what they look at: packets of one protocol and direction, one direction of TCP streams, or
//! DNS questions. Each group searches for one content of each of its rules at once (Aho-Corasick); rules without a
//! content to search for are candidates for everything in their group.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind, StartKind};

use crate::decode::Packet;
use crate::keywords::packet::PacketTest;
use crate::keywords::payload::PayloadMatch;
use crate::rule::{Buffer, FlowDirection, Rule};
use crate::syntax::HeaderProtocol;

/// What the rules of a group look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKey {
    Packet(Transport, FlowDirection),
    Stream(FlowDirection),
    Dns(FlowDirection),
}

/// Protocols by which packets are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Icmp,
    IcmpV6,
    Other,
}

impl Transport {
    pub(crate) const fn of(protocol: u8, is_v4: bool) -> Self {
        match (protocol, is_v4) {
            (6, _) => Self::Tcp,
            (17, _) => Self::Udp,
            (1, true) => Self::Icmp,
            (58, false) => Self::IcmpV6,
            _ => Self::Other,
        }
    }
}

const GROUPS: usize = 14;

impl GroupKey {
    const fn index(self) -> usize {
        match self {
            Self::Packet(transport, direction) => transport as usize * 2 + direction.index(),
            Self::Stream(direction) => 10 + direction.index(),
            Self::Dns(direction) => 12 + direction.index(),
        }
    }
}

/// All groups of a rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    groups: Vec<Group>,
}

/// One group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    automaton: Option<AhoCorasick>,
    /// Rules of each pattern: `owners[starts[p]..starts[p + 1]]`.
    starts: Vec<u32>,
    owners: Vec<u32>,
    /// Rules without a pattern, in batches that share their first test of the packet.
    always: Vec<(Option<PacketTest>, Vec<u32>)>,
    /// Rules judged once for each direction of a flow.
    pub once: Vec<u32>,
    /// Bytes of the longest pattern.
    pub longest: usize,
}

impl Prefilter {
    pub(crate) fn new(rules: &[std::sync::Arc<Rule>]) -> Result<Self, aho_corasick::BuildError> {
        let mut patterns: Vec<Vec<(Vec<u8>, u32)>> = vec![Vec::new(); GROUPS];
        let mut groups: Vec<Group> = std::iter::repeat_with(Group::default).take(GROUPS).collect();
        for (index, rule) in (0_u32..).zip(rules) {
            for key in keys(rule) {
                let group = &mut groups[key.index()];
                if rule.once_per_direction {
                    group.once.push(index);
                } else if let Some(bytes) = pattern(rule, key) {
                    patterns[key.index()].push((bytes, index));
                } else {
                    let test = rule.packet.first();
                    match group.always.iter_mut().find(|(shared, _)| shared.as_ref() == test) {
                        Some((_, rules)) => rules.push(index),
                        None => group.always.push((test.cloned(), vec![index])),
                    }
                }
            }
        }
        for (group, mut list) in groups.iter_mut().zip(patterns) {
            list.sort_unstable();
            let mut distinct: Vec<Vec<u8>> = Vec::new();
            for (bytes, index) in list {
                if distinct.last() != Some(&bytes) {
                    group.longest = group.longest.max(bytes.len());
                    group.starts.push(u32::try_from(group.owners.len()).unwrap_or(u32::MAX));
                    distinct.push(bytes);
                }
                group.owners.push(index);
            }
            group.starts.push(u32::try_from(group.owners.len()).unwrap_or(u32::MAX));
            if !distinct.is_empty() {
                // Small groups get a table of states; large ones the compact form.
                let kind =
                    if distinct.len() <= 64 { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
                let automaton = AhoCorasick::builder()
                    .kind(Some(kind))
                    .start_kind(StartKind::Unanchored)
                    .match_kind(MatchKind::Standard)
                    .ascii_case_insensitive(true)
                    .prefilter(false)
                    .build(&distinct)?;
                group.automaton = Some(automaton);
            }
        }
        Ok(Self { groups })
    }

    /// For no rules.
    pub(crate) fn empty() -> Self {
        Self { groups: std::iter::repeat_with(Group::default).take(GROUPS).collect() }
    }

    pub(crate) fn group(&self, key: GroupKey) -> &Group {
        &self.groups[key.index()]
    }

    /// Bytes of all automata.
    pub(crate) fn memory(&self) -> usize {
        self.groups.iter().filter_map(|group| group.automaton.as_ref()).map(AhoCorasick::memory_usage).sum()
    }
}

impl Group {
    /// Rules without a pattern that the packet does not exclude at once.
    pub(crate) fn without_pattern(&self, packet: &Packet<'_>) -> impl Iterator<Item = u32> {
        let fits = |test: &Option<PacketTest>| test.as_ref().is_none_or(|test| test.holds(packet));
        self.always.iter().filter(move |(test, _)| fits(test)).flat_map(|(_, rules)| rules.iter().copied())
    }

    /// Calls `found` with each rule whose pattern stands in `bytes`, and the end of the pattern.
    pub(crate) fn search(&self, bytes: &[u8], mut found: impl FnMut(u32, usize)) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(bytes) {
            let pattern = hit.pattern().as_usize();
            let range = self.starts[pattern] as usize..self.starts[pattern + 1] as usize;
            for rule in &self.owners[range] {
                found(*rule, hit.end());
            }
        }
    }
}

/// The groups a rule belongs to.
fn keys(rule: &Rule) -> Vec<GroupKey> {
    let directions: &[FlowDirection] = match rule.flow.direction {
        Some(FlowDirection::ToServer) => &[FlowDirection::ToServer],
        Some(FlowDirection::ToClient) => &[FlowDirection::ToClient],
        None => &[FlowDirection::ToServer, FlowDirection::ToClient],
    };
    let transports: &[Transport] = match rule.protocol {
        HeaderProtocol::Ip => {
            &[Transport::Tcp, Transport::Udp, Transport::Icmp, Transport::IcmpV6, Transport::Other]
        }
        HeaderProtocol::Tcp | HeaderProtocol::TcpPacket | HeaderProtocol::TcpStream => &[Transport::Tcp],
        HeaderProtocol::Udp => &[Transport::Udp],
        HeaderProtocol::Icmp => &[Transport::Icmp, Transport::IcmpV6],
        HeaderProtocol::IcmpV6 => &[Transport::IcmpV6],
        HeaderProtocol::Dns => &[],
    };
    let mut keys = Vec::new();
    for direction in directions {
        for transport in transports {
            let packets = match transport {
                Transport::Tcp => rule.on_packets,
                Transport::Udp | Transport::Icmp | Transport::IcmpV6 | Transport::Other => {
                    rule.on_packets || rule.protocol == HeaderProtocol::Ip
                }
            };
            if packets {
                keys.push(GroupKey::Packet(*transport, *direction));
            }
            if rule.on_stream && *transport == Transport::Tcp {
                keys.push(GroupKey::Stream(*direction));
            }
        }
        if rule.protocol == HeaderProtocol::Dns {
            keys.push(GroupKey::Dns(*direction));
        }
    }
    keys
}

/// What the group searches for to find the rule; `None` where its content is in another buffer.
fn pattern(rule: &Rule, key: GroupKey) -> Option<Vec<u8>> {
    let (part, at) = rule.fast?;
    let part = rule.parts.get(part)?;
    let searched = match key {
        GroupKey::Packet(..) | GroupKey::Stream(_) => Buffer::Payload,
        GroupKey::Dns(_) => Buffer::DnsQuery,
    };
    if part.buffer != searched {
        return None;
    }
    match part.matches.get(at)? {
        PayloadMatch::Content(content) => {
            let mut bytes = content.prefilter_bytes().to_vec();
            bytes.make_ascii_lowercase();
            Some(bytes)
        }
        PayloadMatch::Pcre(_)
        | PayloadMatch::IsDataAt(_)
        | PayloadMatch::ByteTest(_)
        | PayloadMatch::ByteJump(_)
        | PayloadMatch::ByteExtract(_)
        | PayloadMatch::Size(_) => None,
    }
}

/// The content of a rule that is best searched for: long and of varied, unusual bytes.
pub(crate) fn choose(rule_parts: &[crate::rule::Part]) -> Option<(usize, usize)> {
    let mut best = None;
    for (p, part) in rule_parts.iter().enumerate() {
        if part.buffer != Buffer::Payload && part.buffer != Buffer::DnsQuery {
            continue;
        }
        for (m, one) in part.matches.iter().enumerate() {
            if let PayloadMatch::Content(content) = one
                && !content.negated
            {
                let score = strength(content.prefilter_bytes());
                if best.is_none_or(|(top, _)| score > top) {
                    best = Some((score, (p, m)));
                }
            }
        }
    }
    best.map(|(_, place)| place)
}

/// Longer is better; bytes that are everywhere count little.
fn strength(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .map(|byte| match byte {
            0 | 0xff | b' ' => 1,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => 3,
            b'\r' | b'\n' | b'/' | b'.' | b':' => 3,
            _ => 5,
        })
        .sum()
}
