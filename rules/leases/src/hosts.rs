//! Who has which name.
//!
//! A name is a claim, so it is given by rules that no claim can bend:
//!
//! - Who has a name keeps it while one of its leases lives, also when it forgets to say it (dnsmasq takes a name from the
//!   one and gives it to the other), and for [`GRACE`] after that: a file may be read while it is written. Else who is
//!   first in the sources has it.
//! - Names that a person wrote down, and names that others trust ([`NEVER`]), are nobody's. Policy may still know a device
//!   by one, DNS does not.
//! - Addresses of the router and addresses of no inner network get no name.
//!
//! A device is known by its MAC address, else by its DUID. Whoever forges these is that device, here as everywhere on its
//! link.

use model::{Mac, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use crate::{Device, HostName, Lease, MAX_LEASES};

/// Addresses of one name. Further ones have none.
pub const MAX_ADDRESSES: usize = 16;
/// How long a name is nobody else's after the last lease of its device ended or was not seen any more.
pub const GRACE: Duration = Duration::from_secs(600);
/// Names that programs or people trust without asking: proxies are configured by `wpad`, tunnels by `isatap` (both taken
/// over by devices before, CERT VU#598349), and passwords are typed into a router's pages.
pub const NEVER: [&str; 5] = ["localhost", "wpad", "isatap", "router", "gateway"];

/// What no device can have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Names that are taken, with the addresses they have there.
    pub names: BTreeMap<Box<str>, BTreeSet<IpAddr>>,
    /// Every name is: the domain has a wildcard of its own.
    pub every_name: bool,
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name.
    pub name: Arc<str>,
    /// The device's MAC address, if it is known.
    pub mac: Option<Mac>,
    /// Its addresses, of both families, in the order of the sources.
    pub addresses: Vec<IpAddr>,
    /// DNS may answer with it.
    pub in_dns: bool,
    /// It may stand there without the domain, too.
    pub bare: bool,
}

/// A name that somebody asked for and does not get.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The name.
    pub name: String,
    /// An address of who asks.
    pub address: IpAddr,
    /// An address of who has it; none = it is nobody's to have.
    pub held_by: Option<IpAddr>,
}

/// Devices by name, address and MAC address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    hosts: Vec<Host>,
    by_address: HashMap<IpAddr, usize>,
    by_mac: HashMap<Mac, usize>,
    claims: Vec<Claim>,
    held: Held,
}

/// Who had which name, to be kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held(BTreeMap<String, Holder>);

/// A device, and since when it has no lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    id: Id,
    absent: Option<Timestamp>,
}

/// What becomes of a name that somebody had.
enum Former<'a> {
    /// It is free.
    Free,
    /// It is still this device's.
    Of(&'a Id),
    /// Its device is not there, and may be back.
    Waits(Holder),
}

/// By what a device is known again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Id {
    Mac(Mac),
    Duid(Box<[u8]>),
    Address(IpAddr),
}

/// A device with its live leases.
#[derive(Default)]
struct Known<'a> {
    mac: Option<Mac>,
    leases: Vec<(IpAddr, Option<&'a HostName>)>,
}

