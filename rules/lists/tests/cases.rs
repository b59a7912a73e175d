//! `tests/cases/lists/*.toml` through both readers.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests")]

mod common;

use common::{ask, cases, verdict};
use lists::{
    AddressList, AddressReading, Delta, DomainSet, DomainSetBuilder, Format, GroupSet, ListError, Report,
    guard_report,
};
use model::{Mode, Name};
use serde::Deserialize;
use std::collections::BTreeMap;

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
    format: Option<String>,
    /// The file as it was before, for what a refresh says.
    former: Option<String>,
    delta: Option<(u64, u64)>,
    held: Option<String>,
    min_score: Option<u32>,
    #[serde(default)]
    own: Vec<ipnet::IpNet>,
    /// Names of the resolver's own upstreams.
    #[serde(default)]
    upstreams: Vec<Name>,
    refused: Option<String>,
    entries: Option<u64>,
    #[serde(default)]
    below: u64,
    #[serde(default)]
    rejects: Vec<String>,
    #[serde(default)]
    decide: BTreeMap<String, String>,
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

    fn format(&self) -> Format {
        self.format.as_deref().map_or(Format::Auto, |format| format.parse().unwrap())
    }

    /// What a refresh makes of it: held or not, and what is different.
    fn check_refresh(&self, former: Option<&Report>, now: &Report, delta: Delta) {
        let held = guard_report(former.map(|report| (report.entries, report.dangers)), now);
        let held = held.err().map(|error| error.to_string());
        match (&self.held, &held) {
            (Some(words), Some(why)) => assert!(why.contains(words), "{}: {why}", self.name),
            (None, None) => {}
            (wanted, got) => panic!("{}: held {wanted:?}, got {got:?}", self.name),
        }
        if let Some((added, removed)) = self.delta {
            assert_eq!(delta, Delta { added, removed }, "{}", self.name);
        }
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

fn check_domains(case: &Case) {
    let (bytes, format) = (case.bytes(), case.format());
    let mut builder = DomainSetBuilder::new(7).protect(case.upstreams.clone());
    let outcome = builder.add_as("case", Mode::Enforce, GroupSet::DEFAULT, &bytes, &format);
    assert_eq!(
        DomainSetBuilder::inspect_as(&bytes, &format, &case.upstreams),
        outcome,
        "{}: both passes agree",
        case.name
    );
    if case.format.is_none() && case.upstreams.is_empty() {
        assert_eq!(DomainSetBuilder::inspect(&bytes), outcome, "{}: auto is the default", case.name);
    }
    if case.former.is_some() || case.held.is_some() || case.delta.is_some() {
        let former = case.former.as_deref().map(str::as_bytes);
        let (now, delta) = DomainSetBuilder::compare(
            &bytes,
            &format,
            former.map(|bytes| (bytes, &format)),
            &case.upstreams,
            3,
        )
        .unwrap();
        let former =
            former.map(|bytes| DomainSetBuilder::inspect_as(bytes, &format, &case.upstreams).unwrap());
        case.check_refresh(former.as_ref(), &now, delta);
    }
    let taken = case.check(outcome);
    let set = builder.finish();
    assert!(taken || set.is_empty(), "{}: a refused list leaves nothing behind", case.name);
    let again = DomainSet::read(&set.write()).unwrap();
    for (question, expected) in &case.decide {
        for (set, which) in [(&set, "as built"), (&again, "of the snapshot")] {
            let said = ask(set, question).map_or("-".into(), |found| verdict(&found));
            assert_eq!(&said, expected, "{}: {question}, {which}", case.name);
        }
    }
}

fn check_addresses(case: &Case) {
    let reading = AddressReading { min_score: case.min_score, own: &case.own };
    let read = |bytes: &[u8]| AddressList::read_as(bytes, &case.format(), reading);
    let outcome = read(&case.bytes());
    if case.former.is_some() || case.held.is_some() || case.delta.is_some() {
        let former = case.former.as_deref().map(|text| read(text.as_bytes()).unwrap());
        let (list, report) = outcome.as_ref().unwrap();
        let (former_list, former_report) = former.unzip();
        let delta = list.delta(&former_list.unwrap_or_default()).counts();
        case.check_refresh(former_report.as_ref(), report, delta);
    }
    let list = outcome.as_ref().map(|(list, _)| list.clone()).unwrap_or_default();
    case.check(outcome.map(|(_, report)| report));
    for (address, expected) in &case.find {
        let said = list.find(*address).map_or("-".into(), |(_, line)| line.to_string());
        assert_eq!(&said, expected, "{}: {address}", case.name);
    }
}

#[test]
fn domains() {
    let files =
        ["domains", "domain-formats", "names", "adblock", "modifiers", "dnsmasq", "rpz", "regexes", "mixed"];
    let mut count = 0;
    for file in files {
        for case in cases::<Case>(&format!("{file}.toml")) {
            check_domains(&case);
            count += 1;
        }
    }
    assert!(count >= 120, "{count} cases of domain lists");
}

#[test]
fn addresses() {
    cases("addresses.toml").iter().for_each(check_addresses);
    cases("address-formats.toml").iter().for_each(check_addresses);
}
