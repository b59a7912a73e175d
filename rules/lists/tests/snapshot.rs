//! Snapshots: what is read says the same, and hostile bytes are refused or harmless.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use lists::{Asked, DomainSet, DomainSetBuilder, Format, GroupSet, SnapshotError, YouTube};
use model::Mode;
use proptest::prelude::*;
use std::sync::LazyLock;

/// A set with some of everything.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut builder = DomainSetBuilder::new(77);
    let text = b"||ads.example^\n@@||good.ads.example^$important\n||typed.example^$dnstype=A,client=tablet\n^rx[0-9]\\.;invert;querytype=TXT\n/banner/\n";
    builder.add("ads", Mode::Enforce, text).unwrap();
    let zone = b"$TTL 60\n@ SOA a. b. 1 2 3 4 5\nz.example CNAME .\ng.example A 192.0.2.1\n24.0.2.0.192.rpz-ip CNAME .\n";
    builder.add_as("zone", Mode::Observe, GroupSet(5), zone, &Format::Rpz).unwrap();
    builder.add_probes().unwrap();
    builder.add_safe_search(GroupSet::one(2), YouTube::Strict).unwrap();
    builder.finish().write()
});

fn ask(set: &DomainSet) -> usize {
    let names = [
        "x.ads.example",
        "good.ads.example",
        "typed.example",
        "my.banner.example",
        "z.example",
        "www.google.de",
        "",
    ];
    let mut found = 0;
    for name in names {
        let asked = Asked { groups: GroupSet::ALL, client: "tablet", ..Asked::about(name) };
        found += usize::from(set.decide(&asked).is_some());
        found += usize::from(set.decide_address([192, 0, 2, 9].into(), &asked).is_some());
    }
    found
}

/// The bytes with a checksum that is right.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 16 {
        let sum = crc32fast::hash(&bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

#[test]
fn a_snapshot_says_the_same() {
    let set = DomainSet::read(&BYTES).unwrap();
    assert_eq!(ask(&set), 6 + 7);
    assert_eq!(set.write(), *BYTES, "written again it is the same");
    assert_eq!(signed(BYTES.clone()), *BYTES);
    let empty = DomainSet::default();
    assert!(DomainSet::read(&empty.write()).unwrap().is_empty());
}

#[test]
fn what_is_no_snapshot_is_said() {
    let damaged = |bytes: &[u8]| DomainSet::read(bytes).unwrap_err();
    assert_eq!(damaged(b""), SnapshotError::NotOne);
    assert_eq!(damaged(&[b'x'; 100]), SnapshotError::NotOne);
    let mut newer = BYTES.clone();
    newer[8] = 9;
    assert_eq!(damaged(&newer), SnapshotError::Version(9));
    let mut flipped = BYTES.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert_eq!(damaged(&flipped), SnapshotError::Damaged("its checksum is wrong"));
    let short = signed(BYTES[..BYTES.len() - 12].to_vec());
    assert_eq!(damaged(&short), SnapshotError::Damaged("it has another length than it says"));
    for length in 0..BYTES.len() {
        assert!(DomainSet::read(&BYTES[..length]).is_err(), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Bytes that somebody changed, with a checksum that fits.
    #[test]
    fn changed_bytes_are_refused_or_harmless(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        from_end in any::<bool>(),
    ) {
        let mut bytes = BYTES.clone();
        let length = bytes.len();
        for (index, value) in changes {
            // Half of the time only entries, which are the last bytes and are no text that must be read first.
            let at = if from_end { length - 1 - index.index(1000) } else { index.index(length) };
            bytes[at] = value;
        }
        if let Ok(set) = DomainSet::read(&signed(bytes)) {
            ask(&set);
        }
    }
}
