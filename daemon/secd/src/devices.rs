//! The devices of the zones: which addresses each has, which of them are new, and which a person has let in.
//!
//! Pure but for the file in which allowed devices are kept. What a rule says of a device as a destination holds for the
//! addresses that the neighbour table shows for its MAC address: IPv6 privacy addresses come and go there, so an address
//! stays for a while after it was last seen.

use ipnet::IpNet;
use model::{Mac, Timestamp};
use policy::{DeviceGroup, Policy};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{neighbours::Neighbour, trial::durable};

/// Devices that are remembered. Of more, those seen longest ago are forgotten.
pub const MAX_SEEN: usize = 8192;
/// Addresses of one device. Of more, those seen longest ago are forgotten: a device cannot take a network by answering
/// for all of it.
pub const MAX_ADDRESSES: usize = 32;
/// Devices that a person has let in by command. More are refused.
pub const MAX_ALLOWED: usize = 4096;
/// How long an address is a device's after it was last seen.
const KEPT: Duration = Duration::from_secs(3600);
/// The group of devices that were let in without naming one.
pub const ALLOWED_GROUP: &str = "allowed by command";

/// Every device that was seen.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    seen: BTreeMap<Mac, Seen>,
    /// Devices that are held back and were told of.
    told: BTreeSet<Mac>,
}

/// What is known of a device.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The zone it was last seen in.
    pub zone: String,
    /// When it was first seen by this daemon.
    pub first: Timestamp,
    /// When it was last seen.
    pub last: Timestamp,
    /// Its addresses, each with when it was last seen.
    pub addresses: BTreeMap<IpAddr, Timestamp>,
}

/// A device that a zone with quarantine holds back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its MAC address.
    pub mac: Mac,
    /// The zone.
    pub zone: String,
    /// One of its addresses.
    pub address: IpAddr,
}

impl Devices {
    /// Takes in a look at the neighbour table; returns the devices that are held back and were not told of before.
    /// `interfaces` are names by index. `policy` has the groups with the allowed devices in them.
    pub fn see(
        &mut self,
        neighbours: &[Neighbour],
        policy: &Policy,
        interfaces: &BTreeMap<u32, String>,
        now: Timestamp,
    ) -> Vec<NewDevice> {
        let grouped: BTreeSet<Mac> =
            policy.devices.iter().flat_map(|group| group.macs.iter().copied()).collect();
        let mut new = Vec::new();
        for neighbour in neighbours {
            let Some(name) = interfaces.get(&neighbour.interface) else { continue };
            let Some(zone) = policy.zones.iter().find(|zone| zone.device == *name) else { continue };
            // Who answers for an address outside of its zone's networks does not get it.
            if !zone.networks.iter().chain(&zone.routes).any(|net| net.contains(&neighbour.address)) {
                continue;
            }
            let seen = self.seen.entry(neighbour.mac).or_insert_with(|| Seen {
                zone: zone.name.clone(),
                first: now,
                last: now,
                addresses: BTreeMap::new(),
            });
            (seen.last, seen.zone) = (now, zone.name.clone());
            seen.addresses.insert(neighbour.address, now);
            limit(&mut seen.addresses, MAX_ADDRESSES, |at| *at);
            let held = zone.quarantine && !grouped.contains(&neighbour.mac);
            if !held {
                self.told.remove(&neighbour.mac);
            } else if self.told.insert(neighbour.mac) {
                let address = neighbour.address;
                new.push(NewDevice { mac: neighbour.mac, zone: zone.name.clone(), address });
            }
        }
        for seen in self.seen.values_mut() {
            seen.addresses.retain(|_, at| now.since(*at) <= KEPT);
        }
        limit(&mut self.seen, MAX_SEEN, |seen| seen.last);
        if self.told.len() > MAX_SEEN {
            self.told.retain(|mac| self.seen.contains_key(mac));
        }
        new
    }

    /// None seen yet; these were told of before.
    #[must_use]
    pub fn with_told(told: BTreeSet<Mac>) -> Self {
        Self { seen: BTreeMap::new(), told }
    }

    /// Devices that are held back and were told of.
    #[must_use]
    pub fn told(&self) -> &BTreeSet<Mac> {
        &self.told
    }

    /// Every device, by MAC address.
    pub fn iter(&self) -> impl Iterator<Item = (Mac, &Seen)> {
        self.seen.iter().map(|(mac, seen)| (*mac, seen))
    }

    /// The addresses of each device of a group.
    #[must_use]
    pub fn of_groups(&self, groups: &[DeviceGroup]) -> Addresses {
        let macs: BTreeSet<Mac> = groups.iter().flat_map(|group| group.macs.iter().copied()).collect();
        let known = macs.into_iter().filter_map(|mac| Some((mac, self.seen.get(&mac)?)));
        known.map(|(mac, seen)| (mac, seen.addresses.keys().copied().collect())).collect()
    }
}

