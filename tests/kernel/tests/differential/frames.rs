//! Frames that go where the code goes: openings, followers of known flows, oddities, mutations and noise.

use abi::{Address, FlowKey, mapped};
use datapath::host::{FrameBuilder, Payload};
use std::net::Ipv6Addr;

use crate::world::{MACS, VLANS};

/// Seeded chance (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.of(choices).unwrap()
    }
}

const V4: [[u8; 4]; 16] = [
    [10, 1, 0, 1],
    [10, 1, 0, 5],
    [10, 1, 7, 9],
    [10, 4, 0, 2],
    [10, 4, 0, 9],
    [10, 5, 0, 3],
    [203, 0, 113, 1],
    [203, 0, 113, 66],
    [203, 0, 113, 200],
    [203, 0, 113, 201],
    [198, 51, 100, 8],
    [198, 51, 100, 9],
    [192, 0, 2, 70],
    [9, 9, 9, 9],
    [224, 0, 0, 251],
    [127, 0, 0, 1],
];
const V6: [&str; 10] = [
    "fd00:1::1",
    "fd00:1::5",
    "fd00:4::2",
    "2001:db8:bad::1",
    "2001:db8:1::66",
    "2620:fe::fe",
    "fe80::1",
    "ff02::fb",
    "::1",
    "::",
];
const PORTS: [u16; 8] = [22, 53, 443, 8000, 8007, 8008, 40_000, 40_001];
const TCP_FLAGS: [u8; 12] = [2, 2, 2, 0x12, 0x10, 0x18, 0x11, 4, 0x14, 3, 0, 0x29];

/// One frame at a time.
pub(crate) struct Frames<'a>(&'a mut Chance);

impl<'a> Frames<'a> {
    pub(crate) fn new(chance: &'a mut Chance) -> Self {
        Self(chance)
    }

    /// Some frame; `known` are tuples of flows that were opened.
    pub(crate) fn any(&mut self, known: &[FlowKey]) -> Vec<u8> {
        let mut frame = self.plain(known);
        if self.0.one_in(30) {
            frame = self.with_options(frame);
        }
        if self.0.one_in(40) {
            frame = self.in_a_session(frame);
        }
        if self.0.one_in(2) && frame.len() >= 12 {
            frame[6..12].copy_from_slice(&self.0.pick(&MACS));
        }
        frame
    }

    fn plain(&mut self, known: &[FlowKey]) -> Vec<u8> {
        if self.0.one_in(3) {
            return self.opening();
        }
        let mut frame = match self.0.below(24) {
            0 => self.noise(),
            1 => self.not_ip(),
            2..=3 => self.essential(),
            4..=11 => self.follower(known).unwrap_or_else(|| self.packet()),
            12..=13 => self.error(known).unwrap_or_else(|| self.packet()),
            14 => self.with_extensions(),
            15 => self.knock(),
            _ => self.packet(),
        };
        if self.0.one_in(8) {
            self.mutate(&mut frame);
        }
        if self.0.one_in(3) {
            frame.resize(frame.len().max(60), 0);
        }
        frame
    }

    fn addresses(&mut self) -> (Address, Address) {
        if self.0.one_in(3) {
            let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
            (v6(self.0.pick(&V6)), v6(self.0.pick(&V6)))
        } else {
            (mapped(self.0.pick(&V4)), mapped(self.0.pick(&V4)))
        }
    }

    /// Usually the VLAN in which the source lives, so that spoofing does not eat everything.
    fn tags(&mut self, source: &Address) -> Vec<u16> {
        if self.0.one_in(12) {
            return match self.0.below(6) {
                0 => vec![77],
                1 => vec![100, 400],
                2 => vec![0, 400],
                3 => vec![400, 0x2000],
                4 => vec![0x6064],
                _ => vec![1, 2, 3],
            };
        }
        if self.0.one_in(10) {
            let id = self.0.pick(&VLANS).0;
            return if id == 0 { Vec::new() } else { vec![id] };
        }
        home(source)
    }

