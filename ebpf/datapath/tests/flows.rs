//! Flows: what opens, what follows, what ends, and what a ban or a cut does to it.

mod common;

use abi::{
    Action, DIRECTION_IN, DIRECTION_OUT, FLOW_ANSWERED, FLOW_FAST, FLOW_REPLY, FLOW_TAUGHT, FlowKey,
    INSPECT_BUDGET, POLICY_LOG, POLICY_OBSERVE, Reason, ZONE_NONE, ZONE_OBSERVE, ZONE_SELF,
};
use common::*;
use datapath::host::{Listed, Prefix};

const DROP: fn(Reason) -> (Action, Reason) = |reason| (Action::Drop, reason);
const PASS: fn(Reason) -> (Action, Reason) = |reason| (Action::Pass, reason);

#[test]
fn an_allowed_flow_passes_both_ways_and_nothing_else_does() {
    let home = Home::default();
    assert_eq!(home.asks(&tcp(LAPTOP, 4000, CAMERA, 80, SYN)), PASS(Reason::RuleAllowed));
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 4000, SYN_ACK)), PASS(Reason::Established));
    assert_eq!(
        home.asks(&tcp(LAPTOP, 4000, CAMERA, 80, ACK)),
        PASS(Reason::HalfSeen),
        "no answer has left to whoever goes on here"
    );
    home.connects(LAPTOP, 4000, CAMERA, 80);
    assert_eq!(home.asks(&tcp(LAPTOP, 4000, CAMERA, 80, ACK)), PASS(Reason::Established));
    let answer = home.judge(&tcp(CAMERA, 80, LAPTOP, 4000, ACK).build());
    assert!(answer.reply && answer.known && answer.rule == 1);
    assert_eq!((answer.zone_from, answer.zone_to), (IOT, LAN), "zones as the packet goes");
    assert_eq!(home.asks(&tcp(CAMERA, 81, LAPTOP, 4000, ACK)), PASS(Reason::NoState), "conntrack knows");
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 4001, SYN)), (Action::Reject, Reason::DefaultDenied));
    assert_eq!(home.asks(&tcp(CAMERA, 80, LAPTOP, 22, SYN)), DROP(Reason::RuleDenied));
}

#[test]
fn udp_and_echo_are_answered() {
    let home = Home::default();
    assert_eq!(home.asks(&udp(LAPTOP, 4000, CAMERA, 5000)), PASS(Reason::RuleAllowed));
    assert_eq!(home.asks(&udp(CAMERA, 5000, LAPTOP, 4000)), PASS(Reason::Established));
    assert_eq!(home.asks(&udp(CAMERA, 5001, LAPTOP, 4000)), (Action::Reject, Reason::DefaultDenied));
    assert_eq!(home.asks(&icmp(CAMERA, LAPTOP, 0)), PASS(Reason::NoState));
    assert_eq!(home.asks(&icmp(LAPTOP, CAMERA, 8)), PASS(Reason::RuleAllowed));
    assert_eq!(home.asks(&icmp(CAMERA, LAPTOP, 0)), PASS(Reason::Established));
    assert_eq!(home.asks(&icmp(CAMERA, LAPTOP, 3)), PASS(Reason::IcmpError));
    assert_eq!(home.asks(&icmp(LAPTOP, CAMERA, 13)), PASS(Reason::NoState));
}

