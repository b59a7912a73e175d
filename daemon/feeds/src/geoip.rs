//! A GeoIP database (MaxMind DB): country and autonomous system of an address, prefixes of countries and systems.
//!
//! Databases of several publishers are read: `country.iso_code` (GeoLite2, DB-IP), `country_code` or a plain `country`
//! (ip-location-db, IPinfo), `autonomous_system_number` and `asn`.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use policy::{AddressSet, SetKind};
use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use crate::limits::{MAX_DATABASE, MAX_GEOIP_NETWORKS, MAX_GEOIP_SELECTORS};

/// One database, or several that are asked as one (countries here, autonomous systems there).
#[derive(Debug, Default)]
pub struct GeoIp {
    databases: Vec<Reader<Vec<u8>>>,
}

/// A country: two letters (ISO 3166-1 alpha-2), in upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// All prefixes of a country.
    Country(Country),
    /// All prefixes of an autonomous system.
    System(u32),
}

/// What a database says of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its country.
    pub country: Option<Country>,
    /// Number of its autonomous system.
    pub system: Option<u32>,
    /// Name of whoever runs that.
    pub organisation: Option<String>,
}

/// Why a file is no usable database, or a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeoIpError {
    /// Beyond [`MAX_DATABASE`].
    #[error("the GeoIP database has {bytes} bytes, more than the {MAX_DATABASE} that are read")]
    TooBig {
        /// Its size.
        bytes: usize,
    },
    /// No database, or a damaged one.
    #[error("no usable GeoIP database: {0}")]
    Broken(String),
    /// Neither countries nor systems are in it.
    #[error("the GeoIP database ({0}) says neither countries nor autonomous systems")]
    OfNothing(String),
    /// Beyond [`MAX_GEOIP_NETWORKS`].
    #[error(
        "the countries and systems of the rules have more than {MAX_GEOIP_NETWORKS} prefixes: name fewer"
    )]
    TooManyNetworks,
    /// Beyond [`MAX_GEOIP_SELECTORS`].
    #[error("{0} countries and systems, more than {MAX_GEOIP_SELECTORS}: name fewer")]
    TooManySelectors(usize),
    /// A set that names no country or system.
    #[error("`{0}` is neither a country (two letters) nor an autonomous system (a number)")]
    NoSelector(String),
}

impl From<MaxMindDbError> for GeoIpError {
    fn from(error: MaxMindDbError) -> Self {
        Self::Broken(error.to_string().chars().take(200).collect())
    }
}

