//! What zones can ask for, and the ways around a firewall that are known.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use abi::{
    Action, DIRECTION_IN, DIRECTION_OUT, POLICY_CONTINUE, POLICY_LIMIT, Reason, SCAN_TRIES, ZONE_BOGONS,
    ZONE_ISOLATE, ZONE_LOOSE, ZONE_QUARANTINE, ZONE_SCAN, ZONE_STRICT, image::RateRow,
};
use common::*;
use datapath::{
    Verdict, decide,
    host::{FrameBuilder, Listed, Payload, PolicyRow, Prefix},
};

const DROP: fn(Reason) -> (Action, Reason) = |reason| (Action::Drop, reason);
const PASS: fn(Reason) -> (Action, Reason) = |reason| (Action::Pass, reason);
/// The MAC address of every frame that is built here.
const SENDER: [u8; 6] = [2, 0, 0, 0, 0, 2];

#[test]
fn a_zone_may_keep_its_hosts_apart() {
    let mut home = Home::default();
    home.tables.policy.insert(0, PolicyRow::everything(IOT, IOT, Action::Pass, 9));
    let other = [10, 4, 0, 10];
    assert_eq!(home.asks(&tcp(CAMERA, 1, other, 2, SYN)), PASS(Reason::RuleAllowed));
    home.flag(IOT, ZONE_ISOLATE);
    assert_eq!(home.asks(&tcp(CAMERA, 2, other, 2, SYN)), DROP(Reason::Isolated));
    assert_eq!(home.asks(&tcp(CAMERA, 1, WEB, 443, SYN)), PASS(Reason::RuleAllowed), "others are others");
}

#[test]
fn a_new_device_reaches_only_the_router_until_it_is_let_in() {
    let mut home = Home::default();
    home.flag(LAN, ZONE_QUARANTINE);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 443, SYN)), DROP(Reason::NewDevice));
    assert_eq!(home.asks(&tcp(LAPTOP, 1, ROUTER, 443, SYN)), PASS(Reason::RuleAllowed));
    home.tables.devices.insert(SENDER, 1);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 443, SYN)), PASS(Reason::RuleAllowed));
}

#[test]
fn rules_know_devices_and_flows_remember_theirs() {
    let mut home = Home::default();
    let mut deny = PolicyRow::everything(LAN, IOT, Action::Drop, 8);
    deny.device = Some(0);
    home.tables.policy.insert(0, deny);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 2, SYN)), DROP(Reason::RuleDenied));
    home.tables.devices.insert(SENDER, 1);
    home.connects(LAPTOP, 1, CAMERA, 2);
    home.tables.active.epoch += 1;
    assert_eq!(
        home.asks(&tcp(CAMERA, 2, LAPTOP, 1, ACK)),
        PASS(Reason::Established),
        "an answer is judged by who started"
    );
    home.tables.devices.clear();
    home.tables.active.epoch += 1;
    assert_eq!(home.asks(&tcp(CAMERA, 2, LAPTOP, 1, ACK)), DROP(Reason::RuleDenied));
}

