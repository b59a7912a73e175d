//! Tests of a packet's headers and size: `dsize`, `flags`, `seq`, `ack`, `window`, `itype`, `icode`, `icmp_id`,
//! `icmp_seq`, `ttl`, `tos`, `id`, `ip_proto`, `sameip`, `vlan.id`, `vlan.layers`.

use super::{Draft, Read, no_value, number::NumberTest, unquoted, value};
use crate::decode::Packet;
use crate::syntax::{HeaderProtocol, RawOption};

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PacketTest {
    PayloadSize(NumberTest),
    TcpFlags { set: u8, seen: u8, mode: FlagMode },
    Sequence(u32),
    Acknowledgement(u32),
    Window { value: u32, negated: bool },
    IcmpType(NumberTest),
    IcmpCode(NumberTest),
    IcmpId(u32),
    IcmpSequence(u32),
    TimeToLive(NumberTest),
    TypeOfService(NumberTest),
    IpId { value: u32, negated: bool },
    IpProtocol(NumberTest),
    SameAddresses,
    VlanLayers(NumberTest),
    VlanId(NumberTest),
}

/// How flags are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlagMode {
    /// These and no others.
    Exactly,
    /// These and perhaps others.
    All,
    /// One of these.
    Any,
    /// Not all of these.
    NotAll,
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[
    ("dsize", |draft, option| {
        draft.needs_packet = true;
        number(draft, option, u32::from(u16::MAX), PacketTest::PayloadSize)
    }),
    ("flags", flags),
    ("tcp.flags", flags),
    ("seq", |draft, option| exact(draft, option, u32::MAX, PacketTest::Sequence)),
    ("tcp.seq", |draft, option| exact(draft, option, u32::MAX, PacketTest::Sequence)),
    ("ack", |draft, option| exact(draft, option, u32::MAX, PacketTest::Acknowledgement)),
    ("tcp.ack", |draft, option| exact(draft, option, u32::MAX, PacketTest::Acknowledgement)),
    ("window", window),
    ("tcp.window", window),
    ("itype", |draft, option| number(draft, option, 255, PacketTest::IcmpType)),
    ("icode", |draft, option| number(draft, option, 255, PacketTest::IcmpCode)),
    ("icmp_id", |draft, option| exact(draft, option, u32::from(u16::MAX), PacketTest::IcmpId)),
    ("icmp_seq", |draft, option| exact(draft, option, u32::from(u16::MAX), PacketTest::IcmpSequence)),
    ("ttl", |draft, option| number(draft, option, 255, PacketTest::TimeToLive)),
    ("tos", |draft, option| number(draft, option, 255, PacketTest::TypeOfService)),
    ("id", ip_id),
    ("ip_proto", ip_proto),
    ("sameip", |draft, option| {
        draft.needs_packet = true;
        no_value(option).map(|()| draft.packet.push(PacketTest::SameAddresses))
    }),
    ("vlan.layers", |draft, option| number(draft, option, 8, PacketTest::VlanLayers)),
    ("vlan.id", |draft, option| number(draft, option, 4095, PacketTest::VlanId)),
    ("prefilter", |_, option| no_value(option)),
];

impl PacketTest {
    pub(crate) fn holds(&self, packet: &Packet<'_>) -> bool {
        let icmp = |pick: fn(&crate::decode::Icmp) -> u32| packet.icmp.as_ref().map(pick);
        match self {
            // As in Suricata, `!N` asks for a payload as well.
            Self::PayloadSize(NumberTest::NotEqual(_)) if packet.payload.is_empty() => false,
            Self::PayloadSize(test) => test.holds(u32::try_from(packet.payload.len()).unwrap_or(u32::MAX)),
            Self::TcpFlags { set, seen, mode } => packet.tcp.as_ref().is_some_and(|tcp| {
                let flags = tcp.flags & seen;
                match mode {
                    FlagMode::Exactly => flags == *set,
                    FlagMode::All => flags & set == *set,
                    FlagMode::Any => flags & set != 0,
                    FlagMode::NotAll => flags & set != *set,
                }
            }),
            Self::Sequence(value) => packet.tcp.as_ref().is_some_and(|tcp| tcp.sequence == *value),
            Self::Acknowledgement(value) => {
                packet.tcp.as_ref().is_some_and(|tcp| tcp.acknowledgement == *value)
            }
            Self::Window { value, negated } => {
                packet.tcp.as_ref().is_some_and(|tcp| (u32::from(tcp.window) == *value) != *negated)
            }
            Self::IcmpType(test) => icmp(|icmp| icmp.kind.into()).is_some_and(|kind| test.holds(kind)),
            Self::IcmpCode(test) => icmp(|icmp| icmp.code.into()).is_some_and(|code| test.holds(code)),
            Self::IcmpId(value) => icmp(|icmp| icmp.id.into()) == Some(*value),
            Self::IcmpSequence(value) => icmp(|icmp| icmp.sequence.into()) == Some(*value),
            Self::TimeToLive(test) => test.holds(packet.time_to_live.into()),
            Self::TypeOfService(test) => packet.is_v4() && test.holds(packet.type_of_service.into()),
            Self::IpId { value, negated } => {
                packet.is_v4() && (u32::from(packet.ip_id) == *value) != *negated
            }
            Self::IpProtocol(test) => test.holds(packet.protocol.into()),
            Self::SameAddresses => packet.source == packet.destination,
            Self::VlanLayers(test) => test.holds(packet.vlan_layers.into()),
            Self::VlanId(test) => packet.vlan_layers > 0 && test.holds(packet.vlan.into()),
        }
    }
}

