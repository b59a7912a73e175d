//! The daemon: wires the engines to the kernel, the sockets and the store.

pub mod flags;
pub mod keeper;
pub mod packets;
pub mod process;
