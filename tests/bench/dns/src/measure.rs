//! Rounds of dnsperf against each side in turns.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    names::{self, BLOCKED, CACHED, UNCACHED},
    sides::{self, Running, Side},
};

/// How long it takes.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
}

/// What is asked.
const KINDS: [&str; 3] = ["blocked", "cached", "uncached"];
/// Microseconds an answer may cost us.
const GOALS: [f64; 3] = [5.0, 5.0, 35.0];
/// Time a server has to load its names.
const PATIENCE: Duration = Duration::from_secs(120);
/// Answers that may be lost of a thousand, until a side has failed.
const LOST: f64 = 10.0;

/// The figures of one side.
pub(crate) struct Outcome {
    side: Side,
    /// Seconds of processor until it answered for the first time.
    load: f64,
    /// Megabytes after the names were loaded, and at the end.
    memory: [f64; 2],
    /// Microseconds an answer and answers a second, for each kind; or why there are none.
    kinds: Vec<Result<[f64; 2], String>>,
}

impl Outcome {
    pub(crate) fn words(&self) -> String {
        let kinds = KINDS.iter().zip(&self.kinds).map(|(kind, figures)| match figures {
            Ok([micros, rate]) => format!("{kind} {micros:.2} µs ({:.0}k/s)", rate / 1000.0),
            Err(why) => format!("{kind} failed: {why}"),
        });
        let [before, after] = self.memory;
        format!(
            "{:14} {}   load {:.2} s CPU, {before:.0} -> {after:.0} MB",
            self.side.name(),
            kinds.collect::<Vec<_>>().join("   "),
            self.load
        )
    }
}

/// Measures all sides that are there.
pub(crate) fn run(effort: Effort, only: &str) -> Result<Vec<Outcome>> {
    if sides::program("dnsperf").is_none() {
        bail!("dnsperf is not installed (apt-get install dnsperf)");
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    // Every seventh: no side may have an advantage from asking in the order of its file.
    names::write(&path.join("blocked"), BLOCKED / 7, |at| format!("{} A", names::blocked(at * 7)))?;
    names::write(&path.join("cached"), CACHED, |at| format!("{} A", names::clean("cached", at)))?;
    // A file for each round: what one round has asked for is cached in the next.
    for round in 0..effort.rounds {
        let name = format!("uncached{round}");
        names::write(&path.join(&name), UNCACHED, |at| format!("{} A", names::clean(&name, at)))?;
    }
    let upstream_address = free_port()?;
    let _upstream = sides::upstream(upstream_address)?;
    let wanted = Side::ALL.into_iter().filter(|side| side.name().contains(only));
    let mut outcomes = Vec::new();
    for side in wanted {
        if !side.is_there() {
            println!("SKIP: {}: not installed", side.name());
            continue;
        }
        let home = path.join(side.name());
        fs::create_dir(&home)?;
        let listen = free_port()?;
        let running = side.start(&home, listen, upstream_address)?;
        wait_for(listen).with_context(|| format!("{} does not answer", side.name()))?;
        let load = processor(&running)?;
        let before = memory(&running)?;
        let kinds = KINDS
            .map(|kind| rounds(effort, kind, path, &running, listen).map_err(|error| format!("{error:#}")));
        outcomes.push(Outcome { side, load, memory: [before, memory(&running)?], kinds: kinds.into() });
    }
    Ok(outcomes)
}

/// The middle of several rounds.
fn rounds(
    effort: Effort,
    kind: &str,
    folder: &Path,
    running: &Running,
    listen: SocketAddr,
) -> Result<[f64; 2]> {
    let file = folder.join(kind);
    let file = |round| if kind == "uncached" { folder.join(format!("{kind}{round}")) } else { file.clone() };
    // Once without looking: everything that is to be cached is.
    if kind == "cached" {
        dnsperf(&file(0), listen, 1)?;
    }
    let mut figures = Vec::new();
    for round in 0..effort.rounds {
        let before = processor(running)?;
        let asked = dnsperf(&file(round), listen, effort.seconds)?;
        let used = processor(running)? - before;
        figures.push([used / asked.completed * 1e6, asked.completed / asked.seconds]);
    }
    figures.sort_by(|a, b| a[0].total_cmp(&b[0]));
    figures.get(figures.len() / 2).copied().context("no round")
}

struct Asked {
    completed: f64,
    seconds: f64,
}

fn dnsperf(file: &Path, listen: SocketAddr, seconds: u64) -> Result<Asked> {
    let output = Command::new("taskset")
        .args(["-c", "1", "dnsperf", "-c", "8", "-q", "50", "-s"])
        .arg(listen.ip().to_string())
        .args(["-p", &listen.port().to_string(), "-l", &seconds.to_string(), "-d"])
        .arg(file)
        .output()
        .context("run dnsperf")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |label: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("dnsperf says nothing of `{label}`: {text}"))
    };
    let (sent, completed) = (figure("Queries sent:")?, figure("Queries completed:")?);
    let lost = (sent - completed) / sent.max(1.0) * 1000.0;
    if lost > LOST {
        bail!("{lost:.0} of 1000 answers are lost");
    }
    let good = text.lines().find_map(|line| line.trim().strip_prefix("Response codes:")).unwrap_or_default();
    if !good.trim().starts_with("NOERROR") || good.contains("SERVFAIL") {
        bail!("other answers than wanted:{good}");
    }
    Ok(Asked { completed, seconds: figure("Run time (s):")? })
}

/// Seconds of processor that a process has used.
fn processor(running: &Running) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", running.id()))?;
    let behind_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: f64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<f64>().ok()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok(ticks / per_second)
}

/// Megabytes that a process holds.
fn memory(running: &Running) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", running.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kilobytes = line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    Ok(kilobytes.context("no memory in /proc")? / 1024.0)
}

/// Asks until there is an answer.
fn wait_for(listen: SocketAddr) -> Result<()> {
    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05ready\x07example\x03net\0\0\x01\0\x01";
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(listen)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        // Refused while nobody listens yet.
        let _ = socket.send(QUERY);
        if socket.recv(&mut [0; 512]).is_ok() {
            return Ok(());
        }
    }
    bail!("not within {} s", PATIENCE.as_secs())
}

fn free_port() -> Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The agreed shape of results: ours, and the others beside it.
pub(crate) fn to_json(outcomes: &[Outcome]) -> Value {
    let figure = |side: Side, kind: usize| {
        let outcome = outcomes.iter().find(|outcome| outcome.side == side)?;
        outcome.kinds.get(kind).cloned()
    };
    let cases = KINDS.iter().zip(GOALS).enumerate().filter_map(|(at, (kind, goal))| {
        let name = format!("dns/{kind}/500k-names");
        Some(match figure(Side::Secd, at)? {
            Err(why) => json!({ "name": name, "failed": why }),
            Ok([ours, _]) => {
                let others = Side::ALL.into_iter().skip(1);
                let peers: serde_json::Map<String, Value> = others
                    .filter_map(|side| Some((side.name().to_owned(), json!(figure(side, at)?.ok()?[0]))))
                    .collect();
                let below = peers.values().all(|peer| peer.as_f64().is_none_or(|peer| ours < peer));
                json!({
                    "name": name, "unit": "µs", "ours": ours, "peers": peers, "goal": goal,
                    "met": ours <= goal && (below || *kind == "uncached"),
                })
            }
        })
    });
    json!({ "bench": "dns", "machine": {}, "cases": cases.collect::<Vec<_>>() })
}
