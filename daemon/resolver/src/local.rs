//! Names of this network: what a person wrote down, what leases say, and the reverse names of both. Pure: a table that
//! is asked.

use lists::{Record, RecordData};
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    limits::{MAX_LOCAL_NAMES, MAX_LOCAL_RECORDS},
    wire::name::is_within,
};

/// Seconds clients may keep a local answer that says nothing else.
pub const LOCAL_TTL: u32 = 60;
/// Seconds clients may keep the address of a lease: it may be another's soon.
pub(crate) const LEASE_TTL: u32 = 30;

/// Names of this network. Built once, then exchanged as a whole.
#[derive(Clone, Debug, Default)]
pub struct Local {
    names: HashMap<Box<str>, Vec<Record>>,
    /// `*.x` by `x`.
    wildcards: HashMap<Box<str>, Vec<Record>>,
    /// Names of addresses, by their reverse name.
    reverse: HashMap<Box<str>, Vec<Record>>,
    /// Domains that are all ours: what is not in the table does not exist.
    domains: Vec<Box<str>>,
    /// Names inside those domains that exist because something below them does.
    parents: HashSet<Box<str>>,
}

/// The table is full; the record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalFull {
    /// Too many names.
    #[error("more than {MAX_LOCAL_NAMES} local names")]
    Names,
    /// Too many records of one name.
    #[error("more than {MAX_LOCAL_RECORDS} records of one local name")]
    Records,
}

/// What the table says about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFound<'a> {
    /// Nothing: it is not ours.
    Unknown,
    /// It is ours, and these are its records, of all types; perhaps none.
    Records(&'a [Record]),
    /// It would be ours, but does not exist.
    Absent,
}

impl Local {
    /// An empty table. Names in `domains` (lower case, without final dot) that are not in the table do not exist.
    #[must_use]
    pub fn new<'a>(domains: impl IntoIterator<Item = &'a str>) -> Self {
        Self { domains: domains.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Domains that are all ours.
    #[must_use]
    pub fn domains(&self) -> &[Box<str>] {
        &self.domains
    }

    /// Adds a record of `name`, or of everything below `x` for `*.x`, in lower case without final dot. An address also
    /// names the reverse: the names of an address stand in the order they came, unless a PTR record says otherwise. The
    /// reverse knows [`MAX_LOCAL_NAMES`] addresses; further ones have no name.
    ///
    /// # Errors
    /// A limit is reached; nothing is added.
    pub fn insert(&mut self, name: &str, record: Record) -> Result<(), LocalFull> {
        let (name, wildcard) = name.strip_prefix("*.").map_or((name, false), |parent| (parent, true));
        put(if wildcard { &mut self.wildcards } else { &mut self.names }, name, record.clone())?;
        if self.domains.iter().any(|domain| is_within(name, domain)) {
            let ancestors = std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1));
            // The parent of a wildcard exists as well.
            let ancestors = ancestors.skip(usize::from(!wildcard));
            self.parents.extend(ancestors.map(Into::into));
        }
        let address = match record.data {
            RecordData::A(address) => IpAddr::V4(address),
            RecordData::Aaaa(address) => IpAddr::V6(address),
            RecordData::Cname(_)
            | RecordData::Ptr(_)
            | RecordData::Txt(_)
            | RecordData::Mx { .. }
            | RecordData::Srv { .. }
            | RecordData::Service { .. } => return Ok(()),
        };
        if wildcard {
            return Ok(());
        }
        let pointer = Record { ttl: record.ttl, data: RecordData::Ptr(name.into()) };
        // An address of very many names, or one of very many addresses, is still an address: it is left out of the
        // reverse.
        match put(&mut self.reverse, &reverse_name(address), pointer) {
            Ok(()) | Err(LocalFull::Records | LocalFull::Names) => Ok(()),
        }
    }

    /// Adds what leases say of a device: its addresses as `name.domain`, and as `name` alone if it may be `bare`. A name
    /// that is there stays as it is, and so does what a wildcard covers and the reverse name of an address that has one.
    ///
    /// # Errors
    /// A limit is reached; of this device some names may be missing.
    pub fn insert_host(
        &mut self,
        name: &str,
        domain: &str,
        bare: bool,
        addresses: &[IpAddr],
    ) -> Result<(), LocalFull> {
        let record = |address: &IpAddr| Record { ttl: Some(LEASE_TTL), data: RecordData::from(*address) };
        let full = format!("{name}.{domain}");
        let unnamed: Vec<&IpAddr> = addresses
            .iter()
            .filter(|address| !self.reverse.contains_key(&*reverse_name(**address)))
            .collect();
        if !matches!(self.find(&full), LocalFound::Records(_)) {
            for address in addresses {
                put(&mut self.names, &full, record(address))?;
            }
            for address in unnamed {
                let pointer = Record { ttl: Some(LEASE_TTL), data: RecordData::Ptr(full.as_str().into()) };
                put(&mut self.reverse, &reverse_name(*address), pointer)?;
            }
        }
        if bare && !matches!(self.find(name), LocalFound::Records(_)) {
            for address in addresses {
                put(&mut self.names, name, record(address))?;
            }
        }
        Ok(())
    }

    /// What it says about a name in lower case without final dot.
    #[must_use]
    pub fn find(&self, name: &str) -> LocalFound<'_> {
        if let Some(records) = self.names.get(name).or_else(|| self.reverse.get(name)) {
            return LocalFound::Records(records);
        }
        let ours = self.domains.iter().any(|domain| is_within(name, domain));
        if ours && (self.parents.contains(name) || self.domains.iter().any(|domain| **domain == *name)) {
            return LocalFound::Records(&[]);
        }
        if !self.wildcards.is_empty() {
            let mut parent = name;
            while let Some((_, above)) = parent.split_once('.') {
                if let Some(records) = self.wildcards.get(above) {
                    return LocalFound::Records(records);
                }
                // What exists stops a wildcard above it (RFC 4592 §3.3.1).
                if self.names.contains_key(above) || self.parents.contains(above) {
                    break;
                }
                parent = above;
            }
        }
        if ours { LocalFound::Absent } else { LocalFound::Unknown }
    }

    /// Names in it, without reverse ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len() + self.wildcards.len()
    }

    /// Whether there is no name and no domain in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.domains.is_empty()
    }

    /// Its names with their records, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Record])> {
        self.names.iter().map(|(name, records)| (&**name, records.as_slice()))
    }
}

