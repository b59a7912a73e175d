//! What came of reading a list: counts and rejects, or the reason why the whole file is refused.

use crate::limits::{GUARD_FROM_ENTRIES, MAX_KEPT_REJECTS, MAX_REJECT_TEXT, MOSTLY_REJECTED_FROM};

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its number, from 1.
    pub line: u32,
    /// Its beginning, control characters escaped, at most [`MAX_REJECT_TEXT`] characters.
    pub text: String,
    /// What is wrong with it and what to write instead.
    pub why: String,
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: `{}`: {}", self.line, self.text, self.why)
    }
}

/// What came of reading a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Names or prefixes taken, exceptions included, as the file writes them (before merging).
    pub entries: u64,
    /// How many of `entries` are exceptions (`@@||x^`).
    pub exceptions: u64,
    /// Addresses whose score is below the list's `min_score`.
    pub below_score: u64,
    /// Lines of the file.
    pub lines: u32,
    /// Rejected lines or names, kept and not kept.
    pub rejected: u64,
    /// How many of the rejected ones would have done great harm.
    pub dangers: Dangers,
    /// The first [`MAX_KEPT_REJECTS`] of them.
    pub rejects: Vec<Reject>,
    /// It is a zone file of response policies.
    pub is_zone: bool,
}

/// Entries that no list may hold, by what they would have blocked. They are rejected wherever they stand; a refreshed
/// list that suddenly has some was changed by mistake or by an enemy, and [`guard`] holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dangers {
    /// Prefixes such as `0.0.0.0/0`: shorter than [`crate::limits::MIN_PREFIX_V4`] or `MIN_PREFIX_V6`; expressions that
    /// match every name.
    pub everything: u64,
    /// Prefixes that overlap our own networks or protected addresses; names of the resolver's own upstreams.
    pub own: u64,
    /// Domains such as `||co.uk^`, below which names are registered.
    pub suffixes: u64,
}

impl Dangers {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Kinds that `former` did not have at all.
    fn beyond(self, former: Self) -> Self {
        let new = |now: u64, before: u64| if before == 0 { now } else { 0 };
        Self {
            everything: new(self.everything, former.everything),
            own: new(self.own, former.own),
            suffixes: new(self.suffixes, former.suffixes),
        }
    }
}

impl std::fmt::Display for Dangers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            (self.everything, "entries as wide as the whole internet"),
            (self.own, "entries about our own"),
            (self.suffixes, "public suffixes such as `co.uk`"),
        ];
        let mut said = false;
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{}{count} {what}", if said { ", " } else { "" })?;
            said = true;
        }
        if said { Ok(()) } else { f.write_str("nothing dangerous") }
    }
}

/// Why an entry is rejected.
pub(crate) enum Refusal {
    /// It is not an entry, or not one a list may hold.
    Wrong(String),
    /// It would block (nearly) everything.
    Everything(String),
    /// It would block our own.
    Own(String),
    /// It would block all names below a public suffix.
    Suffix(String),
}

impl Refusal {
    /// What is wrong and what to write instead.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Wrong(why) | Self::Everything(why) | Self::Own(why) | Self::Suffix(why) => why,
        }
    }
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl From<&str> for Refusal {
    fn from(why: &str) -> Self {
        Self::Wrong(why.into())
    }
}

impl Report {
    pub(crate) fn refuse(&mut self, line: u32, text: &[u8], refusal: Refusal) {
        let why = match refusal {
            Refusal::Wrong(why) => why,
            Refusal::Everything(why) => {
                self.dangers.everything += 1;
                why
            }
            Refusal::Own(why) => {
                self.dangers.own += 1;
                why
            }
            Refusal::Suffix(why) => {
                self.dangers.suffixes += 1;
                why
            }
        };
        self.reject(line, text, why);
    }

    pub(crate) fn reject(&mut self, line: u32, text: &[u8], why: impl Into<String>) {
        self.rejected += 1;
        if self.rejects.len() < MAX_KEPT_REJECTS {
            self.rejects.push(Reject { line, text: shown(text), why: why.into() });
        }
    }

