//! Records of lists and local names as bytes.

use lists::{Record, RecordData};

use crate::{Designated, wire::name};

/// Writes the data of a record. Says whether it could be written.
pub(crate) fn data(out: &mut Vec<u8>, data: &RecordData) -> bool {
    let mut number = |number: u16| out.extend_from_slice(&number.to_be_bytes());
    match data {
        RecordData::A(address) => out.extend_from_slice(&address.octets()),
        RecordData::Aaaa(address) => out.extend_from_slice(&address.octets()),
        RecordData::Cname(target) | RecordData::Ptr(target) => return name::push(out, target),
        RecordData::Txt(strings) => {
            for string in strings {
                let Ok(length) = u8::try_from(string.len()) else { return false };
                out.push(length);
                out.extend_from_slice(string);
            }
            if strings.is_empty() {
                out.push(0);
            }
        }
        RecordData::Mx { preference, exchange } => {
            number(*preference);
            return name::push(out, exchange);
        }
        RecordData::Srv { priority, weight, port, target } => {
            [*priority, *weight, *port].into_iter().for_each(&mut number);
            return name::push(out, target);
        }
        RecordData::Service { priority, target, parameters, .. } => {
            number(*priority);
            return name::push(out, target)
                && parameters.iter().all(|(key, value)| parameter(out, *key, value));
        }
    }
    true
}

fn parameter(out: &mut Vec<u8>, key: u16, value: &[u8]) -> bool {
    let Ok(length) = u16::try_from(value.len()) else { return false };
    out.extend_from_slice(&key.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(value);
    true
}

/// The ways to this resolver that are encrypted, as SVCB records (RFC 9461, RFC 9462).
pub(crate) fn designations(designated: &Designated) -> Vec<Record> {
    let mut hints: [Vec<u8>; 2] = Default::default();
    for address in &designated.addresses {
        match address {
            std::net::IpAddr::V4(address) => hints[0].extend(address.octets()),
            std::net::IpAddr::V6(address) => hints[1].extend(address.octets()),
        }
    }
    let record = |priority, alpn: &[u8], port: u16, path: Option<&str>| {
        let mut parameters: Vec<(u16, Box<[u8]>)> = vec![(1, alpn.into()), (3, port.to_be_bytes().into())];
        for (key, hints) in [(4, &hints[0]), (6, &hints[1])] {
            if !hints.is_empty() {
                parameters.push((key, hints.as_slice().into()));
            }
        }
        if let Some(path) = path {
            parameters.push((7, path.as_bytes().into()));
        }
        let (target, parameters) = (designated.name.clone(), parameters.into());
        RecordData::Service { https: false, priority, target, parameters }.into()
    };
    let tls = designated.tls.map(|port| record(1, b"\x03dot", port, None));
    let https = designated.https.as_ref().map(|(port, path)| record(2, b"\x02h2", *port, Some(path)));
    tls.into_iter().chain(https).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(record: &RecordData) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        data(&mut out, record).then_some(out)
    }

    #[test]
    fn data_as_it_goes_over_the_wire() {
        let text = |strings: &[&[u8]]| RecordData::Txt(strings.iter().map(|part| (*part).into()).collect());
        assert_eq!(bytes(&text(&[b"ab", b"c"])).unwrap(), b"\x02ab\x01c");
        assert_eq!(bytes(&text(&[])).unwrap(), b"\0");
        assert_eq!(bytes(&text(&[&[0; 256]])), None);
        let srv = RecordData::Srv { priority: 0, weight: 5, port: 80, target: "a.b".into() };
        assert_eq!(bytes(&srv).unwrap(), b"\0\0\0\x05\0\x50\x01a\x01b\0");
        assert_eq!(bytes(&RecordData::Cname("a..b".into())), None);
        let mx = RecordData::Mx { preference: 10, exchange: "m".into() };
        assert_eq!(bytes(&mx).unwrap(), b"\0\x0a\x01m\0");
    }

    #[test]
    fn designations_name_port_path_and_hints() {
        let designated = Designated {
            name: "dns.home.arpa".into(),
            addresses: vec![[10, 1, 0, 1].into(), "fd00::1".parse().unwrap()],
            tls: Some(853),
            https: Some((8443, "/dns-query{?dns}".into())),
        };
        let all = designations(&designated);
        let RecordData::Service { priority: 2, parameters, .. } = &all[1].data else { panic!("{all:?}") };
        let keys: Vec<u16> = parameters.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, [1, 3, 4, 6, 7], "ascending, as RFC 9460 §2.2 wants them");
        assert_eq!(&*parameters[4].1, b"/dns-query{?dns}");
        assert_eq!(designations(&Designated { https: None, ..designated }).len(), 1);
    }
}
