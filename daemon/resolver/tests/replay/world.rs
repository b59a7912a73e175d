//! The resolver of a case with everything around it.

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Edns, Message, OpCode, Query as Asked, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType, rdata::opt::EdnsOption},
};
use lists::{
    Client, Clients, DomainKind, DomainSet, DomainSetBuilder, GroupSet, Overrides, Record, RecordData,
    YouTube,
};
use model::{Body, Decision, Direction, Event, Mode, Origin, OriginKind, Timestamp};
use resolver::{
    Answered, Asking, CacheSettings, ClientNetwork, Clock, Designated, Engine, Forwarder, Local, Now, Policy,
    Query, Rate, Rebinding, Resolved, Settings, Sink, Sources, Transport, Trouble, UpstreamSettings,
    Validation, Wanted, upstream::Forward,
};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};

use super::case::{Ask, Case, List, Order};
use crate::common::{self, Script};

/// The date at which every case starts.
const START: i64 = 1_800_000_000;

struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let micros = i64::try_from(passed.as_micros()).unwrap();
        Now { steady: Duration::from_secs(1000) + passed, date: Timestamp(START * 1_000_000 + micros) }
    }
}

/// The upstream: its script, and how often it was asked what.
struct Scripted {
    script: Script,
    asked: Mutex<HashMap<String, usize>>,
}

impl Forwarder for Scripted {
    fn ask<'a>(&'a self, wanted: Wanted<'a>) -> Asking<'a> {
        Box::pin(async move {
            let name = wanted.name.to_ascii();
            let qtype = match wanted.qtype {
                RecordType::Unknown(number) => format!("TYPE{number}"),
                known => known.to_string(),
            };
            let key = format!("{} {qtype}", name.trim_end_matches('.'));
            let times = {
                let mut asked = self.asked.lock().unwrap();
                let times = asked.entry(key.clone()).or_default();
                *times += 1;
                *times
            };
            let later = (2..=times).rev().find_map(|time| self.script.get(&format!("{key} #{time}")));
            let lines = later.or_else(|| self.script.get(&key)).cloned().unwrap_or_default();
            let mut message = Message::response(0, OpCode::Query);
            message.add_query(Asked::query(wanted.name.clone(), wanted.qtype));
            let mut validated = Validation::Unchecked;
            if lines.is_empty() {
                message.metadata.response_code = ResponseCode::NXDomain;
            }
            for line in &lines {
                match line.split_once(' ').unwrap_or((line, "")) {
                    ("unreachable", _) => return Err(Trouble::Unreachable("192.0.2.53 timed out".into())),
                    ("overload", _) => return Err(Trouble::Overload),
                    ("bogus", anchor) => {
                        let anchor = Name::from_ascii(anchor).unwrap();
                        return Err(Trouble::Bogus { ede: 6, cause: "a signature is wrong".into(), anchor });
                    }
                    ("slow", seconds) => sleep(Duration::from_secs(seconds.parse().unwrap())).await,
                    ("secure", _) => validated = Validation::Secure,
                    ("ede", rest) => {
                        let (code, text) = rest.split_once(' ').unwrap();
                        let data =
                            [&code.parse::<u16>().unwrap().to_be_bytes()[..], text.as_bytes()].concat();
                        let mut edns = Edns::new();
                        edns.options_mut().insert(EdnsOption::Unknown(15, data));
                        message.set_edns(edns);
                    }
                    _ => common::script_line(&mut message, wanted.name, line),
                }
            }
            Ok(Answered { message, upstream: "upstream".into(), validated })
        })
    }
}

/// What was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<(Vec<Event>, Vec<IpAddr>)>>);

impl Sink for Told {
    fn query(&self, query: &Query<'_>) {
        self.0.lock().unwrap().0.push(query.event());
    }

    fn resolved(&self, resolved: &Resolved<'_>) {
        self.0.lock().unwrap().1.extend(resolved.addresses);
    }
}

struct Groups(Vec<String>);

