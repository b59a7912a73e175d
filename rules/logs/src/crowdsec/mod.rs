//! CrowdSec's files, as the hub writes them. Parsers: stages of nodes that filter, grok and enrich an [`Event`].
//! Scenarios: [`Buckets`](buckets::Buckets) that events are poured into, and the overflows that come out.
//!
//! A [`Pipeline`] is made of named texts ([`Items`]) and takes events one after another. What a file of parsers may
//! hold is refused by name and line where it is not supported; nothing is left out silently.

mod acquis;
mod agent;
mod alert;
pub mod assert;
mod blackhole;
mod bucket;
pub mod buckets;
mod data;
mod duration;
mod enrich;
mod event;
mod grok;
pub mod hubtest;
mod limiter;
pub mod limits;
mod load;
mod node;
pub mod overflow;
mod pipeline;
pub mod profile;
pub mod scenario;
mod stash;

pub use agent::{Agent, AgentSettings};
pub use data::Data;
pub use enrich::{City, Lookups};
pub use event::{Event, Kind, Line, Mode, Texts};
pub use grok::{Grok, GrokError, Patterns};
pub use load::{DataFile, Item, Items};
pub use pipeline::{Parsed, Pipeline, Step};
