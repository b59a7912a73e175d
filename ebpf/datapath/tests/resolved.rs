//! Zones that open flows only to what their DNS answered.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use abi::{
    Action, POLICY_ADDRESSED, Reason, ResolvedValue, ZONE_DNS_DROP, ZONE_DNS_REDIRECT, ZONE_LEARN,
    ZONE_NAMES, ZONE_OBSERVE, ZONE_RESOLVED, ZONE_SELF, ZoneId, mapped,
};
use common::*;
use datapath::host::{FrameBuilder, Payload, PolicyRow, Prefix};

const UNRESOLVED: (Action, Reason) = (Action::Drop, Reason::Unresolved);
const ALLOWED: (Action, Reason) = (Action::Pass, Reason::RuleAllowed);

/// A network whose LAN depends on DNS.
fn home() -> Home {
    let mut home = Home::default();
    home.flag(LAN, ZONE_RESOLVED);
    home
}

/// The zone's DNS answers an address that lives for so many seconds.
fn answers(home: &mut Home, zone: ZoneId, address: [u8; 16], seconds: u64) {
    let until = home.now + seconds * SECOND;
    home.tables.resolved.insert((zone, address), ResolvedValue { until, patterns: 0 });
}

#[test]
fn flows_go_out_only_to_what_the_zone_s_dns_answered_and_only_for_its_time() {
    let mut home = home();
    let to_web = |from| tcp(LAPTOP, from, WEB, 443, SYN);
    assert_eq!(home.asks(&to_web(1)), UNRESOLVED);
    answers(&mut home, IOT, mapped(WEB), 60);
    assert_eq!(home.asks(&to_web(1)), UNRESOLVED, "answered to another zone");
    answers(&mut home, LAN, mapped(WEB), 60);
    assert_eq!(home.asks(&to_web(1)), ALLOWED);
    home.wait(59);
    assert_eq!(home.asks(&to_web(2)), ALLOWED);
    home.wait(1);
    assert_eq!(home.asks(&to_web(3)), UNRESOLVED, "its time is over");
    assert_eq!(home.asks(&tcp(CAMERA, 1, WEB, 443, SYN)), ALLOWED, "a zone that asked for nothing");
}

#[test]
fn both_families_every_protocol() {
    let mut home = home();
    let outside = v6("2620:fe::9");
    let udp =
        |to: [u8; 16]| FrameBuilder::new(v6("fd00:1::5"), to, Payload::Udp { from: 9, to: 443 }).tagged(100);
    let ping = Payload::Icmp { kind: 128, code: 0, id: 3 };
    let ping = FrameBuilder::new(v6("fd00:1::5"), outside, ping).tagged(100);
    let gre = FrameBuilder::new(v6("fd00:1::5"), outside, Payload::Other(47)).tagged(100);
    for frame in [&udp(outside), &ping, &gre] {
        assert_eq!(home.asks(frame), UNRESOLVED);
    }
    answers(&mut home, LAN, outside, 60);
    assert_eq!(home.asks(&udp(outside)), ALLOWED);
    assert_eq!(home.asks(&ping), ALLOWED);
    assert_eq!(home.asks(&gre), (Action::Pass, Reason::Portless), "as far as the packet path knows");
    assert_eq!(home.asks(&udp(v6("2620:fe::10"))), UNRESOLVED);
    assert_eq!(home.asks(&udp(mapped(WEB))), UNRESOLVED, "mapped addresses are no way around");
}