#[test]
fn bogons_are_refused_outside_unless_someone_vouches_for_them() {
    let mut home = Home::default();
    home.flag(WAN, ZONE_BOGONS);
    for (source, bogon) in [
        ([9, 9, 9, 9], false),
        ([0, 1, 2, 3], true),
        ([10, 9, 9, 9], true),
        ([100, 63, 255, 255], false),
        ([100, 64, 0, 1], true),
        ([100, 128, 0, 1], false),
        ([169, 254, 1, 1], true),
        ([172, 15, 0, 1], false),
        ([172, 16, 0, 1], true),
        ([172, 32, 0, 1], false),
        ([192, 0, 0, 9], true),
        ([192, 0, 2, 9], true),
        ([192, 168, 7, 7], true),
        ([198, 18, 0, 1], true),
        ([198, 20, 0, 1], false),
        ([198, 51, 100, 66], true),
        ([203, 0, 113, 66], true),
        ([240, 0, 0, 1], true),
        ([255, 255, 255, 255], true),
    ] {
        let frame = FrameBuilder::v4(source, PUBLIC, Payload::Tcp { from: 1, to: 443, flags: SYN });
        assert_eq!(home.asks(&frame).1 == Reason::Bogon, bogon, "{source:?}");
    }
    for (source, bogon) in [
        ("2620:fe::fe", false),
        ("fe80::1", false),
        ("64:ff9b::9.9.9.9", false),
        ("fd00::1", true),
        ("2001:db8::1", true),
        ("2001:4860::1", false),
        ("2001:10::1", true),
        ("3fff:1::1", true),
        ("100::1", true),
        ("4000::1", true),
    ] {
        let frame =
            FrameBuilder::new(v6(source), v6("2620:fe::1"), Payload::Tcp { from: 1, to: 443, flags: SYN });
        assert_eq!(home.asks(&frame).1 == Reason::Bogon, bogon, "{source}");
    }
    home.tables.protected.push(Prefix::v4([192, 168, 7, 7], 32));
    let modem = FrameBuilder::v4([192, 168, 7, 7], PUBLIC, Payload::Tcp { from: 1, to: 443, flags: SYN });
    assert_eq!(home.asks(&modem), PASS(Reason::RuleAllowed));
}

#[test]
fn rates_hold_for_each_source_and_each_prefix() {
    let mut home = Home::default();
    home.tables.rates = vec![RateRow { interval: SECOND, burst: 3 }];
    home.tables.zones.get_mut(&WAN).unwrap().rate = 0;
    let syn = |source, from| tcp(source, from, PUBLIC, 443, SYN);
    for from in 1..=3 {
        assert_eq!(home.asks(&syn(ATTACKER, from)), PASS(Reason::RuleAllowed));
    }
    assert_eq!(home.asks(&syn(ATTACKER, 4)), DROP(Reason::RateLimited));
    assert_eq!(home.asks(&syn(WEB, 4)), PASS(Reason::RuleAllowed), "another source, another bucket");
    assert!(!home.judge(&tcp(ATTACKER, 1, PUBLIC, 443, ACK).build()).drops(), "a flow goes on");
    home.wait(1);
    assert_eq!(home.asks(&syn(ATTACKER, 4)), PASS(Reason::RuleAllowed), "one more a second");
    assert_eq!(home.asks(&syn(ATTACKER, 5)), DROP(Reason::RateLimited));

    let mut home = Home::default();
    home.tables.rates = vec![RateRow { interval: SECOND, burst: 1 }];
    for row in &mut home.tables.policy {
        if row.says.rule == 2 {
            row.says.flags = POLICY_LIMIT;
            row.says.rate = 0;
        }
    }
    let from = |host: &str| {
        let payload = Payload::Udp { from: 9, to: 53 };
        FrameBuilder::new(v6(host), v6("fd00:1::1"), payload).tagged(100)
    };
    home.tables.networks.push((Prefix::v6(v6("fd00:1::1"), 128), abi::ZONE_SELF));
    assert_eq!(home.asks(&from("fd00:1::5")), PASS(Reason::RuleAllowed));
    // What is too much is no old flow that nftables would know, however lately the interface was attached.
    home.tables.active.attached = home.now;
    let verdict = home.judge(&from("fd00:1::6").build());
    assert_eq!((verdict.reason, verdict.rule), (Reason::RateLimited, 2), "the same /64, by the rule's rate");
}

