//! Running other programs quietly: a moving line on a terminal, plain lines elsewhere, output in a log file.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest piece of a failed program's output that is shown.
const SHOWN_LINES: usize = 3;

/// A step in progress: a spinner on a terminal, one line at its start otherwise.
pub(crate) struct Step {
    bar: ProgressBar,
    label: String,
    begun: Instant,
}

impl Step {
    /// Starts showing `label`.
    pub(crate) fn begin(label: impl Into<String>) -> Self {
        let label = label.into();
        let bar =
            if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        bar.set_message(label.clone());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, label, begun: Instant::now() }
    }

    /// Shows what the step is at.
    pub(crate) fn at(&self, detail: &str) {
        self.bar.set_message(format!("{}: {detail}", self.label));
    }

    /// Prints a line that stays, above the moving one.
    pub(crate) fn line(&self, text: &str) {
        self.bar.suspend(|| println!("{text}"));
    }

    /// Ends the step with a line that stays; returns how long it took.
    pub(crate) fn end(self, outcome: &str) -> Duration {
        let took = self.begun.elapsed();
        self.bar.finish_and_clear();
        println!("{:<58} {outcome:>9} {:>8}", self.label, seconds(took));
        let _ = std::io::stdout().flush();
        took
    }
}

/// `12.3 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Runs `command` with its output in `target/xtask/NAME.log`, and fails with one sentence and that file's name.
pub(crate) fn quietly(root: &Path, name: &str, command: &mut Command) -> Result<()> {
    let (status, log) = logged(root, name, command, |_| {})?;
    if status.success() {
        return Ok(());
    }
    bail!("{} ({}): {}", describe(command), status, excerpt(&log));
}

/// Runs `command`, hands each line of its output (both streams) to `see` and writes it to the log.
pub(crate) fn logged(
    root: &Path,
    name: &str,
    command: &mut Command,
    mut see: impl FnMut(&str),
) -> Result<(ExitStatus, PathBuf)> {
    let directory = crate::log_directory(root);
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join(format!("{name}.log"));
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let started = command.spawn();
    // The command still holds the pipe's write ends: as long as it does, reading never ends.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = started.with_context(|| format!("cannot run {}", describe(command)))?;
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        log.write_all(&bytes)?;
        see(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok((child.wait()?, path))
}

/// Standard output of a short program, or nothing where it fails or is not there.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lines of a log that say most about a failure, and where the rest is.
pub(crate) fn excerpt(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let telling: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("error") || line.starts_with("E:") || line.contains("panicked at"))
        .take(SHOWN_LINES)
        .collect();
    let shown = if telling.is_empty() {
        text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no output").to_owned()
    } else {
        telling.join("; ")
    };
    format!("{shown} (all of it: {})", log.display())
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    command.get_args().take(2).fold(name, |text, argument| text + " " + &argument.to_string_lossy())
}
