//! What became of everything that the old program was told.

use serde::Serialize;

use crate::limits::{MAX_TOLD, MOST_NAMED};

/// What stands for everything that is not told any more.
const MORE: &str = "more, not named here";

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

    /// Says how many there are now.
    pub(crate) fn recount(&mut self, kind: &str, count: usize) {
        for taken in self.taken.iter_mut().filter(|taken| taken.kind == kind) {
            taken.count = count;
        }
        self.taken.retain(|taken| taken.count > 0);
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
        // The same thing twice stands close together.
        if self.translated.iter().rev().take(MOST_NAMED).any(|told| *told == translated) {
            return;
        }
        match self.translated.len() {
            ..MAX_TOLD => self.translated.push(translated),
            MAX_TOLD => {
                self.translated.push(Translated { what: MORE.into(), how: "like those above".into() })
            }
            _ => {}
        }
    }

    pub(crate) fn leave(&mut self, what: impl Into<String>, why: impl Into<String>, help: impl Into<String>) {
        match self.left.len() {
            ..MAX_TOLD => self.left.push(Left { what: what.into(), why: why.into(), help: help.into() }),
            MAX_TOLD => self.left.push(Left {
                what: MORE.into(),
                why: "for reasons like those above".into(),
                help: "clean up in the old program and import again".into(),
            }),
            _ => {}
        }
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
