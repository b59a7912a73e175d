//! Patterns behind `matches`: Go's, linear in the text whatever the pattern, of bounded size.

use regex_automata::dfa::{StartKind, dense};
use regex_automata::meta::Regex;
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

use super::Problem;
use super::limits::{
    MAX_AUTOMATON, MAX_COMPILED, MAX_LATE_COMPILED, MAX_LATE_PATTERN, MAX_PATTERN, MAX_UNSTEADY_TEXT,
};
use crate::go::regex;

/// A compiled pattern that says whether a text has a match.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// Whether all states it can ever be in are few, so that each byte costs the same, whatever the text. Counts such
    /// as `[^/]{1,200}/[^/]{1,200}/` may need a state of their own for each byte.
    steady: bool,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub(super) fn new(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_PATTERN, MAX_COMPILED, true)
    }

    /// Compiles a pattern that somebody may have put into a log line; it is not looked at closely enough to be steady.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub(super) fn late(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_LATE_PATTERN, MAX_LATE_COMPILED, false)
    }

    /// Whether it matches anywhere.
    ///
    /// # Errors
    /// If the text is longer than such a pattern may be run on.
    pub(super) fn is_match(&self, text: &str) -> Result<bool, Problem> {
        if !self.steady && text.len() > MAX_UNSTEADY_TEXT {
            return Err(Problem::fixed("the text is too long for a pattern that counts as much as this one"));
        }
        Ok(self.regex.is_match(text))
    }
}

fn compile(pattern: &str, longest: usize, size: usize, look: bool) -> Result<Pattern, Problem> {
    if pattern.len() > longest {
        let message = format!("a pattern of {} bytes; at most {longest} are possible", pattern.len());
        return Err(Problem::new(message));
    }
    let wrong = |mistake| Problem::new(format!("the pattern `{pattern}` is wrong: {mistake}"));
    let translated = regex::translate(pattern, |_| false).map_err(wrong)?;
    let regex = regex::build(&translated, size).map_err(wrong)?;
    Ok(Pattern { regex, steady: look && has_few_states(&translated) })
}

/// Whether the whole automaton is small. It is not kept: the lazy one of [`Regex`] finds the same states as it needs them.
fn has_few_states(translated: &str) -> bool {
    let config = dense::Config::new()
        .start_kind(StartKind::Unanchored)
        .accelerate(false)
        .dfa_size_limit(Some(MAX_AUTOMATON))
        .determinize_size_limit(Some(MAX_AUTOMATON));
    let built = dense::Builder::new()
        .configure(config)
        .thompson(thompson::Config::new().utf8(false))
        .syntax(syntax::Config::new().utf8(false))
        .build(translated);
    built.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_much_is_run_on_short_texts_only() {
        let counts = Pattern::new("[^/]{1,200}/[^/]{1,200}//q").unwrap();
        assert_eq!(counts.is_match("ab/c//q"), Ok(true));
        assert!(counts.is_match(&"a".repeat(MAX_UNSTEADY_TEXT + 1)).is_err());
        for steady in ["(?i)/wp-[a-z]{1,9}\\.php$", "(.*a){9}b", "(a|aa)*b", "[0-9]{1,3}\\.[0-9]{1,3}"] {
            assert_eq!(Pattern::new(steady).unwrap().is_match(&"c".repeat(60_000)), Ok(false), "{steady}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let large = Pattern::new("((x{100}){100}){100}").unwrap_err().to_string();
        assert!(large.contains("bytes when compiled") || large.contains("repe"), "{large}");
        assert!(Pattern::new(&"x".repeat(MAX_PATTERN + 1)).is_err());
        assert!(Pattern::late(&"x".repeat(MAX_LATE_PATTERN + 1)).is_err());
        assert!(Pattern::late("(?i)[^/]{200}[a-z]{200}").is_err());
        assert!(Pattern::late("^/a+").is_ok_and(|pattern| pattern.is_match("/aa") == Ok(true)));
    }
}
