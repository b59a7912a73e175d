//! Patterns of Go's `regexp` (RE2), run by `regex-automata`: linear in the text, whatever the pattern.
//!
//! The two syntaxes nearly agree. What differs is written anew: in Go `\d`, `\w`, `\s` and `\b` know ASCII only, `{` is
//! itself where it is no count, `[` and `&&` in a class mean themselves, `\<` is a `<`, `\Q…\E` quotes, `\123` is octal.
//! Source: <https://pkg.go.dev/regexp/syntax>.

use regex_automata::meta::{Config, Regex};
use regex_automata::util::syntax;

use super::Problem;
use super::limits::{MAX_COMPILED, MAX_LATE_COMPILED, MAX_LATE_PATTERN, MAX_PATTERN};
use super::number::put;

/// Depth of groups in a pattern.
const NEST_LIMIT: u32 = 100;
/// Bytes of cache of a pattern that runs.
const CACHE: usize = 512 * 1024;

/// A compiled pattern that says whether a text has a match.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// If it is none, or too large.
    pub fn new(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_PATTERN, MAX_COMPILED)
    }

    /// Compiles a pattern that somebody may have put into a log line.
    pub(super) fn late(pattern: &str) -> Result<Self, Problem> {
        compile(pattern, MAX_LATE_PATTERN, MAX_LATE_COMPILED)
    }

    /// Whether it matches anywhere.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn compile(pattern: &str, longest: usize, size: usize) -> Result<Pattern, Problem> {
    if pattern.len() > longest {
        return Err(Problem::new(format!(
            "a pattern of {} bytes; at most {longest} are possible",
            pattern.len()
        )));
    }
    let wrong = |message: String| Problem::new(format!("the pattern `{pattern}` is wrong: {message}"));
    let translated = translate(pattern, Groups::Dropped).map_err(wrong)?;
    let config = Config::new()
        .utf8_empty(false)
        .nfa_size_limit(Some(size))
        .onepass(false)
        .hybrid_cache_capacity(CACHE.min(size * 4));
    let syntax = syntax::Config::new().utf8(false).nest_limit(NEST_LIMIT);
    let built = Regex::builder().syntax(syntax).configure(config).build(&translated);
    built.map(Pattern).map_err(|error| {
        if error.size_limit().is_some() {
            return Problem::new(format!("the pattern `{pattern}` is too large when compiled"));
        }
        wrong(match error.syntax_error() {
            // The last line of the report is the sentence; before it stands the pattern with a marker.
            Some(syntax) => {
                syntax.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
            }
            None => error.to_string(),
        })
    })
}

/// What becomes of groups that capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// They stay; names are written `(?P<name>…)` as they were.
    Kept,
    /// They only group: enough where nobody asks what they matched.
    Dropped,
}

/// A pattern of Go's in the syntax of Rust's `regex` (with Unicode on), with its meaning.
///
/// # Errors
/// A sentence on what Go would refuse, too; the rest shows when it is compiled.
pub fn translate(pattern: &str, groups: Groups) -> Result<String, String> {
    let mut translation =
        Translation { rest: pattern, out: String::with_capacity(pattern.len() + 16), groups };
    while let Some(character) = translation.next() {
        translation.one(character)?;
    }
    Ok(translation.out)
}

struct Translation<'t> {
    rest: &'t str,
    out: String,
    groups: Groups,
}

