//! The receiver over HTTP, by requests written by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use loki_receiver::{Fault, Limits, Receiver};
use std::{
    net::SocketAddr,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

async fn request(address: SocketAddr, head: &str, body: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer may come, and the connection end, before all of the body is read.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

const PUSH: &str = "POST /loki/api/v1/push HTTP/1.1\r\nContent-Type: application/x-protobuf";

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![(number << 3) | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push((length as u8 & 0x7f) | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

fn push(labels: &str, lines: &[&str]) -> Vec<u8> {
    let mut seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut timestamp = vec![1 << 3];
    while seconds >= 0x80 {
        timestamp.push((seconds as u8 & 0x7f) | 0x80);
        seconds >>= 7;
    }
    timestamp.push(seconds as u8);
    let mut stream = field(1, labels.as_bytes());
    for line in lines {
        stream.extend(field(2, &[field(1, &timestamp), field(2, line.as_bytes())].concat()));
    }
    snap::raw::Encoder::new().compress_vec(&field(1, &stream)).unwrap()
}

async fn receiver() -> Receiver {
    Receiver::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

#[tokio::test]
async fn a_good_push_is_204_and_can_be_asked_for() {
    let receiver = receiver().await;
    let address = receiver.address();
    assert_eq!(request(address, "GET /ready HTTP/1.1", b"").await, (200, "ready\n".into()));
    let (status, message) = request(address, PUSH, &push("{kind=\"a\"}", &["one", "two"])).await;
    assert_eq!((status, message.as_str()), (204, ""));
    assert_eq!(request(address, PUSH, &push("{kind=\"b\"}", &["three"])).await.0, 204);
    let (_, body) = request(address, "GET /entries?kind=a HTTP/1.1", b"").await;
    let found: serde_json::Value = serde_json::from_str(&body).unwrap();
    let lines: Vec<_> =
        found.as_array().unwrap().iter().map(|entry| entry["line"].as_str().unwrap()).collect();
    assert_eq!(lines, ["one", "two"]);
    assert!(
        receiver
            .wait(Duration::from_secs(10), |pushes, entries| pushes.len() == 2 && entries.len() == 3)
            .await
    );
}

#[tokio::test]
async fn what_loki_refuses_is_refused() {
    let receiver = receiver().await;
    let address = receiver.address();
    let good = push("{kind=\"a\"}", &["one"]);
    let json = PUSH.replace("x-protobuf", "json");
    assert_eq!(request(address, &json, &good).await.0, 415);
    let gzip = format!("{PUSH}\r\nContent-Encoding: gzip");
    assert_eq!(request(address, &gzip, &good).await.0, 400);
    assert_eq!(request(address, PUSH, b"not snappy").await.0, 400);
    let not_protobuf = snap::raw::Encoder::new().compress_vec(b"\xff\xff").unwrap();
    assert_eq!(request(address, PUSH, &not_protobuf).await.0, 400);
    let too_long = snap::raw::Encoder::new().compress_vec(&vec![0; 7 * 1024 * 1024]).unwrap();
    assert_eq!(request(address, PUSH, &too_long).await.0, 413);
    assert_eq!(request(address, PUSH, &push("{}", &["one"])).await.0, 400);
    assert_eq!(receiver.entries().len(), 0);
    // Partial: the good line of a push with a bad one is kept.
    let long = "x".repeat(Limits::default().line_bytes + 1);
    let (status, message) = request(address, PUSH, &push("{kind=\"a\"}", &["good", &long])).await;
    assert!(status == 400 && message.contains("262145"), "{status} {message}");
    assert_eq!(receiver.entries().len(), 1);
}

#[tokio::test]
async fn faults_hold_as_long_as_they_should() {
    let receiver = receiver().await;
    let good = push("{kind=\"a\"}", &["one"]);
    receiver.set_fault(Fault::TooMany, Some(2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(request(receiver.address(), PUSH, &good).await.0);
    }
    receiver.set_fault(Fault::KeptButFailed, None);
    statuses.push(request(receiver.address(), PUSH, &good).await.0);
    assert_eq!(statuses, [429, 429, 204, 500]);
    assert_eq!(receiver.entries().len(), 2);
}

#[tokio::test]
async fn the_program_writes_its_port_and_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let (port_file, record) = (folder.path().join("port"), folder.path().join("record.jsonl"));
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_loki-receiver"))
        .arg("--port-file")
        .arg(&port_file)
        .arg("--record")
        .arg(&record)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let told =
        tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.unwrap().unwrap().unwrap();
    let address: SocketAddr = std::fs::read_to_string(&port_file).unwrap().trim().parse().unwrap();
    assert_eq!(told, format!("listening on http://{address}"));
    assert_eq!(request(address, PUSH, &push("{kind=\"a\"}", &["one"])).await.0, 204);
    let recorded = std::fs::read_to_string(&record).unwrap();
    let entry: serde_json::Value = serde_json::from_str(recorded.trim()).unwrap();
    assert_eq!((entry["line"].as_str(), entry["labels"]["kind"].as_str()), (Some("one"), Some("a")));
}
