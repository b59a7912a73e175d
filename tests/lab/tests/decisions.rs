//! Bans and allows as a person sees them: who changed what, taking it back, many at once; and whom logs do not ban.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{Lab, Own, Waiter};
use serde_json::Value;
use std::{
    fs::{self, OpenOptions},
    io::Write,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);
const ATTACKER: &str = "203.0.113.181";

fn start(test: &str) -> Option<Lab> {
    if let Some(why) = lab::cannot_run() {
        eprintln!("SKIP: lab::decisions::{test}: {why}");
        return None;
    }
    Some(Lab::start(Waiter::default(), false, Own::default()).unwrap())
}

fn command(lab: &Lab, words: &[&str]) -> Value {
    let reply = lab.appliance.ask(words).unwrap();
    assert_eq!(reply.code, 0, "{words:?}: {}", reply.text);
    reply.json
}

fn refused(lab: &Lab, words: &[&str]) -> String {
    let reply = lab.appliance.ask(words).unwrap();
    assert_eq!(reply.code, 1, "{words:?}: {}", reply.text);
    reply.text
}

/// What is in force of a target: kind and end.
fn held(lab: &Lab, target: &str) -> Vec<(String, Value)> {
    let decisions = command(lab, &["decisions", target])["decisions"].clone();
    let of = |decision: &Value| (decision["kind"].as_str().unwrap().to_owned(), decision["until"].clone());
    decisions.as_array().unwrap().iter().map(of).collect()
}

fn last(lab: &Lab) -> Value {
    command(lab, &["audit", "--limit", "1"])["records"][0].clone()
}

#[test]
fn every_change_is_written_down_and_can_be_taken_back() {
    let Some(lab) = start("every_change_is_written_down_and_can_be_taken_back") else { return };
    // A ban, and a longer one over it.
    command(&lab, &["ban", ATTACKER, "--for", "1h"]);
    let row = last(&lab);
    let by = row["by"]["name"].as_str().unwrap();
    assert!(by.ends_with("(uid 0)"), "{row}");
    assert_eq!(
        (&row["change"]["what"], &row["change"]["decision"]["target"]),
        (&"ordered".into(), &ATTACKER.into())
    );
    let first = held(&lab, ATTACKER);
    command(&lab, &["ban", ATTACKER, "--for", "2h"]);
    command(&lab, &["undo"]);
    assert_eq!(held(&lab, ATTACKER), first, "the one before is in force again");
    assert_eq!(last(&lab)["undoes"], row["id"].as_u64().unwrap() + 1);

    // A lift.
    command(&lab, &["unban", ATTACKER]);
    assert_eq!(held(&lab, ATTACKER), []);
    command(&lab, &["undo"]);
    assert_eq!(held(&lab, ATTACKER), first, "with the end it had");

    // By its number, once only.
    command(&lab, &["allow", "198.51.100.9", "--for", "1h"]);
    let allow = last(&lab)["id"].to_string();
    command(&lab, &["undo", &allow]);
    assert_eq!(held(&lab, "198.51.100.9"), []);
    assert!(refused(&lab, &["undo", &allow]).contains("taken back already"));
    assert!(refused(&lab, &["undo", "999999"]).contains("no row 999999"));

    // The mode and a pause.
    command(&lab, &["mode", "observe"]);
    command(&lab, &["undo"]);
    assert_eq!(command(&lab, &["mode"])["mode"], "enforce");
    command(&lab, &["dns", "pause", "10m"]);
    assert!(!command(&lab, &["status"])["dns"]["paused"].as_array().unwrap().is_empty());
    command(&lab, &["undo"]);
    assert!(command(&lab, &["status"])["dns"]["paused"].as_array().unwrap().is_empty());

    // A config is a file.
    command(&lab, &["reload"]);
    assert!(refused(&lab, &["undo"]).contains("a config is a file"));
}