/// The devices that were told of as new before this daemon started, at most [`MAX_SEEN`]. A file that cannot be read says
/// nothing: they are told of again.
#[must_use]
pub fn read_told(file: &Path) -> BTreeSet<Mac> {
    let told: Option<Vec<Mac>> = std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok());
    told.unwrap_or_default().into_iter().take(MAX_SEEN).collect()
}

/// Keeps them.
///
/// # Errors
/// The file cannot be written.
pub fn keep_told(file: &Path, told: &BTreeSet<Mac>) -> io::Result<()> {
    durable(file, serde_json::to_string(told).map_err(io::Error::other)?, None)
}

/// Addresses by device: what the plan depends on.
pub type Addresses = BTreeMap<Mac, BTreeSet<IpAddr>>;

/// Puts the devices' addresses into the groups of a policy.
pub fn fill(groups: &mut [DeviceGroup], addresses: &Addresses) {
    for group in groups {
        let of = group.macs.iter().filter_map(|mac| addresses.get(mac)).flatten();
        group.addresses = policy::address_set(of.map(|address| IpNet::from(*address)).collect());
    }
}

/// Forgets what was seen longest ago until at most `most` are left.
fn limit<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, most: usize, seen: impl Fn(&V) -> Timestamp) {
    while map.len() > most {
        let Some(oldest) = map.iter().min_by_key(|(_, value)| seen(value)).map(|(key, _)| key.clone()) else {
            return;
        };
        map.remove(&oldest);
    }
}

/// A device that a person has let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// Its MAC address.
    pub mac: Mac,
    /// The group of the config it belongs to; none = it is let in, and no rule names it.
    #[serde(default)]
    pub group: Option<String>,
    /// Who let it in.
    pub user: String,
    /// When.
    pub since: Timestamp,
}

/// Devices that people have let in, as they are on disk.
#[derive(Clone, Debug)]
pub struct AllowedDevices {
    file: PathBuf,
    devices: BTreeMap<Mac, Allowed>,
}

impl AllowedDevices {
    /// Reads them.
    ///
    /// # Errors
    /// The file is there and cannot be read: it must not be overwritten then.
    pub fn open(file: &Path) -> io::Result<Self> {
        let devices: Vec<Allowed> = match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let devices = devices.into_iter().take(MAX_ALLOWED).map(|device| (device.mac, device)).collect();
        Ok(Self { file: file.to_owned(), devices })
    }

    /// Lets a device in, durably.
    ///
    /// # Errors
    /// [`MAX_ALLOWED`] are let in already, or the file cannot be written: then nothing changes.
    pub fn allow(&mut self, device: Allowed) -> io::Result<()> {
        let full = self.devices.len() >= MAX_ALLOWED && !self.devices.contains_key(&device.mac);
        if full {
            return Err(io::Error::other(format!(
                "{MAX_ALLOWED} devices are let in already; put them into [devices] of the config"
            )));
        }
        let mut devices = self.devices.clone();
        devices.insert(device.mac, device);
        self.keep(devices)
    }

    /// Takes that back; whether it had been let in.
    ///
    /// # Errors
    /// The file cannot be written: then nothing changes.
    pub fn forget(&mut self, mac: Mac) -> io::Result<bool> {
        let mut devices = self.devices.clone();
        let was = devices.remove(&mac).is_some();
        if was {
            self.keep(devices)?;
        }
        Ok(was)
    }

    /// The device, if it was let in.
    #[must_use]
    pub fn get(&self, mac: Mac) -> Option<&Allowed> {
        self.devices.get(&mac)
    }

    /// Every device that was let in.
    pub fn iter(&self) -> impl Iterator<Item = &Allowed> {
        self.devices.values()
    }

    /// Puts them into the groups of a policy; those without a group, or whose group is gone, into one of their own, which
    /// no rule names.
    pub fn join(&self, policy: &mut Policy) {
        let mut others = Vec::new();
        for device in self.devices.values() {
            let named = device.group.as_ref();
            let group = policy.devices.iter_mut().find(|group| Some(&group.name) == named);
            let macs = group.map_or(&mut others, |group| &mut group.macs);
            if !macs.contains(&device.mac) {
                macs.push(device.mac);
            }
        }
        if !others.is_empty() {
            let addresses = std::sync::Arc::from([]);
            policy.devices.push(DeviceGroup { name: ALLOWED_GROUP.into(), macs: others, addresses });
        }
        for group in &mut policy.devices {
            group.macs.sort_unstable();
        }
    }

