//! Names for groups, clients and lists, made of what people called them: letters, digits, `-`; each only once.

use std::collections::{BTreeMap, BTreeSet};

use crate::limits::{MAX_COMMENT, MAX_NAME};

/// Names that were given so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: BTreeSet<String>,
    /// The number that is tried next behind a name that was given.
    next: BTreeMap<String, u32>,
}

impl Names {
    /// A name like `wish` that nothing has yet.
    pub(crate) fn give(&mut self, wish: &str, otherwise: &str) -> String {
        let mut wish = plain(wish);
        if wish.is_empty() {
            wish = plain(otherwise);
        }
        if wish.is_empty() {
            wish = "imported".to_owned();
        }
        let mut name = wish.clone();
        while !self.given.insert(name.clone()) {
            let number = self.next.entry(wish.clone()).or_insert(1);
            *number += 1;
            let behind = format!("-{number}");
            // Plain names are ASCII.
            name = format!("{}{behind}", &wish[..wish.len().min(MAX_NAME - behind.len())]);
        }
        name
    }
}

/// `text` in lower case, with everything but letters, digits and `_` as one `-`.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || (c == '_' && !plain.is_empty()) {
            plain.push(c.to_ascii_lowercase());
        } else if c != '\'' && !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
        if plain.len() >= MAX_NAME {
            break;
        }
    }
    plain.trim_end_matches('-').to_owned()
}

/// A comment on one line, as long as comments may be.
pub(crate) fn comment(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|&c| !acts(c)).take(MAX_COMMENT).collect()
}

/// Whether a terminal might act on `c` instead of showing it: control characters, and those that turn the direction of
/// text. What is imported is printed as config text.
pub(crate) fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A URL without the user and password that may stand in it: reports end up in logs and screenshots.
pub(crate) fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            match rest[..host_ends].rfind('@') {
                Some(at) => format!("{scheme}://…{}", &rest[at..]),
                None => url.to_owned(),
            }
        }
        None => url.to_owned(),
    }
}

/// What a list at `url` is called where nobody called it anything: the site or the owner, and the file.
pub(crate) fn of_url(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let mut parts = rest.split('/').filter(|part| !part.is_empty());
    let host = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    let labels: Vec<&str> = host.split('.').collect();
    let site = labels.len().checked_sub(2).and_then(|place| labels.get(place)).copied().unwrap_or(host);
    let forge = ["github", "gitlab", "jsdelivr", "githubusercontent", "codeberg"]
        .iter()
        .any(|forge| host.contains(forge));
    let owner = match (forge, host.split_once(".github.io"), parts.as_slice()) {
        (_, Some((owner, _)), _) => owner,
        (true, None, ["gh", owner, _, ..]) | (true, None, [owner, _, ..]) => owner,
        _ => site,
    };
    let stem = |file: &str| file.split('.').next().unwrap_or_default().to_owned();
    let file = parts.last().map(|file| stem(file)).unwrap_or_default();
    if plain(&file) == plain(owner) { owner.to_owned() } else { format!("{owner}-{file}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_given_once() {
        let mut names = Names::default();
        assert_eq!(names.give("Kid's tablet (blue)", ""), "kids-tablet-blue");
        assert_eq!(names.give("kids tablet blue", ""), "kids-tablet-blue-2");
        assert_eq!(names.give("", "10.4.0.9"), "10-4-0-9");
        assert_eq!(names.give("日本", "::"), "imported");
        assert_eq!(names.give(&"a".repeat(100), "").len(), MAX_NAME);
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(shown("https://me:s@cret@lists.example/x?y=@"), "https://…@lists.example/x?y=@");
        assert_eq!(shown("https://lists.example/a@b"), "https://lists.example/a@b");
    }

    #[test]
    fn lists_are_named_after_their_owner_and_file() {
        for (url, name) in [
            ("https://raw.githubusercontent.com/Owner/hosts/master/hosts", "owner-hosts"),
            ("https://cdn.jsdelivr.net/gh/owner/lists@latest/adblock/pro.txt", "owner-pro"),
            ("https://owner.github.io/Filters/filter.txt", "owner-filter"),
            ("https://lists.example.net/hosts/ads.txt?x=1", "example-ads"),
            ("http://ads.example/", "ads-"),
            ("nonsense", "nonsense-"),
        ] {
            assert_eq!(of_url(url).to_ascii_lowercase(), name, "{url}");
        }
    }
}