#[test]
fn who_tries_what_is_denied_is_slowed_down() {
    let mut home = Home::default();
    home.flag(WAN, ZONE_SCAN);
    let tries: Vec<_> = (1..200).map(|port| home.asks(&tcp(ATTACKER, 9, PUBLIC, port, SYN)).1).collect();
    let first = tries.iter().position(|reason| *reason == Reason::PortScan).unwrap();
    assert!(first >= SCAN_TRIES as usize && first < 2 * SCAN_TRIES as usize, "{first}");
    assert!(tries[..first].iter().all(|reason| *reason == Reason::DefaultDenied));
    home.wait(2);
    assert_eq!(home.asks(&tcp(ATTACKER, 10, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed), "one a second");
    assert_eq!(home.asks(&tcp(ATTACKER, 11, PUBLIC, 443, SYN)), DROP(Reason::PortScan));
    assert_eq!(home.asks(&tcp(WEB, 11, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed), "nobody else");
    home.wait(61);
    assert_eq!(home.asks(&tcp(ATTACKER, 12, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
    assert_eq!(home.asks(&tcp(ATTACKER, 13, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
    // Slowly is no scan.
    let mut home = Home::default();
    home.flag(WAN, ZONE_SCAN);
    for port in 1..60 {
        assert_eq!(home.asks(&tcp(ATTACKER, 9, PUBLIC, port, SYN)), DROP(Reason::DefaultDenied));
        home.wait(1);
    }
}

#[test]
fn strict_zones_take_nothing_that_belongs_to_nothing() {
    let mut home = Home::default();
    home.flag(WAN, ZONE_STRICT);
    assert_eq!(home.asks(&tcp(WEB, 443, PUBLIC, 5, ACK)), DROP(Reason::Unsolicited));
    assert_eq!(home.asks(&tcp(WEB, 443, PUBLIC, 5, SYN_ACK)), DROP(Reason::Unsolicited));
    assert_eq!(home.asks(&icmp(WEB, PUBLIC, 0)), DROP(Reason::Unsolicited));
    assert_eq!(home.asks(&tcp(WEB, 5, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
    home.leaves(&tcp(PUBLIC, 5, WEB, 443, SYN));
    assert_eq!(home.asks(&tcp(WEB, 443, PUBLIC, 5, SYN_ACK)), PASS(Reason::Established));
    home.tables.active.attached = home.now;
    assert_eq!(
        home.asks(&tcp(WEB, 444, PUBLIC, 5, ACK)),
        PASS(Reason::NoState),
        "not right after the attach"
    );
}

#[test]
fn loose_zones_take_connections_of_which_one_way_is_seen() {
    let mut home = Home::default();
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 9, SYN_ACK)), PASS(Reason::HalfSeen));
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 9, ACK)), PASS(Reason::NoState));
    home.flag(IOT, ZONE_LOOSE);
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 9, SYN_ACK)), PASS(Reason::HalfSeen));
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 9, ACK)), PASS(Reason::Established));
    home.ban(CAMERA, abi::DIRECTION_IN | DIRECTION_OUT);
    assert!(home.judge(&tcp(CAMERA, 80, LAPTOP, 9, ACK).build()).drops(), "bans hold against them too");
}

#[test]
fn a_rule_that_logs_does_not_decide() {
    let mut home = Home::default();
    let mut logs = PolicyRow::everything(WAN, abi::ZONE_SELF, Action::Pass, 11);
    logs.says.flags = POLICY_CONTINUE;
    home.tables.policy.insert(0, logs);
    let verdict = home.judge(&tcp(ATTACKER, 1, PUBLIC, 22, SYN).build());
    assert_eq!((verdict.reason, verdict.logged, verdict.log), (Reason::DefaultDenied, 11, true));
    let verdict = home.judge(&tcp(ATTACKER, 1, PUBLIC, 443, SYN).build());
    assert_eq!((verdict.reason, verdict.rule, verdict.logged), (Reason::RuleAllowed, 3, 11));
}

/// An ICMP error of `kind` about `quoted`.
fn error(source: [u8; 4], destination: [u8; 4], kind: u8, quoted: &FrameBuilder) -> Vec<u8> {
    let mut frame = icmp(source, destination, kind).build();
    let at = frame.len() - 28;
    frame.extend(&quoted.packet()[..28]);
    let total = u16::try_from(frame.len() - at).unwrap().to_be_bytes();
    frame[at + 2..at + 4].copy_from_slice(&total);
    frame
}

