//! Which rules match a packet and the new bytes of its stream.
//!
//! Candidates come from the prefilter, and from what has matched in part before. They are judged in the order of the
//! rule set (pass, drop, reject, alert), each first on the stream, then on the packet. A rule that has matched in a
//! stream is looked for again only in the bytes behind that match.

use std::sync::Arc;

use model::Timestamp;

use crate::decode::Packet;
use crate::dns;
use crate::engine::flows::{Flow, Settled, Side};
use crate::engine::thresholds::{Speech, Thresholds};
use crate::inspector::{Alert, Excerpt};
use crate::keywords::flowbits::FlowBitOperation;
use crate::keywords::payload::{self, Outcome};
use crate::limits::{Limits, MAX_ALERTS_PER_PACKET};
use crate::prefilter::{GroupKey, Transport};
use crate::ranges::address_number;
use crate::rule::{Buffer, FlowDirection, Part, Rule};
use crate::ruleset::RuleSet;
use crate::syntax::Action;

/// Rules that matched in one direction of a flow whose places are remembered. When full, the oldest is forgotten and
/// may alert once more.
const MAX_MATCHED: usize = 64;

const ON_PACKET: u8 = 1;
const ON_STREAM: u8 = 2;
const ON_DNS: u8 = 4;

/// The judge's memory between packets.
#[derive(Debug)]
pub(crate) struct Judge {
    pub alerts: Vec<Alert>,
    pub alerts_given: u64,
    pub alerts_lost: u64,
    pub given_up: u64,
    pub thresholds: Thresholds,
    candidates: Vec<u32>,
    /// `ON_…` bits of each rule; all zero between packets.
    marks: Vec<u8>,
    names: dns::Names,
    /// Rules whose pattern was found in a stream, and where it ended.
    found: Vec<(u32, u64)>,
}

/// The circumstances of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub number: u64,
    pub now: Timestamp,
    pub direction: FlowDirection,
    /// It belongs to no flow that is followed.
    pub untracked: bool,
}

/// What is looked at.
#[derive(Clone, Copy)]
struct View<'v> {
    packet: &'v Packet<'v>,
    /// Searchable stream bytes and the place of their first.
    stream: &'v [u8],
    stream_at: u64,
    /// A DNS message.
    message: &'v [u8],
}

impl Judge {
    pub(crate) fn new(rules: usize) -> Self {
        Self {
            alerts: Vec::new(),
            alerts_given: 0,
            alerts_lost: 0,
            given_up: 0,
            thresholds: Thresholds::default(),
            candidates: Vec::new(),
            marks: vec![0; rules],
            names: dns::Names::default(),
            found: Vec::new(),
        }
    }

    /// Judges a packet that belongs to no flow.
    pub(crate) fn packet(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: Option<&mut Flow>,
        look: Look,
    ) {
        self.gather_packet(rules, packet, look, true);
        let view = View { packet, stream: &[], stream_at: 0, message: &[] };
        self.run(rules, limits, view, flow, look);
    }

    /// Judges a packet of a flow and the new bytes of its stream; says how many waiting rules were given up.
    #[expect(clippy::too_many_arguments, reason = "parts of one state that are borrowed separately")]
    pub(crate) fn flow_packet(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
        first: bool,
        new_bytes: usize,
    ) -> u64 {
        self.gather_packet(rules, packet, look, first);
        let lost = self.gather_stream(rules, packet, flow, look, new_bytes);
        self.run_with_stream(rules, limits, packet, flow, look);
        if packet.protocol == 17 && is_dns(packet) {
            self.dns_message(rules, limits, packet, flow, look, packet.payload);
        }
        self.dns_stream(rules, limits, packet, flow, look, new_bytes);
        lost
    }

