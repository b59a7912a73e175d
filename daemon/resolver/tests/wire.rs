//! Sockets, limits and hostile input, over loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use arc_swap::ArcSwap;
use common::{
    Bench, PATIENCE, ads, dead, exchange_udp, extended, query, receive_tcp, receive_udp, records, script,
    send_tcp, send_udp, settings, upstream,
};
use hickory_proto::op::{Message, ResponseCode};
use lists::{DomainSet, Overrides};
use model::{Name, Timestamp};
use proptest::prelude::*;
use resolver::{
    By, Engine, Judgement, Query, Resolver, ResolverError, Sources, Transport,
    limits::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT, MAX_TCP_PER_CLIENT, SINKHOLE_TTL},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, atomic::Ordering::SeqCst},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Waits until something holds. No fixed pause: other tasks run in between.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let reached = timeout(PATIENCE, async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    });
    reached.await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[tokio::test]
async fn several_questions_over_one_connection() {
    let upstream = upstream(script(&[("www.example A", &["300 A 192.0.2.1"])])).await;
    let bench = Bench::start(settings(vec![upstream.address]), ads("||ads.example^")).await;
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    let questions = [
        query("www.example", "A", None),
        query("ads.example", "A", Some(1232)),
        query("www.example", "A", None),
    ];
    for question in &questions {
        send_tcp(&mut stream, &question.to_vec().unwrap()).await;
    }
    // Each comes when it is there, and is known by its id (RFC 7766 §6.2.1.1).
    let mut answers = BTreeMap::new();
    for _ in &questions {
        let answer = receive_tcp(&mut stream).await;
        answers.insert(answer.metadata.id, records(&answer));
    }
    for (question, expected) in questions.iter().zip(["A 192.0.2.1", "A 0.0.0.0", "A 192.0.2.1"]) {
        assert_eq!(answers[&question.metadata.id], [expected]);
    }
}

#[tokio::test]
async fn several_addresses_of_both_families() {
    let upstream = upstream(script(&[("www.example A", &["300 A 192.0.2.1"])])).await;
    let mut settings = settings(vec![upstream.address]);
    settings.listen.push("[::1]:0".parse().unwrap());
    settings.clients.push(common::network("::1/128", "home"));
    let bench = Bench::start(settings, ads("||ads.example^")).await;
    let addresses = bench.handle.addresses().await;
    assert_eq!(addresses.len(), 2);
    let mut stream = TcpStream::connect(addresses[1]).await.unwrap();
    send_tcp(&mut stream, &query("www.example", "A", None).to_vec().unwrap()).await;
    assert_eq!(records(&receive_tcp(&mut stream).await), ["A 192.0.2.1"]);
    let event = bench.last_event();
    assert_eq!(event.zone.as_deref(), Some("home"));
}

#[tokio::test]
async fn answers_that_do_not_fit_are_truncated_and_come_over_tcp() {
    let upstream = upstream(script(&[("big.example TXT", &["300 TXT x", "300 TXT y", "300 TXT z"])])).await;
    let bench = Bench::start(settings(vec![upstream.address]), DomainSet::default()).await;
    for payload in [None, Some(512)] {
        let answer = exchange_udp(bench.address, &query("big.example", "TXT", payload)).await;
        assert!(answer.metadata.truncation && answer.answers.is_empty());
    }
    let answer = exchange_udp(bench.address, &query("big.example", "TXT", Some(4096))).await;
    assert!(!answer.metadata.truncation, "fits into what is offered");
    assert_eq!(answer.answers.len(), 3);
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    send_tcp(&mut stream, &query("big.example", "TXT", None).to_vec().unwrap()).await;
    assert_eq!(receive_tcp(&mut stream).await.answers.len(), 3);
}

#[tokio::test]
async fn clients_outside_every_zone_get_no_answer() {
    let mut settings = settings(vec![dead().await]);
    settings.clients[0].net = "127.0.0.1/32".parse().unwrap();
    let bench = Bench::start(settings, ads("||ads.example^")).await;
    let stranger = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).await.unwrap();
    let question = query("ads.example", "A", None).to_vec().unwrap();
    stranger.send_to(&question, bench.address).await.unwrap();
    // The socket is served in order: when the next is answered, the first was seen.
    assert_eq!(records(&bench.ask("ads.example", "A").await), ["A 0.0.0.0"]);
    assert_eq!((bench.handle.stats().refused_clients, bench.handle.stats().queries), (1, 1));
    assert!(stranger.try_recv(&mut [0; 512]).is_err());
    bench.handle.tell();
    assert_eq!(bench.events.lock().unwrap().len(), 1, "no event for each packet of a flood");

    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut stream = socket.connect(bench.address).await.unwrap();
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0, "closed");
}

