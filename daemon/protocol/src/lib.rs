//! protocol: to be written.