    /// Judges new bytes that no packet brought: those behind a gap.
    pub(crate) fn stream_only(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
        new_bytes: usize,
    ) -> u64 {
        let lost = self.gather_stream(rules, packet, flow, look, new_bytes);
        self.run_with_stream(rules, limits, packet, flow, look);
        self.dns_stream(rules, limits, packet, flow, look, new_bytes);
        lost
    }

    fn mark(&mut self, rule: u32, bit: u8) {
        if let Some(mark) = self.marks.get_mut(rule as usize) {
            if *mark == 0 {
                self.candidates.push(rule);
            }
            *mark |= bit;
        }
    }

    fn gather_packet(&mut self, rules: &RuleSet, packet: &Packet<'_>, look: Look, first: bool) {
        let transport = Transport::of(packet.protocol, packet.is_v4());
        let group = rules.prefilter().group(GroupKey::Packet(transport, look.direction));
        group.search(packet.payload, |rule, _| self.mark(rule, ON_PACKET));
        for rule in group.without_pattern(packet) {
            self.mark(rule, ON_PACKET);
        }
        if first {
            for rule in &group.once {
                self.mark(*rule, ON_PACKET);
            }
        }
        if look.untracked && !packet.payload.is_empty() {
            let group = rules.prefilter().group(GroupKey::Stream(look.direction));
            group.search(packet.payload, |rule, _| self.mark(rule, ON_PACKET));
            for rule in group.without_pattern(packet) {
                self.mark(rule, ON_PACKET);
            }
        }
    }

    fn gather_stream(
        &mut self,
        rules: &RuleSet,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
        new_bytes: usize,
    ) -> u64 {
        let mut lost = 0;
        let Some(tcp) = flow.tcp.as_mut().filter(|_| new_bytes > 0) else { return 0 };
        let side = &mut tcp.sides[look.direction.index()];
        let group = rules.prefilter().group(GroupKey::Stream(look.direction));
        let Side { stream, pending, .. } = side;
        let (window, at) = stream.window();
        pending.retain(|(_, place)| *place > at);
        // A pattern may have begun in the bytes before.
        let from =
            (window.len() - new_bytes.min(window.len())).saturating_sub(group.longest.saturating_sub(1));
        let mut found = std::mem::take(&mut self.found);
        group.search(&window[from..], |rule, end| {
            if self.marks.get(rule as usize).is_some_and(|mark| mark & ON_STREAM == 0) {
                self.mark(rule, ON_STREAM);
            }
            found.push((rule, at + (from + end) as u64));
        });
        for (rule, place) in found.drain(..) {
            lost += u64::from(!side.wait(rule, place));
        }
        self.found = found;
        for at in 0..side.pending.len() {
            self.mark(side.pending[at].0, ON_STREAM);
        }
        for rule in group.without_pattern(packet) {
            self.mark(rule, ON_STREAM);
        }
        lost
    }

    fn run_with_stream(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
    ) {
        if self.candidates.is_empty() {
            return;
        }
        // The stream is taken out of the flow while the flow is judged, and put back.
        let stream =
            flow.tcp.as_mut().map(|tcp| std::mem::take(&mut tcp.sides[look.direction.index()].stream));
        let (window, at) = stream.as_ref().map_or((&[][..], 0), |stream| stream.window());
        let view = View { packet, stream: window, stream_at: at, message: &[] };
        self.run(rules, limits, view, Some(flow), look);
        if let (Some(tcp), Some(stream)) = (flow.tcp.as_mut(), stream) {
            tcp.sides[look.direction.index()].stream = stream;
        }
    }

    /// Judges all candidates in order, and clears them.
    fn run(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        view: View<'_>,
        mut flow: Option<&mut Flow>,
        look: Look,
    ) {
        let mut candidates = std::mem::take(&mut self.candidates);
        candidates.sort_unstable();
        let mut passed = false;
        for index in &candidates {
            let mark = std::mem::take(&mut self.marks[*index as usize]);
            if passed {
                continue;
            }
            let Some(rule) = rules.rule(*index) else { continue };
            let matched = self.matches(*index, rule, mark, view, flow.as_deref(), look);
            if let Some((excerpt, on_stream)) = matched {
                if on_stream {
                    note_stream_match(*index, view, flow.as_deref_mut(), look);
                }
                passed = self.act(*index, rule, limits, view, flow.as_deref_mut(), look, excerpt, on_stream);
            }
        }
        candidates.clear();
        self.candidates = candidates;
    }

