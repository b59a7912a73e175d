//! The names of a run, the same in every run.

use std::{fmt::Write as _, fs, path::Path};

/// Names that are blocked.
pub(crate) const BLOCKED: usize = 500_000;
/// Names that are asked for again and again.
pub(crate) const CACHED: usize = 1_000;
/// Names that are asked for once, for each round: more than anybody answers in it.
pub(crate) const UNCACHED: usize = 500_000;

/// The blocked name of this number: 22 bytes on average, and of 25 names eight below another one, as in real lists.
pub(crate) fn blocked(number: usize) -> String {
    let parent = |number: usize| {
        // Mixed, so that neighbours in the file are no neighbours in a table.
        let mixed = u32::try_from(number).unwrap_or_default().wrapping_mul(2_654_435_761);
        format!("{mixed:08x}.t{:04}.example", number % 7919)
    };
    match number % 25 {
        0..8 => format!("x{}.{}", number % 7, parent(number + 8)),
        _ => parent(number),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_names_are_of_the_shape_of_real_lists() {
        let all: HashSet<String> = (0..BLOCKED).map(blocked).collect();
        assert_eq!(all.len(), BLOCKED);
        let below =
            all.iter().filter(|name| name.split_once('.').is_some_and(|(_, parent)| all.contains(parent)));
        assert_eq!(below.count(), BLOCKED * 8 / 25);
        let bytes: usize = all.iter().map(String::len).sum();
        assert!((20..=24).contains(&(bytes / BLOCKED)), "{}", bytes / BLOCKED);
    }
}
