//! Grok: regular expressions of named pieces, `%{IP:source_ip}`. Pieces are put in as text, and a field is found by the
//! number of its group, counted as the `grokky` library of CrowdSec counts (`capCount`), slips included: behind
//! `…|-)` or `…items)` it is one group off, and the fields that follow take their neighbour's text there and so here.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex_automata::Input;
use regex_automata::meta::{Cache, Regex};
use regex_automata::util::primitives::NonMaxUsize;

use super::limits::{MAX_GROK, MAX_GROK_COMPILED, MAX_GROK_DEPTH, MAX_GROKKED, MAX_PATTERNS};
use crate::go::regex;

/// The patterns that are always there.
const STOCK: &str = include_str!("patterns.grok");
/// Behind this line of them a file of the user's may say otherwise.
const MORE: &str = "# More";

/// Named patterns.
#[derive(Clone, Debug)]
pub struct Patterns {
    known: BTreeMap<Arc<str>, Definition>,
    expanded: BTreeMap<Arc<str>, Arc<Expanded>>,
}

#[derive(Clone, Debug)]
struct Definition {
    text: Arc<str>,
    /// Stock, and may be given again by a file of patterns.
    yields: bool,
}

/// Why a pattern cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GrokError {
    /// What is wrong.
    pub message: String,
}

/// A pattern that is ready to match.
#[derive(Debug)]
pub struct Grok {
    regex: Regex,
    /// Fields in alphabetical order, and the group that each is of the expression as it was translated.
    fields: Vec<(Arc<str>, Option<usize>)>,
}

/// Buffers of searches, for one [`Grok`].
#[derive(Debug)]
pub(crate) struct Buffers {
    cache: Cache,
    slots: Vec<Option<NonMaxUsize>>,
}

/// A pattern with its pieces put in.
#[derive(Debug, Default)]
struct Expanded {
    /// In the syntax of Go.
    text: String,
    /// How many groups it has.
    groups: usize,
    /// The group of each field, as it is counted.
    fields: BTreeMap<Arc<str>, usize>,
}

impl Patterns {
    /// The stock patterns.
    #[must_use]
    pub fn stock() -> Self {
        let mut patterns = Self { known: BTreeMap::new(), expanded: BTreeMap::new() };
        patterns.put("IPV6", &ipv6(), false);
        let mut yields = false;
        for line in STOCK.lines() {
            yields |= line == MORE;
            if let Some((name, text)) = definition(line) {
                patterns.put(name, text, yields);
            }
        }
        patterns
    }

