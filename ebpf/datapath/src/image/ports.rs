//! The zone of an interface and a VLAN.

use abi::{
    ZONE_NONE, ZoneId,
    image::{PORT_WAYS, PORTS_BLOCK, PortRow},
};

use super::Image;

/// The zone in which a frame comes in; [`ZONE_NONE`] where none is known. One block lookup, one line of the cache.
#[inline(always)]
#[must_use]
pub fn port<I: Image + ?Sized>(image: &I, ifindex: u32, vlan: u16) -> ZoneId {
    let Some(block) = image.block(PORTS_BLOCK) else { return ZONE_NONE };
    let key = PortRow { ifindex, vlan, zone: ZONE_NONE }.key();
    let first = PortRow::bucket(key, block.word(0)) * PORT_WAYS;
    let mut way = 0;
    while way < PORT_WAYS {
        let row = block.word(first + way);
        if row & PortRow::KEY == key {
            return PortRow::zone_of(row);
        }
        way += 1;
    }
    ZONE_NONE
}
