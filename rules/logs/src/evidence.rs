//! The lines that were poured somewhere, kept once for all buckets within one budget of bytes.

use std::collections::VecDeque;

use model::{Evidence, Timestamp};

/// Cost of a kept line beside its text.
const OVERHEAD: usize = 48;

#[derive(Debug)]
struct Kept {
    at: Timestamp,
    source: usize,
    text: Box<[u8]>,
}

/// Lines by number, the oldest forgotten first.
#[derive(Debug)]
pub(crate) struct Lines {
    kept: VecDeque<Kept>,
    /// Number of the first line in `kept`.
    first: u64,
    bytes: usize,
    budget: usize,
}

impl Lines {
    pub(crate) fn new(budget: usize) -> Self {
        Self { kept: VecDeque::new(), first: 0, bytes: 0, budget }
    }

    /// The number the next line will get.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    pub(crate) fn keep(&mut self, at: Timestamp, source: usize, line: &[u8]) {
        let text = &line[..line.len().min(Evidence::MAX_TEXT + 4)];
        self.bytes += text.len() + OVERHEAD;
        self.kept.push_back(Kept { at, source, text: text.into() });
        while self.bytes > self.budget && self.kept.len() > 1 {
            if let Some(gone) = self.kept.pop_front() {
                self.bytes -= gone.text.len() + OVERHEAD;
                self.first += 1;
            }
        }
    }

    /// The line with this number, unless it is forgotten.
    pub(crate) fn get(&self, number: u64, source_name: impl Fn(usize) -> String) -> Option<Evidence> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let kept = self.kept.get(at)?;
        Some(Evidence::new(kept.at, source_name(kept.source), &String::from_utf8_lossy(&kept.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_the_newest_stay() {
        let mut lines = Lines::new(1_000);
        for number in 0..100_u64 {
            assert_eq!(lines.next(), number);
            lines.keep(Timestamp(0), 0, format!("line {number} {}", "x".repeat(100)).as_bytes());
            assert!(lines.bytes <= 1_000);
        }
        let text =
            |number| lines.get(number, |_| String::new()).map(|evidence| evidence.text[..7].to_owned());
        assert_eq!(text(99), Some("line 99".into()));
        assert_eq!((text(0), text(100)), (None, None));
    }
}
