//! Runs `tests/cases/cli/*.txt`: what people type and what they see, at several widths, against a daemon that answers
//! with `replies/*.json`.
//!
//! A case file holds blocks. Each begins with `$ secctl …`, after words in brackets that set the scene: `[60]` the width
//! of the terminal, `[color]` a terminal with colours. Then comes what is printed, lines of standard error with `2> `
//! before them, and `? 2` where the exit code is not 0. Set `SECD_WRITE_CASES=1` to write what is printed into the files,
//! and read the difference before you commit it.

use crate::fake::{Fake, chunks, reply};
use jiff::tz::TimeZone;
use model::Timestamp;
use protocol::{
    Decisions, Detached, Flows, Lifted, Lists, ModeReply, Ordered, Reloaded, Rules, Status, Why, path,
};
use secctl::Environment;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/cases/cli")
}

/// A reply file, read as its type and written again, so that no file says what the protocol cannot.
fn typed<T: DeserializeOwned + Serialize>(name: &str) -> String {
    let text = fs::read_to_string(folder().join("replies").join(format!("{name}.json"))).unwrap();
    let value: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}.json: {error}"));
    serde_json::to_string(&value).unwrap()
}

/// What the daemon answers to the target of a request.
fn answer(target: &str) -> Vec<u8> {
    let (place, query) = target.split_once('?').unwrap_or((target, ""));
    let ok = |body: String| reply("200 OK", &body);
    match place {
        path::STATUS => ok(typed::<Status>("status")),
        path::WHY => {
            let query: protocol::WhyQuery = serde_urlencoded::from_str(query).unwrap();
            let name = match query.target.to_string().as_str() {
                "192.0.2.7" => "why-scenario",
                "ads.example.com" => "why-list",
                "192.0.2.200" => "why-clean",
                "ads.example@tablet" => "why-client",
                "src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445" => "why-rule",
                other => panic!("no reply for {other}"),
            };
            ok(typed::<Why>(name))
        }
        path::DECISIONS if query.is_empty() => ok(typed::<Ordered>("ordered")),
        path::DECISIONS if query.ends_with("before=7") => ok(r#"{"decisions":[],"total":3}"#.into()),
        path::DECISIONS if query.contains("allow") => ok(r#"{"decisions":[],"total":3}"#.into()),
        path::DECISIONS => ok(typed::<Decisions>("decisions")),
        path::DECISIONS_MANY => ok(typed::<protocol::ManyOrdered>("many")),
        path::AUDIT => ok(typed::<protocol::Audit>("audit")),
        path::UNDO => ok(typed::<protocol::Undone>("undone")),
        path::LIFT => ok(typed::<Lifted>("lifted")),
        path::LISTS => ok(typed::<Lists>("lists")),
        path::BOUNCERS => ok(typed::<protocol::Programs>("bouncers")),
        path::MACHINES => ok(typed::<protocol::Programs>("machines")),
        path::ORDER_BOUNCER => ok(typed::<protocol::ProgramOrdered>("bouncer-added")),
        path::ORDER_MACHINE => ok(r#"{"name":"nas"}"#.into()),
        path::RULES => ok(typed::<Rules>("rules")),
        path::FLOWS => ok(typed::<Flows>("flows")),
        path::MODE => ok(typed::<ModeReply>("mode")),
        path::RELOAD => ok(typed::<Reloaded>("reloaded")),
        path::TOP => ok(typed::<protocol::Top>("top")),
        path::DOCTOR => ok(typed::<protocol::Diagnosis>("diagnosis")),
        path::REFRESH => ok(typed::<protocol::ListOrdered>("refreshed")),
        path::ACCEPT => {
            ok(r#"{"outcomes":["ipsum: 31 400 entries, 12 more than before"],"failed":false}"#.into())
        }
        path::DNS_GROUPS => ok(typed::<protocol::DnsGroups>("dns-groups")),
        path::DNS_CLIENTS => ok(typed::<protocol::DnsClients>("dns-clients")),
        path::DNS_PAUSE => ok(typed::<protocol::DnsPaused>("dns-paused")),
        path::DNS_QUERIES if query.contains("nothing") => {
            ok(r#"{"rows":[],"next":null,"kept_since":"2026-08-24T09:00:00Z"}"#.into())
        }
        path::DNS_QUERIES if query.contains("before=") => {
            ok(r#"{"rows":[],"next":null,"kept_since":"2026-08-24T09:00:00Z"}"#.into())
        }
        path::DNS_QUERIES => ok(typed::<model::QueryPage>("dns-queries")),
        path::DNS_STATS => ok(typed::<model::QueryStats>("dns-stats")),
        path::DNS_TEST => ok(typed::<protocol::DnsTest>("dns-test")),
        path::DEVICES => ok(typed::<protocol::Devices>("devices")),
        path::APPLY => ok(typed::<protocol::Applied>("applied")),
        path::CONFIRM => ok(typed::<protocol::Settled>("confirmed")),
        path::REVERT => ok(typed::<protocol::Settled>("reverted")),
        path::DIFF => ok(typed::<protocol::Difference>("difference")),
        path::DETACH => ok(typed::<Detached>("detached")),
        path::TAIL => {
            let events = fs::read_to_string(folder().join("replies/events.jsonl")).unwrap();
            for line in events.lines() {
                serde_json::from_str::<model::Event>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
            chunks(&[&events], true)
        }
        other => panic!("no reply for {other}"),
    }
}

struct Block {
    scene: String,
    command: String,
}

fn run(block: &Block, socket: &Path) -> String {
    let mut environment = Environment {
        now: Timestamp::from_seconds(1_790_003_600),
        zone: TimeZone::UTC,
        width: None,
        terminal: false,
        asks: false,
        no_color: false,
        user: "ada".into(),
        patience: Duration::from_secs(30),
    };
    for word in block.scene.split_whitespace() {
        match word.parse() {
            Ok(width) => environment.width = Some(width),
            Err(_) if word == "color" => environment.terminal = true,
            Err(_) => panic!("[{word}] sets no scene"),
        }
    }
    let socket = socket.to_str().unwrap();
    let files = folder();
    let words = split(&block.command).into_iter().map(|word| word.replace("CASES", files.to_str().unwrap()));
    let arguments = words.chain(["--socket".into(), socket.into()]).map(Into::into);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = secctl::run(arguments, &environment, &mut out, &mut err);
    // Help has spaces at the ends of lines.
    let mut seen: String =
        String::from_utf8(out).unwrap().lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if let (Some(width), false) = (environment.width, environment.terminal) {
        for line in seen.lines().filter(|_| !block.command.contains("help")) {
            assert!(line.chars().count() <= width.into(), "[{width}] {}: too wide: {line}", block.command);
        }
    }
    for line in String::from_utf8(err).unwrap().lines() {
        seen += format!("2> {line}").trim_end();
        seen.push('\n');
    }
    if code != 0 {
        seen += &format!("? {code}\n");
    }
    // Colours as people can read them in a file.
    seen.replace('\u{1b}', "␛").replace(socket, "SOCKET").replace(files.to_str().unwrap(), "CASES")
}

/// Words as a shell makes them, with double quotes.
fn split(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, piece) in command.split('"').enumerate() {
        if place % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn cases() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let temporary = tempfile::tempdir().unwrap();
    let socket = temporary.path().join("secd.sock");
    let _fake = Fake::new(&socket, answer);
    for file in fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let wanted = fs::read_to_string(&file).unwrap();
        let mut seen = String::new();
        for line in wanted.lines() {
            if let Some((scene, command)) = line
                .split_once("$ ")
                .filter(|(scene, _)| scene.is_empty() || (scene.starts_with('[') && scene.ends_with("] ")))
            {
                let block = Block {
                    scene: scene.trim_matches(['[', ']', ' ']).to_owned(),
                    command: command.to_owned(),
                };
                if !seen.is_empty() {
                    seen.push('\n');
                }
                seen += &format!("{line}\n{}", run(&block, &socket));
                count += 1;
            }
        }
        if seen != wanted {
            if std::env::var_os("SECD_WRITE_CASES").is_some() {
                fs::write(&file, &seen).unwrap();
            }
            let differs = seen.lines().zip(wanted.lines()).position(|(seen, wanted)| seen != wanted);
            let line = differs.unwrap_or_else(|| seen.lines().count().min(wanted.lines().count()));
            wrong.push(format!(
                "{}:{}\n  wanted {:?}\n  seen   {:?}",
                file.file_name().unwrap().to_string_lossy(),
                line + 1,
                wanted.lines().nth(line),
                seen.lines().nth(line)
            ));
        }
    }
    assert!(count > 0, "there are no cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
