//! GeoIP databases: written here, real, and broken.

use crate::mmdb::{Value, flat, nested, system, text, write};
use feeds::geoip::{Country, GeoIp, GeoIpError, Selector};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{AddressSet, SetKind};
use proptest::prelude::*;
use std::{collections::HashMap, net::IpAddr, path::PathBuf, sync::Arc};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn country(text: &str) -> Selector {
    Selector::Country(Country::new(text).unwrap())
}

fn nets(texts: &[&str]) -> Arc<[IpNet]> {
    texts.iter().map(|text| net(text)).collect()
}

#[test]
fn addresses_have_a_place_and_places_have_networks() {
    let countries = write(&[
        (net("192.0.2.0/25"), nested("DE")),
        (net("192.0.2.128/25"), nested("DE")),
        (net("198.51.100.0/24"), flat("us")),
        (net("198.51.100.64/26"), flat("DE")),
        (net("203.0.113.0/24"), Value::Map(vec![("country", text("FR"))])),
        (net("2001:db8::/32"), nested("DE")),
        (net("2001:db8:7::/48"), nested("a longer one")),
    ]);
    let systems = write(&[
        (net("192.0.2.0/24"), system(64500, "Example\u{7} Networks")),
        (net("2001:db8::/33"), Value::Map(vec![("asn", text("AS64500"))])),
        (net("203.0.113.0/24"), Value::Map(vec![("asn", text("none"))])),
    ]);
    let geoip = GeoIp::open(countries).unwrap().with(GeoIp::open(systems).unwrap());
    let place = |address: &str| {
        let place = geoip.place(address.parse().unwrap());
        (place.country.map(|country| country.to_string()), place.system)
    };
    assert_eq!(place("192.0.2.7"), (Some("DE".into()), Some(64500)));
    assert_eq!(place("::ffff:192.0.2.7"), (Some("DE".into()), Some(64500)));
    assert_eq!(place("198.51.100.1"), (Some("US".into()), None));
    assert_eq!(place("198.51.100.65"), (Some("DE".into()), None));
    assert_eq!(place("203.0.113.1"), (Some("FR".into()), None));
    assert_eq!(place("2001:db8:8000::1"), (Some("DE".into()), None));
    assert_eq!(place("2001:db8:7::1"), (None, Some(64500)));
    assert_eq!(place("10.0.0.1"), (None, None));
    let organisation = geoip.place([192, 0, 2, 7].into()).organisation;
    assert_eq!(organisation.as_deref(), Some("Example Networks"), "fit for a terminal");
    assert_eq!(geoip.built(), Some(1_800_000_000));

    let found =
        geoip.networks_of(&[country("us"), Selector::System(64500), country("ZZ"), country("US")]).unwrap();
    let us = nets(&["198.51.100.0/26", "198.51.100.128/25"]);
    assert_eq!(found, [us.clone(), nets(&["192.0.2.0/24", "2001:db8::/33"]), nets(&[]), us]);
    let german = geoip.networks_of(&[country("DE")]).unwrap().remove(0);
    assert_eq!(german[..2], nets(&["192.0.2.0/24", "198.51.100.64/26"])[..]);
    assert!(german[2..].iter().all(|net| net.addr().is_ipv6()) && german.is_sorted());

    let set = |name: &str, kind| AddressSet { name: name.into(), kind, nets: nets(&["10.0.0.0/8"]) };
    let mut sets = vec![
        set("office", SetKind::Group),
        set("FR", SetKind::Country),
        set("AS64500", SetKind::System),
        set("asn:64500", SetKind::System),
        set("bad", SetKind::List),
    ];
    geoip.fill(&mut sets).unwrap();
    let systems = nets(&["192.0.2.0/24", "2001:db8::/33"]);
    let expected =
        [nets(&["10.0.0.0/8"]), nets(&["203.0.113.0/24"]), systems.clone(), systems, nets(&["10.0.0.0/8"])];
    assert_eq!(sets.iter().map(|set| set.nets.clone()).collect::<Vec<_>>(), expected);
    let before = sets.clone();
    sets.push(set("Germany", SetKind::Country));
    assert_eq!(geoip.fill(&mut sets), Err(GeoIpError::NoSelector("Germany".into())));
    assert_eq!(sets[..5], before);
}

