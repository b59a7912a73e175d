//! A policy lives: lists are fetched, rules begin by the clock, devices come, others meddle with nftables; and people look.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{DMZ, IOT, Lab, VISITOR, WAN, connect};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// The kernel is compared with the plan every minute.
const REPAIRED_BY: Duration = Duration::from_secs(90);
const LIMIT: Duration = Duration::from_millis(800);

/// What a visitor from outside gets from the web server.
fn web(lab: &Lab) -> String {
    let target = format!("{}:80", DMZ.host4);
    connect(lab.network.host(WAN).unwrap(), Some(VISITOR), &target, LIMIT).unwrap()
}

fn told(lab: &Lab, text: &str) -> bool {
    lab.appliance.events().unwrap().iter().any(|event| event.to_string().contains(text))
}

#[test]
fn an_address_list_is_fetched_and_one_that_changes_too_much_waits() {
    let Some(lab) = Lab::for_test("living::subscription") else { return };
    let file = lab.directory().join(format!("programs/nginx-{}/files/bad.txt", WAN.name));
    let others: String = (0..2000).map(|n| format!("192.0.{}.{}\n", n / 250, n % 250)).collect();
    fs::write(&file, format!("{VISITOR}\n{others}")).unwrap();
    assert_eq!(web(&lab), "HTTP 200");
    let list = format!(
        "\n[[lists]]\nname = \"bad\"\nurl = \"http://{}/files/bad.txt\"\nkind = \"addresses\"\n\
         insecure = true\nprivate = true\nrefresh = \"1h\"\n",
        WAN.host4
    );
    lab.reload_with(|text| text + &list);
    lab.waiter.until("the list", SOON, || Ok((web(&lab) == "no answer").then_some(()))).unwrap();
    let state = || lab.appliance.ask(&["lists"]).unwrap().json["lists"][0].clone();
    assert!(state()["entries"].as_u64().unwrap() > 1500, "{}", state());
    assert!(state()["fetched"]["from"].as_str().unwrap().contains("/files/bad.txt"), "{}", state());

    // Most of it is gone: that waits for a person, and the last good one stays.
    fs::write(&file, "192.0.2.77\n").unwrap();
    let refreshed = lab.appliance.ask(&["lists", "refresh", "bad"]).unwrap();
    assert_eq!(refreshed.code, 1, "{}", refreshed.text);
    assert!(state()["fetched"]["held"].is_string(), "{}", state());
    assert_eq!(web(&lab), "no answer");
    let accepted = lab.appliance.ask(&["lists", "accept", "bad"]).unwrap();
    assert_eq!(accepted.code, 0, "{}", accepted.text);
    assert_eq!(state()["entries"], 1, "{}", state());
    assert_eq!(web(&lab), "HTTP 200");
    let unknown = lab.appliance.ask(&["lists", "refresh", "worse"]).unwrap();
    assert_eq!(unknown.code, 1, "{}", unknown.text);
    assert!(unknown.text.contains("what is fetched: bad"), "{}", unknown.text);
}

