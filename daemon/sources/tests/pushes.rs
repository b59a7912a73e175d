//! Pushes as Loki's clients send them, over real connections. Protobuf is written by an encoder that shares nothing with
//! the reader; JSON goes through `curl` as well.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use common::{Bench, DEADLINE, program, source};
use prost::Message;
use sources::{SourceKind, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[derive(Clone, PartialEq, Message)]
struct Push {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    at: Option<At>,
    #[prost(string, tag = "2")]
    line: String,
}

#[derive(Clone, PartialEq, Message)]
struct At {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn loki(
    name: &str,
    senders: &str,
    labels: &[(&str, &str)],
    token_file: Option<PathBuf>,
) -> sources::SourceConfig {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (listen, senders) = ("127.0.0.1:0".parse().unwrap(), vec![senders.parse().unwrap()]);
    source(name, SourceKind::Loki { listen, senders, labels, token_file })
}

async fn start(configs: Vec<sources::SourceConfig>, room: usize) -> (Bench, SocketAddr) {
    let bench = Bench::start(configs, room, HashMap::new());
    bench.until(|status| status.listening.is_some()).await;
    let address = bench.handle.status()[0].listening.unwrap();
    (bench, address)
}

/// Sends a request and returns the status of the answer, 0 where the connection is closed instead.
async fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: gate\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    let sending = async {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(DEADLINE, sending).await.unwrap().unwrap_or_default();
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

const PUSH: &str = "/loki/api/v1/push";
const JSON: &str = "Content-Type: application/json\r\n";

fn json(job: &str, lines: &[&str]) -> String {
    let values: Vec<_> = lines.iter().map(|line| serde_json::json!(["1795456800123456789", line])).collect();
    serde_json::json!({"streams": [{"stream": {"job": job, "host": "a"}, "values": values}]}).to_string()
}

#[tokio::test]
async fn streams_go_to_the_first_source_whose_labels_they_have() {
    let configs = vec![
        loki("nginx", "127.0.0.0/8", &[("job", "nginx"), ("host", "a")], None),
        loki("others", "127.0.0.0/8", &[("host", "a")], None),
    ];
    let (mut bench, address) = start(configs, 64).await;
    assert_eq!(bench.handle.status()[1].listening, Some(address), "both share the listener");
    assert_eq!(post(address, PUSH, JSON, json("nginx", &["one", "two\nlines"]).as_bytes()).await, 204);
    let line = bench.line().await;
    assert_eq!((&*line.source, &line.bytes[..], line.trust), ("nginx", &b"one"[..], Trust::Tcp));
    assert_eq!(line.sender, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(line.written, Some(model::Timestamp(1_795_456_800_123_456)));
    assert_eq!(bench.text().await, "two#012lines");

    let at = Some(At { seconds: 1_795_456_800, nanos: 5_000 });
    let entries = vec![Entry { at, line: "from promtail".into() }];
    let labels = r#"{host="a", job="ssh\"d"}"#.to_owned();
    let push = Push { streams: vec![Stream { labels, entries, hash: 7 }] };
    let body = snap::raw::Encoder::new().compress_vec(&push.encode_to_vec()).unwrap();
    let protobuf = "Content-Type: application/x-protobuf\r\nX-Scope-OrgID: home\r\n";
    assert_eq!(post(address, PUSH, protobuf, &body).await, 204);
    let line = bench.line().await;
    assert_eq!((&*line.source, &line.bytes[..]), ("others", &b"from promtail"[..]));
    assert_eq!(line.written, Some(model::Timestamp(1_795_456_800_000_005)));

    let stranger = r#"{"streams":[{"stream":{"host":"b"},"values":[["1","x"]]}]}"#;
    assert_eq!(post(address, PUSH, JSON, stranger.as_bytes()).await, 204);
    bench.notice("no log takes the stream {host=\"b\"}").await;
    assert_eq!(post(address, "/loki/api/v1/query", JSON, b"{}").await, 404);
    assert_eq!(post(address, PUSH, JSON, b"{").await, 400);
    assert_eq!(post(address, PUSH, protobuf, b"\xff\xff").await, 400);
    assert_eq!(post(address, PUSH, JSON, &vec![b' '; sources::limits::MAX_PUSH + 1]).await, 413);
    assert!(bench.lines.try_recv().is_err());
    bench.handle.stop().await;
}

#[tokio::test]
async fn curl_sends_json_packed_and_plain() {
    let Some(_) = program("curl_sends_json_packed_and_plain", "curl") else { return };
    let (mut bench, address) = start(vec![loki("all", "127.0.0.0/8", &[], None)], 64).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("push.json");
    std::fs::write(&file, json("a", &["plain"])).unwrap();
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-fsS", "-H", "Content-Type: application/json", "--data-binary"]);
    curl.arg(format!("@{}", file.display())).arg(format!("http://{address}{PUSH}"));
    assert!(curl.status().await.unwrap().success());
    assert_eq!(bench.text().await, "plain");
    std::fs::write(&file, json("a", &["packed"])).unwrap();
    assert!(std::process::Command::new("gzip").arg(&file).status().unwrap().success());
    let mut curl = tokio::process::Command::new("curl");
    curl.args([
        "-fsS",
        "-H",
        "Content-Type: application/json",
        "-H",
        "Content-Encoding: gzip",
        "--data-binary",
    ]);
    curl.arg(format!("@{}.gz", file.display())).arg(format!("http://{address}{PUSH}"));
    assert!(curl.status().await.unwrap().success());
    assert_eq!(bench.text().await, "packed");
    bench.handle.stop().await;
}

#[tokio::test]
async fn only_who_may_send_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "secret\nsecond line\n").unwrap();
    let configs = vec![loki("all", "127.0.0.0/8", &[], Some(token.clone()))];
    let (mut bench, address) = start(configs, 64).await;
    let body = json("a", &["x"]);
    let with = |token: &str| format!("{JSON}Authorization: {token}\r\n");
    for wrong in [JSON.to_owned(), with("Bearer secre"), with("Bearer secrets"), with("Basic secret")] {
        assert_eq!(post(address, PUSH, &wrong, body.as_bytes()).await, 401, "{wrong}");
    }
    assert_eq!(post(address, PUSH, &with("bearer secret"), body.as_bytes()).await, 204);
    assert_eq!(bench.text().await, "x");
    std::fs::remove_file(&token).unwrap();
    assert_eq!(post(address, PUSH, &with("Bearer secret"), body.as_bytes()).await, 503);
    bench.notice("cannot be read").await;
    assert!(bench.handle.status()[0].refused >= 4 && bench.lines.try_recv().is_err());
    bench.handle.stop().await;

    let (mut bench, address) = start(vec![loki("all", "192.0.2.0/24", &[], None)], 64).await;
    assert_eq!(post(address, PUSH, JSON, body.as_bytes()).await, 0);
    bench.until(|status| status.refused == 1).await;
    assert!(bench.lines.try_recv().is_err());
    bench.handle.stop().await;
}

#[tokio::test]
async fn without_room_a_push_is_refused_and_what_was_taken_is_not_taken_twice() {
    let (mut bench, address) = start(vec![loki("all", "127.0.0.0/8", &[], None)], 2).await;
    let body = json("a", &["1", "2", "3", "4"]);
    assert_eq!(post(address, PUSH, JSON, body.as_bytes()).await, 503);
    assert_eq!((bench.text().await, bench.text().await), ("1".into(), "2".into()));
    assert_eq!(post(address, PUSH, JSON, body.as_bytes()).await, 204, "sent again, as clients do");
    assert_eq!((bench.text().await, bench.text().await), ("3".into(), "4".into()));
    assert_eq!(bench.handle.status()[0].lines, 4);
    bench.handle.stop().await;
}

#[tokio::test]
async fn a_change_of_sources_does_not_interrupt_the_listener() {
    let (mut bench, address) = start(vec![loki("a", "127.0.0.0/8", &[], None)], 64).await;
    let mut open = TcpStream::connect(address).await.unwrap();
    let configs = vec![loki("b", "127.0.0.0/8", &[("job", "b")], None), loki("a", "127.0.0.0/8", &[], None)];
    bench.handle.update(configs).await.unwrap();
    let body = json("b", &["kept"]);
    let head = format!("POST {PUSH} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: {}\r\n\r\n", body.len());
    open.write_all(head.as_bytes()).await.unwrap();
    open.write_all(body.as_bytes()).await.unwrap();
    let line = bench.line().await;
    assert_eq!((&*line.source, &line.bytes[..]), ("b", &b"kept"[..]));
    bench.handle.update(Vec::new()).await.unwrap();
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, closed).await.unwrap();
    bench.handle.stop().await;
}
