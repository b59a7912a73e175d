//! Messages: what clients send, and what upstreams answer.

use hickory_proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{Name, RData, RecordType},
};
use model::Mode;
use resolver::{
    Answered, Asking, CacheSettings, ClientNetwork, Engine, Forwarder, Query, Settings, Sources, Transport,
    Trouble, Validation, Wanted, upstream::read_answer,
};
use std::{
    cell::RefCell,
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Mutex},
};
use tokio::runtime::{Builder, Runtime};

/// The upstream of a target: says what it was told to.
#[derive(Default)]
struct Told(Mutex<Option<Message>>);

impl Forwarder for Told {
    fn ask<'a>(&'a self, _: Wanted<'a>) -> Asking<'a> {
        let told = self.0.lock().unwrap().clone();
        Box::pin(async move {
            let message = told.ok_or_else(|| Trouble::Unreachable("nobody is asked here".into()))?;
            Ok(Answered { message, upstream: "upstream".into(), validated: Validation::Unchecked })
        })
    }
}

struct World {
    runtime: Runtime,
    engine: Arc<Engine>,
    upstream: Arc<Told>,
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 4, 0, 9));

impl World {
    fn new(cache: usize) -> Self {
        let mut lists = lists::DomainSetBuilder::new(1);
        lists
            .add("ads", Mode::Enforce, b"||ads.example^\n||big.example^$dnsrewrite=NOERROR;TXT;x\n")
            .unwrap();
        let sources = Sources::default();
        sources.lists.store(Arc::new(lists.finish()));
        let network =
            |net: &str| ClientNetwork { net: net.parse().unwrap(), zone: "iot".into(), resolved: true };
        let settings = Settings {
            clients: vec![network("10.0.0.0/8")],
            cache: CacheSettings { entries: cache, ..CacheSettings::default() },
            ..Settings::default()
        };
        let upstream = Arc::<Told>::default();
        let forwarder = Arc::clone(&upstream) as Arc<dyn Forwarder>;
        let engine = Arc::new(Engine::with_forwarder(settings, sources, forwarder, |_: &Query<'_>| {}));
        Self { runtime: Builder::new_current_thread().enable_time().build().unwrap(), engine, upstream }
    }

    fn answer(&self, bytes: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let answer = self.runtime.block_on(self.engine.answer(bytes, CLIENT, transport));
        self.engine.tell();
        answer
    }
}

thread_local! {
    static QUESTIONS: RefCell<World> = RefCell::new(World::new(100));
    static ANSWERS: RefCell<World> = RefCell::new(World::new(0));
}

/// A query: the first byte chooses how it comes.
pub(crate) fn question(data: &[u8]) {
    let (choice, bytes) = crate::choice(data);
    let transport = [Transport::Udp, Transport::Tcp, Transport::Encrypted][choice % 3];
    let Some(answer) = QUESTIONS.with_borrow(|world| world.answer(bytes, transport)) else { return };
    assert!(bytes.len() >= 12, "an answer to no header");
    assert_eq!(answer[..2], bytes[..2], "the id");
    assert_eq!(answer[2] & 0x80, 0x80, "an answer");
    assert_eq!(bytes[2] & 0x80, 0, "answers are not answered");
    if transport == Transport::Udp {
        assert!(answer.len() <= 1232, "{} bytes", answer.len());
    }
    let read = Message::from_vec(&answer).expect("what we say can be read");
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert!(read.queries.len() <= 1);
    if let (Some(said), Ok(asked)) = (read.queries.first(), Message::from_vec(bytes)) {
        let asked = asked.queries.first().expect("a question is not made up");
        assert_eq!(said.name.to_ascii(), asked.name.to_ascii(), "in the letters of the client");
        assert_eq!((said.query_type, said.query_class), (asked.query_type, asked.query_class));
    }
}

/// What an upstream answers to `www.example`: two bytes of type, then the message.
pub(crate) fn answer(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first_chunk::<2>() else { return };
    let qtype = RecordType::from(u16::from_be_bytes(kind));
    let name = Name::from_ascii("www.example.").unwrap();
    // Whoever forges it does not know the id; here it is always right.
    let Some(id) = bytes.first_chunk::<2>().map(|id| u16::from_be_bytes(*id)) else { return };
    let Some(message) = read_answer(&name, qtype, id, bytes) else { return };
    let mut known = HashSet::from([name.to_lowercase()]);
    for record in &message.answers {
        assert!(known.contains(&record.name.to_lowercase()), "{record} is about something else");
        if let RData::CNAME(alias) = &record.data {
            known.insert(alias.0.to_lowercase());
        }
    }
    let mut query = Message::query();
    query.metadata.id = 7;
    query.add_query(hickory_proto::op::Query::query(name, qtype));
    let query = query.to_vec().unwrap();
    ANSWERS.with_borrow(|world| {
        *world.upstream.0.lock().unwrap() = Some(message);
        // Past what is remembered of failures.
        world.engine.flush(None);
        for transport in [Transport::Udp, Transport::Tcp] {
            let Some(answer) = world.answer(&query, transport) else {
                panic!("no answer over {transport:?}")
            };
            let read = Message::from_vec(&answer).expect("what we say can be read");
            assert!(transport != Transport::Udp || answer.len() <= 512, "{} bytes", answer.len());
            for record in read.answers.iter().chain(&read.authorities) {
                assert!(
                    record.ttl <= 86_400 || read.metadata.response_code == ResponseCode::ServFail,
                    "{record}"
                );
            }
        }
    });
}
