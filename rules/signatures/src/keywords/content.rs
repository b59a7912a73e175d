//! `content` and its modifiers.

use super::{Draft, Read, no_value, payload::PayloadMatch, value};
use crate::limits::MAX_CONTENT_BYTES;
use crate::rule::Buffer;
use crate::syntax::RawOption;

/// A fixed number or the index of a value that `byte_extract` has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Fixed(i64),
    Variable(usize),
}

impl Amount {
    pub(crate) fn get(self, variables: &[u64]) -> i64 {
        match self {
            Self::Fixed(number) => number,
            Self::Variable(index) => {
                variables.get(index).map_or(0, |value| i64::try_from(*value).unwrap_or(i64::MAX))
            }
        }
    }
}

/// Bytes to be found.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// The bytes; lower case where case does not matter.
    pub needle: Box<[u8]>,
    pub finder: Option<memchr::memmem::Finder<'static>>,
    pub nocase: bool,
    pub negated: bool,
    pub offset: Option<Amount>,
    pub depth: Option<Amount>,
    pub distance: Option<Amount>,
    pub within: Option<Amount>,
    pub starts_with: bool,
    pub ends_with: bool,
    /// How much of it the prefilter looks for, where a rule says so: (offset, length).
    pub chop: Option<(usize, usize)>,
    /// Only the prefilter looks for it.
    pub prefilter_only: bool,
}

impl Content {
    /// Whether it is placed after the match before it.
    pub(crate) fn is_relative(&self) -> bool {
        self.distance.is_some() || self.within.is_some()
    }

    /// Whether it is placed from the buffer's beginning.
    pub(crate) fn is_anchored(&self) -> bool {
        self.starts_with || self.offset.is_some() || self.depth.is_some()
    }

    /// The first place in `haystack` at which it stands.
    pub(crate) fn find(&self, haystack: &[u8]) -> Option<usize> {
        if let Some(finder) = &self.finder {
            return finder.find(haystack);
        }
        let first = *self.needle.first()?;
        let last = haystack.len().checked_sub(self.needle.len())?;
        let mut at = 0;
        while at <= last {
            at += memchr::memchr2(first, first.to_ascii_uppercase(), &haystack[at..=last])?;
            if haystack[at..at + self.needle.len()].eq_ignore_ascii_case(&self.needle) {
                return Some(at);
            }
            at += 1;
        }
        None
    }

    /// What the prefilter looks for.
    pub(crate) fn prefilter_bytes(&self) -> &[u8] {
        let bytes = match self.chop {
            Some((offset, length)) => &self.needle[offset..offset + length],
            None => &self.needle,
        };
        &bytes[..bytes.len().min(crate::limits::MAX_PREFILTER_BYTES)]
    }

