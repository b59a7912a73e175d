//! The flows followed, in a table of fixed size. When it is full the flow seen longest ago is forgotten.

use std::collections::HashMap;
use std::net::IpAddr;

use model::Timestamp;

use super::stream::Stream;
use crate::decode::Packet;
use crate::limits::Limits;
use crate::rule::FlowDirection;

/// Seconds without a packet after which a flow of TCP that is open is forgotten.
const IDLE_TCP_OPEN: u64 = 600;
/// Seconds for one that is opening or closed.
const IDLE_TCP_OTHER: u64 = 60;
/// Seconds for UDP and the rest, answered.
const IDLE_ANSWERED: u64 = 300;
/// Seconds for UDP and the rest, not answered.
const IDLE_ONE_WAY: u64 = 30;
/// Candidates of one direction that wait for more bytes. When full the oldest is given up, and it is counted.
const MAX_PENDING: usize = 64;

/// What holds for the rest of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Dropped,
    Rejected,
    Passed,
}

/// State of a TCP connection, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpState {
    Opening,
    Open,
    Closed,
}

/// One direction of a TCP flow.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub stream: Stream,
    /// Rules whose prefilter content was seen, and where it ended; they wait for the rest.
    pub pending: Vec<(u32, u64)>,
    /// Rules that matched, and the place up to which their bytes are used.
    pub matched: Vec<(u32, u64)>,
    /// Place of the next DNS message's length.
    pub dns_at: u64,
    /// Beginning and bytes as this side sees them were reset or finished.
    pub closed: bool,
}

/// What a TCP flow has besides.
#[derive(Debug)]
pub(crate) struct TcpFlow {
    pub state: TcpState,
    pub sides: [Side; 2],
    /// Second readings: where a new beginning or far-off bytes may be a new connection of the same ends, or bytes
    /// sent to mislead, both are followed.
    pub shadows: [Option<Box<Side>>; 2],
}

/// One flow.
#[derive(Debug)]
pub(crate) struct Flow {
    pub id: u64,
    pub client: (IpAddr, u16),
    pub last_seen: Timestamp,
    pub seen: [bool; 2],
    /// Payload of each direction so far.
    pub payload_bytes: [u64; 2],
    pub bits: Vec<u16>,
    pub settled: Option<Settled>,
    pub tcp: Option<Box<TcpFlow>>,
    /// Bytes its streams hold, as counted in the total.
    pub held: usize,
    key: Key,
    newer: Option<usize>,
    older: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    low: (IpAddr, u16),
    high: (IpAddr, u16),
    protocol: u8,
    vlan: u16,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    places: HashMap<Key, usize>,
    slots: Vec<Option<Flow>>,
    free: Vec<usize>,
    newest: Option<usize>,
    oldest: Option<usize>,
    /// Bytes of all streams.
    pub held: usize,
    next_id: u64,
    /// Flows forgotten because the table was full.
    pub evicted: u64,
    /// Flows whose bytes were forgotten because all streams together held too many.
    pub shed: u64,
    /// Candidates given up because too many waited.
    pub pending_lost: u64,
}

impl Key {
    fn of(packet: &Packet<'_>, track_vlan: bool) -> Self {
        let a = (packet.source, packet.source_port);
        let b = (packet.destination, packet.destination_port);
        Self {
            low: a.min(b),
            high: a.max(b),
            protocol: packet.protocol,
            vlan: if track_vlan { packet.vlan } else { 0 },
        }
    }
}

impl Side {
    /// A rule waits for more bytes.
    pub(crate) fn wait(&mut self, rule: u32, place: u64) -> bool {
        if let Some(entry) = self.pending.iter_mut().find(|(pending, _)| *pending == rule) {
            entry.1 = entry.1.max(place);
            return true;
        }
        let fits = self.pending.len() < MAX_PENDING;
        if !fits {
            self.pending.remove(0);
        }
        self.pending.push((rule, place));
        fits
    }
}