impl Hosts {
    /// Gives names by the leases that live at `now`. `at_home` says whether an address is one of an inner network and
    /// none of the router's, `seen` which device the neighbour table knows at an address.
    #[must_use]
    pub fn new(
        leases: &[Lease],
        former: &Held,
        reserved: &Reserved,
        now: Timestamp,
        at_home: impl Fn(IpAddr) -> bool,
        seen: impl Fn(IpAddr) -> Option<Mac>,
    ) -> Self {
        let live =
            leases.iter().filter(|lease| lease.ends.is_none_or(|ends| ends > now) && at_home(lease.address));
        let live: Vec<&Lease> = live.collect();
        let (order, devices) = devices(&live, seen);
        let claimed = claimed(&order, &devices);
        let mut hosts = Self::default();
        for (name, claimants) in &claimed {
            let holder = match former.of(name.as_str(), claimants, &devices, now) {
                Former::Of(holder) => Some(holder),
                Former::Free => claimants.first().copied(),
                Former::Waits(holder) => {
                    hosts.held.keep(name.as_str(), holder);
                    None
                }
            };
            if let Some(holder) = holder {
                hosts.give(name, holder, claimants, &devices, reserved);
            }
        }
        // Who forgot to say the name that it has, or is not there.
        let said: HashSet<&str> = claimed.iter().map(|(name, _)| name.as_str()).collect();
        for name in former.0.keys().filter(|name| !said.contains(name.as_str())) {
            let Ok(name) = name.parse::<HostName>() else { continue };
            match former.of(name.as_str(), &[], &devices, now) {
                Former::Of(holder) => hosts.give(&name, holder, &[], &devices, reserved),
                Former::Waits(holder) => hosts.held.keep(name.as_str(), holder),
                Former::Free => {}
            }
        }
        hosts.hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts.claims.sort_unstable();
        for (place, host) in hosts.hosts.iter().enumerate() {
            for address in &host.addresses {
                hosts.by_address.entry(*address).or_insert(place);
            }
            if let Some(mac) = host.mac {
                hosts.by_mac.entry(mac).or_insert(place);
            }
        }
        hosts
    }

    fn give(
        &mut self,
        name: &HostName,
        holder: &Id,
        claimants: &[&Id],
        devices: &HashMap<Id, Known<'_>>,
        reserved: &Reserved,
    ) {
        let Some(device) = devices.get(holder) else { return };
        let addresses: Vec<IpAddr> = device.addresses_of(name).take(MAX_ADDRESSES).collect();
        let Some(first) = addresses.first().copied() else { return };
        for other in claimants.iter().filter(|id| **id != holder) {
            let address = devices.get(*other).and_then(|device| device.addresses_of(name).next());
            self.claims.extend(address.map(|address| Claim {
                name: name.to_string(),
                address,
                held_by: Some(first),
            }));
        }
        let is_reserved = reserved.holds(name.as_str());
        // What a person wrote of this very device is no conflict.
        let written = reserved
            .names
            .get(name.as_str())
            .is_some_and(|known| addresses.iter().all(|own| known.contains(own)));
        if is_reserved && !written {
            self.claims.push(Claim { name: name.to_string(), address: first, held_by: None });
        }
        self.held.0.insert(name.to_string(), Holder { id: holder.clone(), absent: None });
        self.hosts.push(Host {
            name: name.as_str().into(),
            mac: device.mac,
            addresses,
            in_dns: !is_reserved,
            bare: name.stands_alone(),
        });
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// The name of whoever has this address; an address without a lease has the name of its device (IPv6 addresses that
    /// devices make up).
    #[must_use]
    pub fn name_of(&self, address: IpAddr, mac: Option<Mac>) -> Option<&Arc<str>> {
        let by_address = self.by_address.get(&address.to_canonical());
        match by_address.and_then(|place| self.hosts.get(*place)) {
            Some(host) => Some(&host.name),
            None => self.name_of_mac(mac?),
        }
    }

    /// The name of the device with this MAC address.
    #[must_use]
    pub fn name_of_mac(&self, mac: Mac) -> Option<&Arc<str>> {
        self.by_mac.get(&mac).and_then(|place| self.hosts.get(*place)).map(|host| &host.name)
    }

    /// Names that were asked for and not given.
    #[must_use]
    pub fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// Who has which name.
    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }
}

impl Held {
    /// Takes over who is not in here: where not all leases are known, nobody has lost a name.
    #[must_use]
    pub fn or_former(mut self, former: &Self) -> Self {
        for (name, holder) in &former.0 {
            self.0.entry(name.clone()).or_insert_with(|| holder.clone());
        }
        self
    }

