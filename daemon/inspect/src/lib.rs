//! Inspection from outside the rules: captures from disk, and live frames that the XDP program copies.
//!
//! The rules themselves (`signatures`) see bytes and times only. [`inspect_pcap`] opens a file for them. A
//! [`LiveInspector`] turns records of the kernel's ring into findings; [`start`] runs one behind a bounded queue, so
//! that whoever reads the ring never waits for a rule.

mod frame;
mod live;
mod offline;
mod queue;

pub use frame::{CopiedFrame, FrameError};
pub use live::{BYPASS_BYTES, Finding, LiveInspector, Outcome};
pub use offline::{InspectError, inspect_pcap};
pub use queue::{Feed, MAX_QUEUED_BYTES, QUEUE_FRAMES, Sink, Worker, start};
