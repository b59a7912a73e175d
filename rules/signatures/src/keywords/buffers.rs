//! Sticky buffers: words after which contents look at other bytes than the payload.

use super::{Draft, Read, no_value, number::NumberTest, payload::PayloadMatch, unquoted, value};
use crate::rule::{Buffer, Part};
use crate::syntax::{HeaderProtocol, RawOption};

pub(crate) const KEYWORDS: &[(&str, Read)] = &[
    ("pkt_data", |draft, option| enter(draft, option, Buffer::Payload)),
    ("ipv4.hdr", |draft, option| header(draft, option, Buffer::Ipv4Header)),
    ("ipv6.hdr", |draft, option| header(draft, option, Buffer::Ipv6Header)),
    ("tcp.hdr", |draft, option| header(draft, option, Buffer::TcpHeader)),
    ("udp.hdr", |draft, option| header(draft, option, Buffer::UdpHeader)),
    ("icmpv4.hdr", |draft, option| header(draft, option, Buffer::Icmpv4Header)),
    ("icmpv6.hdr", |draft, option| header(draft, option, Buffer::Icmpv6Header)),
    ("dns.query", dns_query),
    ("dns_query", dns_query),
    ("dns.queries.rrname", dns_query),
    ("dotprefix", dot_prefix),
    ("bsize", bsize),
];

fn enter(draft: &mut Draft<'_>, option: &RawOption<'_>, buffer: Buffer) -> Result<(), String> {
    no_value(option)?;
    draft.current = buffer;
    Ok(())
}

fn header(draft: &mut Draft<'_>, option: &RawOption<'_>, buffer: Buffer) -> Result<(), String> {
    draft.needs_packet = true;
    enter(draft, option, buffer)
}

fn dns_query(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    match draft.protocol {
        HeaderProtocol::Dns => {}
        HeaderProtocol::Ip
        | HeaderProtocol::Tcp
        | HeaderProtocol::TcpPacket
        | HeaderProtocol::TcpStream
        | HeaderProtocol::Udp
        | HeaderProtocol::Icmp
        | HeaderProtocol::IcmpV6 => return Err("it goes with the protocol dns".into()),
    }
    enter(draft, option, Buffer::DnsQuery)?;
    // A second `dns.query` starts its own part: both have to hold, perhaps on different names.
    draft.parts.push(Part { buffer: Buffer::DnsQuery, dot_prefix: false, matches: Vec::new() });
    Ok(())
}

fn dot_prefix(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    no_value(option)?;
    if draft.current != Buffer::DnsQuery {
        return Err("it follows a sticky buffer that holds names".into());
    }
    let at = draft.part_index();
    if !draft.parts[at].matches.is_empty() {
        return Err("it stands before the contents of its buffer".into());
    }
    draft.parts[at].dot_prefix = true;
    Ok(())
}

fn bsize(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    if draft.current == Buffer::Payload {
        return Err("it follows a sticky buffer; for the payload of a packet write dsize".into());
    }
    let test = NumberTest::parse(unquoted(value(option)?), u32::MAX)?;
    draft.push(PayloadMatch::Size(test))
}
