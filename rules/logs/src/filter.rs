//! Lines to events with named fields.
//!
//! Every pattern covers a whole message. One search over all patterns finds the first that matches, which ends after a
//! few bytes for most lines; only then are the fields of that one pattern taken. A JSON line has its fields by key; its
//! patterns cover whole values of them.
//!
//! Regexes are compiled when a filter is first used, so that the built-in filters nobody's logs use cost nothing.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use model::Span;
use regex_automata::meta::{self, Regex};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, HirKind};

use crate::fields::{Fields, IP, Names, TIME};
use crate::json::Tree;
use crate::limits;
use crate::syslog::{self, Header};

/// A checked filter.
#[derive(Debug)]
pub struct Filter {
    /// Its name, unique in a library.
    pub name: String,
    /// What it reads, for people.
    pub description: String,
    /// Where it stands.
    pub span: Span,
    pub(crate) programs: Vec<String>,
    pub(crate) header: HeaderUse,
    /// Times that name no offset are UTC, not local.
    pub(crate) utc: bool,
    /// Field with the address of the connection; if it is another than `ip`, somebody else wrote `ip`.
    pub(crate) peer: Option<usize>,
    pub(crate) names: Names,
    /// Kinds of event, by number.
    pub(crate) events: Vec<Arc<str>>,
    /// Patterns of messages that are text.
    pub(crate) patterns: Vec<Pattern>,
    /// How messages that are JSON objects are read.
    pub(crate) json: Option<Json>,
    pub(crate) compiled: OnceLock<Option<Compiled>>,
}

/// Whether lines begin with a syslog header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HeaderUse {
    /// Without one a line is not looked at.
    Required,
    /// It is taken off where there is one.
    #[default]
    Optional,
    /// The line as it is comes first, and without its header only if it is no event so: for programs that begin their
    /// own lines with something that looks like a header.
    Either,
    /// Lines are taken as they are.
    None,
}

/// A pattern of messages that are text.
#[derive(Debug)]
pub(crate) struct Pattern {
    /// None = lines that are known and mean nothing.
    pub(crate) event: Option<usize>,
    pub(crate) regex: String,
    /// Slot of each group.
    pub(crate) groups: Vec<Option<usize>>,
    /// A message at least this long may have lost its end, and with it whom it is about.
    pub(crate) cut_at: Option<usize>,
}

/// How JSON lines are read.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) tree: Tree,
    /// A slot that is filled from another if it is absent.
    pub(crate) instead: Vec<(usize, usize)>,
    /// What every line is if there are no patterns.
    pub(crate) event: Option<usize>,
    pub(crate) patterns: Vec<FieldPattern>,
}

/// A pattern of JSON lines: matches if all its tests do.
#[derive(Debug)]
pub(crate) struct FieldPattern {
    /// None = lines that are known and mean nothing.
    pub(crate) event: Option<usize>,
    pub(crate) tests: Vec<FieldTest>,
}

/// A regex that covers the whole value of a field.
#[derive(Debug)]
pub(crate) struct FieldTest {
    pub(crate) slot: usize,
    pub(crate) regex: String,
    /// Slot of each group.
    pub(crate) groups: Vec<Option<usize>>,
    /// Its place among all field tests of the filter.
    pub(crate) number: usize,
}

/// The regexes of a filter.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// All patterns of text: which one matches?
    pub(crate) any: Option<Regex>,
    /// Their groups, one by one.
    pub(crate) patterns: Vec<Regex>,
    /// All field tests.
    pub(crate) tests: Vec<Regex>,
}

/// Buffers of one filter's searches, reused from line to line.
#[derive(Debug)]
pub(crate) struct State {
    any: Option<meta::Cache>,
    patterns: Vec<Option<meta::Cache>>,
    tests: Vec<Option<meta::Cache>>,
    slots: Vec<Option<NonMaxUsize>>,
    /// Groups found within fields: where to, of which field, and its part.
    found: Vec<(usize, usize, Range<usize>)>,
    pub(crate) fields: Fields,
}

/// What a line is to a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Miss,
    Ignored,
    /// Longer than [`limits::MAX_LINE`], and its end was needed.
    Oversized,
    /// It may have lost its end where it was written.
    Cut,
    /// What stands in the address's place is none.
    BadAddress,
    /// The address is not the one of the connection.
    Forwarded,
    Event {
        event: usize,
        ip: IpAddr,
        repeat: u32,
    },
}

