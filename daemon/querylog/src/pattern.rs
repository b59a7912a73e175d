//! What a person writes to mean names and clients.

use std::net::IpAddr;

use crate::{LogError, Result};

/// Longest pattern, in bytes: longer than any name.
const MAX_PATTERN: usize = 300;

/// A pattern for names and clients.
#[derive(Debug)]
pub(crate) struct Pattern {
    text: String,
    has_star: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(LogError::Asked(format!("a name or client has 1 to {MAX_PATTERN} bytes")));
        }
        let text = text.to_ascii_lowercase();
        let has_star = text.contains('*');
        let text = if text == "." { text } else { text.trim_end_matches('.').to_owned() };
        Ok(Self { text, has_star })
    }

    /// The name itself or one below it; with `*` the whole name fits.
    pub(crate) fn name(&self, name: &str) -> bool {
        if self.has_star {
            return fits(self.text.as_bytes(), name.as_bytes());
        }
        name.strip_suffix(self.text.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// The client's name or address; with `*` one of them fits.
    pub(crate) fn client(&self, name: &str, address: Option<IpAddr>) -> bool {
        let name = name.to_ascii_lowercase();
        if self.has_star {
            let address =
                address.is_some_and(|address| fits(self.text.as_bytes(), address.to_string().as_bytes()));
            return address || !name.is_empty() && fits(self.text.as_bytes(), name.as_bytes());
        }
        name == self.text || address.is_some() && address == self.text.parse().ok()
    }
}

/// Whether `text` fits a pattern in which `*` stands for anything. Tries again from the last `*` only: at most
/// pattern × text steps.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_what_is_below_them() {
        for (pattern, name, expected) in [
            ("example.com", "example.com", true),
            ("Example.com.", "www.example.com", true),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil", false),
            ("*ads*", "x.ads.example", true),
            ("*ads*", "x.example", false),
            ("*.example", "a.b.example", true),
            ("*.example", "example", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*", "", true),
            (".", ".", true),
            (".", "a.", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().name(name), expected, "{pattern} {name}");
        }
        assert!(Pattern::new("").is_err() && Pattern::new(&"a".repeat(301)).is_err());
    }

    #[test]
    fn clients_by_name_and_address() {
        let address = Some(IpAddr::from([10, 4, 0, 9]));
        for (pattern, expected) in [
            ("Tablet", true),
            ("10.4.0.9", true),
            ("10.4.0.*", true),
            ("tab*", true),
            ("10.4.0.1", false),
            ("able", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().client("tablet", address), expected, "{pattern}");
        }
        assert!(Pattern::new("2001:DB8:0::1").unwrap().client("", Some("2001:db8::1".parse().unwrap())));
        assert!(!Pattern::new("*").unwrap().client("", None));
    }
}
