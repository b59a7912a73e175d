//! What a device calls itself, cut to a host name.

use std::{fmt, str::FromStr};

/// Bytes of a label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// One label of letters, digits and hyphens in lower case (RFC 952, RFC 1123 §2.1), not of digits alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

impl HostName {
    /// The name that a device means. Of a name with dots the first label is taken: which domain a device is in is not for
    /// it to say. Blanks and underscores become hyphens, apostrophes go ("Ann's_phone" -> "anns-phone"). What then is no
    /// host name is none: names beyond ASCII are not guessed at, and `*` is how dnsmasq writes that there is none.
    #[must_use]
    pub fn claimed(text: &str) -> Option<Self> {
        let label = text.split('.').next()?;
        if label.len() > 4 * MAX_LABEL {
            return None;
        }
        let letters = label.chars().filter(|c| !matches!(c, '\'' | '’'));
        let cut: String =
            letters.map(|c| if matches!(c, ' ' | '_') { '-' } else { c.to_ascii_lowercase() }).collect();
        cut.trim_matches('-').parse().ok()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it may stand alone, without a domain. Names of top-level domains may not: a device called `com` must not
    /// answer for `com`.
    #[must_use]
    pub fn stands_alone(&self) -> bool {
        !psl::suffix(self.0.as_bytes()).is_some_and(|suffix| suffix.is_known())
            && !matches!(
                &*self.0,
                "arpa" | "root" | "local" | "internal" | "onion" | "test" | "invalid" | "example" | "alt"
            )
    }
}

impl FromStr for HostName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let valid = (1..=MAX_LABEL).contains(&text.len())
            && text.bytes().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-')
            // A-labels are written by nobody's hand, and can look like anything on a screen.
            && !text.starts_with("xn--")
            && !text.bytes().all(|c| c.is_ascii_digit());
        if valid { Ok(Self(text.into())) } else { Err(()) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn claims_become_host_names_or_nothing() {
        for (claimed, name) in [
            ("nas", "nas"),
            ("Kids-Tablet", "kids-tablet"),
            ("Ann's iPhone", "anns-iphone"),
            ("living_room_tv", "living-room-tv"),
            ("laptop.home.arpa.", "laptop"),
            ("nas.evil.example", "nas"),
            ("_printer_", "printer"),
            ("3com", "3com"),
        ] {
            assert_eq!(HostName::claimed(claimed).unwrap().as_str(), name);
        }
        for nothing in [
            "",
            "*",
            ".",
            ".nas",
            "-",
            "10",
            "10.4.0.9",
            "bücher",
            "xn--bcher-kva",
            "a/b",
            "a,b",
            "a\0b",
            "nas\n",
            "\u{202e}san",
            "<script>",
            "a=b",
            &"x".repeat(64),
        ] {
            assert_eq!(HostName::claimed(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_top_level_domain_does_not_stand_alone() {
        let name = |text: &str| text.parse::<HostName>().unwrap().stands_alone();
        assert!(name("nas") && name("printer-2"));
        assert!(!name("com") && !name("arpa") && !name("tv") && !name("local"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_claimed_a_name_is_one_label(text in ".{0,80}") {
            if let Some(name) = HostName::claimed(&text) {
                prop_assert!(name.as_str().parse::<HostName>().is_ok());
                prop_assert!(name.as_str().parse::<model::Name>().is_ok());
                prop_assert!(!name.as_str().contains('.'));
            }
        }
    }
}
