//! The engine from outside: frames in, alerts and verdicts out.

use std::net::IpAddr;
use std::sync::Arc;

use model::Timestamp;

use crate::decode::{ACK, Decoded, FIN, IpLayer, LinkType, Packet, RST, SYN, decode, transport};
use crate::engine::{
    defrag::Defragmenter,
    flows::{Flow, Flows, Settled, Side, TcpFlow, TcpState},
    stream::Stream,
};
use crate::judge::{Judge, Look};
use crate::limits::{EXCERPT_BYTES, Limits};
use crate::rule::{FlowDirection, Rule};
use crate::ruleset::RuleSet;

/// Follows flows and judges them by a rule set. One thread, no clock: the time comes with each frame.
#[derive(Debug)]
pub struct Inspector {
    rules: Arc<RuleSet>,
    limits: Limits,
    flows: Flows,
    defrag: Defragmenter,
    judge: Judge,
    packet_number: u64,
    counters: Counters,
}

/// What is known after a frame.
#[derive(Debug)]
pub struct Judgement<'i> {
    /// Rules that matched at this frame.
    pub alerts: &'i [Alert],
    /// What holds for the frame's flow from now on.
    pub verdict: FlowVerdict,
    /// The flow's number; `None` where the frame belongs to none.
    pub flow_id: Option<u64>,
    /// Rules have matched in part and wait for more bytes, or bytes wait for a missing segment: leaving this flow now
    /// could miss something.
    pub pending: bool,
    /// Payload of the frame's direction of the flow so far, in bytes.
    pub payload_bytes: u64,
}

/// What holds for a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowVerdict {
    /// Look on.
    Continue,
    /// A `pass` rule has decided: nothing more is looked at.
    Passed,
    /// A `drop` rule has decided: cut it.
    Dropped,
    /// A `reject` rule has decided: cut it and tell its ends.
    Rejected,
}

/// A rule has matched.
#[derive(Clone, Debug)]
pub struct Alert {
    /// The rule: sid, rev, msg, action, class, priority and where it is written.
    pub rule: Arc<Rule>,
    /// Time of the frame.
    pub at: Timestamp,
    /// Number of the frame, from 1.
    pub packet_number: u64,
    /// The flow's number.
    pub flow_id: u64,
    /// Source of the packet.
    pub source: IpAddr,
    /// Source port, 0 without ports.
    pub source_port: u16,
    /// Destination of the packet.
    pub destination: IpAddr,
    /// Destination port, 0 without ports.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
    /// ICMP type and code.
    pub icmp: Option<(u8, u8)>,
    /// Innermost VLAN id, 0 without a tag.
    pub vlan: u16,
    /// Which way the packet goes.
    pub direction: FlowDirection,
    /// The match cuts the flow.
    pub blocked: bool,
    /// The first of the bytes that matched.
    pub excerpt: Excerpt,
}

/// The first bytes of a match.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; EXCERPT_BYTES],
    length: u8,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames seen.
    pub packets: u64,
    /// Frames that are not IP.
    pub other: u64,
    /// Frames that are cut or contradictory.
    pub malformed: u64,
    /// Fragments.
    pub fragments: u64,
    /// Datagrams given up: never complete, or no room.
    pub datagrams_lost: u64,
    /// Alerts given.
    pub alerts: u64,
    /// Alerts beyond [`crate::limits::MAX_ALERTS_PER_PACKET`].
    pub alerts_lost: u64,
    /// Flows followed now.
    pub flows: u64,
    /// Flows forgotten because the table was full.
    pub flows_evicted: u64,
    /// Bytes of streams held now.
    pub stream_bytes: u64,
    /// Flows whose bytes were forgotten because there were too many.
    pub streams_shed: u64,
    /// Gaps skipped in streams.
    pub stream_gaps: u64,
    /// Segments far off what was expected; a second reading of the stream was begun with them.
    pub segments_ignored: u64,
    /// Rules in wait that were given up because too many waited.
    pub pending_lost: u64,
    /// Full matches given up after [`crate::limits::MAX_MATCH_STEPS`].
    pub matches_given_up: u64,
    /// Thresholds that could not be counted because the table was full.
    pub thresholds_untracked: u64,
}

impl Inspector {
    /// An engine that has seen nothing.
    #[must_use]
    pub fn new(rules: Arc<RuleSet>, limits: Limits) -> Self {
        let judge = Judge::new(rules.len());
        Self {
            rules,
            limits,
            flows: Flows::default(),
            defrag: Defragmenter::default(),
            judge,
            packet_number: 0,
            counters: Counters::default(),
        }
    }

