//! What the process knows of where it runs.

use jiff::tz::TimeZone;
use model::Timestamp;
use std::{
    io::{IsTerminal, stdin, stdout},
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

/// What the process knows of where it runs.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The time.
    pub now: Timestamp,
    /// The time zone that people read times in.
    pub zone: TimeZone,
    /// Columns; none = lines may be as long as they want.
    pub width: Option<u16>,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Someone sits at standard input and output who can be asked.
    pub asks: bool,
    /// The user asked for no colours, see <https://no-color.org>.
    pub no_color: bool,
    /// Who runs the command.
    pub user: String,
    /// How long to wait for an answer of the daemon.
    pub patience: Duration,
}

impl Environment {
    /// How long to wait for an answer of the daemon. A reload of long lists takes seconds.
    pub const PATIENCE: Duration = Duration::from_secs(60);

    /// Asks the process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let terminal = stdout().is_terminal();
        let columns = text("COLUMNS").and_then(|columns| columns.parse().ok());
        let measured = || terminal_size::terminal_size().map(|(terminal_size::Width(width), _)| width);
        Self {
            now: now(),
            zone: TimeZone::system(),
            width: columns.or_else(|| if terminal { measured() } else { None }).filter(|width| *width > 0),
            terminal,
            asks: terminal && stdin().is_terminal(),
            no_color: text("NO_COLOR").is_some() || text("TERM").is_some_and(|term| term == "dumb"),
            user: text("SUDO_USER")
                .or_else(|| text("USER"))
                .or_else(|| text("LOGNAME"))
                .unwrap_or_else(user_id),
            patience: Self::PATIENCE,
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0).plus(since)
}

/// The user by number, where the environment names none.
fn user_id() -> String {
    std::fs::metadata("/proc/self")
        .map_or_else(|_| "unknown".into(), |metadata| format!("uid {}", metadata.uid()))
}
