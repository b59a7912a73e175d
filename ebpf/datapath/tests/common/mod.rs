//! A home network to judge packets in: WAN untagged, LAN on VLAN 100, IoT on VLAN 400.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; helpers of tests")]

use abi::{
    Action, Active, BanValue, DIRECTION_IN, PolicyValue, RULE_DEFAULT, Reason, ZONE_ANTI_SPOOF, ZONE_INSPECT,
    ZONE_IS_WAN, ZONE_MULTICAST, ZONE_SELF, ZoneId,
};
use datapath::{
    Egress, Input, Verdict, decide,
    host::{FrameBuilder, MemoryTables, Payload, Prefix},
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
        let everything = |from, to, action: Action, rule| {
            [1, 6, 17, 58].map(|protocol| {
                ((from, to, protocol, 0, 0), PolicyValue { action: action as u8, flags: 0, rule })
            })
        };
        let port = |from, to, protocol, port, action: Action, rule| {
            ((from, to, protocol, port, 16), PolicyValue { action: action as u8, flags: 0, rule })
        };
        let mut policy = Vec::new();
        policy.extend(everything(LAN, WAN, Action::Pass, 0));
        policy.extend(everything(LAN, IOT, Action::Pass, 1));
        policy.extend(everything(LAN, ZONE_SELF, Action::Pass, 2));
        policy.extend(everything(IOT, LAN, Action::Reject, RULE_DEFAULT));
        policy.extend(everything(WAN, LAN, Action::Drop, RULE_DEFAULT));
        policy.extend(everything(WAN, ZONE_SELF, Action::Drop, RULE_DEFAULT));
        policy.push(port(WAN, ZONE_SELF, 6, 443, Action::Pass, 3));
        policy.push(port(WAN, ZONE_SELF, 17, 51_820, Action::Pass, 4));
        policy.push(port(IOT, WAN, 6, 443, Action::Pass, 5));
        policy.push(port(IOT, LAN, 6, 22, Action::Drop, 6));
        let tables = MemoryTables {
            active: Active { generation: 1, epoch: 1, flags: 0, reserved: 0 },
            ports: [((TRUNK, 0), WAN), ((TRUNK, 100), LAN), ((TRUNK, 400), IOT)].into(),
            zones: [
                (WAN, ZONE_IS_WAN | ZONE_ANTI_SPOOF),
                (LAN, ZONE_ANTI_SPOOF),
                (IOT, ZONE_ANTI_SPOOF | ZONE_INSPECT),
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
            ..MemoryTables::default()
        };
        Self { tables, now: 1000 * SECOND }
    }
}

impl Home {
    /// Judges bytes.
    pub(crate) fn judge(&self, frame: &[u8]) -> Verdict {
        let mut verdict = Verdict::EMPTY;
        let length = u32::try_from(frame.len()).unwrap();
        decide(&frame, &Input { ifindex: TRUNK, vlan: 0, now: self.now, length }, &self.tables, &mut verdict);
        verdict
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
        let length = u32::try_from(bytes.len()).unwrap();
        let input = Input { ifindex: TRUNK, vlan: 0, now: self.now, length };
        teach(&bytes.as_slice(), &input, &self.tables, &mut egress);
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
