//! The header in front of a message: RFC 3164, RFC 5424, and what programs write to files (`Nov 23 02:45:00 host
//! sshd[12]: …`, the same with an RFC 3339 time, the host left out, or a priority in front).

use std::net::IpAddr;

/// A header, as slices of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'l> {
    /// Time as written; empty if the sender gave none.
    pub time: &'l [u8],
    /// Host; empty if left out.
    pub host: &'l [u8],
    /// Program, without the process id.
    pub program: &'l [u8],
    /// What stands in `[…]` behind the program.
    pub pid: &'l [u8],
    /// Where the message begins in the line.
    pub message: usize,
}

/// Splits the header off; none if the line does not begin with one.
#[must_use]
pub fn split(line: &[u8]) -> Option<Header<'_>> {
    let start = priority(line);
    if start > 0 && line[start..].starts_with(b"1 ") {
        return split_5424(line, start + 2);
    }
    let (time_end, nil) = match line[start..].strip_prefix(b"- ") {
        Some(_) => (start + 1, true),
        None => (start + time_length(&line[start..])?, false),
    };
    let time = if nil { &line[..0] } else { &line[start..time_end] };
    let mut at = skip_spaces(line, time_end);
    let mut host = &line[..0];
    let mut word = word_at(line, at);
    if !is_tag(word) {
        host = word;
        at = skip_spaces(line, at + word.len());
        word = word_at(line, at);
    }
    let (mut program, mut pid) = (&line[..0], &line[..0]);
    if is_tag(word) {
        at += word.len();
        (program, pid) = split_tag(word);
        at += usize::from(line.get(at) == Some(&b' '));
        at += solaris_id(&line[at..]);
    }
    Some(Header { time, host, program, pid, message: at })
}

/// `message repeated N times: [ …]`, as rsyslog shortens lines: the text within and N.
#[must_use]
pub fn repeated(message: &[u8]) -> Option<(std::ops::Range<usize>, u32)> {
    let rest = message.strip_prefix(b"message repeated ")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let count: u32 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    rest[digits..].strip_prefix(b" times: [")?.strip_suffix(b"]")?;
    let start = b"message repeated ".len() + digits + b" times: [".len();
    let start = start + usize::from(message.get(start) == Some(&b' '));
    let end = message.len() - 1;
    (start <= end).then_some((start..end, count))
}

/// Writes a message from the network the way a file holds it: `TIME HOST PROGRAM[PID]: MESSAGE` without priority,
/// control characters as `#ooo` (so that one message stays one line), the sender's address where no host is given.
/// A message without a header is passed on as it is.
pub fn normalise(message: &[u8], sender: IpAddr, out: &mut Vec<u8>) {
    let message = trim_line_end(message);
    let text_start = if let Some(header) = split(message) {
        escape(if header.time.is_empty() { b"-" } else { header.time }, out);
        out.push(b' ');
        if header.host.is_empty() {
            out.extend_from_slice(sender.to_string().as_bytes());
        } else {
            escape(header.host, out);
        }
        out.push(b' ');
        if !header.program.is_empty() {
            escape(header.program, out);
            if !header.pid.is_empty() {
                out.push(b'[');
                escape(header.pid, out);
                out.push(b']');
            }
            out.extend_from_slice(b": ");
        }
        header.message
    } else {
        priority(message)
    };
    escape(&message[text_start..], out);
}

/// Cuts line ends and NULs off the end. Spaces stay: they count for how long a message was.
pub(crate) fn trim_line_end(line: &[u8]) -> &[u8] {
    let kept = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n' | 0)).map_or(0, |last| last + 1);
    &line[..kept]
}

/// Writes text with control characters as `#ooo`, so that it stays one line.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte < b' ' && byte != b'\t' || byte == 0x7f {
            out.extend_from_slice(&[b'#', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)]);
        } else {
            out.push(byte);
        }
    }
}

/// Length of `<NNN>`; 0 if there is none.
fn priority(line: &[u8]) -> usize {
    let Some(rest) = line.strip_prefix(b"<") else { return 0 };
    let digits = rest.iter().take(4).take_while(|b| b.is_ascii_digit()).count();
    if (1..=3).contains(&digits) && rest.get(digits) == Some(&b'>') { digits + 2 } else { 0 }
}

