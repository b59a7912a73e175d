//! FTP: its data connections are followed by conntrack's helper where a rule or a forward is about FTP.

use crate::town::{A, PATIENCE, Pair, Town, WAN, allow, connect, forward, listen, policy, refused, tcp};
use enforce::nft::Wall;
use kernel_tests::Namespace;
use model::Protocol;
use policy::ServiceMatch;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
};

/// A line of the control connection, sent by one end and read by the other: the router may change it on its way.
fn say(from: &mut TcpStream, to: &TcpStream, line: &str) -> String {
    from.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut heard = String::new();
    BufReader::new(to).read_line(&mut heard).unwrap();
    heard.trim_end().to_owned()
}

/// `h1,h2,h3,h4,p1,p2` of RFC 959.
fn numbers(address: SocketAddr) -> String {
    let SocketAddr::V4(v4) = address else { panic!("{address} is not IPv4") };
    let ([a, b, c, d], [high, low]) = (v4.ip().octets(), v4.port().to_be_bytes());
    format!("{a},{b},{c},{d},{high},{low}")
}

fn address(line: &str) -> SocketAddr {
    let digits: String = line.chars().skip(4).map(|c| if c.is_ascii_digit() { c } else { ' ' }).collect();
    let numbers: Vec<u8> = digits.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let [a, b, c, d, high, low] = numbers[..] else { panic!("no address in `{line}`") };
    SocketAddrV4::new([a, b, c, d].into(), u16::from_be_bytes([high, low])).into()
}

fn control(server: &TcpListener, client: &Namespace, to: &str) -> Pair {
    let mut pair = Pair::silent(server, connect(client, to));
    assert_eq!(say(&mut pair.far, &pair.near, "220 ready"), "220 ready");
    // The helper reads on from the first end of a line that it has seen.
    assert_eq!(say(&mut pair.near, &pair.far, "USER anonymous"), "USER anonymous");
    pair
}

/// The server connects to where the client says it listens; both ends live.
fn data(listener: &TcpListener, from: &Namespace, to: SocketAddr) {
    Pair::open(listener, connect(from, &to.to_string()));
}

#[test]
fn ftp_works_through_masquerade_and_forward() {
    let Some(town) = Town::new("ftp") else { return };
    let (server, inner) = (listen(&town.outside, "192.0.2.254:21"), listen(&town.host, "10.1.0.5:21"));
    let mut wall = Wall::default();
    let forwards = vec![forward(&[tcp(2121)], "10.1.0.5", Some(21))];
    let helped = policy(vec![allow(A, WAN, "ftp", &[tcp(21)])], forwards);
    town.apply(&mut wall, &helped);
    if !wall.notes().is_empty() {
        eprintln!("SKIP: ftp_works_through_masquerade_and_forward: {}", wall.notes().join("; "));
        return;
    }

    // Active, from behind masquerade: the server opens the data connection, to the address the router wrote.
    let mut pair = control(&server, &town.host, "192.0.2.254:21");
    let listener = listen(&town.host, "10.1.0.5:0");
    let told = numbers(listener.local_addr().unwrap());
    let heard = say(&mut pair.near, &pair.far, &format!("PORT {told}"));
    let to = address(&heard);
    assert_eq!(to.ip().to_string(), "192.0.2.1", "{heard}");
    data(&listener, &town.outside, to);

    // Passive, to a server behind a forward: the client goes where the router wrote.
    let mut pair = control(&inner, &town.outside, "192.0.2.1:2121");
    let listener = listen(&town.host, "10.1.0.5:0");
    let told = numbers(listener.local_addr().unwrap());
    let heard = say(&mut pair.far, &pair.near, &format!("227 Entering Passive Mode ({told})."));
    let to = address(&heard);
    assert_eq!(to.ip().to_string(), "192.0.2.1", "{heard}");
    data(&listener, &town.outside, to);
    // Only what was announced is open.
    let another = listen(&town.host, "10.1.0.5:0");
    let port = another.local_addr().unwrap().port();
    refused(connect(&town.outside, &format!("192.0.2.1:{port}")));
    refused(connect(&town.outside, &format!("10.1.0.5:{port}")));

    // The port of a range that leads there, and by hairpin from another zone.
    let several = forward(&[ServiceMatch::new(Protocol::TCP, 2120, 2122)], "10.1.0.5", Some(20));
    town.apply(&mut wall, &policy(vec![], vec![several]));
    for client in [&town.outside, &town.other] {
        let mut pair = control(&inner, client, "192.0.2.1:2121");
        let listener = listen(&town.host, "10.1.0.5:0");
        let told = numbers(listener.local_addr().unwrap());
        let heard = say(&mut pair.far, &pair.near, &format!("227 Entering Passive Mode ({told})."));
        let to = address(&heard);
        assert_eq!(to.ip().to_string(), "192.0.2.1", "{heard}");
        data(&listener, client, to);
    }

    // A service of the same port that nobody calls FTP is not followed.
    town.apply(&mut wall, &policy(vec![allow(A, WAN, "other", &[tcp(21)])], vec![]));
    let mut pair = control(&server, &town.host, "192.0.2.254:21");
    let listener = listen(&town.host, "10.1.0.5:0");
    let told = numbers(listener.local_addr().unwrap());
    let heard = say(&mut pair.near, &pair.far, &format!("PORT {told}"));
    assert_eq!(heard, format!("PORT {told}"));
    refused(connect(&town.outside, &listener.local_addr().unwrap().to_string()));
    assert!(pair.near.read_timeout().unwrap() == Some(PATIENCE));
}
