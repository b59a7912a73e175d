//! Pi-hole's API as real clients ask it: the one that Home Assistant uses, and one that knows every part.
#![expect(clippy::unwrap_used, reason = "a test fails where its helpers do")]

use lab::{HOME, IOT, Lab, MANAGEMENT, Own, Waiter, Zone, address};
use serde_json::{Value, json};
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

const SOON: Duration = Duration::from_secs(30);
const NAME: &str = "www.lab.example";
const ADDRESS: &str = "203.0.113.1";
const DENIED: &str = "denied.lab.example";
const PASSWORD: &str = "correct horse battery staple";
const PORT: &str = "8080";

/// The environment that `cargo xtask setup` makes.
fn python() -> Option<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    let folder = var("SECD_PIHOLE_CLIENTS").or_else(|| Some(cache()?.join("secd/pihole-clients")))?;
    let whole = fs::read(clients().join("requirements.txt")).unwrap();
    let held = fs::read(folder.join("requirements.txt")).ok()?;
    (held == whole).then(|| folder.join("bin/python"))
}

fn clients() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// A lab whose router has the API, for the management zone; rules would let home in, too.
fn start(test: &str) -> Option<(Lab, PathBuf)> {
    let skip = |why: &str| eprintln!("SKIP: lab::{test}: {why}");
    if let Some(why) = lab::cannot_run() {
        skip(&why);
        return None;
    }
    let Some(python) = python() else {
        skip("the clients of Pi-hole's API are not there: run cargo xtask setup");
        return None;
    };
    let lab = Lab::start(Waiter::default(), false, Own::default()).unwrap();
    let passwords = lab.appliance.state.join("pihole.password");
    fs::write(&passwords, format!("{PASSWORD}\nof an app\n")).unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o600)).unwrap();
    let list = lab.appliance.state.join("ads.txt");
    fs::write(&list, "ads.example\ntracker.example\n").unwrap();
    let (own, home) = (address(MANAGEMENT.router4), address(HOME.router4));
    let api = format!(
        "\n[[rules]]\nfrom = [\"management\", \"home\"]\nto = [\"self\"]\nservices = [\"tcp/{PORT}\"]\n\
         action = \"allow\"\n\n\
         [pihole_api]\nlisten = [\"{own}:{PORT}\", \"{home}:{PORT}\"]\npassword_file = \"{}\"\n\n\
         [[lists]]\nname = \"ads\"\npath = \"{}\"\nkind = \"domains\"\n\n\
         [dns.groups.kids]\ndeny = [\"/^games[0-9]/\"]\ncomment = \"homework first\"\n\n\
         [dns.clients.tablet]\nwho = [\"{}\"]\ngroups = [\"default\", \"kids\"]\n",
        passwords.display(),
        list.display(),
        IOT.host4,
    );
    lab.reload_with(|text| text.replacen("[dns]\n", &format!("[dns]\ndeny = [\"{DENIED}\"]\n"), 1) + &api);
    Some((lab, python))
}