impl Groups {
    fn set(&self, names: &[String]) -> GroupSet {
        let mut set = GroupSet::NONE;
        for name in names {
            set.insert(
                self.0.iter().position(|known| known == name).unwrap_or_else(|| panic!("no group {name}")),
            );
        }
        set
    }
}

/// The lists in the order in which the daemon takes them.
fn domain_set(lists: &[List], case: &Case, groups: &Groups) -> DomainSet {
    let mut builder = DomainSetBuilder::new(5);
    let mut write = |name: String, kind, whom, texts: &[String]| {
        let texts = texts.iter().map(String::as_str).zip(1..);
        let report = builder.add_written(&name, kind, Mode::Enforce, whom, texts).unwrap();
        assert!(report.rejects.is_empty(), "{name}: {:?}", report.rejects);
    };
    write("dns.deny".into(), DomainKind::Block, GroupSet::ALL, &case.deny);
    for group in &case.group {
        let whom = groups.set(std::slice::from_ref(&group.name));
        write(format!("dns.groups.{}.allow", group.name), DomainKind::Allow, whom, &group.allow);
        write(format!("dns.groups.{}.deny", group.name), DomainKind::Block, whom, &group.deny);
    }
    for group in &case.group {
        let whom = groups.set(std::slice::from_ref(&group.name));
        for service in lists::services().iter().filter(|service| group.services.contains(&service.name)) {
            builder.add_service(service, group.mode, whom).unwrap();
        }
        if group.safe_search {
            builder.add_safe_search(whom, YouTube::Strict).unwrap();
        }
    }
    builder.add_probes().unwrap();
    for list in lists {
        let whom = if list.groups.is_empty() { GroupSet::DEFAULT } else { groups.set(&list.groups) };
        let format = list.format.as_deref().unwrap_or("auto").parse().unwrap();
        builder.add_as(&list.name, list.mode, whom, list.text.as_bytes(), &format).unwrap();
    }
    builder.add_allowed("dns.allow", case.allow.iter().zip(1..)).unwrap();
    builder.finish()
}

fn local(case: &Case, names: &BTreeMap<String, Vec<String>>) -> Local {
    let mut local = Local::new(case.domains.iter().map(String::as_str));
    for (name, values) in names {
        for value in values {
            local.insert(name, local_record(value)).unwrap();
        }
    }
    local
}

fn local_record(text: &str) -> Record {
    let (kind, data) = text.split_once(' ').unwrap();
    let mut words = data.split(' ');
    let mut number = || words.next().unwrap().parse().unwrap();
    let data = match kind {
        "A" => RecordData::A(data.parse().unwrap()),
        "AAAA" => RecordData::Aaaa(data.parse().unwrap()),
        "CNAME" => RecordData::Cname(data.into()),
        "PTR" => RecordData::Ptr(data.into()),
        "TXT" => RecordData::Txt([data.as_bytes().into()].into()),
        "SRV" => {
            let (priority, weight, port) = (number(), number(), number());
            RecordData::Srv { priority, weight, port, target: words.next().unwrap().into() }
        }
        other => panic!("no record {other}"),
    };
    data.into()
}

