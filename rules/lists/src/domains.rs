//! A file of domains as entries: whole-file checks, then record by record.

use foldhash::fast::FixedState;
use std::hash::BuildHasher;

use crate::{
    Delta, DomainKind, Format, ListError, Report,
    line::{self, DomainLine},
    records::{self, Record, Sink},
};

/// Whoever takes the entries.
pub(crate) trait Taker {
    /// An entry and its line.
    fn take(&mut self, line: u32, entry: &DomainLine);
    /// Forgets everything: the file is read again from its beginning.
    fn restart(&mut self);
}

/// Reads a whole file and gives each entry with its line to `taker`.
///
/// # Errors
/// The file as a whole is no list of domains; entries given before are void.
pub(crate) fn read(bytes: &[u8], format: &Format, taker: &mut impl Taker) -> Result<Report, ListError> {
    let mut reading = Reading { taker, report: Report::default() };
    let lines = records::read(bytes, format, &mut reading)?;
    let mut report = reading.report;
    report.lines = lines;
    report.judge()?;
    Ok(report)
}

struct Reading<'a, T> {
    taker: &'a mut T,
    report: Report,
}

impl<T: Taker> Sink for Reading<'_, T> {
    fn record(&mut self, record: Record<'_>) {
        let (taker, number) = (&mut *self.taker, record.line.number);
        let (mut entries, mut exceptions) = (0, 0);
        line::read(
            record.line,
            |entry| {
                entries += 1;
                exceptions += u64::from(entry.kind == DomainKind::Allow);
                taker.take(number, &entry);
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
        self.taker.restart();
    }
}

/// Takes nothing.
pub(crate) struct Nothing;

impl Taker for Nothing {
    fn take(&mut self, _: u32, _: &DomainLine) {}
    fn restart(&mut self) {}
}

/// How many bytes all names have.
#[derive(Default)]
pub(crate) struct Lengths {
    pub(crate) bytes: usize,
}

impl Taker for Lengths {
    fn take(&mut self, _: u32, entry: &DomainLine) {
        self.bytes += entry.name.as_str().len();
    }

    fn restart(&mut self) {
        self.bytes = 0;
    }
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
    fn take(&mut self, _: u32, entry: &DomainLine) {
        // A file of 64 MiB has fewer lines than 2^25: this vector is bounded by that of the file.
        self.seen.push(self.hasher.hash_one((
            entry.kind == DomainKind::Allow,
            entry.below,
            entry.name.as_str(),
        )));
    }

    fn restart(&mut self) {
        self.seen.clear();
    }
}