    /// Whether a rule matches; the bytes, and whether they are the stream's.
    fn matches(
        &mut self,
        index: u32,
        rule: &Rule,
        mark: u8,
        view: View<'_>,
        flow: Option<&Flow>,
        look: Look,
    ) -> Option<(Excerpt, bool)> {
        let packet = view.packet;
        let source = (address_number(packet.source), packet.source_port);
        let destination = (address_number(packet.destination), packet.destination_port);
        if !rule.header_fits(source, destination, flow.map(|_| look.direction))
            || !flow_fits(rule, packet, flow)
        {
            return None;
        }
        if !rule.packet.iter().all(|test| test.holds(packet)) || !bits_fit(rule, flow) {
            return None;
        }
        let on_stream = mark & ON_STREAM != 0 && rule.flow.reassembled != Some(false);
        if on_stream && let Some(excerpt) = self.on_stream(index, rule, view, flow, look) {
            return Some((excerpt, true));
        }
        let on_packet = mark & (ON_PACKET | ON_DNS) != 0 && rule.flow.reassembled != Some(true);
        if on_packet {
            let payload = if mark & ON_DNS != 0 { view.message } else { packet.payload };
            return self.parts(rule, payload, packet).map(|excerpt| (excerpt, false));
        }
        None
    }

    fn on_stream(
        &mut self,
        index: u32,
        rule: &Rule,
        view: View<'_>,
        flow: Option<&Flow>,
        look: Look,
    ) -> Option<Excerpt> {
        let side = flow?.tcp.as_ref().map(|tcp| &tcp.sides[look.direction.index()])?;
        let used = side.matched.iter().find(|(matched, _)| *matched == index).map(|(_, place)| *place);
        if rule.anchored && (used.is_some() || view.stream_at > 0) {
            return None;
        }
        let skip = usize::try_from(used.unwrap_or(0).saturating_sub(view.stream_at)).unwrap_or(usize::MAX);
        let bytes = view.stream.get(skip..).filter(|bytes| !bytes.is_empty())?;
        self.parts(rule, bytes, view.packet)
    }

    /// Whether all parts of a rule hold; the bytes of the first that has some.
    fn parts(&mut self, rule: &Rule, payload: &[u8], packet: &Packet<'_>) -> Option<Excerpt> {
        let mut excerpt = None;
        for part in &rule.parts {
            let found = self.part(part, payload, packet)?;
            excerpt = excerpt.or(Some(found));
        }
        Some(excerpt.unwrap_or_else(|| Excerpt::of(&[])))
    }

    fn part(&mut self, part: &Part, payload: &[u8], packet: &Packet<'_>) -> Option<Excerpt> {
        let (transport, is_v4) = (packet.protocol, packet.is_v4());
        let bytes = match part.buffer {
            Buffer::DnsQuery => return self.dns_part(part),
            Buffer::Payload => Some(payload).filter(|bytes| !bytes.is_empty()),
            Buffer::Ipv4Header => is_v4.then_some(packet.ip_header),
            Buffer::Ipv6Header => (!is_v4).then_some(packet.ip_header),
            Buffer::TcpHeader => (transport == 6).then_some(packet.transport_header),
            Buffer::UdpHeader => (transport == 17).then_some(packet.transport_header),
            Buffer::Icmpv4Header => (transport == 1 && is_v4).then_some(packet.transport_header),
            Buffer::Icmpv6Header => (transport == 58 && !is_v4).then_some(packet.transport_header),
        }?;
        let outcome = payload::find(&part.matches, bytes);
        self.excerpt(outcome, bytes)
    }

