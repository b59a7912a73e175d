//! The log of questions: what was asked is there at once and after a restart, as much of it as each zone wants told.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{GUEST, HOME, IOT, Lab, SERVICES, Zone};
use serde_json::{Value, json};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "www.lab.example";
const BLOCKED: &str = "ads.example";

fn start(test: &str) -> Option<Lab> {
    let lab = Lab::for_test(&format!("queries::{test}"))?;
    lab.reload_with(|text| {
        text.replacen("[dns]\n", &format!("[dns]\ndeny = [\"{BLOCKED}\"]\n"), 1)
            + &format!("\n[dns.clients.kids-tablet]\nwho = [\"{}\"]\n", HOME.host4)
    });
    Some(lab)
}

/// A host of a zone asks its router; what kdig prints.
fn ask(lab: &Lab, zone: Zone, name: &str) -> String {
    let mut command = lab.network.host(zone).unwrap().command("kdig");
    let server = format!("@{}", zone.router4.split('/').next().unwrap());
    let words = [&server, "-b", zone.host4, name, "A", "+timeout=2", "+retry=0"];
    String::from_utf8_lossy(&command.args(words).output().unwrap().stdout).into_owned()
}

fn command(lab: &Lab, words: &[&str]) -> Value {
    let reply = lab.appliance.ask(words).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    reply.json
}

/// Rows of the log, the oldest first.
fn rows(lab: &Lab, words: &[&str]) -> Vec<Value> {
    let page = command(lab, &[&["dns", "queries"], words].concat());
    let mut rows = page["rows"].as_array().unwrap().clone();
    rows.reverse();
    rows
}

#[test]
fn what_is_asked_is_in_the_log_at_once_and_after_a_restart_and_a_crash() {
    let Some(mut lab) = start("restart") else { return };
    assert!(ask(&lab, HOME, NAME).contains("203.0.113.1"));
    ask(&lab, HOME, BLOCKED);
    ask(&lab, IOT, &format!("x.{BLOCKED}"));
    let all = rows(&lab, &["--since", "1h"]);
    assert_eq!(all.len(), 3, "{all:?}");
    let expected = json!({"address": HOME.host4, "name": "kids-tablet", "zone": "home"});
    assert_eq!(
        (&all[0]["client"], &all[0]["name"], &all[0]["from"]),
        (&expected, &json!(NAME), &json!("upstream"))
    );
    assert!(
        all[0]["upstream"].as_str().unwrap().contains(':') && all[0]["micros"].as_u64() > Some(0),
        "{}",
        all[0]
    );
    assert_eq!((&all[1]["from"], &all[1]["action"]), (&json!("sinkhole"), &json!("sinkhole")));
    assert_eq!(all[1]["by"]["list"], "dns.deny", "{}", all[1]);
    assert_eq!(rows(&lab, &["--client", "kids-tablet"]), all[..2]);
    assert_eq!(rows(&lab, &["--client", IOT.host4, "--blocked", "--name", BLOCKED]), all[2..]);
    assert_eq!(rows(&lab, &["--name", "nothing.example"]), [] as [Value; 0]);
    let top = command(&lab, &["dns", "top", "--client", "kids-tablet"]);
    assert_eq!(
        (&top["passed_names"][0]["name"], &top["blocked_names"][0]["name"]),
        (&json!(NAME), &json!(BLOCKED))
    );
    let stats = command(&lab, &["dns", "stats"]);
    let totals =
        |total: u64, blocked: u64| json!({"total": total, "blocked": blocked, "cached": 0, "forwarded": 1});
    assert_eq!(stats["totals"], totals(3, 2));
    assert_eq!(stats["different_clients"], 2);
    let log = command(&lab, &["status"])["dns"]["log"].clone();
    assert_eq!((&log["written"], &log["lost"], &log["error"]), (&json!(3), &json!(0), &Value::Null), "{log}");
    assert!(lab.appliance.metrics().unwrap().contains("secd_dns_log_written_total 3"));

    // What is asked and not looked at is written when the daemon stops; what was written is there after a crash.
    ask(&lab, HOME, BLOCKED);
    lab.appliance.stop().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let after = rows(&lab, &["--since", "1h"]);
    assert_eq!((after.len(), &after[..3]), (4, &all[..]));
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(rows(&lab, &["--since", "1h"]), after);
    assert_eq!(command(&lab, &["dns", "stats"])["totals"], totals(4, 3));
}

