//! Whatever bytes an image has, its walkers end within their bounds and give an answer.

use crate::common::{Chance, KINDS, packet, plan};
use abi::image::{Block, Coordinate, HEADER_ADDRESSES, HEADER_CELLS, HEADER_DEVICES, HEADER_ROOTS};
use datapath::image::{Image, Question, address_class, class_of, classify, device, port, rate, zone};
use policy::image::compile;
use proptest::prelude::*;
use std::cell::Cell;

/// Counts the lookups of blocks.
struct Counted<'a> {
    blocks: &'a [Block],
    lookups: Cell<u32>,
}

impl Image for Counted<'_> {
    fn block(&self, index: u32) -> Option<&Block> {
        self.lookups.set(self.lookups.get() + 1);
        self.blocks.get(index as usize)
    }
}

impl Counted<'_> {
    fn within<T>(&self, most: u32, walk: impl FnOnce(&Self) -> T) -> T {
        self.lookups.set(0);
        let answer = walk(self);
        assert!(self.lookups.get() <= most, "{} lookups", self.lookups.get());
        answer
    }
}

/// Every walker, with questions by chance.
fn walk(blocks: &[Block], chance: &mut Chance) {
    let image = Counted { blocks, lookups: Cell::new(0) };
    for _ in 0..40 {
        let (a, b) = (chance.next(), chance.next());
        image.within(1, |image| port(image, a as u32, b as u16));
        image.within(1, |image| zone(image, a as u8));
        image.within(1, |image| rate(image, a as u16));
        let mac = a.to_le_bytes();
        image.within(2, |image| device(image, &[mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]]));
        for (high, low) in [(a, b), (0, b & 0xffff_ffff | 0xffff << 32), (0, 0), (u64::MAX, u64::MAX)] {
            let class = image.within(17, |image| class_of(image, high, low));
            assert!(class <= 0xffff);
            image.within(2, |image| address_class(image, class));
        }
        image.within(2, |image| address_class(image, a as u32));
        let place = |bits: u64| Coordinate { class: bits as u16, cell: (bits >> 16) as u16 % 7 };
        let question = Question {
            from: a as u8 % 12,
            to: b as u8 % 12,
            device: (a >> 8) as u16 % 20,
            protocol: (b >> 8) as u8,
            port: (a >> 24) as u16,
            source: place(a >> 40),
            destination: place(b >> 24),
        };
        image.within(18, |image| classify(image, &question));
        image.within(18, |image| classify(image, &Question { from: a as u8, to: b as u8, ..question }));
    }
}

/// Blocks of words by chance, with a header that leads into them more often than not.
fn noise(count: usize, density: u64, chance: &mut Chance) -> Vec<Block> {
    let mut blocks = vec![Block::EMPTY; count];
    for word in blocks.iter_mut().flat_map(|block| &mut block.words) {
        *word = match chance.below(density) {
            0 => chance.next(),
            1 => chance.next() & 0xffff_ffff,
            // References to nodes nearby.
            2 => chance.next() & 0xc000_07ff_c000_07ff | chance.next() & 0x3f80_0000,
            3 => chance.below(1 << 14) | chance.below(1 << 14) << 32,
            _ => 0,
        };
    }
    let places = count as u64 * 512;
    for at in [HEADER_ROOTS, HEADER_ADDRESSES, HEADER_DEVICES, HEADER_CELLS].into_iter().chain(5..7) {
        if chance.percent(80) {
            blocks[0].words[at as usize] = chance.below(places) | chance.below(places) << 32;
        }
    }
    if chance.percent(80) {
        let root =
            |chance: &mut Chance| chance.below(4) << 30 | chance.below(128) << 23 | chance.below(places);
        blocks[0].words[HEADER_ROOTS as usize] = root(chance) | root(chance) << 32;
        blocks[0].words[HEADER_ADDRESSES as usize] = chance.below(3) | chance.below(3) << 32;
    }
    blocks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn noise_is_walked_through(seed in any::<u64>(), count in 1..8usize, density in 1..8u64) {
        let mut chance = Chance::new(seed);
        walk(&noise(count, density, &mut chance), &mut chance);
    }

    #[test]
    fn damaged_images_are_walked_through(seed in any::<u64>(), kind in 0..KINDS.len(), damage in 1..400usize) {
        let mut chance = Chance::new(seed);
        let plan = plan(KINDS[kind], 60, &mut chance);
        let mut image = compile(&plan, &[]).unwrap();
        // What is asked stays as it would be.
        let _ = packet(&plan, &mut chance);
        for _ in 0..damage {
            let block = chance.below(image.blocks.len() as u64) as usize;
            let word = chance.below(512) as usize;
            image.blocks[block].words[word] ^= match chance.below(3) {
                0 => chance.next(),
                1 => 1 << chance.below(64),
                _ => chance.below(1 << 16) << (16 * chance.below(4)),
            };
        }
        walk(&image.blocks, &mut chance);
        image.blocks.truncate(chance.below(image.blocks.len() as u64) as usize);
        walk(&image.blocks, &mut chance);
    }
}

#[test]
fn no_blocks_and_empty_ones_say_nothing() {
    for blocks in [&[][..], &[Block::EMPTY; 4][..]] {
        assert_eq!(port(blocks, 0, 0), abi::ZONE_NONE);
        assert_eq!(zone(blocks, 3), abi::image::ZoneRow::EMPTY);
        assert_eq!(rate(blocks, 0).interval, 0);
        assert_eq!(device(blocks, &[0; 6]), 0);
        assert_eq!(class_of(blocks, 1, 2), 0);
        assert_eq!(classify(blocks, &Question::default()), abi::image::RuleRow::NONE);
        walk(blocks, &mut Chance::new(5));
    }
}
