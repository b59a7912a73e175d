//! The names of a run, the same in every run.

use std::{fmt::Write as _, fs, path::Path};

/// Names that are blocked.
pub(crate) const BLOCKED: usize = 500_000;
/// Names that are asked for again and again.
pub(crate) const CACHED: usize = 1_000;
/// Names that are asked for once, for each round: more than anybody answers in it.
pub(crate) const UNCACHED: usize = 500_000;

/// The blocked name of this number; about as long as those of real lists.
pub(crate) fn blocked(number: usize) -> String {
    // Mixed, so that neighbours in the file are no neighbours in a table.
    let mixed = u32::try_from(number).unwrap_or_default().wrapping_mul(2_654_435_761);
    format!("ads-{mixed:08x}.tracker{:04}.example", number % 7919)
}

/// A name that nobody blocks.
pub(crate) fn clean(kind: &str, number: usize) -> String {
    format!("{kind}{number}.site.invalid-zone.example.net")
}

/// Writes a file of one line for each number.
pub(crate) fn write(path: &Path, count: usize, line: impl Fn(usize) -> String) -> std::io::Result<()> {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "{}", line(number));
    }
    fs::write(path, text)
}
