//! What became of everything that the old program was told.

use serde::Serialize;

use crate::limits::MOST_NAMED;

/// What became of everything that the old program was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was read, with its version where it says one.
    pub source: String,
    /// What was taken over as it is, counted by kind.
    pub taken: Vec<Taken>,
    /// What is written in another way now.
    pub translated: Vec<Translated>,
    /// What was not taken over.
    pub left: Vec<Left>,
}

/// What was taken over of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// `block lists`, `clients`, …
    pub kind: String,
    /// How many.
    pub count: usize,
}

/// What is written in another way now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Translated {
    /// What the old program was told.
    pub what: String,
    /// How secd is told.
    pub how: String,
}

/// What was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// What the old program was told.
    pub what: String,
    /// Why it was not taken.
    pub why: String,
    /// What a person can do.
    pub help: String,
}

impl Report {
    pub(crate) fn new(source: impl Into<String>) -> Self {
        Self { source: source.into(), ..Self::default() }
    }

    /// Counts what was taken; nothing is not told.
    pub(crate) fn take(&mut self, kind: &str, count: usize) {
        if count == 0 {
            return;
        }
        match self.taken.iter_mut().find(|taken| taken.kind == kind) {
            Some(taken) => taken.count += count,
            None => self.taken.push(Taken { kind: kind.to_owned(), count }),
        }
    }

    /// Counts one less: what was taken turned out to be refused.
    pub(crate) fn give_back(&mut self, kind: &str) {
        for taken in self.taken.iter_mut().filter(|taken| taken.kind == kind) {
            taken.count -= 1;
        }
        self.taken.retain(|taken| taken.count > 0);
    }

    pub(crate) fn translate(&mut self, what: impl Into<String>, how: impl Into<String>) {
        let translated = Translated { what: what.into(), how: how.into() };
        if !self.translated.contains(&translated) {
            self.translated.push(translated);
        }
    }

    pub(crate) fn leave(&mut self, what: impl Into<String>, why: impl Into<String>, help: impl Into<String>) {
        self.left.push(Left { what: what.into(), why: why.into(), help: help.into() });
    }
}

/// `lists (2): a, b`: what several things are, the first of them by name.
pub(crate) fn several(kind: &str, names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMED) {
        None | Some(0) => format!("{kind} ({}): {shown}", names.len()),
        Some(more) => format!("{kind} ({}): {shown} and {more} more", names.len()),
    }
}