impl Translation<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = self.rest.get(character.len_utf8()..).unwrap_or("");
        Some(character)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn literal(&mut self, character: char) {
        if character.is_ascii_punctuation() && !matches!(character, '<' | '>' | '_' | '"' | '\'' | '`') {
            self.out.push('\\');
        }
        self.out.push(character);
    }

    fn one(&mut self, character: char) -> Result<(), String> {
        match character {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            '{' => {
                match count(self.rest) {
                    Some(length) => {
                        self.out.push('{');
                        self.out.push_str(&self.rest[..length]);
                        self.rest = &self.rest[length..];
                    }
                    None => self.out.push_str("\\{"),
                }
                Ok(())
            }
            '}' | ']' => {
                self.literal(character);
                Ok(())
            }
            _ => {
                self.out.push(character);
                Ok(())
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        if self.take("Q") {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            for character in quoted.chars() {
                self.literal(character);
            }
            self.rest = rest;
            return Ok(());
        }
        if let Some(class) = self.short_class() {
            self.out.push('[');
            self.out.push_str(class);
            self.out.push(']');
            return Ok(());
        }
        if self.take("b") {
            self.out.push_str(r"(?-u:\b)");
        } else if self.take("B") {
            self.out.push_str(r"(?-u:\B)");
        } else if self.take("A") {
            self.out.push_str(r"\A");
        } else if self.take("z") {
            self.out.push_str(r"\z");
        } else if self.rest.starts_with(['p', 'P']) {
            self.property()?;
        } else {
            let character = self.character()?;
            self.coded(character);
        }
        Ok(())
    }

    /// `\d` and the like, as what stands in a class.
    fn short_class(&mut self) -> Option<&'static str> {
        let class = match self.rest.bytes().next()? {
            b'd' => "0-9",
            b'D' => "^0-9",
            b'w' => "0-9A-Za-z_",
            b'W' => "^0-9A-Za-z_",
            b's' => r"\t\n\x0C\r ",
            b'S' => r"^\t\n\x0C\r ",
            _ => return None,
        };
        self.next();
        Some(class)
    }

    /// `\pN`, `\p{Greek}`, copied.
    fn property(&mut self) -> Result<(), String> {
        let length = if self.rest[1..].starts_with('{') {
            self.rest.find('}').map(|end| end + 1)
        } else {
            self.rest.char_indices().nth(2).map(|(at, _)| at).or(Some(self.rest.len()))
        };
        let length = length.filter(|length| *length >= 2).ok_or("`\\p` without a name")?;
        self.out.push('\\');
        self.out.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
        Ok(())
    }

    /// The character that stands behind a backslash.
    fn character(&mut self) -> Result<char, String> {
        let Some(character) = self.next() else { return Err("a backslash at the end".into()) };
        match character {
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            'x' => {
                let digits = if self.take("{") {
                    let (digits, rest) = self.rest.split_once('}').ok_or("`\\x{` without end")?;
                    self.rest = rest;
                    digits
                } else {
                    let digits = self.rest.get(..2).ok_or("`\\x` wants two digits")?;
                    self.rest = &self.rest[2..];
                    digits
                };
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
                code.and_then(char::from_u32).ok_or_else(|| format!("`\\x{{{digits}}}` is no character"))
            }
            '1'..='7' if !self.rest.starts_with(|next: char| next.is_digit(8)) => {
                Err(format!("`\\{character}` refers to a group, which is not possible"))
            }
            '0'..='7' => {
                let mut code = u32::from(character) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else {
                        break;
                    };
                    self.next();
                    code = code * 8 + digit;
                }
                char::from_u32(code).ok_or_else(|| format!("{code:#o} is no character"))
            }
            other if other.is_ascii_alphanumeric() => Err(format!("`\\{other}` means nothing")),
            other => Ok(other),
        }
    }

    fn coded(&mut self, character: char) {
        put(&mut self.out, format_args!("\\x{{{:X}}}", u32::from(character)));
    }

    fn group(&mut self) -> Result<(), String> {
        let named = if self.take("?P<") { true } else { self.rest.starts_with("?<") && self.take("?<") };
        if named {
            let (name, rest) = self.rest.split_once('>').ok_or("the name of a group without end")?;
            if name.is_empty()
                || !name.chars().all(|character| character == '_' || character.is_alphanumeric())
            {
                let what = if name.starts_with(['=', '!']) {
                    "look-behind is not possible"
                } else {
                    "a group without a name"
                };
                return Err(what.into());
            }
            self.rest = rest;
            match self.groups {
                Groups::Kept => put(&mut self.out, format_args!("(?P<{name}>")),
                Groups::Dropped => self.out.push_str("(?:"),
            }
            return Ok(());
        }
        if !self.take("?") {
            self.out.push_str(match self.groups {
                Groups::Kept => "(",
                Groups::Dropped => "(?:",
            });
            return Ok(());
        }
        let length = self.rest.find([':', ')']).ok_or("a group without end")?;
        let flags = &self.rest[..length];
        if flags.starts_with(['=', '!']) {
            return Err("look-ahead is not possible".into());
        }
        if let Some(flag) = flags.chars().find(|flag| !matches!(flag, 'i' | 'm' | 's' | 'U' | '-')) {
            return Err(format!("there is no flag `{flag}`"));
        }
        self.out.push_str("(?");
        self.out.push_str(&self.rest[..=length]);
        self.rest = &self.rest[length + 1..];
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            if !first && self.take("]") {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let name = &self.rest[2..end];
                if name.trim_start_matches('^').bytes().all(|byte| byte.is_ascii_lowercase()) {
                    self.out.push_str(&self.rest[..end + 2]);
                    self.rest = &self.rest[end + 2..];
                    continue;
                }
            }
            let from = match self.next() {
                None => return Err("a class without end".into()),
                Some('\\') => {
                    if let Some(class) = self.short_class() {
                        self.out.push('[');
                        self.out.push_str(class);
                        self.out.push(']');
                        continue;
                    }
                    if self.rest.starts_with(['p', 'P']) {
                        self.property()?;
                        continue;
                    }
                    self.character()?
                }
                Some(character) => character,
            };
            self.coded(from);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") && self.rest.len() > 1 {
                self.next();
                let to = match self.next() {
                    Some('\\') => self.character()?,
                    Some(character) => character,
                    None => return Err("a class without end".into()),
                };
                if to < from {
                    return Err(format!("the range {from}-{to} is the wrong way round"));
                }
                self.out.push('-');
                self.coded(to);
            }
        }
    }
}

