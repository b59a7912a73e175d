//! Go's regular expressions (`regexp`, the syntax of RE2) in the syntax of `regex-automata`, meaning kept: classes and
//! word boundaries are ASCII, a brace that repeats nothing stands for itself, `\<` is `<`, `--` and `&&` in a class
//! are characters. Both match leftmost-first in linear time, so a translation is all it takes.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Largest count of a repetition, as in Go.
const MAX_REPEAT: u32 = 1000;
/// Depth of groups.
const MAX_NESTING: u32 = 250;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Mistake {
    pub(crate) message: String,
}

/// Compiles an expression that only has to match.
///
/// # Errors
/// It is none of Go's, or larger than `most` bytes when compiled.
pub(crate) fn compile(go: &str, most: usize) -> Result<Regex, Mistake> {
    build(&translate(go, |_| false)?, most)
}

/// Compiles what [`translate`] made.
///
/// # Errors
/// It is no expression, or larger than `most` bytes when compiled.
pub(crate) fn build(translated: &str, most: usize) -> Result<Regex, Mistake> {
    Regex::builder()
        .configure(Regex::config().utf8_empty(false).nfa_size_limit(Some(most)))
        .syntax(syntax::Config::new().utf8(false).nest_limit(MAX_NESTING))
        .build(translated)
        .map_err(|error| Mistake {
            message: match (error.size_limit(), error.syntax_error()) {
                (Some(_), _) => format!("takes more than {most} bytes when compiled"),
                (None, Some(syntax)) => first_line(&syntax.to_string()),
                (None, None) => first_line(&error.to_string()),
            },
        })
}

fn first_line(message: &str) -> String {
    let told = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message);
    told.trim().trim_start_matches("error: ").to_owned()
}

/// How many groups capture.
///
/// # Errors
/// It is none of Go's.
pub(crate) fn groups(go: &str) -> Result<usize, Mistake> {
    let mut walk = Walk::new(go, |_| false);
    walk.run()?;
    Ok(walk.groups)
}

/// The expression for `regex-automata`. Of the capturing groups, counted from 1, those that `keep` says still capture;
/// the others only group, which is faster.
///
/// # Errors
/// It is none of Go's.
pub(crate) fn translate(go: &str, keep: impl Fn(usize) -> bool) -> Result<String, Mistake> {
    let mut walk = Walk::new(go, keep);
    walk.run()?;
    Ok(walk.out)
}

struct Walk<'t, K> {
    text: &'t str,
    rest: std::str::Chars<'t>,
    keep: K,
    out: String,
    groups: usize,
    /// Whether the last thing was a repetition, which cannot be repeated.
    repeated: bool,
}

/// What an escape stands for.
enum Escape {
    Char(char),
    /// A class of Perl: its ranges, and whether it is turned round.
    Class(&'static str, bool),
    /// `\p{…}` as it stands in the translation.
    Property(String),
}

impl<'t, K: Fn(usize) -> bool> Walk<'t, K> {
    fn new(text: &'t str, keep: K) -> Self {
        Self {
            text,
            rest: text.chars(),
            keep,
            out: String::with_capacity(text.len() + 16),
            groups: 0,
            repeated: false,
        }
    }

    fn run(&mut self) -> Result<(), Mistake> {
        while let Some(c) = self.rest.next() {
            let repeated = std::mem::take(&mut self.repeated);
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => self.repetition(&c.to_string(), repeated)?,
                '{' => match self.count()? {
                    Some(count) => self.repetition(&count, repeated)?,
                    None => self.out.push_str(r"\{"),
                },
                ')' | '|' | '^' | '$' | '.' => self.out.push(c),
                _ => push(&mut self.out, c),
            }
        }
        Ok(())
    }

