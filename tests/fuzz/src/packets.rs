//! Frames through the packet path, and images of a policy as the kernel would walk them.

use abi::{
    ZONE_FIRST,
    image::{Block, Coordinate},
};
use datapath::{
    Input, Verdict, decide, fast,
    image::{Image, Question, address_class, class_of, classify, device, port, rate, zone},
};
use model::{Action, Mode, Protocol};
use policy::{HostTables, Policy, Rule, Service, ServiceMatch, Zone, ZoneSet};
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

fn tables() -> HostTables {
    let zone = |place: u8, name: &str, networks: &[&str]| Zone {
        id: ZONE_FIRST + place,
        name: name.into(),
        interface: format!("eth{}", place.min(1)),
        vlan: (place > 1).then(|| u16::from(place) * 100),
        device: format!("eth{place}"),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
        wan: networks.is_empty(),
        anti_spoof: true,
        mode: Mode::Enforce,
        ..Zone::default()
    };
    let services =
        vec![Service { name: "web".into(), matches: vec![ServiceMatch::new(Protocol::TCP, 80, 443)] }];
    let pass = |from: u8, to: ZoneSet, services| Rule {
        from: ZoneSet::Of(vec![ZONE_FIRST + from]).into(),
        to: to.into(),
        services,
        action: Action::Pass,
        mode: Mode::Enforce,
        ..Rule::default()
    };
    let policy = Policy {
        mode: Mode::Enforce,
        zones: vec![
            zone(0, "wan", &[]),
            zone(1, "home", &["10.3.0.0/24", "fd00:3::/64"]),
            zone(2, "iot", &["10.4.0.0/24", "fd00:4::/64"]),
        ],
        rules: vec![pass(1, ZoneSet::Any, Vec::new()), pass(2, ZoneSet::Of(vec![ZONE_FIRST]), services)],
        ..Policy::default()
    };
    HostTables::new(Arc::new(policy.lower(&["10.3.0.1".parse().unwrap()], Arc::new([])).unwrap())).unwrap()
}

thread_local! {
    static TABLES: RefCell<(HostTables, u64)> = RefCell::new((tables(), 1_000_000_000));
}

/// A frame: the first byte says where it comes in. It is judged whole and cut, and what the fast path passes the whole
/// decision passes as well.
pub(crate) fn frame(data: &[u8]) {
    let (choice, bytes) = crate::choice(data);
    TABLES.with_borrow_mut(|(tables, now)| {
        for length in [bytes.len(), bytes.len() / 2, bytes.len().saturating_sub(1)] {
            let frame = &bytes[..length];
            *now += 1_000_000;
            let input = Input {
                now: *now,
                ticks: abi::ticks(*now),
                ifindex: 1 + u32::from(choice & 1 == 1),
                length: u32::try_from(length).unwrap_or(u32::MAX),
                vlan: if choice & 2 == 2 { 200 } else { 0 },
                layer3: choice & 4 == 4,
            };
            let passed = fast(&frame, &input, tables);
            let mut verdict = Verdict::EMPTY;
            decide(&frame, &input, tables, &mut verdict);
            if let Some(passed) = passed {
                assert_eq!(verdict.action, Action::Pass, "the fast path passed it: {:?}", verdict.reason);
                assert_eq!((verdict.zone_from, passed.length), (passed.zone, input.length));
            }
        }
    });
}

/// Counts the lookups of blocks.
struct Counted<'a> {
    blocks: &'a [Block],
    lookups: Cell<u32>,
}

impl Image for Counted<'_> {
    fn block(&self, index: u32) -> Option<&Block> {
        self.lookups.set(self.lookups.get() + 1);
        self.blocks.get(index as usize)
    }
}

impl Counted<'_> {
    fn within<T>(&self, most: u32, walk: impl FnOnce(&Self) -> T) -> T {
        self.lookups.set(0);
        let answer = walk(self);
        assert!(self.lookups.get() <= most, "{} lookups", self.lookups.get());
        answer
    }
}

/// An image: 24 bytes of question, then its words. Every walker ends within its steps.
pub(crate) fn image(data: &[u8]) {
    let Some((asked, words)) = data.split_first_chunk::<24>() else { return };
    let mut blocks = vec![Block::EMPTY; words.len().div_ceil(8 * 512).min(16)];
    let all = blocks.iter_mut().flat_map(|block| &mut block.words);
    for (word, bytes) in all.zip(words.chunks_exact(8)) {
        *word = bytes.try_into().map_or(0, u64::from_le_bytes);
    }
    let image = Counted { blocks: &blocks, lookups: Cell::new(0) };
    let number = |at: usize| asked[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
    let (a, b, c) = (number(0), number(8), number(16));
    image.within(1, |image| port(image, a as u32, b as u16));
    image.within(1, |image| zone(image, a as u8));
    image.within(1, |image| rate(image, a as u16));
    image.within(2, |image| device(image, asked.first_chunk().unwrap()));
    let class = image.within(17, |image| class_of(image, a, b));
    image.within(2, |image| address_class(image, class));
    image.within(2, |image| address_class(image, c as u32));
    let place = |bits: u64| Coordinate { class: bits as u16, cell: (bits >> 16) as u16 };
    let question = Question {
        from: a as u8,
        to: b as u8,
        device: (a >> 8) as u16,
        protocol: (b >> 8) as u8,
        port: (a >> 24) as u16,
        source: place(c),
        destination: place(c >> 32),
    };
    image.within(18, |image| classify(image, &question));
}
