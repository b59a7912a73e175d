//! A network namespace with a name under `/run/netns`.

use crate::process;
use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every name begins with; a process id follows.
const PREFIX: &str = "secdlab";

/// A namespace that is gone when this is dropped, with every process in it.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `part` of the lab number `lab` of this process, loopback up, forwarding as asked.
    ///
    /// # Errors
    /// Not root, or iproute2 is not there.
    pub fn create(lab: u32, part: &str, forwards: bool) -> Result<Self> {
        let name = format!("{PREFIX}-{}-{lab}-{part}", std::process::id());
        process::run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.inside(|| -> Result<()> {
            let flag = if forwards { "1" } else { "0" };
            for (setting, value) in [
                ("ipv4/ip_forward", flag),
                ("ipv6/conf/all/forwarding", flag),
                ("ipv6/conf/default/accept_ra", "0"),
                ("ipv6/conf/default/accept_dad", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
            ] {
                let path = format!("/proc/sys/net/{setting}");
                fs::write(&path, value).with_context(|| format!("cannot set {path}"))?;
            }
            Ok(())
        })??;
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Its name, as `ip netns` shows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it can be opened.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// Runs `ip` in it.
    ///
    /// # Errors
    /// What `ip` says.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        process::run(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// A command that will run in it and die with this process. (`ip netns exec` would mount another `/sys`, which
    /// hides pinned maps.)
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .args(["setpriv", "--pdeathsig", "KILL", "--"])
            .arg(program);
        command
    }

    /// Runs `act` in a thread of this process that is inside the namespace.
    ///
    /// # Errors
    /// The namespace is gone, or `act` panicked.
    pub fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter()?;
                    Ok(act())
                })
                .join()
                .unwrap_or_else(|_| bail!("a thread in {} panicked", self.name))
        })
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// The namespace is gone.
    pub(crate) fn enter(&self) -> Result<()> {
        enter(&self.path())
    }
}

/// Moves the calling thread into the namespace at `path`, for good.
pub(crate) fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// What the name of everything begins with that this process leaves outside of itself.
pub(crate) fn own_prefix() -> String {
    format!("{PREFIX}-{}-", std::process::id())
}

/// Removes what labs left whose process is no longer there: namespaces, pinned objects, folders.
pub(crate) fn sweep() {
    let orphans = |folder: &Path| -> Vec<String> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| is_orphan(name))
            .collect()
    };
    for name in orphans(Path::new("/run/netns")) {
        remove(&name);
    }
    let pins = Path::new("/sys/fs/bpf");
    for name in orphans(pins) {
        crate::appliance::remove_pins(&pins.join(name));
    }
    let folders = std::env::temp_dir();
    for name in orphans(&folders) {
        let _ = fs::remove_dir_all(folders.join(name));
    }
}

/// Whether this is a name of a lab whose process has ended.
fn is_orphan(name: &str) -> bool {
    let owner = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('-').nth(1))
        .and_then(|owner| owner.parse::<u32>().ok());
    owner.is_some_and(|process| !PathBuf::from(format!("/proc/{process}")).exists())
}

/// Ends the processes of a namespace and deletes it; its interfaces go with it.
fn remove(name: &str) {
    if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
        for process in
            String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok())
        {
            if process != std::process::id().cast_signed() {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
        }
    }
    let _ = Command::new("ip").args(["netns", "delete", name]).output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_left_is_an_orphan() {
        assert!(!is_orphan(&format!("{}wan", own_prefix())));
        // Process ids end at 2^22.
        assert!(is_orphan(&format!("{PREFIX}-99999999-0-wan")));
        assert!(!is_orphan("secdlab-abc-x") && !is_orphan("other-99999999-0"));
    }
}
