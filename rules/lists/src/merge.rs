//! Address lists merged into the flat table of the kernel, where one longest-prefix lookup must say everything:
//! what covers a prefix is folded into its value.

use abi::ListValue;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Direction, Mode};
use std::{net::IpAddr, sync::Arc};

use crate::{AddressList, ListError, limits::MAX_MERGED_ADDRESSES};

/// A list as the config uses it.
#[derive(Clone, Debug)]
pub struct ListedAs {
    /// Its entries.
    pub list: Arc<AddressList>,
    /// Its number in [`ListValue::list`]: the place of the list in the config.
    pub id: u16,
    /// Which way it holds.
    pub direction: Direction,
    /// Whether it is carried out.
    pub mode: Mode,
}

/// Where an address is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressOrigin {
    /// Number of the list.
    pub list: u16,
    /// Line in its file.
    pub line: u32,
    /// The entry.
    pub net: IpNet,
    /// Which way the list holds.
    pub direction: Direction,
    /// Mode of the list.
    pub mode: Mode,
}

/// Several lists and the table they make together.
///
/// For an address the table says, by its longest prefix: `directions`, the union over all entries that hold the
/// address; `list`, that of the most specific of them, of equal ones the first in the config. Where an enforced entry
/// is among them, observed ones say nothing: an observed list never changes a verdict. Prefixes that say the same as
/// what covers them are left out.
#[derive(Clone, Debug)]
pub struct AddressLists {
    lists: Vec<ListedAs>,
    table: Arc<[(IpNet, ListValue)]>,
}

impl Default for AddressLists {
    fn default() -> Self {
        Self { lists: Vec::new(), table: Arc::new([]) }
    }
}

/// A prefix with what one list says of it; or, summed up, with what all lists say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row<Bits> {
    address: Bits,
    length: u8,
    order: u16,
}

/// What holds inside a prefix.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Said {
    enforced: Option<(u16, u8)>,
    observed: Option<(u16, u8)>,
}

impl Said {
    /// Adds what a list says of a prefix inside; `fresh` if an entry of this very prefix was added before.
    fn add(&mut self, listed: &ListedAs, same_prefix: &mut [bool; 2]) {
        let (slot, same) = match listed.mode {
            Mode::Enforce => (&mut self.enforced, &mut same_prefix[0]),
            Mode::Observe => (&mut self.observed, &mut same_prefix[1]),
        };
        let covering = slot.map_or(0, |(_, directions)| directions);
        let list = match *slot {
            Some((first, _)) if *same => first,
            _ => listed.id,
        };
        *slot = Some((list, covering | listed.direction.bits()));
        *same = true;
    }

    fn value(self) -> Option<ListValue> {
        match (self.enforced, self.observed) {
            (Some((list, directions)), _) => Some(ListValue { list, directions, observe: 0 }),
            (None, Some((list, directions))) => Some(ListValue { list, directions, observe: 1 }),
            (None, None) => None,
        }
    }
}

impl AddressLists {
    /// Merges lists, in the order of the config.
    ///
    /// # Errors
    /// The table would hold more than [`MAX_MERGED_ADDRESSES`] prefixes.
    pub fn merge(lists: Vec<ListedAs>) -> Result<Self, ListError> {
        let mut table = Vec::new();
        let rows = |entries: fn(&AddressList) -> usize| {
            lists.iter().map(|listed| entries(&listed.list)).sum::<usize>()
        };
        let mut v4 = Vec::with_capacity(rows(|list| list.v4.len()));
        let mut v6 = Vec::with_capacity(rows(|list| list.v6.len()));
        for (order, listed) in (0..=u16::MAX).zip(&lists) {
            v4.extend(listed.list.v4.iter().map(|e| Row { address: e.address, length: e.length, order }));
            v6.extend(listed.list.v6.iter().map(|e| Row { address: e.address, length: e.length, order }));
        }
        fold(v4, &lists, &mut table, |address, length| {
            Ipv4Net::new(address.into(), length).ok().map(IpNet::V4)
        })?;
        fold(v6, &lists, &mut table, |address, length| {
            Ipv6Net::new(address.into(), length).ok().map(IpNet::V6)
        })?;
        Ok(Self { lists, table: table.into() })
    }

    /// The flat table, by family and address.
    #[must_use]
    pub fn table(&self) -> Arc<[(IpNet, ListValue)]> {
        Arc::clone(&self.table)
    }

    /// Every entry that holds `address`: most specific first, then in the order of the config.
    #[must_use]
    pub fn origin(&self, address: IpAddr) -> Vec<AddressOrigin> {
        let mut origins: Vec<_> = self
            .lists
            .iter()
            .flat_map(|listed| {
                listed.list.covering(address).map(|(net, line)| AddressOrigin {
                    list: listed.id,
                    line,
                    net,
                    direction: listed.direction,
                    mode: listed.mode,
                })
            })
            .collect();
        origins.sort_by_key(|origin| std::cmp::Reverse(origin.net.prefix_len()));
        origins
    }

    /// The lists, in the order of the config.
    #[must_use]
    pub fn lists(&self) -> &[ListedAs] {
        &self.lists
    }

    /// Bytes of memory of the table and the lists.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.table) + self.lists.iter().map(|listed| listed.list.bytes()).sum::<usize>()
    }
}

/// Sorted by address and length, a prefix follows everything that covers it: a stack of the open ones is enough.
fn fold<Bits: Copy + Ord>(
    mut rows: Vec<Row<Bits>>,
    lists: &[ListedAs],
    table: &mut Vec<(IpNet, ListValue)>,
    net: impl Fn(Bits, u8) -> Option<IpNet>,
) -> Result<(), ListError> {
    rows.sort_unstable();
    table.reserve_exact(rows.len().min(MAX_MERGED_ADDRESSES));
    let mut wanted = table.len();
    let mut open: Vec<(IpNet, Said)> = Vec::new();
    for same in rows.chunk_by(|a, b| (a.address, a.length) == (b.address, b.length)) {
        let Some(prefix) = net(same[0].address, same[0].length) else { continue };
        while open.last().is_some_and(|(outer, _)| !outer.contains(&prefix)) {
            open.pop();
        }
        let outer = open.last().map_or_else(Said::default, |&(_, said)| said);
        let (mut said, mut same_prefix) = (outer, [false; 2]);
        for listed in same.iter().filter_map(|row| lists.get(usize::from(row.order))) {
            said.add(listed, &mut same_prefix);
        }
        open.push((prefix, said));
        if let Some(value) = said.value().filter(|&value| outer.value() != Some(value)) {
            wanted += 1;
            if table.len() < MAX_MERGED_ADDRESSES {
                table.push((prefix, value));
            }
        }
    }
    if wanted > MAX_MERGED_ADDRESSES {
        return Err(ListError::TooManyEntries {
            entries: wanted,
            limit: MAX_MERGED_ADDRESSES,
            what: "prefixes of all address lists together",
        });
    }
    Ok(())
}
