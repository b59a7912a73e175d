//! What comes with secd: names of services that can be blocked, safe versions of search engines, names of captive-portal
//! probes and canaries. The data stand in `data/*.toml`.

use model::{Mode, Name};
use serde::Deserialize;
use std::net::IpAddr;

use crate::{
    DomainSetBuilder, ListError,
    answer::{Record, RecordData},
    groups::GroupSet,
    rule::{Action, Rule, Shape},
    set::{DomainKind, Role},
};

/// A service that can be blocked by its name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, as `services = ["youtube"]` has it.
    pub name: String,
    /// Its names; each with everything below it.
    pub names: Vec<Name>,
}

/// How much of YouTube a safe search leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum YouTube {
    /// All of it.
    Free,
    /// Restricted mode, moderate.
    Moderate,
    /// Restricted mode, strict.
    #[default]
    Strict,
}

/// All services, in the order of the alphabet. They are read anew each time: ask once.
#[must_use]
pub fn services() -> Vec<Service> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        service: Vec<Service>,
    }
    read::<File>(include_str!("../data/services.toml")).service
}

/// Names by which devices find out whether they are behind a captive portal; no list blocks them.
#[must_use]
pub fn probes() -> Vec<Name> {
    names().probes
}

/// Names whose absence tells programs not to go around the resolver: they are answered as names that do not exist.
#[must_use]
pub fn canaries() -> Vec<Name> {
    names().canaries
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    probes: Vec<Name>,
    canaries: Vec<Name>,
}