fn settings(case: &Case, groups: &Groups) -> Settings {
    let set = &case.set;
    let clients = case.client.iter().map(|(name, client)| {
        let who = client.who.iter().map(|who| who.parse().unwrap()).collect();
        (Client { name: name.as_str().into(), groups: groups.set(&client.groups) }, who)
    });
    let group = |name: &String| {
        let written = case.group.iter().find(|group| group.name == *name);
        lists::Group {
            blocking: written
                .and_then(|group| group.blocking.as_deref())
                .map_or(lists::Blocking::Null, |blocking| blocking.parse().unwrap()),
            mode: written.map_or_else(model::Mode::default, |group| group.mode),
            ..lists::Group::named(name)
        }
    };
    let network = |net: &str, zone: &str| ClientNetwork {
        net: net.parse().unwrap(),
        zone: zone.into(),
        resolved: set.resolved,
    };
    let plain = CacheSettings::default();
    let owned = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect();
    Settings {
        mode: case.mode,
        cache: CacheSettings {
            entries: set.cache_entries.unwrap_or(100),
            bytes: set.cache_bytes.unwrap_or(plain.bytes),
            min_ttl: set.min_ttl,
            max_ttl: set.max_ttl.unwrap_or(plain.max_ttl),
            negative_ttl: set.negative_ttl.unwrap_or(plain.negative_ttl),
            serve_stale: set.serve_stale,
            prefetch: set.prefetch,
        },
        clients: vec![
            network("10.4.0.0/16", "iot"),
            network("fd00:4::/32", "iot"),
            network("10.5.0.0/16", "home"),
        ],
        policy: Policy {
            clients: Clients::new(clients),
            groups: groups.0.iter().map(group).collect(),
            block_ttl: set.block_ttl.unwrap_or(10),
            ..Policy::default()
        },
        rebinding: Rebinding { protect: set.rebinding.unwrap_or(true), allow: owned(&set.rebind_allow) },
        rate: set.rate.map(|(interval, burst)| Rate { interval: Duration::from_secs_f64(interval), burst }),
        upstreams: UpstreamSettings {
            forwards: vec![Forward {
                names: set
                    .forwarded
                    .iter()
                    .map(|name| Name::from_ascii(format!("{name}.")).unwrap())
                    .collect(),
                to: Vec::new(),
                dnssec: false,
            }],
            ..UpstreamSettings::default()
        },
        designated: set.designated.as_ref().map(|(name, address, tls, https)| Designated {
            name: name.as_str().into(),
            addresses: vec![*address],
            tls: Some(*tls),
            https: Some((*https, "/dns-query{?dns}".into())),
        }),
        ..Settings::default()
    }
}

fn orders(orders: &[Order]) -> Overrides {
    let decisions: Vec<_> = orders
        .iter()
        .map(|order| Decision {
            id: order.id,
            kind: order.kind,
            target: order.target.clone(),
            direction: Direction::Both,
            mode: model::Mode::Enforce,
            since: Timestamp(0),
            until: order.until.map(|second| Timestamp((START + second) * 1_000_000)),
            origin: Origin { kind: OriginKind::Person, name: "root".into(), at: None },
            evidence: Vec::new(),
        })
        .collect();
    Overrides::new(&decisions)
}

/// The option of a cookie: the client's part, and what it had from the server.
fn cookie(word: &str, kept: Option<&[u8]>) -> Vec<u8> {
    const OURS: &[u8] = b"abcdefgh";
    match word {
        "client" => OURS.to_vec(),
        "kept" => [OURS, kept.expect("the answer before had a cookie")].concat(),
        "forged" => [OURS, &[1, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9]].concat(),
        hex => hex
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
            .collect(),
    }
}

fn query(ask: &Ask, kept: Option<&[u8]>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = ask.checking_disabled;
    message.metadata.authentic_data = ask.authentic;
    let name = Name::from_ascii(format!("{}.", ask.name.trim_end_matches('.'))).unwrap();
    let qtype = RecordType::from_str(&ask.qtype).ok();
    let qtype = qtype.or_else(|| lists::type_number(&ask.qtype).map(RecordType::from));
    let mut question = Asked::query(name, qtype.unwrap_or_else(|| panic!("no type {}", ask.qtype)));
    if let Some(class) = &ask.class {
        question.set_query_class(DNSClass::from_str(class).unwrap());
    }
    for _ in 0..ask.questions.unwrap_or(1) {
        message.add_query(question.clone());
    }
    if let Some(opcode) = ask.opcode {
        message.metadata.op_code = OpCode::from_u8(opcode);
    }
    if !ask.plain {
        let mut edns = Edns::new();
        edns.set_max_payload(ask.payload.unwrap_or(1232))
            .set_dnssec_ok(ask.dnssec)
            .set_version(ask.edns_version);
        if let Some(word) = &ask.cookie {
            edns.options_mut().insert(EdnsOption::Unknown(10, cookie(word, kept)));
        }
        if ask.padded {
            edns.options_mut().insert(EdnsOption::Unknown(12, vec![0; 20]));
        }
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

fn option(message: &Message, wanted: u16) -> Option<Vec<u8>> {
    message.edns.as_ref()?.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Unknown(code, data) if *code == wanted => Some(data.clone()),
        _ => None,
    })
}

