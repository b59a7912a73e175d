//! `secd` in the router's namespace, and `secctl` to ask it.

use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::wait::Waiter;
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long secd may take until it answers; it reads 450,000 list entries meanwhile.
const START: Duration = Duration::from_secs(60);

/// The daemon under test. Ended, with what it pinned, when dropped.
#[derive(Debug)]
pub struct Appliance {
    /// Its config file.
    pub config: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    socket: PathBuf,
    bpffs: PathBuf,
    programs: PathBuf,
    logs: PathBuf,
    process: Option<Process>,
    /// Most memory of daemons that were killed, in KiB.
    peak_before_kib: u64,
    /// Variables that secd is started with.
    pub environment: Vec<(&'static str, String)>,
}

/// What `secctl` said.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its exit code.
    pub code: i32,
    /// Its JSON, or null.
    pub json: Value,
    /// What it printed otherwise.
    pub text: String,
    /// How long it took, start of the program included.
    pub took: Duration,
}

impl Appliance {
    /// Starts secd with the config at `directory/secd.toml`, which has to be there, and waits until it answers.
    ///
    /// # Errors
    /// It is not built, or does not come up; its last words are in the error.
    pub fn start(router: &Namespace, directory: &Path, waiter: &Waiter) -> Result<Self> {
        let appliance = Self {
            config: directory.join("secd.toml"),
            state: directory.join("state"),
            socket: directory.join("secd.sock"),
            bpffs: PathBuf::from("/sys/fs/bpf").join(router.name()),
            programs: programs()?,
            logs: directory.to_path_buf(),
            process: None,
            peak_before_kib: 0,
            environment: Vec::new(),
        };
        fs::create_dir_all(&appliance.state)?;
        mount_bpffs()?;
        let mut appliance = appliance;
        appliance.run(router, waiter)?;
        Ok(appliance)
    }

    /// Starts the daemon again, with the same state, after it was killed.
    ///
    /// # Errors
    /// It does not come up.
    pub fn run(&mut self, router: &Namespace, waiter: &Waiter) -> Result<()> {
        let mut command = router.command(self.programs.join("secd"));
        command.arg("--config").arg(&self.config).arg("--state-dir").arg(&self.state);
        command.arg("--socket").arg(&self.socket).arg("--bpffs").arg(&self.bpffs);
        command.env("SECD_LOG", std::env::var("SECD_LOG").unwrap_or_else(|_| "info".into()));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start("secd", &mut command, &self.logs)?;
        let outcome = waiter.until("an answer of secd", START, || {
            process.still_runs()?;
            Ok(self.ask(&["status"]).ok().filter(|reply| reply.code == 0 && reply.json.is_object()))
        });
        self.process = Some(process);
        outcome.map(|_| ())
    }

    /// Runs `secctl ARGUMENTS -o json`.
    ///
    /// # Errors
    /// secctl is not built.
    pub fn ask(&self, arguments: &[&str]) -> Result<Reply> {
        let mut command = Command::new(self.programs.join("secctl"));
        command.arg("--socket").arg(&self.socket).args(["-o", "json"]).args(arguments);
        run(&mut command)
    }

    /// Runs `secctl ARGUMENTS`, without a daemon.
    ///
    /// # Errors
    /// secctl is not built.
    pub fn offline(&self, arguments: &[&str]) -> Result<Reply> {
        run(Command::new(self.programs.join("secctl")).args(arguments))
    }

    /// `secctl status`.
    ///
    /// # Errors
    /// secd does not answer.
    pub fn status(&self) -> Result<Value> {
        let reply = self.ask(&["status"])?;
        if reply.code != 0 {
            bail!("secctl status ended with {}: {}", reply.code, reply.text);
        }
        Ok(reply.json)
    }

    /// Packets with this reason so far.
    ///
    /// # Errors
    /// secd does not answer.
    pub fn packets(&self, reason: &str) -> Result<u64> {
        Ok(self.status()?["packets"]["reasons"][reason].as_u64().unwrap_or(0))
    }

