//! What it takes to load 500,000 names: from their text, and from the compiled snapshot.

use anyhow::{Result, ensure};
use lists::{Asked, DomainSet, GroupSet};
use rustix::time::{ClockId, clock_gettime};
use std::{path::Path, process::Command};

use crate::{
    measure::Effort,
    names::{self, BLOCKED},
    report::{Case, Goal, Series},
    server::read,
};

/// One measurement in a process of its own: seconds from text, seconds from the snapshot, megabytes of the set.
pub(crate) fn run(list: &Path) -> Result<()> {
    let (set, text) = timed(|| read(list))?;
    let entries = blocked(&set);
    let snapshot = set.write();
    drop(set);
    let (set, compiled) = timed(|| Ok(DomainSet::read(&snapshot)?))?;
    ensure!(blocked(&set) == entries, "the snapshot does not say what the text says");
    drop(snapshot);
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let megabytes = set.bytes() as f64 / 1024.0 / 1024.0;
    println!("{entries} {text} {compiled} {megabytes}");
    Ok(())
}

/// How many of the names it blocks.
fn blocked(set: &DomainSet) -> usize {
    let all = (0..BLOCKED).map(names::blocked);
    all.filter(|name| {
        let asked = Asked { name, qtype: 1, groups: GroupSet::DEFAULT, address: None, client: "" };
        set.decide(&asked).is_some()
    })
    .count()
}

/// Seconds of this thread's processor.
fn timed<T>(act: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let start = now();
    let done = act()?;
    Ok((done, now() - start))
}

pub(crate) fn measure(effort: Effort) -> Result<Vec<Case>> {
    let folder = tempfile::tempdir()?;
    let list = folder.path().join("ads.txt");
    names::write(&list, BLOCKED, |number| format!("||{}^", names::blocked(number)))?;
    let [mut text, mut compiled, mut size] = [const { Series::new() }; 3];
    for _ in 0..effort.rounds {
        let output = Command::new(std::env::current_exe()?).arg("lists").arg(&list).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let words: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let &[entries, seconds, again, megabytes] = words.as_slice() else {
            anyhow::bail!("no figures: {said}{}", String::from_utf8_lossy(&output.stderr));
        };
        #[expect(clippy::cast_precision_loss, reason = "half a million")]
        let wanted = BLOCKED as f64;
        ensure!(entries == wanted, "{entries} of {BLOCKED} names are there");
        text.push(seconds);
        compiled.push(again);
        size.push(megabytes);
    }
    Ok(vec![
        Case::new("dns/load/500k-names/text", "s", &text).goal(Goal::AtMost(1.0)),
        Case::new("dns/load/500k-names/snapshot", "s", &compiled).goal(Goal::AtMost(0.1)),
        Case::new("dns/load/500k-names/memory", "MB", &size).goal(Goal::AtMost(20.0)),
    ])
}
