//! Builds every test of the workspace once and runs the executables in groups, so that a group costs no rebuilding.

use crate::console::{self, Step};
use crate::skips::Skip;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test executable.
pub(crate) struct Executable {
    package: String,
    manifest_directory: PathBuf,
    target: String,
    path: PathBuf,
}

/// Which tests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Unit, property and case tests of every crate.
    Plain,
    /// The packet programs in this kernel.
    Kernel,
    /// End to end, in network namespaces.
    Lab,
}

impl Group {
    fn of(package: &str) -> Self {
        match package {
            "kernel-tests" => Self::Kernel,
            "lab" => Self::Lab,
            _ => Self::Plain,
        }
    }

    /// Name of its log.
    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "test-unit",
            Self::Kernel => "test-kernel",
            Self::Lab => "test-lab",
        }
    }
}

/// Which tests of a group, and how long they may be.
#[derive(Clone, Copy)]
pub(crate) struct Which<'a> {
    /// Only tests whose name contains this.
    pub(crate) filter: Option<&'a str>,
    /// Tests that have a longer version run it: `SECD_FULL` is set for them.
    pub(crate) full: bool,
}

/// What came out of tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests that ran and held.
    pub(crate) passed: u64,
    /// Tests that failed, by name.
    pub(crate) failures: Vec<String>,
    /// Tests that are marked as ignored.
    pub(crate) ignored: u64,
    /// Tests that said that they cannot run here.
    pub(crate) skips: BTreeSet<Skip>,
}

impl Outcome {
    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// Takes one line of libtest's output.
    fn see(&mut self, line: &str) {
        if let Some(skip) = Skip::parse(line) {
            self.skips.insert(skip);
        }
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.passed += number_before(summary, " passed");
            self.ignored += number_before(summary, " ignored");
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }

    /// One line for people.
    pub(crate) fn words(&self) -> String {
        let skipped = self.skipped();
        format!("{} passed, {} failed, {skipped} skipped", self.ran(), self.failures.len())
    }

    /// Tests that skipped or are ignored.
    pub(crate) fn skipped(&self) -> u64 {
        self.ignored + self.skipping_tests()
    }

    /// Tests that really ran and passed: libtest counts those that skip as passed.
    pub(crate) fn ran(&self) -> u64 {
        self.passed.saturating_sub(self.skipping_tests())
    }

    fn skipping_tests(&self) -> u64 {
        self.skips.iter().map(|skip| &skip.test).collect::<BTreeSet<_>>().len() as u64
    }
}

/// Builds all tests and programs; returns the test executables.
pub(crate) fn build(root: &Path, step: &Step) -> Result<Vec<Executable>> {
    let mut command = cargo(root);
    command.args(["build", "--workspace", "--all-targets", "--message-format", "json-render-diagnostics"]);
    let mut found = Vec::new();
    let (status, log) = console::logged(root, "test-build", &mut command, |line| {
        if let Some(unit) = line.trim_start().strip_prefix("Compiling ") {
            step.at(unit.split(" (").next().unwrap_or(unit));
        }
        found.extend(line.starts_with('{').then(|| test_executable(line)).flatten());
    })?;
    if !status.success() {
        bail!("the tests do not build: {}", console::excerpt(&log));
    }
    Ok(found)
}

/// Runs the executables of a group.
pub(crate) fn run(
    root: &Path,
    executables: &[Executable],
    group: Group,
    which: Which<'_>,
    step: &Step,
) -> Result<Outcome> {
    let libraries = library_path();
    let mut outcome = Outcome::default();
    for executable in executables.iter().filter(|executable| Group::of(&executable.package) == group) {
        let log_name = format!("{}-{}-{}", group.name(), executable.package, executable.target);
        let mut command = Command::new(&executable.path);
        command
            .arg("--show-output")
            .args(which.filter)
            .envs(which.full.then_some(("SECD_FULL", "1")))
            .current_dir(&executable.manifest_directory)
            .env("CARGO_MANIFEST_DIR", &executable.manifest_directory)
            .env("CARGO_PKG_NAME", &executable.package)
            .env("LD_LIBRARY_PATH", &libraries)
            .env("PATH", crate::machine::path_with_tools());
        let label = format!("{} {}", executable.package, executable.target);
        outcome.add(watch(root, &log_name, &label, &mut command, step)?);
    }
    Ok(outcome)
}

