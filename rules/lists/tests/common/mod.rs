//! Questions and verdicts as the case files write them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use lists::{Asked, DomainKind, DomainMatch, DomainSet, Effect, GroupSet, Record, RecordData};
use serde::{Deserialize, de::DeserializeOwned};
use std::{net::IpAddr, path::Path};

/// What the set makes of `NAME [TYPE] [from ADDRESS] [as CLIENT] [in GROUP,…]`, or `answer ADDRESS …` for what an answer
/// holds.
pub(crate) fn ask<'a>(set: &'a DomainSet, question: &'a str) -> Option<DomainMatch<'a>> {
    let mut words = question.split_ascii_whitespace();
    let mut name = words.next().unwrap();
    let mut answer = None;
    if name == "answer" {
        answer = Some(words.next().unwrap().parse::<IpAddr>().unwrap());
        name = "any.example";
    }
    let mut asked = Asked::about(name);
    while let Some(word) = words.next() {
        match word {
            "from" => asked.address = Some(words.next().unwrap().parse().unwrap()),
            "as" => asked.client = words.next().unwrap(),
            "in" => {
                asked.groups = GroupSet::NONE;
                for place in words.next().unwrap().split(',') {
                    asked.groups.insert(place.parse().unwrap());
                }
            }
            kind => {
                const TYPES: [(&str, u16); 8] = [
                    ("A", 1),
                    ("NS", 2),
                    ("CNAME", 5),
                    ("MX", 15),
                    ("TXT", 16),
                    ("AAAA", 28),
                    ("HTTPS", 65),
                    ("CAA", 257),
                ];
                asked.qtype = TYPES.iter().find(|(name, _)| *name == kind).expect(kind).1;
            }
        }
    }
    match answer {
        Some(address) => set.decide_address(address, &asked),
        None => set.decide(&asked),
    }
}

/// `block 3`, `nxdomain 3`, `answer 3: A 192.0.2.1`.
pub(crate) fn verdict(found: &DomainMatch<'_>) -> String {
    assert_eq!(found.kind == DomainKind::Allow, found.effect == Effect::Allow);
    let (word, records) = match found.effect {
        Effect::Block => ("block", Vec::new()),
        Effect::Allow => ("allow", Vec::new()),
        Effect::NxDomain => ("nxdomain", Vec::new()),
        Effect::NoData => ("nodata", Vec::new()),
        Effect::Refused => ("refused", Vec::new()),
        Effect::Drop => ("drop", Vec::new()),
        Effect::TcpOnly => ("tcp-only", Vec::new()),
        Effect::Answer(records) => ("answer", records.to_vec()),
    };
    let records: Vec<String> = records.iter().map(record).collect();
    let colon = if records.is_empty() { "" } else { ": " };
    format!("{word} {}{colon}{}", found.line, records.join("; "))
}

fn record(record: &Record) -> String {
    let data = match &record.data {
        RecordData::A(address) => format!("A {address}"),
        RecordData::Aaaa(address) => format!("AAAA {address}"),
        RecordData::Cname(name) => format!("CNAME {name}"),
        RecordData::Ptr(name) => format!("PTR {name}"),
        RecordData::Txt(strings) => {
            let shown: Vec<_> =
                strings.iter().map(|text| format!("{:?}", String::from_utf8_lossy(text))).collect();
            format!("TXT {}", shown.join(" "))
        }
        RecordData::Mx { preference, exchange } => format!("MX {preference} {exchange}"),
        RecordData::Srv { priority, weight, port, target } => {
            format!("SRV {priority} {weight} {port} {target}")
        }
        RecordData::Service { https, priority, target, parameters } => {
            let keys: Vec<String> = parameters.iter().map(|(key, _)| format!("key{key}")).collect();
            format!("{} {priority} {target} {}", if *https { "HTTPS" } else { "SVCB" }, keys.join(" "))
        }
    };
    record.ttl.map_or(data.clone(), |ttl| format!("{data} ({ttl} s)"))
}

/// The cases of a file.
pub(crate) fn cases<C: DeserializeOwned>(name: &str) -> Vec<C> {
    #[derive(Deserialize)]
    #[serde(bound = "C: DeserializeOwned")]
    struct File<C> {
        case: Vec<C>,
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/lists").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let file: File<C> = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!file.case.is_empty(), "{name}");
    file.case
}
