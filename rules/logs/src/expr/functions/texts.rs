//! Functions on texts, as Go's `strings` has them.

use std::sync::Arc;

use super::super::limits::{MAX_GLOB, MAX_LIST, MAX_SET, MAX_TEXT};
use super::{Function, Problem, Value, argument, list, pure, text, whole, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("Upper", 1, 1, upper),
    pure("upper", 1, 1, upper),
    pure("Lower", 1, 1, lower),
    pure("lower", 1, 1, lower),
    pure("TrimSpace", 1, 1, trim_space),
    pure("Trim", 2, 2, trim),
    pure("trim", 1, 2, trim),
    pure("TrimLeft", 2, 2, |arguments| {
        let set = set(arguments)?;
        Ok(Value::text(text(arguments, 0)?.trim_start_matches(|character| set.contains(character))))
    }),
    pure("TrimRight", 2, 2, |arguments| {
        let set = set(arguments)?;
        Ok(Value::text(text(arguments, 0)?.trim_end_matches(|character| set.contains(character))))
    }),
    pure("TrimPrefix", 2, 2, trim_prefix),
    pure("trimPrefix", 1, 2, trim_prefix),
    pure("TrimSuffix", 2, 2, trim_suffix),
    pure("trimSuffix", 1, 2, trim_suffix),
    pure("Split", 2, 2, |arguments| split(arguments, -1, false)),
    pure("SplitN", 3, 3, |arguments| split(arguments, whole(arguments, 2)?, false)),
    pure("split", 2, 3, |arguments| split(arguments, optional_count(arguments)?, false)),
    pure("SplitAfter", 2, 2, |arguments| split(arguments, -1, true)),
    pure("SplitAfterN", 3, 3, |arguments| split(arguments, whole(arguments, 2)?, true)),
    pure("splitAfter", 2, 3, |arguments| split(arguments, optional_count(arguments)?, true)),
    pure("Fields", 1, 1, |arguments| bounded(text(arguments, 0)?.split_whitespace())),
    pure("Join", 2, 2, join),
    pure("join", 1, 2, join),
    pure("Replace", 4, 4, |arguments| replace(arguments, whole(arguments, 3)?)),
    pure("ReplaceAll", 3, 3, |arguments| replace(arguments, -1)),
    pure("replace", 3, 4, |arguments| {
        let count = if arguments.len() == 4 { whole(arguments, 3)? } else { -1 };
        replace(arguments, count)
    }),
    pure("repeat", 2, 2, |arguments| {
        let (repeated, count) = (text(arguments, 0)?, whole(arguments, 1)?);
        let count = usize::try_from(count).map_err(|_| wrong(arguments, 1, "a positive number"))?;
        if repeated.len().saturating_mul(count) > MAX_TEXT {
            return Err(Problem::fixed("a text gets too long"));
        }
        Ok(Value::from(repeated.repeat(count)))
    }),
    pure("Index", 2, 2, index_of),
    pure("indexOf", 2, 2, index_of),
    pure("IndexAny", 2, 2, |arguments| {
        let set = set(arguments)?;
        Ok(place(text(arguments, 0)?.find(|character| set.contains(character))))
    }),
    pure("lastIndexOf", 2, 2, |arguments| Ok(place(text(arguments, 0)?.rfind(&**text(arguments, 1)?)))),
    pure("hasPrefix", 2, 2, |arguments| {
        Ok(Value::Bool(text(arguments, 0)?.starts_with(&**text(arguments, 1)?)))
    }),
    pure("hasSuffix", 2, 2, |arguments| {
        Ok(Value::Bool(text(arguments, 0)?.ends_with(&**text(arguments, 1)?)))
    }),
    pure("Match", 2, 2, |arguments| {
        let (pattern, name) = (text(arguments, 0)?, text(arguments, 1)?);
        if pattern.len().saturating_mul(name.len()) > MAX_GLOB {
            return Err(Problem::fixed("a pattern and a name are too long to be compared"));
        }
        Ok(Value::Bool(matches_glob(pattern, name)))
    }),
    pure("ToString", 1, 1, |arguments| {
        Ok(match argument(arguments, 0) {
            text @ Value::Text(_) => text.clone(),
            _ => Value::text(""),
        })
    }),
    pure("string", 1, 1, |arguments| {
        Ok(match argument(arguments, 0) {
            text @ Value::Text(_) => text.clone(),
            other => Value::from(other.to_string()),
        })
    }),
    pure("basename", 1, 1, |arguments| Ok(Value::text(basename(text(arguments, 0)?)))),
    // Says something in CrowdSec's own log; here it is only true, so that `… && LogInfo("…")` goes on.
    pure("LogInfo", 1, usize::MAX, |_| Ok(Value::Bool(true))),
    pure("B64Decode", 1, 1, decode_base64),
    pure("fromBase64", 1, 1, decode_base64),
    pure("B64Encode", 1, 1, encode_base64),
    pure("toBase64", 1, 1, encode_base64),
];

