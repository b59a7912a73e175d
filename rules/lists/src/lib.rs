//! Domain and address lists: bytes of files in, one compact set to ask out.
//!
//! - [`DomainSet`] answers "what do the lists say about this question" without allocating; it is built in two passes over
//!   each file by [`DomainSetBuilder`], so a file that is refused leaves nothing behind, and is kept as one snapshot.
//! - [`GroupSet`] says for whom something holds, [`Clients`] who somebody is.
//! - [`services`], [`probes`] and [`canaries`] are names that come with secd.
//! - [`AddressList`] is one file of addresses; [`AddressLists`] folds several into the flat prefix table of the kernel
//!   and still knows the list and line of each entry.
//! - [`Overrides`] are the standing orders about names (bans and timed allows), which go before every list.
//! - [`Clients`] and [`Group`] say for whom which of them hold.
//! - [`Format`] says how a file is written, where that cannot be seen by itself (a table's column, a JSON field).
//! - [`guard_report`] says whether a refreshed list may replace the last good one.
//! - [`catalogue`] names well-known sources of all kinds.
//!
//! Everything outside is hostile: files, lines, entries and kept rejects have named limits in [`limits`].

mod addresses;
mod answer;
mod asked;
mod builder;
mod builtin;
mod clients;
mod delta;
mod domains;
mod format;
mod groups;
mod json;
mod language;
mod merge;
mod names;
mod overrides;
mod records;
mod regexes;
mod report;
mod rule;
mod set;
mod snapshot;
mod text;
mod written;

pub mod catalogue;
pub mod limits;

pub use addresses::{AddressList, AddressReading};
pub use answer::{Answers, Effect, Record, RecordData};
pub use asked::{Asked, type_number};
pub use builder::DomainSetBuilder;
pub use builtin::{Service, YouTube, canaries, probes, services};
pub use clients::{Client, Clients, Facts, MAX_CLIENTS, MAX_WHO, Who};
pub use delta::{AddressDelta, Delta};
pub use format::{Column, Format, FormatError};
pub use groups::{Blocking, DEFAULT_GROUP, Group, GroupSet, MAX_GROUPS};
pub use language::name::{is_of_the_machine, unicode};
pub use language::pihole::translate as pihole_expression;
pub use merge::{AddressLists, AddressOrigin, ListedAs};
pub use overrides::{Asker, Override, Overrides};
pub use report::{Dangers, ListError, Reject, Report, guard, guard_report};
pub use set::{DomainKind, DomainMatch, DomainSet, ListInfo, Role};
pub use snapshot::SnapshotError;
pub use written::check_written;
