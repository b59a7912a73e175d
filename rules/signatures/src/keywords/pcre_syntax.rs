//! Rewrites PCRE's syntax into that of `regex-syntax` where the two differ, and names what has no linear form.

/// Flags that change how the text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub ignore_case: bool,
    pub dot_all: bool,
    pub multi_line: bool,
    pub extended: bool,
    pub ungreedy: bool,
    pub dollar_end_only: bool,
}

/// The same expression for `regex-syntax`, or what it has that no linear engine can do.
pub(crate) fn translate(pattern: &str, flags: Flags) -> Result<String, String> {
    let mut translator = Translator {
        input: pattern.as_bytes(),
        at: 0,
        output: String::with_capacity(pattern.len() + 16),
        flags,
    };
    while translator.at < translator.input.len() {
        translator.step()?;
    }
    Ok(translator.output)
}

struct Translator<'p> {
    input: &'p [u8],
    at: usize,
    output: String,
    flags: Flags,
}

impl Translator<'_> {
    fn rest(&self) -> &[u8] {
        &self.input[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.input.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(byte) = self.peek(0) else { return Ok(()) };
        match byte {
            b'\\' => self.escape(false),
            b'[' => self.class(),
            b'(' => self.group(),
            b'$' if !self.flags.multi_line => {
                self.at += 1;
                // Before a final line feed too, but for the flag E.
                self.output.push_str(if self.flags.dollar_end_only { "\\z" } else { "(?:\\n?\\z)" });
                Ok(())
            }
            b'{' => {
                if self.is_repetition() {
                    self.output.push('{');
                } else {
                    self.output.push_str("\\{");
                }
                self.at += 1;
                Ok(())
            }
            b'}' => {
                let open = self.output.rfind('{');
                let closes = open.is_some_and(|open| {
                    !self.output[..open].ends_with('\\')
                        && !self.output[open + 1..].is_empty()
                        && self.output[open + 1..].bytes().all(|b| b.is_ascii_digit() || b == b',')
                });
                self.output.push_str(if closes { "}" } else { "\\}" });
                self.at += 1;
                if closes { self.possessive() } else { Ok(()) }
            }
            b'*' | b'+' | b'?' => {
                self.output.push(char::from(byte));
                self.at += 1;
                self.possessive()
            }
            _ => {
                self.literal(byte);
                Ok(())
            }
        }
    }

    fn literal(&mut self, byte: u8) {
        if byte.is_ascii() {
            self.output.push(char::from(byte));
        } else {
            self.hex(byte);
        }
        self.at += 1;
    }

    fn hex(&mut self, byte: u8) {
        self.output.push_str(&format!("\\x{byte:02x}"));
    }

    /// `{3}`, `{3,}` or `{3,5}` stands here.
    fn is_repetition(&self) -> bool {
        let body = &self.rest()[1..];
        let Some(end) = body.iter().position(|byte| *byte == b'}') else { return false };
        let text = &body[..end];
        text.first().is_some_and(u8::is_ascii_digit)
            && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b',')
            && text.iter().filter(|byte| **byte == b',').count() <= 1
    }

    fn possessive(&self) -> Result<(), String> {
        if self.peek(0) == Some(b'+') { Err("possessive repetition is not supported".into()) } else { Ok(()) }
    }

    fn group(&mut self) -> Result<(), String> {
        let rest = self.rest();
        for (start, what) in [
            ("(?=", "look-ahead"),
            ("(?!", "negative look-ahead"),
            ("(?<=", "look-behind"),
            ("(?<!", "negative look-behind"),
            ("(?>", "an atomic group"),
            ("(?|", "a branch reset"),
            ("(?(", "a condition"),
            ("(?R", "recursion"),
            ("(?&", "a subroutine call"),
            ("(?P>", "a subroutine call"),
            ("(?P=", "a back-reference"),
            ("(*", "a verb"),
        ] {
            if rest.starts_with(start.as_bytes()) {
                return Err(format!("{what} is not supported"));
            }
        }
        if rest.starts_with(b"(?#") {
            let end = rest.iter().position(|byte| *byte == b')').ok_or("a comment is not closed")?;
            self.at += end + 1;
            return Ok(());
        }
        if rest.starts_with(b"(?") && rest.get(2).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'+') {
            return Err("a subroutine call is not supported".into());
        }
        self.output.push('(');
        self.at += 1;
        if self.peek(0) == Some(b'?') {
            self.output.push('?');
            self.at += 1;
        }
        Ok(())
    }

    /// An escape; inside a class some mean something else.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(next) = self.peek(1) else { return Err("it ends with a backslash".into()) };
        self.at += 2;
        match next {
            b'd' | b'D' | b'w' | b'W' | b's' | b'S' | b'n' | b'r' | b't' | b'f' => {
                self.output.push('\\');
                self.output.push(char::from(next));
            }
            b'v' => self.output.push_str(if in_class {
                "\\n\\x0b\\x0c\\r\\x85"
            } else {
                "[\\n\\x0b\\x0c\\r\\x85]"
            }),
            b'h' => self.output.push_str(if in_class { "\\t\\x20\\xa0" } else { "[\\t\\x20\\xa0]" }),
            b'H' if !in_class => self.output.push_str("[^\\t\\x20\\xa0]"),
            b'V' if !in_class => self.output.push_str("[^\\n\\x0b\\x0c\\r\\x85]"),
            b'N' if !in_class => self.output.push_str("[^\\n]"),
            b'R' if !in_class => self.output.push_str("(?:\\r\\n|[\\n\\x0b\\x0c\\r\\x85])"),
            b'a' => self.hex(0x07),
            b'e' => self.hex(0x1b),
            b'b' if in_class => self.hex(0x08),
            b'b' | b'B' | b'A' | b'z' if !in_class => {
                self.output.push('\\');
                self.output.push(char::from(next));
            }
            b'Z' if !in_class => self.output.push_str("(?:\\n?\\z)"),
            b'x' => self.hex_escape()?,
            b'c' => {
                let control = self.peek(0).ok_or("`\\c` without a letter")?;
                self.hex(control.to_ascii_uppercase() ^ 0x40);
                self.at += 1;
            }
            b'0' => self.octal(0),
            b'1'..=b'9' if in_class => self.octal(next - b'0'),
            b'1'..=b'9' | b'g' | b'k' => return Err("a back-reference is not supported".into()),
            b'G' | b'K' | b'C' | b'X' => return Err(format!("`\\{}` is not supported", char::from(next))),
            b'p' | b'P' => return Err("a Unicode property is not supported".into()),
            b'Q' => {
                let end = self.rest().windows(2).position(|pair| pair == b"\\E").unwrap_or(self.rest().len());
                for at in self.at..self.at + end {
                    self.hex(self.input[at]);
                }
                self.at = (self.at + end + 2).min(self.input.len());
            }
            b'E' => {}
            other if other.is_ascii_alphanumeric() => {
                return Err(format!("the escape `\\{}` is not supported", char::from(other)));
            }
            other => self.hex(other),
        }
        Ok(())
    }

    fn hex_escape(&mut self) -> Result<(), String> {
        let digits: Vec<u8> = if self.peek(0) == Some(b'{') {
            let end = self.rest().iter().position(|byte| *byte == b'}').ok_or("`\\x{` is not closed")?;
            let digits = self.rest()[1..end].to_vec();
            self.at += end + 1;
            digits
        } else {
            let digits: Vec<u8> =
                self.rest().iter().take(2).take_while(|b| b.is_ascii_hexdigit()).copied().collect();
            self.at += digits.len();
            digits
        };
        let text = String::from_utf8_lossy(&digits);
        let byte = if digits.is_empty() {
            0
        } else {
            u8::from_str_radix(&text, 16).map_err(|_| "`\\x` beyond a byte")?
        };
        self.hex(byte);
        Ok(())
    }

    fn octal(&mut self, first: u8) {
        let mut number = u32::from(first);
        for _ in 0..2 {
            let Some(digit @ b'0'..=b'7') = self.peek(0) else { break };
            number = number * 8 + u32::from(digit - b'0');
            self.at += 1;
        }
        self.hex(u8::try_from(number & 0xff).unwrap_or(0));
    }

    /// A class: `[` inside is a plain character in PCRE, and white space counts even with the flag x.
    fn class(&mut self) -> Result<(), String> {
        self.output.push('[');
        self.at += 1;
        if self.peek(0) == Some(b'^') {
            self.output.push('^');
            self.at += 1;
        }
        if self.peek(0) == Some(b']') {
            self.output.push_str("\\]");
            self.at += 1;
        }
        loop {
            let Some(byte) = self.peek(0) else { return Err("a `[` is not closed".into()) };
            match byte {
                b']' => {
                    self.output.push(']');
                    self.at += 1;
                    return Ok(());
                }
                b'[' if self.peek(1) == Some(b':') => {
                    let end = self.rest().windows(2).position(|pair| pair == b":]");
                    let end = end.ok_or("a `[:` is not closed")?;
                    let name = self.input.get(self.at..self.at + end + 2).unwrap_or_default();
                    self.output.push_str(&String::from_utf8_lossy(name));
                    self.at += end + 2;
                }
                b'\\' => self.escape(true)?,
                b'-' => {
                    // After a class escape, or at an end, it is itself; between two characters it is a range.
                    let after_escape = ["\\d", "\\D", "\\w", "\\W", "\\s", "\\S", ":]"]
                        .iter()
                        .any(|escape| self.output.ends_with(escape));
                    let at_start = self.output.ends_with('[') || self.output.ends_with("[^");
                    let before_class = self.peek(1) == Some(b'\\')
                        && matches!(self.peek(2), Some(b'd' | b'D' | b'w' | b'W' | b's' | b'S'));
                    let literal = after_escape || at_start || before_class || self.peek(1) == Some(b']');
                    self.output.push_str(if literal { "\\-" } else { "-" });
                    self.at += 1;
                }
                b'[' | b'&' | b'~' | b'#' | b' ' | b'^' => {
                    self.hex(byte);
                    self.at += 1;
                }
                other if other.is_ascii_whitespace() || other.is_ascii_control() => {
                    self.hex(other);
                    self.at += 1;
                }
                other => self.literal(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex_automata::{meta, util::syntax};

    fn matches(pattern: &str, text: &[u8]) -> bool {
        let translated = translate(pattern, Flags::default()).unwrap();
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let built = meta::Builder::new()
            .configure(meta::Config::new().utf8_empty(false))
            .syntax(syntax)
            .build(&translated)
            .unwrap_or_else(|e| panic!("{pattern} -> {translated}: {e:?}"));
        built.is_match(text)
    }

    #[test]
    fn what_differs_means_the_same() {
        for (pattern, yes, no) in [
            (r"a\/b", &b"a/b"[..], &b"ab"[..]),
            (r"^x[[a]y$", b"x[y\n", b"x]y"),
            (r"[]a]b", b"]b", b"cb"),
            (r"[\w-.]{2}z", b"-.z", b",.z"),
            (r"a{b", b"a{b", b"ab"),
            (r"a{,3}", b"a{,3}", b"aaa"),
            (r"^a{2,3}$", b"aaa", b"aaaa"),
            (r"\x41\x{42}\103", b"", b""),
            (r"<a>\<b\>", b"<a><b>", b"a b"),
            (r"\Qa.b\E.", b"a.bc", b"axbc"),
            (r"[\x00-\x1f]\xff", b"\x01\xff", b"a\xff"),
            (r"a&&b~~c", b"a&&b~~c", b"ab"),
            (r"[&&a]x", b"&x", b"bx"),
            (r"\s\h\R", b" \t\r\n", b"a"),
            (r"a(?#note)b", b"ab", b"a"),
            (r"foo\Z", b"foo\n", b"foox"),
        ] {
            if pattern.contains("\\103") {
                assert!(
                    translate(pattern, Flags::default()).is_err(),
                    "octal outside a class is a back-reference"
                );
                continue;
            }
            assert!(matches(pattern, yes), "{pattern} should match");
            assert!(!matches(pattern, no), "{pattern} should not match");
        }
    }

    #[test]
    fn what_is_not_linear_is_named() {
        for (pattern, why) in [
            ("a(?=b)", "look-ahead"),
            ("(?<!a)b", "negative look-behind"),
            (r"(a)\1", "back-reference"),
            ("a++", "possessive"),
            ("(?>a)", "atomic"),
            (r"\p{L}", "Unicode"),
            ("[a", "not closed"),
            ("a\\", "backslash"),
        ] {
            let error = translate(pattern, Flags::default()).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
