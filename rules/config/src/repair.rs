//! Brackets and quotes that were not closed: told where they were opened, and closed, so that the rest of the file
//! can be read. A TOML parser alone takes everything behind an open bracket for a part of it.

use crate::error::Report;

/// Tells of what is not closed and returns the text with it closed. What `report` is told later about the new text,
/// it places in the old one.
pub(crate) fn repair(text: &str, report: &mut Report<'_>) -> String {
    let mut repair =
        Repair { text, report, open: Vec::new(), quotes: None, content_end: 0, inserted: Vec::new() };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        repair.line(start, line);
        start += line.len();
    }
    repair.close_all();
    repair.finish()
}

struct Repair<'t, 'r, 'a> {
    text: &'t str,
    report: &'r mut Report<'a>,
    /// Brackets of a value that are open, and where they stand.
    open: Vec<(u8, usize)>,
    /// The end of a text over several lines that is awaited.
    quotes: Option<&'static str>,
    /// Behind the last byte that is neither space nor comment.
    content_end: usize,
    inserted: Vec<(usize, &'static str)>,
}

impl Repair<'_, '_, '_> {
    fn line(&mut self, start: usize, line: &str) {
        if self.quotes.is_none() {
            let in_list = self.open.last().is_some_and(|(bracket, _)| *bracket == b'[');
            if !self.open.is_empty() && (is_header(line) || in_list && is_assignment(line)) {
                self.close_all();
            }
            if self.open.is_empty() && line.trim_start().starts_with('[') {
                return self.header(start, line);
            }
            if self.open.is_empty() && self.lacks_a_value(start, line) {
                return;
            }
        }
        self.value(start, line);
    }

    fn header(&mut self, start: usize, line: &str) {
        let content = without_comment(line);
        let name = content.trim().trim_matches(['[', ']']).trim();
        let (wanted, there) = if content.trim_start().starts_with("[[") { ("]]", 2) } else { ("]", 1) };
        let closed = content.len() - content.trim_end_matches(']').len();
        self.content_end = start + content.len();
        // With a bracket further in front it is something else, which the parser tells.
        if closed < there && !content[..content.len() - closed].contains(']') {
            let help = format!("write `{}{}{wanted}`", &"[["[..there], shown(name));
            self.tell(
                start + line.len() - line.trim_start().len(),
                "the name of the table is not closed",
                help,
            );
            self.inserted.push((self.content_end, &wanted[closed..]));
        }
    }

    /// `key`, `key =` and `key: value`, behind which the parser loses its way. They get a value that is told of no
    /// more, since the line is.
    fn lacks_a_value(&mut self, start: usize, line: &str) -> bool {
        let content = without_comment(line);
        let indent = content.len() - content.trim_start().len();
        let key_end = indent + content[indent..].find(|c| !is_key(c)).unwrap_or(content.len() - indent);
        let (key, behind) = (&content[indent..key_end], content[key_end..].trim_start());
        if key.is_empty() {
            return false;
        }
        let (message, help, at, value) = if behind.is_empty() {
            (
                "this key has no value".to_owned(),
                format!("write `{} = …`, or remove the line", shown(key)),
                content.len(),
                " = 0",
            )
        } else if behind == "=" {
            (
                "nothing stands behind `=`".to_owned(),
                format!("write `{} = …`, or remove the line", shown(key)),
                content.len(),
                " 0",
            )
        } else if let Some(value) = behind.strip_prefix(':') {
            let value = match value.trim() {
                "" => "…".to_owned(),
                value if value.starts_with(['"', '\'', '[', '{']) || is_bare(value) => shown(value),
                value => format!("\"{}\"", shown(value)),
            };
            let message = "key and value are separated by `:`".to_owned();
            (message, format!("write `{} = {value}`", shown(key)), key_end, " = 0 #")
        } else {
            return false;
        };
        self.tell(start + indent, &message, help);
        self.inserted.push((start + at, value));
        self.content_end = start + content.len();
        true
    }

    /// Follows strings and brackets over a line.
    fn value(&mut self, start: usize, line: &str) {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &line[at..];
            if let Some(quotes) = self.quotes {
                match rest.find(quotes) {
                    Some(end) => {
                        at += end + quotes.len();
                        self.quotes = None;
                        self.content_end = start + at;
                    }
                    None => return,
                }
                continue;
            }
            match bytes[at] {
                b'#' => return,
                b'"' | b'\'' => {
                    let several = if bytes[at] == b'"' { "\"\"\"" } else { "'''" };
                    if rest.starts_with(several) {
                        self.quotes = Some(several);
                        at += several.len();
                    } else {
                        at = self.text_on_a_line(start, line, at);
                    }
                    self.content_end = start + at.min(line.trim_end().len());
                    continue;
                }
                bracket @ (b'[' | b'{') => self.open.push((bracket, start + at)),
                closing @ (b']' | b'}') => {
                    let opening = if closing == b']' { b'[' } else { b'{' };
                    if self.open.last().is_some_and(|(bracket, _)| *bracket == opening) {
                        self.open.pop();
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            // All of the bytes looked for are ASCII, so stepping over others by bytes finds no wrong ones.
            at += 1;
            while !line.is_char_boundary(at) {
                at += 1;
            }
            self.content_end = start + at;
        }
    }

    /// The byte behind the text that begins at `at`.
    fn text_on_a_line(&mut self, start: usize, line: &str, at: usize) -> usize {
        let bytes = line.as_bytes();
        let quote = bytes[at];
        let mut end = at + 1;
        while end < bytes.len() && bytes[end] != b'\n' {
            match bytes[end] {
                b'\\' if quote == b'"' => end += 2,
                byte if byte == quote => return end + 1,
                _ => end += 1,
            }
        }
        let content = line.trim_end().len();
        let (closing, help) = match quote {
            b'"' => ("\"", "write `\"` at its end, on the same line"),
            _ => ("'", "write `'` at its end, on the same line"),
        };
        self.tell(start + at, "the text that begins here is not closed", help);
        self.inserted.push((start + content, closing));
        line.len()
    }

    /// Closes what is open at the end of the content so far.
    fn close_all(&mut self) {
        let Some((outermost, at)) = self.open.first().copied() else { return };
        let (what, closing) = if outermost == b'[' { ("list", "]") } else { ("table", "}") };
        let line = self.report.span(self.content_end.saturating_sub(1)).line;
        // A text that was not closed has taken the bracket along.
        if !self
            .inserted
            .iter()
            .rev()
            .take(1)
            .any(|(at, closing)| *at == self.content_end && matches!(*closing, "\"" | "'"))
        {
            self.tell(
                at,
                &format!("the {what} that begins here is not closed"),
                format!("write `{closing}` at its end, for example on line {line}"),
            );
        }
        for (bracket, _) in self.open.drain(..).rev() {
            self.inserted.push((self.content_end, if bracket == b'[' { "]" } else { "}" }));
        }
    }

    fn tell(&mut self, at: usize, message: &str, help: impl Into<String>) {
        self.report.add(at, format!("not valid TOML: {message}"), help);
    }

    fn finish(mut self) -> String {
        // Stable, so that several at one place keep their order.
        self.inserted.sort_by_key(|(at, _)| *at);
        let mut repaired = String::with_capacity(self.text.len() + self.inserted.len() * 2);
        let mut places = Vec::new();
        let mut done = 0;
        for (at, closing) in &self.inserted {
            repaired.push_str(&self.text[done..*at]);
            places.extend((0..closing.len()).map(|byte| repaired.len() + byte));
            repaired.push_str(closing);
            done = *at;
        }
        repaired.push_str(&self.text[done..]);
        self.report.set_inserted(places);
        repaired
    }
}

/// A value that stands without quotes.
fn is_bare(value: &str) -> bool {
    matches!(value, "true" | "false") || value.parse::<i64>().is_ok()
}

/// A piece of the file as a help text repeats it: cut, and without control characters.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}

/// A line up to its comment, without spaces at its end.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, byte) in line.bytes().enumerate() {
        match (byte, quote) {
            (b'#', None) => return line[..at].trim_end(),
            (b'"' | b'\'', None) => quote = Some(byte),
            (byte, Some(open)) if byte == open => quote = None,
            _ => {}
        }
    }
    line.trim_end()
}

/// `key =`, which cannot stand at the beginning of a line within a list.
fn is_assignment(line: &str) -> bool {
    let line = line.trim_start();
    let key = line.len() - line.trim_start_matches(is_key).len();
    key > 0 && line[key..].trim_start().starts_with('=')
}

/// `[name]` or `[[name]]` alone on a line, which is no value.
fn is_header(line: &str) -> bool {
    let content = without_comment(line).trim_start();
    let name = content.trim_start_matches('[').trim_end_matches(']');
    content.starts_with('[')
        && content.ends_with(']')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(is_key)
        && !matches!(name, "true" | "false" | "inf" | "nan")
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
