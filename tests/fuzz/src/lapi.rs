//! Requests to CrowdSec's API, of somebody who has a key and a token.

use ipnet::IpNet;
use lapi::{Api, Change, Ledger, Refusal, Request, Standing, Verdict};
use model::{
    Bouncer, Decision, DecisionKind, Direction, Mode, OrderingMachine, Origin, OriginKind, ProgramName,
    Severity, Target, Timestamp,
};
use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

use crate::choice;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);
const KEY: &str = "correct-horse-battery-staple";
/// Where bodies and parameters go.
const PLACES: [(&str, &str); 8] = [
    ("POST", "/v1/alerts"),
    ("POST", "/v1/usage-metrics"),
    ("GET", "/v1/decisions?"),
    ("GET", "/v1/decisions/stream?"),
    ("GET", "/v1/alerts?"),
    ("DELETE", "/v1/decisions?"),
    ("DELETE", "/v1/alerts/"),
    ("GET", "/"),
];

/// One ban that stands, and one that has ended.
struct Two;

fn ban(id: u64, target: &str) -> Decision {
    Decision {
        id,
        kind: DecisionKind::Ban,
        target: target.parse().unwrap(),
        direction: Direction::In,
        mode: Mode::Enforce,
        since: NOW,
        until: Some(NOW.plus(Duration::from_secs(3600))),
        origin: Origin { kind: OriginKind::Scenario, name: "ssh".into(), at: None },
        evidence: Vec::new(),
    }
}

impl Ledger for Two {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn tell(&self, _: Severity, message: String) {
        assert!(message.len() < 16 * 1024 && !message.contains(char::is_control), "{message:?}");
    }

    fn enforces(&self) -> bool {
        true
    }

    fn standing(&self, net: IpNet) -> Standing {
        let held: IpNet = "198.51.100.0/24".parse().unwrap();
        let bans = if held.contains(&net) { vec![ban(1, "198.51.100.0/24")] } else { Vec::new() };
        Standing { allowed: false, bans }
    }

    fn within(&self, _: IpNet) -> Vec<Decision> {
        Vec::new()
    }

    fn verdict(&self, _: IpAddr) -> Verdict {
        Verdict { blocked: false, reason: "not_listed".into() }
    }

    fn is_proxy(&self, _: IpAddr) -> bool {
        true
    }

    fn usual_ban(&self) -> Duration {
        Duration::from_secs(14_400)
    }

    async fn mark(&self) -> Result<u64, Refusal> {
        Ok(3)
    }

    async fn mark_before_ends(&self, _: Timestamp) -> Result<Option<u64>, Refusal> {
        Ok(Some(1))
    }

    async fn begun(&self, after: u64, _: bool) -> Result<Vec<Decision>, Refusal> {
        Ok(if after < 1 { vec![ban(1, "198.51.100.0/24")] } else { Vec::new() })
    }

    async fn ended(&self, after: (u64, u64)) -> Result<Vec<Change>, Refusal> {
        let over = Change { decision: ban(2, "192.0.2.7"), ended: Some((3, NOW)) };
        Ok(if after.0 < 3 { vec![over] } else { Vec::new() })
    }

    async fn allows_changed(&self, _: u64) -> Result<Vec<IpNet>, Refusal> {
        Ok(Vec::new())
    }

    async fn history(&self, _: u32) -> Result<Vec<Change>, Refusal> {
        Ok(vec![Change { decision: ban(1, "198.51.100.0/24"), ended: None }])
    }

    async fn ban(&self, decision: Decision) -> Result<u64, Refusal> {
        let evidence: usize = decision.evidence.iter().map(|seen| seen.text.len()).sum();
        assert!(evidence < 8 * 1024 && decision.origin.name.len() < 2048, "{decision:?}");
        assert!(!decision.origin.name.contains(char::is_control), "{decision:?}");
        assert!(matches!(decision.target, Target::Net(net) if net == net.trunc()), "{decision:?}");
        assert!(decision.until.is_some_and(|until| until >= decision.since), "{decision:?}");
        Ok(9)
    }

    async fn lift(&self, _: Target, _: &str) -> Result<usize, Refusal> {
        Ok(1)
    }

    async fn add_bouncer(&self, _: &Bouncer) -> Result<bool, Refusal> {
        Ok(true)
    }

    async fn keep_bouncer(&self, _: Bouncer) {}

    async fn remove_bouncer(&self, _: &ProgramName) -> Result<(), Refusal> {
        Ok(())
    }

    async fn add_machine(&self, _: &OrderingMachine) -> Result<bool, Refusal> {
        Ok(true)
    }

    async fn keep_machine(&self, _: OrderingMachine) -> Result<(), Refusal> {
        Ok(())
    }

    async fn remove_machine(&self, _: &ProgramName) -> Result<(), Refusal> {
        Ok(())
    }
}

struct World {
    runtime: Runtime,
    api: Api<Two>,
    token: String,
}

/// Passwords are slow: one login for all runs.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let api = Api::new(Arc::new(Two), Vec::new(), Vec::new());
    let token = runtime.block_on(async {
        api.add_bouncer("wall".parse().unwrap(), Some(KEY.into())).await.unwrap();
        api.add_machine("agent".parse().unwrap(), Some("secret".into())).await.unwrap();
        let body = br#"{"machine_id":"agent","password":"secret"}"#;
        let uri = "/v1/watchers/login".parse().unwrap();
        let from = IpAddr::from([10, 1, 0, 9]);
        let request =
            Request::new((hyper::Method::POST, &uri), hyper::HeaderMap::new(), body[..].into(), from);
        let reply = api.answer(&request.unwrap()).await;
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        json["token"].as_str().unwrap().to_owned()
    });
    World { runtime, api, token }
});

/// Every request has an answer, and what is JSON can be read.
pub(crate) fn request(data: &[u8]) {
    let (place, rest) = choice(data);
    let (method, path) = PLACES[place % PLACES.len()];
    let is_post = method == "POST";
    let text = String::from_utf8_lossy(rest);
    let Ok(uri) = (if is_post { path.parse() } else { format!("{path}{text}").parse::<hyper::Uri>() }) else {
        return;
    };
    let World { runtime, api, token } = &*WORLD;
    let mut headers = hyper::HeaderMap::new();
    headers.insert("X-Api-Key", KEY.parse().unwrap());
    headers.insert("Authorization", format!("Bearer {token}").parse().unwrap());
    if let Ok(value) = text.parse() {
        headers.insert("X-Forwarded-For", value);
    }
    let body = if is_post { rest.to_vec().into() } else { hyper::body::Bytes::new() };
    let method: hyper::Method = method.parse().unwrap();
    let reply = match Request::new((method, &uri), headers, body, IpAddr::from([10, 1, 0, 9])) {
        Ok(request) => runtime.block_on(api.answer(&request)),
        Err(reply) => reply,
    };
    assert!((200..=422).contains(&reply.status), "{}", reply.status);
    if !reply.body.is_empty() && !uri.path().contains("authz") {
        serde_json::from_slice::<serde_json::Value>(&reply.body).unwrap();
    }
}
