//! `cargo xtask fuzz`: runs a target of `tests/fuzz` with libFuzzer. What it finds is to be kept as a file of the target's
//! corpus, which the tests replay on stable.

use crate::console::{self, Step};
use crate::{machine, setup};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the program around libFuzzer is, a workspace of its own.
const FOLDER: &str = "tests/fuzz/libfuzzer";

/// What to run, and for how long.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The target, a folder of tests/fuzz/corpus; left out: all of them, one after the other
    target: Option<String>,
    /// For how long each: `60s`, `5m`, `1h`
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = seconds)]
    time: u64,
}

/// Builds the fuzzer and runs it; fails where a target failed, and says where the input is.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let known = targets(root)?;
    let chosen: Vec<&String> = match &options.target {
        Some(name) => known.iter().filter(|known| *known == name).collect(),
        None => known.iter().collect(),
    };
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", known.join(", "));
    }
    setup::install_fuzzer(root)?;
    let program = build(root)?;
    let failed: Vec<String> = chosen
        .iter()
        .filter_map(|target| one(root, &program, target, options.time).transpose())
        .collect::<Result<_>>()?;
    if !failed.is_empty() {
        bail!(
            "{}; mend it, and keep the input in the target's folder of tests/fuzz/corpus",
            failed.join("; ")
        );
    }
    Ok(())
}

/// The names of the targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let corpus = root.join("tests/fuzz/corpus");
    let entries = fs::read_dir(&corpus).with_context(|| format!("cannot read {}", corpus.display()))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

fn build(root: &Path) -> Result<PathBuf> {
    let step = Step::begin("fuzz: building with a nightly compiler (minutes, the first time)");
    let target = root.join("target/fuzz");
    let mut command = Command::new("cargo");
    command
        .current_dir(root)
        .args(["+nightly", "fuzz", "build", "--fuzz-dir", FOLDER, "any"])
        .env("PATH", machine::path_with_tools())
        .env("CARGO_TARGET_DIR", &target);
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    let outcome = console::quietly(root, "fuzz-build", &mut command);
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome
        .context("cannot build the fuzzer; it needs a nightly compiler: rustup toolchain install nightly")?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    Ok(target.join(triple).join("release/any"))
}

/// Runs one target; says what is wrong if something is.
fn one(root: &Path, program: &Path, target: &str, seconds: u64) -> Result<Option<String>> {
    let step = Step::begin(format!("fuzz: {target}"));
    let found = root.join("target/fuzz/corpus").join(target);
    let artifacts = root.join("target/fuzz/artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut command = Command::new(program);
    command
        .current_dir(root)
        .env("SECD_FUZZ_TARGET", target)
        .arg(&found)
        .arg(root.join("tests/fuzz/corpus").join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=20", "-rss_limit_mb=4096", "-max_len=65536", "-print_final_stats=1"]);
    let outcome = console::quietly(root, &format!("fuzz-{target}"), &mut command);
    step.end(if outcome.is_ok() { "nothing found" } else { "FAILED" });
    Ok(outcome.err().map(|_| {
        format!(
            "{target} failed: the input is in {}, what was said in target/xtask/fuzz-{target}.log",
            artifacts.display()
        )
    }))
}

/// `60s`, `5m`, `1h` in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: write `60s`, `5m` or `1h`");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        for wrong in ["", "s", "5", "5d", "0s", "é"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