/// A text with each character changed; the same text where nothing changes, as most often.
fn changed(text: &Arc<str>, ascii: fn(&u8) -> bool, change: fn(char) -> Option<char>) -> Value {
    if text.is_ascii() && !text.bytes().any(|byte| ascii(&byte)) {
        return Value::Text(text.clone());
    }
    Value::from(text.chars().map(|character| change(character).unwrap_or(character)).collect::<String>())
}

/// A character that becomes several stays, as in Go.
fn only(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next();
    if characters.next().is_some() { None } else { first }
}

fn upper(arguments: &[Value]) -> Result<Value, Problem> {
    Ok(changed(text(arguments, 0)?, u8::is_ascii_lowercase, |character| only(character.to_uppercase())))
}

fn lower(arguments: &[Value]) -> Result<Value, Problem> {
    Ok(changed(text(arguments, 0)?, u8::is_ascii_uppercase, |character| only(character.to_lowercase())))
}

/// The characters that are taken away or looked for.
fn set(arguments: &[Value]) -> Result<&str, Problem> {
    let set = text(arguments, 1)?;
    if set.len() > MAX_SET {
        return Err(Problem::fixed("a set of characters is too large"));
    }
    Ok(set)
}

fn trim_space(arguments: &[Value]) -> Result<Value, Problem> {
    let text = text(arguments, 0)?;
    let trimmed = text.trim();
    Ok(if trimmed.len() == text.len() { Value::Text(text.clone()) } else { Value::text(trimmed) })
}

fn trim(arguments: &[Value]) -> Result<Value, Problem> {
    if arguments.len() == 1 {
        return trim_space(arguments);
    }
    let set = set(arguments)?;
    Ok(Value::text(text(arguments, 0)?.trim_matches(|character| set.contains(character))))
}

fn trim_prefix(arguments: &[Value]) -> Result<Value, Problem> {
    let (all, prefix) = (text(arguments, 0)?, if arguments.len() == 2 { text(arguments, 1)? } else { " " });
    Ok(all.strip_prefix(prefix).map_or_else(|| Value::Text(all.clone()), Value::text))
}

fn trim_suffix(arguments: &[Value]) -> Result<Value, Problem> {
    let (all, suffix) = (text(arguments, 0)?, if arguments.len() == 2 { text(arguments, 1)? } else { " " });
    Ok(all.strip_suffix(suffix).map_or_else(|| Value::Text(all.clone()), Value::text))
}

fn optional_count(arguments: &[Value]) -> Result<i64, Problem> {
    if arguments.len() == 3 { whole(arguments, 2) } else { Ok(-1) }
}

/// A list of texts, if it does not get too long.
fn bounded<'t>(parts: impl Iterator<Item = &'t str>) -> Result<Value, Problem> {
    let parts: Vec<Value> = parts.take(MAX_LIST + 1).map(Value::text).collect();
    if parts.len() > MAX_LIST {
        return Err(Problem::fixed("a list gets too long"));
    }
    Ok(Value::list(parts))
}

