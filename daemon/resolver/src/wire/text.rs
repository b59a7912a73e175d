//! A short text on the stack: explanations are made for one answer and gone.

use std::fmt;

/// A text of at most `N` bytes; what goes beyond is cut at a character.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Text<N> {
    /// What `arguments` say.
    pub(crate) fn of(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Self { bytes: [0; N], length: 0 };
        // Only a `Display` that fails could fail here, and a half of a text is still one.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        str::from_utf8(self.bytes.get(..self.length).unwrap_or_default()).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = N - self.length;
        let end = if part.len() <= room { part.len() } else { part.floor_char_boundary(room) };
        self.bytes[self.length..self.length + end].copy_from_slice(&part.as_bytes()[..end]);
        self.length += end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_at_a_character() {
        assert_eq!(Text::<8>::of(format_args!("list {}", 12)).as_str(), "list 12");
        assert_eq!(Text::<6>::of(format_args!("list {}{}", 12, 3)).as_str(), "list 1");
        assert_eq!(Text::<4>::of(format_args!("abcé")).as_str(), "abc");
        assert_eq!(Text::<0>::of(format_args!("abc")).as_str(), "");
    }
}
