//! `cargo xtask bench`: builds what is measured for release, installs the peers, and runs the bench.

use crate::console::{self, Step};
use crate::{machine, setup, suite};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(clap::Subcommand)]
enum Bench {
    /// The packet path: verdicts in nanoseconds beside nftables, ipset, xdp-filter and BPF's own tables
    Packets {
        #[command(flatten)]
        common: Common,
        /// Draw the pictures into this folder
        #[arg(long, value_name = "FOLDER")]
        pictures: Option<PathBuf>,
    },
    /// The resolver: microseconds an answer beside dnsmasq, unbound and pdns-recursor; refreshes and floods
    Dns {
        #[command(flatten)]
        common: Common,
        /// Write the figures into this page of the documentation (docs/bench/dns.md)
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
    },
}

/// What every bench can be told.
#[derive(clap::Args)]
struct Common {
    /// Write the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer sizes and rounds: at most three minutes
    #[arg(long)]
    quick: bool,
    /// Only cases, or parts, whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Builds and measures.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    setup::run(root, setup::How::Install)?;
    let (common, mut command, more) = match &options.bench {
        Bench::Packets { common, pictures } => {
            if !machine::is_root() {
                bail!("packets are measured in this machine's kernel, which needs root; run it as root");
            }
            setup::install_peers(root, setup::PACKET_PEERS)?;
            let programs = build_programs(root)?;
            let mut command = Command::new(build(root, "bench")?);
            command.arg("packets").arg("--programs").arg(programs);
            (common, command, ("--pictures", pictures))
        }
        Bench::Dns { common, page } => {
            setup::install_peers(root, setup::DNS_PEERS)?;
            (common, Command::new(build(root, "bench-dns")?), ("--page", page))
        }
    };
    for (name, path) in [("--json", &common.json), more] {
        if let Some(path) = path {
            command.arg(name).arg(std::path::absolute(path)?);
        }
    }
    if common.quick {
        command.arg("--quick");
    }
    if let Some(only) = &common.only {
        command.arg("--only").arg(only);
    }
    let status = command.current_dir(root).status().context("cannot run the bench")?;
    if !status.success() {
        bail!("the bench did not end well ({status})");
    }
    Ok(())
}

/// Compiles the bench's own BPF programs; returns the object.
fn build_programs(root: &Path) -> Result<PathBuf> {
    let step = Step::begin("bench: BPF programs");
    let mut command = bpf_cargo();
    command
        .args(["build", "--package", "bench-programs", "--bin", "bench-programs"])
        .args(BPF_OPTIONS)
        .current_dir(root)
        .env("PATH", machine::path_with_tools())
        .env("CARGO_ENCODED_RUSTFLAGS", machine::bpf_flags())
        .env_remove("CARGO_TARGET_DIR");
    let outcome = console::quietly(root, "bench-programs", &mut command);
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome?;
    Ok(root.join("target/bpf/bpfel-unknown-none/release/bench-programs"))
}

/// What a build for the BPF target is made of, beside the compiler.
const BPF_OPTIONS: [&str; 7] =
    ["--release", "--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir", "target/bpf"];

/// A cargo whose compiler has the library sources.
fn bpf_cargo() -> Command {
    if setup::nightly_with_sources().is_some() {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo"]);
        return command;
    }
    let mut command = Command::new("cargo");
    command.env_remove("RUSTUP_TOOLCHAIN").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Builds a bench for release; returns the program.
fn build(root: &Path, package: &str) -> Result<PathBuf> {
    let step = Step::begin("bench: build for release");
    let mut command = suite::cargo(root);
    command.args(["build", "--release", "--package", package, "--message-format", "json-render-diagnostics"]);
    let mut program = None;
    let outcome = console::logged(root, "bench-build", &mut command, |line| {
        if let Some(unit) = line.trim_start().strip_prefix("Compiling ") {
            step.at(unit.split(" (").next().unwrap_or(unit));
        }
        program = executable(line, package).or(program.take());
    })
    .and_then(|(status, log)| if status.success() { Ok(()) } else { bail!("{}", console::excerpt(&log)) });
    step.end(if outcome.is_ok() { "ok" } else { "failed" });
    outcome.context("the bench does not build")?;
    program.context("cargo named no program of the bench")
}

/// The program of a bench, where a line of cargo's messages names it.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    if !line.starts_with('{') {
        return None;
    }
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_bench = message["target"]["name"] == name && message["target"]["kind"][0] == "bin";
    message["executable"].as_str().filter(|_| is_bench).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let message = |name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["bin"],"name":"{name}"}},"executable":"/t/{name}"}}"#
            )
        };
        assert_eq!(executable(&message("bench"), "bench"), Some(PathBuf::from("/t/bench")));
        assert_eq!(executable(&message("bench"), "bench-dns"), None);
        assert_eq!(executable(&message("secd"), "bench"), None);
        assert_eq!(executable("   Compiling bench v0.1.0", "bench"), None);
    }
}
