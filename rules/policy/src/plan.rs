//! Everything the kernel should hold, compiled from policy and lists. Immutable and diffable.

use abi::{ListValue, POLICY_CONTINUE, PolicyValue, ZoneFlags, ZoneId};
use ipnet::IpNet;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{Mac, Protocol};

use crate::{Question, Rate, ServiceMatch};

/// The desired state of the kernel tables of one generation. Bans and timed allows are not in it: they come and go
/// one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The whole appliance only observes.
    pub observe: bool,
    /// Which zone a frame comes from.
    pub ports: Vec<Port>,
    /// Flags by zone.
    pub zones: BTreeMap<ZoneId, ZoneFlags>,
    /// Zone by address, longest prefix first. Holds the router's own addresses as `ZONE_SELF`, multicast and
    /// broadcast, and `0.0.0.0/0` and `::/0` as the WAN.
    pub networks: BTreeMap<IpNet, ZoneId>,
    /// No ban or list holds against these.
    pub protected: Vec<IpNet>,
    /// Nor against these as sources.
    pub upstreams: Vec<IpNet>,
    /// Address lists, covering entries folded in.
    pub listed: Arc<[(IpNet, ListValue)]>,
    /// Rules in order, first match wins; the zones' defaults come last, so that every flow finds a row.
    pub rows: Vec<Row>,
    /// Address sets that rows name, by place: of each side of a rule the union of all it names (groups, countries,
    /// lists, single addresses, those of device groups). Sorted, no network within another; empty where `names` says what
    /// it holds.
    pub sets: Vec<Arc<[IpNet]>>,
    /// Device groups that rows name, by place: of each rule the union of all it names; sorted, none empty. With a zone
    /// in quarantine one of them holds every device of any group.
    pub devices: Vec<Vec<Mac>>,
    /// Rates that rows and zones name, by place.
    pub rates: Vec<Rate>,
    /// New flows a source may start in a zone: place in `rates`.
    pub zone_rates: BTreeMap<ZoneId, u16>,
    /// Flows of which the second wall may know that they belong to others (data connections of FTP, speech of SIP): a
    /// denial of such a flow is left to it.
    pub helped: BTreeSet<Helped>,
    /// Zones to which the resolver's answers count, with what each is called in the table of them.
    pub resolved: BTreeMap<ZoneId, u32>,
    /// Of sets that are destinations outside by what the resolver answered: the patterns of names, a bit each.
    pub names: BTreeMap<u16, u64>,
}

/// Between two zones connections open others that only nftables can foresee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Helped {
    /// Zone in which such a further flow can start.
    pub from: ZoneId,
    /// Zone to which it can go.
    pub to: ZoneId,
    /// TCP for FTP, UDP for SIP.
    pub protocol: Protocol,
}

/// One line of the policy as the classifier matches it: all of its parts must hold. A rule that names zones and
/// addresses side by side becomes several rows with one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Zones a flow starts in, a bit each.
    pub from: u64,
    /// Zones it goes to, a bit each.
    pub to: u64,
    /// Source address.
    pub source: Selector,
    /// Destination address.
    pub destination: Selector,
    /// Device group the sender belongs to; place in [`Plan::devices`].
    pub device: Option<u16>,
    /// Protocols and ports; any of them. Empty = every one.
    pub services: Vec<ServiceMatch>,
    /// What happens.
    pub value: PolicyValue,
    /// With `abi::POLICY_LIMIT`: place in [`Plan::rates`].
    pub rate: Option<u16>,
}

/// Which addresses a row is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// Every one.
    #[default]
    Any,
    /// Those of a set; place in [`Plan::sets`].
    Set(u16),
}

/// An interface, a VLAN and their zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// Interface name.
    pub interface: String,
    /// VLAN id, 0 = untagged.
    pub vlan: u16,
    /// Zone.
    pub zone: ZoneId,
}

/// What the rows of a plan say about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of the row that decides.
    pub value: PolicyValue,
    /// Its rate.
    pub rate: Option<Rate>,
    /// Rule of the first row on the way that only logs.
    pub logged: Option<u16>,
}

impl Plan {
    /// Walks the rows in order: the slow reference of the classifier. None only if the plan has no defaults.
    #[must_use]
    pub fn find(&self, question: &Question) -> Option<Found> {
        let mut logged = None;
        for row in self.rows.iter().filter(|row| self.matches(row, question)) {
            if row.value.flags & POLICY_CONTINUE == 0 {
                let rate = row.rate.and_then(|place| self.rates.get(usize::from(place)).copied());
                return Some(Found { value: row.value, rate, logged });
            }
            logged = logged.or(Some(row.value.rule));
        }
        None
    }

    fn matches(&self, row: &Row, question: &Question) -> bool {
        let selects = |selector: Selector, address| match selector {
            Selector::Any => true,
            Selector::Set(place) => {
                self.sets.get(usize::from(place)).is_some_and(|nets| crate::types::holds(nets, address))
                    || self.names.get(&place).is_some_and(|names| names & question.patterns != 0)
            }
        };
        let sent_by = |group: u16| {
            let macs = self.devices.get(usize::from(group)).into_iter().flatten();
            question.device.is_some_and(|mac| macs.into_iter().any(|known| *known == mac))
        };
        let has = |mask: u64, zone: ZoneId| mask.checked_shr(zone.into()).unwrap_or(0) & 1 == 1;
        has(row.from, question.from)
            && has(row.to, question.to)
            && selects(row.source, question.source)
            && selects(row.destination, question.destination)
            && row.device.is_none_or(sent_by)
            && (row.services.is_empty()
                || row.services.iter().any(|matched| matched.holds(question.protocol, question.port)))
    }
}
