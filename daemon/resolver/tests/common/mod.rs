//! What the tests share: an upstream that answers from a script, a client, and a resolver between them.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "each test uses its part of it; helpers of tests"
)]

#[path = "../upstream/fake.rs"]
mod fake;

pub(crate) use fake::Fake;

use arc_swap::ArcSwap;
use fake::{By, bytes, name};
use hickory_proto::{
    op::{Edns, Message, OpCode, Query as Asked, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, CNAME, HTTPS, MX, SOA, SVCB, TXT,
            opt::EdnsOption,
            svcb::{IpHint, SvcParamKey, SvcParamValue},
        },
    },
};
use lists::{DomainSet, DomainSetBuilder, Overrides};
use model::{Event, Mode};
use resolver::{CacheSettings, ClientNetwork, Handle, Query, Resolver, Settings, Sources, UpstreamSettings};
use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Longer than anything should take; a wait that reaches it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What an upstream does when asked `NAME TYPE`; records as `TTL TYPE DATA`, or a word: `silent`, `servfail`, `refused`,
/// `nxdomain TTL`, `nodata TTL`, `truncated` (then the rest over TCP), `forged-id`, `forged-name` (then the rest).
pub(crate) type Script = BTreeMap<String, Vec<String>>;

fn record(owner: &Name, text: &str) -> Record {
    let mut words = text.split(' ');
    let ttl = words.next().unwrap().parse().unwrap();
    let (kind, data) = (words.next().unwrap(), words.next().unwrap_or_default());
    // `OWNER< TTL …` would be nicer, but an owner is needed for chains only: `TTL TYPE DATA OWNER`.
    let owner = words.next().map_or_else(|| owner.clone(), name);
    let data = match kind {
        "A" => RData::A(A(data.parse().unwrap())),
        "AAAA" => RData::AAAA(AAAA(data.parse().unwrap())),
        "CNAME" => RData::CNAME(CNAME(name(data))),
        "TXT" => RData::TXT(TXT::new(vec![data.repeat(200)])),
        "MX" => RData::MX(MX::new(10, name(data))),
        // `TARGET` or `TARGET,HINT,…`.
        "HTTPS" => {
            let mut parts = data.split(',');
            let target = name(parts.next().unwrap());
            let four: Vec<A> = parts.clone().filter_map(|part| part.parse().ok()).map(A).collect();
            let six: Vec<AAAA> = parts.filter_map(|part| part.parse().ok()).map(AAAA).collect();
            let mut parameters = Vec::new();
            if !four.is_empty() {
                parameters.push((SvcParamKey::Ipv4Hint, SvcParamValue::Ipv4Hint(IpHint(four))));
            }
            if !six.is_empty() {
                parameters.push((SvcParamKey::Ipv6Hint, SvcParamValue::Ipv6Hint(IpHint(six))));
            }
            RData::HTTPS(HTTPS(SVCB::new(1, target, parameters)))
        }
        other => panic!("no record type {other}"),
    };
    Record::from_rdata(owner, ttl, data)
}

/// Adds to an answer what a line of a script says: `servfail`, `refused`, `nxdomain TTL`, `nodata TTL`, or a record.
pub(crate) fn script_line(answer: &mut Message, asked: &Name, line: &str) {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("servfail", _) => answer.metadata.response_code = ResponseCode::ServFail,
        ("refused", _) => answer.metadata.response_code = ResponseCode::Refused,
        ("nxdomain" | "nodata", ttl) => {
            if line.starts_with("nx") {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            let soa = SOA::new(name("ns."), name("root."), 1, 2, 3, 4, ttl.parse().unwrap());
            answer.add_authority(Record::from_rdata(name("example."), 900, RData::SOA(soa)));
        }
        _ => {
            answer.add_answer(record(asked, line));
        }
    }
}

/// The answers to a query, in the order they are to be sent.
fn answers(script: &Script, query: &Message, by: By) -> Vec<Message> {
    let asked = &query.queries[0];
    let key = format!("{} {}", asked.name.to_lowercase().to_ascii().trim_end_matches('.'), asked.query_type);
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = true;
    answer.add_query(asked.clone());
    let mut answers = Vec::new();
    let Some(lines) = script.get(&key) else {
        answer.metadata.response_code = ResponseCode::NXDomain;
        return vec![answer];
    };
    for line in lines {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("silent", _) => return Vec::new(),
            ("truncated", _) => {
                if by == By::Udp {
                    answer.metadata.truncation = true;
                    return vec![answer];
                }
            }
            ("forged-id", _) => {
                let mut forged = answer.clone();
                forged.metadata.id ^= 1;
                forged.add_answer(record(&asked.name, "300 A 203.0.113.66"));
                answers.push(forged);
            }
            ("forged-name", _) => {
                let mut forged = answer.clone();
                forged.queries[0].name = name("other.example.");
                forged.add_answer(record(&asked.name, "300 A 203.0.113.66"));
                answers.push(forged);
            }
            _ => script_line(&mut answer, &asked.name, line),
        }
    }
    answers.push(answer);
    answers
}

/// An upstream that answers from a script, over UDP and TCP.
pub(crate) async fn upstream(script: Script) -> Fake {
    Fake::start(move |query, by| answers(&script, query, by).iter().map(bytes).collect()).await
}