#[test]
fn what_stays_inside_and_what_a_rule_names_is_a_matter_of_rules() {
    let mut home = home();
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 443, SYN)), ALLOWED, "another zone");
    assert_eq!(home.asks(&tcp(LAPTOP, 1, ROUTER, 53, SYN)), ALLOWED, "the router");
    let mut named = PolicyRow::everything(LAN, WAN, Action::Pass, 9).port(6, 8443);
    named.says.flags = POLICY_ADDRESSED;
    home.tables.policy.insert(0, named);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 8443, SYN)), ALLOWED, "a rule names the address");
    assert_eq!(home.asks(&tcp(LAPTOP, 2, WEB, 443, SYN)), UNRESOLVED, "this one names the zone");
    home.tables.policy.insert(0, PolicyRow::everything(LAN, WAN, Action::Drop, 8));
    answers(&mut home, LAN, mapped(WEB), 60);
    assert_eq!(
        home.asks(&tcp(LAPTOP, 3, WEB, 443, SYN)),
        (Action::Drop, Reason::RuleDenied),
        "an answer allows nothing"
    );
}

#[test]
fn what_is_known_is_never_cut() {
    let mut home = home();
    answers(&mut home, LAN, mapped(WEB), 60);
    home.connects(LAPTOP, 1, WEB, 443);
    home.wait(3600);
    home.tables.resolved.clear();
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 443, ACK)).1, Reason::Established);
    home.tables.active.epoch += 1;
    assert_eq!(
        home.asks(&tcp(LAPTOP, 1, WEB, 443, ACK)).1,
        Reason::Established,
        "nor when it is judged again"
    );
    assert_eq!(home.asks(&tcp(LAPTOP, 2, WEB, 443, SYN)), UNRESOLVED);
    // Nor is what began before the zone depended on DNS.
    let mut home = Home::default();
    home.connects(LAPTOP, 1, WEB, 443);
    home.flag(LAN, ZONE_RESOLVED);
    home.tables.active.epoch += 1;
    assert_eq!(home.asks(&tcp(LAPTOP, 1, WEB, 443, ACK)).1, Reason::Established);
}

#[test]
fn a_connection_that_nobody_saw_begin_is_no_way_around() {
    let mut home = home();
    home.tables.active.attached = home.now;
    let middle = |from| tcp(LAPTOP, from, WEB, 443, ACK);
    assert_eq!(home.asks(&middle(1)), (Action::Pass, Reason::NoState), "it may be older than the attach");
    home.wait(abi::FORGOTTEN_NS / SECOND);
    assert_eq!(home.asks(&middle(2)), UNRESOLVED);
    assert_eq!(home.asks(&tcp(LAPTOP, 3, CAMERA, 443, ACK)), (Action::Pass, Reason::NoState), "inside");
    answers(&mut home, LAN, mapped(WEB), 60);
    assert_eq!(home.asks(&middle(4)), (Action::Pass, Reason::NoState));
}

#[test]
fn where_rules_name_domains_nothing_that_is_denied_outwards_is_left_to_nftables() {
    let mut home = Home::default();
    home.flag(LAN, ZONE_NAMES);
    home.tables.patterns = 0b1;
    home.tables.policy.retain(|row| (row.from, row.to) != (LAN, WAN));
    let mut named = PolicyRow::everything(LAN, WAN, Action::Pass, 3);
    named.pattern = Some(0);
    home.tables.policy.push(named);
    home.tables.policy.push(PolicyRow::everything(LAN, WAN, Action::Reject, abi::RULE_DEFAULT));
    let denied = (Action::Drop, Reason::DefaultDenied);
    let opens = tcp(LAPTOP, 1, WEB, 443, SYN);
    let middle = |from| tcp(LAPTOP, from, WEB, 443, ACK);
    let gre = FrameBuilder::v4(LAPTOP, WEB, Payload::Other(47)).tagged(100);
    let udp = FrameBuilder::v4(LAPTOP, WEB, Payload::Udp { from: 9, to: 443 }).tagged(100);
    home.tables.active.attached = home.now;
    assert_eq!(home.asks(&udp), denied, "nor what may be older than the attach");
    home.wait(abi::FORGOTTEN_NS / SECOND);
    for frame in [&opens, &middle(2), &gre, &udp] {
        assert_eq!(home.asks(frame), denied);
    }
    assert_eq!(home.asks(&tcp(LAPTOP, 3, CAMERA, 443, ACK)), (Action::Pass, Reason::NoState), "inside");
    let until = home.now + SECOND;
    home.tables.resolved.insert((LAN, mapped(WEB)), ResolvedValue { until, patterns: 0b11 });
    assert_eq!(home.asks(&opens), ALLOWED);
    assert_eq!(home.asks(&middle(2)), (Action::Pass, Reason::NoState));
    assert_eq!(home.asks(&gre), (Action::Pass, Reason::Portless));
    home.tables.resolved.insert((LAN, mapped(WEB)), ResolvedValue { until, patterns: 0b10 });
    assert_eq!(home.asks(&tcp(LAPTOP, 4, WEB, 443, SYN)), denied, "a pattern of another plan");
}

