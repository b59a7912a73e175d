//! DNS by device: groups, clients by MAC address, pauses, orders for one client, what is told of whom.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{HOME, IOT, Lab, Zone, address};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "www.lab.example";
const ADDRESS: &str = "203.0.113.1";

/// What a host of a zone is answered by this address of the router, from this one of its own.
fn asked(lab: &Lab, zone: Zone, server: &str, source: &str) -> String {
    let mut command = lab.network.host(zone).unwrap().command("kdig");
    let words = [&format!("@{server}"), "-b", source, NAME, "A", "+timeout=5", "+retry=1"];
    let output = command.args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match (text.contains("status: NXDOMAIN"), text.contains(ADDRESS)) {
        (true, _) => "blocked".into(),
        (false, true) => "answered".into(),
        (false, false) => text,
    }
}

fn thing(lab: &Lab) -> String {
    asked(lab, IOT, address(IOT.router4), IOT.host4)
}

fn home(lab: &Lab) -> String {
    asked(lab, HOME, address(HOME.router4), HOME.host4)
}

fn told(lab: &Lab, text: &str) -> bool {
    lab.appliance.events().unwrap().iter().any(|event| event.to_string().contains(text))
}

fn command(lab: &Lab, words: &[&str]) -> Value {
    let reply = lab.appliance.ask(words).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    reply.json
}

/// A client that is known by its MAC address, in a group that blocks the name.
fn with_thing(lab: &Lab) {
    let row = || {
        let devices = command(lab, &["device"]);
        let rows = devices["devices"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["zone"] == "iot")
    };
    let device = lab
        .waiter
        .until("the device", SOON, || {
            thing(lab);
            Ok(row())
        })
        .unwrap();
    assert!(device["randomised"].is_boolean(), "{device}");
    let mac = device["mac"].as_str().unwrap().to_owned();
    let groups = format!(
        "\n[dns.groups.things]\ndeny = [\"{NAME}\"]\nblocking = \"nxdomain\"\n\n\
         [dns.clients.thing]\nwho = [\"{mac}\"]\ngroups = [\"default\", \"things\"]\n"
    );
    lab.reload_with(|text| text + &groups);
    assert_eq!(thing(lab), "blocked");
    // What the upstreams say is not what this is about; that they were silent once is told, with what the walls saw.
    let answered = || {
        let seen = home(lab);
        if seen != "answered" {
            eprintln!("not answered: {seen}\n{}", command(lab, &["status"]));
        }
        Ok((seen == "answered").then_some(()))
    };
    lab.waiter.until("an answer for home", SOON, answered).unwrap();
}

#[test]
fn a_device_keeps_its_group_whatever_its_address_and_one_order_is_for_it_alone() {
    let Some(lab) = Lab::for_test("groups::device") else { return };
    with_thing(&lab);

    // A privacy address: new, and never seen before.
    let host = lab.network.host(IOT).unwrap();
    let private = "fd00:40::abcd:1";
    host.ip(&["-6", "address", "add", &format!("{private}/64"), "dev", "eth0", "nodad"]).unwrap();
    let other = || asked(&lab, IOT, address(IOT.router6), private);
    lab.waiter.until("the new address", SOON, || Ok((other() == "blocked").then_some(()))).unwrap();

    let why = command(&lab, &["why", NAME, "--client", "thing"]);
    assert_eq!((&why["blocked"], &why["groups"][0]), (&true.into(), &"things".into()), "{why}");
    assert_eq!(why["by"]["name"], "dns.groups.things.deny", "{why}");
    assert!(why["by"]["line"].as_u64().unwrap() > 50, "{why}");
    assert_eq!(why["client"]["groups"], serde_json::json!(["default", "things"]), "{why}");
    let of_home = command(&lab, &["why", NAME, "--client", HOME.host4]);
    assert_eq!((&of_home["blocked"], &of_home["reason"]), (&false.into(), &"not_listed".into()), "{of_home}");
    let test = command(&lab, &["dns", "test", NAME, "--client", "thing"]);
    assert_eq!((&test["code"], &test["why"]["blocked"]), (&"NXDOMAIN".into(), &true.into()), "{test}");
    let clients = command(&lab, &["dns", "clients"]);
    let seen = clients["clients"][0]["addresses"].to_string();
    assert!(seen.contains(IOT.host4) && seen.contains(private), "{clients}");

    // In force when the command returns, and for nobody else.
    let hint = why["allow_command"].as_str().unwrap().split(' ').skip(1).collect::<Vec<_>>();
    assert_eq!(hint[..3], ["allow", NAME, "--for"]);
    lab.reload_with(|text| text.replacen("[dns]\n", &format!("[dns]\ndeny = [\"{NAME}\"]\n"), 1));
    assert_ne!(home(&lab), "answered");
    command(&lab, &hint);
    assert_eq!((thing(&lab).as_str(), other().as_str()), ("answered", "answered"));
    assert_ne!(home(&lab), "answered");
    command(&lab, &["unban", NAME, "--allowed", "--client", "thing"]);
    assert_eq!(thing(&lab), "blocked");
    let unknown = lab.appliance.ask(&["allow", NAME, "--client", "thingg"]).unwrap();
    assert_eq!(unknown.code, 1, "{}", unknown.text);
    assert!(unknown.text.contains("the clients are thing"), "{}", unknown.text);
}

