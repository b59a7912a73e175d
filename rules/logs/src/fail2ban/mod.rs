//! Fail2ban's filters and jails as they are, without a word changed: [`Filter`] reads a file of `filter.d`, [`Matcher`]
//! judges lines by it, [`Jails`] reads `jail.conf`, [`Counter`] counts failures as a jail does.
//!
//! What differs from Fail2ban: names are never looked up (a failure whose host is a name has no address), commands are
//! never run (`ignorecommand` is reported), lines longer than [`limits::MAX_LINE`] are not judged, and searches that
//! backtrack end at a limit.

mod counter;
mod date;
mod filter;
mod jail;
mod jailer;
pub mod limits;
mod matcher;
mod python;
mod reader;
pub mod samples;
mod tags;

pub use counter::{Counter, Full};
pub use filter::{Definition, Filter, Names};
pub use jail::{Backend, BanTime, Growth, Jail, Jails};
pub use jailer::{Jailer, JailerSettings};
pub use matcher::{Failure, Judged, Matcher, Options};
pub use python::{Mistake, Pattern, Scratch, Text};
pub use reader::Texts;
pub use tags::name_and_options;