    fn keep(&mut self, devices: BTreeMap<Mac, Allowed>) -> io::Result<()> {
        let text =
            serde_json::to_string_pretty(&devices.values().collect::<Vec<_>>()).map_err(io::Error::other)?;
        durable(&self.file, &text, None)?;
        self.devices = devices;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
        [zones.iot]\ninterface = 'iot0'\nnetworks = ['10.4.0.0/24', 'fd00:4::/64']\nquarantine = true\n\
        [devices]\ntvs = ['02:00:00:00:00:01']\n\
        [[rules]]\nfrom = ['tvs']\nto = ['wan']\naction = 'allow'\n";

    fn policy() -> Policy {
        config::parse("secd.toml", CONFIG).unwrap().policy
    }

    fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    fn neighbour(last: u8, address: &str) -> Neighbour {
        Neighbour { interface: 4, mac: mac(last), address: address.parse().unwrap() }
    }

    fn interfaces() -> BTreeMap<u32, String> {
        BTreeMap::from([(4, "iot0".into()), (5, "wan0".into())])
    }

    #[test]
    fn a_device_has_the_addresses_it_was_seen_with_for_a_while() {
        let (policy, at) = (policy(), |seconds: i64| Timestamp::from_seconds(1_790_000_000 + seconds));
        let mut devices = Devices::default();
        let look = [
            neighbour(1, "10.4.0.9"),
            neighbour(1, "fd00:4::aaaa"),
            neighbour(1, "10.9.0.1"),
            Neighbour { interface: 99, ..neighbour(2, "10.4.0.2") },
        ];
        devices.see(&look, &policy, &interfaces(), at(0));
        let addresses = |devices: &Devices| -> Vec<String> {
            let mut groups = policy.devices.clone();
            fill(&mut groups, &devices.of_groups(&policy.devices));
            groups[0].addresses.iter().map(ToString::to_string).collect()
        };
        assert_eq!(addresses(&devices), ["10.4.0.9/32", "fd00:4::aaaa/128"], "not what is outside its zone");
        devices.see(&[neighbour(1, "10.4.0.9")], &policy, &interfaces(), at(1800));
        assert_eq!(addresses(&devices).len(), 2);
        devices.see(&[neighbour(1, "10.4.0.9")], &policy, &interfaces(), at(3700));
        assert_eq!(addresses(&devices), ["10.4.0.9/32"]);
        devices.see(&[], &policy, &interfaces(), at(9000));
        assert_eq!(addresses(&devices), [] as [&str; 0]);
    }

    #[test]
    fn new_devices_are_told_once_until_they_are_let_in() {
        let mut devices = Devices::default();
        let look = [neighbour(1, "10.4.0.9"), neighbour(7, "10.4.0.7"), neighbour(7, "fd00:4::7")];
        let now = Timestamp::from_seconds(1_790_000_000);
        let new = devices.see(&look, &policy(), &interfaces(), now);
        assert_eq!(new, [NewDevice { mac: mac(7), zone: "iot".into(), address: [10, 4, 0, 7].into() }]);
        assert_eq!(devices.see(&look, &policy(), &interfaces(), now), []);

        let folder = tempfile::tempdir().unwrap();
        // Nor after a restart.
        let kept = folder.path().join("told.json");
        assert_eq!(read_told(&kept), BTreeSet::new());
        keep_told(&kept, devices.told()).unwrap();
        let mut devices = Devices::with_told(read_told(&kept));
        assert_eq!(devices.see(&look, &policy(), &interfaces(), now), []);
        let file = folder.path().join("devices.json");
        let mut allowed = AllowedDevices::open(&file).unwrap();
        let device = Allowed { mac: mac(7), group: None, user: "ada".into(), since: now };
        allowed.allow(device.clone()).unwrap();
        let mut policy = policy();
        allowed.join(&mut policy);
        assert_eq!(policy.devices[1].macs, [mac(7)]);
        assert_eq!(devices.see(&look, &policy, &interfaces(), now), []);
        let again = AllowedDevices::open(&file).unwrap();
        assert_eq!(again.get(mac(7)), Some(&device), "kept over restarts");
        assert!(allowed.forget(mac(7)).unwrap() && !allowed.forget(mac(7)).unwrap());
        assert_eq!(devices.see(&look, &super::tests::policy(), &interfaces(), now).len(), 1, "held again");
    }

    #[test]
    fn a_device_let_into_a_group_is_in_it_and_a_bad_file_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("devices.json");
        let mut allowed = AllowedDevices::open(&file).unwrap();
        let now = Timestamp::from_seconds(1_790_000_000);
        let device = |last, group: &str| Allowed {
            mac: mac(last),
            group: Some(group.into()),
            user: "ada".into(),
            since: now,
        };
        allowed.allow(device(3, "tvs")).unwrap();
        allowed.allow(device(4, "a group that is gone")).unwrap();
        let mut policy = policy();
        allowed.join(&mut policy);
        assert_eq!(policy.devices[0].macs, [mac(1), mac(3)]);
        assert_eq!(
            (policy.devices[1].name.as_str(), policy.devices[1].macs.as_slice()),
            (ALLOWED_GROUP, &[mac(4)][..])
        );
        std::fs::write(&file, "rubbish").unwrap();
        assert!(AllowedDevices::open(&file).is_err());
    }

    #[test]
    fn a_device_that_answers_for_a_whole_network_keeps_few_addresses() {
        let mut devices = Devices::default();
        let look: Vec<_> = (1..=200).map(|last| neighbour(1, &format!("10.4.0.{last}"))).collect();
        devices.see(&look, &policy(), &interfaces(), Timestamp::from_seconds(1_790_000_000));
        assert_eq!(devices.of_groups(&policy().devices)[&mac(1)].len(), MAX_ADDRESSES);
    }
}