/// Runs the examples in the documentation.
pub(crate) fn run_doc_tests(root: &Path, filter: Option<&str>, step: &Step) -> Result<Outcome> {
    let mut command = cargo(root);
    command
        .args(["test", "--workspace", "--doc", "--quiet", "--", "--show-output", "--format", "pretty"])
        .args(filter);
    watch(root, "test-doc", "documentation", &mut command, step)
}

/// `cargo` at the workspace, with the tools in its path.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).env("PATH", crate::machine::path_with_tools()).env("CARGO_TERM_COLOR", "never");
    command
}

/// Runs one test program; shows its summary lines, and the whole of what failed.
fn watch(root: &Path, log_name: &str, label: &str, command: &mut Command, step: &Step) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut in_failures = false;
    let (status, log) = console::logged(root, log_name, command, |line| {
        outcome.see(line);
        in_failures = (in_failures || line == "failures:") && !line.starts_with("test result: ");
        if line.starts_with("test result: ") {
            if !line.contains(" 0 passed; 0 failed") {
                step.line(&format!("  {label:<30} {line}"));
            }
        } else if in_failures {
            step.line(&format!("  {line}"));
        } else if let Some(name) = line.strip_prefix("test ") {
            step.at(name.split(" ... ").next().unwrap_or(name));
        } else if line.contains("SKIP: ") {
            step.line(&format!("  {}", line.trim()));
        }
    })
    .with_context(|| format!("tests of {label}"))?;
    if !status.success() && outcome.failures.is_empty() {
        step.line(&format!("  {label}: {status}: {}", console::excerpt(&log)));
        outcome.failures.push(format!("{label} ({status})"));
    }
    Ok(outcome)
}

fn test_executable(line: &str) -> Option<Executable> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let manifest_directory = manifest.parent()?.to_path_buf();
    let package = message["package_id"].as_str()?.rsplit(['#', '/']).next()?;
    let name = package.split('@').next()?.to_owned();
    let folder = manifest_directory.file_name()?.to_string_lossy().into_owned();
    Some(Executable {
        package: if name.starts_with(|first: char| first.is_ascii_digit()) { folder } else { name },
        target: format!("{}:{}", message["target"]["kind"][0].as_str()?, message["target"]["name"].as_str()?)
            .replace(':', "-"),
        path: PathBuf::from(message["executable"].as_str()?),
        manifest_directory,
    })
}

/// Where test executables of procedural macros find the compiler's libraries.
fn library_path() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    console::output_of(Command::new(rustc).args(["--print", "target-libdir"]))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn number_before(text: &str, word: &str) -> u64 {
    text.split(';')
        .find_map(|part| {
            part.trim()
                .strip_suffix(word.trim_start())?
                .rsplit(' ')
                .find(|piece| !piece.is_empty())?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_skips_and_failures_are_counted() {
        let mut outcome = Outcome::default();
        for line in [
            "test a ... ok",
            "test b::c ... FAILED",
            "SKIP: d: not root",
            "SKIP: d: not root",
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.10s",
        ] {
            outcome.see(line);
        }
        assert_eq!(outcome.failures, ["b::c"]);
        assert_eq!(outcome.words(), "2 passed, 1 failed, 3 skipped");
    }

    #[test]
    fn test_executables_are_read_from_cargo() {
        let line = |id: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":"/x/tests/lab/Cargo.toml","target":{{"kind":["test"],"name":"demo"}},"profile":{{"test":true}},"executable":"/x/demo-1"}}"#
            )
        };
        for id in ["path+file:///x/tests/lab#0.1.0", "path+file:///x/tests/lab#lab@0.1.0"] {
            let executable = test_executable(&line(id)).unwrap();
            assert_eq!((executable.package.as_str(), executable.target.as_str()), ("lab", "test-demo"));
        }
        assert!(test_executable(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
