//! The set against a plain search over every rule: groups, modes, modifiers, zones.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use lists::{Asked, DomainKind, DomainSet, DomainSetBuilder, Effect, Format, GroupSet, RecordData};
use model::Mode;
use proptest::prelude::*;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Exact,
    Whole,
    Below,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Plain,
    /// `$dnsrewrite`: of a block an address, of an exception one to rewrites.
    Rewrite,
    NxDomain,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    kind: DomainKind,
    name: String,
    shape: Shape,
    important: bool,
    does: Does,
    types: Option<&'static str>,
    client: Option<&'static str>,
    except: Option<String>,
}

/// A rule, and whether it takes back the rule that reads the same.
type Line = (Row, bool);
type List = (Mode, GroupSet, Vec<Line>);

impl Row {
    fn text(&self, takes_back: bool) -> String {
        let (front, end) = match self.shape {
            Shape::Exact => ("|", "^"),
            Shape::Whole => ("||", "^"),
            Shape::Below => ("||*.", "^"),
        };
        let mut modifiers = Vec::new();
        modifiers.extend(self.types.map(|types| format!("dnstype={types}")));
        modifiers.extend(self.important.then(|| "important".to_owned()));
        modifiers.extend(self.client.map(|client| format!("client={client}")));
        modifiers.extend(self.except.as_ref().map(|name| format!("denyallow={name}")));
        modifiers.extend(takes_back.then(|| "badfilter".to_owned()));
        modifiers.extend(match (self.does, self.kind) {
            (Does::Plain, _) => None,
            (Does::Rewrite, DomainKind::Block) => Some("dnsrewrite=192.0.2.1".to_owned()),
            (Does::NxDomain, DomainKind::Block) => Some("dnsrewrite=NXDOMAIN".to_owned()),
            (Does::Rewrite | Does::NxDomain, DomainKind::Allow) => Some("dnsrewrite".to_owned()),
        });
        let mark = if self.kind == DomainKind::Allow { "@@" } else { "" };
        let dollar = if modifiers.is_empty() { "" } else { "$" };
        format!("{mark}{front}{}{end}{dollar}{}", self.name, modifiers.join(","))
    }

    fn speaks(&self, asked: &Asked<'_>) -> bool {
        let below = asked.name.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.'));
        let named = match self.shape {
            Shape::Exact => asked.name == self.name,
            Shape::Whole => asked.name == self.name || below,
            Shape::Below => below,
        };
        let typed = match self.types {
            None => true,
            Some("A") => asked.qtype == 1,
            Some("~A") => asked.qtype != 1,
            Some(other) => panic!("{other}"),
        };
        let asks = match self.client {
            None => true,
            Some("tablet") => asked.client == "tablet",
            Some("~10.4.0.9") => asked.address != Some(IpAddr::from([10, 4, 0, 9])),
            Some("10.4.0.0/16") => {
                asked.address.is_some_and(|address| address.to_string().starts_with("10.4."))
            }
            Some(other) => panic!("{other}"),
        };
        let left_out = self.except.as_ref().is_some_and(|name| {
            asked.name == name
                || asked.name.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'))
        });
        named && typed && asks && !left_out
    }

    fn is_rewrite(&self) -> bool {
        self.kind == DomainKind::Block && self.does == Does::Rewrite
    }

    fn is_exception_to_rewrites(&self) -> bool {
        self.kind == DomainKind::Allow && self.does != Does::Plain
    }
}

/// Enforced, important, an exception: the order of strength.
type Strength = (bool, bool, bool);

/// What wins, asked in the plainest way: its strength and whether it is an answer of its own.
fn reference(lists: &[List], asked: &Asked<'_>) -> Option<(Strength, bool)> {
    let taken_back = |of: &List, row: &Row| {
        lists.iter().any(|(mode, groups, lines)| {
            of.1.without(*groups).is_empty()
                && (*mode == Mode::Enforce || of.0 == Mode::Observe)
                && lines.iter().any(|(other, takes_back)| *takes_back && other.text(false) == row.text(false))
        })
    };
    let strongest = |wanted: &dyn Fn(&Row) -> bool| {
        let mut best: Option<Strength> = None;
        for list in lists.iter().filter(|list| list.1.intersects(asked.groups)) {
            for (row, takes_back) in &list.2 {
                if !takes_back && wanted(row) && row.speaks(asked) && !taken_back(list, row) {
                    let strength = (list.0 == Mode::Enforce, row.important, row.kind == DomainKind::Allow);
                    best = best.max(Some(strength));
                }
            }
        }
        best
    };
    let plain = strongest(&|row| !row.is_rewrite() && !row.is_exception_to_rewrites());
    let exception = strongest(&Row::is_exception_to_rewrites);
    let rewrite =
        strongest(&Row::is_rewrite).filter(|rewrite| exception.is_none_or(|exception| exception < *rewrite));
    // That there is no such name goes before what it would be.
    let code = strongest(&|row| row.kind == DomainKind::Block && row.does == Does::NxDomain);
    match (plain, rewrite) {
        (Some(plain), Some(rewrite)) if plain > rewrite => Some((plain, false)),
        (_, Some(rewrite)) if code == Some(rewrite) => Some((rewrite, false)),
        (_, Some(rewrite)) => Some((rewrite, true)),
        (plain, None) => plain.map(|plain| (plain, false)),
    }
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab]", 0..4).prop_map(|labels| {
        labels.into_iter().chain(["z".to_owned(), "example".to_owned()]).collect::<Vec<_>>().join(".")
    })
}

