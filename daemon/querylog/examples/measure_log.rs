//! What a question costs in the log: `cargo run --release -p querylog --example measure_log [QUESTIONS] [FOLDER]`.
//!
//! Questions of 30 clients for 20 000 names, the popular ones often (a Zipf-like share), a fifth of them blocked, over
//! 91 days.

use model::{AnswerCode, AnswerFrom, EventAction, QueryFilter, QueryStatsFilter, QueryType, Timestamp};
use querylog::{By, Entry, QueryLog, Settings};
use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Instant,
};

const NAMES: u64 = 20_000;
const CLIENTS: u64 = 30;
const SPAN: i64 = 91 * 86_400_000_000;
const START: i64 = 20_700 * 86_400_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let questions: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("secd-measure-log-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let names: Vec<String> = (0..NAMES)
        .map(|n| {
            format!(
                "{}.{}.example-{}.com",
                ["www", "api", "cdn-eu-1", "telemetry.prod"][n as usize % 4],
                n,
                n % 997
            )
        })
        .collect();
    let now = Arc::new(AtomicI64::new(START));
    let clock = Arc::clone(&now);
    let settings = Settings { min_free: 0, ..Settings::new(3_650, 4_000_000_000) };
    let log = QueryLog::start(
        folder.join("queries.db"),
        settings,
        Arc::new(move || Timestamp(clock.load(Relaxed))),
    )?;
    log.flush();
    let idle = memory("VmRSS");
    let upstreams = ["9.9.9.9:53", "149.112.112.112:53"];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let before = cpu_of_writer();
    let mut push = 0.0;
    for n in 0..questions {
        // The product of two shares is small often: few names have most of the questions.
        let place = next(NAMES) * next(NAMES) / NAMES * next(1_000) / 1_000;
        let (client, kind) = (next(CLIENTS), next(100));
        let (action, from, by) = match kind {
            0..20 => (
                EventAction::Sinkhole,
                AnswerFrom::Sinkhole,
                Some(By::List { list: "hagezi-pro", line: next(400_000) as u32, allow: false }),
            ),
            20..65 => (EventAction::Pass, AnswerFrom::Cache, None),
            65..98 => (EventAction::Pass, AnswerFrom::Upstream, None),
            _ => (EventAction::Pass, AnswerFrom::Local, None),
        };
        let is_forwarded = from == AnswerFrom::Upstream;
        let at = START + SPAN / questions as i64 * n as i64;
        let entry = Entry {
            at: Timestamp(at),
            client: Some([10, 4, 0, client as u8].into()),
            client_name: if client < 10 { "kids-tablet" } else { "" },
            zone: "home",
            name: names.get(place as usize).map(String::as_str),
            alias: "",
            qtype: QueryType([1, 28, 65, 1][next(4) as usize]),
            code: AnswerCode(if next(10) == 0 { 3 } else { 0 }),
            action,
            from,
            upstream: if is_forwarded { upstreams[next(2) as usize] } else { "" },
            by,
            secure: next(5) == 0,
            micros: if is_forwarded { 5_000 + next(60_000) as u32 } else { 0 },
        };
        let begun = Instant::now();
        log.push(&entry);
        push += begun.elapsed().as_secs_f64();
        now.store(at, Relaxed);
        if n % 4_096 == 4_095 {
            log.flush();
        }
    }
    log.flush();
    let spent = cpu_of_writer() - before;
    let status = log.status();
    println!("{questions} questions, {} not kept", status.dropped + status.lost);
    println!("{:.1} bytes a question in the file, all tables", status.bytes as f64 / questions as f64);
    println!("{:.2} µs CPU a question of the thread that writes", spent * 1e6 / questions as f64);
    println!("{:.2} µs a question on the path that pushes, clock included", push * 1e6 / questions as f64);
    println!("{:.1} MB more resident than with an empty log", (memory("VmHWM") - idle) / 1e3);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let hour = 3_600_000_000;
    let last = |span: i64| Some(Timestamp(START + SPAN - span));
    let page = |filter: QueryFilter| {
        let begun = cpu();
        runtime.block_on(log.queries(&filter)).map(|page| (page.rows.len(), cpu() - begun))
    };
    println!("the last questions: (rows, s of CPU) {:?}", page(QueryFilter::default())?);
    let rare = QueryFilter { name: Some("www.19996.example-56.com".into()), ..QueryFilter::default() };
    println!("a rare name in all of them: {:?}", page(rare)?);
    for (what, since, bucket, by_client) in [
        ("all, top names", None, None, false),
        ("a day, history of 10 minutes by client", last(24 * hour), Some(600), true),
        ("all, history of a day by client", None, Some(86_400), true),
    ] {
        let filter = QueryStatsFilter { since, bucket, by_client, ..QueryStatsFilter::default() };
        let (begun, before) = (Instant::now(), cpu());
        let stats = runtime.block_on(log.stats(&filter))?;
        let (taken, spent) = (begun.elapsed(), cpu() - before);
        println!("{what}: {} questions in {taken:?}, {spent:.2} s of CPU", stats.totals.total);
    }
    println!("{:.1} MB more resident at most, readers included", (memory("VmHWM") - idle) / 1e3);
    log.close();
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Seconds of CPU that the thread of the log has had.
fn cpu_of_writer() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of_log = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "dns-log")
    };
    tasks.filter(of_log).map(|task| seconds(&task.path().join("stat"))).sum()
}

/// Seconds of CPU that this process has had.
fn cpu() -> f64 {
    seconds(Path::new("/proc/self/stat"))
}

fn seconds(stat: &Path) -> f64 {
    let text = fs::read_to_string(stat).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Kilobytes of memory.
fn memory(what: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
