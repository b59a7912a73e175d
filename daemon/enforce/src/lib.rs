//! enforce: to be written.

pub mod nft;
