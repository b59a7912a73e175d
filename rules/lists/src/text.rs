//! A list file as lines: what is no list at all is found first, lines are bounded.

use crate::{
    ListError,
    limits::{MAX_FILE_BYTES, MAX_LINE_BYTES},
};

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// Its bytes without line end and surrounding blanks; the first [`MAX_LINE_BYTES`] of a longer one.
    pub(crate) text: &'a [u8],
    /// It is longer than [`MAX_LINE_BYTES`].
    pub(crate) too_long: bool,
    /// It begins with a blank.
    pub(crate) indented: bool,
}

/// Refuses what is no text within the limits, and gives the bytes after a byte order mark.
pub(crate) fn check(bytes: &[u8]) -> Result<&[u8], ListError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ListError::TooBig { bytes: bytes.len(), limit: MAX_FILE_BYTES });
    }
    for (magic, name) in [
        (&b"\x1f\x8b"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ", "xz"),
        (b"PK\x03\x04", "zip"),
    ] {
        if bytes.starts_with(magic) {
            return Err(ListError::Compressed(name));
        }
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(ListError::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        // ASCII text in UTF-16 without a byte order mark: every other byte is NUL.
        let around = &bytes[at..bytes.len().min(at + 16)];
        if around.len() >= 4 && around.iter().step_by(2).all(|&byte| byte == 0) && around[1] != 0 {
            return Err(ListError::Utf16);
        }
        let line = bytes[..at].iter().filter(|&&byte| byte == b'\n').count() + 1;
        return Err(ListError::Binary { line: u32::try_from(line).unwrap_or(u32::MAX) });
    }
    Ok(bytes)
}

/// Refuses web pages.
pub(crate) fn refuse_pages(bytes: &[u8]) -> Result<(), ListError> {
    match bytes.trim_ascii_start() {
        [b'<', ..] => Err(ListError::Html),
        _ => Ok(()),
    }
}

/// Refuses what is no text of lines: web pages and JSON.
pub(crate) fn refuse_documents(bytes: &[u8]) -> Result<(), ListError> {
    refuse_pages(bytes)?;
    match bytes.trim_ascii_start() {
        [b'{', ..] => Err(ListError::Json),
        [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [b'{' | b'"' | b']', ..]) => {
            Err(ListError::Json)
        }
        _ => Ok(()),
    }
}

/// The lines of a checked file.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let count = if bytes.is_empty() || bytes.ends_with(b"\n") { 0 } else { 1 }
        + bytes.iter().filter(|&&byte| byte == b'\n').count();
    bytes.split(|&byte| byte == b'\n').take(count).zip(1..).map(|(line, number)| {
        let too_long = line.len() > MAX_LINE_BYTES;
        let indented = matches!(line, [b' ' | b'\t', ..]);
        Line { number, text: line[..line.len().min(MAX_LINE_BYTES)].trim_ascii(), too_long, indented }
    })
}

/// Whether a line says nothing: blank, a comment, or the header of an adblock file.
pub(crate) fn is_comment(text: &[u8]) -> bool {
    matches!(text, [] | [b'#' | b'!' | b';', ..] | [b'/', b'/', ..] | [b'[', .., b']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_bounded() {
        let long = "x".repeat(1_000_000);
        let text = format!("a\r\n\n  b \n{long}\nc");
        let lines: Vec<_> = lines(text.as_bytes()).collect();
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(
            [lines[0].text, lines[1].text, lines[2].text, lines[4].text],
            [&b"a"[..], b"", b"b", b"c"]
        );
        assert!(lines[3].too_long && lines[3].text.len() == MAX_LINE_BYTES);
        assert_eq!(super::lines(b"a\nb\n").count(), 2);
        assert_eq!(super::lines(b"").count(), 0);
    }

    #[test]
    fn what_is_no_list_is_named() {
        assert_eq!(check(b"\xff\xfea\0b\0"), Err(ListError::Utf16));
        assert_eq!(check(b"a\0d\0s\0.\0e\0x\0a\0m\0p\0l\0e\0"), Err(ListError::Utf16));
        assert_eq!(check(b"ads.example\n\x7fELF\0\0\0\0\0\0"), Err(ListError::Binary { line: 2 }));
        assert_eq!(refuse_documents(b"\n <!DOCTYPE html>"), Err(ListError::Html));
        assert_eq!(refuse_documents(b"[{\"a\":1}]"), Err(ListError::Json));
        assert_eq!(refuse_documents(b"[Adblock Plus 2.0]\n||a.example^"), Ok(()));
        assert_eq!(check(b"\x1f\x8b\x08"), Err(ListError::Compressed("gzip")));
        assert_eq!(check(b"\xef\xbb\xbfads.example"), Ok(&b"ads.example"[..]));
        assert_eq!(check(b"[Adblock Plus 2.0]\n||a.example^"), Ok(&b"[Adblock Plus 2.0]\n||a.example^"[..]));
        assert!(matches!(check(&vec![b'a'; MAX_FILE_BYTES + 1]), Err(ListError::TooBig { .. })));
    }
}
