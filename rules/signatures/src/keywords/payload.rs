//! The full match of one part of a rule on its buffer.
//!
//! Matches hold one after the other. A relative one starts where the one before it ended; where it fails, the one
//! before tries its next place, as in Suricata. The number of steps is limited, so that hostile bytes cost bounded
//! time; a search that exceeds it counts as not found.

use super::bytes::{ByteExtract, ByteJump, ByteTest, IsDataAt};
use super::content::{Amount, Content};
use super::number::NumberTest;
use super::pcre::Pcre;
use crate::limits::{MAX_MATCH_STEPS, MAX_VARIABLES};

/// One match within a buffer.
#[derive(Debug)]
pub(crate) enum PayloadMatch {
    Content(Box<Content>),
    Pcre(Box<Pcre>),
    IsDataAt(IsDataAt),
    ByteTest(ByteTest),
    ByteJump(ByteJump),
    ByteExtract(ByteExtract),
    Size(NumberTest),
}

impl PayloadMatch {
    /// Whether it depends on where the match before it ended.
    fn is_relative(&self) -> bool {
        match self {
            Self::Content(content) => content.is_relative(),
            Self::Pcre(pcre) => pcre.relative,
            Self::IsDataAt(test) => test.relative,
            Self::ByteTest(test) => test.number.relative,
            Self::ByteJump(jump) => jump.number.relative,
            Self::ByteExtract(extract) => extract.number.relative,
            Self::Size(_) => false,
        }
    }

    /// Whether it holds only at places counted from the buffer's beginning.
    pub(crate) fn is_anchored(&self) -> bool {
        match self {
            Self::Content(content) => content.is_anchored(),
            Self::Pcre(pcre) => !pcre.relative && pcre.from_start,
            Self::IsDataAt(test) => !test.relative,
            Self::ByteTest(test) => !test.number.relative,
            Self::ByteJump(jump) => !jump.number.relative,
            Self::ByteExtract(extract) => !extract.number.relative,
            Self::Size(_) => false,
        }
    }
}

/// The end of a full match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It holds; the bytes from the first match's start to the last one's end.
    Found { start: usize, end: usize },
    /// It does not.
    Missing,
    /// Too many steps; counts as not found.
    GaveUp,
}

/// Whether all matches hold on the buffer.
pub(crate) fn find(matches: &[PayloadMatch], buffer: &[u8]) -> Outcome {
    let mut search = Search { matches, buffer, steps: 0, variables: [0; MAX_VARIABLES], span: None };
    match search.run(0, 0) {
        Step::Holds => {
            let (start, end) = search.span.unwrap_or((0, 0));
            Outcome::Found { start, end }
        }
        Step::FailsHere | Step::FailsEverywhere if search.steps > MAX_MATCH_STEPS => Outcome::GaveUp,
        Step::FailsHere | Step::FailsEverywhere => Outcome::Missing,
    }
}

struct Search<'b> {
    matches: &'b [PayloadMatch],
    buffer: &'b [u8],
    steps: u32,
    variables: [u64; MAX_VARIABLES],
    span: Option<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Holds,
    /// Another place of the match before may help.
    FailsHere,
    /// It does not depend on the match before.
    FailsEverywhere,
}

