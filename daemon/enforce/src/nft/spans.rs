//! Addresses as spans from first to last: sorted, apart from each other, as nftables wants the elements of an interval
//! set. Both families in one code.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    v4: Vec<Span>,
    v6: Vec<Span>,
}

/// First and last address as numbers.
type Span = (u128, u128);

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

/// A span as it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Net(IpAddr, u8),
    Range(IpAddr, IpAddr),
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// As nftables calls its header.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        }
    }

    /// As `meta nfproto` calls it.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        }
    }

    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The end of a set's name.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    fn bits(self) -> u32 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(number as u32).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

impl Spans {
    pub(super) fn new<'a>(nets: impl IntoIterator<Item = &'a IpNet>) -> Self {
        let mut spans = Self::default();
        for net in nets {
            let (first, last) = (number(net.network()), number(net.broadcast()));
            spans.of_mut(Family::of(net.addr())).push((first, last));
        }
        merge(&mut spans.v4);
        merge(&mut spans.v6);
        spans
    }

    /// What is in either.
    pub(super) fn joined(one: &Self, other: &Self) -> Self {
        let mut joined = one.clone();
        for family in Family::BOTH {
            let spans = joined.of_mut(family);
            spans.extend_from_slice(other.of(family));
            merge(spans);
        }
        joined
    }

    pub(super) fn of(&self, family: Family) -> &[Span] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Those of one family, as they can be written.
    pub(super) fn written(&self, family: Family) -> impl Iterator<Item = Written> + '_ {
        self.of(family).iter().map(move |&(first, last)| {
            let free = (last - first)
                .checked_add(1)
                .map_or(128, |size| if size.is_power_of_two() { size.trailing_zeros() } else { 0 });
            let aligned = free == 128 || first & ((1 << free) - 1) == 0;
            if (free > 0 || first == last) && aligned {
                return Written::Net(family.address(first), (family.bits() - free) as u8);
            }
            Written::Range(family.address(first), family.address(last))
        })
    }

    /// Whether any address is in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        Family::BOTH.into_iter().any(|family| {
            let others = other.of(family);
            self.of(family).iter().any(|&(first, last)| {
                let next = others.partition_point(|&(_, end)| end < first);
                others.get(next).is_some_and(|&(start, _)| start <= last)
            })
        })
    }

    /// These without those.
    pub(super) fn without(&self, other: &Self) -> Self {
        let family = |family: Family| {
            let others = other.of(family);
            let mut left = Vec::new();
            for &(first, last) in self.of(family) {
                let mut next = Some(first);
                for &(start, end) in &others[others.partition_point(|&(_, end)| end < first)..] {
                    let Some(from) = next.filter(|_| start <= last) else { break };
                    if start > from {
                        left.push((from, start - 1));
                    }
                    next = end.checked_add(1).filter(|after| *after <= last);
                }
                left.extend(next.map(|from| (from, last)));
            }
            left
        };
        Self { v4: family(Family::V4), v6: family(Family::V6) }
    }

    fn of_mut(&mut self, family: Family) -> &mut Vec<Span> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Sorted, with spans that touch or overlap made one.
fn merge(spans: &mut Vec<Span>) {
    spans.sort_unstable();
    spans.dedup_by(|next, kept| {
        let touches = kept.1.checked_add(1).is_none_or(|after| next.0 <= after);
        if touches {
            kept.1 = kept.1.max(next.1);
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(nets: &[&str]) -> Spans {
        let nets: Vec<IpNet> = nets.iter().map(|net| net.parse().unwrap()).collect();
        Spans::new(&nets)
    }

    fn written(spans: &Spans) -> Vec<String> {
        let one = |written| match written {
            Written::Net(address, length) => format!("{address}/{length}"),
            Written::Range(first, last) => format!("{first}-{last}"),
        };
        Family::BOTH.into_iter().flat_map(|family| spans.written(family)).map(one).collect()
    }

    #[test]
    fn what_touches_is_one() {
        let all = spans(&[
            "10.0.0.0/25",
            "10.0.0.128/25",
            "10.0.1.0/24",
            "10.0.2.0/24",
            "10.0.0.7/32",
            "::/0",
            "fd00::/8",
        ]);
        assert_eq!(written(&all), ["10.0.0.0-10.0.2.255", "::/0"]);
        assert_eq!(written(&spans(&["0.0.0.0/0", "1.2.3.4/32"])), ["0.0.0.0/0"]);
        assert_eq!(
            written(&spans(&["255.255.255.255/32", "fe80::1/128"])),
            ["255.255.255.255/32", "fe80::1/128"]
        );
        // As large as a prefix, but not where one could begin.
        assert_eq!(written(&spans(&["10.0.0.1/32", "10.0.0.2/32"])), ["10.0.0.1-10.0.0.2"]);
    }

    #[test]
    fn taking_away_leaves_the_rest() {
        let all = spans(&["10.0.0.0/8", "fd00::/8", "0.0.0.0/8", "255.0.0.0/8"]);
        let some = spans(&[
            "10.4.0.0/16",
            "10.5.1.0/24",
            "fd00::/8",
            "0.0.0.0/32",
            "255.255.255.255/32",
            "9.0.0.0/8",
        ]);
        let left = all.without(&some);
        assert_eq!(
            written(&left),
            [
                "0.0.0.1-0.255.255.255",
                "10.0.0.0/14",
                "10.5.0.0/24",
                "10.5.2.0-10.255.255.255",
                "255.0.0.0-255.255.255.254",
            ]
        );
        assert!(!left.meets(&some) && all.meets(&some) && left.meets(&spans(&["10.5.0.0/16"])));
        assert_eq!(spans(&["0.0.0.0/0", "::/0"]).without(&spans(&["::/0", "0.0.0.0/0"])), Spans::default());
    }
}
