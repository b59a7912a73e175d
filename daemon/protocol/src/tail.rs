//! Choosing events out of the stream.

use model::{Body, Event, EventAction};
use serde::{Deserialize, Serialize};

/// `GET /v1/tail?…`. Each field holds words separated by commas; left out, it lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailQuery {
    /// Kinds: [`Body::KINDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Actions: `pass`, `drop`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Zones by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A checked [`TailQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    kinds: Vec<&'static str>,
    actions: Vec<EventAction>,
    zones: Vec<String>,
}

impl TailQuery {
    /// Most words in one field.
    pub const MAX_WORDS: usize = 64;

    /// Checks the words.
    ///
    /// # Errors
    /// Names the word that is none and lists those that are.
    pub fn filter(&self) -> Result<EventFilter, String> {
        Ok(EventFilter {
            kinds: words(self.kind.as_deref(), |word| Body::KINDS.into_iter().find(|kind| *kind == word))
                .map_err(|word| wrong("kind", word, &Body::KINDS))?,
            actions: words(self.action.as_deref(), |word| {
                EventAction::ALL.into_iter().find(|action| action.name() == word)
            })
            .map_err(|word| wrong("action", word, &EventAction::ALL.map(EventAction::name)))?,
            zones: words(self.zone.as_deref(), |word| Some(word.to_owned()))
                .map_err(|_| format!("more than {} zones", Self::MAX_WORDS))?,
        })
    }
}

impl EventFilter {
    /// Whether `event` is wanted.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&event.body.kind()))
            && (self.actions.is_empty() || self.actions.contains(&event.action))
            && (self.zones.is_empty() || event.zone.as_ref().is_some_and(|zone| self.zones.contains(zone)))
    }
}

/// The words of `field`; the first one that `read` does not know, or that is one too many, as the error.
fn words<T>(field: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, &str> {
    let mut known = Vec::new();
    for word in field.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match read(word) {
            Some(value) if known.len() < TailQuery::MAX_WORDS => known.push(value),
            Some(_) | None => return Err(word),
        }
    }
    Ok(known)
}

fn wrong(field: &str, word: &str, known: &[&str]) -> String {
    format!("`{}` is no {field}; write one of {}", word.escape_debug(), known.join(", "))
}
