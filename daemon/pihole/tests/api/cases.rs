//! Requests and their answers, as data: `tests/cases/pihole`.

use hyper::{HeaderMap, Method, Uri, body::Bytes, header::HeaderName};
use pihole::{Api, Passwords, Reply, Request};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use crate::fake::Fake;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The hole: nothing special, `observe`, `no resolver`.
    #[serde(default)]
    hole: String,
    /// Begins with a login.
    #[serde(default = "yes")]
    inside: bool,
    steps: Vec<Step>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// `GET /api/groups`.
    ask: String,
    /// Seconds that pass before.
    #[serde(default)]
    after: u64,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    body: Option<String>,
    /// `SID` and `CSRF` stand for those of the last login.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Without the session's header.
    #[serde(default)]
    bare: bool,
    #[serde(default)]
    times: Option<u32>,
    status: u16,
    /// The whole answer; `"*"` stands for anything. None = no body.
    #[serde(default)]
    json: Option<String>,
    /// Headers of the answer that begin so.
    #[serde(default)]
    answered: BTreeMap<String, String>,
    /// What is told by it.
    #[serde(default)]
    told: Vec<String>,
}

struct World {
    hole: Arc<Fake>,
    api: Api<Fake>,
    session: Option<(String, String)>,
}

impl World {
    async fn ask(&mut self, step: &Step) -> Reply {
        let (method, uri) = step.ask.split_once(' ').unwrap();
        let uri: Uri = uri.parse().unwrap();
        let method: Method = method.parse().unwrap();
        let mut headers = HeaderMap::new();
        let (sid, csrf) = self.session.clone().unwrap_or_default();
        let filled = |text: &str| text.replace("SID", &sid).replace("CSRF", &csrf);
        if !step.bare && !sid.is_empty() {
            headers.insert("X-FTL-SID", sid.parse().unwrap());
        }
        for (name, value) in &step.headers {
            headers.insert(name.parse::<HeaderName>().unwrap(), filled(value).parse().unwrap());
        }
        let body = Bytes::from(filled(step.body.as_deref().unwrap_or_default()));
        let from = step.from.as_deref().unwrap_or("10.1.0.9").parse().unwrap();
        let uri: Uri = filled(&uri.to_string()).parse().unwrap();
        let request = match Request::new((method, &uri), headers, body, from) {
            Ok(request) => request,
            Err(reply) => return reply,
        };
        let reply = self.api.answer(&request).await;
        let session = reply.json.as_ref().and_then(|json| json.get("session")).cloned().unwrap_or_default();
        if let (Some(sid), Some(csrf)) = (session["sid"].as_str(), session["csrf"].as_str()) {
            self.session = Some((sid.to_owned(), csrf.to_owned()));
        }
        reply
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
        (Value::Number(expected), Value::Number(seen)) => expected.as_f64() == seen.as_f64(),
        (one, other) => one == other,
    }
}

async fn play(file: &Path, case: &Case) {
    let shown = |step: &Step| format!("{}: {}: {}", file.display(), case.name, step.ask);
    let hole = Arc::new(Fake::of(&case.hole));
    let api = Api::new(Arc::clone(&hole));
    api.set_passwords(Passwords::read("secret\nof an app\n").unwrap());
    let mut world = World { hole, api, session: None };
    if case.inside {
        let login: Step =
            toml::from_str("ask = 'POST /api/auth'\nbody = '{\"password\": \"secret\"}'\nstatus = 200\n")
                .unwrap();
        assert_eq!(world.ask(&login).await.status, 200);
    }
    for step in &case.steps {
        world.hole.step(std::time::Duration::from_secs(step.after));
        let mut reply = Reply { status: 0, json: None, headers: Vec::new() };
        for _ in 0..step.times.unwrap_or(1) {
            world.hole.told.lock().unwrap().clear();
            reply = world.ask(step).await;
        }
        let json = reply.json.clone().map(Value::Object);
        let text = json.as_ref().map(Value::to_string);
        assert_eq!(reply.status, step.status, "{}: {text:?}", shown(step));
        match (&step.json, &json) {
            (None, None) => {}
            (Some(expected), Some(seen)) => {
                let expected: Value = serde_json::from_str(expected).unwrap();
                assert!(like(&expected, seen), "{}:\nexpected {expected}\nseen     {seen}", shown(step));
            }
            (expected, seen) => panic!("{}: expected {expected:?}, seen {seen:?}", shown(step)),
        }
        for (name, value) in &step.answered {
            let found = reply.headers.iter().find(|(known, _)| known.as_str() == name);
            let found = found.map(|(_, value)| value.as_str()).unwrap_or_default();
            assert!(found.starts_with(value), "{}: {name}: {found}", shown(step));
        }
        assert_eq!(*world.hole.told.lock().unwrap(), step.told, "{}", shown(step));
    }
}

#[tokio::test]
async fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/pihole");
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