/// What a filter finds in a line, for people and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Kind of event.
    pub event: String,
    /// The address.
    pub ip: IpAddr,
    /// How often, as the line says (`message repeated 3 times`).
    pub repeat: u32,
    /// Fields by name, absent ones left out, bytes that are not UTF-8 replaced.
    pub fields: Vec<(String, String)>,
}

impl Filter {
    /// Judges one line on its own. Not the fast path: it sets the buffers up anew.
    #[must_use]
    pub fn parse(&self, line: &[u8]) -> Option<Found> {
        let mut state = self.state();
        let line = syslog::trim_line_end(line);
        match self.apply(&mut state, line) {
            Applied::Event { event, ip, repeat } => {
                let value = |(slot, name): (usize, &str)| {
                    let value = state.fields.get(line, slot)?;
                    Some((name.to_owned(), String::from_utf8_lossy(value).into_owned()))
                };
                let fields = self.names.iter().enumerate().filter_map(value).collect();
                Some(Found { event: self.events[event].to_string(), ip, repeat, fields })
            }
            Applied::Miss
            | Applied::Ignored
            | Applied::Oversized
            | Applied::Cut
            | Applied::BadAddress
            | Applied::Forwarded => None,
        }
    }

    /// Kinds of event it produces.
    pub fn events(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|event| &**event)
    }

    /// Names of its fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// Compiled now, if it was not yet. None only if the filter was never checked.
    fn compiled(&self) -> Option<&Compiled> {
        self.compiled.get_or_init(|| Compiled::new(&self.patterns, self.json.as_ref()).ok()).as_ref()
    }

    pub(crate) fn state(&self) -> State {
        let caches = |count| std::iter::repeat_with(|| None).take(count).collect();
        let (patterns, tests) =
            self.compiled().map_or((0, 0), |compiled| (compiled.patterns.len(), compiled.tests.len()));
        State {
            any: None,
            patterns: caches(patterns),
            tests: caches(tests),
            slots: Vec::new(),
            found: Vec::new(),
            fields: Fields::default(),
        }
    }

    /// Judges a line (without its line end) and leaves the fields in `state`.
    pub(crate) fn apply(&self, state: &mut State, line: &[u8]) -> Applied {
        match (self.header, syslog::split(line)) {
            (HeaderUse::None, _) | (HeaderUse::Optional | HeaderUse::Either, None) => {
                self.apply_whole(state, line)
            }
            (HeaderUse::Required, None) => Applied::Miss,
            (HeaderUse::Required | HeaderUse::Optional, Some(header)) => {
                self.apply_behind(state, line, &header)
            }
            (HeaderUse::Either, Some(header)) => match self.apply_whole(state, line) {
                Applied::Miss => self.apply_behind(state, line, &header),
                judged @ (Applied::Ignored
                | Applied::Oversized
                | Applied::Cut
                | Applied::BadAddress
                | Applied::Forwarded
                | Applied::Event { .. }) => judged,
            },
        }
    }

    fn apply_whole(&self, state: &mut State, line: &[u8]) -> Applied {
        state.fields.clear(self.names.len());
        self.apply_message(state, line, 0..line.len(), 1)
    }

    fn apply_behind(&self, state: &mut State, line: &[u8], header: &Header<'_>) -> Applied {
        if !self.is_for(header) {
            return Applied::Miss;
        }
        state.fields.clear(self.names.len());
        if !header.time.is_empty() {
            state.fields.copy(TIME, header.time);
        }
        let (mut message, mut repeat) = (header.message..line.len(), 1);
        if let Some((inner, count)) = syslog::repeated(&line[message.clone()]) {
            message = message.start + inner.start..message.start + inner.end;
            repeat = count.clamp(1, limits::MAX_REPEAT);
        }
        self.apply_message(state, line, message, repeat)
    }

    fn apply_message(&self, state: &mut State, line: &[u8], message: Range<usize>, repeat: u32) -> Applied {
        let Some(compiled) = self.compiled() else { return Applied::Miss };
        let spaces = line[message.clone()].iter().take_while(|&&b| b == b' ').count();
        let document = message.start + spaces..message.end;
        let judged = match (&self.json, &compiled.any) {
            (Some(json), None) => apply_json(json, &compiled.tests, state, line, document, self.names.len()),
            (Some(json), Some(_)) if line[document.clone()].starts_with(b"{") => {
                apply_json(json, &compiled.tests, state, line, document, self.names.len())
            }
            (Some(_) | None, Some(any)) => {
                apply_patterns(any, &compiled.patterns, &self.patterns, state, line, message)
            }
            (None, None) => Err(Applied::Miss),
        };
        let event = match judged {
            Ok(event) => event,
            Err(other) => return other,
        };
        let Some(ip) = state.fields.get(line, IP).and_then(address_with_port) else {
            return Applied::BadAddress;
        };
        let peer = self.peer.and_then(|slot| state.fields.get(line, slot));
        if peer.is_some_and(|peer| address_with_port(peer) != Some(ip)) {
            return Applied::Forwarded;
        }
        Applied::Event { event, ip, repeat }
    }

    fn is_for(&self, header: &Header<'_>) -> bool {
        let is = |program: &String| match program.strip_suffix('*') {
            Some(start) => header.program.starts_with(start.as_bytes()),
            None => header.program == program.as_bytes(),
        };
        self.programs.is_empty() || self.programs.iter().any(is)
    }
}

