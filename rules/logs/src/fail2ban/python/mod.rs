//! Python's regexes with their meaning. What automata can do runs on automata, in time linear in the text. Look-around,
//! back-references and conditions run on a backtracking matcher with counted steps, behind an automaton that finds all
//! they find and more.

mod backtrack;
mod linear;
mod syntax;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use regex_automata::meta::Regex;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Input, PatternID, PatternSet};

use backtrack::{Memory, Program, UNSET};
use linear::Alphabet;
pub use syntax::Mistake;

use super::limits::MAX_STEPS_OF_LINE;

/// A text to search. Its only line feed, if any, should be its last character; others are slower to search.
#[derive(Clone, Copy, Debug)]
pub struct Text<'t> {
    text: &'t str,
    alphabet: Alphabet,
    one_line: bool,
}

impl<'t> Text<'t> {
    /// Looks at the text once.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let alphabet = if text.is_ascii() { Alphabet::Ascii } else { Alphabet::Unicode };
        let first = memchr::memchr(b'\n', text.as_bytes());
        Self { text, alphabet, one_line: first.is_none_or(|at| at + 1 == text.len()) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &'t str {
        self.text
    }
}

/// Memory of searches, to be used again; also where the groups of the last match stand.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Vec<Option<NonMaxUsize>>,
    memory: Memory,
}

impl Scratch {
    /// Begins a line: it has all its steps before it.
    pub fn begin(&mut self) {
        self.memory.steps = MAX_STEPS_OF_LINE;
        self.memory.gave_up = false;
    }

    /// A search since `begin` ended at a limit, and counts as not found.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.memory.gave_up
    }

    /// Where a group of the last match stands.
    #[must_use]
    pub fn group(&self, group: usize) -> Option<(usize, usize)> {
        let slot = |at: usize| self.slots.get(at).copied().flatten().map(NonMaxUsize::get);
        Some((slot(2 * group)?, slot(2 * group + 1)?))
    }
}

/// A compiled regex.
#[derive(Debug)]
pub struct Pattern {
    parsed: syntax::Parsed,
    /// Exact where `program` is not always needed, else relaxed.
    ascii: Regex,
    unicode: OnceLock<Option<Regex>>,
    linear: bool,
    has_end: bool,
    program: OnceLock<Option<Program>>,
}

impl Pattern {
    /// Compiles a regex; `many_lines` is `re.MULTILINE`.
    ///
    /// # Errors
    /// The regex is wrong, or larger than the limits.
    pub fn new(text: &str, many_lines: bool) -> Result<Self, Mistake> {
        let parsed = syntax::parse(text, many_lines)?;
        let whole = |message: String| Mistake { at: 1, message };
        let linear = linear::is_linear(&parsed.node);
        let ascii = linear::compile(&parsed.node, Alphabet::Ascii, !linear)
            .map_err(|error| whole(format!("too large: {error}")))?;
        let program = OnceLock::new();
        if !linear {
            let compiled = Program::new(&parsed.node, parsed.groups).map_err(whole)?;
            let _ = program.set(Some(compiled));
        }
        let has_end = linear::has_end(&parsed.node);
        Ok(Self { parsed, ascii, unicode: OnceLock::new(), linear, has_end, program })
    }

