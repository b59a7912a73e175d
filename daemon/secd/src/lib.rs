//! The daemon: wires the engines to the kernel, the sockets and the store.

pub mod clock;
pub mod decisions;
pub mod feeds;
pub mod flags;
pub mod keeper;
pub mod machine;
pub mod packets;
pub mod process;
pub mod why;
