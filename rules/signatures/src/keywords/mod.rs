//! The keywords of rules, a file for each family. A family lists its words with a function that reads one into the
//! [`Draft`]; a word in no list is refused by name.

pub(crate) mod buffers;
pub(crate) mod bytes;
pub(crate) mod content;
pub(crate) mod flow;
pub(crate) mod flowbits;
pub(crate) mod meta;
pub(crate) mod number;
pub(crate) mod packet;
pub(crate) mod payload;
pub(crate) mod pcre;
pub(crate) mod pcre_syntax;
pub(crate) mod threshold;

use std::collections::BTreeMap;

use crate::rule::{Buffer, Part};
use crate::syntax::{HeaderProtocol, RawOption};
use payload::PayloadMatch;

/// Reads one option into the draft.
pub(crate) type Read = fn(&mut Draft<'_>, &RawOption<'_>) -> Result<(), String>;

/// What the options of a rule have said so far.
pub(crate) struct Draft<'n> {
    pub protocol: HeaderProtocol,
    pub names: &'n mut Names,
    pub meta: meta::Meta,
    pub flow: flow::FlowTest,
    pub packet: Vec<packet::PacketTest>,
    pub flowbits: Vec<flowbits::FlowBitOption>,
    pub parts: Vec<Part>,
    pub current: Buffer,
    pub threshold: Option<threshold::Threshold>,
    pub needs_packet: bool,
    pub needs_stream: bool,
    pub fast: Option<(usize, usize)>,
    pub variables: Vec<String>,
}

/// Names that rules of one set share.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Flow bits by name.
    pub flowbits: BTreeMap<String, u16>,
}

impl<'n> Draft<'n> {
    pub(crate) fn new(protocol: HeaderProtocol, names: &'n mut Names) -> Self {
        Self {
            protocol,
            names,
            meta: meta::Meta::default(),
            flow: flow::FlowTest::default(),
            packet: Vec::new(),
            flowbits: Vec::new(),
            parts: Vec::new(),
            current: Buffer::Payload,
            threshold: None,
            needs_packet: false,
            needs_stream: false,
            fast: None,
            variables: Vec::new(),
        }
    }

    /// The place of the current buffer's part, made where it is not there yet.
    pub(crate) fn part_index(&mut self) -> usize {
        let buffer = self.current;
        self.parts.iter().rposition(|part| part.buffer == buffer).unwrap_or_else(|| {
            self.parts.push(Part { buffer, dot_prefix: false, matches: Vec::new() });
            self.parts.len() - 1
        })
    }

    /// Adds a match to the current buffer. A relative one lets the match before it try its other places.
    pub(crate) fn push(&mut self, payload: PayloadMatch) -> Result<(), String> {
        let limit = crate::limits::MAX_MATCHES;
        if self.parts.iter().map(|part| part.matches.len()).sum::<usize>() >= limit {
            return Err(format!("the rule has more than {limit} payload matches"));
        }
        let at = self.part_index();
        self.parts[at].matches.push(payload);
        Ok(())
    }

    /// The content that a modifier belongs to: the last one of the current buffer.
    pub(crate) fn last_content(&mut self) -> Result<&mut content::Content, String> {
        let at = self.part_index();
        let mut contents = self.parts[at].matches.iter_mut().rev().filter_map(|one| match one {
            PayloadMatch::Content(content) => Some(content.as_mut()),
            PayloadMatch::Pcre(_)
            | PayloadMatch::IsDataAt(_)
            | PayloadMatch::ByteTest(_)
            | PayloadMatch::ByteJump(_)
            | PayloadMatch::ByteExtract(_)
            | PayloadMatch::Size(_) => None,
        });
        contents
            .next()
            .ok_or_else(|| "it modifies a content, and there is none before it in this buffer".into())
    }
}

/// Finds a keyword's reader.
pub(crate) fn find(name: &str) -> Option<Read> {
    let families: [&[(&str, Read)]; 8] = [
        meta::KEYWORDS,
        content::KEYWORDS,
        pcre::KEYWORDS,
        bytes::KEYWORDS,
        flow::KEYWORDS,
        flowbits::KEYWORDS,
        packet::KEYWORDS,
        threshold::KEYWORDS,
    ];
    let found = |list: &[(&str, Read)]| list.iter().find(|(word, _)| *word == name).map(|(_, read)| *read);
    families.iter().find_map(|list| found(list)).or_else(|| found(buffers::KEYWORDS))
}

/// The value of an option that must have one.
pub(crate) fn value<'t>(option: &RawOption<'t>) -> Result<&'t str, String> {
    option.value.filter(|value| !value.is_empty()).ok_or_else(|| format!("write `{}:VALUE;`", option.name))
}

/// Nothing may follow the keyword.
pub(crate) fn no_value(option: &RawOption<'_>) -> Result<(), String> {
    match option.value {
        None | Some("") => Ok(()),
        Some(value) => Err(format!("it takes no value, and `{value}` is given")),
    }
}

/// Without the quotes around it.
pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}