#[tokio::test]
async fn connections_are_bounded_and_given_back() {
    let bench = Bench::start(settings(vec![dead().await]), ads("||ads.example^")).await;
    let question = query("ads.example", "A", None).to_vec().unwrap();
    let mut open = Vec::new();
    for _ in 0..MAX_TCP_PER_CLIENT {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        send_tcp(&mut stream, &question).await;
        assert_eq!(records(&receive_tcp(&mut stream).await), ["A 0.0.0.0"]);
        open.push(stream);
    }
    let mut beyond = TcpStream::connect(bench.address).await.unwrap();
    assert_eq!(timeout(PATIENCE, beyond.read(&mut [0; 16])).await.unwrap().unwrap_or(0), 0, "closed");
    assert_eq!(bench.handle.stats().refused_connections, 1);
    drop(open);
    let answered = timeout(PATIENCE, async {
        loop {
            let mut stream = TcpStream::connect(bench.address).await.unwrap();
            send_tcp(&mut stream, &question).await;
            if stream.read_u16().await.is_ok() {
                break;
            }
        }
    });
    assert!(answered.await.is_ok(), "places of closed connections are free again");
}

#[tokio::test]
async fn random_bytes_change_nothing() {
    let upstream = upstream(script(&[("www.example A", &["300 A 192.0.2.1"])])).await;
    let bench = Bench::start(settings(vec![upstream.address]), ads("||ads.example^")).await;
    let socket = send_udp(bench.address, b"").await;
    let good = query("ads.example", "A", Some(1232)).to_vec().unwrap();
    let mut state = 1_u64;
    for round in 0..3000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bytes = good.clone();
        // Damage a real query: cut it, or change bytes of it.
        if round % 3 == 0 {
            bytes.truncate(usize::try_from(state >> 33).unwrap() % bytes.len());
        } else {
            for _ in 0..=round % 5 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[at] = u8::try_from(state >> 56).unwrap();
            }
        }
        socket.send(&bytes).await.unwrap();
        tokio::task::yield_now().await;
    }
    // Answers to garbage may queue up at this socket; a fresh one gets its answer.
    assert_eq!(records(&bench.ask("www.example", "A").await), ["A 192.0.2.1"]);

    // Streams of garbage: a length that is too long, a length and too little, bytes that are no query.
    for garbage in [&b"\xff\xff"[..], b"\x00\x10abc", b"\x00\x03abc", b"\x00\x00"] {
        let mut stream = TcpStream::connect(bench.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, garbage).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await.unwrap();
        assert_eq!(
            timeout(PATIENCE, stream.read(&mut [0; 64])).await.unwrap().unwrap_or(0),
            0,
            "{garbage:?}"
        );
    }
    assert_eq!(records(&bench.ask("ads.example", "A").await), ["A 0.0.0.0"]);
    assert!(bench.handle.stats().malformed > 0);
}

#[tokio::test]
async fn a_silent_upstream_is_asked_last_once_it_is_known() {
    let silent = upstream(script(&[
        ("one.example A", &["silent"]),
        ("two.example A", &["silent"]),
        ("three.example A", &["silent"]),
    ]))
    .await;
    let good = upstream(script(&[
        ("one.example A", &["300 A 192.0.2.1"]),
        ("two.example A", &["300 A 192.0.2.2"]),
        ("three.example A", &["300 A 192.0.2.3"]),
    ]))
    .await;
    let bench = Bench::start(settings(vec![silent.address, good.address]), DomainSet::default()).await;
    let (one, two) = tokio::join!(bench.ask("one.example", "A"), bench.ask("two.example", "A"));
    assert_eq!([records(&one), records(&two)], [["A 192.0.2.1"], ["A 192.0.2.2"]]);
    let up: Vec<_> = bench.handle.stats().upstreams.iter().map(|upstream| upstream.up).collect();
    assert_eq!(up, [false, true]);
    assert_eq!(records(&bench.ask("three.example", "A").await), ["A 192.0.2.3"]);
    assert_eq!(silent.udp.load(SeqCst), 2, "the third question went past it");
}

#[tokio::test]
async fn dead_upstreams_fail_with_a_reason() {
    let bench = Bench::start(settings(vec![dead().await]), DomainSet::default()).await;
    let answer = bench.ask("www.example", "A").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let reason = extended(&answer).unwrap();
    assert!(reason.starts_with("22 no upstream answered: 127.0.0.1:"), "{reason}");
    assert_eq!(bench.handle.stats().failed, 1);
    assert!(
        bench.ask("www.example", "A").await.metadata.response_code == ResponseCode::ServFail,
        "still there"
    );
}

