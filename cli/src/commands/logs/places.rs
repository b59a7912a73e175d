//! Where addresses are, out of the databases that lie among a hub's data files (`GeoLite2-City.mmdb`,
//! `GeoLite2-ASN.mmdb`), for the parsers that enrich events with it.

use ::logs::crowdsec::{City, Lookups};
use maxminddb::{PathElement, Reader};
use std::{fs::File, io::Read, net::IpAddr, path::Path, sync::Arc};

use crate::failure::Failure;

/// Largest database that is read, in bytes.
const MAX_DATABASE: u64 = 256 * 1024 * 1024;
/// How the databases are called.
const CITIES: &str = "GeoLite2-City.mmdb";
const SYSTEMS: &str = "GeoLite2-ASN.mmdb";

/// The databases that are there.
#[derive(Debug, Default)]
pub(super) struct Places {
    cities: Option<Reader<Vec<u8>>>,
    systems: Option<Reader<Vec<u8>>>,
}

impl Places {
    /// Opens the databases of a folder; nothing if there are none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, Failure> {
        let places = Self { cities: open(&folder.join(CITIES))?, systems: open(&folder.join(SYSTEMS))? };
        Ok((places.cities.is_some() || places.systems.is_some()).then_some(places))
    }
}

fn open(path: &Path) -> Result<Option<Reader<Vec<u8>>>, Failure> {
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |error| Failure::file(path, "read", &error);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_DATABASE + 1).read_to_end(&mut bytes).map_err(failed)?;
    let wrong = |why: String| Failure::Usage {
        message: format!("{} is no usable database: {why}", path.display()),
        help: Some("fetch it again, or take it out".into()),
    };
    if bytes.len() as u64 > MAX_DATABASE {
        return Err(wrong(format!("it has more than {} MiB", MAX_DATABASE >> 20)));
    }
    Reader::from_source(bytes).map(Some).map_err(|error| wrong(error.to_string()))
}

impl Lookups for Places {
    fn city(&self, address: IpAddr) -> Option<City> {
        let found = self.cities.as_ref()?.lookup(address.to_canonical()).ok()?;
        let key = PathElement::Key;
        let country = found.decode_path::<&str>(&[key("country"), key("iso_code")]).ok().flatten();
        let in_union =
            found.decode_path::<bool>(&[key("country"), key("is_in_european_union")]).ok().flatten();
        let degrees =
            |name| found.decode_path::<f64>(&[key("location"), key(name)]).ok().flatten().unwrap_or(0.0);
        Some(City {
            country: country.unwrap_or("").into(),
            in_union: in_union.unwrap_or(false),
            latitude: degrees("latitude"),
            longitude: degrees("longitude"),
        })
    }

    /// As CrowdSec: where there is a database, an address it does not know belongs to system 0.
    fn system(&self, address: IpAddr) -> Option<(u32, Arc<str>)> {
        let found = self.systems.as_ref()?.lookup(address.to_canonical()).ok()?;
        let of = |name| [PathElement::Key(name)];
        let number = found.decode_path::<u32>(&of("autonomous_system_number")).ok().flatten().unwrap_or(0);
        let name = found.decode_path::<&str>(&of("autonomous_system_organization")).ok().flatten();
        Some((number, name.unwrap_or("").into()))
    }

    fn range(&self, address: IpAddr) -> Option<ipnet::IpNet> {
        let found = self.systems.as_ref()?.lookup(address.to_canonical()).ok()?;
        let network = found.has_data().then(|| found.network().ok()).flatten()?;
        network.to_string().parse().ok()
    }

    /// Names are not asked for: a test has to come out alike everywhere.
    fn name(&self, _: IpAddr) -> Option<Arc<str>> {
        None
    }
}
