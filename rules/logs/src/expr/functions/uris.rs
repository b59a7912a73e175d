//! Functions on URIs, as Go's `net/url` has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Function, Problem, Value, pure, text};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("PathUnescape", 1, 1, |arguments| unescape(text(arguments, 0)?, false)),
    pure("QueryUnescape", 1, 1, |arguments| unescape(text(arguments, 0)?, true)),
    pure("PathEscape", 1, 1, |arguments| Ok(Value::from(escape(text(arguments, 0)?, "$&+=:@", false)))),
    pure("QueryEscape", 1, 1, |arguments| Ok(Value::from(escape(text(arguments, 0)?, "", true)))),
    pure("ParseUri", 1, 1, |arguments| Ok(map(parse_uri(text(arguments, 0)?).unwrap_or_default()))),
    pure("ParseQuery", 1, 1, |arguments| Ok(map(lax_query(text(arguments, 0)?)))),
    pure("ExtractQueryParam", 2, 2, |arguments| {
        let query = text(arguments, 0)?.split_once('?').map_or("", |(_, query)| query);
        let values = lax_query(query).remove(&**text(arguments, 1)?).unwrap_or_default();
        Ok(values.iter().map(|value| Value::text(value)).collect())
    }),
];

type Query = BTreeMap<String, Vec<String>>;

fn map(query: Query) -> Value {
    let pairs = query
        .into_iter()
        .map(|(key, values)| (Arc::from(key), values.into_iter().map(Value::from).collect::<Value>()));
    Value::Map(Arc::new(pairs.collect()))
}

fn hexadecimal(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()
}

/// Decodes `%41` (and `+`); `None` if a `%` stands without two digits behind it.
fn decoded(text: &str, plus: bool) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'%' => {
                out.push(hexadecimal(bytes, at)?);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            other => out.push(*other),
        }
        at += 1;
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Decodes what can be decoded, and leaves the rest.
fn lax_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, hexadecimal(bytes, at)) {
            (b'%', Some(code)) => {
                out.push(code);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A text that is wrong stays as it is.
fn unescape(text: &Arc<str>, plus: bool) -> Result<Value, Problem> {
    Ok(decoded(text, plus).map_or_else(|| Value::Text(text.clone()), Value::from))
}

fn escape(text: &str, kept: &str, plus: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || "-_.~".contains(character) || kept.contains(character) {
            out.push(character);
        } else if plus && byte == b' ' {
            out.push('+');
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

/// The parameters of a URI; `None` where Go finds it malformed.
fn parse_uri(uri: &str) -> Option<Query> {
    if uri.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    let uri = uri.split_once('#').map_or(uri, |(uri, _)| uri);
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    decoded(path, false)?;
    let mut found = Query::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        if part.contains(';') {
            return None;
        }
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        found.entry(decoded(key, true)?).or_default().push(decoded(value, true)?);
    }
    Some(found)
}

/// The parameters of a query, however it is written.
fn lax_query(query: &str) -> Query {
    let mut found = Query::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        found.entry(lax_decoded(key)).or_default().push(lax_decoded(value));
    }
    found
}
