//! A hole as strict as the real one, in memory, with a clock that is stepped.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]
#![allow(dead_code, reason = "not every test uses all of it")]

use model::{Name, Severity, Timestamp};
use pihole::{
    About, Blocking, Client, Device, Domain, Group, Hole, Kind, List, ListState, Message, Refusal, Verdict,
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

/// 2026-09-21T14:13:20Z.
pub const BEGIN: Timestamp = Timestamp::from_seconds(1_790_000_000);
/// The longest pause.
pub const DAY: Duration = Duration::from_secs(86_400);

/// What it knows.
#[derive(Default)]
pub struct Fake {
    later: AtomicI64,
    pub told: Mutex<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    paused: Option<Timestamp>,
    off: bool,
    observes: bool,
    orders: Vec<Domain>,
    next: u64,
}

impl Fake {
    /// As a case says: `observe`, `no resolver`.
    pub fn of(kind: &str) -> Self {
        let fake = Self::default();
        {
            let mut state = fake.state.lock().unwrap();
            state.next = 1;
            match kind {
                "" => {}
                "observe" => state.observes = true,
                "no resolver" => state.off = true,
                other => panic!("no such hole: {other}"),
            }
        }
        fake
    }

    pub fn step(&self, by: Duration) {
        self.later.fetch_add(i64::try_from(by.as_micros()).unwrap(), Relaxed);
    }

    fn config(&self) -> Vec<Domain> {
        let entry = |id, text: &str, verdict, kind, groups: &[u64], line| Domain {
            id,
            text: text.to_owned(),
            verdict,
            kind,
            comment: None,
            groups: groups.to_vec(),
            since: BEGIN,
            fixed: Some(format!("/etc/secd/secd.toml line {line}")),
        };
        vec![
            entry(1001, "fixed.example", Verdict::Allow, Kind::Exact, &[0], 7),
            entry(1002, "^ad[0-9]+\\.", Verdict::Deny, Kind::Regex, &[0, 1], 8),
        ]
    }
}

impl Hole for Fake {
    fn now(&self) -> Timestamp {
        Timestamp(BEGIN.0 + self.later.load(Relaxed))
    }

    fn tell(&self, severity: Severity, message: String) {
        self.told.lock().unwrap().push(format!("{severity:?}: {message}"));
    }

    fn blocking(&self) -> (Blocking, Option<Timestamp>) {
        let state = self.state.lock().unwrap();
        let paused = state.paused.filter(|until| *until > self.now());
        match (state.off, paused, state.observes) {
            (true, ..) => (Blocking::Failure, None),
            (false, Some(until), _) => (Blocking::Disabled, Some(until)),
            (false, None, true) => (Blocking::Disabled, None),
            (false, None, false) => (Blocking::Enabled, None),
        }
    }

    async fn set_blocking(&self, enabled: bool, lasting: Option<Duration>, who: &str) -> Result<(), Refusal> {
        let bad =
            |message: &str| Refusal { status: 400, key: "bad_request", message: message.into(), hint: None };
        let mut state = self.state.lock().unwrap();
        if enabled && state.observes && state.paused.is_none() {
            return Err(Refusal::forbidden("Names are only observed", "set `mode` in secd.toml"));
        }
        let lasting = lasting.unwrap_or(DAY);
        if lasting < Duration::from_secs(1) || lasting > DAY {
            return Err(bad("a pause lasts from 1s to 1d"));
        }
        state.paused = (!enabled).then(|| self.now().plus(lasting));
        self.told.lock().unwrap().push(format!("blocking {enabled}, by {who}"));
        Ok(())
    }

    fn domains(&self) -> Vec<Domain> {
        let mut all = self.state.lock().unwrap().orders.clone();
        all.extend(self.config());
        all
    }

    async fn add_domain(
        &self,
        verdict: Verdict,
        name: Name,
        comment: Option<String>,
        who: &str,
    ) -> Result<(), Refusal> {
        if name.as_str() == "full.example" {
            let message = "it could not be stored: the disk is full".into();
            return Err(Refusal { status: 503, key: "database_error", message, hint: None });
        }
        let mut state = self.state.lock().unwrap();
        let known = |entry: &Domain| entry.text == name.as_str() && entry.verdict == verdict;
        assert!(!state.orders.iter().any(known), "it is asked before");
        let id = state.next;
        state.next += 1;
        let (text, since) = (name.to_string(), self.now());
        let kind = Kind::Exact;
        state.orders.push(Domain { id, text, verdict, kind, comment, groups: vec![0], since, fixed: None });
        self.told.lock().unwrap().push(format!("{verdict:?} {name}, by {who}"));
        Ok(())
    }

    async fn remove_domain(&self, verdict: Verdict, name: Name, who: &str) -> Result<bool, Refusal> {
        let mut state = self.state.lock().unwrap();
        let before = state.orders.len();
        state.orders.retain(|entry| entry.text != name.as_str() || entry.verdict != verdict);
        self.told.lock().unwrap().push(format!("no longer {verdict:?} {name}, by {who}"));
        Ok(state.orders.len() < before)
    }

    fn groups(&self) -> Vec<Group> {
        let group = |id, name: &str, enabled, comment: Option<&str>| Group {
            id,
            name: name.into(),
            comment: comment.map(Into::into),
            enabled,
            since: BEGIN,
        };
        vec![group(0, "default", true, None), group(1, "kids", false, Some("homework first"))]
    }

    fn lists(&self) -> Vec<List> {
        vec![List {
            id: 1,
            address: "https://lists.example/ads.txt".into(),
            name: "ads".into(),
            groups: vec![0, 1],
            enabled: true,
            entries: 100_000,
            rejected: 3,
            state: ListState::OldCopy,
            loaded: Some(BEGIN),
            since: BEGIN,
        }]
    }

    fn clients(&self) -> Vec<Client> {
        vec![Client {
            id: 1,
            text: "10.4.0.9".into(),
            name: "tablet".into(),
            comment: None,
            groups: vec![0, 1],
            since: BEGIN,
        }]
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device {
            mac: "02:00:00:00:00:01".into(),
            addresses: vec!["10.4.0.9".parse().unwrap(), "fd00:4::9".parse().unwrap()],
            seen: Some(BEGIN),
        }]
    }

    fn messages(&self) -> Vec<Message> {
        vec![Message { text: "list <ads> cannot be fetched".into(), at: BEGIN }]
    }

    fn about(&self) -> About {
        About {
            version: "0.1.0".into(),
            started: Timestamp(BEGIN.0 - 5_000_000),
            pid: 42,
            from_cache: 7,
            forwarded: 3,
            ..About::default()
        }
    }
}
