//! Plain upstreams: who is believed, who is asked next, and how often.

use crate::fake::*;
use hickory_proto::{
    op::ResponseCode,
    rr::{
        RData, Record, RecordType,
        rdata::{NS, TXT},
    },
};
use resolver::upstream::{Ask, Forward, Order, Server, Trouble, UpstreamSettings, limits::*};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn source_ports_and_ids_are_not_to_be_guessed() {
    let fake = always(1).await;
    let upstreams = upstreams(&settings(&[&fake]));
    for batch in 0..100 {
        let asks =
            (0..100).map(|number| {
                let upstreams = upstreams.clone();
                async move {
                    ask(&upstreams, &format!("n{batch}-{number}.example."), RecordType::A).await.unwrap()
                }
            });
        futures_util::future::join_all(asks).await;
    }
    let seen = fake.seen.lock().unwrap();
    assert_eq!(seen.len(), 10_000, "each asked once, all over UDP");
    let ports: HashSet<u16> = seen.iter().map(|(_, port)| *port).collect();
    let ids: HashSet<u16> = seen.iter().map(|(id, _)| *id).collect();
    assert!(ports.len() >= 9_150, "{} ports", ports.len());
    assert!(ids.len() >= 9_150, "{} ids", ids.len());
    assert!(ports.iter().all(|port| *port >= 1024));
    let below = ports.iter().filter(|port| **port < 32_768).count();
    assert!(below > 3_500, "the lower half is used too: {below}");
}

#[tokio::test]
async fn a_hundred_thousand_wrong_answers_are_not_believed() {
    for (letters, wrong) in [(false, "id"), (false, "name"), (false, "type"), (true, "case")] {
        let fake = Fake::start(move |query, by| {
            let mut forged = positive(query, 66);
            match wrong {
                "id" => forged.metadata.id ^= 1,
                "name" => forged.queries[0].name = name("evil.example."),
                "type" => drop(forged.queries[0].set_query_type(RecordType::AAAA)),
                _ => {
                    let turned: String = query.queries[0]
                        .name
                        .to_ascii()
                        .chars()
                        .map(|letter| {
                            if letter.is_ascii_lowercase() {
                                letter.to_ascii_uppercase()
                            } else {
                                letter.to_ascii_lowercase()
                            }
                        })
                        .collect();
                    forged.queries[0].name = name(&turned);
                }
            }
            match by {
                By::Udp => vec![bytes(&forged); 25_000],
                By::Tcp => vec![bytes(&positive(query, 1))],
            }
        })
        .await;
        let upstreams = upstreams(&UpstreamSettings { case_randomisation: letters, ..settings(&[&fake]) });
        let answered = ask(&upstreams, "www.example.", RecordType::A).await.unwrap();
        assert_eq!(lasts(&answered), [1], "wrong {wrong}");
        assert_eq!(fake.asked(), (1, 1), "wrong {wrong}: over TCP then");
        let told = upstreams.status()[0].wrong;
        let counted = if letters { 1 } else { MAX_MISMATCHES as u64 };
        assert_eq!(told, counted, "wrong {wrong}");
    }
}

#[tokio::test]
async fn a_few_wrong_answers_are_waited_out() {
    let fake = Fake::start(|query, _| {
        let mut forged = positive(query, 66);
        forged.metadata.id ^= 1;
        let mut all = vec![bytes(&forged); MAX_MISMATCHES - 1];
        all.push(bytes(&positive(query, 1)));
        all
    })
    .await;
    let upstreams = upstreams(&settings(&[&fake]));
    assert_eq!(lasts(&ask(&upstreams, "www.example.", RecordType::A).await.unwrap()), [1]);
    assert_eq!(fake.asked(), (1, 0));
}

