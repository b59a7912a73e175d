//! One file of addresses: a line is `ADDRESS`, `PREFIX` or `FIRST-LAST`, with or without a score behind a tab, blank,
//! comma or semicolon, and a comment behind `#` or `;`; or a table or JSON, see [`Format`].
//!
//! The list guard stands here: a prefix that is too wide, that holds networks of our own, or that is no address of
//! somebody else is rejected with the reason, the rest of the file is taken.

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    Format, ListError, Report,
    limits::{MAX_ADDRESSES, MAX_LINE_BYTES, MAX_RANGE_PREFIXES, MIN_PREFIX_V4, MIN_PREFIX_V6},
    records::{self, Record, Sink},
    report::Refusal,
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
        Self::read_as(bytes, &Format::Auto, reading)
    }

    /// [`AddressList::read`] for a file whose format is said.
    ///
    /// # Errors
    /// Why the file as a whole is no list of addresses in this format.
    pub fn read_as(
        bytes: &[u8],
        format: &Format,
        reading: AddressReading<'_>,
    ) -> Result<(Self, Report), ListError> {
        let mut collection = Collection {
            format,
            min_score: reading.min_score,
            own: OwnNetworks::new(reading.own),
            list: Self::default(),
            report: Report::default(),
            wanted: 0,
        };
        let lines = records::read(bytes, format, &mut collection)?;
        let Collection { mut list, mut report, wanted, .. } = collection;
        if wanted > MAX_ADDRESSES {
            return Err(ListError::TooManyEntries {
                entries: wanted,
                limit: MAX_ADDRESSES,
                what: "of an address list",
            });
        }
        report.lines = lines;
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

    /// Every prefix in it, by family and address.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> + '_ {
        let v4 = self.v4.iter().filter_map(|entry| Ipv4Net::new(entry.address.into(), entry.length).ok());
        let v6 = self.v6.iter().filter_map(|entry| Ipv6Net::new(entry.address.into(), entry.length).ok());
        v4.map(IpNet::V4).chain(v6.map(IpNet::V6))
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

/// What is read so far.
struct Collection<'a> {
    format: &'a Format,
    min_score: Option<u32>,
    own: OwnNetworks,
    list: AddressList,
    report: Report,
    /// Prefixes in the file, of which the list holds the first [`MAX_ADDRESSES`].
    wanted: usize,
}

impl Sink for Collection<'_> {
    fn record(&mut self, record: Record<'_>) {
        let line = record.line;
        if text::is_comment(line.text) {
            return;
        }
        if line.too_long {
            let why = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            return self.report.reject(line.number, line.text, why);
        }
        match entry(record, self.format, self.min_score) {
            Ok(Some(span)) => {
                let pieces = match span.pieces(&self.own) {
                    Ok(pieces) => pieces,
                    Err(refusal) => return self.report.refuse(line.number, line.text, refusal),
                };
                self.report.entries += 1;
                for net in pieces {
                    if self.wanted < MAX_ADDRESSES {
                        self.list.push(net, line.number);
                    }
                    self.wanted += 1;
                }
            }
            Ok(None) => self.report.below_score += 1,
            Err(why) => self.report.reject(line.number, line.text, why),
        }
    }

    fn reject(&mut self, line: u32, text: &[u8], why: String) {
        self.report.reject(line, text, why);
    }

    fn restart(&mut self) {
        (self.list, self.report, self.wanted) = (AddressList::default(), Report::default(), 0);
    }
}

/// What an entry names.
#[derive(Clone, Copy)]
enum Span {
    Net(IpNet),
    RangeV4(Ipv4Addr, Ipv4Addr),
    RangeV6(Ipv6Addr, Ipv6Addr),
}

impl Span {
    /// The prefixes it falls into, each of which may stand in a list.
    fn pieces(self, own: &OwnNetworks) -> Result<Pieces, Refusal> {
        let pieces = match self {
            Self::Net(net) => Pieces::One(Some(net)),
            Self::RangeV4(first, last) => Pieces::V4(Ipv4Subnets::new(first, last, 0), MAX_RANGE_PREFIXES),
            Self::RangeV6(first, last) => {
                if Ipv6Subnets::new(first, last, 0).nth(MAX_RANGE_PREFIXES).is_some() {
                    let why = format!("a range of more than {MAX_RANGE_PREFIXES} prefixes: write prefixes");
                    return Err(why.into());
                }
                Pieces::V6(Ipv6Subnets::new(first, last, 0), MAX_RANGE_PREFIXES)
            }
        };
        pieces.clone().try_for_each(|net| permitted(net, own))?;
        Ok(pieces)
    }
}

