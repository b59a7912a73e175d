//! A bounded HTTP/1.1 server for the APIs that other programs speak: who is let in at all, for how long, and with how
//! much. What is answered is the matter of a [`Site`]; each has its own [`Limits`].

mod server;
mod site;
mod sources;
mod tries;

pub use server::{Admits, Server};
pub use site::{Body, Failure, Limits, Site};
pub use sources::source;
pub use tries::{Tries, TryLimits};
