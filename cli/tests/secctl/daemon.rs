//! What is sent to the daemon, and what the command says when the daemon is not there, is another, or dies.

use crate::fake::{Asked, Fake, chunks, reply};
use jiff::tz::TimeZone;
use model::Timestamp;
use protocol::{API_HEADER, Problem};
use secctl::Environment;
use std::{
    io::{self, Write},
    os::unix::net::UnixListener,
    path::Path,
    time::Duration,
};
use tempfile::TempDir;

const EVENT: &str =
    r#"{"ts":"2026-09-21T15:13:14Z","severity":"info","action":"alert","kind":"system","message":"start"}"#;

fn environment() -> Environment {
    Environment {
        now: Timestamp::from_seconds(1_790_003_600),
        zone: TimeZone::UTC,
        width: None,
        terminal: false,
        asks: false,
        no_color: true,
        user: "ada".into(),
        patience: Duration::from_secs(30),
    }
}

struct Ran {
    code: u8,
    out: String,
    err: String,
}

fn run_in(environment: &Environment, socket: &Path, words: &[&str]) -> Ran {
    let words = ["secctl", "--socket", socket.to_str().unwrap()]
        .into_iter()
        .chain(words.iter().copied())
        .map(Into::into);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = secctl::run(words, environment, &mut out, &mut err);
    Ran { code, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn run(socket: &Path, words: &[&str]) -> Ran {
    run_in(&environment(), socket, words)
}

/// A daemon that answers everything with `bytes`, and the folder of its socket.
fn answering(bytes: Vec<u8>) -> (TempDir, std::path::PathBuf, Fake) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("secd.sock");
    let fake = Fake::new(&socket, move |_| bytes.clone());
    (folder, socket, fake)
}

#[test]
fn requests_are_what_the_protocol_says() {
    let (_folder, socket, fake) = answering(reply("404 Not Found", "{}"));
    let asked = |words: &[&str]| {
        run(&socket, words);
        fake.asked().pop().unwrap()
    };
    let request = |line: &str, body: &str| Asked {
        line: format!("{line} HTTP/1.1"),
        version: Some("1".into()),
        body: body.into(),
    };
    for (words, wanted) in [
        (vec!["status"], request("GET /v1/status", "")),
        (vec!["why", "2001:DB8::1"], request("GET /v1/why?target=2001%3Adb8%3A%3A1", "")),
        (
            vec!["why", "zone=iot src=10.4.0.9", "dst=10.3.0.2 dport=445"],
            request(
                "GET /v1/why?target=zone%3Diot+src%3D10.4.0.9+dst%3D10.3.0.2+proto%3Dtcp+dport%3D445",
                "",
            ),
        ),
        (
            vec!["ban", "198.51.100.7/24", "--for", "1h30m", "--direction", "both", "--comment", "a \"b\""],
            request(
                "POST /v1/decisions",
                r#"{"kind":"ban","target":"198.51.100.0/24","for":"5400s","direction":"both","comment":"a \"b\"","user":"ada"}"#,
            ),
        ),
        (
            vec!["allow", "Good.Example."],
            request(
                "POST /v1/decisions",
                r#"{"kind":"allow","target":"good.example","direction":"both","user":"ada"}"#,
            ),
        ),
        (
            vec!["unban", "192.0.2.7"],
            request("POST /v1/lift", r#"{"target":"192.0.2.7","kind":"ban","user":"ada"}"#),
        ),
        (
            vec!["unban", "--allowed", "192.0.2.7"],
            request("POST /v1/lift", r#"{"target":"192.0.2.7","kind":"allow","user":"ada"}"#),
        ),
        (
            vec!["decisions", "192.0.2.7", "--kind", "ban", "--by", "scenario", "--limit", "5"],
            request("GET /v1/decisions?target=192.0.2.7&kind=ban&origin=scenario&limit=5", ""),
        ),
        (
            vec!["audit", "--since", "1h", "--limit", "5"],
            request("GET /v1/audit?since=2026-09-21T14%3A13%3A20.000000Z&limit=5", ""),
        ),
        (vec!["undo"], request("POST /v1/undo", r#"{"user":"ada"}"#)),
        (vec!["undo", "7"], request("POST /v1/undo", r#"{"id":7,"user":"ada"}"#)),
        (vec!["lists"], request("GET /v1/lists", "")),
        (vec!["rules"], request("GET /v1/rules", "")),
        (
            vec!["flows", "10.0.0.1", "--zone", "iot", "--limit", "3"],
            request("GET /v1/flows?zone=iot&address=10.0.0.1%2F32&limit=3", ""),
        ),
        (
            vec!["flows", "10.0.0.0/8", "--port", "53", "--proto", "udp", "--sort", "recent"],
            request("GET /v1/flows?address=10.0.0.0%2F8&port=53&proto=udp&sort=recent&limit=100", ""),
        ),
        (vec!["dns", "queries"], request("GET /v1/dns/queries?limit=50", "")),
        (
            vec![
                "dns",
                "queries",
                "--client",
                "kids-tablet",
                "--name",
                "*.example",
                "--blocked",
                "--since",
                "1h",
            ],
            request(
                "GET /v1/dns/queries?since=2026-09-21T14%3A13%3A20.000000Z&client=kids-tablet&name=*.example&blocked=true&limit=50",
                "",
            ),
        ),
        (
            vec![
                "dns",
                "queries",
                "--type",
                "aaaa",
                "--code",
                "nxdomain",
                "--upstream",
                "9.9.9.9:53",
                "--limit",
                "5",
            ],
            request("GET /v1/dns/queries?upstream=9.9.9.9%3A53&type=AAAA&code=NXDOMAIN&limit=5", ""),
        ),
        (
            vec!["dns", "top", "--limit", "3"],
            request("GET /v1/dns/stats?since=2026-09-20T15%3A13%3A20.000000Z&limit=3", ""),
        ),
        (
            vec!["dns", "stats", "--since", "7d", "--client", "10.4.0.*"],
            request(
                "GET /v1/dns/stats?since=2026-09-14T15%3A13%3A20.000000Z&bucket=86400&client=10.4.0.*",
                "",
            ),
        ),
        (vec!["top", "--once", "--limit", "3"], request("GET /v1/top?limit=3", "")),
        (vec!["capture", "--zone", "iot"], request("GET /v1/tail?kind=packet&zone=iot", "")),
        (
            vec!["tail", "--kind", "packet,query", "--zone", "iot"],
            request("GET /v1/tail?kind=packet%2Cquery&zone=iot", ""),
        ),
        (vec!["mode"], request("GET /v1/mode", "")),
        (vec!["mode", "observe"], request("POST /v1/mode", r#"{"mode":"observe","user":"ada"}"#)),
        (vec!["reload"], request("POST /v1/reload", "{}")),
        (
            vec!["apply", "--confirm", "1m", "--no-wait"],
            request("POST /v1/apply", r#"{"confirm":60,"user":"ada"}"#),
        ),
        (vec!["apply", "--confirmed"], request("POST /v1/apply/confirm", r#"{"user":"ada"}"#)),
        (vec!["apply", "--revert"], request("POST /v1/apply/revert", r#"{"user":"ada"}"#)),
        (vec!["lists", "refresh"], request("POST /v1/lists/refresh", r#"{"user":"ada"}"#)),
        (
            vec!["lists", "accept", "ipsum"],
            request("POST /v1/lists/accept", r#"{"name":"ipsum","user":"ada"}"#),
        ),
        (vec!["device"], request("GET /v1/devices", "")),
        (
            vec!["device", "allow", "AA-bb-cc-dd-ee-01", "--group", "tvs"],
            request(
                "POST /v1/devices",
                r#"{"mac":"aa:bb:cc:dd:ee:01","allow":true,"group":"tvs","user":"ada"}"#,
            ),
        ),
        (
            vec!["device", "forget", "aa:bb:cc:dd:ee:01"],
            request("POST /v1/devices", r#"{"mac":"aa:bb:cc:dd:ee:01","allow":false,"user":"ada"}"#),
        ),
        (vec!["doctor"], request("GET /v1/doctor", "")),
        (vec!["diff"], request("POST /v1/diff", "{}")),
        (vec!["detach", "--yes"], request("POST /v1/detach", "{}")),
    ] {
        assert_eq!(asked(&words), wanted, "{words:?}");
    }
}

/// A page of the log of questions.
fn page(rows: &[(u64, &str)], next: Option<u64>) -> Vec<u8> {
    let row = |(id, name): &(u64, &str)| {
        let client = r#"{"address":"10.4.0.9","zone":"home"}"#;
        format!(
            r#"{{"id":{id},"at":"2026-09-21T15:13:14Z","client":{client},"name":"{name}","type":"A","code":"NOERROR","action":"pass","from":"cache","secure":false,"micros":0}}"#
        )
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    let next = next.map_or("null".to_owned(), |next| next.to_string());
    reply("200 OK", &format!(r#"{{"rows":[{}],"next":{next},"kept_since":null}}"#, rows.join(",")))
}

#[test]
fn what_was_not_looked_through_in_one_go_is_looked_through_in_several() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("secd.sock");
    let fake = Fake::new(&socket, |target| match target.rsplit_once("before=") {
        None => page(&[], Some(900)),
        Some((_, before)) if before.starts_with("900&") => page(&[(700, "second.example")], Some(500)),
        Some(_) => page(&[(300, "first.example"), (200, "zeroth.example")], Some(200)),
    });
    let ran = run(&socket, &["dns", "queries", "--name", "*.example", "--limit", "3"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let names: Vec<_> = ran.out.lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(names, ["zeroth.example", "first.example", "second.example"]);
    let asked: Vec<_> = fake.asked().into_iter().map(|asked| asked.line).collect();
    let line = |more: &str| format!("GET /v1/dns/queries?{more} HTTP/1.1");
    assert_eq!(
        asked,
        [
            line("name=*.example&limit=3"),
            line("before=900&name=*.example&limit=3"),
            line("before=500&name=*.example&limit=2")
        ]
    );
}

#[test]
fn following_the_log_goes_on_after_the_last_question() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("secd.sock");
    let fake = Fake::new(&socket, |target| match target.rsplit_once("after=") {
        None => page(&[(7, "second.example"), (5, "first.example")], None),
        Some((_, after)) if after.starts_with("7&") => {
            page(&[(8, "third.example"), (9, "fourth.example")], None)
        }
        Some(_) => reply("503 Service Unavailable", r#"{"error":{"message":"it stops"}}"#),
    });
    let ran = run(&socket, &["dns", "queries", "--follow", "--client", "10.4.0.9"]);
    let names: Vec<_> = ran.out.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(names, ["first.example", "second.example", "third.example", "fourth.example"]);
    assert!(ran.code == 1 && ran.err.contains("it stops"), "{} {}", ran.code, ran.err);
    let asked: Vec<_> = fake.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(asked[2], "GET /v1/dns/queries?after=9&client=10.4.0.9&limit=50 HTTP/1.1");
}

#[test]
fn queries_are_read_back_as_they_were_asked() {
    let query: protocol::DecisionsQuery =
        serde_urlencoded::from_str("target=192.0.2.7&kind=ban&origin=scenario&limit=5").unwrap();
    assert_eq!(query.target, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(query.limit, Some(5));
    let query: protocol::WhyQuery =
        serde_urlencoded::from_str("target=src%3D10.4.0.9+dst%3D10.3.0.2+dport%3D445").unwrap();
    assert!(matches!(query.target, protocol::Subject::Flow(_)), "{query:?}");
}

#[test]
fn a_daemon_that_is_not_there_is_said_in_words_and_exit_code_3() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.sock");
    for words in [vec!["status"], vec!["tail"], vec!["ban", "192.0.2.9"]] {
        let ran = run(&missing, &words);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{words:?}");
        assert!(
            ran.err.contains("there is no socket") && ran.err.contains("systemctl status secd"),
            "{}",
            ran.err
        );
    }
    let ran = run(&missing, &["status", "-o", "json"]);
    let error: protocol::ErrorReply = serde_json::from_str(&ran.err).unwrap();
    assert!(error.error.help.unwrap().contains("--socket"));

    let dead = folder.path().join("dead.sock");
    drop(UnixListener::bind(&dead).unwrap());
    let ran = run(&dead, &["status"]);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("nobody listens"), "{}", ran.err);

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(run(&file, &["status"]).code, 3);
}

#[test]
fn another_version_and_another_program_are_told_apart() {
    let with =
        |header: &str| format!("HTTP/1.1 200 OK\r\n{header}content-length: 2\r\n\r\n{{}}").into_bytes();
    for (header, says) in [
        (format!("{API_HEADER}: 2\r\n"), "secd speaks API version 2, this secctl speaks version 1"),
        (String::new(), "not secd"),
        (format!("{API_HEADER}: x\r\n"), "not secd"),
    ] {
        let (_folder, socket, _fake) = answering(with(&header));
        let ran = run(&socket, &["status"]);
        assert_eq!(ran.code, 3, "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    }
}

#[test]
fn answers_that_are_cut_odd_or_none_are_errors() {
    let full = String::from_utf8(reply("200 OK", r#"{"mode":"enforce","configured":"enforce"}"#)).unwrap();
    for (bytes, says) in [
        (Vec::new(), "ended before its answer"),
        (b"HTTP/1.1 200 OK\r\n".to_vec(), "ended before its answer"),
        (full[..full.len() - 3].into(), "ended before its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "ended before its answer"),
        (reply("200 OK", "[]"), "makes no sense"),
        (reply("200 OK", r#"{"mode":"perhaps","configured":"enforce"}"#), "makes no sense"),
        (reply("200 OK", "\u{1b}[31m"), "makes no sense"),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (_folder, socket, _fake) = answering(bytes);
        let ran = run(&socket, &["mode"]);
        assert_eq!((ran.code, ran.out.as_str()), (3, ""), "{shown:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{shown:?}: {}", ran.err);
    }
}

#[test]
fn refusals_of_the_daemon_are_printed_with_their_help() {
    let refusal = protocol::ErrorReply::new(
        "10.1.0.1 is the router itself\u{1b}[2J: no ban holds against it",
        Some("see `protected` in `secctl why 10.1.0.1`"),
    );
    let (_folder, socket, _fake) =
        answering(reply("409 Conflict", &serde_json::to_string(&refusal).unwrap()));
    let ran = run(&socket, &["ban", "10.1.0.1"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        ran.err,
        "error: 10.1.0.1 is the router itself\\u{1b}[2J: no ban holds against it\n  help: see `protected` in `secctl why 10.1.0.1`\n"
    );
    let ran = run(&socket, &["ban", "10.1.0.1", "-o", "json"]);
    assert_eq!(serde_json::from_str::<protocol::ErrorReply>(&ran.err).unwrap(), refusal);

    let bad = protocol::ErrorReply::new("the config is bad; the old one stays", None).with_problems(vec![
        Problem {
            file: "/etc/secd/secd.toml".into(),
            line: 3,
            column: 7,
            message: "there is no zone `ito`".into(),
            help: Some("did you mean `iot`?".into()),
        },
    ]);
    let (_folder, socket, _fake) =
        answering(reply("422 Unprocessable", &serde_json::to_string(&bad).unwrap()));
    let ran = run(&socket, &["reload"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("/etc/secd/secd.toml:3:7: there is no zone `ito`\n      did you mean `iot`?"),
        "{}",
        ran.err
    );

    let (_folder, socket, _fake) = answering(reply("500 Internal Server Error", "oops"));
    let ran = run(&socket, &["status"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("500 Internal Server Error and no reason"), "{}", ran.err);
}

#[test]
fn a_daemon_that_says_nothing_is_not_waited_for_forever() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("secd.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let environment = Environment { patience: Duration::from_millis(50), ..environment() };
    for words in [["status"], ["tail"]] {
        let ran = run_in(&environment, &socket, &words);
        assert_eq!(ran.code, 3);
        assert!(ran.err.contains("has not answered for 50ms"), "{}", ran.err);
    }
}

#[test]
fn a_stream_that_dies_is_an_error_after_what_it_brought() {
    let line = format!("{EVENT}\n");
    let (begin, end) = line.split_at(20);
    for (bytes, lines, says) in [
        (chunks(&[&line, begin, end], false), 2, "ended before its answer"),
        (chunks(&[&line, begin], false), 1, "ended before its answer"),
        (chunks(&[&line], true), 1, "secd has ended the stream"),
        (chunks(&[&line, "\n", &line], true), 2, "secd has ended the stream"),
        (chunks(&[&line, "{}\n"], true), 1, "makes no sense"),
        (chunks(&[&"x".repeat(protocol::MAX_EVENT_BYTES + 1)], true), 0, "a line of more than"),
    ] {
        let (_folder, socket, _fake) = answering(bytes);
        let ran = run(&socket, &["tail"]);
        assert_eq!((ran.code, ran.out.lines().count()), (3, lines), "{}", ran.err);
        assert!(ran.err.contains(says), "{}", ran.err);
    }
    let (_folder, socket, _fake) = answering(chunks(&[&line, &line], false));
    assert_eq!(run(&socket, &["tail", "-n", "2"]).code, 0, "what was asked for has come");
}

#[test]
fn a_capture_is_a_file_that_readers_of_captures_take() {
    let packet = |reason: &str, proto: &str| {
        format!(
            r#"{{"ts":"2026-09-21T15:13:08.1Z","severity":"info","action":"drop","zone":"iot","reason":"{reason}","kind":"packet","src":"10.4.0.9","dst":"10.3.0.2","proto":"{proto}","sport":40211,"dport":445,"vlan":400,"interface":"eth1","length":60}}"#
        ) + "\n"
    };
    let lines = [packet("default_denied", "tcp"), packet("spoofed", "udp"), packet("default_denied", "47")];
    let pieces: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (folder, socket, _fake) = answering(chunks(&pieces, true));
    let file = folder.path().join("dropped.pcapng");
    let words = ["capture", "--reason", "default_denied,bogon", "-n", "2", "-w", file.to_str().unwrap()];
    let ran = run(&socket, &words);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert!(ran.err.contains("2 packets in"), "{}", ran.err);
    let mut frames = Vec::new();
    let read = signatures::pcap::read(std::fs::File::open(&file).unwrap(), "dropped", |packet| {
        frames.push((packet.at, packet.frame.to_vec()));
    });
    assert_eq!((read.unwrap().packets, frames.len()), (2, 2));
    // Sub-second digits, the VLAN tag and the port are there.
    assert_eq!(frames[0].0.to_string(), "2026-09-21T15:13:08.100000Z");
    assert_eq!(&frames[0].1[12..18], [0x81, 0, 1, 144, 0x08, 0]);
    assert_eq!(&frames[0].1[40..], 445_u16.to_be_bytes());
    assert_eq!(frames[1].1.len(), 18 + 20, "no ports are made up where there are none");
    let ran = run(&socket, &["capture", "-w", "/proc/no/such"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (_folder, socket, _fake) = answering(chunks(&[&format!("{EVENT}\n")], true));
    let mut err = Vec::new();
    let words = ["secctl", "--socket", socket.to_str().unwrap(), "tail"].map(Into::into);
    assert_eq!(secctl::run(words, &environment(), &mut Closed, &mut err), 0);
    assert_eq!(err, b"");
}