#[test]
fn entries_end_when_they_are_idle() {
    // What stands how long, and what is asked then.
    for (name, open, after, seconds) in [
        ("UDP alone", vec![udp(LAPTOP, 1, CAMERA, 2)], udp(LAPTOP, 1, CAMERA, 2), 30),
        ("UDP answer awaited", vec![udp(LAPTOP, 1, CAMERA, 2)], udp(CAMERA, 2, LAPTOP, 1), 180),
        ("TCP half open", vec![tcp(LAPTOP, 1, CAMERA, 2, SYN)], tcp(LAPTOP, 1, CAMERA, 2, ACK), 120),
        ("TCP half seen", vec![tcp(LAPTOP, 1, CAMERA, 2, SYN)], tcp(CAMERA, 2, LAPTOP, 1, ACK), 120),
        (
            "TCP closed",
            vec![tcp(LAPTOP, 1, CAMERA, 2, SYN), tcp(LAPTOP, 1, CAMERA, 2, FIN_ACK)],
            tcp(LAPTOP, 1, CAMERA, 2, ACK),
            120,
        ),
        ("echo", vec![icmp(LAPTOP, CAMERA, 8)], icmp(CAMERA, LAPTOP, 0), 60),
    ] {
        for (waited, stands) in [(seconds, true), (seconds + 1, false)] {
            let mut home = Home::default();
            for frame in &open {
                home.asks(frame);
            }
            home.wait(waited);
            assert_eq!(home.judge(&after.build()).known, stands, "{name} after {waited} s");
        }
    }
    for (waited, stands) in [(7440, true), (7441, false)] {
        let mut home = Home::default();
        home.connects(LAPTOP, 1, CAMERA, 2);
        home.wait(waited);
        assert_eq!(
            home.judge(&tcp(LAPTOP, 1, CAMERA, 2, ACK).build()).known,
            stands,
            "TCP established after {waited} s"
        );
    }
}

#[test]
fn a_udp_flow_whose_answers_left_stands_longer() {
    let mut home = Home::default();
    home.asks(&udp(LAPTOP, 1, ROUTER, 53));
    let egress = home.leaves(&outwards(udp(ROUTER, 53, LAPTOP, 1)));
    assert_eq!(home.entry(&egress.answer).unwrap().flags & FLOW_ANSWERED, FLOW_ANSWERED);
    home.wait(180);
    assert_eq!(home.asks(&udp(LAPTOP, 1, ROUTER, 53)), PASS(Reason::Established));
}

#[test]
fn a_closed_connection_opens_anew_under_the_rules_of_now() {
    let mut home = Home::default();
    home.asks(&tcp(LAPTOP, 1, CAMERA, 2, SYN));
    home.asks(&tcp(LAPTOP, 1, CAMERA, 2, RST));
    assert_eq!(
        home.asks(&tcp(LAPTOP, 1, CAMERA, 2, ACK)),
        PASS(Reason::Established),
        "what is on its way still"
    );
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 2, SYN)), PASS(Reason::RuleAllowed));
    home.asks(&tcp(LAPTOP, 1, CAMERA, 2, RST));
    home.ban_in(LAPTOP);
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 2, SYN)), DROP(Reason::BannedSource));
}