#[test]
fn an_icmp_error_goes_with_the_flow_that_it_is_about() {
    let mut home = Home::default();
    let says = |home: &Home, frame: &[u8]| {
        let verdict = home.judge(frame);
        (verdict.action, verdict.reason)
    };
    let ours = tcp(PUBLIC, 6000, WEB, 443, SYN);
    home.leaves(&ours);
    let too_big = error(ATTACKER, PUBLIC, 3, &ours);
    assert_eq!(says(&home, &too_big), PASS(Reason::IcmpError), "path MTU discovery works");
    let foreign = error(ATTACKER, PUBLIC, 3, &tcp(LAPTOP, 6000, WEB, 443, SYN));
    assert_eq!(says(&home, &foreign), DROP(Reason::Malformed), "about a packet of another (CVE-2019-5598)");
    home.ban(WEB, DIRECTION_OUT);
    assert_eq!(says(&home, &too_big), DROP(Reason::BannedDestination));
    home.tables.bans.clear();
    home.tables.active.epoch += 1;
    assert_eq!(says(&home, &too_big), PASS(Reason::IcmpError));
    home.tables.flows.change(|value| {
        value.action = Action::Drop as u8;
        value.reason = Reason::Signature as u8;
    });
    assert_eq!(says(&home, &too_big), DROP(Reason::Signature));
    let unknown = error(ATTACKER, PUBLIC, 3, &tcp(PUBLIC, 6001, WEB, 443, SYN));
    assert_eq!(says(&home, &unknown), PASS(Reason::IcmpError), "conntrack may know");
    let short = &too_big[..too_big.len() - 8];
    let mut short = short.to_vec();
    short[16..18].copy_from_slice(&48_u16.to_be_bytes());
    assert_eq!(says(&home, &short), PASS(Reason::IcmpError), "too short to say what it is about");
}

#[test]
fn fragments_hide_no_ports() {
    let home = Home::default();
    // RFC 1858: a second fragment over the header of the first.
    for offset in [1, 2] {
        let overlapping = FrameBuilder { fragment: offset, ..tcp(LAPTOP, 1, WEB, 443, ACK) };
        assert_eq!(home.asks(&overlapping), DROP(Reason::Malformed), "offset {offset}");
    }
    let later = FrameBuilder { fragment: 3, ..tcp(LAPTOP, 1, WEB, 443, ACK) };
    assert_eq!(home.asks(&later), PASS(Reason::Fragment));
    // The class of CVE-2019-5597: a first IPv6 fragment whose header chain ends in another fragment.
    let payload = Payload::Tcp { from: 4000, to: 443, flags: SYN };
    let mut frame = FrameBuilder::new(v6("fd00:1::5"), v6("2620:fe::fe"), payload).tagged(100);
    frame.extensions = vec![44, 60];
    let mut bytes = frame.build();
    let fragment = 18 + 40;
    bytes[fragment + 3] = 1;
    let whole = home.judge(&bytes);
    assert_eq!(whole.reason, Reason::RuleAllowed, "all of it is there");
    let cut = fragment + 16;
    bytes.truncate(cut);
    let length = u16::try_from(cut - 18 - 40).unwrap().to_be_bytes();
    bytes[18 + 4..18 + 6].copy_from_slice(&length);
    assert_eq!(home.judge(&bytes).reason, Reason::Malformed, "RFC 7112: the chain is not whole");
    // And a second one right over the first.
    let mut second = frame.build();
    second[fragment] = 6;
    second[fragment + 3] = 8 | 1;
    assert_eq!(home.judge(&second).reason, Reason::Malformed);
    second[fragment + 3] = 32 | 1;
    assert_eq!(home.judge(&second).reason, Reason::Fragment);
}

#[test]
fn a_syn_with_data_and_options_is_a_syn() {
    let home = Home::default();
    let mut frame = tcp(ATTACKER, 1, PUBLIC, 443, SYN).build();
    let tcp_at = 14 + 20;
    frame[tcp_at + 12] = 0xf0;
    frame.extend([1; 40 + 100]);
    let total = u16::try_from(frame.len() - 14).unwrap().to_be_bytes();
    frame[16..18].copy_from_slice(&total);
    assert_eq!(home.judge(&frame).reason, Reason::RuleAllowed);
    frame[tcp_at + 3] = 22;
    frame[tcp_at + 2] = 0;
    assert_eq!(home.judge(&frame).reason, Reason::DefaultDenied);
}

