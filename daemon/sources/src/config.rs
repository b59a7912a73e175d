//! What a source is, and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use model::Timestamp;
use serde::{Deserialize, Serialize};

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name, unique.
    pub name: String,
    /// Where lines come from.
    pub kind: SourceKind,
}

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file, or all files of a pattern.
    File {
        /// Its path. It need not be there yet. `*`, `?` and `[…]` in it make it a pattern: files that appear are
        /// followed, ones that go are let go.
        path: PathBuf,
        /// Where to begin when no position is known.
        start: Start,
        /// What stands around each line.
        format: Format,
    },
    /// A syslog listener.
    Syslog {
        /// How messages come.
        transport: Transport,
        /// Where to listen.
        listen: SocketAddr,
        /// Who may send; nobody else is heard. Empty only where certificates tell who sends.
        senders: Vec<IpNet>,
        /// What TLS needs; nothing for the others.
        tls: Option<Tls>,
    },
    /// The journal of systemd, by `journalctl`.
    Journal {
        /// Conditions as `journalctl` takes them, `FIELD=value`; none = every entry.
        matches: Vec<String>,
        /// The folder of its files; none = the one of this machine.
        folder: Option<PathBuf>,
    },
    /// Pushes as Loki takes them.
    Loki {
        /// Where to listen. Sources with the same address share it.
        listen: SocketAddr,
        /// Who may send; nobody else is heard.
        senders: Vec<IpNet>,
        /// Labels that a stream has to have; the first source that fits takes it.
        labels: Vec<(String, String)>,
        /// File with a token that senders have to show.
        token_file: Option<PathBuf>,
    },
}

/// What stands around each line of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Nothing.
    #[default]
    Plain,
    /// An object a line, as Docker's `json-file` writes.
    Docker,
    /// Time, stream and a tag, as Kubernetes' container runtimes write.
    Cri,
}

/// What TLS needs. The files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificates, PEM, the own one first.
    pub chain: PathBuf,
    /// Key, PEM.
    pub key: PathBuf,
    /// Certificate authorities of senders, PEM; none = senders need no certificate.
    pub client_ca: Option<PathBuf>,
}

/// Where to begin in a file that is there at the start and of which no position is known. A file that appears later is
/// read from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Only what is written from now on.
    #[default]
    End,
    /// Everything.
    Beginning,
}

/// How syslog messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RFC 5426.
    Udp,
    /// RFC 6587, octet counting or a line each.
    Tcp,
    /// RFC 5425: the same in TLS.
    Tls,
}

/// How hard it is to forge a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// Anybody can send one in another's name.
    Udp,
    /// The sender's address is real.
    Tcp,
    /// Written on this machine.
    File,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Name of its source.
    pub source: Arc<str>,
    /// The line, without its end. Not necessarily UTF-8.
    pub bytes: Vec<u8>,
    /// How hard it is to forge.
    pub trust: Trust,
    /// Who sent it, over the network.
    pub sender: Option<IpAddr>,
    /// When it was written, where the source says so beside the line.
    pub written: Option<Timestamp>,
    /// Behind this line in its file: what to keep once it has been dealt with.
    pub position: Option<Position>,
    /// Under what to keep the position: the name of the source; of one file of many, that and the path.
    pub kept_as: Arc<str>,
    /// When it was read.
    pub received: Instant,
}

/// A place in a file, and what tells the file from others. To be kept over restarts. Of a journal, its id as `device` and
/// `inode`, an entry's number as `offset` and its time as `head`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    /// How many first bytes `head` is of.
    pub head_length: u16,
    /// FNV-1a hash of the first bytes.
    pub head: u64,
}

/// Something a person should know about a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Name of the source.
    pub source: Arc<str>,
    /// What happened.
    pub message: String,
}

/// How a source is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Lines delivered.
    pub lines: u64,
    /// Messages that found no room (UDP).
    pub lost: u64,
    /// Lines cut and messages dropped for their length.
    pub oversized: u64,
    /// Messages and connections of senders that may not send.
    pub refused: u64,
    /// When the last line was delivered.
    pub last_line: Option<Timestamp>,
    /// What is wrong now.
    pub error: Option<String>,
    /// Files being followed.
    pub files: usize,
    /// Where it listens.
    pub listening: Option<SocketAddr>,
    /// TCP connections open.
    pub connections: usize,
    /// Behind the last line delivered.
    pub position: Option<Position>,
}

/// Why sources cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Two have one name.
    #[error("two log sources have the name `{0}`; give each its own")]
    Duplicate(String),
    /// Anybody could send.
    #[error("the log source `{0}` says nobody may send; add `senders = [\"10.2.0.0/24\"]`")]
    NoSenders(String),
    /// A listener of TLS without a certificate.
    #[error("the log source `{0}` listens by TLS and has no certificate")]
    NoCertificate(String),
    /// Too many.
    #[error("{0} log sources; at most {max} are possible", max = crate::limits::MAX_SOURCES)]
    TooMany(usize),
}
