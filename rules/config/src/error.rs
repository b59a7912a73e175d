//! What is wrong with a file, where, and what to write instead.

use model::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One mistake in a file. Serialises to the shape that `secctl check -o json` prints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}: {}; {}", self.file, self.line, self.column, self.message, self.help)
    }
}

impl std::error::Error for ConfigError {}

impl From<logs::FilterError> for ConfigError {
    fn from(error: logs::FilterError) -> Self {
        let logs::FilterError { file, line, column, message, help } = error;
        Self { file, line, column: column.unwrap_or(1), message, help }
    }
}

/// Collects the mistakes of one file and turns byte offsets into lines and columns.
pub(crate) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
    errors: Vec<ConfigError>,
    left_out: usize,
    muted: BTreeSet<usize>,
    /// Errors whose lines are in `muted`.
    muted_errors: usize,
    misfits: BTreeSet<String>,
    /// Bytes of the text that is worked on which the file does not have, in order.
    inserted: Vec<usize>,
}

impl<'a> Report<'a> {
    /// Mistakes that are told; the rest of a file with more is counted in one line.
    pub(crate) const MAX_ERRORS: usize = 200;
    /// Characters of a user's text that a message quotes.
    const MAX_QUOTE: usize = 60;

    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self {
            file,
            text,
            line_starts,
            errors: Vec::new(),
            left_out: 0,
            muted: BTreeSet::new(),
            muted_errors: 0,
            misfits: BTreeSet::new(),
            inserted: Vec::new(),
        }
    }

    /// Notes a mistake at a byte of the text.
    pub(crate) fn add(&mut self, at: usize, message: impl Into<String>, help: impl Into<String>) {
        if self.muted.contains(&self.line_of_byte(self.in_file(at))) {
            return;
        }
        if self.errors.len() >= Self::MAX_ERRORS {
            self.left_out += 1;
            return;
        }
        let Span { file, line, column } = self.span(at);
        self.errors.push(ConfigError { file, line, column, message: message.into(), help: help.into() });
    }

    /// From here on says nothing more about lines that a mistake has been told of: it would be a consequence.
    pub(crate) fn mute_told_lines(&mut self) {
        let known = self.muted_errors;
        self.muted.extend(self.errors.iter().skip(known).map(|error| error.line as usize - 1));
        self.muted_errors = self.errors.len();
    }

    /// Remembers that a key has been told of and taken out: what is missing then is a consequence.
    pub(crate) fn note_misfit(&mut self, path: &str) {
        if self.misfits.len() < Self::MAX_ERRORS {
            self.misfits.insert(path.to_owned());
        }
    }

    /// Whether this key was written, but wrongly.
    pub(crate) fn is_misfit(&self, path: &str) -> bool {
        self.misfits.contains(path)
    }

    /// The place of a byte of the text.
    pub(crate) fn span(&self, at: usize) -> Span {
        let at = self.in_file(at);
        let line = self.line_of_byte(at);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let column = self.text.as_bytes()[start..at].iter().filter(|byte| (**byte & 0xc0) != 0x80).count();
        let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Span { file: self.file.to_owned(), line: count(line), column: count(column) }
    }

    /// From here on places are those of the text with these bytes inserted.
    pub(crate) fn set_inserted(&mut self, inserted: Vec<usize>) {
        self.inserted = inserted;
    }

    fn in_file(&self, at: usize) -> usize {
        (at - self.inserted.partition_point(|place| *place < at)).min(self.text.len())
    }

    fn line_of_byte(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Whether no further mistake is told, so that its help needs no thought.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= Self::MAX_ERRORS
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// The mistakes in the order of the file.
    pub(crate) fn into_errors(mut self) -> Vec<ConfigError> {
        self.errors.sort();
        self.errors.dedup();
        if self.left_out > 0 {
            let end = self.span(self.text.len());
            self.errors.push(ConfigError {
                file: end.file,
                line: end.line,
                column: end.column,
                message: format!("{} more mistakes are not shown", self.left_out),
                help: "correct those above and check again".into(),
            });
        }
        self.errors
    }
}

/// A user's text as a message quotes it: cut, control characters escaped, in backticks.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = String::from("`");
    for (place, c) in text.chars().enumerate() {
        if place == Report::MAX_QUOTE {
            shown.push('…');
            break;
        }
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown.push('`');
    shown
}

/// `a`, `b` and `c`.
pub(crate) fn all<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    joined(words, "and")
}

/// `a`, `b` or `c`.
pub(crate) fn listed<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    joined(words, "or")
}

fn joined<T: AsRef<str>>(words: impl IntoIterator<Item = T>, with: &str) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {with} {last}", rest.join(", ")),
    }
}

/// The known word nearest to a mistyped one.
pub(crate) fn nearest<'w>(text: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST_TYPO: usize = 64;
    if text.len() > LONGEST_TYPO {
        return None;
    }
    let text = text.to_lowercase();
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&text, word), word))
        .filter(|(distance, word)| *distance <= 1.max(word.chars().count().min(text.chars().count()) / 3))
        .min()
        .map(|(_, word)| word)
}
