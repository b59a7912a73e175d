//! The reflector: packets of links come in, packets for links go out.

use foldhash::fast::RandomState;
use ipnet::IpNet;
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    Counts, Dropped, Packet, Send, ServiceType, Way,
    askers::Askers,
    limits::{LINK_RATE, MAX_LINKS, MAX_PACKET, MAX_SOURCES, SOURCE_RATE},
    names::Names,
    rate::{Rates, TooMuch},
    seen::Seen,
    wire::Question,
};

/// A zone, as the reflector knows it. Its place among the links is its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub zone: Arc<str>,
    /// Its networks: who sends from elsewhere is not heard, and no device is announced elsewhere.
    pub networks: Vec<IpNet>,
}

/// Links that find each other's services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Numbers of the links.
    pub links: Vec<usize>,
    /// The services.
    pub services: Vec<ServiceType>,
    /// SSDP as well.
    pub ssdp: bool,
}

/// Who hears whom, and what was said lately.
#[derive(Debug)]
pub struct Reflector {
    pub(crate) links: Vec<Link>,
    pub(crate) groups: Vec<Bound>,
    own: HashSet<IpAddr>,
    of_source: Rates<(usize, IpAddr)>,
    of_link: Rates<usize>,
    pub(crate) seen: Seen,
    pub(crate) names: Names,
    pub(crate) askers: Askers<(u16, Vec<Question>)>,
    pub(crate) searchers: Askers<String>,
    counts: Counts,
}

/// A group by bits.
#[derive(Debug)]
pub(crate) struct Bound {
    links: u64,
    services: HashSet<ServiceType>,
    ssdp: bool,
}

impl Reflector {
    /// A reflector for these links, of which at most [`MAX_LINKS`] are heard. `own` are the router's addresses: what
    /// comes from them was sent here. `key` is to be random.
    #[must_use]
    pub fn new(
        links: Vec<Link>,
        groups: &[Group],
        own: impl IntoIterator<Item = IpAddr>,
        key: (u64, u64),
    ) -> Self {
        let bound = |group: &Group| Bound {
            links: group
                .links
                .iter()
                .filter(|link| **link < MAX_LINKS)
                .fold(0, |bits, link| bits | 1 << link),
            services: group.services.iter().cloned().collect(),
            ssdp: group.ssdp,
        };
        Self {
            groups: groups.iter().take(64).map(bound).collect(),
            own: own.into_iter().map(|address| address.to_canonical()).collect(),
            of_source: Rates::new(SOURCE_RATE, MAX_SOURCES),
            of_link: Rates::new(LINK_RATE, links.len()),
            seen: Seen::new(key),
            names: Names::default(),
            askers: Askers::default(),
            searchers: Askers::default(),
            counts: Counts::default(),
            links,
        }
    }

    /// What a packet leads to. `now` is a time that only goes forward.
    pub fn take(&mut self, packet: &Packet<'_>, now: Duration) -> Vec<Send> {
        self.counts.received += 1;
        match self.judge(packet, now) {
            Ok(sends) => {
                self.counts.sent += sends.len() as u64;
                sends
            }
            Err(dropped) => {
                *self.counts.dropped.entry(dropped).or_default() += 1;
                Vec::new()
            }
        }
    }

    /// How many packets came, went and were dropped.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    fn judge(&mut self, packet: &Packet<'_>, now: Duration) -> Result<Vec<Send>, Dropped> {
        let source = packet.source.ip().to_canonical();
        if self.own.contains(&source) {
            return Err(Dropped::Own);
        }
        let link = self.links.get(packet.link).ok_or(Dropped::Elsewhere)?;
        if !link.is_home(source) {
            return Err(Dropped::Elsewhere);
        }
        let too_much = |error| match error {
            TooMuch::Often => Dropped::TooOften,
            TooMuch::Crowded => Dropped::Crowded,
        };
        // A source that sends too much does not use up what others of its link may send.
        self.of_source.take((packet.link, source), now).map_err(too_much)?;
        self.of_link.take(packet.link, now).map_err(too_much)?;
        if packet.bytes.len() > MAX_PACKET {
            return Err(Dropped::Malformed);
        }
        match packet.way {
            Way::Mdns => self.take_mdns(packet, now),
            Way::Ssdp(scope) => self.take_ssdp(packet, scope, now),
            Way::SsdpReply => self.take_reply(packet, now),
        }
    }

    /// Other links that share a group with this one, each with the groups as bits.
    pub(crate) fn targets(&self, link: usize, of: impl Fn(&Bound) -> bool) -> Vec<(usize, u64)> {
        let mut shared: HashMap<usize, u64, RandomState> = HashMap::default();
        for (number, group) in
            self.groups.iter().enumerate().filter(|(_, group)| group.has(link) && of(group))
        {
            for other in (0..self.links.len()).filter(|other| *other != link && group.has(*other)) {
                *shared.entry(other).or_default() |= 1 << number;
            }
        }
        let mut targets: Vec<_> = shared.into_iter().collect();
        targets.sort_unstable();
        targets
    }

    pub(crate) fn is_chosen(&self, service: &ServiceType, groups: u64) -> bool {
        let among = |(number, _): &(usize, &Bound)| groups & (1 << number) != 0;
        self.groups.iter().enumerate().filter(among).any(|(_, group)| group.services.contains(service))
    }
}

impl Bound {
    pub(crate) fn has(&self, link: usize) -> bool {
        link < MAX_LINKS && self.links & (1 << link) != 0
    }

    pub(crate) fn has_ssdp(&self) -> bool {
        self.ssdp
    }
}

impl Link {
    /// Whether a host of this link can have the address: one of its networks, or one that only the link itself knows.
    fn is_home(&self, address: IpAddr) -> bool {
        let only_here = match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        only_here || self.is_reachable(address)
    }

    /// Whether others can reach a host of this link by the address.
    pub(crate) fn is_reachable(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address)) && !is_special(address)
    }
}

/// Addresses that mean nothing beyond their link, or no host at all.
fn is_special(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    special
        || match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

/// Whether two are of one family.
pub(crate) fn alike(one: SocketAddr, other: SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}
