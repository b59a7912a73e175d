//! A receiver of Loki pushes for tests and demos, as strict as Loki is with its default limits.
//!
//! It shares no code with what it tests: snappy and protobuf are decoded here by hand, from their format documents.
//! What Loki refuses in part (an entry too old or too long) is refused in part here: the good entries are kept and
//! the answer is 400.

mod labels;
mod ledger;
mod server;
mod snappy;
mod wire;

pub use labels::{LabelError, parse as parse_labels};
pub use ledger::{Entry, Ledger, Limits, Refusal};
pub use server::{Fault, Push, Receiver};
pub use snappy::{SnappyError, decompress};
pub use wire::{PushRequest, Stream, StreamEntry, WireError, decode};
