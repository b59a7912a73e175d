//! What of a source can be told without anything that is decided: what the link itself needs, who cannot be where he
//! says he is, and who cannot be at all.

use abi::{
    Address, ZONE_ANTI_SPOOF, ZONE_BOGONS, ZONE_IS_WAN,
    image::{ADDRESS_PROTECTED, ADDRESS_UPSTREAM},
    mapped,
};

use crate::{
    Tables, Verdict,
    parse::{self, ICMPV6, IGMP, Kind, UDP},
    verdict::Work,
};

/// Whether the link itself needs a packet.
pub(crate) enum Essential {
    No,
    Yes,
    /// If it is for the router itself or stays in its zone (devices of a bridge); what goes further is not about the link.
    IfNear,
    /// It claims to be, from further away than the link.
    Forged,
}

/// DHCP (RFC 2131, 8415), neighbour discovery (RFC 4861), MLD (RFC 3810) and IGMP (RFC 3376), where they belong.
#[inline(always)]
pub(crate) fn essential(verdict: &Verdict) -> Essential {
    const DHCP: [[u8; 2]; 2] = [[0, 67], [0, 68]];
    const DHCPV6: [[u8; 2]; 2] = [547_u16.to_be_bytes(), 546_u16.to_be_bytes()];
    let (flow, packet, zone) = (&verdict.flow, &verdict.work.packet, verdict.work.setting.zone);
    let is_essential = match flow.protocol {
        UDP if packet.kind == Kind::Opening => {
            let [server, client] = if packet.v6 { DHCPV6 } else { DHCP };
            let ports = [flow.source_port, flow.destination_port];
            let near = !packet.v6 || parse::is_link_local(&flow.source);
            // Inside we are the server, outside the client.
            near && ports == if zone & ZONE_IS_WAN == 0 { [client, server] } else { [server, client] }
        }
        ICMPV6 if packet.v6 => match packet.icmp[0] {
            133..=137 if packet.hop_limit != 255 => return Essential::Forged,
            133..=137 => true,
            130..=132 | 143 => {
                packet.hop_limit == 1
                    && (parse::is_link_local(&flow.source) || parse::is_unspecified(&flow.source))
            }
            _ => false,
        },
        IGMP => !packet.v6 && packet.hop_limit == 1 && parse::is_multicast(&flow.destination, false),
        _ => false,
    };
    if !is_essential {
        Essential::No
    } else if is_near(&flow.destination, packet.v6) {
        Essential::Yes
    } else {
        Essential::IfNear
    }
}

/// Nobody forwards what goes there: everybody on the link, a group, or somebody on the link.
#[inline(always)]
fn is_near(destination: &Address, v6: bool) -> bool {
    parse::is_multicast(destination, v6)
        || if v6 { parse::is_link_local(destination) } else { *destination == mapped([255; 4]) }
}

/// The source cannot be where the packet came from. What is known of it has been looked up.
#[inline(always)]
pub(crate) fn is_spoofed<T: Tables>(tables: &T, verdict: &Verdict) -> bool {
    let Work { setting, packet, .. } = &verdict.work;
    let source = &verdict.flow.source;
    if parse::is_loopback(source, packet.v6)
        || parse::is_multicast(source, packet.v6)
        || (packet.v6 && parse::is_mapped(source))
    {
        return true;
    }
    // A v6 host speaks on its link before it has an address of the zone.
    if setting.zone & ZONE_ANTI_SPOOF == 0 || (packet.v6 && parse::is_link_local(source)) {
        return false;
    }
    let home = verdict.work.source.zone;
    if home == verdict.zone_from {
        return false;
    }
    // With two ways out, what is out there can come in by either.
    let is_outside =
        setting.zone & ZONE_IS_WAN != 0 && tables.zone(setting.slot, home).flags & ZONE_IS_WAN != 0;
    !is_outside
}

/// The source cannot be out there, and nobody has said that it is.
#[inline(always)]
pub(crate) fn is_bogon(verdict: &Verdict) -> bool {
    let Work { setting, packet, source, .. } = &verdict.work;
    if setting.zone & ZONE_BOGONS == 0 || source.flags & (ADDRESS_PROTECTED | ADDRESS_UPSTREAM) != 0 {
        return false;
    }
    if packet.v6 { is_bogon_v6(&verdict.flow.source) } else { is_bogon_v4(&verdict.flow.source) }
}

/// IPv4 addresses that are no source in the Internet (RFC 6890 and its registry): not globally reachable, or reserved.
#[inline(always)]
const fn is_bogon_v4(source: &Address) -> bool {
    matches!(
        (source[12], source[13], source[14]),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., _, _)
    )
}

/// IPv6 addresses that are no source in the Internet: all outside `2000::/3` but those of the link and of NAT64
/// (RFC 6052), and what is reserved within (documentation: RFC 3849, 9637; benchmarks: RFC 5180; ORCHID: RFC 4843).
#[inline(always)]
const fn is_bogon_v6(source: &Address) -> bool {
    let first = u16::from_be_bytes([source[0], source[1]]);
    let second = u16::from_be_bytes([source[2], source[3]]);
    match first {
        0xfe80..=0xfebf => false,
        0x0064 => second != 0xff9b,
        0x2001 => matches!(second, 0x0db8 | 0x0002 | 0x0010..=0x001f),
        0x3fff => second < 0x1000,
        0x2000..=0x3ffe => false,
        _ => true,
    }
}
