//! What the daemon gives up once everything is open.

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet};

/// What is kept, and for what:
///
/// - `NET_ADMIN`: attach programs when an interface comes, run nft.
/// - `BPF`, `PERFMON`: write the tables where unprivileged BPF is off, renew programs; without `PERFMON` the verifier
///   masks pointers against speculation and refuses the program.
/// - `NET_BIND_SERVICE`: port 53 and 514 on addresses that a reload names.
/// - `DAC_READ_SEARCH`: read logs that belong to other programs.
pub const KEPT: [Capability; 5] = [
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// Gives up every capability that is not in [`KEPT`], for this process and what it starts. Must be called before there
/// are other threads: capabilities belong to threads.
///
/// # Errors
/// The kernel refused.
pub fn drop_capabilities() -> Result<()> {
    let kept: CapsHashSet = KEPT.into_iter().collect();
    for capability in caps::all() {
        let held = caps::has_cap(None, CapSet::Bounding, capability).unwrap_or(false);
        // Dropping from the bounding set needs SETPCAP, which a unit that grants only what is kept does not have.
        if held
            && !kept.contains(&capability)
            && caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)?
        {
            caps::drop(None, CapSet::Bounding, capability).context("drop from the bounding set")?;
        }
    }
    caps::clear(None, CapSet::Ambient).context("clear the ambient set")?;
    let held = caps::read(None, CapSet::Permitted).context("read the permitted set")?;
    let kept: CapsHashSet = held.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Effective, &kept).context("set the effective set")?;
    caps::set(None, CapSet::Permitted, &kept).context("set the permitted set")?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).context("set the inheritable set")?;
    Ok(())
}
