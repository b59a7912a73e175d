//! signatures: to be written.
