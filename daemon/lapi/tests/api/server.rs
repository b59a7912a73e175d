//! The API over real sockets.

use httpd::Server;
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    cases::{KEY, World},
    fake::Fake,
};

async fn server(admitted: bool) -> (Server<lapi::Api<Fake>>, SocketAddr, Arc<Fake>) {
    let World { ledger, api, .. } = World::new().await;
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(&[any], Arc::new(api), Arc::new(move |_| admitted)).await;
    let address = server.addresses()[0];
    (server, address, ledger)
}

async fn talk(address: SocketAddr, text: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    answer
}

fn ask(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: router\r\nX-Api-Key: {KEY}\r\nConnection: close\r\n{more}\r\n")
}

fn parts(answer: &[u8]) -> (String, Vec<u8>) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
}

#[tokio::test]
async fn a_body_is_compressed_for_whom_asks_and_for_nobody_else() {
    let (_server, address, ledger) = server(true).await;
    for last in 1..=200 {
        ledger.order(&format!("ban 192.0.2.{last} 4h scenario ssh"));
    }
    let path = "/v1/decisions/stream?startup=true";
    let (head, plain) = parts(&talk(address, &ask("GET", path, "")).await);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("content-encoding"), "{head}");
    assert!(head.contains("content-type: application/json; charset=utf-8"), "{head}");
    let (head, packed) = parts(&talk(address, &ask("GET", path, "Accept-Encoding: deflate, gzip\r\n")).await);
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(packed.len() * 4 < plain.len(), "{} of {}", packed.len(), plain.len());
    let mut unpacked = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    let values = |text: &str| {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        json["new"].as_array().unwrap().iter().map(|ban| ban["value"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(values(&unpacked).len(), 200);
    assert_eq!(values(&unpacked), values(std::str::from_utf8(&plain).unwrap()));
    let (head, _) = parts(&talk(address, &ask("GET", path, "Accept-Encoding: gzip;q=0\r\n")).await);
    assert!(!head.contains("content-encoding"), "{head}");
}

#[tokio::test]
async fn head_has_no_body_and_strangers_get_no_answer() {
    let (running, address, _) = server(true).await;
    let (head, body) = parts(&talk(address, &ask("HEAD", "/v1/decisions/stream", "")).await);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}");
    let (head, body) = parts(&talk(address, &ask("HEAD", "/v1/authz", "")).await);
    assert!(head.contains("x-secd-client: 127.0.0.1") && body.is_empty(), "{head}");
    running.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let (_server, address, _) = server(false).await;
    assert!(talk(address, &ask("GET", "/health", "")).await.is_empty());
}

#[tokio::test]
async fn what_is_too_large_is_refused_in_the_form_of_the_api() {
    let (_server, address, _) = server(true).await;
    let length = lapi::limits::MAX_BODY + 1;
    let head = ask("POST", "/v1/alerts", &format!("Content-Length: {length}\r\n"));
    let (head, body) = parts(&talk(address, &(head + &"x".repeat(length))).await);
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(body, br#"{"message":"the request is too large"}"#);
}

/// Strangers who hold their large bodies back delay other large bodies, and nobody else.
#[tokio::test(start_paused = true)]
async fn large_bodies_wait_for_their_turn_and_small_requests_do_not() {
    let (_server, address, _) = server(true).await;
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(ask("POST", "/v1/alerts", "Content-Length: 100000\r\n").as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let (head, _) = parts(&talk(address, &ask("GET", "/health", "")).await);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let body = " ".repeat(100_000);
    let large = ask("POST", "/v1/usage-metrics", "Content-Length: 100000\r\n") + &body;
    let (head, _) = parts(&talk(address, &large).await);
    assert!(head.starts_with("HTTP/1.1 400 ") || head.starts_with("HTTP/1.1 408 "), "{head}");
    for mut stream in slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    }
    // Their turns are free again.
    let (head, _) = parts(&talk(address, &large).await);
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
}
