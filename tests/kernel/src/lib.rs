//! What the tests in this machine's kernel share: a folder in the BPF file system of their own, network namespaces,
//! and the rule that what a machine cannot do is skipped aloud.
#![expect(unsafe_code, reason = "namespaces and CPU affinity are system calls")]

mod folder;
mod namespace;
pub mod plans;
pub mod wires;

use abi::Active;
use aya::maps::{Array, Map, MapData};
use enforce::xdp::Dataplane;

pub use folder::{Folder, can_run};
pub use namespace::{Namespace, run};

/// Ends the time in which packets without state may belong to connections that are older than the programs.
///
/// # Panics
/// The map is not there.
pub fn end_grace(dataplane: &Dataplane) {
    let id = match dataplane.map("ACTIVE") {
        Some(Map::Array(data)) => data.info().map(|info| info.id()),
        _ => panic!("ACTIVE is no array"),
    };
    let map = id.and_then(MapData::from_id).unwrap_or_else(|error| panic!("ACTIVE: {error}"));
    let mut active: Array<MapData, Active> =
        Array::try_from(Map::Array(map)).unwrap_or_else(|error| panic!("ACTIVE: {error}"));
    let now = active.get(&0, 0).unwrap_or_else(|error| panic!("ACTIVE: {error}"));
    active.set(0, Active { attached: 0, ..now }, 0).unwrap_or_else(|error| panic!("ACTIVE: {error}"));
}

/// Keeps this thread on one CPU, so that what the kernel counts per CPU can be found. Returns the CPU.
///
/// # Panics
/// The kernel refuses.
#[must_use]
pub fn stay_on_this_cpu() -> usize {
    // SAFETY: all zeros is a valid, empty set; the kernel reads as many bytes as are said.
    unsafe {
        let cpu = usize::try_from(libc::sched_getcpu()).unwrap_or(0);
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set), 0, "affinity");
        cpu
    }
}

/// Ticks of the flow table's clock.
#[must_use]
pub fn ticks_now() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the struct that is handed in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    abi::ticks(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
