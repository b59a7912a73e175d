//! Lines of a file that somebody else writes: as text, whole, and bounded.

use crate::MAX_LINE;

/// The lines of a file; none in place of one that is too long or no text. What follows the last line end is a line that
/// is just being written, and left out.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let whole = bytes.get(..end).unwrap_or_default();
    whole.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE { None } else { std::str::from_utf8(line).ok() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_short_lines_of_text_are_lines() {
        let long = "x".repeat(MAX_LINE + 1);
        let file = [b"one\r\n\n".as_slice(), b"\xff\xfe\n", long.as_bytes(), b"\nlast\nhal"].concat();
        assert_eq!(lines(&file).collect::<Vec<_>>(), [Some("one"), Some(""), None, None, Some("last")]);
        assert_eq!(lines(b"").count() + lines(b"half").count(), 0);
    }
}
