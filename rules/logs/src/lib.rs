//! Log lines to bans. A [`Filter`] turns a line into an event with named fields, a [`Scenario`] pours events into
//! leaky buckets, and the [`Engine`] says who overflowed one, with the lines that did it.
//!
//! Nothing here reads a clock, a file or a socket: lines and `now` come in, outputs go out, so replaying a file gives
//! the bans it gave when it was written. Filters and scenarios are TOML, the built-in ones included
//! (`src/builtin/*.toml` are the examples to read before writing one).

mod bucket;
mod definition;
mod engine;
mod error;
mod evidence;
mod expand;
mod fields;
mod filter;
mod json;
mod library;
pub mod limits;
mod scenario;
pub mod syslog;
mod time;

pub use engine::{Engine, EngineError, Outcome, Outputs, Overflow, Source, SourceIndex, Stats};
pub use error::FilterError;
pub use filter::{Filter, Found};
pub use library::Library;
pub use limits::Limits;
pub use scenario::Scenario;
pub use time::Clock;
