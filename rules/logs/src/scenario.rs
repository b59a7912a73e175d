//! What is too much: which events count, per what, how many, how fast they are forgotten, and what follows.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aho_corasick::AhoCorasick;
use model::{Direction, Mode, Span};
use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};

use crate::bucket::Shape;
use crate::fields::Fields;
use crate::filter::compile_search;

/// A checked scenario.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, unique in a library.
    pub name: String,
    /// What it is about, for people.
    pub description: String,
    /// Filters whose events it takes.
    pub filters: Vec<String>,
    /// Kinds of event it takes; empty = every.
    pub events: Vec<String>,
    /// Fields beside the address that tell buckets apart.
    pub group_by: Vec<String>,
    /// Bits of an IPv4 address that are one attacker.
    pub ipv4_prefix: u8,
    /// Bits of an IPv6 address that are one attacker.
    pub ipv6_prefix: u8,
    /// Only different values of this field count.
    pub distinct: Option<String>,
    /// Events a bucket holds without overflowing.
    pub capacity: u32,
    /// Time in which one event is forgotten.
    pub leak: Duration,
    /// How long an attacker is banned.
    pub ban: Duration,
    /// Which way the ban holds.
    pub direction: Direction,
    /// Whether it is carried out.
    pub mode: Mode,
    /// Where it stands.
    pub span: Span,
    /// Any of these, each all of its conditions; empty = every event.
    pub(crate) when: Vec<Vec<Condition>>,
}

impl Scenario {
    pub(crate) fn shape(&self) -> Shape {
        Shape { capacity: self.capacity, leak: self.leak, ban: self.ban }
    }

    /// Whether events of this filter and kind are taken.
    pub(crate) fn takes(&self, filter: &str, event: &str) -> bool {
        self.filters.iter().any(|name| name == filter)
            && (self.events.is_empty() || self.events.iter().any(|name| name == event))
    }
}

/// A test of one field.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    pub(crate) field: String,
    pub(crate) test: Test,
    /// Percent-encoding is undone, twice, and the test made on each form.
    pub(crate) decoded: bool,
}

/// What a value must be. A field that is absent passes no test.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    OneOf(Vec<Vec<u8>>),
    NoneOf(Vec<Vec<u8>>),
    Between(u64, u64),
    Contains(AhoCorasick),
    Regex(Search),
    /// Holds where the regex does not match.
    Unlike(Search),
}

/// A regex that is looked for anywhere in a value, compiled when an engine first takes its scenario up.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    regex: String,
    compiled: Arc<OnceLock<Option<Regex>>>,
}

impl Search {
    pub(crate) fn new(regex: String) -> Self {
        Self { regex, compiled: Arc::default() }
    }

    /// # Errors
    /// If it is no pattern, or too large.
    pub(crate) fn compiled_now(regex: String) -> Result<Self, String> {
        let compiled = Arc::new(OnceLock::from(Some(compile_search(&regex)?)));
        Ok(Self { regex, compiled })
    }

    pub(crate) fn compile(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| compile_search(&self.regex).ok()).as_ref()
    }

    fn finds(&self, value: &[u8]) -> bool {
        self.compile().is_some_and(|regex| regex.is_match(Input::new(value).anchored(Anchored::No)))
    }
}

impl Test {
    /// Cheap tests are made first.
    pub(crate) fn cost(&self) -> u8 {
        match self {
            Self::Between(..) => 0,
            Self::OneOf(_) | Self::NoneOf(_) => 1,
            Self::Contains(_) => 2,
            Self::Regex(_) | Self::Unlike(_) => 3,
        }
    }

    /// Compiles what is not yet, so that no line waits for it.
    pub(crate) fn compile(&self) {
        match self {
            Self::Regex(search) | Self::Unlike(search) => drop(search.compile()),
            Self::OneOf(_) | Self::NoneOf(_) | Self::Between(..) | Self::Contains(_) => {}
        }
    }

    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::OneOf(values) => values.iter().any(|known| known == value),
            Self::NoneOf(values) => !values.iter().any(|known| known == value),
            Self::Between(from, to) => number(value).is_some_and(|number| (*from..=*to).contains(&number)),
            Self::Contains(words) => words.is_match(value),
            Self::Regex(search) => search.finds(value),
            Self::Unlike(search) => !search.finds(value),
        }
    }
}

impl Condition {
    /// `scratch` is only a buffer.
    pub(crate) fn holds(&self, slot: usize, fields: &Fields, line: &[u8], scratch: &mut Vec<u8>) -> bool {
        let Some(value) = fields.get(line, slot) else { return false };
        if self.test.passes(value) {
            return true;
        }
        if !self.decoded || !value.iter().any(|b| matches!(b, b'%' | b'\\')) {
            return false;
        }
        scratch.clear();
        decode(&value[..value.len().min(crate::limits::MAX_DECODED)], scratch);
        if self.test.passes(scratch) {
            return true;
        }
        let once = scratch.len();
        decode_within(scratch);
        scratch.len() - once != once && self.test.passes(&scratch[once..])
    }
}

fn number(value: &[u8]) -> Option<u64> {
    let fits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    fits.then(|| value.iter().fold(0, |number, b| number * 10 + u64::from(b - b'0')))
}

/// `%2e` and nginx's `\x2E` become the byte they stand for.
fn decode(value: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        let skip = match byte {
            b'%' => 1,
            b'\\' if value.get(at + 1) == Some(&b'x') => 2,
            _ => 0,
        };
        let digits = value.get(at + skip..at + skip + 2).filter(|_| skip > 0);
        match digits.and_then(|pair| Some(hex(pair[0])? << 4 | hex(pair[1])?)) {
            Some(decoded) => {
                out.push(decoded);
                at += skip + 2;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// Appends the decoded form of the whole buffer to the buffer.
fn decode_within(buffer: &mut Vec<u8>) {
    let once = buffer.clone();
    decode(&once, buffer);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(test: Test, decoded: bool, value: &str) -> bool {
        let mut fields = Fields::default();
        fields.clear(1);
        fields.copy(0, value.as_bytes());
        Condition { field: "path".into(), test, decoded }.holds(0, &fields, b"", &mut Vec::new())
    }

    #[test]
    fn tests_of_values() {
        let dots = || Test::Contains(AhoCorasick::new(["../"]).unwrap());
        assert!(holds(dots(), false, "/a/../b"));
        assert!(!holds(dots(), false, "/a/%2e%2e/b"));
        assert!(holds(dots(), true, "/a/%2e%2E/b"));
        assert!(holds(dots(), true, "/a/%252e%252e%252fb"));
        assert!(holds(dots(), true, "/a/\\x2e./b"));
        assert!(!holds(dots(), true, "/a/%2/%zz/%"));
        assert!(holds(Test::Between(400, 499), false, "404"));
        assert!(!holds(Test::Between(400, 499), false, "4040"));
        assert!(!holds(Test::Between(0, 499), false, ""));
        assert!(!holds(Test::NoneOf(vec![b"-".to_vec()]), false, "-"));
        assert!(holds(Test::NoneOf(vec![b"-".to_vec()]), false, "x"));
    }

    #[test]
    fn an_absent_field_passes_nothing() {
        let mut fields = Fields::default();
        fields.clear(1);
        let condition = Condition { field: "x".into(), test: Test::NoneOf(vec![]), decoded: false };
        assert!(!condition.holds(0, &fields, b"", &mut Vec::new()));
    }
}