    /// Names of groups, with their numbers.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.parsed.names.iter().map(|(name, group)| (name, *group))
    }

    /// Number of a named group.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<usize> {
        self.parsed.names.iter().find(|(known, _)| **known == *name).map(|(_, group)| *group)
    }

    /// Runs on an automaton alone.
    #[must_use]
    pub fn is_linear(&self) -> bool {
        self.linear
    }

    /// The leftmost match; `scratch` then holds its groups.
    pub fn search(&self, text: Text<'_>, scratch: &mut Scratch) -> bool {
        self.search_from(text, 0, scratch)
    }

    /// The leftmost match that begins at a byte or later; `^` is the beginning of the text all the same.
    pub fn search_from(&self, text: Text<'_>, from: usize, scratch: &mut Scratch) -> bool {
        let automaton = match text.alphabet {
            Alphabet::Ascii => Some(&self.ascii),
            Alphabet::Unicode => self
                .unicode
                .get_or_init(|| linear::compile(&self.parsed.node, Alphabet::Unicode, !self.linear).ok())
                .as_ref(),
        };
        if from > text.text.len() {
            return false;
        }
        let input = Input::new(text.text).range(from..);
        let exact = !self.has_end || text.one_line;
        match automaton {
            Some(automaton) if self.linear && exact => {
                scratch.slots.clear();
                scratch.slots.resize(2 * (self.parsed.groups + 1), None);
                automaton.search_slots(&input, &mut scratch.slots).is_some()
            }
            // Relaxed, it says where the first match can begin at the earliest.
            Some(automaton) if exact => {
                automaton.find(input).is_some_and(|found| self.backtrack(text.text, found.start(), scratch))
            }
            Some(_) | None => self.backtrack(text.text, from, scratch),
        }
    }

    fn backtrack(&self, text: &str, from: usize, scratch: &mut Scratch) -> bool {
        let program = self.program.get_or_init(|| Program::new(&self.parsed.node, self.parsed.groups).ok());
        let Some(program) = program else { return false };
        let mut start = from;
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        if !program.search(text, start, &mut scratch.memory) {
            return false;
        }
        scratch.slots.clear();
        scratch.slots.extend(scratch.memory.slots.iter().map(|at| match *at {
            UNSET => None,
            at => NonMaxUsize::new(at),
        }));
        true
    }
}

/// Several regexes that are asked at once which of them can match.
#[derive(Debug)]
pub(super) struct PatternSetIndex {
    ascii: Option<Regex>,
}

/// Which regexes of an index can match the last text asked for.
#[derive(Debug)]
pub(super) struct Candidates {
    set: Option<PatternSet>,
    count: usize,
}

impl PatternSetIndex {
    /// An index over regexes; where it would be too large, every regex counts as possible.
    #[must_use]
    pub(super) fn new<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Self {
        let nodes: Vec<_> = patterns.map(|pattern| &pattern.parsed.node).collect();
        let ascii = if nodes.len() < 2 { None } else { linear::compile_set(&nodes, Alphabet::Ascii).ok() };
        Self { ascii }
    }

    /// Memory for asking.
    #[must_use]
    pub(super) fn candidates(&self, count: usize) -> Candidates {
        Candidates { set: self.ascii.as_ref().map(|ascii| PatternSet::new(ascii.pattern_len())), count }
    }

    /// Asks; `candidates` then says which can match.
    pub(super) fn ask(&self, text: Text<'_>, candidates: &mut Candidates) {
        let usable = text.alphabet == Alphabet::Ascii && text.one_line;
        match (&self.ascii, &mut candidates.set) {
            (Some(ascii), Some(set)) if usable => {
                set.clear();
                ascii.which_overlapping_matches(&Input::new(text.text), set);
            }
            (_, Some(set)) => {
                for pattern in (0..candidates.count).filter_map(|at| PatternID::new(at).ok()) {
                    set.insert(pattern);
                }
            }
            (_, None) => {}
        }
    }
}

impl Candidates {
    /// This regex can match.
    #[must_use]
    pub(super) fn has(&self, at: usize) -> bool {
        self.set.as_ref().is_none_or(|set| PatternID::new(at).is_ok_and(|pattern| set.contains(pattern)))
    }

    /// The next regex from `from` on that can match.
    #[must_use]
    pub(super) fn next(&self, from: usize) -> Option<usize> {
        match &self.set {
            None => (from < self.count).then_some(from),
            Some(set) => {
                (from..self.count).find(|at| PatternID::new(*at).is_ok_and(|pattern| set.contains(pattern)))
            }
        }
    }
}
