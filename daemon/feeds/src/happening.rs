//! What happened to a subscription: one value is the event, the log line and the answer to whoever asked.

use lists::Delta;
use model::{Body, Event, EventAction, Severity, Timestamp};

/// What happened to a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A new file is in force.
    Refreshed {
        /// Name of the subscription.
        name: String,
        /// Entries in force (names, prefixes, rules; nodes of a GeoIP database).
        entries: u64,
        /// Lines that could not be read.
        rejected: u64,
        /// What came and went.
        delta: Delta,
        /// A person let it through the guard.
        accepted: bool,
    },
    /// The server has what we have.
    Unchanged {
        /// Name of the subscription.
        name: String,
    },
    /// The new file changed too much or holds what no list should: the last good one stays until somebody accepts it.
    Held {
        /// Name of the subscription.
        name: String,
        /// Entries of the held file.
        entries: u64,
        /// Lines of it that could not be read.
        rejected: u64,
        /// Why it is held, and what to do.
        why: String,
        /// This very file was held before.
        again: bool,
    },
    /// No usable file could be had; the last good one stays.
    Failed {
        /// Name of the subscription.
        name: String,
        /// Entries of the last good one; 0 where there is none.
        entries: u64,
        /// Why.
        why: String,
        /// When it is tried again.
        retry: Timestamp,
        /// It failed in the same way before.
        again: bool,
    },
}

impl Happening {
    /// Name of the subscription.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Refreshed { name, .. }
            | Self::Unchanged { name }
            | Self::Held { name, .. }
            | Self::Failed { name, .. } => name,
        }
    }

    /// Whether there is a new file, so that what is made of it must be made anew.
    #[must_use]
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Refreshed { .. })
    }

    /// The event; none where nothing is new.
    #[must_use]
    pub fn event(&self, now: Timestamp) -> Option<Event> {
        let event = |severity, reason: &str, list: &str, entries, rejected, error: Option<String>| Event {
            ts: now,
            severity,
            action: EventAction::Alert,
            zone: None,
            reason: Some(reason.into()),
            body: Body::List { list: list.into(), entries, rejected, error },
        };
        match self {
            Self::Refreshed { name, entries, rejected, .. } => {
                Some(event(Severity::Info, "list_refreshed", name, *entries, *rejected, None))
            }
            Self::Held { name, entries, rejected, why, again: false } => {
                Some(event(Severity::Warning, "list_held", name, *entries, *rejected, Some(why.clone())))
            }
            Self::Failed { name, entries, why, again: false, .. } => {
                Some(event(Severity::Warning, "list_failed", name, *entries, 0, Some(why.clone())))
            }
            Self::Unchanged { .. } | Self::Held { again: true, .. } | Self::Failed { again: true, .. } => {
                None
            }
        }
    }
}

impl std::fmt::Display for Happening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refreshed { name, entries, rejected, delta, accepted } => write!(
                f,
                "{name}: {entries} entries{}, {} came, {} went, {rejected} rejected",
                if *accepted { " (accepted)" } else { "" },
                delta.added,
                delta.removed
            ),
            Self::Unchanged { name } => write!(f, "{name}: unchanged"),
            Self::Held { name, why, .. } => write!(f, "{name}: {why}"),
            Self::Failed { name, entries: 0, why, .. } => {
                write!(f, "{name}: {why}; there is no earlier file")
            }
            Self::Failed { name, why, .. } => write!(f, "{name}: {why}; the last good file stays in force"),
        }
    }
}
