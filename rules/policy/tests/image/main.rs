//! Images of plans: what the walkers read in them, against plain readings of the plans.

mod addresses;
mod classifier;
mod common;
mod hostile;
