//! The Suricata rule language over packets and captures.
//!
//! [`RuleSet::load`] turns rule text into rules that run and a list of those that do not, each with its place and
//! reason. An [`Inspector`] takes frames in order, follows flows, puts TCP and fragments together, and says which rules
//! match and whether the flow goes on. Nothing here reads a clock, a file or a socket: the time comes with each frame.
//!
//! A rule goes text -> `syntax` (split) -> `keywords` (a file for each family) -> [`Rule`] -> `prefilter` (groups and
//! one search for all contents of a group). A frame goes `decode` -> `engine` (fragments, flows, streams) ->
//! `prefilter` (candidates) -> `keywords::payload` (full match) -> [`Alert`].

mod classification;
mod decode;
mod dns;
mod engine;
mod eve;
mod inspector;
mod judge;
mod keywords;
pub mod limits;
mod offline;
pub mod pcap;
mod prefilter;
mod ranges;
mod rule;
mod ruleset;
mod syntax;

pub use classification::{Classification, ClassificationError};
pub use decode::LinkType;
pub use eve::{EveAlert, EveSignature};
pub use inspector::{Alert, Counters, Excerpt, FlowVerdict, Inspector, Judgement};
pub use limits::Limits;
pub use offline::{CaptureReport, inspect_capture};
pub use rule::{FlowDirection, Rule};
pub use ruleset::{Loader, Refused, RuleSet};
pub use syntax::{Action, HeaderProtocol, Variables};