impl GeoIp {
    /// Takes the bytes of a database after going through all of it: what is damaged is refused here and not met later.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: Vec<u8>) -> Result<Self, GeoIpError> {
        if bytes.len() > MAX_DATABASE {
            return Err(GeoIpError::TooBig { bytes: bytes.len() });
        }
        let reader = Reader::from_source(described(bytes)?)?;
        reader.verify()?;
        let database = Self { databases: vec![reader] };
        if !database.says_something()? {
            let kind = &database.databases[0].metadata().database_type;
            return Err(GeoIpError::OfNothing(kind.chars().filter(|c| !c.is_control()).take(60).collect()));
        }
        Ok(database)
    }

    /// Both databases as one; what this one says goes before what `other` says.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.databases.extend(other.databases);
        self
    }

    /// Whether there is no database.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// Nodes of the search trees: a measure of their size.
    #[must_use]
    pub fn nodes(&self) -> u64 {
        self.databases.iter().map(|database| u64::from(database.metadata().node_count)).sum()
    }

    /// When the oldest database was built, in seconds since 1970; none if there is no database.
    #[must_use]
    pub fn built(&self) -> Option<u64> {
        self.databases.iter().map(|database| database.metadata().build_epoch).min()
    }

    /// What is known of an address. Nothing where it is not in a database.
    #[must_use]
    pub fn place(&self, address: IpAddr) -> Place {
        let mut place = Place::default();
        for database in &self.databases {
            let Ok(found) = database.lookup(address.to_canonical()) else { continue };
            place.country = place.country.or_else(|| country(&found));
            place.system = place.system.or_else(|| system(&found));
            place.organisation = place.organisation.or_else(|| organisation(&found));
        }
        place
    }

    /// The prefixes of each of `selectors`, sorted and joined where they lie side by side, in one pass over the
    /// databases.
    ///
    /// # Errors
    /// Too many of either; a damaged database.
    pub fn networks_of(&self, selectors: &[Selector]) -> Result<Vec<Arc<[IpNet]>>, GeoIpError> {
        if selectors.len() > MAX_GEOIP_SELECTORS {
            return Err(GeoIpError::TooManySelectors(selectors.len()));
        }
        let mut places: HashMap<Selector, usize> = HashMap::new();
        let mut networks: Vec<Vec<IpNet>> = Vec::new();
        for selector in selectors {
            places.entry(*selector).or_insert_with(|| {
                networks.push(Vec::new());
                networks.len() - 1
            });
        }
        let mut budget = MAX_GEOIP_NETWORKS;
        for database in self.databases.iter().filter(|_| !places.is_empty()) {
            // Records are shared by many networks: each is decoded once.
            let mut known: HashMap<usize, [Option<usize>; 2]> = HashMap::new();
            walk(database, |net, offset, found| {
                let wanted = *known.entry(offset).or_insert_with(|| {
                    let place = |selector: Option<Selector>| selector.and_then(|is| places.get(&is).copied());
                    [place(country(found).map(Selector::Country)), place(system(found).map(Selector::System))]
                });
                for at in wanted.into_iter().flatten() {
                    budget = budget.checked_sub(1).ok_or(GeoIpError::TooManyNetworks)?;
                    join(&mut networks[at], net);
                }
                Ok(())
            })?;
        }
        // Within one database networks come in order; those of a second one have to be put between them.
        let networks: Vec<Arc<[IpNet]>> = networks
            .into_iter()
            .map(|nets| if is_in_order(&nets) { nets } else { IpNet::aggregate(&nets) }.into())
            .collect();
        Ok(selectors.iter().filter_map(|is| Some(Arc::clone(&networks[*places.get(is)?]))).collect())
    }

    /// Fills the sets of countries and systems among `sets`; the others stay as they are.
    ///
    /// # Errors
    /// As [`GeoIp::networks_of`], or a set whose name says nothing; the sets stay as they are then.
    pub fn fill(&self, sets: &mut [AddressSet]) -> Result<(), GeoIpError> {
        let mut wanted = Vec::new();
        for (at, set) in sets.iter().enumerate() {
            match set.kind {
                SetKind::Country | SetKind::System => wanted.push((at, Selector::of(set)?)),
                SetKind::Group | SetKind::List | SetKind::Names(_) => {}
            }
        }
        let selectors: Vec<Selector> = wanted.iter().map(|&(_, selector)| selector).collect();
        for ((at, _), nets) in wanted.iter().zip(self.networks_of(&selectors)?) {
            sets[*at].nets = nets;
        }
        Ok(())
    }

    /// Whether any record names a country or system.
    fn says_something(&self) -> Result<bool, GeoIpError> {
        /// Records that are looked at: the first of every database that is one of these has it.
        const LOOKED_AT: usize = 10_000;
        for database in &self.databases {
            let options = WithinOptions::default().include_networks_without_data();
            for found in database.networks(options)?.take(LOOKED_AT) {
                let found = found?;
                if country(&found).is_some() || system(&found).is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Selector {
    /// What a set of the policy asks for.
    ///
    /// # Errors
    /// Its name is neither a country nor a number.
    pub fn of(set: &AddressSet) -> Result<Self, GeoIpError> {
        let name = set.name.rsplit(':').next().unwrap_or(&set.name);
        let selector = match set.kind {
            SetKind::Country => Country::new(name).map(Self::Country),
            SetKind::System => number(name).map(Self::System),
            SetKind::Group | SetKind::List | SetKind::Names(_) => None,
        };
        selector.ok_or_else(|| GeoIpError::NoSelector(set.name.clone()))
    }
}

impl Country {
    /// Two letters; none for anything else.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        match text.as_bytes() {
            &[a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic() => {
                Some(Self([a.to_ascii_uppercase(), b.to_ascii_uppercase()]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.0;
        write!(f, "{}{}", char::from(a), char::from(b))
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The check of a database insists on a type and a description, which good publishers leave out: such a database gets
/// them in metadata of its own at the end, where they go before the former ones.
fn described(mut bytes: Vec<u8>) -> Result<Vec<u8>, GeoIpError> {
    let reader = Reader::from_source(bytes.as_slice())?;
    let is_whole = !reader.metadata().description.is_empty() && !reader.metadata().database_type.is_empty();
    if is_whole {
        return Ok(bytes);
    }
    let metadata = reader.metadata();
    let kind: String = metadata.database_type.chars().take(20).filter(char::is_ascii).collect();
    let kind = if kind.is_empty() { "unnamed".to_owned() } else { kind };
    // https://maxmind.github.io/MaxMind-DB/: a control byte holds the type (2 text, 5 and 6 numbers, 7 map; 9 and 11
    // are 0 with a second byte of type - 7) and the size below 29.
    let mut own = b"\xab\xcd\xefMaxMind.com\xe9".to_vec();
    let text = |own: &mut Vec<u8>, text: &str| {
        own.push(0x40 | u8::try_from(text.len()).unwrap_or_default());
        own.extend_from_slice(text.as_bytes());
    };
    for (key, number) in [
        ("binary_format_major_version", metadata.binary_format_major_version),
        ("binary_format_minor_version", metadata.binary_format_minor_version),
        ("ip_version", metadata.ip_version),
        ("record_size", metadata.record_size),
    ] {
        text(&mut own, key);
        own.push(0xa2);
        own.extend_from_slice(&number.to_be_bytes());
    }
    text(&mut own, "node_count");
    own.push(0xc4);
    own.extend_from_slice(&metadata.node_count.to_be_bytes());
    text(&mut own, "build_epoch");
    own.extend_from_slice(&[8, 2]);
    own.extend_from_slice(&metadata.build_epoch.to_be_bytes());
    text(&mut own, "languages");
    own.extend_from_slice(&[0, 4]);
    text(&mut own, "database_type");
    text(&mut own, &kind);
    text(&mut own, "description");
    own.push(0xe1);
    text(&mut own, "en");
    text(&mut own, "none");
    drop(reader);
    bytes.extend_from_slice(&own);
    Ok(bytes)
}

/// What can be asked of a record.
type Found<'a> = LookupResult<'a, Vec<u8>>;

/// Goes through all networks that have a record. A tree has at most as many leaves as this allows; a damaged one, whose
/// branches meet again below, could have any number.
fn walk<'a>(
    database: &'a Reader<Vec<u8>>,
    mut each: impl FnMut(IpNet, usize, &Found<'a>) -> Result<(), GeoIpError>,
) -> Result<(), GeoIpError> {
    let mut leaves = u64::from(database.metadata().node_count).saturating_mul(3);
    for found in database.networks(WithinOptions::default().include_networks_without_data())? {
        let found = found?;
        leaves = leaves.checked_sub(1).ok_or_else(|| GeoIpError::Broken("its tree is none".into()))?;
        let Some(offset) = found.offset() else { continue };
        let network = found.network()?;
        let net = match network.ip() {
            IpAddr::V4(address) => Ipv4Net::new(address, network.prefix()).map(IpNet::V4),
            IpAddr::V6(address) => Ipv6Net::new(address, network.prefix()).map(IpNet::V6),
        };
        if let Ok(net) = net {
            each(net.trunc(), offset, &found)?;
        }
    }
    Ok(())
}

/// Adds a network, and joins halves as long as there are two of one whole.
fn join(nets: &mut Vec<IpNet>, net: IpNet) {
    nets.push(net);
    while let [.., left, right] = nets[..] {
        let Some(whole) = left.supernet().filter(|whole| {
            left.prefix_len() == right.prefix_len() && left < right && whole.contains(&right)
        }) else {
            return;
        };
        nets.truncate(nets.len() - 2);
        nets.push(whole);
    }
}

/// Sorted, and none within another.
fn is_in_order(nets: &[IpNet]) -> bool {
    nets.windows(2).all(|two| two[0] < two[1] && !two[0].contains(&two[1]))
}

fn country(found: &Found<'_>) -> Option<Country> {
    const PATHS: [&[PathElement<'static>]; 3] = [
        &[PathElement::Key("country"), PathElement::Key("iso_code")],
        &[PathElement::Key("country_code")],
        &[PathElement::Key("country")],
    ];
    PATHS.iter().find_map(|path| Country::new(found.decode_path::<&str>(path).ok().flatten()?))
}

fn system(found: &Found<'_>) -> Option<u32> {
    ["autonomous_system_number", "asn"].into_iter().find_map(|key| {
        let path = [PathElement::Key(key)];
        found
            .decode_path::<u32>(&path)
            .ok()
            .flatten()
            .or_else(|| number(found.decode_path::<&str>(&path).ok().flatten()?))
    })
}

fn organisation(found: &Found<'_>) -> Option<String> {
    /// Characters of a name that are kept.
    const MOST: usize = 100;
    ["autonomous_system_organization", "as_name"].into_iter().find_map(|key| {
        let name = found.decode_path::<&str>(&[PathElement::Key(key)]).ok().flatten()?;
        Some(name.chars().filter(|c| !c.is_control()).take(MOST).collect())
    })
}

/// `AS3320`, `as3320` or `3320`.
fn number(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("AS").or_else(|| text.strip_prefix("as")).unwrap_or(text);
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}
