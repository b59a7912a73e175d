//! Kea's lease files (memfile): CSV, to which every change of a lease is appended, so the last line of an address holds.
//! Commas and control characters in fields are written as `&#x2c` and so on. Columns came and went with versions, so they
//! are found by their names in the first line.
//!
//! Source: Kea's administrator manual ("memfile"), and files written by Kea 2.2 to 2.6.

use model::{Mac, Timestamp};
use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use crate::{Device, HostName, Lease, MAX_LEASES, NotLeases, Reading, bytes_of, lines::lines};

/// A lease that never ends has this many seconds (RFC 2131 §3.3).
const FOREVER: u32 = u32::MAX;
/// The state of a lease that is somebody's; the others are declined, reclaimed and released ones.
const ASSIGNED: [&str; 2] = ["0", ""];
/// The state of an address that a device chose itself and registered (RFC 9686).
const REGISTERED: &str = "4";
/// The type of a lease that is a prefix and no address.
const PREFIX: &str = "2";

/// Reads lease files of IPv4 or IPv6, the older first: while Kea cleans up, what is known stands in several.
///
/// # Errors
/// A file that has lines does not begin with Kea's column names.
pub fn kea(files: &[&[u8]]) -> Result<Reading, NotLeases> {
    let mut reading = Reading::default();
    let mut places: HashMap<IpAddr, usize> = HashMap::new();
    let mut leases: Vec<Option<Lease>> = Vec::new();
    for file in files {
        let mut all = lines(file);
        let Some(first) = all.next() else { continue };
        let columns = Columns::read(first.unwrap_or_default()).ok_or(NotLeases::NotKea)?;
        for line in all {
            let Some((address, lease)) = line.and_then(|line| columns.lease(line)) else {
                reading.skipped += usize::from(line != Some(""));
                continue;
            };
            match places.entry(address) {
                Entry::Occupied(place) => {
                    if let Some(held) = leases.get_mut(*place.get()) {
                        *held = lease;
                    }
                }
                Entry::Vacant(_) if leases.len() >= MAX_LEASES => reading.skipped += 1,
                Entry::Vacant(place) => {
                    place.insert(leases.len());
                    leases.push(lease);
                }
            }
        }
    }
    reading.leases = leases.into_iter().flatten().collect();
    Ok(reading)
}

/// Where each column stands.
struct Columns {
    address: usize,
    lifetime: usize,
    expire: usize,
    hostname: Option<usize>,
    hwaddr: Option<usize>,
    client: Option<usize>,
    duid: Option<usize>,
    state: Option<usize>,
    kind: Option<usize>,
}

impl Columns {
    fn read(header: &str) -> Option<Self> {
        let place = |name: &str| header.split(',').position(|column| column == name);
        Some(Self {
            address: place("address")?,
            lifetime: place("valid_lifetime")?,
            expire: place("expire")?,
            hostname: place("hostname"),
            hwaddr: place("hwaddr"),
            client: place("client_id"),
            duid: place("duid"),
            state: place("state"),
            kind: place("lease_type"),
        })
    }

    /// The lease of a line; none inside where the address is nobody's any more.
    fn lease(&self, line: &str) -> Option<(IpAddr, Option<Lease>)> {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |place: Option<usize>| place.and_then(|place| fields.get(place)).copied().unwrap_or("");
        let address: IpAddr = field(Some(self.address)).parse().ok()?;
        let lifetime: u32 = field(Some(self.lifetime)).parse().ok()?;
        let expire: i64 = field(Some(self.expire)).parse().ok()?;
        let state = field(self.state);
        let assigned = ASSIGNED.contains(&state) || state == REGISTERED;
        // A lease that was deleted is written with a lifetime of nothing.
        if lifetime == 0 || !assigned || field(self.kind) == PREFIX {
            return Some((address, None));
        }
        let mac: Option<Mac> = field(self.hwaddr).parse().ok();
        let device = match bytes_of(field(self.duid)) {
            Some(duid) => Device::of_duid(mac, &duid),
            None => Device::of_mac(mac).with_client_id(&bytes_of(field(self.client)).unwrap_or_default()),
        };
        let ends = (lifetime != FOREVER).then(|| Timestamp::from_seconds(expire));
        let name = unescaped(field(self.hostname)).and_then(|name| HostName::claimed(&name));
        Some((address, Some(Lease { address, device, name, ends })))
    }
}

