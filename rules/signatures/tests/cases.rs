//! `tests/cases/signatures/*.toml`: rules, packets and the alerts they must give, in the user's own words.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::sync::Arc;

use serde::Deserialize;
use signatures::{Classification, FlowVerdict, Inspector, Limits, LinkType, RuleSet, Variables};
use support::{CLIENT, Conversation, SERVER};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    rules: String,
    packets: Vec<String>,
    alerts: Vec<String>,
    #[serde(default)]
    refused: Vec<String>,
    verdict: Option<String>,
}

/// Bytes as in a rule's content.
fn bytes(text: &str) -> Vec<u8> {
    let part = |(at, part): (usize, &str)| -> Vec<u8> {
        if at % 2 == 0 {
            return part.as_bytes().to_vec();
        }
        part.split_whitespace().map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    };
    text.split('|').enumerate().flat_map(part).collect()
}

fn frames(case: &Case) -> Vec<Vec<u8>> {
    let mut conversation = Conversation::open(CLIENT, SERVER, [u32::MAX - 2, 5000]);
    let handshake = std::mem::take(&mut conversation.frames);
    for packet in &case.packets {
        let (way, rest) = packet.split_once(' ').unwrap();
        let (kind, data) = rest.split_once(' ').unwrap_or((rest, ""));
        let (from, to) = if way == ">" { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        match (kind, way) {
            ("open", _) => conversation.frames.extend(handshake.iter().cloned()),
            ("tcp", ">") => drop(conversation.client(&bytes(data))),
            ("tcp", _) => drop(conversation.server(&bytes(data))),
            ("udp", _) => conversation.frames.push(support::udp(from, to, &bytes(data))),
            ("icmp", _) => {
                let (kind, data) = data.split_once(' ').unwrap();
                let kind = kind.parse().unwrap();
                conversation.frames.push(support::icmp(from.0, to.0, kind, 0, &bytes(data)));
            }
            ("dns", _) => {
                let mut message = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
                for label in data.split('.') {
                    message.push(u8::try_from(label.len()).unwrap());
                    message.extend_from_slice(label.as_bytes());
                }
                message.extend_from_slice(b"\x00\x00\x01\x00\x01");
                conversation.frames.push(support::udp(from, (to.0, 53), &message));
            }
            _ => panic!("{packet}"),
        }
    }
    conversation.frames
}

fn run(case: &Case) {
    let (rules, refused) =
        RuleSet::load(&case.rules, "rules", &Variables::usual(), &Classification::default());
    let refused: Vec<String> = refused
        .iter()
        .map(|r| format!("{} {}: {}", r.sid.map_or("-".to_owned(), |sid| sid.to_string()), r.keyword, r.why))
        .collect();
    assert_eq!(refused.len(), case.refused.len(), "{}: {refused:?}", case.name);
    for (got, wanted) in refused.iter().zip(&case.refused) {
        assert!(got.starts_with(wanted.as_str()), "{}: {got}, not {wanted}", case.name);
    }
    // Each case holds as it is, with VLAN tags, and with rules that only alert.
    for tagged in [false, true] {
        let mut inspector = Inspector::new(Arc::new(RuleSet::empty()), Limits::default());
        inspector.set_rules(Arc::new(
            RuleSet::load(&case.rules, "rules", &Variables::usual(), &Classification::default()).0,
        ));
        let (mut alerts, mut verdict) = (Vec::new(), FlowVerdict::Continue);
        for (n, frame) in frames(case).iter().enumerate() {
            let frame = if tagged { support::tagged(frame, 400) } else { frame.clone() };
            let judgement = inspector.packet(support::at(n), LinkType::Ethernet, &frame);
            alerts.extend(judgement.alerts.iter().map(|a| format!("{}@{}", a.rule.sid, a.packet_number)));
            verdict = judgement.verdict;
        }
        assert_eq!(alerts, case.alerts, "{}", case.name);
        let wanted = match case.verdict.as_deref() {
            Some("dropped") => FlowVerdict::Dropped,
            Some("passed") => FlowVerdict::Passed,
            Some(other) => panic!("{other}"),
            None => FlowVerdict::Continue,
        };
        assert_eq!(verdict, wanted, "{}", case.name);
    }
    assert!(!rules.is_empty(), "{}", case.name);
}

#[test]
fn every_case_holds() {
    let mut files: Vec<_> = std::fs::read_dir(support::cases()).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let mut count = 0;
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "toml")) {
        let text = std::fs::read_to_string(file).unwrap();
        let cases: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in &cases.case {
            run(case);
            count += 1;
        }
    }
    assert!(count >= 15, "{count} cases");
}
