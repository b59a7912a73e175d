//! How many lines a second of CPU the engine judges: `cargo run --release -p logs --example throughput [FILTER FILE]`.
//! Without a file the lines are made up: a quiet auth log, an ssh attack, an access log of visitors with some probing.

mod support;

use jiff::tz::TimeZone;
use logs::{Clock, Engine, Library, Limits, Source, SourceIndex};
use model::{Mode, Timestamp};
use support::cpu_seconds;

const LINES: usize = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [filter, file] = &arguments[..] {
        let bytes = std::fs::read(file)?;
        let lines: Vec<Vec<u8>> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        return measure(filter, filter, &lines);
    }
    let address = |n: usize| format!("{}.{}.{}.{}", 1 + n % 199, n / 7 % 256, n / 3 % 256, n % 251);
    let made = |line: &dyn Fn(usize) -> String| (0..10_000).map(|n| line(n).into_bytes()).collect::<Vec<_>>();
    measure(
        "sshd",
        "auth log, other programs",
        &made(&|n| {
            format!(
                "Nov 23 02:45:{:02} gate CRON[{n}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
                n % 60
            )
        }),
    )?;
    measure(
        "sshd",
        "sshd, nothing wrong",
        &made(&|n| {
            format!(
                "Nov 23 02:45:{:02} gate sshd[{n}]: Accepted publickey for git from {} port 4711 ssh2: ED25519 SHA256:abc",
                n % 60,
                address(n)
            )
        }),
    )?;
    measure(
        "sshd",
        "sshd under attack",
        &made(&|n| match n % 3 {
            0 => format!(
                "Nov 23 02:45:{:02} gate sshd[{n}]: Invalid user user{n} from {} port 4711",
                n % 60,
                address(n)
            ),
            1 => format!(
                "Nov 23 02:45:{:02} gate sshd[{n}]: Failed password for invalid user user{n} from {} port 4711 ssh2",
                n % 60,
                address(n)
            ),
            _ => format!(
                "Nov 23 02:45:{:02} gate sshd[{n}]: Connection closed by invalid user user{n} {} port 4711 [preauth]",
                n % 60,
                address(n)
            ),
        }),
    )?;
    let access = |n: usize, status: u16, path: &str| {
        format!(
            "{} - - [23/Nov/2026:02:45:{:02} +0000] \"GET /{path}{n}.html?x=%20y HTTP/1.1\" {status} 5120 \"https://example.org/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
            address(n),
            n % 60
        )
    };
    measure("nginx", "nginx, visitors", &made(&|n| access(n, 200, "page")))?;
    measure(
        "nginx",
        "nginx, one in ten a 404",
        &made(&|n| access(n, if n % 10 == 0 { 404 } else { 200 }, "page")),
    )?;
    measure(
        "traefik",
        "traefik, visitors",
        &made(&|n| {
            let ip = address(n);
            format!(
                "{{\"ClientAddr\":\"{ip}:4711\",\"ClientHost\":\"{ip}\",\"ClientPort\":\"4711\",\"ClientUsername\":\"-\",\"DownstreamContentSize\":357,\"DownstreamStatus\":200,\"Duration\":357313,\"OriginDuration\":324669,\"OriginStatus\":200,\"RequestAddr\":\"x.example\",\"RequestHost\":\"x.example\",\"RequestMethod\":\"GET\",\"RequestPath\":\"/page{n}\",\"RouterName\":\"x@docker\",\"ServiceURL\":{{\"Scheme\":\"http\",\"Host\":\"172.17.0.3:80\"}},\"StartUTC\":\"2026-11-23T02:45:{:02}.5Z\",\"request_User-Agent\":\"Mozilla/5.0\",\"time\":\"2026-11-23T02:45:00Z\"}}",
                n % 60
            )
        }),
    )
}

fn measure(filter: &str, what: &str, lines: &[Vec<u8>]) -> Result<(), Box<dyn std::error::Error>> {
    let source = Source { name: "log".into(), filter: filter.into(), mode: Mode::Enforce };
    let mut engine =
        Engine::new(&Library::builtin(), vec![source], Limits::default(), Clock::new(TimeZone::UTC))?;
    let now: Timestamp = "2026-11-23T02:46:00Z".parse()?;
    let start = cpu_seconds()?;
    let mut bans = 0;
    for line in lines.iter().cycle().take(LINES) {
        bans += engine.line(now, SourceIndex(0), line).overflows.len();
    }
    let seconds = cpu_seconds()? - start;
    let stats = engine.stats();
    println!(
        "{what}: {:.0} lines/s, {:.0} ns a line ({} events, {bans} bans, {} buckets)",
        LINES as f64 / seconds,
        seconds * 1e9 / LINES as f64,
        stats.events,
        engine.buckets()
    );
    Ok(())
}
