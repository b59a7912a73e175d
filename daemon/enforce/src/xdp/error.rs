//! What can go wrong between the plan and the kernel.

use std::{io, path::PathBuf};

/// An operation on the kernel's tables or programs failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan does not fit; nothing was changed.
    #[error("the policy does not fit: {0}; nothing was changed")]
    Image(#[from] policy::image::ImageError),
    /// The size of the flow table is none.
    #[error(
        "a flow table of {flows} entries is not possible: it must be a power of two from {} to {}",
        abi::MIN_FLOWS,
        abi::MAX_FLOWS
    )]
    FlowTable {
        /// What was asked for.
        flows: u32,
    },
    /// Another plan waits to be confirmed; nothing was changed.
    #[error("a policy is on trial for another {seconds} s; confirm it or take it back first")]
    OnTrial {
        /// Seconds until it goes by itself.
        seconds: u64,
    },
    /// Nobody confirmed the plan in time.
    #[error("the trial is over: the policy before it holds again")]
    TrialOver,
    /// The kernel refused an entry because its table is full.
    #[error("{table} is full ({limit} entries)")]
    Full {
        /// The table.
        table: &'static str,
        /// Entries that fit.
        limit: u32,
    },
    /// A pinned map is not what this version expects.
    #[error("the pinned map {path} is {found}, not {expected}; remove it (`secd --detach`) and start again")]
    Shape {
        /// Where it is pinned.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// There is no BPF file system at the place.
    #[error("no BPF file system at {path}; mount one: `mount -t bpf bpf /sys/fs/bpf`")]
    NoBpffs {
        /// The place.
        path: PathBuf,
    },
    /// The interface does not exist.
    #[error("interface {0} does not exist")]
    NoInterface(String),
    /// The network card takes VLAN tags out of the frames and cannot be told not to.
    #[error(
        "{interface} strips VLAN tags before XDP sees them and cannot be told not to; try `ethtool -K {interface} rxvlan off`"
    )]
    StripsTags {
        /// The interface.
        interface: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file operation failed.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The BPF system refused; the text has aya's and the kernel's words.
    #[error("cannot {doing}")]
    Kernel {
        /// What was being done.
        doing: String,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Puts what was being done before the kernel's words.
    pub(crate) fn kernel<E>(doing: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let doing = doing.into();
        move |source| Self::Kernel { doing, source: source.into() }
    }

    /// The error and its causes in one line.
    pub(crate) fn with_causes(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        let causes = causes.map(ToString::to_string);
        std::iter::once(self.to_string()).chain(causes).collect::<Vec<_>>().join(": ")
    }

    /// Puts what was being done, and where, before the system's words.
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}
