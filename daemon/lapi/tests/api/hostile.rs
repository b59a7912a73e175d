//! Requests that nobody should send.

use hyper::{HeaderMap, Method, Uri, body::Bytes};
use lapi::{
    Reply, Request,
    limits::{MAX_ALERTS, MAX_ORDERS, MAX_PARAMETERS, MAX_PENDING, MAX_WORDS},
};
use proptest::prelude::*;
use std::sync::LazyLock;
use tokio::runtime::Runtime;

use crate::cases::{KEY, World};

/// Passwords are slow: one world for all of them.
static WORLD: LazyLock<(Runtime, World)> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    world.ledger.order("ban 192.0.2.7 4h scenario ssh");
    (runtime, world)
});

fn ask(method: &str, path: &str, body: Vec<u8>, token: &str) -> Option<Reply> {
    let (runtime, world) = &*WORLD;
    let uri: Uri = path.parse().ok()?;
    let mut headers = HeaderMap::new();
    headers.insert("X-Api-Key", KEY.parse().unwrap());
    headers.insert("Authorization", format!("Bearer {token}").parse().ok()?);
    let method: Method = method.parse().unwrap();
    let request = Request::new((method, &uri), headers, Bytes::from(body), "10.1.0.9".parse().unwrap());
    Some(match request {
        Ok(request) => runtime.block_on(world.api.answer(&request)),
        Err(reply) => reply,
    })
}

fn token() -> &'static str {
    &WORLD.1.token
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_path_is_answered(
        method in "GET|HEAD|DELETE",
        path in "/(v1/)?(decisions|decisions/stream|alerts|authz|health|[a-z0-9%./-]{0,12})(/[0-9a-z-]{0,20})?",
        query in "([a-z_]{1,12}=[0-9a-f:./,%A-Z-]{0,20}&?){0,4}",
    ) {
        if let Some(reply) = ask(&method, &format!("{path}?{query}"), Vec::new(), token()) {
            prop_assert!((200..=405).contains(&reply.status), "{}", reply.status);
        }
    }

    #[test]
    fn any_body_is_answered(
        path in "/v1/(alerts|usage-metrics)",
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let reply = ask("POST", &path, body, token()).unwrap();
        prop_assert!((400..=422).contains(&reply.status), "{}", reply.status);
    }

    #[test]
    fn any_alert_is_answered(
        scope in "(?i)ip|range|Country|[a-z\u{0}-\u{7f}]{0,8}",
        value in "[0-9a-f:./]{0,20}",
        duration in "-?[0-9.]{0,22}(h|ms|s|d|y)?",
        text in any::<String>(),
    ) {
        let alert = serde_json::json!([{
            "scenario": text, "message": text, "source": { "scope": scope, "value": value },
            "decisions": [{ "duration": duration, "scope": scope, "type": "ban", "value": value }],
            "events": [{ "timestamp": text, "meta": [{ "key": text, "value": text }] }],
        }]);
        let reply = ask("POST", "/v1/alerts", alert.to_string().into_bytes(), token()).unwrap();
        prop_assert!(matches!(reply.status, 201 | 400), "{}", reply.status);
    }

    #[test]
    fn any_token_is_refused(token in "[A-Za-z0-9_.=-]{0,80}") {
        prop_assert_eq!(ask("GET", "/v1/heartbeat", Vec::new(), &token).unwrap().status, 401);
    }
}

#[test]
fn long_lists_are_refused() {
    let many = "ip=192.0.2.7&".repeat(MAX_PARAMETERS + 1);
    assert_eq!(ask("GET", &format!("/v1/decisions?{many}"), Vec::new(), "").unwrap().status, 400);
    let words = "x,".repeat(MAX_WORDS + 1);
    assert_eq!(ask("GET", &format!("/v1/decisions?scopes={words}"), Vec::new(), "").unwrap().status, 400);
    let alert = r#"{"scenario":"s","source":{"scope":"Ip","value":"192.0.2.7"}},"#.repeat(MAX_ALERTS + 1);
    let body = format!("[{}]", alert.trim_end_matches(','));
    assert_eq!(ask("POST", "/v1/alerts", body.into_bytes(), token()).unwrap().status, 400);
    let order = r#"{"duration":"4h","scope":"Ip","type":"ban","value":"192.0.2.7"},"#.repeat(MAX_ORDERS + 1);
    let orders = order.trim_end_matches(',');
    let body = format!(
        r#"[{{"scenario":"s","source":{{"scope":"Ip","value":"192.0.2.7"}},"decisions":[{orders}]}}]"#
    );
    assert_eq!(ask("POST", "/v1/alerts", body.into_bytes(), token()).unwrap().status, 400);
    let deep = "[".repeat(100_000).into_bytes();
    assert_eq!(ask("POST", "/v1/alerts", deep, token()).unwrap().status, 400);
}

#[tokio::test]
async fn machines_that_wait_to_be_let_in_are_few() {
    let world = World::new().await;
    let register = async |number: usize| {
        let body = format!("{{\"machine_id\": \"m{number}\", \"password\": \"p\"}}");
        let uri: Uri = "/v1/watchers".parse().unwrap();
        let from = "10.1.0.9".parse().unwrap();
        let request = Request::new((Method::POST, &uri), HeaderMap::new(), body.into(), from).unwrap();
        world.api.answer(&request).await.status
    };
    for number in 0..MAX_PENDING {
        assert_eq!(register(number).await, 201);
    }
    assert_eq!(register(MAX_PENDING).await, 403);
    world.api.validate_machine(&"m0".parse().unwrap()).await.unwrap();
    assert_eq!(register(MAX_PENDING).await, 201);
}

#[tokio::test]
async fn a_deleted_bouncer_or_machine_gets_in_no_more() {
    let world = World::new().await;
    let ask = async |header: &'static str, value: String, path: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header, value.parse().unwrap());
        let uri: Uri = path.parse().unwrap();
        let from = "10.1.0.9".parse().unwrap();
        let request = Request::new((Method::GET, &uri), headers, Bytes::new(), from).unwrap();
        world.api.answer(&request).await.status
    };
    let bearer = format!("Bearer {}", world.token);
    assert_eq!(ask("X-Api-Key", KEY.into(), "/v1/decisions").await, 200);
    assert_eq!(ask("Authorization", bearer.clone(), "/v1/heartbeat").await, 200);
    world.api.remove_bouncer(&"wall".parse().unwrap()).await.unwrap();
    world.api.remove_machine(&"agent".parse().unwrap()).await.unwrap();
    assert_eq!(ask("X-Api-Key", KEY.into(), "/v1/decisions").await, 403);
    assert_eq!(ask("Authorization", bearer, "/v1/heartbeat").await, 401);
    assert_eq!(world.api.remove_bouncer(&"wall".parse().unwrap()).await.unwrap_err().status, 404);
    assert_eq!(
        world.api.add_bouncer("x".parse().unwrap(), Some("short".into())).await.unwrap_err().status,
        400
    );
    let key = world.api.add_bouncer("x".parse().unwrap(), None).await.unwrap();
    assert_eq!(key.len(), 43);
    assert_eq!(world.api.add_bouncer("x".parse().unwrap(), None).await.unwrap_err().status, 409);
    assert_eq!(ask("X-Api-Key", key, "/v1/decisions").await, 200);
}