/// An address where nobody listens.
pub(crate) async fn dead() -> SocketAddr {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

/// A resolver under test with everything that can be changed about it.
pub(crate) struct Bench {
    pub(crate) handle: Handle,
    pub(crate) address: SocketAddr,
    pub(crate) lists: Arc<ArcSwap<DomainSet>>,
    pub(crate) overrides: Arc<ArcSwap<Overrides>>,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

/// Settings that listen on loopback and answer loopback clients as zone `iot`.
pub(crate) fn settings(upstreams: Vec<SocketAddr>) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        upstreams: asked(upstreams),
        cache: CacheSettings { entries: 1000, serve_stale: 0, ..CacheSettings::default() },
        clients: vec![network("127.0.0.0/8", "iot")],
        ..Settings::default()
    }
}

/// Settings that ask these, as plain as can be.
pub(crate) fn asked(upstreams: Vec<SocketAddr>) -> UpstreamSettings {
    let servers = upstreams.into_iter().map(Into::into).collect();
    UpstreamSettings { servers, dnssec: false, ..UpstreamSettings::default() }
}

/// A network whose clients are answered.
pub(crate) fn network(net: &str, zone: &str) -> ClientNetwork {
    ClientNetwork { net: net.parse().unwrap(), zone: zone.into(), resolved: false }
}

/// One list called `ads`.
pub(crate) fn ads(text: &str) -> DomainSet {
    let mut builder = DomainSetBuilder::new(1);
    if !text.is_empty() {
        builder.add("ads", Mode::Enforce, text.as_bytes()).unwrap();
    }
    builder.finish()
}

impl Bench {
    pub(crate) async fn start(settings: Settings, set: DomainSet) -> Self {
        let lists = Arc::new(ArcSwap::from_pointee(set));
        let overrides: Arc<ArcSwap<Overrides>> = Arc::default();
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = {
            let events = Arc::clone(&events);
            move |query: &Query<'_>| events.lock().unwrap().push(query.event())
        };
        let sources =
            Sources { lists: Arc::clone(&lists), overrides: Arc::clone(&overrides), ..Sources::default() };
        let handle = Resolver::start(settings, sources, sink).await.unwrap();
        let address = handle.addresses().await[0];
        Self { handle, address, lists, overrides, events }
    }

    pub(crate) async fn ask(&self, name: &str, qtype: &str) -> Message {
        exchange_udp(self.address, &query(name, qtype, Some(1232))).await
    }

    pub(crate) fn last_event(&self) -> Event {
        self.handle.tell();
        self.events.lock().unwrap().last().cloned().unwrap()
    }
}

/// A query with recursion desired; EDNS with this payload.
pub(crate) fn query(asked: &str, qtype: &str, payload: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let qtype = RecordType::from_str(qtype).unwrap();
    message.add_query(Asked::query(name(&format!("{}.", asked.trim_end_matches('.'))), qtype));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

pub(crate) async fn send_udp(to: SocketAddr, bytes: &[u8]) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(to).await.unwrap();
    socket.send(bytes).await.unwrap();
    socket
}

pub(crate) async fn receive_udp(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    buffer.truncate(length);
    buffer
}

pub(crate) async fn exchange_udp(to: SocketAddr, query: &Message) -> Message {
    let socket = send_udp(to, &query.to_vec().unwrap()).await;
    let answer = Message::from_vec(&receive_udp(&socket).await).unwrap();
    assert_eq!(answer.metadata.id, query.metadata.id);
    assert_eq!(answer.queries, query.queries);
    answer
}

pub(crate) async fn send_tcp(stream: &mut TcpStream, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.unwrap();
}

pub(crate) async fn receive_tcp(stream: &mut TcpStream) -> Message {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("an answer in time").unwrap();
    let mut bytes = vec![0; usize::from(length)];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("the rest in time").unwrap();
    Message::from_vec(&bytes).unwrap()
}

/// Answer records as `TYPE DATA`.
pub(crate) fn records(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| match &record.data {
            RData::A(A(address)) => format!("A {address}"),
            RData::AAAA(AAAA(address)) => format!("AAAA {address}"),
            RData::CNAME(target) => format!("CNAME {}", target.0),
            other => format!("{} {other}", record.record_type()),
        })
        .collect()
}

/// The extended error as `CODE TEXT`.
pub(crate) fn extended(message: &Message) -> Option<String> {
    message.edns.as_ref()?.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(15, data) => {
            let (code, text) = data.split_first_chunk::<2>()?;
            Some(format!("{} {}", u16::from_be_bytes(*code), String::from_utf8_lossy(text)))
        }
        _ => None,
    })
}

/// Scripts of several upstreams by number, started.
pub(crate) async fn upstreams(scripts: Vec<Script>) -> Vec<Fake> {
    let mut started = Vec::new();
    for script in scripts {
        started.push(upstream(script).await);
    }
    started
}

/// A script from pairs.
pub(crate) fn script(lines: &[(&str, &[&str])]) -> Script {
    let lines: HashMap<&str, &[&str]> = lines.iter().copied().collect();
    lines
        .into_iter()
        .map(|(key, lines)| (key.to_owned(), lines.iter().map(|&line| line.to_owned()).collect()))
        .collect()
}
