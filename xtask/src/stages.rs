//! `cargo xtask test`: the stages of CI, each with its outcome and time, and `target/test/report.json`.

use crate::console::{self, Step};
use crate::skips::Expected;
use crate::suite::{self, Group, Outcome, cargo};
use crate::{directions, machine, setup};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// How a stage ended.
enum End {
    /// All is well; a word on it.
    Well(String),
    /// Could not be done here, which is no failure; why.
    Left(String),
}

/// What was done so far.
struct Run<'a> {
    root: &'a Path,
    stages: Vec<Value>,
    failed: Vec<String>,
    tests: Outcome,
}

/// Runs everything; fails if a stage did.
pub(crate) fn run(root: &Path, full: bool, filter: Option<&str>) -> Result<()> {
    let begun = Instant::now();
    setup::run(root, setup::How::Install)?;
    if full {
        setup::install_auditors(root)?;
    }
    let mut run = Run { root, stages: Vec::new(), failed: Vec::new(), tests: Outcome::default() };
    if filter.is_none() {
        run.lints();
    }
    run.tests(full, filter);
    if filter.is_none() {
        run.stage("cargo-deny (licences, sources, bans)", |root, _| deny(root));
        run.stage("cargo-audit (advisories)", |root, _| audit(root));
    }
    let unexpected = run.skips();
    run.write_report(begun, unexpected.is_empty())?;
    println!("{}", run.tests.words());
    if !unexpected.is_empty() {
        run.failed.push(format!("skips that tests/expected-skips does not name: {}", unexpected.join(", ")));
    }
    if run.failed.is_empty() {
        println!("all stages ok in {}", console::seconds(begun.elapsed()));
        return Ok(());
    }
    bail!("failed: {}", run.failed.join("; "));
}

