//! What the classifier finds, against a plain reading of the rows.

use crate::common::{Chance, KINDS, Kind, Packet, packet, plan, reference};
use abi::{PolicyValue, image::RuleRow};
use datapath::image::{Question, address, classify, device};
use policy::{
    Mac, Plan, Row, Selector, ServiceMatch,
    image::{Image, compile},
    to_kernel,
};
use proptest::prelude::*;

fn question(image: &Image, packet: &Packet) -> Question {
    Question {
        from: packet.from,
        to: packet.to,
        device: device(image, &packet.mac.0),
        protocol: packet.protocol,
        port: packet.port,
        source: address(image, &to_kernel(packet.source)).source,
        destination: address(image, &to_kernel(packet.destination)).destination,
    }
}

fn check(plan: &Plan, packets: usize, chance: &mut Chance) -> Image {
    let image = compile(plan, &[]).unwrap();
    for _ in 0..packets {
        let packet = packet(plan, chance);
        let found = classify(&image, &question(&image, &packet));
        assert_eq!(found, reference(plan, &packet), "{packet:?}");
    }
    image
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn small_policies_are_read_alike(seed in any::<u64>(), kind in 0..KINDS.len(), rows in 1..200usize) {
        let mut chance = Chance::new(seed);
        let plan = plan(KINDS[kind], rows, &mut chance);
        check(&plan, 200, &mut chance);
    }
}

#[test]
fn ten_thousand_rows_are_read_alike() {
    for kind in KINDS {
        let mut chance = Chance::new(7);
        let plan = plan(kind, 10_000, &mut chance);
        let image = check(&plan, 300, &mut chance);
        assert!(image.figures.classifier_blocks <= 4096, "{kind:?}: {:?}", image.figures);
        assert!(image.figures.rows_in_a_cell <= 4096, "{kind:?}: {:?}", image.figures);
    }
}

#[test]
fn protocols_without_ports_match_whatever_the_port() {
    let mut chance = Chance::new(3);
    let mut plan = plan(Kind::Home, 2, &mut chance);
    plan.rows[0] = Row {
        services: vec![ServiceMatch::new(model::Protocol(47), 5, 4)],
        value: PolicyValue { action: 0, flags: 0, rule: 9 },
        from: u64::MAX,
        to: u64::MAX,
        source: Selector::Any,
        destination: Selector::Any,
        device: None,
        rate: None,
    };
    let image = compile(&plan, &[]).unwrap();
    for port in [0, 7, u16::MAX] {
        let question = Question { from: 3, to: 4, protocol: 47, port, ..Question::default() };
        assert_eq!(classify(&image, &question).rule, 9);
        assert_eq!(classify(&image, &Question { protocol: 46, ..question }).rule, abi::RULE_DEFAULT);
    }
}

#[test]
fn every_protocol_can_be_named() {
    let mut chance = Chance::new(3);
    let mut plan = plan(Kind::Home, 1, &mut chance);
    let unnamed = plan.rows.pop().unwrap();
    for protocol in 0..=255u8 {
        plan.rows.push(Row {
            services: vec![ServiceMatch::new(model::Protocol(protocol), 0, 90)],
            value: PolicyValue { action: 0, flags: 0, rule: u16::from(protocol) },
            ..unnamed.clone()
        });
    }
    let image = compile(&plan, &[]).unwrap();
    for protocol in 0..=255u8 {
        let question = Question { from: 3, to: 4, protocol, port: 80, ..Question::default() };
        assert_eq!(classify(&image, &question).rule, u16::from(protocol));
        let named = !policy::has_ports(model::Protocol(protocol));
        assert_eq!(classify(&image, &Question { port: 91, ..question }) == RuleRow::NONE, !named);
    }
}

#[test]
fn devices_of_several_groups_match_each() {
    let mut chance = Chance::new(3);
    let mut plan = plan(Kind::Home, 1, &mut chance);
    let unnamed = plan.rows.pop().unwrap();
    let (a, b) = (Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2]));
    plan.devices = vec![vec![a, b], vec![b, b], vec![Mac::default()]];
    for group in 0..3 {
        let value = PolicyValue { action: 0, flags: 0, rule: group };
        plan.rows.push(Row { device: Some(group), value, to: 1 << (3 + group), ..unnamed.clone() });
    }
    plan.rows.push(unnamed);
    let image = compile(&plan, &[]).unwrap();
    let ask = |mac: Mac, to: u8| {
        let device = device(&image, &mac.0);
        classify(&image, &Question { from: 3, to, device, ..Question::default() }).rule
    };
    let none = abi::RULE_DEFAULT;
    assert_eq!([3, 4, 5].map(|to| ask(a, to)), [0, none, none]);
    assert_eq!([3, 4, 5].map(|to| ask(b, to)), [0, 1, none]);
    assert_eq!([3, 4, 5].map(|to| ask(Mac::default(), to)), [none, none, 2]);
    assert_eq!([3, 4, 5].map(|to| ask(Mac([2, 0, 0, 0, 0, 3]), to)), [none; 3]);
}

#[test]
fn the_first_row_that_only_logs_is_told() {
    let mut chance = Chance::new(3);
    let mut plan = plan(Kind::Home, 1, &mut chance);
    let unnamed = plan.rows.pop().unwrap();
    for rule in 0..100 {
        // Rows 10 and 70 only log; row 80 decides; row 90 logs too late.
        let flags = if [10, 70, 90].contains(&rule) { abi::POLICY_CONTINUE } else { 0 };
        let to = if [10, 70, 80, 90].contains(&rule) { u64::MAX } else { 1 << 5 };
        plan.rows.push(Row { value: PolicyValue { action: 0, flags, rule }, to, ..unnamed.clone() });
    }
    let image = compile(&plan, &[]).unwrap();
    let question = Question { from: 3, to: 4, ..Question::default() };
    let found = classify(&image, &question);
    assert_eq!((found.rule, found.logged), (80, 10));
    let found = classify(&image, &Question { to: 5, ..question });
    assert_eq!((found.rule, found.logged), (0, abi::image::NOTHING));
}

#[test]
fn what_cannot_be_told_apart_is_refused_with_numbers() {
    let mut chance = Chance::new(3);
    let mut plan = plan(Kind::Home, 1, &mut chance);
    let unnamed = plan.rows[0].clone();
    plan.rows = vec![unnamed.clone(); 4096];
    assert_eq!(compile(&plan, &[]).unwrap().figures.cells, 1);
    plan.rows.push(unnamed);
    assert_eq!(
        compile(&plan, &[]).unwrap_err().to_string(),
        "4097 rows of rules that can match the same flows, and there is room for 4096; \
         let rules name zones, addresses or services that tell them apart"
    );
    plan.rows = vec![plan.rows[0].clone(); 16_385];
    assert_eq!(
        compile(&plan, &[]).unwrap_err().to_string(),
        "16385 rows of rules, and there is room for 16384; write fewer, wider rules"
    );
}
