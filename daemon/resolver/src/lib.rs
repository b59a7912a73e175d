//! The resolver of the appliance: it answers the zones' DNS questions over UDP and TCP, sinkholes what the lists and
//! bans name, says why in the answer (RFC 8914), caches, and asks plain upstreams with fail-over.
//!
//! A question walks through `query` (is it one?), `judge` (special names, standing orders, lists), `cache`,
//! `upstream`, and `judge` again for every alias the answer goes over. All of it but the sockets is one [`Engine`]
//! without sockets of its own, so that it can be tried with bytes alone. Wire format by hickory-proto; its server is
//! not used, because its request path hides what is needed here (malformed queries, client address first, EDE).

mod answer;
mod cache;
mod engine;
mod judge;
mod listen;
mod query;
mod quota;
mod settings;
mod stats;

pub mod limits;
pub mod upstream;

pub use engine::{Engine, Sink, Why};
pub use judge::{By, Judgement};
pub use listen::{Handle, Resolver};
pub use settings::{ClientNetwork, ResolverError, Settings};
pub use stats::Stats;
pub use upstream::UpstreamStatus;
