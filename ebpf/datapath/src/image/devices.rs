//! The class of a device by its MAC address.

use abi::image::{BLOCK_WORDS, DEVICE_WAYS, DeviceRow, HEADER_BLOCK, HEADER_DEVICE_SEED, HEADER_DEVICES};

use super::Image;

/// The class of a device for the classifier; 0 = it is in no group. Two block lookups.
#[inline(always)]
#[must_use]
pub fn device<I: Image + ?Sized>(image: &I, mac: &[u8; 6]) -> u16 {
    let Some(header) = image.block(HEADER_BLOCK) else { return 0 };
    let table = header.word(HEADER_DEVICES);
    let (start, mask) = (table as u32, (table >> 32) as u32);
    if start == 0 {
        return 0;
    }
    let address = DeviceRow::number(mac);
    let bucket = DeviceRow::hash(address, header.word(HEADER_DEVICE_SEED)) & mask;
    let first = bucket.wrapping_mul(DEVICE_WAYS);
    let Some(block) = image.block(start.wrapping_add(first / BLOCK_WORDS)) else { return 0 };
    let mut way = 0;
    while way < DEVICE_WAYS {
        let row = block.word(first.wrapping_add(way));
        let class = (row >> 48) as u16;
        if row & DeviceRow::KEY == address && class != 0 {
            return class;
        }
        way += 1;
    }
    0
}
