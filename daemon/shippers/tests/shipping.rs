//! Events through the real sinks: a file, and the strict receiver on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use loki_receiver::{Fault, Receiver};
use model::{Body, Event, EventAction, Severity, Timestamp};
use shippers::{EventSender, FileSettings, LokiSettings, Settings, Shippers, SinkStatus, Tailed};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DEADLINE: Duration = Duration::from_secs(30);

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

fn event(number: u64) -> Event {
    Event {
        ts: Timestamp(now()),
        severity: Severity::Notice,
        action: EventAction::Drop,
        zone: Some("iot".into()),
        reason: Some("listed_source".into()),
        body: Body::Packet {
            src: [198, 51, 100, 7].into(),
            dst: [10, 4, 0, 9].into(),
            proto: "tcp".into(),
            sport: 40_000,
            dport: 445,
            vlan: 400,
            interface: "eth1".into(),
            length: 60,
            zone_out: None,
            by: Some(format!("number {number}")),
        },
    }
}

/// The numbers of the test's own events among lines of JSON.
fn numbers<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<u64> {
    lines
        .filter_map(|line| match serde_json::from_str::<Event>(line).unwrap().body {
            Body::Packet { by, .. } => by?.strip_prefix("number ")?.parse().ok(),
            _ => None,
        })
        .collect()
}

fn loki(receiver: &Receiver) -> LokiSettings {
    LokiSettings {
        backoff: (Duration::from_millis(5), Duration::from_millis(50)),
        linger: Duration::from_millis(20),
        ..LokiSettings::new(receiver.url().parse().unwrap(), "router")
    }
}

