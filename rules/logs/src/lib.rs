//! Log lines to bans. A [`Filter`] turns a line into an event with named fields, a [`Scenario`] pours events into
//! leaky buckets, and the [`Engine`] says who overflowed one, with the lines that did it.
//!
//! Nothing here reads a clock, a file or a socket: lines and `now` come in, outputs go out, so replaying a file gives
//! the bans it gave when it was written. Filters and scenarios are TOML, the built-in ones included
//! (`src/builtin/*.toml` are the examples to read before writing one).
//!
//! # A definition file
//! ```toml
//! [filter]                          # at most one; a file may hold scenarios alone
//! name = "door"                     # the name `[[logs]] filter = "door"` uses
//! description = "the door's log"
//! programs = ["doord", "door/*"]    # syslog programs it listens to, `*` = however it ends; left out = every
//! header = "optional"               # a syslog header in front: required | optional | either | none
//! cut_at = 500                      # messages this long may have lost their end: never judged (also per pattern)
//! parts = { port = ' port [0-9]+' } # short names for use as <port> in patterns
//!
//! [[patterns]]                      # the first that matches counts; each covers the whole message
//! event = "refused"                 # kind of event (`login` = they are in: not banned for a while); or `ignore = true` for lines that mean nothing
//! regex = 'refused (?<user>\S*) from <ip><port>'   # groups are fields; `<ip>` is the address, `time` the time
//!
//! # JSON lines: `json = true`, and
//! # [filter.fields]  ip = "ClientHost"  time = ["StartUTC", "time"]  agent = "/request/headers/agent"
//! # Every line is an event (`event = "…"` in [filter]), or the first pattern says whose regexes all cover their fields:
//! # [[patterns]] event = "refused"  match = { action = 'login', message = 'refused (?<user>.*)' }
//! # Patterns with `regex` beside them are for lines that are text, so one filter reads both forms of a log.
//! # peer = "…" names a field that must hold the same address, where somebody else could have written `ip`
//! # utc = true where times without an offset are UTC, not local
//!
//! [[scenarios]]
//! name = "door-rattling"
//! description = "tries the door again and again"
//! filters = ["door"]                # left out = the filter of this file
//! events = ["refused"]              # left out = every kind
//! when = [{ user = { not = ["bob"] } }]   # any of these, each all of its tests: a value, a list, { not = […] },
//!                                   # { from = 400, to = 499 }, { contains = […] }, { regex = '…' }, { unlike = '…' };
//!                                   # `contains` and `regex` take `decoded = true` to look behind percent-encoding;
//!                                   # several tests of a field in one table must all hold. `[parts]` at the top of
//!                                   # a file are short names for use as <name> in `regex` and `unlike`
//! group_by = ["ip"]                 # must hold "ip"
//! ipv4_prefix = 32                  # what counts as one attacker
//! ipv6_prefix = 64
//! distinct = "user"                 # only different values count
//! capacity = 5                      # the sixth overflows …
//! leak = "2m"                       # … unless one was forgotten every two minutes
//! ban = "4h"
//! direction = "in"                  # in | out | both
//! mode = "enforce"                  # observe | enforce
//! ```
//! Free text on both sides of `<ip>` lets whoever writes it choose the address. Where the text stands before, anchor the
//! end (`(?<user>.*) from <ip> port [0-9]+`: the last address counts); where it stands behind, let nothing free stand
//! before; where it is on both sides, ignore the lines in which it could be either.

mod bucket;
pub mod crowdsec;
mod definition;
pub mod dialect;
mod engine;
mod error;
mod evidence;
mod expand;
pub mod expr;
pub mod fail2ban;
mod fields;
mod filter;
mod go;
mod json;
mod judges;
mod library;
pub mod limits;
mod scenario;
pub mod syslog;
mod time;

pub use dialect::Files;
pub use engine::{Engine, EngineError, LOGIN, Outcome, Outputs, Overflow, Source, SourceIndex, Stats};
pub use error::FilterError;
pub use filter::{Filter, Found};
pub use judges::Judges;
pub use library::Library;
pub use limits::Limits;
pub use scenario::Scenario;
pub use time::Clock;