    /// What becomes of a name that these devices claim now.
    fn of<'a>(
        &'a self,
        name: &str,
        claimants: &[&Id],
        devices: &HashMap<Id, Known<'_>>,
        now: Timestamp,
    ) -> Former<'a> {
        let Some(Holder { id, absent }) = self.0.get(name) else { return Former::Free };
        match devices.get(id) {
            Some(device) if device.is_nameless() || claimants.contains(&id) => Former::Of(id),
            // It calls itself something else now.
            Some(_) => Former::Free,
            None => {
                let absent = absent.unwrap_or(now);
                if now.since(absent) < GRACE {
                    Former::Waits(Holder { id: id.clone(), absent: Some(absent) })
                } else {
                    Former::Free
                }
            }
        }
    }

    fn keep(&mut self, name: &str, holder: Holder) {
        if self.0.len() < MAX_LEASES {
            self.0.insert(name.to_owned(), holder);
        }
    }
}

impl Reserved {
    fn holds(&self, name: &str) -> bool {
        self.every_name || NEVER.contains(&name) || self.names.contains_key(name)
    }
}

impl Known<'_> {
    fn is_nameless(&self) -> bool {
        self.leases.iter().all(|(_, name)| name.is_none())
    }

    /// Its addresses under a name: those that say it, and with its first name those that say nothing.
    fn addresses_of(&self, name: &HostName) -> impl Iterator<Item = IpAddr> {
        let first = self.leases.iter().find_map(|(_, said)| *said);
        let takes_nameless = first.is_none_or(|first| first == name);
        self.leases
            .iter()
            .filter(move |(_, said)| said.map_or(takes_nameless, |said| said == name))
            .map(|(address, _)| *address)
    }
}

