//! CrowdSec's parsers, as the hub writes them: stages of nodes that filter, grok and enrich an [`Event`].
//!
//! A [`Pipeline`] is made of named texts ([`Items`]) and takes events one after another. What a file of parsers may
//! hold is refused by name and line where it is not supported; nothing is left out silently.

pub mod assert;
mod data;
mod enrich;
mod event;
mod grok;
pub mod limits;
mod load;
mod node;
mod pipeline;
mod stash;

pub use data::Data;
pub use enrich::{City, Lookups};
pub use event::{Event, Kind, Line, Mode, Overflown, Texts};
pub use grok::{Grok, GrokError, Patterns};
pub use load::{DataFile, Item, Items};
pub use pipeline::{Parsed, Pipeline, Step};
