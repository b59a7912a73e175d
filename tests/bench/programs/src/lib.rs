//! What the measuring programs and the bench share: shapes of maps, and the names of things by number.
#![no_std]

/// Different keys a run reads in sequence, before it begins anew.
pub const KEYS: u32 = 1 << 20;

/// Entries of the small longest-prefix table that is measured as a peer.
pub const LPM_SMALL: u32 = 131_072;
/// Entries of the large one.
pub const LPM_LARGE: u32 = 1_200_000;

/// How often a program that shows a floor does what it shows.
pub const FLOOR_TIMES: u32 = 16;

/// A line of the cache: the number of the one to be read next, in the table of lines.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Number of the next.
    pub next: u32,
    /// Zeros.
    pub rest: [u32; 15],
}

/// Places in the jump tables: what the feeding programs hand their packet to.
pub mod slot {
    /// `XDP_DROP` and nothing else.
    pub const BARE: u32 = 0;
    /// secd's own program.
    pub const SECD: u32 = 1;
    /// The kernel's longest-prefix table, small.
    pub const LPM_SMALL: u32 = 2;
    /// The kernel's longest-prefix table, large.
    pub const LPM_LARGE: u32 = 3;
    /// How many.
    pub const COUNT: u32 = 4;
}

/// What is written into an IPv4 packet. The order is that of the headers, so that two stores do it.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key4 {
    /// Source, destination.
    pub addresses: [[u8; 4]; 2],
    /// Source port, destination port, big-endian.
    pub ports: [[u8; 2]; 2],
    /// Zero.
    pub reserved: u32,
}

/// What is written into an IPv6 packet.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key6 {
    /// Source, destination.
    pub addresses: [[u8; 16]; 2],
    /// Source port, destination port, big-endian.
    pub ports: [[u8; 2]; 2],
    /// Zero.
    pub reserved: u32,
}

/// What the classifier alone is asked.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Zone the flow starts in.
    pub from: u8,
    /// Zone it goes to.
    pub to: u8,
    /// IP protocol.
    pub protocol: u8,
    /// Zero.
    pub reserved: u8,
    /// Class of the device.
    pub device: u16,
    /// Destination port.
    pub port: u16,
    /// Coordinate of the source, as half a word.
    pub source: u32,
    /// Coordinate of the destination, as half a word.
    pub destination: u32,
}

/// How the feeding programs go on. Value of `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Place of the next key; counts on beyond [`KEYS`].
    pub cursor: u32,
    /// Where the network header begins: 14, 18 or 22.
    pub at: u32,
    /// Bits of the number of the pass over all keys that are mixed into the source port: 0 has the same packets come
    /// again, all ones makes every packet a new flow.
    pub fresh: u32,
    /// The generator sends its frames here.
    pub ifindex: u32,
    /// Sum of the IPv4 header without source address and checksum (RFC 1071), for the generator.
    pub sum: u32,
    /// Slot of the image that the classifier is asked about.
    pub slot: u32,
}
