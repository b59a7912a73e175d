//! Images of plans: what the walkers read in them, against plain readings of the plans.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod addresses;
mod classifier;
mod common;
mod hostile;
