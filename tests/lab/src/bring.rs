//! What people bring to the demo themselves: a capture, a log, a list, rules.

use std::path::{Path, PathBuf};

/// Own files, each judged by a step of its own.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// A capture to inspect.
    pub pcap: Option<PathBuf>,
    /// An sshd log to judge.
    pub log: Option<PathBuf>,
    /// A list of domains or addresses.
    pub list: Option<PathBuf>,
    /// Suricata rules.
    pub rules: Option<PathBuf>,
}

impl Own {
    /// Config for the list and the log. Of the log, `copy` is followed: it is filled when its step is played.
    #[must_use]
    pub(crate) fn config(&self, copy: &Path) -> String {
        let mut text = String::new();
        if let Some(list) = &self.list {
            let kind = if holds_addresses(list) { "addresses" } else { "domains" };
            text +=
                &format!("[[lists]]\nname = \"yours\"\npath = \"{}\"\nkind = \"{kind}\"\n\n", list.display());
        }
        if self.log.is_some() {
            text +=
                &format!("[[logs]]\nname = \"yours\"\npath = \"{}\"\nfilter = \"sshd\"\n\n", copy.display());
        }
        text
    }
}

/// Whether the first entry of a list is an address.
fn holds_addresses(list: &Path) -> bool {
    let text =
        std::fs::read(list).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let first =
        text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(['#', '!', ';']));
    let mut words = first.unwrap_or_default().split_whitespace();
    let is_address = words
        .next()
        .and_then(|word| word.split('/').next())
        .is_some_and(|word| word.parse::<std::net::IpAddr>().is_ok());
    // A hosts file begins with an address too, and a name follows.
    is_address && words.next().is_none_or(|word| word.parse::<f64>().is_ok() || word.starts_with(['#', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_apart_by_their_first_entry() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("list");
        for (text, addresses) in [
            ("# c\n192.0.2.1\t10\n", true),
            ("192.0.2.0/24 ; SBL1\n", true),
            ("0.0.0.0 ads.example\n", false),
            ("ads.example\n", false),
            ("||ads.example^\n", false),
            ("", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(holds_addresses(&file), addresses, "{text}");
        }
    }
}