fn transport(ask: &Ask) -> Transport {
    match ask.over.as_deref().unwrap_or("udp") {
        "udp" => Transport::Udp,
        "tcp" => Transport::Tcp,
        "encrypted" => Transport::Encrypted,
        other => panic!("no transport {other}"),
    }
}

/// Lets everything happen that can happen now.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

/// Runs a case.
pub(crate) async fn run(case: Case) {
    let groups = Groups(
        std::iter::once("default".to_owned())
            .chain(case.group.iter().map(|group| group.name.clone()).filter(|name| name != "default"))
            .collect(),
    );
    let lists = Arc::new(ArcSwap::from_pointee(domain_set(&case.list, &case, &groups)));
    let start = Instant::now();
    let sources = Sources {
        lists: Arc::clone(&lists),
        overrides: Arc::new(ArcSwap::from_pointee(orders(&case.order))),
        local: Arc::new(ArcSwap::from_pointee(local(&case, &case.local))),
        clock: Arc::new(TestClock(start)),
        ..Sources::default()
    };
    let (overrides, names) = (Arc::clone(&sources.overrides), Arc::clone(&sources.local));
    let upstream = Arc::new(Scripted { script: case.upstream.clone(), asked: Mutex::default() });
    let told = Told::default();
    let forwarder = Arc::clone(&upstream) as Arc<dyn Forwarder>;
    let engine = Arc::new(Engine::with_forwarder(settings(&case, &groups), sources, forwarder, told.clone()));
    let mut kept: Option<Vec<u8>> = None;
    for (number, ask) in case.ask.iter().enumerate() {
        let at = format!("{}, question {} ({} {})", case.name, number + 1, ask.name, ask.qtype);
        if let Some(second) = ask.at {
            let then = start + Duration::from_secs(second);
            assert!(then >= Instant::now(), "{at}: time does not go back");
            tokio::time::sleep_until(then).await;
        }
        if let Some(new) = &ask.lists {
            lists.store(Arc::new(domain_set(new, &case, &groups)));
        }
        if let Some(new) = &ask.orders {
            overrides.store(Arc::new(orders(new)));
        }
        if let Some(new) = &ask.local {
            names.store(Arc::new(local(&case, new)));
        }
        if let Some(names) = &ask.in_force {
            engine.set_in_force(groups.set(names));
        }
        if let Some(name) = &ask.flush {
            engine.flush(Some(name));
        }
        let client = ask.client.unwrap_or(IpAddr::from([10, 4, 0, 9]));
        let bytes = query(ask, kept.as_deref());
        for _ in 0..ask.after {
            engine.answer(&bytes, client, transport(ask)).await;
        }
        settle().await;
        engine.tell();
        *told.0.lock().unwrap() = Default::default();
        let answer = engine.answer(&bytes, client, transport(ask)).await;
        engine.tell();
        let (events, learned) = std::mem::take(&mut *told.0.lock().unwrap());
        check_answer(&at, ask, &bytes, answer.as_deref(), &mut kept);
        check_event(&at, ask, client, &events);
        if let Some(second) = ask.answered_at {
            assert_eq!(start.elapsed().as_secs(), second, "{at}: when it is answered");
        }
        if let Some(expected) = &ask.learned {
            assert_eq!(learned, *expected, "{at}: what the client learns");
        }
        if let Some(expected) = ask.asked {
            settle().await;
            assert_eq!(
                upstream.asked.lock().unwrap().values().sum::<usize>(),
                expected,
                "{at}: asked upstream"
            );
        }
    }
}

