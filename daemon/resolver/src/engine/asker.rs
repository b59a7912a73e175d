//! Who asks: zone, name and groups of a client, looked up once in a while and not for every question.

use foldhash::fast::RandomState;
use lists::{Client, Facts, GroupSet};
use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use crate::{
    Settings,
    limits::{ASKER_LIFE, MAX_ASKERS},
};

/// What the daemon knows of a device beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its MAC address, by the neighbour table.
    pub mac: Option<[u8; 6]>,
    /// Its name in a lease.
    pub host: Option<Arc<str>>,
}

/// Who knows devices by their addresses. Asked once in a while for each client; must not block.
pub type Devices = Arc<dyn Fn(IpAddr) -> Device + Send + Sync>;

/// Somebody who asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) address: IpAddr,
    pub(crate) zone: Arc<str>,
    /// Addresses it learns are told; see [`crate::Sink::resolved`].
    pub(crate) resolved: bool,
    /// Its name in the config, and its groups, whether in force or not.
    pub(crate) client: Client,
}

impl Asker {
    /// Who has this address; none if it is not to be answered.
    pub(crate) fn find(address: IpAddr, settings: &Settings, devices: &Devices) -> Option<Self> {
        let address = address.to_canonical();
        let network = settings.network_of(address)?;
        let zone = Arc::clone(&network.zone);
        let device = devices(address);
        let facts = Facts { address, mac: device.mac, host: device.host.as_deref(), zone: &zone };
        let client = settings.policy.clients.find(&facts);
        Some(Self { address, zone, resolved: network.resolved, client })
    }

    /// Somebody of whom nothing is known.
    pub(crate) fn nobody() -> Self {
        Self {
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            zone: "".into(),
            resolved: false,
            client: Client { name: "".into(), groups: GroupSet::DEFAULT },
        }
    }

    /// Its groups that are in force.
    pub(crate) const fn groups(&self, in_force: GroupSet) -> GroupSet {
        self.client.groups.and(in_force)
    }
}

/// Those who asked lately. When [`MAX_ASKERS`] are known all are forgotten.
pub(crate) struct Askers {
    known: HashMap<IpAddr, (Option<Asker>, Duration), RandomState>,
    /// Which version of the settings they are of.
    version: u64,
}

impl Default for Askers {
    fn default() -> Self {
        Self { known: HashMap::default(), version: u64::MAX }
    }
}

impl Askers {
    /// Who has this address; none if it is not to be answered.
    pub(crate) fn find(
        &mut self,
        address: IpAddr,
        version: u64,
        now: Duration,
        look: impl FnOnce() -> Option<Asker>,
    ) -> Option<&Asker> {
        if self.version != version || self.known.len() > MAX_ASKERS {
            self.known.clear();
            self.version = version;
        }
        let (asker, until) = self.known.entry(address).or_insert((None, Duration::ZERO));
        if now >= *until {
            *asker = look();
            *until = now + ASKER_LIFE;
        }
        asker.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(name: &str) -> Option<Asker> {
        Some(Asker {
            address: [10, 0, 0, 1].into(),
            zone: "home".into(),
            resolved: false,
            client: Client { name: name.into(), groups: GroupSet::DEFAULT },
        })
    }

    #[test]
    fn what_is_known_is_looked_up_anew_in_time_and_with_new_settings() {
        let mut askers = Askers::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let start = Duration::from_secs(1);
        let mut name = |version, now, name| {
            askers.find(address, version, now, || asker(name)).map(|asker| asker.client.name.to_string())
        };
        assert_eq!(name(1, start, "a").as_deref(), Some("a"));
        assert_eq!(name(1, start, "b").as_deref(), Some("a"), "remembered");
        assert_eq!(name(1, start + ASKER_LIFE, "b").as_deref(), Some("b"));
        assert_eq!(name(2, start + ASKER_LIFE, "c").as_deref(), Some("c"));
    }

    #[test]
    fn a_flood_of_addresses_is_not_remembered() {
        let mut askers = Askers::default();
        for number in 0..u32::try_from(MAX_ASKERS).unwrap() * 3 {
            askers.find(IpAddr::from(number.to_be_bytes()), 1, Duration::ZERO, || None);
            assert!(askers.known.len() <= MAX_ASKERS + 1);
        }
    }
}
