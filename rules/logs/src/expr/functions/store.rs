//! Functions that read a text into a map of the event.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::json;
use super::{Problem, Value};

/// What reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Read {
    /// `UnmarshalJSON`
    Json,
    /// `ParseKV`: `key=value key="some value"`
    Pairs,
    /// `ParseKVLax`: a value reaches to the next key.
    LaxPairs,
}

type Texts = BTreeMap<Arc<str>, Arc<str>>;

impl Read {
    /// By the name of the function.
    pub(in super::super) fn named(name: &str) -> Option<Self> {
        match name {
            "UnmarshalJSON" => Some(Self::Json),
            "ParseKV" => Some(Self::Pairs),
            "ParseKVLax" => Some(Self::LaxPairs),
            _ => None,
        }
    }

    /// What is to be stored; pairs are added to those that are there already.
    pub(in super::super) fn read(self, text: &str, before: Value) -> Result<Value, Problem> {
        if self == Self::Json {
            return json::parse(text);
        }
        let mut texts = match before {
            Value::Nil => Texts::new(),
            Value::Text(text) if text.is_empty() => Texts::new(),
            Value::Texts(before) => (*before).clone(),
            other => return Err(Problem::new(format!("there is {} already, no map of texts", other.kind()))),
        };
        let found = if self == Self::Pairs { pairs(text, &mut texts) } else { lax_pairs(text, &mut texts) };
        if found == 0 {
            return Err(Problem::fixed("there is no key=value in the text"));
        }
        Ok(Value::Texts(Arc::new(texts)))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c')
}

/// How many bytes from here on are neither a blank nor `=`.
fn word(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| !is_blank(**byte) && **byte != b'=').count()
}

/// Reads `key=value`, `key="va\"lue"` and `key=`; returns how many.
fn pairs(text: &str, texts: &mut Texts) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let key = word(&bytes[at..]);
        if key == 0 || bytes.get(at + key) != Some(&b'=') {
            at += key.max(1);
            continue;
        }
        let start = at + key + 1;
        let (value, end) = match quoted(text, start) {
            Some(end) => (text.get(start + 1..end - 1), end),
            None => match word(&bytes[start..]) {
                0 => (None, start + bytes[start..].iter().take_while(|byte| is_blank(**byte)).count()),
                length => (text.get(start..start + length), start + length),
            },
        };
        if let Some(key) = text.get(at..at + key) {
            texts.insert(Arc::from(key), Arc::from(value.unwrap_or("")));
            count += 1;
        }
        at = end;
    }
    count
}

/// Behind the text in quotes that begins here.
fn quoted(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    if bytes.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            // A line end cannot be escaped.
            b'\\' if bytes.get(at + 1) == Some(&b'\n') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Reads `key=` with whatever stands in front of the next key outside of quotes; returns how many.
fn lax_pairs(text: &str, texts: &mut Texts) -> usize {
    let bytes = text.as_bytes();
    let mut keys: Vec<(usize, usize)> = Vec::new();
    let (mut in_quotes, mut escaped, mut start) = (false, false, None);
    for (at, byte) in bytes.iter().enumerate() {
        match (byte, start) {
            (b'=', Some((from, false))) => keys.push((from, at)),
            (b'a'..=b'z' | b'A'..=b'Z' | b'_', None) => {
                start = Some((at, in_quotes));
                escaped = false;
                continue;
            }
            (b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'0'..=b'9' | b'.' | b'-', Some(_)) => {
                escaped = false;
                continue;
            }
            _ => {}
        }
        start = None;
        in_quotes ^= *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
    }
    for (place, (from, equals)) in keys.iter().enumerate() {
        let end = keys.get(place + 1).map_or(text.len(), |(next, _)| *next);
        if let (Some(key), Some(value)) = (text.get(*from..*equals), text.get(equals + 1..end)) {
            texts.insert(Arc::from(key), Arc::from(unquoted(value.trim())));
        }
    }
    keys.len()
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('"') {
        None => value.to_owned(),
        Some(rest) => match rest.strip_suffix('"') {
            Some(inner) => inner.replace("\\\\", "\\").replace("\\\"", "\""),
            None => rest.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(how: Read, text: &str) -> Option<String> {
        how.read(text, Value::Nil).ok().map(|value| value.to_string())
    }

    #[test]
    fn pairs_of_keys_and_values() {
        for (text, expected) in [
            ("IN=eth0 OUT= MAC=aa:bb SRC=1.2.3.4", "map[IN:eth0 MAC:aa:bb OUT: SRC:1.2.3.4]"),
            (r#"a="b c" d="e\"f" g=h"#, r#"map[a:b c d:e\"f g:h]"#),
            ("x a=b=c", "map[a:b]"),
            (r#"a="open b=c"#, r#"map[a:"open b:c]"#),
            ("é=ü", "map[é:ü]"),
        ] {
            assert_eq!(read(Read::Pairs, text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "none", "= x", "a ="] {
            assert_eq!(read(Read::Pairs, text), None, "{text}");
        }
    }

    #[test]
    fn lax_values_reach_to_the_next_key() {
        for (text, expected) in [
            ("msg=two words user=bob", "map[msg:two words user:bob]"),
            (r#"msg="a b=c" user=x"#, "map[msg:a b=c user:x]"),
            (r#"a="x\"y" b=é"#, r#"map[a:x"y b:é]"#),
            ("a=", "map[a:]"),
        ] {
            assert_eq!(read(Read::LaxPairs, text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(read(Read::LaxPairs, "1=2"), None);
    }
}