fn number(
    draft: &mut Draft<'_>,
    option: &RawOption<'_>,
    max: u32,
    make: fn(NumberTest) -> PacketTest,
) -> Result<(), String> {
    let test = NumberTest::parse(unquoted(value(option)?), max)?;
    draft.needs_packet = true;
    draft.packet.push(make(test));
    Ok(())
}

fn exact(
    draft: &mut Draft<'_>,
    option: &RawOption<'_>,
    max: u32,
    make: fn(u32) -> PacketTest,
) -> Result<(), String> {
    let text = unquoted(value(option)?).trim();
    let number = text.parse().ok().filter(|number| *number <= max);
    draft.needs_packet = true;
    draft.packet.push(make(number.ok_or_else(|| format!("`{text}` is no number up to {max}"))?));
    Ok(())
}

fn negatable(option: &RawOption<'_>) -> Result<(u32, bool), String> {
    let text = unquoted(value(option)?).trim();
    let (negated, digits) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim()));
    let number = digits.parse::<u16>().map_err(|_| format!("`{text}` is no number up to 65535"))?;
    Ok((number.into(), negated))
}

fn window(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let (value, negated) = negatable(option)?;
    draft.needs_packet = true;
    draft.packet.push(PacketTest::Window { value, negated });
    Ok(())
}

fn ip_id(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let (value, negated) = negatable(option)?;
    draft.needs_packet = true;
    draft.packet.push(PacketTest::IpId { value, negated });
    Ok(())
}

fn ip_proto(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = unquoted(value(option)?).trim();
    let (sign, name) = text.split_at(text.len() - text.trim_start_matches(['!', '<', '>', '=']).len());
    let number = match name.trim().to_ascii_lowercase().as_str() {
        "icmp" => "1",
        "igmp" => "2",
        "ip" | "ipip" => "4",
        "tcp" => "6",
        "udp" => "17",
        "ipv6" => "41",
        "gre" => "47",
        "esp" => "50",
        "ah" => "51",
        "ipv6-icmp" => "58",
        "sctp" => "132",
        other => return number_of(draft, sign, other),
    };
    number_of(draft, sign, number)
}

fn number_of(draft: &mut Draft<'_>, sign: &str, number: &str) -> Result<(), String> {
    let test = NumberTest::parse(&format!("{sign}{number}"), 255)?;
    draft.needs_packet = true;
    draft.packet.push(PacketTest::IpProtocol(test));
    Ok(())
}

fn flags(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    if matches!(draft.protocol, HeaderProtocol::Udp | HeaderProtocol::Icmp | HeaderProtocol::IcmpV6) {
        return Err("it tests TCP, and the rule is not about TCP".into());
    }
    let text = unquoted(value(option)?);
    let (flags, ignored) = text.split_once(',').unwrap_or((text, ""));
    let (mut mode, mut set) = (FlagMode::Exactly, 0);
    for c in flags.chars().filter(|c| !c.is_whitespace()) {
        match c {
            '+' => mode = FlagMode::All,
            '*' => mode = FlagMode::Any,
            '!' => mode = FlagMode::NotAll,
            other => set |= flag(other)?,
        }
    }
    let mut seen = u8::MAX;
    for c in ignored.chars().filter(|c| !c.is_whitespace() && *c != '!') {
        seen &= !flag(c)?;
    }
    draft.needs_packet = true;
    draft.packet.push(PacketTest::TcpFlags { set, seen, mode });
    Ok(())
}

fn flag(letter: char) -> Result<u8, String> {
    Ok(match letter.to_ascii_uppercase() {
        'F' => 0x01,
        'S' => 0x02,
        'R' => 0x04,
        'P' => 0x08,
        'A' => 0x10,
        'U' => 0x20,
        'E' | '2' => 0x40,
        'C' | '1' => 0x80,
        '0' => 0,
        _ => return Err(format!("`{letter}` is no TCP flag; write F, S, R, P, A, U, E, C, 1, 2 or 0")),
    })
}
