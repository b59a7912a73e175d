//! Frames with VLAN tags, made by hand and sent by a raw socket: this kernel may lack 802.1Q devices.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use pnet_datalink::{Channel, Config};
use std::net::Ipv4Addr;

/// Sends `count` UDP frames with this tag out of `eth0` of `namespace`.
///
/// # Errors
/// Not root, or the interface is not there.
pub fn send_tagged(
    namespace: &Namespace,
    vlan: u16,
    source: Ipv4Addr,
    target: Ipv4Addr,
    port: u16,
    count: usize,
) -> Result<()> {
    namespace.inside(|| -> Result<()> {
        let interface = pnet_datalink::interfaces()
            .into_iter()
            .find(|found| found.name == "eth0")
            .context("no eth0 in the namespace")?;
        let hardware = interface.mac.context("eth0 has no hardware address")?.octets();
        let Channel::Ethernet(mut sender, _) =
            pnet_datalink::channel(&interface, Config::default()).context("cannot open a raw socket")?
        else {
            bail!("eth0 is not Ethernet");
        };
        for number in 0..count {
            let frame = udp_frame(hardware, vlan, source, target, 40_000 + number as u16, port);
            sender.send_to(&frame, None).context("the raw socket takes no frames")??;
        }
        Ok(())
    })?
}

/// An Ethernet broadcast frame with an 802.1Q tag and an IPv4 UDP packet of eight bytes in it.
fn udp_frame(
    hardware: [u8; 6],
    vlan: u16,
    source: Ipv4Addr,
    target: Ipv4Addr,
    source_port: u16,
    port: u16,
) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(hardware);
    frame.extend(0x8100_u16.to_be_bytes());
    frame.extend(vlan.to_be_bytes());
    frame.extend(0x0800_u16.to_be_bytes());
    let mut header = vec![0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0];
    header.extend(source.octets());
    header.extend(target.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend(source_port.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend(16_u16.to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(*b"tagged!!");
    frame.resize(frame.len().max(64), 0);
    frame
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_tag_and_a_right_checksum() {
        let frame = udp_frame([2; 6], 410, [10, 41, 0, 9].into(), [10, 41, 0, 1].into(), 40_000, 53);
        assert_eq!(&frame[12..16], &[0x81, 0x00, 0x01, 0x9a]);
        assert_eq!(checksum(&frame[18..38]), 0);
    }
}
