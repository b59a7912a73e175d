//! `Sprintf`, as Go's `fmt` has it.

use super::super::limits::MAX_TEXT;
use super::{Function, Problem, Value, pure, text};
use crate::go::number::{put, write_fixed, write_scientific, write_shortest};

pub(super) const FUNCTIONS: &[Function] = &[pure("Sprintf", 1, usize::MAX, |arguments| {
    let rest = arguments.get(1..).unwrap_or_default();
    sprintf(text(arguments, 0)?, rest).map(Value::from)
})];

/// Widths and precisions reach up to this.
const MAX_WIDTH: usize = 1_000;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

fn sprintf(format: &str, arguments: &[Value]) -> Result<String, Problem> {
    let mut out = String::new();
    let mut used = 0;
    let mut rest = format.chars().peekable();
    while let Some(character) = rest.next() {
        if out.len() > MAX_TEXT {
            return Err(Problem::fixed("a text gets too long"));
        }
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = rest.next_if(|next| "+-# 0".contains(*next)) {
            match flag {
                '-' => flags.left = true,
                '0' => flags.zero = true,
                '+' => flags.plus = true,
                ' ' => flags.space = true,
                _ => flags.sharp = true,
            }
        }
        flags.width = digits(&mut rest).unwrap_or(0);
        if rest.next_if_eq(&'.').is_some() {
            flags.precision = Some(digits(&mut rest).unwrap_or(0));
        }
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match arguments.get(used) {
            Some(value) => write_padded(verb, value, flags, &mut out),
            None => put(&mut out, format_args!("%!{verb}(MISSING)")),
        }
        used += 1;
    }
    if let Some(extra) = arguments.get(used..).filter(|extra| !extra.is_empty()) {
        out.push_str("%!(EXTRA ");
        for (place, value) in extra.iter().enumerate() {
            let between = if place > 0 { ", " } else { "" };
            put(&mut out, format_args!("{between}{}={value}", go_kind(value)));
        }
        out.push(')');
    }
    Ok(out)
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = rest.next_if(char::is_ascii_digit).and_then(|digit| digit.to_digit(10)) {
        let digit = usize::try_from(digit).unwrap_or(0);
        number = Some((number.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
    }
    number
}

/// The kind as Go names it.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Float(_) => "float64",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
        Value::Texts(_) => "map[string]string",
        other => other.kind(),
    }
}

fn write_padded(verb: char, value: &Value, flags: Flags, out: &mut String) {
    let mut text = String::new();
    if !write_value(verb, value, flags, &mut text) {
        match value {
            Value::Nil => put(&mut text, format_args!("%!{verb}(<nil>)")),
            value => put(&mut text, format_args!("%!{verb}({}={value})", go_kind(value))),
        }
    }
    let missing = flags.width.saturating_sub(text.chars().count());
    if flags.left {
        out.push_str(&text);
        out.extend((0..missing).map(|_| ' '));
    } else if flags.zero && matches!(value, Value::Int(_) | Value::Float(_)) {
        let sign = text.find(|character| !matches!(character, '+' | '-' | ' ')).unwrap_or(0);
        out.push_str(&text[..sign]);
        out.extend((0..missing).map(|_| '0'));
        out.push_str(&text[sign..]);
    } else {
        out.extend((0..missing).map(|_| ' '));
        out.push_str(&text);
    }
}

/// Writes a value by a verb; false if the verb is not for it.
fn write_value(verb: char, value: &Value, flags: Flags, out: &mut String) -> bool {
    let start = out.len();
    match (verb, value) {
        ('v', Value::Text(text)) if flags.sharp => quote(text, out),
        ('v', _) => value.write_to(out),
        ('T', _) => out.push_str(go_kind(value)),
        ('t', Value::Bool(_)) => value.write_to(out),
        ('d', Value::Int(number) | Value::Duration(number)) => put(out, format_args!("{number}")),
        ('b', Value::Int(number)) => {
            write_radix(*number, flags.sharp, "0b", out, |number, out| put(out, format_args!("{number:b}")))
        }
        ('o', Value::Int(number)) => {
            write_radix(*number, flags.sharp, "0", out, |number, out| put(out, format_args!("{number:o}")))
        }
        ('x', Value::Int(number)) => {
            write_radix(*number, flags.sharp, "0x", out, |number, out| put(out, format_args!("{number:x}")))
        }
        ('X', Value::Int(number)) => {
            write_radix(*number, flags.sharp, "0X", out, |number, out| put(out, format_args!("{number:X}")))
        }
        ('c', Value::Int(number)) => {
            out.push(u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}'));
        }
        ('U', Value::Int(number)) => put(out, format_args!("U+{number:04X}")),
        ('f' | 'F', Value::Float(number)) => write_fixed(*number, flags.precision.unwrap_or(6), out),
        ('e', Value::Float(number)) => write_scientific(*number, flags.precision.unwrap_or(6), out),
        ('E', Value::Float(number)) => {
            let mut text = String::new();
            write_scientific(*number, flags.precision.unwrap_or(6), &mut text);
            out.push_str(&text.to_uppercase());
        }
        ('g' | 'G', Value::Float(number)) => write_shortest(*number, out),
        ('s', Value::Text(text)) => match flags.precision {
            Some(most) => out.extend(text.chars().take(most)),
            None => out.push_str(text),
        },
        (
            's',
            Value::List(_)
            | Value::Map(_)
            | Value::Texts(_)
            | Value::Time(_)
            | Value::Duration(_)
            | Value::Object(_),
        ) => {
            value.write_to(out);
        }
        ('q', Value::Text(text)) => quote(text, out),
        ('x', Value::Text(text)) => text.bytes().for_each(|byte| put(out, format_args!("{byte:02x}"))),
        ('X', Value::Text(text)) => text.bytes().for_each(|byte| put(out, format_args!("{byte:02X}"))),
        ('d' | 'f' | 'q' | 'x', Value::List(values)) => {
            out.push('[');
            for (place, value) in values.iter().enumerate().take_while(|(place, _)| *place < MAX_TEXT) {
                out.push_str(if place > 0 { " " } else { "" });
                write_padded(verb, value, Flags { width: 0, ..flags }, out);
                if out.len() > MAX_TEXT {
                    break;
                }
            }
            out.push(']');
        }
        _ => return false,
    }
    let number = matches!(value, Value::Int(_) | Value::Float(_)) && !matches!(verb, 'c' | 'U' | 'T');
    if number && (flags.plus || flags.space) && !out[start..].starts_with(['-', '+']) {
        out.insert(start, if flags.plus { '+' } else { ' ' });
    }
    true
}

fn write_radix(number: i64, sharp: bool, prefix: &str, out: &mut String, write: impl Fn(u64, &mut String)) {
    out.push_str(if number < 0 { "-" } else { "" });
    out.push_str(if sharp { prefix } else { "" });
    write(number.unsigned_abs(), out);
}

/// A text in double quotes, with Go's escapes.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            _ if character.is_ascii_control() => put(out, format_args!("\\x{:02x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
}