    /// The rules in use.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Other rules from now on. Flows and streams go on; marks, thresholds and partial matches of the old rules are
    /// forgotten.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.judge = Judge::new(rules.len());
        self.flows.forget_rules();
        self.rules = rules;
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            packets: self.packet_number,
            datagrams_lost: self.defrag.given_up,
            alerts_lost: self.judge.alerts_lost,
            alerts: self.judge.alerts_given,
            flows: self.flows.len() as u64,
            flows_evicted: self.flows.evicted,
            stream_bytes: self.flows.held as u64,
            streams_shed: self.flows.shed,
            pending_lost: self.flows.pending_lost,
            matches_given_up: self.judge.given_up,
            thresholds_untracked: self.judge.thresholds.untracked,
            ..self.counters
        }
    }

    /// Counts a frame that cannot be read, so that numbers of packets stay those of the capture.
    pub fn skip(&mut self) {
        self.packet_number += 1;
        self.counters.other += 1;
    }

    /// Judges a frame.
    pub fn packet(&mut self, now: Timestamp, link: LinkType, frame: &[u8]) -> Judgement<'_> {
        self.packet_towards(now, link, frame, None)
    }

    /// Judges a frame whose direction is known from elsewhere (a flow table that saw its beginning); it counts where
    /// this engine has not seen the flow's beginning.
    pub fn packet_towards(
        &mut self,
        now: Timestamp,
        link: LinkType,
        frame: &[u8],
        direction: Option<FlowDirection>,
    ) -> Judgement<'_> {
        self.packet_number += 1;
        self.judge.alerts.clear();
        let mut seen = None;
        match decode(link, frame) {
            Decoded::Other => self.counters.other += 1,
            Decoded::Malformed => self.counters.malformed += 1,
            Decoded::Packet(packet) => seen = self.judge_packet(now, &packet, direction),
            Decoded::Fragment(fragment) => {
                self.counters.fragments += 1;
                if let Some(whole) = self.defrag.add(now, &fragment, &self.limits) {
                    let layer = IpLayer { header: &whole.header, body: &whole.body, ..fragment.ip };
                    match transport(&layer, true) {
                        Some(packet) => seen = self.judge_packet(now, &packet, direction),
                        None => self.counters.malformed += 1,
                    }
                }
            }
        }
        let alerts = &self.judge.alerts;
        let flow = seen.and_then(|(place, direction)| Some((self.flows.get_mut(place)?, direction)));
        match flow {
            Some((flow, direction)) => Judgement {
                alerts,
                verdict: verdict_of(flow),
                flow_id: Some(flow.id),
                pending: is_pending(flow),
                payload_bytes: flow.payload_bytes[direction.index()],
            },
            None => Judgement {
                alerts,
                verdict: FlowVerdict::Continue,
                flow_id: None,
                pending: false,
                payload_bytes: 0,
            },
        }
    }

    /// Judges a decoded packet; gives the place of its flow.
    fn judge_packet(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        hint: Option<FlowDirection>,
    ) -> Option<(usize, FlowDirection)> {
        let Some((place, direction)) = self.flow_of(now, packet, hint) else {
            // TCP in the middle of a flow that is not followed: its bytes are judged alone.
            let look =
                Look { number: self.packet_number, now, direction: FlowDirection::ToServer, untracked: true };
            self.judge.packet(&self.rules, &self.limits, packet, None, look);
            return None;
        };
        let look = Look { number: self.packet_number, now, direction, untracked: false };
        let flow = self.flows.get_mut(place)?;
        flow.payload_bytes[direction.index()] += packet.payload.len() as u64;
        if flow.settled.is_some() {
            return Some((place, direction));
        }
        let first = !std::mem::replace(&mut flow.seen[direction.index()], true);
        let mut new_bytes = 0;
        if let Some(tcp) = packet.tcp {
            let fin = tcp.flags & FIN != 0;
            let data_at = tcp.sequence.wrapping_add(u32::from(tcp.flags & SYN != 0));
            let held = flow.tcp.as_mut()?;
            track(held, direction, data_at, tcp.flags, &self.limits);
            if (!packet.payload.is_empty() || fin) && tcp.flags & RST == 0 {
                let index = direction.index();
                let progress = held.sides[index].stream.segment(data_at, packet.payload, fin, &self.limits);
                new_bytes = progress.new_bytes;
                let fits_shadow = held.shadows[index].as_ref();
                let fits_shadow = fits_shadow.is_some_and(|side| side.stream.fits(data_at, &self.limits));
                if progress.ignored && !fits_shadow {
                    self.counters.segments_ignored += 1;
                    held.read_anew(direction, data_at);
                }
            }
        }
        let lost = self.judge.flow_packet(&self.rules, &self.limits, packet, flow, look, first, new_bytes);
        self.flows.pending_lost += lost;
        self.judge_shadow(place, packet, look);
        self.skip_gaps(place, packet, look);
        self.settle(place);
        Some((place, direction))
    }

    /// Takes a segment into the second reading of its direction, and judges that.
    fn judge_shadow(&mut self, place: usize, packet: &Packet<'_>, look: Look) {
        let (Some(header), index) = (packet.tcp, look.direction.index()) else { return };
        let Some(flow) = self.flows.get_mut(place).filter(|flow| flow.settled.is_none()) else { return };
        let Some(mut shadow) = flow.tcp.as_mut().and_then(|tcp| tcp.shadows[index].take()) else { return };
        if packet.payload.is_empty() || header.flags & RST != 0 {
            if let Some(tcp) = flow.tcp.as_mut() {
                tcp.shadows[index] = Some(shadow);
            }
            return;
        }
        let data_at = header.sequence.wrapping_add(u32::from(header.flags & SYN != 0));
        let progress = shadow.stream.segment(data_at, packet.payload, header.flags & FIN != 0, &self.limits);
        if let Some(tcp) = flow.tcp.as_mut() {
            std::mem::swap(&mut tcp.sides[index], &mut shadow);
        }
        let (mut new_bytes, mut given_up) = (Some(progress.new_bytes), 0);
        while let Some(bytes) = new_bytes {
            if flow.settled.is_some() {
                break;
            }
            let lost = self.judge.stream_only(&self.rules, &self.limits, packet, flow, look, bytes);
            given_up += lost;
            new_bytes =
                flow.tcp.as_mut().and_then(|tcp| tcp.sides[index].stream.skip_gap(None, &self.limits));
        }
        if let Some(tcp) = flow.tcp.as_mut() {
            std::mem::swap(&mut tcp.sides[index], &mut shadow);
            tcp.shadows[index] = Some(shadow);
        }
        self.flows.pending_lost += given_up;
    }

    /// Goes on behind gaps that will not close any more, in both directions.
    fn skip_gaps(&mut self, place: usize, packet: &Packet<'_>, look: Look) {
        let Some(header) = packet.tcp else { return };
        let reversed = Packet {
            source: packet.destination,
            destination: packet.source,
            source_port: packet.destination_port,
            destination_port: packet.source_port,
            payload: &[],
            ..*packet
        };
        let acknowledged = (header.flags & ACK != 0).then_some(header.acknowledgement);
        for (view, direction, acknowledged) in
            [(packet, look.direction, None), (&reversed, look.direction.reversed(), acknowledged)]
        {
            loop {
                let Some(flow) = self.flows.get_mut(place).filter(|flow| flow.settled.is_none()) else {
                    return;
                };
                let Some(tcp) = flow.tcp.as_mut() else { return };
                let stream = &mut tcp.sides[direction.index()].stream;
                let Some(new_bytes) = stream.skip_gap(acknowledged, &self.limits) else { break };
                self.counters.stream_gaps += 1;
                let look = Look { direction, ..look };
                let lost = self.judge.stream_only(&self.rules, &self.limits, view, flow, look, new_bytes);
                self.flows.pending_lost += lost;
            }
        }
    }

    /// Frees what a decided flow holds, and counts the bytes of the others.
    fn settle(&mut self, place: usize) {
        let Some(flow) = self.flows.get_mut(place) else { return };
        if flow.settled.is_some() {
            self.flows.release(place);
        } else if flow.tcp.is_some() {
            self.flows.account(place, self.limits.stream_bytes);
        }
    }

    /// Finds or enters the flow of a packet. `None`: a TCP packet of a flow that is not followed.
    fn flow_of(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        hint: Option<FlowDirection>,
    ) -> Option<(usize, FlowDirection)> {
        if let Some((place, direction)) = self.flows.find(now, packet, &self.limits) {
            let opens = packet.tcp.is_some_and(|tcp| tcp.flags & (SYN | ACK | RST) == SYN);
            let over = self
                .flows
                .get_mut(place)
                .is_some_and(|flow| flow.tcp.as_ref().is_some_and(|tcp| tcp.state == TcpState::Closed));
            if !(opens && over) {
                return Some((place, direction));
            }
            self.flows.remove(place);
        }
        let direction = match packet.tcp {
            None => hint.unwrap_or(FlowDirection::ToServer),
            Some(tcp) if tcp.flags & (SYN | ACK | RST) == SYN => FlowDirection::ToServer,
            Some(tcp) if tcp.flags & RST != 0 || !self.limits.midstream => return None,
            Some(tcp) if tcp.flags & SYN != 0 => FlowDirection::ToClient,
            // The side with the well-known port is the server.
            Some(_) => {
                hint.unwrap_or(if packet.source_port < 1024 && packet.source_port < packet.destination_port {
                    FlowDirection::ToClient
                } else {
                    FlowDirection::ToServer
                })
            }
        };
        let place = self.flows.insert(now, packet, direction, &self.limits);
        if packet.tcp.is_some() {
            let flow = self.flows.get_mut(place)?;
            flow.tcp = Some(Box::new(TcpFlow {
                state: TcpState::Opening,
                sides: [Side::default(), Side::default()],
                shadows: [None, None],
            }));
        }
        Some((place, direction))
    }
}