    /// Adds the patterns of a file, `NAME pattern` a line; other lines are comments. Gives the lines (from 1) of the
    /// names that are taken, which keep their meaning, and of those beyond [`MAX_PATTERNS`].
    pub fn add_file(&mut self, text: &str) -> Vec<(usize, GrokError)> {
        let mut mistakes = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let Some((name, text)) = definition(line) else { continue };
            let yields = self.known.get(name).is_some_and(|known| known.yields);
            if yields {
                self.put(name, text, false);
            } else if let Err(mistake) = self.add(name, text) {
                mistakes.push((at + 1, mistake));
            }
        }
        mistakes
    }

    /// Adds a pattern.
    ///
    /// # Errors
    /// The name is taken (what it stands for stays), or there are [`MAX_PATTERNS`] already.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), GrokError> {
        if self.known.contains_key(name) {
            return Err(GrokError::new(format!("the pattern {name} is there already")));
        }
        if self.known.len() >= MAX_PATTERNS {
            return Err(GrokError::new(format!("more than {MAX_PATTERNS} patterns")));
        }
        self.put(name, text, false);
        Ok(())
    }

    fn put(&mut self, name: &str, text: &str, yields: bool) {
        if self.known.insert(name.into(), Definition { text: text.into(), yields }).is_some() {
            // Others may have been put together with what it was.
            self.expanded.clear();
        }
    }

    /// Compiles a pattern.
    ///
    /// # Errors
    /// It names a pattern that is not there, is no expression, or is larger than the limits.
    pub fn compile(&mut self, text: &str) -> Result<Grok, GrokError> {
        let expanded = self.expand(text, 0)?;
        Grok::new(&expanded)
    }

    /// Compiles the pattern of a name.
    ///
    /// # Errors
    /// It is not there; or as for [`Patterns::compile`].
    pub fn named(&mut self, name: &str) -> Result<Grok, GrokError> {
        let expanded = self.expand_name(name, 0)?;
        Grok::new(&expanded)
    }

    fn expand_name(&mut self, name: &str, depth: usize) -> Result<Arc<Expanded>, GrokError> {
        if let Some(expanded) = self.expanded.get(name) {
            return Ok(expanded.clone());
        }
        let Some(definition) = self.known.get(name) else {
            return Err(GrokError::new(format!("there is no pattern {name}")));
        };
        let text = definition.text.clone();
        let expanded = Arc::new(self.expand(&text, depth + 1)?);
        self.expanded.insert(name.into(), expanded.clone());
        Ok(expanded)
    }

    fn expand(&mut self, text: &str, depth: usize) -> Result<Expanded, GrokError> {
        if depth > MAX_GROK_DEPTH {
            return Err(GrokError::new(format!(
                "patterns of patterns more than {MAX_GROK_DEPTH} deep, or in a circle"
            )));
        }
        let pieces = pieces(text);
        let own: Vec<&str> = pieces.iter().map(|piece| piece.field).collect();
        let mut whole = Expanded::default();
        let (mut order, mut behind) = (1_isize, 0);
        for piece in &pieces {
            let before = &text[behind..piece.start];
            behind = piece.end;
            order += counted_groups(before);
            let inner = self.expand_name(piece.name, depth)?;
            whole.text.push_str(before);
            whole.text.push('(');
            whole.text.push_str(&inner.text);
            whole.text.push(')');
            if whole.text.len() > MAX_GROK {
                return Err(GrokError::new(format!("more than {MAX_GROK} bytes with its patterns put in")));
            }
            let at = |offset: usize| usize::try_from(order).unwrap_or(usize::MAX).saturating_add(offset);
            if !piece.field.is_empty() {
                whole.fields.insert(piece.field.into(), at(0));
            }
            for (field, group) in &inner.fields {
                if !own.contains(&&**field) {
                    whole.fields.insert(field.clone(), at(*group));
                }
            }
            order += isize::try_from(inner.groups + 1).unwrap_or(isize::MAX);
        }
        whole.text.push_str(&text[behind..]);
        if whole.text.len() > MAX_GROK {
            return Err(GrokError::new(format!("more than {MAX_GROK} bytes with its patterns put in")));
        }
        whole.groups = regex::groups(&whole.text).map_err(|mistake| GrokError::new(mistake.message))?;
        Ok(whole)
    }
}

impl GrokError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl Grok {
    fn new(expanded: &Expanded) -> Result<Self, GrokError> {
        let wrong = |mistake: regex::Mistake| GrokError::new(mistake.message);
        let mut wanted: Vec<usize> = expanded.fields.values().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        let translated =
            regex::translate(&expanded.text, |group| wanted.binary_search(&group).is_ok()).map_err(wrong)?;
        let regex = regex::build(&translated, MAX_GROK_COMPILED).map_err(wrong)?;
        wanted.retain(|group| (1..=expanded.groups).contains(group));
        let place = |group: &usize| match *group {
            0 => Some(0),
            group => wanted.binary_search(&group).ok().map(|at| at + 1),
        };
        let fields = expanded.fields.iter().map(|(field, group)| (field.clone(), place(group))).collect();
        Ok(Self { regex, fields })
    }

    /// Bytes it takes, more or less.
    pub(crate) fn size(&self) -> usize {
        self.regex.memory_usage()
    }

    /// Buffers for its searches.
    pub(crate) fn buffers(&self) -> Buffers {
        Buffers { cache: self.regex.create_cache(), slots: vec![None; 2 * self.regex.captures_len()] }
    }

