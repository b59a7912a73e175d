//! Where log lines come from: files, followed over rotation and truncation, those of containers as well; the journal of
//! systemd; syslog over UDP, TCP and TLS; and pushes as Loki takes them.
//!
//! A thin shell: it delivers lines in order into one bounded channel and knows how far it came. What they mean is
//! decided by the log engine (`rules/logs`). A file waits when the channel is full and loses nothing, so does a journal; a
//! TCP sender is made to wait; a push is answered when its lines have found room, or refused to be sent again; a UDP
//! message that finds no room is lost and counted.

mod config;
mod container;
mod file;
mod files;
mod framing;
mod glob;
mod handle;
mod journal;
mod loki;
mod outlet;
mod syslog;
mod tail;
mod tls;
mod watch;

pub use config::{
    Format, Line, Notice, Position, SourceConfig, SourceError, SourceKind, Start, Status, Tls, Transport,
    Trust,
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
    /// Files of one pattern followed at once; further ones are not read, which the status says.
    pub const MAX_FILES: usize = 256;
    /// Names looked at to find the files of a pattern.
    pub const MAX_NAMES: usize = 20_000;
    /// How often new files of a pattern are looked for.
    pub const LOOK: Duration = Duration::from_secs(2);
    /// A file that is not there for so long is told. Shorter is a rotation.
    pub const MISSING: Duration = Duration::from_secs(10);
    /// Bytes of an entry of the journal as `journalctl` writes it; a longer one is skipped and counted.
    pub const MAX_ENTRY: usize = 4 * 1024 * 1024;
    /// First and longest wait before `journalctl` is started again.
    pub const RESTART: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];
    /// `journalctl` that runs for so long is well.
    pub const RUNS_WELL: Duration = Duration::from_secs(2);
    /// Time for a TLS handshake.
    pub const HANDSHAKE: Duration = Duration::from_secs(10);
    /// Bytes of a file with certificates, a key or a token.
    pub const MAX_SECRET: u64 = 256 * 1024;
    /// Bytes of a push as it is sent, and unpacked. Promtail, Alloy and Docker's driver send 1 MiB at most.
    pub const MAX_PUSH: usize = 4 * 1024 * 1024;
    /// Streams of a push.
    pub const MAX_STREAMS: usize = 1_024;
    /// Labels of a stream.
    pub const MAX_LABELS: usize = 64;
    /// Lines of a push.
    pub const MAX_PUSH_LINES: usize = 65_536;
    /// Pushes unpacked at once, over all listeners.
    pub const MAX_UNPACKING: usize = 2;
    /// How long the lines of a push may wait for room. Then it is refused with 503 and sent again by its sender.
    pub const DELIVER: Duration = Duration::from_secs(5);
    /// Pushes that were taken in part, so that only the rest is taken when they come again. The oldest is forgotten.
    pub const MAX_UNFINISHED: usize = 64;
    /// Kinds of streams that no source takes and that are told.
    pub const MAX_STRANGERS: usize = 16;
}
