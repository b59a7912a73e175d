//! Rounds of dnsperf against all sides in turns.

use anyhow::{Context as _, Result, bail, ensure};
use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use crate::{
    client::{address, free_port, wait_for},
    names::{self, BLOCKED, CACHED, UNCACHED},
    report::{Case, Goal, Series},
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
/// Answers that may be lost of a thousand, until a side has failed.
const LOST: f64 = 10.0;
/// Names of each kind whose answers are compared before anything is measured.
const COMPARED: usize = 50;

/// A side that answers.
struct Ready {
    side: Side,
    listen: SocketAddr,
    running: Running,
    /// Seconds of processor until it answered for the first time, and megabytes then.
    load: (f64, f64),
    figures: BTreeMap<&'static str, Result<Series, String>>,
}

/// Measures all sides that are there.
pub(crate) fn run(effort: Effort) -> Result<Vec<Case>> {
    ensure!(sides::program("dnsperf").is_some(), "dnsperf is not installed (apt-get install dnsperf)");
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
    let mut all = Vec::new();
    for side in Side::ALL {
        if side.is_there() {
            all.push(Ready::start(side, path, upstream_address)?);
        } else {
            println!("SKIP: {}: not installed", side.name());
        }
    }
    for kind in KINDS {
        for round in 0..effort.rounds {
            let file = path.join(if kind == "uncached" { format!("{kind}{round}") } else { kind.to_owned() });
            for side in all.iter_mut().filter(|ready| ready.side.takes(kind)) {
                side.round(kind, round, &file, effort.seconds);
            }
            println!("{kind}: round {} of {}", round + 1, effort.rounds);
        }
    }
    cases(&all)
}

impl Ready {
    fn start(side: Side, path: &Path, upstream: SocketAddr) -> Result<Self> {
        let home = path.join(side.name());
        fs::create_dir(&home)?;
        let listen = free_port()?;
        let running = side.start(&home, listen, upstream)?;
        wait_for(listen).with_context(|| format!("{} does not answer", side.name()))?;
        let load = (running.processor()?, running.memory(false)?);
        println!("{}: answers after {:.2} s of processor, {:.0} MB", side.name(), load.0, load.1);
        // Everybody does the same work: the same answers.
        for at in 0..COMPARED {
            let (listed, clean) = (names::blocked(at * 9973), names::clean("same", at));
            let wanted = if side.takes("blocked") { [0, 0, 0, 0] } else { [192, 0, 2, 1] };
            for (name, wanted) in [(listed, wanted), (clean, [192, 0, 2, 1])] {
                let got = address(listen, &name)?;
                ensure!(got == Some(wanted), "{} answers {name} with {got:?}", side.name());
            }
        }
        Ok(Self { side, listen, running, load, figures: BTreeMap::new() })
    }

    fn round(&mut self, kind: &'static str, round: usize, file: &Path, seconds: u64) {
        let figure = (|| {
            // Once without looking: everything that is to be cached is.
            if kind == "cached" && round == 0 {
                dnsperf(file, self.listen, 1, &[])?;
            }
            let before = self.running.processor()?;
            let asked = dnsperf(file, self.listen, seconds, &[])?;
            Ok::<_, anyhow::Error>((self.running.processor()? - before) / asked.completed * 1e6)
        })();
        let series = self.figures.entry(kind).or_insert_with(|| Ok(Series::new()));
        match (&mut *series, figure) {
            (Ok(figures), Ok(figure)) => figures.push(figure),
            (Ok(_), Err(error)) => *series = Err(format!("{error:#}")),
            (Err(_), _) => {}
        }
    }
}

fn cases(all: &[Ready]) -> Result<Vec<Case>> {
    let of = |side: Side| all.iter().find(|ready| ready.side == side);
    let ours = of(Side::Secd).context("our own side is not there")?;
    let bare = of(Side::Bare).context("our own side is not there")?;
    let peers = || all.iter().filter(|ready| !matches!(ready.side, Side::Secd | Side::Bare));
    let mut cases = Vec::new();
    for (kind, goal) in KINDS.into_iter().zip(GOALS) {
        let name = format!("dns/answers/{kind}/500k-names");
        let series = match ours.figures.get(kind).context("not measured")? {
            Ok(series) => series,
            Err(why) => {
                cases.push(Case::failed(name, why));
                continue;
            }
        };
        let mut case = Case::new(name, "µs", series);
        for peer in peers() {
            match peer.figures.get(kind) {
                Some(Ok(figures)) => case = case.peer(peer.side.name(), figures.median()),
                Some(Err(why)) => println!("{kind}: {} failed: {why}", peer.side.name()),
                None => {}
            }
        }
        let goal = if kind == "uncached" { Goal::AtMost(goal) } else { Goal::AtMostAndBelowAll(goal) };
        cases.push(case.goal(goal));
    }
    if let (Some(Ok(full)), Some(Ok(none))) = (ours.figures.get("uncached"), bare.figures.get("uncached")) {
        let case = Case::new("dns/answers/uncached/500k-names-over-none", "×", &full.over(none));
        cases.push(case.goal(Goal::AtMost(1.1)));
    }
    let memory = |ready: &Ready| ready.running.memory(true);
    let mut case = Case::new("dns/answers/peak-memory", "MB", &[memory(ours)?].into_iter().collect());
    let mut load = Case::new("dns/answers/start", "s", &[ours.load.0].into_iter().collect());
    for peer in peers() {
        case = case.peer(peer.side.name(), memory(peer)?);
        load = load.peer(peer.side.name(), peer.load.0);
    }
    cases.extend([case, load]);
    Ok(cases)
}

/// What dnsperf says.
pub(crate) struct Asked {
    pub(crate) completed: f64,
    pub(crate) seconds: f64,
}

/// Asks the names of a file for some seconds.
pub(crate) fn dnsperf(file: &Path, listen: SocketAddr, seconds: u64, more: &[&str]) -> Result<Asked> {
    let output = Command::new("dnsperf")
        .args(["-c", "8", "-q", "50", "-s"])
        .arg(listen.ip().to_string())
        .args(["-p", &listen.port().to_string(), "-l", &seconds.to_string(), "-d"])
        .arg(file)
        .args(more)
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
    if !good.trim().starts_with("NOERROR") || good.contains(',') {
        bail!("other answers than wanted:{good}");
    }
    Ok(Asked { completed, seconds: figure("Run time (s):")? })
}
