//! Programs that write the next key into a packet and hand it to what is measured. The object is "Dual MIT/GPL".
//!
//! Each jump has a constant target, which the kernel turns into a direct jump: the same on all sides, and cheap.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "contexts, map values and packets are raw memory")
)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program;