#[test]
fn who_only_learns_or_observes_is_told_and_passes() {
    for flags in [ZONE_LEARN, ZONE_OBSERVE] {
        let mut home = home();
        home.flag(LAN, flags);
        let verdict = home.judge(&tcp(LAPTOP, 1, WEB, 443, SYN).build());
        assert_eq!((verdict.action, verdict.reason), UNRESOLVED);
        assert!(verdict.observed && !verdict.drops() && verdict.opened);
    }
}

#[test]
fn udp_that_may_be_older_than_the_attach_needs_an_answer_unless_it_is_for_the_router() {
    // Else it would be left to nftables, which knows nothing of DNS.
    let mut home = home();
    home.tables.active.attached = home.now;
    let udp = FrameBuilder::v4(LAPTOP, WEB, Payload::Udp { from: 9, to: 443 }).tagged(100);
    assert_eq!(home.asks(&udp), UNRESOLVED);
    home.tables.networks.push((Prefix::v4(WEB, 32), ZONE_SELF));
    assert_eq!(home.asks(&udp), ALLOWED, "the router's own addresses are no outside");
}

#[test]
fn questions_to_resolvers_outside_are_no_matter_of_rules() {
    const OTHER: (Action, Reason) = (Action::Drop, Reason::OtherResolver);
    let mut home = home();
    let ask = |home: &Home, to, port| {
        let udp = FrameBuilder::v4(LAPTOP, to, Payload::Udp { from: 9, to: port }).tagged(100);
        let over_udp = home.asks(&udp);
        assert_eq!(over_udp, home.asks(&tcp(LAPTOP, 8, to, port, SYN)), "UDP and TCP alike");
        over_udp
    };
    assert_eq!(ask(&home, WEB, 53), UNRESOLVED);
    home.flag(LAN, ZONE_DNS_REDIRECT);
    assert_eq!(ask(&home, WEB, 53), ALLOWED, "it will be answered here");
    assert_eq!(ask(&home, WEB, 853), UNRESOLVED);
    home.tables.policy.insert(0, PolicyRow::everything(LAN, WAN, Action::Drop, 8));
    home.wait(300);
    assert_eq!(ask(&home, [9, 9, 9, 10], 53), ALLOWED, "whatever rules say");

    let mut home = Home::default();
    answers(&mut home, LAN, mapped(WEB), 60);
    home.flag(LAN, ZONE_DNS_DROP);
    for port in [53, 853] {
        assert_eq!(ask(&home, WEB, port), OTHER);
    }
    assert_eq!(ask(&home, WEB, 443), ALLOWED);
    assert_eq!(ask(&home, ROUTER, 53), ALLOWED, "the router's own");
    assert_eq!(ask(&home, CAMERA, 53), ALLOWED, "inside it is a matter of rules");
    home.flag(LAN, ZONE_OBSERVE);
    let verdict = home.judge(&tcp(LAPTOP, 7, WEB, 853, SYN).build());
    assert_eq!(
        (verdict.action, verdict.reason, verdict.drops()),
        (Action::Drop, Reason::OtherResolver, false)
    );
}
