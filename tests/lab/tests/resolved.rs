//! Zones that open flows only to what their DNS answered: real questions, real connections, both families.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{GUEST, HOME, IOT, Lab, WAN, Zone, connect};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_millis(1200);
const NAME: &str = "www.lab.example";

fn with_egress(lab: &Lab, egress: &str) {
    lab.reload_with(|text| {
        let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("egress")).collect();
        without.join("\n").replacen("[zones.home]\n", &format!("[zones.home]\negress = \"{egress}\"\n"), 1)
    });
}

/// Whether a host of the zone is answered this by its router.
fn asks(lab: &Lab, zone: Zone, qtype: &str, answer: &str) {
    let server = format!("@{}", zone.router4.split('/').next().unwrap());
    let mut command = lab.network.host(zone).unwrap().command("kdig");
    let output = command.args([&server, NAME, qtype, "+short", "+timeout=3"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.lines().any(|line| line == answer), "{qtype}: {text}");
}

fn v4(lab: &Lab) -> String {
    connect(lab.network.host(HOME).unwrap(), None, &format!("{}:80", WAN.host4), LIMIT).unwrap()
}

fn v6(lab: &Lab) -> String {
    connect(lab.network.host(HOME).unwrap(), None, &format!("[{}]:80", WAN.host6), LIMIT).unwrap()
}

fn why(lab: &Lab, subject: &str) -> Value {
    let reply = lab.appliance.ask(&["why", subject]).unwrap();
    assert!(reply.json.is_object(), "{}", reply.text);
    reply.json
}

fn flow() -> String {
    format!("src={} dst={} proto=tcp dport=80", HOME.host4, WAN.host4)
}

/// A connection to the echo server outside, which stays open.
fn conversation(lab: &Lab) -> TcpStream {
    let target: SocketAddr = format!("{}:7007", WAN.host4).parse().unwrap();
    let open = || TcpStream::connect_timeout(&target, Duration::from_secs(3));
    let stream = lab.network.host(HOME).unwrap().inside(open).unwrap().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    stream
}

fn goes_on(stream: &mut TcpStream) {
    let mut bytes = [0; 4];
    stream.write_all(b"ping").unwrap();
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
}

#[test]
fn flows_go_out_only_to_what_dns_answered_and_nothing_that_is_open_is_cut() {
    let Some(mut lab) = Lab::for_test("resolved::answered") else { return };
    let mut open = conversation(&lab);
    assert_eq!((v4(&lab), v6(&lab)), ("HTTP 200".into(), "HTTP 200".into()));

    // First learning: what would be dropped is told, with who went where, and passes.
    with_egress(&lab, "resolved-learn");
    assert_eq!((v4(&lab), v6(&lab)), ("HTTP 200".into(), "HTTP 200".into()));
    let told = |event: &Value| {
        event["reason"] == "unresolved"
            && event["action"] == "observe"
            && event["zone"] == "home"
            && event["src"] == HOME.host4
            && event["dst"] == WAN.host4
    };
    lab.waiter
        .until("the event", SOON, || Ok(lab.appliance.events()?.iter().any(told).then_some(())))
        .unwrap();
    let learned = why(&lab, &flow());
    assert_eq!((&learned["blocked"], &learned["reason"]), (&false.into(), &"unresolved".into()), "{learned}");

    with_egress(&lab, "resolved");
    goes_on(&mut open);
    assert_eq!((v4(&lab), v6(&lab)), ("no answer".into(), "no answer".into()));
    assert!(lab.appliance.packets("unresolved").unwrap() > 0);
    let refused = why(&lab, &flow());
    assert_eq!((&refused["blocked"], &refused["reason"]), (&true.into(), &"unresolved".into()), "{refused}");
    let command = refused["allow_command"].as_str().unwrap();
    assert!(command.contains(&format!("to = [\"{}\"]", WAN.host4)), "{command}");

    // The answer is in the kernel before it is here: what is opened at once gets through.
    asks(&lab, HOME, "A", WAN.host4);
    assert_eq!((v4(&lab), v6(&lab)), ("HTTP 200".into(), "no answer".into()));
    asks(&lab, HOME, "AAAA", WAN.host6);
    assert_eq!((v4(&lab), v6(&lab)), ("HTTP 200".into(), "HTTP 200".into()));
    let passes = why(&lab, &flow());
    assert_eq!(passes["reason"], "rule_allowed", "{passes}");
    for subject in [NAME, WAN.host4] {
        let known = why(&lab, subject);
        let answer = &known["answered"][0];
        assert_eq!((&answer["zone"], &answer["names"][0]), (&"home".into(), &NAME.into()), "{known}");
    }
    let metrics = lab.appliance.metrics().unwrap();
    assert!(metrics.contains("secd_resolved_entries{zone=\"home\"} 2"), "{metrics}");

    // What a rule names by its address need not be answered.
    let echo = format!("{}:7007", lab::UPSTREAMS[0]);
    let home = lab.network.host(HOME).unwrap();
    let other = || connect(home, None, &echo, LIMIT).unwrap();
    assert_eq!(other(), "no answer");
    let rule = format!(
        "[[rules]]\nfrom = [\"home\"]\nto = [\"{}\"]\naction = \"allow\"\n\n[[rules]]",
        lab::UPSTREAMS[0]
    );
    lab.reload_with(|text| text.replacen("[[rules]]", &rule, 1));
    assert_eq!(other(), "refused", "nobody listens there, and somebody says so");

    // The daemon ends, in order and not: nothing changes, meanwhile and afterwards.
    let router = &lab.network.router;
    lab.appliance.stop().unwrap();
    assert_eq!(connect(home, None, &format!("{}:80", WAN.host4), LIMIT).unwrap(), "HTTP 200");
    lab.appliance.run(router, &lab.waiter).unwrap();
    assert_eq!(connect(home, None, &format!("{}:80", WAN.host4), LIMIT).unwrap(), "HTTP 200");
    lab.appliance.kill().unwrap();
    lab.appliance.run(router, &lab.waiter).unwrap();
    assert_eq!(connect(home, None, &format!("[{}]:80", WAN.host6), LIMIT).unwrap(), "HTTP 200");

    // As after a restart of the machine, when the kernel's tables are gone.
    lab.appliance.stop().unwrap();
    let detached = lab.appliance.detach(router).unwrap();
    assert_eq!(detached.code, 0, "{}", detached.text);
    lab.appliance.run(router, &lab.waiter).unwrap();
    assert_eq!((v4(&lab), v6(&lab)), ("HTTP 200".into(), "HTTP 200".into()));
    assert_eq!(why(&lab, NAME)["answered"][0]["names"][0], NAME);

    // A damaged file is told, and nothing was answered then.
    lab.appliance.stop().unwrap();
    lab.appliance.detach(&lab.network.router).unwrap();
    fs::write(lab.appliance.state.join("resolved.json"), "{\"format\":").unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(v4(&lab), "no answer");
    let events = lab.appliance.events().unwrap();
    assert!(events.iter().any(|event| event.to_string().contains("what was answered before is not known")));
    asks(&lab, HOME, "A", WAN.host4);
    assert_eq!(v4(&lab), "HTTP 200");
}

#[test]
fn questions_to_other_resolvers_are_answered_here_or_dropped() {
    let Some(lab) = Lab::for_test("resolved::others") else { return };
    lab.reload_with(|text| {
        let text = text
            .replacen("[zones.iot]\n", "[zones.iot]\ndns_others = \"redirect\"\negress = \"resolved\"\n", 1)
            .replacen("[zones.guest]\n", "[zones.guest]\ndns_others = \"drop\"\n", 1);
        text + "\n[dns.records]\n\"printer.home.arpa\" = [\"10.20.0.7\"]\n"
    });
    // Nobody is there outside, and the name is known here alone; no rule lets things ask anybody.
    let nobody = ["203.0.113.200", "2001:db8:ffff::200"];
    let asked = |zone: Zone, server: &str, name: &str, more: &[&str]| {
        let mut command = lab.network.host(zone).unwrap().command("kdig");
        let server = format!("@{server}");
        let words = [&server, name, "A", "+short", "+timeout=2", "+retry=0"];
        let output = command.args(words).args(more).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    for server in nobody {
        for over in [&[][..], &["+tcp"]] {
            assert_eq!(asked(IOT, server, "printer.home.arpa", over), "10.20.0.7", "{server} {over:?}");
        }
    }
    // What is learnt that way counts: `egress` and redirection go together.
    let thing = lab.network.host(IOT).unwrap();
    let https = || connect(thing, None, &format!("{}:443", WAN.host4), LIMIT).unwrap();
    assert_eq!(https(), "no answer");
    assert_eq!(asked(IOT, nobody[0], NAME, &[]), WAN.host4);
    assert_eq!(https(), "refused", "it gets there, and nobody listens");

    // A real resolver outside: out of reach, and so is its encrypted door.
    let before = lab.appliance.packets("other_resolver").unwrap();
    assert!(!asked(GUEST, lab::UPSTREAMS[0], NAME, &[]).contains(WAN.host4));
    let guest = lab.network.host(GUEST).unwrap();
    let tls = format!("{}:853", lab::UPSTREAMS[0]);
    assert_eq!(connect(guest, None, &tls, LIMIT).unwrap(), "no answer");
    assert!(lab.appliance.packets("other_resolver").unwrap() > before + 1);
    let question = format!("src={} dst={} proto=udp dport=53", GUEST.host4, lab::UPSTREAMS[0]);
    let refused = why(&lab, &question);
    assert_eq!(
        (&refused["blocked"], &refused["reason"]),
        (&true.into(), &"other_resolver".into()),
        "{refused}"
    );
    let own = GUEST.router4.split('/').next().unwrap();
    assert_eq!(asked(GUEST, own, NAME, &[]), WAN.host4, "the router's own answers");
}

#[test]
fn a_rule_that_names_a_domain_admits_what_was_answered_for_it_and_nothing_else() {
    let Some(mut lab) = Lab::for_test("resolved::domain") else { return };
    let rule = |domain: &str| {
        format!(
            "[[rules]]\nfrom = [\"iot\"]\nto = [\"domain:{domain}\"]\nservices = [\"http\"]\naction = \"allow\"\n\n[[rules]]"
        )
    };
    let thing = || lab.network.host(IOT).unwrap();
    let http =
        |host: &str| connect(lab.network.host(IOT).unwrap(), None, &format!("{host}:80"), LIMIT).unwrap();
    // A name that is asked before any rule names it.
    lab.reload_with(|text| text.replacen("[[rules]]", &rule("registry.example"), 1));
    assert_eq!(http(WAN.host4), "no answer");
    asks(&lab, IOT, "A", WAN.host4);
    assert_eq!(http(WAN.host4), "no answer", "answered, and for another name");
    lab.reload_with(|text| text.replacen("domain:registry.example", "domain:*.lab.example", 1));
    assert_eq!(http(WAN.host4), "HTTP 200", "answered before the rule was there");
    let v6 = format!("[{}]", WAN.host6);
    assert_eq!(http(&v6), "no answer");
    asks(&lab, IOT, "AAAA", WAN.host6);
    assert_eq!(http(&v6), "HTTP 200");

    // Nothing else: another address, another port, another zone's answers.
    assert_eq!(http(lab::UPSTREAMS[0]), "no answer");
    assert_eq!(connect(thing(), None, &format!("{}:7007", WAN.host4), LIMIT).unwrap(), "no answer");
    let told = why(&lab, &format!("src={} dst={} proto=tcp dport=80", IOT.host4, WAN.host4));
    assert_eq!((&told["blocked"], &told["reason"]), (&false.into(), &"rule_allowed".into()), "{told}");
    let told = why(&lab, &format!("src={} dst={} proto=tcp dport=80", IOT.host4, lab::UPSTREAMS[0]));
    assert_eq!((&told["blocked"], &told["reason"]), (&true.into(), &"default_denied".into()), "{told}");

    // After a restart of secd, and of the machine.
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let http =
        |host: &str| connect(lab.network.host(IOT).unwrap(), None, &format!("{host}:80"), LIMIT).unwrap();
    assert_eq!((http(WAN.host4), http(lab::UPSTREAMS[0])), ("HTTP 200".into(), "no answer".into()));
    lab.appliance.stop().unwrap();
    lab.appliance.detach(&lab.network.router).unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let http =
        |host: &str| connect(lab.network.host(IOT).unwrap(), None, &format!("{host}:80"), LIMIT).unwrap();
    assert_eq!((http(WAN.host4), http(lab::UPSTREAMS[0])), ("HTTP 200".into(), "no answer".into()));
}
