//! Sets of numbers as sorted, disjoint, inclusive ranges: addresses (as 128 bits, IPv4 mapped) and ports.

use std::net::IpAddr;

/// A number with a successor and a predecessor.
pub(crate) trait Number: Copy + Ord + std::fmt::Debug {
    /// The smallest.
    const MIN: Self;
    /// The largest.
    const MAX: Self;
    /// The next one, if there is one.
    fn successor(self) -> Option<Self>;
    /// The one before, if there is one.
    fn predecessor(self) -> Option<Self>;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            const MIN: Self = <$type>::MIN;
            const MAX: Self = <$type>::MAX;
            fn successor(self) -> Option<Self> { self.checked_add(1) }
            fn predecessor(self) -> Option<Self> { self.checked_sub(1) }
        }
    )*};
}
number!(u16, u128);

/// A set of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RangeSet<T> {
    ranges: Box<[(T, T)]>,
}

/// A set of addresses.
pub(crate) type AddressSet = RangeSet<u128>;
/// A set of ports.
pub(crate) type PortSet = RangeSet<u16>;

impl<T: Number> RangeSet<T> {
    /// Everything.
    #[must_use]
    pub(crate) fn any() -> Self {
        Self { ranges: Box::new([(T::MIN, T::MAX)]) }
    }

    /// The union of inclusive ranges, in any order. Ranges whose end is before their start are ignored.
    #[must_use]
    pub(crate) fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.retain(|(low, high)| low <= high);
        ranges.sort_unstable();
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (low, high) in ranges {
            match merged.last_mut() {
                Some(last) if last.1.successor().is_none_or(|next| low <= next) => last.1 = last.1.max(high),
                Some(_) | None => merged.push((low, high)),
            }
        }
        Self { ranges: merged.into() }
    }

    /// Whether everything is in it.
    pub(crate) fn is_any(&self) -> bool {
        matches!(*self.ranges, [(low, high)] if low == T::MIN && high == T::MAX)
    }

    /// Whether nothing is in it.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of ranges.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The ranges in order.
    #[must_use]
    pub(crate) fn ranges(&self) -> &[(T, T)] {
        &self.ranges
    }

    /// Whether the number is in it.
    #[must_use]
    pub(crate) fn contains(&self, number: T) -> bool {
        let after = self.ranges.partition_point(|(low, _)| *low <= number);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, high)| number <= *high)
    }

    /// Everything that is not in it.
    #[must_use]
    pub(crate) fn complement(&self) -> Self {
        let (mut ranges, mut from) = (Vec::with_capacity(self.ranges.len() + 1), Some(T::MIN));
        for (low, high) in &self.ranges {
            if let (Some(start), Some(end)) = (from, low.predecessor())
                && start <= end
            {
                ranges.push((start, end));
            }
            from = high.successor();
        }
        if let Some(start) = from {
            ranges.push((start, T::MAX));
        }
        Self { ranges: ranges.into() }
    }

    /// What is in both.
    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let (mut ranges, mut left, mut right) = (Vec::new(), 0, 0);
        while let (Some(a), Some(b)) = (self.ranges.get(left), other.ranges.get(right)) {
            let (low, high) = (a.0.max(b.0), a.1.min(b.1));
            if low <= high {
                ranges.push((low, high));
            }
            if a.1 <= b.1 {
                left += 1;
            } else {
                right += 1;
            }
        }
        Self { ranges: ranges.into() }
    }
}

/// An address as 128 bits, IPv4 in its mapped form.
#[must_use]
pub(crate) fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn sets_agree_with_a_table_of_truths(
            a in proptest::collection::vec((0_u16..400, 0_u16..400), 0..8),
            b in proptest::collection::vec((0_u16..400, 0_u16..400), 0..8),
        ) {
            let table = |ranges: &[(u16, u16)], n: u16| ranges.iter().any(|(low, high)| *low <= n && n <= *high);
            let (left, right) = (PortSet::new(a.clone()), PortSet::new(b.clone()));
            let (not, both) = (left.complement(), left.intersection(&right));
            for n in (0..401).chain([u16::MAX]) {
                prop_assert_eq!(left.contains(n), table(&a, n));
                prop_assert_eq!(not.contains(n), !table(&a, n));
                prop_assert_eq!(both.contains(n), table(&a, n) && table(&b, n));
            }
            prop_assert_eq!(not.complement(), left);
        }
    }

    #[test]
    fn the_ends_of_the_number_line() {
        assert!(PortSet::any().complement().is_empty());
        assert_eq!(PortSet::new(vec![]).complement(), PortSet::any());
        let top = AddressSet::new(vec![(u128::MAX, u128::MAX)]);
        assert!(top.contains(u128::MAX) && !top.contains(u128::MAX - 1));
        assert_eq!(top.complement().ranges(), &[(0, u128::MAX - 1)]);
    }
}
