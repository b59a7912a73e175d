//! What is different between a list and its last good one.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::cmp::Ordering;

use crate::AddressList;

/// How many entries came and went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Entries that the former list did not have.
    pub added: u64,
    /// Entries that only the former list had.
    pub removed: u64,
}

impl Delta {
    /// Whether both lists say the same.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Counts over two sorted slices without duplicates.
    #[must_use]
    pub fn between<T: Ord>(former: &[T], now: &[T]) -> Self {
        let mut delta = Self::default();
        walk(former, now, T::cmp, |side, _| match side {
            Side::Former => delta.removed += 1,
            Side::Now => delta.added += 1,
        });
        delta
    }
}

/// Which prefixes came and went, sorted by family and address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressDelta {
    /// Prefixes that the former list did not have.
    pub added: Vec<IpNet>,
    /// Prefixes that only the former list had.
    pub removed: Vec<IpNet>,
}

impl AddressDelta {
    /// As numbers.
    #[must_use]
    pub fn counts(&self) -> Delta {
        Delta { added: self.added.len() as u64, removed: self.removed.len() as u64 }
    }
}

impl AddressList {
    /// What is different from `former`.
    #[must_use]
    pub fn delta(&self, former: &Self) -> AddressDelta {
        let mut delta = AddressDelta::default();
        let mut put = |side, net: Option<IpNet>| match side {
            Side::Former => delta.removed.extend(net),
            Side::Now => delta.added.extend(net),
        };
        walk(
            &former.v4,
            &self.v4,
            |a, b| (a.address, a.length).cmp(&(b.address, b.length)),
            |side, entry| put(side, Ipv4Net::new(entry.address.into(), entry.length).ok().map(IpNet::V4)),
        );
        walk(
            &former.v6,
            &self.v6,
            |a, b| (a.address, a.length).cmp(&(b.address, b.length)),
            |side, entry| put(side, Ipv6Net::new(entry.address.into(), entry.length).ok().map(IpNet::V6)),
        );
        delta
    }
}

/// Where an element stands that the other side does not have.
enum Side {
    Former,
    Now,
}

/// Goes through two sorted slices at once.
fn walk<'a, T>(
    former: &'a [T],
    now: &'a [T],
    order: impl Fn(&T, &T) -> Ordering,
    mut only: impl FnMut(Side, &'a T),
) {
    let (mut former, mut now) = (former.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (former.peek(), now.peek()) {
            (Some(a), Some(b)) => order(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        match order {
            Ordering::Less => former.next().into_iter().for_each(|entry| only(Side::Former, entry)),
            Ordering::Greater => now.next().into_iter().for_each(|entry| only(Side::Now, entry)),
            Ordering::Equal => {
                former.next();
                now.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AddressReading;

    #[test]
    fn what_came_and_what_went() {
        let list = |text: &str| AddressList::read(text.as_bytes(), AddressReading::default()).unwrap().0;
        let former = list("192.0.2.1\n198.51.100.0/24\n2001:db8:1::/48\n");
        let now = list("192.0.2.1\n198.51.100.0/25\n2001:db8:1::/48\n2001:db8:2::/48\n");
        let delta = now.delta(&former);
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect::<Vec<IpNet>>();
        assert_eq!(delta.added, nets(&["198.51.100.0/25", "2001:db8:2::/48"]));
        assert_eq!(delta.removed, nets(&["198.51.100.0/24"]));
        let all = ["192.0.2.1/32", "198.51.100.0/25", "2001:db8:1::/48", "2001:db8:2::/48"];
        assert_eq!(now.nets().collect::<Vec<_>>(), nets(&all));
        assert_eq!(delta.counts(), Delta { added: 2, removed: 1 });
        assert!(now.delta(&now).counts().is_empty());
        assert_eq!(Delta::between(&[1, 2, 3], &[2, 4]), Delta { added: 1, removed: 2 });
    }
}