fn row() -> impl Strategy<Value = Row> {
    let shape = prop_oneof![1 => Just(Shape::Exact), 3 => Just(Shape::Whole), 1 => Just(Shape::Below)];
    let does = prop_oneof![4 => Just(Does::Plain), 1 => Just(Does::Rewrite), 1 => Just(Does::NxDomain)];
    let types = prop_oneof![5 => Just(None), 1 => Just(Some("A")), 1 => Just(Some("~A"))];
    let client = prop_oneof![
        7 => Just(None),
        1 => Just(Some("tablet")),
        1 => Just(Some("~10.4.0.9")),
        1 => Just(Some("10.4.0.0/16"))
    ];
    let except = proptest::option::weighted(0.1, name());
    let bits = (proptest::bool::weighted(0.25), proptest::bool::weighted(0.2));
    (bits, name(), shape, does, types, client, except).prop_map(
        |((allow, important), name, shape, does, types, client, except)| Row {
            kind: if allow { DomainKind::Allow } else { DomainKind::Block },
            name,
            shape,
            important,
            does,
            types,
            client,
            except,
        },
    )
}

/// Lists of rules, some of which take back others of them.
fn lists() -> impl Strategy<Value = Vec<List>> {
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    let rows = proptest::collection::vec(row(), 1..25);
    let list = (mode, 1..8_u64, rows, proptest::collection::vec(any::<prop::sample::Index>(), 0..3));
    proptest::collection::vec(list, 1..5).prop_map(|lists| {
        let all: Vec<Row> = lists.iter().flat_map(|(_, _, rows, _)| rows.clone()).collect();
        let list = |(mode, groups, rows, taken): (Mode, u64, Vec<Row>, Vec<prop::sample::Index>)| {
            let mut lines: Vec<Line> = rows.into_iter().map(|row| (row, false)).collect();
            lines.extend(taken.iter().map(|index| (index.get(&all).clone(), true)));
            (mode, GroupSet(groups), lines)
        };
        lists.into_iter().map(list).collect()
    })
}