#[test]
fn each_zone_is_told_as_it_wants() {
    let Some(lab) = start("privacy") else { return };
    lab.reload_with(|text| {
        [("iot", "no-names"), ("services", "no-clients"), ("guest", "none")].iter().fold(
            text,
            |text, (zone, privacy)| {
                let head = format!("[zones.{zone}]\n");
                text.replacen(&head, &format!("{head}dns_privacy = \"{privacy}\"\n"), 1)
            },
        )
    });
    for zone in [HOME, IOT, SERVICES, GUEST] {
        ask(&lab, zone, BLOCKED);
    }
    let told: Vec<_> = rows(&lab, &[])
        .into_iter()
        .map(|row| (row["client"]["zone"].clone(), row["client"]["address"].clone(), row["name"].clone()))
        .collect();
    let (name, none) = (json!(BLOCKED), Value::Null);
    let expected = [
        (json!("home"), json!(HOME.host4), name.clone()),
        (json!("iot"), json!(IOT.host4), none.clone()),
        (json!("services"), none.clone(), name),
        (json!("guest"), none.clone(), none),
    ];
    assert_eq!(told, expected);
    // Not in the file either, in whatever table: it is as the log has it.
    lab.waiter
        .until("the file", SOON, || {
            let read = |file: &str| fs::read(lab.appliance.state.join(file)).unwrap_or_default();
            let bytes = [read("queries.db"), read("queries.db-wal")].concat();
            let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
            assert!(!has(SERVICES.host4.as_bytes()) && !has(&octets(SERVICES)) && !has(&octets(GUEST)));
            Ok((has(BLOCKED.as_bytes()) && has(&octets(IOT))).then_some(()))
        })
        .unwrap();
}

fn octets(zone: Zone) -> [u8; 4] {
    zone.host4.parse::<std::net::Ipv4Addr>().unwrap().octets()
}

#[test]
fn an_order_for_one_client_holds_with_the_next_question_and_nothing_is_answered_from_before() {
    let Some(lab) = start("order") else { return };
    let own = NAME.replace("www", "own");
    lab.reload_with(|text| text.replacen("deny = [", &format!("deny = [\"{own}\", "), 1));
    // Kept in the cache.
    for _ in 0..2 {
        ask(&lab, HOME, NAME);
    }
    let why = command(&lab, &["why", &own, "--client", "kids-tablet"]);
    assert_eq!((&why["blocked"], &why["by"]["name"]), (&json!(true), &json!("dns.deny")), "{why}");
    ask(&lab, HOME, &own);
    for name in [&own, NAME] {
        command(&lab, &["allow", name, "--for", "1h", "--client", "kids-tablet"]);
    }
    let why = command(&lab, &["why", &own, "--client", "kids-tablet"]);
    assert_eq!(why["blocked"], json!(false), "{why}");
    ask(&lab, HOME, &own);
    ask(&lab, HOME, NAME);
    ask(&lab, IOT, &own);
    let told: Vec<_> = rows(&lab, &[])
        .into_iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row["client"]["zone"].as_str().unwrap(),
                row["name"].as_str().unwrap(),
                row["from"].as_str().unwrap()
            )
        })
        .collect();
    let expected = [
        format!("home {NAME} upstream"),
        format!("home {NAME} cache"),
        format!("home {own} sinkhole"),
        format!("home {own} upstream"),
        format!("home {NAME} upstream"),
        format!("iot {own} sinkhole"),
    ];
    assert_eq!(told, expected);
    let allowed = rows(&lab, &["--name", &own, "--client", "kids-tablet"]);
    assert_eq!((&allowed[1]["by"]["kind"], &allowed[1]["by"]["allow"]), (&json!("decision"), &json!(true)));
}
