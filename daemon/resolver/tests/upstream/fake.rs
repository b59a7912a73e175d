//! An upstream that answers as a test wants it, over UDP and TCP.

use hickory_proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use resolver::upstream::{Answered, Ask, Clock, Server, Trouble, UpstreamSettings, Upstreams};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    time::Instant,
};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Udp,
    Tcp,
}

/// What is sent back for a query, datagram by datagram or frame by frame.
pub(crate) type Behaviour = dyn Fn(&Message, By) -> Vec<Vec<u8>> + Send + Sync;

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) udp: Arc<AtomicUsize>,
    pub(crate) tcp: Arc<AtomicUsize>,
    /// TCP connections.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Ids and source ports of datagrams.
    pub(crate) seen: Arc<Mutex<Vec<(u16, u16)>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

impl Fake {
    pub(crate) async fn start(
        behaviour: impl Fn(&Message, By) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (socket, listener) = loop {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()).await {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let (udp, tcp, connections): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>) =
            Default::default();
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let by_udp = {
            let (behaviour, udp, seen) = (Arc::clone(&behaviour), Arc::clone(&udp), Arc::clone(&seen));
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    udp.fetch_add(1, SeqCst);
                    let query = Message::from_vec(&buffer[..length]).unwrap();
                    seen.lock().unwrap().push((query.metadata.id, from.port()));
                    for bytes in behaviour(&query, By::Udp) {
                        let _ = socket.send_to(&bytes, from).await;
                    }
                }
            })
        };
        let by_tcp = {
            let (tcp, connections) = (Arc::clone(&tcp), Arc::clone(&connections));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    connections.fetch_add(1, SeqCst);
                    let (behaviour, tcp) = (Arc::clone(&behaviour), Arc::clone(&tcp));
                    tokio::spawn(async move {
                        while let Ok(length) = stream.read_u16().await {
                            let mut query = vec![0; length.into()];
                            stream.read_exact(&mut query).await.unwrap();
                            tcp.fetch_add(1, SeqCst);
                            for bytes in behaviour(&Message::from_vec(&query).unwrap(), By::Tcp) {
                                let _ = stream.write_all(&frame(&bytes)).await;
                            }
                        }
                    });
                }
            })
        };
        Self { address, udp, tcp, connections, seen, tasks: vec![by_udp, by_tcp] }
    }

    pub(crate) fn asked(&self) -> (usize, usize) {
        (self.udp.load(SeqCst), self.tcp.load(SeqCst))
    }
}

pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// An answer to a query without records.
pub(crate) fn empty(query: &Message, code: ResponseCode) -> Message {
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = code;
    answer.add_query(query.queries[0].clone());
    answer
}

pub(crate) fn address(owner: &Name, last: u8) -> Record {
    Record::from_rdata(owner.clone(), 300, RData::A(A::new(192, 0, 2, last)))
}

/// An answer with an address.
pub(crate) fn positive(query: &Message, last: u8) -> Message {
    let mut answer = empty(query, ResponseCode::NoError);
    answer.add_answer(address(&query.queries[0].name, last));
    answer
}

pub(crate) fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// An upstream that always gives this address.
pub(crate) async fn always(last: u8) -> Fake {
    Fake::start(move |query, _| vec![bytes(&positive(query, last))]).await
}

/// An upstream that never answers.
pub(crate) async fn silent() -> Fake {
    Fake::start(|_, _| Vec::new()).await
}

/// The system's clock, set.
pub(crate) fn clock() -> Clock {
    Arc::new(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
    })
}

pub(crate) fn settings(servers: &[&Fake]) -> UpstreamSettings {
    UpstreamSettings {
        servers: servers.iter().map(|fake| Server::from(fake.address)).collect(),
        ..UpstreamSettings::default()
    }
}

pub(crate) fn upstreams(settings: &UpstreamSettings) -> Upstreams {
    Upstreams::new(settings, clock())
}

pub(crate) async fn ask(upstreams: &Upstreams, asked: &str, qtype: RecordType) -> Result<Answered, Trouble> {
    ask_with(upstreams, asked, qtype, false).await
}

pub(crate) async fn ask_with(
    upstreams: &Upstreams,
    asked: &str,
    qtype: RecordType,
    checking_disabled: bool,
) -> Result<Answered, Trouble> {
    let asked = name(asked);
    let ask = Ask {
        name: &asked,
        qtype,
        class: hickory_proto::rr::DNSClass::IN,
        dnssec_ok: false,
        checking_disabled,
        deadline: Instant::now() + Duration::from_secs(20),
    };
    upstreams.ask(&ask).await
}

/// The last parts of the addresses in an answer.
pub(crate) fn lasts(answered: &Answered) -> Vec<u8> {
    answered
        .message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(address.octets()[3]),
            _ => None,
        })
        .collect()
}