/// RFC 5424 §6 behind `<PRI>1 `.
fn split_5424(line: &[u8], start: usize) -> Option<Header<'_>> {
    let mut at = start;
    let mut next = || {
        let word = word_at(line, at);
        at += word.len() + 1;
        (!word.is_empty() && at <= line.len()).then_some(if word == b"-" { &line[..0] } else { word })
    };
    let (time, host, program, pid, _message_id) = (next()?, next()?, next()?, next()?, next()?);
    let mut at = skip_structured_data(line, at)?;
    at += usize::from(line.get(at) == Some(&b' '));
    at += if line[at..].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    Some(Header { time, host, program, pid, message: at })
}

fn skip_structured_data(line: &[u8], start: usize) -> Option<usize> {
    if line.get(start) == Some(&b'-') {
        return Some(start + 1);
    }
    let (mut at, mut quoted) = (start, false);
    while line.get(at) == Some(&b'[') || quoted || at > start {
        match line.get(at)? {
            b'\\' if quoted => at += 1,
            b'"' => quoted = !quoted,
            b']' if !quoted && line.get(at + 1) != Some(&b'[') => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

/// Bytes of the time in front: `Nov 23 02:45:00[.123]` (a year may stand before or behind the clock) or RFC 3339.
fn time_length(line: &[u8]) -> Option<usize> {
    match line.first()? {
        b'0'..=b'9' => {
            let word = word_at(line, 0);
            let date = word.len() >= 10 && word[4] == b'-' && word[7] == b'-';
            if date && word.len() > 10 && word[10] == b'T' {
                return Some(word.len());
            }
            let clock = word_at(line, 11);
            (date && word.len() == 10 && clock.contains(&b':')).then(|| 11 + clock.len())
        }
        b'A'..=b'Z' => {
            crate::time::month(line.get(..3)?)?;
            let mut at = skip_spaces(line, 3);
            (at > 3).then_some(())?;
            let day = word_at(line, at);
            (matches!(day.len(), 1 | 2) && day.iter().all(u8::is_ascii_digit)).then_some(())?;
            at = skip_spaces(line, at + day.len());
            let mut word = word_at(line, at);
            if word.len() == 4 && word.iter().all(u8::is_ascii_digit) {
                at = skip_spaces(line, at + 4);
                word = word_at(line, at);
            }
            let clock = word.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b':' | b'.')).count();
            (clock >= 7 && word.get(2) == Some(&b':')).then_some(at + clock)
        }
        _ => None,
    }
}

fn word_at(line: &[u8], at: usize) -> &[u8] {
    let rest = line.get(at..).unwrap_or_default();
    &rest[..rest.iter().take(256).position(|&b| b == b' ').unwrap_or(rest.len().min(256))]
}

fn skip_spaces(line: &[u8], at: usize) -> usize {
    at.min(line.len()) + line.get(at..).unwrap_or_default().iter().take_while(|&&b| b == b' ').count()
}

/// `sshd[12]:`, `sshd:`, `[sshd]`, `sshd[12]`.
fn is_tag(word: &[u8]) -> bool {
    matches!(word.last(), Some(b':' | b']'))
}

fn split_tag(word: &[u8]) -> (&[u8], &[u8]) {
    let word = word.strip_suffix(b":").unwrap_or(word);
    if let Some(bare) = word.strip_prefix(b"[").and_then(|w| w.strip_suffix(b"]")) {
        return (bare, &word[..0]);
    }
    match word.strip_suffix(b"]").and_then(|w| Some((w, w.iter().rposition(|&b| b == b'[')?))) {
        Some((open, at)) => (&open[..at], &open[at + 1..]),
        None => (word, &word[..0]),
    }
}

/// `[ID 800047 auth.info] `, as Solaris and illumos put in front of the message.
fn solaris_id(message: &[u8]) -> usize {
    let Some(rest) = message.strip_prefix(b"[ID ") else { return 0 };
    let length = rest.iter().take(64).position(|&b| b == b']').unwrap_or(rest.len());
    if rest.get(length..length + 2) == Some(b"] ") { 4 + length + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Option<(String, String, String, String, String)> {
        let header = split(line.as_bytes())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((
            text(header.time),
            text(header.host),
            text(header.program),
            text(header.pid),
            text(&line.as_bytes()[header.message..]),
        ))
    }

    #[test]
    fn headers_of_every_kind() {
        for (line, expected) in [
            ("Nov 23 02:45:00 gate sshd[12]: hello", ["Nov 23 02:45:00", "gate", "sshd", "12", "hello"]),
            ("Jan  5 01:31:41 gate sshd: hello", ["Jan  5 01:31:41", "gate", "sshd", "", "hello"]),
            ("Feb 7 16:01:07.123 gate sshd[5]: a b", ["Feb 7 16:01:07.123", "gate", "sshd", "5", "a b"]),
            ("Nov 23 2026 02:45:00 gate sshd[5]: x", ["Nov 23 2026 02:45:00", "gate", "sshd", "5", "x"]),
            ("Nov 23 21:50:19 sshd[8148]: x", ["Nov 23 21:50:19", "", "sshd", "8148", "x"]),
            ("Jun 25 23:53:34 [sshd] User x", ["Jun 25 23:53:34", "", "sshd", "", "User x"]),
            ("<38>Nov 23 02:45:00 gate sshd[1]: x", ["Nov 23 02:45:00", "gate", "sshd", "1", "x"]),
            (
                "2015-04-16T18:02:50.321974+00:00 gate sshd-session[2]: x",
                ["2015-04-16T18:02:50.321974+00:00", "gate", "sshd-session", "2", "x"],
            ),
            ("2015-04-16 18:02:50 gate sshd[2]: x", ["2015-04-16 18:02:50", "gate", "sshd", "2", "x"]),
            (
                "<38>1 2019-07-08T17:40:16Z gate sshd 5 - - x y",
                ["2019-07-08T17:40:16Z", "gate", "sshd", "5", "x y"],
            ),
            ("<38>1 - - sshd - - [a b=\"]\\\"\"][c] x", ["", "", "sshd", "", "x"]),
            ("<38>1 - gate sshd - - -", ["", "gate", "sshd", "", ""]),
            ("- gate sshd[1]: x", ["", "gate", "sshd", "1", "x"]),
            ("Mar 29 05:59:23 d sshd[1]: [ID 8 auth.info] x", ["Mar 29 05:59:23", "d", "sshd", "1", "x"]),
        ] {
            let [time, host, program, pid, message] = expected.map(str::to_owned);
            assert_eq!(shown(line), Some((time, host, program, pid, message)), "{line}");
        }
        for line in
            ["", "<", "<38>", "<38>1 ", "hello", "Nov", "Nov 23", "1.2.3.4 - - [x]", "{}", "<38>1 a b"]
        {
            assert_eq!(shown(line), None, "{line}");
        }
    }

    #[test]
    fn network_messages_become_one_line() {
        let normal = |message: &[u8]| {
            let mut out = Vec::new();
            normalise(message, [192, 0, 2, 1].into(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            normal(b"<38>1 2026-11-23T02:45:00Z gate sshd 7 - - \xef\xbb\xbfx\n"),
            "2026-11-23T02:45:00Z gate sshd[7]: x"
        );
        assert_eq!(
            normal(b"<38>Nov 23 02:45:00 sshd[7]: a\nNov 23 02:45:00 gate sshd: b"),
            "Nov 23 02:45:00 192.0.2.1 sshd[7]: a#012Nov 23 02:45:00 gate sshd: b"
        );
        assert_eq!(normal(b"<38>1 - gate sshd - - - x"), "- gate sshd: x");
        assert_eq!(normal(b"<13>plain\0"), "plain");
    }

    #[test]
    fn repetitions() {
        let message = b"message repeated 3 times: [ Failed password]";
        let (inner, count) = repeated(message).unwrap();
        assert_eq!((&message[inner], count), (&b"Failed password"[..], 3));
        for wrong in
            ["message repeated x times: [ a]", "message repeated 3 times: [ a", "message repeated 3 times: ["]
        {
            assert_eq!(repeated(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
