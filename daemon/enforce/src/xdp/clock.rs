//! The kernel's clocks.
#![expect(unsafe_code, reason = "clock_gettime has no safe wrapper in the standard library")]

/// Nanoseconds of `CLOCK_BOOTTIME` (sleep included), what bans, deadlines and records count in.
#[must_use]
pub fn boot_now() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Ticks of `CLOCK_MONOTONIC`, what the flow table counts in.
pub(super) fn ticks_now() -> u32 {
    abi::ticks(read(libc::CLOCK_MONOTONIC))
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct that is handed in; both clocks exist since Linux 2.6.39.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if failed != 0 {
        return 0;
    }
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
