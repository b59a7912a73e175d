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

use arc_swap::{ArcSwap, ArcSwapOption};
use fake::{By, bytes, name};
use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query as Asked, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{
            A, AAAA, CNAME, HTTPS, MX, SOA, SVCB, TXT,
            opt::EdnsOption,
            svcb::{IpHint, SvcParamKey, SvcParamValue},
        },
    },
};
use lists::{DomainSet, DomainSetBuilder, Overrides};
use model::{Event, Mode};
use resolver::{
    CacheSettings, Certificate, ClientNetwork, Handle, Query, Resolver, Settings, Sources, UpstreamSettings,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

/// Longer than anything should take; a wait that reaches it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What an upstream does when asked `NAME TYPE`; records as `TTL TYPE DATA`, or a word: `silent`, `servfail`, `refused`,
/// `nxdomain TTL`, `nodata TTL`, `truncated` (then the rest over TCP). Before the rest something else is sent over UDP by `forged-id`,
/// `forged-name`, `forged-type`, `forged-class`, `forged-letters`, `forged-operation`, `forged-query`, `forged-questions`,
/// `nothing`, `half`. The rest is changed by `authority OWNER`, `additional OWNER` (a record that is about something else),
/// `chain COUNT` (aliases, then an address), `loop`, `many COUNT`, `twice`. Instead of it comes `garbage COUNT` (bytes behind
/// the header), `pointer-to-itself`, `pointer-ahead`, `more-than-there-is`.
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

/// What is sent to a query, in this order.
fn answers(script: &Script, query: &Message, by: By) -> Vec<Vec<u8>> {
    let asked = &query.queries[0];
    let key = format!("{} {}", asked.name.to_lowercase().to_ascii().trim_end_matches('.'), asked.query_type);
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.authentic_data = true;
    answer.add_query(asked.clone());
    let mut sent = Vec::new();
    let Some(lines) = script.get(&key) else {
        answer.metadata.response_code = ResponseCode::NXDomain;
        return vec![bytes(&answer)];
    };
    let (mut times, mut ending) = (1, None);
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "silent" => return Vec::new(),
            "truncated" => {
                if by == By::Udp {
                    answer.metadata.truncation = true;
                    return vec![bytes(&answer)];
                }
            }
            // Nobody stands between us and a stream.
            forgery
                if by == By::Tcp
                    && (forgery.starts_with("forged-") || matches!(forgery, "nothing" | "half")) => {}
            "nothing" => sent.push(Vec::new()),
            "half" => {
                let whole = bytes(&forged(&answer, |_| {}));
                sent.push(whole[..whole.len() / 2].to_vec());
            }
            "twice" => times = 2,
            "authority" => drop(answer.add_authority(record(&name(rest), "300 A 203.0.113.66"))),
            "additional" => drop(answer.add_additional(record(&name(rest), "300 A 203.0.113.66"))),
            "chain" => {
                let count: usize = rest.parse().unwrap();
                let hop = |number: usize| {
                    if number == 0 { asked.name.clone() } else { name(&format!("hop{number}.example.")) }
                };
                for number in 0..count {
                    answer.add_answer(Record::from_rdata(
                        hop(number),
                        300,
                        RData::CNAME(CNAME(hop(number + 1))),
                    ));
                }
                answer.add_answer(record(&hop(count), "300 A 192.0.2.1"));
            }
            "loop" => {
                for (owner, target) in
                    [(asked.name.clone(), name("b.example.")), (name("b.example."), asked.name.clone())]
                {
                    answer.add_answer(Record::from_rdata(owner, 300, RData::CNAME(CNAME(target))));
                }
            }
            "many" => {
                for number in 0..rest.parse().unwrap() {
                    let address = RData::A(A::new(
                        192,
                        0,
                        2 + u8::try_from(number / 256).unwrap(),
                        u8::try_from(number % 256).unwrap(),
                    ));
                    answer.add_answer(Record::from_rdata(asked.name.clone(), 300, address));
                }
            }
            "garbage" | "pointer-to-itself" | "pointer-ahead" | "more-than-there-is" => {
                ending = Some((word, rest))
            }
            forgery if forgery.starts_with("forged-") => {
                sent.push(bytes(&forged(&answer, |message| match forgery {
                    "forged-id" => message.metadata.id ^= 1,
                    "forged-name" => message.queries[0].name = name("other.example."),
                    "forged-type" => drop(message.queries[0].set_query_type(RecordType::TXT)),
                    "forged-class" => drop(message.queries[0].set_query_class(DNSClass::CH)),
                    "forged-letters" => {
                        let turned = |c: char| {
                            if c.is_ascii_lowercase() {
                                c.to_ascii_uppercase()
                            } else {
                                c.to_ascii_lowercase()
                            }
                        };
                        message.queries[0].name =
                            name(&asked.name.to_ascii().chars().map(turned).collect::<String>());
                    }
                    "forged-operation" => message.metadata.op_code = OpCode::Notify,
                    "forged-query" => message.metadata.message_type = MessageType::Query,
                    "forged-questions" => message.queries.clear(),
                    other => panic!("no forgery {other}"),
                })))
            }
            _ => script_line(&mut answer, &asked.name, line),
        }
    }
    let whole = match ending {
        None => bytes(&answer),
        Some((how, rest)) => damaged(&bytes(&answer), how, rest),
    };
    sent.extend(std::iter::repeat_n(whole, times));
    sent
}

