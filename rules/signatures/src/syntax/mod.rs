//! From a rule file's text to raw rules: lines joined, header words and options split, each with its place.

pub(crate) mod header;
pub(crate) mod variables;

pub use header::{Action, HeaderProtocol};
pub use variables::Variables;

use crate::limits::{MAX_OPTIONS, MAX_RULE_BYTES};

/// One rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRule<'t> {
    /// Line of its first byte, from 1.
    pub line: u32,
    /// The seven words before the parenthesis.
    pub header: [&'t str; 7],
    /// Its options in order.
    pub options: Vec<RawOption<'t>>,
}

/// One option of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawOption<'t> {
    /// The keyword.
    pub name: &'t str,
    /// What stands after the colon, trimmed.
    pub value: Option<&'t str>,
    /// Byte of the rule at which it starts, from 1.
    pub column: u32,
}

/// Why a part of a rule is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The keyword, or `header` or `options`.
    pub keyword: String,
    /// Byte of the rule, from 1.
    pub column: u32,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Problem {
    pub(crate) fn new(keyword: &str, column: u32, why: impl Into<String>) -> Self {
        Self { keyword: keyword.to_owned(), column, why: why.into() }
    }
}

/// Joins continued lines (`\` at the end), leaves out comments and empty lines. Yields (line number, text).
pub(crate) fn logical_lines(text: &str) -> impl Iterator<Item = (u32, std::borrow::Cow<'_, str>)> {
    let mut lines = (1_u32..).zip(text.lines());
    std::iter::from_fn(move || {
        loop {
            let (number, line) = lines.next()?;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some(first) = line.strip_suffix('\\') else {
                return Some((number, std::borrow::Cow::Borrowed(line)));
            };
            let mut joined = first.to_owned();
            for (_, next) in lines.by_ref() {
                let next = next.trim_end();
                let (part, more) = next.strip_suffix('\\').map_or((next, false), |part| (part, true));
                if joined.len() <= MAX_RULE_BYTES {
                    joined.push_str(part);
                }
                if !more {
                    break;
                }
            }
            return Some((number, std::borrow::Cow::Owned(joined)));
        }
    })
}

impl<'t> RawRule<'t> {
    /// Splits one logical line.
    pub(crate) fn parse(line: u32, text: &'t str) -> Result<Self, Problem> {
        if text.len() > MAX_RULE_BYTES {
            let why = format!("the rule is longer than {MAX_RULE_BYTES} bytes");
            return Err(Problem::new("options", 1, why));
        }
        let open = text.find('(').ok_or_else(|| {
            Problem::new("header", 1, "no `(`; write `alert tcp any any -> any any (msg:\"…\"; sid:1;)`")
        })?;
        let words = split_header(&text[..open]);
        let header = <[&str; 7]>::try_from(words).map_err(|words| {
            let why = format!(
                "{} words before `(`, not 7; write action, protocol, address, port, `->`, address, port",
                words.len()
            );
            Problem::new("header", 1, why)
        })?;
        let body = text[open + 1..].trim_end();
        let body = body.strip_suffix(')').ok_or_else(|| {
            Problem::new("options", column(text.len()), "the rule does not end with `)`; is a line missing?")
        })?;
        Ok(Self { line, header, options: split_options(body, open + 1)? })
    }

    /// The number of the first `sid`, for messages about rules that do not get further.
    pub(crate) fn sid(&self) -> Option<u32> {
        self.options.iter().find(|option| option.name == "sid")?.value?.trim().parse().ok()
    }
}

/// A guess at the sid of a text that could not even be split.
pub(crate) fn sid_of_text(text: &str) -> Option<u32> {
    let digits = text.get(text.rfind("sid:")? + 4..)?.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// Words by white space, but a `[…]` group is one word.
fn split_header(text: &str) -> Vec<&str> {
    let (mut words, mut depth, mut start) = (Vec::new(), 0_usize, None);
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c.is_whitespace() && depth == 0 {
            if let Some(from) = start.take() {
                words.push(&text[from..at]);
            }
        } else if start.is_none() {
            start = Some(at);
        }
    }
    words.extend(start.map(|from| &text[from..]));
    words
}

/// Options end with a `;` that no backslash stands before.
fn split_options(body: &str, offset: usize) -> Result<Vec<RawOption<'_>>, Problem> {
    let (mut options, mut start) = (Vec::new(), 0);
    let bytes = body.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        if *byte != b';' || (at > 0 && bytes[at - 1] == b'\\') {
            continue;
        }
        let text = &body[start..at];
        let lead = text.len() - text.trim_start().len();
        let place = column(offset + start + lead);
        start = at + 1;
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        if options.len() == MAX_OPTIONS {
            return Err(Problem::new("options", place, format!("more than {MAX_OPTIONS} options")));
        }
        let (name, value) = match text.split_once(':') {
            Some((name, value)) => (name.trim_end(), Some(value.trim())),
            None => (text, None),
        };
        options.push(RawOption { name, value, column: place });
    }
    if body[start..].trim().is_empty() {
        Ok(options)
    } else {
        Err(Problem::new("options", column(offset + start), "the last option does not end with `;`"))
    }
}

fn column(at: usize) -> u32 {
    u32::try_from(at + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_split_with_their_places() {
        let text = r#"alert tcp [1.2.3.4, !$X] any -> any [80, 81] ( msg:"a\; b"; nocase ;sid: 7; )"#;
        let rule = RawRule::parse(3, text).unwrap();
        assert_eq!(rule.header, ["alert", "tcp", "[1.2.3.4, !$X]", "any", "->", "any", "[80, 81]"]);
        let options: Vec<_> = rule.options.iter().map(|o| (o.name, o.value)).collect();
        assert_eq!(options, [("msg", Some(r#""a\; b""#)), ("nocase", None), ("sid", Some("7"))]);
        assert!(text[rule.options[1].column as usize - 1..].starts_with("nocase"));
        assert_eq!(rule.sid(), Some(7));
    }

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# no\n\nalert \\\n tcp\\\n x\npass\n";
        let lines: Vec<_> = logical_lines(text).collect();
        assert_eq!(lines, [(3, "alert  tcp x".into()), (6, "pass".into())]);
    }

    #[test]
    fn broken_rules_say_where() {
        for (text, why) in [
            ("alert tcp any any -> any any", "no `(`"),
            ("alert tcp any any -> any (sid:1;)", "6 words"),
            ("alert tcp any any -> any any (sid:1;", "does not end with `)`"),
            ("alert tcp any any -> any any (sid:1)", "does not end with `;`"),
        ] {
            let problem = RawRule::parse(1, text).unwrap_err();
            assert!(problem.why.contains(why), "{problem:?}");
        }
    }
}
