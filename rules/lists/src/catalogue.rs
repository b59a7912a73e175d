//! The built-in catalogue: well-known lists, rule sets and GeoIP databases, with what one has to know before using one.
//! The data stand in `catalogue.toml`.

use model::Direction;
use serde::Deserialize;
use std::time::Duration;

use crate::Format;

/// A well-known source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, as `catalogue = "NAME"` has it.
    pub name: String,
    /// What it holds.
    pub kind: CatalogueKind,
    /// Where it is fetched from.
    pub url: String,
    /// Page of its publisher, with the terms.
    pub home: String,
    /// How its entries are written.
    #[serde(deserialize_with = "parsed")]
    pub format: Format,
    /// Its licence: an SPDX name, or in words.
    pub licence: String,
    /// About how many entries it has.
    pub entries: u64,
    /// What it is for.
    pub purpose: String,
    /// How often it is worth a look.
    #[serde(deserialize_with = "duration")]
    pub refresh: Duration,
    /// Which way it should hold; of an address list only.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// Least score to start with; of a list with scores only.
    #[serde(default)]
    pub min_score: Option<u32>,
    /// It belongs to a sensible start.
    #[serde(default)]
    pub suggested: bool,
}

/// What a source of the catalogue holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CatalogueKind {
    /// Addresses for the packet path.
    Addresses,
    /// Names for the resolver.
    Domains,
    /// Suricata rules.
    Rules,
    /// A GeoIP database.
    GeoIp,
}

impl std::fmt::Display for CatalogueKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Addresses => "addresses",
            Self::Domains => "domains",
            Self::Rules => "rules",
            Self::GeoIp => "geoip",
        })
    }
}

/// All of it, in the order of the file. It is read anew each time: ask once.
#[must_use]
pub fn entries() -> Vec<Entry> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        entry: Vec<Entry>,
    }
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    let file: File =
        toml::from_str(include_str!("../catalogue.toml")).expect("the built-in catalogue is TOML");
    file.entry
}

/// The source of this name.
#[must_use]
pub fn find(name: &str) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.name == name)
}

/// All names, in the order of the file.
#[must_use]
pub fn names() -> Vec<String> {
    entries().into_iter().map(|entry| entry.name).collect()
}

fn parsed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    model::parse_duration(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_entry_is_whole() {
        let entries = entries();
        let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names.len(), entries.len(), "names are unique");
        for entry in &entries {
            let Entry {
                name, kind, url, home, format, licence, purpose, refresh, direction, min_score, ..
            } = entry;
            assert!(
                name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
            assert!(url.starts_with("https://") && home.starts_with("https://"), "{name}");
            assert!(
                url.len() > 12 && !url.contains(['?', '#', '@', ' ']) || url.contains("@latest"),
                "{name}: {url}"
            );
            assert!(!licence.is_empty() && purpose.ends_with(['.', ')']) && entry.entries > 0, "{name}");
            let hours = refresh.as_secs() / 3600;
            assert!((1..=30 * 24).contains(&hours), "{name}: {refresh:?}");
            assert_eq!(direction.is_some(), *kind == CatalogueKind::Addresses, "{name}: a direction");
            assert_eq!(min_score.is_some(), format.has_score(), "{name}: a score to start with");
            let limit = match kind {
                CatalogueKind::Addresses => crate::limits::MAX_ADDRESSES,
                CatalogueKind::Domains => crate::limits::MAX_DOMAINS / 2,
                CatalogueKind::Rules | CatalogueKind::GeoIp => {
                    assert_eq!(*format, Format::Auto, "{name}");
                    1_000_000
                }
            };
            assert!(entry.entries <= limit as u64, "{name} fits with room to grow");
        }
        for kind in
            [CatalogueKind::Addresses, CatalogueKind::Domains, CatalogueKind::Rules, CatalogueKind::GeoIp]
        {
            assert!(entries.iter().any(|entry| entry.kind == kind && entry.suggested), "a start for {kind}");
        }
        assert!(entries.iter().filter(|entry| entry.suggested).count() < entries.len() / 2);
    }

    #[test]
    fn sources_are_found_by_name() {
        let drop = find("spamhaus-drop-v4").unwrap();
        assert_eq!((drop.format.to_string().as_str(), drop.direction), ("json:cidr", Some(Direction::Both)));
        assert_eq!(find("spamhaus"), None);
        assert!(names().contains(&"etopen".to_owned()));
    }
}
