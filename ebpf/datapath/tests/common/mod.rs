//! A home network to judge packets in: WAN untagged, LAN on VLAN 100, IoT on VLAN 400.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; helpers of tests")]

use abi::{
    Action, Active, BanValue, DIRECTION_IN, FlowKey, FlowValue, RULE_DEFAULT, Reason, ZONE_ANTI_SPOOF,
    ZONE_INSPECT, ZONE_IS_WAN, ZONE_MULTICAST, ZONE_SELF, ZoneId,
    image::{NOTHING, ZoneRow},
    ticks,
};
use datapath::{
    Egress, Input, Verdict, decide,
    host::{FrameBuilder, MemoryTables, Payload, PolicyRow, Prefix, judge},
    teach,
};

pub(crate) const WAN: ZoneId = 3;
pub(crate) const LAN: ZoneId = 4;
pub(crate) const IOT: ZoneId = 5;
/// The one interface.
pub(crate) const TRUNK: u32 = 7;
pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const RST: u8 = 4;
pub(crate) const FIN_ACK: u8 = 0x11;

pub(crate) const LAPTOP: [u8; 4] = [10, 1, 0, 5];
pub(crate) const CAMERA: [u8; 4] = [10, 4, 0, 9];
pub(crate) const ROUTER: [u8; 4] = [10, 1, 0, 1];
pub(crate) const PUBLIC: [u8; 4] = [203, 0, 113, 1];
pub(crate) const WEB: [u8; 4] = [9, 9, 9, 9];
pub(crate) const ATTACKER: [u8; 4] = [198, 51, 100, 66];

/// The network with a clock.
pub(crate) struct Home {
    pub(crate) tables: MemoryTables,
    pub(crate) now: u64,
}

impl Default for Home {
    fn default() -> Self {
        use Action::{Drop, Pass, Reject};
        let everything = PolicyRow::everything;
        let policy = vec![
            everything(WAN, ZONE_SELF, Pass, 3).port(6, 443),
            everything(WAN, ZONE_SELF, Pass, 4).port(17, 51_820),
            everything(IOT, WAN, Pass, 5).port(6, 443),
            everything(IOT, LAN, Drop, 6).port(6, 22),
            everything(LAN, WAN, Pass, 0),
            everything(LAN, IOT, Pass, 1),
            everything(LAN, ZONE_SELF, Pass, 2),
            everything(IOT, LAN, Reject, RULE_DEFAULT),
            everything(WAN, LAN, Drop, RULE_DEFAULT),
            everything(WAN, ZONE_SELF, Drop, RULE_DEFAULT),
        ];
        let zone = |flags| ZoneRow { flags, rate: NOTHING };
        let default = MemoryTables::default();
        let tables = MemoryTables {
            active: Active { generation: 1, epoch: 1, ..default.active },
            ports: [((TRUNK, 0), WAN), ((TRUNK, 100), LAN), ((TRUNK, 400), IOT)].into(),
            zones: [
                (WAN, zone(ZONE_IS_WAN | ZONE_ANTI_SPOOF)),
                (LAN, zone(ZONE_ANTI_SPOOF)),
                (IOT, zone(ZONE_ANTI_SPOOF | ZONE_INSPECT)),
            ]
            .into(),
            networks: vec![
                (Prefix::v4([0; 4], 0), WAN),
                (Prefix::v6([0; 16], 0), WAN),
                (Prefix::v4([10, 1, 0, 0], 16), LAN),
                (Prefix::v4([10, 4, 0, 0], 24), IOT),
                (Prefix::v6(v6("fd00:1::"), 64), LAN),
                (Prefix::v4(ROUTER, 32), ZONE_SELF),
                (Prefix::v4(PUBLIC, 32), ZONE_SELF),
                (Prefix::v4([224, 0, 0, 0], 4), ZONE_MULTICAST),
            ],
            protected: vec![Prefix::v4(ROUTER, 32), Prefix::v4(PUBLIC, 32)],
            policy,
            ..default
        };
        Self { tables, now: 1000 * SECOND }
    }
}

impl Home {
    /// What is known of a frame of so many bytes.
    pub(crate) fn input(&self, length: usize) -> Input {
        let length = u32::try_from(length).unwrap();
        Input { ifindex: TRUNK, now: self.now, ticks: ticks(self.now), length, ..Input::default() }
    }

    /// Judges bytes: as the kernel does. What the fast path passes the rest would have passed, for the same reason.
    pub(crate) fn judge(&self, frame: &[u8]) -> Verdict {
        let mut verdict = Verdict::EMPTY;
        let input = self.input(frame.len());
        let before = self.tables.flows.clone();
        if judge(&frame, &input, &self.tables, &mut verdict).is_some() {
            let slow = MemoryTables { flows: before, active: self.tables.active, ..self.copy() };
            let mut other = Verdict::EMPTY;
            decide(&frame, &input, &slow, &mut other);
            assert_eq!(verdict.result(), other.result(), "the fast path says what the slow one says");
            assert_eq!(self.tables.flows.to_sets(), slow.flows.to_sets(), "and leaves the same behind");
        }
        verdict
    }