/// What a host of a zone is answered.
fn asked(lab: &Lab, zone: Zone, name: &str) -> String {
    let mut command = lab.network.host(zone).unwrap().command("kdig");
    let server = format!("@{}", address(zone.router4));
    let output = command.args([&server, name, "A", "+short", "+timeout=2", "+retry=1"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// `curl` from a host of a zone: its exit code, and what it prints.
fn curl(lab: &Lab, zone: Zone, words: &[&str]) -> (i32, String) {
    let mut command = lab.network.host(zone).unwrap().command("curl");
    let output = command.args(["-s", "--max-time", "10"]).args(words).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn url(zone: Zone, path: &str) -> String {
    format!("http://{}:{PORT}/api/{path}", address(zone.router4))
}

fn home_assistant(lab: &Lab, python: &PathBuf, password: &str, what: &str) -> Value {
    let mut command = lab.network.host(MANAGEMENT).unwrap().command(python);
    command.arg(clients().join("home_assistant.py"));
    command.args([address(MANAGEMENT.router4), PORT, password, what]);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn home_assistant_sees_numbers_and_switches_blocking() {
    let Some((mut lab, python)) = start("pihole::home_assistant") else { return };
    assert_eq!((asked(&lab, HOME, NAME).as_str(), asked(&lab, HOME, NAME).as_str()), (ADDRESS, ADDRESS));
    assert_eq!(asked(&lab, HOME, DENIED), "0.0.0.0");
    let shown = home_assistant(&lab, &python, PASSWORD, "look");
    assert_eq!(shown["status"], "enabled", "{shown}");
    assert_eq!((&shown["core_current"], &shown["core_update"]), (&json!("v6.0"), &json!(false)), "{shown}");
    assert_eq!((&shown["dns_queries_today"], &shown["ads_blocked_today"]), (&json!(3), &json!(1)), "{shown}");
    assert_eq!((&shown["queries_cached"], &shown["queries_forwarded"]), (&json!(1), &json!(1)), "{shown}");
    assert_eq!((&shown["unique_clients"], &shown["unique_domains"]), (&json!(1), &json!(2)), "{shown}");
    assert_eq!(shown["top_ads"], json!([{ "domain": DENIED, "count": 1 }]), "{shown}");
    assert_eq!(shown["top_queries"], json!([{ "domain": NAME, "count": 2 }]), "{shown}");
    assert_eq!(shown["upstreams"].as_array().unwrap().len(), 3, "{shown}");

    // In force when the client has its answer, over a crash too, and until it is taken back.
    let shown = home_assistant(&lab, &python, PASSWORD, "disable");
    assert_eq!(shown["status"], "disabled", "{shown}");
    assert!((1.0..=60.0).contains(&shown["timer"].as_f64().unwrap()), "{shown}");
    assert_ne!(asked(&lab, HOME, DENIED), "0.0.0.0");
    lab.appliance.kill().unwrap();
    lab.appliance.run(&lab.network.router, &lab.waiter).unwrap();
    assert_eq!(home_assistant(&lab, &python, PASSWORD, "look")["status"], "disabled");
    assert_eq!(home_assistant(&lab, &python, PASSWORD, "enable")["status"], "enabled");
    assert_eq!(asked(&lab, HOME, DENIED), "0.0.0.0");
    let shown = home_assistant(&lab, &python, "of an app", "disable-without-end");
    assert_eq!(shown["status"], "disabled", "{shown}");
    assert!((86_000.0..=86_400.0).contains(&shown["timer"].as_f64().unwrap()), "a day at most: {shown}");
    let paused = format!("blocking is paused for 1d, by Pi-hole API from {}", MANAGEMENT.host4);
    let told = || {
        let events = lab.appliance.events()?;
        Ok(events.iter().any(|event| event["message"] == *paused).then_some(()))
    };
    lab.waiter.until("the event", SOON, told).unwrap();

    // Who does not know the password, and who is not in the zone.
    let shown = home_assistant(&lab, &python, "guess", "look");
    assert_eq!(shown, json!({ "error": "Authentication failed: Invalid password" }));
    let guessed = lab.appliance.events().unwrap().iter().any(|event| {
        event["message"].as_str().is_some_and(|text| text.starts_with("a login with a wrong password"))
    });
    assert!(guessed);
    assert_eq!(curl(&lab, MANAGEMENT, &[&url(MANAGEMENT, "info/login")]).0, 0);
    let (code, said) = curl(&lab, HOME, &[&url(HOME, "info/login")]);
    assert!(matches!(code, 52 | 56) && said.is_empty(), "{code}: {said}");
    lab.reload_with(|text| text.replacen("[pihole_api]\n", "[pihole_api]\nzones = [\"home\"]\n", 1));
    assert_eq!(curl(&lab, HOME, &[&url(HOME, "info/login")]).0, 0);
    assert!(matches!(curl(&lab, MANAGEMENT, &[&url(MANAGEMENT, "info/login")]).0, 52 | 56));

    // Without its passwords nothing answers, and the person is told.
    fs::remove_file(lab.appliance.state.join("pihole.password")).unwrap();
    lab.reload_with(|text| text);
    assert_eq!(curl(&lab, HOME, &[&url(HOME, "info/login")]).0, 7);
    let status = lab.appliance.status().unwrap();
    assert!(status["troubles"].to_string().contains("password_file"), "{status}");
}

#[test]
fn every_part_is_understood_by_a_client_that_was_made_for_pi_hole() {
    let Some((lab, python)) = start("pihole::every_part") else { return };
    assert_eq!((asked(&lab, HOME, NAME).as_str(), asked(&lab, HOME, DENIED).as_str()), (ADDRESS, "0.0.0.0"));
    let seen = || {
        let devices = lab.appliance.ask(&["device"])?.json;
        Ok(devices["devices"].as_array().filter(|rows| !rows.is_empty()).map(|_| ()))
    };
    lab.waiter.until("a device", SOON, seen).unwrap();
    let mut command = lab.network.host(MANAGEMENT).unwrap().command(&python);
    command.arg(clients().join("every_part.py"));
    let base = format!("http://{}:{PORT}", address(MANAGEMENT.router4));
    let mut client = command
        .args([&base, PASSWORD, NAME])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = client.stdin.take().unwrap();
    let mut seen = 0;
    for line in BufReader::new(client.stdout.take().unwrap()).lines() {
        let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (step, answer) = (told["step"].as_str().unwrap(), &told["answer"]);
        let length = |key: &str| answer[key].as_array().unwrap_or_else(|| panic!("{told}")).len();
        let refused = || assert_eq!(answer["error"]["key"], "forbidden", "{told}");
        match step {
            "deny" => {
                assert_eq!(answer["processed"]["success"], json!([{ "item": NAME }]), "{told}");
                assert_eq!(asked(&lab, HOME, NAME), "0.0.0.0");
                let why = lab.appliance.ask(&["why", NAME]).unwrap();
                let by = format!("Pi-hole API from {}", MANAGEMENT.host4);
                assert_eq!(why.json["by"]["name"], by, "{}", why.json);
            }
            "denied" => assert_eq!(answer["domains"][0]["comment"], "from a phone", "{told}"),
            "move" => assert_eq!(answer["domains"][0]["comment"], "again", "{told}"),
            "undo" => assert_eq!(asked(&lab, HOME, NAME), ADDRESS),
            "regex" | "group" | "list" | "gravity" => refused(),
            "all" => assert!(told.to_string().contains(DENIED), "{told}"),
            "groups" => {
                assert_eq!(
                    (&answer["groups"][1]["name"], &answer["groups"][1]["id"]),
                    (&json!("kids"), &json!(1))
                );
            }
            "clients" => assert_eq!(answer["clients"][0]["client"], IOT.host4, "{told}"),
            "suggestions" => assert!(length("clients") > 0, "{told}"),
            "lists" => assert_eq!((length("lists"), &answer["lists"][0]["number"]), (1, &json!(2)), "{told}"),
            "summary" => assert!(answer["queries"]["total"].as_u64() >= Some(4), "{told}"),
            "top_domains" | "top_blocked" => assert!(length("domains") > 0, "{told}"),
            "top_clients" => assert_eq!(answer["clients"][0]["ip"], HOME.host4, "{told}"),
            "upstreams" => assert_eq!(answer["upstreams"][0]["name"], "blocklist", "{told}"),
            "types" => assert!(answer["types"]["A"].as_u64() >= Some(4), "{told}"),
            "recent" => assert_eq!(length("blocked"), 1, "{told}"),
            "history" => assert!(length("history") > 140, "{told}"),
            "history_clients" => {
                assert!(answer["clients"][HOME.host4]["total"].as_u64() >= Some(4), "{told}")
            }
            "history_database" => assert!((6..=8).contains(&length("history")), "{told}"),
            "summary_database" => assert!(answer["sum_blocked"].as_u64() >= Some(2), "{told}"),
            "queries" => {
                let statuses: Vec<_> =
                    answer["queries"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
                assert!(
                    statuses.contains(&&json!("DENYLIST")) && statuses.contains(&&json!("FORWARDED")),
                    "{told}"
                );
            }
            "queries_of_name" => {
                assert!(
                    answer["queries"].as_array().unwrap().iter().all(|row| row["domain"] == NAME),
                    "{told}"
                );
            }
            "query_suggestions" => assert!(told.to_string().contains(HOME.host4), "{told}"),
            "version" => assert_eq!(answer["version"]["core"]["local"]["version"], "v6.0", "{told}"),
            "ftl" => {
                assert!(answer["ftl"]["pid"].as_u64() > Some(1), "{told}");
                assert!(answer["ftl"]["%cpu"].as_f64() > Some(0.0), "{told}");
            }
            "system" => assert!(answer["system"]["memory"]["ram"]["total"].as_u64() > Some(0), "{told}"),
            "host" => assert_eq!(answer["host"]["uname"]["sysname"], "Linux", "{told}"),
            "messages" => assert_eq!(length("messages"), 0, "{told}"),
            "login" => assert_eq!(answer["dns"], true, "{told}"),
            "pause" => {
                assert_eq!(answer["blocking"], "disabled", "{told}");
                assert_ne!(asked(&lab, HOME, DENIED), "0.0.0.0");
            }
            "blocking" => assert!(answer["timer"].as_f64().unwrap() <= 60.0, "{told}"),
            "resume" => {
                assert_eq!((&answer["blocking"], &answer["timer"]), (&json!("enabled"), &Value::Null))
            }
            "exit" => assert_eq!(answer, &json!({}), "{told}"),
            other => panic!("a step that nobody looks at: {other}"),
        }
        seen += 1;
        orders.write_all(b"\n").unwrap();
    }
    drop(orders);
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success() && seen == 37, "{seen}: {}", String::from_utf8_lossy(&output.stderr));
}