#[test]
fn what_is_no_database_is_refused() {
    let open = |bytes: Vec<u8>| GeoIp::open(bytes).unwrap_err().to_string();
    assert!(open(Vec::new()).contains("no usable GeoIP database"));
    assert!(open(b"<html>not found</html>".to_vec()).contains("no usable GeoIP database"));
    let without = write(&[(net("192.0.2.0/24"), Value::Map(vec![("city", text("Springfield"))]))]);
    assert!(open(without).contains("(Test) says neither countries nor autonomous systems"));
    let good = write(&[(net("192.0.2.0/24"), nested("DE"))]);
    let geoip = GeoIp::open(good).unwrap();
    let many: Vec<_> = (0..1025).map(Selector::System).collect();
    assert_eq!(geoip.networks_of(&many), Err(GeoIpError::TooManySelectors(1025)));
    assert_eq!(geoip.networks_of(&[]), Ok(Vec::new()));
    let nothing = GeoIp::default();
    assert!(nothing.is_empty() && nothing.place([192, 0, 2, 1].into()).country.is_none());
    assert_eq!(nothing.networks_of(&[country("DE")]).unwrap(), [nets(&[])]);
}

fn networks() -> impl Strategy<Value = Vec<(IpNet, Value)>> {
    let code = prop_oneof![Just("DE"), Just("FR"), Just("US")];
    let one = (any::<[u8; 4]>(), 1..=32_u8, any::<bool>(), code, any::<bool>(), 0..4_u32).prop_map(
        |([a, b, c, d], length, is_v6, code, is_flat, number)| {
            let (a, b) = (a & 0x83, b & 0x41);
            let net = if is_v6 {
                let bits = u128::from_be_bytes([0x20, 1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
                IpNet::V6(Ipv6Net::new(bits.into(), length + 16).unwrap().trunc())
            } else {
                IpNet::V4(Ipv4Net::new([a, b, c, d].into(), length).unwrap().trunc())
            };
            (
                net,
                match number {
                    0 => flat(code),
                    1 => system(64500, code),
                    _ => {
                        if is_flat {
                            flat(code)
                        } else {
                            nested(code)
                        }
                    }
                },
            )
        },
    );
    proptest::collection::vec(one, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What is said of an address and of a country is the same.
    #[test]
    fn places_and_networks_agree(networks in networks(), asked in proptest::collection::vec(any::<u32>(), 20)) {
        let geoip = GeoIp::open(write(&networks)).unwrap();
        let selectors = [country("DE"), country("FR"), country("US"), Selector::System(64500)];
        let found = geoip.networks_of(&selectors).unwrap();
        let ends = networks.iter().flat_map(|(net, _)| [net.network(), net.broadcast()]);
        for address in ends.chain(asked.into_iter().map(|bits| IpAddr::V4(bits.into()))) {
            let place = geoip.place(address);
            for (selector, nets) in selectors.iter().zip(&found) {
                let said = match selector {
                    Selector::Country(country) => place.country == Some(*country),
                    Selector::System(number) => place.system == Some(*number),
                };
                prop_assert_eq!(nets.iter().any(|net| net.contains(&address)), said, "{} {:?}", address, selector);
            }
        }
        for nets in found {
            prop_assert!(nets.windows(2).all(|two| two[0] < two[1] && !two[0].contains(&two[1])), "{:?}", nets);
        }
    }

    /// Broken anywhere, a database is refused or gives some answer, in bounded time.
    #[test]
    fn broken_databases_never_panic(
        networks in networks(),
        breaks in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        asked in proptest::collection::vec(any::<u32>(), 10),
    ) {
        let mut bytes = write(&networks);
        if let Some(cut) = cut {
            // The end with the metadata stays, so that more than its absence is found.
            let at = cut.index(bytes.len());
            bytes.drain(at..(at + 7).min(bytes.len()));
        }
        for (at, byte) in breaks {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(geoip) = GeoIp::open(bytes) {
            let _ = geoip.networks_of(&[country("DE"), Selector::System(64500)]);
            for bits in asked {
                let _ = geoip.place(IpAddr::V4(bits.into()));
                let _ = geoip.place(IpAddr::V6((u128::from(bits) << 96).into()));
            }
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut with_metadata = bytes.clone();
        let good = write(&[(net("192.0.2.0/24"), nested("DE"))]);
        let marker = good.windows(3).rposition(|three| three == b"\xab\xcd\xef").unwrap();
        with_metadata.extend_from_slice(&good[marker..]);
        let _ = GeoIp::open(bytes);
        if let Ok(geoip) = GeoIp::open(with_metadata) {
            let _ = geoip.networks_of(&[country("DE")]);
        }
    }
}

/// Both children of each node are the next one: a tree of a hundred nodes with 2^100 ways through it.
#[test]
fn a_tree_whose_branches_meet_again_is_refused() {
    let mut bytes = write(&[(net("2001:db8::1/128"), nested("DE"))]);
    let count = 128_u32;
    for node in 0..count {
        let at = node as usize * 8;
        let next = if node + 1 == count { count } else { node + 1 };
        bytes[at..at + 4].copy_from_slice(&next.to_be_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&next.to_be_bytes());
    }
    let error = GeoIp::open(bytes).unwrap_err().to_string();
    assert!(error.contains("no usable GeoIP database"), "{error}");
}

/// The database that `cargo xtask setup` fetches; none, told on stderr, where it is not there.
fn real(test: &str) -> Option<Vec<u8>> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")));
    let path = var("SECD_GEOIP").or_else(|| Some(cache()?.join("secd/geoip/geo-whois-asn-country.mmdb")));
    let bytes = path.and_then(|path| std::fs::read(path).ok());
    if bytes.is_none() {
        eprintln!("SKIP: {test}: no GeoIP database (cargo xtask setup fetches it where there is npm)");
    }
    bytes
}

#[test]
fn the_real_database() {
    let Some(bytes) = real("the_real_database") else { return };
    let geoip = GeoIp::open(bytes).unwrap();
    let codes = ["DE", "US", "CN", "IS", "VA"];
    let selectors: Vec<Selector> = codes.iter().map(|code| country(code)).collect();
    let found = geoip.networks_of(&selectors).unwrap();
    let mut owners: HashMap<IpNet, &str> = HashMap::new();
    for (code, nets) in codes.iter().zip(&found) {
        eprintln!("{code}: {} prefixes", nets.len());
        assert!(!nets.is_empty() && nets.is_sorted(), "{code}");
        assert!(nets.iter().any(|net| net.addr().is_ipv4()) && nets.iter().any(|net| net.addr().is_ipv6()));
        for net in nets.iter().step_by(1 + nets.len() / 200) {
            for address in [net.network(), net.broadcast()] {
                assert_eq!(
                    geoip.place(address).country.map(|is| is.to_string()).as_deref(),
                    Some(*code),
                    "{net}"
                );
            }
            assert_eq!(owners.insert(*net, code), None, "{net}");
        }
    }
    assert_eq!(geoip.place([10, 0, 0, 1].into()).country, None);
}

#[test]
fn the_real_database_broken_in_places() {
    let Some(bytes) = real("the_real_database_broken_in_places") else { return };
    for at in (0..6).map(|part| bytes.len() / 7 * part + 1234).chain([bytes.len() - 40, bytes.len() - 200]) {
        let mut broken = bytes.clone();
        for byte in &mut broken[at..at + 8] {
            *byte ^= 0x5a;
        }
        if let Ok(geoip) = GeoIp::open(broken) {
            let _ = geoip.networks_of(&[country("DE")]);
        }
    }
}
