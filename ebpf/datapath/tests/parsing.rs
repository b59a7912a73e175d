//! What is read from a frame, and what is refused while reading.

mod common;

use abi::{Action, MAX_EXTENSION_HEADERS, Reason};
use common::*;
use datapath::host::{FrameBuilder, Payload};

const DROP: fn(Reason) -> (Action, Reason) = |reason| (Action::Drop, reason);
const PASS: fn(Reason) -> (Action, Reason) = |reason| (Action::Pass, reason);

#[test]
fn the_one_tag_with_an_id_names_the_zone() {
    let frame = || FrameBuilder::v4(CAMERA, WEB, Payload::Tcp { from: 4000, to: 443, flags: SYN });
    for (frame, expected) in [
        (frame().tagged(400), PASS(Reason::RuleAllowed)),
        // The upper bits are priority (802.1Q §9.6).
        (frame().tagged(0xe000 | 400), PASS(Reason::RuleAllowed)),
        // Id 0 is a priority tag: outer, inner, alone.
        (frame().tagged(400).tagged(0), PASS(Reason::RuleAllowed)),
        (frame().tagged(0).tagged(400), PASS(Reason::RuleAllowed)),
        (frame().tagged(0), DROP(Reason::Spoofed)),
        (frame().tagged(100), DROP(Reason::Spoofed)),
        (frame().tagged(401), DROP(Reason::WrongVlan)),
        (frame().tagged(400).tagged(400), DROP(Reason::WrongVlan)),
        (frame().tagged(400).tagged(100), DROP(Reason::WrongVlan)),
        (frame().tagged(0).tagged(0).tagged(400), DROP(Reason::WrongVlan)),
    ] {
        assert_eq!(Home::default().asks(&frame), expected, "{:x?}", frame.tags);
    }
}

#[test]
fn a_tag_that_the_device_took_out_counts_too() {
    let home = Home::default();
    let frame = FrameBuilder::v4(CAMERA, WEB, Payload::Tcp { from: 4000, to: 443, flags: SYN }).build();
    let mut verdict = datapath::Verdict::EMPTY;
    let input = datapath::Input { vlan: 400, ..home.input(frame.len()) };
    datapath::decide(&frame.as_slice(), &input, &home.tables, &mut verdict);
    assert_eq!((verdict.vlan, verdict.reason), (400, Reason::RuleAllowed));
}

#[test]
fn what_is_not_ip_passes_where_it_belongs() {
    let home = Home::default();
    let frame = |ethertype: u16, vlan: Option<u16>| {
        let mut bytes = vec![2; 12];
        if let Some(vlan) = vlan {
            bytes.extend([0x81, 0]);
            bytes.extend(vlan.to_be_bytes());
        }
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend([0; 46]);
        bytes
    };
    for (ethertype, vlan, expected) in [
        (0x0806, Some(400), PASS(Reason::LinkEssential)),
        (0x0806, Some(9), DROP(Reason::WrongVlan)),
        (0x88cc, None, PASS(Reason::LinkEssential)),
        (0x888e, None, PASS(Reason::LinkEssential)),
        (0x8809, None, PASS(Reason::LinkEssential)),
        (0x0027, None, PASS(Reason::LinkEssential)),
        (0x0027, Some(9), DROP(Reason::WrongVlan)),
        (0x8863, None, PASS(Reason::LinkEssential)),
        (0x88f7, None, PASS(Reason::NotIp)),
        (0x88f7, Some(9), DROP(Reason::WrongVlan)),
    ] {
        let verdict = home.judge(&frame(ethertype, vlan));
        assert_eq!((verdict.action, verdict.reason), expected, "{ethertype:04x} in {vlan:?}");
    }
}

#[test]
fn headers_that_lie_are_malformed() {
    let home = Home::default();
    let syn = tcp(LAPTOP, 4000, WEB, 443, SYN).build();
    let at = 18;
    for (what, place, byte) in [
        ("version 5", at, 0x55),
        ("header of 16 bytes", at, 0x44),
        ("header longer than the packet", at, 0x4f),
        ("length longer than the frame", at + 3, 41),
        ("length shorter than the header", at + 3, 19),
        ("length without a TCP header", at + 3, 30),
        ("TCP offset of 16 bytes", at + 20 + 12, 0x40),
        ("TCP offset beyond the packet", at + 20 + 12, 0x60),
        ("no TCP flags", at + 20 + 13, 0),
        ("SYN and FIN", at + 20 + 13, 3),
        ("SYN and RST", at + 20 + 13, 6),
        ("FIN alone", at + 20 + 13, 1),
        ("FIN, PSH and URG", at + 20 + 13, 0x29),
        ("everything", at + 20 + 13, 0xff),
    ] {
        let mut frame = syn.clone();
        frame[place] = byte;
        let verdict = home.judge(&frame);
        assert_eq!((verdict.action, verdict.reason), DROP(Reason::Malformed), "{what}");
        assert_eq!(verdict.zone_from, LAN, "{what}");
    }
    let mut datagram = udp(LAPTOP, 4000, WEB, 53).build();
    for length in [0, 7, 13] {
        datagram[at + 20 + 5] = length;
        assert_eq!(home.judge(&datagram).reason, Reason::Malformed, "UDP length {length}");
    }
}

