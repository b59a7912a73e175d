//! Who asked for what in a zone, so that one who asks for the world pushes out what it asked for itself.
//!
//! Each asker has a claim to an address, up to [`MAX_CLAIMS`] of them. When the zone is full, the asker with most claims
//! loses the oldest of them, again and again until an address has none left: that one goes. So who asks for less than
//! the others keeps everything, however fast they ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Askers that are remembered of an address. Further ones have the address as long as one of these.
pub(super) const MAX_CLAIMS: usize = 4;

/// The claims to an address: who, and when it asked last (boot time in ns).
pub(super) type Askers = Vec<(IpAddr, u64)>;

/// The claims of a zone by asker.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<IpAddr, BTreeSet<(u64, IpAddr)>>,
    /// How many each asker has.
    sizes: BTreeSet<(usize, IpAddr)>,
}

impl Claims {
    /// An asker asked for an address: now its latest claim.
    pub(super) fn asked(&mut self, askers: &mut Askers, address: IpAddr, asker: IpAddr, now: u64) {
        if let Some(known) = askers.iter_mut().find(|(known, _)| *known == asker) {
            if known.1 == now {
                return;
            }
            let former = std::mem::replace(&mut known.1, now);
            self.change(asker, |claims| claims.remove(&(former, address)));
        } else if askers.len() < MAX_CLAIMS {
            askers.push((asker, now));
        } else {
            return;
        }
        self.change(asker, |claims| claims.insert((now, address)));
    }

    /// An address went.
    pub(super) fn gone(&mut self, askers: Askers, address: IpAddr) {
        for (asker, at) in askers {
            self.change(asker, |claims| claims.remove(&(at, address)));
        }
    }

    /// The asker with most claims, and the address of its oldest.
    pub(super) fn next_to_lose(&self) -> Option<(IpAddr, IpAddr)> {
        let (_, asker) = self.sizes.last()?;
        let (_, address) = self.held.get(asker)?.first()?;
        Some((*asker, *address))
    }

    /// An asker loses its claim to an address.
    pub(super) fn lose(&mut self, askers: &mut Askers, address: IpAddr, asker: IpAddr) {
        if let Some(place) = askers.iter().position(|(known, _)| *known == asker) {
            let (_, at) = askers.swap_remove(place);
            self.change(asker, |claims| claims.remove(&(at, address)));
        }
    }

    /// Every claim, in order.
    #[cfg(test)]
    pub(super) fn all(&self) -> Vec<(IpAddr, u64, IpAddr)> {
        let sizes: BTreeSet<_> = self.held.iter().map(|(asker, claims)| (claims.len(), *asker)).collect();
        assert_eq!(sizes, self.sizes);
        let of = |(asker, claims): (&IpAddr, &BTreeSet<(u64, IpAddr)>)| {
            let asker = *asker;
            claims.iter().map(move |(at, address)| (asker, *at, *address)).collect::<Vec<_>>()
        };
        self.held.iter().flat_map(of).collect()
    }

    fn change(&mut self, asker: IpAddr, change: impl FnOnce(&mut BTreeSet<(u64, IpAddr)>) -> bool) {
        let claims = self.held.entry(asker).or_default();
        self.sizes.remove(&(claims.len(), asker));
        change(claims);
        if claims.is_empty() {
            self.held.remove(&asker);
        } else {
            self.sizes.insert((claims.len(), asker));
        }
    }
}