fn build(lists: &[List], seed: u64) -> DomainSet {
    let mut builder = DomainSetBuilder::new(seed);
    for (mode, groups, lines) in lists {
        let text: Vec<String> = lines.iter().map(|(row, takes_back)| row.text(*takes_back)).collect();
        let report =
            builder.add_as("list", *mode, *groups, text.join("\n").as_bytes(), &Format::Auto).unwrap();
        assert_eq!(report.rejected, 0, "{:?}", report.rejects);
    }
    builder.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_set_decides_as_a_plain_search(
        lists in lists(),
        names in proptest::collection::vec(name(), 20),
        seed in any::<u64>(),
    ) {
        let set = build(&lists, seed);
        let again = DomainSet::read(&set.write()).unwrap();
        let all = lists.iter().flat_map(|(_, _, lines)| lines).map(|(row, _)| &row.name).chain(&names);
        for (number, name) in all.enumerate() {
            let asked = Asked {
                qtype: [1, 28][number % 2],
                groups: GroupSet(1 + number as u64 % 7),
                address: [None, Some(IpAddr::from([10, 4, 0, 9])), Some(IpAddr::from([10, 5, 0, 1]))][number % 3],
                client: ["", "tablet"][number / 2 % 2],
                ..Asked::about(name)
            };
            let found = set.decide(&asked);
            let said = found.map(|found| {
                let allow = found.kind == DomainKind::Allow;
                let strength = (found.info.mode == Mode::Enforce, found.important, allow);
                (strength, matches!(found.effect, Effect::Answer(_)))
            });
            prop_assert_eq!(said, reference(&lists, &asked), "{:?}", asked);
            prop_assert_eq!(again.decide(&asked), found, "the snapshot says the same");
            if let Some(found) = found {
                // What is named must really say so: the list's line holds this very entry.
                let (_, groups, lines) = &lists[usize::from(found.list)];
                let (row, takes_back) = &lines[found.line as usize - 1];
                prop_assert!(!takes_back && row.speaks(&asked) && row.name == found.entry, "{:?}", row);
                prop_assert_eq!(found.groups, groups.and(asked.groups));
                let effect = match (row.kind, row.does) {
                    (DomainKind::Allow, _) => Effect::Allow,
                    (DomainKind::Block, Does::Plain) => Effect::Block,
                    (DomainKind::Block, Does::NxDomain) => Effect::NxDomain,
                    (DomainKind::Block, Does::Rewrite) => {
                        prop_assert!(matches!(found.effect, Effect::Answer(answers) if matches!(
                            answers.to_vec().as_slice(), [record]
                                if record.data == RecordData::A([192, 0, 2, 1].into()))));
                        found.effect
                    }
                };
                prop_assert_eq!(found.effect, effect);
            }
        }
    }

    /// In a zone file the longest trigger decides; of two with one name the first.
    #[test]
    fn a_zone_decides_as_a_plain_search(
        rows in proptest::collection::vec((name(), any::<bool>(), 0..4_usize), 1..40),
        names in proptest::collection::vec(name(), 20),
        seed in any::<u64>(),
    ) {
        const ACTIONS: [(&str, Effect<'static>); 4] = [
            (".", Effect::NxDomain),
            ("*.", Effect::NoData),
            ("rpz-passthru.", Effect::Allow),
            ("rpz-drop.", Effect::Drop),
        ];
        let text: String = rows.iter().map(|(name, below, action)| {
            format!("{}{name} CNAME {}\n", if *below { "*." } else { "" }, ACTIONS[*action].0)
        }).collect();
        let mut builder = DomainSetBuilder::new(seed);
        builder.add_as("zone", Mode::Enforce, GroupSet::DEFAULT, text.as_bytes(), &Format::Rpz).unwrap();
        let set = builder.finish();
        for asked in rows.iter().map(|(name, ..)| name).chain(&names) {
            let mut best: Option<&(String, bool, usize)> = None;
            for row in &rows {
                let below = asked.strip_suffix(&row.0).is_some_and(|rest| rest.ends_with('.'));
                let speaks = if row.1 { below } else { *asked == row.0 };
                if speaks && best.is_none_or(|best| row.0.len() > best.0.len()) {
                    best = Some(row);
                }
            }
            let wanted = best.map(|(_, _, action)| ACTIONS[*action].1);
            prop_assert_eq!(set.decide(&Asked::about(asked)).map(|found| found.effect), wanted, "{}", asked);
        }
    }

    /// Networks in answers, against every network there is.
    #[test]
    fn networks_decide_as_a_plain_search(
        rows in proptest::collection::vec((any::<[bool; 4]>(), 9..=32_u8, any::<bool>()), 1..30),
        asked in proptest::collection::vec(any::<[bool; 4]>(), 20),
    ) {
        let address = |bits: [bool; 4]| {
            std::net::Ipv4Addr::new(192, if bits[0] { 2 } else { 3 }, if bits[1] { 128 } else { 0 }, u8::from(bits[2]) * 4 + u8::from(bits[3]))
        };
        let nets: Vec<_> = rows.iter().map(|&(bits, length, allow)| {
            (ipnet::Ipv4Net::new(address(bits), length).unwrap().trunc(), allow)
        }).collect();
        let text: String = nets.iter().map(|(net, allow)| {
            let [a, b, c, d] = net.addr().octets();
            let action = if *allow { "rpz-passthru." } else { "." };
            format!("{}.{d}.{c}.{b}.{a}.rpz-ip CNAME {action}\n", net.prefix_len())
        }).collect();
        let mut builder = DomainSetBuilder::new(1);
        builder.add_as("zone", Mode::Enforce, GroupSet::DEFAULT, text.as_bytes(), &Format::Rpz).unwrap();
        let set = builder.finish();
        for bits in asked.into_iter().chain(rows.iter().map(|row| row.0)) {
            let mut best: Option<&(ipnet::Ipv4Net, bool)> = None;
            for row in nets.iter().filter(|(net, _)| net.contains(&address(bits))) {
                if best.is_none_or(|best| row.0.prefix_len() > best.0.prefix_len()) {
                    best = Some(row);
                }
            }
            let found = set.decide_address(address(bits).into(), &Asked::about("x")).map(|found| found.kind);
            let wanted = best.map(|(_, allow)| if *allow { DomainKind::Allow } else { DomainKind::Block });
            prop_assert_eq!(found, wanted);
        }
    }
}