fn put(table: &mut HashMap<Box<str>, Vec<Record>>, name: &str, record: Record) -> Result<(), LocalFull> {
    let full = table.len() >= MAX_LOCAL_NAMES;
    match table.get_mut(name) {
        Some(records) if records.contains(&record) => Ok(()),
        Some(records) if records.len() >= MAX_LOCAL_RECORDS => Err(LocalFull::Records),
        Some(records) => {
            records.push(record);
            Ok(())
        }
        None if full => Err(LocalFull::Names),
        None => {
            table.insert(name.into(), vec![record]);
            Ok(())
        }
    }
}

/// The name by which an address is looked up (RFC 1035 §3.5, RFC 3596 §2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    use std::fmt::Write;
    let mut name = String::with_capacity(74);
    let written = match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            write!(name, "{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => address
            .octets()
            .iter()
            .rev()
            .try_for_each(|byte| write!(name, "{:x}.{:x}.", byte & 15, byte >> 4))
            .and_then(|()| name.write_str("ip6.arpa")),
    };
    // A text takes whatever is written to it.
    debug_assert!(written.is_ok());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(last: u8) -> Record {
        RecordData::A([10, 2, 0, last].into()).into()
    }

    fn local(names: &[(&str, Record)]) -> Local {
        let mut local = Local::new(["home.arpa"]);
        for (name, record) in names {
            local.insert(name, record.clone()).unwrap();
        }
        local
    }

    #[test]
    fn names_wildcards_and_what_does_not_exist() {
        let local = local(&[
            ("nas.home.arpa", a(1)),
            ("*.apps.home.arpa", a(2)),
            ("own.apps.home.arpa", a(3)),
            ("a.deep.home.arpa", a(4)),
            ("shop.example.com", a(5)),
        ]);
        let of = |name| match local.find(name) {
            LocalFound::Records([]) => "nothing".to_owned(),
            LocalFound::Records(records) => format!("{:?}", records[0].data),
            other => format!("{other:?}"),
        };
        assert_eq!(of("nas.home.arpa"), "A(10.2.0.1)");
        assert_eq!(of("x.apps.home.arpa"), "A(10.2.0.2)");
        assert_eq!(of("y.x.apps.home.arpa"), "A(10.2.0.2)");
        assert_eq!(of("own.apps.home.arpa"), "A(10.2.0.3)");
        assert_eq!(of("x.own.apps.home.arpa"), "Absent", "what exists stops a wildcard");
        for parent in ["home.arpa", "deep.home.arpa", "apps.home.arpa"] {
            assert_eq!(of(parent), "nothing", "{parent}");
        }
        assert_eq!(of("printer.home.arpa"), "Absent");
        assert_eq!(of("shop.example.com"), "A(10.2.0.5)");
        for other in ["example.com", "www.example.com", "x.shop.example.com", "arpa", ""] {
            assert_eq!(of(other), "Unknown", "{other}");
        }
    }

    #[test]
    fn addresses_have_names() {
        let mut local = local(&[("nas.home.arpa", a(1)), ("files.home.arpa", a(1)), ("*.x.home.arpa", a(2))]);
        let LocalFound::Records(names) = local.find("1.0.2.10.in-addr.arpa") else { panic!() };
        let names: Vec<_> = names.iter().map(|record| record.data.clone()).collect();
        assert_eq!(names, ["nas.home.arpa", "files.home.arpa"].map(|name| RecordData::Ptr(name.into())));
        assert_eq!(local.find("2.0.2.10.in-addr.arpa"), LocalFound::Unknown, "of no one name");
        local.insert("1.0.2.10.in-addr.arpa", RecordData::Ptr("own.home.arpa".into()).into()).unwrap();
        let LocalFound::Records([only]) = local.find("1.0.2.10.in-addr.arpa") else { panic!() };
        assert_eq!(only.data, RecordData::Ptr("own.home.arpa".into()), "what a person wrote goes first");
        let six = "2001:db8::567:89ab".parse().unwrap();
        assert_eq!(
            reverse_name(six),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    #[test]
    fn leases_stand_beside_what_a_person_wrote_and_never_in_its_place() {
        let mut local = local(&[("nas.home.arpa", a(1)), ("*.apps.home.arpa", a(2)), ("intranet", a(3))]);
        let six: IpAddr = "fd00:2::9".parse().unwrap();
        let own = |last| IpAddr::from([10, 2, 0, last]);
        local.insert_host("tablet", "home.arpa", true, &[own(9), six]).unwrap();
        local.insert_host("tv", "home.arpa", false, &[own(10)]).unwrap();
        for (name, last) in [("nas", 66), ("apps", 67), ("x.apps", 68), ("intranet", 69)] {
            local.insert_host(name, "home.arpa", true, &[own(last)]).unwrap();
        }
        let of = |name: &str| match local.find(name) {
            LocalFound::Records(records) => {
                records.iter().map(|record| (record.data.clone(), record.ttl)).collect::<Vec<_>>()
            }
            LocalFound::Unknown | LocalFound::Absent => panic!("{name}"),
        };
        let both = [(own(9).into(), Some(LEASE_TTL)), (six.into(), Some(LEASE_TTL))];
        assert_eq!((of("tablet.home.arpa"), of("tablet")), (both.to_vec(), both.to_vec()));
        for address in [own(9), six] {
            assert_eq!(
                of(&reverse_name(address)),
                [(RecordData::Ptr("tablet.home.arpa".into()), Some(LEASE_TTL))]
            );
        }
        assert_eq!(of("tv.home.arpa").len(), 1);
        assert_eq!(local.find("tv"), LocalFound::Unknown);
        assert_eq!(of("nas.home.arpa"), [(own(1).into(), None)], "a record of a person");
        assert_eq!((of("apps.home.arpa"), of("x.apps.home.arpa")), (vec![], vec![(own(2).into(), None)]));
        assert_eq!(of("intranet"), [(own(3).into(), None)]);
        // An address has the name that a person gave it.
        local.insert_host("other", "home.arpa", true, &[own(1)]).unwrap();
        let LocalFound::Records(names) = local.find("1.0.2.10.in-addr.arpa") else { panic!() };
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn the_table_is_bounded() {
        let mut local = Local::default();
        for host in 0..MAX_LOCAL_RECORDS {
            local.insert("x", RecordData::A(u32::try_from(host).unwrap().into()).into()).unwrap();
        }
        assert_eq!(local.insert("x", a(9)), Err(LocalFull::Records));
        for number in 1..MAX_LOCAL_NAMES {
            local.insert(&format!("n{number}"), RecordData::Cname("x".into()).into()).unwrap();
        }
        assert_eq!(local.insert("one-more", a(1)), Err(LocalFull::Names));
        assert_eq!(local.len(), MAX_LOCAL_NAMES);
    }

    #[test]
    fn what_the_reverse_has_no_room_for_is_an_address_all_the_same() {
        let mut local = Local::default();
        let address = |number: usize| Record::from(RecordData::A(u32::try_from(number).unwrap().into()));
        for number in 0..MAX_LOCAL_NAMES {
            local.insert(&format!("n{}", number / MAX_LOCAL_RECORDS), address(number)).unwrap();
        }
        assert_eq!(local.insert("one-more", address(MAX_LOCAL_NAMES)), Ok(()));
        assert!(matches!(local.find("one-more"), LocalFound::Records([_])));
        assert_eq!(local.find(&reverse_name([0, 1, 0, 0].into())), LocalFound::Unknown);
        assert!(matches!(local.find(&reverse_name([0, 0, 255, 255].into())), LocalFound::Records([_])));
    }
}