fn apply_patterns(
    any: &Regex,
    regexes: &[Regex],
    patterns: &[Pattern],
    state: &mut State,
    line: &[u8],
    message: Range<usize>,
) -> Result<usize, Applied> {
    let whole = &line[message.clone()];
    let text = &whole[..whole.iter().rposition(|&b| b != b' ').map_or(0, |last| last + 1)];
    // A search that stops before the end of the text does not take its edge for the end.
    let input = Input::new(text).range(..text.len().min(limits::MAX_LINE)).anchored(Anchored::Yes);
    let cache = state.any.get_or_insert_with(|| any.create_cache());
    let Some(hit) = any.search_half_with(cache, &input) else {
        return Err(if text.len() > limits::MAX_LINE { Applied::Oversized } else { Applied::Miss });
    };
    let number = hit.pattern().as_usize();
    let pattern = &patterns[number];
    let Some(event) = pattern.event else { return Err(Applied::Ignored) };
    if pattern.cut_at.is_some_and(|limit| whole.len() >= limit) {
        return Err(Applied::Cut);
    }
    let cache = state.patterns[number].get_or_insert_with(|| regexes[number].create_cache());
    state.slots.clear();
    state.slots.resize(pattern.groups.len() * 2, None);
    if regexes[number].search_slots_with(cache, &input, &mut state.slots).is_none() {
        return Err(Applied::Miss);
    }
    for (slot, found) in groups(&pattern.groups, &state.slots) {
        state.fields.set(slot, message.start + found.start..message.start + found.end);
    }
    Ok(event)
}

fn apply_json(
    json: &Json,
    regexes: &[Regex],
    state: &mut State,
    line: &[u8],
    document: Range<usize>,
    names: usize,
) -> Result<usize, Applied> {
    if document.len() > limits::MAX_LINE {
        return Err(Applied::Oversized);
    }
    // A header's time gives way to the one in the document.
    state.fields.clear(names);
    if !json.tree.read(&line[document], &mut state.fields) {
        return Err(Applied::Miss);
    }
    for &(slot, other) in &json.instead {
        if state.fields.get(line, slot).is_none() {
            state.fields.alias(slot, other);
        }
    }
    if let Some(event) = json.event {
        return Ok(event);
    }
    let State { tests, slots, found, fields, .. } = state;
    let mut holds = |test: &FieldTest, found: &mut Vec<(usize, usize, Range<usize>)>| {
        let Some(value) = fields.get(line, test.slot) else { return false };
        let input = Input::new(value).anchored(Anchored::Yes);
        let regex = &regexes[test.number];
        let cache = tests[test.number].get_or_insert_with(|| regex.create_cache());
        slots.clear();
        slots.resize(test.groups.len() * 2, None);
        let matches = regex.search_slots_with(cache, &input, slots).is_some();
        if matches {
            found.extend(groups(&test.groups, slots).map(|(slot, part)| (slot, test.slot, part)));
        }
        matches
    };
    for pattern in &json.patterns {
        found.clear();
        if pattern.tests.iter().all(|test| holds(test, found)) {
            for (slot, of, part) in found.drain(..) {
                fields.part(slot, of, part);
            }
            return pattern.event.ok_or(Applied::Ignored);
        }
    }
    Err(Applied::Miss)
}

/// What the named groups of a match hold, by the slots of their names.
fn groups<'g>(
    groups: &'g [Option<usize>],
    slots: &'g [Option<NonMaxUsize>],
) -> impl Iterator<Item = (usize, Range<usize>)> + 'g {
    groups.iter().zip(slots.chunks_exact(2)).filter_map(|(slot, ends)| match (slot, ends) {
        (Some(slot), [Some(start), Some(end)]) => Some((*slot, start.get()..end.get())),
        (None, _) | (Some(_), _) => None,
    })
}

