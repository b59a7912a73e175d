//! Frames made by hand and sent by a raw socket: with VLAN tags, since this kernel may lack 802.1Q devices, and with
//! sources that nobody has.

use crate::namespace::Namespace;
use anyhow::{Context, Result, bail};
use pnet_datalink::{Channel, Config, DataLinkSender};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
        let (mut sender, hardware) = open("eth0")?;
        for number in 0..count {
            let frame = udp_frame(hardware, vlan, source, target, 40_000 + number as u16, port);
            sender.send_to(&frame, None).context("the raw socket takes no frames")??;
        }
        Ok(())
    })?
}

/// TCP openings from sources that nobody has (198.18.0.0/15, RFC 2544), at a steady rate until it is dropped.
#[derive(Debug)]
pub struct SynFlood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl SynFlood {
    /// Starts it in `namespace`, out of `eth0` to the router, whose interface there is `router_interface`.
    ///
    /// # Errors
    /// Not root, or an interface is not there.
    pub fn start(
        namespace: &Namespace,
        (router, router_interface): (&Namespace, &str),
        target: SocketAddrV4,
        per_second: u32,
    ) -> Result<Self> {
        const BEAT: Duration = Duration::from_millis(10);
        let to = router.inside(|| hardware(router_interface))??;
        let (mut sender, from) = namespace.inside(|| open("eth0"))??;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut number = 0_u64;
            while !stopped.load(Ordering::SeqCst) {
                let due = (begun.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                while number < due {
                    let frame = opening(to, from, number, target);
                    if !matches!(sender.send_to(&frame, None), Some(Ok(()))) {
                        return;
                    }
                    number += 1;
                }
                count.store(number, Ordering::SeqCst);
                crate::wait::pause(BEAT);
            }
        });
        Ok(Self { stop, sent, thread: Some(thread) })
    }

    /// Openings sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

impl Drop for SynFlood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The interface in the namespace of this thread, and its hardware address.
fn interface(name: &str) -> Result<(pnet_datalink::NetworkInterface, [u8; 6])> {
    let found = pnet_datalink::interfaces().into_iter().find(|found| found.name == name);
    let interface = found.with_context(|| format!("no {name} in the namespace"))?;
    let hardware = interface.mac.with_context(|| format!("{name} has no hardware address"))?.octets();
    Ok((interface, hardware))
}

fn hardware(name: &str) -> Result<[u8; 6]> {
    Ok(interface(name)?.1)
}

fn open(name: &str) -> Result<(Box<dyn DataLinkSender>, [u8; 6])> {
    let (interface, hardware) = interface(name)?;
    let Channel::Ethernet(sender, _) =
        pnet_datalink::channel(&interface, Config::default()).context("cannot open a raw socket")?
    else {
        bail!("{name} is not Ethernet");
    };
    Ok((sender, hardware))
}

/// The `number`th TCP opening of a flood.
fn opening(to: [u8; 6], from: [u8; 6], number: u64, target: SocketAddrV4) -> Vec<u8> {
    let [.., a, b, c] = number.to_be_bytes();
    let source = Ipv4Addr::new(198, 18 | (a & 1), b, c);
    let port = 1024 + (number.wrapping_mul(7919) % 60_000) as u16;
    let mut header = vec![0x45, 0, 0, 40, b, c, 0, 0, 64, 6, 0, 0];
    header.extend(source.octets());
    header.extend(target.ip().octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut tcp = Vec::from(port.to_be_bytes());
    tcp.extend(target.port().to_be_bytes());
    tcp.extend((number as u32).wrapping_mul(2_654_435_761).to_be_bytes());
    // No acknowledgement; five words, SYN; a window; no checksum yet; nothing urgent.
    tcp.extend([0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [&source.octets()[..], &target.ip().octets(), &[0, 6, 0, 20], &tcp].concat();
    let sum = checksum(&pseudo);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    [&to[..], &from, &[0x08, 0x00], &header, &tcp].concat()
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

    #[test]
    fn an_opening_has_right_checksums_and_a_source_of_its_own() {
        let target = SocketAddrV4::new([198, 51, 100, 10].into(), 80);
        let frames = [0, 1, 70_000].map(|number| opening([4; 6], [2; 6], number, target));
        for frame in &frames {
            assert_eq!(frame.len(), 54);
            assert_eq!(checksum(&frame[14..34]), 0);
            assert_eq!(checksum(&[&frame[26..34], &[0, 6, 0, 20], &frame[34..]].concat()), 0);
        }
        assert_ne!(frames[0][26..36], frames[1][26..36]);
        assert_eq!(frames[2][26..28], [198, 19]);
    }
}