    /// The tables as they are, without the flows.
    fn copy(&self) -> MemoryTables {
        let tables = &self.tables;
        MemoryTables {
            ports: tables.ports.clone(),
            zones: tables.zones.clone(),
            networks: tables.networks.clone(),
            protected: tables.protected.clone(),
            upstreams: tables.upstreams.clone(),
            devices: tables.devices.clone(),
            rates: tables.rates.clone(),
            allows: tables.allows.clone(),
            resolved: tables.resolved.clone(),
            patterns: tables.patterns,
            bans: tables.bans.clone(),
            listed: tables.listed.clone(),
            policy: tables.policy.clone(),
            forgotten: tables.forgotten.clone(),
            buckets: tables.buckets.clone(),
            scanners: tables.scanners.clone(),
            ..MemoryTables::default()
        }
    }

    /// The entry of a tuple.
    pub(crate) fn entry(&self, key: &FlowKey) -> Option<FlowValue> {
        self.tables.flows.get(&self.tables.active, key)
    }

    /// Sets bits of a zone.
    pub(crate) fn flag(&mut self, zone: ZoneId, flags: u32) {
        self.tables.zones.entry(zone).or_default().flags |= flags;
    }

    /// A TCP handshake from `from` to `to`, as both interfaces see it.
    pub(crate) fn connects(&self, source: [u8; 4], from: u16, destination: [u8; 4], to: u16) {
        self.asks(&tcp(source, from, destination, to, SYN).numbered(100, 0));
        self.leaves(&outwards(tcp(source, from, destination, to, SYN).numbered(100, 0)));
        let answer = tcp(destination, to, source, from, SYN_ACK).numbered(7000, 101);
        self.asks(&answer);
        self.leaves(&outwards(answer));
        let third = tcp(source, from, destination, to, ACK).numbered(101, 7001);
        self.asks(&third);
        self.leaves(&outwards(third));
    }

    /// Judges a frame; says what and why.
    pub(crate) fn asks(&self, frame: &FrameBuilder) -> (Action, Reason) {
        let verdict = self.judge(&frame.build());
        (verdict.action, verdict.reason)
    }

    /// Lets a frame leave.
    pub(crate) fn leaves(&self, frame: &FrameBuilder) -> Egress {
        let bytes = frame.build();
        let mut egress = Egress::default();
        teach(&bytes.as_slice(), &self.input(bytes.len()), &self.tables, &mut egress);
        egress
    }

    /// Bans an address for good, and has flows judged again.
    pub(crate) fn ban(&mut self, address: [u8; 4], directions: u8) {
        let ban = BanValue { until: u64::MAX, decision: 42, directions, ..BanValue::default() };
        self.tables.bans.push((Prefix::v4(address, 32), ban));
        self.tables.active.epoch += 1;
    }

    /// Bans what the address starts.
    pub(crate) fn ban_in(&mut self, address: [u8; 4]) {
        self.ban(address, DIRECTION_IN);
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
    }
}

pub(crate) fn v6(text: &str) -> [u8; 16] {
    text.parse::<std::net::Ipv6Addr>().unwrap().octets()
}

/// A TCP segment, in the VLAN of its source.
pub(crate) fn tcp(source: [u8; 4], from: u16, destination: [u8; 4], to: u16, flags: u8) -> FrameBuilder {
    in_its_vlan(FrameBuilder::v4(source, destination, Payload::Tcp { from, to, flags }))
}

/// A UDP datagram, in the VLAN of its source.
pub(crate) fn udp(source: [u8; 4], from: u16, destination: [u8; 4], to: u16) -> FrameBuilder {
    in_its_vlan(FrameBuilder::v4(source, destination, Payload::Udp { from, to }))
}

/// An ICMP message, in the VLAN of its source.
pub(crate) fn icmp(source: [u8; 4], destination: [u8; 4], kind: u8) -> FrameBuilder {
    in_its_vlan(FrameBuilder::v4(source, destination, Payload::Icmp { kind, code: 0, id: 77 }))
}

pub(crate) fn in_its_vlan(frame: FrameBuilder) -> FrameBuilder {
    match (frame.source[12], frame.source[13]) {
        (10, 1) => frame.tagged(100),
        (10, 4) => frame.tagged(400),
        _ => frame,
    }
}

/// The same frame as it leaves towards the VLAN of its destination.
pub(crate) fn outwards(mut frame: FrameBuilder) -> FrameBuilder {
    frame.tags.clear();
    match (frame.destination[12], frame.destination[13]) {
        (10, 1) => frame.tagged(100),
        (10, 4) => frame.tagged(400),
        _ => frame,
    }
}
