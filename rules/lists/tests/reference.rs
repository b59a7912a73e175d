//! The fast sets against slow, obvious ones, and readers against arbitrary bytes.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "helpers of tests")]

use abi::ListValue;
use ipnet::{IpNet, Ipv4Net};
use lists::{
    AddressList, AddressLists, AddressReading, Asked, DomainKind, DomainSet, DomainSetBuilder, Format,
    GroupSet, ListedAs, limits::MAX_DOMAINS,
};
use model::{Direction, Mode, Name};
use proptest::prelude::*;
use std::{net::IpAddr, sync::Arc};

/// Formats that hostile bytes are read in.
const FORMATS: [&str; 14] = [
    "auto",
    "plain",
    "score",
    "csv:1",
    "csv:2:3",
    "csv:ip:score",
    "json",
    "json:ip",
    "json:a.ip:score",
    "hosts",
    "adblock",
    "dnsmasq",
    "rpz",
    "regex",
];

/// One entry of one list: kind, below, name.
type Row = (DomainKind, bool, String);

/// Every entry of every list, asked in the plainest way: kind and enforcement of what wins.
fn reference(lists: &[(Mode, Vec<Row>)], name: &Name) -> Option<(DomainKind, Mode)> {
    let says = |mode, kind| {
        lists.iter().filter(|(of, _)| *of == mode).flat_map(|(_, rows)| rows).any(|(is, below, entry)| {
            *is == kind && (entry == name.as_str() || (*below && name.is_within(entry)))
        })
    };
    [
        (DomainKind::Allow, Mode::Enforce),
        (DomainKind::Block, Mode::Enforce),
        (DomainKind::Allow, Mode::Observe),
        (DomainKind::Block, Mode::Observe),
    ]
    .into_iter()
    .find(|&(kind, mode)| says(mode, kind))
}

fn text(rows: &[Row]) -> String {
    rows.iter()
        .map(|(kind, below, name)| match (kind, below) {
            (DomainKind::Allow, _) => format!("@@||{name}^\n"),
            (DomainKind::Block, true) => format!("||{name}^\n"),
            (DomainKind::Block, false) => format!("{name}\n"),
        })
        .collect()
}

