//! lab: to be written.