    /// The fields of a text, each with what it is there; nothing if the pattern does not match, and never without fields, as
    /// upstream. A field whose group took no part is an empty text.
    pub(crate) fn read<'g, 't, 'b>(
        &'g self,
        text: &'t str,
        buffers: &'b mut Buffers,
    ) -> Option<impl Iterator<Item = (&'g Arc<str>, &'t str)> + use<'g, 't, 'b>> {
        if self.fields.is_empty() || text.len() > MAX_GROKKED {
            return None;
        }
        buffers.slots.fill(None);
        self.regex.search_slots_with(&mut buffers.cache, &Input::new(text), &mut buffers.slots)?;
        let slots: &'b [Option<NonMaxUsize>] = &buffers.slots;
        Some(self.fields.iter().map(move |(field, group)| {
            let range = group.and_then(|group| {
                let (start, end) = (slots.get(2 * group)?.as_ref()?, slots.get(2 * group + 1)?.as_ref()?);
                text.get(start.get()..end.get())
            });
            (field, range.unwrap_or(""))
        }))
    }
}

/// `%{NAME}` or `%{NAME:field}` in a pattern.
struct Piece<'t> {
    start: usize,
    end: usize,
    name: &'t str,
    field: &'t str,
}

/// The pieces of a pattern. What is not quite one, as `%{NAME:a-b}` or `%{NAME:field:int}`, is plain text.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("%{").map(|at| from + at) {
        from = start + 2;
        let Some(length) = text[from..].find('}') else { break };
        let inside = &text[from..from + length];
        let (name, field) = inside.split_once(':').unwrap_or((inside, ""));
        if word(name) && (word(field) || !inside.contains(':')) {
            from += length + 1;
            found.push(Piece { start, end: from, name, field });
        }
    }
    found
}

/// `NAME pattern` of a line.
fn definition(line: &str) -> Option<(&str, &str)> {
    let length = line.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let (name, rest) = line.split_at(length);
    let text = rest.trim_start_matches([' ', '\t', '\r', '\x0c']);
    (length > 0 && text.len() < rest.len() && !text.is_empty()).then_some((name, text))
}

/// Groups of a part of a pattern as `grokky` counts them: opening brackets, less those that are escaped, those that
/// begin `(?:` or `(?i:`, and whatever looks like the end of `(?i)`, which `|-)` and `items)` do too.
fn counted_groups(part: &str) -> isize {
    let flags = |byte: &u8| matches!(byte, b'i' | b'm' | b's' | b'U' | b'-');
    let bytes = part.as_bytes();
    let mut count = 0_isize;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' => {
                let escaped = at > 0 && bytes[at - 1] == b'\\';
                let plain = bytes[at + 1..].strip_prefix(b"?").is_some_and(|rest| {
                    rest.get(rest.iter().take_while(|byte| flags(byte)).count()) == Some(&b':')
                });
                count += 1 - isize::from(escaped) - isize::from(plain);
            }
            b')' if at > 0 && flags(&bytes[at - 1]) => count -= 1,
            _ => {}
        }
    }
    count
}

