//! From checked policy to the kernel's tables: zones by address, ports, flags, limits. What the rules become is in
//! `rows`.

use abi::{
    ListValue, MAX_LISTED, MAX_LISTS, MAX_NETWORKS, MAX_PORTS, MAX_PROTECTED, MAX_RULES, MAX_ZONES,
    ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneFlags, ZoneId,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Action, Mode};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use crate::{Egress, OtherResolvers, Plan, Policy, Port};

/// Why a policy has no plan. Everything that is counted says how many there are and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// A table cannot hold it.
    #[error("{count} {what}, and there is room for {limit}; {help}")]
    TooMany {
        /// What is counted, in the plural.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
        /// What to do about it.
        help: &'static str,
    },
    /// Two zones hold one interface and VLAN.
    #[error(
        "zones `{first}` and `{second}` both hold {interface} VLAN {vlan}; give one of them another VLAN"
    )]
    PortTwice {
        /// Interface.
        interface: String,
        /// VLAN, 0 = untagged.
        vlan: u16,
        /// The zone that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Two zones hold one device.
    #[error(
        "zones `{first}` and `{second}` both hold device {device}; the second wall could not tell them apart"
    )]
    DeviceTwice {
        /// Device.
        device: String,
        /// The zone that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Two zones hold one network.
    #[error("zones `{first}` and `{second}` both hold {network}; an address belongs to one zone")]
    NetworkTwice {
        /// Network.
        network: IpNet,
        /// The zone that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Two zones are the outside.
    #[error(
        "zones `{first}` and `{second}` are both `wan`; what belongs to no other zone can go to one of them only"
    )]
    WanTwice {
        /// The zone that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// A zone's id is not its place.
    #[error("zone `{zone}` has id {id} where its place asks for {expected}")]
    ZoneId {
        /// Zone.
        zone: String,
        /// Its id.
        id: ZoneId,
        /// What it should be.
        expected: usize,
    },
}

impl Policy {
    /// Compiles the policy, the router's `own` addresses and the address lists into what the kernel should hold.
    /// Schedules are not looked at: what holds at a time is told by [`Policy::active_at`], and that is lowered.
    ///
    /// `lists` is sorted here if it is not yet.
    ///
    /// # Errors
    /// [`LowerError`] where a limit does not hold or two zones claim the same thing.
    pub fn lower(&self, own: &[IpAddr], lists: Arc<[(IpNet, ListValue)]>) -> Result<Plan, LowerError> {
        self.check_zones()?;
        let rules = self.rules.len() + self.forwards.len();
        at_most("rules and forwards", rules, MAX_RULES as usize, "write fewer, wider rules")?;
        let listed = sorted(lists);
        at_most(
            "listed prefixes",
            listed.len(),
            MAX_LISTED as usize,
            "leave a list out or raise its min_score",
        )?;
        let names = listed.iter().map(|(_, value)| usize::from(value.list) + 1).max().unwrap_or(0);
        at_most("address lists", names, MAX_LISTS as usize, "leave lists out")?;
        let rows = self.lower_rows(own)?;
        Ok(Plan {
            observe: self.mode == Mode::Observe,
            ports: self.ports()?,
            zones: self.zones.iter().map(|zone| (zone.id, self.flags(zone, own))).collect(),
            networks: self.networks(own)?,
            protected: self.protected_with(own)?,
            upstreams: self.upstreams.clone(),
            listed,
            rows: rows.rows,
            sets: rows.sets,
            devices: rows.devices,
            rates: rows.rates,
            zone_rates: rows.zone_rates,
            names: rows.names,
            helped: self.helped(),
            resolved: self.zones_resolved().map(|zone| (zone.id, abi::resolver_zone(&zone.name))).collect(),
        })
    }

    /// Zones to which the resolver's answers count: since they open flows only to what was answered, or since rules name
    /// domains.
    pub fn zones_resolved(&self) -> impl Iterator<Item = &crate::Zone> {
        self.zones.iter().filter(|zone| zone.egress != Egress::Any || self.names_domains(zone.id))
    }

    fn check_zones(&self) -> Result<(), LowerError> {
        let zones = self.zones.len() + usize::from(ZONE_FIRST);
        at_most("zones (reserved ones included)", zones, MAX_ZONES as usize, "merge zones of equal trust")?;
        for (place, zone) in self.zones.iter().enumerate() {
            let expected = place + usize::from(ZONE_FIRST);
            if usize::from(zone.id) != expected {
                return Err(LowerError::ZoneId { zone: zone.name.clone(), id: zone.id, expected });
            }
        }
        let mut outside = self.zones.iter().filter(|zone| zone.wan);
        if let (Some(first), Some(second)) = (outside.next(), outside.next()) {
            return Err(LowerError::WanTwice { first: first.name.clone(), second: second.name.clone() });
        }
        let mut devices = BTreeMap::new();
        for zone in &self.zones {
            if let Some(first) = devices.insert(&zone.device, &zone.name) {
                return Err(LowerError::DeviceTwice {
                    device: zone.device.clone(),
                    first: first.clone(),
                    second: zone.name.clone(),
                });
            }
        }
        Ok(())
    }