/// An address as text; one that is IPv4 in IPv6 clothes is IPv4.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.get(..text.len().min(64))?).ok()?;
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// `192.0.2.1:4711`, `[2001:db8::1]:4711`, or without the port.
fn address_with_port(text: &[u8]) -> Option<IpAddr> {
    if let Some(ip) = address(text) {
        return Some(ip);
    }
    let colon = text.iter().rposition(|&b| b == b':')?;
    let host = &text[..colon];
    address(host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host))
}

/// How patterns are read: bytes, no Unicode tables, `.` is everything but a line feed.
pub(crate) fn syntax_config() -> syntax::Config {
    syntax::Config::new().unicode(false).utf8(false).nest_limit(limits::MAX_NESTING)
}

impl Compiled {
    /// # Errors
    /// If a pattern is none, or too large.
    fn new(patterns: &[Pattern], json: Option<&Json>) -> Result<Self, String> {
        let texts: Vec<&str> = patterns.iter().map(|pattern| pattern.regex.as_str()).collect();
        let tests = json.iter().flat_map(|json| &json.patterns).flat_map(|pattern| &pattern.tests);
        Ok(Self {
            any: compile_any(&texts)?,
            patterns: texts.iter().map(|text| compile_groups(text)).collect::<Result<_, _>>()?,
            tests: tests.map(|test| compile_groups(&test.regex)).collect::<Result<_, _>>()?,
        })
    }
}

/// The names of a pattern's groups, the whole match first, without compiling it.
///
/// # Errors
/// If it is no pattern.
pub(crate) fn group_names(pattern: &str) -> Result<Vec<Option<String>>, String> {
    fn collect(hir: &Hir, names: &mut Vec<Option<String>>) {
        match hir.kind() {
            HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {}
            HirKind::Repetition(repetition) => collect(&repetition.sub, names),
            HirKind::Capture(capture) => {
                let place = usize::try_from(capture.index).unwrap_or(0).min(limits::MAX_PATTERN);
                if names.len() <= place {
                    names.resize(place + 1, None);
                }
                names[place] = capture.name.as_deref().map(str::to_owned);
                collect(&capture.sub, names);
            }
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                parts.iter().for_each(|part| collect(part, names));
            }
        }
    }
    let mut parser =
        regex_syntax::ParserBuilder::new().unicode(false).utf8(false).nest_limit(limits::MAX_NESTING).build();
    let hir = parser.parse(&whole(pattern)).map_err(|error| sentence(&error))?;
    let mut names = vec![None];
    collect(&hir, &mut names);
    Ok(names)
}

/// Compiles one pattern for its groups only: which pattern matches is known by then.
pub(crate) fn compile_groups(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config()
        .utf8_empty(false)
        .hybrid(false)
        .dfa(false)
        .auto_prefilter(false)
        .nfa_size_limit(Some(limits::MAX_COMPILED))
        .onepass_size_limit(Some(limits::MAX_COMPILED));
    build(&[whole(pattern)], config)
}

/// Compiles all patterns to say which matches first; none if there are none.
pub(crate) fn compile_any(patterns: &[&str]) -> Result<Option<Regex>, String> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let config = Regex::config()
        .utf8_empty(false)
        .which_captures(regex_automata::nfa::thompson::WhichCaptures::Implicit)
        .onepass(false)
        .nfa_size_limit(Some(limits::MAX_COMPILED_SET))
        .hybrid_cache_capacity(4 * limits::MAX_COMPILED);
    let patterns: Vec<String> = patterns.iter().map(|pattern| whole(pattern)).collect();
    build(&patterns, config).map(Some)
}

/// Compiles a pattern that is looked for anywhere in a value.
pub(crate) fn compile_search(pattern: &str) -> Result<Regex, String> {
    let config = Regex::config().utf8_empty(false).nfa_size_limit(Some(limits::MAX_COMPILED));
    build(&[pattern.to_owned()], config)
}

fn whole(pattern: &str) -> String {
    format!(r"(?:{pattern})\z")
}

fn build(patterns: &[String], config: meta::Config) -> Result<Regex, String> {
    Regex::builder().syntax(syntax_config()).configure(config).build_many(patterns).map_err(|error| {
        if error.size_limit().is_some() {
            return "the pattern is too large when compiled".to_owned();
        }
        error.syntax_error().map_or_else(|| error.to_string(), sentence)
    })
}

/// The last line of the report is the sentence; before it stands the pattern with a marker.
fn sentence(error: &regex_syntax::Error) -> String {
    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}
