//! Requests and their answers, as data: `tests/cases/lapi`.

use hyper::{HeaderMap, Method, Uri, body::Bytes, header::HeaderName};
use lapi::{Api, Reply, Request};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use crate::fake::Fake;

/// The key of the bouncer `wall`.
pub(crate) const KEY: &str = "correct-horse-battery-staple";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Seconds that pass before.
    #[serde(default)]
    after: u64,
    /// What is ordered then; see `Fake::order`.
    #[serde(default)]
    order: Vec<String>,
    /// `GET /v1/decisions`.
    ask: String,
    /// `bouncer` (by its key), `machine` (by its token), or nobody.
    #[serde(default, rename = "as")]
    who: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    times: Option<u32>,
    status: u16,
    /// The whole answer; `"*"` stands for anything. None = no JSON.
    #[serde(default)]
    json: Option<String>,
    /// The whole answer, where it is text.
    #[serde(default)]
    text: Option<String>,
    /// Headers of the answer.
    #[serde(default)]
    answered: BTreeMap<String, String>,
    /// What is told or ordered by it.
    #[serde(default)]
    told: Vec<String>,
    /// How far the bouncer is told afterwards.
    #[serde(default)]
    mark: Option<u64>,
}

pub(crate) struct World {
    pub(crate) ledger: Arc<Fake>,
    pub(crate) api: Api<Fake>,
    pub(crate) token: String,
}

impl World {
    /// With the bouncer `wall` and the machine `agent`, which is logged in.
    pub(crate) async fn new() -> Self {
        let ledger = Arc::new(Fake::default());
        let api = Api::new(Arc::clone(&ledger), Vec::new(), Vec::new());
        api.add_bouncer("wall".parse().unwrap(), Some(KEY.into())).await.unwrap();
        api.add_machine("agent".parse().unwrap(), Some("secret".into())).await.unwrap();
        let mut world = Self { ledger, api, token: String::new() };
        let step: Step = toml::from_str(
            "ask = 'POST /v1/watchers/login'\nbody = '{\"machine_id\": \"agent\", \"password\": \"secret\"}'\nstatus = 200\n",
        )
        .unwrap();
        let reply = world.ask(&step).await;
        let json: Value = serde_json::from_slice(&reply.body).unwrap();
        world.token = json["token"].as_str().unwrap().to_owned();
        world
    }

    async fn ask(&self, step: &Step) -> Reply {
        let (method, uri) = step.ask.split_once(' ').unwrap();
        let (method, uri): (Method, Uri) = (method.parse().unwrap(), uri.parse().unwrap());
        let mut headers = HeaderMap::new();
        match step.who.as_deref() {
            Some("bouncer") => drop(headers.insert("X-Api-Key", KEY.parse().unwrap())),
            Some("machine") => {
                headers.insert("Authorization", format!("Bearer {}", self.token).parse().unwrap());
            }
            Some(other) => panic!("nobody is {other}"),
            None => {}
        }
        for (name, value) in &step.headers {
            headers.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let body = Bytes::from(step.body.clone().unwrap_or_default());
        let from = step.from.as_deref().unwrap_or("10.1.0.9").parse().unwrap();
        match Request::new((method, &uri), headers, body, from) {
            Ok(request) => self.api.answer(&request).await,
            Err(reply) => reply,
        }
    }
}

fn like(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::String(any), _) if any == "*" => true,
        (Value::Object(expected), Value::Object(seen)) => {
            expected.len() == seen.len()
                && expected.iter().all(|(key, value)| seen.get(key).is_some_and(|seen| like(value, seen)))
        }
        (Value::Array(expected), Value::Array(seen)) => {
            expected.len() == seen.len() && expected.iter().zip(seen).all(|(one, other)| like(one, other))
        }
        (one, other) => one == other,
    }
}

async fn play(file: &Path, case: &Case) {
    let world = World::new().await;
    for (number, step) in case.steps.iter().enumerate() {
        let shown = format!("{}: {}: step {}: {}", file.display(), case.name, number + 1, step.ask);
        world.ledger.step(Duration::from_secs(step.after));
        for order in &step.order {
            world.ledger.order(order);
        }
        let mut reply = Reply::default();
        for _ in 0..step.times.unwrap_or(1) {
            world.ledger.told.lock().unwrap().clear();
            reply = world.ask(step).await;
        }
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert_eq!(reply.status, step.status, "{shown}: {text}");
        match (&step.json, &step.text) {
            (Some(expected), None) => {
                let expected: Value =
                    serde_json::from_str(expected).unwrap_or_else(|error| panic!("{shown}: {error}"));
                let seen: Value =
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{shown}: {error}: {text}"));
                assert!(like(&expected, &seen), "{shown}:\nexpected {expected}\nseen     {seen}");
            }
            (None, expected) => assert_eq!(&text, expected.as_deref().unwrap_or_default(), "{shown}"),
            (Some(_), Some(_)) => panic!("{shown}: text or JSON"),
        }
        for (name, value) in &step.answered {
            let found = reply.headers.iter().find(|(known, _)| known.as_str() == name);
            assert_eq!(found.map(|(_, value)| value), Some(value), "{shown}: {name}");
        }
        assert_eq!(*world.ledger.told.lock().unwrap(), step.told, "{shown}");
        if step.mark.is_some() {
            assert_eq!(world.ledger.marks(), [step.mark], "{shown}");
        }
    }
}

#[tokio::test]
async fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/lapi");
    let mut played = 0;
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let cases: File = toml::from_str(&fs::read_to_string(&file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for case in &cases.case {
            play(&file, case).await;
            played += 1;
        }
    }
    assert!(played > 20, "only {played} cases were found");
}
