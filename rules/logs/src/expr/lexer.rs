//! Text of an expression to tokens.

use super::Mistake;

/// One token. Words that are operators are [`Token::Symbol`]s.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name,
    Int(i64),
    Float(f64),
    Text(String),
    Symbol(&'static str),
    End,
}

/// A token and where it stands, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Longest first, so that `==` is not `=` twice.
const SYMBOLS: [&str; 33] = [
    "==", "!=", "<=", ">=", "&&", "||", "**", "??", "?.", "..", "::", "=", "!", "<", ">", "+", "-", "*", "/",
    "%", "^", "?", ":", ".", ",", ";", "|", "#", "(", ")", "[", "]", "{",
];
const WORDS: [&str; 11] =
    ["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

/// The tokens of an expression, with [`Token::End`] at the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Mistake> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank()?;
        let start = lexer.at;
        let token = lexer.token()?;
        let done = token == Token::End;
        tokens.push(Placed { token, start, end: lexer.at });
        if done {
            return Ok(tokens);
        }
    }
}

/// Whether a character may stand in a name.
fn in_name(character: char) -> bool {
    character == '_' || character == '$' || character.is_alphabetic() || character.is_numeric()
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            self.next();
        }
    }

    fn skip_blank(&mut self) -> Result<(), Mistake> {
        loop {
            self.skip_while(char::is_whitespace);
            if self.rest().starts_with("//") {
                self.skip_while(|character| character != '\n');
            } else if self.rest().starts_with("/*") {
                let start = self.at;
                match self.rest().find("*/") {
                    Some(length) => self.at += length + 2,
                    None => return Err(Mistake::new(start, "a comment without end", "close it with `*/`")),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn token(&mut self) -> Result<Token, Mistake> {
        let Some(first) = self.peek() else { return Ok(Token::End) };
        let second = self.rest().chars().nth(1);
        if first.is_ascii_digit() || (first == '.' && second.is_some_and(|next| next.is_ascii_digit())) {
            return self.number();
        }
        if matches!(first, '"' | '\'') {
            return self.text(first);
        }
        if first == '`' {
            return self.raw_text();
        }
        if in_name(first) {
            let start = self.at;
            self.skip_while(in_name);
            let name = &self.text[start..self.at];
            return Ok(WORDS
                .iter()
                .find(|word| **word == name)
                .map_or(Token::Name, |word| Token::Symbol(word)));
        }
        let rest = self.rest();
        if let Some(symbol) = SYMBOLS.iter().chain(&["}"]).find(|symbol| rest.starts_with(**symbol)) {
            self.at += symbol.len();
            return Ok(Token::Symbol(symbol));
        }
        let help = match first {
            '&' => "write `&&` or `and`",
            '“' | '”' | '‘' | '’' => "write straight quotes: \" or '",
            _ => "remove it, or put it into quotes",
        };
        Err(Mistake::new(self.at, format!("`{first}` means nothing here"), help))
    }

    fn number(&mut self) -> Result<Token, Mistake> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let radix = match (bytes.get(start), bytes.get(start + 1)) {
            (Some(b'0'), Some(b'x' | b'X')) => 16,
            (Some(b'0'), Some(b'o' | b'O')) => 8,
            (Some(b'0'), Some(b'b' | b'B')) => 2,
            _ => 10,
        };
        let is_digit = |character: char| character == '_' || character.is_digit(radix);
        if radix != 10 {
            self.at += 2;
            self.skip_while(is_digit);
        } else {
            self.skip_while(is_digit);
            let mut float = false;
            // `1..3` is a range, not `1.` and a field.
            if self.peek() == Some('.') && !self.rest().starts_with("..") {
                float = true;
                self.next();
                self.skip_while(is_digit);
            }
            if matches!(self.peek(), Some('e' | 'E')) {
                float = true;
                self.next();
                if matches!(self.peek(), Some('+' | '-')) {
                    self.next();
                }
                self.skip_while(is_digit);
            }
            if float && !self.peek().is_some_and(in_name) {
                let number = self.text[start..self.at].replace('_', "");
                return match number.parse::<f64>() {
                    Ok(number) if number.is_finite() => Ok(Token::Float(number)),
                    _ => Err(Mistake::new(
                        start,
                        format!("`{number}` is no number"),
                        "write it like `1.5` or `1e3`",
                    )),
                };
            }
        }
        if self.peek().is_some_and(in_name) {
            self.skip_while(in_name);
            let word = &self.text[start..self.at];
            let help =
                "a name begins with a letter or `_`; a number holds digits only; a text stands in quotes";
            return Err(Mistake::new(start, format!("`{word}` is neither a number nor a name"), help));
        }
        let skip = if radix == 10 { 0 } else { 2 };
        let digits = self.text[start + skip..self.at].replace('_', "");
        i64::from_str_radix(&digits, radix).map(Token::Int).map_err(|_| {
            let word = &self.text[start..self.at];
            let help = "whole numbers reach from -9223372036854775807 to 9223372036854775807";
            Mistake::new(start, format!("`{word}` is no number that can be counted with"), help)
        })
    }

    fn raw_text(&mut self) -> Result<Token, Mistake> {
        let start = self.at;
        self.next();
        let Some(length) = self.rest().find('`') else {
            return Err(Mistake::new(start, "a text without end", "close it with a backtick"));
        };
        let text = self.rest()[..length].to_owned();
        self.at += length + 1;
        Ok(Token::Text(text))
    }

    fn text(&mut self, quote: char) -> Result<Token, Mistake> {
        let start = self.at;
        self.next();
        let mut text = String::new();
        loop {
            let at = self.at;
            match self.next() {
                Some('\\') => text.push(self.escaped(at)?),
                Some(character) if character == quote => return Ok(Token::Text(text)),
                None | Some('\n') => {
                    let help = format!(
                        "close it with {quote} on the same line; a text of many lines stands in backticks"
                    );
                    return Err(Mistake::new(start, "a text without end", help));
                }
                Some(character) => text.push(character),
            }
        }
    }

    /// The character that stands behind a backslash.
    fn escaped(&mut self, at: usize) -> Result<char, Mistake> {
        let wrong = |what: String| {
            let help = "in quotes write `\\\\` for a backslash, or put the text into backticks, where nothing is escaped";
            Mistake::new(at, what, help)
        };
        let (digits, radix) = match self.next() {
            Some('a') => return Ok('\u{7}'),
            Some('b') => return Ok('\u{8}'),
            Some('f') => return Ok('\u{c}'),
            Some('n') => return Ok('\n'),
            Some('r') => return Ok('\r'),
            Some('t') => return Ok('\t'),
            Some('v') => return Ok('\u{b}'),
            Some(same @ ('\\' | '\'' | '"' | '`' | '?')) => return Ok(same),
            Some('x' | 'X') => (2, 16),
            Some('u') if self.peek() == Some('{') => {
                let length = self.rest().find('}').filter(|length| (2..=9).contains(length));
                let Some(length) = length else { return Err(wrong("`\\u{` without end".into())) };
                let digits = self.rest()[1..length].to_owned();
                self.at += length + 1;
                let character = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                return character.ok_or_else(|| wrong(format!("`\\u{{{digits}}}` is no character")));
            }
            Some('u') => (4, 16),
            Some('U') => (8, 16),
            Some('0'..='7') => {
                self.at -= 1;
                (3, 8)
            }
            Some(other) => return Err(wrong(format!("`\\{other}` is no escape"))),
            None => return Err(wrong("a text without end".into())),
        };
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|character| character.to_digit(radix));
            let Some(digit) = digit else {
                return Err(wrong(format!("an escape that wants {digits} digits has fewer")));
            };
            code = code * radix + digit;
        }
        char::from_u32(code).ok_or_else(|| wrong(format!("an escape names {code:#x}, which is no character")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|placed| placed.token).collect()
    }

    #[test]
    fn numbers_ranges_and_names() {
        let (int, symbol) = (Token::Int, Token::Symbol);
        assert_eq!(kinds("1..3"), [int(1), symbol(".."), int(3), Token::End]);
        assert_eq!(kinds("0x2A 0o52 0b101010 4_2"), [int(42), int(42), int(42), int(42), Token::End]);
        assert_eq!(
            kinds(".5 1e3 1.5"),
            [Token::Float(0.5), Token::Float(1000.0), Token::Float(1.5), Token::End]
        );
        assert_eq!(
            kinds("a.b // c\n/* d */in"),
            [Token::Name, symbol("."), Token::Name, symbol("in"), Token::End]
        );
        for wrong in [
            "1a",
            "0x",
            "99999999999999999999",
            "1e",
            "'a",
            "\"a\nb\"",
            "`",
            "/* ",
            "a & b",
            "'\\q'",
            "'\\x1'",
        ] {
            assert!(tokens(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn texts() {
        let one = |text: &str| kinds(text)[0].clone();
        assert_eq!(one(r#""a\"\\\n\x41\u00e9\u{1F600}\101'""#), Token::Text("a\"\\\nAé😀A'".into()));
        assert_eq!(one(r"'it\'s'"), Token::Text("it's".into()));
        assert_eq!(one(r"`a\n`"), Token::Text(r"a\n".into()));
    }
}
