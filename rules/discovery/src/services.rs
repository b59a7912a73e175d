//! Types of services, and sets of them.

use serde::Deserialize;
use std::{fmt, str::FromStr};

use crate::wire::Name;

/// A type of service as DNS-SD has it: `_ipp._tcp` (RFC 6763 §4.1.2, §7), lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceType {
    /// `_ipp`.
    service: Box<[u8]>,
    /// Over TCP; else anything else.
    tcp: bool,
}

/// Where in a service's names one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `_services._dns-sd._udp.local`: which types there are (RFC 6763 §9).
    Types,
    /// `_ipp._tcp.local`, or a subtype of it (RFC 6763 §7.1).
    Type(ServiceType),
    /// `Printer._ipp._tcp.local`.
    Instance(ServiceType),
    /// Something else in `local`: a host.
    Host,
    /// Outside of `local`.
    Outside,
}

/// A set of types that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSet {
    /// Its name, as a config has it.
    pub name: String,
    /// Its types.
    pub types: Vec<String>,
}

/// The sets that are part of the program. They are read anew each time: ask once.
#[must_use]
pub fn sets() -> Vec<ServiceSet> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        set: Vec<ServiceSet>,
    }
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    let file: File = toml::from_str(include_str!("../services.toml")).expect("the built-in sets are TOML");
    file.set
}

impl ServiceType {
    fn of(service: &[u8], protocol: &[u8]) -> Option<Self> {
        let tcp = protocol.eq_ignore_ascii_case(b"_tcp");
        let known = tcp || protocol.eq_ignore_ascii_case(b"_udp");
        let fits = matches!(service, [b'_', _, ..]);
        (known && fits).then(|| Self { service: service.to_ascii_lowercase().into(), tcp })
    }
}

impl FromStr for ServiceType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (service, protocol) = text.split_once('.').ok_or(())?;
        Self::of(service.as_bytes(), protocol.as_bytes()).ok_or(())
    }
}

impl fmt::Display for ServiceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}._{}", String::from_utf8_lossy(&self.service), if self.tcp { "tcp" } else { "udp" })
    }
}

impl Place {
    pub(crate) fn of(name: &Name) -> Self {
        let labels: Vec<&[u8]> = name.labels().collect();
        let [before @ .., last] = labels.as_slice() else { return Self::Outside };
        if !last.eq_ignore_ascii_case(b"local") {
            return Self::Outside;
        }
        let [before @ .., service, protocol] = before else { return Self::Host };
        let Some(service) = ServiceType::of(service, protocol) else { return Self::Host };
        let types = !service.tcp && *service.service == *b"_dns-sd";
        match before {
            [only] if types && only.eq_ignore_ascii_case(b"_services") => Self::Types,
            [] => Self::Type(service),
            [_, sub] if sub.eq_ignore_ascii_case(b"_sub") => Self::Type(service),
            [_] => Self::Instance(service),
            [..] => Self::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_types_that_are_some() {
        let sets = sets();
        assert_eq!(
            sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(),
            ["cast", "airplay", "homekit", "printers", "matter"]
        );
        for text in sets.iter().flat_map(|set| &set.types) {
            assert_eq!(text.parse::<ServiceType>().unwrap().to_string(), *text);
        }
        for wrong in ["", "_ipp", "ipp._tcp", "_ipp._sctp", "_._tcp", "_ipp._tcp.local"] {
            assert!(wrong.parse::<ServiceType>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_stand_in_their_places() {
        let place = |labels: &[&str]| {
            Place::of(&Name::of_labels(labels.iter().map(|label| label.as_bytes())).unwrap())
        };
        let ipp: ServiceType = "_ipp._tcp".parse().unwrap();
        assert_eq!(place(&["_IPP", "_tcp", "local"]), Place::Type(ipp.clone()));
        assert_eq!(place(&["_universal", "_sub", "_ipp", "_tcp", "local"]), Place::Type(ipp.clone()));
        assert_eq!(place(&["Bob's Printer. 2", "_ipp", "_TCP", "Local"]), Place::Instance(ipp));
        assert_eq!(place(&["_services", "_dns-sd", "_udp", "local"]), Place::Types);
        for host in [
            &["nas", "local"][..],
            &["local"],
            &["a", "b", "_ipp", "_tcp", "local"],
            &["x", "ipp", "_tcp", "local"],
        ] {
            assert_eq!(place(host), Place::Host, "{host:?}");
        }
        for outside in [&[][..], &["_ipp", "_tcp", "example"], &["_ipp", "_tcp", "local", "example"]] {
            assert_eq!(place(outside), Place::Outside, "{outside:?}");
        }
    }
}
