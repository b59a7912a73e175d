//! Functions on JSON. What is extracted is looked for without reading the rest, so a line that is cut short still has
//! what stands in its beginning.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::limits::{MAX_DEPTH, MAX_TEXT};
use super::{Function, Problem, Value, argument, pure, text, wrong};
use crate::go::number::{put, write_with_exponent};

pub(super) const FUNCTIONS: &[Function] = &[
    pure("JsonExtract", 2, 2, |arguments| {
        let found = extract(text(arguments, 0)?, &steps(text(arguments, 1)?));
        Ok(Value::text(found.map_or("", |found| found.inner)))
    }),
    pure("JsonExtractLib", 2, usize::MAX, |arguments| {
        let found = extract(text(arguments, 0)?, &names(arguments)?);
        Ok(Value::text(found.map_or("", |found| found.inner)))
    }),
    pure("JsonExtractUnescape", 2, usize::MAX, |arguments| {
        let found = extract(text(arguments, 0)?, &names(arguments)?);
        let found = found.filter(|found| found.whole.starts_with('"'));
        Ok(found.and_then(|found| parse(found.whole).ok()).unwrap_or_else(|| Value::text("")))
    }),
    pure("JsonExtractSlice", 2, 2, |arguments| extract_kind(arguments, '[')),
    pure("JsonExtractObject", 2, 2, |arguments| extract_kind(arguments, '{')),
    pure("fromJSON", 1, 1, |arguments| parse(text(arguments, 0)?)),
    pure("ToJsonString", 1, 1, |arguments| write(argument(arguments, 0), None)),
    pure("toJSON", 1, 1, |arguments| write(argument(arguments, 0), Some("  "))),
];

/// Reads a JSON text; all numbers are floats, as in Go.
pub(super) fn parse(text: &str) -> Result<Value, Problem> {
    let read = |text: &str| serde_json::from_str::<Json>(text).map(|json| json.0);
    // Half of a surrogate pair is U+FFFD to Go, and an error here: read it again without.
    let value = read(text).or_else(|error| match without_half_pairs(text) {
        Some(text) => read(&text),
        None => Err(error),
    });
    value.map_err(|error| Problem::new(format!("this is no JSON: {error}")))
}

/// The text with `\ufffd` for escapes that are half of a pair, if there are any.
fn without_half_pairs(text: &str) -> Option<String> {
    let unit = |at: usize| match text.get(at..at + 2)? {
        "\\u" => u32::from_str_radix(text.get(at + 2..at + 6)?, 16).ok(),
        _ => None,
    };
    let mut out = String::with_capacity(text.len());
    let (mut at, mut done) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at += match (unit(at), unit(at + 6)) {
            (Some(0xD800..0xDC00), Some(0xDC00..0xE000)) => 12,
            (Some(0xD800..0xE000), _) => {
                out.push_str(text.get(done..at)?);
                out.push_str("\\ufffd");
                done = at + 6;
                6
            }
            // What is escaped may be a character of several bytes, which is an error of its own.
            _ => 1 + text.get(at + 1..)?.chars().next().map_or(0, char::len_utf8),
        };
    }
    (done > 0).then(|| out + text.get(done..).unwrap_or(""))
}

/// A value read straight from JSON.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Nil)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of JSON are floats")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Float(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers of JSON are floats")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Float(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = parts.next_element()? {
            values.push(value);
        }
        Ok(Value::list(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, Json(value))) = pairs.next_entry::<String, Json>()? {
            map.insert(Arc::from(key), value);
        }
        Ok(Value::Map(Arc::new(map)))
    }
}

/// `a.b[0].c` as `a`, `b`, `[0]`, `c`.
fn steps(path: &str) -> Vec<String> {
    let path = if path.starts_with('[') { path.to_owned() } else { path.replace('[', ".[") };
    path.split('.').map(str::to_owned).collect()
}

/// The steps that stand as arguments of their own, or in a list.
fn names(arguments: &[Value]) -> Result<Vec<String>, Problem> {
    let mut names = Vec::new();
    for (place, argument) in arguments.iter().enumerate().skip(1) {
        match argument {
            Value::Text(name) => names.push(name.to_string()),
            Value::List(list) => names.extend(list.iter().map(ToString::to_string)),
            _ => return Err(wrong(arguments, place, "a text")),
        }
    }
    Ok(names)
}

/// nil if what stands there is of another kind.
fn extract_kind(arguments: &[Value], first: char) -> Result<Value, Problem> {
    let found = extract(text(arguments, 0)?, &steps(text(arguments, 1)?));
    Ok(found
        .filter(|found| found.whole.starts_with(first))
        .and_then(|found| parse(found.whole).ok())
        .unwrap_or_default())
}

/// A value that was found: with its quotes, and without, its escapes as they are.
#[derive(Clone, Copy, Debug)]
struct Extracted<'t> {
    whole: &'t str,
    inner: &'t str,
}

