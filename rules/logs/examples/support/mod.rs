//! What the examples measure with.
#![allow(dead_code, reason = "not every example measures both")]

type Failure = Box<dyn std::error::Error>;

/// CPU time of this thread in seconds, as Linux counts it.
pub(crate) fn cpu_seconds() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

/// Resident memory in KiB.
pub(crate) fn resident() -> Result<i64, Failure> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: i64 = text.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4)
}
