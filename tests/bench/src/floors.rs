//! What nobody is quicker than on this machine: a call of a helper or a function, and a load that has to wait for the
//! one before it, by how much memory the loads are spread over. Goals that are missed are explained by these.

use anyhow::{Result, ensure};
use bench_programs::{Control, FLOOR_TIMES, Line};
use std::path::Path;

use crate::{
    chance::Chance,
    frame::{Family, Segment, frame},
    harness::{Floor, Programs, Side},
    micro::Effort,
    progress::Progress,
    report::{Case, Series},
};

/// Lines of a mebibyte.
const MIB: u32 = (1 << 20) / size_of::<Line>() as u32;
/// Mebibytes that loads are spread over: what the second cache holds of it, a small table of flows, an image with a
/// million prefixes, and the flow table that is measured.
const SPREADS: [u32; 4] = [1, 8, 32, 256];

/// Measures every floor whose name contains `only`.
pub(crate) fn run(object: &Path, effort: Effort, only: &str, progress: &Progress) -> Result<Vec<Case>> {
    let loads = SPREADS.map(|mib| (format!("floor/load-after-load/{mib}-MiB"), mib));
    let calls = [("floor/helper-call", Floor::Helpers), ("floor/function-call", Floor::Calls)];
    let wants = |name: &str| name.contains(only);
    let most = loads.iter().filter(|(name, _)| wants(name)).map(|(_, mib)| *mib).max();
    if most.is_none() && !calls.iter().any(|(name, _)| wants(name)) {
        return Ok(Vec::new());
    }
    progress.at("floors");
    let mut programs = Programs::open_with(object, None, most.map_or(1, |mib| mib * MIB))?;
    let mut cases = Vec::new();
    for (name, floor) in calls.into_iter().filter(|(name, _)| wants(name)) {
        cases.push(Case::new(name, "ns", &each(&mut programs, floor, effort)?));
    }
    for (name, mib) in loads.iter().filter(|(name, _)| wants(name)) {
        let count = mib * MIB;
        chain(&mut programs.lines.all()[..count as usize]);
        programs.control(Control::default())?;
        cases.push(Case::new(name, "ns", &each(&mut programs, Floor::Loads, effort)?));
    }
    cases.iter().for_each(|case| progress.found(case));
    Ok(cases)
}

/// Has each line name another, so that whoever follows comes by all of them (Sattolo's algorithm).
fn chain(lines: &mut [Line]) {
    let mut order: Vec<u32> = (0..).take(lines.len()).collect();
    let mut chance = Chance::new(lines.len() as u64);
    for last in (1..order.len()).rev() {
        order.swap(last, chance.below(last as u32) as usize);
    }
    for (line, next) in lines.iter_mut().zip(order) {
        line.next = next;
    }
}

/// Nanoseconds of one of what a floor does.
fn each(programs: &mut Programs, floor: Floor, effort: Effort) -> Result<Series> {
    let any = frame(Family::V4, &[], Segment::Udp);
    let repeat = effort.repeat;
    let (mut nothing, mut all) = (Series::default(), Series::default());
    for round in 0..=effort.rounds {
        for (side, series) in [(Floor::Nothing, &mut nothing), (floor, &mut all)] {
            let before = programs.answers()?;
            let (took, _) = programs.run(Side::Floor(side), Family::V4, &any, repeat)?;
            ensure!(programs.answers()? != before, "{side:?} did nothing");
            // The first round is to warm up.
            if round > 0 {
                series.push(took / f64::from(FLOOR_TIMES));
            }
        }
    }
    Ok(all.above(nothing.median(), nothing.min()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_follows_the_lines_comes_by_all_of_them() {
        let mut lines = vec![Line::default(); 1000];
        chain(&mut lines);
        let (mut at, mut seen) = (0, vec![false; lines.len()]);
        while !std::mem::replace(&mut seen[at], true) {
            at = lines[at].next as usize;
        }
        assert!(at == 0 && seen.iter().all(|it| *it));
    }
}
