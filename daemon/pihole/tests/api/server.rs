//! Clients that are slow, greedy or not wanted, over real sockets.

use httpd::Server;
use pihole::{
    Api, Passwords,
    limits::{BODY_WITHIN, HEAD_WITHIN, MAX_BODY, MAX_CONNECTIONS_EACH, MAX_HEAD, MAX_HEADERS},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use crate::fake::Fake;

async fn server(admitted: bool) -> (Server<Api<Fake>>, SocketAddr) {
    let api = Arc::new(Api::new(Arc::new(Fake::of(""))));
    api.set_passwords(Passwords::read("secret").unwrap());
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(&[any], api, Arc::new(move |_| admitted)).await;
    let address = server.addresses()[0];
    (server, address)
}

/// Sends, and reads until the other side closes.
async fn talk(address: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may have closed before all of it was sent.
    stream.write_all(text).await.ok();
    rest_of(&mut stream).await
}

async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

fn login(more: &str) -> String {
    let body = "{\"password\": \"secret\"}";
    format!("POST /api/auth HTTP/1.1\r\nHost: router\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_request_is_answered_as_json_that_nobody_keeps() {
    let (server, address) = server(true).await;
    let answer = talk(address, login("Connection: close\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in ["content-type: application/json; charset=utf-8", "cache-control: no-store"] {
        assert!(answer.contains(header), "{answer}");
    }
    assert!(!answer.to_ascii_lowercase().contains("access-control"), "{answer}");
    let json: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert!(json["session"]["valid"] == true && json["took"].as_f64().unwrap() >= 0.0, "{json}");
    server.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn whoever_is_not_admitted_is_told_nothing() {
    let (_server, address) = server(false).await;
    assert_eq!(talk(address, login("").as_bytes()).await, "");
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let (_server, address) = server(true).await;
    let long = format!("GET /api/auth HTTP/1.1\r\nHost: router\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    assert!(talk(address, long.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET /api/auth HTTP/1.1\r\n{}\r\n", "X: 1\r\n".repeat(MAX_HEADERS + 1));
    assert!(talk(address, many.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let head = format!("POST /api/auth HTTP/1.1\r\nHost: router\r\nContent-Length: {}\r\n\r\n", MAX_BODY + 1);
    assert!(talk(address, (head + &"x".repeat(MAX_BODY + 1)).as_bytes()).await.starts_with("HTTP/1.1 413 "));
    // Nobody said how long it will be.
    let head = "POST /api/auth HTTP/1.1\r\nHost: router\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let chunks = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(MAX_BODY / 0x1000 + 1);
    assert!(talk(address, (head + &chunks).as_bytes()).await.starts_with("HTTP/1.1 413 "));
    assert!(
        talk(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
}

/// The clock is the runtime's and stands: while every task waits, it is set to the next deadline. So these are times that
/// the server waits for, however long the test takes.
#[tokio::test(start_paused = true)]
async fn whoever_is_slow_is_not_waited_for() {
    let (_server, address) = server(true).await;
    let begun = Instant::now();
    assert_eq!(talk(address, b"GET /api/auth HTTP/1.1\r\nHost: rou").await, "");
    assert!((HEAD_WITHIN..2 * HEAD_WITHIN).contains(&begun.elapsed()));
    let begun = Instant::now();
    let head = "POST /api/auth HTTP/1.1\r\nHost: router\r\nContent-Length: 22\r\n\r\n{\"pass";
    let answer = talk(address, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!((BODY_WITHIN..2 * HEAD_WITHIN).contains(&begun.elapsed()));
    // Nothing at all.
    assert_eq!(talk(address, b"").await, "");
}

#[tokio::test]
async fn a_source_has_so_many_connections_and_no_more() {
    let (server, address) = server(true).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS_EACH {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // It is taken in once it is answered.
        stream.write_all(login("").as_bytes()).await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        held.push(stream);
    }
    assert_eq!(talk(address, login("").as_bytes()).await, "");
    drop(held.pop());
    // Its place is free as soon as the other side has seen that.
    let mut answer = String::new();
    for _ in 0..1000 {
        answer = talk(address, login("Connection: close\r\n").as_bytes()).await;
        if !answer.is_empty() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    server.stop().await;
    // Those that were held are closed.
    for mut stream in held {
        rest_of(&mut stream).await;
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_listened_on_leaves_the_others() {
    let api = Arc::new(Api::new(Arc::new(Fake::of(""))));
    // The first is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = [taken.local_addr().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let mut server = Server::start(&listen, api, Arc::new(|_| true)).await;
    assert_eq!((server.addresses().len(), server.unopened().len()), (1, 1));
    assert_eq!(server.unopened()[0].0, listen[0]);
    drop(taken);
    server.retry().await;
    assert_eq!((server.addresses().len(), server.unopened().len()), (2, 0));
    assert!(talk(listen[0], login("Connection: close\r\n").as_bytes()).await.starts_with("HTTP/1.1 401 "));
}
