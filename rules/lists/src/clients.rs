//! Who asks: the client of the config that an address, a MAC, a host name or a zone belongs to, and its groups.
//!
//! The most specific way in which a config names somebody wins: address, MAC address, host name, the longest network,
//! the zone. A MAC comes before the network so that a device keeps its groups when its address changes (IPv6 privacy
//! addresses, another network), and an address before the MAC so that one address of a machine can be told apart.

use ipnet::IpNet;
use model::Mac;
use std::{collections::HashMap, net::IpAddr, sync::Arc};

use crate::groups::GroupSet;

/// Clients of one config; a config with more is refused.
pub const MAX_CLIENTS: usize = 4096;
/// Addresses, MAC addresses, host names, networks and zones of one client; a config with more is refused.
pub const MAX_WHO: usize = 256;

/// One way in which a config names a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// One address.
    Address(IpAddr),
    /// The device with this MAC address, whatever its address.
    Mac(Mac),
    /// The device that has this name in a lease; lower case.
    Host(Box<str>),
    /// Everybody in a network.
    Network(IpNet),
    /// Everybody in a zone.
    Zone(Box<str>),
}

impl std::str::FromStr for Who {
    type Err = String;

    /// `10.4.0.9`, `10.5.0.0/24`, `aa:bb:cc:dd:ee:01`, `host:kids-tablet`, `zone:iot`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(zone) = text.strip_prefix("zone:") {
            return if zone.is_empty() { Err("names no zone".into()) } else { Ok(Self::Zone(zone.into())) };
        }
        if let Some(host) = text.strip_prefix("host:") {
            let name: model::Name = host.parse().map_err(|error| format!("is no host name: {error}"))?;
            return Ok(Self::Host(name.as_str().into()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        if let Ok(net) = text.parse::<IpNet>() {
            if net.addr() != net.network() {
                return Err(format!("has bits set behind the network: the network is {}", net.trunc()));
            }
            return Ok(match net {
                net if net.prefix_len() == net.max_prefix_len() => Self::Address(net.addr().to_canonical()),
                net => Self::Network(net),
            });
        }
        match text.parse::<Mac>() {
            Ok(mac) if mac.is_group() => Err("is the MAC address of a group, which no device has".into()),
            Ok(mac) => Ok(Self::Mac(mac)),
            Err(_) => Err("is no address, network, MAC address, `host:NAME` or `zone:NAME`".into()),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Mac(mac) => write!(f, "{mac}"),
            Self::Host(name) => write!(f, "host:{name}"),
            Self::Network(net) => write!(f, "{net}"),
            Self::Zone(name) => write!(f, "zone:{name}"),
        }
    }
}

/// What is known of somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The address the question came from.
    pub address: IpAddr,
    /// Its MAC address, by the neighbour table.
    pub mac: Option<[u8; 6]>,
    /// Its name in a lease.
    pub host: Option<&'a str>,
    /// The zone the question came from.
    pub zone: &'a str,
}

/// Somebody who asks, as the config knows them. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in the config; empty for everybody else.
    pub name: Arc<str>,
    /// Its groups; [`GroupSet::EVERYBODY`] is among them where [`Clients::find`] gives it.
    pub groups: GroupSet,
}

/// All clients of a config. Ask with [`Clients::find`].
#[derive(Clone, Debug)]
pub struct Clients {
    everybody_else: Client,
    named: Vec<(Client, Vec<Who>)>,
    /// Place of the client in `named`, and of the spelling in its list.
    places: HashMap<Who, (u32, u32)>,
    /// Lengths of the networks that are named, longest first.
    lengths_v4: Vec<u8>,
    lengths_v6: Vec<u8>,
}

impl Default for Clients {
    fn default() -> Self {
        Self::new([])
    }
}

impl Clients {
    /// Takes the clients of a config. Of two that name the same, the first has it; the check of the config refuses
    /// such a file, and one beyond [`MAX_CLIENTS`] or [`MAX_WHO`].
    #[must_use]
    pub fn new(clients: impl IntoIterator<Item = (Client, Vec<Who>)>) -> Self {
        let everybody = |client: Client| Client { groups: client.groups.or(GroupSet::EVERYBODY), ..client };
        let everybody_else = everybody(Client { name: "".into(), groups: GroupSet::DEFAULT });
        let named: Vec<_> = clients.into_iter().map(|(client, who)| (everybody(client), who)).collect();
        let mut places = HashMap::new();
        let (mut lengths_v4, mut lengths_v6) = (Vec::new(), Vec::new());
        for ((_, all), client) in named.iter().zip(0..) {
            for (who, at) in all.iter().zip(0..) {
                places.entry(who.clone()).or_insert((client, at));
                match who {
                    Who::Network(IpNet::V4(net)) => lengths_v4.push(net.prefix_len()),
                    Who::Network(IpNet::V6(net)) => lengths_v6.push(net.prefix_len()),
                    Who::Address(_) | Who::Mac(_) | Who::Host(_) | Who::Zone(_) => {}
                }
            }
        }
        for lengths in [&mut lengths_v4, &mut lengths_v6] {
            lengths.sort_unstable_by(|a, b| b.cmp(a));
            lengths.dedup();
        }
        Self { everybody_else, named, places, lengths_v4, lengths_v6 }
    }

