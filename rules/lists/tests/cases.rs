//! `tests/cases/lists/*.toml` through both readers.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests")]

use lists::{AddressList, AddressReading, DomainKind, DomainSetBuilder, ListError, Report};
use model::{Mode, Name};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

#[derive(Deserialize)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    hex: String,
    repeat: Option<(String, usize)>,
    then_repeat: Option<(String, usize)>,
    #[serde(default)]
    then: String,
    min_score: Option<u32>,
    #[serde(default)]
    own: Vec<ipnet::IpNet>,
    refused: Option<String>,
    entries: Option<u64>,
    #[serde(default)]
    below: u64,
    #[serde(default)]
    rejects: Vec<String>,
    #[serde(default)]
    decide: BTreeMap<Name, String>,
    #[serde(default)]
    find: BTreeMap<std::net::IpAddr, String>,
}

impl Case {
    fn bytes(&self) -> Vec<u8> {
        let repeated =
            |part: &Option<(String, usize)>| part.as_ref().map_or(String::new(), |(s, n)| s.repeat(*n));
        let hex: Vec<u8> = self.hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut bytes = repeated(&self.repeat).into_bytes();
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.extend(hex.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()));
        bytes.extend_from_slice(repeated(&self.then_repeat).as_bytes());
        bytes.extend_from_slice(self.then.as_bytes());
        bytes
    }

    /// Compares the outcome of reading with what the case expects; true if the list was taken.
    fn check(&self, outcome: Result<Report, ListError>) -> bool {
        let name = &self.name;
        match (&self.refused, outcome) {
            (Some(words), Err(error)) => {
                assert!(error.to_string().contains(words), "{name}: {error}");
                false
            }
            (None, Ok(report)) => {
                assert_eq!(Some(report.entries), self.entries, "{name}: {report:?}");
                assert_eq!(report.below_score, self.below, "{name}");
                assert_eq!(report.rejected, self.rejects.len() as u64, "{name}: {:#?}", report.rejects);
                for (reject, expected) in report.rejects.iter().zip(&self.rejects) {
                    let (line, why) = expected.split_once(": ").unwrap();
                    assert_eq!(reject.line.to_string(), line, "{name}: {reject}");
                    assert!(reject.why.contains(why), "{name}: {reject} does not say `{why}`");
                }
                true
            }
            (_, outcome) => panic!("{name}: {outcome:?}"),
        }
    }
}

fn cases(file: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/lists").join(file);
    let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!file.case.is_empty());
    file.case
}

#[test]
fn domains() {
    for case in cases("domains.toml") {
        let bytes = case.bytes();
        let mut builder = DomainSetBuilder::new(7);
        let outcome = builder.add("case", Mode::Enforce, &bytes);
        assert_eq!(DomainSetBuilder::inspect(&bytes), outcome, "{}: both passes agree", case.name);
        let taken = case.check(outcome);
        let set = builder.finish();
        assert!(taken || set.is_empty(), "{}: a refused list leaves nothing behind", case.name);
        for (name, expected) in &case.decide {
            let said = set.decide(name).map_or("-".into(), |found| {
                format!("{} {}", if found.kind == DomainKind::Block { "block" } else { "allow" }, found.line)
            });
            assert_eq!(&said, expected, "{}: {name}", case.name);
        }
    }
}

#[test]
fn addresses() {
    for case in cases("addresses.toml") {
        let reading = AddressReading { min_score: case.min_score, own: &case.own };
        let outcome = AddressList::read(&case.bytes(), reading);
        let list = outcome.as_ref().map(|(list, _)| list.clone()).unwrap_or_default();
        case.check(outcome.map(|(_, report)| report));
        for (address, expected) in &case.find {
            let said = list.find(*address).map_or("-".into(), |(_, line)| line.to_string());
            assert_eq!(&said, expected, "{}: {address}", case.name);
        }
    }
}