/// The length of `3}`, `3,}` or `3,5}`, if that is what follows.
fn count(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let (least, most) = rest[..end].split_once(',').unwrap_or((&rest[..end], ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_between_go_and_rust() {
        for (pattern, hits, misses) in [
            (r"^\d+$", &["12"][..], &["٣", "x"][..]),
            (r"^\w$", &["a", "_"], &["é"]),
            (r"a{,2}", &["a{,2}"], &["aa"]),
            (r"{x}", &["{x}"], &["x"]),
            (r"^[[a]$", &["[", "a"], &["]"]),
            (r"^[a&&b]$", &["a", "&", "b"], &["c"]),
            (r"^[\w-.]+$", &["a-b.c"], &["/"]),
            (r"^[]a]$", &["]", "a"], &["b"]),
            (r"^[^]a]$", &["b", "\n"], &["]"]),
            (r"^[[:alpha:][:digit:]]+$", &["a1"], &["-"]),
            (r"\<b\>", &["<b>"], &["b"]),
            (r"^\Qa.b\E+$", &["a.bb"], &["axb"]),
            (r"^\101\x41\x{e9}$", &["AAé"], &["AA"]),
            (r"(?i)^straße x\b", &["Straße X"], &["strasse x"]),
            (r"(?P<a>x)(?P<b>y)", &["xy"], &["x"]),
            (r"^a.c$", &["abc", "aéc"], &["a\nc"]),
            (r"^[A-Za-z0-9\-\_]+\.sql$", &["a-b_c.sql"], &["a.b.sql"]),
            ("^\\/(usr\\/(local\\/)?)?bin\\/(sh|bash)$", &["/usr/local/bin/sh", "/bin/bash"], &["/bin/zsh"]),
            (r"a}]b", &["a}]b"], &["ab"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
            for hit in hits {
                assert!(compiled.is_match(hit), "{pattern} misses {hit}");
            }
            for miss in misses {
                assert!(!compiled.is_match(miss), "{pattern} matches {miss}");
            }
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in [
            "(",
            ")",
            "[",
            "a)(",
            "*a",
            r"\",
            r"\q",
            r"(a)\1",
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            "(?x)a",
            "[z-a]",
            r"\p",
            "(?P<>a)",
            r"\x",
            r"\x{110000}",
            "a{2,1}",
            r"[\",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
        let large = Pattern::new("((x{100}){100}){100}").unwrap_err().to_string();
        assert!(large.contains("too large"), "{large}");
        assert!(Pattern::late(&"x".repeat(MAX_LATE_PATTERN + 1)).is_err());
    }
}
