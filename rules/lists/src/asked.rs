//! A question as the lists see it, and the conditions that an entry may put on one.

use ipnet::IpNet;
use model::Name;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::groups::GroupSet;

/// A question, and who asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The name, in lower case and without a final dot. It may hold bytes that no list holds: those match nothing, its
    /// parents may.
    pub name: &'a str,
    /// The number of the type asked for.
    pub qtype: u16,
    /// The groups of whoever asks that are in force.
    pub groups: GroupSet,
    /// The address of whoever asks.
    pub address: Option<IpAddr>,
    /// The name of whoever asks in the config; empty for nobody it names.
    pub client: &'a str,
}

impl<'a> Asked<'a> {
    /// Somebody in the group `default` asks for the address of `name`.
    #[must_use]
    pub fn about(name: &'a str) -> Self {
        Self { name, qtype: 1, groups: GroupSet::DEFAULT, address: None, client: "" }
    }
}

/// When an entry speaks: all of it must hold. Empty: always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Condition {
    /// Types asked for (`$dnstype`, `;querytype=`).
    pub(crate) types: Option<Types>,
    /// Who asks (`$client`).
    pub(crate) clients: Option<Askers>,
    /// Names that the entry does not hold for, nor for what is below them (`$denyallow`).
    pub(crate) except: Box<[Name]>,
    /// An exception to rewrites alone (`@@…$dnsrewrite`).
    pub(crate) rewrites_only: bool,
}

/// Types, or all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Types {
    /// All types but these.
    pub(crate) others: bool,
    /// Their numbers.
    pub(crate) numbers: Box<[u16]>,
}

/// Who asks: one of the first where there are some, and none of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Askers {
    pub(crate) only: Box<[Asker]>,
    pub(crate) never: Box<[Asker]>,
}

/// One way in which an entry names who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Asker {
    Net(IpNet),
    Name(Box<str>),
}

impl Condition {
    pub(crate) fn is_always(&self) -> bool {
        self.types.is_none() && self.clients.is_none() && self.except.is_empty() && !self.rewrites_only
    }

    /// Whether it leaves most questions alone: it is about some clients, or about other types than addresses.
    pub(crate) fn is_narrow(&self) -> bool {
        self.clients.is_some() || self.types.as_ref().is_some_and(|types| !types.hold(1) && !types.hold(28))
    }

    pub(crate) fn holds(&self, asked: &Asked<'_>) -> bool {
        self.types.as_ref().is_none_or(|types| types.hold(asked.qtype))
            && self.clients.as_ref().is_none_or(|askers| askers.hold(asked))
            && !self.except.iter().any(|name| is_within(asked.name, name.as_str()))
    }
}

impl Types {
    fn hold(&self, qtype: u16) -> bool {
        self.numbers.contains(&qtype) != self.others
    }
}

impl Askers {
    fn hold(&self, asked: &Asked<'_>) -> bool {
        let among = |askers: &[Asker]| askers.iter().any(|asker| asker.is(asked));
        (self.only.is_empty() || among(&self.only)) && !among(&self.never)
    }
}

impl Asker {
    fn is(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Net(net) => asked.address.is_some_and(|address| net.contains(&address.to_canonical())),
            Self::Name(name) => !asked.client.is_empty() && name.eq_ignore_ascii_case(asked.client),
        }
    }
}

/// Whether `name` is `parent` or below it.
pub(crate) fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Names and numbers of record types (IANA).
const TYPES: [(&str, u16); 40] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("KX", 36),
    ("CERT", 37),
    ("DNAME", 39),
    ("APL", 42),
    ("DS", 43),
    ("SSHFP", 44),
    ("IPSECKEY", 45),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("DHCID", 49),
    ("NSEC3", 50),
    ("NSEC3PARAM", 51),
    ("TLSA", 52),
    ("SMIMEA", 53),
    ("HIP", 55),
    ("CDS", 59),
    ("CDNSKEY", 60),
    ("OPENPGPKEY", 61),
    ("CSYNC", 62),
    ("ZONEMD", 63),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("SPF", 99),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
];

/// The number of a record type, by name or as `TYPE65` (RFC 3597).
#[must_use]
pub fn type_number(text: &str) -> Option<u16> {
    let known = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, number)| number);
    known.or_else(|| {
        let (word, number) = text.split_at_checked(4)?;
        if word.eq_ignore_ascii_case("TYPE") { number.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        assert_eq!(type_number("aaaa"), Some(28));
        assert_eq!(type_number("TYPE65"), Some(65));
        assert_eq!(type_number("type70000"), None);
        assert_eq!(type_number("é"), None);
        assert_eq!(type_number("AA"), None);
    }

    #[test]
    fn conditions_hold_together() {
        let net = |text: &str| Asker::Net(text.parse().unwrap());
        let condition = Condition {
            types: Some(Types { others: true, numbers: [1].into() }),
            clients: Some(Askers {
                only: [net("10.4.0.0/16"), Asker::Name("Tablet".into())].into(),
                never: [net("10.4.0.9/32")].into(),
            }),
            except: ["good.example".parse().unwrap()].into(),
            rewrites_only: false,
        };
        let asked = Asked { qtype: 28, address: Some([10, 4, 0, 1].into()), ..Asked::about("ads.example") };
        assert!(condition.holds(&asked));
        assert!(!condition.holds(&Asked { qtype: 1, ..asked }));
        assert!(!condition.holds(&Asked { address: Some([10, 4, 0, 9].into()), ..asked }));
        assert!(!condition.holds(&Asked { address: None, ..asked }));
        assert!(condition.holds(&Asked { address: None, client: "tablet", ..asked }));
        assert!(!condition.holds(&Asked { name: "x.good.example", ..asked }));
        assert!(condition.holds(&Asked { name: "notgood.example", ..asked }));
        let mapped = "::ffff:10.4.0.1".parse().unwrap();
        assert!(condition.holds(&Asked { address: Some(mapped), ..asked }));
        assert!(Condition::default().is_always() && !condition.is_always());
    }
}