    /// The metrics in Prometheus' text form.
    ///
    /// # Errors
    /// secd does not answer.
    pub fn metrics(&self) -> Result<String> {
        let mut command = Command::new("curl");
        command
            .args(["-sf", "--max-time", "5", "--unix-socket"])
            .arg(&self.socket)
            .arg("http://secd/v1/metrics");
        Ok(String::from_utf8_lossy(&process::output(&mut command)?.stdout).into_owned())
    }

    /// Every event that stands in the event file.
    ///
    /// # Errors
    /// The file cannot be read or holds a line that is no JSON.
    pub fn events(&self) -> Result<Vec<Value>> {
        let path = self.state.join("events.jsonl");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // The last line may just be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}")))
            .collect()
    }

    /// The daemon.
    ///
    /// # Errors
    /// It was killed and not started again.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("secd does not run")
    }

    /// Asks it to read its config again by `SIGHUP`.
    ///
    /// # Errors
    /// It does not run.
    pub fn hang_up(&mut self) -> Result<()> {
        self.process()?.signal(Signal::SIGHUP)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.peak_before_kib = self.peak_memory_kib()?;
        self.process.take().context("secd does not run")?.kill()
    }

    /// Ends the daemon as `systemctl stop` does.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&mut self) -> Result<()> {
        self.peak_before_kib = self.peak_memory_kib()?;
        self.process.take().context("secd does not run").map(drop)
    }

    /// Runs `secd --detach` in the router's namespace.
    ///
    /// # Errors
    /// secd is not built.
    pub fn detach(&self, router: &Namespace) -> Result<Reply> {
        let mut command = router.command(self.programs.join("secd"));
        run(command.arg("--detach").arg("--bpffs").arg(&self.bpffs).arg("--socket").arg(&self.socket))
    }

    /// Runs `secd --early` in the router's namespace.
    ///
    /// # Errors
    /// secd is not built.
    pub fn early(&self, router: &Namespace) -> Result<Reply> {
        let mut command = router.command(self.programs.join("secd"));
        run(command.arg("--early").arg("--state-dir").arg(&self.state))
    }

    /// Most memory the daemon ever had (`VmHWM`), before and after being killed, in KiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn peak_memory_kib(&mut self) -> Result<u64> {
        let now = self.process()?.peak_memory_kib()?;
        Ok(now.max(self.peak_before_kib))
    }

    /// The command line that people type to ask this daemon.
    #[must_use]
    pub fn command_line(&self) -> String {
        format!("{} --socket {}", self.programs.join("secctl").display(), self.socket.display())
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.process = None;
        remove_pins(&self.bpffs);
    }
}

/// The folder with the built programs: `$SECD_BIN_DIR`, or the one this program was built into.
fn programs() -> Result<PathBuf> {
    let folder = if let Some(folder) = std::env::var_os("SECD_BIN_DIR") {
        PathBuf::from(folder)
    } else {
        let own = std::env::current_exe()?;
        let folder = own.parent().context("no folder")?;
        if folder.ends_with("deps") {
            folder.parent().context("no folder")?.to_path_buf()
        } else {
            folder.to_path_buf()
        }
    };
    for program in ["secd", "secctl", "loki-receiver"] {
        if !folder.join(program).is_file() {
            bail!("{program} is not built in {}; run cargo build --workspace", folder.display());
        }
    }
    Ok(folder)
}

/// A built program of ours.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    Ok(programs()?.join(name))
}

fn run(command: &mut Command) -> Result<Reply> {
    let begun = Instant::now();
    let output = command.output().context("cannot run secctl")?;
    let took = begun.elapsed();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    // An error is JSON as well, on the other stream.
    let json =
        serde_json::from_str(&printed).or_else(|_| serde_json::from_str(&complaint)).unwrap_or(Value::Null);
    let text = [printed, complaint].concat();
    Ok(Reply { code: output.status.code().unwrap_or(-1), json, text: text.trim().to_owned(), took })
}

fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some("/sys/fs/bpf")) {
        return Ok(());
    }
    process::run(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]))
        .context("the BPF file system cannot be mounted")
}

/// Removes pinned objects: files and folders only, as `rm -r` does.
pub(crate) fn remove_pins(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_pins(&entry.path());
        } else {
            let _ = fs::remove_file(entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