impl TcpFlow {
    /// Follows a second reading of one direction from `sequence` on. Of two that are there already, the one that has
    /// read less is given up.
    pub(crate) fn read_anew(&mut self, direction: FlowDirection, sequence: u32) {
        let (side, shadow) = (&mut self.sides[direction.index()], &mut self.shadows[direction.index()]);
        let mut fresh = Box::new(Side::default());
        fresh.stream.start(sequence);
        if let Some(old) = shadow
            && side.stream.offset() < old.stream.offset()
        {
            std::mem::swap(side, old);
        }
        *shadow = Some(fresh);
    }
}

impl Flow {
    /// Both sides were seen, or it is TCP that is open (or was picked up in the middle).
    pub(crate) fn is_established(&self) -> bool {
        self.seen == [true, true]
            || self.tcp.as_ref().is_some_and(|tcp| match tcp.state {
                TcpState::Opening => false,
                TcpState::Open | TcpState::Closed => true,
            })
    }

    fn idle_limit(&self) -> u64 {
        match self.tcp.as_ref().map(|tcp| tcp.state) {
            Some(TcpState::Open) => IDLE_TCP_OPEN,
            Some(TcpState::Opening | TcpState::Closed) => IDLE_TCP_OTHER,
            None if self.seen == [true, true] => IDLE_ANSWERED,
            None => IDLE_ONE_WAY,
        }
    }

    fn is_idle(&self, now: Timestamp) -> bool {
        now.since(self.last_seen).as_secs() > self.idle_limit()
    }
}