impl Run<'_> {
    fn lints(&mut self) {
        self.stage("formatting", |root, _| {
            console::quietly(root, "fmt", cargo(root).args(["fmt", "--all", "--check"]))
                .map_err(|error| anyhow::anyhow!("run cargo fmt: {error:#}"))?;
            Ok(End::Well(String::new()))
        });
        self.stage("crate directions", |root, _| {
            Ok(End::Well(format!("{} dependencies", directions::check(root)?)))
        });
        self.stage("clippy, host", |root, _| {
            console::quietly(
                root,
                "clippy",
                cargo(root).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            )?;
            Ok(End::Well(String::new()))
        });
        self.stage("clippy, BPF", |root, _| clippy_bpf(root));
        self.stage("documentation", |root, _| {
            let mut command = cargo(root);
            command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            console::quietly(root, "doc", &mut command)?;
            Ok(End::Well(String::new()))
        });
    }

    fn tests(&mut self, full: bool, filter: Option<&str>) {
        let mut executables = Vec::new();
        self.stage("build of all tests", |root, step| {
            executables = suite::build(root, step)?;
            Ok(End::Well(format!("{} executables", executables.len())))
        });
        if executables.is_empty() {
            return;
        }
        for (name, group) in [
            ("unit, property and case tests", Group::Plain),
            ("kernel tests", Group::Kernel),
            ("lab, end to end", Group::Lab),
        ] {
            self.test_stage(name, |root, step| {
                suite::run(root, &executables, group, suite::Which { filter, full }, step)
            });
        }
        self.test_stage("examples in the documentation", |root, step| {
            suite::run_doc_tests(root, filter, step)
        });
    }

    fn test_stage(&mut self, name: &str, act: impl FnOnce(&Path, &Step) -> Result<Outcome>) {
        let mut tests = Outcome::default();
        self.stage(name, |root, step| {
            tests = act(root, step)?;
            if !tests.failures.is_empty() {
                bail!("{}", tests.failures.join(", "));
            }
            Ok(End::Well(tests.words()))
        });
        self.tests.add(tests);
    }

    fn stage(&mut self, name: &str, act: impl FnOnce(&Path, &Step) -> Result<End>) {
        let step = Step::begin(name);
        let outcome = act(self.root, &step);
        let (word, ok, note) = match &outcome {
            Ok(End::Well(note)) => ("ok", true, note.clone()),
            Ok(End::Left(why)) => ("left out", true, why.clone()),
            Err(error) => ("FAILED", false, format!("{error:#}")),
        };
        let took = step.end(word);
        if !ok || word == "left out" {
            println!("  {note}");
        }
        self.stages.push(
            json!({ "name": name, "ok": ok, "outcome": word, "seconds": took.as_secs_f64(), "note": note }),
        );
        if !ok {
            self.failed.push(name.to_owned());
        }
    }

    /// Skips that are not expected, by test.
    fn skips(&mut self) -> Vec<String> {
        let mut unexpected = Vec::new();
        let skips = self.tests.skips.clone();
        self.stage("expected skips only", |root, _| {
            let expected = Expected::on_this_machine(root)?;
            unexpected = skips
                .iter()
                .filter(|skip| !expected.names(skip))
                .map(|skip| format!("{} ({})", skip.test, skip.reason))
                .collect();
            if unexpected.is_empty() {
                Ok(End::Well(format!("{} skips", skips.len())))
            } else {
                bail!("{}", unexpected.join("; "))
            }
        });
        unexpected
    }

    fn write_report(&self, begun: Instant, skips_ok: bool) -> Result<()> {
        let path = self.root.join("target/test/report.json");
        fs::create_dir_all(path.parent().unwrap_or(self.root))?;
        let skips: Vec<Value> =
            self.tests.skips.iter().map(|skip| json!({ "test": skip.test, "reason": skip.reason })).collect();
        let report = json!({
            "ok": self.failed.is_empty() && skips_ok,
            "seconds": begun.elapsed().as_secs_f64(),
            "root": machine::is_root(),
            "stages": self.stages,
            "tests": { "passed": self.tests.ran(), "failed": self.tests.failures.len(), "skipped": self.tests.skipped() },
            "failures": self.tests.failures,
            "skips": skips,
        });
        fs::write(&path, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Lints the packet programs with the compiler that builds them.
fn clippy_bpf(root: &Path) -> Result<End> {
    let mut command = if setup::nightly_with_sources().is_some() {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "clippy"]);
        command
    } else if Path::new("/usr/bin/cargo-clippy").exists() {
        let mut command = Command::new("/usr/bin/cargo-clippy");
        command.arg("clippy").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        command
    } else {
        return Ok(End::Left("there is no clippy beside the BPF compiler".into()));
    };
    command
        .args([
            "-p",
            "edge",
            "--release",
            "--target",
            "bpfel-unknown-none",
            "-Z",
            "build-std=core",
            "--target-dir",
            "target/bpf",
        ])
        .args(["--", "-D", "warnings"])
        .current_dir(root)
        .env("PATH", machine::path_with_tools())
        .env("CARGO_ENCODED_RUSTFLAGS", machine::bpf_flags());
    console::quietly(root, "clippy-bpf", &mut command)?;
    Ok(End::Well(String::new()))
}

fn deny(root: &Path) -> Result<End> {
    let Some(program) = installed("cargo-deny") else {
        return Ok(End::Left("not installed; cargo xtask test --full installs it".into()));
    };
    let mut command = Command::new(program);
    command.args(["check", "bans", "licenses", "sources"]).current_dir(root);
    console::quietly(root, "deny", &mut command)?;
    Ok(End::Well(String::new()))
}

fn audit(root: &Path) -> Result<End> {
    let Some(program) = installed("cargo-audit") else {
        return Ok(End::Left("not installed; cargo xtask test --full installs it".into()));
    };
    let database =
        env::var_os("SECD_ADVISORY_DB").map_or_else(|| root.join("../shared/advisory-db"), PathBuf::from);
    if !database.is_dir() {
        return Ok(End::Left("no copy of the advisory database; name its folder by SECD_ADVISORY_DB".into()));
    }
    let mut command = Command::new(program);
    command.args(["audit", "--no-fetch", "--db"]).arg(&database).current_dir(root);
    console::quietly(root, "audit", &mut command)?;
    Ok(End::Well(String::new()))
}

fn installed(name: &str) -> Option<PathBuf> {
    machine::tool(name).or_else(|| {
        env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    })
}
