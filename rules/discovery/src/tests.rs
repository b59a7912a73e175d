//! The cases of `tests/cases/discovery`: what is said on a link, and what others then hear.

use proptest::prelude::*;
use serde::Deserialize;
use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    Dropped, Group, Link, Packet, Reflector, Scope, Send, To, Way,
    limits::{LINK_RATE, REPEAT_WINDOW, SOURCE_RATE},
    wire::{A, AAAA, ANY, Data, Message, PTR, Question, Record, SRV, TXT, tests::messages, tests::name},
};

/// The links of all cases: number, zone, networks. The router has `.1` and `::1` of each.
const LINKS: [(&str, &[&str]); 3] = [
    ("management", &["10.10.0.0/24", "fd00:10::/64"]),
    ("iot", &["10.40.0.0/24", "fd00:40::/64"]),
    ("guest", &["10.5.0.0/24", "fd00:5::/64"]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// Zones that find each other's services; printers by default.
    #[serde(default)]
    zones: Vec<String>,
    #[serde(default)]
    services: Vec<String>,
    #[serde(default)]
    ssdp: bool,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    /// Milliseconds since the case began; as the step before if left out.
    at: Option<u64>,
    /// The zone.
    on: String,
    from: SocketAddr,
    /// An mDNS message: a question, or an answer.
    ask: Option<Vec<String>>,
    say: Option<Vec<String>>,
    #[serde(default)]
    id: u16,
    /// An SSDP message to everybody, or to who searched; lines without the empty one.
    ssdp: Option<Vec<String>>,
    reply: Option<Vec<String>>,
    /// What others hear.
    #[serde(default)]
    heard: Vec<String>,
    /// Why nobody hears anything.
    dropped: Option<String>,
}

fn link(zone: &str) -> usize {
    LINKS.iter().position(|(name, _)| *name == zone).unwrap_or_else(|| panic!("no zone {zone}"))
}

fn reflector(zones: &[String], services: &[String], ssdp: bool) -> Reflector {
    let links = LINKS.map(|(zone, networks)| Link {
        zone: zone.into(),
        networks: networks.iter().map(|net| net.parse().unwrap()).collect(),
    });
    let or = |texts: &[String], usual: &[&str]| match texts {
        [] => usual.iter().map(ToString::to_string).collect(),
        texts => texts.to_vec(),
    };
    let group = Group {
        links: or(zones, &["management", "iot"]).iter().map(|zone| link(zone)).collect(),
        services: or(services, &["_ipp._tcp"]).iter().map(|service| service.parse().unwrap()).collect(),
        ssdp,
    };
    let own = ["10.10.0.1", "10.40.0.1", "10.5.0.1", "fe80::1"].map(|address| address.parse().unwrap());
    Reflector::new(links.into(), &[group], own, (1, 2))
}

const KINDS: [(&str, u16); 6] =
    [("A", A), ("AAAA", AAAA), ("PTR", PTR), ("SRV", SRV), ("TXT", TXT), ("ANY", ANY)];

fn kind(text: &str) -> u16 {
    KINDS.iter().find(|(name, _)| *name == text).unwrap_or_else(|| panic!("no kind {text}")).1
}

fn kind_name(kind: u16) -> &'static str {
    KINDS.iter().find(|(_, number)| *number == kind).unwrap().0
}

/// `PTR a b`, `SRV a PORT b`, `TXT a text`, `A a address`; `+` in front is an additional one, `gone` behind has no time.
fn record(text: &str) -> Record {
    let (text, ttl) = text.strip_suffix(" gone").map_or((text, 120), |text| (text, 0));
    let words: Vec<&str> = text.split(' ').collect();
    let data = match words[0] {
        "A" => Data::A(words[2].parse().unwrap()),
        "AAAA" => Data::Aaaa(words[2].parse().unwrap()),
        "PTR" => Data::Ptr(name(words[2])),
        "SRV" => {
            Data::Srv { priority: 0, weight: 0, port: words[2].parse().unwrap(), target: name(words[3]) }
        }
        "TXT" => Data::Txt([&[u8::try_from(words[2].len()).unwrap()], words[2].as_bytes()].concat()),
        other => panic!("no record {other}"),
    };
    let flush = !matches!(data, Data::Ptr(_));
    Record { name: name(words[1]), flush, ttl, data }
}

fn message(lines: &[String], response: bool, id: u16) -> Vec<u8> {
    let mut message = Message { id, response, ..Message::default() };
    for line in lines {
        match line.split_once(' ').unwrap() {
            ("?", rest) => {
                let (kind_text, of) = rest.split_once(' ').unwrap();
                message.questions.push(Question { name: name(of), kind: kind(kind_text) });
            }
            ("+", rest) => message.additionals.push(record(rest)),
            (_, _) => message.answers.push(record(line)),
        }
    }
    message.write().unwrap()
}

