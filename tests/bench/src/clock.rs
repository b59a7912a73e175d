//! What a thread and a processor used.
#![expect(unsafe_code, reason = "clocks of threads and affinity are system calls")]

use anyhow::{Context as _, Result, ensure};
use std::fs;

/// Nanoseconds of processor time of this thread.
pub(crate) fn thread_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the one value pointed to; the clock is that of the calling thread.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(failed, 0, "the clock exists since Linux 2.6.12");
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

/// Keeps this thread on one processor.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    stay_among(cpu..cpu + 1)
}

/// Lets this thread run on every processor again.
pub(crate) fn roam() -> Result<()> {
    stay_among(0..libc::CPU_SETSIZE as usize)
}

fn stay_among(cpus: std::ops::Range<usize>) -> Result<()> {
    // SAFETY: all zeros is a valid, empty set, and each number is one it has room for; the kernel reads as many bytes
    // as are said, and leaves processors out that are not there.
    let failed = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cpus.clone().for_each(|cpu| libc::CPU_SET(cpu, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    ensure!(failed == 0, "cannot stay on processors {cpus:?}: {}", std::io::Error::last_os_error());
    Ok(())
}

/// The kernel's thread that receives packets on a processor when they are too many at once.
pub(crate) struct SoftInterrupts {
    schedstat: String,
}

impl SoftInterrupts {
    /// Finds that of a processor.
    pub(crate) fn of(cpu: usize) -> Result<Self> {
        let wanted = format!("ksoftirqd/{cpu}");
        for entry in fs::read_dir("/proc").context("read /proc")?.flatten() {
            let path = entry.path();
            if fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == wanted) {
                return Ok(Self { schedstat: path.join("schedstat").display().to_string() });
            }
        }
        anyhow::bail!("there is no thread {wanted}")
    }

    /// Nanoseconds it ran.
    pub(crate) fn time(&self) -> Result<u64> {
        let text = fs::read_to_string(&self.schedstat).with_context(|| format!("read {}", self.schedstat))?;
        text.split(' ').next().and_then(|word| word.parse().ok()).context("schedstat holds no number")
    }
}
