//! Captures of all kinds, broken ones too: read without an error or a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use signatures::{Classification, Limits, RuleSet, Variables, inspect_capture};
use support::{CLIENT, Conversation, SERVER, pcap};

const RULES: &str = r#"
alert tcp any any -> any any (msg:"get"; content:"GET "; startswith; pcre:"/^GET [^ ]+ HTTP/"; sid:1;)
alert udp any any -> any 53 (msg:"dns"; content:"|01 00 00 01|"; offset:2; depth:4; sid:2;)
alert dns any any -> any any (msg:"com"; dns.query; content:".com"; endswith; sid:3;)
alert icmp any any -> any any (msg:"echo"; itype:8; sid:4;)
alert ip any any -> any any (msg:"small"; dsize:1<>4; sid:5;)
alert tcp any any -> any any (msg:"server"; flow:established,to_client; content:"HTTP/1."; depth:7; sid:6;)
"#;

fn rules() -> Arc<RuleSet> {
    let (rules, refused) = RuleSet::load(RULES, "rules", &Variables::usual(), &Classification::default());
    assert_eq!(refused, []);
    Arc::new(rules)
}

#[test]
fn all_captures_of_zeek_are_read() {
    let Some(corpora) = support::corpora() else {
        eprintln!("SKIP: all_captures_of_zeek_are_read: no corpora");
        return;
    };
    let rules = rules();
    let mut files: Vec<_> =
        std::fs::read_dir(corpora.join("pcap-zeek")).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let (mut captures, mut packets, mut alerts, mut cut, mut unsupported, mut failed) =
        (0, 0, 0, 0, 0, Vec::new());
    for file in files.iter().filter(|file| !file.ends_with("COPYING")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let source = std::fs::File::open(file).unwrap();
        match inspect_capture(source, &name, Arc::clone(&rules), Limits::default(), &mut |_| alerts += 1) {
            Ok(report) => {
                captures += 1;
                packets += report.capture.packets;
                cut += u64::from(report.capture.cut);
                unsupported += u64::from(report.capture.unsupported > 0);
            }
            Err(error) => failed.push(error.to_string()),
        }
    }
    println!(
        "zeek: {captures} captures, {packets} packets, {alerts} alerts, {cut} cut, {unsupported} of other link types"
    );
    assert_eq!(failed, Vec::<String>::new());
    assert_eq!(captures, 781);
}

#[test]
fn a_capture_cut_at_every_byte_is_read_as_far_as_it_goes() {
    let mut conversation = Conversation::open(CLIENT, SERVER, [7, 9]);
    conversation.client(b"GET / HTTP/1.1\r\n\r\n").server(b"HTTP/1.1 200 OK\r\n\r\n");
    let bytes = pcap(&conversation.frames);
    let rules = rules();
    let mut last = 0;
    for end in 0..=bytes.len() {
        let mut alerts = 0;
        let result =
            inspect_capture(&bytes[..end], "cut", Arc::clone(&rules), Limits::default(), &mut |_| {
                alerts += 1
            });
        match result {
            Ok(report) => {
                assert!(report.capture.packets >= last && alerts <= 2, "{end}");
                last = report.capture.packets;
            }
            Err(error) => {
                assert!(end < 24, "{end}: {error}");
                assert!(error.to_string().contains("tcpdump -w"), "{error}");
            }
        }
    }
    assert_eq!(last, 5);
}

#[test]
fn byte_orders_and_resolutions() {
    let mut conversation = Conversation::open(CLIENT, SERVER, [7, 9]);
    conversation.client(b"GET / HTTP/1.1\r\n\r\n");
    let rules = rules();
    let frame = &conversation.frames[3];
    for (big, nano) in [(false, false), (false, true), (true, false), (true, true)] {
        let number = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let short = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut bytes = Vec::new();
        bytes.extend(number(if nano { 0xa1b2_3c4d } else { 0xa1b2_c3d4 }));
        bytes.extend([short(2), short(4)].concat());
        bytes.extend([number(0), number(0), number(65_535), number(1)].concat());
        let length = u32::try_from(frame.len()).unwrap();
        let fraction = if nano { 123_456_000 } else { 123_456 };
        bytes.extend([number(1_700_000_000), number(fraction), number(length), number(length)].concat());
        bytes.extend(frame);
        let mut stamps = Vec::new();
        inspect_capture(&bytes[..], "order", Arc::clone(&rules), Limits::default(), &mut |alert| {
            stamps.push((alert.alert.signature_id, alert.timestamp));
        })
        .unwrap();
        assert_eq!(stamps, [(1, "2023-11-14T22:13:20.123456+0000".to_owned())], "{big} {nano}");
    }
}

#[test]
fn what_is_no_capture_says_so() {
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n and much more text that is no capture at all", &[0; 100]]
    {
        let error = inspect_capture(bytes, "x.pcap", rules(), Limits::default(), &mut |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "x.pcap: neither pcap nor pcapng; write it with `tcpdump -w FILE`");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn mutated_frames_do_no_harm(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..20)) {
        let mut conversation = Conversation::open(CLIENT, SERVER, [u32::MAX - 3, 9]);
        conversation.client(b"GET / HTTP/1.1\r\n\r\n").server(b"HTTP/1.1 200 OK\r\n\r\n");
        conversation.frames.push(support::udp(CLIENT, (SERVER.0, 53), b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x01a\x03com\0\0\x01\0\x01"));
        conversation.frames.push(support::icmp(CLIENT.0, SERVER.0, 8, 0, b"abc"));
        let mut bytes = pcap(&conversation.frames);
        let length = bytes.len();
        for (place, byte) in changes {
            bytes[24 + place % (length - 24)] = byte;
        }
        let result = inspect_capture(&bytes[..], "mutated", rules(), Limits::live(), &mut |_| {});
        if let Ok(report) = result {
            prop_assert!(report.counters.packets <= 7 + u64::try_from(length / 16).unwrap());
        }
    }
}
