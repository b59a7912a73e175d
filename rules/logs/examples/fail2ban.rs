//! How many lines a second of CPU Fail2ban's filters judge:
//! `cargo run --release -p logs --example fail2ban FOLDER [FILTER[OPTIONS] LOG]…`, with FOLDER a `filter.d`. Without logs
//! they are made up: `sshd` under attack among other lines, `nginx` with ten jails. `--write PATH` writes the made-up
//! sshd log, for a comparison.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use logs::fail2ban::{Counter, Filter, Matcher, Options, Texts, name_and_options};
use model::Timestamp;
use support::cpu_seconds;

const LINES: usize = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, rest)) = arguments.split_first() else { return Err("name a filter.d".into()) };
    let mut texts = Texts::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().is_file() {
            texts.add(
                &format!("filter.d/{}", entry.file_name().to_string_lossy()),
                std::fs::read(entry.path())?,
            );
        }
    }
    if let [flag, path] = rest
        && flag == "--write"
    {
        let lines: Vec<String> = (0..LINES).map(sshd_line).collect();
        return Ok(std::fs::write(path, lines.join("\n") + "\n")?);
    }
    if rest.is_empty() {
        let lines: Vec<Vec<u8>> = (0..100_000).map(|n| sshd_line(n).into_bytes()).collect();
        measure(&texts, &["sshd"], &lines)?;
        measure(&texts, &["sshd[mode=aggressive]"], &lines)?;
        let lines: Vec<Vec<u8>> = (0..100_000).map(|n| nginx_line(n).into_bytes()).collect();
        measure(&texts, &["nginx-botsearch"], &lines)?;
        let ten =
            ["nginx-botsearch", "nginx-bad-request", "nginx-http-auth", "nginx-limit-req", "apache-auth"];
        measure(&texts, &[ten, ten].concat(), &lines)?;
    }
    for pair in rest.chunks_exact(2) {
        let bytes = std::fs::read(&pair[1])?;
        let lines: Vec<Vec<u8>> = bytes.split(|&b| b == b'\n').map(<[u8]>::to_vec).collect();
        measure(&texts, &[&pair[0]], &lines)?;
    }
    Ok(())
}

fn address(n: usize) -> String {
    format!("{}.{}.{}.{}", 1 + n % 199, n / 7 % 256, n / 3 % 256, n % 251)
}

fn sshd_line(n: usize) -> String {
    let (second, ip) = (n / 500 % 60, address(n % 5_300));
    let pid = 1_000 + n / 4;
    let start = format!("Nov 23 02:{:02}:{second:02} gate", n / 30_000 % 60);
    match n % 10 {
        0 => format!(
            "{start} CRON[{n}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"
        ),
        1 => format!(
            "{start} sshd[{pid}]: Accepted publickey for git from {ip} port 4711 ssh2: ED25519 SHA256:abc"
        ),
        2 => format!("{start} systemd[1]: Started Session {n} of user git."),
        3 | 4 => format!("{start} sshd[{pid}]: Invalid user user{n} from {ip} port 4711"),
        5 | 6 => {
            format!("{start} sshd[{pid}]: Failed password for invalid user user{n} from {ip} port 4711 ssh2")
        }
        7 => {
            format!("{start} sshd[{pid}]: Connection closed by invalid user user{n} {ip} port 4711 [preauth]")
        }
        8 => format!("{start} sshd[{pid}]: Received disconnect from {ip} port 4711:11: Bye Bye [preauth]"),
        _ => format!(
            "{start} sshd[{pid}]: Disconnected from authenticating user root {ip} port 4711 [preauth]"
        ),
    }
}

fn nginx_line(n: usize) -> String {
    let (path, status) = if n.is_multiple_of(10) { ("wp-login.php", 404) } else { ("page", 200) };
    format!(
        "{} - - [23/Nov/2026:02:45:{:02} +0000] \"GET /{path} HTTP/1.1\" {status} 5120 \"https://example.org/\" \"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\"",
        address(n % 5_300),
        n / 500 % 60
    )
}

fn measure(texts: &Texts, names: &[&str], lines: &[Vec<u8>]) -> Result<(), Box<dyn std::error::Error>> {
    let mut jails = Vec::new();
    for name in names {
        let (name, options) = name_and_options(name)?;
        let filter = Filter::read(texts, &format!("filter.d/{name}"), &BTreeMap::from_iter(options))
            .map_err(|errors| format!("{errors:?}"))?;
        let counter = Counter::new(5, Duration::from_secs(600), 64);
        jails.push((Matcher::new(Arc::new(filter), Options::default()), counter));
    }
    let now: Timestamp = "2026-11-23T02:46:00Z".parse()?;
    let start = cpu_seconds()?;
    let (mut failures, mut bans) = (0, 0);
    for line in lines.iter().cycle().take(LINES) {
        for (matcher, counter) in &mut jails {
            for failure in matcher.line(now, line).failures {
                failures += 1;
                bans += usize::from(counter.count(now, &failure).is_some());
            }
        }
    }
    let seconds = cpu_seconds()? - start;
    println!(
        "{}: {:.0} lines/s, {:.0} ns a line ({failures} failures, {bans} bans)",
        if names.len() > 1 { format!("{} jails", names.len()) } else { names.concat() },
        LINES as f64 / seconds,
        seconds * 1e9 / LINES as f64,
    );
    Ok(())
}
