//! Domain names as lists and questions use them.

use serde::{Deserialize, Serialize};

/// A DNS name: lower case, no trailing dot, labels of 1–63 bytes, 253 bytes in all (RFC 1035 §2.3.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Why a text is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing left of it.
    #[error("a domain name needs at least one label")]
    Empty,
    /// Over 253 bytes.
    #[error("longer than 253 bytes")]
    TooLong,
    /// A label is empty or over 63 bytes.
    #[error("a label must have 1 to 63 bytes")]
    Label,
    /// A byte that no host or service name holds.
    #[error("only letters, digits, '-', '_' and '.' (write other scripts as xn--…)")]
    Character,
}

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name and its parents, longest first, the root left out.
    pub fn suffixes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(&*self.0), |name| name.split_once('.').map(|(_, parent)| parent))
    }

    /// Whether the name is `parent` or below it.
    #[must_use]
    pub fn is_within(&self, parent: &str) -> bool {
        self.0.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > 253 {
            return Err(NameError::TooLong);
        }
        if text.split('.').any(|label| label.is_empty() || label.len() > 63) {
            return Err(NameError::Label);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(NameError::Character);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_lowered() {
        let parse = str::parse::<Name>;
        assert_eq!(parse("Ads.Example.COM.").map(String::from), Ok("ads.example.com".into()));
        assert_eq!(parse("."), Err(NameError::Empty));
        assert_eq!(parse("a..b"), Err(NameError::Label));
        assert_eq!(parse(&"a".repeat(64)), Err(NameError::Label));
        assert_eq!(parse(&["a".repeat(62).as_str(); 5].join(".")), Err(NameError::TooLong));
        assert_eq!(parse("bücher.de"), Err(NameError::Character));
    }

    #[test]
    fn suffixes_and_within() {
        let name: Name = "a.b.example".parse().unwrap();
        assert_eq!(name.suffixes().collect::<Vec<_>>(), ["a.b.example", "b.example", "example"]);
        assert!(name.is_within("b.example") && name.is_within("a.b.example"));
        assert!(!name.is_within("xample") && !name.is_within("c.example"));
    }
}
