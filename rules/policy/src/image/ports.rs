//! The table of interfaces and VLANs: one block, four ways, a seed under which every port finds a place.

use abi::image::{MAX_IMAGE_PORTS, PORT_BUCKETS, PORT_WAYS, PORTS_BLOCK, PortRow};

use super::{ImageError, at_most, builder::Writer};

/// Seeds that are tried. One in a few hundred is good for a full table.
const SEEDS: u64 = 1 << 20;

/// Writes the ports.
pub(super) fn write(writer: &mut Writer, ports: &[PortRow]) -> Result<(), ImageError> {
    let help = "merge zones of equal trust";
    at_most("interfaces and VLANs", ports.len(), MAX_IMAGE_PORTS as usize, help)?;
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    for pair in ports.windows(2) {
        if let [first, second] = pair
            && first.key() == second.key()
        {
            let PortRow { ifindex, vlan, zone: first } = *first;
            return Err(ImageError::PortTwice { ifindex, vlan, first, second: second.zone });
        }
    }
    let Some(words) = (0..SEEDS).find_map(|number| place(&ports, seed(number))) else {
        return Err(ImageError::TooMany {
            what: "ports in one place of their table",
            count: ports.len(),
            limit: 4,
            help,
        });
    };
    writer.blocks[PORTS_BLOCK as usize].words = words;
    Ok(())
}

/// A number that looks like chance, without the bits of a zone.
fn seed(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8 | 1
}

/// The table under a seed; none where a bucket would overflow.
fn place(ports: &[PortRow], seed: u64) -> Option<[u64; (PORT_BUCKETS * PORT_WAYS) as usize]> {
    let mut words = [0; (PORT_BUCKETS * PORT_WAYS) as usize];
    words[0] = seed;
    for port in ports {
        let first = (PortRow::bucket(port.key(), seed) * PORT_WAYS) as usize;
        let ways = &mut words[first..first + PORT_WAYS as usize];
        *ways.iter_mut().find(|word| **word == 0)? = port.word();
    }
    // The seed must not read as one of the ports, nor an empty place as interface 0 (which no device has).
    let is_seed = |port: &PortRow| port.key() == seed & PortRow::KEY;
    (!ports.iter().any(is_seed)).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ports: &[PortRow]) -> Writer {
        let mut writer = Writer::new(3);
        write(&mut writer, ports).unwrap();
        writer
    }

    #[test]
    fn a_full_table_finds_every_port_and_no_other() {
        let ports: Vec<PortRow> = (0..256)
            .map(|n| PortRow { ifindex: 2 + n / 64, vlan: n as u16 % 64 * 50, zone: (3 + n % 60) as u8 })
            .collect();
        let writer = read(&ports);
        for port in &ports {
            assert_eq!(
                datapath::image::port(&writer.blocks[..], port.ifindex, port.vlan),
                port.zone,
                "{port:?}"
            );
        }
        for n in 0..100_000u32 {
            let (ifindex, vlan) = (n % 37, (n / 37) as u16);
            let zone = ports
                .iter()
                .find(|port| (port.ifindex, port.vlan) == (ifindex, vlan))
                .map_or(0, |port| port.zone);
            assert_eq!(datapath::image::port(&writer.blocks[..], ifindex, vlan), zone);
        }
    }

    #[test]
    fn too_many_and_doubled_ports_are_refused() {
        let ports: Vec<PortRow> = (0..257).map(|n| PortRow { ifindex: n + 1, vlan: 0, zone: 3 }).collect();
        let error = write(&mut Writer::new(3), &ports).unwrap_err();
        assert_eq!(
            error.to_string(),
            "257 interfaces and VLANs, and there is room for 256; merge zones of equal trust"
        );
        let twice = [PortRow { ifindex: 2, vlan: 7, zone: 3 }, PortRow { ifindex: 2, vlan: 7, zone: 4 }];
        let error = write(&mut Writer::new(3), &twice).unwrap_err();
        assert_eq!(error.to_string(), "zones 3 and 4 both hold interface 2 VLAN 7");
        // The same said twice is fine.
        read(&[twice[0], twice[0]]);
    }
}
