//! What the resolver answered to a zone: the table `RESOLVED`. The resolver's side writes it before an answer leaves, the
//! packet path reads it for the first packet of a flow.

use crate::Address;

/// Key of `RESOLVED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolvedKey {
    /// The address that was answered.
    pub address: Address,
    /// The zone whose question it was: its [`resolver_zone`], which stays when zones come and go.
    pub zone: u32,
}

/// Value of `RESOLVED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResolvedValue {
    /// Boot time in ns until which new flows may go there: the answer's time to live and a grace.
    pub until: u64,
    /// A bit for each pattern of names in rules that holds a name it was answered for.
    pub patterns: u64,
}

/// Entries of `RESOLVED`, of all zones together; 6 MiB when full. What does not fit pushes out what the device that
/// asked for most, in its own zone, asked for longest ago: see `daemon/secd/src/resolved`.
pub const MAX_RESOLVED: u32 = 32_768;

/// What a zone of this name is called in `RESOLVED`: FNV-1a (draft-eastlake-fnv) of 32 bits. 0, which stands for no zone,
/// is no one's. Zones that meet share what is answered to them; the config refuses that.
#[must_use]
pub const fn resolver_zone(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    if hash == 0 { 1 } else { hash }
}

const _: () = {
    assert!(size_of::<ResolvedKey>() == 20);
    assert!(size_of::<ResolvedValue>() == 16);
};

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "repr(C) integers without padding; the sizes are asserted above")]
mod pod {
    use super::*;
    // SAFETY: both are repr(C), made of integers only, without padding (asserted above) and valid for any bytes.
    unsafe impl aya::Pod for ResolvedKey {}
    unsafe impl aya::Pod for ResolvedValue {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_called_by_their_names() {
        // Published test vectors of FNV-1a 32.
        assert_eq!(resolver_zone("a"), 0xe40c_292c);
        assert_eq!(resolver_zone("foobar"), 0xbf9c_f968);
        assert_ne!(resolver_zone("iot"), resolver_zone("guest"));
    }
}
