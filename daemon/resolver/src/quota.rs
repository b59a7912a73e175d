//! How much of something all clients together, and each of them, may have at a time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Places that are taken and given back.
pub(crate) struct Quota {
    taken: Mutex<Taken>,
    all: usize,
    each: usize,
    empty: Notify,
}

#[derive(Default)]
struct Taken {
    by_client: HashMap<IpAddr, usize>,
    all: usize,
}

/// A place, given back when dropped.
pub(crate) struct Place {
    quota: Arc<Quota>,
    client: IpAddr,
}

impl Quota {
    /// `all` places, of which one client gets at most `each`.
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), all, each, empty: Notify::new() })
    }

    /// A place; none if all are taken, or this client has its share.
    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let client = share(client);
        let mut taken = self.lock();
        if taken.all >= self.all || taken.by_client.get(&client).is_some_and(|&has| has >= self.each) {
            return None;
        }
        taken.all += 1;
        *taken.by_client.entry(client).or_default() += 1;
        Some(Place { quota: Arc::clone(self), client })
    }

    /// Places taken.
    pub(crate) fn taken(&self) -> usize {
        self.lock().all
    }

    /// Waits until no place is taken.
    pub(crate) async fn emptied(&self) {
        loop {
            let empty = self.empty.notified();
            if self.taken() == 0 {
                return;
            }
            empty.await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.quota.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(has) = taken.by_client.get_mut(&self.client) {
            *has -= 1;
            if *has == 0 {
                taken.by_client.remove(&self.client);
            }
        }
        if taken.all == 0 {
            self.quota.empty.notify_waiters();
        }
    }
}

/// Who shares a quota: an IPv4 address, or an IPv6 /64, inside which a client picks addresses as it likes (RFC 8981).
pub(crate) fn share(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_given_back() {
        let quota = Quota::new(3, 2);
        let client = |text: &str| text.parse::<IpAddr>().unwrap();
        let (one, two) = (quota.take(client("2001:db8::1")), quota.take(client("2001:db8::2")));
        assert!(one.is_some() && two.is_some());
        assert!(quota.take(client("2001:db8::3")).is_none(), "the same /64");
        let three = quota.take(client("10.0.0.1"));
        assert!(three.is_some() && quota.take(client("10.0.0.2")).is_none(), "all taken");
        drop(one);
        assert!(quota.take(client("2001:db8::3")).is_some());
        drop((two, three));
        assert_eq!(quota.taken(), 0);
        assert!(quota.lock().by_client.is_empty(), "nothing is kept of those who left");
    }
}
