//! Protocols that open further connections which no rule names, so that only conntrack's helpers know of them.
//!
//! The packet path would refuse these further connections. Where a rule or forward lets the first one through, it
//! leaves them to the second wall instead.

use model::{Action, Protocol};
use std::collections::BTreeSet;

use crate::{Helped, Policy};

/// Names of services with a helper, their port, and the protocol of the connections that they open.
pub(crate) const HELPERS: [(&str, u16, Protocol); 2] =
    [("ftp", 21, Protocol::TCP), ("sip", 5060, Protocol::UDP)];

impl Policy {
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
        for rule in self.rules.iter().filter(|rule| rule.action == Action::Pass && !rule.goes_on) {
            let named =
                HELPERS.iter().filter(|(name, ..)| rule.services.iter().any(|service| service.name == *name));
            for (_, _, protocol) in named {
                let pairs = self.sources().flat_map(|from| destinations.iter().map(move |to| (from, *to)));
                pairs
                    .filter(|(from, to)| rule.covers(*from, *to))
                    .for_each(|(from, to)| both_ways(from, to, *protocol));
            }
        }
        for forward in &self.forwards {
            let Some(host) = self.zone_of(forward.to) else { continue };
            let inside = self.hairpin_zones(forward).map(|zone| zone.id);
            let zones: Vec<_> = std::iter::once(forward.from).chain(inside).collect();
            for (name, port, protocol) in HELPERS {
                let takes = |matched: &crate::ServiceMatch| {
                    // FTP is asked over TCP, SIP over both.
                    if name == "ftp" && matched.protocol != Protocol::TCP {
                        return false;
                    }
                    let length = matched.ports.last - matched.ports.first;
                    let first = forward.port.unwrap_or(matched.ports.first);
                    (first..=first.saturating_add(length)).contains(&port)
                };
                if forward.services.iter().any(takes) {
                    for zone in &zones {
                        both_ways(*zone, host.id, protocol);
                        both_ways(*zone, abi::ZONE_SELF, protocol);
                    }
                }
            }
        }
        // The router's own packets are not judged on their way in.
        helped.retain(|helped| self.zone(helped.from).is_some());
        helped
    }
}