/// `a&#x2cb` -> `a,b`; none where what stands there is no character.
fn unescaped(field: &str) -> Option<String> {
    let mut parts = field.split("&#x");
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        text.push(char::from(code));
        text.push_str(part.get(2..)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER4: &str = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n";
    const HEADER6: &str = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n";

    fn read(text: &str) -> Vec<(String, Option<String>, Option<i64>)> {
        let reading = kea(&[text.as_bytes()]).unwrap();
        reading
            .leases
            .into_iter()
            .map(|lease| {
                let name = lease.name.map(|name| name.to_string());
                (lease.address.to_string(), name, lease.ends.map(Timestamp::seconds))
            })
            .collect()
    }

    #[test]
    fn the_last_line_of_an_address_holds() {
        let text = format!(
            "{HEADER4}\
             10.4.0.10,52:54:00:00:00:01,01:52:54:00:00:00:01,3600,1700000000,1,0,0,tablet,0,,0\n\
             10.4.0.11,52:54:00:00:00:02,,3600,1700000001,1,0,0,old,0,,0\n\
             10.4.0.12,52:54:00:00:00:03,,3600,1700000001,1,0,0,gone,0,,0\n\
             10.4.0.13,,,3600,1700000001,1,0,0,,1,,0\n\
             10.4.0.10,52:54:00:00:00:01,01:52:54:00:00:00:01,3600,1700003600,1,1,1,Kids-Tablet.home.arpa.,0,{{ \"a\": 1 }},0\n\
             10.4.0.11,52:54:00:00:00:04,,4294967295,0,1,0,0,new&#x2cer,0,,0\n\
             10.4.0.12,52:54:00:00:00:03,,0,1700000001,1,0,0,gone,0,,0\n\
             10.4.0.14,52:54:00:00:00:05,,3600,1700000001,1,0,0,reclaimed,2,,0\n\
             10.4.0.15,52:54:00:00:00:06,,3600,1700000001,1,0,0,tv,0\n"
        );
        assert_eq!(
            read(&text),
            [
                ("10.4.0.10".into(), Some("kids-tablet".into()), Some(1_700_003_600)),
                ("10.4.0.11".into(), None, None),
                ("10.4.0.15".into(), Some("tv".into()), Some(1_700_000_001)),
            ]
        );
    }

    #[test]
    fn leases_of_ipv6_and_prefixes() {
        let text = format!(
            "{HEADER6}\
             fd00:4::10,00:03:00:01:52:54:00:00:00:01,3600,1700000000,1,1800,0,1,128,0,0,tablet,,0,,,,0\n\
             fd00:4::11,00:02:00:00:ab:11:aa:bb,3600,1700000000,1,1800,0,1,128,0,0,laptop,52:54:00:00:00:09,0,,1,2,0\n\
             fd00:5::,00:02:00:00:ab:11:aa:bb,3600,1700000000,1,1800,2,1,56,0,0,laptop,,0,,,,0\n"
        );
        let reading = kea(&[text.as_bytes()]).unwrap();
        let macs: Vec<_> =
            reading.leases.iter().map(|lease| lease.device.mac.map(|mac| mac.to_string())).collect();
        assert_eq!(macs, [Some("52:54:00:00:00:01".into()), Some("52:54:00:00:00:09".into())]);
        assert!(reading.leases.iter().all(|lease| lease.device.duid.is_some()));
    }

    #[test]
    fn while_kea_cleans_up_older_files_stand_before_the_newer() {
        let old = format!("{HEADER4}10.4.0.10,52:54:00:00:00:01,,3600,1700000000,1,0,0,first,0,,0\n");
        let new = format!("{HEADER4}10.4.0.10,52:54:00:00:00:01,,3600,1700000000,1,0,0,second,0,,0\n");
        let reading = kea(&[old.as_bytes(), b"", new.as_bytes()]).unwrap();
        assert_eq!(reading.leases[0].name.as_ref().unwrap().as_str(), "second");
        assert_eq!(reading.leases.len(), 1);
    }

    #[test]
    fn what_is_no_lease_is_counted_and_no_file_of_kea_is_told() {
        let text = format!(
            "{HEADER4}rubbish\n10.4.0.300,,,1,1,,,,,0\n\n10.4.0.1,x,y,-1,1,,,,a,0\n10.4.0.9,,,9,9,1,0,0,a&#xzz,0,,0\nhalf"
        );
        let reading = kea(&[text.as_bytes()]).unwrap();
        assert_eq!((reading.skipped, reading.leases.len(), &reading.leases[0].name), (3, 1, &None));
        assert_eq!(kea(&[b"<html>\n"]), Err(NotLeases::NotKea));
        assert_eq!(kea(&[b"\xff\xff\n"]), Err(NotLeases::NotKea));
        assert_eq!(kea(&[b""]), Ok(Reading::default()), "a server that has just started");
    }

    #[test]
    fn a_flood_of_leases_is_cut() {
        let mut text = HEADER4.to_owned();
        for number in 0..u32::try_from(MAX_LEASES).unwrap() + 5 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            text.push_str(&format!("{address},52:54:00:00:00:01,,3600,1700000000,1,0,0,n{number},0,,0\n"));
        }
        let reading = kea(&[text.as_bytes()]).unwrap();
        assert_eq!((reading.leases.len(), reading.skipped), (MAX_LEASES, 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn rubbish_never_panics(rest in prop::collection::vec(any::<u8>(), 0..400), lines in "([0-9a-f:.,&#x-]{0,60}\n){0,6}") {
            let file = [HEADER6.as_bytes(), lines.as_bytes(), &rest, b"\n"].concat();
            let reading = kea(&[&file, &file]).unwrap();
            prop_assert!(reading.leases.len() <= MAX_LEASES);
        }
    }
}