#[test]
fn a_ban_stops_what_the_address_starts_and_not_our_own_connections_to_it() {
    let mut home = Home::default();
    // The attacker talks to our server; we talk to the attacker's web site.
    assert_eq!(home.asks(&tcp(ATTACKER, 4000, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
    home.connects(ATTACKER, 4000, PUBLIC, 443);
    assert_eq!(home.asks(&tcp(ATTACKER, 4000, PUBLIC, 443, ACK)), PASS(Reason::Established));
    assert_eq!(home.asks(&tcp(LAPTOP, 5000, ATTACKER, 443, SYN)), PASS(Reason::RuleAllowed));
    home.leaves(&tcp(PUBLIC, 6000, ATTACKER, 443, SYN));
    assert_eq!(home.asks(&tcp(ATTACKER, 443, PUBLIC, 6000, SYN_ACK)), PASS(Reason::Established));

    home.ban_in(ATTACKER);
    assert_eq!(
        home.asks(&tcp(ATTACKER, 4000, PUBLIC, 443, ACK)),
        DROP(Reason::BannedSource),
        "at its next packet"
    );
    assert_eq!(home.asks(&tcp(ATTACKER, 4001, PUBLIC, 443, SYN)), DROP(Reason::BannedSource));
    assert_eq!(
        home.asks(&tcp(ATTACKER, 4002, PUBLIC, 443, ACK)),
        DROP(Reason::BannedSource),
        "no state, no excuse"
    );
    assert_eq!(home.asks(&tcp(ATTACKER, 443, LAPTOP, 5000, ACK)), PASS(Reason::Established), "a reply");
    assert_eq!(
        home.asks(&tcp(ATTACKER, 443, PUBLIC, 6000, ACK)),
        PASS(Reason::Established),
        "a translated reply"
    );
    assert_eq!(home.asks(&tcp(LAPTOP, 5001, ATTACKER, 443, SYN)), PASS(Reason::RuleAllowed));

    home.tables.bans.clear();
    home.tables.active.epoch += 1;
    assert_eq!(
        home.asks(&tcp(ATTACKER, 4000, PUBLIC, 443, ACK)),
        PASS(Reason::Established),
        "the ban is over"
    );
}

#[test]
fn a_ban_outwards_stops_both_new_and_known_connections_to_it() {
    let mut home = Home::default();
    home.asks(&tcp(LAPTOP, 5000, ATTACKER, 443, SYN));
    home.leaves(&tcp(PUBLIC, 6000, ATTACKER, 443, SYN));
    home.ban(ATTACKER, DIRECTION_OUT);
    assert_eq!(home.asks(&tcp(LAPTOP, 5000, ATTACKER, 443, ACK)), DROP(Reason::BannedDestination));
    assert_eq!(home.asks(&tcp(ATTACKER, 443, LAPTOP, 5000, ACK)), DROP(Reason::BannedDestination));
    assert_eq!(home.asks(&tcp(ATTACKER, 443, PUBLIC, 6000, ACK)), DROP(Reason::BannedDestination));
    assert_eq!(home.asks(&tcp(LAPTOP, 5001, ATTACKER, 443, SYN)), DROP(Reason::BannedDestination));
    assert_eq!(
        home.asks(&tcp(ATTACKER, 4000, PUBLIC, 443, SYN)),
        PASS(Reason::RuleAllowed),
        "what it starts is another matter"
    );
}

#[test]
fn bans_end_and_spare_what_is_protected_or_allowed() {
    let mut home = Home::default();
    home.ban_in(ATTACKER);
    home.tables.bans[0].1.until = home.now + SECOND;
    assert_eq!(home.asks(&tcp(ATTACKER, 1, PUBLIC, 443, SYN)), DROP(Reason::BannedSource));
    home.wait(1);
    assert_eq!(home.asks(&tcp(ATTACKER, 1, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));

    let mut home = Home::default();
    home.ban_in(ATTACKER);
    home.tables.allows.push((Prefix::v4(ATTACKER, 24), home.now + SECOND));
    assert_eq!(
        home.asks(&tcp(ATTACKER, 1, PUBLIC, 443, SYN)),
        PASS(Reason::RuleAllowed),
        "allowed for a second"
    );
    assert_eq!(
        home.asks(&tcp(ATTACKER, 1, PUBLIC, 22, SYN)),
        DROP(Reason::DefaultDenied),
        "and by that no rule is off"
    );
    home.wait(1);
    assert_eq!(home.asks(&tcp(ATTACKER, 2, PUBLIC, 443, SYN)), DROP(Reason::BannedSource));
    home.tables.protected.push(Prefix::v4(ATTACKER, 32));
    assert_eq!(home.asks(&tcp(ATTACKER, 2, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
}

#[test]
fn lists_hold_by_direction_and_say_which() {
    let mut home = Home::default();
    let list = |list, directions, observe| Listed { list, directions, observe: observe != 0 };
    home.tables.listed.push((Prefix::v4([198, 51, 100, 0], 24), list(3, DIRECTION_IN, 0)));
    home.tables.listed.push((Prefix::v4(WEB, 32), list(4, DIRECTION_OUT, 0)));
    let verdict = home.judge(&tcp(ATTACKER, 1, PUBLIC, 443, SYN).build());
    assert_eq!((verdict.reason, verdict.rule), (Reason::ListedSource, 3));
    assert_eq!(home.asks(&tcp(LAPTOP, 1, ATTACKER, 443, SYN)), PASS(Reason::RuleAllowed));
    let verdict = home.judge(&tcp(LAPTOP, 1, WEB, 443, SYN).build());
    assert_eq!((verdict.reason, verdict.rule), (Reason::ListedDestination, 4));
    assert_eq!(home.asks(&tcp(WEB, 1, PUBLIC, 443, SYN)), PASS(Reason::RuleAllowed));
}

#[test]
fn observing_judges_and_counts_and_drops_nothing() {
    // A list that observes does not hide what the policy enforces.
    let mut home = Home::default();
    let value = Listed { list: 77, directions: DIRECTION_IN, observe: true };
    home.tables.listed.push((Prefix::v4(ATTACKER, 32), value));
    let verdict = home.judge(&tcp(ATTACKER, 1, PUBLIC, 443, SYN).build());
    assert_eq!((verdict.reason, verdict.observed, verdict.drops()), (Reason::ListedSource, true, false));
    // It is told of this packet; the flow is the rule's, as anyone's is.
    let other = home.judge(&tcp(WEB, 1, PUBLIC, 443, SYN).build());
    let rule = |verdict: &datapath::Verdict| home.entry(&verdict.flow).unwrap().rule;
    assert_eq!((rule(&verdict), other.rule), (rule(&other), rule(&other)));
    let verdict = home.judge(&tcp(ATTACKER, 1, PUBLIC, 22, SYN).build());
    assert_eq!((verdict.reason, verdict.observed, verdict.drops()), (Reason::DefaultDenied, false, true));

    // A zone or appliance that observes lets a denied flow through with its answers.
    for whole in [false, true] {
        let mut home = Home::default();
        if whole {
            home.flag(ZONE_NONE, ZONE_OBSERVE);
        } else {
            home.flag(IOT, ZONE_OBSERVE);
        }
        let verdict = home.judge(&udp(CAMERA, 1, LAPTOP, 5000).build());
        assert_eq!((verdict.action, verdict.observed, verdict.drops()), (Action::Reject, true, false));
        assert_eq!(home.asks(&udp(LAPTOP, 5000, CAMERA, 1)), PASS(Reason::Established));
        let mut spoofed = tcp(WEB, 1, LAPTOP, 2, SYN).tagged(400);
        let verdict = home.judge(&spoofed.build());
        assert_eq!(
            (verdict.reason, verdict.drops()),
            (Reason::Spoofed, false),
            "the first that is observed is told"
        );
        spoofed.tags = vec![9];
        assert_eq!(
            home.judge(&spoofed.build()).drops(),
            !whole,
            "a tag of no zone is of no zone that observes"
        );
    }
}

#[test]
fn a_rule_may_observe_and_log() {
    let mut home = Home::default();
    for row in &mut home.tables.policy {
        if (row.from, row.to, row.ports) == (IOT, LAN, [22, 22]) {
            row.says.flags = POLICY_OBSERVE | POLICY_LOG;
        }
    }
    let verdict = home.judge(&tcp(CAMERA, 1, LAPTOP, 22, SYN).build());
    assert_eq!((verdict.reason, verdict.rule), (Reason::RuleDenied, 6));
    assert!(verdict.observed && verdict.log && verdict.opened && !verdict.drops());
    assert_eq!(home.asks(&tcp(LAPTOP, 22, CAMERA, 1, SYN_ACK)), PASS(Reason::Established));
}

#[test]
fn another_epoch_judges_known_flows_by_the_rules_of_now() {
    let mut home = Home::default();
    home.connects(LAPTOP, 1, CAMERA, 2);
    let deny = |home: &mut Home, action: Action| {
        for row in &mut home.tables.policy {
            if (row.from, row.to) == (LAN, IOT) {
                row.says.action = action as u8;
            }
        }
    };
    deny(&mut home, Action::Reject);
    assert_eq!(
        home.asks(&tcp(LAPTOP, 1, CAMERA, 2, ACK)),
        PASS(Reason::Established),
        "same epoch, same verdict"
    );
    home.tables.active.epoch += 1;
    assert_eq!(
        home.asks(&tcp(LAPTOP, 1, CAMERA, 2, ACK)),
        DROP(Reason::RuleDenied),
        "nftables would let it through"
    );
    assert_eq!(
        home.asks(&tcp(CAMERA, 2, LAPTOP, 1, ACK)),
        DROP(Reason::RuleDenied),
        "judged as it was started"
    );
    deny(&mut home, Action::Pass);
    home.tables.active.epoch += 1;
    assert_eq!(home.asks(&tcp(CAMERA, 2, LAPTOP, 1, ACK)), PASS(Reason::Established));
    assert_eq!(home.asks(&tcp(LAPTOP, 1, CAMERA, 2, ACK)), PASS(Reason::Established));
}

#[test]
fn a_cut_flow_stays_cut_until_it_is_idle() {
    let mut home = Home::default();
    home.asks(&tcp(CAMERA, 1, WEB, 443, SYN));
    home.asks(&tcp(CAMERA, 1, WEB, 443, ACK));
    home.tables.flows.change(|value| {
        value.action = Action::Drop as u8;
        value.reason = Reason::Signature as u8;
        value.rule = 2_000_001;
        value.flags &= !FLOW_FAST;
    });
    let verdict = home.judge(&tcp(CAMERA, 1, WEB, 443, ACK).build());
    assert_eq!((verdict.reason, verdict.rule, verdict.drops()), (Reason::Signature, 2_000_001, true));
    assert_eq!(home.asks(&tcp(WEB, 443, CAMERA, 1, ACK)), DROP(Reason::Signature));
    assert!(
        home.leaves(&outwards(tcp(WEB, 443, CAMERA, 1, ACK))).cut,
        "nor do answers leave towards its starter"
    );
    home.tables.active.epoch += 1;
    assert_eq!(home.asks(&tcp(CAMERA, 1, WEB, 443, SYN)), DROP(Reason::Signature), "nor by opening it again");
    home.wait(7441);
    assert_eq!(home.asks(&tcp(CAMERA, 1, WEB, 443, SYN)), PASS(Reason::RuleAllowed));
}

#[test]
fn first_bytes_of_each_way_are_copied_for_inspection() {
    let home = Home::default();
    let opening = home.judge(&tcp(CAMERA, 1, WEB, 443, SYN).build());
    assert!(opening.inspect);
    let egress = home.leaves(&outwards(tcp(WEB, 443, CAMERA, 1, SYN_ACK)));
    assert!(egress.inspect);
    assert_eq!((egress.zone_from, egress.zone_to, egress.flow.zone), (IOT, WAN, WAN));
    assert!(
        !home.judge(&tcp(WEB, 443, CAMERA, 1, SYN_ACK).build()).inspect,
        "answers are copied as they leave"
    );
    home.tables.flows.change(|value| value.copied = INSPECT_BUDGET);
    assert!(!home.judge(&tcp(CAMERA, 1, WEB, 443, ACK).build()).inspect, "the budget is spent");
    assert!(home.leaves(&outwards(tcp(WEB, 443, CAMERA, 1, ACK))).inspect, "this way's is not");
    assert!(!home.judge(&tcp(LAPTOP, 1, WEB, 443, SYN).build()).inspect, "this zone is not inspected");
}

#[test]
fn egress_teaches_ingress() {
    let home = Home::default();
    let entry = |key: &FlowKey| home.entry(key);
    for (what, frame, flags) in [
        ("our SYN", tcp(PUBLIC, 6000, WEB, 443, SYN), Some(FLOW_TAUGHT | FLOW_REPLY | FLOW_ANSWERED)),
        ("our datagram", udp(PUBLIC, 6000, WEB, 53), Some(FLOW_TAUGHT | FLOW_REPLY | FLOW_ANSWERED)),
        ("our echo", icmp(PUBLIC, WEB, 8), Some(FLOW_TAUGHT | FLOW_REPLY | FLOW_ANSWERED)),
        ("the middle of a connection", tcp(PUBLIC, 6001, WEB, 443, ACK), Some(FLOW_TAUGHT | FLOW_ANSWERED)),
        ("a RST", tcp(PUBLIC, 6002, WEB, 443, RST), None),
        ("an ICMP error", icmp(PUBLIC, ATTACKER, 3), None),
        ("an echo reply to nobody", icmp(PUBLIC, ATTACKER, 0), None),
        ("multicast", udp(PUBLIC, 5353, [224, 0, 0, 251], 5353), None),
    ] {
        let egress = home.leaves(&frame);
        assert_eq!(entry(&egress.answer).map(|value| value.flags), flags, "{what}");
    }
    assert_eq!(home.asks(&udp(WEB, 53, PUBLIC, 6000)), PASS(Reason::Established));
    assert_eq!(home.asks(&udp(WEB, 54, PUBLIC, 6000)), DROP(Reason::DefaultDenied));
    assert_eq!(home.asks(&icmp(WEB, PUBLIC, 0)), PASS(Reason::Established));
    let verdict = home.judge(&tcp(WEB, 443, PUBLIC, 6000, SYN_ACK).build());
    assert_eq!((verdict.reason, verdict.zone_to), (Reason::Established, ZONE_SELF));
}

#[test]
fn a_connection_seen_in_its_middle_may_be_the_banned_ones() {
    let mut home = Home::default();
    home.leaves(&tcp(PUBLIC, 22, ATTACKER, 4000, ACK));
    assert_eq!(home.asks(&tcp(ATTACKER, 4000, PUBLIC, 22, ACK)), PASS(Reason::Established));
    home.ban_in(ATTACKER);
    assert_eq!(home.asks(&tcp(ATTACKER, 4000, PUBLIC, 22, ACK)), DROP(Reason::BannedSource));
}

#[test]
fn what_egress_teaches_is_no_way_around_bans_that_were_there_before() {
    const BOTH: u8 = DIRECTION_IN | DIRECTION_OUT;
    let (own_syn, syn_ack) =
        (tcp(PUBLIC, 6000, ATTACKER, 443, SYN), tcp(ATTACKER, 443, PUBLIC, 6000, SYN_ACK));
    let (own_datagram, answer) = (udp(PUBLIC, 6000, ATTACKER, 53), udp(ATTACKER, 53, PUBLIC, 6000));
    let (middle, next) = (tcp(PUBLIC, 22, ATTACKER, 4000, ACK), tcp(ATTACKER, 4000, PUBLIC, 22, ACK));
    let accepted = tcp(PUBLIC, 22, ATTACKER, 4000, SYN_ACK);
    let source = [Reason::BannedSource, Reason::ListedSource];
    let destination = [Reason::BannedDestination, Reason::ListedDestination];
    for (what, directions, leaves, comes, refused) in [
        ("our connection, banned inwards", DIRECTION_IN, &own_syn, &syn_ack, None),
        ("our connection, banned outwards", DIRECTION_OUT, &own_syn, &syn_ack, Some(destination)),
        ("our connection, banned both ways", BOTH, &own_syn, &syn_ack, Some(destination)),
        ("our datagram, banned inwards", DIRECTION_IN, &own_datagram, &answer, None),
        ("our datagram, banned outwards", DIRECTION_OUT, &own_datagram, &answer, Some(destination)),
        ("seen in its middle, banned inwards", DIRECTION_IN, &middle, &next, Some(source)),
        ("seen in its middle, banned outwards", DIRECTION_OUT, &middle, &next, Some(destination)),
        ("our SYN-ACK, banned inwards", DIRECTION_IN, &accepted, &next, Some(source)),
    ] {
        for is_list in [false, true] {
            let mut home = Home::default();
            if is_list {
                let value = Listed { list: 3, directions, observe: false };
                home.tables.listed.push((Prefix::v4([198, 51, 100, 0], 24), value));
            } else {
                home.ban(ATTACKER, directions);
            }
            let expected =
                refused.map_or(PASS(Reason::Established), |reasons| DROP(reasons[usize::from(is_list)]));
            for packet in 0..3 {
                home.leaves(leaves);
                assert_eq!(home.asks(comes), expected, "{what}, list: {is_list}, packet {packet}");
            }
            home.tables.bans.clear();
            home.tables.listed.clear();
            home.tables.active.epoch += 1;
            assert_eq!(home.asks(comes), PASS(Reason::Established), "{what}: nothing is against it any more");
        }
    }
}

#[test]
fn what_only_observes_is_told_once_of_a_taught_flow_and_is_not_its_rule() {
    let mut home = Home::default();
    let value = Listed { list: 3, directions: DIRECTION_OUT, observe: true };
    home.tables.listed.push((Prefix::v4(ATTACKER, 32), value));
    let egress = home.leaves(&tcp(PUBLIC, 6000, ATTACKER, 443, SYN));
    let verdict = home.judge(&tcp(ATTACKER, 443, PUBLIC, 6000, SYN_ACK).build());
    assert_eq!((verdict.reason, verdict.rule), (Reason::ListedDestination, 3));
    assert!(verdict.observed && !verdict.drops());
    let entry = home.entry(&egress.answer).unwrap();
    assert_eq!((entry.epoch, entry.rule), (home.tables.active.epoch, abi::RULE_NONE));
    assert_eq!(home.asks(&tcp(ATTACKER, 443, PUBLIC, 6000, ACK)), PASS(Reason::Established));
}