fn names() -> Names {
    read(include_str!("../data/names.toml"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SafeSearch {
    google: Google,
    youtube: YouTubeNames,
    engine: Vec<Engine>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Google {
    alias: Name,
    suffixes: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct YouTubeNames {
    strict: Name,
    moderate: Name,
    names: Vec<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Engine {
    #[serde(rename = "name")]
    _name: String,
    alias: Option<Name>,
    address: Option<IpAddr>,
    names: Vec<Name>,
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    #[expect(clippy::expect_used, reason = "the files are part of the program, and a test reads them")]
    toml::from_str(text).expect("the built-in data are TOML")
}

fn answer(name: Name, data: RecordData) -> Rule {
    Rule {
        action: Action::Answer(vec![Record::from(data)]),
        ..Rule::plain(DomainKind::Block, name, Shape::Exact)
    }
}

impl DomainSetBuilder {
    /// Blocks the names of a service for `groups`, as a list `service NAME` that a person wrote. Whether there is a
    /// service of this name.
    ///
    /// # Errors
    /// Too many lists or names.
    pub fn add_service(&mut self, service: &Service, mode: Mode, groups: GroupSet) -> Result<(), ListError> {
        let rules =
            service.names.iter().map(|name| Rule::plain(DomainKind::Block, name.clone(), Shape::Whole));
        self.add_rules(&format!("service {}", service.name), mode, groups, Role::Written, rules)
    }

    /// Leads search engines (and YouTube, as `youtube` says) to their safe versions for `groups`, where nobody blocks
    /// them and no person allows them, as the list `safe search`.
    ///
    /// # Errors
    /// Too many lists or names.
    pub fn add_safe_search(&mut self, groups: GroupSet, youtube: YouTube) -> Result<(), ListError> {
        let data: SafeSearch = read(include_str!("../data/safe-search.toml"));
        let mut rules = Vec::new();
        let alias = |name: &Name| RecordData::Cname(name.as_str().into());
        for suffix in &data.google.suffixes {
            for name in [format!("www.google.{suffix}"), format!("google.{suffix}")] {
                rules.extend(name.parse().ok().map(|name| answer(name, alias(&data.google.alias))));
            }
        }
        let restricted = match youtube {
            YouTube::Free => None,
            YouTube::Moderate => Some(&data.youtube.moderate),
            YouTube::Strict => Some(&data.youtube.strict),
        };
        if let Some(restricted) = restricted {
            rules.extend(data.youtube.names.iter().map(|name| answer(name.clone(), alias(restricted))));
        }
        for engine in data.engine {
            let to = engine.alias.as_ref().map(alias).or(engine.address.map(RecordData::from));
            for name in engine.names {
                rules.extend(to.clone().map(|to| answer(name, to)));
            }
        }
        self.add_rules("safe search", Mode::Enforce, groups, Role::SafeSearch, rules)
    }

    /// Keeps lists from blocking the names of captive-portal probes, as the list `captive-portal probes`.
    ///
    /// # Errors
    /// Too many lists or names.
    pub fn add_probes(&mut self) -> Result<(), ListError> {
        let rules = probes().into_iter().map(|name| Rule::plain(DomainKind::Allow, name, Shape::Exact));
        self.add_rules("captive-portal probes", Mode::Enforce, GroupSet::ALL, Role::Probes, rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Asked, Effect};
    use std::collections::BTreeSet;

    #[test]
    fn services_are_whole() {
        let services = services();
        assert!(services.len() >= 40, "{}", services.len());
        let order: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len(), "each once");
        for service in &services {
            assert!(!service.names.is_empty(), "{}", service.name);
            assert!(
                service
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            );
            for name in &service.names {
                assert!(name.as_str().contains('.'), "{name}");
                let twice = service.names.iter().filter(|other| name.is_within(other.as_str())).count();
                assert_eq!(twice, 1, "{}: {name} is said twice", service.name);
            }
        }
        let mut builder = DomainSetBuilder::new(1);
        for service in &services {
            builder.add_service(service, Mode::Enforce, GroupSet::one(1)).unwrap();
        }
        let set = builder.finish();
        let asked = Asked { groups: GroupSet(0b11), ..Asked::about("www.youtube.com") };
        let found = set.decide(&asked).unwrap();
        assert_eq!((&*found.info.name, found.groups), ("service youtube", GroupSet(0b10)));
        assert!(set.decide(&Asked::about("www.youtube.com")).is_none(), "for its group only");
    }

    #[test]
    fn safe_search_gives_way_to_blocks_and_persons() {
        let mut builder = DomainSetBuilder::new(1);
        let group = GroupSet::DEFAULT;
        builder.add("ads", Mode::Enforce, b"||duckduckgo.com^\n@@||www.bing.com^\n").unwrap();
        builder.add_written("mine", DomainKind::Allow, Mode::Enforce, group, [("www.google.de", 1)]).unwrap();
        builder.add_safe_search(group, YouTube::Moderate).unwrap();
        let set = builder.finish();
        let said = |name: &str| match set.decide(&Asked::about(name)).map(|found| found.effect) {
            Some(Effect::Answer(answers)) => match answers.to_vec().as_slice() {
                [Record { data: RecordData::Cname(name), .. }] => name.to_string(),
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        };
        assert_eq!(said("www.google.co.uk"), "forcesafesearch.google.com");
        assert_eq!(said("www.youtube.com"), "restrictmoderate.youtube.com");
        assert_eq!(said("www.bing.com"), "strict.bing.com", "an exception of a list is none to this");
        assert_eq!(said("duckduckgo.com"), "Some(Block)");
        assert_eq!(said("www.google.de"), "Some(Allow)");
        assert_eq!(said("mail.google.com"), "None");
    }

    #[test]
    fn probes_are_not_blocked_by_lists() {
        let mut builder = DomainSetBuilder::new(1);
        builder.add_probes().unwrap();
        builder.add("ads", Mode::Enforce, b"||apple.com^$important\n||gstatic.com^\n").unwrap();
        let deny = [("captive.apple.com", 1)];
        builder.add_written("dns.deny", DomainKind::Block, Mode::Enforce, GroupSet::ALL, deny).unwrap();
        let set = builder.finish();
        for (name, effect, why) in [
            ("connectivitycheck.gstatic.com", Effect::Allow, "a probe"),
            ("fonts.gstatic.com", Effect::Block, "no probe"),
            ("captive.apple.com", Effect::Block, "a person may"),
        ] {
            assert_eq!(set.decide(&Asked::about(name)).map(|found| found.effect), Some(effect), "{why}");
        }
        assert!(canaries().iter().any(|name| name.as_str() == "use-application-dns.net"));
    }
}