fn text_of(name: &crate::wire::Name) -> String {
    name.labels().map(|label| String::from_utf8_lossy(label).into_owned()).collect::<Vec<_>>().join(".")
}

fn shown_record(record: &Record) -> String {
    let data = match &record.data {
        Data::A(v4) => v4.to_string(),
        Data::Aaaa(v6) => v6.to_string(),
        Data::Ptr(name) => text_of(name),
        Data::Srv { port, target, .. } => format!("{port} {}", text_of(target)),
        Data::Txt(strings) => String::from_utf8_lossy(&strings[1..]).into_owned(),
    };
    let mut text = format!("{} {} {data}", kind_name(record.data.kind()), text_of(&record.name));
    match record.ttl {
        0 => text += " gone",
        120 => {}
        ttl => text += &format!(" for {ttl}"),
    }
    text
}

fn shown(send: &Send) -> String {
    let zone = LINKS[send.link].0;
    let to = match send.to {
        To::Mdns { v6: false } => "mdns".to_owned(),
        To::Mdns { v6: true } => "mdns6".to_owned(),
        To::Ssdp(Scope::V4) => "ssdp".to_owned(),
        To::Ssdp(Scope::LinkV6 | Scope::SiteV6) => "ssdp6".to_owned(),
        To::Asker(address) | To::Searcher(address) => address.to_string(),
    };
    let said = match send.to {
        To::Mdns { .. } | To::Asker(_) => {
            let message = Message::read(&send.bytes).unwrap();
            let questions = message
                .questions
                .iter()
                .map(|question| format!("? {} {}", kind_name(question.kind), text_of(&question.name)));
            let answers = message.answers.iter().map(shown_record);
            let additionals = message.additionals.iter().map(|record| format!("+ {}", shown_record(record)));
            let id = (message.id != 0).then(|| format!("#{}", message.id));
            id.into_iter().chain(questions).chain(answers).chain(additionals).collect::<Vec<_>>().join("; ")
        }
        To::Ssdp(_) | To::Searcher(_) => {
            String::from_utf8_lossy(&send.bytes).lines().next().unwrap_or_default().to_owned()
        }
    };
    format!("{zone} {to}: {said}")
}

#[test]
fn every_case_is_heard_as_it_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/discovery");
    let mut played = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let file: File = toml::from_str(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file.case {
            play(&case);
            played += 1;
        }
    }
    assert!(played >= 25, "{played}");
}

fn play(case: &Case) {
    let mut reflector = reflector(&case.zones, &case.services, case.ssdp);
    let mut now = Duration::from_secs(100);
    for (number, step) in case.steps.iter().enumerate() {
        let at = format!("{}, step {}", case.name, number + 1);
        now = step.at.map_or(now, |at| Duration::from_secs(100) + Duration::from_millis(at));
        let http = |lines: &[String]| (lines.join("\r\n") + "\r\n\r\n").into_bytes();
        let scope = if step.from.is_ipv4() { Scope::V4 } else { Scope::LinkV6 };
        let (way, bytes) = match (&step.ask, &step.say, &step.ssdp, &step.reply) {
            (Some(lines), None, None, None) => (Way::Mdns, message(lines, false, step.id)),
            (None, Some(lines), None, None) => (Way::Mdns, message(lines, true, step.id)),
            (None, None, Some(lines), None) => (Way::Ssdp(scope), http(lines)),
            (None, None, None, Some(lines)) => (Way::SsdpReply, http(lines)),
            _ => panic!("{at}: one of ask, say, ssdp, reply"),
        };
        let before = reflector.counts().dropped.clone();
        let sends =
            reflector.take(&Packet { link: link(&step.on), way, source: step.from, bytes: &bytes }, now);
        assert_eq!(sends.iter().map(shown).collect::<Vec<_>>(), step.heard, "{at}");
        let after = &reflector.counts().dropped;
        let dropped: Vec<&str> = after
            .iter()
            .filter(|(why, count)| before.get(why) != Some(count))
            .map(|(why, _)| why.name())
            .collect();
        assert_eq!(dropped, step.dropped.as_deref().into_iter().collect::<Vec<_>>(), "{at}");
    }
}

fn question(reflector: &mut Reflector, source: &str, now: Duration) -> usize {
    let bytes = message(&["? PTR _ipp._tcp.local".to_owned()], false, 0);
    let packet = Packet { link: 0, way: Way::Mdns, source: source.parse().unwrap(), bytes: &bytes };
    reflector.take(&packet, now).len()
}