#[test]
fn files_of_addresses_and_of_decisions() {
    let Some(lab) = start("files_of_addresses_and_of_decisions") else { return };
    let file = lab.appliance.state.join("attackers.txt");
    let path = file.to_str().unwrap();
    fs::write(&file, "198.51.100.7 # seen in March\n\nnonsense\n10.1.0.1\n198.51.101.0/24\n").unwrap();
    let reply = lab.appliance.ask(&["ban", "--file", path, "--for", "1h"]).unwrap();
    assert_eq!((reply.code, &reply.json["taken"]), (1, &2.into()), "{}", reply.text);
    let refused: Vec<(u64, bool)> = reply.json["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| {
            let why = refused["why"].as_str().unwrap();
            (refused["line"].as_u64().unwrap(), why.contains("the router's own address"))
        })
        .collect();
    assert_eq!(refused, [(3, false), (4, true)]);
    assert_eq!(held(&lab, "198.51.101.9").len(), 1);

    let exported = lab.appliance.ask(&["decisions", "--export"]).unwrap();
    assert_eq!((exported.code, exported.text.lines().count()), (0, 2), "{}", exported.text);
    let before = held(&lab, "198.51.100.7");
    command(&lab, &["undo", &reply.json["audit"][0].to_string()]);
    assert_eq!((held(&lab, "198.51.100.7").len(), held(&lab, "198.51.101.9").len()), (0, 0));
    fs::write(&file, &exported.text).unwrap();
    assert_eq!(command(&lab, &["decisions", "import", path])["taken"], 2);
    assert_eq!(held(&lab, "198.51.100.7"), before, "with the end it had");
}

/// Lines of sshd about failed passwords.
fn failures(log: &mut fs::File, from: &str) {
    for n in 0..8 {
        writeln!(log, "Failed password for root from {from} port {} ssh2", 40_000 + n).unwrap();
    }
}

#[test]
fn logs_do_not_ban_who_is_in_nor_more_than_their_budget() {
    let Some(lab) = start("logs_do_not_ban_who_is_in_nor_more_than_their_budget") else { return };
    let log = lab.appliance.state.join("own.log");
    fs::write(&log, "").unwrap();
    let config = &lab.appliance.config;
    let text = fs::read_to_string(config).unwrap();
    let more = format!(
        "\n[bans]\nper_scenario = 1\n\n[[logs]]\nname = \"own\"\npath = \"{}\"\nfilter = \"sshd\"\n",
        log.display()
    );
    fs::write(config, text + &more).unwrap();
    command(&lab, &["reload"]);
    let waiter = Waiter::default();
    let told = |what: &str| {
        waiter.until(what, SOON, || {
            let events = lab.appliance.events()?;
            Ok(events.iter().any(|event| event.to_string().contains(what)).then_some(()))
        })
    };
    let mut log = OpenOptions::new().append(true).open(&log).unwrap();
    // Read from its end on, once it is open.
    waiter
        .until("the log is read", SOON, || {
            writeln!(log, "Server listening on 0.0.0.0 port 22.")?;
            let status = lab.appliance.status()?;
            let logs = status["logs"].as_array().into_iter().flatten();
            Ok(logs.filter(|log| log["name"] == "own").find(|log| log["lines"] != 0).map(|_| ()))
        })
        .unwrap();
    writeln!(log, "Accepted publickey for ada from 198.51.100.7 port 40000 ssh2: ED25519 SHA256:x").unwrap();
    failures(&mut log, "198.51.100.7");
    told("198.51.100.7 has logged in a short while ago").unwrap();
    assert_eq!(held(&lab, "198.51.100.7"), []);

    failures(&mut log, "198.51.100.8");
    failures(&mut log, "198.51.100.9");
    told("ssh-bruteforce has used up its 1 bans of an hour").unwrap();
    let modes: Vec<Value> = ["198.51.100.8", "198.51.100.9"]
        .iter()
        .map(|target| command(&lab, &["decisions", target])["decisions"][0]["mode"].clone())
        .collect();
    assert_eq!(modes, ["enforce", "observe"]);
    let status = command(&lab, &["status"]);
    assert!(status["troubles"].to_string().contains("ssh-bruteforce has used up"), "{status}");
}
