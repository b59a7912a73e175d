//! The flow table against a plain reference: what is assured stays, whatever comes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashMap;

use abi::{
    Action, FLOW_WAYS, FlowPlace, Lost, Reason, STATE_ASSURED, STATE_NEW, Strength, ZONE_STRICT, ticks,
};
use common::*;
use datapath::host::{FrameBuilder, MemoryFlows, Payload};
use proptest::prelude::*;

/// Sets of the small tables here.
const SETS: usize = 4;

fn small() -> Home {
    let mut home = Home::default();
    home.tables.flows = MemoryFlows::new(SETS);
    home.tables.active.flow_mask = home.tables.flows.mask();
    home
}

fn assured(home: &Home) -> Vec<FlowPlace> {
    let now = ticks(home.now);
    let sets = home.tables.flows.to_sets();
    let places = sets.iter().flat_map(abi::FlowSet::places);
    places.filter(|place| place.value().strength(now) == Strength::Assured).collect()
}

#[test]
fn a_flood_of_spoofed_sources_takes_no_place_of_an_assured_flow() {
    let home = small();
    let mut live = Vec::new();
    for port in 1000..1040 {
        home.connects(LAPTOP, port, CAMERA, 80);
        live.push(port);
    }
    let before = assured(&home);
    assert!(before.len() >= SETS * FLOW_WAYS / 2, "the table is worth flooding: {}", before.len());
    for source in 0..4000_u32 {
        let [_, b, c, d] = source.to_be_bytes();
        let syn = FrameBuilder::v4([198, b, c, d], PUBLIC, Payload::Tcp { from: 7, to: 443, flags: SYN });
        assert_eq!(home.asks(&syn), (Action::Pass, Reason::RuleAllowed), "the verdict is the policy's");
        // The answer leaves, and the flood guesses at its number.
        home.leaves(&outwards(tcp(PUBLIC, 443, [198, b, c, d], 7, SYN_ACK).numbered(source * 65_537, 1)));
        home.asks(
            &FrameBuilder::v4([198, b, c, d], PUBLIC, Payload::Tcp { from: 7, to: 443, flags: ACK })
                .numbered(1, 12_345),
        );
    }
    let after = assured(&home);
    for place in &before {
        assert!(after.iter().any(|other| other.key() == place.key()), "evicted: {:?}", place.key());
    }
    assert!(home.tables.lost.borrow()[Lost::Flow as usize] > 0, "what found no place is counted");
    for port in live {
        let frame = tcp(LAPTOP, port, CAMERA, 80, ACK).numbered(101, 7001);
        assert!(!home.judge(&frame.build()).drops());
    }
}

#[test]
fn only_who_saw_the_answer_is_assured() {
    for (what, sequence, acknowledged, expected) in [
        ("the number itself", 7000, 7001, true),
        ("data of the server on the way", 7000, 7001 + 14_599, true),
        ("too far", 7000, 7001 + 14_600, false),
        ("one short", 7000, 7000, false),
        ("over the wrap", u32::MAX, 0, true),
        ("a guess", 7000, 12_345_678, false),
    ] {
        let home = Home::default();
        home.asks(&tcp(ATTACKER, 1, PUBLIC, 443, SYN).numbered(1, 0));
        home.leaves(&tcp(PUBLIC, 443, ATTACKER, 1, SYN_ACK).numbered(sequence, 2));
        home.asks(&tcp(ATTACKER, 1, PUBLIC, 443, ACK).numbered(2, acknowledged));
        let state = home.tables.flows.entries()[0].1.state;
        assert_eq!(state == STATE_ASSURED, expected, "{what}");
    }
}

#[test]
fn a_strict_zone_drops_no_connection_that_the_table_could_not_keep() {
    let mut home = small();
    home.flag(WAN, ZONE_STRICT);
    let packet = |source: u16, flags| {
        let [b, c] = source.to_be_bytes();
        FrameBuilder::v4([203, 1, b, c], PUBLIC, Payload::Tcp { from: 7, to: 443, flags })
    };
    // So many begin at once that most have to make way before they go on.
    for source in 0..400 {
        assert_eq!(home.asks(&packet(source, SYN)), (Action::Pass, Reason::RuleAllowed));
    }
    for source in 0..400 {
        assert!(!home.judge(&packet(source, ACK).build()).drops(), "{source}: nftables knows it");
    }
    assert_eq!(home.asks(&packet(5000, ACK)), (Action::Drop, Reason::Unsolicited), "it never began");
}

