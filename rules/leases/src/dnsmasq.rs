//! dnsmasq's lease file: `EXPIRY MAC ADDRESS NAME CLIENT-ID` for IPv4, then `duid …` of the server, then
//! `EXPIRY IAID ADDRESS NAME DUID` for IPv6. `*` stands for nothing, 0 for a lease that never ends.
//!
//! Source: the manual page of dnsmasq (`--dhcp-leasefile`, `--dhcp-script`), and files written by 2.90. Builds for machines
//! without a clock write the length of a lease in place of its end; these cannot be told apart and are taken as ended.

use model::{Mac, Timestamp};
use std::net::IpAddr;

use crate::{Device, HostName, Lease, MAX_LEASES, NotLeases, Reading, bytes_of, lines::lines};

/// Reads a lease file.
///
/// # Errors
/// It has lines, and none of them is a lease or says who the server is.
pub fn dnsmasq(file: &[u8]) -> Result<Reading, NotLeases> {
    let mut reading = Reading::default();
    let (mut count, mut known) = (0, 0);
    for line in lines(file).filter(|line| *line != Some("")) {
        count += 1;
        if line.is_some_and(|line| line.starts_with("duid ")) {
            known += 1;
            continue;
        }
        match line.and_then(lease) {
            Some(lease) if reading.leases.len() < MAX_LEASES => {
                known += 1;
                reading.leases.push(lease);
            }
            Some(_) | None => reading.skipped += 1,
        }
    }
    if count > 0 && known == 0 { Err(NotLeases::NotDnsmasq(count)) } else { Ok(reading) }
}

fn lease(line: &str) -> Option<Lease> {
    let mut fields = line.split(' ');
    let ends: i64 = fields.next()?.parse().ok()?;
    let (who, address, name, client) = (fields.next()?, fields.next()?, fields.next()?, fields.next());
    let address: IpAddr = address.parse().ok()?;
    let client = client.and_then(bytes_of).unwrap_or_default();
    let device = match address {
        // Other hardware than Ethernet stands as `06-aa:bb…`, which is no MAC address.
        IpAddr::V4(_) => Device::of_mac(who.parse::<Mac>().ok()).with_client_id(&client),
        IpAddr::V6(_) => Device::of_duid(None, &client),
    };
    let ends = (ends != 0).then(|| Timestamp::from_seconds(ends));
    Some(Lease { address, device, name: HostName::claimed(name), ends })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn leases_of_both_families() {
        let file = "1700000000 52:54:00:00:00:01 10.4.0.10 kids-tablet 01:52:54:00:00:00:01\n\
                    0 52:54:00:00:00:02 10.4.0.11 * *\n\
                    1700000001 06-52:54:00:00:00:03 10.4.0.12 odd *\n\
                    1700000002 52:54:00:00:00:04 10.4.0.13 laptop ff:01:02:03:04:00:02:00:00:ab:11:aa\n\
                    duid 00:01:00:01:2a:2b:2c:2d:52:54:00:00:00:ff\n\
                    1700000003 123456 fd00:4::10 kids-tablet 00:03:00:01:52:54:00:00:00:01\n\
                    1700000003 T77 fd00:4::11 laptop 00:02:00:00:ab:11:aa\n";
        let reading = dnsmasq(file.as_bytes()).unwrap();
        let shown: Vec<_> = reading
            .leases
            .iter()
            .map(|lease| {
                let mac = lease.device.mac.map(|mac| mac.0[5]);
                (
                    lease.address.to_string(),
                    lease.name.as_ref().map(HostName::as_str),
                    mac,
                    lease.ends.is_some(),
                )
            })
            .collect();
        let expected = [
            ("10.4.0.10", Some("kids-tablet"), Some(1), true),
            ("10.4.0.11", None, Some(2), false),
            ("10.4.0.12", Some("odd"), None, true),
            ("10.4.0.13", Some("laptop"), Some(4), true),
            ("fd00:4::10", Some("kids-tablet"), Some(1), true),
            ("fd00:4::11", Some("laptop"), None, true),
        ]
        .map(|(address, name, mac, ends)| (address.to_owned(), name, mac, ends));
        assert_eq!(shown, expected);
        assert_eq!(reading.leases[3].device.duid, reading.leases[5].device.duid);
        assert_eq!(reading.skipped, 0);
    }

    #[test]
    fn what_is_no_lease_is_counted_and_another_file_is_told() {
        let file =
            b"1700000000 52:54:00:00:00:01 10.4.0.10 a *\nx y z\n99999999999999999999 a b c d\n1 2 3\n\n";
        let reading = dnsmasq(file).unwrap();
        assert_eq!((reading.leases.len(), reading.skipped), (1, 3));
        assert_eq!(dnsmasq(b"address,hwaddr\nx\n"), Err(NotLeases::NotDnsmasq(2)));
        assert_eq!(dnsmasq(b""), Ok(Reading::default()));
        assert!(dnsmasq(b"duid 00:01\n").is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn rubbish_never_panics(rest in prop::collection::vec(any::<u8>(), 0..400), lines in "([0-9a-f:.* -]{0,60}\n){0,6}") {
            let _ = dnsmasq(&[lines.as_bytes(), &rest, b"\n"].concat());
        }
    }
}