/// Follows steps through a JSON text without reading what is beside the way.
fn extract<'t>(json: &'t str, steps: &[String]) -> Option<Extracted<'t>> {
    let mut scanner = Scanner { text: json, at: json.find(['{', '['])? };
    for step in steps {
        scanner.blank();
        match step.strip_prefix('[').and_then(|step| step.strip_suffix(']')) {
            Some(index) => scanner.element(index.parse().ok()?)?,
            None => scanner.member(step)?,
        }
    }
    scanner.blank();
    let start = scanner.at;
    scanner.skip()?;
    let whole = json.get(start..scanner.at)?;
    let inner = whole.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(whole);
    Some(Extracted { whole, inner })
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// To the value of this key of the object that begins here.
    fn member(&mut self, name: &str) -> Option<()> {
        self.take(b'{')?;
        loop {
            self.blank();
            let start = self.at;
            if self.peek()? != b'"' {
                return None;
            }
            self.skip()?;
            let key = self.text.get(start..self.at)?;
            self.take(b':')?;
            self.blank();
            let plain = key.get(1..key.len() - 1)?;
            let same = plain == name
                || (plain.contains('\\') && serde_json::from_str::<String>(key).is_ok_and(|key| key == name));
            if same {
                return Some(());
            }
            self.skip()?;
            self.take(b',')?;
        }
    }

    /// To this element of the list that begins here.
    fn element(&mut self, index: usize) -> Option<()> {
        self.take(b'[')?;
        for _ in 0..index {
            self.blank();
            self.skip()?;
            self.take(b',')?;
        }
        self.blank();
        (self.peek()? != b']').then_some(())
    }

    /// Past the value that begins here.
    fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_text(),
            b'{' | b'[' => {
                let mut depth = 0_usize;
                loop {
                    match self.peek()? {
                        b'"' => {
                            self.skip_text()?;
                            continue;
                        }
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => depth -= 1,
                        _ => {}
                    }
                    self.at += 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let length = rest.find([',', '}', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                self.at += length;
                (length > 0).then_some(())
            }
        }
    }

    fn skip_text(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

/// A value as JSON, as Go writes it; with an indent, on several lines.
fn write(value: &Value, indent: Option<&str>) -> Result<Value, Problem> {
    let mut out = String::new();
    write_value(value, indent, 0, &mut out)?;
    Ok(Value::from(out))
}

fn write_value(value: &Value, indent: Option<&str>, depth: usize, out: &mut String) -> Result<(), Problem> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return Err(Problem::fixed("a text gets too long or too deep"));
    }
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) | Value::Duration(number) => put(out, format_args!("{number}")),
        Value::Float(number) if !number.is_finite() => {
            return Err(Problem::new(format!("JSON has no number {number}")));
        }
        Value::Float(number) => write_number(*number, out),
        Value::Text(text) => write_text(text, out),
        Value::List(values) => {
            write_all('[', ']', values.iter(), indent, depth, out, |value, out| {
                write_value(value, indent, depth + 1, out)
            })?;
        }
        Value::Map(map) => write_all('{', '}', map.iter(), indent, depth, out, |(key, value), out| {
            write_text(key, out);
            out.push_str(if indent.is_some() { ": " } else { ":" });
            write_value(value, indent, depth + 1, out)
        })?,
        Value::Texts(map) => write_all('{', '}', map.iter(), indent, depth, out, |(key, text), out| {
            write_text(key, out);
            out.push_str(if indent.is_some() { ": " } else { ":" });
            write_text(text, out);
            Ok(())
        })?,
        Value::Time(time) => write_text(&time.format("2006-01-02T15:04:05.999999999Z07:00"), out),
        Value::Object(object) => write_text(&object.text().unwrap_or_default(), out),
    }
    Ok(())
}

fn write_all<T>(
    open: char,
    close: char,
    parts: impl ExactSizeIterator<Item = T>,
    indent: Option<&str>,
    depth: usize,
    out: &mut String,
    mut write: impl FnMut(T, &mut String) -> Result<(), Problem>,
) -> Result<(), Problem> {
    out.push(open);
    let empty = parts.len() == 0;
    let line = |depth: usize, out: &mut String| {
        if let (Some(indent), false) = (indent, empty) {
            out.push('\n');
            out.extend((0..depth).map(|_| indent));
        }
    };
    for (place, part) in parts.enumerate() {
        out.push_str(if place > 0 { "," } else { "" });
        line(depth + 1, out);
        write(part, out)?;
    }
    line(depth, out);
    out.push(close);
    Ok(())
}

/// With an exponent outside of 1e-6 … 1e21, as Go and JavaScript have it.
fn write_number(number: f64, out: &mut String) {
    let mut text = String::new();
    write_with_exponent(number, -6, 21, &mut text);
    out.push_str(&text.replace("e-0", "e-"));
}

/// Quoted, with what could end a script escaped, as Go does.
fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..=' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if character != ' ' => {
                put(out, format_args!("\\u{:04x}", u32::from(character)));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, path: &str) -> Option<String> {
        extract(json, &steps(path)).map(|found| found.inner.to_owned())
    }

    #[test]
    fn extracted_without_reading_the_rest() {
        let json =
            r#"junk {"a" : {"b":[1, {"c":"x\"y"}, null]}, "t":{"$date":"now"}, "é\u0041":true, "cut":{"x":"#;
        for (path, value) in [
            ("a.b[0]", "1"),
            ("a.b[1].c", "x\\\"y"),
            ("a.b[1]", r#"{"c":"x\"y"}"#),
            ("a.b[2]", "null"),
            ("t.$date", "now"),
            ("éA", "true"),
        ] {
            assert_eq!(found(json, path).as_deref(), Some(value), "{path}");
        }
        for path in ["a.x", "a.b[3]", "b", "cut", "cut.x", "a.b.c", "a[0]", ""] {
            assert_eq!(found(json, path), None, "{path}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(found(&deep, "[0]"), None);
    }

    #[test]
    fn half_of_a_pair_hides_nothing() {
        let value = parse(r#"{"a":"\ud800x\\ud800\ud83d\ude00","b":1}"#).unwrap();
        assert_eq!(value.field("a").unwrap(), Value::text("\u{fffd}x\\ud800😀"));
        assert!(parse("{").is_err() && parse("").is_err() && parse(&"[".repeat(1_000)).is_err());
    }
}
