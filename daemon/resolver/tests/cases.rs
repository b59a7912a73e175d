//! `tests/cases/dns/*.toml`: a resolver between real sockets, an upstream that answers from a script.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Bench, Script, extended, records, settings, upstreams};
use lists::{DomainSetBuilder, Overrides};
use model::{Body, Decision, DecisionKind, Direction, Mode, Name, Origin, OriginKind, Timestamp};
use resolver::{Order, UpstreamForward};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering::SeqCst},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    list: Vec<List>,
    #[serde(default)]
    allow: Vec<Name>,
    #[serde(default)]
    order: Vec<Ordered>,
    #[serde(default)]
    upstream: Vec<Script>,
    /// Letters of names are sent in random case.
    #[serde(default)]
    case_randomisation: bool,
    /// `ordered`, `fastest` or `parallel`.
    order_of_upstreams: Option<String>,
    /// Names that the upstream of this number (from 1) is asked about, and nobody else.
    #[serde(default)]
    forward: BTreeMap<String, usize>,
    /// What the upstreams are told to have done wrong, by their order, after all questions.
    wrong: Option<Vec<u64>>,
    ask: Vec<Ask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    name: String,
    #[serde(default)]
    mode: Mode,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ordered {
    id: u64,
    kind: DecisionKind,
    target: model::Target,
    #[serde(default)]
    ended: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    name: String,
    #[serde(rename = "type")]
    qtype: String,
    /// Without EDNS.
    #[serde(default)]
    plain: bool,
    rcode: String,
    #[serde(default)]
    answers: Vec<String>,
    /// Extended error as `CODE TEXT`.
    ede: Option<String>,
    /// `ACTION` or `ACTION REASON BY` of the event.
    event: Option<String>,
    /// Where the answer came from: `sinkhole`, `cache`, `here`, `upstream N`, `none`.
    from: Option<String>,
    /// How many answers there are, where they are too many to write.
    count: Option<usize>,
    /// How often the upstreams were asked so far, over UDP and TCP.
    asked: Option<[usize; 2]>,
}

fn decisions(orders: &[Ordered]) -> Vec<Decision> {
    let decision = |order: &Ordered| Decision {
        id: order.id,
        kind: order.kind,
        target: order.target.clone(),
        direction: Direction::Both,
        mode: Mode::Enforce,
        since: Timestamp(0),
        until: order.ended.then_some(Timestamp(1)),
        origin: Origin { kind: OriginKind::Person, name: "root".into(), at: None },
        evidence: Vec::new(),
    };
    orders.iter().map(decision).collect()
}

async fn run(case: Case) {
    let mut builder = DomainSetBuilder::new(5);
    for list in &case.list {
        builder.add(&list.name, list.mode, list.text.as_bytes()).unwrap();
    }
    builder.add_allowed("dns.allow", case.allow.iter().zip(1..)).unwrap();
    let upstreams = upstreams(case.upstream).await;
    let mut settings = settings(upstreams.iter().map(|upstream| upstream.address).collect());
    if settings.upstreams.servers.is_empty() {
        settings.upstreams = common::asked(vec![common::dead().await]);
    }
    settings.upstreams.case_randomisation = case.case_randomisation;
    settings.upstreams.order = match case.order_of_upstreams.as_deref().unwrap_or("ordered") {
        "ordered" => Order::Ordered,
        "fastest" => Order::Fastest,
        "parallel" => Order::Parallel,
        other => panic!("no order {other}"),
    };
    for (suffix, number) in &case.forward {
        let to = vec![settings.upstreams.servers[number - 1].clone()];
        let names = vec![format!("{suffix}.").parse().unwrap()];
        settings.upstreams.forwards.push(UpstreamForward { names, to, dnssec: false });
    }
    let only_forwarded: Vec<usize> = case.forward.values().map(|number| number - 1).collect();
    let servers = std::mem::take(&mut settings.upstreams.servers).into_iter().enumerate();
    settings.upstreams.servers =
        servers.filter(|(place, _)| !only_forwarded.contains(place)).map(|(_, server)| server).collect();
    settings.mode = case.mode;
    let bench = Bench::start(settings, builder.finish()).await;
    bench.overrides.store(Arc::new(Overrides::new(&decisions(&case.order))));
    for (number, ask) in case.ask.iter().enumerate() {
        let at = format!("{}, question {} ({} {})", case.name, number + 1, ask.name, ask.qtype);
        let query = common::query(&ask.name, &ask.qtype, (!ask.plain).then_some(1232));
        let answer = common::exchange_udp(bench.address, &query).await;
        match ask.count {
            Some(count) => assert_eq!(answer.answers.len(), count, "{at}"),
            None => assert_eq!(records(&answer), ask.answers, "{at}"),
        }
        // `UPSTREAM N` stands for its address.
        let mut said = extended(&answer);
        for (number, upstream) in upstreams.iter().enumerate() {
            said = said
                .map(|said| said.replace(&upstream.address.to_string(), &format!("UPSTREAM {}", number + 1)));
        }
        assert_eq!(said, ask.ede, "{at}");
        assert_eq!(answer.edns.is_some(), !ask.plain, "{at}: EDNS is for those who speak it");
        assert!(!answer.metadata.authentic_data, "{at}: nothing was validated here");
        let event = bench.last_event();
        let Body::Query { rcode, from, by, client, name, .. } = event.body else { panic!("{at}: {event:?}") };
        assert_eq!(rcode, ask.rcode, "{at}");
        let words = [Some(event.action.name().to_owned()), event.reason, by];
        let told = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
        assert_eq!(told, ask.event.as_deref().unwrap_or("pass"), "{at}");
        let from = match upstreams.iter().position(|upstream| upstream.address.to_string() == from) {
            Some(number) => format!("upstream {}", number + 1),
            None => from,
        };
        if let Some(expected) = &ask.from {
            assert_eq!(from, *expected, "{at}");
        }
        assert_eq!((client.to_string().as_str(), event.zone.as_deref()), ("127.0.0.1", Some("iot")), "{at}");
        assert_eq!(name, ask.name.to_ascii_lowercase(), "{at}");
        if let Some(expected) = ask.asked {
            let sum = |count: fn(&common::Fake) -> usize| upstreams.iter().map(count).sum::<usize>();
            assert_eq!([sum(|up| up.udp.load(SeqCst)), sum(|up| up.tcp.load(SeqCst))], expected, "{at}");
        }
    }
    if let Some(expected) = &case.wrong {
        let wrong: Vec<u64> = bench.handle.stats().upstreams.iter().map(|status| status.wrong).collect();
        assert_eq!(wrong, *expected, "{}", case.name);
    }
    bench.handle.shutdown().await;
}

async fn run_file(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/dns").join(file);
    let file: File = toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(!file.case.is_empty());
    for case in file.case {
        run(case).await;
    }
}

#[tokio::test]
async fn sinkhole() {
    run_file("sinkhole.toml").await;
}

#[tokio::test]
async fn attacks() {
    run_file("attacks.toml").await;
}

#[tokio::test]
async fn forwarding() {
    run_file("forwarding.toml").await;
}
