//! `pcre`: regular expressions, run by a linear engine. Look-around and back-references are refused by name.

use regex_automata::{Anchored, Input, meta, util::syntax};

use super::{Draft, Read, payload::PayloadMatch, pcre_syntax, value};
use crate::limits::{MAX_REGEX_BYTES, MAX_REGEX_SIZE, REGEX_CACHE_BYTES};
use crate::syntax::RawOption;

/// A regular expression.
#[derive(Debug)]
pub(crate) struct Pcre {
    pub regex: meta::Regex,
    pub negated: bool,
    /// It begins where the match before it ended.
    pub relative: bool,
    /// It holds only at the beginning of what it looks at.
    pub anchored: bool,
    /// It begins with `^` or `\A`, or has the flag `A`.
    pub from_start: bool,
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[("pcre", pcre)];

impl Pcre {
    /// The first match in `buffer` that starts at `from` or later, as (start, end). `base` is where `^` holds.
    pub(crate) fn find(&self, buffer: &[u8], base: usize, from: usize) -> Option<(usize, usize)> {
        let view = buffer.get(base..)?;
        let start = from.checked_sub(base)?;
        if start > view.len() {
            return None;
        }
        let anchored = if self.anchored { Anchored::Yes } else { Anchored::No };
        let input = Input::new(view).range(start..).anchored(anchored);
        self.regex.find(input).map(|found| (base + found.start(), base + found.end()))
    }
}

fn pcre(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = value(option)?;
    let (negated, quoted) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim_start()));
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or("the expression stands between double quotes")?;
    let inner = inner.strip_prefix('/').ok_or("the expression starts with `/`")?;
    let (pattern, flags) = inner.rsplit_once('/').ok_or("the expression does not end with `/`")?;
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(format!("the expression is longer than {MAX_REGEX_BYTES} bytes"));
    }
    let mut options = pcre_syntax::Flags::default();
    let (mut relative, mut anchored) = (false, false);
    for (at, flag) in flags.char_indices() {
        match flag {
            'i' => options.ignore_case = true,
            's' => options.dot_all = true,
            'm' => options.multi_line = true,
            'x' => options.extended = true,
            'G' => options.ungreedy = true,
            'E' => options.dollar_end_only = true,
            'A' => anchored = true,
            'R' => relative = true,
            'B' | 'O' => {}
            ',' => return Err(format!("capturing into `{}` is not supported", flags[at + 1..].trim())),
            'U' | 'I' | 'P' | 'Q' | 'H' | 'D' | 'M' | 'C' | 'S' | 'Y' | 'V' | 'W' | 'Z' => {
                return Err(format!("the flag {flag} looks at an HTTP buffer, which is not supported"));
            }
            other => return Err(format!("`{other}` is no flag")),
        }
    }
    let pattern = pcre_syntax::translate(pattern, options)?;
    let syntax = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(options.ignore_case)
        .multi_line(options.multi_line)
        .dot_matches_new_line(options.dot_all)
        .ignore_whitespace(options.extended)
        .swap_greed(options.ungreedy)
        .nest_limit(100);
    let config = meta::Config::new()
        .nfa_size_limit(Some(MAX_REGEX_SIZE))
        .hybrid_cache_capacity(REGEX_CACHE_BYTES)
        .onepass(false)
        .dfa(false)
        .utf8_empty(false);
    let regex = meta::Builder::new().configure(config).syntax(syntax).build(&pattern).map_err(|error| {
        if error.size_limit().is_some() {
            format!("the expression needs more than {MAX_REGEX_SIZE} bytes")
        } else {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let last = cause.lines().last().unwrap_or_default().to_owned();
            format!("the expression is not supported: {last}")
        }
    })?;
    let from_start = anchored || pattern.starts_with('^') || pattern.starts_with("\\A");
    draft.push(PayloadMatch::Pcre(Box::new(Pcre { regex, negated, relative, anchored, from_start })))
}
