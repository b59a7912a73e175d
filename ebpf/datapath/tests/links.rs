//! Spoofing, and what the link itself needs.

mod common;

use abi::{Action, Reason, ZONE_ANTI_SPOOF, ZONE_SELF};
use common::*;
use datapath::host::{FrameBuilder, Payload, Prefix};

fn v6_icmp(source: &str, destination: &str, kind: u8) -> FrameBuilder {
    FrameBuilder::new(v6(source), v6(destination), Payload::Icmp { kind, code: 0, id: 0 })
}

#[test]
fn a_source_belongs_to_its_zone() {
    let mut home = Home::default();
    let payload = Payload::Tcp { from: 1, to: 443, flags: SYN };
    let cases = [
        ("the laptop from the LAN", FrameBuilder::v4(LAPTOP, WEB, payload).tagged(100), false),
        ("the laptop from the WAN", FrameBuilder::v4(LAPTOP, PUBLIC, payload), true),
        ("the router's own address from the LAN", FrameBuilder::v4(ROUTER, WEB, payload).tagged(100), true),
        ("the router's own address from the WAN", FrameBuilder::v4(PUBLIC, PUBLIC, payload), true),
        ("a stranger from the LAN", FrameBuilder::v4(WEB, PUBLIC, payload).tagged(100), true),
        ("a stranger from the WAN", FrameBuilder::v4(WEB, PUBLIC, payload), false),
        ("a private address from the WAN", FrameBuilder::v4([192, 168, 7, 7], PUBLIC, payload), false),
        ("link-local v6", FrameBuilder::new(v6("fe80::1"), v6("fd00:1::1"), payload).tagged(100), false),
    ];
    for (what, frame, spoofed) in &cases {
        assert_eq!(home.asks(frame).1 == Reason::Spoofed, *spoofed, "{what}");
    }
    for flags in home.tables.zones.values_mut() {
        flags.flags &= !ZONE_ANTI_SPOOF;
    }
    for (what, frame, _) in &cases {
        assert_ne!(home.asks(frame).1, Reason::Spoofed, "{what}, unchecked");
    }
    for (what, frame) in [
        ("loopback", FrameBuilder::v4([127, 0, 0, 1], PUBLIC, payload)),
        ("multicast", FrameBuilder::v4([224, 0, 0, 1], PUBLIC, payload)),
        ("v6 loopback", FrameBuilder::new(v6("::1"), v6("fd00:1::5"), payload)),
        ("v6 multicast", FrameBuilder::new(v6("ff02::1"), v6("fd00:1::5"), payload)),
        (
            "a v4-mapped address on the wire",
            FrameBuilder::new(v6("::ffff:9.9.9.9"), v6("fd00:1::5"), payload),
        ),
    ] {
        assert_eq!(home.asks(&frame), (Action::Drop, Reason::Spoofed), "{what} is nobody's");
    }
}

#[test]
fn essentials_pass_where_they_belong() {
    let mut home = Home::default();
    home.tables.networks.push((Prefix::v6(v6("fd00:1::1"), 128), ZONE_SELF));
    let dhcp =
        |source, from, destination, to| FrameBuilder::v4(source, destination, Payload::Udp { from, to });
    let nobody = [0; 4];
    let everybody = [255; 4];
    for (what, frame, expected) in [
        ("a client asks inside", dhcp(nobody, 68, everybody, 67).tagged(100), Reason::LinkEssential),
        ("a client asks on the WAN", dhcp(nobody, 68, everybody, 67), Reason::DefaultDenied),
        ("the provider answers", dhcp(WEB, 67, everybody, 68), Reason::LinkEssential),
        ("a server answers inside", dhcp(LAPTOP, 67, everybody, 68).tagged(100), Reason::RuleAllowed),
        ("a client renews by the router", dhcp(LAPTOP, 68, ROUTER, 67).tagged(100), Reason::LinkEssential),
        ("a client asks who is far away", dhcp(LAPTOP, 68, WEB, 67).tagged(100), Reason::RuleAllowed),
        ("the provider answers the router", dhcp(WEB, 67, PUBLIC, 68), Reason::LinkEssential),
        ("somebody answers a host inside", dhcp([198, 51, 100, 9], 67, LAPTOP, 68), Reason::DefaultDenied),
        (
            "solicitation of the router",
            v6_icmp("fd00:1::5", "fd00:1::1", 135).hops(255).tagged(100),
            Reason::LinkEssential,
        ),
        (
            "solicitation of a neighbour",
            v6_icmp("fd00:1::5", "fd00:1::6", 135).hops(255).tagged(100),
            Reason::LinkEssential,
        ),
        ("a solicitation through us", v6_icmp("2620:fe::fe", "fd00:1::6", 135).hops(255), Reason::NoState),
        (
            "solicitation of who is far away",
            v6_icmp("fd00:1::5", "2620:fe::fe", 135).hops(255).tagged(100),
            Reason::NoState,
        ),
        ("solicitation", v6_icmp("fe80::1", "ff02::1", 135).hops(255), Reason::LinkEssential),
        ("duplicate detection", v6_icmp("::", "ff02::1", 135).hops(255).tagged(100), Reason::LinkEssential),
        ("advertisement of a router", v6_icmp("fe80::1", "ff02::1", 134).hops(255), Reason::LinkEssential),
        ("from further away", v6_icmp("fe80::1", "ff02::1", 134).hops(254), Reason::Malformed),
        ("MLD report", v6_icmp("fe80::1", "ff02::16", 143).hops(1), Reason::LinkEssential),
        ("MLD report from afar", v6_icmp("2620:fe::fe", "ff02::16", 143).hops(1), Reason::NoState),
    ] {
        assert_eq!(home.asks(&frame).1, expected, "{what}");
    }
    let igmp = FrameBuilder::v4(LAPTOP, [224, 0, 0, 22], Payload::Other(2)).tagged(100);
    assert_eq!(home.asks(&igmp.clone().hops(1)).1, Reason::LinkEssential);
    assert_eq!(home.asks(&igmp).1, Reason::Portless);
    let dhcpv6 = |from, to| FrameBuilder::new(v6("fe80::5"), v6("ff02::1:2"), Payload::Udp { from, to });
    assert_eq!(home.asks(&dhcpv6(546, 547).tagged(100)).1, Reason::LinkEssential);
    assert_eq!(home.asks(&dhcpv6(547, 546)).1, Reason::LinkEssential);
    assert_ne!(home.asks(&dhcpv6(546, 547)).1, Reason::LinkEssential);
}
