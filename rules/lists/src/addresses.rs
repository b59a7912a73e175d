//! One file of addresses: a line is `ADDRESS`, `PREFIX`, or either with a score behind a tab, blank, comma or
//! semicolon, and a comment behind `#` or `;`.
//!
//! The list guard stands here: a prefix that is too wide, that holds networks of our own, or that is no address of
//! somebody else is rejected with the reason, the rest of the file is taken.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    ListError, Report,
    limits::{MAX_ADDRESSES, MAX_LINE_BYTES, MIN_PREFIX_V4, MIN_PREFIX_V6},
    text,
};

/// How a file of addresses is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct AddressReading<'a> {
    /// Only addresses with at least this score; a line without a score is rejected then. None: all of them.
    pub min_score: Option<u32>,
    /// Our own networks: no entry may overlap them.
    pub own: &'a [IpNet],
}

/// An entry: address bits, prefix length, and the line it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry<Bits> {
    pub(crate) address: Bits,
    pub(crate) length: u8,
    pub(crate) line: u32,
}

/// The entries of one file, sorted by address, each prefix once (with its first line). 12 bytes an IPv4 entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressList {
    pub(crate) v4: Vec<Entry<u32>>,
    pub(crate) v6: Vec<Entry<u128>>,
}

/// Ranges that are nobody else's address, with their names.
const NOT_A_HOST: [(IpNet, &str); 9] = [
    (v4([0, 0, 0, 0], 8), "this network (0.0.0.0/8, DHCP needs it)"),
    (v4([127, 0, 0, 0], 8), "loopback"),
    (v4([169, 254, 0, 0], 16), "link-local"),
    (v4([224, 0, 0, 0], 4), "multicast"),
    (v4([255, 255, 255, 255], 32), "broadcast"),
    (v6(0, 128), "the unspecified address"),
    (v6(1, 128), "loopback"),
    (v6(0xfe80 << 112, 10), "link-local"),
    (v6(0xff00 << 112, 8), "multicast"),
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(bits: u128, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), length))
}

impl AddressList {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Why the file as a whole is no list of addresses.
    pub fn read(bytes: &[u8], reading: AddressReading<'_>) -> Result<(Self, Report), ListError> {
        let bytes = text::check(bytes)?;
        let own = OwnNetworks::new(reading.own);
        let (mut list, mut report) = (Self::default(), Report::default());
        for line in text::lines(bytes) {
            report.lines = line.number;
            if text::is_comment(line.text) {
                continue;
            }
            if line.too_long {
                report.reject(
                    line.number,
                    line.text,
                    format!("the line is longer than {MAX_LINE_BYTES} bytes"),
                );
                continue;
            }
            match entry(line.text, reading.min_score, &own) {
                Ok(Some(net)) => {
                    if list.len() == MAX_ADDRESSES {
                        return Err(ListError::TooManyEntries {
                            limit: MAX_ADDRESSES,
                            what: "of an address list",
                        });
                    }
                    report.entries += 1;
                    list.push(net, line.number);
                }
                Ok(None) => report.below_score += 1,
                Err(why) => report.reject(line.number, line.text, why),
            }
        }
        report.judge()?;
        list.settle();
        Ok((list, report))
    }

