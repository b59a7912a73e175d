//! Lines to events with named fields.
//!
//! Every pattern covers a whole message. One search over all patterns finds the first that matches, which ends after a
//! few bytes for most lines; only then are the fields of that one pattern taken.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use model::Span;
use regex_automata::meta::{self, Regex};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

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
    /// Field with the address of the connection; if it is another than `ip`, somebody else wrote `ip`.
    pub(crate) peer: Option<usize>,
    pub(crate) names: Names,
    /// Kinds of event, by number.
    pub(crate) events: Vec<Arc<str>>,
    pub(crate) body: Body,
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
    /// Lines are taken as they are.
    None,
}

#[derive(Debug)]
pub(crate) enum Body {
    Patterns {
        /// All patterns: which one matches?
        any: Regex,
        patterns: Vec<Pattern>,
    },
    Json {
        tree: Tree,
        /// A slot that is filled from another if it is absent.
        instead: Vec<(usize, usize)>,
        event: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Pattern {
    /// None = lines that are known and mean nothing.
    pub(crate) event: Option<usize>,
    pub(crate) regex: Regex,
    /// Slot of each group.
    pub(crate) groups: Vec<Option<usize>>,
    /// A message at least this long may have lost its end, and with it whom it is about.
    pub(crate) cut_at: Option<usize>,
}

/// Buffers of one filter's searches, reused from line to line.
#[derive(Debug)]
pub(crate) struct State {
    any: Option<meta::Cache>,
    patterns: Vec<Option<meta::Cache>>,
    slots: Vec<Option<NonMaxUsize>>,
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

    pub(crate) fn state(&self) -> State {
        let patterns = match &self.body {
            Body::Patterns { patterns, .. } => patterns.len(),
            Body::Json { .. } => 0,
        };
        State {
            any: None,
            patterns: std::iter::repeat_with(|| None).take(patterns).collect(),
            slots: Vec::new(),
            fields: Fields::default(),
        }
    }

    /// Judges a line (without its line end) and leaves the fields in `state`.
    pub(crate) fn apply(&self, state: &mut State, line: &[u8]) -> Applied {
        state.fields.clear(self.names.len());
        let (mut message, mut repeat) = (0..line.len(), 1);
        match (self.header, syslog::split(line)) {
            (HeaderUse::None, _) | (HeaderUse::Optional, None) => {}
            (HeaderUse::Required, None) => return Applied::Miss,
            (HeaderUse::Required | HeaderUse::Optional, Some(header)) => {
                if !self.is_for(&header) {
                    return Applied::Miss;
                }
                if !header.time.is_empty() {
                    state.fields.copy(TIME, header.time);
                }
                message.start = header.message;
                if let Some((inner, count)) = syslog::repeated(&line[message.clone()]) {
                    message = message.start + inner.start..message.start + inner.end;
                    repeat = count.clamp(1, limits::MAX_REPEAT);
                }
            }
        }
        let event = match &self.body {
            Body::Patterns { any, patterns } => match apply_patterns(any, patterns, state, line, message) {
                Ok(event) => event,
                Err(other) => return other,
            },
            Body::Json { tree, instead, event } => {
                if message.len() > limits::MAX_LINE {
                    return Applied::Oversized;
                }
                // A header's time gives way to the one in the document.
                state.fields.clear(self.names.len());
                if !tree.read(&line[message], &mut state.fields) {
                    return Applied::Miss;
                }
                for &(slot, other) in instead {
                    if state.fields.get(line, slot).is_none()
                        && let Some(value) = state.fields.get(line, other).map(<[u8]>::to_vec)
                    {
                        state.fields.copy(slot, &value);
                    }
                }
                *event
            }
        };
        let Some(ip) = state.fields.get(line, IP).and_then(address) else { return Applied::BadAddress };
        let peer = self.peer.and_then(|slot| state.fields.get(line, slot));
        if peer.is_some_and(|peer| address_with_port(peer) != Some(ip)) {
            return Applied::Forwarded;
        }
        Applied::Event { event, ip, repeat }
    }

    fn is_for(&self, header: &Header<'_>) -> bool {
        self.programs.is_empty() || self.programs.iter().any(|program| program.as_bytes() == header.program)
    }
}

fn apply_patterns(
    any: &Regex,
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
    let cache = state.patterns[number].get_or_insert_with(|| pattern.regex.create_cache());
    state.slots.clear();
    state.slots.resize(pattern.groups.len() * 2, None);
    if pattern.regex.search_slots_with(cache, &input, &mut state.slots).is_none() {
        return Err(Applied::Miss);
    }
    for (group, slot) in pattern.groups.iter().enumerate() {
        if let (Some(slot), Some(start), Some(end)) =
            (slot, state.slots[group * 2], state.slots[group * 2 + 1])
        {
            state.fields.set(*slot, message.start + start.get()..message.start + end.get());
        }
    }
    Ok(event)
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

/// Compiles all patterns to say which matches first.
pub(crate) fn compile_any(patterns: &[String]) -> Result<Regex, String> {
    let config = Regex::config()
        .utf8_empty(false)
        .which_captures(regex_automata::nfa::thompson::WhichCaptures::Implicit)
        .onepass(false)
        .nfa_size_limit(Some(limits::MAX_COMPILED_SET))
        .hybrid_cache_capacity(4 * limits::MAX_COMPILED);
    let patterns: Vec<String> = patterns.iter().map(|pattern| whole(pattern)).collect();
    build(&patterns, config)
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
        match error.syntax_error() {
            Some(syntax) => {
                // The last line of the report is the sentence; before it stands the pattern with a marker.
                syntax.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            None => error.to_string(),
        }
    })
}