    fn repetition(&mut self, operator: &str, repeated: bool) -> Result<(), Mistake> {
        if repeated {
            return Err(self.wrong(format!("`{operator}` repeats what is a repetition already")));
        }
        self.out.push_str(operator);
        if self.eat('?') {
            self.out.push('?');
        }
        self.repeated = true;
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}` behind its brace; nothing is taken if it is something else.
    fn count(&mut self) -> Result<Option<String>, Mistake> {
        let rest = self.rest.as_str();
        let Some((inside, behind)) = rest.split_once('}') else { return Ok(None) };
        let number = |text: &str| {
            let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            (whole && (text == "0" || !text.starts_with('0')))
                .then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let (least, most) = match inside.split_once(',') {
            None => (number(inside), number(inside)),
            Some((least, "")) => (number(least), Some(0)),
            Some((least, most)) => (number(least), number(most)),
        };
        let (Some(least), Some(most)) = (least, most) else { return Ok(None) };
        let open = inside.ends_with(',');
        if least > MAX_REPEAT || most > MAX_REPEAT || (!open && most < least) {
            return Err(self.wrong(format!("`{{{inside}}}` is no count up to {MAX_REPEAT}")));
        }
        self.rest = behind.chars();
        Ok(Some(format!("{{{inside}}}")))
    }

    fn group(&mut self) -> Result<(), Mistake> {
        let rest = self.rest.as_str();
        let Some(inside) = rest.strip_prefix('?') else {
            self.open_group();
            return Ok(());
        };
        if let Some(named) = inside.strip_prefix("P<").or_else(|| inside.strip_prefix('<')) {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            match named.split_once('>') {
                Some((name, behind)) if !name.is_empty() && name.chars().all(word) => {
                    self.rest = behind.chars();
                    self.open_group();
                    return Ok(());
                }
                Some(_) | None => {
                    return Err(self.wrong("`(?<` begins no named group; Go looks neither back nor ahead"));
                }
            }
        }
        let flags = inside.find([':', ')']).map(|at| &inside[..=at]);
        match flags {
            Some(flags)
                if flags[..flags.len() - 1].chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-')) =>
            {
                self.rest = inside[flags.len()..].chars();
                // `(?)` and `(?-)` say nothing, and are mistakes elsewhere.
                if flags.len() > 1 || flags == ":" {
                    self.out.push_str("(?");
                    self.out.push_str(flags);
                }
                Ok(())
            }
            Some(_) | None => {
                let shown: String = inside.chars().take(3).collect();
                Err(self
                    .wrong(format!("`(?{shown}` is no group that Go knows; it looks neither back nor ahead")))
            }
        }
    }

    fn open_group(&mut self) {
        self.groups += 1;
        self.out.push_str(if (self.keep)(self.groups) { "(" } else { "(?:" });
    }

    fn escape(&mut self) -> Result<(), Mistake> {
        match self.rest.as_str().chars().next() {
            Some('b') => self.boundary(r"(?-u:\b)"),
            Some('B') => self.boundary(r"(?-u:\B)"),
            Some('A') => self.boundary(r"\A"),
            Some('z') => self.boundary(r"\z"),
            Some('Q') => {
                self.rest.next();
                let rest = self.rest.as_str();
                let (literal, behind) = rest.split_once(r"\E").unwrap_or((rest, ""));
                for c in literal.chars() {
                    push(&mut self.out, c);
                }
                self.rest = behind.chars();
            }
            _ => match self.escaped()? {
                Escape::Char(c) => push(&mut self.out, c),
                Escape::Class(ranges, negated) => {
                    self.out.push_str(if negated { "[^" } else { "[" });
                    self.out.push_str(ranges);
                    self.out.push(']');
                }
                Escape::Property(property) => self.out.push_str(&property),
            },
        }
        Ok(())
    }

    fn boundary(&mut self, translated: &str) {
        self.rest.next();
        self.out.push_str(translated);
    }

    /// What stands behind a backslash, in a class or out of it.
    fn escaped(&mut self) -> Result<Escape, Mistake> {
        const DIGIT: &str = "0-9";
        const WORD: &str = "0-9A-Za-z_";
        const SPACE: &str = r"\t\n\x0C\r ";
        let Some(c) = self.rest.next() else { return Err(self.wrong("a backslash at the end")) };
        Ok(match c {
            'd' => Escape::Class(DIGIT, false),
            'D' => Escape::Class(DIGIT, true),
            'w' => Escape::Class(WORD, false),
            'W' => Escape::Class(WORD, true),
            's' => Escape::Class(SPACE, false),
            'S' => Escape::Class(SPACE, true),
            'a' => Escape::Char('\x07'),
            'f' => Escape::Char('\x0c'),
            't' => Escape::Char('\t'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            'v' => Escape::Char('\x0b'),
            'x' => Escape::Char(self.hexadecimal()?),
            'p' | 'P' => Escape::Property(self.property(c == 'P')?),
            '0'..='7' => {
                let digits: String =
                    self.rest.as_str().chars().take(2).take_while(|c| matches!(c, '0'..='7')).collect();
                if c != '0' && digits.is_empty() {
                    return Err(self.wrong(format!(r"`\{c}` refers to a group, which Go does not")));
                }
                self.rest = self.rest.as_str()[digits.len()..].chars();
                let code = u32::from_str_radix(&format!("{c}{digits}"), 8).unwrap_or(0);
                Escape::Char(char::from_u32(code).unwrap_or('\0'))
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Escape::Char(c),
            c => return Err(self.wrong(format!(r"`\{c}` is no escape that Go knows"))),
        })
    }

    fn hexadecimal(&mut self) -> Result<char, Mistake> {
        let rest = self.rest.as_str();
        let (digits, behind) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').unwrap_or(("", "")),
            None => rest.split_at_checked(2).unwrap_or(("", "")),
        };
        let code =
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok());
        match code.flatten().and_then(char::from_u32) {
            Some(c) => {
                self.rest = behind.chars();
                Ok(c)
            }
            None => Err(self.wrong(r"`\x` without a character's number")),
        }
    }

    fn property(&mut self, negated: bool) -> Result<String, Mistake> {
        let rest = self.rest.as_str();
        let (name, behind) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').unwrap_or(("", "")),
            None => rest.split_at_checked(1).unwrap_or(("", "")),
        };
        let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
            return Err(self.wrong(r"`\p` without the name of a class"));
        }
        self.rest = behind.chars();
        Ok(format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }))
    }

    fn class(&mut self) -> Result<(), Mistake> {
        self.out.push('[');
        if self.eat('^') {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let rest = self.rest.as_str();
            if !first && self.eat(']') {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            if let Some(named) = rest.strip_prefix("[:")
                && let Some((name, behind)) = named.split_once(":]")
                && name.trim_start_matches('^').bytes().all(|byte| byte.is_ascii_lowercase())
            {
                self.out.push_str(&format!("[:{name}:]"));
                self.rest = behind.chars();
                continue;
            }
            let Some(low) = self.class_char()? else { continue };
            let dash = self.rest.as_str().strip_prefix('-').filter(|behind| !behind.starts_with(']'));
            let Some(behind) = dash else {
                push(&mut self.out, low);
                continue;
            };
            if behind.is_empty() {
                return Err(self.wrong("a class without its closing bracket"));
            }
            self.rest = behind.chars();
            let mark = self.out.len();
            match self.class_char()? {
                Some(high) if high >= low => {
                    push(&mut self.out, low);
                    self.out.push('-');
                    push(&mut self.out, high);
                }
                Some(_) => return Err(self.wrong("a range of characters that ends before it begins")),
                None => {
                    self.out.truncate(mark);
                    return Err(self.wrong("a range of characters that ends in a class"));
                }
            }
        }
    }

    /// A character of a class; none if it was a class in the class, which is written already.
    fn class_char(&mut self) -> Result<Option<char>, Mistake> {
        match self.rest.next() {
            Some('\\') => match self.escaped()? {
                Escape::Char(c) => Ok(Some(c)),
                Escape::Class(ranges, negated) => {
                    if negated {
                        self.out.push_str(&format!("[^{ranges}]"));
                    } else {
                        self.out.push_str(ranges);
                    }
                    Ok(None)
                }
                Escape::Property(property) => {
                    self.out.push_str(&property);
                    Ok(None)
                }
            },
            Some(c) => Ok(Some(c)),
            None => Err(self.wrong("a class without its closing bracket")),
        }
    }

    fn eat(&mut self, c: char) -> bool {
        let behind = self.rest.as_str().strip_prefix(c).map(str::chars);
        if let Some(behind) = behind {
            self.rest = behind;
            return true;
        }
        false
    }

    fn wrong(&self, message: impl Into<String>) -> Mistake {
        let at = self.text.len() - self.rest.as_str().len();
        let before: String =
            self.text[..at].chars().rev().take(24).collect::<Vec<_>>().into_iter().rev().collect();
        Mistake { message: format!("{} (at `{before}`)", message.into()) }
    }
}

/// A character that stands for itself, in a class or out of it.
fn push(out: &mut String, c: char) {
    match c {
        '0'..='9'
        | 'A'..='Z'
        | 'a'..='z'
        | ' '
        | '"'
        | '\''
        | ','
        | ':'
        | ';'
        | '='
        | '/'
        | '@'
        | '!'
        | '_'
        | '%' => {
            out.push(c);
        }
        c if c.is_ascii() => out.push_str(&format!(r"\x{:02X}", u32::from(c))),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(go: &str, text: &str) -> bool {
        compile(go, 1 << 20).unwrap_or_else(|error| panic!("{go}: {error}")).is_match(text)
    }

    #[test]
    fn what_go_means_is_meant() {
        for (go, hits, misses) in [
            (r"^\d+$", &["12"][..], &["١٢", ""][..]),
            (r"^\w\W$", &["a-", "_é"], &["éa"]),
            (r"a\b", &["aé", "a"], &["ab"]),
            (r"^\<a\>$", &["<a>"], &["a"]),
            (r"^a{,2}$", &["a{,2}"], &["aa", "a"]),
            (r"^a{2,}$", &["aa", "aaa"], &["a"]),
            (r"^{x}$", &["{x}"], &["x"]),
            (r"^[--/]$", &["-", ".", "/"], &["0"]),
            (r"^[a&&b]+$", &["a&b"], &["c"]),
            (r"^[\w-.]+$", &["a-.b"], &["a b"]),
            (r"^[]a]$", &["]", "a"], &["b"]),
            (r"^[^]a]$", &["b"], &["]"]),
            (r"^[[:alpha:]_]+$", &["a_b"], &["1"]),
            (r"^[\D]$", &["x"], &["1"]),
            (r"^\Qa.b\E.$", &["a.bc"], &["axbc"]),
            (r"^\x41\x{42}\101$", &["ABA"], &["ABB"]),
            (r"^[\[\]~#]$", &["[", "~", "#"], &["a"]),
            (r"(?i)^straSSE$", &["STRASSE"], &["x"]),
            (r"^(?i:a)b$", &["Ab"], &["AB"]),
            (r"^\p{Greek}\PN$", &["αx"], &["ax"]),
            (r"^\s$", &["\t", " "], &["\u{a0}", "\u{b}"]),
            (r"^.$", &["é", "\u{fffd}"], &["\n"]),
            (r#"^\"\'\_\-\ $"#, &["\"'_- "], &[""]),
            (r"a$", &["a"], &["a\n"]),
        ] {
            for hit in hits {
                assert!(matches(go, hit), "{go} misses {hit:?}");
            }
            for miss in misses {
                assert!(!matches(go, miss), "{go} hits {miss:?}");
            }
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for go in [
            r"(?=a)",
            r"(?<=a)",
            r"(?!a)",
            r"\1",
            r"a**",
            r"a{2}{3}",
            r"[b-a]",
            r"[a-\d]",
            r"[a",
            r"\",
            r"\Z",
            r"\C",
            r"a{1001}",
            r"a{3,2}",
            r"(a",
            r"a)",
            r"(?P<>a)",
            r"\x{110000}",
            r"*a",
        ] {
            assert!(compile(go, 1 << 20).is_err(), "{go}");
        }
        let large = compile(r"(((a{1000}){1000}){1000})", 1 << 20).unwrap_err();
        assert!(large.message.contains("1048576 bytes"), "{large}");
    }

    #[test]
    fn groups_are_counted_and_kept_by_number() {
        let go = r"(a)(?:b)([(]c)\((?P<n>d)[)](?i)(?s:e)";
        assert_eq!(groups(go).unwrap(), 3);
        let kept = translate(go, |group| group == 3).unwrap();
        assert_eq!(kept.matches("(?:").count(), 3, "{kept}");
        let regex = build(&kept, 1 << 20).unwrap();
        assert_eq!(regex.captures_len(), 2);
    }
}