    /// The file as a whole: something must be in it, and mostly what a list of this kind holds.
    pub(crate) fn judge(&self) -> Result<(), ListError> {
        let first = || self.rejects.first().map_or_else(String::new, |reject| format!(" (first: {reject})"));
        if self.entries == 0 && self.below_score == 0 {
            if self.rejected == 0 {
                return Err(ListError::Empty);
            }
            return Err(ListError::NothingTaken { rejected: self.rejected, first: first() });
        }
        if self.rejected >= MOSTLY_REJECTED_FROM && self.rejected > self.entries + self.below_score {
            return Err(ListError::MostlyRejected {
                rejected: self.rejected,
                entries: self.entries,
                first: first(),
            });
        }
        Ok(())
    }
}

/// Why a list is refused as a whole. The last good one stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// No entry, only comments or nothing.
    #[error("the list is empty: there is no entry in it, only comments or nothing")]
    Empty,
    /// An error page or a web page instead of a list.
    #[error("the file is a web page (HTML or XML), not a list: check the address it was fetched from")]
    Html,
    /// A JSON document.
    #[error(
        "the file is JSON, not a list with one entry a line: say which field holds the entries, for example format = \"json:cidr\""
    )]
    Json,
    /// JSON that ends or breaks in the middle.
    #[error("the JSON is broken in line {line}, column {column}: {why}")]
    BrokenJson {
        /// Its line, from 1.
        line: u32,
        /// Its column, from 1.
        column: usize,
        /// What is wrong there.
        why: String,
    },
    /// The column or field of the format is nowhere in the file.
    #[error("there is no `{field}` in it: is this the right column or field?")]
    NoField {
        /// Its name, or path.
        field: String,
    },
    /// Compressed.
    #[error("the file is compressed ({0}): unpack it first")]
    Compressed(&'static str),
    /// NUL bytes.
    #[error("the file is binary: there is a NUL byte in line {line}")]
    Binary {
        /// Line of the first NUL byte.
        line: u32,
    },
    /// UTF-16 or UTF-32.
    #[error("the file is UTF-16 or UTF-32 text: save it as UTF-8")]
    Utf16,
    /// Beyond [`crate::limits::MAX_FILE_BYTES`].
    #[error("the file has {bytes} bytes, more than the {limit} that are read")]
    TooBig {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Beyond the entries one list or the whole set may hold.
    #[error("{entries} entries, more than {limit} ({what})")]
    TooManyEntries {
        /// How many there are.
        entries: usize,
        /// The limit.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// Entries that no list should hold, which the last good one did not hold.
    #[error("it holds {0}: held until it is confirmed (those entries are never taken)")]
    Dangerous(Dangers),
    /// Beyond [`crate::limits::MAX_DOMAIN_LISTS`].
    #[error("more than {limit} lists")]
    TooManyLists {
        /// The limit.
        limit: usize,
    },
    /// Not one line could be read.
    #[error("no entry could be read, {rejected} were rejected{first}")]
    NothingTaken {
        /// How many lines.
        rejected: u64,
        /// The first of them, in words.
        first: String,
    },
    /// More lines wrong than right.
    #[error("{rejected} lines were rejected and only {entries} read: is this a list of this kind?{first}")]
    MostlyRejected {
        /// How many lines.
        rejected: u64,
        /// How many were right.
        entries: u64,
        /// The first rejected one, in words.
        first: String,
    },
    /// The list lost more than half of its entries since the last good one.
    #[error(
        "the list shrank from {previous} to {now} entries, by more than half: held until it is confirmed"
    )]
    Shrank {
        /// Entries of the last good one.
        previous: u64,
        /// Entries now.
        now: u64,
    },
    /// The list grew by more than half since the last good one.
    #[error("the list grew from {previous} to {now} entries, by more than half: held until it is confirmed")]
    Grew {
        /// Entries of the last good one.
        previous: u64,
        /// Entries now.
        now: u64,
    },
}

