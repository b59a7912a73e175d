//! The daemon: wires the engines to the kernel, the sockets and the store.

pub mod alerts;
pub mod api;
pub mod appliance;
pub mod clock;
pub mod decisions;
pub mod devices;
pub mod doctor;
pub mod events;
pub mod feeds;
pub mod flags;
pub mod floods;
pub mod inspection;
pub mod keeper;
pub mod kernel;
pub mod loading;
pub mod logs;
pub mod machine;
pub mod metrics;
pub mod neighbours;
pub mod packets;
pub mod process;
pub mod sandbox;
pub mod standing;
pub mod subscriptions;
pub mod trial;
pub mod why;
