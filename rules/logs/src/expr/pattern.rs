//! Patterns behind `matches`: Go's, linear in the text whatever the pattern, of bounded size.

use regex_automata::meta::Regex;

use super::Problem;
use super::limits::{MAX_COMPILED, MAX_LATE_COMPILED, MAX_LATE_PATTERN, MAX_PATTERN};
use crate::go::regex;

/// A compiled pattern that says whether a text has a match.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub(super) fn new(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_PATTERN, MAX_COMPILED)
    }

    /// Compiles a pattern that somebody may have put into a log line.
    pub(super) fn late(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_LATE_PATTERN, MAX_LATE_COMPILED)
    }

    /// Whether it matches anywhere.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn compile(pattern: &str, longest: usize, size: usize) -> Result<Pattern, Problem> {
    if pattern.len() > longest {
        let message = format!("a pattern of {} bytes; at most {longest} are possible", pattern.len());
        return Err(Problem::new(message));
    }
    let compiled = regex::compile(pattern, size);
    compiled
        .map(Pattern)
        .map_err(|mistake| Problem::new(format!("the pattern `{pattern}` is wrong: {mistake}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_bounded() {
        let large = Pattern::new("((x{100}){100}){100}").unwrap_err().to_string();
        assert!(large.contains("bytes when compiled") || large.contains("repe"), "{large}");
        assert!(Pattern::new(&"x".repeat(MAX_PATTERN + 1)).is_err());
        assert!(Pattern::late(&"x".repeat(MAX_LATE_PATTERN + 1)).is_err());
        assert!(Pattern::late("(?i)[^/]{200}[a-z]{200}").is_err());
        assert!(Pattern::late("^/a+").is_ok_and(|pattern| pattern.is_match("/aa")));
    }
}
