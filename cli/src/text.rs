//! Words, times and numbers as people read them, and data from outside made harmless for a terminal.

use jiff::tz::TimeZone;
use model::{Timestamp, duration_text};
use serde::Serialize;
use std::{borrow::Cow, fmt::Write as _, io, time::Duration};

/// Whether a terminal might act on `c` instead of showing it: control characters, and those that turn the direction of
/// text, with which a name can be made to look like another.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// `text` with everything a terminal might act on escaped as `\u{1b}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) { escaped.extend(c.escape_unicode()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// `value` as JSON over several lines. What a terminal might act on can only stand in its strings, where `\u009b` means
/// the same.
pub(crate) fn json<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(escape_json(serde_json::to_string_pretty(value)?))
}

/// A line of JSON that somebody else wrote.
pub(crate) fn json_escaped(line: &str) -> String {
    escape_json(line.to_owned())
}

/// `value` as JSON on one line.
pub(crate) fn json_line<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(escape_json(serde_json::to_string(value)?))
}

fn escape_json(json: String) -> String {
    let acts = |c: char| c != '\n' && is_unsafe(c);
    if !json.contains(acts) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if acts(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// `2026-11-23 04:59:58 CET`.
pub(crate) fn moment(at: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        Err(_) => at.to_string(),
    }
}

/// `04:59:58`.
pub(crate) fn clock(at: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_microsecond(at.0) {
        Ok(time) => time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}

/// `12m5s ago`, `just now`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    let since = now.since(at);
    if since < Duration::from_secs(1) {
        "just now".into()
    } else {
        format!("{} ago", duration_text(whole(since)))
    }
}

/// `3h47m`, or `over`.
pub(crate) fn left(until: Timestamp, now: Timestamp) -> String {
    let rest = until.since(now);
    if rest.is_zero() { "over".into() } else { duration_text(whole(rest).max(Duration::from_secs(1))) }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// `1 234 567`, in groups that are neither a decimal point nor a comma anywhere.
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// `48.3 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit < UNITS.len() - 1 {
        tenths /= 1_024;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]) }
}

const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// `no entries`, `1 entry`, `1 234 entries`.
pub(crate) fn count(amount: u64, one: &str, many: &str) -> String {
    match amount {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        _ => format!("{} {many}", number(amount)),
    }
}

/// Breaks `text` at spaces into lines of at most `width` characters; a word that is longer has its own line. Colours
/// take no room.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let length = shown_length(word);
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// Characters that are seen of `word`: without the `ESC [ … m` that colours it.
fn shown_length(word: &str) -> usize {
    let mut pieces = word.split("\u{1b}[");
    let plain = pieces.next().map_or(0, |piece| piece.chars().count());
    plain
        + pieces.map(|piece| piece.split_once('m').map_or(0, |(_, text)| text.chars().count())).sum::<usize>()
}

/// A word as it may stand in a POSIX shell: quoted where it has to be.
pub(crate) fn shell(word: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'/' | b'-' | b'_');
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(escape("plain – text"), "plain – text");
        assert_eq!(escape("\u{1b}[31m\u{9b}1m\u{202e}\n"), r"\u{1b}[31m\u{9b}1m\u{202e}\u{a}");
        let line = json_line(&"\u{1b}[31m \u{9b} \u{202e} \u{7f}").unwrap();
        assert_eq!(line, r#""\u001b[31m \u009b \u202e \u007f""#);
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "\u{1b}[31m \u{9b} \u{202e} \u{7f}");
        assert_eq!(json(&["a"]).unwrap(), "[\n  \"a\"\n]");
    }

    #[test]
    fn numbers_times_and_words() {
        assert_eq!(
            [number(0), number(999), number(1_000), number(1_234_567)],
            ["0", "999", "1 000", "1 234 567"]
        );
        assert_eq!(
            [bytes(0), bytes(1_023), bytes(1_536), bytes(50_646_220)],
            ["0 B", "1023 B", "1.5 KiB", "48.2 MiB"]
        );
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
        let now = Timestamp::from_seconds(1_790_000_000);
        let earlier = Timestamp::from_seconds(1_790_000_000 - 725);
        assert_eq!(moment(now, &TimeZone::UTC), "2026-09-21 14:13:20 UTC");
        assert_eq!([ago(earlier, now), ago(now, now), left(earlier, now)], ["12m5s ago", "just now", "over"]);
        assert_eq!(left(now, earlier), "12m5s");
        assert_eq!(
            [shell("192.0.2.0/24"), shell("it's a b"), shell("")],
            ["192.0.2.0/24", r"'it'\''s a b'", "''"]
        );
        assert_eq!(count(1, "entry", "entries"), "1 entry");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a looooooong word", 6), ["a", "looooooong", "word"]);
        assert_eq!(wrap("", 6), [""]);
        assert_eq!(wrap("\u{1b}[31;1mone\u{1b}[0m two three", 7), ["\u{1b}[31;1mone\u{1b}[0m two", "three"]);
    }
}
