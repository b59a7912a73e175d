//! Leases of systemd-networkd's DHCP server (IPv4): JSON, one file for each interface, written from version 256 on. Older
//! versions (Debian 12 has 252) keep leases in memory and tell them by D-Bus alone, which is not read here.
//!
//! Source: `systemd.network(5)` (`PersistLeases=`), and files written by 257.

use model::{Mac, Timestamp};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

use crate::{Device, HostName, Lease, MAX_LEASES, NotLeases, Reading};

/// Where versions with lease files keep them: over restarts, and where that is off.
pub const FOLDERS: [&str; 2] =
    ["/var/lib/systemd/network/dhcp-server-lease", "/run/systemd/netif/dhcp-server-lease"];

#[derive(Deserialize)]
struct File {
    #[serde(rename = "Leases", default)]
    leases: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    address: [u8; 4],
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    hardware_address: Vec<u8>,
    #[serde(default)]
    client_id: Vec<u8>,
    /// Microseconds since 1970; the largest number = never.
    #[serde(rename = "ExpirationRealtimeUSec", default)]
    expiration: Option<u64>,
}

/// Reads a lease file.
///
/// # Errors
/// It is not the JSON that networkd writes.
pub fn networkd(file: &[u8]) -> Result<Reading, NotLeases> {
    let file: File =
        serde_json::from_slice(file).map_err(|error| NotLeases::NotNetworkd(error.to_string()))?;
    let mut reading = Reading::default();
    for entry in file.leases {
        match serde_json::from_value::<Entry>(entry) {
            Ok(entry) if reading.leases.len() < MAX_LEASES => reading.leases.push(entry.lease()),
            Ok(_) | Err(_) => reading.skipped += 1,
        }
    }
    Ok(reading)
}

impl Entry {
    fn lease(self) -> Lease {
        let mac = self.hardware_address.get(..6).filter(|_| self.hardware_address.len() == 6);
        let mac = mac.and_then(|mac| mac.try_into().ok()).map(Mac);
        // Without an end by the wall clock the time since start is all there is: the lease is taken as live.
        let ends = self.expiration.and_then(|ends| i64::try_from(ends).ok()).map(Timestamp);
        Lease {
            address: IpAddr::V4(Ipv4Addr::from(self.address)),
            device: Device::of_mac(mac).with_client_id(&self.client_id),
            name: self.hostname.as_deref().and_then(HostName::claimed),
            ends,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leases_and_entries_that_are_none() {
        let file = br#"{"BootID":[1,2],"Address":[10,4,0,1],"PrefixLength":24,"Leases":[
            {"ClientId":[1,82,84,0,0,0,1],"Address":[10,4,0,10],"Hostname":"kids-tablet","HardwareAddressType":1,
             "HardwareAddressLength":6,"HardwareAddress":[82,84,0,0,0,1],"ExpirationUSec":1,"ExpirationRealtimeUSec":1700000000000000},
            {"ClientId":[255,1,2,3,4,0,2,0,0,171,17,170],"Address":[10,4,0,11],"HardwareAddress":[82,84,0,0,0,2],
             "ExpirationRealtimeUSec":18446744073709551615},
            {"Address":[10,4,0],"Hostname":"short"}, {"Address":"10.4.0.9"}, 7]}"#;
        let reading = networkd(file).unwrap();
        assert_eq!((reading.leases.len(), reading.skipped), (2, 3));
        assert_eq!(reading.leases[0].name.as_ref().unwrap().as_str(), "kids-tablet");
        assert_eq!(reading.leases[0].ends, Some(Timestamp::from_seconds(1_700_000_000)));
        assert_eq!((reading.leases[1].ends, reading.leases[1].device.duid.is_some()), (None, true));
        assert_eq!(networkd(b"{}"), Ok(Reading::default()));
        for wrong in [b"".as_slice(), b"{\"Leases\":7}", b"ADDRESS=10.0.0.1\n", &b"[".repeat(100_000)] {
            assert!(matches!(networkd(wrong), Err(NotLeases::NotNetworkd(_))));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn rubbish_never_panics(rest in ".{0,200}") {
            let _ = networkd(format!("{{\"Leases\":[{rest}]}}").as_bytes());
        }
    }
}
