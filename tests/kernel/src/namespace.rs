//! Network namespaces with this process in their names, removed on drop.

use anyhow::{Context as _, Result, bail, ensure};
use std::{fs::File, os::fd::AsRawFd as _, path::PathBuf, process::Command};

/// A network namespace.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes the namespace `<name>-<pid>` with its loopback up.
    ///
    /// # Errors
    /// `ip` is missing or refuses.
    pub fn new(name: &str) -> Result<Self> {
        let namespace = Self { name: format!("{name}-{}", std::process::id()) };
        run(&format!("ip netns add {}", namespace.name))?;
        namespace.run("ip link set lo up")?;
        Ok(namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command inside, its words apart by spaces. Returns what it printed.
    ///
    /// # Errors
    /// It cannot be started or fails.
    pub fn run(&self, command: &str) -> Result<String> {
        run(&format!("nsenter --net={} {command}", self.path().display()))
    }

    /// Joins it by a pair of virtual Ethernet devices to another: `here` and `there` are their names.
    ///
    /// # Errors
    /// `ip` refuses.
    pub fn join(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        self.run(&format!("ip link add {here} type veth peer name {there} netns {}", other.name))?;
        self.run(&format!("ip link set {here} up"))?;
        other.run(&format!("ip link set {there} up"))?;
        Ok(())
    }

    /// Does something on a thread of its own inside.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` fails.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let file = File::open(self.path()).context("open the namespace")?;
                // SAFETY: the descriptor is open; only this thread changes its namespace, and it ends here.
                let failed = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
                ensure!(failed == 0, "setns: {}", std::io::Error::last_os_error());
                work()
            });
            match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Makes a device without Ethernet inside: what is written into the file comes in there, what leaves is read.
    ///
    /// # Errors
    /// The kernel has none.
    pub fn tun(&self, name: &str) -> Result<File> {
        self.inside(|| {
            let file =
                File::options().read(true).write(true).open("/dev/net/tun").context("open /dev/net/tun")?;
            // SAFETY: all zeros is a valid request; the name is cut to leave its last byte zero; the kernel reads it.
            let failed = unsafe {
                let mut request: libc::ifreq = std::mem::zeroed();
                for (place, byte) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
                    *place = byte as libc::c_char;
                }
                request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
                libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request)
            };
            ensure!(failed == 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
            Ok(file)
        })
    }

    fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&format!("ip netns del {}", self.name));
    }
}

/// Runs a command, its words apart by spaces. Returns what it printed.
///
/// # Errors
/// It cannot be started or fails.
pub fn run(command: &str) -> Result<String> {
    let mut words = command.split_whitespace();
    let Some(program) = words.next() else { bail!("an empty command") };
    let ended = Command::new(program).args(words).output().with_context(|| format!("start `{program}`"))?;
    if !ended.status.success() {
        bail!("`{command}`: {}", String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
