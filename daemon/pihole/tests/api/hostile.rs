//! Any request gets an answer, and nobody who is not in gets anything out of it. What is kept is kept for a moment.

use hyper::{HeaderMap, Method, Uri, body::Bytes};
use pihole::{Api, Passwords, Reply, Request};
use proptest::prelude::*;
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::fake::Fake;

fn api() -> (Arc<Fake>, Api<Fake>) {
    let hole = Arc::new(Fake::of(""));
    let api = Api::new(Arc::clone(&hole));
    api.set_passwords(Passwords::read("secret").unwrap());
    (hole, api)
}

async fn ask(api: &Api<Fake>, method: &str, uri: &str, sid: &str, body: &[u8]) -> Option<Reply> {
    let uri: Uri = uri.parse().ok()?;
    let mut headers = HeaderMap::new();
    if let Ok(sid) = sid.parse() {
        headers.insert("sid", sid);
    }
    let body = Bytes::copy_from_slice(body);
    let from = "10.1.0.9".parse().unwrap();
    let method: Method = method.parse().unwrap();
    match Request::new((method, &uri), headers, body, from) {
        Ok(request) => Some(api.answer(&request).await),
        Err(reply) => Some(reply),
    }
}

async fn inside(api: &Api<Fake>) -> String {
    let reply = ask(api, "POST", "/api/auth", "", br#"{"password": "secret"}"#).await.unwrap();
    reply.json.unwrap()["session"]["sid"].as_str().unwrap().to_owned()
}

fn method() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
}

/// Paths of the API with something else at some place.
fn path() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "auth",
        "session",
        "sessions",
        "dns",
        "blocking",
        "domains",
        "domains:batchDelete",
        "allow",
        "deny",
        "exact",
        "regex",
        "groups",
        "lists",
        "clients",
        "_suggestions",
        "info",
        "version",
        "ftl",
        "system",
        "messages",
        "count",
        "action",
        "gravity",
        "stats",
        "database",
        "summary",
        "top_domains",
        "top_clients",
        "upstreams",
        "query_types",
        "recent_blocked",
        "history",
        "queries",
        "suggestions",
        "ads.example",
        "1",
        "%00",
        "%2e%2e",
        "..",
        "%F0%9F%90%88",
        "",
    ]);
    let parameter = prop::sample::select(vec![
        "from=0",
        "until=1790000000",
        "from=1e309",
        "until=-1",
        "count=0",
        "count=4294967295",
        "N=0",
        "n=-1",
        "length=-1",
        "length=1000000",
        "start=5000",
        "cursor=18446744073709551615",
        "cursor=0",
        "blocked=true",
        "domain=*",
        "client_ip=%25",
        "type=A",
        "status=GRAVITY",
        "reply=IP",
        "dnssec=x",
        "upstream=cache",
        "sid=",
        "x=%",
        "=",
    ]);
    (prop::collection::vec(word, 0..5), prop::collection::vec(parameter, 0..4))
        .prop_map(|(words, parameters)| format!("/api/{}?{}", words.join("/"), parameters.join("&")))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::sample::select(vec![
        "{}",
        "[]",
        "null",
        "{\"blocking\": true}",
        "{\"blocking\": false, \"timer\": 1e308}",
        "{\"domain\": [\"a.example\", \"b.example\"], \"groups\": [0]}",
        "{\"domain\": \"a.example\", \"comment\": 1}",
        "[{\"item\": \"a.example\", \"type\": \"deny\", \"kind\": \"exact\"}]",
        "[{\"item\": 1}]",
        "[[[[[[[[",
        "{\"password\": null}",
        "{\"type\": \"allow\"}",
        "{\"domain\": \"\\u0000.example\"}",
    ]);
    prop_oneof![
        json.prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(vec![b'['; 60_000]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_request_is_answered_and_gives_strangers_nothing(
        (method, path, body, sid) in (method(), path(), body(), "[ -~]{0,30}")
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (hole, api) = api();
            let Some(reply) = ask(&api, method, &path, &sid, &body).await else { return };
            let open = ["/api/info/login", "/api/info/client"].iter().any(|open| path.starts_with(open));
            assert!(matches!(reply.status, 400 | 401 | 404) || open && reply.status == 200, "{method} {path}: {reply:?}");
            assert!(hole.told.lock().unwrap().is_empty());
            let sid = inside(&api).await;
            let reply = ask(&api, method, &path, &sid, &body).await.unwrap();
            assert!(reply.status < 500 || reply.status == 501, "{method} {path}: {reply:?}");
            assert!(reply.json.is_some() || reply.status == 204, "{method} {path}: {reply:?}");
            // As it is sent it is of bounded size.
            let size = reply.json.map_or(0, |json| serde_json::Value::Object(json).to_string().len());
            assert!(size < 256 * 1024, "{method} {path}: {size}");
        });
    }
}

#[tokio::test]
async fn the_last_day_is_summed_up_once_for_a_page() {
    let (hole, api) = api();
    let sid = inside(&api).await;
    let page = [
        "/stats/summary",
        "/stats/top_domains?count=10",
        "/stats/top_clients",
        "/stats/upstreams",
        "/history",
    ];
    let draw = async || {
        for part in page {
            assert_eq!(ask(&api, "GET", &format!("/api{part}"), &sid, b"").await.unwrap().status, 200);
        }
        hole.summed_up.load(Relaxed)
    };
    assert_eq!((draw().await, draw().await), (1, 1));
    hole.step(Duration::from_secs(3));
    assert_eq!(draw().await, 2);
    // More than is kept is asked for alone.
    ask(&api, "GET", "/api/stats/top_clients?count=500", &sid, b"").await.unwrap();
    assert_eq!((hole.summed_up.load(Relaxed), draw().await), (3, 3));
}
