//! `tests/cases/lists/sets.toml`: several lists in one set, for groups.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{ask, cases, verdict};
use lists::{DomainKind, DomainSet, DomainSetBuilder, Format, GroupSet};
use model::Mode;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    list: Vec<List>,
    /// `dns.allow`.
    #[serde(default)]
    allow: Vec<String>,
    /// `dns.deny`.
    #[serde(default)]
    deny: Vec<String>,
    /// Entries that are held.
    entries: Option<usize>,
    /// `LIST VERDICT LINE`, or `-`.
    decide: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mode: Mode,
    groups: Option<Vec<usize>>,
    #[serde(default)]
    text: String,
    format: Option<String>,
    /// The text is a list of exceptions.
    #[serde(default)]
    excepts: bool,
    /// Written into the config, to allow or deny.
    allow: Option<Vec<String>>,
    deny: Option<Vec<String>>,
}

impl Case {
    fn set(&self) -> DomainSet {
        let mut builder = DomainSetBuilder::new(5);
        let numbered = |texts: &[String]| texts.iter().cloned().zip(1..).collect::<Vec<_>>();
        let allow = numbered(&self.allow);
        let report = builder
            .add_allow_list("dns.allow", allow.iter().map(|(text, line)| (text.as_str(), *line)))
            .unwrap();
        assert!(report.rejects.is_empty(), "{}: {:?}", self.name, report.rejects);
        let write = |builder: &mut DomainSetBuilder, name: &str, kind, mode, groups, texts: &[String]| {
            let texts = numbered(texts);
            let texts = texts.iter().map(|(text, line)| (text.as_str(), *line));
            let report = builder.add_written(name, kind, mode, groups, texts).unwrap();
            assert!(report.rejects.is_empty(), "{}: {:?}", self.name, report.rejects);
        };
        write(&mut builder, "dns.deny", DomainKind::Block, Mode::Enforce, GroupSet::ALL, &self.deny);
        for (number, list) in self.list.iter().enumerate() {
            let name = if list.name.is_empty() {
                format!("{}", (b'a' + number as u8) as char)
            } else {
                list.name.clone()
            };
            let mut groups = GroupSet::DEFAULT;
            if let Some(places) = &list.groups {
                groups = GroupSet::NONE;
                places.iter().for_each(|&place| groups.insert(place));
            }
            if let Some(texts) = &list.allow {
                write(&mut builder, &name, DomainKind::Allow, list.mode, groups, texts);
            }
            if let Some(texts) = &list.deny {
                write(&mut builder, &name, DomainKind::Block, list.mode, groups, texts);
            }
            if !list.text.is_empty() {
                let format: Format = list.format.as_deref().unwrap_or("auto").parse().unwrap();
                let add =
                    if list.excepts { DomainSetBuilder::add_exceptions } else { DomainSetBuilder::add_as };
                let report =
                    add(&mut builder, &name, list.mode, groups, list.text.as_bytes(), &format).unwrap();
                assert!(report.rejects.is_empty(), "{}: {:?}", self.name, report.rejects);
            }
        }
        builder.finish()
    }
}

#[test]
fn sets_decide_as_their_cases_say() {
    for case in cases::<Case>("sets.toml") {
        let set = case.set();
        if let Some(entries) = case.entries {
            assert_eq!(set.len(), entries, "{}", case.name);
        }
        let again = DomainSet::read(&set.write()).unwrap();
        assert_eq!(again.lists(), set.lists(), "{}", case.name);
        for (question, expected) in &case.decide {
            for (set, which) in [(&set, "as built"), (&again, "of the snapshot")] {
                let said = ask(set, question)
                    .map_or("-".into(), |found| format!("{} {}", found.info.name, verdict(&found)));
                assert_eq!(&said, expected, "{}: {question}, {which}", case.name);
            }
        }
    }
}
