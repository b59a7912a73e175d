//! Labels as a push carries them: `{job="secd", host="router"}`, values quoted as in Go.

use std::collections::BTreeMap;

/// Why a text is no label set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not of the form `{name="value", …}`.
    #[error("labels are not of the form {{name=\"value\"}} at byte {0}")]
    Syntax(usize),
    /// The same name twice.
    #[error("the label `{0}` stands twice")]
    Twice(String),
}

/// Reads a label set.
///
/// # Errors
/// Where it is against the syntax.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, LabelError> {
    let mut parser = Parser { text: text.as_bytes(), at: 0 };
    let mut labels = BTreeMap::new();
    parser.expect(b'{')?;
    loop {
        parser.spaces();
        if parser.peek() == Some(b'}') {
            break;
        }
        let name = parser.name()?;
        parser.spaces();
        parser.expect(b'=')?;
        parser.spaces();
        let value = parser.quoted()?;
        if labels.insert(name.clone(), value).is_some() {
            return Err(LabelError::Twice(name));
        }
        parser.spaces();
        match parser.peek() {
            Some(b',') => parser.at += 1,
            Some(b'}') => break,
            _ => return Err(parser.wrong()),
        }
    }
    parser.at += 1;
    if parser.at == text.len() { Ok(labels) } else { Err(parser.wrong()) }
}

/// Whether a text can be the name of a label or of structured metadata.
pub(crate) fn is_name(text: &str) -> bool {
    text.bytes().enumerate().all(|(place, byte)| {
        byte.is_ascii_alphabetic() || byte == b'_' || (place > 0 && byte.is_ascii_digit())
    }) && !text.is_empty()
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self) -> LabelError {
        LabelError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), LabelError> {
        if self.peek() != Some(byte) {
            return Err(self.wrong());
        }
        self.at += 1;
        Ok(())
    }

    fn name(&mut self) -> Result<String, LabelError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let name = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        if is_name(&name) { Ok(name) } else { Err(LabelError::Syntax(start)) }
    }

    fn quoted(&mut self) -> Result<String, LabelError> {
        self.expect(b'"')?;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    value.push(match self.peek() {
                        Some(b'n') => b'\n',
                        Some(b't') => b'\t',
                        Some(b'r') => b'\r',
                        Some(byte @ (b'"' | b'\\')) => byte,
                        _ => return Err(self.wrong()),
                    });
                }
                Some(byte) if byte >= 0x20 => value.push(byte),
                _ => return Err(self.wrong()),
            }
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(value).map_err(|_| self.wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_sets() {
        let set = parse(r#"{job="secd", host="a\"b\\c",zone="ü"}"#).unwrap();
        assert_eq!(set["host"], "a\"b\\c");
        assert_eq!(set["zone"], "ü");
        assert_eq!(set.len(), 3);
        assert_eq!(parse("{}").unwrap().len(), 0);
        for wrong in [
            "",
            "{",
            "job=\"a\"",
            "{job}",
            "{job=a}",
            "{1a=\"b\"}",
            "{a=\"b\" c=\"d\"}",
            "{a=\"b\"}x",
            "{a=\"\\q\"}",
        ] {
            assert!(matches!(parse(wrong), Err(LabelError::Syntax(_))), "{wrong}");
        }
        assert_eq!(parse(r#"{a="1",a="2"}"#), Err(LabelError::Twice("a".into())));
    }
}
