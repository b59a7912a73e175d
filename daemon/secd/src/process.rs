//! What the daemon knows about its own process.

use std::{fs, panic, thread, time::Duration};

/// Runs what takes long while packets and questions wait for nobody, on a thread of its own that lets others go first.
/// Where that is not allowed it runs all the same.
pub fn giving_way<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    const LAST: i32 = 19;
    let gives_way = || {
        let _ = rustix::process::nice(LAST);
        act()
    };
    let done = thread::scope(|scope| scope.spawn(gives_way).join());
    done.unwrap_or_else(|panicked| panic::resume_unwind(panicked))
}

/// Memory of this process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident: u64,
    /// The most it ever was (`VmHWM`).
    pub peak: u64,
}

impl Memory {
    /// Reads `/proc/self/status` (proc(5)); zero where it cannot be read.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self { resident: field(&status, "VmRSS:"), peak: field(&status, "VmHWM:") }
    }
}

/// Time that the process has had of the processors since it started.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = value.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_way_does_its_work_and_changes_nobody_else() {
        let nice = || rustix::process::nice(0).unwrap();
        let before = nice();
        assert_eq!(giving_way(nice), 19);
        assert_eq!(nice(), before);
    }

    #[test]
    fn fields_are_read_in_bytes() {
        assert_eq!(field("Name:\tsecd\nVmHWM:\t   42 kB\nVmRSS:\t 7 kB\n", "VmHWM:"), 42 * 1024);
        assert_eq!(field("", "VmHWM:"), 0);
        let memory = Memory::read();
        assert!(memory.peak >= memory.resident && memory.resident > 0);
        let before = cpu_time();
        assert!(cpu_time() >= before && before > Duration::ZERO);
    }
}