/// The devices of these leases, and the order in which they first come up.
fn devices<'a>(
    leases: &[&'a Lease],
    seen: impl Fn(IpAddr) -> Option<Mac>,
) -> (Vec<Id>, HashMap<Id, Known<'a>>) {
    let mut macs: HashMap<&[u8], Mac> = HashMap::new();
    for lease in leases {
        if let (Some(mac), Some(duid)) = (lease.device.mac, &lease.device.duid) {
            macs.entry(duid).or_insert(mac);
        }
    }
    let (mut order, mut devices): (Vec<Id>, HashMap<Id, Known<'_>>) = (Vec::new(), HashMap::new());
    for lease in leases {
        let Device { mac, duid } = &lease.device;
        let by_duid = || duid.as_ref().and_then(|duid| macs.get(&**duid).copied());
        // Of an IPv6 lease the server knows the DUID alone, which anybody can send: who was seen there counts more.
        let near = lease.address.is_ipv6().then(|| seen(lease.address)).flatten();
        let mac = near.or(*mac).or_else(by_duid);
        let id = match (mac, duid) {
            (Some(mac), _) => Id::Mac(mac),
            (None, Some(duid)) => Id::Duid(duid.clone()),
            (None, None) => Id::Address(lease.address),
        };
        let known = devices.entry(id.clone()).or_insert_with(|| {
            order.push(id);
            Known { mac, leases: Vec::new() }
        });
        known.leases.push((lease.address, lease.name.as_ref()));
    }
    (order, devices)
}

/// Every name with who says it, first come first.
fn claimed<'a>(order: &'a [Id], devices: &HashMap<Id, Known<'a>>) -> Vec<(&'a HostName, Vec<&'a Id>)> {
    let mut places: HashMap<&HostName, usize> = HashMap::new();
    let mut claimed: Vec<(&HostName, Vec<&Id>)> = Vec::new();
    for id in order {
        for name in
            devices.get(id).into_iter().flat_map(|device| &device.leases).filter_map(|(_, name)| *name)
        {
            let place = *places.entry(name).or_insert_with(|| {
                claimed.push((name, Vec::new()));
                claimed.len() - 1
            });
            if let Some((_, claimants)) = claimed.get_mut(place)
                && claimants.last() != Some(&id)
            {
                claimants.push(id);
            }
        }
    }
    claimed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_seconds(1000);

    fn lease(last: u8, mac: u8, name: &str) -> Lease {
        let mac = (mac != 0).then_some(Mac([2, 0, 0, 0, 0, mac]));
        Lease {
            address: [10, 4, 0, last].into(),
            device: Device { mac, duid: None },
            name: HostName::claimed(name),
            ends: Some(Timestamp::from_seconds(2000)),
        }
    }

    fn hosts(leases: &[Lease], former: &Held) -> Hosts {
        let mut reserved = Reserved::default();
        reserved.names.insert("proxy".into(), BTreeSet::from([[10, 2, 0, 1].into()]));
        reserved.names.insert("printer".into(), BTreeSet::from([[10, 4, 0, 50].into()]));
        Hosts::new(leases, former, &reserved, NOW, |address| address != IpAddr::from([10, 4, 0, 1]), |_| None)
    }

    fn shown(hosts: &Hosts) -> Vec<String> {
        let text = |host: &Host| {
            let addresses: Vec<_> = host.addresses.iter().map(ToString::to_string).collect();
            format!("{}{} {}", host.name, if host.in_dns { "" } else { " (hidden)" }, addresses.join(" "))
        };
        hosts.iter().map(text).collect()
    }

    fn claims(hosts: &Hosts) -> Vec<(String, u8, bool)> {
        let last = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => 0,
        };
        hosts
            .claims()
            .iter()
            .map(|claim| (claim.name.clone(), last(claim.address), claim.held_by.is_some()))
            .collect()
    }

    #[test]
    fn a_device_keeps_its_name_against_another_whatever_the_server_says() {
        let first = hosts(&[lease(9, 1, "nas")], &Held::default());
        assert_eq!(shown(&first), ["nas 10.4.0.9"]);
        // The server lets the newer one have it, as dnsmasq does; the order of a file means nothing any more.
        let taken = [lease(66, 6, "nas"), lease(9, 1, "*")];
        let second = hosts(&taken, first.held());
        assert_eq!(
            (shown(&second), claims(&second)),
            (vec!["nas 10.4.0.9".into()], vec![("nas".into(), 66, true)])
        );
        let both = hosts(&[lease(66, 6, "NAS"), lease(9, 1, "nas")], second.held());
        assert_eq!(shown(&both), ["nas 10.4.0.9"]);
        // Over a restart as well.
        let kept: Held = serde_json::from_str(&serde_json::to_string(both.held()).unwrap()).unwrap();
        assert_eq!(shown(&hosts(&taken, &kept)), ["nas 10.4.0.9"]);
        // With another name it gives this one away.
        let renamed = hosts(&[lease(66, 6, "nas"), lease(9, 1, "files")], &kept);
        assert_eq!(shown(&renamed), ["files 10.4.0.9", "nas 10.4.0.66"]);
        // Not at once: a file may have been read while it was written.
        let gone = hosts(&[lease(66, 6, "nas")], &kept);
        assert_eq!(shown(&gone), [] as [&str; 0]);
        assert_eq!(shown(&hosts(&[lease(66, 6, "nas"), lease(9, 1, "nas")], gone.held())), ["nas 10.4.0.9"]);
        let later = |held: &Held, seconds| {
            let mut ended = lease(9, 1, "nas");
            ended.ends = Some(NOW);
            let leases = [ended, Lease { ends: None, ..lease(66, 6, "nas") }];
            let now = NOW.plus(Duration::from_secs(seconds));
            Hosts::new(&leases, held, &Reserved::default(), now, |_| true, |_| None)
        };
        assert_eq!(shown(&later(gone.held(), GRACE.as_secs() - 1)), [] as [&str; 0]);
        assert_eq!(shown(&later(gone.held(), GRACE.as_secs())), ["nas 10.4.0.66"]);
        // Where nobody had it, who stands first has it.
        assert_eq!(
            shown(&hosts(&[lease(9, 1, "tv"), lease(66, 6, "tv")], &Held::default())),
            ["tv 10.4.0.9"]
        );
    }

    #[test]
    fn names_of_people_and_of_trust_are_nobodys() {
        let leases = [
            lease(66, 6, "proxy"),
            lease(67, 7, "wpad"),
            lease(68, 8, "router"),
            lease(50, 9, "printer"),
            lease(1, 10, "me"),
        ];
        let hosts = hosts(&leases, &Held::default());
        assert_eq!(
            shown(&hosts),
            [
                "printer (hidden) 10.4.0.50",
                "proxy (hidden) 10.4.0.66",
                "router (hidden) 10.4.0.68",
                "wpad (hidden) 10.4.0.67"
            ]
        );
        assert_eq!(
            claims(&hosts),
            [("proxy".into(), 66, false), ("router".into(), 68, false), ("wpad".into(), 67, false)]
        );
        assert_eq!(
            hosts.name_of([10, 4, 0, 66].into(), None).map(|name| &**name),
            Some("proxy"),
            "for policy"
        );
        let every = Reserved { every_name: true, ..Reserved::default() };
        let all = Hosts::new(&[lease(9, 1, "nas")], &Held::default(), &every, NOW, |_| true, |_| None);
        assert!(all.iter().all(|host| !host.in_dns));
    }

    #[test]
    fn one_device_has_one_name_in_both_families() {
        let duid: Box<[u8]> = [0, 2, 0, 0, 0xab, 0x11, 7].into();
        let mut four = lease(9, 1, "laptop");
        four.device.duid = Some(duid.clone());
        let six = |last: u16, duid: Option<Box<[u8]>>| Lease {
            address: [0xfd00, 4, 0, 0, 0, 0, 0, last].into(),
            device: Device { mac: None, duid },
            ..lease(9, 0, "laptop")
        };
        let leases =
            [four.clone(), six(9, Some(duid.clone())), six(10, None), six(11, Some([9, 9, 9].into()))];
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        let seen = |address: IpAddr| (address == IpAddr::from([0xfd00, 4, 0, 0, 0, 0, 0, 10])).then_some(mac);
        let hosts = Hosts::new(&leases, &Held::default(), &Reserved::default(), NOW, |_| true, seen);
        assert_eq!(shown(&hosts), ["laptop 10.4.0.9 fd00:4::9 fd00:4::a"]);
        assert_eq!(hosts.claims().len(), 1, "{:?}", hosts.claims());
        let private = [0xfd00, 4, 0, 0, 1, 2, 3, 4].into();
        assert_eq!(hosts.name_of(private, Some(mac)).map(|name| &**name), Some("laptop"));
        assert_eq!(hosts.name_of(private, None), None);
        // The neighbour table knows better than a DUID that anybody can send.
        let other = |address: IpAddr| address.is_ipv6().then_some(Mac([2, 0, 0, 0, 0, 6]));
        let hosts = Hosts::new(
            &[four, six(9, Some(duid))],
            &Held::default(),
            &Reserved::default(),
            NOW,
            |_| true,
            other,
        );
        assert_eq!(shown(&hosts), ["laptop 10.4.0.9"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// However leases come and go: a name has one device, an address one name, and who lives with a name keeps it.
        #[test]
        fn names_stay(looks in prop::collection::vec(prop::collection::vec((2u8..6, 1u8..5, "(a|b|c|\\*|proxy)"), 0..6), 1..5)) {
            let mut former = Hosts::default();
            for look in &looks {
                let mut leases: Vec<Lease> = Vec::new();
                for (last, mac, name) in look {
                    if !leases.iter().any(|lease| lease.address == IpAddr::from([10, 4, 0, *last])) {
                        leases.push(lease(*last, *mac, name));
                    }
                }
                let now = hosts(&leases, former.held());
                let mut names = BTreeSet::new();
                for host in now.iter() {
                    prop_assert!(names.insert(Arc::clone(&host.name)), "a name twice");
                    prop_assert!(!(host.in_dns && &*host.name == "proxy"));
                    let held = former.iter().find(|before| before.name == host.name);
                    if let Some(held) = held && held.mac != host.mac {
                        let still = leases.iter().filter(|lease| lease.device.mac == held.mac);
                        let said: Vec<_> = still.map(|lease| lease.name.as_ref().map(HostName::as_str)).collect();
                        prop_assert!(
                            said.iter().any(Option::is_some) && !said.contains(&Some(&*host.name)),
                            "{} was taken from {:?}", host.name, held.mac
                        );
                    }
                }
                former = now;
            }
        }
    }
}