/// Follows the state of a TCP flow.
fn track(tcp: &mut TcpFlow, direction: FlowDirection, data_at: u32, flags: u8, limits: &Limits) {
    let (me, them) = (direction.index(), direction.reversed().index());
    let opens = flags & (SYN | ACK | RST) == SYN;
    let stream = &mut tcp.sides[me].stream;
    if flags & RST != 0 {
        if stream.accepts_reset(data_at, limits) {
            tcp.state = TcpState::Closed;
        }
        return;
    }
    // A new attempt with another beginning, before any byte was seen.
    if opens && tcp.state == TcpState::Opening && stream.offset() == 0 && !stream.is_waiting() {
        *stream = Stream::default();
    }
    if opens && !stream.expects(data_at) {
        tcp.read_anew(direction, data_at);
        return;
    }
    stream.start(data_at);
    if tcp.state == TcpState::Opening {
        let known = tcp.sides[them].stream.is_started();
        let answered = flags & (SYN | ACK) == SYN | ACK || (flags & (SYN | ACK) == ACK && known);
        let one_sided = flags & (SYN | ACK) == ACK && limits.midstream;
        if answered || one_sided {
            tcp.state = TcpState::Open;
        }
    }
    if flags & FIN != 0 {
        tcp.sides[me].closed = true;
        if tcp.sides[them].closed {
            tcp.state = TcpState::Closed;
        }
    }
}