/// An answer that would be believed but for this change.
fn forged(answer: &Message, change: impl FnOnce(&mut Message)) -> Message {
    let mut forged = answer.clone();
    forged.add_answer(record(&answer.queries[0].name, "300 A 203.0.113.66"));
    change(&mut forged);
    forged
}

/// An answer whose header and question are right, and nothing else.
fn damaged(answer: &[u8], how: &str, rest: &str) -> Vec<u8> {
    let mut bytes = answer.to_vec();
    let end = u16::try_from(bytes.len()).unwrap();
    let tail = b"\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x01";
    let pointer = |to: u16| (0xc000 | to).to_be_bytes();
    match how {
        "garbage" => {
            bytes[7] = 1;
            bytes.extend(
                (0..rest.parse().unwrap()).map(|number: u32| (number.wrapping_mul(0x9e37_79b9) >> 24) as u8),
            );
        }
        "pointer-to-itself" => {
            bytes[7] = 1;
            bytes.extend([&pointer(end)[..], tail].concat());
        }
        "pointer-ahead" => {
            bytes[7] = 1;
            bytes.extend([&pointer(end + 2)[..], &pointer(end), tail].concat());
        }
        "more-than-there-is" => bytes[6..8].copy_from_slice(&[0xff, 0xff]),
        other => panic!("no damage {other}"),
    }
    bytes
}

/// An upstream that answers from a script, over UDP and TCP.
pub(crate) async fn upstream(script: Script) -> Fake {
    Fake::start(move |query, by| answers(&script, query, by)).await
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
    pub(crate) certificate: Arc<ArcSwapOption<Certificate>>,
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
        let certificate: Arc<ArcSwapOption<Certificate>> = Arc::default();
        let sources = Sources {
            lists: Arc::clone(&lists),
            overrides: Arc::clone(&overrides),
            certificate: Arc::clone(&certificate),
            ..Sources::default()
        };
        let handle = Resolver::start(settings, sources, sink).await.unwrap();
        let address = handle.addresses().await[0];
        Self { handle, address, lists, overrides, certificate, events }
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

pub(crate) async fn send_tcp(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await.unwrap();
    stream.flush().await.unwrap();
}

pub(crate) async fn receive_tcp(stream: &mut (impl AsyncRead + Unpin)) -> Message {
    Message::from_vec(&receive_frame(stream).await).unwrap()
}

pub(crate) async fn receive_frame(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let length = timeout(PATIENCE, stream.read_u16()).await.expect("an answer in time").unwrap();
    let mut bytes = vec![0; usize::from(length)];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("the rest in time").unwrap();
    bytes
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