    fn dns_part(&mut self, part: &Part) -> Option<Excerpt> {
        let names = std::mem::take(&mut self.names);
        let mut result = None;
        for dotted in names.dotted() {
            let name = if part.dot_prefix { dotted } else { &dotted[1..] };
            let outcome = payload::find(&part.matches, name);
            result = self.excerpt(outcome, name);
            if result.is_some() {
                break;
            }
        }
        self.names = names;
        result
    }

    fn excerpt(&mut self, outcome: Outcome, bytes: &[u8]) -> Option<Excerpt> {
        match outcome {
            Outcome::Found { start, end } => Some(Excerpt::of(bytes.get(start..end).unwrap_or_default())),
            Outcome::Missing => None,
            Outcome::GaveUp => {
                self.given_up += 1;
                None
            }
        }
    }

    /// Does what a matched rule says; whether nothing more is to be judged.
    #[expect(clippy::too_many_arguments, reason = "parts of one state that are borrowed separately")]
    fn act(
        &mut self,
        index: u32,
        rule: &Arc<Rule>,
        limits: &Limits,
        view: View<'_>,
        mut flow: Option<&mut Flow>,
        look: Look,
        excerpt: Excerpt,
        on_stream: bool,
    ) -> bool {
        let packet = view.packet;
        if let Some(flow) = flow.as_deref_mut() {
            set_bits(rule, flow);
        }
        let flow_id = flow.as_deref().map_or(0, |flow| flow.id);
        let ends = (packet.source, packet.destination, flow_id);
        let speech = rule.threshold.as_ref().map_or(Speech::Alert, |threshold| {
            self.thresholds.count(look.now, index, threshold, ends, limits.thresholds)
        });
        if speech == Speech::Nothing {
            return false;
        }
        if rule.action == Action::Pass {
            if (on_stream || rule.once_per_direction)
                && let Some(flow) = flow
            {
                flow.settled.get_or_insert(Settled::Passed);
            }
            return true;
        }
        if rule.silent {
            return false;
        }
        let settled = match rule.action {
            Action::Drop => Some(Settled::Dropped),
            Action::Reject => Some(Settled::Rejected),
            Action::Pass | Action::Alert => None,
        };
        let settled = settled.filter(|_| limits.cut);
        if let (Some(settled), Some(flow)) = (settled, flow) {
            flow.settled.get_or_insert(settled);
        }
        match speech {
            Speech::Quiet | Speech::Nothing => {}
            Speech::Alert if self.alerts.len() >= MAX_ALERTS_PER_PACKET => self.alerts_lost += 1,
            Speech::Alert => {
                self.alerts_given += 1;
                self.alerts.push(Alert {
                    rule: Arc::clone(rule),
                    at: look.now,
                    packet_number: look.number,
                    flow_id,
                    source: packet.source,
                    source_port: packet.source_port,
                    destination: packet.destination,
                    destination_port: packet.destination_port,
                    protocol: packet.protocol,
                    icmp: packet.icmp.map(|icmp| (icmp.kind, icmp.code)),
                    vlan: packet.vlan,
                    direction: look.direction,
                    blocked: settled.is_some(),
                    excerpt,
                });
            }
        }
        false
    }

    /// Judges one DNS message.
    fn dns_message(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
        message: &[u8],
    ) {
        if flow.settled.is_some() || self.names.read(message).is_none() {
            return;
        }
        let group = rules.prefilter().group(GroupKey::Dns(look.direction));
        let names = std::mem::take(&mut self.names);
        for name in names.dotted() {
            group.search(name, |rule, _| self.mark(rule, ON_DNS));
        }
        self.names = names;
        for rule in group.without_pattern(packet) {
            self.mark(rule, ON_DNS);
        }
        let view = View { packet, stream: &[], stream_at: 0, message };
        self.run(rules, limits, view, Some(flow), look);
    }

