//! What the dialects have in common where they run: where they want lines from, what a line is, what they find in it.
//!
//! The native [`Engine`](crate::Engine), Fail2ban's [`Jailer`](crate::fail2ban::Jailer) and CrowdSec's
//! [`Agent`](crate::crowdsec::Agent) all end in an [`Overflow`]: who is to be banned, for how long, and by which lines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Timestamp;

use crate::engine::{Overflow, SourceIndex};

/// Files by their path below a folder, with `/` between folders.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Alerts that a line leads to, at most; scenarios that feed each other end here.
pub const MAX_FOUND: usize = 256;

/// Where a dialect wants lines from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// A file, or all files of a pattern.
    File(String),
    /// Entries of the journal, by conditions as `journalctl` takes them.
    Journal(Vec<String>),
}

impl Feed {
    /// It in words, which is also the name of its source.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Journal(matches) if matches.is_empty() => "journal".into(),
            Self::Journal(matches) => format!("journal {}", matches.join(" ")),
        }
    }
}

/// A line on its way into a dialect.
#[derive(Clone, Copy, Debug)]
pub struct FeedLine<'l> {
    /// The time.
    pub now: Timestamp,
    /// Its source.
    pub source: SourceIndex,
    /// The name of that.
    pub name: &'l str,
    /// When it was written, where the source says so beside the line.
    pub written: Option<Timestamp>,
    /// The line, without its end.
    pub bytes: &'l [u8],
}

/// What came of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finds {
    /// Something was understood.
    pub matched: bool,
    /// Who is to be banned.
    pub overflows: Vec<Overflow>,
    /// What is told and bans nobody.
    pub alerts: Vec<DialectAlert>,
    /// Who is in, and since when, by what the line says.
    pub login: Option<(IpAddr, Timestamp)>,
}

/// Something that is told and bans nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectAlert {
    /// The scenario or jail.
    pub scenario: String,
    /// What it says, about whom, and why nobody is banned.
    pub message: String,
}

impl Finds {
    /// Adds somebody who is to be banned, as long as there is room.
    pub(crate) fn ban(&mut self, overflow: Overflow) {
        if self.overflows.len() < MAX_FOUND {
            self.overflows.push(overflow);
        }
    }

    /// Adds an alert, as long as there is room.
    pub(crate) fn tell(&mut self, scenario: &str, message: String) {
        if self.alerts.len() < MAX_FOUND {
            self.alerts.push(DialectAlert { scenario: scenario.to_owned(), message });
        }
    }
}

/// How a jail or scenario is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Its name as decisions carry it: `fail2ban:sshd`, `crowdsecurity/ssh-bf`.
    pub name: String,
    /// Failures that a jail counted; nothing for a scenario.
    pub failures: Option<u64>,
    /// How often it was full.
    pub overflows: u64,
}