    /// Who asks; somebody without a name, in `default` only, where the config names nobody of the kind.
    #[must_use]
    pub fn find(&self, facts: &Facts<'_>) -> Client {
        self.named_by(facts).map_or_else(|| self.everybody_else.clone(), |(client, _)| client.clone())
    }

    /// Who asks, and by what the config knows them.
    #[must_use]
    pub fn named_by(&self, facts: &Facts<'_>) -> Option<(&Client, &Who)> {
        if self.named.is_empty() {
            return None;
        }
        let address = facts.address.to_canonical();
        let mac = || facts.mac.and_then(|mac| self.at(&Who::Mac(Mac(mac))));
        let host = || facts.host.and_then(|host| self.host(host));
        let zone = || self.at(&Who::Zone(facts.zone.into()));
        self.at(&Who::Address(address))
            .or_else(mac)
            .or_else(host)
            .or_else(|| self.network(address))
            .or_else(zone)
    }

    /// The client of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Client> {
        self.named.iter().map(|(client, _)| client).find(|client| &*client.name == name)
    }

    /// All that have a name, as in the config, each with what names it.
    pub fn iter(&self) -> impl Iterator<Item = (&Client, &[Who])> {
        self.named.iter().map(|(client, who)| (client, who.as_slice()))
    }

    /// A lease has the bare name or the one with its domain.
    fn host(&self, host: &str) -> Option<(&Client, &Who)> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.split_once('.').map(|(bare, _)| Who::Host(bare.into()));
        self.at(&Who::Host(host.into())).or_else(|| bare.and_then(|bare| self.at(&bare)))
    }

    fn network(&self, address: IpAddr) -> Option<(&Client, &Who)> {
        let lengths = if address.is_ipv4() { &self.lengths_v4 } else { &self.lengths_v6 };
        lengths.iter().find_map(|&length| {
            let net = IpNet::new(address, length).ok()?.trunc();
            self.at(&Who::Network(net))
        })
    }

    fn at(&self, who: &Who) -> Option<(&Client, &Who)> {
        let &(client, at) = self.places.get(who)?;
        let (client, all) = self.named.get(client as usize)?;
        Some((client, all.get(at as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clients(all: &[(&str, u64, &[&str])]) -> Clients {
        Clients::new(all.iter().map(|(name, groups, who)| {
            let client = Client { name: (*name).into(), groups: GroupSet(*groups) };
            (client, who.iter().map(|text| text.parse().unwrap()).collect())
        }))
    }

    #[test]
    fn the_most_specific_way_wins() {
        let clients = clients(&[
            ("all-iot", 0b00_0010, &["zone:iot"]),
            ("net", 0b00_0100, &["10.4.0.0/16", "fd00:4::/48"]),
            ("subnet", 0b00_1000, &["10.4.0.0/24"]),
            ("tablet", 0b01_0000, &["host:Kids-Tablet", "aa:bb:cc:dd:ee:01"]),
            ("exact", 0b10_0000, &["10.4.0.9"]),
        ]);
        let mac = Some([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 1]);
        let found = |address: &str, mac, host, zone| {
            clients.find(&Facts { address: address.parse().unwrap(), mac, host, zone }).name.to_string()
        };
        assert_eq!(found("10.4.0.9", mac, Some("kids-tablet"), "iot"), "exact");
        assert_eq!(found("::ffff:10.4.0.9", None, None, "iot"), "exact");
        assert_eq!(found("10.4.0.10", mac, None, "iot"), "tablet");
        assert_eq!(found("fd00:4::abcd", mac, None, "iot"), "tablet", "a privacy address of the same device");
        assert_eq!(found("10.4.0.10", None, Some("KIDS-tablet.home.arpa."), "iot"), "tablet");
        assert_eq!(found("10.4.0.10", None, Some("kids"), "iot"), "subnet");
        assert_eq!(found("10.4.1.10", None, None, "iot"), "net");
        assert_eq!(found("10.9.0.1", None, None, "iot"), "all-iot");
        assert_eq!(found("10.9.0.1", None, None, "home"), "");
        let nobody = Facts { address: [10, 9, 0, 1].into(), mac: None, host: None, zone: "home" };
        assert_eq!(clients.find(&nobody).groups, GroupSet::DEFAULT.or(GroupSet::EVERYBODY));
        assert_eq!(
            clients.get("net").map(|client| client.groups),
            Some(GroupSet(0b100).or(GroupSet::EVERYBODY))
        );
    }

    #[test]
    fn spellings() {
        for text in
            ["10.4.0.9", "10.5.0.0/24", "aa:bb:cc:dd:ee:01", "host:kids-tablet", "zone:iot", "fd00::/64"]
        {
            assert_eq!(text.parse::<Who>().unwrap().to_string(), text);
        }
        assert_eq!("10.4.0.9/32".parse(), Ok(Who::Address([10, 4, 0, 9].into())));
        assert_eq!("AA-BB-CC-DD-EE-01".parse::<Who>().unwrap().to_string(), "aa:bb:cc:dd:ee:01");
        for wrong in
            ["", "zone:", "host:", "host:a b", "tablet", "10.4.0.9/24", "ff:ff:ff:ff:ff:ff", "10.4.0.300"]
        {
            assert!(wrong.parse::<Who>().is_err(), "{wrong}");
        }
    }

    fn whos() -> impl Strategy<Value = Who> {
        let v4 = |last: u8, third: u8| IpAddr::from([10, 4, third, last]);
        let v6 = |last: u8| IpAddr::from([0xfd00, 4, 0, 0, 0, 0, 0, u16::from(last)]);
        prop_oneof![
            (0u8..4, 0u8..2).prop_map(move |(last, third)| Who::Address(v4(last, third))),
            (0u8..4).prop_map(move |last| Who::Address(v6(last))),
            (0u8..3).prop_map(|last| Who::Mac(Mac([2, 0, 0, 0, 0, last]))),
            "[ab]{1,2}".prop_map(|name| Who::Host(name.into())),
            (0u8..4, 0u8..2, 8u8..32).prop_map(move |(last, third, length)| {
                Who::Network(IpNet::new(v4(last, third), length).unwrap().trunc())
            }),
            (0u8..4, 16u8..128).prop_map(move |(last, length)| {
                Who::Network(IpNet::new(v6(last), length).unwrap().trunc())
            }),
            "[xy]".prop_map(|name| Who::Zone(name.into())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Against a search through all of them, as the config says it.
        #[test]
        fn finds_what_a_plain_search_finds(
            all in prop::collection::vec(prop::collection::vec(whos(), 0..6), 0..6),
            (last, third, six) in (0u8..4, 0u8..2, any::<bool>()),
            mac in prop::option::of(0u8..3),
            host in prop::option::of("[ab]{1,2}"),
            zone in "[xyz]",
        ) {
            let address: IpAddr = if six {
                [0xfd00, 4, 0, 0, 0, 0, 0, u16::from(last)].into()
            } else {
                [10, 4, third, last].into()
            };
            let facts =
                Facts { address, mac: mac.map(|last| [2, 0, 0, 0, 0, last]), host: host.as_deref(), zone: &zone };
            let clients = Clients::new(all.iter().enumerate().map(|(place, who)| {
                let client = Client { name: place.to_string().into(), groups: GroupSet::one(place) };
                (client, who.clone())
            }));

            // How specific each way is that holds; of equal ones the first.
            let specific = |who: &Who| match who {
                Who::Address(own) => (*own == address).then_some(1000),
                Who::Mac(own) => (Some(own.0) == facts.mac).then_some(900),
                Who::Host(own) => (Some(&**own) == facts.host).then_some(800),
                Who::Network(net) => net.contains(&address).then(|| 100 + u16::from(net.prefix_len())),
                Who::Zone(own) => (**own == *zone).then_some(1),
            };
            let mut best: Option<(u16, usize)> = None;
            for (place, who) in all.iter().enumerate() {
                for specific in who.iter().filter_map(specific) {
                    if best.is_none_or(|(known, _)| specific > known) {
                        best = Some((specific, place));
                    }
                }
            }
            let wanted = best.map_or(String::new(), |(_, place)| place.to_string());
            prop_assert_eq!(&*clients.find(&facts).name, wanted.as_str());
        }
    }
}
