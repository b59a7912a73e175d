//! A file of domains as entries: whole-file checks, then line by line.

use crate::{ListError, Report, line, line::DomainLine, text};

/// Reads a whole file and gives each entry with its line to `take`.
///
/// # Errors
/// The file as a whole is no list of domains; entries given to `take` before are void.
pub(crate) fn read(bytes: &[u8], mut take: impl FnMut(u32, DomainLine)) -> Result<Report, ListError> {
    let bytes = text::check(bytes)?;
    let mut report = Report::default();
    let (mut entries, mut exceptions) = (0, 0);
    for line in text::lines(bytes) {
        report.lines = line.number;
        line::read(
            line,
            |entry| {
                entries += 1;
                exceptions += u64::from(entry.kind == crate::DomainKind::Allow);
                take(line.number, entry);
            },
            |part, why| report.reject(line.number, part, why),
        );
    }
    report.entries = entries;
    report.exceptions = exceptions;
    report.judge()?;
    Ok(report)
}