    fn payload(&mut self) -> Payload {
        let (from, to) = (self.0.pick(&PORTS), self.0.pick(&PORTS));
        match self.0.below(16) {
            0..=7 => Payload::Tcp {
                from,
                to,
                flags: self.0.pick(&TCP_FLAGS) | self.0.pick(&[0, 0, 8, 0x40, 0x80]),
            },
            8..=12 => Payload::Udp { from, to },
            13..=14 => {
                let kind = self.0.pick(&[8, 128, 8, 128, 0, 129, 3, 11, 1, 2, 3, 13, 133, 135]);
                Payload::Icmp { kind, code: self.0.pick(&[0, 0, 0, 1]), id: self.0.pick(&PORTS) }
            }
            _ => Payload::Other(self.0.pick(&[2, 47, 50, 51, 41, 58, 1, 59, 132])),
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let payload = self.payload();
        let mut builder = FrameBuilder::new(source, destination, payload);
        builder.tags = self.tags(&source);
        if self.0.one_in(15) {
            builder.fragment = self.0.pick(&[0x2000, 0x2000, 0x0001, 0x2010, 0x4000]);
        }
        builder.build()
    }

    /// A well-formed packet that may open a flow, from where its source lives.
    fn opening(&mut self) -> Vec<u8> {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let inside =
            [mapped([10, 1, 0, 5]), mapped([10, 1, 7, 9]), mapped([10, 4, 0, 2]), mapped([10, 5, 0, 3])];
        let outside = [mapped([9, 9, 9, 9]), mapped([203, 0, 113, 200]), mapped([198, 51, 100, 8])];
        let (source, destination) = match self.0.below(6) {
            0 => (self.0.pick(&outside), self.0.pick(&[mapped([203, 0, 113, 1]), mapped([10, 4, 0, 2])])),
            1 => {
                (v6(self.0.pick(&["fd00:1::5", "fd00:4::2"])), v6(self.0.pick(&["2620:fe::fe", "fd00:4::2"])))
            }
            2 => (self.0.pick(&inside), self.0.pick(&outside)),
            _ => (self.0.pick(&inside), self.0.pick(&inside)),
        };
        let (from, to) = (30_000 + self.0.pick(&PORTS) % 4096, self.0.pick(&PORTS));
        let payload = match self.0.below(5) {
            0..=2 => Payload::Tcp { from, to, flags: 2 },
            3 => Payload::Udp { from, to },
            _ => Payload::Icmp { kind: if source[0] == 0 { 8 } else { 128 }, code: 0, id: from },
        };
        let mut builder = FrameBuilder::new(source, destination, payload);
        builder.tags = home(&source);
        builder.build()
    }

    /// A packet of a flow that is known, either way of it. Mostly with the numbers of a real handshake.
    fn follower(&mut self, known: &[FlowKey]) -> Option<Vec<u8>> {
        let key = *self.0.of(known)?;
        let mut builder = self.of_flow(&key);
        if self.0.one_in(3) {
            // As it leaves at the other end.
            std::mem::swap(&mut builder.source, &mut builder.destination);
        }
        Some(builder.build())
    }

    fn of_flow(&mut self, key: &FlowKey) -> FrameBuilder {
        let (from, to) = (u16::from_be_bytes(key.source_port), u16::from_be_bytes(key.destination_port));
        let payload = match key.protocol {
            6 if self.0.one_in(2) => Payload::Tcp { from, to, flags: self.0.pick(&[0x10, 0x18]) },
            6 => Payload::Tcp { from, to, flags: self.0.pick(&TCP_FLAGS) },
            17 => Payload::Udp { from, to },
            1 => Payload::Icmp { kind: self.0.pick(&[0, 8]), code: 0, id: from },
            58 => Payload::Icmp { kind: self.0.pick(&[128, 129]), code: 0, id: from },
            other => Payload::Other(other),
        };
        let mut builder = FrameBuilder::new(key.source, key.destination, payload)
            .numbered(1000, if self.0.one_in(9) { self.0.next() as u32 } else { 1001 });
        let vlan = VLANS.iter().find(|(_, zone)| *zone == key.zone).map_or(0, |(vlan, _)| *vlan);
        if vlan != 0 {
            builder.tags = vec![vlan];
        }
        builder
    }

    /// An ICMP error about a known flow, from its receiver or from somewhere on the way; some with a foreign inside.
    fn error(&mut self, known: &[FlowKey]) -> Option<Vec<u8>> {
        let (about, elsewhere) = (*self.0.of(known)?, *self.0.of(known)?);
        // What the error is about went the other way than it comes.
        let inner = self.of_flow(&about);
        let is_v6 = about.source[..12] != mapped([0; 4])[..12];
        let kinds: &[u8] = if is_v6 { &[1, 2, 3, 4] } else { &[3, 11, 12, 3, 5] };
        let payload = Payload::Icmp { kind: self.0.pick(kinds), code: self.0.pick(&[0, 1, 3, 4]), id: 0 };
        let sender = if self.0.one_in(2) { about.destination } else { elsewhere.source };
        let receiver = if self.0.one_in(5) { elsewhere.source } else { about.source };
        let mut builder = FrameBuilder::new(sender, receiver, payload);
        builder.tags = self.tags(&sender);
        let mut inside = inner.packet();
        let header = if is_v6 { 40 } else { 20 };
        inside.truncate(header + self.0.pick(&[8, 8, 8, 20, 4, 0]));
        if self.0.one_in(9) {
            let place = self.0.below(inside.len());
            inside[place] = self.0.next().to_le_bytes()[7];
        }
        Some(longer(builder.build(), 14 + 4 * builder.tags.len(), &inside))
    }

    /// From outside to a port that is shut, as scanners do.
    fn knock(&mut self) -> Vec<u8> {
        let to = 1000 + self.0.below(200) as u16;
        let payload = Payload::Tcp { from: 55_555, to, flags: 2 };
        FrameBuilder::v4(self.0.pick(&[[9, 9, 9, 9], [9, 9, 9, 10]]), [203, 0, 113, 1], payload).build()
    }

    /// IPv4 with options between header and payload.
    fn with_options(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        if frame.get(12..15) == Some(&[8, 0, 0x45]) && frame.len() >= 34 {
            let words = 1 + self.0.below(10);
            let total = u16::from_be_bytes([frame[16], frame[17]]).saturating_add(4 * words as u16);
            frame[14] = 0x45 + words as u8;
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            frame.splice(34..34, vec![1; 4 * words]);
        }
        frame
    }

    /// IPv4 or IPv6 in a PPPoE session (RFC 2516), sometimes with a length that is none.
    fn in_a_session(&mut self, frame: Vec<u8>) -> Vec<u8> {
        let kind: [u8; 2] = match frame.get(12..14) {
            Some([8, 0]) => [0, 0x21],
            Some([0x86, 0xdd]) => [0, 0x57],
            _ => return frame,
        };
        let kind = if self.0.one_in(6) { [0xc0, 0x21] } else { kind };
        let length = (frame.len() - 14 + 2 - if self.0.one_in(8) { 3 } else { 0 }) as u16;
        let [high, low] = length.to_be_bytes();
        let mut session = frame[..12].to_vec();
        session.extend([0x88, 0x64, 0x11, 0, 0, 7, high, low, kind[0], kind[1]]);
        session.extend(&frame[14..]);
        session
    }

    fn with_extensions(&mut self) -> Vec<u8> {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let (source, destination) = (v6(self.0.pick(&V6[1..3])), v6(self.0.pick(&V6[..6])));
        let payload = self.payload();
        let mut builder = FrameBuilder::new(source, destination, payload);
        builder.tags = self.tags(&source);
        for _ in 0..self.0.below(9) {
            builder.extensions.push(self.0.pick(&[0, 60, 60, 44, 51, 135, 43]));
        }
        builder.build()
    }

    fn essential(&mut self) -> Vec<u8> {
        let (source, _) = self.addresses();
        let mut builder = match self.0.below(6) {
            0 => FrameBuilder::v4([0; 4], [255; 4], Payload::Udp { from: 68, to: 67 }),
            1 => FrameBuilder::v4([9, 9, 9, 9], [203, 0, 113, 1], Payload::Udp { from: 67, to: 68 }),
            2 => FrameBuilder::v4([10, 1, 0, 5], [224, 0, 0, 22], Payload::Other(2)).hops(1),
            _ => {
                let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
                let kind = self.0.pick(&[130, 133, 134, 135, 136, 137, 143]);
                FrameBuilder::new(
                    v6(self.0.pick(&["fe80::1", "::", "fd00:1::5"])),
                    v6("ff02::1"),
                    Payload::Icmp { kind, code: 0, id: 0 },
                )
                .hops(self.0.pick(&[255, 255, 1, 64]))
            }
        };
        builder.tags = self.tags(&source);
        builder.build()
    }

    fn not_ip(&mut self) -> Vec<u8> {
        let kind: u16 = self.0.pick(&[0x0806, 0x88cc, 0x888e, 0x8809, 0x0026, 0x8863, 0x1234]);
        let mut frame = vec![2; 12];
        if self.0.one_in(2) {
            frame.extend([0x81, 0, 0, self.0.pick(&[100, 77])]);
        }
        frame.extend(kind.to_be_bytes());
        frame.extend([0; 46]);
        frame
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = 14 + self.0.below(100);
        (0..length).map(|_| self.0.next().to_le_bytes()[7]).collect()
    }

    fn mutate(&mut self, frame: &mut Vec<u8>) {
        match self.0.below(3) {
            0 => {
                let length = 14 + self.0.below(frame.len() - 13);
                frame.truncate(length);
            }
            1 => {
                let place = self.0.below(frame.len());
                frame[place] = self.0.next().to_le_bytes()[7];
            }
            _ => {
                let place = 12 + self.0.below(frame.len() - 12);
                frame[place] ^= 1 << self.0.below(8);
            }
        }
    }
}

/// The frame with more bytes at its end, and the length in its network header, at `at`, put right.
fn longer(mut frame: Vec<u8>, at: usize, more: &[u8]) -> Vec<u8> {
    let place = if frame[at] >> 4 == 4 { at + 2 } else { at + 4 };
    let length = u16::from_be_bytes([frame[place], frame[place + 1]]) + more.len() as u16;
    frame[place..place + 2].copy_from_slice(&length.to_be_bytes());
    frame.extend(more);
    frame
}

/// The tag of the VLAN in which an address lives.
fn home(source: &Address) -> Vec<u16> {
    match (source[0], source[1], source[3], source[12], source[13]) {
        (0, _, _, 10, 1) | (0xfd, _, 1, _, _) => vec![100],
        (0, _, _, 10, 4) | (0xfd, _, 4, _, _) => vec![400],
        (0, _, _, 10, 5) => vec![500],
        _ => Vec::new(),
    }
}