/// Says whether a refreshed list with `now` entries may replace the last good one of `previous` entries. A list that
/// shrinks or grows by more than half is held. Lists of fewer than [`GUARD_FROM_ENTRIES`] entries, which people write
/// by hand, may change as they like.
///
/// # Errors
/// [`ListError::Shrank`] or [`ListError::Grew`] with both numbers.
pub fn guard(previous: Option<u64>, now: u64) -> Result<(), ListError> {
    let Some(previous) = previous.filter(|&entries| entries >= GUARD_FROM_ENTRIES) else { return Ok(()) };
    if now < previous.div_ceil(2) {
        return Err(ListError::Shrank { previous, now });
    }
    if now > previous.saturating_add(previous / 2) {
        return Err(ListError::Grew { previous, now });
    }
    Ok(())
}

/// [`guard`] for a whole report, with what the last good one was: its entries and dangers.
///
/// # Errors
/// [`ListError::Dangerous`] where there are dangers of a kind that the last good one did not have (for a first one: any
/// at all), else as [`guard`].
pub fn guard_report(previous: Option<(u64, Dangers)>, now: &Report) -> Result<(), ListError> {
    let dangers = now.dangers.beyond(previous.map_or_else(Dangers::default, |(_, dangers)| dangers));
    if !dangers.is_empty() {
        return Err(ListError::Dangerous(dangers));
    }
    guard(previous.map(|(entries, _)| entries), now.entries)
}

/// The beginning of a line as it can be shown on a terminal.
fn shown(text: &[u8]) -> String {
    // Four bytes a character at most: more input cannot be needed.
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_REJECT_TEXT * 4)]);
    let mut kept = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == MAX_REJECT_TEXT {
            kept.push('…');
            break;
        }
        if character.is_control() {
            kept.extend(character.escape_default());
        } else {
            kept.push(character);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_change_by_half_are_held() {
        assert_eq!(guard(None, 5_000_000), Ok(()));
        assert_eq!(guard(Some(10), 900), Ok(()), "lists of people change as they like");
        assert_eq!(guard(Some(1000), 500), Ok(()));
        assert_eq!(guard(Some(1000), 499), Err(ListError::Shrank { previous: 1000, now: 499 }));
        assert_eq!(guard(Some(1000), 1500), Ok(()));
        assert_eq!(guard(Some(1000), 1501), Err(ListError::Grew { previous: 1000, now: 1501 }));
        assert_eq!(guard(Some(u64::MAX), u64::MAX), Ok(()));
    }

    #[test]
    fn new_dangers_are_held_and_known_ones_are_not() {
        let with = |own, everything| Report {
            entries: 5,
            dangers: Dangers { own, everything, suffixes: 0 },
            ..Report::default()
        };
        let held = guard_report(None, &with(2, 0)).unwrap_err().to_string();
        assert!(held.contains("2 entries about our own"), "{held}");
        let known = Some((5, Dangers { own: 1, ..Dangers::default() }));
        assert_eq!(guard_report(known, &with(2, 0)), Ok(()));
        assert_eq!(
            guard_report(known, &with(2, 1)),
            Err(ListError::Dangerous(Dangers { everything: 1, ..Dangers::default() }))
        );
        assert_eq!(guard_report(None, &with(0, 0)), Ok(()));
    }

    #[test]
    fn rejects_are_bounded_and_can_be_shown() {
        let mut report = Report::default();
        for line in 1..=1000 {
            report.reject(line, "\u{1b}[31m".repeat(10_000).as_bytes(), "wrong");
        }
        assert_eq!((report.rejected, report.rejects.len()), (1000, MAX_KEPT_REJECTS));
        assert!(report.rejects.iter().all(|reject| !reject.text.contains('\u{1b}')));
        assert!(report.rejects[0].text.len() < MAX_REJECT_TEXT * 10);
    }
}
