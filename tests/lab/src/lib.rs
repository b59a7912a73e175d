//! secd end to end: one network namespace for the WAN, the router and a host of each zone, with real programs in
//! them (OpenSSH, nginx, nsd, curl, kdig), the real `secd` in the router's, and `secctl` to ask it.
//!
//! The demo and the tests play the same steps. Everything a lab makes carries the process id in its name and goes
//! away when the lab is dropped, after a panic or Ctrl-C as well; what a killed run left is swept by the next.

mod appliance;
mod bring;
mod config;
mod frames;
mod lists;
mod namespace;
mod network;
mod probe;
mod process;
mod programs;
mod receiver;
mod scenario;
mod steps;
mod wait;

pub use appliance::{Appliance, Reply};
pub use bring::Own;
pub use config::Settings;
pub use frames::{SynFlood, send_tagged};
pub use lists::Lists;
pub use namespace::Namespace;
pub use network::{
    ATTACKER, CAMERAS, CAMERAS_VLAN, DMZ, EXPLOITER, GUEST, HOME, IOT, MANAGEMENT, Network, SERVICES,
    STORAGE, UPSTREAMS, VISITOR, WAN, ZONES, Zone, address,
};
pub use probe::{Echo, Probe, connect};
pub use process::Process;
pub use programs::Programs;
pub use receiver::Receiver;
pub use scenario::{Goals, Lab, Step, play};
pub use wait::Waiter;

/// Why the lab cannot run here, or nothing where it can. Tests print it as `SKIP: <test>: <reason>`.
#[must_use]
pub fn cannot_run() -> Option<String> {
    let is_root = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t0")));
    if !is_root {
        return Some("not root: network namespaces and packet programs need it".into());
    }
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("no BTF: packet programs cannot be loaded".into());
    }
    let missing: Vec<_> =
        programs::NEEDED.iter().filter(|program| !process::exists(program)).copied().collect();
    (!missing.is_empty()).then(|| format!("{} not installed: run cargo xtask setup", missing.join(", ")))
}