#[test]
fn what_others_change_in_our_table_is_repaired_and_told() {
    let Some(lab) = Lab::for_test("living::repair") else { return };
    let nft = |arguments: &[&str]| {
        let output = lab.network.router.command("nft").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let rules = || nft(&["list", "table", "inet", "secd"]).lines().count();
    let before = rules();
    nft(&["flush", "table", "inet", "secd"]);
    assert!(rules() < before);
    lab.waiter
        .until("the repair", REPAIRED_BY, || Ok((rules() == before && told(&lab, "repaired")).then_some(())))
        .unwrap();
}

#[test]
fn a_rule_begins_by_the_clock() {
    let Some(lab) = Lab::for_test("living::schedule") else { return };
    assert_eq!(web(&lab), "HTTP 200");
    // From the next full minute on, for two hours; the clock of the test is that of the router.
    let output =
        std::process::Command::new("date").args(["-u", "+%H:%M", "-d", "1 minute"]).output().unwrap();
    let from = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let to = std::process::Command::new("date").args(["-u", "+%H:%M", "-d", "2 hours"]).output().unwrap();
    let to = String::from_utf8(to.stdout).unwrap().trim().to_owned();
    let schedule = format!("\n[schedules.now]\nfrom = \"{from}\"\nto = \"{to}\"\nzone = \"UTC\"\n");
    let rule = "[[rules]]\nfrom = [\"wan\"]\nto = [\"dmz\"]\nservices = [\"http\"]\naction = \"drop\"\nschedule = \"now\"\n\n";
    lab.reload_with(|text| text.replacen("[[rules]]", &format!("{rule}[[rules]]"), 1) + &schedule);
    lab.waiter.until("the schedule", REPAIRED_BY, || Ok((web(&lab) == "no answer").then_some(()))).unwrap();
    assert!(!told(&lab, "repaired"), "our own change is no repair");
}

#[test]
fn a_new_device_is_told_of_and_let_in() {
    let Some(lab) = Lab::for_test("living::device") else { return };
    lab.reload_with(|text| text.replacen("[zones.iot]\n", "[zones.iot]\nquarantine = true\n", 1));
    let row = || {
        let devices = lab.appliance.ask(&["device"]).unwrap().json;
        let rows = devices["devices"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["zone"] == "iot")
    };
    // Asking the router for a name is allowed, and makes the device known.
    let ask = || {
        let mut command = lab.network.host(IOT).unwrap().command("kdig");
        let server = format!("@{}", IOT.router4.split('/').next().unwrap());
        command.args([&server, "www.lab.example", "+timeout=2", "+retry=0"]).output().unwrap();
    };
    let device = lab
        .waiter
        .until("the device", SOON, || {
            ask();
            Ok(row().filter(|row| row["held"] == true))
        })
        .unwrap();
    assert!(told(&lab, "is held back"), "{device}");
    let mac = device["mac"].as_str().unwrap();
    let reply = lab.appliance.ask(&["device", "allow", mac]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(row().unwrap()["held"], false);
    let wrong = lab.appliance.ask(&["device", "allow", mac, "--group", "tvs"]).unwrap();
    assert_eq!(wrong.code, 1, "{}", wrong.text);
    assert!(wrong.text.contains("there is no group `tvs`"), "{}", wrong.text);
    let reply = lab.appliance.ask(&["device", "forget", mac]).unwrap();
    assert_eq!(reply.code, 0, "{}", reply.text);
    assert_eq!(row().unwrap()["held"], true);
    // While nothing is enforced an order is kept, and whoever gave it is told so.
    assert_eq!(lab.appliance.ask(&["detach", "--yes"]).unwrap().code, 0);
    let reply = lab.appliance.ask(&["device", "allow", mac]).unwrap();
    assert!(reply.text.contains("not in force yet"), "{}", reply.text);
    assert_eq!(lab.appliance.ask(&["reload"]).unwrap().code, 0);
    assert_eq!(row().unwrap()["held"], false);
}

#[test]
fn people_see_what_goes_on_and_what_a_change_would_do() {
    let Some(lab) = Lab::for_test("living::seeing") else { return };
    let _flow = lab::Probe::start(
        lab.network.host(WAN).unwrap(),
        VISITOR.parse().unwrap(),
        format!("{}:7007", DMZ.host4).parse().unwrap(),
    )
    .unwrap();
    let flows = |words: &[&str]| lab.appliance.ask(&[&["flows"], words].concat()).unwrap().json;
    let flow = lab
        .waiter
        .until("the flow", SOON, || {
            let found = flows(&["--port", "7007", "--zone", "wan"]);
            Ok(found["flows"].get(0).filter(|flow| flow["packets"].as_u64() > Some(5)).cloned())
        })
        .unwrap();
    assert_eq!((&flow["src"], &flow["dst"]), (&VISITOR.into(), &DMZ.host4.into()), "{flow}");
    assert_eq!(flows(&["10.99.0.0/16"])["matching"], 0);
    let top = lab.appliance.ask(&["top", "--once"]).unwrap().json;
    let wan = top["zones"].as_array().unwrap().iter().find(|zone| zone["zone"] == "wan").unwrap().clone();
    assert!(wan["passed"].as_u64() > Some(0) && wan["flows"].as_u64() > Some(0), "{top}");
    let used = lab.appliance.ask(&["rules"]).unwrap().json;
    let unused = lab.appliance.ask(&["rules", "--unused"]).unwrap().json;
    let count = |rules: &serde_json::Value| rules["rules"].as_array().unwrap().len();
    assert!(count(&unused) > 0 && count(&unused) < count(&used), "{unused}");

    // What would a config do that keeps the outside from the echo server?
    let text = fs::read_to_string(&lab.appliance.config).unwrap();
    let new = lab.directory().join("new.toml");
    fs::write(&new, text.replace("\"https\", \"echo\", \"ping\"]", "\"https\", \"ping\"]")).unwrap();
    let reply = lab.appliance.ask(&["diff", new.to_str().unwrap(), "--exit-code"]).unwrap();
    assert_eq!(reply.code, 1, "{}", reply.text);
    let would_fall = reply.json["flows"].as_array().unwrap();
    assert!(
        would_fall
            .iter()
            .any(|flow| flow["flow"].as_str().unwrap().contains(VISITOR) && flow["after"] == "drop"),
        "{}",
        reply.text
    );
    assert_eq!(reply.json["changes"].as_array().unwrap().len(), 1, "{}", reply.text);
    let same = lab.appliance.ask(&["diff", "--exit-code"]).unwrap();
    assert_eq!((same.code, same.json["changes"].as_array().unwrap().len()), (0, 0), "{}", same.text);

    // The doctor sees the trunk without its VLAN device, and the rules that let the outside in.
    let reply = lab.appliance.ask(&["doctor"]).unwrap();
    assert_eq!(reply.code, 1, "{}", reply.text);
    let says = |text: &str| reply.text.contains(text);
    assert!(says("its device trunk0.410 is not there") && says("interface wan0"), "{}", reply.text);
    assert!(says("in wan reach dmz: ssh, http"), "{}", reply.text);

    // A capture of what is dropped.
    let file = lab.directory().join("dropped.pcapng");
    let capture = ["capture", "--reason", "default_denied", "--zone", "wan", "-n", "1", "-w"];
    std::thread::scope(|scope| {
        let captured = scope.spawn(|| lab.appliance.ask(&[&capture[..], &[file.to_str().unwrap()]].concat()));
        let storage = format!("{}:22", lab::STORAGE.host4);
        lab.waiter
            .until("a captured packet", SOON, || {
                connect(lab.network.host(WAN)?, Some(VISITOR), &storage, LIMIT)?;
                Ok(captured.is_finished().then_some(()))
            })
            .unwrap();
        assert_eq!(captured.join().unwrap().unwrap().code, 0);
    });
    assert!(fs::metadata(&file).unwrap().len() > 100);
}