/// Addresses of IPv6: for each number of groups before the `::`, what may stand behind it.
fn ipv6() -> String {
    const GROUP: &str = "[0-9A-Fa-f]{1,4}";
    const OCTET: &str = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)";
    let v4 = format!(r"({OCTET}(\.{OCTET}){{3}})");
    let mut forms = vec![
        format!("(({GROUP}:){{7}}({GROUP}|:))"),
        format!("(({GROUP}:){{6}}(:{GROUP}|{v4}|:))"),
        format!("(({GROUP}:){{5}}(((:{GROUP}){{1,2}})|:{v4}|:))"),
    ];
    for before in (1..=4).rev() {
        let (behind, mixed) = (7 - before, 5 - before);
        forms.push(format!(
            "(({GROUP}:){{{before}}}(((:{GROUP}){{1,{behind}}})|((:{GROUP}){{0,{mixed}}}:{v4})|:))"
        ));
    }
    forms.push(format!("(:(((:{GROUP}){{1,7}})|((:{GROUP}){{0,5}}:{v4})|:))"));
    format!("({})(%.+)?", forms.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(patterns: &mut Patterns, pattern: &str, text: &str) -> Option<Vec<(String, String)>> {
        let grok = patterns.compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let mut buffers = grok.buffers();
        let fields = grok.read(text, &mut buffers)?;
        Some(fields.map(|(field, value)| (field.to_string(), value.to_owned())).collect())
    }

    fn pairs(fields: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn every_stock_pattern_compiles() {
        let mut patterns = Patterns::stock();
        let names: Vec<_> = patterns.known.keys().cloned().collect();
        assert!(names.len() > 100, "{}", names.len());
        for name in names {
            let grok = patterns.named(&name);
            assert!(grok.is_ok(), "{name}: {}", grok.unwrap_err());
        }
    }

    #[test]
    fn fields_are_found_and_the_outer_name_wins() {
        let mut patterns = Patterns::stock();
        assert_eq!(
            read(&mut patterns, r"^%{IPORHOST:host} (?:%{INT:size}|none) \(%{WORD:word}\)$", "::1 none (a)"),
            pairs(&[("host", "::1"), ("size", ""), ("word", "a")]),
        );
        // SYSLOGPROG has a field `program` of its own; one of the same name outside counts, wherever it stands.
        assert_eq!(
            read(&mut patterns, "%{SYSLOGPROG} %{WORD:program}", "sshd[7] x"),
            pairs(&[("pid", "7"), ("program", "x")]),
        );
        // Of two of the same rank the last counts.
        assert_eq!(read(&mut patterns, "%{WORD:a} %{WORD:a}", "x y"), pairs(&[("a", "y")]));
        assert_eq!(read(&mut patterns, "%{WORD}", "x"), None);
        assert_eq!(read(&mut patterns, "%{INT:a}", "x"), None);
        assert_eq!(read(&mut patterns, "%{INT:a:int}%{WORD:b}", "%{INT:a:int}x"), pairs(&[("b", "x")]));
    }

    #[test]
    fn groups_are_counted_as_they_are_upstream() {
        let mut patterns = Patterns::stock();
        patterns.add("PAIR", "(x)(y)").unwrap();
        // `|-)` counts one too few, so `b` is the last group before its own.
        assert_eq!(
            read(&mut patterns, "(?:%{PAIR:a}|-) %{WORD:b}", "xy z"),
            pairs(&[("a", "xy"), ("b", "y")]),
        );
        for (part, expected) in [
            ("(", 1),
            (r"\(", 0),
            ("(?:", 0),
            ("(?i)", 0),
            ("(?i:a(", 1),
            ("|-) (", 0),
            ("items)", -1),
            ("(?P<n>", 1),
        ] {
            assert_eq!(counted_groups(part), expected, "{part}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_told() {
        let mut patterns = Patterns::stock();
        let error = patterns.compile("%{NOSUCH:x}").unwrap_err();
        assert!(error.message.contains("no pattern NOSUCH"), "{error}");
        patterns.add("SELF", "a%{SELF}").unwrap();
        assert!(patterns.compile("%{SELF:x}").unwrap_err().message.contains("in a circle"));
        assert!(patterns.add("WORD", "x").is_err());
        assert!(patterns.add("SYSLOGLINE", "x").is_err());
        assert_eq!(patterns.add_file("# a comment\nWORD x\nNEW y\nSYSLOGLINE z\n").len(), 1);
        assert_eq!(read(&mut patterns, "%{SYSLOGLINE:a}", "z"), pairs(&[("a", "z")]));
        patterns.add("D0", "aaaaaaaaaa").unwrap();
        for depth in 1..8 {
            patterns.add(&format!("D{depth}"), &format!("%{{D{}}}", depth - 1).repeat(10)).unwrap();
        }
        assert!(patterns.compile("%{D7:x}").unwrap_err().message.contains("bytes"));
        assert!(patterns.compile("(?=a)%{WORD:x}").is_err());
    }

    #[test]
    fn addresses_of_ipv6_are_known() {
        let mut patterns = Patterns::stock();
        for address in [
            "::",
            "::1",
            "1::",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7:8",
            "2001:db8::1.2.3.4",
            "1:2:3:4:5:6:1.2.3.4",
        ] {
            assert_eq!(read(&mut patterns, "^%{IP:ip}$", address), pairs(&[("ip", address)]), "{address}");
        }
        assert_eq!(read(&mut patterns, "^%{IPV6:ip}$", "1:2:3"), None);
    }
}