#[test]
fn a_pause_holds_over_a_crash_and_ends_by_command() {
    let Some(mut lab) = Lab::for_test("groups::pause") else { return };
    with_thing(&lab);
    command(&lab, &["dns", "pause", "10m", "--group", "things"]);
    assert_eq!(thing(&lab), "answered");
    let paused = || Ok(told(&lab, "blocking is paused for the group things for 10m").then_some(()));
    lab.waiter.until("the event", SOON, paused).unwrap();
    assert_eq!(command(&lab, &["status"])["dns"]["paused"][0]["group"], "things");

    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    let group = || command(&lab, &["dns", "groups"])["groups"][1].clone();
    assert_eq!((&group()["name"], &group()["in_force"]), (&"things".into(), &false.into()));
    lab.waiter.until("an answer", SOON, || Ok((thing(&lab) == "answered").then_some(()))).unwrap();
    command(&lab, &["dns", "resume"]);
    assert_eq!(group()["in_force"], true);
    lab.waiter.until("the device", SOON, || Ok((thing(&lab) == "blocked").then_some(()))).unwrap();
    let unknown = lab.appliance.ask(&["dns", "pause", "10m", "--group", "thing"]).unwrap();
    assert!(unknown.code == 1 && unknown.text.contains("default, things"), "{}", unknown.text);
}

#[test]
fn an_address_that_is_not_there_leaves_the_others_in_peace_and_names_of_a_zone_are_hidden() {
    let Some(lab) = Lab::for_test("groups::listen") else { return };
    let late = "10.1.0.77";
    lab.reload_with(|text| {
        text.replacen("listen = [", &format!("listen = [\"{late}:53\", "), 1).replacen(
            "[zones.home]\n",
            "[zones.home]\ndns_privacy = \"no-names\"\n",
            1,
        )
    });
    assert_eq!(home(&lab), "answered");
    let troubles = || command(&lab, &["status"])["troubles"].to_string();
    assert!(troubles().contains(late), "{}", troubles());
    lab.network.router.ip(&["address", "add", &format!("{late}/32"), "dev", HOME.interface]).unwrap();
    let answered = || Ok((asked(&lab, HOME, late, HOME.host4) == "answered").then_some(()));
    lab.waiter.until("the address", Duration::from_secs(90), answered).unwrap();
    lab.waiter.until("the end of trouble", SOON, || Ok((!troubles().contains(late)).then_some(()))).unwrap();

    assert_eq!(thing(&lab), "answered");
    let of = |zone: &str, name: &str| {
        let events = lab.appliance.events().unwrap();
        events.iter().any(|event| event["kind"] == "query" && event["zone"] == zone && event["name"] == name)
    };
    lab.waiter
        .until("the events", SOON, || Ok((of("iot", NAME) && of("home", "hidden")).then_some(())))
        .unwrap();
    assert!(!of("home", NAME), "the name is told nowhere");
}
