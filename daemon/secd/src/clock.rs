//! The only place that reads clocks.

use model::Timestamp;

use crate::keeper::Now;

/// Both clocks, now.
#[must_use]
pub fn now() -> Now {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanoseconds = i128::from(boot.tv_sec) * 1_000_000_000 + i128::from(boot.tv_nsec);
    Now {
        wall: Timestamp(jiff::Timestamp::now().as_microsecond()),
        boot: u64::try_from(nanoseconds).unwrap_or(0),
    }
}

/// Which start of the machine this is; empty where the kernel does not say.
#[must_use]
pub fn boot_id() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map(|text| text.trim().to_owned()).unwrap_or_default()
}
