//! Where log lines come from: files, followed over rotation and truncation, and syslog over UDP and TCP.
//!
//! A thin shell: it delivers lines in order into one bounded channel and knows how far it came. What they mean is
//! decided by the log engine (`rules/logs`). A file waits when the channel is full and loses nothing; a TCP sender is
//! made to wait; a UDP message that finds no room is lost and counted.

mod config;
mod file;
mod framing;
mod handle;
mod syslog;
mod tail;
mod watch;

pub use config::{
    Line, Notice, Position, SourceConfig, SourceError, SourceKind, Start, Status, Transport, Trust,
};
pub use handle::{Handle, Sources};

/// Bounds of this crate, by name.
pub mod limits {
    use std::time::Duration;

    /// Bytes of a line in a file that are delivered; the rest up to the line end is skipped and the line counted. Far
    /// above what the engine judges, so that a shortened line is never taken for a whole one.
    pub const MAX_LINE: usize = 1024 * 1024;
    /// Bytes read from a file at once.
    pub const CHUNK: usize = 64 * 1024;
    /// First bytes of a file that tell it from another with the same inode.
    pub const HEAD: usize = 256;
    /// Without a sign from inotify, files are looked at this often.
    pub const POLL: Duration = Duration::from_millis(500);
    /// How long a rotated file is still read: programs write to it until they are told to reopen.
    pub const ROTATED_GRACE: Duration = Duration::from_secs(120);
    /// Bytes of one syslog message. A longer one over TCP is dropped and counted: its end would be missing.
    pub const MAX_MESSAGE: usize = 64 * 1024;
    /// TCP connections of one listener at once; further ones are closed.
    pub const MAX_CONNECTIONS: usize = 64;
    /// TCP connections of one sender at once.
    pub const MAX_CONNECTIONS_PER_SENDER: usize = 8;
    /// A TCP connection that says nothing for so long is closed.
    pub const IDLE: Duration = Duration::from_secs(3600);
    /// Wait before a listener that could not be opened is tried again.
    pub const RETRY: Duration = Duration::from_secs(5);
    /// Entries of a folder looked at to find a rotated file again.
    pub const MAX_FOLDER: usize = 10_000;
    /// Sources at once.
    pub const MAX_SOURCES: usize = 1_024;
}