    fn finish(&mut self) {
        if self.nocase {
            self.needle.make_ascii_lowercase();
            self.finder = None;
        } else {
            self.finder = Some(memchr::memmem::Finder::new(&self.needle).into_owned());
        }
    }
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[
    ("content", content),
    ("nocase", |draft, option| {
        no_value(option)?;
        let content = draft.last_content()?;
        content.nocase = true;
        content.finish();
        Ok(())
    }),
    ("rawbytes", |draft, option| no_value(option).and_then(|()| draft.last_content().map(|_| ()))),
    ("offset", |draft, option| {
        let amount = amount(draft, option, 0)?;
        set(draft, |content| content.offset.replace(amount).is_some() || content.is_relative())
    }),
    ("depth", depth),
    ("distance", |draft, option| {
        let amount = amount(draft, option, i64::from(i32::MIN))?;
        set(draft, |content| content.distance.replace(amount).is_some() || content.is_anchored())
    }),
    ("within", within),
    ("startswith", |draft, option| {
        no_value(option)?;
        set(draft, |content| {
            let clash = content.is_anchored() || content.is_relative();
            content.starts_with = true;
            clash
        })
    }),
    ("endswith", |draft, option| {
        no_value(option)?;
        set(draft, |content| std::mem::replace(&mut content.ends_with, true))
    }),
    ("fast_pattern", fast_pattern),
];

/// Changes the last content; `change` says whether that contradicts what is there already.
fn set(draft: &mut Draft<'_>, change: impl FnOnce(&mut Content) -> bool) -> Result<(), String> {
    let content = draft.last_content()?;
    if change(content) {
        return Err(
            "the content has it already, or mixes places from the beginning with relative ones".into()
        );
    }
    Ok(())
}

fn amount(draft: &Draft<'_>, option: &RawOption<'_>, least: i64) -> Result<Amount, String> {
    let text = super::unquoted(value(option)?).trim();
    if let Ok(number) = text.parse::<i64>() {
        let most = i64::from(i32::MAX);
        return if (least..=most).contains(&number) {
            Ok(Amount::Fixed(number))
        } else {
            Err(format!("`{number}` is not from {least} to {most}"))
        };
    }
    let index = draft.variables.iter().position(|name| name == text);
    index
        .map(Amount::Variable)
        .ok_or_else(|| format!("`{text}` is neither a number nor read by byte_extract before"))
}

fn depth(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let amount = amount(draft, option, 1)?;
    let length = draft.last_content()?.needle.len();
    if let Amount::Fixed(depth) = amount
        && usize::try_from(depth).is_ok_and(|depth| depth < length)
    {
        return Err(format!("depth {depth} is less than the {length} bytes of the content"));
    }
    set(draft, |content| {
        content.depth.replace(amount).is_some() || content.is_relative() || content.starts_with
    })
}

fn within(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let amount = amount(draft, option, 1)?;
    let length = draft.last_content()?.needle.len();
    if let Amount::Fixed(within) = amount
        && usize::try_from(within).is_ok_and(|within| within < length)
    {
        return Err(format!("within {within} is less than the {length} bytes of the content"));
    }
    set(draft, |content| content.within.replace(amount).is_some() || content.is_anchored())
}

fn fast_pattern(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    if draft.fast.is_some() {
        return Err("a rule has one fast_pattern".into());
    }
    let content = draft.last_content()?;
    let placed = content.is_anchored() || content.is_relative();
    if content.negated && placed {
        return Err("a negated content with a place cannot be the fast_pattern".into());
    }
    match option.value.filter(|value| !value.is_empty()) {
        None => {}
        Some("only") if content.negated || placed => {
            return Err("fast_pattern:only goes with a plain content".into());
        }
        Some("only") => content.prefilter_only = true,
        Some(range) => {
            let (offset, length) = range.split_once(',').ok_or("write `fast_pattern:OFFSET,LENGTH;`")?;
            let number = |text: &str| text.trim().parse::<usize>().ok();
            let chop = number(offset).zip(number(length)).filter(|(offset, length)| {
                *length > 0 && offset.checked_add(*length).is_some_and(|end| end <= content.needle.len())
            });
            content.chop = Some(chop.ok_or_else(|| format!("`{range}` is not within the content"))?);
        }
    }
    let part = draft.part_index();
    let content = |one: &PayloadMatch| matches!(one, PayloadMatch::Content(_));
    draft.fast = draft.parts[part].matches.iter().rposition(content).map(|at| (part, at));
    Ok(())
}

fn content(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = value(option)?;
    let (negated, quoted) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("the bytes stand between double quotes")?;
    let needle = pattern_bytes(inner)?;
    let mut content = Content {
        needle: needle.into(),
        finder: None,
        nocase: false,
        negated,
        offset: None,
        depth: None,
        distance: None,
        within: None,
        starts_with: false,
        ends_with: false,
        chop: None,
        prefilter_only: false,
    };
    content.finish();
    if draft.current != Buffer::Payload && draft.current != Buffer::DnsQuery {
        draft.needs_packet = true;
    }
    draft.push(PayloadMatch::Content(Box::new(content)))
}

/// Text with `|41 42|` for bytes and `\"`, `\\`, `\;`, `\:` for themselves.
fn pattern_bytes(text: &str) -> Result<Vec<u8>, String> {
    let (mut bytes, mut high, mut in_hex) = (Vec::with_capacity(text.len()), None::<u8>, false);
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte == b'|' {
            if high.is_some() {
                return Err("a hexadecimal byte has two digits".into());
            }
            in_hex = !in_hex;
        } else if in_hex {
            if byte == b' ' {
                continue;
            }
            let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let digit = digit.ok_or_else(|| format!("`{}` is no hexadecimal digit", char::from(byte)))?;
            match high.take() {
                Some(first) => bytes.push(first << 4 | digit),
                None => high = Some(digit),
            }
        } else if byte == b'\\' {
            match input.next() {
                Some(escaped @ (b'"' | b'\\' | b';' | b':' | b'|')) => bytes.push(escaped),
                Some(_) | None => {
                    return Err("only `\\\"`, `\\\\`, `\\;`, `\\:` and `\\|` may be escaped".into());
                }
            }
        } else if byte == b'"' {
            return Err("a double quote inside is written `\\\"` or `|22|`".into());
        } else {
            bytes.push(byte);
        }
    }
    if in_hex {
        Err("a `|` is not closed".into())
    } else if bytes.is_empty() {
        Err("the content is empty".into())
    } else if bytes.len() > MAX_CONTENT_BYTES {
        Err(format!("the content is longer than {MAX_CONTENT_BYTES} bytes"))
    } else {
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert_eq!(pattern_bytes(r#"a|20 7C|b\"\;\:\\|0a0D|"#).unwrap(), b"a |b\";:\\\n\r");
        for (wrong, why) in [
            ("", "empty"),
            ("|4|", "two digits"),
            ("|41", "not closed"),
            ("|4g|", "no hexadecimal"),
            (r"\n", "may be escaped"),
            ("a\"b", "|22|"),
        ] {
            let error = pattern_bytes(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