fn names() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["[abc]", "[a-c]{2}"], 1..5)
        .prop_map(|labels| labels.join(".") + ".x")
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (any::<u8>(), names()).prop_map(|(bits, name)| match bits % 5 {
        0 => (DomainKind::Allow, true, name),
        1 | 2 => (DomainKind::Block, true, name),
        _ => (DomainKind::Block, false, name),
    });
    proptest::collection::vec(row, 1..30)
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Enforce), Just(Mode::Observe)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn domain_set_decides_as_the_reference(
        lists in proptest::collection::vec((mode(), rows()), 1..4),
        asked in proptest::collection::vec(names(), 40),
        seed in any::<u64>(),
    ) {
        let mut builder = DomainSetBuilder::new(seed);
        for (mode, rows) in &lists {
            builder.add("list", *mode, text(rows).as_bytes()).unwrap();
        }
        let set = builder.finish();
        for name in lists.iter().flat_map(|(_, rows)| rows).map(|(_, _, name)| name).chain(&asked) {
            let name: Name = name.parse().unwrap();
            let found = set.decide(&Asked::about(name.as_str()));
            prop_assert_eq!(found.map(|m| (m.kind, m.info.mode)), reference(&lists, &name), "{}", name);
            if let Some(found) = found {
                // What is named must really say so: the list's line holds this very entry.
                let rows = &lists[usize::from(found.list)].1;
                let (kind, below, entry) = &rows[found.line as usize - 1];
                prop_assert_eq!((*kind, *below, entry.as_str()), (found.kind, found.below, found.entry));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = DomainSetBuilder::inspect(&bytes);
        let _ = AddressList::read(&bytes, AddressReading { min_score: Some(3), own: &[] });
    }

    #[test]
    fn list_like_text_never_panics(text in "([a-c.|@^$*#!:/ \t\r\n0-9-]|ff|::|é|@@\\|\\|a\\.b\\^){0,400}") {
        let mut builder = DomainSetBuilder::new(0);
        if builder.add("list", Mode::Enforce, text.as_bytes()).is_ok() {
            let set = builder.finish();
            prop_assert!(!set.is_empty());
            let _ = set.decide(&Asked::about(&text));
        }
        let _ = AddressList::read(text.as_bytes(), AddressReading::default());
    }

    #[test]
    fn hostile_bytes_in_every_format(
        bytes in proptest::collection::vec(any::<u8>(), 0..1500),
        text in "([a-c:.|@,;\"\\[\\]{}\t\r\n0-9/ -]|\"ip\":|1\\.2\\.3\\.4|fe80::|ip,score\n|\\\\u00){0,300}",
        rules in "([a-c.|@^$*/=;(){}?+~ \n!0-9-]|\\|\\|a\\.b\\^|\\$(important|badfilter|dnstype=|client=|dnsrewrite=|denyallow=)|NOERROR;|address=/|local=/| CNAME |\\$TTL 5\n|\\$ORIGIN a\\.|@ SOA |rpz-(ip|passthru\\.|drop\\.)|;(querytype|reply|invert)=?|\\[:alpha:\\]|\\\\[wdb1Q]|xn--|ü| A 1\\.2\\.3\\.4| TXT \"){0,200}",
        name in 0..FORMATS.len(),
    ) {
        let format: Format = FORMATS[name].parse().unwrap();
        for bytes in [&bytes[..], text.as_bytes(), rules.as_bytes()] {
            let inspected = DomainSetBuilder::inspect_as(bytes, &format, &[]);
            let mut builder = DomainSetBuilder::new(0);
            prop_assert_eq!(builder.add_as("list", Mode::Enforce, GroupSet::DEFAULT, bytes, &format), inspected);
            let set = builder.finish();
            let again = DomainSet::read(&set.write()).unwrap();
            for question in ["a.b", "x.a.b", "c", &text] {
                let asked = Asked::about(question);
                prop_assert_eq!(again.decide(&asked), set.decide(&asked));
            }
            if let Ok((list, report)) = AddressList::read_as(bytes, &format, AddressReading::default()) {
                prop_assert!(!list.is_empty() || report.below_score > 0);
                prop_assert!(report.rejects.iter().all(|reject| reject.line >= 1 && reject.line <= report.lines));
            }
        }
    }

    /// Whichever way the same prefixes are written, the same list comes out.
    #[test]
    fn formats_agree(entries in proptest::collection::vec((any::<u32>(), 9..=32_u8, 0..20_u32), 1..60), least in 0..20_u32) {
        let entries: Vec<_> = entries.into_iter().map(|(bits, length, score)| {
            (Ipv4Net::new((bits % (100 << 24) + (11 << 24)).into(), length).unwrap().trunc(), score)
        }).filter(|(net, _)| net.addr().octets()[0] < 100).collect();
        prop_assume!(!entries.is_empty());
        let range = |net: Ipv4Net| format!("{}-{}", net.network(), net.broadcast());
        let lines = |write: &dyn Fn(Ipv4Net, u32) -> String| {
            entries.iter().map(|&(net, score)| write(net, score)).collect::<Vec<_>>().join("\n")
        };
        let read = |format: &str, text: String| {
            let reading = AddressReading { min_score: Some(least), own: &[] };
            AddressList::read_as(text.as_bytes(), &format.parse().unwrap(), reading).map(|(list, report)| {
                (list.len(), report.entries, report.below_score, report.rejected, entries.iter().map(|(net, _)| {
                    list.find(net.addr().into()).map(|(net, _)| net)
                }).collect::<Vec<_>>())
            })
        };
        let plain = read("auto", lines(&|net, score| format!("{net}\t{score}")));
        prop_assert!(plain.is_ok());
        for (format, text) in [
            ("score", lines(&|net, score| format!("{} {score}", range(net)))),
            ("csv:2:3", lines(&|net, score| format!("x,\"{net}\",{score}"))),
            ("csv:net:s", format!("s;net\n{}", lines(&|net, score| format!("{score};{}", range(net))))),
            ("json:net:s", lines(&|net, score| format!("{{\"s\":{score},\"a\":[{{}}],\"net\":\"{net}\"}}"))),
            ("json:a.net:s", format!("{{\"a\":[{}]}}", lines(&|net, score| format!("{{\"net\":\"{net}\",\"s\":\"{score}\"}}")).replace('\n', ",\n"))),
        ] {
            prop_assert_eq!(&read(format, text), &plain, "{}", format);
        }
    }

    #[test]
    fn deltas_lead_from_one_list_to_the_other(
        former in proptest::collection::btree_set((20..25_u8, any::<u8>(), 16..=32_u8), 1..40),
        now in proptest::collection::btree_set((20..25_u8, any::<u8>(), 16..=32_u8), 1..40),
    ) {
        let nets = |rows: &std::collections::BTreeSet<(u8, u8, u8)>| -> std::collections::BTreeSet<IpNet> {
            rows.iter().map(|&(a, b, length)| Ipv4Net::new([a, b, b, a].into(), length).unwrap().trunc().into()).collect()
        };
        let list = |nets: &std::collections::BTreeSet<IpNet>| {
            let text: String = nets.iter().map(|net| format!("{net}\n")).collect();
            AddressList::read(text.as_bytes(), AddressReading::default()).unwrap().0
        };
        let (former, now) = (nets(&former), nets(&now));
        let delta = list(&now).delta(&list(&former));
        prop_assert_eq!(delta.added, now.difference(&former).copied().collect::<Vec<_>>());
        prop_assert_eq!(delta.removed, former.difference(&now).copied().collect::<Vec<_>>());
    }

    #[test]
    fn address_table_says_what_the_lists_say(
        lists in proptest::collection::vec(
            (mode(), 0..3_u8, proptest::collection::vec((any::<u8>(), 8..=32_u8), 1..20)), 1..5),
        asked in proptest::collection::vec(any::<u8>(), 30),
    ) {
        // Few distinct bits, so that prefixes nest.
        let address = |bits: u8| u32::from_be_bytes([20, bits & 0x83, bits & 0x41, bits]);
        let listed: Vec<_> = lists.iter().enumerate().map(|(id, (mode, direction, entries))| {
            let text: String = entries
                .iter()
                .map(|&(bits, length)| format!("{}\n", Ipv4Net::new(address(bits).into(), length).unwrap()))
                .collect();
            let (list, _) = AddressList::read(text.as_bytes(), AddressReading::default()).unwrap();
            ListedAs {
                list: Arc::new(list),
                id: id as u16 * 10,
                direction: [Direction::In, Direction::Out, Direction::Both][usize::from(*direction)],
                mode: *mode,
            }
        }).collect();
        let merged = AddressLists::merge(listed.clone()).unwrap();
        let entries = lists.iter().flat_map(|(_, _, entries)| entries).map(|&(bits, _)| bits);
        for bits in entries.chain(asked) {
            let address = IpAddr::from(address(bits).to_be_bytes());
            let longest = merged.table().iter().filter(|(net, _)| net.contains(&address))
                .max_by_key(|(net, _)| net.prefix_len()).map(|(_, value)| *value);
            prop_assert_eq!(longest, address_reference(&lists, &listed, address), "{}", address);
            // Provenance: every entry that holds it, each at a line that says so.
            let origins = merged.origin(address);
            prop_assert_eq!(origins.is_empty(), longest.is_none());
            for origin in origins {
                let (bits, length) = lists[usize::from(origin.list / 10)].2[origin.line as usize - 1];
                let net = IpNet::V4(Ipv4Net::new(u32::from_be_bytes([20, bits & 0x83, bits & 0x41, bits]).into(), length).unwrap());
                prop_assert_eq!(net.trunc(), origin.net);
                prop_assert!(net.contains(&address));
            }
        }
    }
}

/// Every entry of every list, asked in the plainest way.
fn address_reference(
    lists: &[(Mode, u8, Vec<(u8, u8)>)],
    listed: &[ListedAs],
    address: IpAddr,
) -> Option<ListValue> {
    for mode in [Mode::Enforce, Mode::Observe] {
        let mut hits = Vec::new();
        for ((_, _, entries), listed) in lists.iter().zip(listed).filter(|(_, listed)| listed.mode == mode) {
            for &(bits, length) in entries {
                let bits = u32::from_be_bytes([20, bits & 0x83, bits & 0x41, bits]);
                if IpNet::V4(Ipv4Net::new(bits.into(), length).unwrap()).contains(&address) {
                    hits.push((length, listed.id, listed.direction.bits()));
                }
            }
        }
        if let Some(longest) = hits.iter().map(|hit| hit.0).max() {
            return Some(ListValue {
                list: hits.iter().filter(|hit| hit.0 == longest).map(|hit| hit.1).min()?,
                directions: hits.iter().fold(0, |all, hit| all | hit.2),
                observe: u8::from(mode == Mode::Observe),
            });
        }
    }
    None
}

#[test]
fn the_config_beats_every_list_and_first_lists_are_named() {
    let mut builder = DomainSetBuilder::new(1);
    let good: Name = "good.example".parse().unwrap();
    builder.add("one", Mode::Enforce, b"||good.example^\n||ads.example^\n").unwrap();
    builder.add("two", Mode::Enforce, b"||ads.example^\nads.example\n").unwrap();
    builder.add_allowed("dns.allow", [(&good, 12)]).unwrap();
    let set = builder.finish();
    let decided = |name: &str| {
        let name: Name = name.parse().unwrap();
        set.decide(&Asked::about(name.as_str()))
            .map(|found| (found.kind, found.info.name.to_string(), found.line))
    };
    assert_eq!(decided("www.good.example"), Some((DomainKind::Allow, "dns.allow".into(), 12)));
    assert_eq!(decided("ads.example"), Some((DomainKind::Block, "one".into(), 2)));
    assert_eq!(set.len(), 3, "what says the same is held once");
    assert_eq!(set.lists().iter().map(|list| list.entries).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn a_refused_list_keeps_its_place_and_leaves_nothing() {
    let mut builder = DomainSetBuilder::new(1);
    assert!(builder.add("broken", Mode::Enforce, b"<html>").is_err());
    assert!(builder.add("late", Mode::Enforce, b"ads.example\nbinary\0").is_err());
    builder.add("good", Mode::Enforce, b"||ads.example^").unwrap();
    let set = builder.finish();
    assert_eq!(set.decide(&Asked::about("ads.example")).map(|found| found.list), Some(2));
    assert_eq!(set.len(), 1);
}

#[test]
fn lists_beyond_the_limits_are_refused() {
    let mut builder = DomainSetBuilder::new(1);
    for _ in 0..lists::limits::MAX_DOMAIN_LISTS {
        builder.add("list", Mode::Enforce, b"ads.example").unwrap();
    }
    assert!(
        builder.add("list", Mode::Enforce, b"ads.example").unwrap_err().to_string().contains("1024 lists")
    );

    let mut builder = DomainSetBuilder::new(1);
    let many = "a.b\n".repeat(MAX_DOMAINS + 1);
    let error = builder.add("list", Mode::Enforce, many.as_bytes()).unwrap_err();
    assert!(error.to_string().contains(&format!("more than {MAX_DOMAINS}")), "{error}");
    builder.add("small", Mode::Enforce, b"ads.example").unwrap();
    assert_eq!(builder.finish().len(), 1);
}

#[test]
fn five_million_addresses_are_refused_with_their_number() {
    let many: String = (0..5_000_000_u32).map(|n| format!("{:x}::\n", 0x2000 + n % 999)).collect();
    let error = AddressList::read(many.as_bytes(), AddressReading::default()).unwrap_err();
    assert_eq!(error.to_string(), "5000000 entries, more than 1000000 (of an address list)");
    let bigger = "192.0.2.1\n".repeat(7_000_000);
    let error = AddressList::read(bigger.as_bytes(), AddressReading::default()).unwrap_err();
    assert_eq!(error.to_string(), "the file has 70000000 bytes, more than the 67108864 that are read");
}

#[test]
fn an_empty_set_says_nothing() {
    assert!(DomainSet::default().decide(&Asked::about("ads.example")).is_none());
    assert!(DomainSet::default().decide(&Asked::about("")).is_none());
    assert!(AddressLists::default().origin([192, 0, 2, 1].into()).is_empty());
}