impl Flows {
    /// Number of flows followed.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Flow> {
        self.slots.get_mut(place)?.as_mut()
    }

    /// The flow of a packet and the packet's direction, if it is followed. An idle one is forgotten.
    pub(crate) fn find(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        limits: &Limits,
    ) -> Option<(usize, FlowDirection)> {
        let place = *self.places.get(&Key::of(packet, limits.track_vlan))?;
        let flow = self.slots.get(place)?.as_ref()?;
        if flow.is_idle(now) {
            self.remove(place);
            return None;
        }
        let from_client = flow.client == (packet.source, packet.source_port);
        let direction = if from_client { FlowDirection::ToServer } else { FlowDirection::ToClient };
        self.touch(place, now);
        Some((place, direction))
    }

    /// Enters a flow that starts with this packet, which goes in `direction`.
    pub(crate) fn insert(
        &mut self,
        now: Timestamp,
        packet: &Packet<'_>,
        direction: FlowDirection,
        limits: &Limits,
    ) -> usize {
        while let Some(oldest) = self.oldest {
            let idle = self.slots.get(oldest).and_then(Option::as_ref).is_some_and(|flow| flow.is_idle(now));
            let full = self.places.len() >= limits.flows.max(1);
            if !idle && !full {
                break;
            }
            if !idle {
                self.evicted += 1;
            }
            self.remove(oldest);
        }
        let source = (packet.source, packet.source_port);
        let client = match direction {
            FlowDirection::ToServer => source,
            FlowDirection::ToClient => (packet.destination, packet.destination_port),
        };
        self.next_id += 1;
        let key = Key::of(packet, limits.track_vlan);
        let flow = Flow {
            id: identity(&key, now, self.next_id),
            client,
            last_seen: now,
            seen: [false; 2],
            payload_bytes: [0; 2],
            bits: Vec::new(),
            settled: None,
            tcp: None,
            held: 0,
            key,
            newer: None,
            older: None,
        };
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(place) {
            *slot = Some(flow);
        }
        if let Some(old) = self.places.insert(key, place) {
            self.unlink(old);
            self.held -= self.slots.get_mut(old).and_then(Option::take).map_or(0, |flow| flow.held);
            self.free.push(old);
        }
        self.link(place);
        place
    }

    /// Forgets a flow.
    pub(crate) fn remove(&mut self, place: usize) {
        self.unlink(place);
        if let Some(flow) = self.slots.get_mut(place).and_then(Option::take) {
            self.places.remove(&flow.key);
            self.held -= flow.held;
            self.free.push(place);
        }
    }

    /// Counts a flow's bytes anew; forgets the bytes of the oldest flows while there are too many.
    pub(crate) fn account(&mut self, place: usize, limit: usize) {
        if let Some(flow) = self.slots.get_mut(place).and_then(Option::as_mut) {
            let held =
                flow.tcp.as_ref().map_or(0, |tcp| tcp.sides.iter().map(|side| side.stream.held()).sum());
            self.held = self.held - flow.held + held;
            flow.held = held;
        }
        let mut next = self.oldest;
        while self.held > limit {
            let Some(flow) = next.and_then(|at| self.slots.get_mut(at)).and_then(Option::as_mut) else {
                return;
            };
            if flow.held > 0
                && let Some(tcp) = &mut flow.tcp
            {
                tcp.shadows = [None, None];
                for side in &mut tcp.sides {
                    side.stream.shed();
                    side.pending.clear();
                }
                self.held -= flow.held;
                flow.held = 0;
                self.shed += 1;
            }
            next = flow.newer;
        }
    }

    /// Forgets the bytes of a flow that needs no more of them.
    pub(crate) fn release(&mut self, place: usize) {
        if let Some(flow) = self.slots.get_mut(place).and_then(Option::as_mut) {
            self.held -= flow.held;
            flow.held = 0;
            if let Some(tcp) = &mut flow.tcp {
                tcp.shadows = [None, None];
                for side in &mut tcp.sides {
                    side.stream.shed();
                    side.pending = Vec::new();
                    side.matched = Vec::new();
                }
            }
        }
    }

    /// Forgets what rules have left on flows.
    pub(crate) fn forget_rules(&mut self) {
        for flow in self.slots.iter_mut().flatten() {
            flow.bits.clear();
            if let Some(tcp) = &mut flow.tcp {
                for side in tcp.sides.iter_mut().chain(tcp.shadows.iter_mut().flatten().map(Box::as_mut)) {
                    side.pending.clear();
                    side.matched.clear();
                }
            }
        }
    }

    fn touch(&mut self, place: usize, now: Timestamp) {
        self.unlink(place);
        self.link(place);
        if let Some(flow) = self.slots.get_mut(place).and_then(Option::as_mut) {
            flow.last_seen = flow.last_seen.max(now);
        }
    }

    fn link(&mut self, place: usize) {
        let before = self.newest.replace(place);
        if let Some(flow) = self.slots.get_mut(place).and_then(Option::as_mut) {
            flow.older = before;
            flow.newer = None;
        }
        match before.and_then(|at| self.slots.get_mut(at)).and_then(Option::as_mut) {
            Some(flow) => flow.newer = Some(place),
            None => self.oldest = Some(place),
        }
    }

    fn unlink(&mut self, place: usize) {
        let Some(flow) = self.slots.get(place).and_then(Option::as_ref) else { return };
        let (older, newer) = (flow.older, flow.newer);
        match older.and_then(|at| self.slots.get_mut(at)).and_then(Option::as_mut) {
            Some(flow) => flow.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|at| self.slots.get_mut(at)).and_then(Option::as_mut) {
            Some(flow) => flow.older = older,
            None => self.newest = older,
        }
    }
}

/// A number for a flow that is the same in every run (FNV-1a over its ends, start and count), below 2^53 so that JSON
/// readers keep it whole.
fn identity(key: &Key, now: Timestamp, count: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (address, port) in [key.low, key.high] {
        mix(&crate::ranges::address_number(address).to_be_bytes());
        mix(&port.to_be_bytes());
    }
    mix(&[key.protocol]);
    mix(&now.0.to_be_bytes());
    mix(&count.to_be_bytes());
    hash & ((1 << 53) - 1)
}
