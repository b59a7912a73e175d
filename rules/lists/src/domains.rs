//! A file of domains as entries: whole-file checks, then record by record.

use foldhash::fast::FixedState;
use model::Name;
use std::hash::BuildHasher;

use crate::{
    Delta, DomainKind, Format, ListError, Report,
    language::Reader,
    records::{self, Record, Sink},
    rule::Rule,
};

/// Whoever takes the entries.
pub(crate) trait Taker {
    /// An entry and its line.
    fn take(&mut self, line: u32, rule: &Rule);
    /// Forgets everything: the file is read again from its beginning.
    fn restart(&mut self);
}

/// Reads a whole file and gives each entry with its line to `taker`.
///
/// # Errors
/// The file as a whole is no list of domains; entries given before are void.
pub(crate) fn read(
    bytes: &[u8],
    format: &Format,
    own: &[Name],
    taker: &mut impl Taker,
) -> Result<Report, ListError> {
    let mut reading =
        Reading { taker, report: Report::default(), reader: Reader::new(format, own), format, own };
    let lines = records::read(bytes, format, &mut reading)?;
    let mut report = reading.report;
    report.lines = lines;
    report.is_zone = reading.reader.is_zone();
    report.judge()?;
    Ok(report)
}

struct Reading<'a, T> {
    taker: &'a mut T,
    report: Report,
    reader: Reader<'a>,
    format: &'a Format,
    own: &'a [Name],
}

impl<T: Taker> Sink for Reading<'_, T> {
    fn record(&mut self, record: Record<'_>) {
        let (taker, number) = (&mut *self.taker, record.line.number);
        let (mut entries, mut exceptions) = (0, 0);
        self.reader.read(
            record.line,
            |rule| {
                entries += 1;
                exceptions += u64::from(rule.kind == DomainKind::Allow);
                taker.take(number, &rule);
            },
            |part, refusal| self.report.refuse(number, part, refusal),
        );
        self.report.entries += entries;
        self.report.exceptions += exceptions;
    }

    fn reject(&mut self, line: u32, text: &[u8], why: String) {
        self.report.reject(line, text, why);
    }

    fn restart(&mut self) {
        self.report = Report::default();
        self.reader = Reader::new(self.format, self.own);
        self.taker.restart();
    }
}

/// Takes nothing.
pub(crate) struct Nothing;

impl Taker for Nothing {
    fn take(&mut self, _: u32, _: &Rule) {}
    fn restart(&mut self) {}
}

/// Eight bytes an entry, to count what two files do not have in common.
pub(crate) struct Fingerprints {
    hasher: FixedState,
    seen: Vec<u64>,
}

impl Fingerprints {
    pub(crate) fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed), seen: Vec::new() }
    }

    pub(crate) fn delta(mut self, mut former: Self) -> Delta {
        for seen in [&mut self.seen, &mut former.seen] {
            seen.sort_unstable();
            seen.dedup();
        }
        Delta::between(&former.seen, &self.seen)
    }
}

impl Taker for Fingerprints {
    fn take(&mut self, _: u32, rule: &Rule) {
        // A file of 64 MiB has fewer lines than 2^25: this vector is bounded by that of the file.
        self.seen.push(self.hasher.hash_one(rule));
    }

    fn restart(&mut self) {
        self.seen.clear();
    }
}
