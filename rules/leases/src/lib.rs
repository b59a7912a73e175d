//! Leases of DHCP servers: their files are read, and devices get the names they asked for, each its own.
//!
//! What a device calls itself is a claim of somebody on the network. It is cut to a host name ([`HostName`]), and who has
//! a name keeps it: see [`Hosts`]. Pure: bytes and the time come in, leases and names go out.

mod dnsmasq;
mod hosts;
mod kea;
mod lines;
mod name;
mod networkd;

pub use dnsmasq::dnsmasq;
pub use hosts::{Claim, GRACE, Held, Host, Hosts, MAX_ADDRESSES, NEVER, Reserved};
pub use kea::kea;
pub use name::HostName;
pub use networkd::{FOLDERS as NETWORKD_FOLDERS, networkd};

use model::{Mac, Timestamp};
use std::net::IpAddr;

/// Bytes of a file of leases that are read: room for all leases there may be, many times over. A larger one is not read
/// at all, since half of it would be wrong.
pub const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Bytes of a line of such a file. A longer one is left out and counted.
pub const MAX_LINE: usize = 4096;
/// Leases of one source. Further ones are left out and counted.
pub const MAX_LEASES: usize = 16_384;
/// Bytes of a DUID (RFC 8415 §11.1: 128 and the type). A longer one is no identity.
pub const MAX_DUID: usize = 130;

/// An address that a server gave to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// Whose it is.
    pub device: Device,
    /// What the device calls itself, if that can be a name.
    pub name: Option<HostName>,
    /// When it ends; none = never.
    pub ends: Option<Timestamp>,
}

/// How a server tells a device from others. With neither, nothing is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// Its DUID (RFC 8415 §11), which IPv4 clients may have, too (RFC 4361).
    pub duid: Option<Box<[u8]>>,
}

/// What a source said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Leases, in the order in which their addresses first came up in the source.
    pub leases: Vec<Lease>,
    /// Lines (or entries) that made no sense or were too many.
    pub skipped: usize,
}

/// A file is none of leases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLeases {
    /// No header of Kea's.
    #[error("it does not begin with Kea's column names: is it a lease file of Kea (memfile)?")]
    NotKea,
    /// Not one line made sense.
    #[error("none of its {0} lines is a lease: is it a lease file of dnsmasq?")]
    NotDnsmasq(usize),
    /// No JSON of networkd's.
    #[error("it is no lease file of systemd-networkd: {0}")]
    NotNetworkd(String),
}

impl Device {
    /// A device of this MAC address; group addresses and zeros are nobody's.
    fn of_mac(mac: Option<Mac>) -> Self {
        Self { mac: mac.filter(|mac| !mac.is_group() && mac.0 != [0; 6]), duid: None }
    }

    /// With the DUID in an IPv4 client identifier (RFC 4361 §6.1: 255, four bytes of IAID, the DUID).
    fn with_client_id(mut self, client: &[u8]) -> Self {
        if let [255, _, _, _, _, duid @ ..] = client {
            self.duid = usable_duid(duid);
        }
        self
    }

    /// A device of this DUID; the MAC address in it stands in where no other is known (RFC 8415 §11.2, §11.4).
    fn of_duid(mac: Option<Mac>, duid: &[u8]) -> Self {
        let in_it = || match duid {
            [0, 1, 0, 1, _, _, _, _, mac @ ..] | [0, 3, 0, 1, mac @ ..] => mac.try_into().ok().map(Mac),
            _ => None,
        };
        Self { duid: usable_duid(duid), ..Self::of_mac(mac.or_else(in_it)) }
    }
}

fn usable_duid(duid: &[u8]) -> Option<Box<[u8]>> {
    (3..=MAX_DUID).contains(&duid.len()).then(|| duid.into())
}

/// Bytes as servers write them: `00:03:00:01:aa`. None where it is something else.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.split(':')
        .map(|pair| digits(pair).then(|| u8::from_str_radix(pair, 16).ok()).flatten())
        .collect::<Option<Vec<u8>>>()
        .filter(|bytes| bytes.len() <= MAX_DUID + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart_by_what_is_theirs() {
        let mac = Mac([0x52, 0x54, 0, 1, 2, 3]);
        let by_time = bytes_of("00:01:00:01:2a:2b:2c:2d:52:54:00:01:02:03").unwrap();
        let by_link = bytes_of("00:03:00:01:52:54:00:01:02:03").unwrap();
        for duid in [&by_time, &by_link] {
            assert_eq!(Device::of_duid(None, duid).mac, Some(mac));
            let other = Mac([2, 0, 0, 0, 0, 9]);
            assert_eq!(
                Device::of_duid(Some(other), duid).mac,
                Some(other),
                "what was seen wins over what was said"
            );
        }
        let by_vendor = bytes_of("00:02:00:00:ab:11:01:02").unwrap();
        assert_eq!(Device::of_duid(None, &by_vendor).mac, None);
        let client: Vec<u8> = [&[255, 1, 2, 3, 4], by_vendor.as_slice()].concat();
        assert_eq!(Device::of_mac(Some(mac)).with_client_id(&client).duid.as_deref(), Some(&*by_vendor));
        assert_eq!(Device::of_mac(Some(mac)).with_client_id(&[1, 2, 3, 4, 5, 6, 7]).duid, None);
        assert_eq!(Device::of_mac(Some(Mac([0xff; 6]))).mac, None);
        assert_eq!(Device::of_duid(None, &[0; MAX_DUID + 1]).duid, None);
        for wrong in ["", "0", "00:", "00:1", "0x:11", "+1:11", "00 11"] {
            assert_eq!(bytes_of(wrong), None, "{wrong}");
        }
    }
}