#[tokio::test]
async fn answers_from_elsewhere_do_not_reach_the_socket() {
    // The query is seen here, and answered first by somebody on another port, who knows everything else.
    let stranger = Arc::new(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports: Arc<std::sync::Mutex<Vec<u16>>> = Arc::default();
    let fake = {
        let ports = Arc::clone(&ports);
        Fake::start(move |query, by| match by {
            By::Udp if ports.lock().unwrap().is_empty() => {
                ports.lock().unwrap().push(query.metadata.id);
                Vec::new()
            }
            _ => vec![bytes(&positive(query, 1))],
        })
        .await
    };
    let upstreams = upstreams(&settings(&[&fake]));
    let forger = async {
        loop {
            let seen = fake.seen.lock().unwrap().first().copied();
            if let Some((id, port)) = seen {
                let mut query = hickory_proto::op::Message::query();
                query.metadata.id = id;
                query.add_query(hickory_proto::op::Query::query(name("www.example."), RecordType::A));
                stranger.send_to(&bytes(&positive(&query, 66)), ("127.0.0.1", port)).unwrap();
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let forger = tokio::time::timeout(QUERY_DEADLINE, forger);
    let (answered, forged) = tokio::join!(ask(&upstreams, "www.example.", RecordType::A), forger);
    forged.unwrap();
    assert_eq!(lasts(&answered.unwrap()), [1], "the second attempt, answered by the upstream");
    assert_eq!(upstreams.status()[0].wrong, 0);
}

#[tokio::test]
async fn foreign_records_are_not_used() {
    let fake = Fake::start(|query, _| {
        let mut answer = positive(query, 1);
        answer.add_answer(address(&name("bank.example."), 66));
        answer.add_authority(Record::from_rdata(name("example."), 300, RData::NS(NS(name("ns.evil.")))));
        answer.add_additional(address(&name("ns.evil."), 66));
        vec![bytes(&answer)]
    })
    .await;
    let answered = ask(&upstreams(&settings(&[&fake])), "www.example.", RecordType::A).await.unwrap();
    assert_eq!(lasts(&answered), [1]);
    assert!(answered.message.authorities.is_empty() && answered.message.additionals.is_empty());
}

#[tokio::test]
async fn truncated_answers_come_over_one_connection() {
    let fake = Fake::start(|query, by| {
        let mut answer = positive(query, 1);
        answer.metadata.truncation = by == By::Udp;
        vec![bytes(&answer)]
    })
    .await;
    let upstreams = upstreams(&settings(&[&fake]));
    for number in 0..5 {
        assert_eq!(
            lasts(&ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap()),
            [1]
        );
    }
    assert_eq!(fake.asked(), (5, 5));
    assert_eq!(fake.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn garbage_and_bombs_end_in_a_clear_failure() {
    // What is sent over UDP and TCP behind a good header and question.
    let bomb = |query: &hickory_proto::op::Message, what: &str| {
        let mut start = bytes(&empty(query, ResponseCode::NoError));
        start.truncate(12 + query.queries[0].name.len() + 5);
        match what {
            "a pointer to itself" => {
                start[7] = 1;
                let at = u16::try_from(start.len()).unwrap() | 0xc000;
                start.extend_from_slice(&at.to_be_bytes());
                start.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
            }
            "a chain of pointers" => {
                start[6..8].copy_from_slice(&4000_u16.to_be_bytes());
                for _ in 0..4000 {
                    start.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]);
                }
                start.truncate(60_000);
            }
            "records that are not there" => start[7] = 9,
            "counts of everything" => start[6..12].fill(0xff),
            _ => start.truncate(20),
        }
        start
    };
    for what in [
        "a pointer to itself",
        "a chain of pointers",
        "records that are not there",
        "counts of everything",
        "cut",
    ] {
        let fake = Fake::start(move |query, by| match by {
            By::Udp if bomb(query, what).len() > 4000 => {
                let mut answer = empty(query, ResponseCode::NoError);
                answer.metadata.truncation = true;
                vec![bytes(&answer)]
            }
            By::Udp => vec![bomb(query, what); MAX_MISMATCHES],
            By::Tcp => vec![bomb(query, what)],
        })
        .await;
        let upstreams = upstreams(&settings(&[&fake]));
        let trouble = ask(&upstreams, "www.example.", RecordType::A).await.unwrap_err();
        assert!(trouble.to_string().contains("unreadable answer"), "{what}: {trouble}");
    }
}

#[tokio::test]
async fn a_huge_set_is_read_and_an_endless_chain_is_not() {
    let fake = Fake::start(|query, by| {
        let asked = &query.queries[0].name;
        let mut answer = empty(query, ResponseCode::NoError);
        if by == By::Udp {
            answer.metadata.truncation = true;
        } else if asked.to_ascii().starts_with("huge") {
            for number in 0..MAX_RECORDS - 1 {
                answer.add_answer(Record::from_rdata(
                    asked.clone(),
                    60,
                    RData::TXT(TXT::new(vec![number.to_string()])),
                ));
            }
        } else {
            let hop = |number: usize| {
                if number == 0 { asked.clone() } else { name(&format!("h{number}.example.")) }
            };
            for number in 0..64 {
                let alias = RData::CNAME(hickory_proto::rr::rdata::CNAME(hop(number + 1)));
                answer.add_answer(Record::from_rdata(hop(number), 60, alias));
            }
        }
        vec![bytes(&answer)]
    })
    .await;
    let upstreams = upstreams(&settings(&[&fake]));
    let huge = ask(&upstreams, "huge.example.", RecordType::TXT).await.unwrap();
    assert_eq!(huge.message.answers.len(), MAX_RECORDS - 1);
    let trouble = ask(&upstreams, "chain.example.", RecordType::TXT).await.unwrap_err();
    assert!(trouble.to_string().contains("endless aliases"), "{trouble}");
}

#[tokio::test]
async fn truncated_for_ever_is_a_failure() {
    let fake = Fake::start(|query, _| {
        let mut answer = positive(query, 1);
        answer.metadata.truncation = true;
        vec![bytes(&answer)]
    })
    .await;
    let trouble = ask(&upstreams(&settings(&[&fake])), "www.example.", RecordType::A).await.unwrap_err();
    assert!(matches!(trouble, Trouble::Unreachable(_)), "{trouble}");
}

#[tokio::test]
async fn duplicates_and_late_answers_are_nobodys() {
    let fake = Fake::start(|query, by| {
        let mut truncated = positive(query, 66);
        truncated.metadata.truncation = true;
        match by {
            By::Udp => vec![bytes(&truncated); 3],
            By::Tcp => {
                vec![bytes(&positive(query, 1)), bytes(&positive(query, 2)), bytes(&positive(query, 3))]
            }
        }
    })
    .await;
    let upstreams = upstreams(&settings(&[&fake]));
    for number in 0..20 {
        assert_eq!(
            lasts(&ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap()),
            [1]
        );
    }
    assert_eq!(fake.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn a_thousand_who_ask_the_same_are_one_question() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = always(1).await;
    let upstreams = upstreams(&settings(&[&fake]));
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let (upstreams, gate) = (upstreams.clone(), Arc::clone(&gate));
        let asked = if number % 2 == 0 { "www.example." } else { "wWw.eXample." };
        asking.spawn(async move {
            let _open = gate.acquire().await.unwrap();
            let answered = ask(&upstreams, asked, RecordType::A).await.unwrap();
            assert_eq!(lasts(&answered), [1]);
            assert_eq!(answered.message.answers[0].name.to_ascii(), asked, "in one's own letters");
        });
    }
    gate.add_permits(1000);
    while let Some(done) = asking.join_next().await {
        done.unwrap();
    }
    assert_eq!(fake.asked(), (1, 0));
    ask(&upstreams, "www.example.", RecordType::A).await.unwrap();
    assert_eq!(fake.asked(), (2, 0), "later is another question");
}

#[tokio::test]
async fn a_question_outlives_the_first_who_asked() {
    let fake = always(1).await;
    let upstreams = upstreams(&settings(&[&fake]));
    let mut first = Box::pin(ask(&upstreams, "www.example.", RecordType::A));
    assert!(futures_util::poll!(&mut first).is_pending());
    let mut second = Box::pin(ask(&upstreams, "www.example.", RecordType::A));
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(lasts(&second.await.unwrap()), [1]);
    // And where everybody left, the next starts anew.
    let mut left = Box::pin(ask(&upstreams, "www.example.", RecordType::A));
    assert!(futures_util::poll!(&mut left).is_pending());
    drop(left);
    assert_eq!(lasts(&ask(&upstreams, "www.example.", RecordType::A).await.unwrap()), [1]);
}

#[tokio::test]
async fn whoever_joins_late_does_not_end_with_the_first() {
    let asked = AtomicUsize::new(0);
    // The first question is lost.
    let fake = Fake::start(move |query, _| match asked.fetch_add(1, SeqCst) {
        0 => Vec::new(),
        _ => vec![bytes(&positive(query, 1))],
    })
    .await;
    let upstreams = upstreams(&settings(&[&fake]));
    let www = name("www.example.");
    let with = |seconds| Ask {
        name: &www,
        qtype: RecordType::A,
        class: hickory_proto::rr::DNSClass::IN,
        dnssec_ok: false,
        checking_disabled: false,
        deadline: Instant::now() + Duration::from_secs_f64(seconds),
    };
    let (hasty, patient) = (with(0.3), with(20.0));
    let (first, second) = tokio::join!(upstreams.ask(&hasty), upstreams.ask(&patient));
    assert!(matches!(first.unwrap_err(), Trouble::Unreachable(_)));
    assert_eq!(lasts(&second.unwrap()), [1]);
}

#[tokio::test]
async fn waiters_and_questions_are_bounded() {
    let fake = silent().await;
    let upstreams = upstreams(&settings(&[&fake]));
    let mut waiting = Vec::new();
    for _ in 0..=MAX_WAITERS {
        let mut asking = Box::pin(ask(&upstreams, "www.example.", RecordType::A));
        if let std::task::Poll::Ready(result) = futures_util::poll!(&mut asking) {
            assert_eq!(result.unwrap_err(), Trouble::Overload);
            break;
        }
        waiting.push(asking);
    }
    assert_eq!(waiting.len(), MAX_WAITERS);
    waiting.truncate(1);
    let names: Vec<String> =
        (0..MAX_IN_FLIGHT_PER_UPSTREAM).map(|number| format!("n{number}.example.")).collect();
    let mut others = Vec::new();
    for asked in &names {
        let mut asking = Box::pin(ask(&upstreams, asked, RecordType::A));
        if let std::task::Poll::Ready(result) = futures_util::poll!(&mut asking) {
            assert_eq!(result.unwrap_err(), Trouble::Overload, "the upstream has enough to answer");
            break;
        }
        others.push(asking);
    }
    assert_eq!(others.len(), MAX_IN_FLIGHT_PER_UPSTREAM - 1);
}

#[tokio::test]
async fn the_next_is_asked_where_one_is_silent_or_of_no_help() {
    let no_help = Fake::start(|query, _| vec![bytes(&empty(query, ResponseCode::ServFail))]).await;
    let refuses = Fake::start(|query, _| vec![bytes(&empty(query, ResponseCode::Refused))]).await;
    let (quiet, good) = (silent().await, always(1).await);
    let all = upstreams(&settings(&[&quiet, &no_help, &refuses, &good]));
    let answered = ask(&all, "www.example.", RecordType::A).await.unwrap();
    assert_eq!((lasts(&answered), answered.upstream.to_string()), (vec![1], good.address.to_string()));
    assert_eq!(quiet.asked().0, 1);
    // Nobody can help: that is what is told, at once.
    let none = upstreams(&settings(&[&no_help, &refuses]));
    let answered = ask(&none, "www.example.", RecordType::A).await.unwrap();
    assert_eq!(answered.message.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(no_help.asked().0, 2);
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_and_each_is_named() {
    // The time is stepped by the runtime where nothing else is to be done: all of this waits for silence.
    let (one, two) = (silent().await, silent().await);
    let upstreams = upstreams(&settings(&[&one, &two]));
    let trouble = ask(&upstreams, "www.example.", RecordType::A).await.unwrap_err();
    assert_eq!(
        trouble.to_string(),
        format!("no upstream answered: {} timed out, {} timed out", one.address, two.address)
    );
    let status = upstreams.status();
    assert!(status.iter().all(|status| !status.up && status.failed == status.asked), "{status:?}");
}

#[tokio::test]
async fn several_at_once_take_the_first_good_answer() {
    let (quiet, good) = (silent().await, always(2).await);
    let no_help = Fake::start(|query, _| vec![bytes(&empty(query, ResponseCode::ServFail))]).await;
    let upstreams =
        upstreams(&UpstreamSettings { order: Order::Parallel, ..settings(&[&quiet, &no_help, &good]) });
    for number in 0..10 {
        assert_eq!(
            lasts(&ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap()),
            [2]
        );
    }
    assert_eq!(good.asked().0, 10);
}

#[tokio::test]
async fn of_several_at_once_the_silent_is_noticed() {
    let (quiet, good) = (silent().await, always(2).await);
    let upstreams = upstreams(&UpstreamSettings { order: Order::Parallel, ..settings(&[&quiet, &good]) });
    for number in 0..FAILURES_UNTIL_DOWN {
        ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap();
    }
    // The time is stepped by the runtime where nothing else is to be done: only silence is waited for.
    tokio::time::pause();
    let _ = tokio::time::timeout(ATTEMPT_TIMEOUT * 2, std::future::pending::<()>()).await;
    let status = upstreams.status();
    assert_eq!(status.iter().map(|status| status.up).collect::<Vec<_>>(), [false, true], "{status:?}");
}

#[tokio::test]
async fn forwards_by_the_longest_suffix() {
    let (general, corp, lab, reverse) = (always(1).await, always(2).await, always(3).await, always(4).await);
    let forward = |names: &[&str], to: &Fake| Forward {
        names: names.iter().map(|text| name(text)).collect(),
        to: vec![Server::from(to.address)],
        dnssec: false,
    };
    let upstreams = upstreams(&UpstreamSettings {
        forwards: vec![
            forward(&["corp.example."], &corp),
            forward(&["lab.corp.example.", "lab.example."], &lab),
            forward(&["10.in-addr.arpa."], &reverse),
        ],
        ..settings(&[&general])
    });
    for (asked, last) in [
        ("www.example.", 1),
        ("corp.example.", 2),
        ("a.CORP.example.", 2),
        ("notcorp.example.", 1),
        ("a.b.lab.corp.example.", 3),
        ("lab.example.", 3),
        ("1.2.3.10.in-addr.arpa.", 4),
        ("1.2.3.11.in-addr.arpa.", 1),
        (".", 1),
    ] {
        assert_eq!(lasts(&ask(&upstreams, asked, RecordType::A).await.unwrap()), [last], "{asked}");
    }
    let status = upstreams.status();
    assert_eq!(status[0].names, [] as [String; 0]);
    assert_eq!(status[2].names, ["lab.corp.example", "lab.example"]);
    assert!(status.iter().all(|status| status.up && status.answered > 0 && status.round_trip.is_some()));
}

#[tokio::test]
async fn random_case_is_sent_and_turned_back() {
    let letters: Arc<std::sync::Mutex<HashSet<String>>> = Arc::default();
    let fake = {
        let letters = Arc::clone(&letters);
        Fake::start(move |query, _| {
            letters.lock().unwrap().insert(query.queries[0].name.to_ascii());
            vec![bytes(&positive(query, 1))]
        })
        .await
    };
    let upstreams = upstreams(&UpstreamSettings { case_randomisation: true, ..settings(&[&fake]) });
    for _ in 0..20 {
        let answered = ask(&upstreams, "www.some-long-name.example.", RecordType::A).await.unwrap();
        assert_eq!(answered.message.answers[0].name.to_ascii(), "www.some-long-name.example.");
    }
    assert!(letters.lock().unwrap().len() > 15);
    assert_eq!(fake.asked(), (20, 0));
}

#[tokio::test]
async fn an_upstream_that_was_silent_is_probed_without_making_anyone_wait() {
    let speaks = Arc::new(AtomicUsize::new(0));
    let first = {
        let speaks = Arc::clone(&speaks);
        Fake::start(move |query, _| match speaks.load(SeqCst) {
            0 => Vec::new(),
            _ => vec![bytes(&positive(query, 1))],
        })
        .await
    };
    let second = always(2).await;
    let upstreams = upstreams(&settings(&[&first, &second]));
    for number in 0..FAILURES_UNTIL_DOWN {
        assert_eq!(
            lasts(&ask(&upstreams, &format!("n{number}.example."), RecordType::A).await.unwrap()),
            [2]
        );
    }
    assert!(!upstreams.status()[0].up);
    speaks.store(1, SeqCst);
    let asked_before = first.asked().0;
    tokio::time::pause();
    tokio::time::advance(SHORTEST_DOWN).await;
    tokio::time::resume();
    let mut number = 0;
    while !upstreams.status()[0].up {
        number += 1;
        assert_eq!(
            lasts(&ask(&upstreams, &format!("m{number}.example."), RecordType::A).await.unwrap()),
            [2]
        );
    }
    assert_eq!(first.asked().0, asked_before + 1, "one probe, no client");
    assert_eq!(lasts(&ask(&upstreams, "back.example.", RecordType::A).await.unwrap()), [1]);
}

#[tokio::test]
async fn without_upstreams_there_is_a_clear_failure() {
    let trouble =
        ask(&upstreams(&UpstreamSettings::default()), "www.example.", RecordType::A).await.unwrap_err();
    assert_eq!(trouble.to_string(), "no upstream answered: there is none");
}