#[test]
fn a_frame_cut_anywhere_is_malformed_until_its_headers_are_whole() {
    let home = Home::default();
    let whole = udp(LAPTOP, 4000, WEB, 53).build();
    for length in 0..whole.len() {
        let verdict = home.judge(&whole[..length]);
        assert_eq!((verdict.action, verdict.reason), DROP(Reason::Malformed), "{length} bytes");
    }
    assert_eq!(home.judge(&whole).reason, Reason::RuleAllowed);
    let mut padded = whole;
    padded.resize(64, 0xaa);
    assert_eq!(home.judge(&padded).reason, Reason::Established, "padding is not part of the packet");
}

#[test]
fn options_move_the_ports() {
    let home = Home::default();
    let plain = udp(LAPTOP, 4000, WEB, 53).build();
    let mut frame = plain[..18 + 20].to_vec();
    frame[18] = 0x46;
    frame[18 + 3] += 4;
    frame.extend([1, 1, 1, 0]);
    frame.extend(&plain[18 + 20..]);
    let verdict = home.judge(&frame);
    assert_eq!(verdict.reason, Reason::RuleAllowed);
    assert_eq!(verdict.flow.destination_port, 53_u16.to_be_bytes());
}

#[test]
fn extension_headers_are_walked_so_far_and_no_further() {
    let home = Home::default();
    let with = |extensions: &[u8]| {
        let payload = Payload::Tcp { from: 4000, to: 443, flags: SYN };
        let mut frame = FrameBuilder::new(v6("fd00:1::5"), v6("2620:fe::fe"), payload).tagged(100);
        frame.extensions = extensions.to_vec();
        home.asks(&frame)
    };
    assert_eq!(with(&[]), PASS(Reason::RuleAllowed));
    assert_eq!(
        with(&[0, 60, 51, 135, 44]),
        PASS(Reason::Established),
        "through all kinds, to the same ports"
    );
    assert_eq!(with(&[60; MAX_EXTENSION_HEADERS]), PASS(Reason::Established));
    assert_eq!(with(&[60; MAX_EXTENSION_HEADERS + 1]), DROP(Reason::Malformed));
    assert_eq!(with(&[60, 0]), DROP(Reason::Malformed), "hop-by-hop stands first");
    assert_eq!(with(&[43]), DROP(Reason::Malformed), "routing header 0");
}

#[test]
fn later_fragments_go_to_the_second_wall_and_first_ones_are_judged() {
    let mut home = Home::default();
    home.ban_in(ATTACKER);
    let fragment = |source, destination, fragment| {
        let mut frame = udp(source, 4000, destination, 53);
        frame.fragment = fragment;
        home.asks(&frame)
    };
    assert_eq!(fragment(LAPTOP, WEB, 0x2000), PASS(Reason::RuleAllowed));
    assert_eq!(fragment(LAPTOP, WEB, 0x2005), PASS(Reason::Fragment));
    assert_eq!(fragment(LAPTOP, WEB, 0x0005), PASS(Reason::Fragment));
    assert_eq!(fragment(ATTACKER, PUBLIC, 0x2000), DROP(Reason::BannedSource));
    assert_eq!(fragment(ATTACKER, PUBLIC, 0x0005), PASS(Reason::Fragment), "its first was dropped");
    assert_eq!(fragment(CAMERA, LAPTOP, 0x2000), (Action::Reject, Reason::DefaultDenied));
    let spoofed = FrameBuilder { fragment: 5, ..FrameBuilder::v4(LAPTOP, WEB, Payload::Other(17)) };
    assert_eq!(home.asks(&spoofed), DROP(Reason::Spoofed), "and spoofing holds for all of them");
    // A first fragment too small for its ports hides them (RFC 1858).
    let mut tiny = tcp(LAPTOP, 4000, WEB, 443, SYN).build();
    tiny[18 + 6] = 0x20;
    tiny[18 + 3] = 28;
    assert_eq!(home.judge(&tiny).reason, Reason::Malformed);
}

#[test]
fn protocols_without_ports_go_to_the_second_wall() {
    let home = Home::default();
    for protocol in [4, 41, 47, 50, 51, 132] {
        let frame = in_its_vlan(FrameBuilder::v4(LAPTOP, WEB, Payload::Other(protocol)));
        assert_eq!(home.asks(&frame), PASS(Reason::Portless), "{protocol}");
    }
    let foreign = in_its_vlan(FrameBuilder::v4(LAPTOP, WEB, Payload::Other(58)));
    assert_eq!(home.asks(&foreign), PASS(Reason::Portless), "ICMPv6 has no place in IPv4");
}

#[test]
fn without_a_plan_everything_passes() {
    let mut home = Home::default();
    home.tables.active.generation = 0;
    assert_eq!(home.asks(&tcp(ATTACKER, 1, PUBLIC, 22, SYN)), PASS(Reason::NoPlan));
    assert_eq!(home.judge(&[]).reason, Reason::NoPlan);
}
