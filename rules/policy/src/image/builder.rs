//! Blocks as they are filled.

use abi::image::{BLOCK_WORDS, Block};

/// The blocks of an image while it is written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) blocks: Vec<Block>,
}

/// Words of a block.
pub(super) const WORDS: usize = BLOCK_WORDS as usize;

impl Writer {
    /// So many empty blocks.
    pub(super) fn new(blocks: u32) -> Self {
        Self { blocks: vec![Block::EMPTY; blocks as usize] }
    }

    /// Blocks there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Adds empty blocks; the number of the first.
    pub(super) fn reserve_blocks(&mut self, count: usize) -> usize {
        let first = self.len();
        self.blocks.resize(first + count, Block::EMPTY);
        first
    }

    /// Writes words from the start of new blocks on.
    pub(super) fn append(&mut self, words: &[u64]) {
        let first = self.reserve_blocks(words.len().div_ceil(WORDS));
        for (block, chunk) in self.blocks[first..].iter_mut().zip(words.chunks(WORDS)) {
            block.words[..chunk.len()].copy_from_slice(chunk);
        }
    }

    /// Sets a word by its position in the image.
    pub(super) fn set(&mut self, position: usize, word: u64) {
        self.blocks[position / WORDS].words[position % WORDS] = word;
    }
}

/// Quarters as words.
pub(super) fn quarters(values: &[u16]) -> impl Iterator<Item = u64> + '_ {
    values.chunks(4).map(|chunk| chunk.iter().rev().fold(0, |word, value| word << 16 | u64::from(*value)))
}

/// Halves as words.
pub(super) fn halves(values: &[u32]) -> impl Iterator<Item = u64> + '_ {
    values.chunks(2).map(|chunk| chunk.iter().rev().fold(0, |word, value| word << 32 | u64::from(*value)))
}