/// At most `most` parts (negative: all), with or without what stands between them.
fn split(arguments: &[Value], most: i64, after: bool) -> Result<Value, Problem> {
    let (all, separator) = (text(arguments, 0)?, text(arguments, 1)?);
    let most = match most {
        0 => return Ok(Value::list(Vec::new())),
        most => usize::try_from(most).unwrap_or(usize::MAX),
    };
    if separator.is_empty() {
        let cuts = all.char_indices().map(|(at, _)| at).take(most).chain([all.len()]).collect::<Vec<_>>();
        return bounded(cuts.windows(2).filter_map(|cut| all.get(cut[0]..cut[1])));
    }
    if after {
        let mut rest = Some(&**all);
        let mut count = 0;
        return bounded(std::iter::from_fn(move || {
            let text = rest?;
            count += 1;
            let cut =
                if count < most { text.find(&**separator).map(|at| at + separator.len()) } else { None };
            rest = cut.and_then(|cut| text.get(cut..));
            text.get(..cut.unwrap_or(text.len()))
        }));
    }
    bounded(all.splitn(most, &**separator))
}

fn join(arguments: &[Value]) -> Result<Value, Problem> {
    let (parts, between) = (list(arguments, 0)?, if arguments.len() == 2 { text(arguments, 1)? } else { "" });
    let mut out = String::new();
    for (place, part) in parts.iter().enumerate() {
        let Value::Text(part) = part else { return Err(wrong(arguments, 0, "a list of texts")) };
        out.push_str(if place > 0 { between } else { "" });
        out.push_str(part);
        if out.len() > MAX_TEXT {
            return Err(Problem::fixed("a text gets too long"));
        }
    }
    Ok(Value::from(out))
}

/// The first `count` (negative: all) places changed.
fn replace(arguments: &[Value], count: i64) -> Result<Value, Problem> {
    let (all, old, new) = (text(arguments, 0)?, text(arguments, 1)?, text(arguments, 2)?);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let places = all.match_indices(&**old).take(count);
    let mut out = String::with_capacity(all.len());
    let mut done = 0;
    for (at, _) in places {
        out.push_str(all.get(done..at).unwrap_or(""));
        out.push_str(new);
        done = at + old.len();
        if out.len() > MAX_TEXT {
            return Err(Problem::fixed("a text gets too long"));
        }
    }
    out.push_str(all.get(done..).unwrap_or(""));
    Ok(Value::from(out))
}

fn place(found: Option<usize>) -> Value {
    Value::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

fn index_of(arguments: &[Value]) -> Result<Value, Problem> {
    Ok(place(text(arguments, 0)?.find(&**text(arguments, 1)?)))
}

/// Whether a name fits a pattern of `*` and `?`: the last star is tried again, which is enough, and needs no memory.
fn matches_glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(b'?') => (p, n) = (p + 1, n + 1),
            Some(byte) if *byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((behind, tried)) => {
                    star = Some((behind, tried + 1));
                    (p, n) = (behind, tried + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Go's `filepath.Base`.
fn basename(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/" } else { trimmed.rsplit('/').next().unwrap_or(trimmed) }
}

fn decode_base64(arguments: &[Value]) -> Result<Value, Problem> {
    let text = text(arguments, 0)?;
    // Go passes over line ends.
    let plain: Vec<u8> = text.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
    match data_encoding::BASE64.decode(&plain) {
        Ok(bytes) => Ok(Value::from(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) => Err(Problem::new(format!("this is no base64: {error}"))),
    }
}

fn encode_base64(arguments: &[Value]) -> Result<Value, Problem> {
    Ok(Value::from(data_encoding::BASE64.encode(text(arguments, 0)?.as_bytes())))
}