/// The prefixes of a [`Span`].
#[derive(Clone)]
enum Pieces {
    One(Option<IpNet>),
    V4(Ipv4Subnets, usize),
    V6(Ipv6Subnets, usize),
}

impl Iterator for Pieces {
    type Item = IpNet;

    fn next(&mut self) -> Option<IpNet> {
        match self {
            Self::One(net) => net.take(),
            Self::V4(nets, left) => {
                *left = left.checked_sub(1)?;
                nets.next().map(IpNet::V4)
            }
            Self::V6(nets, left) => {
                *left = left.checked_sub(1)?;
                nets.next().map(IpNet::V6)
            }
        }
    }
}

/// Reads a record; none if its score is too low.
fn entry(record: Record<'_>, format: &Format, min_score: Option<u32>) -> Result<Option<Span>, String> {
    let text = str::from_utf8(record.line.text).map_err(|_| "not UTF-8 text".to_owned())?;
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (text, comment) = text.split_once(';').map_or((text, None), |(before, after)| (before, Some(after)));
    let mut words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    let mut word = Cow::Borrowed(words.next().ok_or("no address before the comment")?);
    let mut next = words.next();
    // A range may have blanks around its hyphen.
    if let Some(hyphen) = next.filter(|next| next.starts_with('-') || word.ends_with('-')) {
        let range = word.to_mut();
        range.push_str(hyphen);
        if hyphen == "-" {
            *range += words.next().ok_or("a range without end: write `FIRST-LAST`")?;
        }
        next = words.next();
    }
    let span = span(&word)?;
    let score = match format {
        Format::Auto | Format::Score => next.or(comment.map(str::trim)),
        Format::Plain | Format::Hosts | Format::Adblock | Format::Dnsmasq | Format::Rpz | Format::Regex => {
            None
        }
        Format::Csv { .. } | Format::Json { .. } => record.score,
    };
    if min_score.is_some() || format.has_score() {
        let score =
            score.ok_or("no score behind the address, but the list has a min_score or a score format")?;
        let score: u32 =
            score.trim().parse().map_err(|_| format!("`{score}` is not a score (a whole number)"))?;
        if min_score.is_some_and(|least| score < least) {
            return Ok(None);
        }
    }
    Ok(Some(span))
}

/// Whether a list may hold this prefix.
fn permitted(net: IpNet, own: &OwnNetworks) -> Result<(), Refusal> {
    let least = if matches!(net, IpNet::V4(_)) { MIN_PREFIX_V4 } else { MIN_PREFIX_V6 };
    if net.prefix_len() < least {
        let why = format!("too wide: a list may hold prefixes of /{least} and longer");
        return Err(Refusal::Everything(why));
    }
    if let Some((range, name)) = NOT_A_HOST.iter().find(|(range, _)| overlap(*range, net)) {
        return Err(format!("overlaps {range}, {name}: no list may block it").into());
    }
    if let Some(network) = own.overlapping(net) {
        let why = format!("overlaps our own network {network}: no list may block it");
        return Err(Refusal::Own(why));
    }
    Ok(())
}

/// An address, a prefix (host bits cleared) or a range, v4-mapped ones as IPv4.
fn span(word: &str) -> Result<Span, String> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(Span::Net(address.to_canonical().into()));
    }
    if let Ok(net) = word.parse::<IpNet>() {
        let net = net.trunc();
        let mapped = match net {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
                .network()
                .to_ipv4_mapped()
                .and_then(|v4| Ipv4Net::new(v4, v6.prefix_len() - 96).ok())
                .map(IpNet::V4),
            IpNet::V4(_) | IpNet::V6(_) => None,
        };
        return Ok(Span::Net(mapped.unwrap_or(net)));
    }
    let Some((first, last)) = word.split_once('-') else {
        return Err(format!(
            "`{word}` is neither an address (192.0.2.7) nor a prefix (198.51.100.0/24, 2001:db8::/48) nor a range (192.0.2.7-192.0.2.9)"
        ));
    };
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map(|address| address.to_canonical())
            .map_err(|_| format!("`{text}` is no address: a range is written 192.0.2.7-192.0.2.9"))
    };
    match (address(first)?, address(last)?) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => Ok(Span::RangeV4(first, last)),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => Ok(Span::RangeV6(first, last)),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            Err("a range from one family to the other".into())
        }
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            Err("the range ends before it begins".into())
        }
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
