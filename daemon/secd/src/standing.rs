//! The policy as it stands now: the config's, with what changes without it put in. Countries and providers come from
//! the GeoIP database, lists from their files, addresses of devices from the neighbour table, and schedules hold or not.

use ipnet::IpNet;
use model::Timestamp;
use policy::{Policy, SetKind, TimeZones};
use std::{collections::BTreeMap, sync::Arc};

use crate::devices::{Addresses, AllowedDevices, fill};

/// Address sets by the name of their list.
pub type ListSets = BTreeMap<String, Arc<[IpNet]>>;

/// A policy with everything put in but the time, and as it stands at one.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// With every address set and device group filled.
    pub filled: Arc<Policy>,
    /// Rules whose schedule does not hold are taken out.
    pub now: Arc<Policy>,
    /// When a schedule begins or ceases to hold.
    pub next_change: Option<Timestamp>,
}

impl Standing {
    /// Puts everything in. What cannot be found out leaves its set empty, which matches nothing; the text says so.
    #[must_use]
    pub fn new(
        policy: &Policy,
        lists: &ListSets,
        geoip: Option<&::feeds::geoip::GeoIp>,
        allowed: &AllowedDevices,
        addresses: &Addresses,
        (now, zones): (Timestamp, &TimeZones),
    ) -> (Self, Option<String>) {
        let mut policy = policy.clone();
        let mut trouble = None;
        if needs_geoip(&policy) {
            let filled = match geoip {
                Some(geoip) => geoip.fill(&mut policy.sets).map_err(|error| error.to_string()),
                None => Err("there is no GeoIP database yet".into()),
            };
            trouble =
                filled.err().map(|why| format!("rules about countries and providers match nobody: {why}"));
        }
        for set in policy.sets.iter_mut().filter(|set| set.kind == SetKind::List) {
            set.nets = lists.get(&set.name).map_or_else(|| Arc::from([]), Arc::clone);
        }
        allowed.join(&mut policy);
        fill(&mut policy.devices, addresses);
        (Self::at(Arc::new(policy), now, zones), trouble)
    }

    /// The same at another time.
    #[must_use]
    pub fn at(filled: Arc<Policy>, now: Timestamp, zones: &TimeZones) -> Self {
        let next_change = filled.next_change(now, zones);
        let standing = if filled.rules.iter().any(|rule| rule.schedule.is_some()) {
            Arc::new(filled.active_at(now, zones))
        } else {
            Arc::clone(&filled)
        };
        Self { filled, now: standing, next_change }
    }
}

/// Whether any rule names a country or provider.
#[must_use]
pub fn needs_geoip(policy: &Policy) -> bool {
    policy.sets.iter().any(|set| matches!(set.kind, SetKind::Country | SetKind::System))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const CONFIG: &str = "[zones.wan]\ninterface = 'wan0'\nwan = true\n\
        [zones.home]\ninterface = 'home0'\nnetworks = ['10.1.0.0/24']\n\
        [devices]\ntvs = ['02:00:00:00:00:01']\n\
        [schedules.evenings]\nfrom = '18:00'\nto = '20:00'\nzone = 'UTC'\n\
        [[lists]]\nname = 'office'\npath = '/nowhere'\nkind = 'addresses'\nblock = false\n\
        [[rules]]\nfrom = ['list:office']\nto = ['tvs']\nservices = ['https']\naction = 'allow'\n\
        [[rules]]\nfrom = ['tvs']\nto = ['wan']\naction = 'drop'\nschedule = 'evenings'\n";

    #[test]
    fn lists_devices_and_time_are_put_in() {
        let policy = config::parse("secd.toml", CONFIG).unwrap().policy;
        let folder = tempfile::tempdir().unwrap();
        let allowed = AllowedDevices::open(&folder.path().join("devices.json")).unwrap();
        let net: IpNet = "192.0.2.0/24".parse().unwrap();
        let lists = ListSets::from([("office".to_owned(), Arc::from([net]))]);
        let tv = "10.1.0.30".parse().unwrap();
        let addresses = Addresses::from([(model::Mac([2, 0, 0, 0, 0, 1]), [tv].into())]);
        let zones = TimeZones::new(TimeZone::UTC);
        // 1,790,000,000 s is 14:13:20 UTC.
        let now = Timestamp::from_seconds(1_790_000_000);
        let (standing, trouble) = Standing::new(&policy, &lists, None, &allowed, &addresses, (now, &zones));
        assert_eq!(trouble, None);
        assert_eq!(standing.now.sets[0].nets.as_ref(), [net]);
        assert_eq!(standing.now.devices[0].addresses.as_ref(), [IpNet::from(tv)]);
        assert_eq!(standing.now.rules.len(), 1, "not yet evening");
        let evening = standing.next_change.unwrap();
        assert_eq!(evening.to_string(), "2026-09-21T18:00:00.000000Z");
        let later = Standing::at(Arc::clone(&standing.filled), evening, &zones);
        assert_eq!(later.now.rules.len(), 2);
        assert_eq!(later.now.rules[1].id, 1, "numbers stay those of the file");
    }

    #[test]
    fn a_country_without_a_database_matches_nobody_and_is_told() {
        let text = CONFIG.replace("'list:office'", "'country:DE'") + "[geoip]\npath = '/nowhere.mmdb'\n";
        let policy = config::parse("secd.toml", &text).unwrap().policy;
        let folder = tempfile::tempdir().unwrap();
        let allowed = AllowedDevices::open(&folder.path().join("devices.json")).unwrap();
        let zones = TimeZones::new(TimeZone::UTC);
        let inputs = (ListSets::new(), Addresses::new());
        let (standing, trouble) =
            Standing::new(&policy, &inputs.0, None, &allowed, &inputs.1, (Timestamp(0), &zones));
        assert!(trouble.unwrap().contains("match nobody"));
        assert!(standing.now.sets.iter().all(|set| set.nets.is_empty()));
    }
}
