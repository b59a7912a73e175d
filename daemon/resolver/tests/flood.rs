//! A client that asks for 50,000 names a second that nobody has ever heard of, beside others that go on as they did.
//! The engine alone, a slow upstream, and a clock that moves by itself when nothing is left to do.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use hickory_proto::{
    op::{Message, OpCode, Query as Asked, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use model::Timestamp;
use resolver::{
    Answered, Asking, ClientNetwork, Clock, Engine, Forwarder, Now, Query, Rate, Settings, Sources,
    Transport, Validation, Wanted,
    limits::{MAX_IN_FLIGHT, MAX_IN_FLIGHT_PER_CLIENT},
};
use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Names a second of the flood.
const FLOOD: usize = 50_000;
/// Questions a second of each of the others.
const OTHERS: [[u8; 4]; 4] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3], [10, 0, 0, 4]];
/// Milliseconds of the flood.
const LASTS: u64 = 1000;
/// Milliseconds between two questions of each of the others.
const EACH: u64 = 4;

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Now {
        Now { steady: Duration::from_secs(1000) + self.0.elapsed(), date: Timestamp(1_800_000_000_000_000) }
    }
}

/// Answers everything after a time, and knows how much it was asked at once.
struct Slow {
    /// In milliseconds.
    after: AtomicU64,
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
}

impl Default for Slow {
    fn default() -> Self {
        Self { after: 30.into(), now: 0.into(), most: 0.into(), all: 0.into() }
    }
}

impl Forwarder for Slow {
    fn ask<'a>(&'a self, wanted: Wanted<'a>) -> Asking<'a> {
        Box::pin(async move {
            self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
            self.all.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(self.after.load(SeqCst))).await;
            self.now.fetch_sub(1, SeqCst);
            let mut message = Message::response(0, OpCode::Query);
            message.add_query(Asked::query(wanted.name.clone(), wanted.qtype));
            message.add_answer(Record::from_rdata(wanted.name.clone(), 300, RData::A(A::new(192, 0, 2, 1))));
            Ok(Answered { message, upstream: "slow".into(), validated: Validation::Unchecked })
        })
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Asked::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn engine(rate: Option<Rate>, upstream: &Arc<Slow>) -> Arc<Engine> {
    let clients =
        vec![ClientNetwork { net: "10.0.0.0/8".parse().unwrap(), zone: "home".into(), resolved: false }];
    let settings = Settings { clients, rate, ..Settings::default() };
    let sources = Sources { clock: Arc::new(TestClock(Instant::now())), ..Sources::default() };
    let forwarder = Arc::clone(upstream) as Arc<dyn Forwarder>;
    Arc::new(Engine::with_forwarder(settings, sources, forwarder, |_: &Query<'_>| {}))
}

/// Runs the flood beside the others; says how many of the others' questions there were and how many were answered.
async fn flood(rate: Option<Rate>, upstream: &Arc<Slow>) -> (usize, usize) {
    let engine = engine(rate, upstream);
    let (mut flooded, mut others) = (JoinSet::new(), JoinSet::new());
    let bad = IpAddr::from([10, 9, 9, 9]);
    let per_milli = FLOOD / 1000;
    for milli in 0..LASTS {
        for number in 0..per_milli {
            let (engine, bytes) = (Arc::clone(&engine), query(&format!("r{milli}-{number}.victim.example.")));
            flooded.spawn(async move { engine.answer(&bytes, bad, Transport::Udp).await });
        }
        for client in OTHERS.into_iter().filter(|_| milli % EACH == 0) {
            // Some are in the cache, some are not.
            let name = format!("n{}.of-{}.example.", milli / 3, client[3]);
            let (engine, bytes) = (Arc::clone(&engine), query(&name));
            others.spawn(async move { engine.answer(&bytes, client.into(), Transport::Udp).await });
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        while flooded.try_join_next().is_some() {}
    }
    let is_answered = |answer: Option<Vec<u8>>| {
        answer.is_some_and(|bytes| {
            let message = Message::from_vec(&bytes).unwrap();
            message.metadata.response_code == ResponseCode::NoError && message.answers.len() == 1
        })
    };
    let answers = others.join_all().await;
    (answers.len(), answers.into_iter().filter(|answer| is_answered(answer.clone())).count())
}

#[tokio::test(start_paused = true)]
async fn the_others_are_answered_while_one_client_floods() {
    let upstream = Arc::new(Slow::default());
    let (asked, answered) = flood(None, &upstream).await;
    assert!(asked >= 1000 && answered == asked, "{answered} of {asked}");
    let most = upstream.most.load(SeqCst);
    assert!(
        most > MAX_IN_FLIGHT_PER_CLIENT && most < MAX_IN_FLIGHT,
        "{most} at once: its share, and the others"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_keeps_the_flood_from_the_upstreams() {
    let upstream = Arc::new(Slow::default());
    let rate = Rate { interval: Duration::from_secs(1) / 300, burst: 600 };
    let (asked, answered) = flood(Some(rate), &upstream).await;
    assert_eq!(answered, asked);
    let all = upstream.all.load(SeqCst);
    assert!(all <= 600 + 300 + asked, "{all} were asked upstream");
}

#[tokio::test(start_paused = true)]
async fn asking_on_behind_old_answers_counts_as_under_way() {
    let upstream = Arc::new(Slow::default());
    let engine = engine(None, &upstream);
    let client = IpAddr::from([10, 0, 0, 1]);
    let ask = |number: usize| {
        let (engine, bytes) = (Arc::clone(&engine), query(&format!("n{number}.example.")));
        async move { engine.answer(&bytes, client, Transport::Udp).await.unwrap() }
    };
    let all = MAX_IN_FLIGHT_PER_CLIENT * 2;
    for number in 0..all {
        ask(number).await;
    }
    tokio::time::advance(Duration::from_secs(400)).await;
    // Clients do not wait so long; those who ask do.
    upstream.after.store(4000, SeqCst);
    let first: JoinSet<_> = (0..MAX_IN_FLIGHT_PER_CLIENT).map(ask).collect();
    first.join_all().await;
    let second: JoinSet<_> = (MAX_IN_FLIGHT_PER_CLIENT..all).map(ask).collect();
    assert_eq!(second.join_all().await.len(), all - MAX_IN_FLIGHT_PER_CLIENT, "all get their old answers");
    assert_eq!(upstream.most.load(SeqCst), MAX_IN_FLIGHT_PER_CLIENT);
}
