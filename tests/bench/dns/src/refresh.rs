//! What becomes of answers and memory while a list of 500,000 names is read anew, again and again.

use anyhow::{Context as _, Result, ensure};
use std::{
    io::{BufRead as _, Write as _},
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{self, Heard, free_port, wait_for},
    measure::Effort,
    names::{self, BLOCKED, CACHED},
    report::{Case, Goal, Series},
    sides,
};

/// Names a second that are asked meanwhile: a large home, on its busiest evening.
const PACE: u32 = 2000;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Case>> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("ads.txt");
    names::write(&list, BLOCKED, |number| format!("||{}^", names::blocked(number)))?;
    let (listen, upstream_address) = (free_port()?, free_port()?);
    let _upstream = sides::upstream(upstream_address)?;
    let mut running = sides::ours(listen, upstream_address, &["--list", &list.display().to_string()])?;
    let (mut told, mut says) = running.talk()?;
    wait_for(listen)?;
    let lasting = Duration::from_secs(effort.seconds);
    let ask = |done: &(dyn Fn() -> bool + Sync)| {
        client::ask(Ipv4Addr::new(127, 0, 0, 9), listen, PACE, mixed, done).context("the client")
    };
    let for_a_while = || {
        let start = Instant::now();
        ask(&move || start.elapsed() >= lasting)
    };
    // What can be cached is, and the first pages of memory are there.
    for_a_while()?;
    let steady = running.memory(false)?;
    let [mut idle, mut busy] = [const { Series::new() }; 2];
    let (mut all, mut refreshes) = (Heard::default(), 0);
    for _ in 0..effort.rounds {
        idle.push(for_a_while()?.latency(990));
        let done = AtomicBool::new(false);
        let heard = thread::scope(|scope| {
            let asking = scope.spawn(|| ask(&|| done.load(Relaxed)));
            let start = Instant::now();
            let mut refreshing = || -> Result<()> {
                while start.elapsed() < lasting {
                    writeln!(told, "read")?;
                    let mut line = String::new();
                    says.read_line(&mut line)?;
                    ensure!(line.trim() == "read", "the list was not read");
                    refreshes += 1;
                }
                Ok(())
            };
            let refreshed = refreshing();
            done.store(true, Relaxed);
            let heard = asking.join().map_err(|_| anyhow::anyhow!("the client panicked"))?;
            refreshed.and(heard)
        })?;
        busy.push(heard.latency(990));
        all = all.and(heard);
    }
    println!("refresh: the list was read {refreshes} times meanwhile; {all}");
    ensure!(all.otherwise == 0, "other answers than wanted: {all}");
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let lost: Series = [all.lost() as f64].into_iter().collect();
    let peak: Series = [running.memory(true)? / steady].into_iter().collect();
    Ok(vec![
        Case::new("dns/refresh/lost", "queries", &lost).goal(Goal::AtMost(0.0)),
        Case::new("dns/refresh/p99", "µs", &busy).peer("idle", idle.median()),
        Case::new("dns/refresh/p99-over-idle", "×", &busy.over(&idle)).goal(Goal::AtMost(2.0)),
        Case::new("dns/refresh/peak-memory-over-steady", "×", &peak).goal(Goal::AtMost(2.0)),
    ])
}

/// Blocked and cached names in turns.
fn mixed(at: usize) -> String {
    if at.is_multiple_of(2) { names::blocked(at * 7 % BLOCKED) } else { names::clean("cached", at % CACHED) }
}