#[test]
fn a_flood_is_cut_by_source_and_by_link() {
    let mut reflector = reflector(&[], &[], false);
    let now = Duration::from_secs(9);
    for _ in 0..1000 {
        question(&mut reflector, "10.10.0.9:5353", now);
    }
    let often =
        |reflector: &Reflector| reflector.counts().dropped.get(&Dropped::TooOften).copied().unwrap_or(0);
    assert_eq!(often(&reflector), 1000 - u64::from(SOURCE_RATE.1));
    for host in 10..200 {
        for _ in 0..10 {
            question(&mut reflector, &format!("10.10.0.{host}:5353"), now);
        }
    }
    let passed = reflector.counts().received - often(&reflector);
    assert_eq!(passed, u64::from(LINK_RATE.1));
    assert_eq!(
        question(&mut reflector, "10.10.0.250:5353", now + Duration::from_secs(1)),
        1,
        "after a second"
    );
}

/// Two reflectors on the same two links, and a device that asks: each hears what the other sends.
#[test]
fn two_reflectors_on_the_same_links_do_not_feed_each_other() {
    let mut both = [reflector(&[], &[], false), reflector(&[], &[], false)];
    let bytes = message(&["? PTR _ipp._tcp.local".to_owned()], false, 0);
    // Who hears it (all but the sender), on which link, from whom.
    let mut air = vec![(None, 0, "10.10.0.9:5353".parse::<SocketAddr>().unwrap(), bytes)];
    let (mut heard, mut now) = (0, Duration::from_secs(9));
    while let Some((sender, link, source, bytes)) = air.pop() {
        heard += 1;
        now += Duration::from_millis(1);
        assert!(heard < 20, "a storm");
        for (number, reflector) in both.iter_mut().enumerate().filter(|(number, _)| Some(*number) != sender) {
            let sends = reflector.take(&Packet { link, way: Way::Mdns, source, bytes: &bytes }, now);
            for send in sends {
                // The other reflector's addresses are not this one's.
                let host = if send.link == 0 { "10.10.0" } else { "10.40.0" };
                let source = format!("{host}.{}:5353", 2 + number).parse().unwrap();
                air.push((Some(number), send.link, source, send.bytes));
            }
        }
    }
    assert!(heard <= 4, "{heard}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever is said: nothing goes to a zone that is not named or back to where it came from, nothing but the chosen
    /// service and its hosts, and no address that others cannot reach.
    #[test]
    fn nothing_else_leaves(
        said in prop::collection::vec((0usize..3, messages(), any::<bool>(), any::<bool>()), 1..8),
        services in prop::collection::vec(("[a-c]{1,2}", 0u8..4, any::<[u8; 4]>()), 1..6),
    ) {
        let mut reflector = reflector(&[], &[], false);
        let mut now = Duration::from_secs(9);
        let host = |link: usize| ["10.10.0.9", "10.40.0.9", "10.5.0.9"][link];
        for (link, mut message, legacy, ours) in said {
            if ours {
                for (text, kind, address) in &services {
                    let instance = format!("{text}._ipp._tcp.local");
                    let of = format!("{text}.local");
                    message.answers.push(match kind {
                        0 => Record { name: name("_ipp._tcp.local"), flush: false, ttl: 9, data: Data::Ptr(name(&instance)) },
                        1 => Record { name: name(&instance), flush: true, ttl: 9, data: Data::Srv { priority: 0, weight: 0, port: 1, target: name(&of) } },
                        2 => Record { name: name(&of), flush: true, ttl: 9, data: Data::A((*address).into()) },
                        _ => Record { name: name(&of), flush: true, ttl: 9, data: Data::A([10, [10, 40, 5][link], 0, 7].into()) },
                    });
                }
            }
            let Some(bytes) = message.write() else { continue };
            let source = format!("{}:{}", host(link), if legacy { 40000 } else { 5353 }).parse().unwrap();
            now += REPEAT_WINDOW;
            for send in reflector.take(&Packet { link, way: Way::Mdns, source, bytes: &bytes }, now) {
                prop_assert!(link < 2 && send.link < 2 && send.link != link);
                let message = Message::read(&send.bytes).unwrap();
                for record in message.records() {
                    let of = text_of(&record.name).to_lowercase();
                    prop_assert!(of.ends_with("_ipp._tcp.local") || of.matches('.').count() == 1, "{of}");
                    if let Data::A(v4) = record.data {
                        prop_assert_eq!(&v4.octets()[..3], &[10, [10, 40][link], 0]);
                    }
                }
            }
        }
    }
}
