//! Connections that are open, by source.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use crate::Limits;

/// Who is counted as one: an address, of IPv6 one /64.
#[must_use]
pub fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[derive(Default)]
pub(crate) struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    pub(crate) fn enter(open: &Arc<Self>, from: IpAddr, limits: &Limits) -> Option<Place> {
        let from = source(from);
        let mut sources = open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.values().sum::<usize>() >= limits.connections
            || sources.get(&from).is_some_and(|held| *held >= limits.connections_each)
        {
            return None;
        }
        *sources.entry(from).or_default() += 1;
        Some(Place { open: Arc::clone(open), from })
    }
}

/// One of the connections, until it is dropped.
pub(crate) struct Place {
    open: Arc<Open>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = sources.get_mut(&self.from) {
            *held -= 1;
            if *held == 0 {
                sources.remove(&self.from);
            }
        }
    }
}
