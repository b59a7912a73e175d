//! One client asks for 50,000 random names a second below one domain; the others go on as they did.

use anyhow::{Context as _, Result, ensure};
use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    client::{self, Heard, free_port, wait_for},
    measure::Effort,
    names::{self, CACHED},
    report::{Case, Goal, Series},
    sides,
};

/// Names a second of the flood.
const FLOOD: u32 = 50_000;
/// What of it must have been sent, for the case to count.
const SENT: f64 = 0.9;
/// The others, each with so many names a second, below their rate.
const OTHERS: u8 = 8;
const PACE: u32 = 100;

pub(crate) fn measure(effort: Effort) -> Result<Vec<Case>> {
    let (listen, upstream_address) = (free_port()?, free_port()?);
    let _upstream = sides::upstream(upstream_address)?;
    let running = sides::ours(listen, upstream_address, &["--rate"])?;
    wait_for(listen)?;
    let [mut unanswered, mut p99] = [const { Series::new() }; 2];
    for round in 0..effort.rounds {
        let done = &AtomicBool::new(false);
        let lasting = Duration::from_secs(effort.seconds);
        let start = Instant::now();
        let (sent, heard) = thread::scope(|scope| -> Result<(usize, Heard)> {
            let random = |at: usize| {
                let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                format!("{mixed:016x}.round{round}.victim.example.net")
            };
            let over = || done.load(Relaxed);
            let flood =
                scope.spawn(move || client::flood(Ipv4Addr::new(127, 0, 0, 66), listen, FLOOD, random, over));
            let others: Vec<_> = (0..OTHERS)
                .map(|other| {
                    let name = move |at: usize| match at % 2 {
                        0 => names::clean("cached", at % CACHED),
                        _ => names::clean(&format!("r{round}c{other}n"), at),
                    };
                    let done = || start.elapsed() >= lasting;
                    scope.spawn(move || {
                        client::ask(Ipv4Addr::new(127, 0, 0, 10 + other), listen, PACE, name, done)
                    })
                })
                .collect();
            let mut heard = Heard::default();
            for other in others {
                heard = heard.and(other.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
            }
            done.store(true, Relaxed);
            let sent = flood.join().map_err(|_| anyhow::anyhow!("the flood panicked"))??;
            Ok((sent, heard))
        })
        .context("clients")?;
        #[expect(clippy::cast_precision_loss, reason = "some millions")]
        let (pace, share) = (
            sent as f64 / start.elapsed().as_secs_f64(),
            (heard.asked - heard.answered) as f64 / heard.asked.max(1) as f64 * 1000.0,
        );
        println!("flood: {pace:.0} names a second beside {heard}");
        ensure!(pace >= SENT * f64::from(FLOOD), "the flood was only {pace:.0} names a second");
        unanswered.push(share);
        p99.push(heard.latency(990));
    }
    drop(running);
    Ok(vec![
        Case::new("dns/flood/others-unanswered", "‰", &unanswered).goal(Goal::AtMost(1.0)),
        Case::new("dns/flood/others-p99", "µs", &p99),
    ])
}
