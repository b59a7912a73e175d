//! `cargo xtask demo`: builds the programs as they are shipped and hands over to the lab.

use crate::console::{self, Step};
use crate::{machine, setup, suite};
use anyhow::{Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the demo is to do.
#[derive(Args)]
pub(crate) struct Options {
    /// End after the table; fails if any step failed
    #[arg(long)]
    once: bool,
    /// Also write what was seen as JSON: {steps:[{name,expected,seen,ok}]}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Inspect your own capture
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Judge your own sshd log
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Use your own list of domains or addresses
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Use your own Suricata rules
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Sets up, builds, plays.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if !machine::is_root() {
        bail!(
            "the demo makes network namespaces and loads packet programs, so it needs root; run it as root"
        );
    }
    setup::run(root, setup::How::Install)?;
    let programs = build_release(root)?;
    let mut command = Command::new(programs.join("lab"));
    command.arg("demo").current_dir(std::env::current_dir()?).env("SECD_WORKSPACE", root);
    if options.once {
        command.arg("--once");
    }
    for (flag, value) in [
        ("--json", &options.json),
        ("--pcap", &options.pcap),
        ("--log", &options.log),
        ("--list", &options.list),
        ("--rules", &options.rules),
    ] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    let status = command.status()?;
    if !status.success() {
        bail!("the demo did not hold ({status})");
    }
    Ok(())
}

/// Builds secd, secctl and the lab as they are shipped; returns the folder they are in.
pub(crate) fn build_release(root: &Path) -> Result<PathBuf> {
    let step = Step::begin("build of secd, secctl and the lab");
    let mut command = suite::cargo(root);
    command.args([
        "build",
        "--release",
        "--bins",
        "-p",
        "secd",
        "-p",
        "secctl",
        "-p",
        "lab",
        "-p",
        "loki-receiver",
    ]);
    let (status, log) = console::logged(root, "build-release", &mut command, |line| {
        if let Some(unit) = line.trim_start().strip_prefix("Compiling ") {
            step.at(unit.split(" (").next().unwrap_or(unit));
        }
    })?;
    step.end(if status.success() { "ok" } else { "failed" });
    if !status.success() {
        bail!("the build failed: {}", console::excerpt(&log));
    }
    Ok(target_directory(root).join("release"))
}

fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder))
}