    /// Judges the DNS messages that new bytes of a stream complete (RFC 1035 §4.2.2: two bytes of length before each).
    fn dns_stream(
        &mut self,
        rules: &RuleSet,
        limits: &Limits,
        packet: &Packet<'_>,
        flow: &mut Flow,
        look: Look,
        new_bytes: usize,
    ) {
        if new_bytes == 0 || !is_dns(packet) {
            return;
        }
        let side = look.direction.index();
        let Some(stream) = flow.tcp.as_mut().map(|tcp| std::mem::take(&mut tcp.sides[side].stream)) else {
            return;
        };
        let (window, at) = stream.window();
        loop {
            let place = flow.tcp.as_ref().map_or(0, |tcp| tcp.sides[side].dns_at);
            // Behind a gap the messages' beginnings are not known any more.
            let Some(start) = place.checked_sub(at).and_then(|start| usize::try_from(start).ok()) else {
                break;
            };
            let Some(rest) = window.get(start..) else { break };
            let Some((length, rest)) = rest.split_first_chunk::<2>() else { break };
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else { break };
            if let Some(tcp) = flow.tcp.as_mut() {
                tcp.sides[side].dns_at = place + 2 + length as u64;
            }
            self.dns_message(rules, limits, packet, flow, look, message);
        }
        if let Some(tcp) = flow.tcp.as_mut() {
            tcp.sides[side].stream = stream;
        }
    }
}

/// The port says so; whether the bytes are DNS is seen when they are read.
fn is_dns(packet: &Packet<'_>) -> bool {
    packet.source_port == 53 || packet.destination_port == 53
}

fn note_stream_match(index: u32, view: View<'_>, flow: Option<&mut Flow>, look: Look) {
    let Some(tcp) = flow.and_then(|flow| flow.tcp.as_mut()) else { return };
    let side = &mut tcp.sides[look.direction.index()];
    let place = view.stream_at + view.stream.len() as u64;
    side.pending.retain(|(rule, _)| *rule != index);
    side.matched.retain(|(rule, _)| *rule != index);
    if side.matched.len() >= MAX_MATCHED {
        side.matched.remove(0);
    }
    side.matched.push((index, place));
}

fn flow_fits(rule: &Rule, packet: &Packet<'_>, flow: Option<&Flow>) -> bool {
    let test = &rule.flow;
    if test.fragment.is_some_and(|fragment| fragment != packet.reassembled) {
        return false;
    }
    let Some(flow) = flow else {
        return test.direction.is_none() && test.established != Some(true);
    };
    test.established.is_none_or(|established| established == flow.is_established())
}

fn bits_fit(rule: &Rule, flow: Option<&Flow>) -> bool {
    rule.flowbits.iter().all(|option| {
        let set = |bit: &u16| flow.is_some_and(|flow| flow.bits.contains(bit));
        match option.operation {
            FlowBitOperation::IsSet => option.bits.iter().any(set),
            FlowBitOperation::IsNotSet => option.bits.iter().any(|bit| !set(bit)),
            FlowBitOperation::Set | FlowBitOperation::Unset | FlowBitOperation::Toggle => true,
        }
    })
}

fn set_bits(rule: &Rule, flow: &mut Flow) {
    for option in &rule.flowbits {
        for bit in &option.bits {
            let place = flow.bits.iter().position(|set| set == bit);
            match (option.operation, place) {
                (FlowBitOperation::Set | FlowBitOperation::Toggle, None) => flow.bits.push(*bit),
                (FlowBitOperation::Unset | FlowBitOperation::Toggle, Some(at)) => {
                    flow.bits.swap_remove(at);
                }
                (FlowBitOperation::Set, Some(_))
                | (FlowBitOperation::Unset, None)
                | (FlowBitOperation::IsSet | FlowBitOperation::IsNotSet, _) => {}
            }
        }
    }
}
