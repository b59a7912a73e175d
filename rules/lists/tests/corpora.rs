//! Real lists: nothing is rejected, memory stays small.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests")]

use lists::{AddressList, AddressLists, AddressReading, Asked, DomainKind, DomainSetBuilder, ListedAs};
use model::{Direction, Mode, Name};
use std::{path::PathBuf, sync::Arc};

/// The bytes of a corpus file; none, told on stderr, where it is not there.
fn corpus(test: &str, file: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let read = std::fs::read(root.join(file)).ok();
    if read.is_none() {
        eprintln!("SKIP: {test}: no corpus file {file}");
    }
    read
}

#[test]
fn real_domain_lists_are_read_whole_and_are_small() {
    let test = "real_domain_lists_are_read_whole_and_are_small";
    let Some(phishing) = corpus(test, "domain-lists/phishing.domains.txt") else { return };
    let Some(tracking) = corpus(test, "domain-lists/tracking.adblock.txt") else { return };
    let mut builder = DomainSetBuilder::new(42);
    let reports = [
        builder.add("phishing", Mode::Enforce, &phishing).unwrap(),
        builder.add("tracking", Mode::Enforce, &tracking).unwrap(),
    ];
    assert_eq!(reports.each_ref().map(|report| report.rejected), [0, 0], "{reports:#?}");
    assert_eq!(reports.map(|report| report.entries), [190_215, 143_876]);
    let set = builder.finish();
    eprintln!("{} names in {} bytes", set.len(), set.bytes());
    assert!(set.bytes() < 25 << 20, "{} bytes", set.bytes());

    // Every name of both files is blocked, as the file says.
    for (bytes, below) in [(&phishing, false), (&tracking, true)] {
        for line in str::from_utf8(bytes).unwrap().lines() {
            let name = line.trim_start_matches('|').trim_end_matches('^');
            if line.starts_with(['#', '!']) || line.is_empty() {
                continue;
            }
            let name: Name = name.parse().unwrap();
            let found = set.decide(&Asked::about(name.as_str())).unwrap();
            assert!(found.kind == DomainKind::Block && name.is_within(found.entry), "{name}: {found:?}");
            if below {
                assert!(set.decide(&Asked::about(&format!("x.{name}"))).is_some());
            }
        }
    }
}

#[test]
fn the_real_address_list_is_read_whole() {
    let test = "the_real_address_list_is_read_whole";
    let Some(bytes) = corpus(test, "address-lists/ipsum.txt") else { return };
    let (all, report) = AddressList::read(&bytes, AddressReading::default()).unwrap();
    assert_eq!((report.entries, report.rejected), (120_430, 0), "{:#?}", report.rejects);
    let reading = AddressReading { min_score: Some(3), own: &["10.0.0.0/8".parse().unwrap()] };
    let (some, report) = AddressList::read(&bytes, reading).unwrap();
    assert_eq!(report.entries + report.below_score, 120_430);
    assert_eq!(some.len() as u64, report.entries);

    let listed = ListedAs { list: Arc::new(all), id: 3, direction: Direction::In, mode: Mode::Enforce };
    let merged = AddressLists::merge(vec![listed]).unwrap();
    assert_eq!(merged.table().len(), 120_430);
    assert!(merged.bytes() < 5 << 20, "{}", merged.bytes());
    let origins = merged.origin([23, 224, 4, 114].into());
    assert_eq!(origins.iter().map(|origin| (origin.list, origin.line)).collect::<Vec<_>>(), [(3, 120_435)]);
}
