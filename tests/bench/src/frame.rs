//! Frames as the feeding programs expect them: addresses and ports are written into them packet by packet.

/// Which Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The word in names of cases.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }
}

/// What follows the network header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// TCP with flags, sequence and acknowledgement number.
    Tcp(u8, u32, u32),
    /// UDP.
    Udp,
}

/// Flags of the segment that opens a connection.
pub(crate) const SYN: u8 = 2;
/// Flags of a segment within one.
pub(crate) const ACK: u8 = 16;

/// Octets of the smallest frame, without its checksum (IEEE 802.3).
const SMALLEST: usize = 60;

/// A frame and the place of its network header.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: u32,
}

/// Builds a frame. Two tags are an outer one of 802.1ad and an inner one of 802.1Q.
pub(crate) fn frame(family: Family, tags: &[u16], segment: Segment) -> Frame {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (place, tag) in tags.iter().enumerate() {
        let outer = tags.len() == 2 && place == 0;
        bytes.extend(if outer { [0x88, 0xa8] } else { [0x81, 0x00] });
        bytes.extend(tag.to_be_bytes());
    }
    bytes.extend(match family {
        Family::V4 => [0x08, 0x00],
        Family::V6 => [0x86, 0xdd],
    });
    let at = bytes.len() as u32;
    let payload = transport(segment);
    let protocol = if matches!(segment, Segment::Udp) { 17 } else { 6 };
    match family {
        Family::V4 => {
            let [high, low] = (20 + payload.len() as u16).to_be_bytes();
            bytes.extend([0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            bytes.extend([0; 8]);
        }
        Family::V6 => {
            let [high, low] = (payload.len() as u16).to_be_bytes();
            bytes.extend([0x60, 0, 0, 0, high, low, protocol, 64]);
            bytes.extend([0; 32]);
        }
    }
    bytes.extend(payload);
    bytes.resize(bytes.len().max(SMALLEST), 0);
    Frame { bytes, at }
}

fn transport(segment: Segment) -> Vec<u8> {
    match segment {
        Segment::Tcp(flags, sequence, acknowledged) => {
            let mut bytes = vec![0; 4];
            bytes.extend(sequence.to_be_bytes());
            bytes.extend(acknowledged.to_be_bytes());
            bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            bytes
        }
        // Eighteen octets of payload fill the smallest frame.
        Segment::Udp => {
            let mut bytes = vec![0; 26];
            bytes[5] = 26;
            bytes
        }
    }
}

/// The sum over an IPv4 header without its source address and checksum (RFC 1071), as words in memory order.
pub(crate) fn header_sum(frame: &Frame) -> u32 {
    let header = &frame.bytes[frame.at as usize..][..20];
    let words = header.chunks_exact(2).map(|pair| u32::from(u16::from_ne_bytes([pair[0], pair[1]])));
    words.enumerate().filter(|(place, _)| !(5..8).contains(place)).map(|(_, word)| word).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_begin_behind_the_tags() {
        for (tags, at) in [(&[][..], 14), (&[100], 18), (&[0, 100], 22)] {
            let built = frame(Family::V4, tags, Segment::Udp);
            assert_eq!((built.at, built.bytes[at] >> 4), (at as u32, 4));
            let built = frame(Family::V6, tags, Segment::Tcp(ACK, 1, 2));
            assert_eq!((built.at, built.bytes[at] >> 4), (at as u32, 6));
        }
    }

    #[test]
    fn the_sum_leaves_out_source_and_checksum() {
        let mut built = frame(Family::V4, &[], Segment::Udp);
        let before = header_sum(&built);
        built.bytes[14 + 10..14 + 16].fill(0xff);
        assert_eq!(header_sum(&built), before);
        built.bytes[14 + 16] = 1;
        assert_eq!(header_sum(&built), before + 1);
    }
}