fn check_answer(at: &str, ask: &Ask, query: &[u8], answer: Option<&[u8]>, kept: &mut Option<Vec<u8>>) {
    let Some(bytes) = answer else {
        assert!(ask.silence, "{at}: no answer");
        return;
    };
    assert!(!ask.silence, "{at}: an answer");
    let message = Message::from_vec(bytes).unwrap_or_else(|error| panic!("{at}: {error}"));
    let asked = Message::from_vec(query).unwrap();
    assert_eq!(bytes[..2], query[..2], "{at}: id");
    if !message.queries.is_empty() {
        assert_eq!(message.queries, asked.queries, "{at}");
        let name = |message: &Message| message.queries[0].name.to_ascii();
        assert_eq!(name(&message), name(&asked), "{at}: letters");
    }
    assert_eq!(common::records(&message), ask.answers, "{at}");
    assert_eq!(common::extended(&message), ask.ede, "{at}");
    let flags = [
        ("tc", message.metadata.truncation),
        ("ad", message.metadata.authentic_data),
        ("cd", message.metadata.checking_disabled),
    ];
    let flags: Vec<_> = flags.into_iter().filter_map(|(word, set)| set.then_some(word)).collect();
    assert_eq!(flags.join(" "), ask.flags, "{at}: flags");
    assert!(message.metadata.recursion_available, "{at}");
    let limit = if ask.plain { 512 } else { ask.payload.unwrap_or(1232).max(512) };
    assert!(
        transport(ask) != Transport::Udp || bytes.len() <= usize::from(limit),
        "{at}: {} bytes",
        bytes.len()
    );
    assert!(message.edns.is_none() || !ask.plain, "{at}: EDNS is for those who speak it");
    if let Some(expected) = &ask.rcode {
        let code = match u16::from(message.metadata.response_code) {
            // In answers to clients; BADSIG has the same number.
            16 => "BADVERS".to_owned(),
            _ => format!("{:?}", message.metadata.response_code).to_uppercase(),
        };
        assert_eq!(code, *expected, "{at}");
    }
    if let Some(expected) = ask.ttl {
        let soa = message.authorities.iter().find(|record| matches!(record.data, RData::SOA(_)));
        let first = message.answers.first().or(soa);
        assert_eq!(first.map(|record| record.ttl), Some(expected), "{at}: TTL");
    }
    if let Some(expected) = ask.size {
        assert_eq!(bytes.len(), expected, "{at}: size");
    }
    let cookie = option(&message, 10);
    if let Some(expected) = ask.has_cookie {
        let ours =
            cookie.as_ref().is_some_and(|cookie| cookie.len() == 24 && cookie.starts_with(b"abcdefgh"));
        assert_eq!(ours, expected, "{at}: {cookie:?}");
    }
    if let Some(cookie) = cookie {
        *kept = cookie.get(8..).map(<[u8]>::to_vec);
    }
}

fn check_event(at: &str, ask: &Ask, client: IpAddr, events: &[Event]) {
    let Some(event) = events.last() else {
        assert!(ask.event.is_none() && ask.from.is_none(), "{at}: nothing was told");
        return;
    };
    assert_eq!(events.len(), 1, "{at}: {events:?}");
    let Body::Query { from, by, client: told, name, .. } = &event.body else { panic!("{at}: {event:?}") };
    let asked = if ask.name.is_empty() { ".".to_owned() } else { ask.name.to_ascii_lowercase() };
    assert_eq!((*told, name), (client.to_canonical(), &asked), "{at}");
    if let Some(expected) = &ask.event {
        let words = [Some(event.action.name()), event.reason.as_deref(), by.as_deref()];
        assert_eq!(words.into_iter().flatten().collect::<Vec<_>>().join(" "), *expected, "{at}");
    }
    if let Some(expected) = &ask.from {
        assert_eq!(from, expected, "{at}");
    }
}