impl Search<'_> {
    fn run(&mut self, index: usize, position: usize) -> Step {
        let Some(current) = self.matches.get(index) else { return Step::Holds };
        self.steps += 1;
        if self.steps > MAX_MATCH_STEPS {
            return Step::FailsEverywhere;
        }
        let failed = if current.is_relative() { Step::FailsHere } else { Step::FailsEverywhere };
        let then = |search: &mut Self, holds: bool, position: usize| {
            if holds { search.run(index + 1, position) } else { failed }
        };
        match current {
            PayloadMatch::Content(content) => self.content(content, index, position),
            PayloadMatch::Pcre(pcre) => self.pcre(pcre, index, position),
            PayloadMatch::IsDataAt(test) => {
                let holds = test.holds(self.buffer, position, &self.variables);
                then(self, holds, position)
            }
            PayloadMatch::ByteTest(test) => {
                let holds = test.holds(self.buffer, position, &self.variables);
                then(self, holds, position)
            }
            PayloadMatch::ByteJump(jump) => match jump.target(self.buffer, position, &self.variables) {
                Some(target) => self.run(index + 1, target),
                None => failed,
            },
            PayloadMatch::ByteExtract(extract) => {
                let Some((value, after)) = extract.read(self.buffer, position, &self.variables) else {
                    return failed;
                };
                if let Some(variable) = self.variables.get_mut(extract.variable) {
                    *variable = value;
                }
                self.run(index + 1, after)
            }
            PayloadMatch::Size(test) => {
                let holds = test.holds(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
                then(self, holds, position)
            }
        }
    }

    fn note(&mut self, start: usize, end: usize) {
        self.span = Some(self.span.map_or((start, end), |(first, last)| (first.min(start), last.max(end))));
    }

    /// Whether the next match depends on where this one ends.
    fn next_is_relative(&self, index: usize) -> bool {
        self.matches.get(index + 1).is_some_and(PayloadMatch::is_relative)
            || matches!(self.matches.get(index + 1), Some(PayloadMatch::ByteExtract(_)))
    }

    fn content(&mut self, content: &Content, index: usize, position: usize) -> Step {
        let failed = if content.is_relative() { Step::FailsHere } else { Step::FailsEverywhere };
        let (mut from, to) = self.window(content, position);
        loop {
            self.steps += 1;
            if self.steps > MAX_MATCH_STEPS {
                return Step::FailsEverywhere;
            }
            let window = self.buffer.get(from..to).unwrap_or_default();
            let found = if content.ends_with && to == self.buffer.len() {
                ending(content, window).map(|at| from + at)
            } else if content.ends_with {
                None
            } else {
                content.find(window).map(|at| from + at)
            };
            let Some(start) = found else {
                return if content.negated { self.run(index + 1, position) } else { failed };
            };
            if content.negated {
                return failed;
            }
            let end = start + content.needle.len();
            let span = self.span;
            self.note(start, end);
            let step = self.run(index + 1, end);
            match step {
                Step::Holds => return Step::Holds,
                Step::FailsEverywhere => return Step::FailsEverywhere,
                Step::FailsHere if !self.next_is_relative(index) => return failed,
                Step::FailsHere => {
                    self.span = span;
                    from = start + 1;
                }
            }
        }
    }

    /// Where the content may stand: start and end of its window.
    fn window(&self, content: &Content, position: usize) -> (usize, usize) {
        let length = i64::try_from(self.buffer.len()).unwrap_or(i64::MAX);
        let get = |amount: Option<Amount>| amount.map(|amount| amount.get(&self.variables));
        let (from, to) = if content.is_relative() {
            let base = i64::try_from(position).unwrap_or(i64::MAX);
            let from = base.saturating_add(get(content.distance).unwrap_or(0));
            let to = get(content.within).map_or(length, |within| from.saturating_add(within));
            (from, to)
        } else if content.starts_with {
            (0, i64::try_from(content.needle.len()).unwrap_or(i64::MAX))
        } else {
            let from = get(content.offset).unwrap_or(0);
            let to = get(content.depth).map_or(length, |depth| from.saturating_add(depth));
            (from, to)
        };
        let clamp = |number: i64| usize::try_from(number.clamp(0, length)).unwrap_or(0);
        (clamp(from).min(clamp(to)), clamp(to))
    }

    fn pcre(&mut self, pcre: &Pcre, index: usize, position: usize) -> Step {
        let failed = if pcre.relative { Step::FailsHere } else { Step::FailsEverywhere };
        let base = if pcre.relative { position } else { 0 };
        let mut from = base;
        loop {
            // A search reads at most the whole buffer: it costs as many steps as it has blocks.
            let blocks = u32::try_from(self.buffer.len() / 256).unwrap_or(u32::MAX);
            self.steps = self.steps.saturating_add(1 + blocks);
            if self.steps > MAX_MATCH_STEPS {
                return Step::FailsEverywhere;
            }
            let Some((start, end)) = pcre.find(self.buffer, base, from) else {
                return if pcre.negated { self.run(index + 1, position) } else { failed };
            };
            if pcre.negated {
                return failed;
            }
            let span = self.span;
            self.note(start, end);
            match self.run(index + 1, end) {
                Step::Holds => return Step::Holds,
                Step::FailsEverywhere => return Step::FailsEverywhere,
                Step::FailsHere if !self.next_is_relative(index) || pcre.anchored => return failed,
                Step::FailsHere => {
                    self.span = span;
                    from = start + 1;
                }
            }
        }
    }
}

/// The place of a content that ends its window.
fn ending(content: &Content, window: &[u8]) -> Option<usize> {
    let start = window.len().checked_sub(content.needle.len())?;
    let tail = &window[start..];
    let same =
        if content.nocase { tail.eq_ignore_ascii_case(&content.needle) } else { *tail == *content.needle };
    same.then_some(start)
}
