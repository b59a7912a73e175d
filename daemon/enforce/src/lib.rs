//! What the plan says, in the kernel: [`xdp`] judges packets early, [`nft`] is the second wall behind it.

pub mod nft;
pub mod xdp;
