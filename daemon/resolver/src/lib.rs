//! The resolver of the appliance: it answers the zones' DNS questions over UDP and TCP, sinkholes what the lists and
//! bans name, says why in the answer (RFC 8914), caches, and asks upstreams for the rest.
//!
//! A question walks through `wire` (is it one?), `engine` (who asks, special and local names, lists, and again for every
//! alias and address of the answer), `cache`, and the upstreams. All of it but the sockets is one [`Engine`] without
//! sockets or clocks of its own, so that it can be tried with bytes and a date alone. What is on the path of every
//! question is read and written here without allocating; records of upstreams are hickory-proto's. Its server is not
//! used, because its request path costs more than the rest together and hides what is needed here (malformed queries,
//! client address first, EDE).

mod cache;
mod clock;
mod cookie;
mod engine;
mod forwarder;
mod journal;
mod listen;
mod local;
mod quota;
mod rate;
mod settings;
mod stats;
mod wire;

pub mod limits;
pub mod upstream;

pub use clock::{Clock, Now, SystemClock};
pub use engine::{By, Device, Devices, Engine, Judgement, Probed, Sources, Why};
pub use forwarder::{Asking, Forwarder, Wanted};
pub use hickory_proto::rr::Name as WireName;
pub use journal::{Decider, From, Query, Resolved, Sink};
pub use listen::{Certificate, CertificateError, Door, Handle, Resolver};
pub use local::{LOCAL_TTL, Local, LocalFound, LocalFull, reverse_name};
pub use rate::Rate;
pub use settings::{CacheSettings, ClientNetwork, Designated, Policy, Rebinding, ResolverError, Settings};
pub use stats::Stats;
pub use upstream::{
    Answered, Forward as UpstreamForward, Order, Server, Trouble, UpstreamSettings, UpstreamStatus,
    Validation,
};
pub use wire::question::Transport;