#[test]
fn a_forgotten_datagram_is_left_to_conntrack_and_a_new_one_is_not() {
    let mut home = small();
    // The laptop asks; the table is so full of others' questions that it forgets some of them.
    for port in 0..2000 {
        home.leaves(&udp(PUBLIC, port, WEB, 53));
    }
    let mut reasons: HashMap<Reason, usize> = HashMap::new();
    for port in 0..2000 {
        let verdict = home.judge(&udp(WEB, 53, PUBLIC, port).build());
        assert!(!verdict.drops(), "no answer is dropped, remembered or not: {port}");
        *reasons.entry(verdict.reason).or_default() += 1;
    }
    assert!(reasons[&Reason::NoState] > 0 && reasons[&Reason::Established] > 0, "{reasons:?}");
    assert_eq!(home.asks(&udp(WEB, 54, PUBLIC, 1)), (Action::Drop, Reason::DefaultDenied));
    home.ban_in(WEB);
    home.tables.flows = MemoryFlows::new(SETS);
    assert_eq!(home.asks(&udp(WEB, 53, PUBLIC, 1)).1, Reason::BannedSource, "it saves from the policy only");
    home.tables.bans.clear();
    home.wait(181);
    assert_eq!(home.asks(&udp(WEB, 53, PUBLIC, 1)).1, Reason::DefaultDenied, "and not for ever");
    home.tables.active.attached = home.now;
    assert_eq!(home.asks(&udp(WEB, 53, PUBLIC, 1)).1, Reason::NoState, "nor is what was before the attach");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A map that never forgets says what must stand; the table may know less, and never anything else.
    #[test]
    fn the_table_knows_nothing_wrong(
        events in prop::collection::vec((0_u16..60, 0_u8..4, 0_u64..50), 1..300),
    ) {
        let mut home = small();
        let mut answered = HashMap::new();
        for (port, what, seconds) in events {
            home.wait(seconds / 25);
            let question = udp(LAPTOP, port, CAMERA, 5000);
            let answer = udp(CAMERA, 5000, LAPTOP, port);
            match what {
                0 | 1 => {
                    let verdict = home.judge(&question.build());
                    prop_assert!(matches!(verdict.reason, Reason::RuleAllowed | Reason::Established));
                }
                2 => {
                    home.leaves(&outwards(answer));
                    answered.insert(port, home.now);
                }
                _ => {
                    let verdict = home.judge(&answer.build());
                    let never = !matches!(verdict.reason, Reason::Established | Reason::NoState | Reason::DefaultDenied);
                    prop_assert!(!never, "{:?}", verdict.reason);
                }
            }
            let now = ticks(home.now);
            for (key, value) in home.tables.flows.entries() {
                prop_assert!(value.state == STATE_NEW || value.state == STATE_ASSURED);
                if value.stands(now) && value.state == STATE_ASSURED && key.zone == LAN {
                    let port = u16::from_be_bytes(key.source_port);
                    prop_assert!(answered.contains_key(&port), "assured without an answer: {port}");
                }
            }
        }
    }

    /// Whatever comes between, an assured flow whose time is not over keeps its place.
    #[test]
    fn no_newcomer_takes_an_assured_place(ports in prop::collection::vec(any::<u16>(), 1..100)) {
        let home = small();
        home.connects(LAPTOP, 1, CAMERA, 80);
        let before: Vec<_> = assured(&home).iter().map(FlowPlace::key).collect();
        prop_assert_eq!(before.len(), 2);
        for port in ports {
            home.asks(&udp(LAPTOP, port, WEB, port));
            home.leaves(&outwards(udp(PUBLIC, port, WEB, port)));
            home.connects(LAPTOP, port | 1024, WEB, 443);
        }
        let after: Vec<_> = assured(&home).iter().map(FlowPlace::key).collect();
        prop_assert!(before.iter().all(|key| after.contains(key)));
    }
}