#[test]
fn a_rst_from_nowhere_takes_no_connection_away() {
    let mut home = Home::default();
    home.connects(LAPTOP, 1, CAMERA, 80);
    home.asks(&tcp(CAMERA, 80, LAPTOP, 1, RST));
    for _ in 0..100 {
        home.wait(100);
        let verdict = home.judge(&tcp(LAPTOP, 1, CAMERA, 80, ACK).build());
        assert_eq!(
            (verdict.action, verdict.reason),
            PASS(Reason::Established),
            "while packets come it stands"
        );
    }
    home.wait(10_000);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 80, ACK)), PASS(Reason::NoState), "then conntrack knows");
}

#[test]
fn pppoe_is_judged_by_what_it_carries() {
    let home = Home::default();
    let carry = |protocol: u16, packet: &[u8]| {
        let mut frame = vec![2; 12];
        frame.extend([0x88, 0x64, 0x11, 0, 0, 7]);
        frame.extend(u16::try_from(packet.len() + 2).unwrap().to_be_bytes());
        frame.extend(protocol.to_be_bytes());
        frame.extend(packet);
        frame
    };
    let says = |frame: &[u8]| home.judge(frame).reason;
    let web = FrameBuilder::v4(ATTACKER, PUBLIC, Payload::Tcp { from: 1, to: 443, flags: SYN }).packet();
    let ssh = FrameBuilder::v4(ATTACKER, PUBLIC, Payload::Tcp { from: 1, to: 22, flags: SYN }).packet();
    assert_eq!(says(&carry(0x0021, &web)), Reason::RuleAllowed);
    assert_eq!(says(&carry(0x0021, &ssh)), Reason::DefaultDenied);
    assert_eq!(says(&carry(0xc021, &[9, 1, 0, 4])), Reason::LinkEssential, "LCP");
    let mut lies = carry(0x0021, &web);
    lies[19] = 200;
    assert_eq!(says(&lies), Reason::Malformed);
    lies[19] = 30;
    assert_eq!(says(&lies), Reason::Malformed, "the packet is longer than what carries it");
}

#[test]
fn devices_without_ethernet_are_judged_alike() {
    let home = Home::default();
    for (frame, expected) in [
        (tcp(ATTACKER, 1, PUBLIC, 443, SYN), Reason::RuleAllowed),
        (tcp(ATTACKER, 1, PUBLIC, 22, SYN), Reason::DefaultDenied),
        (tcp(LAPTOP, 1, PUBLIC, 443, SYN), Reason::Spoofed),
    ] {
        let packet = FrameBuilder { tags: Vec::new(), ..frame }.packet();
        let input = datapath::Input { layer3: true, ..home.input(packet.len()) };
        let mut verdict = Verdict::EMPTY;
        decide(&packet.as_slice(), &input, &home.tables, &mut verdict);
        assert_eq!(verdict.reason, expected);
    }
}

#[test]
fn a_list_holds_against_upstreams_for_everybody_but_the_router() {
    let mut home = Home::default();
    let listed = Listed { list: 1, directions: DIRECTION_IN | DIRECTION_OUT, observe: false };
    home.tables.listed.push((Prefix::v4(WEB, 32), listed));
    let answer = udp(WEB, 53, PUBLIC, 40_000);
    assert_eq!(home.asks(&answer), DROP(Reason::ListedSource));
    home.tables.upstreams.push(Prefix::v4(WEB, 32));
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 443, SYN)), DROP(Reason::ListedDestination));
    assert_eq!(home.asks(&answer).1, Reason::DefaultDenied, "a matter of rules and of conntrack");
    home.leaves(&outwards(udp(PUBLIC, 40_001, WEB, 53)));
    assert_eq!(
        home.asks(&udp(WEB, 53, PUBLIC, 40_001)),
        PASS(Reason::Established),
        "the answer to the router"
    );
}