#[tokio::test]
async fn questions_in_flight_are_bounded() {
    let silent = upstream(script(&[("wait.example A", &["silent"])])).await;
    let bench = Bench::start(settings(vec![silent.address]), ads("||ads.example^")).await;
    let question = query("wait.example", "A", Some(1232)).to_vec().unwrap();
    let mut sent = 0;
    let mut flood = async |client: u8, share: usize| {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, client), 0)).await.unwrap();
        socket.connect(bench.address).await.unwrap();
        for _ in 0..share {
            socket.send(&question).await.unwrap();
            sent += 1;
            until("the question is seen", || bench.handle.stats().queries == sent).await;
        }
        socket
    };
    let greedy = flood(0, MAX_IN_FLIGHT_PER_CLIENT + 1).await;
    let refused = Message::from_vec(&receive_udp(&greedy).await).unwrap();
    assert_eq!(refused.metadata.response_code, ResponseCode::ServFail, "its share is used up");
    assert_eq!(bench.handle.stats().in_flight, MAX_IN_FLIGHT_PER_CLIENT as u64);
    for client in 1..MAX_IN_FLIGHT / MAX_IN_FLIGHT_PER_CLIENT {
        flood(u8::try_from(client).unwrap(), MAX_IN_FLIGHT_PER_CLIENT).await;
    }
    assert_eq!(bench.handle.stats().in_flight, MAX_IN_FLIGHT as u64);
    let answer = bench.ask("wait.example", "A").await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(extended(&answer).as_deref(), Some("0 too many questions wait for upstreams"));
    assert_eq!(
        records(&bench.ask("ads.example", "A").await),
        ["A 0.0.0.0"],
        "the sinkhole needs no upstream"
    );
    assert_eq!(bench.handle.stats().overloaded, 2);
}

#[tokio::test]
async fn ids_and_ports_towards_upstreams_are_not_to_be_guessed() {
    let upstream = upstream(script(&[("www.example A", &["0 A 192.0.2.1"])])).await;
    let bench = Bench::start(settings(vec![upstream.address]), DomainSet::default()).await;
    for _ in 0..40 {
        bench.ask("www.example", "A").await;
    }
    let seen = upstream.seen.lock().unwrap().clone();
    let (ids, ports): (BTreeSet<u16>, BTreeSet<u16>) = seen.iter().copied().unzip();
    assert!(ids.len() > 35 && ports.len() > 35, "{seen:?}");
    assert!(
        seen.windows(2).filter(|two| two[0].0.wrapping_add(1) == two[1].0).count() < 5,
        "ids do not count up"
    );
}

#[tokio::test]
async fn new_lists_and_orders_hold_at_once_even_for_what_is_cached() {
    let upstream =
        upstream(script(&[("www.example A", &["300 CNAME edge.example.", "300 A 192.0.2.1 edge.example."])]))
            .await;
    let bench = Bench::start(settings(vec![upstream.address]), DomainSet::default()).await;
    let clean = ["CNAME edge.example.", "A 192.0.2.1"];
    assert_eq!(records(&bench.ask("www.example", "A").await), clean);
    bench.lists.store(Arc::new(ads("||www.example^")));
    let answer = bench.ask("www.example", "A").await;
    assert_eq!((records(&answer), answer.answers[0].ttl), (vec!["A 0.0.0.0".to_owned()], SINKHOLE_TTL));
    let why = bench.handle.lookup_why(&name("www.example"));
    assert!(why.blocked && why.alias.is_none());
    let Judgement::Blocked(By::List { list, line, entry }, _) = why.judgement else { panic!("{why:?}") };
    assert_eq!((&*list, line, entry.as_str()), ("ads", 1, "www.example"));

    bench.lists.store(Arc::new(ads("edge.example")));
    assert_eq!(records(&bench.ask("www.example", "A").await), ["A 0.0.0.0"]);
    let why = bench.handle.lookup_why(&name("www.example"));
    assert_eq!((why.blocked, why.alias.as_deref()), (true, Some("edge.example")));

    let allow = model::Decision {
        id: 9,
        kind: model::DecisionKind::Allow,
        target: "www.example".parse().unwrap(),
        direction: model::Direction::Both,
        mode: model::Mode::Enforce,
        since: Timestamp(0),
        until: None,
        origin: model::Origin { kind: model::OriginKind::Person, name: "root".into(), at: None },
        evidence: Vec::new(),
    };
    bench.overrides.store(Arc::new(Overrides::new([&allow])));
    assert_eq!(records(&bench.ask("www.example", "A").await), clean);
    assert!(!bench.handle.lookup_why(&name("www.example")).blocked);
    assert_eq!(upstream.udp.load(SeqCst), 1, "all of it from the cache");
    assert_eq!(bench.handle.flush(Some(&name("example"))), 1);
    bench.ask("www.example", "A").await;
    assert_eq!(upstream.udp.load(SeqCst), 2);
}

