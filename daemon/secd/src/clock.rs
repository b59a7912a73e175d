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
