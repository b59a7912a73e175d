//! A list of a million is replaced while a thousand connections go on: how long it takes, what memory it takes, and
//! that no packet is lost. And what it takes to compile.

use abi::Action;
use anyhow::{Context as _, Result};
use bench_programs::Control;
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use crate::{
    chance::Chance,
    clock::{roam, thread_time},
    frame::{ACK, Family, Segment, frame},
    harness::{Harness, Side},
    micro::{CLIENT, LIST, PUSH, RULES, SERVER, Start, connect, feed},
    progress::Progress,
    report::{Case, Goal, Series},
    world::{self, Listed, Size},
};

/// Connections that go on.
const LIVE: usize = 1024;
/// Packets between two looks at the clock.
const PACKETS: u32 = 4096;
const MIB: f64 = 1024.0 * 1024.0;

/// Swaps so many times. Measures everything whose name contains `only`.
pub(crate) fn run(
    object: &Path,
    listed: &Listed,
    swaps: usize,
    only: &str,
    progress: &Progress,
) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    if "compile".contains(only) || only.starts_with("compile") {
        cases.extend(compile(listed, progress)?);
    }
    if "swap".contains(only) || only.starts_with("swap") {
        cases.extend(swap(object, listed, swaps, progress)?);
    }
    cases.retain(|case: &Case| case.name.contains(only));
    Ok(cases)
}

/// Plan to image, in processor time.
fn compile(listed: &Listed, progress: &Progress) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, list, rules, most) in [
        ("1M-list/10-rules", LIST, 10, 1500.0),
        ("1k-list/10k-rules", 1000, RULES, 500.0),
        ("1M-list/10k-rules", LIST, RULES, 1500.0),
    ] {
        progress.at(&format!("compile/{name}"));
        let plan = world::plan(listed, Size { interface: "lo", list, rules, number: 0 });
        let mut took = Series::default();
        let mut figures = policy::image::Figures::default();
        for _ in 0..5 {
            let before = thread_time();
            let image = policy::image::compile(&plan, &[]).context("compile the image")?;
            took.push((thread_time() - before) as f64 / 1e6);
            figures = image.figures;
        }
        cases.push(Case::new(format!("compile/{name}/time"), "ms", &took).goal(Goal::AtMost(most)));
        let bytes: Series = [figures.bytes() as f64 / MIB].into_iter().collect();
        let goal = if list == LIST { 64.0 } else { 16.0 };
        cases.push(Case::new(format!("compile/{name}/image"), "MiB", &bytes).goal(Goal::AtMost(goal)));
    }
    Ok(cases)
}

fn swap(object: &Path, listed: &Listed, swaps: usize, progress: &Progress) -> Result<Vec<Case>> {
    progress.at("swap: loading");
    let mut harness = Harness::open(object)?;
    let plans =
        [0, 1].map(|number| world::plan(listed, Size { interface: "lo", list: LIST, rules: RULES, number }));
    harness.dataplane.apply(&plans[0]).context("apply the plan")?;
    let mut chance = Chance::new(0x7377_6170);
    let flows = connect(&mut harness, listed, Family::V4, Start::Outside, LIVE, &mut chance)?.flows;
    feed(&mut harness, Family::V4, &flows, LIVE)?;
    let packet = frame(Family::V4, &[], Segment::Tcp(ACK | PUSH, CLIENT + 1, SERVER + 1));
    harness.programs.control(Control { at: packet.at, ..Control::default() })?;
    let before = harness.counted()?;
    let (mut took, mut used) = (Series::default(), Series::default());
    let (mut bytes, mut bytes_at_swap) = (0, 0);
    let done = AtomicBool::new(false);
    let Harness { programs, dataplane, .. } = &mut harness;
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| -> Result<u64> {
            roam()?;
            let mut sent = 0;
            while !done.load(Ordering::Relaxed) {
                programs.run(Side::Secd, Family::V4, &packet, PACKETS)?;
                sent += u64::from(PACKETS);
            }
            Ok(sent)
        });
        let mut swap_all = || -> Result<()> {
            roam()?;
            for number in 0..swaps {
                progress.at(&format!("swap {} of {swaps}", number + 1));
                let (begun, cpu) = (Instant::now(), thread_time());
                let applied = dataplane.apply(&plans[(number + 1) % 2]).context("swap the list")?;
                took.push(begun.elapsed().as_secs_f64() * 1e3);
                used.push((thread_time() - cpu) as f64 / 1e6);
                bytes = bytes.max(applied.bytes);
                bytes_at_swap = bytes_at_swap.max(applied.bytes_at_swap);
            }
            Ok(())
        };
        let swapped = swap_all();
        done.store(true, Ordering::Relaxed);
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        swapped.and(sent)
    })?;
    let counted = harness.counted()?.since(&before);
    let passed = counted.with(Action::Pass);
    if counted.sum() != sent {
        let why = format!("of {sent} packets secd counted {}", counted.words());
        return Ok(vec![Case::failed("swap/1M-list/10k-rules/lost-packets", why)]);
    }
    let one = |figure: f64| -> Series { [figure].into_iter().collect() };
    Ok(vec![
        Case::new("swap/1M-list/10k-rules/time", "ms", &took).goal(Goal::AtMost(1500.0)),
        Case::new("swap/1M-list/10k-rules/cpu-time", "ms", &used),
        Case::new(format!("swap/1M-list/10k-rules/{swaps}-swaps/packets"), "M", &one(sent as f64 / 1e6)),
        Case::new(
            format!("swap/1M-list/10k-rules/{swaps}-swaps/lost-packets"),
            "packets",
            &one((sent - passed) as f64),
        )
        .goal(Goal::AtMost(0.0)),
        Case::new("swap/1M-list/10k-rules/memory", "MiB", &one(bytes as f64 / MIB)).goal(Goal::AtMost(64.0)),
        Case::new("swap/1M-list/10k-rules/memory-at-swap", "MiB", &one(bytes_at_swap as f64 / MIB)),
    ])
}