    fn ports(&self) -> Result<Vec<Port>, LowerError> {
        let mut ports: BTreeMap<(&str, u16), &crate::Zone> = BTreeMap::new();
        for zone in &self.zones {
            let vlan = zone.vlan.unwrap_or(0);
            if let Some(first) = ports.insert((&zone.interface, vlan), zone) {
                return Err(LowerError::PortTwice {
                    interface: zone.interface.clone(),
                    vlan,
                    first: first.name.clone(),
                    second: zone.name.clone(),
                });
            }
        }
        at_most("interfaces and VLANs", ports.len(), MAX_PORTS as usize, "merge zones of equal trust")?;
        let port = |((interface, vlan), zone): ((&str, u16), &crate::Zone)| Port {
            interface: interface.to_owned(),
            vlan,
            zone: zone.id,
        };
        Ok(ports.into_iter().map(port).collect())
    }

    /// Zone by prefix. Where two say something of one prefix, the router's own address wins over broadcast, and that
    /// over the zone's network.
    fn networks(&self, own: &[IpAddr]) -> Result<BTreeMap<IpNet, ZoneId>, LowerError> {
        self.distinct_networks()?;
        let networks = self.zone_by_network(own);
        let most = MAX_NETWORKS as usize;
        at_most("networks of zones", networks.len(), most, "write wider networks")?;
        Ok(networks)
    }

    fn distinct_networks(&self) -> Result<(), LowerError> {
        let mut networks = BTreeMap::new();
        for zone in &self.zones {
            for network in zone.networks.iter().chain(&zone.routes).map(IpNet::trunc) {
                if let Some(first) = networks.insert(network, zone.id).filter(|first| *first != zone.id) {
                    return Err(LowerError::NetworkTwice {
                        network,
                        first: self.zone_name(first).to_owned(),
                        second: zone.name.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// See [`Plan::networks`].
    pub(crate) fn zone_by_network(&self, own: &[IpAddr]) -> BTreeMap<IpNet, ZoneId> {
        let mut networks = BTreeMap::new();
        for zone in &self.zones {
            networks
                .extend(zone.networks.iter().chain(&zone.routes).map(|network| (network.trunc(), zone.id)));
        }
        if let Some(wan) = self.zones.iter().find(|zone| zone.wan) {
            for everything in [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())] {
                networks.entry(everything).or_insert(wan.id);
            }
        }
        networks.extend(self.multicast().into_iter().map(|network| (network, ZONE_MULTICAST)));
        networks.extend(own.iter().map(|address| (IpNet::from(address.to_canonical()), ZONE_SELF)));
        networks
    }

    /// Multicast and broadcast destinations: RFC 5771, RFC 919, RFC 4291 §2.7, and the directed broadcast address of
    /// every IPv4 network of a zone (none has one that is longer than /30, RFC 3021).
    #[must_use]
    pub fn multicast(&self) -> Vec<IpNet> {
        let mut prefixes = vec![
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4)),
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
        ];
        for network in self.zones.iter().flat_map(|zone| &zone.networks) {
            match network {
                IpNet::V4(v4) if (1..=30).contains(&v4.prefix_len()) => {
                    prefixes.push(IpNet::from(IpAddr::V4(v4.broadcast())));
                }
                IpNet::V4(_) | IpNet::V6(_) => {}
            }
        }
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    fn protected_with(&self, own: &[IpAddr]) -> Result<Vec<IpNet>, LowerError> {
        let own = own.iter().map(|address| IpNet::from(address.to_canonical()));
        let mut protected: Vec<_> = self.protected.iter().map(IpNet::trunc).chain(own).collect();
        protected.sort_unstable();
        protected.dedup();
        let most = MAX_PROTECTED as usize;
        at_most("protected networks", protected.len(), most, "write wider networks in `allow`")?;
        Ok(protected)
    }

    /// As the kernel's tables hold a zone, on a router with these addresses.
    fn flags(&self, zone: &crate::Zone, own: &[IpAddr]) -> ZoneFlags {
        let bits = [
            (zone.wan, abi::ZONE_IS_WAN),
            (zone.anti_spoof, abi::ZONE_ANTI_SPOOF),
            (zone.mode == Mode::Observe, abi::ZONE_OBSERVE),
            (zone.inspect, abi::ZONE_INSPECT),
            (zone.isolate, abi::ZONE_ISOLATE),
            (zone.loose, abi::ZONE_LOOSE),
            (zone.strict, abi::ZONE_STRICT),
            (self.refuses_bogons(zone, own), abi::ZONE_BOGONS),
            (zone.quarantine, abi::ZONE_QUARANTINE),
            (zone.scan, abi::ZONE_SCAN),
            (zone.denial == Action::Reject, abi::ZONE_REJECT),
            (zone.egress != Egress::Any, abi::ZONE_RESOLVED),
            (zone.egress == Egress::Learn, abi::ZONE_LEARN),
            (self.names_domains(zone.id), abi::ZONE_NAMES),
            (zone.resolvers == OtherResolvers::Drop, abi::ZONE_DNS_DROP),
            (matches!(zone.resolvers, OtherResolvers::Redirect { .. }), abi::ZONE_DNS_REDIRECT),
        ];
        ZoneFlags { flags: bits.into_iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum() }
    }
}

fn sorted(lists: Arc<[(IpNet, ListValue)]>) -> Arc<[(IpNet, ListValue)]> {
    if lists.is_sorted() {
        return lists;
    }
    let mut lists = lists.to_vec();
    lists.sort_unstable();
    lists.into()
}

pub(crate) fn at_most(
    what: &'static str,
    count: usize,
    limit: usize,
    help: &'static str,
) -> Result<(), LowerError> {
    if count > limit { Err(LowerError::TooMany { what, count, limit, help }) } else { Ok(()) }
}