#[tokio::test]
async fn settings_change_while_it_runs_and_bad_ones_change_nothing() {
    let first = upstream(script(&[("www.example A", &["0 A 192.0.2.1"])])).await;
    let second = upstream(script(&[("www.example A", &["0 A 192.0.2.2"])])).await;
    let bench = Bench::start(settings(vec![first.address]), DomainSet::default()).await;
    assert_eq!(records(&bench.ask("www.example", "A").await), ["A 192.0.2.1"]);

    let mut changed = settings(vec![second.address]);
    bench.handle.update(changed.clone()).await.unwrap();
    assert_eq!(
        records(&bench.ask("www.example", "A").await),
        ["A 192.0.2.2"],
        "same sockets, other upstream"
    );

    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    changed.listen = vec![taken.local_addr().unwrap()];
    changed.upstreams = common::asked(vec![first.address]);
    let error = bench.handle.update(changed.clone()).await.unwrap_err();
    assert!(matches!(error, ResolverError::Listen { transport: "udp", .. }), "{error}");
    assert_eq!(records(&bench.ask("www.example", "A").await), ["A 192.0.2.2"], "as before");
    let none = settings(Vec::new());
    assert!(matches!(bench.handle.update(none).await, Err(ResolverError::NoUpstreams)));

    // One address that cannot be had leaves the others in peace, and is tried again.
    let also = resolver::Settings {
        listen: vec![settings(Vec::new()).listen[0], changed.listen[0]],
        ..changed.clone()
    };
    bench.handle.update(also.clone()).await.unwrap();
    assert_eq!(bench.handle.addresses().await, [bench.address]);
    let unopened = bench.handle.unopened();
    assert!(unopened.len() == 1 && unopened[0].contains(&also.listen[1].to_string()), "{unopened:?}");
    assert_eq!(records(&bench.ask("www.example", "A").await), ["A 192.0.2.1"], "the settings hold");
    drop(taken);
    bench.handle.update(also.clone()).await.unwrap();
    assert_eq!((bench.handle.addresses().await.len(), bench.handle.unopened().len()), (2, 0));

    bench.handle.update(changed.clone()).await.unwrap();
    assert_eq!(bench.handle.addresses().await, changed.listen);
    assert_eq!(
        records(&exchange_udp(changed.listen[0], &query("www.example", "A", None)).await),
        ["A 192.0.2.1"]
    );
    changed.listen.clear();
    bench.handle.update(changed).await.unwrap();
    assert!(bench.handle.addresses().await.is_empty(), "off");
}

#[tokio::test]
async fn shutdown_lets_answers_out_and_frees_the_sockets() {
    let silent = upstream(script(&[("slow.example A", &["silent"])])).await;
    let good = upstream(script(&[("slow.example A", &["300 A 192.0.2.1"])])).await;
    let bench = Bench::start(settings(vec![silent.address, good.address]), DomainSet::default()).await;
    let socket = send_udp(bench.address, &query("slow.example", "A", None).to_vec().unwrap()).await;
    until("the question is under way", || bench.handle.stats().in_flight == 1).await;
    bench.handle.shutdown().await;
    let answer = Message::from_vec(&receive_udp(&socket).await).unwrap();
    assert_eq!(records(&answer), ["A 192.0.2.1"]);
    let again = timeout(PATIENCE, async {
        while std::net::UdpSocket::bind(bench.address).is_err() {
            tokio::task::yield_now().await;
        }
    });
    assert!(again.await.is_ok());
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(vec![dead().await]);
    settings.listen = vec![taken.local_addr().unwrap()];
    let Err(error) = Resolver::start(settings, Sources::default(), |_: &Query<'_>| {}).await else {
        panic!("started")
    };
    assert!(
        error.to_string().starts_with(&format!("cannot listen on {}/udp", taken.local_addr().unwrap())),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any bytes: an answer that belongs to them, or none; never a panic, never more than a little more than came.
    #[test]
    fn any_bytes_through_the_engine(
        bytes in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            // A header that gets past the first checks, then anything.
            proptest::collection::vec(any::<u8>(), 0..120).prop_map(|rest| {
                [&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1][..], &rest].concat()
            }),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|rest| {
                [&[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3][..], b"ads\x07example\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0", &rest].concat()
            }),
        ],
        tcp in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut settings = settings(Vec::new());
        settings.cache.entries = 0;
        let lists = Arc::new(ArcSwap::from_pointee(ads("||ads.example^")));
        let sources = Sources { lists, ..Sources::default() };
        let engine = Arc::new(Engine::new(settings, sources, |_: &Query<'_>| {}));
        let client = IpAddr::from(Ipv4Addr::LOCALHOST);
        if let Some(answer) = runtime.block_on(engine.answer(&bytes, client, if tcp { Transport::Tcp } else { Transport::Udp })) {
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            prop_assert!(answer[2] & 0x80 != 0);
            prop_assert!(answer.len() <= bytes.len() + 300);
            prop_assert!(Message::from_vec(&answer).is_ok());
        }
    }
}
