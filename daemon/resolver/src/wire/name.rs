//! Names between their wire form and the text that lists know.

use hickory_proto::rr::Name;

/// Bytes of a name on the wire at most (RFC 1035 §2.3.4).
pub(crate) const MAX_WIRE: usize = 255;

/// A byte of a label as lists know it: lower case; what no list can hold is `?`, so that it matches nothing while the
/// parents of such a name still do.
pub(crate) const fn listed(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => byte,
        b'A'..=b'Z' => byte | 0x20,
        _ => b'?',
    }
}

/// A name as lists know it: lower case, without trailing dot. The root is the empty text.
pub(crate) fn text(name: &Name) -> String {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|&byte| char::from(listed(byte))));
    }
    text
}

/// Appends the wire form of a name given as text. Says whether it is one: otherwise nothing is appended.
pub(crate) fn push(out: &mut Vec<u8>, text: &str) -> bool {
    let start = out.len();
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_empty() {
        for label in text.split('.') {
            let Ok(length @ 1..=63) = u8::try_from(label.len()) else {
                out.truncate(start);
                return false;
            };
            out.push(length);
            out.extend_from_slice(label.as_bytes());
        }
    }
    out.push(0);
    let fits = out.len() - start <= MAX_WIRE;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// Whether `name` is `parent` or below it; both as lists know them.
pub(crate) fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || parent.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_bytes() {
        let wire = |text: &str| {
            let mut out = b"x".to_vec();
            push(&mut out, text).then(|| out.split_off(1))
        };
        assert_eq!(wire("a.bc").as_deref(), Some(&b"\x01a\x02bc\0"[..]));
        assert_eq!(wire("a.bc."), wire("a.bc"));
        assert_eq!(wire("").as_deref(), Some(&b"\0"[..]));
        assert_eq!(wire("a..b"), None);
        assert_eq!(wire(&"a".repeat(64)), None);
        assert_eq!(wire(&["a"; 128].join(".")), None, "257 bytes");
    }

    #[test]
    fn below_means_whole_labels() {
        assert!(is_within("a.example", "example") && is_within("example", "example"));
        assert!(!is_within("notexample", "example") && !is_within("example", "a.example"));
        assert!(is_within("anything", ""), "everything is below the root");
    }
}