fn verdict_of(flow: &Flow) -> FlowVerdict {
    match flow.settled {
        None => FlowVerdict::Continue,
        Some(Settled::Passed) => FlowVerdict::Passed,
        Some(Settled::Dropped) => FlowVerdict::Dropped,
        Some(Settled::Rejected) => FlowVerdict::Rejected,
    }
}

fn is_pending(flow: &Flow) -> bool {
    flow.settled.is_none()
        && flow.tcp.as_ref().is_some_and(|tcp| {
            tcp.sides.iter().any(|side| !side.pending.is_empty() || side.stream.is_waiting())
        })
}

impl Excerpt {
    /// Takes the first bytes of a match.
    pub(crate) fn of(matched: &[u8]) -> Self {
        let length = matched.len().min(EXCERPT_BYTES);
        let mut bytes = [0; EXCERPT_BYTES];
        bytes[..length].copy_from_slice(&matched[..length]);
        Self { bytes, length: u8::try_from(length).unwrap_or(0) }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

/// Printable text, other bytes as `|0d 0a|`, like in rules.
impl std::fmt::Display for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut in_hex = false;
        for byte in self.bytes() {
            let plain =
                (byte.is_ascii_graphic() || *byte == b' ') && !matches!(byte, b'|' | b'"' | b'\\' | b';');
            match (plain, in_hex) {
                (true, true) => write!(f, "|{}", char::from(*byte))?,
                (true, false) => write!(f, "{}", char::from(*byte))?,
                (false, true) => write!(f, " {byte:02x}")?,
                (false, false) => write!(f, "|{byte:02x}")?,
            }
            in_hex = !plain;
        }
        f.write_str(if in_hex { "|" } else { "" })
    }
}

impl std::fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Excerpt({self})")
    }
}

impl Alert {
    /// `TCP`, `UDP`, `ICMP`, `IPv6-ICMP` or a number, as in EVE.
    #[must_use]
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            1 => "ICMP".into(),
            6 => "TCP".into(),
            17 => "UDP".into(),
            58 => "IPv6-ICMP".into(),
            number => number.to_string(),
        }
    }
}
