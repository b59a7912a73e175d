//! What is fetched: packed files, and GeoIP databases.

use feeds::geoip::GeoIp;
use std::net::IpAddr;

/// Bytes a packed file may have unpacked here.
const LIMIT: usize = 1 << 20;

/// A file that may be packed by gzip or zstd.
pub(crate) fn packed(data: &[u8]) {
    if let Ok(unpacked) = feeds::unpack(data, LIMIT) {
        assert!(unpacked.len() <= LIMIT.max(data.len()), "{} bytes", unpacked.len());
    }
}

/// A database of countries and providers.
pub(crate) fn geoip(data: &[u8]) {
    let Ok(geoip) = GeoIp::open(data.to_vec()) else { return };
    for address in ["192.0.2.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "ffff::"] {
        let address: IpAddr = address.parse().unwrap();
        let place = geoip.place(address);
        assert_eq!(format!("{place:?}"), format!("{:?}", geoip.place(address)), "the same each time");
    }
}
