//! What holds for any frame.

mod common;

use abi::{Action, Reason};
use common::*;
use datapath::host::{FrameBuilder, Payload};
use proptest::prelude::*;

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(from, to, flags)| Payload::Tcp {
            from,
            to,
            flags
        }),
        (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Payload::Udp { from, to }),
        (any::<u8>(), any::<u8>(), any::<u16>()).prop_map(|(kind, code, id)| Payload::Icmp {
            kind,
            code,
            id
        }),
        any::<u8>().prop_map(Payload::Other),
    ]
}

fn frames() -> impl Strategy<Value = FrameBuilder> {
    let addresses = prop_oneof![
        (any::<[u8; 4]>(), any::<[u8; 4]>()).prop_map(|(a, b)| (abi::mapped(a), abi::mapped(b))),
        Just((abi::mapped(LAPTOP), abi::mapped(CAMERA))),
        Just((abi::mapped(CAMERA), abi::mapped(WEB))),
        any::<([u8; 16], [u8; 16])>(),
    ];
    let tags = prop::collection::vec(prop_oneof![Just(0), Just(100), Just(400), any::<u16>()], 0..4);
    let extensions = prop::collection::vec(prop::sample::select(vec![0_u8, 43, 44, 51, 60, 135]), 0..9);
    (addresses, payloads(), tags, any::<u8>(), prop_oneof![3 => Just(0), 1 => any::<u16>()], extensions)
        .prop_map(|((source, destination), payload, tags, hops, fragment, extensions)| {
            let frame = FrameBuilder::new(source, destination, payload).hops(hops);
            FrameBuilder { tags, fragment, extensions, ..frame }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_get_a_verdict(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let home = Home::default();
        let verdict = home.judge(&bytes);
        prop_assert!(bytes.len() >= 14 || verdict.reason == Reason::Malformed);
    }

    #[test]
    fn a_frame_cut_short_never_opens_a_flow(frame in frames(), cut in 1_usize..200) {
        let home = Home::default();
        let bytes = frame.build();
        let cut = bytes.len().saturating_sub(cut);
        let verdict = home.judge(&bytes[..cut]);
        prop_assert!(!verdict.opened, "{verdict:?}");
        prop_assert!(home.tables.flows.entries().is_empty());
    }

    #[test]
    fn the_same_frame_gets_the_same_verdict_or_is_known(frame in frames()) {
        let home = Home::default();
        let bytes = frame.build();
        let (first, second) = (home.judge(&bytes), home.judge(&bytes));
        if first.opened && second.known {
            prop_assert!(matches!(second.reason, Reason::Established | Reason::HalfSeen));
        } else {
            prop_assert_eq!(first.result(), second.result());
        }
    }

    #[test]
    fn with_two_ids_or_an_unknown_one_a_frame_is_of_no_zone(frame in frames(), more in 1_u16..0xfff) {
        let home = Home::default();
        let ids: Vec<u16> = frame.tags.iter().map(|tag| tag & 0xfff).filter(|id| *id != 0).collect();
        let mut frame = frame;
        frame.tags.push(more);
        let verdict = home.judge(&frame.build());
        if !ids.is_empty() || frame.tags.len() > 2 || ![100, 400].contains(&more) {
            prop_assert_eq!((verdict.action, verdict.reason), (Action::Drop, Reason::WrongVlan));
        } else {
            prop_assert_ne!(verdict.reason, Reason::WrongVlan);
        }
    }

    #[test]
    fn observing_drops_nothing(frame in frames()) {
        let mut home = Home::default();
        home.flag(abi::ZONE_NONE, abi::ZONE_OBSERVE);
        home.ban_in(LAPTOP);
        prop_assert!(!home.judge(&frame.build()).drops());
    }

    #[test]
    fn what_is_remembered_answers_both_ways(from in any::<u16>(), to in any::<u16>()) {
        let home = Home::default();
        prop_assert_eq!(home.asks(&udp(LAPTOP, from, CAMERA, to)).1, Reason::RuleAllowed);
        prop_assert_eq!(home.asks(&udp(CAMERA, to, LAPTOP, from)).1, Reason::Established);
    }
}
