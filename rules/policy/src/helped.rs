//! Protocols that open further connections which no rule names, so that only conntrack's helpers know of them.
//!
//! The packet path would refuse these further connections. Where a rule or forward lets the first one through, it
//! leaves them to the second wall instead.

use abi::ZoneId;
use model::{Action, Protocol};
use std::collections::BTreeSet;

use crate::{Forward, Helped, Policy, Rule, ServiceMatch};

/// A service with a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its name: rules ask for the helper by calling a service so.
    pub name: &'static str,
    /// The port it has as a rule: a forward that leads there asks for the helper.
    pub port: u16,
    /// Over which it is asked.
    pub asked: &'static [Protocol],
    /// That of the connections it opens.
    pub opens: Protocol,
}

/// Every service with a helper: FTP (RFC 959) and SIP (RFC 3261).
pub const HELPERS: [Helper; 2] = [
    Helper { name: "ftp", port: 21, asked: &[Protocol::TCP], opens: Protocol::TCP },
    Helper { name: "sip", port: 5060, asked: &[Protocol::UDP, Protocol::TCP], opens: Protocol::UDP },
];

/// Where connections open that a helper follows, before anything is translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The service.
    pub helper: Helper,
    /// Zones they start in.
    pub from: Vec<ZoneId>,
    /// Protocols and ports they go to.
    pub matches: Vec<ServiceMatch>,
}

impl Helper {
    /// Those of these protocols and ports over which it can be asked.
    fn of(self, matches: impl Iterator<Item = ServiceMatch>) -> Vec<ServiceMatch> {
        matches.filter(|matched| self.asked.contains(&matched.protocol)).collect()
    }

    /// The ports of the outside by which a forward leads to its usual port.
    fn outer(self, forward: &Forward) -> Vec<ServiceMatch> {
        let outer = |matched: &ServiceMatch| {
            let (first, last) = (matched.ports.first, matched.ports.last);
            let behind = self.port.checked_sub(forward.port.unwrap_or(first))?;
            let port = first.checked_add(behind).filter(|port| *port <= last)?;
            Some(ServiceMatch::new(matched.protocol, port, port))
        };
        self.of(forward.services.iter().filter_map(outer))
    }
}

impl Policy {
    /// What helpers follow: services of rules that let something through, and forwards. Both walls go by this.
    #[must_use]
    pub fn followed(&self) -> Vec<Followed> {
        let mut followed = Vec::new();
        for helper in HELPERS {
            for rule in self.helping(helper) {
                let named = rule.services.iter().filter(|service| service.name == helper.name);
                let matches = helper.of(named.flat_map(|service| service.matches.iter().copied()));
                let zones = self.zones.iter().filter(|zone| rule.from.can_match(zone.id));
                followed.push(Followed { helper, from: zones.map(|zone| zone.id).collect(), matches });
            }
            for forward in &self.forwards {
                let (from, matches) = (self.reached_from(forward).collect(), helper.outer(forward));
                followed.push(Followed { helper, from, matches });
            }
        }
        followed.retain(|followed| !followed.matches.is_empty());
        followed
    }

    /// Rules that let a service with a helper through.
    fn helping(&self, helper: Helper) -> impl Iterator<Item = &Rule> {
        let asks = move |rule: &Rule| {
            let mut named = rule.services.iter().filter(|service| service.name == helper.name);
            named.any(|service| !helper.of(service.matches.iter().copied()).is_empty())
        };
        let passes = |rule: &&Rule| rule.action == Action::Pass && !rule.goes_on;
        self.rules.iter().filter(passes).filter(move |rule| asks(rule))
    }

    /// Zones from which a forward is reached: its own, and the inner ones by hairpin.
    pub fn reached_from<'a>(&'a self, forward: &'a Forward) -> impl Iterator<Item = ZoneId> + 'a {
        std::iter::once(forward.from).chain(self.hairpin_zones(forward).map(|zone| zone.id))
    }

    /// See [`crate::Plan::helped`].
    pub(crate) fn helped(&self) -> BTreeSet<Helped> {
        let mut helped = BTreeSet::new();
        let mut both_ways = |from, to, protocol| {
            helped.extend([Helped { from, to, protocol }, Helped { from: to, to: from, protocol }]);
            // Before it is translated back, what comes from behind a masquerade goes to the router's own address.
            if self.zone(to).is_some_and(|zone| zone.masquerade) {
                helped.insert(Helped { from: to, to: abi::ZONE_SELF, protocol });
            }
        };
        let destinations: Vec<_> = self.destinations().collect();
        for helper in HELPERS {
            for rule in self.helping(helper) {
                let pairs = self.sources().flat_map(|from| destinations.iter().map(move |to| (from, *to)));
                pairs
                    .filter(|(from, to)| rule.covers(*from, *to))
                    .for_each(|(from, to)| both_ways(from, to, helper.opens));
            }
            for forward in self.forwards.iter().filter(|forward| !helper.outer(forward).is_empty()) {
                let Some(host) = self.zone_of(forward.to) else { continue };
                for zone in self.reached_from(forward) {
                    both_ways(zone, host.id, helper.opens);
                    both_ways(zone, abi::ZONE_SELF, helper.opens);
                }
            }
        }
        // The router's own packets are not judged on their way in.
        helped.retain(|helped| self.zone(helped.from).is_some());
        helped
    }
}