    /// Prefixes in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.capacity() * size_of::<Entry<u32>>() + self.v6.capacity() * size_of::<Entry<u128>>()
    }

    /// Line of the longest prefix that holds `address`, and the prefix.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<(IpNet, u32)> {
        self.covering(address).next()
    }

    /// Every prefix that holds `address`, longest first, with its line.
    pub(crate) fn covering(&self, address: IpAddr) -> impl Iterator<Item = (IpNet, u32)> + '_ {
        let (most, bits4, bits6) = match address.to_canonical() {
            IpAddr::V4(address) => (32, Some(address.to_bits()), None),
            IpAddr::V6(address) => (128, None, Some(address.to_bits())),
        };
        (0..=most).rev().filter_map(move |length: u8| {
            let v4 = bits4.and_then(|bits| {
                let masked = bits & u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                let at = self.v4.binary_search_by_key(&(masked, length), |e| (e.address, e.length)).ok()?;
                Some((IpNet::from(Ipv4Net::new(masked.into(), length).ok()?), self.v4[at].line))
            });
            v4.or_else(|| {
                let bits = bits6?;
                let masked = bits & u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                let at = self.v6.binary_search_by_key(&(masked, length), |e| (e.address, e.length)).ok()?;
                Some((IpNet::from(Ipv6Net::new(masked.into(), length).ok()?), self.v6[at].line))
            })
        })
    }

    fn push(&mut self, net: IpNet, line: u32) {
        let length = net.prefix_len();
        match net {
            IpNet::V4(net) => self.v4.push(Entry { address: net.network().to_bits(), length, line }),
            IpNet::V6(net) => self.v6.push(Entry { address: net.network().to_bits(), length, line }),
        }
    }

    fn settle(&mut self) {
        self.v4.sort_unstable();
        self.v4.dedup_by_key(|entry| (entry.address, entry.length));
        self.v4.shrink_to_fit();
        self.v6.sort_unstable();
        self.v6.dedup_by_key(|entry| (entry.address, entry.length));
        self.v6.shrink_to_fit();
    }
}

/// Reads a line; none if its score is too low.
fn entry(text: &[u8], min_score: Option<u32>, own: &OwnNetworks) -> Result<Option<IpNet>, String> {
    let text = str::from_utf8(text).map_err(|_| "not UTF-8 text".to_owned())?;
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (text, comment) = text.split_once(';').map_or((text, None), |(before, after)| (before, Some(after)));
    let mut words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let word = words.next().ok_or("no address before the comment")?;
    let net = prefix(word)?;
    let score = words.next().or(comment.map(str::trim));
    if let Some(least) = min_score {
        let score = score.ok_or("no score behind the address, but the list has a min_score")?;
        let score: u32 =
            score.trim().parse().map_err(|_| format!("`{score}` is not a score (a whole number)"))?;
        if score < least {
            return Ok(None);
        }
    }
    let least = if matches!(net, IpNet::V4(_)) { MIN_PREFIX_V4 } else { MIN_PREFIX_V6 };
    if net.prefix_len() < least {
        return Err(format!("too wide: a list may hold prefixes of /{least} and longer"));
    }
    if let Some((range, name)) = NOT_A_HOST.iter().find(|(range, _)| overlap(*range, net)) {
        return Err(format!("overlaps {range}, {name}: no list may block it"));
    }
    if let Some(network) = own.overlapping(net) {
        return Err(format!("overlaps our own network {network}: no list may block it"));
    }
    Ok(Some(net))
}

/// An address or a prefix, host bits cleared, v4-mapped ones as IPv4.
fn prefix(word: &str) -> Result<IpNet, String> {
    let wrong = || {
        if word.contains('-') {
            format!("`{word}`: ranges are not supported, write prefixes such as 198.51.100.0/24")
        } else {
            format!(
                "`{word}` is neither an address (192.0.2.7) nor a prefix (198.51.100.0/24, 2001:db8::/48)"
            )
        }
    };
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    let net = word.parse::<IpNet>().map_err(|_| wrong())?.trunc();
    match net {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.network().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, v6.prefix_len() - 96).map(IpNet::V4).map_err(|_| wrong()),
            None => Ok(net),
        },
        IpNet::V4(_) | IpNet::V6(_) => Ok(net),
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Own networks, sorted and disjoint, so that a look costs a binary search however many there are.
struct OwnNetworks(Vec<IpNet>);

impl OwnNetworks {
    fn new(own: &[IpNet]) -> Self {
        // Routes such as 0.0.0.0/0 are no networks of our own: they would refuse everything.
        let own: Vec<_> = own.iter().filter(|net| net.prefix_len() > 0).map(IpNet::trunc).collect();
        Self(IpNet::aggregate(&own))
    }

    fn overlapping(&self, net: IpNet) -> Option<IpNet> {
        let after = self
            .0
            .partition_point(|own| (own.network(), own.prefix_len()) <= (net.network(), net.prefix_len()));
        // Disjoint and sorted: what holds `net` stands right before its place, what it holds right after.
        [after.checked_sub(1), Some(after)]
            .into_iter()
            .flatten()
            .filter_map(|at| self.0.get(at).copied())
            .find(|&own| overlap(own, net))
    }
}
