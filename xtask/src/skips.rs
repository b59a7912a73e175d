//! Tests that skipped, and whether they may: `tests/expected-skips` says under which condition each is right.

use crate::machine::{self, CROWDSEC_CLIENTS, PIHOLE_CLIENTS};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// A test that did not run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    /// Its name.
    pub(crate) test: String,
    /// Why, in its own words.
    pub(crate) reason: String,
}

impl Skip {
    /// Reads `SKIP: <test>: <reason>`, wherever in a line it stands.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once("SKIP: ")?;
        let (test, reason) = rest.split_once(": ")?;
        Some(Self { test: test.trim().to_owned(), reason: reason.trim().to_owned() })
    }
}

/// When an expected skip is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// The tests do not run as root.
    NotRoot,
    /// The data of others is not there.
    NoCorpora,
    /// The kernel has no BTF, or the BPF file system is not mounted.
    NoBpf,
    /// There is no GeoIP database to test with.
    NoGeoip,
    /// There are no clients of Pi-hole's API to test with.
    NoPiholeClients,
    /// There are no clients of CrowdSec's API to test with.
    NoCrowdsecClients,
    /// Those of them that npm brings are not there.
    NoNodeClients,
    /// On every machine.
    Always,
}

impl Condition {
    fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "not-root" => Self::NotRoot,
            "no-corpora" => Self::NoCorpora,
            "no-bpf" => Self::NoBpf,
            "no-geoip" => Self::NoGeoip,
            "no-pihole-clients" => Self::NoPiholeClients,
            "no-crowdsec-clients" => Self::NoCrowdsecClients,
            "no-node-clients" => Self::NoNodeClients,
            "always" => Self::Always,
            other => {
                bail!(
                    "unknown condition {other}; write not-root, no-corpora, no-bpf, no-geoip, no-pihole-clients, no-crowdsec-clients, no-node-clients or always"
                )
            }
        })
    }

    fn holds(self, root: &Path) -> bool {
        match self {
            Self::NotRoot => !machine::is_root(),
            Self::NoCorpora => machine::corpora(root).is_none(),
            Self::NoBpf => !machine::has_btf() || !machine::has_bpffs(),
            Self::NoGeoip => !machine::geoip().is_file(),
            Self::NoPiholeClients => !PIHOLE_CLIENTS.are_there(root),
            Self::NoCrowdsecClients => !CROWDSEC_CLIENTS.are_there(root),
            Self::NoNodeClients => !CROWDSEC_CLIENTS.has_node(),
            Self::Always => true,
        }
    }
}

/// Skips that are right on this machine, as patterns of test names.
pub(crate) struct Expected(Vec<String>);

impl Expected {
    /// Reads `tests/expected-skips` and keeps what applies to this machine.
    pub(crate) fn on_this_machine(root: &Path) -> Result<Self> {
        let path = root.join("tests/expected-skips");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let entries = parse(&text).with_context(|| format!("in {}", path.display()))?;
        Ok(Self(
            entries
                .into_iter()
                .filter(|(condition, _)| condition.holds(root))
                .map(|(_, pattern)| pattern)
                .collect(),
        ))
    }

    /// Whether this skip is named.
    pub(crate) fn names(&self, skip: &Skip) -> bool {
        self.0.iter().any(|pattern| matches(pattern, &skip.test))
    }
}

fn parse(text: &str) -> Result<Vec<(Condition, String)>> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.split('#').next().unwrap_or_default().trim()))
        .filter(|(_, line)| !line.is_empty())
        .map(|(number, line)| {
            let (condition, pattern) = line
                .split_once(char::is_whitespace)
                .with_context(|| format!("line {number}: write CONDITION TEST"))?;
            Ok((
                Condition::parse(condition).with_context(|| format!("line {number}"))?,
                pattern.trim().to_owned(),
            ))
        })
        .collect()
}

/// `pattern` may end in `*`.
fn matches(pattern: &str, test: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == test, |start| test.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_found_in_lines() {
        let skip = Skip::parse("test x ... SKIP: kernel::loads: not root: run as root").unwrap();
        assert_eq!((skip.test.as_str(), skip.reason.as_str()), ("kernel::loads", "not root: run as root"));
        assert_eq!(Skip::parse("nothing was skipped"), None);
    }

    #[test]
    fn only_named_tests_may_skip() {
        let entries = parse("# why\nalways lab::ipv6_*  # no route\nnot-root *\n").unwrap();
        assert_eq!(
            entries,
            [(Condition::Always, "lab::ipv6_*".to_owned()), (Condition::NotRoot, "*".to_owned())]
        );
        let expected = Expected(vec!["lab::ipv6_*".into(), "store::full".into()]);
        let named = |test: &str| expected.names(&Skip { test: test.into(), reason: String::new() });
        assert!(named("lab::ipv6_forward") && named("store::full"));
        assert!(!named("store::full_disk") && !named("lab"));
    }

    #[test]
    fn a_bad_line_is_named() {
        assert!(format!("{:#}", parse("sometimes x").unwrap_err()).contains("line 1"));
        assert!(parse("always").is_err());
    }
}