async fn receiver() -> Receiver {
    Receiver::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn status(sender: &EventSender, name: &str) -> SinkStatus {
    sender.sinks().into_iter().find(|sink| sink.name == name).unwrap()
}

/// Waits for a system event whose message holds `text` and returns its count.
async fn told(tail: &mut shippers::Tail, text: &str) -> Option<u64> {
    let wait = async {
        while let Some(tailed) = tail.next().await {
            if let Tailed::Event(event) = tailed
                && let Body::System { message, count } = &event.body
                && message.contains(text)
            {
                return Some(*count);
            }
        }
        None
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("no such event within the deadline").expect("closed")
}

#[tokio::test]
async fn every_event_arrives_at_loki_once_with_few_labels() {
    let receiver = receiver().await;
    let settings = LokiSettings {
        tenant: Some("home".into()),
        credentials: Some(("secd".into(), "s3cret".into())),
        ..loki(&receiver)
    };
    let shippers = Shippers::start(Settings { loki: Some(settings), ..Settings::default() });
    let sender = shippers.sender();
    for number in 0..5000 {
        sender.send(event(number));
    }
    assert!(shippers.stop(DEADLINE).await);
    let entries = receiver.entries();
    assert_eq!(numbers(entries.iter().map(|entry| entry.line.as_str())), (0..5000).collect::<Vec<_>>());
    for entry in &entries {
        let labels: Vec<_> = entry.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            labels,
            ["action=drop", "host=router", "job=secd", "kind=packet", "severity=notice", "zone=iot"]
        );
        assert_eq!(entry.metadata["src"], "198.51.100.7");
        assert_eq!(entry.metadata["dport"], "445");
        assert_eq!(entry.metadata["reason"], "listed_source");
    }
    for push in receiver.pushes() {
        assert_eq!((push.status, push.tenant.as_deref()), (204, Some("home")), "{}", push.message);
        assert_eq!(push.authorization.as_deref(), Some("Basic c2VjZDpzM2NyZXQ="));
        assert!(push.bytes <= 1024 * 1024);
    }
    assert_eq!(status(&sender, "loki").delivered, 5000);
    let counts = sender.counts();
    assert_eq!(
        (counts.len(), counts[0].kind, counts[0].action, counts[0].count),
        (1, "packet", "drop", 5000)
    );
}

#[tokio::test]
async fn busy_and_broken_answers_lose_nothing() {
    for fault in
        [Fault::TooMany, Fault::Unavailable, Fault::Status(500), Fault::Status(401), Fault::Status(404)]
    {
        let receiver = receiver().await;
        receiver.set_fault(fault, Some(4));
        let shippers = Shippers::start(Settings { loki: Some(loki(&receiver)), ..Settings::default() });
        let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
        for number in 0..100 {
            sender.send(event(number));
        }
        assert_eq!(told(&mut tail, "events for loki wait: Loki answers").await, None);
        assert_eq!(told(&mut tail, "events for loki are delivered again").await, None);
        assert!(shippers.stop(DEADLINE).await, "{fault:?}");
        let entries = receiver.entries();
        let lines = entries.iter().map(|entry| entry.line.as_str());
        assert_eq!(numbers(lines), (0..100).collect::<Vec<_>>(), "{fault:?}");
        let loki = status(&sender, "loki");
        assert_eq!((loki.failures, loki.lost, loki.dropped, loki.refused), (4, 0, 0, 0), "{fault:?}");
        assert_eq!(loki.trouble, None);
    }
}

#[tokio::test]
async fn a_loki_that_comes_late_gets_everything() {
    let address = {
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        reserved.local_addr().unwrap()
    };
    let settings = LokiSettings {
        backoff: (Duration::from_millis(5), Duration::from_millis(50)),
        linger: Duration::from_millis(10),
        ..LokiSettings::new(format!("http://{address}").parse().unwrap(), "router")
    };
    let shippers = Shippers::start(Settings { loki: Some(settings), ..Settings::default() });
    let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
    for number in 0..50 {
        sender.send(event(number));
    }
    told(&mut tail, "cannot be reached").await;
    assert!(status(&sender, "loki").trouble.unwrap().contains("cannot be reached"));
    let receiver = Receiver::start(address).await.unwrap();
    told(&mut tail, "delivered again").await;
    assert!(shippers.stop(DEADLINE).await);
    let entries = receiver.entries();
    assert_eq!(numbers(entries.iter().map(|entry| entry.line.as_str())), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_partial_refusal_is_never_sent_again() {
    let receiver = receiver().await;
    let shippers = Shippers::start(Settings {
        loki: Some(loki(&receiver)),
        report_every: Duration::ZERO,
        ..Settings::default()
    });
    let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
    // Eight days old: the receiver refuses it, and keeps the rest of the batch.
    let old = Event { ts: Timestamp(now() - 8 * 86_400_000_000), zone: Some("old".into()), ..event(1) };
    sender.send(event(0));
    sender.send(old);
    sender.send(event(2));
    let count = told(&mut tail, "refused at least in part: Loki answers 400").await;
    assert_eq!(count, Some(3));
    assert!(shippers.stop(DEADLINE).await);
    let entries = receiver.entries();
    assert_eq!(numbers(entries.iter().map(|entry| entry.line.as_str())), [0, 2]);
    let refused = receiver.pushes().iter().filter(|push| push.status == 400).count();
    assert_eq!(refused, 1);
    assert_eq!(status(&sender, "loki").refused, 3);
}

#[tokio::test]
async fn what_is_too_old_for_its_stream_is_not_sent() {
    let receiver = receiver().await;
    let shippers = Shippers::start(Settings { loki: Some(loki(&receiver)), ..Settings::default() });
    let sender = shippers.sender();
    sender.send(event(0));
    sender.send(Event { ts: Timestamp(now() - 2 * 3_600_000_000), ..event(1) });
    sender.send(Event { ts: Timestamp(now() - 1_800_000_000), ..event(2) });
    assert!(shippers.stop(DEADLINE).await);
    assert!(receiver.pushes().iter().all(|push| push.status == 204), "{:?}", receiver.pushes());
    let entries = receiver.entries();
    assert_eq!(numbers(entries.iter().map(|entry| entry.line.as_str())), [2, 0], "in the order of time");
    assert_eq!(status(&sender, "loki").dropped, 1);
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_trouble_and_nothing_worse() {
    let receiver = receiver().await;
    let url = receiver.url().replace("http://", "https://").parse().unwrap();
    let shippers = Shippers::start(Settings {
        loki: Some(LokiSettings { url, ..loki(&receiver) }),
        ..Settings::default()
    });
    let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
    sender.send(event(0));
    told(&mut tail, "cannot be reached").await;
    assert!(!shippers.stop(Duration::from_millis(50)).await);
    assert!(receiver.pushes().is_empty());
}

#[tokio::test]
async fn a_full_queue_loses_counts_and_tells() {
    let receiver = receiver().await;
    receiver.set_fault(Fault::Unavailable, None);
    let shippers = Shippers::start(Settings {
        loki: Some(loki(&receiver)),
        queue: 16,
        report_every: Duration::ZERO,
        ..Settings::default()
    });
    let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
    // No await in between: the sink cannot take any of them.
    for number in 0..100 {
        sender.send(event(number));
    }
    let before = status(&sender, "loki");
    assert_eq!((before.queued, before.capacity, before.lost), (16, 16, 84));
    let count = told(&mut tail, "lost, its queue was full").await;
    assert_eq!(count, Some(84));
    receiver.set_fault(Fault::None, None);
    assert!(shippers.stop(DEADLINE).await);
    let entries = receiver.entries();
    assert_eq!(numbers(entries.iter().map(|entry| entry.line.as_str())), (0..16).collect::<Vec<_>>());
}

#[tokio::test]
async fn stopping_gives_up_at_its_deadline() {
    let receiver = receiver().await;
    receiver.set_fault(Fault::Unavailable, None);
    let shippers = Shippers::start(Settings { loki: Some(loki(&receiver)), ..Settings::default() });
    let sender = shippers.sender();
    sender.send(event(0));
    assert!(!shippers.stop(Duration::from_millis(200)).await);
    let before = status(&sender, "loki").lost;
    sender.send(event(1));
    assert_eq!(status(&sender, "loki").lost, before + 1, "after the stop everything is lost, and counted");
}

fn file(path: &Path) -> FileSettings {
    FileSettings { path: path.to_owned(), rotate_bytes: 1_000_000, keep_files: 2 }
}

#[tokio::test]
async fn every_event_is_in_the_file_or_its_rotated_copies() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let settings = FileSettings { rotate_bytes: 200_000, keep_files: 20, ..file(&path) };
    let shippers = Shippers::start(Settings { file: Some(settings), ..Settings::default() });
    let sender = shippers.sender();
    for number in 0..8000 {
        sender.send(event(number));
    }
    assert!(shippers.stop(DEADLINE).await);
    let mut seen = BTreeSet::new();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(text.ends_with('\n'));
        seen.extend(numbers(text.lines()));
        files += 1;
    }
    assert_eq!(seen, (0..8000).collect());
    assert!(files > 5, "{files}");
    assert_eq!(status(&sender, "file").delivered, 8000);
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_lost_once_there_is_room() {
    if !Path::new("/dev/full").exists() {
        eprintln!("SKIP: a_full_disk_is_told_and_nothing_is_lost_once_there_is_room: no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let shippers = Shippers::start(Settings { file: Some(file(&path)), ..Settings::default() });
    let (sender, mut tail) = (shippers.sender(), shippers.sender().tail());
    for number in 0..10 {
        sender.send(event(number));
    }
    assert_eq!(told(&mut tail, "No space left on device").await, None);
    assert!(status(&sender, "file").trouble.is_some());
    std::fs::remove_file(&path).unwrap();
    shippers.reopen();
    told(&mut tail, "events for file are delivered again").await;
    assert!(shippers.stop(DEADLINE).await);
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(numbers(text.lines()), (0..10).collect::<Vec<_>>());
    assert_eq!(status(&sender, "file").lost + status(&sender, "file").dropped, 0);
}

#[tokio::test]
async fn other_settings_take_over_without_loss() {
    let (first, second) = (receiver().await, receiver().await);
    let mut shippers = Shippers::start(Settings { loki: Some(loki(&first)), ..Settings::default() });
    let sender = shippers.sender();
    let mut tail = sender.tail();
    for number in 0..100 {
        sender.send(event(number));
    }
    assert!(shippers.restart(Settings { loki: Some(loki(&second)), ..Settings::default() }, DEADLINE).await);
    for number in 100..200 {
        sender.send(event(number));
    }
    assert!(shippers.stop(DEADLINE).await);
    let arrived = |receiver: &Receiver| {
        let entries = receiver.entries();
        numbers(entries.iter().map(|entry| entry.line.as_str()))
    };
    assert_eq!(arrived(&first), (0..100).collect::<Vec<_>>());
    assert_eq!(arrived(&second), (100..200).collect::<Vec<_>>());
    assert!(matches!(tail.next().await, Some(Tailed::Event(_))), "who tails goes on");
}

#[tokio::test]
async fn a_slow_tail_is_told_what_it_missed() {
    let shippers = Shippers::start(Settings::default());
    let sender = shippers.sender();
    let mut tail = sender.tail();
    for number in 0..shippers::TAIL_EVENTS as u64 + 10 {
        sender.send(event(number));
    }
    assert_eq!(tail.next().await, Some(Tailed::Missed(10)));
    let Some(Tailed::Event(first)) = tail.next().await else { panic!("no event") };
    assert!(matches!(&first.body, Body::Packet { by: Some(by), .. } if by == "number 10"));
}
