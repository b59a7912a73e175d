//! What is known of an address: a walk through the trie, 16 bits at a time, to the number of its class, and the row of
//! that class. See [`abi::image::Node`] for the shape of the trie.

use abi::{
    Address,
    image::{AddressClass, BLOCK_WORDS, Block, HEADER_ADDRESSES, HEADER_BLOCK, HEADER_ROOTS, Node},
};

use super::Image;

/// Everything that is known of an address.
#[inline(always)]
#[must_use]
pub fn address<I: Image + ?Sized>(image: &I, address: &Address) -> AddressClass {
    let (high, low) = words(address);
    address_class(image, class_of(image, high, low))
}

/// The two words of an address, in the byte order of the network.
#[inline(always)]
#[must_use]
pub fn words(address: &Address) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

/// The row of a class. Two block lookups.
#[inline(always)]
#[must_use]
pub fn address_class<I: Image + ?Sized>(image: &I, class: u32) -> AddressClass {
    let Some(header) = image.block(HEADER_BLOCK) else { return AddressClass::UNKNOWN };
    let first = (header.word(HEADER_ADDRESSES) >> 32) as u32;
    let at = class.wrapping_mul(2);
    let Some(block) = image.block(first.wrapping_add(at / BLOCK_WORDS)) else { return AddressClass::UNKNOWN };
    AddressClass::from_words([block.word(at), block.word(at.wrapping_add(1))])
}

/// The number of the class of an address given as two words; 0 where no prefix holds it. At most two
/// block lookups for each of [`Node::MAX_STRIDES`], beside the header's.
///
/// An address in v4-mapped form is an IPv4 address: prefixes of IPv6 do not hold it.
///
/// Inlined, so that it takes no stack of its own: the kernel's programs call it from one function.
#[inline(always)]
#[must_use]
pub fn class_of<I: Image + ?Sized>(image: &I, high: u64, low: u64) -> u32 {
    let Some(header) = image.block(HEADER_BLOCK) else { return 0 };
    let roots = header.word(HEADER_ROOTS);
    let start = header.word(HEADER_ADDRESSES) as u32;
    let is_v4 = high == 0 && low >> 32 == 0xffff;
    // What is left of the address, from the highest bit on.
    let (mut node, mut high, mut low) =
        if is_v4 { (Node(roots as u32), low << 32, 0) } else { (Node((roots >> 32) as u32), high, low) };
    // What is left of the 16 bits at hand.
    let mut key = (high >> 48) as u32;
    let mut stride = 0;
    while stride < Node::MAX_STRIDES {
        if node.kind() == Node::CLASS {
            return node.0 & 0xffff;
        }
        let Some(mut block) = image.block(start.wrapping_add(node.position() / BLOCK_WORDS)) else {
            return 0;
        };
        if node.kind() == Node::WIDE && node.number() == 0 {
            node = Node(block.half(node.position() * 2 + (key >> 8)));
            key &= 255;
            if node.kind() == Node::CLASS {
                return node.0 & 0xffff;
            }
            match image.block(start.wrapping_add(node.position() / BLOCK_WORDS)) {
                Some(next) => block = next,
                None => return 0,
            }
        }
        let at = node.position();
        if node.kind() == Node::WIDE {
            node = Node(block.half(at * 2 + (key & 255)));
        } else {
            let of_classes = node.kind() == Node::CLASSES;
            let starts_full = if of_classes { Node::CLASSES_PER_LINE / 4 } else { Node::RUNS_PER_LINE / 4 };
            let (at, starts) = if node.number() & Node::LARGE == 0 {
                (at, (node.number() & (Node::CLASSES_PER_LINE - 1)) / 4 + 1)
            } else {
                (line_of(block, at, node.number() & (Node::MAX_LINES - 1), key), starts_full)
            };
            let found = last_start(block, at, starts, key);
            let values = at + starts;
            if of_classes {
                return block.quarter(values * 4 + found) as u32;
            }
            node = Node(block.half(values * 2 + found));
        }
        high = high << 16 | low >> 48;
        low <<= 16;
        key = (high >> 48) as u32;
        stride += 1;
    }
    if node.kind() == Node::CLASS { node.0 & 0xffff } else { 0 }
}

/// Where in a large node that begins at a line the line is in which the key is; `last` is the number of its last line.
#[inline(always)]
fn line_of(block: &Block, at: u32, last: u32, key: u32) -> u32 {
    let mut sum = 0;
    let mut word = 0;
    while word < Node::LINE {
        sum += not_above(block.word(at + word), key);
        word += 1;
    }
    let found = places(sum);
    // The lesser, without a branch.
    let beyond = (last as i64 - found as i64) >> 63;
    let found = (found as i64 + ((last as i64 - found as i64) & beyond)) as u32;
    at + Node::LINE + (found & (Node::MAX_LINES - 1)) * Node::LINE
}

/// Of the starts in so many words at a place (at most four), the last that is not above the key.
///
/// Without a branch on what is read: the verifier would walk every one of the ways through.
#[inline(always)]
fn last_start(block: &Block, at: u32, words: u32, key: u32) -> u32 {
    let mut sum = 0;
    let mut word = 0;
    while word < Node::CLASSES_PER_LINE / 4 {
        let is_start = ((word as i64 - words as i64) >> 63) as u64;
        sum += not_above(block.word(at + word), key) & is_start;
        word += 1;
    }
    places(sum) & (Node::CLASSES_PER_LINE - 1)
}

/// How many of the four starts of a word are not above the key: two counts, a half each.
#[inline(always)]
const fn not_above(word: u64, key: u32) -> u64 {
    const STARTS: u64 = 0x0000_ffff_0000_ffff;
    const ONES: u64 = 0x0000_0001_0000_0001;
    // A bit above the start stays where the start is not above the key.
    let keys = (key as u64 * ONES) | ONES << 16;
    ((keys - (word & STARTS)) >> 16 & ONES) + ((keys - (word >> 16 & STARTS)) >> 16 & ONES)
}

/// The place of the last of as many starts as were counted.
#[inline(always)]
const fn places(sum: u64) -> u32 {
    ((sum >> 32) as u32).wrapping_add(sum as u32).wrapping_sub(1)
}
