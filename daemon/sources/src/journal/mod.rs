//! The task of the journal of systemd: `journalctl` reads it, as a child that is started again when it ends.

mod entry;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Position, Trust};
use crate::journal::entry::{Entry, FIELDS, cursor};
use crate::limits;
use crate::outlet::Outlet;

/// Bytes of what `journalctl` complains about that are told.
const MAX_COMPLAINT: u64 = 512;

/// A journal being followed.
pub(crate) struct Journal {
    outlet: Outlet,
    matches: Vec<String>,
    folder: Option<PathBuf>,
    delivered: Option<Position>,
}

/// Why reading stopped.
enum End {
    /// It was told to.
    Stopped,
    /// `journalctl` did.
    Ended { complaint: String, was_well: bool },
}

impl Journal {
    pub(crate) fn new(
        outlet: Outlet,
        matches: Vec<String>,
        folder: Option<PathBuf>,
        known: Option<Position>,
    ) -> Self {
        Self { outlet, matches, folder, delivered: known }
    }

    /// Follows it until told to stop; returns how far entries were delivered.
    pub(crate) async fn run(mut self) -> Option<Position> {
        let delivered = self.delivered;
        self.outlet.status(|status| status.position = delivered);
        let mut stop = self.outlet.stop.clone();
        let [shortest, longest] = limits::RESTART;
        let mut wait = shortest;
        loop {
            let complaint = match self.command().spawn() {
                Ok(mut child) => {
                    let end = self.follow(&mut child, &mut stop).await;
                    child.start_kill().ok();
                    let status = child.wait().await.ok();
                    match end {
                        End::Stopped => return self.delivered,
                        End::Ended { complaint, was_well } => {
                            if was_well {
                                wait = shortest;
                            }
                            if complaint.contains("cursor") {
                                // What it cannot go on behind is left.
                                self.delivered = None;
                            }
                            ended(status, &complaint)
                        }
                    }
                }
                Err(error) => format!("journalctl cannot be run: {error}; install systemd, or read a file"),
            };
            self.outlet.set_error(Some(complaint));
            if timeout(wait, stop.changed()).await.is_ok() {
                return self.delivered;
            }
            wait = (wait * 2).min(longest);
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("journalctl");
        command.args(["--follow", "--no-pager", "--quiet", "--all", "--output=json"]);
        command.arg(format!("--output-fields={FIELDS}"));
        match &self.delivered {
            // The entry itself comes again, if it is still there: `--after-cursor` would skip another if it is not.
            Some(position) => command.arg("--no-tail").arg(format!("--cursor={}", cursor(position))),
            None => command.arg("--lines=0"),
        };
        let own = match &self.folder {
            Some(folder) => {
                let mut option = OsString::from("--directory=");
                option.push(folder);
                command.arg("--merge").arg(option);
                None
            }
            // Following one journal shows the current boot only, following all of them every boot; but those of other
            // machines were written by others.
            None => machine_id().inspect(|_| {
                command.arg("--merge");
            }),
        };
        command.arg("--").args(own.map(|id| format!("_MACHINE_ID={id}"))).args(&self.matches);
        command.env("LC_ALL", "C").env("SYSTEMD_COLORS", "0");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn follow(&mut self, child: &mut Child, stop: &mut watch::Receiver<bool>) -> End {
        let (Some(out), Some(complaints)) = (child.stdout.take(), child.stderr.take()) else {
            return End::Ended { complaint: "it has no output".into(), was_well: false };
        };
        let mut entries =
            Entries { from: BufReader::new(out), line: Vec::new(), skipping: false, oversized: 0 };
        let well_at = Instant::now() + limits::RUNS_WELL;
        let mut was_well = false;
        loop {
            let line = tokio::select! {
                biased;
                _ = stop.changed() => return End::Stopped,
                line = entries.next() => line,
                () = sleep_until(well_at), if !was_well => {
                    was_well = true;
                    self.outlet.set_error(None);
                    continue;
                }
            };
            if !line {
                return End::Ended { complaint: complaint(complaints).await, was_well };
            }
            if !was_well {
                was_well = true;
                self.outlet.set_error(None);
            }
            let oversized = std::mem::take(&mut entries.oversized);
            if oversized > 0 {
                self.outlet.status(|status| status.oversized += oversized);
            }
            let Some(entry) = Entry::read(&entries.line) else { continue };
            let position = entry.position();
            if position.is_some() && position == self.delivered {
                continue;
            }
            let mut line = self.outlet.line(entry.line(), Trust::File);
            if line.bytes.is_empty() {
                continue;
            }
            if line.bytes.len() > limits::MAX_LINE {
                line.bytes.truncate(limits::MAX_LINE);
                self.outlet.status(|status| status.oversized += 1);
            }
            (line.written, line.position) = (entry.written(), position);
            let sent = tokio::select! {
                biased;
                _ = stop.changed() => false,
                sent = self.outlet.lines.send(line) => sent.is_ok(),
            };
            if !sent {
                return End::Stopped;
            }
            self.delivered = position.or(self.delivered);
            self.outlet.count_line(position);
        }
    }
}

/// What `journalctl` writes, an entry a line.
struct Entries {
    from: BufReader<ChildStdout>,
    /// The last entry.
    line: Vec<u8>,
    skipping: bool,
    oversized: u64,
}

impl Entries {
    /// Reads the next whole entry; false at the end. May be given up and called again.
    async fn next(&mut self) -> bool {
        if self.line.last() == Some(&b'\n') {
            self.line.clear();
        }
        loop {
            let Ok(bytes) = self.from.fill_buf().await else { return false };
            if bytes.is_empty() {
                return false;
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            if self.line.len() + taken > limits::MAX_ENTRY {
                self.oversized += u64::from(!self.skipping);
                self.skipping = true;
                self.line.clear();
            }
            if !self.skipping {
                self.line.extend_from_slice(&bytes[..taken]);
            }
            self.from.consume(taken);
            if end.is_some() && !std::mem::take(&mut self.skipping) {
                return true;
            }
        }
    }
}

/// The id by which entries of this machine are known.
fn machine_id() -> Option<String> {
    let text = std::fs::read_to_string("/etc/machine-id").ok()?;
    let id = text.trim();
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// The last thing it said.
async fn complaint(from: ChildStderr) -> String {
    let mut text = Vec::new();
    let mut from = from.take(MAX_COMPLAINT);
    timeout(Duration::from_secs(1), from.read_to_end(&mut text)).await.ok();
    let text = String::from_utf8_lossy(&text);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

fn ended(status: Option<ExitStatus>, complaint: &str) -> String {
    let how = status.map_or_else(|| "for an unknown reason".to_owned(), |status| format!("with {status}"));
    let why = if complaint.is_empty() { String::new() } else { format!(": {complaint}") };
    format!("journalctl ended {how}{why}; it is started again")
}
